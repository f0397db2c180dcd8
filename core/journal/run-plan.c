/* SPDX-License-Identifier: Apache-2.0 */
/* The fold of a run's plan: lanes, operations, tasks, and the graph that they make. */
#include "journal/fold.h"

#include <sys/mman.h>

#define HUGE_PAGE (2u << 20)

static const char *const verbs[] = {"create", "update", "delete", "check", "join"};
static const char *const targets[] = {"server", "taskserv", "cluster"};
static const char *const failures[] = {"fail", "continue", "rollback"};

int run_add_bytes(struct run *run, const void *data, size_t n)
{
        size_t need = run->n_text + n;

        if (need >= UINT32_MAX)
                return error_origin(-E2BIG);
        if (need >= run->cap_text) { /* one more, for a NUL */
                size_t cap = MAX(run->cap_text + run->cap_text / 2, MAX(need + 1, (size_t)4096));
                char *text = realloc(run->text, cap);

                if (!text)
                        return error_origin(-ENOMEM);
                run->text = text;
                run->cap_text = cap;
        }
        if (n)
                memcpy(run->text + run->n_text, data, n);
        run->n_text = need;
        return 0;
}

int run_add_text(struct run *run, struct span s, uint32_t *ret_offset)
{
        size_t at = run->n_text;
        int q = run_add_bytes(run, s.p, s.n);

        q = q ?: run_add_bytes(run, "", 1);
        if (q)
                return error_fold(q);
        if (ret_offset)
                *ret_offset = (uint32_t)at;
        return 0;
}

static int find_name(const char *const *names, size_t n_names, struct span name, uint8_t *ret)
{
        for (size_t i = 0; i < n_names; i++)
                if (span_eq(name, names[i])) {
                        *ret = (uint8_t)i;
                        return 0;
                }
        return error_origin(-EBADMSG);
}

static int apply_run(struct run *run, const struct record *r)
{
        /* Claims point to the name and the id that the site stream gave. */
        if (run->name && (!span_eq(r->name, run->name) ||
                          memcmp(&run->id, &r->run, sizeof(run->id)) != 0))
                return error_origin(-EBADMSG);
        run->id = r->run;
        uid_text(&r->run, run->id_text);
        run->max_attempts = r->max_attempts;
        run->initial_delay_s = r->initial_delay;
        run->max_delay_s = r->max_delay;
        run->strategy.enabled = r->rollback != 0;
        run->strategy.on_partial = r->on_partial != 0;
        run->strategy.preserve = r->preserve != 0;
        run->strategy.interval = r->interval;
        run->snapshot_every_s = r->snapshot_every;
        run->halted_by = TASK_NONE;
        run->next_claim = run->claims;
        /* What the site's stream says too stays as that says it: it is all that is known later. */
        if ((!run->name && set_string(&run->name, r->name)) ||
            (!run->kind && set_string(&run->kind, r->kind)) ||
            (!run->who && set_string(&run->who, r->who)) || set_string(&run->type, r->kind) ||
            set_string(&run->folder, r->folder) ||
            set_string(&run->file, r->file) || set_string(&run->backoff, r->backoff) ||
            set_string(&run->logging, r->logging) || set_string(&run->options, r->options) ||
            set_string(&run->notices, r->notices))
                return error_origin(-ENOMEM);
        return 0;
}

static int apply_lane(struct run *run, const struct record *r)
{
        struct lane lane = {.batch_size = r->batch_size, .rate_limit = r->rate_limit};

        if (run->n_lanes == UINT16_MAX - 1)
                return error_origin(-EBADMSG);
        if (GROW(run->lanes, run->n_lanes, run->cap_lanes) || set_string(&lane.plugin, r->plugin))
                return error_origin(-ENOMEM);
        run->lanes[run->n_lanes++] = lane;
        return 0;
}

