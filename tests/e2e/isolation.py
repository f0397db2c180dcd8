#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the admin sees of plugins in processes of their own, and what those may not do."""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from live import BUILD, Site, check, main, wait_for  # noqa: E402

PLUGINS = os.path.join(BUILD, "tests", "plugins")


def isolate(site, more="", write=True):
    paths = f'paths: {{ write = [ "{site.world}" ]; }};' if write else ""
    site.dropin("testcloud", os.path.join(PLUGINS, "testcloud.so"), f'folder = "{site.world}";',
                f'isolation = "process"; capabilities: {{ {paths} {more} }};')


def workflow(servers, script=None, **more):
    return {"shop": {
        "name": "shop", **more,
        "retry_policy": {"max_attempts": 20, "backoff": "linear", "initial_delay": 1, "max_delay": 1},
        "servers": [{"name": s, "provider": "testcloud", **({"testcloud": script} if script else {})} for s in servers],
        "operations": [{"id": "make", "type": "create", "target": "server", "items": servers, "on_failure": "fail",
                        "parallel": False}]}}


def listed(site, name="testcloud"):
    plugins = site.prvng("plugin", "list", "--format", "json").expect(0).json()["plugins"]
    return next(p for p in plugins if p["name"] == name)


def shown():
    """The list, info and the plan say what an isolated plugin may reach; a run works in its sandbox."""
    with Site() as site:
        check(listed(site)["isolation"] == "none" or "PRVNG_TEST_ISOLATION" in os.environ, "not isolated", listed(site))
        isolate(site, 'hosts = [ "api.example.net:443" ]; secrets = [ "EXAMPLE_TOKEN" ];')
        p = listed(site)
        check(p["state"] == "isolated" and p["isolation"] == "process" and p["memory"] == 512, "isolated", p)
        check(p["capabilities"]["hosts"] == ["api.example.net:443"], "capabilities", p)
        site.prvng("plugin", "list").expect(0, "isolated", "enabled")
        info = site.prvng("plugin", "info", "testcloud", "--format", "json").expect(0).json()
        check(info["process"]["running"] and not info["process"]["quarantined"], "its process", info)
        check(info["process"]["user"] == os.geteuid(), "it needs the site's folders", info["process"])
        check(len(info["process"]["remarks"]) == 1, "why it has no user of its own", info["process"])
        file = site.write("w.json", workflow(["a"]))
        site.prvng("batch", "submit", file, "--dry-run").expect(
            0, "provider/testcloud 1.0 isolated: may reach api.example.net:443, secrets EXAMPLE_TOKEN, files to write "
               + site.world)
        lanes = site.prvng("batch", "submit", file, "--dry-run", "--format", "json").expect(0).json()["lanes"]
        check(lanes[0]["isolated"] and lanes[0]["may"].startswith("may reach api.example.net:443"), "lanes", lanes)
        site.prvng("batch", "submit", file, "--watch").expect(0, "succeeded")
        check(site.servers() == ["server.a"], "made", site.existing())


def refused_by_the_sandbox():
    """A plugin whose folder the site names but does not let it write cannot write there."""
    with Site() as site:
        isolate(site, write=False)
        r = site.prvng("plugin", "info", "testcloud", "--format", "json")
        if "no Landlock" in r.out:
            return
        site.prvng("batch", "submit", site.write("w.json", workflow(["a"])), "--watch")
        check(site.existing() == [] and not site.effects(), "it wrote outside of its folders", site.existing())


def wrong_capabilities():
    """A capability that is none is told with its place."""
    with Site() as site:
        isolate(site, 'hosts = [ "api.example.net" ];')
        site.prvng("plugin", "list").expect(3, "testcloud.conf:1", "hosts[0]", "api.example.net", "HOST:PORT")


def quarantine():
    """Five crashes, and the plugin is quarantined: the list says why and since when; SIGHUP ends it."""
    servers = [f"s{i}" for i in range(6)]
    with Site() as site:
        isolate(site)
        engine = site.start_engine()
        site.prvng("batch", "submit", site.write("w.json", workflow(servers, {"kill": "before"})))
        p = wait_for("a quarantine", lambda: (lambda q: q if q["state"] == "quarantined" else None)(listed(site)),
                     120)
        check("since 20" in p["reason"] and "SIGKILL" in p["reason"] and "SIGHUP" in p["reason"], "the reason", p)
        check(p["process"]["crashes"] >= 5 and not p["process"]["running"], "its process", p)
        site.prvng("plugin", "list").expect(0, "quarantined", "SIGKILL")
        status, doc = site.get("/plugins")
        q = next(x for x in doc["plugins"] if x["name"] == "testcloud")
        check(status == 200 and q["state"] == "quarantined", "GET /plugins", q)
        check(engine.poll() is None and site.engine() == engine.pid, "the engine went", site.log())
        os.kill(engine.pid, signal.SIGHUP)
        wait_for("its end", lambda: site.log().count("ready") >= 2 and listed(site)["state"] == "isolated")


if __name__ == "__main__":
    main([shown, refused_by_the_sandbox, wrong_capabilities, quarantine])
