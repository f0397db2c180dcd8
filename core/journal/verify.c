/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each batch is checked whole; only of one that does not hold the lines are looked at one by one, to name
 * the first that is wrong. Where a batch begins that does not hold, verifying ends: nothing behind it can
 * be trusted.
 */
#include "journal/verify.h"

#include "journal/seal.h"
#include "plugin/border.h"

struct place {
        uint32_t segment;
        uint64_t byte, line, seq;
};

struct verifier {
        struct journal *journal;
        const char *name;
        const struct journal_watch *watch;
        struct journal_check *c;
        struct record_scratch scratch;
        uint32_t last;           /* segment that the store holds */
        uint32_t segment;
        uint8_t salt[16];
        const char *data, *end;  /* of the segment */
        uint64_t line;           /* lines of it that seals cover */
        struct place before;     /* of the first record of the last batch that held */
};

const char *journal_fault_name(enum journal_fault f)
{
        static const char *const names[N_JOURNAL_FAULTS] = {
                [FAULT_NONE] = "intact",         [FAULT_CHANGED] = "changed",
                [FAULT_REMOVED] = "removed",     [FAULT_REORDERED] = "reordered",
                [FAULT_TRUNCATED] = "truncated",
        };

        return names[f];
}

void journal_check_deinit(struct journal_check *c)
{
        free(c->what);
        *c = JOURNAL_CHECK_NULL;
}

void journal_check_fail(struct journal_check *c, enum journal_fault fault, const char *format, ...)
{
        va_list ap;

        if (c->fault)
                return;
        c->fault = fault;
        va_start(ap, format);
        if (vasprintf(&c->what, format, ap) < 0)
                c->what = NULL;
        va_end(ap);
}

static uint64_t count_lines(const char *p, const char *end)
{
        uint64_t n = 0;

        for (; p < end && (p = memchr(p, '\n', (size_t)(end - p))); p++)
                n++;
        return n;
}

/* The fault stands at `p` of the present segment. */
static void at(struct verifier *v, const char *p, uint64_t seq)
{
        v->c->segment = v->segment;
        v->c->byte = (uint64_t)(p - v->data);
        v->c->line = count_lines(v->data, p) + 1;
        v->c->seq = seq;
}

/* The first line from `p` on that looks like a seal and is whole. */
static const char *find_seal(const char *p, const char *end, const char **ret_nl)
{
        for (const char *nl; p < end && (nl = memchr(p, '\n', (size_t)(end - p))); p = nl + 1)
                if (startswith(p, "{\"seal\":")) {
                        *ret_nl = nl;
                        return p;
                }
        return NULL;
}

static bool has_seq(struct verifier *v, const char *p, uint64_t seq)
{
        char text[40];
        int n = snprintf(text, sizeof(text), "{\"seq\":%llu,", (unsigned long long)seq);

        for (const char *nl; p < v->end; p = nl + 1) {
                if (v->end - p >= n && memcmp(p, text, (size_t)n) == 0)
                        return true;
                nl = memchr(p, '\n', (size_t)(v->end - p));
                if (!nl)
                        break;
        }
        return false;
}

/* A record with another number stands where number `want` belongs. */
static void wrong_number(struct verifier *v, const char *p, uint64_t is, uint64_t want)
{
        at(v, p, want);
        if (is < want)
                journal_check_fail(v->c, FAULT_REORDERED, "record %llu stands where record %llu belongs",
                                   (unsigned long long)is, (unsigned long long)want);
        else if (has_seq(v, p, want))
                journal_check_fail(v->c, FAULT_REORDERED, "record %llu stands in front of record %llu",
                                   (unsigned long long)is, (unsigned long long)want);
        else if (is == want + 1)
                journal_check_fail(v->c, FAULT_REMOVED, "record %llu is missing",
                                   (unsigned long long)want);
        else
                journal_check_fail(v->c, FAULT_REMOVED, "records %llu to %llu are missing",
                                   (unsigned long long)want, (unsigned long long)is - 1);
}

/* Looks at the whole lines between `p` and `end` one by one; true: one of them is wrong. *ret_seq is the
 * number of the last record, *ret_n how many there are. */
