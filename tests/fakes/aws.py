# SPDX-License-Identifier: Apache-2.0
"""moto behind our proxy as one object, for tests and benches.

    aws.missing()       why there is no moto here, or None
    with aws.AWS(latency_ms=40, state_ms=100) as cloud:
        env = cloud.env()
        cloud.set(consistency={"calls": 2}, full_zones=["eu-west-1a"])
        cloud.inject("reset-after", contains="Action=RunInstances")
        ...
        cloud.instances(), cloud.effects("RunInstances"), cloud.counters(), cloud.log()

Signatures are checked: the credentials of env() are those of a user that may do everything. Needs the Python
environment that scripts/bootstrap makes (group `clouds`), or PRVNG_TEST_MOTO_PYTHON.
"""
import datetime
import hashlib
import hmac
import http.client
import json
import os
import subprocess
import sys
import urllib.parse
import xml.etree.ElementTree as xml

from fakes import HERE, Fake

REGION = "eu-west-1"
VERSIONS = {"ec2": "2016-11-15", "iam": "2010-05-08", "sts": "2011-06-15"}
ALLOWED = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
TRUST = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
                                                 "Principal": {"AWS": "*"}}]}


def python():
    given = os.environ.get("PRVNG_TEST_MOTO_PYTHON")
    root = os.environ.get("PRVNG_TEST_SOURCE") or os.path.join(HERE, "..", "..")
    return given or os.path.join(os.path.abspath(root), ".venv", "moto", "bin", "python3")


def missing():
    """Why there is no moto here, or None."""
    if not os.path.exists(python()):
        return f"no moto: {python()} is not there; scripts/bootstrap clouds installs it where PyPI can be reached"
    done = subprocess.run([python(), "-I", "-c", "import moto.server"], capture_output=True, text=True, timeout=120,
                          check=False)
    return None if done.returncode == 0 else f"moto cannot be imported: {done.stderr.strip()[-300:]}"


def signed(credentials, service, headers, body, region=REGION, now=None):
    """The headers of a POST to / with Authorization (signature version 4). credentials: (key, secret, token)"""
    key, secret, token = credentials
    now = now or datetime.datetime.now(datetime.timezone.utc)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    headers = {**headers, "x-amz-date": stamp, **({"x-amz-security-token": token} if token else {})}
    names = sorted(k.lower() for k in headers)
    low = {k.lower(): v for k, v in headers.items()}
    canonical = "\n".join(["POST", "/", "", *(f"{n}:{low[n].strip()}" for n in names), "", ";".join(names),
                           hashlib.sha256(body).hexdigest()])
    scope = f"{day}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    secret = b"AWS4" + secret.encode()
    for part in (day, region, service, "aws4_request"):
        secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
    headers["Authorization"] = (f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={';'.join(names)}, "
                                f"Signature={signature}")
    return headers


class Moto(Fake):
    program = "aws-moto.py"

    def command(self):
        return [python(), *super().command()[1:]]


class Proxy(Fake):
    program = "aws-proxy.py"


class Metadata(Fake):
    """The instance metadata service; env() is what AWS's own tools understand."""

    program = "aws-metadata.py"

    def env(self):
        return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{self.port}"}


class Reply:
    def __init__(self, status, body):
        self.status, self.body = status, body

    def xml(self):
        """Without namespaces, which moto mixes."""
        root = xml.fromstring(self.body)
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
        return root

    def code(self):
        """The code of an error."""
        if self.body[:1] == b"{":
            return json.loads(self.body).get("__type")
        return next((e.text for e in self.xml().iter("Code")), None)

    def text(self, name):
        return next((e.text for e in self.xml().iter(name)), None)

    def texts(self, name):
        return [e.text for e in self.xml().iter(name)]


