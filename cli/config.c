/* SPDX-License-Identifier: Apache-2.0 */
/* prvng config check */
#include "base/problem.h"
#include "config/config.h"
#include "output.h"

static json_t *strings(char *const *list)
{
        json_t *array = json_array();

        for (size_t i = 0; list && list[i]; i++)
                json_array_append_new(array, json_string(list[i]));
        return array;
}

static json_t *describe(const struct config *c)
{
        json_t *plugins = json_array(), *notices = json_array();

        for (size_t i = 0; i < c->n_plugins; i++) {
                const struct config_plugin *p = &c->plugins[i];

                json_array_append_new(plugins, json_pack("{s:s, s:b, s:s?, s:s?}", "name", p->name,
                                                         "enabled", p->enabled, "file", p->file,
                                                         "from", p->from));
        }
        if (c->store_notice)
                json_array_append_new(notices, json_string(c->store_notice));
        return json_pack("{s:b, s:o, s:o, s:s?, s:s?, s:s?, s:s?, s:s?, s:i, s:i, s:i, s:o, s:s?, s:s?, "
                         "s:s, s:b, s:O?, s:O?, s:o}",
                         "valid", 1, "notices", notices, "files", strings(c->files), "state", c->state, "cache",
                         c->cache, "socket", c->socket, "store", c->store, "provider", c->provider,
                         "workers", (int)c->workers, "taskserv_batch_size", (int)c->taskserv_batch,
                         "idle_timeout", (int)c->idle_s, "plugin_path", strings(c->plugin_path),
                         "schemas", c->schemas, "libexec", c->libexec, "keyring", c->keyring, "require_signatures",
                         c->require_signatures, "server", c->server,
                         "sources", c->sources, "plugins", plugins);
}

int config_check(struct cli *cli)
{
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
        _cleanup_(cleanup_config) struct config *config = NULL;
        _cleanup_(cleanup_json_decref) json_t *doc = NULL;
        int r = config_load(cli->config, &problems, &config);

        if (problems.n && cli->format != FORMAT_TABLE) {
                doc = json_pack("{s:b, s:o}", "valid", 0, "problems", problems_json(&problems));
                print_document(cli, doc);
                return EXIT_DEFINITION;
        }
        if (problems.n) {
                problems_print(&problems, stderr);
                complain(cli, "%zu problem%s in the configuration", problems.n,
                         problems.n == 1 ? "" : "s");
                return EXIT_DEFINITION;
        }
        if (r < 0) {
                complain(cli, "the configuration cannot be read: %s", strerror(-r));
                return EXIT_DEFINITION;
        }
        doc = describe(config);
        if (!doc)
                return EXIT_UNUSABLE;
        if (cli->format == FORMAT_TABLE)
                yaml_print(doc, stdout, false);
        else
                print_document(cli, doc);
        return 0;
}
