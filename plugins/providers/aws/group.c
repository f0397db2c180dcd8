/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Security groups. CreateSecurityGroup takes no client token, but a network has a name once only: ours says
 * site, workflow and name, so a second request is told of the first's group. Rules are compared: what is
 * missing is authorised, what is no longer wanted revoked.
 */
#include "rules.h"

#define IN_USE_MAX 10 /* times settle_ms (30 s): how long AWS may take to let go of a group */

static char *group_name(const json_t *task)
{
        const char *workflow = aws_string(task, "workflow", ""), *name = aws_string(task, "name", "");
        _cleanup_(cleanup_free) char *all =
                aws_format("%s %s %s", aws_string(task, "site", ""), workflow, name);
        char digest[33];

        if (!all || !aws_digest(all, digest))
                return NULL;
        return aws_format("prvng-%.60s-%.60s-%.12s", workflow, name, digest);
}

int32_t group_prepare(struct aws *a, struct prvng_call *call, const char *verb, const json_t *task, json_t *out)
{
        const json_t *spec = json_object_get(task, "spec"), *block = json_object_get(spec, "aws");
        const json_t *inputs = json_object_get(task, "inputs");
        const char *vpc = aws_string(block, "vpc", ""), *key;
        _cleanup_(cleanup_free) char *name = group_name(task);
        json_t *rules = NULL, *input;
        int32_t r;

        if (!name)
                return PRVNG_INTERNAL;
        json_object_set_new(out, "group_name", json_string(name));
        if (streq(verb, "delete"))
                return PRVNG_DONE;
        json_object_foreach ((json_t *)(uintptr_t)block, key, input)
                if (!streq(key, "vpc") && !(streq(key, "members") && json_is_boolean(input)))
                        return bad_field(a, call, "spec.aws", block,
                                         "the block aws of a security group knows vpc, and members: false if those"
                                         " in the group shall not reach each other by it");
        json_object_foreach ((json_t *)(uintptr_t)inputs, key, input)
                if (!*vpc && strncmp(key, "network.", 8) == 0)
                        vpc = aws_string(input, "id", "");
        r = rules_wanted(a, call, json_object_get(spec, "rules"),
                         !json_is_false(json_object_get(block, "members")), &rules);
        if (r < 0)
                return r;
        json_object_set_new(out, "vpc", json_string(vpc)); /* "": the region's default network */
        json_object_set_new(out, "rules", rules);
        return PRVNG_DONE;
}

/* --- looking --- */

/* By id, or by marks: the one of the op id, else any (found). DONE with NULL: there is none. */
static int32_t look(struct op *o, const char *id, const char *op_id, struct reply *reply,
                    const struct xml_node **ret)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        int32_t r;

        *ret = NULL;
        query_begin(&q, "DescribeSecurityGroups", EC2_VERSION);
        if (*id)
                query_add(&q, id, "GroupId.1");
        else
                tags_filter(&q, 1, o);
        r = aws_ask(o->a, o->call, AWS_EC2, &q, reply);
        if (r < 0)
                return reply->fault.error_class == PRVNG_NOT_FOUND ? PRVNG_DONE : r;
        xml_foreach (group, reply_root(reply), "securityGroupInfo")
                if (!*ret || streq(tag_of(group, TAG_OP), op_id))
                        *ret = group;
        return PRVNG_DONE;
}

static json_t *result_of(struct op *o, const struct xml_node *group)
{
        const char *id = xml_text(group, "groupId"), *op_id = tag_of(group, TAG_OP);

        return json_pack("{s:s, s:s, s:s, s:s, s:o, s:s}", "id", id, "name", o->name, "group_name",
                         xml_text(group, "groupName"), "network", xml_text(group, "vpcId"), "found_rules",
                         rules_found(group, id), "op_id", *op_id ? op_id : op_identity(o, "op_id"));
}

int32_t group_read(struct op *o)
{
        _cleanup_(cleanup_reply) struct reply reply = {0};
        const struct xml_node *group;

        if (look(o, op_identity(o, "id"), op_identity(o, "op_id"), &reply, &group) < 0)
                return op_fault(o, &reply.fault, PRVNG_EFFECT_NONE, "it could not be read");
        if (!group)
                return op_fail(o, PRVNG_NOT_FOUND, PRVNG_EFFECT_NONE, "there is none");
        return op_done(o, PRVNG_DONE, result_of(o, group));
}

static json_t *drift_of(const struct op *o, const struct xml_node *group)
{
        static const char *const directions[] = {"in", "out"};
        const json_t *wanted = json_object_get(o->request, "rules");
        _cleanup_(cleanup_json) json_t *found = rules_found(group, xml_text(group, "groupId"));
        json_t *drift = json_array();

        for (size_t i = 0; i < N_ELEMENTS(directions); i++) {
                json_t *less = rules_missing(wanted, found, directions[i]);
                json_t *more = rules_missing(found, wanted, directions[i]);

                if (less || more)
                        json_array_append_new(drift, json_pack("{s:s, s:o, s:o}", "attribute", "rules", "wanted",
                                                               less ? less : json_array(), "found",
                                                               more ? more : json_array()));
        }
        return drift;
}

