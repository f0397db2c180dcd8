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


def crash_everywhere(verb, task):
    """Does it with a new process for every record, as if the engine were killed after it: each process polls with
    the token that was journaled, and once more with the next one, whose answer is lost with the process."""
    op = op_id()
    with Bench() as (_, d):
        request = d.prepare(verb, task)
        token = d.call("begin", verb=verb, op_id=op, request=request)["token"]
    for _ in range(40):
        with Bench() as (_, d):
            seen = d.call("observe", verb=verb, op_id=op, request=request, token=token)
            check(seen["answer"] == 1 and seen["token"] == token, "observe goes on where it stands", seen)
            answer = d.call("poll", verb=verb, op_id=op, request=request, token=token)
            token = answer["token"] or token
            if answer.name not in ("PENDING", "TRANSIENT"):
                answer["op_id"] = op
                return answer
            d.call("poll", verb=verb, op_id=op, request=request, token=token)
    raise Failed(f"it does not end: {answer}")


def server_lost_replies():
    """server: lost replies, crashes after every record and repeated polls make one instance"""
    with Bench() as (cloud, d):
        for fault, matching in (("reset-after", "Action=RunInstances"), ("truncated", "Action=RunInstances"),
                                ("html", "Action=RunInstances"), ("500", "Action=RunInstances"),
                                ("reset-before", "Action=RunInstances"), ("throttle", "Action=DescribeInstances"),
                                ("reset-after", "Action=ImportKeyPair")):
            cloud.inject(fault, contains=matching)
            t = server(d, f"lost-{fault}-{matching[7:8].lower()}", ssh_keys=[KEY] if "Key" in matching else [])
            made = expect(d.do("create", t), "DONE")
            check(not cloud.pending(), "the fault was not met", cloud.pending())
            check([i["id"] for i in of_op(cloud, made["op_id"])] == [made.result["id"]], f"{fault}: not one", made)
        check(cloud.state()["counts"]["replayed"] >= 2, "no request was sent again with its token", cloud.state()["counts"])
        check(cloud.state()["counts"]["mismatches"] == 0, "a token came with another body")
        made = expect(crash_everywhere("create", server(d, "crash-1")), "DONE")
        check([i["id"] for i in of_op(cloud, made["op_id"])] == [made.result["id"]], "not one", made)
        gone = expect(crash_everywhere("delete", server(d, "crash-1") | {"identity": made.result}), "DONE")
        check(gone.result == {} and of_op(cloud, made["op_id"]) == [], "it is there", gone)
        a = d.call("observe", verb="create", op_id=op_id(), request=d.prepare("create", server(d, "never")))
        check(a["answer"] == 2, "without a token nothing was done", a)
        a = d.call("poll", verb="create", op_id=op_id(), request=d.prepare("create", server(d, "never")), token="1 nonsense")
        expect(a, "TOKEN_REJECTED")


def eventual_consistency():
    """server: what is not seen yet is not gone, neither for a create nor for the undo of one in doubt"""
    for mode in ("notfound", "empty"):
        with Bench() as (cloud, d):
            cloud.set(consistency={"calls": 4, "ms": 0, "mode": mode})
            made = expect(d.do("create", server(d, f"late-{mode}")), "DONE")
            check(len(of_op(cloud, made["op_id"])) == 1, "not one")
            check(cloud.state()["counts"]["hidden"] > 0, "nothing was hidden")
    with Bench(CONFIG.replace("200", "1500")) as (cloud, d):
        cloud.set(consistency={"calls": 5, "ms": 0, "mode": "empty"})
        op, t = op_id(), server(d, "doubt")
        request = d.prepare("create", t)
        token = d.call("begin", verb="create", op_id=op, request=request)["token"]
        for _ in range(2):  # up to RunInstances, whose answer is thrown away
            token = d.call("poll", verb="create", op_id=op, request=request, token=token)["token"]
        check(len(of_op(cloud, op)) == 1, "it was not begun")
        expect(d.do("delete", {**t, "identity": {"op_id": op}}), "DONE")
        check(of_op(cloud, op) == [], "it is left")
        expect(d.do("delete", {**t, "identity": {"op_id": op_id()}}), "UNCHANGED")


