/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one part of a definition says of another: ids are given once, and who is named is there.
 *
 * Runs also when values were wrong before: names that could not be read are NULL and skipped.
 */
#include "base/strmap.h"
#include "definition/schema.h"

#include <arpa/inet.h>

struct names {
        struct strmap map;  /* value: number of the first that has the name */
        const char **list;  /* for "did you mean" */
        size_t n;
        size_t cap;
};

static void names_deinit(struct names *n)
{
        strmap_deinit(&n->map);
        free(n->list);
}

static bool names_grow(struct check *c, struct names *n)
{
        size_t cap = n->cap ? n->cap * 2 : 16;
        const char **list = realloc(n->list, cap * sizeof(*list));

        if (!list) {
                c->no_memory = true;
                return false;
        }
        n->list = list;
        n->cap = cap;
        return true;
}

/* The number given to the first of that name: `number` itself if this is it. */
static uint64_t names_add(struct check *c, struct names *n, const char *name, uint64_t number)
{
        struct strmap_entry *e = strmap_find(&n->map, name, strlen(name));

        if (e)
                return e->value.number;
        if (n->n == n->cap && !names_grow(c, n))
                return number;
        e = strmap_add(&n->map, name, strlen(name));
        if (!e) {
                c->no_memory = true;
                return number;
        }
        e->value.number = number;
        n->list[n->n++] = name;
        return number;
}

static bool names_has(const struct names *n, const char *name)
{
        return strmap_find(&n->map, name, strlen(name));
}

/* "did you mean", or what there is if that is little. */
static void hint(struct check *c, const struct names *n, const char *word, char *ret_text, size_t size)
{
        const char *similar = check_similar(c, word, n->list, n->n);
        size_t at;

        ret_text[0] = 0;
        if (similar) {
                snprintf(ret_text, size, " Did you mean \"%s\"?", similar);
        } else if (n->n && n->n <= 8) {
                at = (size_t)snprintf(ret_text, size, " There is:");
                for (size_t i = 0; i < n->n && at < size; i++)
                        at += (size_t)snprintf(ret_text + at, size - at, "%s %s", i ? "," : "",
                                               n->list[i]);
        }
}

static uint32_t member(struct check *c, uint32_t map, const char *key)
{
        uint32_t node = document_get(c->d, map, key);

        return node == DOC_NONE ? map : node;
}

static void duplicate(struct check *c, uint32_t map, const char *key, const char *what,
                      const char *name, uint32_t first)
{
        struct position at = document_position(c->d, first);

        if (at.line)
                check_problem(c, member(c, map, key), NULL,
                              "%s \"%s\" is there already, in line %u; give each its own", what, name,
                              at.line);
        else
                check_problem(c, member(c, map, key), NULL,
                              "%s \"%s\" is there already; give each its own", what, name);
}

static void check_operations(struct check *c, struct names *ids)
{
        struct definition *d = c->definition;
        char text[1024];

        if (strmap_reserve(&ids->map, d->n_operations) < 0)
                c->no_memory = true;
        for (uint32_t i = 0; i < d->n_operations; i++) {
                const char *id = d->operations[i].id;
                uint64_t first = id ? names_add(c, ids, id, i) : i;

                if (first != i)
                        duplicate(c, d->operations[i].node, "id", "the operation id", id,
                                  d->operations[first].node);
        }
        for (uint32_t i = 0; i < d->n_operations; i++) {
                const struct operation_def *o = &d->operations[i];

                for (uint32_t k = 0; k < o->depends_on.n; k++) {
                        const char *on = o->depends_on.list[k];

                        if (o->id && streq(on, o->id)) {
                                check_problem(c, check_child(c, o->node, "depends_on", k), NULL,
                                              "the operation \"%s\" depends on itself; remove this "
                                              "entry", on);
                        } else if (!names_has(ids, on)) {
                                hint(c, ids, on, text, sizeof(text));
                                check_problem(c, check_child(c, o->node, "depends_on", k), NULL,
                                              "there is no operation \"%s\".%s", on, text);
                        }
                }
        }
}

