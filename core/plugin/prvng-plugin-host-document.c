/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng.host.document/1 in the helper: events are gathered and cross in batches, each answered with what the
 * builder says by then. So a loader learns of the builder's end a batch later than inside of the engine.
 */
#include "plugin/prvng-plugin-host.h"

int32_t document_flush(struct prvng_document *d)
{
        struct wire_message m;
        struct wire *w;

        if (d->events.out.error)
                d->status = d->status ?: PRVNG_TRANSIENT;
        if (d->events.out.n == 0 || d->status < 0)
                return d->status;
        w = line_ask(d->line, WIRE_DOCUMENT);
        buf_append(&w->out, d->events.out.data, d->events.out.n);
        d->status = wire_get_i32(line_answer(d->line, &m));
        line_over(d->line);
        buf_clear(&d->events.out);
        free(d->file);
        d->file = NULL;
        return d->status;
}

static void put_u8(struct wire *w, uint8_t v)
{
        buf_append(&w->out, &v, 1);
}

static struct wire *event_begin(struct prvng_document *d, enum wire_event event, const struct prvng_position *at)
{
        struct wire *w = &d->events;
        const char *file = at ? at->file : NULL;

        put_u8(w, (uint8_t)event);
        wire_put_u32(w, at ? at->line : 0);
        wire_put_u32(w, at ? at->column : 0);
        if (!file) {
                put_u8(w, 0);
        } else if (d->file && streq(d->file, file)) {
                put_u8(w, 1);
        } else {
                free(d->file);
                d->file = strdup(file);
                if (!d->file)
                        w->out.error = w->out.error ?: -ENOMEM;
                put_u8(w, 2);
                wire_put_text(w, file);
        }
        return w;
}

static int32_t event_end(struct prvng_document *d)
{
        return d->events.out.n >= WIRE_BATCH || d->events.out.error ? document_flush(d) : MIN(d->status, 0);
}

static int32_t plain(struct prvng_document *d, enum wire_event event, const struct prvng_position *at)
{
        event_begin(d, event, at);
        return event_end(d);
}

static int32_t document_map_begin(struct prvng_document *d, const struct prvng_position *at)
{
        return plain(d, WIRE_MAP_BEGIN, at);
}

static int32_t document_list_begin(struct prvng_document *d, const struct prvng_position *at)
{
        return plain(d, WIRE_LIST_BEGIN, at);
}

static int32_t document_end(struct prvng_document *d, const struct prvng_position *at)
{
        return plain(d, WIRE_END, at);
}

static int32_t document_null(struct prvng_document *d, const struct prvng_position *at)
{
        return plain(d, WIRE_NULL, at);
}

static int32_t bytes(struct prvng_document *d, enum wire_event event, const char *data, uint64_t n,
                     const struct prvng_position *at)
{
        wire_put_bytes(event_begin(d, event, at), data ?: "", n);
        return event_end(d);
}

static int32_t document_key(struct prvng_document *d, const char *key, uint64_t n_key,
                            const struct prvng_position *at)
{
        return bytes(d, WIRE_KEY, key, n_key, at);
}

static int32_t document_string(struct prvng_document *d, const char *value, uint64_t n_value,
                               const struct prvng_position *at)
{
        return bytes(d, WIRE_STRING, value, n_value, at);
}

static int32_t document_integer(struct prvng_document *d, int64_t value, const struct prvng_position *at)
{
        wire_put_i64(event_begin(d, WIRE_INTEGER, at), value);
        return event_end(d);
}

static int32_t document_real(struct prvng_document *d, double value, const struct prvng_position *at)
{
        uint64_t bits;

        memcpy(&bits, &value, sizeof(bits));
        wire_put_u64(event_begin(d, WIRE_REAL, at), bits);
        return event_end(d);
}

static int32_t document_boolean(struct prvng_document *d, int32_t value, const struct prvng_position *at)
{
        wire_put_i32(event_begin(d, WIRE_BOOLEAN, at), value);
        return event_end(d);
}

static void document_problem(struct prvng_document *d, const struct prvng_position *at, const char *message,
                             const char *snippet)
{
        struct wire *w = event_begin(d, WIRE_PROBLEM, at);

        wire_put_text(w, message ?: "");
        wire_put_text(w, snippet);
        event_end(d);
}

const struct prvng_host_document service_document = {
        .struct_size = sizeof(service_document),
        .map_begin = document_map_begin,
        .list_begin = document_list_begin,
        .end = document_end,
        .key = document_key,
        .string = document_string,
        .integer = document_integer,
        .real = document_real,
        .boolean = document_boolean,
        .null = document_null,
        .problem = document_problem,
};
