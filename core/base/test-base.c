/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/locked.h"
#include "base/problem.h"
#include "base/strmap.h"
#include "base/uid.h"

#include <criterion/criterion.h>

Test(buf, json_strings_survive_a_parser)
{
        static const char hostile[] = "a\"b\\c\n\t\x01\x1f/\xc3\xa4";
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;
        _cleanup_(cleanup_json_decref) json_t *json = NULL;

        buf_json(&b, hostile);
        cr_assert_eq(json_parse(b.data, b.n, &json, NULL), 0);
        cr_assert_str_eq(json_string_value(json), hostile);
}

Test(buf, one_that_wipes_wipes_and_grows)
{
        struct buf b = BUF_WIPES;
        char *first;

        buf_puts(&b, "a secret that is longer than a link of malloc's lists, by far");
        first = b.data;
        for (size_t i = 0; i < b.cap; i++) { /* clear wipes all of it */
                if (i == 0)
                        buf_clear(&b);
                cr_assert_eq(b.data[i], 0);
        }
        cr_assert_eq(b.data, first);
        buf_puts(&b, "again");
        for (int i = 0; i < 1000; i++)
                buf_puts(&b, "0123456789");
        cr_assert_eq(b.n, 10005);
        cr_assert_eq(memcmp(b.data, "again0123456789", 15), 0);
        cr_assert_eq(b.data[b.n], 0);
        cr_assert(b.wipes);
        buf_deinit(&b);
}

Test(locked, holds_and_ends)
{
        struct locked l = {0}, room = {0};

        cr_assert_eq(locked_init(&l, "s3cret", 6), 0);
        cr_assert_str_eq(l.data, "s3cret");
        cr_assert_eq(l.n, 6);
        cr_assert_gt(l.mapped, l.n);
        cr_assert_eq(locked_init(&room, NULL, 65536), 0);
        cr_assert_gt(room.mapped, 65536);
        cr_assert_eq(room.data[65536], 0);
        locked_deinit(&l);
        cr_assert_null(l.data);
        locked_deinit(&l);
        locked_deinit(&room);
}

Test(buf, numbers)
{
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;

        buf_i64(&b, INT64_MIN);
        buf_putc(&b, ' ');
        buf_u64(&b, UINT64_MAX);
        cr_assert_str_eq(buf_str(&b), "-9223372036854775808 18446744073709551615");
}

Test(uid, text_round_trip)
{
        struct uid a, b;
        char text[UID_TEXT];

        for (int i = 0; i < 1000; i++) {
                cr_assert_eq(uid_random(&a), 0);
                uid_text(&a, text);
                cr_assert(uid_parse(text, 26, &b));
                cr_assert_eq(memcmp(&a, &b, sizeof(a)), 0);
        }
        cr_assert_not(uid_parse("8ZZZZZZZZZZZZZZZZZZZZZZZZZ", 26, &b), "more than 128 bits");
        cr_assert_not(uid_parse("0000000000000000000000000U", 26, &b), "U is no digit");
}

Test(uid, ulids_sort_by_time)
{
        struct uid a, b;
        char ta[UID_TEXT], tb[UID_TEXT];

        cr_assert_eq(uid_ulid(1732000000000, &a), 0);
        cr_assert_eq(uid_ulid(1732000000001, &b), 0);
        uid_text(&a, ta);
        uid_text(&b, tb);
        cr_assert_lt(strcmp(ta, tb), 0);
}

Test(clock, text)
{
        char text[CLOCK_TEXT];

        clock_text(1732000000123, text);
        cr_assert_str_eq(text, "2024-11-19T07:06:40.123Z");
}

Test(strmap, keeps_what_is_not_removed)
{
        enum { N = 5000 };
        struct strmap m = STRMAP_NULL;
        static char keys[N][8];

        for (uint64_t i = 0; i < N; i++) {
                int n = snprintf(keys[i], sizeof(keys[i]), "k%d", (int)i);
                strmap_add(&m, keys[i], (size_t)n)->value.number = i;
        }
        for (size_t i = 0; i < N; i += 3)
                strmap_remove(&m, keys[i], strlen(keys[i]));
        for (size_t i = 0; i < N; i++) {
                struct strmap_entry *e = strmap_find(&m, keys[i], strlen(keys[i]));

                if (i % 3 == 0)
                        cr_assert_null(e);
                else
                        cr_assert(e && e->value.number == i);
        }
        cr_assert_eq(m.n, N - (N + 2) / 3);
        strmap_deinit(&m);
}

Test(problem, suggests_what_was_meant)
{
        const char *const words[] = {"create-servers", "install-base", "install-k8s"};

        cr_assert_str_eq(did_you_mean("create-server", words, 3), "create-servers");
        cr_assert_str_eq(did_you_mean("instal-k8s", words, 3), "install-k8s");
        cr_assert_null(did_you_mean("delete", words, 3));
}

Test(arena, small_and_large_pieces_do_not_overlap)
{
        _cleanup_(cleanup_arena) struct arena a = ARENA_NULL;
        char *text[200];
        uint64_t *numbers[200];

        for (size_t i = 0; i < 200; i++) {
                size_t n = i % 50 == 49 ? 70000 : i;

                numbers[i] = arena_alloc(&a, (i % 7 + 1) * sizeof(uint64_t));
                cr_assert_eq((uintptr_t)numbers[i] % 8, 0);
                for (size_t j = 0; j <= i % 7; j++) {
                        cr_assert_eq(numbers[i][j], 0);
                        numbers[i][j] = i;
                }
                text[i] = arena_room(&a, n);
                memset(text[i], 'a' + (int)(i % 26), n);
        }
        for (size_t i = 0; i < 200; i++) {
                size_t n = i % 50 == 49 ? 70000 : i;

                cr_assert_eq(strlen(text[i]), n);
                for (size_t j = 0; j < n; j++)
                        cr_assert_eq(text[i][j], 'a' + (int)(i % 26));
                for (size_t j = 0; j <= i % 7; j++)
                        cr_assert_eq(numbers[i][j], i);
        }
}
