#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills the real engine at random moments while it works on simulated clouds, and counts what they did.

Usage: kills.py STORE [KILLS]

A site with the store STORE and two providers, each with a cloud process of its own (tests/cloud) that
loses requests and replies, is slow, busy and limits rates: one keeps our op ids as keys, the other does
not and shows what was made only later. A client runs one workflow after the other. Of three, two make
servers, change them, change and make and delete and then fail, which rolls back; one of these deletes all at
the end. The third is paused over a kill, goes on, and is rolled back by a command. Every second one keeps its
runs in the other store. Meanwhile prvngd is killed by SIGKILL and started again, KILLS times. The client is one
that people would write: it repeats what was not answered, under the run id that it chose. At the end (promises
1, 2, 4, 5, 8):

  - every run has ended, with the exit code that its definition leads to
  - no cloud did anything that the journal does not know the op id of
  - with keys: each op id acted at most once, and once where the journal says DONE; without: of what was
    made more than once, nothing is left but the one that the journal names
  - what stands in the clouds is what the inventory says, by id and size; a rolled back run left nothing
  - the living engine and a fresh read of the journal say the same, and all seals are valid

The moments come from a seed, which is printed; PRVNG_TEST_SEED sets it. How far the engine got by then is
the machine's business, so that a seed repeats the plan of a run, not the run.
"""
import json
import os
import random
import secrets
import select
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from live import BUILD, PRVNGD, SANITIZED, SOURCE, Failed, Site, UnixConnection, check  # noqa: E402

CLOUD = os.path.join(SOURCE, "tests", "cloud", "cloud.py")
STORES = ("file", "rkvs")
PROVIDERS = {"simcloud": ("--keys",), "simtags": ()}
SLOW = 3 if SANITIZED else 1
STUCK = 120 * SLOW  # seconds for one run, kills included
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ulid():
    n = (time.time_ns() // 1000000 << 80) | secrets.randbits(80)
    return "".join(ALPHABET[n >> (5 * i) & 31] for i in reversed(range(26)))


class Cloud:
    """A cloud process and what it says."""

    def __init__(self, site, name, seed):
        self.path = site.path(f"{name}.sock")
        self.process = subprocess.Popen([sys.executable, CLOUD, self.path, "--seed", str(seed), *PROVIDERS[name]],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        check(self.process.stdout.readline() == b"ready\n", "the cloud does not start")

    def ask(self, **request):
        import socket
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.path)
            s.sendall(json.dumps(request).encode() + b"\n")
            return json.loads(s.makefile("rb").read())

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


def start(site):
    """A prvngd, and the descriptor at which it says that it is ready."""
    r, w = os.pipe()
    with open(site.path("engine.err"), "ab") as err:
        p = subprocess.Popen([PRVNGD, "--ready-fd", str(w)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=err, env=site.env, cwd=site.folder, pass_fds=[w])
    os.close(w)
    site.spawned.append(p)
    return p, r


class Engine:
    """prvngd, killed again and again by a thread of its own."""

    def __init__(self, site, rng, kills):
        self.site, self.rng, self.left = site, rng, kills
        self.kills, self.early = [], 0  # wall clock of each, in ms; how many before it was ready
        self.wrong = None
        self.last = None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def delay(self):
        """Mostly while it takes up its work or is in the midst of it, sometimes long after."""
        return self.rng.choice((self.rng.uniform(0.0, 0.15), self.rng.uniform(0.03, 0.35),
                                self.rng.uniform(0.1, 0.9))) * SLOW

    def one(self):
        p, r = start(self.site)
        end = time.monotonic() + self.delay()
        ready = bool(select.select([r], [], [], max(0, end - time.monotonic()))[0])
        said = os.read(r, 4096) if ready else b""
        os.close(r)
        if ready and said.strip() != b"ok":
            self.wrong = f"the engine did not start: {said.decode()}"
            return
        time.sleep(max(0, end - time.monotonic()))
        if p.poll() is not None:
            self.wrong = f"the engine ended by itself: {p.returncode}"
            return
        p.kill()
        p.wait()
        self.site.spawned.remove(p)
        self.kills.append(time.time_ns() // 1000000)
        self.early += not ready

    def run(self):
        while self.left > 0 and not self.wrong:
            self.one()
            self.left -= 1
        if not self.wrong:
            self.last, r = start(self.site)
            os.close(r)

    def end(self):
        """No more kills; the engine lives."""
        self.left = 0
        self.thread.join()


class Client:
    """Asks until it is answered."""

    def __init__(self, site, engine):
        self.site, self.engine = site, engine

    def ask(self, path, method="GET", body=None):
        end = time.monotonic() + STUCK
        while time.monotonic() < end:
            check(not self.engine.wrong, str(self.engine.wrong), self.site.log()[-4000:])
            c = UnixConnection(os.path.join(self.site.state, "prvngd.sock"))
            try:
                c.request(method, path, body=json.dumps(body) if body is not None else None)
                r = c.getresponse()
                return r.status, json.loads(r.read())
            except (OSError, ValueError, EOFError, __import__("http.client").client.HTTPException):
                time.sleep(0.005)
            finally:
                c.close()
        raise Failed(f"nobody answers {method} {path}")

    def submit(self, definition):
        run = ulid()
        status, said = self.ask("/workflows/batch", "POST", {"id": run, "definition": definition})
        check(status == 202, f"the definition was refused: {status}", json.dumps(said)[:3000])
        return run

    def status(self, run):
        status, said = self.ask(f"/workflows/{run}/status")
        check(status == 200, f"the run {run} was accepted and is forgotten: {status}", said)
        return said

    def wait(self, run, code):
        """For the end of the run, which is to have that exit code."""
        end = time.monotonic() + STUCK
        while (said := self.status(run))["exit_code"] is None:
            check(time.monotonic() < end, f"the run {run} does not end", json.dumps(said)[:6000])
            time.sleep(0.01)
        odd = [t for t in said["tasks"] if t["status"] not in ("succeeded", "unchanged", "undone")]
        check(said["exit_code"] == code, f"exit code {said['exit_code']} instead of {code}", json.dumps(odd)[:6000])

    def command(self, run, name):
        """True: it was taken. False: the run has ended, or it was taken before and the answer was lost."""
        status, said = self.ask(f"/workflows/{run}/{name}", "POST", {"who": {"name": "kills.py"}})
        check(status in (202, 409), f"{name}: {status}", said)
        return status == 202

    def pause(self, run):
        """Holds the run until the engine was killed once more."""
        n = len(self.engine.kills)
        if not self.command(run, "pause"):
            return
        while len(self.engine.kills) == n and self.engine.left > 0:
            time.sleep(0.01)
        said = self.status(run)
        check(said["status"] == "paused" or said["exit_code"] is not None, "it is not paused any more", said["status"])
        self.command(run, "resume")


class Life:
    """What is done with one workflow."""

    def __init__(self, number, store):
        self.name = f"life-{number}"
        self.kind = number % 3
        self.store = store
        self.names = {p: [f"l{number}-{p[3]}{i}" for i in range(3)] for p in PROVIDERS}
        self.n_runs = 0

    def definition(self, cpu, operations, more=(), failure="fail"):
        servers = [{"name": s, "provider": p, "cpu": cpu} for p in PROVIDERS for s in self.names[p]]
        for o in operations:
            o.setdefault("type", "create")
            o.setdefault("target", "server")
            o.setdefault("on_failure", failure)
        return {"name": self.name, "type": "parallel", "servers": servers + list(more), "operations": operations,
                "monitoring": {"state_store": self.store},
                "retry_policy": {"max_attempts": 100, "backoff": "linear", "initial_delay": 0, "max_delay": 0}}

    def making(self):
        (k0, k1, k2), (t0, t1, t2) = self.names.values()
        return [{"id": "first", "items": [k0, t0, k1]},
                {"id": "second", "items": [t1, k2, t2], "depends_on": ["first"]}]

    def failing(self):
        """Changes two, makes two, deletes two, and cannot make a last one: all is taken back."""
        (k0, k1, _), (t0, t1, _) = self.names.values()
        more = [{"name": f"{self.name}-new-{p}", "provider": p, "cpu": 1} for p in PROVIDERS]
        bad = {"name": f"{self.name}-bad", "provider": "simcloud", "cpu": 1, "simcloud": {"refuse": True}}
        operations = [{"id": "change", "type": "update", "items": [k0, t0]},
                      {"id": "make", "items": [s["name"] for s in more], "depends_on": ["change"]},
                      {"id": "delete", "type": "delete", "items": [k1, t1]},
                      {"id": "fail", "items": [bad["name"]], "depends_on": ["make", "delete"]}]
        return self.definition(4, operations, [*more, bad], "rollback")

    def run(self, client, definition, code=0):
        run = client.submit(definition)
        self.n_runs += 1
        if self.kind == 1:
            client.pause(run)
        client.wait(run, code)
        return run

    def live(self, client):
        everything = [s for names in self.names.values() for s in names]

        run = self.run(client, self.definition(1, self.making()))
        if self.kind == 1:
            client.command(run, "rollback")
            client.wait(run, 4)
            return
        self.run(client, self.definition(2, self.making()))
        self.run(client, self.failing(), 4)
        if self.kind == 0:
            self.run(client, self.definition(2, [{"id": "delete", "type": "delete", "items": everything}]))


# What is compared at the end


def records(site, run):
    """Of a run's stream, in whatever store it is."""
    c = UnixConnection(os.path.join(site.state, "prvngd.sock"))
    try:
        c.request("GET", f"/workflows/{run}/events?follow=0")
        text = c.getresponse().read().decode()
    finally:
        c.close()
    found = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    check([r["seq"] for r in found] == list(range(1, len(found) + 1)), "records are missing", text[-2000:])
    return found


