/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of the engine into plugins, and what becomes of their requests. */
#ifndef PRVNG_SIMULATE_CALLS_H
#define PRVNG_SIMULATE_CALLS_H

#include "simulate/cloud.h"
#include "simulate/machine.h"

enum call_phase { CALL_QUEUED, CALL_RUNNING, CALL_RETURNED };

/* What a request does when it arrives. */
enum way { WAY_NONE, WAY_FULL, WAY_PARTIAL, WAY_JOB };

struct call {
        uint64_t number;
        struct job *job;          /* NULL: its engine is gone or has its answer */
        enum engine_call_kind kind;
        enum call_phase phase;
        const struct service *service;
        struct witness_task *task;
        struct cloud_op *op;      /* NULL: a read */
        int64_t returns_at;       /* INT64_MAX: hangs */
        bool deaf;                /* to being cancelled */
        bool arrives;             /* the request is still under way */
        int64_t arrives_at;
        enum way way;
        bool twice;               /* it arrives together with an earlier one */
        bool question;            /* takes no place */
        bool dropped;             /* nobody waits for the answer any more */
        bool withdrawn;           /* the plugin was never asked */
        bool might_begin;         /* op->may_begin before the call */
        /* The answer: what the cloud found (as_it_is), or a failure. */
        bool as_it_is, unchanged, not_found;
        int32_t answer;
        uint32_t effect;
        int64_t retry_after, ask_again;
        unsigned nonsense;        /* 0: well formed */
        int32_t seen;             /* observe: what it saw when it began; -1: looks when it returns */
        int64_t asked_at;
        struct call *next, *next_queued;
};

struct calls *calls_new(void);
struct calls *calls_free(struct calls *c);
void calls_returned(uint64_t number);
void calls_arrive(uint64_t number);
void calls_crash(void);
bool calls_hanging(void); /* one that will not come back by itself */
struct call *call_find(uint64_t number);

extern struct call *current_call; /* that a plugin is answering */

/* faults.c: what will become of it. */
void plan_call(struct call *c);
void plan_early_end(struct call *c);    /* it was cancelled, and notices */
void plan_last_arrival(struct call *c); /* its engine is gone, the request is not */

/* witness.c */
void witness_call(struct call *c, struct job *job); /* it leaves */
void witness_call_ended(struct call *c);                  /* the engine gets its answer */
void witness_call_given_up(struct call *c); /* the engine does not wait for it any more */

#endif
