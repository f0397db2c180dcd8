/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests whose answer needs questions to plugins: the engine makes these calls itself, so that
 * the limits of the site hold for them too. The answer waits for the slowest plugin, the loop for
 * none of them. [loop]
 */
#ifndef PRVNG_RUN_SEARCH_H
#define PRVNG_RUN_SEARCH_H

#include "run/process.h"

struct search;

struct question {
        struct search *search;
        struct plugin *plugin;
        struct job *job; /* NULL: it was answered */
        uint32_t number; /* in the order of asking */
        struct buf request;
        struct buf more; /* a second argument */
};

struct search_kind {
        void (*run)(struct job *job); /* [worker] the call; NULL: op_list of the request */
        /* What a plugin said; NULL: it did not answer in time. */
        void (*take)(struct search *s, struct question *question, const struct op_reply *reply);
        /* Fills in the answer to the request. */
        void (*answer)(struct engine_process *p, struct search *s, struct request *q);
        void (*free)(struct search *s); /* what `data` points to */
};

struct search {
        struct search *next;
        const struct search_kind *kind;
        struct request *q; /* NULL: it was answered */
        struct question *questions;
        uint32_t n_questions, cap_questions, n_open;
        int64_t deadline_ms; /* boot-time clock */
        void *data;
};

/* Room for so many questions, which are to be answered within `ms`. NULL: out of memory; `data` is
 * the caller's then. */
struct search *search_new(const struct search_kind *kind, uint32_t max, int64_t ms, void *data);

/* Asks one plugin; takes over what the buffers hold. */
void search_ask(struct engine_process *p, struct search *s, struct plugin *plugin,
                struct buf *request, struct buf *more);

/* All is asked: the request is answered when all have answered, at once if there is nothing to wait
 * for. Owns the search from here on. */
void search_wait(struct engine_process *p, struct search *s, struct request *q);

struct search *search_free(struct search *s);

#endif
