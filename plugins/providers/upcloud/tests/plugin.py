#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The plugin upcloud call by call, with the real host behind it and the fake of the API before it.

Usage: plugin.py DEPENDENCIES.k [TEST...]

PRVNG_TEST_RECORDINGS: a folder with exchanges that the API's own Go client recorded
(github.com/UpCloudLtd/upcloud-go-api, upcloud/service/fixtures); where it is set, our bodies are compared with
those that the live API accepted.
"""
import ast
import contextlib
import datetime
import http.client
import json
import os
import stat
import subprocess
import sys
import tempfile
import time

SOURCE = os.environ["PRVNG_TEST_SOURCE"]
sys.path[:0] = [os.path.join(SOURCE, "tests", "support"), os.path.join(SOURCE, "tests", "fakes")]
import aws  # noqa: E402
import fakes  # noqa: E402
from live import BUILD, Skip, check, main  # noqa: E402

DEPENDENCIES = sys.argv.pop(1)
RECORDINGS = os.environ.get("PRVNG_TEST_RECORDINGS") or os.path.join(SOURCE, "..", "shared", "data", "upcloud")
PLUGIN = os.path.join(BUILD, "plugins", "upcloud.so")
CALL = os.path.join(BUILD, "tests", "support", "call")
OP = "0123456789ABCDEFGHJKMNPQRS"
OTHER_OP = "1123456789ABCDEFGHJKMNPQRS"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBwmXg1oHz5tUuO0yRPhcHWRA8uX8PSkcmSKNB6iyoSv test"
SPEC = {"name": "web-0", "cpu": 2, "memory": 2048, "disk": 20, "zone": "fi-hel1", "image": "debian-12",
        "ssh_keys": [KEY]}
SSH = {"direction": "in", "protocol": "tcp", "port": 22, "action": "accept"}


class Plugin:
    def __init__(self, env, config="", dropin="api_rate_limit = 1000;", beside=()):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("UPCLOUD_")}
        self.err = tempfile.TemporaryFile()
        self.p = subprocess.Popen([CALL, PLUGIN, "upcloud", config, dropin, *beside], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=self.err, text=True, env={**clean, **env})
        self.first = json.loads(self.p.stdout.readline())

    def ask(self, call, **q):
        self.p.stdin.write(json.dumps({"call": call, **q}) + "\n")
        self.p.stdin.flush()
        line = self.p.stdout.readline()
        check(line, f"the plugin died in {call}", self.said())
        return json.loads(line)

    def said(self):
        self.err.seek(0)
        return self.err.read().decode(errors="replace")[-4000:]

    def task(self, kind="server", name="web-0", spec=None, **more):
        return {"kind": kind, "name": name, "workflow": "shop", "site": "01SITE", "spec": SPEC if spec is None else spec,
                **more}

    def prepare(self, verb="create", **task):
        r = self.ask("prepare", verb=verb, task=self.task(**task))
        check(r["class"] == "DONE", "prepare failed", r)
        return r["result"]

    def finish(self, verb, request, r, op_id=OP):
        """Polls until the end, as the engine does."""
        token, end = r.get("token"), time.monotonic() + 60
        while r["class"] == "PENDING" or (r["class"] in ("TRANSIENT", "RATE_LIMITED") and r["effect"] == "UNKNOWN"):
            check(time.monotonic() < end, "it does not end", r)
            time.sleep(min(max(r["ask_again_ms"], 10), 200) / 1000)
            r = self.ask("poll", verb=verb, request=request, token=token, op_id=op_id)
            token = r.get("token") or token
        return r

    def run(self, verb="create", op_id=OP, attempt=1, **task):
        request = self.prepare(verb, **task)
        r = self.ask("begin", verb=verb, request=request, op_id=op_id, attempt=attempt)
        return self.finish(verb, request, r, op_id)

    def close(self):
        self.p.stdin.close()
        code = self.p.wait(60)
        self.p.stdout.close()
        said = self.said()
        self.err.close()
        check(code == 0, f"the plugin's process ended with {code}", said)


@contextlib.contextmanager
def world(config="", env=None, dropin="api_rate_limit = 1000;", beside=(), **flags):
    with fakes.UpCloud(**{"latency_ms": 1, "state_ms": 20, **flags}) as fake:
        plugin = Plugin(fake.env() if env is None else {**fake.env(), **env}, config, dropin, beside)
        try:
            check(plugin.first["ready"], "the plugin is not ready", plugin.first)
            yield plugin, fake
        finally:
            plugin.close()


def expect(r, cls, *texts, **members):
    check(r["class"] == cls, f"not {cls}", r)
    for t in texts:
        check(t in (r.get("message") or ""), f"expected to read: {t}", r)
    for key, value in members.items():
        check(r.get(key) == value, f"{key} is not {value}", r)
    return r.get("result")


# Declarations


def dependencies():
    """The plugin and kcl/dependencies.k say the same"""
    said = {}
    with open(DEPENDENCIES, encoding="utf-8") as f:
        for node in ast.parse(f.read()).body:
            if isinstance(node, ast.Assign):
                said[node.targets[0].id] = ast.literal_eval(node.value)
    with world() as (p, _):
        check(p.first["dependencies"] == said, "they differ", p.first, said)


def description():
    """describe() is complete: verbs, undo, how each attribute is changed"""
    with world() as (p, _):
        kinds = {r["kind"]: r for r in p.ask("describe")["result"]["resources"]}
        check(set(kinds) == {"server", "network", "security_group", "credential"}, "other kinds", kinds)
        how = kinds["server"]["update"]
        check(how["labels"] == "live" and how["disk"] == "restart" and how["zone"] == "replace", "wrong", how)


# Credentials


def no_credentials():
    """Without credentials the plugin starts, and the first call says what to set"""
    with fakes.UpCloud() as fake:
        p = Plugin({"UPCLOUD_DEBUG_API_BASE_URL": fake.url})
        check(p.first["ready"], "it did not start", p.first)
        expect(p.ask("begin", verb="create", request=p.prepare()), "AUTH", "UPCLOUD_TOKEN", "token_file", effect="NONE")
        report = p.ask("self_test")["result"]["checks"][0]
        check(not report["ok"] and "UPCLOUD_TOKEN" in report["cure"], "self_test says nothing", report)
        p.close()


def two_kinds():
    """A token and a user name together are refused"""
    with world(env={"UPCLOUD_USERNAME": "fake", "UPCLOUD_PASSWORD": "fake"}) as (p, fake):
        expect(p.ask("list"), "AUTH", "UPCLOUD_TOKEN and UPCLOUD_USERNAME are both set")
        check(fake.counters()["requests"] == 0, "it asked all the same")


def from_backend():
    """The token comes from a secret backend, asked once for many requests; what is missing there is named"""
    vault = ("vault", os.path.join(BUILD, "tests", "plugins", "vault.so"))
    token = "t0ken-of-the-api"
    with world('token = "secret://vault/api#token";', env={"UPCLOUD_TOKEN": ""}, beside=vault, token=token) as (p, fake):
        expect(p.ask("list"), "DONE")
        expect(p.run(), "DONE")
        check(token not in p.said(), "the token is told", p.said())
        expect(p.ask("prepare", verb="update", task=p.task(kind="credential", name="upcloud", spec={})), "UNSUPPORTED", "token_file")
    for reference, says in (("secret://vault/api#none", "it has no such key"), ("secret://safe/api#token", 'no secret backend "safe"')):
        with world(f'token = "{reference}";', env={"UPCLOUD_TOKEN": ""}, beside=vault, token=token) as (p, fake):
            expect(p.ask("list"), "AUTH", says, effect="NONE")
            check(fake.counters()["requests"] == 0, "it asked all the same")


def token_itself():
    """A token is written nowhere but in a secret backend or a file"""
    for config in ('token = "ucat_hunter2";', 'token = "secret://vault/api#token"; token_file = "/x";'):
        p = Plugin({}, config)
        check(not p.first["ready"] and "ucat" not in p.first["reason"], "it starts, or says the token", p.first)
        p.close()


def basic():
    """User name and password"""
    with world(env={"UPCLOUD_TOKEN": "", "UPCLOUD_USERNAME": "fake", "UPCLOUD_PASSWORD": "fake"}) as (p, fake):
        expect(p.ask("list"), "DONE")
    with world(env={"UPCLOUD_TOKEN": "", "UPCLOUD_USERNAME": "fake", "UPCLOUD_PASSWORD": "wrong"}) as (p, fake):
        expect(p.ask("list"), "AUTH", "AUTHENTICATION_FAILED", status=401)


def elsewhere():
    """Credentials leave for the API or this machine, and for nobody else"""
    for url in ("http://127.0.0.1.example.net", "https://example.net", "http://user@127.0.0.1:1", "http://localhost.example.net"):
        with world(env={"UPCLOUD_DEBUG_API_BASE_URL": url}) as (p, fake):
            expect(p.ask("list"), "AUTH", "only this machine", url)


# Servers


def create():
    """One POST makes a server; the result is whole, and tells no password"""
    with world() as (p, fake):
        request = p.prepare(spec={**SPEC, "labels": {"role": "web"}, "upcloud": {"ipv6": True, "storages": [{"size": 5}]}})
        first = p.ask("begin", verb="create", request=request, op_id=OP)
        token = json.loads(first["token"].removeprefix("1 "))
        out = expect(p.finish("create", request, first), "DONE")
        server = fake.servers()[0]
        check(out["id"] == server["uuid"] == token["id"], "another server", out)
        check((out["state"], out["cpu"], out["memory"], out["disk"]) == ("running", 2, 2048, 20), "not as wanted", out)
        check(out["labels"] == {"role": "web"} and out["storages"][1]["size"] == 5, "not as wanted", out)
        check(out["reach"] == {"method": "ssh", "host": out["addresses"][0], "port": 22, "user": "root"}, "reach", out)
        check(len(out["addresses"]) == 3, "addresses are missing", out)
        marks = {x["key"]: x["value"] for x in server["labels"]}
        check(marks == {"role": "web", "prvng-site": "01SITE", "prvng-workflow": "shop", "prvng-name": "web-0",
                        "prvng-op": OP}, "the marks are wrong", marks)
        check(fake.counters()["by_call"]["POST /1.3/server"] == 1, "more than one POST")
        for text in (json.dumps(first), json.dumps(out), p.said()):
            check("password" not in text.replace("password_delivery", ""), "a password is told", text)


def again():
    """A later attempt takes what an earlier one made, and makes no second one"""
    with world() as (p, fake):
        fake.inject("reset-after", method="POST", path="/1.3/server$")
        request = p.prepare()
        expect(p.ask("begin", verb="create", request=request, op_id=OP), "TRANSIENT", effect="UNKNOWN")
        r = p.ask("observe", verb="create", request=request, op_id=OP)
        check(r["answer"] == 1 and r["token"], "observe did not find it", r)
        r = p.ask("begin", verb="create", request=request, op_id=OP, attempt=2)
        expect(p.finish("create", request, r), "DONE")
        check(len(fake.servers()) == 1, "not one server", fake.servers())
        r = p.ask("observe", verb="create", request=request, op_id=OTHER_OP)
        check(r["answer"] == 2, "another op id was found", r)


def never_left():
    """A request that was lost on its way has no effect, and observe says so"""
    with world() as (p, fake):
        fake.inject("reset-before", method="POST", path="/1.3/server$")
        request = p.prepare()
        expect(p.ask("begin", verb="create", request=request, op_id=OP), "TRANSIENT", effect="UNKNOWN")
        check(p.ask("observe", verb="create", request=request, op_id=OP)["answer"] == 2, "not NOT_STARTED")


def surplus():
    """list() tells each server of an op id; deleting one by its identity leaves the other"""
    with world() as (p, fake):
        one, two = expect(p.run(), "DONE"), expect(p.run(), "DONE")
        listed = expect(p.ask("list", filter={"op_id": OP}), "DONE")["resources"]
        check({r["identity"]["id"] for r in listed} == {one["id"], two["id"]}, "not both", listed)
        expect(p.run("delete", op_id=OTHER_OP, identity={"id": two["id"]}), "DONE")
        check([s["uuid"] for s in fake.servers()] == [one["id"]], "the wrong one is gone", fake.servers())


def states():
    """States that the API invents are waited for; what somebody deletes meanwhile is told"""
    with world(state_ms=100000) as (p, fake):
        request = p.prepare()
        r = p.ask("begin", verb="create", request=request, op_id=OP)
        uuid = fake.servers()[0]["uuid"]
        for state in ("error", "pending_delete", "meditating"):
            fake.change_server(uuid, state=state)
            polled = p.ask("poll", verb="create", request=request, token=r["token"], op_id=OP)
            expect(polled, "PENDING")
            time.sleep(0.6)
        fake.forget_server(uuid)
        expect(p.finish("create", request, r), "PERMANENT", "deleted by somebody", effect="NONE")


def cheap():
    """Many that wait share one listing"""
    with world(state_ms=300) as (p, fake):
        requests = [(p.prepare(name=f"w{i}", spec={**SPEC, "name": f"w{i}", "image": "01000000-0000-4000-8000-000020070100"}),
                     f"{i:02d}23456789ABCDEFGHJKMNPQRS") for i in range(20)]
        begun = [(q, op, p.ask("begin", verb="create", request=q, op_id=op)) for q, op in requests]
        time.sleep(0.3)
        for q, op, r in begun:
            expect(p.finish("create", q, r, op), "DONE")
        n = fake.counters()["requests"]
        check(n <= 26, f"{n} requests for 20 servers", fake.counters())


def delete():
    """A server goes with its storages; a second time it is not there any more"""
    with world() as (p, fake):
        out = expect(p.run(), "DONE")
        expect(p.run("delete", op_id=OTHER_OP, identity=out), "DONE")
        state = fake.state()
        check(not state["servers"] and not state["storages"], "something is left", state)
        expect(p.run("delete", op_id=OTHER_OP, identity=out), "UNCHANGED")
        expect(p.run("delete", op_id=OTHER_OP), "UNCHANGED")


def delete_stopped():
    """What is stopped, or under maintenance, is deleted too"""
    with world() as (p, fake):
        out = expect(p.run(spec={**SPEC, "upcloud": {"state": "stopped"}}), "DONE")
        check(out["state"] == "stopped", "it is not stopped", out)
        expect(p.run("delete", identity=out), "DONE")
        out = expect(p.run(), "DONE")
        fake.change_server(out["id"], state="maintenance", next_state="started", ms=200)
        expect(p.run("delete", identity=out), "DONE")
        check(not fake.servers(), "it is left")


def delete_observed():
    """What became of a delete"""
    with world() as (p, fake):
        out = expect(p.run(), "DONE")
        request = p.prepare("delete", identity=out)
        check(p.ask("observe", verb="delete", request=request)["answer"] == 2, "not NOT_STARTED")
        fake.forget_server(out["id"])
        check(p.ask("observe", verb="delete", request=request)["answer"] == 0, "not DONE")


def update():
    """Live attributes while it runs; sizes and disks after a stop; it runs again"""
    with world() as (p, fake):
        out = expect(p.run(), "DONE")
        spec = {**SPEC, "labels": {"role": "db"}, "upcloud": {"title": "the database"}}
        new = expect(p.run("update", op_id=OTHER_OP, spec=spec, identity=out), "DONE")
        check(new["labels"] == {"role": "db"} and new["title"] == "the database", "not changed", new)
        check(not any("/stop" in x["path"] for x in fake.log()), "it was stopped for that")
        marks = {x["key"]: x["value"] for x in fake.servers()[0]["labels"]}
        check(marks["prvng-op"] == OP and marks["prvng-name"] == "web-0", "the marks are lost", marks)
        spec.update(cpu=4, memory=8192, disk=40, upcloud={"title": "the database", "storages": [{"size": 10}]})
        new = expect(p.run("update", op_id=OTHER_OP, spec=spec, identity=out), "DONE")
        check((new["cpu"], new["memory"], new["disk"], new["state"]) == (4, 8192, 40, "running"), "not changed", new)
        check([s["size"] for s in new["storages"]] == [40, 10], "the storages are not right", new)
        expect(p.run("update", op_id=OTHER_OP, spec=spec, identity=out), "UNCHANGED")
        expect(p.run("create", op_id=OTHER_OP, spec=spec, identity=out), "UNCHANGED")
        spec["plan"] = "1xCPU-1GB"
        new = expect(p.run("update", op_id=OTHER_OP, spec=spec, identity=out), "DONE")
        check((new["plan"], new["cpu"]) == ("1xCPU-1GB", 1), "not changed", new)


def update_refused():
    """What cannot be changed is said, and nothing is touched"""
    with world() as (p, fake):
        out = expect(p.run(), "DONE")
        n = len(fake.effects())
        for key, value in (("zone", "de-fra1"), ("disk", 10)):
            r = p.run("update", spec={**SPEC, key: value}, identity=out)
            expect(r, "PERMANENT", f"{key} of server web-0 cannot be changed", effect="NONE", field=key)
        check(len(fake.effects()) == n, "something was done", fake.effects()[n:])
        more = {**SPEC, "upcloud": {"storages": [{"size": 10}]}}
        expect(p.run("update", spec=more, identity=out), "DONE")
        n = len(fake.effects())
        expect(p.run("update", spec=SPEC, identity=out, former=more), "PERMANENT", "has storages[0]", "detach", effect="NONE",
               field="storages[0]")
        expect(p.run("update", spec=more, identity=out, former=more), "UNCHANGED")
        check(len(fake.effects()) == n, "something was done", fake.effects()[n:])
        fake.forget_server(out["id"])
        expect(p.run("update", spec=SPEC, identity=out), "NOT_FOUND", "somebody deleted it")


def drift():
    """check() tells what differs, and changes nothing"""
    with world() as (p, fake):
        out = expect(p.run(), "DONE")
        expect(p.run("check", identity=out), "UNCHANGED")
        fake.change_server(out["id"], title="mine", state="stopped")
        n = len(fake.effects())
        found = expect(p.run("check", spec={**SPEC, "cpu": 4}, identity=out), "DONE")["drift"]
        check({d["attribute"]: (d["wanted"], d["found"]) for d in found} ==
              {"title": ("web-0", "mine"), "cpu": (4, 2), "state": ("running", "stopped")}, "not that", found)
        fake.forget_server(out["id"])
        found = expect(p.run("check", identity=out), "DONE")["drift"]
        check(found == [{"attribute": "state", "wanted": "running", "found": "absent"}], "not that", found)
        check(len(fake.effects()) - n <= 1, "check did something")
        expect(p.ask("read", task=p.task(identity=out)), "NOT_FOUND")


def bad_specs():
    """What is not accepted is refused with its place, and what is accepted"""
    cases = (({"cpu": 0.5}, "spec.cpu", "whole cores"), ({"memory": 100}, "spec.memory", "512"), ({"disk": 5}, "spec.disk", "10"),
             ({"labels": {"prvng-x": "y"}}, "spec.labels.prvng-x", "own"), ({"labels": {"a": "y"}}, "spec.labels.a", "2 to 32"),
             ({"ssh_keys": ["nonsense"]}, "spec.ssh_keys", "authorized_keys"), ({"zone": ""}, "spec.zone", "fi-hel1"),
             ({"image": ""}, "spec.image", "debian-12"), ({"upcloud": {"colour": 1}}, "spec.upcloud.colour", "knows"),
             ({"upcloud": {"ipv6": "yes"}}, "spec.upcloud.ipv6", "true or false"),
             ({"upcloud": {"storages": [{"title": "x"}]}}, "spec.upcloud.storages[0]", "GiB"))
    with world() as (p, fake):
        for change, field, text in cases:
            r = p.ask("prepare", verb="create", task=p.task(spec={**SPEC, **change}))
            expect(r, "PERMANENT", text, field=field)
        expect(p.ask("prepare", verb="create", task=p.task(kind="cluster")), "UNSUPPORTED", "cluster")
        expect(p.ask("begin", verb="create", request={**p.prepare(), "image": 1, "spec": {**p.prepare()["spec"], "image": "beos"}}),
               "PERMANENT", "there is no template", field="spec.image")
        check(fake.counters()["by_call"].get("POST /1.3/server", 0) == 0, "something was made")


def tokens():
    """Foreign and broken tokens are rejected; a request of another format too"""
    with world() as (p, _):
        request = p.prepare()
        for token in ("", "1 ", "2 {}", "1 {}", "1 {\"verb\":\"create\"}", "1 {\"verb\":\"create\",\"id\":\"../x\"}", "x" * 4096,
                      "1 {\"verb\":\"delete\",\"id\":\"00a03255-8c85-4b19-8b3f-ccb677489a86\"}"):
            expect(p.ask("poll", verb="create", request=request, token=token, op_id=OP), "TOKEN_REJECTED")
        expect(p.ask("begin", verb="create", request={**request, "format": 9}), "PERMANENT", "this version")


# Errors


def errors():
    """Every class of error, told by its code"""
    cases = ((dict(fault="credits"), "QUOTA", "credits", "NONE"),
             (dict(fault="quota", options={"code": "SERVER_MEMORY_LIMIT_REACHED"}), "QUOTA", "limit: server memory", "NONE"),
             (dict(fault="429"), "RATE_LIMITED", "429", "NONE"), (dict(fault="500"), "TRANSIENT", "500", "UNKNOWN"),
             (dict(fault="502"), "TRANSIENT", "502", "UNKNOWN"), (dict(fault="503"), "RATE_LIMITED", "503", "NONE"),
             (dict(fault="503-date"), "RATE_LIMITED", "503", "NONE"), (dict(fault="429-date"), "RATE_LIMITED", "429", "NONE"),
             (dict(fault="truncated"), "TRANSIENT", "", "UNKNOWN"))
    with world() as (p, fake):
        request = p.prepare()
        for rule, cls, text, effect in cases:
            options = rule.pop("options", {})
            fake.inject(rule["fault"], method="POST", path="/1.3/server$", **options)
            expect(p.ask("begin", verb="create", request=request, op_id=OP), cls, text, effect=effect)
        fake.set(limits={"cores": 1})
        expect(p.ask("begin", verb="create", request=request, op_id=OTHER_OP), "QUOTA", "limit: server core", "SERVER_CORE_LIMIT_REACHED",
               effect="NONE", status=403)
        fake.set(limits={"cores": 200}, full_zones=["fi-hel1"])
        expect(p.ask("begin", verb="create", request=request, op_id=OTHER_OP), "QUOTA", "no room left", effect="NONE")
        fake.set(full_zones=[])
        bad = p.prepare(spec={**SPEC, "plan": "huge"})
        expect(p.ask("begin", verb="create", request=bad, op_id=OTHER_OP), "PERMANENT", "PLAN_INVALID", effect="NONE", status=400)
        bad = p.prepare(spec={**SPEC, "upcloud": {"metadata": False}})
        expect(p.ask("begin", verb="create", request=bad, op_id=OTHER_OP), "PERMANENT", "METADATA_DISABLED", effect="NONE")


def illegal_state():
    """A conflict with a passing state is waited for"""
    with world() as (p, fake):
        out = expect(p.run(inputs={"security_group.default@upcloud": {"name": "default", "rules": [SSH]}}), "DONE")
        fake.inject("state-illegal", method="PUT", path=f"/1.3/server/{out['id']}", count=2)
        new = expect(p.run("update", spec={**SPEC, "upcloud": {"title": "x"}}, identity=out), "DONE")
        check(new["title"] == "x", "not changed", new)


# Networks and security groups


def network():
    """Made once, found by its marks, kept while servers use it, deleted"""
    spec = {"name": "private", "address": "10.8.0.0/22", "zone": "fi-hel1"}
    with world() as (p, fake):
        out = expect(p.run(kind="network", name="private", spec=spec), "DONE")
        check(out["address"] == "10.8.0.0/22" and out["zone"] == "fi-hel1", "not as wanted", out)
        same = expect(p.run(kind="network", name="private", spec=spec, op_id=OTHER_OP), "UNCHANGED")
        check(same["id"] == out["id"], "another one", same)
        r = p.run(kind="network", name="private", spec={**spec, "address": "10.9.0.0/22"}, op_id=OTHER_OP)
        expect(r, "CONFLICT", "address is 10.8.0.0/22, not 10.9.0.0/22", effect="NONE")
        server = expect(p.run(inputs={"network.private@upcloud": out}), "DONE")
        check(any(n["id"] == out["id"] and n["addresses"] for n in server["networks"]), "not attached", server)
        expect(p.run("delete", kind="network", name="private", spec=spec, identity=out), "CONFLICT", "web-0", effect="NONE")
        expect(p.run("check", kind="network", name="private", spec=spec, identity=out), "UNCHANGED")
        expect(p.run("delete", identity=server), "DONE")
        expect(p.run("delete", kind="network", name="private", spec=spec, identity=out), "DONE")
        expect(p.run("delete", kind="network", name="private", spec=spec, identity=out), "UNCHANGED")
        found = expect(p.run("check", kind="network", name="private", spec=spec, identity=out), "DONE")
        check(found["drift"][0]["found"] == "absent", "no drift", found)


def network_again():
    """A network whose making was not answered is not made twice"""
    spec = {"name": "private", "zone": "fi-hel1"}
    with world() as (p, fake):
        fake.inject("reset-after", method="POST", path="/1.3/network")
        request = p.prepare(kind="network", name="private", spec=spec)
        expect(p.ask("begin", verb="create", request=request, op_id=OP), "TRANSIENT", effect="UNKNOWN")
        check(p.ask("observe", verb="create", request=request, op_id=OP)["answer"] == 0, "not found")
        expect(p.ask("begin", verb="create", request=request, op_id=OP, attempt=2), "DONE")
        check(len(fake.state()["networks"]) == 1, "not one", fake.state()["networks"])


def router():
    """A network with a router of its own; both go together"""
    spec = {"name": "private", "zone": "fi-hel1", "upcloud": {"router": True}}
    with world() as (p, fake):
        out = expect(p.run(kind="network", name="private", spec=spec), "DONE")
        check(len(fake.state()["routers"]) == 1 and out["router"], "no router", out)
        plain = {"name": "private", "zone": "fi-hel1"}
        expect(p.run("update", kind="network", name="private", spec=plain, identity=out), "DONE")
        check(not fake.state()["routers"], "the router is left")
        out = expect(p.run("update", kind="network", name="private", spec=spec, identity=out), "DONE")
        check(out["router"], "no router", out)
        expect(p.run("delete", kind="network", name="private", spec=spec, identity=out), "DONE")
        check(not fake.state()["routers"] and not fake.state()["networks"], "something is left")


def firewall():
    """Rules of a group: ranges, both families, replies, a final drop"""
    rules = [SSH, {"direction": "in", "protocol": "udp", "ports": "8000-8100", "source": "10.1.0.0/16", "action": "accept"},
             {"direction": "in", "protocol": "any", "source": "2001:db8::/33", "action": "drop"}]
    with world() as (p, fake):
        group = expect(p.run(kind="security_group", name="default", spec={"name": "default", "rules": rules}), "DONE")
        out = expect(p.run(inputs={"security_group.default@upcloud": group}), "DONE")
        check(out["firewall"] == "on", "the firewall is off", out)
        there = [x for x in fake.log(path="/1.3/server") if x["method"] == "PUT"][-1]["body"]
        there = (json.loads(there) if isinstance(there, str) else there)["firewall_rules"]["firewall_rule"]
        check(there[0] == {"action": "accept", "direction": "in", "family": "IPv4", "protocol": "tcp",
                           "destination_port_start": "22", "destination_port_end": "22"}, "the first", there[0])
        check(there[1]["family"] == "IPv6", "the second", there[1])
        check((there[2]["source_address_start"], there[2]["source_address_end"], there[2]["destination_port_end"]) ==
              ("10.1.0.0", "10.1.255.255", "8100"), "a range", there[2])
        check((there[3]["source_address_start"], there[3]["source_address_end"]) ==
              ("2001:db8::", "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff"), "a range", there[3])
        check(there[-1] == {"action": "drop", "direction": "in"}, "the last", there[-1])
        check(any(r.get("destination_port_start") == "32768" for r in there), "replies are not let in", there)
        inputs = {"security_group.default@upcloud": group}
        expect(p.run("check", identity=out, inputs=inputs), "UNCHANGED")
        found = expect(p.run("check", identity=out, inputs={"security_group.default@upcloud": {**group, "rules": [SSH]}}), "DONE")
        check([d["attribute"] for d in found["drift"]] == ["firewall"], "no drift", found)
        new = expect(p.run("update", kind="security_group", name="default", spec={"name": "default", "rules": [SSH]}, identity=group),
                     "DONE")
        expect(p.run("check", identity=out, inputs={"security_group.default@upcloud": new}), "UNCHANGED")


def open_firewall():
    """A group that lets everything in needs no firewall, and no second request"""
    group = {"name": "default", "rules": [{"direction": "in", "protocol": "any", "action": "accept"}]}
    with world() as (p, fake):
        out = expect(p.run(inputs={"security_group.default@upcloud": group}), "DONE")
        check(out["firewall"] == "off" and not any("firewall" in x["path"] for x in fake.log()), "it is not off", out)


def bad_rules():
    """Rules that are not accepted"""
    cases = (({"port": 70000}, "rules[0].port"), ({"ports": "9-8"}, "rules[0].ports"), ({"source": "10.0.0.0/40"}, "rules[0].source"),
             ({"protocol": "icmp"}, "rules[0].port"), ({"destination": "10.0.0.0/8"}, "rules[0].destination"),
             ({"action": "reject"}, "rules[0].action"))
    with world() as (p, _):
        for change, field in cases:
            r = p.ask("prepare", verb="create", task=p.task(kind="security_group", name="default",
                                                            spec={"name": "default", "rules": [{**SSH, **change}]}))
            expect(r, "PERMANENT", field=f"spec.{field}")


# Before and after


def precheck():
    """Zones, plans, sizes, templates and limits are checked before a run"""
    with world() as (p, fake):
        fake.set(limits={"cores": 3})
        wrong = {"zone": "fi-hel9", "plan": "huge", "image": "beos"}
        tasks = [{"verb": "create", "task": p.task(spec={**SPEC, **wrong})}, {"verb": "create", "task": p.task()},
                 {"verb": "create", "task": p.task(spec={**SPEC, "memory": 1500})}]
        found = expect(p.ask("precheck", tasks={"tasks": tasks}), "DONE")["problems"]
        said = {(x.get("task"), x.get("field")): x["message"] for x in found}
        check("fi-hel9" in said[0, "spec.zone"] and "fi-hel1" in said[0, "spec.zone"], "the zone", found)
        check("1xCPU-1GB" in said[0, "spec.plan"] and "Debian" in said[0, "spec.image"], "plan or image", found)
        check("1500 MiB" in said[2, "spec.memory"], "the size", found)
        check("limit cores is 3" in said[None, None], "the limit", found)
        check(not any(x.get("task") == 1 for x in found), "there is nothing wrong with this one", found)


def self_test():
    """The self test names the account"""
    with world() as (p, _):
        report = expect(p.ask("self_test"), "DONE")["checks"]
        check(report[0]["ok"] and "fake" in report[0]["message"], "not ok", report)


def adopt():
    """What is found has the spec that leads to no difference"""
    with world() as (p, fake):
        net = expect(p.run(kind="network", name="private", spec={"name": "private", "zone": "fi-hel1"}), "DONE")
        out = expect(p.run(spec={**SPEC, "labels": {"role": "web"}, "upcloud": {"storages": [{"size": 5}]}},
                           inputs={"network.private@upcloud": net}), "DONE")
        for id_ in (out["id"], "web-0"):
            found = expect(p.ask("find", kind="server", id=id_), "DONE")
            check(found["outputs"]["id"] == out["id"] and found["name"] == "web-0", "another", found)
            spec = {"image": "debian-12", **found["spec"]}
            check(spec["disk"] == 20 and spec["cpu"] == 2 and spec["labels"] == {"role": "web"}, "not that", spec)
            expect(p.run("check", spec=spec, identity=found["outputs"]), "UNCHANGED")
        expect(p.run(op_id=OTHER_OP), "DONE")
        expect(p.ask("find", kind="server", id="web-0"), "CONFLICT", out["id"])
        expect(p.ask("find", kind="server", id="nobody"), "NOT_FOUND")
        found = expect(p.ask("find", kind="network", id="private"), "DONE")
        check(found["outputs"]["id"] == net["id"], "another", found)
        expect(p.run("check", kind="network", name="private", spec=found["spec"], identity=net), "UNCHANGED")


def put(fake, path, body):
    c = http.client.HTTPConnection("127.0.0.1", fake.port, timeout=30)
    c.request("PUT", path, json.dumps(body), {"Authorization": "Bearer ucat_fake", "Content-Type": "application/json"})
    r = c.getresponse()
    said = r.read()
    c.close()
    check(r.status < 300, "the fake refused", said)


def adopt_group():
    """The rules of a server's firewall are told as a group that makes just these; what no group can say is refused"""
    rules = [SSH, {"direction": "in", "protocol": "udp", "ports": "8000-8100", "source": "10.1.0.0/16", "action": "accept"},
             {"direction": "in", "protocol": "any", "source": "2001:db8::/33", "action": "drop"},
             {"direction": "out", "protocol": "tcp", "port": 443, "destination": "0.0.0.0/0", "action": "accept"}]
    with world() as (p, fake):
        for given in (rules, rules[:1], [{"direction": "in", "protocol": "any", "action": "accept"}]):
            group = expect(p.run(kind="security_group", name="g", spec={"name": "g", "rules": given}), "DONE")
            out = expect(p.run(inputs={"security_group.g@upcloud": group}, op_id=f"{len(json.dumps(given)):026d}"), "DONE")
            found = expect(p.ask("find", kind="security_group", id=out["id"]), "DONE")
            check(found["spec"] == {"name": "web-0", "rules": given} and found["outputs"]["notices"] == [], "other rules",
                  found, given)
            check(found["outputs"]["server"] == found["outputs"]["id"] == out["id"], "it is not said whose they are", found)
            same = {"security_group.web-0@upcloud": found["outputs"]}
            expect(p.run("check", identity=out, inputs=same), "UNCHANGED")
            expect(p.run("check", kind="security_group", spec=found["spec"], identity=found["outputs"]), "UNCHANGED")
        expect(p.ask("find", kind="security_group", id="web-0"), "CONFLICT", "server")
        expect(p.ask("find", kind="security_group", id="nobody"), "NOT_FOUND", "no server")
        path = f"/1.3/server/{out['id']}"
        put(fake, path, {"server": {"firewall": "on"}})
        first = {"action": "accept", "direction": "in"}
        tcp = {**first, "family": "IPv4", "protocol": "tcp"}
        set_ = lambda *rules: put(fake, path + "/firewall_rule", {"firewall_rules": {"firewall_rule": list(rules)}})
        set_({**tcp, "source_address_start": "10.0.0.5", "source_address_end": "10.0.0.9", "destination_port_start": "22",
              "destination_port_end": "22"},
             {**tcp, "family": "IPv6", "action": "drop", "destination_port_start": "53", "destination_port_end": "54"},
             {**tcp, "source_port_start": "80", "source_port_end": "80"})
        found = expect(p.ask("find", kind="security_group", id=out["id"]), "DONE")
        check(found["spec"]["rules"] == [
            *({**SSH, "source": s} for s in ("10.0.0.5/32", "10.0.0.6/31", "10.0.0.8/31")),
            {"direction": "in", "protocol": "tcp", "ports": "53-54", "source": "::/0", "action": "drop"},
            {"direction": "in", "protocol": "any", "action": "accept"}], "rules made by hand", found)
        check(len(found["outputs"]["notices"]) == 1 and "rule 3" in found["outputs"]["notices"][0], "what was left out", found)
        expect(p.run(kind="security_group", name="web-0", spec=found["spec"]), "DONE")
        for rule, why in (({**tcp, "protocol": "icmp", "icmp_type": "8"}, "one type of ICMP"),
                          ({**tcp, "action": "drop", "source_port_start": "80", "source_port_end": "80"}, "comes from"),
                          ({**tcp, "destination_address_start": "10.0.0.1", "destination_address_end": "10.0.0.1"}, "one address")):
            set_(tcp, rule)
            expect(p.ask("find", kind="security_group", id=out["id"]), "PERMANENT", "rule 2", why, "its rules replace")


