/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private networks, and the routers that join them. Both are made at once and strongly consistent;
 * but a POST makes another one each time, so what carries our marks is looked for first.
 */
#include "upcloud.h"

#define ASK_MS 1000

/* --- prepare --- */

/* A network of its own for each workflow, the same each time: 172.16.0.0/12 is not what UpCloud's
 * own networks use. */
static char *choose_address(const char *workflow, const char *name)
{
        uint32_t hash = 2166136261u;

        for (const char *p = workflow; *p; p++)
                hash = (hash ^ (unsigned char)*p) * 16777619u;
        for (const char *p = name; *p; p++)
                hash = (hash ^ (unsigned char)*p) * 16777619u;
        return up_format("172.%u.%u.0/22", 16 + hash % 16, (hash >> 8) % 64 * 4);
}

static int32_t bad(struct upcloud *u, struct prvng_call *call, const char *field, const char *text,
                   const char *accepted)
{
        return up_fail(u, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, field,
                       "upcloud: %s = \"%.200s\" is not accepted; %s", field, text, accepted);
}

static int32_t prepare(struct upcloud *u, struct prvng_call *call, const char *verb,
                       const json_t *task, json_t *request)
{
        const json_t *spec = json_object_get(task, "spec"),
                     *block = json_object_get(spec, "upcloud");
        const char *zone = up_string(spec, "zone", u->config.zone ? u->config.zone : "");
        const char *address = up_string(spec, "address", ""), *family;
        _cleanup_(cleanup_free) char *chosen = NULL;
        char first[46], last[46];
        json_t *out;

        if (streq(verb, "delete")) {
                json_object_set_new(request, "spec", json_object());
                return PRVNG_DONE;
        }
        if (json_array_size(json_object_get(spec, "zones")) > 1)
                return up_fail(
                        u, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, "spec.zones",
                        "upcloud: the servers of network %s stand in several zones, and a private"
                        " network of UpCloud has one; put them into one zone, or name a network of"
                        " each zone in their networks",
                        up_string(task, "name", ""));
        if (!*zone)
                zone = json_array_size(json_object_get(spec, "zones"))
                               ? json_string_value(
                                         json_array_get(json_object_get(spec, "zones"), 0))
                               : "";
        if (!zone || !*zone)
                return up_fail(u, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, "spec.zone",
                               "upcloud: network %s has no zone; write zone = \"fi-hel1\" (or "
                               "another) in the"
                               " definition of its servers, or in the plugin's configuration",
                               up_string(task, "name", ""));
        if (*address && (!firewall_range(address, first, last, &family) || !strchr(address, '/') ||
                         !streq(family, "IPv4")))
                return bad(u, call, "spec.address", address,
                           "write a network such as \"10.8.0.0/22\"");
        chosen = choose_address(up_string(task, "workflow", ""), up_string(task, "name", ""));
        out = json_pack("{s:s, s:s, s:b, s:O*, s:b}", "zone", zone, "address",
                        *address ? address : chosen, "dhcp", up_yes(block, "dhcp", true), "dns",
                        json_object_get(block, "dns"), "router", up_yes(block, "router", false));
        if (up_present(block, "gateway"))
                json_object_set(out, "gateway", json_object_get(block, "gateway"));
        if (!*address)
                json_object_set_new(out, "chosen", json_true());
        json_object_set_new(request, "spec", out);
        return PRVNG_DONE;
}

/* --- the API --- */

static json_t *body_of_network(const struct request *q, const char *op_id, const char *router)
{
        const json_t *spec = q->spec;
        json_t *ip = json_pack("{s:s, s:s, s:s, s:s, s:O*, s:O*}", "address",
                               up_string(spec, "address", ""), "dhcp",
                               up_yes(spec, "dhcp", true) ? "yes" : "no", "dhcp_default_route",
                               "no", "family", "IPv4", "gateway", json_object_get(spec, "gateway"),
                               "dhcp_dns", json_object_get(spec, "dns"));

        return json_pack("{s:{s:s, s:s, s:s*, s:{s:[o]}, s:o}}", "network", "name", q->name, "zone",
                         up_string(spec, "zone", ""), "router", router, "ip_networks", "ip_network",
                         ip, "labels", up_marks(q, op_id, NULL));
}

