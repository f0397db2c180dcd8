/* SPDX-License-Identifier: Apache-2.0 */
#include "run/ask.h"

#include "base/clock.h"
#include "base/json.h"
#include "plugin/border.h"

#include <stdarg.h>

/* Adoption */

static int no(char **ret_message, const char *format, ...) _printf_(2, 3);

static int no(char **ret_message, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        if (vasprintf(ret_message, format, ap) < 0)
                *ret_message = NULL;
        va_end(ap);
        return *ret_message ? -ENOENT : error_origin(-ENOMEM);
}

struct plugin *ask_find_provider(const struct context *c, const char *name, char **ret_message)
{
        struct plugin *p = plugins_find(c->plugins, "provider", name);

        if (!p)
                no(ret_message, "this site has no provider \"%s\"; prvng plugin list shows what there is", name);
        else if (p->state != PLUGIN_READY)
                no(ret_message, "provider %s cannot be used: %s", name,
                   p->reason ?: "the site's configuration disables it");
        else if (!p->inventory.struct_size)
                no(ret_message, "provider %s cannot find what was not made with prvng: its plugin has no "
                                "interface " PRVNG_PROVIDER_INVENTORY, name);
        else
                return p;
        return NULL;
}

/* Names of resources: letters, digits, '.', '_' and '-', not in front. */
static bool is_name(const char *s)
{
        size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

        return n && !s[n] && n <= 128 && !strchr("._-", *s);
}

static int compose(const char *provider, const char *kind, const char *as, const json_t *answer,
                   json_t **ret_found, char **ret_message)
{
        const char *name = as ?: json_get_string(answer, "name", "");
        json_t *spec = json_object_get(answer, "spec"), *outputs = json_object_get(answer, "outputs");
        _cleanup_(cleanup_json_decref) json_t *copy = NULL;
        bool server = streq(kind, "server");

        if (!json_is_object(spec) || !json_is_object(outputs))
                return no(ret_message, "what provider %s found has no spec or no outputs: its plugin is wrong",
                          provider);
        if (!is_name(name))
                return no(ret_message, "its name \"%s\" cannot be one here (letters, digits, '.', '_' and "
                                       "'-', beginning with a letter or digit): give it one with --as NAME",
                          name);
        copy = json_deep_copy(spec);
        if (!copy || json_object_set_new(copy, "name", json_string(name)))
                return error_origin(-ENOMEM);
        *ret_found = json_pack("{s:o, s:o, s:s, s:s, s:O, s:O}", "key",
                               json_sprintf(server ? "%s.%s" : "%s.%s@%s", kind, name, provider), "plugin",
                               json_sprintf("provider/%s", provider), "kind", kind, "name", name, "spec", copy,
                               "outputs", outputs);
        return *ret_found ? 0 : error_origin(-ENOMEM);
}

int ask_found(const char *provider, const char *kind, const char *id, const char *as,
              const struct op_reply *reply, json_t **ret_found, char **ret_message)
{
        _cleanup_(cleanup_json_decref) json_t *answer = NULL;

        if (reply->answer == PRVNG_DONE &&
            json_parse(reply->result.data, reply->result.n, &answer, NULL) == 0)
                return compose(provider, kind, as, answer, ret_found, ret_message);
        if (reply->answer == PRVNG_NOT_FOUND)
                return no(ret_message, "provider %s has no %s \"%s\"%s%s", provider, kind, id,
                          reply->message ? ": " : "", reply->message ?: "");
        return no(ret_message, "provider %s: %s", provider, reply->message ?: op_class_name(reply->answer));
}

int ask_find(const struct context *c, const char *provider, const char *kind, const char *id,
             const char *as, json_t **ret_found, char **ret_message)
{
        struct plugin *p = ask_find_provider(c, provider, ret_message);
        struct op_reply reply = OP_REPLY_NULL;
        struct op_call call;
        int r;

        if (!p)
                return *ret_message ? -ENOENT : error_origin(-ENOMEM);
        op_call_init(&call, p, "", 1, clock_boot_ms() + ASK_MS, 0, "", "");
        op_find(&call, kind, id, &reply);
        op_call_deinit(&call);
        r = ask_found(provider, kind, id, as, &reply, ret_found, ret_message);
        op_reply_deinit(&reply);
        return r;
}

/* Prechecks */

int prechecks_init(struct prechecks *p)
{
        *p = (struct prechecks){json_array(), json_array(), json_array()};
        return p->problems && p->notices && p->silent ? 0 : error_origin(-ENOMEM);
}

void prechecks_deinit(struct prechecks *p)
{
        json_decref(p->problems);
        json_decref(p->notices);
        json_decref(p->silent);
}

json_t *prechecks_said(const struct prechecks *p)
{
        return json_pack("{s:O, s:O, s:O}", "problems", p->problems, "notices", p->notices, "silent",
                         p->silent);
}

/* As prepare gets it, but for the results of others, which are not there yet. */
static void put_task(const struct inventory *inventory, const struct plan_task *t, bool first,
                     struct buf *b)
{
        const struct resource *r = inventory_get(inventory, t->resource);

