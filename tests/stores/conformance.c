/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every store promises (prvng/kind/store.h), asked of the store that PRVNG_TEST_STORE names. The
 * numbers S1 to S4 stand there. failures.c and crashes.c ask the rest: what becomes of
 * writes that fail, and what a crash leaves.
 */
#include "support.h"

#include <fcntl.h>
#include <signal.h>

static struct store s;

static void setup(void)
{
        folder_make();
        store_new(&s, folder);
}

static void teardown(void)
{
        store_free(&s);
        folder_remove();
}

TestSuite(store, .init = setup, .fini = teardown);

static void reopen(uint32_t flags)
{
        store_close(&s);
        ok(&s, store_open(&s, folder, flags));
}

/* The entry of a stream in the list; a copy, or NULL. */
static json_t *entry(const char *stream, size_t *ret_n)
{
        _cleanup_(cleanup_json_decref) json_t *list = NULL;
        json_t *e, *found = NULL;
        size_t i;

        ok(&s, store_list(&s, &list));
        json_array_foreach (json_object_get(list, "streams"), i, e)
                if (streq(json_get_string(e, "name", ""), stream))
                        found = json_incref(e);
        if (ret_n)
                *ret_n = json_array_size(json_object_get(list, "streams"));
        return found;
}

static void listed(const char *stream, uint32_t first, uint32_t last, uint64_t bytes)
{
        _cleanup_(cleanup_json_decref) json_t *e = entry(stream, NULL);

        cr_assert(e, "%s is not listed", stream);
        cr_assert_eq(json_get_int(e, "first", -1), first, "%s", stream);
        cr_assert_eq(json_get_int(e, "last", -1), last, "%s", stream);
        cr_assert_eq(json_get_int(e, "bytes", -1), bytes, "%s: %lld bytes for %llu", stream,
                     (long long)json_get_int(e, "bytes", -1), (unsigned long long)bytes);
}

Test(store, gives_back_what_it_was_given)
{
        _cleanup_(cleanup_buf) struct buf all = BUF_NULL, got = BUF_NULL;
        size_t bounds[40];

        ok(&s, store_open(&s, folder, 0));
        for (unsigned i = 0; i < N_ELEMENTS(bounds); i++) {
                size_t from = all.n;

                batch_add(&all, i);
                ok(&s, store_append(&s, "site", 1, all.data + from, all.n - from));
                bounds[i] = all.n;
                if (i % 9 == 0)
                        holds(&s, "site", 1, &all);
        }
        for (int again = 0; again < 2; again++) {
                holds(&s, "site", 1, &all);
                for (unsigned i = 0; i < 3 * N_ELEMENTS(bounds); i++) { /* from before to behind */
                        size_t at = bounds[i / 3] + i % 3 - 1, n = at < all.n ? all.n - at : 0;

                        ok(&s, store_read(&s, "site", 1, at, &got));
                        cr_assert_eq(got.n, n, "from %zu: %zu bytes", at, got.n);
                        cr_assert_eq(memcmp(buf_str(&got), buf_str(&all) + at, n), 0, "from %zu", at);
                }
                ok(&s, store_read(&s, "site", 1, UINT64_MAX, &got));
                cr_assert_eq(got.n, 0);
                refused(&s, PRVNG_NOT_FOUND, "", store_read(&s, "site", 2, 0, &got));
                refused(&s, PRVNG_NOT_FOUND, "", store_read(&s, "site", 0, 0, &got));
                refused(&s, PRVNG_NOT_FOUND, "", store_read(&s, "sites", 1, 0, &got));
                refused(&s, PRVNG_NOT_FOUND, "", store_read(&s, "sit", 1, 0, &got));
                reopen(PRVNG_STORE_READ_ONLY);
        }
        listed("site", 1, 1, all.n);
}

