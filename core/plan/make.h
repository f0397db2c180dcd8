/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a plan is made; only for the files of this folder. In this order:
 *
 *      operations.c  ids, --only, order and circles of operations, the servers of a taskserv operation
 *      tables.c      plugins and their lanes, providers, servers, taskservs
 *      expand.c      operations x items x servers -> tasks, lanes
 *      shared.c      networks and security groups
 *      replace.c     servers that are made anew
 *      prune.c       what is no longer defined
 *      requires.c    what taskservs require, conflict with, and need of a server
 *      depend.c      dependencies between resources, and their conditions
 *      order.c       edges, joins, topological order, circles of tasks
 *      rules.c       inventory: owners, claims, verbs, differences; task documents
 *
 * Everything is linear in tasks + edges. Tasks are never looked for by a scan: resources, servers,
 * taskservs and plugins have maps, the tasks of an operation and of a resource are lists.
 */
#ifndef PRVNG_PLAN_MAKE_H
#define PRVNG_PLAN_MAKE_H

#include "base/arena.h"
#include "plan/plan.h"

#define NONE UINT32_MAX
#define SOFT 0x80000000u        /* in struct edge.from */
#define MAX_TASKS 0x7fffffffu   /* so that SOFT is free */
#define MAX_PLAN 10000000u      /* tasks of a plan: beyond, somebody made a mistake */
#define MAX_SHOWN 50u           /* problems of one kind; the rest is counted */
#define MAX_PATH 64u            /* names shown of a circle */

enum kind { KIND_SERVER, KIND_TASKSERV, KIND_SHARED, KIND_JOIN };

struct op {
        const struct operation_def *def; /* NULL: the implied operation */
        uint32_t *deps;                  /* indices into maker.ops, each once */
        uint32_t n_deps;
        uint32_t pos;      /* place in topological order; NONE: not in the plan */
        uint32_t number;   /* in plan->operations */
        uint32_t *servers; /* of a taskserv operation, in the order of the server table */
        uint32_t n_servers;
        uint32_t head, tail, n_tasks; /* its tasks, by task.next_in_op */
        uint32_t end;                 /* task whose end is the operation's end; NONE: it has none */
        bool selected;
        bool needed;  /* another operation waits for its end */
        bool ordered; /* its tasks have dependencies of their own: no barriers between its groups */
        const char *spec; /* of its taskserv tasks, once made */
};

struct lane {
        struct plan_lane plan;
        const char *kind, *name;
        const struct plugin *plugin; /* NULL: there is none of that name */
        uint32_t node, index; /* where it is named first, for problems */
        const char *member;
        struct buf blocked;   /* ids of the first tasks that cannot run */
        uint32_t n_tasks;
        const char *why;      /* "required by taskserv x", or NULL */
        struct ability {      /* of describe(), by kind of resource */
                const char *kind;
                uint8_t verbs, undo; /* bits by enum plan_verb */
                bool declared;
        } abilities[4];
        uint32_t n_abilities;
};

struct provider {
        uint32_t lane;
        bool before_servers; /* its network is made before its servers */
        struct shared {
                const char *kind, *name, *key, *reason;
                const char *def;              /* the definition's spec of it, or NULL */
                uint32_t node;                /* of that */
                const struct resource *there; /* in the inventory and made, or NULL */
                const char **zones;           /* of the servers in a network, sorted */
                uint32_t n_zones, cap_zones;
                uint32_t task;  /* NONE: nobody needed it yet, or it is there */
                bool common;    /* all servers of the provider have it */
                bool network, used;
        } *shared;
        uint32_t n_shared, cap_shared;
};

struct server {
        const char *name;
        const struct server_def *def;     /* NULL: the site's default definition */
        const struct resource *existing;  /* in the inventory and made, or NULL */
        uint32_t provider;                /* NONE until asked */
        const char *spec;                 /* NULL until asked */
        double cpu;                       /* 0: unknown, like the others */
        uint64_t memory, disk;
        uint32_t stamp;
        bool measured;
        bool member;                      /* one of "all servers of the workflow" */
        const char *key;                  /* "server.NAME", once a task uses it */
        bool asked, replaced;             /* by --replace; and it is: a task deletes the old one */
        uint32_t *extra, n_extra;         /* what it has of its provider's shared beside the common ones */
};

struct taskserv {
        const char *name;
        uint32_t lane;
        uint32_t *requires;
        const char **conflicts;
        uint32_t n_requires, n_conflicts;
        double cpu;
        uint64_t memory, disk;
        uint8_t colour;
};

