/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers: from a task to the request. Pure: "form" is what RunInstances gets, but for what has to be asked
 * for or depends on the op id (image, root device, place, client token, marks); "wanted" is what the server
 * is compared with later.
 */
#include "aws.h"

#include <math.h>
#include <stdarg.h>

#define VOLUMES_MAX  10
#define LABELS_MAX   40 /* of AWS's 50 tags */
#define USERDATA_MAX 16384

struct draft {
        struct aws *a;
        struct prvng_call *call;
        const json_t *task, *spec, *block;
        json_t *form, *wanted, *out;
        size_t n_devices; /* BlockDeviceMapping.N */
};

int32_t bad_field(struct aws *a, struct prvng_call *call, const char *field, const json_t *value,
                  const char *accepted)
{
        _cleanup_(cleanup_free) char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

        return aws_fail(a, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, field, "aws: %s = %s is not accepted; %s",
                        field, text ? text : "null", accepted);
}

static int32_t bad(const struct draft *d, const char *field, const json_t *value, const char *accepted)
{
        return bad_field(d->a, d->call, field, value, accepted);
}

static void put(json_t *form, const char *value, const char *format, ...) _printf_(3, 4);

static void put(json_t *form, const char *value, const char *format, ...)
{
        char name[128];
        va_list ap;

        va_start(ap, format);
        vsnprintf(name, sizeof(name), format, ap);
        va_end(ap);
        json_object_set_new(form, name, json_string(value));
}

static int32_t size(struct draft *d)
{
        const json_t *plan = json_object_get(d->spec, "plan"), *cpu = json_object_get(d->spec, "cpu");
        const json_t *memory = json_object_get(d->spec, "memory");
        double cores = aws_present(d->spec, "cpu") ? json_number_value(cpu) : 1;
        int64_t mib = aws_integer(d->spec, "memory", 1024);
        const struct instance_type *type;

        if (aws_present(d->spec, "plan")) {
                const char *name = json_string_value(plan);

                if (!name || !strchr(name, '.') || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") != strlen(name))
                        return bad(d, "spec.plan", plan, "write an instance type such as \"t3.small\"");
                json_object_set_new(d->wanted, "type", json_string(name));
                put(d->form, name, "InstanceType");
                return PRVNG_DONE;
        }
        if (aws_present(d->spec, "cpu") && (!json_is_number(cpu) || !isfinite(cores) || cores <= 0))
                return bad(d, "spec.cpu", cpu, "write cores, more than 0");
        if (aws_present(d->spec, "memory") && (!json_is_integer(memory) || mib < 1))
                return bad(d, "spec.memory", memory, "write MiB as a whole number");
        type = type_for(cores, mib);
        if (!type)
                return aws_fail(d->a, d->call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, "spec.cpu",
                                "aws: no instance type has %g cores and %lld MiB; the largest that is chosen by"
                                " itself is %s; name others as plan",
                                cores, (long long)mib, type_largest()->name);
        json_object_set_new(d->wanted, "type", json_string(type->name));
        put(d->form, type->name, "InstanceType");
        return PRVNG_DONE;
}

/* Its root volume, and further ones that come and go with it. */
static int32_t disks(struct draft *d)
{
        const json_t *disk = json_object_get(d->spec, "disk"), *volumes = json_object_get(d->block, "volumes");
        const char *type = aws_string(d->block, "volume_type", "gp3");
        json_t *v;
        size_t i;

        if (aws_present(d->spec, "disk")) {
                char text[24];

                if (!json_is_integer(disk) || json_integer_value(disk) < 1 || json_integer_value(disk) > 65536)
                        return bad(d, "spec.disk", disk, "write GiB as a whole number, 1 to 65536");
                snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(disk));
                d->n_devices = 1; /* its DeviceName comes with the image */
                put(d->form, text, "BlockDeviceMapping.1.Ebs.VolumeSize");
                put(d->form, type, "BlockDeviceMapping.1.Ebs.VolumeType");
                put(d->form, "true", "BlockDeviceMapping.1.Ebs.DeleteOnTermination");
                json_object_set_new(d->wanted, "disk", json_integer(json_integer_value(disk)));
        }
        if (aws_present(d->block, "volumes") && (!json_is_array(volumes) || json_array_size(volumes) > VOLUMES_MAX))
                return bad(d, "spec.aws.volumes", volumes, "write a list of at most 10, each {size = GiB}");
        json_array_foreach (volumes, i, v) {
                int64_t gib = aws_integer(v, "size", 0);
                char text[24];
                size_t n = ++d->n_devices;

                if (gib < 1 || gib > 65536)
                        return bad(d, "spec.aws.volumes", v, "each volume needs a size, in GiB");
                snprintf(text, sizeof(text), "%lld", (long long)gib);
                put(d->form, text, "BlockDeviceMapping.%zu.Ebs.VolumeSize", n);
                put(d->form, aws_string(v, "type", type), "BlockDeviceMapping.%zu.Ebs.VolumeType", n);
                put(d->form, "true", "BlockDeviceMapping.%zu.Ebs.DeleteOnTermination", n);
                snprintf(text, sizeof(text), "/dev/sd%c", (char)('f' + (int)i));
                put(d->form, text, "BlockDeviceMapping.%zu.DeviceName", n);
        }
        return PRVNG_DONE;
}

