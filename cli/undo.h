/* SPDX-License-Identifier: Apache-2.0 */
/* What a rollback does, did and left, in numbers and words. Pure. */
#ifndef PRVNG_CLI_UNDO_H
#define PRVNG_CLI_UNDO_H

#include "output.h"
#include "journal/state.h"

struct undo_count {
        uint32_t total; /* of a rollback under way: what it undoes and has undone */
        uint32_t undone, failed;
};

void undo_count(const struct run *run, struct undo_count *ret);

/* After a rollback that ended: the task's effect is still there, though it was to be undone. */
bool undo_left(const struct run *run, uint32_t task);

/* How a task is undone: "delete", "restore the former state", "create again". */
const char *undo_words(const struct task *t);

/* "checkpoint 1 after 5 operations, 14:03:11" for each, on a line of its own. */
void undo_checkpoints(const struct run *run, struct buf *out);

/* The task whose failure made the run roll back; TASK_NONE: somebody asked for it. */
uint32_t undo_cause(const struct run *run);

/* Why the run is or was rolled back, on one line: "servers/web-0 failed: no such image", "asked for by
 * ann@host"; nothing if it was not. */
void undo_reason(const struct run *run, struct buf *out);

#endif