# Rotation


@contextlib.contextmanager
def token_world():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "token")
        with open(path, "w", encoding="ascii", opener=lambda n, f: os.open(n, f, 0o600)) as f:
            f.write("ucat_fake\n")
        with world(f'token_file = "{path}";', env={"UPCLOUD_TOKEN": ""}) as (p, fake):
            yield p, fake, path


def first_line(path):
    with open(path, encoding="ascii") as f:
        return f.readline().strip()


def rotation():
    """A new token is made, stored for nobody else to read, proven, and the old one revoked"""
    with token_world() as (p, fake, path):
        task = dict(kind="credential", name="upcloud", spec={"name": "upcloud"})
        out = expect(p.run("update", **task), "DONE")
        token = fake.state()["tokens"][0]
        until = datetime.datetime.fromisoformat(out["valid_until"].replace("Z", "+00:00"))
        left = until - datetime.datetime.now(datetime.timezone.utc)
        check(datetime.timedelta(days=89) < left < datetime.timedelta(days=91), "not valid for 90 days", out, token)
        secret = first_line(path)
        check(secret.startswith("ucat_") and secret != "ucat_fake" and secret not in json.dumps(out) + p.said(), "a secret is told")
        check(stat.S_IMODE(os.stat(path).st_mode) == 0o600, "others may read it")
        check([t["id"] for t in fake.state()["tokens"]] == [out["id"]], "another token is left", fake.state()["tokens"])
        expect(p.ask("list"), "DONE")
        new = expect(p.run("update", op_id=OTHER_OP, identity=out, **task), "DONE")
        check([t["id"] for t in fake.state()["tokens"]] == [new["id"]], "another token is left", fake.state()["tokens"])
        check(first_line(path) != secret, "it was not replaced")


