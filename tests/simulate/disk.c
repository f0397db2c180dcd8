/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store plugin over simulated disks, one for each store of the site; keeps the promises S1 to S4 of prvng/kind/store.h and not a
 * bit more.
 *
 * What a segment holds is `data`, as a process reads it through the page cache; only the first
 * n_durable bytes are on the disk. The rest is what one append left behind that was under way when the
 * engine was killed, or whose fsync failed: the cache shows it until the machine goes down, and then any
 * sectors of it may be there or not.
 */
#include "simulate/witness.h"

#include "host/call.h"

#define SECTOR 512

struct segment {
        struct buf data;
        size_t n_durable;
        size_t n_on_disk; /* what a power cut left counts, although nobody was told */
        struct buf meant; /* of the append that failed: what it would have added */
};

struct disk_stream {
        char *name;
        struct segment *segments;
        uint32_t n_segments;
        struct buf snapshot, older; /* and the one before it */
        bool recovered; /* since the store was opened */
};

struct disk {
        const char *name;
        struct disk_stream *streams;
        uint32_t n_streams, cap_streams;
        uint64_t epoch;
        bool writing; /* open for writing */
        bool failed;  /* S1 */
        bool made;    /* there is such a store in the site */
        int64_t full_until;
        char *part_of;   /* stream of a snapshot that is being put; NULL: none is */
        struct buf part; /* what there is of it */
};

struct disk *disk_new(const char *name)
{
        struct disk *d = calloc(1, sizeof(struct disk));

        d->name = name;
        return d;
}

struct disk *disk_find(const char *name)
{
        for (unsigned i = 0; i < N_DISKS; i++)
                if (sim->disks[i] && streq(sim->disks[i]->name, name))
                        return sim->disks[i];
        return NULL;
}

bool disk_exists(const char *name)
{
        const struct disk *d = disk_find(name);

        return d && d->made;
}

static void forget_part(struct disk *d)
{
        free(steal(&d->part_of));
        buf_clear(&d->part);
}

static void stream_deinit(struct disk_stream *s)
{
        for (uint32_t i = 0; i < s->n_segments; i++) {
                buf_deinit(&s->segments[i].data);
                buf_deinit(&s->segments[i].meant);
        }
        buf_deinit(&s->snapshot);
        buf_deinit(&s->older);
        free(s->segments);
        free(s->name);
}

struct disk *disk_free(struct disk *d)
{
        for (uint32_t i = 0; d && i < d->n_streams; i++)
                stream_deinit(&d->streams[i]);
        if (d) {
                free(d->streams);
                free(d->part_of);
                buf_deinit(&d->part);
        }
        free(d);
        return NULL;
}

static struct disk_stream *find(struct disk *d, const char *name)
{
        for (uint32_t i = 0; i < d->n_streams; i++)
                if (streq(d->streams[i].name, name))
                        return &d->streams[i];
        return NULL;
}

bool disk_has(const struct disk *d, const char *stream)
{
        for (uint32_t i = 0; i < d->n_streams; i++)
                if (streq(d->streams[i].name, stream))
                        return true;
        return false;
}

/* What the power cut leaves of what was not synced: any sectors of it, in any order, missing ones read
 * as NUL; the last one cut at any byte. */
static void tear(struct segment *g)
{
        size_t from = MAX(g->n_durable, g->n_on_disk), end = from;
        bool torn = fault(FAULT_TEAR);

        for (size_t at = from; torn && at < g->data.n;) {
                size_t next = MIN((at / SECTOR + 1) * SECTOR, g->data.n);

                if (random_chance(&sim->random, 600))
                        end = next;
                else
                        memset(g->data.data + at, 0, next - at);
                at = next;
        }
        if (end > from && random_chance(&sim->random, 500))
                end = (size_t)random_between(&sim->random, (int64_t)from, (int64_t)end);
        if (!torn) /* nothing or all of it */
                end = random_chance(&sim->random, 500) ? g->data.n : from;
        g->data.n = g->n_on_disk = end;
}

/* Whatever may be true of a snapshot: it is no truth, only a shortcut. */
static void rot(struct disk_stream *s, const struct disk_stream *other)
{
        struct buf *b = &s->snapshot;
        uint64_t way = random_below(&sim->random, 5);

        HISTORY("rot", way, b->n, "snapshot of %s", s->name);
        sim->rotten = true;
        if (way == 0 || (way == 1 && !s->older.n)) {
                buf_clear(b);
        } else if (way == 1) {
                buf_clear(b);
                buf_append(b, s->older.data, s->older.n);
        } else if (way == 2) {
                b->n = random_below(&sim->random, b->n);
        } else if (way == 3 && other->snapshot.n) {
                buf_clear(b);
                buf_append(b, other->snapshot.data, other->snapshot.n);
        } else {
                b->data[random_below(&sim->random, b->n)] ^= (char)(1 + random_below(&sim->random, 255));
        }
}

