/* SPDX-License-Identifier: Apache-2.0 */
/* The taskserv `resolv`: name resolution by systemd-resolved. */
#include "resolv-scripts.h"
#include "taskserv.h"

static const struct taskserv_parameter parameters[] = {
        {"nameservers", TASKSERV_LIST, "", "[0-9a-fA-F.:]+(%[a-z0-9]+)?(#[A-Za-z0-9.-]+)?",
         "addresses of DNS servers; by default those that the server uses now"},
        {"search_domains", TASKSERV_LIST, "", "~?[A-Za-z0-9.-]+",
         "domains that are tried for names without a dot"},
};

static const struct taskserv taskserv = {
        .name = "resolv",
        .version = "1.0.0",
        .digest = DIGEST,
        .dependencies = dependencies,
        .parameters = parameters,
        .n_parameters = sizeof(parameters) / sizeof(parameters[0]),
        .check = check,
        .install = install,
        .remove = remove_script,
};

TASKSERV_PLUGIN("resolv", "1.0.0", "Name resolution by systemd-resolved", dependencies);