/* Servers that this definition knows: defined ones, and those that operations name. A deletion may name
 * what only the inventory still has, and makes nothing known. */
static void collect_servers(struct check *c, struct names *servers)
{
        struct definition *d = c->definition;

        if (strmap_reserve(&servers->map, d->n_servers) < 0)
                c->no_memory = true;
        for (uint32_t i = 0; i < d->n_servers; i++) {
                const char *name = d->servers[i].name;
                uint64_t first = name ? names_add(c, servers, name, i) : i;

                if (first != i)
                        duplicate(c, d->servers[i].node, "name", "the server", name,
                                  d->servers[first].node);
        }
        for (uint32_t i = 0; i < d->n_operations; i++)
                if (d->operations[i].target == TARGET_SERVER)
                        for (uint32_t k = 0; k < d->operations[i].items.n; k++)
                                names_add(c, servers, d->operations[i].items.list[k], UINT64_MAX);
}

static void check_server(struct check *c, const struct names *servers, const char *name, uint32_t node)
{
        char text[1024];

        if (!servers->n || names_has(servers, name))
                return; /* with no server in the definition, all are the inventory's */
        hint(c, servers, name, text, sizeof(text));
        check_problem(c, node, NULL,
                      "there is no server \"%s\" in this workflow.%s One that exists from an earlier run "
                      "is named by an entry in `servers`.", name, text);
}

static void check_server_references(struct check *c, const struct names *servers)
{
        struct definition *d = c->definition;

        for (uint32_t i = 0; i < d->n_operations; i++) {
                const struct operation_def *o = &d->operations[i];

                if (o->target == TARGET_SERVER && o->servers.n)
                        check_problem(c, member(c, o->node, "servers"), NULL,
                                      "an operation on servers takes their names in `items`; `servers` "
                                      "says where taskservs and clusters go");
                else if (o->type != OPERATION_DELETE)
                        for (uint32_t k = 0; k < o->servers.n; k++)
                                check_server(c, servers, o->servers.list[k],
                                             check_child(c, o->node, "servers", k));
        }
        for (uint32_t i = 0; i < d->n_clusters; i++)
                for (uint32_t k = 0; k < d->clusters[i].servers.n; k++)
                        check_server(c, servers, d->clusters[i].servers.list[k],
                                     check_child(c, d->clusters[i].node, "servers", k));
}

static void check_clusters(struct check *c)
{
        struct definition *d = c->definition;
        struct names clusters = { 0 };
        char text[1024];

        for (uint32_t i = 0; i < d->n_clusters; i++) {
                const char *name = d->clusters[i].name;
                uint64_t first = name ? names_add(c, &clusters, name, i) : i;

                if (first != i)
                        duplicate(c, d->clusters[i].node, "name", "the cluster", name,
                                  d->clusters[first].node);
        }
        for (uint32_t i = 0; i < d->n_operations && clusters.n; i++) {
                const struct operation_def *o = &d->operations[i];

                if (o->target != TARGET_CLUSTER || o->type == OPERATION_DELETE)
                        continue;
                for (uint32_t k = 0; k < o->items.n; k++) {
                        if (names_has(&clusters, o->items.list[k]))
                                continue;
                        hint(c, &clusters, o->items.list[k], text, sizeof(text));
                        check_problem(c, check_child(c, o->node, "items", k), NULL,
                                      "there is no cluster \"%s\" in `clusters`.%s", o->items.list[k],
                                      text);
                }
        }
        names_deinit(&clusters);
}

/* KIND.NAME or KIND.NAME@WHERE. Kinds other than the three are those of shared resources, which
 * providers declare ("network.private@upcloud"). */
