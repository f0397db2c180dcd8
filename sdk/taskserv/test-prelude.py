#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The rule of prelude.sh for packages: one taskserv at a time, and what another one is at work on is not mended.

    test-prelude.py PRELUDE

dpkg and apt-get are scripts that write down what they are asked; the lock is a file of the test.
"""
import fcntl
import os
import subprocess
import sys
import tempfile
import time

PRELUDE = os.path.abspath(sys.argv[1])
DPKG = """#!/bin/sh
echo "dpkg $*" >>"$FOLDER/asked"
[ "$1" != --audit ] || cat "$FOLDER/half" 2>/dev/null || true
[ "$1" != --configure ] || rm -f "$FOLDER/half"
"""
APT = """#!/bin/sh
echo "apt-get" >>"$FOLDER/asked"
(: >&9) 2>/dev/null && echo "holds the lock" >>"$FOLDER/asked"
exit 0
"""


class Server:
    """A folder with the programs; use with `with`."""

    def __enter__(self):
        self.place = tempfile.TemporaryDirectory(prefix="prvng-prelude-")
        self.folder = self.place.name
        for name, text in (("dpkg", DPKG), ("apt-get", APT)):
            self.write("bin/" + name, text)
            os.chmod(self.path("bin/" + name), 0o755)
        self.lock = self.path("state/apt.lock")
        return self

    def __exit__(self, *_):
        self.place.cleanup()

    def path(self, name):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def write(self, name, text=""):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)

    def asked(self):
        try:
            with open(self.path("asked"), encoding="utf-8") as f:
                return f.read().split("\n")[:-1]
        except FileNotFoundError:
            return []

    def start(self, script):
        env = {"PATH": self.path("bin") + ":/usr/sbin:/usr/bin:/sbin:/bin", "FOLDER": self.folder,
               "apt_lock": self.lock}
        return subprocess.Popen(["sh", "-e", "-c", f". {PRELUDE}\n{script}"], env=env, cwd=self.folder,
                                stdin=subprocess.DEVNULL)

    def run(self, script):
        code = self.start(script).wait(60)
        assert code == 0, f"{script}: exit code {code}"

    def hold(self):
        """Another taskserv is at work."""
        f = open(self.path("state/apt.lock"), "w", encoding="utf-8")
        fcntl.flock(f, fcntl.LOCK_EX)
        return f

    def waits(self, p):
        """The script has come to the lock: somebody waits for it, says the kernel."""
        node = f":{os.stat(self.lock).st_ino} "
        end = time.monotonic() + 60
        while time.monotonic() < end:
            assert p.poll() is None, "it did not wait for the lock"
            with open("/proc/locks", encoding="utf-8") as f:
                if any(" -> FLOCK" in x and node in x for x in f):
                    return
            time.sleep(0.01)
        raise AssertionError("it never came to the lock")


def mends_what_was_left():
    with Server() as s:
        s.write("half", "libhalf\n")
        s.run("packages_mend")
        assert s.asked() == ["dpkg --audit", "dpkg --configure -a"], s.asked()
        s.run("packages_mend")
        assert s.asked()[2:] == ["dpkg --audit"], s.asked()


def leaves_what_another_is_at():
    with Server() as s:
        s.write("half", "libhalf\n")  # as it looks while the other's dpkg runs
        with s.hold():
            p = s.start("packages_mend")
            s.waits(p)
            assert s.asked() == [], "it looked while another one was at work"
            os.unlink(s.path("half"))
        assert p.wait(60) == 0
        assert s.asked() == ["dpkg --audit"], s.asked()


def installs_one_at_a_time():
    with Server() as s:
        with s.hold():
            p = s.start("apt_try install x")
            s.waits(p)
            assert s.asked() == [], "it installed while another one was at work"
        assert p.wait(60) == 0
        assert s.asked() == ["apt-get"], "a daemon that a package starts would keep the lock: %s" % s.asked()


TESTS = [mends_what_was_left, leaves_what_another_is_at, installs_one_at_a_time]
print(f"1..{len(TESTS)}")
bad = 0
for number, test in enumerate(TESTS, 1):
    try:
        test()
        print(f"ok {number} - {test.__name__}")
    except AssertionError as e:
        bad = 1
        print(f"not ok {number} - {test.__name__}: {e}")
sys.exit(bad)
