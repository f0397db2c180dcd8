/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store `file`: a folder of segments that a person can read.
 *
 *      LOCATION/lock                   flock(2)ed by the writer; holds "PID HOST"
 *      LOCATION/epoch                  of the last writer
 *      LOCATION/streams/NAME/00000001.jsonl ...
 *      LOCATION/streams/NAME/snapshot
 */
#include "../common.h"
#include "segment.h"

#include <prvng/kind/store.h>
#include <prvng/plugin.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPEN_MAX_ 32 /* segments kept open for appending */

struct stream {
        char name[STORE_NAME_MAX + 1];
        struct segment segment; /* fd -1: not open */
        uint64_t used;          /* when, for closing the one not used longest */
};

struct store {
        const struct prvng_host *host;
        int folder;  /* LOCATION, -1: closed */
        int streams; /* LOCATION/streams */
        int lock;    /* -1: read only */
        uint64_t epoch;
        uint64_t clock;
        bool failed; /* S1 */
        struct stream open[OPEN_MAX_];
        struct {     /* a snapshot that comes in parts */
                int fd; /* of snapshot.tmp; -1: none */
                char stream[STORE_NAME_MAX + 1];
                uint64_t at;
        } part;
};

static int32_t fail(struct store *s, struct prvng_call *call, int error, const char *action,
                    const char *what)
{
        return store_fail(s->host, call, error, action, what);
}

/* Whether this opening may write to that stream; DONE or what was said. */
static int32_t may_write(struct store *s, struct prvng_call *call, const char *stream,
                         uint64_t epoch)
{
        if (s->lock < 0 || epoch != s->epoch)
                return store_refuse_epoch(s->host, call);
        return store_name_good(stream) ? PRVNG_DONE : store_refuse_name(s->host, call, stream);
}

/* Opening */

static uint64_t read_epoch(struct store *s)
{
        unsigned long long epoch = 0;
        char text[32] = "";
        int fd = openat(s->folder, "epoch", O_RDONLY | O_CLOEXEC);

        if (fd < 0)
                return 0;
        if (read(fd, text, sizeof(text) - 1) > 0)
                sscanf(text, "%llu", &epoch);
        close(fd);
        return epoch;
}

