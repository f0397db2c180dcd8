# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2154 # prelude.sh and the parameters stand before this
conf=/etc/containerd/config.toml

progress 100 "configuring containerd"
case $p_systemd_cgroups in
yes) cgroups=true ;;
*) cgroups=false ;;
esac
sandbox_image=""
if [ -n "$p_sandbox_image" ]; then
        sandbox_image="  sandbox_image = \"$p_sandbox_image\""
fi
changed=0
put "$conf" <<EOT
# Written by prvng (taskserv containerd): changes are lost.
version = 2

[plugins."io.containerd.grpc.v1.cri"]
$sandbox_image
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "$p_snapshotter"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = $cgroups
EOT
configured=$changed

progress 200 "installing containerd"
changed=0
packages_install containerd runc

progress 850 "starting containerd"
# A package that is installed now has started with the configuration above.
if [ "$configured" = 1 ] && [ "$changed" = 0 ]; then
        service_restart containerd /usr/bin/containerd
else
        service_start containerd /usr/bin/containerd
fi
progress 900 "done"
version containerd "$(package_version containerd)"
version runc "$(package_version runc)"
result socket /run/containerd/containerd.sock
