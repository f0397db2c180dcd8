/* SPDX-License-Identifier: Apache-2.0 */
#include "tree.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NUMBERS 12 /* bytes of segment and offset in a key */
#define KEY_MAX (64 + 1 + NUMBERS)

/* A piece at most: values of the tree may be large, but need pages that follow each other. */
#define PIECE (1u << 20)

struct key {
        MDB_val val;
        uint8_t bytes[KEY_MAX];
};

static void make_key(struct key *k, const char *stream, uint32_t segment, uint64_t offset)
{
        size_t n = strlen(stream) + 1;
        uint32_t s = htobe32(segment);
        uint64_t o = htobe64(offset);

        memcpy(k->bytes, stream, n);
        memcpy(k->bytes + n, &s, sizeof(s));
        memcpy(k->bytes + n + sizeof(s), &o, sizeof(o));
        k->val = (MDB_val){.mv_size = n + NUMBERS, .mv_data = k->bytes};
}

/* Is that a key of this stream? Then its numbers. */
static bool read_key(const MDB_val *val, const char *stream, uint32_t *ret_segment,
                     uint64_t *ret_offset)
{
        const uint8_t *p = val->mv_data;
        size_t n = strlen(stream) + 1;
        uint64_t offset;
        uint32_t segment;

        if (val->mv_size != n + NUMBERS || memcmp(p, stream, n) != 0)
                return false;
        memcpy(&segment, p + n, sizeof(segment));
        memcpy(&offset, p + n + sizeof(segment), sizeof(offset));
        *ret_segment = be32toh(segment);
        *ret_offset = be64toh(offset);
        return true;
}

/* Numbers */

static MDB_val number_key(const char *name, char bytes[16])
{
        size_t n = strlen(name);

        bytes[0] = 1;
        memcpy(bytes + 1, name, n);
        return (MDB_val){.mv_size = n + 1, .mv_data = bytes};
}

int tree_get_number(struct tree t, const char *name, uint64_t *ret_number)
{
        char bytes[16];
        MDB_val key = number_key(name, bytes), value;
        uint64_t number = 0;
        int r = mdb_get(t.txn, t.dbi, &key, &value);

        if (r && r != MDB_NOTFOUND)
                return r;
        if (r == 0 && value.mv_size != sizeof(number))
                return MDB_CORRUPTED;
        if (r == 0)
                memcpy(&number, value.mv_data, sizeof(number));
        *ret_number = be64toh(number);
        return 0;
}

int tree_put_number(struct tree t, const char *name, uint64_t number)
{
        char bytes[16];
        MDB_val key = number_key(name, bytes);
        uint64_t big = htobe64(number);

        return mdb_put(t.txn, t.dbi, &key, &(MDB_val){.mv_size = sizeof(big), .mv_data = &big}, 0);
}

/* Pieces */

/* Goes to the last key below (stream, segment, offset). */
static int seek_before(MDB_cursor *cursor, const char *stream, uint32_t segment, uint64_t offset,
                       MDB_val *ret_key, MDB_val *ret_value)
{
        struct key k;
        int r;

        make_key(&k, stream, segment, offset);
        r = mdb_cursor_get(cursor, &k.val, ret_value, MDB_SET_RANGE);
        if (r && r != MDB_NOTFOUND)
                return r;
        return mdb_cursor_get(cursor, ret_key, ret_value, r ? MDB_LAST : MDB_PREV);
}

static int last_piece(MDB_cursor *cursor, const char *stream, uint32_t *ret_segment,
                      uint64_t *ret_end)
{
        MDB_val key, value;
        uint64_t offset;
        int r = seek_before(cursor, stream, UINT32_MAX, UINT64_MAX, &key, &value);

        if (r)
                return r;
        if (!read_key(&key, stream, ret_segment, &offset) || *ret_segment == 0)
                return MDB_NOTFOUND;
        *ret_end = offset + value.mv_size;
        return 0;
}

int tree_last(struct tree t, const char *stream, uint32_t *ret_segment, uint64_t *ret_end)
{
        MDB_cursor *cursor;
        int r = mdb_cursor_open(t.txn, t.dbi, &cursor);

        if (r)
                return r;
        r = last_piece(cursor, stream, ret_segment, ret_end);
        mdb_cursor_close(cursor);
        return r;
}

