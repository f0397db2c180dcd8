/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /resources/orphans: takes what no journal knows into the inventory, and deletes it if asked to.
 *
 * To delete, each is adopted first and then deleted by a run of kind "destroy", like anything else that is
 * deleted: journaled, retried, and gone on with after a crash. What cannot be deleted stays in the inventory,
 * with an owner.
 */
#include "run/api.h"

#include "base/clock.h"
#include "base/json.h"
#include "engine/engine.h"
#include "run/orphans.h"

struct adoption {
        struct engine_process *p;
        struct request *q;
        json_t *body;
        struct buf who;
        bool deletes;
        json_t *adopted, *refused, *runs;
        struct strmap workflows; /* whose resources were adopted; keys stand in the body */
};

static void refuse_one(struct adoption *a, const char *key, const char *format, ...) _printf_(3, 4);

static void refuse_one(struct adoption *a, const char *key, const char *format, ...)
{
        _cleanup_(cleanup_free) char *reason = NULL;
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&reason, format, ap) < 0)
                reason = NULL;
        va_end(ap);
        json_array_append_new(a->refused, json_pack("{s:s, s:s}", "key", key, "reason",
                                                    reason ? reason : "out of memory"));
}

static const char *workflow_of(const json_t *thing)
{
        const char *name = json_get_string(thing, "workflow", "");

        return *name ? name : ORPHANS_NOBODY;
}

static bool may_adopt(struct adoption *a, const json_t *thing, const char *key)
{
        const struct resource *r = inventory_get(&a->p->site.inventory, key);
        const char *plugin = json_get_string(thing, "plugin", ""), *short_name = strchr(plugin, '/');

        if (!*key || !strchr(key, '.') || !short_name ||
            !plugins_find(a->p->context->plugins, "provider", short_name + 1)) {
                refuse_one(a, key, "there is no provider \"%s\"", plugin);
                return false;
        }
        if (r && r->workflow)
                refuse_one(a, key, "the inventory has another one of that name, of workflow \"%s\": delete "
                           "this one at its provider; its identity is in prvng resource orphans --format "
                           "json", r->workflow);
        else if (r)
                refuse_one(a, key, "run %s of workflow \"%s\" claims that name and has not ended", r->claim,
                           r->claim_workflow);
        return !r;
}

/* What a definition could say of it, as far as the provider told: results have the attributes of specs under the
 * same names (kind/op.h). What it did not tell shows as different in the next plan. */
static int spec_of(const json_t *thing, struct buf *ret)
{
        static const char *const attributes[] = {"cpu", "memory", "disk", "plan", "image", "zone", "labels"};
        const json_t *identity = json_object_get(thing, "identity"), *v;
        const char *separator = "";

        buf_putc(ret, '{');
        if (streq(json_get_string(thing, "kind", ""), "server")) {
                BUF_LIT(ret, "\"name\":");
                buf_json(ret, json_get_string(thing, "name", ""));
                separator = ",";
        }
        for (size_t i = 0; i < N_ELEMENTS(attributes); i++) {
                v = json_object_get(identity, attributes[i]);
                if (!v)
                        continue;
                buf_printf(ret, "%s\"%s\":", separator, attributes[i]);
                if (json_append(ret, v))
                        return error_origin(-ENOMEM);
                separator = ",";
        }
        buf_putc(ret, '}');
        return buf_error(ret);
}

static int adopt_one(struct adoption *a, const json_t *thing)
{
        const char *key = json_get_string(thing, "key", ""), *workflow = workflow_of(thing);
        _cleanup_(cleanup_buf) struct buf outputs = BUF_NULL, spec = BUF_NULL;
        struct record r = {.type = RECORD_RESOURCE, .key = span_of(key), .workflow = span_of(workflow),
                           .plugin = span_of(json_get_string(thing, "plugin", "")),
                           .who = span_n(a->who.data, a->who.n), .changed = a->p->engine->wall_ms};
        struct strmap_entry *e;

        if (!may_adopt(a, thing, key))
                return 0;
        if (!json_is_object(json_object_get(thing, "identity")) ||
            json_append(&outputs, json_object_get(thing, "identity")))
                BUF_LIT(&outputs, "{}");
        if (buf_error(&outputs) || spec_of(thing, &spec))
                return error_origin(-ENOMEM);
        r.spec = span_n(spec.data, spec.n);
        r.outputs = span_n(outputs.data, outputs.n);
        engine_append_site(a->p->engine, &r);
        json_array_append_new(a->adopted, json_pack("{s:s, s:s}", "key", key, "workflow", workflow));
        e = strmap_add(&a->workflows, workflow, strlen(workflow));
        return e ? a->p->engine->error : error_origin(-ENOMEM);
}