Test(store, keeps_many_streams_and_segments_apart)
{
        struct buf want[40][3] = {0};
        char name[32];

        ok(&s, store_open(&s, folder, 0));
        for (unsigned round = 0; round < 9; round++)
                for (unsigned i = 0; i < N_ELEMENTS(want); i++) {
                        struct buf *b = &want[i][round / 3];
                        size_t from = b->n;

                        snprintf(name, sizeof(name), "run-%u", i);
                        bytes_add(b, i * 100 + round, 50 + 37 * round + i);
                        ok(&s, store_append(&s, name, round / 3 + 1, b->data + from, b->n - from));
                }
        for (int again = 0; again < 2; again++) {
                size_t n;

                for (unsigned i = 0; i < N_ELEMENTS(want); i++) {
                        snprintf(name, sizeof(name), "run-%u", i);
                        for (unsigned k = 0; k < 3; k++)
                                holds(&s, name, k + 1, &want[i][k]);
                        if (again)
                                listed(name, 1, 3, want[i][0].n + want[i][1].n + want[i][2].n);
                }
                json_decref(entry("run-0", &n));
                cr_assert_eq(n, N_ELEMENTS(want), "%zu streams", n);
                reopen(PRVNG_STORE_READ_ONLY);
        }
        for (unsigned i = 0; i < N_ELEMENTS(want) * 3; i++)
                buf_deinit(&want[i / 3][i % 3]);
}

Test(store, takes_batches_of_many_megabytes)
{
        static const size_t sizes[] = {1 << 20, 24 << 20, 3, (5 << 20) + 1, 17 << 20};
        _cleanup_(cleanup_buf) struct buf all = BUF_NULL;

        ok(&s, store_open(&s, folder, 0));
        for (unsigned i = 0; i < N_ELEMENTS(sizes); i++) {
                size_t from = all.n;

                bytes_add(&all, i, sizes[i]);
                ok(&s, store_append(&s, "site", 1, all.data + from, all.n - from));
        }
        holds(&s, "site", 1, &all);
        ok(&s, store_append(&s, "site", 2, all.data, all.n));
        reopen(0);
        ok(&s, store_recover(&s, "site", 2, all.n - 1000));
        ok(&s, store_append(&s, "site", 2, all.data + all.n - 1000, 1000));
        ok(&s, store_put(&s, "site", all.data, all.n));
        holds(&s, "site", 1, &all);
        holds(&s, "site", 2, &all);
        holds_snapshot(&s, "site", &all);
}

/* [a-z0-9][a-zA-Z0-9._-]{0,63} */
Test(store, knows_what_a_name_is)
{
        static const char *const bad[] = {
                "", ".", "..", ".x", "-x", "_x", "Site", "a/b", "../x", "a b", "a\nb", "a\"b", "\303\244",
                "0123456789012345678901234567890123456789012345678901234567890123x", "/", "a/../b",
        };
        static const char *const good[] = {
                "0123456789012345678901234567890123456789012345678901234567890123", "a", "0", "a.",
                "a..b", "run-01JD0000000000000000000001", "z-_.Z9",
        };
        _cleanup_(cleanup_buf) struct buf got = BUF_NULL, want = BUF_NULL;
        size_t n;

        ok(&s, store_open(&s, folder, 0));
        BUF_LIT(&want, "x");
        for (unsigned i = 0; i < N_ELEMENTS(good); i++) {
                ok(&s, store_append(&s, good[i], 1, "x", 1));
                ok(&s, store_put(&s, good[i], "x", 1));
        }
        for (unsigned i = 0; i < N_ELEMENTS(bad); i++) {
                cr_assert_lt(store_append(&s, bad[i], 1, "y", 1), 0, "append to \"%s\"", bad[i]);
                cr_assert_lt(store_recover(&s, bad[i], 1, 0), 0, "recover \"%s\"", bad[i]);
                cr_assert_lt(store_put(&s, bad[i], "y", 1), 0, "snapshot of \"%s\"", bad[i]);
                cr_assert_lt(store_remove(&s, bad[i]), 0, "remove \"%s\"", bad[i]);
                cr_assert_lt(store_read(&s, bad[i], 1, 0, &got), 0, "read \"%s\"", bad[i]);
                cr_assert_lt(store_get(&s, bad[i], &got), 0, "snapshot of \"%s\"", bad[i]);
        }
        for (unsigned i = 0; i < N_ELEMENTS(good); i++) {
                holds(&s, good[i], 1, &want);
                holds_snapshot(&s, good[i], &want);
                json_decref(entry(good[i], &n));
                cr_assert_eq(n, N_ELEMENTS(good));
        }
        ok(&s, store_append(&s, "a", 1, "y", 1)); /* S1 is of appends that failed, not of mistakes */
        for (unsigned i = 0; i < N_ELEMENTS(good); i++)
                ok(&s, store_remove(&s, good[i]));
        cr_assert_null(entry("a", &n));
        cr_assert_eq(n, 0);
}