int tree_put(struct tree t, const char *stream, uint32_t segment, uint64_t offset, const void *data,
             uint64_t n_data)
{
        const char *p = data;
        int r;

        do {
                uint64_t n = n_data < PIECE ? n_data : PIECE;
                MDB_val value = {.mv_size = n, .mv_data = (void *)(uintptr_t)p};
                struct key k;

                make_key(&k, stream, segment, offset);
                r = mdb_put(t.txn, t.dbi, &k.val, &value, 0);
                p += n;
                offset += n;
                n_data -= n;
        } while (r == 0 && n_data > 0);
        return r;
}

static int read_pieces(MDB_cursor *cursor, const char *stream, uint32_t segment, uint64_t offset,
                       uint64_t end, tree_piece_f f, void *userdata)
{
        MDB_val key, value;
        uint64_t at;
        uint32_t in;
        int r;

        /* the piece that holds the byte, or the one behind which it would be */
        if (offset == UINT64_MAX)
                offset--;
        r = seek_before(cursor, stream, segment, offset + 1, &key, &value);
        if (r == 0 && (!read_key(&key, stream, &in, &at) || in != segment))
                r = MDB_NOTFOUND;
        while (r == 0 && at < end) {
                uint64_t skip = offset > at ? offset - at : 0;

                if (skip < value.mv_size)
                        r = f(userdata, (const char *)value.mv_data + skip, value.mv_size - skip);
                r = r ? r : mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
                if (r == MDB_NOTFOUND ||
                    (r == 0 && (!read_key(&key, stream, &in, &at) || in != segment)))
                        return 0;
        }
        return r;
}

int tree_read(struct tree t, const char *stream, uint32_t segment, uint64_t offset, uint64_t end,
              tree_piece_f f, void *userdata)
{
        MDB_cursor *cursor;
        int r = mdb_cursor_open(t.txn, t.dbi, &cursor);

        if (r)
                return r;
        r = read_pieces(cursor, stream, segment, offset, end, f, userdata);
        mdb_cursor_close(cursor);
        return r;
}

/* Removes the keys from (stream, segment, offset) to (stream, last, end), that one too. */
static int remove_from(struct tree t, const char *stream, uint32_t segment, uint64_t offset,
                       uint32_t last, uint64_t end)
{
        MDB_cursor *cursor = NULL;
        MDB_val value;
        int r = mdb_cursor_open(t.txn, t.dbi, &cursor);

        while (r == 0) {
                struct key k;

                make_key(&k, stream, segment, offset);
                r = mdb_cursor_get(cursor, &k.val, &value, MDB_SET_RANGE);
                if (r || !read_key(&k.val, stream, &segment, &offset) || segment > last ||
                    (segment == last && offset > end))
                        break;
                r = mdb_cursor_del(cursor, 0);
        }
        if (cursor)
                mdb_cursor_close(cursor);
        return r == MDB_NOTFOUND ? 0 : r;
}

/* The piece at `at`, cut to `max` bytes, is put once more: to other pages. */
static int put_again(struct tree t, const char *stream, uint32_t segment, uint64_t at, uint64_t max,
                     char copy[PIECE], uint64_t *ret_n)
{
        MDB_val value;
        struct key k;
        int r;

        make_key(&k, stream, segment, at);
        r = mdb_get(t.txn, t.dbi, &k.val, &value);
        if (r)
                return r;
        if (value.mv_size > PIECE)
                return MDB_CORRUPTED;
        if (value.mv_size > max)
                value.mv_size = max;
        memcpy(copy, value.mv_data, value.mv_size); /* its page moves */
        value.mv_data = copy;
        *ret_n = value.mv_size;
        return mdb_put(t.txn, t.dbi, &k.val, &value, 0);
}

int tree_rewrite(struct tree t, const char *stream, uint32_t segment, uint64_t n)
{
        char *copy = malloc(PIECE);
        uint64_t at = 0, got = 0;
        int r = copy ? 0 : ENOMEM;

        do {
                r = r ? r : put_again(t, stream, segment, at, n - at, copy, &got);
                at += got;
                if (r == MDB_NOTFOUND || (r == 0 && got == 0 && at < n))
                        r = EINVAL;
        } while (r == 0 && at < n);
        free(copy);
        return r ? r : remove_from(t, stream, segment, n ? n : 1, segment, UINT64_MAX);
}

int tree_remove(struct tree t, const char *stream, uint32_t first, uint32_t last)
{
        return remove_from(t, stream, first, 0, last, UINT64_MAX);
}

