/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provider `upcloud`: servers, private networks and firewall rules by the API of UpCloud, 1.3.
 *
 * The API keeps no key of ours: a POST that is sent again makes a second server. So what is made
 * carries labels (site, workflow, name, op id) from the first moment, is looked for by the label of
 * the op id wherever a POST may have left before, and the plugin declares a settling time.
 *
 * Nothing here waits: what takes long is PENDING, with a token "1 " and a JSON object:
 *
 *      {"verb": "create", "id": UUID, "server": {...}}   what the reply to the POST said, without
 *                                                        its secrets, so that it need not be asked
 * again
 *
 * The state of all servers of a site comes from one listing that all operations share (watch.c).
 */
#ifndef PRVNG_UPCLOUD_H
#define PRVNG_UPCLOUD_H

#include <prvng/ext/inventory.h>
#include <prvng/ext/precheck.h>
#include <prvng/host/http.h>
#include <prvng/prvng.h>

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define N_ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))

#define UPCLOUD_FORMAT 1 /* of requests and tokens */
#define UPCLOUD_BASE "https://api.upcloud.com"
#define UPCLOUD_VERSION "/1.3"
#define UPCLOUD_RATE 10 /* requests a second, see kcl/dependencies.k */

#ifndef UPCLOUD_SETTLE_MS               /* tests against a fake need not wait as long */
#        define UPCLOUD_SETTLE_MS 10000 /* the last second is WATCH_OLD_MS */
#endif

/* Marks, as labels: of everything that is made here. Keys have 2 to 32 characters. */
#define MARK_SITE "prvng-site"
#define MARK_WORKFLOW "prvng-workflow"
#define MARK_NAME "prvng-name"
#define MARK_OP "prvng-op"
#define MARK_GROUPS "prvng-groups" /* of servers: their security groups, separated by spaces */
#define MARK_PREFIX "prvng-"

/* Of the site's configuration; all strings may be NULL. */
struct config {
        char *base_url;
        char *token_file;
        char *token; /* a reference, "secret://..." */
        char *zone;
        char *image;
        char *user;
        char *key; /* reference of the private key with which servers are reached */
        char *tier;
        bool utility;
        bool ipv6;
};

/* The listing that waiting operations share, see watch.c. */
struct watch {
        pthread_mutex_t lock;
        json_t *sites;    /* site -> {"servers": {uuid: {...}}, "started": ms} */
        json_t *touched;  /* uuid -> ms: what a listing begun before says of it is out of date */
        json_t *asking;   /* site -> true while somebody asks */
        int64_t pause_ms; /* between listings, while nothing changes */
        unsigned n_busy;  /* changes under way, or waiting for the rate limit */
        unsigned n_since; /* changes since the last listing */
};

struct upcloud {
        const struct prvng_host *host;
        const struct prvng_host_http *http;
        struct config config;

        pthread_mutex_t lock; /* session */
        struct prvng_http_session *session;
        pthread_mutex_t images_lock;
        json_t *images; /* templates as the API lists them */
        int64_t images_ms;

        struct watch watch;
};

/* What prepare made of a task. */
struct request {
        json_t *json;
        const char *kind;
        const char *name;
        const char *workflow;
        const char *site;
        const char *id; /* the provider's, "" if it is not known */
        const json_t *spec;
};

/* A reply of the API. */
struct reply {
        int32_t status;
        int64_t retry_after_ms;
        json_t *body; /* NULL if there is none, or none that is JSON */
};

#define REPLY_NULL ((struct reply){.retry_after_ms = -1})

/* The operations of one kind of resource; all get parsed requests. */
struct kind {
        const char *name;
        int32_t (*prepare)(struct upcloud *u, struct prvng_call *call, const char *verb,
                           const json_t *task, json_t *request);
        int32_t (*begin)(struct upcloud *u, struct prvng_call *call, const char *verb,
                         const struct request *q, struct prvng_sink *token,
                         struct prvng_sink *result);
        int32_t (*poll)(struct upcloud *u, struct prvng_call *call, const char *verb,
                        const struct request *q, json_t *token, struct prvng_sink *new_token,
                        struct prvng_sink *result);
        int32_t (*observe)(struct upcloud *u, struct prvng_call *call, const char *verb,
                           const struct request *q, json_t *token, struct prvng_sink *new_token,
                           struct prvng_sink *result);
        int32_t (*read)(struct upcloud *u, struct prvng_call *call, const struct request *q,
                        struct prvng_sink *result);
        /* Appends to the array of what carries these marks. NULL: nothing is kept at the API. */
        int32_t (*list)(struct upcloud *u, struct prvng_call *call, const json_t *filter,
                        json_t *resources);
};

extern const struct kind kind_server, kind_network, kind_security_group, kind_credential;

/* --- util.c --- */

static inline void cleanup_free(void *p)
{
        free(*(void **)p);
}

static inline void cleanup_json(json_t **j)
{
        json_decref(*j);
}

static inline bool streq(const char *a, const char *b)
{
        return strcmp(a, b) == 0;
}

