#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills the engine at every record of the demo workflow, in every way, and looks at what is left.

For each record N that an engine appends (over all streams, from the very first) and each WAY of
tests/plugins/crashstore.c: a new site; an engine that dies at N; the command line, which follows the
run, starts the next engine, and must end with exit code 0. Then (promises 1, 2, 3, 4):

  - each effect happened exactly once: one op id for each resource, none acted on twice
  - each task has one intent and one result in the journal, and the op id of the one effect
  - all tasks succeeded, the inventory is what it is without a crash, and the living engine's fold
    is the same as that of a process that reads the journal afresh
  - all seals are valid

The same for a run that updates the servers and one that destroys all, on sites where the workflow ran.

Arguments: WAY or N:WAY[,N:WAY...] to run some; PRVNG_TEST_SHARE=N runs each Nth only.
"""
import glob
import itertools
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from live import Failed, SANITIZED, Site, check  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
WORKFLOW = os.path.join(HERE, "workflow.json")
NAME = "crash-demo"
SERVERS = ("demo-cp-0", "demo-strg-0", "demo-worker-0")
# "before" a record is "whole" or "after" of the one in front of it, whether they share a batch or not.
RECORDS = ("torn", "whole", "hole", "after")
PARALLEL = 3  # each waits about half of its time
RECOVERS = ("cut", "copied")
LIMIT = 200  # more records than that are no demo
# The first engine appends 2 records before it is asked for anything; a successor appends one.
SHARE = int(os.environ.get("PRVNG_TEST_SHARE") or (4 if SANITIZED else 1))


def expected():
    want = {}
    for server in SERVERS:
        want[f"server.{server}"] = ("server", server, None)
        want[f"taskserv.testserv@{server}"] = ("taskserv", "testserv", server)
        want[f"taskserv.testtop@{server}"] = ("taskserv", "testtop", server)
    return want


def check_effects(site):
    check(not site.violations(), "an op id acted twice", site.violations())
    seen = {}
    for e in site.effects():
        what = (e["kind"], e["name"], e["server"])
        check(what not in seen, f"two effects on {what}: {seen.get(what)} and {e['op_id']}")
        check(e["state"] == "done" and e["verb"] == "create", "an effect is not whole", e)
        seen[what] = e["op_id"]
    check(set(seen) == set(expected().values()), "not the effects that were wanted", sorted(map(str, seen)))
    return seen


def records(site, run):
    """Of a run's stream, as they stand on the disk (`store check` says that they are sealed)."""
    found = []
    for path in sorted(glob.glob(os.path.join(site.state, "stores", site.store, "streams", f"run-{run}", "*.jsonl"))):
        with open(path, "rb") as f:
            found += [json.loads(line) for line in f.read().rstrip(b"\0").splitlines()]
    return [r for r in found if "seq" in r]


def check_journal(site, run, effects):
    """One intent and one result for each task, under the op id that acted."""
    lines = records(site, run)
    check([r["seq"] for r in lines] == list(range(1, len(lines) + 1)), "seq has a gap or a repeat")
    tasks = [r for r in lines if r["type"] == "task"]
    want = expected()
    for number, task in enumerate(tasks):
        if task["verb"] == "join":
            continue
        intents = [r for r in lines if r["type"] == "intent" and r["task"] == number]
        results = [r for r in lines if r["type"] in ("done", "failed") and r["task"] == number]
        check(len(intents) == 1, f"{task['id']} has {len(intents)} intents", *intents)
        check(len(results) == 1 and results[0]["type"] == "done", f"{task['id']}: results", *results)
        check(intents[0]["op_id"] == effects[want[task["key"]]],
              f"{task['id']}: another op id acted than the one journaled", intents[0], effects)
    check(lines[-1]["type"] == "end" and lines[-1]["status"] == "succeeded", "no end", lines[-1])


def check_inventory(site, effects):
    fresh = site.prvng("resource", "list", "--format", "json").expect(0).json()
    status, living = site.get("/resources")
    check(status == 200, f"GET /resources: {status}", living)
    check(fresh == living, "a fresh read of the journal is not the engine's inventory",
          json.dumps(fresh), json.dumps(living))
    got = {r["key"]: r for r in fresh["resources"]}
    check(set(got) == set(expected()), "not the inventory that was wanted", sorted(got))
    for key, r in got.items():
        check(r["workflow"] == NAME, f"{key} has another owner", r)
        # only the resources of the world and the inventory together say that outputs are right
        kind, name, server = expected()[key]
        with open(os.path.join(site.world, "resources",
                               f"{kind}.{name}" + (f"@{server}" if server else "")), encoding="utf-8") as f:
            real = json.load(f)
        check(real["op_id"] == effects[expected()[key]], f"{key} was made by another op id", real)
        check(r["outputs"] == real["result"], f"{key}: outputs are not what is there", r, real)


