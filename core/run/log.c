/* SPDX-License-Identifier: Apache-2.0 */
#include "run/log.h"

#include "base/clock.h"
#include "base/json.h"
#include "host/host.h"
#include "plugin/border.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

enum level { LEVEL_DEBUG, LEVEL_INFO, LEVEL_WARN, LEVEL_ERROR };

static const char *const levels[] = {"debug", "info", "warn", "error"};

struct run_log {
        enum level level;
        bool text;       /* the second file's format */
        int state, file; /* -1: not written */
        struct buf json, plain;
        char trace[33];
        char time[CLOCK_TEXT]; /* text of time_ms: many lines share a millisecond */
        int64_t time_ms;
        char head[200];        /* and their level: the line's start for both */
        size_t n_head;
        enum level head_level;
        bool complained;
};

void run_trace_id(const struct uid *run, char ret_text[33])
{
        hex_text(run->bytes, sizeof(run->bytes), ret_text);
        ret_text[32] = 0;
}

/* Opening */

static int make_path(char *path)
{
        for (char *p = path; (p = strchr(p + 1, '/'));) {
                *p = 0;
                if (mkdir(path, 0755) < 0 && errno != EEXIST)
                        return -errno;
                *p = '/';
        }
        return mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

/* Removes the files of earlier runs of the workflow that are older than they should get. */
static void remove_old(const char *folder, const char *workflow, int64_t days)
{
        size_t n = strlen(workflow);
        DIR *dir = opendir(folder);
        struct stat st;

        for (struct dirent *e; dir && (e = readdir(dir));) {
                if (strlen(e->d_name) != n + 1 + 26 + 4 || strncmp(e->d_name, workflow, n) != 0 ||
                    e->d_name[n] != '-' || !streq(e->d_name + n + 27, ".log"))
                        continue;
                if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                    S_ISREG(st.st_mode) &&
                    clock_wall_ms() / 1000 - st.st_mtime > days * INT64_C(86400))
                        unlinkat(dirfd(dir), e->d_name, 0);
        }
        if (dir)
                closedir(dir);
}

