/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine: a deterministic state machine without threads, clock, I/O or randomness of its own.
 *
 * Inputs: the answers of plugin calls (engine_answer), the time (engine_time), commands. Outputs: the
 * functions of struct engine_ops, which whoever drives it provides: core/run in the real world, a
 * simulator in a fake one. The same inputs in the same order give the same outputs.
 *
 * State is the fold (journal/state.h): the engine changes it only by appending a record and applying
 * it. What is here beside the fold is about calls under way and can be thrown away at any moment: a new
 * engine over the same fold goes on (engine_adopt).
 *
 * Durability: the driver makes calls only after every record appended before engine_ops.call is
 * durable (promise 1), run streams before the site stream. Records may go on being appended and
 * applied meanwhile: the result of one task and the intent of its successor become durable together.
 *
 * Invariants, cited by number at their assertions:
 *  E1  a task has at most one call under way
 *  E2  no begin without an intent of the same op id and request in the journal
 *  E3  at most batch_size tasks of a lane are in flight, over all runs; parked ones do not count
 *  E4  a task ends exactly once
 */
#ifndef PRVNG_ENGINE_ENGINE_H
#define PRVNG_ENGINE_ENGINE_H

#include "engine/timers.h"
#include "journal/state.h"
#include "plan/plan.h"
#include "plugin/border.h"

enum engine_call_kind {
        CALL_READ,     /* the present state of a resource: request is a document (prvng/kind/op.h) */
        CALL_BEGIN,
        CALL_POLL,
        CALL_OBSERVE,
        CALL_CANCEL,
        CALL_LIST,     /* request is a filter: {"op_id":"..."} */
        CALL_EVALUATE, /* request is {"expression":"...","variables":{...}} */
};

/* One call that a plugin shall get. Pointers stay valid until the call is answered, even if its task
 * does not wait for it any longer. */
struct engine_call {
        struct flight *flight; /* to be named in engine_answer */
        enum engine_call_kind kind;
        struct uid run_id;
        const char *run;       /* the same as text */
        const char *task;      /* id */
        struct plugin *plugin;
        const char *verb;
        struct uid op_id;
        uint32_t attempt;
        int64_t deadline_ms;   /* boot-time clock */
        const char *request;   /* of READ: the task's document */
        size_t n_request;
        const char *token;     /* NULL if there is none; of EVALUATE: the expression */
};

struct engine_ops {
        /* Turns a document into a request at once: op_prepare, which is pure. */
        void (*prepare)(void *userdata, const struct engine_call *call, struct op_reply *reply);
        /* Adds a record to the run's stream (site stream if run is NULL) and numbers it. */
        void (*append)(void *userdata, struct run *run, struct record *r);
        /* Makes a call, once what was appended so far is durable. */
        void (*call)(void *userdata, const struct engine_call *call);
        /* Asks the call under way to end early; it is answered all the same. */
        void (*cancel)(void *userdata, struct flight *flight);
        /* Random bytes for op ids and jitter, which end up in records. */
        void (*entropy)(void *userdata, void *bytes, size_t n);
        /* Seals what was appended to the run's stream, and says the digest of that seal; 64 hex digits. */
        void (*head)(void *userdata, struct run *run, char ret_head[65]);
        /* The run has ended, all its records are appended. */
        void (*ended)(void *userdata, struct run *run);
};

struct engine_lane {
        const char *name;      /* "provider/local" */
        struct plugin *plugin; /* NULL: not available; its tasks fail with the reason */
        uint32_t batch_size;   /* 0: no limit */
        uint32_t in_flight;
        struct timer hold;     /* set: its API asked for patience, nothing of it starts until then */
        uint32_t rate_limit;   /* requests a second, 0: none; see may_start() */
        int64_t paced_us;      /* where the next start stands if they leave evenly, boot-time clock */
        struct timer pace;     /* set: what is ready waits for that */
};

struct engine {
        const struct engine_ops *ops;
        void *userdata;
        struct site *site;
        const struct plugins *plugins;
        int64_t boot_ms, wall_ms; /* set by engine_time */
        struct strmap lanes;      /* struct engine_lane * by name */
        struct timers timers;
        struct flight *free;      /* flights to use again */
        struct flight *abandoned; /* whose questions were never answered */
        struct op_reply prepared; /* the request that is being made */
        uint32_t in_flight;
        uint32_t max_in_flight;
        struct run **running;     /* runs that this engine executes */
        uint32_t n_running, cap_running, next_running;
        int error;                /* out of memory: the engine is of no use any more */
};

/* The plugins must outlive the engine; so must the site. */
int engine_new(const struct engine_ops *ops, void *userdata, struct site *site,
               const struct plugins *plugins, struct engine **ret_engine);
struct engine *engine_free(struct engine *e);

/* Says what time it is; before every other input. Fires due timers. */
void engine_time(struct engine *e, int64_t boot_ms, int64_t wall_ms);

/* When engine_time should be called next at the latest (boot-time clock); INT64_MAX: no timer. */
int64_t engine_deadline(struct engine *e);

