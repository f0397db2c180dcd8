/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provider `aws`: what its files share.
 *
 * How an operation goes, whatever its kind and verb: begin does no I/O. It answers PENDING with a token,
 * "1 {JSON}", whose "step" says where the operation stands; every change at AWS leaves from poll, and what
 * it depends on (the image that a name stood for, the number of the client token, the id of what was made)
 * is in a token that is journaled before. So a poll after a crash sends the same bytes as the one before
 * it, and an intent without a token has changed nothing: that is why the plugin needs no settling time of
 * the core's. Where the API takes no client token (VPC, internet gateway), the plugin looks for what
 * carries the op id, for settle_ms after a request may have left, before it sends another (once.c).
 */
#ifndef PRVNG_AWS_AWS_H
#define PRVNG_AWS_AWS_H

#include "query.h"
#include "xml.h"

#include <errno.h>
#include <jansson.h>
#include <prvng/ext/inventory.h>
#include <prvng/ext/precheck.h>
#include <prvng/host/http.h>
#include <prvng/prvng.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define _cleanup_(f)       __attribute__((cleanup(f)))
#define _printf_(a, b)     __attribute__((format(printf, a, b)))
#define N_ELEMENTS(a)      (sizeof(a) / sizeof((a)[0]))
#define AWS_FORMAT         1 /* of requests and tokens */
#define AWS_NAME_MAX       63 /* bytes of a server's name: it is a host name too */
#define EC2_VERSION        "2016-11-15"
#define IAM_VERSION        "2010-05-08"
#define STS_VERSION        "2011-06-15"

enum aws_service { AWS_EC2, AWS_IAM, AWS_STS, AWS_N_SERVICES };

/* Keys and the sessions that sign with them; replaced as a whole, freed by the last who uses it. */
struct access {
        unsigned refs;
        struct prvng_http_session *session[AWS_N_SERVICES];
        char key_id[128];
        int64_t until_ms; /* wall clock; 0: no end */
        int64_t file_ms;  /* when the files that it comes from were changed; 0: from no file */
        bool in_file;     /* from the profile's own lines of the credentials file: may be rotated */
};

struct aws {
        const struct prvng_host *host;
        const struct prvng_host_http *http;
        char *region, *profile;         /* never NULL; region "": none is configured */
        char *credentials_file, *config_file; /* paths; may not exist */
        char *endpoint[AWS_N_SERVICES]; /* NULL: AWS's own */
        char *metadata;                 /* address of the instance metadata service; NULL: not to be asked */
        int64_t settle_ms;              /* how long what was made may stay unseen */
        int64_t poll_ms;                /* between two looks at what is changing */
        char nonce[17];                 /* of this instance */
        pthread_mutex_t lock;           /* over all that follows */
        struct access *access;          /* NULL: not looked up yet */
        json_t *sent;                   /* op ids and steps of requests that this instance has sent */
        json_t *images;                 /* what names stood for, looked up within the last minutes */
        json_t *keys;                   /* names of key pairs that are there */
};

/* Why a request failed. */
struct fault {
        int32_t error_class;
        bool unknown; /* it may have had an effect */
        int32_t status;
        int64_t retry_after_ms;
        char code[80];     /* of AWS; "" if there was no reply that says one */
        char message[700];
};

/* A reply. xml is NULL after a failure. */
struct reply {
        struct xml *xml;
        struct fault fault;
};

/* One call of the core for one operation. */
struct op {
        struct aws *a;
        struct prvng_call *call;
        const char *verb, *kind, *name, *workflow, *site; /* borrowed from request */
        json_t *request;
        json_t *token; /* an object; NULL: none yet */
        struct prvng_sink *token_sink, *result_sink;
        bool observing; /* PENDING is to be said as OBSERVED_IN_PROGRESS */
};

/* util.c */
bool streq(const char *a, const char *b);
void cleanup_free(void *p);
void cleanup_close(int *fd);
void cleanup_json(json_t **j);
void cleanup_query(struct query *q);
void cleanup_reply(struct reply *r);
char *aws_format(const char *format, ...) _printf_(1, 2);
const char *aws_string(const json_t *object, const char *key, const char *otherwise);
int64_t aws_integer(const json_t *object, const char *key, int64_t otherwise);
bool aws_present(const json_t *object, const char *key); /* there, and not null */
int64_t aws_now_ms(void); /* wall clock */
void aws_wipe(void *p, size_t n);
char *aws_base64(const char *text);
bool aws_digest(const char *text, char ret_hex[33]); /* for names: the first half of SHA-256 */
int64_t aws_parse_time(const char *text); /* "2026-11-22T10:00:00Z" -> ms since 1970; 0: it is none */

