/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The border: the one place where core errors and ABI classes, buffers and sinks meet, and where the
 * declared thread model is enforced. The core calls plugins through these functions only.
 */
#ifndef PRVNG_PLUGIN_BORDER_H
#define PRVNG_PLUGIN_BORDER_H

#include "base/buf.h"
#include "plugin/plugin.h"

/* One call under way. The caller makes it (worker or loop thread), hands it to one op_* function and
 * may meanwhile cancel it from another thread. */
struct op_call {
        struct prvng_call pub;      /* first: what the plugin sees */
        struct plugin *plugin;
        const char *run;            /* ids for logs and workdir; "" if none */
        const char *task;
        int cancelled;              /* atomic */
        int cancel_fd;              /* eventfd, made when first asked for; -1 */
        struct op_reply *reply;     /* where error(), ask_again() write */
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
        int32_t code;
        int32_t status;
        char *message; /* NULL if there is none */
        char *field;
        struct buf result; /* JSON object, checked to be one line of valid JSON; empty if none */
        struct buf token;
};

#define OP_REPLY_NULL ((struct op_reply){.retry_after_ms = -1, .ask_again_ms = -1})

void op_reply_deinit(struct op_reply *r);

void op_call_init(struct op_call *c, struct plugin *plugin, const char *op_id, uint32_t attempt,
                  int64_t deadline_ms, uint64_t epoch, const char *run, const char *task);
void op_call_deinit(struct op_call *c);
void op_call_cancel(struct op_call *c); /* any thread; idempotent */

/* Each blocks until the plugin returns and fills *reply. A plugin without the function answers
 * UNSUPPORTED with effect NONE. In prepare, read, list and check verbs the effect is always NONE. */
void op_prepare(struct op_call *c, const char *verb, const void *task, size_t n_task,
                struct op_reply *reply); /* the request is reply->result */
void op_begin(struct op_call *c, const char *verb, const void *request, size_t n_request,
              struct op_reply *reply);
void op_poll(struct op_call *c, const char *verb, const void *request, size_t n_request,
             const void *token, size_t n_token, struct op_reply *reply);
void op_cancel(struct op_call *c, const char *verb, const void *request, size_t n_request,
               const void *token, size_t n_token, struct op_reply *reply);
void op_observe(struct op_call *c, const char *verb, const void *request, size_t n_request,
                const void *token, size_t n_token, struct op_reply *reply);
void op_read(struct op_call *c, const void *task, size_t n_task, struct op_reply *reply);
void op_list(struct op_call *c, const void *filter, size_t n_filter, struct op_reply *reply);

/* "TRANSIENT", "DONE" ...: the names used in journal, logs and API. */
const char *op_class_name(int32_t answer);
bool op_class_from_name(const char *name, size_t n_name, int32_t *ret_answer);
const char *op_effect_name(uint32_t effect);

#endif
