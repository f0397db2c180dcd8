/* SPDX-License-Identifier: Apache-2.0 */
/* prvng audit log: who did what, and when. All of it stands in the sealed records of commands. */
#include "base/clock.h"
#include "look.h"
#include "output.h"
#include "run/journals.h"

struct entry {
        int64_t at; /* wall clock, milliseconds */
        const char *what;
        char run[UID_TEXT], *name, *detail;
        json_t *who;
};

struct log {
        const struct look *look;
        const struct run *run; /* whose stream is being read; NULL: the site's */
        const struct run *only;
        struct entry *entries;
        size_t n, cap;
        bool failed;
};

/* What the record says that somebody did; NULL: it is no command. */
static const char *action(enum record_type type)
{
        switch ((unsigned)type) {
        case RECORD_ACCEPTED:
                return "submitted";
        case RECORD_RESOURCE:
                return "adopted";
        case RECORD_REOPENED:
                return "reopened";
        case RECORD_COMPACTED:
                return "compacted";
        case RECORD_RESTORED:
                return "restored";
        case RECORD_MIGRATED:
                return "migrated";
        case RECORD_CANCEL:
                return "cancelled";
        case RECORD_PAUSE:
                return "paused";
        case RECORD_RESUME:
                return "resumed";
        case RECORD_ROLLBACK:
                return "rolled back";
        case RECORD_RERUN:
                return "retried";
        case RECORD_REPLAN:
                return "replanned";
        case RECORD_RESOLVED:
                return "resolved";
        default:
                return NULL;
        }
}

static char *detail_of(const struct record *r)
{
        char *text = NULL;
        int n = 0;

        if (r->type == RECORD_ROLLBACK)
                n = asprintf(&text, "to checkpoint %u", r->checkpoint);
        else if (r->type == RECORD_RESOLVED)
                n = asprintf(&text, "task %u: %.*s", r->task, (int)r->status.n, r->status.p);
        else if (r->type == RECORD_MIGRATED)
                n = asprintf(&text, "%.*s to %.*s", (int)r->from.n, r->from.p, (int)r->to.n, r->to.p);
        else if (r->type == RECORD_RESTORED || r->type == RECORD_RESOURCE || r->type == RECORD_RERUN) {
                struct span s = r->type == RECORD_RESTORED ? r->file : r->type == RECORD_RERUN ? r->id : r->key;

                text = strndup(s.n ? s.p : "", s.n);
        } else {
                text = strdup("");
        }
        return n < 0 ? NULL : text;
}

static struct entry *add(struct log *l)
{
        if (l->n == l->cap) {
                size_t cap = l->cap ? l->cap * 2 : 64;
                struct entry *entries = realloc(l->entries, cap * sizeof(*entries));

                if (!entries)
                        return NULL;
                l->entries = entries;
                l->cap = cap;
        }
        l->entries[l->n] = (struct entry){0};
        return &l->entries[l->n++];
}

static int on_record(void *userdata, const struct record *r, const char *line, size_t n_line)
{
        struct log *l = userdata;
        const char *what = action(r->type);
        const struct run *run = l->run;
        char id[UID_TEXT] = "";
        struct entry *e;

        if (!what || !r->who.n) /* nobody asked for it: a run ended, or a failure led to it */
                return 0;
        if (!run && (r->type == RECORD_ACCEPTED || r->type == RECORD_REOPENED ||
                     r->type == RECORD_COMPACTED)) {
                uid_text(&r->run, id);
                run = site_run(l->look->site, id);
        }
        if (l->only && run != l->only)
                return 0;
        e = add(l);
        if (!e)
                return -ENOMEM;
        e->at = r->at;
        e->what = what;
        if (run) {
                memcpy(e->run, run->id_text, sizeof(e->run));
                e->name = strdup(run->name);
        } else {
                e->name = strndup(r->workflow.n ? r->workflow.p : "", r->workflow.n);
        }
        e->detail = detail_of(r);
        if (json_parse(r->who.p, r->who.n, &e->who, NULL))
                e->who = json_object();
        return e->name && e->detail ? 0 : -ENOMEM;
}

