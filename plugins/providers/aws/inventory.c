/* SPDX-License-Identifier: Apache-2.0 */
/* What is there that nobody made with prvng: one thing by id or name, with the spec that says it. */
#include "network.h"
#include "rules.h"

static void spec_of_server(const struct xml_node *instance, int64_t disk, json_t *spec)
{
        const char *key = xml_text(instance, "keyName"), *state = server_state(instance);
        json_t *labels = tags_labels(instance), *groups = json_array(), *block = json_object();

        json_object_set_new(spec, "plan", json_string(xml_text(instance, "instanceType")));
        json_object_set_new(spec, "image", json_string(xml_text(instance, "imageId")));
        json_object_set_new(spec, "zone", json_string(xml_text(instance, "placement/availabilityZone")));
        if (disk)
                json_object_set_new(spec, "disk", json_integer(disk));
        if (json_object_size(labels) > 0)
                json_object_set(spec, "labels", labels);
        json_decref(labels);
        xml_foreach (group, instance, "groupSet")
                json_array_append_new(groups, json_string(xml_text(group, "groupId")));
        json_object_set_new(spec, "security_groups", groups);
        if (*xml_text(instance, "subnetId"))
                json_object_set_new(spec, "networks", json_pack("[s]", xml_text(instance, "subnetId")));
        if (*key)
                json_object_set_new(block, "key_name", json_string(key));
        if (!streq(state, "running") && !streq(state, "pending"))
                json_object_set_new(block, "state", json_string("stopped"));
        if (json_object_size(block) > 0)
                json_object_set(spec, "aws", block);
        json_decref(block);
}

static void question(struct query *q, const char *action, const char *parameter, const char *prefix, const char *id)
{
        query_begin(q, action, EC2_VERSION);
        if (strncmp(id, prefix, strlen(prefix)) == 0)
                query_add(q, id, "%s.1", parameter);
        else
                query_filter(q, 1, "tag:Name", id);
}

/* Several have the name. */
static int32_t many(struct op *o, const char *ids)
{
        return op_fail(o, PRVNG_CONFLICT, PRVNG_EFFECT_NONE, "several are called so: %s; name one by its id", ids);
}

static int32_t answer(struct op *o, const char *name, json_t *spec, json_t *outputs)
{
        json_object_set_new(spec, "name", json_string(name));
        json_object_set_new(outputs, "name", json_string(name));
        return op_done(o, PRVNG_DONE, json_pack("{s:s, s:s, s:o, s:o}", "name", name, "kind", o->kind, "spec", spec,
                                                "outputs", outputs));
}

/* Its tag Name where that can be a name here, else what was asked for. */
static const char *name_of(const struct xml_node *thing, const char *asked)
{
        const char *own = tag_of(thing, TAG_NAME), *name = tag_of(thing, "Name");

        return *own ? own : *name && !strpbrk(name, " @/.") ? name : asked;
}

static int32_t find_server(struct op *o, const char *id)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0}, volumes = {0};
        const struct xml_node *found = NULL, *volume = NULL;
        char ids[600] = "";
        size_t n = 0;
        json_t *spec = NULL, *outputs;
        int64_t disk;

        question(&q, "DescribeInstances", "InstanceId", "i-", id);
        if (aws_ask(o->a, o->call, AWS_EC2, &q, &reply) < 0)
                return op_fault(o, &reply.fault, PRVNG_EFFECT_NONE, "it could not be looked for");
        xml_foreach (reservation, reply_root(&reply), "reservationSet")
                xml_foreach (instance, reservation, "instancesSet") {
                        if (!server_lives(instance))
                                continue;
                        found = instance;
                        snprintf(ids + strlen(ids), sizeof(ids) - strlen(ids), "%s%s", n++ ? ", " : "",
                                 xml_text(instance, "instanceId"));
                }
        if (n != 1)
                return n ? many(o, ids) : op_fail(o, PRVNG_NOT_FOUND, PRVNG_EFFECT_NONE, "there is none");
        if (volume_describe(o, found, &volumes, &volume) < 0)
                return op_fault(o, &volumes.fault, PRVNG_EFFECT_NONE, "its volumes could not be asked for");
        disk = volume ? atoll(xml_text(volume, "size")) : 0;
        spec = json_object();
        spec_of_server(found, disk, spec);
        o->name = name_of(found, id);
        outputs = server_result(o, found);
        if (disk)
                json_object_set_new(outputs, "disk", json_integer(disk));
        return answer(o, o->name, spec, outputs);
}

/* DONE with the id of the one thing that is meant. */
static int32_t find_one(struct op *o, const char *action, const char *parameter, const char *prefix, const char *set,
                        const char *element, const char *id, struct reply *reply, const struct xml_node **ret)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        char ids[600] = "";
        size_t n = 0;

        question(&q, action, parameter, prefix, id);
        if (aws_ask(o->a, o->call, AWS_EC2, &q, reply) < 0)
                return op_fault(o, &reply->fault, PRVNG_EFFECT_NONE, "it could not be looked for");
        xml_foreach (thing, reply_root(reply), set) {
                *ret = thing;
                snprintf(ids + strlen(ids), sizeof(ids) - strlen(ids), "%s%s", n++ ? ", " : "", xml_text(thing, element));
        }
        if (n == 1)
                return PRVNG_DONE;
        return n ? many(o, ids) : op_fail(o, PRVNG_NOT_FOUND, PRVNG_EFFECT_NONE, "there is none");
}

