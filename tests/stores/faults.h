/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that fails on demand: the functions by which stores write and sync, defined in the test's
 * program, which the dynamic linker takes before those of the C library, also for libraries of stores.
 * Only regular files count. Threads: one.
 */
#ifndef PRVNG_TEST_FAULTS_H
#define PRVNG_TEST_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

enum fault {
        FAULT_NONE,
        FAULT_DIE,  /* this process is killed instead of step number `at` */
        FAULT_TEAR, /* as DIE; of a write the first half is done */
        FAULT_LOSE, /* the write that is step `at` never gets to the disk, others behind it do; killed at
                     * the next sync. If step `at` is a sync: as DIE */
        FAULT_SYNC, /* from step `at` on each sync fails with EIO, after its data were written */
};

struct faults {
        enum fault fault;
        unsigned at;      /* from 1: a write or a sync */
        unsigned n_steps; /* so far */
        unsigned n_syncs; /* writes to files opened with O_DSYNC or O_SYNC count as both */
        uint64_t n_bytes; /* written */
        bool unsynced;    /* something was written and no sync came behind it */
        bool lost;        /* FAULT_LOSE: it was */
};

extern struct faults faults;

/* Starts counting anew, with that fault. */
void faults_begin(enum fault fault, unsigned at);

#endif
