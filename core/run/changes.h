/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a changed definition changes in a paused run: its tasks compared with those of the plan that the
 * definition makes now, by their ids. Pure.
 */
#ifndef PRVNG_RUN_CHANGES_H
#define PRVNG_RUN_CHANGES_H

#include "base/buf.h"
#include "engine/engine.h"

struct changes {
        /* JSON, elements separated by commas, without brackets: */
        struct buf added, removed; /* ids of tasks */
        struct buf changed;        /* {"task", "difference": [{"path", "from", "to"}]} */
        struct buf kept;           /* {"task", "status"}; started ones, and those that stay the same */
        struct buf run;            /* {"path", "from", "to"}: retry policy, rollback strategy, limits */
        /* What has started and would be changed or removed: this cannot be. */
        uint32_t n_refused;
        struct buf refused;        /* a sentence */
};

#define CHANGES_NULL ((struct changes){0})

/* -ENOMEM. */
int changes_make(const struct run *run, const struct plan *plan, const struct submission *s,
                 struct changes *ret_changes);
void changes_deinit(struct changes *c);

/* Appends "added":[...],"removed":[...],"changed":[...],"kept":[...],"run":[...]. */
void changes_json(const struct changes *c, struct buf *json);

static inline void cleanup_changes(struct changes *c)
{
        changes_deinit(c);
}

#endif
