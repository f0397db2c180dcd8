/* SPDX-License-Identifier: Apache-2.0 */
/* What is there that nobody made with prvng: by id, or by a name that only one has. */
#include "upcloud.h"

/* The ids of those that have that name, in one text; *ret_id: the last of them. */
static size_t by_name(const json_t *list, const char *name, const char *const *keys, char *ids,
                      size_t n_ids, const char **ret_id)
{
        size_t i, n = 0, k = 0;
        json_t *one;

        *ids = 0;
        json_array_foreach (list, i, one) {
                bool same = false;

                for (const char *const *key = keys; *key; key++)
                        same = same || streq(up_string(one, *key, ""), name);
                if (!same)
                        continue;
                *ret_id = up_string(one, "uuid", "");
                if (k + 1 < n_ids)
                        k += (size_t)snprintf(ids + k, n_ids - k, "%s%s", n ? ", " : "", *ret_id);
                n++;
        }
        return n;
}

/* In full, by id or name. */
static int32_t look(struct upcloud *u, struct prvng_call *call, const char *kind, const char *name,
                    json_t **ret)
{
        static const char *const keys[] = {"hostname", "title", "name", NULL};
        _cleanup_(cleanup_reply) struct reply reply = REPLY_NULL;
        bool server = streq(kind, "server");
        const char *id = name;
        char ids[512];
        size_t n = 1;
        int32_t r;

        if (!up_is_uuid(name)) {
                r = api_get(u, call, server ? "/server" : "/network/", PRVNG_EFFECT_NONE, &reply);
                if (r < 0)
                        return r;
                n = by_name(up_inner(reply.body, server ? "servers" : "networks", kind), name, keys,
                            ids, sizeof(ids), &id);
                if (n > 1)
                        return up_fail(u, call, PRVNG_CONFLICT, PRVNG_EFFECT_NONE, NULL,
                                       "upcloud: more than one %s has the name %.100s; say which "
                                       "by its id: %s",
                                       kind, name, ids);
        }
        r = n == 0   ? PRVNG_NOT_FOUND
            : server ? find_server(u, call, id, PRVNG_EFFECT_NONE, ret)
                     : find_network(u, call, id, PRVNG_EFFECT_NONE, ret);
        if (r == PRVNG_NOT_FOUND)
                up_fail(u, call, r, PRVNG_EFFECT_NONE, NULL,
                        "upcloud: the account has no %s %.100s", kind, name);
        return r;
}

/* The template that the first disk is a copy of, as its storage tells; "" if it does not. */
static int32_t origin(struct upcloud *u, struct prvng_call *call, const json_t *server,
                      char ret[static 64])
{
        _cleanup_(cleanup_reply) struct reply reply = REPLY_NULL;
        const json_t *disk =
                json_array_get(up_inner(server, "storage_devices", "storage_device"), 0);
        char target[128];
        int32_t r;

        *ret = 0;
        if (!disk)
                return PRVNG_DONE;
        snprintf(target, sizeof(target), "/storage/%.64s", up_string(disk, "storage", ""));
        r = api_get(u, call, target, PRVNG_EFFECT_NONE, &reply);
        if (r == PRVNG_DONE)
                snprintf(ret, 64, "%s",
                         up_string(json_object_get(reply.body, "storage"), "origin", ""));
        return r;
}

static bool has_nic(const json_t *server, const char *type, const char *family)
{
        json_t *nic, *address;
        size_t i, k;

        json_array_foreach (
                json_object_get(up_inner(server, "networking", "interfaces"), "interface"), i, nic)
                if (streq(up_string(nic, "type", ""), type))
                        json_array_foreach (up_inner(nic, "ip_addresses", "ip_address"), k, address)
                                if (streq(up_string(address, "family", ""), family))
                                        return true;
        return false;
}

static void set_text(json_t *to, const char *key, const char *value, const char *standard)
{
        if (*value && !streq(value, standard))
                json_object_set_new(to, key, json_string(value));
}

static void set_truth(json_t *to, const char *key, bool value, bool standard)
{
        if (value != standard)
                json_object_set_new(to, key, json_boolean(value));
}

static json_t *block_of(const struct upcloud *u, const json_t *server, const char *name,
                        const json_t *outputs)
{
        json_t *block = json_object(), *storages = json_array(), *one;
        size_t i;

        set_text(block, "hostname", up_string(server, "hostname", ""), name);
        set_text(block, "title", up_string(server, "title", ""), name);
        set_text(block, "state", up_string(outputs, "state", ""), "running");
        set_truth(block, "metadata", up_yes(server, "metadata", false), true);
        set_truth(block, "public", has_nic(server, "public", "IPv4"), true);
        set_truth(block, "utility", has_nic(server, "utility", "IPv4"), u->config.utility);
        set_truth(block, "ipv6", has_nic(server, "public", "IPv6"), u->config.ipv6);
        json_array_foreach (json_object_get(outputs, "storages"), i, one)
                if (i > 0)
                        json_array_append_new(storages,
                                              json_pack("{s:O, s:O, s:O}", "title",
                                                        json_object_get(one, "title"), "size",
                                                        json_object_get(one, "size"), "tier",
                                                        json_object_get(one, "tier")));
        if (json_array_size(storages) > 0)
                json_object_set(block, "storages", storages);
        json_decref(storages);
        return block;
}