def read_journal(site):
    """Of all runs: op id -> its record; the op ids that the journal says acted; op ids of surplus; rollbacks as
    (from, to) by the wall clock."""
    known, acted, surplus, rollbacks, made = {}, {}, set(), [], {}
    runs = site.prvng("batch", "list", "--format", "json").expect(0).json()["workflows"]
    for run in runs:
        last = {}
        begun = None
        for r in records(site, run["id"]):
            kind = r["type"]
            if kind in ("intent", "undo", "surplus"):
                check(r["op_id"] not in known, "an op id was journaled twice", r)
                known[r["op_id"]] = r
                last[r["task"], kind] = r["op_id"]
                if kind == "surplus":
                    surplus.add(r["op_id"])
            elif kind in ("done", "undone", "removed") and r["answer"] == "DONE":
                op = last[r["task"], {"done": "intent", "undone": "undo", "removed": "surplus"}[kind]]
                check(op not in acted, "an op id has two results", r)
                acted[op] = r
                if r.get("outputs", {}).get("id"):
                    made[r["outputs"]["id"]] = op
            elif kind == "rollback":
                begun = r["at"]
            elif kind == "end" and begun:
                rollbacks.append((begun, r["at"]))
    return known, acted, surplus, rollbacks, made


def check_cloud(name, dump, journal):
    known, acted, surplus, _, made = journal
    by_op = {}
    for e in dump["effects"]:
        check(e["op"] in known, f"{name} did something that the journal knows nothing of", e)
        by_op.setdefault(e["op"], []).append(e)
        check(e["op"] not in surplus or e["id"] not in made, "what is in use was deleted as surplus", e)
    for op, effects in by_op.items():
        # a late request of a cloud without keys makes a second one; everything else happens once
        twice_allowed = name == "simtags" and effects[0]["verb"] == "create"
        check(len(effects) == 1 or twice_allowed, f"{name}: an op id acted {len(effects)} times", *effects)
    return by_op


