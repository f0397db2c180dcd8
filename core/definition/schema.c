/* SPDX-License-Identifier: Apache-2.0 */
/* The tables, in the order of kcl/workflows.k, and the canonical text they give. */
#include "definition/schema.h"

#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

#define SCHEMA(variable_, name_, ...)                                                              \
        const struct schema variable_ = { .name = (name_),                                         \
                                          .attributes = variable_##_attributes,                    \
                                          .n_attributes = N_ELEMENTS(variable_##_attributes),      \
                                          __VA_ARGS__ };                                           \
        static_assert(N_ELEMENTS(variable_##_attributes) <= SCHEMA_ATTRIBUTES_MAX, "too many")

#define YEAR 31536000 /* seconds */

#define AT(member) .at = offsetof(struct operation_def, member)
static const struct attribute schema_operation_attributes[] = {
        { "id", A_STRING, A_REQUIRED | A_NAME, NULL, AT(id) },
        { "type", A_ENUM, A_REQUIRED, NULL, AT(type),
          .words = WORDS("create", "update", "delete", "check") },
        { "target", A_ENUM, A_REQUIRED, NULL, AT(target),
          .words = WORDS("server", "taskserv", "cluster") },
        { "providers", A_STRINGS, A_NAME | A_UNIQUE, "[]", AT(providers) },
        { "items", A_STRINGS, A_REQUIRED | A_NAME | A_UNIQUE | A_NONEMPTY, NULL, AT(items) },
        { "depends_on", A_STRINGS, A_NAME | A_UNIQUE, "[]", AT(depends_on) },
        { "parallel", A_BOOL, 0, "true", AT(parallel) },
        { "timeout", A_U32, 0, "300", AT(timeout_s), .min = 1, .max = YEAR },
        { "on_failure", A_ENUM, 0, "\"rollback\"", AT(on_failure),
          .words = WORDS("fail", "continue", "rollback") },
        { "servers", A_STRINGS, A_NAME | A_UNIQUE, "[]", AT(servers) },
        { "vars", A_FREE, 0, "{}", AT(vars) },
};
SCHEMA(schema_operation, "OperationDef", .size = sizeof(struct operation_def),
       .node_at = offsetof(struct operation_def, node));
#undef AT

#define AT(member) .at = offsetof(struct dependency_def, member)
static const struct attribute schema_dependency_attributes[] = {
        { "source", A_STRING, A_REQUIRED | A_NONEMPTY, NULL, AT(source) },
        { "target", A_STRING, A_REQUIRED | A_NONEMPTY, NULL, AT(target) },
        { "type", A_ENUM, 0, "\"hard\"", AT(type), .words = WORDS("hard", "soft", "optional") },
        { "wait_condition", A_STRING, 0, "\"\"", AT(wait_condition) },
};
static SCHEMA(schema_dependency, "DependencyDef", .size = sizeof(struct dependency_def),
              .node_at = offsetof(struct dependency_def, node));
#undef AT

#define AT(member)                                                                                 \
        .at = offsetof(struct definition, rollback.member) - offsetof(struct definition, rollback)
static const struct attribute schema_rollback_attributes[] = {
        { "enabled", A_BOOL, 0, "true", AT(enabled) },
        { "on_partial_failure", A_BOOL, 0, "true", AT(on_partial_failure) },
        { "checkpoint_interval", A_U32, 0, "5", AT(checkpoint_interval), .min = 1, .max = 1e9 },
        { "preserve_successful", A_BOOL, 0, "false", AT(preserve_successful) },
};
static SCHEMA(schema_rollback, "RollbackStrategy");
#undef AT

#define AT(member)                                                                                 \
        .at = offsetof(struct definition, retry.member) - offsetof(struct definition, retry)
static const struct attribute schema_retry_attributes[] = {
        { "max_attempts", A_U32, 0, "3", AT(max_attempts), .min = 1, .max = 1000000 },
        { "backoff", A_ENUM, 0, "\"exponential\"", AT(backoff),
          .words = WORDS("linear", "exponential") },
        { "initial_delay", A_U32, 0, "5", AT(initial_delay_s), .min = 0, .max = YEAR },
        { "max_delay", A_U32, 0, "300", AT(max_delay_s), .min = 0, .max = YEAR },
};
static SCHEMA(schema_retry, "RetryPolicy");
#undef AT

#define AT(member)                                                                                 \
        .at = offsetof(struct definition, logging.member) - offsetof(struct definition, logging)
static const struct attribute schema_logging_attributes[] = {
        { "level", A_ENUM, A_AS_TEXT, "\"info\"", AT(level),
          .words = WORDS("debug", "info", "warn", "error") },
        { "destinations", A_STRINGS, A_UNIQUE, "[\"file\",\"stdout\"]", AT(destinations),
          .words = WORDS("file", "stdout", "stderr") },
        { "format", A_ENUM, A_AS_TEXT, "\"json\"", AT(format), .words = WORDS("json", "text") },
        { "retention_days", A_U32, 0, "30", AT(retention_days), .min = 0, .max = 36500 },
        { "path", A_STRING, A_NONEMPTY, "\"./logs/workflows\"", AT(path) },
};
static SCHEMA(schema_logging, "LoggingConfig");
#undef AT

#define AT .at = A_NOWHERE
static const struct attribute schema_telemetry_attributes[] = {
        { "enabled", A_BOOL, 0, "false", AT },
        { "endpoint", A_STRING, 0, "\"\"", AT },
        { "headers", A_LABELS, 0, "{}", AT },
        { "sample_ratio", A_NUMBER, 0, "1", AT, .min = 0, .max = 1 },
};
static SCHEMA(schema_telemetry, "TelemetryConfig");

static const struct attribute schema_sops_attributes[] = {
        { "age_key_file", A_STRING, A_NONEMPTY, NULL, AT },
        { "age_recipients", A_STRINGS, A_NONEMPTY | A_UNIQUE, NULL, AT },
        { "config_file", A_STRING, A_NONEMPTY, NULL, AT },
};
static SCHEMA(schema_sops, "SopsConfig");

static const struct attribute schema_kms_attributes[] = {
        { "key_id", A_STRING, A_REQUIRED | A_NONEMPTY, NULL, AT },
        { "region", A_STRING, A_NONEMPTY, NULL, AT },
        { "endpoint", A_STRING, A_NONEMPTY, NULL, AT },
};
static SCHEMA(schema_kms, "KmsConfig");

/* Stores and secret backends are plugins, and a new one needs no change here: hence A_OPEN. */
static const struct attribute schema_secrets_attributes[] = {
        { "provider", A_ENUM, A_AS_TEXT | A_OPEN, "\"sops\"", AT,
          .words = WORDS("sops", "kms", "vault") },
        { "sops_config", A_SCHEMA, A_AS_TEXT | A_ABSENT, NULL, AT, .schema = &schema_sops },
        { "kms_config", A_SCHEMA, A_AS_TEXT | A_ABSENT, NULL, AT, .schema = &schema_kms },
};
static SCHEMA(schema_secrets, "SecretProvider");
#undef AT

#define AT(member)                                                                                 \
        .at = offsetof(struct definition, monitoring.member) -                                     \
              offsetof(struct definition, monitoring)
static const struct attribute schema_monitoring_attributes[] = {
        { "enabled", A_BOOL, 0, "true", AT(enabled) },
        { "metrics_endpoint", A_STRING, A_URL_PATH, "\"/metrics\"", AT(metrics_endpoint) },
        { "state_store", A_ENUM, A_AS_TEXT | A_OPEN | A_SITE, "\"rkvs\"", AT(state_store),
          .words = WORDS("file", "rkvs", "postgres") },
        { "checkpoint_frequency", A_U32, 0, "10", AT(checkpoint_frequency_s), .min = 1,
          .max = YEAR },
        { "telemetry", A_SCHEMA, A_AS_TEXT, NULL, AT(telemetry), .schema = &schema_telemetry },
};
static SCHEMA(schema_monitoring, "MonitoringConfig");
#undef AT

#define AT(member) .at = offsetof(struct server_def, member)
static const struct attribute schema_server_attributes[] = {
        { "name", A_STRING, A_REQUIRED | A_NAME, NULL, AT(name) },
        { "provider", A_STRING, A_NAME, NULL, AT(provider) },
        { "cpu", A_NUMBER, 0, NULL, AT(cpu), .min = 0.01, .max = 4096 },
        { "memory", A_U64, 0, NULL, AT(memory), .min = 1, .max = 1e9 },
        { "disk", A_U64, 0, NULL, AT(disk), .min = 1, .max = 1e9 },
        { "plan", A_STRING, A_NONEMPTY, NULL, .at = A_NOWHERE },
        { "image", A_STRING, A_NONEMPTY, NULL, .at = A_NOWHERE },
        { "zone", A_STRING, A_NONEMPTY, NULL, .at = A_NOWHERE },
        { "networks", A_STRINGS, A_NAME | A_UNIQUE, NULL, .at = A_NOWHERE },
        { "security_groups", A_STRINGS, A_NAME | A_UNIQUE, NULL, .at = A_NOWHERE },
        { "labels", A_LABELS, 0, NULL, .at = A_NOWHERE },
        { "ssh_keys", A_STRINGS, A_NONEMPTY | A_UNIQUE, NULL, .at = A_NOWHERE },
};
SCHEMA(schema_server, "ServerDef", .flags = SCHEMA_BLOCKS, .size = sizeof(struct server_def),
       .node_at = offsetof(struct server_def, node), .json_at = offsetof(struct server_def, spec),
       .json_without = "provider");
#undef AT

#define AT(member) .at = offsetof(struct network_def, member)
static const struct attribute schema_network_attributes[] = {
        { "name", A_STRING, A_REQUIRED | A_NAME, NULL, AT(name) },
        { "provider", A_STRING, A_NAME, NULL, AT(provider) },
        { "address", A_STRING, A_NONEMPTY, NULL, AT(address) },
        { "zone", A_STRING, A_NONEMPTY, NULL, AT(zone) },
};
static SCHEMA(schema_network, "NetworkDef", .flags = SCHEMA_BLOCKS,
              .size = sizeof(struct network_def), .node_at = offsetof(struct network_def, node),
              .json_at = offsetof(struct network_def, spec), .json_without = "provider");
#undef AT

#define AT(member) .at = offsetof(struct rule_def, member)
static const struct attribute schema_rule_attributes[] = {
        { "direction", A_ENUM, A_AS_TEXT, "\"in\"", AT(direction), .words = WORDS("in", "out") },
        { "protocol", A_ENUM, A_AS_TEXT, "\"tcp\"", AT(protocol),
          .words = WORDS("tcp", "udp", "icmp", "any") },
        { "port", A_U32, 0, NULL, AT(port), .min = 1, .max = 65535 },
        { "ports", A_STRING, A_NONEMPTY, NULL, AT(ports) },
        { "source", A_STRING, A_NONEMPTY, NULL, AT(source) },
        { "destination", A_STRING, A_NONEMPTY, NULL, AT(destination) },
        { "action", A_ENUM, A_AS_TEXT, "\"accept\"", AT(action), .words = WORDS("accept", "drop") },
};
static SCHEMA(schema_rule, "RuleDef", .size = sizeof(struct rule_def),
              .node_at = offsetof(struct rule_def, node));
#undef AT

#define AT(member) .at = offsetof(struct security_group_def, member)
static const struct attribute schema_security_group_attributes[] = {
        { "name", A_STRING, A_REQUIRED | A_NAME, NULL, AT(name) },
        { "provider", A_STRING, A_NAME, NULL, AT(provider) },
        { "rules", A_SCHEMAS, 0, NULL, AT(rules),
          .count_at = offsetof(struct security_group_def, n_rules), .schema = &schema_rule },
};
static SCHEMA(schema_security_group, "SecurityGroupDef", .flags = SCHEMA_BLOCKS,
              .size = sizeof(struct security_group_def),
              .node_at = offsetof(struct security_group_def, node),
              .json_at = offsetof(struct security_group_def, spec), .json_without = "provider");
#undef AT

#define AT(member) .at = offsetof(struct cluster_def, member)
static const struct attribute schema_cluster_attributes[] = {
        { "name", A_STRING, A_REQUIRED | A_NAME, NULL, AT(name) },
        { "servers", A_STRINGS, A_NAME | A_UNIQUE, "[]", AT(servers) },
        { "taskservs", A_STRINGS, A_NAME | A_UNIQUE, "[]", AT(taskservs) },
        { "manifests", A_STRINGS, A_NONEMPTY | A_UNIQUE, "[]", AT(manifests) },
};
static SCHEMA(schema_cluster, "ClusterDef", .size = sizeof(struct cluster_def),
              .node_at = offsetof(struct cluster_def, node));
#undef AT

#define AT(member) .at = offsetof(struct definition, member)
static const struct attribute schema_workflow_attributes[] = {
        { "name", A_STRING, A_REQUIRED | A_NAME, NULL, AT(name) },
        { "type", A_ENUM, 0, "\"batch\"", AT(type),
          .words = WORDS("batch", "sequential", "parallel") },
        { "provider_agnostic", A_BOOL, 0, "true", AT(provider_agnostic) },
        { "operations", A_SCHEMAS, A_REQUIRED | A_NONEMPTY, NULL, AT(operations),
          .count_at = offsetof(struct definition, n_operations), .schema = &schema_operation },
        { "dependencies", A_SCHEMAS, 0, "[]", AT(dependencies),
          .count_at = offsetof(struct definition, n_dependencies), .schema = &schema_dependency },
        { "rollback_strategy", A_SCHEMA, 0, NULL, AT(rollback), .schema = &schema_rollback },
        { "retry_policy", A_SCHEMA, 0, NULL, AT(retry), .schema = &schema_retry },
        { "logging", A_SCHEMA, 0, NULL, AT(logging), .schema = &schema_logging },
        { "secrets", A_SCHEMA, A_AS_TEXT, "null", AT(secrets), .schema = &schema_secrets },
        { "templates", A_STRINGS, A_NONEMPTY | A_UNIQUE, "[]", AT(templates) },
        { "monitoring", A_SCHEMA, 0, NULL, AT(monitoring), .schema = &schema_monitoring },
        { "servers", A_SCHEMAS, 0, "[]", AT(servers),
          .count_at = offsetof(struct definition, n_servers), .schema = &schema_server },
        { "networks", A_SCHEMAS, 0, NULL, AT(networks),
          .count_at = offsetof(struct definition, n_networks), .schema = &schema_network },
        { "security_groups", A_SCHEMAS, 0, NULL, AT(security_groups),
          .count_at = offsetof(struct definition, n_security_groups),
          .schema = &schema_security_group },
        { "clusters", A_SCHEMAS, 0, "[]", AT(clusters),
          .count_at = offsetof(struct definition, n_clusters), .schema = &schema_cluster },
        { "vars", A_FREE, 0, "{}", AT(vars) },
        { "environments", A_FREE, 0, "{}", AT(environments) },
};
SCHEMA(schema_workflow, "WorkflowDef");
#undef AT

void schema_match(const struct schema *s, const struct document *d, uint32_t map,
                  uint32_t ret_nodes[SCHEMA_ATTRIBUTES_MAX],
                  void (*unknown)(void *userdata, uint32_t node), void *userdata)
{
        uint32_t child = map == DOC_NONE ? DOC_NONE : document_node(d, map)->v.children.first;
        size_t next = 0;

        for (size_t i = 0; i < s->n_attributes; i++)
                ret_nodes[i] = DOC_NONE;
        while (child != DOC_NONE) {
                const struct doc_node *n = document_node(d, child);
                const char *name = document_key(d, child);
                size_t i = next, tried = 0;

                /* Most people write attributes in the order of the schema: start at the next one. */
                for (; tried < s->n_attributes; tried++, i = (i + 1) % s->n_attributes)
                        if (s->attributes[i].name[0] == name[0] && streq(s->attributes[i].name, name))
                                break;
                if (tried < s->n_attributes) {
                        next = (i + 1) % s->n_attributes;
                        if (n->type != DOC_NULL)
                                ret_nodes[i] = child;
                } else if (unknown) {
                        unknown(userdata, child);
                }
                child = n->next;
        }
}

/* --- canonical text --- */

struct member {
        const char *key;
        uint32_t node;
};

static int member_compare(const void *a, const void *b)
{
        return strcmp(((const struct member *)a)->key, ((const struct member *)b)->key);
}

/* The members of a map, sorted; the caller frees. */
static struct member *members_sorted(const struct document *d, uint32_t map, struct buf *json)
{
        const struct doc_node *n = document_node(d, map);
        struct member *list = malloc((n->v.children.n + 1) * sizeof(*list));
        size_t i = 0;

        if (!list) {
                json->error = -ENOMEM;
                return NULL;
        }
        for (uint32_t c = n->v.children.first; c != DOC_NONE; c = document_node(d, c)->next)
                list[i++] = (struct member){ document_key(d, c), c };
        qsort(list, i, sizeof(*list), member_compare);
        return list;
}

void canonical_any(const struct document *d, uint32_t node, struct buf *json)
{
        const struct doc_node *n = document_node(d, node);

        if (n->type == DOC_LIST) {
                buf_putc(json, '[');
                for (uint32_t c = n->v.children.first; c != DOC_NONE; c = document_node(d, c)->next) {
                        if (c != n->v.children.first)
                                buf_putc(json, ',');
                        canonical_any(d, c, json);
                }
                buf_putc(json, ']');
        } else if (n->type == DOC_MAP) {
                _cleanup_(cleanup_free) struct member *list = members_sorted(d, node, json);

                if (!list)
                        return;
                buf_putc(json, '{');
                for (uint32_t i = 0; i < n->v.children.n; i++) {
                        if (i)
                                buf_putc(json, ',');
                        buf_json_n(json, list[i].key, document_node(d, list[i].node)->n_key);
                        buf_putc(json, ':');
                        canonical_any(d, list[i].node, json);
                }
                buf_putc(json, '}');
        } else {
                document_json(d, node, json);
        }
}

/* 2 and 2.0 are the same number of cores. */
static void canonical_number(const struct document *d, uint32_t node, struct buf *json)
{
        const struct doc_node *n = document_node(d, node);

        if (n->type == DOC_REAL && n->v.real == (double)(int64_t)n->v.real)
                buf_i64(json, (int64_t)n->v.real);
        else
                document_json(d, node, json);
}

static void canonical_list(const struct schema *s, const struct document *d, uint32_t list,
                           struct buf *json)
{
        uint32_t c = document_node(d, list)->v.children.first;

        buf_putc(json, '[');
        for (bool first = true; c != DOC_NONE; c = document_node(d, c)->next, first = false) {
                if (!first)
                        buf_putc(json, ',');
                schema_canonical(s, d, c, NULL, json);
        }
        buf_putc(json, ']');
}

static void canonical_attribute(const struct attribute *a, const struct document *d, uint32_t node,
                                struct buf *json)
{
        if (node == DOC_NONE && a->fallback)
                buf_puts(json, a->fallback);
        else if (a->kind == A_SCHEMA)
                schema_canonical(a->schema, d, node, NULL, json);
        else if (a->kind == A_SCHEMAS)
                canonical_list(a->schema, d, node, json);
        else if (a->kind == A_NUMBER)
                canonical_number(d, node, json);
        else
                canonical_any(d, node, json);
}

static void canonical_blocks(const struct schema *s, const struct document *d, uint32_t map,
                             bool first, struct buf *json)
{
        _cleanup_(cleanup_free) struct member *list = members_sorted(d, map, json);
        uint32_t n = document_node(d, map)->v.children.n;

        for (uint32_t i = 0; list && i < n; i++) {
                size_t a = 0;

                while (a < s->n_attributes && !streq(s->attributes[a].name, list[i].key))
                        a++;
                if (a < s->n_attributes || document_node(d, list[i].node)->type == DOC_NULL)
                        continue;
                if (!first)
                        buf_putc(json, ',');
                first = false;
                buf_json(json, list[i].key);
                buf_putc(json, ':');
                canonical_any(d, list[i].node, json);
        }
}

bool schema_chosen(const struct attribute *a, const struct document *d, uint32_t map, uint32_t node)
{
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        const struct doc_node *in, *n;

        if (map == DOC_NONE || node == DOC_NONE)
                return false;
        in = document_node(d, map);
        n = document_node(d, node);
        canonical_any(d, node, &text);
        return !streq(buf_str(&text), a->fallback) || n->file != in->file || n->line != in->line ||
               n->column != in->column;
}

const char *definition_state_store(const struct definition *d)
{
        uint32_t map = document_get(d->document, d->top, "monitoring"), nodes[SCHEMA_ATTRIBUTES_MAX];
        const struct schema *s = &schema_monitoring;

        if (map == DOC_NONE || document_node(d->document, map)->type != DOC_MAP)
                return NULL;
        schema_match(s, d->document, map, nodes, NULL, NULL);
        for (size_t i = 0; i < s->n_attributes; i++)
                if (s->attributes[i].flags & A_SITE &&
                    schema_chosen(&s->attributes[i], d->document, map, nodes[i]))
                        return d->monitoring.state_store;
        return NULL;
}

static bool is_written(const struct attribute *a, const struct document *d, uint32_t map,
                       uint32_t node)
{
        if (a->flags & A_SITE)
                return schema_chosen(a, d, map, node);
        return node != DOC_NONE || a->fallback ||
               (a->kind == A_SCHEMA && !(a->flags & A_ABSENT));
}

void schema_canonical(const struct schema *s, const struct document *d, uint32_t map,
                      const char *without, struct buf *json)
{
        uint32_t nodes[SCHEMA_ATTRIBUTES_MAX];
        bool first = true;

        schema_match(s, d, map, nodes, NULL, NULL);
        buf_putc(json, '{');
        for (size_t i = 0; i < s->n_attributes; i++) {
                const struct attribute *a = &s->attributes[i];

                if (!is_written(a, d, map, nodes[i]) || (without && streq(a->name, without)))
                        continue;
                if (!first)
                        buf_putc(json, ',');
                first = false;
                buf_putc(json, '"');
                buf_puts(json, a->name);
                BUF_LIT(json, "\":");
                canonical_attribute(a, d, nodes[i], json);
        }
        if (s->flags & SCHEMA_BLOCKS && map != DOC_NONE)
                canonical_blocks(s, d, map, first, json);
        buf_putc(json, '}');
}
