# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Removes what is kept of an ended job. $1: folder of all jobs, $2: name. Exit code 16: it runs still.
d=$1/$2
rm -rf "$1"/.gone.* # of a call that was interrupted
if [ ! -d "$d" ]; then
        exit 0
fi
if [ -e "$d/lock" ] && ! flock -sn "$d/lock" true; then
        exit 16
fi
# At once or not at all: half a job would be taken for one that was killed.
mv "$d" "$1/.gone.$2.$$" && rm -rf "$1/.gone.$2.$$"
