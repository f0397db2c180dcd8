#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The example of the plan, its first two phases, on real local servers.

Needs root; what is missing beside that is said by the provider's own probe. The tests build on each
other: one site, made by the first, taken down by the last.
"""
import glob
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from live import BUILD, SOURCE, Failed, Site, Skip, alive, check, main, wait_for  # noqa: E402

EXAMPLE = os.path.join(SOURCE, "examples", "klab", "wuji")
ORDERS = os.path.join(SOURCE, "examples", "klab", "orders")
NAME = "wuji-full-deployment"
SERVERS = ("wuji-cp-0", "wuji-strg-0", "wuji-worker-0")
TASKSERVS = ("os", "resolv", "containerd")
ONLY = ("--only", "create-servers,install-base")
MINUTES = 60  # seconds

site = None
hash_ = None
missing = None  # why the tests that follow cannot run
op_ids = {}


def need_site():
    if missing:
        raise Skip(missing)
    if not site:
        raise Failed("the servers were not made; see above")


def tasks():
    return {t["id"]: t for t in
            site.prvng("batch", "status", NAME, "--format", "json").expect(0).json()["tasks"]}


def inside(server, *command, code=0, timeout=60):
    r = site.prvng("server", "exec", server, "--", *command, timeout=timeout)
    if code is not None:
        r.expect(code)
    return r


def monitors():
    """Pids of the processes that keep this site's servers."""
    found = {}
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as f:
                argv = f.read().decode(errors="replace").split("\0")
        except OSError:
            continue
        if os.path.basename(argv[0]) == "prvng-local-monitor" and len(argv) > 2 and argv[1].startswith(site.folder):
            found.setdefault(argv[2], []).append(int(path.split("/")[2]))
    return found


