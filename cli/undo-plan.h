/* SPDX-License-Identifier: Apache-2.0 */
/* What a rollback would do: the dry run of `prvng batch rollback`, from the journal alone. */
#ifndef PRVNG_CLI_UNDO_PLAN_H
#define PRVNG_CLI_UNDO_PLAN_H

#include "base/json.h"
#include "journal/state.h"

/*
 * {"id", "name", "status", "to", "tasks": [{"task", "resource", "verb", "step", "possible", "reason",
 * "difference"}], "cannot": [names of resources], "point_of_no_return": NAME or null, "checkpoints":
 * [{"checkpoint", "operations", "at"}], "blocked_by": {"resource", "run", "workflow"} or null}.
 *
 * Tasks stand in the order of their undos; those of one step are undone at the same time. The caller
 * owns it. NULL: out of memory.
 */
json_t *undo_plan(const struct site *site, const struct run *run, uint32_t checkpoint);

/* The same for people. */
void undo_plan_text(const json_t *plan, bool color, struct buf *out);

#endif
