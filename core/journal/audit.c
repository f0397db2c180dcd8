/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/audit.h"

#include "base/json.h"
#include "base/strmap.h"
#include "journal/signer.h"

#define RETENTION_DAYS 30 /* where a workflow says nothing */

/* What the site's stream says of a run. */
struct audited_run {
        char id[UID_TEXT];
        char *name, *store, *stream;
        bool in_flight;
        int64_t ended_ms;
        uint32_t n_ended;         /* how often it ended */
        struct audit_head *heads; /* one for each time */
        bool compacted, is_signed;
        uint64_t compacted_seq;   /* of the record that says so, and what that says: */
        uint64_t upto;
        uint32_t count;
        uint8_t head[32];
};

struct auditor {
        const struct audit_request *request;
        struct audit *audit;
        struct audited_run *runs;
        uint32_t n_runs, cap_runs;
        struct strmap by_id;      /* number of the run + 1 */
        char (*signers)[SIGNER_PUBLIC];
        uint32_t n_signers;
        /* The stream that is being verified: */
        const char *name;
        struct audited_run *run;  /* NULL: the site's */
        uint32_t n_end;           /* `end` records so far */
        uint32_t retention_days;
        struct sealed cut;
        /* Journals whose streams were listed since the site's stream was read. */
        struct journal *listed[8];
        size_t n_listed;
};

void audit_deinit(struct audit *a)
{
        for (uint32_t i = 0; i < a->n; i++) {
                free(a->streams[i].workflow);
                journal_check_deinit(&a->streams[i].check);
        }
        free(a->streams);
        *a = AUDIT_NULL;
}

static void auditor_deinit(struct auditor *a)
{
        for (uint32_t i = 0; i < a->n_runs; i++) {
                free(a->runs[i].name);
                free(a->runs[i].store);
                free(a->runs[i].stream);
                free(a->runs[i].heads);
        }
        free(a->runs);
        free(a->signers);
        strmap_deinit(&a->by_id);
}

/* The site's stream */

static struct audited_run *run_of(struct auditor *a, const struct uid *id)
{
        char text[UID_TEXT];
        struct strmap_entry *e;

        uid_text(id, text);
        e = strmap_find(&a->by_id, text, UID_TEXT - 1);
        return e ? &a->runs[e->value.number - 1] : NULL;
}

static int add_run(struct auditor *a, const struct record *r)
{
        struct audited_run *run;
        struct strmap_entry *e;

        if (a->n_runs == a->cap_runs) {
                uint32_t cap = a->cap_runs ? a->cap_runs * 2 : 64;
                struct audited_run *runs = realloc(a->runs, cap * sizeof(*runs));

                if (!runs)
                        return error_origin(-ENOMEM);
                a->runs = runs;
                a->cap_runs = cap;
                strmap_deinit(&a->by_id); /* its keys stand in the runs, which moved */
                for (uint32_t i = 0; i < a->n_runs; i++) {
                        e = strmap_add(&a->by_id, runs[i].id, UID_TEXT - 1);
                        if (!e)
                                return error_origin(-ENOMEM);
                        e->value.number = i + 1;
                }
        }
        run = &a->runs[a->n_runs];
        *run = (struct audited_run){.in_flight = true, .name = strndup(r->name.p, r->name.n),
                                    .store = strndup(r->store.p, r->store.n),
                                    .stream = strndup(r->stream.p, r->stream.n)};
        a->n_runs++;
        uid_text(&r->run, run->id);
        e = strmap_add(&a->by_id, run->id, UID_TEXT - 1);
        if (!run->name || !run->store || !run->stream || !e)
                return error_origin(-ENOMEM);
        e->value.number = a->n_runs;
        return 0;
}

static int run_ended(struct audited_run *run, const struct record *r)
{
        struct audit_head *heads = realloc(run->heads, (run->n_ended + 1) * sizeof(*heads)), *last;

        if (!heads)
                return error_origin(-ENOMEM);
        run->heads = heads;
        run->in_flight = false;
        run->ended_ms = r->at;
        last = run->n_ended ? &heads[run->n_ended - 1] : NULL;
        heads[run->n_ended] = (struct audit_head){0};
        if (!hex_read(r->head.p, r->head.n, heads[run->n_ended].digest, 32)) /* never what a seal has */
                memset(heads[run->n_ended].digest, 0, 32);
        /* The engine died when it had taken up the run again, before anything was said in its own stream: it
         * is the same end. */
        if (!last || memcmp(last->digest, heads[run->n_ended].digest, 32) != 0)
                run->n_ended++;
        return 0;
}

