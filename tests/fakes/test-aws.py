#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The AWS fakes by themselves: what the proxy adds to moto, that signatures are checked, and the metadata
service. The tests share one moto, and reset it."""
import http.client
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import aws  # noqa: E402
from live import Skip, check, main, wait_for  # noqa: E402

HOUR = 3600 * 1000  # ms
why_not = aws.missing()
shared = None


def cloud():
    """The shared one, as just started."""
    global shared
    if why_not:
        raise Skip(why_not)
    if shared:
        shared.reset()
        shared.set(state_ms=0)
    else:
        shared = aws.AWS()
    return shared


def run(it, op=None, **more):
    tags = {"TagSpecification.1.ResourceType": "instance", "TagSpecification.1.Tag.1.Key": "op_id",
            "TagSpecification.1.Tag.1.Value": op} if op else {}
    return it.call("ec2", "RunInstances", ImageId=it.image(), MinCount=1, MaxCount=1, InstanceType="t3.micro", **tags,
                   **{k.replace("_", "."): v for k, v in more.items()})


def said(reply, status, code):
    check(reply.status == status and reply.code() == code, f"expected {status} {code}, got {reply.status}", reply.body)


def describe(it, **more):
    return it.call("ec2", "DescribeInstances", **{k.replace("_", "."): v for k, v in more.items()})


def broken(function, *args, **more):
    try:
        reply = function(*args, **more)
    except (http.client.HTTPException, OSError):
        return
    check(False, "expected a broken connection", reply.status, reply.body)


def signatures():
    """A wrong secret, session or key is refused, in the form of each protocol; a role's credentials are good."""
    it = cloud()
    key = it.credentials[0]
    for service, action, status, code in (("ec2", "DescribeVpcs", 401, "AuthFailure"),
                                          ("iam", "ListUsers", 403, "SignatureDoesNotMatch"),
                                          ("sts", "GetCallerIdentity", 403, "SignatureDoesNotMatch"),
                                          ("kms", "ListKeys", 400, "InvalidSignatureException")):
        check(it.call(service, action).status == 200, f"{service} with good credentials")
        reply = it.call(service, action, (key, "wrong", None))
        said(reply, status, code)
        check((reply.body[:1] == b"{") == (service == "kms") and
              (b"<ErrorResponse" in reply.body) == (service in ("iam", "sts")), "the form of an error", reply.body)
    said(it.call("kms", "ListKeys", ("AKIAIOSFODNN7EXAMPLE", "wrong", None)), 400, "UnrecognizedClientException")
    role = it.call("sts", "AssumeRole", RoleArn=it.role_arn, RoleSessionName="test")
    given = tuple(role.text(n) for n in ("AccessKeyId", "SecretAccessKey", "SessionToken"))
    check(it.call("ec2", "DescribeVpcs", given).status == 200, "credentials of a role")
    check(it.call("ec2", "DescribeVpcs", (*given[:2], "other")).status == 401, "another session's token")


def tokens():
    """A call with the token of an earlier one does nothing and says the same; with other words it is refused."""
    it = cloud()
    first = run(it, ClientToken="t-1")
    again = run(it, ClientToken="t-1")
    check(first.status == 200 and first.body == again.body, "another reply", first.body, again.body)
    said(run(it, "x", ClientToken="t-1"), 400, "IdempotentParameterMismatch")
    other = run(it, ClientToken="t-2")
    check(other.text("instanceId") != first.text("instanceId"), "another token made nothing", other.body)
    check(len(it.instances()) == 2 and len(it.effects("RunInstances")) == 2, "instances", it.instances())
    found = describe(it, **{"Filter_1_Name": "client-token", "Filter_1_Value_1": "t-1"})
    check(found.texts("instanceId") == [first.text("instanceId")], "found by token", found.body)
    it.set(full_zones=["*"])
    said(run(it, ClientToken="t-3"), 500, "InsufficientInstanceCapacity")
    it.set(full_zones=[])
    check(run(it, ClientToken="t-3").status == 200, "a refused call used up its token")
    check(it.state()["counts"] == {"replayed": 1, "mismatches": 1, "hidden": 0}, "counts", it.state()["counts"])


