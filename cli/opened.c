/* SPDX-License-Identifier: Apache-2.0 */
#include "opened.h"

int opened_open(struct opened *o, const struct cli *cli)
{
        _cleanup_(cleanup_free) char *message = NULL, *location = NULL;
        int r = context_open(cli->config, "store", &o->context);

        if (r)
                return r;
        location = journals_folder(o->context.config, o->context.config->store);
        if (location && access(location, F_OK) < 0) {
                complain(cli, "nothing has run here yet: there is no journal in %s", location);
                opened_close(o);
                return EXIT_RUN_FAILED;
        }
        r = journals_open(&o->context, true, &o->journals, &message);
        if (r == 0) {
                o->home = o->journals->home;
                return 0;
        }
        complain(cli, "the store cannot be read: %s",
                 message ? message : strerror(r < 0 ? -r : EIO));
        opened_close(o);
        return EXIT_UNUSABLE;
}

void opened_close(struct opened *o)
{
        o->journals = journals_close(o->journals);
        if (o->context.config)
                context_close(&o->context);
}

int opened_journal(void *opened, const char *store, struct journal **ret_journal, char **ret_message)
{
        return journals_get(((struct opened *)opened)->journals, store, ret_journal, ret_message);
}
