#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The provider upcloud in the real engine, against the fake of its API."""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support"), os.path.join(HERE, "..", "fakes")]
import fakes  # noqa: E402
from live import BUILD, Site, check, main  # noqa: E402

PLUGIN = os.path.join(BUILD, "tests", "plugins", "upcloudquick.so")
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


if __name__ == "__main__":
    main([life])
