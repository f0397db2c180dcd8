#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The provider aws in the real engine, against moto behind the fault proxy, signatures checked: the life of a
workflow, its rollback, and 150 creates (50 where it is sanitized) under faults and SIGKILLs of the
engine."""
import json
import os
import random
import secrets
import sys
import threading
import time

SOURCE = os.environ["PRVNG_TEST_SOURCE"]
sys.path[:0] = [os.path.join(SOURCE, "tests", "support"), os.path.join(SOURCE, "tests", "fakes")]
import aws  # noqa: E402
from live import BUILD, SANITIZED, Site, Skip, check, main, wait_for  # noqa: E402

IMAGE = {"image": "ubuntu/images/hvm-ssd/ubuntu-xenial-*", "aws": {"image_owners": ["099720109477"]}}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKSVnRUyJPUeDXtXKwvTrBHWJIHHOQFMvqWXNFNjzH9J me@home"


class Cloud(Site):
    """A site whose provider is aws, and the moto of all tests, empty."""

    moto = None

    def __init__(self, more="api_rate_limit = 0;", config="settle_ms = 300; poll_ms = 20;"):
        if why := aws.missing():
            raise Skip(why)
        if Cloud.moto:
            Cloud.moto.reset()
        else:
            Cloud.moto = aws.AWS(seed=1)
        self.cloud = Cloud.moto
        super().__init__(conf='provider = "aws";\n')
        self.dropin("aws", os.path.join(BUILD, "plugins", "aws.so"), config, more)
        self.env = {k: v for k, v in self.env.items() if not k.startswith("AWS_")}
        self.env.update(self.cloud.env(), HOME=self.folder, AWS_EC2_METADATA_DISABLED="true")

    def define(self, servers, operations=None, name="shop", **more):
        operations = operations or [{"id": "make", "type": "create", "target": "server", "items": [s["name"] for s in servers]}]
        return self.write(f"{name}.json", {"name": name, "servers": [{**IMAGE, **s} for s in servers],
                                           "operations": operations, **more})

    def submit(self, path, code=0, *args):
        return self.prvng("batch", "submit", path, "--watch", *args, timeout=180).expect(code)

    def inventory(self):
        r = self.prvng("resource", "list", "--format", "json").expect(0).json()["resources"]
        return {x["key"]: x["outputs"] for x in r}

    def nothing_left(self):
        check(self.cloud.instances() == [], "instances are left", self.cloud.instances())
        for action in ("DescribeVpcs", "DescribeSecurityGroups", "DescribeInternetGateways", "DescribeSubnets"):
            check("prvng:site" not in self.cloud.direct(action).body.decode(), f"{action} shows what is left")
        check("prvng-" not in self.cloud.direct("DescribeKeyPairs").body.decode(), "a key pair is left")


def life():
    """Servers and their security group are made, checked, changed and destroyed"""
    with Cloud() as site:
        servers = [{"name": f"web-{i}", "cpu": 1, "memory": 1024, "labels": {"role": "web"}, "ssh_keys": [KEY]}
                   for i in range(3)]
        path = site.define(servers)
        site.submit(path)
        found = site.inventory()
        there = {i["id"]: i for i in site.cloud.instances()}
        ours = {o["id"] for k, o in found.items() if k.startswith("server.")}
        check(ours == set(there) and len(ours) == 3, "the inventory and the cloud differ", found)
        groups = [k for k in found if k.startswith("security_group.")]
        check(len(groups) == 1, "one group for all", list(found))
        check(all(found[f"server.web-{i}"]["security_groups"] == [found[groups[0]]["id"]] for i in range(3)), "in it", found)
        site.submit(path)  # nothing to do
        check(len(site.cloud.effects("RunInstances")) == 3, "made again")
        servers[0].update(memory=4096, labels={"role": "db"})
        operations = [{"id": "change", "type": "update", "target": "server", "items": ["web-0"]}]
        site.submit(site.define(servers, operations))
        now = {i["id"]: i for i in site.cloud.instances()}[found["server.web-0"]["id"]]
        check(now["type"] == "t3.medium" and now["tags"]["role"] == "db" and now["state"] == "running", "changed", now)
        site.cloud.direct("DeleteTags", **{"ResourceId.1": now["id"], "Tag.1.Key": "role"})
        look = [{"id": "look", "type": "check", "target": "server", "items": ["web-0", "web-1"]}]
        r = site.submit(site.define(servers, look), 8)
        check("labels" in r.out + r.err, "the drift is not told", r)
        check(site.prvng("resource", "orphans").expect(0), "orphans")
        site.prvng("batch", "destroy", "shop", "--watch").expect(0)
        site.nothing_left()


def own_network():
    """A network of the workflow's own comes first: security group and servers stand in it, and all goes again"""
    with Cloud() as site:
        rule = {"direction": "in", "protocol": "tcp", "port": 22}
        site.submit(site.define([{"name": "a", "networks": ["private"]}, {"name": "b", "networks": ["private"], "zone": "eu-west-1b"}],
                                networks=[{"name": "private", "address": "10.20.0.0/20"}],
                                security_groups=[{"name": "default", "rules": [rule]}]))
        found = site.inventory()
        vpc = found["network.private@aws"]["id"]
        check(found["network.private@aws"]["address"] == "10.20.0.0/20", "its address", found)
        check({found[k]["network"] for k in ("security_group.default@aws", "server.a", "server.b")} == {vpc}, "where they stand",
              found)
        site.prvng("batch", "destroy", "shop", "--watch").expect(0)
        site.nothing_left()


