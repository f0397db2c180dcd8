# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Starts a job in a server. $1: folder of all jobs, $2: name, $3: bytes of the script, which comes on
# stdin, $4: text of the keeper (job-keep.sh). Exit code 0 also if the job is there already; 74: the
# script came incomplete; 75: the job did not start.
#
# This may be interrupted anywhere and called again: only the keeper says that a job started, under a
# lock, and it does so before it runs anything.
set -eu
umask 077
mkdir -p "$1"
d=$1/$2
if [ -e "$d/started" ]; then
        exit 0
fi
# What ended well a week ago nobody asks for again.
find "$1" -mindepth 2 -maxdepth 2 -name status -mmin +10080 | while read -r s; do
        if [ "$(cat "$s")" = "exited 0" ]; then
                rm -rf "${s%/status}"
        fi
done
mkdir -p "$d"
cd "$d"
cat >"run.$$"
if [ "$(wc -c <"run.$$")" -ne "$3" ]; then
        rm -f "run.$$"
        echo "the script came incomplete" >&2
        exit 74
fi
chmod 700 "run.$$"
mv -f "run.$$" run
printf '%s\n' "$4" >"keep.$$"
mv -f "keep.$$" keep
tries=200
if [ -d /run/systemd/system ] && command -v systemd-run >/dev/null; then
        # The unit may be there already, if somebody else starts the job now: then it starts anyway.
        systemd-run --quiet --collect --unit="prvng-job-$2" --description="prvng job $2" \
                --property=KillMode=control-group --property=TimeoutStopSec=5s \
                /bin/sh "$d/keep" "$d" >launch.log 2>&1 </dev/null || tries=20
else
        setsid /bin/sh "$d/keep" "$d" >launch.log 2>&1 </dev/null &
fi
while [ ! -e started ]; do
        tries=$((tries - 1))
        if [ "$tries" -lt 0 ]; then
                echo "the job did not start: $(tail -n 3 launch.log)" >&2
                exit 75
        fi
        sleep 0.05
done
