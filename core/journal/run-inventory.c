/* SPDX-License-Identifier: Apache-2.0 */
/* What tasks do to the inventory. */
#include "journal/fold.h"

#include <prvng/abi.h>

/* "[\"a\",\"b\"]" -> "a b"; keys need no escapes. */
static size_t keys_of(const char *uses, char *ret, size_t n_ret)
{
        size_t n = 0;

        for (const char *p = uses; *p; p++) {
                if (*p == '[' || *p == ']' || *p == '"')
                        continue;
                if (n + 1 < n_ret)
                        ret[n++] = *p == ',' ? ' ' : *p;
        }
        ret[n] = 0;
        return n;
}

struct resource *run_resource(const struct site *site, const struct run *run, struct task *t)
{
        struct strmap_entry *e;
        struct resource *r;

        if (t->resource || !t->n_key)
                return t->resource;
        e = strmap_find(&site->inventory.by_key, task_key(run, t), t->n_key);
        r = e ? e->value.pointer : NULL;
        if (r && r->claim && streq(r->claim, run->id_text))
                t->resource = r;
        return r;
}

/* What a task did to the inventory. */
int change_inventory(struct run *run, struct site *site, struct task *t, const struct record *r)
{
        const struct span key = span_n(task_key(run, t), t->n_key);
        const char *doc = task_doc(run, t), *spec = strstr(doc, ",\"spec\":");
        char builds_on[2048], op_id[UID_TEXT] = "";
        struct resource *old;
        struct resource_change c = {
                .workflow = span_of(run->name),
                .plugin = span_of(run->lanes[t->lane].plugin),
                .outputs = r->outputs,
                .run = span_of(run->id_text),
                .changed_ms = r->at,
        };

        if (t->verb == VERB_DELETE)
                return inventory_gone(&site->inventory, key);
        old = run_resource(site, run, t) ?: inventory_entry(&site->inventory, key);
        if (!old)
                return error_origin(-ENOMEM);
        if (r->answer == PRVNG_UNCHANGED && old->workflow)
                snprintf(op_id, sizeof(op_id), "%s", old->op_id);
        else if (r->answer != PRVNG_UNCHANGED && t->attempt)
                uid_text(&t->attempt->op_id, op_id);
        c.op_id = span_of(op_id);
        c.builds_on = span_n(builds_on, keys_of(doc + t->n_doc + 1, builds_on, sizeof(builds_on)));
        c.spec = spec ? span_n(spec + 8, (size_t)(doc + t->n_doc - 1 - (spec + 8))) : span_of("{}");
        if (!c.outputs.n)
                c.outputs = span_of("{}");
        return inventory_put(&site->inventory, old, &c);
}

/* A create that failed but left something behind. So that it has an owner, a server is in the inventory
 * from then on, with nothing known of it but the request that made it: destroy deletes it, and a rerun
 * completes it. (What was made on a server goes with it.) */
int left_behind(struct run *run, struct site *site, struct task *t, const struct record *r)
{
        const struct span key = span_n(task_key(run, t), t->n_key);
        const struct resource *old = inventory_get(&site->inventory, task_key(run, t));
        char op_id[UID_TEXT], outputs[UID_TEXT + 16];
        struct record known = *r;

        if (t->verb != VERB_CREATE || r->effect == PRVNG_EFFECT_NONE || !t->attempt ||
            key.n < 7 || memcmp(key.p, "server.", 7) != 0 || (old && old->workflow))
                return 0;
        uid_text(&t->attempt->op_id, op_id);
        snprintf(outputs, sizeof(outputs), "{\"op_id\":\"%s\"}", op_id);
        known.outputs = span_of(outputs);
        return change_inventory(run, site, t, &known);
}
