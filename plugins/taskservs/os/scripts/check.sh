# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2154 # prelude.sh and the parameters stand before this
# How the server is. What makes it "installed" is our mark: the packages alone may have been there.
if [ ! -e /var/lib/prvng/taskservs/os ]; then
        absent
fi
present
# shellcheck disable=SC2086 # lists
same missing_packages "" "$(packages_missing procps less sudo curl ca-certificates iproute2 $p_packages)"
same timezone "$p_timezone" "$(readlink /etc/localtime | sed 's|.*/zoneinfo/||')"
same locale "LANG=$p_locale" "$(cat /etc/default/locale 2>/dev/null)"
same hostname "$prvng_server" "$(hostname)"
if ! getent hosts "$prvng_server" >/dev/null; then
        drift hosts "$prvng_server" ""
fi
# shellcheck source=/dev/null
. /etc/os-release
version debian "$(cat /etc/debian_version)"
result system "$PRETTY_NAME"
