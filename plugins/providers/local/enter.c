/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng-local-enter SITE NAME -- COMMAND [ARGUMENT...]: runs a command in a server.
 *
 * Its input, output and exit code are the command's; 255: the server could not be reached.
 */
#include "common.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define CANNOT 255

static volatile sig_atomic_t child_pid;

static _Noreturn _printf_(1, 2) void fail(const char *format, ...)
{
        va_list ap;

        fputs("prvng-local-enter: ", stderr);
        va_start(ap, format);
        vfprintf(stderr, format, ap);
        va_end(ap);
        fputc('\n', stderr);
        _exit(CANNOT);
}

static void forward(int signal)
{
        if (child_pid > 0)
                kill((pid_t)child_pid, signal);
}

/* The server's limits hold for what is run in it too, so its groups are joined before anything
 * else. */
static void join_groups(const json_t *groups, bool rootless)
{
        size_t i;
        json_t *g;

        json_array_foreach(groups, i, g)
        {
                const char *path = local_string(g, "path", "");
                bool v2 = json_is_true(json_object_get(g, "v2"));
                /* In v2 only a leaf may hold processes, and the root inside is none. */
                _cleanup_(cleanup_free) char *leaf = local_format("%s%s", path, v2 ? "/enter" : "");
                _cleanup_(cleanup_free) char *procs =
                        leaf ? local_format("%s/cgroup.procs", leaf) : NULL;
                _cleanup_(cleanup_close) int fd = -1;

                if (!procs || (v2 && mkdir(leaf, 0755) < 0 && errno != EEXIST))
                        fail("%s: %s", path, strerror(errno));
                fd = open(procs, O_WRONLY | O_CLOEXEC);
                if (fd >= 0 && write(fd, "0", 1) == 1)
                        continue;
                /* A user may move processes within a session's groups, not from one session to
                 * another. */
                if (!rootless || (errno != EACCES && errno != EPERM))
                        fail("%s: %s", procs, strerror(errno));
                fprintf(stderr,
                        "prvng-local-enter: the command runs outside of the server's limits: this"
                        " session may not join %s\n",
                        procs);
        }
}

/* A server of a user who is not root lies in a user namespace, where also its monitor is. */
static bool other_userns(pid_t pid)
{
        char path[64];
        struct stat own, its;

        snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
        if (stat("/proc/self/ns/user", &own) < 0 || stat(path, &its) < 0)
                fail("%s: %s", path, strerror(errno));
        return own.st_dev != its.st_dev || own.st_ino != its.st_ino;
}

static _Noreturn void run(char **argv)
{
        const char *terminal = getenv("TERM");
        _cleanup_(cleanup_free) char *term = local_format("TERM=%s", terminal ? terminal : "dumb");
        char *environment[] = {
                (char[]){"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
                (char[]){"HOME=/root"},
                (char[]){"USER=root"},
                (char[]){"LOGNAME=root"},
                (char[]){"SHELL=/bin/bash"},
                (char[]){"LANG=C.UTF-8"},
                term,
                NULL};

        signal(SIGPIPE, SIG_DFL);
        umask(022);
        if (chdir("/root") < 0 && chdir("/") < 0)
                fail("/: %s", strerror(errno));
        execvpe(argv[0], argv, environment);
        fprintf(stderr, "prvng-local-enter: %s: %s\n", argv[0], strerror(errno));
        _exit(errno == ENOENT ? 127 : 126);
}

static int wait_for(pid_t pid)
{
        int status;

        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        fail("waiting: %s", strerror(errno));
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
        static const int forwarded[] = {SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH};
        _cleanup_(cleanup_json) json_t *state = NULL;

        if (argc < 5 || !streq(argv[3], "--") || !local_valid_name(argv[2])) {
                fputs("usage: prvng-local-enter SITE-FOLDER NAME -- COMMAND [ARGUMENT...]\n",
                      stderr);
                return CANNOT;
        }
        _cleanup_(cleanup_free) char *path =
                local_format("%s/servers/%s/state.json", argv[1], argv[2]);
        int r = path ? local_read_json(path, &state) : -ENOMEM;
        if (r < 0)
                fail("there is no server %s: %s: %s", argv[2], path, strerror(-r));
        const char *root = local_string(state, "chroot", "");
        if (*root) {
                if (chroot(root) < 0 || chdir("/") < 0)
                        fail("%s: %s", root, strerror(errno));
                run(argv + 4);
        }
        const json_t *init = json_object_get(state, "init");
        pid_t pid_of_init = 0;
        _cleanup_(cleanup_close) int pidfd =
                json_is_object(init) ? local_process_open(init, &pid_of_init) : -1;
        if (pidfd < 0)
                fail("server %s is not running (%s)", argv[2], local_string(state, "state", "?"));
        bool rootless = json_is_true(json_object_get(state, "rootless"));
        bool outside = rootless && other_userns(pid_of_init);
        join_groups(json_object_get(state, "cgroups"), rootless);
        if (setns(pidfd, CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET |
                                 CLONE_NEWCGROUP | (outside ? CLONE_NEWUSER : 0)) < 0)
                fail("server %s cannot be entered: %s", argv[2], strerror(errno));
        if (outside && (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0))
                fail("server %s: becoming its root: %s", argv[2], strerror(errno));
        /* Keys at the terminal reach the command by themselves, as it is in our process group. */
        signal(SIGINT, SIG_IGN);
        signal(SIGQUIT, SIG_IGN);
        pid_t pid = fork();
        if (pid < 0)
                fail("fork: %s", strerror(errno));
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                signal(SIGINT, SIG_DFL);
                signal(SIGQUIT, SIG_DFL);
                run(argv + 4);
        }
        child_pid = pid;
        for (size_t i = 0; i < N_ELEMENTS(forwarded); i++)
                signal(forwarded[i], forward);
        /* Nothing is left to be done, and nothing that runs at exit would find its way here, with
         * one foot in the server. */
        _exit(wait_for(pid));
}