int32_t group_check(struct op *o)
{
        _cleanup_(cleanup_reply) struct reply reply = {0};
        const struct xml_node *group;
        json_t *drift, *result;

        if (look(o, op_identity(o, "id"), op_identity(o, "op_id"), &reply, &group) < 0)
                return aws_report(o->a, o->call, &reply.fault, PRVNG_EFFECT_NONE, "security group %s could not be"
                                  " checked", o->name);
        if (!group)
                return op_done(o, PRVNG_DONE, json_pack("{s:[{s:s, s:s, s:s}]}", "drift", "attribute", "state",
                                                        "wanted", "present", "found", "absent"));
        drift = drift_of(o, group);
        result = result_of(o, group);
        if (json_array_size(drift) > 0) {
                json_object_set_new(result, "drift", drift);
                return op_done(o, PRVNG_DONE, result);
        }
        json_decref(drift);
        return op_done(o, PRVNG_UNCHANGED, result);
}

/* --- rules --- */

static int32_t send_rules(struct op *o, const char *action, const json_t *rules, const char *id)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};

        query_begin(&q, action, EC2_VERSION);
        query_add(&q, id, "GroupId");
        rules_add(&q, rules, id);
        if (aws_ask(o->a, o->call, AWS_EC2, &q, &reply) == PRVNG_DONE)
                return PRVNG_DONE;
        /* As wanted already, since another look; or the group is too new to be known everywhere. */
        if (streq(reply.fault.code, "InvalidPermission.Duplicate") ||
            streq(reply.fault.code, "InvalidPermission.NotFound") ||
            (streq(reply.fault.code, "InvalidGroup.NotFound") && !op_settled(o)))
                return op_pending(o, "rules", o->a->poll_ms);
        return op_fault(o, &reply.fault, PRVNG_EFFECT_PARTIAL, "its rules could not be changed");
}

/* DONE: they are as wanted, *ret_changed says by us; else the answer. */
static int32_t converge(struct op *o, const struct xml_node *group, bool *ret_changed)
{
        static const char *const directions[] = {"in", "out"};
        static const char *const more[] = {"AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress"};
        static const char *const less[] = {"RevokeSecurityGroupIngress", "RevokeSecurityGroupEgress"};
        const char *id = xml_text(group, "groupId");
        const json_t *wanted = json_object_get(o->request, "rules");
        _cleanup_(cleanup_json) json_t *found = rules_found(group, id);
        int32_t r = PRVNG_DONE;

        for (size_t i = 0; r == PRVNG_DONE && i < N_ELEMENTS(directions); i++) {
                _cleanup_(cleanup_json) json_t *add = rules_missing(wanted, found, directions[i]);
                _cleanup_(cleanup_json) json_t *del = rules_missing(found, wanted, directions[i]);

                if ((add || del) && !json_object_get(o->token, "touched")) {
                        json_object_set_new(o->token, "touched", json_true());
                        return op_pending(o, "rules", 0);
                }
                *ret_changed |= add || del;
                if (add)
                        r = send_rules(o, more[i], add, id);
                if (r == PRVNG_DONE && del)
                        r = send_rules(o, less[i], del, id);
        }
        return r;
}

/* Looks until nothing is to be changed: what AWS says after a change is what counts. */
static int32_t rules_step(struct op *o, const char *id)
{
        _cleanup_(cleanup_reply) struct reply reply = {0};
        const struct xml_node *group;
        bool changed = false;
        int32_t r;

        if (look(o, id, "", &reply, &group) < 0)
                return op_fault(o, &reply.fault, PRVNG_EFFECT_PARTIAL, "its rules could not be asked for");
        if (!group && !op_settled(o))
                return op_pending(o, "rules", o->a->poll_ms); /* not seen yet */
        if (!group)
                return op_fail(o, PRVNG_NOT_FOUND, PRVNG_EFFECT_PARTIAL, "the group %s is gone", id);
        r = converge(o, group, &changed);
        if (r != PRVNG_DONE)
                return r;
        if (changed)
                return op_pending(o, "rules", o->a->poll_ms);
        return op_done(o, json_object_get(o->token, "touched") ? PRVNG_DONE : PRVNG_UNCHANGED, result_of(o, group));
}

/* --- create --- */

/* There is one of that name: if its marks are ours, a request of ours made it. */
static int32_t duplicate(struct op *o, const struct fault *f)
{
        if (!op_settled(o)) /* it will be seen */
                return op_pending(o, "make", o->a->poll_ms);
        return aws_report(o->a, o->call, f, PRVNG_EFFECT_NONE,
                          "security group %s: there is a group %s that does not carry the marks of this workflow", o->name,
                          aws_string(o->request, "group_name", ""));
}

