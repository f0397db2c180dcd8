/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng.host.spawn/1. A job's files stand in STATE/jobs/JOB; prvng-job.c says which, and keeps the
 * job alive outside the engine.
 */
#include "base/clock.h"
#include "host/child.h"
#include "host/job.h"
#include <prvng/host/spawn.h>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/stat.h>

#define DEFAULT_MAX_OUTPUT (1024u * 1024u)
#define KEEPER_START_MS 20000 /* forking and syncing one small file */
#define KEEPER_END_MS 8000    /* its own grace is 5 s */

/* A job's folder, open, and the paths that go with it. */
struct job {
        int folder;
        char path[4096];
        char cgroup[256]; /* below prvng-jobs/ */
};

struct job_started {
        pid_t pid;
        char boot[64];
        char id[64];
};

#define JOB_NULL ((struct job){.folder = -1})

static void job_deinit(struct job *j)
{
        cleanup_close(&j->folder);
}

static int32_t fail_errno(struct prvng_call *call, uint32_t effect, int r, const char *what)
{
        int32_t answer = r == -ENOSPC || r == -EDQUOT || r == -EMFILE || r == -ENFILE ||
                                         r == -ENOMEM || r == -EAGAIN
                                 ? PRVNG_TRANSIENT
                                 : PRVNG_PERMANENT;

        return op_call_fail(call, answer, effect, -r, "%s: %s", what, strerror(-r));
}

static void spec_fill(struct prvng_call *call, const struct prvng_spawn *spawn,
                      struct child_spec *ret_spec)
{
        *ret_spec = (struct child_spec){
                .argv = spawn->argv,
                .environment = spawn->environment,
                .folder = spawn->folder,
                .input = spawn->input,
                .n_input = spawn->n_input,
                .max_output = spawn->max_output ? spawn->max_output : DEFAULT_MAX_OUTPUT,
                .deadline_ms = call->deadline_ms,
                .cancel_fd = call_cancel_fd(call),
        };
}

/* A private copy by the rule of sized structs; false if it is below the baseline or empty. */
static bool spawn_copy(const struct prvng_spawn *spawn, struct prvng_spawn *ret_copy)
{
        if (!spawn || spawn->struct_size < PRVNG_SPAWN_BASELINE)
                return false;
        *ret_copy = (struct prvng_spawn){0};
        memcpy(ret_copy, spawn, MIN((size_t)spawn->struct_size, sizeof(*ret_copy)));
        return ret_copy->argv && ret_copy->argv[0];
}

static int32_t spawn_run(struct prvng_call *call, const struct prvng_spawn *given,
                         struct prvng_sink *output, struct prvng_sink *errors,
                         int32_t *ret_exit_code)
{
        _cleanup_(cleanup_child_result) struct child_result result = CHILD_RESULT_NULL;
        struct prvng_spawn spawn;
        struct child_spec spec;
        int32_t r;

        if (!spawn_copy(given, &spawn))
                return op_call_fail(call, PRVNG_INTERNAL, PRVNG_EFFECT_NONE, EINVAL,
                                    "spawn: no argv, or a struct below the baseline");
        result.output.wipes = result.errors.wipes = true; /* it may be a program that decrypts */
        spec_fill(call, &spawn, &spec);
        spec.no_output = !output;
        spec.no_errors = !errors;
        if (spawn.timeout_ms > 0)
                spec.deadline_ms = MIN(spec.deadline_ms, clock_boot_ms() + spawn.timeout_ms);
        switch (r = child_run(&spec, &result)) {
        case 0:
                r = job_write(call, output, result.output.data, result.output.n);
                if (r == PRVNG_DONE)
                        r = job_write(call, errors, result.errors.data, result.errors.n);
                if (r == PRVNG_DONE)
                        *ret_exit_code = result.status;
                return r;
        case CHILD_E_NOT_STARTED:
                return op_call_fail(call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, result.status,
                                    "cannot run %s: %s", spawn.argv[0], strerror(result.status));
        case CHILD_E_TIMEOUT:
                return op_call_fail(call, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN, ETIMEDOUT,
                                    "%s did not end in time and was killed", spawn.argv[0]);
        case CHILD_E_CANCELLED:
                return op_call_fail(call, PRVNG_CANCELLED, PRVNG_EFFECT_UNKNOWN, 0,
                                    "%s was killed: the call was cancelled", spawn.argv[0]);
        default:
                return fail_errno(call, PRVNG_EFFECT_UNKNOWN, r, "cannot run a child");
        }
}

