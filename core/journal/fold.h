/* SPDX-License-Identifier: Apache-2.0 */
/* What state.c and run.c share. Internal to core/journal. */
#ifndef PRVNG_JOURNAL_FOLD_H
#define PRVNG_JOURNAL_FOLD_H

#include "journal/state.h"

struct resource_change {
        struct span workflow, plugin, spec, outputs, builds_on, op_id, run;
        int64_t changed_ms;
};

int inventory_put(struct inventory *inv, struct resource *r, const struct resource_change *c);
struct resource *inventory_entry(struct inventory *inv, struct span key);
/* With all that stands on it. -ENOMEM. */
int inventory_gone(struct inventory *inv, struct span key);

bool run_status_from_span(struct span name, enum run_status *ret);
int set_string(char **target, struct span value); /* "" for an empty span */

#endif
