/* SPDX-License-Identifier: Apache-2.0 */
/* The specs that tasks carry, in canonical form: what means the same is the same bytes. */
#include "plan/make.h"

#include "base/json.h"

#include <math.h>

/* Members of ServerDef come first, in the order of the schema; the rest by name. */
static size_t rank(const char *key)
{
        static const char *const first[] = {"name", "cpu", "memory", "disk", "plan", "image", "zone",
                                            "networks", "security_groups", "labels", "ssh_keys"};
        size_t i;

        for (i = 0; i < N_ELEMENTS(first) && !streq(first[i], key); i++)
                ;
        return i;
}

static int compare_keys(const void *a, const void *b)
{
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int compare_ranks(const void *a, const void *b)
{
        size_t x = rank(*(const char *const *)a), y = rank(*(const char *const *)b);

        return x != y ? (x < y ? -1 : 1) : compare_keys(a, b);
}

/* The object's keys in canonical order; the caller frees the array. */
static int sorted_keys(const json_t *object, bool top, const char ***ret_keys, size_t *ret_n)
{
        size_t n = 0;
        const char **keys = malloc((json_object_size(object) + 1) * sizeof(*keys));
        const char *key;
        json_t *v;

        if (!keys)
                return error_origin(-ENOMEM);
        json_object_foreach((json_t *)(uintptr_t)object, key, v)
                keys[n++] = key;
        qsort(keys, n, sizeof(*keys), top ? compare_ranks : compare_keys);
        *ret_keys = keys;
        *ret_n = n;
        return 0;
}

static int canonical_object(struct buf *b, const json_t *json, bool top)
{
        _cleanup_(cleanup_free) const char **keys = NULL;
        size_t n;
        int r = sorted_keys(json, top, &keys, &n);

        if (r)
                return error_fold(r);
        buf_putc(b, '{');
        for (size_t i = 0; i < n; i++) {
                if (i)
                        buf_putc(b, ',');
                buf_json(b, keys[i]);
                buf_putc(b, ':');
                r = spec_canonical(b, json_object_get(json, keys[i]), false);
                if (r)
                        return error_fold(r);
        }
        buf_putc(b, '}');
        return buf_error(b);
}

int spec_canonical(struct buf *b, const json_t *json, bool top)
{
        const json_t *v;
        size_t i;
        double real;

        switch (json_typeof(json)) {
        case JSON_OBJECT:
                return error_fold(canonical_object(b, json, top));
        case JSON_ARRAY:
                buf_putc(b, '[');
                json_array_foreach (json, i, v) {
                        int r;

                        if (i)
                                buf_putc(b, ',');
                        r = spec_canonical(b, v, false);
                        if (r)
                                return error_fold(r);
                }
                buf_putc(b, ']');
                return buf_error(b);
        case JSON_REAL: /* 2.0 means 2: formats differ in what they write */
                real = json_real_value(json);
                if (real == floor(real) && fabs(real) < 9007199254740992.0) {
                        buf_i64(b, (int64_t)real);
                        return buf_error(b);
                }
                return error_fold(json_append(b, json));
        case JSON_STRING:
        case JSON_INTEGER:
        case JSON_TRUE:
        case JSON_FALSE:
        case JSON_NULL:
                break;
        }
        return error_fold(json_append(b, json));
}

static bool same(const json_t *a, const json_t *b)
{
        if (json_is_number(a) && json_is_number(b))
                return json_number_value(a) == json_number_value(b);
        return json_equal(a, b);
}

static void leaf(struct buf *b, size_t start, const char *path, const json_t *from, const json_t *to)
{
        buf_putc(b, b->n == start ? '[' : ',');
        BUF_LIT(b, "{\"path\":");
        buf_json(b, path);
        BUF_LIT(b, ",\"from\":");
        if (!from || json_append(b, from))
                BUF_LIT(b, "null");
        BUF_LIT(b, ",\"to\":");
        if (!to || json_append(b, to))
                BUF_LIT(b, "null");
        buf_putc(b, '}');
}

static int compare(struct buf *b, size_t start, struct buf *path, const json_t *from,
                   const json_t *to);

static int compare_objects(struct buf *b, size_t start, struct buf *path, const json_t *from,
                           const json_t *to)
{
        _cleanup_(cleanup_json_decref) json_t *all = json_object();
        _cleanup_(cleanup_free) const char **keys = NULL;
        size_t n, length = path->n;
        int r;

        if (!all || json_object_update(all, (json_t *)(uintptr_t)from) ||
            json_object_update(all, (json_t *)(uintptr_t)to))
                return error_origin(-ENOMEM);
        r = sorted_keys(all, length == 0, &keys, &n);
        if (r)
                return error_fold(r);
        for (size_t i = 0; i < n; i++) {
                if (length)
                        buf_putc(path, '.');
                buf_puts(path, keys[i]);
                r = compare(b, start, path, json_object_get(from, keys[i]),
                            json_object_get(to, keys[i]));
                if (r || buf_error(path))
                        return error_origin(r ? r : -ENOMEM);
                path->n = length;
                path->data[length] = 0;
        }
        return 0;
}

static int compare(struct buf *b, size_t start, struct buf *path, const json_t *from,
                   const json_t *to)
{
        size_t n, length = path->n;

        if (from && to && same(from, to))
                return 0;
        if (json_is_object(from) && json_is_object(to))
                return error_fold(compare_objects(b, start, path, from, to));
        if (!json_is_array(from) || !json_is_array(to)) {
                leaf(b, start, buf_str(path), from, to);
                return buf_error(b);
        }
        n = MAX(json_array_size(from), json_array_size(to));
        for (size_t i = 0; i < n; i++) {
                int r;

                buf_printf(path, "[%zu]", i);
                r = compare(b, start, path, json_array_get(from, i), json_array_get(to, i));
                if (r || buf_error(path))
                        return error_origin(r ? r : -ENOMEM);
                path->n = length;
                path->data[length] = 0;
        }
        return 0;
}

int spec_difference(struct buf *b, const char *from, const char *to)
{
        _cleanup_(cleanup_json_decref) json_t *x = NULL, *y = NULL;
        _cleanup_(cleanup_buf) struct buf path = BUF_NULL;
        size_t start = b->n;
        int r;

        if (streq(from, to))
                return 0;
        r = json_parse(from, strlen(from), &x, NULL);
        if (r == -EBADMSG) /* an older inventory: everything differs */
                x = json_object();
        r = json_parse(to, strlen(to), &y, NULL);
        if (r || !x)
                return error_origin(r ? r : -ENOMEM);
        buf_reserve(&path, 1);
        r = compare(b, start, &path, x, y);
        if (r)
                return error_fold(r);
        if (b->n > start)
                buf_putc(b, ']');
        return buf_error(b);
}

static void measure(struct server *s, const json_t *o)
{
        s->cpu = json_number_value(json_object_get(o, "cpu"));
        s->memory = (uint64_t)json_number_value(json_object_get(o, "memory"));
        s->disk = (uint64_t)json_number_value(json_object_get(o, "disk"));
        s->measured = true;
}

/* The default definition as text behind the name: `,"cpu":1,...}`. */
static int server_tail(struct maker *m)
{
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;
        _cleanup_(cleanup_json_decref) json_t *copy = NULL;
        int r;

        copy = m->config->server ? json_copy(m->config->server) : json_object();
        if (!copy)
                return error_origin(-ENOMEM);
        json_object_del(copy, "name");
        json_object_del(copy, "provider");
        r = spec_canonical(&b, copy, true);
        if (r)
                return error_fold(r);
        b.data[0] = b.n > 2 ? ',' : ' ';
        m->server_tail = arena_strdup(&m->scratch, b.n > 2 ? b.data : "}");
        return m->server_tail ? 0 : error_origin(-ENOMEM);
}

/* The blocks of other providers are none of this provider's business. */
void spec_drop_foreign(struct maker *m, json_t *spec, const char *own)
{
        const struct plugins *p = m->request->plugins;

        for (size_t i = 0; i < p->n; i++)
                if (streq(p->list[i].kind, "provider") && !streq(p->list[i].name, own))
                        json_object_del(spec, p->list[i].name);
}

static int merged(struct maker *m, const struct server *s, json_t **ret_spec)
{
        _cleanup_(cleanup_json_decref) json_t *spec = NULL;
        const char *key;
        json_t *v;
        int r = json_parse(s->def->spec, strlen(s->def->spec), &spec, NULL);

        if (r)
                return error_fold(r);
        json_object_foreach(m->config->server, key, v) {
                bool size = streq(key, "cpu") || streq(key, "memory") || streq(key, "disk");

                /* A provider's plan says how large the server is: defaults would contradict it. */
                if (streq(key, "provider") || (size && json_object_get(spec, "plan")))
                        continue;
                if (!json_object_get(spec, key) && json_object_set(spec, key, v))
                        return error_origin(-ENOMEM);
        }
        if (json_object_set_new(spec, "name", json_string(s->name)))
                return error_origin(-ENOMEM);
        *ret_spec = steal(&spec);
        return 0;
}

int spec_server(struct maker *m, uint32_t number)
{
        struct server *s = &m->servers[number];
        _cleanup_(cleanup_json_decref) json_t *spec = NULL;
        uint32_t provider;
        int r;

        if (s->spec)
                return 0;
        buf_clear(&m->buf);
        if (!s->def) {
                r = m->server_tail ? 0 : server_tail(m);
                if (r)
                        return error_fold(r);
                BUF_LIT(&m->buf, "{\"name\":");
                buf_json(&m->buf, s->name);
                buf_puts(&m->buf, m->server_tail);
                if (!s->measured)
                        measure(s, m->config->server);
        } else {
                r = server_provider(m, number, &provider);
                r = r ? r : merged(m, s, &spec);
                if (!r)
                        spec_drop_foreign(m, spec, m->lanes[m->providers[provider].lane].name);
                r = r ? r : spec_canonical(&m->buf, spec, true);
                if (r)
                        return error_fold(r);
                measure(s, spec);
        }
        s->spec = buf_error(&m->buf) ? NULL : arena_copy(m->text, m->buf.data, m->buf.n);
        return s->spec ? 0 : error_origin(-ENOMEM);
}

/* Workflow's vars under the operation's; operations without vars of their own share one text. */
int spec_vars(struct maker *m, uint32_t i)
{
        struct op *op = &m->ops[i];
        _cleanup_(cleanup_json_decref) json_t *vars = NULL, *own = NULL;
        const char *text = op->def->vars ? op->def->vars : "{}";
        const char *all = m->def->vars ? m->def->vars : "{}";
        struct op *implied = &m->ops[m->n_ops]; /* keeps the text of the workflow's own */
        bool shared = streq(text, "{}");
        int r;

        if (op->spec)
                return 0;
        if (shared && implied->spec) {
                op->spec = implied->spec;
                return 0;
        }
        r = json_parse(all, strlen(all), &vars, NULL);
        r = r ? r : json_parse(text, strlen(text), &own, NULL);
        if (r)
                return error_fold(r);
        if (!json_is_object(vars) || !json_is_object(own))
                return error_origin(-EBADMSG);
        if (json_object_update(vars, own))
                return error_origin(-ENOMEM);
        buf_clear(&m->buf);
        r = spec_canonical(&m->buf, vars, false);
        if (r)
                return error_fold(r);
        op->spec = arena_copy(m->text, m->buf.data, m->buf.n);
        if (shared)
                implied->spec = op->spec;
        return op->spec ? 0 : error_origin(-ENOMEM);
}