        buf_printf(b, "%s{\"verb\":\"%s\",\"task\":", first ? "" : ",", plan_verb_name(t->verb));
        buf_append(b, t->doc, strlen(t->doc) - 1);
        if (r && r->workflow)
                buf_printf(b, ",\"identity\":%s,\"former\":%s", r->outputs, r->spec);
        BUF_LIT(b, "}}");
}

int prechecks_question(struct prechecks *p, const struct context *c, const struct inventory *inventory,
                       const struct plan *plan, uint32_t lane, struct plugin **ret_plugin,
                       struct buf *ret_tasks, json_t **ret_resources)
{
        const char *name = startswith(plan->lanes[lane].plugin, "provider/");
        struct plugin *plugin = name ? plugins_find(c->plugins, "provider", name) : NULL;
        _cleanup_(cleanup_json_decref) json_t *resources = json_array();

        *ret_plugin = NULL;
        if (!resources)
                return error_origin(-ENOMEM);
        if (!plugin)
                return 0; /* a taskserv's */
        if (!plugin->precheck.struct_size)
                return json_array_append_new(p->notices,
                                             json_sprintf("provider %s was not asked: its plugin has no "
                                                          "prechecks", name))
                               ? error_origin(-ENOMEM)
                               : 0;
        BUF_LIT(ret_tasks, "{\"tasks\":[");
        for (uint32_t i = 0; i < plan->n_tasks; i++) {
                const struct plan_task *t = &plan->tasks[i];

                if (t->lane != lane)
                        continue;
                put_task(inventory, t, json_array_size(resources) == 0, ret_tasks);
                if (json_array_append_new(resources, json_string(t->resource)))
                        return error_origin(-ENOMEM);
        }
        BUF_LIT(ret_tasks, "]}");
        if (buf_error(ret_tasks))
                return error_origin(-ENOMEM);
        *ret_plugin = plugin;
        *ret_resources = steal(&resources);
        return 0;
}

static int take_answer(struct prechecks *p, const char *provider, const json_t *resources,
                       const struct op_reply *reply)
{
        _cleanup_(cleanup_json_decref) json_t *answer = NULL;
        const json_t *v;
        size_t i;
        int r = json_parse(reply->result.data, reply->result.n, &answer, NULL);

        if (r == -ENOMEM)
                return error_fold(r);
        json_array_foreach (json_object_get(answer, "problems"), i, v) {
                int64_t task = json_get_int(v, "task", -1);
                json_t *of = task >= 0 ? json_array_get(resources, (size_t)task) : NULL;
                json_t *o = json_pack("{s:s, s:s*, s:s*, s:s}", "provider", provider, "resource",
                                      json_string_value(of), "field",
                                      json_string_value(json_object_get(v, "field")), "message",
                                      json_get_string(v, "message", "it cannot be had"));

                if (json_array_append_new(p->problems, o))
                        return error_origin(-ENOMEM);
        }
        json_array_foreach (json_object_get(answer, "notices"), i, v)
                if (json_is_string(v) &&
                    json_array_append_new(p->notices, json_sprintf("%s: %s", provider, json_string_value(v))))
                        return error_origin(-ENOMEM);
        return 0;
}

int prechecks_take(struct prechecks *p, const struct plugin *plugin, const json_t *resources,
                   const struct op_reply *reply)
{
        const char *message = !reply ? "it did not answer in time"
                                     : reply->message ?: op_class_name(reply->answer);
        bool refused = reply && reply->answer == PRVNG_AUTH;

        if (reply && reply->answer == PRVNG_DONE)
                return error_fold(take_answer(p, plugin->name, resources, reply));
        return json_array_append_new(refused ? p->problems : p->silent,
                                     json_pack("{s:s, s:s}", "provider", plugin->name, "message", message))
                       ? error_origin(-ENOMEM)
                       : 0;
}

static int ask_lane(struct prechecks *p, const struct context *c, const struct inventory *inventory,
                    const struct plan *plan, uint32_t lane)
{
        _cleanup_(cleanup_json_decref) json_t *resources = NULL;
        _cleanup_(cleanup_buf) struct buf tasks = BUF_NULL;
        struct op_reply reply = OP_REPLY_NULL;
        struct plugin *plugin;
        struct op_call call;
        int r = prechecks_question(p, c, inventory, plan, lane, &plugin, &tasks, &resources);

        if (r || !plugin)
                return error_fold(r);
        op_call_init(&call, plugin, "", 1, clock_boot_ms() + ASK_MS, 0, "", "");
        op_precheck(&call, tasks.data, tasks.n, &reply);
        op_call_deinit(&call);
        r = prechecks_take(p, plugin, resources, &reply);
        op_reply_deinit(&reply);
        return error_fold(r);
}

int ask_precheck(const struct context *c, const struct inventory *inventory, const struct plan *plan,
                 json_t **ret_said)
{
        struct prechecks p;
        int r = prechecks_init(&p);

        for (uint32_t i = 0; !r && i < plan->n_lanes; i++)
                r = ask_lane(&p, c, inventory, plan, i);
        *ret_said = r ? NULL : prechecks_said(&p);
        prechecks_deinit(&p);
        return r ? r : *ret_said ? 0 : error_origin(-ENOMEM);
}