def lost():
    """A reply that is lost leaves its effect, which the token finds again; a request that is lost leaves none."""
    it = cloud()
    image = it.image()
    words = {"ImageId": image, "MinCount": 1, "MaxCount": 1, "ClientToken": "t-9"}
    it.inject("reset-before", contains="Action=RunInstances")
    broken(it.call, "ec2", "RunInstances", **words)
    check(not it.instances(), "a request that was not taken acted")
    it.inject("reset-after", contains="Action=RunInstances")
    broken(it.call, "ec2", "RunInstances", **words)
    made = it.instances()
    check(len(made) == 1, "a request that was taken did not act", made)
    check(it.call("ec2", "RunInstances", **words).text("instanceId") == made[0]["id"] and len(it.instances()) == 1,
          "the token found nothing")
    it.inject("late", contains="Action=RunInstances", ms=100)
    broken(it.call, "ec2", "RunInstances", **{**words, "ClientToken": "t-10"})
    wait_for("the late effect", lambda: len(it.instances()) == 2)
    it.inject("truncated", contains="Action=DescribeInstances")
    broken(describe, it)
    check(not it.pending(), "faults are left", it.pending())


def consistency():
    """What was just made is not found for some calls, by id and in lists, and cannot be changed either."""
    it = cloud()
    it.set(consistency={"calls": 4})
    id_ = run(it, "op-1").text("instanceId")
    by_tag = {"Filter_1_Name": "tag:op_id", "Filter_1_Value_1": "op-1"}
    said(describe(it, InstanceId_1=id_), 400, "InvalidInstanceID.NotFound")
    said(it.call("ec2", "TerminateInstances", **{"InstanceId.1": id_}), 400, "InvalidInstanceID.NotFound")
    check(describe(it, **by_tag).texts("instanceId") == [], "listed")
    check(describe(it).texts("reservationId") == [], "an empty reservation is listed")
    check(describe(it, **by_tag).texts("instanceId") == [id_], "hidden for too long")
    it.set(consistency={"calls": 1, "mode": "empty"})
    id_ = run(it).text("instanceId")
    empty = describe(it, InstanceId_1=id_)
    check(empty.status == 200 and empty.texts("instanceId") == [], "not empty", empty.body)
    check(describe(it, InstanceId_1=id_).texts("instanceId") == [id_], "hidden for too long")
    it.set(consistency={"ms": HOUR, "kinds": ["groupId"]})
    group = it.call("ec2", "CreateSecurityGroup", GroupName="g", GroupDescription="d").text("groupId")
    said(it.call("ec2", "AuthorizeSecurityGroupIngress", GroupId=group), 400, "InvalidGroup.NotFound")
    id_ = run(it).text("instanceId")
    check(id_ in describe(it).texts("instanceId"), "another kind is hidden")


def times():
    """Instances take their time, filters by state see that, and what does not fit is refused."""
    it = cloud()
    it.set(state_ms=HOUR)
    id_ = run(it).text("instanceId")

    def state():
        return describe(it, InstanceId_1=id_).xml().findtext(".//instanceState/name")

    pending = {"Filter_1_Name": "instance-state-name", "Filter_1_Value_1": "pending"}
    check(state() == "pending" and describe(it, **pending).texts("instanceId") == [id_], "not pending")
    said(it.call("ec2", "StopInstances", **{"InstanceId.1": id_}), 400, "IncorrectInstanceState")
    it.set(state_ms=0)
    other = run(it).text("instanceId")
    check(describe(it, InstanceId_1=other).xml().findtext(".//instanceState/name") == "running", "not running")
    it.set(state_ms=HOUR)
    for action, between in (("StopInstances", "stopping"), ("TerminateInstances", "shutting-down")):
        check(it.call("ec2", action, **{"InstanceId.1": other}).status == 200, action)
        check(describe(it, InstanceId_1=other).xml().findtext(".//instanceState/name") == between, between)
    said(it.call("ec2", "StartInstances", **{"InstanceId.1": other}), 400, "IncorrectInstanceState")


