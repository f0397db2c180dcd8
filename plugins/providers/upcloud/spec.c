/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers: from a task to a request. Checks what is asked for, fills in what is left out from the
 * configuration, and leaves away what means nothing here. Pure: the same task gives the same bytes.
 */
#include "upcloud.h"

#define DISK_DEFAULT 10 /* GiB: the least that UpCloud's own templates fit on */
#define DISK_MAX 4096
#define KEYS_MAX 64
#define LABELS_MAX 64
#define USER_DATA_MAX 65535

static int32_t bad(struct upcloud *u, struct prvng_call *call, const char *field,
                   const json_t *value, const char *accepted)
{
        _cleanup_(cleanup_free) char *text =
                value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

        return up_fail(u, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, field,
                       "upcloud: %s = %.400s is not accepted; %s", field, text ? text : "nothing",
                       accepted);
}

static bool is_whole(const json_t *v, int64_t least, int64_t most)
{
        double d = json_number_value(v);

        return json_is_number(v) && d == (double)(int64_t)d && (int64_t)d >= least &&
               (int64_t)d <= most;
}

static int32_t sizes(struct upcloud *u, struct prvng_call *call, const json_t *spec, json_t *out)
{
        const json_t *cpu = json_object_get(spec, "cpu"), *memory = json_object_get(spec, "memory");
        const json_t *disk = json_object_get(spec, "disk");

        if (up_present(spec, "plan") && !json_is_string(json_object_get(spec, "plan")))
                return bad(u, call, "spec.plan", json_object_get(spec, "plan"),
                           "write the name of a plan, such as \"1xCPU-1GB\"");
        if (up_present(spec, "disk") && !is_whole(disk, 10, DISK_MAX))
                return bad(u, call, "spec.disk", disk, "write whole GiB, 10 to 4096");
        json_object_set_new(
                out, "disk",
                json_integer(up_present(spec, "disk") ? up_number(spec, "disk", 0) : DISK_DEFAULT));
        if (up_present(spec, "plan") && !streq(up_string(spec, "plan", ""), "custom"))
                return json_object_set(out, "plan", json_object_get(spec, "plan")) ? PRVNG_INTERNAL
                                                                                   : PRVNG_DONE;
        if (up_present(spec, "cpu") && !is_whole(cpu, 1, 512))
                return bad(u, call, "spec.cpu", cpu,
                           "UpCloud has whole cores only; write 1 or more");
        if (up_present(spec, "memory") && !is_whole(memory, 512, 16 << 20))
                return bad(u, call, "spec.memory", memory, "write whole MiB, 512 at least");
        json_object_set_new(out, "cpu", json_integer(up_number(spec, "cpu", 1)));
        json_object_set_new(out, "memory", json_integer(up_number(spec, "memory", 1024)));
        return PRVNG_DONE;
}

static bool is_printable(const char *s, size_t least, size_t most)
{
        size_t n = strlen(s);

        for (size_t i = 0; i < n; i++)
                if (s[i] < 0x20 || s[i] > 0x7e)
                        return false;
        return n >= least && n <= most;
}

/* Keys: 2 to 32 printable characters, none of our own; values: 255 at most. */
static int32_t labels(struct upcloud *u, struct prvng_call *call, const json_t *spec, json_t *out)
{
        json_t *all = json_object_get(spec, "labels"), *value;
        const char *key;

        if (!up_present(spec, "labels"))
                return PRVNG_DONE;
        json_object_foreach (all, key, value) {
                char field[128];

                snprintf(field, sizeof(field), "spec.labels.%.64s", key);
                if (!is_printable(key, 2, 32) || *key == '_' || strchr(key, '='))
                        return bad(u, call, field, value,
                                   "the key of a label has 2 to 32 printable characters, none of"
                                   " them '=', the first not '_'");
                if (strncmp(key, MARK_PREFIX, strlen(MARK_PREFIX)) == 0)
                        return bad(u, call, field, value,
                                   "labels that begin with prvng- are prvng's own");
                if (!json_is_string(value) || strlen(json_string_value(value)) > 255)
                        return bad(u, call, field, value, "write a text of at most 255 bytes");
        }
        if (!json_is_object(all) || json_object_size(all) > LABELS_MAX)
                return bad(u, call, "spec.labels", all, "write keys and values, 64 at most");
        if (json_object_size(all) > 0)
                json_object_set(out, "labels", all);
        return PRVNG_DONE;
}