/* Says why a call fails and returns the class. `field` may be NULL. */
int32_t aws_fail(struct aws *a, struct prvng_call *call, int32_t error_class, uint32_t effect,
                 const char *field, const char *format, ...) _printf_(6, 7);
int32_t aws_reply(struct aws *a, struct prvng_call *call, struct prvng_sink *sink, const json_t *value);

/* config.c: DONE, or PERMANENT after a line in the log. aws_unconfigure frees what it made. */
int32_t aws_configure(struct aws *a, const json_t *config);
void aws_unconfigure(struct aws *a);

/* access.c: the sessions to work with; to be given back by access_put. Fails by the class of
 * ret_fault. access_drop: they were refused; they are looked up anew. */
int32_t access_get(struct aws *a, struct prvng_call *call, struct access **ret, struct fault *ret_fault);
void access_put(struct aws *a, struct access *access);
void access_drop(struct aws *a, struct access *access);
/* Sessions that sign with these; `region` is the plugin's. NULL: memory, or no session can be made. */
struct access *access_new(struct aws *a, const char *key_id, const char *secret, const char *token);

/* credentials.c: who we are, from environment, files, a role or the instance metadata service. */
struct credentials {
        char *key_id, *secret, *token; /* token may be NULL */
        int64_t until_ms;
        bool in_file;
};
void credentials_deinit(struct credentials *c);
int32_t credentials_find(struct aws *a, struct prvng_call *call, struct credentials *ret,
                         struct fault *ret_fault);
int64_t credentials_file_ms(const struct aws *a);
int32_t metadata_credentials(struct aws *a, struct prvng_call *call, struct credentials *ret,
                             struct fault *ret_fault);

/* errors.c: fills class and unknown from code and status. */
void fault_classify(struct fault *f);

/* client.c: sends a request. DONE with the reply, or its class with reply.fault; no error record is made.
 * NULL access: that of the instance. */
int32_t aws_ask(struct aws *a, struct prvng_call *call, enum aws_service service, const struct query *q,
                struct reply *ret);
int32_t aws_ask_with(struct aws *a, struct prvng_call *call, struct access *access,
                     enum aws_service service, const struct query *q, struct reply *ret);
const struct xml_node *reply_root(const struct reply *r);
/* Makes the error record of a fault. `what` is what was tried: "AWS did not start server web-0". */
int32_t aws_report(struct aws *a, struct prvng_call *call, const struct fault *f, uint32_t effect,
                   const char *format, ...) _printf_(5, 6);
/* Follows NextToken: calls `each` with the root of every page. DONE or the class, as aws_ask. */
int32_t aws_pages(struct aws *a, struct prvng_call *call, const struct query *q, struct fault *ret_fault,
                  void (*each)(const struct xml_node *root, void *user), void *user);

/* op.c: what all kinds share. */
int32_t op_pending(struct op *o, const char *step, int64_t ask_ms); /* the token with this step */
bool op_step(const struct op *o, const char *step);
int32_t op_done(struct op *o, int32_t answer, json_t *result); /* takes over the result */
/* A fault in a poll, where the operation goes on if it can: what passes is TRANSIENT or RATE_LIMITED with
 * UNKNOWN (asked again), all else ends it with this effect. */
int32_t op_fault(struct op *o, const struct fault *f, uint32_t effect, const char *what);
int32_t op_fail(struct op *o, int32_t error_class, uint32_t effect, const char *format, ...)
        _printf_(4, 5);
const char *op_identity(const struct op *o, const char *key); /* of the request's identity, or "" */
/* Is the token older than settle_ms? What was not seen by then is not there. */
bool op_settled(const struct op *o);

/* once.c: requests without a client token. True: it has certainly not left yet, and counts as sent now.
 * once_mark: enters the step in the token, to be journaled before. */
