# SPDX-License-Identifier: Apache-2.0
"""What all fakes share: an HTTP/1.1 server on asyncio with a request log, counters, a rate limit, faults and
a control path. Only Python's own library.

A fake makes a Server with a function `handle(request) -> Reply` (a coroutine function) and runs it. Paths
below /_fake/ are for tests: see README.md beside this file. They are not counted, logged, delayed or spoiled.
"""
import asyncio
import collections
import email.utils
import json
import os
import random
import signal
import socket
import struct
import sys
import time
import urllib.parse

REASONS = {200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 400: "Bad Request",
           401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found",
           405: "Method Not Allowed", 409: "Conflict", 413: "Content Too Large", 429: "Too Many Requests",
           500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable"}
HTML = "text/html; charset=UTF-8"
LOG_LIMIT = 200000       # entries of the request log
HEAD_LIMIT = 64 << 10    # bytes
BODY_LIMIT = 16 << 20

# What may go wrong with any request. The first kind happens instead of it, the second to its reply.
BEFORE = ("429", "429-date", "500", "502", "503", "503-date", "reset-before", "late")
AFTER = ("reset-after", "truncated")
FAULTS = BEFORE + AFTER + ("slow", "slow-reply")


class Request:
    def __init__(self, n, method, target, headers, body):
        self.n, self.method, self.target, self.headers, self.body = n, method, target, headers, body
        path, _, query = target.partition("?")
        self.path = urllib.parse.unquote(path)
        self.query = urllib.parse.parse_qsl(query, keep_blank_values=True)
        self.note = {}      # what the fake wants in the log


class Reply:
    def __init__(self, status, body=b"", kind="application/json", headers=()):
        self.status, self.kind, self.headers = status, kind, list(headers)
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()


def html(status):
    reason = REASONS[status]
    return Reply(status, f"<html><head><title>{status} {reason}</title></head><body><center><h1>{status} "
                 f"{reason}</h1></center></body></html>\n".encode(), HTML)


def parse_faults(text):
    """`NAME=PROBABILITY[:OPTION=VALUE...],...`, e.g. "reset-after=0.05,slow=0.2:ms=300"."""
    faults = {}
    for word in filter(None, (w.strip() for w in text.split(","))):
        head, *options = word.split(":")
        name, _, probability = head.partition("=")
        faults[name] = {"probability": float(probability or 1),
                        **dict(o.split("=", 1) for o in options)}
    return faults


class Faults:
    """Which request is spoiled, and how: first the injected ones, in order, then at random from the seed."""

    def __init__(self, known, seed):
        self.known = known
        self.injected = []
        self.random = {}
        self.seed(seed)

    def seed(self, seed):
        self.dice = random.Random(seed)

    def check(self, name):
        if name not in self.known:
            raise ValueError(f"unknown fault {name}: one of {', '.join(self.known)}")

    def set_random(self, faults):
        for name, fault in faults.items():
            self.check(name)
            if not isinstance(fault, dict):
                faults[name] = {"probability": float(fault)}
        self.random = faults

    def inject(self, rule):
        """{"fault", "method"?, "path"? (a prefix; with a trailing $ the whole), "contains"? (in the body),
        "count": 1, "skip": 0, and options of the fault}"""
        self.check(rule["fault"])
        self.injected.append({"count": 1, "skip": 0, **rule})

    @staticmethod
    def matches(rule, request):
        path = rule.get("path", "")
        return (rule.get("method") in (None, request.method) and
                (request.path.rstrip("/") == path[:-1].rstrip("/") if path.endswith("$")
                 else request.path.startswith(path)) and
                rule.get("contains", "").encode() in request.body)

    def choose(self, request, applies):
        """The fault of a request: {"fault", options...}, or None."""
        for rule in self.injected:
            if self.matches(rule, request) and applies(rule["fault"], request):
                if rule["skip"] > 0:
                    rule["skip"] -= 1
                    continue
                rule["count"] -= 1
                if rule["count"] <= 0:
                    self.injected.remove(rule)
                return rule
        for name, fault in self.random.items():
            if (self.matches(fault, request) and applies(name, request) and
                    self.dice.random() < fault["probability"]):
                return {"fault": name, **fault}
        return None


class Rate:
    """Counts requests in sliding windows of a second, and those above a token bucket."""

    def __init__(self):
        self.limit = None       # requests a second
        self.burst = 1
        self.answer = True      # with 429; else only counted
        self.clear()

    def clear(self):
        self.window = collections.deque()
        self.most = 0
        self.violations = 0
        self.tokens, self.at = None, 0

    def count(self, now):
        """Whether this request is within the limit."""
        self.window.append(now)
        while self.window[0] <= now - 1:
            self.window.popleft()
        self.most = max(self.most, len(self.window))
        if not self.limit:
            return True
        full = max(self.burst, 1)
        self.tokens = min(full, full if self.tokens is None else
                          self.tokens + (now - self.at) * self.limit)
        self.at = now
        if self.tokens < 1:
            self.violations += 1
            return False
        self.tokens -= 1
        return True


class Server:
    """`handle(request)` answers a request; `control` has functions by the name behind /_fake/, each called
    with (method, path words, query, body); `applies(fault, request)` says whether a fault makes sense;
    `spoiled(fault, request)` makes the replies of the fake's own faults; those in `through` are left to
    handle(), which finds them in the request's note."""

    def __init__(self, handle, control=None, faults=(), applies=None, spoiled=None, seed=0, limited=None,
                 through=()):
        self.handle, self.spoiled, self.through = handle, spoiled, tuple(through)
        self.applies = applies or (lambda fault, request: True)
        self.limited = limited or self.too_many
        self.faults = Faults(FAULTS + tuple(faults) + self.through, seed)
        self.rate = Rate()
        self.latency = 0.0
        self.start = time.monotonic()
        self.control = {"log": self.show_log, "counters": self.show_counters, "faults": self.set_faults,
                        "inject": self.inject, "set": self.set, **(control or {})}
        self.settings = {"latency_ms": self.set_latency, "rate_limit": self.set_rate,
                         "seed": lambda v: self.faults.seed(v)}
        self.late = set()
        self.clear()

    def clear(self):
        self.n = 0
        self.log = collections.deque(maxlen=LOG_LIMIT)
        self.counts = collections.Counter()
        self.statuses = collections.Counter()
        self.faulted = collections.Counter()
        self.open = self.most_open = self.running = self.most_running = self.connections = 0
        self.rate.clear()

    # Settings and control

    def set_latency(self, ms):
        self.latency = ms / 1000

    def set_rate(self, value):
        """A number, None, or {"limit", "burst", "answer"}."""
        value = value if isinstance(value, dict) else {"limit": value}
        self.rate.limit, self.rate.burst = value["limit"], value.get("burst", 1)
        self.rate.answer = value.get("answer", True)
        self.rate.tokens = None

    def set(self, method, words, query, body):
        for name, value in body.items():
            if name not in self.settings:
                raise ValueError(f"unknown setting {name}: one of {', '.join(self.settings)}")
            self.settings[name](value)
        return {}

    def set_faults(self, method, words, query, body):
        if method == "GET":
            return {"random": self.faults.random, "injected": self.faults.injected}
        if method == "DELETE":
            self.faults.random, self.faults.injected = {}, []
            return {}
        if "seed" in body:
            self.faults.seed(body["seed"])
        self.faults.set_random(parse_faults(body["random"]) if isinstance(body["random"], str)
                               else body["random"])
        return {}

    def inject(self, method, words, query, body):
        for rule in body if isinstance(body, list) else [body]:
            self.faults.inject(rule)
        return {}

    def show_log(self, method, words, query, body):
        first = int(query.get("from", 0))
        return {"log": [e for e in self.log if e["n"] >= first and
                        query.get("method", e["method"]) == e["method"] and
                        e["path"].startswith(query.get("path", ""))], "next": self.n}

    def show_counters(self, method, words, query, body):
        if method == "DELETE":
            self.clear()
            return {}
        return {"requests": self.n, "by_call": dict(self.counts), "by_status": dict(self.statuses),
                "faults": dict(self.faulted), "max_per_second": self.rate.most,
                "rate_violations": self.rate.violations, "connections": self.connections,
                "max_connections": self.most_open, "running": self.running,
                "max_running": self.most_running}

    async def controlled(self, request):
        words = request.path.split("/")[2:]
        function = self.control.get(words[0])
        if not function:
            return Reply(404, {"error": f"no /_fake/{words[0]}: one of {', '.join(self.control)}"})
        try:
            body = json.loads(request.body) if request.body else {}
            said = function(request.method, words[1:], dict(request.query), body)
            if asyncio.iscoroutine(said):
                said = await said
            return said if isinstance(said, Reply) else Reply(200, said)
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            return Reply(400, {"error": f"{type(e).__name__}: {e}"})

    # One request

    @staticmethod
    def too_many(fault):
        return Reply(429, b"Too many requests\n", "text/plain", [("Retry-After", "1")])

    @staticmethod
    def retry_after(fault, name):
        seconds = float(fault.get("retry_after", 1))
        if name.endswith("date"):
            return ("Retry-After", email.utils.formatdate(time.time() + seconds, usegmt=True))
        return ("Retry-After", str(int(seconds)))

    def instead(self, fault, request):
        """The reply of a fault that happens instead of the request."""
        reply = self.spoiled(fault, request) if self.spoiled else None
        if reply:
            return reply
        name = fault["fault"]
        if name in ("429", "429-date"):
            reply = self.limited(fault)
            reply.headers = [self.retry_after(fault, name)]
        elif name in ("503", "503-date"):
            reply = html(503)
            reply.headers = [self.retry_after(fault, name)]
        else:
            reply = html(int(name))
        return reply

    async def act_late(self, request, seconds):
        await asyncio.sleep(seconds)
        await self.handle(request)

    async def answer(self, request):
        """The reply and the fault; no reply: the connection is reset."""
        if not self.rate.count(time.monotonic()) and self.rate.answer:
            return self.limited({"fault": "429"}), {"fault": "rate-limit"}
        fault = self.faults.choose(request, self.applies)
        name = fault["fault"] if fault else None
        await asyncio.sleep(self.latency / 2)
        if name == "slow":
            await asyncio.sleep(float(fault.get("ms", 1000)) / 1000)
        if name == "reset-before":
            return None, fault
        if name == "late":      # the client learns nothing, and the effect is still to come
            task = asyncio.ensure_future(self.act_late(request, float(fault.get("ms", 500)) / 1000))
            self.late.add(task)
            task.add_done_callback(self.late.discard)
            return None, fault
        if name in self.through:
            request.note[name] = fault
        if name and name not in AFTER + ("slow", "slow-reply") + self.through:
            reply = self.instead(fault, request)
        else:
            reply = await self.handle(request)
            request.note["acted"] = True
        await asyncio.sleep(self.latency / 2)
        if name == "slow-reply":
            await asyncio.sleep(float(fault.get("ms", 1000)) / 1000)
        return (None if name == "reset-after" else reply), fault

    async def tell(self, request, connection):
        """Answers and logs."""
        began = time.monotonic()
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            reply, fault = await self.answer(request)
        except Exception as e:  # a mistake of the fake must fail the test, not hang it
            import traceback
            traceback.print_exc()
            reply, fault = Reply(599, f"the fake failed: {e!r}\n".encode(), "text/plain"), None
        finally:
            self.running -= 1
        status = reply.status if reply else 0
        name = fault["fault"] if fault else None
        self.statuses[str(status)] += 1
        if name:
            self.faulted[name] += 1
        self.log.append({"n": request.n, "at_ms": round((began - self.start) * 1000, 3),
                         "took_ms": round((time.monotonic() - began) * 1000, 3), "method": request.method,
                         "path": request.path, "target": request.target, "status": status, "fault": name,
                         "connection": connection, "body": request.body.decode(errors="replace"),
                         "headers": {k: v for k, v in request.headers.items() if k != "authorization"},
                         **request.note})
        return reply, name

    # The protocol

    async def read(self, reader):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return None
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        headers = {}
        for line in filter(None, lines[1:]):
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        return method, target, headers

    async def read_body(self, reader, writer, headers):
        if headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() == "chunked":
            parts = []
            while True:
                size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
                parts.append((await reader.readexactly(size + 2))[:-2])
                if not size:
                    return b"".join(parts)
        size = int(headers.get("content-length", 0))
        if size > BODY_LIMIT:
            raise ValueError("the body is too large")
        return await reader.readexactly(size) if size else b""

    @staticmethod
    def rendered(request, reply, truncated):
        head = [f"HTTP/1.1 {reply.status} {REASONS.get(reply.status, 'Unknown')}",
                f"Date: {email.utils.formatdate(usegmt=True)}", *(f"{k}: {v}" for k, v in reply.headers)]
        given = {k.lower() for k, _ in reply.headers}
        if reply.status != 204:
            if "content-type" not in given:
                head.append(f"Content-Type: {reply.kind}")
            head.append(f"Content-Length: {len(reply.body)}")
        body = b"" if request.method == "HEAD" or reply.status == 204 else reply.body
        return "\r\n".join(head).encode() + b"\r\n\r\n" + (body[:len(body) // 2] if truncated else body)

    @staticmethod
    def reset(writer):
        """A reset (RST), not an orderly end."""
        sock = writer.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def serve(self, reader, writer):
        self.connections += 1
        connection = self.connections
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            while await self.serve_one(reader, writer, connection):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            self.counts["broken requests"] += 1
        finally:
            self.open -= 1
            writer.close()

    async def serve_one(self, reader, writer, connection):
        head = await self.read(reader)
        if not head:
            return False
        method, target, headers = head
        request = Request(self.n, method, target, headers, await self.read_body(reader, writer, headers))
        if request.path.startswith("/_fake/"):
            reply, name = await self.controlled(request), None
        else:
            self.n += 1
            self.counts[f"{method} {self.call(request)}"] += 1
            reply, name = await self.tell(request, connection)
        if reply is None:
            self.reset(writer)
            return False
        writer.write(self.rendered(request, reply, name == "truncated"))
        await writer.drain()
        return name != "truncated" and headers.get("connection", "").lower() != "close"

    @staticmethod
    def call(request):
        """The path with ids left out, for the counters."""
        return "/".join("*" if any(c.isdigit() for c in w[1:]) and len(w) > 4 else w
                        for w in request.path.rstrip("/").split("/"))


def base_arguments(arguments):
    arguments.add_argument("--port", type=int, default=0, help="0: any (default)")
    arguments.add_argument("--ready-file", help='where to write {"port", "pid"} once it listens')
    arguments.add_argument("--latency-ms", type=float, default=0, help="half before, half after the effect")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--faults", default="", help="NAME=PROBABILITY[:OPTION=VALUE...],...")
    arguments.add_argument("--rate-limit", type=float, help="requests a second; more are answered 429")
    arguments.add_argument("--keep", action="store_true", help="do not end with the parent process")


def apply_base(server, a):
    server.set_latency(a.latency_ms)
    server.faults.set_random(parse_faults(a.faults))
    if a.rate_limit:
        server.set_rate({"limit": a.rate_limit, "burst": max(1, a.rate_limit)})


async def orphaned(parent):
    while os.getppid() == parent:
        await asyncio.sleep(0.2)


async def run(server, a, parent):
    """Serves on loopback until SIGTERM, SIGINT, or the end of the parent."""
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", a.port, limit=HEAD_LIMIT, backlog=1024)
    ready = {"port": listener.sockets[0].getsockname()[1], "pid": os.getpid()}
    if a.ready_file:
        with open(a.ready_file + ".new", "w", encoding="ascii") as f:
            json.dump(ready, f)
        os.replace(a.ready_file + ".new", a.ready_file)
    print(json.dumps(ready), flush=True)
    waits = [asyncio.ensure_future(end.wait())]
    if not a.keep:
        waits.append(asyncio.ensure_future(orphaned(parent)))
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in waits:
        task.cancel()
    listener.close()


def main(make):
    """`make()` -> (server, arguments, at_end)."""
    parent = os.getppid()
    server, a, at_end = make()
    asyncio.run(run(server, a, parent))
    if at_end:
        at_end()
    sys.stdout.flush()
