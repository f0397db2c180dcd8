/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Networks are made and changed by comparing: look at all parts, make the next that is missing. What AWS
 * would make twice (VPC, gateway) is made once (once.c); subnets cannot overlap, and an attachment and a
 * route are there or not.
 */
#include "network.h"

#include <arpa/inet.h>

#define LOOKS_MAX 40 /* parts in one poll */

/* DONE, CONFLICT (it is there already), or the answer of the poll in *ret. */
static int32_t put(struct op *o, const struct query *q, struct reply *reply, const char *what, int32_t *ret)
{
        int32_t r = aws_ask(o->a, o->call, AWS_EC2, q, reply);
        const struct fault *f = &reply->fault;

        if (r == PRVNG_DONE || (r == PRVNG_CONFLICT && !streq(f->code, "DependencyViolation")))
                return r;
        /* A part that was made a moment ago is not known everywhere. */
        if (r == PRVNG_NOT_FOUND && !op_settled(o))
                *ret = op_pending(o, "make", o->a->poll_ms);
        else
                *ret = op_fault(o, f, PRVNG_EFFECT_PARTIAL, what);
        return r < 0 ? r : PRVNG_INTERNAL;
}

/* The VPC or gateway, exactly once. PENDING: look again. */
static int32_t make_once(struct op *o, const char *what, const char *action, const char *type, const char *address)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};

        if (!once_may_send(o, what)) {
                if (once_is_marked(o, what) && !op_settled(o))
                        return op_pending(o, "make", o->a->poll_ms < 1000 ? o->a->poll_ms : 1000);
                once_mark(o, what);
                return op_pending(o, "make", 0);
        }
        query_begin(&q, action, EC2_VERSION);
        if (*address)
                query_add(&q, address, "CidrBlock");
        tags_add(&q, 1, type, o, NULL);
        if (aws_ask(o->a, o->call, AWS_EC2, &q, &reply) < 0 && !reply.fault.unknown) {
                /* It was refused for certain: the mark is void. */
                uint32_t effect = aws_integer(o->token, "marks", 0) > 1 || !*address ? PRVNG_EFFECT_PARTIAL
                                                                                     : PRVNG_EFFECT_NONE;
                if (reply.fault.error_class == PRVNG_RATE_LIMITED || reply.fault.error_class == PRVNG_TRANSIENT) {
                        json_object_del(o->token, "mark");
                        return op_pending(o, "make", reply.fault.retry_after_ms > 0 ? reply.fault.retry_after_ms : 1000);
                }
                return op_fault(o, &reply.fault, effect, "it could not be made");
        }
        return op_pending(o, "make", o->a->poll_ms);
}

static int32_t attach(struct op *o, const struct network *n, int32_t *ret)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};

        query_begin(&q, "AttachInternetGateway", EC2_VERSION);
        query_add(&q, n->gateway, "InternetGatewayId");
        query_add(&q, n->id, "VpcId");
        return put(o, &q, &reply, "its internet gateway could not be attached", ret);
}

static int32_t route(struct op *o, const struct network *n, int32_t *ret)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};

        query_begin(&q, "CreateRoute", EC2_VERSION);
        query_add(&q, n->route_table, "RouteTableId");
        query_add(&q, "0.0.0.0/0", "DestinationCidrBlock");
        query_add(&q, n->gateway, "GatewayId");
        return put(o, &q, &reply, "its route to the internet could not be made", ret);
}

static int32_t names(struct op *o, const struct network *n, int32_t *ret)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};

        query_begin(&q, "ModifyVpcAttribute", EC2_VERSION);
        query_add(&q, n->id, "VpcId");
        query_add(&q, "true", "EnableDnsHostnames.Value");
        return put(o, &q, &reply, "its names could not be switched on", ret);
}

static bool overlaps(const char *x, const char *y)
{
        struct in_addr a, b;
        char text[64];
        int n = 32, m = 32;
        uint32_t mask;

        snprintf(text, sizeof(text), "%.*s", (int)strcspn(x, "/"), x);
        if (inet_pton(AF_INET, text, &a) != 1)
                return false;
        snprintf(text, sizeof(text), "%.*s", (int)strcspn(y, "/"), y);
        if (inet_pton(AF_INET, text, &b) != 1)
                return false;
        if (strchr(x, '/'))
                n = atoi(strchr(x, '/') + 1);
        if (strchr(y, '/'))
                m = atoi(strchr(y, '/') + 1);
        n = n < m ? n : m;
        mask = n <= 0 ? 0 : n >= 32 ? UINT32_MAX : ~(UINT32_MAX >> n);
        return (ntohl(a.s_addr) & mask) == (ntohl(b.s_addr) & mask);
}

