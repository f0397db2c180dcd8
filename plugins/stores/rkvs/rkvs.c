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
 *
 * The map (address space, not room on the disk) starts small and is doubled ahead of what needs more.
 * Transactions that read last as long as one call: pages are used again only when no reader is left
 * that could see them. The file is zero-filled ahead of its end, as the store `file` does and for the
 * same reason: a sync is cheaper where blocks are there already.
 */
#include "../common.h"
#include "tree.h"

#include <prvng/kind/store.h>
#include <prvng/plugin.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DATABASE "journal.mdb"
#define FRESH    "journal.new"  /* becomes DATABASE once it is whole */
#define READERS  (32u << 10)    /* bytes of LMDB's table of readers: about 500 of them */
#define MAP_MIN  (UINT64_C(16) << 20)
#define FLAGS    (MDB_NOSUBDIR | MDB_NOTLS)

struct store {
        const struct prvng_host *host;
        int folder;   /* LOCATION, -1: closed */
        int lock;     /* -1: read only */
        MDB_env *env; /* NULL: closed, or read only and nothing was written yet */
        MDB_dbi dbi;
        uint64_t epoch;
        uint64_t reserved; /* bytes of the file that have blocks */
        bool failed;       /* S1 */
};

static int32_t fail(struct store *s, struct prvng_call *call, int r, const char *action,
                    const char *what)
{
        char message[640];

        if (r == -EAGAIN) /* check_epoch() */
                return store_refuse_epoch(s->host, call);
        if (r > 0)
                return store_fail(s->host, call, -r, action, what);
        snprintf(message, sizeof(message), "cannot %s %s: %s", action, what, mdb_strerror(r));
        return store_refuse(s->host, call, PRVNG_PERMANENT, message);
}

/* LMDB calls a write that a full disk cut short an I/O error. */
static int full_or(const struct store *s, int r, uint64_t n_data)
{
        struct statvfs fs;

        if (r == EIO && fstatvfs(s->folder, &fs) == 0 &&
            (uint64_t)fs.f_bavail * fs.f_frsize < n_data + (1u << 20))
                return ENOSPC;
        return r;
}

/* Transactions */

/* `n` bytes more will fit into the map, with what is needed around them. */
static int grow(struct store *s, uint64_t n)
{
        MDB_envinfo info;
        MDB_stat stat;
        uint64_t need, map;
        int r;

        r = mdb_env_info(s->env, &info);
        r = r ? r : mdb_env_stat(s->env, &stat);
        if (r)
                return r;
        need = (uint64_t)(info.me_last_pgno + 1) * stat.ms_psize + n + n / 8 + (1u << 20);
        for (map = info.me_mapsize > MAP_MIN ? info.me_mapsize : MAP_MIN; map < need;)
                map *= 2;
        return map > info.me_mapsize ? mdb_env_set_mapsize(s->env, map) : 0;
}

static int double_map(struct store *s)
{
        MDB_envinfo info;
        int dead, r;

        r = mdb_reader_check(s->env, &dead); /* readers that were killed hold pages back */
        r = r ? r : mdb_env_info(s->env, &info);
        return r ? r : mdb_env_set_mapsize(s->env, info.me_mapsize * 2);
}

static int check_epoch(const struct store *s, struct tree t)
{
        uint64_t epoch;
        int r = tree_get_number(t, "epoch", &epoch);

        return r ? r : epoch == s->epoch ? 0 : -EAGAIN;
}

/* What is done inside of a transaction. */
struct change {
        int (*apply)(struct tree t, const struct change *c);
        const char *stream;
        uint32_t segment;
        const void *data;
        uint64_t n_data;
};

/* One transaction that changes something, durable on return. */
static int commit(struct store *s, const struct change *c)
{
        int r;

        for (;;) {
                struct tree t = {.dbi = s->dbi};

                r = mdb_txn_begin(s->env, NULL, 0, &t.txn);
                if (r)
                        return r;
                r = check_epoch(s, t);
                r = r ? r : c->apply(t, c);
                if (r)
                        mdb_txn_abort(t.txn);
                else
                        r = mdb_txn_commit(t.txn);
                if (r != MDB_MAP_FULL) /* nothing was written yet */
                        return full_or(s, r, c->n_data);
                r = double_map(s);
                if (r)
                        return r;
        }
}