def capacity():
    """server: a zone without room leads to the next one, with another token; none: TRANSIENT, nothing left"""
    with Bench() as (cloud, d):
        cloud.set(full_zones=["eu-west-1a", "eu-west-1b"])
        spec = {"image_owners": ["099720109477"], "zones": ["eu-west-1b", "eu-west-1c"]}
        made = expect(d.do("create", server(d, "roomy", zone="eu-west-1a", aws=spec)), "DONE")
        check(made.result["zone"] == "eu-west-1c", "where it stands", made)
        check(len(of_op(cloud, made["op_id"])) == 1, "not one")
        a = expect(d.do("create", server(d, "cramped", zone="eu-west-1a")), "TRANSIENT", "no zone", "aws.zones")
        check(a["effect_name"] == "NONE" and a["retry_after_ms"] > 0, "the engine may begin again", a)
        cloud.set(full_zones=[])


def errors():
    """error codes of AWS: their classes, effects and sentences"""
    cases = (
        ("RequestLimitExceeded", 503, "RATE_LIMITED", "UNKNOWN"), ("Throttling", 400, "RATE_LIMITED", "UNKNOWN"),
        ("EC2ThrottledException", 503, "RATE_LIMITED", "UNKNOWN"), ("NobodyKnows", 400, "PERMANENT", "NONE"),
        ("VcpuLimitExceeded", 400, "QUOTA", "NONE"), ("InstanceLimitExceeded", 400, "QUOTA", "NONE"),
        ("UnauthorizedOperation", 403, "AUTH", "NONE"), ("RequestExpired", 400, "AUTH", "NONE"),
        ("InvalidParameterValue", 400, "PERMANENT", "NONE"), ("InvalidAMIID.NotFound", 400, "TRANSIENT", "UNKNOWN"),
        ("IdempotentParameterMismatch", 400, "PENDING", None), ("InternalError", 500, "TRANSIENT", "UNKNOWN"),
        ("Unavailable", 503, "TRANSIENT", "UNKNOWN"), ("NobodyKnows", 502, "TRANSIENT", "UNKNOWN"))
    with Bench(CONFIG.replace("200", "600000")) as (cloud, d):
        for code, status, name, effect in cases:
            op = op_id()
            request = d.prepare("create", server(d, "error"))
            token = d.call("begin", verb="create", op_id=op, request=request)["token"]
            token = d.call("poll", verb="create", op_id=op, request=request, token=token)["token"]
            cloud.inject("error", contains="Action=RunInstances", code=code, status=status, message="no & no")
            a = d.call("poll", verb="create", op_id=op, request=request, token=token)
            check(a.name == name, f"{code}: {a.name} instead of {name}", a)
            check(effect in (None, a["effect_name"]), f"{code}: effect {a['effect_name']} instead of {effect}", a)
            check(name == "PENDING" or code in a["message"] and "no & no" in a["message"], "the message", a)
            check(of_op(cloud, op) == [], "something is there")
            if code == "Unavailable":  # after a lost reply a refused signature does not say that nothing is there
                cloud.inject("error", contains="Action=RunInstances", code="AuthFailure", status=401)
                a = expect(d.call("poll", verb="create", op_id=op, request=request, token=token), "AUTH")
                check(a["effect_name"] == "PARTIAL", "effect", a)
        for fault in ("500-html", "html", "truncated", "slow-reply"):
            cloud.inject(fault, contains="Action=DescribeInstances")
            a = d.call("read", task=server(d, "nobody"))
            check(a.name in ("TRANSIENT", "NOT_FOUND"), fault, a)


