/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit of a site: all its streams verified, and held to the heads that stand elsewhere.
 *
 * A stream by itself cannot tell that its end is missing. The end of each run says in the site's stream
 * which head the run's stream had (`ended`.head), so that the streams of ended runs are covered by the
 * site's; the heads of the site's stream and of runs in flight are the anchor, one line to be kept where
 * nobody who can write the store can write:
 *
 *      prvng-anchor/1 SITE site:SEAL:DIGEST run-ID:SEAL:DIGEST ...
 *
 * Given an anchor, the audit proves that the present streams contain those heads, so that everything up
 * to them is as it was when the anchor was made.
 *
 * The site's stream is read first: what it names was durable in the runs' streams before. So an audit
 * may run beside a live engine.
 */
#ifndef PRVNG_JOURNAL_AUDIT_H
#define PRVNG_JOURNAL_AUDIT_H

#include "journal/verify.h"

#define ANCHOR_WORD "prvng-anchor/1"
#define AUDIT_STREAM 64 /* room for the name of a stream */

/* A head that has to be in a stream. */
struct audit_head {
        char stream[AUDIT_STREAM]; /* "": any */
        uint64_t seal;             /* 0: any */
        uint8_t digest[32];
        bool found;
};

struct anchor {
        char site[UID_TEXT]; /* "": a bare digest, of any site */
        struct audit_head *heads;
        uint32_t n, cap;
};

#define ANCHOR_NULL ((struct anchor){0})

void anchor_deinit(struct anchor *a);

/* Adds the heads of a line: an anchor, or only a digest of 64 hex digits. -EINVAL: it is neither, or of
 * another site than the lines before. */
int anchor_add(struct anchor *a, const char *line);

struct audit_stream {
        char name[AUDIT_STREAM];
        char store[64];
        char run[UID_TEXT];      /* "": the site's */
        char *workflow;          /* of the run, or NULL */
        bool in_flight;
        bool compacted;          /* removed: what it was is signed, and nothing of it was read */
        int64_t ended_ms;        /* of a run that ended, wall clock */
        uint32_t retention_days; /* of a run, as its workflow says; 30 if it says nothing */
        struct journal_check check;
        /* Up to here the stream belongs to what the site's stream says: a run may have gone on since
         * that was read. */
        struct sealed cut;
};

struct audit {
        char site[UID_TEXT];
        struct audit_stream *streams; /* the site's first, then the runs' in order of acceptance */
        uint32_t n, cap;
};

#define AUDIT_NULL ((struct audit){0})

struct audit_request {
        /* The open journal of a store. 0, or a condition with *ret_message (caller frees). */
        int (*journal)(void *userdata, const char *store, struct journal **ret_journal,
                       char **ret_message);
        void *userdata;
        const char *home;       /* store of the site's stream */
        const char *run;        /* only this one: a run's id, or a workflow's name for its latest
                                 * run; NULL: all */
        struct anchor *anchor;  /* or NULL; marks the heads that were found */

        /* Or these, by what the site's stream says of them: no `check` yet. NULL: all. */
        bool (*want)(void *userdata, const struct audit_stream *run);
};

/* 0: look at the streams; AUDIT_E_NO_RUN; a condition of journal.h with *ret_message; -errno. *ret is to
 * be deinitialised in any case. */
enum { AUDIT_E_NO_RUN = 50 };
int audit_make(const struct audit_request *request, struct audit *ret, char **ret_message);
void audit_deinit(struct audit *a);

/* The first stream with a fault, or NULL. */
const struct audit_stream *audit_first_bad(const struct audit *a);

/* "stream S of store X, segment 1, byte 812, line 7, record 6: changed: ..." */
void audit_describe(const struct audit_stream *s, struct buf *text);

/* The anchor of what was found, without a newline. */
void audit_anchor(const struct audit *a, struct buf *line);

static inline void cleanup_audit(struct audit *a)
{
        audit_deinit(a);
}

static inline void cleanup_anchor(struct anchor *a)
{
        anchor_deinit(a);
}

#endif
