/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree. A run that fits is shown whole, in the order of its plan, so that nothing jumps. One that
 * does not fit gives each open operation its share of lines, for the tasks that are at work first.
 */
#include "view.h"

#include "base/clock.h"
#include "undo.h"

#define WAITS_FOR_MAX 5000 /* tasks, above which the tree does not say what operations wait for */

/* Symbols */

static const char *symbol(const struct view *v, enum task_status s, enum paint *ret_paint)
{
        static const struct {
                const char *utf8, *ascii;
                enum paint paint;
        } symbols[N_TASK_STATUSES] = {
                [TASK_WAITING] = {"○", ".", DIM},      [TASK_READY] = {"○", ".", PLAIN},
                [TASK_RUNNING] = {"●", "*", CYAN},     [TASK_PENDING] = {"●", "*", CYAN},
                [TASK_RETRYING] = {"↻", "~", YELLOW},  [TASK_IN_DOUBT] = {"?", "?", YELLOW},
                [TASK_PARKED] = {"‖", "!", MAGENTA},   [TASK_SUCCEEDED] = {"✓", "+", GREEN},
                [TASK_UNCHANGED] = {"✓", "=", DIM},    [TASK_FAILED] = {"✗", "x", RED},
                [TASK_SKIPPED] = {"–", "-", DIM},      [TASK_UNDOING] = {"●", "*", YELLOW},
                [TASK_UNDONE] = {"↶", "<", YELLOW},    [TASK_UNDO_FAILED] = {"✗", "x", RED},
        };

        *ret_paint = symbols[s].paint;
        return v->utf8 ? symbols[s].utf8 : symbols[s].ascii;
}

static bool is_at_work(enum task_status s)
{
        return s == TASK_RUNNING || s == TASK_PENDING || s == TASK_RETRYING || s == TASK_IN_DOUBT ||
               s == TASK_PARKED || s == TASK_UNDOING;
}

static bool is_trouble(enum task_status s)
{
        return s == TASK_FAILED || s == TASK_UNDO_FAILED || s == TASK_PARKED;
}

static int64_t run_seconds(const struct run *run, int64_t now_ms)
{
        int64_t from = run->started_ms ? run->started_ms : run->accepted_ms;
        int64_t to = run->ended_ms ? run->ended_ms : now_ms;

        return from ? MAX((to - from) / 1000, (int64_t)0) : 0;
}

/* How long a task took, or has been at work; -1: has not begun. Times of tasks count from 1. */
static int64_t task_seconds(const struct run *run, const struct task *t, int64_t now_ms)
{
        int64_t now = (now_ms - run->started_ms) / 1000 + 1;

        if (!t->started_s)
                return -1;
        if (t->ended_s)
                return (int64_t)t->ended_s - t->started_s;
        return MAX(now - (int64_t)t->started_s, (int64_t)0);
}

/* Seconds since its undo began; -1: none is under way. */
static int64_t undo_seconds(const struct task *t, int64_t now_ms)
{
        if (!t->attempt || t->attempt->role != ROLE_UNDO)
                return -1;
        return MAX((now_ms - t->attempt->started_ms) / 1000, (int64_t)0);
}

/* "containerd@wuji-cp-0" of "install-base/containerd@wuji-cp-0": the operation stands above it. */
static const char *short_id(const struct run *run, const struct task *t)
{
        const char *id = task_id(run, t);
        const char *rest = startswith(id, operation_id(run, &run->operations[t->operation]));

        return rest && *rest == '/' ? rest + 1 : id;
}

/* Nothing is at work, and something could be if somebody said what became of it. */
static bool waits_for_operator(const struct run *run)
{
        const uint32_t *n = run->n_by_status;

        return n[TASK_PARKED] && !n[TASK_READY] && !n[TASK_RUNNING] && !n[TASK_PENDING] &&
               !n[TASK_RETRYING] && !n[TASK_IN_DOUBT];
}

