/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of stores share: folders, known bytes, children that are killed. */
#ifndef PRVNG_TEST_STORES_SUPPORT_H
#define PRVNG_TEST_STORES_SUPPORT_H

#include "faults.h"
#include "store.h"

#include <criterion/criterion.h>
#include <sys/types.h>

/* The folder of this test: made before it, removed behind it. */
extern char folder[64];
void folder_make(void);
void folder_remove(void);

/* A new folder below it, NAME or NAME-NUMBER; the caller frees. */
char *folder_new(const char *name);
char *folder_new_number(const char *name, unsigned number);

/* Appends batch number i: known bytes, 1 to 70,000 of them, no NUL. */
void batch_add(struct buf *b, unsigned i);

/* n bytes that follow from `seed`. */
void bytes_add(struct buf *b, unsigned seed, size_t n);

/* Asserts that a call answered DONE, and that it was refused with `class` and that text in the message. */
#define ok(s, call)                                                                                \
        do {                                                                                       \
                int32_t ok_ = (call);                                                              \
                cr_assert_eq(ok_, PRVNG_DONE, "%s: %d: %s", #call, ok_, (s)->message);             \
        } while (0)
#define refused(s, class, text, call)                                                              \
        do {                                                                                       \
                int32_t refused_ = (call);                                                         \
                cr_assert_eq(refused_, class, "%s: %d: %s", #call, refused_, (s)->message);        \
                cr_assert(strstr((s)->message, text), "%s: %s", #call, (s)->message);              \
        } while (0)

/* Asserts that a segment, or a snapshot, holds exactly that. */
void holds(struct store *s, const char *stream, uint32_t segment, const struct buf *want);
void holds_snapshot(struct store *s, const char *stream, const struct buf *want);

/* Asserts S2: `got` begins with `sure`, behind which stands any part of `maybe`, in which bytes may be
 * NUL. */
void torn(const struct buf *got, const struct buf *sure, const struct buf *maybe);

/* In children, where Criterion is not: says so and ends the child with 99. */
#define must(truth)                                                                                \
        do {                                                                                       \
                if (!(truth)) {                                                                    \
                        fprintf(stderr, "child, line %d: %s\n", __LINE__, #truth);                 \
                        _exit(99);                                                                 \
                }                                                                                  \
        } while (0)

/* A child with a pipe from it and one to it. 0 in the child, whose ends are the same members. */
struct child {
        pid_t pid;
        int from, to;
};
bool child_start(struct child *c); /* true in the child */
void child_tell(const struct child *c, uint32_t number);
bool child_hear(const struct child *c, uint32_t *ret_number); /* false: the other side is gone */
int child_end(struct child *c); /* its exit code, or -signal; closes the pipes */

#endif
