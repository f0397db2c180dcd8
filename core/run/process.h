/* SPDX-License-Identifier: Apache-2.0 */
/* What process.c, driver.c and api.c share. Internal to core/run. */
#ifndef PRVNG_RUN_PROCESS_H
#define PRVNG_RUN_PROCESS_H

#include "engine/engine.h"
#include "run/engine-process.h"
#include "run/log.h"
#include "run/workers.h"

#include <pthread.h>

/* How much is behind the last snapshot of a stream. */
struct pace {
        uint64_t n_before; /* stream->n_bytes then */
        uint64_t size;     /* of it */
        int64_t next_ms;   /* boot-time clock: no other before */
};

/* The stream of a run that this engine appends to. */
struct run_stream {
        struct run *run;
        struct stream *stream;
        struct run_log *log;
        struct buf lines;   /* being committed, for followers */
        uint64_t first_seq; /* of them */
        struct pace pace;
        bool ended;         /* closed after the next commit */
};

/* A request on its way, from the HTTP thread and back. */
struct request {
        struct request *next;
        void *cookie;   /* the HTTP thread's */
        char *method, *path;
        void *body;
        size_t n_body;
        int status;     /* of the answer, once it is known */
        bool later;     /* who handles it answers it later */
        struct buf answer;
};

struct engine_process {
        const struct context *context;
        struct engine_process_hooks hooks;
        struct journals *journals;
        struct journal *journal;       /* the home store's, one of them */
        struct site site;
        uint64_t epoch;                /* the home store's; after a restore what follows the last one */
        bool restored;                 /* no engine ran since the site came out of a backup */
        struct stream *site_stream;
        struct pace site_pace;
        bool snapshot_failed;          /* and it was said */
        struct snapshot_writing *snapshot; /* under way, or NULL */
        struct run_stream *streams;
        uint32_t n_streams, cap_streams;
        struct engine *engine;
        struct workers *workers;
        struct job *left;              /* calls that the end came before */
        bool abandoned;                /* a call did not come back at the end */
        struct job *held, **held_last; /* calls that wait for the next commit */
        struct job *free_jobs;
        uint32_t n_jobs;               /* calls that a plugin has or will get */
        int64_t commit_us;             /* how long the last commit took that calls waited for */
        uint8_t random[2048];          /* from the kernel, not used yet: the first n_random */
        size_t n_random;
        int epoll, wake, timer;
        int64_t timer_at;              /* boot-time clock: what it is set to; INT64_MAX: it is not */
        int error;                     /* condition of the journal or -errno; ends the loop */
        char *message;

        bool draining;                 /* nothing new is asked of plugins; ends when all have answered */
        int64_t drained_by_ms;         /* or then, boot-time clock */

        pthread_mutex_t lock;          /* guards the six below */
        struct request *posted, **posted_last;
        int busy;
        bool stop, drain;
        int64_t idle_since_ms;

        struct request *answers, **answers_last; /* sent after the next commit */
        struct search *searches;       /* search.c: what plugins are asked for */
};

/* process.c: the journal of a store, opened if it is not yet. 0, a condition of journal.h or -errno, with
 * *ret_message (caller frees). */
int process_journal(struct engine_process *p, const char *store, struct journal **ret_journal,
                    char **ret_message);

/* driver.c: the engine's outputs in the real world. */
extern const struct engine_ops driver_ops;
int driver_open_run(struct engine_process *p, struct run *run, struct stream *stream);
int driver_commit(struct engine_process *p);
bool driver_collect(struct engine_process *p); /* true if there were answers */
void driver_drop_jobs(struct engine_process *p);
/* A call that no task makes; it leaves after the next commit. `answered` gets it when it is done: the reply
 * is valid during that. What it points to lives until then. NULL: out of memory, which ends the loop. */
struct job *driver_ask(struct engine_process *p, const struct engine_call *c,
                       void (*answered)(struct engine_process *p, struct job *job), void *owner);
void process_fail(struct engine_process *p, int condition, const char *message);

/* snapshots.c. Both after a commit. */
extern struct snapshot_tuning { /* tests and benchmarks change it */
        uint64_t worth;   /* bytes of journal; less is read in a moment */
        uint32_t share;   /* so many bytes of journal for one of a snapshot */
        uint32_t rest;    /* one part of the time; 0: no pause between them at all */
        uint32_t step;    /* tasks packed at once */
        int64_t again_ms; /* the next try after a command ended the making of one */
        size_t part;      /* bytes put into the store at once */
} snapshot_tuning;
bool driver_snapshot(struct engine_process *p); /* a step of one, if one is due; true: it goes on */
bool driver_snapshot_is_made(const struct engine_process *p); /* nothing may change meanwhile */
void driver_snapshot_disturb(struct engine_process *p); /* something will change: another time */
void driver_snapshot_stop(struct engine_process *p);
void driver_snapshot_forget(struct engine_process *p, const struct stream *closed);
void driver_last_snapshots(struct engine_process *p);

/* process.c; NULL is fine */
void process_request_free(struct request *q);

/* search.c */
int64_t api_search_deadline(const struct engine_process *p); /* INT64_MAX: none */
void api_search_time(struct engine_process *p);
void api_search_free(struct engine_process *p);

/* api.c */
void api_handle(struct engine_process *p, struct request *q);
bool api_changes(const struct request *q); /* may it change the state, or only look at it? */

#endif