int64_t view_forecast(const struct run *run, int64_t now_ms)
{
        double spent = 0, ended = 0, left = 0, begun = 0;
        int64_t elapsed = run_seconds(run, now_ms);
        uint32_t n_ended = 0;

        if (!run->planned || run->rollback || run_status_ended(run->status))
                return -1;
        for (uint32_t i = 0; i < run->n_tasks; i++) {
                const struct task *t = &run->tasks[i];
                int64_t s = task_is_join(t) ? -1 : task_seconds(run, t, now_ms);

                if (s < 0)
                        continue;
                spent += (double)s;
                if (task_status_ended(t->status)) {
                        ended += (double)s;
                        n_ended++;
                } else {
                        begun += (double)s;
                }
        }
        if (n_ended == 0 || elapsed < 2 || waits_for_operator(run))
                return -1;
        /* What is left takes as long as what has ended did, as many at once as until now. */
        for (uint32_t s = 0; s < N_TASK_STATUSES; s++)
                if (!task_status_ended((enum task_status)s))
                        left += run->n_by_status[s];
        left = left * ended / n_ended;
        left = MAX(left - begun, left / 10);
        return (int64_t)(left / MAX(spent / (double)elapsed, 0.5)) + 1;
}

/* Lines of the tree */

static void put_line(const struct view *v, struct buf *out, const char *line)
{
        /* Escape sequences take no columns; text is cut where it is put in, not here. */
        buf_puts(out, line);
        buf_putc(out, '\n');
}

/* A condition on others' outputs: what it is, since when, the last value seen. */
static void describe_wait(const struct view *v, const struct task_note *note, struct buf *text)
{
        if (!note || note->answer || !note->message[0])
                return;
        put_duration(text, MAX((v->now_ms - note->since_ms) / 1000, (int64_t)0));
        buf_printf(text, "  waits: %s", note->message);
}

static void describe_task(const struct view *v, const struct run *run, uint32_t number,
                          struct buf *text)
{
        const struct task *t = &run->tasks[number];
        const struct task_note *note = run_note(run, number);
        const struct progress *p =
                v->progresses ? strmap_get(&v->progresses->by_task, task_id(run, t)) : NULL;
        int64_t undo_s = undo_seconds(t, v->now_ms);
        int64_t s = undo_s >= 0 ? undo_s : task_seconds(run, t, v->now_ms);

        if (s >= 0 && t->status != TASK_SKIPPED && t->status != TASK_UNDONE)
                put_duration(text, s);
        if (undo_s >= 0)
                buf_printf(text, "  undo: %s", undo_words(t));
        switch ((enum task_status)t->status) {
        case TASK_UNCHANGED:
                buf_puts(text, t->drift ? "  differs" : "  unchanged");
                break;
        case TASK_SUCCEEDED:
                if (t->drift)
                        BUF_LIT(text, "  differs");
                break;
        case TASK_RETRYING:
                BUF_LIT(text, "  again");
                if (t->attempt && t->attempt->retry_ms > v->now_ms) {
                        BUF_LIT(text, " in ");
                        put_duration(text, (t->attempt->retry_ms - v->now_ms + 999) / 1000);
                }
                break;
        case TASK_IN_DOUBT:
                BUF_LIT(text, "  asking what became of it");
                break;
        case TASK_PARKED:
                BUF_LIT(text, "  waits for you");
                break;
        case TASK_WAITING:
        case TASK_READY:
                describe_wait(v, note, text);
                break;
        case TASK_UNDONE:
                BUF_LIT(text, "undone");
                break;
        case TASK_UNDO_FAILED:
                BUF_LIT(text, "  not undone");
                break;
        case TASK_RUNNING:
        case TASK_PENDING:
        case TASK_FAILED:
        case TASK_SKIPPED:
        case TASK_UNDOING:
        case N_TASK_STATUSES:
                break;
        }
        if (t->attempt && t->attempt->number > 1)
                buf_printf(text, "  attempt %u", t->attempt->number);
        if (p && is_at_work(t->status)) {
                if (p->permille > 0 && p->permille <= 1000)
                        buf_printf(text, "  %u%%", p->permille / 10);
                buf_printf(text, "  %s", p->message);
        }
        if (note && note->message[0] && (is_trouble(t->status) || t->status == TASK_RETRYING ||
                                         t->status == TASK_IN_DOUBT))
                buf_printf(text, "  %s", note->message);
        else if (note && note->message[0] && is_at_work(t->status) && !p)
                buf_printf(text, ", before: %s", note->message);
        /* One line only. */
        for (size_t i = 0; i < text->n; i++)
                if (text->data[i] == '\n')
                        text->data[i] = ' ';
}

