#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures the provider upcloud against the fake of its API (40 ms latency, 100 ms for a change of state), and
OpenTofu at the same fake (tofu.py).

Usage: clouds.py [NAME...]      parts of the names below, or none for all but OpenTofu, which takes minutes to
                                build the first time: clouds.py tofu

Prints one JSON object a line. clouds.servers_500_rate_10.over_bound is the time of the whole run over that in
which as many requests as it took can leave at 10 a second.
"""
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "tests", "support"), os.path.join(HERE, "..", "tests", "fakes")]
import fakes  # noqa: E402
import tofu  # noqa: E402
from live import BUILD, Site, check, wait_for  # noqa: E402

N = 500
RATE = 10
HOUR = 3600 * 1000  # ms
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBwmXg1oHz5tUuO0yRPhcHWRA8uX8PSkcmSKNB6iyoSv bench"


class Cloud(Site):
    """A site whose provider is upcloud, with 16 threads for its calls and no other limits, and a fake."""

    def __init__(self, rate=0, **flags):
        self.fake = fakes.UpCloud(**{"latency_ms": tofu.LATENCY_MS, "state_ms": tofu.STATE_MS, **flags})
        super().__init__(plugins=())
        self.write("config/prvng/prvng.conf", 'idle_timeout = 20;\nworkers = 16;\nstore = "file";\nprovider = "upcloud";\n')
        self.dropin("upcloud", os.path.join(BUILD, "plugins", "upcloud.so"), "",
                    f"api_rate_limit = {rate}; batch_size = 0;")
        self.env.update(self.fake.env())

    def close(self):
        try:
            super().close()
        finally:
            self.fake.close()

    def define(self, name, n):
        names = [f"{name}-{i}" for i in range(n)]
        return self.write(f"{name}.json", {
            "name": name, "type": "parallel",
            "servers": [{"name": s, "zone": "fi-hel1", "image": "debian-12", "ssh_keys": [KEY]} for s in names],
            "operations": [{"id": "make", "type": "create", "target": "server", "items": names}]})

    def make(self, n):
        """Seconds that a run takes for n servers, which the fake must have then."""
        path = self.define("bench", n)
        self.prvng("batch", "list").expect(0)
        start = time.monotonic()
        self.prvng("batch", "submit", path, "--watch", timeout=1800).expect(0)
        took = time.monotonic() - start
        check(len(self.fake.servers()) == n, f"not {n} servers", len(self.fake.servers()))
        return took

    def states(self, name):
        tasks = self.prvng("batch", "status", name, "--format", "json").expect(0).json()["tasks"]
        return [t["status"] for t in tasks if t["id"].startswith("make/")]

    def of_engine(self, field):
        """A number of /proc/PID/status."""
        with open(f"/proc/{self.engine()}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith(field + ":"))

    def all_pending(self, name, n):
        self.prvng("batch", "submit", self.define(name, n)).expect(0)
        wait_for(f"{n} pending creates", lambda: self.states(name).count("pending") == n, 300)

    def let_go(self, name):
        def over():
            self.fake.finish()
            return all(s == "succeeded" for s in self.states(name))
        wait_for("the end of the run", over, 300)


def say(name, value, unit="1"):
    print(json.dumps({"name": name, "value": value, "unit": unit}), flush=True)


def rate():
    with Cloud(rate=RATE) as site:
        took = site.make(N)
        counted = site.fake.counters()
    say(f"clouds.servers_{N}_rate_{RATE}.s", took, "s")
    say(f"clouds.servers_{N}_rate_{RATE}.requests", counted["requests"])
    say(f"clouds.servers_{N}_rate_{RATE}.most_requests_in_1s", counted["max_per_second"])
    say(f"clouds.servers_{N}_rate_{RATE}.over_bound", took / (counted["requests"] / RATE))


def held(n):
    """n servers that do not come: seconds until all creates are PENDING, and of the engine then KiB and threads."""
    with Cloud(state_ms=HOUR) as site:
        start = time.monotonic()
        site.all_pending("bench", n)
        took = time.monotonic() - start
        said = took, site.of_engine("VmRSS"), site.of_engine("Threads")
        site.let_go("bench")
        return said


def pending():
    alone = held(1)     # what the engine takes by itself is not counted
    took, memory, threads = held(N)
    say(f"clouds.pending_{N}.s", took, "s")
    say(f"clouds.pending_{N}.threads", threads)
    say(f"clouds.pending_{N}.memory_per_operation", (memory - alone[1]) / (N - 1), "KiB")


def free():
    with Cloud() as site:
        say(f"clouds.servers_{N}.s", site.make(N), "s")


def beside_tofu():
    names = (f"clouds.servers_{N}_over_tofu", f"clouds.servers_{N}_over_terraform_data")
    with tofu.or_absent(*names):
        theirs = {p: tofu.servers(N, p) for p in (10, N)}   # 10 is its default
        bare = tofu.nothing(N)[0]
        with Cloud() as site:
            ours = site.make(N)
        for parallelism, (took, memory) in theirs.items():
            say(f"clouds.tofu_{N}_parallelism_{parallelism}.s", took, "s")
            say(f"clouds.tofu_{N}_parallelism_{parallelism}.memory", memory, "MiB")
        say(f"clouds.tofu_{N}_terraform_data.s", bare, "s")
        say(names[0], ours / min(took for took, _ in theirs.values()))
        say(names[1], ours / bare)


NAMES = {f"clouds.servers_{N}_rate_{RATE}.over_bound": rate, f"clouds.pending_{N}.memory_per_operation": pending,
         f"clouds.servers_{N}.s": free, f"clouds.servers_{N}_over_tofu": beside_tofu}


def main(words):
    for name, measure in NAMES.items():
        if words and not any(word in name for word in words):
            continue
        if measure == beside_tofu and not any("tofu" in word for word in words):
            print(json.dumps({"name": name, "value": None, "absent": "only when asked for: scripts/bench tofu"}),
                  flush=True)
            continue
        if not os.path.exists(os.path.join(BUILD, "plugins", "upcloud.so")):
            print(json.dumps({"name": name, "value": None, "absent": "the provider upcloud is not built"}))
            continue
        measure()


if __name__ == "__main__":
    main(sys.argv[1:])
