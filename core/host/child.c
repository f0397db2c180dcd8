/* SPDX-License-Identifier: Apache-2.0 */
#include "host/child.h"
#include "base/clock.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#define GRACE_MS 500 /* between SIGTERM and SIGKILL */

/* A child under way. */
struct child {
        pid_t pid;
        int pidfd;
        int out; /* our ends of the pipes; -1 once they ended */
        int err;
};

#define CHILD_NULL ((struct child){.pid = -1, .pidfd = -1, .out = -1, .err = -1})

static void child_deinit(struct child *c)
{
        cleanup_close(&c->pidfd);
        cleanup_close(&c->out);
        cleanup_close(&c->err);
        *c = CHILD_NULL;
}

void child_result_deinit(struct child_result *r)
{
        buf_deinit(&r->output);
        buf_deinit(&r->errors);
}

/* A descriptor from which `data` can be read, not inherited by other children. */
static int input_open(const void *data, size_t n, int *ret_fd)
{
        _cleanup_(cleanup_close) int fd = -1;
        size_t done = 0;

        if (n == 0) {
                fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
                if (fd < 0)
                        return error_origin(-errno);
                *ret_fd = fd;
                fd = -1;
                return 0;
        }
        fd = memfd_create("prvng-stdin", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0)
                return error_origin(-errno);
        while (done < n) {
                ssize_t r = write(fd, (const char *)data + done, n - done);

                if (r < 0 && errno == EINTR)
                        continue;
                if (r < 0)
                        return error_origin(-errno);
                done += (size_t)r;
        }
        if (lseek(fd, 0, SEEK_SET) < 0 ||
            fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) < 0)
                return error_origin(-errno);
        *ret_fd = fd;
        fd = -1;
        return 0;
}

static int pipe_open(int *ret_ours, int *ret_theirs)
{
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
                return error_origin(-errno);
        if (fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0) {
                int r = -errno;

                close(fds[0]);
                close(fds[1]);
                return error_origin(r);
        }
        *ret_ours = fds[0];
        *ret_theirs = fds[1];
        return 0;
}

static int null_open(int *ret_fd)
{
        int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

        if (fd < 0)
                return error_origin(-errno);
        *ret_fd = fd;
        return 0;
}

/* The path of a program: as posix_spawnp finds it, but in CHILD_PATH rather than in our own PATH.
 */
static bool program_find(const char *name, char *ret_path, size_t n_path)
{
        const char *p = CHILD_PATH;

        if (strchr(name, '/'))
                return (size_t)snprintf(ret_path, n_path, "%s", name) < n_path;
        while (*p) {
                size_t n = strcspn(p, ":");

                if ((size_t)snprintf(ret_path, n_path, "%.*s/%s", (int)n, p, name) < n_path &&
                    access(ret_path, X_OK) == 0)
                        return true;
                p += n + (p[n] == ':');
        }
        return false;
}

/* Descriptors 0, 1, 2 and nothing else: ours are CLOEXEC, but what a library opened may not be. */
static int actions_fill(posix_spawn_file_actions_t *actions, const int fds[3], const char *folder)
{
        int r = 0;

        for (int i = 0; i < 3 && r == 0; i++)
                r = posix_spawn_file_actions_adddup2(actions, fds[i], i);
        if (r == 0)
                r = posix_spawn_file_actions_addclosefrom_np(actions, 3);
        if (r == 0)
                r = posix_spawn_file_actions_addchdir_np(actions, folder ? folder : "/");
        return r;
}

static int attributes_fill(posix_spawnattr_t *attributes)
{
        sigset_t none, all;
        int r;

        sigemptyset(&none);
        sigfillset(&all);
        r = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                         POSIX_SPAWN_SETSIGDEF);
        if (r == 0)
                r = posix_spawnattr_setsigmask(attributes, &none);
        if (r == 0)
                r = posix_spawnattr_setsigdefault(attributes, &all);
        return r;
}

/* Returns 0 or a positive errno. */
static int spawn(const struct child_spec *spec, const int fds[3], pid_t *ret_pid)
{
        static char path[] = "PATH=" CHILD_PATH, lang[] = "LANG=C.UTF-8", home[] = "HOME=/root";
        char user_home[512], program[4096];
        char *scrubbed[] = {path, lang, home, NULL};
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        const char *h = secure_getenv("HOME");
        int r;

        if (!program_find(spec->argv[0], program, sizeof(program)))
                return ENOENT;
        if (h && (size_t)snprintf(user_home, sizeof(user_home), "HOME=%s", h) < sizeof(user_home))
                scrubbed[2] = user_home;
        r = posix_spawn_file_actions_init(&actions);
        if (r != 0)
                return r;
        r = posix_spawnattr_init(&attributes);
        if (r != 0) {
                posix_spawn_file_actions_destroy(&actions);
                return r;
        }
        r = actions_fill(&actions, fds, spec->folder);
        if (r == 0)
                r = attributes_fill(&attributes);
        if (r == 0)
                r = posix_spawn(ret_pid, program, &actions, &attributes,
                                (char *const *)(uintptr_t)spec->argv,
                                spec->environment ? (char *const *)(uintptr_t)spec->environment
                                                  : scrubbed);
        posix_spawnattr_destroy(&attributes);
        posix_spawn_file_actions_destroy(&actions);
        return r;
}