def check_status(site, run):
    fresh = site.prvng("batch", "status", run, "--format", "json").expect(0).json()
    _, living = site.get(f"/workflows/{run}/status")
    check(fresh == living, "a fresh read of the journal is not the engine's status",
          json.dumps(fresh), json.dumps(living))
    check(fresh["status"] == "succeeded" and fresh["exit_code"] == 0, "the run did not succeed", fresh)
    check(len(fresh["tasks"]) == 9 and all(t["status"] == "succeeded" for t in fresh["tasks"]),
          "not all tasks succeeded", fresh["tasks"])


def run_id(site, before=()):
    if site.engine():
        status, said = site.get("/workflows")
        check(status == 200, f"GET /workflows: {status}", said)
    else:
        said = site.prvng("batch", "list", "--format", "json").expect(0).json()
    runs = [r["id"] for r in said["workflows"] if r["id"] not in before]
    check(len(runs) <= 1, "there are two runs", runs)
    return runs[0] if runs else None


def follow_to_end(site, env, command=("batch", "submit", WORKFLOW, "--watch"), before=()):
    """Submits, and comes back as a person does when the command says that no engine stays up."""
    said = []
    for i in range(6):
        run = run_id(site, before) if i else None
        r = site.prvng(*(("batch", "attach", run) if run else command), env=env)
        said.append(r)
        if r.code != 7:
            break
    said[-1].expect(0)
    check(len(said) == 1 or "," in env["PRVNG_CRASH"], "the command did not survive one crash", *said)
    return said


def one(crashes):
    """Runs the workflow with these crashes; the number of processes that died."""
    state = "crashed"
    with Site(store="crashstore") as site:
        env = {"PRVNG_CRASH": crashes, "PRVNG_CRASH_STATE": site.path(state)}
        # Started here, for an engine that dies before it is ready is not the command's to forgive.
        site.start_engine(env=env, expect_ready=False)
        follow_to_end(site, env)
        opened = len([f for f in os.listdir(site.folder) if f.startswith(state + ".")])
        died = sum(p.poll() == -9 for p in site.spawned)
        effects = check_effects(site)
        run = run_id(site)
        check_journal(site, run, effects)
        check_inventory(site, effects)
        check_status(site, run)
        site.prvng("store", "check").expect(0)
        check_effects(site)
        site.kill_engine()  # how it ends when asked to is tested elsewhere
        return died, opened


