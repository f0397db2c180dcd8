#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a provider of clouds needs: shared networks, drift, changes of what runs, adoption, prechecks and
rotation of credentials.

The provider is testnet, a cloud in a folder whose servers share a network and a security group.
Arguments: names of tests, to run only these.
"""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from commands import run_until, status, statuses, submit  # noqa: E402
from live import Site as AnySite  # noqa: E402
from live import check, main, wait_for  # noqa: E402

NETWORK, GROUP = "network.private@testnet", "security_group.default@testnet"
IMPLIED = ("(implied)/" + NETWORK, "(implied)/" + GROUP)
REFUSED = {"fail": [{"class": "PERMANENT", "effect": "NONE", "message": "no such plan"}]}


def Site(**more):  # pylint: disable=invalid-name
    return AnySite(conf='provider = "testnet";\n', **more)


def cloud(name="shop", servers=("web-0",), scripts=None, specs=None, on_failure="fail", **more):
    """A definition of servers at testnet; `scripts`: what testnet does for one, `specs`: more of one."""
    scripts, specs = scripts or {}, specs or {}
    return {name.replace("-", "_"): {
        "name": name,
        "retry_policy": {"max_attempts": 2, "backoff": "linear", "initial_delay": 0, "max_delay": 0},
        "operations": [{"id": "make", "type": "create", "target": "server", "items": list(servers),
                        "on_failure": on_failure}],
        "servers": [{"name": s, "cpu": 1, "zone": "here", **specs.get(s, {}),
                     **({"testnet": scripts[s]} if s in scripts else {})} for s in servers],
        **more}}


def resources(site):
    return {r["key"]: r for r in site.prvng("resource", "list", "--format", "json").expect(0).json()["resources"]}


def made(site, verb=None):
    """KIND.NAME of each effect, in no order."""
    return sorted(f"{e['kind']}.{e['name']}" for e in site.effects() if verb in (None, e["verb"]))


def drift_of(site, resource, **spec):
    """Somebody changes something by hand."""
    path = os.path.join(site.world, "resources", resource)
    with open(path, encoding="utf-8") as f:
        there = json.load(f)
    there["spec"].update(spec)
    with open(path, "w", encoding="utf-8") as f:
        json.dump(there, f)


# Shared resources


def shared_once():
    """Made once for all servers, before them; found again by the next run; gone with the last."""
    with Site() as site:
        submit(site, cloud(servers=("web-0", "web-1")))
        check(made(site) == ["network.private", "security_group.default", "server.web-0", "server.web-1"],
              "what was made", made(site))
        all_ = resources(site)
        check(all_["server.web-0"]["builds_on"] == f"{NETWORK} {GROUP}", "what it stands on", all_["server.web-0"])
        spec = all_[NETWORK]["spec"]
        check(spec == {"name": "private", "zone": "here"}, "the network's spec", spec)
        submit(site, cloud(servers=("web-0", "web-1", "web-2")))
        s = statuses(site, "shop")
        check(s[IMPLIED[0]] == s[IMPLIED[1]] == "unchanged" and s["make/web-2"] == "succeeded", "the second run", s)
        check(made(site).count("network.private") == 1, "made again", made(site))
        site.prvng("batch", "destroy", "shop", "--watch").expect(0)
        check(resources(site) == {} and site.existing() == [], "something is left", site.existing())


def shared_found_by_marks():
    """A site that knows nothing of it finds what carries its marks, and makes no other."""
    with Site() as site:
        submit(site, cloud())
        site.kill_engine()
        os.rename(os.path.join(site.state, "stores"), site.path("stores.old"))
        submit(site, cloud())
        s = statuses(site, "shop")
        check(set(s.values()) == {"unchanged"}, "tasks", s)
        check(made(site).count("network.private") == 1, "made again", made(site))


def shared_defined():
    """The definition says what they are like, and names more of them; a change is an update."""
    with Site() as site:
        w = cloud(specs={"web-0": {"networks": ["db"], "security_groups": ["web"]}},
                  networks=[{"name": "private", "address": "10.8.0.0/22"}, {"name": "db"}],
                  security_groups=[{"name": "web", "rules": [{"port": 443}]}])
        submit(site, w)
        all_ = resources(site)
        check(all_["server.web-0"]["builds_on"] == f"{NETWORK} {GROUP} network.db@testnet security_group.web@testnet",
              "what it stands on", all_)
        check(all_[NETWORK]["spec"]["address"] == "10.8.0.0/22", "the network's spec", all_[NETWORK])
        w["shop"]["security_groups"][0]["rules"].append({"ports": "8000-8100", "source": "10.0.0.0/8"})
        submit(site, w)
        check(made(site, "update") == ["security_group.web"], "updates", made(site, "update"))
        bad = cloud(networks=[{"name": "private", "address": "10.8.0.1/22"}])
        site.write("bad.json", bad)
        site.prvng("batch", "submit", "bad.json", "--validate").expect(3, "networks[0].address", "10.8.0.0/22")


def shared_undone():
    """A rollback takes away what its run made, if nothing else stands on it; else it says why it stays."""
    with Site() as site:
        bad = {"web-1": REFUSED}
        submit(site, cloud(servers=("web-0", "web-1"), scripts=bad, on_failure="rollback"), code=4)
        check(site.existing() == [] and resources(site) == {}, "something is left", site.existing())
        submit(site, cloud())
        first = status(site, "shop")["id"]
        submit(site, cloud("other", servers=("db-0",)))
        r = site.prvng("batch", "rollback", first, "--watch").expect(4)
        check(f"{GROUP} stays: server.db-0 of workflow \"other\" stands on it" in r.out, "why it stays", r)
        check(f"{NETWORK} stays: {GROUP}" in r.out, "what stays, and stands on it", r)
        check(set(resources(site)) == {NETWORK, GROUP, "server.db-0"}, "what is left", resources(site))
        s = {t["id"]: t for t in status(site, first)["tasks"]}
        check(s[IMPLIED[0]]["status"] == "succeeded" and "stays" in s[IMPLIED[0]]["message"], "the task", s)
        check(s["make/web-0"]["status"] == "undone", "the task", s)
        submit(site, cloud("other", servers=("db-0", "db-1"), scripts={"db-1": REFUSED}, on_failure="rollback"), code=1)
        check(set(resources(site)) == {NETWORK, GROUP, "server.db-0"}, "what an earlier run made", resources(site))
        site.prvng("batch", "destroy", "other", "--watch").expect(0)
        site.prvng("batch", "destroy", "shop", "--watch").expect(0)
        check(site.existing() == [], "something is left", site.existing())


def shared_in_use():
    """destroy leaves what another workflow's servers stand on, or a run in flight builds on."""
    with Site() as site:
        submit(site, cloud())
        slow = {"db-0": {"gate": {"verb": "create", "unless": "go"}}}
        p = run_until(site, cloud("other", servers=("db-0",), scripts=slow), "the begin of db-0",
                      lambda: os.path.exists(os.path.join(site.world, "calls.log")) and
                      "begin create server db-0" in open(os.path.join(site.world, "calls.log"), encoding="utf-8").read())
        r = site.prvng("batch", "destroy", "shop", "--watch").expect(0)
        check(f"{NETWORK} stays: run" in r.out + r.err, "no word about what stays", r)
        check("network.private" in site.existing() and "server.web-0" not in site.existing(), "what is left",
              site.existing())
        with open(os.path.join(site.world, "go"), "w", encoding="utf-8"):
            pass
        site.finish(p).expect(0)
        r = site.prvng("batch", "destroy", "shop", "--dry-run").expect(0)
        check("server.db-0 of workflow \"other\" stands on it" in r.out, "why it stays", r)
        site.prvng("batch", "destroy", "other", "--watch").expect(0)
        site.prvng("batch", "destroy", "shop", "--watch").expect(0)
        check(site.existing() == [], "something is left", site.existing())


