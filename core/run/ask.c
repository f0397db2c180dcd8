/* SPDX-License-Identifier: Apache-2.0 */
#include "run/ask.h"

#include "base/clock.h"
#include "base/json.h"
#include "plugin/border.h"

#include <stdarg.h>

#define ASK_MS 120000 /* for a provider's answer */

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

static struct plugin *find_provider(const struct context *c, const char *name, char **ret_message)
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

int ask_find(const struct context *c, const char *provider, const char *kind, const char *id,
             const char *as, json_t **ret_found, char **ret_message)
{
        struct plugin *p = find_provider(c, provider, ret_message);
        _cleanup_(cleanup_json_decref) json_t *answer = NULL;
        struct op_reply reply = OP_REPLY_NULL;
        struct op_call call;
        int r;

        if (!p)
                return *ret_message ? -ENOENT : error_origin(-ENOMEM);
        op_call_init(&call, p, "", 1, clock_boot_ms() + ASK_MS, 0, "", "");
        op_find(&call, kind, id, &reply);
        op_call_deinit(&call);
        if (reply.answer == PRVNG_DONE && json_parse(reply.result.data, reply.result.n, &answer, NULL) == 0)
                r = compose(provider, kind, as, answer, ret_found, ret_message);
        else if (reply.answer == PRVNG_NOT_FOUND)
                r = no(ret_message, "provider %s has no %s \"%s\"%s%s", provider, kind, id,
                       reply.message ? ": " : "", reply.message ?: "");
        else
                r = no(ret_message, "provider %s: %s", provider,
                       reply.message ?: op_class_name(reply.answer));
        op_reply_deinit(&reply);
        return r;
}

/* Prechecks */

struct precheck {
        const struct plan *plan;
        const struct inventory *inventory;
        json_t *problems, *notices, *silent;
        const struct plan_task **tasks; /* of the provider that is being asked */
        uint32_t n_tasks;
};

/* As prepare gets it, but for the results of others, which are not there yet. */
static void put_task(const struct precheck *p, const struct plan_task *t, struct buf *b)
{
        const struct resource *r = inventory_get(p->inventory, t->resource);

        buf_printf(b, "%s{\"verb\":\"%s\",\"task\":", p->n_tasks ? "," : "", plan_verb_name(t->verb));
        buf_append(b, t->doc, strlen(t->doc) - 1);
        if (r && r->workflow)
                buf_printf(b, ",\"identity\":%s,\"former\":%s", r->outputs, r->spec);
        BUF_LIT(b, "}}");
}

static int take_answer(struct precheck *p, const char *provider, const struct op_reply *reply)
{
        _cleanup_(cleanup_json_decref) json_t *answer = NULL;
        const json_t *v;
        size_t i;
        int r = json_parse(reply->result.data, reply->result.n, &answer, NULL);

        if (r == -ENOMEM)
                return error_fold(r);
        json_array_foreach (json_object_get(answer, "problems"), i, v) {
                int64_t task = json_get_int(v, "task", -1);
                bool known = task >= 0 && (uint64_t)task < p->n_tasks;
                json_t *o = json_pack("{s:s, s:s*, s:s*, s:s}", "provider", provider, "resource",
                                      known ? p->tasks[task]->resource : NULL, "field",
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

static int ask(struct precheck *p, struct plugin *plugin, const struct buf *tasks)
{
        struct op_reply reply = OP_REPLY_NULL;
        const char *message;
        struct op_call call;
        int r;

        op_call_init(&call, plugin, "", 1, clock_boot_ms() + ASK_MS, 0, "", "");
        op_precheck(&call, tasks->data, tasks->n, &reply);
        op_call_deinit(&call);
        message = reply.message ?: op_class_name(reply.answer);
        if (reply.answer == PRVNG_DONE)
                r = take_answer(p, plugin->name, &reply);
        else
                r = json_array_append_new(reply.answer == PRVNG_AUTH ? p->problems : p->silent,
                                          json_pack("{s:s, s:s}", "provider", plugin->name, "message",
                                                    message))
                            ? error_origin(-ENOMEM)
                            : 0;
        op_reply_deinit(&reply);
        return r;
}

static int precheck_lane(struct precheck *p, const struct context *c, uint32_t lane)
{
        const char *name = startswith(p->plan->lanes[lane].plugin, "provider/");
        struct plugin *plugin = name ? plugins_find(c->plugins, "provider", name) : NULL;
        _cleanup_(cleanup_buf) struct buf tasks = BUF_NULL;

        if (!plugin)
                return 0; /* a taskserv's */
        if (!plugin->precheck.struct_size)
                return json_array_append_new(p->notices,
                                             json_sprintf("provider %s was not asked: its plugin has no "
                                                          "prechecks", name))
                               ? error_origin(-ENOMEM)
                               : 0;
        p->n_tasks = 0;
        BUF_LIT(&tasks, "{\"tasks\":[");
        for (uint32_t i = 0; i < p->plan->n_tasks; i++) {
                const struct plan_task *t = &p->plan->tasks[i];

                if (t->lane != lane)
                        continue;
                put_task(p, t, &tasks);
                p->tasks[p->n_tasks++] = t;
        }
        BUF_LIT(&tasks, "]}");
        return buf_error(&tasks) ?: ask(p, plugin, &tasks);
}

int ask_precheck(const struct context *c, const struct inventory *inventory, const struct plan *plan,
                 json_t **ret_said)
{
        _cleanup_(cleanup_free) const struct plan_task **tasks = calloc((size_t)plan->n_tasks + 1,
                                                                        sizeof(*tasks));
        struct precheck p = {.plan = plan, .inventory = inventory, .problems = json_array(),
                             .notices = json_array(), .silent = json_array(), .tasks = tasks};
        int r = tasks && p.problems && p.notices && p.silent ? 0 : error_origin(-ENOMEM);

        for (uint32_t i = 0; !r && i < plan->n_lanes; i++)
                r = precheck_lane(&p, c, i);
        *ret_said = json_pack("{s:o, s:o, s:o}", "problems", p.problems, "notices", p.notices, "silent",
                              p.silent);
        return r ? r : *ret_said ? 0 : error_origin(-ENOMEM);
}