static const json_t *first_ip(const json_t *network)
{
        return json_array_get(up_inner(network, "ip_networks", "ip_network"), 0);
}

static json_t *outputs_of(const struct request *q, const json_t *network)
{
        return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s*}", "id", up_string(network, "uuid", ""),
                         "name", q->name, "state", "running", "zone",
                         up_string(network, "zone", ""), "address",
                         up_string(first_ip(network), "address", ""), "router",
                         up_string(network, "router", NULL));
}

static int32_t tell(struct upcloud *u, struct prvng_call *call, const struct request *q,
                    const json_t *network, int32_t class, struct prvng_sink *result)
{
        _cleanup_(cleanup_json) json_t *outputs = outputs_of(q, network);
        int32_t r = up_reply(u, call, result, outputs);

        return r < 0 ? r : class;
}

static void add_drift(json_t *drift, const char *attribute, const char *wanted, const char *found)
{
        if (*wanted && !streq(wanted, found))
                json_array_append_new(drift, json_pack("{s:s, s:s, s:s}", "attribute", attribute,
                                                       "wanted", wanted, "found", found));
}

static json_t *drift_of(const struct request *q, const json_t *network)
{
        json_t *drift = json_array();
        const json_t *ip = first_ip(network);
        bool routed = *up_string(network, "router", "");

        add_drift(drift, "zone", up_string(q->spec, "zone", ""), up_string(network, "zone", ""));
        if (!up_yes(q->spec, "chosen", false))
                add_drift(drift, "address", up_string(q->spec, "address", ""),
                          up_string(ip, "address", ""));
        if (up_yes(q->spec, "router", false) != routed)
                add_drift(drift, "router", routed ? "no" : "yes", routed ? "yes" : "no");
        return drift;
}

/* The router of this network, found by its marks, else made. NULL id: none is wanted. */
static int32_t get_router(struct upcloud *u, struct prvng_call *call, const struct request *q,
                          char **ret_id)
{
        _cleanup_(cleanup_reply) struct reply reply = REPLY_NULL;
        _cleanup_(cleanup_json) json_t *routers = NULL;
        char what[160];
        int32_t r;

        if (!up_yes(q->spec, "router", false))
                return PRVNG_DONE;
        r = find_marked(u, call, "router", q->site, q->workflow, q->name, NULL, PRVNG_EFFECT_NONE,
                        &routers);
        if (r < 0)
                return r;
        if (json_array_size(routers) > 0) {
                *ret_id = strdup(up_string(json_array_get(routers, 0), "uuid", ""));
                return PRVNG_DONE;
        }
        r = api_change(u, call, "POST", "/router",
                       json_pack("{s:{s:s, s:o}}", "router", "name", q->name, "labels",
                                 up_marks(q, call->op_id, NULL)),
                       &reply);
        if (r < 0)
                return r;
        snprintf(what, sizeof(what), "a router for network %.100s cannot be made", q->name);
        if (reply.status < 200 || reply.status > 299)
                return api_fail(u, call, &reply, PRVNG_EFFECT_NONE, what);
        *ret_id = strdup(up_string(json_object_get(reply.body, "router"), "uuid", ""));
        return PRVNG_DONE;
}

/* By its id, else by its marks; what has an id and is to be deleted by that only: another one that
 * carries the same marks is not meant. */
static int32_t find_own(struct upcloud *u, struct prvng_call *call, const struct request *q,
                        bool delete, uint32_t effect, json_t **ret)
{
        _cleanup_(cleanup_json) json_t *networks = NULL;
        json_t *one;
        size_t i;
        int32_t r;

        if (*q->id) {
                r = find_network(u, call, q->id, effect, ret);
                if (r != PRVNG_NOT_FOUND || delete)
                        return r;
        }
        r = find_marked(u, call, "network", q->site, q->workflow, q->name, NULL, effect, &networks);
        if (r < 0)
                return r;
        /* What this very request made comes before what another one did. */
        json_array_foreach (networks, i, one) {
                _cleanup_(cleanup_json) json_t *labels = up_labels(one);

                if (streq(up_string(labels, MARK_OP, ""), call->op_id)) {
                        *ret = json_incref(one);
                        return PRVNG_DONE;
                }
        }
        if (json_array_size(networks) == 0)
                return PRVNG_NOT_FOUND;
        *ret = json_incref(json_array_get(networks, 0));
        return PRVNG_DONE;
}

