#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/journal-format.md names each type of record with exactly the members that record.c writes."""
import os
import re
import sys

SOURCE = os.environ["PRVNG_TEST_SOURCE"]
with open(os.path.join(SOURCE, "core", "journal", "record.c"), encoding="utf-8") as f:
    tables = re.findall(r'\[RECORD_\w+\] =\s*\{"(\w+)",\s*MEMBERS\((.*?)\)\},', f.read(), re.S)
with open(os.path.join(SOURCE, "docs", "journal-format.md"), encoding="utf-8") as f:
    rows = [line.split("|") for line in f if line.startswith("| `")]

wrong = 0
for name, members in tables:
    want = [m + ("?" if flag == "OPTIONAL" else "")
            for m, flag in re.findall(r"M\((\w+), \w+, (\w+)\)", members + ")")]
    said = [[m + mark for m, mark in re.findall(r"`(\w+)`(\??)", row[2])] for row in rows
            if f"`{name}`" in row[1]]
    if said != [want]:
        print(f"record {name}: record.c has {want}, docs/journal-format.md says {said}")
        wrong += 1
if not tables:
    sys.exit("no table was found in record.c")
sys.exit(1 if wrong else 0)
