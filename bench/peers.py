#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares with other programs in the same run: rounds that take turns, then the median of the ratios.

Usage: peers.py [NAME...]       names as in NAMES, parts of them, or none for all

Prints one JSON object a line. What cannot be measured here has null as its value and the reason as
"absent". DBOS is fetched by npm into a temporary folder, which is done only if NAME asks for it; its
PostgreSQL is a private one, on a socket in that folder, and ends with this program.
"""
import contextlib
import glob
import json
import os
import pwd
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "support"))
from live import BUILD, Site  # noqa: E402

ENGINE = os.path.join(BUILD, "bench", "bench-engine")
ROUNDS = 5
N_GRAPH = 50000
N_TRUE = 10000
N_STEPS = 1000
DBOS = "@dbos-inc/dbos-sdk@5.3.0"


class Absent(Exception):
    """Why something cannot be measured here."""


def say(name, value, unit="1"):
    print(json.dumps({"name": name, "value": value, "unit": unit}), flush=True)


def need(program):
    if not shutil.which(program):
        raise Absent(f"{program} is not installed")


def timed(argv, **more):
    start = time.monotonic()
    r = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.PIPE, check=False, **more)
    took = time.monotonic() - start
    if r.returncode != 0:
        sys.exit(f"bench: {' '.join(argv)}: exit code {r.returncode}\n{r.stderr.decode()[-2000:]}")
    return took


def costs(measure):
    """Seconds that passed, and seconds of the processors."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = measure()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ratios(ours, theirs):
    """Medians of both and of their ratio; each is called once a round."""
    pairs = [(theirs(), ours()) for _ in range(ROUNDS)]
    return (statistics.median(o for _, o in pairs), statistics.median(t for t, _ in pairs),
            statistics.median(o / t for t, o in pairs))


def ninja():
    need("ninja")
    with Site(conf='provider = "noop";\n') as site:
        subprocess.run([ENGINE, "--write-graph", site.folder, str(N_GRAPH)], check=True)
        conf = site.path("config/prvng/prvng.conf")
        ours, theirs, ratio = ratios(
            lambda: timed([ENGINE, "--load-and-drain", conf, site.path("graph.json")], env=site.env),
            lambda: timed(["ninja", "-j2", "-C", site.folder]))
    say("peers.load_and_drain_50k.ms", ours * 1e3, "ms")
    say("peers.ninja_phony_50k.ms", theirs * 1e3, "ms")
    say("peers.load_and_drain_50k_over_ninja_phony", ratio)


def spawner(name):
    """A site whose servers are children, and the definition of N_TRUE of them."""
    site = Site(conf=f'provider = "{name}";\n')
    site.dropin(name, os.path.join(BUILD, "tests", "plugins", name + ".so"))
    site.write("true.json", {"name": "true", "type": "parallel", "operations": [
        {"id": "true", "type": "create", "target": "server", "timeout": 600,
         "items": [f"t{i}" for i in range(N_TRUE)]}]})
    return site


def run_true(name):
    """A new site each time: the second run of a workflow has other work to do."""
    with spawner(name) as site:
        start = time.monotonic()
        site.prvng("batch", "submit", "true.json", "--foreground", "--format", "json", timeout=900).expect(0)
        return time.monotonic() - start


def make():
    need("make")
    with tempfile.TemporaryDirectory(prefix="prvng-bench-") as folder:
        with open(os.path.join(folder, "Makefile"), "w", encoding="ascii") as f:
            targets = " ".join(f"t{i}" for i in range(N_TRUE))
            f.write(f".PHONY: all {targets}\nall: {targets}\n{targets}:\n\t@/bin/true\n")
        argv = ["make", "-j2", "-C", folder]
        rounds = [{"make": costs(lambda: timed(argv)),
                   "bare": costs(lambda: timed([ENGINE, "--spawn", str(N_TRUE), "2"])),
                   "bare_4": costs(lambda: timed([ENGINE, "--spawn", str(N_TRUE), "4"])),
                   "ours": costs(lambda: run_true("spawner"))} for _ in range(ROUNDS)]

        def middle(name, i, over=None):
            return statistics.median(r[name][i] / (r[over][i] if over else 1) for r in rounds)

        theirs = middle("make", 0)
        say("peers.spawn_true_durable.s", middle("ours", 0), "s")
        say("peers.make_true.s", theirs, "s")
        say("peers.spawn_true_durable_over_make_j2", middle("ours", 0, "make"))
        # The limit: a program that does nothing else, not durable, by 2 and by 4 at a time.
        say("peers.spawn_bare_over_make_j2", middle("bare", 0, "make"))
        say("peers.spawn_bare_4_over_make_j2", middle("bare_4", 0, "make"))
        # The same in seconds of the processors, the children's included, which others' work disturbs less.
        say("peers.spawn_true_durable_over_make_j2.cpu", middle("ours", 1, "make"))
        say("peers.spawn_bare_over_make_j2.cpu", middle("bare", 1, "make"))
        # Once: children as jobs, which outlive the engine; each has a keeper and synced files.
        say("peers.spawn_true_jobs_over_make_j2", run_true("spawnerjob") / theirs)


