/* SPDX-License-Identifier: Apache-2.0 */
/* How a server differs from what is asked for, and what it takes to change that. */
#include "upcloud.h"

/* Takes over wanted and found. */
static void add(json_t *drift, const char *attribute, json_t *wanted, json_t *found,
                const char *how)
{
        json_array_append_new(drift, json_pack("{s:s, s:o, s:o, s:s}", "attribute", attribute,
                                               "wanted", wanted ? wanted : json_null(), "found",
                                               found ? found : json_null(), "how", how));
}

static void texts(const json_t *spec, const json_t *server, json_t *drift)
{
        static const struct {
                const char *key, *how;
        } all[] = {
                {"title", "live"}, {"hostname", "live"}, {"zone", "replace"}, {"plan", "restart"}};

        for (size_t i = 0; i < N_ELEMENTS(all); i++) {
                const char *wanted = up_string(spec, all[i].key, NULL);

                if (wanted && !streq(wanted, up_string(server, all[i].key, "")))
                        add(drift, all[i].key, json_string(wanted),
                            json_string(up_string(server, all[i].key, "")), all[i].how);
        }
}

static void sizes(const json_t *spec, const json_t *server, json_t *drift)
{
        static const char *const keys[][2] = {{"cpu", "core_number"}, {"memory", "memory_amount"}};

        for (size_t i = 0; i < N_ELEMENTS(keys) && !up_present(spec, "plan"); i++) {
                int64_t wanted = up_number(spec, keys[i][0], 0),
                        found = up_number(server, keys[i][1], 0);

                if (wanted != found)
                        add(drift, keys[i][0], json_integer(wanted), json_integer(found),
                            "restart");
        }
}

static const json_t *disk_number(const json_t *server, size_t number)
{
        json_t *one;
        size_t i, n = 0;

        json_array_foreach (up_inner(server, "storage_devices", "storage_device"), i, one)
                if (!streq(up_string(one, "type", "disk"), "cdrom") && n++ == number)
                        return one;
        return NULL;
}

/* Those that the definition had, and has no more: nobody but the user should take data away. */
static void fewer_disks(const struct request *q, const json_t *server, json_t *drift)
{
        size_t n = json_array_size(json_object_get(q->spec, "storages"));
        int64_t had = up_number(q->json, "n_storages", 0);

        for (size_t i = n; (int64_t)i < had; i++) {
                const json_t *there = disk_number(server, i + 1);
                char name[32];

                snprintf(name, sizeof(name), "storages[%zu]", i);
                if (there)
                        add(drift, name, NULL, json_integer(up_number(there, "storage_size", 0)), "replace");
        }
}

static void disks(const json_t *spec, const json_t *server, json_t *drift)
{
        json_t *one;
        size_t i;
        int64_t wanted = up_number(spec, "disk", 0);
        int64_t found = up_number(disk_number(server, 0), "storage_size", 0);

        if (!json_object_get(server, "storage_devices"))
                return; /* an entry of a list does not tell */
        if (wanted != found)
                add(drift, "disk", json_integer(wanted), json_integer(found),
                    wanted > found ? "restart" : "replace");
        json_array_foreach (json_object_get(spec, "storages"), i, one) {
                const json_t *there = disk_number(server, i + 1);
                char name[32];

                snprintf(name, sizeof(name), "storages[%zu]", i);
                wanted = up_number(one, "size", 0);
                found = up_number(there, "storage_size", 0);
                if (wanted != found)
                        add(drift, name, json_integer(wanted), there ? json_integer(found) : NULL,
                            there && wanted < found ? "replace" : "restart");
        }
}

/* Those that the user wants, and those that are there without our marks. */
static void labels(const struct request *q, const json_t *server, json_t *drift)
{
        _cleanup_(cleanup_json) json_t *found = up_labels(server), *none = json_object();
        json_t *wanted = json_object_get(q->spec, "labels"), *value;
        const char *key;
        void *next;

        if (!streq(up_string(found, MARK_SITE, ""), q->site) ||
            !streq(up_string(found, MARK_WORKFLOW, ""), q->workflow) ||
            !streq(up_string(found, MARK_NAME, ""), q->name))
                add(drift, "marks", json_string("those of this workflow"), json_string("others"),
                    "live");
        json_object_foreach_safe (found, next, key, value)
                if (strncmp(key, MARK_PREFIX, strlen(MARK_PREFIX)) == 0)
                        json_object_del(found, key);
        wanted = wanted ? wanted : none;
        if (!json_equal(wanted, found))
                add(drift, "labels", json_incref(wanted), json_incref(found), "live");
}

static bool is_attached(const json_t *server, const char *network)
{
        json_t *nic;
        size_t i;

        json_array_foreach (
                json_object_get(up_inner(server, "networking", "interfaces"), "interface"), i, nic)
                if (streq(up_string(nic, "network", ""), network))
                        return true;
        return false;
}

static void networks(const json_t *spec, const json_t *server, json_t *drift)
{
        json_t *nic;
        size_t i;

        json_array_foreach (json_object_get(spec, "networks"), i, nic) {
                const char *network = up_string(nic, "network", "");

                if (json_object_get(server, "networking") && up_is_uuid(network) &&
                    !is_attached(server, network))
                        add(drift, "networks", json_string(network), NULL, "restart");
        }
}

json_t *diff_server(const struct request *q, const json_t *server)
{
        json_t *drift = json_array();
        bool rules = json_array_size(json_object_get(q->json, "rules")) > 0;
        bool on = streq(up_string(server, "firewall", "off"), "on");

        texts(q->spec, server, drift);
        sizes(q->spec, server, drift);
        disks(q->spec, server, drift);
        fewer_disks(q, server, drift);
        labels(q, server, drift);
        networks(q->spec, server, drift);
        if (json_object_get(server, "firewall") && rules != on)
                add(drift, "firewall", json_string(rules ? "on" : "off"),
                    json_string(on ? "on" : "off"), "live");
        return drift;
}
