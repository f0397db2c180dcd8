/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fold: state is a pure function of the records. The engine, `prvng batch status`, the live view of
 * a followed run, the inventory and the API's read model all use state_apply(); nothing else holds truth.
 *
 * struct site folds the site stream; struct run folds one run's stream. A run's `done` records change
 * the site's inventory as they are applied; when the run has ended, its `resource` and `gone` records in
 * the site stream say the same again, so that the streams of ended runs need not be read.
 *
 * Readiness is kept by counters (promise 7): each edge is looked at once, when its task ends. Tasks that
 * become ready are appended to the run's ready queues, one per lane.
 */
#ifndef PRVNG_JOURNAL_STATE_H
#define PRVNG_JOURNAL_STATE_H

#include "journal/inventory.h"
#include "journal/record.h"

#define TASK_NONE UINT32_MAX

enum run_status {
        RUN_PENDING, /* its plan is not complete */
        RUN_RUNNING,
        RUN_PAUSED,
        RUN_ROLLING_BACK,
        RUN_SUCCEEDED,
        RUN_FAILED,
        RUN_ROLLED_BACK,
        RUN_ROLLBACK_INCOMPLETE,
        RUN_CANCELLED,
        N_RUN_STATUSES,
};

enum task_status {
        TASK_WAITING,
        TASK_READY,
        TASK_RUNNING,  /* an intent is journaled, no token and no result */
        TASK_PENDING,  /* a token is journaled */
        TASK_RETRYING, /* waits for its next attempt */
        TASK_IN_DOUBT, /* observe has to tell what an attempt did */
        TASK_PARKED,
        TASK_SUCCEEDED,
        TASK_UNCHANGED,
        TASK_FAILED,
        TASK_SKIPPED,
        TASK_UNDOING,
        TASK_UNDONE,
        TASK_UNDO_FAILED,
        N_TASK_STATUSES,
};

/* What an attempt is for. Undo is no special call: it is another request with its own op id. */
enum role {
        ROLE_TASK,    /* what the plan says */
        ROLE_UNDO,    /* reverses what the task did, or what a failed attempt of it left */
        ROLE_SURPLUS, /* deletes what the task made twice */
};

/* What a task needs only between its intent and its result. Owned by the task. */
struct attempt {
        struct uid op_id;
        uint8_t role;        /* enum role */
        uint8_t verb;        /* of the request; enum plan_verb */
        uint8_t outer;       /* ROLE_SURPLUS: the role of what made it twice */
        bool again;          /* begun more than once: it may have acted twice */
        uint32_t number;     /* from 1 */
        int32_t answer;      /* of the last attempt that ended */
        uint32_t effect;
        int64_t started_ms;  /* wall clock; this attempt */
        int64_t retry_ms;    /* wall clock; RETRYING: when the next one is due, */
        int64_t after_ms;    /* and how long that was to be: no clock that was set makes it longer */
        char *token;         /* NULL if there is none */
        char *spec;          /* ROLE_UNDO: JSON, what the resource has afterwards; NULL: it is gone */
        size_t n_request;
        char request[];      /* JSON, NUL-terminated */
};

struct task {
        uint32_t text;         /* offset in run->text: id, NUL, key, NUL, uses, NUL, waits, NUL if it
                                * has_waits, and what is left of its document (run-doc.c) */
        uint16_t n_id, n_key;
        uint32_t n_doc;        /* length of task_doc() */
        uint32_t operation;
        uint32_t n_deps;
        uint32_t note;         /* index in run->notes + 1; 0: none */
        uint32_t started_s, ended_s; /* seconds since run->started_ms, wall clock; 0: not yet */
        uint16_t lane;         /* UINT16_MAX: a join */
        uint8_t verb;          /* enum plan_verb, same order: create update delete check join */
        uint8_t status;        /* enum task_status */
        uint8_t blocked : 1;   /* a dependency failed or was skipped */
        uint8_t implied : 1;
        uint8_t drift : 1;     /* check: not as wanted */
        uint8_t irreversible : 1;
        uint8_t has_waits : 1;
        uint8_t in_flight : 1; /* the engine's: a call is under way; not part of the fold */
        uint8_t undo : 1;      /* the rollback under way shall undo it */
        uint8_t redo : 1;      /* what a failed attempt left is undone before the next one */
        uint8_t caused : 1;    /* what this run did of it is not undone, and it is to be done again */
        uint8_t restored : 1;  /* what it is about was gone, and is there again: made by its undo, or after what a
                                * failed attempt left was deleted; the site stream does not say so yet */
        uint16_t checkpoint;   /* how many checkpoints the run had when it ended */
        uint32_t whole;        /* in run->wholes: the document that its own is like */
        struct attempt *attempt; /* NULL before the intent and after the result */
        struct resource *resource; /* found once: stays where it is while the run claims it; or NULL */
};