static int32_t find_network(struct op *o, const char *id)
{
        _cleanup_(cleanup_reply) struct reply reply = {0};
        const struct xml_node *vpc = NULL;
        struct network n;
        struct fault f;
        json_t *spec, *zones = json_array();
        const char *zone;
        json_t *v;
        int32_t r = find_one(o, "DescribeVpcs", "VpcId", "vpc-", "vpcSet", "vpcId", id, &reply, &vpc);

        if (r == PRVNG_DONE)
                o->name = name_of(vpc, id);
        if (r == PRVNG_DONE && network_look(o, xml_text(vpc, "vpcId"), "", &n, &f) < 0) {
                network_deinit(&n);
                r = op_fault(o, &f, PRVNG_EFFECT_NONE, "its parts could not be asked for");
        }
        if (r < 0) {
                json_decref(zones);
                return r;
        }
        json_object_foreach (n.subnets, zone, v)
                json_array_append_new(zones, json_string(zone));
        spec = json_pack("{s:s, s:o, s:{s:b}}", "address", n.address, "zones", zones, "aws", "public",
                         n.attached && n.routed);
        r = answer(o, o->name, spec, network_result(o, &n));
        network_deinit(&n);
        return r;
}

/* "in tcp 22 22 0.0.0.0/0" as a rule of a spec; NULL: what every group has, or what a spec cannot say. */
static json_t *rule_of(const char *text, bool *ret_odd)
{
        char direction[8], protocol[16], from[16], to[16], who[72], ports[40];
        json_t *rule;

        *ret_odd = false;
        if (sscanf(text, "%7s %15s %15s %15s %71s", direction, protocol, from, to, who) != 5 || streq(who, "self") ||
            streq(text, "out any - - 0.0.0.0/0") || streq(text, "out any - - ::/0"))
                return NULL;
        *ret_odd = !strchr(who, '/') || (strncmp(protocol, "icmp", 4) == 0 && !streq(from, "-1"));
        if (*ret_odd)
                return NULL;
        rule = json_pack("{s:s, s:s, s:s, s:s}", "direction", direction, "protocol",
                         streq(protocol, "icmpv6") ? "icmp" : protocol, streq(direction, "in") ? "source" : "destination",
                         who, "action", "accept");
        snprintf(ports, sizeof(ports), "%s-%s", from, to);
        if ((streq(protocol, "tcp") || streq(protocol, "udp")) && streq(from, to))
                json_object_set_new(rule, "port", json_integer(atoi(from)));
        else if ((streq(protocol, "tcp") || streq(protocol, "udp")) && !streq(ports, "0-65535"))
                json_object_set_new(rule, "ports", json_string(ports));
        return rule;
}

/* Do those in the group reach each other by it, as in ours? */
static bool has_members(const json_t *found)
{
        json_t *v;
        size_t i;

        json_array_foreach (found, i, v)
                if (streq(json_string_value(v), "in any - - self"))
                        return true;
        return false;
}

static int32_t find_group(struct op *o, const char *id)
{
        _cleanup_(cleanup_reply) struct reply reply = {0};
        _cleanup_(cleanup_json) json_t *found = NULL;
        const struct xml_node *group = NULL;
        json_t *spec, *rules, *outputs, *v;
        bool odd, any_odd = false;
        size_t i;
        int32_t r = find_one(o, "DescribeSecurityGroups", "GroupId", "sg-", "securityGroupInfo", "groupId", id, &reply,
                             &group);

        if (r < 0)
                return r;
        o->name = name_of(group, id);
        rules = json_array();
        found = rules_found(group, xml_text(group, "groupId"));
        json_array_foreach (found, i, v) {
                json_t *rule = rule_of(json_string_value(v), &odd);

                any_odd |= odd;
                if (rule)
                        json_array_append_new(rules, rule);
        }
        spec = json_pack("{s:o, s:{s:s}}", "rules", rules, "aws", "vpc", xml_text(group, "vpcId"));
        if (!has_members(found))
                json_object_set_new(json_object_get(spec, "aws"), "members", json_false());
        outputs = json_pack("{s:s, s:s, s:s, s:s, s:[]}", "id", xml_text(group, "groupId"), "group_name",
                            xml_text(group, "groupName"), "network", xml_text(group, "vpcId"), "op_id",
                            tag_of(group, TAG_OP), "notices");
        if (any_odd)
                json_array_append_new(json_object_get(outputs, "notices"),
                                      json_string("some of its rules (for other groups, prefix lists or single kinds of"
                                                  " icmp) cannot be said in a definition: an update removes them"));
        return answer(o, o->name, spec, outputs);
}

static int32_t find(void *instance, struct prvng_call *call, const char *kind, const char *id,
                    struct prvng_sink *result)
{
        struct op o = {.a = instance, .call = call, .verb = "find", .kind = kind, .name = id, .workflow = "",
                       .site = "", .result_sink = result};

        if (streq(kind, "server"))
                return find_server(&o, id);
        if (streq(kind, "network"))
                return find_network(&o, id);
        if (streq(kind, "security_group"))
                return find_group(&o, id);
        return aws_fail(instance, call, PRVNG_UNSUPPORTED, PRVNG_EFFECT_NONE, NULL,
                        "aws: there are no resources of kind %s; there are server, network and security_group", kind);
}

const struct prvng_provider_inventory aws_inventory = {.struct_size = sizeof(aws_inventory), .find = find};