static void check_resource(struct check *c, const struct names *servers, uint32_t node,
                           const char *value)
{
        static const char *const kinds[] = { "server", "taskserv", "cluster" };
        const char *dot = strchr(value, '.'), *at = strchr(value, '@'), *similar = NULL;
        char kind[65];
        size_t n = dot ? (size_t)(dot - value) : 0;

        if (n && n < sizeof(kind)) {
                memcpy(kind, value, n);
                kind[n] = 0;
                similar = check_similar(c, kind, kinds, N_ELEMENTS(kinds));
        }
        if (similar && !streq(similar, kind)) {
                check_problem(c, node, NULL, "unknown kind of resource \"%s\" in \"%.60s\". Did you "
                              "mean \"%s\"?", kind, value, similar);
                return;
        }
        if (!n || n >= sizeof(kind) || kind[strspn(kind, "abcdefghijklmnopqrstuvwxyz_")] || !dot[1] ||
            dot[1] == '@' || (at && (!at[1] || strchr(at + 1, '@'))) || strpbrk(value, " \t\n/")) {
                check_problem(c, node, NULL,
                              "\"%.60s\" names no resource; expected KIND.NAME or KIND.NAME@SERVER, such as "
                              "\"server.web-0\" or \"taskserv.containerd@web-0\"", value);
                return;
        }
        if (streq(kind, "server") && at)
                check_problem(c, node, NULL, "\"%.60s\": a server stands on no other; expected "
                              "\"server.NAME\"", value);
        else if (streq(kind, "server"))
                check_server(c, servers, dot + 1, node);
        else if (streq(kind, "taskserv") && at)
                check_server(c, servers, at + 1, node);
}

static void check_dependencies(struct check *c, const struct names *servers)
{
        struct definition *d = c->definition;

        for (uint32_t i = 0; i < d->n_dependencies; i++) {
                const struct dependency_def *e = &d->dependencies[i];

                if (e->source && *e->source)
                        check_resource(c, servers, member(c, e->node, "source"), e->source);
                if (e->target && *e->target)
                        check_resource(c, servers, member(c, e->node, "target"), e->target);
                if (e->source && e->target && *e->source && streq(e->source, e->target))
                        check_problem(c, member(c, e->node, "target"), NULL,
                                      "\"%.60s\" depends on itself; remove this dependency", e->source);
                if (e->wait_condition && *e->wait_condition && e->type == DEPENDENCY_OPTIONAL)
                        check_problem(c, member(c, e->node, "wait_condition"), NULL,
                                      "an optional dependency is waited for only where it is in the "
                                      "plan, so it has no condition; make its type hard or soft");
        }
}

/* --- networks and security groups --- */

/* "10.0.0.0/8", "2001:db8::/32": *ret_exact is false if there are bits behind the prefix. */
static bool is_cidr(const char *text, bool *ret_exact)
{
        const char *slash = strchr(text, '/');
        uint8_t address[16];
        char host[64];
        size_t n = slash ? (size_t)(slash - text) : 0, bits, length;
        bool v6 = strchr(text, ':');
        char *end;

        if (!n || n >= sizeof(host) || slash[1] < '0' || slash[1] > '9')
                return false;
        memcpy(host, text, n);
        host[n] = 0;
        length = strtoul(slash + 1, &end, 10);
        bits = v6 ? 128 : 32;
        if (*end || length > bits || inet_pton(v6 ? AF_INET6 : AF_INET, host, address) != 1)
                return false;
        *ret_exact = true;
        for (size_t i = length; i < bits; i++)
                *ret_exact &= !(address[i / 8] & 0x80u >> i % 8);
        return true;
}

static void check_cidr(struct check *c, uint32_t map, const char *key, const char *value)
{
        bool exact = true;

        if (!value || !*value || (is_cidr(value, &exact) && exact))
                return;
        if (!exact)
                check_problem(c, member(c, map, key), NULL, "\"%.60s\" has bits set behind its prefix; "
                              "expected the network's own address, such as 10.8.0.0/22", value);
        else
                check_problem(c, member(c, map, key), NULL, "\"%.60s\" is no range of addresses; "
                              "expected ADDRESS/PREFIX, such as 10.8.0.0/22 or 2001:db8::/32", value);
}