/* Opens STATE/jobs/JOB; makes it if `make`. -ENOENT if it is not there. */
static int job_open(struct prvng_call *call, const char *name, bool make, struct job *j)
{
        const char *state = call_config(call)->state;
        struct stat st;
        int n;

        n = snprintf(j->path, sizeof(j->path), "%s/jobs", state);
        if (n < 0 || (size_t)n + strlen(name) + 2 > sizeof(j->path))
                return error_origin(-ENAMETOOLONG);
        if (make && mkdir(state, 0700) < 0 && errno != EEXIST)
                return error_origin(-errno);
        if (make && mkdir(j->path, 0700) < 0 && errno != EEXIST)
                return error_origin(-errno);
        if (stat(j->path, &st) < 0)
                return errno == ENOENT ? -ENOENT : error_origin(-errno);
        /* Two sites of one machine may use the same job names (not op ids, but tests do). */
        snprintf(j->cgroup, sizeof(j->cgroup), "%llx-%llx/%s", (unsigned long long)st.st_dev,
                 (unsigned long long)st.st_ino, name);
        strcat(j->path, "/");
        strcat(j->path, name);
        if (make && mkdir(j->path, 0700) < 0 && errno != EEXIST)
                return error_origin(-errno);
        j->folder = open(j->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (j->folder < 0)
                return errno == ENOENT ? -ENOENT : error_origin(-errno);
        return 0;
}

/* Makes the names of new folders durable, as the start of a job says that the job is there. */
static int job_sync_names(const struct job *j)
{
        _cleanup_(cleanup_close) int jobs = openat(j->folder, "..", O_RDONLY | O_CLOEXEC);
        _cleanup_(cleanup_close) int state = openat(j->folder, "../..", O_RDONLY | O_CLOEXEC);

        if (jobs < 0 || state < 0 || fsync(jobs) < 0 || fsync(state) < 0)
                return error_origin(-errno);
        return 0;
}

/* Reads a small file of the folder; false if it is not there. */
static bool file_read(int folder, const char *name, char *ret_text, size_t n_text)
{
        _cleanup_(cleanup_close) int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, ret_text, n_text - 1);

        if (n < 0)
                return false;
        ret_text[n] = 0;
        return true;
}

static bool started_read(const struct job *j, struct job_started *ret)
{
        char text[256];
        int pid;

        if (!file_read(j->folder, "started", text, sizeof(text)) ||
            sscanf(text, "%d %63s %63s", &pid, ret->boot, ret->id) != 3)
                return false;
        ret->pid = pid;
        return true;
}

