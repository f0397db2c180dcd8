# SPDX-License-Identifier: Apache-2.0
"""One plugin, driven call by call through the core's own border (tests/plugins/drive.c)."""
import json
import os
import secrets
import subprocess
import time

BUILD = os.environ["PRVNG_TEST_BUILD"]
DRIVE = os.path.join(BUILD, "tests", "plugins", "drive")
PLUGIN = os.path.join(BUILD, "plugins", "aws.so")
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
SITE = "01JDSITE000000000000000000"


def op_id():
    return "0" + "".join(secrets.choice(ALPHABET) for _ in range(25))


class Answer(dict):
    """What came of a call; the result as an object."""

    @property
    def name(self):
        return self["class"]

    @property
    def result(self):
        return json.loads(self["result"] or "{}")

    def __str__(self):
        return json.dumps(dict(self), indent=1)


class Driven:
    def __init__(self, env, config='region = "us-east-1"; settle_ms = 200; poll_ms = 20;'):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PRVNG_"))}
        clean.update({"HOME": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "true", **env})
        self.process = subprocess.Popen([DRIVE, PLUGIN, "aws", config, "api_rate_limit = 0;"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env=clean, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        code = self.process.wait(30)
        self.process.stdout.close()
        assert code in (0, -9), f"drive ended with {code}"

    def kill(self):
        self.process.kill()
        self.process.wait()

    def call(self, do, **more):
        self.process.stdin.write(json.dumps({"do": do, **more}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"drive ended in {do}"
        return Answer(json.loads(line))

    def task(self, kind, name, spec=None, **more):
        return {"kind": kind, "name": name, "workflow": "shop", "site": SITE, "spec": {"name": name, **(spec or {})},
                **more}

    def prepare(self, verb, task):
        a = self.call("prepare", verb=verb, task=task)
        assert a.name == "DONE", a
        return a["result"]

    def go_on(self, verb, request, op, answer, seconds=60, more=None):
        """Polls until the end, as the engine does."""
        end = time.monotonic() + seconds
        token = answer["token"]
        while True:
            if answer.name != "PENDING" and not (answer.name in ("TRANSIENT", "RATE_LIMITED")
                                                 and answer["effect_name"] == "UNKNOWN"):
                return answer
            assert time.monotonic() < end, f"it does not end: {answer}"
            time.sleep(max(0, min(answer["ask_again_ms"], 200)) / 1000)
            answer = self.call("poll", verb=verb, op_id=op, request=request, token=token)
            token = answer["token"] or token
            if more:
                more(answer)

    def do(self, verb, task, op=None, more=None):
        """prepare, begin, and poll until the end."""
        op = op or op_id()
        request = self.prepare(verb, task)
        answer = self.call("begin", verb=verb, op_id=op, request=request)
        answer = self.go_on(verb, request, op, answer, more=more)
        answer["op_id"] = op
        return answer
