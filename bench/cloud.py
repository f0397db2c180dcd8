#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Creates servers at a fake of UpCloud's API that takes 40 ms for a reply and 100 ms for a change of state.

Usage: cloud.py [NAME...]       names as in NAMES, parts of them, or none for all

Prints one JSON object a line.

    cloud.create_500_over_rate_bound       time for 500 servers under api_rate_limit 10, over the time that 500
                                           requests need at that rate: what a create costs cannot be less
    cloud.requests_per_create              as the fake counts them, in the same run
    cloud.pending_500.threads              threads of the engine while 500 creates are PENDING, without a rate limit
    cloud.pending_500.s                    from the first POST until all 500 are PENDING
    cloud.pending_500.kib_per_operation    what the engine's memory grew by since it was idle, for each of them
"""
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "tests", "support"), os.path.join(HERE, "..", "tests", "fakes")]
import fakes  # noqa: E402
from live import BUILD, Site, wait_for  # noqa: E402

N = 500
RATE = 10
NAMES = ("cloud.create_500_over_rate_bound", "cloud.requests_per_create", "cloud.pending_500.threads",
         "cloud.pending_500.s", "cloud.pending_500.kib_per_operation")


def say(name, value, unit="1"):
    print(json.dumps({"name": name, "value": value, "unit": unit}), flush=True)


def definition():
    """Everything may come in: then no server needs a second request for its firewall."""
    names = [f"web-{i}" for i in range(N)]
    rules = [{"direction": "in", "protocol": "any", "action": "accept"}]
    return {"name": "bench", "type": "parallel",
            "security_groups": [{"name": "default", "rules": rules}],
            "servers": [{"name": n, "provider": "upcloud", "zone": "fi-hel1", "cpu": 1, "memory": 1024,
                         "image": "01000000-0000-4000-8000-000020070100", "ssh_keys": ["ssh-ed25519 AAAA bench"]}
                        for n in names],
            "operations": [{"id": "make", "type": "create", "target": "server", "items": names, "timeout": 600}]}


class Bench(Site):
    def __init__(self, limits, state_ms=100):
        self.fake = fakes.UpCloud(latency_ms=40, state_ms=state_ms)
        super().__init__(conf='provider = "upcloud";\n', idle=600)
        # workers: at most 16 threads, of which the engine and the HTTP service have one each
        path = self.path("config/prvng/prvng.conf")
        with open(path, encoding="utf-8") as f:
            text = f.read().replace("workers = 4;", "workers = 12;")
        self.write("config/prvng/prvng.conf", text)
        self.dropin("upcloud", os.path.join(BUILD, "plugins", "upcloud.so"), "", limits)
        self.env.update(self.fake.env())
        self.fake.set(limits={"cores": N, "memory": N * 1024, "public_ipv4": N, "storage_maxiops": N * 10})
        self.write("bench.json", definition())
        self.process = self.start_engine()

    def close(self):
        try:
            super().close()
        finally:
            self.fake.close()

    def status(self, field):
        """A figure of the engine's process: "Threads", or "VmRSS" in KiB."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith(field + ":"))

    def posts(self):
        return [x for x in self.fake.log(method="POST", path="/1.3/server") if x["path"].rstrip("/").endswith("/server")]


def create_all():
    with Bench(f"batch_size = {N}; api_rate_limit = {RATE};") as site:
        start = time.monotonic()
        site.prvng("batch", "submit", "bench.json", "--watch", timeout=600).expect(0)
        took = time.monotonic() - start
        say(NAMES[0], round(took / (N / RATE), 4))
        say(NAMES[1], round(site.fake.counters()["requests"] / N, 4))


def pending_all():
    with Bench(f"batch_size = {N}; api_rate_limit = 0;", state_ms=3600000) as site:
        site.get("/healthz")
        before = site.status("VmRSS")
        site.prvng("batch", "submit", "bench.json").expect(0)
        most = 0

        def all_pending():
            nonlocal most
            most = max(most, site.status("Threads"))
            tasks = site.get("/workflows/bench/status")[1]["tasks"]
            return sum(t["status"] == "pending" for t in tasks) == N

        wait_for("500 pending creates", all_pending, 300)
        posts = site.posts()
        say(NAMES[2], max(most, site.status("Threads")))
        say(NAMES[3], round((posts[-1]["at_ms"] + posts[-1]["took_ms"] - posts[0]["at_ms"]) / 1000, 2), "s")
        say(NAMES[4], round((site.status("VmRSS") - before) / N, 2), "KiB")


def main(words):
    def wanted(*names):
        return not words or any(w in n for w in words for n in names)

    if wanted(*NAMES[:2]):
        create_all()
    if wanted(*NAMES[2:]):
        pending_all()


if __name__ == "__main__":
    main(sys.argv[1:])
