/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers from a recording. A request is recognised by method, target and body, as they look blanked; with
 * the order "strict" it must be the next one that was recorded, with "any" the first that was not asked for
 * yet. One that is not there fails, and says what differs from the one that was expected.
 *
 * Each head line begins a section, with ids of its own: an engine that was started anew.
 */
#include "host/http-tape.h"

#include <openssl/evp.h>

enum { FILE_MAX = 256 << 20, DIFFERENCES = 6 };

struct section {
        struct http_ids ids; /* bound as requests come */
        bool strict;
        struct section *next;
};

struct recorded {
        json_t *json;
        struct section *section;
        size_t line;
        bool used;
};

struct http_replay {
        char *path;
        struct section *sections; /* the last first */
        struct recorded *list;
        size_t n;
};

struct http_replay *http_replay_free(struct http_replay *r, struct buf *left)
{
        size_t n = 0, first = 0;

        for (size_t i = 0; i < r->n; i++) {
                if (!r->list[i].used && n++ == 0)
                        first = r->list[i].line;
                json_decref(r->list[i].json);
        }
        if (n && left)
                buf_printf(left, "%zu of the %zu exchanges recorded in %s were not asked for, first "
                                 "that of line %zu", n, r->n, r->path, first);
        while (r->sections) {
                struct section *s = r->sections;

                r->sections = s->next;
                http_ids_deinit(&s->ids);
                free(s);
        }
        free(r->list);
        free(r->path);
        free(r);
        return NULL;
}

static int add_section(struct http_replay *r, const json_t *head, size_t line, struct buf *why)
{
        const char *order = json_get_string(head, "order", "strict");
        struct section *s;

        if (json_get_int(head, "prvng_http_recording", 0) != HTTP_TAPE_FORMAT ||
            (!streq(order, "strict") && !streq(order, "any"))) {
                buf_printf(why, "%s:%zu: format %lld with order \"%s\"; known are format %d with "
                                "\"strict\" and \"any\"", r->path, line,
                           (long long)json_get_int(head, "prvng_http_recording", 0), order,
                           HTTP_TAPE_FORMAT);
                return error_origin(-EINVAL);
        }
        s = calloc(1, sizeof(*s));
        if (!s)
                return error_origin(-ENOMEM);
        s->strict = streq(order, "strict");
        s->next = r->sections;
        r->sections = s;
        return error_fold(http_ids_init(&s->ids));
}

static int add_line(struct http_replay *r, json_t *json, size_t line, struct buf *why)
{
        const json_t *reply = json_object_get(json, "reply"), *error = json_object_get(json, "error"),
                     *request = json_object_get(json, "request");
        struct recorded *list;

        if (json_object_get(json, "prvng_http_recording"))
                return error_fold(add_section(r, json, line, why));
        if (!r->sections || !json_is_string(json_object_get(request, "method")) ||
            !json_is_string(json_object_get(request, "target")) || !(reply || error) ||
            (reply && !json_is_integer(json_object_get(reply, "status")))) {
                buf_printf(why, "%s:%zu: %s", r->path, line,
                           r->sections ? "no exchange: it needs \"request\" with \"method\" and "
                                         "\"target\", and \"reply\" with \"status\", or \"error\""
                                       : "the first line must be {\"prvng_http_recording\":1}");
                return error_origin(-EINVAL);
        }
        list = realloc(r->list, (r->n + 1) * sizeof(*list));
        if (!list)
                return error_origin(-ENOMEM);
        r->list = list;
        r->list[r->n++] = (struct recorded){json_incref(json), r->sections, line, false};
        return 0;
}

static int read_lines(struct http_replay *r, FILE *file, struct buf *why)
{
        _cleanup_(cleanup_free) char *text = NULL;
        size_t cap = 0, total = 0;
        ssize_t n;
        int k = 0;

        for (size_t line = 1; k == 0 && (n = getline(&text, &cap, file)) >= 0; line++) {
                _cleanup_(cleanup_json_decref) json_t *json = NULL;
                char error[JSON_PARSE_ERROR];

                if (strspn(text, " \t\r\n") == (size_t)n)
                        continue;
                total += (size_t)n;
                if (total > FILE_MAX || json_parse(text, (size_t)n, &json, error) < 0) {
                        buf_printf(why, "%s:%zu: %s", r->path, line,
                                   total > FILE_MAX ? "the recording is too large" : error);
                        return error_origin(-EINVAL);
                }
                k = add_line(r, json, line, why);
        }
        return error_fold(k);
}

