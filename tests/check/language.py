#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A plugin of examples/plugins, in another language than C: built as its author would build it, out of tree and
against the SDK as pkg-config knows it, and checked by prvng-plugin-check with the scenario of all of them.

    language.py CHECKER FOLDER_OF_THE_BUILD LANGUAGE

Then an engine runs it, in a process of its own as its note recommends, and goes on when that process is killed.

TAP. What it builds is FOLDER_OF_THE_BUILD/files-LANGUAGE.so and stays there, to be looked at.
"""
import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile

SOURCE, BUILD = os.environ["PRVNG_TEST_SOURCE"], os.environ["PRVNG_TEST_BUILD"]
EXAMPLES = os.path.join(SOURCE, "examples", "plugins")
sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))
import live  # noqa: E402 pylint: disable=wrong-import-position

WORKFLOW = {"name": "web", "servers": [{"name": f"web-{n}", "cpu": 1} for n in range(2)],
            "operations": [{"id": "make", "type": "create", "target": "server", "items": ["web-0", "web-1"]}]}
CHECKER, OUT, LANGUAGE = os.path.abspath(sys.argv[1]), *sys.argv[2:4]


def skip(reason):
    print(f"1..0 # SKIP {reason}: scripts/bootstrap installs it")
    sys.exit(0)


def program(name, *places):
    for path in (*places, shutil.which(name)):
        if path and os.access(path, os.X_OK):
            return path
    return skip(f"there is no {name}")


def environment(**more):
    """pkg-config finds the SDK of this build; nothing is fetched from anywhere."""
    return {**os.environ, "PKG_CONFIG_PATH": os.path.join(BUILD, "meson-uninstalled"), **more}


def run(argv, folder, env):
    done = subprocess.run(argv, cwd=folder, env=env, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    return done.returncode, "$ " + " ".join(argv) + "\n" + done.stdout


def build_cpp(folder, out):
    program("g++")
    meson = program("meson")
    env = environment(PATH=os.path.dirname(CHECKER) + ":" + os.environ["PATH"])
    code, said = run([meson, "setup", "build"], folder, env)
    if code == 0:
        code, said = run([meson, "compile", "-C", "build"], folder, env)
        said += "warnings are errors here" if "warning:" in said else ""
        shutil.copy(os.path.join(folder, "build", "files-cpp.so"), out) if code == 0 else None
    return code or "warning:" in said, said


def build_rust(folder, out):
    cargo = program("cargo")
    program("rustc")
    code, said = run([cargo, "build", "--release", "--offline", "--locked", "--target-dir", folder + "/target"], folder,
                     environment(RUSTFLAGS="-D warnings"))
    if code == 0:
        shutil.copy(os.path.join(folder, "target", "release", "libfiles_rust.so"), out)
    return code, said


def build_go(folder, out):
    own = os.path.join(SOURCE, ".venv", "go")
    go = program("go", os.path.join(own, "site", "go", "bin", "go"))
    more = {"GOCACHE": os.path.join(own, "cache")} if go.startswith(own) else {}
    env = environment(CGO_ENABLED="1", GOPROXY="off", GOTOOLCHAIN="local", GOFLAGS="", GOWORK="off", **more)
    code, said = run([go, "build", "-buildmode=c-shared", "-o", out, "."], folder, env)
    if code == 0:
        os.unlink(out[:-3] + ".h")
    return code, said


def helper_of(engine, name):
    """The pid of the process that has the plugin mapped, which must not be the engine."""
    def mapped(pid):
        try:
            with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as f:
                return f"/{name}.so" in f.read()
        except OSError:
            return False
    live.check(not mapped(engine), f"{name} is mapped into the engine")
    for path in glob.glob(f"/proc/{engine}/task/*/children"):
        with open(path, encoding="ascii") as f:
            for child in f.read().split():
                if mapped(child):
                    return int(child)
    return 0


def in_an_engine(out):
    name = f"files-{LANGUAGE}"
    with live.Site(conf=f'provider = "{name}";\n') as site:
        servers = site.path("servers")
        os.mkdir(servers)
        site.dropin(name, out, f'folder = "{servers}";', f'capabilities: {{ paths: {{ write = [ "{servers}" ]; }}; }};')
        workflow = site.write("web.json", WORKFLOW)
        site.prvng("batch", "submit", workflow, "--watch").expect(0)
        live.check(sorted(f for f in os.listdir(servers) if f[0] != ".") == ["web-0.json", "web-1.json"],
                   "two servers were made", os.listdir(servers))
        pid = helper_of(site.engine(), name)
        live.check(pid, f"no process of the engine's has {name}")
        os.kill(pid, signal.SIGKILL)
        live.wait_for("the end of the plugin's process", lambda: not live.alive(pid))
        site.prvng("batch", "submit", workflow, "--watch").expect(0)
        site.prvng("batch", "destroy", "web", "--watch").expect(0)
        live.check(not [f for f in os.listdir(servers) if f[0] != "."], "both are gone", os.listdir(servers))
        live.check(helper_of(site.engine(), name) not in (0, pid), "the plugin was started again")


def engine_runs(out):
    try:
        in_an_engine(out)
    except live.Failed as e:
        return 1, str(e)
    return 0, ""


def main():
    out = os.path.join(OUT, f"files-{LANGUAGE}.so")
    results = []
    with tempfile.TemporaryDirectory(prefix="prvng-language-") as top:
        os.chmod(top, 0o755)
        folder = os.path.join(top, LANGUAGE)
        shutil.copytree(os.path.join(EXAMPLES, LANGUAGE), folder)
        shutil.copy(os.path.join(EXAMPLES, "check.json"), top)
        results.append(("builds against the SDK", *{"cpp": build_cpp, "rust": build_rust, "go": build_go}[LANGUAGE](
            folder, out)))
        if results[0][1] == 0:
            results.append(("keeps the contract", *run(
                [os.path.join(os.path.dirname(os.path.abspath(__file__)), "plugin.py"), CHECKER, out, "--scenario",
                 os.path.join(top, "check.json")], top, dict(os.environ))))
            results.append(("runs in a process of its own, and again when that is killed", *engine_runs(out)))
    print(f"1..{len(results)}")
    for number, (name, code, said) in enumerate(results, 1):
        print("not ok" if code else "ok", number, "-", f"files-{LANGUAGE} {name}")
        for line in said.splitlines()[-200:]:
            print("#", line)
    return 1 if any(code for _, code, _ in results) else 0


sys.exit(main())
