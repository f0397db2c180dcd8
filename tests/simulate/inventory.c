/* SPDX-License-Identifier: Apache-2.0 */
/* The inventory, as the witness knows it. */
#include "simulate/witness-inside.h"

struct w_resource *w_resource_get(const char *key, size_t n_key)
{
        struct strmap_entry *e = strmap_find(&sim->witness->owned, key, n_key);
        struct w_resource *r;

        if (e)
                return e->value.pointer;
        r = calloc(1, sizeof(*r));
        r->key = strndup(key, n_key);
        strmap_add(&sim->witness->owned, r->key, n_key)->value.pointer = r;
        return r;
}

static uint64_t id_in(struct span outputs)
{
        const char *p = outputs.n ? memmem(outputs.p, outputs.n, "\"id\":", 5) : NULL;

        return p ? strtoull(p + 5, NULL, 10) : 0;
}

static bool stands_on(const struct w_resource *r, const char *key)
{
        const char *server = startswith(key, "server."), *at = strchr(r->key, '@');

        return server && at && streq(at + 1, server) && startswith(r->key, "taskserv.");
}

void w_gone(const char *key)
{
        w_resource_get(key, strlen(key))->there = false;
        strmap_foreach (e, &sim->witness->owned) {
                struct w_resource *r = e->value.pointer;

                if (stands_on(r, key))
                        r->there = false;
        }
}

bool w_is_there(const char *key)
{
        return w_resource_get(key, strlen(key))->there;
}

static bool has_task_for(const struct w_run *run, const char *key)
{
        for (uint32_t i = 0; i < run->n_tasks; i++)
                if (run->tasks[i]->verb != W_CHECK && streq(run->tasks[i]->key, key))
                        return true;
        return false;
}

void w_takes(struct witness_task *t)
{
        strmap_foreach (e, &sim->witness->owned) {
                struct w_resource *r = e->value.pointer;

                if (!r->there || !stands_on(r, t->key) || has_task_for(t->run, r->key))
                        continue;
                t->took = realloc(t->took, (t->n_took + 1) * sizeof(*t->took));
                t->took[t->n_took++] = r;
        }
}

void w_changed(struct witness_task *t, struct span outputs)
{
        struct w_resource *r;

        if (t->verb == W_CHECK)
                return;
        if (t->verb == W_DELETE) {
                w_takes(t);
                w_gone(t->key);
                return;
        }
        r = w_resource_get(t->key, strlen(t->key));
        r->object = id_in(outputs);
        if (!r->there) {
                memcpy(r->workflow, t->run->workflow, sizeof(r->workflow));
                r->adopted = false;
        }
        r->there = true;
}

void w_restored(const struct witness_task *t, struct span outputs)
{
        struct w_resource *r = w_resource_get(t->key, strlen(t->key));

        r->object = id_in(outputs);
        r->there = true;
}

bool witness_owns(const char *key, uint64_t object)
{
        const struct w_resource *r = strmap_get(&sim->witness->owned, key);

        return r && r->there && (!object || r->object == object);
}

/* Somebody took it into the inventory; no run made it. */
void w_adopted(const struct record *r)
{
        struct w_resource *w = w_resource_get(r->key.p, r->key.n);

        if (w->there || w->claim)
                violated("adopted", "%s is adopted, and %s", w->key,
                         w->there ? "the inventory has one of that name" : "a run in flight claims it");
        w->there = w->adopted = true;
        w->object = id_in(r->outputs);
        snprintf(w->workflow, sizeof(w->workflow), "%.*s", (int)r->workflow.n, r->workflow.p);
}