/* The first part of the network that no subnet has. In four parts, or eight: so that zones can follow. */
static void free_part(const struct network *n, size_t n_zones, char ret[64])
{
        unsigned bits = n_zones > 4 ? 3 : 2;
        const char *zone;
        json_t *v;

        if (atoi(strchr(n->address, '/') ? strchr(n->address, '/') + 1 : "0") + (int)bits > 28)
                bits = n_zones > 1 ? 1 : 0;
        for (unsigned i = 0; i < 1u << bits; i++) {
                bool taken = false;

                network_part(n->address, bits, i, ret);
                json_object_foreach (n->subnets, zone, v)
                        taken |= overlaps(ret, aws_string(v, "address", ""));
                if (*ret && !taken)
                        return;
        }
        *ret = '\0';
}

static int32_t subnet(struct op *o, const struct network *n, const char *zone, size_t n_zones, int32_t *ret)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};
        char address[64];

        free_part(n, n_zones, address);
        if (!*address) {
                *ret = op_fail(o, PRVNG_PERMANENT, PRVNG_EFFECT_PARTIAL,
                               "%s has no room for one more subnet, in %s; write a larger address", n->address, zone);
                return PRVNG_PERMANENT;
        }
        query_begin(&q, "CreateSubnet", EC2_VERSION);
        query_add(&q, n->id, "VpcId");
        query_add(&q, address, "CidrBlock");
        query_add(&q, zone, "AvailabilityZone");
        tags_add(&q, 1, "subnet", o, NULL);
        return put(o, &q, &reply, "its subnet could not be made", ret);
}

static int32_t public_addresses(struct op *o, const char *subnet_id, int32_t *ret)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};

        query_begin(&q, "ModifySubnetAttribute", EC2_VERSION);
        query_add(&q, subnet_id, "SubnetId");
        query_add(&q, "true", "MapPublicIpOnLaunch.Value");
        return put(o, &q, &reply, "its subnets could not be given public addresses", ret);
}

/* One part. DONE: all is there. PENDING: *ret is the answer. CONFLICT, else: something was done; look. */
static int32_t next_part(struct op *o, const struct network *n, const json_t *zones, int32_t *ret)
{
        bool public = json_is_true(json_object_get(o->request, "public"));
        const char *name;
        json_t *v;
        size_t i;
        int32_t r = PRVNG_UNCHANGED;

        *ret = PRVNG_PENDING;
        if (!json_object_get(o->token, "named")) {
                json_object_set_new(o->token, "named", json_true());
                r = names(o, n, ret);
        } else if (public && !*n->gateway) {
                *ret = make_once(o, "gateway", "CreateInternetGateway", "internet-gateway", "");
                return PRVNG_PENDING;
        } else if (public && !n->attached)
                r = attach(o, n, ret);
        else if (public && !n->routed)
                r = route(o, n, ret);
        if (r != PRVNG_UNCHANGED)
                return r == PRVNG_DONE ? PRVNG_CONFLICT : r == PRVNG_CONFLICT ? r : PRVNG_PENDING;
        json_array_foreach (zones, i, v)
                if (!json_object_get(n->subnets, json_string_value(v))) {
                        r = subnet(o, n, json_string_value(v), json_array_size(zones), ret);
                        return r == PRVNG_DONE || r == PRVNG_CONFLICT ? PRVNG_CONFLICT : PRVNG_PENDING;
                }
        json_object_foreach (n->subnets, name, v)
                if (public && !json_is_true(json_object_get(v, "public"))) {
                        r = public_addresses(o, aws_string(v, "id", ""), ret);
                        return r == PRVNG_DONE || r == PRVNG_CONFLICT ? PRVNG_CONFLICT : PRVNG_PENDING;
                }
        return PRVNG_DONE;
}

/* Made twice, as a request that was thought lost was not: the one that nobody uses goes. */
static int32_t remove_surplus(struct op *o, const char *id)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};

        query_begin(&q, "DeleteVpc", EC2_VERSION);
        query_add(&q, id, "VpcId");
        if (aws_ask(o->a, o->call, AWS_EC2, &q, &reply) < 0 && reply.fault.error_class != PRVNG_NOT_FOUND)
                return op_fault(o, &reply.fault, PRVNG_EFFECT_PARTIAL, "it was made twice, and the other cannot be"
                                                                       " deleted");
        return op_pending(o, "make", o->a->poll_ms);
}

