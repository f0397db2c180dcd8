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
from live import Skip, check, main, wait_for  # noqa: E402

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


KCL = """import workflows

shop = workflows.WorkflowDef {
    name = "shop"
    networks = [
        workflows.NetworkDef {name = "private", address = "10.8.0.0/22"}
        workflows.NetworkDef {name = "db", provider = "testnet", testnet = {router = True}}
    ]
    security_groups = [
        workflows.SecurityGroupDef {name = "default", rules = [
            workflows.RuleDef {port = 22, source = "192.0.2.0/24"}
            workflows.RuleDef {ports = "8000-8100", protocol = "udp"}
        ]}
        workflows.SecurityGroupDef {name = "inner", rules = []}
    ]
    servers = [
        workflows.ServerDef {name = "db-0", networks = ["db"], security_groups = ["inner"]}
    ]
    operations = [
        workflows.OperationDef {id = "make", type = "create", target = "server", items = ["db-0"]}
    ]
}
"""


def shared_in_kcl():
    """The schemas of the KCL module say the same."""
    with Site() as site:
        if "PRVNG_KCL_PYTHON" not in site.env:
            raise Skip("PRVNG_KCL_PYTHON names no Python that has kcl_lib; scripts/test sets it")
        site.write("shop.k", KCL)
        p = site.prvng("batch", "submit", "shop.k", "--dry-run", "--format", "json").expect(0).json()
        # Networks first: groups stand in them.
        check([t["id"] for t in p["tasks"]] == [IMPLIED[0], "(implied)/network.db@testnet", IMPLIED[1],
                                                "(implied)/security_group.inner@testnet", "make/db-0"], "tasks", p)
        site.prvng("batch", "submit", "shop.k", "--watch").expect(0)
        spec = {k: r["spec"] for k, r in resources(site).items()}
        check(spec["network.db@testnet"] == {"name": "db", "testnet": {"router": True}}, "a network", spec)
        check(spec[GROUP]["rules"] == [
            {"direction": "in", "protocol": "tcp", "port": 22, "source": "192.0.2.0/24", "action": "accept"},
            {"direction": "in", "protocol": "udp", "ports": "8000-8100", "action": "accept"}], "the rules", spec)
        check(spec["security_group.inner@testnet"]["rules"] == [], "no rules", spec)


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


def hold(site, kind, shut=True):
    """Nothing of that kind is made while it is shut."""
    gate = os.path.join(site.world, "gates", kind)
    os.makedirs(os.path.dirname(gate), exist_ok=True)
    if not shut:
        os.unlink(gate)
        return
    with open(gate, "w", encoding="utf-8"):
        pass


def calls(site):
    path = os.path.join(site.world, "calls.log")
    return open(path, encoding="utf-8").read() if os.path.exists(path) else ""


def told(site, run, task):
    return {t["id"]: (t.get("waits_until") or {}).get("message") or "" for t in status(site, run)["tasks"]}[task]


def two_in_flight(site, kill=False, **first):
    """Two workflows at once that need the same network; the first is making it. Their commands."""
    hold(site, "network")
    one = run_until(site, cloud("one", servers=("one-0", "one-1"), **first), "the begin of the network",
                    lambda: "begin create network private" in calls(site))
    two = site.popen("batch", "submit", site.write("two.json", cloud("two", servers=("two-0",))), "--watch")
    wait_for("the second run's wait", lambda: site.prvng("batch", "status", "two").code == 0 and
             NETWORK + ", which run" in told(site, "two", IMPLIED[0]))
    id_ = status(site, "one")["id"]
    check(f"which run {id_} of workflow \"one\" is making" in told(site, "two", IMPLIED[0]), "what it waits for",
          told(site, "two", IMPLIED[0]))
    if kill:
        site.kill_engine()
    hold(site, "network", False)
    return one, two


