/* SPDX-License-Identifier: Apache-2.0 */
/* What this disk can do: the limit that durable figures are compared with. */
#include "bench.h"

#include <fcntl.h>
#include <ftw.h>
#include <time.h>

double seconds(void)
{
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int compare(const void *a, const void *b)
{
        double x = *(const double *)a, y = *(const double *)b;

        return x < y ? -1 : x > y;
}

double median(double *values, unsigned n)
{
        qsort(values, n, sizeof(*values), compare);
        return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* 4 KiB appends with fdatasync to a zero-filled file. */
struct disk disk_measure(const char *folder, unsigned n)
{
        _cleanup_(cleanup_free) double *took = calloc(n, sizeof(*took));
        char path[512], block[4096] = {0};
        double start, begin;
        struct disk d;
        int fd;

        snprintf(path, sizeof(path), "%s/sync", folder);
        fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (!took || fd < 0)
                bench_fail("%s: %s", path, strerror(errno));
        for (unsigned i = 0; i < n; i++)
                if (write(fd, block, sizeof(block)) < 0)
                        bench_fail("%s: %s", path, strerror(errno));
        fsync(fd);
        memset(block, 'x', sizeof(block));
        start = seconds();
        for (unsigned i = 0; i < n; i++) {
                begin = seconds();
                if (pwrite(fd, block, sizeof(block), (off_t)i * 4096) < 0 || fdatasync(fd) < 0)
                        bench_fail("%s: %s", path, strerror(errno));
                took[i] = seconds() - begin;
        }
        d.syncs_per_s = n / (seconds() - start);
        d.p50_s = median(took, n);
        close(fd);
        unlink(path);
        return d;
}

static int forget(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        int fd = type == FTW_F ? open(path, O_RDONLY | O_CLOEXEC) : -1;

        if (fd < 0)
                return 0;
        /* Only pages that are on the disk already can be dropped. */
        if (fsync(fd) < 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
                bench_fail("%s: %s", path, strerror(errno));
        close(fd);
        return 0;
}

void disk_forget_cache(const char *folder)
{
        if (nftw(folder, forget, 16, FTW_PHYS) != 0)
                bench_fail("%s: %s", folder, strerror(errno));
}