/* Epochs and the lock */

Test(store, gives_each_writer_a_larger_epoch_and_refuses_older_ones)
{
        uint64_t last = 0;

        for (unsigned i = 0; i < 5; i++) {
                ok(&s, store_open(&s, folder, 0));
                cr_assert_gt(s.epoch, last);
                last = s.epoch;
                for (int64_t other = -1; other <= 1; other += 2) {
                        s.epoch = last + (uint64_t)other;
                        refused(&s, PRVNG_CONFLICT, "", store_append(&s, "site", 1, "x", 1));
                        refused(&s, PRVNG_CONFLICT, "", store_recover(&s, "site", 1, 0));
                        refused(&s, PRVNG_CONFLICT, "", store_remove(&s, "site"));
                        refused(&s, PRVNG_CONFLICT, "", store_put(&s, "site", "x", 1));
                }
                s.epoch = last;
                ok(&s, store_append(&s, "site", 1, "x", 1));
                store_close(&s);
                ok(&s, store_open(&s, folder, PRVNG_STORE_READ_ONLY));
                cr_assert_eq(s.epoch, last, "read only: of the last writer");
                store_close(&s);
        }
}

Test(store, has_one_writer_at_a_time)
{
        struct child c;
        char host[80], pid[32];
        struct store second;
        uint32_t said;

        store_new(&second, folder);
        if (child_start(&c)) {
                must(store_open(&s, folder, 0) == PRVNG_DONE);
                must(store_append(&s, "site", 1, "x", 1) == PRVNG_DONE);
                child_tell(&c, (uint32_t)getpid());
                child_hear(&c, &said); /* until it is killed */
                _exit(0);
        }
        cr_assert(child_hear(&c, &said));
        gethostname(host, sizeof(host));
        snprintf(pid, sizeof(pid), "%u", said);
        refused(&s, PRVNG_CONFLICT, pid, store_open(&s, folder, 0));
        cr_assert(strstr(s.message, host), "%s", s.message);
        kill(c.pid, SIGKILL);
        cr_assert_eq(child_end(&c), -SIGKILL);

        ok(&s, store_open(&s, folder, 0)); /* a dead writer holds nothing */
        refused(&second, PRVNG_CONFLICT, "", store_open(&second, folder, 0));
        ok(&s, store_append(&s, "site", 1, "y", 1));
        store_close(&s);
        ok(&second, store_open(&second, folder, 0));
        cr_assert_gt(second.epoch, s.epoch);
        store_close(&second);
        store_free(&second);
}

Test(store, reads_where_nothing_was_written)
{
        _cleanup_(cleanup_buf) struct buf got = BUF_NULL;
        size_t n;

        ok(&s, store_open(&s, folder, PRVNG_STORE_READ_ONLY));
        cr_assert_eq(s.epoch, 0);
        cr_assert_null(entry("site", &n));
        cr_assert_eq(n, 0);
        refused(&s, PRVNG_NOT_FOUND, "", store_read(&s, "site", 1, 0, &got));
        refused(&s, PRVNG_NOT_FOUND, "", store_get(&s, "site", &got));
        refused(&s, PRVNG_CONFLICT, "", store_append(&s, "site", 1, "x", 1));
        store_close(&s);
        refused(&s, PRVNG_PERMANENT, "nowhere", store_open(&s, "/nowhere/at/all", 0));
        refused(&s, PRVNG_PERMANENT, "nowhere", store_open(&s, "/nowhere/at/all", PRVNG_STORE_READ_ONLY));
}