def check_all(site, clouds):
    journal = read_journal(site)
    dumps = {name: cloud.ask(do="dump") for name, cloud in clouds.items()}
    did = {}
    for name, dump in dumps.items():
        did.update(check_cloud(name, dump, journal))
    for op, record in journal[1].items():
        check(op in did, "the journal says DONE, and no cloud did anything", record, journal[0][op])
    fresh = site.prvng("resource", "list", "--format", "json").expect(0).json()
    living = site.get("/resources")[1]
    check(fresh == living, "a fresh read of the journal is not the engine's inventory", json.dumps(fresh),
          json.dumps(living))
    there = {s["name"]: (s["id"], s["spec"]["cpu"]) for dump in dumps.values() for s in dump["servers"]}
    check(len(there) == sum(len(d["servers"]) for d in dumps.values()), "there are duplicates left",
          *(s for d in dumps.values() for s in d["servers"]))
    ours = {r["key"].split(".", 1)[1]: (r["outputs"]["id"], r["outputs"]["cpu"]) for r in fresh["resources"]}
    check(there == ours, "the clouds and the inventory differ", sorted(there.items()), sorted(ours.items()))
    for run in site.prvng("batch", "list", "--format", "json").expect(0).json()["workflows"]:
        fresh = site.prvng("batch", "status", run["id"], "--format", "json").expect(0).json()
        check(fresh == site.get(f"/workflows/{run['id']}/status")[1], "a fresh read is not the engine's status",
              json.dumps(fresh))
    site.prvng("store", "check").expect(0)
    return journal, dumps


