/* SPDX-License-Identifier: Apache-2.0 */
/* One test in its process: started, listened to, answered, ended in time, cleaned up behind. */
#include "check.h"

#include "base/clock.h"
#include "sandbox/sandbox.h"

#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { OUTPUT_MAX = 16 << 10 };

/* A test under way, as the parent sees it. */
struct run {
        const struct options *options;
        struct result *result;
        struct shared *shared;
        char folder[64];
        json_t *write;  /* more folders that may be written */
        int shared_fd;
        int report;     /* our end of the socket */
        int output;     /* what it prints */
        int listener;   /* -1: none yet */
        pid_t pid;
        int pidfd;
        bool done;      /* it said so */
        bool late;      /* it was killed for it */
};

static void add_text(json_t *array, const char *text)
{
        json_t *s = json_string(text);
        const json_t *e;
        size_t i;

        if (!s) { /* not UTF-8 */
                struct buf clean = BUF_NULL;

                for (const char *p = text; *p; p++)
                        buf_putc(&clean, (unsigned char)*p < 0x80 ? *p : '?');
                s = json_string(buf_str(&clean));
                buf_deinit(&clean);
        }
        json_array_foreach (array, i, e)
                if (json_equal(e, s)) {
                        json_decref(s);
                        return;
                }
        if (json_array_size(array) < 100)
                json_array_append_new(array, s);
        else
                json_decref(s);
}

static void add_violation(void *userdata, const char *text)
{
        struct run *r = userdata;

        add_text(r->result->violations, text);
}

/* --- starting --- */

/* What the child needs to know: JSON, as its only argument. */
static char *arguments_of(const struct run *r)
{
        const struct options *o = r->options;
        json_t *j = json_pack("{s:s, s:s, s:s?, s:s?, s:s?, s:s?, s:I, s:i, s:s, s:O}", "test",
                              r->result->test->name, "plugin", o->plugin, "scenario", o->scenario, "config",
                              o->config, "libexec", o->libexec, "previous", o->previous, "seed",
                              (json_int_t)o->seed, "slow", (int)o->slow, "folder", r->folder,
                              "words", o->words);
        char *text = json_dumps(j, JSON_COMPACT);

        json_decref(j);
        return text;
}