static int32_t labels(struct draft *d)
{
        json_t *all = json_object_get(d->spec, "labels"), *value;
        const char *key;

        if (!aws_present(d->spec, "labels"))
                all = NULL;
        else if (!json_is_object(all) || json_object_size(all) > LABELS_MAX)
                return bad(d, "spec.labels", all, "write at most 40 names with texts");
        json_object_foreach (all, key, value)
                if (!json_is_string(value) || tag_is_ours(key) || strlen(key) > 127 || !*key ||
                    json_string_length(value) > 255)
                        return bad(d, "spec.labels", all,
                                   "a label is a text of at most 255 bytes, with a name of at most 127 that is not Name"
                                   " and does not begin with prvng: or aws:");
        json_object_set_new(d->wanted, "labels", all ? json_deep_copy(all) : json_object());
        return PRVNG_DONE;
}

static bool is_key(const json_t *key)
{
        const char *s = json_string_value(key);

        return s && !strpbrk(s, "\r\n") && strchr(s, ' ') &&
               (strncmp(s, "ssh-", 4) == 0 || strncmp(s, "ecdsa-", 6) == 0 || strncmp(s, "sk-", 3) == 0);
}

static int32_t keys(struct draft *d)
{
        const json_t *all = json_object_get(d->spec, "ssh_keys"), *first = json_array_get(all, 0);
        const char *own = aws_string(d->block, "key_name", "");
        json_t *key, *pair;
        size_t i;

        if (*own)
                put(d->form, own, "KeyName");
        if (!aws_present(d->spec, "ssh_keys") || json_array_size(all) == 0)
                return json_is_array(all) || !aws_present(d->spec, "ssh_keys")
                               ? PRVNG_DONE
                               : bad(d, "spec.ssh_keys", all, "write a list of public keys");
        json_array_foreach (all, i, key)
                if (!is_key(key))
                        return bad(d, "spec.ssh_keys", key,
                                   "write public keys as they stand in authorized_keys, e.g. \"ssh-ed25519 AAAA... me\"");
        if (*own)
                return PRVNG_DONE;
        pair = key_of(aws_string(d->task, "site", ""), json_string_value(first));
        if (!pair)
                return PRVNG_INTERNAL;
        put(d->form, aws_string(pair, "name", ""), "KeyName");
        json_object_set_new(d->out, "key", pair);
        return PRVNG_DONE;
}

