/* SPDX-License-Identifier: Apache-2.0 */
/* The state as text, for comparing. Every member of the fold is named here once more, on purpose. */
#include "journal/snapshot.h"

#include "journal/snapshot-parts.h"

#define NUMBER(b, s, member) buf_printf(b, " " #member "=%lld", (long long)(s)->member)

static void string(struct buf *b, const char *name, const char *value)
{
        buf_printf(b, " %s=", name);
        if (value)
                buf_json(b, value);
        else
                buf_putc(b, '-');
}

#define STRING(b, s, member) string(b, #member, (s)->member)

static void uid(struct buf *b, const char *name, const struct uid *u)
{
        char text[UID_TEXT];

        uid_text(u, text);
        string(b, name, text);
}

static void site_run_line(struct buf *b, const struct run *run)
{
        BUF_LIT(b, "run");
        STRING(b, run, id_text);
        uid(b, "id", &run->id);
        STRING(b, run, name);
        STRING(b, run, store);
        STRING(b, run, stream);
        NUMBER(b, run, accepted_ms);
        NUMBER(b, run, closed);
        NUMBER(b, run, compacted);
        STRING(b, run, kind);
        STRING(b, run, who);
        if (run->closed) {
                NUMBER(b, run, status);
                NUMBER(b, run, ended_ms);
                NUMBER(b, run, n_drift);
        }
        BUF_LIT(b, " claims=");
        for (const struct resource *r = run->claims; r; r = r->next_claim)
                buf_printf(b, "%s,", r->key);
        for (uint32_t i = 0; i < run->n_shares; i++)
                buf_printf(b, "%s%s", i ? "," : " shares=", run->shares[i]->key);
        buf_putc(b, '\n');
}

static void resource_line(struct buf *b, const struct resource *r)
{
        BUF_LIT(b, "resource");
        STRING(b, r, key);
        STRING(b, r, claim);
        STRING(b, r, claim_workflow);
        NUMBER(b, r, n_on);
        if (r->workflow) {
                STRING(b, r, workflow);
                STRING(b, r, plugin);
                STRING(b, r, spec);
                STRING(b, r, outputs);
                STRING(b, r, builds_on);
                STRING(b, r, op_id);
                STRING(b, r, run);
                NUMBER(b, r, changed_ms);
        }
        buf_putc(b, '\n');
}

int dump_site(const struct site *site, struct buf *ret)
{
        _cleanup_(cleanup_free) const struct resource **list = NULL;
        size_t n;
        int q = inventory_sorted(&site->inventory, &list, &n);

        if (q)
                return error_fold(q);
        BUF_LIT(ret, "site");
        STRING(ret, site, id_text);
        uid(ret, "id", &site->id);
        NUMBER(ret, site, epoch);
        NUMBER(ret, site, pid);
        STRING(ret, site, host);
        NUMBER(ret, site, seq);
        NUMBER(ret, site, run_by_id.n);
        buf_putc(ret, '\n');
        for (uint32_t i = 0; i < site->n_runs; i++)
                site_run_line(ret, site->runs[i]);
        for (size_t i = 0; i < n; i++)
                resource_line(ret, list[i]);
        return buf_error(ret);
}

/* Runs */

static void head_lines(struct buf *b, const struct run *r)
{
        BUF_LIT(b, "run");
        STRING(b, r, id_text);
        uid(b, "id", &r->id);
        STRING(b, r, name);
        STRING(b, r, kind);
        STRING(b, r, type);
        STRING(b, r, who);
        STRING(b, r, folder);
        STRING(b, r, file);
        STRING(b, r, logging);
        STRING(b, r, options);
        STRING(b, r, notices);
        STRING(b, r, backoff);
        NUMBER(b, r, max_attempts);
        NUMBER(b, r, initial_delay_s);
        NUMBER(b, r, max_delay_s);
        NUMBER(b, r, strategy.enabled);
        NUMBER(b, r, strategy.on_partial);
        NUMBER(b, r, strategy.preserve);
        NUMBER(b, r, strategy.interval);
        NUMBER(b, r, snapshot_every_s);
        BUF_LIT(b, "\nprogress");
        NUMBER(b, r, status);
        NUMBER(b, r, planned);
        NUMBER(b, r, halted);
        NUMBER(b, r, cancelled);
        NUMBER(b, r, rollback);
        NUMBER(b, r, unwinding);
        NUMBER(b, r, stopped);
        NUMBER(b, r, halted_by);
        NUMBER(b, r, to_checkpoint);
        NUMBER(b, r, preserve);
        STRING(b, r, rollback_reason);
        STRING(b, r, rollback_who);
        NUMBER(b, r, rollback_ms);
        NUMBER(b, r, n_completed);
        NUMBER(b, r, n_attempts);
        NUMBER(b, r, started_ms);
        NUMBER(b, r, ended_ms);
        NUMBER(b, r, n_drift);
        NUMBER(b, r, seq);
        NUMBER(b, r, unsettled);
        for (uint32_t i = 0; i < N_TASK_STATUSES; i++)
                buf_printf(b, " %u", r->n_by_status[i]);
        buf_putc(b, '\n');
        for (uint32_t i = 0; i < r->n_checkpoints; i++)
                buf_printf(b, "checkpoint seq=%llu at=%lld n_operations=%u\n",
                           (unsigned long long)r->checkpoints[i].seq,
                           (long long)r->checkpoints[i].at, r->checkpoints[i].n_operations);
}