static int32_t keys(struct upcloud *u, struct prvng_call *call, const json_t *spec, json_t *out)
{
        const json_t *list = json_object_get(spec, "ssh_keys");
        json_t *key;
        size_t i;

        if (!up_present(spec, "ssh_keys") || (json_is_array(list) && json_array_size(list) == 0))
                return PRVNG_DONE;
        if (!json_is_array(list) || json_array_size(list) > KEYS_MAX)
                return bad(u, call, "spec.ssh_keys", list, "write a list of public keys");
        json_array_foreach (list, i, key) {
                const char *s = json_string_value(key);

                if (!s ||
                    (strncmp(s, "ssh-", 4) && strncmp(s, "ecdsa-", 6) && strncmp(s, "sk-", 3)) ||
                    strpbrk(s, "\r\n"))
                        return bad(u, call, "spec.ssh_keys", key,
                                   "write public keys as they stand in authorized_keys, e.g."
                                   " \"ssh-ed25519 AAAA... me\"");
        }
        json_object_set(out, "ssh_keys", (json_t *)(uintptr_t)list);
        return PRVNG_DONE;
}

static const struct {
        const char *key;
        json_type type; /* JSON_TRUE: of either truth */
        const char *accepted;
} block_keys[] = {
        {"hostname", JSON_STRING, "write a host name"},
        {"title", JSON_STRING, "write the title that the control panel shows"},
        {"user", JSON_STRING, "write the name of the user who logs in with the keys"},
        {"user_data", JSON_STRING, "write a script, a cloud-config, or an URL"},
        {"tier", JSON_STRING, "write the kind of storage: maxiops, standard or hdd"},
        {"state", JSON_STRING, "write running or stopped"},
        {"reach", JSON_STRING,
         "write public or private: the address at which the server is reached"},
        {"key", JSON_STRING,
         "write a reference to the private key with which the server is reached"},
        {"timezone", JSON_STRING, "write a time zone, e.g. \"Europe/Helsinki\""},
        {"metadata", JSON_TRUE, "write true or false; templates with cloud-init need it"},
        {"encrypted", JSON_TRUE, "write true or false"},
        {"public", JSON_TRUE, "write true or false"},
        {"utility", JSON_TRUE, "write true or false"},
        {"ipv6", JSON_TRUE, "write true or false"},
        {"storages", JSON_ARRAY, "write a list of {title, size, tier}"},
};

static int32_t one_storage(struct upcloud *u, struct prvng_call *call, const struct json_t *one,
                           const char *tier, size_t number, json_t *out)
{
        char field[64], title[32];

        snprintf(field, sizeof(field), "spec.upcloud.storages[%zu]", number);
        snprintf(title, sizeof(title), "disk%zu", number + 2);
        if (!json_is_object(one) || !is_whole(json_object_get(one, "size"), 1, DISK_MAX) ||
            (up_present(one, "title") && !*up_string(one, "title", "")))
                return bad(u, call, field, one,
                           "write {title, size, tier} with the size in whole GiB");
        json_array_append_new(out, json_pack("{s:s, s:I, s:s, s:b}", "title",
                                             up_string(one, "title", title), "size",
                                             (json_int_t)up_number(one, "size", 1), "tier",
                                             up_string(one, "tier", tier), "encrypted",
                                             up_yes(one, "encrypted", false)));
        return PRVNG_DONE;
}

static int32_t storages(struct upcloud *u, struct prvng_call *call, const json_t *block,
                        json_t *out)
{
        const char *tier = up_string(out, "tier", "maxiops");
        json_t *all = json_array(), *one;
        size_t i;

        json_object_set_new(out, "storages", all);
        json_array_foreach (json_object_get(block, "storages"), i, one) {
                int32_t r = one_storage(u, call, one, tier, i, all);

                if (r < 0)
                        return r;
        }
        return PRVNG_DONE;
}

static int32_t check_block(struct upcloud *u, struct prvng_call *call, const json_t *block)
{
        const char *key;
        json_t *value;

        if (block && !json_is_null(block) && !json_is_object(block))
                return bad(u, call, "spec.upcloud", block, "write a block");
        json_object_foreach ((json_t *)(uintptr_t)block, key, value) {
                char field[128];
                size_t i;

                snprintf(field, sizeof(field), "spec.upcloud.%.64s", key);
                for (i = 0; i < N_ELEMENTS(block_keys) && !streq(key, block_keys[i].key); i++)
                        ;
                if (i == N_ELEMENTS(block_keys))
                        return bad(u, call, field, value,
                                   "the block upcloud knows hostname, title, user, user_data, tier,"
                                   " state, reach, key, timezone, metadata, encrypted, public, "
                                   "utility,"
                                   " ipv6 and storages");
                if (json_is_null(value))
                        continue;
                if (block_keys[i].type == JSON_TRUE ? !json_is_boolean(value)
                                                    : json_typeof(value) != block_keys[i].type)
                        return bad(u, call, field, value, block_keys[i].accepted);
        }
        return PRVNG_DONE;
}

static void set_text(json_t *out, const char *key, const char *value)
{
        if (value && *value)
                json_object_set_new(out, key, json_string(value));
}

