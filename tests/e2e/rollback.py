#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rollback, retry, pause and cancel as a person and a script see them.

The provider is testcloud, a cloud in a folder; the programs are the real ones.
Arguments: names of tests, to run only these.
"""
import json
import os
import re
import signal
import sys
from functools import partial

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from commands import status, statuses, submit, workflow  # noqa: E402
from live import Site as AnySite  # noqa: E402
from live import BUILD, alive, check, main, wait_for  # noqa: E402

# The store of the sites: what a run that ended left is read again from it.
Site = partial(AnySite, store=os.environ.get("PRVNG_TEST_SITE_STORE", "file"))

BROKEN = {"fail": [{"class": "PERMANENT", "effect": "NONE", "message": "no such version"}]}
KEPT = {"fail": [{"verb": "delete", "unless": "mended", "class": "PERMANENT", "effect": "NONE",
                  "message": "deletion protection is on"}]}


def shop(on_failure="rollback", servers=("web-0", "web-1"), scripts=None, install=None, **more):
    """Servers, then a taskserv on each; `install`: its script."""
    w = workflow(servers=servers, scripts=scripts, vars_={"testserv": install} if install else None, **more)
    for o in w["shop"]["operations"]:
        o["on_failure"] = on_failure
    return w


def steps(n, strategy=None, scripts=None, **more):
    """n operations, one after another, each with one server s0, s1, ..."""
    scripts = scripts or {}
    operations = [{"id": f"op-{i}", "type": "create", "target": "server", "items": [f"s{i}"],
                   "depends_on": [f"op-{i - 1}"] if i else [], "on_failure": "rollback"} for i in range(n)]
    return {"steps": {
        "name": "steps", "type": "batch", "operations": operations,
        "retry_policy": {"max_attempts": 2, "backoff": "linear", "initial_delay": 0, "max_delay": 0},
        "rollback_strategy": strategy or {},
        "servers": [{"name": f"s{i}", "provider": "testcloud", "cpu": 1,
                     **({"testcloud": scripts[f"s{i}"]} if f"s{i}" in scripts else {})} for i in range(n)],
        **more}}


def keys(site):
    return {r["key"] for r in site.prvng("resource", "list", "--format", "json").expect(0).json()["resources"]}


def mend(site, name="mended"):
    with open(os.path.join(site.world, name), "w", encoding="utf-8"):
        pass


def records(site, run, *types):
    lines = site.prvng("store", "cat", "run-" + run).expect(0).out.splitlines()
    return [r for r in map(json.loads, lines) if r["type"] in types]


def rollback(site, run, *more, code=4):
    return site.prvng("batch", "rollback", run, "--watch", *more).expect(code)


def nothing_left(site):
    check(site.servers() == [], "something is left", site.existing())
    check(keys(site) == set(), "the inventory", keys(site))
    check(not site.violations(), "an op id acted twice", site.violations())


# On failure


def automatic():
    """A failure undoes what was done, in reverse order: exit code 4, nothing is left, and it says why."""
    with Site() as site:
        r = submit(site, shop(install=BROKEN), code=4)
        check("rolled back" in r.out and "no such version" in r.out, "why is not shown", r)
        check("prvng batch retry" in r.out, "what to do next is not shown", r)
        nothing_left(site)
        s = status(site, "shop")
        check(s["status"] == "rolled_back" and s["exit_code"] == 4, "status", s)
        check(s["rollback"]["to"] == 0 and s["rollback"]["left"] == [] and
              "no such version" in s["rollback"]["reason"] and s["rollback"]["undone"] == 2, "rollback", s["rollback"])
        check(statuses(site, "shop")["make/web-0"] == "undone", "tasks", s["tasks"])
        site.prvng("batch", "status", "shop").expect(0, "rolled back", "no such version")
        log = site.prvng("batch", "logs", "shop").expect(0).out
        check("rollback" in log and "undone" in log, "the log does not tell of it", log)


def order():
    """What stands on something is undone before it; each undo has an op id of its own and acts once."""
    with Site() as site:
        w = shop(servers=("web-0",), taskservs=("testtop",))
        submit(site, w)
        run = status(site, "shop")["id"]
        rollback(site, "shop")
        undone = [r["task"] for r in records(site, run, "undone")]
        check(undone == sorted(undone, reverse=True) and len(undone) == 3, "order", undone)
        ids = [r["op_id"] for r in records(site, run, "intent", "undo")]
        check(len(ids) == 6 and len(set(ids)) == 6, "op ids", ids)
        nothing_left(site)


def switched_off():
    """enabled = False: rollback means fail; exit code 1, what was done stays."""
    with Site() as site:
        r = submit(site, shop(install=BROKEN, rollback_strategy={"enabled": False}), code=1)
        check("prvng batch rollback" in r.out, "it does not say how to undo it by hand", r)
        check(len(site.servers()) == 2, "something was undone", site.existing())
        rollback(site, "shop")
        nothing_left(site)


def partial_failure():
    """on_partial_failure = False: rolls back by itself only if nothing of the operation succeeded."""
    with Site() as site:
        strategy = {"on_partial_failure": False}
        # web-0 is there before web-1 may fail.
        late = {"web-1": {**BROKEN, "gate": {"unless": "go"}}}
        file = site.write("w.json", shop(scripts=late, taskservs=(), rollback_strategy=strategy))
        p = site.popen("batch", "submit", file, "--watch")
        wait_for("the first server", lambda: p.poll() is not None or site.servers())
        mend(site, "go")
        site.finish(p).expect(1)
        check(site.servers() == ["server.web-0"], "it was rolled back", site.existing())
        w = shop(servers=("a-0", "a-1"), install=BROKEN, rollback_strategy=strategy)
        w["shop"]["name"] = "second"
        submit(site, w, code=4)
        check(site.servers() == ["server.web-0"], "it was not rolled back", site.existing())


def preserve():
    """preserve_successful: operations that fully succeeded stay."""
    with Site() as site:
        r = submit(site, steps(3, {"preserve_successful": True}, {"s2": {
            "fail": [{"class": "PERMANENT", "effect": "PARTIAL"}]}}), code=4)
        check(site.servers() == ["server.s0", "server.s1"], "what is there", site.existing(), r)
        check(keys(site) == {"server.s0", "server.s1"}, "the inventory", keys(site))
        submit(site, steps(2))
        check(set(statuses(site, "steps").values()) == {"unchanged"}, "it was not kept as it was")


# By command


def succeeded_run():
    """A run that succeeded is rolled back; the dry run says before what would be done and does nothing."""
    with Site() as site:
        submit(site, shop())
        before = len(site.effects())
        r = site.prvng("batch", "rollback", "shop", "--dry-run").expect(0, "4 tasks to undo", "delete")
        lines = [x for x in r.out.splitlines() if x.startswith("  step")]
        check("taskserv.testserv" in lines[0] and "server." in lines[-1], "order of undos", r)
        plan = site.prvng("batch", "rollback", "shop", "--dry-run", "--format", "json").expect(0).json()
        check([t["step"] for t in plan["tasks"]] == [1, 1, 2, 2] and plan["cannot"] == [] and
              plan["point_of_no_return"] is None and plan["blocked_by"] is None, "plan", plan)
        check(len(site.effects()) == before and status(site, "shop")["status"] == "succeeded",
              "the dry run did something")
        r = rollback(site, "shop")
        check("asked for by" in r.out and "make/web-0" in r.out, "output", r)
        check("4 tasks in 2 operations" not in r.out, "the whole history is printed again", r)
        nothing_left(site)
        site.prvng("batch", "rollback", "shop").expect(1, "nothing it did is left")
        site.prvng("batch", "rollback", "shop", "--dry-run").expect(0, "nothing to do")
        s = status(site, "shop")
        check(s["rollback"]["who"]["user"], "who asked", s["rollback"])
        r = site.prvng("batch", "attach", "shop").expect(4)
        check(r.out.count("rollback: asked for by") == 1 and "create" in r.out, "following it later tells all", r)
        submit(site, shop())
        check(len(site.existing()) == 4, "not made again", site.existing())


def to_checkpoint():
    """--to undoes what was done after that checkpoint, and nothing else."""
    with Site() as site:
        submit(site, steps(4, {"checkpoint_interval": 1}))
        s = status(site, "steps")
        check([c["operations"] for c in s["checkpoints"]] == [1, 2, 3], "checkpoints", s["checkpoints"])
        site.prvng("batch", "status", "steps").expect(0, "checkpoint 2 after 2 operations")
        site.prvng("batch", "rollback", "steps", "--to", "9").expect(2, "checkpoint 3 after 3 operations")
        site.prvng("batch", "rollback", "steps", "--to", "x").expect(2, "number of a checkpoint")
        r = site.prvng("batch", "rollback", "steps", "--to", "2", "--dry-run").expect(0, "checkpoint 2", "2 tasks")
        check("server.s1 " not in r.out and "server.s2" in r.out, "dry run", r)
        rollback(site, "steps", "--to", "2")
        check(site.servers() == ["server.s0", "server.s1"], "what is there", site.existing())
        check(statuses(site, "steps") == {"op-0/s0": "succeeded", "op-1/s1": "succeeded", "op-2/s2": "undone",
                                          "op-3/s3": "undone"}, "tasks", statuses(site, "steps"))
        site.prvng("batch", "retry", "steps", "--watch").expect(0)
        check(len(site.servers()) == 4, "a retry makes again what was undone", site.existing())
        rollback(site, "steps")
        nothing_left(site)


def incomplete():
    """What cannot be undone is listed by name with its reason: exit code 5; resume goes on with it."""
    with Site() as site:
        submit(site, shop(scripts={"web-0": KEPT}))
        r = rollback(site, "shop", code=5)
        run = status(site, "shop")["id"]
        for text in ("server.web-0", "deletion protection is on", f"prvng batch resume {run}"):
            check(text in r.out, f"not said: {text}", r)
        check(site.servers() == ["server.web-0"] and keys(site) == {"server.web-0"}, "what is left", site.existing())
        s = status(site, "shop")
        check(s["exit_code"] == 5 and [x["resource"] for x in s["rollback"]["left"]] == ["server.web-0"] and
              s["rollback"]["left"][0]["message"] == "deletion protection is on", "left", s["rollback"])
        site.prvng("batch", "status", "shop").expect(0, "server.web-0", "deletion protection is on")
        mend(site)
        site.kill_engine()
        r = site.prvng("batch", "resume", "shop", "--watch").expect(4)
        nothing_left(site)
        deletes = [e for e in site.effects() if e["verb"] == "delete"]
        check(len(deletes) == 4, "what was undone was undone once more", deletes)


def resume_keeps_the_target():
    """resume of an incomplete rollback keeps to its checkpoint, and to what it was to preserve."""
    with Site() as site:
        submit(site, steps(3, {"checkpoint_interval": 1}, {"s2": KEPT}))
        rollback(site, "steps", "--to", "1", code=5)
        check(site.servers() == ["server.s0", "server.s2"], "what is there", site.existing())
        mend(site)
        site.prvng("batch", "resume", "steps", "--watch").expect(4)
        check(site.servers() == ["server.s0"], "what is there", site.existing())


def point_of_no_return():
    """What cannot be undone is named before the run, before the rollback and after it."""
    with Site() as site:
        submit(site, workflow(servers=("old",), taskservs=()))
        w = workflow(servers=("old", "new"), taskservs=())
        w["shop"]["operations"] = [
            {"id": "drop", "type": "delete", "target": "server", "items": ["old"]},
            {"id": "make", "type": "create", "target": "server", "items": ["new"], "depends_on": ["drop"]}]
        file = site.write("w.json", w)
        site.prvng("batch", "submit", file, "--dry-run").expect(0, "point of no return", "delete server.old")
        plan = site.prvng("batch", "submit", file, "--dry-run", "--format", "json").expect(0).json()
        check(plan["point_of_no_return"] == "drop/old", "the plan's document", plan["point_of_no_return"])
        submit(site, w)
        site.prvng("batch", "rollback", "shop", "--dry-run").expect(0, "point of no return: server.old")
        plan = site.prvng("batch", "rollback", "shop", "--dry-run", "--format", "json").expect(0).json()
        check(plan["cannot"] == ["server.old"] and plan["point_of_no_return"] == "server.old", "plan", plan)
        r = rollback(site, "shop", code=5)
        check("drop/old" in r.out and "does not declare" in r.out, "not listed", r)
        check(site.servers() == [], "the rest was not undone", site.existing())


def comes_back_bare():
    """A server that is made again comes without what stood on it: named before, after, and until it is back."""
    with Site() as site:
        site.dropin("testback", os.path.join(BUILD, "tests", "plugins", "testback.so"), f'folder = "{site.world}";')

        def here(taskservs=(), **more):
            w = workflow(servers=("web-0",), taskservs=taskservs, **more)
            w["shop"]["servers"] = [{"name": "web-0", "provider": "testback", "cpu": 1}]
            return w
        submit(site, here(("testserv", "testtop")))
        gone = here()
        gone["shop"]["operations"] = [{"id": "drop", "type": "delete", "target": "server", "items": ["web-0"]}]
        names = ["taskserv.testserv@web-0", "taskserv.testtop@web-0"]
        file = site.write("w.json", gone)
        site.prvng("batch", "submit", file, "--dry-run").expect(0, "point of no return", *names)
        plan = site.prvng("batch", "submit", file, "--dry-run", "--format", "json").expect(0).json()
        check(plan["point_of_no_return"] == "drop/web-0", "the plan's document", plan["point_of_no_return"])
        submit(site, gone)
        run = status(site, "shop")["id"]
        site.prvng("batch", "rollback", run, "--dry-run").expect(0, "point of no return: server.web-0", *names)
        plan = site.prvng("batch", "rollback", run, "--dry-run", "--format", "json").expect(0).json()
        check(plan["cannot"] == names and plan["point_of_no_return"] == "server.web-0" and
              plan["tasks"][0]["possible"] and plan["tasks"][0]["lost"] == names, "plan", plan)
        r = rollback(site, run, code=5)
        check(all(n in r.out for n in names), "they are not listed", r)
        s = status(site, run)
        check(s["status"] == "rollback_incomplete" and
              all(n in s["rollback"]["left"][0]["message"] for n in names), "status", s["rollback"])
        check(keys(site) == {"server.web-0"} and site.servers() == ["server.web-0"], "what is there", keys(site))
        site.kill_engine()
        site.prvng("batch", "rollback", run, "--dry-run").expect(0, "stays: it is there again", *names)
        site.prvng("batch", "resume", run, "--watch").expect(5, *names)
        for n in names:  # the simulated services went with it, the folder does not know
            os.unlink(os.path.join(site.world, "resources", n))
        submit(site, here(("testserv", "testtop")))
        site.prvng("batch", "resume", run, "--watch").expect(4)
        check(keys(site) == {"server.web-0", *names}, "what is there", keys(site))
        site.kill_engine()
        check(keys(site) == {"server.web-0", *names}, "what the next engine knows", keys(site))


def former_state():
    """Undo of an update restores the spec before it, and the dry run shows the difference."""
    with Site() as site:
        submit(site, workflow(taskservs=(), cpu=2))
        submit(site, workflow(taskservs=(), cpu=4))
        site.prvng("batch", "rollback", "shop", "--dry-run").expect(0, "restore the former state", "cpu: 4 -> 2")
        site.kill_engine(signal.SIGTERM)  # the next one knows of the run what the journal says
        site.prvng("batch", "rollback", "shop", "--dry-run").expect(0, "cpu: 4 -> 2")
        check(not site.engine(), "the dry run started an engine")
        rollback(site, "shop")
        resources = site.prvng("resource", "list", "--format", "json").expect(0).json()["resources"]
        check([r["spec"]["cpu"] for r in resources] == [2, 2], "the inventory", resources)
        for name in site.servers():
            with open(os.path.join(site.world, "resources", name), encoding="utf-8") as f:
                check(json.load(f)["spec"]["cpu"] == 2, f"{name} was not restored")
        submit(site, workflow(taskservs=(), cpu=2))
        check(set(statuses(site, "shop").values()) == {"unchanged"}, "it is not as it was")


def conflicts():
    """What somebody changed since is not undone, and is listed: another run, or the resource itself."""
    with Site() as site:
        submit(site, workflow(taskservs=()))
        first = status(site, "shop")["id"]
        submit(site, workflow(servers=("web-0",), taskservs=(), cpu=3))
        second = status(site, "shop")["id"]
        r = site.prvng("batch", "rollback", first, "--dry-run").expect(0, f"run {second} changed it since")
        r = rollback(site, first, code=5)
        check("server.web-0" in r.out and f"run {second} changed it since" in r.out, "not listed", r)
        check(site.servers() == ["server.web-0"], "what is there", site.existing())
        path = os.path.join(site.world, "resources", "server.web-0")
        with open(path, encoding="utf-8") as f:
            there = json.load(f)
        there["result"]["cpu"] = 7
        with open(path, "w", encoding="utf-8") as f:
            json.dump(there, f)
        r = rollback(site, second, code=5)
        check("somebody changed it since: cpu is 7, this run left 3" in r.out, "not listed", r)


def claimed():
    """A rollback of what a run in flight claims is refused, naming who holds it; the run stays as it was."""
    with Site() as site:
        submit(site, workflow(taskservs=()))
        first = status(site, "shop")["id"]
        file = site.write("w.json", workflow(taskservs=(), cpu=2,
                                             scripts={"web-0": {"gate": {"unless": "go"}}}))
        p = site.popen("batch", "submit", file, "--watch")
        wait_for("the second run", lambda: p.poll() is not None or status(site, "shop")["id"] != first)
        second = status(site, "shop")["id"]
        site.prvng("batch", "rollback", first, "--dry-run").expect(0, "not now", second)
        site.prvng("batch", "rollback", first, "--watch").expect(1, "is claimed by run " + second, "shop")
        check(status(site, first)["status"] == "succeeded", "the refused rollback did something")
        mend(site, "go")
        site.finish(p).expect(0)
        rollback(site, second)
        rollback(site, first, code=5) # the second run changed and restored it
        check(len(site.servers()) == 2, "what is there", site.existing())


def cancelled_rollback():
    """Cancel during a rollback ends it after the undo that runs; resume goes on, nothing is undone twice."""
    with Site() as site:
        submit(site, steps(3, scripts={"s1": {"gate": {"verb": "delete", "unless": "go"}}}))
        p = site.popen("batch", "rollback", "steps", "--watch")
        wait_for("the undo of s1", lambda: p.poll() is not None or
                 statuses(site, "steps").get("op-1/s1") == "undoing")
        s = status(site, "steps")
        check(s["status"] == "rolling_back" and s["rollback"]["undone"] == 1 and s["rollback"]["to_undo"] == 2,
              "status", s["rollback"])
        site.prvng("batch", "status", "steps").expect(0, "rolling back: 1 of 3 undone")
        site.prvng("batch", "cancel", "steps").expect(0)
        mend(site, "go")
        r = site.finish(p)
        check(r.code == 5 and "server.s0" in r.out and "prvng batch resume" in r.out, "what is left", r)
        check(site.servers() == ["server.s0"], "what is there", site.existing())
        site.prvng("batch", "resume", "steps", "--watch").expect(4)
        nothing_left(site)
        deletes = [e["name"] for e in site.effects() if e["verb"] == "delete"]
        check(sorted(deletes) == ["s0", "s1", "s2"], "undos", deletes)


def killed_rollback():
    """The engine is killed during a rollback; the next one goes on: each undo acts once."""
    with Site() as site:
        submit(site, steps(3, scripts={"s1": {"gate": {"verb": "delete", "unless": "go"}}}))
        p = site.popen("batch", "rollback", "steps", "--watch")
        wait_for("the undo of s1", lambda: p.poll() is not None or statuses(site, "steps").get("op-1/s1") == "undoing")
        site.kill_engine()
        mend(site, "go")
        site.finish(p).expect(4)
        nothing_left(site)
        check(len([e for e in site.effects() if e["verb"] == "delete"]) == 3, "undos", site.effects())


# Pause, retry, cancel


def paused():
    """A pause starts nothing more, survives kill -9 of the engine, and resume goes on."""
    with Site() as site:
        file = site.write("w.json", shop(scripts={"web-0": {"gate": {"unless": "go"}}}))
        p = site.popen("batch", "submit", file, "--watch")
        wait_for("the first server", lambda: p.poll() is not None or
                 os.path.exists(os.path.join(site.world, "resources", "server.web-1")))
        site.prvng("batch", "pause", "shop").expect(0, "is paused")
        site.prvng("batch", "pause", "shop").expect(0, "already")
        mend(site, "go")
        wait_for("what was in flight", lambda: statuses(site, "shop")["make/web-0"] == "succeeded")
        check(status(site, "shop")["status"] == "paused", "status")
        site.prvng("batch", "status", "shop").expect(0, "paused", "prvng batch resume")
        dead = site.kill_engine()
        check(not alive(dead), "the engine lives")
        wait_for("another engine", site.engine)
        r = site.prvng("batch", "list", "--format", "json").expect(0).json()["workflows"]
        check(r[0]["status"] == "paused", "the pause was forgotten", r)
        check(len(site.existing()) == 2, "something was started in a paused run", site.existing())
        site.prvng("batch", "resume", "shop").expect(0)
        site.finish(p).expect(0)
        check(len(site.existing()) == 4 and not site.violations(), "what is there", site.existing())
        site.prvng("batch", "resume", "shop").expect(1, "is succeeded, not paused")
        site.prvng("batch", "pause", "shop").expect(1, "has ended")


def paused_engine_ends():
    """An engine that was started on demand ends although a run is paused; resume starts one."""
    with Site(idle=1) as site:
        file = site.write("w.json", shop(scripts={"web-0": {"gate": {"unless": "go"}}}))
        p = site.popen("batch", "submit", file)
        site.finish(p).expect(0)
        wait_for("a call", lambda: os.path.exists(os.path.join(site.world, "calls.log")))
        site.prvng("batch", "pause", "shop").expect(0)
        mend(site, "go")
        pid = site.engine()
        wait_for("the end of the engine", lambda: not site.engine())
        site.reap(pid)
        check(status(site, "shop")["status"] == "paused", "status")
        site.prvng("batch", "resume", "shop", "--watch").expect(0)
        check(len(site.existing()) == 4, "what is there", site.existing())


def retried():
    """retry does again what failed and was skipped, in the whole run or in one operation."""
    with Site() as site:
        mended = {"fail": [{**BROKEN["fail"][0], "unless": "mended"}]}
        submit(site, shop("fail", install=mended), code=1)
        site.prvng("batch", "retry", "shop", "instal").expect(2, "did you mean install")
        site.prvng("batch", "retry", "shop", "make").expect(1, "nothing to do again")
        site.prvng("batch", "retry", "shop", "--watch").expect(1, "no such version")
        mend(site)
        r = site.prvng("batch", "retry", "shop", "install", "--watch").expect(0, "succeeded")
        check(len(site.existing()) == 4 and len(site.effects()) == 4, "what was done", site.existing(), r)
        check(status(site, "shop")["exit_code"] == 0, "status")
        site.prvng("batch", "retry", "shop").expect(1, "nothing to do again")
        rollback(site, "shop")
        nothing_left(site)
        check(len(records(site, status(site, "shop")["id"], "end")) == 4, "ends")


def retried_operation():
    """retry of one operation leaves the failures of others alone."""
    with Site() as site:
        once = {"fail": [{**BROKEN["fail"][0], "unless": "mended"}]}
        w = workflow(servers=("a", "b"), taskservs=(), scripts={"a": once, "b": once})
        w["shop"]["operations"] = [{"id": f"make-{x}", "type": "create", "target": "server", "items": [x],
                                    "on_failure": "continue"} for x in "ab"]
        submit(site, w, code=1)
        mend(site)
        site.prvng("batch", "retry", "shop", "make-b", "--watch").expect(1)
        check(statuses(site, "shop") == {"make-a/a": "failed", "make-b/b": "succeeded"}, "tasks", statuses(site, "shop"))
        check(site.servers() == ["server.b"], "what is there", site.existing())
        site.prvng("batch", "retry", "shop", "--watch").expect(0)


def cancelled():
    """A cancelled run undoes nothing (exit code 6); it can be rolled back or retried."""
    with Site() as site:
        file = site.write("w.json", shop(scripts={"web-0": {"gate": {"verb": "create", "unless": "go"}}}))
        p = site.popen("batch", "submit", file, "--watch")
        wait_for("the first server", lambda: p.poll() is not None or site.servers())
        site.prvng("batch", "cancel", "shop").expect(0)
        mend(site, "go")
        r = site.finish(p)
        check(r.code == 6 and "prvng batch retry" in r.out and "prvng batch rollback" in r.out, "exit code 6", r)
        check(len(site.servers()) == 2, "what was done stays", site.existing())
        site.prvng("batch", "retry", "shop", "--watch").expect(0)
        check(len(site.existing()) == 4, "retry goes on", site.existing())
        site.prvng("batch", "cancel", "shop").expect(1, "has ended")
        w = workflow("other", ("c-0", "c-1"), ("testserv",), {"c-0": {"gate": {"unless": "later"}}})
        p = site.popen("batch", "submit", site.write("v.json", w), "--watch")
        wait_for("its first server", lambda: p.poll() is not None or "server.c-1" in site.servers())
        site.prvng("batch", "pause", "other").expect(0)
        site.prvng("batch", "cancel", "other").expect(0)
        mend(site, "later")
        site.finish(p).expect(6)  # though nobody resumed it


def of_a_run_in_flight():
    """rollback of a run that is at work: what is in flight comes to its end and is undone too."""
    with Site() as site:
        file = site.write("w.json", shop(scripts={"web-0": {"gate": {"verb": "create", "unless": "go"}}}))
        p = site.popen("batch", "submit", file, "--watch")
        wait_for("the other server", lambda: p.poll() is not None or site.servers())
        site.prvng("batch", "rollback", "shop").expect(0, "rolls back")
        site.prvng("batch", "rollback", "shop").expect(0, "already")
        site.prvng("batch", "retry", "shop").expect(1, "when it has ended")
        check(status(site, "shop")["status"] == "rolling_back", "status")
        mend(site, "go")
        site.finish(p).expect(4)
        nothing_left(site)


# The API


def api():
    """Commands over HTTP: what is accepted, and why something is refused."""
    with Site() as site:
        submit(site, shop())
        run = status(site, "shop")["id"]

        def post(command, body=None, name="shop"):
            code, answer = site.get(f"/workflows/{name}/{command}", "POST", body)
            return code, answer.get("error", {}).get("message", "") if code >= 400 else answer
        for command in ("pause", "resume", "rollback", "retry", "cancel", "resolve"):
            code, said = post(command, {}, "nobody")
            check(code == 404 and "nobody" in said, f"{command} of what is not there", code, said)
            code, said = post(command, {"whom": 1})
            check(code == 422 and '"whom"' in said and '"who"' in said, f"{command} with a wrong member", code, said)
            code, said = post(command, {"who": "me"})
            check(code == 422 and '"who"' in said, f"{command} by nobody", code, said)
        code, said = post("rollback", {"to": -1})
        check(code == 422 and '"to"' in said, "a negative checkpoint", code, said)
        code, said = post("rollback", {"to": 5})
        check(code == 422 and "has none" in said, "no such checkpoint", code, said)
        code, said = post("retry", {"operation": "instal"})
        check(code == 422 and "install" in said, "no such operation", code, said)
        for command in ("pause", "resume", "cancel", "retry"):
            code, said = post(command)
            check(code == 409 and re.search("succeeded", said), f"{command} of a run that succeeded", code, said)
        check(post("resolve", {"task": "make/web-0", "as": "done"})[0] == 409, "resolve")
        code, said = post("rollback", {"who": {"user": "ann"}}, run)
        check(code == 202 and said["id"] == run and said["changed"] is True, "rollback", code, said)
        site.prvng("batch", "attach", run).expect(4, "asked for by ann")
        paths = site.get("/openapi.json")[1]["paths"]
        for command in ("pause", "resume", "rollback", "retry", "cancel", "resolve"):
            check("post" in paths[f"/workflows/{{id}}/{command}"], f"openapi.json does not know {command}")


def documents():
    """--format json and yaml: stdout is the document, or records, and nothing else."""
    with Site() as site:
        submit(site, shop())
        plan = site.prvng("batch", "rollback", "shop", "--dry-run", "--format", "yaml").expect(0)
        check("point_of_no_return:" in plan.out, "yaml", plan)
        r = site.prvng("batch", "rollback", "shop", "--watch", "--format", "json").expect(4)
        seen = [json.loads(x)["type"] for x in r.out.splitlines()]
        check(seen[0] == "rollback" and seen[-1] == "end" and seen.count("undone") == 4, "records", seen)
        r = site.prvng("batch", "retry", "shop", "--format", "json").expect(0).json()
        check(r["name"] == "shop" and r["changed"] is True, "answer", r)
        site.prvng("batch", "attach", "shop").expect(0)


if __name__ == "__main__":
    main([automatic, order, switched_off, partial_failure, preserve, succeeded_run, to_checkpoint, incomplete,
          resume_keeps_the_target, point_of_no_return,
          comes_back_bare, former_state, conflicts, claimed, cancelled_rollback,
          killed_rollback, paused, paused_engine_ends, retried, retried_operation, cancelled, of_a_run_in_flight,
          api, documents], parallel=2)
