/* SPDX-License-Identifier: Apache-2.0 */
/* The dry run for people. */
#include "plan/make.h"

#include "base/json.h"

#define MAX_LINES 200u /* tasks shown of one operation */
#define MAX_NAMES 20u  /* of what cannot be undone */
#define MAX_VALUE 60u  /* bytes shown of a value in a difference */

static const char signs[] = {'+', '~', '-', '?', ' '};

/* A value of a difference, cut to a bearable length without cutting a character. */
static void value_put(struct buf *b, const json_t *v)
{
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        size_t n;

        if (!v || json_is_null(v)) {
                BUF_LIT(b, "nothing");
                return;
        }
        json_append(&text, v);
        n = MIN(text.n, (size_t)MAX_VALUE);
        while (n < text.n && n && ((uint8_t)text.data[n] & 0xc0) == 0x80)
                n--;
        buf_append(b, buf_str(&text), n);
        if (n < text.n)
                BUF_LIT(b, "...");
}

static void difference_put(struct buf *b, const char *difference)
{
        _cleanup_(cleanup_json_decref) json_t *list = NULL;
        const json_t *v;
        size_t i;

        if (json_parse(difference, strlen(difference), &list, NULL))
                return;
        json_array_foreach (list, i, v) {
                buf_printf(b, "                 %s: ", json_get_string(v, "path", "?"));
                value_put(b, json_object_get(v, "from"));
                BUF_LIT(b, " -> ");
                value_put(b, json_object_get(v, "to"));
                if (json_object_get(v, "how"))
                        buf_printf(b, "  (%s)", json_get_string(v, "how", ""));
                buf_putc(b, '\n');
        }
}

static void waits_put(struct buf *b, const char *waits)
{
        _cleanup_(cleanup_json_decref) json_t *list = NULL;
        const json_t *v;
        size_t i;

        if (json_parse(waits, strlen(waits), &list, NULL))
                return;
        json_array_foreach (list, i, v)
                buf_printf(b, "                 waits until %s on %s\n", json_get_string(v, "until", "?"),
                           json_get_string(v, "on", "?"));
}

struct show {
        const struct plan *plan;
        uint32_t *levels;
        uint32_t n_levels;
        uint32_t *first, *next; /* tasks by operation, as lists */
        uint32_t *pairs_first, *pairs; /* the operations that an operation waits for */
        int width, lane_width;
};

static void task_put(const struct show *s, struct buf *b, uint32_t i)
{
        const struct plan *p = s->plan;
        const struct plan_task *t = &p->tasks[i];
        size_t start = b->n;

        buf_printf(b, "  step %-4u %c %-*s  %-*s", s->levels[i], signs[t->verb], s->width,
                   t->resource, s->lane_width, p->lanes[t->lane].plugin);
        if (t->implied)
                buf_printf(b, "  implied: %s", t->reason ? t->reason : "");
        if (t->verb == PLAN_UPDATE && t->impact == PLAN_RESTART)
                BUF_LIT(b, "  needs a restart");
        if (t->irreversible)
                BUF_LIT(b, "  cannot be undone");
        else if (t->takes)
                buf_printf(b, "  takes along: %s", t->takes);
        while (b->n > start && b->data[b->n - 1] == ' ')
                b->n--;
        buf_putc(b, '\n');
        if (t->difference)
                difference_put(b, t->difference);
        if (t->waits)
                waits_put(b, t->waits);
}

