/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exchanges of prvng.host.http/1 as files: written while they happen (for people who look for a fault, and
 * for tests), and played back in place of a network. docs/http-service.md describes the format.
 *
 *      http-blank.c   what may be seen of a request and of a reply
 *      http-tape.c    the file that is written
 *      http-replay.c  the file that answers
 */
#ifndef PRVNG_HOST_HTTP_TAPE_H
#define PRVNG_HOST_HTTP_TAPE_H

#include "host/http.h"

#define HTTP_TAPE_FORMAT 1
#define HTTP_BLANK "***"

/* Ids of ours (of operations, runs and sites: 26 letters and digits) differ at each run; in a recording
 * they are numbered: "${id_1}". */
struct http_ids {
        json_t *by_id;   /* id -> "id_1" */
        json_t *by_name; /* "id_1" -> id */
};

#define HTTP_ID 26

int http_ids_init(struct http_ids *i);
void http_ids_deinit(struct http_ids *i);
/* The name of that id, given to it if it has none; NULL: it is no id, or memory is short. */
const char *http_ids_name(struct http_ids *i, const char *id);
bool http_is_id(const char *text, size_t n); /* does the text begin with one? */

/* What must not be seen. `session` is locked meanwhile; both may be NULL. */
struct http_blank {
        struct prvng_http_session *session;
        const struct http_credentials *credentials;
        struct http_ids *ids;
        bool learn; /* ids that have no name get one */
};

/* New references, NULL if memory is short. */
json_t *http_blank_text(const struct http_blank *b, const char *text, size_t n);
json_t *http_blank_target(const struct http_blank *b, const char *target);
/* Lines "Name: value", as an object with names in small letters. */
json_t *http_blank_headers(const struct http_blank *b, const char *lines);
/* {"json": ...}, {"form": {...}}, {"text": "..."}, {"base64": "..."} or, of nothing, {}. `target` is the
 * request's. */
json_t *http_blank_body(const struct http_blank *b, const char *type, const char *target,
                        const void *body, size_t n);

/* What one send is about, as the tape sees it. */
struct http_event {
        struct op_call *call;
        struct prvng_http_session *session;
        const struct prvng_http_request *request;
        const struct http_credentials *credentials;
        struct http_reply *reply;
        int64_t ms;
};

/* {"method", "target", "body"}: what a request is recognised by. */
json_t *http_event_request(const struct http_event *e, struct http_ids *ids);

struct http_tape;

/* The tape of the host, by configuration or environment; *ret is NULL if there is none. -errno with a
 * sentence in `why`. [any] */
int http_tape_get(struct host *h, struct http_tape **ret, struct buf *why);

bool http_tape_plays(const struct http_tape *t);

/* Writes an exchange down: with a reply, or with the error record of the call. */
void http_tape_write(struct http_tape *t, const struct http_event *e, int32_t answer);

/* Answers from the recording, into e->reply, or fails as was recorded. PRVNG_DONE or the class of the
 * failure, with the call's error record set. */
int32_t http_tape_play(struct http_tape *t, struct http_event *e);

/* --- http-replay.c --- */

struct http_replay;

int http_replay_new(const char *path, struct http_replay **ret, struct buf *why);
/* Says in `left` what was recorded and not asked for, if anything. */
struct http_replay *http_replay_free(struct http_replay *r, struct buf *left);
int32_t http_replay_answer(struct http_replay *r, struct http_event *e);

#endif
