/* SPDX-License-Identifier: Apache-2.0 */
/* A site for tests of the plan: plugins that only declare, an inventory, definitions as JSON. */
#ifndef PRVNG_PLAN_TEST_SITE_H
#define PRVNG_PLAN_TEST_SITE_H

#include "plan/plan.h"

struct site {
        struct config config;
        struct plugin list[32];
        struct plugins plugins;
        struct inventory inventory;
        struct resource resources[64];
        size_t n_resources;
        struct problems problems;
        const char *const *only;
        struct document *document;
        struct definition *definition;
        struct plan *plan;
        char *shown; /* last text given out */
};

struct site *site_new(void);
struct site *site_free(struct site *s);
struct plugin *site_plugin(struct site *s, const char *kind, const char *name,
                           const char *dependencies);
struct resource *site_resource(struct site *s, const char *key, const char *workflow,
                               const char *plugin, const char *spec);
/* The definition: single quotes stand for double quotes. Asserts that it is valid in itself. Each
 * value stands on a line of its own, counted from 1 in the order of the text. */
void site_define(struct site *s, const char *text);
/* Makes the plan; it must be without problems. */
struct plan *site_plan(struct site *s, const char *text);
/* Makes the plan; all problems as lines "path: message", "" if there are none. */
const char *site_problems(struct site *s, const char *text);

const struct plan_task *task_by_id(const struct plan *p, const char *id);
/* Does the task wait for the other, over any number of joins and tasks? */
bool task_after(const struct plan *p, const char *id, const char *other);
/* All task ids in order, joins left out, separated by spaces. Valid until the next call. */
const char *site_order(struct site *s);
const char *site_json(struct site *s);

static inline void cleanup_site(struct site **s)
{
        site_free(*s);
}

#endif
