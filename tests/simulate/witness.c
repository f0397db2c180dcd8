/* SPDX-License-Identifier: Apache-2.0 */
/* The model of the witness, and the rules that records must keep. What calls must keep: rules.c. */
#include "simulate/witness-inside.h"

struct witness *witness_new(void)
{
        return calloc(1, sizeof(struct witness));
}

void w_task_free(struct witness_task *t)
{
        free(t->id);
        free(t->key);
        free(t->deps);
        free(t->took);
        free(t);
}

void w_plan_forget(struct w_run *run)
{
        for (uint32_t i = 0; i < run->n_operations; i++)
                free(run->operation_ids[i]);
        free(steal(&run->tasks));
        free(steal(&run->lanes));
        free(steal(&run->operation_ids));
        free(steal(&run->operations));
        strmap_deinit(&run->by_id);
        run->n_tasks = run->n_lanes = run->n_operations = 0;
}

static void run_forget(struct w_run *run)
{
        for (uint32_t i = 0; i < run->n_tasks; i++) { /* of a run that was never accepted */
                w_leaves(run->tasks[i], NULL);
                w_status(run->tasks[i], W_WAITING);
                if (run->tasks[i]->request)
                        run->tasks[i]->request->task = NULL;
        }
        for (uint32_t i = 0; i < run->n_tasks; i++)
                w_task_free(run->tasks[i]);
        w_plan_forget(run);
        buf_deinit(&run->definition);
        for (uint32_t i = 0; i < run->n_replaced; i++)
                w_task_free(run->replaced[i]);
        free(run->replaced);
        for (uint32_t i = 0; i < run->n_dropped; i++)
                free(run->dropped_ids[i]);
        free(run->dropped_ids);
        strmap_deinit(&run->dropped);
        free(run);
}

struct witness *witness_free(struct witness *w)
{
        if (!w)
                return NULL;
        for (uint32_t i = 0; i < w->n_runs; i++)
                run_forget(w->runs[i]);
        strmap_foreach (e, &w->requests) {
                struct w_request *q = e->value.pointer;

                buf_deinit(&q->text);
                free(q->token);
                free(q);
        }
        strmap_deinit(&w->requests);
        strmap_foreach (e, &w->owned) {
                struct w_resource *r = e->value.pointer;

                free(r->key);
                free(r);
        }
        strmap_deinit(&w->owned);
        record_scratch_deinit(&w->scratch);
        free(w->runs);
        free(w);
        return NULL;
}

/* Runs */

struct w_run *w_run_find(const char *id)
{
        for (uint32_t i = sim->witness->n_runs; i-- > 0;)
                if (streq(sim->witness->runs[i]->id, id))
                        return sim->witness->runs[i];
        return NULL;
}

static struct w_run *run_get(const char *id)
{
        struct witness *w = sim->witness;
        struct w_run *run = w_run_find(id);

        if (run)
                return run;
        run = calloc(1, sizeof(*run));
        snprintf(run->id, sizeof(run->id), "%s", id);
        w->runs = realloc(w->runs, (w->n_runs + 1) * sizeof(struct w_run *));
        w->runs[w->n_runs++] = run;
        return run;
}

static struct w_lane *lane_get(struct span plugin, uint32_t batch_size, uint32_t rate_limit)
{
        struct witness *w = sim->witness;
        struct w_lane *l;

        for (l = w->lanes; l < w->lanes + w->n_lanes; l++)
                if (span_eq(plugin, l->name))
                        break;
        if (l == w->lanes + w->n_lanes) {
                assert(w->n_lanes < N_ELEMENTS(w->lanes));
                snprintf(l->name, sizeof(l->name), "%.*s", (int)plugin.n, plugin.p);
                w->n_lanes++;
        }
        l->batch_size = batch_size;
        l->rate_limit = rate_limit;
        return l;
}

static void add_lane(struct w_run *run, const struct record *r)
{
        run->lanes = realloc(run->lanes, (run->n_lanes + 1) * sizeof(struct w_lane *));
        run->lanes[run->n_lanes++] = lane_get(r->plugin, r->batch_size, r->rate_limit);
}

