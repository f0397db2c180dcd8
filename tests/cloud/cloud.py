#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A simulated cloud: a process of its own that keeps servers, misbehaves, and counts what it did.

Usage: cloud.py SOCKET --seed N [--keys]

It listens on a unix socket; each connection carries one request and one reply, each a line of JSON:

    {"do": "create", "key", "kind", "name", "labels": {...}, "spec"}      -> {"status": 200, "server"}
    {"do": "update", "key", "id", "spec"}                                 -> {"status": 200, "server"}
    {"do": "delete", "key", "id"}                                         -> {"status": 200}
    {"do": "get", "id"}                                                   -> {"status": 200, "server"}
    {"do": "list", "labels": {...}, "name"?}                              -> {"status": 200, "servers": [...]}

A server is {"id", "kind", "name", "labels", "spec", "state": "building" | "running"}; status is 404 for
an id that is not there, 409 for an update of one that is being built, 429 with "retry_after_ms", 503
(nothing was done). A reply may be lost: the connection ends without one.

With --keys a request with a key that was seen before does nothing and is answered as the first one (an
idempotency key). Without, every create makes a server, names are not unique, and a list shows a new
server only some time after it was made, at the latest when it runs. Some requests are answered with
silence and act later than the plugin says is possible: right before the engine, which found nothing, asks
for another server, so that it has one too many.

Two more requests are for tests: {"do": "dump"} tells all servers and all effects,
[{"n", "op", "verb", "id", "name"}]: `op` is the label op_id for a create and the key for the others;
{"do": "mood", "faults": 0 ... 1} says how much goes wrong (1 at the start).

It ends when its standard input ends. Whatever it does wrong comes from the seed.
"""
import argparse
import asyncio
import json
import os
import random
import sys
import time

BUILD_MS = (10, 40)     # until a server runs
SLOW_MS = (1, 25)       # a slow request waits that long before it acts, or before it is answered
RETRY_AFTER_MS = (3, 15)


class Cloud:
    def __init__(self, seed, keys):
        self.random = random.Random(seed)
        self.keys = keys
        self.faults = 1.0
        self.servers = {}
        self.effects = []
        self.seen = {}  # key -> reply, with --keys
        self.late = {}  # op id -> the request that will act late, without
        self.counts = {}

    def chance(self, probability):
        return self.random.random() < probability * self.faults

    def effect(self, verb, op, server):
        self.effects.append({"n": len(self.effects), "op": op, "verb": verb, "id": server["id"],
                             "name": server["name"]})

    @staticmethod
    def shown(server):
        shown = {k: server[k] for k in ("id", "kind", "name", "labels", "spec")}
        shown["state"] = "running" if time.monotonic() >= server["ready"] else "building"
        return shown

    # What requests do

    def create(self, q, late=False):
        build = self.random.uniform(*BUILD_MS) / 1000
        hidden = 0 if self.keys or late else self.random.uniform(0, build)
        server = {"id": f"srv-{len(self.effects)}-{self.random.randrange(1 << 32):08x}",
                  "kind": q["kind"], "name": q["name"], "labels": q["labels"], "spec": q["spec"],
                  "ready": time.monotonic() + build, "visible": time.monotonic() + hidden}
        self.servers[server["id"]] = server
        self.effect("create", q["labels"]["op_id"], server)
        return {"status": 200, "server": self.shown(server)}

    def update(self, q):
        server = self.servers.get(q["id"])
        if not server:
            return {"status": 404}
        if time.monotonic() < server["ready"]:
            return {"status": 409}
        if server["spec"] != q["spec"]:
            server["spec"] = q["spec"]
            self.effect("update", q["key"], server)
        return {"status": 200, "server": self.shown(server)}

    def delete(self, q):
        server = self.servers.pop(q["id"], None)
        if not server:
            return {"status": 404}
        self.effect("delete", q["key"], server)
        return {"status": 200}

    def get(self, q):
        server = self.servers.get(q["id"])
        return {"status": 200, "server": self.shown(server)} if server else {"status": 404}

    def list(self, q):
        now = time.monotonic()
        found = [self.shown(s) for s in self.servers.values()
                 if now >= s["visible"] and q.get("name") in (None, s["name"]) and
                 all(s["labels"].get(k) == v for k, v in q["labels"].items())]
        return {"status": 200, "servers": found}

    def act(self, q):
        """A change, once for each key where keys are kept."""
        if not self.keys:
            late = self.late.pop(q["labels"]["op_id"], None) if q["do"] == "create" else None
            if late:
                self.count("late")
                self.create(late, True)
            return getattr(self, q["do"])(q)
        if q["key"] not in self.seen:
            reply = getattr(self, q["do"])(q)
            if reply["status"] == 409:
                return reply
            self.seen[q["key"]] = reply
        return self.seen[q["key"]]

    # How they are answered

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    async def pause(self, limits):
        await asyncio.sleep(self.random.uniform(*limits) / 1000)

    async def answer(self, q):
        """The reply; None: it is lost."""
        change = q["do"] in ("create", "update", "delete")
        if q["do"] == "dump":
            return {"servers": [self.shown(s) for s in self.servers.values()], "effects": self.effects,
                    "counts": self.counts}
        if q["do"] == "mood":
            self.faults = q["faults"]
            return {"status": 200}
        if self.chance(0.06):
            self.count("429")
            return {"status": 429, "retry_after_ms": self.random.randint(*RETRY_AFTER_MS)}
        if self.chance(0.04):
            self.count("503")
            return {"status": 503}
        if self.chance(0.03):
            self.count("request lost")
            return None
        if self.chance(0.25):
            await self.pause(SLOW_MS)
        if q["do"] == "create" and not self.keys and self.chance(0.06):
            self.late[q["labels"]["op_id"]] = q
            return None
        reply = self.act(q) if change else getattr(self, q["do"])(q)
        if self.chance(0.25):
            await self.pause(SLOW_MS)
        if self.chance(0.08):
            self.count("reply lost")
            return None
        return reply

    async def serve(self, reader, writer):
        try:
            line = await reader.readline()
            if line.endswith(b"\n"):  # half a request is none
                reply = await self.answer(json.loads(line))
                if reply is not None:
                    writer.write(json.dumps(reply).encode() + b"\n")
                    await writer.drain()
        except ConnectionError:
            self.count("client gone")
        finally:
            writer.close()


async def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("socket")
    arguments.add_argument("--seed", type=int, required=True)
    arguments.add_argument("--keys", action="store_true")
    a = arguments.parse_args()
    cloud = Cloud(a.seed, a.keys)
    server = await asyncio.start_unix_server(cloud.serve, a.socket, limit=1 << 20, backlog=512)
    end = asyncio.get_running_loop().create_future()
    os.set_blocking(0, False)
    asyncio.get_running_loop().add_reader(0, lambda: end.done() or os.read(0, 4096) or end.set_result(None))
    print("ready", flush=True)
    await end
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
    sys.exit(0)