static json_t *spec_of(const struct upcloud *u, const json_t *server, const char *name,
                       const char *image, const json_t *outputs)
{
        json_t *spec =
                json_pack("{s:s, s:O, s:O}", "name", name, "disk", json_object_get(outputs, "disk"),
                          "zone", json_object_get(outputs, "zone"));
        json_t *networks = json_array(), *nic, *block = block_of(u, server, name, outputs);
        size_t i;

        if (streq(up_string(server, "plan", "custom"), "custom")) {
                json_object_set(spec, "cpu", json_object_get(outputs, "cpu"));
                json_object_set(spec, "memory", json_object_get(outputs, "memory"));
        } else {
                json_object_set(spec, "plan", json_object_get(server, "plan"));
        }
        set_text(spec, "image", image, "");
        if (json_object_size(json_object_get(outputs, "labels")) > 0)
                json_object_set(spec, "labels", json_object_get(outputs, "labels"));
        json_array_foreach (json_object_get(outputs, "networks"), i, nic)
                if (streq(up_string(nic, "type", ""), "private"))
                        json_array_append(networks, json_object_get(nic, "id"));
        if (json_array_size(networks) > 0)
                json_object_set(spec, "networks", networks);
        json_decref(networks);
        if (json_object_size(block) > 0)
                json_object_set(spec, "upcloud", block);
        json_decref(block);
        return spec;
}

/* A name that a definition may have: its first label, if it is a host name. */
static void name_of(const json_t *server, char ret[static 64])
{
        const char *hostname = up_string(server, "hostname", up_string(server, "title", "server"));
        size_t n = strcspn(hostname, ".");

        snprintf(ret, 64, "%.*s", (int)n, hostname);
}

static int32_t find_one_server(struct upcloud *u, struct prvng_call *call, const char *id,
                               struct prvng_sink *result)
{
        _cleanup_(cleanup_json) json_t *server = NULL, *outputs = NULL, *out = NULL;
        char name[64], image[64];
        struct request q = {0};
        int32_t r = look(u, call, "server", id, &server);

        r = r < 0 ? r : origin(u, call, server, image);
        if (r < 0)
                return r;
        name_of(server, name);
        q.name = name;
        outputs = result_of_server(u, &q, server);
        out = json_pack("{s:s, s:s, s:o, s:O}", "name", name, "kind", "server", "spec",
                        spec_of(u, server, name, image, outputs), "outputs", outputs);
        return up_reply(u, call, result, out);
}

static int32_t find_one_network(struct upcloud *u, struct prvng_call *call, const char *id,
                                struct prvng_sink *result)
{
        _cleanup_(cleanup_json) json_t *network = NULL, *out = NULL;
        const char *name, *address, *zone, *router;
        json_t *spec;
        int32_t r = look(u, call, "network", id, &network);

        if (r < 0)
                return r;
        name = up_string(network, "name", "");
        zone = up_string(network, "zone", "");
        router = up_string(network, "router", "");
        address = up_string(json_array_get(up_inner(network, "ip_networks", "ip_network"), 0),
                            "address", "");
        spec = json_pack("{s:s, s:s, s:s}", "name", name, "address", address, "zone", zone);
        if (*router)
                json_object_set_new(spec, "upcloud", json_pack("{s:b}", "router", 1));
        out = json_pack("{s:s, s:s, s:o, s:{s:s, s:s, s:s, s:s, s:s, s:s*}}", "name", name, "kind",
                        "network", "spec", spec, "outputs", "id", up_string(network, "uuid", ""),
                        "name", name, "state", "running", "zone", zone, "address", address,
                        "router", *router ? router : NULL);
        return up_reply(u, call, result, out);
}

/* The rules of a server: nothing else at the API is a group. */
static int32_t find_group(struct upcloud *u, struct prvng_call *call, const char *id,
                          struct prvng_sink *result)
{
        _cleanup_(cleanup_json) json_t *server = NULL;
        char name[64];
        int32_t r = look(u, call, "server", id, &server);

        if (r < 0)
                return r;
        name_of(server, name);
        return group_find(u, call, server, name, result);
}

static int32_t find(void *instance, struct prvng_call *call, const char *kind, const char *id,
                    struct prvng_sink *result)
{
        if (streq(kind, "server"))
                return find_one_server(instance, call, id, result);
        if (streq(kind, "network"))
                return find_one_network(instance, call, id, result);
        if (streq(kind, "security_group"))
                return find_group(instance, call, id, result);
        return up_fail(instance, call, PRVNG_UNSUPPORTED, PRVNG_EFFECT_NONE, NULL,
                       "upcloud: %.64s cannot be adopted; server, network and security_group can",
                       kind);
}

const struct prvng_provider_inventory inventory = {
        .struct_size = sizeof(inventory),
        .find = find,
};
