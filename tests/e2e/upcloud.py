#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The provider upcloud in the real engine, against the fake of its API."""
import http.client
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support"), os.path.join(HERE, "..", "fakes")]
import fakes  # noqa: E402
from live import BUILD, Site, check, main, wait_for  # noqa: E402

PLUGIN = os.path.join(BUILD, "tests", "plugins", "upcloudquick.so")
NETWORK = "(implied)/network.private@upcloud"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBwmXg1oHz5tUuO0yRPhcHWRA8uX8PSkcmSKNB6iyoSv test"


class Cloud(Site):
    """A site whose provider is upcloud, and a fake of the API."""

    def __init__(self, config="", more="", env=None, **flags):
        self.fake = fakes.UpCloud(**{"latency_ms": 2, "state_ms": 50, **flags})
        super().__init__(conf='provider = "upcloud";\n')
        self.dropin("upcloud", PLUGIN, config, more)
        self.env.update(self.fake.env() if env is None else env)

    def close(self):
        try:
            super().close()
        finally:
            self.fake.close()

    def define(self, servers, operations=None, name="shop", **more):
        names = [s["name"] for s in servers]
        operations = operations or [{"id": "make", "type": "create", "target": "server", "items": names}]
        for s in servers:
            for key, value in {"zone": "fi-hel1", "image": "debian-12", "ssh_keys": [KEY], **s}.items():
                s[key] = value
        return self.write(f"{name}.json", {"name": name, "servers": servers, "operations": operations, **more})

    def submit(self, path, code=0, *args):
        r = self.prvng("batch", "submit", path, "--watch", *args)
        return r.expect(code)

    def resource(self, key):
        return self.prvng("resource", "show", key, "--format", "json").expect(0).json()


def life():
    """A server is made, is what the definition says, and is deleted with its storages"""
    with Cloud() as site:
        path = site.define([{"name": "web-0", "cpu": 2, "memory": 2048, "disk": 20, "labels": {"role": "web"}}])
        site.submit(path)
        servers = site.fake.servers()
        check(len(servers) == 1, "not one server", servers)
        out = site.resource("server.web-0")["outputs"]
        check((out["cpu"], out["memory"], out["disk"], out["state"]) == (2, 2048, 20, "running"), "not as wanted", out)
        check(out["id"] == servers[0]["uuid"] and out["reach"]["host"] in out["addresses"], "it is another", out)
        site.prvng("batch", "destroy", "shop", "--watch").expect(0)
        state = site.fake.state()
        check(not state["servers"] and not state["networks"], "something is left", json.dumps(state)[:3000])


def firewalls():
    """Servers get the network and the rules that the workflow's plan made for them, once"""
    with Cloud(more="batch_size = 20; api_rate_limit = 1000;") as site:
        names = [f"web-{i}" for i in range(6)]
        site.submit(site.define([{"name": n} for n in names]))
        state = site.fake.state()
        check(len(state["networks"]) == 1 and len(state["servers"]) == 6, "not that", json.dumps(state)[:3000])
        net = state["networks"][0]["uuid"]
        for s in state["servers"]:
            check(any(i["network"] == net for i in s["interfaces"]), "a server is not attached", s)
            check(s["firewall"] == "on" and s["rules"][-1]["action"] == "drop", "no final drop", s["rules"])
        site.prvng("batch", "destroy", "shop", "--watch").expect(0)
        state = site.fake.state()
        check(not state["servers"] and not state["networks"] and not state["storages"], "left", json.dumps(state)[:2000])


def drift():
    """check finds what somebody changed, with exit code 8; update brings it back"""
    with Cloud() as site:
        path = site.define([{"name": "web-0", "labels": {"role": "web"}}])
        site.submit(path)
        site.prvng("batch", "check", "shop").expect(0)
        uuid = site.fake.servers()[0]["uuid"]
        site.fake.change_server(uuid, title="mine")
        site.prvng("batch", "check", "shop").expect(8, "title")
        ops = [{"id": "back", "type": "update", "target": "server", "items": ["web-0"]}]
        site.submit(site.define([{"name": "web-0", "labels": {"role": "web"}}], ops))
        site.prvng("batch", "check", "shop").expect(0)
        check(site.fake.servers()[0]["uuid"] == uuid, "it is another server")
        site.fake.forget_server(uuid)
        site.prvng("batch", "check", "shop").expect(8, "absent")


def growth():
    """An update grows plan and disk of a server that runs, and it runs again"""
    with Cloud() as site:
        site.submit(site.define([{"name": "web-0", "cpu": 1, "memory": 1024, "disk": 10}]))
        before = site.resource("server.web-0")["outputs"]
        ops = [{"id": "grow", "type": "update", "target": "server", "items": ["web-0"]}]
        site.submit(site.define([{"name": "web-0", "cpu": 2, "memory": 4096, "disk": 30}], ops))
        after = site.resource("server.web-0")["outputs"]
        check((after["cpu"], after["memory"], after["disk"], after["state"]) == (2, 4096, 30, "running"), "not grown", after)
        check(after["id"] == before["id"] and after["addresses"] == before["addresses"], "it is another", before, after)


