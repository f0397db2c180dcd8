# SPDX-License-Identifier: Apache-2.0
"""The fakes as objects, for tests and benches: started as processes of their own, told what to do over their
control path, ended by process id.

    with fakes.UpCloud(latency_ms=40, state_ms=100) as cloud:
        env = cloud.env()
        cloud.inject("reset-after", method="POST", path="/1.3/server$")
        ...
        cloud.servers(), cloud.counters(), cloud.log()
"""
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PATIENCE = 60   # seconds for a start or an end


class Fake:
    """A program of this folder. `flags` are its options, e.g. latency_ms=40; True: without a value."""

    program = None

    def __init__(self, log=None, **flags):
        self.folder = tempfile.mkdtemp(prefix="prvng-fake-")
        self.ready_file = os.path.join(self.folder, "ready.json")
        self.log_path = log or os.path.join(self.folder, "output")
        self.flags = flags
        self.process = None
        self.port = 0
        self.start()

    def command(self):
        words = [sys.executable, os.path.join(HERE, self.program), "--ready-file", self.ready_file]
        for name, value in {**self.flags, "port": self.port}.items():
            if value is not None and value is not False:
                words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
        return words

    def start(self):
        """Starts the program; again on the same port after a stop()."""
        if os.path.exists(self.ready_file):
            os.unlink(self.ready_file)
        with open(self.log_path, "ab") as output:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        end = time.monotonic() + PATIENCE
        while not os.path.exists(self.ready_file):
            if self.process.poll() is not None or time.monotonic() > end:
                said = self.output()
                self.stop()
                raise RuntimeError(f"{self.program} did not start:\n{said}")
            time.sleep(0.01)
        with open(self.ready_file, encoding="ascii") as f:
            self.port = json.load(f)["port"]
        return self

    def output(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()[-8000:]

    def stop(self):
        """Ends it by process id; what it holds is lost unless it was started with state=FILE."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def close(self):
        self.stop()
        for name in ("ready.json", "output"):
            path = os.path.join(self.folder, name)
            if os.path.exists(path):
                os.unlink(path)
        os.rmdir(self.folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Control

    def ask(self, method, path, body=None):
        """A request of the control path."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, "/_fake/" + path, None if body is None else json.dumps(body))
            reply = connection.getresponse()
            said = json.loads(reply.read())
        finally:
            connection.close()
        if reply.status != 200:
            raise RuntimeError(f"{method} /_fake/{path}: {said.get('error', said)}")
        return said

    def set(self, **settings):
        self.ask("POST", "set", settings)

    def faults(self, spec, seed=None):
        """Random faults from now on: "NAME=PROBABILITY[:OPTION=VALUE],..."; "": none."""
        self.ask("POST", "faults", {"random": spec, **({} if seed is None else {"seed": seed})})

    def inject(self, fault, **rule):
        """The next request that matches gets this fault: method, path, contains, count, skip, options."""
        self.ask("POST", "inject", {"fault": fault, **rule})

    def pending(self):
        """Injected faults that no request has met yet."""
        return self.ask("GET", "faults")["injected"]

    def counters(self):
        return self.ask("GET", "counters")

    def clear_counters(self):
        self.ask("DELETE", "counters")

    def log(self, **query):
        """The requests: {n, at_ms, took_ms, method, path, target, status, fault, body, ...}."""
        words = "&".join(f"{k}={v}" for k, v in query.items())
        return self.ask("GET", "log" + ("?" + words if words else ""))["log"]

    def reset(self):
        self.ask("POST", "reset", {})


class UpCloud(Fake):
    program = "upcloud.py"

    @property
    def url(self):
        """Without the version: what UPCLOUD_DEBUG_API_BASE_URL wants."""
        return f"http://127.0.0.1:{self.port}"

    def env(self):
        """For the official clients and for ours."""
        return {"UPCLOUD_DEBUG_API_BASE_URL": self.url, "UPCLOUD_TOKEN": self.flags.get("token", "ucat_fake")}

    def state(self):
        return self.ask("GET", "state")

    def servers(self, **labels):
        """All servers there are, with all of these labels."""
        return [s for s in self.state()["servers"] if all({"key": k, "value": v} in s["labels"]
                                                          for k, v in labels.items())]

    def effects(self, verb=None, kind=None):
        """What really happened: {n, at, verb, kind, uuid, name, labels?}, in order."""
        return [e for e in self.state()["effects"] if verb in (None, e["verb"]) and kind in (None, e["kind"])]

    def finish(self):
        """What is under way is done now."""
        self.ask("POST", "finish", {})

    def change_server(self, uuid, **attributes):
        """e.g. state="error"; next_state="started", ms=500; stubborn=True (ignores a soft stop)"""
        return self.ask("POST", f"server/{uuid}", attributes)

    def forget_server(self, uuid):
        """As if someone else had deleted it."""
        self.ask("DELETE", f"server/{uuid}")
