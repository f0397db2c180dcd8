/* SPDX-License-Identifier: Apache-2.0 */
/* Networks: the request, and what only looks. */
#include "network.h"
#include "rules.h"

#include <arpa/inet.h>

#define ADDRESS_DEFAULT "10.88.0.0/16"
#define ZONES_MAX       8
#define ZONES_DEFAULT   3

void network_deinit(struct network *n)
{
        json_decref(n->others);
        json_decref(n->subnets);
}

int32_t network_prepare(struct aws *a, struct prvng_call *call, const char *verb, const json_t *task, json_t *out)
{
        const json_t *spec = json_object_get(task, "spec"), *block = json_object_get(spec, "aws");
        const json_t *zones = json_object_get(spec, "zones"), *former = json_object_get(task, "former");
        const char *address = aws_string(spec, "address", ""), *key;
        json_t *list = json_array(), *v;
        char normal[64];
        bool six;
        size_t i;

        json_object_set_new(out, "zones", list);
        if (streq(verb, "delete"))
                return PRVNG_DONE;
        json_object_foreach ((json_t *)(uintptr_t)block, key, v)
                if (!streq(key, "public") || !json_is_boolean(v))
                        return bad_field(a, call, "spec.aws", block, "the block aws of a network knows public (True or False)");
        if (*address && (!cidr_normal(address, normal, &six) || six || atoi(strchr(normal, '/') + 1) < 16 ||
                         atoi(strchr(normal, '/') + 1) > 28))
                return bad_field(a, call, "spec.address", json_object_get(spec, "address"),
                                 "write a network of IPv4 with a length of 16 to 28, e.g. \"10.8.0.0/20\"");
        if (streq(verb, "update") && *address && *aws_string(former, "address", "") &&
            !streq(address, aws_string(former, "address", "")))
                return bad_field(a, call, "spec.address", json_object_get(spec, "address"),
                                 "the address of a network cannot be changed while it lives; delete it and create it anew");
        if (*aws_string(spec, "zone", ""))
                json_array_append(list, json_object_get(spec, "zone"));
        json_array_foreach (zones, i, v)
                json_array_append(list, v);
        json_array_foreach (list, i, v)
                if (!json_is_string(v) || i >= ZONES_MAX || (*a->region && strncmp(json_string_value(v), a->region, strlen(a->region)) != 0))
                        return bad_field(a, call, "spec.zones", v,
                                         "write at most 8 availability zones of the site's region, e.g. \"eu-central-1a\"");
        json_object_set_new(out, "address", json_string(*address ? normal : ""));
        json_object_set_new(out, "public", json_boolean(!json_is_false(json_object_get(block, "public"))));
        return PRVNG_DONE;
}

void network_part(const char *address, unsigned bits, unsigned i, char ret[64])
{
        const char *slash = strchr(address, '/');
        unsigned length = slash ? (unsigned)atoi(slash + 1) : 33;
        struct in_addr in;
        char text[INET_ADDRSTRLEN], copy[64];

        *ret = '\0';
        snprintf(copy, sizeof(copy), "%.*s", slash ? (int)(slash - address) : 0, address);
        if (length + bits > 28 || i >> bits || inet_pton(AF_INET, copy, &in) != 1)
                return;
        in.s_addr = htonl(ntohl(in.s_addr) + (i << (32 - length - bits)));
        if (inet_ntop(AF_INET, &in, text, sizeof(text)))
                snprintf(ret, 64, "%s/%u", text, length + bits);
}

/* --- looking --- */

static int32_t ask(struct op *o, const struct query *q, struct reply *reply, struct fault *f)
{
        int32_t r = aws_ask(o->a, o->call, AWS_EC2, q, reply);

        *f = reply->fault;
        return r;
}

static void take_vpc(struct network *n, const struct xml_node *vpc)
{
        snprintf(n->id, sizeof(n->id), "%s", xml_text(vpc, "vpcId"));
        snprintf(n->address, sizeof(n->address), "%s", xml_text(vpc, "cidrBlock"));
        snprintf(n->op_id, sizeof(n->op_id), "%s", tag_of(vpc, TAG_OP));
}

