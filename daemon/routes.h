/* SPDX-License-Identifier: Apache-2.0 */
/* Which paths there are, and the same for machines (openapi.json). */
#ifndef PRVNG_DAEMON_ROUTES_H
#define PRVNG_DAEMON_ROUTES_H

#include "base/buf.h"

enum route_type {
        ROUTE_ENGINE, /* the engine answers */
        ROUTE_EVENTS,
        ROUTE_LOGS,
        ROUTE_OPENAPI,
};

struct route {
        const char *method;
        const char *path; /* {name} stands for one segment */
        enum route_type type;
        const char *summary;
        const char *query; /* names of its query parameters, separated by spaces, or NULL */
        const char *body;  /* names of the members of its request body, or NULL */
};

/* The route of a path (decoded, without query). NULL and *ret_status 404 or 405; with 405 *ret_allow
 * is the method that is there. ret_segment gets what {name} stands for. */
const struct route *route_find(const char *method, const char *path, int *ret_status,
                               const char **ret_allow, char *ret_segment, size_t n_segment);

void route_openapi(struct buf *json);

#endif
