/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The site's configuration: libconfig files, parsed once in [main] (libconfig is not thread-safe) into
 * this immutable struct. design.md §7.
 *
 * Order, later overrides earlier, drop-ins file by file (by file name):
 *      /usr/lib/prvng/plugins.d/ *.conf        from packages (PRVNG_DROPIN_PATH, a colon list,
 *                                              replaces this folder: builds that are not installed)
 *      /etc/prvng/prvng.conf, /etc/prvng/plugins.d/ *.conf
 *      $XDG_CONFIG_HOME/prvng/prvng.conf, $XDG_CONFIG_HOME/prvng/plugins.d/ *.conf    (if set or if
 *                                              not root: ~/.config)
 *      --config FILE                           instead of both prvng.conf; plugins.d beside it
 *                                              overrides too
 * A missing prvng.conf means the defaults written at each member. Unknown keys are problems with file
 * and line; so are wrong types.
 */
#ifndef PRVNG_CONFIG_CONFIG_H
#define PRVNG_CONFIG_CONFIG_H

#include "base/problem.h"
#include <jansson.h>

/* One drop-in: plugins.d/NAME.conf with a group `plugin`. */
struct config_plugin {
        char *name;      /* short name of the plugin */
        char *file;      /* absolute, or relative to plugin_path */
        bool enabled;    /* default true */
        bool process;    /* isolation = "process" */
        bool isolation_given; /* else as the plugin's note recommends */
        json_t *capabilities; /* what an isolated plugin may do besides what it declares, checked
                           * (config/capability.h), or NULL */
        uint32_t memory; /* of an isolated plugin's process, MiB; default 512 */
        bool critical;   /* the engine does not start without it; default false */
        char *sha256;    /* pin, 64 hex digits, or NULL */
        char *config;    /* JSON object handed to create(): the group `config` with the site's
                          * "sources", and "libexec" unless it names its own */
        struct config_limit {
                bool given;  /* else as the plugin declares */
                uint32_t n;  /* 0: no limit */
        } rate_limit,        /* `api_rate_limit`, requests a second */
          batch_size;        /* `batch_size`, tasks at once */
        char *from;      /* file and line that said so, for messages */
};

#define CONFIG_RATE_LIMIT_MAX 100000
#define CONFIG_BATCH_SIZE_MAX 100000

struct config {
        char *state;     /* absolute folder of the site's state: `state`, default
                          * $XDG_STATE_HOME/prvng if set, else /var/lib/prvng for root, else
                          * ~/.local/state/prvng */
        char *cache;     /* `cache`, default $XDG_CACHE_HOME/prvng, /var/cache/prvng or
                          * ~/.cache/prvng */
        char *socket;    /* `socket`, default STATE/prvngd.sock */
        char *store;     /* home store's plugin: `store`, default "rkvs"; but "file" for a site whose
                          * journal is in it already, and where there is no plugin rkvs */
        char *store_notice; /* a sentence on that for the operator, or NULL */
        char *provider;  /* of servers that name none: `provider`, default "local" */
        json_t *server;  /* `server = {...}`: the default server definition (attributes of ServerDef),
                          * default {cpu: 1, memory: 1024, disk: 10} */
        uint32_t workers;        /* threads for plugin calls: `workers`, 1..256, default 8 */
        uint32_t taskserv_batch; /* taskserv tasks at once over the site: `taskserv_batch_size`,
                                  * default 16 */
        uint32_t idle_s;         /* an engine started on demand ends when idle this long:
                                  * `idle_timeout`, default 60 */
        char **plugin_path;      /* folders of plugin files; $PRVNG_PLUGIN_PATH (colon list) replaces
                                  * the built-in one. Ends with NULL */
        char *schemas;           /* folder of the KCL schemas; $PRVNG_SCHEMA_PATH replaces it */
        char *libexec;           /* folder of helper programs; $PRVNG_LIBEXEC_PATH replaces it */
        json_t *sources;         /* the `sources` group as an object: apt_mirror, http_proxy,
                                  * https_proxy, no_proxy, ca_file, git_mirrors,
                                  * image_registry, kcl_command, kcl_python; handed to every plugin
                                  * inside its config as member "sources" */
        json_t *http;            /* the `http` group: record, replay, absolute paths of files of HTTP
                                  * exchanges (core/host/http-tape.h) */
        char *folder;            /* whose prvng.conf and plugins.d override all others: /etc/prvng, the
                                  * user's, or that of --config */
        char *keyring;           /* `keyring`: folder of the public keys that plugins may be signed with,
                                  * default FOLDER/keys.d */
        bool require_signatures; /* `require_signatures`: of every plugin that no drop-in pins */
        struct config_plugin *plugins; /* sorted by name */
        size_t n_plugins;
        char **files;            /* every file that was read, in order, for `config check`; ends
                                  * with NULL */
};

/* Reads everything. `path` is --config or NULL. Problems are collected; returns 0 with problems->n
 * telling, or -errno if even that was impossible. *ret_config is set if there are no problems. [main]
 * (config_read would be the name, but libconfig has it.) */
int config_load(const char *path, struct problems *problems, struct config **ret_config);
struct config *config_free(struct config *c);

static inline void cleanup_config(struct config **c)
{
        config_free(*c);
}

#endif