def rotation_interrupted():
    """Whatever is lost on the way: the same request ends with one token, the one in the file"""
    for method, nth in (("POST", 0), ("GET", 1), ("DELETE", 0), ("GET", 2)):
        with token_world() as (p, fake, path):
            request = p.prepare("update", kind="credential", name="upcloud", spec={"name": "upcloud"})
            fake.inject("reset-after", method=method, path="/1.3/account", skip=nth)
            r = p.ask("begin", verb="update", request=request, op_id=OP)
            check(r["class"] == "TRANSIENT" or r["class"] == "DONE", "another class", r)
            check(p.ask("observe", verb="update", request=request, op_id=OP)["answer"] == 3, "not PARTIAL")
            out = expect(p.ask("begin", verb="update", request=request, op_id=OP, attempt=2), "DONE")
            left = {t["id"] for t in fake.state()["tokens"]}
            check(out["id"] in left and len(left) <= 1, f"after {method} {nth}: other tokens are left", fake.state()["tokens"])
            expect(p.ask("list"), "DONE")


def rotation_unwritable():
    """A token that cannot be stored is revoked at once; the old one stays"""
    with world() as (p, _):
        expect(p.ask("prepare", verb="update", task=p.task(kind="credential", name="upcloud", spec={})), "UNSUPPORTED", "token_file")


