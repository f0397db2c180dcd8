/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host keeps of a call into a plugin: struct prvng_call as the plugin sees it, with the parts
 * that host functions need behind it. Made by op_call_init (core/plugin/border.h).
 */
#ifndef PRVNG_HOST_CALL_H
#define PRVNG_HOST_CALL_H

#include "base/buf.h"
#include <prvng/abi.h>

struct host;
struct isolated;
struct plugin;

/* One call under way. The caller makes it (worker or loop thread), hands it to one op_* function and
 * may meanwhile cancel it from another thread. */
struct op_call {
        struct prvng_call pub;      /* first: what the plugin sees */
        struct plugin *plugin;      /* NULL in tests of host services only */
        struct host *host;
        const char *plugin_name;
        const char *run;            /* ids for logs and workdir; "" if none */
        const char *task;
        int cancelled;              /* atomic */
        struct op_call *within;     /* what it is made for, in the same thread: with that it is cancelled,
                                     * too. NULL: none */
        int cancel_fd;              /* eventfd, made when first asked for; -1 */
        struct op_reply *reply;     /* where error(), ask_again() write */
        bool said;                  /* error() was called, with this class */
        int32_t said_class;
        struct isolated *inside;    /* atomic: the isolated plugin that the call is in, else NULL */
        uint64_t ticket;            /* atomic: which of its calls (core/plugin/isolate.h) */
        void (*on_progress)(struct op_call *call, uint32_t permille, const char *message);
        void *userdata;
};

/* What came back. Initialise with OP_REPLY_NULL, end with op_reply_deinit. */
struct op_reply {
        int32_t answer;         /* class, or PRVNG_OBSERVED_*; already normalised: unknown negative
                                 * is PERMANENT, unknown positive INTERNAL */
        uint32_t effect;        /* PRVNG_EFFECT_*; UNKNOWN where the plugin said nothing valid */
        int64_t retry_after_ms; /* -1: none */
        int64_t ask_again_ms;   /* -1: none */
        int32_t error_class;    /* with PRVNG_OBSERVED_FAILED: the class of the failure */
        int32_t code;
        int32_t status;
        char *message; /* NULL if there is none */
        char *field;
        struct buf result; /* JSON object, checked to be one line of valid JSON; empty if none */
        struct buf token;
};

#define OP_REPLY_NULL ((struct op_reply){.retry_after_ms = -1, .ask_again_ms = -1})

/* The call behind what a plugin passes back. */
static inline struct op_call *op_call_of(struct prvng_call *pub)
{
        return (struct op_call *)pub;
}

static inline bool op_call_is_cancelled(const struct op_call *call)
{
        for (; call; call = call->within)
                if (__atomic_load_n(&call->cancelled, __ATOMIC_ACQUIRE))
                        return true;
        return false;
}

/* The call that this thread is inside of, for the log; set by the border, NULL outside of calls. */
extern _Thread_local struct op_call *host_current_call;

/* Copies at most `max` bytes of a plugin's text, made fit for logs and terminals: what is not valid
 * UTF-8, and control characters other than newline and tab, become '?'. NULL: out of memory. */
char *host_clean_text(const char *text, size_t max);

/* A sink is a buffer with a limit. Bytes beyond the limit are refused, none of them is kept. */
struct prvng_sink {
        struct buf *buf;
        uint64_t limit; /* bytes */
        int32_t error;  /* 0, -ENOSPC or -ENOMEM */
};

#define SINK(buf_, limit_) ((struct prvng_sink){.buf = (buf_), .limit = (limit_)})

/* For host services that fail: sets the call's error record as host->error() does and returns the
 * class. `message` is copied. [any] */
int32_t op_call_fail(struct prvng_call *call, int32_t error_class, uint32_t effect, int32_t status,
                     const char *format, ...) _printf_(5, 6);

#endif
