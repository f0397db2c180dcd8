/* SPDX-License-Identifier: Apache-2.0 */
#include "opened.h"

int opened_open(struct opened *o, const struct cli *cli)
{
        _cleanup_(cleanup_free) char *message = NULL, *location = NULL;
        int r = context_open(cli->config, "store", &o->context);

        if (r)
                return r;
        location = site_store_folder(o->context.config);
        if (location && access(location, F_OK) < 0) {
                complain(cli, "nothing has run here yet: there is no journal in %s", location);
                opened_close(o);
                return EXIT_RUN_FAILED;
        }
        r = site_open_store(&o->context, true, &o->home, &message);
        if (r == 0)
                return 0;
        complain(cli, "the store cannot be read: %s",
                 message ? message : strerror(r < 0 ? -r : EIO));
        opened_close(o);
        return EXIT_UNUSABLE;
}

void opened_close(struct opened *o)
{
        while (o->n_others > 0)
                journal_close(o->others[--o->n_others]);
        o->home = journal_close(o->home);
        if (o->context.config)
                context_close(&o->context);
}

static int open_other(struct opened *o, const char *store, char **ret_message)
{
        struct plugin *plugin = plugins_find(o->context.plugins, "store", store);
        _cleanup_(cleanup_free) char *location = NULL;
        int r = JOURNAL_E_FAILED;

        if (asprintf(&location, "%s/stores/%s", o->context.config->state, store) < 0) {
                location = NULL;
                return error_origin(-ENOMEM);
        }
        if (plugin && plugin->state == PLUGIN_READY && plugin->store.struct_size &&
            o->n_others < N_ELEMENTS(o->others))
                r = journal_open(plugin, location, true, &o->others[o->n_others], ret_message);
        else if (asprintf(ret_message, "the store \"%s\", which holds runs of this site, cannot be "
                          "used: %s; see: prvng plugin list", store,
                          plugin && plugin->reason ? plugin->reason : "there is no such plugin") < 0)
                *ret_message = NULL;
        if (r == 0)
                o->n_others++;
        return r;
}

int opened_journal(void *opened, const char *store, struct journal **ret_journal, char **ret_message)
{
        struct opened *o = opened;
        int r;

        *ret_journal = o->home;
        if (streq(o->home->plugin->name, store))
                return 0;
        for (size_t i = 0; i < o->n_others; i++)
                if (streq(o->others[i]->plugin->name, store)) {
                        *ret_journal = o->others[i];
                        return 0;
                }
        r = open_other(o, store, ret_message);
        if (r == 0)
                *ret_journal = o->others[o->n_others - 1];
        return r;
}
