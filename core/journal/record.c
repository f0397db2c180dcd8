/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table per record type drives writer and reader, so that they cannot disagree.
 *
 * This scanner is no JSON parser: it accepts the one spelling that record_write makes and refuses all
 * others. It exists because a restart reads hundreds of thousands of records before the first plugin
 * call; what a seal covers was written by us.
 */
#include "journal/record.h"

#include "plugin/border.h"

enum kind { U32, U64, I64, STRING, JSON, ID, CLASS, EFFECT };

#define OPTIONAL 0x1u

struct member {
        const char *name; /* as it is spelled, with quotes and colon: ,"name": */
        uint8_t n_name;
        uint8_t kind;
        uint8_t flags;
        uint16_t offset;
};

#define M(member_, kind_, flags_)                                                                  \
        {                                                                                          \
                ",\"" #member_ "\":", sizeof(",\"" #member_ "\":") - 1, kind_, flags_,             \
                        offsetof(struct record, member_)                                           \
        }
#define MEMBERS(...) .members = (const struct member[]){__VA_ARGS__, {0}}

static const struct {
        const char *name;
        const struct member *members;
} types[N_RECORD_TYPES] = {
        [RECORD_SITE] = {"site", MEMBERS(M(site, ID, 0), M(format, U32, 0))},
        [RECORD_ENGINE] = {"engine", MEMBERS(M(epoch, U64, 0), M(pid, U32, 0), M(host, STRING, 0),
                                             M(version, STRING, 0))},
        [RECORD_ACCEPTED] = {"accepted",
                             MEMBERS(M(run, ID, 0), M(name, STRING, 0), M(kind, STRING, 0),
                                     M(store, STRING, 0), M(stream, STRING, 0), M(who, JSON, 0),
                                     M(claims, JSON, 0), M(shares, JSON, OPTIONAL))},
        [RECORD_RESOURCE] = {"resource",
                             MEMBERS(M(key, STRING, 0), M(workflow, STRING, 0),
                                     M(plugin, STRING, 0), M(spec, JSON, 0), M(outputs, JSON, 0),
                                     M(builds_on, STRING, OPTIONAL), M(op_id, ID, OPTIONAL),
                                     M(run, ID, 0), M(changed, I64, 0),
                                     M(who, JSON, OPTIONAL))},
        [RECORD_GONE] = {"gone", MEMBERS(M(key, STRING, 0), M(run, ID, 0))},
        [RECORD_ENDED] = {"ended", MEMBERS(M(run, ID, 0), M(status, STRING, 0),
                                           M(count, U32, OPTIONAL), M(head, STRING, 0))},
        [RECORD_REOPENED] = {"reopened", MEMBERS(M(run, ID, 0), M(upto, U64, 0), M(who, JSON, 0),
                                                 M(claims, JSON, 0), M(shares, JSON, OPTIONAL))},
        [RECORD_CLAIM] = {"claim", MEMBERS(M(run, ID, 0), M(claims, JSON, 0),
                                           M(shares, JSON, OPTIONAL))},
        [RECORD_SIGNER] = {"signer", MEMBERS(M(public, STRING, 0))},
        [RECORD_COMPACTED] = {"compacted",
                              MEMBERS(M(run, ID, 0), M(upto, U64, 0), M(count, U32, 0),
                                      M(head, STRING, 0), M(who, JSON, 0), M(signature, STRING, 0))},
        [RECORD_RESTORED] = {"restored", MEMBERS(M(file, STRING, 0), M(head, STRING, 0),
                                                 M(who, JSON, 0))},
        [RECORD_MIGRATED] = {"migrated", MEMBERS(M(from, STRING, 0), M(to, STRING, 0),
                                                 M(who, JSON, 0))},
        [RECORD_RUN] = {"run",
                        MEMBERS(M(run, ID, 0), M(name, STRING, 0), M(kind, STRING, 0),
                                M(who, JSON, 0), M(folder, STRING, OPTIONAL),
                                M(file, STRING, OPTIONAL), M(max_attempts, U32, 0),
                                M(backoff, STRING, 0), M(initial_delay, U32, 0),
                                M(max_delay, U32, 0), M(logging, JSON, 0), M(options, JSON, 0),
                                M(notices, JSON, 0), M(rollback, U32, OPTIONAL),
                                M(on_partial, U32, OPTIONAL), M(preserve, U32, OPTIONAL),
                                M(interval, U32, OPTIONAL),
                                M(snapshot_every, U32, OPTIONAL))},
        [RECORD_DEFINITION] = {"definition", MEMBERS(M(definition, JSON, 0))},
        [RECORD_LANE] = {"lane", MEMBERS(M(plugin, STRING, 0), M(batch_size, U32, 0),
                                         M(rate_limit, U32, 0), M(version, STRING, OPTIONAL),
                                         M(sha256, STRING, OPTIONAL),
                                         M(build_id, STRING, OPTIONAL))},
        [RECORD_OPERATION] = {"operation",
                              MEMBERS(M(id, STRING, 0), M(verb, STRING, 0), M(target, STRING, 0),
                                      M(on_failure, STRING, 0), M(timeout, U32, 0),
                                      M(implied, U32, OPTIONAL))},
        [RECORD_TASK] = {"task",
                         MEMBERS(M(id, STRING, 0), M(operation, U32, 0), M(lane, U32, OPTIONAL),
                                 M(verb, STRING, 0), M(key, STRING, OPTIONAL),
                                 M(item, STRING, OPTIONAL), M(server, STRING, OPTIONAL),
                                 M(deps, JSON, OPTIONAL), M(soft, U32, OPTIONAL),
                                 M(uses, JSON, OPTIONAL), M(waits, JSON, OPTIONAL),
                                 M(doc, JSON, OPTIONAL), M(spec, JSON, OPTIONAL),
                                 M(difference, JSON, OPTIONAL), M(reason, STRING, OPTIONAL),
                                 M(implied, U32, OPTIONAL), M(irreversible, U32, OPTIONAL))},
        [RECORD_PLANNED] = {"planned", MEMBERS(M(n_tasks, U32, 0), M(n_deps, U32, 0))},
        [RECORD_INTENT] = {"intent", MEMBERS(M(task, U32, 0), M(op_id, ID, 0), M(request, JSON, 0),
                                             M(former, JSON, OPTIONAL))},
        [RECORD_BEGIN] = {"begin", MEMBERS(M(task, U32, 0), M(attempt, U32, 0))},
        [RECORD_TOKEN] = {"token", MEMBERS(M(task, U32, 0), M(token, STRING, 0))},
        [RECORD_RETRY] = {"retry", MEMBERS(M(task, U32, 0), M(attempt, U32, 0), M(answer, CLASS, 0),
                                           M(effect, EFFECT, 0), M(after, I64, 0),
                                           M(message, STRING, OPTIONAL))},
        [RECORD_DOUBT] = {"doubt", MEMBERS(M(task, U32, 0), M(message, STRING, OPTIONAL))},
        [RECORD_DONE] = {"done", MEMBERS(M(task, U32, 0), M(answer, CLASS, 0),
                                         M(outputs, JSON, OPTIONAL),
                                         M(message, STRING, OPTIONAL),
                                         M(shared, U32, OPTIONAL))},
        [RECORD_FAILED] = {"failed",
                           MEMBERS(M(task, U32, 0), M(answer, CLASS, 0), M(effect, EFFECT, 0),
                                   M(message, STRING, OPTIONAL), M(field, STRING, OPTIONAL))},
        [RECORD_PARKED] = {"parked", MEMBERS(M(task, U32, 0), M(message, STRING, 0))},
        [RECORD_HALT] = {"halt", MEMBERS(M(task, U32, 0), M(message, STRING, 0))},
        [RECORD_CANCEL] = {"cancel", MEMBERS(M(who, JSON, 0))},
        [RECORD_END] = {"end", MEMBERS(M(status, STRING, 0))},
        [RECORD_CHECKPOINT] = {"checkpoint", MEMBERS(M(checkpoint, U32, 0), M(count, U32, 0))},
        [RECORD_PAUSE] = {"pause", MEMBERS(M(who, JSON, 0))},
        [RECORD_RESUME] = {"resume", MEMBERS(M(who, JSON, 0))},
        [RECORD_ROLLBACK] = {"rollback",
                             MEMBERS(M(checkpoint, U32, OPTIONAL), M(preserve, U32, OPTIONAL),
                                     M(who, JSON, OPTIONAL), M(message, STRING, OPTIONAL))},
        [RECORD_UNWIND] = {"unwind", MEMBERS(M(count, U32, 0))},
        [RECORD_UNDO] = {"undo", MEMBERS(M(task, U32, 0), M(op_id, ID, 0), M(verb, STRING, 0),
                                         M(request, JSON, 0), M(spec, JSON, OPTIONAL))},
        [RECORD_UNDONE] = {"undone", MEMBERS(M(task, U32, 0), M(answer, CLASS, 0),
                                             M(outputs, JSON, OPTIONAL),
                                             M(message, STRING, OPTIONAL))},
        [RECORD_UNDO_FAILED] = {"undo_failed",
                                MEMBERS(M(task, U32, 0), M(answer, CLASS, 0), M(effect, EFFECT, 0),
                                        M(message, STRING, OPTIONAL), M(field, STRING, OPTIONAL))},
        [RECORD_RERUN] = {"rerun", MEMBERS(M(id, STRING, OPTIONAL), M(who, JSON, 0))},
        [RECORD_MADE] = {"made", MEMBERS(M(task, U32, 0), M(answer, CLASS, 0),
                                         M(outputs, JSON, OPTIONAL))},
        [RECORD_SURPLUS] = {"surplus", MEMBERS(M(task, U32, 0), M(op_id, ID, 0),
                                               M(request, JSON, 0))},
        [RECORD_REMOVED] = {"removed", MEMBERS(M(task, U32, 0), M(answer, CLASS, 0))},
        [RECORD_WAIT] = {"wait", MEMBERS(M(task, U32, 0), M(message, STRING, 0))},
        [RECORD_RESOLVED] = {"resolved", MEMBERS(M(task, U32, 0), M(status, STRING, 0),
                                                 M(who, JSON, 0))},
        [RECORD_REPLAN] = {"replan", MEMBERS(M(who, JSON, 0))},
};

