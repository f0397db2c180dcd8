/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to providers that change nothing and belong to no run: what is there under an id (adoption), and
 * whether what a plan wants can be had (prechecks). Where an engine runs, it makes the calls (api-ask.c), with
 * its credentials and under its limits; else the command does in its own process.
 */
#ifndef PRVNG_RUN_ASK_H
#define PRVNG_RUN_ASK_H

#include "plan/plan.h"
#include "plugin/border.h"
#include "run/site.h"

/*
 * Asks the provider for one thing of a kind: *ret_found is {"key", "plugin", "kind", "name", "spec",
 * "outputs"} as POST /resources/adopt takes it, with `as` (may be NULL) for its name. 0; -ENOENT: there is
 * none, or several, or it could not be asked, *ret_message (caller frees) says what; -ENOMEM.
 */
int ask_find(const struct context *c, const char *provider, const char *kind, const char *id,
             const char *as, json_t **ret_found, char **ret_message);

/*
 * Asks each provider that has tasks in the plan about them: {"problems": [{"provider", "resource"?, "field"?,
 * "message"}], "notices": [...], "silent": [{"provider", "message"}]}. A provider without prechecks is named
 * in a notice; one that could not be asked is silent, unless it refused the credentials: that is a problem.
 * -ENOMEM.
 */
int ask_precheck(const struct context *c, const struct inventory *inventory, const struct plan *plan,
                 json_t **ret_said);

/*
 * The steps of these, for who makes the calls himself.
 */
#define ASK_MS 120000 /* for a provider's answer */

/* The provider, if it can be asked; NULL with *ret_message (NULL: out of memory). */
struct plugin *ask_find_provider(const struct context *c, const char *provider, char **ret_message);
/* What it said; as ask_find(). */
int ask_found(const char *provider, const char *kind, const char *id, const char *as,
              const struct op_reply *reply, json_t **ret_found, char **ret_message);

/* What came out of prechecks so far. */
struct prechecks {
        json_t *problems, *notices, *silent;
};
int prechecks_init(struct prechecks *p);
void prechecks_deinit(struct prechecks *p);
/* The tasks that the plan has in a lane, as check() of prvng/ext/precheck.h takes them, and an array of their
 * resources. *ret_plugin is NULL if nobody is to be asked: a notice may say why. -ENOMEM. */
int prechecks_question(struct prechecks *p, const struct context *c, const struct inventory *inventory,
                       const struct plan *plan, uint32_t lane, struct plugin **ret_plugin,
                       struct buf *ret_tasks, json_t **ret_resources);
/* The answer; `reply` NULL: there was none in time. -ENOMEM. */
int prechecks_take(struct prechecks *p, const struct plugin *plugin, const json_t *resources,
                   const struct op_reply *reply);
/* As ask_precheck() says it. NULL: out of memory. */
json_t *prechecks_said(const struct prechecks *p);

#endif