/* What the server does at its first start: its name, and who may log in. */
static int32_t user_data(struct draft *d)
{
        const json_t *own = json_object_get(d->block, "user_data"), *all = json_object_get(d->spec, "ssh_keys");
        _cleanup_(cleanup_json) json_t *config = NULL;
        _cleanup_(cleanup_free) char *json = NULL, *text = NULL, *coded = NULL;

        if (aws_present(d->block, "user_data")) {
                if (!json_is_string(own) || json_string_length(own) > USERDATA_MAX)
                        return bad(d, "spec.aws.user_data", own, "write a text of at most 16384 bytes");
                if (json_array_size(all) > 1)
                        return bad(d, "spec.ssh_keys", all,
                                   "with user_data of your own only one key can be given; put the others into user_data");
                text = strdup(json_string_value(own));
        } else {
                config = json_pack("{s:s, s:s, s:b}", "hostname", aws_string(d->task, "name", ""), "fqdn",
                                   aws_string(d->task, "name", ""), "preserve_hostname", 0);
                if (json_array_size(all) > 0)
                        json_object_set(config, "ssh_authorized_keys", (json_t *)(uintptr_t)all);
                json = json_dumps(config, JSON_COMPACT | JSON_SORT_KEYS);
                text = json ? aws_format("#cloud-config\n%s\n", json) : NULL; /* JSON is YAML */
        }
        coded = text ? aws_base64(text) : NULL;
        if (!coded)
                return PRVNG_INTERNAL;
        put(d->form, coded, "UserData");
        return PRVNG_DONE;
}

static bool begins(const char *s, const char *with)
{
        return strstr(s, with) == s;
}

