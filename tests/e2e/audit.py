#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The audit, backups, moves between stores, and what no journal knows: with the real programs.

The provider is testcloud, a cloud in a folder. Arguments: names of tests, to run only these.
"""
import glob
import hashlib
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from live import BUILD, SANITIZED, Site, check, main  # noqa: E402
from commands import run_until, status, statuses, submit, workflow  # noqa: E402


STEPS = int(os.environ.get("PRVNG_TEST_SHARE") or (5 if SANITIZED else 1))  # each Nth step only


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
        scripts = {s: {"begin_ms": 20} for s in many}
        scripts["s-59"] = {"gate": {"verb": "create", "unless": "go"}}
        p = run_until(site, workflow(name="many", servers=many, scripts=scripts), "effects",
                      lambda: len(site.effects()) > 4)
        while p.poll() is None:
            anchors.append(verify(site, "--format", "json").json()["anchor"])
            if len(anchors) == 5:
                spit(os.path.join(site.world, "go"), b"")
        site.finish(p).expect(0)
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


def audit_log():
    """Who did what, in the order in which it was done."""
    with Site() as site:
        site.prvng("audit", "log").expect(0, "Nobody")
        submit(site, workflow(servers=("web-0",), taskservs=()))
        p = run_until(site, workflow(name="late", servers=("l-0",), taskservs=(),
                                     scripts={"l-0": {"pending_ms": 1500}}), "an effect",
                      lambda: len(site.effects()) > 1)
        site.prvng("batch", "pause", "late").expect(0)
        site.prvng("batch", "resume", "late").expect(0)
        site.finish(p).expect(0)
        site.prvng("batch", "rollback", "late", "--watch")
        log = site.prvng("audit", "log", "--format", "json").expect(0).json()["log"]
        check([(e["what"], e["workflow"]) for e in log] ==
              [("submitted", "shop"), ("submitted", "late"), ("paused", "late"), ("resumed", "late"),
               ("reopened", "late"), ("rolled back", "late")], "the log", log)
        check(all(e["who"]["user"] and e["who"]["host"] and e["at"] for e in log), "who", log)
        one = site.prvng("audit", "log", "shop", "--format", "json").expect(0).json()["log"]
        check([e["what"] for e in one] == ["submitted"], "of one run", one)
        site.prvng("audit", "log").expect(0, "rolled back", "to checkpoint 0")


# Backups


def listing(site):
    return [(w["name"], w["id"], w["status"]) for w in
            site.prvng("batch", "list", "--format", "json").expect(0).json()["workflows"]]


def inventory(site):
    return site.prvng("resource", "list", "--format", "json").expect(0).json()["resources"]


def aside(site):
    return sorted(glob.glob(os.path.join(site.state, "stores.*")))


def backup_and_restore():
    """A backup taken beside an engine at work; restored, runs in flight wait for the operator."""
    with Site() as site:
        submit(site, workflow())
        p = run_until(site, workflow(name="late", servers=("l-0", "l-1"),
                                     scripts={"l-0": {"pending_ms": 4000}}),
                      "effects", lambda: len(site.servers()) > 2)
        backup = site.path("b.prvng")
        anchor = anchor_of(site.prvng("store", "export", backup).expect(0))
        site.prvng("store", "export", backup).expect(1, "exists")
        site.prvng("store", "import", backup, "--replace").expect(7, "in use", "stop that engine")
        site.finish(p).expect(0)
        site.kill_engine(15)
        verify(site, "--anchor", anchor)
        before = inventory(site)
        check(len(before) == 8, "the inventory", before)

        site.prvng("store", "import", backup).expect(1, "--replace")
        with open(backup, "rb") as f:
            whole = f.read()
        for broken in (whole[:-30], whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:], whole + b"x", b"", b"{}\n"):
            spit(site.path("broken"), broken)
            site.prvng("store", "import", site.path("broken"), "--replace").expect(7, "broken, byte")
        check(not aside(site), "something was left behind", aside(site))
        site.prvng("store", "import", backup, "--replace").expect(0, "resource orphans", "stores.replaced-")
        check(len(aside(site)) == 1, "the old stores are not beside it", aside(site))
        verify(site, "--anchor", anchor)
        check([w[2] for w in listing(site)] == ["succeeded", "running"], "runs", listing(site))

        calls = os.path.getsize(os.path.join(site.world, "calls.log"))
        site.start_engine()
        check([w[2] for w in listing(site)] == ["succeeded", "paused"], "not paused", listing(site))
        check("restored from a backup" in site.log(), "it does not say so", site.log())
        log = open(os.path.join(site.world, "calls.log"), encoding="utf-8").read()[calls:]
        check("begin" not in log, "something was begun before anybody said so", log)
        site.prvng("batch", "resume", "late").expect(0)
        site.prvng("batch", "attach", "late").expect(0)
        check([(r["key"], r["workflow"]) for r in inventory(site)] == [(r["key"], r["workflow"]) for r in before],
              "the inventory is not what it was", inventory(site))
        check(not site.violations(), "something was done twice", site.violations())
        types = [r for r in site.prvng("store", "cat").expect(0).out.splitlines() if '"type":"restored"' in r]
        check(len(types) == 1 and '"who":{"user"' in types[0], "the record", types)


def import_elsewhere():
    """A backup makes a whole site out of nothing, and in another store than it came from."""
    with Site() as site, Site(store="rkvs", plugins=("rkvs",)) as other:
        submit(site, workflow())
        backup = site.path("b.prvng")
        anchor = anchor_of(site.prvng("store", "export", backup).expect(0))
        other.prvng("store", "import", backup).expect(0)
        check(not aside(other), "an empty store was kept", aside(other))
        verify(other, "--anchor", anchor)
        check(listing(other) == listing(site) and inventory(other) == inventory(site), "not the same")
        check(statuses(other, "shop") == statuses(site, "shop"), "the run cannot be read")
        other.start_engine()
        verify(other, "--anchor", anchor)


def migrate():
    """To another store and back: nothing is lost; with the wrong configuration no engine starts."""
    with Site(plugins=("rkvs",)) as site:
        submit(site, workflow())
        site.prvng("store", "migrate", "rkvs").expect(7, "in use")
        site.kill_engine(15)
        before = (listing(site), inventory(site), statuses(site, "shop"))
        site.prvng("store", "migrate", "file").expect(1, "already")
        site.prvng("store", "migrate", "nowhere").expect(7, "nowhere")
        check(not aside(site), "something was left behind", aside(site))
        anchor = anchor_of(verify(site))
        for store in ("rkvs", "file"):
            site.prvng("store", "migrate", store).expect(0, f'store = "{store}"')
            engine = site.start_engine(expect_ready=False)
            check(engine.wait(20) == 7 and f'store = "{store}"' in engine.said, "it starts on the old store", engine.said)
            conf = open(site.path("config/prvng/prvng.conf"), encoding="utf-8").read()
            site.write("config/prvng/prvng.conf", conf.replace(f'store = "{site.store}"', f'store = "{store}"'))
            site.store = store
            verify(site, "--anchor", anchor)
            check((listing(site), inventory(site), statuses(site, "shop")) == before, "not the same", listing(site))
            submit(site, workflow())
            check(set(statuses(site, "shop").values()) == {"unchanged"}, "it does not know what it made")
            before = (listing(site), inventory(site), statuses(site, "shop"))
            site.kill_engine(15)
            anchor = anchor_of(verify(site, "--anchor", anchor))
        site.prvng("batch", "destroy", "shop", "--watch").expect(0)
        check(not site.servers(), "what is left", site.servers())
        site.prvng("store", "check").expect(0)


# Compaction


def streams(site):
    return set(site.prvng("store", "cat", "--list").expect(0).out.split())


def compact():
    """What runs did long ago is removed; what they were is signed, and what they made is still there."""
    with Site() as site:
        for cpu in (1, 2, 3):
            submit(site, workflow(cpu=cpu))
        before = len(site.effects())
        p = run_until(site, workflow(name="late", servers=("l-0",), scripts={"l-0": {"pending_ms": 60000}}),
                      "an effect", lambda: len(site.effects()) > before)
        p.send_signal(2)
        site.finish(p)
        anchor = anchor_of(verify(site))
        runs, things = listing(site), inventory(site)
        check("No run" in site.prvng("store", "compact").expect(0).out, "it does not wait 30 days")
        site.prvng("store", "compact", "--older-than", "soon").expect(2, "days")
        r = site.prvng("store", "compact", "--older-than", "0", "--dry-run", "--format", "json").expect(0)
        check([c["id"] for c in r.json()["compacted"]] == [w[1] for w in runs[:3]], "which ones", r)
        check(len(streams(site)) == 5, "a dry run removed something", streams(site))
        site.prvng("store", "compact", "--older-than", "0").expect(0, "3 runs compacted")
        check(streams(site) == {"site", f"run-{runs[3][1]}"}, "streams", streams(site))
        check((listing(site), inventory(site)) == (runs, things), "the list or the inventory changed", listing(site))
        key = os.path.join(site.state, "site-key.pem")
        check(os.stat(key).st_mode & 0o777 == 0o600, "others can read the key")
        r = verify(site, "--anchor", anchor, "--format", "json").json()
        check([s["state"] for s in r["streams"]] == ["intact"] + ["compacted"] * 3 + ["intact"], "states", r)
        for command in ("rollback", "retry"):
            site.prvng("batch", command, runs[2][1]).expect(1, "compacted")
        check("compacted" in site.prvng("batch", "status", runs[0][1]).err, "status does not say why")
        site.prvng("store", "compact", "--older-than", "0").expect(0, "No run")

        site.kill_engine()
        site.start_engine()
        check((listing(site), inventory(site)) == (runs, things), "a restart forgets something", listing(site))
        backup = site.path("b.prvng")
        site.prvng("store", "export", backup).expect(0)
        site.prvng("batch", "cancel", "late").expect(0)
        submit(site, workflow(cpu=4))
        site.prvng("batch", "destroy", "shop", "--watch").expect(0)
        os.unlink(key)  # lost: the next one is another
        site.prvng("store", "compact", "--older-than", "0").expect(0)
        verify(site, "--anchor", anchor)
        site.kill_engine(15)
        site.prvng("store", "import", backup, "--replace").expect(0)
        verify(site, "--anchor", anchor)
        check(listing(site) == runs, "the backup", listing(site))


def compact_dies():
    """An engine that dies at any record of a compaction: what is signed goes, what is not stays."""
    for way in ("before", "whole", "after"):
        for record in (1, 2, 3):
            with Site(store="crashstore") as site:
                submit(site, workflow(servers=("a-0",), taskservs=()))
                submit(site, workflow(servers=("a-0",), taskservs=(), cpu=2))
                runs, things = listing(site), inventory(site)
                site.kill_engine(15)
                anchor = anchor_of(verify(site))
                crash = {"PRVNG_CRASH": f"{record + 1}:{way}", "PRVNG_CRASH_STATE": site.path("crash")}
                site.start_engine(env=crash)  # its first record is its own
                site.prvng("store", "compact", "--older-than", "0", env={"PRVNG_CRASH": ""}).expect(0)
                check(not any(s.startswith("run-") for s in streams(site)), "it is not carried out", streams(site))
                check((listing(site), inventory(site)) == (runs, things), "something is lost", listing(site))
                verify(site, "--anchor", anchor)
                site.kill_engine(15)


# Orphans


def orphans_of(site):
    return site.prvng("resource", "orphans", "--format", "json").expect(0).json()


def make_orphans(site):
    """Restores a backup that is older than the servers of workflow late."""
    submit(site, workflow(servers=("web-0",), taskservs=()))
    submit(site, workflow(servers=("web-0",), taskservs=(), cpu=2))
    backup = site.path("b.prvng")
    site.prvng("store", "export", backup).expect(0)
    submit(site, workflow(name="late", servers=("l-0", "l-1"), taskservs=()))
    site.kill_engine(15)
    site.prvng("store", "import", backup, "--replace").expect(0)


def epochs(site):
    """Of the engines that asked the test plugins what they have; 0: it was no engine."""
    with open(os.path.join(site.world, "calls.log"), encoding="utf-8") as f:
        return [line.split()[4] for line in f if line.startswith("list ")]


def orphans():
    """What no journal knows is found, beside an engine or without; what is being made is none."""
    with Site() as site:
        site.prvng("resource", "orphans").expect(1, "nothing has run here")
        make_orphans(site)
        found = orphans_of(site)
        check(sorted(o["key"] for o in found["orphans"]) == ["server.l-0", "server.l-1"] and not found["unclear"],
              "orphans", found)
        check({o["workflow"] for o in found["orphans"]} == {"late"}, "whose", found)
        check(not site.engine(), "looking started an engine")
        r = site.prvng("resource", "orphans").expect(0, "server.l-0", "orphan")
        check("web-0" not in r.out, "the owned one is listed", r)
        before = len(site.effects())
        p = run_until(site, workflow(name="busy", servers=("b-0",), taskservs=(),
                                     scripts={"b-0": {"pending_ms": 3000}}), "an effect",
                      lambda: len(site.effects()) > before)
        asked = epochs(site)
        check(asked and set(asked) == {"epoch-0"}, "who asked without an engine", asked)
        check(len(orphans_of(site)["orphans"]) == 2, "what is being made is an orphan", orphans_of(site))
        asked = epochs(site)[len(asked):]
        check(asked and "epoch-0" not in asked, "the command asked beside the engine, past its limits", asked)
        code, found = site.get("/resources/orphans")
        check(code == 200 and len(found["orphans"]) == 2 and found["silent"] == [], "over HTTP", code, found)
        methods = site.get("/openapi.json")[1]["paths"]["/resources/orphans"]
        check(set(methods) == {"get", "post"}, "openapi.json", methods)
        site.finish(p).expect(0)
        check(len(orphans_of(site)["orphans"]) == 2, "what was made is an orphan", orphans_of(site))


def orphans_adopted():
    """Adopted, they belong to their workflow, which can be run and destroyed like before."""
    with Site() as site:
        make_orphans(site)
        site.prvng("resource", "orphans", "--adopt", "--delete").expect(2, "one of them")
        site.prvng("resource", "orphans", "--adopt").expect(0, "server.l-0 belongs to workflow late")
        site.prvng("resource", "orphans").expect(0, "No orphans")
        mine = {r["key"]: r for r in inventory(site)}
        check(mine["server.l-0"]["workflow"] == "late" and mine["server.l-0"]["op_id"] is None, "adopted", mine)
        site.kill_engine()
        site.start_engine()
        check({r["key"] for r in inventory(site)} == set(mine), "a restart forgets it", inventory(site))
        who = [r for r in site.prvng("store", "cat").expect(0).out.splitlines() if "server.l-0" in r]
        check('"who":{"user"' in who[0], "who adopted it", who)
        check(mine["server.l-0"]["spec"] == {"name": "l-0", "cpu": 1, "memory": 1024, "disk": 10},
              "what is known of it", mine["server.l-0"])
        file = site.write("w.json", workflow(name="late", servers=("l-0",), taskservs=(), cpu=4))
        plan = site.prvng("batch", "submit", file, "--dry-run", "--format", "json").expect(0).json()
        seen = [(d["path"], d["from"], d["to"]) for d in plan["tasks"][0]["difference"]]
        check(seen == [("cpu", 1, 4)], "the plan", plan["tasks"])
        submit(site, workflow(name="late", servers=("l-0", "l-1"), taskservs=()))
        site.prvng("batch", "destroy", "late", "--watch").expect(0)
        check(site.servers() == ["server.web-0"], "what is left", site.servers())
        verify(site)


def orphans_deleted():
    """Deleted, by a run of their own; nothing else is touched."""
    with Site() as site:
        make_orphans(site)
        site.prvng("resource", "orphans", "--delete").expect(2, "--yes")
        check(len(site.servers()) == 3, "it did not wait for an answer", site.servers())
        r = site.prvng("resource", "orphans", "--delete", "--yes", "--format", "json").expect(0)
        runs = r.json()["runs"]
        check(len(runs) == 1 and runs[0]["name"] == "late", "one run", r)
        site.prvng("batch", "attach", runs[0]["id"]).expect(0)
        check(site.servers() == ["server.web-0"], "what is left", site.servers())
        check([r["key"] for r in inventory(site)] == ["server.web-0"], "the inventory", inventory(site))
        site.prvng("resource", "orphans").expect(0, "No orphans")
        site.prvng("resource", "orphans", "--delete", "--yes").expect(0, "No orphans")
        check(not site.violations(), "something was done twice")


# Formats


SITE, SHOP, LATE = "01M81XKTW500Z9BK96A5EFVQT8", "01M81XKTV6DEEK16KXS4NMYX71", "01M81XKV1FTDJVTRMH7MHZQSX3"
OP = "692QVPFR47MRDAVDSE1K9EY94G"
WHO = '"who":{"user":"root","host":"old"}'
SPEC = '{"name":"web-0","cpu":1,"memory":1024,"disk":10}'
OUTPUTS = ('{"name":"web-0","cpu":1,"memory":1024,"disk":10,"state":"running","hostname":"web-0","addresses":'
           '["127.0.0.1"]}')


def run_of_format_1(run, name, server):
    return [f'"run","run":"{run}","name":"{name}","kind":"batch",{WHO},"folder":"/w","file":"/w/w.json","max_attempts":3,'
            '"backoff":"linear","initial_delay":0,"max_delay":0,"logging":{"level":"info","path":"./logs","format":"json",'
            '"retention_days":30,"destinations":[]},"options":{},"notices":[]',
            '"lane","plugin":"provider/testcloud","batch_size":50,"rate_limit":1000',
            '"operation","id":"make","verb":"create","target":"server","on_failure":"fail","timeout":300',
            f'"task","id":"make/{server}","operation":0,"verb":"create","key":"server.{server}","item":"{server}",'
            f'"server":"{server}","doc":{{"kind":"server","name":"{server}","workflow":"{name}","site":"{SITE}",'
            f'"spec":{SPEC.replace("web-0", server)}}}',
            '"planned","n_tasks":1,"n_deps":0',
            f'"intent","task":0,"op_id":"{OP.replace("6", "7") if server != "web-0" else OP}","request":{{"kind":"server",'
            f'"name":"{server}","workflow":"{name}","site":"{SITE}","spec":{SPEC.replace("web-0", server)}}}']


def stream_of_format_1(name, batches, number=1):
    """The bytes of a segment, sealed as docs/journal-format.md says; and the digests of its seals."""
    salt = bytes(range(16))
    out, after, seq, heads = b"", bytes(32), 0, []
    batch = f'{{"segment":1,"format":{number},"stream":"{name}","salt":"{salt.hex()}"}}\n'.encode()
    for seal, records in enumerate(batches, 1):
        for record in records:
            seq += 1
            batch += f'{{"seq":{seq},"at":{1795349410206 + seq},"type":{record}}}\n'.encode()
        digest = hashlib.sha256(after + salt + (1).to_bytes(4, "little") + seal.to_bytes(8, "little") + batch).digest()
        out += batch + (f'{{"seal":{seal},"records":{len(records)},"after":"{after.hex()}",'
                        f'"sha256":"{digest.hex()}"}}\n').encode()
        batch, after = b"", digest
        heads.append(digest.hex())
    return out, heads


def site_of_format_1(site):
    """What the first version left: one run that ended, one in flight whose intent is durable."""
    shop, heads = stream_of_format_1(f"run-{SHOP}", [
        run_of_format_1(SHOP, "shop", "web-0"), [f'"done","task":0,"answer":"DONE","outputs":{OUTPUTS}'],
        ['"end","status":"succeeded"']])
    late, _ = stream_of_format_1(f"run-{LATE}", [run_of_format_1(LATE, "late", "l-0")])
    own, _ = stream_of_format_1("site", [
        [f'"site","site":"{SITE}","format":1', '"engine","epoch":1,"pid":1,"host":"old","version":"0.1.0"'],
        [f'"accepted","run":"{SHOP}","name":"shop","kind":"batch","store":"file","stream":"run-{SHOP}",{WHO},'
         '"claims":["server.web-0"]'],
        [f'"resource","key":"server.web-0","workflow":"shop","plugin":"provider/testcloud","spec":{SPEC},'
         f'"outputs":{OUTPUTS},"op_id":"{OP}","run":"{SHOP}","changed":1795349410300',
         # that version named the seal in front of the one that covers the end
         f'"ended","run":"{SHOP}","status":"succeeded","head":"{heads[-2]}"'],
        [f'"accepted","run":"{LATE}","name":"late","kind":"batch","store":"file","stream":"run-{LATE}",{WHO},'
         '"claims":["server.l-0"]']])
    for name, data in (("site", own), (f"run-{SHOP}", shop), (f"run-{LATE}", late)):
        folder = os.path.join(site.state, "stores", "file", "streams", name)
        os.makedirs(folder)
        spit(os.path.join(folder, "00000001.jsonl"), data)
    spit(os.path.join(site.state, "stores", "file", "epoch"), b"1\n")


def format_1():
    """The journal of the version before is read, verified and gone on with, in segments of the present format."""
    with Site() as site:
        site_of_format_1(site)
        anchor = anchor_of(verify(site))
        check([(w[0], w[2]) for w in listing(site)] == [("shop", "succeeded"), ("late", "running")], "runs", listing(site))
        check(statuses(site, "shop") == {"make/web-0": "succeeded"}, "tasks", statuses(site, "shop"))
        check([r["key"] for r in inventory(site)][:2] == ["server.l-0", "server.web-0"], "inventory", inventory(site))
        site.prvng("store", "check").expect(0)
        site.start_engine()
        site.prvng("batch", "attach", "late").expect(0)
        verify(site, "--anchor", anchor)
        for stream, n in (("site", 2), (f"run-{LATE}", 2), (f"run-{SHOP}", 1)):
            check(len(segments(site, stream)) == n, f"segments of {stream}", segments(site, stream))
        check(b'"format":2' in content(segments(site, "site")[1]), "the new segment")
        before = len(site.effects())
        submit(site, workflow(name="late", servers=("l-0",), taskservs=()))
        check(len(site.effects()) == before, "it does not know what it made")
        site.kill_engine(15)
        site.prvng("store", "export", site.path("b")).expect(0)
        site.prvng("store", "import", site.path("b"), "--replace").expect(0)
        verify(site, "--anchor", anchor)


def format_of_the_future():
    """A journal of a newer version is refused, with a sentence, and not touched."""
    with Site() as site:
        folder = os.path.join(site.state, "stores", "file", "streams", "site")
        data, _ = stream_of_format_1("site", [[f'"site","site":"{SITE}","format":3', '"news","what":"ever"']], 3)
        os.makedirs(folder)
        spit(os.path.join(folder, "00000001.jsonl"), data)
        for command in (("batch", "list"), ("store", "check"), ("audit", "verify")):
            site.prvng(*command).expect(7, "is of format 3; this version reads up to 2")
        engine = site.start_engine(expect_ready=False)
        check(engine.wait(20) == 7 and "install the version that wrote it" in engine.said, "the engine", engine.said)
        check(content(os.path.join(folder, "00000001.jsonl")) == data, "it was changed")


def die_at_each_step(command, store_after):
    """Kills `prvng store ...` in front of each step on the disk: the site is whole, the old or the new one, and
    asking again carries it out."""
    with Site(plugins=("rkvs",)) as site:
        submit(site, workflow(servers=("web-0",), taskservs=()))
        backup = site.path("b.prvng")
        site.prvng("store", "export", backup).expect(0)
        submit(site, workflow(name="late", servers=("l-0",), taskservs=()))
        site.kill_engine(15)
        now, then = anchor_of(verify(site)), ["shop"]
        conf = site.path("config/prvng/prvng.conf")
        text = open(conf, encoding="utf-8").read()
        shutil.copytree(site.state, site.path("kept"))
        env = {"LD_PRELOAD": os.path.join(BUILD, "tests", "support", "steps.so"), "PRVNG_TEST_STEPS": site.path("steps")}
        site.prvng("store", *command, *([backup, "--replace"] if command == ("import",) else []), env=env).expect(0)
        n = int(open(site.path("steps"), encoding="ascii").read())
        check(n > 15, "hardly a step", n)
        seen = set()
        for at in range(1, n + 1, STEPS):
            shutil.rmtree(site.state)
            shutil.copytree(site.path("kept"), site.state)
            spit(conf, text.encode())
            more = [backup, "--replace"] if command == ("import",) else []
            r = site.prvng("store", *command, *more, env={**env, "PRVNG_TEST_STEP": str(at)})
            check(r.code == -9, f"it lived through step {at}", r)
            old = os.path.isdir(os.path.join(site.state, "stores", "file")) and \
                [w[0] for w in listing(site)] == ["shop", "late"]
            seen.add(old)
            if old:
                verify(site, "--anchor", now)
                site.prvng("store", *command, *more).expect(0)
            if store_after:
                spit(conf, text.replace('store = "file"', f'store = "{store_after}"').encode())
                verify(site, "--anchor", now)
                check([w[0] for w in listing(site)] == ["shop", "late"], f"not all of it after step {at}", listing(site))
            else:
                verify(site)
                check([w[0] for w in listing(site)] == then, f"not the backup after step {at}", listing(site))
            check(not os.path.exists(os.path.join(site.state, "stores.building")), "a leftover was not removed")
        check(seen == {True, False} or STEPS > 1, "it never died behind the exchange", seen)


def import_dies():
    """An import that is killed at any step leaves the old journal or the new one, whole."""
    die_at_each_step(("import",), None)


def migrate_dies():
    """So does a move to another store."""
    die_at_each_step(("migrate", "rkvs"), "rkvs")


if __name__ == "__main__":
    main([audit_verify, audit_beside_an_engine, audit_after_a_crash, audit_log, backup_and_restore, import_elsewhere,
          migrate, compact, compact_dies,
          orphans, orphans_adopted, orphans_deleted, format_1, format_of_the_future] + ([] if SANITIZED else [import_dies, migrate_dies]))
