/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan: definition + inventory -> task graph, before anything runs. design.md §5.
 *
 * Tasks are in topological order: every dependency has a smaller number. An operation that others
 * depend on ends in a join, a task without plugin or effect, so that n x m edges become n + m; joins
 * are never shown to people.
 *
 * Dependencies are hard or soft. Whoever runs the plan decides a task (runs it, or skips it because a
 * hard dependency did not succeed) when all its dependencies have ended, never earlier: so a soft
 * dependency on a join that is skipped still waits for the last task of the join's operation.
 * Soft ones come from `type = sequential`, `parallel = False`, the barriers between groups of
 * batch_size and `dependencies` that are soft or optional: they order, they do not decide.
 *
 * Verbs: `create` of a resource that this workflow owns with another spec becomes `update`, with the
 * difference; with the same spec it stays `create` and the plugin looks whether that is still true.
 */
#ifndef PRVNG_PLAN_PLAN_H
#define PRVNG_PLAN_PLAN_H

#include "base/problem.h"
#include "config/config.h"
#include "definition/definition.h"
#include "journal/inventory.h"
#include "plugin/plugin.h"

enum plan_verb { PLAN_CREATE, PLAN_UPDATE, PLAN_DELETE, PLAN_CHECK, PLAN_JOIN };

/* How a difference is applied to what runs: what the plugin's describe() says of the attribute. */
enum plan_impact { PLAN_UNSAID, PLAN_LIVE, PLAN_RESTART, PLAN_REPLACE };

/* Where tasks queue: one per plugin that they are executed by. */
struct plan_lane {
        const char *plugin;   /* "provider/local", "taskserv/containerd" */
        uint32_t batch_size;  /* tasks of this lane at once, over the site; 0: no limit of its own */
        uint32_t rate_limit;  /* requests a second; 0: none */
        const char *version;
        const char *may;      /* of an isolated plugin: what it may reach; NULL: it runs inside the engine */
};

struct plan_operation {
        const char *id;
        enum operation_type type;
        enum operation_target target;
        enum on_failure on_failure;
        uint32_t timeout_s;
        bool implied; /* holds tasks that nobody wrote: "(implied)" */
};

struct plan_task {
        const char *id;       /* "create-servers/web-0", "install-base/containerd@web-0" */
        const char *resource; /* key; "" for a join */
        const char *item;
        const char *server;   /* name of the server it works on, "" if none */
        const char *doc;      /* the task of prvng/kind/op.h without identity, former and inputs, which
                               * are put in when it starts; "" for a join */
        const char *spec;     /* JSON object, what will stand in the inventory */
        const char *difference; /* JSON array [{"path", "from", "to", "how"?}], or NULL */
        const char *reason;   /* why it is there if implied: "required by taskserv containerd" */
        const char *waits;    /* JSON array [{"on": KEY, "until": EXPRESSION}], what must be true of
                               * the outputs of others before it starts; NULL: nothing */
        uint32_t operation;   /* index */
        uint32_t lane;        /* index; UINT32_MAX for a join */
        uint32_t first_dep, n_deps; /* in plan->deps: numbers of tasks */
        uint32_t n_soft;      /* that many at the end of its deps need only have ended */
        uint32_t first_use, n_uses; /* in plan->uses: keys of resources whose outputs are its inputs */
        uint8_t verb;         /* enum plan_verb */
        uint8_t impact;       /* enum plan_impact: the worst of its difference */
        bool implied;
        bool irreversible;    /* its effect cannot be undone */
        bool shared;          /* another run in flight claims the resource, and makes it alike */
        const char *takes;    /* keys, separated by spaces, of what goes with the server that it deletes
                               * and no task deletes: an undo does not bring it back; NULL: nothing */
};

