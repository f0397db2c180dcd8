/* SPDX-License-Identifier: Apache-2.0 */
/* The status of a run as a document: WorkflowState. docs/http-api.md says what it holds. */
#include "run/query.h"

#include "base/clock.h"
#include "host/host.h"
#include "plugin/border.h"

#include <fcntl.h>
#include <limits.h>

static const char *const verbs[] = {"create", "update", "delete", "check", "join"};
static const char *const targets[] = {"server", "taskserv", "cluster"};

int run_exit_code(const struct run *run)
{
        switch (run->status) {
        case RUN_SUCCEEDED:
                return run->n_drift ? 8 : 0;
        case RUN_FAILED:
                return 1;
        case RUN_ROLLED_BACK:
                return 4;
        case RUN_ROLLBACK_INCOMPLETE:
                return 5;
        case RUN_CANCELLED:
                return 6;
        case RUN_PENDING:
        case RUN_RUNNING:
        case RUN_PAUSED:
        case RUN_ROLLING_BACK:
        case N_RUN_STATUSES:
                break;
        }
        return -1;
}

void query_time(struct buf *b, const char *name, int64_t wall_ms)
{
        char text[CLOCK_TEXT];

        buf_printf(b, ",\"%s\":", name);
        if (!wall_ms) {
                BUF_LIT(b, "null");
                return;
        }
        clock_text(wall_ms, text);
        buf_json(b, text);
}

void query_string(struct buf *b, const char *name, const char *value)
{
        buf_printf(b, ",\"%s\":", name);
        if (value)
                buf_json(b, value);
        else
                BUF_LIT(b, "null");
}

void query_json(struct buf *b, const char *name, const char *value, const char *fallback)
{
        buf_printf(b, ",\"%s\":%s", name, value && *value ? value : fallback);
}

struct undos {
        uint32_t undone, failed;
};

/* Of each operation; caller frees. NULL: there are none, or no memory to say it. */
static struct undos *count_undos(const struct run *run)
{
        struct undos *undos;

        if (!run->n_by_status[TASK_UNDONE] && !run->n_by_status[TASK_UNDO_FAILED])
                return NULL;
        undos = calloc(run->n_operations + (size_t)1, sizeof(*undos));
        for (uint32_t i = 0; undos && i < run->n_tasks; i++) {
                const struct task *t = &run->tasks[i];

                undos[t->operation].undone += t->status == TASK_UNDONE && !task_is_join(t);
                undos[t->operation].failed += t->status == TASK_UNDO_FAILED;
        }
        return undos;
}

/* In the words of people who look at operations. */
static const char *operation_status(const struct run *run, const struct operation *o,
                                    const struct undos *undos)
{
        if (undos->failed)
                return "undo_failed";
        if (undos->undone)
                return "undone";
        if (o->n_failed)
                return "failed";
        if (o->n_ended == o->n_tasks)
                return "succeeded";
        if (run_status_ended(run->status))
                return "skipped";
        return o->n_ended ? "running" : "waiting";
}

static void add_operations(struct buf *b, const struct run *run)
{
        static const struct undos none;
        _cleanup_(cleanup_free) struct undos *undos = count_undos(run);

        BUF_LIT(b, ",\"operations\":[");
        for (uint32_t i = 0; i < run->n_operations; i++) {
                const struct operation *o = &run->operations[i];

                buf_puts(b, i ? ",{\"id\":" : "{\"id\":");
                buf_json(b, operation_id(run, o));
                buf_printf(b,
                           ",\"verb\":\"%s\",\"target\":\"%s\",\"status\":\"%s\",\"tasks\":%u,"
                           "\"ended\":%u,\"failed\":%u,\"undone\":%u,\"implied\":%s}",
                           verbs[o->verb], targets[o->target],
                           operation_status(run, o, undos ? &undos[i] : &none), o->n_tasks,
                           o->n_ended, o->n_failed, undos ? undos[i].undone : 0,
                           o->implied ? "true" : "false");
        }
        buf_putc(b, ']');
}

/* "operation/item@server": the last two parts. */
static void add_item(struct buf *b, const char *id)
{
        const char *slash = strchr(id, '/'), *item = slash ? slash + 1 : id;
        const char *at = strrchr(item, '@');

        BUF_LIT(b, ",\"item\":");
        buf_json_n(b, item, at ? (size_t)(at - item) : strlen(item));
        BUF_LIT(b, ",\"server\":");
        if (at)
                buf_json(b, at + 1);
        else
                BUF_LIT(b, "null");
}

