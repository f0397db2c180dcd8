/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store that `prvng plugin new` writes, as it stands there, and with -DBAD=N with one flaw: put between it
 * and the system, or between the core and it. It does not sync: a kill cannot tell.
 */
#include <prvng/prvng.h>

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
        GOOD, LOSES_BYTES, SAME_EPOCH, TAKES_ANY_EPOCH, NO_LOCK, ANY_NAME, BAD_RECOVER, FORGETS_SNAPSHOT,
        READER_WRITES, WRITES_ON, INHERITED, STREAMS_LIE, OPENS_NOWHERE, BUFFERS,
};

#define IS(flaw) (BAD == (flaw))

/* --- between the store and the system --- */

static bool one_byte; /* was what the last write wrote */

static ssize_t bad_write(int fd, const void *data, size_t n)
{
        ssize_t r;

        one_byte = n == 1;
        if (IS(SAME_EPOCH) && n == sizeof(uint64_t))
                return (ssize_t)n;
        if (IS(LOSES_BYTES) && n > 5000)
                return write(fd, data, n - 1) + 1;
        r = write(fd, data, n);
        if (IS(WRITES_ON) && r != (ssize_t)n)
                (void)!ftruncate(fd, 0);
        return r;
}

static int bad_close(int fd)
{
        return IS(INHERITED) && one_byte ? 0 : close(fd);
}

static int bad_fstatat(int fd, const char *path, struct stat *ret, int flags)
{
        int r = fstatat(fd, path, ret, flags);

        ret->st_size += IS(STREAMS_LIE);
        return r;
}

#define write(fd, data, n)           bad_write(fd, data, n)
#define close(fd)                    bad_close(fd)
#define fstatat(fd, path, st, flags) bad_fstatat(fd, path, st, flags)
#define flock(fd, how)               (IS(NO_LOCK) ? 0 : flock(fd, how))
#define fsync(fd)                    ((void)(fd), 0)
#if BAD == 10 /* INHERITED */
#undef O_CLOEXEC
#define O_CLOEXEC 0
#endif
#define prvng_plugin_v1 sound_plugin_v1
static int32_t sound_plugin_v1(const struct prvng_host *h, const struct prvng_plugin **ret_plugin);

#include "skeleton-store.h"

#undef prvng_plugin_v1

/* --- between the core and the store --- */

static const char *name_of(const char *stream)
{
        return IS(ANY_NAME) && !is_name(stream) ? "any" : stream;
}

static uint64_t epoch_of(const struct store *s, uint64_t epoch)
{
        return IS(TAKES_ANY_EPOCH) ? s->epoch : epoch;
}

static int32_t bad_open(void *instance, struct prvng_call *call, const char *location, uint32_t flags,
                        uint64_t *ret_epoch)
{
        if (IS(OPENS_NOWHERE) && access(location, F_OK) != 0)
                location = ".";
        return store_open(instance, call, location, flags, ret_epoch);
}

static int32_t bad_append(void *instance, struct prvng_call *call, const char *stream, uint32_t segment,
                          const void *data, uint64_t n, uint64_t epoch)
{
        static char held[4096]; /* written with the next one that does not fit */
        static size_t n_held;
        struct store *s = instance;
        bool reads = s->lock < 0;
        int32_t r = PRVNG_DONE;

        if (IS(WRITES_ON))
                s->broken = false;
        if (IS(BUFFERS) && may_write(s, call, epoch, stream) == PRVNG_DONE && n_held + n < sizeof(held)) {
                close(open_segment(s, stream, segment, O_WRONLY | O_CREAT));
                memcpy(held + n_held, data, n);
                n_held += n;
                return PRVNG_DONE;
        }
        if (n_held)
                r = append(s, call, stream, segment, held, n_held, epoch);
        n_held = 0;
        if (r != PRVNG_DONE)
                return r;
        if (IS(READER_WRITES) && reads)
                s->lock = s->folder;
        r = append(s, call, name_of(stream), segment, data, n, epoch_of(s, epoch));
        if (reads)
                s->lock = -1;
        return r;
}

static int32_t bad_recover(void *instance, struct prvng_call *call, const char *stream, uint32_t segment,
                           uint64_t n, uint64_t epoch)
{
        if (IS(BAD_RECOVER) && n > 4096)
                n = n / 4096 * 4096;
        return recover(instance, call, name_of(stream), segment, n, epoch_of(instance, epoch));
}

static int32_t bad_remove(void *instance, struct prvng_call *call, const char *stream, uint64_t epoch)
{
        return remove_stream(instance, call, name_of(stream), epoch_of(instance, epoch));
}

static int32_t bad_snapshot_put(void *instance, struct prvng_call *call, const char *stream, const void *data,
                                uint64_t n, uint64_t epoch)
{
        struct store *s = instance;
        char path[256];

        path_of(path, name_of(stream), "0");
        if (IS(FORGETS_SNAPSHOT) && faccessat(s->folder, path, F_OK, 0) == 0)
                return PRVNG_DONE;
        return snapshot_put(s, call, name_of(stream), data, n, epoch_of(s, epoch));
}

static struct prvng_store bad_table;

static const void *bad_interface(void *instance, const char *id)
{
        return get_interface(instance, id) ? &bad_table : NULL;
}

int32_t prvng_plugin_v1(const struct prvng_host *h, const struct prvng_plugin **ret_plugin)
{
        static struct prvng_plugin bad;
        const struct prvng_plugin *sound;
        int32_t r = sound_plugin_v1(h, &sound);

        bad = *sound;
        bad.get_interface = bad_interface;
        bad_table = table;
        bad_table.open = bad_open;
        bad_table.append = bad_append;
        bad_table.recover = bad_recover;
        bad_table.remove = bad_remove;
        bad_table.snapshot_put = bad_snapshot_put;
        *ret_plugin = &bad;
        return r;
}
