/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Talking to the site's engine: HTTP over its unix socket. Starts one (prvngd --on-demand) where none
 * runs, if the command may.
 */
#ifndef PRVNG_CLI_CLIENT_H
#define PRVNG_CLI_CLIENT_H

#include "cli.h"
#include "config/config.h"

#include <curl/curl.h>

struct client {
        const struct cli *cli;
        const struct config *config;
        bool may_start;
        int folder; /* of the socket: its path may be longer than a socket's may be */
        char path[64];
        CURL *curl;
        char error[CURL_ERROR_SIZE];
};

int client_init(struct client *c, const struct cli *cli, const struct config *config);
void client_deinit(struct client *c);

/* An engine answers, started now if need be. 0, or an exit code after a complaint. */
int client_ensure(struct client *c);

/* Does one answer now? */
bool client_answers(struct client *c);

/* One request. `body` NULL: GET, else POST. 0 and the HTTP status, or an exit code after a complaint.
 * An engine that went away while it was asked is started again and asked again: what is posted here
 * carries an id and may be repeated. */
int client_request(struct client *c, const char *path, const void *body, size_t n_body,
                   long *ret_status, struct buf *answer);

/* The message of an error answer. */
const char *client_message(const json_t *answer);

/* For streams: a handle that is set up for the path; the caller sets its callbacks and cleans it up. */
CURL *client_stream(struct client *c, const char *path);

/* Appends text for use in a path or query. */
void put_escaped(struct buf *b, const char *text);

static inline void cleanup_client(struct client *c)
{
        client_deinit(c);
}

#endif