static bool find_bad_line(struct verifier *v, const char *p, const char *end, uint64_t *ret_seq,
                          uint64_t *ret_n)
{
        uint64_t seq = v->c->head.seq, n = 0;
        const char *nl;

        for (; p < end && (nl = memchr(p, '\n', (size_t)(end - p))); p = nl + 1) {
                struct record r;
                size_t column = 0;
                int q;

                if (p == v->data) /* the segment's own line was read before */
                        continue;
                q = record_read(p, (size_t)(nl - p), &v->scratch, &r, &column);
                record_scratch_clear(&v->scratch);
                if (q) {
                        at(v, p, seq + 1);
                        journal_check_fail(v->c, FAULT_CHANGED,
                                           "the line is no record any more, from column %zu on", column);
                        return true;
                }
                if (r.seq != seq + 1) {
                        wrong_number(v, p, r.seq, seq + 1);
                        return true;
                }
                seq++;
                n++;
        }
        *ret_seq = seq;
        *ret_n = n;
        return false;
}

static bool matches(struct verifier *v, const struct seal *seal, const char *p, const char *line)
{
        uint8_t digest[32];

        return seal_digest(seal->after, v->salt, v->segment, seal->number, p, (size_t)(line - p),
                           digest) == 0 &&
               memcmp(digest, seal->digest, 32) == 0;
}

/* All lines are records in order, and yet the seal on `line` does not close the batch at `p`. */
static void wrong_seal(struct verifier *v, const char *p, const char *line, const struct seal *seal,
                       uint64_t seq, uint64_t n)
{
        uint64_t want = v->c->head.number + 1, from = v->c->head.seq + 1;

        at(v, p == v->data ? memchr(p, '\n', (size_t)(v->end - p)) + 1 : p, from);
        if (seal->number > want) {
                journal_check_fail(v->c, FAULT_REMOVED, "batches %llu to %llu are missing",
                                   (unsigned long long)want, (unsigned long long)seal->number - 1);
        } else if (seal->number < want) {
                journal_check_fail(v->c, FAULT_REORDERED, "batch %llu stands where batch %llu belongs",
                                   (unsigned long long)seal->number, (unsigned long long)want);
        } else if (seal->n_records > n) {
                at(v, line, seq + 1);
                journal_check_fail(v->c, FAULT_REMOVED, "the batch had %llu records, %llu are left",
                                   (unsigned long long)seal->n_records, (unsigned long long)n);
        } else if (memcmp(seal->after, v->c->head.digest, 32) != 0 && matches(v, seal, p, line)) {
                /* The batch is whole, and names another one as the one before it. */
                v->c->segment = v->before.segment;
                v->c->byte = v->before.byte;
                v->c->line = v->before.line;
                v->c->seq = v->before.seq;
                journal_check_fail(v->c, FAULT_CHANGED,
                                   want > 1 ? "batch %llu was changed and sealed anew: the one behind it "
                                              "names another digest"
                                            : "batch %llu: the stream had another beginning",
                                   (unsigned long long)MAX(want - 1, UINT64_C(1)));
        } else {
                at(v, p, from);
                journal_check_fail(v->c, FAULT_CHANGED,
                                   "a byte of record %llu, or of what is sealed with it up to record %llu%s, "
                                   "was changed", (unsigned long long)from, (unsigned long long)seq,
                                   p == v->data ? ", or of the segment's first line" : "");
        }
}

/* What a crash leaves behind the last seal: a part of one append, in which bytes may be missing. */
static bool may_be_torn(struct verifier *v, const char *p)
{
        return v->segment == v->last && memchr(p, 0, (size_t)(v->end - p)) &&
               !seal_follows(v->salt, v->segment, p, v->end);
}

