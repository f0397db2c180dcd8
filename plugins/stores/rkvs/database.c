/* SPDX-License-Identifier: Apache-2.0 */
#include "database.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DATABASE "journal.mdb"
#define FRESH    "journal.new"  /* becomes DATABASE once it is whole */
#define READERS  (32u << 10)    /* bytes of LMDB's table of readers: about 500 of them */
#define MAP_MIN  (UINT64_C(16) << 20)
#define FLAGS    (MDB_NOSUBDIR | MDB_NOTLS)

/* LMDB calls a write that a full disk cut short an I/O error. */
static int full_or(const struct database *db, int r, uint64_t n_data)
{
        struct statvfs fs;

        if (r == EIO && fstatvfs(db->folder, &fs) == 0 &&
            (uint64_t)fs.f_bavail * fs.f_frsize < n_data + (1u << 20))
                return ENOSPC;
        return r;
}

/* Transactions */

/* `n` bytes more will fit into the map, with what is needed around them. */
static int grow(struct database *db, uint64_t n)
{
        MDB_envinfo info;
        MDB_stat stat;
        uint64_t need, map;
        int r;

        r = mdb_env_info(db->env, &info);
        r = r ? r : mdb_env_stat(db->env, &stat);
        if (r)
                return r;
        need = (uint64_t)(info.me_last_pgno + 1) * stat.ms_psize + n + n / 8 + (1u << 20);
        for (map = info.me_mapsize > MAP_MIN ? info.me_mapsize : MAP_MIN; map < need;)
                map *= 2;
        return map > info.me_mapsize ? mdb_env_set_mapsize(db->env, map) : 0;
}

static int double_map(struct database *db)
{
        MDB_envinfo info;
        int dead, r;

        r = mdb_reader_check(db->env, &dead); /* readers that were killed hold pages back */
        r = r ? r : mdb_env_info(db->env, &info);
        return r ? r : mdb_env_set_mapsize(db->env, info.me_mapsize * 2);
}

static int check_epoch(const struct database *db, struct tree t)
{
        uint64_t epoch;
        int r = tree_get_number(t, "epoch", &epoch);

        return r ? r : epoch == db->epoch ? 0 : -EAGAIN;
}

static int commit(struct database *db, const struct change *c)
{
        int r;

        for (;;) {
                struct tree t = {.dbi = db->dbi};

                r = mdb_txn_begin(db->env, NULL, 0, &t.txn);
                if (r)
                        return r;
                r = check_epoch(db, t);
                r = r ? r : c->apply(t, c);
                if (r)
                        mdb_txn_abort(t.txn);
                else
                        r = mdb_txn_commit(t.txn);
                if (r != MDB_MAP_FULL) /* nothing was written yet */
                        return full_or(db, r, c->n_data);
                r = double_map(db);
                if (r)
                        return r;
        }
}

static int begin_reading(MDB_env *env, MDB_txn **ret_txn)
{
        int r;

        while ((r = mdb_txn_begin(env, NULL, MDB_RDONLY, ret_txn)) == MDB_MAP_RESIZED) {
                r = mdb_env_set_mapsize(env, 0); /* the writer has made it larger */
                if (r)
                        break;
        }
        return r;
}

int database_read(struct database *db, struct tree *ret_tree)
{
        ret_tree->dbi = db->dbi;
        return begin_reading(db->env, &ret_tree->txn);
}

/* Room ahead */

#define AHEAD_MIN (256u << 10)
#define AHEAD_MAX (8u << 20)

static uint64_t file_end(struct database *db)
{
        MDB_envinfo info;
        MDB_stat stat;

        return mdb_env_info(db->env, &info) || mdb_env_stat(db->env, &stat)
                       ? 0
                       : (uint64_t)(info.me_last_pgno + 1) * stat.ms_psize;
}

/* Fills the file with zeros behind its last page, where LMDB goes on writing, unless the append is large
 * itself. A disk too full for zeros may still have room for data. */
