/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provider plugin itself: what its files share. It forks nothing and keeps nothing in memory
 * that a later process would miss; all it knows lies in the folder that common.h describes.
 */
#ifndef PRVNG_LOCAL_LOCAL_H
#define PRVNG_LOCAL_LOCAL_H

#include "common.h"
#include <prvng/prvng.h>
#include <pthread.h>

struct local {
        const struct prvng_host *host;
        const struct prvng_host_spawn *spawn;
        const struct prvng_host_workdir *workdir;
        char *libexec;                             /* folder of the helper programs */
        char *apt_mirror;                          /* or NULL: the machine's own package sources */
        char *http_proxy, *https_proxy, *no_proxy; /* or NULL */
        uint32_t subnet;                           /* 0: choose one */
        bool chroot; /* the driver without isolation, by explicit choice only */
        pthread_mutex_t lock;
        json_t *probe; /* what the machine can do; NULL until asked. Under lock */
};

/* A request as prepare() made it. */
struct request {
        json_t *json;
        const char *name, *workflow, *site; /* borrowed from json */
        const json_t *spec, *identity;
};

/* Says why the call fails and returns the class. `field` may be NULL. */
int32_t local_fail(struct local *l, struct prvng_call *call, int32_t class, uint32_t effect,
                   const char *field, const char *format, ...) _printf_(6, 7);

/* JSON into a sink; DONE or INTERNAL. */
int32_t local_reply(struct local *l, struct prvng_call *call, struct prvng_sink *sink,
                    const json_t *value);

/* The folder of the site, or NULL. */
const char *local_state(const struct local *l);

/* A program of ours, to be freed. */
char *local_program(const struct local *l, const char *name);

/* image.c: the base image. DONE with the folder of its root and what it is ("bookworm"), to be
 * freed; PENDING while it is built; or a failure. */
int32_t image_ready(struct local *l, struct prvng_call *call, const char *wanted, char **ret_root,
                    char **ret_name);

/* The image of this name is the one that servers of this machine get. */
bool image_matches(const char *wanted, const char *codename, const char *id, const char *version);

/* network.c is a helper's; this is the plugin's part: SITE has a subnet afterwards. Call with the
 * site locked. */
int32_t subnet_choose(struct local *l, struct prvng_call *call, struct site *ret_site);

/* probe: DONE if servers can be made here, else a failure that names what is missing and the cure.
 */
int32_t probe_check(struct local *l, struct prvng_call *call);
int32_t probe_run(struct local *l, struct prvng_call *call, json_t **ret_report);

/* server.c */
int32_t server_prepare(struct local *l, struct prvng_call *call, const char *verb,
                       const json_t *task, struct prvng_sink *request);
int32_t server_create(struct local *l, struct prvng_call *call, const struct request *q, bool first,
                      struct prvng_sink *token, struct prvng_sink *result);
int32_t server_update(struct local *l, struct prvng_call *call, const struct request *q, bool first,
                      struct prvng_sink *token, struct prvng_sink *result);
int32_t server_delete(struct local *l, struct prvng_call *call, const struct request *q,
                      const char *job, struct prvng_sink *token, struct prvng_sink *result);
int32_t server_check(struct local *l, struct prvng_call *call, const struct request *q,
                     struct prvng_sink *result);
int32_t server_observe(struct local *l, struct prvng_call *call, const struct request *q,
                       const char *verb, const char *job, struct prvng_sink *token,
                       struct prvng_sink *result);
int32_t server_read(struct local *l, struct prvng_call *call, const json_t *task,
                    struct prvng_sink *result);
int32_t server_list(struct local *l, struct prvng_call *call, const json_t *filter,
                    struct prvng_sink *result);
int32_t server_cancel(struct local *l, struct prvng_call *call, const struct request *q,
                      const char *verb, struct prvng_sink *result);

#endif