static bool made_by(const json_t *network, const char *op_id)
{
        _cleanup_(cleanup_json) json_t *labels = up_labels(network);

        return streq(up_string(labels, MARK_OP, ""), op_id);
}

static int32_t create(struct upcloud *u, struct prvng_call *call, const struct request *q,
                      struct prvng_sink *result)
{
        _cleanup_(cleanup_reply) struct reply reply = REPLY_NULL;
        _cleanup_(cleanup_json) json_t *there = NULL, *drift = NULL;
        _cleanup_(cleanup_free) char *router = NULL;
        char what[160];
        int32_t r = find_own(u, call, q, false,
                             call->attempt > 1 ? PRVNG_EFFECT_UNKNOWN : PRVNG_EFFECT_NONE, &there);

        if (r < 0 && r != PRVNG_NOT_FOUND)
                return r;
        if (there) {
                drift = drift_of(q, there);
                if (json_array_size(drift) > 0)
                        return up_fail(u, call, PRVNG_CONFLICT, PRVNG_EFFECT_NONE,
                                       up_string(json_array_get(drift, 0), "attribute", ""),
                                       "upcloud: network %s is there already, but its %s is %s, "
                                       "not %s; change the"
                                       " definition, or delete it",
                                       q->name,
                                       up_string(json_array_get(drift, 0), "attribute", ""),
                                       up_string(json_array_get(drift, 0), "found", ""),
                                       up_string(json_array_get(drift, 0), "wanted", ""));
                return tell(u, call, q, there,
                            made_by(there, call->op_id) ? PRVNG_DONE : PRVNG_UNCHANGED, result);
        }
        r = get_router(u, call, q, &router);
        if (r < 0)
                return r;
        r = api_change(u, call, "POST", "/network/", body_of_network(q, call->op_id, router),
                       &reply);
        if (r < 0)
                return r;
        snprintf(what, sizeof(what), "network %.100s cannot be made", q->name);
        if (reply.status < 200 || reply.status > 299)
                return api_fail(u, call, &reply, router ? PRVNG_EFFECT_PARTIAL : PRVNG_EFFECT_NONE,
                                what);
        return tell(u, call, q, json_object_get(reply.body, "network"), PRVNG_DONE, result);
}

/* --- delete --- */

static int32_t remove_routers(struct upcloud *u, struct prvng_call *call, const struct request *q)
{
        _cleanup_(cleanup_json) json_t *routers = NULL;
        json_t *one;
        size_t i;
        int32_t r = find_marked(u, call, "router", q->site, q->workflow, q->name, NULL,
                                PRVNG_EFFECT_PARTIAL, &routers);

        if (r < 0)
                return r;
        json_array_foreach (routers, i, one) {
                _cleanup_(cleanup_reply) struct reply reply = REPLY_NULL;
                char target[128], what[160];

                snprintf(target, sizeof(target), "/router/%.64s", up_string(one, "uuid", ""));
                r = api_change(u, call, "DELETE", target, NULL, &reply);
                if (r < 0)
                        return r;
                snprintf(what, sizeof(what), "the router of network %.100s cannot be deleted",
                         q->name);
                if (reply.status != 404 && (reply.status < 200 || reply.status > 299))
                        return api_fail(u, call, &reply, PRVNG_EFFECT_PARTIAL, what);
        }
        return PRVNG_DONE;
}

/* NETWORK_NOT_EMPTY: servers that are there keep it; what is just being deleted is waited for. */
static int32_t in_use(struct upcloud *u, struct prvng_call *call, const struct request *q,
                      const char *id)
{
        _cleanup_(cleanup_json) json_t *network = NULL;
        json_t *servers, *one;
        char names[512] = "";
        size_t i, n = 0;
        int32_t r = find_network(u, call, id, PRVNG_EFFECT_NONE, &network);

        if (r < 0 && r != PRVNG_NOT_FOUND)
                return r;
        servers = up_inner(network, "servers", "server");
        json_array_foreach (servers, i, one)
                if (n + 1 < sizeof(names))
                        n += (size_t)snprintf(names + n, sizeof(names) - n, "%s%s", n ? ", " : "",
                                              up_string(one, "title", up_string(one, "uuid", "?")));
        if (!n)
                return up_fail_at(u, call, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, 409, ASK_MS, NULL,
                                  "upcloud: the network's last server is not quite gone");
        return up_fail(u, call, PRVNG_CONFLICT, PRVNG_EFFECT_NONE, NULL,
                       "upcloud: network %s is still used by %s", q->name, names);
}

