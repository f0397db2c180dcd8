/* SPDX-License-Identifier: Apache-2.0 */
/* What plans must keep to: nothing is changed that is not claimed, and a plan that takes the place of another
 * one leaves what has started as it is. */
#include "simulate/witness-inside.h"

/* Claims */

/* What servers share may be claimed by several. */
static bool is_exclusive(const char *key, size_t n_key)
{
        return (n_key > 7 && memcmp(key, "server.", 7) == 0) ||
               (n_key > 9 && memcmp(key, "taskserv.", 9) == 0);
}

void w_claims(struct w_run *run, struct span claims)
{
        const char *p = claims.p, *end = p + claims.n, *quote;

        for (; p < end && (p = memchr(p, '"', (size_t)(end - p))); p = quote + 1) {
                struct w_resource *r;

                p++;
                quote = memchr(p, '"', (size_t)(end - p));
                if (!quote)
                        return;
                if (!is_exclusive(p, (size_t)(quote - p)))
                        continue;
                r = w_resource_get(p, (size_t)(quote - p));
                if (r->claim && r->claim != run)
                        violated("claims", "run %s claims %s, which run %s has claimed", run->id, r->key,
                                 r->claim->id);
                r->claim = run;
        }
}

void w_releases(const struct w_run *run)
{
        strmap_foreach (e, &sim->witness->owned) {
                struct w_resource *r = e->value.pointer;

                if (r->claim == run)
                        r->claim = NULL;
        }
}

void w_check_claim(const struct witness_task *t, const char *what)
{
        size_t n = strlen(t->key);

        if (t->verb != W_CHECK && is_exclusive(t->key, n) && w_resource_get(t->key, n)->claim != t->run)
                violated("claims", "%s of %s, and run %s has not claimed %s", what, t->id, t->run->id, t->key);
}

void w_check_alone(struct witness_task *t, const char *what)
{
        struct w_resource *r;

        if (t->verb == W_CHECK || !*t->key)
                return;
        r = w_resource_get(t->key, strlen(t->key));
        if (r->at_work && r->at_work != t && r->at_work->status > W_WAITING && r->at_work->status < W_DONE)
                violated("beside", "%s of %s, while %s is at work on %s", what, t->id, r->at_work->id, t->key);
        r->at_work = t;
}

void w_leaves(struct witness_task *t, struct witness_task *successor)
{
        struct w_resource *r = *t->key ? strmap_get(&sim->witness->owned, t->key) : NULL;

        if (r && r->at_work == t)
                r->at_work = successor;
}

/* What goes because the definition does not name it any more, and what is made anew */

static bool names(const struct w_run *run, const char *server)
{
        char name[64];

        snprintf(name, sizeof(name), "\"%s\"", server);
        return run->definition.n && memmem(run->definition.data, run->definition.n, name, strlen(name));
}

static bool is_pruning(const struct w_run *run, const struct witness_task *t)
{
        return streq(run->operation_ids[t->operation], "(prune)");
}

static bool others_at_work(const struct w_run *run)
{
        for (uint32_t i = 0; i < sim->witness->n_runs; i++) {
                const struct w_run *other = sim->witness->runs[i];

                if (other != run && other->planned && !other->ended &&
                    streq(other->workflow, run->workflow))
                        return true;
        }
        return false;
}

static void check_prune(const struct w_run *run, const struct witness_task *t)
{
        const char *server = startswith(t->key, "server.");
        const struct w_resource *r = w_resource_get(t->key, strlen(t->key));

        if (w_is_join(t) || !is_pruning(run, t))
                return;
        if (!clients_prunes(run->id) || t->verb != W_DELETE || (server && names(run, server)))
                violated("prune-set", "%s of run %s would delete what its definition names, or nobody asked for "
                         "it", t->id, run->id);
        if (r->adopted || (*r->workflow && !streq(r->workflow, run->workflow)))
                violated("prune-set", "%s of run %s would delete what was %s", t->id, run->id,
                         r->adopted ? "adopted" : "made by another workflow");
}

static bool is_deleted_by(const struct w_run *run, const char *key)
{
        for (uint32_t i = 0; i < run->n_tasks; i++)
                if (run->tasks[i]->verb == W_DELETE && streq(run->tasks[i]->key, key))
                        return true;
        return false;
}

