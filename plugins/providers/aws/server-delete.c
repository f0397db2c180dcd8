/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers are ended in steps: find (which instances are meant) -> end (TerminateInstances, as often as it
 * is asked) -> wait (until they are gone, so that what they stood on can go too) -> the key pair.
 */
#include "aws.h"

/* Are these all that there is to end? By id; else by the op id that made it, or by the marks. */
static int32_t find(struct op *o)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};
        const char *id = op_identity(o, "id"), *made_by = op_identity(o, "op_id");
        const struct xml_node *known;
        json_t *ids = json_array();

        json_object_set_new(o->token, "ids", ids);
        if (*id) {
                /* It was seen when it was made: what is not there now is gone. */
                if (server_describe(o, id, &reply, &known) < 0)
                        return op_fault(o, &reply.fault, PRVNG_EFFECT_NONE, "its state could not be asked for");
                if (!known || streq(server_state(known), "terminated"))
                        return op_done(o, PRVNG_UNCHANGED, json_object());
                json_array_append_new(ids, json_string(id));
                return op_pending(o, "end", 0);
        }
        query_begin(&q, "DescribeInstances", EC2_VERSION);
        if (*made_by)
                query_filter(&q, 1, "tag:" TAG_OP, made_by);
        else
                tags_filter(&q, 1, o);
        if (aws_ask(o->a, o->call, AWS_EC2, &q, &reply) < 0)
                return op_fault(o, &reply.fault, PRVNG_EFFECT_NONE, "what is there could not be asked for");
        xml_foreach (reservation, reply_root(&reply), "reservationSet")
                xml_foreach (instance, reservation, "instancesSet")
                        if (!streq(server_state(instance), "terminated") && json_array_size(ids) < 50)
                                json_array_append_new(ids, json_string(xml_text(instance, "instanceId")));
        if (json_array_size(ids) > 0)
                return op_pending(o, "end", 0);
        json_object_del(o->token, "ids");
        /* What a request made that nobody knows the outcome of may not be seen yet. */
        if (*made_by && !op_settled(o))
                return op_pending(o, "find", o->a->poll_ms < 1000 ? o->a->poll_ms : 1000);
        return op_done(o, PRVNG_UNCHANGED, json_object());
}

static int32_t end(struct op *o)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};
        const json_t *ids = json_object_get(o->token, "ids");
        json_t *id;
        size_t i;
        int32_t r;

        query_begin(&q, "TerminateInstances", EC2_VERSION);
        json_array_foreach (ids, i, id)
                query_add(&q, json_string_value(id), "InstanceId.%zu", i + 1);
        r = aws_ask(o->a, o->call, AWS_EC2, &q, &reply);
        if (r < 0 && r != PRVNG_NOT_FOUND)
                return op_fault(o, &reply.fault, PRVNG_EFFECT_NONE, "AWS does not end it");
        return op_pending(o, "wait", o->a->poll_ms);
}

/* True: all are gone. */
static bool are_gone(const struct reply *reply)
{
        xml_foreach (reservation, reply_root(reply), "reservationSet")
                xml_foreach (instance, reservation, "instancesSet")
                        if (!streq(server_state(instance), "terminated"))
                                return false;
        return true;
}

static const char *key_name(const struct op *o)
{
        const char *name = aws_string(json_object_get(o->request, "key"), "name", op_identity(o, "key_name"));

        return strncmp(name, "prvng-", 6) == 0 ? name : ""; /* others' are none of our business */
}

static int32_t wait(struct op *o)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};
        struct fault f;
        json_t *id;
        size_t i;

        /* A filter, not ids: those that are gone already are no error then. */
        query_begin(&q, "DescribeInstances", EC2_VERSION);
        query_add(&q, "instance-id", "Filter.1.Name");
        json_array_foreach (json_object_get(o->token, "ids"), i, id)
                query_add(&q, json_string_value(id), "Filter.1.Value.%zu", i + 1);
        if (aws_ask(o->a, o->call, AWS_EC2, &q, &reply) < 0)
                return op_fault(o, &reply.fault, PRVNG_EFFECT_PARTIAL, "its end could not be seen");
        if (!are_gone(&reply))
                return op_pending(o, "wait", o->a->poll_ms);
        if (key_remove(o, key_name(o), &f) < 0)
                return op_fault(o, &f, PRVNG_EFFECT_PARTIAL, "its key pair could not be removed");
        return op_done(o, PRVNG_DONE, json_object());
}

int32_t server_delete_poll(struct op *o)
{
        if (op_step(o, "end"))
                return end(o);
        return op_step(o, "wait") ? wait(o) : find(o);
}