Test(store, changes_nothing_that_was_opened_read_only)
{
        _cleanup_(cleanup_buf) struct buf want = BUF_NULL, got = BUF_NULL;

        ok(&s, store_open(&s, folder, 0));
        batch_add(&want, 3);
        ok(&s, store_append(&s, "site", 1, want.data, want.n));
        reopen(PRVNG_STORE_READ_ONLY);
        refused(&s, PRVNG_CONFLICT, "", store_append(&s, "site", 1, "x", 1));
        refused(&s, PRVNG_CONFLICT, "", store_recover(&s, "site", 1, 1));
        refused(&s, PRVNG_CONFLICT, "", store_remove(&s, "site"));
        refused(&s, PRVNG_CONFLICT, "", store_put(&s, "site", "x", 1));
        holds(&s, "site", 1, &want);
        refused(&s, PRVNG_NOT_FOUND, "", store_get(&s, "site", &got));
        reopen(PRVNG_STORE_READ_ONLY);
        holds(&s, "site", 1, &want);
}

/* One process writes, another one, which opened once, is asked what it sees. Enough is written for a
 * store to make itself larger on the way. */
Test(store, is_read_beside_a_writer)
{
        _cleanup_(cleanup_buf) struct buf all = BUF_NULL, got = BUF_NULL;
        struct child c;
        uint32_t n;

        if (child_start(&c)) {
                unsigned i = 0;

                must(store_open(&s, folder, 0) == PRVNG_DONE);
                while (child_hear(&c, &n)) {
                        size_t from = all.n;

                        bytes_add(&all, i, i % 2 ? 2 << 20 : 300);
                        must(store_append(&s, "site", 1, all.data + from, all.n - from) ==
                             PRVNG_DONE);
                        child_tell(&c, ++i);
                }
                store_close(&s);
                _exit(0);
        }
        for (unsigned i = 0; i < 31; i++) {
                child_tell(&c, i);
                cr_assert(child_hear(&c, &n) && n == i + 1);
                if (i == 0)
                        ok(&s, store_open(&s, folder, PRVNG_STORE_READ_ONLY));
                bytes_add(&all, i, i % 2 ? 2 << 20 : 300);
                holds(&s, "site", 1, &all);
        }
        cr_assert_eq(child_end(&c), 0);
        holds(&s, "site", 1, &all); /* the writer has gone, and taken its room ahead with it */
        reopen(0);
        holds(&s, "site", 1, &all);
}

/* What children of the engine inherit they could write to, and keep open. */
Test(store, keeps_its_files_from_children)
{
        bool before[256];
        unsigned n = 0;

        for (int fd = 0; fd < 256; fd++)
                before[fd] = fcntl(fd, F_GETFD) >= 0;
        for (int again = 0; again < 2; again++) {
                ok(&s, store_open(&s, folder, again ? PRVNG_STORE_READ_ONLY : 0));
                if (!again)
                        ok(&s, store_append(&s, "site", 1, "x", 1));
                for (int fd = 0; fd < 256; fd++) {
                        int flags = fcntl(fd, F_GETFD);

                        n += flags >= 0 && !before[fd];
                        cr_assert(before[fd] || flags < 0 || flags & FD_CLOEXEC, "descriptor %d", fd);
                }
                store_close(&s);
                for (int fd = 0; fd < 256; fd++)
                        cr_assert(before[fd] || fcntl(fd, F_GETFD) < 0, "descriptor %d is left open", fd);
        }
        cr_assert_gt(n, 0, "it has opened nothing");
}

/* Recovery, snapshots, removal */