static int by_text(const void *a, const void *b)
{
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Security groups: those of the workflow, and AWS's own by id. */
static int32_t groups(struct draft *d)
{
        const json_t *inputs = json_object_get(d->task, "inputs"), *own = json_object_get(d->spec, "security_groups");
        const char *ids[32], *key;
        json_t *v, *list = json_array();
        size_t n = 0, i;

        json_object_foreach ((json_t *)(uintptr_t)inputs, key, v)
                if (begins(key, "security_group.") && n < N_ELEMENTS(ids) && *aws_string(v, "id", ""))
                        ids[n++] = aws_string(v, "id", "");
        json_array_foreach (own, i, v) {
                const char *name = json_string_value(v) ? json_string_value(v) : "";
                _cleanup_(cleanup_free) char *full = aws_format("security_group.%s@aws", name);

                if (full && json_object_get(inputs, full))
                        continue;
                if (!begins(name, "sg-") || n >= N_ELEMENTS(ids)) {
                        json_decref(list);
                        return bad(d, "spec.security_groups", v,
                                   "name groups of the workflow, or of AWS by id (\"sg-...\")");
                }
                ids[n++] = name;
        }
        qsort(ids, n, sizeof(ids[0]), by_text);
        for (i = 0; i < n; i++) {
                put(d->form, ids[i], "SecurityGroupId.%zu", i + 1);
                json_array_append_new(list, json_string(ids[i]));
        }
        json_object_set_new(d->wanted, "groups", list);
        return PRVNG_DONE;
}

/* The network that it stands in: one of the workflow, or a subnet of AWS's own by id ("" : neither). */
static int32_t network(struct draft *d, const json_t **ret_subnets, const char **ret_subnet)
{
        const json_t *inputs = json_object_get(d->task, "inputs"), *names = json_object_get(d->spec, "networks");
        const char *key, *found = NULL;
        json_t *v;
        size_t i;

        *ret_subnets = NULL;
        *ret_subnet = aws_string(d->block, "subnet", "");
        json_object_foreach ((json_t *)(uintptr_t)inputs, key, v) {
                if (!begins(key, "network."))
                        continue;
                if (found && !streq(found, aws_string(v, "id", "")))
                        return bad(d, "spec.networks", names, "a server at AWS stands in one network only");
                found = aws_string(v, "id", "");
                *ret_subnets = json_object_get(v, "subnets");
        }
        json_array_foreach (names, i, v) {
                const char *name = json_string_value(v) ? json_string_value(v) : "";
                _cleanup_(cleanup_free) char *full = aws_format("network.%s@aws", name);

                if (full && json_object_get(inputs, full))
                        continue;
                if (!begins(name, "subnet-") || found || (**ret_subnet && !streq(*ret_subnet, name)))
                        return bad(d, "spec.networks", v,
                                   "a server at AWS stands in one network: one of the workflow, or a subnet of AWS by id"
                                   " (\"subnet-...\")");
                *ret_subnet = name;
        }
        return PRVNG_DONE;
}

static int32_t check_zone(struct draft *d, const char *field, const json_t *zone)
{
        const char *name = json_string_value(zone), *region = d->a->region;

        if (!name || !*name)
                return bad(d, field, zone, "write an availability zone such as \"eu-central-1a\"");
        if (*region && !begins(name, region))
                return aws_fail(d->a, d->call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, field,
                                "aws: %s = \"%s\" is not a zone of %s, the region of this site; its zones are called"
                                " %sa, %sb, ...",
                                field, name, region, region, region);
        return PRVNG_DONE;
}

/* Where it may be, in the order of trying: the zone that is named, then those of aws.zones; else, in a
 * network, all of its zones, beginning at another one for every name. */
static int32_t places(struct draft *d)
{
        const json_t *subnets, *zone = json_object_get(d->spec, "zone"), *others = json_object_get(d->block, "zones");
        _cleanup_(cleanup_json) json_t *zones = json_array();
        const char *subnet, *key;
        json_t *v, *list = json_array();
        size_t i, start = 0;
        int32_t r = network(d, &subnets, &subnet);

        json_object_set_new(d->out, "places", list);
        if (r < 0)
                return r;
        if (aws_present(d->spec, "zone")) {
                r = check_zone(d, "spec.zone", zone);
                json_array_append(zones, (json_t *)(uintptr_t)zone);
        }
        json_array_foreach (others, i, v) {
                r = r < 0 ? r : check_zone(d, "spec.aws.zones", v);
                json_array_append(zones, v);
        }
        if (r < 0)
                return r;
        if (*subnet) {
                json_array_append_new(list, json_pack("{s:s}", "subnet", subnet));
                return PRVNG_DONE;
        }
        if (json_array_size(zones) == 0 && subnets) {
                for (const char *p = aws_string(d->task, "name", ""); *p; p++)
                        start = start * 31 + (unsigned char)*p;
                json_object_foreach ((json_t *)(uintptr_t)subnets, key, v)
                        json_array_append_new(zones, json_string(key));
        }
        for (i = 0; i < json_array_size(zones); i++) {
                const json_t *z = json_array_get(zones, (start + i) % json_array_size(zones));
                const char *name = json_string_value(z);
                json_t *id = json_object_get(subnets, name);

                if (subnets && !id)
                        return bad(d, "spec.zone", z, "the server's network has no subnet in that zone");
                json_array_append_new(list, id ? json_pack("{s:s, s:O}", "zone", name, "subnet", id)
                                               : json_pack("{s:s}", "zone", name));
        }
        if (json_array_size(list) == 0)
                json_array_append_new(list, json_object()); /* AWS chooses */
        return PRVNG_DONE;
}

static int32_t state(struct draft *d)
{
        const char *s = aws_string(d->block, "state", aws_string(d->spec, "state", "running"));

        if (!streq(s, "running") && !streq(s, "stopped"))
                return aws_fail(d->a, d->call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, "spec.state",
                                "aws: spec.state = \"%s\" is not accepted; write running or stopped", s);
        json_object_set_new(d->wanted, "state", json_string(s));
        return PRVNG_DONE;
}

static int32_t block(struct draft *d)
{
        static const char *const known[] = {"image_owners", "instance_profile", "key_name", "state", "subnet", "user",
                                            "user_data", "volume_type", "volumes", "zones"};
        const char *key;
        json_t *value;

        if (aws_present(d->spec, "aws") && !json_is_object(d->block))
                return bad(d, "spec.aws", d->block, "write a block");
        json_object_foreach ((json_t *)(uintptr_t)d->block, key, value) {
                char field[128];
                bool ok = false;

                for (size_t i = 0; i < N_ELEMENTS(known); i++)
                        ok = ok || streq(key, known[i]);
                snprintf(field, sizeof(field), "spec.aws.%.80s", key);
                if (!ok)
                        return bad(d, field, value,
                                   "the block aws knows image_owners, instance_profile, key_name, state, subnet, user,"
                                   " user_data, volume_type, volumes and zones");
        }
        if (*aws_string(d->block, "instance_profile", ""))
                put(d->form, aws_string(d->block, "instance_profile", ""), "IamInstanceProfile.Name");
        return PRVNG_DONE;
}

static int32_t image(struct draft *d)
{
        const char *name = aws_string(d->spec, "image", "debian-12");
        const char *user = aws_string(d->block, "user", image_user(name));
        json_t *wanted = image_wanted(name, json_object_get(d->block, "image_owners"));

        if (!wanted)
                return bad(d, "spec.image", json_object_get(d->spec, "image"),
                           "write an image's id (\"ami-...\"), debian-12, debian-13, ubuntu-22.04, ubuntu-24.04, al2023,"
                           " or a name with * as AWS has it; aws.image_owners says whose");
        json_object_set_new(d->out, "image", wanted);
        json_object_set_new(d->out, "user", json_string(user));
        return PRVNG_DONE;
}

/* What AWS cannot change in a server that is there. */
static int32_t same_for_ever(const struct draft *d)
{
        static const char *const keys_of_spec[] = {"image", "zone", "networks", "ssh_keys"};
        const json_t *former = json_object_get(d->task, "former");

        for (size_t i = 0; json_is_object(former) && i < N_ELEMENTS(keys_of_spec); i++) {
                const json_t *x = json_object_get(former, keys_of_spec[i]);
                const json_t *y = json_object_get(d->spec, keys_of_spec[i]);
                char field[64];

                if ((!x && !y) || json_equal(x, y))
                        continue;
                snprintf(field, sizeof(field), "spec.%s", keys_of_spec[i]);
                return aws_fail(d->a, d->call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, field,
                                "aws: server %s: %s cannot be changed while the server lives; delete it and create it"
                                " anew",
                                aws_string(d->task, "name", "?"), field);
        }
        if (aws_integer(former, "disk", 0) > aws_integer(d->spec, "disk", INT64_MAX))
                return bad(d, "spec.disk", json_object_get(d->spec, "disk"), "a disk can grow, but not shrink");
        return PRVNG_DONE;
}

static bool valid_name(const char *s)
{
        static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";
        size_t n = strlen(s);

        return n > 0 && n <= AWS_NAME_MAX && strspn(s, letters) == n && s[0] != '-' && s[n - 1] != '-';
}

int32_t server_prepare(struct aws *a, struct prvng_call *call, const char *verb, const json_t *task, json_t *out)
{
        struct draft d = {.a = a, .call = call, .task = task, .spec = json_object_get(task, "spec"), .out = out};
        int32_t (*const parts[])(struct draft *) = {block, size, disks, labels, keys, user_data, groups, places,
                                                    state, image};
        int32_t r = PRVNG_DONE;

        if (!valid_name(aws_string(task, "name", "")))
                return bad(&d, "name", json_object_get(task, "name"),
                           "a server's name is its host name: letters, digits and -, at most 63 of them");
        d.block = json_object_get(d.spec, "aws");
        d.form = json_pack("{s:s, s:s, s:s, s:s, s:s}", "MinCount", "1", "MaxCount", "1",
                           "InstanceInitiatedShutdownBehavior", "stop", "MetadataOptions.HttpTokens", "required",
                           "MetadataOptions.HttpPutResponseHopLimit", "2");
        d.wanted = json_object();
        json_object_set_new(out, "form", d.form);
        json_object_set_new(out, "wanted", d.wanted);
        if (streq(verb, "delete")) { /* what is deleted need not be well defined */
                keys(&d);
                json_object_del(out, "form");
                json_object_del(out, "wanted");
                return PRVNG_DONE;
        }
        for (size_t i = 0; r == PRVNG_DONE && i < N_ELEMENTS(parts); i++)
                r = parts[i](&d);
        if (r == PRVNG_DONE && streq(verb, "update"))
                r = same_for_ever(&d);
        return r;
}
