#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks one plugin of this build tree with prvng-plugin-check.

    plugin.py CHECKER PLUGIN.so [OPTION OF THE CHECKER...]

Helper programs lie in many folders of a build tree and in one of an installation: they are linked into one
here. A scenario may need a base image: PRVNG_TEST_CACHE is the folder that @CACHE@ stands for.
"""
import os
import subprocess
import sys
import tempfile

BUILD = os.environ["PRVNG_TEST_BUILD"]
HELPERS = ["core/host", "plugins/loaders/kcl", "plugins/providers/local", "plugins/templates/jinja2"]


def main():
    checker, plugin, *options = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="prvng-libexec-") as libexec:
        os.chmod(libexec, 0o755)
        for folder in HELPERS:
            for name in os.listdir(os.path.join(BUILD, folder)):
                path = os.path.join(BUILD, folder, name)
                if name.startswith("prvng-") and os.path.isfile(path):
                    os.symlink(path, os.path.join(libexec, name))
        return subprocess.run([checker, "--libexec", libexec, *options, plugin], check=False).returncode


sys.exit(main())
