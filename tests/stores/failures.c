/* SPDX-License-Identifier: Apache-2.0 */
/* A disk that refuses: syncs that fail, and no room. */
#include "support.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

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

TestSuite(failure, .init = setup, .fini = teardown);

/* S1. The disk says that a sync failed; then all is well again, but nobody knows what it holds. */
Test(failure, appends_nothing_after_a_failed_sync)
{
        for (unsigned at = 1;; at++) {
                _cleanup_(cleanup_free) char *place = folder_new_number("sync", at);
                _cleanup_(cleanup_buf) struct buf sure = BUF_NULL, more = BUF_NULL, got = BUF_NULL;
                int32_t r;

                batch_add(&sure, 3);
                batch_add(&more, 9);
                ok(&s, store_open(&s, place, 0));
                ok(&s, store_append(&s, "site", 1, sure.data, sure.n));
                faults_begin(FAULT_SYNC, at);
                r = store_append(&s, "site", 1, more.data, more.n);
                if (r == PRVNG_DONE) {
                        cr_assert_lt(faults.n_steps, at, "a sync failed, and the append did not");
                        cr_assert_gt(at, 2);
                        break;
                }
                faults_begin(FAULT_NONE, 0);
                refused(&s, PRVNG_PERMANENT, "", store_append(&s, "site", 1, "x", 1));
                refused(&s, PRVNG_PERMANENT, "", store_append(&s, "site", 2, "x", 1));
                refused(&s, PRVNG_PERMANENT, "", store_append(&s, "other", 1, "x", 1));
                store_close(&s);
                ok(&s, store_open(&s, place, 0));
                ok(&s, store_read(&s, "site", 1, 0, &got));
                torn(&got, &sure, &more);
                ok(&s, store_recover(&s, "site", 1, sure.n));
                ok(&s, store_append(&s, "site", 1, more.data, more.n));
                buf_append(&sure, more.data, more.n);
                holds(&s, "site", 1, &sure);
                store_close(&s);
        }
}

/* S1, S3, S4: what returns was synced. */
Test(failure, syncs_before_it_returns)
{
        _cleanup_(cleanup_buf) struct buf batch = BUF_NULL;

        faults_begin(FAULT_NONE, 0);
        ok(&s, store_open(&s, folder, 0));
        cr_assert(faults.n_syncs && !faults.unsynced, "the epoch");
        for (unsigned i = 0; i < 40; i++) {
                batch.n = 0;
                batch_add(&batch, i);
                faults_begin(FAULT_NONE, 0);
                ok(&s, store_append(&s, i % 3 ? "site" : "run", i / 10 + 1, batch.data, batch.n));
                cr_assert(faults.n_syncs && !faults.unsynced, "append %u", i);
                cr_assert_geq(faults.n_bytes, batch.n);
        }
        faults_begin(FAULT_NONE, 0);
        ok(&s, store_put(&s, "site", batch.data, batch.n));
        cr_assert(faults.n_syncs && !faults.unsynced, "a snapshot");
        faults_begin(FAULT_NONE, 0);
        ok(&s, store_put_parts(&s, "site", batch.data, batch.n, batch.n / 3, UINT_MAX));
        cr_assert(faults.n_syncs && !faults.unsynced, "a snapshot in parts");
        for (unsigned i = 0; i < 2; i++) { /* S4, also where nothing is to be cut */
                uint64_t n = 0;
                _cleanup_(cleanup_buf) struct buf all = BUF_NULL;

                ok(&s, store_read(&s, "site", 4, 0, &all));
                n = i ? all.n - 100 : all.n;
                faults_begin(FAULT_NONE, 0);
                ok(&s, store_recover(&s, "site", 4, n));
                cr_assert(faults.n_syncs && !faults.unsynced, "a recovery");
                cr_assert_geq(faults.n_bytes, n, "%llu of %llu bytes were written anew",
                              (unsigned long long)faults.n_bytes, (unsigned long long)n);
        }
        faults_begin(FAULT_NONE, 0);
        ok(&s, store_remove(&s, "run"));
        cr_assert(faults.n_syncs && !faults.unsynced, "a removal");
}