int http_replay_new(const char *path, struct http_replay **ret, struct buf *why)
{
        _cleanup_(cleanup_fclose) FILE *file = fopen(path, "re");
        struct http_replay *r;
        int k;

        if (!file) {
                buf_printf(why, "the recording %s cannot be read: %s", path, strerror(errno));
                return error_origin(-EINVAL);
        }
        r = calloc(1, sizeof(*r));
        if (!r)
                return error_origin(-ENOMEM);
        r->path = strdup(path);
        k = r->path ? read_lines(r, file, why) : -ENOMEM;
        if (k < 0) {
                http_replay_free(r, NULL);
                return error_fold(k);
        }
        *ret = r;
        return 0;
}

/* --- what differs --- */

static void show(struct buf *to, const json_t *v)
{
        size_t before = to->n;

        if (!v)
                BUF_LIT(to, "nothing");
        else if (json_append(to, v) == 0 && to->n - before > 200) {
                to->n = before + 200;
                to->data[to->n] = 0;
                BUF_LIT(to, "...");
        }
}

static void differ(struct buf *to, unsigned int *n, const char *path, const json_t *is,
                   const json_t *was)
{
        _cleanup_(cleanup_buf) struct buf below = BUF_NULL;
        const char *key;
        json_t *v;

        if (*n >= DIFFERENCES || (is && was && json_equal(is, was)))
                return;
        if (json_is_object(is) && json_is_object(was)) {
                json_object_foreach ((json_t *)(uintptr_t)is, key, v) {
                        buf_clear(&below);
                        buf_printf(&below, "%s.%s", path, key);
                        differ(to, n, buf_str(&below), v, json_object_get(was, key));
                }
                json_object_foreach ((json_t *)(uintptr_t)was, key, v) {
                        buf_clear(&below);
                        buf_printf(&below, "%s.%s", path, key);
                        if (!json_object_get(is, key))
                                differ(to, n, buf_str(&below), NULL, v);
                }
        } else if (json_is_array(is) && json_is_array(was) &&
                   json_array_size(is) == json_array_size(was)) {
                for (size_t i = 0; i < json_array_size(is); i++) {
                        buf_clear(&below);
                        buf_printf(&below, "%s[%zu]", path, i);
                        differ(to, n, buf_str(&below), json_array_get(is, i), json_array_get(was, i));
                }
        } else {
                buf_printf(to, "%s%s: ", (*n)++ ? "; " : "", path[0] == '.' ? path + 1 : path);
                show(to, is);
                BUF_LIT(to, " where was ");
                show(to, was);
        }
}

static const json_t *body_of(const json_t *request)
{
        const json_t *body = json_object_get(request, "body");

        return json_object_size(body) ? body : NULL; /* nothing may be written in two ways */
}

static bool same_call(const json_t *is, const json_t *was)
{
        return streq(json_get_string(is, "method", ""), json_get_string(was, "method", "")) &&
               streq(json_get_string(is, "target", ""), json_get_string(was, "target", ""));
}

static bool equal(const json_t *is, const json_t *was)
{
        const json_t *a = body_of(is), *b = body_of(was);

        return same_call(is, was) && (a && b ? json_equal(a, b) : a == b);
}

/* --- answers --- */

/* What a comparison bound, to be taken back if it fails. */
struct binding {
        struct http_ids *ids;
        json_t *names; /* array */
};

static void bind_id(struct binding *b, const char *name, const char *id)
{
        json_object_set_new(b->ids->by_name, name, json_string(id));
        json_object_set_new(b->ids->by_id, id, json_string(name));
        json_array_append_new(b->names, json_string(name));
}

