/* SPDX-License-Identifier: Apache-2.0 */
/* How a run looks: a story of records, and the text it gives. */
#include "view.h"

#include <criterion/criterion.h>

#define START 1732000000000

struct story {
        struct run *run;
        struct view view;
        struct buf lines;
        uint64_t seq;
};

static void tell(struct story *s, struct record r)
{
        r.seq = ++s->seq;
        if (!r.at)
                r.at = START;
        cr_assert_eq(run_apply(s->run, NULL, &r), 0, "record %llu", (unsigned long long)r.seq);
        view_line(&s->view, s->run, &r, &s->lines);
}

#define RECORD(...) ((struct record){__VA_ARGS__})

static void tell_task(struct story *s, const char *id, uint32_t operation, const char *deps, bool join)
{
        tell(s, RECORD(.type = RECORD_TASK, .id = span_of(id), .operation = operation,
                       .lane = 0, .verb = span_of(join ? "join" : "create"),
                       .key = span_of(join ? "" : "server.x"), .deps = span_of(deps),
                       .doc = span_of("{}")));
}

/* Two servers, then two taskservs on them, with a join between. */
static void begin(struct story *s)
{
        *s = (struct story){.run = run_new(), .view = {.utf8 = true, .width = 80}};
        s->view.now_ms = START;
        tell(s, RECORD(.type = RECORD_RUN, .name = span_of("shop"), .kind = span_of("batch"),
                       .who = span_of("{}"), .max_attempts = 3, .backoff = span_of("linear"),
                       .logging = span_of("{}"), .options = span_of("{}"),
                       .notices = span_of("[]")));
        tell(s, RECORD(.type = RECORD_LANE, .plugin = span_of("provider/x")));
        tell(s, RECORD(.type = RECORD_OPERATION, .id = span_of("servers"),
                       .verb = span_of("create"), .target = span_of("server"),
                       .on_failure = span_of("fail"), .timeout = 9));
        tell(s, RECORD(.type = RECORD_OPERATION, .id = span_of("base"), .verb = span_of("create"),
                       .target = span_of("taskserv"), .on_failure = span_of("fail"), .timeout = 9));
        tell_task(s, "servers/web-0", 0, "", false);
        tell_task(s, "servers/web-1", 0, "", false);
        tell_task(s, "servers/", 0, "[0,1]", true);
        tell_task(s, "base/os@web-0", 1, "[2]", false);
        tell(s, RECORD(.type = RECORD_TASK, .id = span_of("base/os@web-1"), .operation = 1,
                       .verb = span_of("create"), .key = span_of("taskserv.os@web-1"),
                       .deps = span_of("[2]"), .soft = 1, .doc = span_of("{}")));
        tell(s, RECORD(.type = RECORD_PLANNED, .n_tasks = 5, .n_deps = 4));
}

static void intent(struct story *s, uint32_t task, int64_t after)
{
        tell(s, RECORD(.type = RECORD_INTENT, .task = task, .at = START + after,
                       .request = span_of("{}")));
}

static void done(struct story *s, uint32_t task, int64_t after)
{
        tell(s, RECORD(.type = RECORD_DONE, .task = task, .at = START + after,
                       .outputs = span_of("{}")));
}

static void end(struct story *s)
{
        run_free(s->run);
        buf_deinit(&s->lines);
}

Test(view, tree_of_a_run_under_way)
{
        struct progresses progresses = {0};
        struct buf out = BUF_NULL;
        struct story s;

        begin(&s);
        intent(&s, 0, 0);
        intent(&s, 1, 1000);
        done(&s, 0, 3000);
        progresses_put(&progresses, "servers/web-1", 450, "cloning");
        s.view.progresses = &progresses;
        s.view.now_ms = START + 4000;
        view_tree(&s.view, s.run, &out);
        cr_assert(strstr(buf_str(&out),
                         "  ● servers   1/2  4s\n"
                         "      ✓ web-0     3s\n"
                         "      ● web-1     3s  45%  cloning\n"
                         "  ○ base      0/2  waits for servers\n"
                         "      ○ os@web-0\n"
                         "      ○ os@web-1\n"),
                  "%s", buf_str(&out));
        cr_assert(strstr(buf_str(&out), "1 of 4 tasks, about "), "%s", buf_str(&out));
        progresses_deinit(&progresses);
        buf_deinit(&out);
        end(&s);
}

static size_t count_lines(const struct buf *b)
{
        size_t n = 0;

        for (size_t i = 0; i < b->n; i++)
                n += b->data[i] == '\n';
        return n;
}