def rollback():
    """When the last server cannot be made, all that was made is taken back, network and all"""
    with Cloud(more="batch_size = 1;") as site:
        servers = [{"name": "web-0"}, {"name": "web-1"}, {"name": "bad", "plan": "no-such-plan"}]
        ops = [{"id": "good", "type": "create", "target": "server", "items": ["web-0", "web-1"]},
               {"id": "bad", "type": "create", "target": "server", "items": ["bad"], "depends_on": ["good"],
                "on_failure": "rollback"}]
        site.submit(site.define(servers, ops), 4).expect(4, "PLAN_INVALID")
        check(len(site.fake.effects("create", "server")) == 2, "the two were not made")
        state = site.fake.state()
        check(not state["servers"] and not state["networks"] and not state["storages"], "left", json.dumps(state)[:2000])


def task_status(site, run, task):
    r = site.prvng("batch", "status", run, "--format", "json")
    return next((t["status"] for t in r.json()["tasks"] if t["id"] == task), None) if r.code == 0 else None


def shared():
    """Two workflows in flight share one network; the rollback of the first leaves it to the second"""
    with Cloud(more="batch_size = 4;", state_ms=600) as site:
        site.fake.inject("slow", method="POST", path="/1.3/network/$", ms=1500)
        ops = [{"id": "good", "type": "create", "target": "server", "items": ["web-0"]},
               {"id": "bad", "type": "create", "target": "server", "items": ["bad"], "depends_on": ["good"],
                "on_failure": "rollback"}]
        one = site.popen("batch", "submit", site.define([{"name": "web-0"}, {"name": "bad", "plan": "no-such-plan"}], ops),
                         "--watch")
        wait_for("the network's request", lambda: task_status(site, "shop", NETWORK) in ("running", "pending"))
        two = site.popen("batch", "submit", site.define([{"name": "db-0"}], name="store"), "--watch")
        site.finish(one).expect(4, "PLAN_INVALID")
        r = site.finish(two).expect(0)
        check("network.private@upcloud is shared with run" in r.out + r.err, "the second did not meet the first", r)
        state = site.fake.state()
        check(len(site.fake.effects("create", "network")) == 1 and len(state["networks"]) == 1, "not one network",
              json.dumps(state)[:3000])
        net = state["networks"][0]["uuid"]
        check([s["title"] for s in state["servers"]] == ["db-0"] and
              any(i["network"] == net for i in state["servers"][0]["interfaces"]), "the second's server", state["servers"])
        site.prvng("batch", "destroy", "store", "--watch").expect(0)
        site.prvng("batch", "destroy", "shop", "--watch").expect(0)
        state = site.fake.state()
        check(not state["servers"] and not state["networks"] and not state["storages"], "left", json.dumps(state)[:2000])


def late():
    """A server that takes longer than its operation may is given up, and deleted once that can be done"""
    with Cloud(state_ms=800) as site:
        ops = [{"id": "make", "type": "create", "target": "server", "items": ["web-0"], "timeout": 6}]
        p = site.popen("batch", "submit", site.define([{"name": "web-0"}], ops, retry_policy={"max_attempts": 1}), "--watch")
        server = wait_for("the server", site.fake.servers)[0]
        site.fake.change_server(server["uuid"], state="maintenance", next_state="started", ms=8000)
        site.finish(p).expect(4, "timed out")
        state = site.fake.state()
        check(len(site.fake.effects("create", "server")) == 1, "not one was made", site.fake.effects())
        check(not state["servers"] and not state["networks"], "something is left", json.dumps(state)[:3000])


def rollback_update():
    """An update that is rolled back leaves the server as it was"""
    with Cloud() as site:
        site.submit(site.define([{"name": "web-0", "labels": {"role": "a"}}]))
        ops = [{"id": "change", "type": "update", "target": "server", "items": ["web-0"]},
               {"id": "bad", "type": "create", "target": "server", "items": ["bad"], "depends_on": ["change"]}]
        site.submit(site.define([{"name": "web-0", "labels": {"role": "b"}}, {"name": "bad", "plan": "no-such-plan"}], ops), 4)
        labels = {x["key"]: x["value"] for x in site.fake.servers()[0]["labels"]}
        check(labels.get("role") == "a", "the label is not as it was", labels)
        check(len(site.fake.servers()) == 1, "not one server")