static void add_operation(struct w_run *run, const struct record *r)
{
        run->operations = realloc(run->operations, run->n_operations + 1);
        run->operation_ids = realloc(run->operation_ids, (run->n_operations + 1) * sizeof(char *));
        run->operation_ids[run->n_operations] = strndup(r->id.p, r->id.n);
        run->operations[run->n_operations++] = r->on_failure.p[0];
}

static void add_task(struct w_run *run, const struct record *r)
{
        static const char *const verbs[] = {"create", "update", "delete", "check", "join"};
        struct witness_task *t = calloc(1, sizeof(*t));
        const char *p = r->deps.p, *end = r->deps.p + r->deps.n;

        t->run = run;
        t->number = run->n_tasks;
        t->id = strndup(r->id.p, r->id.n);
        t->key = strndup(r->key.n ? r->key.p : "", r->key.n);
        t->operation = r->operation;
        while (!span_eq(r->verb, verbs[t->verb]))
                t->verb++;
        t->lane = t->verb == W_JOIN ? NULL : run->lanes[r->lane];
        while (p && ++p < end) { /* behind the bracket or a comma */
                char *next;
                uint32_t dep = (uint32_t)strtoul(p, &next, 10);

                if ((t->n_deps & (t->n_deps - 1)) == 0)
                        t->deps = realloc(t->deps, MAX(t->n_deps * 2, 1u) * sizeof(*t->deps));
                t->deps[t->n_deps++] = dep;
                p = next;
        }
        t->waits = r->waits.n > 0;
        t->n_hard = t->n_deps - r->soft;
        if ((run->n_tasks & (run->n_tasks - 1)) == 0)
                run->tasks = realloc(run->tasks, MAX(run->n_tasks * 2, 1u) * sizeof(struct witness_task *));
        run->tasks[run->n_tasks++] = t;
        strmap_add(&run->by_id, t->id, strlen(t->id))->value.pointer = t;
}

/* Dependencies */

bool w_is_join(const struct witness_task *t)
{
        return t->verb == W_JOIN;
}

/* Ended, or will never start because of what it depends on. */
bool w_ended(struct witness_task *t)
{
        bool blocked = false;

        if (t->status >= W_DONE || t->settled)
                return true;
        if (t->status != W_WAITING)
                return false;
        for (uint32_t i = 0; i < t->n_deps; i++) {
                struct witness_task *dep = t->run->tasks[t->deps[i]];

                if (!w_ended(dep))
                        return false;
                blocked |= i < t->n_hard && !w_good(dep);
        }
        t->settled = blocked || w_is_join(t);
        t->blocked = blocked;
        return t->settled;
}

bool w_good(struct witness_task *t)
{
        return w_is_join(t) ? w_ended(t) && t->status != W_SKIPPED && !t->blocked : t->status == W_DONE;
}

void w_check_start(struct witness_task *t, const char *what)
{
        for (uint32_t i = 0; i < t->n_deps; i++) {
                struct witness_task *dep = t->run->tasks[t->deps[i]];

                if (!w_ended(dep) || (i < t->n_hard && !w_good(dep)))
                        violated("dependencies", "%s of %s, which depends on %s: that %s", what, t->id,
                                 dep->id, w_ended(dep) ? "did not succeed" : "has not ended");
        }
}

/* Limits */

void w_occupy(struct witness_task *t)
{
        bool looks = t->made && t->request == t->made; /* for a surplus */
        bool active = t->n_calls > t->n_questions ||
                      (t->begun && !looks && t->status > W_WAITING && t->status < W_PARKED);

        if (!t->lane || active == t->occupies)
                return;
        t->occupies = active;
        t->lane->occupied += active ? 1u : -1u;
}

void w_status(struct witness_task *t, enum w_status status)
{
        t->status = status;
        w_occupy(t);
}

void witness_committed(void)
{
        for (uint32_t i = 0; i < sim->witness->n_lanes; i++) {
                const struct w_lane *l = &sim->witness->lanes[i];

                if (l->batch_size && l->occupied > l->batch_size)
                        violated("batch-size", "%u tasks of %s run at once; its batch_size is %u",
                                 l->occupied, l->name, l->batch_size);
        }
}