def credentials():
    """where keys come from: none, wrong ones, profiles, a role to assume, the metadata service"""
    import tempfile
    with Bench() as (cloud, _):
        key, secret, _ = cloud.credentials
        none = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
        with Driven({**cloud.env(), **none}, CONFIG) as d:
            a = expect(d.call("read", task=server(d, "x")), "AUTH", "AWS_ACCESS_KEY_ID", "profile")
            check(a["effect_name"] == "NONE", "effect", a)
        with Driven({**cloud.env(), "AWS_REGION": "", "AWS_DEFAULT_REGION": ""}, CONFIG) as d:
            expect(d.call("read", task=server(d, "x")), "PERMANENT", "AWS_REGION")
        with Driven({**cloud.env(), "AWS_SECRET_ACCESS_KEY": "wrong"}, CONFIG) as d:
            a = expect(d.call("read", task=server(d, "x")), "AUTH", "AuthFailure")
            check("wrong" not in json.dumps(a), "the secret is in the message", a)
        with tempfile.TemporaryDirectory() as folder:
            with open(f"{folder}/credentials", "w", encoding="ascii") as f:
                f.write(f"# keys\n[default]\naws_access_key_id=nobody\naws_secret_access_key = x\n"
                        f"[ci]\naws_access_key_id = {key}\naws_secret_access_key={secret}\n")
            with open(f"{folder}/config", "w", encoding="ascii") as f:
                f.write(f"[profile role]\nrole_arn = {cloud.role_arn}\nsource_profile = ci\nregion = eu-west-1\ns3 =\n"
                        f"  x = 1\n[profile round]\nrole_arn = x\nsource_profile = round2\n[profile round2]\nrole_arn = y\n"
                        "source_profile = round\n[profile mfa]\nrole_arn = x\nsource_profile = ci\nmfa_serial = 1\n")
            os.chmod(f"{folder}/credentials", 0o600)
            env = {**cloud.env(), **none, "AWS_SHARED_CREDENTIALS_FILE": f"{folder}/credentials",
                   "AWS_CONFIG_FILE": f"{folder}/config"}
            for profile, name, text in (("ci", "NOT_FOUND", "none"), ("role", "NOT_FOUND", "none"), ("default", "AUTH", ""),
                                        ("round", "AUTH", "circle"), ("mfa", "AUTH", "MFA"), ("nobody", "AUTH", "no such profile")):
                with Driven({**env, "AWS_PROFILE": profile}, CONFIG) as d:
                    expect(d.call("read", task=server(d, "x")), name, text)
        role = cloud.call("sts", "AssumeRole", RoleArn=cloud.role_arn, RoleSessionName="t")
        with aws.Metadata() as m:
            m.set(credentials={"AccessKeyId": role.text("AccessKeyId"), "SecretAccessKey": role.text("SecretAccessKey"),
                               "Token": role.text("SessionToken"), "Expiration": "2099-01-01T00:00:00Z"})
            with Driven({**cloud.env(), **none, **m.env(), "AWS_EC2_METADATA_DISABLED": "false"}, CONFIG) as d:
                expect(d.call("read", task=server(d, "x")), "NOT_FOUND")


def network_lost_replies():
    """network and group: lost replies and crashes make one of each, and what is left half-way is found"""
    with Bench() as (cloud, d):
        for action in ("CreateVpc", "CreateInternetGateway", "AttachInternetGateway", "CreateRoute", "CreateSubnet",
                       "CreateSecurityGroup", "AuthorizeSecurityGroupIngress"):
            cloud.inject("reset-after", contains=f"Action={action}&")
            kind = "security_group" if "Security" in action else "network"
            t = d.task(kind, action.lower(), {"rules": [{"port": 1}]} if kind[0] == "s" else {"zones": ["eu-west-1a"]})
            made = expect(d.do("create", t), "DONE")
            check(not cloud.pending(), "the fault was not met", action)
            count = cloud.direct("DescribeVpcs" if kind[0] == "n" else "DescribeSecurityGroups",
                                 **{"Filter.1.Name": "tag:prvng:op", "Filter.1.Value.1": made["op_id"]})
            ids = [i for i in count.texts("vpcId" if kind[0] == "n" else "groupId") if i == made.result["id"]]
            check(ids, f"{action}: it is not there")
            expect(d.do("delete", {**t, "identity": made.result}), "DONE")
        vpcs = cloud.effects("CreateVpc")
        check(len(vpcs) - len(cloud.effects("DeleteVpc")) == 0, "there are more than were deleted", len(vpcs))
        t = d.task("network", "crash", {"zones": ["eu-west-1a", "eu-west-1b"]})
        before = len(cloud.effects("CreateVpc"))
        made = expect(crash_everywhere("create", t), "DONE")
        check(len(cloud.effects("CreateVpc")) - before == 1, "not made once")
        found = cloud.direct("DescribeVpcs", **{"Filter.1.Name": "tag:prvng:op", "Filter.1.Value.1": made["op_id"]})
        check(set(found.texts("vpcId")) == {made.result["id"]}, "not one is left", found.body.decode())
        expect(d.do("delete", {**t, "identity": {"op_id": made["op_id"]}}), "DONE")
        for action in ("DescribeVpcs", "DescribeInternetGateways", "DescribeSecurityGroups", "DescribeSubnets"):
            check("prvng:site" not in cloud.direct(action).body.decode(), f"{action} shows what is left")


