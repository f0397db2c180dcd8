/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/test-plan-shop.h"

#include "base/json.h"

#include <criterion/criterion.h>

struct stage *stage_new(void)
{
        struct stage *s = calloc(1, sizeof(*s));
        char store[] = "file", provider[] = "local";

        s->config.store = strdup(store);
        s->config.provider = strdup(provider);
        s->config.server = json_pack("{s:i, s:i, s:i}", "disk", 10, "memory", 1024, "cpu", 1);
        s->config.taskserv_batch = 16;
        s->plugins.list = s->list;
        stage_plugin(s, "store", "file", NULL);
        stage_plugin(s, "provider", "local", NULL);
        return s;
}

static void forget(struct stage *s)
{
        problems_deinit(&s->problems);
        s->plan = plan_free(s->plan);
        definition_free(s->definition);
        s->definition = NULL;
        document_free(s->document);
        s->document = NULL;
}

struct stage *stage_free(struct stage *s)
{
        forget(s);
        for (size_t i = 0; i < s->plugins.n; i++) {
                free(s->list[i].kind);
                free(s->list[i].name);
                free(s->list[i].reason);
                json_decref(s->list[i].dependencies);
                json_decref(s->list[i].describe);
        }
        for (size_t i = 0; i < s->n_resources; i++) {
                struct resource *r = s->resources[i];

                const char *texts[] = {r->workflow, r->plugin, r->spec, r->outputs, r->builds_on,
                                       r->claim, r->claim_workflow};

                for (size_t j = 0; j < N_ELEMENTS(texts); j++)
                        free((void *)(uintptr_t)texts[j]);
                free(r);
        }
        strmap_deinit(&s->inventory.by_key);
        json_decref(s->config.server);
        free(s->config.store);
        free(s->config.provider);
        free(s->shown);
        free(s);
        return NULL;
}

static char *quoted(const char *text)
{
        char *copy = strdup(text);

        for (char *p = copy; *p; p++)
                *p = *p == '\'' ? '"' : *p;
        return copy;
}

static json_t *parse(const char *text)
{
        _cleanup_(cleanup_free) char *copy = quoted(text);
        char error[JSON_PARSE_ERROR] = "";
        json_t *json = NULL;

        cr_assert_eq(json_parse(copy, strlen(copy), &json, error), 0, "%s in %s", error, copy);
        return json;
}

struct plugin *stage_plugin(struct stage *s, const char *kind, const char *name,
                           const char *dependencies)
{
        struct plugin *p = &s->list[s->plugins.n++];

        cr_assert_leq(s->plugins.n, N_ELEMENTS(s->list));
        p->kind = strdup(kind);
        p->name = strdup(name);
        p->state = PLUGIN_READY;
        p->config = &s->dropins[p - s->list];
        if (dependencies)
                p->dependencies = parse(dependencies);
        return p;
}

struct resource *stage_resource(struct stage *s, const char *key, const char *workflow,
                               const char *plugin, const char *spec)
{
        struct resource *r = calloc(1, sizeof(*r) + strlen(key) + 1);

        s->resources[s->n_resources++] = r;
        strcpy(r->key, key);
        r->workflow = workflow ? strdup(workflow) : NULL;
        r->plugin = strdup(plugin);
        r->spec = quoted(spec);
        r->outputs = strdup("{}");
        r->builds_on = strdup("");
        strmap_add(&s->inventory.by_key, r->key, strlen(r->key))->value.pointer = r;
        return r;
}

/* What a loader does. */
static void emit(struct prvng_document *d, const json_t *json, uint32_t *line)
{
        const struct prvng_host_document *h = document_interface();
        struct prvng_position at = {.file = "test.json", .line = ++*line, .column = 1};
        const char *key;
        json_t *v;
        size_t i;

        if (json_is_object(json)) {
                h->map_begin(d, &at);
                json_object_foreach((json_t *)(uintptr_t)json, key, v) {
                        h->key(d, key, strlen(key), &at);
                        emit(d, v, line);
                }
                h->end(d, &at);
        } else if (json_is_array(json)) {
                h->list_begin(d, &at);
                json_array_foreach (json, i, v)
                        emit(d, v, line);
                h->end(d, &at);
        } else if (json_is_string(json)) {
                h->string(d, json_string_value(json), json_string_length(json), &at);
        } else if (json_is_integer(json)) {
                h->integer(d, json_integer_value(json), &at);
        } else if (json_is_real(json)) {
                h->real(d, json_real_value(json), &at);
        } else if (json_is_boolean(json)) {
                h->boolean(d, json_is_true(json), &at);
        } else {
                h->null(d, &at);
        }
}

void stage_define(struct stage *s, const char *text)
{
        _cleanup_(cleanup_json_decref) json_t *json = parse(text);
        uint32_t top, line = 0;

        forget(s);
        cr_assert_eq(document_new("test.json", &s->problems, &s->document), 0);
        emit(document_builder(s->document), json, &line);
        cr_assert_eq(definition_find(s->document, NULL, &s->problems, &top), 0);
        cr_assert_eq(definition_check(s->document, top, "/tmp", &s->problems, &s->definition), 0);
        if (s->problems.n)
                problems_print(&s->problems, stderr);
        cr_assert_not_null(s->definition, "the test's own definition is not valid");
}

