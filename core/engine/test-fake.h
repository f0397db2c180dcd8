/* SPDX-License-Identifier: Apache-2.0 */
/* A fake driver for the engine's unit tests: calls wait until the test answers them; records go to two
 * buffers, as a store would hold them. */
#ifndef PRVNG_ENGINE_TEST_FAKE_H
#define PRVNG_ENGINE_TEST_FAKE_H

#include "engine/engine.h"

#include <criterion/criterion.h>

#define MAX_CALLS 64

struct fake {
        struct engine *engine;
        struct site site;
        struct run *run;
        struct plugin both[2]; /* the provider, and what evaluates */
        struct plugin *plugin; /* the provider */
        struct plugins plugins;
        struct buf site_lines, run_lines; /* what a store would hold */
        uint64_t site_seq, run_seq;
        struct engine_call calls[MAX_CALLS]; /* not answered yet, oldest first */
        unsigned n_calls;
        unsigned n_cancels, n_ended;
        uint64_t random;
        int64_t now;
        enum plan_verb verb; /* of the tasks submitted */
        bool anew;           /* the first two of them delete server.t0 and make it again */
        bool no_rollback, some_is_enough, preserve; /* the strategy of runs submitted */
        uint32_t interval;      /* of checkpoints */
        uint32_t rate_limit;    /* of the lane */
        const char *waits;      /* of the last task submitted */
        uint32_t n_per_operation; /* 0: all tasks are of one operation */
};

extern const struct engine_ops fake_ops;

void fake_init(struct fake *f);
void fake_deinit(struct fake *f);

/* A run of n tasks; `chain`: each depends on the one before it. */
void submit(struct fake *f, uint32_t n, bool chain, enum on_failure on_failure, uint32_t batch_size);
void tick(struct fake *f, int64_t ms);

/* Takes the oldest call, which must be of that kind. */
struct engine_call taken(struct fake *f, enum engine_call_kind kind);

struct answer {
        int32_t answer;
        uint32_t effect;
        int64_t retry_after_ms, ask_again_ms;
        const char *token, *message;
        int32_t error_class;
};

struct engine_call answer_(struct fake *f, enum engine_call_kind kind, struct answer a);
#define answer(f, kind, ...) answer_((f), (kind), (struct answer){__VA_ARGS__})

#define FAILS PRVNG_PERMANENT, PRVNG_EFFECT_NONE, 0, 0, NULL, "no" /* for answer() */

enum plan_verb verb_of(struct engine_call c);

/* Takes the run up after its end. */
void reopen(struct fake *f);

enum task_status status(const struct fake *f, uint32_t task);

/* What a crash leaves: the records. A second engine over a fold made from nothing but them. */
void crash(struct fake *f);

#endif
