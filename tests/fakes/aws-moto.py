#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs moto's server, with what a test of a provider needs beside it. Run by the Python that has moto.

Usage: aws-moto.py [--port 0] [--ready-file FILE]

What moto does not have: instances that take time to change their state (the header X-Fake-State-Ms of a
request, which ../aws-proxy.py adds, tells how long; 0: at once), the error IncorrectInstanceState, and the
filter client-token. Ends on SIGTERM or with its parent process.
"""
import argparse
import json
import os
import signal
import sys
import threading
import time

os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "false")
import moto.ec2.utils  # noqa: E402
from moto.ec2 import models as ec2_models  # noqa: E402
from moto.ec2.exceptions import EC2ClientError  # noqa: E402
from moto.ec2.models import instances  # noqa: E402
from moto.moto_server.werkzeug_app import (DomainDispatcherApplication, MotoRequestHandler,  # noqa: E402
                                           create_backend_app)
from werkzeug.serving import make_server  # noqa: E402

BETWEEN = {"running": ("pending", 0), "stopped": ("stopping", 64), "terminated": ("shutting-down", 32)}
state_ms = 0.0


class State:
    """Stands for moto's InstanceState: says what is between two states until the time is over."""

    def __init__(self, name="pending", code=0):
        self.due = 0.0
        self.final = None
        self.final_code = code
        self.name = name

    def between(self):
        return BETWEEN.get(self.final) if time.monotonic() < self.due else None

    @property
    def name(self):
        between = self.between()
        return between[0] if between else self.final

    @name.setter
    def name(self, name):
        if name != self.final:
            self.due = time.monotonic() + state_ms / 1000
        self.final = name

    @property
    def code(self):
        between = self.between()
        return between[1] if between else self.final_code

    @code.setter
    def code(self, code):
        self.final_code = code


def refusing(change, verb, states):
    def changed(self):
        if self.state in states:
            raise EC2ClientError("IncorrectInstanceState", f"The instance '{self.id}' is not in a state from "
                                 f"which it can be {verb}.")
        return change(self)
    return changed


def extend():
    instances.InstanceState = State
    instances.Instance.start = refusing(instances.Instance.start, "started",
                                        ("stopping", "shutting-down", "terminated"))
    instances.Instance.stop = refusing(instances.Instance.stop, "stopped",
                                       ("pending", "shutting-down", "terminated"))
    moto.ec2.utils.filter_dict_attribute_mapping["client-token"] = "client_token"
    assert ec2_models.instances is instances


class Application(DomainDispatcherApplication):
    def __call__(self, environ, start_response):
        global state_ms
        if "HTTP_X_FAKE_STATE_MS" in environ:
            state_ms = float(environ.pop("HTTP_X_FAKE_STATE_MS"))
        return super().__call__(environ, start_response)


class Quiet(MotoRequestHandler):
    def log_request(self, *_):
        pass


def watch(parent, server):
    while os.getppid() == parent:
        time.sleep(0.2)
    server.shutdown()


def main():
    parent = os.getppid()
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--ready-file")
    a = arguments.parse_args()
    extend()
    server = make_server("127.0.0.1", a.port, Application(create_backend_app), threaded=True, request_handler=Quiet)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown, daemon=True).start())
    threading.Thread(target=watch, args=(parent, server), daemon=True).start()
    ready = {"port": server.server_address[1], "pid": os.getpid()}
    if a.ready_file:
        with open(a.ready_file + ".new", "w", encoding="ascii") as f:
            json.dump(ready, f)
        os.replace(a.ready_file + ".new", a.ready_file)
    server.serve_forever()


if __name__ == "__main__":
    main()
    sys.exit(0)