def tell(store, engine, journal, dumps, n_runs):
    rolled = sum(any(a <= k <= b for a, b in journal[3]) for k in engine.kills)
    twice = sum(len(d["effects"]) for d in dumps.values())
    counts = {}
    for d in dumps.values():
        for what, n in d["counts"].items():
            counts[what] = counts.get(what, 0) + n
    print(f"{store}: {len(engine.kills)} times killed, {engine.early} of them before it was ready, {rolled} during a "
          f"rollback; {n_runs} runs, {twice} effects, {len(journal[2])} surplus deleted", flush=True)
    print("  the clouds: " + ", ".join(f"{n} {what}" for what, n in sorted(counts.items())), flush=True)
    return rolled


def main(store, kills):
    seed = int(os.environ.get("PRVNG_TEST_SEED") or secrets.randbits(31))
    print(f"{store}: seed {seed} (PRVNG_TEST_SEED={seed} plans the same)", flush=True)
    rng = random.Random(seed)
    start = time.monotonic()
    with Site(store=store, plugins=("rkvs",)) as site:
        clouds = {name: Cloud(site, name, rng.randrange(1 << 31)) for name in PROVIDERS}
        engine = None
        try:
            for name, cloud in clouds.items():
                site.dropin(name, os.path.join(BUILD, "tests", "plugins", name + ".so"), f'socket = "{cloud.path}";')
            engine = Engine(site, random.Random(rng.randrange(1 << 31)), kills)
            client = Client(site, engine)
            number, n_runs = 0, 0
            while engine.left > 0:
                # every second one keeps its runs in another store than the site does
                life = Life(number, store if number % 2 else next(s for s in STORES if s != store))
                life.live(client)
                n_runs += life.n_runs
                number += 1
            engine.end()
            client.ask("/healthz")
            journal, dumps = check_all(site, clouds)
            rolled = tell(store, engine, journal, dumps, n_runs)
            check(len(engine.kills) == kills, "not as many kills as wanted", len(engine.kills))
            check(kills < 50 or (rolled and engine.early), "the kills missed what they were for")
        finally:
            if engine:
                engine.end()
            for cloud in clouds.values():
                cloud.close()
    print(f"{store}: {time.monotonic() - start:.1f} s", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    try:
        main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 25 if SANITIZED else 100)
    except Failed as error:
        sys.exit(f"FAILED  {error}")
