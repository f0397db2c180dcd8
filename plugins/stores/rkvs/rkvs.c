/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store `rkvs`: all streams in one LMDB database.
 *
 *      LOCATION/lock                   flock(2)ed by the writer; holds "pid N on host H"
 *      LOCATION/journal.mdb            the database; tree.h says what is in it
 *      LOCATION/journal.mdb-lock       LMDB's table of readers
 *
 * One transaction per append. LMDB writes pages that nothing refers to, syncs, then switches to them by
 * one synced write, so that what is appended is there wholly or not at all (S2), and a commit that
 * failed has changed nothing. Two things are added: after a failed commit nothing more is written (S1),
 * and each transaction that changes something first reads the epoch, so that not even a removed lock
 * file lets two engines write (S3).
 */
#include "../common.h"
#include "database.h"

#include <prvng/kind/store.h>
#include <prvng/plugin.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct store {
        const struct prvng_host *host;
        int folder; /* LOCATION, -1: closed */
        int lock;   /* -1: read only */
        struct database db;
        bool failed; /* S1 */
};

static int32_t fail(struct store *s, struct prvng_call *call, int r, const char *action,
                    const char *what)
{
        char message[640];

        if (r == -EAGAIN)
                return store_refuse_epoch(s->host, call);
        if (r > 0)
                return store_fail(s->host, call, -r, action, what);
        snprintf(message, sizeof(message), "cannot %s %s: %s", action, what, mdb_strerror(r));
        return store_refuse(s->host, call, PRVNG_PERMANENT, message);
}

/* Opening */

static void store_close(void *instance)
{
        struct store *s = instance;

        database_close(&s->db, s->lock >= 0 && !s->failed);
        if (s->lock >= 0)
                close(s->lock);
        if (s->folder >= 0)
                close(s->folder);
        s->lock = s->folder = -1;
}