static void unbind(struct binding *b)
{
        const json_t *name;
        size_t i;

        json_array_foreach (b->names, i, name) {
                const char *id = json_get_string(b->ids->by_name, json_string_value(name), "");

                json_object_del(b->ids->by_id, id);
                json_object_del(b->ids->by_name, json_string_value(name));
        }
}

/* "${id_1}" with its length, or 0. */
static size_t name_at(const char *text, char ret_name[16])
{
        const char *close = startswith(text, "${id_") ? strchr(text, '}') : NULL;
        size_t n = close ? (size_t)(close - text - 2) : 16;

        if (n >= 16)
                return 0;
        memcpy(ret_name, text + 2, n);
        ret_name[n] = 0;
        return n + 3;
}

/* Where a name was recorded that nobody has yet, an id that has none takes it. */
static void bind_text(struct binding *b, const char *is, const char *was)
{
        char name[16], id[HTTP_ID + 1];
        size_t n;

        while (*is && *was) {
                const char *bound;

                n = name_at(was, name);
                bound = n ? json_get_string(b->ids->by_name, name, NULL) : NULL;
                if (n && strncmp(is, was, n) == 0) {
                        is += n;
                } else if (n && http_is_id(is, strlen(is))) {
                        snprintf(id, sizeof(id), "%s", is);
                        if (!bound && !json_object_get(b->ids->by_id, id))
                                bind_id(b, name, id);
                        else if (!bound || !streq(bound, id))
                                return;
                        is += HTTP_ID;
                } else if (*is++ != *was) {
                        return;
                }
                was += n ? n : 1;
        }
}

static void bind_json(struct binding *b, const json_t *is, const json_t *was)
{
        const char *key;
        json_t *v;

        if (json_is_string(is) && json_is_string(was))
                bind_text(b, json_string_value(is), json_string_value(was));
        else if (json_is_object(is) && json_is_object(was))
                json_object_foreach ((json_t *)(uintptr_t)was, key, v)
                        bind_json(b, json_object_get(is, key), v);
        else if (json_is_array(is) && json_is_array(was))
                for (size_t i = 0; i < json_array_size(was); i++)
                        bind_json(b, json_array_get(is, i), json_array_get(was, i));
}

/* Is this the request that was recorded there? Ids that are new take the names that they had then. */
static bool fits(const struct http_event *e, struct recorded *x, json_t **ret_is)
{
        struct binding b = {&x->section->ids, json_array()};
        const char *op = json_get_string(x->json, "op", NULL), *id = e->call->pub.op_id;
        const json_t *was = json_object_get(x->json, "request");
        json_t *is;
        bool fit;

        if (op && id && id[0] && !json_object_get(b.ids->by_name, op) &&
            !json_object_get(b.ids->by_id, id))
                bind_id(&b, op, id);
        is = http_event_request(e, b.ids);
        bind_json(&b, is, was);
        json_decref(is);
        is = http_event_request(e, b.ids);
        fit = is && equal(is, was);
        if (!fit)
                unbind(&b);
        json_decref(b.names);
        *ret_is = is;
        return fit;
}

/* Puts the ids of today in place of "${id_1}". */
static void with_ids(struct buf *to, const char *text, size_t n, const struct http_ids *ids)
{
        for (const char *p = text, *end = text + n, *open; p < end;) {
                const char *close = NULL, *id = NULL;
                char name[16];

                open = memmem(p, (size_t)(end - p), "${id_", 5);
                close = open ? memchr(open, '}', (size_t)(end - open)) : NULL;
                if (close && (size_t)(close - open - 2) < sizeof(name)) {
                        memcpy(name, open + 2, (size_t)(close - open - 2));
                        name[close - open - 2] = 0;
                        id = json_get_string(ids->by_name, name, NULL);
                }
                buf_append(to, p, (size_t)((open ? open : end) - p));
                if (id)
                        buf_puts(to, id);
                else if (open)
                        buf_append(to, open, 5);
                p = id ? close + 1 : open ? open + 5 : end;
        }
}