const char *record_type_name(enum record_type type)
{
        return types[type].name;
}

/* Writing */

static bool is_default(const struct member *m, const void *at)
{
        static const struct uid none;

        switch ((enum kind)m->kind) {
        case U32:
        case EFFECT:
                return *(const uint32_t *)at == 0;
        case CLASS:
                return *(const int32_t *)at == 0;
        case U64:
        case I64:
                return *(const uint64_t *)at == 0;
        case STRING:
        case JSON:
                return ((const struct span *)at)->n == 0;
        case ID:
                return memcmp(at, &none, sizeof(none)) == 0;
        }
        return false;
}

/* One of ours: it needs no escapes. */
static void write_name(struct buf *b, const char *name)
{
        size_t n = strlen(name);
        char *p = buf_reserve(b, n + 2);

        if (!p)
                return;
        p[0] = p[n + 1] = '"';
        memcpy(p + 1, name, n);
        buf_advance(b, n + 2);
}

static void write_member(struct buf *b, const struct member *m, const void *at)
{
        const struct span *span = at;
        char text[1 + UID_TEXT];

        switch ((enum kind)m->kind) {
        case U32:
                buf_u64(b, *(const uint32_t *)at);
                break;
        case U64:
                buf_u64(b, *(const uint64_t *)at);
                break;
        case I64:
                buf_i64(b, *(const int64_t *)at);
                break;
        case STRING:
                buf_json_n(b, span->n ? span->p : "", span->n);
                break;
        case JSON:
                if (span->n)
                        buf_append(b, span->p, span->n);
                else
                        BUF_LIT(b, "null");
                break;
        case ID:
                text[0] = '"';
                uid_text(at, text + 1);
                text[UID_TEXT] = '"';
                buf_append(b, text, UID_TEXT + 1);
                break;
        case CLASS:
                write_name(b, op_class_name(*(const int32_t *)at));
                break;
        case EFFECT:
                write_name(b, op_effect_name(*(const uint32_t *)at));
                break;
        }
}

