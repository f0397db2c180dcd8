/* SPDX-License-Identifier: Apache-2.0 */
/* What is durable, folded anew, must be what the engine has in memory whenever it has nothing to do. */
#include "simulate/sim.h"

static void dump_attempt(struct buf *b, const struct attempt *a)
{
        char op_id[UID_TEXT];

        uid_text(&a->op_id, op_id);
        buf_printf(b, " op %s role %u %u attempt %u again %u answer %d effect %u retry %lld token %s spec %s "
                      "request %s", op_id, a->role, a->verb, a->number, a->again, a->answer, a->effect,
                   (long long)a->retry_ms, a->token ?: "-", a->spec ?: "-", a->request);
}

static void dump_run(struct buf *b, const struct run *run)
{
        buf_printf(b, "run %s %s %s\n", run->id_text, run->name, run_status_name(run->status));
        if (run_status_ended(run->status)) /* unloaded */
                return;
        buf_printf(b, "halted %d by %u cancelled %d rollback %d unwinding %d stopped %d to %u preserve %d "
                      "seq %llu unsettled %u completed %u attempts %u checkpoints %u\n",
                   run->halted, run->halted_by, run->cancelled, run->rollback, run->unwinding,
                   run->stopped, run->to_checkpoint, run->preserve, (unsigned long long)run->seq,
                   run->unsettled, run->n_completed, run->n_attempts, run->n_checkpoints);
        for (uint32_t i = 0; i < run->n_tasks; i++) {
                const struct task *t = &run->tasks[i];
                const struct task_note *note = run_note(run, i);

                buf_printf(b, "%s %s unmet %u blocked %u undo %u redo %u checkpoint %u", task_id(run, t),
                           task_status_name(t->status), t->n_unmet, t->blocked, t->undo, t->redo,
                           t->checkpoint);
                if (t->attempt)
                        dump_attempt(b, t->attempt);
                if (note)
                        buf_printf(b, " note %d %u %s former %s made %s", note->answer, note->effect,
                                   note->message, note->former ?: "-", note->made ?: "-");
                buf_putc(b, '\n');
        }
        for (uint32_t i = 0; i < run->n_operations; i++)
                buf_printf(b, "%s %u %u %u\n", operation_id(run, &run->operations[i]),
                           run->operations[i].n_tasks, run->operations[i].n_ended,
                           run->operations[i].n_failed);
}

static int dump(struct buf *b, const struct site *s)
{
        const struct resource **list;
        size_t n;

        buf_printf(b, "site %s epoch %llu seq %llu\n", s->id_text, (unsigned long long)s->epoch,
                   (unsigned long long)s->seq);
        if (inventory_sorted(&s->inventory, &list, &n))
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                const struct resource *r = list[i];

                buf_printf(b, "%s claim %s", r->key, r->claim ?: "-");
                if (r->workflow)
                        buf_printf(b, " of %s at %s: %s -> %s on %s op %s run %s", r->workflow,
                                   r->plugin, r->spec, r->outputs, r->builds_on, r->op_id,
                                   r->run);
                buf_putc(b, '\n');
        }
        free(list);
        for (uint32_t i = 0; i < s->n_runs; i++)
                dump_run(b, s->runs[i]);
        return buf_error(b);
}

static int fold_run(void *userdata, const struct record *r, const char *line, size_t n_line)
{
        void **both = userdata;

        return run_apply(both[0], both[1], r);
}

/* As an engine that starts would read it. */
static int fold(struct journal *j, struct site *site)
{
        int r = journal_read(j, "site", site_fold_stream, site);

        for (uint32_t i = 0; i < site->n_runs && r == 0; i++)
                if (!run_status_ended(site->runs[i]->status))
                        r = journal_read(j, site->runs[i]->stream, fold_run,
                                         (void *[]){site->runs[i], site});
        return r;
}

static void show_difference(const char *when, const struct buf *memory, const struct buf *disk)
{
        const char *p = buf_str(memory), *q = buf_str(disk);
        size_t line = 0;

        for (size_t i = 0; p[i] && p[i] == q[i]; i++)
                if (p[i] == '\n')
                        line = i + 1;
        violated("fold", "%s: in memory: %.*s; in the journal: %.*s", when, (int)strcspn(p + line, "\n"),
                 p + line, (int)strcspn(q + line, "\n"), q + line);
}

void fold_compare(const char *when)
{
        _cleanup_(cleanup_buf) struct buf memory = BUF_NULL, disk = BUF_NULL;
        struct plugin *store = plugins_find(&sim->plugins, "store", "sim");
        struct site site = SITE_NULL;
        struct journal *j = NULL;
        char *message = NULL;
        int r;

        sim->looking = true;
        r = journal_open(store, "/sim", true, &j, &message) ?: fold(j, &site);
        if (r)
                violated("fold", "%s: the journal cannot be read back: %s", when,
                         message ?: j && j->message ? j->message : "a record does not follow");
        else if (dump(&memory, &sim->process->site) == 0 && dump(&disk, &site) == 0 &&
                 (memory.n != disk.n || memcmp(memory.data, disk.data, disk.n) != 0))
                show_difference(when, &memory, &disk);
        sim->looking = false;
        journal_close(j);
        site_deinit(&site);
        free(message);
}