static void put_task(const struct view *v, const struct run *run, uint32_t number, size_t id_width,
                     struct buf *out)
{
        const struct task *t = &run->tasks[number];
        struct buf text = BUF_NULL, line = BUF_NULL, id = BUF_NULL;
        enum paint p;
        const char *mark = symbol(v, t->status, &p);
        size_t room = v->width > id_width + 10 ? v->width - id_width - 10 : 0;

        BUF_LIT(&line, "      ");
        paint(&line, v->color, p, mark);
        buf_putc(&line, ' ');
        put_cut(&id, short_id(run, t), id_width, id_width, v->utf8);
        paint(&line, v->color, task_status_ended(t->status) || is_at_work(t->status) ? PLAIN : DIM,
              buf_str(&id));
        describe_task(v, run, number, &text);
        buf_clear(&id);
        put_cut(&id, buf_str(&text), room, 0, v->utf8);
        if (id.n) {
                BUF_LIT(&line, "  ");
                paint(&line, v->color, is_trouble(t->status) || t->status == TASK_RETRYING ? p : DIM,
                      buf_str(&id));
        }
        put_line(v, out, buf_str(&line));
        buf_deinit(&text);
        buf_deinit(&line);
        buf_deinit(&id);
}

/* What is known of an operation by looking at its tasks. */
struct glance {
        uint32_t n_work, n_trouble, n_rest; /* n_rest: not ended, not at work */
        uint32_t n_undo, n_undone, n_kept;  /* n_undo: still to be undone; n_kept: could not be */
        uint32_t first_s, last_s;
        uint32_t waits_for; /* operation, UINT32_MAX: none */
        uint32_t n_lines;   /* given to its tasks */
        enum task_status status;
};

static void look(const struct run *run, struct glance *g)
{
        for (uint32_t i = 0; i < run->n_operations; i++)
                g[i] = (struct glance){.waits_for = UINT32_MAX};
        for (uint32_t i = 0; i < run->n_tasks; i++) {
                const struct task *t = &run->tasks[i];
                struct glance *o = &g[t->operation];

                if (task_is_join(t))
                        continue;
                o->n_work += is_at_work(t->status);
                o->n_trouble += is_trouble(t->status);
                o->n_undo += t->undo;
                o->n_undone += t->status == TASK_UNDONE;
                o->n_kept += t->status == TASK_UNDO_FAILED && !t->undo;
                o->n_rest += !is_at_work(t->status) && !task_status_ended(t->status);
                if (t->started_s && (!o->first_s || t->started_s < o->first_s))
                        o->first_s = t->started_s;
                o->last_s = MAX(o->last_s, t->ended_s);
        }
        if (!run->planned || run->n_tasks > WAITS_FOR_MAX)
                return;
        for (uint32_t i = 0; i < run->n_tasks; i++) {
                const struct task *t = &run->tasks[i];

                if (task_status_ended(t->status))
                        continue;
                for (uint32_t k = run->first_next[i]; k < run->first_next[i + 1]; k++) {
                        uint32_t o = run->tasks[run_next(run, k)].operation;

                        if (o != t->operation && g[o].waits_for == UINT32_MAX)
                                g[o].waits_for = t->operation;
                }
        }
}