static void reserve(struct database *db, uint64_t n_data)
{
        static const char zeros[64 << 10];
        uint64_t end = file_end(db), at, to;
        mdb_filehandle_t fd;

        if (!end || n_data > AHEAD_MIN || end + 2 * n_data + (64 << 10) <= db->reserved ||
            mdb_env_get_fd(db->env, &fd))
                return;
        to = end + 2 * n_data + (end < AHEAD_MIN ? AHEAD_MIN : end < AHEAD_MAX ? end : AHEAD_MAX);
        for (at = db->reserved > end ? db->reserved : end; at < to;) {
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
        db->reserved = at;
}

int database_commit(struct database *db, const struct change *c)
{
        int r = grow(db, c->n_data);

        if (r)
                return r;
        reserve(db, c->n_data);
        return commit(db, c);
}

/* Gives back what was reserved. If that is lost in a crash, the zeros are there again: harmless. */
static void cut_reserve(struct database *db)
{
        uint64_t end = file_end(db);
        mdb_filehandle_t fd;

        if (db->reserved > end && end && mdb_env_get_fd(db->env, &fd) == 0 &&
            ftruncate(fd, (off_t)end) < 0)
                db->reserved = 0;
}

/* Opening */

static int make_path(const char *location, const char *name, char **ret_path)
{
        return asprintf(ret_path, "%s/%s", location, name) < 0 ? ENOMEM : 0;
}

/* LMDB leaves its descriptor of the database to children. */
static int keep_from_children(MDB_env *env)
{
        mdb_filehandle_t fd;
        int r = mdb_env_get_fd(env, &fd);

        return r ? r : fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? errno : 0;
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
        r = r ? r : keep_from_children(env);
        r = r ? r : begin_reading(env, &txn);
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
static int make_database(struct database *db, const char *location)
{
        MDB_env *env;
        MDB_dbi dbi;
        int r;

        if (faccessat(db->folder, DATABASE, F_OK, 0) == 0)
                return 0;
        if (unlinkat(db->folder, FRESH, 0) < 0 && errno != ENOENT)
                return errno;
        r = open_env(location, FRESH, MDB_NOLOCK, &env, &dbi);
        if (r == 0) {
                r = put_format(env, dbi);
                mdb_env_close(env);
        }
        if (r == 0 && renameat(db->folder, FRESH, db->folder, DATABASE) < 0)
                r = errno;
        if (r == 0 && fsync(db->folder) < 0)
                r = errno;
        if (r)
                unlinkat(db->folder, FRESH, 0);
        return full_or(db, r, 0);
}

/* LMDB makes its table of readers with a hole and writes to it through the map: on a full disk that
 * would be the end of the process. */
static int make_readers(struct database *db)
{
        int fd = openat(db->folder, DATABASE "-lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
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

static int check_format(struct database *db, uint64_t *ret_epoch)
{
        uint64_t format = 0;
        struct tree t;
        int r = database_read(db, &t);

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
static int take_epoch(struct database *db)
{
        struct change c = {.apply = apply_epoch, .data = &db->epoch};
        int dead, r;

        r = mdb_reader_check(db->env, &dead);
        r = r ? r : grow(db, 0);
        r = r ? r : commit(db, &c);
        if (r == 0)
                db->epoch++;
        return r;
}

int database_open(struct database *db, const char *location, bool writing)
{
        int r;

        if (!writing && faccessat(db->folder, DATABASE, F_OK, 0) < 0)
                return errno == ENOENT ? 0 : errno; /* nothing was written yet */
        r = make_readers(db); /* first: where there is a database, looking at it needs no room */
        r = r || !writing ? r : make_database(db, location);
        r = r ? r : open_env(location, DATABASE, writing ? 0 : MDB_RDONLY, &db->env, &db->dbi);
        r = r ? r : check_format(db, &db->epoch);
        return r || !writing ? r : take_epoch(db);
}

void database_close(struct database *db, bool tidy)
{
        if (db->env && tidy)
                cut_reserve(db);
        if (db->env)
                mdb_env_close(db->env);
        db->env = NULL;
        db->reserved = 0;
}