/* Of several that carry the op id the one with the smallest id counts, at every look. */
static int32_t look_vpc(struct op *o, const char *id, const char *op_id, struct network *n, struct fault *f)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};
        int32_t r;

        query_begin(&q, "DescribeVpcs", EC2_VERSION);
        if (*id)
                query_add(&q, id, "VpcId.1");
        else
                tags_filter(&q, 1, o);
        r = ask(o, &q, &reply, f);
        if (r < 0)
                return f->error_class == PRVNG_NOT_FOUND ? PRVNG_DONE : r;
        xml_foreach (vpc, reply_root(&reply), "vpcSet") {
                const char *found = xml_text(vpc, "vpcId");
                bool own = streq(tag_of(vpc, TAG_OP), op_id), had = streq(n->op_id, op_id);

                if (*n->id && own && had)
                        json_array_append_new(n->others, json_string(strcmp(found, n->id) < 0 ? n->id : found));
                if (!*n->id || (own && (!had || strcmp(found, n->id) < 0)))
                        take_vpc(n, vpc);
        }
        return PRVNG_DONE;
}

/* Ours: attached to the VPC, or made for it and not attached yet. */
static int32_t look_gateway(struct op *o, struct network *n, struct fault *f)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL, made = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0}, loose = {0};
        const struct xml_node *found;

        query_begin(&q, "DescribeInternetGateways", EC2_VERSION);
        query_filter(&q, 1, "attachment.vpc-id", n->id);
        if (ask(o, &q, &reply, f) < 0)
                return f->error_class;
        found = xml_child(xml_find(reply_root(&reply), "internetGatewaySet"), "item");
        n->attached = found != NULL;
        if (!found && *n->op_id) {
                query_begin(&made, "DescribeInternetGateways", EC2_VERSION);
                query_filter(&made, 1, "tag:" TAG_OP, n->op_id);
                if (ask(o, &made, &loose, f) < 0)
                        return f->error_class;
                found = xml_child(xml_find(reply_root(&loose), "internetGatewaySet"), "item");
        }
        snprintf(n->gateway, sizeof(n->gateway), "%s", xml_text(found, "internetGatewayId"));
        return PRVNG_DONE;
}

static int32_t look_routes(struct op *o, struct network *n, struct fault *f)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};
        const struct xml_node *table;

        query_begin(&q, "DescribeRouteTables", EC2_VERSION);
        query_filter(&q, 1, "vpc-id", n->id);
        query_filter(&q, 2, "association.main", "true");
        if (ask(o, &q, &reply, f) < 0)
                return f->error_class;
        table = xml_child(xml_find(reply_root(&reply), "routeTableSet"), "item");
        snprintf(n->route_table, sizeof(n->route_table), "%s", xml_text(table, "routeTableId"));
        xml_foreach (route, table, "routeSet")
                n->routed |= streq(xml_text(route, "destinationCidrBlock"), "0.0.0.0/0");
        return PRVNG_DONE;
}

static int32_t look_subnets(struct op *o, struct network *n, struct fault *f)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};

        query_begin(&q, "DescribeSubnets", EC2_VERSION);
        query_filter(&q, 1, "vpc-id", n->id);
        if (ask(o, &q, &reply, f) < 0)
                return f->error_class;
        xml_foreach (subnet, reply_root(&reply), "subnetSet")
                json_object_set_new(n->subnets, xml_text(subnet, "availabilityZone"),
                                    json_pack("{s:s, s:s, s:b}", "id", xml_text(subnet, "subnetId"), "address",
                                              xml_text(subnet, "cidrBlock"), "public",
                                              streq(xml_text(subnet, "mapPublicIpOnLaunch"), "true")));
        return PRVNG_DONE;
}

int32_t network_look(struct op *o, const char *id, const char *op_id, struct network *n, struct fault *f)
{
        int32_t (*const parts[])(struct op *, struct network *, struct fault *) = {look_gateway, look_routes,
                                                                                   look_subnets};
        int32_t r;

        *n = (struct network){.others = json_array(), .subnets = json_object()};
        r = look_vpc(o, id, op_id, n, f);
        for (size_t i = 0; r == PRVNG_DONE && *n->id && i < N_ELEMENTS(parts); i++)
                r = parts[i](o, n, f);
        return r;
}