def capacity():
    """A zone without room refuses instances, named itself or by its subnet; others do not."""
    it = cloud()
    subnets = it.call("ec2", "DescribeSubnets").xml().findall(".//subnetSet/item")
    zones = {s.findtext("availabilityZone"): s.findtext("subnetId") for s in subnets}
    full, free = sorted(zones)[:2]
    it.set(full_zones=[full])
    said(run(it, Placement_AvailabilityZone=full), 500, "InsufficientInstanceCapacity")
    said(run(it, SubnetId=zones[full]), 500, "InsufficientInstanceCapacity")
    check(run(it, SubnetId=zones[free]).status == 200 and run(it, Placement_AvailabilityZone=free).status == 200,
          "a zone with room refuses")
    check([i["zone"] for i in it.instances()] == [free, free], "zones", it.instances())


def dependencies():
    """A group cannot be deleted for some calls, as while an interface of it goes."""
    it = cloud()
    group = it.call("ec2", "CreateSecurityGroup", GroupName="g", GroupDescription="d").text("groupId")
    it.set(dependency_calls={"DeleteSecurityGroup": 2})
    for _ in range(2):
        said(it.call("ec2", "DeleteSecurityGroup", GroupId=group), 400, "DependencyViolation")
    check(it.call("ec2", "DeleteSecurityGroup", GroupId=group).status == 200, "it refuses for too long")


def refusals():
    """Each kind of injected error has its status, code and form."""
    it = cloud()
    for fault, service, action, status, code in (
            ("throttle", "ec2", "DescribeVpcs", 503, "RequestLimitExceeded"),
            ("throttle", "iam", "ListUsers", 400, "Throttling"),
            ("throttle", "kms", "ListKeys", 400, "ThrottlingException"),
            ("500", "ec2", "DescribeVpcs", 500, "InternalError"), ("503", "ec2", "DescribeVpcs", 503, "Unavailable"),
            ("500", "kms", "ListKeys", 500, "KMSInternalException"), ("500", "sts", "GetCallerIdentity", 500,
                                                                      "InternalFailure")):
        it.inject(fault)
        said(it.call(service, action), status, code)
    it.inject("error", status=400, code="VpcLimitExceeded", message="too many <vpcs>")
    reply = it.call("ec2", "CreateVpc", CidrBlock="10.0.0.0/16")
    said(reply, 400, "VpcLimitExceeded")
    check(reply.text("Message") == "too many <vpcs>", "the message", reply.body)
    it.inject("500-html")
    reply = it.call("ec2", "DescribeVpcs")
    check(reply.status == 500 and reply.body.startswith(b"<html>"), "not HTML", reply.body)
    check(it.call("ec2", "DescribeVpcs").status == 200 and it.counters()["faults"]["throttle"] == 3, "afterwards")


def metadata():
    """The metadata service gives a role's credentials to who has its token, and to no one else."""
    with aws.Metadata() as it:
        def ask(method, path, **headers):
            connection = http.client.HTTPConnection("127.0.0.1", it.port, timeout=60)
            try:
                connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
                reply = connection.getresponse()
                return reply.status, reply.read().decode()
            finally:
                connection.close()

        roles = "/latest/meta-data/iam/security-credentials/"
        check(ask("GET", roles)[0] == 401, "without a token")
        check(ask("GET", roles, X_aws_ec2_metadata_token="other")[0] == 401, "with another token")
        check(ask("PUT", "/latest/api/token")[0] == 400, "a token without an end")
        status, token = ask("PUT", "/latest/api/token", X_aws_ec2_metadata_token_ttl_seconds="60")
        mine = {"X_aws_ec2_metadata_token": token}
        check(status == 200 and ask("GET", roles, **mine)[0] == 404, "a role before there is one")
        it.set(credentials={"AccessKeyId": "ASIA1", "SecretAccessKey": "s", "Token": "t",
                            "Expiration": "2036-01-01T00:00:00Z"})
        check(ask("GET", roles, **mine) == (200, "prvng-role"), "the name of the role", ask("GET", roles, **mine))
        given = json.loads(ask("GET", roles + "prvng-role", **mine)[1])
        check(given["Code"] == "Success" and given["Token"] == "t", "credentials", given)
        it.set(token_seconds=0.01)
        short = ask("PUT", "/latest/api/token", X_aws_ec2_metadata_token_ttl_seconds="60")[1]
        wait_for("the end of a token", lambda: ask("GET", roles, X_aws_ec2_metadata_token=short)[0] == 401)


if __name__ == "__main__":
    try:
        main([signatures, tokens, lost, consistency, times, capacity, dependencies, refusals, metadata])
    finally:
        if shared:
            shared.close()
