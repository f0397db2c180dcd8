/* SPDX-License-Identifier: Apache-2.0 */
/* Servers: what only looks. */
#include "aws.h"

const char *server_state(const struct xml_node *instance)
{
        return xml_text(instance, "instanceState/name");
}

bool server_lives(const struct xml_node *instance)
{
        const char *s = server_state(instance);

        return streq(s, "pending") || streq(s, "running") || streq(s, "stopping") || streq(s, "stopped");
}

static bool vanished(const struct fault *f)
{
        return f->error_class == PRVNG_NOT_FOUND ||
               streq(f->code, "InvalidInstanceID.Malformed"); /* what was never one of ours */
}

int32_t server_describe(struct op *o, const char *id, struct reply *reply, const struct xml_node **ret)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        int32_t r;

        *ret = NULL;
        query_begin(&q, "DescribeInstances", EC2_VERSION);
        query_add(&q, id, "InstanceId.1");
        r = aws_ask(o->a, o->call, AWS_EC2, &q, reply);
        if (r < 0)
                return vanished(&reply->fault) ? PRVNG_DONE : r;
        *ret = xml_child(xml_find(xml_child(xml_find(reply_root(reply), "reservationSet"), "item"), "instancesSet"),
                         "item");
        return PRVNG_DONE;
}

/* The living one that carries the op id, or the first that lives (ret_other) and how many there are. */
const struct xml_node *server_find(const struct reply *reply, const char *op_id, const struct xml_node **ret_other,
                                   size_t *ret_n)
{
        const struct xml_node *found = NULL;

        *ret_other = NULL;
        *ret_n = 0;
        xml_foreach (reservation, reply_root(reply), "reservationSet")
                xml_foreach (instance, reservation, "instancesSet") {
                        if (!server_lives(instance))
                                continue;
                        ++*ret_n;
                        if (!found && *op_id && streq(tag_of(instance, TAG_OP), op_id))
                                found = instance;
                        else if (!*ret_other)
                                *ret_other = instance;
                }
        return found;
}

int32_t volume_describe(struct op *o, const struct xml_node *instance, struct reply *reply,
                        const struct xml_node **ret)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        const char *root = xml_text(instance, "rootDeviceName"), *id = "";
        int32_t r;

        *ret = NULL;
        xml_foreach (device, instance, "blockDeviceMapping")
                if (!*id || streq(xml_text(device, "deviceName"), root))
                        id = xml_text(device, "ebs/volumeId");
        if (!*id)
                return PRVNG_DONE;
        query_begin(&q, "DescribeVolumes", EC2_VERSION);
        query_add(&q, id, "VolumeId.1");
        r = aws_ask(o->a, o->call, AWS_EC2, &q, reply);
        if (r < 0)
                return reply->fault.error_class == PRVNG_NOT_FOUND ? PRVNG_DONE : r;
        *ret = xml_child(xml_find(reply_root(reply), "volumeSet"), "item");
        return PRVNG_DONE;
}

/* Of a type that is not in the table; remembered. */
static void ask_size(struct op *o, const char *type, double *ret_cpu, int64_t *ret_memory)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};
        _cleanup_(cleanup_free) char *key = aws_format("type %s", type);
        const struct xml_node *found;
        json_t *known;

        if (!key)
                return;
        pthread_mutex_lock(&o->a->lock);
        known = json_object_get(o->a->images, key);
        *ret_cpu = json_number_value(json_object_get(known, "cpu"));
        *ret_memory = aws_integer(known, "memory", 0);
        pthread_mutex_unlock(&o->a->lock);
        if (*ret_memory)
                return;
        query_begin(&q, "DescribeInstanceTypes", EC2_VERSION);
        query_add(&q, type, "InstanceType.1");
        if (aws_ask(o->a, o->call, AWS_EC2, &q, &reply) < 0)
                return; /* a size is not worth an operation */
        found = xml_child(xml_find(reply_root(&reply), "instanceTypeSet"), "item");
        *ret_cpu = atof(xml_text(found, "vCpuInfo/defaultVCpus"));
        *ret_memory = atoll(xml_text(found, "memoryInfo/sizeInMiB"));
        pthread_mutex_lock(&o->a->lock);
        json_object_set_new(o->a->images, key, json_pack("{s:f, s:I}", "cpu", *ret_cpu, "memory", (json_int_t)*ret_memory));
        pthread_mutex_unlock(&o->a->lock);
}

