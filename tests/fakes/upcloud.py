#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A fake of the UpCloud API 1.3: it keeps servers, storages, networks, routers, firewall rules and tokens, has
the states and errors of the real one, and misbehaves when told to.

Usage: upcloud.py [--port 0] [--ready-file FILE] [--latency-ms 40] [--state-ms 100] [--seed N]
                  [--faults SPEC] [--rate-limit N] [--state FILE] [--token T] [--user NAME:PASSWORD]

Listens on 127.0.0.1; the base URL is http://127.0.0.1:PORT/1.3. Ends on SIGTERM or with its parent process.
What tests ask of it below /_fake/, and the faults, are in README.md beside this file.
"""
import argparse
import base64
import json
import os
import sys
import uuid as uuids

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import web  # noqa: E402
from upcloud_fake import catalog  # noqa: E402
from upcloud_fake.base import Clock, Ids, Problem, invalid  # noqa: E402
from upcloud_fake.networks import Networks  # noqa: E402
from upcloud_fake.servers import Servers  # noqa: E402
from upcloud_fake.storages import Storages  # noqa: E402
from upcloud_fake.tokens import Tokens  # noqa: E402

JSON = "application/json; charset=UTF-8"
PROBLEM = "application/problem+json"
# Faults beside those of web.py. state-illegal: only for a server that is there.
OWN_FAULTS = ("state-illegal", "credits", "quota")

# Method, path ("*": an id), function of Cloud
CALLS = (
    ("GET", "account", "show_account"), ("GET", "zone", "list_zones"), ("GET", "plan", "list_plans"),
    ("GET", "server_size", "list_sizes"),
    ("GET", "account/tokens", "list_tokens"), ("POST", "account/tokens", "create_token"),
    ("GET", "account/tokens/*", "show_token"), ("DELETE", "account/tokens/*", "delete_token"),
    ("GET", "server", "list_servers"), ("POST", "server", "create_server"),
    ("GET", "server/*", "show_server"), ("PUT", "server/*", "modify_server"),
    ("DELETE", "server/*", "delete_server"), ("POST", "server/*/start", "start_server"),
    ("POST", "server/*/stop", "stop_server"), ("POST", "server/*/restart", "restart_server"),
    ("POST", "server/*/storage/attach", "attach_storage"), ("POST", "server/*/storage/detach", "detach_storage"),
    ("GET", "server/*/networking", "show_networking"),
    ("POST", "server/*/networking/interface", "add_interface"),
    ("DELETE", "server/*/networking/interface/*", "remove_interface"),
    ("GET", "server/*/firewall_rule", "list_rules"), ("POST", "server/*/firewall_rule", "create_rule"),
    ("PUT", "server/*/firewall_rule", "replace_rules"), ("GET", "server/*/firewall_rule/*", "show_rule"),
    ("DELETE", "server/*/firewall_rule/*", "delete_rule"),
    ("GET", "storage", "list_storages"), ("POST", "storage", "create_storage"),
    ("GET", "storage/*", "list_storages"), ("PUT", "storage/*", "modify_storage"),
    ("DELETE", "storage/*", "delete_storage"), ("POST", "storage/*/clone", "clone_storage"),
    ("POST", "storage/*/backup", "backup_storage"), ("POST", "storage/*/templatize", "templatize_storage"),
    ("GET", "network", "list_networks"), ("POST", "network", "create_network"),
    ("GET", "network/*", "show_network"), ("PUT", "network/*", "modify_network"),
    ("DELETE", "network/*", "delete_network"),
    ("GET", "router", "list_routers"), ("POST", "router", "create_router"), ("GET", "router/*", "show_router"),
    ("PATCH", "router/*", "modify_router"), ("DELETE", "router/*", "delete_router"),
    ("GET", "ip_address", "list_addresses"), ("GET", "ip_address/*", "show_address"))


class Cloud(Servers, Storages, Networks, Tokens):
    def __init__(self, a):
        self.a = a
        self.clock = Clock()
        self.state_s = a.state_ms / 1000
        self.delete_s = 0.0
        self.list_lag_s = 0.0
        self.reset()

    def reset(self):
        self.ids = Ids(self.a.seed)
        self.servers, self.storages, self.networks, self.routers, self.tokens = {}, {}, {}, {}, {}
        self.limits = dict(catalog.LIMITS)
        self.credits = 9972.2324
        self.effects = []
        self.full = set()   # zones without room
        self.make_service_networks()
        self.add_first_token(self.a.token)

    def effect(self, verb, kind, id_, name, labels=None):
        """What really happened, for tests."""
        self.effects.append({"n": len(self.effects), "at": self.clock.now(), "verb": verb, "kind": kind,
                             "uuid": id_, "name": name, **({"labels": labels} if labels else {})})

    def check_zone(self, zone):
        if not isinstance(zone, str) or not zone:
            raise invalid("ZONE_INVALID", "The attribute zone has an invalid value.")
        if zone not in catalog.ZONES:
            raise Problem(404, "ZONE_NOT_FOUND", f"The zone {zone} does not exist.")
        if zone in self.full:
            raise Problem(409, "SERVER_RESOURCES_UNAVAILABLE", f"The zone {zone} has no room for more.")
        return zone

    # Small calls

    def show_account(self, q):
        limits = {k: v for k, v in self.limits.items() if k in catalog.LIMITS}
        return 200, {"account": {"credits": self.credits, "username": self.a.user.partition(":")[0],
                                 "resource_limits": limits}}

    def list_zones(self, q):
        return 200, catalog.zones()

    def list_plans(self, q):
        return 200, catalog.plans()

    def list_sizes(self, q):
        return 200, catalog.sizes()

    def clone_storage(self, q, id_):
        return self.copy_storage(q, id_, "clone")

    def backup_storage(self, q, id_):
        return self.copy_storage(q, id_, "backup")

    def templatize_storage(self, q, id_):
        return self.copy_storage(q, id_, "templatize")

    # State for tests

    def finish(self):
        """What is under way is done now."""
        for server in self.servers.values():
            if server["next"]:
                server["next"] = (0, server["next"][1])
            self.settle(server)
        for storage in self.storages.values():
            storage["ready"] = min(storage["ready"], self.clock.now())

    def dump(self):
        for server in self.servers.values():
            self.settle(server)
        return {"servers": [{k: v for k, v in s.items() if k not in ("visible", "next")}
                            for s in self.servers.values() if s["state"] != "gone"],
                "storages": list(self.storages.values()),
                "networks": [n for n in self.networks.values() if n["type"] == "private"],
                "routers": list(self.routers.values()),
                "tokens": [{k: v for k, v in t.items() if k != "token"} for t in self.tokens.values()],
                "limits": self.limits, "effects": self.effects}

    KEPT = ("servers", "storages", "networks", "routers", "tokens", "limits", "effects")

    def save(self, path):
        with open(path + ".new", "w", encoding="utf-8") as f:
            json.dump({"now": self.clock.now(), "ids": self.ids.dice.getstate(),
                       **{k: getattr(self, k) for k in self.KEPT}}, f)
        os.replace(path + ".new", path)

    def load(self, path):
        """What was under way when it was saved has gone on meanwhile."""
        with open(path, encoding="utf-8") as f:
            kept = json.load(f)
        for name in self.KEPT:
            setattr(self, name, kept[name])
        version, state, gauss = kept["ids"]
        self.ids.dice.setstate((version, tuple(state), gauss))


class Api:
    """Between HTTP and the Cloud: authentication, routes, formats of errors."""

    def __init__(self, cloud):
        self.cloud = cloud
        self.routes = {}
        for method, path, function in CALLS:
            words = path.split("/")
            self.routes.setdefault(len(words), []).append((words, method, function))

    @staticmethod
    def words(request):
        """The words of the path behind /1.3, None if it is another."""
        words = request.path.split("/")
        if words[:2] != ["", "1.3"]:
            return None
        return words[2:-1] if words[-1] == "" else words[2:]

    def find(self, request):
        """Function and ids; the methods that the path has."""
        words, methods = self.words(request), []
        for pattern, method, function in self.routes.get(len(words), []):
            if all(p in ("*", w) for p, w in zip(pattern, words)):
                methods.append(method)
                if method == request.method:
                    return function, [w for p, w in zip(pattern, words) if p == "*"], methods
        return None, [], methods

    def authenticate(self, request):
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            request.token = self.cloud.use_token(value.strip())
            if request.token:
                request.note["auth"] = request.token["id"]
                return
        elif kind.lower() == "basic":
            try:
                said = base64.b64decode(value, validate=True).decode()
            except ValueError:
                said = ""
            request.token = None
            if said == self.cloud.a.user:
                request.note["auth"] = "basic"
                return
        request.note["auth"] = None
        raise Problem(401, "AUTHENTICATION_FAILED", "Authentication failed using the given credentials.")

    def error(self, request, problem):
        if (self.words(request) or [])[:2] == ["account", "tokens"]:
            said = {"type": f"https://developers.upcloud.com/1.3/errors#ERROR_{problem.code}",
                    "title": problem.message, "correlation_id": f"01{uuids.UUID(int=request.n).hex[:24].upper()}",
                    "status": problem.status}
            if problem.params:
                said["invalid_params"] = problem.params
            return web.Reply(problem.status, said, PROBLEM)
        return web.Reply(problem.status, {"error": {"error_code": problem.code, "error_message": problem.message}},
                         JSON)

    async def handle(self, request):
        try:
            status, said = self.act(request)
        except Problem as problem:
            request.note["code"] = problem.code
            return self.error(request, problem)
        if status == 204:
            return web.Reply(204)
        headers = request.note.pop("headers", ())
        tokens = self.words(request)[:2] == ["account", "tokens"]
        return web.Reply(status, said, "application/json" if tokens else JSON, headers)

    def act(self, request):
        if self.words(request) is None:
            raise Problem(404, "NOT_FOUND", "The requested resource does not exist.")
        self.authenticate(request)
        function, ids, methods = self.find(request)
        if not function:
            if methods:
                raise Problem(405, "METHOD_NOT_ALLOWED", "The method is not allowed for the resource.")
            raise Problem(404, "NOT_FOUND", "The requested resource does not exist.")
        if request.body:
            try:
                request.json = json.loads(request.body)
            except ValueError as e:
                raise invalid("REQUEST_INVALID", "The request body is not valid JSON.") from e
        else:
            request.json = {}
        request.note["call"] = function
        return getattr(self.cloud, function)(request, *ids)

    # Faults of this API

    def applies(self, name, request):
        words = self.words(request) or []
        if name == "state-illegal":
            return (request.method in ("PUT", "POST", "DELETE") and words[:1] == ["server"] and len(words) > 1 and
                    words[1] in self.cloud.servers)
        if name in ("credits", "quota"):
            return request.method == "POST" and words in (["server"], ["storage"])
        if name == "create-error":
            return request.method == "POST" and words == ["server"]
        if name == "late":
            return request.method != "GET"
        return True

    def spoiled(self, fault, request):
        name = fault["fault"]
        if name == "state-illegal":
            server = self.cloud.servers[self.words(request)[1]]
            return self.error(request, self.cloud.illegal(server, fault.get("state", "maintenance")))
        if name == "credits":
            return self.error(request, Problem(402, "INSUFFICIENT_CREDITS", "The account has insufficient credits."))
        if name == "quota":
            return self.error(request, Problem(403, fault.get("code", "SERVER_CORE_LIMIT_REACHED"),
                                               "A limit of the account is reached."))
        if name == "500":
            return self.error(request, Problem(500, "SERVICE_ERROR", "An internal error occurred."))
        return None


def make_server(a):
    cloud = Cloud(a)
    if a.state and os.path.exists(a.state):
        cloud.load(a.state)
    api = Api(cloud)

    async def handle(request):
        return await api.handle(request)

    def reset(method, words, query, body):
        cloud.reset()
        server.clear()
        server.faults.random, server.faults.injected = {}, []
        return {}

    def change_server(method, words, query, body):
        """/_fake/server/UUID: {"state", "stubborn", "title", "labels", "next_state", "ms", ...}"""
        one = cloud.server(words[0])
        if method == "DELETE":  # as if someone else had
            del cloud.servers[one["uuid"]]
            return {}
        if "state" in body:
            one["next"] = None
        if "next_state" in body:
            one["next"] = (cloud.clock.now() + body.pop("ms", 0) / 1000, body.pop("next_state"))
        one.update(body)
        return {k: v for k, v in one.items() if k != "next"}

    def set_full(zones):
        cloud.full = set(zones)

    server = web.Server(handle, faults=OWN_FAULTS, applies=api.applies, spoiled=api.spoiled, seed=a.seed,
                        through=("create-error",), control={
        "state": lambda method, words, query, body: cloud.dump(), "reset": reset, "server": change_server,
        "finish": lambda method, words, query, body: cloud.finish() or {},
        "save": lambda method, words, query, body: cloud.save(body["file"]) or {}})
    server.settings.update({
        "state_ms": lambda v: setattr(cloud, "state_s", v / 1000),
        "delete_ms": lambda v: setattr(cloud, "delete_s", v / 1000),
        "list_lag_ms": lambda v: setattr(cloud, "list_lag_s", v / 1000),
        "speed": cloud.clock.set_speed, "limits": cloud.limits.update, "full_zones": set_full,
        "credits": lambda v: setattr(cloud, "credits", v)})
    return server, cloud


def make():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    web.base_arguments(arguments)
    arguments.add_argument("--state-ms", type=float, default=100, help="how long a server takes to change its state")
    arguments.add_argument("--state", help="file that holds everything between two runs of this program")
    arguments.add_argument("--token", default="ucat_fake", help="accepted as Bearer (default: ucat_fake)")
    arguments.add_argument("--user", default="fake:fake", help="NAME:PASSWORD accepted as Basic (default: fake:fake)")
    a = arguments.parse_args()
    server, cloud = make_server(a)
    web.apply_base(server, a)
    return server, a, (lambda: cloud.save(a.state)) if a.state else None


if __name__ == "__main__":
    web.main(make)