void disk_crash(struct disk *d, bool power)
{
        d->writing = false;
        forget_part(d);
        for (uint32_t i = 0; i < d->n_streams; i++)
                if (d->streams[i].snapshot.n && fault(FAULT_ROT))
                        rot(&d->streams[i], &d->streams[random_below(&sim->random, d->n_streams)]);
        for (uint32_t i = 0; i < d->n_streams; i++)
                for (uint32_t k = 0; k < d->streams[i].n_segments; k++) {
                        struct segment *g = &d->streams[i].segments[k];

                        if (power && g->data.n > MAX(g->n_durable, g->n_on_disk))
                                tear(g);
                }
}

static int32_t refuse(struct prvng_call *call, int32_t class, const char *why)
{
        sim->failing = true; /* that the engine ends now, or does not start, is right */
        return op_call_fail(call, class, PRVNG_EFFECT_UNKNOWN, 0, "%s", why);
}

/* Every I/O step may be the engine's last one. */
static bool dies(const char *where)
{
        if (!sim->dead && fault(FAULT_CRASH))
                engine_kill(where);
        return sim->dead && !sim->looking;
}

static int32_t disk_open(void *instance, struct prvng_call *call, const char *location,
                         uint32_t flags, uint64_t *ret_epoch)
{
        struct disk *d = instance;

        if (flags & PRVNG_STORE_READ_ONLY) {
                *ret_epoch = d->epoch;
                return PRVNG_DONE;
        }
        if (dies("open"))
                return refuse(call, PRVNG_PERMANENT, "killed");
        if (fault(FAULT_STORE))
                return refuse(call, PRVNG_PERMANENT, "open: I/O error");
        assert(!d->writing);
        d->writing = d->made = true;
        d->failed = false;
        for (uint32_t i = 0; i < d->n_streams; i++)
                d->streams[i].recovered = false;
        *ret_epoch = ++d->epoch;
        return PRVNG_DONE;
}

static struct disk_stream *make_stream(struct disk *d, const char *name)
{
        if (d->n_streams == d->cap_streams) {
                d->cap_streams = d->cap_streams ? d->cap_streams * 2 : 16;
                d->streams = realloc(d->streams, d->cap_streams * sizeof(*d->streams));
        }
        d->streams[d->n_streams] = (struct disk_stream){.name = strdup(name), .recovered = true};
        return &d->streams[d->n_streams++];
}

static struct segment *segment_for(struct disk *d, const char *name, uint32_t number)
{
        struct disk_stream *s = find(d, name);

        if (!s)
                s = make_stream(d, name);
        if (!s->recovered)
                violated("recover-first", "an append to stream %s, which was not recovered", name);
        if (number == s->n_segments + 1) {
                s->segments = realloc(s->segments, number * sizeof(*s->segments));
                s->segments[s->n_segments++] = (struct segment){0};
        }
        if (number != s->n_segments)
                violated("segment-order", "an append to segment %u of stream %s, which has %u", number,
                         name, s->n_segments);
        return &s->segments[s->n_segments - 1];
}

