/* SPDX-License-Identifier: Apache-2.0 */
/* The read model of the API: documents made from the fold. docs/http-api.md says what they hold. */
#include "run/site.h"

#include "base/clock.h"
#include "base/json.h"
#include "host/host.h"
#include "plugin/border.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

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

static void add_time(struct buf *b, const char *name, int64_t wall_ms)
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

static void add_string(struct buf *b, const char *name, const char *value)
{
        buf_printf(b, ",\"%s\":", name);
        if (value)
                buf_json(b, value);
        else
                BUF_LIT(b, "null");
}

static void add_json(struct buf *b, const char *name, const char *value, const char *fallback)
{
        buf_printf(b, ",\"%s\":%s", name, value && *value ? value : fallback);
}

/* The status of a task, in the words of people who look at operations. */
static const char *operation_status(const struct run *run, const struct operation *o)
{
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
        BUF_LIT(b, ",\"operations\":[");
        for (uint32_t i = 0; i < run->n_operations; i++) {
                const struct operation *o = &run->operations[i];

                buf_puts(b, i ? ",{\"id\":" : "{\"id\":");
                buf_json(b, operation_id(run, o));
                buf_printf(b,
                           ",\"verb\":\"%s\",\"target\":\"%s\",\"status\":\"%s\",\"tasks\":%u,"
                           "\"ended\":%u,\"failed\":%u,\"implied\":%s}",
                           verbs[o->verb], targets[o->target], operation_status(run, o), o->n_tasks,
                           o->n_ended, o->n_failed, o->implied ? "true" : "false");
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
        char op_id[UID_TEXT];

        if (!t->attempt)
                return;
        uid_text(&t->attempt->op_id, op_id);
        buf_printf(b, ",\"attempt\":%u,\"op_id\":\"%s\"", t->attempt->number, op_id);
        if (t->status == TASK_RETRYING)
                add_time(b, "retry_at", t->attempt->retry_ms);
}

static void add_task(struct buf *b, const struct run *run, uint32_t number)
{
        const struct task *t = &run->tasks[number];
        const struct task_note *note = run_note(run, number);
        const char *id = task_id(run, t);

        BUF_LIT(b, "{\"id\":");
        buf_json(b, id);
        add_string(b, "operation", operation_id(run, &run->operations[t->operation]));
        add_item(b, id);
        add_string(b, "resource", task_key(run, t));
        add_string(b, "verb", verbs[t->verb]);
        add_string(b, "status", task_status_name(t->status));
        add_time(b, "started_at", task_time(run, t->started_s));
        add_time(b, "ended_at", task_time(run, t->ended_s));
        add_attempt(b, t);
        if (t->status == TASK_WAITING)
                buf_printf(b, ",\"waits_for\":%u", t->n_unmet);
        if (note && (!task_status_ended(t->status) || t->status == TASK_FAILED)) {
                add_string(b, "class", op_class_name(note->answer));
                add_string(b, "effect", op_effect_name(note->effect));
                add_string(b, "message", note->message);
        }
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

static void add_head(struct buf *b, const struct run *run)
{
        int code = run_exit_code(run);

        BUF_LIT(b, "{\"id\":");
        buf_json(b, run->id_text);
        add_string(b, "name", run->name);
        add_string(b, "kind", run->kind);
        add_string(b, "status", run_status_name(run->status));
        if (code < 0)
                BUF_LIT(b, ",\"exit_code\":null");
        else
                buf_printf(b, ",\"exit_code\":%d", code);
        add_json(b, "who", run->who, "{}");
        add_time(b, "accepted_at", run->accepted_ms);
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

        add_head(json, run);
        add_string(json, "file", run->file);
        add_time(json, "started_at", run->started_ms);
        add_time(json, "ended_at", run->ended_ms);
        add_json(json, "notices", run->notices, "[]");
        add_counts(json, run);
        add_operations(json, run);
        add_tasks(json, run);
        BUF_LIT(json, ",\"checkpoints\":[],\"metrics\":{\"duration_ms\":");
        buf_i64(json, run->started_ms ? end - run->started_ms : 0);
        buf_printf(json, ",\"records\":%llu,\"drift\":%u}", (unsigned long long)run->seq,
                   run->n_drift);
        add_logs(json, c, run);
        buf_putc(json, '}');
        return buf_error(json);
}

int query_runs(const struct site *site, const char *name, struct buf *json)
{
        bool any = false;

        BUF_LIT(json, "{\"workflows\":[");
        for (uint32_t i = 0; i < site->n_runs; i++) {
                const struct run *run = site->runs[i];

                if (name && !streq(name, run->name))
                        continue;
                if (any)
                        buf_putc(json, ',');
                add_head(json, run);
                add_time(json, "ended_at", run->ended_ms);
                buf_putc(json, '}');
                any = true;
        }
        BUF_LIT(json, "]}");
        return buf_error(json);
}

int query_resource(const struct resource *r, struct buf *json)
{
        BUF_LIT(json, "{\"key\":");
        buf_json(json, r->key);
        add_string(json, "workflow", r->workflow);
        add_string(json, "plugin", r->workflow ? r->plugin : NULL);
        add_json(json, "spec", r->workflow ? r->spec : NULL, "null");
        add_json(json, "outputs", r->workflow ? r->outputs : NULL, "null");
        add_string(json, "builds_on", r->workflow ? r->builds_on : NULL);
        add_string(json, "op_id", r->workflow && *r->op_id ? r->op_id : NULL);
        add_string(json, "run", r->workflow ? r->run : NULL);
        add_time(json, "changed_at", r->changed_ms);
        add_string(json, "claimed_by", r->claim);
        buf_putc(json, '}');
        return buf_error(json);
}

int query_resources(const struct site *site, struct buf *json)
{
        _cleanup_(cleanup_free) const struct resource **list = NULL;
        size_t n;
        int r;

        r = inventory_sorted(&site->inventory, &list, &n);
        if (r)
                return error_fold(r);
        BUF_LIT(json, "{\"resources\":[");
        for (size_t i = 0; i < n && r == 0; i++) {
                if (i)
                        buf_putc(json, ',');
                r = query_resource(list[i], json);
        }
        BUF_LIT(json, "]}");
        return r ?: buf_error(json);
}

/* Paths */

static int not_found(struct buf *body, const char *what, const char *name)
{
        buf_clear(body);
        BUF_LIT(body, "{\"error\":{\"message\":");
        {
                _cleanup_(cleanup_buf) struct buf message = BUF_NULL;

                buf_printf(&message, "there is no %s \"%s\"", what, name);
                buf_json(body, buf_str(&message));
        }
        BUF_LIT(body, "}}");
        return 404;
}

static const char *parameter(const char *query, const char *name, char *ret, size_t n_ret)
{
        size_t n = strlen(name);

        for (const char *p = query; p && *p;) {
                size_t len = strcspn(p, "&"), at = 0;

                if (len > n && strncmp(p, name, n) == 0 && p[n] == '=') {
                        for (size_t i = n + 1; i < len && at + 1 < n_ret; i++) {
                                unsigned c;

                                if (p[i] == '%' && i + 2 < len && sscanf(p + i + 1, "%2x", &c) == 1) {
                                        ret[at++] = (char)c;
                                        i += 2;
                                } else {
                                        ret[at++] = p[i] == '+' ? ' ' : p[i];
                                }
                        }
                        ret[at] = 0;
                        return ret;
                }
                p += len + (p[len] == '&');
        }
        return NULL;
}

static int append_file(struct buf *b, const char *path)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = 0;
        char *p;

        if (fd < 0)
                return -errno;
        while ((p = buf_reserve(b, 65536)) && (n = read(fd, p, 65536)) > 0)
                buf_advance(b, (size_t)n);
        close(fd);
        return n < 0 ? -EIO : buf_error(b);
}

/* What ran in the server for a task, or the run's own log. */
static int query_logs(const struct context *c, const struct run *run, const char *task,
                      struct buf *body)
{
        _cleanup_(cleanup_free) char *folder = host_run_folder(c->config, run->id_text, task);
        char path[PATH_MAX];

        if (!folder)
                return 500;
        snprintf(path, sizeof(path), "%s/%s", folder, task ? "output.log" : "log.jsonl");
        return append_file(body, path) == 0 ? 200
               : task ? not_found(body, "log of the task", task)
                      : 200; /* nothing was logged yet */
}

static int query_run(const struct context *c, struct journal *journal, struct site *site,
                     const char *rest, const char *query_, struct buf *body, char **ret_message)
{
        char name[256], value[512];
        size_t n = strcspn(rest, "/");
        struct run *run;
        bool loaded;
        int r = 0;

        snprintf(name, sizeof(name), "%.*s", (int)n, rest);
        rest += n;
        run = site_run(site, name);
        if (!run)
                return not_found(body, "workflow or run", name);
        loaded = run->loaded;
        if (streq(rest, "/status") || streq(rest, "/metrics")) {
                r = journal ? site_load_run(journal, site, run, ret_message) : 0;
                r = r ?: query_status(c, run, body);
                if (!loaded) /* it has ended: what it holds is not needed again soon */
                        run_unload(run);
        } else if (streq(rest, "/events")) {
                const char *from = parameter(query_, "from", value, sizeof(value));

                r = site_events(journal, run, from ? strtoull(from, NULL, 10) : 0, body);
                if (r > 0)
                        *ret_message = strdup(journal->message ?: "");
        } else if (streq(rest, "/logs")) {
                return query_logs(c, run, parameter(query_, "task", value, sizeof(value)), body);
        } else {
                return not_found(body, "page", rest);
        }
        return r ? 500 : 200;
}

int query(const struct context *c, struct journal *journal, struct site *site, const char *path,
          struct buf *body, char **ret_message)
{
        char bare[1024], value[256];
        const char *mark = strchr(path, '?'), *rest;
        int r;

        snprintf(bare, sizeof(bare), "%.*s", (int)(mark ? mark - path : (ssize_t)strlen(path)), path);
        mark = mark ? mark + 1 : "";
        if (streq(bare, "/workflows")) {
                r = query_runs(site, parameter(mark, "name", value, sizeof(value)), body);
        } else if ((rest = startswith(bare, "/workflows/"))) {
                return query_run(c, journal, site, rest, mark, body, ret_message);
        } else if (streq(bare, "/resources")) {
                r = query_resources(site, body);
        } else if ((rest = startswith(bare, "/resources/"))) {
                const struct resource *resource = inventory_get(&site->inventory, rest);

                if (!resource)
                        return not_found(body, "resource", rest);
                r = query_resource(resource, body);
        } else if (streq(bare, "/healthz") || streq(bare, "/readyz")) {
                buf_printf(body,
                           "{\"status\":\"ok\",\"version\":\"%s\",\"pid\":%ld,\"site\":\"%s\","
                           "\"epoch\":%llu}",
                           PRVNG_VERSION, (long)getpid(), site->id_text,
                           (unsigned long long)site->epoch);
                r = buf_error(body);
        } else {
                return not_found(body, "page", bare);
        }
        return r ? 500 : 200;
}
