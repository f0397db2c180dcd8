/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server's outputs, from what the API says of it. Its replies hold passwords; what is kept is
 * copied member by member, so that none of them can come along.
 */
#include "upcloud.h"

const char *result_state(const char *state)
{
        return streq(state, "started") ? "running" : state;
}

static void copy(json_t *to, const json_t *from, const char *key)
{
        if (json_object_get(from, key))
                json_object_set(to, key, json_object_get(from, key));
}

static void copy_all(json_t *to, const json_t *from, const char *const *keys)
{
        for (; *keys; keys++)
                copy(to, from, *keys);
}

static json_t *keep_interfaces(const json_t *server)
{
        static const char *const keys[] = {"type", "network", "index", NULL};
        json_t *list = json_array(), *nic, *address, *kept, *addresses;
        size_t i, k;

        json_array_foreach (
                json_object_get(up_inner(server, "networking", "interfaces"), "interface"), i,
                nic) {
                kept = json_object();
                addresses = json_array();
                copy_all(kept, nic, keys);
                json_array_foreach (up_inner(nic, "ip_addresses", "ip_address"), k, address)
                        json_array_append_new(addresses,
                                              json_pack("{s:s, s:s}", "address",
                                                        up_string(address, "address", ""), "family",
                                                        up_string(address, "family", "")));
                json_object_set_new(kept, "ip_addresses",
                                    json_pack("{s:o}", "ip_address", addresses));
                json_array_append_new(list, kept);
        }
        return json_pack("{s:{s:o}}", "interfaces", "interface", list);
}

static json_t *keep_storages(const json_t *server)
{
        static const char *const keys[] = {
                "address", "storage", "storage_size", "storage_tier", "storage_title",
                "type",    NULL};
        json_t *list = json_array(), *storage;
        size_t i;

        json_array_foreach (up_inner(server, "storage_devices", "storage_device"), i, storage) {
                json_t *kept = json_object();

                copy_all(kept, storage, keys);
                json_array_append_new(list, kept);
        }
        return json_pack("{s:o}", "storage_device", list);
}

json_t *result_keep(const json_t *server)
{
        static const char *const keys[] = {
                "uuid",          "title", "hostname", "zone",   "plan", "core_number",
                "memory_amount", "state", "firewall", "labels", NULL};
        json_t *kept = json_object();

        copy_all(kept, server, keys);
        json_object_set_new(kept, "networking", keep_interfaces(server));
        json_object_set_new(kept, "storage_devices", keep_storages(server));
        return kept;
}

bool result_is_whole(const json_t *server)
{
        const json_t *list =
                json_object_get(up_inner(server, "networking", "interfaces"), "interface");
        json_t *nic, *address;
        size_t i, k;

        if (!json_is_array(list))
                return false;
        json_array_foreach (list, i, nic) {
                json_t *all = up_inner(nic, "ip_addresses", "ip_address");

                if (json_array_size(all) == 0)
                        return false;
                json_array_foreach (all, k, address)
                        if (!*up_string(address, "address", ""))
                                return false;
        }
        return true;
}

/* Those of one type of network and family, in the order of the interfaces; `list` gets them. */
static void add_addresses(const json_t *server, const char *type, const char *family, json_t *list)
{
        json_t *nic, *address;
        size_t i, k;

        json_array_foreach (
                json_object_get(up_inner(server, "networking", "interfaces"), "interface"), i, nic)
                if (streq(up_string(nic, "type", ""), type))
                        json_array_foreach (up_inner(nic, "ip_addresses", "ip_address"), k, address)
                                if (streq(up_string(address, "family", ""), family) &&
                                    *up_string(address, "address", ""))
                                        json_array_append(list,
                                                          json_object_get(address, "address"));
}

/* Public ones first: that is where the world finds the server. */
static json_t *addresses_of(const json_t *server)
{
        static const char *const types[] = {"public", "private", "utility"};
        json_t *list = json_array();

        for (size_t i = 0; i < N_ELEMENTS(types); i++) {
                add_addresses(server, types[i], "IPv4", list);
                add_addresses(server, types[i], "IPv6", list);
        }
        return list;
}