static void read_stream(struct log *l, const struct run *run)
{
        _cleanup_(cleanup_free) char *message = NULL;
        struct journals *journals = l->look->journals;
        struct journal *j = journals->home;
        int r = 0;

        if (run && run->compacted) /* what was done to it is gone with its stream, but for the start */
                return;
        l->run = run;
        if (run)
                r = journals_of_run(journals, run, &j, &message);
        r = r ? r : journal_read(j, run ? run->stream : "site", on_record, l);
        if (r) {
                complain(l->look->cli, "stream %s: %s", run ? run->stream : "site",
                         message              ? message
                         : r > 0 && j->message ? j->message
                                               : strerror(r < 0 ? -r : EIO));
                l->failed = true;
        }
}

static int by_time(const void *a, const void *b)
{
        const struct entry *x = a, *y = b;

        return (x->at > y->at) - (x->at < y->at);
}

static void print_entries(const struct cli *cli, const struct log *l)
{
        static const char *const heads[] = {"WHEN", "WHO", "WHAT", "WORKFLOW", "RUN", "DETAIL"};
        struct table t;

        table_init(&t, cli, N_ELEMENTS(heads), heads);
        for (size_t i = 0; i < l->n; i++) {
                const struct entry *e = &l->entries[i];
                _cleanup_(cleanup_buf) struct buf when = BUF_NULL;
                char text[CLOCK_TEXT];

                clock_text(e->at, text);
                put_time(&when, text);
                table_cell(&t, PLAIN, "%s", buf_str(&when));
                table_cell(&t, PLAIN, "%s@%s", json_get_string(e->who, "user", "?"),
                           json_get_string(e->who, "host", "?"));
                table_cell(&t, BOLD, "%s", e->what);
                table_cell(&t, PLAIN, "%s", e->name);
                table_cell(&t, DIM, "%s", e->run);
                table_cell(&t, PLAIN, "%s", e->detail);
        }
        if (l->n)
                table_print(&t);
        else
                puts("Nobody did anything yet.");
}

static void print_json(const struct cli *cli, const struct log *l)
{
        json_t *list = json_array(), *doc = json_pack("{s:o}", "log", list);

        for (size_t i = 0; i < l->n; i++) {
                const struct entry *e = &l->entries[i];
                char text[CLOCK_TEXT];

                clock_text(e->at, text);
                json_array_append_new(list, json_pack("{s:s, s:O, s:s, s:s?, s:s?, s:s?}", "at", text, "who",
                                                      e->who, "what", e->what, "workflow",
                                                      *e->name ? e->name : NULL, "run",
                                                      *e->run ? e->run : NULL, "detail",
                                                      *e->detail ? e->detail : NULL));
        }
        print_document(cli, doc);
        json_decref(doc);
}

int audit_log(struct cli *cli)
{
        _cleanup_(cleanup_look) struct look look = {0};
        struct log l = {.look = &look};
        int r = look_open(&look, cli, "");

        if (r)
                return r;
        if (cli->args[0]) {
                l.only = look_run(&look, cli->args[0], false);
                if (!l.only)
                        return EXIT_RUN_FAILED;
        }
        if (look.journals) {
                read_stream(&l, NULL);
                for (uint32_t i = 0; i < look.site->n_runs; i++)
                        if (!l.only || l.only == look.site->runs[i])
                                read_stream(&l, look.site->runs[i]);
        }
        if (l.n)
                qsort(l.entries, l.n, sizeof(*l.entries), by_time);
        if (cli->format == FORMAT_TABLE)
                print_entries(cli, &l);
        else
                print_json(cli, &l);
        for (size_t i = 0; i < l.n; i++) {
                free(l.entries[i].name);
                free(l.entries[i].detail);
                json_decref(l.entries[i].who);
        }
        free(l.entries);
        return l.failed ? EXIT_UNUSABLE : 0;
}
