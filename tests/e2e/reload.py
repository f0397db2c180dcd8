#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""SIGHUP: the engine reads its configuration and its plugins anew, without touching what runs."""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from live import BUILD, Site, check, main, wait_for  # noqa: E402


def workflow(name, servers, script=None, provider="testcloud"):
    return {name: {
        "name": name,
        "servers": [{"name": s, "provider": provider, **({"testcloud": script} if script else {})} for s in servers],
        "operations": [{"id": "make", "type": "create", "target": "server", "items": servers,
                        "on_failure": "fail"}]}}


def records(site, run):
    run_id = site.prvng("batch", "status", run, "--format", "json").expect(0).json()["id"]
    text = site.prvng("batch", "events", run_id, "--format", "json").expect(0).out
    return run_id, text


def ready(site, n):
    """That many engines have said so."""
    return wait_for(f"{n} engines that are ready", lambda: site.log().count(": ready") >= n)


def goes_on_untouched():
    """A run in flight goes on in the engine that reads its configuration anew: same process, nothing in doubt."""
    servers = [f"web-{i}" for i in range(12)]
    with Site() as site:
        # Calls that take a while, and operations that take longer than one call.
        definition = workflow("shop", servers, {"begin_ms": 200, "polls": 3, "poll_ms": 150})
        engine = site.start_engine()
        p = site.popen("batch", "submit", site.write("w.json", definition), "--watch")
        wait_for("the first effects", lambda: len(site.effects()) >= 3)
        os.kill(engine.pid, signal.SIGHUP)
        wait_for("the engine starts again", lambda: "starts again" in site.log())
        site.finish(p).expect(0, "succeeded")
        check(engine.poll() is None and site.engine() == engine.pid, "the service has another pid", site.log())
        check(sorted(site.servers()) == sorted("server." + s for s in servers), "servers", site.existing())
        check(len(site.effects()) == len(servers), "an effect happened twice", site.effects())
        _, text = records(site, "shop")
        check('"doubt"' not in text, "a call was left behind", text)


def new_plugin():
    """A plugin that a package brought can be used after SIGHUP, one that went is refused with a sentence."""
    with Site() as site:
        engine = site.start_engine()
        site.prvng("batch", "submit", site.write("w.json", workflow("one", ["a"])), "--watch").expect(0)
        site.write("packaged/simcloud.conf", 'plugin: { name = "simcloud"; file = "'
                   f'{BUILD}/tests/plugins/simcloud.so"; config: {{ socket = "{site.path("none")}"; }}; }};\n')
        os.remove(site.path("packaged/testcloud.conf"))
        os.kill(engine.pid, signal.SIGHUP)
        ready(site, 1)
        wait_for("the engine with the new configuration",
                 lambda: site.log().count("ready") >= 2 and site.engine() == engine.pid)
        site.prvng("batch", "submit", site.write("x.json", workflow("two", ["b"])), "--watch").expect(3, "testcloud")
        site.prvng("batch", "submit", site.write("y.json", workflow("three", ["c"], provider="simcloud")),
                   "--dry-run").expect(0, "provider/simcloud")


def not_valid():
    """A configuration that is not valid is told in the log, and the engine goes on with the one it has."""
    with Site() as site:
        engine = site.start_engine()
        good = open(site.path("config/prvng/prvng.conf"), encoding="utf-8").read()
        site.write("config/prvng/prvng.conf", good + "wrkers = 3;\n")
        os.kill(engine.pid, signal.SIGHUP)
        wait_for("a word about it", lambda: "goes on with the one it has" in site.log())
        check("wrkers" in site.log(), "which key it is", site.log())
        site.write("config/prvng/prvng.conf", good)
        site.prvng("batch", "submit", site.write("w.json", workflow("one", ["a"])), "--watch").expect(0)
        check(engine.poll() is None and site.log().count("ready") == 1, "the engine started again", site.log())


main([goes_on_untouched, new_plugin, not_valid])
