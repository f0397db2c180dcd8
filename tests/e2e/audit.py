#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The audit, backups, moves between stores, and what no journal knows: with the real programs.

The provider is testcloud, a cloud in a folder. Arguments: names of tests, to run only these.
"""
import glob
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from live import Site, check, main  # noqa: E402
from commands import run_until, status, submit, workflow  # noqa: E402


def segments(site, stream, store=None):
    return sorted(glob.glob(os.path.join(site.state, "stores", store or site.store, "streams", stream, "*.jsonl")))


def content(path):
    with open(path, "rb") as f:
        return f.read().rstrip(b"\0")


def spit(path, data):
    with open(path, "wb") as f:
        f.write(data)


def verify(site, *more, code=0):
    return site.prvng("audit", "verify", *more).expect(code)


def anchor_of(result):
    return result.out.strip().splitlines()[-1]


# Audit


def audit_verify():
    """Intact, with an anchor; each kind of tampering is named with its place, exit code 7."""
    with Site() as site:
        site.prvng("audit", "verify").expect(1, "nothing has run here")
        submit(site, workflow())
        submit(site, workflow(name="other", servers=("b-0",)), name="o.json")
        site.kill_engine()
        r = verify(site)
        anchor = anchor_of(r)
        check(anchor.startswith("prvng-anchor/1 "), "no anchor", r)
        verify(site, "--anchor", anchor)
        verify(site, "--anchor", site.write("anchors", f"# kept\n{anchor}\n"))
        verify(site, "--anchor", anchor.split(":")[-1])
        site.prvng("audit", "verify", "--anchor", anchor[:-1]).expect(2, "not whole")
        site.prvng("audit", "verify", "--anchor", "nowhere").expect(2, "nowhere")
        site.prvng("audit", "verify", "nobody").expect(1, "nobody")
        check(not site.engine(), "an audit started an engine")
        doc = verify(site, "--format", "json").json()
        check(doc["intact"] and doc["anchor"] == anchor and len(doc["streams"]) == 3, "the document", doc)
        one = verify(site, "shop", "--format", "json").json()
        check([s["workflow"] for s in one["streams"]] == [None, "shop"], "one run", one)

        run = status(site, "shop")["id"]
        path = segments(site, f"run-{run}")[0]
        whole = content(path)
        lines = whole.splitlines(keepends=True)
        records = [i for i, line in enumerate(lines) if line.startswith(b'{"seq":')]
        for what, at, data in (
                ("changed", None, whole[:700] + bytes([whole[700] ^ 1]) + whole[701:]),
                ("removed", records[5], b"".join(lines[:records[5]] + lines[records[5] + 1:])),
                ("reordered", records[2], b"".join(lines[:records[2]] + [lines[records[3]], lines[records[2]]] +
                                                   lines[records[3] + 1:])),
                ("truncated", None, b"".join(lines[:[i for i, line in enumerate(lines)
                                                     if line.startswith(b'{"seal":')][-2] + 1]))):
            spit(path, data)
            r = verify(site, "--format", "json", code=7)
            bad = r.json()["first_bad"]
            check(bad["fault"] == what and bad["stream"] == f"run-{run}", f"not {what}", r)
            check(what in r.err and f"segment {bad['segment']}, byte {bad['byte']}" in r.err, "no place", r)
            if at is not None:
                check(bad["line"] == at + 1 and lines[at].startswith(b'{"seq":%d,' % bad["seq"]), "which one", bad)
        spit(path, whole)
        path = segments(site, "site")[0]
        whole = content(path)
        lines = whole.splitlines(keepends=True)
        last = [i for i, line in enumerate(lines) if line.startswith(b'{"seal":')][-2]
        spit(path, b"".join(lines[:last + 1]))
        verify(site)
        verify(site, "--anchor", anchor, code=7)
        spit(path, whole)
        verify(site, "--anchor", anchor)


def audit_beside_an_engine():
    """An audit beside an engine at work finds nothing wrong, again and again, and never asks it."""
    with Site() as site:
        many = [f"s-{i}" for i in range(60)]
        submit(site, workflow(servers=("web-0",)))
        anchors = []
        p = run_until(site, workflow(name="many", servers=many, scripts={s: {"begin_ms": 20} for s in many}),
                      "effects", lambda: len(site.effects()) > 4)
        while p.poll() is None:
            r = verify(site, "--format", "json")
            anchors.append(r.json()["anchor"])
        site.finish(p).expect(0)
        check(len(anchors) > 1, "the run was over at once")
        site.write("anchors", "\n".join(anchors) + "\n")
        verify(site, "--anchor", site.path("anchors"))


def audit_after_a_crash():
    """What a crash tears off is no damage."""
    with Site() as site:
        p = run_until(site, workflow(scripts={"web-0": {"begin_ms": 60000}}), "effects",
                      lambda: site.effects())
        site.kill_engine()
        p.kill()
        site.finish(p)
        run = status(site, "shop")["id"]
        anchor = anchor_of(verify(site))
        check(f" run-{run}:" in anchor, "the run in flight is not in the anchor", anchor)
        path = segments(site, f"run-{run}")[0]
        with open(path, "r+b") as f:
            f.seek(len(content(path)))
            f.write(b'{"seq":999')
        verify(site, code=7)  # no crash writes another number
        whole = content(path)[:-10]
        seq = whole.count(b'{"seq":')
        spit(path, whole + b'{"seq":%d,"at":17' % (seq + 1))
        verify(site, "--anchor", anchor)


if __name__ == "__main__":
    main([audit_verify, audit_beside_an_engine, audit_after_a_crash])
