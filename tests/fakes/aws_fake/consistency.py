# SPDX-License-Identifier: Apache-2.0
"""Eventual consistency: what was just made is not found, or not listed, for some calls or some time."""
import time

from . import protocol

# Action that makes -> element of the reply with the id
MADE = {"RunInstances": "instanceId", "CreateSecurityGroup": "groupId", "CreateVpc": "vpcId",
        "CreateSubnet": "subnetId", "CreateVolume": "volumeId", "CreateInternetGateway": "internetGatewayId",
        "CreateRouteTable": "routeTableId", "ImportKeyPair": "keyName", "CreateKeyPair": "keyName"}
# Element -> error code
NOT_FOUND = {"instanceId": "InvalidInstanceID.NotFound", "groupId": "InvalidGroup.NotFound",
             "vpcId": "InvalidVpcID.NotFound", "subnetId": "InvalidSubnetID.NotFound",
             "volumeId": "InvalidVolume.NotFound", "internetGatewayId": "InvalidInternetGatewayID.NotFound",
             "routeTableId": "InvalidRouteTableID.NotFound", "keyName": "InvalidKeyPair.NotFound"}
# Action that lists -> element with the id, a child of each item
LISTED = {"DescribeInstances": "instanceId", "DescribeInstanceStatus": "instanceId",
          "DescribeSecurityGroups": "groupId", "DescribeVpcs": "vpcId", "DescribeSubnets": "subnetId",
          "DescribeVolumes": "volumeId", "DescribeInternetGateways": "internetGatewayId",
          "DescribeRouteTables": "routeTableId", "DescribeKeyPairs": "keyName"}


class Consistency:
    def __init__(self):
        self.configure({})
        self.hidden = {}    # id -> {"calls", "until", "kind"}

    def configure(self, settings):
        """{"calls": N, "ms": M, "mode": "notfound" | "empty", "kinds": ["instanceId", ...]}: hidden for the next
        N calls that would have found it, and for M ms. {}: nothing is."""
        self.calls, self.seconds = settings.get("calls", 0), settings.get("ms", 0) / 1000
        self.mode = settings.get("mode", "notfound")
        self.kinds = settings.get("kinds", list(NOT_FOUND))
        if self.mode not in ("notfound", "empty"):
            raise ValueError("mode: notfound or empty")

    def made(self, call, body):
        kind = MADE.get(call.action)
        if kind not in self.kinds or not (self.calls or self.seconds):
            return
        root = protocol.parse(body)
        # An instance's group and subnet are in the reply as well: only what the call makes counts.
        for element in protocol.find_all(root, kind) if root is not None else ():
            if call.action != "CreateSecurityGroup" or element.text:
                self.hidden[element.text] = {"calls": self.calls, "until": time.monotonic() + self.seconds,
                                             "kind": kind}

    def expired(self, id_):
        entry = self.hidden.get(id_)
        if entry and entry["calls"] <= 0 and time.monotonic() >= entry["until"]:
            del self.hidden[id_]
            return True
        return entry is None

    def used(self, id_):
        self.hidden[id_]["calls"] -= 1

    def refused(self, call):
        """(code, message) if the call names something that is hidden."""
        if not self.hidden or (self.mode == "empty" and call.action in LISTED):
            return None
        for name, value in call.params.items():
            if name.startswith(("TagSpecification", "Tag.", "Filter.")) or self.expired(value):
                continue
            entry = self.hidden[value]
            if entry["kind"] == "keyName" and not name.startswith("KeyName"):
                continue
            self.used(value)
            kind = entry["kind"]
            what = {"instanceId": "instance ID", "keyName": "key pair", "groupId": "security group"}.get(
                kind, f"{kind[:-2]} ID")
            return NOT_FOUND[kind], f"The {what} '{value}' does not exist"
        return None

    def without(self, call, body):
        """The reply without what is hidden."""
        kind = LISTED.get(call.action)
        if not kind or not any(e["kind"] == kind for e in self.hidden.values()):
            return body
        root = protocol.parse(body)
        if root is None:
            return body
        changed = []
        for parent in list(root.iter()):
            for item in list(parent):
                id_ = protocol.text(item, kind) if protocol.local(item) == "item" else None
                if id_ and not self.expired(id_):
                    parent.remove(item)
                    changed.append(id_)
        for id_ in set(changed):
            self.used(id_)
        for group in protocol.find_all(root, "reservationSet"):
            for item in list(group):
                inner = protocol.child(item, "instancesSet")
                if inner is not None and not len(inner):
                    group.remove(item)
        return protocol.render(root) if changed else body