# Recorded bodies


def exchanges(name):
    path = os.path.join(RECORDINGS, name + ".yaml")
    if not os.path.exists(path):
        raise Skip(f"no recordings: {path} is not there (PRVNG_TEST_RECORDINGS names their folder)")
    if why := aws.missing():
        raise Skip(f"nothing reads YAML here: {why}")
    with open(path, "rb") as f:
        done = subprocess.run([aws.python(), "-I", "-c", "import json, sys, yaml; "
                               "json.dump(yaml.safe_load(sys.stdin), sys.stdout)"], stdin=f, capture_output=True,
                              timeout=120, check=True)
    return json.loads(done.stdout)["interactions"]


def recorded():
    """Our bodies hold what the live API accepted from its own client"""
    pairs = exchanges("createnetworkandserver")
    network, server = (json.loads(i["request"]["body"]) for i in pairs[:2])
    compare_server(server["server"])
    compare_network(network["network"])
    compare_rules([i["request"] for i in exchanges("firewallrules")])
    compare_life([i["request"] for i in exchanges("createdeleteserverandstorage")])


def sent(fake, method, path):
    found = [x for x in fake.log() if x["method"] == method and x["path"].rstrip("/").endswith(path)]
    check(found, f"no {method} {path}", fake.log())
    body = found[-1].get("body")
    return (json.loads(body) if isinstance(body, str) and body else body), found[-1]


