/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine over a driver that keeps nothing: from a definition to the end of its run, without a
 * journal, without threads.
 */
#ifndef PRVNG_BENCH_LOCAL_H
#define PRVNG_BENCH_LOCAL_H

#include "bench.h"
#include "definition/definition.h"
#include "engine/engine.h"
#include "plan/plan.h"

struct local {
        struct context context;
        struct site site;
        struct engine *engine;
        struct document *document;
        struct definition *definition;
        struct plan *plan;
        struct run *run;
        struct engine_call *calls; /* not answered yet: a ring */
        uint32_t first_call, n_calls, cap_calls;
        uint64_t site_seq, run_seq;
        uint64_t random;
        uint64_t n_done;
        bool ask_plugins; /* else every call is answered DONE without anybody being asked */
};

/* `definition`: a file, or NULL and `text`. */
void local_load(struct local *l, const char *conf, const char *file, const struct buf *text);
void local_submit(struct local *l); /* the run is planned and accepted then, nothing started */
void local_drain(struct local *l);  /* to its end */
void local_deinit(struct local *l);

#endif