def shared_in_flight():
    """Two workflows in flight share what the first makes, also when the engine is killed in between."""
    for kill in (False, True):
        with Site() as site:
            one, two = two_in_flight(site, kill)
            site.finish(one).expect(0)
            r = site.finish(two).expect(0)
            check(f"{NETWORK} is shared with run" in r.out + r.err, "no word of it at the start", r)
            check(made(site).count("network.private") == made(site).count("security_group.default") == 1, "made twice",
                  made(site))
            check(statuses(site, "two")[IMPLIED[0]] == "unchanged", "the task", statuses(site, "two"))
            check(resources(site)[NETWORK]["workflow"] == "one", "whose it is", resources(site)[NETWORK])
            check(not site.violations(), "violations", site.violations())
            site.prvng("audit", "verify").expect(0)
            r = site.prvng("batch", "destroy", "one", "--watch").expect(0)
            check(f"{NETWORK} stays" in r.out + r.err or f"{GROUP} stays" in r.out + r.err, "why it stays", r)
            site.prvng("batch", "destroy", "two", "--watch").expect(0)
            site.prvng("batch", "destroy", "one", "--watch").expect(0)
            check(site.existing() == [], "something is left", site.existing())


def shared_in_flight_undone():
    """The first fails and is rolled back: what the second is about to build on stays."""
    for kill in (False, True):
        with Site() as site:
            one, two = two_in_flight(site, kill, scripts={"one-1": REFUSED}, on_failure="rollback")
            site.finish(one).expect(4)
            site.finish(two).expect(0)
            check(site.existing() == ["network.private", "security_group.default", "server.two-0"], "what is left",
                  site.existing())
            check(made(site, "create").count("network.private") == 1 and not site.violations(), "made again", made(site))
            s = {t["id"]: t for t in status(site, "one")["tasks"]}
            check("stays" in s[IMPLIED[0]]["message"], "why it stays", s)
            site.prvng("batch", "destroy", "two", "--watch").expect(0)
            site.prvng("batch", "destroy", "one", "--watch").expect(0)
            check(site.existing() == [], "something is left", site.existing())


def shared_in_flight_not_alike():
    """Another spec of what a run in flight makes is refused, with both named."""
    with Site() as site:
        hold(site, "network")
        one = run_until(site, cloud("one"), "the begin of the network",
                        lambda: "begin create network private" in calls(site))
        other = cloud("other", servers=("db-0",), networks=[{"name": "private", "address": "10.8.0.0/22"}])
        r = site.prvng("batch", "submit", site.write("other.json", other)).expect(3)
        id_ = status(site, "one")["id"]
        check(f"{NETWORK} is needed by workflow \"other\", but run {id_} of workflow \"one\"" in r.err and
              "address: there null, here \"10.8.0.0/22\"" in r.err, "the refusal", r)
        hold(site, "network", False)
        site.finish(one).expect(0)


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


def changed_while_paused():
    """A paused run takes --replace and --prune with a changed definition; the difference is shown first."""
    with Site() as site:
        specs = {"web-0": {"image": "deb12"}}
        submit(site, cloud(servers=("web-0", "old-0"), specs=specs))
        w = cloud(servers=("new-0", "web-0"), specs=specs, scripts={"new-0": {"gate": {"verb": "create", "unless": "go"}}})
        w["shop"]["operations"] = [
            {"id": "first", "type": "create", "target": "server", "items": ["new-0"]},
            {"id": "rest", "type": "create", "target": "server", "items": ["web-0"], "depends_on": ["first"]}]
        run = site.prvng("batch", "submit", site.write("w.json", w)).expect(0).out.strip()
        p = site.popen("batch", "attach", run)
        wait_for("new-0", lambda: statuses(site, run).get("first/new-0") == "running")
        site.prvng("batch", "pause", run).expect(0)
        with open(os.path.join(site.world, "go"), "w", encoding="utf-8"):
            pass
        wait_for("what was in flight", lambda: statuses(site, run)["first/new-0"] == "succeeded")
        w["shop"]["servers"][1]["image"] = "deb13"
        file = site.write("new.json", w)
        for option in (["--prune"], ["--replace", "web-0"]):
            site.prvng("batch", "resume", run, *option).expect(2, f"{option[0]} goes with --definition")
        asked = "batch", "resume", run, "--definition", file
        site.prvng(*asked, "--dry-run").expect(3, "--replace server.web-0")
        r = site.prvng(*asked, "--replace", "web-0", "--prune", "--dry-run").expect(0, "(prune)/", "old-0", "rest/web-0")
        check("server.old-0" in site.existing() and not made(site, "delete"), "a dry run did something", r)
        r = site.prvng(*asked, "--replace", "web-0", "--prune").expect(2, "--yes", "old-0")
        r = site.prvng(*asked, "--replace", "web-0", "--prune", "--yes", "--watch").expect(0, "(prune)/")
        site.finish(p).expect(0)
        check(made(site, "delete") == ["server.old-0", "server.web-0"], "what was deleted", made(site))
        check(made(site, "create").count("server.web-0") == 2, "it was not made anew", made(site))
        check(resources(site)["server.web-0"]["spec"]["image"] == "deb13" and "server.old-0" not in resources(site),
              "the inventory", resources(site))
        check(not site.violations(), "an op id acted twice", site.violations())


