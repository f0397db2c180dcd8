/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Journal records: what is written down, and the only input of the fold.
 *
 * A record is one line of JSON in a canonical form: members in the order of the tables in record.c,
 * no spaces, so that one strict scanner reads back what one writer wrote (docs/journal-format.md).
 * Members that hold JSON of others (requests, results, specs) are kept byte for byte.
 *
 * Every record starts with {"seq":N,"at":MS,"type":"T". seq counts the records of a stream from 1; at
 * is the wall clock in milliseconds.
 */
#ifndef PRVNG_JOURNAL_RECORD_H
#define PRVNG_JOURNAL_RECORD_H

#include "base/buf.h"
#include "base/uid.h"

/*
 * Format 2 added rollback, pause, retry and what belongs to them: record types and optional members. A
 * journal of format 1 is read as it stands; its runs go on, without automatic rollback.
 */
#define JOURNAL_FORMAT 2u

enum record_type {
        /* Site stream, "site". */
        RECORD_SITE,     /* the first record ever: names the site */
        RECORD_ENGINE,   /* an engine took over */
        RECORD_ACCEPTED, /* a run exists from here on and holds its claims */
        RECORD_RESOURCE, /* what a run that ends did to the inventory ... */
        RECORD_GONE,
        RECORD_ENDED,    /* ... its claims are free again */
        RECORD_REOPENED, /* a run that ended is in flight again and holds these claims */
        RECORD_CLAIM,    /* a run in flight claims more */
        RECORD_SIGNER,   /* the public half of the key that signs for this site */
        RECORD_COMPACTED, /* the stream of a run that ended is removed: what it was, signed */
        RECORD_RESTORED, /* a command: this journal came out of a backup */
        RECORD_MIGRATED, /* a command: what one store held, another one holds */

        /* Run stream, "run-<ULID>". First the plan: */
        RECORD_RUN,
        RECORD_DEFINITION,
        RECORD_LANE,
        RECORD_OPERATION,
        RECORD_TASK,
        RECORD_PLANNED,  /* the plan is complete */
        /* then what happens: */
        RECORD_INTENT,   /* about to ask a plugin: promise 1 */
        RECORD_BEGIN,    /* another attempt of the same request */
        RECORD_TOKEN,    /* the plugin answered PENDING */
        RECORD_RETRY,    /* an attempt ended, another one follows after a delay */
        RECORD_DOUBT,    /* nobody knows what an attempt did: observe comes next */
        RECORD_DONE,
        RECORD_FAILED,
        RECORD_PARKED,   /* waits for the operator */
        RECORD_HALT,     /* a failure: nothing more starts in this run */
        RECORD_CANCEL,   /* a command: nothing more starts in this run */
        RECORD_END,
        RECORD_CHECKPOINT, /* a point to which the run can be rolled back */
        RECORD_PAUSE,    /* commands ... */
        RECORD_RESUME,
        RECORD_ROLLBACK, /* nothing more starts; what is in flight comes to its end */
        RECORD_UNWIND,   /* nothing is in flight: what shall be undone is settled */
        RECORD_UNDO,     /* about to ask a plugin to undo a task: an intent, like the other one */
        RECORD_UNDONE,
        RECORD_UNDO_FAILED,
        RECORD_RERUN,    /* a command: what did not succeed is to be done again */
        RECORD_MADE,     /* the result is known; whether it was made twice is looked for */
        RECORD_SURPLUS,  /* about to delete what was made twice: an intent */
        RECORD_REMOVED,  /* that is gone */
        RECORD_WAIT,     /* what a task waits for, whenever what is seen changes */
        RECORD_RESOLVED, /* a command: the operator's word on a task that waited for it */
        RECORD_REPLAN,   /* a command: the plan follows anew; what has started keeps its state */
        N_RECORD_TYPES,
};

/* Text that belongs to somebody else; in a record that was read, to its line or its reader. */
struct span {
        const char *p;
        size_t n;
};

static inline struct span span_of(const char *s)
{
        return s ? (struct span){s, strlen(s)} : (struct span){0};
}

static inline struct span span_n(const char *p, size_t n)
{
        return (struct span){p, n};
}

static inline bool span_eq(struct span a, const char *s)
{
        return strlen(s) == a.n && memcmp(a.p, s, a.n) == 0;
}

/*
 * The members of all types together; the tables in record.c say which type has which. Zero and empty
 * are left out where the table calls a member optional.
 */
struct record {
        uint64_t seq;
        int64_t at;
        enum record_type type;

        uint32_t task;          /* number in the plan */
        uint32_t attempt;
        uint32_t operation;     /* numbers in the plan */
        uint32_t lane;
        int32_t answer;         /* class of the ABI */
        uint32_t effect;        /* effect of the ABI */
        int64_t after;          /* delay, milliseconds */
        int64_t changed;        /* wall clock, milliseconds */
        uint64_t epoch;
        uint32_t format, pid, count, n_tasks, n_deps;
        uint32_t batch_size, rate_limit, timeout;
        uint32_t max_attempts, initial_delay, max_delay; /* delays in seconds */
        uint32_t implied, irreversible; /* 0 or 1 */
        uint32_t checkpoint;    /* number, from 1; 0: the start of the run */
        uint32_t rollback, on_partial, preserve; /* 0 or 1, of the rollback strategy */
        uint32_t snapshot_every; /* seconds */
        uint32_t interval;      /* operations between two checkpoints; 0: none */
        uint64_t upto;          /* seq of a run's stream */
        uint32_t shared;        /* 0 or 1: another run made it, this one only uses it */
        uint32_t soft;          /* how many of deps, at their end, need only have ended */
        struct uid op_id;
        struct uid run;
        struct uid site;

        struct span id, name, kind, status, host, version, store, stream, head;
        struct span key, workflow, plugin, builds_on, server, item, verb, reason;
        struct span on_failure, target, backoff, folder, file, message, field, token;
        struct span from, to, public, signature, sha256, build_id;

        /* Whole JSON values. */
        struct span who, claims, shares, spec, outputs, request, former, doc, definition, difference;
        struct span deps, uses, waits, logging, options, notices;
};

/* Appends the record's line with its newline. */
void record_write(struct buf *b, const struct record *r);

/* Owns the text of strings that had escapes in their line. */
struct record_scratch {
        struct buf pieces; /* of char * */
};

#define RECORD_SCRATCH_NULL ((struct record_scratch){BUF_NULL})

void record_scratch_clear(struct record_scratch *scratch);
void record_scratch_deinit(struct record_scratch *scratch);

/* Reads one line (without its newline). The record's spans point into the line or the scratch. -EBADMSG
 * if the line is not exactly what record_write makes; *ret_column then says where (from 1), and the
 * record is of no use. */
int record_read(const char *line, size_t n_line, struct record_scratch *scratch,
                struct record *ret_record, size_t *ret_column);

const char *record_type_name(enum record_type type);

#endif
