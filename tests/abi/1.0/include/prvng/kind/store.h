/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng.store/1: keeps the journal's bytes, in order, durably.
 *
 * A store holds streams (names [a-z0-9][a-zA-Z0-9._-]{0,63}); a stream is a sequence of segments,
 * numbered from 1; a segment is a sequence of bytes. What the bytes mean (batches, seals) is the
 * core's business: it reads them back, finds the valid prefix and calls recover().
 *
 * Opened from site configuration before any journal; always in the engine's process, all calls on the
 * engine's thread; a process that only looks opens with PRVNG_STORE_READ_ONLY. Calls block.
 *
 * Numbered promises, kept by every store and tested by one suite:
 *  S1  append is durable on return, or has failed. After a failed append (also of a sync) the store
 *      refuses further appends until it is opened again.
 *  S2  after a crash a segment holds what was appended durably, followed by any part of the one
 *      append that was under way, in which bytes may be missing (read as NUL).
 *  S3  one writer at a time; each opening for writing gets a larger epoch, durable before open
 *      returns; an append with another epoch is refused with CONFLICT.
 *  S4  recover(stream, segment, n) leaves exactly the first n bytes, freshly written and synced, not
 *      merely found in the page cache.
 */
#ifndef PRVNG_KIND_STORE_H
#define PRVNG_KIND_STORE_H

#include <prvng/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PRVNG_STORE "prvng.store/1"

#define PRVNG_STORE_READ_ONLY 0x1u /* open: take no lock, change nothing */

struct prvng_store {
        uint32_t struct_size;
        uint32_t reserved;

        /* Opens the store. `location` is the folder that the core made for it. DONE and the epoch
         * (read only: of the last writer); CONFLICT if another writer holds it, the error message
         * naming its pid and host; QUOTA if there is no room; PERMANENT otherwise. */
        int32_t (*open)(void *instance, struct prvng_call *call, const char *location,
                        uint32_t flags, uint64_t *ret_epoch);

        /* Appends to the end of a segment. The segment is the last one of the stream, or the next
         * number, which makes it (and the stream, for 1). QUOTA if there is no room. */
        int32_t (*append)(void *instance, struct prvng_call *call, const char *stream,
                          uint32_t segment, const void *data, uint64_t n_data, uint64_t epoch);

        /* Writes a segment's bytes from `offset` on to the sink, without the room reserved ahead.
         * NOT_FOUND if there is no such segment. */
        int32_t (*read)(void *instance, struct prvng_call *call, const char *stream,
                        uint32_t segment, uint64_t offset, struct prvng_sink *data);

        /* Cuts the last segment to its first n bytes; see S4. Called for every stream that will be
         * written to, before its first append. */
        int32_t (*recover)(void *instance, struct prvng_call *call, const char *stream,
                           uint32_t segment, uint64_t n_data, uint64_t epoch);

        /* Writes {"streams": [{"name", "first", "last", "bytes"}]}: segment numbers and size. */
        int32_t (*streams)(void *instance, struct prvng_call *call, struct prvng_sink *result);

        /* Removes a stream with all its segments and its snapshot. */
        int32_t (*remove)(void *instance, struct prvng_call *call, const char *stream,
                          uint64_t epoch);

        /* Keeps one snapshot for a stream, replacing the former one atomically and durably. */
        int32_t (*snapshot_put)(void *instance, struct prvng_call *call, const char *stream,
                                const void *data, uint64_t n_data, uint64_t epoch);

        /* Writes the snapshot to the sink, or NOT_FOUND. */
        int32_t (*snapshot_get)(void *instance, struct prvng_call *call, const char *stream,
                                struct prvng_sink *data);

        /* Closes; the lock is free afterwards. */
        void (*close)(void *instance);

        /* As snapshot_put, in parts, so that no call takes long; or NULL. Parts come in their order; one with
         * offset 0 begins, and whatever had been begun of any stream is forgotten. With `last` 1 the
         * stream has a new snapshot, all of it durable; before, the former one. Other calls come
         * in between; snapshot_put, a removal of that stream and close forget what was begun. */
        int32_t (*snapshot_part)(void *instance, struct prvng_call *call, const char *stream,
                                 const void *data, uint64_t n_data, uint64_t offset, uint32_t last,
                                 uint64_t epoch);
        /* members above: 1.0 */
};
#define PRVNG_STORE_BASELINE PRVNG_SIZE_UP_TO(struct prvng_store, close)

#ifdef __cplusplus
}
#endif

#endif
