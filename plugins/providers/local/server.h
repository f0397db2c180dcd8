/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One server as its folder shows it at a moment.
 */
#ifndef PRVNG_LOCAL_SERVER_H
#define PRVNG_LOCAL_SERVER_H

#include "local.h"

#define ASK_MS 40 /* while a server starts or stops */

struct server {
        char *folder;
        json_t *made, *wanted, *state; /* NULL: that file is not there */
        bool alive;                    /* its first process runs */
        bool monitored;                /* a monitor owns it */
};

/* What server.c and look.c share; each says what it does where it stands. */
const char *server_case_of(const struct server *s);
bool server_leaves(const struct server *s);
bool server_is_owned(const struct server *s, const struct request *q);
bool server_made_by(const struct server *s, const char *op_id);
int32_t server_owned_by_other(struct local *l, struct prvng_call *call, const struct server *s,
                              const struct request *q);
json_t *server_make_result(const struct local *l, const struct server *s, const char *name);
int32_t server_reply(struct local *l, struct prvng_call *call, const struct server *s,
                     const char *name, struct prvng_sink *result, int32_t class);
char *server_monitor_job(const struct server *s);
bool server_is_fulfilled(const struct server *s, const char *op_id);
bool server_has_failed(const struct server *s, const char *op_id);
int32_t server_with_token(struct local *l, struct prvng_call *call, int32_t class,
                          struct prvng_sink *token, const char *verb, const char *job);
const char *server_wanted_state(const json_t *spec);
bool server_differs(const json_t *a, const json_t *b, const char *key);
int32_t server_after_removal(struct local *l, struct prvng_call *call, const char *job,
                             struct prvng_sink *result);

int server_load(const struct local *l, const char *name, struct server *ret);
void server_done(struct server *s);

static inline void cleanup_server(struct server *s)
{
        server_done(s);
}

#endif
