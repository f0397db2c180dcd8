/* SPDX-License-Identifier: Apache-2.0 */
/* The fold of one run's stream: the plan first, then what happens to its tasks. */
#include "journal/state.h"

#include "base/json.h"
#include "journal/fold.h"
#include <prvng/abi.h>

enum { VERB_CREATE, VERB_UPDATE, VERB_DELETE, VERB_CHECK, VERB_JOIN }; /* as enum plan_verb */

static const char *const verbs[] = {"create", "update", "delete", "check", "join"};
static const char *const targets[] = {"server", "taskserv", "cluster"};
static const char *const failures[] = {"fail", "continue", "rollback"};

struct run *run_new(void)
{
        return calloc(1, sizeof(struct run));
}

static void free_attempt(struct task *t)
{
        if (t->attempt)
                free(t->attempt->token);
        free(steal(&t->attempt));
}

void run_unload(struct run *run)
{
        for (uint32_t i = 0; i < run->n_tasks; i++)
                free_attempt(&run->tasks[i]);
        for (uint32_t i = 0; i < run->n_lanes; i++) {
                free(run->lanes[i].plugin);
                free(run->lanes[i].ready);
        }
        for (uint32_t i = 0; i < run->n_notes; i++)
                free(run->notes[i].message);
        free(steal(&run->text));
        free(steal(&run->tasks));
        free(steal(&run->operations));
        free(steal(&run->lanes));
        free(steal(&run->deps));
        free(steal(&run->next));
        free(steal(&run->notes));
        run->n_text = run->cap_text = 0;
        run->n_tasks = run->cap_tasks = 0;
        run->n_operations = run->cap_operations = 0;
        run->n_lanes = run->cap_lanes = 0;
        run->n_deps = run->cap_deps = 0;
        run->n_notes = run->cap_notes = 0;
        run->unsettled = 0;
        run->seq = 0;
        run->planned = run->halted = run->cancelled = run->loaded = false;
        memset(run->n_by_status, 0, sizeof(run->n_by_status));
}

struct run *run_free(struct run *run)
{
        if (!run)
                return NULL;
        run_unload(run);
        free(run->name);
        free(run->kind);
        free(run->store);
        free(run->stream);
        free(run->who);
        free(run->folder);
        free(run->file);
        free(run->logging);
        free(run->options);
        free(run->notices);
        free(run->backoff);
        free(run);
        return NULL;
}

/* An edge of run->deps and run->next whose target needs only have ended, not succeeded. */
#define SOFT (UINT32_C(1) << 31)

/* Room for one more element in an array of the run. */
#define GROW(array, n, cap)                                                                        \
        ({                                                                                         \
                int q_ = 0;                                                                        \
                if ((n) == (cap)) {                                                                \
                        uint32_t c_ = (cap) ? (cap) * 2 : 16;                                      \
                        void *p_ = realloc((array), c_ * sizeof(*(array)));                        \
                        if (p_) {                                                                  \
                                (array) = p_;                                                      \
                                (cap) = c_;                                                        \
                        } else {                                                                   \
                                q_ = error_origin(-ENOMEM);                                        \
                        }                                                                          \
                }                                                                                  \
                q_;                                                                                \
        })

