/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots of the fold, so that what a restart costs grows with what there is and not with what once
 * happened. A snapshot is never truth, only a shortcut: it names the sealed batch that it stands on, and
 * where anything about it does not fit (damaged, of another version, of another chain, ahead of the
 * journal, not there at all) it is passed over and everything is read.
 *
 * A run's snapshot holds what happened to its tasks; its plan is read from its records, which never
 * change. It also holds what the run did to the inventory. The site's holds everything, with, for each
 * run in flight, up to which record of that run the inventory has its changes (settled_seq).
 *
 * docs/journal-format.md says what the bytes are. Whoever changes the fold, so that the same records
 * make another state, or the bytes, raises SNAPSHOT_VERSION; so does each version of the program by
 * itself: after an update everything is read once.
 *
 * What is read behind a snapshot's place is checked as ever. Where that is not as it should be
 * JOURNAL_E_SHORTCUT comes back, and the whole site has to be read again with journal.in_full set,
 * because what the snapshots had brought is part of it by then.
 *
 * Threads: the journal's.
 */
#ifndef PRVNG_JOURNAL_SNAPSHOT_H
#define PRVNG_JOURNAL_SNAPSHOT_H

#include "journal/journal.h"
#include "journal/state.h"

#define SNAPSHOT_VERSION 3u

/* Open a stream for appending and fold it. The site must be empty, the run as the site made it. 0,
 * a condition, -EBADMSG for records that cannot follow each other, -errno. */
int site_open_stream(struct journal *j, struct site *site, struct stream **ret_stream);
int run_open_stream(struct journal *j, struct site *site, struct run *run,
                    struct stream **ret_stream);

/* The same without changing anything. `inventory` may be NULL: a view of one run. */
int site_replay(struct journal *j, struct site *site);
int run_replay(struct journal *j, struct site *inventory, struct run *run);

/* Writes the state as of the last commit; nothing may be pending in any stream. The run must be
 * planned, and the site hold its inventory. Caller keeps the buffer. -ENOMEM, -EIO. */
int snapshot_of_site(const struct stream *s, struct site *site, struct buf *ret);
int snapshot_of_run(const struct stream *s, struct site *site, struct run *run, struct buf *ret);

/* The same bit by bit, so that nobody waits long for the whole. `run` NULL: the site's. From the beginning to
 * the end nothing of what is to be in it may change: else it has to be given up. go_on packs about `n` tasks
 * or resources more; 1: all of it is there, 0: not yet, -ENOMEM, -EIO. */
struct snapshot_making;
int snapshot_begin(const struct stream *s, struct site *site, struct run *run,
                   struct snapshot_making **ret_making);
int snapshot_go_on(struct snapshot_making *m, uint32_t n);
const struct buf *snapshot_bytes(const struct snapshot_making *m);
struct snapshot_making *snapshot_making_free(struct snapshot_making *m);

/* Puts `n` bytes of a snapshot from `from` on into the store; in order, from 0 to its end, which makes it the
 * stream's snapshot. What changes meanwhile does no harm. Other snapshots must wait. As snapshot_put. */
int snapshot_put_part(struct stream *s, const struct buf *snapshot, size_t from, size_t n);

/* Puts it into the store. JOURNAL_E_* with the journal's message: harmless, the old one stays. */
int snapshot_put(struct stream *s, const struct buf *snapshot);

/* The whole state as text, one thing a line, always the same for the same state: for tests that compare
 * what a snapshot brings with what all records bring. They name every member on their own, so that
 * one that a snapshot forgets shows. */
int dump_site(const struct site *site, struct buf *ret);
int dump_run(const struct run *run, struct buf *ret);

#endif
