/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct said said;
static char root[512], state_folder[600], cache_folder[600];

static void put_log(const struct prvng_host *host, int32_t level, const char *topic,
                    const char *text)
{
        fprintf(stderr, "[%d %s] %s\n", level, topic, text);
}

static void put_error(struct prvng_call *call, const struct prvng_error *e)
{
        said.error = *e;
        snprintf(said.message, sizeof(said.message), "%s", e->message ? e->message : "");
        snprintf(said.field, sizeof(said.field), "%s", e->field ? e->field : "");
}

static int32_t is_cancelled(struct prvng_call *call)
{
        return 0;
}

static int32_t cancel_fd(struct prvng_call *call)
{
        return -1;
}

static void progress(struct prvng_call *call, uint32_t permille, const char *text)
{
        snprintf(said.progress, sizeof(said.progress), "%s", text);
}

static void ask_again(struct prvng_call *call, int64_t ms)
{
        said.ask_ms = ms;
}

static int32_t sink_write(struct prvng_sink *s, const void *data, uint64_t n)
{
        char *p = realloc(s->data, s->n + (size_t)n + 1);

        if (!p)
                return -ENOMEM;
        memcpy(p + s->n, data, (size_t)n);
        s->data = p;
        s->n += (size_t)n;
        p[s->n] = '\0';
        return 0;
}

static const char *intern(const struct prvng_host *host, const char *s)
{
        return strdup(s);
}

static int64_t monotonic_ms(void)
{
        struct timespec t;

        clock_gettime(CLOCK_BOOTTIME, &t);
        return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* --- spawn --- */

static int spawn_it(const char *const *argv, const char *const *environment, pid_t *ret)
{
        static const char *const plain[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
                                            "HOME=/root", NULL};
        posix_spawnattr_t a;

        posix_spawnattr_init(&a);
        posix_spawnattr_setflags(&a, POSIX_SPAWN_SETSID);
        int r = posix_spawnp(ret, argv[0], NULL, &a, (char *const *)(uintptr_t)argv,
                             (char *const *)(uintptr_t)(environment ? environment : plain));
        posix_spawnattr_destroy(&a);
        return -r;
}

static int32_t run(struct prvng_call *call, const struct prvng_spawn *spawn,
                   struct prvng_sink *output, struct prvng_sink *errors, int32_t *ret_exit_code)
{
        pid_t pid;
        int status;

        if (spawn_it(spawn->argv, spawn->environment, &pid) < 0)
                return PRVNG_PERMANENT;
        waitpid(pid, &status, 0);
        *ret_exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        return PRVNG_DONE;
}

static void job_path(const char *job, const char *what, char *ret, size_t n)
{
        snprintf(ret, n, "%s/jobs/%s.%s", root, job, what);
}

static long read_number(const char *path)
{
        FILE *f = fopen(path, "re");
        long n = -1;

        if (f && fscanf(f, "%ld", &n) != 1)
                n = -1;
        if (f)
                fclose(f);
        return n;
}

static int32_t job_status(struct prvng_call *call, const char *job, uint64_t offset,
                          struct prvng_sink *output, struct prvng_job_status *ret)
{
        char path[700];

        while (waitpid(-1, NULL, WNOHANG) > 0)
                ;
        job_path(job, "exit", path, sizeof(path));
        long code = read_number(path);
        job_path(job, "pid", path, sizeof(path));
        long pid = read_number(path);
        ret->exit_code = (int32_t)code;
        ret->state = code >= 0                  ? PRVNG_JOB_EXITED
                     : pid < 0                  ? PRVNG_JOB_UNKNOWN
                     : kill((pid_t)pid, 0) == 0 ? PRVNG_JOB_RUNNING
                                                : PRVNG_JOB_KILLED;
        return PRVNG_DONE;
}

static int32_t job_start(struct prvng_call *call, const char *job, const struct prvng_spawn *spawn)
{
        static const char script[] = "exec > \"$0.out\" 2>&1; \"$@\"; echo $? > \"$0.x\";"
                                     " mv \"$0.x\" \"$0.exit\"";
        struct prvng_job_status status = {.struct_size = sizeof(status)};
        const char *argv[32] = {"sh", "-c", script};
        char path[700];
        pid_t pid;

        job_status(call, job, 0, NULL, &status);
        if (status.state != PRVNG_JOB_UNKNOWN)
                return PRVNG_DONE;
        snprintf(path, sizeof(path), "%s/jobs/%s", root, job);
        argv[3] = path;
        for (size_t i = 0; spawn->argv[i] && i < 26; i++)
                argv[4 + i] = spawn->argv[i];
        if (spawn_it(argv, spawn->environment, &pid) < 0)
                return PRVNG_PERMANENT;
        job_path(job, "pid", path, sizeof(path));
        FILE *f = fopen(path, "we");
        if (!f)
                return PRVNG_INTERNAL;
        fprintf(f, "%d\n", (int)pid);
        fclose(f);
        return PRVNG_DONE;
}

static int32_t job_end(struct prvng_call *call, const char *job)
{
        return PRVNG_UNSUPPORTED;
}

static int32_t job_forget(struct prvng_call *call, const char *job)
{
        static const char *const parts[] = {"pid", "exit", "out"};
        char path[700];

        for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
                job_path(job, parts[i], path, sizeof(path));
                unlink(path);
        }
        return PRVNG_DONE;
}

static const struct prvng_host_spawn spawn_table = {
        .struct_size = sizeof(spawn_table),
        .run = run,
        .job_start = job_start,
        .job_status = job_status,
        .job_end = job_end,
        .job_forget = job_forget,
};