static int add_signer(struct auditor *a, const struct record *r)
{
        char (*signers)[SIGNER_PUBLIC] = realloc(a->signers, (a->n_signers + 1) * sizeof(*signers));

        if (!signers)
                return error_origin(-ENOMEM);
        a->signers = signers;
        snprintf(signers[a->n_signers++], SIGNER_PUBLIC, "%.*s", (int)r->public.n, r->public.p);
        return 0;
}

/* The stream is gone; one of the keys that the site had until now must have signed for it. */
static int run_compacted(struct auditor *a, struct audited_run *run, const struct record *r)
{
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;

        signer_compacted(a->audit->site, r, &text);
        if (buf_error(&text))
                return error_origin(-ENOMEM);
        run->compacted = true;
        run->compacted_seq = r->seq;
        run->upto = r->upto;
        run->count = r->count;
        hex_read(r->head.p, r->head.n, run->head, 32);
        for (uint32_t i = 0; i < a->n_signers; i++)
                run->is_signed |= signer_verify(span_of(a->signers[i]), text.data, text.n, r->signature);
        return 0;
}

static void run_migrated(struct auditor *a, const struct record *r)
{
        for (uint32_t i = 0; i < a->n_runs; i++) {
                char *store = span_eq(r->from, a->runs[i].store) ? strndup(r->to.p, r->to.n) : NULL;

                if (!store)
                        continue;
                free(a->runs[i].store);
                a->runs[i].store = store;
        }
}

static int site_record(struct auditor *a, const struct record *r)
{
        struct audited_run *run;

        if (r->type == RECORD_SITE) {
                uid_text(&r->site, a->audit->site);
                return 0;
        }
        if (r->type == RECORD_ACCEPTED)
                return add_run(a, r);
        if (r->type == RECORD_SIGNER)
                return add_signer(a, r);
        if (r->type == RECORD_MIGRATED)
                run_migrated(a, r);
        run = run_of(a, &r->run);
        if (run && r->type == RECORD_ENDED)
                return run_ended(run, r);
        if (run && r->type == RECORD_COMPACTED)
                return run_compacted(a, run, r);
        if (run && r->type == RECORD_REOPENED)
                run->in_flight = true;
        return 0;
}

static int on_record(void *userdata, const struct record *r, const char *line, size_t n_line)
{
        struct auditor *a = userdata;
        json_t *logging = NULL;

        if (!a->run)
                return site_record(a, r);
        a->n_end += r->type == RECORD_END;
        if (r->type == RECORD_RUN && json_parse(r->logging.p, r->logging.n, &logging, NULL) == 0) {
                a->retention_days = (uint32_t)json_get_int(logging, "retention_days", RETENTION_DAYS);
                json_decref(logging);
        }
        return 0;
}

static int on_seal(void *userdata, const struct sealed *seal)
{
        struct auditor *a = userdata;
        struct anchor *anchor = a->request->anchor;

        if (a->run && !a->cut.number && a->n_end >= a->run->n_ended + a->run->in_flight)
                a->cut = *seal;
        for (uint32_t i = 0; a->run && i < a->run->n_ended; i++)
                if (memcmp(a->run->heads[i].digest, seal->digest, 32) == 0)
                        a->run->heads[i].found = true;
        for (uint32_t i = 0; anchor && i < anchor->n; i++) {
                struct audit_head *h = &anchor->heads[i];

                if ((!*h->stream || streq(h->stream, a->name)) &&
                    (!h->seal || h->seal == seal->number) && memcmp(h->digest, seal->digest, 32) == 0)
                        h->found = true;
        }
        return 0;
}

/* Heads that must be in the stream */

/* The fault stands at the end of the stream. */
static void at_end(struct journal_check *c)
{
        c->segment = c->head.segment;
        c->byte = c->head.end;
        c->line = 0;
        c->seq = c->head.seq + 1;
}

