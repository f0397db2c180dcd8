/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator: the real loop, driver, API, engine, plan, fold and journal (core/run and below) over a
 * simulated machine and a simulated cloud. docs/simulator.md says what it checks and how.
 *
 * Replaced are only: the clocks, random numbers and waiting of the machine (machine.c, put in the place
 * of the C library's functions by the linker's --wrap), the threads that make plugin calls (calls.c, in
 * the place of core/run/workers.c), the plugins (cloud.c) and the store plugin with its disk (disk.c).
 * There are no threads, no real time and no real I/O: one seed gives one history, bit for bit.
 */
#ifndef PRVNG_SIMULATE_SIM_H
#define PRVNG_SIMULATE_SIM_H

#include "run/process.h"
#include "simulate/random.h"

/* What can go wrong, each to be switched off by name (--off) and instance by instance (--skip). */
#define FAULTS(X)                                                                                  \
        X(CRASH, "crash")         /* the engine is killed, also inside an I/O step */              \
        X(STOP, "stop")           /* the engine is asked to end */                                 \
        X(POWER, "power")         /* a crash takes the machine along, with its page cache */       \
        X(TEAR, "tear")           /* ... and tears what was not synced, sector by sector */        \
        X(SYNC, "sync")           /* a failed fsync */                                             \
        X(FULL, "full")           /* the disk is full for a while */                               \
        X(STORE, "store")         /* opening or reading the store fails */                         \
        X(DISK, "disk")           /* a slow sync */                                                \
        X(WALL, "wall")           /* the wall clock jumps */                                       \
        X(ERROR, "error")         /* begin fails without an effect */                              \
        X(UNKNOWN, "unknown")     /* begin fails, and nobody knows what it did */                  \
        X(PARTIAL, "partial")     /* begin fails half-way */                                       \
        X(COMPLETE, "complete")   /* begin fails after it did everything */                        \
        X(LOST, "lost")           /* the reply is lost */                                          \
        X(LATE, "late")           /* the request arrives after its call ended */                   \
        X(DUPLICATE, "duplicate") /* the request arrives once more */                              \
        X(SLOW, "slow")           /* a call takes long */                                          \
        X(HANG, "hang")           /* a call comes back only when it is cancelled */                \
        X(DEAF, "deaf")           /* ... not even then */                                          \
        X(NONSENSE, "nonsense")   /* a plugin's answer breaks the contract */                      \
        X(FAILS, "fails")         /* what is pending fails */                                      \
        X(TOKEN, "token")         /* a token is rejected */                                        \
        X(POLL, "poll")           /* a poll or a cancel cannot ask */                              \
        X(OBSERVE, "observe")     /* an observe cannot ask */                                      \
        X(UNCERTAIN, "uncertain") /* an observe cannot tell yet */                                 \
        X(READ, "read")           /* the former state cannot be read */                            \
        X(CONDITION, "condition") /* what a task waits for is not so yet */                        \
        X(CANCEL, "cancel")       /* a client cancels a run */                                     \
        X(PAUSE, "pause")         /* ... pauses one, and lets it go on later */                    \
        X(ROLLBACK, "rollback")   /* ... has one undone */                                         \
        X(RETRY, "retry")         /* ... has what failed done again */                             \
        X(REPLAN, "replan")       /* ... gives a paused one a changed definition */                \
        X(COMPACT, "compact")     /* ... has the journals of runs that ended removed */            \
        X(ROT, "rot")             /* a snapshot is damaged, an old one, another one, or lost */    \
        X(KEY, "key")             /* the site's key is lost */                                     \
        X(ORPHAN, "orphan")       /* something appears that nobody here made */                    \
        X(SWEEP, "sweep")         /* a client looks for what no journal knows */                   \
        X(ADOPT, "adopt")         /* ... takes what it finds into the inventory */

enum fault {
#define X(name, text) FAULT_##name,
        FAULTS(X)
#undef X
        N_FAULTS,
};

extern const char *const fault_names[N_FAULTS];

#define N_DISKS 2 /* stores, each on one of its own */

#define SKIPS_MAX 4096

/* What is left out of a seed's history, to make it shorter. */
struct options {
        bool off[N_FAULTS];
        struct { /* single faults that do not happen, sorted by kind */
                uint8_t fault;
                uint32_t instance;
        } skips[SKIPS_MAX];
        uint32_t n_skips;
        uint32_t max_tasks; /* of a workflow, about */
        uint32_t max_runs;
        bool print;         /* the history, to stdout */
};

struct calls;
struct cloud;
struct disk;
struct witness;
struct clients;

enum event_kind {
        EVENT_ARRIVE,  /* a request reaches the cloud */
        EVENT_RETURN,  /* a call returns */
        EVENT_SUBMIT,  /* a client submits a workflow */
        EVENT_COMMAND, /* a client says something about a run */
        EVENT_OPERATOR, /* the operator looks after what is parked */
        EVENT_KILL,
        EVENT_WALL,    /* the wall clock jumps */
        EVENT_COMPARE, /* the journal is read back and compared */
        EVENT_APPEAR,  /* somebody else makes something at a provider */
};

