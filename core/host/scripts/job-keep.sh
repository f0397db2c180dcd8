# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Keeps one job in a server and writes down its end. $1: folder of the job. Files there:
#
#       run       the script: `./run` runs it again by hand
#       lock      held by the keeper while it lives
#       started   "PID BOOT-ID ID", synced before the script may start: it starts at most once
#       output    of the script
#       status    "exited CODE" or "killed SIGNAL", renamed into place and synced
cd "$1" || exit 1
exec 9>>lock
flock -n 9 || exit 0
if [ -e started ]; then
        exit 0
fi
boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null) || boot=none
id=$(cat /proc/sys/kernel/random/uuid 2>/dev/null) || id=$$-$(date +%s)
echo "$$ $boot $id" >started.new && sync started.new && mv started.new started && sync . || exit 1
(
        umask 022
        exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
                HOME=/root LANG=C.UTF-8 PRVNG_JOB="$1" /bin/sh -e ./run
) </dev/null >>output 2>&1 9>&-
code=$?
if [ "$code" -gt 128 ]; then
        echo "killed $((code - 128))" >status.new
else
        echo "exited $code" >status.new
fi
sync status.new && mv status.new status && sync .