static void add_size(struct op *o, const char *name, json_t *result)
{
        const struct instance_type *type = type_by_name(name);
        double cpu = type ? type->cpu : 0;
        int64_t memory = type ? type->memory : 0;

        if (!type)
                ask_size(o, name, &cpu, &memory);
        json_object_set_new(result, "plan", json_string(name));
        json_object_set_new(result, "cpu", cpu == (double)(int64_t)cpu ? json_integer((json_int_t)cpu) : json_real(cpu));
        json_object_set_new(result, "memory", json_integer(memory));
}

static void add_addresses(struct op *o, const struct xml_node *instance, json_t *result)
{
        const char *public = xml_text(instance, "ipAddress"), *private = xml_text(instance, "privateIpAddress");
        const char *user = aws_string(o->request, "user", op_identity(o, "user"));
        json_t *all = json_array();

        if (*public)
                json_array_append_new(all, json_string(public));
        if (*private)
                json_array_append_new(all, json_string(private));
        json_object_set_new(result, "addresses", all);
        json_object_set_new(result, "public_address", json_string(public));
        json_object_set_new(result, "private_address", json_string(private));
        if (*user)
                json_object_set_new(result, "user", json_string(user));
        json_object_set_new(result, "reach",
                            json_pack("{s:s, s:s, s:i, s:s}", "method", "ssh", "host", *public ? public : private,
                                      "port", 22, "user", *user ? user : "ec2-user"));
}

json_t *server_result(struct op *o, const struct xml_node *instance)
{
        const char *state = server_state(instance), *op_id = tag_of(instance, TAG_OP);
        json_t *result = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:[]}", "id",
                                   xml_text(instance, "instanceId"), "name", o->name, "hostname", o->name, "state",
                                   streq(state, "pending") || streq(state, "running") ? "running" : "stopped", "zone",
                                   xml_text(instance, "placement/availabilityZone"), "image",
                                   xml_text(instance, "imageId"), "network", xml_text(instance, "vpcId"), "subnet",
                                   xml_text(instance, "subnetId"), "labels", tags_labels(instance), "notices");
        json_t *disk = json_object_get(json_object_get(o->request, "wanted"), "disk");
        json_t *groups = json_array();

        if (!result)
                return NULL;
        xml_foreach (group, instance, "groupSet")
                json_array_append_new(groups, json_string(xml_text(group, "groupId")));
        json_object_set_new(result, "security_groups", groups);
        if (!disk)
                disk = json_object_get(json_object_get(o->request, "identity"), "disk");
        if (disk)
                json_object_set(result, "disk", disk);
        if (*xml_text(instance, "keyName"))
                json_object_set_new(result, "key_name", json_string(xml_text(instance, "keyName")));
        json_object_set_new(result, "op_id", json_string(*op_id ? op_id : op_identity(o, "op_id")));
        add_size(o, xml_text(instance, "instanceType"), result);
        add_addresses(o, instance, result);
        return result;
}

static void differs(json_t *drift, const char *attribute, json_t *wanted, json_t *found)
{
        json_array_append_new(drift, json_pack("{s:s, s:o, s:o}", "attribute", attribute, "wanted",
                                               wanted ? wanted : json_null(), "found", found ? found : json_null()));
}

static bool same_groups(const json_t *wanted, const struct xml_node *instance)
{
        size_t n = 0, k = 0, i;
        json_t *v;

        if (json_array_size(wanted) == 0) /* none was asked for: AWS gave its default */
                return true;
        xml_foreach (group, instance, "groupSet")
                n++;
        json_array_foreach (wanted, i, v)
                xml_foreach (group, instance, "groupSet")
                        k += streq(xml_text(group, "groupId"), json_string_value(v));
        return n == k && k == json_array_size(wanted);
}

