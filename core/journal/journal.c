/* SPDX-License-Identifier: Apache-2.0 */
/* Opening stores, appending sealed batches. Reading back stands in reader.c. */
#include "journal/journal.h"

#include "base/json.h"
#include "journal/seal.h"
#include "plugin/border.h"

#include <sys/random.h>

#define PLAN_BATCH (4u << 20) /* bytes */

int journal_fail(struct journal *j, int condition, const char *format, ...)
{
        char *message = NULL;
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&message, format, ap) < 0)
                message = NULL;
        va_end(ap);
        free(j->message);
        j->message = message;
        return condition;
}

/* What a store answered, as a condition of this module. */
static int store_failed(struct journal *j, const char *what, int32_t answer,
                        const struct op_reply *reply)
{
        int condition = answer == PRVNG_CONFLICT ? JOURNAL_E_BUSY
                        : answer == PRVNG_QUOTA  ? JOURNAL_E_FULL
                                                 : JOURNAL_E_FAILED;

        return journal_fail(j, condition, "store %s: %s: %s", j->plugin->name, what,
                            reply->message ? reply->message : op_class_name(answer));
}

void store_call_begin(struct journal *j, struct store_call *c)
{
        c->reply = OP_REPLY_NULL;
        op_call_init(&c->call, j->plugin, "", 1, INT64_MAX, j->epoch, "", "");
        c->call.reply = &c->reply;
}

int store_call_end(struct journal *j, struct store_call *c, const char *what, int32_t answer)
{
        int r = answer < 0 ? store_failed(j, what, answer, &c->reply) : 0;

        op_call_deinit(&c->call);
        op_reply_deinit(&c->reply);
        return r;
}

int journal_open(struct plugin *store, const char *location, bool read_only,
                 struct journal **ret_journal, char **ret_message)
{
        struct journal *j;
        struct store_call c;
        int r;

        j = calloc(1, sizeof(*j));
        if (!j)
                return error_origin(-ENOMEM);
        j->plugin = store;
        j->read_only = read_only;
        store_call_begin(j, &c);
        r = store_call_end(j, &c, "open",
                           store->store.open(store->instance, &c.call.pub, location,
                                             read_only ? PRVNG_STORE_READ_ONLY : 0, &j->epoch));
        if (r) {
                *ret_message = steal(&j->message);
                free(j);
                return r;
        }
        *ret_journal = j;
        return 0;
}

static void forget_list(struct journal *j)
{
        strmap_foreach (e, &j->last)
                free((char *)(uintptr_t)e->key);
        strmap_deinit(&j->last);
        j->listed = false;
}

struct journal *journal_close(struct journal *j)
{
        if (j) {
                forget_list(j);
                j->plugin->store.close(j->plugin->instance);
                free(j->message);
                free(j);
        }
        return NULL;
}

struct stream *stream_close(struct stream *s)
{
        if (s) {
                buf_deinit(&s->pending);
                free(s->name);
                free(s);
        }
        return NULL;
}

/* Which streams there are. Asked for once: listing all of them for each would make a restart with ten
 * thousand runs quadratic. A writer is alone and keeps its list up to date; who only reads asks again
 * when a stream is not in it. */

static int list_put(struct journal *j, const char *name, uint32_t last)
{
        size_t n = strlen(name);
        struct strmap_entry *e = strmap_find(&j->last, name, n);
        char *key;

        if (!e) {
                key = strdup(name);
                e = key ? strmap_add(&j->last, key, n) : NULL;
                if (!e) {
                        free(key);
                        return error_origin(-ENOMEM);
                }
        }
        e->value.number = last;
        return 0;
}

static int list(struct journal *j)
{
        _cleanup_(cleanup_json_decref) json_t *all = NULL;
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        struct prvng_sink sink = SINK(&text, 1u << 30);
        struct store_call c;
        json_t *s;
        size_t i;
        int r;

        store_call_begin(j, &c);
        r = store_call_end(j, &c, "streams",
                           j->plugin->store.streams(j->plugin->instance, &c.call.pub, &sink));
        if (r)
                return r;
        if (json_parse(buf_str(&text), text.n, &all, NULL))
                return journal_fail(j, JOURNAL_E_FAILED, "store %s: its list of streams is no JSON",
                                    j->plugin->name);
        forget_list(j);
        json_array_foreach (json_object_get(all, "streams"), i, s) {
                r = list_put(j, json_get_string(s, "name", ""), (uint32_t)json_get_int(s, "last", 0));
                if (r)
                        return error_fold(r);
        }
        j->listed = true;
        return 0;
}

int journal_streams(struct journal *j, char ***ret_names, size_t *ret_n)
{
        char **names;
        size_t n = 0;
        int r;

        r = j->listed && !j->read_only ? 0 : list(j);
        if (r)
                return r;
        names = calloc(j->last.n + 1, sizeof(*names));
        if (!names)
                return error_origin(-ENOMEM);
        strmap_foreach (e, &j->last) {
                names[n] = strdup(e->key);
                if (!names[n++]) {
                        while (n-- > 0)
                                free(names[n]);
                        free(names);
                        return error_origin(-ENOMEM);
                }
        }
        *ret_names = names;
        *ret_n = n;
        return 0;
}

int journal_last_segment(struct journal *j, const char *name, uint32_t *ret_segment)
{
        const struct strmap_entry *e = strmap_find(&j->last, name, strlen(name));
        int r = 0;

        if (!e && (!j->listed || j->read_only)) {
                r = list(j);
                e = strmap_find(&j->last, name, strlen(name));
        }
        if (r)
                return r;
        *ret_segment = e ? (uint32_t)e->value.number : 0;
        return 0;
}