/* A transaction that reads. The writer may have made the map larger since the last one. */
static int begin_reading(struct store *s, struct tree *ret_tree)
{
        struct tree t = {.dbi = s->dbi};
        int r;

        while ((r = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &t.txn)) == MDB_MAP_RESIZED) {
                r = mdb_env_set_mapsize(s->env, 0);
                if (r)
                        return r;
        }
        if (r == 0)
                *ret_tree = t;
        return r;
}

/* Room ahead */

#define AHEAD_MIN (256u << 10)
#define AHEAD_MAX (8u << 20)

static uint64_t file_end(struct store *s)
{
        MDB_envinfo info;
        MDB_stat stat;

        return mdb_env_info(s->env, &info) || mdb_env_stat(s->env, &stat)
                       ? 0
                       : (uint64_t)(info.me_last_pgno + 1) * stat.ms_psize;
}

/* Fills the file with zeros behind its last page, where LMDB goes on writing, unless the append is large
 * itself. A disk too full for zeros may still have room for data. */
static void reserve(struct store *s, uint64_t n_data)
{
        static const char zeros[64 << 10];
        uint64_t end = file_end(s), at, to;
        mdb_filehandle_t fd;

        if (!end || n_data > AHEAD_MIN || end + 2 * n_data + (64 << 10) <= s->reserved ||
            mdb_env_get_fd(s->env, &fd))
                return;
        to = end + 2 * n_data + (end < AHEAD_MIN ? AHEAD_MIN : end < AHEAD_MAX ? end : AHEAD_MAX);
        for (at = s->reserved > end ? s->reserved : end; at < to;) {
                uint64_t n = to - at < sizeof(zeros) ? to - at : sizeof(zeros);
                ssize_t w = pwrite(fd, zeros, n, (off_t)at);

                if (w < 0 && errno == EINTR)
                        continue;
                if (w <= 0) {
                        if (ftruncate(fd, (off_t)end) == 0)
                                at = end;
                        break;
                }
                at += (uint64_t)w;
        }
        s->reserved = at;
}

/* Gives back what was reserved. If that is lost in a crash, the zeros are there again: harmless. */
static void cut_reserve(struct store *s)
{
        uint64_t end = file_end(s);
        mdb_filehandle_t fd;

        if (s->reserved > end && end && mdb_env_get_fd(s->env, &fd) == 0 &&
            ftruncate(fd, (off_t)end) < 0)
                s->reserved = 0;
}

/* Opening */

static void store_close(void *instance)
{
        struct store *s = instance;

        if (s->env && s->lock >= 0 && !s->failed)
                cut_reserve(s);
        if (s->env)
                mdb_env_close(s->env);
        if (s->lock >= 0)
                close(s->lock);
        if (s->folder >= 0)
                close(s->folder);
        s->env = NULL;
        s->lock = s->folder = -1;
        s->reserved = 0;
}

static int make_path(const char *location, const char *name, char **ret_path)
{
        return asprintf(ret_path, "%s/%s", location, name) < 0 ? ENOMEM : 0;
}

static int open_env(const char *location, const char *name, unsigned flags, MDB_env **ret_env,
                    MDB_dbi *ret_dbi)
{
        char *path = NULL;
        MDB_env *env = NULL;
        MDB_txn *txn;
        int r;

        r = make_path(location, name, &path);
        r = r ? r : mdb_env_create(&env);
        r = r ? r : mdb_env_open(env, path, FLAGS | flags, 0600);
        r = r ? r : mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
        if (r == 0) {
                r = mdb_dbi_open(txn, NULL, 0, ret_dbi);
                mdb_txn_abort(txn); /* a handle of the unnamed database stays */
        }
        free(path);
        if (r && env)
                mdb_env_close(env);
        else if (r == 0)
                *ret_env = env;
        return r;
}

static int put_format(MDB_env *env, MDB_dbi dbi)
{
        struct tree t = {.dbi = dbi};
        int r = mdb_txn_begin(env, NULL, 0, &t.txn);

        if (r)
                return r;
        r = tree_put_number(t, "format", TREE_FORMAT);
        if (r == 0)
                return mdb_txn_commit(t.txn);
        mdb_txn_abort(t.txn);
        return r;
}

