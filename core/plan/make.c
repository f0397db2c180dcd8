/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/make.h"

#include <stdarg.h>

int maker_grow(void *array, uint32_t n, uint32_t *cap, size_t size)
{
        uint32_t bigger = MAX(*cap + *cap / 2, 16u);
        void *p;

        if (n < *cap)
                return 0;
        if (n >= MAX_TASKS)
                return error_origin(-E2BIG);
        memcpy(&p, array, sizeof(p));
        p = reallocarray(p, bigger, size);
        if (!p)
                return error_origin(-ENOMEM);
        memcpy(array, &p, sizeof(p));
        *cap = bigger;
        return 0;
}

char *maker_format(struct arena *a, const char *format, ...)
{
        va_list ap;
        char *text;
        int n;

        va_start(ap, format);
        n = vsnprintf(NULL, 0, format, ap);
        va_end(ap);
        text = n < 0 ? NULL : arena_room(a, (size_t)n);
        if (!text)
                return NULL;
        va_start(ap, format);
        vsnprintf(text, (size_t)n + 1, format, ap);
        va_end(ap);
        return text;
}

int maker_notice(struct maker *m, const char *format, ...)
{
        _cleanup_(cleanup_free) char *text = NULL;
        va_list ap;
        int n, r;

        va_start(ap, format);
        n = vasprintf(&text, format, ap);
        va_end(ap);
        if (n < 0) {
                text = NULL;
                return error_origin(-ENOMEM);
        }
        r = maker_grow(&m->notices, m->n_notices, &m->cap_notices, sizeof(*m->notices));
        if (r)
                return error_fold(r);
        m->notices[m->n_notices] = arena_strdup(m->text, text);
        if (!m->notices[m->n_notices])
                return error_origin(-ENOMEM);
        m->n_notices++;
        return 0;
}

/* The node that a problem is about: as deep as it goes. */
static uint32_t problem_node(const struct document *d, uint32_t node, const char *member,
                             uint32_t index)
{
        uint32_t child;

        if (!member)
                return node;
        child = document_get(d, node, member);
        if (child == DOC_NONE)
                return node;
        node = child;
        if (index == NONE || document_node(d, node)->type != DOC_LIST)
                return node;
        child = document_node(d, node)->v.children.first;
        while (index-- && child != DOC_NONE)
                child = document_node(d, child)->next;
        return child == DOC_NONE ? node : child;
}

void maker_problem(struct maker *m, uint32_t node, const char *member, uint32_t index,
                   const char *format, ...)
{
        const struct document *d = m->def ? m->def->document : NULL;
        _cleanup_(cleanup_free) char *message = NULL, *path = NULL;
        struct position at = {0};
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&message, format, ap) < 0)
                message = NULL;
        va_end(ap);
        if (!message)
                return;
        if (d && node != DOC_NONE) {
                node = problem_node(d, node, member, index);
                at = document_position(d, node);
                path = document_path(d, m->def->top, node);
        }
        problems_add(m->problems, &at, path, "%s", message);
}

bool maker_room(struct maker *m, enum rule rule)
{
        return m->shown[rule]++ < MAX_SHOWN;
}

void maker_rest(struct maker *m)
{
        for (size_t i = 0; i < N_RULES; i++)
                if (m->shown[i] > MAX_SHOWN)
                        problems_add(m->problems, NULL, NULL,
                                     "... and %u more problems of the same kind as the last one "
                                     "shown of them", m->shown[i] - MAX_SHOWN);
}

const struct resource *maker_existing(const struct maker *m, const char *key)
{
        const struct resource *r;

        if (!m->inventory || !m->inventory->by_key.n)
                return NULL;
        r = inventory_get(m->inventory, key);
        return r && r->workflow ? r : NULL;
}

const char *maker_meant(struct maker *m, const char *word, const char *const *names, size_t n)
{
        const char *name = did_you_mean(word, names, n);

        return name ? maker_format(&m->scratch, " (did you mean \"%s\"?)", name) : "";
}

static int plugins_init(struct maker *m)
{
        for (size_t i = 0; i < m->request->plugins->n; i++) {
                const struct plugin *p = &m->request->plugins->list[i];
                const char *key = maker_format(&m->scratch, "%s/%s", p->kind, p->name);
                struct strmap_entry *e;

                e = key ? strmap_add(&m->plugin_keys, key, strlen(key)) : NULL;
                if (!e)
                        return error_origin(-ENOMEM);
                if (!e->value.number)
                        e->value.number = i + 1;
        }
        return 0;
}

int maker_init(struct maker *m, const char *name, const char *type)
{
        struct plan *p = calloc(1, sizeof(*p));

        if (!p)
                return error_origin(-ENOMEM);
        m->plan = p;
        p->arena = m->text = calloc(1, sizeof(*m->text));
        if (!m->text)
                return error_origin(-ENOMEM);
        p->name = arena_strdup(m->text, name);
        p->type = arena_strdup(m->text, type);
        if (!p->name || !p->type)
                return error_origin(-ENOMEM);
        return error_fold(plugins_init(m));
}

