# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh # prelude.sh stands before this
progress 200 "stopping containerd"
service_stop containerd
progress 400 "removing containerd"
packages_remove containerd runc
rm -f /etc/containerd/config.toml
rmdir /etc/containerd 2>/dev/null || :
