/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The witness reads every byte that becomes durable, keeps its own small model of what it says, and
 * compares with what the engine does. It shares nothing with the fold but the scanner of lines.
 */
#ifndef PRVNG_SIMULATE_WITNESS_H
#define PRVNG_SIMULATE_WITNESS_H

#include "simulate/cloud.h"

struct witness *witness_new(void);
struct witness *witness_free(struct witness *w);

void witness_lines(const char *store, const char *stream, const char *data, size_t n);
void witness_removed(const char *stream);
void witness_committed(void); /* all streams are: limits can be checked */

/* What the journal says of a run. */
bool witness_accepted(const char *run);
bool witness_cancelled(const char *run);
bool witness_ended(const char *run);
bool witness_compacted(const char *run, bool *ret_removed);
bool witness_paused(const char *run);
uint32_t witness_records(const char *run, enum record_type type); /* how many of that type */
bool witness_rolled_back(const char *op_id); /* its run left nothing, as it says */
bool witness_all_ended(void);
void witness_count(uint32_t *ret_runs, uint32_t *ret_tasks);
void witness_check(void); /* at the end */
void witness_engine_gone(void);
void witness_started(void); /* an engine has read everything */
void witness_forget_pace(void); /* an engine begins, or the wall clock jumped */
bool witness_only_about(const char *run, const char *keys); /* its tasks, all of them; keys as JSON */

/* What the journal says of a request. */
enum fate {
        FATE_UNKNOWN, /* no intent */
        FATE_OPEN,
        FATE_DONE,
        FATE_NOTHING, /* ended, and without an effect */
        FATE_LEFT,    /* failed, and left something */
};
enum fate witness_fate(const char *op_id);
bool witness_owns(const char *key, uint64_t object); /* the inventory has it */

/* Tasks that wait for the operator. */
struct parked {
        const char *run, *task;
        struct cloud_op *op;
        bool calling;
        int64_t since;
};
uint32_t witness_parked(struct parked *list, uint32_t n_list);

#endif
