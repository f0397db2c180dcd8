/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal: streams of records in sealed batches, over a store plugin that keeps the bytes.
 *
 * Promises 2 and 3 of design.md live here. docs/journal-format.md describes the bytes; in short, a
 * segment is lines of JSON:
 *
 *      {"segment":1,"format":1,"stream":"site","salt":"<32 hex>"}          first line of a segment
 *      {"seq":1,...}                                                        records
 *      {"seal":1,"records":2,"after":"<64 hex>","sha256":"<64 hex>"}        closes a batch
 *
 * A seal's digest is SHA-256 over `after` (the digest of the seal before it, zeros for the first of a
 * stream), the segment's salt, the segment's number, the seal's number, and the bytes of the batch's
 * lines (a segment's first line belongs to its first batch). What is not sealed never happened.
 *
 * Reading stops at the first byte that is not covered by a valid seal. If a valid seal follows further
 * on, or another segment, bytes in the middle were changed: that is damage, and refused with its place.
 * Otherwise it is the tail of a write that a crash tore, and is cut (invariant J3).
 *
 * Invariants, cited by number at their assertions:
 *  J1  seq grows by one from record to record of a stream, across segments
 *  J2  a batch is handed to the store only after the append of the one before it returned
 *  J3  only the last segment may end in anything but a seal
 *  J4  after a failed append nothing more is appended until the store is opened anew
 *
 * Threads: one, the loop's. A journal opened read only may be used beside a live engine.
 */
#ifndef PRVNG_JOURNAL_JOURNAL_H
#define PRVNG_JOURNAL_JOURNAL_H

#include "base/strmap.h"
#include "journal/record.h"
#include "plugin/plugin.h"

#define JOURNAL_SEGMENT_MAX (16u << 20) /* bytes, after which the next batch opens a segment */

/* Conditions, beside -errno. Each comes with a message. */
enum {
        JOURNAL_E_BUSY = 1, /* another engine holds the store; the message names pid and host */
        JOURNAL_E_DAMAGED,  /* the message names stream, segment, byte and line */
        JOURNAL_E_FULL,     /* no room; nothing acknowledged is lost */
        JOURNAL_E_FAILED,   /* the store failed */
        JOURNAL_E_SHORTCUT, /* what a shortcut promised does not hold: begin anew, without */
};

struct journal {
        struct plugin *plugin;
        uint64_t epoch;
        bool read_only;
        bool failed;        /* J4 */
        bool tidy;          /* the engine's: it holds no stream any more that the site's does not name */
        bool in_full;       /* snapshots are not used: everything is read (journal/snapshot.h) */
        bool listed;
        struct strmap last; /* number of the last segment by name of stream; a writer's is always right */
        char *message;      /* of the last condition */
};

/* A batch of a stream: a place where reading may begin. */
struct mark {
        uint32_t segment;     /* 0: none */
        uint64_t from, end;   /* bytes of the segment: where it begins, and ends behind its seal */
        uint64_t seal, seq;   /* number of its seal, of its last record */
        uint8_t salt[16];     /* of the segment */
        uint8_t after[32], digest[32]; /* of the seal before it, and of its own */
};

struct stream {
        struct journal *journal;
        char *name;
        uint32_t segment;      /* that the last batch went to; 0: none yet */
        uint64_t n_segment;    /* bytes in it */
        uint64_t seal;         /* number of the last seal */
        uint64_t seq;          /* of the last record, pending ones included */
        uint8_t salt[16];      /* of the segment */
        uint8_t digest[32];    /* of the last seal */
        struct buf pending;    /* lines that are not sealed yet */
        uint64_t n_pending;    /* records among them */
        uint64_t n_bytes;      /* sealed behind the plan, or behind where a shortcut led */
        bool plan_pending;     /* `planned` is among them */
        struct mark last;     /* the last batch */
        struct mark plan;     /* the batch with the last `planned` */
};

/* Opens the store below `location`. 0, a condition, or -errno. */
int journal_open(struct plugin *store, const char *location, bool read_only,
                 struct journal **ret_journal, char **ret_message);
struct journal *journal_close(struct journal *j);

/* What reading a stream calls for each record of each valid batch. `line` is without newline. A non-zero
 * return ends the reading with it. */
typedef int (*journal_record_f)(void *userdata, const struct record *r, const char *line,
                                size_t n_line);

/* Opens a stream for appending: reads it all, calls `f` (may be NULL) for each record, and makes the
 * valid prefix durable again (promise 3). A stream that does not exist is empty. */
int stream_open(struct journal *j, const char *name, journal_record_f f, void *userdata,
                struct stream **ret_stream);
struct stream *stream_close(struct stream *s);

/*
 * The short way through a stream: the batches up to the one with the plan are read (if there is one),
 * then arrive() is called, and what stands behind the batch `at` is read. What lies between was read
 * when it was made the state that arrive() brings.
 */
struct shortcut {
        struct mark at, plan;
        int (*arrive)(void *userdata);
};

/* The same two by a shortcut. JOURNAL_E_SHORTCUT where its batches are not there as it says, or
 * anything behind them is not as it should be: then nobody knows more until all of it was read.
 * Before arrive() was called nothing but the plan was read. */
int stream_open_by(struct journal *j, const char *name, const struct shortcut *by, journal_record_f f,
                   void *userdata, struct stream **ret_stream);
int journal_read_by(struct journal *j, const char *name, const struct shortcut *by,
                    journal_record_f f, void *userdata);

/* Reads a stream without changing anything. `f` may be NULL: seals only. */
int journal_read(struct journal *j, const char *name, journal_record_f f, void *userdata);

/* Names of the streams in the store; caller frees each and the array. */
int journal_streams(struct journal *j, char ***ret_names, size_t *ret_n);

/* Removes a stream that no record refers to. */
int journal_remove(struct journal *j, const char *name);

/* Adds a record to the pending batch and numbers it. Memory problems show at stream_commit. */
void stream_append(struct stream *s, struct record *r);

/* Seals the pending batch, if there is one, and appends it durably. A long first one of a stream becomes
 * several: a crash may leave a part of it, of which nobody was told. */
int stream_commit(struct stream *s);

static inline void cleanup_journal(struct journal **j)
{
        journal_close(*j);
}

#endif