/* Could a write that was cut have left these bytes of an unfinished line? */
static bool is_beginning(struct verifier *v, const char *batch, const char *p, uint64_t seq, uint64_t n)
{
        _cleanup_(cleanup_buf) struct buf seal = BUF_NULL, record = BUF_NULL;
        size_t n_line = (size_t)(v->end - p);
        uint8_t digest[32];

        buf_printf(&record, "{\"seq\":%llu,\"at\":", (unsigned long long)seq + 1);
        if (seal_digest(v->c->head.digest, v->salt, v->segment, v->c->head.number + 1, batch,
                        (size_t)(p - batch), digest) == 0)
                seal_write(&seal, v->c->head.number + 1, n, v->c->head.digest, digest);
        return memcmp(p, buf_str(&record), MIN(n_line, record.n)) == 0 ||
               (n > 0 && n_line < seal.n && memcmp(p, buf_str(&seal), n_line) == 0);
}

/* Lines that no seal closes. */
static void check_tail(struct verifier *v, const char *p)
{
        const char *last = v->end;
        uint64_t seq, n;

        if (may_be_torn(v, p)) {
                v->c->n_torn = (uint64_t)(v->end - p);
                return;
        }
        if (find_bad_line(v, p, v->end, &seq, &n))
                return;
        while (last > p && last[-1] != '\n')
                last--;
        if (v->segment < v->last) {
                at(v, last, seq + 1);
                journal_check_fail(v->c, FAULT_TRUNCATED,
                                   "the segment ends without a seal, although segment %u follows",
                                   v->segment + 1);
        } else if (last < v->end && !is_beginning(v, p, last, seq, n)) {
                at(v, last, seq + 1);
                journal_check_fail(v->c, FAULT_CHANGED,
                                   "the last line is neither a record nor a seal, nor the beginning of one");
        } else {
                v->c->n_torn = (uint64_t)(v->end - p);
        }
}

/* Hands an intact batch on. */
static int deliver(struct verifier *v, const char *p, const char *line)
{
        const char *nl;

        for (; p < line && (nl = memchr(p, '\n', (size_t)(line - p))); p = nl + 1) {
                struct record r;
                int q;

                if (p == v->data)
                        continue;
                q = record_read(p, (size_t)(nl - p), &v->scratch, &r, NULL);
                if (q == 0 && v->watch && v->watch->record)
                        q = v->watch->record(v->watch->userdata, &r, p, (size_t)(nl - p));
                record_scratch_clear(&v->scratch);
                if (q)
                        return q;
        }
        return v->watch && v->watch->seal ? v->watch->seal(v->watch->userdata, &v->c->head) : 0;
}

/* The batch at *p; moves *p behind it. With a fault, or at the end of what is sealed: to the end. */
static int check_batch(struct verifier *v, const char **p)
{
        const char *nl, *line = find_seal(*p, v->end, &nl), *batch = *p;
        uint64_t seq = 0, n = 0;
        struct seal seal;

        *p = v->end;
        if (!line) {
                check_tail(v, batch);
                return 0;
        }
        if (!seal_read(line, (size_t)(nl - line), &seal) ||
            seal.number != v->c->head.number + 1 ||
            memcmp(seal.after, v->c->head.digest, 32) != 0 || !matches(v, &seal, batch, line)) {
                if (may_be_torn(v, batch)) {
                        v->c->n_torn = (uint64_t)(v->end - batch);
                } else if (find_bad_line(v, batch, line, &seq, &n)) {
                        return 0;
                } else if (!seal_read(line, (size_t)(nl - line), &seal)) {
                        at(v, line, seq + 1);
                        journal_check_fail(v->c, FAULT_CHANGED, "the line is no seal any more");
                } else {
                        wrong_seal(v, batch, line, &seal, seq, n);
                }
                return 0;
        }
        if (find_bad_line(v, batch, line, &seq, &n))
                return 0; /* sealed like this: by another version, or by somebody else */
        if (n != seal.n_records) {
                wrong_seal(v, batch, line, &seal, seq, n);
                return 0;
        }
        v->before = (struct place){.segment = v->segment, .byte = (uint64_t)(batch - v->data),
                                   .line = v->line + 1, .seq = v->c->head.seq + 1};
        v->line += n + 1 + (batch == v->data);
        *p = nl + 1;
        v->c->head = (struct sealed){.number = seal.number, .seq = seq, .segment = v->segment,
                                     .end = (uint64_t)(*p - v->data)};
        memcpy(v->c->head.digest, seal.digest, 32);
        return deliver(v, batch, line);
}

