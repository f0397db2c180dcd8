/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the test plugins testcloud (provider) and testserv (taskserv) share: a small, deterministic
 * world kept in a folder of files, which does what the task's script says.
 *
 * The folder ("folder" in the plugin's configuration, else the plugin's state folder) holds
 *
 *      effects/OPID.json       one for each op id that acted; made once and for all, then only its
 *                              "state" changes: started, done, partial, failed, cancelled
 *      resources/KIND.NAME     what exists now: {"kind", "name", "op_id", "workflow", "site",
 *                              "spec", "result"}
 *      violations/OPID.N       a begin() for an op id that had acted and was not observed to be
 *                              PARTIAL: a correct engine leaves none
 *      gates/KIND              begin() of that kind waits while it is there (tests make it)
 *      once/OPID.WHAT          what a script does once only has been done
 *      calls.log               a line for each call: FUNCTION VERB KIND NAME OPID ATTEMPT
 *
 * A killed process loses none of it (the machine's page cache outlives it), so nothing is synced.
 *
 * The script is the member of the plugin's name in the spec. All members are optional:
 *
 *      "fail": [{"attempt": 1, "class": "TRANSIENT", "effect": "NONE", "in": "begin" | "poll" |
 *                "observe" | "prepare" | "read", "retry_after_ms": n, "message": "..."}]
 *                      without "attempt": every one. COMPLETE acts first, and so does UNKNOWN (a
 *                      lost reply); PARTIAL leaves a part, which the next begin() completes.
 *                      With "verb": only for that one; with "unless": "NAME": until a file of that
 *                      name is in the folder
 *      "gate": {"verb": "...", "unless": "NAME"}   begin() of that verb waits until that file is there
 *      "begin_ms": n   begin() takes that long (cancellable)
 *      "pending_ms": n begin() answers PENDING and the work takes that long
 *      "hang": true    begin() returns only when it is cancelled; "hard": never
 *      "no_observe": true      observe() answers UNSUPPORTED
 *      "uncertain": n          the first n observe() answer UNCERTAIN
 *      "reject_token": true    the first poll() answers TOKEN_REJECTED
 *      "kill": "before" | "after"      once: SIGKILL to the own process before or after the effect
 *      "garbage": true         the result is no JSON
 *      "answer": n             begin() returns this number instead of DONE, without an error record
 *      "result": {...}         merged into the result
 */
#ifndef PRVNG_TESTS_SCRIPTED_H
#define PRVNG_TESTS_SCRIPTED_H

#include <jansson.h>
#include <prvng/prvng.h>
#include <stdbool.h>

struct scripted {
        const char *name; /* of the plugin */
        const char *describe;
        /* Adds what this kind of plugin says of a resource that exists. */
        void (*add_result)(json_t *result, const json_t *request);
};

extern const struct prvng_op scripted_op;

/* An instance, and its folder of files (scripted-world.c). */
struct world {
        const struct scripted *what;
        const struct prvng_host *host;
        int folder;
};

json_t *world_get(const struct world *w, const char *path);

/* Is the entry of a script ("verb", "unless") meant now? */
bool world_applies(const struct world *w, const json_t *entry, const char *verb);

/* Writes a file as a whole; with `once` only if it is not there (-EEXIST). */
int world_put(const struct world *w, const char *path, const json_t *o, bool once);

int32_t world_list(void *instance, struct prvng_call *call, const void *filter, uint64_t n_filter,
                   struct prvng_sink *result);

int32_t scripted_create(const struct scripted *what, const struct prvng_host *host,
                        const void *config, uint64_t n_config, void **ret_instance);
void scripted_destroy(void *instance);

#endif