# Drift


def drift():
    """batch check says what differs, attribute by attribute, and ends with 8; so do operations of type check."""
    with Site() as site:
        submit(site, cloud(servers=("web-0", "web-1")))
        site.prvng("batch", "check", "shop").expect(0)
        drift_of(site, "server.web-0", cpu=4, zone="there")
        drift_of(site, "security_group.default", rules=[])
        os.unlink(os.path.join(site.world, "resources", "server.web-1"))
        r = site.prvng("batch", "check", "shop").expect(8)
        check("server.web-0 differs from what was asked for: cpu: wanted 1, found 4; zone: wanted here, found there"
              in r.out, "the difference", r)
        check("server.web-1 differs from what was asked for: state: wanted present, found absent" in r.out,
              "what is gone", r)
        check(GROUP + " differs" in r.out and NETWORK + " differs" not in r.out, "what differs", r)
        check("differs from what was asked for: rules[0]: wanted {" in r.out, "the difference inside of a value", r)
        s = status(site, "shop")
        check(s["exit_code"] == 8 and s["metrics"]["drift"] == 3, "the document", s)
        message = {t["id"]: t.get("message", "") for t in s["tasks"]}
        check("found 4" in message["check/web-0"] and not message[f"check/{NETWORK}"], "the document", message)
        again = site.prvng("batch", "status", "shop").expect(0)
        check("found 4" in again.out, "status does not tell", again)
        ask = cloud(servers=("web-0", "web-1"))
        ask["shop"]["operations"][0]["type"] = "check"
        r = submit(site, ask, code=8)
        check("found absent" in r.out and "found 4" in r.out, "the difference", r)
        check(made(site, "update") == [] and not site.violations(), "a check changed something", made(site))


