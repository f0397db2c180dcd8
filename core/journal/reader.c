/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading streams back: seals are checked batch by batch, records handed on only from valid batches.
 *
 * Where the valid prefix ends, what follows decides between a torn tail (cut) and damage (refused): a
 * later seal that is valid in itself (it names its predecessor's digest, so it can be checked although
 * what stands before it is broken) proves that the bytes before it were durable once.
 */
#include "journal/journal.h"

#include "journal/batches.h"
#include "journal/seal.h"

struct reader {
        struct journal *journal;
        struct stream *stream; /* position so far */
        journal_record_f f;
        void *userdata;
        struct record_scratch scratch;
        struct batches batches;
        const struct shortcut *by; /* or NULL */
        uint64_t until; /* where to stop in the segment under way; UINT64_MAX: at its end */
        uint32_t last;  /* number of the last segment */
        uint32_t format; /* of the segment that was read last */
        uint64_t valid; /* bytes of the segment that valid seals cover */
        uint64_t line;  /* lines in them, for messages */
};

static const char *line_end(const char *p, const char *end)
{
        return memchr(p, '\n', (size_t)(end - p));
}

/* Hands the records between `p` and `end` (the seal's line) on. */
static int deliver(struct reader *r, const char *p, const char *end)
{
        struct stream *s = r->stream;

        struct record record;

        for (uint64_t line = r->line + 1; p < end; line++) {
                const char *nl = line_end(p, end);
                size_t column = 0;
                int q;

                assert(nl);
                if (startswith(p, "{\"segment\":")) {
                        p = nl + 1;
                        continue;
                }
                q = record_read(p, (size_t)(nl - p), &r->scratch, &record, &column);
                if (q == 0 && record.seq != s->seq + 1) /* J1 */
                        q = -EBADMSG;
                if (q == -EBADMSG)
                        return journal_fail(r->journal, JOURNAL_E_DAMAGED,
                                            "stream %s, segment %u, line %llu, column %zu: sealed, "
                                            "but not a record this version understands",
                                            s->name, s->segment, (unsigned long long)line, column);
                if (q)
                        return error_fold(q);
                s->seq = record.seq;
                s->plan_pending |= record.type == RECORD_PLANNED;
                q = r->f(r->userdata, &record, p, (size_t)(nl - p));
                record_scratch_clear(&r->scratch);
                if (q)
                        return q;
                p = nl + 1;
        }
        return 0;
}

enum { SEGMENT_E_UNREADABLE = 100 };

static int check_format(struct reader *r, const char *p, const char *end, uint8_t salt[16])
{
        const char *nl = line_end(p, end);
        uint32_t format;

        if (!nl || !segment_read(p, (size_t)(nl - p), r->stream->name, r->stream->segment, &format,
                                 salt))
                return SEGMENT_E_UNREADABLE;
        r->format = format;
        if (format > JOURNAL_FORMAT)
                return journal_fail(r->journal, JOURNAL_E_DAMAGED,
                                    "stream %s, segment %u is of format %u; this version reads "
                                    "up to %u: install the version that wrote it",
                                    r->stream->name, r->stream->segment, format, JOURNAL_FORMAT);
        return 0;
}

/* A segment whose first line cannot be read has no salt to check seals with: two of them prove that its
 * first batch was durable once. */
static bool two_seals(const char *p, const char *end)
{
        unsigned n = 0;
        const char *nl;
        struct seal seal;

        for (; p < end && (nl = line_end(p, end)); p = nl + 1)
                n += startswith(p, "{\"seal\":") && seal_read(p, (size_t)(nl - p), &seal);
        return n >= 2;
}

static int damaged(struct reader *r, const char *why)
{
        const struct stream *s = r->stream;

        return journal_fail(r->journal, JOURNAL_E_DAMAGED,
                            "stream %s, segment %u, byte %llu, line %llu: %s; nothing was changed. "
                            "Restore the store from a backup, or look with: prvng store check",
                            s->name, s->segment, (unsigned long long)r->valid,
                            (unsigned long long)r->line + 1, why);
}

/* Reads the batches between `p` and `end`. `data` is the byte `base` of the segment. Leaves in r->valid
 * how much of the segment is good. */
