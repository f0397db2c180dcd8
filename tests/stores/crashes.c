/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a store holds after its process was killed: at any time by a signal, and at each single write
 * and sync, of which some may be torn or lost (S2).
 */
#include "support.h"

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

TestSuite(crash, .init = setup, .fini = teardown, .timeout = 120);

/* A child appends as fast as it can, over segments, and is killed when it has told of some. */
static void append_until_killed(unsigned rounds, unsigned start, unsigned kill_after)
{
        _cleanup_(cleanup_buf) struct buf sure = BUF_NULL, maybe = BUF_NULL, got = BUF_NULL;
        unsigned done = start;
        struct child c;
        uint32_t n;

        if (child_start(&c)) {
                must(store_open(&s, folder, 0) == PRVNG_DONE);
                for (unsigned i = start;; i++) {
                        maybe.n = 0;
                        batch_add(&maybe, i);
                        must(store_append(&s, "site", i / 16 + 1, maybe.data, maybe.n) ==
                             PRVNG_DONE);
                        child_tell(&c, i + 1);
                }
        }
        for (unsigned i = 0; i < kill_after; i++)
                cr_assert(child_hear(&c, &n), "the child died by itself");
        kill(c.pid, SIGKILL);
        do
                done = n;
        while (child_hear(&c, &n)); /* what it told before it died */
        cr_assert_eq(child_end(&c), -SIGKILL);

        ok(&s, store_open(&s, folder, rounds % 2 ? PRVNG_STORE_READ_ONLY : 0));
        for (unsigned segment = 0; segment <= done / 16; segment++) {
                sure.n = maybe.n = 0;
                for (unsigned i = segment * 16; i < done && i < segment * 16 + 16; i++)
                        batch_add(&sure, i);
                if (segment < done / 16) {
                        holds(&s, "site", segment + 1, &sure);
                        continue;
                }
                batch_add(&maybe, done);
                if (sure.n || store_read(&s, "site", segment + 1, 0, &got) == PRVNG_DONE) {
                        ok(&s, store_read(&s, "site", segment + 1, 0, &got));
                        torn(&got, &sure, &maybe);
                }
        }
        store_close(&s);
        ok(&s, store_open(&s, folder, 0));
        if (got.data) /* as the core does: where the next append goes is recovered first */
                ok(&s, store_recover(&s, "site", done / 16 + 1, sure.n));
        for (unsigned i = done; i <= done; i++) {
                maybe.n = 0;
                batch_add(&maybe, i);
                ok(&s, store_append(&s, "site", i / 16 + 1, maybe.data, maybe.n));
        }
        buf_append(&sure, maybe.data, maybe.n);
        holds(&s, "site", done / 16 + 1, &sure);
        store_close(&s);
        if (rounds > 1)
                append_until_killed(rounds - 1, done + 1, (kill_after * 7 + 3) % 41 + 1);
}

Test(crash, at_any_time_leaves_all_that_was_acknowledged)
{
        append_until_killed(20, 0, 5);
}

/* S2 of snapshots: the old one or the new one, whole. */
Test(crash, at_any_time_leaves_one_snapshot_or_the_other)
{
        for (unsigned round = 0; round < 8; round++) {
                _cleanup_(cleanup_buf) struct buf want = BUF_NULL, got = BUF_NULL;
                struct child c;
                uint32_t n = 0, seen;

                if (child_start(&c)) {
                        must(store_open(&s, folder, 0) == PRVNG_DONE);
                        for (unsigned i = 1;; i++) {
                                want.n = 0;
                                bytes_add(&want, i, 1000 + i % 5 * 300000);
                                must((i % 2 ? store_put(&s, "site", want.data, want.n)
                                            : store_put_parts(&s, "site", want.data, want.n, 200000,
                                                              UINT_MAX)) == PRVNG_DONE);
                                child_tell(&c, i);
                        }
                }
                for (unsigned i = 0; i < 3 + round * 2; i++)
                        cr_assert(child_hear(&c, &n), "the child died by itself");
                kill(c.pid, SIGKILL);
                while (child_hear(&c, &seen))
                        n = seen;
                cr_assert_eq(child_end(&c), -SIGKILL);
                ok(&s, store_open(&s, folder, PRVNG_STORE_READ_ONLY));
                ok(&s, store_get(&s, "site", &got));
                bytes_add(&want, n, 1000 + n % 5 * 300000);
                if (got.n != want.n || memcmp(got.data, want.data, want.n) != 0) {
                        want.n = 0;
                        bytes_add(&want, n + 1, 1000 + (n + 1) % 5 * 300000);
                }
                holds_snapshot(&s, "site", &want);
                store_close(&s);
        }
}