/* However low the window, the tree fits, and what is at work is shown before what is not. */
Test(view, tree_fits_the_window)
{
        struct buf out = BUF_NULL;
        struct story s;

        begin(&s);
        intent(&s, 1, 0);
        for (size_t height = 8; height < 20; height++) {
                buf_clear(&out);
                s.view.height = height;
                view_tree(&s.view, s.run, &out);
                cr_assert_leq(count_lines(&out), height, "%zu:\n%s", height, buf_str(&out));
        }
        s.view.height = 9;
        buf_clear(&out);
        view_tree(&s.view, s.run, &out);
        cr_assert(strstr(buf_str(&out), "● web-1"), "%s", buf_str(&out));
        buf_deinit(&out);
        end(&s);
}

Test(view, many_operations_fit_too)
{
        struct buf out = BUF_NULL;
        struct story s = {.run = run_new(), .view = {.utf8 = true, .width = 80, .height = 12}};
        char id[32];

        tell(&s, RECORD(.type = RECORD_RUN, .name = span_of("big"), .kind = span_of("batch"),
                        .who = span_of("{}"), .backoff = span_of("linear")));
        tell(&s, RECORD(.type = RECORD_LANE, .plugin = span_of("provider/x")));
        for (unsigned i = 0; i < 40; i++) {
                snprintf(id, sizeof(id), "op-%u", i);
                tell(&s, RECORD(.type = RECORD_OPERATION, .id = span_of(id),
                                .verb = span_of("create"), .target = span_of("server"),
                                .on_failure = span_of("fail")));
        }
        for (unsigned i = 0; i < 40; i++) {
                snprintf(id, sizeof(id), "op-%u/x", i);
                tell_task(&s, id, i, "", false);
        }
        tell(&s, RECORD(.type = RECORD_PLANNED, .n_tasks = 40));
        intent(&s, 7, 0);
        view_tree(&s.view, s.run, &out);
        cr_assert_leq(count_lines(&out), 12u, "%s", buf_str(&out));
        cr_assert(strstr(buf_str(&out), "● op-7"), "%s", buf_str(&out));
        cr_assert(strstr(buf_str(&out), "more operations"), "%s", buf_str(&out));
        buf_deinit(&out);
        end(&s);
}

/* The times of day depend on the zone; the rest does not. */
static void assert_lines(const struct buf *lines, const char *const *expected)
{
        const char *p = buf_str(lines);

        for (; *expected; expected++) {
                size_t n = strcspn(p, "\n");

                cr_assert_geq(n, 10u, "no line for: %s", *expected);
                cr_assert(n - 10 == strlen(*expected) && memcmp(p + 10, *expected, n - 10) == 0,
                          "\"%.*s\" is not \"%s\"", (int)n - 10, p + 10, *expected);
                p += n + (p[n] == '\n');
        }
        cr_assert_str_empty(p);
}

Test(view, one_line_for_each_change)
{
        static const char *const expected[] = {
                "shop  4 tasks in 2 operations",
                "servers/web-0  create",
                "servers/web-1  create",
                "servers/web-0  again in 5s (attempt 1): reset by peer",
                "servers/web-0  attempt 2",
                "servers/web-1  succeeded in 2s",
                "servers/web-0  failed in 9s: no such image",
                "nothing more starts: servers/web-0 failed",
                NULL,
        };
        struct story s;

        begin(&s);
        intent(&s, 0, 0);
        intent(&s, 1, 0);
        tell(&s, RECORD(.type = RECORD_RETRY, .task = 0, .attempt = 1, .answer = -1, .after = 5000,
                        .at = START + 1000, .message = span_of("reset\nby peer")));
        tell(&s, RECORD(.type = RECORD_BEGIN, .task = 0, .attempt = 2, .at = START + 6000));
        done(&s, 1, 2000);
        tell(&s, RECORD(.type = RECORD_FAILED, .task = 0, .answer = -3, .at = START + 9000,
                        .message = span_of("no such image")));
        tell(&s, RECORD(.type = RECORD_HALT, .task = 0, .message = span_of("servers/web-0 failed")));
        assert_lines(&s.lines, expected);
        end(&s);
}

Test(view, the_end_names_what_failed_and_where_to_look)
{
        struct buf out = BUF_NULL;
        struct story s;

        begin(&s);
        intent(&s, 0, 0);
        intent(&s, 1, 0);
        done(&s, 1, 1000);
        tell(&s, RECORD(.type = RECORD_FAILED, .task = 0, .answer = -3, .at = START + 2000,
                        .message = span_of("no such image\naccepted: a, b")));
        tell(&s, RECORD(.type = RECORD_END, .status = span_of("failed"), .at = START + 3000));
        view_summary(&s.view, s.run, &out);
        cr_assert_str_eq(buf_str(&out), "✗ shop failed in 3s: 4 tasks, 1 failed, 2 skipped\n");
        buf_clear(&out);
        view_troubles(&s.view, s.run, &out);
        cr_assert(strstr(buf_str(&out), "  ✗ servers/web-0  failed\n    no such image\n"
                                        "    accepted: a, b\n    its log: prvng batch logs "),
                  "%s", buf_str(&out));
        cr_assert(strstr(buf_str(&out), "submit again"));
        buf_deinit(&out);
        end(&s);
}