bool w_operation_is(const struct w_run *run, uint32_t operation, const char *id)
{
        return streq(run->operation_ids[operation], id);
}

/* Requests */

struct w_request *w_request_find(const char *op_id)
{
        return strmap_get(&sim->witness->requests, op_id);
}

void w_intent(struct witness_task *t, const struct record *r, enum w_role role)
{
        struct w_request *q = calloc(1, sizeof(*q));

        uid_text(&r->op_id, q->id);
        if (w_request_find(q->id))
                violated("op-id-reused", "op %s of %s", q->id, t->id);
        q->task = t;
        q->role = role;
        q->attempt = 1;
        q->fate = FATE_OPEN;
        buf_append(&q->text, r->request.p, r->request.n);
        strmap_add(&sim->witness->requests, q->id, UID_TEXT - 1)->value.pointer = q;
        t->request = q;
}

enum fate witness_fate(const char *op_id)
{
        const struct w_request *q = w_request_find(op_id);

        return q ? q->fate : FATE_UNKNOWN;
}

/* Lines */

static void site_record(const struct record *r)
{
        char id[UID_TEXT];

        if (r->type == RECORD_RESOURCE) {
                if (r->who.n)
                        w_adopted(r);
                return;
        }
        uid_text(&r->run, id);
        if (r->type == RECORD_ACCEPTED) {
                struct w_run *run = run_get(id);

                run->accepted = true;
                if (run->planned && !span_eq(r->store, run->store))
                        violated("store", "run %s is kept in store %s, and asked for %.*s", id, run->store,
                                 (int)r->store.n, r->store.p);
                w_claims(run, r->claims);
                if (!run->planned)
                        violated("accepted-unplanned", "run %s was accepted before its plan is durable",
                                 id);
        } else if (r->type == RECORD_ENDED) {
                run_get(id)->ended = true;
                run_get(id)->ended_at = r->at;
                w_releases(run_get(id));
                if (!run_get(id)->finished)
                        violated("end-too-early", "run %s ended in the site's stream only", id);
        } else if (r->type == RECORD_REOPENED) {
                run_get(id)->ended = false;
                w_claims(run_get(id), r->claims);
        } else if (r->type == RECORD_COMPACTED) {
                w_compacts(run_get(id), r);
        } else if (r->type == RECORD_CLAIM) {
                w_claims(run_get(id), r->claims);
        }
}

static uint32_t retention_in(struct span logging)
{
        static const char word[] = "\"retention_days\":";
        const char *p = memmem(logging.p, logging.n, word, sizeof(word) - 1);

        return p ? (uint32_t)strtoul(p + sizeof(word) - 1, NULL, 10) : 30;
}

static void plan_record(struct w_run *run, const struct record *r)
{
        switch ((unsigned)r->type) {
        case RECORD_RUN:
                snprintf(run->workflow, sizeof(run->workflow), "%.*s", (int)r->name.n, r->name.p);
                run->max_attempts = r->max_attempts;
                run->retention_days = retention_in(r->logging);
                run->strategy = r->rollback;
                run->on_partial = r->on_partial;
                run->preserve = r->preserve;
                break;
        case RECORD_DEFINITION:
                buf_clear(&run->definition);
                buf_append(&run->definition, r->definition.p, r->definition.n);
                break;
        case RECORD_LANE:
                add_lane(run, r);
                break;
        case RECORD_OPERATION:
                add_operation(run, r);
                break;
        case RECORD_TASK:
                w_check_replaced(run, r);
                add_task(run, r);
                break;
        case RECORD_PLANNED:
                run->planned = true;
                run->replaced ? w_replanned(run) : w_planned(run);
                buf_deinit(&run->definition);
                break;
        default:
                break;
        }
}