static int32_t delete (struct upcloud *u, struct prvng_call *call, const struct request *q,
                       struct prvng_sink *result)
{
        _cleanup_(cleanup_reply) struct reply reply = REPLY_NULL;
        _cleanup_(cleanup_json) json_t *there = NULL, *nothing = json_object();
        char target[128], what[160];
        int32_t r = find_own(u, call, q, true, PRVNG_EFFECT_NONE, &there);
        bool routed = *up_string(there, "router", "");

        if (r < 0 && r != PRVNG_NOT_FOUND)
                return r;
        if (there) {
                snprintf(target, sizeof(target), "/network/%.64s", up_string(there, "uuid", ""));
                r = api_change(u, call, "DELETE", target, NULL, &reply);
                if (r < 0)
                        return r;
                snprintf(what, sizeof(what), "network %.100s cannot be deleted", q->name);
                if (reply.status == 409)
                        return in_use(u, call, q, up_string(there, "uuid", ""));
                if (reply.status != 404 && (reply.status < 200 || reply.status > 299))
                        return api_fail(u, call, &reply, PRVNG_EFFECT_NONE, what);
        }
        r = routed || !there ? remove_routers(u, call, q) : PRVNG_DONE;
        if (r < 0)
                return r;
        r = up_reply(u, call, result, nothing);
        return r < 0 ? r : there ? PRVNG_DONE : PRVNG_UNCHANGED;
}

/* --- update, check and the rest --- */

/* Only the router can be changed: attached or detached. */
static int32_t update(struct upcloud *u, struct prvng_call *call, const struct request *q,
                      struct prvng_sink *result)
{
        _cleanup_(cleanup_reply) struct reply reply = REPLY_NULL;
        _cleanup_(cleanup_json) json_t *there = NULL, *drift = NULL;
        _cleanup_(cleanup_free) char *router = NULL;
        char target[128], what[160];
        int32_t r = find_own(u, call, q, false, PRVNG_EFFECT_NONE, &there);
        const char *attribute;

        if (r == PRVNG_NOT_FOUND)
                return up_fail(u, call, r, PRVNG_EFFECT_NONE, NULL,
                               "upcloud: there is no network %s; create makes it again", q->name);
        if (r < 0)
                return r;
        drift = drift_of(q, there);
        attribute = up_string(json_array_get(drift, 0), "attribute", "");
        if (!*attribute)
                return tell(u, call, q, there, PRVNG_UNCHANGED, result);
        if (!streq(attribute, "router"))
                return up_fail(u, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, attribute,
                               "upcloud: %s of network %s cannot be changed; delete it and create "
                               "it again",
                               attribute, q->name);
        r = get_router(u, call, q, &router);
        if (r < 0)
                return r;
        snprintf(target, sizeof(target), "/network/%.64s", up_string(there, "uuid", ""));
        r = api_change(u, call, "PUT", target, json_pack("{s:{s:s?}}", "network", "router", router),
                       &reply);
        if (r < 0)
                return r;
        snprintf(what, sizeof(what), "network %.100s cannot be changed", q->name);
        if (reply.status < 200 || reply.status > 299)
                return api_fail(u, call, &reply, router ? PRVNG_EFFECT_PARTIAL : PRVNG_EFFECT_NONE,
                                what);
        r = router ? PRVNG_DONE : remove_routers(u, call, q);
        return r < 0 ? r
                     : tell(u, call, q, json_object_get(reply.body, "network"), PRVNG_DONE, result);
}

static int32_t check(struct upcloud *u, struct prvng_call *call, const struct request *q,
                     struct prvng_sink *result)
{
        _cleanup_(cleanup_json) json_t *there = NULL, *drift = NULL, *outputs = NULL;
        int32_t r = find_own(u, call, q, false, PRVNG_EFFECT_NONE, &there);