/* Every step of every call. */

struct act {
        const char *name;
        int32_t (*run)(struct store *s, const char *place);
};

static void content(struct buf *segment1, struct buf *segment2, struct buf *more)
{
        bytes_add(segment1, 1, 9000);
        bytes_add(segment2, 2, 3000);
        bytes_add(segment2, 3, 12000);
        bytes_add(more, 4, 20000);
}

#define CUT 3500 /* bytes of segment 2 that are recovered */

static int32_t act_open(struct store *t, const char *place)
{
        return store_open(t, place, 0);
}

static int32_t act_append(struct store *t, const char *place)
{
        struct buf a = BUF_NULL, b = BUF_NULL, more = BUF_NULL;

        content(&a, &b, &more);
        return store_append(t, "site", 2, more.data, more.n);
}

static int32_t act_segment(struct store *t, const char *place)
{
        struct buf a = BUF_NULL, b = BUF_NULL, more = BUF_NULL;

        content(&a, &b, &more);
        return store_append(t, "site", 3, more.data, more.n);
}

static int32_t act_stream(struct store *t, const char *place)
{
        struct buf a = BUF_NULL, b = BUF_NULL, more = BUF_NULL;

        content(&a, &b, &more);
        return store_append(t, "run", 1, more.data, more.n);
}

static int32_t act_recover(struct store *t, const char *place)
{
        return store_recover(t, "site", 2, CUT);
}

static int32_t act_snapshot(struct store *t, const char *place)
{
        struct buf a = BUF_NULL, b = BUF_NULL, more = BUF_NULL;

        content(&a, &b, &more);
        return store_put(t, "site", more.data, more.n);
}

static int32_t act_parts(struct store *t, const char *place)
{
        struct buf a = BUF_NULL, b = BUF_NULL, more = BUF_NULL;

        content(&a, &b, &more);
        return store_put_parts(t, "site", more.data, more.n, more.n / 2 - 1, UINT_MAX);
}

static int32_t act_remove(struct store *t, const char *place)
{
        return store_remove(t, "old");
}

static const struct act acts[] = {
        {"open", act_open},         {"append", act_append}, {"segment", act_segment},
        {"stream", act_stream},     {"recover", act_recover}, {"snapshot", act_snapshot},
        {"parts", act_parts},       {"remove", act_remove},
};

static void prepare(const char *place)
{
        _cleanup_(cleanup_buf) struct buf a = BUF_NULL, b = BUF_NULL, more = BUF_NULL;

        content(&a, &b, &more);
        ok(&s, store_open(&s, place, 0));
        ok(&s, store_append(&s, "site", 1, a.data, a.n));
        ok(&s, store_append(&s, "old", 1, a.data, a.n));
        ok(&s, store_append(&s, "old", 2, b.data, b.n));
        ok(&s, store_put(&s, "old", b.data, b.n));
        ok(&s, store_append(&s, "site", 2, b.data, 3000));
        ok(&s, store_append(&s, "site", 2, b.data + 3000, b.n - 3000));
        ok(&s, store_put(&s, "site", a.data, a.n));
        store_close(&s);
}

