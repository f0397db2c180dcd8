/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include <ftw.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

char folder[64];

void folder_make(void)
{
        strcpy(folder, "/tmp/prvng-store-XXXXXX");
        cr_assert(mkdtemp(folder));
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        return remove(path);
}

void folder_remove(void)
{
        nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

char *folder_new(const char *name)
{
        char *path;

        cr_assert_geq(asprintf(&path, "%s/%s", folder, name), 0);
        cr_assert_eq(mkdir(path, 0700), 0, "%s: %s", path, strerror(errno));
        return path;
}

char *folder_new_number(const char *name, unsigned number)
{
        char numbered[64];

        snprintf(numbered, sizeof(numbered), "%s-%u", name, number);
        return folder_new(numbered);
}

void bytes_add(struct buf *b, unsigned seed, size_t n)
{
        char *p = buf_reserve(b, n);
        uint64_t x = seed * UINT64_C(2862933555777941757) + 3037000493;

        for (size_t i = 0; i < n; i++) {
                x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
                p[i] = (char)('!' + (x >> 33) % 90);
        }
        buf_advance(b, n);
}

void batch_add(struct buf *b, unsigned i)
{
        static const unsigned sizes[] = {1, 700, 90, 4096, 2030, 5, 70000, 333, 4095, 12345, 2};

        bytes_add(b, i, sizes[i % N_ELEMENTS(sizes)]);
}

void holds(struct store *s, const char *stream, uint32_t segment, const struct buf *want)
{
        _cleanup_(cleanup_buf) struct buf got = BUF_NULL;

        ok(s, store_read(s, stream, segment, 0, &got));
        cr_assert_eq(got.n, want->n, "%s, segment %u: %zu bytes for %zu", stream, segment, got.n,
                     want->n);
        cr_assert_eq(memcmp(buf_str(&got), buf_str(want), want->n), 0, "%s, segment %u: other bytes",
                     stream, segment);
}

void holds_snapshot(struct store *s, const char *stream, const struct buf *want)
{
        _cleanup_(cleanup_buf) struct buf got = BUF_NULL;

        ok(s, store_get(s, stream, &got));
        cr_assert_eq(got.n, want->n, "snapshot of %s: %zu bytes for %zu", stream, got.n, want->n);
        cr_assert_eq(memcmp(buf_str(&got), buf_str(want), want->n), 0, "snapshot of %s", stream);
}

void torn(const struct buf *got, const struct buf *sure, const struct buf *maybe)
{
        cr_assert_geq(got->n, sure->n, "%zu of %zu bytes that were durable", got->n, sure->n);
        cr_assert_eq(memcmp(buf_str(got), buf_str(sure), sure->n), 0, "durable bytes are others");
        cr_assert_leq(got->n, sure->n + maybe->n, "more bytes than were written");
        for (size_t i = sure->n; i < got->n; i++)
                cr_assert(got->data[i] == 0 || got->data[i] == maybe->data[i - sure->n],
                          "byte %zu was never written", i);
}

bool child_start(struct child *c)
{
        int from[2], to[2];

        cr_assert(pipe(from) == 0 && pipe(to) == 0);
        fflush(NULL);
        c->pid = fork();
        cr_assert_geq(c->pid, 0);
        if (c->pid == 0) {
                close(from[0]);
                close(to[1]);
                c->from = to[0];
                c->to = from[1];
                return true;
        }
        close(from[1]);
        close(to[0]);
        c->from = from[0];
        c->to = to[1];
        return false;
}

void child_tell(const struct child *c, uint32_t number)
{
        if (write(c->to, &number, sizeof(number)) != sizeof(number))
                fprintf(stderr, "the other side is gone\n");
}

bool child_hear(const struct child *c, uint32_t *ret_number)
{
        return read(c->from, ret_number, sizeof(*ret_number)) == sizeof(*ret_number);
}

int child_end(struct child *c)
{
        int status = 0;

        close(c->from);
        close(c->to);
        cr_assert_eq(waitpid(c->pid, &status, 0), c->pid);
        return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}
