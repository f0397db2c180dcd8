#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One workflow over three providers: UpCloud's fake, moto for AWS, and real local servers of this machine."""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support"), os.path.join(HERE, "..", "fakes")]
import aws  # noqa: E402
import fakes  # noqa: E402
from live import BUILD, Site, Skip, check, main  # noqa: E402

AMI = {"image": "ubuntu/images/hvm-ssd/ubuntu-xenial-*", "aws": {"image_owners": ["099720109477"]}}
MINUTES = 60  # seconds


class Clouds(Site):
    def __init__(self):
        if os.geteuid() != 0:
            raise Skip("real servers with limits need root")
        if why := aws.missing():
            raise Skip(why)
        self.upcloud = fakes.UpCloud(latency_ms=2, state_ms=50)
        self.aws = aws.AWS()
        cache = os.environ.get("PRVNG_TEST_CACHE") or os.path.join(BUILD, "test-cache")
        super().__init__(f'provider = "local";\ncache = "{cache}";\n', plugins=("local",), idle=120)
        self.dropin("upcloud", os.path.join(BUILD, "tests", "plugins", "upcloudquick.so"))
        self.dropin("aws", os.path.join(BUILD, "plugins", "aws.so"), "settle_ms = 300; poll_ms = 20;")
        self.env = {k: v for k, v in self.env.items() if not k.startswith(("AWS_", "UPCLOUD_"))}
        self.env.update(self.upcloud.env(), **self.aws.env(), HOME=self.folder, AWS_EC2_METADATA_DISABLED="true")

    def close(self):
        try:
            super().close()
        finally:
            self.upcloud.close()
            self.aws.close()

    def define(self, last):
        servers = [
            *({"name": f"hel-{i}", "provider": "upcloud", "zone": "fi-hel1", "image": "debian-12"} for i in range(2)),
            *({"name": f"dub-{i}", "provider": "aws", **AMI} for i in range(2)),
            {"name": "here-0", "provider": "local", "memory": 256},
            {"name": "last", "provider": "aws", **AMI, **last},
        ]
        first = [s["name"] for s in servers[:-1]]
        return self.write("mixed.json", {"name": "mixed", "provider_agnostic": False, "servers": servers, "operations": [
            {"id": "first", "type": "create", "target": "server", "items": first},
            {"id": "second", "type": "create", "target": "server", "items": ["last"], "depends_on": ["first"]}]})

    def inventory(self):
        r = self.prvng("resource", "list", "--format", "json").expect(0).json()["resources"]
        return sorted(x["key"] for x in r)

    def local(self):
        r = self.prvng("server", "exec", "here-0", "--", "hostname")
        return r.out.strip() if r.code == 0 else None

    def nothing_left(self):
        state = self.upcloud.state()
        check(not state["servers"] and not state["networks"] and not state["storages"], "left at UpCloud",
              json.dumps(state)[:3000])
        check(self.aws.instances() == [], "instances are left", self.aws.instances())
        check("prvng:site" not in self.aws.direct("DescribeSecurityGroups").body.decode(), "a group is left")
        check(self.local() is None, "the local server is left")
        check(self.inventory() == [], "the inventory is not empty", self.inventory())


def success():
    """Servers of three providers are made by one run, each by its own, and destroyed together"""
    with Clouds() as site:
        site.prvng("batch", "submit", site.define({}), "--watch", timeout=5 * MINUTES).expect(0)
        check(len(site.upcloud.servers()) == 2 and len(site.aws.instances()) == 3 and site.local() == "here-0",
              "not where they belong", site.upcloud.servers(), site.aws.instances())
        r = site.prvng("batch", "check", "mixed", timeout=MINUTES)
        r.expect(0)
        site.prvng("batch", "destroy", "mixed", "--watch", timeout=2 * MINUTES).expect(0)
        site.nothing_left()


def rollback():
    """When the last server fails, what the run made at all three providers is taken back"""
    with Clouds() as site:
        r = site.prvng("batch", "submit", site.define({"image": "ami-00000000"}), "--watch", timeout=5 * MINUTES)
        r.expect(4, "rolled back")
        made = len(site.upcloud.effects("create", "server")), len(site.aws.effects("RunInstances"))
        check(made == (2, 2), "what failed was the last", made)
        site.nothing_left()


main([success, rollback])