# Adoption


def by_hand(site, kind, name, spec, **outputs):
    """Something that nobody made with prvng."""
    os.makedirs(os.path.join(site.world, "resources"), exist_ok=True)
    with open(os.path.join(site.world, "resources", f"{kind}.{name}"), "w", encoding="utf-8") as f:
        json.dump({"kind": kind, "name": name, "op_id": "", "workflow": "", "site": "", "spec": spec,
                   "result": {"name": name, "state": "running", "id": "id-" + name, **outputs}}, f)


def adopt():
    """What is there becomes a workflow's: shown, then in the inventory; the next run finds no difference."""
    with Site() as site:
        size = {"cpu": 1, "memory": 1024, "disk": 10}
        by_hand(site, "server", "web-0", {"name": "web-0", **size, "zone": "here"})
        by_hand(site, "network", "private", {"name": "private", "address": "10.3.0.0/24", "zone": "here"})
        by_hand(site, "server", "Herr Weber", {"name": "Herr Weber", **size})
        r = site.prvng("resource", "adopt", "testnet", "server", "id-web-0", "--dry-run").expect(0, "zone: here")
        check(resources(site) == {}, "a dry run adopted it", r)
        site.prvng("resource", "adopt", "testnet", "server", "id-web-0", "--workflow", "shop").expect(
            0, "server.web-0", "belongs to workflow shop now")
        site.prvng("resource", "adopt", "testnet", "network", "private", "--workflow", "shop").expect(0, NETWORK)
        for id_ in ("web-0", "id-web-0"):
            site.prvng("resource", "adopt", "testnet", "server", id_).expect(1, "belongs to workflow \"shop\" (adopted)")
        site.prvng("resource", "adopt", "testnet", "server", "web-0", "--as", "other").expect(1, "as server.web-0")
        site.prvng("resource", "adopt", "testnet", "server", "nobody").expect(1, "has no server \"nobody\"")
        site.prvng("resource", "adopt", "testnet", "server", "twins").expect(1, "two have that name: id-a, id-b")
        site.prvng("resource", "adopt", "testcloud", "server", "web-0").expect(1, "prvng.provider.inventory/1")
        site.prvng("resource", "adopt", "nimbus", "server", "web-0").expect(1, "no provider \"nimbus\"")
        site.prvng("resource", "adopt", "testnet", "server", "Herr Weber").expect(1, "--as NAME")
        site.prvng("resource", "adopt", "testnet", "server", "Herr Weber", "--as", "weber").expect(0, "workflow adopted")
        r = site.prvng("batch", "submit", site.write("w.json", cloud()), "--dry-run", "--format", "json").expect(0).json()
        check([t["verb"] for t in r["tasks"]] == ["create"] * 3 and not any(t["difference"] for t in r["tasks"]),
              "differences", r["tasks"])
        submit(site, cloud())
        s = statuses(site, "shop")
        check(s["make/web-0"] == s[IMPLIED[0]] == "unchanged", "it was made again", s)
        rollback = site.prvng("batch", "rollback", "shop", "--watch").expect(4)
        check("server.web-0" in resources(site) and site.servers() == ["server.Herr Weber", "server.web-0"],
              "what was adopted was undone", rollback)
        site.prvng("audit", "verify").expect(0)
        log = site.prvng("store", "cat", "site").expect(0).out
        check(any(r["type"] == "resource" and r.get("who", {}).get("user") for r in map(json.loads, log.splitlines())),
              "nobody knows who adopted it", log)
        status_, answer = site.get("/resources/adopt", "POST", {"key": "server.x", "plugin": "testnet", "spec": {}})
        check(status_ == 422 and "provider/PROVIDER" in answer["error"]["message"], "the API", answer)


