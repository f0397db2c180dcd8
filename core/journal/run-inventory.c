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

size_t builds_on_of(const struct run *run, const struct task *t, char *ret, size_t n_ret)
{
        return keys_of(task_uses(run, t), ret, n_ret);
}

static bool uses_key(const char *uses, const char *key)
{
        size_t n = strlen(key);

        while ((uses = strchr(uses, '"'))) {
                if (strncmp(++uses, key, n) == 0 && uses[n] == '"')
                        return true;
                uses = strchrnul(uses, '"');
                uses += *uses == '"';
        }
        return false;
}

const struct run *site_user(const struct site *s, const char *key, const struct run *except,
                            const char *workflow)
{
        for (uint32_t i = 0; i < s->n_runs; i++) {
                const struct run *run = s->runs[i];

                if (run == except || !run->loaded || !run->planned || run->closed ||
                    run_status_ended(run->status) || (workflow && streq(run->name, workflow)))
                        continue;
                for (uint32_t k = 0; k < run->n_tasks; k++) {
                        const struct task *t = &run->tasks[k];

                        if ((t->verb == VERB_CREATE || t->verb == VERB_UPDATE) &&
                            !task_status_ended(t->status) && uses_key(task_uses(run, t), key))
                                return run;
                }
        }
        return NULL;
}

bool site_used(const struct site *s, const char *key, const char *workflow, const char **ret_run,
               const char **ret_workflow)
{
        const struct run *run = site_user(s, key, NULL, workflow);

        if (!run)
                return false;
        *ret_run = run->id_text;
        *ret_workflow = run->name;
        return true;
}

static int put(struct run *run, struct site *site, struct task *t, const struct record *r,
               struct span spec)
{
        const struct task_note *made = task_made(run, t); /* the attempt deleted what was made twice */
        char builds_on[BUILDS_ON_MAX], op_id[UID_TEXT] = "";
        struct resource *old;
        struct resource_change c = {
                .workflow = span_of(run->name),
                .plugin = span_of(run->lanes[t->lane].plugin),
                .spec = spec,
                .outputs = r->outputs.n ? r->outputs : span_of("{}"),
                .run = span_of(run->id_text),
                .changed_ms = r->at,
        };

        old = run_resource(site, run, t) ?:
                      inventory_entry(&site->inventory, span_n(task_key(run, t), t->n_key));
        if (!old)
                return error_origin(-ENOMEM);
        if (r->answer == PRVNG_UNCHANGED && old->workflow) { /* it was not this run that changed it */
                snprintf(op_id, sizeof(op_id), "%s", old->op_id);
                c.run = span_of(old->run);
                c.changed_ms = old->changed_ms;
        } else if (r->answer != PRVNG_UNCHANGED && t->attempt) {
                uid_text(made ? &made->made_by : &t->attempt->op_id, op_id);
        }
        c.op_id = span_of(op_id);
        c.builds_on = span_n(builds_on, builds_on_of(run, t, builds_on, sizeof(builds_on)));
        return inventory_put(&site->inventory, old, &c);
}

static int gone(struct run *run, struct site *site, struct task *t)
{
        return inventory_gone(&site->inventory, span_n(task_key(run, t), t->n_key));
}

/* What a task did to the inventory. */
int change_inventory(struct run *run, struct site *site, struct task *t, const struct record *r)
{
        if (r->shared) /* another run's, which tells of it */
                return 0;
        if (t->verb == VERB_DELETE)
                return gone(run, site, t);
        return put(run, site, t, r, task_spec(run, t));
}

/* A create that failed but left something behind. So that it has an owner, it is in the inventory from
 * then on, with nothing known of it but the request that made it: destroy and rollback delete it, and a
 * rerun completes it. */
int left_behind(struct run *run, struct site *site, struct task *t, const struct record *r)
{
        const struct resource *old = inventory_get(&site->inventory, task_key(run, t));
        char op_id[UID_TEXT], outputs[UID_TEXT + 16];
        struct record known = *r;

        if (t->verb != VERB_CREATE || r->effect == PRVNG_EFFECT_NONE || !t->attempt || !t->n_key ||
            (old && old->workflow))
                return 0;
        uid_text(&t->attempt->op_id, op_id);
        snprintf(outputs, sizeof(outputs), "{\"op_id\":\"%s\"}", op_id);
        known.outputs = span_of(outputs);
        return put(run, site, t, &known, task_spec(run, t));
}

/* What an undo did to it: `spec` is what was there before the task. */
int undo_inventory(struct run *run, struct site *site, struct task *t, const struct record *r)
{
        const struct attempt *a = t->attempt;

        if (!a && r->answer == PRVNG_UNCHANGED) /* it was gone; another run may have made it since */
                return 0;
        if (a ? a->verb == VERB_DELETE : t->verb == VERB_CREATE)
                return gone(run, site, t);
        if (a && a->verb == VERB_CREATE && gone(run, site, t)) /* half deleted: with what stood on it */
                return error_origin(-ENOMEM);
        return a ? put(run, site, t, r, span_of(a->spec ?: "{}")) : 0;
}

struct span task_with(const struct run *run, const struct task *t)
{
        const char *former = t->verb == VERB_DELETE ? task_former(run, t) : NULL;
        const char *keys = former ? startswith(former, "{\"with\":\"") : NULL;

        return span_n(keys, keys ? strcspn(keys, "\"") : 0);
}

/* Claims are what the tasks of a run in flight are about; one that ended has none. */
static bool answers_for(const struct site *site, const struct run *run, struct span key)
{
        struct strmap_entry *e = strmap_find(&site->inventory.by_key, key.p, key.n);
        const struct resource *r = e ? e->value.pointer : NULL;

        if (run->claims)
                return r && r->claim && streq(r->claim, run->id_text);
        for (uint32_t i = 0; i < run->n_tasks; i++)
                if (run->tasks[i].verb != VERB_CHECK && span_eq(key, task_key(run, &run->tasks[i])))
                        return true;
        return false;
}

void run_lost(const struct site *site, const struct run *run, const struct task *t, struct buf *ret)
{
        struct span with = task_with(run, t);
        bool any = false;

        for (size_t i = 0, n; i < with.n; i += n + 1) {
                const char *space = memchr(with.p + i, ' ', with.n - i);
                struct strmap_entry *e;
                struct span key;

                n = space ? (size_t)(space - with.p) - i : with.n - i;
                key = span_n(with.p + i, n);
                e = strmap_find(&site->inventory.by_key, key.p, key.n);
                if ((e && ((const struct resource *)e->value.pointer)->workflow) ||
                    answers_for(site, run, key))
                        continue;
                if (any)
                        BUF_LIT(ret, ", ");
                buf_append(ret, key.p, key.n);
                any = true;
        }
}
