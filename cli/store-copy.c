/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng store export, import, migrate: copies of the whole journal. A backup is taken beside a live engine;
 * the others hold the lock of the site's store meanwhile, as an engine does.
 */
#include "journal/backup.h"
#include "opened.h"
#include "output.h"
#include "run/journals.h"
#include "run/rebuild.h"
#include "submit.h"

#include "base/clock.h"

#include <sys/stat.h>

static int complain_failed(const struct cli *cli, const char *what, int r, const char *message)
{
        complain(cli, "%s: %s", what, message ? message : strerror(r < 0 ? -r : EIO));
        return EXIT_UNUSABLE;
}

/* All of it, intact; a journal that is damaged is not copied: the copy would look whole. */
static int audit_all(const struct cli *cli, struct audit_request *request, struct audit *a)
{
        _cleanup_(cleanup_free) char *message = NULL;
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        int r = audit_make(request, a, &message);

        if (r)
                return complain_failed(cli, "the journal cannot be read", r, message);
        if (!audit_first_bad(a))
                return 0;
        audit_describe(audit_first_bad(a), &text);
        complain(cli, "nothing was copied, because the journal is damaged: %s", buf_str(&text));
        return EXIT_UNUSABLE;
}

static void print_copy(const struct cli *cli, const struct audit *a, const char *what, const char *where)
{
        _cleanup_(cleanup_buf) struct buf anchor = BUF_NULL;
        _cleanup_(cleanup_json_decref) json_t *doc = NULL;
        uint64_t n = 0;

        for (uint32_t i = 0; i < a->n; i++)
                n += a->streams[i].compacted ? 0 : a->streams[i].cut.seq;
        audit_anchor(a, &anchor);
        if (cli->format != FORMAT_TABLE) {
                doc = json_pack("{s:s, s:s, s:I, s:I, s:s}", "site", a->site, what, where, "streams",
                                (json_int_t)a->n, "records", (json_int_t)n, "anchor", buf_str(&anchor));
                print_document(cli, doc);
                return;
        }
        printf("%s %s: %u stream%s, %llu records\n%s\n", what, where, a->n, a->n == 1 ? "" : "s",
               (unsigned long long)n, buf_str(&anchor));
}

int store_export(struct cli *cli)
{
        _cleanup_(cleanup_opened) struct opened o = {0};
        _cleanup_(cleanup_audit) struct audit a = AUDIT_NULL;
        _cleanup_(cleanup_free) char *message = NULL;
        struct audit_request request = {.journal = opened_journal, .userdata = &o};
        const char *path = cli->args[0];
        int r;

        if (access(path, F_OK) == 0) {
                complain(cli, "%s exists; a backup is never overwritten: choose another name", path);
                return EXIT_RUN_FAILED;
        }
        r = opened_open(&o, cli);
        if (r)
                return r;
        request.home = o.home->plugin->name;
        r = audit_all(cli, &request, &a);
        if (r)
                return r;
        r = backup_write(path, &request, &a, clock_wall_ms(), &message);
        if (r)
                return complain_failed(cli, path, r, message);
        print_copy(cli, &a, "file", path);
        return 0;
}

/* The site's stores, for writing: no engine runs, and none starts meanwhile. */
static int lock_site(const struct cli *cli, struct opened *o, const char *command)
{
        _cleanup_(cleanup_free) char *message = NULL;
        int r = context_open(cli->config, "store", &o->context);

        if (r)
                return r;
        r = journals_open(&o->context, false, &o->journals, &message);
        if (r == 0) {
                o->home = o->journals->home;
                return 0;
        }
        if (r == JOURNAL_E_BUSY)
                complain(cli, "%s. prvng store %s needs the store for itself: stop that engine (SIGTERM; what "
                         "is in flight goes on afterwards), then ask again", message ? message : "in use",
                         command);
        else
                complain_failed(cli, "the store cannot be opened", r, message);
        return EXIT_UNUSABLE;
}

/* True if there is a site in it. */
static int has_site(struct opened *o, bool *ret)
{
        char **names = NULL;
        size_t n = 0;
        int r = journal_streams(o->home, &names, &n);

        for (size_t i = 0; i < n; i++)
                free(names[i]);
        free(names);
        *ret = n > 0;
        return r;
}

static void say_aside(const struct cli *cli, const char *aside)
{
        fprintf(cli->format == FORMAT_TABLE ? stdout : stderr,
                "What was there before is in %s; remove it when you do not need it any more.\n", aside);
}

/* Importing */

/* The digest of the site's head in an anchor. */
static void site_head(const char *line, char ret_head[65])
{
        _cleanup_(cleanup_anchor) struct anchor anchor = ANCHOR_NULL;

        *ret_head = 0;
        if (anchor_add(&anchor, line) == 0 && streq(anchor.heads[0].stream, "site")) {
                hex_text(anchor.heads[0].digest, 32, ret_head);
                ret_head[64] = 0;
        }
}

