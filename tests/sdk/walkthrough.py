#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The SDK as installed: docs/plugin-walkthrough.md runs as it stands there, and every skeleton passes the checker.

TAP. Installs this build into a folder of its own, and sees nothing else of it.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

BUILD, SOURCE = os.environ["PRVNG_TEST_BUILD"], os.environ["PRVNG_TEST_SOURCE"]
KINDS = ["provider", "taskserv", "secret", "store", "loader", "template"]


def find(root, name):
    for folder, folders, files in os.walk(root):
        if name in files or name in folders:
            return os.path.join(folder, name)
    sys.exit(f"{name} is not installed")


def environment(root, home):
    prefix = os.path.dirname(os.path.dirname(find(root, "prvng-plugin-check")))
    return {
        "HOME": home, "XDG_CONFIG_HOME": home + "/.config", "XDG_STATE_HOME": home + "/state",
        "XDG_CACHE_HOME": home + "/cache", "LANG": "C.UTF-8", "TMPDIR": home,
        "PATH": prefix + "/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "PKG_CONFIG_PATH": os.path.dirname(find(root, "prvng-1.pc")), "PKG_CONFIG_SYSROOT_DIR": root,
        "PRVNG_SKELETON_PATH": find(root, "skeleton"),
        "PRVNG_LIBEXEC_PATH": os.path.dirname(find(root, "prvngd")),
        "PRVNG_PLUGIN_PATH": os.path.dirname(os.path.dirname(find(root, "json.so"))),
        "PRVNG_DROPIN_PATH": os.path.dirname(find(root, "loaders-json.conf")),
        "PRVNG_SCHEMA_PATH": os.path.dirname(find(root, "workflows.k")),
    }


def shell(script, folder, env):
    done = subprocess.run(["bash", "-e", "-c", script], cwd=folder, env=env, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=800, check=False)
    return done.returncode, done.stdout


def transcript():
    with open(os.path.join(SOURCE, "docs", "plugin-walkthrough.md"), encoding="utf-8") as f:
        blocks = re.findall(r"```console\n(.*?)```", f.read(), re.S)
    return [line[2:] for block in blocks for line in block.split("\n") if line.startswith("$ ")]


def main():
    tap = []
    with tempfile.TemporaryDirectory(prefix="prvng-sdk-") as top:
        os.chmod(top, 0o755)
        root, home = top + "/root", top + "/home"
        os.makedirs(home + "/work", mode=0o755)
        done = subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", root],
                              capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"Bail out! meson install: {done.stdout[-2000:]}{done.stderr}")
            return 1
        env = environment(root, home)
        commands = transcript()
        tap.append((f"the walkthrough has {len(commands)} commands, fewer than 15", len(commands) >= 15))
        code, said = shell("set -x\n" + "\n".join(commands), home + "/work", env)
        tap.append(("the walkthrough does what it says", said[-3000:] if code else ""))
        for kind in KINDS:
            name = "my" + kind
            code, said = shell(f"prvng plugin new --kind {kind} {name} && cd {name} && meson setup build -Dwerror=true && "
                               "meson compile -C build && prvng-plugin-check --scenario check.json "
                               f"build/{name}.so", home + "/work", env)
            tap.append((f"the skeleton of a {kind} builds without a warning and passes the checker",
                        said[-3000:] if code else ""))
        code, said = shell("set +e; prvng plugin new --kind teapot x; test $? = 2 && prvng plugin new --kind store Bad; test $? = 2",
                           home + "/work", env)
        tap.append(("a wrong kind or name is refused", said if code else ""))
        shutil.rmtree(home, ignore_errors=True)
    print(f"1..{len(tap)}")
    for i, (name, wrong) in enumerate(tap, 1):
        print(f"{'not ok' if wrong else 'ok'} {i} - {name}")
        for line in str(wrong).split("\n") if wrong else []:
            print("#", line)
    return any(wrong for _, wrong in tap)


sys.exit(main())