static enum task_status operation_status(const struct operation *o, const struct glance *g)
{
        if (g->n_kept)
                return TASK_UNDO_FAILED;
        if (g->n_undo && g->n_work)
                return TASK_UNDOING;
        if (g->n_undone && !g->n_undo)
                return TASK_UNDONE;
        if (g->n_trouble > 0 && o->n_failed == 0)
                return TASK_PARKED;
        if (o->n_ended == o->n_tasks)
                return o->n_failed ? TASK_FAILED : g->last_s || !o->n_tasks ? TASK_SUCCEEDED
                                                                            : TASK_SKIPPED;
        if (g->n_work || o->n_ended)
                return o->n_failed ? TASK_FAILED : TASK_RUNNING;
        return TASK_WAITING;
}

static void put_operation(const struct view *v, const struct run *run, uint32_t number,
                          const struct glance *g, size_t id_width, struct buf *out)
{
        const struct operation *o = &run->operations[number];
        struct buf line = BUF_NULL, id = BUF_NULL;
        int64_t now_s = (v->now_ms - run->started_ms) / 1000 + 1;
        enum paint p;
        const char *mark = symbol(v, g->status, &p);
        char count[32];

        BUF_LIT(&line, "  ");
        paint(&line, v->color, p, mark);
        buf_putc(&line, ' ');
        put_cut(&id, operation_id(run, o), id_width, id_width, v->utf8);
        paint(&line, v->color, g->status == TASK_WAITING ? DIM : PLAIN, buf_str(&id));
        if (g->n_undo + g->n_undone + g->n_kept > 0)
                snprintf(count, sizeof(count), "  %u/%u undone", g->n_undone,
                         g->n_undo + g->n_undone + g->n_kept);
        else
                snprintf(count, sizeof(count), "  %u/%u", o->n_ended, o->n_tasks);
        paint(&line, v->color, DIM, count);
        buf_clear(&id);
        if (g->first_s) {
                BUF_LIT(&id, "  ");
                put_duration(&id, (o->n_ended == o->n_tasks && g->last_s ? (int64_t)g->last_s
                                                                         : now_s) -
                                          g->first_s);
        }
        if (o->implied)
                BUF_LIT(&id, "  (implied)");
        if (g->status == TASK_WAITING && g->waits_for != UINT32_MAX)
                buf_printf(&id, "  waits for %s",
                           operation_id(run, &run->operations[g->waits_for]));
        paint(&line, v->color, DIM, buf_str(&id));
        put_line(v, out, buf_str(&line));
        buf_deinit(&line);
        buf_deinit(&id);
}

/* The tasks of an operation in n lines: all, or those at work and a count of the others. */
static void put_tasks(const struct view *v, const struct run *run, uint32_t operation,
                      uint32_t first, uint32_t n_lines, size_t id_width, struct buf *out)
{
        const struct operation *o = &run->operations[operation];
        bool all = o->n_tasks <= n_lines;
        uint32_t shown = 0, room = all ? n_lines : n_lines - 1;
        char more[64];

        for (int pass = 0; pass < 3 && shown < room; pass++)
                for (uint32_t i = first, seen = 0; i < run->n_tasks && seen < o->n_tasks; i++) {
                        const struct task *t = &run->tasks[i];
                        int rank = is_trouble(t->status) || is_at_work(t->status) ? 0
                                   : t->undo || !task_status_ended(t->status)     ? 1
                                                                                  : 2;

                        if (t->operation != operation || task_is_join(t))
                                continue;
                        seen++;
                        if ((all ? pass == 0 : rank == pass) && shown < room) {
                                put_task(v, run, i, id_width, out);
                                shown++;
                        }
                }
        if (all || shown >= o->n_tasks)
                return;
        snprintf(more, sizeof(more), "      %s %u more", v->utf8 ? "…" : "...", o->n_tasks - shown);
        paint(out, v->color, DIM, more);
        buf_putc(out, '\n');
}

/* Shares `room` lines among the operations that are open, so that none starves. */
static void share_lines(const struct run *run, struct glance *g, size_t room, bool everything)
{
        for (bool more = true; more && room > 0;) {
                more = false;
                for (uint32_t i = 0; i < run->n_operations && room > 0; i++) {
                        const struct operation *o = &run->operations[i];
                        bool open = g[i].n_work || g[i].n_trouble || g[i].n_undo || o->n_failed ||
                                    (o->n_ended && o->n_ended < o->n_tasks);

                        if ((!open && !everything) || g[i].n_lines >= o->n_tasks)
                                continue;
                        g[i].n_lines++;
                        room--;
                        more = true;
                }
        }
}

