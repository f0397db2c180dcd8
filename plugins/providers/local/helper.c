/* SPDX-License-Identifier: Apache-2.0 */
#include "helper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

bool helper_rootless;

char *helper_sibling(const char *name)
{
        char own[4096];
        ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);

        if (n < 0)
                return NULL;
        own[n] = '\0';
        *strrchr(own, '/') = '\0';
        return local_format("%s/%s", own, name);
}

int64_t helper_now(void)
{
        struct timespec t;

        clock_gettime(CLOCK_BOOTTIME, &t);
        return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static _Noreturn void child(const char *const *argv, int in, int out)
{
        char *const environment[] = {(char[]){"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
                                     (char[]){"LANG=C.UTF-8"}, NULL};
        sigset_t none;

        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
                _exit(126);
        execvpe(argv[0], (char *const *)(uintptr_t)argv, environment);
        dprintf(2, "%s: %s\n", argv[0], strerror(errno));
        _exit(127);
}

int run_program(const char *const *argv, const char *input, char **ret_output)
{
        _cleanup_(cleanup_close) int in = -1, out = -1;
        _cleanup_(cleanup_free) char *text = NULL;
        size_t n = 0;
        int status;

        /* Files in memory: no pipe can fill up, however much is said on either side. */
        in = memfd_create("input", MFD_CLOEXEC);
        out = memfd_create("output", MFD_CLOEXEC);
        if (in < 0 || out < 0)
                return -errno;
        if (input && (write(in, input, strlen(input)) < 0 || lseek(in, 0, SEEK_SET) < 0))
                return -errno;
        pid_t pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                child(argv, in, out);
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        if (ret_output) {
                off_t size = lseek(out, 0, SEEK_END);
                text = calloc(1, (size_t)(size < 0 ? 0 : size) + 1);
                if (!text)
                        return -ENOMEM;
                for (ssize_t k; n < (size_t)size &&
                                (k = pread(out, text + n, (size_t)size - n, (off_t)n)) > 0;)
                        n += (size_t)k;
                while (n > 0 && text[n - 1] == '\n')
                        text[--n] = '\0';
                *ret_output = text;
                text = NULL;
        }
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