static int read_batches(struct reader *r, const char *data, uint64_t base, const char *p,
                        const char *end)
{
        struct stream *s = r->stream;
        struct batch b;
        int q = BATCHES_E_END, stop = 0;

        batches_begin(&r->batches, s->salt, s->segment, p, (size_t)(end - p));
        while (r->valid < r->until && (q = batches_next(&r->batches, &b)) == 0) {
                if (b.seal.number != s->seal + 1 || memcmp(b.seal.after, s->digest, 32) != 0 ||
                    b.n_lines - (startswith(b.lines, "{\"segment\":") != NULL) != b.seal.n_records)
                        break;
                if (r->f) {
                        stop = deliver(r, b.lines, b.line);
                        if (stop)
                                break;
                } else {
                        s->seq += b.seal.n_records;
                }
                r->line += b.n_lines + 1;
                p = b.end;
                stream_sealed(s, r->valid, base + (uint64_t)(p - data), b.seal.number, b.seal.digest);
                r->valid = s->last.end;
        }
        batches_end(&r->batches);
        if (stop || q < 0)
                return stop ?: q;
        if (p == end || r->valid >= r->until)
                return 0;
        if (s->segment < r->last) /* J3 */
                return damaged(r, "bytes were changed or lost: another segment follows");
        if (r->valid == 0 ? two_seals(p, end)
                          : seal_follows(s->salt, s->segment, p, end)) /* the salt may be changed */
                return damaged(r, "bytes were changed: a valid seal follows");
        return 0;
}

/* Reads one segment. */
static int read_segment(struct reader *r, const char *data, size_t n)
{
        struct stream *s = r->stream;
        int q;

        r->valid = r->line = 0;
        if (n == 0)
                return 0;
        q = check_format(r, data, data + n, s->salt);
        if (q == SEGMENT_E_UNREADABLE)
                return s->segment < r->last || two_seals(data, data + n)
                               ? damaged(r, "the first line of the segment was changed")
                               : 0;
        return q ?: read_batches(r, data, 0, data, data + n);
}

/* More than a store gives a sink at once. */
#define PIECE_MAX (UINT64_C(4) << 20)

/* The bytes from `offset` on, at least up to `end` if there are so many. */
static int load_segment(struct journal *j, const char *name, uint32_t segment, uint64_t offset,
                        uint64_t end, struct buf *data)
{
        struct prvng_sink sink = SINK(data, end - offset + MIN(PIECE_MAX, UINT64_MAX - end));
        struct store_call c;
        int q;

        buf_clear(data);
        store_call_begin(j, &c);
        q = store_call_end(j, &c, name,
                           j->plugin->store.read(j->plugin->instance, &c.call.pub, name, segment,
                                                 offset, &sink));
        if (sink.error != -ENOSPC)
                return q;
        return data->n >= end - offset ? 0
                                       : load_segment(j, name, segment, offset, UINT64_MAX, data);
}

static int read_segments(struct reader *r, uint32_t from, uint32_t to, uint64_t until)
{
        struct stream *s = r->stream;
        _cleanup_(cleanup_buf) struct buf data = BUF_NULL;
        int q;

        for (uint32_t i = from; i <= to; i++) {
                r->until = i == to ? until : UINT64_MAX;
                q = load_segment(r->journal, s->name, i, 0, r->until, &data);
                if (q)
                        return q;
                s->segment = i;
                q = read_segment(r, buf_str(&data), data.n);
                if (q)
                        return q;
                s->n_segment = r->valid;
        }
        return 0;
}

/* Is the batch there that the shortcut starts from? `data` is what was read from its first byte on. */
static bool stands(struct reader *r, const struct buf *data)
{
        const struct mark *at = &r->by->at;
        struct batch b;
        bool good;

        if (at->end <= at->from || at->end - at->from > data->n)
                return false;
        batches_begin(&r->batches, at->salt, at->segment, data->data, (size_t)(at->end - at->from));
        good = batches_next(&r->batches, &b) == 0 &&
               b.end == data->data + (at->end - at->from) && b.seal.number == at->seal &&
               memcmp(b.seal.after, at->after, 32) == 0 && memcmp(b.seal.digest, at->digest, 32) == 0;
        batches_end(&r->batches);
        return good;
}

