#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tags.py BUILD SOURCE: each thing that is installed has a tag, each tag belongs to exactly one package, and
no two packages hold the same file."""
import json
import os
import sys

build, source = sys.argv[1:]
with open(os.path.join(build, "meson-info", "intro-install_plan.json"), encoding="utf-8") as f:
    plans = [(what, plan) for section in json.load(f).values() for what, plan in section.items()]
installed = {what: plan.get("tag") for what, plan in plans}
with open(os.path.join(source, "packaging", "debian", "tags"), encoding="utf-8") as f:
    lines = [line.split() for line in f if not line.startswith("#")]
packaged = [tag for _, tags in lines for tag in tags.split(",")]
with open(os.path.join(source, "packaging", "debian", "control"), encoding="utf-8") as f:
    packages = [line.split()[1] for line in f if line.startswith("Package:")]



def files(what, plan):
    """Where a thing goes: itself, or all that is below it, if it is a folder."""
    if not os.path.isdir(what):
        return [plan["destination"]]
    return [os.path.join(plan["destination"], os.path.relpath(os.path.join(folder, name), what))
            for folder, _, names in os.walk(what) for name in names]


goes = [(file, what) for what, plan in plans for file in files(what, plan)]
places = [file for file, _ in goes]

wrong = [f"{what} has the tag {tag}, which is in no package" for what, tag in installed.items() if tag not in packaged]
wrong += [f"the tag {tag} is in {packaged.count(tag)} packages" for tag in set(packaged) if packaged.count(tag) > 1]
wrong += [f"nothing is installed with the tag {tag}" for tag in packaged if tag not in installed.values()]
wrong += [f"packages of control and of tags differ: {name}"
          for name in set(packages) ^ {name for name, _ in lines}]
wrong += [f"{file} is installed more than once, by {what}" for file, what in goes if places.count(file) > 1]
for line in wrong:
    print(line)
sys.exit(1 if wrong or not installed else 0)
