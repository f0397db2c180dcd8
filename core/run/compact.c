/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /store/compact: removes the streams of runs that ended long ago.
 *
 * A run's stream is verified first; then a record in the site's stream says what it was, signed with the
 * site's key; only when that is durable the stream is removed. An engine that dies in between removes it
 * when it starts the next time. What is left of the run is its line in the list of runs, and all that it
 * made: both stand in the site's stream.
 *
 * One request does a page of runs, so that the loop is not held up; `next` in its answer is where to go on.
 */
#include "run/api.h"

#include "base/clock.h"
#include "base/json.h"
#include "journal/audit.h"
#include "journal/signer.h"

#define PAGE 16u
#define DAY_MS INT64_C(86400000)

struct compaction {
        struct engine_process *p;
        struct request *q;
        json_t *body;
        int64_t older_than;   /* days; -1: as each run's workflow says */
        bool dry_run;
        struct buf who;
        const struct run *runs[PAGE]; /* that ended long enough ago, or may have */
        size_t n_runs;
        const struct run *next;
        json_t *compacted;    /* for the answer */
        struct signer *signer;
        const struct run *removed[PAGE];
        size_t n_removed;
};

static void refuse(struct compaction *c, int status, const char *message)
{
        api_problems(c->q, status, message ? message : "out of memory", NULL);
}

static bool read_body(struct compaction *c)
{
        const json_t *days, *who;

        if (c->q->n_body == 0)
                c->body = json_object();
        else if (json_parse(c->q->body, c->q->n_body, &c->body, NULL))
                c->body = NULL;
        if (!json_is_object(c->body)) {
                refuse(c, 422, "the body must be a JSON object with \"older_than\" (days), \"dry_run\", "
                               "\"after\" (id of a run) and \"who\"");
                return false;
        }
        days = json_object_get(c->body, "older_than");
        c->older_than = json_get_int(c->body, "older_than", -1);
        if (days && (!json_is_integer(days) || c->older_than < 0 || c->older_than > 36500)) {
                refuse(c, 422, "\"older_than\" must be a number of days from 0 to 36500");
                return false;
        }
        c->dry_run = json_get_bool(c->body, "dry_run", false);
        who = json_object_get(c->body, "who");
        if (!json_is_object(who) || json_append(&c->who, who))
                BUF_LIT(&c->who, "{}");
        return true;
}

static bool is_old(const struct compaction *c, int64_t ended_ms, int64_t days)
{
        return ended_ms + days * DAY_MS <= c->p->engine->wall_ms;
}

/* The next page of runs that ended and are not compacted yet. */
static void choose(struct compaction *c)
{
        const char *after = json_get_string(c->body, "after", NULL);
        const struct site *site = &c->p->site;
        uint32_t i = 0;

        while (after && i < site->n_runs && !streq(site->runs[i]->id_text, after))
                i++;
        for (i += after != NULL; i < site->n_runs; i++) {
                const struct run *run = site->runs[i];

                if (!run_status_ended(run->status) || run->compacted ||
                    !is_old(c, run->ended_ms, MAX(c->older_than, INT64_C(0))))
                        continue;
                if (c->n_runs == PAGE) {
                        c->next = c->runs[PAGE - 1];
                        return;
                }
                c->runs[c->n_runs++] = run;
        }
}

static bool is_chosen(void *userdata, const struct audit_stream *s)
{
        const struct compaction *c = userdata;

        for (size_t i = 0; i < c->n_runs; i++)
                if (streq(c->runs[i]->id_text, s->run))
                        return true;
        return false;
}

static int journal_of(void *userdata, const char *store, struct journal **ret_journal, char **ret_message)
{
        return process_journal(((struct compaction *)userdata)->p, store, ret_journal, ret_message);
}

/* Opens the site's key, and says its public half in the site's stream if that does not know it. */
static bool open_signer(struct compaction *c)
{
        _cleanup_(cleanup_free) char *path = NULL, *message = NULL;
        char public[SIGNER_PUBLIC];
        int r;

        if (asprintf(&path, "%s/site-key.pem", c->p->context->config->state) < 0)
                path = NULL;
        r = path ? signer_open(path, &c->signer) : -ENOMEM;
        if (r) {
                if (asprintf(&message, "the site's key %s cannot be used: %s", path,
                             r == -EPERM ? "it must belong to the engine's user, and others must not be "
                                           "able to read it (chmod 600)"
                             : r == -EBADMSG ? "it is no ed25519 key; if it is lost, remove the file: a new "
                                               "one is made"
                                             : strerror(-r)) < 0)
                        message = NULL;
                refuse(c, 500, message);
                return false;
        }
        signer_public(c->signer, public);
        if (!c->p->site.signer || !streq(c->p->site.signer, public))
                engine_append_site(c->p->engine, &(struct record){.type = RECORD_SIGNER,
                                                                  .public = span_of(public)});
        return true;
}