/* Needs root, for a small tmpfs in a mount namespace of its own. */
Test(failure, says_that_the_disk_is_full_and_goes_on_with_room)
{
        _cleanup_(cleanup_free) char *place = folder_new("small"), *ballast = NULL;
        _cleanup_(cleanup_buf) struct buf all = BUF_NULL, batch = BUF_NULL, got = BUF_NULL;
        int32_t r;
        int fd;

        if (geteuid() != 0)
                cr_skip_test("needs root, to mount a small tmpfs");
        cr_assert_eq(unshare(CLONE_NEWNS), 0, "%s", strerror(errno));
        cr_assert_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0, "%s", strerror(errno));
        cr_assert_eq(mount("tmpfs", place, "tmpfs", 0, "size=9m"), 0, "%s", strerror(errno));
        cr_assert_geq(asprintf(&ballast, "%s/ballast", place), 0);
        fd = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        cr_assert_eq(posix_fallocate(fd, 0, 5 << 20), 0);
        close(fd);

        ok(&s, store_open(&s, place, 0));
        for (unsigned i = 0;; i++) {
                batch.n = 0;
                batch_add(&batch, i);
                r = store_append(&s, "site", 1, batch.data, batch.n);
                if (r)
                        break;
                buf_append(&all, batch.data, batch.n);
                cr_assert_lt(all.n, 4 << 20, "that cannot fit");
        }
        cr_assert_eq(r, PRVNG_QUOTA, "%d: %s", r, s.message);
        cr_assert(strstr(s.message, "room"), "what to do? %s", s.message);
        cr_assert_gt(all.n, 1 << 20, "it was full at %zu bytes", all.n);
        refused(&s, PRVNG_PERMANENT, "", store_append(&s, "site", 1, "x", 1)); /* S1 */
        ok(&s, store_read(&s, "site", 1, 0, &got));
        torn(&got, &all, &batch);
        store_close(&s);

        ok(&s, store_open(&s, place, PRVNG_STORE_READ_ONLY)); /* looking needs no room */
        ok(&s, store_read(&s, "site", 1, 0, &got));
        torn(&got, &all, &batch);
        store_close(&s);
        r = store_open(&s, place, 0); /* may do with what there is, but not die of it */
        cr_assert(r == PRVNG_DONE || r == PRVNG_QUOTA, "%d: %s", r, s.message);
        if (r == PRVNG_DONE)
                store_close(&s);

        cr_assert_eq(unlink(ballast), 0);
        ok(&s, store_open(&s, place, 0));
        ok(&s, store_recover(&s, "site", 1, all.n));
        ok(&s, store_append(&s, "site", 1, batch.data, batch.n));
        buf_append(&all, batch.data, batch.n);
        holds(&s, "site", 1, &all);
        store_close(&s);
        cr_assert_eq(umount(place), 0);
}

/* All room but that. */
static void fill(const char *ballast, unsigned pages_left)
{
        _cleanup_(cleanup_buf) struct buf page = BUF_NULL;
        off_t n = 0;
        int fd = open(ballast, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        cr_assert_geq(fd, 0);
        bytes_add(&page, 1, 4096);
        while (write(fd, page.data, 4096) == 4096)
                n += 4096;
        cr_assert_gt(n, pages_left * 4096);
        cr_assert_eq(ftruncate(fd, n - pages_left * 4096), 0);
        close(fd);
}

/* Stores that never were, on a disk with no room, or a little: each opening says so or does with it, and
 * none is the end of the process (a full disk is SIGBUS where a file is written through a map). */
Test(failure, is_not_made_on_a_full_disk)
{
        _cleanup_(cleanup_free) char *small = folder_new("small"), *ballast = NULL;

        if (geteuid() != 0)
                cr_skip_test("needs root, to mount a small tmpfs");
        cr_assert_eq(unshare(CLONE_NEWNS), 0, "%s", strerror(errno));
        cr_assert_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0, "%s", strerror(errno));
        cr_assert_eq(mount("tmpfs", small, "tmpfs", 0, "size=3m"), 0, "%s", strerror(errno));
        cr_assert_geq(asprintf(&ballast, "%s/ballast", small), 0);
        for (unsigned pages = 0; pages < 24; pages++) {
                _cleanup_(cleanup_free) char *place = folder_new_number("small/n", pages);
                int32_t r;

                fill(ballast, pages);
                r = store_open(&s, place, 0);
                if (pages == 0)
                        cr_assert_eq(r, PRVNG_QUOTA, "%d: %s", r, s.message);
                if (r == PRVNG_DONE) {
                        r = store_append(&s, "site", 1, "x", 1);
                        store_close(&s);
                }
                cr_assert(r == PRVNG_DONE || (r == PRVNG_QUOTA && strstr(s.message, "room")), "%d: %s",
                          r, s.message);
                ok(&s, store_open(&s, place, PRVNG_STORE_READ_ONLY));
                store_close(&s);
                cr_assert_eq(unlink(ballast), 0);
                ok(&s, store_open(&s, place, 0));
                ok(&s, store_append(&s, "site", 1, "x", 1));
                store_close(&s);
        }
        cr_assert_eq(umount(small), 0);
}
