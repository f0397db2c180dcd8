#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The real engine on stores that are full, or that two engines want: for each store, over a simulated cloud
that counts (tests/cloud). Arguments: names of tests, to run only these.
"""
import contextlib
import functools
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "support"))
from kills import STORES, Client, Cloud, Life, check_all, start, ulid  # noqa: E402
from live import BUILD, PATIENCE, Site, Skip, check, main, wait_for  # noqa: E402


def for_each_store(test):
    """The test once for each store, as test_STORE."""
    tests = []
    for store in STORES:
        one = functools.partial(test, store)
        one.__name__ = f"{test.__name__}_{store}"
        one.__doc__ = f"{store}: {test.__doc__}"
        tests.append(one)
    return tests


class Steady:
    """What Client wants of an engine that nobody kills."""
    wrong = None


@contextlib.contextmanager
def site_with_clouds(store):
    with Site(store=store, plugins=("rkvs",) if store == "rkvs" else ()) as site:
        clouds = {}
        try:
            for name in ("simcloud", "simtags"):
                clouds[name] = Cloud(site, name, 1)
                clouds[name].ask(do="mood", faults=0)
                site.dropin(name, os.path.join(BUILD, "tests", "plugins", name + ".so"),
                            f'socket = "{clouds[name].path}";')
            yield site, clouds
        finally:
            for cloud in clouds.values():
                cloud.close()


@contextlib.contextmanager
def small_disk(folder, size):
    """A tmpfs there; the caller sees to it that nobody uses it at the end."""
    if os.geteuid() != 0:
        raise Skip("needs root, to mount a small tmpfs")
    os.makedirs(folder)
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder],
                           capture_output=True, text=True, check=False)
    if mount.returncode:
        raise Skip(f"cannot mount a tmpfs: {mount.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def fill(path):
    with contextlib.suppress(OSError):
        with open(path, "ab", buffering=0) as f:
            for n in (65536, 1):
                with contextlib.suppress(OSError):
                    while True:
                        f.write(b"x" * n)


def submit_until_it_ends(site, engine):
    """Submits one workflow after the other, without waiting, until the engine ends. The runs that it
    acknowledged."""
    acknowledged = []
    for i in range(2000):
        life, run = Life(i, site.store), ulid()
        with contextlib.suppress(OSError, ValueError):
            status, said = site.get("/workflows/batch", "POST",
                                    {"id": run, "definition": life.definition(1, life.making())})
            if status == 202:
                acknowledged.append(run)
            else:
                check(status == 500, f"submitting on a full disk: {status}", said)
        if engine.poll() is not None:
            return acknowledged
    wait_for("the end of the engine", lambda: engine.poll() is not None)
    return acknowledged


def full_disk(store):
    """a full disk stops the engine with 7, loses nothing that was acknowledged, and it goes on with room."""
    with site_with_clouds(store) as (site, clouds), small_disk(os.path.join(site.state, "stores"), "24m"):
        try:
            engine = site.start_engine()
            fill(os.path.join(site.state, "stores", "ballast"))
            runs = submit_until_it_ends(site, engine)
            check(engine.returncode == 7, f"exit code {engine.returncode}", site.log())
            check("No space left" in site.log() or "room" in site.log(), "the log does not say why", site.log())
            known = {r["id"] for r in site.prvng("batch", "list", "--format", "json").expect(0).json()["workflows"]}
            check(set(runs) <= known, "a run was acknowledged and is not known", runs, sorted(known))

            engine = site.start_engine(expect_ready=False)  # nothing has changed
            if engine.said == "ok":  # recovery may have made room for a little more
                engine.kill()
                engine.wait()
            else:
                check("No space left" in engine.said or "room" in engine.said, "it does not say why", engine.said)
                check(engine.wait(PATIENCE) == 7, f"exit code {engine.returncode}", site.log())

            os.unlink(os.path.join(site.state, "stores", "ballast"))
            site.start_engine()
            wait_for("the end of all runs", lambda: all(
                r["exit_code"] == 0 for r in site.get("/workflows")[1]["workflows"]))
            done = {r["id"] for r in site.get("/workflows")[1]["workflows"]}
            check(set(runs) <= done and done == known, "not the same runs", runs, sorted(known), sorted(done))
            check_all(site, clouds)
        finally:
            for p in site.spawned:
                if p.poll() is None:
                    p.kill()
                p.wait()


def two_engines(store):
    """of two engines that start at once one gets the store, and the other says which."""
    with site_with_clouds(store) as (site, clouds):
        client = Client(site, Steady())
        for i in range(8):
            pair = [start(site) for _ in range(2)]
            said = [read_line(r) for _, r in pair]
            check(sorted(s == "ok" for s in said) == [False, True], "not one of two has the store", said)
            winner, loser = (p for _, (p, _) in sorted(zip(said, pair), key=lambda x: x[0] != "ok"))
            check(loser.wait(PATIENCE) == 7, f"exit code {loser.returncode}", said)
            check(f"pid {winner.pid}" in " ".join(said) and os.uname().nodename in " ".join(said),
                  "it does not name pid and host", said)
            life = Life(i, store)
            client.wait(client.submit(life.definition(1, life.making())), 0)
            if i < 7:  # whoever starts while it dies waits for nobody, and gets the store or says why not
                winner.kill()
                winner.wait()
        check_all(site, clouds)


def read_line(fd):
    with os.fdopen(fd, encoding="utf-8") as f:
        return f.readline().strip()


if __name__ == "__main__":
    main([*for_each_store(full_disk), *for_each_store(two_engines)])