static int64_t task_time(const struct run *run, uint32_t s)
{
        return s ? run->started_ms + ((int64_t)s - 1) * 1000 : 0;
}

static void add_attempt(struct buf *b, const struct task *t)
{
        static const char *const roles[] = {"task", "undo", "surplus"};
        char op_id[UID_TEXT];

        if (!t->attempt)
                return;
        uid_text(&t->attempt->op_id, op_id);
        buf_printf(b, ",\"attempt\":%u,\"op_id\":\"%s\",\"role\":\"%s\"", t->attempt->number, op_id,
                   roles[t->attempt->role]);
        if (t->status == TASK_RETRYING)
                query_time(b, "retry_at", t->attempt->retry_ms);
}

/* Why it failed, or what it waits for and since when. */
static void add_note(struct buf *b, const struct task *t, const struct task_note *note)
{
        if (note && t->status == TASK_SUCCEEDED && (t->drift || note->answer == PRVNG_CONFLICT))
                query_string(b, "message", note->message); /* what differs, or why it was not undone */
        if (!note || t->status == TASK_SUCCEEDED || t->status == TASK_UNCHANGED ||
            t->status == TASK_SKIPPED)
                return;
        if ((t->status == TASK_WAITING || t->status == TASK_READY) && !note->answer) {
                BUF_LIT(b, ",\"waits_until\":{\"message\":");
                buf_json(b, note->message);
                query_time(b, "since", note->since_ms);
                buf_putc(b, '}');
                return;
        }
        query_string(b, "class", op_class_name(note->answer));
        query_string(b, "effect", op_effect_name(note->effect));
        query_string(b, "message", note->message);
        query_time(b, "since", note->since_ms);
}

static void add_task(struct buf *b, const struct run *run, uint32_t number)
{
        const struct task *t = &run->tasks[number];
        const struct task_note *note = run_note(run, number);
        const char *id = task_id(run, t);

        BUF_LIT(b, "{\"id\":");
        buf_json(b, id);
        query_string(b, "operation", operation_id(run, &run->operations[t->operation]));
        add_item(b, id);
        query_string(b, "resource", task_key(run, t));
        query_string(b, "verb", verbs[t->verb]);
        query_string(b, "status", task_status_name(t->status));
        query_time(b, "started_at", task_time(run, t->started_s));
        query_time(b, "ended_at", task_time(run, t->ended_s));
        add_attempt(b, t);
        if (t->status == TASK_WAITING)
                buf_printf(b, ",\"waits_for\":%u", task_unmet(run, t));
        add_note(b, t, note);
        if (t->undo)
                BUF_LIT(b, ",\"to_undo\":true");
        if (t->irreversible)
                BUF_LIT(b, ",\"irreversible\":true");
        if (t->implied)
                BUF_LIT(b, ",\"implied\":true");
        if (t->verb == 3)
                buf_printf(b, ",\"drift\":%s", t->drift ? "true" : "false");
        buf_putc(b, '}');
}

static void add_tasks(struct buf *b, const struct run *run)
{
        bool any = false;

        BUF_LIT(b, ",\"tasks\":[");
        for (uint32_t i = 0; i < run->n_tasks && run->planned; i++) {
                if (task_is_join(&run->tasks[i]))
                        continue;
                if (any)
                        buf_putc(b, ',');
                add_task(b, run, i);
                any = true;
        }
        buf_putc(b, ']');
}

static void add_counts(struct buf *b, const struct run *run)
{
        uint32_t total = 0;

        BUF_LIT(b, ",\"counts\":{");
        for (unsigned s = 0; s < N_TASK_STATUSES; s++) {
                total += run->n_by_status[s];
                buf_printf(b, "\"%s\":%u,", task_status_name(s), run->n_by_status[s]);
        }
        buf_printf(b, "\"total\":%u}", total);
}

void query_head(struct buf *b, const struct run *run)
{
        int code = run_exit_code(run);

        BUF_LIT(b, "{\"id\":");
        buf_json(b, run->id_text);
        query_string(b, "name", run->name);
        query_string(b, "kind", run->type ?: run->kind);
        query_string(b, "status", run_status_name(run->status));
        if (code < 0)
                BUF_LIT(b, ",\"exit_code\":null");
        else
                buf_printf(b, ",\"exit_code\":%d", code);
        query_json(b, "who", run->who, "{}");
        query_time(b, "accepted_at", run->accepted_ms);
}