/* {"seq":123,"at":1795349410206,"type": -- many records share their millisecond. */
static char *write_head(char *p, const struct record *r)
{
        static __thread char text[U64_TEXT + 1];
        static __thread size_t n_text;
        static __thread int64_t at;

        p = mempcpy(p, "{\"seq\":", 7);
        p += u64_text(r->seq, p);
        p = mempcpy(p, ",\"at\":", 6);
        if (!n_text || at != r->at) {
                n_text = 0;
                if (r->at < 0)
                        text[n_text++] = '-';
                n_text += u64_text(r->at < 0 ? -(uint64_t)r->at : (uint64_t)r->at, text + n_text);
                at = r->at;
        }
        p = mempcpy(p, text, n_text);
        return mempcpy(p, ",\"type\":", 8);
}

void record_write(struct buf *b, const struct record *r)
{
        char *p = buf_reserve(b, 100);

        assert((unsigned)r->type < N_RECORD_TYPES);
        if (!p)
                return;
        buf_advance(b, (size_t)(write_head(p, r) - p));
        write_name(b, types[r->type].name);
        for (const struct member *m = types[r->type].members; m->name; m++) {
                const void *at = (const char *)r + m->offset;

                if (m->flags & OPTIONAL && is_default(m, at))
                        continue;
                buf_append(b, m->name, m->n_name);
                write_member(b, m, at);
        }
        BUF_LIT(b, "}\n");
}