/* True while a keeper lives, or one is about to start the job. */
static bool lock_held(const struct job *j)
{
        _cleanup_(cleanup_close) int fd = openat(j->folder, "lock", O_RDONLY | O_CLOEXEC);

        return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

/* PRVNG_JOB_* and the code that belongs to it. */
static uint32_t job_state(const struct job *j, int32_t *ret_code)
{
        char text[64];
        int code = 0;

        /* The keeper writes `status` before it lets go of the lock, so look again after the lock
         * was found free. */
        for (int i = 0; i < 2; i++) {
                if (file_read(j->folder, "status", text, sizeof(text))) {
                        bool exited = sscanf(text, "exited %d", &code) == 1;

                        if (!exited && sscanf(text, "killed %d", &code) != 1)
                                code = 0;
                        *ret_code = code;
                        return exited ? PRVNG_JOB_EXITED : PRVNG_JOB_KILLED;
                }
                if (i == 0 && lock_held(j))
                        return PRVNG_JOB_RUNNING;
        }
        *ret_code = 0;
        return faccessat(j->folder, "started", F_OK, 0) == 0 ? PRVNG_JOB_KILLED : PRVNG_JOB_UNKNOWN;
}

static bool same_boot(const struct job_started *started)
{
        char boot[64] = "";
        _cleanup_(cleanup_fclose) FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

        return f && fgets(boot, sizeof(boot), f) &&
               strncmp(boot, started->boot, strlen(started->boot)) == 0;
}

/* Kills what the cgroup holds. Returns how many there were. */
static size_t cgroup_kill(const char *hierarchy, const struct job *j)
{
        char path[512];
        _cleanup_(cleanup_fclose) FILE *f = NULL;
        size_t n = 0;
        int pid;

        snprintf(path, sizeof(path), "%s/prvng-jobs/%s/cgroup.procs", hierarchy, j->cgroup);
        f = fopen(path, "re");
        while (f && fscanf(f, "%d", &pid) == 1) {
                if (pid > 1 && kill(pid, SIGKILL) == 0)
                        n++;
        }
        if (f && n == 0) {
                /* The job's folder, and those above it if it was the last. */
                for (int i = 0; i < 3; i++) {
                        *strrchr(path, '/') = 0;
                        if (rmdir(path) < 0)
                                break;
                }
        }
        return n;
}

/* Kills the processes of a session. A session's number is not given to others while it has members.
 */
static size_t session_kill(pid_t session)
{
        DIR *proc = opendir("/proc");
        struct dirent *e;
        size_t n = 0;

        while (proc && (e = readdir(proc))) {
                pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);

                /* The leader itself (pid == session) is gone: who has its number now is another. */
                if (pid > 1 && pid != session && getsid(pid) == session && kill(pid, SIGKILL) == 0)
                        n++;
        }
        if (proc)
                closedir(proc);
        return n;
}

/* The keeper died without a word. What it kept would run on unseen, beside a second start: it is
 * ended before anybody is told that the job is. */
static void leftovers_kill(const struct job *j)
{
        struct job_started started;
        int64_t until = clock_boot_ms() + 2000;
        size_t n;

        if (!started_read(j, &started) || !same_boot(&started))
                return;
        do {
                n = cgroup_kill("/sys/fs/cgroup/systemd", j) + cgroup_kill("/sys/fs/cgroup", j);
                if (getsid(started.pid) < 0) /* the number was not given to another leader */
                        n += session_kill(started.pid);
                if (n)
                        poll(NULL, 0, 5);
        } while (n && clock_boot_ms() < until);
        cgroup_kill("/sys/fs/cgroup/pids", j);
}

/* argv of the keeper: prvng-job FOLDER CGROUP ARGV... Caller frees. */
static const char **keeper_argv(const struct job *j, const char *program, const char *const *argv)
{
        size_t n = 0;
        const char **all;

        while (argv[n])
                n++;
        all = calloc(n + 4, sizeof(*all));
        if (!all)
                return NULL;
        all[0] = program;
        all[1] = j->path;
        all[2] = j->cgroup;
        memcpy(all + 3, argv, n * sizeof(*all));
        return all;
}