struct event {
        int64_t at;
        uint64_t number; /* order among those of one time */
        enum event_kind kind;
        uint64_t what;   /* of the kind's own */
};

struct sim {
        uint64_t seed;
        const struct options *options;
        struct random random;                  /* of the world: latencies, truths */
        struct random machine;                 /* what the engine draws: op ids, salts, jitter */
        struct random fault_random[N_FAULTS];
        uint32_t fault_rate[N_FAULTS];         /* in a million */
        uint32_t n_faults[N_FAULTS];           /* that happened or were skipped */
        int64_t now;                           /* true time, milliseconds */
        int64_t boot_at;                       /* when the machine started */
        int64_t wall_ahead;                    /* of the wall clock */
        int64_t quiet_at;                      /* no more faults from then on */
        bool quiet;
        bool dead;                             /* the engine was killed: nothing it does counts */
        bool failing;                          /* the store was made to fail in this engine's life */
        bool looking;                          /* the journal is read beside the engine */
        struct event *events;                  /* a heap */
        uint32_t n_events, cap_events;
        uint64_t next_event;
        struct config config;
        struct config_plugin config_plugin;
        struct plugins plugins;
        struct context context;
        struct engine_process *process;        /* NULL while no engine runs */
        uint32_t n_engines;
        struct disk *disks[N_DISKS];           /* the home store's first */
        bool rotten;                           /* a snapshot was */
        struct buf key;                        /* the site's key, as a file; empty: there is none */
        char *anchors[3];                      /* of the journal, at some moments */
        unsigned n_anchors;
        struct cloud *cloud;
        struct calls *calls;
        struct witness *witness;
        struct clients *clients;
        int64_t end_at;                        /* every run must have ended by then */
        uint64_t digest;                       /* of the history so far */
        uint64_t n_steps;                      /* inputs and outputs of the engine */
        char failure[64];                      /* name of the invariant that does not hold; "" */
        struct buf why;
};

extern struct sim *sim; /* the one that runs */

/* simulate.c */
struct result {
        uint64_t digest, steps;
        uint32_t n_tasks, n_runs, n_engines, n_faults[N_FAULTS];
        char failure[64]; /* "" if every invariant holds */
        char why[1024];
};
void simulate(uint64_t seed, const struct options *options, struct result *ret_result);

/* An invariant does not hold: the history ends here. */
void violated(const char *name, const char *format, ...) _printf_(2, 3);

/* Does that fault happen now? */
bool fault(enum fault kind);

void event_add(int64_t after_ms, enum event_kind kind, uint64_t what);

/* One line of the history: goes into its digest, and to stdout if it is printed. */
void history(const char *tag, uint64_t a, uint64_t b);
#define HISTORY(tag, a, b, ...)                                                                    \
        do {                                                                                       \
                history(tag, (uint64_t)(a), (uint64_t)(b));                                        \
                if (_unlikely_(sim->options->print))                                               \
                        history_print(tag, __VA_ARGS__);                                           \
        } while (0)
void history_print(const char *tag, const char *format, ...) _printf_(2, 3);

static inline int64_t sim_boot(void)
{
        return sim->now - sim->boot_at;
}

static inline int64_t sim_wall(void)
{
        return sim->now + sim->wall_ahead;
}

/* The time moves to the next event, at most to `until`, and the event happens. */
void world_step(int64_t until);

/* What services do while the engine waits for its disk. */
void world_goes_on(int64_t ms);

/* Kills the engine: from here on nothing it does reaches anything. */
void engine_kill(const char *where);

/* disk.c */
struct disk *disk_new(const char *name);
struct disk *disk_find(const char *name); /* or NULL */
bool disk_exists(const char *name);       /* there is such a store in the site */
bool disk_has(const struct disk *d, const char *stream);
struct disk *disk_free(struct disk *d);
void disk_crash(struct disk *d, bool power);
extern const struct prvng_store disk_store;

/* clients.c: who submits, commands and resolves */
struct clients *clients_new(void);
struct clients *clients_free(struct clients *c);
void clients_submit(uint32_t number);
void clients_command(uint32_t number);
void clients_operator(void);
void clients_answer(void *userdata, void *cookie, int status, const char *body, size_t n_body);
void clients_engine_gone(void);
bool clients_prunes(const char *run);   /* what its definition does not name any more */
bool clients_replaces(const char *run, const char *server);
int64_t clients_retention(void); /* days that the compaction under way was asked for; -1: none said */
void clients_started(void); /* an engine runs again: what was not answered is asked once more */
bool clients_done(void);    /* everything that was to be submitted is */

/* replan.c: the body of a submission, changed at random: for a replan of its run. */
bool replan_body(const struct buf *body, bool dry, struct buf *ret);

/* generate.c */
void generate_site(void); /* services and their limits */
uint32_t generate_runs(void); /* how many */
/* The body of a submission; kind says where to post it: "batch", "destroy", "check". */
const char *generate_workflow(struct buf *body, const char *id, uint32_t size);

/* fold.c */
/* Reads the journal back and compares it with what the engine has in memory. */
void fold_compare(const char *when);
/* Verifies all of the journal, and that it holds what former anchors say. */
void fold_audit(const char *when);

#endif
