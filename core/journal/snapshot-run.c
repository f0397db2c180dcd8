/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A run in a snapshot: what happened to its tasks, and what that did to the inventory. The plan, and
 * everything that follows from it, is there when this is read.
 */
#include "journal/snapshot-parts.h"

#include <prvng/abi.h>

/* Writing */

int startable_tasks(const struct run *run, const struct lane *lane, uint32_t **ret_list,
                    uint32_t *ret_n)
{
        uint32_t *list = malloc(MAX(lane->n_ready, 1u) * sizeof(*list)), at = lane->n_ready;
        uint8_t *seen = calloc(run->n_tasks / 8 + 1, 1);

        if (!list || !seen) {
                free(list);
                free(seen);
                return error_origin(-ENOMEM);
        }
        for (uint32_t i = lane->n_ready; i-- > 0;) {
                uint32_t k = lane->ready[i];

                if (!startable(run, &run->tasks[k]) || seen[k / 8] >> k % 8 & 1)
                        continue;
                seen[k / 8] |= (uint8_t)(1 << k % 8);
                list[--at] = k;
        }
        free(seen);
        *ret_n = lane->n_ready - at;
        memmove(list, list + at, *ret_n * sizeof(*list));
        *ret_list = list;
        return 0;
}

static void pack_queues(struct buf *b, const struct run *run)
{
        for (uint32_t i = 0; i < run->n_lanes; i++) {
                _cleanup_(cleanup_free) uint32_t *list = NULL;
                uint32_t n = 0, before = 0;

                if (startable_tasks(run, &run->lanes[i], &list, &n)) {
                        b->error = -ENOMEM;
                        return;
                }
                pack_u64(b, n);
                for (uint32_t k = 0; k < n; k++) {
                        pack_i64(b, (int64_t)list[k] - before);
                        before = list[k];
                }
        }
}

enum { HAS_UNMET = 1, HAS_STARTED = 2, HAS_CHECKPOINT = 4, HAS_NOTE = 8, HAS_ATTEMPT = 16,
       HAS_CAUSED = 32, HAS_RESTORED = 64 };

static void pack_task(struct buf *b, const struct task *t, uint32_t unmet)
{
        char *first = buf_reserve(b, 32), *p = first;

        if (!p)
                return;
        *p++ = (char)(t->status | t->blocked << 4 | t->drift << 5 | t->undo << 6 | t->redo << 7);
        *p++ = (char)((unmet ? HAS_UNMET : 0) | (t->started_s || t->ended_s ? HAS_STARTED : 0) |
                      (t->checkpoint ? HAS_CHECKPOINT : 0) | (t->note ? HAS_NOTE : 0) |
                      (t->attempt ? HAS_ATTEMPT : 0) | (t->caused ? HAS_CAUSED : 0) |
                      (t->restored ? HAS_RESTORED : 0));
        if (unmet)
                p = pack_number(p, unmet);
        if (t->started_s || t->ended_s) {
                p = pack_number(p, t->started_s);
                p = pack_number(p, pack_fold((int64_t)t->ended_s - t->started_s));
        }
        if (t->checkpoint)
                p = pack_number(p, t->checkpoint);
        buf_advance(b, (size_t)(p - first));
}

static void pack_note(struct buf *b, const struct task_note *n)
{
        pack_i64(b, n->answer);
        pack_u64(b, n->effect);
        pack_i64(b, n->since_ms);
        pack_string(b, n->message);
        pack_string(b, n->former);
        pack_string(b, n->made);
        pack_uid(b, &n->made_by);
}

static void pack_attempt(struct buf *b, const struct attempt *a)
{
        pack_uid(b, &a->op_id);
        pack_u64(b, a->role);
        pack_u64(b, a->verb);
        pack_u64(b, a->outer);
        pack_u64(b, a->again);
        pack_u64(b, a->number);
        pack_i64(b, a->answer);
        pack_u64(b, a->effect);
        pack_i64(b, a->started_ms);
        pack_i64(b, a->retry_ms);
        pack_i64(b, a->after_ms);
        pack_string(b, a->token);
        pack_string(b, a->spec);
        pack_span(b, span_n(a->request, a->n_request));
}

/* These, that is, what happened to them. */
static void pack_tasks(struct buf *b, const struct run *run, uint32_t from, uint32_t to)
{
        for (uint32_t i = from; i < to; i++) {
                const struct task *t = &run->tasks[i];

                pack_task(b, t, run->unmet[i]);
                if (t->note)
                        pack_note(b, &run->notes[t->note - 1]);
                if (t->attempt)
                        pack_attempt(b, t->attempt);
        }
}