static void make(struct stage *s, const char *text)
{
        struct plan_request request = {.config = &s->config, .plugins = &s->plugins,
                                       .inventory = &s->inventory, .site = "SITE",
                                       .only = s->only, .replace = s->replace,
                                       .prune = s->prune, .runs = s->runs};

        problems_deinit(&s->problems);
        s->plan = plan_free(s->plan);

        if (text)
                stage_define(s, text);
        request.definition = s->definition;
        cr_assert_eq(plan_make(&request, &s->problems, &s->plan), 0);
}

struct plan *stage_plan(struct stage *s, const char *text)
{
        make(s, text);
        if (s->problems.n)
                problems_print(&s->problems, stderr);
        cr_assert_eq(s->problems.n, 0, "unexpected problems, first: %s", s->problems.list[0].message);
        cr_assert_not_null(s->plan);
        return s->plan;
}

static const char *show(struct stage *s, struct buf *b)
{
        free(s->shown);
        buf_reserve(b, 1);
        s->shown = buf_steal(b);
        return s->shown;
}

const char *stage_problems(struct stage *s, const char *text)
{
        struct buf b = BUF_NULL;

        make(s, text);
        cr_assert_eq(s->problems.n == 0, s->plan != NULL);
        for (size_t i = 0; i < s->problems.n; i++) {
                const struct problem *p = &s->problems.list[i];

                buf_printf(&b, "%s%s%s\n", p->path, p->path[0] ? ": " : "", p->message);
        }
        return show(s, &b);
}

const struct plan_request *stage_request(struct stage *s)
{
        static struct plan_request request;

        request = (struct plan_request){.config = &s->config, .plugins = &s->plugins,
                                        .inventory = &s->inventory, .site = "SITE", .runs = s->runs};
        return &request;
}

const struct plan_task *task_by_id(const struct plan *p, const char *id)
{
        for (uint32_t i = 0; i < p->n_tasks; i++)
                if (streq(p->tasks[i].id, id))
                        return &p->tasks[i];
        return NULL;
}

bool task_after(const struct plan *p, const char *id, const char *other)
{
        const struct plan_task *t = task_by_id(p, id), *o = task_by_id(p, other);
        _cleanup_(cleanup_free) bool *reached = calloc(p->n_tasks, 1);
        uint32_t i;

        cr_assert_not_null(t, "there is no task %s", id);
        cr_assert_not_null(o, "there is no task %s", other);
        reached[t - p->tasks] = true;
        for (i = (uint32_t)(t - p->tasks) + 1; i-- > 0;)
                for (uint32_t j = 0; reached[i] && j < p->tasks[i].n_deps; j++) {
                        cr_assert_lt(p->deps[p->tasks[i].first_dep + j], i);
                        reached[p->deps[p->tasks[i].first_dep + j]] = true;
                }
        return reached[o - p->tasks] && t != o;
}

const char *stage_order(struct stage *s)
{
        struct buf b = BUF_NULL;

        for (uint32_t i = 0; i < s->plan->n_tasks; i++)
                if (s->plan->tasks[i].verb != PLAN_JOIN)
                        buf_printf(&b, "%s%s", b.n ? " " : "", s->plan->tasks[i].id);
        return show(s, &b);
}

const char *stage_json(struct stage *s)
{
        struct buf b = BUF_NULL;

        cr_assert_eq(plan_json(s->plan, &b), 0);
        return show(s, &b);
}

struct stage *stage_shop(void)
{
        struct stage *s = stage_new();

        stage_plugin(s, "provider", "cloud",
                    "{'requires_network':true,'network_before_servers':true,"
                    "'shared_resources':['private_network','security_group'],"
                    "'api_rate_limit':10,'batch_size':2}");
        stage_plugin(s, "taskserv", "os", "{}");
        stage_plugin(s, "taskserv", "resolv", "{'requires':['os']}");
        stage_plugin(s, "taskserv", "containerd", "{'requires':['os']}");
        stage_plugin(s, "taskserv", "docker", "{'conflicts_with':['containerd']}");
        stage_plugin(s, "taskserv", "kubernetes",
                    "{'requires':['containerd','resolv'],'conflicts_with':['docker'],"
                    "'minimum_resources':{'cpu':2,'memory':4096,'disk':20}}");
        return s;
}

const char *verb_of(const struct plan *p, const char *id)
{
        const struct plan_task *t = task_by_id(p, id);

        cr_assert_not_null(t, "there is no task %s", id);
        return plan_verb_name(t->verb);
}

uint32_t count_verb(const struct plan *p, enum plan_verb verb)
{
        uint32_t n = 0;

        for (uint32_t i = 0; i < p->n_tasks; i++)
                n += p->tasks[i].verb == verb;
        return n;
}

bool noticed(const struct plan *p, const char *part)
{
        for (uint32_t i = 0; i < p->n_notices; i++)
                if (strstr(p->notices[i], part))
                        return true;
        return false;
}