void w_planned(struct w_run *run)
{
        for (uint32_t i = 0; i < run->n_tasks; i++)
                check_prune(run, run->tasks[i]);
        if (!clients_prunes(run->id) || !run->definition.n || others_at_work(run))
                return;
        strmap_foreach (e, &sim->witness->owned) {
                const struct w_resource *r = e->value.pointer;
                const char *server = startswith(r->key, "server.");

                if (r->there && server && !r->adopted && streq(r->workflow, run->workflow) &&
                    !names(run, server) && !is_deleted_by(run, r->key))
                        violated("prune-left", "%s is named by no definition of workflow %s any more, and run "
                                 "%s leaves it", r->key, run->workflow, run->id);
        }
}

void w_check_replaced(const struct w_run *run, const struct record *r)
{
        char server[64];

        if (!span_eq(r->reason, "replaced"))
                return;
        snprintf(server, sizeof(server), "%.*s", (int)r->key.n - 7, r->key.p + 7);
        if (!clients_replaces(run->id, server))
                violated("replace-unasked", "run %s would make server %s anew, and nobody asked for it", run->id,
                         server);
}

/* A changed definition */

static bool has_started(const struct witness_task *t)
{
        return !w_is_join(t) &&
               ((t->status != W_WAITING && t->status != W_SKIPPED) || t->redo || t->caused);
}

void w_replans(struct w_run *run)
{
        if (!run->paused || run->rollback || run->halted || run->finished)
                violated("replan", "run %s was replanned, and is not merely paused", run->id);
        for (uint32_t i = 0; i < run->n_tasks; i++)
                if (run->tasks[i]->n_calls)
                        violated("replan", "run %s was replanned while %s is asked", run->id,
                                 run->tasks[i]->id);
        run->replaced = steal(&run->tasks);
        run->n_replaced = run->n_tasks;
        w_plan_forget(run);
        run->planned = false;
}

static void drop(struct w_run *run, struct witness_task *t)
{
        struct strmap_entry *e;

        if (has_started(t) && !t->unchanged)
                violated("replan-lost", "%s of run %s has started, and the new plan has it no more", t->id,
                         run->id);
        if (!strmap_find(&run->dropped, t->id, strlen(t->id))) {
                run->dropped_ids = realloc(run->dropped_ids, (run->n_dropped + 1) * sizeof(char *));
                run->dropped_ids[run->n_dropped] = strdup(t->id);
                e = strmap_add(&run->dropped, run->dropped_ids[run->n_dropped], strlen(t->id));
                e->value.pointer = run->dropped_ids[run->n_dropped++];
        }
}

static bool makes(enum w_verb verb)
{
        return verb == W_CREATE || verb == W_UPDATE;
}

/* The new one goes on where the old one was: with its op id, its attempts, and what it changed. */
static void carry(struct witness_task *new, struct witness_task *old)
{
        struct witness_task was = *old;

        if (!streq(new->key, old->key) ||
            (makes(old->verb) ? !makes(new->verb) : old->verb != new->verb))
                violated("replan-changed", "%s of run %s has started, and the new plan changes it", old->id,
                         old->run->id);
        old->status = W_WAITING;
        old->begun = false;
        w_occupy(old);
        old->took = NULL;
        new->verb = was.verb;
        new->status = was.status;
        new->begun = was.begun;
        new->acted = was.acted;
        new->left = was.left;
        new->redo = was.redo;
        new->foreign = was.foreign;
        new->kept = was.kept;
        new->caused = was.caused;
        new->unchanged = was.unchanged;
        new->checkpoint = was.checkpoint;
        new->request = was.request;
        new->made = was.made;
        new->since = was.since;
        new->took = was.took;
        new->n_took = was.n_took;
        w_occupy(new);
}

void w_replanned(struct w_run *run)
{
        for (uint32_t i = 0; run->replaced && i < run->n_tasks; i++)
                w_check_claim(run->tasks[i], "the new plan");
        for (uint32_t i = 0; i < run->n_replaced; i++) {
                struct witness_task *old = run->replaced[i], *new = strmap_get(&run->by_id, old->id);

                if (!new)
                        drop(run, old);
                else if (has_started(old))
                        carry(new, old);
                w_leaves(old, new);
                old->replaced = true;
                old->successor = new;
        }
        strmap_foreach (e, &sim->witness->requests) {
                struct w_request *q = e->value.pointer;

                if (q->task && q->task->replaced)
                        q->task = q->task->successor;
        }
        for (uint32_t i = 0; i < run->n_replaced; i++)
                w_task_free(run->replaced[i]);
        free(steal(&run->replaced));
        run->n_replaced = 0;
}
