/* SPDX-License-Identifier: Apache-2.0 */
/* The taskserv `os`: what every server should have before anything else is installed. */
#include "os-scripts.h"
#include "taskserv.h"

static const struct taskserv_parameter parameters[] = {
        {"packages", TASKSERV_LIST, "", "[a-z0-9][a-z0-9.+-]*",
         "names of further Debian packages to install"},
        {"timezone", TASKSERV_TEXT, "Etc/UTC", "[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*",
         "a time zone by its name in the tz database, such as Europe/Madrid"},
        {"locale", TASKSERV_TEXT, "C.UTF-8", "[A-Za-z_]+(\\.[A-Za-z0-9-]+)?",
         "the system's locale, such as C.UTF-8 or es_ES.UTF-8"},
};

static const struct taskserv taskserv = {
        .name = "os",
        .version = "1.0.0",
        .digest = DIGEST,
        .dependencies = dependencies,
        .parameters = parameters,
        .n_parameters = sizeof(parameters) / sizeof(parameters[0]),
        .check = check,
        .install = install,
        .remove = remove_script,
};

TASKSERV_PLUGIN("os", "1.0.0", "Base packages, time zone, locale and host name", dependencies);
