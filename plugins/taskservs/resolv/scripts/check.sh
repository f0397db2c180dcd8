# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2154 # prelude.sh and the parameters stand before this
conf=/etc/systemd/resolved.conf.d/prvng.conf
installed=$(package_version systemd-resolved)
if [ -z "$installed" ] || [ ! -e "$conf" ]; then
        absent
fi
present
have=$(sed -n 's/^DNS=//p' "$conf")
same nameservers "${p_nameservers:-$have}" "$have"
same search_domains "$p_search_domains" "$(sed -n 's/^Domains=//p' "$conf")"
if ! service_active systemd-resolved; then
        drift service active stopped
fi
same /etc/resolv.conf ../run/systemd/resolve/stub-resolv.conf "$(readlink /etc/resolv.conf)"
version systemd-resolved "$installed"
result nameservers "$have"