struct task {
        const char *id, *resource, *reason;
        const char *spec, *difference;
        uint32_t op, lane, item; /* item: index in the operation's items */
        uint32_t server, taskserv; /* indices or NONE; of KIND_SHARED: provider and index in shared */
        uint32_t next_in_op, next_same; /* next_same: an earlier task of the same resource */
        uint32_t last_wait; /* in maker.waits, from 1; 0: none */
        uint8_t verb, kind;
        uint8_t impact;
        bool implied;
        bool old;          /* deletes a server that the next task of it makes anew */
        bool repeated;     /* another task has the same resource */
        bool shared;       /* with the run in flight that claims it */
        bool irreversible;
};

struct edge {
        uint32_t from, to; /* `to` waits for `from` */
};

/* A condition that a task waits for; they are a list, the last one first. */
struct condition {
        const struct dependency_def *d;
        uint32_t before; /* in maker.waits, from 1; 0: none */
};

enum rule {
        RULE_OWNER, RULE_CLAIM, RULE_ABSENT, RULE_SMALL, RULE_CONFLICT, RULE_TWICE, RULE_SERVER,
        RULE_CYCLE, RULE_DEPENDENCY, RULE_VERB, RULE_MOVED, RULE_CLUSTER, RULE_MANY,
        RULE_CONDITION, RULE_SHARED, RULE_REPLACE, N_RULES
};

struct maker {
        const struct plan_request *request;
        const struct definition *def; /* NULL for destroy */
        const struct config *config;
        const struct inventory *inventory;
        struct problems *problems;
        struct plan *plan;
        struct arena *text;   /* the plan's: what stays */
        struct arena scratch; /* what goes with the maker */
        struct buf buf;       /* for composing; never held over a call */
        uint32_t shown[N_RULES];
        bool circular; /* a circle was reported: circles of tasks are its consequences */

        struct strmap op_ids, plugin_keys, server_names, taskserv_names, provider_names,
                cluster_names;
        struct strmap resources;  /* key -> last added task + 1 */
        struct strmap claims_at; /* server -> resource: a taskserv there that a run in flight claims */
        bool claims_found;
        bool names_shared; /* servers may name networks or security groups that are to be made */
        struct strmap reach_memo; /* pair of operations -> 1 no, 2 yes */
        struct strmap conditions; /* the expressions that were found right */

        struct op *ops;
        uint32_t n_ops; /* without the implied one, which stands behind them */
        uint32_t *order;
        uint32_t n_order;
        uint32_t *stamps, stamp; /* of operations */
        uint32_t set_stamp;      /* of servers */
        uint32_t *direct, direct_of; /* direct[dep] == direct_of + 1: that operation names dep */

        struct lane *lanes;
        struct provider *providers;
        struct server *servers;
        struct taskserv *taskservs;
        struct task *tasks;
        struct edge *edges;
        struct condition *waits;
        const char **notices;
        uint32_t n_lanes, cap_lanes, n_providers, cap_providers, n_servers, cap_servers;
        uint32_t n_taskservs, cap_taskservs, n_tasks, cap_tasks, n_edges, cap_edges;
        uint32_t n_notices, cap_notices, n_waits, cap_waits;
        const char *server_tail; /* the default server definition behind its name */

        uint32_t *first_dep, *n_soft, *deps; /* CSR by task, as added */
        uint32_t *sorted;                    /* tasks in topological order */
};

/* "taskserv.containerd@web-0" -> kind, name, place (behind the '@', or ""); the parts are not ended
 * with a NUL, except place. */
struct key {
        const char *kind, *name, *place;
        uint32_t n_kind, n_name;
};
struct key key_parse(const char *resource);

/* make.c */
int maker_grow(void *array, uint32_t n, uint32_t *cap, size_t size);
int maker_notice(struct maker *m, const char *format, ...) _printf_(2, 3);
/* A problem at a member (or at its index-th value, if index is not NONE) of a node. */
void maker_problem(struct maker *m, uint32_t node, const char *member, uint32_t index,
                   const char *format, ...) _printf_(5, 6);
bool maker_room(struct maker *m, enum rule rule); /* may another problem of that kind be shown? */
void maker_rest(struct maker *m); /* says how many were not shown */
char *maker_format(struct arena *a, const char *format, ...) _printf_(2, 3);
const struct resource *maker_existing(const struct maker *m, const char *key);
/* ` (did you mean "x"?)` or "", in scratch; NULL: no memory. */
const char *maker_meant(struct maker *m, const char *word, const char *const *names, size_t n);
int maker_init(struct maker *m, const char *name, const char *type);
void maker_deinit(struct maker *m);

/* operations.c */
int operations_init(struct maker *m);   /* ids, --only */
int operations_order(struct maker *m);  /* topological order; circles are problems */
int operations_servers(struct maker *m, uint32_t op); /* ops[op].servers; in topological order */
/* Does `op` name `dep` in depends_on? Cheap if asked operation by operation. */
bool operations_direct(struct maker *m, uint32_t op, uint32_t dep);
/* Does `op` depend on `ancestor`, over a few steps? "No" may be wrong: for leaving out edges only. */
bool operations_near(const struct maker *m, uint32_t ancestor, uint32_t op);
int operations_reach(struct maker *m, uint32_t ancestor, uint32_t op, bool *ret_reach);

