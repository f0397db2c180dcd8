/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Test store "crashstore": the store `file`, and a machine that fails at the worst moment.
 *
 * PRVNG_CRASH holds what shall happen, a comma-separated list with an entry for each process that opens
 * the store for writing, in the order in which they do (PRVNG_CRASH_STATE names files that count them:
 * that name with ".0", ".1" ... behind it). Processes behind the end of the list live. An entry is
 * NUMBER:WAY. The process is killed by SIGKILL
 *
 *      before   with all lines in front of record NUMBER on the disk, and no seal
 *      torn     with half of the line of record NUMBER behind them
 *      whole    with the line of record NUMBER behind them, and no seal unless it is the last
 *      hole     with the whole batch of record NUMBER on the disk, but for zeros in the middle
 *      after    with the whole batch on the disk, before anybody is told so
 *      cut      before recover() number NUMBER does anything
 *      copied   after recover() number NUMBER
 *
 * Records are counted over all streams, from 1, in the order in which they are appended.
 */
#include <prvng/kind/store.h>
#include <prvng/plugin.h>

/* The real store, with its descriptor, note and entry out of the way. */
int32_t file_plugin_v1(const struct prvng_host *host, const struct prvng_plugin **ret_plugin);

#define prvng_plugin_v1 file_plugin_v1
#pragma push_macro("PRVNG_PLUGIN_NOTE")
#undef PRVNG_PLUGIN_NOTE
#define PRVNG_PLUGIN_NOTE(...) struct crashstore_needs_no_second_note
#include "../../plugins/stores/file/file.c"
#pragma pop_macro("PRVNG_PLUGIN_NOTE")
#undef prvng_plugin_v1

#include <signal.h>

static struct {
        uint64_t at; /* 0: lives */
        char way[16];
        uint64_t n_records, n_recovers;
} crash;

static void read_order(void)
{
        const char *list = getenv("PRVNG_CRASH"), *state = getenv("PRVNG_CRASH_STATE");
        unsigned long long at;
        char path[4096];

        crash.at = 0;
        for (int i = 0; list && state && *list; i++) {
                int fd;

                snprintf(path, sizeof(path), "%s.%d", state, i);
                fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
                if (fd >= 0) {
                        close(fd);
                        if (sscanf(list, "%llu:%15[a-z]", &at, crash.way) == 2)
                                crash.at = at;
                        return;
                }
                list += strcspn(list, ",");
                list += *list == ',';
        }
}

static bool way_is(const char *way)
{
        return strcmp(crash.way, way) == 0;
}

_Noreturn static void die(void)
{
        for (;;)
                kill(getpid(), SIGKILL);
}

static int32_t crash_open(void *instance, struct prvng_call *call, const char *location,
                          uint32_t flags, uint64_t *ret_epoch)
{
        if (!(flags & PRVNG_STORE_READ_ONLY))
                read_order();
        return store_open(instance, call, location, flags, ret_epoch);
}

/* The line of the record that is number `n` in these lines, NULL if there are fewer; counts them. */
static const char *find_record(const char *data, uint64_t n_data, uint64_t n, uint64_t *ret_count)
{
        static const char record[] = "{\"seq\":";
        const char *found = NULL, *end = data + n_data;

        *ret_count = 0;
        for (const char *line = data; line < end;) {
                const char *nl = memchr(line, '\n', (size_t)(end - line));

                if ((size_t)(end - line) > sizeof(record) &&
                    memcmp(line, record, sizeof(record) - 1) == 0 && ++*ret_count == n)
                        found = line;
                line = nl ? nl + 1 : end;
        }
        return found;
}

/* How much of the batch gets to the disk. */
static uint64_t part(const char *data, uint64_t n_data, const char *line)
{
        uint64_t from = (uint64_t)(line - data);
        uint64_t n_line = (uint64_t)((const char *)memchr(line, '\n', n_data - from) + 1 - line);

        return way_is("before") ? from : way_is("torn") ? from + n_line / 2
                        : way_is("whole") ? from + n_line : n_data;
}

static int32_t crash_append(void *instance, struct prvng_call *call, const char *stream,
                            uint32_t segment, const void *data, uint64_t n_data, uint64_t epoch)
{
        uint64_t n = crash.at > crash.n_records ? crash.at - crash.n_records : 0, count;
        const char *line = find_record(data, n_data, n, &count);
        char *copy;

        crash.n_records += count;
        if (!line || way_is("cut") || way_is("copied"))
                return store_append(instance, call, stream, segment, data, n_data, epoch);
        n_data = part(data, n_data, line);
        copy = malloc(n_data + 1);
        if (!copy)
                die();
        memcpy(copy, data, n_data);
        if (way_is("hole"))
                memset(copy + n_data / 3, 0, n_data / 3);
        store_append(instance, call, stream, segment, copy, n_data, epoch);
        die();
}

static int32_t crash_recover(void *instance, struct prvng_call *call, const char *stream,
                             uint32_t segment, uint64_t n_data, uint64_t epoch)
{
        bool now = crash.at && ++crash.n_recovers == crash.at;
        int32_t r;

        if (now && way_is("cut"))
                die();
        r = store_recover(instance, call, stream, segment, n_data, epoch);
        if (now && way_is("copied"))
                die();
        return r;
}

static const void *crash_get_interface(void *instance, const char *id)
{
        static struct prvng_store table;

        if (strcmp(id, PRVNG_STORE) != 0)
                return NULL;
        table = interface;
        table.open = crash_open;
        table.append = crash_append;
        table.recover = crash_recover;
        return &table;
}

PRVNG_PLUGIN_NOTE("store", "org.prvng.test.crashstore", "crashstore", PRVNG_VERSION, "[]", "none");

int32_t prvng_plugin_v1(const struct prvng_host *host, const struct prvng_plugin **ret_plugin)
{
        static struct prvng_plugin plugin;

        plugin = descriptor;
        plugin.id = "org.prvng.test.crashstore";
        plugin.name = "crashstore";
        plugin.description = "the store file on a machine that fails";
        plugin.get_interface = crash_get_interface;
        *ret_plugin = &plugin;
        return PRVNG_DONE;
}
