/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of one run as Server-Sent Events, for one reader, without loss and without doubles.
 *
 * A stream subscribes first and asks for the backlog then. Live records are passed on directly only
 * while the reader keeps up and nothing is missing; else they are only counted (`seen`), and when the
 * reader has taken what there was, the rest is read again from the journal. So a slow reader costs one
 * bounded buffer and one answer of the engine, never more.
 *
 * No I/O here: http.c moves the bytes.
 */
#ifndef PRVNG_DAEMON_FEED_H
#define PRVNG_DAEMON_FEED_H

#include "base/buf.h"
#include "mailbox.h"

struct feed {
        char run[UID_TEXT];
        uint64_t last; /* number of the last record passed on */
        uint64_t seen; /* number of the last record that is known to be durable */
        bool follow;
        bool awaiting; /* an answer of the engine is under way */
        bool resync;   /* news were dropped: ask again */
        bool ended;    /* the last record passed on was `end`, or that is behind us. A run that is rolled
                        * back or retried goes on behind its first `end` */
        struct mail *backlog; /* the engine's answer, JSON lines; owned */
        size_t at;            /* how far it was passed on */
        struct buf out;       /* formatted, not sent yet */
        size_t sent;          /* of out */
};

void feed_deinit(struct feed *s);

/* A live record (its line with newline), or progress. */
void feed_record(struct feed *s, uint64_t seq, const char *line, size_t n_line);
bool feed_line_is_end(const char *line, size_t n);
void feed_progress(struct feed *s, const char *json, size_t n_json);

/* The engine's answer to the question for records; takes `backlog` over. */
void feed_backlog(struct feed *s, struct mail *backlog);

/* The bytes to send next, at most about 64 KiB; 0: nothing now. */
size_t feed_next(struct feed *s, const char **ret_data);
void feed_sent(struct feed *s, size_t n);

/* After feed_next() said 0: must the engine be asked again (from feed_from())? Is it over? */
bool feed_must_ask(const struct feed *s);
uint64_t feed_from(const struct feed *s);
bool feed_is_over(const struct feed *s);

#endif
