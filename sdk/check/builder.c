/* SPDX-License-Identifier: Apache-2.0 */
/* prvng.host.document/1 for tests of loaders: every event in its order, with a position that exists. */
#include "inside.h"

struct prvng_document *builder_of(struct builder *b)
{
        return (struct prvng_document *)b;
}

static struct builder *builder(struct prvng_document *d)
{
        return (struct builder *)d;
}

/* Every event comes through here. */
static int32_t event(struct builder *b, const char *what, const struct prvng_position *at)
{
        if (b->gave_up) {
                b->went_on = true;
                return b->gave_up;
        }
        b->events++;
        if (!at)
                check_fail(b->check, "the event %s has no position", what);
        else if (b->n_lines && !at->file && at->line > b->n_lines + 1)
                check_fail(b->check, "the event %s stands in line %u of %u", what, at->line, b->n_lines);
        else if (at->column && !at->line)
                check_fail(b->check, "the event %s has a column and no line", what);
        if (b->give_up_at && b->events >= b->give_up_at)
                return b->gave_up = PRVNG_QUOTA;
        return PRVNG_DONE;
}

/* Where a value may stand. */
static int32_t value(struct builder *b, const char *what, const struct prvng_position *at)
{
        int32_t r = event(b, what, at);

        if (r != PRVNG_DONE)
                return r;
        if (b->depth == 0 && b->is_done)
                check_fail(b->check, "the event %s is a second value at the top", what);
        if (b->depth > 0 && b->open[b->depth - 1] == '{' && !b->has_key)
                check_fail(b->check, "the event %s in a map has no key before it", what);
        if (b->depth > 0 && b->open[b->depth - 1] == '[' && b->json.n &&
            b->json.data[b->json.n - 1] != '[')
                buf_putc(&b->json, ',');
        b->has_key = false;
        b->is_done = b->is_done || b->depth == 0;
        return r;
}

static int32_t begin(struct prvng_document *d, const struct prvng_position *at, char open)
{
        struct builder *b = builder(d);
        int32_t r = value(b, open == '{' ? "map_begin" : "list_begin", at);

        if (r != PRVNG_DONE)
                return r;
        if (b->depth == 64)
                return b->gave_up = PRVNG_PERMANENT;
        b->open[b->depth++] = open;
        buf_putc(&b->json, open);
        return r;
}

static int32_t map_begin(struct prvng_document *d, const struct prvng_position *at)
{
        return begin(d, at, '{');
}

static int32_t list_begin(struct prvng_document *d, const struct prvng_position *at)
{
        return begin(d, at, '[');
}

static int32_t end(struct prvng_document *d, const struct prvng_position *at)
{
        struct builder *b = builder(d);
        int32_t r = event(b, "end", at);

        if (r != PRVNG_DONE)
                return r;
        if (b->depth == 0) {
                check_fail(b->check, "the event end closes nothing");
                return r;
        }
        if (b->has_key)
                check_fail(b->check, "the event end comes after a key without a value");
        b->has_key = false;
        buf_putc(&b->json, b->open[--b->depth] == '{' ? '}' : ']');
        return r;
}

static int32_t key(struct prvng_document *d, const char *text, uint64_t n, const struct prvng_position *at)
{
        struct builder *b = builder(d);
        int32_t r = event(b, "key", at);

        if (r != PRVNG_DONE)
                return r;
        if (b->depth == 0 || b->open[b->depth - 1] != '{')
                check_fail(b->check, "the event key stands in no map");
        if (b->has_key)
                check_fail(b->check, "the event key comes after a key");
        b->has_key = true;
        if (b->json.n && b->json.data[b->json.n - 1] != '{')
                buf_putc(&b->json, ',');
        buf_json_n(&b->json, text, n);
        buf_putc(&b->json, ':');
        return r;
}

static int32_t string(struct prvng_document *d, const char *text, uint64_t n, const struct prvng_position *at)
{
        int32_t r = value(builder(d), "string", at);

        if (r == PRVNG_DONE)
                buf_json_n(&builder(d)->json, text, n);
        return r;
}

static int32_t integer(struct prvng_document *d, int64_t v, const struct prvng_position *at)
{
        int32_t r = value(builder(d), "integer", at);

        if (r == PRVNG_DONE)
                buf_i64(&builder(d)->json, v);
        return r;
}

static int32_t real(struct prvng_document *d, double v, const struct prvng_position *at)
{
        int32_t r = value(builder(d), "real", at);

        if (r == PRVNG_DONE)
                buf_printf(&builder(d)->json, "%.17g", v);
        return r;
}

static int32_t boolean(struct prvng_document *d, int32_t v, const struct prvng_position *at)
{
        int32_t r = value(builder(d), "boolean", at);

        if (r == PRVNG_DONE)
                buf_puts(&builder(d)->json, v ? "true" : "false");
        return r;
}

static int32_t null(struct prvng_document *d, const struct prvng_position *at)
{
        int32_t r = value(builder(d), "null", at);

        if (r == PRVNG_DONE)
                buf_puts(&builder(d)->json, "null");
        return r;
}

static void problem(struct prvng_document *d, const struct prvng_position *at, const char *message,
                    const char *snippet)
{
        struct builder *b = builder(d);

        if (!message || !message[0])
                check_fail(b->check, "problem() got no message");
        if (b->n_problems++ > 0)
                return;
        b->problem_line = at ? at->line : 0;
        b->problem_column = at ? at->column : 0;
        buf_puts(&b->problem, message ? message : "");
}

const struct prvng_host_document *builder_table(void)
{
        static const struct prvng_host_document table = {
                .struct_size = sizeof(table), .map_begin = map_begin, .list_begin = list_begin, .end = end,
                .key = key, .string = string, .integer = integer, .real = real, .boolean = boolean,
                .null = null, .problem = problem};

        return &table;
}

void builder_deinit(struct builder *b)
{
        buf_deinit(&b->problem);
        buf_deinit(&b->json);
}