static void operation_line(struct buf *b, const struct run *run, const struct operation *o)
{
        BUF_LIT(b, "operation");
        string(b, "id", operation_id(run, o));
        NUMBER(b, o, timeout_s);
        NUMBER(b, o, on_failure);
        NUMBER(b, o, verb);
        NUMBER(b, o, target);
        NUMBER(b, o, implied);
        NUMBER(b, o, n_tasks);
        NUMBER(b, o, n_ended);
        NUMBER(b, o, n_failed);
        NUMBER(b, o, n_good);
        buf_putc(b, '\n');
}

static void lane_line(struct buf *b, const struct run *run, const struct lane *lane)
{
        _cleanup_(cleanup_free) uint32_t *list = NULL;
        uint32_t n = 0;

        BUF_LIT(b, "lane");
        STRING(b, lane, plugin);
        NUMBER(b, lane, batch_size);
        NUMBER(b, lane, rate_limit);
        BUF_LIT(b, " ready=");
        if (startable_tasks(run, lane, &list, &n))
                b->error = -ENOMEM;
        for (uint32_t i = 0; i < n; i++)
                buf_printf(b, "%u,", list[i]);
        buf_putc(b, '\n');
}

static void attempt_line(struct buf *b, const struct attempt *a)
{
        BUF_LIT(b, " attempt:");
        uid(b, "op_id", &a->op_id);
        NUMBER(b, a, role);
        NUMBER(b, a, verb);
        NUMBER(b, a, outer);
        NUMBER(b, a, again);
        NUMBER(b, a, number);
        NUMBER(b, a, answer);
        NUMBER(b, a, effect);
        NUMBER(b, a, started_ms);
        NUMBER(b, a, retry_ms);
        NUMBER(b, a, after_ms);
        STRING(b, a, token);
        STRING(b, a, spec);
        NUMBER(b, a, n_request);
        STRING(b, a, request);
}

static void note_line(struct buf *b, const struct task_note *n)
{
        BUF_LIT(b, " note:");
        NUMBER(b, n, answer);
        NUMBER(b, n, effect);
        STRING(b, n, message);
        NUMBER(b, n, since_ms);
        STRING(b, n, former);
        STRING(b, n, made);
        uid(b, "made_by", &n->made_by);
}

static void task_line(struct buf *b, const struct run *run, uint32_t number)
{
        const struct task *t = &run->tasks[number];

        buf_printf(b, "task %u", number);
        string(b, "id", task_id(run, t));
        string(b, "key", task_key(run, t));
        string(b, "doc", task_doc(run, t));
        string(b, "uses", task_uses(run, t));
        string(b, "waits", task_waits(run, t));
        NUMBER(b, t, operation);
        NUMBER(b, t, lane);
        NUMBER(b, t, verb);
        NUMBER(b, t, implied);
        NUMBER(b, t, irreversible);
        NUMBER(b, t, status);
        buf_printf(b, " n_unmet=%u", task_unmet(run, t));
        NUMBER(b, t, blocked);
        NUMBER(b, t, drift);
        NUMBER(b, t, undo);
        NUMBER(b, t, redo);
        NUMBER(b, t, caused);
        NUMBER(b, t, restored);
        NUMBER(b, t, checkpoint);
        NUMBER(b, t, started_s);
        NUMBER(b, t, ended_s);
        BUF_LIT(b, " next=");
        for (uint32_t i = run->planned ? run->first_next[number] : 0;
             run->planned && i < run->first_next[number + 1]; i++)
                buf_printf(b, "%u,", run->next[i]);
        BUF_LIT(b, " prev=");
        for (uint32_t i = run->prev ? run->first_prev[number] : 0;
             run->prev && i < run->first_prev[number + 1]; i++)
                buf_printf(b, "%u,", run->prev[i]);
        if (t->note)
                note_line(b, &run->notes[t->note - 1]);
        if (t->attempt)
                attempt_line(b, t->attempt);
        buf_putc(b, '\n');
}

int dump_run(const struct run *run, struct buf *ret)
{
        head_lines(ret, run);
        for (uint32_t i = 0; i < run->n_operations; i++)
                operation_line(ret, run, &run->operations[i]);
        for (uint32_t i = 0; i < run->n_lanes; i++)
                lane_line(ret, run, &run->lanes[i]);
        for (uint32_t i = 0; i < run->n_tasks; i++)
                task_line(ret, run, i);
        return buf_error(ret);
}