/* Says in the site's stream what the stream was. */
static bool bury(struct compaction *c, const struct run *run, const struct audit_stream *s)
{
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        char head[65], signature[SIGNER_SIGNATURE];
        struct record r = {.type = RECORD_COMPACTED, .run = run->id, .upto = s->check.head.seq,
                           .count = (uint32_t)s->check.head.number, .who = span_n(c->who.data, c->who.n)};

        hex_text(s->check.head.digest, 32, head);
        head[64] = 0;
        r.head = span_of(head);
        signer_compacted(c->p->site.id_text, &r, &text);
        if (buf_error(&text) || signer_sign(c->signer, text.data, text.n, signature)) {
                refuse(c, 500, "the record cannot be signed");
                return false;
        }
        r.signature = span_of(signature);
        engine_append_site(c->p->engine, &r);
        c->removed[c->n_removed++] = run;
        return true;
}

static bool compact_run(struct compaction *c, const struct run *run, const struct audit_stream *s)
{
        if (!is_old(c, s->ended_ms, c->older_than >= 0 ? c->older_than : s->retention_days))
                return true;
        json_array_append_new(c->compacted,
                              json_pack("{s:s, s:s, s:I, s:I}", "id", run->id_text, "name", run->name,
                                        "records", (json_int_t)s->check.head.seq, "bytes",
                                        (json_int_t)s->check.n_bytes));
        return c->dry_run || ((c->signer || open_signer(c)) && bury(c, run, s));
}

static void compact_page(struct compaction *c, const struct audit *a)
{
        for (uint32_t i = 1; i < a->n; i++)
                for (size_t k = 0; k < c->n_runs; k++)
                        if (streq(c->runs[k]->id_text, a->streams[i].run) &&
                            !compact_run(c, c->runs[k], &a->streams[i]))
                                return;
}

/* The records are durable: now the streams may go. */
static void remove_streams(struct compaction *c)
{
        _cleanup_(cleanup_free) char *message = NULL;

        if (driver_commit(c->p)) {
                refuse(c, 500, c->p->message);
                return;
        }
        for (size_t i = 0; i < c->n_removed; i++) {
                struct journal *j = NULL;
                int r = process_journal(c->p, c->removed[i]->store, &j, &message);

                r = r ? r : journal_remove(j, c->removed[i]->stream);
                if (r) {
                        refuse(c, 500, message ? message : j && j->message ? j->message : strerror(EIO));
                        return;
                }
        }
}

static void carry_out(struct compaction *c)
{
        _cleanup_(cleanup_audit) struct audit a = AUDIT_NULL;
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        _cleanup_(cleanup_free) char *message = NULL;
        struct audit_request request = {.journal = journal_of, .userdata = c, .want = is_chosen,
                                        .home = c->p->journal->plugin->name};
        int r;

        engine_time(c->p->engine, clock_boot_ms(), clock_wall_ms());
        choose(c);
        r = c->n_runs ? audit_make(&request, &a, &message) : 0;
        if (r || audit_first_bad(&a)) {
                if (audit_first_bad(&a)) {
                        BUF_LIT(&text, "nothing was removed, because the journal is damaged: ");
                        audit_describe(audit_first_bad(&a), &text);
                }
                refuse(c, 500, text.n ? buf_str(&text) : message ? message : strerror(r < 0 ? -r : EIO));
                return;
        }
        compact_page(c, &a);
        if (c->n_removed)
                remove_streams(c);
}

void api_compact(struct engine_process *p, struct request *q)
{
        struct compaction c = {.p = p, .q = q, .compacted = json_array()};
        json_t *answer = NULL;

        if (driver_commit(p)) /* streams of runs that ended in this round are closed */
                refuse(&c, 500, p->message);
        else if (read_body(&c))
                carry_out(&c);
        if (!q->status) {
                answer = json_pack("{s:O, s:s?}", "compacted", c.compacted, "next",
                                   c.next ? c.next->id_text : NULL);
                q->status = answer && json_append(&q->answer, answer) == 0 ? 200 : 500;
        }
        json_decref(answer);
        json_decref(c.compacted);
        json_decref(c.body);
        buf_deinit(&c.who);
        signer_close(c.signer);
}
