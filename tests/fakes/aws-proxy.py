#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stands in front of moto and adds what it lacks: tokens that make calls idempotent, eventual consistency,
zones without room, dependencies that take time to go, throttling, and all that can go wrong on the way.

Usage: aws-proxy.py --upstream PORT [--port 0] [--ready-file FILE] [--latency-ms N] [--state-ms N] [--seed N]
                    [--faults SPEC] [--rate-limit N]

Requests go on unchanged, so that moto can check their signature. What tests ask of it below /_fake/, and the
faults, are in README.md beside this file. Ends on SIGTERM or with its parent process.
"""
import argparse
import asyncio
import hashlib
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import web  # noqa: E402
from aws_fake import protocol  # noqa: E402
from aws_fake.consistency import Consistency  # noqa: E402

# Beside those of web.py: error replies, by service where they differ.
OWN_FAULTS = ("throttle", "capacity", "dependency", "500-html", "html", "error")
HOP = ("connection", "keep-alive", "transfer-encoding", "expect", "content-length")


class Proxy:
    def __init__(self, a):
        self.upstream = a.upstream
        self.state_ms = a.state_ms
        self.one = asyncio.Lock()   # moto answers one call at a time
        self.reset()

    def reset(self):
        self.consistency = Consistency()
        self.tokens = {}            # (access key, action, token) -> {"digest", "reply", "lock"}
        self.full = set()
        self.subnets = {}           # id -> zone
        self.dependencies = {}      # action -> calls that are refused for each id
        self.refusals = {}          # (action, id) -> calls that were refused
        self.counts = {"replayed": 0, "mismatches": 0, "hidden": 0}
        self.effects = []

    # Replies of our own

    @staticmethod
    def error(call, status, code, message):
        call.request.note["code"] = code
        body, kind = protocol.error(call.service, status, code, message)
        return web.Reply(status, body, kind)

    def throttled(self, call):
        if call.service == "ec2":
            return self.error(call, 503, "RequestLimitExceeded", "Request limit exceeded.")
        code = "ThrottlingException" if call.service == "kms" else "Throttling"
        return self.error(call, 400, code, "Rate exceeded")

    def spoiled(self, fault, request):
        call, name = protocol.Call(request), fault["fault"]
        if name in ("throttle", "429", "429-date"):
            return self.throttled(call)
        if name == "capacity":
            return self.no_room(call, "the requested zone")
        if name == "dependency":
            return self.error(call, 400, "DependencyViolation", "resource has a dependent object")
        if name == "error":
            return self.error(call, int(fault.get("status", 400)), fault.get("code", "InternalError"),
                              fault.get("message", "An error that a test asked for."))
        if name in ("500-html", "html"):
            return web.html(int(fault.get("status", 500)))
        if name in ("500", "503", "503-date"):
            code = {"ec2": ("InternalError", "Unavailable"), "kms": ("KMSInternalException", "KeyUnavailableException")
                    }.get(call.service, ("InternalFailure", "ServiceUnavailable"))[name != "500"]
            reply = self.error(call, int(name[:3]), code, "An internal error has occurred")
            if name != "500":
                reply.headers = [web.Server.retry_after(fault, name)]
            return reply
        return None

    def applies(self, name, request):
        call = protocol.Call(request)
        if name == "capacity":
            return call.action == "RunInstances"
        if name == "dependency":
            return (call.action or "").startswith("Delete")
        if name == "late":
            return not (call.action or "").startswith(("Describe", "Get", "List"))
        return True

    # What stands before moto

    def no_room(self, call, zone):
        return self.error(call, 500, "InsufficientInstanceCapacity", "We currently do not have sufficient "
                          f"{call.params.get('InstanceType', '')} capacity in the Availability Zone you requested "
                          f"({zone}).")

    def refused(self, call):
        if call.action == "RunInstances" and self.full:
            subnet = call.params.get("SubnetId") or call.params.get("NetworkInterface.1.SubnetId")
            zone = call.params.get("Placement.AvailabilityZone") or self.subnets.get(subnet, "")
            if zone in self.full or "*" in self.full:
                return self.no_room(call, zone)
        calls = self.dependencies.get(call.action, self.dependencies.get("*", 0))
        if calls and (call.action or "").startswith("Delete") and call.service == "ec2":
            id_ = next((v for k, v in sorted(call.params.items()) if k.endswith(("Id", "GroupName"))), "")
            done = self.refusals.get((call.action, id_), 0)
            if done < calls:
                self.refusals[call.action, id_] = done + 1
                return self.error(call, 400, "DependencyViolation", f"resource {id_} has a dependent object")
        hidden = self.consistency.refused(call)
        if hidden:
            self.counts["hidden"] += 1
            return self.error(call, 400, *hidden)
        return None

    async def forward(self, request):
        """The reply of moto."""
        head = [f"{request.method} {request.target} HTTP/1.1"]
        head += [f"{k}: {v}" for k, v in request.headers.items() if k not in HOP]
        head += [f"x-fake-state-ms: {self.state_ms}", f"content-length: {len(request.body)}", "connection: close"]
        async with self.one:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream, limit=web.BODY_LIMIT)
            try:
                writer.write("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + request.body)
                await writer.drain()
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                body = await reader.read()
            finally:
                writer.close()
        status = int(head[0].split()[1])
        headers = [tuple(p.strip() for p in line.split(":", 1)) for line in head[1:] if line]
        kind = next((v for k, v in headers if k.lower() == "content-type"), "text/plain")
        kept = [(k, v) for k, v in headers if k.lower().startswith("x-amz")]
        return web.Reply(status, body, kind, kept)

    def effect(self, call):
        if call.action and not call.action.startswith(("Describe", "Get", "List")):
            self.effects.append({"n": len(self.effects), "action": call.action, "service": call.service,
                                 "params": call.params, "tags": call.tags()})

    async def ask(self, call):
        """Asks moto, and learns from what it says."""
        reply = await self.forward(call.request)
        reply.status, reply.body, reply.kind = protocol.mended(call.service, reply.status, reply.body, reply.kind)
        if call.service != "ec2" or reply.status >= 300:
            if reply.status < 300:
                self.effect(call)
            return reply
        self.effect(call)
        if call.action in ("CreateSubnet", "DescribeSubnets"):
            root = protocol.parse(reply.body)
            for item in root.iter() if root is not None else ():
                if protocol.text(item, "subnetId"):
                    self.subnets[protocol.text(item, "subnetId")] = protocol.text(item, "availabilityZone")
        reply.body = self.consistency.without(call, reply.body)
        self.consistency.made(call, reply.body)
        return reply

    async def ask_once(self, call):
        """A call with a token: acts once, and is answered the same way each time."""
        key = (call.key, call.action, call.params["ClientToken"])
        digest = hashlib.sha256(call.request.body).hexdigest()
        if not 1 <= len(key[2]) <= 64 or not key[2].isascii():
            return self.error(call, 400, "InvalidParameterValue", "ClientToken: at most 64 ASCII characters")
        entry = self.tokens.setdefault(key, {"digest": digest, "reply": None, "lock": asyncio.Lock()})
        async with entry["lock"]:   # the second of two at once waits for the first
            if entry["reply"]:
                if entry["digest"] != digest:
                    self.counts["mismatches"] += 1
                    return self.error(call, 400, "IdempotentParameterMismatch", "Arguments on this idempotent request "
                                      "are inconsistent with arguments used in previous request(s).")
                self.counts["replayed"] += 1
                call.request.note["replayed"] = True
                return entry["reply"]
            entry["digest"] = digest
            reply = self.refused(call) or await self.ask(call)
            if reply.status < 300:
                entry["reply"] = reply
            return reply

    async def handle(self, request):
        call = protocol.Call(request)
        request.note.update({"action": call.action, "service": call.service, "key": call.key})
        if call.params.get("ClientToken") and call.params.get("DryRun", "false") != "true":
            return await self.ask_once(call)
        return self.refused(call) or await self.ask(call)


def make_server(a):
    proxy = Proxy(a)

    def reset(method, words, query, body):
        proxy.reset()
        server.clear()
        server.faults.random, server.faults.injected = {}, []
        return {}

    def limited(fault):
        return web.Reply(503, *protocol.error("ec2", 503, "RequestLimitExceeded", "Request limit exceeded."))

    def state(method, words, query, body):
        return {"effects": proxy.effects, "counts": proxy.counts, "hidden": sorted(proxy.consistency.hidden),
                "tokens": [{"action": k[1], "token": k[2], "done": bool(v["reply"])}
                           for k, v in proxy.tokens.items()]}

    server = web.Server(proxy.handle, faults=OWN_FAULTS, applies=proxy.applies, spoiled=proxy.spoiled, seed=a.seed,
                        limited=limited, control={"state": state, "reset": reset})
    server.settings.update({
        "consistency": lambda v: proxy.consistency.configure(v), "full_zones": lambda v: setattr(proxy, "full", set(v)),
        "dependency_calls": lambda v: setattr(proxy, "dependencies", dict(v)),
        "state_ms": lambda v: setattr(proxy, "state_ms", v)})
    return server


def make():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    web.base_arguments(arguments)
    arguments.add_argument("--upstream", type=int, required=True, help="port of moto's server")
    arguments.add_argument("--state-ms", type=float, default=0, help="how long an instance takes to change its state")
    a = arguments.parse_args()
    server = make_server(a)
    web.apply_base(server, a)
    return server, a, None


if __name__ == "__main__":
    web.main(make)
