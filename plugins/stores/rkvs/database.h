/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The LMDB environment of the store `rkvs`: made, opened, made larger, committed to. All functions that
 * return an int return 0, a positive errno, an MDB_* code, or -EAGAIN: another engine has taken over.
 *
 * The map (address space, not room on the disk) starts small and is doubled ahead of what needs more.
 * The file is zero-filled ahead of its end, as the store `file` does and for the same reason: a sync
 * is cheaper where blocks are there already.
 */
#ifndef PRVNG_STORE_RKVS_DATABASE_H
#define PRVNG_STORE_RKVS_DATABASE_H

#include "tree.h"

#include <stdbool.h>

struct database {
        int folder;   /* LOCATION; borrowed */
        MDB_env *env; /* NULL: closed, or read only and nothing was written yet */
        MDB_dbi dbi;
        uint64_t epoch;    /* the own one, or of the last writer */
        uint64_t reserved; /* bytes of the file that have blocks */
};

/* What is done inside of a transaction. */
struct change {
        int (*apply)(struct tree t, const struct change *c);
        const char *stream;
        uint32_t segment;
        const void *data;
        uint64_t n_data;
        uint64_t offset; /* of a part */
        bool last;
};

/* Opens the database in the folder db->folder, whose path is `location`. `writing` makes it where there
 * is none and takes the next epoch, durably; the caller holds the lock. After a failure too,
 * database_close is called. */
int database_open(struct database *db, const char *location, bool writing);

/* `tidy`: gives back the room ahead; only after writing without a failure. */
void database_close(struct database *db, bool tidy);

/* One transaction that changes something, durable on return. Fails with -EAGAIN if the epoch in the
 * database is another one. */
int database_commit(struct database *db, const struct change *c);

/* Begins a transaction that reads: to be ended soon by mdb_txn_abort, because pages are used again only
 * when no reader is left that could see them. */
int database_read(struct database *db, struct tree *ret_tree);

#endif