/* expand.c */
int expand_tables(struct maker *m); /* servers of the definition, plugins */
const struct cluster_def *cluster_find(const struct maker *m, const char *name); /* or NULL */
int expand_operation(struct maker *m, uint32_t op);
int expand_blocked(struct maker *m); /* problems: plugins that are missing or refused */
int task_add(struct maker *m, const struct task *t, uint32_t *ret_task);
uint32_t task_of(const struct maker *m, const char *key); /* last added of a resource, or NONE */
const char *taskserv_key(struct maker *m, const char *taskserv, const char *server);
int edge_add(struct maker *m, uint32_t from, uint32_t to);

/* shared.c */
int shared_declared(struct maker *m, struct provider *p, const json_t *dependencies);
int expand_shared(struct maker *m); /* the implied operation */
bool shared_of_server(const struct maker *m, const struct server *s, uint32_t index); /* has it that? */

int shared_of_key(struct maker *m, const struct resource *r, uint32_t *ret_provider, uint32_t *ret_index);

/* replace.c */
int replace_annotate(struct maker *m, struct task *t); /* "how" of its difference, and its impact */
int replace_refuse(struct maker *m, const struct task *t, uint32_t node); /* nobody said --replace */
int replace_server(struct maker *m, const struct task *create); /* before the task is added */
int replace_check(struct maker *m); /* were all of --replace there? */

/* prune.c */
extern const struct operation_def prune_operation;
int prune_apply(struct maker *m);

/* tables.c */
int provider_get(struct maker *m, const char *name, uint32_t *ret_provider);
char *maker_concat(struct arena *a, const char *p, const char *q, const char *r, const char *s);
void lane_named(struct maker *m, uint32_t lane, uint32_t node, const char *member, uint32_t index,
                const char *why);
int lane_get(struct maker *m, const char *kind, const char *name, uint32_t *ret_lane);
int server_get(struct maker *m, const char *name, uint32_t *ret_server);
int server_provider(struct maker *m, uint32_t server, uint32_t *ret_provider);
int taskserv_get(struct maker *m, const char *name, uint32_t *ret_taskserv);
static inline bool verb_makes(uint8_t verb)
{
        return verb == PLAN_CREATE || verb == PLAN_UPDATE;
}

/* spec.c */
int spec_server(struct maker *m, uint32_t server); /* servers[].spec, cpu, memory, disk */
int spec_vars(struct maker *m, uint32_t op);       /* ops[].spec */
int spec_canonical(struct buf *b, const json_t *json, bool top);
void spec_drop_foreign(struct maker *m, json_t *spec, const char *own); /* blocks of other providers */

/* requires.c */
int requires_circles(struct maker *m);
int requires_tasks(struct maker *m);
int requires_resources(struct maker *m);

/* depend.c */
int depend_edges(struct maker *m);
const char *depend_waits(struct maker *m, const struct task *t); /* plan_task.waits; NULL: no memory */

/* order.c */
int order_edges(struct maker *m);
int order_tasks(struct maker *m); /* m->sorted; circles are problems */

/* rules.c */
int rules_apply(struct maker *m);
/* Can the lane's plugin do, and undo, that to the resource? What describe() says of it. */
int rules_ability(struct maker *m, const struct task *t, bool *ret_can, bool *ret_irreversible);

/* finish.c */
int maker_finish(struct maker *m); /* fills the plan from tasks in m->sorted */

/* svg.c */
int plan_svg(const struct plan *p, struct buf *b);

/* show.c, for the others that show a plan */
enum join { JOIN_NOT, JOIN_START, JOIN_END, JOIN_GROUP };
enum join plan_join(const struct plan_task *t);
extern const char JOIN_REASON_START[], JOIN_REASON_END[], JOIN_REASON_GROUP[];
struct forecast {
        uint64_t calls;
        double seconds; /* at least, under the rate limit */
};
int plan_forecast(const struct plan *p, struct forecast **ret_lanes, double *ret_seconds);
/* The longest way to a task from the start, counted in tasks, from 1; joins carry that of what they
 * wait for. Caller frees. NULL: no memory. */
uint32_t *plan_levels(const struct plan *p, uint32_t *ret_n);
/* The first task, by levels, that cannot be undone; NONE: all can be. */
bool task_is_final(const struct plan_task *t); /* its effect cannot be undone, or not all of it */
uint32_t plan_point_of_no_return(const struct plan *p, const uint32_t *levels);
/* Pairs of operations (from, to) that tasks wait through joins or directly, each once, none twice.
 * Caller frees. */
int plan_operation_edges(const struct plan *p, uint32_t (**ret_pairs)[2], uint32_t *ret_n);
const char *plan_target(const struct plan *p, const struct plan_task *t); /* kind of its resource */

#endif
