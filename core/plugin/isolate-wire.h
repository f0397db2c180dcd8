/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What core and helper of an isolated plugin say to each other: frames on stream sockets, each
 *
 *      u32 size of the rest behind the type, u32 type, fields
 *
 * Fields are little-endian integers, and bytes or text as u32 length (WIRE_NONE: a NULL pointer) and the
 * bytes, with a NUL behind them that is not counted. Both sides are of one build: the version in WIRE_OPEN
 * is that of the package, and another one is refused.
 *
 * Three kinds of sockets. `control`: from the helper's start; OPEN, CREATE, CHANNEL (with a descriptor),
 * CANCEL and DESTROY go in, OPENED, REFUSED, CREATED and DESTROYED come out. `outside`: host functions that
 * the plugin calls outside of calls. Channels, made as needed: CALL goes in; then LOG, ERROR, PROGRESS,
 * ASK_AGAIN and BACK_OFF, which have no answer and ride with the next message that does, ASK, each answered
 * by ANSWER, and at last REPLY come out. One call has a channel for itself.
 */
#ifndef PRVNG_PLUGIN_ISOLATE_WIRE_H
#define PRVNG_PLUGIN_ISOLATE_WIRE_H

#include "base/buf.h"
#include <prvng/prvng.h>

#include <endian.h>

enum wire_type {
        /* control, to the helper */
        WIRE_OPEN = 1, /* version, path, name, core_version, sandbox (JSON text or NULL), u32 host interfaces */
        WIRE_CREATE,   /* config */
        WIRE_CHANNEL,  /* u32 number; with one descriptor */
        WIRE_CANCEL,   /* u32 channel, u32 serial */
        WIRE_DESTROY,
        /* control, from the helper */
        WIRE_CONFINED, /* text: what the sandbox lacks */
        WIRE_OPENED,   /* the descriptor: see wire_put_descriptor */
        WIRE_REFUSED,  /* text: one sentence */
        WIRE_CREATED,  /* i32 class; with DONE: u32 number of interfaces, then for each of wire_interfaces */
        WIRE_DESTROYED,
        /* channels */
        WIRE_CALL = 32, /* see struct wire_call */
        WIRE_ANSWER,    /* by question */
        WIRE_REPLY,     /* u32 serial, i32 answer, token sink, result sink: i32 error, bytes */
        WIRE_ASK,       /* u32 question, its arguments */
        WIRE_LOG,       /* i32 level, topic, message */
        WIRE_ERROR,     /* i32 class, i32 code, i64 retry_after, u32 effect, i32 status, message, field */
        WIRE_PROGRESS,  /* u32 permille, message */
        WIRE_ASK_AGAIN, /* i64 */
        WIRE_BACK_OFF,  /* account, i64 */
};

/* What a CALL asks of the plugin. */
enum wire_function {
        WIRE_PREPARE,
        WIRE_BEGIN,
        WIRE_POLL,
        WIRE_CANCEL_OP,
        WIRE_OBSERVE,
        WIRE_READ,
        WIRE_LIST,
        WIRE_DESCRIBE,
        WIRE_SELF_TEST,
        WIRE_PRECHECK,
        WIRE_FIND,
        WIRE_LOAD,
        WIRE_EVALUATE,
        WIRE_CHECK,
        WIRE_RENDER,
        WIRE_SECRET_RESOLVE,
        WIRE_SECRET_CHECK,
        WIRE_SECRET_LIST,
        WIRE_N_FUNCTIONS
};
extern const char *const wire_functions[WIRE_N_FUNCTIONS];

/* What an ASK asks of the core. */
enum wire_question {
        WIRE_HTTP_SESSION_NEW, /* options -> i32 class, u32 session */
        WIRE_HTTP_SESSION_FREE,
        WIRE_HTTP_SECRET_SET,
        WIRE_HTTP_SEND,
        WIRE_REMOTE_RUN,
        WIRE_REMOTE_JOB_START,
        WIRE_REMOTE_JOB_STATUS,
        WIRE_REMOTE_JOB_END,
        WIRE_REMOTE_JOB_FORGET,
        WIRE_REMOTE_PUT_FILE,
        WIRE_SPAWN_RUN,
        WIRE_SPAWN_JOB_START,
        WIRE_SPAWN_JOB_STATUS,
        WIRE_SPAWN_JOB_END,
        WIRE_SPAWN_JOB_FORGET,
        WIRE_WORKDIR_STATE,
        WIRE_WORKDIR_CACHE,
        WIRE_WORKDIR_TASK,
        WIRE_RATE_ACQUIRE,
        WIRE_DOCUMENT, /* events, see enum wire_event -> i32 class */
        WIRE_N_QUESTIONS
};

/* Events of a loader, many in one WIRE_DOCUMENT: u8 event, u32 line, u32 column, u8 file (0: none, 1: that
 * of the event before, 2: text follows), value. */
enum wire_event {
        WIRE_MAP_BEGIN,
        WIRE_LIST_BEGIN,
        WIRE_END,
        WIRE_KEY,     /* bytes */
        WIRE_STRING,  /* bytes */
        WIRE_INTEGER, /* i64 */
        WIRE_REAL,    /* u64: the bits of a double */
        WIRE_BOOLEAN, /* i32 */
        WIRE_NULL,
        WIRE_PROBLEM, /* message, snippet */
        WIRE_N_EVENTS
};