static void add_checkpoints(struct buf *b, const struct run *run)
{
        BUF_LIT(b, ",\"checkpoints\":[");
        for (uint32_t i = 0; i < run->n_checkpoints; i++) {
                const struct checkpoint *c = &run->checkpoints[i];

                buf_printf(b, "%s{\"checkpoint\":%u,\"operations\":%u,\"seq\":%llu", i ? "," : "",
                           i + 1, c->n_operations, (unsigned long long)c->seq);
                query_time(b, "at", c->at);
                buf_putc(b, '}');
        }
        buf_putc(b, ']');
}

/* What a rollback that ended did not undo though it should have. */
static void add_left(struct buf *b, const struct run *run)
{
        bool any = false;

        BUF_LIT(b, ",\"left\":[");
        for (uint32_t i = 0; i < run->n_tasks && run_status_ended(run->status); i++) {
                const struct task *t = &run->tasks[i];

                if (!run_in_rollback(run, i, run->to_checkpoint, run->preserve))
                        continue;
                buf_puts(b, any ? ",{\"task\":" : "{\"task\":");
                buf_json(b, task_id(run, t));
                query_string(b, "resource", task_key(run, t));
                add_note(b, t, run_note(run, i));
                buf_putc(b, '}');
                any = true;
        }
        buf_putc(b, ']');
}

static void add_rollback(struct buf *b, const struct run *run)
{
        uint32_t n = 0;

        if (!run->rollback_reason) {
                BUF_LIT(b, ",\"rollback\":null");
                return;
        }
        for (uint32_t i = 0; i < run->n_tasks; i++)
                n += run->tasks[i].undo;
        buf_printf(b, ",\"rollback\":{\"to\":%u,\"reason\":", run->to_checkpoint);
        buf_json(b, run->rollback_reason);
        query_json(b, "who", run->rollback_who, "null");
        query_time(b, "at", run->rollback_ms);
        buf_printf(b, ",\"to_undo\":%u,\"undone\":%u,\"undo_failed\":%u", n,
                   run->n_by_status[TASK_UNDONE], run->n_by_status[TASK_UNDO_FAILED]);
        add_left(b, run);
        buf_putc(b, '}');
}

#define LAST_LOGS 10

/* The last lines of the run's log, which are JSON objects. */
static void add_logs(struct buf *b, const struct context *c, const struct run *run)
{
        _cleanup_(cleanup_free) char *folder = host_run_folder(c->config, run->id_text, NULL);
        char path[PATH_MAX], tail[8192], *line, *lines[LAST_LOGS];
        unsigned n = 0;
        int fd;

        BUF_LIT(b, ",\"logs\":[");
        snprintf(path, sizeof(path), "%s/log.jsonl", folder ?: "");
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
                off_t end = lseek(fd, 0, SEEK_END);
                ssize_t got = pread(fd, tail, sizeof(tail) - 1,
                                    MAX(end - (off_t)sizeof(tail) + 1, (off_t)0));

                tail[MAX(got, (ssize_t)0)] = 0;
                line = end < (off_t)sizeof(tail) ? tail : strchr(tail, '\n');
                for (char *nl; line && (nl = strchr(line, '\n')); line = nl + 1) {
                        *nl = 0;
                        if (*line == '{')
                                lines[n++ % LAST_LOGS] = line;
                }
                close(fd);
        }
        for (unsigned first = n > LAST_LOGS ? n - LAST_LOGS : 0, i = first; i < n; i++) {
                if (i > first)
                        buf_putc(b, ',');
                buf_puts(b, lines[i % LAST_LOGS]);
        }
        buf_putc(b, ']');
}

int query_status(const struct context *c, const struct run *run, struct buf *json)
{
        int64_t end = run->ended_ms ?: clock_wall_ms();

        query_head(json, run);
        query_string(json, "file", run->file);
        query_time(json, "started_at", run->started_ms);
        query_time(json, "ended_at", run->ended_ms);
        query_json(json, "notices", run->notices, "[]");
        add_counts(json, run);
        add_operations(json, run);
        add_tasks(json, run);
        add_checkpoints(json, run);
        add_rollback(json, run);
        BUF_LIT(json, ",\"metrics\":{\"duration_ms\":");
        buf_i64(json, run->started_ms ? end - run->started_ms : 0);
        buf_printf(json, ",\"records\":%llu,\"drift\":%u}", (unsigned long long)run->seq,
                   run->n_drift);
        add_logs(json, c, run);
        buf_putc(json, '}');
        return buf_error(json);
}