void once_mark(struct op *o, const char *what);
bool once_may_send(struct op *o, const char *what);
bool once_is_marked(const struct op *o, const char *what);
void once_forget(struct op *o);

/* tags.c: marks. */
#define TAG_SITE     "prvng:site"
#define TAG_WORKFLOW "prvng:workflow"
#define TAG_NAME     "prvng:name"
#define TAG_OP       "prvng:op"
bool tag_is_ours(const char *key); /* one of the four, or Name */
/* TagSpecification.I for a type of resource: labels (may be NULL), Name and our marks. */
void tags_add(struct query *q, size_t i, const char *type, const struct op *o, const json_t *labels);
size_t tags_filter(struct query *q, size_t i, const struct op *o); /* site, workflow, name; next i */
const char *tag_of(const struct xml_node *thing, const char *key); /* in its tagSet; "" */
json_t *tags_labels(const struct xml_node *thing); /* what is not ours */

/* types.c: sizes. */
struct instance_type {
        const char *name;
        double cpu;
        int64_t memory; /* MiB */
};
const struct instance_type *type_by_name(const char *name); /* NULL: not in the table */
const struct instance_type *type_for(double cpu, int64_t memory); /* the smallest that holds it, or NULL */
const struct instance_type *type_largest(void);

/* prepare.c, network.c, group.c: requests. `out` has format, kind, name, workflow, site already. */
int32_t server_prepare(struct aws *a, struct prvng_call *call, const char *verb, const json_t *task,
                       json_t *out);
int32_t network_prepare(struct aws *a, struct prvng_call *call, const char *verb, const json_t *task,
                        json_t *out);
int32_t group_prepare(struct aws *a, struct prvng_call *call, const char *verb, const json_t *task,
                      json_t *out);
int32_t rotate_prepare(struct aws *a, struct prvng_call *call, const char *verb, const json_t *task,
                       json_t *out);
int32_t bad_field(struct aws *a, struct prvng_call *call, const char *field, const json_t *value,
                  const char *accepted);

/* image.c: DONE with {"id", "root", "name"}, or a class with ret_fault. */
int32_t image_find(struct aws *a, struct prvng_call *call, const json_t *wanted, json_t **ret,
                   struct fault *ret_fault);
json_t *image_wanted(const char *image, const json_t *owners); /* what to look for; pure */
const char *image_user(const char *name); /* who may log in */

/* key.c: the key pair of a request is there afterwards; removes it when no instance uses it. */
int32_t key_import(struct op *o, struct fault *ret_fault);
void key_lost(struct op *o);
int32_t key_remove(struct op *o, const char *name, struct fault *ret_fault);
json_t *key_of(const char *site, const char *public_key); /* {"name", "public"} */

/* server*.c */
typedef int32_t poll_function(struct op *o);
poll_function server_create_poll, server_update_poll, server_delete_poll, server_check;
int32_t server_cancel(struct op *o);
int32_t server_read(struct op *o);
json_t *server_result(struct op *o, const struct xml_node *instance);
bool server_lives(const struct xml_node *instance); /* neither terminated nor about to be */
const char *server_state(const struct xml_node *instance); /* the word of EC2 */
/* The instance of that id; DONE with *ret NULL: there is none (or none is seen yet). */
int32_t server_describe(struct op *o, const char *id, struct reply *reply, const struct xml_node **ret);
json_t *server_drift(struct op *o, const struct xml_node *instance, const struct xml_node *volume);
const struct xml_node *server_find(const struct reply *reply, const char *op_id, const struct xml_node **ret_other,
                                   size_t *ret_n);
int32_t volume_describe(struct op *o, const struct xml_node *instance, struct reply *reply,
                        const struct xml_node **ret);

/* network*.c, group*.c, rotate.c */
poll_function network_create_poll, network_update_poll, network_delete_poll, network_check;
poll_function group_create_poll, group_update_poll, group_delete_poll, group_check;
poll_function rotate_poll;
int32_t network_read(struct op *o);
int32_t group_read(struct op *o);

/* list.c */
int32_t aws_list(struct aws *a, struct prvng_call *call, const json_t *filter, struct prvng_sink *result);

/* describe.c */
extern const char aws_description[];

/* precheck.c, inventory.c */
extern const struct prvng_provider_precheck aws_precheck;
extern const struct prvng_provider_inventory aws_inventory;

#endif