@contextlib.contextmanager
def postgres(folder):
    """A PostgreSQL of our own, reached by a socket in the folder; its address."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb")) or \
        [p for p in [shutil.which("initdb")] if p]
    if not found:
        raise Absent("postgresql is not installed")
    programs = os.path.dirname(found[-1])
    user = {}
    if os.geteuid() == 0:  # it refuses to run as root
        names = [p.pw_name for p in pwd.getpwall()]
        name = "postgres" if "postgres" in names else "nobody"
        user = {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": []}
        os.chown(folder, pwd.getpwnam(name).pw_uid, pwd.getpwnam(name).pw_gid)
    data = os.path.join(folder, "data")
    subprocess.run([os.path.join(programs, "initdb"), "-D", data, "-U", "bench", "-A", "trust", "-N"],
                   check=True, stdout=subprocess.DEVNULL, cwd=folder, **user)
    with open(os.path.join(folder, "log"), "wb") as log:
        server = subprocess.Popen(
            [os.path.join(programs, "postgres"), "-D", data, "-k", folder, "-c", "listen_addresses=",
             "-c", "wal_sync_method=fdatasync", "-c", "shared_buffers=256MB"],
            stdout=log, stderr=log, cwd=folder, **user)
    try:
        ready = [os.path.join(programs, "pg_isready"), "-q", "-h", folder, "-U", "bench"]
        for _ in range(300):
            if subprocess.run(ready, check=False).returncode == 0:
                break
            if server.poll() is not None:
                with open(os.path.join(folder, "log"), encoding="utf-8", errors="replace") as log:
                    raise Absent("postgresql does not start: " + log.read()[-300:].strip())
            time.sleep(0.1)
        yield f"postgresql://bench@localhost/bench?host={folder}"
    finally:
        server.send_signal(signal.SIGINT)  # ends sessions, then itself
        server.wait(60)


def chain_rate():
    """Of a chain of tasks over the store `file`, tasks a second."""
    env = dict(os.environ, PRVNG_TEST_PLUGINS=os.path.join(BUILD, "tests", "plugins"),
               PRVNG_TEST_STORE=os.path.join(BUILD, "plugins", "file.so"),
               PRVNG_TEST_JSON=os.path.join(BUILD, "plugins", "json.so"))
    r = subprocess.run([ENGINE, "--chain", str(N_STEPS)], env=env, check=True, capture_output=True)
    return float(r.stdout)


def dbos_rate(folder, env):
    r = subprocess.run(["node", os.path.join(folder, "dbos.cjs"), str(N_STEPS), "1"], env=env,
                       check=False, capture_output=True, text=True)
    if r.returncode != 0:
        raise Absent("DBOS failed: " + (r.stderr or r.stdout).strip()[-300:])
    return N_STEPS / float(r.stdout.split()[-1])


def dbos():
    need("node")
    need("npm")
    with tempfile.TemporaryDirectory(prefix="prvng-bench-") as folder, \
            tempfile.TemporaryDirectory(prefix="prvng-bench-pg-") as database:
        r = subprocess.run(["npm", "install", "--no-audit", "--no-fund", DBOS], cwd=folder,
                           check=False, capture_output=True, text=True)
        if r.returncode != 0:
            raise Absent("npm cannot install DBOS: " + r.stderr.strip()[-300:])
        shutil.copy(os.path.join(HERE, "dbos.cjs"), folder)
        with postgres(database) as address:
            env = dict(os.environ, DBOS_SYSTEM_DATABASE_URL=address)
            ours, theirs, ratio = ratios(chain_rate, lambda: dbos_rate(folder, env))
    say("peers.chain.tasks_per_s", ours, "1/s")
    say("peers.dbos_chain.steps_per_s", theirs, "1/s")
    say("peers.dbos_chain_ratio", ratio)


NAMES = {
    "peers.load_and_drain_50k_over_ninja_phony": ninja,
    "peers.spawn_true_durable_over_make_j2": make,
    "peers.dbos_chain_ratio": dbos,
}


def main(words):
    for name, measure in NAMES.items():
        if words and not any(word in name for word in words):
            continue
        try:
            if measure == dbos and not words:
                raise Absent("only when asked for: scripts/bench peers")
            measure()
        except Absent as e:
            print(json.dumps({"name": name, "value": None, "absent": str(e)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
