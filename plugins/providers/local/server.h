/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One server as its folder shows it at a moment.
 */
#ifndef PRVNG_LOCAL_SERVER_H
#define PRVNG_LOCAL_SERVER_H

#include "local.h"

struct server {
        char *folder;
        json_t *made, *wanted, *state; /* NULL: that file is not there */
        bool alive;     /* its first process runs */
        bool monitored; /* a monitor owns it */
};

int server_load(const struct local *l, const char *name, struct server *ret);
void server_done(struct server *s);

static inline void cleanup_server(struct server *s)
{
        server_done(s);
}

#endif
