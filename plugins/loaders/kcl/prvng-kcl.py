#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Evaluates one KCL file with the kcl_lib of PyPI. Speaks the part of the KCL command line that the
loader uses, so that the loader can run `kcl` itself in its place:

    prvng-kcl.py run FILE --format json -o OUT [-D K=V]... [-E PACKAGE=FOLDER]... [--positions POS]

OUT gets the JSON; errors go to stderr as KCL writes them. Exit: 0 evaluated, 1 errors of the file, 2
used wrongly, 3 no kcl_lib. POS gets the places where the file itself writes a value, as
[line, column, key's line, key's column, children], by reading its syntax tree.

kcl_lib's own Python (its protobuf classes) takes ten times as long to import as the evaluation takes,
so this talks to its native part, with the few messages that are needed encoded here.
"""
import glob
import importlib.machinery
import importlib.util
import json
import os
import sys


def native():
    spec = importlib.util.find_spec("kcl_lib")
    for folder in spec.submodule_search_locations if spec else []:
        for path in glob.glob(os.path.join(folder, "_kcl_lib*.so")):
            loader = importlib.machinery.ExtensionFileLoader("_kcl_lib", path)
            module = importlib.util.module_from_spec(
                importlib.machinery.ModuleSpec("_kcl_lib", loader, origin=path))
            loader.exec_module(module)
            return module
    return None


# --- protobuf: https://protobuf.dev/programming-guides/encoding/ ---

def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def text(field, value):
    raw = value if isinstance(value, bytes) else value.encode()
    return varint(field << 3 | 2) + varint(len(raw)) + raw


def flag(field):
    return varint(field << 3) + b"\x01"


def decode(raw):
    """The texts of a message by field number."""
    fields, at = {}, 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = raw[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(raw):
        tag = number()
        if tag & 7 == 2:
            size = number()
            fields[tag >> 3] = raw[at:at + size].decode()
            at += size
        elif tag & 7 == 0:
            number()
        else:
            raise ValueError("an answer of kcl_lib is not understood")
    return fields


class Failed(Exception):
    pass


def call(module, name, message):
    answer = bytes(module.call(name.encode(), message))
    if answer.startswith(b"ERROR:"):
        raise Failed(answer[6:].decode("utf-8", "replace"))
    return decode(answer)


def evaluate(module, options):
    message = text(1, os.path.dirname(options.file)) + text(2, options.file) + flag(6)
    for name, value in options.arguments:
        message += text(4, text(1, name) + text(2, value))
    for name, folder in options.packages:
        message += text(13, text(1, name) + text(2, folder))
    answer = call(module, "KclService.ExecProgram", message)
    if answer.get(4):
        raise Failed(answer[4])
    return answer.get(1, "")


# --- positions ---

def place(value, key):
    out = [value["line"], value["column"] + 1, key["line"], key["column"] + 1]
    children = inside(value)
    if children:
        out.append(children)
    return out


def key_names(key):
    node = key["node"]
    if node["type"] == "Identifier":
        return [name["node"] for name in node["names"]]
    if node["type"] == "StringLit":
        return [node["value"]]
    return []


def inside(value):
    node = value["node"]
    kind = node.get("type")
    if kind == "Schema":
        return inside(node["config"])
    if kind == "Paren":
        return inside(node["expr"])
    if kind == "List":
        out = []
        for element in node["elts"]:
            if element["node"]["type"] in ("Starred", "ListIfItem", "ListComp"):
                break  # from here on the places in the result are not known
            out.append(place(element, element))
        return out
    out = {}
    if kind == "Config":
        for item in node["items"]:
            entry = item["node"]
            names = key_names(entry["key"]) if entry.get("key") else []
            if not names or entry.get("operation") == "Insert":
                continue
            into = out
            for name in names[:-1]:  # a.b.c = value
                here = into.setdefault(name, place(entry["key"], entry["key"]))
                if len(here) == 4 or not isinstance(here[4], dict):
                    del here[4:]
                    here.append({})
                into = here[4]
            into[names[-1]] = place(entry["value"], entry["key"])
    return out


def positions(module, options):
    tree = json.loads(call(module, "KclService.ParseFile", text(1, options.file)).get(1, "{}"))
    out = {}
    for statement in tree.get("body", []):
        node = statement["node"]
        if node["type"] == "Assign":
            for target in node["targets"]:
                if not target["node"].get("paths"):
                    out[target["node"]["name"]["node"]] = place(node["value"], target)
        elif node["type"] == "Unification":
            target = node["target"]
            out[target["node"]["names"][0]["node"]] = place(
                {"line": target["line"], "column": target["column"], "node":
                 {"type": "Schema", "config": node["value"]["node"]["config"]}}, target)
    return [1, 1, 1, 1, out]


# --- the command line ---

class Options:
    file = out = positions = None

    def __init__(self, words):
        self.arguments, self.packages = [], []
        words = iter(words)
        try:
            if next(words) != "run":
                raise StopIteration
            for word in words:
                if word == "-o":
                    self.out = next(words)
                elif word == "--positions":
                    self.positions = next(words)
                elif word == "--format":
                    if next(words) != "json":
                        raise StopIteration
                elif word in ("-D", "-E"):
                    name, found, value = next(words).partition("=")
                    if not found:
                        raise StopIteration
                    (self.arguments if word == "-D" else self.packages).append((name, value))
                elif word in ("-q", "--no_style"):
                    pass
                elif word.startswith("-") or self.file:
                    raise StopIteration
                else:
                    self.file = os.path.abspath(word)
            if not self.file or not self.out:
                raise StopIteration
        except StopIteration:
            sys.exit((sys.stderr.write(__doc__), 2)[1])


def write(path, content):
    with open(path, "w", encoding="utf-8") as out:
        out.write(content)


def main():
    options = Options(sys.argv[1:])
    try:
        module = native()
    except ImportError as error:
        module = sys.stderr.write("kcl_lib cannot be loaded: %s\n" % error) and None
    if not module:
        sys.stderr.write("there is no kcl_lib in %s\n" % sys.executable)
        return 3
    try:
        write(options.out, evaluate(module, options))
    except Failed as error:
        sys.stderr.write(str(error))
        return 1
    if options.positions:
        try:  # messages are better with them, and possible without
            write(options.positions, json.dumps(positions(module, options)))
        except (Failed, AttributeError, IndexError, KeyError, RecursionError, TypeError,
                ValueError):
            pass
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # what was loaded needs no tidying: that takes as long as the evaluation
