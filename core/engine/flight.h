/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the engine share. Internal to core/engine. */
#ifndef PRVNG_ENGINE_FLIGHT_H
#define PRVNG_ENGINE_FLIGHT_H

#include "engine/engine.h"

#define CALL_MS         60000 /* an observe, poll, read or cancel should be back by then */
#define GRACE_MS        30000 /* after a cancellation, until a plugin is given up */
#define OBSERVE_MAX_MS  30000 /* longest pause between two observes or failed polls */
#define AFTER_MAX_MS    (INT64_C(30) * 86400 * 1000) /* a plugin may ask for no more patience */
#define PLACE_MS        500   /* between two looks for a place in a lane */
#define OVERRUNS_MAX    10    /* rounds of grace for what goes on after it was cancelled */
#define POLL_MS         1000  /* where a plugin does not say when to ask again */

enum phase {
        PHASE_IDLE,
        PHASE_READING,   /* the former state, before the intent */
        PHASE_BEGINNING,
        PHASE_WAITING,   /* between two polls */
        PHASE_POLLING,
        PHASE_CANCELLING,
        PHASE_DELAYED,   /* until the next attempt, or the next reading */
        PHASE_DOUBTING,  /* between two observes */
        PHASE_OBSERVING,
        PHASE_LISTING,   /* what carries the op id, after a create that may have acted twice */
        PHASE_UNLISTED,  /* between two of these */
        PHASE_SEEING,    /* reads the resource that a condition is about */
        PHASE_JUDGING,   /* evaluates the condition */
        PHASE_WATCHING,  /* until the condition is looked at again */
        PHASE_SHARING,   /* until what another run makes is there, or that run has ended */
};

enum { TIMER_NEXT, TIMER_LIMIT, TIMER_LANE };

/* A task that has been started and has not ended. */
struct flight {
        struct engine *engine;
        struct run *run;
        uint32_t task;
        uint32_t place;         /* among the flights of its run */
        enum phase phase;
        enum role role;
        uint8_t verb;           /* of the request; enum plan_verb */
        struct engine_lane *lane;
        struct timer next;      /* the next poll, observe or attempt */
        struct timer limit;     /* the attempt's deadline, then the end of its grace */
        int64_t deadline_ms;    /* of the attempt */
        int64_t left_ms;        /* what the plugin sends last could have left until then */
        int64_t doubt_since_ms; /* 0: not in doubt */
        int64_t asked_ms;       /* when the last observe left */
        uint32_t n_failures;    /* reads, polls or observes in a row that could not ask */
        bool has_place;         /* in its lane: all but parked ones that nobody is asked about */
        uint32_t n_overruns;    /* how often it was found to go on after it was cancelled */
        bool calling;           /* E1 */
        bool abandoned;         /* nobody waits for its answer; it belongs to no run any more */
        bool timed_out;
        bool cancel_sent;       /* to the call under way */
        bool left_part;         /* an observe said so; a retry says so in its record */
        bool recovered;         /* the engine died in between: not an attempt that failed */
        struct buf document;    /* of the task, while it is read and prepared; what is asked */
        struct buf former;      /* JSON: update and delete; of an undo the spec to restore */
        struct waiting *waiting; /* while it waits for conditions, or NULL */
        void *handle;           /* the driver's, for the call under way */
        struct flight *next_free;
};

/* engine.c */
void engine_append(struct engine *e, struct run *run, struct record *r);
void engine_call(struct flight *f, enum engine_call_kind kind, enum phase phase,
                 int64_t deadline_ms);
/* Asks what is no request: READ, LIST, EVALUATE. What is asked is f->document. */
void engine_ask(struct flight *f, enum engine_call_kind kind, enum phase phase,
                struct plugin *plugin);
struct plugin *engine_find_plugin(const struct engine *e, const char *lane); /* NULL: not usable */
void engine_schedule_run(struct engine *e, struct run *run);
/* The task that starts next in lane `i` of the run, taken from its queue; TASK_NONE: none may. */
uint32_t engine_next(struct engine *e, struct run *run, uint32_t i);
struct engine_lane *engine_run_lane(const struct run *run, uint32_t i);
static inline void lane_enter(struct engine *e, struct engine_lane *l)
{
        l->in_flight++;
        e->in_flight++;
}
static inline void lane_leave(struct engine *e, struct engine_lane *l)
{
        l->in_flight--;
        e->in_flight--;
}
int engine_run_start(struct engine *e, struct run *run);
void engine_run_stop(struct engine *e, struct run *run);
void engine_run_hurry(struct engine *e, const struct run *run);
bool engine_run_is_calling(const struct run *run); /* a plugin is being asked */
uint32_t engine_run_flights(const struct run *run);
struct flight *engine_find_flight(const struct run *run, uint32_t task);
struct flight *flight_new(struct engine *e, struct run *run, uint32_t task);
void flight_end(struct flight *f);
void flight_leave_place(struct flight *f);
bool flight_take_place(struct flight *f); /* false: the lane is full */
struct flight *flight_abandon(struct flight *f); /* NULL: out of memory */
void flight_take_back(struct engine *e, struct flight *f);
static inline struct task *flight_task(const struct flight *f)
{
        return &f->run->tasks[f->task];
}
static inline const struct operation *flight_operation(const struct flight *f)
{
        return &f->run->operations[flight_task(f)->operation];
}