static json_t *networks_of(const json_t *server)
{
        json_t *list = json_array(), *nic, *address;
        size_t i, k;

        json_array_foreach (
                json_object_get(up_inner(server, "networking", "interfaces"), "interface"), i,
                nic) {
                json_t *all = json_array();

                json_array_foreach (up_inner(nic, "ip_addresses", "ip_address"), k, address)
                        json_array_append(all, json_object_get(address, "address"));
                json_array_append_new(
                        list, json_pack("{s:s, s:s, s:o}", "type", up_string(nic, "type", ""), "id",
                                        up_string(nic, "network", ""), "addresses", all));
        }
        return list;
}

static json_t *storages_of(const json_t *server, int64_t *ret_disk)
{
        json_t *list = json_array(), *one;
        size_t i;

        *ret_disk = 0;
        json_array_foreach (up_inner(server, "storage_devices", "storage_device"), i, one) {
                int64_t size = up_number(one, "storage_size", 0);

                if (streq(up_string(one, "type", "disk"), "cdrom"))
                        continue;
                if (json_array_size(list) == 0)
                        *ret_disk = size;
                json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:s, s:s}", "id",
                                                      up_string(one, "storage", ""), "title",
                                                      up_string(one, "storage_title", ""), "size",
                                                      (json_int_t)size, "tier",
                                                      up_string(one, "storage_tier", ""), "address",
                                                      up_string(one, "address", "")));
        }
        return list;
}

static json_t *reach_of(const struct request *q, const json_t *server)
{
        const char *where = up_string(q->spec, "reach", "public");
        _cleanup_(cleanup_json) json_t *list = json_array();

        add_addresses(server, where, "IPv4", list);
        add_addresses(server, where, "IPv6", list);
        if (json_array_size(list) == 0)
                return NULL;
        return json_pack("{s:s, s:O, s:i, s:s, s:s*}", "method", "ssh", "host",
                         json_array_get(list, 0), "port", 22, "user",
                         up_string(q->spec, "user", "root"), "key",
                         up_string(q->spec, "key", NULL));
}

/* The user's, without our marks. */
static json_t *own_labels(const json_t *server)
{
        json_t *labels = up_labels(server), *value;
        const char *key;
        void *next;

        json_object_foreach_safe (labels, next, key, value)
                if (strncmp(key, MARK_PREFIX, strlen(MARK_PREFIX)) == 0)
                        json_object_del(labels, key);
        return labels;
}

static json_t *notices_of(const struct request *q, const json_t *server)
{
        json_t *list = json_array();
        const char *text = NULL;

        if (streq(up_string(server, "state", ""), "error"))
                text = "is in the state \"error\"; UpCloud mends that by itself, or support does";
        else if (json_is_object(q->spec) && json_object_size(q->spec) > 1 &&
                 json_array_size(json_object_get(q->spec, "ssh_keys")) == 0)
                text = "has no ssh key, so that nobody can log in; write ssh_keys in its "
                       "definition";
        if (text) {
                _cleanup_(cleanup_free) char *notice = up_format("server %s %s", q->name, text);

                json_array_append_new(list, json_string(notice ? notice : text));
        }
        return list;
}

json_t *result_of_server(const struct upcloud *u, const struct request *q, const json_t *server)
{
        int64_t disk;
        json_t *storages = storages_of(server, &disk);

        return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:s, s:s, s:o, s:o*, s:o, s:o, "
                         "s:o, s:s, s:o}",
                         "id", up_string(server, "uuid", ""), "name", q->name, "state",
                         result_state(up_string(server, "state", "")), "zone",
                         up_string(server, "zone", ""), "plan", up_string(server, "plan", ""),
                         "cpu", (json_int_t)up_number(server, "core_number", 0), "memory",
                         (json_int_t)up_number(server, "memory_amount", 0), "disk",
                         (json_int_t)disk, "hostname", up_string(server, "hostname", ""), "title",
                         up_string(server, "title", ""), "addresses", addresses_of(server), "reach",
                         reach_of(q, server), "storages", storages, "networks", networks_of(server),
                         "labels", own_labels(server), "firewall",
                         up_string(server, "firewall", "off"), "notices", notices_of(q, server));
}
