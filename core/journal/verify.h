/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verifying a stream from its first byte: stricter than reading it, which has to start after a crash,
 * and exact about the first thing that is wrong.
 *
 * Reading cuts whatever no seal covers at the end of a stream; here only what a crash or a write under
 * way can leave there passes: a batch that ends before its seal, or has holes of zeros. A last batch that
 * is whole and does not match its seal was changed.
 *
 * What nobody can see in a stream alone is that whole batches are missing at its end, or that a tail
 * was replaced and sealed anew: that is what heads are for which are kept elsewhere (audit.h).
 */
#ifndef PRVNG_JOURNAL_VERIFY_H
#define PRVNG_JOURNAL_VERIFY_H

#include "journal/journal.h"

enum journal_fault {
        FAULT_NONE,
        FAULT_CHANGED,
        FAULT_REMOVED,
        FAULT_REORDERED,
        FAULT_TRUNCATED,
        N_JOURNAL_FAULTS,
};

/* A seal that holds. */
struct sealed {
        uint64_t number;
        uint64_t seq;      /* of the last record it covers */
        uint32_t segment;
        uint64_t end;      /* bytes of the segment up to and including its line */
        uint8_t digest[32];
};

/* Told batch by batch, from intact batches only; all members are optional. A non-zero answer ends the
 * reading and is returned. `line` is without newline. */
struct journal_watch {
        int (*record)(void *userdata, const struct record *r, const char *line, size_t n_line);
        int (*seal)(void *userdata, const struct sealed *seal);
        void *userdata;
};

struct journal_check {
        enum journal_fault fault;
        uint32_t segment;  /* of the first bad record or line, if there is a fault: */
        uint64_t byte;     /* from 0, in the segment */
        uint64_t line;     /* from 1, in the segment */
        uint64_t seq;      /* the record that stands or belongs there */
        char *what;        /* a sentence, or NULL */
        struct sealed head; /* the last seal that holds; number 0: none */
        uint64_t n_bytes;  /* read */
        uint64_t n_torn;   /* of them: behind the last seal, left by a crash or being written */
};

#define JOURNAL_CHECK_NULL ((struct journal_check){0})

void journal_check_deinit(struct journal_check *c);

/* 0 with ret->fault; a condition of journal.h if the store cannot be read; -errno. Changes nothing, and
 * may run beside a live engine. *ret is to be deinitialised in any case. */
int journal_verify(struct journal *j, const char *name, const struct journal_watch *watch,
                   struct journal_check *ret);

const char *journal_fault_name(enum journal_fault f); /* "changed" */

/* Sets the fault, unless there is one already. */
void journal_check_fail(struct journal_check *c, enum journal_fault fault, const char *format, ...)
        _printf_(3, 4);

static inline void cleanup_journal_check(struct journal_check *c)
{
        journal_check_deinit(c);
}

#endif
