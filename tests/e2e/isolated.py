#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A provider in a process of its own, in a running engine: its process is killed again and again, and nothing is lost,
nothing is made twice."""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from live import BUILD, Site, alive, check, main, wait_for  # noqa: E402



def site_with_isolated():
    """testcloud outside of the engine, with the folder that is its cloud."""
    site = Site()
    site.dropin("testcloud", os.path.join(BUILD, "tests", "plugins", "testcloud.so"), f'folder = "{site.world}";',
                f'isolation = "process"; capabilities = {{ paths = {{ write = ["{site.world}"]; }}; }};')
    os.makedirs(site.world, exist_ok=True)
    return site


def helpers(parent):
    """Helper programs that are children of that process."""
    found = []
    for pid in os.listdir("/proc"):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
                fields = f.read().rsplit(")", 1)[1].split()
            with open(f"/proc/{pid}/cmdline", encoding="utf-8") as f:
                name = f.read().split("\0")[0]
        except (OSError, IndexError):
            continue
        if name == "prvng-plugin-host" and int(fields[1]) == parent and fields[0] != "Z":
            found.append(int(pid))
    return found


def workflow(servers, script):
    return {"shop": {
        "name": "shop",
        "servers": [{"name": s, "provider": "testcloud", "testcloud": script} for s in servers],
        "operations": [{"id": "make", "type": "create", "target": "server", "items": servers,
                        "on_failure": "fail"}]}}


def runs_and_undoes():
    """A run and its rollback, with the provider outside of the engine."""
    servers = [f"web-{i}" for i in range(6)]
    with site_with_isolated() as site:
        engine = site.start_engine()
        check(len(helpers(engine.pid)) == 1, "one helper", helpers(engine.pid))
        site.prvng("batch", "submit", site.write("w.json", workflow(servers, {"polls": 2, "poll_ms": 50})),
                   "--watch").expect(0, "succeeded")
        check(sorted(site.servers()) == sorted("server." + s for s in servers), "servers", site.existing())
        site.prvng("batch", "rollback", "shop", "--watch").expect(4)
        check(site.servers() == [], "what the run made is undone", site.existing())


def killed_again_and_again():
    """Its process is killed in the middle of calls: each is in doubt, is observed, and nothing is made twice."""
    servers = [f"web-{i}" for i in range(12)]
    with site_with_isolated() as site:
        engine = site.start_engine()
        p = site.popen("batch", "submit", site.write("w.json", workflow(
            servers, {"begin_ms": 100, "polls": 2, "poll_ms": 50})), "--watch")
        killed = set()
        while len(killed) < 3 and p.poll() is None:
            for pid in set(helpers(engine.pid)) - killed:
                n = len(site.effects())
                wait_for("an effect", lambda: len(site.effects()) > n or p.poll() is not None)  # noqa: B023
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            time.sleep(0.01)
        site.finish(p).expect(0, "succeeded")
        check(len(killed) == 3, "killed", killed)
        check(engine.poll() is None and site.engine() == engine.pid, "the engine goes on", site.log())
        check(sorted(site.servers()) == sorted("server." + s for s in servers), "servers", site.existing())
        check(len(site.effects()) == len(servers), "an effect happened twice", site.effects())
        check("ended by SIGKILL" in site.log(), "the log says what happened", site.log())


def leaves_no_process():
    """An engine that is killed takes its helpers along."""
    with site_with_isolated() as site:
        engine = site.start_engine()
        pids = helpers(engine.pid)
        check(len(pids) == 1, "one helper", pids)
        os.kill(engine.pid, signal.SIGKILL)
        engine.wait()
        wait_for("the helper's end", lambda: not alive(pids[0]))



main([runs_and_undoes, killed_again_and_again, leaves_no_process])
