# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2154 # prelude.sh stands before this
conf=/etc/systemd/resolved.conf.d/prvng.conf

progress 200 "removing systemd-resolved"
nameservers=
domains=
if [ -e "$conf" ]; then
        nameservers=$(sed -n 's/^DNS=//p' "$conf")
        domains=$(sed -n 's/^Domains=//p' "$conf")
fi
packages_remove systemd-resolved

progress 800 "restoring /etc/resolv.conf"
# The server goes on resolving names with the same servers, without resolved.
if [ -n "$nameservers" ] && { [ -L /etc/resolv.conf ] || [ ! -e /etc/resolv.conf ]; }; then
        rm -f /etc/resolv.conf
        {
                for address in $nameservers; do
                        echo "nameserver ${address%%#*}"
                done
                if [ -n "$domains" ]; then
                        echo "search $domains"
                fi
        } | put /etc/resolv.conf
fi
rm -f "$conf"