def rollback():
    """A server that cannot be had takes all others back, those that the run had changed too"""
    with Cloud() as site:
        site.submit(site.define([{"name": "old", "cpu": 1, "memory": 1024}]))
        old = site.inventory()["server.old"]["id"]
        servers = [{"name": "old", "cpu": 1, "memory": 4096}, *({"name": f"new-{i}"} for i in range(4)),
                   {"name": "bad", "image": "ami-00000000"}]
        operations = [{"id": "change", "type": "update", "target": "server", "items": ["old"]},
                      {"id": "make", "type": "create", "target": "server", "items": [f"new-{i}" for i in range(4)]},
                      {"id": "fail", "type": "create", "target": "server", "items": ["bad"], "depends_on": ["make", "change"]}]
        site.submit(site.define(servers, operations), 4)
        there = site.cloud.instances()
        check([(i["id"], i["type"]) for i in there] == [(old, "t3.micro")], "what is left", there)
        site.prvng("batch", "destroy", "shop", "--watch").expect(0)
        site.nothing_left()


def adoption():
    """A server, a network and a security group that nobody made here are adopted; the next check finds no difference"""
    with Cloud() as site:
        call = site.cloud.call
        vpc = call("ec2", "CreateVpc", CidrBlock="10.30.0.0/16").text("vpcId")
        subnet = call("ec2", "CreateSubnet", VpcId=vpc, CidrBlock="10.30.1.0/24", AvailabilityZone="eu-west-1a").text("subnetId")
        group = call("ec2", "CreateSecurityGroup", GroupName="web", GroupDescription="x", VpcId=vpc).text("groupId")
        call("ec2", "AuthorizeSecurityGroupIngress", GroupId=group,
             **{"IpPermissions.1.IpProtocol": "tcp", "IpPermissions.1.FromPort": 443, "IpPermissions.1.ToPort": 443,
                "IpPermissions.1.IpRanges.1.CidrIp": "0.0.0.0/0"})
        ran = call("ec2", "RunInstances", ImageId=site.cloud.image(), MinCount=1, MaxCount=1, InstanceType="t3.micro",
                   SubnetId=subnet, **{"SecurityGroupId.1": group, "TagSpecification.1.ResourceType": "instance",
                                       "TagSpecification.1.Tag.1.Key": "Name", "TagSpecification.1.Tag.1.Value": "legacy"})
        id_ = ran.text("instanceId")
        for kind, of, name, key in (("network", vpc, "old", "network.old@aws"), ("security_group", group, "web", "security_group.web@aws"),
                                    ("server", "legacy", "legacy", "server.legacy")):
            site.prvng("resource", "adopt", "aws", kind, of, "--as", name, "--dry-run").expect(0, key)
            check(key not in site.inventory(), "a dry run adopted it", key)
            site.prvng("resource", "adopt", "aws", kind, of, "--as", name, "--workflow", "old").expect(0, f"{key} belongs to workflow old")
            site.prvng("resource", "adopt", "aws", kind, of, "--as", "twice").expect(1, key, "belongs to workflow \"old\" (adopted)")
        found = site.inventory()
        check((found["network.old@aws"]["id"], found["security_group.web@aws"]["id"], found["server.legacy"]["id"]) ==
              (vpc, group, id_), "others", found)
        site.prvng("batch", "check", "old").expect(0)
        call("ec2", "CreateTags", **{"ResourceId.1": id_, "Tag.1.Key": "mine", "Tag.1.Value": "x"})
        site.prvng("batch", "check", "old").expect(8, "labels")
        site.prvng("resource", "adopt", "aws", "server", "i-00000000000000000").expect(1, "has no server")


