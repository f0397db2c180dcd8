/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng store check: would an engine that starts now accept all of it? It reads as that does: what a crash
 * tore off at the end is no damage. What nobody can see like this is the business of prvng audit verify.
 */
#include "opened.h"
#include "output.h"
#include "run/journals.h"

struct checking {
        const struct cli *cli;
        struct opened opened;
        struct table table;
        json_t *list;
        int worst;
};

static int count_line(void *userdata, const struct record *r, const char *line, size_t n_line)
{
        ++*(uint64_t *)userdata;
        return 0;
}

static void check_stream(struct checking *c, struct journal *j, const char *name)
{
        uint64_t records = 0;
        int r = journal_read(j, name, count_line, &records);

        if (r) {
                complain(c->cli, "store %s, stream %s: %s", j->plugin->name, name,
                         r > 0 && j->message ? j->message : strerror(r < 0 ? -r : EIO));
                c->worst = EXIT_UNUSABLE;
        }
        table_cell(&c->table, PLAIN, "%s", j->plugin->name);
        table_cell(&c->table, PLAIN, "%s", name);
        table_cell(&c->table, PLAIN, "%llu", (unsigned long long)records);
        table_cell(&c->table, r ? RED : GREEN, "%s", r ? "damaged" : "intact");
        json_array_append_new(c->list, json_pack("{s:s, s:s, s:I, s:b}", "store", j->plugin->name, "name",
                                                 name, "records", (json_int_t)records, "intact", r == 0));
}

static int check_journal(void *userdata, const char *store)
{
        _cleanup_(cleanup_free) char *message = NULL;
        struct checking *c = userdata;
        struct journal *j = NULL;
        char **names = NULL;
        size_t n = 0;
        int r = opened_journal(&c->opened, store, &j, &message);

        r = r ? r : journal_streams(j, &names, &n);
        if (r) {
                complain(c->cli, "store %s: %s", store,
                         message ? message : j && j->message ? j->message : "the streams cannot be listed");
                c->worst = EXIT_UNUSABLE;
                return 0;
        }
        for (size_t i = 0; i < n; i++) {
                check_stream(c, j, names[i]);
                free(names[i]);
        }
        free(names);
        return 0;
}

/* Do the records follow from one another? */
static void check_fold(struct checking *c)
{
        _cleanup_(cleanup_free) char *message = NULL;
        struct journals *journals = NULL;
        struct site *site = NULL;
        int r;

        c->opened.journals = journals_close(c->opened.journals); /* a store is open once in a process */
        r = site_read(&c->opened.context, &journals, &site, &message);
        if (r == 0) {
                site_close(journals, site);
                return;
        }
        complain(c->cli, "all seals hold, but the records do not follow from one another: %s",
                 message ? message : strerror(r < 0 ? -r : EBADMSG));
        c->worst = EXIT_UNUSABLE;
}

int store_check(struct cli *cli)
{
        static const char *const heads[] = {"STORE", "STREAM", "RECORDS", "STATE"};
        struct checking c = {.cli = cli, .list = json_array()};
        _cleanup_(cleanup_json_decref) json_t *doc = json_pack("{s:o}", "streams", c.list);
        int r = opened_open(&c.opened, cli);

        if (r)
                return r;
        table_init(&c.table, cli, N_ELEMENTS(heads), heads);
        check_journal(&c, c.opened.home->plugin->name);
        journals_others(&c.opened.context, check_journal, &c);
        if (!c.worst)
                check_fold(&c);
        if (cli->format == FORMAT_TABLE)
                table_print(&c.table);
        else
                print_document(cli, doc);
        opened_close(&c.opened);
        return c.worst;
}
