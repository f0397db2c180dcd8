#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks one plugin of this build tree with prvng-plugin-check.

    plugin.py CHECKER PLUGIN.so [OPTION OF THE CHECKER...]

Helper programs lie in many folders of a build tree and in one of an installation: they are linked into one
here. What a scenario names of this machine is told to it: @MOTO_PYTHON@, the Python that has moto (without one
the test is skipped), and @CACHE@, the folder with base images (PRVNG_TEST_CACHE names another).
"""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.environ["PRVNG_TEST_SOURCE"], "tests", "fakes"))
import aws  # noqa: E402

SKIPPED = 77
BUILD = os.environ["PRVNG_TEST_BUILD"]
CACHE = os.path.join(BUILD, "plugins", "providers", "local", "test-cache")  # made by the tests of that provider
HELPERS = ["core/host", "plugins/loaders/kcl", "plugins/providers/local", "plugins/templates/jinja2"]


def words(options):
    """Options of the checker for what the scenario wants to know of this machine."""
    if "--scenario" not in options:
        return []
    with open(options[options.index("--scenario") + 1], encoding="utf-8") as f:
        text = f.read()
    said = []
    if "@CACHE@" in text:
        said += ["--word", "CACHE=" + (os.environ.get("PRVNG_TEST_CACHE") or CACHE)]
    if "@MOTO_PYTHON@" in text:
        if why := aws.missing():
            print("skipped: " + why)
            sys.exit(SKIPPED)
        said += ["--word", "MOTO_PYTHON=" + aws.python()]
    return said


def main():
    checker, plugin, *options = sys.argv[1:]
    options += words(options)
    with tempfile.TemporaryDirectory(prefix="prvng-libexec-") as libexec:
        os.chmod(libexec, 0o755)
        for folder in HELPERS:
            for name in os.listdir(os.path.join(BUILD, folder)):
                path = os.path.join(BUILD, folder, name)
                if name.startswith("prvng-") and os.path.isfile(path):
                    os.symlink(path, os.path.join(libexec, name))
        return subprocess.run([checker, "--libexec", libexec, *options, plugin], check=False).returncode


sys.exit(main())
