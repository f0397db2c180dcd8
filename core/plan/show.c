/* SPDX-License-Identifier: Apache-2.0 */
/* What all forms of showing a plan share, and the JSON document of --dry-run. */
#include "plan/make.h"

#define MAX_NAMES 64u /* in depends_on, before operations are named instead */

enum join plan_join(const struct plan_task *t)
{
        if (t->verb != PLAN_JOIN)
                return JOIN_NOT;
        return t->reason == JOIN_REASON_START ? JOIN_START
             : t->reason == JOIN_REASON_END   ? JOIN_END
                                              : JOIN_GROUP;
}

const char *plan_target(const struct plan *p, const struct plan_task *t)
{
        static const char *const names[] = {"server", "taskserv", "cluster"};

        if (strncmp(t->resource, "server.", 7) == 0)
                return names[0];
        if (p->operations[t->operation].target == TARGET_CLUSTER)
                return names[2];
        if (strncmp(t->resource, "taskserv.", 9) == 0)
                return names[1];
        return strncmp(t->resource, "network.", 8) == 0          ? "network"
             : strncmp(t->resource, "security_group.", 15) == 0 ? "security_group"
                                                                : "resource";
}

int plan_forecast(const struct plan *p, struct forecast **ret_lanes, double *ret_seconds)
{
        struct forecast *lanes = calloc(p->n_lanes + 1, sizeof(*lanes));
        double seconds = 0;

        if (!lanes)
                return error_origin(-ENOMEM);
        for (uint32_t i = 0; i < p->n_tasks; i++)
                if (p->tasks[i].lane != UINT32_MAX)
                        lanes[p->tasks[i].lane].calls++;
        for (uint32_t i = 0; i < p->n_lanes; i++) {
                if (p->lanes[i].rate_limit && lanes[i].calls)
                        lanes[i].seconds = (double)(lanes[i].calls - 1) / p->lanes[i].rate_limit;
                seconds = MAX(seconds, lanes[i].seconds);
        }
        *ret_lanes = lanes;
        *ret_seconds = seconds;
        return 0;
}

uint32_t *plan_levels(const struct plan *p, uint32_t *ret_n)
{
        uint32_t *levels = calloc((size_t)p->n_tasks + 1, sizeof(*levels)), n = 0;

        for (uint32_t i = 0; levels && i < p->n_tasks; i++) {
                const struct plan_task *t = &p->tasks[i];

                for (uint32_t j = 0; j < t->n_deps; j++)
                        levels[i] = MAX(levels[i], levels[p->deps[t->first_dep + j]]);
                levels[i] += t->verb != PLAN_JOIN;
                n = MAX(n, levels[i]);
        }
        if (levels)
                *ret_n = n;
        return levels;
}

bool task_is_final(const struct plan_task *t)
{
        return t->irreversible || t->takes;
}

uint32_t plan_point_of_no_return(const struct plan *p, const uint32_t *levels)
{
        uint32_t first = NONE;

        for (uint32_t i = 0; i < p->n_tasks; i++)
                if (task_is_final(&p->tasks[i]) && (first == NONE || levels[i] < levels[first]))
                        first = i;
        return first;
}

struct pairs {
        uint32_t (*list)[2];
        uint32_t n, cap;
};

static int pair_add(struct pairs *pairs, struct strmap *seen, struct arena *keys, uint32_t from,
                    uint32_t to)
{
        uint32_t pair[2] = {from, to};
        struct strmap_entry *e;
        char *key;
        int r;

        if (from == to || strmap_find(seen, (const char *)pair, sizeof(pair)))
                return 0;
        r = maker_grow(&pairs->list, pairs->n, &pairs->cap, sizeof(*pairs->list));
        key = r ? NULL : arena_copy(keys, pair, sizeof(pair));
        e = key ? strmap_add(seen, key, sizeof(pair)) : NULL;
        if (!e)
                return error_origin(-ENOMEM);
        memcpy(pairs->list[pairs->n++], pair, sizeof(pair));
        return 0;
}

int plan_operation_edges(const struct plan *p, uint32_t (**ret_pairs)[2], uint32_t *ret_n)
{
        _cleanup_(cleanup_arena) struct arena keys = ARENA_NULL;
        struct strmap seen = STRMAP_NULL;
        struct pairs pairs = {0};
        int r = 0;

        /* Each join belongs to an operation: edges into and out of joins tell it all. */
        for (uint32_t i = 0; !r && i < p->n_tasks; i++) {
                const struct plan_task *t = &p->tasks[i];

                for (uint32_t j = 0; !r && j < t->n_deps; j++)
                        r = pair_add(&pairs, &seen, &keys,
                                     p->tasks[p->deps[t->first_dep + j]].operation, t->operation);
        }
        strmap_deinit(&seen);
        if (r) {
                free(pairs.list);
                return error_fold(r);
        }
        *ret_pairs = pairs.list;
        *ret_n = pairs.n;
        return 0;
}