/* Reading */

struct scanner {
        const char *p;
        const char *end;
        struct buf *scratch;
};

static bool accept(struct scanner *s, const char *text, size_t n)
{
        if ((size_t)(s->end - s->p) < n || memcmp(s->p, text, n) != 0)
                return false;
        s->p += n;
        return true;
}

#define ACCEPT(s, literal) accept((s), (literal), sizeof(literal) - 1)

static bool scan_u64(struct scanner *s, uint64_t *ret)
{
        const char *from = s->p;
        uint64_t v = 0;

        for (; s->p < s->end && *s->p >= '0' && *s->p <= '9'; s->p++)
                if (__builtin_mul_overflow(v, 10, &v) ||
                    __builtin_add_overflow(v, (uint64_t)(*s->p - '0'), &v))
                        return false;
        *ret = v;
        return s->p > from;
}

static bool scan_i64(struct scanner *s, int64_t *ret)
{
        bool negative = ACCEPT(s, "-");
        uint64_t v;

        if (!scan_u64(s, &v) || v > INT64_MAX)
                return false;
        *ret = negative ? -(int64_t)v : (int64_t)v;
        return true;
}

/* From behind the opening quote to behind the closing one. */
static bool skip_string(struct scanner *s, bool *ret_escapes)
{
        bool escapes = false;

        for (const char *p = s->p, *end = s->end; p < end; p++) {
                p += buf_json_plain(p, (size_t)(end - p));
                if (p == end)
                        break;
                if (*p == '"') {
                        s->p = p + 1;
                        *ret_escapes = escapes;
                        return true;
                }
                if (*p == '\\') {
                        escapes = true;
                        p++;
                }
        }
        s->p = s->end;
        return false;
}

/* Undoes what buf_json_n does, no more. */
static bool unescape(struct buf *b, struct span text)
{
        for (size_t i = 0; i < text.n; i++) {
                unsigned c = 0;

                if (text.p[i] != '\\') {
                        buf_putc(b, text.p[i]);
                        continue;
                }
                switch (text.p[++i]) {
                case '"':
                case '\\':
                        buf_putc(b, text.p[i]);
                        break;
                case 'n':
                        buf_putc(b, '\n');
                        break;
                case 't':
                        buf_putc(b, '\t');
                        break;
                case 'u':
                        if (text.n - i < 5 || sscanf(text.p + i + 1, "%4x", &c) != 1 || c > 0x1f)
                                return false;
                        buf_putc(b, (char)c);
                        i += 4;
                        break;
                default:
                        return false;
                }
        }
        return buf_error(b) == 0;
}

/*
 * Strings with escapes are rare. Their text goes to a piece of memory of its own, because growing
 * the scratch buffer would move what other spans point to; the buffer keeps the list of pieces.
 */
static bool scan_string(struct scanner *s, struct span *ret)
{
        struct buf text = BUF_NULL;
        struct span raw;
        bool escapes;
        char *piece;

        if (!ACCEPT(s, "\""))
                return false;
        raw.p = s->p;
        if (!skip_string(s, &escapes))
                return false;
        raw.n = (size_t)(s->p - raw.p) - 1;
        if (_likely_(!escapes)) {
                *ret = raw;
                return true;
        }
        if (!unescape(&text, raw)) {
                buf_deinit(&text);
                return false;
        }
        ret->n = text.n;
        piece = buf_steal(&text);
        if (!piece)
                return false;
        ret->p = piece;
        buf_append(s->scratch, &piece, sizeof(piece));
        return buf_error(s->scratch) == 0;
}

