# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Ends a job with all its processes. $1: folder of all jobs, $2: name. Exit code 0 if it does not run
# (any more); 75: it does not end.
d=$1/$2

marked() {
        grep -lzxFs "PRVNG_JOB=$1/$2" /proc/[0-9]*/environ | while read -r f; do
                f=${f%/environ}
                kill "-$3" "${f#/proc/}"
        done
} 2>/dev/null

running() {
        [ -e "$d/lock" ] && ! flock -sn "$d/lock" true
}

if [ ! -d "$d" ]; then
        exit 0
fi
if [ -d /run/systemd/system ]; then
        systemctl --quiet stop "prvng-job-$2.service" 2>/dev/null
fi
if ! running; then
        exit 0
fi
tries=0
while running; do
        case $tries in
        0 | 5) marked "$1" "$2" TERM ;;
        30 | 35 | 40) marked "$1" "$2" KILL ;;
        50) # the keeper itself hangs
                read -r pid _ <"$d/started" && kill -KILL "$pid" ;;
        100)
                echo "job $2 does not end" >&2
                exit 75
                ;;
        esac
        tries=$((tries + 1))
        sleep 0.1
done
# What left its session and did not mind SIGTERM.
marked "$1" "$2" KILL
exit 0
