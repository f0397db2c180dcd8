/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small host for the tests of this plugin: the host table, spawn and workdir, with jobs that
 * outlive the process as the real ones do. Not for more than one thread.
 */
#ifndef PRVNG_LOCAL_TEST_HOST_H
#define PRVNG_LOCAL_TEST_HOST_H

#include <jansson.h>
#include <prvng/prvng.h>

struct prvng_sink {
        char *data;
        size_t n;
};

/* What the last call said besides its class. */
struct said {
        struct prvng_error error;
        char message[4096];
        char field[256];
        int64_t ask_ms;
        char progress[1024];
};
extern struct said said;

/* The jobs of this host run in that folder, its state in FOLDER/state, the cache in `cache`. */
const struct prvng_host *test_host(const char *folder, const char *cache);

void sink_clear(struct prvng_sink *s);
void call_init(struct prvng_call *call, const char *op_id);

/* Calls prepare, begin and poll until the end. `ret_request` may be NULL. */
int32_t drive(const struct prvng_op *op, void *instance, const char *verb, const char *op_id,
              const json_t *task, json_t **ret_result);

/* The single steps; the texts are to be freed. */
int32_t drive_prepare(const struct prvng_op *op, void *instance, const char *verb,
                      const json_t *task, char **ret_request);
int32_t drive_begin(const struct prvng_op *op, void *instance, const char *verb, const char *op_id,
                    const char *request, char **ret_token, json_t **ret_result);
int32_t drive_poll(const struct prvng_op *op, void *instance, const char *verb, const char *op_id,
                   const char *request, const char *token, json_t **ret_result);
int32_t drive_observe(const struct prvng_op *op, void *instance, const char *verb,
                      const char *op_id, const char *request, const char *token, char **ret_token,
                      json_t **ret_result);

#endif