/* Host interfaces that can cross, by their bit in OPEN. */
enum wire_host { WIRE_HOST_HTTP, WIRE_HOST_REMOTE, WIRE_HOST_SPAWN, WIRE_HOST_WORKDIR, WIRE_HOST_RATE,
                 WIRE_HOST_DOCUMENT, WIRE_N_HOSTS };
extern const char *const wire_hosts[WIRE_N_HOSTS];

#define WIRE_NONE     UINT32_MAX
#define WIRE_HEAD     8u
#define WIRE_IN_MAX   (UINT32_C(80) << 20) /* a frame from the helper: a request's body and what is around it */
#define WIRE_OUT_MAX  (UINT32_C(1) << 30)  /* a frame to the helper */
#define WIRE_SINK_MAX (UINT64_C(256) << 20) /* what a host service may write into a sink of the helper's */
#define WIRE_LIST_MAX 4096u                /* strings in a list */
#define WIRE_BATCH    65536u               /* bytes of messages without answer that are kept back */

/* One end of a socket. */
struct wire {
        int fd;
        uint32_t max;     /* of a frame that comes in */
        struct buf out;   /* whole frames that were not sent yet */
        size_t open;      /* where the frame begins that is being written */
        struct buf in;
        size_t at;        /* the next frame in `in` */
        int passed[8];    /* descriptors that came with frames */
        unsigned int n_passed;
};

#define WIRE_INIT(fd_, max_) ((struct wire){.fd = (fd_), .max = (max_)})

void wire_deinit(struct wire *w); /* closes */

/* --- writing; running out of memory is kept in w->out --- */

void wire_begin(struct wire *w, uint32_t type);
void wire_end(struct wire *w);
void wire_put_u32(struct wire *w, uint32_t v);
void wire_put_i32(struct wire *w, int32_t v);
void wire_put_u64(struct wire *w, uint64_t v);
void wire_put_i64(struct wire *w, int64_t v);
void wire_put_bytes(struct wire *w, const void *data, uint64_t n);
void wire_put_text(struct wire *w, const char *text);
void wire_put_list(struct wire *w, const char *const *list); /* ends with NULL; may be NULL */

/* Sends what was written. 0; -EAGAIN if the socket's timeout comes first (call again); -EPIPE and others: it
 * is over; -ENOMEM; -EMSGSIZE: a frame was larger than can be said. */
int wire_flush(struct wire *w);
/* The same, with a descriptor beside the first byte. */
int wire_flush_with(struct wire *w, int fd);

/* --- reading --- */

/* A frame's fields; the first that is not there makes `bad`, and all that follow are zero. Valid until the next
 * wire_next(). */
struct wire_message {
        uint32_t type;
        const uint8_t *at, *end;
        bool bad;
};

enum {
        WIRE_E_LATER = 1, /* the socket's timeout, or nothing there with WIRE_NOW */
        WIRE_E_CLOSED,    /* by the other side */
        WIRE_E_RUBBISH,   /* larger than `max` */
};

/* The next frame: 0, WIRE_E_*, or -errno. */
int wire_next(struct wire *w, struct wire_message *ret_message);
/* Only what was read already: 0 or WIRE_E_LATER, WIRE_E_RUBBISH. */
int wire_peek(struct wire *w, struct wire_message *ret_message);
/* Only what can be read without waiting. */
int wire_next_now(struct wire *w, struct wire_message *ret_message);
/* What was read and taken is overwritten: for what may hold secrets. Buffers that wipe do so before they go. */
void wire_forget(struct wire *w);
int wire_take_fd(struct wire *w); /* the first descriptor that came, now the caller's; -1 */

uint8_t wire_get_u8(struct wire_message *m);
uint32_t wire_get_u32(struct wire_message *m);
int32_t wire_get_i32(struct wire_message *m);
uint64_t wire_get_u64(struct wire_message *m);
int64_t wire_get_i64(struct wire_message *m);
const void *wire_get_bytes(struct wire_message *m, uint64_t *ret_n); /* NULL: was NULL, or bad */
const char *wire_get_text(struct wire_message *m);                  /* ends with NUL, holds none */
/* Ends with NULL, caller frees (not the strings); NULL: was NULL, or bad. */
const char **wire_get_list(struct wire_message *m);
/* True if all was there and nothing is left. */
bool wire_done(const struct wire_message *m);

/* --- tables --- */

/* An interface that a plugin may offer: its functions by their places. */
struct wire_interface {
        const char *id;
        size_t size, baseline;
        const size_t *members; /* offsets of function pointers */
        size_t n_members;
        bool has_extensions; /* struct prvng_loader */
};
extern const struct wire_interface wire_interfaces[];
extern const size_t wire_n_interfaces;

/* Functions of the descriptor that the plugin has. */
enum { WIRE_HAS_CREATE = 1, WIRE_HAS_DESTROY = 2, WIRE_HAS_GET_INTERFACE = 4, WIRE_HAS_SELF_TEST = 8 };

static inline void cleanup_wire(struct wire *w)
{
        wire_deinit(w);
}

#endif
