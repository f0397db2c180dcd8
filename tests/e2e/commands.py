#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a person and a script get from the commands: exit codes, documents, messages.

The provider is testcloud, a cloud in a folder; the programs are the real ones.
Arguments: names of tests, to run only these.
"""
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from live import BUILD, PATIENCE, PRVNG, Result, Site, Skip, alive, check, main, wait_for  # noqa: E402


def workflow(name="shop", servers=("web-0", "web-1"), taskservs=("testserv",), scripts=None,
             vars_=None, cpu=None, **more):
    """A definition; `scripts`: what testcloud does for a server."""
    scripts = scripts or {}
    operations = [{"id": "make", "type": "create", "target": "server", "items": list(servers),
                   "on_failure": "fail"}]
    if taskservs:
        operations.append({"id": "install", "type": "create", "target": "taskserv",
                           "items": list(taskservs), "depends_on": ["make"], "on_failure": "fail",
                           "vars": vars_ or {}})
    definition = {
        "name": name, "type": "batch",
        "retry_policy": {"max_attempts": 3, "backoff": "linear", "initial_delay": 0, "max_delay": 0},
        "servers": [{"name": s, "provider": "testcloud", "cpu": cpu or 1,
                     **({"testcloud": scripts[s]} if s in scripts else {})} for s in servers],
        "operations": operations,
    }
    definition.update(more)
    return {name.replace("-", "_"): definition}


def submit(site, definition, *more, code=0, name="w.json", **kwargs):
    file = site.write(name, definition)
    return site.prvng("batch", "submit", file, "--watch", *more, **kwargs).expect(code)


def status(site, run, *more):
    return site.prvng("batch", "status", run, "--format", "json", *more).expect(0).json()


def statuses(site, run):
    return {t["id"]: t["status"] for t in status(site, run)["tasks"]}


def run_until(site, definition, what, reached, env=None):
    """Starts a run in the background, waits until reached() says so; the command."""
    file = site.write("w.json", definition)
    p = site.popen("batch", "submit", file, "--watch", env=env)
    wait_for(what, lambda: (reached() and site.printed(p.out)) or p.poll() is not None)
    check(p.poll() is None, "the run is over already", site.finish(p) if p.poll() is not None else "")
    return p


# Usage


def usage():
    """Wrong usage is exit code 2 and says what would be right."""
    with Site() as site:
        site.prvng("--version").expect(0, "prvng 0.")
        for level in ((), ("batch",), ("batch", "submit"), ("resource",), ("server",), ("plugin",),
                      ("store",), ("store", "cat"), ("config", "check"), ("batch", "status")):
            r = site.prvng(*level, "--help").expect(0, "Usage", "xample")
            check(r.out and not r.err, "help belongs on stdout", r)
        site.prvng("batch", "submt", "x").expect(2, "submit")
        site.prvng("batch", "submit").expect(2)
        site.prvng("batch", "submit", "a", "b").expect(2)
        site.prvng("batch", "submit", "a", "--wath").expect(2, "--watch")
        site.prvng("batch", "list", "--format", "xml").expect(2, "json")
        site.prvng().expect(2)
        site.write("w.json", workflow())
        site.prvng("batch", "submit", "w.json", "-D", "nonsense").expect(2, "KEY=VALUE")
        check(not os.path.exists(site.state), "a look or a mistake made the site's state folder")


# Definitions


BROKEN = """{
  "broken": {
    "name": "broken",
    "operatons": [],
    "operations": [
      { "id": "make", "type": "creat", "target": "server", "items": ["a"], "timeout": "soon" },
      { "id": "install", "type": "create", "target": "taskserv", "items": ["testserf"],
        "depends_on": ["mak"] }
    ]
  }
}
"""


def invalid_definition():
    """Exit code 3: all errors of a document at once, each with its place, and nothing is started."""
    with Site() as site:
        site.write("broken.json", BROKEN)
        r = site.prvng("batch", "submit", "broken.json").expect(3)
        for place, text in (("broken.json:4:", "operatons"), ("broken.json:6:", "creat"),
                            ("broken.json:6:", "timeout"), ("broken.json:8:", "mak")):
            check(any(place in line and text in line for line in r.err.splitlines()),
                  f"no line says {place} ... {text}", r)
        check('"operations"' in r.err and '"make"' in r.err, "no \"did you mean\"", r)
        r = site.prvng("batch", "submit", "broken.json", "--format", "json").expect(3)
        problems = r.json()["problems"]
        check(len(problems) >= 4 and all(p["line"] and p["column"] and p["file"] for p in problems),
              "problems without a place", problems)
        site.write("half.json", '{ "x": { "name": "half", ')
        site.prvng("batch", "submit", "half.json").expect(3, "half.json:1")
        site.prvng("batch", "submit", "nowhere.json").expect(3, "nowhere.json")
        site.write("w.yaml", "w:\n  name: w\n  operations:\n    - id: a\n      type: create\n"
                             "      target: serwer\n      items: [a]\n")
        site.prvng("batch", "submit", "w.yaml").expect(3, "w.yaml:6:15", "serwer")
        site.write("t.json", workflow(taskservs=["testserf"]))
        site.prvng("batch", "submit", "t.json").expect(3, "testserf", "testserv")
        cycle = workflow()
        cycle["shop"]["operations"][0]["depends_on"] = ["install"]
        site.write("c.json", cycle)
        site.prvng("batch", "submit", "c.json").expect(3, "make", "install")
        check(not site.engine() and not site.effects(), "something was started")
        site.prvng("batch", "submit", "t.json", "--validate").expect(3)
        site.prvng("batch", "submit", "t.json", "--dry-run").expect(3)


def validate_and_dry_run():
    """--validate and --dry-run start nothing; the plan's document is what scripts rely on."""
    with Site() as site:
        site.write("w.json", workflow(taskservs=["testtop"]))
        site.prvng("batch", "submit", "w.json", "--validate").expect(0, "valid")
        r = site.prvng("batch", "submit", "w.json", "--validate", "--format", "json").expect(0)
        check(r.json()["valid"] is True, "not valid", r)
        plan = site.prvng("batch", "submit", "w.json", "--dry-run", "--format", "json").expect(0).json()
        tasks = {t["id"]: t for t in plan["tasks"]}
        for t in plan["tasks"]:
            for key in ("id", "operation", "item", "target", "implied", "depends_on"):
                check(key in t, f"a task without {key}", t)
            for d in t["depends_on"]:
                check(d in tasks, f"{t['id']} depends on {d}, which is not in the plan", plan["tasks"])
        top = tasks["install/testtop@web-0"]
        check(top["target"] == "taskserv" and top["item"] == "testtop" and not top["implied"], "testtop", top)
        implied = [t for t in plan["tasks"] if t["implied"]]
        check(len(implied) == 2 and {t["item"] for t in implied} == {"testserv"},
              "the required taskserv is not implied", plan["tasks"])

        def reaches(a, b):
            return b in tasks[a]["depends_on"] or any(reaches(x, b) for x in tasks[a]["depends_on"])
        own = next(t["id"] for t in implied if t["server"] == "web-0")
        check(reaches("install/testtop@web-0", own), "testtop does not wait for testserv", plan["tasks"])
        check(reaches(own, "make/web-0"), "testserv does not wait for its server", plan["tasks"])
        text = site.prvng("batch", "submit", "w.json", "--dry-run").expect(0).out
        check("make/web-0" in text or "web-0" in text, "a plan for people", text)
        only = site.prvng("batch", "submit", "w.json", "--dry-run", "--only", "make", "--format",
                          "json").expect(0).json()
        check({t["operation"] for t in only["tasks"]} == {"make"}, "--only make", only["tasks"])
        check(not site.engine() and not os.path.exists(site.state), "a look started or made something")
        site.prvng("batch", "submit", "w.json", "--dry-run", "--only", "mak").expect(3, "mak")


