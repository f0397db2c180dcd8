#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One seed, one history, bit for bit: over processes, whatever ran before in them, and as text."""
import subprocess
import sys

SIMULATE = sys.argv[1]


def output(*words):
    return subprocess.run([SIMULATE, *words], check=True, capture_output=True).stdout


def digest(*words):
    line = next(line for line in output("--no-shrink", *words).splitlines() if b", history " in line)
    return line.split()[-1]


def main():
    alone, together = digest("--seeds", "150", "--jobs", "1"), digest("--seeds", "150", "--jobs", "3")
    if alone != together:
        sys.exit(f"150 seeds have the history {alone} in one process and {together} in three")
    sum_of_one_by_one = 0
    for seed in range(1, 31):
        words = "--seed", str(seed), "--history"
        first, second = output(*words), output(*words)
        if first != second:
            sys.exit(f"seed {seed} has two histories")
        sum_of_one_by_one += int(first.split()[-1], 16)
    if sum_of_one_by_one % 2 ** 64 != int(digest("--seeds", "30", "--jobs", "1"), 16):
        sys.exit("a seed's history depends on the seeds before it in its process, or on being printed")
    if digest("--seeds", "10") == digest("--first-seed", "11", "--seeds", "10"):
        sys.exit("the digest of a history tells nothing")


main()