/* The resource is not there any more, or was not for a while, and what stood on it with it. */
static bool was_gone(const struct task *t, const struct resource *r)
{
        if (r && r->workflow)
                return t->restored || (t->verb == VERB_DELETE && task_status_good(t->status));
        return t->status != TASK_SKIPPED &&
               (t->redo || t->attempt || t->started_s || t->status == TASK_READY ||
                t->status == TASK_UNDONE); /* what was to be done again and was rolled back before */
}

enum { SAME_PLUGIN = 1, SAME_SPEC = 2, SAME_BUILDS_ON = 4, SAME_RUN = 8, SAME_WORKFLOW = 16 };

static bool text_eq(struct span s, const char *text)
{
        return strncmp(text, s.n ? s.p : "", s.n) == 0 && text[s.n] == 0;
}

static void pack_resource(struct buf *b, const struct run *run, const struct task *t,
                          const struct resource *r)
{
        char builds_on[BUILDS_ON_MAX];
        unsigned flags = (streq(r->plugin, run->lanes[t->lane].plugin) ? SAME_PLUGIN : 0) |
                         (text_eq(task_spec(run, t), r->spec) ? SAME_SPEC : 0) |
                         (streq(r->run, run->id_text) ? SAME_RUN : 0) |
                         (streq(r->workflow, run->name) ? SAME_WORKFLOW : 0);

        builds_on_of(run, t, builds_on, sizeof(builds_on));
        flags |= streq(r->builds_on, builds_on) ? SAME_BUILDS_ON : 0;
        pack_u64(b, flags);
        if (!(flags & SAME_PLUGIN))
                pack_string(b, r->plugin);
        if (!(flags & SAME_SPEC))
                pack_string(b, r->spec);
        if (!(flags & SAME_BUILDS_ON))
                pack_string(b, r->builds_on);
        if (!(flags & SAME_RUN))
                pack_string(b, r->run);
        if (!(flags & SAME_WORKFLOW))
                pack_string(b, r->workflow);
        pack_string(b, r->outputs);
        pack_string(b, r->op_id);
        pack_i64(b, r->changed_ms);
}

enum { INVENTORY_END, INVENTORY_GONE, INVENTORY_THERE };

/* What these tasks did to the inventory: what went, or what is there. */
static void pack_inventory(struct buf *b, const struct site *site, struct run *run, unsigned pass,
                           uint32_t from, uint32_t to)
{
        for (uint32_t i = from; i < to; i++) {
                struct task *t = &run->tasks[i];
                const struct resource *r;

                if (!t->n_key || task_is_join(t) || t->verb == VERB_CHECK)
                        continue;
                r = run_resource(site, run, t);
                if (r && r->claim && !streq(r->claim, run->id_text))
                        continue; /* what it shares is the business of the run that claims it */
                if (pass == INVENTORY_GONE
                            ? !was_gone(t, r)
                            : !r || !r->workflow || (!streq(r->run, run->id_text) &&
                                                     !task_status_good(t->status)))
                        continue;
                pack_u64(b, pass);
                pack_u64(b, i);
                if (pass == INVENTORY_THERE)
                        pack_resource(b, run, t, r);
        }
}

static void pack_head(struct buf *b, const struct run *run)
{
        pack_uid(b, &run->id);
        pack_u64(b, run->n_tasks);
        pack_u64(b, run->n_operations);
        pack_u64(b, run->n_lanes);
        pack_u64(b, run->status);
        pack_u64(b, run->halted | run->cancelled << 1 | run->rollback << 2 | run->unwinding << 3 |
                            run->stopped << 4 | run->preserve << 5);
        pack_u64(b, run->halted_by);
        pack_u64(b, run->to_checkpoint);
        pack_string(b, run->rollback_reason);
        pack_string(b, run->rollback_who);
        pack_i64(b, run->rollback_ms);
        pack_i64(b, run->started_ms);
        pack_i64(b, run->ended_ms);
        pack_u64(b, run->n_completed);
        pack_u64(b, run->n_drift);
        pack_u64(b, run->unsettled);
        pack_u64(b, run->n_checkpoints);
        for (uint32_t i = 0; i < run->n_checkpoints; i++) {
                pack_u64(b, run->checkpoints[i].seq);
                pack_i64(b, run->checkpoints[i].at);
                pack_u64(b, run->checkpoints[i].n_operations);
        }
}

enum { RUN_HEAD, RUN_TASKS, RUN_QUEUES, RUN_GONE, RUN_THERE, RUN_DONE };

