#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The UpCloud fake by itself: what it promises to tests of the provider beyond the recordings (test-replay.py)
and the official client (test-sdk.py): states, quotas, faults, counters."""
import base64
import email.utils
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import fakes  # noqa: E402
from live import alive, check, main, wait_for  # noqa: E402

TEMPLATE = "01000000-0000-4000-8000-000020060100"
HOUR = 3600 * 1000  # ms: what is under way is done when a test says finish()


def server(title="t", labels=None, **more):
    return {"server": {"title": title, "hostname": f"{title}.example.com", "zone": "fi-hel1", "storage_devices": {
        "storage_device": [{"action": "clone", "storage": TEMPLATE, "title": "disk", "size": 10}]},
        "labels": {"label": [{"key": k, "value": v} for k, v in (labels or {}).items()]}, **more}}


class Client:
    """Keeps its connection, as ours does."""

    def __init__(self, cloud, authorization="Bearer ucat_fake"):
        self.connection = http.client.HTTPConnection("127.0.0.1", cloud.port, timeout=60)
        self.headers = {"Authorization": authorization} if authorization else {}

    def send(self, method, path, body=None):
        """(status, headers, body as bytes); what breaks the connection is raised, and the next opens another"""
        try:
            self.connection.request(method, "/1.3" + path, body if body is None or isinstance(body, bytes) else
                                    json.dumps(body).encode(), self.headers)
            reply = self.connection.getresponse()
            return reply.status, reply.headers, reply.read()
        except (http.client.HTTPException, OSError):
            self.connection.close()
            raise

    def ask(self, method, path, body=None, status=200):
        got, headers, said = self.send(method, path, body)
        check(got == status, f"{method} {path}: expected {status}, got {got}", headers, said.decode())
        return json.loads(said) if said else None

    def refused(self, method, path, body, status, code):
        said = self.ask(method, path, body, status)
        check(said["error"]["error_code"] == code, f"expected {code}", said)
        return said["error"]["error_message"]

    def breaks(self, method, path, body=None):
        try:
            said = self.send(method, path, body)
        except (http.client.HTTPException, OSError) as e:
            return e
        check(False, "expected a broken connection", said)

    def create(self, *args, **more):
        return self.ask("POST", "/server", server(*args, **more), 202)["server"]

    def state(self, id_):
        return self.ask("GET", f"/server/{id_}")["server"]["state"]


def authentication():
    """Requests without valid credentials are refused, in the format of the path."""
    with fakes.UpCloud(token="ucat_secret", user="me:word") as cloud:
        basic = "Basic " + base64.b64encode(b"me:word").decode()
        for good in ("Bearer ucat_secret", basic):
            Client(cloud, good).ask("GET", "/account")
        wrong = "Basic " + base64.b64encode(b"me:other").decode()
        for bad in (None, "Bearer ucat_fake", wrong, "Basic nonsense", "Bearer "):
            Client(cloud, bad).refused("GET", "/account", None, 401, "AUTHENTICATION_FAILED")
        status, headers, body = Client(cloud, None).send("GET", "/account/tokens")
        check(status == 401 and headers["Content-Type"] == "application/problem+json" and
              json.loads(body)["type"].endswith("#ERROR_AUTHENTICATION_FAILED"), "a token's error", body)
        check(all("authorization" not in e["headers"] for e in cloud.log()), "the log holds credentials")


def states():
    """A server goes through its states, and refuses what does not fit."""
    with fakes.UpCloud(state_ms=HOUR) as cloud:
        me = Client(cloud)
        made = me.create()
        id_ = made["uuid"]
        check(made["state"] == "maintenance" and made["password"] and made["remote_access_password"], "made", made)
        stop = {"stop_server": {"stop_type": "soft", "timeout": "60"}}
        for call in (("DELETE", f"/server/{id_}", None), ("POST", f"/server/{id_}/stop", stop),
                     ("PUT", f"/server/{id_}", {"server": {"title": "x"}}),
                     ("PUT", f"/server/{id_}/firewall_rule", {"firewall_rules": {"firewall_rule": []}})):
            check("'maintenance'" in me.refused(*call, 409, "SERVER_STATE_ILLEGAL"), "the state is not named")
        cloud.finish()
        shown = me.ask("GET", f"/server/{id_}")["server"]
        check(shown["state"] == "started" and "password" not in shown and shown["host"] > 1 << 32, "started", shown)
        me.refused("DELETE", f"/server/{id_}/?storages=1", None, 409, "SERVER_STATE_ILLEGAL")
        check(me.ask("POST", f"/server/{id_}/stop", stop)["server"]["state"] == "started", "a stop says started")
        check(me.state(id_) == "started", "a stop takes time")
        cloud.finish()
        check(me.state(id_) == "stopped", "stopped")
        check(me.ask("POST", f"/server/{id_}/start", {"server": {}})["server"]["state"] == "started", "start")
        check(me.state(id_) == "maintenance", "a start takes time")
        cloud.change_server(id_, state="error")
        check(me.state(id_) == "error", "error")
        cloud.set(delete_ms=HOUR)
        me.ask("DELETE", f"/server/{id_}/?storages=1&backups=delete", None, 204)
        check(me.state(id_) == "pending_delete", "pending_delete")
        cloud.finish()
        me.refused("GET", f"/server/{id_}", None, 404, "SERVER_NOT_FOUND")
        check(not cloud.state()["storages"], "its storage is left")


def stubborn():
    """A server that ignores a soft stop is stopped by a hard one."""
    with fakes.UpCloud(state_ms=1) as cloud:
        me = Client(cloud)
        id_ = me.create()["uuid"]
        wait_for("the server", lambda: me.state(id_) == "started")
        cloud.change_server(id_, stubborn=True)
        me.ask("POST", f"/server/{id_}/stop", {"stop_server": {"stop_type": "soft", "timeout": "3600"}})
        check(me.state(id_) == "started", "it obeyed")
        me.ask("POST", f"/server/{id_}/stop", {"stop_server": {"stop_type": "hard", "timeout": "60"}})
        wait_for("the hard stop", lambda: me.state(id_) == "stopped")


def modify():
    """A change replaces all labels, takes numbers as strings, and a new size needs a stopped server."""
    with fakes.UpCloud(state_ms=HOUR) as cloud:
        me = Client(cloud)
        id_ = me.create(labels={"aa": "", "bb": "2"})["uuid"]
        cloud.finish()
        me.refused("PUT", f"/server/{id_}", {"server": {"core_number": "2"}}, 409, "SERVER_STATE_ILLEGAL")
        said = me.ask("PUT", f"/server/{id_}", {"server": {"labels": {"label": [{"key": "cc", "value": "3"}]}}}, 202)
        check(said["server"]["labels"] == {"label": [{"key": "cc", "value": "3"}]}, "labels", said)
        me.ask("POST", f"/server/{id_}/stop", {"stop_server": {"stop_type": "hard", "timeout": "60"}})
        cloud.finish()
        said = me.ask("PUT", f"/server/{id_}", {"server": {"core_number": "2", "memory_amount": "4096"}}, 202)
        check((said["server"]["core_number"], said["server"]["memory_amount"], said["server"]["plan"]) ==
              ("2", "4096", "custom"), "size", said)


def mistakes():
    """Bodies that the real API refuses are refused, and nothing is made."""
    with fakes.UpCloud() as cloud:
        me = Client(cloud)
        for body, status, code in (
                (b"{not json", 400, "REQUEST_INVALID"), ({"serve": {}}, 400, "REQUEST_INVALID"),
                (server(unknown=1), 400, "UNKNOWN_ATTRIBUTE"), (server(zone="xx-abc1"), 404, "ZONE_NOT_FOUND"),
                (server(plan="huge"), 400, "PLAN_INVALID"), (server(title=""), 400, "SERVER_TITLE_MISSING"),
                (server(plan="1xCPU-1GB", core_number=3), 400, "PLAN_CORE_NUMBER_ILLEGAL"),
                (server(labels={"k": "v"}), 400, "INVALID_LABEL_KEY"),
                (server(labels={"key": "v" * 256}), 400, "INVALID_LABEL_VALUE"),
                (server(storage_devices={"storage_device": []}), 400, "STORAGE_DEVICES_MISSING"),
                (server(storage_devices={"storage_device": [{"action": "clone", "storage": TEMPLATE, "title": "d",
                                                             "size": 1}]}), 400, "SIZE_INVALID"),
                (server(networking={"interfaces": {"interface": [{"type": "private", "network":
                        "03000000-1111-4000-8000-000000000000"}]}}), 404, "NETWORK_NOT_FOUND")):
            me.refused("POST", "/server", body, status, code)
        me.refused("GET", "/server/nonsense", None, 400, "SERVER_INVALID")
        me.refused("PATCH", "/server", None, 405, "METHOD_NOT_ALLOWED")
        me.refused("GET", "/nothing", None, 404, "NOT_FOUND")
        check(not cloud.effects(), "something was made", cloud.effects())


def quotas():
    """Limits of the account are enforced, and each has its code."""
    with fakes.UpCloud(state_ms=HOUR) as cloud:
        me = Client(cloud)
        me.create(core_number=2, memory_amount=2048)
        for limits, code in (({"cores": 2}, "SERVER_CORE_LIMIT_REACHED"), ({"memory": 2048}, "SERVER_MEMORY_LIMIT_REACHED"),
                             ({"public_ipv4": 1}, "IP_ADDRESS_LIMIT_REACHED"),
                             ({"storage_maxiops": 15}, "MAXIOPS_STORAGE_LIMIT_REACHED"),
                             ({"creating": 1}, "SERVER_CREATING_LIMIT_REACHED")):
            before = cloud.state()["limits"]
            cloud.set(limits=limits)
            me.refused("POST", "/server", server(), 403, code)
            cloud.set(limits={**before, "creating": 0})
        shown = me.ask("GET", "/account")["account"]["resource_limits"]
        check("creating" not in shown and shown["cores"] > 2, "limits", shown)
        cloud.set(full_zones=["fi-hel1"])
        me.refused("POST", "/server", server(), 409, "SERVER_RESOURCES_UNAVAILABLE")
        check(len(cloud.servers()) == 1, "servers", cloud.servers())


def networks():
    """Servers in a private network have addresses of their own there, and it is deleted after them."""
    with fakes.UpCloud(state_ms=HOUR) as cloud:
        me = Client(cloud)
        net = {"name": "n", "zone": "fi-hel1", "labels": [{"key": "op_id", "value": "7"}], "ip_networks": {
            "ip_network": [{"address": "10.9.0.0/29", "family": "IPv4", "gateway": "10.9.0.1", "dhcp": "yes"}]}}
        made = me.ask("POST", "/network/", {"network": net}, 201)["network"]
        check(made["labels"] == net["labels"], "labels are a bare list", made)
        found = me.ask("GET", "/network/?zone=fi-hel1&label=op_id%3D7")["networks"]["network"]
        check([n["uuid"] for n in found] == [made["uuid"]], "found", found)
        nic = {"interfaces": {"interface": [{"type": "private", "network": made["uuid"],
                                             "ip_addresses": {"ip_address": [{"family": "IPv4"}]}}]}}
        addresses = [me.create(networking=nic)["networking"]["interfaces"]["interface"][0]["ip_addresses"]["ip_address"]
                     [0]["address"] for _ in range(5)]
        check(sorted(addresses) == [f"10.9.0.{n}" for n in range(2, 7)], "addresses", addresses)
        me.refused("POST", "/server", server(networking=nic), 409, "IP_ADDRESS_RESOURCES_UNAVAILABLE")
        me.refused("DELETE", f"/network/{made['uuid']}", None, 409, "NETWORK_NOT_EMPTY")
        for one in cloud.servers():
            cloud.change_server(one["uuid"], state="stopped")
            me.ask("DELETE", f"/server/{one['uuid']}?storages=1", None, 204)
        me.ask("DELETE", f"/network/{made['uuid']}", None, 204)


def resets():
    """A reset before the request leaves nothing, one after it leaves the server, a late one acts afterwards."""
    with fakes.UpCloud() as cloud:
        me = Client(cloud)
        cloud.inject("reset-before", method="POST", path="/1.3/server$", contains="op-1")
        me.breaks("POST", "/server", server(labels={"op_id": "op-1"}))
        check(not cloud.servers(), "a request that was not taken acted")
        cloud.inject("reset-after", method="POST", path="/1.3/server$")
        e = me.breaks("POST", "/server", server(labels={"op_id": "op-2"}))
        check(isinstance(e, (ConnectionResetError, http.client.RemoteDisconnected)), "not a reset", repr(e))
        check(len(cloud.servers(op_id="op-2")) == 1, "a request that was taken did not act")
        found = me.ask("GET", "/server/?label=op_id%3Dop-2")["servers"]["server"]
        check(len(found) == 1, "it is not listed", found)
        cloud.inject("late", method="POST", path="/1.3/server$", ms=100)
        me.breaks("POST", "/server", server(labels={"op_id": "op-3"}))
        wait_for("the late effect", lambda: cloud.servers(op_id="op-3"))
        cloud.inject("truncated", method="GET", path="/1.3/server")
        e = me.breaks("GET", "/server")
        check(isinstance(e, http.client.IncompleteRead), "not truncated", repr(e))
        me.create(labels={"op_id": "op-1"})
        check(not cloud.pending() and cloud.counters()["faults"] == {
            "reset-before": 1, "reset-after": 1, "late": 1, "truncated": 1}, "faults", cloud.counters())


def refusals():
    """Each kind of injected error has its status, code, format and Retry-After."""
    with fakes.UpCloud() as cloud:
        me = Client(cloud)
        for fault, options, status, code in (
                ("credits", {}, 402, "INSUFFICIENT_CREDITS"), ("500", {}, 500, "SERVICE_ERROR"),
                ("quota", {"code": "SERVER_MEMORY_LIMIT_REACHED"}, 403, "SERVER_MEMORY_LIMIT_REACHED")):
            cloud.inject(fault, **options)
            me.refused("POST", "/server", server(), status, code)
        for fault, status in (("502", 502), ("503", 503), ("429", 429)):
            cloud.inject(fault, retry_after=7)
            got, headers, body = me.send("POST", "/server", server())
            check(got == status and not headers["Content-Type"].startswith("application/json"), fault, got, body)
            check(headers["Retry-After"] == (None if fault == "502" else "7"), "Retry-After", headers)
        for fault in ("429-date", "503-date"):
            cloud.inject(fault, retry_after=3600)
            _, headers, _ = me.send("POST", "/server", server())
            ahead = email.utils.parsedate_to_datetime(headers["Retry-After"]).timestamp() - time.time()
            check(1800 < ahead < 5400, "Retry-After is no date an hour ahead", headers["Retry-After"])
        check(not cloud.effects(), "an error acted", cloud.effects())
        id_ = me.create()["uuid"]
        cloud.finish()
        cloud.inject("state-illegal", state="maintenance")
        me.ask("GET", f"/server/{id_}")
        me.refused("PUT", f"/server/{id_}", {"server": {"title": "x"}}, 409, "SERVER_STATE_ILLEGAL")
        me.ask("PUT", f"/server/{id_}", {"server": {"title": "x"}}, 202)
        cloud.inject("create-error")
        id_ = me.create()["uuid"]
        cloud.finish()
        check(me.state(id_) == "error", "the server is well")


def many():
    """500 clients with a connection each make one server each, and none is lost."""
    with fakes.UpCloud(latency_ms=40) as cloud:
        start, failed = threading.Barrier(500), []

        def create(n):
            me = Client(cloud)
            me.connection.connect()
            start.wait()
            try:
                me.create(labels={"op_id": str(n)})
            except Exception as e:  # pylint: disable=broad-except
                failed.append(e)

        threads = [threading.Thread(target=create, args=(n,)) for n in range(500)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        check(not failed, "some failed", failed[:3])
        servers = cloud.servers()
        check(len({s["uuid"] for s in servers}) == 500, "servers", len(servers))
        check(sorted(int(s["labels"][0]["value"]) for s in servers) == list(range(500)), "labels")
        said = cloud.counters()
        check(said["requests"] == 500 and said["max_connections"] == 500, "counters", said)


def random_faults():
    """Random faults come from the seed: the same seed spoils the same requests."""
    def spoiled(seed):
        with fakes.UpCloud(seed=seed, faults="429=0.1,500=0.1,502=0.1") as cloud:
            me = Client(cloud)
            return [me.send("GET", "/zone")[0] for _ in range(100)]

    first, again, other = spoiled(1), spoiled(1), spoiled(2)
    check(first == again and first != other, "not from the seed", first, again, other)
    check(set(first) == {200, 429, 500, 502}, "faults", first)


def rates():
    """Requests above the limit are answered 429 and counted; the largest number within a second is known."""
    with fakes.UpCloud() as cloud:
        me = Client(cloud)
        cloud.set(rate_limit={"limit": 0.001, "burst": 5})
        said = [me.send("GET", "/zone")[0] for _ in range(8)]
        check(said == [200] * 5 + [429] * 3, "statuses", said)
        counted = cloud.counters()
        check(counted["rate_violations"] == 3 and 1 <= counted["max_per_second"] <= 8, "counters", counted)
        cloud.set(rate_limit={"limit": 0.001, "burst": 1, "answer": False})
        check([me.send("GET", "/zone")[0] for _ in range(3)] == [200] * 3, "only counted")
        check(cloud.counters()["rate_violations"] == 5, "counters", cloud.counters())
        cloud.clear_counters()
        check(cloud.counters()["requests"] == 0 and not cloud.log(), "not cleared")


def lists():
    """A list shows a new server late if told so, and filters by all labels."""
    with fakes.UpCloud() as cloud:
        me = Client(cloud)
        cloud.set(list_lag_ms=HOUR)
        id_ = me.create(labels={"run": "1", "op_id": "x"})["uuid"]
        cloud.set(list_lag_ms=0)
        other = me.create(labels={"run": "1", "op_id": "y=z&"})["uuid"]

        def found(query):
            return [s["uuid"] for s in me.ask("GET", "/server/" + query)["servers"]["server"]]

        check(found("") == [other] and me.state(id_), "listed", found(""))
        check(found("?label=run&label=op_id%3Dy%3Dz%26") == [other], "both labels")
        check(found("?label=run%3D1&label=op_id%3Dy") == [], "a part of a value")
        check([e["path"] for e in cloud.log(method="POST")] == ["/1.3/server"] * 2, "log", cloud.log())


def restarts():
    """It keeps everything over a restart if told so, ends on SIGTERM, and ends with its parent."""
    with tempfile.TemporaryDirectory() as folder:
        with fakes.UpCloud(state=os.path.join(folder, "state.json"), state_ms=1) as cloud:
            id_ = Client(cloud).create(labels={"op_id": "1"})["uuid"]
            port, pid = cloud.port, cloud.process.pid
            cloud.stop()
            check(not alive(pid), "it is still there")
            cloud.start()
            check(cloud.port == port, "another port", cloud.port)
            me = Client(cloud)
            wait_for("the server", lambda: me.state(id_) == "started")
            check(me.create()["uuid"] != id_, "an id twice")
        ready = os.path.join(folder, "ready.json")
        parent = subprocess.Popen(["sh", "-c", f"'{sys.executable}' '{HERE}/upcloud.py' --ready-file '{ready}' & wait"],
                                  stdout=subprocess.DEVNULL)
        wait_for("the fake", lambda: os.path.exists(ready))
        with open(ready, encoding="ascii") as f:
            pid = json.load(f)["pid"]
        check(alive(pid), "it is not there")
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        wait_for("the end with the parent", lambda: not alive(pid))


if __name__ == "__main__":
    main([authentication, states, stubborn, modify, mistakes, quotas, networks, resets, refusals, many, random_faults,
          rates, lists, restarts])
