# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2154 # prelude.sh and the parameters stand before this

progress 50 "setting up the package manager"
# A server that crashes is made anew; syncing after each package costs most of the time.
echo force-unsafe-io | put /etc/dpkg/dpkg.cfg.d/prvng
# Translated descriptions are most of what apt reads at each start, and nobody reads them here.
printf '%s\n' 'APT::Install-Recommends "false";' 'Acquire::Languages "none";' |
        put /etc/apt/apt.conf.d/50prvng

progress 100 "naming the server"
if [ "$(hostname)" != "$prvng_server" ]; then
        hostname "$prvng_server"
fi
echo "$prvng_server" | put /etc/hostname
if ! getent hosts "$prvng_server" >/dev/null; then
        { cat /etc/hosts && echo "127.0.1.1 $prvng_server"; } | put /etc/hosts
fi

progress 200 "installing base packages"
more=
case $p_locale in
C | C.* | POSIX) ;;
*) more=locales ;;
esac
# shellcheck disable=SC2086 # lists
packages_install procps less sudo curl ca-certificates iproute2 tzdata $more $p_packages

progress 850 "setting time zone and locale"
if [ ! -e "/usr/share/zoneinfo/$p_timezone" ]; then
        fail "there is no time zone '$p_timezone' (timezone); see /usr/share/zoneinfo"
fi
ln -sfn "/usr/share/zoneinfo/$p_timezone" /etc/localtime
echo "$p_timezone" | put /etc/timezone
if [ -n "$more" ]; then
        echo "$p_locale ${p_locale#*.}" | put /etc/locale.gen
        locale-gen || fail "the locale '$p_locale' (locale) cannot be generated"
fi
echo "LANG=$p_locale" | put /etc/default/locale

mkdir -p /var/lib/prvng/taskservs
touch /var/lib/prvng/taskservs/os
progress 900 "done"
# shellcheck source=/dev/null
. /etc/os-release
version debian "$(cat /etc/debian_version)"
result system "$PRETTY_NAME"