def normal(x):
    """Lists without their order, nothing else changed: 10 is not "10"."""
    if isinstance(x, dict):
        return {k: normal(v) for k, v in x.items()}
    return sorted((normal(v) for v in x), key=json.dumps) if isinstance(x, list) else x


def compare_server(theirs):
    with world() as (p, fake):
        net = expect(p.run(kind="network", name="n", spec={"name": "n", "zone": theirs["zone"]}), "DONE")
        spec = {"name": "web-0", "zone": theirs["zone"], "disk": 10, "image": theirs["storage_devices"]["storage_device"][0]["storage"],
                "labels": {x["key"]: x["value"] for x in theirs["labels"]["label"]},
                "upcloud": {"title": theirs["title"], "hostname": theirs["hostname"], "metadata": False, "ipv6": True}}
        expect(p.run(spec=spec, inputs={"network.n@upcloud": net}), "DONE")
        ours = sent(fake, "POST", "/server")[0]["server"]
    ours["labels"]["label"] = [x for x in ours["labels"]["label"] if not x["key"].startswith("prvng-")]
    for nic in theirs["networking"]["interfaces"]["interface"]:
        if "network" in nic:
            nic["network"] = net["id"]
    check(ours.pop("core_number") == 1 and ours.pop("memory_amount") == 1024, "sizes are numbers in a create", ours)
    check(normal(ours) == normal(theirs), "the bodies differ", json.dumps(normal(ours)), json.dumps(normal(theirs)))


