/*
 * The store @NAME@: one file for each segment, in a folder, synced by every append. See the promises S1 to S4
 * in prvng/kind/store.h; `prvng plugin check` asks for each.
 */
#include <prvng/prvng.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

PRVNG_PLUGIN_NOTE("store", "org.example.prvng.@NAME@", "@NAME@", "0.1.0", "[]", "none");

static const struct prvng_host *host;

struct store {
        int folder, lock;
        uint64_t epoch;
        bool broken;
};

static int32_t fail(struct prvng_call *call, int32_t class, const char *message)
{
        host->error(call, &(struct prvng_error){.struct_size = sizeof(struct prvng_error), .error_class = class,
                                                .retry_after_ms = -1, .message = message});
        return class;
}

static bool is_name(const char *s)
{
        size_t n = strlen(s);

        return n > 0 && n < 65 && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ._-") == n &&
               strchr("abcdefghijklmnopqrstuvwxyz0123456789", s[0]);
}

static void path_of(char ret[256], const char *stream, const char *part)
{
        snprintf(ret, 256, "s-%s@%s", stream, part);
}

static int open_segment(const struct store *s, const char *stream, uint32_t segment, int flags)
{
        char path[256], part[16];

        snprintf(part, sizeof(part), "%u", segment);
        path_of(path, stream, part);
        return openat(s->folder, path, flags | O_CLOEXEC, 0600);
}

static int32_t may_write(struct store *s, struct prvng_call *call, uint64_t epoch, const char *stream)
{
        if (s->lock < 0)
                return fail(call, PRVNG_CONFLICT, "opened to read only");
        if (epoch != s->epoch)
                return fail(call, PRVNG_CONFLICT, "another epoch");
        if (!is_name(stream))
                return fail(call, PRVNG_PERMANENT, "no name of a stream");
        if (s->broken)
                return fail(call, PRVNG_PERMANENT, "an append failed before: open again");
        return PRVNG_DONE;
}

static uint64_t read_epoch(const struct store *s)
{
        int fd = openat(s->folder, "epoch", O_RDONLY | O_CLOEXEC);
        uint64_t n = 0;

        if (fd >= 0) {
                if (read(fd, &n, sizeof(n)) != sizeof(n))
                        n = 0;
                close(fd);
        }
        return n;
}

