#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Wait conditions: a task that starts once an expression over the outputs of a resource is true.

The provider is testcloud, a cloud in a folder, whose servers the tests change from outside.
Arguments: names of tests, to run only these.
"""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from live import Site, alive, check, main, wait_for  # noqa: E402

RUNNING = "outputs.state == 'running'"


def workflow(condition=RUNNING, timeout=300, **more):
    """testserv on web-0 waits for the condition; the server says of itself that it is starting."""
    return {"shop": {
        "name": "shop", "type": "batch",
        "retry_policy": {"max_attempts": 1, "backoff": "linear", "initial_delay": 0, "max_delay": 0},
        "servers": [{"name": "web-0", "provider": "testcloud", "cpu": 1,
                     "testcloud": {"result": {"state": "starting", "größe": "klein"}}}],
        "operations": [
            {"id": "make", "type": "create", "target": "server", "items": ["web-0"], "on_failure": "fail"},
            {"id": "install", "type": "create", "target": "taskserv", "items": ["testserv"],
             "depends_on": ["make"], "on_failure": "fail", "timeout": timeout},
        ],
        "dependencies": [{"source": "taskserv.testserv", "target": "server.web-0",
                          "wait_condition": condition, **more}],
    }}


def set_state(site, state):
    """What anybody who looks at the server sees from now on."""
    path = os.path.join(site.world, "resources", "server.web-0")
    with open(path, encoding="utf-8") as f:
        server = json.load(f)
    server["result"]["state"] = state
    with open(path + ".new", "w", encoding="utf-8") as f:
        json.dump(server, f)
    os.rename(path + ".new", path)


def waiting(site, part):
    """The waiting task of the status, once its message has that part."""
    def look():
        r = site.prvng("batch", "status", "shop", "--format", "json")
        if r.code:
            return None
        for task in r.json()["tasks"]:
            said = task.get("waits_until") or {}
            if part in said.get("message", ""):
                return task
        return None
    return wait_for(f"a task that waits and says {part}", look)


def calls(site, *words):
    """Lines of the plugins' log that have all the words."""
    with open(os.path.join(site.world, "calls.log"), encoding="utf-8") as f:
        return [line for line in f if all(word in line.split() for word in words)]


def becomes_true():
    """The status says what is waited for, since when, and what was seen last; then it is true."""
    with Site(plugins=("jinja2",)) as site:
        p = site.popen("batch", "submit", site.write("w.json", workflow()), "--watch")
        task = waiting(site, 'outputs.state = "starting"')
        check(task["id"] == "install/testserv@web-0", "another task waits", task)
        check(f"{RUNNING} of server.web-0" in task["waits_until"]["message"], "not what it waits for", task)
        check(task["waits_until"]["since"], "since when is not said", task)
        check(not calls(site, "begin", "testserv"), "the task was begun", calls(site))
        r = site.prvng("batch", "status", "shop").expect(0, RUNNING, 'outputs.state = "starting"')
        set_state(site, "booting")
        later = waiting(site, 'outputs.state = "booting"')
        check(later["waits_until"]["since"] == task["waits_until"]["since"], "it waits since another time", later)
        set_state(site, "running")
        r = site.finish(p).expect(0, "succeeded")
        check(len(calls(site, "begin", "testserv")) == 1, "not begun once", calls(site))
        check("waits" in r.out + r.err, "a follower does not read that it waits", r)


def times_out():
    """What does not become true in the operation's time fails, with what was seen."""
    with Site(plugins=("jinja2",)) as site:
        r = site.prvng("batch", "submit", site.write("w.json", workflow(timeout=2)), "--watch").expect(
            1, "timed out after 2 s", RUNNING, 'outputs.state = "starting"')
        check(not calls(site, "begin", "testserv"), "the task was begun", r, calls(site))


def survives_the_engine():
    """An engine that is killed while a task waits: the next one waits on, and no worker is left."""
    with Site(plugins=("jinja2",)) as site:
        p = site.popen("batch", "submit", site.write("w.json", workflow()))
        site.finish(p)
        waiting(site, 'outputs.state = "starting"')
        workers = evaluators(site.engine())
        check(workers, "nothing evaluates")
        site.kill_engine()
        wait_for("the end of what evaluates", lambda: not any(alive(pid) for pid in workers))
        set_state(site, "running")
        site.start_engine()
        site.prvng("batch", "attach", "shop").expect(0, "succeeded")
        check(len(calls(site, "begin", "testserv")) == 1, "not begun once", calls(site))


