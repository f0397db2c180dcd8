# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2154 # prelude.sh and the parameters stand before this
conf=/etc/containerd/config.toml
installed=$(package_version containerd)
if [ -z "$installed" ] || ! grep -qs '^# Written by prvng' "$conf"; then
        absent
fi
present
case $p_systemd_cgroups in
yes) cgroups=true ;;
*) cgroups=false ;;
esac
same snapshotter "$p_snapshotter" "$(sed -n 's/^ *snapshotter = "\(.*\)"$/\1/p' "$conf")"
same systemd_cgroups "$cgroups" "$(sed -n 's/^ *SystemdCgroup = //p' "$conf")"
same sandbox_image "$p_sandbox_image" "$(sed -n 's/^ *sandbox_image = "\(.*\)"$/\1/p' "$conf")"
if ! service_active containerd; then
        drift service active stopped
fi
version containerd "$installed"
version runc "$(package_version runc)"
result socket /run/containerd/containerd.sock
