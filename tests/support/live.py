# SPDX-License-Identifier: Apache-2.0
"""Sites for tests that drive the real programs.

Each Site is a temporary folder of its own with configuration, drop-ins, state and cache; nothing of the
machine's own configuration is seen. Where the build is comes from the environment, which meson sets:

    PRVNG_TEST_BUILD    the build folder (programs and plugins are found below it)
    PRVNG_TEST_SOURCE   the source folder

Engines are children of this process (it is a subreaper), are known by the pid in the store's lock file,
and are ended by that pid when the site is closed: SIGTERM first, which must be enough within 5 s.
"""
import ctypes
import glob
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

BUILD = os.environ.get("PRVNG_TEST_BUILD") or sys.exit("PRVNG_TEST_BUILD is not set; run this by `meson test`")
SOURCE = os.environ.get("PRVNG_TEST_SOURCE") or sys.exit("PRVNG_TEST_SOURCE is not set")
PRVNG = os.path.join(BUILD, "cli", "prvng")
PRVNGD = os.path.join(BUILD, "daemon", "prvngd")
SANITIZED = os.environ.get("PRVNG_TEST_SANITIZE", "none") != "none"
PATIENCE = 120 if SANITIZED else 40  # seconds for anything that should happen at once
WORDS = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:")

SHIPPED = {"file": "file", "json": "json", "yaml": "yaml", "kcl": "kcl"}
TESTING = ("testcloud", "testserv", "testtop", "noop", "crashstore")

# With PRVNG_TEST_ISOLATION=process every plugin runs in a process of its own, except stores, which run inside the
# engine by contract: each drop-in is written so, and each living engine is looked at for what is mapped into it.
ISOLATED = os.environ.get("PRVNG_TEST_ISOLATION") == "process"
STORES = ("file", "rkvs", "postgres", "crashstore")
HELPER = b"prvng-plugin-host"
looks = {"engines": set(), "helpers": set(), "n": 0, "wrong": []}

PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Failed(AssertionError):
    pass


def check(truth, message, *more):
    """An expectation; `more` is printed behind the message."""
    if not truth:
        raise Failed("\n".join([message] + [str(m) for m in more]))


def wait_for(what, truth, seconds=None):
    """Polls until truth() is true, and returns what it says."""
    end = time.monotonic() + (seconds or PATIENCE)
    while True:
        said = truth()
        if said:
            return said
        if time.monotonic() > end:
            raise Failed(f"waited {seconds or PATIENCE} s in vain for: {what}")
        time.sleep(0.01)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def isolated(text):
    """A drop-in's text; the plugin in a process of its own if this run wants that. The test plugins write into the
    folder of their configuration, and what enters their servers is env(1): the site allows it."""
    name = re.search(r'name = "([^"]*)"', text)
    if not ISOLATED or not name or name.group(1) in STORES or "isolation" in text:
        return text
    folder = re.search(r'folder = "([^"]*)"', text)
    write = f'paths: {{ write = [ "{folder.group(1)}" ]; }};' if folder else ""
    return text.replace("plugin: {", 'plugin: { isolation = "process"; capabilities: { '
                        f'programs = [ "/usr/bin/env" ]; {write} }};', 1)


def look_at(pid):
    """What of our plugins is mapped into that engine? Nothing but stores, where all else is isolated."""
    try:
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as f:
            mapped = {line.split()[-1] for line in f if line.rstrip().endswith(".so")}
        with open(f"/proc/{pid}/comm", encoding="ascii") as f:
            if not f.read().startswith("prvng"):
                return  # it is another's by now
    except OSError:
        return
    for path in mapped:
        name = os.path.basename(path)[:-3]
        if path.startswith((BUILD + "/plugins/", BUILD + "/tests/plugins/")) and name not in STORES:
            looks["wrong"].append(f"{name} is mapped into the engine {pid}")
    for task in glob.glob(f"/proc/{pid}/task/*/children"):
        try:
            with open(task, encoding="ascii") as f:
                for child in f.read().split():
                    with open(f"/proc/{child}/cmdline", "rb") as c:
                        if os.path.basename(c.read().split(b"\0")[0]) == HELPER:
                            looks["helpers"].add(int(child))
        except OSError:
            continue
    looks["engines"].add(pid)
    looks["n"] += 1


