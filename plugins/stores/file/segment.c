/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A segment is a file of lines, filled with zeros ahead of its end: overwriting blocks that are already
 * written spares the file system's own journal a commit, which halves the cost of a sync (a mere
 * fallocate does not). Segments are never used again for other data, so nothing stale can follow the
 * data. When a segment is closed the zeros are cut off, and grep works on it.
 */
#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESERVE_MIN (256u << 10)
#define RESERVE_MAX (8u << 20)
#define CHUNK       (1u << 20)
#define READ_CHUNK  (128u << 10) /* fits into a processor's cache, from where it is copied once more */
#define READ_AHEAD  (16u << 20)

static const char zeros[64 << 10];

void segment_name(uint32_t number, char ret_name[SEGMENT_NAME])
{
        snprintf(ret_name, SEGMENT_NAME, "%08u.jsonl", number % 100000000u);
}

int write_all(int fd, const void *data, uint64_t n, uint64_t offset)
{
        const char *p = data;

        while (n > 0) {
                ssize_t w = pwrite(fd, p, n, (off_t)offset);

                if (w < 0 && errno == EINTR)
                        continue;
                if (w < 0)
                        return -errno;
                if (w == 0)
                        return -EIO;
                p += w;
                n -= (uint64_t)w;
                offset += (uint64_t)w;
        }
        return 0;
}

static int fill(int fd, uint64_t from, uint64_t to)
{
        int r = 0;

        while (from < to && r == 0) {
                uint64_t n = to - from < sizeof(zeros) ? to - from : sizeof(zeros);

                r = write_all(fd, zeros, n, from);
                from += n;
        }
        return r;
}

/* Makes room behind the data. A disk too full for that may still have room for the data itself. A large
 * append does without: writing it twice would cost more than the commit that is spared. */
static void reserve(struct segment *s, uint64_t n)
{
        uint64_t ahead = s->n < RESERVE_MIN ? RESERVE_MIN : s->n < RESERVE_MAX ? s->n : RESERVE_MAX;
        uint64_t to = s->n + n + ahead;

        if (s->n + n <= s->reserved || n > RESERVE_MIN)
                return;
        if (fill(s->fd, s->n + n, to) < 0) {
                if (ftruncate(s->fd, (off_t)s->n) < 0)
                        return;
                to = s->n;
        }
        s->reserved = to;
}

int segment_create(struct segment *s, int folder, uint32_t number)
{
        char name[SEGMENT_NAME];
        int fd;

        segment_name(number, name);
        fd = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        if (fsync(folder) < 0) {
                int e = errno;

                close(fd);
                return -e;
        }
        *s = (struct segment){.fd = fd, .folder = folder, .number = number};
        return 0;
}

static int copy(int from, int to, uint64_t n)
{
        char *chunk = malloc(CHUNK);
        uint64_t at = 0;
        int r = chunk ? 0 : -ENOMEM;

        while (at < n && r == 0) {
                ssize_t got = pread(from, chunk, n - at < CHUNK ? n - at : CHUNK, (off_t)at);

                if (got < 0 && errno == EINTR)
                        continue;
                r = got < 0 ? -errno : got == 0 ? -EIO : write_all(to, chunk, (uint64_t)got, at);
                at += got > 0 ? (uint64_t)got : 0;
        }
        free(chunk);
        return r;
}