Test(store, recovers_exactly_the_first_bytes)
{
        _cleanup_(cleanup_buf) struct buf want = BUF_NULL, first = BUF_NULL, none = BUF_NULL;

        ok(&s, store_open(&s, folder, 0));
        batch_add(&first, 6);
        ok(&s, store_append(&s, "site", 1, first.data, first.n));
        for (unsigned i = 0; i < 12; i++) {
                size_t from = want.n;

                batch_add(&want, i);
                ok(&s, store_append(&s, "site", 2, want.data + from, want.n - from));
        }
        while (want.n > 0) { /* cut again and again, a batch added between */
                reopen(0);
                want.n = want.n > 3000 ? want.n - want.n / 3 : want.n > 40 ? 40 : 0;
                ok(&s, store_recover(&s, "site", 2, want.n));
                holds(&s, "site", 2, &want);
                holds(&s, "site", 1, &first);
                ok(&s, store_append(&s, "site", 2, "0123456789", 10));
                buf_append(&want, "0123456789", 10);
                holds(&s, "site", 2, &want);
                want.n -= 10;
        }
        reopen(0);
        ok(&s, store_recover(&s, "site", 2, 0)); /* the first batch of a segment was torn */
        holds(&s, "site", 2, &none);
        store_close(&s);
        ok(&s, store_open(&s, folder, 0));
        listed("site", 1, 2, first.n);
        ok(&s, store_append(&s, "site", 2, first.data, first.n));
        holds(&s, "site", 2, &first);
        reopen(0);
        cr_assert_lt(store_recover(&s, "site", 2, first.n + 1), 0, "more than there is");
        cr_assert_lt(store_recover(&s, "site", 3, 0), 0, "a segment that is not there");
        cr_assert_lt(store_recover(&s, "nobody", 1, 0), 0, "a stream that is not there");
        reopen(0);
        holds(&s, "site", 2, &first);
}

Test(store, keeps_one_snapshot_of_a_stream)
{
        _cleanup_(cleanup_buf) struct buf small = BUF_NULL, large = BUF_NULL, none = BUF_NULL;

        bytes_add(&small, 1, 20);
        bytes_add(&large, 2, 3 << 20);
        ok(&s, store_open(&s, folder, 0));
        refused(&s, PRVNG_NOT_FOUND, "", store_get(&s, "site", &none));
        ok(&s, store_append(&s, "site", 1, "x", 1));
        refused(&s, PRVNG_NOT_FOUND, "", store_get(&s, "site", &none));
        for (unsigned i = 0; i < 3; i++) {
                ok(&s, store_put(&s, "site", small.data, small.n));
                holds_snapshot(&s, "site", &small);
                ok(&s, store_put(&s, "site", large.data, large.n));
                holds_snapshot(&s, "site", &large);
        }
        ok(&s, store_put(&s, "empty", NULL, 0)); /* of a stream that has no segment */
        holds_snapshot(&s, "empty", &none);
        ok(&s, store_append(&s, "site", 1, "y", 1));
        reopen(PRVNG_STORE_READ_ONLY);
        holds_snapshot(&s, "site", &large);
        holds_snapshot(&s, "empty", &none);
        listed("site", 1, 1, 2);
        listed("empty", 0, 0, 0);
        refused(&s, PRVNG_NOT_FOUND, "", store_get(&s, "sit", &none));
}

/* A gap would be damage that nobody did; what is closed is never written again. */
Test(store, takes_only_the_last_segment_or_the_next)
{
        static const uint32_t wrong[] = {0, 1, 4, 3000, UINT32_MAX};
        _cleanup_(cleanup_buf) struct buf x = BUF_NULL, got = BUF_NULL;

        BUF_LIT(&x, "x");
        for (unsigned i = 0; i < N_ELEMENTS(wrong); i++) {
                ok(&s, store_open(&s, folder, 0));
                if (i == 0) {
                        ok(&s, store_append(&s, "site", 1, "x", 1));
                        ok(&s, store_append(&s, "site", 2, "x", 1));
                        ok(&s, store_append(&s, "other", 1, "x", 1));
                }
                cr_assert_lt(store_append(&s, "site", wrong[i], "y", 1), 0, "segment %u", wrong[i]);
                cr_assert_lt(store_append(&s, "site", 2, "y", 1), 0, "it goes on after a failure: S1");
                store_close(&s);
                ok(&s, store_open(&s, folder, 0));
                cr_assert_lt(store_append(&s, "new", 2, "y", 1), 0, "a stream begins with its second segment");
                store_close(&s);
                ok(&s, store_open(&s, folder, 0));
                listed("site", 1, 2, 2);
                holds(&s, "site", 1, &x);
                holds(&s, "site", 2, &x);
                refused(&s, PRVNG_NOT_FOUND, "", store_read(&s, "new", 2, 0, &got));
                store_close(&s);
        }
}

