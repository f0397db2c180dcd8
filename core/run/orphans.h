/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orphans: what carries this site's marks at a provider, and belongs to nothing that the journal knows.
 *
 * The providers are asked first, the journal is read afterwards: whatever is there by then was made by a
 * request whose intent was durable before (promise 1), so that a run at work has no orphans. Both are only
 * looked at. Where an engine runs, it makes the calls (api-search.c), so that its limits hold.
 */
#ifndef PRVNG_RUN_ORPHANS_H
#define PRVNG_RUN_ORPHANS_H

#include "plugin/border.h"
#include "run/site.h"

#define ORPHANS_LIST_MS 60000 /* for a provider's answer */
#define ORPHANS_NOBODY "orphans" /* the workflow that owns what carries no name of one, once it is adopted */

/*
 * Asks all providers of the context for what carries the marks of `site`: {"listed": [{"plugin", "kind",
 * "name", "op_id", "workflow", "identity"}], "silent": [{"plugin", "reason"}]}. A provider that cannot
 * list is named in "silent". -ENOMEM.
 */
int orphans_list(const struct context *c, const char *site, json_t **ret_listed);

/* The steps of that, for who makes the calls himself. Is it a provider that can be asked? One that is not
 * ready is named in `silent`. */
bool orphans_may_ask(const struct plugin *plugin, json_t *silent);
void orphans_take(const struct plugin *plugin, const struct op_reply *reply, json_t *listed, json_t *silent);
void orphans_silent(json_t *silent, const char *plugin, const char *reason);

/*
 * The orphans among what was listed, each with its "key" for the inventory added: {"orphans": [...],
 * "unclear": [...]}. Unclear: several things of a name, of which the inventory has one, and it cannot be told
 * which. The site is read after the listing, with the runs in flight. -ENOMEM.
 */
int orphans_find(const struct site *site, const json_t *listed, json_t **ret_found);

#endif