static int apply_operation(struct run *run, const struct record *r)
{
        struct operation o = {.timeout_s = r->timeout, .implied = r->implied};
        int q;

        q = find_name(verbs, N_ELEMENTS(verbs), r->verb, &o.verb);
        q = q ?: find_name(targets, N_ELEMENTS(targets), r->target, &o.target);
        q = q ?: find_name(failures, N_ELEMENTS(failures), r->on_failure, &o.on_failure);
        q = q ?: run_add_text(run, r->id, &o.text);
        q = q ?: GROW(run->operations, run->n_operations, run->cap_operations);
        if (q)
                return error_fold(q);
        run->operations[run->n_operations++] = o;
        return 0;
}

/* Reads "[1,2,3]" behind the number of its elements into run->deps. */
static int add_deps(struct run *run, struct span deps, uint32_t soft, uint32_t *ret_n)
{
        uint32_t n = 0;

        for (size_t i = 1; i < deps.n;) {
                uint64_t v = 0;
                size_t from = i;

                for (; i < deps.n && deps.p[i] >= '0' && deps.p[i] <= '9' && v <= UINT32_MAX; i++)
                        v = v * 10 + (uint64_t)(deps.p[i] - '0');
                if (i == from || v >= run->n_tasks || v >= SOFT) /* topological order */
                        return error_origin(-EBADMSG);
                if (GROW(run->deps, run->n_deps, run->cap_deps))
                        return error_origin(-ENOMEM);
                run->deps[run->n_deps++] = (uint32_t)v;
                n++;
                i++; /* comma or bracket */
        }
        if (soft > n)
                return error_origin(-EBADMSG);
        for (uint32_t i = 0; i < soft; i++)
                run->deps[run->n_deps - 1 - i] |= SOFT;
        *ret_n = n;
        return 0;
}

/* The task's resource, if it is the next one that the run claims: it need not be searched for then. */
static struct resource *next_claim(struct run *run, struct span key)
{
        struct resource *r = run->next_claim;

        if (!r || !key.n || strncmp(r->key, key.p, key.n) != 0 || r->key[key.n])
                return NULL;
        run->next_claim = r->next_claim;
        return r;
}

static int apply_task(struct run *run, const struct record *r)
{
        struct task t = {
                .n_id = (uint16_t)r->id.n,
                .n_key = (uint16_t)r->key.n,
                .n_doc = (uint32_t)r->doc.n,
                .operation = r->operation,
                .lane = (uint16_t)r->lane,
                .implied = r->implied != 0,
                .irreversible = r->irreversible != 0,
                .has_waits = r->waits.n != 0,
        };
        struct doc_part part;
        int q;

        q = find_name(verbs, N_ELEMENTS(verbs), r->verb, &t.verb);
        if (q == 0 && (r->operation >= run->n_operations || r->id.n > UINT16_MAX ||
                       r->key.n > UINT16_MAX || (t.verb != VERB_JOIN && r->lane >= run->n_lanes)))
                q = error_origin(-EBADMSG);
        if (t.verb == VERB_JOIN)
                t.lane = UINT16_MAX;
        q = q ?: add_deps(run, r->deps, r->soft, &t.n_deps);
        q = q ?: doc_split(run, r->key, r->doc, &part);
        q = q ?: run_add_text(run, r->id, &t.text);
        q = q ?: run_add_text(run, r->key, NULL);
        q = q ?: run_add_text(run, r->uses, NULL);
        if (r->waits.n)
                q = q ?: run_add_text(run, r->waits, NULL);
        q = q ?: doc_add(run, &part);
        q = q ?: GROW(run->tasks, run->n_tasks, run->cap_tasks);
        if (q)
                return error_fold(q);
        t.whole = part.whole;
        t.resource = next_claim(run, r->key);
        run->tasks[run->n_tasks++] = t;
        if (!task_is_join(&t)) {
                run->operations[t.operation].n_tasks++;
                run->n_by_status[TASK_WAITING]++;
        }
        return 0;
}

/* Tasks are reached in the order of the graph: in small pages, looking up where one is would take longer than
 * what is done there. */