int journal_remove(struct journal *j, const char *name)
{
        struct strmap_entry *e = strmap_find(&j->last, name, strlen(name));
        struct store_call c;

        if (e) {
                char *key = (char *)(uintptr_t)e->key;

                strmap_remove(&j->last, name, strlen(name));
                free(key);
        }
        store_call_begin(j, &c);
        return store_call_end(
                j, &c, "remove",
                j->plugin->store.remove(j->plugin->instance, &c.call.pub, name, j->epoch));
}

void stream_append(struct stream *s, struct record *r)
{
        assert(!s->journal->read_only);
        r->seq = ++s->seq; /* J1 */
        record_write(&s->pending, r);
        s->n_pending++;
        s->plan_pending |= r->type == RECORD_PLANNED;
}

/* Puts a new segment's first line in front of the pending batch. */
static int open_segment(struct stream *s)
{
        struct buf batch = BUF_NULL;
        uint8_t salt[16];

        if (getrandom(salt, sizeof(salt), 0) != sizeof(salt))
                return error_origin(-errno);
        buf_printf(&batch, "{\"segment\":%u,\"format\":%u,\"stream\":\"%s\",\"salt\":\"",
                   s->segment + 1, JOURNAL_FORMAT, s->name);
        buf_hex(&batch, salt, sizeof(salt));
        BUF_LIT(&batch, "\"}\n");
        buf_append(&batch, s->pending.data, s->pending.n);
        if (buf_error(&batch)) {
                buf_deinit(&batch);
                return error_origin(-ENOMEM);
        }
        buf_deinit(&s->pending);
        s->pending = batch;
        memcpy(s->salt, salt, sizeof(salt));
        s->segment++;
        s->n_segment = 0;
        return s->journal->listed ? list_put(s->journal, s->name, s->segment) : 0;
}

static int append(struct stream *s)
{
        struct journal *j = s->journal;
        struct store_call c;
        int r;

        assert(!j->failed); /* J4 */
        store_call_begin(j, &c);
        r = store_call_end(j, &c, s->name,
                           j->plugin->store.append(j->plugin->instance, &c.call.pub, s->name,
                                                   s->segment, s->pending.data, s->pending.n,
                                                   j->epoch));
        j->failed = r != 0;
        return r;
}

void stream_sealed(struct stream *s, uint64_t from, uint64_t end, uint64_t seal,
                   const uint8_t digest[32])
{
        s->last = (struct mark){.segment = s->segment, .from = from, .end = end, .seal = seal,
                                .seq = s->seq};
        memcpy(s->last.salt, s->salt, sizeof(s->salt));
        memcpy(s->last.after, s->digest, 32);
        memcpy(s->last.digest, digest, 32);
        memcpy(s->digest, digest, 32);
        s->seal = seal;
        s->n_bytes += end - from;
        if (s->plan_pending) {
                s->plan = s->last;
                s->n_bytes = 0;
        }
        s->plan_pending = false;
}

static int commit_batch(struct stream *s)
{
        uint8_t digest[32];
        int r;

        if (!s->n_pending)
                return 0;
        if (s->journal->failed)
                return JOURNAL_E_FAILED;
        r = buf_error(&s->pending);
        if (r)
                return error_fold(r);
        if (s->segment == 0 || s->n_segment >= JOURNAL_SEGMENT_MAX) {
                r = open_segment(s);
                if (r)
                        return error_fold(r);
        }
        r = seal_digest(s->digest, s->salt, s->segment, s->seal + 1, s->pending.data,
                        s->pending.n, digest);
        if (r)
                return error_fold(r);
        seal_write(&s->pending, s->seal + 1, s->n_pending, s->digest, digest);
        r = buf_error(&s->pending);
        if (r)
                return error_fold(r);
        r = append(s);
        if (r)
                return r;
        stream_sealed(s, s->n_segment, s->n_segment + s->pending.n, s->seal + 1, digest);
        s->n_segment += s->pending.n;
        s->n_pending = 0;
        buf_clear(&s->pending);
        if (s->pending.cap > 4u << 20) /* a plan was written: give its memory back */
                buf_deinit(&s->pending);
        return 0;
}

/* Where the first batch of a long text ends: behind a line, at about that many bytes. */
static const char *cut(const char *p, const char *end, size_t n, uint64_t *ret_lines)
{
        const char *stop = (size_t)(end - p) > n ? p + n : end;
        uint64_t lines = 0;

        while (p < stop) {
                p = (const char *)memchr(p, '\n', (size_t)(end - p)) + 1;
                lines++;
        }
        *ret_lines = lines;
        return p;
}

/* A plan may be large. Nobody is told of the run before all of it is durable, and what a crash leaves of
 * it before is removed: so it need not be one batch. Smaller ones, in several segments, are read back
 * while the disk brings the next. */
static int commit_plan(struct stream *s)
{
        _cleanup_(cleanup_buf) struct buf plan = s->pending;
        const char *p = plan.data, *end = p + plan.n, *next;
        bool planned = s->plan_pending;
        uint64_t seq = s->seq;
        int r = 0;

        s->pending = BUF_NULL;
        for (; p < end && r == 0; p = next) {
                next = cut(p, end, PLAN_BATCH, &s->n_pending);
                buf_append(&s->pending, p, (size_t)(next - p));
                s->seq = s->last.seq + s->n_pending;
                s->plan_pending = planned && next == end;
                r = commit_batch(s);
        }
        s->seq = seq;
        return r;
}

int stream_commit(struct stream *s)
{
        if (s->seal == 0 && s->pending.n > JOURNAL_SEGMENT_MAX && buf_error(&s->pending) == 0 &&
            !s->journal->failed)
                return commit_plan(s);
        return commit_batch(s);
}