class Result:
    """What a command said."""

    def __init__(self, argv, code, out, err):
        self.argv, self.code, self.out, self.err = argv, code, out, err

    def __str__(self):
        return (f"$ {' '.join(self.argv)}\nexit code {self.code}\n--- stdout\n{self.out[-6000:]}"
                f"--- stderr\n{self.err[-6000:]}")

    def json(self):
        try:
            return json.loads(self.out)
        except ValueError as e:
            raise Failed(f"stdout is not one JSON document ({e})\n{self}") from None

    def expect(self, code, *texts):
        check(self.code == code, f"expected exit code {code}", self)
        for text in texts:
            check(text in self.out + self.err, f"expected to read: {text}", self)
        for word in WORDS:
            check(word not in self.err, "a sanitizer complains", self)
        return self


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("prvng", timeout=PATIENCE)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        here = os.open(os.path.dirname(self.path), os.O_PATH)
        try:  # the path may be too long for a socket's address
            self.sock.connect(f"/proc/self/fd/{here}/{os.path.basename(self.path)}")
        finally:
            os.close(here)


class Site:
    def __init__(self, conf="", plugins=(), store="file", folder=None, idle=20, dropins=None):
        """`store`: what the configuration names, None: nothing; `plugins`: beside store file, loaders and test
        plugins; `conf`: more text of prvng.conf;
        `dropins`: name -> text of `config: { }` or a whole drop-in text starting with "plugin:"."""
        self.own = folder is None
        self.folder = folder or tempfile.mkdtemp(prefix="prvng-live-")
        self.state = os.path.join(self.folder, "state", "prvng")
        self.store = store
        self.world = os.path.join(self.folder, "world")
        self.spawned = []
        for name in ("config/prvng/plugins.d", "packaged", "world"):
            os.makedirs(os.path.join(self.folder, name), exist_ok=True)
        self.write("config/prvng/prvng.conf",
                   f'idle_timeout = {idle};\nworkers = 4;\n' + (f'store = "{store}";\n' if store else "") +
                   ("" if "provider =" in conf else 'provider = "testcloud";\n') + conf)
        for name, file in SHIPPED.items():
            self.dropin(name, os.path.join(BUILD, "plugins", file + ".so"))
        # Others share testcloud's folder: two providers would each say that all in it is theirs.
        for name in (*TESTING, *(n for n in ("testnet",) if n in conf)):
            self.dropin(name, os.path.join(BUILD, "tests", "plugins", name + ".so"),
                        f'folder = "{self.world}";' if name.startswith("test") else "")
        for name in dict.fromkeys([*plugins, *(["rkvs"] if store == "rkvs" else [])]):
            self.dropin(name, os.path.join(BUILD, "plugins", name + ".so"))
        for name, text in (dropins or {}).items():
            self.write(f"packaged/{name}.conf", text)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("PRVNG_", "XDG_")) or k == "PRVNG_KCL_PYTHON"}
        self.env.update({
            "XDG_CONFIG_HOME": os.path.join(self.folder, "config"),
            "XDG_STATE_HOME": os.path.join(self.folder, "state"),
            "XDG_CACHE_HOME": os.path.join(self.folder, "cache"),
            "PRVNG_DROPIN_PATH": os.path.join(self.folder, "packaged"),
            "PRVNG_PLUGIN_PATH": os.path.join(self.folder, "plugins"),
            "PRVNG_LIBEXEC_PATH": self.libexec(),
            "PRVNG_SCHEMA_PATH": os.path.join(SOURCE, "kcl"),
            "LC_ALL": "C.UTF-8",
            "TERM": "dumb",
        })
        # What the tests' plugins leave for good is no leak; a failed check is an abort in any case.
        self.env["ASAN_OPTIONS"] = "abort_on_error=1:detect_leaks=0"
        self.env["TSAN_OPTIONS"] = "atexit_sleep_ms=0"
        self.env["UBSAN_OPTIONS"] = "print_stacktrace=1"

    def libexec(self):
        """One folder with links to all helper programs of the build."""
        folder = os.path.join(self.folder, "libexec")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(BUILD, "meson-info", "intro-installed.json"), encoding="utf-8") as f:
            for built, installed in json.load(f).items():
                link = os.path.join(folder, os.path.basename(installed))
                if "/libexec/prvng/" in installed and not os.path.lexists(link):
                    os.symlink(built, link)
        return folder

    def dropin(self, name, file, config="", more=""):
        self.write(f"packaged/{name}.conf",
                   f'plugin: {{ name = "{name}"; file = "{file}"; {more}\n'
                   f"        config: {{ {config} }}; }};\n")

    def path(self, relative):
        return os.path.join(self.folder, relative)

    def write(self, relative, content):
        path = self.path(relative)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            if isinstance(content, str):
                f.write(isolated(content) if content.startswith("plugin:") else content)
            else:
                json.dump(content, f, indent=2)
        return path

    # Commands

    def popen(self, *args, env=None, **more):
        """Starts a command; what it prints goes to files, so that it never waits for a reader."""
        out, err = tempfile.TemporaryFile(dir=self.folder), tempfile.TemporaryFile(dir=self.folder)
        p = subprocess.Popen([PRVNG, *args], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                             env={**self.env, **(env or {})}, cwd=more.pop("cwd", self.folder), **more)
        p.out, p.err = out, err
        return p

    @staticmethod
    def printed(file):
        return os.pread(file.fileno(), 1 << 26, 0).decode(errors="replace")

    def prvng(self, *args, env=None, timeout=None, **more):
        p = self.popen(*args, env=env, **more)
        return self.finish(p, timeout)

    def finish(self, p, timeout=None):
        """Waits for a command and returns its Result."""
        limit, late = timeout or PATIENCE, False
        try:
            p.wait(limit)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
            late = True
        r = Result(["prvng", *p.args[1:]], p.returncode, self.printed(p.out), self.printed(p.err))
        p.out.close()
        p.err.close()
        self.look()
        if late:
            raise Failed(f"a command took longer than {limit} s\n{r}")
        return r

    # The engine

    def engine(self):
        """The pid of the site's living engine, or 0: who holds the home store holds all."""
        for lock in glob.glob(os.path.join(self.state, "stores", self.store or "*", "lock")):
            try:
                with open(lock, encoding="ascii") as f:
                    pid = int(f.read().split()[1])
                with open(f"/proc/{pid}/comm", encoding="ascii") as f:
                    if f.read().startswith(("prvngd", "prvng")) and alive(pid):
                        return pid
            except (OSError, ValueError, IndexError):
                continue
        return 0

    def look(self):
        pid = self.engine() if ISOLATED else 0
        if pid:
            look_at(pid)

    def start_engine(self, *args, env=None, expect_ready=True):
        """A prvngd of our own. Returns the Popen; with expect_ready its ready line was "ok"."""
        r, w = os.pipe()
        p = subprocess.Popen([PRVNGD, "--ready-fd", str(w), *args], stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=open(self.path("engine.err"), "ab"),
                             env={**self.env, **(env or {})}, cwd=self.folder, pass_fds=[w])
        os.close(w)
        self.spawned.append(p)
        with os.fdopen(r, encoding="utf-8") as f:
            p.said = f.readline().strip()
        if expect_ready:
            check(p.said == "ok", f"the engine did not start: {p.said}")
        return p

    def kill_engine(self, number=signal.SIGKILL):
        pid = self.engine()
        check(pid, "there is no engine to kill")
        self.look()
        os.kill(pid, number)
        self.reap(pid)
        return pid

    def reap(self, pid, seconds=None):
        def gone():
            for p in self.spawned:
                if p.pid == pid:
                    return p.poll() is not None
            try:
                return os.waitpid(pid, os.WNOHANG)[0] == pid or not alive(pid)
            except ChildProcessError:
                return not alive(pid)
        wait_for(f"the end of process {pid}", gone, seconds)

    def get(self, path, method="GET", body=None):
        """Asks the running engine: status and document."""
        c = UnixConnection(os.path.join(self.state, "prvngd.sock"))
        try:
            c.request(method, path, body=json.dumps(body) if body is not None else None,
                      headers={"Content-Type": "application/json"})
            r = c.getresponse()
            text = r.read()
            return r.status, json.loads(text) if text else None
        finally:
            c.close()

    def log(self):
        text = ""
        for name in (os.path.join(self.state, "prvngd.log"), self.path("engine.err")):
            try:
                with open(name, encoding="utf-8", errors="replace") as f:
                    text += f.read()
            except OSError:
                pass
        return text

    def close(self):
        pid = self.engine()
        self.look()
        late = None
        if pid:
            os.kill(pid, signal.SIGTERM)
            try:
                self.reap(pid, 30 if SANITIZED else 5)
            except Failed:
                os.kill(pid, signal.SIGKILL)
                self.reap(pid)
                late = f"the engine {pid} did not end within 5 s of SIGTERM"
        for p in self.spawned:
            if p.poll() is None:
                p.kill()
            p.wait()
        log = self.log()
        if self.own and not os.environ.get("PRVNG_TEST_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)
        check(not late, str(late), log[-4000:])
        for word in WORDS:
            check(word not in log, "a sanitizer complains in the engine", log[-8000:])

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind:
            log = self.log()
            if log:
                print("# log of the engine: " + log[-4000:].replace("\n", "\n# "), flush=True)
            try:
                self.close()
            except Failed as e:
                print("# " + str(e).replace("\n", "\n# "), flush=True)
        else:
            self.close()

    # The world of the test plugins

    def effects(self):
        """All effects that testcloud, testserv and testtop ever caused."""
        found = []
        for path in glob.glob(os.path.join(self.world, "effects", "*.json")):
            with open(path, encoding="utf-8") as f:
                found.append(json.load(f))
        return found

    def violations(self):
        return sorted(os.listdir(os.path.join(self.world, "violations"))) \
            if os.path.isdir(os.path.join(self.world, "violations")) else []

    def servers(self):
        """What stands on a server goes with it, without being asked."""
        return [r for r in self.existing() if r.startswith("server.")]

    def existing(self):
        folder = os.path.join(self.world, "resources")
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


class Skip(Exception):
    """Why a test cannot be run here."""


def main(tests, parallel=1):
    """Runs test functions (each says in its first doc line what it tests), all or those named by
    arguments. Prints TAP; what went wrong stands in comments behind the line of its test."""
    todo = [t for t in tests if not sys.argv[1:] or t.__name__ in sys.argv[1:]]
    todo.reverse()
    results, printing = [], threading.Lock()
    print(f"1..{len(todo) + ISOLATED}", flush=True)

    def attempt(test):
        try:
            test()
        except Skip as e:
            return "skip", str(e)
        except Failed as e:
            return "FAILED", str(e)
        except Exception:  # pylint: disable=broad-except
            import traceback
            return "FAILED", traceback.format_exc()
        return "ok", ""

    def work():
        while True:
            try:
                test = todo.pop()
            except IndexError:
                return
            start = time.monotonic()
            verdict, text = attempt(test)
            took = time.monotonic() - start
            what = (test.__doc__ or "").strip().splitlines()[0]
            with printing:
                results.append(verdict)
                print(f"{'not ok' if verdict == 'FAILED' else 'ok'} {len(results)} - {test.__name__}: {what}"
                      f"{' # SKIP ' + text if verdict == 'skip' else ''}", flush=True)
                print(f"# {took:.2f} s", flush=True)
                if verdict == "FAILED":
                    print("# " + text.replace("\n", "\n# "), flush=True)

    threads = [threading.Thread(target=work) for _ in range(parallel)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if ISOLATED:
        wrong = looks["wrong"] or ([] if looks["helpers"] else ["no engine with a plugin's process was ever seen"])
        nothing = set(results) == {"skip"}
        wrong = [] if nothing else wrong
        print(f"{'not ok' if wrong else 'ok'} {len(results) + 1} - isolated: {len(looks['engines'])} engines, looked at "
              f"{looks['n']} times, had {len(looks['helpers'])} processes of plugins and no plugin inside but stores"
              f"{' # SKIP nothing was run' if nothing else ''}")
        for line in sorted(set(wrong)):
            print("# " + line)
        results.append("FAILED" if wrong else "ok")
    sys.exit(1 if "FAILED" in results else 0)