static int import_into(struct cli *cli, struct opened *o, const char *path, char **ret_aside)
{
        _cleanup_(cleanup_backup_head) struct backup_head head = BACKUP_HEAD_NULL;
        _cleanup_(cleanup_rebuild) struct rebuild *rb = NULL;
        _cleanup_(cleanup_free) char *message = NULL;
        _cleanup_(cleanup_buf) struct buf who = BUF_NULL;
        const char *home = o->home->plugin->name;
        struct record records[2];
        char site[65];
        size_t n = 0;
        int r;

        r = backup_read(path, &head, NULL, NULL, &message); /* whole, before anything is made */
        if (r)
                return complain_failed(cli, "the backup cannot be used", r, message);
        r = rebuild_new(&o->context, head.home, home, &rb, &message);
        r = r ? r : backup_read(path, NULL, rebuild_add, rb, &message);
        if (r)
                return complain_failed(cli, "nothing was changed", r,
                                       rb && rebuild_message(rb) ? rebuild_message(rb) : message);
        put_who(&who);
        site_head(head.anchor, site);
        if (!streq(head.home, home))
                records[n++] = (struct record){.type = RECORD_MIGRATED, .at = clock_wall_ms(),
                                               .from = span_of(head.home), .to = span_of(home),
                                               .who = span_n(who.data, who.n)};
        records[n++] = (struct record){.type = RECORD_RESTORED, .at = clock_wall_ms(), .file = span_of(path),
                                       .head = span_of(site),
                                       .who = span_n(who.data, who.n)};
        r = rebuild_finish(rb, records, n, head.anchor, &message);
        r = r ? r : rebuild_swap(rb, clock_wall_ms(), ret_aside, &message);
        return r ? complain_failed(cli, "nothing was changed", r, message) : 0;
}

int store_import(struct cli *cli)
{
        _cleanup_(cleanup_opened) struct opened o = {0};
        _cleanup_(cleanup_free) char *aside = NULL;
        bool full = false;
        int r = lock_site(cli, &o, "import");

        if (r)
                return r;
        r = has_site(&o, &full);
        if (r)
                return complain_failed(cli, "the store cannot be read", r, o.home->message);
        if (full && !option_given(cli, "replace")) {
                complain(cli, "this site has a journal already. --replace puts the backup in its place, and "
                         "keeps what is there now beside it");
                return EXIT_RUN_FAILED;
        }
        r = import_into(cli, &o, cli->args[0], &aside);
        if (r)
                return r;
        if (cli->format != FORMAT_TABLE) {
                _cleanup_(cleanup_json_decref) json_t *doc = json_pack("{s:s, s:s?}", "imported",
                                                                       cli->args[0], "aside",
                                                                       full ? aside : NULL);

                print_document(cli, doc);
        } else {
                printf("%s is the journal of this site now.\n", cli->args[0]);
        }
        if (full) {
                say_aside(cli, aside);
        } else { /* nobody will want an empty store back */
                o.journals = journals_close(o.journals);
                rebuild_remove(aside);
        }
        fputs("It is older than the world: the next engine pauses every run in flight. Look for what was "
              "made since (prvng resource orphans), then let each go on (prvng batch resume).\n",
              cli->format == FORMAT_TABLE ? stdout : stderr);
        return 0;
}

/* Moving */

static int migrate_to(struct cli *cli, struct opened *o, struct audit_request *request, struct audit *a,
                      const char *to, char **ret_aside)
{
        _cleanup_(cleanup_rebuild) struct rebuild *rb = NULL;
        _cleanup_(cleanup_buf) struct buf who = BUF_NULL, anchor = BUF_NULL;
        _cleanup_(cleanup_free) char *message = NULL;
        struct record migrated = {.type = RECORD_MIGRATED, .at = clock_wall_ms(),
                                  .from = span_of(request->home), .to = span_of(to)};
        int r;

        r = rebuild_new(&o->context, request->home, to, &rb, &message);
        r = r ? r : audit_copy(request, a, rebuild_add, rb, &message);
        if (r)
                return complain_failed(cli, "nothing was changed", r,
                                       rb && rebuild_message(rb) ? rebuild_message(rb) : message);
        put_who(&who);
        migrated.who = span_n(who.data, who.n);
        audit_anchor(a, &anchor);
        r = rebuild_finish(rb, &migrated, 1, buf_str(&anchor), &message);
        r = r ? r : rebuild_swap(rb, clock_wall_ms(), ret_aside, &message);
        return r ? complain_failed(cli, "nothing was changed", r, message) : 0;
}

int store_migrate(struct cli *cli)
{
        _cleanup_(cleanup_opened) struct opened o = {0};
        _cleanup_(cleanup_audit) struct audit a = AUDIT_NULL;
        _cleanup_(cleanup_free) char *aside = NULL;
        struct audit_request request = {.journal = opened_journal, .userdata = &o};
        const char *to = cli->args[0];
        bool full = false;
        int r = lock_site(cli, &o, "migrate");

        if (r)
                return r;
        request.home = o.home->plugin->name;
        if (streq(request.home, to)) {
                complain(cli, "the site's store is %s already", to);
                return EXIT_RUN_FAILED;
        }
        r = has_site(&o, &full);
        if (r)
                return complain_failed(cli, "the store cannot be read", r, o.home->message);
        if (!full) {
                complain(cli, "there is no journal in the store %s: nothing has run here yet. Say store = "
                         "\"%s\" in the configuration", request.home, to);
                return EXIT_RUN_FAILED;
        }
        r = audit_all(cli, &request, &a);
        r = r ? r : migrate_to(cli, &o, &request, &a, to, &aside);
        if (r)
                return r;
        print_copy(cli, &a, "store", to);
        say_aside(cli, aside);
        fprintf(cli->format == FORMAT_TABLE ? stdout : stderr,
                "Now say it in the configuration, prvng.conf: store = \"%s\";\n"
                "Until then no engine starts: it would find the store %s empty.\n", to, request.home);
        return 0;
}
