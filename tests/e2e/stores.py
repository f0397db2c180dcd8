#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sites with several stores: which one is the home store, in which one a run keeps its stream, and what of
that survives crashes.

The provider is testcloud, a cloud in a folder; the programs are the real ones.
Arguments: names of tests, to run only these.
"""
import json
import os
import shutil
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from live import PATIENCE, SANITIZED, Site, check, main, wait_for  # noqa: E402


def workflow(store=None, name="shop", servers=("web-0", "web-1"), scripts=None):
    """`store`: its monitoring.state_store; `scripts`: what testcloud does for a server."""
    definition = {
        "name": name, "type": "batch",
        "retry_policy": {"max_attempts": 3, "backoff": "linear", "initial_delay": 0, "max_delay": 0},
        "servers": [{"name": s, "provider": "testcloud", "cpu": 1,
                     **({"testcloud": scripts[s]} if scripts and s in scripts else {})} for s in servers],
        "operations": [
            {"id": "make", "type": "create", "target": "server", "items": list(servers), "on_failure": "fail"},
            {"id": "install", "type": "create", "target": "taskserv", "items": ["testserv"],
             "depends_on": ["make"], "on_failure": "fail"}],
    }
    if store:
        definition["monitoring"] = {"state_store": store}
    return {name: definition}


def status(site, run):
    return site.prvng("batch", "status", run, "--format", "json").expect(0).json()


def accepted(site):
    """What the site stream says of each run."""
    lines = [json.loads(line) for line in site.prvng("store", "cat").expect(0).out.splitlines()]
    return [r for r in lines if r["type"] == "accepted"]


def streams_of_file(site):
    """The streams in the store file, which needs no program to be looked at."""
    folder = os.path.join(site.state, "stores", "file", "streams")
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def same_seen_by_both(site, run):
    """The living engine, and a command that reads the journals itself, say the same of a run."""
    fresh = status(site, run)
    code, living = site.get(f"/workflows/{run}/status")
    check(code == 200 and fresh == living, "the engine sees another run", json.dumps(fresh), json.dumps(living))
    lines = site.prvng("batch", "events", run, "--format", "json").expect(0).out.splitlines()
    check([json.loads(line)["seq"] for line in lines] == list(range(1, len(lines) + 1)), "events", lines)
    return fresh


def end_engine(site):
    pid = site.engine()
    if pid:
        os.kill(pid, signal.SIGTERM)
        site.reap(pid)


# The home store


def new_site():
    """A site whose configuration names no store begins with rkvs."""
    with Site(store=None, plugins=("rkvs",)) as site:
        doc = site.prvng("config", "check", "--format", "json").expect(0).json()
        check(doc["store"] == "rkvs" and not doc["notices"], "the default", doc)
        site.prvng("batch", "submit", site.write("w.json", workflow()), "--watch").expect(0, "succeeded")
        check(os.listdir(os.path.join(site.state, "stores")) == ["rkvs"], "other stores",
              os.listdir(os.path.join(site.state, "stores")))
        check(accepted(site)[0]["store"] == "rkvs", "the record", accepted(site))
        same_seen_by_both(site, "shop")
        site.prvng("store", "check").expect(0)
        site.kill_engine()
        check(status(site, "shop")["status"] == "succeeded", "it is forgotten without the engine")
        site.prvng("batch", "submit", "w.json", "--watch").expect(0, "unchanged")
        check(len(site.effects()) == 4 and not site.violations(), "effects", site.effects())


def old_site():
    """A site that began with the store file goes on with it, and says so."""
    with Site(store="file", plugins=("rkvs",)) as site:
        site.prvng("batch", "submit", site.write("w.json", workflow()), "--watch").expect(0)
        end_engine(site)
        conf = site.path("config/prvng/prvng.conf")
        with open(conf, encoding="utf-8") as f:
            text = f.read().replace('store = "file";\n', "")
        site.write("config/prvng/prvng.conf", text)
        doc = site.prvng("config", "check", "--format", "json").expect(0).json()
        check(doc["store"] == "file" and len(doc["notices"]) == 1 and "rkvs" in doc["notices"][0],
              "config check says nothing", doc)
        site.prvng("config", "check").expect(0, 'goes on with "file"')
        site.prvng("batch", "submit", "w.json", "--watch").expect(0, "unchanged")
        check("goes on with" in site.log(), "the engine says nothing", site.log())
        check(len(site.effects()) == 4, "the inventory was forgotten", site.effects())
        check(not os.path.exists(os.path.join(site.state, "stores", "rkvs")), "there is a second store")


def other_home():
    """Another home store in the configuration, and an empty one: refused, before all is forgotten."""
    with Site(store="file", plugins=("rkvs",)) as site:
        site.prvng("batch", "submit", site.write("w.json", workflow()), "--watch").expect(0)
        end_engine(site)
        conf = site.path("config/prvng/prvng.conf")
        with open(conf, encoding="utf-8") as f:
            text = f.read().replace('store = "file"', 'store = "rkvs"')
        site.write("config/prvng/prvng.conf", text)
        r = site.prvng("batch", "submit", "w.json", "--watch").expect(7, 'store = "file"', "prvng store migrate")
        check(not accepted_anything(site), "it was accepted", r)
        check(len(site.effects()) == 4, "effects", site.effects())


def accepted_anything(site):
    return site.prvng("batch", "list", "--format", "json").expect(0).json()["workflows"]


# The store of a run


def chosen_store(home="rkvs", store="file"):
    """A run that chose the store file on a site of rkvs survives SIGKILL of the engine and goes on."""
    with Site(store=home, plugins=("rkvs",)) as site:
        slow = {"web-0": {"pending_ms": 1500}, "web-1": {"begin_ms": 1000}}
        file = site.write("w.json", workflow(store, scripts=slow))
        p = site.popen("batch", "submit", file, "--watch")
        wait_for("an effect", lambda: site.effects() or p.poll() is not None)
        check(p.poll() is None, "the run is over already")
        run = status(site, "shop")["id"]
        first = site.kill_engine()
        check(status(site, run)["status"] == "running", "what a command sees without an engine")
        r = site.finish(p).expect(0, "went away", "succeeded")
        check(site.engine() not in (0, first), "no other engine", r)
        check(len(site.effects()) == 4 and not site.violations(), "effects", site.effects())
        seen = same_seen_by_both(site, run)
        check(seen["status"] == "succeeded" and all(t["status"] == "succeeded" for t in seen["tasks"]), "tasks", seen)
        check(accepted(site)[-1]["store"] == store, "the record", accepted(site))
        check((f"run-{run}" in streams_of_file(site)) == (store == "file"), "streams", streams_of_file(site))
        check(("site" in streams_of_file(site)) == (home == "file"), "streams", streams_of_file(site))

        # another run of the same workflow in the other store: one inventory
        other = site.write("other.json", workflow(home, scripts=slow))
        site.prvng("batch", "submit", other, "--watch").expect(0, "unchanged")
        check(len(site.effects()) == 4, "effects", site.effects())
        check([a["store"] for a in accepted(site)] == [store, home], "records", accepted(site))
        site.prvng("audit", "verify").expect(0)
        site.kill_engine()
        same = status(site, run)
        check(same == seen, "it is another one without an engine", json.dumps(same), json.dumps(seen))
        site.prvng("audit", "verify").expect(0)
        site.prvng("batch", "destroy", "shop", "--watch").expect(0)
        check(not site.servers(), "servers are left", site.existing())
        check(accepted(site)[-1]["store"] == home, "destroy chose nothing", accepted(site))


def chosen_rkvs():
    """The same the other way round: rkvs on a site of file."""
    chosen_store("file", "rkvs")


def rolled_back_later():
    """A run that has ended is taken up again in the store that it is in."""
    with Site(store="rkvs") as site:
        site.prvng("batch", "submit", site.write("w.json", workflow("file")), "--watch").expect(0)
        end_engine(site)
        site.prvng("batch", "rollback", "shop", "--watch").expect(4)
        check(not site.servers(), "servers are left", site.existing())
        same_seen_by_both(site, "shop")
        check(not site.violations(), "violations", site.violations())


def unknown_store():
    """A store that the site does not have is an error that says which it has; the default is none."""
    with Site(store="file") as site:
        bad = site.write("bad.json", workflow("postgres"))
        for more in ((), ("--dry-run",)):
            r = site.prvng("batch", "submit", bad, *more).expect(3, "state_store", "postgres", "it has: ", "file")
            check("bad.json:" in r.err, "no place", r)
        site.prvng("batch", "submit", site.write("rkvs.json", workflow("rkvs")), "--watch").expect(3, '"rkvs"')
        check(not accepted_anything(site), "something was accepted")
        r = site.prvng("batch", "submit", site.write("w.json", workflow()), "--watch").expect(0, "succeeded")
        check("rkvs" not in r.out + r.err, "the default is told of", r)
        check(accepted(site)[0]["store"] == "file", "the record", accepted(site))


def store_gone():
    """A run whose store the site has no more: it is named, with its store, and nothing else is held up by
    one that has ended."""
    with Site(store="rkvs") as site:
        site.prvng("batch", "submit", site.write("w.json", workflow("file")), "--watch").expect(0)
        run = status(site, "shop")["id"]
        end_engine(site)
        packaged = site.path("packaged/file.conf")
        away = site.path("file.conf")
        shutil.move(packaged, away)
        r = site.prvng("batch", "status", run)
        check(r.code != 0 and '"file"' in r.err and run in r.err, "it does not say why", r)
        site.prvng("batch", "submit", site.write("other.json", workflow(name="other", servers=("db-0",))),
                   "--watch").expect(0)
        end_engine(site)
        shutil.move(away, packaged)
        check(status(site, run)["status"] == "succeeded", "it is not back")

        slow = {"app-0": {"pending_ms": 60000}}
        file = site.write("slow.json", workflow("file", "slow", ("app-0",), slow))
        site.prvng("batch", "submit", file).expect(0)
        wait_for("an effect", lambda: any(e["name"] == "app-0" for e in site.effects()))
        run = status(site, "slow")["id"]
        site.kill_engine()
        shutil.move(packaged, away)
        engine = site.start_engine(expect_ready=False)
        check(engine.wait(PATIENCE) == 7, f"exit code {engine.returncode}")
        check(run in engine.said and '"file"' in engine.said, "it does not say why", engine.said)
        shutil.move(away, packaged)
        site.prvng("batch", "cancel", "slow").expect(0)


# Crashes between two stores


def killed_at(home, store, crashes):
    """A run in one store of a site of another, where an engine dies at these records; all effects are
    there once, and no stream that nobody knows is left."""
    with Site(store=home, plugins=("rkvs",)) as site:
        file = site.write("w.json", workflow(store))
        env = {"PRVNG_CRASH": crashes, "PRVNG_CRASH_STATE": site.path("crashed")}
        site.start_engine(env=env, expect_ready=False)
        said = []
        for _ in range(6):
            runs = accepted_anything(site)
            check(len(runs) <= 1, "there are two runs", runs)
            command = ("batch", "attach", runs[0]["id"]) if runs else ("batch", "submit", file, "--watch")
            said.append(site.prvng(*command, env=env))
            if said[-1].code != 7:
                break
        said[-1].expect(0)
        check(len(site.effects()) == 4 and not site.violations(), f"{crashes}: effects", site.effects(), *said)
        seen = same_seen_by_both(site, "shop")
        check(seen["status"] == "succeeded", f"{crashes}: the run", seen)
        site.prvng("audit", "verify").expect(0)
        end_engine(site)
        site.start_engine()  # with it, what the last crash left is gone
        for name in ("crashstore", "file"):
            folder = os.path.join(site.state, "stores", name, "streams")
            left = os.listdir(folder) if os.path.isdir(folder) else []
            check(set(left) <= {"site", f"run-{seen['id']}"}, f"{crashes}: streams are left", left)
        return sum(p.poll() == -9 for p in site.spawned)


def crashes_of_runs():
    """The engine dies at each record of a run in a second store; the site stream is in rkvs."""
    died_everywhere("rkvs", "crashstore")


def crashes_of_the_site():
    """The engine dies at each record of the site stream; the run is in rkvs."""
    died_everywhere("crashstore", "rkvs")


def died_everywhere(home, store):
    ways = ("before", "torn", "after")
    numbers = range(1, 28, 6 if SANITIZED else 1) if home == "rkvs" else range(1, 9)
    cases = [f"{n}:{ways[i % 3]}" for i, n in enumerate(numbers)]
    cases += ["3:after,1:cut", "20:torn,1:copied"] if home == "rkvs" else ["3:after,1:torn", "5:torn,1:cut"]
    with ThreadPoolExecutor(2) as pool:
        died = sum(pool.map(lambda c: killed_at(home, store, c), cases))
    check(died >= 5, f"only {died} engines died")
    print(f"# {died} engines died", flush=True)


if __name__ == "__main__":
    main([new_site, old_site, other_home, chosen_store, chosen_rkvs, rolled_back_later, unknown_store, store_gone,
          crashes_of_runs, crashes_of_the_site], parallel=2)