/* --- workdir --- */

static const char *work_state(const struct prvng_host *host, const char *plugin)
{
        return state_folder;
}

static const char *work_cache(const struct prvng_host *host, const char *plugin)
{
        return cache_folder;
}

static const char *work_task(struct prvng_call *call)
{
        return NULL;
}

static const struct prvng_host_workdir workdir_table = {
        .struct_size = sizeof(workdir_table),
        .state = work_state,
        .cache = work_cache,
        .task = work_task,
};

static const void *get_interface(const struct prvng_host *host, const char *id)
{
        if (strcmp(id, PRVNG_HOST_SPAWN) == 0)
                return &spawn_table;
        return strcmp(id, PRVNG_HOST_WORKDIR) == 0 ? &workdir_table : NULL;
}

static const struct prvng_host table = {
        .struct_size = sizeof(table),
        .abi_minor = PRVNG_ABI_MINOR,
        .core_version = "test",
        .log = put_log,
        .error = put_error,
        .is_cancelled = is_cancelled,
        .cancel_fd = cancel_fd,
        .progress = progress,
        .ask_again = ask_again,
        .sink_write = sink_write,
        .intern = intern,
        .monotonic_ms = monotonic_ms,
        .get_interface = get_interface,
};

const struct prvng_host *test_host(const char *folder, const char *cache)
{
        char jobs[600];

        snprintf(root, sizeof(root), "%s", folder);
        snprintf(state_folder, sizeof(state_folder), "%s/state", folder);
        snprintf(cache_folder, sizeof(cache_folder), "%s", cache);
        snprintf(jobs, sizeof(jobs), "%s/jobs", folder);
        mkdir(folder, 0700);
        mkdir(state_folder, 0700);
        mkdir(cache_folder, 0700);
        mkdir(jobs, 0700);
        return &table;
}

/* --- driving --- */

void sink_clear(struct prvng_sink *s)
{
        free(s->data);
        *s = (struct prvng_sink){0};
}

void call_init(struct prvng_call *call, const char *op_id)
{
        *call = (struct prvng_call){.struct_size = sizeof(*call),
                                    .op_id = op_id,
                                    .attempt = 1,
                                    .deadline_ms = INT64_MAX,
                                    .trace_parent = "",
                                    .run = "run",
                                    .task = "task"};
        memset(&said, 0, sizeof(said));
}

static void give_json(struct prvng_sink *s, json_t **ret)
{
        if (ret)
                *ret = s->data ? json_loads(s->data, 0, NULL) : NULL;
        sink_clear(s);
}

int32_t drive_prepare(const struct prvng_op *op, void *instance, const char *verb,
                      const json_t *task, char **ret_request)
{
        struct prvng_sink request = {0};
        struct prvng_call call;
        char *text = json_dumps(task, 0);

        call_init(&call, "");
        int32_t r = op->prepare(instance, &call, verb, text, strlen(text), &request);
        free(text);
        *ret_request = request.data;
        return r;
}

int32_t drive_begin(const struct prvng_op *op, void *instance, const char *verb, const char *op_id,
                    const char *request, char **ret_token, json_t **ret_result)
{
        struct prvng_sink token = {0}, result = {0};
        struct prvng_call call;

        call_init(&call, op_id);
        int32_t r = op->begin(instance, &call, verb, request, strlen(request), &token, &result);
        *ret_token = token.data;
        give_json(&result, ret_result);
        return r;
}

int32_t drive_poll(const struct prvng_op *op, void *instance, const char *verb, const char *op_id,
                   const char *request, const char *token, json_t **ret_result)
{
        struct prvng_sink next = {0}, result = {0};
        struct prvng_call call;

        call_init(&call, op_id);
        int32_t r = op->poll(instance, &call, verb, request, strlen(request), token, strlen(token),
                             &next, &result);
        sink_clear(&next);
        give_json(&result, ret_result);
        return r;
}

int32_t drive_observe(const struct prvng_op *op, void *instance, const char *verb,
                      const char *op_id, const char *request, const char *token, char **ret_token,
                      json_t **ret_result)
{
        struct prvng_sink next = {0}, result = {0};
        struct prvng_call call;

        call_init(&call, op_id);
        int32_t r = op->observe(instance, &call, verb, request, strlen(request), token,
                                token ? strlen(token) : 0, &next, &result);
        if (ret_token)
                *ret_token = next.data;
        else
                sink_clear(&next);
        give_json(&result, ret_result);
        return r;
}

int32_t drive(const struct prvng_op *op, void *instance, const char *verb, const char *op_id,
              const json_t *task, json_t **ret_result)
{
        char *request = NULL, *token = NULL;
        int32_t r = drive_prepare(op, instance, verb, task, &request);

        if (r == PRVNG_DONE)
                r = drive_begin(op, instance, verb, op_id, request, &token, ret_result);
        for (int64_t until = monotonic_ms() + 300000;
             r == PRVNG_PENDING && monotonic_ms() < until;) {
                struct timespec t = {.tv_sec = said.ask_ms / 1000,
                                     .tv_nsec = said.ask_ms % 1000 * 1000000};
                if (said.ask_ms <= 0)
                        t.tv_nsec = 10000000;
                nanosleep(&t, NULL);
                json_decref(*ret_result);
                r = drive_poll(op, instance, verb, op_id, request, token, ret_result);
        }
        free(request);
        free(token);
        return r;
}