/* "8000-8100" */
static bool is_port_range(const char *text)
{
        unsigned from, to;
        int n = 0;

        return text[0] >= '0' && text[0] <= '9' && sscanf(text, "%5u-%5u%n", &from, &to, &n) == 2 &&
               !text[n] && from >= 1 && to <= 65535 && from <= to;
}

static void check_rule(struct check *c, const struct rule_def *r)
{
        bool out = r->direction && streq(r->direction, "out");
        bool no_ports = r->protocol && !streq(r->protocol, "tcp") && !streq(r->protocol, "udp");

        check_cidr(c, r->node, "source", r->source);
        check_cidr(c, r->node, "destination", r->destination);
        if (r->port && r->ports)
                check_problem(c, member(c, r->node, "ports"), NULL,
                              "port and ports exclude each other; keep one");
        else if (r->ports && *r->ports && !is_port_range(r->ports))
                check_problem(c, member(c, r->node, "ports"), NULL, "\"%.20s\" is no range of ports; "
                              "expected FROM-TO with both from 1 to 65535, such as \"8000-8100\"", r->ports);
        else if ((r->port || r->ports) && no_ports)
                check_problem(c, member(c, r->node, r->port ? "port" : "ports"), NULL,
                              "protocol %s has no ports; leave this out", r->protocol);
        if (r->source && out)
                check_problem(c, member(c, r->node, "source"), NULL, "a rule of direction out is about "
                              "where it goes; write destination");
        if (r->destination && r->direction && !out)
                check_problem(c, member(c, r->node, "destination"), NULL, "a rule of direction in is "
                              "about where it comes from; write source");
}

/* One of a name for each provider; one without a provider is for all. */
static void check_shared(struct check *c, struct names *names, const char *what, const char *name,
                         const char *provider, uint32_t node, uint32_t *nodes, uint32_t i)
{
        char key[300];
        uint64_t first;

        if (!name)
                return;
        nodes[i] = node;
        snprintf(key, sizeof(key), "%s@%s", name, provider ? provider : "");
        first = names_add(c, names, arena_strdup(&c->definition->arena, key) ?: "", i);
        if (first != i)
                duplicate(c, node, "name", what, name, nodes[first]);
}

static void check_networks(struct check *c)
{
        struct definition *d = c->definition;
        struct names networks = { 0 }, groups = { 0 };
        uint32_t n = MAX(d->n_networks, d->n_security_groups);
        uint32_t *nodes = calloc(n + (size_t)1, sizeof(*nodes));

        if (!nodes) {
                c->no_memory = true;
                return;
        }
        for (uint32_t i = 0; i < d->n_networks; i++) {
                const struct network_def *e = &d->networks[i];

                check_cidr(c, e->node, "address", e->address);
                check_shared(c, &networks, "the network", e->name, e->provider, e->node, nodes, i);
        }
        for (uint32_t i = 0; i < d->n_security_groups; i++) {
                const struct security_group_def *e = &d->security_groups[i];

                for (uint32_t k = 0; k < e->n_rules; k++)
                        check_rule(c, &e->rules[k]);
                check_shared(c, &groups, "the security group", e->name, e->provider, e->node, nodes, i);
        }
        names_deinit(&networks);
        names_deinit(&groups);
        free(nodes);
}

static void check_delays(struct check *c)
{
        struct definition *d = c->definition;
        uint32_t node = document_get(c->d, c->top, "retry_policy");

        if (node == DOC_NONE || d->retry.max_delay_s >= d->retry.initial_delay_s ||
            !d->retry.max_attempts)
                return;
        check_problem(c, member(c, node, "initial_delay"), NULL,
                      "initial_delay (%u) is longer than max_delay (%u); expected at most that",
                      d->retry.initial_delay_s, d->retry.max_delay_s);
}

void check_references(struct check *c)
{
        struct names ids = { 0 }, servers = { 0 };

        check_operations(c, &ids);
        collect_servers(c, &servers);
        check_server_references(c, &servers);
        check_clusters(c);
        check_dependencies(c, &servers);
        check_networks(c);
        check_delays(c);
        names_deinit(&servers);
        names_deinit(&ids);
}
