#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""pages.py FOLDER: the manual pages and completions that the build made in FOLDER are right: the shells
themselves complete with them, man reads them without a warning, and every command has its page."""
import os
import shutil
import subprocess
import sys

folder = sys.argv[1]
prvng = sys.argv[2]
failures = []
printed = 0


def run(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60,
                          env={**os.environ, "LC_ALL": "C.UTF-8", "HOME": folder})


def skip(name, n=1):
    global printed
    for _ in range(n):
        printed += 1
        print(f"ok {printed} - {name} # SKIP there is no {name}")


def expect(what, got, wanted):
    global printed
    printed += 1
    print("ok" if got == wanted else "not ok", printed, "-", what)
    if got != wanted:
        failures.append(what)
        print(f"# wanted {wanted!r}\n# got    {got!r}")


def bash(*words):
    listed = " ".join(f"'{w}'" for w in words)
    r = run("bash", "-c", f"source {folder}/prvng.bash; COMP_WORDS=({listed}); "
            f"COMP_CWORD={len(words) - 1}; _prvng; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
    return sorted(r.stdout.split())


def fish(line):
    r = run("fish", "--no-config", "-c", f"source {folder}/prvng.fish; complete -C '{line}'")
    return sorted(x.split("\t")[0] for x in r.stdout.splitlines())


for name, complete in [("bash", lambda line: bash(*line.split(" "))), ("fish", fish)]:
    if not shutil.which(name):
        skip(name, 6)
        continue
    expect(f"{name} completes a group", complete("prvng res"), ["resource"])
    expect(f"{name} completes a command", complete("prvng batch su"), ["submit"])
    expect(f"{name} completes an option of the command", complete("prvng batch rollback --dr"), ["--dry-run"])
    expect(f"{name} completes an option of every command", complete("prvng store check --conf"), ["--config"])
    expect(f"{name} completes the words of a value", complete("prvng batch resolve x y --as d"), ["done"])
    expect(f"{name} offers no option of another command", complete("prvng batch pause --dr"), [])
if shutil.which("zsh"):
    expect("zsh reads its completion", run("zsh", "-n", f"{folder}/_prvng").stderr, "")
else:
    skip("zsh")

GROUPS = bash("prvng", "")[2:]  # behind --help and --version
groups = [line.split()[:2] for line in run(prvng, "--help").stdout.splitlines() if line.startswith("  ")
          and line.split()[0] in GROUPS]
pages = sorted(os.listdir(f"{folder}/man1"))
expect("each command has its page, if the program that it starts has none of its own", pages,
       sorted({f"prvng-{g}-{c}.1" for g, c in groups} - {"prvng-plugin-check.1"} | {"prvng.1"}))
if shutil.which("man"):
    warned = {p: run("man", "--warnings", "-l", "-Tutf8", f"{folder}/man1/{p}").stderr for p in pages}
    expect("man reads them without a warning", {p: w for p, w in warned.items() if w}, {})
else:
    skip("man")
print(f"1..{printed}")
sys.exit(1 if failures else 0)
