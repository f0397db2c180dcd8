/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small things that every module uses.
 *
 * The error rule of the core: a function returns 0, or a negative errno that is fatal to the
 * operation and is only forwarded (with error_fold, so that PRVNG_TRACE=1 prints the way it took), or
 * a positive condition of its module (enumerators X_E_*) that the caller must handle. Outputs are
 * named ret_x, written last, and untouched on failure. Functions either log or return, never both.
 */
#ifndef PRVNG_BASE_UTIL_H
#define PRVNG_BASE_UTIL_H

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
/* For functions that do nothing but prefetch: one that is not inlined has no effect in gcc's eyes, and its
 * calls are left out. */
#define _prefetches_ __attribute__((__always_inline__)) inline
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _unused_ __attribute__((unused))
#define _likely_(x) __builtin_expect(!!(x), 1)
#define _unlikely_(x) __builtin_expect(!!(x), 0)

#define N_ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* Takes a pointer out of a variable, leaving NULL: hands ownership over. */
#define steal(p)                                                                                   \
        ({                                                                                         \
                __typeof__(*(p)) *pp_ = (p);                                                       \
                __typeof__(*(p)) v_ = *pp_;                                                        \
                *pp_ = NULL;                                                                       \
                v_;                                                                                \
        })

/* Defines cleanup_NAME(T **p) that calls f(*p). */
#define DEFINE_CLEANUP(type, f)                                                                    \
        static inline void cleanup_##f(type *p)                                                    \
        {                                                                                          \
                int e_ = errno;                                                                    \
                if (*p)                                                                            \
                        f(*p);                                                                     \
                errno = e_;                                                                        \
        }

static inline void cleanup_free(void *p)
{
        int e = errno;
        free(*(void **)p);
        errno = e;
}

static inline void cleanup_close(int *fd)
{
        int e = errno;
        if (*fd >= 0)
                close(*fd);
        errno = e;
}

static inline void cleanup_fclose(FILE **f)
{
        if (*f)
                fclose(*f);
}

static inline bool streq(const char *a, const char *b)
{
        return strcmp(a, b) == 0;
}

static inline const char *startswith(const char *s, const char *prefix)
{
        size_t n = strlen(prefix);
        return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

int error_trace(int r, const char *file, int line);

/* Where a fatal error is born. */
#define error_origin(r) error_trace((r), __FILE__, __LINE__)

/* Forwards an error of a callee; conditions that the caller did not handle become fatal. */
#define error_fold(r)                                                                              \
        ({                                                                                         \
                int r_ = (r);                                                                      \
                r_ == 0 ? 0 : error_trace(r_ > 0 ? -ENOTRECOVERABLE : r_, __FILE__, __LINE__);     \
        })

#endif
