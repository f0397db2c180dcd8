/* SPDX-License-Identifier: Apache-2.0 */
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

bool store_name_good(const char *name)
{
        static const char first[] = "abcdefghijklmnopqrstuvwxyz0123456789";
        static const char more[] = "abcdefghijklmnopqrstuvwxyz0123456789"
                                   "ABCDEFGHIJKLMNOPQRSTUVWXYZ._-";
        size_t n = strspn(name, more);

        return n > 0 && n <= STORE_NAME_MAX && !name[n] && strchr(first, name[0]);
}

int32_t store_fail(const struct prvng_host *host, struct prvng_call *call, int error,
                   const char *action, const char *what)
{
        char message[640];
        struct prvng_error e = {
                .struct_size = sizeof(e),
                .error_class = error == -ENOSPC || error == -EDQUOT ? PRVNG_QUOTA : PRVNG_PERMANENT,
                .retry_after_ms = -1,
                .effect = PRVNG_EFFECT_UNKNOWN,
                .status = -error,
                .message = message,
        };

        snprintf(message, sizeof(message), "cannot %s %s: %s%s", action, what, strerror(-error),
                 e.error_class == PRVNG_QUOTA ? "; make room and start again" : "");
        host->error(call, &e);
        return e.error_class;
}

int32_t store_refuse(const struct prvng_host *host, struct prvng_call *call, int32_t error_class,
                     const char *message)
{
        struct prvng_error e = {
                .struct_size = sizeof(e),
                .error_class = error_class,
                .retry_after_ms = -1,
                .effect = PRVNG_EFFECT_NONE,
                .message = message,
        };

        host->error(call, &e);
        return error_class;
}

int32_t store_refuse_epoch(const struct prvng_host *host, struct prvng_call *call)
{
        return store_refuse(host, call, PRVNG_CONFLICT,
                            "not opened for writing, or by an older engine");
}

int32_t store_refuse_failed(const struct prvng_host *host, struct prvng_call *call)
{
        return store_refuse(host, call, PRVNG_PERMANENT, "a write failed before; open the store anew");
}

int32_t store_refuse_name(const struct prvng_host *host, struct prvng_call *call, const char *name)
{
        char message[256];

        snprintf(message, sizeof(message),
                 "\"%.80s\" is no name of a stream: 1 to %d letters, digits, \".\", \"_\", \"-\", of "
                 "which the first is a small letter or a digit", name, STORE_NAME_MAX);
        return store_refuse(host, call, PRVNG_PERMANENT, message);
}

/* Who holds the lock, as the holder wrote it: the first line of the file. It does so right after it got the
 * lock, so that for a moment the file is empty or names one that is gone. */
static void read_holder(int fd, char *ret_line, size_t n_line)
{
        long pid;

        for (int i = 0; i < 20; i++) {
                ssize_t n = pread(fd, ret_line, n_line - 1, 0);

                ret_line[n > 0 ? n : 0] = 0;
                ret_line[strcspn(ret_line, "\n")] = 0;
                if (sscanf(ret_line, "pid %ld", &pid) == 1 && pid > 0 &&
                    (kill((pid_t)pid, 0) == 0 || errno == EPERM))
                        return;
                poll(NULL, 0, 5);
        }
}

int32_t store_lock(const struct prvng_host *host, struct prvng_call *call, int folder,
                   const char *location, int *ret_fd)
{
        char line[300] = "", message[800], name[65] = "?";
        ssize_t n;
        int fd;

        fd = openat(folder, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
                return store_fail(host, call, -errno, "open the file lock of", location);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
                read_holder(fd, line, sizeof(line));
                close(fd);
                snprintf(message, sizeof(message), "%s is in use by another engine (%s)", location,
                         *line ? line : "process unknown");
                return store_refuse(host, call, PRVNG_CONFLICT, message);
        }
        gethostname(name, sizeof(name) - 1);
        n = snprintf(line, sizeof(line), "pid %ld on host %s\n", (long)getpid(), name);
        if (pwrite(fd, line, (size_t)n, 0) < 0 || ftruncate(fd, n) < 0) {
                /* A full disk must not keep anyone from looking; who holds the lock is a courtesy. */
                host->log(host, PRVNG_LOG_WARN, "store", "cannot write the lock file");
        }
        *ret_fd = fd;
        return PRVNG_DONE;
}
