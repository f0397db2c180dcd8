/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng plugin ABI 1: the types that cross the border between the core and a plugin.
 *
 * Only bytes and integers cross. The rules, once for all headers of this folder:
 *
 * - Every struct starts with `uint32_t struct_size; uint32_t reserved;`. The writer sets
 *   struct_size to sizeof of what it was compiled with and every reserved field to 0. The reader
 *   compares struct_size with the *frozen baseline* of the struct (PRVNG_*_BASELINE, the size at
 *   1.0), never with its own sizeof; copies min(sizes) into a zeroed private struct; and ignores
 *   what is longer. Structs only grow at the end; a comment marks where each minor ends.
 * - Ownership: inputs are valid for the duration of the call only, unless the parameter's comment
 *   says otherwise. Outputs leave a plugin only through a sink or as an interned string. Neither
 *   side ever frees a pointer of the other.
 * - Strings are UTF-8 and end with NUL; byte ranges are a pointer and a uint64_t length.
 * - Time is int64_t milliseconds. Deadlines are on the clock of host->monotonic_ms(), which runs
 *   on while the machine sleeps (CLOCK_BOOTTIME).
 * - Threads: each function carries a tag. [main]: the thread that started the engine, before or
 *   after all work. [worker]: one of the engine's workers; never two calls at once for one
 *   operation. [any]: any thread, also several at once.
 */
#ifndef PRVNG_ABI_H
#define PRVNG_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PRVNG_ABI_MAJOR 1
#define PRVNG_ABI_MINOR 0

/* Marks the one symbol that a plugin exports; everything else is hidden. */
#define PRVNG_EXPORT __attribute__((visibility("default")))

/* Size of a struct up to and including `member`: how baselines are written down. */
#define PRVNG_SIZE_UP_TO(type, member) (offsetof(type, member) + sizeof(((type *)0)->member))

/* True if `ptr` was made by a writer that knew `member`, and the member is not NULL. */
#define PRVNG_HAS(ptr, type, member)                                                               \
        ((ptr)->struct_size >= PRVNG_SIZE_UP_TO(type, member) && (ptr)->member)

/*
 * Return classes, a closed set. Zero and positive: what was asked for is, or will be, the case.
 * Negative: it is not, and an error record (struct prvng_error) says more. An unknown negative
 * value counts as PERMANENT, an unknown positive one as INTERNAL; with either, and with a missing
 * error record, the effect counts as UNKNOWN.
 */
#define PRVNG_DONE           0 /* finished; the result sink holds the result */
#define PRVNG_PENDING        1 /* accepted; the token sink holds what poll() needs */
#define PRVNG_UNCHANGED      2 /* was already as wanted; the result sink holds the result */
#define PRVNG_TRANSIENT      -1 /* may work later */
#define PRVNG_RATE_LIMITED   -2 /* the API asks for fewer requests; retry_after_ms says when */
#define PRVNG_PERMANENT      -3 /* will not work however often it is tried */
#define PRVNG_AUTH           -4 /* credentials missing, wrong or without the right */
#define PRVNG_CONFLICT       -5 /* the present state forbids it */
#define PRVNG_NOT_FOUND      -6
#define PRVNG_CANCELLED      -7
#define PRVNG_UNSUPPORTED    -8 /* this plugin, or this version of it, cannot do that */
#define PRVNG_QUOTA          -9 /* a limit of the account or of the machine is reached */
#define PRVNG_INTERNAL       -10 /* a bug */
#define PRVNG_TOKEN_REJECTED -11 /* not a token of this plugin: the core goes on with observe() */

/* What a failed or unfinished call left behind in the world. */
#define PRVNG_EFFECT_NONE     0 /* nothing: may be begun again blindly */
#define PRVNG_EFFECT_UNKNOWN  1 /* cannot tell: the core asks observe() before anything else */
#define PRVNG_EFFECT_PARTIAL  2 /* something, not all; undo has work to do */
#define PRVNG_EFFECT_COMPLETE 3 /* all of it, although the call failed */

/* Answers of observe(). Negative values are return classes: it could not be found out. */
#define PRVNG_OBSERVED_DONE        0 /* the effect is there; the result sink holds the result */
#define PRVNG_OBSERVED_IN_PROGRESS 1 /* under way; the token sink holds what poll() needs */
#define PRVNG_OBSERVED_NOT_STARTED 2 /* no trace of this op id */
#define PRVNG_OBSERVED_PARTIAL     3 /* begun and left unfinished; begin() again completes it */
#define PRVNG_OBSERVED_FAILED      4 /* ended without success; an error record says how */
#define PRVNG_OBSERVED_UNCERTAIN   5 /* cannot tell yet: ask again after retry_after_ms */

/* Levels of log(). */
#define PRVNG_LOG_ERROR 0
#define PRVNG_LOG_WARN  1
#define PRVNG_LOG_INFO  2
#define PRVNG_LOG_DEBUG 3

/* What a plugin says about a failure, passed to host->error() during the call that fails. */
struct prvng_error {
        uint32_t struct_size;
        uint32_t reserved;
        int32_t error_class;    /* PRVNG_TRANSIENT ... the same value that the call returns */
        int32_t code;           /* the plugin's own number for it, 0 if it has none */
        int64_t retry_after_ms; /* not before this long from now; -1: the core decides */
        uint32_t effect;        /* PRVNG_EFFECT_* */
        int32_t status;         /* HTTP status or errno behind it, 0 if none */
        const char *message;    /* one sentence for the operator: what, where, what to do; holds no
                                 * secret; copied by the host */
        const char *field;      /* path of the offending field in the task, e.g. "spec.memory", or
                                 * NULL; copied by the host */
        /* members above: 1.0 */
};
#define PRVNG_ERROR_BASELINE PRVNG_SIZE_UP_TO(struct prvng_error, field)

/*
 * One call of the core into a plugin. The host allocates it; it is valid until the call returns.
 * A plugin passes it back to host functions and reads the members, no more.
 */
struct prvng_call {
        uint32_t struct_size;
        uint32_t reserved;
        const char *op_id;        /* names the request for ever: 26 characters [0-9A-HJKMNP-TV-Z]; the
                                   * same over all attempts and restarts; "" where there is none
                                   * (prepare, read, list) */
        uint32_t attempt;         /* 1 for the first try */
        uint32_t reserved2;
        int64_t deadline_ms;      /* the call should be back by then; INT64_MAX: no deadline */
        uint64_t epoch;           /* counts the engines that ever owned the site */
        const char *trace_parent; /* W3C trace context, "" if there is none */
        const char *run;          /* id of the run, "" if there is none */
        const char *task;         /* id of the task, e.g. "create-servers/web-0", "" if none */
        /* members above: 1.0 */
};
#define PRVNG_CALL_BASELINE PRVNG_SIZE_UP_TO(struct prvng_call, task)

/* A place to write bytes to; owned by the host, valid until the call that got it returns. */
struct prvng_sink;

#ifdef __cplusplus
}
#endif

#endif
