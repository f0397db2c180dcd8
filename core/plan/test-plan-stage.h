/* SPDX-License-Identifier: Apache-2.0 */
/* A site for tests of the plan: plugins that only declare, an inventory, definitions as JSON. */
#ifndef PRVNG_PLAN_TEST_STAGE_H
#define PRVNG_PLAN_TEST_STAGE_H

#include "plan/plan.h"

#define HAS(text, part) cr_assert_not_null(strstr((text), (part)), "no \"%s\" in: %s", part, text)
#define LACKS(text, part) cr_assert_null(strstr((text), (part)), "\"%s\" is in: %s", part, text)

struct stage {
        struct config config;
        struct plugin list[32];
        struct config_plugin dropins[32]; /* of the plugins, one each */
        struct plugins plugins;
        struct inventory inventory;
        struct resource *resources[64];
        size_t n_resources;
        struct problems problems;
        const char *const *only, *const *replace;
        bool prune;
        const struct site *runs; /* in flight; or NULL */
        struct document *document;
        struct definition *definition;
        struct plan *plan;
        char *shown; /* last text given out */
};

struct stage *stage_new(void);
struct stage *stage_free(struct stage *s);
struct plugin *stage_plugin(struct stage *s, const char *kind, const char *name,
                           const char *dependencies);
struct resource *stage_resource(struct stage *s, const char *key, const char *workflow,
                               const char *plugin, const char *spec);
/* The definition: single quotes stand for double quotes. Asserts that it is valid in itself. Each
 * value stands on a line of its own, counted from 1 in the order of the text. */
void stage_define(struct stage *s, const char *text);
/* Makes the plan; it must be without problems. */
struct plan *stage_plan(struct stage *s, const char *text);
/* Makes the plan; all problems as lines "path: message", "" if there are none. */
const char *stage_problems(struct stage *s, const char *text);

/* For plans without a definition. Valid until the next call. */
const struct plan_request *stage_request(struct stage *s);

const struct plan_task *task_by_id(const struct plan *p, const char *id);
/* Does the task wait for the other, over any number of joins and tasks? */
bool task_after(const struct plan *p, const char *id, const char *other);
/* All task ids in order, joins left out, separated by spaces. Valid until the next call. */
const char *stage_order(struct stage *s);
const char *stage_json(struct stage *s);

/* Of the task with that id, which must be there. */
const char *verb_of(const struct plan *p, const char *id);
uint32_t count_verb(const struct plan *p, enum plan_verb verb);
/* Does one of the plan's notices say so? */
bool noticed(const struct plan *p, const char *part);

static inline void cleanup_stage(struct stage **s)
{
        stage_free(*s);
}

#endif