struct plan {
        const char *name;     /* of the workflow */
        const char *type;     /* "batch" ... or "destroy" */
        const char *store;    /* that the run's stream is kept in; NULL: the site's home store */
        struct plan_lane *lanes;
        struct plan_operation *operations;
        struct plan_task *tasks;
        uint32_t *deps;
        const char **uses;
        uint32_t n_lanes, n_operations, n_tasks, n_deps, n_uses;
        char **notices;       /* sentences for the operator (fall-backs, rollback acts as fail) */
        uint32_t n_notices;
        const char **undefined; /* keys of what the workflow owns and the definition no longer names */
        uint32_t n_undefined;
        void *arena;          /* owns every string */
};

struct plan_request {
        const struct definition *definition; /* must outlive nothing: the plan copies */
        const struct config *config;
        const struct plugins *plugins;
        const struct inventory *inventory;
        const struct site *runs; /* whose runs in flight count; NULL: none */
        const char *site;       /* id of the site, goes into task documents */
        const char *run;        /* id of the paused run that the plan is for: its claims are no
                                 * obstacle; NULL: a new run */
        const char *const *replace; /* servers that may be made anew where a change needs that; NULL: none.
                                     * Ends with NULL */
        bool prune;             /* delete what the definition no longer names; not with `only` */
        const char *const *only; /* operation ids of --only; NULL: all. Ends with NULL */
};

/* Makes the plan or tells all problems (positions are those of the definition's document). Returns 0
 * with problems->n telling, -ENOMEM otherwise. */
int plan_make(const struct plan_request *request, struct problems *problems,
              struct plan **ret_plan);

/* The plan of `prvng batch destroy NAME`: deletes everything that the workflow owns, what stands on a
 * resource before the resource; taskservs of a server that goes too are not removed one by one. What
 * another workflow's resources stand on, or a run in flight of another workflow builds on, stays: a
 * notice says so. Of the request it looks at config, plugins, inventory, runs and site. */
int plan_destroy(const struct plan_request *request, const char *workflow, struct problems *problems,
                 struct plan **ret_plan);

/* The plan of `prvng batch check NAME`: checks everything that the workflow owns; changes nothing. */
int plan_check(const struct plan_request *request, const char *workflow, struct problems *problems,
               struct plan **ret_plan);

/* The plan of `prvng secret rotate PROVIDER`: one task, update of credential.PROVIDER, of the workflow
 * "rotate-PROVIDER". */
int plan_rotate(const struct plan_request *request, const char *provider, struct problems *problems,
                struct plan **ret_plan);

struct plan *plan_free(struct plan *p);

/* The document of --dry-run --format json: {"name", "type", "operations": [...], "tasks": [{"id",
 * "operation", "item", "target", "server", "resource", "verb", "implied", "reason", "depends_on",
 * "plugin", "impact", "difference", "waits", "irreversible", "takes"}], "lanes": [{"plugin", "batch_size",
 * "rate_limit", "version", "isolated", "may": what it may reach, or null}], "notices": [...],
 * "undefined": [keys], "forecast": {...},
 * "point_of_no_return": the first task that cannot be undone, or null}.
 * Joins are resolved: depends_on names real tasks; where that would give more than 64 names for one
 * task, it names the operation as "OPERATION/" and a star. */
int plan_json(const struct plan *p, struct buf *json);

/* The dry run for people. */
int plan_text(const struct plan *p, struct buf *text);

/* "dot" | "svg" | "mermaid": the graph for people. The picture needs no program: it is laid out here,
 * operations in columns with their tasks. -EINVAL: another format. */
int plan_graph(const struct plan *p, const char *format, struct buf *text);

/* Appends a JSON array of changed leaves, [{"path", "from", "to"}]; nothing if the two specs (JSON)
 * mean the same. */
int spec_difference(struct buf *b, const char *from, const char *to);

const char *plan_impact_name(enum plan_impact i); /* "live", "restart", "replace"; NULL */
const char *plan_verb_name(enum plan_verb v); /* "create" ... "join" */

static inline void cleanup_plan(struct plan **p)
{
        plan_free(*p);
}

#endif