def rotation():
    """credential: rotated with a crash at every step, with a lost reply, and not where two keys are there"""
    import tempfile
    with Bench() as (cloud, d):
        user = "rotator"
        for action, params in (("CreateUser", {}), ("PutUserPolicy", {"PolicyName": "all", "PolicyDocument": json.dumps(aws.ALLOWED)})):
            cloud.call("iam", action, UserName=user, **params)
        first = cloud.call("iam", "CreateAccessKey", UserName=user)
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/credentials"
            with open(path, "w", encoding="ascii") as f:
                f.write(f"[other]\nx = 1\n\n[default]\n# ours\naws_access_key_id = {first.text('AccessKeyId')}\n"
                        f"aws_secret_access_key = {first.text('SecretAccessKey')}\nregion = eu-west-1\n")
            env = {**cloud.env(), "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SHARED_CREDENTIALS_FILE": path}

            def keys():
                return cloud.call("iam", "ListAccessKeys", UserName=user).texts("AccessKeyId")

            with Driven(env, CONFIG) as w:
                t = w.task("credential", "aws")
                a = expect(w.do("update", t), "DONE")
            with open(path, encoding="ascii") as f:
                text = f.read()
            check(keys() == [a.result["id"]] and a.result["id"] in text and "[other]" in text and "# ours" in text, "after", text)
            check(os.stat(path).st_mode & 0o777 == 0o600 and os.listdir(folder) == ["credentials"], "its mode, and leftovers")
            secret = text.split("aws_secret_access_key = ")[1].split()[0]
            check(secret not in json.dumps(a), "the secret is in the result")

            op, answer = op_id(), None  # killed after each step, each done twice, and the reply of the creation is lost
            cloud.inject("reset-after", contains="Action=CreateAccessKey")
            with Driven(env, CONFIG) as w:
                request = w.prepare("update", t)
                token = w.call("begin", verb="update", op_id=op, request=request)["token"]
            for _ in range(30):
                with Driven(env, CONFIG) as w:
                    w.call("poll", verb="update", op_id=op, request=request, token=token)
                with Driven(env, CONFIG) as w:
                    answer = w.call("poll", verb="update", op_id=op, request=request, token=token)
                token = answer["token"] or token
                check(secret not in token, "a secret in the token")
                if answer.name not in ("PENDING", "TRANSIENT"):
                    break
            expect(answer, "DONE")
            check(keys() == [answer.result["id"]], "one key is left", keys())
            cloud.call("iam", "CreateAccessKey", UserName=user)
            with Driven(env, CONFIG) as w:
                expect(w.do("update", t), "QUOTA", "two keys")
            with Driven(cloud.env(), CONFIG) as w:
                expect(w.do("update", t), "UNSUPPORTED", "environment")


