#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A fake as a scenario of prvng-plugin-check starts it, in the sandbox of one test.

Usage: scenario.py upcloud|aws FOLDER [OPTION=VALUE...]

Options are those of the fake: latency_ms=1 state_ms=20 seed=7. All files go below FOLDER. Prints one line once it
can be asked:

    ready url=http://127.0.0.1:PORT count=PORT [key=ACCESS_KEY secret=SECRET_KEY region=REGION]

Who connects to the port `count` reads how many resources there are, of all kinds that the provider makes
(count.py). Ends with its parent process.
"""
import os
import socket
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import aws  # noqa: E402
import fakes  # noqa: E402


class UpCloud(fakes.UpCloud):
    def words(self):
        return {"url": self.url}

    def count(self):
        state = self.state()
        return sum(len(state[kind]) for kind in ("servers", "storages", "networks", "routers"))


class AWS(aws.AWS):
    KINDS = (("DescribeInstances", ".//instancesSet/item"), ("DescribeVolumes", ".//volumeSet/item"),
             ("DescribeKeyPairs", ".//keySet/item"), ("DescribeVpcs", ".//vpcSet/item"),
             ("DescribeSubnets", ".//subnetSet/item"), ("DescribeInternetGateways", ".//internetGatewaySet/item"),
             ("DescribeRouteTables", ".//routeTableSet/item"), ("DescribeSecurityGroups", ".//securityGroupInfo/item"))
    GONE = ("terminated", "shutting-down")

    def words(self):
        return {"url": self.url, "key": self.credentials[0], "secret": self.credentials[1], "region": aws.REGION}

    def count(self):
        return sum(item.findtext("instanceState/name") not in self.GONE
                   for action, items in self.KINDS for item in self.direct(action).xml().findall(items))


def main():
    name, folder, *options = sys.argv[1:]
    tempfile.tempdir = folder
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # it may write nowhere else
    make = {"upcloud": UpCloud, "aws": AWS}[name]
    with make(**dict(o.split("=", 1) for o in options)) as cloud, socket.create_server(("127.0.0.1", 0)) as listener:
        words = {**cloud.words(), "count": listener.getsockname()[1]}
        print("ready " + " ".join(f"{k}={v}" for k, v in words.items()), flush=True)
        parent = os.getppid()
        listener.settimeout(1)
        while os.getppid() == parent:
            try:
                connection = listener.accept()[0]
            except TimeoutError:
                continue
            with connection:
                connection.sendall(b"%d\n" % cloud.count())


main()
