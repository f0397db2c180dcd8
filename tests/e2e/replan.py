#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Changing the definition of a paused run, as a person and a script do it.

The provider is testcloud, a cloud in a folder; the programs are the real ones.
Arguments: names of tests, to run only these.
"""
import json
import os
import pty
import select
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from commands import status, statuses, submit  # noqa: E402
from live import PATIENCE, PRVNG, Result, Site, alive, check, main, wait_for  # noqa: E402
from rollback import keys, mend, nothing_left, records, rollback, steps  # noqa: E402

HELD = {"gate": {"verb": "create", "unless": "go"}}


def changed(n, cpus=None, drop=(), **more):
    """steps(n), without some, and with other sizes."""
    w = steps(n, **more)
    w["steps"]["operations"] = [o for o in w["steps"]["operations"] if o["id"] not in drop]
    for o in w["steps"]["operations"]:
        o["depends_on"] = [d for d in o["depends_on"] if d not in drop]
    for s in w["steps"]["servers"]:
        s["cpu"] = (cpus or {}).get(s["name"], s["cpu"])
    return w


def held(site, definition, task="op-0/s0"):
    """A run in which that task is at work. Its id, and the command that follows it."""
    run = site.prvng("batch", "submit", site.write("w.json", definition)).expect(0).out.strip()
    p = site.popen("batch", "attach", run)
    wait_for(task, lambda: p.poll() is not None or statuses(site, run).get(task) == "running")
    return run, p


def paused(site, definition=None, scripts=None):
    """A run of steps that is paused behind s0, while s1, s2 ... wait. Its id, and the command that follows it."""
    run, p = held(site, definition or steps(3, scripts={"s0": HELD, **(scripts or {})}))
    site.prvng("batch", "pause", "steps").expect(0)
    return run, p


def settled(site, definition=None, scripts=None):
    """The same when s0 is made."""
    run, p = paused(site, definition, scripts)
    mend(site, "go")
    wait_for("what was in flight", lambda: statuses(site, run)["op-0/s0"] == "succeeded")
    return run, p


def terminal(site, answer, *args):
    """Runs a command on a terminal of its own, and types an answer when it has asked."""
    main_end, end = pty.openpty()
    p = subprocess.Popen([PRVNG, *args], stdin=end, stdout=end, stderr=end, env=site.env, cwd=site.folder,
                         start_new_session=True)
    os.close(end)
    said, until = b"", time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if not select.select([main_end], [], [], 0.2)[0]:
            if p.poll() is not None:
                break
            continue
        try:
            got = os.read(main_end, 65536)
        except OSError:
            break
        said += got
        if answer and b"[y/N]" in said:
            os.write(main_end, answer)
            answer = None
    os.close(main_end)
    return Result(["prvng", *args], p.wait(PATIENCE), said.decode(errors="replace"), "")


def edited():
    """Tasks that have not started are added, removed and changed; the rest is as it was."""
    with Site() as site:
        run, p = settled(site)
        w = changed(4, cpus={"s1": 4}, drop=("op-2",), scripts={"s0": HELD})
        file = site.write("new.json", w)
        r = site.prvng("batch", "resume", "steps", "--definition", file, "--dry-run").expect(
            0, "1 added, 1 removed, 1 changed", "+ op-3/s3", "- op-2/s2", "~ op-1/s1", "cpu: 1 -> 4", "1 succeeded")
        check(not r.err, "the difference is all that was asked for", r)
        seen = len(records(site, run, "replan", "planned"))
        check(seen == 1 and status(site, run)["status"] == "paused", "a dry run changed something")
        d = site.prvng("batch", "resume", "steps", "--definition", file, "-n", "--format", "json").expect(0).json()
        check(d["added"] == ["op-3/s3"] and d["removed"] == ["op-2/s2"] and d["dry_run"] is True, "difference", d)
        check(d["changed"] == [{"task": "op-1/s1", "difference": [{"path": "cpu", "from": 1, "to": 4}]}], "changed", d)
        check(d["kept"] == [{"task": "op-0/s0", "status": "succeeded"}] and d["run"] == [], "kept", d)
        site.prvng("batch", "resume", "steps", "--definition", file, "--yes").expect(0, "goes on", "~ op-1/s1")
        r = site.finish(p).expect(0, "a changed definition takes over")
        check(statuses(site, run) == dict.fromkeys(("op-0/s0", "op-1/s1", "op-3/s3"), "succeeded"), "tasks", r)
        check(site.servers() == ["server.s0", "server.s1", "server.s3"] and not site.violations(), "what is there", r)
        resources = site.prvng("resource", "list", "--format", "json").expect(0).json()["resources"]
        check({r["key"]: r["spec"]["cpu"] for r in resources} ==
              {"server.s0": 1, "server.s1": 4, "server.s3": 1}, "the inventory", resources)
        check(len([e for e in site.effects() if e["name"] == "s0"]) == 1, "s0 was made again", site.effects())
        site.prvng("audit", "verify").expect(0)
        site.prvng("batch", "attach", run).expect(0, "a changed definition takes over")
        submit(site, w)
        check(set(statuses(site, "steps").values()) == {"unchanged"}, "the same definition, later")


def of_the_run():
    """What holds for the run or an operation is changed too, and shown: retries, rollback, time limits, order."""
    with Site() as site:
        broken = {"fail": [{"class": "TRANSIENT", "effect": "NONE", "message": "try again", "unless": "mended"}]}
        run, p = settled(site, scripts={"s1": broken})
        w = changed(3, strategy={"enabled": False}, scripts={"s0": HELD, "s1": broken})
        w["steps"]["retry_policy"]["max_attempts"] = 1
        w["steps"]["operations"][1]["timeout"] = 77
        w["steps"]["operations"][2].update(on_failure="continue", depends_on=["op-0"])
        file = site.write("new.json", w)
        d = site.prvng("batch", "resume", run, "--definition", file, "-n", "--format", "json").expect(0).json()
        check({x["path"]: (x["from"], x["to"]) for x in d["run"]} ==
              {"retry_policy.max_attempts": (2, 1), "rollback_strategy.enabled": (True, False)}, "run", d)
        check({t["task"]: {x["path"]: x["to"] for x in t["difference"]} for t in d["changed"]} ==
              {"op-1/s1": {"operation.timeout": 77},
               "op-2/s2": {"operation.on_failure": "continue", "operation.depends_on": ["op-0"]}}, "changed", d)
        site.prvng("batch", "resume", run, "--definition", file, "--yes").expect(0)
        site.finish(p).expect(1, "try again")
        check(len(records(site, run, "retry")) == 0 and not records(site, run, "rollback"), "the old policy holds")
        check(statuses(site, run) == {"op-0/s0": "succeeded", "op-1/s1": "failed", "op-2/s2": "succeeded"}, "tasks",
              statuses(site, run))


def refused():
    """What has started is not changed or removed: it is named. The run stays as it is."""
    with Site(plugins=("rkvs",)) as site:
        run, p = settled(site)
        before = len(records(site, run, "replan", "planned", "resume"))
        file = site.write("new.json", changed(3, cpus={"s0": 8}))
        r = site.prvng("batch", "resume", run, "--definition", file, "--yes").expect(1, "op-0/s0", "succeeded", "cpu 1 -> 8")
        check("prvng batch submit" in r.err, "what to do is not said", r)
        file = site.write("new.json", changed(3, drop=("op-0",)))
        site.prvng("batch", "resume", run, "--definition", file, "-n").expect(1, "op-0/s0", "no longer has it")
        w = changed(3, scripts={"s0": HELD})
        w["steps"]["operations"][0]["type"] = "delete"
        file = site.write("new.json", w)
        site.prvng("batch", "resume", run, "--definition", file, "-n").expect(1, "op-0/s0", "delete")
        w = changed(3, scripts={"s0": HELD})
        w["steps"]["name"] = "others"
        file = site.write("new.json", w)
        site.prvng("batch", "resume", run, "--definition", file, "-n").expect(3, '"others"', '"steps"')
        w = changed(3, scripts={"s0": HELD})
        w["steps"]["operations"][2]["depends_on"] = ["op-7"]
        file = site.write("new.json", w)
        r = site.prvng("batch", "resume", run, "--definition", file, "--yes").expect(3, "op-7", "new.json:")
        w = changed(3, scripts={"s0": HELD})
        w["steps"]["monitoring"] = {"state_store": "rkvs"}
        site.write("new.json", w)
        line = next(i for i, x in enumerate(open(file, encoding="utf-8"), 1) if "state_store" in x)
        r = site.prvng("batch", "resume", run, "--definition", file, "--yes")
        r.expect(3, f"new.json:{line}:", "monitoring.state_store", 'is kept in the store "file" and stays there')
        file = site.write("new.json", changed(4, scripts={"s0": HELD}))
        r = site.prvng("batch", "resume", run, "--definition", file).expect(2, "--yes", "--dry-run", "+ op-3/s3")
        r = site.prvng("batch", "resume", run, "--yes").expect(2, "--definition")
        site.prvng("batch", "resume", run, "--definition", "nowhere.json").expect(3, "nowhere.json")
        check(len(records(site, run, "replan", "planned", "resume")) == before, "something was journaled")
        check(status(site, run)["status"] == "paused" and len(site.servers()) == 1, "the run")
        site.prvng("batch", "resume", run).expect(0)
        site.finish(p).expect(0)
        site.prvng("batch", "resume", run, "--definition", file, "--yes").expect(1, "has ended", "prvng batch submit")


def asked_meanwhile():
    """A run that is not paused, and one whose tasks are still at work: what to do is said."""
    with Site() as site:
        run, p = held(site, steps(3, scripts={"s0": HELD}))
        new = site.write("new.json", changed(4, scripts={"s0": HELD}))
        site.prvng("batch", "resume", run, "--definition", new, "-n").expect(1, f"prvng batch pause {run}")
        site.prvng("batch", "pause", run).expect(0)
        site.prvng("batch", "resume", run, "--definition", new, "--yes").expect(1, "op-0/s0", "Wait")
        mend(site, "go")
        wait_for("s0", lambda: statuses(site, run)["op-0/s0"] == "succeeded")
        site.prvng("batch", "resume", run, "--definition", new, "--yes").expect(0)
        site.finish(p).expect(0)
        check(len(site.servers()) == 4, "what is there", site.existing())


def on_a_terminal():
    """It asks: no leaves all as it is, yes goes on."""
    with Site() as site:
        run, p = settled(site)
        file = site.write("new.json", changed(2, scripts={"s0": HELD}))
        r = terminal(site, b"n\n", "batch", "resume", run, "--definition", file).expect(1, "- op-2/s2", "stays paused")
        check(status(site, run)["status"] == "paused" and not records(site, run, "replan"), "it did not wait for yes", r)
        terminal(site, b"y\n", "batch", "resume", run, "--definition", file, "--watch").expect(0, "succeeded")
        site.finish(p).expect(0)
        check(site.servers() == ["server.s0", "server.s1"], "what is there", site.existing())


def killed():
    """kill -9 of the engine between the new plan and resume: the new plan holds, the run is still paused."""
    with Site() as site:
        run, p = settled(site)
        w = changed(4, cpus={"s1": 2}, drop=("op-2",), scripts={"s0": HELD})
        code, said = site.get(f"/workflows/{run}/replan", "POST", {"definition": w["steps"], "who": {"user": "ann"}})
        check(code == 202 and said["added"] == ["op-3/s3"] and said["status"] == "paused", "replan", code, said)
        dead = site.kill_engine()
        check(not alive(dead), "the engine lives")
        check(set(statuses(site, run)) == {"op-0/s0", "op-1/s1", "op-3/s3"}, "the plan", statuses(site, run))
        wait_for("another engine", site.engine)
        check(status(site, run)["status"] == "paused" and len(site.servers()) == 1, "the run")
        check("server.s3" in keys(site), "what was added is not claimed", keys(site))
        site.prvng("batch", "resume", run).expect(0)
        site.finish(p).expect(0)
        check(site.servers() == ["server.s0", "server.s1", "server.s3"] and not site.violations(), "what is there")
        check([r["who"]["user"] for r in records(site, run, "replan")] == ["ann"], "who changed it")


def rolled_back():
    """A rollback undoes what was made before and after the change, each once."""
    with Site() as site:
        run, p = settled(site)
        file = site.write("new.json", changed(4, drop=("op-2",), scripts={"s0": HELD}))
        site.prvng("batch", "resume", run, "--definition", file, "--yes", "--watch").expect(0)
        site.finish(p).expect(0)
        r = site.prvng("batch", "rollback", run, "--dry-run").expect(0, "3 tasks", "server.s3", "server.s0")
        check(keys(site) == {"server.s0", "server.s1", "server.s3"}, "the inventory", r)
        rollback(site, run)
        nothing_left(site)
        check(len([e for e in site.effects() if e["verb"] == "delete"]) == 3, "undos", site.effects())


def by_itself():
    """A failure in what was added rolls back what was made before the change."""
    with Site() as site:
        run, p = settled(site)
        w = changed(4, scripts={"s0": HELD, "s3": {"fail": [{"class": "PERMANENT", "effect": "NONE",
                                                             "message": "no such image"}]}})
        file = site.write("new.json", w)
        site.prvng("batch", "resume", run, "--definition", file, "--yes", "--watch").expect(4, "no such image")
        site.finish(p)
        nothing_left(site)


def retried():
    """retry after a change does again what failed, with the new plan."""
    with Site() as site:
        broken = {"fail": [{"class": "PERMANENT", "effect": "NONE", "message": "no such image", "unless": "mended"}]}
        run, p = settled(site)
        w = changed(4, strategy={"enabled": False}, drop=("op-2",), scripts={"s0": HELD, "s3": broken})
        file = site.write("new.json", w)
        site.prvng("batch", "resume", run, "--definition", file, "--yes", "--watch").expect(1, "no such image")
        site.finish(p)
        mend(site)
        site.prvng("batch", "retry", run, "--watch").expect(0)
        check(site.servers() == ["server.s0", "server.s1", "server.s3"] and not site.violations(), "what is there")
        check(len(records(site, run, "replan")) == 1 and len(records(site, run, "end")) == 2, "records")


def deleted():
    """A delete that is done stays done, though the inventory knows nothing of it any more."""
    with Site() as site:
        submit(site, steps(1))
        w = steps(3, scripts={"s1": HELD})
        w["steps"]["operations"][0]["type"] = "delete"
        w["steps"]["servers"] = w["steps"]["servers"][1:]
        run, p = held(site, w, "op-1/s1")
        site.prvng("batch", "pause", run).expect(0)
        mend(site, "go")
        wait_for("what was in flight", lambda: statuses(site, run)["op-1/s1"] == "succeeded")
        w["steps"]["servers"][1]["cpu"] = 3
        file = site.write("new.json", w)
        site.prvng("batch", "resume", run, "--definition", file, "--yes").expect(0, "~ op-2/s2", "2 succeeded")
        site.finish(p).expect(0)
        check(site.servers() == ["server.s1", "server.s2"], "what is there", site.existing())


def twice():
    """A plan is changed as often as wanted; what another run claims is refused with its name."""
    with Site() as site:
        run, p = settled(site)
        other = steps(1)
        other["steps"]["name"] = "other"
        other["steps"]["servers"][0].update(name="taken", testcloud={"gate": {"unless": "never"}})
        other["steps"]["operations"][0]["items"] = ["taken"]
        site.prvng("batch", "submit", site.write("o.json", other)).expect(0)
        w = changed(4, scripts={"s0": HELD})
        w["steps"]["servers"].append({"name": "taken", "provider": "testcloud"})
        w["steps"]["operations"][3]["items"] = ["s3", "taken"]
        file = site.write("new.json", w)
        site.prvng("batch", "resume", run, "--definition", file, "--yes").expect(3, "server.taken is claimed by run")
        for n in (5, 4):
            code, said = site.get(f"/workflows/{run}/replan", "POST",
                                  {"definition": changed(n, scripts={"s0": HELD})["steps"]})
            check(code == 202, "replan", code, said)
        check(said["removed"] == ["op-4/s4"] and said["added"] == [], "the difference is to the plan before", said)
        site.prvng("batch", "resume", run).expect(0)
        site.finish(p).expect(0)
        check(len(site.servers()) == 4, "what is there", site.existing())
        site.prvng("batch", "cancel", "other").expect(0)
        mend(site, "never")
        wait_for("its end", lambda: status(site, "other")["status"] == "cancelled")


def api():
    """POST /workflows/{id}/replan: what is accepted, and why something is refused."""
    with Site() as site:
        run, p = settled(site)
        good = changed(4, scripts={"s0": HELD})["steps"]

        def post(body, name=run):
            code, answer = site.get(f"/workflows/{name}/replan", "POST", body)
            return code, answer["error"]["message"] if code >= 400 else answer
        code, said = post({"definition": good}, "nobody")
        check(code == 404 and "nobody" in said, "no such run", code, said)
        code, said = post({"definition": good, "dryrun": True})
        check(code == 422 and '"dryrun"' in said and '"dry_run"' in said, "a misspelt member", code, said)
        code, said = post({"definition": good, "dry_run": "yes"})
        check(code == 422 and "true or false" in said, "no boolean", code, said)
        code, said = post({"dry_run": True})
        check(code == 422 and '"definition"' in said, "no definition", code, said)
        code, said = post([])
        check(code == 422, "no object", code, said)
        code, said = post(good)
        check(code == 422 and '"definition"' in said, "the definition at the top", code, said)
        code, said = post({"definition": good, "dry_run": True, "only": ["op-1"]})
        check(code == 200 and said["removed"] == ["op-2/s2"] and said["added"] == [], "only", code, said)
        code, said = post({"definition": good, "dry_run": True})
        check(code == 200 and said["id"] == run and said["added"] == ["op-3/s3"], "dry run", code, said)
        check("post" in site.get("/openapi.json")[1]["paths"]["/workflows/{id}/replan"], "openapi.json")
        site.prvng("batch", "cancel", run).expect(0)
        site.finish(p).expect(6)
        code, said = post({"definition": good})
        check(code == 409 and "cancelled" in said and "prvng batch submit" in said, "of a run that ended", code, said)


def documents():
    """--format json and yaml: stdout is one document, or records, and nothing else."""
    with Site() as site:
        run, p = settled(site)
        file = site.write("new.json", changed(4, scripts={"s0": HELD}))
        r = site.prvng("batch", "resume", run, "--definition", file, "-n", "--format", "yaml").expect(0, "added:")
        r = site.prvng("batch", "resume", run, "--definition", file, "--yes", "--watch", "--format", "json").expect(0)
        seen = [json.loads(x)["type"] for x in r.out.splitlines()]
        check(seen[0] == "replan" and "resume" in seen and seen[-1] == "end", "records", seen)
        site.finish(p).expect(0)
    with Site() as site:
        run, p = settled(site)
        file = site.write("new.json", changed(4, scripts={"s0": HELD}))
        d = site.prvng("batch", "resume", run, "--definition", file, "--yes", "--format", "json").expect(0).json()
        check(d["added"] == ["op-3/s3"] and d["status"] == "running" and d["changed"] == [], "answer", d)
        site.finish(p).expect(0)


if __name__ == "__main__":
    main([edited, of_the_run, refused, asked_meanwhile, on_a_terminal, killed, rolled_back, by_itself, retried, deleted,
          twice, api, documents], parallel=2)