/* A document that is kept whole: others are kept as what differs from it (run-doc.c). */
struct whole_doc {
        uint32_t text; /* offset in run->text */
        uint32_t n;
        uint32_t spec; /* offset in it: where its spec begins; n: it has none */
};

struct operation {
        uint32_t text;  /* offset in run->text: id */
        uint32_t timeout_s;
        uint8_t on_failure; /* enum on_failure, same order: fail continue rollback */
        uint8_t verb;
        uint8_t target;
        bool implied;
        uint32_t n_tasks, n_ended, n_failed, n_good; /* of ended ones: succeeded or unchanged */
};

struct checkpoint {
        uint64_t seq;     /* of its record */
        int64_t at;       /* wall clock, milliseconds */
        uint32_t n_operations; /* completed ones */
};

struct lane {
        char *plugin; /* "provider/local" */
        uint32_t batch_size, rate_limit;
        uint32_t *ready; /* numbers of tasks, FIFO; entries that are no longer ready are passed over */
        uint32_t n_ready, next_ready, cap_ready;
};

/* Why a task failed, waits or is parked, and what it changed: kept for the few that do. */
struct task_note {
        int32_t answer;
        uint32_t effect;
        char *message;    /* "" if there is none */
        int64_t since_ms; /* wall clock: when the message was first true */
        char *former;     /* update and delete: {"with"?,"spec","state"} before it, JSON; else NULL */
        char *made;       /* between `made` and `done`: the outputs, JSON; else NULL */
        struct uid made_by; /* op id of the create that made it */
};

struct run {
        struct uid id;
        char id_text[UID_TEXT];
        char *name;       /* of the workflow */
        char *kind;       /* "batch", "sequential", "parallel", "destroy", "check": as it was accepted */
        char *type;       /* the same, as its present plan says; NULL: that was not read */
        char *store, *stream;
        char *who;        /* JSON object: user, host; who submitted it */
        char *folder, *file;
        char *logging, *options, *notices; /* JSON */
        char *backoff;
        uint32_t max_attempts, initial_delay_s, max_delay_s;
        uint32_t snapshot_every_s; /* 0: the default */
        enum run_status status;
        bool planned;     /* the plan is complete: tasks may be looked at */
        bool halted;      /* nothing more starts */
        bool cancelled;   /* because somebody said so */
        bool rollback;    /* what was done shall be undone: status is ROLLING_BACK, or PAUSED */
        bool unwinding;   /* nothing of the plan is in flight any more: undos may start */
        bool stopped;     /* cancelled during a rollback: no further undo starts */
        uint32_t halted_by; /* the task whose failure halted it; TASK_NONE */
        uint32_t to_checkpoint; /* of the rollback; 0: the start */
        bool preserve;    /* of the rollback: operations that fully succeeded stay */
        char *rollback_reason; /* of the last rollback, "" if none was given; NULL: none, or the run was
                                * taken up again since */
        char *rollback_who;    /* JSON object; "" if nobody asked for it */
        int64_t rollback_ms;   /* wall clock: when it was asked for */
        struct {
                bool enabled, on_partial, preserve;
                uint32_t interval;
        } strategy;
        struct checkpoint *checkpoints;
        uint32_t n_checkpoints, cap_checkpoints;
        uint32_t n_completed; /* operations that fully succeeded; without implied ones */
        uint32_t n_attempts;  /* tasks that have one */
        uint32_t *prev;       /* while it unwinds: what each task depends on, by first_prev */
        uint32_t *first_prev; /* n_tasks + 1 */
        struct replaced *replaced; /* while a new plan is read: the old one */
        uint64_t settled_seq; /* records up to here are in the inventory by the site stream alone */
        uint64_t told_seq;    /* so many of these were told when the run ended before */
        int64_t accepted_ms, started_ms, ended_ms; /* wall clock, 0: not yet */