/* All is done but the last task, which fails: the other three are undone, the first of them is under
 * way. */
static void fail_and_roll_back(struct story *s)
{
        begin(s);
        intent(s, 0, 0);
        intent(s, 1, 0);
        done(s, 0, 1000);
        done(s, 1, 1000);
        intent(s, 3, 1000);
        intent(s, 4, 1000);
        done(s, 3, 2000);
        tell(s, RECORD(.type = RECORD_FAILED, .task = 4, .answer = -3, .effect = 0, .at = START + 2000,
                       .message = span_of("no such version")));
        tell(s, RECORD(.type = RECORD_HALT, .task = 4, .message = span_of("base/os@web-1 failed")));
        tell(s, RECORD(.type = RECORD_ROLLBACK, .at = START + 2000,
                       .message = span_of("no such version")));
        tell(s, RECORD(.type = RECORD_UNWIND, .count = 3));
        tell(s, RECORD(.type = RECORD_UNDO, .task = 3, .at = START + 2000, .verb = span_of("delete"),
                       .request = span_of("{}")));
}

Test(view, a_rollback_shows_what_is_undone_and_why)
{
        struct buf out = BUF_NULL;
        struct story s;

        fail_and_roll_back(&s);
        tell(&s, RECORD(.type = RECORD_UNDONE, .task = 3, .at = START + 3000));
        tell(&s, RECORD(.type = RECORD_UNDO, .task = 1, .at = START + 3000, .verb = span_of("delete"),
                        .request = span_of("{}")));
        s.view.now_ms = START + 9000;
        view_tree(&s.view, s.run, &out);
        cr_assert(strstr(buf_str(&out), "  rolling back  9s\n"
                                        "  base/os@web-1 failed: no such version\n"
                                        "  ● servers   0/2 undone"),
                  "%s", buf_str(&out));
        cr_assert(strstr(buf_str(&out), "      ✓ web-0     1s\n"
                                        "      ● web-1     6s  undo: delete\n"),
                  "%s", buf_str(&out));
        cr_assert(strstr(buf_str(&out), "      ↶ os@web-0  undone\n"
                                        "      ✗ os@web-1  1s  no such version\n"),
                  "%s", buf_str(&out));
        cr_assert(strstr(buf_str(&out), "  rolling back: 1 of 3 undone\n"), "%s", buf_str(&out));
        for (size_t height = 8; height < 16; height++) {
                buf_clear(&out);
                s.view.height = height;
                view_tree(&s.view, s.run, &out);
                cr_assert_leq(count_lines(&out), height, "%zu:\n%s", height, buf_str(&out));
        }
        buf_deinit(&out);
        end(&s);
}

Test(view, what_a_rollback_left_is_listed_with_its_reason)
{
        struct buf out = BUF_NULL;
        struct story s;

        fail_and_roll_back(&s);
        tell(&s, RECORD(.type = RECORD_UNDO_FAILED, .task = 3, .answer = -3, .at = START + 3000,
                        .message = span_of("it is\nprotected")));
        cr_assert(strstr(buf_str(&s.lines), "  rollback: base/os@web-1 failed: no such version\n"), "%s",
                  buf_str(&s.lines));
        cr_assert(strstr(buf_str(&s.lines), "  3 tasks to undo\n"), "%s", buf_str(&s.lines));
        cr_assert(strstr(buf_str(&s.lines), "  base/os@web-0  could not be undone: it is protected\n"),
                  "%s", buf_str(&s.lines));
        for (unsigned i = 0; i < 2; i++) {
                tell(&s, RECORD(.type = RECORD_UNDO, .task = i, .verb = span_of("delete"),
                                .request = span_of("{}")));
                tell(&s, RECORD(.type = RECORD_UNDONE, .task = i));
        }
        tell(&s, RECORD(.type = RECORD_END, .status = span_of("rollback_incomplete"),
                        .at = START + 5000));
        view_summary(&s.view, s.run, &out);
        cr_assert_str_eq(buf_str(&out), "✗ shop rollback incomplete in 3s: 4 tasks, 1 failed, 2 undone, "
                                        "1 not undone\n");
        buf_clear(&out);
        view_troubles(&s.view, s.run, &out);
        cr_assert(strstr(buf_str(&out), "  rolled back: base/os@web-1 failed\n"), "%s",
                  buf_str(&out));
        cr_assert(strstr(buf_str(&out), "  ✗ base/os@web-1  failed\n    no such version\n"), "%s",
                  buf_str(&out));
        cr_assert(strstr(buf_str(&out), "  ✗ base/os@web-0  could not be undone\n"
                                        "    still there: server.x\n"
                                        "    it is\n    protected\n"),
                  "%s", buf_str(&out));
        cr_assert(strstr(buf_str(&out), "prvng batch resume "), "%s", buf_str(&out));
        buf_deinit(&out);
        end(&s);
}

