/* SPDX-License-Identifier: Apache-2.0 */
/* A definition that somebody changed while its run was paused. What has started may be among what they
 * changed: then they are refused, and try something else. */
#include "simulate/sim.h"

#include "base/json.h"

#include <jansson.h>

static unsigned below(size_t n)
{
        return (unsigned)random_below(&sim->random, n);
}

static json_t *any_of(const json_t *list)
{
        return json_array_size(list) ? json_array_get(list, below(json_array_size(list))) : NULL;
}

/* w0-7: the one of that workflow, in all likelihood of no operation yet. */
static json_t *new_server(const json_t *d)
{
        return json_sprintf("%s-%u", json_get_string(d, "name", ""), 500 + below(40));
}

static void remove_text(json_t *list, const char *text)
{
        for (size_t i = json_array_size(list); i-- > 0;)
                if (streq(json_string_value(json_array_get(list, i)) ?: "", text))
                        json_array_remove(list, i);
}

static void drop_operation(json_t *d)
{
        json_t *operations = json_object_get(d, "operations"), *o;
        size_t n = json_array_size(operations), k = below(2) ? n - 1 : below(n), i;
        _cleanup_(cleanup_free) char *id = strdup(json_get_string(json_array_get(operations, k), "id", ""));

        if (n < 2)
                return;
        json_array_remove(operations, k);
        json_array_foreach (operations, i, o)
                remove_text(json_object_get(o, "depends_on"), id);
}

static void add_operation(json_t *d)
{
        json_t *operations = json_object_get(d, "operations"), *items = json_array();
        const char *before = json_get_string(any_of(operations), "id", "");
        json_t *o = json_pack("{s:o, s:s, s:s, s:o, s:[s]}", "id", json_sprintf("x%u", below(1000)), "type",
                              "create", "target", "server", "items", items, "depends_on", before);

        for (unsigned i = below(3) + 1; i > 0; i--)
                json_array_append_new(items, new_server(d));
        json_array_append_new(operations, o);
}

static void change_operation(json_t *d)
{
        static const char *const failures[] = {"fail", "continue", "rollback"};
        json_t *operations = json_object_get(d, "operations"), *o = any_of(operations);
        json_t *items = json_object_get(o, "items"), *on = json_object_get(o, "depends_on");

        switch (below(5)) {
        case 0:
                json_object_set_new(o, "on_failure", json_string(failures[below(3)]));
                break;
        case 1:
                json_object_set_new(o, "timeout", json_integer(5 + below(200)));
                break;
        case 2:
                if (json_array_size(items) > 1)
                        json_array_remove(items, below(json_array_size(items)));
                break;
        case 3:
                if (streq(json_get_string(o, "target", ""), "server"))
                        json_array_append_new(items, new_server(d));
                break;
        default:
                if (json_array_size(on) && !streq(json_get_string(o, "target", ""), "taskserv"))
                        json_array_remove(on, below(json_array_size(on)));
                break;
        }
}

static void change_server(json_t *d)
{
        json_t *server = any_of(json_object_get(d, "servers"));

        if (server)
                json_object_set_new(server, "cpu", json_integer(1 + below(4)));
}

static void change_whole(json_t *d)
{
        static const char *const types[] = {"batch", "parallel", "sequential"};
        json_t *dependencies = json_object_get(d, "dependencies");

        switch (below(4)) {
        case 0:
                json_object_set_new(d, "type", json_string(types[below(3)]));
                break;
        case 1:
                json_object_set_new(json_object_get(d, "retry_policy"), "max_attempts",
                                    json_integer(1 + below(6)));
                break;
        case 2:
                json_object_set_new(json_object_get(d, "rollback_strategy"), "checkpoint_interval",
                                    json_integer(1 + below(4)));
                break;
        default:
                if (json_array_size(dependencies))
                        json_array_remove(dependencies, below(json_array_size(dependencies)));
                break;
        }
}

bool replan_body(const struct buf *body, bool dry, struct buf *ret)
{
        static void (*const changes[])(json_t *) = {drop_operation, drop_operation, add_operation,
                                                    add_operation, change_operation, change_operation,
                                                    change_server, change_whole};
        _cleanup_(cleanup_json_decref) json_t *json = json_loadb(body->data, body->n, 0, NULL);
        json_t *d = json_object_get(json, "definition");

        if (!d)
                return false;
        for (unsigned i = below(4); i > 0; i--) /* maybe nothing at all */
                changes[below(N_ELEMENTS(changes))](d);
        json_object_del(json, "id");
        if (dry)
                json_object_set_new(json, "dry_run", json_true());
        else
                json_object_del(json, "dry_run");
        return json_append(ret, json) == 0;
}
