/* SPDX-License-Identifier: Apache-2.0 */
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct faults faults;

void faults_begin(enum fault fault, unsigned at)
{
        faults = (struct faults){.fault = fault, .at = at};
}

static _Noreturn void die(void)
{
        for (;;)
                kill(getpid(), SIGKILL);
}

static bool counts(int fd)
{
        struct stat st;

        return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static bool synced_by_itself(int fd)
{
        int flags = fcntl(fd, F_GETFL);

        return flags >= 0 && flags & (O_DSYNC | O_SYNC);
}

static ssize_t do_write(int fd, const struct iovec *iov, int n, int64_t at)
{
        return at < 0 ? syscall(SYS_writev, fd, iov, n) : syscall(SYS_pwritev, fd, iov, n, at, 0);
}

/* Half of the bytes, and the end. */
static _Noreturn void tear(int fd, const struct iovec *iov, int n, uint64_t n_bytes, int64_t at)
{
        uint64_t left = n_bytes / 2;

        for (int i = 0; i < n && left > 0; i++) {
                struct iovec one = iov[i];

                if (one.iov_len > left)
                        one.iov_len = left;
                do_write(fd, &one, 1, at);
                if (at >= 0)
                        at += (int64_t)one.iov_len;
                left -= one.iov_len;
        }
        die();
}

/* One write, at the file's position if `at` is -1. */
static ssize_t step_write(int fd, const struct iovec *iov, int n, int64_t at)
{
        bool now, sync;
        uint64_t n_bytes = 0;
        ssize_t w;

        if (!counts(fd))
                return do_write(fd, iov, n, at);
        for (int i = 0; i < n; i++)
                n_bytes += iov[i].iov_len;
        sync = synced_by_itself(fd);
        now = ++faults.n_steps == faults.at;
        if (now && (faults.fault == FAULT_DIE || (faults.fault == FAULT_LOSE && sync)))
                die();
        if (now && faults.fault == FAULT_TEAR)
                tear(fd, iov, n, n_bytes, at);
        if (now && faults.fault == FAULT_LOSE) {
                faults.lost = true;
                if (at < 0)
                        lseek(fd, (off_t)n_bytes, SEEK_CUR);
                return (ssize_t)n_bytes;
        }
        w = do_write(fd, iov, n, at);
        faults.n_bytes += w > 0 ? (uint64_t)w : 0;
        faults.n_syncs += sync;
        faults.unsynced |= !sync;
        if (sync && faults.fault == FAULT_SYNC && faults.n_steps >= faults.at) {
                errno = EIO;
                return -1;
        }
        return w;
}

static int step_sync(int fd, long number)
{
        bool now = ++faults.n_steps == faults.at;

        if ((now && (faults.fault == FAULT_DIE || faults.fault == FAULT_TEAR ||
                     faults.fault == FAULT_LOSE)) ||
            faults.lost)
                die();
        if (faults.fault == FAULT_SYNC && faults.n_steps >= faults.at) {
                errno = EIO;
                return -1;
        }
        faults.n_syncs++;
        faults.unsynced = false;
        return (int)syscall(number, fd);
}

/* The C library's names; those with 64 for programs with large offsets. The names here are others, for its
 * headers may call one by the name of the other. */
#define EXPORT(type, name, asm_name, ...)                                                          \
        __attribute__((visibility("default"))) type name(__VA_ARGS__) __asm__(asm_name);           \
        type name(__VA_ARGS__)

EXPORT(ssize_t, faulty_write, "write", int fd, const void *data, size_t n)
{
        return step_write(fd, &(struct iovec){(void *)(uintptr_t)data, n}, 1, -1);
}

EXPORT(ssize_t, faulty_writev, "writev", int fd, const struct iovec *iov, int n)
{
        return step_write(fd, iov, n, -1);
}

EXPORT(ssize_t, faulty_pwrite, "pwrite", int fd, const void *data, size_t n, int64_t at)
{
        return step_write(fd, &(struct iovec){(void *)(uintptr_t)data, n}, 1, at);
}

EXPORT(ssize_t, faulty_pwrite64, "pwrite64", int fd, const void *data, size_t n, int64_t at)
{
        return step_write(fd, &(struct iovec){(void *)(uintptr_t)data, n}, 1, at);
}

EXPORT(ssize_t, faulty_pwritev, "pwritev", int fd, const struct iovec *iov, int n, int64_t at)
{
        return step_write(fd, iov, n, at);
}

EXPORT(ssize_t, faulty_pwritev64, "pwritev64", int fd, const struct iovec *iov, int n, int64_t at)
{
        return step_write(fd, iov, n, at);
}

EXPORT(int, faulty_fsync, "fsync", int fd)
{
        return step_sync(fd, SYS_fsync);
}

EXPORT(int, faulty_fdatasync, "fdatasync", int fd)
{
        return step_sync(fd, SYS_fdatasync);
}
