#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""1,000 creates at the fake of UpCloud's API, while it misbehaves and the engine is killed again and again.

Usage: upcloud.py [SERVERS] [EACH]

One workflow after the other makes EACH servers; the API loses requests and replies, carries requests out after
its reply is lost, answers 429, 500, 502 and 503, refuses by state, and is slow, all at random from a seed;
meanwhile prvngd is ended by SIGKILL and started again. Every fourth workflow is destroyed in that weather.
The API keeps no key of ours, so that what was asked for twice is made twice. At the end of each workflow and of
all (promises 1, 4):

  - the servers at the fake are those of the journal's inventory, by id: none lost, none twice
  - each carries the op id of the intent that the journal holds
  - no more requests left than the configured limit allows, as counted by the fake

The seed is printed; PRVNG_TEST_SEED sets it.
"""
import json
import os
import random
import secrets
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support"), os.path.join(HERE, "..", "fakes")]
import fakes  # noqa: E402
import kills  # noqa: E402
from live import BUILD, SANITIZED, Failed, Site, check  # noqa: E402

PLUGIN = os.path.join(BUILD, "tests", "plugins", "upcloudquick.so")
RATE = 200  # requests a second
FAULTS = ("429=0.004:after=1,500=0.01,502=0.01,503=0.005,reset-before=0.01,reset-after=0.03,truncated=0.02,"
          "late=0.02:ms=2200,state-illegal=0.02,slow=0.03:ms=200,slow-reply=0.01:ms=200")


class Engine(kills.Engine):
    """Lives a little longer: what it learns in its first moments is of before."""

    def delay(self):
        return self.rng.choice((self.rng.uniform(0.05, 0.5), self.rng.uniform(1, 4), self.rng.uniform(4, 8))) * kills.SLOW


def definition(number, each):
    names = [f"w{number}-{i}" for i in range(each)]
    servers = [{"name": n, "provider": "upcloud", "zone": "fi-hel1", "cpu": 1, "memory": 1024,
                "image": "01000000-0000-4000-8000-000020070100", "ssh_keys": ["ssh-ed25519 AAAA test"]} for n in names]
    return {"name": f"load-{number}", "type": "parallel", "servers": servers,
            "operations": [{"id": "make", "type": "create", "target": "server", "items": names, "timeout": 120,
                            "on_failure": "fail"}],
            "retry_policy": {"max_attempts": 100, "backoff": "linear", "initial_delay": 0, "max_delay": 0}}


def inventory(client):
    status, said = client.ask("/resources")
    check(status == 200, f"the inventory cannot be had: {status}", said)
    return {r["outputs"]["id"]: r["key"] for r in said["resources"] if r["key"].startswith("server.")}


def compare(client, fake, want):
    """The servers at the fake, and those in the journal."""
    there = {s["uuid"]: s for s in fake.servers()}
    ours = inventory(client)
    names = sorted(next(x["value"] for x in s["labels"] if x["key"] == "prvng-name") for s in there.values())
    check(set(there) == set(ours), "the fake and the inventory differ",
          "only at the fake: " + ", ".join(f"{i} {there[i]['title']} {there[i]['labels']}" for i in set(there) - set(ours)),
          "only in the inventory: " + ", ".join(ours[i] for i in set(ours) - set(there)))
    check(len(there) == want and len(set(names)) == want, f"not {want} servers", len(there), names)
    return there


def run_all(site, fake, client, number, each, there):
    """One workflow; returns how many servers there are after it."""
    began = time.monotonic()
    # carried out when the settling time is over and it was asked for again: a second server
    fake.inject("late", method="POST", path="/1.3/server$", ms=2400, count=4, skip=each // 2)
    make(client, definition(number, each))
    there += each
    print(f"  {number}: {time.monotonic() - began:.1f} s, {len(client.engine.kills)} kills", flush=True)
    compare(client, fake, there)
    if number % 4 == 2:
        destroy(client, f"load-{number}")
        there -= each
        compare(client, fake, there)
    return there


def unfinished(said):
    return [t for t in said["tasks"] if t["status"] not in ("succeeded", "unchanged")]


def make(client, workflow):
    """What used up its attempts in this weather is told, and tried again as an operator would."""
    run = client.submit(workflow)
    for _ in range(5):
        end = time.monotonic() + kills.STUCK
        while (said := client.status(run))["exit_code"] is None:
            check(time.monotonic() < end, "the run does not end", unfinished(said)[:20])
            time.sleep(0.01)
        if said["exit_code"] == 0:
            return
        print("  failed: " + json.dumps(unfinished(said))[:3000], flush=True)
        client.command(run, "retry")
    raise Failed("not all can be made\n" + json.dumps(unfinished(said))[:6000])


def destroy(client, name):
    """A destroy tries each thing three times; in this weather it may have to be asked for again."""
    for _ in range(20):
        run = kills.ulid()
        status, said = client.ask("/workflows/destroy", "POST", {"id": run, "name": name, "who": {"name": "test"}})
        check(status == 202, f"destroy: {status}", said)
        end = time.monotonic() + kills.STUCK
        while (said := client.status(run))["exit_code"] is None:
            check(time.monotonic() < end, "the destroy does not end", unfinished(said)[:20])
            time.sleep(0.05)
        if said["exit_code"] == 0:
            return
    raise Failed("it cannot be destroyed\n" + json.dumps(said)[:6000])


def main(total, each):
    seed = int(os.environ.get("PRVNG_TEST_SEED") or secrets.randbits(31))
    print(f"seed {seed} (PRVNG_TEST_SEED={seed} plans the same)", flush=True)
    rng, start = random.Random(seed), time.monotonic()
    with fakes.UpCloud(latency_ms=5, state_ms=100, seed=seed) as fake, \
            Site(conf='provider = "upcloud";\n') as site:
        site.env.update(fake.env())
        site.dropin("upcloud", PLUGIN, "", f"batch_size = {each}; api_rate_limit = {RATE};")
        fake.faults(FAULTS, rng.randrange(1 << 31))
        engine = Engine(site, random.Random(rng.randrange(1 << 31)), 100000)
        try:
            client = kills.Client(site, engine)
            there = 0
            for number in range(total // each):
                there = run_all(site, fake, client, number, each, there)
            fake.faults("")
            engine.end()
            client.ask("/healthz")
            compare(client, fake, there)
            most = fake.counters()["max_per_second"]
            check(most <= RATE * 1.05 + 2, f"{most} requests left in one second, {RATE} are allowed")
            site.prvng("store", "check").expect(0)
            tell(fake, engine, total)
        finally:
            engine.end()
    print(f"{time.monotonic() - start:.1f} s", flush=True)


def tell(fake, engine, total):
    counters = fake.counters()
    made = len(fake.effects("create", "server"))
    print(f"{total} creates, {len(engine.kills)} times killed; the fake made {made} servers ({made - total} of them"
          f" surplus), {counters['requests']} requests, at most {counters['max_per_second']} in a second", flush=True)
    print("  calls: " + ", ".join(f"{n} {what}" for what, n in sorted(counters["by_call"].items())), flush=True)
    print("  faults: " + ", ".join(f"{n} {what}" for what, n in sorted(counters["faults"].items())), flush=True)


if __name__ == "__main__":
    servers = int(sys.argv[1]) if len(sys.argv) > 1 else 200 if SANITIZED else 1000
    try:
        main(servers, int(sys.argv[2]) if len(sys.argv) > 2 else 125)
    except Failed as error:
        sys.exit(f"FAILED  {error}")
