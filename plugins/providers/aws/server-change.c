/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers are changed by comparing: look, do the first thing that differs, look again, until nothing does.
 * So it goes on after a crash without knowing where it was. The token says only whether anything was
 * touched: it is journaled before the first change, so that what we changed is never taken for UNCHANGED.
 */
#include "aws.h"

static uint32_t effect_so_far(const struct op *o)
{
        return json_object_get(o->token, "touched") ? PRVNG_EFFECT_PARTIAL : PRVNG_EFFECT_NONE;
}

/* Sends a change: PENDING, to look again, or what failed. */
static int32_t change(struct op *o, const struct query *q, const char *what)
{
        _cleanup_(cleanup_reply) struct reply reply = {0};

        if (!json_object_get(o->token, "touched")) {
                json_object_set_new(o->token, "touched", json_true());
                return op_pending(o, "look", 0); /* the next poll does it */
        }
        if (aws_ask(o->a, o->call, AWS_EC2, q, &reply) < 0) {
                /* It changes its state as we ask: look again. */
                if (streq(reply.fault.code, "IncorrectInstanceState") || streq(reply.fault.code, "IncorrectState"))
                        return op_pending(o, "look", o->a->poll_ms);
                return op_fault(o, &reply.fault, PRVNG_EFFECT_PARTIAL, what);
        }
        return op_pending(o, "look", o->a->poll_ms);
}

static int32_t simple(struct op *o, const char *action, const char *id, const char *what)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;

        query_begin(&q, action, EC2_VERSION);
        query_add(&q, id, "InstanceId.1");
        return change(o, &q, what);
}

/* 0: nothing to do; else *ret is the answer. */
static bool change_labels(struct op *o, const struct xml_node *instance, int32_t *ret)
{
        json_t *wanted = json_object_get(json_object_get(o->request, "wanted"), "labels"), *value;
        _cleanup_(cleanup_json) json_t *found = tags_labels(instance);
        _cleanup_(cleanup_query) struct query add = QUERY_NULL, del = QUERY_NULL;
        size_t n_add = 0, n_del = 0;
        const char *key;

        query_begin(&add, "CreateTags", EC2_VERSION);
        query_begin(&del, "DeleteTags", EC2_VERSION);
        query_add(&add, xml_text(instance, "instanceId"), "ResourceId.1");
        query_add(&del, xml_text(instance, "instanceId"), "ResourceId.1");
        json_object_foreach (wanted, key, value)
                if (!json_equal(value, json_object_get(found, key))) {
                        query_add(&add, key, "Tag.%zu.Key", ++n_add);
                        query_add(&add, json_string_value(value), "Tag.%zu.Value", n_add);
                }
        json_object_foreach (found, key, value)
                if (!json_object_get(wanted, key))
                        query_add(&del, key, "Tag.%zu.Key", ++n_del);
        if (n_add > 0)
                *ret = change(o, &add, "its labels could not be written");
        else if (n_del > 0)
                *ret = change(o, &del, "its labels could not be removed");
        return n_add > 0 || n_del > 0;
}

static int32_t change_groups(struct op *o, const char *id)
{
        const json_t *groups = json_object_get(json_object_get(o->request, "wanted"), "groups");
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        json_t *v;
        size_t i;

        query_begin(&q, "ModifyInstanceAttribute", EC2_VERSION);
        query_add(&q, id, "InstanceId");
        json_array_foreach (groups, i, v)
                query_add(&q, json_string_value(v), "GroupId.%zu", i + 1);
        return change(o, &q, "its security groups could not be changed");
}

static int32_t change_disk(struct op *o, const struct xml_node *volume, int64_t size)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        char text[24];

        if (size < atoll(xml_text(volume, "size")))
                return op_fail(o, PRVNG_PERMANENT, effect_so_far(o),
                               "its disk has %s GiB and cannot shrink to %lld; delete the server and create it anew",
                               xml_text(volume, "size"), (long long)size);
        snprintf(text, sizeof(text), "%lld", (long long)size);
        query_begin(&q, "ModifyVolume", EC2_VERSION);
        query_add(&q, xml_text(volume, "volumeId"), "VolumeId");
        query_add(&q, text, "Size");
        return change(o, &q, "its disk could not be made larger");
}

/* Another type: only while it is stopped. */
static int32_t change_type(struct op *o, const char *id, const char *state)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;

        if (streq(state, "running"))
                return simple(o, "StopInstances", id, "it could not be stopped for its new size");
        if (!streq(state, "stopped"))
                return op_pending(o, "look", o->a->poll_ms);
        query_begin(&q, "ModifyInstanceAttribute", EC2_VERSION);
        query_add(&q, id, "InstanceId");
        query_add(&q, aws_string(json_object_get(o->request, "wanted"), "type", ""), "InstanceType.Value");
        return change(o, &q, "its size could not be changed");
}

static int32_t change_state(struct op *o, const char *id, const char *state)
{
        const char *wanted = aws_string(json_object_get(o->request, "wanted"), "state", "running");

        if (streq(state, "pending") || streq(state, "stopping"))
                return op_pending(o, "look", o->a->poll_ms);
        return streq(wanted, "running") ? simple(o, "StartInstances", id, "it could not be started")
                                        : simple(o, "StopInstances", id, "it could not be stopped");
}

static const json_t *difference(const json_t *drift, const char *attribute)
{
        json_t *v;
        size_t i;

        json_array_foreach (drift, i, v)
                if (streq(aws_string(v, "attribute", ""), attribute))
                        return v;
        return NULL;
}

static int32_t next_change(struct op *o, const struct xml_node *instance, const struct xml_node *volume)
{
        _cleanup_(cleanup_json) json_t *drift = server_drift(o, instance, volume);
        const char *id = xml_text(instance, "instanceId"), *state = server_state(instance);
        const json_t *wanted = json_object_get(o->request, "wanted");
        json_t *result;
        int32_t r;

        if (difference(drift, "labels") && change_labels(o, instance, &r))
                return r;
        if (difference(drift, "security_groups"))
                return change_groups(o, id);
        if (difference(drift, "disk"))
                return change_disk(o, volume, aws_integer(wanted, "disk", 0));
        if (difference(drift, "plan"))
                return change_type(o, id, state);
        if (difference(drift, "state") || streq(state, "pending") || streq(state, "stopping"))
                return change_state(o, id, state);
        result = server_result(o, instance);
        if (volume)
                json_object_set_new(result, "disk", json_integer(atoll(xml_text(volume, "size"))));
        return op_done(o, effect_so_far(o) == PRVNG_EFFECT_NONE ? PRVNG_UNCHANGED : PRVNG_DONE, result);
}

int32_t server_update_poll(struct op *o)
{
        _cleanup_(cleanup_reply) struct reply reply = {0}, volumes = {0};
        const struct xml_node *instance, *volume = NULL;
        const char *id = op_identity(o, "id");

        if (!*id)
                return op_fail(o, PRVNG_NOT_FOUND, PRVNG_EFFECT_NONE, "which instance it is is not known");
        if (server_describe(o, id, &reply, &instance) < 0)
                return op_fault(o, &reply.fault, effect_so_far(o), "its state could not be asked for");
        if (!instance || !server_lives(instance))
                return op_fail(o, PRVNG_NOT_FOUND, effect_so_far(o), "the instance %s is gone", id);
        if (volume_describe(o, instance, &volumes, &volume) < 0)
                return op_fault(o, &volumes.fault, effect_so_far(o), "its volumes could not be asked for");
        return next_change(o, instance, volume);
}