/* Snapshots in parts */

int tree_snapshot_at(struct tree t, const char *stream, uint64_t *ret_offset)
{
        MDB_val value;
        struct key k;
        int r;

        make_key(&k, stream, 0, UINT64_MAX);
        r = mdb_get(t.txn, t.dbi, &k.val, &value);
        if (r && r != MDB_NOTFOUND)
                return r;
        if (r == 0 && (value.mv_size != 1 || *(const char *)value.mv_data != 1))
                return MDB_CORRUPTED;
        *ret_offset = r ? 0 : TREE_HALF;
        return 0;
}

/* The part before must be there. */
static int part_follows(struct tree t, const char *stream, uint64_t from, uint64_t at)
{
        MDB_cursor *cursor;
        MDB_val key, value;
        uint64_t offset;
        uint32_t segment;
        int r = mdb_cursor_open(t.txn, t.dbi, &cursor);

        if (r)
                return r;
        r = seek_before(cursor, stream, 0, at, &key, &value);
        if (r == 0 && (!read_key(&key, stream, &segment, &offset) || segment != 0 || offset < from ||
                       offset + value.mv_size != at))
                r = EINVAL;
        mdb_cursor_close(cursor);
        return r == MDB_NOTFOUND ? EINVAL : r;
}

int tree_put_part(struct tree t, const char *stream, const void *data, uint64_t n_data, uint64_t offset,
                  bool last)
{
        uint64_t now, next;
        char half = 1;
        struct key k;
        int r = tree_snapshot_at(t, stream, &now);

        next = TREE_HALF - now;
        if (r == 0 && offset == 0)
                r = remove_from(t, stream, 0, next, 0, next + TREE_HALF - 1);
        else if (r == 0)
                r = part_follows(t, stream, next, next + offset);
        r = r ? r : tree_put(t, stream, 0, next + offset, data, n_data);
        if (r || !last)
                return r;
        r = remove_from(t, stream, 0, now, 0, now + TREE_HALF - 1);
        make_key(&k, stream, 0, UINT64_MAX);
        if (r)
                return r;
        if (next)
                return mdb_put(t.txn, t.dbi, &k.val, &(MDB_val){.mv_size = 1, .mv_data = &half}, 0);
        r = mdb_del(t.txn, t.dbi, &k.val, NULL);
        return r == MDB_NOTFOUND ? 0 : r;
}

/* Listing */

/* Segment by segment: their number and size without a look at each piece. */
static int measure(MDB_cursor *cursor, struct tree_stream *s)
{
        MDB_val key, value;
        uint32_t segment = 1, in;
        uint64_t at;
        int r = 0;

        s->first = s->last = 0;
        s->bytes = 0;
        while (r == 0) {
                struct key k;

                make_key(&k, s->name, segment, 0);
                r = mdb_cursor_get(cursor, &k.val, &value, MDB_SET_RANGE);
                if (r || !read_key(&k.val, s->name, &in, &at))
                        break;
                r = in == UINT32_MAX ? EINVAL
                                     : seek_before(cursor, s->name, in + 1, 0, &key, &value);
                if (r || !read_key(&key, s->name, &in, &at))
                        break;
                s->first = s->first ? s->first : in;
                s->last = in;
                s->bytes += at + value.mv_size;
                segment = in + 1;
        }
        return r == MDB_NOTFOUND ? 0 : r;
}

int tree_next(struct tree t, struct tree_stream *s)
{
        char from[sizeof(s->name) + 1];
        MDB_cursor *cursor;
        MDB_val key, value;
        size_t n;
        int r = mdb_cursor_open(t.txn, t.dbi, &cursor);

        if (r)
                return r;
        n = strlen(s->name);
        memcpy(from, s->name, n);
        from[n] = n ? 1 : 2; /* behind its own keys; behind the numbers */
        key = (MDB_val){.mv_size = n + 1, .mv_data = from};
        r = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
        if (r == 0) {
                n = strnlen(key.mv_data, key.mv_size);
                if (n >= sizeof(s->name) || n + 1 + NUMBERS != key.mv_size) {
                        r = MDB_CORRUPTED;
                } else {
                        memcpy(s->name, key.mv_data, n + 1);
                        r = measure(cursor, s);
                }
        }
        mdb_cursor_close(cursor);
        return r;
}