/* Formats into new memory; NULL if there is none. */
char *up_format(const char *format, ...) _printf_(1, 2);

/* A member of an object, or the default if it is missing or of another type. up_number also reads
 * numbers that stand in strings, as this API likes to write them. */
const char *up_string(const json_t *object, const char *key, const char *otherwise);
int64_t up_number(const json_t *object, const char *key, int64_t otherwise);
bool up_yes(const json_t *object, const char *key, bool otherwise);
bool up_present(const json_t *object, const char *key);

/* object[a][b], the way in which this API wraps its lists; NULL if there is none. */
json_t *up_inner(const json_t *object, const char *a, const char *b);

/* Percent-encoded, for a value in a query. NULL: no memory. */
char *up_encode(const char *text);

/* "" -> false; a UUID of the API in small letters -> true. */
bool up_is_uuid(const char *text);

/* Writes a JSON object, in one line and with sorted keys, or a token of it. */
int32_t up_reply(struct upcloud *u, struct prvng_call *call, struct prvng_sink *sink,
                 const json_t *value);
int32_t up_token(struct upcloud *u, struct prvng_call *call, struct prvng_sink *sink,
                 const json_t *value);

/* Sets the error record and returns the class. */
int32_t up_fail(struct upcloud *u, struct prvng_call *call, int32_t class, uint32_t effect,
                const char *field, const char *format, ...) _printf_(6, 7);
int32_t up_fail_at(struct upcloud *u, struct prvng_call *call, int32_t class, uint32_t effect,
                   int32_t status, int64_t retry_after_ms, const char *field, const char *message);

/* PENDING with this token, asked again after so long. */
int32_t up_pending(struct upcloud *u, struct prvng_call *call, struct prvng_sink *sink,
                   const json_t *token, int64_t after_ms);

/* The labels of a server ({"label": [..]}) or network ([..]) as an object key -> value; a new
 * reference. */
json_t *up_labels(const json_t *resource);

/* As an array of {"key", "value"}: the marks of this request, and those of `own` (an object, may be
 * NULL). */
json_t *up_marks(const struct request *q, const char *op_id, const json_t *own);

/* --- config.c --- */
int32_t config_read(struct upcloud *u, const json_t *config);
void config_deinit(struct config *c);

/* The session with the API, made with the first call. NULL: the error record is set. */
struct prvng_http_session *config_session(struct upcloud *u, struct prvng_call *call);

/* --- api.c, errors.c --- */
static inline void cleanup_reply(struct reply *r)
{
        json_decref(r->body);
}

/* A request that changes something. `body` is taken over, may be NULL. DONE with any status; else
 * the host's class, and its error record stands. */
int32_t api_change(struct upcloud *u, struct prvng_call *call, const char *method,
                   const char *target, json_t *body, struct reply *ret);

/* A request that only looks: DONE with 200 or 404; else an error record with that effect is set. */
int32_t api_get(struct upcloud *u, struct prvng_call *call, const char *target, uint32_t effect,
                struct reply *ret);

/* The error of a reply as class and record. `what` says what was tried: "server web-0 cannot be
 * made". An effect of NONE becomes UNKNOWN where the reply does not say that nothing was done
 * (5xx). */
int32_t api_fail(struct upcloud *u, struct prvng_call *call, const struct reply *reply,
                 uint32_t effect, const char *what);

/* For api_fail() where a later poll may ask for the same again: UNKNOWN, if the reply says that it
 * may work later, which leaves the operation under way. */
uint32_t api_effect(const struct reply *reply, uint32_t otherwise);

/* The code of an error: "SERVER_STATE_ILLEGAL"; "" if there is none. Valid as long as the reply. */
const char *api_code(const struct reply *reply);

/* The class of a status and code, and whether nothing was done. [any] */
int32_t errors_class(int32_t status, const char *code, bool has_retry_after);

/* A conflict with a state that passes by itself. */
bool errors_is_state(const struct reply *reply);

/* --- watch.c --- */
void watch_init(struct watch *w);
void watch_deinit(struct watch *w);
void watch_busy(struct upcloud *u, int change);

/* What a listing begun before now says of this server does not count any more. */
void watch_touch(struct upcloud *u, const char *id);

#define WATCH_UNKNOWN 0 /* not listed since; ask again after *ret_after_ms */
#define WATCH_GONE 1
#define WATCH_THERE 2 /* *ret_server: a new reference to its entry in the list */

/* How does that server stand? Asks the API only if it is time to, and not if the state is `wanted`
 * already. Negative: the error record is set, with effect UNKNOWN. */
int32_t watch_server(struct upcloud *u, struct prvng_call *call, const char *site, const char *id,
                     const char *wanted, json_t **ret_server, int64_t *ret_after_ms);

/* How old a listing may be that says that nothing was made; part of the settling time. */
#define WATCH_OLD_MS 1000

