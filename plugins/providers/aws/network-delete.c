/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Networks are taken apart from the leaves: subnets, gateway, VPC. What just left them still holds them for a
 * while (DependencyViolation): that is waited for.
 */
#include "network.h"

#define IN_USE_MAX 10 /* times settle_ms (30 s) */

/* DONE: it is gone. Else the answer of the poll. */
static int32_t take(struct op *o, const char *action, const char *parameter, const char *id, const char *more,
                    const char *vpc)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};
        const struct fault *f = &reply.fault;

        query_begin(&q, action, EC2_VERSION);
        query_add(&q, id, "%s", parameter);
        if (more)
                query_add(&q, vpc, "%s", more);
        if (aws_ask(o->a, o->call, AWS_EC2, &q, &reply) == PRVNG_DONE || f->error_class == PRVNG_NOT_FOUND ||
            streq(f->code, "Gateway.NotAttached"))
                return PRVNG_DONE;
        if (streq(f->code, "DependencyViolation") &&
            aws_now_ms() < aws_integer(o->token, "since", 0) + IN_USE_MAX * (o->a->settle_ms + 1000))
                return op_pending(o, "end", o->a->poll_ms);
        return op_fault(o, f, PRVNG_EFFECT_PARTIAL, "it could not be deleted");
}

/* A server that lives stands in it: nothing is touched. */
static int32_t in_use(struct op *o, const char *id, bool *ret)
{
        static const char *const states[] = {"pending", "running", "stopping", "stopped"};
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};
        const struct xml_node *instance;

        query_begin(&q, "DescribeInstances", EC2_VERSION);
        query_filter(&q, 1, "vpc-id", id);
        query_add(&q, "instance-state-name", "Filter.2.Name");
        for (size_t i = 0; i < N_ELEMENTS(states); i++)
                query_add(&q, states[i], "Filter.2.Value.%zu", i + 1);
        *ret = true;
        if (aws_ask(o->a, o->call, AWS_EC2, &q, &reply) < 0)
                return op_fault(o, &reply.fault, PRVNG_EFFECT_NONE, "who uses it could not be asked for");
        instance = xml_child(xml_find(xml_child(xml_find(reply_root(&reply), "reservationSet"), "item"), "instancesSet"),
                             "item");
        *ret = instance != NULL;
        if (!instance)
                return PRVNG_DONE;
        return op_fail(o, PRVNG_CONFLICT, PRVNG_EFFECT_NONE, "%s (%s) stands in it", tag_of(instance, "Name"),
                       xml_text(instance, "instanceId"));
}

static int32_t take_apart(struct op *o, const struct network *n)
{
        const char *zone;
        json_t *v;
        int32_t r = PRVNG_DONE;

        json_object_foreach (n->subnets, zone, v) {
                r = take(o, "DeleteSubnet", "SubnetId", aws_string(v, "id", ""), NULL, NULL);
                if (r != PRVNG_DONE)
                        return r;
        }
        if (*n->gateway && n->attached)
                r = take(o, "DetachInternetGateway", "InternetGatewayId", n->gateway, "VpcId", n->id);
        if (r == PRVNG_DONE && *n->gateway)
                r = take(o, "DeleteInternetGateway", "InternetGatewayId", n->gateway, NULL, NULL);
        if (r == PRVNG_DONE)
                r = take(o, "DeleteVpc", "VpcId", n->id, NULL, NULL);
        return r;
}

/* A gateway whose VPC is gone already; by the op id that made it. */
static int32_t loose_gateway(struct op *o, const char *made_by)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};
        int32_t r = PRVNG_DONE;

        if (!*made_by)
                return PRVNG_DONE;
        query_begin(&q, "DescribeInternetGateways", EC2_VERSION);
        query_filter(&q, 1, "tag:" TAG_OP, made_by);
        if (aws_ask(o->a, o->call, AWS_EC2, &q, &reply) < 0)
                return op_fault(o, &reply.fault, PRVNG_EFFECT_PARTIAL, "what is left of it could not be asked for");
        xml_foreach (gateway, reply_root(&reply), "internetGatewaySet")
                if (r == PRVNG_DONE)
                        r = take(o, "DeleteInternetGateway", "InternetGatewayId",
                                 xml_text(gateway, "internetGatewayId"), NULL, NULL);
        return r;
}

static int32_t nothing(struct op *o, const char *id, const char *made_by)
{
        int32_t r = loose_gateway(o, made_by);

        if (r != PRVNG_DONE)
                return r;
        if (!*id && *made_by && !op_settled(o)) /* it may not be seen yet */
                return op_pending(o, "find", o->a->poll_ms < 1000 ? o->a->poll_ms : 1000);
        return op_done(o, json_object_get(o->token, "touched") ? PRVNG_DONE : PRVNG_UNCHANGED, json_object());
}

int32_t network_delete_poll(struct op *o)
{
        const char *id = op_identity(o, "id"), *made_by = op_identity(o, "op_id");
        struct network n;
        struct fault f;
        bool used;
        int32_t r = network_look(o, id, made_by, &n, &f);

        if (r < 0)
                r = op_fault(o, &f, json_object_get(o->token, "touched") ? PRVNG_EFFECT_PARTIAL : PRVNG_EFFECT_NONE,
                             "what is there could not be asked for");
        else if (!*n.id || (!*id && *made_by && !streq(n.op_id, made_by)))
                r = nothing(o, id, made_by);
        else if (!json_object_get(o->token, "touched")) {
                r = in_use(o, n.id, &used);
                if (!used) {
                        json_object_set_new(o->token, "touched", json_true());
                        r = op_pending(o, "end", 0);
                }
        } else {
                r = take_apart(o, &n);
                if (r == PRVNG_DONE && json_array_size(n.others) == 0)
                        r = op_done(o, PRVNG_DONE, json_object());
                else if (r == PRVNG_DONE)
                        r = op_pending(o, "end", 0); /* made twice: the other one */
        }
        network_deinit(&n);
        return r;
}