static void operation_put(const struct show *s, struct buf *b, uint32_t i)
{
        static const char *const types[] = {"create", "update", "delete", "check"};
        static const char *const targets[] = {"servers", "taskservs", "clusters"};
        const struct plan_operation *o = &s->plan->operations[i];
        uint32_t n = 0, hidden = 0;

        buf_printf(b, "\n%s", o->id);
        if (o->implied)
                BUF_LIT(b, "  what providers need before servers");
        else if (streq(o->id, "(prune)"))
                BUF_LIT(b, "  what is no longer defined");
        else if (!streq(s->plan->type, "destroy"))
                buf_printf(b, "  %s %s", types[o->type], targets[o->target]);
        for (uint32_t j = s->pairs_first[i]; j < s->pairs_first[i + 1]; j++)
                buf_printf(b, "%s%s", j == s->pairs_first[i] ? ", after " : ", ",
                           s->plan->operations[s->pairs[j]].id);
        buf_putc(b, '\n');
        for (uint32_t t = s->first[i]; t != NONE; t = s->next[t]) {
                if (n++ < MAX_LINES)
                        task_put(s, b, t);
                else
                        hidden++;
        }
        if (hidden)
                buf_printf(b, "  ... and %u more tasks (--format json shows all)\n", hidden);
        if (!n)
                BUF_LIT(b, "  nothing to do\n");
}

static int show_pairs(struct show *s)
{
        const struct plan *p = s->plan;
        uint32_t(*pairs)[2] = NULL, n, *next;
        int r = plan_operation_edges(p, &pairs, &n);

        if (r)
                return error_fold(r);
        s->pairs_first = calloc((size_t)p->n_operations + 2, sizeof(*s->pairs_first));
        s->pairs = calloc((size_t)n + 1, sizeof(*s->pairs));
        next = calloc((size_t)p->n_operations + 2, sizeof(*next));
        if (s->pairs_first && s->pairs && next) {
                for (uint32_t i = 0; i < n; i++)
                        s->pairs_first[pairs[i][1] + 1]++;
                for (uint32_t i = 0; i < p->n_operations; i++)
                        s->pairs_first[i + 1] += s->pairs_first[i];
                memcpy(next, s->pairs_first, ((size_t)p->n_operations + 1) * sizeof(*next));
                for (uint32_t i = 0; i < n; i++)
                        s->pairs[next[pairs[i][1]]++] = pairs[i][0];
        } else {
                r = error_origin(-ENOMEM);
        }
        free(pairs);
        free(next);
        return r;
}

static int show_init(struct show *s, const struct plan *p)
{
        uint32_t last = p->n_tasks;

        s->plan = p;
        s->levels = plan_levels(p, &s->n_levels);
        s->first = malloc(((size_t)p->n_operations + 1) * sizeof(*s->first));
        s->next = malloc(((size_t)p->n_tasks + 1) * sizeof(*s->next));
        if (!s->levels || !s->first || !s->next)
                return error_origin(-ENOMEM);
        memset(s->first, 0xff, ((size_t)p->n_operations + 1) * sizeof(*s->first));
        while (last-- > 0) {
                const struct plan_task *t = &p->tasks[last];

                if (t->verb == PLAN_JOIN)
                        continue;
                s->next[last] = s->first[t->operation];
                s->first[t->operation] = last;
                s->width = MIN(MAX(s->width, (int)strlen(t->resource)), 50);
        }
        for (uint32_t i = 0; i < p->n_lanes; i++)
                s->lane_width = MIN(MAX(s->lane_width, (int)strlen(p->lanes[i].plugin)), 30);
        return error_fold(show_pairs(s));
}

static void show_deinit(struct show *s)
{
        free(s->levels);
        free(s->first);
        free(s->next);
        free(s->pairs_first);
        free(s->pairs);
}

static void duration_put(struct buf *b, double seconds)
{
        if (seconds < 120)
                buf_printf(b, "%.0f s", seconds);
        else if (seconds < 7200)
                buf_printf(b, "%.0f min", seconds / 60);
        else
                buf_printf(b, "%.1f h", seconds / 3600);
}

/* What isolated plugins may reach; those inside the engine are not held by anything. */
static void isolated_put(const struct plan *p, struct buf *b)
{
        bool any = false;

        for (uint32_t i = 0; i < p->n_lanes; i++) {
                if (!p->lanes[i].may)
                        continue;
                if (!any)
                        BUF_LIT(b, "\nplugins\n");
                any = true;
                buf_printf(b, "  %s %s isolated: %s\n", p->lanes[i].plugin, p->lanes[i].version, p->lanes[i].may);
        }
}

