#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A fake of the instance metadata service of EC2, version 2 only: a token by PUT, then credentials of a role.

Usage: aws-metadata.py [--port 0] [--ready-file FILE] [--role NAME] [...]

The credentials come by /_fake/set {"credentials": {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"}};
until then there is no role. Ends on SIGTERM or with its parent process. The endpoint is http://127.0.0.1:PORT.
"""
import argparse
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import web  # noqa: E402

LONGEST = 21600  # seconds that a token is valid at most
ROLES = "/latest/meta-data/iam/security-credentials"


class Metadata:
    def __init__(self, role):
        self.role = role
        self.credentials = None
        self.tokens = {}    # token -> when it ends
        self.seconds = None # shorter than what was asked for

    def give_token(self, request):
        wanted = request.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
        if not wanted.isdigit() or not 1 <= int(wanted) <= LONGEST:
            return web.Reply(400, b"", "text/plain")
        if "x-forwarded-for" in request.headers:
            return web.Reply(403, b"", "text/plain")
        token = f"fake-metadata-token-{len(self.tokens)}-{os.urandom(8).hex()}=="
        self.tokens[token] = time.monotonic() + min(int(wanted), self.seconds or LONGEST)
        return web.Reply(200, token.encode(), "text/plain",
                         [("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", wanted)])

    async def handle(self, request):
        path = request.path.rstrip("/")
        if path == "/latest/api/token":
            return self.give_token(request) if request.method == "PUT" else web.Reply(405, b"", "text/plain")
        if time.monotonic() >= self.tokens.get(request.headers.get("x-aws-ec2-metadata-token"), 0):
            return web.Reply(401, b"", "text/plain")
        said = {ROLES: (self.role or "") if self.credentials else None,
                "/latest/meta-data/placement/region": "eu-west-1",
                "/latest/meta-data/placement/availability-zone": "eu-west-1a",
                "/latest/meta-data/instance-id": "i-0123456789abcdef0"}.get(path)
        if path == f"{ROLES}/{self.role}" and self.credentials:
            return web.Reply(200, {"Code": "Success", "LastUpdated": "2026-01-01T00:00:00Z", "Type": "AWS-HMAC",
                                   **self.credentials}, "text/plain")
        return web.Reply(200, said.encode(), "text/plain") if said else web.Reply(404, b"", "text/plain")


def make():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    web.base_arguments(arguments)
    arguments.add_argument("--role", default="prvng-role")
    a = arguments.parse_args()
    metadata = Metadata(a.role)
    server = web.Server(metadata.handle, seed=a.seed)
    server.settings.update({"credentials": lambda v: setattr(metadata, "credentials", v),
                            "role": lambda v: setattr(metadata, "role", v),
                            "token_seconds": lambda v: setattr(metadata, "seconds", v)})
    web.apply_base(server, a)
    return server, a, None


if __name__ == "__main__":
    web.main(make)