int segment_recover(struct segment *s, int folder, uint32_t number, uint64_t n)
{
        static const char fresh[] = "recovering.tmp";
        char name[SEGMENT_NAME];
        int old, fd, r;

        segment_name(number, name);
        old = openat(folder, name, O_RDONLY | O_CLOEXEC);
        if (old < 0)
                return -errno;
        fd = openat(folder, fresh, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        r = fd < 0 ? -errno : copy(old, fd, n);
        if (r == 0 && fsync(fd) < 0)
                r = -errno;
        if (r == 0 && renameat(folder, fresh, folder, name) < 0)
                r = -errno;
        if (r == 0 && fsync(folder) < 0)
                r = -errno;
        close(old);
        if (r < 0) {
                if (fd >= 0)
                        close(fd);
                unlinkat(folder, fresh, 0);
                return r;
        }
        *s = (struct segment){.fd = fd, .folder = folder, .number = number, .n = n, .reserved = n};
        return 0;
}

int segment_append(struct segment *s, const void *data, uint64_t n)
{
        int r;

        reserve(s, n);
        r = write_all(s->fd, data, n, s->n);
        if (r < 0)
                return r;
        if (fdatasync(s->fd) < 0)
                return -errno;
        s->n += n;
        if (s->reserved < s->n)
                s->reserved = s->n;
        return 0;
}

void segment_close(struct segment *s)
{
        if (s->fd < 0)
                return;
        /* If this is lost in a crash, the zeros are there again: harmless. */
        if (ftruncate(s->fd, (off_t)s->n) < 0)
                (void)s;
        close(s->fd);
        s->fd = -1;
}

/* Where the data ends: behind the last byte that is not zero. */
static int find_end(int fd, char *chunk, uint64_t *ret_end)
{
        struct stat st;
        uint64_t end;

        if (fstat(fd, &st) < 0)
                return -errno;
        for (end = (uint64_t)st.st_size; end > 0;) {
                uint64_t from = end > CHUNK ? end - CHUNK : 0;
                ssize_t got = pread(fd, chunk, end - from, (off_t)from);

                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0)
                        return -errno;
                while (got > 0 && chunk[got - 1] == 0)
                        got--;
                end = from + (uint64_t)got;
                if (got > 0)
                        break;
        }
        *ret_end = end;
        return 0;
}

int segment_reopen(struct segment *s, int folder, uint32_t number)
{
        char name[SEGMENT_NAME], *chunk = malloc(CHUNK);
        uint64_t end = 0;
        int fd, r;

        if (!chunk)
                return -ENOMEM;
        segment_name(number, name);
        fd = openat(folder, name, O_RDWR | O_CLOEXEC);
        r = fd < 0 ? -errno : find_end(fd, chunk, &end); /* the zeros may not have been cut off */
        free(chunk);
        if (r < 0) {
                if (fd >= 0)
                        close(fd);
                return r;
        }
        *s = (struct segment){.fd = fd, .folder = folder, .number = number, .n = end, .reserved = end};
        return 0;
}

/* Whoever reads a segment reads the next one too: the disk may bring it meanwhile. */
static void announce(int folder, uint32_t number)
{
        char name[SEGMENT_NAME];
        int fd;

        segment_name(number, name);
        fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return;
        posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED);
        close(fd);
}

int segment_read(int folder, uint32_t number, uint64_t offset, const struct prvng_host *host,
                 struct prvng_sink *sink)
{
        char name[SEGMENT_NAME], *chunk;
        uint64_t end = 0, asked = offset;
        int fd, r;

        segment_name(number, name);
        fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        chunk = malloc(CHUNK);
        r = chunk ? find_end(fd, chunk, &end) : -ENOMEM;
        while (r == 0 && offset < end) {
                uint64_t want = end - offset < READ_CHUNK ? end - offset : READ_CHUNK;
                ssize_t got;

                if (asked < end && asked - offset < READ_AHEAD / 2) {
                        posix_fadvise(fd, (off_t)asked, READ_AHEAD, POSIX_FADV_WILLNEED);
                        asked += READ_AHEAD;
                }
                got = pread(fd, chunk, want, (off_t)offset);
                if (got < 0 && errno == EINTR)
                        continue;
                r = got < 0 ? -errno : got == 0 ? -EIO : 0;
                if (r == 0)
                        r = host->sink_write(sink, chunk, (uint64_t)got);
                offset += got > 0 ? (uint64_t)got : 0;
        }
        if (r == 0)
                announce(folder, number + 1);
        free(chunk);
        close(fd);
        return r;
}
