/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The helper program of an isolated plugin: opens it, and hands it a host table whose functions cross the
 * border. Inside of prvng-plugin-host*.c only.
 *
 * Descriptors at its start: 0 /dev/null, 1 and 2 pipes to the log, 3 control, 4 outside (isolate-wire.h).
 * The first thread reads control, and runs the plugin's entry, create() and destroy(); each channel has a
 * thread of its own.
 */
#ifndef PRVNG_PLUGIN_HOST_H
#define PRVNG_PLUGIN_HOST_H

#include "host/call.h"
#include "plugin/isolate-wire.h"

#include <jansson.h>
#include <pthread.h>

/* A channel, or `outside`. */
struct line {
        struct wire wire;
        pthread_mutex_t lock;   /* around writing, and a question with its answer */
        uint32_t number;
        bool outside;
        bool holds;             /* `held` is where the arguments of the call stand */
        struct buf held;
        struct buf later;       /* frames of calls that came while an answer was waited for */

        pthread_mutex_t cancel_lock;
        uint32_t serial;           /* of the call under way */
        uint32_t cancelled_serial; /* atomic: the last one that was cancelled */
        int cancel_fd;             /* -1: nobody asked for one */
        struct line *next;
};

/* struct prvng_call as the plugin sees it, with its channel behind it. */
struct local_call {
        struct prvng_call pub; /* first */
        struct line *line;
        uint32_t serial;
};

/* The builder of one load(): events that were not sent yet. */
struct prvng_document {
        struct line *line;
        struct wire events; /* only its `out` is used */
        char *file;         /* of the last event */
        int32_t status;     /* the builder's last word */
};

/* --- prvng-plugin-host.c --- */

extern const struct prvng_plugin *the_plugin;
extern void *the_instance;
extern const void *the_tables[16]; /* by wire_interfaces */
const struct prvng_op *the_op(void);

/* --- prvng-plugin-host-lines.c --- */

extern struct line outside_line;
extern bool lines_wipe; /* of what crosses nothing is left in memory: the plugin keeps secrets */

void line_open(int fd, uint32_t number); /* starts its thread */
void line_cancel(uint32_t number, uint32_t serial);

struct line *line_of(struct prvng_call *call); /* NULL: that of the call which this thread is in, or outside */

/* Writes a message without answer: fields between the two. */
struct wire *line_say(struct line *l, uint32_t type);
void line_said(struct line *l);

/* A question: fields are put into the wire between line_ask() and line_answer(), which waits; then the answer's
 * fields are read, and line_over() ends it. */
struct wire *line_ask(struct line *l, uint32_t question);
struct wire_message *line_answer(struct line *l, struct wire_message *m);
void line_over(struct line *l);

int32_t local_is_cancelled(struct prvng_call *call);
int32_t local_cancel_fd(struct prvng_call *call);

/* --- prvng-plugin-host-table.c --- */

void table_set(const char *core_version, uint32_t interfaces);
const struct prvng_host *table_get(void);

/* --- prvng-plugin-host-services.c --- */

extern const struct prvng_host_http service_http;
extern const struct prvng_host_remote service_remote;
extern const struct prvng_host_spawn service_spawn;
extern const struct prvng_host_workdir service_workdir;
extern const struct prvng_host_rate service_rate;

/* --- prvng-plugin-host-document.c --- */

extern const struct prvng_host_document service_document;
int32_t document_flush(struct prvng_document *d);

/* --- for all --- */

_Noreturn void helper_end(void); /* the core is gone, or memory is */

#endif