/* What has nothing to do with the act is as it was; the rest as it was, as it shall be, or torn. */
static void look(const struct act *act, bool done)
{
        _cleanup_(cleanup_buf) struct buf a = BUF_NULL, b = BUF_NULL, more = BUF_NULL;
        _cleanup_(cleanup_buf) struct buf got = BUF_NULL, none = BUF_NULL;
        int32_t r;

        content(&a, &b, &more);
        holds(&s, "site", 1, &a);
        ok(&s, store_read(&s, "site", 2, 0, &got));
        if (act->run == act_append) {
                torn(&got, &b, &more);
                cr_assert(!done || (got.n == b.n + more.n && got.data[got.n - 1]), "not whole");
        } else if (act->run == act_recover) {
                cr_assert(got.n == CUT || (!done && got.n == b.n), "%zu bytes", got.n);
                cr_assert_eq(memcmp(got.data, b.data, got.n), 0, "other bytes");
        } else {
                holds(&s, "site", 2, &b);
        }
        if (act->run == act_segment || act->run == act_stream) {
                r = act->run == act_segment ? store_read(&s, "site", 3, 0, &got)
                                            : store_read(&s, "run", 1, 0, &got);
                cr_assert(r == PRVNG_DONE || (r == PRVNG_NOT_FOUND && !done), "%s", s.message);
                if (r == PRVNG_DONE)
                        torn(&got, &none, &more);
                cr_assert(!done || got.n == more.n, "not whole");
        }
        ok(&s, store_get(&s, "site", &got));
        if ((act->run == act_snapshot || act->run == act_parts) && (done || got.n != a.n))
                holds_snapshot(&s, "site", &more);
        else
                holds_snapshot(&s, "site", &a);
        if (act->run != act_remove) {
                holds(&s, "old", 1, &a);
                holds(&s, "old", 2, &b);
                holds_snapshot(&s, "old", &b);
                return;
        }
        r = store_read(&s, "old", 1, 0, &got); /* from the end: what is left is a beginning */
        cr_assert(r == (done ? PRVNG_NOT_FOUND : r));
        if (r == PRVNG_DONE)
                holds(&s, "old", 1, &a);
        r = store_read(&s, "old", 2, 0, &got);
        cr_assert(r == (done ? PRVNG_NOT_FOUND : r));
        if (r == PRVNG_DONE)
                holds(&s, "old", 2, &b);
}

/* Whether the act came to its end in spite of the fault. */
static bool crash_at(const struct act *act, enum fault fault, unsigned at, const char *place)
{
        struct child c;
        int end;

        if (child_start(&c)) {
                if (act->run != act_open)
                        must(store_open(&s, place, 0) == PRVNG_DONE);
                faults_begin(fault, at);
                must(act->run(&s, place) == PRVNG_DONE);
                if (faults.lost) /* nothing promised that it is on the disk by now */
                        kill(getpid(), SIGKILL);
                _exit(0);
        }
        end = child_end(&c);
        if (end == -SIGBUS && fault == FAULT_LOSE) /* it looked at what it had just lost, by a map */
                end = -SIGKILL;
        cr_assert(end == 0 || end == -SIGKILL, "%s, fault %d at step %u: %d", act->name, fault, at, end);
        return end == 0;
}

static void every_step(const struct act *act, enum fault fault)
{
        bool done = false;
        char name[32];
        unsigned at;

        snprintf(name, sizeof(name), "%s-%d", act->name, fault);
        for (at = 1; !done; at++) {
                _cleanup_(cleanup_free) char *place = NULL;

                cr_assert_lt(at, 200, "%s never ends", act->name);
                place = folder_new_number(name, at);
                prepare(place);
                done = crash_at(act, fault, at, place);
                for (int i = 0; i < 2; i++) { /* a look must do no harm, and opening neither */
                        ok(&s, store_open(&s, place, i ? 0 : PRVNG_STORE_READ_ONLY));
                        look(act, done);
                        store_close(&s);
                }
        }
        cr_assert_gt(at, 2, "%s has no steps", act->name);
        cr_log_info("%s: %u steps", act->name, at - 2);
}

Test(crash, at_every_step_leaves_what_was_durable)
{
        for (unsigned i = 0; i < N_ELEMENTS(acts); i++)
                every_step(&acts[i], FAULT_DIE);
}

Test(crash, that_tears_any_write_leaves_what_was_durable)
{
        for (unsigned i = 0; i < N_ELEMENTS(acts); i++)
                every_step(&acts[i], FAULT_TEAR);
}

Test(crash, that_loses_any_write_leaves_what_was_durable)
{
        for (unsigned i = 0; i < N_ELEMENTS(acts); i++)
                every_step(&acts[i], FAULT_LOSE);
}

/* A store that is being made when it happens: is made by the next one. */
Test(crash, while_it_is_made_is_made_good)
{
        static const char *const names[] = {"", "die", "tear", "lose"};

        for (enum fault fault = FAULT_DIE; fault <= FAULT_LOSE; fault++) {
                bool done = false;

                for (unsigned at = 1; !done; at++) {
                        _cleanup_(cleanup_free) char *place = NULL;

                        place = folder_new_number(names[fault], at);
                        done = crash_at(&acts[0], fault, at, place);
                        ok(&s, store_open(&s, place, PRVNG_STORE_READ_ONLY));
                        store_close(&s);
                        ok(&s, store_open(&s, place, 0));
                        cr_assert_gt(s.epoch, done ? 1 : 0);
                        ok(&s, store_append(&s, "site", 1, "x", 1));
                        store_close(&s);
                }
        }
}