def leftovers():
    """What is on this machine of this site, outside of files; one line each."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        found += ["mount " + line.split()[4] for line in f if line.split()[4].startswith(site.folder)]
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as f:
                argv = f.read().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
        if site.folder + "/" in argv and int(path.split("/")[2]) != os.getpid():
            found.append(f"process {path.split('/')[2]} {argv}")
    if hash_:
        for depth in ("*", "*/*"):
            found += ["cgroup " + p for p in glob.glob(f"/sys/fs/cgroup/{depth}") if p.endswith(f"prvng-{hash_}")]
        links = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=False).stdout
        found += ["link " + x.split()[0] for x in links.splitlines()
                  if x.startswith((f"prvng-{hash_}", f"pv{hash_}"))]
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False).stdout
        found += ["nft " + x for x in tables.splitlines() if f"prvng_{hash_}" in x]
    return found


def kcl_equals_json():
    """The KCL, YAML and JSON forms of the example give the same plan."""
    with Site('provider = "local";\n', plugins=("local",) + TASKSERVS) as s:
        plans = {}
        for form in ("json", "yaml", "k"):
            file = os.path.join(EXAMPLE, f"workflows.{form}")
            r = s.prvng("batch", "submit", file, *ONLY, "--dry-run", "--format", "json", timeout=120)
            if form == "k" and "KCL is not installed" in r.err + r.out:
                raise Skip("KCL is not installed here; YAML and JSON are the same")
            plans[form] = r.expect(0).json()
            check(len([t for t in plans[form]["tasks"] if t["operation"] == "install-base"]) >= 9, "a short plan", r)
        check(plans["yaml"] == plans["json"], "YAML and JSON differ")
        if "k" in plans:
            check(plans["k"] == plans["json"], "KCL and JSON differ", json.dumps(plans["k"]), json.dumps(plans["json"]))
            both = [s.prvng("batch", "submit", os.path.join(ORDERS, f"workflows.{form}"), "--dry-run", "--format",
                            "json", timeout=120).expect(0).json() for form in ("k", "json")]
            check(both[0] == both[1], "KCL and JSON of the second example differ", *map(json.dumps, both))


def killed_in_the_middle():
    """The engine is killed while containerd is being installed; the next one finds the same job."""
    global site, hash_, missing
    if os.geteuid() != 0:
        missing = "real servers with limits need root"
        raise Skip(missing)
    cache = os.environ.get("PRVNG_TEST_CACHE") or os.path.join(BUILD, "test-cache")
    s = Site(f'provider = "local";\ncache = "{cache}";\n', plugins=("local",) + TASKSERVS, idle=300)
    s.prvng("batch", "submit", os.path.join(EXAMPLE, "workflows.json"), *ONLY, "--format", "json").expect(0)
    site = s

    def one_is_under_way():
        global hash_
        t = tasks()
        bad = [x for x in t.values() if x["status"] == "failed"]
        check(not bad, "a task failed", *bad, site.prvng("batch", "logs", NAME).out)
        try:
            with open(os.path.join(site.state, "plugins", "local", "site.json"), encoding="utf-8") as f:
                hash_ = json.load(f)["hash"][:6]
        except (OSError, ValueError):
            pass
        for x in t.values():
            if x["item"] == "containerd" and x["status"] in ("running", "pending") and x.get("op_id"):
                r = inside(x["server"], "cat", f"/var/lib/prvng/jobs/{x['op_id']}/started", code=None)
                if r.code == 0 and r.out.strip():
                    return x, r.out
        check(any(x["status"] in ("waiting", "ready", "running", "pending", "retrying") for x in t.values()),
              "the run is over already", t)
        return None

    task, started = wait_for("the installation of containerd", one_is_under_way, 5 * MINUTES)
    before = monitors()
    check(set(before) == set(SERVERS), "the monitors of three servers", before)
    op_ids.update({k: x["op_id"] for k, x in tasks().items() if x.get("op_id")})
    pid = site.kill_engine(signal.SIGKILL)
    print(f"# killed engine {pid} while {task['id']} ran as job {task['op_id']}", flush=True)

    # Nobody looks after them now: servers and job go on.
    check(not site.engine(), "an engine is left")
    for server in SERVERS:
        inside(server, "true")
    check(monitors() == before, "monitors died with the engine", before, monitors())
    wait_for("the end of the job without an engine",
             lambda: inside(task["server"], "cat", f"/var/lib/prvng/jobs/{task['op_id']}/status", code=None).code == 0,
             3 * MINUTES)
    check(not site.engine(), "a look started an engine")

    r = site.prvng("batch", "attach", NAME, timeout=5 * MINUTES).expect(0, "succeeded")
    check(inside(task["server"], "cat", f"/var/lib/prvng/jobs/{task['op_id']}/started").out == started,
          "the job was started a second time", r)
    check(monitors() == before, "servers were made again", before, monitors())
    site.prvng("store", "check").expect(0)


def made_once():
    """Each server and each taskserv: one intent, one result, one server, one job."""
    need_site()
    run = site.prvng("batch", "status", NAME, "--format", "json").expect(0).json()
    check(run["status"] == "succeeded", "the run", run["status"])
    lines = [json.loads(x) for x in site.prvng("store", "cat", f"run-{run['id']}").expect(0).out.splitlines()]
    for number, task in enumerate(x for x in lines if x["type"] == "task"):
        if task["verb"] == "join":
            continue
        intents = [x for x in lines if x["type"] == "intent" and x["task"] == number]
        done = [x for x in lines if x["type"] == "done" and x["task"] == number]
        check(len(intents) == 1 and len(done) == 1, f"{task['id']}: intents, results", intents, done)
        if task["id"] in op_ids:
            check(intents[0]["op_id"] == op_ids[task["id"]], f"{task['id']} got another op id")
    check(sorted(os.listdir(os.path.join(site.state, "plugins", "local", "servers"))) == sorted(SERVERS), "servers")
    check(all(len(p) == 1 for p in monitors().values()), "monitors", monitors())


def services_answer():
    """What was installed runs and answers in each server; servers know each other and the outside."""
    need_site()
    for server in SERVERS:
        check("Server:" in inside(server, "ctr", "version").out, f"containerd in {server}")
        inside(server, "systemctl", "-q", "is-active", "containerd", "systemd-resolved")
        check(inside(server, "hostname").out.strip() == server, f"the name of {server}")
        for other in SERVERS:
            check(inside(server, "getent", "hosts", other).out.strip(), f"{server} does not know {other}")
    first = inside(SERVERS[0], "hostname", "-I").out.split()[0]
    check(inside(SERVERS[1], "getent", "hosts", SERVERS[0]).out.split()[0] == first, "another address")
    inside(SERVERS[1], "ping", "-c", "1", "-W", "5", SERVERS[0], code=None)
    listed = site.prvng("server", "list", "--format", "json").expect(0).out
    check(all(x in listed for x in SERVERS) and first in listed, "server list", listed)
    site.prvng("batch", "logs", NAME, f"install-base/containerd@{SERVERS[0]}").expect(0)
    site.prvng("server", "logs", SERVERS[0]).expect(0, "systemd")
    check(inside(SERVERS[0], "sh", "-c", "exit 42", code=None).code == 42, "the exit code of a command")


def limits_hold():
    """A server that takes more memory or processes than it has does not get them."""
    need_site()
    r = inside(SERVERS[0], "sh", "-c", "head -c 3000000000 /dev/zero | tail -c 2999999999 | wc -c", code=None,
               timeout=120)
    check("2999999999" not in r.out, "a server of 1 GiB used 3", r)
    inside(SERVERS[0], "systemctl", "is-system-running", "--wait", code=None)
    inside(SERVERS[0], "true")
    count = inside(SERVERS[0], "sh", "-c", "nproc; for i in $(seq 40000); do sleep 6 & done 2>/dev/null; "
                                           "ps ax | wc -l", code=None, timeout=120)
    numbers = [int(x) for x in count.out.split() if x.isdigit()]
    check(not numbers or numbers[-1] < 39000, "no limit of processes", count)
    wait_for("the server to have room for processes again",
             lambda: inside(SERVERS[0], "pgrep", "-x", "sleep", code=None).code == 1, 60)


def again_unchanged():
    """A second run changes nothing, and says so of every task."""
    need_site()
    start = time.monotonic()
    site.prvng("batch", "submit", os.path.join(EXAMPLE, "workflows.json"), *ONLY, "--watch", timeout=180).expect(0)
    said = {x["status"] for x in tasks().values()}
    check(said == {"unchanged"}, "something changed", {k: x["status"] for k, x in tasks().items()})
    print(f"# it took {time.monotonic() - start:.1f} s", flush=True)
    site.prvng("batch", "check", NAME, timeout=180).expect(0)


def drift_is_seen():
    """A service that somebody stopped is drift: exit code 8; another run puts it right."""
    need_site()
    inside(SERVERS[2], "systemctl", "disable", "--now", "containerd")
    r = site.prvng("batch", "check", NAME, timeout=180).expect(8)
    check(f"containerd@{SERVERS[2]}" in r.out, "it does not name what differs", r)
    site.prvng("batch", "submit", os.path.join(EXAMPLE, "workflows.json"), *ONLY, "--watch", timeout=180).expect(0)
    site.prvng("batch", "check", NAME, timeout=180).expect(0)
    inside(SERVERS[2], "systemctl", "-q", "is-active", "containerd")


def take_down(destroy=None):
    """Ends the site: nothing may be left of it on the machine."""
    global site
    try:
        if destroy:
            site.prvng("batch", "destroy", destroy, "--watch", timeout=180).expect(0)
        check(not site.prvng("resource", "list", "--format", "json").json()["resources"], "the inventory")
        if site.engine():
            site.kill_engine(signal.SIGTERM)
        wait_for("nothing to be left", lambda: not leftovers(), 20)
    except Failed as e:
        raise Failed(f"{e}\nleft: " + "\n".join(leftovers())) from None
    finally:
        if site.engine():
            site.kill_engine()
        for pids in monitors().values():  # else the machine fills up
            for pid in pids:
                if alive(pid):
                    os.kill(pid, signal.SIGTERM)
        site.close()
        site = None


def nothing_left():
    """destroy removes all: no server, process, mount, cgroup, link or table is left."""
    need_site()
    take_down(NAME)


def second_site():
    global site, hash_
    if os.geteuid() != 0:
        raise Skip("real servers with limits need root")
    cache = os.environ.get("PRVNG_TEST_CACHE") or os.path.join(BUILD, "test-cache")
    site = Site(f'provider = "local";\ncache = "{cache}";\n', plugins=("local",) + TASKSERVS, idle=300)
    hash_ = None


def read_hash():
    global hash_
    with open(os.path.join(site.state, "plugins", "local", "site.json"), encoding="utf-8") as f:
        hash_ = json.load(f)["hash"][:6]


def undone_for_real():
    """What a failing run made is undone, though the engine is killed meanwhile: nothing is left."""
    second_site()
    try:
        p = site.popen("batch", "submit", os.path.join(ORDERS, "workflows.json"), "--watch")

        def undo_under_way():
            r = site.prvng("batch", "status", "orders", "--format", "json")
            found = [t for t in r.json()["tasks"] if t["status"] == "undoing"] if r.code == 0 else []
            check(found or p.poll() is None, "the run is over already", r)
            return found
        undoing = wait_for("an undo", undo_under_way, 5 * MINUTES)
        read_hash()
        pid = site.kill_engine()
        print(f"# killed engine {pid} during the undo of {', '.join(t['id'] for t in undoing)}", flush=True)
        r = site.finish(p, 3 * MINUTES).expect(4, "rolled back", "postgresql-99")
        run = site.prvng("batch", "status", "orders", "--format", "json").expect(0).json()["id"]
        lines = [json.loads(x) for x in site.prvng("store", "cat", f"run-{run}").expect(0).out.splitlines()]
        undos = [x["task"] for x in lines if x["type"] == "undo"]
        check(len(undos) == 5 and len(set(undos)) == 5, "undos", undos, r)
        check(monitors() == {}, "a server is left", monitors())
        site.prvng("store", "check").expect(0)
    finally:
        take_down()


def restored_for_real():
    """A rollback gives a real server the memory back that it had before, and leaves the rest alone."""
    second_site()
    try:
        def shop(memory):
            return site.write("w.json", {"shop": {
                "name": "shop", "servers": [{"name": "shop-0", "cpu": 1, "memory": memory, "disk": 4}],
                "operations": [{"id": "make", "type": "create", "target": "server", "items": ["shop-0"]}]}})
        site.prvng("batch", "submit", shop(512), "--watch", timeout=5 * MINUTES).expect(0)
        read_hash()
        before = monitors()
        site.prvng("batch", "submit", shop(768), "--watch", timeout=180).expect(0)
        site.prvng("batch", "rollback", "shop", "--dry-run").expect(0, "memory: 768 -> 512")
        site.prvng("batch", "rollback", "shop", "--watch", timeout=180).expect(4)
        there = site.prvng("resource", "show", "server.shop-0", "--format", "json").expect(0).json()
        check(there["spec"]["memory"] == 512, "the inventory", there)
        site.prvng("batch", "check", "shop", timeout=180).expect(0)
        check(monitors() == before, "the server was made again", before, monitors())
    finally:
        take_down("shop")


if __name__ == "__main__":
    main([kcl_equals_json, killed_in_the_middle, made_once, services_answer, limits_hold, again_unchanged,
          drift_is_seen, nothing_left, undone_for_real, restored_for_real])
