/* SPDX-License-Identifier: Apache-2.0 */
#include "sse.h"

static void end_event(struct sse *s, sse_event_f f, void *userdata)
{
        if (s->data.n)
                f(userdata, buf_str(&s->event), s->has_id, s->id, buf_str(&s->data), s->data.n);
        buf_clear(&s->data);
        buf_clear(&s->event);
        s->has_id = false;
}

static void end_line(struct sse *s, sse_event_f f, void *userdata)
{
        const char *line = buf_str(&s->line), *value;
        size_t n = s->line.n;

        if (n == 0) {
                end_event(s, f, userdata);
        } else if ((value = startswith(line, "data:"))) {
                value += *value == ' ';
                if (s->data.n)
                        buf_putc(&s->data, '\n');
                buf_append(&s->data, value, n - (size_t)(value - line));
        } else if ((value = startswith(line, "id:"))) {
                s->id = strtoull(value, NULL, 10);
                s->has_id = true;
        } else if ((value = startswith(line, "event:"))) {
                buf_clear(&s->event);
                buf_puts(&s->event, value + (*value == ' '));
        }
        buf_clear(&s->line);
}

void sse_feed(struct sse *s, const char *data, size_t n, sse_event_f f, void *userdata)
{
        while (n > 0) {
                const char *newline = memchr(data, '\n', n);
                size_t piece = newline ? (size_t)(newline - data) : n;

                buf_append(&s->line, data, piece);
                if (newline) {
                        if (s->line.n && s->line.data[s->line.n - 1] == '\r')
                                s->line.data[--s->line.n] = 0;
                        end_line(s, f, userdata);
                        piece++;
                }
                data += piece;
                n -= piece;
        }
}

void sse_deinit(struct sse *s)
{
        buf_deinit(&s->line);
        buf_deinit(&s->data);
        buf_deinit(&s->event);
}