def no_credentials():
    """Without credentials the site works, and the run fails with a sentence on what to set"""
    with Cloud() as site:
        site.env.pop("AWS_ACCESS_KEY_ID")
        r = site.submit(site.define([{"name": "web-0"}]), 1)
        check("AWS_ACCESS_KEY_ID" in r.out + r.err, "the sentence", r)
        check(site.cloud.instances() == [], "made all the same")


class Killer(threading.Thread):
    """Kills the engine again and again, until it is told to stop."""

    def __init__(self, site, rng, kills):
        super().__init__()
        self.site, self.rng, self.left, self.kills, self.wrong = site, rng, kills, 0, None
        self.done = threading.Event()
        self.process = site.start_engine()
        self.start()

    def run(self):
        try:
            while self.left > 0 and not self.done.is_set():
                self.done.wait(self.rng.uniform(0.2, 2.5))
                self.process.kill()
                self.process.wait()
                self.site.spawned.remove(self.process)
                self.kills += 1
                self.left -= 1
                self.process = self.site.start_engine()
        except Exception as e:  # pylint: disable=broad-except
            self.wrong = e

    def end(self):
        self.done.set()
        self.join()
        check(not self.wrong, f"the engine does not start: {self.wrong}")


def kills():
    """Many creates under lost replies, throttling, late sight and SIGKILLs: what runs is what the inventory says"""
    seed = int(os.environ.get("PRVNG_TEST_SEED") or secrets.randbits(31))
    print(f"# seed {seed} (PRVNG_TEST_SEED={seed} plans the same)", flush=True)
    rng = random.Random(seed)
    with Cloud("api_rate_limit = 0; batch_size = 12;", "settle_ms = 4000; poll_ms = 50;") as site:
        n = 50 if SANITIZED else 150
        servers = [{"name": f"s{i}"} for i in range(n)]
        path = site.define(servers, type="parallel",
                           retry_policy={"max_attempts": 100, "backoff": "linear", "initial_delay": 0, "max_delay": 0})
        with open(path, encoding="utf-8") as f:
            definition = json.load(f)
        site.cloud.set(consistency={"calls": 2, "ms": 100, "mode": "notfound"}, full_zones=["eu-west-1a"], state_ms=100)
        site.cloud.faults("throttle=0.04,500=0.03,500-html=0.01,reset-after=0.05,reset-before=0.02,truncated=0.02,slow-reply=0.01",
                          seed=rng.randrange(1 << 31))
        killer = Killer(site, rng, 5 if SANITIZED else 12)
        run = None
        try:
            wait_for("an engine that takes it", lambda: submit(site, definition))
            run = site.prvng("batch", "list", "--format", "json").expect(0).json()["workflows"][0]["id"]
            wait_for("the end of the run", lambda: ended(site, run), 170)
        finally:
            killer.end()
        site.cloud.faults("")
        said = site.prvng("batch", "status", run, "--format", "json").expect(0).json()
        check(said["exit_code"] == 0, "it did not succeed", json.dumps(said)[-3000:])
        there = {i["id"]: i["tags"]["prvng:name"] for i in site.cloud.instances()}
        ours = {o["id"]: k.split(".")[1] for k, o in site.inventory().items() if k.startswith("server.")}
        check(there == ours and len(ours) == n, "what runs is not what the inventory says", len(there), len(ours),
              set(there) ^ set(ours))
        counts = site.cloud.state()["counts"]
        check(counts["mismatches"] == 0, "a client token came with another body", counts)
        groups = site.cloud.direct("DescribeSecurityGroups", **{"Filter.1.Name": "tag-key", "Filter.1.Value.1": "prvng:op"})
        check(len(groups.xml().findall(".//securityGroupInfo/item")) == 1, "not one group")
        print(f"# {killer.kills} kills; {counts}", flush=True)
        check(killer.kills >= (3 if SANITIZED else 5), "the kills missed what they were for", killer.kills)


def submit(site, definition):
    try:
        return site.get("/workflows/batch", "POST", {"id": "01JD0000000000000000000AWS", "definition": definition})[0] in (202, 409)
    except OSError:
        return False


def ended(site, run):
    try:
        return site.get(f"/workflows/{run}/status")[1]["exit_code"] is not None
    except (OSError, ValueError, KeyError, TypeError):
        time.sleep(0.1)
        return False
    except Exception as e:  # pylint: disable=broad-except
        if type(e).__module__ == "http.client":
            return False
        raise


if __name__ == "__main__":
    try:
        main([life, own_network, rollback, adoption, no_credentials, kills])
    finally:
        if Cloud.moto:
            Cloud.moto.close()