static int32_t make(struct op *o)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};
        _cleanup_(cleanup_free) char *text = aws_format("%.100s of %.100s, made by prvng", o->name, o->workflow);
        const char *vpc = aws_string(o->request, "vpc", "");

        query_begin(&q, "CreateSecurityGroup", EC2_VERSION);
        query_add(&q, aws_string(o->request, "group_name", ""), "GroupName");
        query_add(&q, text ? text : "", "GroupDescription");
        if (*vpc)
                query_add(&q, vpc, "VpcId");
        tags_add(&q, 1, "security-group", o, NULL);
        if (aws_ask(o->a, o->call, AWS_EC2, &q, &reply) < 0) {
                if (streq(reply.fault.code, "InvalidGroup.Duplicate"))
                        return duplicate(o, &reply.fault);
                if (streq(reply.fault.code, "InvalidVpcID.NotFound") && !op_settled(o))
                        return op_pending(o, "make", o->a->poll_ms);
                return op_fault(o, &reply.fault, PRVNG_EFFECT_PARTIAL, "it could not be made");
        }
        json_object_set_new(o->token, "id", json_string(xml_text(reply_root(&reply), "groupId")));
        return op_pending(o, "rules", 0);
}

static int32_t start(struct op *o)
{
        _cleanup_(cleanup_reply) struct reply reply = {0};
        const struct xml_node *group;
        json_t *drift;
        size_t n;

        if (look(o, "", o->call->op_id, &reply, &group) < 0)
                return op_fault(o, &reply.fault, PRVNG_EFFECT_NONE, "what is there could not be asked for");
        if (group && streq(tag_of(group, TAG_OP), o->call->op_id)) {
                json_object_set_new(o->token, "id", json_string(xml_text(group, "groupId")));
                json_object_set_new(o->token, "touched", json_true());
                return op_pending(o, "rules", 0);
        }
        if (!group) {
                json_object_set_new(o->token, "touched", json_true());
                return op_step(o, "make") ? make(o) : op_pending(o, "make", 0);
        }
        drift = drift_of(o, group);
        n = json_array_size(drift);
        json_decref(drift);
        if (n == 0)
                return op_done(o, PRVNG_UNCHANGED, result_of(o, group));
        return op_fail(o, PRVNG_CONFLICT, PRVNG_EFFECT_NONE,
                       "there is one already (%s), with other rules; adopt it (prvng resource adopt aws security_group %s)"
                       " or remove it",
                       xml_text(group, "groupId"), xml_text(group, "groupId"));
}

int32_t group_create_poll(struct op *o)
{
        return op_step(o, "rules") ? rules_step(o, aws_string(o->token, "id", "")) : start(o);
}

int32_t group_update_poll(struct op *o)
{
        const char *id = op_identity(o, "id");

        if (!*id)
                return op_fail(o, PRVNG_NOT_FOUND, PRVNG_EFFECT_NONE, "which group it is is not known");
        return rules_step(o, id);
}

/* --- delete --- */

/* A server that lives stands behind it: nothing is touched. */
static int32_t in_use(struct op *o, const char *id, bool *ret)
{
        static const char *const states[] = {"pending", "running", "stopping", "stopped"};
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};
        const struct xml_node *instance;

        query_begin(&q, "DescribeInstances", EC2_VERSION);
        query_filter(&q, 1, "instance.group-id", id);
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
        return op_fail(o, PRVNG_CONFLICT, PRVNG_EFFECT_NONE, "it is used by %s (%s)", tag_of(instance, "Name"),
                       xml_text(instance, "instanceId"));
}

static int32_t remove_it(struct op *o, const char *id)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};
        bool used;
        int32_t r = in_use(o, id, &used);

        if (used)
                return r;
        query_begin(&q, "DeleteSecurityGroup", EC2_VERSION);
        query_add(&q, id, "GroupId");
        r = aws_ask(o->a, o->call, AWS_EC2, &q, &reply);
        if (r == PRVNG_DONE || reply.fault.error_class == PRVNG_NOT_FOUND)
                return op_done(o, PRVNG_DONE, json_object());
        /* What ended a moment ago still holds it. */
        if ((streq(reply.fault.code, "DependencyViolation") || streq(reply.fault.code, "InvalidGroup.InUse")) &&
            aws_now_ms() < aws_integer(o->token, "since", 0) + IN_USE_MAX * (o->a->settle_ms + 1000))
                return op_pending(o, "end", o->a->poll_ms);
        return op_fault(o, &reply.fault, PRVNG_EFFECT_NONE, "it could not be deleted");
}

int32_t group_delete_poll(struct op *o)
{
        _cleanup_(cleanup_reply) struct reply reply = {0};
        const char *id = op_identity(o, "id"), *made_by = op_identity(o, "op_id");
        const struct xml_node *group;

        if (op_step(o, "end"))
                return remove_it(o, aws_string(o->token, "id", ""));
        if (look(o, id, made_by, &reply, &group) < 0)
                return op_fault(o, &reply.fault, PRVNG_EFFECT_NONE, "what is there could not be asked for");
        if (group && (*id || !*made_by || streq(tag_of(group, TAG_OP), made_by))) {
                json_object_set_new(o->token, "id", json_string(xml_text(group, "groupId")));
                return op_pending(o, "end", 0);
        }
        if (!*id && *made_by && !op_settled(o))
                return op_pending(o, "find", o->a->poll_ms);
        return op_done(o, PRVNG_UNCHANGED, json_object());
}
