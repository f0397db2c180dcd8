/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The batches of one segment's text whose seals hold, in order. In a long text their digests are computed
 * by a second thread, ahead of who takes them: digesting takes as long as folding.
 */
#ifndef PRVNG_JOURNAL_BATCHES_H
#define PRVNG_JOURNAL_BATCHES_H

#include "journal/seal.h"

#include <pthread.h>

struct batch {
        const char *lines; /* its lines, up to the seal's */
        const char *line;  /* the seal's */
        const char *end;   /* behind the seal's newline */
        uint64_t n_lines;  /* without the seal's */
        struct seal seal;  /* its digest is that of the lines behind seal.after */
};

struct batches {
        const char *p, *end; /* what was not looked at yet */
        uint8_t salt[16];
        uint32_t segment;
        bool threaded;
        pthread_t thread;
        pthread_mutex_t lock; /* guards what follows */
        pthread_cond_t changed;
        struct batch *list;   /* found, not taken yet: from `taken` on */
        size_t n, cap, taken;
        bool ended;           /* no more are found */
        bool stop;            /* no more are wanted */
        int error;
};

enum { BATCHES_E_END = 1 }; /* what follows, if anything, is no batch with a seal that holds */

/* The text must stay until batches_end(). */
void batches_begin(struct batches *b, const uint8_t salt[16], uint32_t segment, const char *data,
                   size_t n);
int batches_next(struct batches *b, struct batch *ret_batch); /* 0, BATCHES_E_END or -errno */
void batches_end(struct batches *b);

#endif
