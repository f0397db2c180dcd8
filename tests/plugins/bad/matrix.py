#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each flaw is found by the test that is there for it; the sound plugins pass them all.

    matrix.py CHECKER FOLDER_OF_PLUGINS [NAME...]
"""
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
CHECKER, PLUGINS = sys.argv[1:3]
ONLY = sys.argv[3:]

# plugin: (test that finds it, a part of what that test says)
FLAWS = {
    "provider-symbol": ("file/one-symbol", "bad_extra_symbol"),
    "provider-constructor": ("file/no-constructors", "1 constructor"),
    "provider-note-version": ("load/descriptor", "version"),
    "provider-imports": ("file/no-forbidden-calls", "system()"),
    "provider-slow-entry": ("load/time", "processor time"),
    "provider-entry-allocates": ("load/entry-is-pure", "allocates"),
    "provider-entry-opens": ("load/entry-is-pure", "left open"),
    "provider-refuses-silently": ("instance/no-config", "did not say why"),
    "provider-reads-behind-host": ("load/oldest-host", "signal 11"),
    "provider-trusts-interfaces": ("load/bare-host", "signal 11"),
    "provider-unknown-flags": ("load/descriptor", "flags"),
    "provider-wrong-threads": ("load/descriptor", "thread model"),
    "provider-crashes-empty": ("instance/no-config", "signal 6"),
    "provider-crashes-invalid": ("instance/invalid-config", "signal 6"),
    "provider-recurses": ("instance/huge-config", "signal 11"),
    "provider-leaks-when-failing": ("instance/leaves-nothing", "leaks"),
    "provider-leaks": ("instance/leaves-nothing", "leaks"),
    "provider-destroys-null": ("instance/destroy-null", "signal 11"),
    "provider-prefix-id": ("instance/unknown-interfaces", "compared whole"),
    "provider-any-id": ("instance/unknown-interfaces", "compared whole"),
    "provider-small-table": ("instance/interfaces", "struct_size"),
    "provider-shares-state": ("instance/two", "lost its interfaces"),
    "provider-garbage-self-test": ("instance/self-test", "not one JSON object"),
    "provider-leaves-fd": ("instance/process-unchanged", "left open"),
    "provider-leaves-thread": ("instance/process-unchanged", "threads"),
    "provider-sets-environment": ("instance/process-unchanged", "environment"),
    "provider-changes-folder": ("instance/process-unchanged", "working folder"),
    "provider-changes-umask": ("instance/process-unchanged", "umask"),
    "provider-changes-locale": ("instance/process-unchanged", "locale"),
    "provider-takes-signal": ("instance/process-unchanged", "handled otherwise"),
    "provider-closes-foreign-fd": ("instance/process-unchanged", "closed"),
    "provider-uses-network": ("instance/process-unchanged", "8.8.8.8"),
    "provider-writes-elsewhere": ("instance/process-unchanged", "prvng-bad-plugin-was-here"),
    "provider-forks": ("instance/process-unchanged", "starts a process"),
    "provider-exits": ("instance/process-unchanged", "ended the process"),
    "provider-hangs": ("scenario/cancel", "did not end within|after it was cancelled"),
    "provider-odd-describe": ("op/describe", "explode"),
    "provider-random-requests": ("op/prepare-is-pure", "another request"),
    "provider-prepares-with-io": ("op/prepare-is-pure", "is to be pure"),
    "provider-ignores-sink": ("op/failing-sinks", "the sink refused"),
    "provider-crashes-on-task": ("op/random-tasks", "signal 6"),
    "provider-crashes-on-request": ("op/random-requests", "signal 6"),
    "provider-no-error-record": ("op/random-tasks", "without an error record"),
    "provider-unknown-class": ("op/random-tasks", "unknown class"),
    "provider-takes-any-token": ("op/foreign-tokens", "TOKEN_REJECTED leads to observe"),
    "provider-crashes-on-token": ("op/foreign-tokens", "signal 6"),
    "provider-token-has-pid": ("scenario/life", "pid of the engine"),
    "provider-token-has-control": ("scenario/life", "control character"),
    "provider-makes-twice": ("scenario/same-op-id", "there are 2 resources"),
    "provider-never-finds": ("scenario/killed-anywhere", "did not end in time|resources"),
    "provider-delete-leaves": ("scenario/undo", "there are 1 resources"),
    "provider-ignores-cancel": ("scenario/cancel", "after it was cancelled"),
    "provider-cancel-lies": ("scenario/cancel", "there are 1 resources"),
    "provider-logs-secret": ("scenario/secrets", "line of the log"),
    "provider-token-has-secret": ("scenario/secrets", "a token holds secret"),
    "provider-secret-in-state": ("scenario/secrets", "credentials holds secret"),
    "provider-polls-once": ("scenario/poll-twice", "rejects a token"),
    "provider-forgets-pending": ("scenario/destroy-pending", "PERMANENT"),
    "provider-bound-to-thread": ("scenario/two-workers", "signal 6"),
    "provider-races": ("scenario/parallel", "creates at once|ended with"),
    "provider-lists-everything": ("scenario/life", "of a workflow that made none"),
    "provider-no-drift": ("scenario/life", "drift"),
    "provider-work-leaves-fd": ("scenario/process-unchanged", "left open"),
    "provider-rejects-previous": ("scenario/previous-tokens", "rejects a token of the previous"),
    "store-loses-bytes": ("store/appends", "were appended"),
    "store-same-epoch": ("store/epochs", "gives the epoch"),
    "store-takes-any-epoch": ("store/epochs", "another epoch"),
    "store-no-lock": ("store/one-writer", "beside a writer"),
    "store-any-name": ("store/names", "which is none"),
    "store-bad-recover": ("store/recover", "bytes"),
    "store-forgets-snapshot": ("store/snapshots", "something else"),
    "store-reader-writes": ("store/one-writer", "to read only"),
    "store-writes-on": ("store/failed-append", "S1"),
    "store-inherited": ("store/descriptors", "inherited"),
    "store-streams-lie": ("store/streams", "otherwise"),
    "store-opens-nowhere": ("store/nowhere", "not there"),
    "store-buffers": ("store/killed", "S2"),
    "loader-crashes": ("loader/random", "signal 6"),
    "loader-goes-on": ("loader/builder-gives-up", "gave up"),
    "loader-unbalanced": ("loader/samples", "not whole"),
    "loader-no-problem": ("loader/broken", "neither a problem"),
    "loader-file-of-air": ("loader/missing-file", "does not fail"),
    "loader-wrong-place": ("loader/samples", "line 4711"),
    "loader-wrong-value": ("loader/samples", "is read as"),
    "loader-races": ("loader/parallel", "while 3 others are read"),
    "template-crashes": ("template/wrong", "signal 6"),
    "template-garbage-result": ("template/expressions", "not one JSON object"),
    "template-never-ends": ("template/endless", "did not end within|comes back"),
    "template-wrong-code": ("template/wrong", "code 9"),
    "template-no-record": ("template/wrong", "without an error record"),
    "template-leaves-child": ("template/process-unchanged", "child processes"),
    "template-no-value": ("template/expressions", 'no "value"'),
    "secret-logs-value": ("secret/resolve", "a line of the log holds the value of api#token"),
    "secret-wrong-value": ("secret/resolve", "another value"),
    "secret-tells-value": ("secret/unknown", "the message of an error holds the value"),
    "secret-no-field": ("secret/unknown", "with the field"),
    "secret-knows-all": ("secret/unknown", "it should be NOT_FOUND"),
    "secret-takes-prefix": ("secret/unknown", "as if the end"),
    "secret-no-record": ("secret/unknown", "without an error record"),
    "secret-check-reveals": ("secret/check", "a result holds the value"),
    "secret-check-lies": ("secret/check", "it should be NOT_FOUND"),
    "secret-odd-expires": ("secret/check", '"expires"'),
    "secret-list-lies": ("secret/list", "does not name"),
    "secret-ignores-sink": ("secret/failing-sinks", "although the sink refused"),
    "secret-crashes": ("secret/random", "signal 6"),
    "secret-races": ("secret/parallel", "asked beside others"),
    "secret-never-ends": ("secret/cancel", "did not end within|comes back"),
    "secret-keeps-value": ("secret/memory", "more in the plugin's process"),
    "secret-leaves-fd": ("secret/process-unchanged", "left open"),
}
# Where memory or processor time is counted, or a crash is a sanitizer's business, the sanitizer speaks.
SANITIZED = {"provider-leaks", "provider-leaks-when-failing", "provider-entry-allocates", "provider-slow-entry"}
# These are told as a remark: a library may be to blame.
REMARKED = {"secret-keeps-value"}
# These must be waited for; the limit of time of the test is what finds them.
SKIPS_ALLOWED = {"load/shorter-host", "scenario/previous-tokens", "instance/self-test"}
KINDS = ("provider", "store", "loader", "template", "secret")


def run(plugin, *arguments):
    kind = plugin.split("-")[0]
    scenario = os.path.join(HERE, kind + ".json")
    command = [CHECKER, "--format", "json", "--seed", "4711"]
    if os.path.exists(scenario):
        command += ["--scenario", scenario]
    if kind == "provider":
        command += ["--previous", os.path.join(PLUGINS, "provider-good.so")]
    done = subprocess.run(command + [*arguments, os.path.join(PLUGINS, plugin + ".so")], capture_output=True,
                          text=True, check=False)
    if done.returncode not in (0, 1):
        return {"tests": [], "failed": -1, "broken": f"exit {done.returncode}: {done.stderr}"}
    return json.loads(done.stdout)


def main():
    tap = []
    sanitize = os.environ.get("PRVNG_TEST_SANITIZE", "none")
    for kind in KINDS:
        if ONLY and kind + "-good" not in ONLY:
            continue
        report = run(kind + "-good")
        bad = [f"{t['name']}: {t['failures'] + t['violations']}" for t in report["tests"] if t["outcome"] == "fail"]
        bad += [f"{t['name']} was skipped: {t['reason']}" for t in report["tests"]
                if t["outcome"] == "skip" and t["name"] not in SKIPS_ALLOWED
                and not (kind == "secret" and t["name"].startswith("op/"))]  # it only reads
        bad += [f"{t['name']} remarks: {t['remarks']}" for t in report["tests"] if t["name"] == "secret/memory"
                and t["remarks"]]
        tap.append((f"{kind}-good passes {report.get('passed')} tests", bad or report.get("broken")))
    for plugin, (test, says) in FLAWS.items():
        if (ONLY and plugin not in ONLY) or (sanitize != "none" and plugin in SANITIZED):
            continue
        report = run(plugin, "--only", test)
        result = (report["tests"] or [{"outcome": "none", "failures": [report.get("broken")], "violations": []}])[0]
        said = " ".join(str(s) for s in result["failures"] + result["violations"])
        found = result["outcome"] == "fail" and any(s in said for s in says.split("|"))
        if plugin in REMARKED:
            found = any(says in s for s in result["remarks"])
        if not found and sanitize != "none" and result["outcome"] == "fail" and "ended" in said:
            found = True  # the sanitizer ended it
        tap.append((f"{plugin} is found by {test}", None if found else f"{result['outcome']}: {said}"))
    known = {p[:-3] for p in os.listdir(PLUGINS) if p.endswith(".so") and p[:-3].split("-")[0] in
             KINDS}
    if not ONLY:
        left = sorted(known - set(FLAWS) - {k + "-good" for k in KINDS})
        tap.append(("every flawed plugin has its test", left))
        listed = subprocess.run([CHECKER, "--list"], capture_output=True, text=True, check=True).stdout.split("\n")
        unproven = {line.split()[0] for line in listed if line.strip()} - {t for t, _ in FLAWS.values()} - UNPROVEN
        tap.append(("every test has a plugin that fails it", sorted(unproven)))
    print(f"1..{len(tap)}")
    failed = 0
    for i, (name, wrong) in enumerate(tap, 1):
        print(f"{'not ok' if wrong else 'ok'} {i} - {name}")
        if wrong:
            failed = 1
            print(f"# {wrong}")
    return failed


# What no flaw of these sources can fail: the harness's own mode, or a matter of the linker.
UNPROVEN = {"file/note", "file/scan", "file/linked-well", "load/now", "load/shorter-host", "load/newer-host",
            "instance/random-config", "op/unknown-verb", "template/random"}
sys.exit(main())