static int forecast_put(const struct plan *p, struct buf *b)
{
        _cleanup_(cleanup_free) struct forecast *lanes = NULL;
        double seconds;
        int r = plan_forecast(p, &lanes, &seconds);

        if (r)
                return error_fold(r);
        BUF_LIT(b, "\nforecast\n");
        for (uint32_t i = 0; i < p->n_lanes; i++) {
                buf_printf(b, "  %-30s at least %llu call%s", p->lanes[i].plugin,
                           (unsigned long long)lanes[i].calls, lanes[i].calls == 1 ? "" : "s");
                if (p->lanes[i].batch_size)
                        buf_printf(b, ", %u at once", p->lanes[i].batch_size);
                if (p->lanes[i].rate_limit) {
                        buf_printf(b, ", %u a second: not before ", p->lanes[i].rate_limit);
                        duration_put(b, lanes[i].seconds);
                }
                buf_putc(b, '\n');
        }
        return 0;
}

/* From which step on there is no way back, and what cannot be undone, by name. */
static void irreversible_put(const struct show *s, struct buf *b)
{
        uint32_t first = plan_point_of_no_return(s->plan, s->levels), n = 0;
        const struct plan_task *t;

        if (first == NONE)
                return;
        t = &s->plan->tasks[first];
        buf_printf(b, "\npoint of no return: step %u, %s %s\ncannot be undone:", s->levels[first],
                   plan_verb_name(t->verb), t->resource);
        for (uint32_t i = 0; i < s->plan->n_tasks; i++) {
                t = &s->plan->tasks[i];
                if (t->irreversible && n++ < MAX_NAMES)
                        buf_printf(b, "%s %s", n > 1 ? "," : "", t->resource);
                for (const char *p = t->takes ? t->takes : ""; *p;
                     p += strcspn(p, " "), p += *p == ' ')
                        if (n++ < MAX_NAMES)
                                buf_printf(b, "%s %.*s", n > 1 ? "," : "", (int)strcspn(p, " "), p);
        }
        if (n > MAX_NAMES)
                buf_printf(b, " and %u more", n - MAX_NAMES);
        buf_putc(b, '\n');
}

int plan_text(const struct plan *p, struct buf *b)
{
        uint32_t n[PLAN_JOIN + 1] = {0}, tasks, implied = 0;
        struct show s = {0};
        int r = show_init(&s, p);

        for (uint32_t i = 0; i < p->n_tasks; i++) {
                n[p->tasks[i].verb]++;
                implied += p->tasks[i].implied;
        }
        tasks = p->n_tasks - n[PLAN_JOIN];
        if (!r) {
                buf_printf(b, "workflow %s (%s): %u task%s in %u operation%s, %u step%s\n", p->name,
                           p->type, tasks, tasks == 1 ? "" : "s", p->n_operations,
                           p->n_operations == 1 ? "" : "s", s.n_levels,
                           s.n_levels == 1 ? "" : "s");
                for (uint32_t i = 0; i < p->n_operations; i++)
                        operation_put(&s, b, i);
                buf_printf(b, "\n+ %u to create, ~ %u to update, - %u to delete, ? %u to check; "
                           "%u implied\n", n[PLAN_CREATE], n[PLAN_UPDATE], n[PLAN_DELETE],
                           n[PLAN_CHECK], implied);
                irreversible_put(&s, b);
                isolated_put(p, b);
                r = forecast_put(p, b);
                if (p->n_notices)
                        BUF_LIT(b, "\nnotices\n");
                for (uint32_t i = 0; i < p->n_notices; i++)
                        buf_printf(b, "  %s\n", p->notices[i]);
        }
        show_deinit(&s);
        return error_fold(r ? r : buf_error(b));
}
