/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into a program: kills it by SIGKILL in front of step number PRVNG_TEST_STEP. A step is a call
 * that changes what is on the disk or makes it durable. A program that lives longer writes how many steps
 * it took to the file that PRVNG_TEST_STEPS names.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_long n_steps;

static void step(void)
{
        static long at = -1;
        const char *text;

        if (at < 0) {
                text = getenv("PRVNG_TEST_STEP");
                at = text ? atol(text) : 0;
        }
        if (++n_steps == at)
                for (;;)
                        kill(getpid(), SIGKILL);
}

__attribute__((destructor)) static void tell(void)
{
        const char *path = getenv("PRVNG_TEST_STEPS");
        FILE *f = path ? fopen(path, "we") : NULL;

        if (f) {
                fprintf(f, "%ld\n", (long)n_steps);
                fclose(f);
        }
}

static void write_step(int fd)
{
        struct stat st;

        if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
                step();
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define STEP1(name, type)                                                                          \
        int name(type a)                                                                           \
        {                                                                                          \
                step();                                                                            \
                return REAL(name)(a);                                                              \
        }
#define STEP2(name, type1, type2)                                                                  \
        int name(type1 a, type2 b)                                                                 \
        {                                                                                          \
                step();                                                                            \
                return REAL(name)(a, b);                                                           \
        }
#define STEP3(name, type1, type2, type3)                                                           \
        int name(type1 a, type2 b, type3 c)                                                        \
        {                                                                                          \
                step();                                                                            \
                return REAL(name)(a, b, c);                                                        \
        }

STEP1(fsync, int)
STEP1(fdatasync, int)
STEP1(rmdir, const char *)
STEP1(unlink, const char *)
STEP1(remove, const char *)
STEP2(rename, const char *, const char *)
STEP2(mkdir, const char *, mode_t)
STEP2(ftruncate, int, off_t)
STEP3(mkdirat, int, const char *, mode_t)
STEP3(unlinkat, int, const char *, int)
STEP3(msync, void *, size_t, int)

int renameat(int a, const char *b, int c, const char *d)
{
        step();
        return REAL(renameat)(a, b, c, d);
}

int renameat2(int a, const char *b, int c, const char *d, unsigned flags)
{
        step();
        return REAL(renameat2)(a, b, c, d, flags);
}

ssize_t write(int fd, const void *p, size_t n)
{
        write_step(fd);
        return REAL(write)(fd, p, n);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
        write_step(fd);
        return REAL(pwrite)(fd, p, n, at);
}

#define OPEN_MODE(flags)                                                                           \
        ({                                                                                         \
                mode_t mode_ = 0;                                                                  \
                if ((flags) & O_CREAT) {                                                           \
                        va_list ap_;                                                               \
                        va_start(ap_, flags);                                                      \
                        mode_ = va_arg(ap_, mode_t);                                               \
                        va_end(ap_);                                                               \
                        step();                                                                    \
                }                                                                                  \
                mode_;                                                                             \
        })

int open(const char *path, int flags, ...)
{
        mode_t mode = OPEN_MODE(flags);

        return REAL(open)(path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...)
{
        mode_t mode = OPEN_MODE(flags);

        return REAL(openat)(folder, path, flags, mode);
}