        char *text;       /* all strings of the plan */
        size_t n_text, cap_text;
        struct task *tasks;
        uint32_t n_tasks, cap_tasks;
        struct whole_doc *wholes;
        uint32_t n_wholes, cap_wholes;
        struct buf *doc;  /* for task_doc() */
        struct operation *operations;
        uint32_t n_operations, cap_operations;
        struct lane *lanes;
        uint32_t n_lanes, cap_lanes;
        uint32_t *deps;   /* while the plan is read: number of dependencies and their numbers, task by
                           * task; freed by `planned`, which builds `next` */
        uint32_t n_deps, cap_deps;
        uint32_t *next;   /* n_deps numbers of tasks; bit 31: needs only have ended */
        /* By task, and not in struct task: what is looked at for each edge stands close together. */
        uint32_t *first_next; /* n_tasks + 1: where those that depend on a task begin in `next` */
        uint32_t *unmet;      /* dependencies that have not ended; when undos start: dependents */
        uint32_t n_by_status[N_TASK_STATUSES]; /* without joins */
        uint32_t n_drift;
        struct task_note *notes;
        uint32_t n_notes, cap_notes;
        uint64_t seq;     /* of the last record applied */
        uint32_t unsettled; /* tasks of the plan that have not ended, joins included */
        struct resource *claims; /* what it claims, in the order of its tasks, by next_claim */
        struct resource *next_claim; /* of the next task, while the plan is read */
        struct resource **shares; /* what other runs claim and this one is about too, in its order */
        uint32_t n_shares, cap_shares;
        bool closed;      /* the site stream says that it ended */
        bool loaded;      /* the run's own stream was read; else only what the site stream says */
        bool compacted;   /* its stream is gone; a signed record of the site's stream stands for it */
        void *userdata;   /* the engine's */
};

struct site {
        struct uid id;
        char id_text[UID_TEXT];
        uint64_t epoch;
        uint32_t pid;     /* of the engine that wrote last */
        char *host;
        struct inventory inventory;
        struct run **runs; /* in order of acceptance */
        uint32_t n_runs, cap_runs;
        struct strmap run_by_id; /* struct run * by id_text */
        bool restored;    /* from a backup, and no engine ran since */
        char *signer;     /* public key of the site, hex; or NULL */
        uint64_t seq;
};

#define SITE_NULL ((struct site){0})

void site_deinit(struct site *s);

/* Applies a record of the site stream. -EBADMSG if it cannot follow what was applied before (a bug or
 * damage that the seals did not catch), -ENOMEM. */
int site_apply(struct site *s, const struct record *r);

/* Applies a record of a run's stream; `site` may be NULL (a view of one run without inventory). */
int run_apply(struct run *run, struct site *site, const struct record *r);

struct run *run_new(void);
struct run *run_free(struct run *run);
void run_unload(struct run *run); /* back to what the site stream says */

/* True if the run may be rolled back, retried or resumed: all its resources are free, or its own. Else
 * names the resource and the run that claims it. */
bool site_may_reopen(const struct site *s, const struct run *run, const struct resource **ret_claimed);

/*
 * Shared claims. A resource that several runs in flight want to be there, alike, is claimed by one of them;
 * the others share it. When that one ends, the first of them claims it.
 */

/* The task by which the run that claims it wants it to be there; NULL if it changes or deletes it, does more
 * than one thing about it, or is not loaded. *ret_run: that run, or NULL. Looks at its plan. */
struct task *site_maker(const struct site *s, const struct resource *r, struct run **ret_run);

/* Is it as it will stay while a run in flight has a task to come that builds on it? Then others may use it:
 * the task that makes it (NULL: there is none) has come to its end, and nothing of it is under way. */
bool maker_settled(const struct task *maker);

/* Not the whole of it: an attempt that failed left it (left_behind() in fold.h). */
bool resource_is_rest(const struct resource *r);

/* The first run in flight that shares it, or NULL. */
const struct run *site_sharer(const struct site *s, const struct resource *r);

bool run_shares(const struct run *run, const struct resource *r);

/* A run by id, or the latest run of that workflow name. */
struct run *site_run(const struct site *s, const char *id_or_name);

/* A run in flight, other than `except` and not of that workflow (either may be NULL), whose plan has a task
 * to come that builds on the resource; or NULL. Looks at runs that are loaded. */
const struct run *site_user(const struct site *s, const char *key, const struct run *except,
                            const char *workflow);

/* The task's resource in the inventory, or NULL. */
struct resource *run_resource(const struct site *site, const struct run *run, struct task *t);

/* Could a rollback undo the task, as far as the run goes? It changed something, or may have. */
bool run_undoable(const struct run *run, uint32_t task);

/* Would the engine start the task, seeing it in a queue? */
static inline bool startable(const struct run *run, const struct task *t)
{
        return !t->attempt && (run->unwinding ? t->undo : t->status == TASK_READY);
}

/* Has it an attempt, a result, or left something? Then a changed definition must leave it as it is. */
bool task_has_started(const struct task *t);

/* Would a rollback to that checkpoint (0: the start) undo it? */
bool run_in_rollback(const struct run *run, uint32_t task, uint32_t checkpoint, bool preserve);

/* What an undo of the task asks for: PLAN_DELETE of a create, and so on. */
uint8_t run_undo_verb(const struct task *t);