static int32_t own_block(struct upcloud *u, struct prvng_call *call, const char *name,
                         const json_t *spec, json_t *out)
{
        const json_t *block = json_object_get(spec, "upcloud");
        const char *state = up_string(block, "state", up_string(spec, "state", "running"));
        const char *reach = up_string(block, "reach", "public");
        int32_t r = check_block(u, call, block);

        if (r < 0)
                return r;
        if (!streq(state, "running") && !streq(state, "stopped"))
                return bad(u, call, "spec.upcloud.state", json_object_get(block, "state"),
                           "write running or stopped");
        if (!streq(reach, "public") && !streq(reach, "private"))
                return bad(u, call, "spec.upcloud.reach", json_object_get(block, "reach"),
                           "write public or private");
        if (strlen(up_string(block, "user_data", "")) > USER_DATA_MAX)
                return bad(u, call, "spec.upcloud.user_data", NULL,
                           "there is room for 65535 bytes");
        set_text(out, "hostname", up_string(block, "hostname", name));
        set_text(out, "title", up_string(block, "title", name));
        set_text(out, "user", up_string(block, "user", u->config.user ? u->config.user : "root"));
        set_text(out, "key", up_string(block, "key", u->config.key));
        set_text(out, "tier",
                 up_string(block, "tier", u->config.tier ? u->config.tier : "maxiops"));
        set_text(out, "user_data", up_string(block, "user_data", NULL));
        set_text(out, "timezone", up_string(block, "timezone", NULL));
        set_text(out, "state", state);
        set_text(out, "reach", reach);
        json_object_set_new(out, "metadata", json_boolean(up_yes(block, "metadata", true)));
        json_object_set_new(out, "encrypted", json_boolean(up_yes(block, "encrypted", false)));
        return storages(u, call, block, out);
}

static void add_nic(json_t *list, const char *type, const char *family, const char *network)
{
        json_array_append_new(list, json_pack("{s:s, s:s, s:s*}", "type", type, "family", family,
                                              "network", network));
}

/* Its own networks, those that the plan made for it, and those that are there anyway. */
static void networks(const struct upcloud *u, const json_t *task, const json_t *spec, json_t *out)
{
        const json_t *block = json_object_get(spec, "upcloud");
        json_t *list = json_array(), *inputs = json_object_get(task, "inputs"), *input, *name;
        const char *key;
        size_t i;

        json_object_set_new(out, "networks", list);
        if (up_yes(block, "utility", u->config.utility))
                add_nic(list, "utility", "IPv4", NULL);
        if (up_yes(block, "public", true))
                add_nic(list, "public", "IPv4", NULL);
        if (up_yes(block, "ipv6", u->config.ipv6))
                add_nic(list, "public", "IPv6", NULL);
        json_object_foreach (inputs, key, input)
                if (strncmp(key, "network.", 8) == 0 && *up_string(input, "id", ""))
                        add_nic(list, "private", "IPv4", up_string(input, "id", ""));
        json_array_foreach (json_object_get(spec, "networks"), i, name) {
                _cleanup_(cleanup_free) char *input_key =
                        up_format("network.%s@upcloud", json_string_value(name));

                if (input_key && !json_object_get(inputs, input_key))
                        add_nic(list, "private", "IPv4", json_string_value(name));
        }
}

static int32_t place(struct upcloud *u, struct prvng_call *call, const char *name,
                     const json_t *spec, json_t *out)
{
        const char *zone = up_string(spec, "zone", u->config.zone ? u->config.zone : "");
        const char *image = up_string(spec, "image", u->config.image ? u->config.image : "");

        if (!*zone)
                return up_fail(
                        u, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, "spec.zone",
                        "upcloud: server %s has no zone; write zone = \"fi-hel1\" (or another, see"
                        " `upctl zone list`) in its definition, or in the plugin's configuration",
                        name);
        if (!*image)
                return up_fail(
                        u, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, "spec.image",
                        "upcloud: server %s has no image; write image = \"debian-12\" (or another"
                        " title of `upctl storage list --template`) in its definition, or in the"
                        " plugin's configuration",
                        name);
        set_text(out, "zone", zone);
        set_text(out, "image", image);
        return PRVNG_DONE;
}

int32_t server_prepare(struct upcloud *u, struct prvng_call *call, const char *verb,
                       const json_t *task, json_t *request)
{
        const json_t *spec = json_object_get(task, "spec");
        const char *name = up_string(task, "name", "");
        json_t *out = json_object();
        const json_t *had;
        int32_t r;

        json_object_set_new(request, "spec", out);
        if (streq(verb, "delete")) /* what is deleted need not be well defined */
                return PRVNG_DONE;
        r = place(u, call, name, spec, out);
        r = r < 0 ? r : sizes(u, call, spec, out);
        r = r < 0 ? r : labels(u, call, spec, out);
        r = r < 0 ? r : keys(u, call, spec, out);
        r = r < 0 ? r : own_block(u, call, name, spec, out);
        if (r < 0)
                return r;
        networks(u, task, spec, out);
        had = up_inner(json_object_get(task, "former"), "upcloud", "storages");
        if (json_array_size(had) > 0)
                json_object_set_new(request, "n_storages", json_integer((json_int_t)json_array_size(had)));
        return firewall_prepare(u, call, task, request);
}
