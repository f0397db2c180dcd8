/* SPDX-License-Identifier: Apache-2.0 */
/* Small helpers: members of JSON objects, replies to the core, marks. */
#include "upcloud.h"

#include <stdarg.h>

char *up_format(const char *format, ...)
{
        char *text = NULL;
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&text, format, ap) < 0)
                text = NULL;
        va_end(ap);
        return text;
}

const char *up_string(const json_t *object, const char *key, const char *otherwise)
{
        const char *s = json_string_value(json_object_get(object, key));

        return s ? s : otherwise;
}

int64_t up_number(const json_t *object, const char *key, int64_t otherwise)
{
        const json_t *v = json_object_get(object, key);
        const char *s = json_string_value(v);
        char *end;
        long long n;

        if (json_is_number(v))
                return (int64_t)json_number_value(v);
        if (!s || !*s)
                return otherwise;
        errno = 0;
        n = strtoll(s, &end, 10);
        return *end || errno ? otherwise : n;
}

bool up_yes(const json_t *object, const char *key, bool otherwise)
{
        const json_t *v = json_object_get(object, key);
        const char *s = json_string_value(v);

        if (json_is_boolean(v))
                return json_is_true(v);
        return s ? streq(s, "yes") || streq(s, "on") : otherwise;
}

bool up_present(const json_t *object, const char *key)
{
        const json_t *v = json_object_get(object, key);

        return v && !json_is_null(v);
}

json_t *up_inner(const json_t *object, const char *a, const char *b)
{
        return json_object_get(json_object_get(object, a), b);
}

char *up_encode(const char *text)
{
        static const char plain[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
        char *out = malloc(strlen(text) * 3 + 1), *p = out;

        for (; out && *text; text++) {
                if (strchr(plain, *text))
                        *p++ = *text;
                else
                        p += sprintf(p, "%%%02X", (unsigned char)*text);
        }
        if (out)
                *p = 0;
        return out;
}

bool up_is_uuid(const char *text)
{
        size_t i;

        for (i = 0; text[i]; i++) {
                bool dash = i == 8 || i == 13 || i == 18 || i == 23;

                if (dash ? text[i] != '-' : !strchr("0123456789abcdef", text[i]))
                        return false;
        }
        return i == 36;
}

int32_t up_fail_at(struct upcloud *u, struct prvng_call *call, int32_t class, uint32_t effect,
                   int32_t status, int64_t retry_after_ms, const char *field, const char *message)
{
        u->host->error(call, &(struct prvng_error){.struct_size = sizeof(struct prvng_error),
                                                   .error_class = class,
                                                   .retry_after_ms = retry_after_ms,
                                                   .effect = effect,
                                                   .status = status,
                                                   .message = message,
                                                   .field = field});
        return class;
}

int32_t up_fail(struct upcloud *u, struct prvng_call *call, int32_t class, uint32_t effect,
                const char *field, const char *format, ...)
{
        char message[2048];
        va_list ap;

        va_start(ap, format);
        vsnprintf(message, sizeof(message), format, ap);
        va_end(ap);
        return up_fail_at(u, call, class, effect, 0, -1, field, message);
}

static int32_t write_text(struct upcloud *u, struct prvng_call *call, struct prvng_sink *sink,
                          const char *before, const json_t *value)
{
        _cleanup_(cleanup_free) char *text =
                json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII);

        if (text && (!*before || u->host->sink_write(sink, before, strlen(before)) == 0) &&
            u->host->sink_write(sink, text, strlen(text)) == 0)
                return PRVNG_DONE;
        return up_fail(u, call, PRVNG_INTERNAL, PRVNG_EFFECT_UNKNOWN, NULL,
                       "upcloud: the answer could not be handed over");
}

int32_t up_reply(struct upcloud *u, struct prvng_call *call, struct prvng_sink *sink,
                 const json_t *value)
{
        return write_text(u, call, sink, "", value);
}

int32_t up_token(struct upcloud *u, struct prvng_call *call, struct prvng_sink *sink,
                 const json_t *value)
{
        return write_text(u, call, sink, "1 ", value);
}

int32_t up_pending(struct upcloud *u, struct prvng_call *call, struct prvng_sink *sink,
                   const json_t *token, int64_t after_ms)
{
        int32_t r = token ? up_token(u, call, sink, token) : PRVNG_DONE;

        u->host->ask_again(call, after_ms);
        return r < 0 ? r : PRVNG_PENDING;
}

json_t *up_labels(const json_t *resource)
{
        const json_t *labels = json_object_get(resource, "labels");
        json_t *all = json_object(), *label;
        size_t i;

        if (json_is_object(labels))
                labels = json_object_get(labels, "label");
        json_array_foreach (labels, i, label)
                json_object_set(all, up_string(label, "key", ""), json_object_get(label, "value"));
        return all;
}

static void add_label(json_t *labels, const char *key, const char *value)
{
        json_array_append_new(labels, json_pack("{s:s, s:s}", "key", key, "value", value));
}

json_t *up_marks(const struct request *q, const char *op_id, const json_t *own)
{
        json_t *labels = json_array(), *value;
        const char *key;

        json_object_foreach ((json_t *)(uintptr_t)own, key, value)
                add_label(labels, key, json_string_value(value));
        add_label(labels, MARK_SITE, q->site);
        add_label(labels, MARK_WORKFLOW, q->workflow);
        add_label(labels, MARK_NAME, q->name);
        add_label(labels, MARK_OP, op_id);
        return labels;
}