/* Head, tasks, queues, and of the inventory first what went, then what is there. */
bool pack_run(struct buf *b, struct site *site, struct run *run, struct packing *p, uint32_t n)
{
        uint32_t from = (uint32_t)p->at, to = from + MIN(n, run->n_tasks - from);

        switch (p->phase) {
        case RUN_HEAD:
                pack_head(b, run);
                for (uint32_t i = 0; i < run->n_operations; i++) {
                        pack_u64(b, run->operations[i].n_ended);
                        pack_u64(b, run->operations[i].n_failed);
                        pack_u64(b, run->operations[i].n_good);
                }
                to = run->n_tasks;
                break;
        case RUN_TASKS:
                pack_tasks(b, run, from, to);
                break;
        case RUN_QUEUES:
                pack_queues(b, run);
                to = run->n_tasks;
                break;
        case RUN_GONE:
                pack_inventory(b, site, run, INVENTORY_GONE, from, to);
                break;
        case RUN_THERE:
                pack_inventory(b, site, run, INVENTORY_THERE, from, to);
                if (to == run->n_tasks)
                        pack_u64(b, INVENTORY_END);
                break;
        default:
                return true;
        }
        p->at = to;
        if (to == run->n_tasks) {
                p->phase++;
                p->at = 0;
        }
        return p->phase == RUN_DONE;
}

/* Reading */

static int unpack_note(struct unpack *u, struct run *run, struct task *t)
{
        struct task_note *n;

        if (note_get(run, t, &n))
                return error_origin(-ENOMEM);
        n->answer = (int32_t)unpack_i64(u);
        n->effect = unpack_u32(u);
        n->since_ms = unpack_i64(u);
        n->message = unpack_string(u);
        n->former = unpack_string(u);
        n->made = unpack_string(u);
        unpack_bytes(u, &n->made_by, sizeof(n->made_by));
        return 0;
}

static int unpack_attempt(struct unpack *u, struct run *run, struct task *t)
{
        struct attempt a = {0}, *copy;
        struct span request;

        unpack_bytes(u, &a.op_id, sizeof(a.op_id));
        a.role = (uint8_t)unpack_max(u, ROLE_SURPLUS);
        a.verb = (uint8_t)unpack_max(u, VERB_JOIN);
        a.outer = (uint8_t)unpack_max(u, ROLE_SURPLUS);
        a.again = unpack_max(u, 1);
        a.number = unpack_u32(u);
        a.answer = (int32_t)unpack_i64(u);
        a.effect = unpack_u32(u);
        a.started_ms = unpack_i64(u);
        a.retry_ms = unpack_i64(u);
        a.after_ms = unpack_i64(u);
        a.token = unpack_string(u);
        a.spec = unpack_string(u);
        request = unpack_span(u);
        a.n_request = request.n;
        copy = malloc(sizeof(a) + request.n + 1);
        if (!copy) {
                free(a.token);
                free(a.spec);
                return error_origin(-ENOMEM);
        }
        *copy = a;
        memcpy(copy->request, request.n ? request.p : "", request.n);
        copy->request[request.n] = 0;
        t->attempt = copy;
        run->n_attempts++;
        return 0;
}

static int unpack_task(struct unpack *u, struct run *run, struct task *t)
{
        uint8_t state = unpack_byte(u), has = unpack_byte(u);
        int q = 0;

        t->status = state & 15;
        t->blocked = state >> 4 & 1;
        t->drift = state >> 5 & 1;
        t->undo = state >> 6 & 1;
        t->redo = state >> 7 & 1;
        t->caused = has / HAS_CAUSED & 1;
        t->restored = has / HAS_RESTORED & 1;
        run->unmet[t - run->tasks] = has & HAS_UNMET ? unpack_u32(u) : 0;
        t->started_s = has & HAS_STARTED ? unpack_u32(u) : 0;
        t->ended_s = has & HAS_STARTED ? (uint32_t)(t->started_s + unpack_i64(u)) : 0;
        t->checkpoint = has & HAS_CHECKPOINT ? (uint16_t)unpack_max(u, UINT16_MAX) : 0;
        if (t->status >= N_TASK_STATUSES)
                return error_origin(-EBADMSG);
        if (!task_is_join(t))
                run->n_by_status[t->status]++;
        if (has & HAS_NOTE)
                q = unpack_note(u, run, t);
        if (q == 0 && has & HAS_ATTEMPT)
                q = unpack_attempt(u, run, t);
        return q ?: u->bad ? error_origin(-EBADMSG) : 0;
}

static int unpack_queues(struct unpack *u, struct run *run)
{
        for (uint32_t i = 0; i < run->n_lanes; i++) {
                int64_t k = 0;

                for (uint32_t n = unpack_max(u, run->n_tasks); n > 0; n--) {
                        k += unpack_i64(u);
                        if (u->bad || k < 0 || k >= run->n_tasks || run->tasks[k].lane != i)
                                return error_origin(-EBADMSG);
                        if (enqueue(run, (uint32_t)k))
                                return error_origin(-ENOMEM);
                }
        }
        return 0;
}