/* Does its own seal close the first batch of the segment? */
static bool is_sealed(struct verifier *v)
{
        const char *nl, *line = find_seal(v->data, v->end, &nl);
        struct seal seal;

        return line && seal_read(line, (size_t)(nl - line), &seal) && matches(v, &seal, v->data, line);
}

/* The line that opens the segment. *ret_go_on: what follows can be looked at. */
static int check_opening(struct verifier *v, bool *ret_go_on)
{
        const char *nl = memchr(v->data, '\n', (size_t)(v->end - v->data));
        char want[40];
        uint32_t format = 0;
        int n = snprintf(want, sizeof(want), "{\"segment\":%u,\"format\":", v->segment);

        *ret_go_on = false;
        if (!nl || !segment_read(v->data, (size_t)(nl - v->data), v->name, v->segment, &format,
                                 v->salt)) {
                bool torn = v->segment == v->last && (!nl || memchr(v->data, 0, (size_t)(nl - v->data)));

                if (torn && memcmp(v->data, want, MIN((size_t)n, (size_t)(v->end - v->data))) == 0) {
                        v->c->n_torn = (uint64_t)(v->end - v->data);
                        return 0;
                }
                at(v, v->data, v->c->head.seq + 1);
                journal_check_fail(v->c, FAULT_CHANGED, "the first line of the segment was changed");
                return 0;
        }
        if (format > JOURNAL_FORMAT && !is_sealed(v)) {
                at(v, v->data, v->c->head.seq + 1);
                journal_check_fail(v->c, FAULT_CHANGED, "the first line of the segment was changed");
                return 0;
        }
        if (format > JOURNAL_FORMAT)
                return journal_fail(v->journal, JOURNAL_E_DAMAGED,
                                    "stream %s, segment %u is of format %u; this version reads "
                                    "up to %u: use the version that wrote it",
                                    v->name, v->segment, format, JOURNAL_FORMAT);
        *ret_go_on = true;
        return 0;
}

static int check_segment(struct verifier *v, const struct buf *data)
{
        const char *p;
        bool go_on = false;
        int r;

        v->line = 0;
        v->data = p = buf_str(data);
        v->end = v->data + data->n;
        v->c->n_bytes += data->n;
        if (data->n == 0) {
                if (v->segment < v->last) {
                        at(v, p, v->c->head.seq + 1);
                        journal_check_fail(v->c, FAULT_TRUNCATED,
                                           "the segment is empty, although segment %u follows",
                                           v->segment + 1);
                }
                return 0;
        }
        r = check_opening(v, &go_on);
        while (r == 0 && go_on && p < v->end && !v->c->fault)
                r = check_batch(v, &p);
        return r;
}

static int load(struct verifier *v, struct buf *data)
{
        struct journal *j = v->journal;
        struct prvng_sink sink = SINK(data, UINT64_MAX);
        struct store_call c;
        int32_t answer;
        int r;

        buf_clear(data);
        store_call_begin(j, &c);
        answer = j->plugin->store.read(j->plugin->instance, &c.call.pub, v->name, v->segment, 0, &sink);
        r = store_call_end(j, &c, v->name, answer == PRVNG_NOT_FOUND ? PRVNG_DONE : answer);
        if (r == 0 && answer == PRVNG_NOT_FOUND) {
                v->data = v->end = "";
                at(v, v->data, v->c->head.seq + 1);
                journal_check_fail(v->c, FAULT_REMOVED, "the segment is missing");
        }
        return r;
}

int journal_verify(struct journal *j, const char *name, const struct journal_watch *watch,
                   struct journal_check *ret)
{
        struct verifier v = {.journal = j, .name = name, .watch = watch, .c = ret};
        _cleanup_(cleanup_buf) struct buf data = BUF_NULL;
        int r;

        *ret = JOURNAL_CHECK_NULL;
        r = journal_last_segment(j, name, &v.last);
        for (v.segment = 1; r == 0 && v.segment <= v.last && !ret->fault; v.segment++) {
                r = load(&v, &data);
                if (r == 0 && !ret->fault)
                        r = check_segment(&v, &data);
        }
        record_scratch_deinit(&v.scratch);
        return r;
}
