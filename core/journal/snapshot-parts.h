/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of snapshots share. Internal to core/journal. */
#ifndef PRVNG_JOURNAL_SNAPSHOT_PARTS_H
#define PRVNG_JOURNAL_SNAPSHOT_PARTS_H

#include "journal/fold.h"
#include "journal/pack.h"

/*
 * Every member of these structs that is part of the fold must be in snapshot-site.c or snapshot-run.c
 * and in dump.c. If one of these assertions fails you have added or changed a member: see to it there,
 * raise SNAPSHOT_VERSION if the bytes change, then write the new size here.
 */
#if defined(__LP64__)
static_assert(sizeof(struct site) == 680, "struct site changed: see above");
static_assert(sizeof(struct run) == 584, "struct run changed: see above");
static_assert(sizeof(struct task) == 64, "struct task changed: see above");
static_assert(sizeof(struct attempt) == 80, "struct attempt changed: see above");
static_assert(sizeof(struct task_note) == 56, "struct task_note changed: see above");
static_assert(sizeof(struct operation) == 28, "struct operation changed: see above");
static_assert(sizeof(struct lane) == 40, "struct lane changed: see above");
static_assert(sizeof(struct checkpoint) == 24, "struct checkpoint changed: see above");
static_assert(sizeof(struct resource) == 120, "struct resource changed: see above");
static_assert(sizeof(struct inventory) == 544, "struct inventory changed: see above");
static_assert(sizeof(struct whole_doc) == 12, "struct whole_doc changed: see above");
static_assert(N_RUN_STATUSES == 9 && N_TASK_STATUSES == 14, "statuses changed: see above");
#endif

/* What the engine may still start of a lane's queue, each task once: where it was queued last. What was
 * taken from the queue and has no intent is among it. Caller frees the list. -ENOMEM. */
int startable_tasks(const struct run *run, const struct lane *lane, uint32_t **ret_list,
                    uint32_t *ret_n);

/* How far the packing of a state has come; zeros: nothing yet. The state must not change meanwhile. */
struct packing {
        unsigned phase;
        size_t at;                     /* in it */
        const struct resource *before; /* that was packed last */
};

/* Packs about so many tasks or resources more. True: all of it is packed. */
bool pack_site(struct buf *b, const struct site *site, struct packing *p, uint32_t n);
int unpack_site(struct unpack *u, struct site *site);
bool pack_run(struct buf *b, struct site *site, struct run *run, struct packing *p, uint32_t n);
/* `site` may be NULL: then the inventory is passed over. `at_seq`: of the last record that it stands for. */
int unpack_run(struct unpack *u, struct site *site, struct run *run, uint64_t at_seq);

#endif