def evaluators(parent):
    """The pids of the sandboxes below a process, or below its plugins' processes, and of what they run."""
    found, parents = [], {parent}
    for _ in range(3):
        children = set()
        for name in os.listdir("/proc"):
            try:
                with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as f:
                    text = f.read()
            except OSError:
                continue
            comm, rest = text.split("(", 1)[1].rsplit(")", 1)
            if int(rest.split()[1]) in parents:
                children.add(int(name))
                if comm in ("prvng-sandbox", "python3"):
                    found.append(int(name))
        parents = children
    return found


def not_there_yet():
    """A member that is not there yet is waited for like a value."""
    with Site(plugins=("jinja2",)) as site:
        w = workflow("outputs.ready")
        p = site.popen("batch", "submit", site.write("w.json", w), "--watch")
        waiting(site, "outputs.ready is not defined")
        path = os.path.join(site.world, "resources", "server.web-0")
        with open(path, encoding="utf-8") as f:
            server = json.load(f)
        server["result"]["ready"] = True
        with open(path + ".new", "w", encoding="utf-8") as f:
            json.dump(server, f)
        os.rename(path + ".new", path)
        site.finish(p).expect(0, "succeeded")


def is_checked_first():
    """An expression that is none is an error of the definition, at its place, before anything runs."""
    with Site(plugins=("jinja2",)) as site:
        file = site.write("w.json", json.dumps(workflow("outputs.state =="), indent=1))
        with open(file, encoding="utf-8") as f:
            line = 1 + next(i for i, text in enumerate(f) if "wait_condition" in text)
        for flag in ("--validate", "--dry-run", "--watch"):
            site.prvng("batch", "submit", file, flag).expect(
                3, f"w.json:{line}:", "unexpected 'end of expression', line 1, column 17")
        check(not site.engine(), "an engine was started")
        site.prvng("batch", "submit", site.write("w.json", workflow("output.state")), "--validate").expect(
            3, 'there is no variable "output" here, only outputs, resource')
        site.prvng("batch", "submit", site.write("w.json", workflow(type="optional")), "--validate").expect(
            3, "make its type hard or soft")
        file = site.write("w.json", workflow())
        site.prvng("batch", "submit", file, "--dry-run").expect(0, f"waits until {RUNNING} on server.web-0")
        plan = site.prvng("batch", "submit", file, "--dry-run", "--format", "json").expect(0).json()
        waits = {t["id"]: t["waits"] for t in plan["tasks"]}
        check(waits == {"make/web-0": [], "install/testserv@web-0":
                        [{"on": "server.web-0", "until": RUNNING}]}, "other conditions", waits)
    with Site() as site:
        site.prvng("batch", "submit", site.write("w.json", workflow()), "--dry-run").expect(
            3, "a condition needs a plugin that evaluates expressions, such as jinja2, and there is none")


def says_what_it_needs():
    """`prvng plugin info` tells whether Jinja2 works here, and what to do if not."""
    with Site(plugins=("jinja2",)) as site:
        info = site.prvng("plugin", "info", "jinja2", "--format", "json").expect(0).json()
        check(all(c["ok"] for c in info["self_test"]["checks"]), "it does not work here", info)
    with Site(plugins=("jinja2",)) as site:
        site.dropin("jinja2", os.path.join(os.environ["PRVNG_TEST_BUILD"], "plugins", "jinja2.so"),
                    'python = "/nowhere/python3";')
        site.prvng("plugin", "info", "jinja2").expect(0, "apt-get install python3-jinja2")
        site.prvng("batch", "submit", site.write("w.json", workflow()), "--dry-run").expect(
            3, "apt-get install python3-jinja2")


if __name__ == "__main__":
    main([becomes_true, times_out, survives_the_engine, not_there_yet, is_checked_first,
          says_what_it_needs], parallel=2)
