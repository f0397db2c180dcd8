#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Proves the simulator by planted bugs: each file NAME.mutation beside this one is one.

A mutation is the path of a source file, then (once or several times) the exact text to be replaced and what
stands there instead, between the lines "<<<<", "====" and ">>>>". The source is copied, changed, compiled with the flags of the
build, linked in the place of the one in the core's library, and seeds run until one fails. Production code
knows nothing of it. A text that is not found, or found twice, is an error: the mutation has to follow the
source.

    mutate.py BUILD [--seeds N] [NAME...]

A comment "# From seed N on: ..." in a mutation begins with that seed: for what is rare.

Prints "caught NAME" for each, and their count as the last line. Ends with 1 if one was not caught.
"""
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]


class Mistake(Exception):
    pass


def read_mutation(path):
    hunk = r"<<<<\n(.*?)\n====\n(.*?)\n>>>>\n"
    match = re.fullmatch(rf"(?:#[^\n]*\n)*(\S+)\n((?:{hunk})+)", path.read_text(), re.S)
    if not match:
        raise Mistake(f"{path.name}: not of the form FILE, <<<<, old, ====, new, >>>>")
    return match[1], re.findall(hunk, match[2], re.S)


def mutated_source(path):
    file, hunks = read_mutation(path)
    source = (ROOT / file).read_text()
    for old, new in hunks:
        n = source.count(old)
        if n != 1:
            raise Mistake(f"{path.name}: a text to be replaced stands {n} times in {file}, not once:\n{old}")
        source = source.replace(old, new)
    return file, source


def compile_command(build, file, source, output):
    for entry in json.loads((build / "compile_commands.json").read_text()):
        path = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
        if path == ROOT / file and "libprvng-core" in entry["output"]:
            words = shlex.split(entry["command"])
            break
    else:
        raise Mistake(f"{file} is not compiled in {build}")
    for option in ("-MQ", "-MF", "-o", "-c"):
        at = words.index(option)
        del words[at:at + 2]
    # A warning about what a mutation leaves unused is no matter. Files beside the source are found.
    return [w for w in words if w != "-MD"] + ["-w", "-I", str((ROOT / file).parent), "-o", str(output),
                                               "-c", str(source)]


def link_command(build, mutant, output):
    commands = subprocess.run(["ninja", "-C", str(build), "-t", "commands", "tests/simulate/simulate"],
                              check=True, capture_output=True, text=True).stdout.splitlines()
    words = shlex.split(commands[-1])
    words[words.index("-o") + 1] = str(output)
    words.insert(next(i for i, w in enumerate(words) if w.endswith("libprvng-core.a")), str(mutant))
    return words


def run(words, build):
    done = subprocess.run(words, cwd=build, capture_output=True, text=True)
    if done.returncode:
        raise Mistake(f"{' '.join(words[:3])} ...:\n{done.stdout}{done.stderr}")


def is_caught(build, path, seeds):
    """The line that tells of the first seed that failed, or None."""
    file, text = mutated_source(path)
    folder = build / "tests" / "simulate" / "mutations" / path.stem
    folder.mkdir(parents=True, exist_ok=True)
    source, mutant, program = folder / pathlib.Path(file).name, folder / "mutant.o", folder / "simulate"
    source.write_text(text)
    run(compile_command(build, file, source, mutant), build)
    run(link_command(build, mutant, program), build)
    first = re.search(r"^# From seed (\d+) on", path.read_text(), re.M)
    done = subprocess.run([str(program), "--first-seed", first[1] if first else "1", "--seeds", str(seeds),
                           "--jobs", "1", "--no-shrink", "--stop-at", "1"],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    return next((line for line in done.stdout.splitlines() if line.startswith("seed ")), None)


def main():
    words = sys.argv[1:]
    build, seeds = pathlib.Path(words.pop(0)).resolve(), 2000
    if words[:1] == ["--seeds"]:
        seeds, words = int(words[1]), words[2:]
    paths = sorted(HERE.glob("*.mutation"))
    if words:
        paths = [p for p in paths if p.stem in words]
    missed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting = {path: pool.submit(is_caught, build, path, seeds) for path in paths}
        for path, future in waiting.items():
            try:
                line = future.result()
            except Mistake as mistake:
                print(mistake, file=sys.stderr)
                line = None
            if line:
                print(f"caught {path.stem}", flush=True)
                print(f"  {line[:150]}", file=sys.stderr, flush=True)
            else:
                print(f"missed {path.stem}", flush=True)
                missed += 1
    print(len(paths) - missed)
    return missed > 0


sys.exit(main())