Test(view, what_is_waited_for_is_shown_with_its_age)
{
        struct buf out = BUF_NULL;
        struct story s;

        begin(&s);
        tell(&s, RECORD(.type = RECORD_WAIT, .task = 0, .at = START + 1000,
                        .message = span_of("server.db: state == \"ready\"; last: state = \"booting\"")));
        s.view.now_ms = START + 6000;
        view_tree(&s.view, s.run, &out);
        cr_assert(strstr(buf_str(&out), "web-0     5s  waits: server.db: state == \"ready\""), "%s",
                  buf_str(&out));
        buf_deinit(&out);
        end(&s);
}

/* A changed definition: its plan follows in the stream, and a frame may be drawn behind any record. */
Test(view, a_second_plan_takes_over)
{
        struct buf out = BUF_NULL;
        struct story s;

        begin(&s);
        intent(&s, 0, 0);
        done(&s, 0, 1000);
        tell(&s, RECORD(.type = RECORD_PAUSE, .who = span_of("{}")));
        buf_clear(&s.lines);
        tell(&s, RECORD(.type = RECORD_REPLAN, .who = span_of("{}")));
        view_tree(&s.view, s.run, &out);
        cr_assert(strstr(buf_str(&out), "shop  "), "%s", buf_str(&out));
        cr_assert(strstr(buf_str(&out), "making the plan"), "%s", buf_str(&out));
        tell(&s, RECORD(.type = RECORD_RUN, .name = span_of("shop"), .kind = span_of("batch"),
                        .who = span_of("{}"), .max_attempts = 3, .backoff = span_of("linear"),
                        .logging = span_of("{}"), .options = span_of("{}"), .notices = span_of("[]")));
        tell(&s, RECORD(.type = RECORD_LANE, .plugin = span_of("provider/x")));
        view_tree(&s.view, s.run, &out);
        tell(&s, RECORD(.type = RECORD_OPERATION, .id = span_of("servers"), .verb = span_of("create"),
                        .target = span_of("server"), .on_failure = span_of("fail"), .timeout = 9));
        tell_task(&s, "servers/new", 0, "", false);
        view_tree(&s.view, s.run, &out);
        tell_task(&s, "servers/web-0", 0, "[0]", false);
        view_tree(&s.view, s.run, &out);
        tell(&s, RECORD(.type = RECORD_PLANNED, .n_tasks = 2, .n_deps = 1));
        cr_assert(strstr(buf_str(&s.lines), "a changed definition takes over\n"), "%s", buf_str(&s.lines));
        cr_assert(strstr(buf_str(&s.lines), "shop  2 tasks in 1 operations\n"), "%s", buf_str(&s.lines));
        buf_clear(&out);
        view_tree(&s.view, s.run, &out);
        cr_assert(strstr(buf_str(&out), "      ○ new     \n      ✓ web-0     1s\n"), "%s", buf_str(&out));
        cr_assert(strstr(buf_str(&out), "1 of 2 tasks"), "%s", buf_str(&out));
        cr_assert(strstr(buf_str(&out), "prvng batch resume "), "%s", buf_str(&out));
        tell(&s, RECORD(.type = RECORD_RESUME, .who = span_of("{}")));
        intent(&s, 0, 2000);
        done(&s, 0, 3000);
        tell(&s, RECORD(.type = RECORD_END, .status = span_of("succeeded"), .at = START + 3000));
        buf_clear(&out);
        view_summary(&s.view, s.run, &out);
        cr_assert(strstr(buf_str(&out), "shop succeeded in 3s: 2 tasks"), "%s", buf_str(&out));
        buf_deinit(&out);
        end(&s);
}

Test(view, no_colours_unless_asked_for)
{
        struct buf out = BUF_NULL;
        struct story s;

        begin(&s);
        intent(&s, 0, 0);
        view_tree(&s.view, s.run, &out);
        view_table(&s.view, s.run, &out);
        view_troubles(&s.view, s.run, &out);
        cr_assert_null(strchr(buf_str(&out), '\033'));
        s.view.utf8 = false;
        buf_clear(&out);
        view_tree(&s.view, s.run, &out);
        for (size_t i = 0; i < out.n; i++)
                cr_assert_lt((unsigned char)out.data[i], 0x80);
        buf_deinit(&out);
        end(&s);
}