/* What is not as the request wants it; the attributes are those of the spec. `volume` may be NULL. */
json_t *server_drift(struct op *o, const struct xml_node *instance, const struct xml_node *volume)
{
        const json_t *wanted = json_object_get(o->request, "wanted");
        json_t *drift = json_array(), *labels = tags_labels(instance);
        const char *type = xml_text(instance, "instanceType"), *state = server_state(instance);
        const char *found = streq(state, "running") || streq(state, "pending") ? "running" : "stopped";
        int64_t size = volume ? atoll(xml_text(volume, "size")) : 0, disk = aws_integer(wanted, "disk", 0);

        if (!streq(found, aws_string(wanted, "state", "running")))
                differs(drift, "state", json_string(aws_string(wanted, "state", "running")), json_string(found));
        if (!streq(type, aws_string(wanted, "type", type)))
                differs(drift, "plan", json_string(aws_string(wanted, "type", "")), json_string(type));
        if (!json_equal(labels, json_object_get(wanted, "labels")))
                differs(drift, "labels", json_incref(json_object_get(wanted, "labels")), json_incref(labels));
        if (volume && disk && size != disk)
                differs(drift, "disk", json_integer(disk), json_integer(size));
        if (!same_groups(json_object_get(wanted, "groups"), instance)) {
                json_t *groups = json_array();

                xml_foreach (group, instance, "groupSet")
                        json_array_append_new(groups, json_string(xml_text(group, "groupId")));
                differs(drift, "security_groups", json_incref(json_object_get(wanted, "groups")), groups);
        }
        json_decref(labels);
        return drift;
}

/* By its id, else by its marks. DONE with NULL: there is none. */
static int32_t present(struct op *o, struct reply *reply, const struct xml_node **ret)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        const char *id = op_identity(o, "id");
        const struct xml_node *other;
        size_t n;
        int32_t r;

        if (*id) {
                r = server_describe(o, id, reply, ret);
                if (r == PRVNG_DONE && *ret && !server_lives(*ret))
                        *ret = NULL;
                return r;
        }
        query_begin(&q, "DescribeInstances", EC2_VERSION);
        tags_filter(&q, 1, o);
        r = aws_ask(o->a, o->call, AWS_EC2, &q, reply);
        *ret = r < 0 ? NULL : server_find(reply, op_identity(o, "op_id"), &other, &n);
        if (r == PRVNG_DONE && !*ret && !*op_identity(o, "op_id"))
                *ret = other;
        return r;
}

int32_t server_read(struct op *o)
{
        _cleanup_(cleanup_reply) struct reply reply = {0}, volumes = {0};
        const struct xml_node *instance, *volume = NULL;
        json_t *result;
        int32_t r = present(o, &reply, &instance);

        if (r < 0)
                return op_fault(o, &reply.fault, PRVNG_EFFECT_NONE, "its state could not be read");
        if (!instance)
                return op_fail(o, PRVNG_NOT_FOUND, PRVNG_EFFECT_NONE, "there is none");
        r = volume_describe(o, instance, &volumes, &volume);
        if (r < 0)
                return op_fault(o, &volumes.fault, PRVNG_EFFECT_NONE, "its volumes could not be read");
        result = server_result(o, instance);
        if (volume)
                json_object_set_new(result, "disk", json_integer(atoll(xml_text(volume, "size"))));
        return op_done(o, PRVNG_DONE, result);
}

int32_t server_check(struct op *o)
{
        _cleanup_(cleanup_reply) struct reply reply = {0}, volumes = {0};
        const struct xml_node *instance, *volume = NULL;
        json_t *result, *drift;
        int32_t r = present(o, &reply, &instance);

        if (r < 0)
                return aws_report(o->a, o->call, &reply.fault, PRVNG_EFFECT_NONE, "server %s could not be checked", o->name);
        if (!instance) {
                drift = json_array();
                differs(drift, "state", json_string(aws_string(json_object_get(o->request, "wanted"), "state", "running")),
                        json_string("absent"));
                return op_done(o, PRVNG_DONE, json_pack("{s:o}", "drift", drift));
        }
        r = volume_describe(o, instance, &volumes, &volume);
        if (r < 0)
                return aws_report(o->a, o->call, &volumes.fault, PRVNG_EFFECT_NONE, "server %s could not be checked", o->name);
        result = server_result(o, instance);
        if (volume)
                json_object_set_new(result, "disk", json_integer(atoll(xml_text(volume, "size"))));
        drift = server_drift(o, instance, volume);
        if (json_array_size(drift) == 0) {
                json_decref(drift);
                return op_done(o, PRVNG_UNCHANGED, result);
        }
        json_object_set_new(result, "drift", drift);
        return op_done(o, PRVNG_DONE, result);
}