def precheck_and_find():
    """precheck names what is not to be had; find tells of what nobody made with prvng"""
    with Bench() as (cloud, d):
        def problems(**spec):
            a = expect(d.call("check", task={"tasks": [{"verb": "create", "task": server(d, "p", **spec)}]}), "DONE")
            return [(p["field"], p["message"]) for p in a.result["problems"]]
        check(problems() == [], "a good one", problems())
        check("eu-west-1a" in dict(problems(zone="eu-west-1q"))["spec.zone"], "zone", problems(zone="eu-west-1q"))
        check("spec.plan" in dict(problems(plan="z9.huge")), "plan")
        check("spec.image" in dict(problems(image="no-such-image-*")), "image")
        check("spec.aws.key_name" in dict(problems(aws={"key_name": "mine", "image_owners": ["099720109477"]})), "key")
        image = cloud.image()
        ran = cloud.call("ec2", "RunInstances", ImageId=image, MinCount=1, MaxCount=1, InstanceType="m5.large",
                         **{"TagSpecification.1.ResourceType": "instance", "TagSpecification.1.Tag.1.Key": "Name",
                            "TagSpecification.1.Tag.1.Value": "legacy", "TagSpecification.1.Tag.2.Key": "team",
                            "TagSpecification.1.Tag.2.Value": "x"})
        id_ = ran.text("instanceId")
        for by in (id_, "legacy"):
            f = expect(d.call("find", kind="server", id=by), "DONE").result
            check(f["name"] == "legacy" and f["outputs"]["id"] == id_ and f["spec"]["plan"] == "m5.large", "found", f)
        check(f["outputs"]["cpu"] == 2 and f["outputs"]["memory"] == 8192, "a type that is not in the table", f)
        task = {**server(d, "legacy"), "spec": f["spec"], "identity": f["outputs"]}
        expect(d.do("check", task), "UNCHANGED")
        expect(d.call("find", kind="server", id="i-00000000000000000"), "NOT_FOUND")
        expect(d.call("find", kind="server", id="nobody"), "NOT_FOUND")
        vpc = cloud.direct("DescribeVpcs").text("vpcId")
        n = expect(d.call("find", kind="network", id=vpc), "DONE").result
        check(n["spec"]["address"] == "172.31.0.0/16" and n["outputs"]["id"] == vpc and n["spec"]["zones"], "network", n)
        expect(d.do("check", d.task("network", n["name"], n["spec"], identity=n["outputs"])), "UNCHANGED")
        group = cloud.call("ec2", "CreateSecurityGroup", GroupName="old", GroupDescription="x").text("groupId")
        cloud.call("ec2", "AuthorizeSecurityGroupIngress", GroupId=group,
                   **{"IpPermissions.1.IpProtocol": "tcp", "IpPermissions.1.FromPort": 80, "IpPermissions.1.ToPort": 90,
                      "IpPermissions.1.IpRanges.1.CidrIp": "10.0.0.0/8"})
        g = expect(d.call("find", kind="security_group", id=group), "DONE").result
        check(g["spec"]["rules"] == [{"direction": "in", "protocol": "tcp", "source": "10.0.0.0/8", "ports": "80-90",
                                      "action": "accept"}], "rules", g)
        expect(d.call("find", kind="bucket", id="x"), "UNSUPPORTED")


def says_the_same():
    """kcl/dependencies.k says what the plugin says; describe() is a schema of every kind"""
    with Bench() as (_, d):
        d.process.stdin.write('{"do":"dependencies"}\n{"do":"describe"}\n')
        d.process.stdin.flush()
        said, described = json.loads(d.process.stdout.readline()), json.loads(d.process.stdout.readline())
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "kcl", "dependencies.k"), encoding="utf-8") as f:
        lines = [line.split(" = ") for line in f.read().split('"""')[2].strip().splitlines()]
    check({k: eval(v) for k, v in lines} == said, "dependencies.k says something else", lines, said)  # pylint: disable=eval-used
    check([r["kind"] for r in described["resources"]] == ["server", "network", "security_group", "credential"], "kinds")


TESTS = [server_verbs, requests_are_pure, network_and_group, server_lost_replies, eventual_consistency, capacity, errors,
         credentials, network_lost_replies, rotation, precheck_and_find, says_the_same]


if __name__ == "__main__":
    try:
        main(TESTS)
    finally:
        if Bench.cloud:
            Bench.cloud.close()
