/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared claims: what servers of several workflows share is made by one run and used by all. Who
 * claims it and who shares it is in the site stream, so it is the same after every crash; who comes
 * next when that run ends is the order of acceptance, so no record has to say it.
 */
#include "journal/fold.h"

#include "base/json.h"

bool run_shares(const struct run *run, const struct resource *r)
{
        for (uint32_t i = 0; i < run->n_shares; i++)
                if (run->shares[i] == r)
                        return true;
        return false;
}

int share_add(struct run *run, struct resource *r)
{
        if (run_shares(run, r))
                return 0;
        if (GROW(run->shares, run->n_shares, run->cap_shares))
                return error_origin(-ENOMEM);
        run->shares[run->n_shares++] = r;
        r->n_sharers++;
        return 0;
}

/* At the end of its claims. */
static void take_over(struct run *run, struct resource *r)
{
        struct resource **last = &run->claims;

        while (*last)
                last = &(*last)->next_claim;
        r->claim = run->id_text;
        r->claim_workflow = run->name;
        r->next_claim = NULL;
        *last = r;
}

int apply_shares(struct site *s, struct run *run, struct span list)
{
        _cleanup_(cleanup_json_decref) json_t *keys = NULL;
        json_t *v;
        size_t i;
        int q;

        if (!list.n)
                return 0;
        q = json_parse(list.p, list.n, &keys, NULL);
        if (q)
                return error_fold(q);
        json_array_foreach (keys, i, v) {
                struct span key = span_of(json_is_string(v) ? json_string_value(v) : "");
                struct resource *r = inventory_entry(&s->inventory, key);

                if (!r)
                        return error_origin(-ENOMEM);
                if (!r->claim)
                        take_over(run, r);
                else if (!streq(r->claim, run->id_text) && share_add(run, r))
                        return error_origin(-ENOMEM);
        }
        return 0;
}

static bool drop_share(struct run *run, const struct resource *r)
{
        for (uint32_t i = 0; i < run->n_shares; i++)
                if (run->shares[i] == r) {
                        memmove(run->shares + i, run->shares + i + 1,
                                (run->n_shares - i - 1) * sizeof(*run->shares));
                        run->n_shares--;
                        return true;
                }
        return false;
}

void release_shares(struct site *s, struct run *run)
{
        for (uint32_t i = 0; i < run->n_shares; i++) {
                run->shares[i]->n_sharers--;
                inventory_tidy(&s->inventory, run->shares[i]);
        }
        free(steal(&run->shares));
        run->n_shares = run->cap_shares = 0;
}

void hand_over(struct site *s, struct resource *r)
{
        for (uint32_t i = 0; i < s->n_runs; i++)
                if (drop_share(s->runs[i], r)) {
                        r->n_sharers--;
                        take_over(s->runs[i], r);
                        return;
                }
}

const struct run *site_sharer(const struct site *s, const struct resource *r)
{
        for (uint32_t i = 0; r->n_sharers && i < s->n_runs; i++)
                if (run_shares(s->runs[i], r))
                        return s->runs[i];
        return NULL;
}

struct task *site_maker(const struct site *s, const struct resource *r, struct run **ret_run)
{
        struct run *run = r->claim ? strmap_get(&s->run_by_id, r->claim) : NULL;
        struct task *found = NULL;

        if (ret_run)
                *ret_run = run;
        if (!run || !run->loaded || !run->planned)
                return NULL;
        for (uint32_t i = 0; i < run->n_tasks; i++) {
                struct task *t = &run->tasks[i];

                if (!t->n_key || t->verb == VERB_CHECK || !streq(task_key(run, t), r->key))
                        continue;
                if (found || t->verb != VERB_CREATE)
                        return NULL;
                found = t;
        }
        return found;
}

bool maker_settled(const struct task *maker)
{
        return !maker || (!maker->attempt && !maker->redo &&
                          (maker->status == TASK_SUCCEEDED || maker->status == TASK_UNCHANGED ||
                           maker->status == TASK_UNDONE));
}

bool resource_is_rest(const struct resource *r)
{
        char outputs[UID_TEXT + 16];

        snprintf(outputs, sizeof(outputs), "{\"op_id\":\"%s\"}", r->op_id);
        return r->workflow && *r->op_id && streq(r->outputs, outputs);
}

bool site_makes(const struct site *s, const struct resource *r, struct buf *ret_spec,
                bool *ret_settled)
{
        struct run *run;
        struct task *maker = site_maker(s, r, &run);
        struct span spec;

        if (!maker)
                return false;
        spec = task_spec(run, maker);
        buf_append(ret_spec, spec.p, spec.n);
        if (ret_settled)
                *ret_settled = maker_settled(maker);
        return true;
}

bool site_shared(const struct site *s, const struct resource *r, const char **ret_run,
                 const char **ret_workflow)
{
        const struct run *run = site_sharer(s, r);

        if (!run)
                return false;
        *ret_run = run->id_text;
        *ret_workflow = run->name;
        return true;
}
