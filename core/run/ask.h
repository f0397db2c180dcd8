/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to providers that change nothing and belong to no run: what is there under an id (adoption), and
 * whether what a plan wants can be had (prechecks). A command asks them in its own process, beside an
 * engine; the calls pass the rate limit of that process only.
 */
#ifndef PRVNG_RUN_ASK_H
#define PRVNG_RUN_ASK_H

#include "plan/plan.h"
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

#endif
