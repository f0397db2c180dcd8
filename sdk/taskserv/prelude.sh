# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2034
# What the scripts of taskservs share; put before each of them. It runs as root in the server with
# `sh -e`, in the job's folder; parameters are variables p_NAME, $prvng_taskserv is the taskserv,
# $prvng_server the server.
#
# What a script says to prvng are lines of its output that begin with "::":
#
#       ::progress PERMILLE TEXT    how far it is, and with what: also the name of the step that fails
#       ::result {...}              JSON object, merged into the result of the operation
#       ::unchanged                 there was nothing to do
#       ::state present|absent      (check scripts)
#       ::drift {...}               (check scripts) "attribute", "wanted" and "found" of a difference
#       ::transient TEXT            why it fails, in a way that may be over soon
#       ::error TEXT                why it fails
#
# Scripts must be able to run again after being killed anywhere: say what should be, not what to do.

case $0 in
/*/run) cd "${0%/*}" || exit ;; # run by hand: be in the job's folder, as the job is
esac
export DEBIAN_FRONTEND=noninteractive

progress() {
        echo "::progress $*"
}

# A JSON string. Control characters are left out.
json() {
        printf '"%s"' "$(printf %s "$1" | tr -d '\000-\037' | sed 's/\\/\\\\/g; s/"/\\"/g')"
}

# result KEY VALUE: both are texts.
result() {
        echo "::result {$(json "$1"):$(json "$2")}"
}

# version NAME VALUE: an entry of "versions" in the result.
version() {
        echo "::result {\"versions\":{$(json "$1"):$(json "$2")}}"
}

unchanged() {
        echo "::unchanged"
        exit 0
}

# Ends the script: why, and what the operator can do about it.
fail() {
        echo "::error $*"
        exit 1
}

# Ends the script for a reason that may be over soon: it is tried again.
transient() {
        echo "::transient $*"
        exit 75
}

absent() {
        echo "::state absent"
        exit 0
}

present() {
        echo "::state present"
}

# drift ATTRIBUTE WANTED FOUND
drift() {
        echo "::drift {\"attribute\":$(json "$1"),\"wanted\":$(json "$2"),\"found\":$(json "$3")}"
}

# same ATTRIBUTE WANTED FOUND: says the difference, if there is one.
same() {
        if [ "$2" != "$3" ]; then
                drift "$1" "$2" "$3"
        fi
}

# put FILE [MODE] <content: makes the file hold it, atomically; sets changed=1 if it did not.
changed=0
put() {
        put_dir=$(dirname "$1")
        put_new=$put_dir/.prvng-new
        mkdir -p "$put_dir"
        cat >"$put_new"
        chmod "${2:-644}" "$put_new"
        if [ -f "$1" ] && cmp -s "$put_new" "$1" &&
                [ "$(stat -c %a "$1")" = "${2:-644}" ]; then
                rm -f "$put_new"
        else
                sync "$put_new"
                mv -f "$put_new" "$1"
                changed=1
        fi
}

# file_is FILE <content: true if the file holds it.
file_is() {
        cmp -s - "$1"
}

systemd_runs() {
        [ -d /run/systemd/system ]
}

# ---- packages ----

# package_version NAME: prints the version of an installed package, nothing if it is not installed.
package_version() {
        # shellcheck disable=SC2016 # dpkg-query expands it
        dpkg-query -W -f '${db:Status-Abbrev}|${Version}\n' "$1" 2>/dev/null | sed -n 's/^ii *|//p'
}

# packages_missing NAME...: prints those that are not installed.
packages_missing() {
        # shellcheck disable=SC2016 # dpkg-query expands it
        have=" $(dpkg-query -W -f '${db:Status-Abbrev}|${Package}\n' "$@" 2>/dev/null |
                sed -n 's/^ii *|//p' | tr '\n' ' ')"
        for package; do
                case $have in
                *" $package "*) ;;
                *) printf '%s ' "$package" ;;
                esac
        done
}

# Who works with packages on this server holds it. Tests set another one.
apt_lock=${apt_lock:-/var/lib/prvng/apt.lock}

# apt_try ARGUMENT...: apt-get without questions; what it says is in the file apt.log, too. Several
# taskservs may work on one server at once: they wait for one another, and for others that hold dpkg's
# lock.
apt_try() {
        mkdir -p "${apt_lock%/*}"
        rm -f apt.failed
        # A pipe has the exit code of its last command only, hence the file.
        {
                flock 9
                apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 \
                        -o APT::Update::Error-Mode=any -o Dpkg::Options::=--force-confold \
                        -o Dpkg::Use-Pty=0 --no-install-recommends "$@" 2>&1 9>&- ||
                        touch apt.failed
        } 9>"$apt_lock" | tee apt.log
        [ ! -e apt.failed ]
}

# apt ARGUMENT...: as apt_try; a failure ends the script: as transient, if it looks like trouble with
# the network or a lock.
apt() {
        if apt_try "$@"; then
                return 0
        fi
        if grep -Eq 'Could not (resolve|connect|get lock)|Temporary failure|Connection (timed out|failed|refused)|Unable to (connect|acquire|lock)|Failed to fetch|Hash Sum mismatch|Network is unreachable' apt.log; then
                transient "apt-get $1: $(grep -E '^(E|Err)' apt.log | tail -n 1)"
        fi
        fail "apt-get $1: $(grep '^E' apt.log | tail -n 1)"
}

# The package lists, not older than an hour, or as fresh as the server.
packages_update() {
        if [ -n "$(find /var/lib/prvng/apt-updated -mmin -60 2>/dev/null)" ]; then
                return 0
        fi
        if [ -n "$(find /var/lib/apt/lists -maxdepth 0 -mmin -720)" ] &&
                [ -n "$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*')" ]; then
                return 0
        fi
        packages_update_now
}

packages_update_now() {
        apt update
        touch /var/lib/prvng/apt-updated
}

# What a job left that was killed while dpkg ran. With the lock, because what another taskserv is at work
# on looks just as unfinished.
packages_mend() {
        mkdir -p "${apt_lock%/*}"
        {
                flock 9
                if [ -n "$(dpkg --audit)" ]; then
                        dpkg --configure -a 9>&-
                fi
        } 9>"$apt_lock"
}

# packages_install NAME...: those that are missing. Sets changed=1 if there were any.
packages_install() {
        packages_mend
        missing=$(packages_missing "$@")
        if [ -z "$missing" ]; then
                return 0
        fi
        changed=1
        packages_update
        # What the lists name may be gone from the mirror.
        # shellcheck disable=SC2086 # a list
        if ! apt_try install $missing; then
                packages_update_now
                apt install $missing
        fi
        rm -f /var/cache/apt/archives/*.deb
}

# packages_remove NAME...: with their configuration.
packages_remove() {
        for package; do
                if [ -n "$(package_version "$package")" ]; then
                        changed=1
                        apt purge "$package"
                fi
        done
}

# ---- services ----

# service_start NAME [PROGRAM ARGUMENT...]: enables and starts it; where no systemd runs, PROGRAM in the
# background. service_restart likewise.
service_start() {
        if systemd_runs; then
                service_enable "$1"
                systemctl start "$1" || { service_why "$1"; return 1; }
        elif ! service_active "$1" && [ $# -gt 1 ]; then
                mkdir -p /run/prvng
                service=$1
                shift
                setsid env -u PRVNG_JOB "$@" </dev/null >"/run/prvng/$service.log" 2>&1 &
                echo $! >"/run/prvng/$service.pid"
        fi
}

service_restart() {
        if systemd_runs; then
                service_enable "$1"
                systemctl restart "$1" || { service_why "$1"; return 1; }
        else
                service_stop "$1"
                service_start "$@"
        fi
}

service_enable() {
        if ! systemctl --quiet is-enabled "$1" 2>/dev/null; then
                systemctl --quiet enable "$1"
        fi
}

service_active() {
        if systemd_runs; then
                systemctl --quiet is-active "$1"
        else
                [ -r "/run/prvng/$1.pid" ] && kill -0 "$(cat "/run/prvng/$1.pid")" 2>/dev/null
        fi
}

service_stop() {
        if systemd_runs; then
                systemctl --quiet disable --now "$1" 2>/dev/null || :
        elif service_active "$1"; then
                kill "$(cat "/run/prvng/$1.pid")"
                rm -f "/run/prvng/$1.pid"
        fi
}

# The end of a service's log, for the operator.
service_why() {
        systemctl --no-pager --lines=15 status "$1" || :
}

# ---- the taskserv's own script ----
