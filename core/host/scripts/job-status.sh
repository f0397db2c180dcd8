# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# How a job is: one line "STATE CODE ID", then its output. $1: folder of all jobs, $2: name, $3: offset
# into the output, $4: bytes at most.
d=$1/$2
state=unknown
code=0
id=-

ended() {
        [ -r "$d/status" ] && read -r state code <"$d/status"
}

# A keeper that died (a restart of the server, or killed) left no status. What its script made is ended
# before anybody is told so, or it would run beside a second start. (systemd does this by itself.)
died() {
        state=killed
        grep -lzxFs "PRVNG_JOB=$1/$2" /proc/[0-9]*/environ | while read -r f; do
                f=${f%/environ}
                kill -KILL "${f#/proc/}"
        done
} 2>/dev/null

if ! ended; then
        # The keeper writes the status before it lets go of the lock: so look again.
        if [ -e "$d/lock" ] && ! flock -sn "$d/lock" true; then
                state=running
        elif ! ended && [ -e "$d/started" ]; then
                died "$@"
        fi
fi
if [ -r "$d/started" ]; then
        read -r _ _ id <"$d/started"
fi
echo "$state $code $id"
if [ -r "$d/output" ]; then
        tail -c "+$(($3 + 1))" "$d/output" | head -c "$4"
fi
exit 0