static int32_t take_lock(struct store *s, struct prvng_call *call, uint64_t *ret_epoch)
{
        char text[64] = "", message[192], name[64] = "";
        int fd;

        s->lock = openat(s->folder, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (flock(s->lock, LOCK_EX | LOCK_NB) < 0) {
                if (read(s->lock, text, sizeof(text) - 1) < 0)
                        text[0] = 0;
                gethostname(name, sizeof(name) - 1);
                snprintf(message, sizeof(message), "held by pid %s on %s", text, name);
                close(s->lock);
                s->lock = -1;
                return fail(call, PRVNG_CONFLICT, message);
        }
        if (ftruncate(s->lock, 0) == 0)
                dprintf(s->lock, "%d", getpid());
        *ret_epoch = s->epoch = read_epoch(s) + 1;
        fd = openat(s->folder, "epoch", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || write(fd, &s->epoch, sizeof(s->epoch)) != sizeof(s->epoch) || fsync(fd) < 0 ||
            fsync(s->folder) < 0) {
                if (fd >= 0)
                        close(fd);
                close(s->lock);
                s->lock = -1;
                return fail(call, PRVNG_PERMANENT, "the epoch cannot be written");
        }
        close(fd);
        return PRVNG_DONE;
}

static void store_close(void *instance)
{
        struct store *s = instance;

        if (s->folder >= 0)
                close(s->folder);
        if (s->lock >= 0)
                close(s->lock);
        s->folder = s->lock = -1;
        s->broken = false;
}

static int32_t store_open(void *instance, struct prvng_call *call, const char *location, uint32_t flags,
                          uint64_t *ret_epoch)
{
        struct store *s = instance;
        int32_t r;

        s->folder = open(location, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
        if (s->folder < 0)
                return fail(call, PRVNG_PERMANENT, "there is no such folder");
        if (flags & PRVNG_STORE_READ_ONLY) {
                *ret_epoch = s->epoch = read_epoch(s);
                return PRVNG_DONE;
        }
        r = take_lock(s, call, ret_epoch);
        if (r != PRVNG_DONE)
                store_close(s);
        return r;
}

static int32_t append(void *instance, struct prvng_call *call, const char *stream, uint32_t segment,
                      const void *data, uint64_t n, uint64_t epoch)
{
        struct store *s = instance;
        int32_t r = may_write(s, call, epoch, stream);
        int fd;

        if (r != PRVNG_DONE)
                return r;
        fd = open_segment(s, stream, segment, O_WRONLY | O_CREAT | O_APPEND);
        if (fd < 0)
                return fail(call, PRVNG_PERMANENT, strerror(errno));
        if (write(fd, data, n) != (ssize_t)n || fsync(fd) < 0 || fsync(s->folder) < 0) {
                s->broken = true;
                r = fail(call, PRVNG_QUOTA, "no room");
        }
        close(fd);
        return r;
}

static int32_t pour(int fd, uint64_t offset, struct prvng_sink *sink)
{
        char chunk[65536];
        ssize_t n = 0;

        if (offset < INT64_MAX)
                while ((n = pread(fd, chunk, sizeof(chunk), (off_t)offset)) > 0) {
                        if (host->sink_write(sink, chunk, (uint64_t)n) != 0)
                                break;
                        offset += (uint64_t)n;
                }
        close(fd);
        return n == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
}

static int32_t store_read(void *instance, struct prvng_call *call, const char *stream, uint32_t segment,
                          uint64_t offset, struct prvng_sink *data)
{
        int fd = is_name(stream) ? open_segment(instance, stream, segment, O_RDONLY) : -1;

        return fd < 0 ? fail(call, PRVNG_NOT_FOUND, "no such segment") : pour(fd, offset, data);
}

static int32_t recover(void *instance, struct prvng_call *call, const char *stream, uint32_t segment, uint64_t n,
                       uint64_t epoch)
{
        struct store *s = instance;
        int32_t r = may_write(s, call, epoch, stream);
        int fd = r == PRVNG_DONE ? open_segment(s, stream, segment, O_WRONLY | O_CREAT) : -1;

        if (r != PRVNG_DONE)
                return r;
        if (fd < 0 || ftruncate(fd, (off_t)n) < 0 || fsync(fd) < 0)
                r = fail(call, PRVNG_PERMANENT, "it cannot be cut");
        if (fd >= 0)
                close(fd);
        return r;
}

/* Calls `visit` for each segment; a snapshot is segment 0. */
static void each(const struct store *s, void (*visit)(const struct store *s, const char *file, const char *stream,
                                                      uint32_t segment, void *userdata), void *userdata)
{
        DIR *d = fdopendir(openat(s->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));

        for (const struct dirent *e; d && (e = readdir(d));) {
                char stream[256];
                unsigned int segment;

                if (sscanf(e->d_name, "s-%255[^@]@%u", stream, &segment) == 2)
                        visit(s, e->d_name, stream, segment, userdata);
        }
        if (d)
                closedir(d);
}

struct listing {
        struct {
                char name[80];
                uint32_t first, last;
                uint64_t bytes;
        } list[64];
        size_t n;
};

static void add(const struct store *s, const char *file, const char *stream, uint32_t segment, void *userdata)
{
        struct listing *l = userdata;
        struct stat st;
        size_t i = 0;

        if (segment == 0 || fstatat(s->folder, file, &st, 0) < 0)
                return;
        while (i < l->n && strcmp(l->list[i].name, stream) != 0)
                i++;
        if (i == 64)
                return;
        if (i == l->n) {
                snprintf(l->list[l->n++].name, sizeof(l->list[0].name), "%.79s", stream);
                l->list[i].first = l->list[i].last = segment;
        }
        l->list[i].first = segment < l->list[i].first ? segment : l->list[i].first;
        l->list[i].last = segment > l->list[i].last ? segment : l->list[i].last;
        l->list[i].bytes += (uint64_t)st.st_size;
}

static int32_t streams(void *instance, struct prvng_call *call, struct prvng_sink *result)
{
        struct listing l = {.n = 0};
        char text[256];

        each(instance, add, &l);
        host->sink_write(result, "{\"streams\":[", 12);
        for (size_t i = 0; i < l.n; i++)
                host->sink_write(result, text, (uint64_t)snprintf(text, sizeof(text),
                                 "%s{\"name\":\"%s\",\"first\":%u,\"last\":%u,\"bytes\":%llu}", i ? "," : "",
                                 l.list[i].name, l.list[i].first, l.list[i].last,
                                 (unsigned long long)l.list[i].bytes));
        return host->sink_write(result, "]}", 2) == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
}

static void remove_one(const struct store *s, const char *file, const char *stream, uint32_t segment, void *userdata)
{
        if (strcmp(stream, userdata) == 0)
                unlinkat(s->folder, file, 0);
}

static int32_t remove_stream(void *instance, struct prvng_call *call, const char *stream, uint64_t epoch)
{
        int32_t r = may_write(instance, call, epoch, stream);

        if (r == PRVNG_DONE)
                each(instance, remove_one, (void *)(uintptr_t)stream);
        return r;
}

static int32_t snapshot_put(void *instance, struct prvng_call *call, const char *stream, const void *data,
                            uint64_t n, uint64_t epoch)
{
        struct store *s = instance;
        int32_t r = may_write(s, call, epoch, stream);
        char path[256];
        int fd;

        if (r != PRVNG_DONE)
                return r;
        path_of(path, stream, "0");
        fd = openat(s->folder, "temporary", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0 || write(fd, data, n) != (ssize_t)n || fsync(fd) < 0)
                r = fail(call, PRVNG_QUOTA, "no room");
        if (fd >= 0)
                close(fd);
        if (r == PRVNG_DONE && (renameat(s->folder, "temporary", s->folder, path) < 0 || fsync(s->folder) < 0))
                r = fail(call, PRVNG_PERMANENT, "the snapshot cannot be put into its place");
        return r;
}

static int32_t snapshot_get(void *instance, struct prvng_call *call, const char *stream, struct prvng_sink *data)
{
        int fd = is_name(stream) ? open_segment(instance, stream, 0, O_RDONLY) : -1;

        return fd < 0 ? fail(call, PRVNG_NOT_FOUND, "there is none") : pour(fd, 0, data);
}

static const struct prvng_store table = {
        .struct_size = sizeof(table), .open = store_open, .append = append, .read = store_read,
        .recover = recover, .streams = streams, .remove = remove_stream, .snapshot_put = snapshot_put,
        .snapshot_get = snapshot_get, .close = store_close};

static int32_t create(const struct prvng_host *h, const void *config, uint64_t n, void **ret_instance)
{
        struct store *s = calloc(1, sizeof(*s));

        s->folder = s->lock = -1;
        *ret_instance = s;
        return PRVNG_DONE;
}

static const void *get_interface(void *instance, const char *id)
{
        return strcmp(id, PRVNG_STORE) == 0 ? &table : NULL;
}

static const struct prvng_plugin plugin = {
        .struct_size = sizeof(plugin), .abi_minor = PRVNG_ABI_MINOR, .id = "org.example.prvng.@NAME@",
        .name = "@NAME@", .kind = "store", .version = "0.1.0", .description = "Keeps the journal in a folder",
        .licence = "Apache-2.0", .create = create, .destroy = free, .get_interface = get_interface};

int32_t prvng_plugin_v1(const struct prvng_host *h, const struct prvng_plugin **ret_plugin)
{
        host = h;
        *ret_plugin = &plugin;
        return PRVNG_DONE;
}