static int32_t complete(struct op *o, const char *id, const char *op_id, const json_t *zones)
{
        int32_t answer, r = PRVNG_CONFLICT;

        for (unsigned i = 0; i < LOOKS_MAX && r == PRVNG_CONFLICT; i++) {
                struct network n;
                struct fault f;

                r = network_look(o, id, op_id, &n, &f);
                if (r < 0)
                        answer = op_fault(o, &f, PRVNG_EFFECT_PARTIAL, "what is there could not be asked for");
                else if (!*n.id)
                        answer = op_settled(o) ? op_fail(o, PRVNG_NOT_FOUND, PRVNG_EFFECT_PARTIAL, "the network %s is gone", id)
                                               : op_pending(o, "make", o->a->poll_ms);
                else if (json_array_size(n.others) > 0)
                        answer = remove_surplus(o, json_string_value(json_array_get(n.others, 0)));
                else {
                        r = next_part(o, &n, zones, &answer);
                        if (r == PRVNG_DONE && aws_integer(o->token, "marks", 0) > 2 && !op_settled(o))
                                answer = op_pending(o, "make", 1000); /* a second one may still come to light */
                        else if (r == PRVNG_DONE)
                                answer = op_done(o, PRVNG_DONE, network_result(o, &n));
                        else if (r == PRVNG_CONFLICT)
                                answer = PRVNG_PENDING;
                        network_deinit(&n);
                        continue;
                }
                network_deinit(&n);
                return answer;
        }
        return r == PRVNG_CONFLICT ? op_pending(o, "make", o->a->poll_ms) : answer;
}

int32_t network_create_poll(struct op *o)
{
        struct network n;
        struct fault f;
        json_t *zones = NULL, *drift;
        const char *address = aws_string(o->request, "address", "");
        int32_t r = network_look(o, "", o->call->op_id, &n, &f);
        size_t n_drift;

        if (r == PRVNG_DONE)
                r = network_zones(o, &zones, &f);
        if (r < 0)
                r = op_fault(o, &f, op_step(o, "begin") ? PRVNG_EFFECT_NONE : PRVNG_EFFECT_PARTIAL,
                             "what is there could not be asked for");
        else if (!*n.id)
                r = make_once(o, "vpc", "CreateVpc", "vpc", *address ? address : "10.88.0.0/16");
        else if (streq(n.op_id, o->call->op_id))
                r = complete(o, "", o->call->op_id, zones);
        else {
                drift = network_drift(o, &n, json_object_get(o->request, "zones"));
                n_drift = json_array_size(drift);
                json_decref(drift);
                r = n_drift == 0 ? op_done(o, PRVNG_UNCHANGED, network_result(o, &n))
                                 : op_fail(o, PRVNG_CONFLICT, PRVNG_EFFECT_NONE,
                                           "there is one already (%s), and not as wanted; adopt it (prvng resource adopt aws"
                                           " network %s) or remove it",
                                           n.id, n.id);
        }
        json_decref(zones);
        network_deinit(&n);
        return r;
}

int32_t network_update_poll(struct op *o)
{
        const char *id = op_identity(o, "id");
        json_t *zones = json_object_get(o->request, "zones"), *drift;
        struct network n;
        struct fault f;
        size_t n_drift;
        int32_t r;

        if (!*id)
                return op_fail(o, PRVNG_NOT_FOUND, PRVNG_EFFECT_NONE, "which network it is is not known");
        if (json_object_get(o->token, "touched"))
                return complete(o, id, o->call->op_id, zones);
        r = network_look(o, id, "", &n, &f);
        drift = network_drift(o, &n, zones);
        n_drift = json_array_size(drift);
        json_decref(drift);
        if (r < 0)
                r = op_fault(o, &f, PRVNG_EFFECT_NONE, "what is there could not be asked for");
        else if (!*n.id)
                r = op_fail(o, PRVNG_NOT_FOUND, PRVNG_EFFECT_NONE, "the network %s is gone", id);
        else if (n_drift == 0)
                r = op_done(o, PRVNG_UNCHANGED, network_result(o, &n));
        else {
                json_object_set_new(o->token, "touched", json_true());
                r = op_pending(o, "make", 0);
        }
        network_deinit(&n);
        return r;
}