/* May another request, or another attempt, of this flight start? A command or a failure may say no. */
static inline bool flight_may_begin(const struct flight *f)
{
        if (f->role == ROLE_SURPLUS)
                return true;
        if (f->role == ROLE_UNDO && f->run->unwinding)
                return !f->run->stopped;
        return !f->run->halted;
}

/* start.c */
void task_start(struct engine *e, struct run *run, uint32_t task);
void task_go(struct flight *f); /* its conditions are true */
void task_read(struct flight *f);
void task_former_read(struct flight *f, struct op_reply *reply);
void attempt_prepare(struct flight *f);
void attempt_begin(struct flight *f, uint32_t number);
void flight_fail(struct flight *f, int32_t answer, const char *format, ...) _printf_(3, 4);

/* attempt.c */
void attempt_timer(struct flight *f, uint32_t kind);
void attempt_doubt(struct flight *f, const char *message);
bool attempt_read_later(struct flight *f, const struct op_reply *reply);
void attempt_ask_later(struct flight *f, enum phase phase, const struct op_reply *reply);
void attempt_park(struct flight *f, const char *why);
void attempt_next(struct flight *f);
void attempt_resume(struct flight *f);
void task_done(struct flight *f, int32_t answer, struct span outputs);
void task_end(struct flight *f, int32_t answer, struct span outputs);
/* Another run made it: this one has it as it is. */
void task_use(struct flight *f, struct span outputs);
void task_failed(struct flight *f, const struct op_reply *reply);
/* A failure: nothing more starts in the run, unless its operation says `continue`. */
void task_halts(struct engine *e, struct run *run, uint32_t task, struct span message);

/* submit.c: another key of a JSON array, whose end is still to come. */
void list_key(struct buf *list, const char *key);

/* rollback.c */
bool rollback_by_itself(struct engine *e, struct run *run); /* true: a rollback has begun */
void rollback_unwind(struct engine *e, struct run *run);
enum run_status rollback_end(struct engine *e, struct run *run);
void undo_start(struct engine *e, struct run *run, uint32_t task);
void undo_read(struct flight *f, struct op_reply *reply);
/* A delete was undone: what stood on the server may be lost all the same. */
void undo_restored(struct engine *e, struct run *run, uint32_t task);

/* surplus.c */
bool surplus_possible(const struct flight *f, int32_t answer);
void surplus_made(struct flight *f, int32_t answer, struct span outputs);
void surplus_look(struct flight *f);
void surplus_listed(struct flight *f, struct op_reply *reply);
void surplus_removed(struct flight *f, int32_t answer);

/* wait.c */
void wait_start(struct flight *f);
void wait_look(struct flight *f);
void wait_seen(struct flight *f, struct op_reply *reply);
void wait_judged(struct flight *f, struct op_reply *reply);
void wait_free(struct flight *f);
const char *wait_expression(const struct flight *f);

/* share.c */
/* Another run in flight makes the same, or another workflow has it: then the flight waits for it, or has ended.
 * False: the task is to make it. */
bool share_waits(struct flight *f);

/* end.c */
/* What the task did to the inventory, into the site stream: the run's own stream need not be read for it
 * any more. */
void journal_change(struct engine *e, struct run *run, struct task *t);
void run_check_end(struct engine *e, struct run *run);

/* drift.c: "plan: wanted 2xCPU-4GB, found 1xCPU-1GB; ..." of a check's outputs; nothing if it says
 * nothing. */
int drift_text(struct span outputs, struct buf *b);

/* document.c */
/* `spec`: another one than the plan's, or NULL. */
int compose_document(const struct site *site, const struct run *run, struct task *t,
                     const char *spec, struct buf *ret);
int compose_present(const struct site *site, const struct resource *r, struct buf *ret);

#endif
