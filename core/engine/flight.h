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
};

enum { TIMER_NEXT, TIMER_LIMIT };

/* A task that has been started and has not ended. */
struct flight {
        struct engine *engine;
        struct run *run;
        uint32_t task;
        uint32_t place;         /* among the flights of its run */
        enum phase phase;
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
        bool timed_out;
        bool cancel_sent;       /* to the call under way */
        bool left_part;         /* an observe said so; a retry says so in its record */
        bool recovered;         /* the engine died in between: not an attempt that failed */
        struct buf document;    /* of the task, while it is read and prepared */
        struct buf former;      /* JSON, update and delete */
        void *handle;           /* the driver's, for the call under way */
        struct flight *next_free;
};

/* engine.c */
void engine_append(struct engine *e, struct run *run, struct record *r);
void engine_call(struct flight *f, enum engine_call_kind kind, enum phase phase,
                 int64_t deadline_ms);
int engine_run_start(struct engine *e, struct run *run);
void engine_run_stop(struct engine *e, struct run *run);
void engine_run_hurry(struct engine *e, const struct run *run);
uint32_t engine_run_flights(const struct run *run);
struct flight *engine_find_flight(const struct run *run, uint32_t task);
struct flight *flight_new(struct engine *e, struct run *run, uint32_t task);
void flight_end(struct flight *f);
void flight_leave_place(struct flight *f);
bool flight_take_place(struct flight *f); /* false: the lane is full */
static inline struct task *flight_task(const struct flight *f)
{
        return &f->run->tasks[f->task];
}
static inline const struct operation *flight_operation(const struct flight *f)
{
        return &f->run->operations[flight_task(f)->operation];
}

/* start.c */
void task_start(struct engine *e, struct run *run, uint32_t task);
void task_document(struct flight *f);
void task_read(struct flight *f);
void task_former_read(struct flight *f, struct op_reply *reply);
void attempt_begin(struct flight *f, uint32_t number);

/* attempt.c */
void attempt_timer(struct flight *f, uint32_t kind);
void attempt_doubt(struct flight *f, const char *message);
bool attempt_read_later(struct flight *f, const struct op_reply *reply);
void attempt_next(struct flight *f);
void attempt_resume(struct flight *f);
void task_done(struct flight *f, int32_t answer, struct span outputs);
void task_failed(struct flight *f, const struct op_reply *reply);

/* end.c */
void run_check_end(struct engine *e, struct run *run);

/* document.c */
int compose_document(const struct site *site, const struct run *run, struct task *t,
                     struct buf *ret);

#endif