static int open_append(const char *path)
{
        return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static void open_file(struct run_log *l, const struct run *run, const json_t *logging)
{
        const char *path = json_get_string(logging, "path", "./logs/workflows");
        char folder[PATH_MAX], file[PATH_MAX];
        bool wanted = false;
        json_t *d;
        size_t i;

        json_array_foreach (json_object_get(logging, "destinations"), i, d)
                wanted |= json_is_string(d) && streq(json_string_value(d), "file");
        if (!wanted || (path[0] != '/' && !(run->folder && run->folder[0] == '/')))
                return;
        if (path[0] == '/')
                snprintf(folder, sizeof(folder), "%s", path);
        else
                snprintf(folder, sizeof(folder), "%s/%s", run->folder,
                         startswith(path, "./") ? path + 2 : path);
        if (snprintf(file, sizeof(file), "%s/%s-%s.log", folder, run->name, run->id_text) >=
            (int)sizeof(file))
                return;
        if (make_path(folder) == 0) {
                remove_old(folder, run->name, json_get_int(logging, "retention_days", 30));
                l->file = open_append(file);
        }
        if (l->file < 0)
                fprintf(stderr, "prvng: the log %s cannot be written: %s\n", file, strerror(errno));
}

struct run_log *run_log_open(const struct config *config, const struct run *run)
{
        _cleanup_(cleanup_json_decref) json_t *logging = NULL;
        _cleanup_(cleanup_free) char *folder = host_run_folder(config, run->id_text, NULL);
        struct run_log *l = calloc(1, sizeof(*l));
        char path[PATH_MAX];
        const char *level;

        if (!l)
                return NULL;
        l->state = l->file = -1;
        run_trace_id(&run->id, l->trace);
        if (json_parse(run->logging ?: "{}", strlen(run->logging ?: "{}"), &logging, NULL))
                logging = NULL;
        level = json_get_string(logging, "level", "info");
        for (unsigned i = 0; i < N_ELEMENTS(levels); i++)
                if (streq(level, levels[i]))
                        l->level = i;
        l->text = streq(json_get_string(logging, "format", "json"), "text");
        if (folder && snprintf(path, sizeof(path), "%s/log.jsonl", folder) < (int)sizeof(path))
                l->state = open_append(path);
        open_file(l, run, logging);
        return l;
}

struct run_log *run_log_close(struct run_log *l)
{
        if (!l)
                return NULL;
        run_log_flush(l);
        if (l->state >= 0)
                close(l->state);
        if (l->file >= 0)
                close(l->file);
        buf_deinit(&l->json);
        buf_deinit(&l->plain);
        free(l);
        return NULL;
}

/* Lines */

static void line(struct run_log *l, const struct run *run, enum level level, int64_t at,
                 const char *task, const char *what, struct span detail)
{
        const char *time = l->time;

        if (level < l->level)
                return;
        if (at != l->time_ms || level != l->head_level || !l->n_head) {
                clock_text(at, l->time);
                l->time_ms = at;
                l->head_level = level;
                l->n_head = (size_t)snprintf(
                        l->head, sizeof(l->head),
                        "{\"at\":\"%s\",\"level\":\"%s\",\"trace_id\":\"%s\",\"run\":\"%s\"", time,
                        levels[level], l->trace, run->id_text);
        }
        buf_append(&l->json, l->head, l->n_head);
        if (task) {
                BUF_LIT(&l->json, ",\"task\":");
                buf_json(&l->json, task);
        }
        BUF_LIT(&l->json, ",\"message\":");
        buf_json(&l->json, what);
        if (detail.n) {
                BUF_LIT(&l->json, ",\"detail\":");
                buf_json_n(&l->json, detail.p, detail.n);
        }
        BUF_LIT(&l->json, "}\n");
        if (l->file < 0 || !l->text)
                return;
        buf_printf(&l->plain, "%s %-5s %s%s%s%s%.*s\n", time, levels[level], task ?: "",
                   task ? ": " : "", what, detail.n ? ": " : "", (int)detail.n,
                   detail.n ? detail.p : "");
}

/* What is about the run as a whole: its plan, its commands, its end. */
static void run_record(struct run_log *l, const struct run *run, const struct record *r)
{
        struct span detail = r->message.n ? r->message : r->who;
        enum level level = LEVEL_INFO;
        char what[128];

        switch ((unsigned)r->type) {
        case RECORD_PLANNED:
                snprintf(what, sizeof(what), "run of workflow %.60s starts: %u tasks", run->name,
                         r->n_tasks);
                break;
        case RECORD_CANCEL:
                snprintf(what, sizeof(what), "cancelled");
                level = LEVEL_WARN;
                break;
        case RECORD_PAUSE:
                snprintf(what, sizeof(what), "paused");
                level = LEVEL_WARN;
                break;
        case RECORD_RESUME:
                snprintf(what, sizeof(what), "resumed");
                break;
        case RECORD_ROLLBACK:
                snprintf(what, sizeof(what), "rollback to %s%.0u",
                         r->checkpoint ? "checkpoint " : "the start", r->checkpoint);
                level = LEVEL_WARN;
                break;
        case RECORD_UNWIND:
                snprintf(what, sizeof(what), "nothing is in flight any more: %u tasks to undo", r->count);
                break;
        case RECORD_CHECKPOINT:
                snprintf(what, sizeof(what), "checkpoint %u after %u operations", r->checkpoint,
                         r->count);
                break;
        case RECORD_RERUN:
                snprintf(what, sizeof(what), "what did not succeed is done again%s%.*s",
                         r->id.n ? ", of operation " : "", (int)MIN(r->id.n, (size_t)60),
                         r->id.n ? r->id.p : "");
                break;
        case RECORD_REPLAN:
                snprintf(what, sizeof(what), "a changed definition takes over");
                break;
        case RECORD_END:
                snprintf(what, sizeof(what), "run ended: %.*s", (int)r->status.n, r->status.p);
                break;
        default:
                return;
        }
        line(l, run, level, r->at, NULL, what, detail);
}

/* What undoes something, or deletes what was made twice. */
static void undo_record(struct run_log *l, const struct run *run, const char *task,
                        const struct record *r)
{
        char what[128];

        switch ((unsigned)r->type) {
        case RECORD_MADE:
                line(l, run, LEVEL_DEBUG, r->at, task, "made; looks whether it was made twice",
                     span_of(NULL));
                break;
        case RECORD_SURPLUS:
                line(l, run, LEVEL_WARN, r->at, task, "was made twice: the other one is deleted",
                     span_of(NULL));
                break;
        case RECORD_REMOVED:
                line(l, run, LEVEL_INFO, r->at, task, "what was made twice is deleted", span_of(NULL));
                break;
        case RECORD_UNDO:
                snprintf(what, sizeof(what), "undo starts: %.*s", (int)MIN(r->verb.n, (size_t)20),
                         r->verb.p);
                line(l, run, LEVEL_INFO, r->at, task, what, span_of(NULL));
                break;
        case RECORD_UNDONE:
                line(l, run, LEVEL_INFO, r->at, task, r->answer == PRVNG_CONFLICT ? "kept" : "undone", r->message);
                break;
        case RECORD_UNDO_FAILED:
                snprintf(what, sizeof(what), "cannot be undone: %s, effect %s",
                         op_class_name(r->answer), op_effect_name(r->effect));
                line(l, run, LEVEL_ERROR, r->at, task, what, r->message);
                break;
        default:
                break;
        }
}

void run_log_record(struct run_log *l, const struct run *run, const struct record *r)
{
        const char *task = NULL;
        char what[128];

        if (!l)
                return;
        if (run->planned && r->task < run->n_tasks)
                task = task_id(run, &run->tasks[r->task]);
        switch ((unsigned)r->type) {
        case RECORD_INTENT:
                line(l, run, LEVEL_DEBUG, r->at, task, "starts", span_of(NULL));
                break;
        case RECORD_BEGIN:
                snprintf(what, sizeof(what), "attempt %u starts", r->attempt);
                line(l, run, LEVEL_INFO, r->at, task, what, span_of(NULL));
                break;
        case RECORD_TOKEN:
                line(l, run, LEVEL_DEBUG, r->at, task, "pending", span_of(NULL));
                break;
        case RECORD_RETRY:
                snprintf(what, sizeof(what), "attempt %u ended with %s, effect %s; again in %lld ms",
                         r->attempt, op_class_name(r->answer), op_effect_name(r->effect),
                         (long long)r->after);
                line(l, run, LEVEL_WARN, r->at, task, what, r->message);
                break;
        case RECORD_DOUBT:
                line(l, run, LEVEL_WARN, r->at, task, "in doubt", r->message);
                break;
        case RECORD_DONE:
                line(l, run, LEVEL_INFO, r->at, task,
                     r->answer == PRVNG_UNCHANGED ? "unchanged" : "succeeded", span_of(NULL));
                break;
        case RECORD_FAILED:
                snprintf(what, sizeof(what), "failed with %s, effect %s", op_class_name(r->answer),
                         op_effect_name(r->effect));
                line(l, run, LEVEL_ERROR, r->at, task, what, r->message);
                break;
        case RECORD_PARKED:
                line(l, run, LEVEL_ERROR, r->at, task, "parked", r->message);
                break;
        case RECORD_HALT:
                line(l, run, LEVEL_WARN, r->at, task, "nothing more starts", r->message);
                break;
        case RECORD_WAIT:
                line(l, run, LEVEL_INFO, r->at, task, "waits", r->message);
                break;
        case RECORD_MADE:
        case RECORD_SURPLUS:
        case RECORD_REMOVED:
        case RECORD_UNDO:
        case RECORD_UNDONE:
        case RECORD_UNDO_FAILED:
                undo_record(l, run, task, r);
                break;
        default:
                run_record(l, run, r);
        }
}

static void put(struct run_log *l, int fd, const struct buf *b)
{
        if (fd < 0 || !b->n || write(fd, b->data, b->n) == (ssize_t)b->n || l->complained)
                return;
        l->complained = true;
        fprintf(stderr, "prvng: a run's log cannot be written: %s\n", strerror(errno));
}

void run_log_flush(struct run_log *l)
{
        if (!l || !l->json.n)
                return;
        put(l, l->state, &l->json);
        put(l, l->file, l->text ? &l->plain : &l->json);
        buf_clear(&l->json);
        buf_clear(&l->plain);
}
