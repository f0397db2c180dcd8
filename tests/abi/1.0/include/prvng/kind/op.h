/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng.op/1: operations that survive a crash. Providers, taskservs and secret backends share it.
 *
 * The life of an operation, and what is durable when:
 *
 *      prepare   the request is made; the core journals it with a new op id (the intent)
 *      begin     may act only now; the op id goes to the remote API (client token, label, job name)
 *      PENDING   the token is journaled before the first poll
 *      poll      until a terminal class; the result is journaled before anything depends on it
 *
 * After a crash the core calls poll if it has a token, else observe; it never guesses and never
 * calls begin twice where the first may have acted, unless observe said NOT_STARTED or PARTIAL.
 * Undo is no special call: it is another operation with its own op id.
 *
 * Verbs are "create", "update", "delete" and "check". `check` changes nothing; it answers
 * UNCHANGED if the resource is as the task wants it, else DONE with "drift" in the result, an array of
 * {"attribute": "plan" or a path such as "rules[2].port", "wanted", "found"}: any JSON values, which
 * people are shown; "found" missing or null: nothing is there. A resource that is gone is one entry,
 * {"attribute": "state", "wanted": "present", "found": "absent"}.
 * `create` of what is already there and equal answers UNCHANGED; `delete` of what is absent too.
 *
 * The task (input of prepare) is a JSON object:
 *
 *      {"kind": "server" | "taskserv" | "network" | ..., "name": "web-0", "workflow": "shop",
 *       "site": "<id of the site>", "spec": {...},
 *       "identity": {...},            last known result of this resource, if it has one
 *       "former": {...},              update and delete: the spec it was last made with, if known
 *       "inputs": {"server.web-0": {...}, ...}}     results of the resources it builds on
 *
 * The result of a DONE or UNCHANGED operation is a JSON object, the resource's outputs; the core
 * keeps it in the inventory and hands it to the tasks that build on the resource. A provider's
 * server result holds "addresses": [..] and "reach", see prvng/host/remote.h. "notices": ["..."] are
 * sentences that an operator must see (e.g. that a server runs without limits).
 */
#ifndef PRVNG_KIND_OP_H
#define PRVNG_KIND_OP_H

#include <prvng/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PRVNG_OP "prvng.op/1"

#define PRVNG_TOKEN_MAX 4096u /* bytes */

struct prvng_op {
        uint32_t struct_size;
        uint32_t reserved;

        /* [any] Pure, without I/O, never waits, runs beside other calls of the instance. Turns a
         * task into the exact request: a JSON object that holds everything begin needs, with
         * references where secrets go. The same task gives the same bytes. */
        int32_t (*prepare)(void *instance, struct prvng_call *call, const char *verb,
                           const void *task, uint64_t n_task, struct prvng_sink *request);

        /* [worker] Acts. Gets the journaled request unchanged. On PENDING writes the token (at most
         * PRVNG_TOKEN_MAX bytes of UTF-8 text without control characters, opaque, starting with the plugin's own format number, without
         * secrets, pids or pointers). Should return within a second or so: what takes longer is
         * PENDING. */
        int32_t (*begin)(void *instance, struct prvng_call *call, const char *verb,
                         const void *request, uint64_t n_request, struct prvng_sink *token,
                         struct prvng_sink *result);

        /* [worker] Asks how it goes; idempotent; never sleeps. PENDING, with a new token or with
         * nothing written to keep the old one, or a terminal class. The effect of an error is that
         * of the operation, not of this call: TRANSIENT or RATE_LIMITED with UNKNOWN says that it
         * could not be asked (poll comes again), with NONE that it ended and left nothing (begin). */
        int32_t (*poll)(void *instance, struct prvng_call *call, const char *verb,
                        const void *request, uint64_t n_request, const void *token,
                        uint64_t n_token, struct prvng_sink *new_token, struct prvng_sink *result);

        /* [any] Ends pending work early; idempotent. DONE: it was too late and is finished.
         * CANCELLED: it ended, the error record's effect says with what. PENDING: keep polling. */
        int32_t (*cancel)(void *instance, struct prvng_call *call, const char *verb,
                          const void *request, uint64_t n_request, const void *token,
                          uint64_t n_token, struct prvng_sink *result);

        /* [worker] What became of this op id? PRVNG_OBSERVED_*, or a negative class. `token` is the
         * last journaled one, n_token 0 if there is none. UNSUPPORTED parks the operation. */
        int32_t (*observe)(void *instance, struct prvng_call *call, const char *verb,
                           const void *request, uint64_t n_request, const void *token,
                           uint64_t n_token, struct prvng_sink *new_token,
                           struct prvng_sink *result);

        /* [worker] The present state of a resource, for check, drift and undo. `task` as in prepare,
         * with identity if known. DONE with the result, or NOT_FOUND. Changes nothing. */
        int32_t (*read)(void *instance, struct prvng_call *call, const void *task, uint64_t n_task,
                        struct prvng_sink *result);

        /* [worker] What is there that carries our marks. `filter` is a JSON object, all members
         * optional: {"kind", "op_id", "workflow", "site"}. Writes {"resources": [{"kind", "name",
         * "op_id", "workflow", "identity"}]}. Changes nothing. */
        int32_t (*list)(void *instance, struct prvng_call *call, const void *filter,
                        uint64_t n_filter, struct prvng_sink *result);

        /* [any] What the plugin can do, constant over an instance's life: {"resources": [{"kind",
         * "verbs": [..], "undo": [..], "spec": <JSON Schema of the spec>, "update": {"<attribute>":
         * "live" | "restart" | "replace"}}]}. "undo" names the verbs whose effect can be undone. */
        int32_t (*describe)(void *instance, struct prvng_sink *result);
        /* members above: 1.0 */
};
#define PRVNG_OP_BASELINE PRVNG_SIZE_UP_TO(struct prvng_op, describe)

#ifdef __cplusplus
}
#endif

#endif