def compare_network(theirs):
    ip = theirs["ip_networks"]["ip_network"][0]
    with world() as (p, fake):
        spec = {"name": theirs["name"], "zone": theirs["zone"], "address": ip["address"],
                "upcloud": {"dns": ip["dhcp_dns"], "gateway": ip["gateway"]}}
        expect(p.run(kind="network", name=theirs["name"], spec=spec), "DONE")
        ours = sent(fake, "POST", "/network")[0]["network"]
    check(isinstance(ours.pop("labels"), list), "the labels of a network are a bare list")
    check(normal(ours) == normal(theirs), "the bodies differ", ours, theirs)


def compare_rules(requests):
    theirs = next(json.loads(r["body"]) for r in requests if r["method"] == "PUT")
    rules = [{"direction": "in", "protocol": "tcp", "port": 80, "source": "0.0.0.0/0", "action": "accept"}]
    with world() as (p, fake):
        expect(p.run(inputs={"security_group.default@upcloud": {"name": "default", "rules": rules}}), "DONE")
        ours = sent(fake, "PUT", "/firewall_rule")[0]
    one, like = ours["firewall_rules"]["firewall_rule"][0], theirs["firewall_rules"]["firewall_rule"][0]
    check(set(ours) == set(theirs) and {k: one[k] for k in like if k != "comment"} == {k: v for k, v in like.items() if k != "comment"},
          "the rules differ", one, like)
    last = theirs["firewall_rules"]["firewall_rule"][-1]
    check(ours["firewall_rules"]["firewall_rule"][-1] == {k: v for k, v in last.items() if k != "comment"}, "the last", last)


def compare_life(requests):
    stop = next(r for r in requests if r["url"].endswith("/stop"))
    gone = next(r for r in requests if r["method"] == "DELETE")
    with world() as (p, fake):
        out = expect(p.run(), "DONE")
        expect(p.run("delete", identity=out), "DONE")
        check(sent(fake, "POST", "/stop")[0] == json.loads(stop["body"]), "the stop differs", stop["body"])
        target = next(x["target"] for x in fake.log() if x["method"] == "DELETE")
        check(target.rpartition("/")[2] == gone["url"].rpartition("/")[2], "the delete differs", target, gone["url"])


if __name__ == "__main__":
    main([dependencies, description, no_credentials, two_kinds, from_backend, token_itself, basic, elsewhere, create, again, never_left, surplus, states, cheap,
          delete, delete_stopped, delete_observed, update, update_refused, drift, bad_specs, tokens, errors, illegal_state, network,
          network_again, router, firewall, open_firewall, bad_rules, precheck, self_test, adopt, adopt_group, rotation, rotation_interrupted,
          rotation_unwritable] + [recorded])
