#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The plugin itself against moto behind the fault proxy, signatures checked: each verb of each kind, and what
comes of each kind of fault."""
import json
import os
import sys

SOURCE = os.environ["PRVNG_TEST_SOURCE"]
sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.join(SOURCE, "tests", "support"),
                os.path.join(SOURCE, "tests", "fakes")]
import aws  # noqa: E402
from driven import SITE, Driven, op_id  # noqa: E402
from live import Failed, Skip, check, main  # noqa: E402

CONFIG = "settle_ms = 200; poll_ms = 10;"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKSVnRUyJPUeDXtXKwvTrBHWJIHHOQFMvqWXNFNjzH9J me@home"
IMAGE = "ubuntu/images/hvm-ssd/ubuntu-xenial-*"


class Bench:
    """One moto for all tests, as it takes a while to start; what a test left is what the next one finds."""

    cloud = None

    def __init__(self, config=CONFIG, **env):
        if why := aws.missing():
            raise Skip(why)
        if not Bench.cloud:
            Bench.cloud = aws.AWS(seed=1)
        self.cloud.set(consistency={"calls": 0, "ms": 0, "mode": "notfound"}, full_zones=[], dependency_calls={}, state_ms=0)
        self.cloud.ask("DELETE", "faults")
        self.driven = Driven({**self.cloud.env(), **env}, config)

    def __enter__(self):
        self.driven.__enter__()
        return self.cloud, self.driven

    def __exit__(self, *error):
        self.driven.__exit__(*error)


def server(d, name, **spec):
    return d.task("server", name, {"cpu": 1, "memory": 1024, "image": IMAGE,
                                   "aws": {"image_owners": ["099720109477"]}, **spec})


def expect(answer, name, *texts):
    check(answer.name == name, f"{answer.name} instead of {name}", answer)
    for text in texts:
        check(text in answer["message"], f"expected to read: {text}", answer)
    return answer


def of_op(cloud, op):
    return cloud.instances(**{"prvng:op": op})


def server_verbs():
    """server: create, check, update (labels, disk, size, state), read, list, delete; each twice"""
    with Bench() as (cloud, d):
        t = server(d, "web-0", disk=20, labels={"team": "a"}, ssh_keys=[KEY])
        made = expect(d.do("create", t), "DONE")
        out = made.result
        check(out["state"] == "running" and out["plan"] == "t3.micro" and out["memory"] == 1024, "the result", made)
        check(out["reach"]["method"] == "ssh" and out["reach"]["user"] == "ubuntu", "how it is reached", made)
        mine = of_op(cloud, made["op_id"])
        check(len(mine) == 1 and mine[0]["tags"]["prvng:site"] == SITE and mine[0]["tags"]["team"] == "a", "tags", mine)
        expect(d.do("create", t), "UNCHANGED")
        t["identity"] = out
        expect(d.do("check", t), "UNCHANGED")
        other = {**t, "spec": {**t["spec"], "memory": 4096, "disk": 30, "labels": {"team": "b", "x": "y"}}}
        drift = {x["attribute"] for x in d.do("check", other).result["drift"]}
        check(drift == {"plan", "disk", "labels"}, "the drift", drift)
        out = expect(d.do("update", other), "DONE").result
        check(out["disk"] == 30 and out["plan"] == "t3.medium" and out["labels"] == {"team": "b", "x": "y"}, "changed", out)
        expect(d.do("update", other), "UNCHANGED")
        stopped = {**other, "spec": {**other["spec"], "state": "stopped"}}
        check(expect(d.do("update", stopped), "DONE").result["state"] == "stopped", "it runs")
        expect(d.do("update", {**other, "spec": {**other["spec"], "disk": 10}}), "PERMANENT", "shrink")
        check(expect(d.call("read", task=t), "DONE").result["id"] == out["id"], "read")
        listed = d.call("list", filter={"op_id": made["op_id"]}).result["resources"]
        check([r["identity"]["id"] for r in listed] == [out["id"]] and listed[0]["name"] == "web-0", "list", listed)
        expect(d.do("delete", other), "DONE")
        expect(d.do("delete", other), "UNCHANGED")
        check(of_op(cloud, made["op_id"]) == [], "it is there")
        check("prvng-" not in cloud.direct("DescribeKeyPairs").body.decode(), "its key pair is left")
        expect(d.call("read", task=t), "NOT_FOUND")


def requests_are_pure():
    """prepare: the same task gives the same bytes, and bad specs name their field"""
    with Bench() as (_, d):
        t = server(d, "web-1", ssh_keys=[KEY], labels={"b": "1", "a": "2"})
        check(d.prepare("create", t) == d.prepare("create", t), "not the same bytes")
        for spec, field in (({"cpu": 0}, "spec.cpu"), ({"cpu": 999}, "spec.cpu"), ({"memory": "x"}, "spec.memory"),
                            ({"disk": 0}, "spec.disk"), ({"plan": "big"}, "spec.plan"), ({"zone": "eu-north-1a"}, "spec.zone"),
                            ({"ssh_keys": ["no key"]}, "spec.ssh_keys"), ({"labels": {"aws:x": "1"}}, "spec.labels"),
                            ({"networks": ["nowhere"]}, "spec.networks"), ({"aws": {"vpn": 1}}, "spec.aws.vpn"),
                            ({"image": ""}, "spec.image"), ({"state": "asleep"}, "spec.state"),
                            ({"security_groups": ["nobody"]}, "spec.security_groups")):
                a = d.call("prepare", verb="create", task=server(d, "web-1", **spec))
                check(a.name == "PERMANENT" and a["field"] == field, f"{spec}: {field}", a)
        for rule, field in (({"action": "drop"}, "spec.rules[0].action"), ({"port": 70000}, "spec.rules[0].port"),
                            ({"source": "10.0.0.0/40"}, "spec.rules[0].source"), ({"protocol": "sctp"}, "spec.rules[0].protocol"),
                            ({"protocol": "icmp", "port": 1}, "spec.rules[0].port"), ({"ports": "9-1"}, "spec.rules[0].ports")):
                a = d.call("prepare", verb="create", task=d.task("security_group", "g", {"rules": [rule]}))
                check(a.name == "PERMANENT" and a["field"] == field, f"{rule}: {field}", a)
        a = d.call("prepare", verb="create", task=d.task("network", "n", {"address": "10.0.0.0/8"}))
        check(a.name == "PERMANENT" and a["field"] == "spec.address", "a network too large", a)
        a = d.call("prepare", verb="create", task=server(d, "Not_a_host"))
        check(a["field"] == "name", "a name that is no host name", a)


def network_and_group():
    """network and security group: create, find again, check, update, refuse while in use, delete"""
    with Bench() as (cloud, d):
        zones = ["eu-west-1a", "eu-west-1b"]
        net = d.task("network", "private", {"address": "10.9.0.0/20", "zones": zones})
        made = expect(d.do("create", net), "DONE")
        n = made.result
        check(sorted(n["subnets"]) == zones and n["address"] == "10.9.0.0/20" and n["public"] and n["gateway"], "made", n)
        check(expect(d.do("create", net), "UNCHANGED").result["id"] == n["id"], "found again")
        expect(d.do("create", {**net, "spec": {**net["spec"], "address": "10.10.0.0/20"}}), "CONFLICT", n["id"])
        net["identity"] = n
        expect(d.do("check", net), "UNCHANGED")
        wider = {**net, "spec": {**net["spec"], "zones": [*zones, "eu-west-1c"]}}
        check(d.do("check", wider).result["drift"][0]["attribute"] == "zones", "drift")
        check(sorted(expect(d.do("update", wider), "DONE").result["subnets"]) == [*zones, "eu-west-1c"], "a third zone")
        expect(d.do("update", wider), "UNCHANGED")

        rules = [{"direction": "in", "protocol": "tcp", "port": 22, "action": "accept"},
                 {"direction": "in", "protocol": "icmp", "action": "accept"},
                 {"direction": "in", "protocol": "udp", "ports": "8000-8100", "source": "10.1.2.3/8", "action": "accept"}]
        sg = d.task("security_group", "default", {"rules": rules}, inputs={"network.private@aws": n})
        group = expect(d.do("create", sg), "DONE").result
        check(group["network"] == n["id"], "in its network", group)
        check(set(group["found_rules"]) == {
            "in tcp 22 22 0.0.0.0/0", "in tcp 22 22 ::/0", "in icmp -1 -1 0.0.0.0/0", "in icmpv6 -1 -1 ::/0",
            "in udp 8000 8100 10.0.0.0/8", "in any - - self", "out any - - 0.0.0.0/0"}, "rules", group)
        expect(d.do("create", sg), "UNCHANGED")
        sg["identity"] = group
        fewer = {**sg, "spec": {"name": "default", "rules": [rules[0], {"direction": "out", "protocol": "tcp", "port": 443,
                                                                       "destination": "0.0.0.0/0"}]}}
        check(d.do("check", fewer).result["drift"], "drift")
        found = set(expect(d.do("update", fewer), "DONE").result["found_rules"])
        check(found == {"in tcp 22 22 0.0.0.0/0", "in tcp 22 22 ::/0", "in any - - self", "out tcp 443 443 0.0.0.0/0",
                        "out any - - self"}, "revoked and added", found)
        expect(d.do("update", fewer), "UNCHANGED")

        inputs = {"network.private@aws": n, "security_group.default@aws": group}
        t = {**server(d, "in-net", zone="eu-west-1b"), "inputs": inputs}
        out = expect(d.do("create", t), "DONE").result
        check(out["zone"] == "eu-west-1b" and out["subnet"] == n["subnets"]["eu-west-1b"] and
              out["security_groups"] == [group["id"]], "where it stands", out)
        a = d.call("prepare", verb="create", task={**server(d, "x", zone="eu-west-1z"), "inputs": inputs})
        check(a["field"] == "spec.zone", "a zone without a subnet", a)
        check(expect(d.do("delete", sg), "CONFLICT", out["id"])["effect_name"] == "NONE", "used")
        check(expect(d.do("delete", net), "CONFLICT", out["id"])["effect_name"] == "NONE", "used")
        kinds = sorted(r["kind"] for r in d.call("list", filter={"workflow": "shop"}).result["resources"])
        check(kinds == ["network", "security_group", "server"], "list", kinds)
        expect(d.do("delete", {**t, "identity": out}), "DONE")
        cloud.set(dependency_calls={"DeleteSecurityGroup": 3, "DeleteVpc": 2, "DeleteSubnet": 1})
        expect(d.do("delete", sg), "DONE")
        expect(d.do("delete", sg), "UNCHANGED")
        expect(d.do("delete", net), "DONE")
        expect(d.do("delete", net), "UNCHANGED")
        for action in ("DescribeVpcs", "DescribeInternetGateways", "DescribeSecurityGroups", "DescribeSubnets"):
            check("prvng:site" not in cloud.direct(action).body.decode(), f"{action} shows what is left")


TESTS = [server_verbs, requests_are_pure, network_and_group]

if __name__ == "__main__":
    try:
        main(TESTS)
    finally:
        if Bench.cloud:
            Bench.cloud.close()
