#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whose plugins run: pins, signatures by keys of the site's keyring, and what the journal says of them.

Keys are made by openssl when the test runs.
"""
import hashlib
import json
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from live import BUILD, Site, check, main  # noqa: E402

CLOUD = os.path.join(BUILD, "tests", "plugins", "testcloud.so")


def openssl(*argv):
    subprocess.run(["openssl", *argv], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def new_key(site, name):
    private, public = site.path(name + "-private.pem"), site.path(name + ".pem")
    openssl("genpkey", "-algorithm", "ed25519", "-out", private)
    openssl("pkey", "-in", private, "-pubout", "-out", public)
    return private, public


def sign(private, file):
    openssl("pkeyutl", "-sign", "-rawin", "-inkey", private, "-in", file, "-out", file + ".sig")


def own_copy(site):
    """A copy of testcloud's file that the site's drop-in names."""
    file = site.path("own/testcloud.so")
    os.makedirs(os.path.dirname(file), exist_ok=True)
    shutil.copy(CLOUD, file)
    site.dropin("testcloud", file, f'folder = "{site.world}";')
    return file


def plugin(site, name="testcloud"):
    listed = site.prvng("plugin", "list", "--format", "json").expect(0).json()["plugins"]
    return next(p for p in listed if p["name"] == name)


def refused(site, *words):
    p = plugin(site)
    check(p["state"] == "refused" and all(w in p["reason"] for w in words), f"refused with {words}", p)


def signatures():
    """A signature counts only by a key of the keyring and over this very file; required, it must be there."""
    with Site() as site:
        file = own_copy(site)
        ours, public = new_key(site, "vendor")
        theirs, _ = new_key(site, "stranger")
        check(plugin(site)["state"] in ("enabled", "isolated"), "unsigned is fine unless signatures are required")
        sign(ours, file)
        refused(site, "no key", "prvng plugin trust --key")
        site.prvng("plugin", "trust", "--key", site.path("vendor-private.pem")).expect(1, "public ed25519")
        site.prvng("plugin", "trust", "--key", public).expect(0, "vendor")
        p = plugin(site)
        check(p["state"] in ("enabled", "isolated") and p["signed_by"] == "vendor", "signed by a key of the keyring", p)
        sign(theirs, file)
        refused(site, "none of the 1 keys")
        sign(ours, file)
        with open(file, "ab") as f:
            f.write(b"x")
        refused(site, "not what was signed")
        os.remove(file + ".sig")
        check(plugin(site)["state"] in ("enabled", "isolated"), "no signature, none required")
        conf = open(site.path("config/prvng/prvng.conf"), encoding="utf-8").read()
        site.write("config/prvng/prvng.conf", conf + "require_signatures = true;\n")
        refused(site, "not signed", "require_signatures")
        sign(ours, file)
        check(plugin(site)["state"] in ("enabled", "isolated"), "signed, as is required", plugin(site))
        os.chmod(site.path("config/prvng/keys.d/vendor.pem"), 0o666)
        refused(site, "writable by everybody")


def trusting():
    """prvng plugin trust enables a file as it is: with its digest, after a word of agreement, once."""
    with Site() as site:
        os.remove(site.path("packaged/testcloud.conf"))
        file = site.path("mine.so")
        shutil.copy(CLOUD, file)
        site.prvng("plugin", "trust", file).expect(1, "--yes")
        check(not os.path.exists(site.path("config/prvng/plugins.d/providers-testcloud.conf")), "it was not agreed to")
        site.prvng("plugin", "trust", file, "--yes").expect(0, "providers-testcloud.conf")
        p = plugin(site)
        with open(file, "rb") as f:
            digest = hashlib.sha256(f.read()).hexdigest()
        check(p["state"] in ("enabled", "isolated") and p["sha256"] == digest, "enabled as it is", p)
        site.prvng("plugin", "trust", file, "--yes").expect(1, "already", digest)
        with open(file, "ab") as f:
            f.write(b"x")
        refused(site, "pins", digest)
        os.chmod(file, 0o777)
        site.prvng("plugin", "trust", file, "--yes").expect(1, "writable")
        site.prvng("plugin", "trust", site.write("text.so", "no plugin"), "--yes").expect(1, "no ELF file")
        site.prvng("plugin", "trust").expect(2, "--key")


def journaled():
    """The journal of a run names version, digest and build id of the plugins it was planned with."""
    with Site() as site:
        file = site.write("w.json", {"w": {
            "name": "w", "servers": [{"name": "a", "provider": "testcloud"}],
            "operations": [{"id": "make", "type": "create", "target": "server", "items": ["a"]}]}})
        site.prvng("batch", "submit", file, "--watch").expect(0)
        lines = [json.loads(line) for line in
                 site.prvng("batch", "events", "w", "--format", "json").expect(0).out.splitlines()]
        lane = next(r for r in lines if r["type"] == "lane")
        with open(CLOUD, "rb") as f:
            digest = hashlib.sha256(f.read()).hexdigest()
        notes = subprocess.run(["readelf", "-n", CLOUD], check=True, capture_output=True, text=True).stdout
        check(lane["plugin"] == "provider/testcloud" and lane["version"] == "1.0" and lane["sha256"] == digest,
              "the digest of the file", lane)
        check("Build ID: " + lane["build_id"] in notes, "the build id of the file", lane, notes)


main([signatures, trusting, journaled])