static void check_ends(struct auditor *a, struct journal_check *c)
{
        for (uint32_t i = 0; i < a->run->n_ended && !c->fault; i++) {
                if (a->run->heads[i].found && a->n_end >= a->run->n_ended)
                        continue;
                at_end(c);
                if (a->n_end < a->run->n_ended)
                        journal_check_fail(c, FAULT_TRUNCATED,
                                           "the stream ends behind record %llu; the site's stream says "
                                           "that the run came to its end",
                                           (unsigned long long)c->head.seq);
                else
                        journal_check_fail(c, FAULT_CHANGED,
                                           "the stream was replaced by another one: its head when the "
                                           "run ended, as the site's stream says, is not in it");
        }
}

static void check_anchor(struct auditor *a, struct journal_check *c)
{
        const struct anchor *anchor = a->request->anchor;

        for (uint32_t i = 0; anchor && i < anchor->n && !c->fault; i++) {
                const struct audit_head *h = &anchor->heads[i];

                if (h->found || !streq(*h->stream ? h->stream : "site", a->name))
                        continue;
                at_end(c);
                if (!h->seal)
                        journal_check_fail(c, FAULT_TRUNCATED,
                                           "the anchor's head is not in the stream, which ends with "
                                           "seal %llu: it was cut, or replaced",
                                           (unsigned long long)c->head.number);
                else if (h->seal > c->head.number)
                        journal_check_fail(c, FAULT_TRUNCATED,
                                           "the stream ends with seal %llu; the anchor knows seal %llu",
                                           (unsigned long long)c->head.number,
                                           (unsigned long long)h->seal);
                else
                        journal_check_fail(c, FAULT_CHANGED,
                                           "seal %llu is not the one that the anchor knows: the stream "
                                           "was replaced",
                                           (unsigned long long)h->seal);
        }
}

static int add_stream(struct auditor *a, const char *store, const char *name,
                      struct audit_stream **ret)
{
        struct audit *audit = a->audit;
        struct audit_stream *s;

        if (audit->n == audit->cap) {
                uint32_t cap = audit->cap ? audit->cap * 2 : 64;
                struct audit_stream *streams = realloc(audit->streams, cap * sizeof(*streams));

                if (!streams)
                        return error_origin(-ENOMEM);
                audit->streams = streams;
                audit->cap = cap;
        }
        s = &audit->streams[audit->n++];
        *s = (struct audit_stream){.check = JOURNAL_CHECK_NULL};
        snprintf(s->name, sizeof(s->name), "%s", name);
        snprintf(s->store, sizeof(s->store), "%s", store);
        if (a->run) {
                memcpy(s->run, a->run->id, sizeof(s->run));
                s->in_flight = a->run->in_flight;
                s->compacted = a->run->compacted;
                s->ended_ms = a->run->ended_ms;
                s->retention_days = RETENTION_DAYS;
                s->workflow = strdup(a->run->name);
                if (!s->workflow)
                        return error_origin(-ENOMEM);
        }
        *ret = s;
        return 0;
}

/* What stands for a stream that is gone. */
static void check_compacted(struct auditor *a, struct audit_stream *s)
{
        struct anchor *anchor = a->request->anchor;

        s->check.head.seq = a->run->upto;
        s->check.head.number = a->run->count;
        memcpy(s->check.head.digest, a->run->head, 32);
        if (!a->run->is_signed) {
                s->check.seq = a->run->compacted_seq;
                journal_check_fail(&s->check, FAULT_CHANGED,
                                   "record %llu of the site's stream says that this one was compacted; its "
                                   "signature was not made with a key of this site",
                                   (unsigned long long)a->run->compacted_seq);
        }
        for (uint32_t i = 0; anchor && i < anchor->n; i++) /* its end is known, no longer its parts */
                if (streq(anchor->heads[i].stream, a->name) && anchor->heads[i].seal <= a->run->count)
                        anchor->heads[i].found = true;
}

/* A journal that only reads may remember how many segments a stream has: since the site's stream was read,
 * which names the heads, there may be more. */
static int list_again(struct auditor *a, struct journal *j)
{
        char **names = NULL;
        size_t n = 0;
        int r;

        for (size_t i = 0; i < a->n_listed; i++)
                if (a->listed[i] == j)
                        return 0;
        r = journal_streams(j, &names, &n);
        while (n > 0)
                free(names[--n]);
        free(names);
        if (r == 0 && a->n_listed < N_ELEMENTS(a->listed))
                a->listed[a->n_listed++] = j;
        return r;
}