/* Why it is rolled back, in place of an empty line. */
static void put_because(const struct view *v, const struct run *run, struct buf *out)
{
        struct buf reason = BUF_NULL, text = BUF_NULL;

        if (!run->rollback)
                return;
        undo_reason(run, &reason);
        put_cut(&text, buf_str(&reason), v->width > 4 ? v->width - 4 : 0, 0, v->utf8);
        BUF_LIT(out, "  ");
        paint(out, v->color, DIM, buf_str(&text));
        buf_deinit(&reason);
        buf_deinit(&text);
}

static void put_header(const struct view *v, const struct run *run, struct buf *out)
{
        const char *status = run_status_name(run->status);
        struct buf text = BUF_NULL;

        paint(out, v->color, BOLD, run->name ? run->name : run->id_text);
        BUF_LIT(out, "  ");
        paint(out, v->color, DIM, run->id_text);
        BUF_LIT(out, "  ");
        for (const char *p = status; *p; p++)
                buf_putc(&text, *p == '_' ? ' ' : *p);
        paint(out, v->color, status_paint(status), buf_str(&text));
        buf_clear(&text);
        if (run->started_ms) {
                BUF_LIT(&text, "  ");
                put_duration(&text, run_seconds(run, v->now_ms));
                paint(out, v->color, DIM, buf_str(&text));
        }
        buf_putc(out, '\n');
        put_because(v, run, out);
        buf_putc(out, '\n');
        buf_deinit(&text);
}

static void put_progress(const struct view *v, uint32_t done, uint32_t total, enum paint p,
                         struct buf *out)
{
        size_t width = v->width > 60 ? 30 : v->width / 3;
        struct buf rest = BUF_NULL, bar = BUF_NULL;

        BUF_LIT(out, "\n  ");
        for (size_t i = 0; i < width; i++)
                if (total && i * total < width * done)
                        buf_puts(&bar, v->utf8 ? "━" : "#");
                else
                        buf_puts(&rest, v->utf8 ? "─" : "-");
        paint(out, v->color, p, buf_str(&bar));
        paint(out, v->color, DIM, buf_str(&rest));
        buf_deinit(&rest);
        buf_deinit(&bar);
}

/* "rolling back: 3 of 7 undone" */
static void put_rollback_bar(const struct view *v, const struct run *run, struct buf *out)
{
        struct undo_count n;

        undo_count(run, &n);
        put_progress(v, n.undone + n.failed, n.total, n.failed ? RED : YELLOW, out);
        BUF_LIT(out, "  rolling back");
        if (run->unwinding)
                buf_printf(out, ": %u of %u undone", n.undone, n.total);
        else
                buf_printf(out, ": %u still at work", run->n_attempts);
        if (n.failed)
                buf_printf(out, ", %u cannot be undone", n.failed);
        if (run->stopped)
                BUF_LIT(out, ", cancelled");
}

static void put_forward_bar(const struct view *v, const struct run *run, struct buf *out)
{
        int64_t left = run->status == RUN_PAUSED ? -1 : view_forecast(run, v->now_ms);
        uint32_t total = 0, ended = 0;

        for (uint32_t i = 0; i < run->n_operations; i++) {
                total += run->operations[i].n_tasks;
                ended += run->operations[i].n_ended;
        }
        put_progress(v, ended, total, run->n_by_status[TASK_FAILED] ? RED : GREEN, out);
        buf_printf(out, "  %u of %u tasks", ended, total);
        if (run->n_by_status[TASK_FAILED])
                buf_printf(out, ", %u failed", run->n_by_status[TASK_FAILED]);
        if (left >= 0) {
                BUF_LIT(out, ", about ");
                put_duration(out, left);
                BUF_LIT(out, " left");
        }
}