/* A database gets its name when it is whole: what is half made is made again. */
static int make_database(struct store *s, const char *location)
{
        MDB_env *env;
        MDB_dbi dbi;
        int r;

        if (faccessat(s->folder, DATABASE, F_OK, 0) == 0)
                return 0;
        if (unlinkat(s->folder, FRESH, 0) < 0 && errno != ENOENT)
                return errno;
        r = open_env(location, FRESH, MDB_NOLOCK, &env, &dbi);
        if (r == 0) {
                r = put_format(env, dbi);
                mdb_env_close(env);
        }
        if (r == 0 && renameat(s->folder, FRESH, s->folder, DATABASE) < 0)
                r = errno;
        if (r == 0 && fsync(s->folder) < 0)
                r = errno;
        if (r)
                unlinkat(s->folder, FRESH, 0);
        return full_or(s, r, 0);
}

/* LMDB makes its table of readers with a hole and writes to it through the map: on a full disk that
 * would be the end of the process. */
static int make_readers(struct store *s)
{
        int fd = openat(s->folder, DATABASE "-lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        struct stat st;
        int r = 0;

        if (fd < 0)
                return errno == EROFS ? 0 : errno; /* then nobody writes, and LMDB does without */
        if (fstat(fd, &st) < 0)
                r = errno;
        else if (st.st_size < READERS)
                r = posix_fallocate(fd, 0, READERS);
        close(fd);
        return r;
}

static int check_format(struct store *s, uint64_t *ret_epoch)
{
        uint64_t format = 0;
        struct tree t;
        int r = begin_reading(s, &t);

        if (r)
                return r;
        r = tree_get_number(t, "format", &format);
        r = r ? r : tree_get_number(t, "epoch", ret_epoch);
        mdb_txn_abort(t.txn);
        return r ? r : format == TREE_FORMAT ? 0 : MDB_VERSION_MISMATCH;
}

static int apply_epoch(struct tree t, const struct change *c)
{
        return tree_put_number(t, "epoch", *(const uint64_t *)c->data + 1);
}

/* Takes the next epoch, in a transaction as all others: with the one before it as what must be there.
 * Its sync makes durable whatever an engine before has left in the page cache. */
static int take_epoch(struct store *s)
{
        struct change c = {.apply = apply_epoch, .data = &s->epoch};
        int dead, r;

        r = mdb_reader_check(s->env, &dead);
        r = r ? r : grow(s, 0);
        r = r ? r : commit(s, &c);
        if (r == 0)
                s->epoch++;
        return r;
}

static int open_database(struct store *s, const char *location, bool writing)
{
        int r = writing ? make_database(s, location) : 0;

        if (!writing && faccessat(s->folder, DATABASE, F_OK, 0) < 0)
                return errno == ENOENT ? 0 : errno; /* nothing was written yet */
        r = r ? r : make_readers(s);
        r = r ? r : open_env(location, DATABASE, writing ? 0 : MDB_RDONLY, &s->env, &s->dbi);
        r = r ? r : check_format(s, &s->epoch);
        return r || !writing ? r : take_epoch(s);
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
        s->epoch = 0;
        s->folder = open(location, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (s->folder < 0)
                return store_fail(s->host, call, -errno, "open", location);
        if (writing)
                class = store_lock(s->host, call, s->folder, location, &s->lock);
        if (class == PRVNG_DONE) {
                r = open_database(s, location, writing);
                if (r)
                        class = fail(s, call, r, "open the database of", location);
        }
        if (class != PRVNG_DONE)
                store_close(s);
        else
                *ret_epoch = s->epoch;
        return class;
}

/* Writing */

static int32_t may_write(struct store *s, struct prvng_call *call, const char *stream,
                         uint64_t epoch)
{
        if (s->lock < 0 || epoch != s->epoch)
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
        r = grow(s, c->n_data);
        if (r == 0)
                reserve(s, c->n_data);
        r = r ? r : commit(s, c);
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

        if (r == MDB_NOTFOUND || (r == 0 && c->segment == last + 1))
                end = r = 0;
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
        struct tree t;
        int r = MDB_NOTFOUND;

        if (s->env && store_name_good(stream)) {
                r = begin_reading(s, &t);
                if (r == 0) {
                        r = tree_read(t, stream, segment, offset, to_sink, &reading);
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
        int r = begin_reading(s, &t);

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

        if (r == 0 && s->env)
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