/* The child's descriptors: 3 socket, 4 shared memory. Never returns. */
static _Noreturn void become_test(const struct run *r, int report, int output, char *arguments)
{
        static const char *const kept[] = {"ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"};
        char *argv[] = {(char[]){"prvng-plugin-check"}, (char[]){"--in-the-sandbox"}, arguments, NULL};
        char *environment[N_ELEMENTS(kept) + 1] = {0};
        size_t n = 0;
        int null = open("/dev/null", O_RDONLY);

        for (size_t i = 0; *CHECK_SANITIZER && i < N_ELEMENTS(kept); i++)
                if (getenv(kept[i]) &&
                    asprintf(&environment[n], "%s=%s", kept[i], getenv(kept[i])) > 0)
                        n++;
        setsid();
        if (dup2(null, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0 ||
            fcntl(report, F_DUPFD, 10) < 0 || chdir(r->folder) < 0)
                _exit(126);
        report = fcntl(report, F_DUPFD, 10);
        null = fcntl(r->shared_fd, F_DUPFD, 10);
        dup2(report, 3);
        dup2(null, 4);
        close_range(5, ~0U, 0);
        umask(022);
        execve("/proc/self/exe", argv, environment);
        _exit(126);
}

static int start(struct run *r)
{
        _cleanup_(cleanup_free) char *arguments = NULL;
        int sockets[2] = {-1, -1}, pipes[2] = {-1, -1};

        strcpy(r->folder, "/tmp/prvng-check-XXXXXX");
        if (!mkdtemp(r->folder))
                return error_origin(-errno);
        r->shared_fd = memfd_create("prvng-check", MFD_CLOEXEC);
        if (r->shared_fd < 0 || ftruncate(r->shared_fd, sizeof(*r->shared)) < 0 ||
            socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0 ||
            pipe2(pipes, O_CLOEXEC) < 0)
                return error_origin(-errno);
        r->shared = mmap(NULL, sizeof(*r->shared), PROT_READ | PROT_WRITE, MAP_SHARED, r->shared_fd, 0);
        if (r->shared == MAP_FAILED)
                return r->shared = NULL, error_origin(-errno);
        r->report = sockets[0];
        r->output = pipes[0];
        fcntl(r->output, F_SETFL, O_NONBLOCK);
        arguments = arguments_of(r);
        if (!arguments)
                return error_origin(-ENOMEM);
        r->pid = fork();
        if (r->pid == 0)
                become_test(r, sockets[1], pipes[1], arguments);
        close(sockets[1]);
        close(pipes[1]);
        if (r->pid < 0)
                return error_origin(-errno);
        r->pidfd = pidfd_open(r->pid, 0);
        return r->pidfd < 0 ? error_origin(-errno) : 0;
}

/* --- listening --- */

static void read_output(struct run *r)
{
        char chunk[4096];
        ssize_t n;

        while ((n = read(r->output, chunk, sizeof(chunk))) > 0) {
                struct buf *b = &r->result->output;

                buf_append(b, chunk, MIN((size_t)n, b->n < OUTPUT_MAX ? OUTPUT_MAX - b->n : 0));
        }
}

/* False: nothing more is there. */
static bool read_report(struct run *r)
{
        char text[8192];
        ssize_t n = recv(r->report, text, sizeof(text) - 1, MSG_DONTWAIT);
        struct result *result = r->result;
        json_t *paths;

        if (n <= 0)
                return false;
        text[n] = 0;
        switch (text[0]) {
        case 'F':
                add_text(result->failures, text + 1);
                break;
        case 'R':
                add_text(result->remarks, text + 1);
                break;
        case 'S':
                result->outcome = SKIPPED;
                free(result->reason);
                result->reason = strdup(text + 1);
                break;
        case 'W': /* a JSON array of paths that may be written */
                paths = json_loads(text + 1, 0, NULL);
                json_decref(r->write);
                r->write = paths;
                break;
        case 'L': /* the number, there, of what its system calls are asked about with */
                if (r->listener < 0)
                        r->listener = pidfd_getfd(r->pidfd, atoi(text + 1), 0);
                if (r->listener < 0 && errno != ESRCH) /* it may have ended by now */
                        add_text(result->remarks, "the system calls of the test cannot be answered: they wait for ever");
                break;
        case 'D':
                r->done = true;
                break;
        default:
                break;
        }
        return true;
}

static void answer(struct run *r)
{
        sandbox_answer(&(struct sandbox_broker){
                .listener = r->listener, .folder = r->folder, .write = r->write, .tested = &r->shared->tested,
                .may_fork = &r->shared->may_fork, .may_spawn = &r->shared->may_spawn,
                .violation = add_violation, .userdata = r});
}

/* Until the process has ended, or was ended for being late. */
static void attend(struct run *r)
{
        int64_t end = clock_boot_ms() +
                      INT64_C(1000) * r->result->test->seconds * MAX(r->options->slow, 1u);

        for (;;) {
                struct pollfd fds[] = {{r->pidfd, POLLIN, 0}, {r->report, POLLIN, 0},
                                       {r->output, POLLIN, 0}, {r->listener, POLLIN, 0}};
                int64_t left = end - clock_boot_ms();
                int n = poll(fds, N_ELEMENTS(fds), (int)MAX(left, INT64_C(0)));

                if (n < 0 && errno != EINTR)
                        return;
                if (n == 0) {
                        r->late = true;
                        kill(-r->pid, SIGKILL);
                        kill(r->pid, SIGKILL);
                        end += 10000;
                        continue;
                }
                if (fds[3].revents & POLLIN)
                        answer(r);
                if (fds[3].revents & (POLLHUP | POLLERR)) {
                        close(r->listener);
                        r->listener = -1;
                }
                if (fds[2].revents)
                        read_output(r);
                if (fds[1].revents)
                        read_report(r);
                if (fds[0].revents)
                        return;
                if (fds[1].revents & POLLHUP || fds[2].revents & POLLHUP)
                        poll(NULL, 0, 1); /* it is about to end */
        }
}

/* --- ending --- */

/* What the test left running became ours: PR_SET_CHILD_SUBREAPER. Ends it; how many there were. */
static unsigned int end_descendants(void)
{
        char path[64], text[4096];
        unsigned int n = 0;

        snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
        for (int round = 0; round < 200; round++) {
                FILE *f = fopen(path, "re");
                bool any = false;
                int pid, used = 0;
                size_t got = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

                if (f)
                        fclose(f);
                text[got] = 0;
                for (char *p = text; sscanf(p, "%d%n", &pid, &used) == 1; p += used) {
                        any = true;
                        if (kill(pid, SIGKILL) == 0)
                                n++;
                }
                while (waitpid(-1, NULL, WNOHANG) > 0)
                        ;
                if (!any)
                        break;
                poll(NULL, 0, 5);
        }
        return n;
}

static void judge_end(struct run *r, int status)
{
        struct result *result = r->result;
        char text[700];
        const char *step = r->shared->step[0] ? r->shared->step : "starting";

        text[0] = 0;
        if (r->late)
                snprintf(text, sizeof(text), "did not end within %u s: %s",
                         result->test->seconds * MAX(r->options->slow, 1u), step);
        else if (WIFSIGNALED(status))
                snprintf(text, sizeof(text), "ended by signal %d (%s): %s", WTERMSIG(status),
                         strsignal(WTERMSIG(status)), step);
        else if (WEXITSTATUS(status) != 0)
                snprintf(text, sizeof(text), "the process ended with code %d: %s%s", WEXITSTATUS(status), step,
                         *CHECK_SANITIZER ? " (what the sanitizer found is in the output)" : "");
        else if (!r->done)
                snprintf(text, sizeof(text), "the plugin ended the process: %s", step);
        if (text[0])
                add_text(result->failures, text);
        if (json_array_size(result->violations) > 0 && !(result->test->flags & TEST_MAY_TRY))
                add_text(result->failures, "tried what a plugin may not do, see the violations");
        if (json_array_size(result->failures) > 0)
                result->outcome = FAILED;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *at)
{
        return remove(path), 0;
}

static void finish(struct run *r)
{
        end_descendants();
        if (r->folder[0])
                nftw(r->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
        if (r->shared)
                munmap(r->shared, sizeof(*r->shared));
        json_decref(r->write);
        cleanup_close(&r->shared_fd);
        cleanup_close(&r->report);
        cleanup_close(&r->output);
        cleanup_close(&r->listener);
        cleanup_close(&r->pidfd);
}

int run_test(const struct options *o, const struct test *t, struct result *ret)
{
        struct run r = {.options = o, .result = ret, .shared_fd = -1, .report = -1, .output = -1,
                        .listener = -1, .pidfd = -1};
        int64_t begun = clock_boot_ms();
        int status = 0, k;

        *ret = (struct result){.test = t, .failures = json_array(), .remarks = json_array(),
                               .violations = json_array()};
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        k = start(&r);
        if (k == 0) {
                attend(&r);
                waitpid(r.pid, &status, 0);
                kill(-r.pid, SIGKILL); /* its group, where it left one */
                while (read_report(&r))
                        ;
                read_output(&r);
                judge_end(&r, status);
        }
        finish(&r);
        ret->ms = clock_boot_ms() - begun;
        return error_fold(k);
}

void result_deinit(struct result *r)
{
        json_decref(r->failures);
        json_decref(r->remarks);
        json_decref(r->violations);
        free(r->reason);
        buf_deinit(&r->output);
}