static int32_t store_open(void *instance, struct prvng_call *call, const char *location,
                          uint32_t flags, uint64_t *ret_epoch)
{
        struct store *s = instance;
        bool writing = !(flags & PRVNG_STORE_READ_ONLY);
        int32_t class = PRVNG_DONE;
        int r;

        if (s->folder >= 0) /* LMDB bears no second one in a process */
                return store_refuse(s->host, call, PRVNG_PERMANENT, "the store is open already");
        s->failed = false;
        s->folder = open(location, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (s->folder < 0)
                return store_fail(s->host, call, -errno, "open", location);
        if (writing)
                class = store_lock(s->host, call, s->folder, location, &s->lock);
        if (class == PRVNG_DONE) {
                s->db = (struct database){.folder = s->folder};
                r = database_open(&s->db, location, writing);
                if (r)
                        class = fail(s, call, r, "open the database of", location);
        }
        if (class != PRVNG_DONE)
                store_close(s);
        else
                *ret_epoch = s->db.epoch;
        return class;
}

/* Writing */

static int32_t may_write(struct store *s, struct prvng_call *call, const char *stream,
                         uint64_t epoch)
{
        if (s->lock < 0 || epoch != s->db.epoch)
                return store_refuse_epoch(s->host, call);
        if (s->failed)
                return store_refuse_failed(s->host, call);
        return store_name_good(stream) ? PRVNG_DONE : store_refuse_name(s->host, call, stream);
}

static int32_t change(struct store *s, struct prvng_call *call, uint64_t epoch, const char *action,
                      const struct change *c)
{
        int32_t class = may_write(s, call, c->stream, epoch);
        int r;

        if (class != PRVNG_DONE)
                return class;
        r = database_commit(&s->db, c);
        if (r == 0)
                return PRVNG_DONE;
        s->failed = true;
        return fail(s, call, r, action, c->stream);
}

static int apply_append(struct tree t, const struct change *c)
{
        uint32_t last = 0;
        uint64_t end = 0;
        int r = tree_last(t, c->stream, &last, &end);

        if (r == MDB_NOTFOUND)
                last = r = 0;
        if (r == 0 && c->segment == last + 1)
                end = 0;
        else if (r == 0 && c->segment != last)
                r = EINVAL;
        if (r == 0 && c->segment == 0)
                r = EINVAL;
        return r ? r : tree_put(t, c->stream, c->segment, end, c->data, c->n_data);
}

static int32_t store_append(void *instance, struct prvng_call *call, const char *stream,
                            uint32_t segment, const void *data, uint64_t n_data, uint64_t epoch)
{
        return change(instance, call, epoch, "write stream",
                      &(struct change){apply_append, stream, segment, data, n_data});
}

static int apply_recover(struct tree t, const struct change *c)
{
        uint32_t last;
        uint64_t end;
        int r = tree_last(t, c->stream, &last, &end);

        if (r == 0 && (last != c->segment || end < c->n_data))
                r = EINVAL;
        return r == MDB_NOTFOUND ? ENOENT
               : r               ? r
                                 : tree_rewrite(t, c->stream, c->segment, c->n_data);
}

static int32_t store_recover(void *instance, struct prvng_call *call, const char *stream,
                             uint32_t segment, uint64_t n_data, uint64_t epoch)
{
        return change(instance, call, epoch, "recover stream",
                      &(struct change){apply_recover, stream, segment, NULL, n_data});
}

static int apply_remove(struct tree t, const struct change *c)
{
        return tree_remove(t, c->stream, 0, UINT32_MAX);
}

static int32_t store_remove(void *instance, struct prvng_call *call, const char *stream,
                            uint64_t epoch)
{
        return change(instance, call, epoch, "remove stream",
                      &(struct change){.apply = apply_remove, .stream = stream});
}

static int apply_snapshot(struct tree t, const struct change *c)
{
        int r = tree_remove(t, c->stream, 0, 0);

        return r ? r : tree_put(t, c->stream, 0, 0, c->data, c->n_data);
}

static int32_t store_snapshot_put(void *instance, struct prvng_call *call, const char *stream,
                                  const void *data, uint64_t n_data, uint64_t epoch)
{
        return change(instance, call, epoch, "write the snapshot of",
                      &(struct change){apply_snapshot, stream, 0, data, n_data});
}

static int apply_part(struct tree t, const struct change *c)
{
        return tree_put_part(t, c->stream, c->data, c->n_data, c->offset, c->last);
}

static int32_t store_snapshot_part(void *instance, struct prvng_call *call, const char *stream,
                                   const void *data, uint64_t n_data, uint64_t offset, uint32_t last,
                                   uint64_t epoch)
{
        return change(instance, call, epoch, "write the snapshot of",
                      &(struct change){apply_part, stream, 0, data, n_data, offset, last != 0});
}

/* Reading */

struct reading {
        const struct prvng_host *host;
        struct prvng_sink *sink;
};

#define SINK_FULL (-1) /* neither an errno nor one of LMDB's */

static int to_sink(void *userdata, const void *data, uint64_t n_data)
{
        const struct reading *r = userdata;

        return r->host->sink_write(r->sink, data, n_data) < 0 ? SINK_FULL : 0;
}

static int32_t read_bytes(struct store *s, struct prvng_call *call, const char *stream,
                          uint32_t segment, uint64_t offset, struct prvng_sink *data,
                          const char *absent)
{
        struct reading reading = {s->host, data};
        uint64_t end = UINT64_MAX;
        struct tree t;
        int r = MDB_NOTFOUND;

        if (s->db.env && store_name_good(stream)) {
                r = database_read(&s->db, &t);
                if (r == 0) {
                        if (segment == 0) {
                                r = tree_snapshot_at(t, stream, &offset);
                                end = offset + TREE_HALF;
                        }
                        r = r ? r : tree_read(t, stream, segment, offset, end, to_sink, &reading);
                        mdb_txn_abort(t.txn);
                }
        }
        if (r == MDB_NOTFOUND)
                return store_refuse(s->host, call, PRVNG_NOT_FOUND, absent);
        if (r == SINK_FULL)
                return store_refuse(s->host, call, PRVNG_INTERNAL, "the reader takes no more");
        return r ? fail(s, call, r, "read stream", stream) : PRVNG_DONE;
}

static int32_t store_read(void *instance, struct prvng_call *call, const char *stream,
                          uint32_t segment, uint64_t offset, struct prvng_sink *data)
{
        return read_bytes(instance, call, segment ? stream : "", segment, offset, data,
                          "no such segment");
}

static int32_t store_snapshot_get(void *instance, struct prvng_call *call, const char *stream,
                                  struct prvng_sink *data)
{
        return read_bytes(instance, call, stream, 0, 0, data, "no snapshot");
}

static int list_streams(struct store *s, struct prvng_sink *result)
{
        struct tree_stream st = {0};
        const char *comma = "";
        struct tree t;
        int r = database_read(&s->db, &t);

        if (r)
                return r;
        while ((r = tree_next(t, &st)) == 0) {
                char line[256];
                int n = snprintf(line, sizeof(line),
                                 "%s{\"name\":\"%s\",\"first\":%u,\"last\":%u,\"bytes\":%llu}", comma,
                                 st.name, st.first, st.last, (unsigned long long)st.bytes);

                comma = ",";
                if (s->host->sink_write(result, line, (uint64_t)n) < 0) {
                        r = SINK_FULL;
                        break;
                }
        }
        mdb_txn_abort(t.txn);
        return r == MDB_NOTFOUND ? 0 : r;
}

static int32_t store_streams(void *instance, struct prvng_call *call, struct prvng_sink *result)
{
        struct store *s = instance;
        int r = s->host->sink_write(result, "{\"streams\":[", 12) < 0 ? SINK_FULL : 0;

        if (r == 0 && s->db.env)
                r = list_streams(s, result);
        if (r == 0 && s->host->sink_write(result, "]}", 2) < 0)
                r = SINK_FULL;
        if (r == SINK_FULL)
                return store_refuse(s->host, call, PRVNG_INTERNAL, "the reader takes no more");
        return r ? fail(s, call, r, "list", "the streams") : PRVNG_DONE;
}

static const struct prvng_store interface = {
        .struct_size = sizeof(interface),
        .open = store_open,
        .append = store_append,
        .read = store_read,
        .recover = store_recover,
        .streams = store_streams,
        .remove = store_remove,
        .snapshot_put = store_snapshot_put,
        .snapshot_get = store_snapshot_get,
        .close = store_close,
        .snapshot_part = store_snapshot_part,
};

/* The plugin */

static int32_t create(const struct prvng_host *host, const void *config, uint64_t n_config,
                      void **ret_instance)
{
        struct store *s = calloc(1, sizeof(*s));

        if (!s)
                return PRVNG_INTERNAL;
        s->host = host;
        s->folder = s->lock = -1;
        *ret_instance = s;
        return PRVNG_DONE;
}

static void destroy(void *instance)
{
        if (instance)
                store_close(instance);
        free(instance);
}

static const void *get_interface(void *instance, const char *id)
{
        return strcmp(id, PRVNG_STORE) == 0 ? &interface : NULL;
}

static const struct prvng_plugin descriptor = {
        .struct_size = sizeof(descriptor),
        .abi_minor = PRVNG_ABI_MINOR,
        .id = "org.prvng.store.rkvs",
        .name = "rkvs",
        .kind = "store",
        .version = PRVNG_VERSION,
        .description = "journals in an LMDB database",
        .licence = "Apache-2.0",
        .threads = PRVNG_THREADS_SERIAL_INSTANCE,
        .create = create,
        .destroy = destroy,
        .get_interface = get_interface,
};

PRVNG_PLUGIN_NOTE("store", "org.prvng.store.rkvs", "rkvs", PRVNG_VERSION, "[]", "none");

int32_t prvng_plugin_v1(const struct prvng_host *host, const struct prvng_plugin **ret_plugin)
{
        *ret_plugin = &descriptor;
        return PRVNG_DONE;
}
