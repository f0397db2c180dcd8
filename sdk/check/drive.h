/* SPDX-License-Identifier: Apache-2.0 */
/* Operations driven to their end as an engine does it, with what it would have in its journal. */
#ifndef PRVNG_CHECK_DRIVE_H
#define PRVNG_CHECK_DRIVE_H

#include "inside.h"

/* MADE: it is done, and since it was begun more than once it may have been done twice. */
enum ledger_state { LEDGER_NEW, LEDGER_INTENT, LEDGER_TOKEN, LEDGER_MADE, LEDGER_ENDED };

/* What is durable of one operation. Lies in shared memory: it outlives the process that acts. */
struct ledger {
        char op_id[27];
        char verb[16];
        uint32_t state;   /* enum ledger_state */
        uint32_t attempt;
        int64_t left_ms;  /* when the last attempt may have left */
        int32_t answer;   /* with ENDED */
        uint32_t effect;
        uint32_t polls, observes, rejections, looks;
        bool was_pending;
        bool removing;    /* with MADE: `surplus` is under way */
        char message[600];
        uint32_t n_task, n_request, n_token, n_result;
        struct ledger *surplus; /* deletes what was made twice, one after the other */
        char task[65536], request[262144], token[PRVNG_TOKEN_MAX + 1], result[262144];
};

struct ledger *ledger_new(struct check *c);

/* How long what left may stay unseen: the plugin's settle_ms, or less where the scenario knows its fake. */
int64_t settle_of(const struct subject *s);

/* list(): its answer, and where that is DONE a new reference to {"resources": []}, else NULL. */
int32_t list_by(struct subject *s, const char *filter, json_t **ret);

/* A new operation; takes over the reference to the task. */
void ledger_start(struct check *c, struct ledger *l, const char *verb, json_t *task);

/* One step: prepare, begin, poll or observe, whatever is next by the rules of kind/op.h, and what came of
 * it into the ledger. False: it has ended. *ret_wait_ms: not before. */
bool ledger_step(struct subject *s, struct ledger *l, int64_t *ret_wait_ms);

/* To the end, or the test's process ends with a failure. Returns the answer. */
int32_t ledger_drive(struct subject *s, struct ledger *l);

/* The same, for a new operation; fails the test unless it ends with DONE, or UNCHANGED. */
int32_t run_operation(struct subject *s, struct ledger *l, const char *verb, json_t *task);

/* Tasks of the scenario. `entry` is a member of "tasks"; a suffix makes names of their own. */
json_t *task_create(struct check *c, const json_t *entry, const char *suffix);
json_t *task_update(struct check *c, const json_t *entry, const char *suffix, const char *result);
json_t *task_known(struct check *c, const json_t *entry, const char *suffix, const char *result);
int64_t task_counts(const json_t *entry); /* how many resources it makes as "count" sees it */
int64_t task_shared(const json_t *entry); /* of these, how many all such tasks have together */

/* Runs f in a child of its own, until it ends or, if kill_after_us >= 0, is killed. True: it came to its
 * end; false: it was killed as wanted. Anything else fails the test. */
bool in_child(struct check *c, int64_t kill_after_us, void (*f)(struct check *c, void *userdata),
              void *userdata);

#endif
