#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sends what an official client once sent to the real UpCloud, as it was recorded, to the fake, and compares the
replies: the same status, the same shape, and the same values where they are not made up by the cloud.

The recordings are no part of this repository: PRVNG_TEST_RECORDINGS names their folder (shared/data/upcloud
beside the clone where that is not set). Where they are not, every test is skipped.
"""
import http.client
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import aws  # noqa: E402
import fakes  # noqa: E402
from live import SOURCE, Failed, Skip, check, main  # noqa: E402

RECORDINGS = os.environ.get("PRVNG_TEST_RECORDINGS") or os.path.join(SOURCE, "..", "shared", "data", "upcloud")
BASE = "https://api.upcloud.com"

# Made up by the cloud: only their type is compared.
MADE_UP = {"uuid", "address", "mac", "host", "created", "network", "password", "remote_access_password", "storage",
           "progress", "gateway"}
# The recordings are of 2022 and 2023; what later replies have in addition.
NEWER = {"labels", "server_group", "dhcp_provided", "storage_encrypted", "encrypted"}
SOMETIMES = {"progress", "host"}    # not in each reply about a server in maintenance


def recorded(name):
    """[(request, response)] of a recording."""
    path = os.path.join(RECORDINGS, name + ".yaml")
    if not os.path.exists(path):
        raise Skip(f"no recordings: {path} is not there (PRVNG_TEST_RECORDINGS names their folder)")
    why = aws.missing()
    if why:
        raise Skip(f"nothing reads YAML here: {why}")
    with open(path, "rb") as f:
        done = subprocess.run([aws.python(), "-I", "-c", "import json, sys, yaml; "
                               "json.dump(yaml.safe_load(sys.stdin), sys.stdout)"], stdin=f, capture_output=True,
                              timeout=120, check=False)
    if done.returncode:
        raise Failed(f"{path} cannot be read:\n{done.stderr.decode()}")
    return [(i["request"], i["response"]) for i in json.loads(done.stdout)["interactions"]]


def differences(theirs, ours, where="", made_up=False):
    """What is another shape or another value, as lines."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        found = [f"{where}.{k}: missing" for k in theirs if k not in ours and k not in SOMETIMES]
        found += [f"{where}.{k}: not in the recording" for k in ours
                  if k not in theirs and k not in NEWER | SOMETIMES]
        for key in theirs.keys() & ours.keys():
            found += differences(theirs[key], ours[key], f"{where}.{key}", key in MADE_UP)
        return found
    if isinstance(theirs, list) and isinstance(ours, list):
        if not theirs or not ours:
            return []
        same = len(theirs) == len(ours)
        return [d for n, one in enumerate(ours)
                for d in differences(theirs[n if same else -1], one, f"{where}[{n}]", made_up)]
    if type(theirs) is not type(ours):
        return [f"{where}: {type(theirs).__name__} {theirs!r}, here {type(ours).__name__} {ours!r}"]
    return [] if made_up or theirs == ours else [f"{where}: {theirs!r}, here {ours!r}"]


def ordered(reply):
    """Lists whose order says nothing."""
    for addresses in [reply.get("server", {}).get("ip_addresses", {})] if isinstance(reply, dict) else []:
        if "ip_address" in addresses:
            addresses["ip_address"].sort(key=lambda a: (a["access"], a["family"]))
    return reply


class Player:
    """Sends recorded requests with the fake's ids in the place of the recorded ones."""

    def __init__(self, cloud):
        self.cloud = cloud
        self.ids = {}

    def ours(self, text):
        return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", lambda m: self.ids.get(m[0], m[0]), text)

    def send(self, method, path, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.cloud.port, timeout=60)
        try:
            connection.request(method, path, body.encode() if body else None,
                               {"Accept": "application/json", "Content-Type": "application/json",
                                "Authorization": "Bearer ucat_fake"})
            reply = connection.getresponse()
            return reply.status, reply.headers.get("Content-Type"), reply.read().decode()
        finally:
            connection.close()

    def learn(self, theirs, ours):
        for kind in ("server", "network"):
            if isinstance(theirs, dict) and isinstance(theirs.get(kind), dict):
                self.ids[theirs[kind]["uuid"]] = ours[kind]["uuid"]

    def play(self, request, response):
        what = f"{request['method']} {request['url'][len(BASE):]}"
        theirs = json.loads(response["body"]) if response["body"] else None
        wanted = (theirs or {}).get("server", {}).get("state") if isinstance(theirs, dict) else None
        if request["method"] in ("GET", "DELETE") and wanted != "maintenance":
            self.cloud.finish()     # the polls in between were not recorded
        status, kind, body = self.send(request["method"], self.ours(request["url"][len(BASE):]),
                                       self.ours(request["body"]))
        check(status == response["code"], f"{what}: {response['code']} when recorded, here {status}", body)
        check(kind == response["headers"].get("Content-Type", [None])[0], f"{what}: other Content-Type", kind)
        check(bool(body) == bool(response["body"]), f"{what}: a body in one only", body)
        if theirs is None:
            return
        ours = json.loads(body)
        self.learn(theirs, ours)
        found = differences(ordered(theirs), ordered(ours))
        check(not found, f"{what}: other replies than recorded:", *found)


def replay(name, before=None):
    exchanges = recorded(name)
    with fakes.UpCloud(state_ms=3600 * 1000) as cloud:
        player = Player(cloud)
        if before:
            before(player)
        for request, response in exchanges:
            player.play(request, response)


def add_disk(player):
    """The recorded account had disks of other servers as well."""
    status, _, body = player.send("POST", "/1.3/storage", json.dumps({"storage": {
        "size": 10, "tier": "maxiops", "title": "disk1", "zone": "fi-hel2"}}))
    check(status == 201, "no storage was made", body)


def servers_and_storages():
    """A server is made, stopped and deleted with its storages as recorded."""
    replay("createdeleteserverandstorage", add_disk)


def networks():
    """A network and a server in it are made as recorded."""
    replay("createnetworkandserver")


def start_and_stop():
    """A server is made, stopped and started as recorded."""
    replay("createstartstopserver")


def firewall():
    """Firewall rules come and go as recorded."""
    replay("firewallrules")


def filters():
    """Servers are found by label as recorded."""
    replay("getserverswithfilters")


def errors():
    """A wrong id is refused as recorded."""
    replay("errorhandling")


if __name__ == "__main__":
    main([servers_and_storages, networks, start_and_stop, firewall, filters, errors])