/* Which servers of the site carry this op id? WATCH_THERE with a new array of their entries, empty
 * if there are none; WATCH_UNKNOWN: somebody is asking, ask again (the host was told when). After a
 * crash many want to know at once, and one listing answers them all. */
int32_t watch_made_by(struct upcloud *u, struct prvng_call *call, const char *site,
                      const char *op_id, json_t **ret_servers);

/* --- find.c --- */

/* All servers or networks that carry these marks, NULL members do not count: a new array. DONE, or
 * an error record with that effect is set. */
int32_t find_marked(struct upcloud *u, struct prvng_call *call, const char *kind, const char *site,
                    const char *workflow, const char *name, const char *op_id, uint32_t effect,
                    json_t **ret);

/* One by its id: DONE with a new reference, or NOT_FOUND without an error record, or an error. */
int32_t find_server(struct upcloud *u, struct prvng_call *call, const char *id, uint32_t effect,
                    json_t **ret);
int32_t find_network(struct upcloud *u, struct prvng_call *call, const char *id, uint32_t effect,
                     json_t **ret);

/* --- image.c --- */

/* The UUID of a template by its title (or a UUID), to be freed. DONE, or an error record is set. */
int32_t image_find(struct upcloud *u, struct prvng_call *call, const char *image, char **ret);
/* The templates of the account: a new reference. */
int32_t image_list(struct upcloud *u, struct prvng_call *call, json_t **ret);
/* The one that an image names, or NULL; *ret_n: how many it could mean. */
const json_t *image_match(const json_t *templates, const char *image, size_t *ret_n);

/* --- spec.c: from a task to a request --- */
int32_t server_prepare(struct upcloud *u, struct prvng_call *call, const char *verb,
                       const json_t *task, json_t *request);

/* --- body.c --- */

/* What is POSTed for this request. NULL: no memory. */
json_t *body_of_server(const struct request *q, const char *op_id, const char *image);
/* The user's labels and our marks, as servers have them: {"label": [..]}. */
json_t *body_labels(const struct request *q, const char *op_id);

/* --- result.c --- */

/* The outputs of a server; `server` is what the API says of it in full. */
json_t *result_of_server(const struct upcloud *u, const struct request *q, const json_t *server);
/* What a token keeps of a server: all that result_of_server() needs, and no secret. */
json_t *result_keep(const json_t *server);
const char *result_state(const char *state);
/* True if what is kept of it lacks nothing, e.g. addresses that come later. */
bool result_is_whole(const json_t *server);

/* --- diff.c --- */

/* How a server differs from its request: an array of {"attribute", "wanted", "found"}, "how":
 * "live" | "restart" | "replace". */
json_t *diff_server(const struct request *q, const json_t *server);

/* --- firewall.c --- */

/* Rules of the API for the groups that a server's inputs hold, checked by prepare: into
 * request["rules"], and the groups' names into ["groups"]. */
int32_t firewall_prepare(struct upcloud *u, struct prvng_call *call, const json_t *task,
                         json_t *request);
/* Sets them. DONE; PENDING: not yet (the server is under maintenance); or an error. */
int32_t firewall_set(struct upcloud *u, struct prvng_call *call, const char *id,
                     const json_t *rules, const char *name);
/* Whether they stand so. DONE and *ret_same, or an error. */
int32_t firewall_compare(struct upcloud *u, struct prvng_call *call, const char *id,
                         const json_t *rules, bool *ret_same);
/* Is that list of the API's rules just what groups with these rules make? */
bool firewall_says(const json_t *rules, const json_t *there);
/* "10.0.0.0/8" -> first and last address, 46 bytes each, and the family. False: not a CIDR. */
bool firewall_range(const char *cidr, char first[static 46], char last[static 46],
                    const char **ret_family);

/* --- group.c --- */

/* Tells the rules of a server's firewall as a security group of that name. */
int32_t group_find(struct upcloud *u, struct prvng_call *call, const json_t *server, const char *name,
                   struct prvng_sink *result);

/* --- change.c --- */

/* Makes it what the request says. `unchanged` is answered if nothing had to be done. NOT_FOUND
 * without an error record. */
int32_t change_go(struct upcloud *u, struct prvng_call *call, const struct request *q,
                  const char *id, const char *verb, int32_t unchanged, struct prvng_sink *token,
                  struct prvng_sink *result);
int32_t change_begin(struct upcloud *u, struct prvng_call *call, const struct request *q,
                     struct prvng_sink *token, struct prvng_sink *result);
int32_t change_poll(struct upcloud *u, struct prvng_call *call, const char *verb,
                    const struct request *q, const json_t *token, struct prvng_sink *new_token,
                    struct prvng_sink *result);
int32_t change_observe(struct upcloud *u, struct prvng_call *call, const struct request *q,
                       struct prvng_sink *result);

/* --- describe.c, precheck.c, inventory.c --- */
extern const char describe_text[];
extern const struct prvng_provider_precheck precheck;
extern const struct prvng_provider_inventory inventory;
int32_t precheck_self_test(void *instance, struct prvng_call *call, struct prvng_sink *report);

#endif
