#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads figures, one JSON object a line, and prints them beside their targets (bench/targets) as they
come: as a table, or with --json as the same objects with "target" and "met" added.
"""
import json
import os
import sys

WIDTHS = "{:<47} {:>12} {:<4} {:>11} {}"


def read_targets():
    targets = {}
    path = os.path.join(os.path.dirname(os.path.realpath(__file__)), "targets")
    with open(path, encoding="utf-8") as f:
        for line in f:
            if not line.startswith("#"):
                name, relation, value = line.split()
                targets[name] = (relation, float(value))
    return targets


def judge(figure, target):
    relation, limit = target
    figure["target"] = f"{relation} {limit:g}"
    if figure["value"] is not None:
        figure["met"] = figure["value"] >= limit if relation == ">=" else figure["value"] <= limit


def number(value):
    if value >= 10000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def row(figure):
    relation, limit = (figure.get("target") or " ").split(" ")
    target = f"{relation} {number(float(limit))}" if limit else ""
    met = {True: "met", False: "NOT MET", None: ""}[figure.get("met")]
    unit = figure.get("unit", "")
    if figure["value"] is None:
        return WIDTHS.format(figure["name"], "absent", "", target, figure["absent"])
    return WIDTHS.format(figure["name"], number(figure["value"]), "" if unit == "1" else unit, target, met)


def main(as_json):
    targets = read_targets()
    begun = False
    for line in sys.stdin:
        figure = json.loads(line)
        if figure["name"] in targets:
            judge(figure, targets[figure["name"]])
        if not as_json and not begun:
            print(WIDTHS.format("name", "value", "", "target", "").rstrip(), flush=True)
        begun = True
        print(json.dumps(figure) if as_json else row(figure).rstrip(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] == ["--json"])
