/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the workflow owns and its definition no longer names. It is told, and left as it is; with --prune
 * it is deleted when all else is done, what stands on something before that. What was adopted, or is used
 * by others, stays in any case.
 */
#include "plan/make.h"

#define SHOWN_MAX 20u /* names in a notice */

const struct operation_def prune_operation = {
        .id = "(prune)", .type = OPERATION_DELETE, .target = TARGET_SERVER, .parallel = true,
        .timeout_s = 300, .on_failure = ON_FAILURE_FAIL, .vars = "{}", .node = DOC_NONE};

/* Of an operation, of the definition, or used by what they name. */
static bool is_named(const struct maker *m, const struct resource *r)
{
        struct key k = key_parse(r->key);
        struct strmap_entry *e;

        if (task_of(m, r->key) != NONE)
                return true;
        if (startswith(r->key, "server."))
                return strmap_find(&m->server_names, k.name, k.n_name);
        if (startswith(r->key, "taskserv.")) /* what stands on a server that goes, goes along */
                return !strmap_find(&m->server_names, k.place, strlen(k.place));
        if (!startswith(r->key, "network.") && !startswith(r->key, "security_group."))
                return true;
        e = strmap_find(&m->provider_names, k.place, strlen(k.place));
        for (uint32_t i = 0; e && e->value.number && i < m->providers[e->value.number - 1].n_shared; i++)
                if (streq(m->providers[e->value.number - 1].shared[i].key, r->key))
                        return true;
        return false;
}

static int by_key(const void *a, const void *b)
{
        return strcmp((*(const struct resource *const *)a)->key, (*(const struct resource *const *)b)->key);
}

/* Sorted by key. The caller frees the array. */
static int find_undefined(struct maker *m, const struct resource ***ret_list, size_t *ret_n)
{
        _cleanup_(cleanup_free) const struct resource **list = NULL;
        uint32_t n = 0, cap = 0;

        strmap_foreach (e, &m->inventory->by_key) {
                const struct resource *r = e->value.pointer;
                int q;

                if (!e->key || !r->workflow || !streq(r->workflow, m->def->name) || is_named(m, r))
                        continue;
                q = maker_grow(&list, n, &cap, sizeof(*list));
                if (q)
                        return error_fold(q);
                list[n++] = r;
        }
        if (n)
                qsort(list, n, sizeof(*list), by_key);
        *ret_list = steal(&list);
        *ret_n = n;
        return 0;
}

static int tell(struct maker *m, const struct resource **list, size_t n)
{
        _cleanup_(cleanup_buf) struct buf names = BUF_NULL;

        for (size_t i = 0; i < n && i < SHOWN_MAX; i++)
                buf_printf(&names, "%s%s", i ? ", " : "", list[i]->key);
        if (n > SHOWN_MAX)
                buf_printf(&names, " and %zu more", n - SHOWN_MAX);
        if (buf_error(&names))
                return error_origin(-ENOMEM);
        return error_fold(maker_notice(m, "no longer defined, and left as %s: %s; --prune deletes %s",
                                       n == 1 ? "it is" : "they are", buf_str(&names),
                                       n == 1 ? "it" : "them"));
}

static int remember(struct maker *m, const struct resource **list, size_t n)
{
        struct plan *p = m->plan;

        p->undefined = arena_alloc(m->text, n * sizeof(*p->undefined));
        if (!p->undefined)
                return error_origin(-ENOMEM);
        for (; p->n_undefined < n; p->n_undefined++) {
                p->undefined[p->n_undefined] = arena_strdup(m->text, list[p->n_undefined]->key);
                if (!p->undefined[p->n_undefined])
                        return error_origin(-ENOMEM);
        }
        return 0;
}

/* --- with --prune --- */

static bool in_list(const struct resource **list, size_t n, const struct resource *r)
{
        size_t from = 0;

        while (from < n) { /* sorted by key */
                size_t mid = from + (n - from) / 2;
                int c = strcmp(list[mid]->key, r->key);

                if (c == 0)
                        return true;
                if (c < 0)
                        from = mid + 1;
                else
                        n = mid;
        }
        return false;
}