/* The former snapshot stands until the last part; what was begun and not ended leaves nothing. */
Test(store, takes_a_snapshot_in_parts)
{
        _cleanup_(cleanup_buf) struct buf old = BUF_NULL, new = BUF_NULL, none = BUF_NULL, segment = BUF_NULL;

        BUF_LIT(&segment, "xy");
        ok(&s, store_open(&s, folder, 0));
        ok(&s, store_append(&s, "site", 1, "x", 1));
        ok(&s, store_put_parts(&s, "site", "0123456789", 10, 4, 2));
        refused(&s, PRVNG_NOT_FOUND, "", store_get(&s, "site", &none));
        for (unsigned i = 1; i <= 5; i++) {
                bytes_add(&new, i, i % 2 ? 3 << 20 : 5000);
                ok(&s, store_put_parts(&s, "site", new.data, new.n, i % 3 ? 700000 : 4999, UINT_MAX));
                holds_snapshot(&s, "site", &new);
                ok(&s, store_put_parts(&s, "site", "0123456789", 10, 4, i % 3));
                holds_snapshot(&s, "site", &new);
                old.n = 0;
                buf_append(&old, new.data, new.n);
                new.n = 0;
        }
        ok(&s, store_append(&s, "site", 1, "y", 1));
        reopen(0);
        holds_snapshot(&s, "site", &old);
        holds(&s, "site", 1, &segment);
        listed("site", 1, 1, 2);
        ok(&s, store_put(&s, "site", "whole", 5)); /* one way after the other */
        BUF_LIT(&new, "whole");
        holds_snapshot(&s, "site", &new);
        ok(&s, store_put_parts(&s, "site", old.data, old.n, 1 << 20, UINT_MAX));
        reopen(PRVNG_STORE_READ_ONLY);
        holds_snapshot(&s, "site", &old);
        cr_assert_lt(store_put_parts(&s, "site", "x", 1, 1, 1), 0, "it is open for reading");
        reopen(0);
        ok(&s, store_put_parts(&s, "other", "0123456789", 10, 4, 1)); /* without an end */
        ok(&s, store_remove(&s, "other"));
        ok(&s, store_remove(&s, "site"));
        refused(&s, PRVNG_NOT_FOUND, "", store_get(&s, "site", &none));
        ok(&s, store_append(&s, "site", 1, "xy", 2));
        refused(&s, PRVNG_NOT_FOUND, "", store_get(&s, "site", &none));
}

Test(store, removes_a_stream_and_no_other)
{
        static const char *const names[] = {"run", "run-", "run-1", "run-1.", "run-10", "run-2"};
        _cleanup_(cleanup_buf) struct buf x = BUF_NULL, got = BUF_NULL;
        size_t n;

        BUF_LIT(&x, "x");
        ok(&s, store_open(&s, folder, 0));
        for (unsigned i = 0; i < N_ELEMENTS(names); i++) {
                for (unsigned k = 1; k <= 3; k++)
                        ok(&s, store_append(&s, names[i], k, "x", 1));
                ok(&s, store_put(&s, names[i], "x", 1));
        }
        ok(&s, store_remove(&s, "run-1"));
        ok(&s, store_remove(&s, "run-1")); /* is not there: nothing to do */
        for (int again = 0; again < 2; again++) {
                cr_assert_null(entry("run-1", &n));
                cr_assert_eq(n, N_ELEMENTS(names) - 1);
                refused(&s, PRVNG_NOT_FOUND, "", store_get(&s, "run-1", &got));
                for (unsigned k = 1; k <= 3; k++)
                        refused(&s, PRVNG_NOT_FOUND, "", store_read(&s, "run-1", k, 0, &got));
                for (unsigned i = 0; i < N_ELEMENTS(names); i++) {
                        if (streq(names[i], "run-1"))
                                continue;
                        for (unsigned k = 1; k <= 3; k++)
                                holds(&s, names[i], k, &x);
                        holds_snapshot(&s, names[i], &x);
                }
                reopen(0);
        }
        ok(&s, store_append(&s, "run-1", 1, "x", 1)); /* a new one of that name */
        holds(&s, "run-1", 1, &x);
        refused(&s, PRVNG_NOT_FOUND, "", store_get(&s, "run-1", &got));
}
