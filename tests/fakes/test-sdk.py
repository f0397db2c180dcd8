#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""UpCloud's official client (Go SDK) runs its flows against the fake: sdk/main.go says which. Prints its TAP."""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import fakes  # noqa: E402

ROOT = os.environ.get("PRVNG_TEST_SOURCE") or os.path.join(HERE, "..", "..")
GO = os.path.join(os.path.abspath(ROOT), ".venv", "go")


def build(program):
    """With what scripts/bootstrap has fetched; nothing is fetched here."""
    env = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "GOPROXY": "off", "CGO_ENABLED": "0",
           "GOMODCACHE": os.path.join(GO, "modules"), "GOCACHE": os.path.join(GO, "cache"), "GOWORK": "off"}
    return subprocess.run([os.path.join(GO, "site", "go", "bin", "go"), "build", "-o", program, "."],
                          cwd=os.path.join(HERE, "sdk"), env=env, capture_output=True, text=True, check=False)


def main():
    if not os.path.exists(os.path.join(GO, "ready")):
        print(f"1..0 # SKIP no Go with UpCloud's client: {GO} is not there; scripts/bootstrap clouds installs it "
              "where PyPI and the module proxy of Go can be reached")
        return 0
    # A server stays in maintenance for long enough to be refused there; the client polls every 5 s anyway.
    with tempfile.TemporaryDirectory() as folder, fakes.UpCloud(state_ms=3000) as cloud:
        program = os.path.join(folder, "flows")
        built = build(program)
        if built.returncode:
            print(f"Bail out! go build failed\n{built.stdout}{built.stderr}")
            return 1
        env = {k: v for k, v in os.environ.items() if not k.startswith("UPCLOUD_")}
        return subprocess.run([program], env={**env, **cloud.env()}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