int32_t network_zones(struct op *o, json_t **ret, struct fault *f)
{
        const json_t *wanted = json_object_get(o->request, "zones");
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};

        if (json_array_size(wanted) > 0) {
                *ret = json_deep_copy(wanted);
                return PRVNG_DONE;
        }
        query_begin(&q, "DescribeAvailabilityZones", EC2_VERSION);
        query_filter(&q, 1, "state", "available");
        query_filter(&q, 2, "zone-type", "availability-zone");
        if (ask(o, &q, &reply, f) < 0)
                return f->error_class;
        *ret = json_array();
        xml_foreach (zone, reply_root(&reply), "availabilityZoneInfo")
                if (json_array_size(*ret) < ZONES_DEFAULT)
                        json_array_append_new(*ret, json_string(xml_text(zone, "zoneName")));
        return PRVNG_DONE;
}

json_t *network_result(struct op *o, const struct network *n)
{
        json_t *subnets = json_object(), *zones = json_array(), *v;
        const char *zone;

        json_object_foreach (n->subnets, zone, v) {
                json_object_set(subnets, zone, json_object_get(v, "id"));
                json_array_append_new(zones, json_string(zone));
        }
        return json_pack("{s:s, s:s, s:s, s:o, s:o, s:s, s:b, s:s}", "id", n->id, "name", o->name, "address",
                         n->address, "zones", zones, "subnets", subnets, "gateway", n->attached ? n->gateway : "",
                         "public", n->routed, "op_id", *n->op_id ? n->op_id : op_identity(o, "op_id"));
}

static void differs(json_t *drift, const char *attribute, const char *wanted, const char *found)
{
        json_array_append_new(drift, json_pack("{s:s, s:s, s:s}", "attribute", attribute, "wanted", wanted, "found",
                                               found));
}

json_t *network_drift(const struct op *o, const struct network *n, const json_t *zones)
{
        const char *address = aws_string(o->request, "address", "");
        bool public = json_is_true(json_object_get(o->request, "public"));
        json_t *drift = json_array(), *zone;
        size_t i;

        if (!*n->id) {
                differs(drift, "state", "present", "absent");
                return drift;
        }
        if (*address && !streq(address, n->address))
                differs(drift, "address", address, n->address);
        if (public != (n->attached && n->routed))
                differs(drift, "aws.public", public ? "true" : "false", public ? "false" : "true");
        json_array_foreach (zones, i, zone)
                if (!json_object_get(n->subnets, json_string_value(zone)))
                        differs(drift, "zones", json_string_value(zone), "no subnet");
        return drift;
}

/* The zones are those of the request: what AWS chose may be what it likes. */
int32_t network_check(struct op *o)
{
        struct network n = {.subnets = NULL};
        struct fault f;
        json_t *drift, *result;
        int32_t r;

        if (network_look(o, op_identity(o, "id"), op_identity(o, "op_id"), &n, &f) < 0) {
                network_deinit(&n);
                return aws_report(o->a, o->call, &f, PRVNG_EFFECT_NONE, "network %s could not be checked", o->name);
        }
        drift = network_drift(o, &n, json_object_get(o->request, "zones"));
        result = *n.id ? network_result(o, &n) : json_object();
        r = json_array_size(drift) > 0 ? PRVNG_DONE : PRVNG_UNCHANGED;
        if (r == PRVNG_DONE)
                json_object_set(result, "drift", drift);
        json_decref(drift);
        network_deinit(&n);
        return op_done(o, r, result);
}

int32_t network_read(struct op *o)
{
        struct network n = {.subnets = NULL};
        struct fault f;
        int32_t r;

        if (network_look(o, op_identity(o, "id"), op_identity(o, "op_id"), &n, &f) < 0)
                r = op_fault(o, &f, PRVNG_EFFECT_NONE, "it could not be read");
        else if (!*n.id)
                r = op_fail(o, PRVNG_NOT_FOUND, PRVNG_EFFECT_NONE, "there is none");
        else
                r = op_done(o, PRVNG_DONE, network_result(o, &n));
        network_deinit(&n);
        return r;
}
