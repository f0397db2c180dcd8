/* SPDX-License-Identifier: Apache-2.0 */
/* What a check found, as one sentence for people: the whole stands in the outputs of its record. */
#include "engine/flight.h"

#include "base/json.h"

#define SHOWN_MAX 20u /* differences */
#define VALUE_MAX 60u /* bytes of a value */

static void put_value(struct buf *b, const json_t *v)
{
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        size_t n;

        if (!v || json_is_null(v)) {
                BUF_LIT(b, "nothing");
                return;
        }
        if (json_is_string(v))
                buf_append(&text, json_string_value(v), json_string_length(v));
        else
                json_append(&text, v);
        n = MIN(text.n, (size_t)VALUE_MAX);
        while (n < text.n && n && ((uint8_t)text.data[n] & 0xc0) == 0x80)
                n--;
        buf_append(b, buf_str(&text), n);
        if (n < text.n)
                BUF_LIT(b, "...");
}

struct list {
        struct buf *b;
        size_t n; /* differences, shown or not */
};

static void put_difference(struct list *l, const char *attribute, const char *path, const json_t *wanted,
                           const json_t *found)
{
        if (l->n++ >= SHOWN_MAX)
                return;
        buf_printf(l->b, "%s%s%s%s: wanted ", l->n > 1 ? "; " : "", attribute,
                   *path && *path != '[' ? "." : "", path);
        put_value(l->b, wanted);
        BUF_LIT(l->b, ", found ");
        put_value(l->b, found);
}

/* Two maps or lists differ in what is inside of them. */
static int put_inside(struct list *l, const char *attribute, const json_t *wanted, const json_t *found)
{
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        _cleanup_(cleanup_free) char *from = json_dumps(found, JSON_COMPACT);
        _cleanup_(cleanup_free) char *to = json_dumps(wanted, JSON_COMPACT);
        _cleanup_(cleanup_json_decref) json_t *all = NULL;
        const json_t *v;
        size_t i;
        int r = from && to ? spec_difference(&text, from, to) : -ENOMEM;

        if (!r && text.n)
                r = json_parse(text.data, text.n, &all, NULL);
        if (r)
                return error_origin(r);
        json_array_foreach (all, i, v)
                put_difference(l, attribute, json_get_string(v, "path", ""), json_object_get(v, "to"),
                               json_object_get(v, "from"));
        return 0;
}

int drift_text(struct span outputs, struct buf *b)
{
        _cleanup_(cleanup_json_decref) json_t *all = NULL;
        struct list l = {.b = b};
        const json_t *v;
        size_t i;
        int r = outputs.n ? json_parse(outputs.p, outputs.n, &all, NULL) : 0;

        if (r == -ENOMEM)
                return error_fold(r);
        json_array_foreach (json_object_get(all, "drift"), i, v) {
                const char *attribute = json_get_string(v, "attribute", "?");
                const json_t *wanted = json_object_get(v, "wanted"), *found = json_object_get(v, "found");

                if ((json_is_object(wanted) && json_is_object(found)) ||
                    (json_is_array(wanted) && json_is_array(found)))
                        r = put_inside(&l, attribute, wanted, found);
                else
                        put_difference(&l, attribute, "", wanted, found);
                if (r)
                        return error_fold(r);
        }
        if (l.n > SHOWN_MAX)
                buf_printf(b, "; and %zu more", l.n - SHOWN_MAX);
        return buf_error(b);
}