static void from_base64(struct buf *to, const char *text)
{
        size_t n = strlen(text);
        char *room = buf_reserve(to, n);
        int k = room ? EVP_DecodeBlock((unsigned char *)room, (const unsigned char *)text, (int)n) : -1;

        if (k < 0)
                return;
        for (; n > 0 && text[n - 1] == '='; n--)
                k--;
        buf_advance(to, (size_t)k);
}

static void make_body(struct buf *to, const json_t *body, const struct http_ids *ids)
{
        const json_t *json = json_object_get(body, "json"), *text = json_object_get(body, "text");
        _cleanup_(cleanup_buf) struct buf plain = BUF_NULL;

        if (json && json_append(&plain, json) < 0)
                return;
        if (text)
                buf_append(&plain, json_string_value(text), json_string_length(text));
        with_ids(to, buf_str(&plain), plain.n, ids);
        from_base64(to, json_get_string(body, "base64", ""));
}

static int32_t answer_with(const struct recorded *x, struct http_event *e)
{
        const struct http_ids *ids = &x->section->ids;
        const json_t *reply = json_object_get(x->json, "reply"),
                     *error = json_object_get(x->json, "error");
        struct http_reply *r = e->reply;
        const char *name;
        json_t *value;

        if (!reply) {
                int32_t class_ = (int32_t)json_get_int(error, "class", PRVNG_TRANSIENT);

                return op_call_fail(&e->call->pub, class_ < 0 ? class_ : PRVNG_TRANSIENT,
                                    (uint32_t)json_get_int(error, "effect", PRVNG_EFFECT_UNKNOWN), 0,
                                    "%s", json_get_string(error, "message", "as was recorded"));
        }
        r->status = (int32_t)json_get_int(reply, "status", 0);
        json_object_foreach (json_object_get(reply, "headers"), name, value) {
                buf_printf(&r->headers, "%s: ", name);
                with_ids(&r->headers, json_string_value(value) ?: "", json_string_length(value), ids);
                BUF_LIT(&r->headers, "\n");
        }
        make_body(&r->body, json_object_get(reply, "body"), ids);
        return PRVNG_DONE;
}

static int32_t unexpected(const struct http_replay *r, const struct http_event *e,
                          const struct recorded *next, const json_t *is)
{
        _cleanup_(cleanup_buf) struct buf why = BUF_NULL;
        const json_t *was = next ? json_object_get(next->json, "request") : NULL;
        unsigned int n = 0;

        buf_printf(&why, "%s: %s %s was not recorded", r->path, e->request->method,
                   json_get_string(is, "target", "?"));
        if (!next) {
                buf_printf(&why, " again: all %zu exchanges were asked for already", r->n);
        } else {
                buf_printf(&why, "%s; expected is that of line %zu, %s %s",
                           next->section->strict ? " here" : "", next->line,
                           json_get_string(was, "method", ""), json_get_string(was, "target", ""));
                if (same_call(is, was)) {
                        BUF_LIT(&why, "; the body differs: ");
                        differ(&why, &n, "", body_of(is), body_of(was));
                }
        }
        return op_call_fail(&e->call->pub, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, ENOENT, "%s",
                            buf_str(&why));
}

int32_t http_replay_answer(struct http_replay *r, struct http_event *e)
{
        _cleanup_(cleanup_json_decref) json_t *shown = NULL; /* the request, as compared with `next` */
        struct recorded *next = NULL;

        for (size_t i = 0; i < r->n; i++) {
                _cleanup_(cleanup_json_decref) json_t *is = NULL;
                struct recorded *x = &r->list[i];

                if (x->used)
                        continue;
                if (fits(e, x, &is)) {
                        x->used = true;
                        return answer_with(x, e);
                }
                /* Of several, the first for the same call says most about what differs. */
                if (!next || (same_call(is, json_object_get(x->json, "request")) &&
                              !same_call(shown, json_object_get(next->json, "request")))) {
                        json_decref(shown);
                        shown = steal(&is);
                        next = x;
                }
                if (x->section->strict)
                        break;
        }
        if (!shown)
                shown = json_pack("{s:s}", "target", e->request->target);
        return unexpected(r, e, next, shown);
}