/* Writes a small file whole, durably, through a temporary name. */
static int replace_file(int folder, const char *name, const void *data, uint64_t n)
{
        char temporary[64];
        int fd, r;

        snprintf(temporary, sizeof(temporary), "%s.tmp", name);
        fd = openat(folder, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        r = write_all(fd, data, n, 0);
        if (r == 0 && fsync(fd) < 0)
                r = -errno;
        close(fd);
        if (r == 0 && (renameat(folder, temporary, folder, name) < 0 || fsync(folder) < 0))
                r = -errno;
        if (r < 0)
                unlinkat(folder, temporary, 0);
        return r;
}

/* What is left of it is overwritten by the next one, or removed with its stream. */
static void forget_part(struct store *s)
{
        if (s->part.fd >= 0)
                close(s->part.fd);
        s->part.fd = -1;
}

static void store_close(void *instance)
{
        struct store *s = instance;

        forget_part(s);
        for (int i = 0; i < OPEN_MAX_; i++) {
                if (s->open[i].segment.fd < 0)
                        continue;
                segment_close(&s->open[i].segment);
                close(s->open[i].segment.folder);
        }
        if (s->streams >= 0)
                close(s->streams);
        if (s->folder >= 0)
                close(s->folder);
        if (s->lock >= 0)
                close(s->lock);
        s->streams = s->folder = s->lock = -1;
}

static int32_t store_open(void *instance, struct prvng_call *call, const char *location,
                          uint32_t flags, uint64_t *ret_epoch)
{
        struct store *s = instance;
        bool writing = !(flags & PRVNG_STORE_READ_ONLY);
        char text[32];
        int32_t r = PRVNG_DONE;
        int q, n;

        s->failed = false;
        s->folder = open(location, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (s->folder < 0)
                return fail(s, call, -errno, "open", location);
        if (writing)
                r = store_lock(s->host, call, s->folder, location, &s->lock);
        if (r == PRVNG_DONE && writing && mkdirat(s->folder, "streams", 0700) < 0 &&
            errno != EEXIST)
                r = fail(s, call, -errno, "make the file streams of", location);
        if (r == PRVNG_DONE) {
                s->streams = openat(s->folder, "streams", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                if (s->streams < 0 && (writing || errno != ENOENT))
                        r = fail(s, call, -errno, "open the file streams of", location);
        }
        s->epoch = read_epoch(s) + writing;
        if (r == PRVNG_DONE && writing) {
                n = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)s->epoch);
                q = replace_file(s->folder, "epoch", text, (uint64_t)n);
                if (q < 0)
                        r = fail(s, call, q, "write the file epoch of", location);
        }
        if (r != PRVNG_DONE)
                store_close(s);
        else
                *ret_epoch = s->epoch;
        return r;
}

/* Streams */

static int open_folder(struct store *s, const char *name, bool make)
{
        int fd;

        if (s->streams < 0 || !store_name_good(name))
                return -ENOENT;
        if (make && mkdirat(s->streams, name, 0700) == 0 && fsync(s->streams) < 0)
                return -errno;
        fd = openat(s->streams, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

static void close_stream(struct stream *st)
{
        if (st->segment.fd < 0)
                return;
        segment_close(&st->segment);
        close(st->segment.folder);
}

/* The place of a stream among the open ones: its own, a free one, or the one not used longest. */
static struct stream *place_of(struct store *s, const char *name)
{
        struct stream *best = NULL;

        for (int i = 0; i < OPEN_MAX_; i++) {
                struct stream *st = &s->open[i];

                if (st->segment.fd >= 0 && strcmp(st->name, name) == 0) {
                        best = st;
                        break;
                }
                if (!best || (best->segment.fd >= 0 &&
                              (st->segment.fd < 0 || st->used < best->used)))
                        best = st;
        }
        if (best->segment.fd >= 0 && strcmp(best->name, name) != 0)
                close_stream(best);
        best->used = ++s->clock;
        return best;
}

/* A folder that cannot be listed must not look like an empty one. */
static int open_list(int folder, DIR **ret_dir)
{
        int fd = dup(folder), e;

        if (fd < 0)
                return -errno;
        *ret_dir = fdopendir(fd);
        if (!*ret_dir) {
                e = errno;
                close(fd);
                return -e;
        }
        rewinddir(*ret_dir);
        return 0;
}

/* First and last segment and the bytes of a stream, from its folder. */
static int measure(int folder, uint32_t *ret_first, uint32_t *ret_last, uint64_t *ret_bytes)
{
        DIR *dir;
        uint32_t number;
        struct stat st;
        char tail[8];
        int r;

        *ret_first = *ret_last = 0;
        *ret_bytes = 0;
        r = open_list(folder, &dir);
        if (r < 0)
                return r;
        for (struct dirent *e; errno = 0, (e = readdir(dir));) {
                if (sscanf(e->d_name, "%8u.%5s", &number, tail) != 2 || strcmp(tail, "jsonl") != 0)
                        continue;
                if (!*ret_first || number < *ret_first)
                        *ret_first = number;
                if (number > *ret_last)
                        *ret_last = number;
                if (fstatat(folder, e->d_name, &st, 0) == 0)
                        *ret_bytes += (uint64_t)st.st_size;
        }
        r = -errno;
        closedir(dir);
        return r;
}

static int open_segment(struct store *s, struct stream *st, const char *name, uint32_t number)
{
        uint32_t first, last;
        uint64_t bytes;
        int folder, r;

        folder = open_folder(s, name, number == 1); /* only the first one makes a stream */
        if (folder < 0)
                return folder;
        r = measure(folder, &first, &last, &bytes);
        if (r == 0 && (number == 0 || (number != last && number != last + 1)))
                r = -EINVAL;
        if (r == 0 && number == last) /* closed for want of places */
                r = segment_reopen(&st->segment, folder, number);
        else if (r == 0)
                r = segment_create(&st->segment, folder, number);
        if (r < 0) {
                close(folder);
                st->segment.fd = -1;
                return r;
        }
        snprintf(st->name, sizeof(st->name), "%s", name);
        return 0;
}

static int32_t store_append(void *instance, struct prvng_call *call, const char *stream,
                            uint32_t segment, const void *data, uint64_t n_data, uint64_t epoch)
{
        struct store *s = instance;
        struct stream *st;
        int r = may_write(s, call, stream, epoch);

        if (r != PRVNG_DONE)
                return r;
        if (s->failed)
                return store_refuse_failed(s->host, call);
        st = place_of(s, stream);
        if (st->segment.fd >= 0 && st->segment.number != segment)
                close_stream(st);
        if (st->segment.fd < 0)
                r = open_segment(s, st, stream, segment);
        if (r == 0)
                r = segment_append(&st->segment, data, n_data);
        if (r == 0)
                return PRVNG_DONE;
        s->failed = true;
        return fail(s, call, r, "write stream", stream);
}

static int32_t store_recover(void *instance, struct prvng_call *call, const char *stream,
                             uint32_t segment, uint64_t n_data, uint64_t epoch)
{
        struct store *s = instance;
        struct stream *st;
        int folder, r = may_write(s, call, stream, epoch);

        if (r != PRVNG_DONE)
                return r;
        st = place_of(s, stream);
        close_stream(st);
        folder = open_folder(s, stream, false);
        r = folder < 0 ? folder : segment_recover(&st->segment, folder, segment, n_data);
        if (r < 0) {
                if (folder >= 0)
                        close(folder);
                st->segment.fd = -1;
                return fail(s, call, r, "recover stream", stream);
        }
        snprintf(st->name, sizeof(st->name), "%s", stream);
        return PRVNG_DONE;
}

static int32_t store_read(void *instance, struct prvng_call *call, const char *stream,
                          uint32_t segment, uint64_t offset, struct prvng_sink *data)
{
        struct store *s = instance;
        int folder, r;

        folder = open_folder(s, stream, false);
        r = folder < 0 ? folder : segment_read(folder, segment, offset, s->host, data);
        if (folder >= 0)
                close(folder);
        if (r == 0)
                return PRVNG_DONE;
        if (r == -ENOENT)
                return store_refuse(s->host, call, PRVNG_NOT_FOUND, "no such segment");
        return fail(s, call, r, "read stream", stream);
}

/* One stream's entry of the list; nothing for what is no stream. */
static int list_stream(struct store *s, const char *name, bool first, struct prvng_sink *result)
{
        uint32_t from, to;
        uint64_t bytes;
        char line[256];
        int folder, n, r;

        if (!store_name_good(name))
                return 0;
        folder = open_folder(s, name, false);
        if (folder == -ENOTDIR || folder == -ENOENT)
                return 0;
        if (folder < 0)
                return folder;
        r = measure(folder, &from, &to, &bytes);
        close(folder);
        if (r < 0)
                return r;
        n = snprintf(line, sizeof(line),
                     "%s{\"name\":\"%s\",\"first\":%u,\"last\":%u,\"bytes\":%llu}",
                     first ? "" : ",", name, from, to, (unsigned long long)bytes);
        r = s->host->sink_write(result, line, (uint64_t)n);
        return r < 0 ? r : 1;
}

static int32_t store_streams(void *instance, struct prvng_call *call, struct prvng_sink *result)
{
        struct store *s = instance;
        const struct prvng_host *h = s->host;
        int r = h->sink_write(result, "{\"streams\":[", 12);
        bool first = true;
        DIR *dir = NULL;

        if (s->streams >= 0 && r == 0)
                r = open_list(s->streams, &dir);
        while (dir && r >= 0) {
                struct dirent *e;

                errno = 0;
                e = readdir(dir);
                if (!e) {
                        r = -errno;
                        break;
                }
                r = list_stream(s, e->d_name, first, result);
                first &= r != 1;
        }
        if (dir)
                closedir(dir);
        if (r >= 0)
                r = h->sink_write(result, "]}", 2);
        return r < 0 ? fail(s, call, r, "list", "the streams") : PRVNG_DONE;
}

static int32_t store_remove(void *instance, struct prvng_call *call, const char *stream,
                            uint64_t epoch)
{
        struct store *s = instance;
        uint32_t first, last;
        char name[SEGMENT_NAME];
        uint64_t bytes;
        int folder, r = may_write(s, call, stream, epoch);

        if (r != PRVNG_DONE)
                return r;
        close_stream(place_of(s, stream));
        if (strcmp(s->part.stream, stream) == 0)
                forget_part(s);
        folder = open_folder(s, stream, false);
        if (folder == -ENOENT)
                return PRVNG_DONE;
        if (folder < 0)
                return fail(s, call, folder, "open stream", stream);
        r = measure(folder, &first, &last, &bytes);
        for (; last > 0 && last >= first && r == 0; last--) { /* from the end: a prefix stays */
                segment_name(last, name);
                if (unlinkat(folder, name, 0) < 0 && errno != ENOENT)
                        r = -errno;
        }
        if (unlinkat(folder, "snapshot", 0) < 0 && errno != ENOENT && r == 0)
                r = -errno;
        unlinkat(folder, "recovering.tmp", 0);
        unlinkat(folder, "snapshot.tmp", 0);
        close(folder);
        if (r == 0 && (unlinkat(s->streams, stream, AT_REMOVEDIR) < 0 || fsync(s->streams) < 0))
                r = -errno;
        return r < 0 ? fail(s, call, r, "remove stream", stream) : PRVNG_DONE;
}

static int32_t store_snapshot_put(void *instance, struct prvng_call *call, const char *stream,
                                  const void *data, uint64_t n_data, uint64_t epoch)
{
        struct store *s = instance;
        int folder, r = may_write(s, call, stream, epoch);

        if (r != PRVNG_DONE)
                return r;
        forget_part(s); /* under the same temporary name */
        folder = open_folder(s, stream, true);
        r = folder < 0 ? folder : replace_file(folder, "snapshot", data, n_data);
        if (folder >= 0)
                close(folder);
        return r < 0 ? fail(s, call, r, "write the snapshot of", stream) : PRVNG_DONE;
}

static int begin_part(struct store *s, int folder, const char *stream)
{
        s->part.fd = openat(folder, "snapshot.tmp", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (s->part.fd < 0)
                return -errno;
        snprintf(s->part.stream, sizeof(s->part.stream), "%s", stream);
        s->part.at = 0;
        return 0;
}

/* Each part is synced, so that the last one does not have to wait for all of them. */
static int put_part(struct store *s, int folder, const void *data, uint64_t n_data, bool last)
{
        int r = write_all(s->part.fd, data, n_data, s->part.at);

        s->part.at += n_data;
        if (r == 0 && (last ? fsync(s->part.fd) : fdatasync(s->part.fd)) < 0)
                r = -errno;
        if (r == 0 && last && (renameat(folder, "snapshot.tmp", folder, "snapshot") < 0 || fsync(folder) < 0))
                r = -errno;
        if (r < 0 || last)
                forget_part(s);
        if (r < 0)
                unlinkat(folder, "snapshot.tmp", 0);
        return r;
}

static int32_t store_snapshot_part(void *instance, struct prvng_call *call, const char *stream,
                                   const void *data, uint64_t n_data, uint64_t offset, uint32_t last,
                                   uint64_t epoch)
{
        struct store *s = instance;
        int folder, r = may_write(s, call, stream, epoch);

        if (r != PRVNG_DONE)
                return r;
        if (offset == 0)
                forget_part(s);
        else if (s->part.fd < 0 || strcmp(s->part.stream, stream) != 0 || s->part.at != offset)
                return fail(s, call, -EINVAL, "write the snapshot of", stream);
        folder = open_folder(s, stream, offset == 0);
        r = folder < 0 ? folder : offset == 0 ? begin_part(s, folder, stream) : 0;
        r = r < 0 ? r : put_part(s, folder, data, n_data, last != 0);
        if (folder >= 0)
                close(folder);
        return r < 0 ? fail(s, call, r, "write the snapshot of", stream) : PRVNG_DONE;
}

static int32_t store_snapshot_get(void *instance, struct prvng_call *call, const char *stream,
                                  struct prvng_sink *data)
{
        struct store *s = instance;
        char chunk[16384];
        int folder, fd, r = 0;
        ssize_t n = 0;

        folder = open_folder(s, stream, false);
        fd = folder < 0 ? -1 : openat(folder, "snapshot", O_RDONLY | O_CLOEXEC);
        if (folder >= 0)
                close(folder);
        if (fd < 0)
                return store_refuse(s->host, call, PRVNG_NOT_FOUND, "no snapshot");
        while (r == 0 && (n = read(fd, chunk, sizeof(chunk))) > 0)
                r = s->host->sink_write(data, chunk, (uint64_t)n);
        close(fd);
        return r == 0 && n == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
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

static int32_t create(const struct prvng_host *host, const void *config, uint64_t n_config,
                      void **ret_instance)
{
        struct store *s = calloc(1, sizeof(*s));

        if (!s)
                return PRVNG_INTERNAL;
        s->host = host;
        s->folder = s->streams = s->lock = s->part.fd = -1;
        for (int i = 0; i < OPEN_MAX_; i++)
                s->open[i].segment.fd = -1;
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
        .id = "org.prvng.store.file",
        .name = "file",
        .kind = "store",
        .version = PRVNG_VERSION,
        .description = "journals as folders of readable files",
        .licence = "Apache-2.0",
        .threads = PRVNG_THREADS_SERIAL_INSTANCE,
        .create = create,
        .destroy = destroy,
        .get_interface = get_interface,
};

PRVNG_PLUGIN_NOTE("store", "org.prvng.store.file", "file", PRVNG_VERSION, "[]", "none");

int32_t prvng_plugin_v1(const struct prvng_host *host, const struct prvng_plugin **ret_plugin)
{
        *ret_plugin = &descriptor;
        return PRVNG_DONE;
}