static int read_by(struct reader *r)
{
        _cleanup_(cleanup_buf) struct buf data = BUF_NULL;
        const struct shortcut *by = r->by;
        struct stream *s = r->stream;
        int q;

        if (by->at.segment == 0 || by->at.segment > r->last || by->plan.segment > by->at.segment)
                return JOURNAL_E_SHORTCUT;
        q = load_segment(r->journal, s->name, by->at.segment, by->at.from, UINT64_MAX, &data);
        if (q)
                return q < 0 ? error_fold(q) : JOURNAL_E_SHORTCUT;
        if (!stands(r, &data))
                return JOURNAL_E_SHORTCUT;
        if (by->plan.segment) {
                q = read_segments(r, 1, by->plan.segment, by->plan.end);
                if (q)
                        return q;
                if (r->valid != by->plan.end || s->seal != by->plan.seal ||
                    memcmp(s->digest, by->plan.digest, 32) != 0)
                        return JOURNAL_E_SHORTCUT;
        }
        s->segment = by->at.segment;
        s->seal = by->at.seal;
        s->seq = by->at.seq;
        memcpy(s->salt, by->at.salt, sizeof(s->salt));
        memcpy(s->digest, by->at.digest, sizeof(s->digest));
        s->last = by->at;
        s->n_bytes = 0;
        q = by->arrive(r->userdata);
        if (q)
                return q;
        r->until = UINT64_MAX;
        r->valid = by->at.end;
        q = read_batches(r, buf_str(&data), by->at.from, data.data + (by->at.end - by->at.from),
                         data.data + data.n);
        s->n_segment = r->valid;
        return q ?: read_segments(r, by->at.segment + 1, r->last, UINT64_MAX);
}

static int read_stream(struct reader *r)
{
        int q = journal_last_segment(r->journal, r->stream->name, &r->last);

        if (q || !r->by)
                return q ?: read_segments(r, 1, r->last, UINT64_MAX);
        q = read_by(r);
        return q == JOURNAL_E_DAMAGED ? JOURNAL_E_SHORTCUT : q;
}

static int stream_new(struct journal *j, const char *name, struct stream **ret)
{
        struct stream *s = calloc(1, sizeof(*s));

        if (s)
                s->name = strdup(name);
        if (!s || !s->name) {
                free(s);
                return error_origin(-ENOMEM);
        }
        s->journal = j;
        *ret = s;
        return 0;
}

static int recover(struct stream *s)
{
        struct journal *j = s->journal;
        struct store_call c;
        int q;

        if (s->segment == 0)
                return 0;
        store_call_begin(j, &c);
        q = store_call_end(j, &c, s->name,
                           j->plugin->store.recover(j->plugin->instance, &c.call.pub, s->name,
                                                    s->segment, s->n_segment, j->epoch));
        if (q == 0 && s->n_segment == 0)
                s->segment--; /* its first batch was torn: opened again under the same number */
        return q;
}

int stream_open_by(struct journal *j, const char *name, const struct shortcut *by, journal_record_f f,
                   void *userdata, struct stream **ret_stream)
{
        struct reader r = {.journal = j, .by = by, .f = f, .userdata = userdata};
        int q;

        q = stream_new(j, name, &r.stream);
        if (q)
                return error_fold(q);
        q = read_stream(&r);
        record_scratch_deinit(&r.scratch);
        if (q == 0)
                q = recover(r.stream);
        if (q) {
                stream_close(r.stream);
                return q;
        }
        if (r.stream->segment < r.last || /* that segment is empty now; the one before it is full */
            r.format < JOURNAL_FORMAT) /* what an older version reads holds nothing it does not know */
                r.stream->n_segment = JOURNAL_SEGMENT_MAX;
        *ret_stream = r.stream;
        return 0;
}

int stream_open(struct journal *j, const char *name, journal_record_f f, void *userdata,
                struct stream **ret_stream)
{
        return stream_open_by(j, name, NULL, f, userdata, ret_stream);
}

int journal_read_by(struct journal *j, const char *name, const struct shortcut *by,
                    journal_record_f f, void *userdata)
{
        struct reader r = {.journal = j, .by = by, .f = f, .userdata = userdata};
        int q;

        q = stream_new(j, name, &r.stream);
        if (q)
                return error_fold(q);
        q = read_stream(&r);
        record_scratch_deinit(&r.scratch);
        stream_close(r.stream);
        return q;
}

int journal_read(struct journal *j, const char *name, journal_record_f f, void *userdata)
{
        return journal_read_by(j, name, NULL, f, userdata);
}