/* How many tasks a join stands for, up to MAX_NAMES + 1; 1 for a task. Caller frees. */
static uint32_t *count_names(const struct plan *p)
{
        uint32_t *counts = calloc((size_t)p->n_tasks + 1, sizeof(*counts));

        for (uint32_t i = 0; counts && i < p->n_tasks; i++) {
                const struct plan_task *t = &p->tasks[i];

                counts[i] = t->verb != PLAN_JOIN;
                for (uint32_t j = 0; t->verb == PLAN_JOIN && j < t->n_deps; j++) {
                        counts[i] += counts[p->deps[t->first_dep + j]];
                        if (counts[i] > MAX_NAMES) {
                                counts[i] = MAX_NAMES + 1;
                                break;
                        }
                }
        }
        return counts;
}

struct names {
        const struct plan *plan;
        const uint32_t *counts;
        uint32_t *stamp; /* by task: last task whose names hold it, + 1 */
        uint32_t n;
};

static void name_put(struct names *x, struct buf *b, const char *name, const char *more)
{
        if (x->n++)
                buf_putc(b, ',');
        buf_json(b, name);
        if (more) { /* before the closing quote */
                b->n -= b->n ? 1 : 0;
                buf_puts(b, more);
                buf_putc(b, '"');
        }
}

/* What is behind a join that is named as a whole is not looked at. Joins nest as deep as there are
 * operations without tasks in a row: many of them are named as a whole too. */
static void names_put(struct names *x, struct buf *b, uint32_t task, uint32_t mark, uint32_t depth,
                      bool whole)
{
        const struct plan *p = x->plan;
        const struct plan_task *t = &p->tasks[task];

        for (uint32_t j = 0; j < t->n_deps; j++) {
                uint32_t dep = p->deps[t->first_dep + j];
                const struct plan_task *d = &p->tasks[dep];
                enum join join = plan_join(d);
                bool cut = whole || depth > 100;

                if (x->stamp[dep] == mark)
                        continue;
                x->stamp[dep] = mark;
                if (join == JOIN_NOT)
                        name_put(x, b, d->id, NULL);
                else if (join != JOIN_START && cut)
                        name_put(x, b, p->operations[d->operation].id, "/*");
                else
                        names_put(x, b, dep, mark, depth + 1, whole);
        }
}

static void json_depends(struct names *x, struct buf *b, uint32_t i)
{
        const struct plan_task *t = &x->plan->tasks[i];
        uint64_t n = 0;

        for (uint32_t j = 0; j < t->n_deps; j++)
                n += x->counts[x->plan->deps[t->first_dep + j]];
        x->n = 0;
        BUF_LIT(b, ",\"depends_on\":[");
        names_put(x, b, i, i + 1, 0, n > MAX_NAMES);
        buf_putc(b, ']');
}

static void json_text(struct buf *b, const char *key, const char *value)
{
        buf_puts(b, key);
        if (value)
                buf_json(b, value);
        else
                BUF_LIT(b, "null");
}

static void json_bool(struct buf *b, const char *key, bool value)
{
        buf_puts(b, key);
        buf_puts(b, value ? "true" : "false");
}

static void json_task(struct names *x, struct buf *b, uint32_t i)
{
        const struct plan *p = x->plan;
        const struct plan_task *t = &p->tasks[i];

        json_text(b, "{\"id\":", t->id);
        json_text(b, ",\"operation\":", p->operations[t->operation].id);
        json_text(b, ",\"item\":", t->item);
        json_text(b, ",\"target\":", plan_target(p, t));
        json_text(b, ",\"server\":", t->server);
        json_text(b, ",\"resource\":", t->resource);
        json_text(b, ",\"verb\":", plan_verb_name(t->verb));
        json_bool(b, ",\"implied\":", t->implied);
        json_text(b, ",\"reason\":", t->reason);
        json_depends(x, b, i);
        json_text(b, ",\"plugin\":", p->lanes[t->lane].plugin);
        json_text(b, ",\"impact\":", plan_impact_name(t->impact));
        BUF_LIT(b, ",\"difference\":");
        buf_puts(b, t->difference ? t->difference : "null");
        BUF_LIT(b, ",\"waits\":");
        buf_puts(b, t->waits ? t->waits : "[]");
        json_bool(b, ",\"irreversible\":", t->irreversible);
        BUF_LIT(b, ",\"takes\":[");
        for (const char *w = t->takes ? t->takes : ""; *w; w += strcspn(w, " "), w += *w == ' ') {
                buf_puts(b, w > t->takes ? "," : "");
                buf_json_n(b, w, strcspn(w, " "));
        }
        buf_putc(b, ']');
        buf_putc(b, '}');
}

