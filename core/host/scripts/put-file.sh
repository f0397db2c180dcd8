# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Writes a file atomically. $1: absolute path, $2: mode (octal, without leading zero), $3: bytes of the
# content, which comes on stdin. Says "unchanged" if it is there already. 74: the content came
# incomplete.
set -eu
umask 022
dir=$(dirname -- "$1")
mkdir -p -- "$dir"
new=$dir/.prvng-$$.new
trap 'rm -f -- "$new"' EXIT
umask 077
cat >"$new"
if [ "$(wc -c <"$new")" -ne "$3" ]; then
        echo "the content came incomplete" >&2
        exit 74
fi
owner=$(id -u)
if [ -f "$1" ] && [ ! -L "$1" ] && [ "$(stat -c %a:%u -- "$1")" = "$2:$owner" ] &&
        cmp -s -- "$new" "$1"; then
        echo unchanged
        exit 0
fi
chmod "$2" -- "$new"
sync -- "$new"
mv -f -- "$new" "$1"
sync -- "$dir"
