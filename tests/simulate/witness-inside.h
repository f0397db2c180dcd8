/* SPDX-License-Identifier: Apache-2.0 */
/* What witness.c and rules.c share. */
#ifndef PRVNG_SIMULATE_WITNESS_INSIDE_H
#define PRVNG_SIMULATE_WITNESS_INSIDE_H

#include "simulate/calls.h"
#include "simulate/witness.h"

enum w_verb { W_CREATE, W_UPDATE, W_DELETE, W_CHECK, W_JOIN };

enum w_status {
        W_WAITING,
        W_RUNNING, /* from here on it takes a place in its lane */
        W_PENDING,
        W_RETRYING,
        W_IN_DOUBT,
        W_PARKED,  /* from here on it takes none */
        W_DONE,    /* from here on it has ended */
        W_FAILED,
        W_SKIPPED,
        W_UNDONE,
        W_UNDO_FAILED,
};

enum w_role { W_TASK, W_UNDO, W_SURPLUS };

struct w_lane {
        char name[40];
        uint32_t batch_size, occupied;
        uint32_t rate_limit; /* requests a second; 0: none */
        int64_t paced_us;    /* true time at which the last start stands, if they leave evenly */
        int64_t held_until;  /* true time: its API asked for patience */
};

struct w_request {
        char id[UID_TEXT];
        struct witness_task *task;
        enum w_role role;
        struct buf text;
        uint32_t attempt;
        char *token;
        enum fate fate;
};

struct witness_task {
        struct w_run *run;
        uint32_t number, operation;
        char *id, *key;
        uint32_t *deps, n_deps, n_hard;
        enum w_verb verb;
        enum w_status status;
        bool waits;            /* for a condition */
        bool settled, blocked; /* a join, or it will never start */
        bool occupies;
        bool begun;            /* a begin left */
        bool acted;            /* it ended as DONE: there is something to undo */
        bool left;             /* it failed and left something */
        bool undo, redo;       /* to be undone; before it is done again */
        bool foreign;          /* its undo failed, since it is what somebody else made of it */
        bool kept;             /* its undo was left out: others use it */
        bool caused;           /* by this run, although it found it the last time */
        bool unchanged;        /* it ended, and found what it wanted */
        uint32_t checkpoint;   /* how many there were when it ended */
        uint32_t n_calls;      /* under way */
        uint32_t n_questions;  /* of them: such as take no place */
        struct w_lane *lane;
        struct w_request *request;
        struct w_request *made; /* its own, while a surplus is looked for */
        int64_t since;         /* PARKED */
        struct w_resource **took; /* what went with the server that it deleted, and no task is about */
        uint32_t n_took;
        bool replaced;         /* by that one of a new plan; NULL: it has none like it */
        struct witness_task *successor;
};

struct w_run {
        char id[UID_TEXT];
        char workflow[24];
        struct buf definition; /* until its first plan is there */
        bool accepted, planned, halted, cancelled, paused;
        bool halt_due;  /* a failure that must halt it was journaled */
        bool rollback, unwinding, stopped;
        bool finished;  /* its own stream says that it ended */
        bool ended;     /* the site's stream says so */
        int64_t ended_at; /* wall clock */
        uint32_t retention_days;
        const char *store; /* that its stream is in */
        uint64_t last_seq, n_seals; /* of its stream */
        char head[65];  /* digest of its last seal */
        bool compacted; /* a record of the site's stream stands for its stream */
        bool removed;   /* and that is gone */
        bool rolled_back; /* wholly, and nothing was done since */
        bool strategy, on_partial, preserve; /* of its definition */
        uint32_t halted_by; /* + 1 */
        bool preserving;    /* of the rollback */
        uint32_t to, n_checkpoints;
        uint32_t max_attempts;
        struct w_lane **lanes;
        uint32_t n_lanes;
        char *operations; /* first letter of on_failure */
        char **operation_ids;
        uint32_t n_operations;
        struct witness_task **tasks;
        uint32_t n_tasks, n_parked;
        struct strmap by_id; /* struct witness_task * */
        struct witness_task **replaced; /* while another plan is read: those of the present one */
        uint32_t n_replaced;
        struct strmap dropped; /* ids of tasks that it has no more */
        char **dropped_ids;
        uint32_t n_dropped;
        uint32_t n_records[N_RECORD_TYPES];
};

struct w_resource {
        char *key;
        uint64_t object;
        bool there;
        struct w_run *claim; /* the run in flight that claims it; NULL: none */
        struct witness_task *at_work; /* that last began to change it; NULL: none */
        char workflow[24]; /* that owns it */
        bool adopted;      /* made by nobody here */
};

struct witness {
        struct w_run **runs;
        uint32_t n_runs;
        struct w_lane lanes[16];
        uint32_t n_lanes;
        struct strmap requests; /* struct w_request * by op id */
        struct strmap owned;    /* struct w_resource * by key */
        struct record_scratch scratch;
};

struct w_run *w_run_find(const char *id);
struct w_request *w_request_find(const char *op_id);
void w_check_start(struct witness_task *t, const char *what);
void w_occupy(struct witness_task *t);
void w_status(struct witness_task *t, enum w_status status);
void w_intent(struct witness_task *t, const struct record *r, enum w_role role);
bool w_ended(struct witness_task *t);
bool w_good(struct witness_task *t);
bool w_is_join(const struct witness_task *t);
void w_changed(struct witness_task *t, struct span outputs);
void w_gone(const char *key);
bool w_is_there(const char *key); /* as far as the journal says */
struct w_resource *w_resource_get(const char *key, size_t n_key);
void w_adopted(const struct record *r);
void w_takes(struct witness_task *t); /* what stands on its server goes along */
void w_restored(const struct witness_task *t, struct span outputs); /* by an undo */
bool w_operation_is(const struct w_run *run, uint32_t operation, const char *id);

void w_task_free(struct witness_task *t);
void w_plan_forget(struct w_run *run); /* but not its tasks */

/* rules-plan.c: claims, and a plan that takes the place of another one. */
void w_claims(struct w_run *run, struct span claims);
void w_releases(const struct w_run *run);
void w_check_claim(const struct witness_task *t, const char *what);
void w_check_alone(struct witness_task *t, const char *what); /* no other works on what it changes */
void w_leaves(struct witness_task *t, struct witness_task *successor); /* it will be forgotten */
void w_replans(struct w_run *run);
void w_replanned(struct w_run *run); /* all of the new plan is there */
void w_planned(struct w_run *run); /* the first one */
void w_check_replaced(const struct w_run *run, const struct record *r);

/* rules-site.c */
void w_seal(struct w_run *run, const char *line, size_t n);
void w_compacts(struct w_run *run, const struct record *r);

void w_check_pace(struct witness_task *t, int64_t at); /* it starts, at that wall clock */

/* rules.c: what happens to tasks. */
void w_rules(struct w_run *run, const struct record *r);
void w_goes_on(struct witness_task *t, enum w_status status);

/* rules-run.c: what happens to runs; rollback and retry. False: the record is about a task. */
bool w_run_rules(struct w_run *run, const struct record *r);
void w_undo_starts(struct w_run *run, struct witness_task *t, const struct record *r);
void w_undo_ends(struct w_run *run, struct witness_task *t, const struct record *r);

#endif
