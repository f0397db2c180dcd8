#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Debian packages: built as nobody and without a network, with the tests that they run themselves;
without an error of lintian's; installed in a root that was made for it, where a workflow then runs from
them alone, with a real local server; and removed, leaving nothing enabled.

Needs root (mmdebstrap, mounts) and a mirror of Debian. What is mounted lives in a mount namespace of its
own and goes with it.
"""
import ctypes
import os
import pwd
import shutil
import subprocess
import sys
import tempfile

SOURCE = sys.argv[1]
WORKFLOW = """name: shop
servers: [{name: package-0, memory: 512}]
operations:
  - {id: server, type: create, target: server, items: [package-0]}
"""
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

failures = 0
number = 0
folder = None


def run(*argv, **more):
    return subprocess.run(argv, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          timeout=more.pop("timeout", 900), **more)


def test(name, ok, why=""):
    global failures, number
    number += 1
    print("ok" if ok else "not ok", number, "-", name, flush=True)
    if not ok:
        failures += 1
        for line in (why or "").splitlines()[-60:]:
            print("#", line, flush=True)
    return ok


def finish():
    print(f"1..{number}")
    sys.exit(1 if failures else 0)


def skip_all(reason):
    print(f"1..0 # SKIP {reason}")
    sys.exit(0)


def become(command):
    """What a child does before `command`: no network but its own loopback, and nobody's rights."""
    return ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec setpriv --reuid nobody '
            '--regid nogroup --clear-groups env -i PATH=/usr/bin:/bin HOME=/nonexistent LANG=C.UTF-8 '
            'DEB_BUILD_OPTIONS="noautodbgsym parallel=2" "$@"', "sh", *command]


def build():
    tree = os.path.join(folder, "build", "prvng")
    made = run("scripts/package", "--source", tree, cwd=SOURCE)
    if made.returncode:
        return test("the source package's tree is made", False, made.stdout)
    user = pwd.getpwnam("nobody")
    for path, names, files in os.walk(os.path.dirname(tree)):
        for name in [path] + [os.path.join(path, f) for f in names + files]:
            os.chown(name, user.pw_uid, user.pw_gid, follow_symlinks=False)
    r = run(*become(["dpkg-buildpackage", "-b", "-us", "-uc"]), cwd=tree)
    debs = sorted(f for f in os.listdir(os.path.dirname(tree)) if f.endswith(".deb"))
    for deb in debs:
        shutil.move(os.path.join(os.path.dirname(tree), deb), folder)
    return test("they are built without root and without a network, and their tests pass",
                r.returncode == 0 and debs, r.stdout)


def debs():
    return [os.path.join(folder, f) for f in sorted(os.listdir(folder)) if f.endswith(".deb")]


def inside(*argv):
    """Runs a command with the made root as /, in a mount and a pid namespace of its own."""
    return run("unshare", "--mount", "--pid", "--fork", "--kill-child", sys.executable,
               os.path.abspath(__file__), "--inside", os.path.join(folder, "root"), *argv,
               env={**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive",
                    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"})


def enter(root, argv):
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(*arguments):
        subprocess.run(["mount", *arguments], check=True)

    mount("--make-rprivate", "/")
    mount("--bind", root, root)
    os.chdir(root)
    os.makedirs("old", exist_ok=True)
    mount("--rbind", "/sys", "sys")
    mount("-t", "proc", "proc", "proc")
    mount("--rbind", "/dev", "dev")
    mount("-t", "tmpfs", "tmpfs", "run")
    # A chroot is no mount, and servers want private mounts: a root of our own.
    if libc.syscall(SYS_PIVOT_ROOT[os.uname().machine], b".", b"old") != 0:
        sys.exit(f"pivot_root: {os.strerror(ctypes.get_errno())}")
    os.chdir("/")
    libc.umount2(b"/old", 2)  # MNT_DETACH
    os.execvp(argv[0], argv)


def install():
    root = os.path.join(folder, "root")
    copy = " ".join(f"'{d}'" for d in debs())
    r = run("mmdebstrap", "--variant=apt", "--mode=root", "--include=ca-certificates",
            "--skip=cleanup/apt/lists", f"--customize-hook=mkdir \"$1\"/debs && cp {copy} \"$1\"/debs/",
            '--customize-hook=chroot "$1" sh -c '
            '"apt-get install -qq -y --no-install-recommends /debs/*.deb"', "bookworm", root)
    return test("they install in a clean root", r.returncode == 0, r.stdout)


def workflow():
    with open(os.path.join(folder, "root", "root", "shop.yaml"), "w", encoding="utf-8") as f:
        f.write(WORKFLOW)
    listed = inside("prvng", "plugin", "list").stdout
    test("all plugins that were installed are ready",
         all(line.split()[-1] in ("enabled", "STATE") for line in listed.splitlines()) and "local" in listed, listed)
    r = inside("sh", "-ec", "cd /root; prvng batch submit shop.yaml --watch; echo; "
               "prvng server exec package-0 -- hostname; prvng batch destroy shop --watch")
    test("a workflow makes a server and removes it again, from the packages alone",
         r.returncode == 0 and "\npackage-0\n" in r.stdout, r.stdout)


def remove():
    inside("apt-get", "remove", "-qq", "-y", "prvng-provider-local")
    listed = inside("prvng", "plugin", "list").stdout
    test("a removed provider is not enabled any more", "local" not in listed and "yaml" in listed, listed)
    names = [os.path.basename(d).split("_")[0] for d in debs()]
    r = inside("apt-get", "purge", "-qq", "-y", *names)
    left = [os.path.join(top, place) for place, which in [("usr/lib", "prvng"), ("usr/libexec", "prvng"),
                                                          ("usr/share", "prvng"), ("etc", "prvng"),
                                                          ("usr/bin", "prvng")]
            for top in [os.path.join(folder, "root")]
            if os.path.exists(os.path.join(top, place, which))]
    test("nothing is left when all are purged", r.returncode == 0 and not left, r.stdout + "\n".join(left))


def main():
    global folder
    if len(sys.argv) > 3 and sys.argv[1] == "--inside":
        enter(sys.argv[2], sys.argv[3:])
    if os.geteuid() != 0:
        skip_all("needs root, for a root of its own")
    for program in ("dpkg-buildpackage", "dh", "lintian", "mmdebstrap", "setpriv", "git"):
        if not shutil.which(program):
            skip_all(f"needs {program}")
    # Not below a folder that only root may enter: nobody builds there.
    with tempfile.TemporaryDirectory(prefix="prvng-packages-") as folder:
        os.chmod(folder, 0o755)
        if build():
            r = run("lintian", "--allow-root", "--fail-on", "error", *debs())
            test("lintian finds no error", r.returncode == 0, r.stdout)
            if install():
                workflow()
                remove()
    finish()


main()