static void json_operations(const struct plan *p, struct buf *b)
{
        static const char *const types[] = {"create", "update", "delete", "check"};
        static const char *const targets[] = {"server", "taskserv", "cluster"};
        static const char *const failures[] = {"fail", "continue", "rollback"};

        for (uint32_t i = 0; i < p->n_operations; i++) {
                const struct plan_operation *o = &p->operations[i];

                json_text(b, i ? ",{\"id\":" : "{\"id\":", o->id);
                json_text(b, ",\"type\":", types[o->type]);
                json_text(b, ",\"target\":", targets[o->target]);
                json_text(b, ",\"on_failure\":", failures[o->on_failure]);
                BUF_LIT(b, ",\"timeout\":");
                buf_u64(b, o->timeout_s);
                json_bool(b, ",\"implied\":", o->implied);
                buf_putc(b, '}');
        }
}

static void json_lane(const struct plan_lane *l, bool comma, struct buf *b)
{
        buf_printf(b, "%s{\"plugin\":\"%s\",\"batch_size\":%u,\"rate_limit\":%u", comma ? "," : "", l->plugin,
                   l->batch_size, l->rate_limit);
        json_text(b, ",\"version\":", l->version);
        json_bool(b, ",\"isolated\":", l->may != NULL);
        json_text(b, ",\"may\":", l->may);
        buf_putc(b, '}');
}

static int json_lanes(const struct plan *p, struct buf *b)
{
        _cleanup_(cleanup_free) struct forecast *lanes = NULL;
        double seconds;
        int r = plan_forecast(p, &lanes, &seconds);

        if (r)
                return error_fold(r);
        BUF_LIT(b, "],\"lanes\":[");
        for (uint32_t i = 0; i < p->n_lanes; i++)
                json_lane(&p->lanes[i], i > 0, b);
        BUF_LIT(b, "],\"notices\":[");
        for (uint32_t i = 0; i < p->n_notices; i++)
                json_text(b, i ? "," : "", p->notices[i]);
        BUF_LIT(b, "],\"undefined\":[");
        for (uint32_t i = 0; i < p->n_undefined; i++)
                json_text(b, i ? "," : "", p->undefined[i]);
        BUF_LIT(b, "],\"forecast\":{\"calls\":[");
        for (uint32_t i = 0; i < p->n_lanes; i++)
                buf_printf(b, "%s{\"plugin\":\"%s\",\"calls\":%llu,\"seconds\":%.1f}",
                           i ? "," : "", p->lanes[i].plugin, (unsigned long long)lanes[i].calls,
                           lanes[i].seconds);
        buf_printf(b, "],\"seconds\":%.1f}", seconds);
        return buf_error(b);
}

static int json_point_of_no_return(const struct plan *p, struct buf *b)
{
        uint32_t n = 0, first;
        _cleanup_(cleanup_free) uint32_t *levels = plan_levels(p, &n);

        if (!levels)
                return error_origin(-ENOMEM);
        first = plan_point_of_no_return(p, levels);
        json_text(b, ",\"point_of_no_return\":", first == NONE ? NULL : p->tasks[first].id);
        buf_putc(b, '}');
        return buf_error(b);
}

int plan_json(const struct plan *p, struct buf *b)
{
        _cleanup_(cleanup_free) uint32_t *counts = count_names(p);
        _cleanup_(cleanup_free) uint32_t *stamp = calloc((size_t)p->n_tasks + 1, sizeof(*stamp));
        struct names x = {.plan = p, .counts = counts, .stamp = stamp};
        bool any = false;
        int r;

        if (!counts || !stamp)
                return error_origin(-ENOMEM);
        json_text(b, "{\"name\":", p->name);
        json_text(b, ",\"type\":", p->type);
        BUF_LIT(b, ",\"operations\":[");
        json_operations(p, b);
        BUF_LIT(b, "],\"tasks\":[");
        for (uint32_t i = 0; i < p->n_tasks; i++) {
                if (p->tasks[i].verb == PLAN_JOIN)
                        continue;
                if (any)
                        buf_putc(b, ',');
                any = true;
                json_task(&x, b, i);
        }
        r = json_lanes(p, b);
        return error_fold(r ? r : json_point_of_no_return(p, b));
}
