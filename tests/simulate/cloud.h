/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated services: resources, the requests they know, and how often each took effect. */
#ifndef PRVNG_SIMULATE_CLOUD_H
#define PRVNG_SIMULATE_CLOUD_H

#include "simulate/sim.h"

struct call;

enum api {
        API_KEYED,  /* keeps our op id: the same request twice is one effect */
        API_TAGGED, /* what it makes carries our op id, visible after the settling time */
        API_BLIND,  /* neither: the plugin declares BEGIN_NOT_IDEMPOTENT */
        API_MUTE,   /* keeps our op id, but the plugin cannot observe */
};

struct service {
        struct plugin *plugin;
        enum api api;
        char lane[32];         /* "provider/p0" */
        uint32_t batch_size;   /* at once, over the site */
        uint32_t rate_limit;   /* requests a second */
        int64_t settle_ms;
        int64_t latency_ms;    /* of a usual call, at most */
        unsigned pending;      /* permille of requests that take long */
        bool restores;         /* can undo a delete */
        bool replaces;         /* cannot change the processors of a server that is there */
};

#define SERVICES_MAX 12

enum op_state { OP_ABSENT, OP_RUNNING, OP_DONE, OP_PARTIAL, OP_FAILED };
enum verb { OP_CREATE, OP_UPDATE, OP_DELETE, OP_CHECK };

/* What is true of a request, and what the engine may know of it. */
struct cloud_op {
        char id[UID_TEXT];
        const struct service *service;
        enum verb verb;
        char *key;             /* of the resource */
        char workflow[24];
        uint64_t spec;
        uint64_t identity;     /* the object that the request names; 0: none */
        char identity_op[UID_TEXT]; /* or what that op id made */

        enum op_state state;
        bool ends_well;        /* RUNNING: until ends_at */
        int64_t ends_at;
        int32_t failed_class;
        uint32_t failed_effect;
        int64_t visible_at;
        uint64_t object;       /* the last one it made or changed */
        uint64_t before;       /* its spec until then */
        uint32_t token;        /* number of the last one given */
        uint32_t n_effects;

        uint32_t n_attempts;   /* begins that left, in all */
        uint32_t n_begins;     /* calls under way */
        bool may_begin;        /* no effect is in doubt: the journal says so */
        bool observed;         /* ... or this engine was told so */
        int64_t left_at;       /* when a request last could have left */
        int64_t not_before;    /* the plugin asked for patience until then */
        struct cloud_op *next;
};

struct cloud *cloud_new(void);
struct cloud *cloud_free(struct cloud *c);
void cloud_add_service(const struct service *s, const char *kind, const char *dependencies);
const struct service *cloud_service_of(const struct plugin *plugin); /* or NULL */
struct cloud_op *cloud_find(const char *op_id);        /* or NULL */
struct cloud_op *cloud_op(const char *op_id, const struct service *s, const char *verb,
                          const char *request, const char *key); /* made if need be */
void cloud_advance(struct cloud_op *op);  /* to the present */
void cloud_arrive(struct call *c);
int32_t cloud_observe(struct cloud_op *op); /* PRVNG_OBSERVED_* */
void cloud_clean(struct cloud_op *op);    /* an operator removes what is half done */
void cloud_engine_gone(void);
void cloud_list(const char *op_id, struct buf *resources); /* what carries it */
void cloud_list_ours(const struct service *s, struct buf *resources); /* what carries the site's marks */
void cloud_appears(void);                 /* something that no engine made */
void cloud_sweep_begins(void);            /* what is there now must be found */
void cloud_sweep_ends(const char *orphans, const char *silent); /* JSON: what was found */
bool cloud_foreign(struct buf *adoption); /* a request to adopt one that carries no marks; false: none is there */
void cloud_result(const struct cloud_op *op, struct buf *result);
bool cloud_object(uint64_t id, uint64_t *ret_spec, bool *ret_whole); /* false: not there */
uint64_t cloud_object_of(const struct cloud_op *op); /* what the request works on; 0: not there */
void cloud_check(void); /* at the end: what is left, against the journal */

#endif
