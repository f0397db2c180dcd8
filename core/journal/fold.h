/* SPDX-License-Identifier: Apache-2.0 */
/* What state.c and run.c share. Internal to core/journal. */
#ifndef PRVNG_JOURNAL_FOLD_H
#define PRVNG_JOURNAL_FOLD_H

#include "journal/state.h"

struct resource_change {
        struct span workflow, plugin, spec, outputs, builds_on, op_id, run;
        int64_t changed_ms;
};

/* The resource becomes that, without a look at what stands on what. */
int resource_set(struct inventory *inv, struct resource *r, const struct resource_change *c);
int inventory_put(struct inventory *inv, struct resource *r, const struct resource_change *c);
struct resource *inventory_entry(struct inventory *inv, struct span key);
/* With all that stands on it. -ENOMEM. */
int inventory_gone(struct inventory *inv, struct span key);

/* Adds to the end of the run's claims, where *last points; -EBADMSG if another run has it. */
int claim(struct site *s, struct run *run, struct span key, struct resource ***last);
int add_run(struct site *s, struct run *run);

/* share.c */
/* Adds to what the run shares; once is enough. -ENOMEM. */
int share_add(struct run *run, struct resource *r);
/* A JSON array of keys; what nobody claims any more it claims. */
int apply_shares(struct site *s, struct run *run, struct span list);
void release_shares(struct site *s, struct run *run);
/* Nobody claims it any more: the first run that shares it, in the order of acceptance, does from now on. */
void hand_over(struct site *s, struct resource *r);
/* A resource that neither exists nor is claimed, and that nothing stands on, has no entry. */
void inventory_tidy(struct inventory *inv, struct resource *r);

bool run_status_from_span(struct span name, enum run_status *ret);
int set_string(char **target, struct span value); /* "" for an empty span */

enum { VERB_CREATE, VERB_UPDATE, VERB_DELETE, VERB_CHECK, VERB_JOIN }; /* as enum plan_verb */

/* An edge of run->deps and run->next whose target needs only have ended, not succeeded. */
#define SOFT (UINT32_C(1) << 31)

/* Room for one more element in an array of the run. */
#define GROW(array, n, cap)                                                                        \
        ({                                                                                         \
                int q_ = 0;                                                                        \
                if ((n) == (cap)) {                                                                \
                        uint32_t c_ = (cap) ? (cap) * 2 : 16;                                      \
                        void *p_ = realloc((array), c_ * sizeof(*(array)));                        \
                        if (p_) {                                                                  \
                                (array) = p_;                                                      \
                                (cap) = c_;                                                        \
                        } else {                                                                   \
                                q_ = error_origin(-ENOMEM);                                        \
                        }                                                                          \
                }                                                                                  \
                q_;                                                                                \
        })

/* run-plan.c */
int run_add_bytes(struct run *run, const void *data, size_t n);
int run_add_text(struct run *run, struct span s, uint32_t *ret_offset); /* with a NUL */
int find_verb(struct span name, uint8_t *ret);
int apply_to_plan(struct run *run, const struct record *r);

/* run.c */
int note_get(struct run *run, struct task *t, struct task_note **ret_note);
/* Back to how a run starts: no attempts, notes, checkpoints, queues. */
void forget_progress(struct run *run);

/* run-doc.c */
struct doc_part {
        uint32_t whole;      /* the document kept whole that it is most like */
        uint16_t start, end; /* bytes in common with it there */
        struct span rest;    /* what stands between; in run->doc */
};
int doc_split(struct run *run, struct span key, struct span doc, struct doc_part *ret_part);
int doc_add(struct run *run, const struct doc_part *part); /* behind the task's other texts */

/* run-graph.c */
void set_status(struct run *run, struct task *t, enum task_status status);
int enqueue(struct run *run, uint32_t number);
int settle(struct run *run, uint32_t number);
void count_ended(struct run *run, const struct task *t); /* in its operation */
static inline bool task_status_good(enum task_status s)
{
        return s == TASK_SUCCEEDED || s == TASK_UNCHANGED;
}

/* run-rollback.c */
int apply_rollback(struct run *run, const struct record *r);
int apply_unwind(struct run *run, const struct record *r);
int apply_rerun(struct run *run, const struct record *r);
int settle_undo(struct run *run, uint32_t number);
int start_ready(struct run *run); /* what waits for nothing, when a plan starts */
int build_prev(struct run *run);
void free_prev(struct run *run);
int plan_again(struct run *run); /* counters and queues, from what has ended */

/* run-replan.c */
int apply_replan(struct run *run, const struct record *r);
int carry_over(struct run *run);
void free_replaced(struct run *run);

/* run.c */
void free_attempt(struct run *run, struct task *t);
void free_plan(struct run *run); /* without text and tasks */

/* run-inventory.c */
#define BUILDS_ON_MAX 2048
size_t builds_on_of(const struct run *run, const struct task *t, char *ret, size_t n_ret);
int change_inventory(struct run *run, struct site *site, struct task *t, const struct record *r);
int left_behind(struct run *run, struct site *site, struct task *t, const struct record *r);
int undo_inventory(struct run *run, struct site *site, struct task *t, const struct record *r);

#endif