/* Who submitted what: goes into the records of a run. */
struct submission {
        struct uid run;
        const char *kind;       /* "batch", "sequential", "parallel", "destroy", "check" */
        const char *store;
        const char *who;        /* JSON object */
        const char *folder, *file;
        const char *definition; /* canonical JSON, NULL if there is none (destroy, check) */
        size_t n_definition;
        uint32_t max_attempts, initial_delay_s, max_delay_s;
        const char *backoff;    /* "linear", "exponential" */
        uint32_t snapshot_every_s; /* at the most often; 0: the default */
        const char *logging;    /* JSON object */
        /* RollbackStrategy; all false: a failure of an operation with on_failure = rollback only halts. */
        bool rollback, on_partial, preserve;
        uint32_t checkpoint_interval; /* operations; 0: no checkpoints */
};

/* Journals the plan of a new run and starts it. The run is in the site then; it exists once what was
 * appended is durable. -EEXIST if there is a run of that id. */
int engine_submit(struct engine *e, const struct submission *s, const struct plan *plan,
                  struct run **ret_run);

/* Appends a record to the site stream that the engine itself has no part in (site, engine). */
void engine_append_site(struct engine *e, struct record *r);

/* A run whose stream says that it ended, while the site stream does not: says it there. */
int engine_finish(struct engine *e, struct run *run);

/* What the driver wants to find again when it is asked to cancel the call of a flight. */
void engine_call_set_handle(struct flight *f, void *handle);
void *engine_call_handle(const struct flight *f);

/* Pauses a run that has not ended before it is adopted, so that it is never begun. */
int engine_hold(struct engine *e, struct run *run, const char *who);

/* Goes on with a run of the fold that has not ended. */
int engine_adopt(struct engine *e, struct run *run);

/* The answer to a call. The reply may be changed; its memory stays the caller's. */
void engine_answer(struct engine *e, struct flight *flight, struct op_reply *reply);

/* A call will be answered soon; a mere hint, to be given RUN_FETCH_STEPS times with so many other answers in
 * between (RUN_FETCH_APART): step RUN_FETCH_STEPS - 1 first, then down to 0. */
void engine_answer_soon(const struct flight *flight, unsigned step);

/* The operator's word on a task that is parked or in doubt: it is done with these outputs (JSON object),
 * or had not started. -ENOENT if it is neither, if its plugin is being asked at the moment, or if there
 * is no plugin to begin it. */
int engine_resolve(struct engine *e, struct run *run, uint32_t task, bool done,
                   const char *outputs, const char *who);

/*
 * Commands. `who` is a JSON object. All are records: they survive a restart. -ENOENT if the run is not
 * in a state for it. What is in flight always comes to its end.
 */

/* Starts nothing more of the run and ends it when what is in flight has ended; undoes nothing. During a
 * rollback: ends it after the undos that are running; engine_rollback goes on with it. */
int engine_cancel(struct engine *e, struct run *run, const char *who);

/* Starts nothing more, a further attempt neither, until engine_resume. */
int engine_pause(struct engine *e, struct run *run, const char *who);
int engine_resume(struct engine *e, struct run *run, const char *who);

/* Undoes what the run did after that checkpoint (0: all of it). A run that ended must be reopened
 * first. -EINVAL: there is no such checkpoint. */
int engine_rollback(struct engine *e, struct run *run, uint32_t checkpoint, const char *who);

/* Goes on with a rollback that ended incomplete: to the same checkpoint, for the same reason. The run was
 * reopened. */
int engine_rollback_again(struct engine *e, struct run *run, const char *who);

/* Does again what failed, was skipped or was undone; of one operation (its id) or of all (NULL). The run
 * has ended and was reopened. -EINVAL: no such operation. */
int engine_retry(struct engine *e, struct run *run, const char *operation, const char *who);

/*
 * Gives a paused run the plan of a changed definition; engine_resume goes on with it. Two steps, each to
 * be committed by itself, because claims are durable before any intent: the first claims what the new
 * plan names and changes nothing of the run. -ENOENT if the run is not paused, or rolls back; -EBUSY while a
 * plugin is being asked for one of its tasks; -EINVAL if a task that has started is not in the plan as it
 * was: *ret_task is its id.
 */
int engine_replan_claim(struct engine *e, struct run *run, const struct plan *plan,
                        const char **ret_task);
int engine_replan(struct engine *e, struct run *run, const struct submission *s,
                  const struct plan *plan);

/* Does the plan leave a task that has started as it is? `new` is the one of its id there, NULL: none. */
bool engine_replan_keeps(const struct run *run, const struct task *t, const struct plan_task *new);

/* A plugin is being asked for the task at this moment. */
bool engine_is_asked(const struct run *run, uint32_t task);

/* Takes up a run that ended, with its stream loaded: claims its resources in the site stream. To be
 * committed before the command that follows. -EBUSY: another run in flight claims *ret_claimed. */
int engine_reopen(struct engine *e, struct run *run, const char *who,
                  const struct resource **ret_claimed);

/* True if nothing will happen unless somebody says something: all runs in flight are paused and have no
 * call or timer. */
bool engine_is_idle(const struct engine *e);

/* Starts what may start. To be called after a round of inputs. */
void engine_schedule(struct engine *e);

#endif