static int32_t disk_append(void *instance, struct prvng_call *call, const char *stream,
                           uint32_t segment, const void *data, uint64_t n_data, uint64_t epoch)
{
        struct disk *d = instance;
        struct segment *g;
        size_t some;

        if (sim->dead || *sim->failure)
                return refuse(call, PRVNG_PERMANENT, "killed");
        if (d->failed) {
                violated("append-after-failure", "an append to stream %s after one that failed", stream);
                return refuse(call, PRVNG_PERMANENT, "a former append failed");
        }
        if (epoch != d->epoch)
                return refuse(call, PRVNG_CONFLICT, "another epoch");
        if (fault(FAULT_FULL))
                d->full_until = sim->now + random_between(&sim->random, 1, 60000);
        if (sim->now < d->full_until && !sim->quiet) {
                d->failed = true;
                HISTORY("full", n_data, 0, "stream %s", stream);
                return refuse(call, PRVNG_QUOTA, "the disk is full");
        }
        g = segment_for(d, stream, segment);
        if (dies("append")) { /* before, in the middle of, or behind the write */
                some = random_below(&sim->random, n_data + 1);
                some = random_chance(&sim->random, 300) ? n_data : some;
                buf_append(&g->data, data, some);
                buf_append(&g->meant, data, n_data);
                return refuse(call, PRVNG_PERMANENT, "killed");
        }
        buf_append(&g->data, data, n_data);
        if (fault(FAULT_SYNC)) {
                d->failed = true;
                buf_append(&g->meant, data, n_data);
                HISTORY("sync failed", n_data, 0, "stream %s", stream);
                return refuse(call, PRVNG_PERMANENT, "fsync: I/O error");
        }
        if (fault(FAULT_DISK))
                world_goes_on(random_between(&sim->random, 1, 2000));
        g->n_durable = g->data.n;
        sim->digest = digest_bytes(sim->digest, data, n_data);
        HISTORY("append", n_data, segment, "%s %u: %llu bytes", stream, segment,
                (unsigned long long)n_data);
        if (sim->options->print)
                printf("%.*s", (int)n_data, (const char *)data);
        witness_lines(d->name, stream, data, n_data);
        /* Killed before the answer: the engine does not know that it is durable. */
        return dies("appended") ? refuse(call, PRVNG_PERMANENT, "killed") : PRVNG_DONE;
}

static int32_t disk_read(void *instance, struct prvng_call *call, const char *stream,
                         uint32_t segment, uint64_t offset, struct prvng_sink *data)
{
        const struct disk_stream *s = find(instance, stream);

        if (!s || segment < 1 || segment > s->n_segments)
                return refuse(call, PRVNG_NOT_FOUND, "there is no such segment");
        if (dies("read") || fault(FAULT_STORE))
                return refuse(call, PRVNG_PERMANENT, "read: I/O error");
        if (offset < s->segments[segment - 1].data.n)
                buf_append(data->buf, s->segments[segment - 1].data.data + offset,
                           s->segments[segment - 1].data.n - offset);
        return PRVNG_DONE;
}

/* What is kept must be all that was acknowledged, then the append that was under way as a whole or not
 * at all (promise 2). */
static void check_kept(const struct disk_stream *s, const struct segment *g, size_t n)
{
        size_t more = n - g->n_durable;

        if (n < g->n_durable)
                violated("acknowledged-lost", "stream %s: %zu bytes kept of %zu that were durable",
                         s->name, n, g->n_durable);
        else if (more > 0 && (more != g->meant.n ||
                              memcmp(g->data.data + g->n_durable, g->meant.data, more) != 0))
                violated("torn-kept", "stream %s: %zu bytes kept of an append of %zu that was torn",
                         s->name, more, g->meant.n);
}

static int32_t disk_recover(void *instance, struct prvng_call *call, const char *stream,
                            uint32_t segment, uint64_t n_data, uint64_t epoch)
{
        struct disk_stream *s = find(instance, stream);
        struct segment *g;

        if (dies("recover"))
                return refuse(call, PRVNG_PERMANENT, "killed");
        if (!s || segment != s->n_segments || epoch != ((struct disk *)instance)->epoch)
                return refuse(call, PRVNG_CONFLICT, "not the last segment");
        g = &s->segments[segment - 1];
        if (n_data > g->data.n) {
                violated("recover-more", "stream %s: %llu bytes of %zu", stream,
                         (unsigned long long)n_data, g->data.n);
                return refuse(call, PRVNG_PERMANENT, "more than there is");
        }
        check_kept(s, g, n_data);
        if (*sim->failure)
                return refuse(call, PRVNG_PERMANENT, "the history ended");
        HISTORY("recover", n_data, g->data.n, "%s %u: %llu of %zu bytes, %zu were durable", stream,
                segment, (unsigned long long)n_data, g->data.n, g->n_durable);
        if (n_data > g->n_durable)
                witness_lines(((struct disk *)instance)->name, stream, g->data.data + g->n_durable, n_data - g->n_durable);
        g->data.n = g->n_durable = g->n_on_disk = n_data;
        buf_deinit(&g->meant);
        s->recovered = true;
        return dies("recovered") ? refuse(call, PRVNG_PERMANENT, "killed") : PRVNG_DONE;
}

static int32_t disk_streams(void *instance, struct prvng_call *call, struct prvng_sink *result)
{
        const struct disk *d = instance;

        if (dies("streams"))
                return refuse(call, PRVNG_PERMANENT, "killed");
        BUF_LIT(result->buf, "{\"streams\":[");
        for (uint32_t i = 0; i < d->n_streams; i++)
                buf_printf(result->buf, "%s{\"name\":\"%s\",\"first\":1,\"last\":%u,\"bytes\":0}",
                           i ? "," : "", d->streams[i].name, d->streams[i].n_segments);
        BUF_LIT(result->buf, "]}");
        return PRVNG_DONE;
}