void maker_deinit(struct maker *m)
{
        struct strmap *maps[] = {&m->op_ids, &m->plugin_keys, &m->server_names,
                                 &m->taskserv_names, &m->provider_names, &m->resources,
                                 &m->reach_memo, &m->claims_at, &m->cluster_names, &m->conditions};

        for (size_t i = 0; i < N_ELEMENTS(maps); i++)
                strmap_deinit(maps[i]);
        for (uint32_t i = 0; i < m->n_lanes; i++)
                buf_deinit(&m->lanes[i].blocked);
        for (uint32_t i = 0; i < m->n_providers; i++) {
                for (uint32_t j = 0; j < m->providers[i].n_shared; j++)
                        free(m->providers[i].shared[j].zones);
                free(m->providers[i].shared);
        }
        free(m->ops);
        free(m->order);
        free(m->stamps);
        free(m->direct);
        free(m->lanes);
        free(m->providers);
        free(m->servers);
        free(m->taskservs);
        free(m->tasks);
        free(m->edges);
        free(m->waits);
        free(m->notices);
        free(m->first_dep);
        free(m->n_soft);
        free(m->deps);
        free(m->sorted);
        buf_deinit(&m->buf);
        arena_deinit(&m->scratch);
        plan_free(m->plan);
}

struct plan *plan_free(struct plan *p)
{
        if (!p)
                return NULL;
        if (p->arena)
                arena_deinit(p->arena);
        free(p->arena);
        free(p);
        return NULL;
}

const char *plan_verb_name(enum plan_verb v)
{
        static const char *const names[] = {"create", "update", "delete", "check", "join"};

        return (size_t)v < N_ELEMENTS(names) ? names[v] : "?";
}

/* A store that was chosen is used or refused; where none was, it is the home store, whatever the default of
 * the schema says. */
static int choose_store(struct maker *m)
{
        const char *store = definition_state_store(m->def), *why = NULL;
        _cleanup_(cleanup_buf) struct buf others = BUF_NULL;
        bool known = false;

        if (!store || streq(store, m->config->store))
                return 0;
        for (size_t i = 0; i < m->request->plugins->n; i++) {
                const struct plugin *p = &m->request->plugins->list[i];

                if (!streq(p->kind, "store"))
                        continue;
                if (streq(p->name, store) && p->state == PLUGIN_READY) {
                        m->plan->store = arena_strdup(m->text, store);
                        return m->plan->store ? 0 : error_origin(-ENOMEM);
                }
                known |= streq(p->name, store);
                why = streq(p->name, store) ? p->reason : why;
                if (p->state == PLUGIN_READY)
                        buf_printf(&others, "%s%s", others.n ? ", " : "", p->name);
        }
        maker_problem(m, document_get(m->def->document, m->def->top, "monitoring"), "state_store",
                      NONE, "this site has no store \"%s\" that could be used%s%s%s; it has: %s", store,
                      why ? " (" : known ? ", it is disabled" : "", why ? why : "", why ? ")" : "",
                      buf_str(&others));
        return buf_error(&others);
}

static const char *workflow_type_name(enum workflow_type type)
{
        return type == WORKFLOW_SEQUENTIAL ? "sequential"
             : type == WORKFLOW_PARALLEL   ? "parallel"
                                           : "batch";
}

/* The steps; each leaves its problems, and goes on as far as that makes sense. */
static int make(struct maker *m)
{
        int r;

        r = operations_init(m);
        r = r ? r : operations_order(m);
        r = r ? r : expand_tables(m);
        for (uint32_t i = 0; !r && i < m->n_order; i++)
                r = expand_operation(m, m->order[i]);
        r = r ? r : requires_circles(m);
        r = r ? r : requires_tasks(m);
        r = r ? r : requires_resources(m);
        r = r ? r : expand_shared(m);
        r = r ? r : prune_apply(m);
        r = r ? r : replace_check(m);
        r = r ? r : expand_blocked(m);
        r = r ? r : order_edges(m);
        r = r ? r : order_tasks(m);
        r = r ? r : rules_apply(m);
        r = r ? r : choose_store(m);
        return error_fold(r);
}

int plan_make(const struct plan_request *request, struct problems *problems, struct plan **ret_plan)
{
        struct problems mine = PROBLEMS_NULL;
        struct maker m = {.request = request, .def = request->definition,
                          .config = request->config, .inventory = request->inventory,
                          .problems = &mine};
        int r;

        r = maker_init(&m, m.def->name, workflow_type_name(m.def->type));
        r = r ? r : make(&m);
        maker_rest(&m);
        if (!r && !mine.n) {
                r = maker_finish(&m);
                if (!r)
                        *ret_plan = steal(&m.plan);
        }
        for (size_t i = 0; i < mine.n; i++) {
                const struct problem *p = &mine.list[i];
                struct position at = {.file = p->file, .line = p->line, .column = p->column};

                problems_add(problems, &at, p->path, "%s", p->message);
        }
        problems_deinit(&mine);
        maker_deinit(&m);
        return error_fold(r);
}