        if (r < 0 && r != PRVNG_NOT_FOUND)
                return r;
        drift = there ? drift_of(q, there) : json_array();
        outputs = there ? outputs_of(q, there) : json_object();
        if (!there)
                add_drift(drift, "state", "running", "absent");
        if (json_array_size(drift) > 0)
                json_object_set(outputs, "drift", drift);
        r = up_reply(u, call, result, outputs);
        return r < 0 ? r : json_array_size(drift) > 0 ? PRVNG_DONE : PRVNG_UNCHANGED;
}

static int32_t begin(struct upcloud *u, struct prvng_call *call, const char *verb,
                     const struct request *q, struct prvng_sink *token, struct prvng_sink *result)
{
        if (streq(verb, "create"))
                return create(u, call, q, result);
        if (streq(verb, "delete"))
                return delete (u, call, q, result);
        return streq(verb, "update") ? update(u, call, q, result) : check(u, call, q, result);
}

static int32_t poll(struct upcloud *u, struct prvng_call *call, const char *verb,
                    const struct request *q, json_t *token, struct prvng_sink *new_token,
                    struct prvng_sink *result)
{
        return begin(u, call, verb, q, new_token, result);
}

static int32_t observe(struct upcloud *u, struct prvng_call *call, const char *verb,
                       const struct request *q, json_t *token, struct prvng_sink *new_token,
                       struct prvng_sink *result)
{
        _cleanup_(cleanup_json) json_t *there = NULL, *drift = NULL, *nothing = json_object();
        int32_t r;

        if (streq(verb, "check"))
                return PRVNG_OBSERVED_NOT_STARTED;
        r = find_own(u, call, q, streq(verb, "delete"), PRVNG_EFFECT_UNKNOWN, &there);
        if (r < 0 && r != PRVNG_NOT_FOUND)
                return r;
        if (streq(verb, "delete")) /* its router may be left: begin looks */
                return there ? PRVNG_OBSERVED_NOT_STARTED : PRVNG_OBSERVED_PARTIAL;
        if (!there)
                return up_yes(q->spec, "router", false) ? PRVNG_OBSERVED_PARTIAL
                                                        : PRVNG_OBSERVED_NOT_STARTED;
        drift = drift_of(q, there);
        if (streq(verb, "create") ? !made_by(there, call->op_id) : json_array_size(drift) > 0)
                return PRVNG_OBSERVED_NOT_STARTED;
        return tell(u, call, q, there, PRVNG_OBSERVED_DONE, result);
}

static int32_t read(struct upcloud *u, struct prvng_call *call, const struct request *q,
                    struct prvng_sink *result)
{
        _cleanup_(cleanup_json) json_t *there = NULL;
        int32_t r = find_own(u, call, q, false, PRVNG_EFFECT_NONE, &there);

        if (r == PRVNG_NOT_FOUND)
                return up_fail(u, call, r, PRVNG_EFFECT_NONE, NULL,
                               "upcloud: there is no network %s", q->name);
        return r < 0 ? r : tell(u, call, q, there, PRVNG_DONE, result);
}

static int32_t list(struct upcloud *u, struct prvng_call *call, const json_t *filter,
                    json_t *resources)
{
        _cleanup_(cleanup_json) json_t *networks = NULL;
        json_t *one;
        size_t i;
        int32_t r = find_marked(u, call, "network", up_string(filter, "site", NULL),
                                up_string(filter, "workflow", NULL), NULL,
                                up_string(filter, "op_id", NULL), PRVNG_EFFECT_NONE, &networks);

        if (r < 0)
                return r;
        json_array_foreach (networks, i, one) {
                _cleanup_(cleanup_json) json_t *labels = up_labels(one);

                json_array_append_new(resources,
                                      json_pack("{s:s, s:s, s:s, s:s, s:s, s:{s:s}}", "kind",
                                                "network", "name", up_string(labels, MARK_NAME, ""),
                                                "op_id", up_string(labels, MARK_OP, ""), "workflow",
                                                up_string(labels, MARK_WORKFLOW, ""), "site",
                                                up_string(labels, MARK_SITE, ""), "identity", "id",
                                                up_string(one, "uuid", "")));
        }
        return PRVNG_DONE;
}

const struct kind kind_network = {
        .name = "network",
        .prepare = prepare,
        .begin = begin,
        .poll = poll,
        .observe = observe,
        .read = read,
        .list = list,
};