static int child_start(const struct child_spec *spec, struct child *c, struct child_result *result)
{
        _cleanup_(cleanup_close) int in = -1, out = -1, err = -1;
        int r;

        r = input_open(spec->input, spec->n_input, &in);
        if (r == 0)
                r = spec->no_output ? null_open(&out) : pipe_open(&c->out, &out);
        if (r == 0)
                r = spec->no_errors ? null_open(&err) : pipe_open(&c->err, &err);
        if (r < 0)
                return error_fold(r);
        r = spawn(spec, (const int[]){in, out, err}, &c->pid);
        if (r == ENOMEM || r == EAGAIN)
                return error_origin(-r);
        if (r != 0) {
                result->status = r;
                return CHILD_E_NOT_STARTED;
        }
        c->pidfd = pidfd_open(c->pid, 0);
        if (c->pidfd < 0) {
                r = -errno;
                kill(-c->pid, SIGKILL);
                waitpid(c->pid, NULL, 0);
                return error_origin(r);
        }
        return 0;
}

/* Reads what is there now; closes *fd at its end. */
static int drain(int *fd, struct buf *into, size_t max, bool *cut)
{
        char chunk[16384];
        int r = 0;

        while (*fd >= 0) {
                ssize_t n = read(*fd, chunk, sizeof(chunk));
                size_t keep;

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0) {
                        r = n == 0 || errno == EAGAIN ? 0 : -errno;
                        if (n == 0) {
                                close(*fd);
                                *fd = -1;
                        }
                        break;
                }
                keep = MIN((size_t)n, max - MIN(max, into->n));
                *cut |= keep < (size_t)n;
                buf_append(into, chunk, keep);
        }
        if (into->wipes)
                explicit_bzero(chunk, sizeof(chunk));
        return r < 0 ? error_origin(r) : buf_error(into);
}

static int poll_timeout(int64_t until)
{
        int64_t left;

        if (until == INT64_MAX)
                return -1;
        left = until - clock_boot_ms();
        return (int)MAX((int64_t)0, MIN(left, (int64_t)1000000));
}

/* Pumps until the child has exited. `why` is 0 while it may run, then what ended it. */
static int pump(const struct child_spec *spec, struct child *c, struct child_result *result)
{
        int64_t until = spec->deadline_ms;
        int why = 0, r;

        for (;;) {
                struct pollfd fds[] = {{.fd = c->pidfd, .events = POLLIN},
                                       {.fd = c->out, .events = POLLIN},
                                       {.fd = c->err, .events = POLLIN},
                                       {.fd = why ? -1 : spec->cancel_fd, .events = POLLIN}};

                r = poll(fds, N_ELEMENTS(fds), poll_timeout(until));
                if (r < 0 && errno != EINTR)
                        return error_origin(-errno);
                r = drain(&c->out, &result->output, spec->max_output, &result->cut);
                if (r == 0)
                        r = drain(&c->err, &result->errors, spec->max_output, &result->cut);
                if (r < 0)
                        return error_fold(r);
                if (fds[0].revents)
                        return why;
                if (fds[3].revents || clock_boot_ms() >= until) {
                        /* The second time round the grace is over. */
                        kill(-c->pid, why ? SIGKILL : SIGTERM);
                        until = why ? INT64_MAX : clock_boot_ms() + GRACE_MS;
                        if (!why)
                                why = fds[3].revents ? CHILD_E_CANCELLED : CHILD_E_TIMEOUT;
                }
        }
}

/* The child has exited, or is killed now. While it is not reaped nobody else can get its process
 * group's number, so the group can be killed safely. */
static int reap(const struct child_spec *spec, struct child *c, struct child_result *result)
{
        siginfo_t info = {0};
        int r = 0;

        kill(-c->pid, SIGKILL);
        while (waitid(P_PIDFD, (id_t)c->pidfd, &info, WEXITED) < 0) {
                if (errno != EINTR)
                        return error_origin(-errno);
        }
        /* What it wrote before its end is in the pipes; what others may still write is not waited
         * for. */
        r = drain(&c->out, &result->output, spec->max_output, &result->cut);
        if (r == 0)
                r = drain(&c->err, &result->errors, spec->max_output, &result->cut);
        result->signal = info.si_code == CLD_EXITED ? 0 : info.si_status;
        result->status = result->signal ? 128 + result->signal : info.si_status;
        return r < 0 ? error_fold(r) : 0;
}

int child_run(const struct child_spec *spec, struct child_result *result)
{
        _cleanup_(child_deinit) struct child c = CHILD_NULL;
        int r, r2;

        assert(spec->argv && spec->argv[0]);
        r = child_start(spec, &c, result);
        if (r != 0)
                return r < 0 ? error_fold(r) : r;
        r = pump(spec, &c, result);
        r2 = reap(spec, &c, result);
        if (r < 0 || r2 < 0)
                return error_fold(r < 0 ? r : r2);
        return r;
}
