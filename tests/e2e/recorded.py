#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the real engine and the provider upcloud exchanged with a fake of the API is recorded, and played back to
another engine without a server and with credentials that nobody would accept."""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "support"), os.path.join(HERE, "..", "fakes")]
from live import check, main  # noqa: E402
from upcloud import Cloud  # noqa: E402

SERVERS = [{"name": "web-0", "cpu": 2, "memory": 2048, "disk": 20, "labels": {"role": "web"}}]


def make_and_delete(site):
    site.submit(site.define([dict(s) for s in SERVERS]))
    made = site.resource("server.web-0")["outputs"]
    site.prvng("batch", "destroy", "shop", "--watch").expect(0)
    return made


def recorded():
    """A workflow is recorded without its secrets, and played back to the same end"""
    with Cloud() as site:
        tape = os.path.join(site.folder, "tape.jsonl")
        credentials = [v for k, v in site.env.items() if k.startswith("UPCLOUD_") and "URL" not in k]
        site.env["PRVNG_HTTP_RECORD"] = tape
        made = make_and_delete(site)
        with open(tape, encoding="utf-8") as f:
            text = f.read()
    lines = [json.loads(line) for line in text.splitlines()]
    check(lines[0]["prvng_http_recording"] == 1 and len(lines) > 4, "no recording", text[:2000])
    check(credentials and not [c for c in credentials if c in text], "a credential was recorded")
    made_by = [line for line in lines if (line.get("request") or {}).get("target") == "/server" and
               line["request"]["method"] == "POST"]
    check(len(made_by) == 1 and "${" + made_by[0]["op"] + "}" in json.dumps(made_by[0]["request"]),
          "an op id stands there as it was", made_by)

    with Cloud() as site:
        tape = os.path.join(site.folder, "tape.jsonl")
        with open(tape, "w", encoding="utf-8") as f:
            f.write(text.replace('"order":"strict"', '"order":"any"'))
        for name in [k for k in site.env if k.startswith("UPCLOUD_") and "URL" not in k]:
            site.env[name] = "of-nobody"
        site.env["PRVNG_HTTP_REPLAY"] = tape
        again = make_and_delete(site)
        check(again["id"] == made["id"] and again["addresses"] == made["addresses"], "another server", made, again)
        check(not site.fake.log(), "a request left", site.fake.log())


if __name__ == "__main__":
    main([recorded])
