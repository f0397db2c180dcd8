/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The border: the one place where core errors and ABI classes, buffers and sinks meet, and where the
 * declared thread model is enforced. The core calls plugins through these functions only.
 */
#ifndef PRVNG_PLUGIN_BORDER_H
#define PRVNG_PLUGIN_BORDER_H

#include "base/buf.h"
#include "base/locked.h"
#include "host/call.h"
#include "plugin/plugin.h"

/* struct op_call and struct op_reply stand in host/call.h. */
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

/* prvng.provider.precheck/1 and prvng.provider.inventory/1 (prvng/ext/). */
void op_precheck(struct op_call *c, const void *tasks, size_t n_tasks, struct op_reply *reply);
void op_find(struct op_call *c, const char *kind, const char *id, struct op_reply *reply);

/* prvng.template/1. Evaluates an expression over variables, a JSON object: reply->result is
 * {"value": VALUE, "seen": {...}} (prvng/kind/template.h). */
void op_evaluate(struct op_call *c, const char *expression, const void *variables,
                 size_t n_variables, struct op_reply *reply);
/* Would the expression be computed if it had values? `names` is a JSON array of the variables there will
 * be, or NULL. */
void op_check_expression(struct op_call *c, const char *expression, const char *names,
                         struct op_reply *reply);
/* The truth of what op_evaluate answered with DONE: false are false, null, 0, "", [] and {}, as in
 * Jinja2. -EBADMSG if it holds no value. */
int op_evaluated_true(const struct op_reply *reply, bool *ret_true);

/* prvng.secret/1: `reference` is what stands behind the backend's name (plugin/secret.h). The value is in
 * *ret_value, which the caller wipes with locked_deinit, and nowhere in the reply. */
void secret_resolve(struct op_call *c, const char *reference, struct locked *ret_value,
                    struct op_reply *reply);
/* Is there such a secret? reply->result is what is known about it. */
void secret_check(struct op_call *c, const char *reference, struct op_reply *reply);
void secret_list(struct op_call *c, const char *prefix, struct op_reply *reply);

/* Asks the plugin whether it could work here: the report is reply->result. */
void op_self_test(struct op_call *c, struct op_reply *reply);

/* "TRANSIENT", "DONE" ...: the names used in journal, logs and API. */
const char *op_class_name(int32_t answer);
bool op_class_from_name(const char *name, size_t n_name, int32_t *ret_answer);
const char *op_effect_name(uint32_t effect);

#endif