static inline bool run_status_ended(enum run_status s)
{
        return s >= RUN_SUCCEEDED;
}

static inline bool task_status_ended(enum task_status s)
{
        return s == TASK_SUCCEEDED || s == TASK_UNCHANGED || s == TASK_FAILED ||
               s == TASK_SKIPPED || s == TASK_UNDONE || s == TASK_UNDO_FAILED;
}

/* A task will end soon: brings what its end looks at, in steps, each of which needs what the one before has
 * brought; step 0 comes last. Waiting for memory costs more than all that is done with it. */
#define RUN_FETCH_STEPS 4
#define RUN_FETCH_APART 4 /* so many other tasks end between two steps */
static _prefetches_ void run_fetch_end(const struct run *run, uint32_t task, unsigned step)
{
        const uint32_t *next, *end;

        if (step == 3) {
                __builtin_prefetch(&run->tasks[task], 1);
                __builtin_prefetch(&run->first_next[task]);
                return;
        }
        next = run->next + run->first_next[task];
        if (step == 2) {
                __builtin_prefetch(next);
                __builtin_prefetch(&run->operations[run->tasks[task].operation].n_tasks, 1);
                return;
        }
        end = run->next + run->first_next[task + 1];
        if (end - next > 4)
                end = next + 4;
        for (; next < end; next++) {
                uint32_t k = *next & ~(UINT32_C(1) << 31);

                if (step == 1)
                        __builtin_prefetch(&run->unmet[k], 1);
                else if (run->unmet[k] == 1) /* it becomes ready */
                        __builtin_prefetch(&run->tasks[k], 1);
        }
}

/* How many dependencies of the task have not ended. */
static inline uint32_t task_unmet(const struct run *run, const struct task *t)
{
        return run->unmet ? run->unmet[t - run->tasks] : t->n_deps;
}

static inline bool task_is_join(const struct task *t)
{
        return t->lane == UINT16_MAX;
}

static inline const char *task_id(const struct run *run, const struct task *t)
{
        return run->text + t->text;
}

static inline const char *task_key(const struct run *run, const struct task *t)
{
        return run->text + t->text + t->n_id + 1;
}

/* JSON array of keys, or "". */
static inline const char *task_uses(const struct run *run, const struct task *t)
{
        return run->text + t->text + t->n_id + 1 + t->n_key + 1;
}

/* The document that the plan gave the task, JSON; "" for a join. Valid until the next call. */
const char *task_doc(const struct run *run, const struct task *t);
void task_doc_append(const struct run *run, const struct task *t, struct buf *b);

/* The spec in it. Valid until the next call of task_doc(). */
struct span task_spec(const struct run *run, const struct task *t);

/* JSON array [{"on": KEY, "until": EXPRESSION}]: what must be true before it starts. NULL: nothing. */
static inline const char *task_waits(const struct run *run, const struct task *t)
{
        const char *uses;

        if (!t->has_waits)
                return NULL;
        uses = task_uses(run, t);
        return uses + strlen(uses) + 1;
}

static inline const char *operation_id(const struct run *run, const struct operation *o)
{
        return run->text + o->text;
}

/* The note of a task (its failure, question or last try), or NULL. */
static inline const struct task_note *run_note(const struct run *run, uint32_t task)
{
        const struct task_note *n = run->tasks[task].note ? &run->notes[run->tasks[task].note - 1] : NULL;

        return n && n->message && (*n->message || n->answer) ? n : NULL;
}

/* {"with"?,"spec","state"} before the task's update or delete, or NULL. */
static inline const char *task_former(const struct run *run, const struct task *t)
{
        return t->note ? run->notes[t->note - 1].former : NULL;
}

/* Keys of what stood on the server that the task deletes, separated by spaces; empty if nothing did. */
struct span task_with(const struct run *run, const struct task *t);

/* Appends ", "-separated keys of that which is not there now and no task of the run answers for: an undo
 * of the delete does not bring it back. */
void run_lost(const struct site *site, const struct run *run, const struct task *t, struct buf *ret);

/* The note of a task whose surplus is looked for: made and made_by; or NULL. */
static inline const struct task_note *task_made(const struct run *run, const struct task *t)
{
        return t->note && run->notes[t->note - 1].made ? &run->notes[t->note - 1] : NULL;
}

/* The task behind entry `i` of run->next, whose top bit says that the edge is soft. */
static inline uint32_t run_next(const struct run *run, uint32_t i)
{
        return run->next[i] & ~(UINT32_C(1) << 31);
}

const char *run_status_name(enum run_status s);   /* "running" */
const char *task_status_name(enum task_status s); /* "in_doubt" */

#endif
