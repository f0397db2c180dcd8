/* SPDX-License-Identifier: Apache-2.0 */
#include "host/job.h"

#include <fcntl.h>

int32_t job_write(struct prvng_call *call, struct prvng_sink *sink, const void *data, size_t n_data)
{
        int32_t r;

        if (!sink || n_data == 0)
                return PRVNG_DONE;
        r = host_table(op_call_of(call)->host)->sink_write(sink, data, n_data);
        if (r < 0)
                return op_call_fail(call, PRVNG_INTERNAL, PRVNG_EFFECT_UNKNOWN, -r,
                                    "%zu bytes of output do not fit into the sink: %s", n_data,
                                    strerror(-r));
        return PRVNG_DONE;
}

bool job_name_ok(const char *name)
{
        static const char accepted[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                       "0123456789._-";
        size_t n = strlen(name);

        return n > 0 && n <= 120 && name[0] != '.' && name[0] != '-' && strspn(name, accepted) == n;
}

/* The mark is one line "ID OFFSET". */
static uint64_t mark_read(int fd, const char *id)
{
        char line[256], logged_id[64];
        unsigned long long offset;
        ssize_t n = pread(fd, line, sizeof(line) - 1, 0);

        line[n > 0 ? n : 0] = 0;
        return sscanf(line, "%63s %llu", logged_id, &offset) == 2 && streq(logged_id, id) ? offset
                                                                                          : 0;
}

static void mark_write(int fd, const char *id, uint64_t offset)
{
        char line[256];
        int n = snprintf(line, sizeof(line), "%s %020llu\n", id, (unsigned long long)offset);

        if (n > 0 && (size_t)n < sizeof(line) && pwrite(fd, line, (size_t)n, 0) != n)
                return; /* the log repeats a piece, no more */
}

void job_log(struct prvng_call *call, const char *job, const char *id, uint64_t offset,
             const void *data, size_t n_data)
{
        _cleanup_(cleanup_free) char *folder = NULL;
        _cleanup_(cleanup_close) int fd = -1;
        char path[4096];
        uint64_t logged;

        if (n_data == 0 || !*call->run || !*call->task)
                return;
        folder = host_run_folder(call_config(call), call->run, call->task);
        if (!folder ||
            (size_t)snprintf(path, sizeof(path), "%s/%s.logged", folder, job) >= sizeof(path))
                return;
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
                return;
        logged = mark_read(fd, id);
        if (logged >= offset + n_data)
                return;
        if (logged > offset) {
                data = (const char *)data + (logged - offset);
                n_data -= logged - offset;
                offset = logged;
        }
        host_output(op_call_of(call)->host, call->run, call->task, data, n_data);
        mark_write(fd, id, offset + n_data);
}