def orphans():
    """What carries our marks and is in no inventory is listed, and deleted when asked to"""
    with Cloud() as site:
        site.submit(site.define([{"name": "web-0"}]))
        server = site.fake.servers()[0]
        marks = {x["key"]: x["value"] for x in server["labels"]}
        marks.update({"prvng-name": "lost", "prvng-op": "1" * 26})
        body = {"server": {"zone": "fi-hel1", "title": "lost", "hostname": "lost", "metadata": "yes",
                           "labels": {"label": [{"key": k, "value": v} for k, v in marks.items()]},
                           "storage_devices": {"storage_device": [{"action": "clone", "title": "d", "size": 10,
                                                                   "storage": "01000000-0000-4000-8000-000020070100"}]}}}
        post(site, "/1.3/server", body)
        r = site.prvng("resource", "orphans").expect(0)
        check("lost" in r.out and "web-0" not in r.out, "the orphan is not listed", r)
        site.prvng("resource", "orphans", "--delete", "--yes").expect(0)
        wait_for("the orphan's end", lambda: [s["title"] for s in site.fake.servers()] == ["web-0"])


def adopt():
    """Server, network and the rules of a server's firewall are adopted; by the engine where one runs, else by the command"""
    with Cloud() as site:
        site.submit(site.define([{"name": "web-0"}], name="shop"))
        server = site.fake.servers()[0]["uuid"]
        net = site.fake.state()["networks"][0]["uuid"]
        site.kill_engine()
        os.rename(os.path.join(site.state, "stores"), os.path.join(site.folder, "stores.old"))  # nobody knows of it any more
        bare = {"UPCLOUD_TOKEN": ""}

        def adopted(kind, id_, key, env=None):
            site.prvng("resource", "adopt", "upcloud", kind, id_, "--dry-run", env=env).expect(0, key)
            site.prvng("resource", "adopt", "upcloud", kind, id_, "--workflow", "old", env=env).expect(0, f"{key} belongs to")

        site.prvng("resource", "adopt", "upcloud", "server", "web-0", "--dry-run", env=bare).expect(1, "UPCLOUD_TOKEN")
        adopted("network", net, "network.private@upcloud")
        wait_for("the engine", site.engine)
        adopted("server", "web-0", "server.web-0", bare)
        adopted("security_group", server, "security_group.web-0@upcloud", bare)
        group = site.resource("security_group.web-0@upcloud")
        check([r.get("port") for r in group["spec"]["rules"]] == [22, None] and group["outputs"]["server"] == server,
              "not the rules of that server", group)
        site.prvng("resource", "adopt", "upcloud", "security_group", "web-0", "--as", "again", env=bare).expect(
            1, "security_group.web-0@upcloud", "belongs to workflow \"old\"")
        site.prvng("resource", "adopt", "upcloud", "server", "nobody", env=bare).expect(1, "no server \"nobody\"")
        site.prvng("resource", "adopt", "nimbus", "server", "nobody", env=bare).expect(1, "no provider \"nimbus\"")
        path = site.define([{"name": "web-1", "zone": "fi-hel9"}], name="other")
        site.prvng("batch", "submit", path, "--validate", "--online", env=bare).expect(3, "fi-hel9", "servers[0].zone")
        site.prvng("batch", "submit", site.define([{"name": "web-1"}], name="other"), "--validate", "--online",
                   env=bare).expect(0, "is valid")
        check(len(site.fake.servers()) == 1, "something was made", site.fake.servers())


def post(site, path, body):
    c = http.client.HTTPConnection("127.0.0.1", site.fake.port, timeout=30)
    c.request("POST", path, json.dumps(body), {"Authorization": "Bearer ucat_fake", "Content-Type": "application/json"})
    r = c.getresponse()
    said = r.read()
    c.close()
    check(r.status < 300, "the fake refused", said)


def credentials():
    """Without credentials the site works for others, and the failure says what to set"""
    with Cloud(env={}) as site:
        site.submit(site.define([{"name": "web-0"}]), 1).expect(1, "UPCLOUD_TOKEN")
        site.prvng("plugin", "list").expect(0, "upcloud")


def secrets():
    """Neither token nor password is in journal, log or output"""
    with Cloud() as site:
        site.submit(site.define([{"name": "web-0"}]))
        passwords = [s.get("remote_access_password") for s in site.fake.state()["servers"]] + ["ucat_fake", "remote_access_password"]
        for folder, _, names in os.walk(site.state):
            for name in names:
                path = os.path.join(folder, name)
                if not os.path.isfile(path):
                    continue
                with open(path, "rb") as f:
                    content = f.read()
                for word in filter(None, passwords):
                    check(word.encode() not in content, f"a secret stands in {path}", word)


def rates():
    """No more requests leave than the plugin declares: 10 in any second"""
    with Cloud(more="batch_size = 16;") as site:
        site.submit(site.define([{"name": f"web-{i}"} for i in range(12)]))
        most = site.fake.counters()["max_per_second"]
        check(most <= 11, f"{most} requests in one second")  # eleven: one at each end of the window


if __name__ == "__main__":
    main([life, firewalls, drift, growth, rollback, shared, late, rollback_update, orphans, adopt, credentials, secrets, rates])
