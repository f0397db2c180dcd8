/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checked definition: design.md §5. Every default is filled in, every reference inside the document
 * holds (operation ids, cycles between operations are the plan's business), every value is in range.
 * What depends on plugins or on the inventory is checked by the plan.
 *
 * All strings live as long as the definition. JSON members are compact text of what the user wrote;
 * `secrets`, `telemetry` and `spec`, which have schemas, in canonical form (definition_canonical).
 */
#ifndef PRVNG_DEFINITION_DEFINITION_H
#define PRVNG_DEFINITION_DEFINITION_H

#include "base/arena.h"
#include "base/problem.h"
#include "definition/document.h"

enum workflow_type { WORKFLOW_BATCH, WORKFLOW_SEQUENTIAL, WORKFLOW_PARALLEL };
enum operation_type { OPERATION_CREATE, OPERATION_UPDATE, OPERATION_DELETE, OPERATION_CHECK };
enum operation_target { TARGET_SERVER, TARGET_TASKSERV, TARGET_CLUSTER };
enum on_failure { ON_FAILURE_FAIL, ON_FAILURE_CONTINUE, ON_FAILURE_ROLLBACK };
enum dependency_type { DEPENDENCY_HARD, DEPENDENCY_SOFT, DEPENDENCY_OPTIONAL };
enum backoff { BACKOFF_LINEAR, BACKOFF_EXPONENTIAL };

struct strings {
        const char **list;
        uint32_t n;
};

struct operation_def {
        const char *id;
        enum operation_type type;
        enum operation_target target;
        struct strings providers;
        struct strings items;
        struct strings depends_on;
        struct strings servers;
        bool parallel;       /* default true */
        uint32_t timeout_s;  /* default 300 */
        enum on_failure on_failure; /* default ROLLBACK */
        const char *vars;    /* JSON object, "{}" */
        uint32_t node;       /* in the document, for problems of the plan */
};

struct server_def {
        const char *name;
        const char *provider; /* NULL: the site's default */
        const char *spec;     /* JSON object: the whole ServerDef without `provider` and without
                               * members that are null */
        double cpu;           /* cores; 0: not given */
        uint64_t memory;      /* MiB; 0: not given */
        uint64_t disk;        /* GiB; 0: not given */
        uint32_t node;
};

/* Networks and security groups that the servers of a provider share (prvng/kind/provider.h). */
struct network_def {
        const char *name;
        const char *provider; /* NULL: of every provider that has servers in it */
        const char *address;  /* CIDR; NULL: the provider chooses */
        const char *zone;     /* NULL: where its servers are */
        const char *spec;     /* JSON object: the whole NetworkDef without `provider` */
        uint32_t node;
};

struct rule_def {
        const char *direction, *protocol, *action; /* "in" | "out", "tcp" ..., "accept" | "drop" */
        const char *ports, *source, *destination;  /* NULL: not given */
        uint32_t port;                             /* 0: not given */
        uint32_t node;
};

struct security_group_def {
        const char *name;
        const char *provider;
        const char *spec; /* as above; without `rules` if they were not given */
        struct rule_def *rules;
        uint32_t n_rules;
        uint32_t node;
};

struct cluster_def {
        const char *name;
        struct strings servers;
        struct strings taskservs;
        struct strings manifests;
        uint32_t node;
};

struct dependency_def {
        const char *source; /* depends on target; "server.NAME", "taskserv.NAME@SERVER" ... */
        const char *target;
        enum dependency_type type;
        const char *wait_condition; /* "" if none */
        uint32_t node;
};

struct definition {
        const char *name;
        enum workflow_type type;
        bool provider_agnostic; /* default true */
        struct operation_def *operations;
        uint32_t n_operations;
        struct server_def *servers;
        uint32_t n_servers;
        struct network_def *networks;
        uint32_t n_networks;
        struct security_group_def *security_groups;
        uint32_t n_security_groups;
        struct cluster_def *clusters;
        uint32_t n_clusters;
        struct dependency_def *dependencies;
        uint32_t n_dependencies;
        struct {
                bool enabled, on_partial_failure, preserve_successful;
                uint32_t checkpoint_interval;
        } rollback;
        struct {
                uint32_t max_attempts;
                enum backoff backoff;
                uint32_t initial_delay_s, max_delay_s;
        } retry;
        struct {
                const char *level, *format, *path;
                struct strings destinations;
                uint32_t retention_days;
        } logging;
        struct {
                bool enabled;
                const char *metrics_endpoint, *state_store;
                uint32_t checkpoint_frequency_s;
                const char *telemetry; /* JSON object */
        } monitoring;
        const char *secrets; /* JSON object or "null" */
        struct strings templates;
        const char *vars;         /* JSON object */
        const char *environments; /* JSON object */
        const char *folder;       /* of the definition's file, absolute; "" if it has none */

        struct document *document; /* borrowed: must outlive the definition; for positions */
        uint32_t top;              /* the workflow's node in it */
        struct arena arena;
};

/* Loads a file with the loader for its ending into a new document. Problems are collected. */
struct plugins;
int definition_load(const struct plugins *plugins, const char *path, const char *arguments,
                    struct problems *problems, struct document **ret_document);

/* Loads JSON text that is no file (the body of a request) with the loader `json`; `name` stands for the
 * file in messages. */
int definition_load_json(const struct plugins *plugins, const char *name, const void *data,
                         size_t n_data, struct problems *problems, struct document **ret_document);

/* Finds the workflow in the document: the top value itself if it has `operations`, else the one
 * member that has; `name` (--workflow) chooses among several by member key or workflow name. */
int definition_find(const struct document *d, const char *name, struct problems *problems,
                    uint32_t *ret_top);

/* Checks the workflow at `top` and builds the definition. All problems are reported; *ret_definition
 * is set only if there were none. `folder` is where relative paths start. */
int definition_check(struct document *d, uint32_t top, const char *folder,
                     struct problems *problems, struct definition **ret_definition);
struct definition *definition_free(struct definition *d);

/* The store that somebody chose for the workflow's runs (monitoring.state_store), or NULL: it is left to
 * the site. */
const char *definition_state_store(const struct definition *d);

/* The canonical document: every member in the order of the schema, defaults filled in, but for
 * what is left to the site. Two files mean the same if and only if this text is equal. Submitted to the
 * engine in this form. */
int definition_canonical(const struct definition *d, struct buf *json);

static inline void cleanup_definition(struct definition **d)
{
        definition_free(*d);
}

#endif
