/* SPDX-License-Identifier: Apache-2.0 */
/* The taskserv `containerd`: the container runtime, with runc. */
#include "containerd-scripts.h"
#include "taskserv.h"

static const struct taskserv_parameter parameters[] = {
        {"snapshotter", TASKSERV_TEXT, "overlayfs", "overlayfs|native|btrfs",
         "how containers' file systems are made: overlayfs, native or btrfs"},
        {"systemd_cgroups", TASKSERV_BOOLEAN, "no", NULL,
         "true: Kubernetes' containers get their cgroups from systemd; false: from runc"},
        {"sandbox_image", TASKSERV_TEXT, "", "[A-Za-z0-9./:@_-]*",
         "the image of Kubernetes' pause containers; empty: containerd's own default"},
};

static const struct taskserv taskserv = {
        .name = "containerd",
        .version = "1.0.0",
        .digest = DIGEST,
        .dependencies = dependencies,
        .parameters = parameters,
        .n_parameters = sizeof(parameters) / sizeof(parameters[0]),
        .check = check,
        .install = install,
        .remove = remove_script,
};

TASKSERV_PLUGIN("containerd", "1.0.0", "The container runtime containerd, with runc", dependencies);