class DayTwo:
    """Sites where the workflow ran, each a copy of the first."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="prvng-live-")
        with open(WORKFLOW, encoding="utf-8") as f:
            definition = json.load(f)
        servers = definition["crash_demo"]["servers"]
        servers[2]["testcloud"] = {"begin_ms": 3}  # a destroy has no retry policy, and waits 5 s
        self.original = self.write("original.json", definition)
        for server in servers:
            server["cpu"] = 3
        self.changed = self.write("changed.json", definition)
        with Site(store="crashstore") as site:
            site.prvng("batch", "submit", self.original, "--watch").expect(0)
            self.first = run_id(site)
            site.kill_engine()
            for part in ("state", "world"):
                shutil.copytree(site.path(part), os.path.join(self.folder, part),
                                ignore=shutil.ignore_patterns("*.sock"))

    def write(self, name, definition):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            json.dump(definition, f)
        return path

    def one(self, crashes, verb):
        command = ("batch", "submit", self.changed, "--watch") if verb == "update" else \
                  ("batch", "destroy", NAME, "--watch")
        with Site(store="crashstore") as site:
            for part in ("state", "world"):
                shutil.copytree(os.path.join(self.folder, part), site.path(part), dirs_exist_ok=True)
            env = {"PRVNG_CRASH": crashes, "PRVNG_CRASH_STATE": site.path("crashed")}
            site.start_engine(env=env, expect_ready=False)
            follow_to_end(site, env, command, (self.first,))
            died = sum(p.poll() == -9 for p in site.spawned)
            check(not site.violations(), "an op id acted twice", site.violations())
            did = sorted(e["name"] for e in site.effects() if e["verb"] == verb and e["kind"] == "server")
            check(did == sorted(SERVERS), f"not each server had one {verb}", did)
            check(len(site.effects()) == 12 and all(e["state"] == "done" for e in site.effects()),
                  "other effects", site.effects())
            fresh = site.prvng("resource", "list", "--format", "json").expect(0).json()
            _, living = site.get("/resources")
            check(fresh == living, "a fresh read is not the engine's inventory", json.dumps(fresh), json.dumps(living))
            check({r["key"] for r in fresh["resources"]} == (set(expected()) if verb == "update" else set()),
                  "the inventory", fresh)
            check(all(r["outputs"]["cpu"] == 3 for r in fresh["resources"] if r["key"].startswith("server.")),
                  "outputs are old", fresh)
            run = site.prvng("batch", "status", run_id(site, (self.first,)), "--format", "json").expect(0).json()
            _, living = site.get(f"/workflows/{run['id']}/status")
            check(run == living and run["exit_code"] == 0, "the run", json.dumps(run), json.dumps(living))
            site.prvng("store", "check").expect(0)
            site.kill_engine()
            return died, 0

    def close(self):
        shutil.rmtree(self.folder)


class Work:
    """Cases in an order; a way is over when an engine lived through it."""

    def __init__(self, cases, act=None):
        self.act = act or one
        self.lock = threading.Lock()
        self.cases = cases
        self.over = {}
        self.count = {}
        self.failed = []

    def next(self):
        with self.lock:
            for n, way in self.cases:
                if n < self.over.get(way, LIMIT):
                    return n, way
        return None

    def work(self):
        while not self.failed and (case := self.next()):
            n, way = case
            try:
                died, _ = self.act(f"{n}:{way}")
            except Failed as e:
                with self.lock:
                    self.failed.append(f"{n}:{way}")
                    print(f"FAILED  crash {n}:{way}\n{e}", flush=True)
                return
            except Exception:  # pylint: disable=broad-except
                import traceback
                with self.lock:
                    self.failed.append(f"{n}:{way}")
                    print(f"FAILED  crash {n}:{way}\n{traceback.format_exc()}", flush=True)
                return
            with self.lock:
                self.count[way] = self.count.get(way, 0) + died
                if not died:
                    self.over[way] = min(n, self.over.get(way, LIMIT))

    def run(self, parallel):
        threads = [threading.Thread(target=self.work) for _ in range(parallel)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        return not self.failed


def every_record(ways):
    """Each Nth case of all, the ways taking turns so that a share still sees each."""
    for n, (k, way) in itertools.product(range(1, LIMIT), enumerate(ways)):
        if (n + k) % SHARE == 0 or n <= 3:
            yield n, way


def twice():
    """The second engine dies while it recovers from the death of the first, and the third too."""
    first = [(n, w) for n in (2, 4, 20, 26, 33, 40, 52, 58) for w in ("torn", "after")]
    second = itertools.cycle(["1:before", "1:torn", "1:after", "1:cut", "1:copied", "2:hole", "2:cut",
                              "3:torn", "5:after"])
    for (n, way), again in zip(first[::2 if SHARE > 1 else 1], second):
        yield f"{n}:{way},{again}"
    yield "30:torn,1:cut,1:torn"
    yield "40:hole,2:cut,1:after,1:copied"


def day_two():
    day = DayTwo()
    ok = True
    for verb in ("update", "delete"):
        work = Work(every_record(("torn", "after")), lambda crashes, v=verb: day.one(crashes, v))
        ok = ok and work.run(PARALLEL)
        print(f"{sum(work.count.values())} engines killed at a record of a run to {verb}", flush=True)
        check(not ok or sum(work.count.values()) >= 20 // SHARE, "that was too few")
    day.close()
    return ok


def recovers(crashes):
    try:
        died, opened = one(crashes)
        check(died == 1 and opened > crashes.count(","), f"not all of {crashes} happened: {opened} engines")
    except Failed as e:
        print(f"FAILED  crashes {crashes}\n{e}", flush=True)
        return False
    return True


def main():
    start = time.monotonic()
    if len(sys.argv) > 1 and ":" in sys.argv[1]:
        for crashes in sys.argv[1:]:
            print(f"crashes {crashes}: {one(crashes)}")
        return
    ways = tuple(sys.argv[1:]) or RECORDS
    work = Work(every_record(ways))
    ok = work.run(PARALLEL)
    for way in ways:
        print(f"{work.count.get(way, 0)} engines killed {way} a record", flush=True)
    check(not ok or all(work.count.get(w, 0) >= 30 // SHARE for w in ways), "that was too few")
    if ok and len(sys.argv) == 1:
        ok = day_two()
    if ok and len(sys.argv) == 1:
        crashes = list(twice())
        with ThreadPoolExecutor(4) as pool:  # each mostly waits for the command to be patient
            ok = all(pool.map(recovers, crashes))
        print(f"{len(crashes)} times an engine was killed while it recovered", flush=True)
    print(f"{time.monotonic() - start:.1f} s", flush=True)
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