# Changes of what runs


def changes():
    """A change says first whether it is made live, needs a restart, or a replacement, which must be asked for."""
    with Site() as site:
        specs = {"web-0": {"image": "deb12", "labels": {"env": "test"}}}
        w = cloud(specs=specs)
        submit(site, w)
        server = w["shop"]["servers"][0]
        server.update(labels={"env": "prod"}, disk=40)
        file = site.write("w.json", w)
        r = site.prvng("batch", "submit", file, "--dry-run").expect(0)
        check('labels.env: "test" -> "prod"  (live)' in r.out and "disk: 10 -> 40  (restart)" in r.out and
              "needs a restart" in r.out, "how", r)
        r = submit(site, w)
        check("server.web-0: needs a restart" in r.err and "(live)" in r.err, "the difference before", r)
        server.update(image="deb13")
        before = made(site)
        file = site.write("w.json", w)
        r = site.prvng("batch", "submit", file, "--watch").expect(3)
        check("w.json:" in r.err and "servers[0].image" in r.err and "--replace server.web-0" in r.err, "the place", r)
        check(made(site) == before, "something was done", made(site))
        r = submit(site, w, "--replace", "server.web-0")
        check("server.web-0: is deleted and made anew" in r.err and "(replace)" in r.err, "the difference before", r)
        check(made(site, "delete") == ["server.web-0"] and made(site, "create").count("server.web-0") == 2,
              "effects", made(site))
        check(resources(site)["server.web-0"]["spec"]["image"] == "deb13", "the inventory", resources(site))
        r = submit(site, w, "--replace", "web-0")
        check("not replaced" in r.err and made(site, "delete") == ["server.web-0"], "replaced for nothing", r)
        site.prvng("batch", "submit", file, "--replace", "wob-0").expect(3, "wob-0")
        check(not site.violations(), "an op id acted twice", site.violations())


def fewer():
    """What the definition no longer names is told and stays; --prune deletes it, when all else is done."""
    with Site() as site:
        more = cloud(servers=("web-0", "web-1"), specs={"web-1": {"networks": ["db"]}}, networks=[{"name": "db"}])
        submit(site, more)
        r = submit(site, cloud())
        check("no longer defined, and left as they are: network.db@testnet, server.web-1; --prune" in r.err, "notice", r)
        check("server.web-1" in site.existing(), "it was deleted", site.existing())
        p = site.prvng("batch", "submit", site.path("w.json"), "--dry-run", "--format", "json").expect(0).json()
        check(p["undefined"] == ["network.db@testnet", "server.web-1"], "the document", p)
        site.prvng("batch", "submit", site.path("w.json"), "--dry-run", "--prune").expect(0, "(prune)", "- server.web-1")
        r = submit(site, cloud(), "--prune")
        check("server.web-1: is no longer defined" in r.err, "it is not said before", r)
        check(set(resources(site)) == {NETWORK, GROUP, "server.web-0"}, "the inventory", resources(site))
        check(site.servers() == ["server.web-0"] and "network.db" not in site.existing(), "what is left", site.existing())
        site.prvng("batch", "submit", site.path("w.json"), "--prune", "--only", "make").expect(3, "--prune")


if __name__ == "__main__":
    main([shared_once, shared_found_by_marks, shared_defined, shared_undone, shared_in_use, drift, changes, fewer])