static int32_t keeper_run(struct prvng_call *call, const struct job *j,
                          const struct prvng_spawn *spawn)
{
        _cleanup_(cleanup_child_result) struct child_result result = CHILD_RESULT_NULL;
        _cleanup_(cleanup_free) const char **argv = NULL;
        char program[4096];
        struct child_spec spec;
        int r;

        snprintf(program, sizeof(program), "%s/prvng-job", call_config(call)->libexec);
        argv = keeper_argv(j, program, spawn->argv);
        if (!argv)
                return fail_errno(call, PRVNG_EFFECT_NONE, -ENOMEM, "job");
        spec_fill(call, spawn, &spec);
        spec.argv = argv;
        spec.max_output = 4096;
        spec.deadline_ms = MIN(spec.deadline_ms, clock_boot_ms() + KEEPER_START_MS);
        r = child_run(&spec, &result);
        if (r == CHILD_E_NOT_STARTED)
                return op_call_fail(call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, result.status,
                                    "cannot run %s: %s; is prvng installed completely?", program,
                                    strerror(result.status));
        if (r == CHILD_E_CANCELLED)
                return op_call_fail(call, PRVNG_CANCELLED, PRVNG_EFFECT_UNKNOWN, 0,
                                    "cancelled while a job was being started");
        if (r < 0)
                return fail_errno(call, PRVNG_EFFECT_UNKNOWN, r, "cannot start a job");
        if (r == CHILD_E_TIMEOUT || result.status != 0)
                return op_call_fail(call, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN, 0,
                                    "cannot start job in %s: %s", j->path,
                                    r ? "no answer in time" : buf_str(&result.errors));
        return PRVNG_DONE;
}

static int32_t spawn_job_start(struct prvng_call *call, const char *name,
                               const struct prvng_spawn *given)
{
        _cleanup_(job_deinit) struct job j = JOB_NULL;
        struct prvng_spawn spawn;
        int32_t code;
        int r;

        if (!job_name_ok(name) || !spawn_copy(given, &spawn))
                return op_call_fail(call, PRVNG_INTERNAL, PRVNG_EFFECT_NONE, EINVAL,
                                    "spawn: job '%s': bad name, no argv, or a struct below "
                                    "the baseline",
                                    name);
        r = job_open(call, name, true, &j);
        if (r == 0)
                r = job_sync_names(&j);
        if (r < 0)
                return fail_errno(call, PRVNG_EFFECT_NONE, r, j.path);
        if (job_state(&j, &code) != PRVNG_JOB_UNKNOWN)
                return PRVNG_DONE;
        return keeper_run(call, &j, &spawn);
}

/* The chunk of output from `offset` on; its length. */
static ssize_t output_read(const struct job *j, uint64_t offset, char *chunk, size_t n_chunk)
{
        _cleanup_(cleanup_close) int fd = openat(j->folder, "output", O_RDONLY | O_CLOEXEC);
        ssize_t n;

        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        n = pread(fd, chunk, n_chunk, (off_t)offset);
        return n < 0 ? -errno : n;
}

static void status_write(struct prvng_job_status *ret, uint32_t state, int32_t code,
                         uint64_t offset)
{
        struct prvng_job_status status = {.struct_size = ret->struct_size,
                                          .state = state,
                                          .exit_code = code,
                                          .output_offset = offset};

        memcpy(ret, &status, MIN((size_t)ret->struct_size, sizeof(status)));
}

static int32_t spawn_job_status(struct prvng_call *call, const char *name, uint64_t offset,
                                struct prvng_sink *output, struct prvng_job_status *ret_status)
{
        _cleanup_(job_deinit) struct job j = JOB_NULL;
        _cleanup_(cleanup_free) char *chunk = NULL;
        struct job_started started = {.id = ""};
        uint32_t state;
        int32_t code = 0;
        ssize_t n;
        int r;

        if (!job_name_ok(name) || ret_status->struct_size < PRVNG_JOB_STATUS_BASELINE)
                return op_call_fail(call, PRVNG_INTERNAL, PRVNG_EFFECT_NONE, EINVAL,
                                    "spawn: job '%s': bad name, or a struct below the "
                                    "baseline",
                                    name);
        r = job_open(call, name, false, &j);
        if (r == -ENOENT) {
                status_write(ret_status, PRVNG_JOB_UNKNOWN, 0, offset);
                return PRVNG_DONE;
        }
        if (r < 0)
                return fail_errno(call, PRVNG_EFFECT_NONE, r, j.path);
        state = job_state(&j, &code); /* before the output, so that an ended job's is whole */
        if (state == PRVNG_JOB_KILLED && code == 0)
                leftovers_kill(&j);
        chunk = malloc(JOB_OUTPUT_MAX);
        n = chunk ? output_read(&j, offset, chunk, JOB_OUTPUT_MAX) : -ENOMEM;
        if (n < 0)
                return fail_errno(call, PRVNG_EFFECT_NONE, (int)n, j.path);
        if (started_read(&j, &started))
                job_log(call, name, started.id, offset, chunk, (size_t)n);
        r = job_write(call, output, chunk, (size_t)n);
        if (r == PRVNG_DONE)
                status_write(ret_status, state, code, offset + (uint64_t)n);
        return r;
}