static int unpack_resource(struct unpack *u, struct site *site, struct run *run, struct task *t)
{
        unsigned flags = unpack_max(u, 31);
        char builds_on[BUILDS_ON_MAX];
        struct resource_change c;
        struct resource *r;

        c.plugin = flags & SAME_PLUGIN ? span_of(run->lanes[t->lane].plugin) : unpack_span(u);
        c.spec = flags & SAME_SPEC ? task_spec(run, t) : unpack_span(u);
        c.builds_on = flags & SAME_BUILDS_ON
                              ? span_n(builds_on, builds_on_of(run, t, builds_on, sizeof(builds_on)))
                              : unpack_span(u);
        c.run = flags & SAME_RUN ? span_of(run->id_text) : unpack_span(u);
        c.workflow = flags & SAME_WORKFLOW ? span_of(run->name) : unpack_span(u);
        c.outputs = unpack_span(u);
        c.op_id = unpack_span(u);
        c.changed_ms = unpack_i64(u);
        if (u->bad)
                return error_origin(-EBADMSG);
        if (!site)
                return 0;
        r = run_resource(site, run, t) ?:
                    inventory_entry(&site->inventory, span_n(task_key(run, t), t->n_key));
        return r ? inventory_put(&site->inventory, r, &c) : error_origin(-ENOMEM);
}

static int unpack_inventory(struct unpack *u, struct site *site, struct run *run)
{
        uint32_t kind, i;
        int q = 0;

        while (q == 0 && (kind = unpack_max(u, INVENTORY_THERE)) != INVENTORY_END) {
                struct task *t;

                i = unpack_u32(u);
                if (u->bad || i >= run->n_tasks || task_is_join(&run->tasks[i]))
                        return error_origin(-EBADMSG);
                t = &run->tasks[i];
                if (kind == INVENTORY_THERE)
                        q = unpack_resource(u, site, run, t);
                else if (site)
                        q = inventory_gone(&site->inventory, span_n(task_key(run, t), t->n_key));
        }
        return q;
}

static int unpack_head(struct unpack *u, struct run *run)
{
        struct uid id;
        uint32_t flags;

        unpack_bytes(u, &id, sizeof(id));
        if (memcmp(&id, &run->id, sizeof(id)) != 0 || unpack_u64(u) != run->n_tasks ||
            unpack_u64(u) != run->n_operations || unpack_u64(u) != run->n_lanes || !run->planned)
                return error_origin(-EBADMSG);
        run->status = unpack_max(u, N_RUN_STATUSES - 1);
        flags = unpack_max(u, 63);
        run->halted = flags & 1;
        run->cancelled = flags >> 1 & 1;
        run->rollback = flags >> 2 & 1;
        run->unwinding = flags >> 3 & 1;
        run->stopped = flags >> 4 & 1;
        run->preserve = flags >> 5 & 1;
        run->halted_by = unpack_u32(u);
        run->to_checkpoint = unpack_u32(u);
        free(run->rollback_reason);
        free(run->rollback_who);
        run->rollback_reason = unpack_string(u);
        run->rollback_who = unpack_string(u);
        run->rollback_ms = unpack_i64(u);
        run->started_ms = unpack_i64(u);
        run->ended_ms = unpack_i64(u);
        run->n_completed = unpack_u32(u);
        run->n_drift = unpack_u32(u);
        run->unsettled = unpack_max(u, run->n_tasks);
        for (uint32_t n = unpack_u32(u); n > 0 && !u->bad; n--) {
                struct checkpoint *c;

                if (GROW(run->checkpoints, run->n_checkpoints, run->cap_checkpoints))
                        return error_origin(-ENOMEM);
                c = &run->checkpoints[run->n_checkpoints++];
                c->seq = unpack_u64(u);
                c->at = unpack_i64(u);
                c->n_operations = unpack_u32(u);
        }
        return u->bad ? error_origin(-EBADMSG) : 0;
}

int unpack_run(struct unpack *u, struct site *site, struct run *run, uint64_t at_seq)
{
        int q;

        forget_progress(run);
        q = unpack_head(u, run);
        for (uint32_t i = 0; i < run->n_operations && q == 0; i++) {
                run->operations[i].n_ended = unpack_u32(u);
                run->operations[i].n_failed = unpack_u32(u);
                run->operations[i].n_good = unpack_u32(u);
        }
        for (uint32_t i = 0; i < run->n_tasks && q == 0; i++)
                q = unpack_task(u, run, &run->tasks[i]);
        q = q ?: unpack_queues(u, run);
        if (q == 0 && run->unwinding)
                q = build_prev(run);
        q = q ?: unpack_inventory(u, site, run);
        for (uint32_t i = 0; i < run->n_tasks && at_seq <= run->told_seq; i++)
                run->tasks[i].restored = 0; /* the site's stream told of it since */
        return q ?: u->bad || u->p != u->end ? error_origin(-EBADMSG) : 0;
}