static void ask_for_huge_pages(void *memory, size_t n)
{
        uintptr_t from = ((uintptr_t)memory + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1);
        uintptr_t end = ((uintptr_t)memory + n) & ~(uintptr_t)(HUGE_PAGE - 1);

        if (from < end)
                (void)madvise((void *)from, end - from, MADV_HUGEPAGE); /* a mere hint */
}

/* The tasks, in memory that begins a cache line with each. */
static int align_tasks(struct run *run)
{
        size_t n = MAX(run->n_tasks, 1u) * sizeof(struct task);
        struct task *tasks = aligned_alloc(64, n);

        if (!tasks)
                return error_origin(-ENOMEM);
        ask_for_huge_pages(tasks, n);
        if (run->n_tasks)
                memcpy(tasks, run->tasks, run->n_tasks * sizeof(*tasks));
        free(run->tasks);
        run->tasks = tasks;
        run->cap_tasks = MAX(run->n_tasks, 1u);
        return 0;
}

/* Turns "what each task depends on" into "what depends on each task", both in order. */
static int build_next(struct run *run)
{
        uint32_t *first, at = 0;

        run->next = malloc(MAX(run->n_deps, 1u) * sizeof(*run->next));
        run->unmet = malloc(MAX(run->n_tasks, 1u) * sizeof(*run->unmet));
        run->first_next = first = calloc(run->n_tasks + (size_t)1, sizeof(*first));
        if (!run->next || !run->unmet || !first || align_tasks(run))
                return error_origin(-ENOMEM);
        for (uint32_t i = 0; i < run->n_deps; i++)
                first[run->deps[i] & ~SOFT]++;
        for (uint32_t i = 0, sum = 0; i <= run->n_tasks; i++) {
                uint32_t n = first[i];

                first[i] = sum;
                sum += n;
        }
        /* Filling moves each start to its end, which is the start of the one behind. */
        for (uint32_t i = 0; i < run->n_tasks; i++) {
                run->unmet[i] = run->tasks[i].n_deps;
                for (uint32_t k = 0; k < run->tasks[i].n_deps; k++, at++)
                        run->next[first[run->deps[at] & ~SOFT]++] = i | (run->deps[at] & SOFT);
        }
        memmove(first + 1, first, run->n_tasks * sizeof(*first));
        first[0] = 0;
        free(steal(&run->deps));
        run->cap_deps = 0;
        return 0;
}

static int apply_planned(struct run *run, const struct record *r)
{
        int q;

        if (run->planned || r->n_tasks != run->n_tasks || r->n_deps != run->n_deps)
                return error_origin(-EBADMSG);
        q = build_next(run);
        if (q)
                return error_fold(q);
        if (run->n_text) {
                char *text = realloc(run->text, run->n_text);

                run->text = text ?: run->text;
                run->cap_text = run->n_text;
        }
        if (run->n_operations) {
                struct operation *o = realloc(run->operations, run->n_operations * sizeof(*o));

                run->operations = o ?: run->operations;
                run->cap_operations = run->n_operations;
        }
        run->planned = true;
        if (run->replaced)
                return carry_over(run);
        run->status = RUN_RUNNING;
        run->started_ms = r->at;
        run->unsettled = run->n_tasks;
        run->n_drift = 0; /* the tasks count theirs, which the site stream may have told already */
        return start_ready(run);
}

int find_verb(struct span name, uint8_t *ret)
{
        return find_name(verbs, N_ELEMENTS(verbs), name, ret);
}

int apply_to_plan(struct run *run, const struct record *r)
{
        if (run->planned)
                return error_origin(-EBADMSG);
        switch ((unsigned)r->type) {
        case RECORD_RUN:
                return apply_run(run, r);
        case RECORD_LANE:
                return apply_lane(run, r);
        case RECORD_OPERATION:
                return apply_operation(run, r);
        case RECORD_TASK:
                return apply_task(run, r);
        case RECORD_PLANNED:
                return apply_planned(run, r);
        default:
                return 0;
        }
}