static void run_record(const char *store, const char *id, const struct record *r)
{
        struct w_run *run = run_get(id);

        run->n_records[r->type]++;
        run->last_seq = r->seq;
        if (run->store && !streq(run->store, store))
                violated("store", "run %s is kept in the stores %s and %s", id, run->store, store);
        run->store = store;
        if (run->compacted)
                violated("after-compaction", "run %s was compacted, and then: %s", id,
                         record_type_name(r->type));
        if (!run->planned) {
                plan_record(run, r);
                return;
        }
        if (run->finished && r->type != RECORD_RERUN && r->type != RECORD_ROLLBACK)
                violated("after-the-end", "run %s ended, and then: %s", id, record_type_name(r->type));
        w_rules(run, r);
}

void witness_lines(const char *store, const char *stream, const char *data, size_t n)
{
        const char *p = data, *end = data + n, *nl, *id = startswith(stream, "run-");
        struct record r;

        for (; p < end && !*sim->failure && (nl = memchr(p, '\n', (size_t)(end - p))); p = nl + 1) {
                if (id && startswith(p, "{\"seal\":"))
                        w_seal(run_get(id), p, (size_t)(nl - p));
                if (startswith(p, "{\"segment\":") || startswith(p, "{\"seal\":"))
                        continue;
                sim->n_steps++;
                if (record_read(p, (size_t)(nl - p), &sim->witness->scratch, &r, NULL))
                        violated("record", "stream %s: %.*s", stream, (int)(nl - p), p);
                else if (id)
                        run_record(store, id, &r);
                else if (streq(store, "sim"))
                        site_record(&r);
                else
                        violated("store", "store %s has a site stream", store);
                record_scratch_clear(&sim->witness->scratch);
        }
}

void witness_removed(const char *stream)
{
        const char *id = startswith(stream, "run-");
        struct w_run *run = id ? w_run_find(id) : NULL;

        if (!id || (run && run->accepted && !run->compacted))
                violated("removed", "stream %s was removed, although its run was accepted and no record stands "
                         "for it", stream);
        if (run && run->compacted)
                run->removed = true;
        if (!run || run->accepted)
                return;
        for (uint32_t i = 0; i < sim->witness->n_runs; i++)
                if (sim->witness->runs[i] == run)
                        sim->witness->runs[i] = sim->witness->runs[--sim->witness->n_runs];
        run_forget(run);
}

/* Questions */

bool witness_accepted(const char *id)
{
        const struct w_run *run = w_run_find(id);

        return run && run->accepted;
}

bool witness_cancelled(const char *id)
{
        const struct w_run *run = w_run_find(id);

        return run && run->cancelled;
}

bool witness_paused(const char *id)
{
        const struct w_run *run = w_run_find(id);

        return run && run->paused;
}

uint32_t witness_records(const char *id, enum record_type type)
{
        const struct w_run *run = w_run_find(id);

        return run ? run->n_records[type] : 0;
}

bool witness_ended(const char *id)
{
        const struct w_run *run = w_run_find(id);

        return run && run->ended;
}

bool witness_compacted(const char *id, bool *ret_removed)
{
        const struct w_run *run = w_run_find(id);

        *ret_removed = run && run->removed;
        return run && run->compacted;
}

bool witness_all_ended(void)
{
        for (uint32_t i = 0; i < sim->witness->n_runs; i++)
                if (sim->witness->runs[i]->accepted && !sim->witness->runs[i]->ended)
                        return false;
        return true;
}

void witness_count(uint32_t *ret_runs, uint32_t *ret_tasks)
{
        *ret_runs = *ret_tasks = 0;
        for (uint32_t i = 0; i < sim->witness->n_runs; i++) {
                *ret_runs += sim->witness->runs[i]->accepted;
                *ret_tasks += sim->witness->runs[i]->n_tasks;
        }
}

uint32_t witness_parked(struct parked *list, uint32_t n_list)
{
        uint32_t n = 0;

        for (uint32_t i = 0; i < sim->witness->n_runs; i++) {
                struct w_run *run = sim->witness->runs[i];

                for (uint32_t k = 0; run->n_parked && k < run->n_tasks && n < n_list; k++) {
                        struct witness_task *t = run->tasks[k];

                        if (t->status == W_PARKED)
                                list[n++] = (struct parked){.run = run->id, .task = t->id,
                                                            .op = cloud_find(t->request->id),
                                                            .calling = t->n_calls > 0,
                                                            .since = t->since};
                }
        }
        return n;
}