class AWS:
    """The proxy's control functions are this object's: set, inject, faults, counters, log, pending."""

    def __init__(self, **flags):
        self.moto = Moto()
        try:
            self.proxy = Proxy(upstream=self.moto.port, **flags)
        except BaseException:
            self.moto.close()
            raise
        for name in ("set", "inject", "faults", "pending", "counters", "clear_counters", "log", "ask"):
            setattr(self, name, getattr(self.proxy, name))
        self.prepare()

    def prepare(self):
        """A user and a role that may do everything; from then on signatures are checked."""
        self.credentials = ("AKIAFIRST", "not checked yet", None)  # moto finds the service by the signature
        said = None
        for action, params in (
                ("CreateUser", {"UserName": "prvng"}),
                ("PutUserPolicy", {"UserName": "prvng", "PolicyName": "all", "PolicyDocument": json.dumps(ALLOWED)}),
                ("CreateRole", {"RoleName": "prvng-role", "AssumeRolePolicyDocument": json.dumps(TRUST)}),
                ("PutRolePolicy", {"RoleName": "prvng-role", "PolicyName": "all",
                                   "PolicyDocument": json.dumps(ALLOWED)}),
                ("CreateAccessKey", {"UserName": "prvng"})):
            said = self.call("iam", action, **params)
            if said.status != 200:
                raise RuntimeError(f"{action}: {said.status} {said.body[:500]}")
        self.credentials = (said.text("AccessKeyId"), said.text("SecretAccessKey"), None)
        self.moto_api("reset-auth", "0")
        self.ask("POST", "reset", {})

    def moto_api(self, path, body=""):
        connection = http.client.HTTPConnection("127.0.0.1", self.moto.port, timeout=60)
        try:
            connection.request("POST", f"/moto-api/{path}", body, {"Content-Type": "text/plain"})
            reply = connection.getresponse()
            said = reply.read()
        finally:
            connection.close()
        if reply.status != 200:
            raise RuntimeError(f"moto-api/{path}: {reply.status} {said[:300]}")

    def reset(self):
        """As just started; the access key is a new one."""
        self.moto_api("reset-auth", "inf")
        self.moto_api("reset")
        self.prepare()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.proxy.port}"

    @property
    def role_arn(self):
        return "arn:aws:iam::123456789012:role/prvng-role"

    def env(self):
        return {"AWS_ACCESS_KEY_ID": self.credentials[0], "AWS_SECRET_ACCESS_KEY": self.credentials[1],
                "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": self.url}

    def call(self, service, action, credentials=None, **params):
        """A call as a test makes it: EC2, IAM and STS with names of the wire, KMS with one JSON object."""
        if service == "kms":
            body = json.dumps(params).encode()
            headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"TrentService.{action}"}
        else:
            body = urllib.parse.urlencode({"Action": action, "Version": VERSIONS[service], **params}).encode()
            headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        headers["Host"] = f"127.0.0.1:{self.proxy.port}"
        headers = signed(credentials or self.credentials, service, headers, body,
                         "us-east-1" if service == "iam" else REGION)
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.port, timeout=120)
        try:
            connection.request("POST", "/", body, headers)
            reply = connection.getresponse()
            return Reply(reply.status, reply.read())
        finally:
            connection.close()

    def image(self):
        """The id of some image."""
        said = self.call("ec2", "DescribeImages", **{"Owner.1": "amazon"})
        return said.text("imageId")

    def instances(self, gone=False, **tags):
        """All instances as moto has them, asked past the proxy's faults: [{id, state, tags, zone, type}]."""
        found = []
        for item in self.direct("DescribeInstances", MaxResults=1000).xml().findall(".//instancesSet/item"):
            one = {"id": item.findtext("instanceId"), "state": item.findtext("instanceState/name"),
                   "zone": item.findtext("placement/availabilityZone"), "type": item.findtext("instanceType"),
                   "tags": {t.findtext("key"): t.findtext("value") for t in item.findall("tagSet/item")}}
            if (gone or one["state"] not in ("terminated", "shutting-down")) and tags.items() <= one["tags"].items():
                found.append(one)
        return found

    def direct(self, action, **params):
        """An EC2 call to moto itself."""
        body = urllib.parse.urlencode({"Action": action, "Version": VERSIONS["ec2"], **params}).encode()
        headers = signed(self.credentials, "ec2", {"Content-Type": "application/x-www-form-urlencoded",
                                                   "Host": f"127.0.0.1:{self.moto.port}"}, body)
        connection = http.client.HTTPConnection("127.0.0.1", self.moto.port, timeout=120)
        try:
            connection.request("POST", "/", body, headers)
            reply = connection.getresponse()
            return Reply(reply.status, reply.read())
        finally:
            connection.close()

    def state(self):
        return self.ask("GET", "state")

    def effects(self, *actions):
        """Calls that moto carried out: {n, action, service, params, tags}, in order."""
        return [e for e in self.state()["effects"] if not actions or e["action"] in actions]

    def close(self):
        self.proxy.close()
        self.moto.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


if __name__ == "__main__":
    sys.exit(missing() or 0)
