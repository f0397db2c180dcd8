/* SPDX-License-Identifier: Apache-2.0 */
#include "common.h"

#include <errno.h>
#include <fcntl.h>
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
                n = pread(fd, line, sizeof(line) - 1, 0);
                line[n > 0 ? n : 0] = 0;
                line[strcspn(line, "\n")] = 0;
                close(fd);
                snprintf(message, sizeof(message), "%s is in use by another engine (%s)", location,
                         *line ? line : "process unknown");
                return store_refuse(host, call, PRVNG_CONFLICT, message);
        }
        gethostname(name, sizeof(name) - 1);
        n = snprintf(line, sizeof(line), "pid %ld on host %s\n", (long)getpid(), name);
        if (ftruncate(fd, 0) < 0 || pwrite(fd, line, (size_t)n, 0) < 0) {
                /* A full disk must not keep anyone from looking; who holds the lock is a courtesy. */
                host->log(host, PRVNG_LOG_WARN, "store", "cannot write the lock file");
        }
        *ret_fd = fd;
        return PRVNG_DONE;
}
