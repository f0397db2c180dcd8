/* SPDX-License-Identifier: Apache-2.0 */
#include "run/orphans.h"

#include "base/clock.h"
#include "base/json.h"
#include "plugin/border.h"

/* Asking */

void orphans_silent(json_t *silent, const char *plugin, const char *reason)
{
        json_array_append_new(silent, json_pack("{s:s, s:s}", "plugin", plugin, "reason", reason));
}

bool orphans_may_ask(const struct plugin *plugin, json_t *silent)
{
        if (!streq(plugin->kind, "provider") || plugin->state == PLUGIN_DISABLED)
                return false;
        if (plugin->state == PLUGIN_READY && plugin->op.struct_size)
                return true;
        orphans_silent(silent, plugin->name, plugin->reason ? plugin->reason : "it is not ready");
        return false;
}

void orphans_take(const struct plugin *plugin, const struct op_reply *reply, json_t *listed, json_t *silent)
{
        _cleanup_(cleanup_json_decref) json_t *answer = NULL;
        json_t *resource;
        size_t i;

        if (reply->answer != PRVNG_DONE ||
            json_parse(reply->result.data, reply->result.n, &answer, NULL) ||
            !json_is_array(json_object_get(answer, "resources")))
                orphans_silent(silent, plugin->name, reply->message       ? reply->message
                                                     : reply->answer < 0 ? op_class_name(reply->answer)
                                                                         : "its answer is no list");
        json_array_foreach (json_object_get(answer, "resources"), i, resource) {
                json_t *copy = json_deep_copy(resource);

                json_object_set_new(copy, "plugin", json_sprintf("provider/%s", plugin->name));
                json_array_append_new(listed, copy);
        }
}

static void list_one(struct plugin *plugin, const char *filter, json_t *listed, json_t *silent)
{
        struct op_reply reply = OP_REPLY_NULL;
        struct op_call call;

        op_call_init(&call, plugin, "", 1, clock_boot_ms() + ORPHANS_LIST_MS, 0, "", "");
        op_list(&call, filter, strlen(filter), &reply);
        op_call_deinit(&call);
        orphans_take(plugin, &reply, listed, silent);
        op_reply_deinit(&reply);
}

int orphans_list(const struct context *c, const char *site, json_t **ret_listed)
{
        json_t *listed = json_array(), *silent = json_array();
        char filter[UID_TEXT + 16];

        snprintf(filter, sizeof(filter), "{\"site\":\"%s\"}", site);
        for (size_t i = 0; i < c->plugins->n; i++)
                if (orphans_may_ask(&c->plugins->list[i], silent))
                        list_one(&c->plugins->list[i], filter, listed, silent);
        *ret_listed = json_pack("{s:o, s:o}", "listed", listed, "silent", silent);
        return *ret_listed ? 0 : error_origin(-ENOMEM);
}

/* Comparing */

static int add_op_id(struct strmap *known, json_t *texts, const char *op_id)
{
        json_t *text = *op_id ? json_string(op_id) : NULL; /* keys of the map live as long as `texts` */
        struct strmap_entry *e;

        if (!text)
                return 0;
        e = strmap_add(known, json_string_value(text), strlen(op_id));
        json_array_append_new(texts, text);
        if (!e)
                return error_origin(-ENOMEM);
        e->value.number = 1;
        return 0;
}

/* Of the inventory, and of every request that a run in flight may have sent. */
static int collect_op_ids(const struct site *site, struct strmap *known, json_t *texts)
{
        char text[UID_TEXT];
        int r = 0;

        strmap_foreach (e, &site->inventory.by_key) {
                const struct resource *resource = e->value.pointer;

                r = r ? r : resource->workflow ? add_op_id(known, texts, resource->op_id) : 0;
        }
        for (uint32_t i = 0; i < site->n_runs && r == 0; i++) {
                const struct run *run = site->runs[i];

                for (uint32_t t = 0; r == 0 && t < run->n_tasks; t++) {
                        if (!run->tasks[t].attempt)
                                continue;
                        uid_text(&run->tasks[t].attempt->op_id, text);
                        r = add_op_id(known, texts, text);
                }
        }
        return r;
}

static bool is_known(const struct strmap *known, const json_t *thing)
{
        const char *op_id = json_get_string(thing, "op_id", "");

        return strmap_find(known, op_id, strlen(op_id)) != NULL;
}

/* What the inventory has under that name: "server.web-0", "network.private@upcloud"; NULL: nothing. */
static const struct resource *find_resource(const struct site *site, const json_t *thing)
{
        const char *kind = json_get_string(thing, "kind", ""), *name = json_get_string(thing, "name", "");
        const char *plugin = json_get_string(thing, "plugin", ""), *slash = strchr(plugin, '/');
        _cleanup_(cleanup_buf) struct buf key = BUF_NULL;
        const struct resource *r;

        buf_printf(&key, "%s.%s", kind, name);
        r = inventory_get(&site->inventory, buf_str(&key));
        if (r)
                return r;
        buf_printf(&key, "@%s", slash ? slash + 1 : plugin);
        return inventory_get(&site->inventory, buf_str(&key));
}

static bool same_name(const json_t *a, const json_t *b)
{
        static const char *const members[] = {"plugin", "kind", "name"};

        for (size_t i = 0; i < N_ELEMENTS(members); i++)
                if (!streq(json_get_string(a, members[i], ""), json_get_string(b, members[i], "")))
                        return false;
        return true;
}

enum judgement { OWNED, ORPHAN, UNCLEAR };

/*
 * An op id that is known says all. Where it is not, the name may: a provider may keep the id of the request
 * that made a thing, while the inventory has that of the one that changed it last.
 */
static enum judgement judge(const struct site *site, const struct strmap *known, const json_t *all,
                            const json_t *thing)
{
        const char *workflow = json_get_string(thing, "workflow", "");
        const struct resource *r = find_resource(site, thing);
        const json_t *other;
        size_t i, n = 0;

        if (is_known(known, thing) || (r && r->claim)) /* a run is at work on it */
                return OWNED;
        if (!*workflow)
                workflow = ORPHANS_NOBODY;
        if (!r || !r->workflow || !streq(r->plugin, json_get_string(thing, "plugin", "")) ||
            !streq(r->workflow, workflow))
                return ORPHAN;
        json_array_foreach (all, i, other) {
                if (!same_name(other, thing))
                        continue;
                if (is_known(known, other))
                        return ORPHAN; /* that one is meant */
                n++;
        }
        return n == 1 ? OWNED : UNCLEAR;
}

int orphans_find(const struct site *site, const json_t *listed, json_t **ret_found)
{
        _cleanup_(cleanup_json_decref) json_t *texts = json_array();
        const json_t *all = json_object_get(listed, "listed");
        json_t *orphans = json_array(), *unclear = json_array(), *thing;
        struct strmap known = STRMAP_NULL;
        int r = collect_op_ids(site, &known, texts);
        size_t i;

        json_array_foreach (all, i, thing) {
                enum judgement j = judge(site, &known, all, thing);
                json_t *copy;

                if (j == OWNED)
                        continue;
                copy = json_deep_copy(thing);
                json_object_set_new(copy, "key", json_sprintf("%s.%s", json_get_string(thing, "kind", ""),
                                                              json_get_string(thing, "name", "")));
                json_array_append_new(j == ORPHAN ? orphans : unclear, copy);
        }
        strmap_deinit(&known);
        *ret_found = json_pack("{s:o, s:o}", "orphans", orphans, "unclear", unclear);
        return r ? r : *ret_found ? 0 : error_origin(-ENOMEM);
}
