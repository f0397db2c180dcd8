/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP API of docs/http-api.md on a unix socket: one thread of its own, libwebsockets' event loop.
 * It holds no truth: every question goes to the engine by engine_process_post and is answered when the
 * engine answers.
 */
#ifndef PRVNG_DAEMON_HTTP_H
#define PRVNG_DAEMON_HTTP_H

#include "run/engine-process.h"

struct http;

int http_new(const struct config *config, struct http **ret_http);

/* The hooks to make the engine process with. Valid until http_free. */
void http_hooks(struct http *h, struct engine_process_hooks *ret_hooks);

/* Binds the socket (replacing a stale file: the caller holds the store's lock) and starts the thread.
 * *ret_message (caller frees) says why not. */
int http_start(struct http *h, struct engine_process *process, char **ret_message);

/* Ends the thread and closes all connections. The engine's loop must not run any more. */
struct http *http_free(struct http *h);

#endif
