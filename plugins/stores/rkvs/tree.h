/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of the store `rkvs`: what is kept under which key, and what is done inside of one
 * transaction. All functions return 0, a positive errno, or an MDB_* code (negative).
 *
 *      NAME 00 SEGMENT OFFSET      bytes of a segment from that offset on; numbers are big endian,
 *                                  4 and 8 bytes, so that keys sort as the bytes follow each other
 *      NAME 00 0 OFFSET            the same of the snapshot: segments count from 1
 *      01 "epoch"                  of the last writer, 8 bytes, big endian
 *      01 "format"                 1
 *
 * A segment or snapshot that exists has the key of offset 0, if need be with no bytes; its pieces follow
 * each other without gaps. Appends go to the end of a stream's keys, so that one leaf of the tree is
 * written per commit, beside the pages of the bytes themselves.
 */
#ifndef PRVNG_STORE_RKVS_TREE_H
#define PRVNG_STORE_RKVS_TREE_H

#include <lmdb.h>
#include <stdbool.h>
#include <stdint.h>

#define TREE_FORMAT 1

struct tree {
        MDB_txn *txn;
        MDB_dbi dbi;
};

int tree_get_number(struct tree t, const char *name, uint64_t *ret_number); /* 0 if it is absent */
int tree_put_number(struct tree t, const char *name, uint64_t number);

/* The last segment of a stream and how many bytes it has. MDB_NOTFOUND if the stream has none. */
int tree_last(struct tree t, const char *stream, uint32_t *ret_segment, uint64_t *ret_end);

/* Puts bytes at `offset`, which is the end of the segment (or snapshot: 0). */
int tree_put(struct tree t, const char *stream, uint32_t segment, uint64_t offset, const void *data,
             uint64_t n_data);

/* Hands the bytes from `offset` on to `f` piece by piece, until it returns other than 0. MDB_NOTFOUND
 * if there is no such segment. */
typedef int (*tree_piece_f)(void *userdata, const void *data, uint64_t n_data);
int tree_read(struct tree t, const char *stream, uint32_t segment, uint64_t offset, uint64_t end,
              tree_piece_f f, void *userdata);

/* A snapshot that was put in parts may stand at TREE_HALF instead of 0: parts go where the present one
 * is not, and the last one changes over. Where the present one is. */
#define TREE_HALF (UINT64_C(1) << 62)
int tree_snapshot_at(struct tree t, const char *stream, uint64_t *ret_offset);
/* EINVAL if the part before it is not there. */
int tree_put_part(struct tree t, const char *stream, const void *data, uint64_t n_data, uint64_t offset,
                  bool last);

/* Cuts a segment to its first n bytes and puts those anew. EINVAL if it has fewer. */
int tree_rewrite(struct tree t, const char *stream, uint32_t segment, uint64_t n);

/* Removes all pieces from segment `first` to `last`. */
int tree_remove(struct tree t, const char *stream, uint32_t first, uint32_t last);

struct tree_stream {
        char name[65];
        uint32_t first, last; /* 0: no segments, only a snapshot */
        uint64_t bytes;
};

/* The stream that follows s->name in the order of names ("": the first). MDB_NOTFOUND at the end. */
int tree_next(struct tree t, struct tree_stream *s);

#endif