/* Asks the keeper to end the job. The pidfd is opened first, then the lock is looked at: as the
 * keeper lives, the number is still its own. */
static void keeper_signal(const struct job *j, int signal)
{
        struct job_started started;
        _cleanup_(cleanup_close) int pidfd = -1;

        if (!started_read(j, &started) || !same_boot(&started))
                return;
        pidfd = pidfd_open(started.pid, 0);
        if (pidfd >= 0 && lock_held(j) && getsid(started.pid) == started.pid)
                pidfd_send_signal(pidfd, signal, NULL, 0);
}

static int32_t spawn_job_end(struct prvng_call *call, const char *name)
{
        _cleanup_(job_deinit) struct job j = JOB_NULL;
        int64_t until = clock_boot_ms() + KEEPER_END_MS;
        int32_t code = 0;
        int r;

        if (!job_name_ok(name))
                return op_call_fail(call, PRVNG_INTERNAL, PRVNG_EFFECT_NONE, EINVAL,
                                    "spawn: bad name of a job: '%s'", name);
        r = job_open(call, name, false, &j);
        if (r == -ENOENT)
                return PRVNG_DONE;
        if (r < 0)
                return fail_errno(call, PRVNG_EFFECT_NONE, r, j.path);
        keeper_signal(&j, SIGTERM);
        while (lock_held(&j)) {
                if (clock_boot_ms() >= until) {
                        keeper_signal(&j, SIGKILL);
                        until += KEEPER_END_MS;
                }
                if (clock_boot_ms() >= call->deadline_ms)
                        return op_call_fail(call, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN, ETIMEDOUT,
                                            "job %s did not end in time", name);
                poll(NULL, 0, 10);
        }
        if (job_state(&j, &code) == PRVNG_JOB_KILLED && code == 0)
                leftovers_kill(&j);
        return PRVNG_DONE;
}

static int32_t spawn_job_forget(struct prvng_call *call, const char *name)
{
        static const char *const files[] = {"output",     "started", "started.new",
                                            "status.new", "status",  "lock"};
        _cleanup_(job_deinit) struct job j = JOB_NULL;
        int32_t code;
        int r;

        if (!job_name_ok(name))
                return op_call_fail(call, PRVNG_INTERNAL, PRVNG_EFFECT_NONE, EINVAL,
                                    "spawn: bad name of a job: '%s'", name);
        r = job_open(call, name, false, &j);
        if (r == -ENOENT)
                return PRVNG_DONE;
        if (r < 0)
                return fail_errno(call, PRVNG_EFFECT_NONE, r, j.path);
        if (job_state(&j, &code) == PRVNG_JOB_RUNNING)
                return op_call_fail(call, PRVNG_CONFLICT, PRVNG_EFFECT_NONE, EBUSY,
                                    "job %s runs still; end it first", name);
        for (size_t i = 0; i < N_ELEMENTS(files); i++) {
                if (unlinkat(j.folder, files[i], 0) < 0 && errno != ENOENT)
                        return fail_errno(call, PRVNG_EFFECT_PARTIAL, -errno, j.path);
        }
        if (rmdir(j.path) < 0 && errno != ENOENT)
                return fail_errno(call, PRVNG_EFFECT_PARTIAL, -errno, j.path);
        return PRVNG_DONE;
}

const struct prvng_host_spawn host_spawn = {
        .struct_size = sizeof(struct prvng_host_spawn),
        .run = spawn_run,
        .job_start = spawn_job_start,
        .job_status = spawn_job_status,
        .job_end = spawn_job_end,
        .job_forget = spawn_job_forget,
};
