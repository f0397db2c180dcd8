/* SPDX-License-Identifier: Apache-2.0 */
#include "feed.h"

#define OUT_MAX ((size_t)256 << 10) /* bytes that may wait for a reader before live records are skipped */
#define CHUNK ((size_t)64 << 10)

void feed_deinit(struct feed *s)
{
        free(s->backlog);
        s->backlog = NULL;
        buf_deinit(&s->out);
}

/* Reads {"seq":N,"at":MS,"type":"T" without more: records have one spelling (journal/record.h). */
static bool line_head(const char *line, size_t n, uint64_t *ret_seq, bool *ret_end)
{
        static const char head[] = "{\"seq\":", end[] = "\"type\":\"end\"";
        const char *type;
        uint64_t seq = 0;
        size_t i = sizeof(head) - 1;

        if (n < i || memcmp(line, head, i) != 0)
                return false;
        for (; i < n && line[i] >= '0' && line[i] <= '9'; i++)
                seq = seq * 10 + (uint64_t)(line[i] - '0');
        type = memchr(line + i + 1, ',', n > i + 1 ? n - i - 1 : 0);
        *ret_seq = seq;
        *ret_end = type && (size_t)(line + n - type - 1) >= sizeof(end) - 1 &&
                   memcmp(type + 1, end, sizeof(end) - 1) == 0;
        return true;
}

bool feed_line_is_end(const char *line, size_t n)
{
        uint64_t seq;
        bool end;

        return line_head(line, n, &seq, &end) && end;
}

static size_t waiting(const struct feed *s)
{
        return s->out.n - s->sent;
}

static void format(struct feed *s, uint64_t seq, const char *line, size_t n_line)
{
        if (n_line && line[n_line - 1] == '\n')
                n_line--;
        BUF_LIT(&s->out, "id: ");
        buf_u64(&s->out, seq);
        BUF_LIT(&s->out, "\ndata: ");
        buf_append(&s->out, line, n_line);
        BUF_LIT(&s->out, "\n\n");
        s->last = seq;
        s->seen = MAX(s->seen, seq);
}

void feed_record(struct feed *s, uint64_t seq, const char *line, size_t n_line)
{
        uint64_t number;
        bool end = false;

        s->seen = MAX(s->seen, seq);
        if (s->awaiting || s->backlog || s->resync || seq != s->last + 1 || waiting(s) > OUT_MAX)
                return;
        line_head(line, n_line, &number, &end);
        format(s, seq, line, n_line);
        s->ended = end;
}

void feed_progress(struct feed *s, const char *json, size_t n_json)
{
        if (s->awaiting || s->backlog || waiting(s) > CHUNK)
                return;
        BUF_LIT(&s->out, "event: progress\ndata: ");
        buf_append(&s->out, json, n_json);
        BUF_LIT(&s->out, "\n\n");
}

void feed_backlog(struct feed *s, struct mail *backlog)
{
        free(s->backlog);
        s->backlog = backlog;
        s->at = 0;
        s->awaiting = false;
}

/* Formats the next lines of the backlog. The engine may answer from a little before `last`. */
static void take_backlog(struct feed *s)
{
        while (s->backlog && waiting(s) < CHUNK) {
                const char *line = s->backlog->data + s->at;
                size_t left = s->backlog->n - s->at;
                const char *newline = memchr(line, '\n', left);
                size_t n = newline ? (size_t)(newline - line) : left;
                uint64_t seq;
                bool end;

                if (line_head(line, n, &seq, &end)) {
                        if (seq > s->last)
                                format(s, seq, line, n);
                        s->ended = end; /* a run that was rolled back has ended more than once */
                }
                s->at += n + (newline != NULL);
                if (s->at >= s->backlog->n) {
                        free(s->backlog);
                        s->backlog = NULL;
                }
        }
}

size_t feed_next(struct feed *s, const char **ret_data)
{
        take_backlog(s);
        if (waiting(s) == 0) {
                buf_clear(&s->out);
                s->sent = 0;
                return 0;
        }
        *ret_data = s->out.data + s->sent;
        return MIN(waiting(s), CHUNK);
}

void feed_sent(struct feed *s, size_t n)
{
        s->sent += n;
        assert(s->sent <= s->out.n);
}

bool feed_must_ask(const struct feed *s)
{
        return !s->awaiting && !s->backlog && (s->resync || s->seen > s->last);
}

/* One before the last one passed on: its being `end` is what tells that a run is over. */
uint64_t feed_from(const struct feed *s)
{
        return s->last > 0 ? s->last - 1 : 0;
}

bool feed_is_over(const struct feed *s)
{
        return !s->awaiting && !s->backlog && waiting(s) == 0 &&
               (!s->follow || (s->ended && !feed_must_ask(s)));
}