static int32_t disk_remove(void *instance, struct prvng_call *call, const char *stream,
                           uint64_t epoch)
{
        struct disk *d = instance;
        struct disk_stream *s = find(d, stream);

        if (dies("remove"))
                return refuse(call, PRVNG_PERMANENT, "killed");
        if (!s)
                return refuse(call, PRVNG_NOT_FOUND, "there is no such stream");
        HISTORY("remove", s->n_segments, 0, "%s", stream);
        witness_removed(stream);
        if (d->part_of && streq(d->part_of, stream))
                forget_part(d);
        stream_deinit(s);
        memmove(s, s + 1, (size_t)(d->streams + d->n_streams - (s + 1)) * sizeof(*s));
        d->n_streams--;
        return dies("removed") ? refuse(call, PRVNG_PERMANENT, "killed") : PRVNG_DONE;
}

static void keep_snapshot(struct disk *d, const char *stream, const void *data, uint64_t n_data)
{
        struct disk_stream *s = find(d, stream);
        struct buf was;

        if (!s)
                s = make_stream(d, stream);
        was = s->older;
        s->older = s->snapshot;
        s->snapshot = was;
        buf_clear(&s->snapshot);
        buf_append(&s->snapshot, data, n_data);
        forget_part(d);
}

static int32_t disk_snapshot_put(void *instance, struct prvng_call *call, const char *stream,
                                 const void *data, uint64_t n_data, uint64_t epoch)
{
        if (dies("snapshot"))
                return refuse(call, PRVNG_PERMANENT, "killed");
        keep_snapshot(instance, stream, data, n_data);
        HISTORY("snapshot", n_data, 0, "%s: %llu bytes", stream, (unsigned long long)n_data);
        return PRVNG_DONE;
}

static int32_t disk_snapshot_part(void *instance, struct prvng_call *call, const char *stream,
                                  const void *data, uint64_t n_data, uint64_t offset, uint32_t last,
                                  uint64_t epoch)
{
        struct disk *d = instance;

        if (dies("part of a snapshot"))
                return refuse(call, PRVNG_PERMANENT, "killed");
        if (fault(FAULT_STORE)) {
                forget_part(d);
                return refuse(call, PRVNG_PERMANENT, "snapshot: I/O error");
        }
        if (offset == 0) {
                forget_part(d);
                d->part_of = strdup(stream);
        }
        if (!d->part_of || !streq(d->part_of, stream) || offset != d->part.n) {
                violated("snapshot-parts", "stream %s: a part from %llu on, behind %zu bytes of %s", stream,
                         (unsigned long long)offset, d->part.n, d->part_of ?: "none");
                return refuse(call, PRVNG_PERMANENT, "that is not the next part");
        }
        HISTORY("part", offset, n_data, "%s: %llu bytes from %llu on%s", stream,
                (unsigned long long)n_data, (unsigned long long)offset, last ? ", the last" : "");
        buf_append(&d->part, data, n_data);
        if (last) {
                struct buf whole = d->part;

                d->part = BUF_NULL;
                keep_snapshot(d, stream, whole.data, whole.n);
                buf_deinit(&whole);
        }
        return dies("part of a snapshot put") ? refuse(call, PRVNG_PERMANENT, "killed") : PRVNG_DONE;
}

static int32_t disk_snapshot_get(void *instance, struct prvng_call *call, const char *stream,
                                 struct prvng_sink *data)
{
        const struct disk_stream *s = find(instance, stream);

        if (!s || !s->snapshot.n)
                return refuse(call, PRVNG_NOT_FOUND, "there is no snapshot");
        buf_append(data->buf, s->snapshot.data, s->snapshot.n);
        return PRVNG_DONE;
}

static void disk_close(void *instance)
{
        if (!sim->looking)
                forget_part(instance);
}

const struct prvng_store disk_store = {
        .struct_size = sizeof(disk_store),
        .open = disk_open,
        .append = disk_append,
        .read = disk_read,
        .recover = disk_recover,
        .streams = disk_streams,
        .remove = disk_remove,
        .snapshot_put = disk_snapshot_put,
        .snapshot_get = disk_snapshot_get,
        .close = disk_close,
        .snapshot_part = disk_snapshot_part,
};
