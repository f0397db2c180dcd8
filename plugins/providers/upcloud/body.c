/* SPDX-License-Identifier: Apache-2.0 */
/* The body that makes a server, in the form that the API has accepted from its own clients. */
#include "upcloud.h"

static const char *yes(bool truth)
{
        return truth ? "yes" : "no";
}

json_t *body_labels(const struct request *q, const char *op_id)
{
        _cleanup_(cleanup_free) char *groups = NULL;
        json_t *labels = up_marks(q, op_id, json_object_get(q->spec, "labels")), *group;
        size_t i;

        json_array_foreach (json_object_get(q->json, "groups"), i, group) {
                char *more = up_format("%s%s%s", groups ? groups : "", groups ? " " : "",
                                       json_string_value(group));
                free(groups);
                groups = more;
        }
        if (groups)
                json_array_append_new(labels,
                                      json_pack("{s:s, s:s}", "key", MARK_GROUPS, "value", groups));
        return json_pack("{s:o}", "label", labels);
}

static json_t *interfaces(const json_t *spec)
{
        json_t *list = json_array(), *nic;
        size_t i;

        json_array_foreach (json_object_get(spec, "networks"), i, nic)
                json_array_append_new(list, json_pack("{s:{s:[{s:s}]}, s:s, s:s*}", "ip_addresses",
                                                      "ip_address", "family",
                                                      up_string(nic, "family", "IPv4"), "type",
                                                      up_string(nic, "type", ""), "network",
                                                      up_string(nic, "network", NULL)));
        return json_pack("{s:{s:o}}", "interfaces", "interface", list);
}

static void encrypt(json_t *storage, bool wanted)
{
        if (wanted)
                json_object_set_new(storage, "encrypted", json_string("yes"));
}

/* The first is a copy of the image, the rest is empty. */
static json_t *storage_devices(const json_t *spec, const char *image)
{
        json_t *list = json_array(), *one, *storage;
        size_t i;

        storage = json_pack("{s:s, s:s, s:s, s:I, s:s}", "action", "clone", "storage", image,
                            "title", "disk1", "size", (json_int_t)up_number(spec, "disk", 10),
                            "tier", up_string(spec, "tier", "maxiops"));
        encrypt(storage, up_yes(spec, "encrypted", false));
        json_array_append_new(list, storage);
        json_array_foreach (json_object_get(spec, "storages"), i, one) {
                storage = json_pack("{s:s, s:s, s:I, s:s}", "action", "create", "title",
                                    up_string(one, "title", "disk"), "size",
                                    (json_int_t)up_number(one, "size", 10), "tier",
                                    up_string(one, "tier", "maxiops"));
                encrypt(storage, up_yes(one, "encrypted", false));
                json_array_append_new(list, storage);
        }
        return json_pack("{s:o}", "storage_device", list);
}

json_t *body_of_server(const struct request *q, const char *op_id, const char *image)
{
        const json_t *spec = q->spec;
        json_t *server = json_pack("{s:s, s:s, s:s, s:o, s:s, s:o, s:s, s:o, s:s}", "zone",
                                   up_string(spec, "zone", ""), "title",
                                   up_string(spec, "title", ""), "hostname",
                                   up_string(spec, "hostname", ""), "labels", body_labels(q, op_id),
                                   "metadata", yes(up_yes(spec, "metadata", true)), "networking",
                                   interfaces(spec), "password_delivery", "none", "storage_devices",
                                   storage_devices(spec, image), "remote_access_enabled", "no");

        if (!server)
                return NULL;
        if (up_present(spec, "plan")) {
                json_object_set(server, "plan", json_object_get(spec, "plan"));
        } else {
                json_object_set_new(server, "core_number", json_integer(up_number(spec, "cpu", 1)));
                json_object_set_new(server, "memory_amount",
                                    json_integer(up_number(spec, "memory", 1024)));
        }
        if (json_array_size(json_object_get(spec, "ssh_keys")) > 0)
                json_object_set_new(server, "login_user",
                                    json_pack("{s:s, s:s, s:{s:O}}", "create_password", "no",
                                              "username", up_string(spec, "user", "root"),
                                              "ssh_keys", "ssh_key",
                                              json_object_get(spec, "ssh_keys")));
        if (up_present(spec, "user_data"))
                json_object_set(server, "user_data", json_object_get(spec, "user_data"));
        if (up_present(spec, "timezone"))
                json_object_set(server, "timezone", json_object_get(spec, "timezone"));
        if (json_array_size(json_object_get(q->json, "rules")) > 0)
                json_object_set_new(server, "firewall", json_string("on"));
        return json_pack("{s:o}", "server", server);
}
