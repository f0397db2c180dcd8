#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Creates servers at the UpCloud fake with OpenTofu, for a comparison.

Usage: tofu.py [SERVERS]        500 where it is not said

OpenTofu and a provider are built from the module proxy of Go, which takes some minutes the first time, and are
kept in .venv/tofu of the clone. UpCloud's own provider cannot be had that way: its versions are no versions of a
Go module, and the proxy gives none of its commits. So a provider that sends any request (restapi) makes the same
servers by the same POST; it does not wait until they are started, which ours does. Beside it, the same number of
resources that need no provider at all (terraform_data): what OpenTofu takes by itself.

Prints one JSON object a line; what cannot be measured has null as its value and the reason as "absent".
"""
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(ROOT, "tests", "fakes"))
import fakes  # noqa: E402

GO = os.path.join(ROOT, ".venv", "go", "site", "go", "bin", "go")
KEPT = os.path.join(ROOT, ".venv", "tofu")
# name -> module, version, digest as in go.sum, package
PROGRAMS = {
    "tofu": ("github.com/opentofu/opentofu", "v1.10.6", "h1:J57O7HrW7gakftSLFQr+/p7fniZjZ3FQLFyzv4XsSmQ=", "./cmd/tofu"),
    "terraform-provider-restapi": ("github.com/Mastercard/terraform-provider-restapi", "v1.20.0",
                                   "h1:z4kPtDZgG1HmLsawE4SzP1PxPyz2hAHxwkrHMuRvFrA=", ".")}
SOURCE = "bench.invalid/mastercard/restapi"    # nobody looks there: it is overridden
TEMPLATE = "01000000-0000-4000-8000-000020060100"
LATENCY_MS, STATE_MS = 40, 100


class Absent(Exception):
    """Why something cannot be measured here."""


def go(words, **more):
    done = subprocess.run([GO, *words], capture_output=True, text=True, check=False, **more)
    if done.returncode:
        raise Absent(f"go {' '.join(words[:3])}: {(done.stderr or done.stdout).strip().splitlines()[-1][:300]}")
    return done.stdout


def build(name, folder):
    """From the module itself, whose go.mod and go.sum pin all that it needs."""
    module, version, digest, package = PROGRAMS[name]
    env = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-modcacherw", "GONOSUMDB": "*", "CGO_ENABLED": "0",
           "GOMODCACHE": os.path.join(folder, "modules"), "GOCACHE": os.path.join(folder, "cache"), "GOWORK": "off"}
    got = json.loads(go(["mod", "download", "-json", f"{module}@{version}"], cwd=folder, env=env))
    if got["Sum"] != digest:
        raise Absent(f"{module}@{version} has the digest {got['Sum']}, not {digest}")
    target = os.path.join(KEPT, name)
    go(["build", "-trimpath", "-o", target + ".new", package], cwd=got["Dir"], env=env)
    os.replace(target + ".new", target)


def need_programs():
    if not os.path.exists(GO):
        raise Absent("no Go: scripts/bootstrap clouds installs it")
    os.makedirs(KEPT, exist_ok=True)
    for name in PROGRAMS:
        if not os.path.exists(os.path.join(KEPT, name)):
            print(f"bench: building {name} (minutes)", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(prefix="prvng-tofu-") as folder:
                with open(os.path.join(folder, "go.mod"), "w", encoding="ascii") as f:
                    f.write("module bench\n\ngo 1.23\n")
                build(name, folder)


def configuration(cloud, n):
    """n servers by restapi; without a cloud n resources that need no provider."""
    if not cloud:
        return {"resource": {"terraform_data": {"server": {"count": n, "input": "srv-${count.index}"}}}}
    server = {"server": {"title": "srv-${count.index}", "hostname": "srv-${count.index}.example.com", "zone": "fi-hel1",
                         "labels": {"label": [{"key": "made_by", "value": "tofu"}]}, "storage_devices": {
                             "storage_device": [{"action": "clone", "storage": TEMPLATE, "title": "disk", "size": 10}]}}}
    return {"terraform": {"required_providers": {"restapi": {"source": SOURCE}}},
            "provider": {"restapi": {"uri": cloud.url, "id_attribute": "server/uuid", "write_returns_object": True,
                                     "headers": {"Authorization": "Bearer ucat_fake",
                                                 "Content-Type": "application/json"}}},
            "resource": {"restapi_object": {"server": {"count": n, "path": "/1.3/server", "data": json.dumps(server)}}}}


def apply(cloud, n, parallelism):
    """Seconds of `tofu apply`, and the most memory in MiB that it used itself."""
    with tempfile.TemporaryDirectory(prefix="prvng-tofu-") as folder:
        with open(os.path.join(folder, "main.tf.json"), "w", encoding="utf-8") as f:
            json.dump(configuration(cloud, n), f)
        with open(os.path.join(folder, "cli.tofurc"), "w", encoding="utf-8") as f:
            f.write(f'provider_installation {{\n  dev_overrides {{ "{SOURCE}" = "{KEPT}" }}\n}}\n')
        env = {**{k: v for k, v in os.environ.items() if not k.startswith("TF_")}, "HOME": folder,
               "TF_CLI_CONFIG_FILE": os.path.join(folder, "cli.tofurc"), "CHECKPOINT_DISABLE": "1"}
        start = time.monotonic()
        with open(os.path.join(folder, "output"), "w+b") as output:
            process = subprocess.Popen([os.path.join(KEPT, "tofu"), "apply", "-auto-approve", "-input=false", "-no-color",
                                        f"-parallelism={parallelism}"], cwd=folder, env=env, stdin=subprocess.DEVNULL,
                                       stdout=output, stderr=output)
            _, status, used = os.wait4(process.pid, 0)
            took = time.monotonic() - start
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                output.seek(0)
                raise Absent("tofu apply failed: " + " ".join(output.read().decode(errors="replace").split())[-400:])
        return took, used.ru_maxrss / 1024


def servers(n, parallelism):
    """Seconds and MiB that OpenTofu takes for n servers at a fake of its own, which must have them then."""
    need_programs()
    with fakes.UpCloud(latency_ms=LATENCY_MS, state_ms=STATE_MS) as cloud:
        took, memory = apply(cloud, n, parallelism)
        made = len(cloud.servers(made_by="tofu"))
        if made != n:
            raise Absent(f"OpenTofu made {made} servers instead of {n}")
        return took, memory


def nothing(n):
    """The same with resources that need no provider."""
    need_programs()
    return apply(None, n, 10)


@contextlib.contextmanager
def or_absent(*names):
    try:
        yield
    except Absent as e:
        for name in names:
            print(json.dumps({"name": name, "value": None, "absent": str(e)}), flush=True)


def say(name, value, unit):
    print(json.dumps({"name": name, "value": value, "unit": unit}), flush=True)


def main(n):
    for parallelism in (10, n):     # 10 is its default
        name = f"tofu.servers_{n}_parallelism_{parallelism}"
        with or_absent(f"{name}.s", f"{name}.memory"):
            took, memory = servers(n, parallelism)
            say(f"{name}.s", took, "s")
            say(f"{name}.memory", memory, "MiB")
    with or_absent(f"tofu.terraform_data_{n}.s"):
        say(f"tofu.terraform_data_{n}.s", nothing(n)[0], "s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
