/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a difference is applied to what runs, by what the plugin's describe() says: live, with a restart, or
 * only by making the resource anew. A server is made anew where somebody said so (--replace): deleted with
 * what stands on it, and created in the same operation. Nothing else ever is.
 */
#include "plan/make.h"

#include "base/json.h"

static const char *const hows[] = {NULL, "live", "restart", "replace"};

const char *plan_impact_name(enum plan_impact i)
{
        return hows[i];
}

static const json_t *update_map(const struct lane *l, const char *resource)
{
        const json_t *list = json_object_get(l->plugin ? l->plugin->describe : NULL, "resources"), *v;
        struct key k = key_parse(resource);
        size_t i;

        json_array_foreach (list, i, v) {
                const char *kind = json_get_string(v, "kind", "");

                if (strlen(kind) == k.n_kind && strncmp(kind, k.kind, k.n_kind) == 0)
                        return json_object_get(v, "update");
        }
        return NULL;
}

/* "rules[2].port" is looked for as that, then as "rules"; "upcloud.tier" then as "upcloud". */
static enum plan_impact impact_of(const json_t *map, const char *path)
{
        char word[256];
        size_t n = strlen(path);

        while (n && n < sizeof(word)) {
                const char *how;

                memcpy(word, path, n);
                word[n] = 0;
                how = json_string_value(json_object_get(map, word));
                for (enum plan_impact i = PLAN_LIVE; how && i <= PLAN_REPLACE; i++)
                        if (streq(how, hows[i]))
                                return i;
                while (n && path[--n] != '.' && path[n] != '[')
                        ;
        }
        return PLAN_LIVE;
}

int replace_annotate(struct maker *m, struct task *t)
{
        const json_t *map = update_map(&m->lanes[t->lane], t->resource);
        _cleanup_(cleanup_json_decref) json_t *list = NULL;
        json_t *v;
        size_t i;
        int r;

        if (!json_object_size(map)) /* nothing is said of it */
                return 0;
        r = json_parse(t->difference, strlen(t->difference), &list, NULL);
        if (r)
                return error_fold(r);
        json_array_foreach (list, i, v) {
                enum plan_impact how = impact_of(map, json_get_string(v, "path", ""));

                if (json_object_set_new(v, "how", json_string(hows[how])))
                        return error_origin(-ENOMEM);
                t->impact = MAX(t->impact, (uint8_t)how);
        }
        buf_clear(&m->buf);
        r = json_append(&m->buf, list);
        if (r)
                return error_fold(r);
        t->difference = arena_copy(m->text, m->buf.data, m->buf.n);
        return t->difference ? 0 : error_origin(-ENOMEM);
}

/* The attributes that cannot be changed, up to the first dot or bracket, each once. */
static int culprits(const struct task *t, struct buf *names, char ret_first[64])
{
        _cleanup_(cleanup_json_decref) json_t *list = NULL;
        _cleanup_(cleanup_json_decref) json_t *seen = json_object();
        const json_t *v;
        size_t i;
        int r = json_parse(t->difference, strlen(t->difference), &list, NULL);

        if (r || !seen)
                return error_origin(r ? r : -ENOMEM);
        json_array_foreach (list, i, v) {
                const char *path = json_get_string(v, "path", "");
                char word[64];

                snprintf(word, sizeof(word), "%.*s", (int)strcspn(path, ".["), path);
                if (!streq(json_get_string(v, "how", ""), "replace") || json_object_get(seen, word))
                        continue;
                if (!names->n)
                        strcpy(ret_first, word);
                buf_printf(names, "%s%s", names->n ? ", " : "", word);
                if (json_object_set_new(seen, word, json_true()))
                        return error_origin(-ENOMEM);
        }
        return buf_error(names);
}

int replace_refuse(struct maker *m, const struct task *t, uint32_t node)
{
        _cleanup_(cleanup_buf) struct buf names = BUF_NULL;
        bool server = t->kind == KIND_SERVER;
        char first[64] = "";
        int r = culprits(t, &names, first);

        if (r)
                return error_fold(r);
        if (server && m->servers[t->server].def)
                node = m->servers[t->server].def->node;
        else if (t->kind == KIND_SHARED && m->def)
                node = m->providers[t->server].shared[t->taskserv].node;
        if (!maker_room(m, RULE_REPLACE))
                return 0;
        if (server)
                maker_problem(m, node, first, NONE, "%s cannot be changed on %s, which is there: it would "
                              "have to be replaced, that is deleted with all that is on it and made anew. "
                              "Say so with --replace %s, or leave it as it was", buf_str(&names),
                              t->resource, t->resource);
        else
                maker_problem(m, node, first, NONE, "%s cannot be changed on %s, which is there: delete "
                              "what stands on it and then it itself, or leave it as it was",
                              buf_str(&names), t->resource);
        return 0;
}

/* The place of a server in --replace, from 1; 0: it is not there. */
static size_t asked_for(const struct maker *m, const char *server)
{
        const char *const *list = m->request->replace;

        for (size_t i = 0; list && list[i]; i++)
                if (streq(list[i], server) ||
                    (startswith(list[i], "server.") && streq(list[i] + strlen("server."), server)))
                        return i + 1;
        return 0;
}

int replace_server(struct maker *m, const struct task *create)
{
        struct server *s = &m->servers[create->server];
        const struct resource *there = s->existing;
        struct task old = *create;
        uint32_t number;
        int r;

        if (s->replaced || !verb_makes(create->verb) || !asked_for(m, s->name))
                return 0;
        s->asked = true;
        if (!there || !streq(there->workflow, m->def->name) || !there->spec)
                return 0; /* rules.c has a word on it, or it is made in any case */
        old.resource = maker_format(&m->scratch, "server.%s", s->name);
        r = old.resource ? spec_server(m, create->server) : error_origin(-ENOMEM);
        if (r)
                return error_fold(r);
        buf_clear(&m->buf);
        r = spec_difference(&m->buf, there->spec, s->spec);
        if (r || !m->buf.n)
                return error_fold(r);
        old.difference = arena_copy(m->text, m->buf.data, m->buf.n);
        r = old.difference ? replace_annotate(m, &old) : error_origin(-ENOMEM);
        if (r || old.impact != PLAN_REPLACE)
                return error_fold(r);
        s->replaced = true;
        old.verb = PLAN_DELETE;
        old.old = old.implied = true;
        old.reason = "replaced";
        return error_fold(task_add(m, &old, &number));
}

int replace_check(struct maker *m)
{
        const char *const *list = m->request->replace;

        for (size_t i = 0; list && list[i]; i++) {
                const char *name = startswith(list[i], "server.") ? list[i] + strlen("server.") : list[i];
                struct strmap_entry *e = strmap_find(&m->server_names, name, strlen(name));
                const struct server *s = e ? &m->servers[e->value.number - 1] : NULL;
                int r = 0;

                if (!s || !s->asked)
                        problems_add(m->problems, NULL, "--replace", "no operation of the plan creates or "
                                     "updates a server \"%s\"", name);
                else if (!s->replaced)
                        r = maker_notice(m, "server.%s is not replaced: nothing that changes needs it",
                                         name);
                if (r)
                        return error_fold(r);
        }
        return 0;
}