static void put_bar(const struct view *v, const struct run *run, struct buf *out)
{
        uint32_t parked = run->n_by_status[TASK_PARKED];
        struct buf text = BUF_NULL;

        if (run->rollback)
                put_rollback_bar(v, run, out);
        else
                put_forward_bar(v, run, out);
        if (parked)
                buf_printf(out, ", %u waiting for you", parked);
        buf_putc(out, '\n');
        if (parked)
                buf_printf(&text, "  prvng batch resolve %s TASK --as done|not-started\n",
                           run->id_text);
        else if (run->status == RUN_PAUSED)
                buf_printf(&text, "  prvng batch resume %s\n", run->id_text);
        if (text.n)
                paint(out, v->color, MAGENTA, buf_str(&text));
        buf_deinit(&text);
}

/* Which operations to leave out when not even their own lines fit: those that ended first, then those
 * that wait. */
static size_t choose_operations(const struct run *run, const struct glance *g, size_t room, bool *hide)
{
        size_t excess = run->n_operations > room ? run->n_operations - room + 1 : 0;
        size_t hidden = 0;

        for (int pass = 0; pass < 2 && hidden < excess; pass++)
                for (uint32_t k = 0; k < run->n_operations && hidden < excess; k++) {
                        uint32_t i = pass == 0 ? k : run->n_operations - 1 - k;
                        enum task_status s = g[i].status;

                        if (hide[i] || !(pass == 0 ? s == TASK_SUCCEEDED || s == TASK_SKIPPED
                                                   : s == TASK_WAITING))
                                continue;
                        hide[i] = true;
                        hidden++;
                }
        return hidden;
}

void view_tree(const struct view *v, const struct run *run, struct buf *out)
{
        struct glance *g = calloc(run->n_operations + (size_t)1, sizeof(*g));
        bool *hide = calloc(run->n_operations + (size_t)1, sizeof(*hide));
        uint32_t *first = calloc(run->n_operations + (size_t)1, sizeof(*first));
        size_t room = v->height ? v->height - MIN(v->height, (size_t)5) : SIZE_MAX / 2;
        size_t hidden, shown, op_width = 8, task_width = 8, total = run->n_operations;

        if (!g || !hide || !first)
                goto out;
        put_header(v, run, out);
        if (!run->planned) {
                paint(out, v->color, DIM, "  making the plan\n");
                goto out;
        }
        look(run, g);
        for (uint32_t i = 0; i < run->n_operations; i++) {
                g[i].status = operation_status(&run->operations[i], &g[i]);
                op_width = MAX(op_width, text_width(operation_id(run, &run->operations[i])));
                total += run->operations[i].n_tasks;
        }
        for (uint32_t i = run->n_tasks; i > 0; i--) {
                const struct task *t = &run->tasks[i - 1];

                first[t->operation] = i - 1;
                if (!task_is_join(t))
                        task_width = MAX(task_width, text_width(short_id(run, t)));
        }
        op_width = MIN(op_width, v->width / 2);
        task_width = MIN(task_width, v->width / 2);
        hidden = choose_operations(run, g, room, hide);
        shown = MIN(run->n_operations - hidden, room);
        hidden = run->n_operations - shown;
        room -= MIN(room, shown + (hidden ? 1 : 0));
        share_lines(run, g, room, total <= room + run->n_operations);
        for (uint32_t i = 0; i < run->n_operations && shown > 0; i++) {
                if (hide[i])
                        continue;
                shown--;
                put_operation(v, run, i, &g[i], op_width, out);
                if (g[i].n_lines > 0)
                        put_tasks(v, run, i, first[i], g[i].n_lines, task_width, out);
        }
        if (hidden) {
                char more[80];

                snprintf(more, sizeof(more), "  %s %zu more operations", v->utf8 ? "…" : "...",
                         hidden);
                paint(out, v->color, DIM, more);
                buf_putc(out, '\n');
        }
        put_bar(v, run, out);
out:
        free(g);
        free(hide);
        free(first);
}