/* Only what was adopted just now, and belongs to that workflow. */
static int choose(struct adoption *a, const char *workflow, struct inventory *ret)
{
        json_t *one;
        size_t i;

        json_array_foreach (a->adopted, i, one) {
                const char *key = json_get_string(one, "key", "");
                struct resource *r = strmap_get(&a->p->site.inventory.by_key, key);
                struct strmap_entry *e;

                if (!r || !streq(json_get_string(one, "workflow", ""), workflow))
                        continue;
                e = strmap_add(&ret->by_key, r->key, strlen(r->key));
                if (!e)
                        return error_origin(-ENOMEM);
                e->value.pointer = r;
        }
        return 0;
}

static int delete_of(struct adoption *a, const char *workflow)
{
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
        _cleanup_(cleanup_plan) struct plan *plan = NULL;
        struct inventory chosen = {0};
        struct submission s = {.kind = "destroy", .max_attempts = 3, .initial_delay_s = 5,
                               .max_delay_s = 300, .backoff = "exponential", .logging = "{}",
                               .who = buf_str(&a->who), .store = a->p->context->config->store};
        struct run *run = NULL;
        int r = choose(a, workflow, &chosen);

        r = r ? r : plan_destroy(&(struct plan_request){.config = a->p->context->config,
                                                        .plugins = a->p->context->plugins,
                                                        .inventory = &chosen, .runs = &a->p->site,
                                                        .site = a->p->site.id_text},
                                 workflow, &problems, &plan);
        strmap_deinit(&chosen.by_key);
        if (r)
                return error_fold(r);
        if (problems.n || !plan) {
                refuse_one(a, workflow, "it was adopted, and its deletion cannot be planned: see prvng batch "
                           "destroy %s --dry-run", workflow);
                return 0;
        }
        r = uid_ulid(a->p->engine->wall_ms, &s.run);
        r = r ? r : engine_submit(a->p->engine, &s, plan, &run);
        if (r == 0)
                json_array_append_new(a->runs, json_pack("{s:s, s:s}", "id", run->id_text, "name",
                                                         run->name));
        return error_fold(r);
}

static int carry_out(struct adoption *a)
{
        json_t *thing;
        size_t i;
        int r = 0;

        engine_time(a->p->engine, clock_boot_ms(), clock_wall_ms());
        json_array_foreach (json_object_get(a->body, "resources"), i, thing) {
                r = adopt_one(a, thing);
                if (r)
                        return r;
        }
        if (!a->deletes)
                return 0;
        strmap_foreach (e, &a->workflows) {
                r = r ? r : delete_of(a, e->key);
        }
        return r;
}

static bool read_body(struct adoption *a)
{
        const char *action;
        const json_t *who;

        if (json_parse(a->q->body, a->q->n_body, &a->body, NULL))
                a->body = NULL;
        action = json_get_string(a->body, "action", "");
        a->deletes = streq(action, "delete");
        if (!json_is_array(json_object_get(a->body, "resources")) ||
            (!a->deletes && !streq(action, "adopt"))) {
                api_refuse(a->q, 422, "the body must be a JSON object with \"resources\" (the orphans, as "
                           "prvng resource orphans --format json prints them), \"action\" (\"adopt\" or "
                           "\"delete\") and \"who\"");
                return false;
        }
        who = json_object_get(a->body, "who");
        if (!json_is_object(who) || json_append(&a->who, who))
                BUF_LIT(&a->who, "{}");
        return true;
}

void api_orphans(struct engine_process *p, struct request *q)
{
        struct adoption a = {.p = p, .q = q, .adopted = json_array(), .refused = json_array(),
                             .runs = json_array()};
        json_t *answer = NULL;
        int r = read_body(&a) ? carry_out(&a) : 0;

        if (r) {
                process_fail(p, r, p->journal->message);
                api_refuse(q, 500, "%s", p->message ? p->message : strerror(r < 0 ? -r : EIO));
        } else if (!q->status) {
                answer = json_pack("{s:O, s:O, s:O}", "adopted", a.adopted, "refused", a.refused, "runs",
                                   a.runs);
                q->status = answer && json_append(&q->answer, answer) == 0 ? 202 : 500;
        }
        json_decref(answer);
        json_decref(a.adopted);
        json_decref(a.refused);
        json_decref(a.runs);
        strmap_deinit(&a.workflows);
        json_decref(a.body);
        buf_deinit(&a.who);
}
