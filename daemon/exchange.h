/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request and its answer, without the network: what to ask the engine, what to send next. http.c
 * moves the bytes. Everything runs on the HTTP thread.
 *
 * An exchange whose connection is gone lives on until the engine has answered what was posted for it.
 */
#ifndef PRVNG_DAEMON_EXCHANGE_H
#define PRVNG_DAEMON_EXCHANGE_H

#include "routes.h"
#include "run/engine-process.h"
#include "feed.h"

#define SEGMENT_MAX 512u

enum exchange_stage {
        STAGE_ANSWER,  /* the engine's answer is the response */
        STAGE_RESOLVE, /* GET /workflows: which run does the name mean, has it ended? */
        STAGE_FIRST,   /* the first part of the events or logs; an error is the response */
        STAGE_FOLLOW,
};

struct exchange {
        struct exchange *next, **link; /* all of a server */
        void *connection;              /* http.c's; NULL once it is gone */
        struct engine_process *process;
        const struct config *config;
        const struct route *route;     /* NULL: error */
        enum exchange_stage stage;
        bool posted;       /* an answer of the engine is under way */
        bool has_response; /* status and type are known: headers may be sent */
        bool sent_headers; /* http.c's */
        bool counted;      /* http.c's */
        bool streaming;    /* no length is known */

        char method[8];
        struct buf target; /* path and query as the engine gets them */
        char segment[SEGMENT_MAX];
        char *task; /* ?task= */
        bool follow;
        uint64_t offset; /* logs: how much was passed on, or skipped by ?offset= */
        struct buf body; /* of the request */

        int status;
        const char *content_type;
        const char *allow;
        struct mail *answer; /* response body, if it is the engine's */
        struct buf text;     /* else */
        size_t sent;
        struct feed feed; /* events; logs use its run, ended and out */
        int log_fd;           /* -1 */
        bool beyond;    /* events: ?from= is behind the last record */
        bool closing;   /* logs: the run has ended, one more look is due */
        bool last_post; /* logs: that look is under way */
};

/* Query parameters are given decoded by exchange_query, one at a time, before exchange_begin. */
struct exchange *exchange_new(struct engine_process *process, const struct config *config,
                              const char *method, const char *path);
void exchange_query(struct exchange *e, const char *name, const char *value);
struct exchange *exchange_free(struct exchange *e);

/* The request is complete: asks the engine or answers at once. */
void exchange_begin(struct exchange *e);
void exchange_error(struct exchange *e, int status, const char *message);

/* What came from other threads. Takes `answer` over. */
void exchange_answer(struct exchange *e, struct mail *answer);
void exchange_news(struct exchange *e, const struct mail *news);
void exchange_overflow(struct exchange *e);

/* Followed logs: looks for more. Call some times a second while exchange_wants_timer(). */
bool exchange_wants_timer(const struct exchange *e);
void exchange_timer(struct exchange *e);

/* Only a response with has_response: its length, bytes to send next (0: nothing now), and whether all
 * was sent. */
size_t exchange_length(const struct exchange *e);
size_t exchange_next(struct exchange *e, const char **ret_data);
void exchange_sent(struct exchange *e, size_t n);
bool exchange_is_over(const struct exchange *e);

/* Is it a reader of this run's records? */
bool exchange_follows(const struct exchange *e, const char *run);

#endif