static int audit_stream(struct auditor *a, struct audited_run *run, char **ret_message)
{
        const struct journal_watch watch = {.record = on_record, .seal = on_seal, .userdata = a};
        const char *store = run ? run->store : a->request->home;
        struct audit_stream *s = NULL;
        struct journal *j = NULL;
        int r;

        a->run = run;
        a->name = run ? run->stream : "site";
        a->n_end = 0;
        a->retention_days = RETENTION_DAYS;
        a->cut = (struct sealed){0};
        r = add_stream(a, store, a->name, &s);
        if (r)
                return error_fold(r);
        if (run && a->request->want && !a->request->want(a->request->userdata, s)) {
                free(s->workflow);
                a->audit->n--;
                return 0;
        }
        if (s->compacted) {
                check_compacted(a, s);
                check_anchor(a, &s->check);
                return 0;
        }
        r = a->request->journal(a->request->userdata, store, &j, ret_message);
        if (r)
                return r;
        r = run ? list_again(a, j) : 0;
        r = r ? r : journal_verify(j, a->name, &watch, &s->check);
        if (r) {
                if (r > 0 && j->message && !*ret_message)
                        *ret_message = strdup(j->message);
                return r;
        }
        s->cut = a->cut.number ? a->cut : s->check.head;
        s->retention_days = a->retention_days;
        if (!s->check.head.number && !s->check.fault) {
                at_end(&s->check);
                s->check.segment = 1;
                if (run)
                        journal_check_fail(&s->check, FAULT_REMOVED, "the stream is missing");
        }
        if (run)
                check_ends(a, &s->check);
        check_anchor(a, &s->check);
        return 0;
}

/* All runs, or the one asked for. */
static int audit_runs(struct auditor *a, char **ret_message)
{
        const char *want = a->request->run;
        uint32_t from = 0, to = a->n_runs;
        int r = 0;

        for (uint32_t i = a->n_runs; want && i-- > 0;)
                if (streq(a->runs[i].id, want) || streq(a->runs[i].name, want)) {
                        from = i;
                        to = i + 1;
                        want = NULL;
                }
        if (want)
                return AUDIT_E_NO_RUN;
        for (uint32_t i = from; i < to && r == 0; i++)
                r = audit_stream(a, &a->runs[i], ret_message);
        return r;
}

static int make(const struct audit_request *request, struct audit *ret, char **ret_message)
{
        struct auditor a = {.request = request, .audit = ret};
        struct anchor *anchor = request->anchor;
        int r;

        *ret = AUDIT_NULL;
        r = audit_stream(&a, NULL, ret_message);
        if (r == 0 && anchor && *anchor->site && !streq(anchor->site, ret->site)) {
                at_end(&ret->streams[0].check);
                journal_check_fail(&ret->streams[0].check, FAULT_CHANGED,
                                   "this is site %s; the anchor is of site %s",
                                   *ret->site ? ret->site : "without a name", anchor->site);
        }
        if (r == 0 && !ret->streams[0].check.fault)
                r = audit_runs(&a, ret_message);
        auditor_deinit(&a);
        return r;
}

/* Beside an engine at work a stream may be compacted after the site's stream was read: then the next look
 * at that knows it. */
int audit_make(const struct audit_request *request, struct audit *ret, char **ret_message)
{
        const struct audit_stream *bad;
        int r = make(request, ret, ret_message);

        bad = r ? NULL : audit_first_bad(ret);
        if (!bad || !*bad->run)
                return r;
        audit_deinit(ret);
        for (uint32_t i = 0; request->anchor && i < request->anchor->n; i++)
                request->anchor->heads[i].found = false;
        return make(request, ret, ret_message);
}

const struct audit_stream *audit_first_bad(const struct audit *a)
{
        for (uint32_t i = 0; i < a->n; i++)
                if (a->streams[i].check.fault)
                        return &a->streams[i];
        return NULL;
}

void audit_describe(const struct audit_stream *s, struct buf *text)
{
        const struct journal_check *c = &s->check;

        buf_printf(text, "stream %s in store %s, segment %u, byte %llu", s->name, s->store, c->segment,
                   (unsigned long long)c->byte);
        if (c->line)
                buf_printf(text, ", line %llu", (unsigned long long)c->line);
        buf_printf(text, ", record %llu: %s: %s", (unsigned long long)c->seq,
                   journal_fault_name(c->fault), c->what ? c->what : "");
}