/* Why it stays, as a notice. */
static int stays(struct maker *m, const struct resource **list, size_t n, const struct resource *r,
                 bool *ret_stays)
{
        const char *run, *workflow;

        *ret_stays = true;
        if (!r->op_id[0])
                return error_fold(maker_notice(m, "%s stays: it was adopted or found, not made here; "
                                               "`prvng batch destroy` takes it away", r->key));
        if (startswith(r->key, "server.") || startswith(r->key, "taskserv.")) {
                *ret_stays = false;
                return 0;
        }
        if (m->request->runs && site_used(m->request->runs, r->key, NULL, &run, &workflow))
                return error_fold(maker_notice(m, "%s stays: run %s of workflow \"%s\", which has not "
                                               "ended, builds on it", r->key, run, workflow));
        strmap_foreach (e, &m->inventory->by_key) {
                const struct resource *on = e->value.pointer;

                if (e->key && on->workflow && resource_stands_on(on, r->key) &&
                    (!in_list(list, n, on) || !on->op_id[0]))
                        return error_fold(maker_notice(m, "%s stays: %s stands on it", r->key, on->key));
        }
        *ret_stays = false;
        return 0;
}

static int prune_task(struct maker *m, uint32_t op, const struct resource *r)
{
        struct key k = key_parse(r->key);
        struct task t = {.op = op, .item = NONE, .server = NONE, .taskserv = NONE, .verb = PLAN_DELETE,
                         .implied = true, .reason = "no longer defined"};
        const char *name = arena_copy(m->text, k.name, k.n_name);
        uint32_t number, provider;
        int q = name ? 0 : error_origin(-ENOMEM);

        if (!q && startswith(r->key, "server.")) {
                t.kind = KIND_SERVER;
                q = server_get(m, name, &t.server);
                q = q ? q : server_provider(m, t.server, &provider);
                t.lane = q ? NONE : m->providers[provider].lane;
        } else if (!q && startswith(r->key, "taskserv.")) {
                t.kind = KIND_TASKSERV;
                q = server_get(m, k.place, &t.server);
                q = q ? q : taskserv_get(m, name, &t.taskserv);
                t.lane = q ? NONE : m->taskservs[t.taskserv].lane;
        } else if (!q) {
                t.kind = KIND_SHARED;
                q = shared_of_key(m, r, &t.server, &t.taskserv);
                t.lane = q ? NONE : m->providers[t.server].lane;
        }
        return error_fold(q ? q : task_add(m, &t, &number));
}

static int prune_edges(struct maker *m, uint32_t op, const struct resource *r)
{
        uint32_t task = task_of(m, r->key);

        if (task == NONE || m->tasks[task].op != op)
                return 0;
        for (const char *p = r->builds_on ?: ""; *p; p += strcspn(p, " "), p += *p == ' ') {
                struct strmap_entry *e = strmap_find(&m->resources, p, strcspn(p, " "));
                uint32_t base = e ? (uint32_t)e->value.number - 1 : NONE;
                int q = 0;

                if (base != NONE && base != task && m->tasks[base].op == op)
                        q = edge_add(m, task, base);
                if (q)
                        return error_fold(q);
        }
        return 0;
}

static int prune(struct maker *m, const struct resource **list, size_t n)
{
        uint32_t op = m->n_ops - 1; /* operations_init() put it there */
        int r = 0;

        for (size_t i = 0; !r && i < n; i++) {
                bool kept = false;

                r = stays(m, list, n, list[i], &kept);
                if (!r && !kept)
                        r = prune_task(m, op, list[i]);
        }
        for (size_t i = 0; !r && i < n; i++)
                r = prune_edges(m, op, list[i]);
        return error_fold(r);
}

int prune_apply(struct maker *m)
{
        _cleanup_(cleanup_free) const struct resource **list = NULL;
        size_t n = 0;
        int r;

        if (m->request->only || !m->inventory || !m->inventory->by_key.n)
                return 0;
        r = find_undefined(m, &list, &n);
        if (r || !n)
                return error_fold(r);
        r = remember(m, list, n);
        if (r)
                return error_fold(r);
        return error_fold(m->request->prune ? prune(m, list, n) : tell(m, list, n));
}