# Runs and day 2


def run_and_again():
    """A run succeeds; again everything is UNCHANGED; a change is shown and made; destroy; check."""
    with Site() as site:
        r = submit(site, workflow())
        check("succeeded" in r.out, "no word of success", r)
        s = status(site, "shop")
        for key in ("id", "name", "status", "operations", "tasks"):
            check(key in s, f"status without {key}", s)
        check(s["name"] == "shop" and s["status"] == "succeeded" and s["exit_code"] == 0, "status", s)
        check(set(statuses(site, "shop").values()) == {"succeeded"}, "tasks", s["tasks"])
        check(re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{26}", s["id"]), "the run's id is no ULID", s["id"])
        check(status(site, s["id"])["id"] == s["id"], "status by id")

        before = len(site.effects())
        r = submit(site, workflow())
        check(set(statuses(site, "shop").values()) == {"unchanged"}, "the second run changed something", r)
        check(len(site.effects()) == before, "the second run had an effect")

        r = site.prvng("batch", "submit", site.write("w.json", workflow(cpu=2)), "--dry-run").expect(0)
        check("cpu" in r.out and "1" in r.out and "2" in r.out, "the difference is not shown", r)
        r = submit(site, workflow(cpu=2))
        check("cpu" in r.out + r.err, "submitting does not show the difference first", r)
        tasks = {t["id"]: t for t in status(site, "shop")["tasks"]}
        check(tasks["make/web-0"]["verb"] == "update" and tasks["make/web-0"]["status"] == "succeeded",
              "not an update", tasks)
        inventory = site.prvng("resource", "list", "--format", "json").expect(0).json()["resources"]
        check(len(inventory) == 4, "the inventory", inventory)
        check(all(r["outputs"]["cpu"] == 2 for r in inventory if r["key"].startswith("server.")),
              "outputs were not updated", inventory)

        site.prvng("batch", "check", "shop").expect(0)
        path = os.path.join(site.world, "resources", "server.web-0")
        with open(path, encoding="utf-8") as f:
            there = json.load(f)
        there["spec"]["cpu"] = 7
        with open(path, "w", encoding="utf-8") as f:
            json.dump(there, f)
        r = site.prvng("batch", "check", "shop").expect(8)
        check("web-0" in r.out + r.err, "check does not name what differs", r)
        check(len(site.prvng("batch", "list", "--format", "json").json()["workflows"]) == 5, "runs")

        site.prvng("batch", "destroy", "shop", "--dry-run").expect(0, "web-0", "web-1")
        check(len(site.existing()) == 4, "a dry run destroyed something", site.existing())
        site.prvng("batch", "destroy", "shop", "--watch").expect(0)
        check(site.servers() == [], "something is left", site.existing())
        check(site.prvng("resource", "list", "--format", "json").json()["resources"] == [], "the inventory", site.prvng("resource", "list"))
        submit(site, workflow())
        check(len(site.existing()) == 4, "not made again", site.existing())
        check(not site.violations(), "an op id acted twice", site.violations())


def removed_from_definition():
    """What is no longer in the definition is still owned: destroy removes it."""
    with Site() as site:
        submit(site, workflow(servers=("web-0", "web-1", "web-2")))
        submit(site, workflow(servers=("web-0",)))
        check(len(site.existing()) == 6, "a run deleted what it does not name", site.existing())
        site.prvng("batch", "destroy", "shop", "--watch").expect(0)
        check(site.servers() == [], "something is left", site.existing())
        check(site.prvng("resource", "list", "--format", "json").json()["resources"] == [], "the inventory", site.prvng("resource", "list"))
        r = site.prvng("batch", "destroy", "nobody", "--watch")
        check(r.code != 0 and "nobody" in r.err, "destroy of what nobody knows", r)


def owners():
    """A server that another workflow owns, or a run in flight claims, is an error that names who."""
    with Site() as site:
        submit(site, workflow("first"))
        r = site.prvng("batch", "submit", site.write("b.json", workflow("second"))).expect(3, "first", "web-0")
        check("second" not in status(site, "first")["name"], "wrong owner", r)
        # Tasks that wait for the operator hold the run, and its claims, for as long as it takes.
        lost = {"no_observe": True, "fail": [{"attempt": 1, "class": "TRANSIENT", "effect": "UNKNOWN"}]}
        file = site.write("slow.json", workflow("slow", ("web-8", "web-9"), (), {"web-8": lost, "web-9": lost}))
        p = site.popen("batch", "submit", file, "--watch")
        wait_for("parked tasks", lambda: p.poll() is not None or (
            site.prvng("batch", "status", "slow").code == 0 and
            list(statuses(site, "slow").values()) == ["parked", "parked"]))
        run = status(site, "slow")["id"]
        r = site.prvng("batch", "submit", site.write("b.json", workflow("slow", ("web-8",), ()))).expect(3)
        check(run in r.err and "slow" in r.err and "web-8" in r.err, "it does not name the run that claims", r)
        r = site.prvng("batch", "submit", site.write("b.json", workflow("other", ("web-9",), ()))).expect(3)
        check(run in r.err and "slow" in r.err, "it does not name the run that claims", r)
        runs = site.prvng("batch", "list", "--format", "json").json()["workflows"]
        check(len(runs) == 2, "a refused run is listed", runs)
        site.prvng("batch", "cancel", "slow").expect(0)
        for server in ("web-8", "web-9"):
            site.prvng("batch", "resolve", "slow", f"make/{server}", "--as", "done").expect(0)
        r = site.finish(p)
        check(r.code == 6, "a cancelled run has exit code 6", r)


def two_runs_at_once():
    """Two different workflows at once share the engine and are told apart by id."""
    with Site() as site:
        files = [site.write(f"w{i}.json", workflow(f"wf-{i}", (f"s{i}-0", f"s{i}-1"))) for i in range(4)]
        commands = [site.popen("batch", "submit", f, "--watch") for f in files]
        results = [site.finish(p) for p in commands]
        for r in results:
            r.expect(0)
        runs = site.prvng("batch", "list", "--format", "json").json()["workflows"]
        check(len({r["id"] for r in runs}) == 4 and len({r["name"] for r in runs}) == 4, "runs", runs)
        for i in range(4):
            ids = set(statuses(site, f"wf-{i}"))
            check(ids == {f"make/s{i}-0", f"make/s{i}-1", f"install/testserv@s{i}-0",
                          f"install/testserv@s{i}-1"}, "tasks of another run", ids)


# Failures


def failures():
    """on_failure fail and continue; exit code 1; the message of the plugin is shown."""
    with Site() as site:
        bad = {"web-0": {"fail": [{"class": "PERMANENT", "message": "no such flavour", "effect": "NONE"}]}}
        r = submit(site, workflow(scripts=bad), code=1)
        check("no such flavour" in r.out + r.err, "the reason is not shown", r)
        s = statuses(site, "shop")
        check(s["make/web-0"] == "failed" and s["install/testserv@web-0"] == "skipped" and
              s["install/testserv@web-1"] == "skipped", "fail starts nothing more", s)
        check(status(site, "shop")["exit_code"] == 1, "exit code in the status")
        more = workflow("rest", ("b-0", "b-1"), (), {"b-0": bad["web-0"]})
        ops = more["rest"]["operations"]
        ops[0]["on_failure"] = "continue"
        ops.append({"id": "other", "type": "create", "target": "server", "items": ["b-2"], "on_failure": "continue"})
        ops.append({"id": "more", "type": "create", "target": "taskserv", "items": ["testserv"],
                    "servers": ["b-1", "b-2"], "depends_on": ["other"], "on_failure": "continue"})
        submit(site, more, code=1)
        s = statuses(site, "rest")
        check(s["make/b-0"] == "failed" and s["make/b-1"] == "succeeded" and s["other/b-2"] == "succeeded" and
              s["more/testserv@b-2"] == "succeeded", "continue goes on with what does not depend on it", s)


def retries():
    """Transient errors are tried again; retry_after is honoured; attempts are limited."""
    with Site() as site:
        scripts = {"web-0": {"fail": [{"attempt": 1, "class": "TRANSIENT"},
                                      {"attempt": 2, "class": "RATE_LIMITED", "retry_after_ms": 700}]},
                   "web-1": {"fail": [{"class": "TRANSIENT", "message": "never works"}]}}
        w = workflow(scripts=scripts, taskservs=())
        w["shop"]["operations"][0]["on_failure"] = "continue"
        start = time.monotonic()
        r = submit(site, w, code=1)
        check(time.monotonic() - start >= 0.7, "retry_after was not honoured", r)
        check("never works" in r.out + r.err, "the last reason is not shown", r)
        s = status(site, "shop")
        run = [json.loads(x) for x in site.prvng("store", "cat", "run-" + s["id"]).expect(0).out.splitlines()]
        first = [x for x in run if x["type"] == "retry" and x["task"] == 0]
        check([x["attempt"] for x in first] == [1, 2] and first[1]["after"] >= 700, "retries", first)
        second = [x for x in run if x["type"] == "retry" and x["task"] == 1]
        check([x["attempt"] for x in second] == [1, 2], "3 attempts are 2 retries", second)
        s = statuses(site, "shop")
        check(s == {"make/web-0": "succeeded", "make/web-1": "failed"}, "tasks", s)


def time_limit():
    """The time limit of an attempt: it is cancelled, and tried again, and the run ends."""
    with Site() as site:
        w = workflow(scripts={"web-0": {"hang": True}}, taskservs=())
        w["shop"]["operations"][0]["timeout"] = 1
        w["shop"]["retry_policy"]["max_attempts"] = 2
        start = time.monotonic()
        r = submit(site, w, code=1)
        took = time.monotonic() - start
        check("timed out after 1 s" in r.out + r.err, "it does not say timed out", r)
        check(2 <= took < 15, f"2 attempts of 1 s took {took:.1f} s", r)


def parked():
    """What cannot be observed waits for the operator, with the question; resolve goes on."""
    with Site() as site:
        script = {"web-0": {"no_observe": True, "fail": [{"attempt": 1, "class": "TRANSIENT",
                                                          "effect": "UNKNOWN"}]}}
        file = site.write("w.json", workflow(scripts=script))
        p = site.popen("batch", "submit", file, "--watch")
        wait_for("a parked task", lambda: site.prvng("batch", "status", "shop", "--format", "json").code == 0 and
                 statuses(site, "shop").get("make/web-0") == "parked")
        text = site.prvng("batch", "status", "shop").expect(0).out
        check("resolve" in text and "make/web-0" in text, "the question is not shown", text)
        site.prvng("batch", "resolve", "shop", "make/web-1", "--as", "done").expect(
            site.prvng("batch", "resolve", "shop", "make/web-1", "--as", "done").code)
        check(statuses(site, "shop")["make/web-0"] == "parked", "something else was resolved")
        site.prvng("batch", "resolve", "shop", "make/web-0", "--as", "maybe").expect(2)
        site.prvng("batch", "resolve", "shop", "make/web-0", "--as", "done").expect(0)
        site.finish(p).expect(0)
        check(len(site.effects()) == 4 and not site.violations(), "effects", site.effects())


# The engine comes and goes


def store_in_use():
    """A store that another engine holds: exit code 7, naming its pid and host."""
    with Site() as site:
        first = site.start_engine()
        second = site.start_engine(expect_ready=False)
        check(second.wait(PATIENCE) == 7, f"exit code {second.returncode}")
        check(f"pid {first.pid}" in second.said and os.uname().nodename in second.said,
              "it does not name pid and host", second.said)
        submit(site, workflow())
        check(site.engine() == first.pid, "the command did not use the engine that runs")
        # An engine that holds the store but is not to be reached: by its socket gone.
        os.rename(os.path.join(site.state, "prvngd.sock"), os.path.join(site.state, "gone"))
        r = site.prvng("batch", "submit", site.write("w.json", workflow()), "--watch").expect(7)
        check(f"pid {first.pid}" in r.err and os.uname().nodename in r.err, "it does not name pid and host", r)
        r = site.prvng("batch", "submit", "w.json", "--foreground").expect(7)
        check(f"pid {first.pid}" in r.err, "--foreground does not name the pid", r)
        site.prvng("batch", "status", "shop").expect(0)
        os.rename(os.path.join(site.state, "gone"), os.path.join(site.state, "prvngd.sock"))


def detach():
    """Ctrl-C detaches: exit code 130, it says how to come back, and the run goes on."""
    with Site() as site:
        p = run_until(site, workflow(scripts={"web-0": {"begin_ms": 1500}}), "a call",
                      lambda: os.path.exists(os.path.join(site.world, "calls.log")))
        p.send_signal(signal.SIGINT)
        r = site.finish(p)
        check(r.code == 130, "exit code", r)
        run = status(site, "shop")["id"]
        check(f"prvng batch attach {run}" in r.err, "it does not say how to come back", r)
        check(status(site, "shop")["status"] == "running", "the run did not go on")
        site.prvng("batch", "attach", run).expect(0, "succeeded")
        site.prvng("batch", "attach").expect(0)
        p = site.popen("batch", "status", "shop", "--follow", "--format", "json")
        r = site.finish(p).expect(0)
        for line in r.out.splitlines():
            json.loads(line)


def foreground():
    """--foreground: the engine is the command; Ctrl-C stops it and the next engine goes on."""
    with Site() as site:
        file = site.write("w.json", workflow(scripts={"web-0": {"pending_ms": 2000}}))
        p = site.popen("batch", "submit", file, "--foreground")
        wait_for("a call", lambda: site.effects() and site.printed(p.out))
        p.send_signal(signal.SIGINT)
        r = site.finish(p)
        check(r.code == 130, "exit code", r)
        check(not site.engine(), "an engine is left")
        check(status(site, "shop")["status"] == "running", "the run is not there any more")
        site.prvng("batch", "attach", "shop").expect(0, "succeeded")
        check(len(site.effects()) == 4 and not site.violations(), "effects", site.effects())
        r = submit(site, workflow("two", ("c-0",)), "--foreground", code=7)
        check("in use by another engine" in r.err, "it does not say why", r)
        site.kill_engine(signal.SIGTERM)
        submit(site, workflow("two", ("c-0",)), "--foreground")
        check(not site.engine(), "an engine is left")


def engine_killed():
    """SIGKILL to the engine while a command follows: it starts another one and goes on to the end."""
    with Site() as site:
        p = run_until(site, workflow(scripts={"web-0": {"pending_ms": 1500}, "web-1": {"begin_ms": 1000}}),
                      "an effect", lambda: site.effects())
        first = site.kill_engine()
        r = site.finish(p).expect(0, "went away", "succeeded")
        check(site.engine() not in (0, first), "no other engine", r)
        check(len(site.effects()) == 4 and not site.violations(), "effects", site.effects())


def prompt_stop():
    """SIGTERM ends an engine within 2 s whatever plugins do; the next one goes on."""
    with Site() as site:
        p = run_until(site, workflow(scripts={"web-0": {"hang": "hard", "no_observe": True},
                                              "web-1": {"begin_ms": 3000}}, taskservs=()),
                      "calls", lambda: os.path.exists(os.path.join(site.world, "calls.log")) and
                      open(os.path.join(site.world, "calls.log")).read().count("begin") >= 2)
        p.send_signal(signal.SIGINT)
        site.finish(p)
        start = time.monotonic()
        site.kill_engine(signal.SIGTERM)
        took = time.monotonic() - start
        check(took < 2.5, f"it took {took:.2f} s")
        check(status(site, "shop")["status"] == "running", "the run is over")


def not_held_open():
    """The engine that a command starts holds none of its pipes: `prvng ... | cat` ends."""
    with Site(idle=60) as site:
        file = site.write("w.json", workflow(taskservs=()))
        start = time.monotonic()
        r = subprocess.run(f"'{PRVNG}' batch submit {file} --watch 2>&1 | cat", shell=True, env=site.env,
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=PATIENCE)
        check(time.monotonic() - start < 20 and "succeeded" in r.stdout, "it hung, or failed", r.stdout)
        check("cannot be made" not in site.log() + r.stdout, "the log of the engine", site.log())
        check(site.engine(), "the engine is gone already")
        pid = site.engine()
        for fd in os.listdir(f"/proc/{pid}/fd"):
            if int(fd) < 3:
                target = os.readlink(f"/proc/{pid}/fd/{fd}")
                check(not target.startswith("pipe:"), f"descriptor {fd} of the engine is {target}")


def goes_when_idle():
    """An engine that a command started ends when there is nothing to do for idle_timeout."""
    with Site(idle=1) as site:
        submit(site, workflow(taskservs=()))
        pid = site.engine()
        check(pid, "no engine")
        site.reap(pid, 10)


# The journal


def stream_file(site, run):
    return os.path.join(site.state, "stores", site.store, "streams", f"run-{run}", "00000001.jsonl")


def damaged_journal():
    """A journal changed in the middle is refused with the place; a torn tail is cut and all goes on."""
    with Site() as site:
        p = run_until(site, workflow(scripts={"web-0": {"pending_ms": 60000}}), "an effect", lambda: site.effects())
        p.send_signal(signal.SIGINT)
        site.finish(p)
        run = status(site, "shop")["id"]
        wait_for("a token", lambda: "pending" in statuses(site, "shop").values())
        site.kill_engine()
        path = stream_file(site, run)
        with open(path, "rb") as f:
            whole = f.read()
        data = whole.rstrip(b"\0")

        with open(path, "wb") as f:  # a tail that a crash tore
            f.write(data + b'{"seq":99,"at":17953481')
        site.prvng("store", "check").expect(0)
        engine = site.start_engine()
        check("pending" in statuses(site, "shop").values(), "the run is not as it was", statuses(site, "shop"))
        engine.kill()
        engine.wait()

        at = data.index(b'"web-0"', len(data) // 3)
        with open(path, "wb") as f:  # a byte in the middle
            f.write(data[:at + 1] + b"W" + data[at + 2:])
        line = data[:at].count(b"\n") + 1
        r = site.prvng("store", "check").expect(7, f"run-{run}")
        check(re.search(rf"line \D*{line}\b", r.err) or re.search(r"byte \d+", r.err), "no place", r)
        engine = site.start_engine(expect_ready=False)
        check(engine.wait(PATIENCE) == 7, f"exit code {engine.returncode}")
        check(f"run-{run}" in engine.said and "segment" in engine.said, "it does not say where", engine.said)
        r = site.prvng("batch", "attach", "shop").expect(7)
        check(f"run-{run}" in r.err, "it does not say where", r)
        with open(path, "rb") as f:
            check(f.read()[:at + 2] == data[:at + 1] + b"W", "the damaged file was touched")
        with open(path, "wb") as f:
            f.write(whole)
        site.start_engine()
        check("pending" in statuses(site, "shop").values(), "it does not go on after the repair")
        site.prvng("batch", "cancel", "shop").expect(0)


def store_commands():
    """store cat prints records as JSON lines, also of the open segment; store check verifies seals."""
    with Site() as site:
        site.prvng("store", "cat").expect(1)
        submit(site, workflow())
        run = status(site, "shop")["id"]
        names = site.prvng("store", "cat", "--list").expect(0).out.split()
        check("site" in names and f"run-{run}" in names, "streams", names)
        for stream in ((), (f"run-{run}",)):
            r = site.prvng("store", "cat", *stream).expect(0)
            seqs = [json.loads(line)["seq"] for line in r.out.splitlines()]
            check(seqs == list(range(1, len(seqs) + 1)), "records", seqs)
        site.prvng("store", "check").expect(0)
        r = site.prvng("store", "cat", "run-nobody")
        check(r.code != 0 and "run-nobody" in r.err, "an unknown stream", r)


def full_disk():
    """A full disk: the engine stops with 7, nothing acknowledged is lost, and it goes on with room."""
    if os.geteuid() != 0:
        raise Skip("needs root, to mount a small tmpfs")
    with Site() as site:
        stores = os.path.join(site.state, "stores")
        os.makedirs(stores)
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", stores],
                               capture_output=True, text=True, check=False)
        if mount.returncode:
                raise Skip(f"cannot mount a tmpfs: {mount.stderr.strip()}")
        try:
            slow = {f"web-{i}": {"pending_ms": 1200} for i in range(8)}
            p = run_until(site, workflow(servers=sorted(slow), scripts=slow), "an effect",
                          lambda: len(site.effects()) == 8)
            p.send_signal(signal.SIGINT)
            site.finish(p)
            pid = site.engine()
            ballast = os.path.join(stores, "ballast")
            # All room, also that which was reserved: so that the next append finds none.
            path = stream_file(site, status(site, "shop")["id"])
            with open(ballast, "wb") as f:
                try:
                    while True:
                        f.write(b"x" * 65536)
                        f.flush()
                except OSError:
                    pass
            acknowledged = status(site, "shop")
            r = None
            if alive(pid):  # what was reserved ahead may be enough for this run: more runs need more
                for i in range(40):
                    r = site.prvng("batch", "submit", site.write(
                        "more.json", workflow(f"more-{i}", [f"m{i}-{k}" for k in range(40)], ())))
                    if r.code:
                        break
                check(r.code == 7, "a full disk is exit code 7", r)
            site.reap(pid, 10)
            log = site.log()
            check("No space left" in log, "the log does not say why", log)
            fresh = status(site, "shop")
            for old, new in zip(acknowledged["tasks"], fresh["tasks"]):
                check(old["status"] == new["status"] or old["status"] in ("waiting", "ready", "running", "pending"),
                      "something acknowledged is lost", old, new)
            r = site.prvng("batch", "attach", "shop")
            check(r.code in (0, 7), "attach on a full disk", r)
            if r.code == 7:
                check("No space left" in r.err or "room" in r.err, "it does not say why", r)
            os.unlink(ballast)
            site.prvng("batch", "attach", "shop").expect(0, "succeeded")
            check(not site.violations() and len([e for e in site.effects() if "web-" in e["name"]]) == 8,
                  "effects", site.effects())
            site.prvng("store", "check").expect(0)
            pid = site.engine()
            if pid:
                site.kill_engine(signal.SIGTERM)
        finally:
            if site.engine():
                site.kill_engine()
            subprocess.run(["umount", stores], check=False)


# Plugins and configuration


def refused_plugin():
    """A plugin that does not load: the reason and the tasks that cannot run, before anything starts."""
    with Site() as site:
        site.dropin("testserv", os.path.join(BUILD, "tests", "plugins", "bad-no-note.so"))
        r = site.prvng("batch", "submit", site.write("w.json", workflow())).expect(3)
        check("testserv" in r.err and "install/testserv@web-0" in r.err, "it does not name the tasks", r)
        r = site.prvng("plugin", "list").expect(0, "refused")
        r = site.prvng("plugin", "info", "testserv").expect(1, "refused")
        check("note" in r.out, "the reason is not shown", r)
        listed = site.prvng("plugin", "list", "--format", "json").expect(0).json()["plugins"]
        check(any(p["name"] == "testcloud" and p["state"] in ("enabled", "isolated") for p in listed), "testcloud", listed)
        check(not site.effects(), "something was started")
        site.dropin("testcloud", os.path.join(site.folder, "nowhere.so"))
        r = site.prvng("batch", "submit", "w.json").expect(3, "testcloud", "nowhere.so")
        check("make/web-0" in r.err, "it does not name the tasks", r)
        r = site.prvng("plugin", "info", "nobody")
        check(r.code != 0 and "nobody" in r.err, "an unknown plugin", r)


def critical_plugin():
    """The engine does not start without a plugin that the site calls critical."""
    with Site() as site:
        site.dropin("noop", os.path.join(site.folder, "nowhere.so"), more="critical = true;")
        engine = site.start_engine(expect_ready=False)
        check("noop" in engine.said and "nowhere.so" in engine.said, "it does not name the plugin", engine.said)
        check(engine.wait(PATIENCE) == 7, f"exit code {engine.returncode}")
        r = site.prvng("batch", "submit", site.write("w.json", workflow())).expect(7, "noop")
        check("critical" in r.err, "it does not say that it is critical", r)


def configuration():
    """config check shows what holds; unknown keys are errors with file and line."""
    with Site() as site:
        site.prvng("config", "check").expect(0, "idle_timeout")
        doc = site.prvng("config", "check", "--format", "json").expect(0).json()
        check(doc["valid"] and doc["store"] == "file" and doc["provider"] == "testcloud", "config", doc)
        path = site.write("bad.conf", "workers = 4;\nwrokers = 8;\nidle_timeout = \"long\";\n")
        r = site.prvng("config", "check", "--config", path).expect(3, "bad.conf:2", "wrokers", "workers", "bad.conf:3")
        r = site.prvng("config", "check", "--config", path, "--format", "json").expect(3)
        check(not r.json()["valid"] and len(r.json()["problems"]) == 2, "problems", r)
        site.prvng("batch", "submit", site.write("w.json", workflow()), "--config", path).expect(3)
        site.prvng("config", "check", "--config", "nowhere.conf").expect(3, "nowhere.conf")


# What programs read


def pure_documents():
    """With --format json or yaml stdout holds one document (or one a line) and nothing else."""
    with Site(plugins=("rkvs",)) as site:
        file = site.write("w.json", workflow(monitoring={"state_store": "rkvs"}))
        r = site.prvng("batch", "submit", file, "--format", "json").expect(0)
        run = r.json()["id"]
        r = site.prvng("batch", "attach", run, "--format", "json").expect(0)
        for line in r.out.splitlines():
            json.loads(line)
        for command in (("batch", "status", run), ("batch", "list"), ("resource", "list"),
                        ("resource", "show", "server.web-0"), ("plugin", "list"), ("plugin", "info", "testcloud"),
                        ("server", "list"), ("config", "check"), ("batch", "submit", file, "--dry-run"),
                        ("batch", "submit", file, "--validate"), ("store", "check")):
            r = site.prvng(*command, "--format", "json").expect(0)
            r.json()
            check(not r.err, "stderr is not empty", r)
            r = site.prvng(*command, "--format", "yaml").expect(0)
            check(r.out and not r.out.startswith("{"), "yaml", r)
        r = site.prvng("batch", "events", run, "--format", "json").expect(0)
        for line in r.out.splitlines():
            json.loads(line)
        r = site.prvng("batch", "submit", file, "--watch", "--format", "json").expect(0)
        for line in r.out.splitlines():
            json.loads(line)
        shown = site.prvng("resource", "show", "server.web-0", "--format", "json").json()
        check(shown["key"] == "server.web-0" and shown["workflow"] == "shop", "resource show", shown)
        r = site.prvng("resource", "show", "server.web-7")
        check(r.code == 1 and "server.web-7" in r.err, "an unknown resource", r)
        r = site.prvng("batch", "status", "nobody", "--format", "json")
        check(r.code != 0 and not r.out, "an unknown run", r)


def looking_starts_nothing():
    """Commands that only look read the journal and start no engine."""
    with Site() as site:
        submit(site, workflow())
        site.kill_engine(signal.SIGTERM)
        for command in (("batch", "list"), ("batch", "status", "shop"), ("batch", "logs", "shop"),
                        ("batch", "events", "shop"), ("batch", "graph", "shop"), ("resource", "list"),
                        ("server", "list"), ("plugin", "list"), ("store", "cat"), ("store", "check")):
            site.prvng(*command).expect(0)
            check(not site.engine(), f"{command} started an engine")
        graph = site.prvng("batch", "graph", "shop").expect(0).out
        check(graph.startswith("digraph") and "web-0" in graph, "graph", graph)
        site.prvng("batch", "graph", "shop", "--output", "mermaid").expect(0, "graph")
        site.prvng("batch", "graph", "w.json").expect(0, "digraph")


def terminal(site, *args, env=None):
    """Runs a command on a terminal of its own; what it printed."""
    main_end, end = pty.openpty()
    p = subprocess.Popen([PRVNG, *args], stdin=end, stdout=end, stderr=end, env={**site.env, **(env or {})},
                         cwd=site.folder, start_new_session=True)
    os.close(end)
    said, until = b"", time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if select.select([main_end], [], [], 0.2)[0]:
            try:
                got = os.read(main_end, 65536)
            except OSError:
                break
            if not got:
                break
            said += got
        elif p.poll() is not None:
            break
    os.close(main_end)
    code = p.wait(5)
    return Result(["prvng", *args], code, said.decode(errors="replace"), "")


def colours():
    """Colours on a terminal; none with NO_COLOR, --color never, or where it is no terminal."""
    colour = re.compile(r"\x1b\[[0-9;]*m")
    with Site() as site:
        file = site.write("w.json", workflow(taskservs=()))
        env = {"TERM": "xterm-256color"}
        r = terminal(site, "batch", "submit", file, "--watch", env=env).expect(0, "succeeded")
        check(colour.search(r.out), "no colours on a terminal", r)
        r = terminal(site, "batch", "attach", "shop", env={**env, "NO_COLOR": "1"}).expect(0, "succeeded")
        check(not colour.search(r.out), "colours in spite of NO_COLOR", repr(r.out))
        r = terminal(site, "batch", "attach", "shop", "--color", "never", env=env).expect(0)
        check(not colour.search(r.out), "colours in spite of --color never", repr(r.out))
        r = site.prvng("batch", "attach", "shop").expect(0)
        check("\x1b" not in r.out, "escapes where there is no terminal", repr(r.out))
        r = site.prvng("batch", "attach", "shop", "--color", "always").expect(0)
        check(colour.search(r.out), "--color always", repr(r.out))


if __name__ == "__main__":
    main([usage, invalid_definition, validate_and_dry_run, run_and_again, removed_from_definition, owners,
          two_runs_at_once, failures, retries, time_limit, parked, store_in_use, detach, foreground,
          engine_killed, prompt_stop, not_held_open, goes_when_idle, damaged_journal, store_commands,
          full_disk, refused_plugin, critical_plugin, configuration, pure_documents,
          looking_starts_nothing, colours], parallel=2)