/* A whole JSON value: to the comma or bracket that ends it. */
static bool scan_json(struct scanner *s, struct span *ret)
{
        const char *from = s->p, *p = from, *end = s->end;
        unsigned depth = 0;

        for (; p < end; p++) {
                switch (*p) {
                case '"': /* short ones mostly */
                        for (p++; p < end && *p != '"'; p++)
                                p += *p == '\\';
                        if (p >= end)
                                return false;
                        break;
                case '{':
                case '[':
                        depth++;
                        break;
                case '}':
                case ']':
                        if (depth == 0)
                                goto end;
                        depth--;
                        break;
                case ',':
                        if (depth == 0)
                                goto end;
                        break;
                default:
                        break;
                }
        }
end:
        s->p = p;
        *ret = span_n(from, (size_t)(p - from));
        if (ret->n == 4 && memcmp(from, "null", 4) == 0)
                *ret = span_n(NULL, 0);
        return p > from && depth == 0;
}

static bool scan_effect(struct span name, uint32_t *ret)
{
        for (uint32_t i = 0; i <= PRVNG_EFFECT_COMPLETE; i++)
                if (span_eq(name, op_effect_name(i))) {
                        *ret = i;
                        return true;
                }
        return false;
}

static bool scan_member(struct scanner *s, const struct member *m, void *at)
{
        struct span name;
        uint64_t v;

        switch ((enum kind)m->kind) {
        case U32:
                if (!scan_u64(s, &v) || v > UINT32_MAX)
                        return false;
                *(uint32_t *)at = (uint32_t)v;
                return true;
        case U64:
                return scan_u64(s, at);
        case I64:
                return scan_i64(s, at);
        case STRING:
                return scan_string(s, at);
        case JSON:
                return scan_json(s, at);
        case ID:
                return scan_string(s, &name) && uid_parse(name.p, name.n, at);
        case CLASS:
                return scan_string(s, &name) && op_class_from_name(name.p, name.n, at);
        case EFFECT:
                return scan_string(s, &name) && scan_effect(name, at);
        }
        return false;
}

static bool scan_type(struct scanner *s, enum record_type *ret)
{
        struct span name;

        if (!scan_string(s, &name) || !name.n)
                return false;
        for (unsigned t = 0; t < N_RECORD_TYPES; t++)
                if (types[t].name[0] == *name.p && span_eq(name, types[t].name)) {
                        *ret = t;
                        return true;
                }
        return false;
}

static bool scan_record(struct scanner *s, struct record *r)
{
        if (!ACCEPT(s, "{\"seq\":") || !scan_u64(s, &r->seq) || !ACCEPT(s, ",\"at\":") ||
            !scan_i64(s, &r->at) || !ACCEPT(s, ",\"type\":") || !scan_type(s, &r->type))
                return false;
        for (const struct member *m = types[r->type].members; m->name; m++) {
                if (!accept(s, m->name, m->n_name)) {
                        if (m->flags & OPTIONAL)
                                continue;
                        return false;
                }
                if (!scan_member(s, m, (char *)r + m->offset))
                        return false;
        }
        return ACCEPT(s, "}") && s->p == s->end;
}

int record_read(const char *line, size_t n_line, struct record_scratch *scratch,
                struct record *ret_record, size_t *ret_column)
{
        struct scanner s = {.p = line, .end = line + n_line, .scratch = &scratch->pieces};

        memset(ret_record, 0, sizeof(*ret_record));
        if (!scan_record(&s, ret_record)) {
                if (ret_column)
                        *ret_column = (size_t)(s.p - line) + 1;
                return error_origin(-EBADMSG);
        }
        return 0;
}

void record_scratch_clear(struct record_scratch *scratch)
{
        char **pieces = (char **)(void *)scratch->pieces.data;

        for (size_t i = 0; i < scratch->pieces.n / sizeof(*pieces); i++)
                free(pieces[i]);
        buf_clear(&scratch->pieces);
}

void record_scratch_deinit(struct record_scratch *scratch)
{
        record_scratch_clear(scratch);
        buf_deinit(&scratch->pieces);
}