static int add_text(struct run *run, struct span s, uint32_t *ret_offset)
{
        size_t need = run->n_text + s.n + 1;

        if (need > UINT32_MAX)
                return error_origin(-E2BIG);
        if (need > run->cap_text) {
                size_t cap = MAX(run->cap_text + run->cap_text / 2, MAX(need, (size_t)4096));
                char *text = realloc(run->text, cap);

                if (!text)
                        return error_origin(-ENOMEM);
                run->text = text;
                run->cap_text = cap;
        }
        if (s.n)
                memcpy(run->text + run->n_text, s.p, s.n);
        run->text[run->n_text + s.n] = 0;
        if (ret_offset)
                *ret_offset = (uint32_t)run->n_text;
        run->n_text = need;
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

/* One note a task: the last one. Few tasks have one. */
static int note(struct run *run, const struct record *r)
{
        struct task *t = &run->tasks[r->task];
        char *message;

        message = strndup(r->message.n ? r->message.p : "", r->message.n);
        if (!message || (!t->note && GROW(run->notes, run->n_notes, run->cap_notes))) {
                free(message);
                return error_origin(-ENOMEM);
        }
        if (t->note)
                free(run->notes[t->note - 1].message);
        else
                t->note = ++run->n_notes;
        run->notes[t->note - 1] = (struct task_note){
                .answer = r->answer, .effect = r->effect, .message = message};
        return 0;
}

static void set_status(struct run *run, struct task *t, enum task_status status)
{
        if (!task_is_join(t)) {
                run->n_by_status[t->status]--;
                run->n_by_status[status]++;
        }
        t->status = status;
}

static int enqueue(struct run *run, uint32_t number)
{
        struct lane *lane = &run->lanes[run->tasks[number].lane];

        if (lane->next_ready > 4096 && lane->next_ready > lane->n_ready / 2) {
                lane->n_ready -= lane->next_ready;
                memmove(lane->ready, lane->ready + lane->next_ready,
                        lane->n_ready * sizeof(*lane->ready));
                lane->next_ready = 0;
        }
        if (GROW(lane->ready, lane->n_ready, lane->cap_ready))
                return error_origin(-ENOMEM);
        lane->ready[lane->n_ready++] = number;
        return 0;
}

/* The end of a task reaches those that depend on it. Works on a list instead of recursing: chains of
 * joins and of skipped tasks may be as long as the plan. Each edge is looked at once (promise 7). */
static int settle(struct run *run, uint32_t number)
{
        uint32_t small[64], *list = small, n = 0, cap = N_ELEMENTS(small);
        int r = 0;

        list[n++] = number;
        while (n > 0 && r == 0) {
                struct task *t = &run->tasks[list[--n]];
                bool good = t->status == TASK_SUCCEEDED || t->status == TASK_UNCHANGED;
                uint32_t end = (t + 1)->first_next;

                assert(run->unsettled > 0 && task_status_ended(t->status));
                run->unsettled--;
                if (!task_is_join(t)) {
                        run->operations[t->operation].n_ended++;
                        run->operations[t->operation].n_failed += t->status == TASK_FAILED;
                }
                for (uint32_t i = t->first_next; i < end && r == 0; i++) {
                        uint32_t k = run->next[i] & ~SOFT;
                        struct task *next = &run->tasks[k];

                        assert(next->n_unmet > 0);
                        next->blocked |= !good && !(run->next[i] & SOFT);
                        if (--next->n_unmet > 0 || next->status != TASK_WAITING)
                                continue;
                        if (!next->blocked && !task_is_join(next)) {
                                set_status(run, next, TASK_READY);
                                r = enqueue(run, k);
                                continue;
                        }
                        set_status(run, next, next->blocked ? TASK_SKIPPED : TASK_SUCCEEDED);
                        if (n == cap) {
                                uint32_t *bigger = malloc(2 * cap * sizeof(*list));

                                if (!bigger) {
                                        r = error_origin(-ENOMEM);
                                        break;
                                }
                                memcpy(bigger, list, n * sizeof(*list));
                                if (list != small)
                                        free(list);
                                list = bigger;
                                cap *= 2;
                        }
                        list[n++] = k;
                }
        }
        if (list != small)
                free(list);
        return r;
}

/* The plan */

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
        if ((!run->name && set_string(&run->name, r->name)) || set_string(&run->kind, r->kind) ||
            set_string(&run->who, r->who) || set_string(&run->folder, r->folder) ||
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
        q = q ?: add_text(run, r->id, &o.text);
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
        int q;

        q = find_name(verbs, N_ELEMENTS(verbs), r->verb, &t.verb);
        if (q == 0 && (r->operation >= run->n_operations || r->id.n > UINT16_MAX ||
                       r->key.n > UINT16_MAX || (t.verb != VERB_JOIN && r->lane >= run->n_lanes)))
                q = error_origin(-EBADMSG);
        if (t.verb == VERB_JOIN)
                t.lane = UINT16_MAX;
        q = q ?: add_deps(run, r->deps, r->soft, &t.n_unmet);
        q = q ?: add_text(run, r->id, &t.text);
        q = q ?: add_text(run, r->key, NULL);
        q = q ?: add_text(run, r->doc, NULL);
        q = q ?: add_text(run, r->uses, NULL);
        if (r->waits.n)
                q = q ?: add_text(run, r->waits, NULL);
        q = q ?: GROW(run->tasks, run->n_tasks, run->cap_tasks);
        if (q)
                return error_fold(q);
        run->tasks[run->n_tasks++] = t;
        if (!task_is_join(&t)) {
                run->operations[t.operation].n_tasks++;
                run->n_by_status[TASK_WAITING]++;
        }
        return 0;
}

/* Turns "what each task depends on" into "what depends on each task", both in order. One task more
 * than there are ends the last list. */
static int build_next(struct run *run)
{
        uint32_t sum = 0, at = 0;
        struct task *tasks;

        tasks = realloc(run->tasks, (run->n_tasks + (size_t)1) * sizeof(*tasks));
        run->next = malloc(MAX(run->n_deps, 1u) * sizeof(*run->next));
        if (tasks)
                run->tasks = tasks;
        if (!tasks || !run->next)
                return error_origin(-ENOMEM);
        run->cap_tasks = run->n_tasks + 1;
        tasks[run->n_tasks] = (struct task){0};
        for (uint32_t i = 0; i < run->n_deps; i++)
                tasks[run->deps[i] & ~SOFT].first_next++;
        for (uint32_t i = 0; i <= run->n_tasks; i++) {
                uint32_t n = tasks[i].first_next;

                tasks[i].first_next = sum;
                sum += n;
        }
        /* Filling moves each start to its end, which is the start of the one behind. */
        for (uint32_t i = 0; i < run->n_tasks; i++)
                for (uint32_t k = 0; k < tasks[i].n_unmet; k++, at++)
                        run->next[tasks[run->deps[at] & ~SOFT].first_next++] =
                                i | (run->deps[at] & SOFT);
        for (uint32_t i = run->n_tasks; i > 0; i--)
                tasks[i].first_next = tasks[i - 1].first_next;
        tasks[0].first_next = 0;
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
        run->planned = true;
        run->status = RUN_RUNNING;
        run->started_ms = r->at;
        run->unsettled = run->n_tasks;
        for (uint32_t i = 0; i < run->n_tasks && q == 0; i++) {
                struct task *t = &run->tasks[i];

                if (t->n_unmet || t->status != TASK_WAITING)
                        continue;
                if (task_is_join(t)) {
                        set_status(run, t, TASK_SUCCEEDED);
                        q = settle(run, i);
                } else {
                        set_status(run, t, TASK_READY);
                        q = enqueue(run, i);
                }
        }
        return q;
}

/* What happens */

static struct task *task_of(struct run *run, const struct record *r)
{
        return run->planned && r->task < run->n_tasks ? &run->tasks[r->task] : NULL;
}

static uint32_t since_start(const struct run *run, int64_t at)
{
        return (uint32_t)MAX((at - run->started_ms) / 1000, (int64_t)0) + 1;
}

static int apply_intent(struct run *run, struct task *t, const struct record *r)
{
        struct attempt *a;

        if (t->attempt || task_is_join(t) || task_status_ended(t->status))
                return error_origin(-EBADMSG);
        a = malloc(sizeof(*a) + r->request.n + 1);
        if (!a)
                return error_origin(-ENOMEM);
        *a = (struct attempt){.op_id = r->op_id,
                              .number = 1,
                              .effect = PRVNG_EFFECT_UNKNOWN,
                              .started_ms = r->at,
                              .n_request = r->request.n};
        memcpy(a->request, r->request.n ? r->request.p : "", r->request.n);
        a->request[r->request.n] = 0;
        t->attempt = a;
        t->started_s = since_start(run, r->at);
        set_status(run, t, TASK_RUNNING);
        return 0;
}

static int apply_begin(struct run *run, struct task *t, const struct record *r)
{
        if (!t->attempt || r->attempt < t->attempt->number)
                return error_origin(-EBADMSG);
        t->attempt->number = r->attempt;
        t->attempt->started_ms = r->at;
        free(steal(&t->attempt->token));
        set_status(run, t, TASK_RUNNING);
        return 0;
}

static int apply_token(struct run *run, struct task *t, const struct record *r)
{
        char *token;

        if (!t->attempt)
                return error_origin(-EBADMSG);
        token = strndup(r->token.n ? r->token.p : "", r->token.n);
        if (!token)
                return error_origin(-ENOMEM);
        free(t->attempt->token);
        t->attempt->token = token;
        set_status(run, t, TASK_PENDING);
        return 0;
}

static int apply_retry(struct run *run, struct task *t, const struct record *r)
{
        if (!t->attempt)
                return error_origin(-EBADMSG);
        t->attempt->answer = r->answer;
        t->attempt->effect = r->effect;
        t->attempt->retry_ms = r->at + r->after;
        free(steal(&t->attempt->token));
        set_status(run, t, TASK_RETRYING);
        return note(run, r);
}

/* "[\"a\",\"b\"]" -> "a b"; keys need no escapes. */
static size_t keys_of(const char *uses, char *ret, size_t n_ret)
{
        size_t n = 0;

        for (const char *p = uses; *p; p++) {
                if (*p == '[' || *p == ']' || *p == '"')
                        continue;
                if (n + 1 < n_ret)
                        ret[n++] = *p == ',' ? ' ' : *p;
        }
        ret[n] = 0;
        return n;
}

struct resource *run_resource(const struct site *site, const struct run *run, struct task *t)
{
        struct strmap_entry *e;
        struct resource *r;

        if (t->resource || !t->n_key)
                return t->resource;
        e = strmap_find(&site->inventory.by_key, task_key(run, t), t->n_key);
        r = e ? e->value.pointer : NULL;
        if (r && r->claim && streq(r->claim, run->id_text))
                t->resource = r;
        return r;
}

/* What a task did to the inventory. */
static int change_inventory(struct run *run, struct site *site, struct task *t,
                            const struct record *r)
{
        const struct span key = span_n(task_key(run, t), t->n_key);
        const char *doc = task_doc(run, t), *spec = strstr(doc, ",\"spec\":");
        char builds_on[2048], op_id[UID_TEXT] = "";
        struct resource *old;
        struct resource_change c = {
                .workflow = span_of(run->name),
                .plugin = span_of(run->lanes[t->lane].plugin),
                .outputs = r->outputs,
                .run = span_of(run->id_text),
                .changed_ms = r->at,
        };

        if (t->verb == VERB_DELETE)
                return inventory_gone(&site->inventory, key);
        old = run_resource(site, run, t) ?: inventory_entry(&site->inventory, key);
        if (!old)
                return error_origin(-ENOMEM);
        if (r->answer == PRVNG_UNCHANGED && old->workflow)
                snprintf(op_id, sizeof(op_id), "%s", old->op_id);
        else if (r->answer != PRVNG_UNCHANGED && t->attempt)
                uid_text(&t->attempt->op_id, op_id);
        c.op_id = span_of(op_id);
        c.builds_on = span_n(builds_on, keys_of(doc + t->n_doc + 1, builds_on, sizeof(builds_on)));
        c.spec = spec ? span_n(spec + 8, (size_t)(doc + t->n_doc - 1 - (spec + 8))) : span_of("{}");
        if (!c.outputs.n)
                c.outputs = span_of("{}");
        return inventory_put(&site->inventory, old, &c);
}

/* A create that failed but left something behind. So that it has an owner, a server is in the inventory
 * from then on, with nothing known of it but the request that made it: destroy deletes it, and a rerun
 * completes it. (What was made on a server goes with it.) */
static int left_behind(struct run *run, struct site *site, struct task *t,
                       const struct record *r)
{
        const struct span key = span_n(task_key(run, t), t->n_key);
        const struct resource *old = inventory_get(&site->inventory, task_key(run, t));
        char op_id[UID_TEXT], outputs[UID_TEXT + 16];
        struct record known = *r;

        if (t->verb != VERB_CREATE || r->effect == PRVNG_EFFECT_NONE || !t->attempt ||
            key.n < 7 || memcmp(key.p, "server.", 7) != 0 || (old && old->workflow))
                return 0;
        uid_text(&t->attempt->op_id, op_id);
        snprintf(outputs, sizeof(outputs), "{\"op_id\":\"%s\"}", op_id);
        known.outputs = span_of(outputs);
        return change_inventory(run, site, t, &known);
}

static int apply_end_of_task(struct run *run, struct site *site, struct task *t,
                             const struct record *r)
{
        int q = 0;

        if (task_status_ended(t->status))
                return error_origin(-EBADMSG);
        if (r->type == RECORD_FAILED) {
                q = note(run, r);
                if (q == 0 && site)
                        q = left_behind(run, site, t, r);
                set_status(run, t, TASK_FAILED);
        } else {
                if (site && t->n_key && t->verb != VERB_CHECK)
                        q = change_inventory(run, site, t, r);
                if (t->verb == VERB_CHECK && r->answer == PRVNG_DONE) {
                        t->drift = 1;
                        run->n_drift++;
                }
                set_status(run, t, r->answer == PRVNG_UNCHANGED ? TASK_UNCHANGED : TASK_SUCCEEDED);
        }
        if (q)
                return error_fold(q);
        t->ended_s = since_start(run, r->at);
        if (!t->started_s)
                t->started_s = t->ended_s;
        free_attempt(t);
        return settle(run, r->task);
}

static int apply_end(struct run *run, const struct record *r)
{
        if (!run_status_from_span(r->status, &run->status) || !run_status_ended(run->status))
                return error_origin(-EBADMSG);
        run->ended_ms = r->at;
        for (uint32_t i = 0; i < run->n_tasks; i++)
                if (!task_status_ended(run->tasks[i].status))
                        set_status(run, &run->tasks[i], TASK_SKIPPED);
        return 0;
}

static int apply_to_task(struct run *run, struct site *site, const struct record *r)
{
        struct task *t = task_of(run, r);

        if (!t)
                return error_origin(-EBADMSG);
        switch ((unsigned)r->type) {
        case RECORD_INTENT:
                return apply_intent(run, t, r);
        case RECORD_BEGIN:
                return apply_begin(run, t, r);
        case RECORD_TOKEN:
                return apply_token(run, t, r);
        case RECORD_RETRY:
                return apply_retry(run, t, r);
        case RECORD_DOUBT:
                set_status(run, t, TASK_IN_DOUBT);
                return note(run, r);
        case RECORD_PARKED:
                set_status(run, t, TASK_PARKED);
                return note(run, r);
        case RECORD_DONE:
        case RECORD_FAILED:
                return apply_end_of_task(run, site, t, r);
        default:
                return error_origin(-EBADMSG);
        }
}

int run_apply(struct run *run, struct site *site, const struct record *r)
{
        int q;

        switch ((unsigned)r->type) {
        case RECORD_RUN:
                q = apply_run(run, r);
                break;
        case RECORD_DEFINITION:
                q = 0;
                break;
        case RECORD_LANE:
                q = apply_lane(run, r);
                break;
        case RECORD_OPERATION:
                q = apply_operation(run, r);
                break;
        case RECORD_TASK:
                q = run->planned ? error_origin(-EBADMSG) : apply_task(run, r);
                break;
        case RECORD_PLANNED:
                q = apply_planned(run, r);
                break;
        case RECORD_HALT:
        case RECORD_CANCEL:
                run->halted = true;
                run->cancelled |= r->type == RECORD_CANCEL;
                q = 0;
                break;
        case RECORD_END:
                q = apply_end(run, r);
                break;
        default:
                q = apply_to_task(run, site, r);
                break;
        }
        if (q)
                return error_fold(q);
        run->seq = r->seq;
        return 0;
}
