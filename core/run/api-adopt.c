/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /resources/adopt: what a provider has, and nobody made here, becomes a workflow's. It carries no op
 * id: no rollback undoes it.
 */
#include "run/api.h"

#include "base/clock.h"
#include "base/json.h"

struct adoption {
        const char *key, *plugin, *workflow;
        const json_t *spec, *outputs;
};

static bool is_key(const char *key, const char *plugin)
{
        const char *dot = strchr(key, '.'), *at = strchr(key, '@'), *provider = startswith(plugin, "provider/");

        if (!dot || dot == key || !dot[1] || dot[1] == '@' || !provider || strpbrk(key, " \t\n\"/"))
                return false;
        return startswith(key, "server.") ? !at
                                          : at && streq(at + 1, provider) && !startswith(key, "taskserv.");
}

/* False: the answer says what is accepted. */
static bool read_body(struct request *q, const json_t *body, struct adoption *a)
{
        *a = (struct adoption){.key = json_get_string(body, "key", ""),
                               .plugin = json_get_string(body, "plugin", ""),
                               .workflow = json_get_string(body, "workflow", "adopted"),
                               .spec = json_object_get(body, "spec"),
                               .outputs = json_object_get(body, "outputs")};
        if (!is_key(a->key, a->plugin))
                api_refuse(q, 422, "\"key\" must be \"server.NAME\" or \"KIND.NAME@PROVIDER\", and \"plugin\" "
                                   "\"provider/PROVIDER\"; they are \"%s\" and \"%s\"", a->key, a->plugin);
        else if (!json_is_object(a->spec) || !json_is_object(a->outputs))
                api_refuse(q, 422, "\"spec\" and \"outputs\" must be objects, as the provider found them");
        else if (!*a->workflow || strpbrk(a->workflow, " \t\n\"/"))
                api_refuse(q, 422, "\"%s\" is no name of a workflow", a->workflow);
        return q->status == 0;
}

/* The one that the inventory has with that id of the provider's, under whatever name; or NULL. */
static const struct resource *find_id(const struct site *site, const struct adoption *a)
{
        const char *id = json_get_string(a->outputs, "id", NULL);
        size_t kind = strcspn(a->key, ".") + 1;

        if (!id)
                return NULL;
        strmap_foreach (e, &site->inventory.by_key) {
                _cleanup_(cleanup_json_decref) json_t *outputs = NULL;
                const struct resource *r = e->value.pointer;

                if (!r->workflow || !streq(r->plugin, a->plugin) || strncmp(r->key, a->key, kind) != 0 ||
                    !strstr(r->outputs, id) ||
                    json_parse(r->outputs, strlen(r->outputs), &outputs, NULL))
                        continue;
                if (streq(json_get_string(outputs, "id", ""), id))
                        return r;
        }
        return NULL;
}

static bool is_free(struct engine_process *p, struct request *q, const struct adoption *a)
{
        const struct resource *r = inventory_get(&p->site.inventory, a->key);
        const char *name = strchr(a->plugin, '/') + 1;

        if (!plugins_find(p->context->plugins, "provider", name))
                api_refuse(q, 422, "this site has no provider \"%s\"", name);
        else if (r && !r->workflow)
                api_refuse(q, 409, "run %s of workflow \"%s\" claims the name %s and has not ended", r->claim,
                           r->claim_workflow, a->key);
        else if (r)
                api_refuse(q, 409, "the inventory has %s already: it belongs to workflow \"%s\"%s", a->key,
                           r->workflow, *r->op_id ? "" : " (adopted)");
        else if ((r = find_id(&p->site, a)))
                api_refuse(q, 409, "the inventory has it already, as %s: it belongs to workflow \"%s\"%s",
                           r->key, r->workflow, *r->op_id ? "" : " (adopted)");
        return q->status == 0;
}

void api_adopt(struct engine_process *p, struct request *q)
{
        _cleanup_(cleanup_buf) struct buf spec = BUF_NULL, outputs = BUF_NULL, who = BUF_NULL;
        _cleanup_(cleanup_json_decref) json_t *body = NULL;
        struct adoption a;

        if (json_parse(q->body, q->n_body, &body, NULL) || !json_is_object(body)) {
                api_refuse(q, 422, "the body must be a JSON object with \"key\", \"plugin\", \"spec\", "
                                   "\"outputs\", \"workflow\" and \"who\"");
                return;
        }
        if (!read_body(q, body, &a) || !is_free(p, q, &a))
                return;
        if (!json_is_object(json_object_get(body, "who")) || json_append(&who, json_object_get(body, "who")))
                BUF_LIT(&who, "{}");
        if (json_append(&spec, a.spec) || json_append(&outputs, a.outputs) || buf_error(&who)) {
                api_refuse(q, 500, "out of memory");
                return;
        }
        engine_time(p->engine, clock_boot_ms(), clock_wall_ms());
        engine_append_site(p->engine, &(struct record){.type = RECORD_RESOURCE, .key = span_of(a.key),
                                                       .workflow = span_of(a.workflow),
                                                       .plugin = span_of(a.plugin),
                                                       .spec = span_n(spec.data, spec.n),
                                                       .outputs = span_n(outputs.data, outputs.n),
                                                       .who = span_n(who.data, who.n),
                                                       .changed = p->engine->wall_ms});
        BUF_LIT(&q->answer, "{\"key\":");
        buf_json(&q->answer, a.key);
        BUF_LIT(&q->answer, ",\"workflow\":");
        buf_json(&q->answer, a.workflow);
        buf_putc(&q->answer, '}');
        q->status = p->engine->error || buf_error(&q->answer) ? 500 : 202;
}
