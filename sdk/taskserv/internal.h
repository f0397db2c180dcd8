/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the taskserv helper among themselves. */
#ifndef PRVNG_SDK_TASKSERV_INTERNAL_H
#define PRVNG_SDK_TASKSERV_INTERNAL_H

#include "taskserv.h"
#include <prvng/host/remote.h>

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define N_ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))

static inline void cleanup_json(json_t **json)
{
        json_decref(*json);
}

static inline void cleanup_free(void *p)
{
        free(*(void **)p);
}

/* What plugin->create makes. */
struct instance {
        const struct taskserv *taskserv;
        const struct prvng_host *host;
        struct prvng_host_remote remote; /* a private copy, zero-extended */
        json_t *dependencies;
        const char *health_command; /* NULL: none; points into dependencies */
        int64_t health_timeout_s;
        int64_t health_retries;
        json_t *sources; /* the site's sources (proxies), or NULL */
};

/* A request, parsed; pointers go into json. */
struct request {
        json_t *json;
        char *server; /* the server's result as the host wants it, JSON */
        const char *server_name;
        json_t *parameters;
};

/* What a script said in lines that begin with "::", and the end of the rest. */
struct said {
        bool unchanged;
        bool absent;
        bool present;
        char *transient; /* NULL: nothing said */
        char *error;
        char *step;      /* text of the last progress */
        uint32_t permille;
        json_t *result;  /* object, never NULL after said_parse */
        json_t *drift;   /* array, never NULL after said_parse */
        char *tail;      /* last lines of other output, may be "" */
};

/* Passes an error to the host and returns `answer`. */
int32_t failure(const struct instance *i, struct prvng_call *call, int32_t answer, uint32_t effect,
                const char *field, const char *format, ...)
        __attribute__((format(printf, 6, 7)));
int32_t out_of_memory(const struct instance *i, struct prvng_call *call);

/* Writes a JSON value (compact, sorted keys: equal values give equal bytes) into a sink. DONE or
 * INTERNAL. */
int32_t reply_json(const struct instance *i, struct prvng_call *call, struct prvng_sink *sink,
                   const json_t *value);

/* request.c: a task becomes a request, a request a script. DONE or a failure that is said. */
int32_t request_make(const struct instance *i, struct prvng_call *call, const char *verb,
                     const void *task, uint64_t n_task, json_t **ret_request);
int32_t request_parse(const struct instance *i, struct prvng_call *call, const void *data,
                      uint64_t n_data, struct request *ret_request);
void request_deinit(struct request *r);

/* prelude + parameters + script. Caller frees; NULL: out of memory. */
char *script_make(const struct instance *i, const struct request *r, const char *script);

/* JSON Schema of the spec, new reference. */
json_t *spec_schema(const struct taskserv *t);

/* operation.c */
extern const struct prvng_op taskserv_op;

/* said.c */
int said_parse(const char *output, size_t n_output, struct said *ret_said); /* 0 or -1: no memory */
void said_deinit(struct said *s);

#endif