# Prechecks


def online():
    """--online asks the providers: what they have against a plan stands at its place; exit code 3."""
    with Site() as site:
        w = cloud(servers=("web-0", "web-1"), specs={"web-1": {"zone": "nowhere"}}, scripts={"web-0": {"quota": 1}})
        w["shop"]["servers"].append({"name": "old-0", "provider": "testcloud"})
        w["shop"]["operations"][0]["items"].append("old-0")
        file = site.write("w.json", w)
        site.prvng("batch", "submit", file, "--validate").expect(0)
        r = site.prvng("batch", "submit", file, "--validate", "--online").expect(3)
        line = next((n for n, text in enumerate(open(file, encoding="utf-8"), 1) if "nowhere" in text), 0)
        check(f"w.json:{line}:" in r.err and "servers[1].zone" in r.err and "there are here, there" in r.err, "the place", r)
        check("the quota is used up" in r.err, "what concerns all", r)
        check("provider testcloud was not asked" in r.err and "prices are not looked at" in r.err, "notices", r)
        r = site.prvng("batch", "submit", file, "--dry-run", "--online").expect(3)
        check("create servers" in r.out and "no zone nowhere" in r.err, "the plan beside it", r)
        p = site.prvng("batch", "submit", file, "--validate", "--online", "--format", "json").expect(3).json()["problems"]
        check(any(q["line"] == line and q["path"] == "servers[1].zone" for q in p), "the document", p)
        site.write("good.json", cloud())
        site.prvng("batch", "submit", "good.json", "--validate", "--online").expect(0, "is valid")
        with open(os.path.join(site.world, "offline"), "w", encoding="utf-8"):
            pass
        site.prvng("batch", "submit", "good.json", "--validate", "--online").expect(7, "could not be asked", "does not answer")
        site.prvng("batch", "submit", "good.json", "--online").expect(2, "--validate")
        check(not site.engine() and not made(site), "something was started", made(site))


# Credentials


def rotate():
    """A run of its own renews the credential; it shows id and end of validity."""
    with Site() as site:
        r = site.prvng("secret", "rotate", "testnet").expect(0)
        check("key-2" in r.out and "2027-01-31T00:00:00Z" in r.out, "what it is", r)
        check(made(site) == ["credential.testnet"], "effects", made(site))
        check(statuses(site, "rotate-testnet") == {"rotate/testnet": "succeeded"}, "tasks", statuses(site, "rotate-testnet"))
        site.prvng("secret", "rotate", "testnet").expect(0)
        check(resources(site)["credential.testnet"]["workflow"] == "rotate-testnet", "the inventory", resources(site))
        site.prvng("batch", "destroy", "rotate-testnet").expect(3, "owns nothing")
        site.prvng("secret", "rotate", "nimbus").expect(3, "no provider \"nimbus\"")
        site.prvng("secret", "rotate", "noop").expect(3, "no credential")
        site.prvng("batch", "rollback", "rotate-testnet", "--watch").expect(5, "could not be undone")


def rotate_after_a_crash():
    """An engine that was killed in the middle of it goes on with the same op id."""
    with Site() as site:
        submit(site, cloud())
        gate = os.path.join(site.world, "gates")
        os.makedirs(gate, exist_ok=True)
        site.write("world/gates/credential", "")
        p = site.popen("secret", "rotate", "testnet")
        wait_for("the begin", lambda: "begin update credential testnet" in
                 open(os.path.join(site.world, "calls.log"), encoding="utf-8").read())
        site.kill_engine()
        os.unlink(os.path.join(gate, "credential"))
        site.finish(p).expect(0, "key-2")
        ids = {e["op_id"] for e in site.effects() if e["kind"] == "credential"}
        check(len(ids) == 1 and not site.violations(), "op ids", ids)


if __name__ == "__main__":
    main([shared_once, shared_found_by_marks, shared_defined, shared_in_kcl, shared_undone, shared_in_use,
          shared_in_flight, shared_in_flight_undone, shared_in_flight_not_alike, drift, changes, fewer,
          changed_while_paused, adopt, online,
          rotate, rotate_after_a_crash])
