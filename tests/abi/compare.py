#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""abidiff of the probe as it was at 1.0 and as it is; and that the probe names every public struct, and that a
change in the middle of a struct is noticed.

    compare.py OLD.so NEW.so BROKEN.so INCLUDE_FOLDER PROBE.c
"""
import os
import re
import shutil
import subprocess
import sys

old, new, broken, include, probe = sys.argv[1:]
if not shutil.which("abidiff"):
    print("abidiff is not there: scripts/bootstrap test installs abigail-tools")
    sys.exit(77)


def diff(a, b):
    done = subprocess.run(["abidiff", "--no-added-syms", a, b], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


failed = 0
code, said = diff(old, new)
# Bit 2 (4): changed; bit 3 (8): incompatibly. A struct that grew at its end changes, and is allowed to.
grew = re.findall(r"type size changed from (\d+) to (\d+)", said)
if code & 3 or code & 8 or re.search(r"offset changed|\d+ data member (deletion|change)", said):
    print("the ABI is not what it was at 1.0:\n" + said)
    failed = 1
elif grew:
    print(f"structs grew at their end: {grew}")
code, said = diff(old, broken)
if not re.search(r"offset changed|insertion", said):
    print("a member put into the middle of a struct was not noticed:\n" + said)
    failed = 1
declared = set()
for folder, _, files in os.walk(include):
    for name in files:
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            declared |= set(re.findall(r"^struct (prvng_\w+) \{", f.read(), re.M))
with open(probe, encoding="utf-8") as f:
    named = set(re.findall(r"^PROBE\((\w+)\)", f.read(), re.M))
if declared != named:
    print(f"the probe does not name {sorted(declared - named)}, or names {sorted(named - declared)} in vain")
    failed = 1
print(f"{len(named)} structs compared")
sys.exit(failed)
