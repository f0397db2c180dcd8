/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the command line without side effects: words in, text out. */
#include "output.h"
#include "replan-text.h"
#include "sse.h"
#include "view.h"

#include "base/json.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>

/* The commands themselves are not part of this program. */
#define STUB(name)                                                                                 \
        int name(struct cli *cli)                                                                  \
        {                                                                                          \
                return 0;                                                                          \
        }
STUB(batch_submit) STUB(batch_attach) STUB(batch_list) STUB(batch_status) STUB(batch_logs)
STUB(batch_events) STUB(batch_graph) STUB(batch_destroy) STUB(batch_check) STUB(batch_cancel)
STUB(batch_pause) STUB(batch_resume) STUB(batch_rollback) STUB(batch_retry) STUB(batch_resolve)
STUB(resource_list) STUB(resource_show) STUB(resource_orphans) STUB(plugin_list) STUB(plugin_info)
STUB(server_list) STUB(server_exec) STUB(server_shell) STUB(server_logs) STUB(store_cat)
STUB(store_check) STUB(store_compact) STUB(store_export) STUB(store_import) STUB(store_migrate)
 STUB(audit_verify) STUB(audit_log) STUB(config_check)

/* Parsing */

static int parse(struct cli *cli, const char *line, int *ret_exit)
{
        static char text[512];
        char *argv[32] = {(char *)(uintptr_t)"prvng"};
        int argc = 1;

        snprintf(text, sizeof(text), "%s", line);
        for (char *p = text, *save; (p = strtok_r(p, " ", &save)); p = NULL)
                argv[argc++] = p;
        *ret_exit = 0;
        return cli_parse(cli, argc, argv, ret_exit);
}

Test(parse, options_may_stand_anywhere)
{
        struct cli cli;
        int code;

        cr_assert_eq(parse(&cli, "--format json batch submit -D a=1 file.k --watch -Db=2 "
                                 "--only=x,y --config /c", &code), 0);
        cr_assert_eq(cli.command->run, batch_submit);
        cr_assert_eq(cli.format, FORMAT_JSON);
        cr_assert_str_eq(cli.config, "/c");
        cr_assert_eq(cli.n_args, 1);
        cr_assert_str_eq(cli.args[0], "file.k");
        cr_assert(option_given(&cli, "watch"));
        cr_assert_not(option_given(&cli, "foreground"));
        cr_assert_str_eq(option_value(&cli, "only"), "x,y");
        cr_assert_str_eq(option_value(&cli, "define"), "b=2");
        cli_deinit(&cli);
}

Test(parse, the_command_of_a_server_is_left_alone)
{
        struct cli cli;
        int code;

        cr_assert_eq(parse(&cli, "server exec web-0 -- ls --color -la --", &code), 0);
        cr_assert_eq(cli.n_args, 5);
        cr_assert_str_eq(cli.args[1], "ls");
        cr_assert_str_eq(cli.args[2], "--color");
        cr_assert_str_eq(cli.args[4], "--");
        cli_deinit(&cli);
}

static void assert_refused(const char *line, const char *hint)
{
        char said[1024] = {0};
        struct cli cli;
        int code;
        size_t n;

        cr_redirect_stderr();
        cr_assert_eq(parse(&cli, line, &code), 1);
        cr_assert_eq(code, EXIT_USAGE, "%s", line);
        fflush(stderr);
        n = fread(said, 1, sizeof(said) - 1, cr_get_redirected_stderr());
        said[n] = 0;
        cr_assert(strstr(said, hint), "%s: \"%s\" is not in: %s", line, hint, said);
        cli_deinit(&cli);
}

Test(parse, unknown_option) { assert_refused("batch submit x --wach", "did you mean --watch"); }
Test(parse, unknown_command) { assert_refused("batch sumbit x", "did you mean: prvng batch submit"); }
Test(parse, half_a_command) { assert_refused("submit x", "did you mean: prvng batch submit"); }
Test(parse, command_of_later) { assert_refused("batch render x", "comes with a later release"); }
Test(parse, missing_argument) { assert_refused("batch submit", "wants FILE"); }
Test(parse, too_many_arguments) { assert_refused("batch submit a b", "unexpected argument b"); }
Test(parse, missing_value) { assert_refused("batch submit a --only", "wants a value"); }
Test(parse, value_for_a_switch) { assert_refused("batch submit a --watch=1", "takes no value"); }
Test(parse, unknown_format) { assert_refused("batch list --format xml", "table, json and yaml"); }
Test(parse, group_alone) { assert_refused("batch", "batch submit"); }

Test(parse, every_command_has_examples)
{
        for (const struct command *c = commands; c->words; c++) {
                cr_assert(c->examples && *c->examples, "%s", c->words);
                cr_assert(startswith(c->examples, c->words), "%s: %s", c->words, c->examples);
        }
}

/* Output */

Test(output, text_is_cut_by_columns_not_bytes)
{
        struct buf b = BUF_NULL;

        put_cut(&b, "äöüß", 3, 3, true);
        cr_assert_str_eq(buf_str(&b), "äö…");
        buf_clear(&b);
        put_cut(&b, "ab", 5, 4, true);
        cr_assert_str_eq(buf_str(&b), "ab  ");
        buf_clear(&b);
        put_cut(&b, "abc", 0, 0, true);
        cr_assert_str_eq(buf_str(&b), "");
        cr_assert_eq(text_width("\033[1mäx\033[0m"), 2);
        buf_deinit(&b);
}

Test(output, durations)
{
        struct buf b = BUF_NULL;

        put_duration(&b, 59);
        buf_putc(&b, ' ');
        put_duration(&b, 65);
        buf_putc(&b, ' ');
        put_duration(&b, 7384);
        cr_assert_str_eq(buf_str(&b), "59s 1m 05s 2h 03m");
        buf_deinit(&b);
}

Test(output, times)
{
        cr_assert_eq(parse_time("2024-11-19T07:06:40.123Z"), 1732000000123);
        cr_assert_eq(parse_time("yesterday"), 0);
        cr_assert_eq(parse_time(NULL), 0);
}

/* What YAML would read as something else must not be plain. */
Test(output, yaml_keeps_types)
{
        static const char expected[] = "text: hello\n"
                                       "number: 3\n"
                                       "version: '1.10'\n"
                                       "'yes': 'no'\n"
                                       "empty: ''\n"
                                       "nothing: null\n"
                                       "list:\n"
                                       "- true\n"
                                       "- 'true'\n"
                                       "- {}\n"
                                       "- []\n"
                                       "- 'a: b'\n"
                                       "- |-\n"
                                       "  two\n"
                                       "  lines\n";
        static const char json[] = "{\"text\":\"hello\",\"number\":3,\"version\":\"1.10\",\"yes\":\"no\","
                                   "\"empty\":\"\",\"nothing\":null,\"list\":[true,\"true\",{},[],"
                                   "\"a: b\",\"two\\nlines\"]}";
        json_t *doc = NULL;
        char *text = NULL;
        size_t n;
        FILE *f = open_memstream(&text, &n);

        cr_assert_eq(json_parse(json, strlen(json), &doc, NULL), 0);
        cr_assert_eq(yaml_print(doc, f, false), 0);
        fclose(f);
        cr_assert_str_eq(text, expected);
        free(text);
        json_decref(doc);
}

/* Server-Sent Events */

static void on_event(void *userdata, const char *event, bool has_id, uint64_t id, const char *data,
                     size_t n_data)
{
        buf_printf(userdata, "[%s|%d|%llu|%s]", event, has_id, (unsigned long long)id, data);
}

Test(sse, events_in_any_pieces)
{
        static const char stream[] = "id: 7\ndata: {\"a\":1}\n\n: comment\nevent: progress\r\n"
                                     "data: x\ndata: y\r\n\n\nid: 8\ndata:z\n\nid: 9\ndata: cut";
        static const char expected[] = "[|1|7|{\"a\":1}][progress|0|7|x\ny][|1|8|z]";

        for (size_t piece = 1; piece < sizeof(stream); piece++) {
                struct sse s = SSE_NULL;
                struct buf out = BUF_NULL;

                for (size_t at = 0; at < sizeof(stream) - 1; at += piece)
                        sse_feed(&s, stream + at, MIN(piece, sizeof(stream) - 1 - at), on_event,
                                 &out);
                cr_assert_str_eq(buf_str(&out), expected);
                buf_deinit(&out);
                sse_deinit(&s);
        }
}

/* Views */

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

Test(replan, the_difference_for_people)
{
        static const char answer[] =
                "{\"id\":\"01R\",\"name\":\"shop\",\"added\":[\"a/n\"],\"removed\":[\"a/o\"],"
                "\"changed\":[{\"task\":\"a/c\",\"difference\":[{\"path\":\"cpu\",\"from\":1,\"to\":null}]}],"
                "\"kept\":[{\"task\":\"a/1\",\"status\":\"succeeded\"},{\"task\":\"a/2\",\"status\":\"waiting\"},"
                "{\"task\":\"a/3\",\"status\":\"succeeded\"}],"
                "\"run\":[{\"path\":\"type\",\"from\":\"batch\",\"to\":\"parallel\"}]}";
        _cleanup_(cleanup_json_decref) json_t *json = NULL, *nothing = json_object();
        struct buf out = BUF_NULL;

        cr_assert_eq(json_parse(answer, strlen(answer), &json, NULL), 0);
        cr_assert_not(replan_is_empty(json));
        replan_text(json, false, &out);
        cr_assert_str_eq(buf_str(&out), "shop 01R: 1 added, 1 removed, 1 changed\n"
                                        "  + a/n\n"
                                        "  - a/o\n"
                                        "  ~ a/c\n"
                                        "      cpu: 1 -> null\n"
                                        "  ~ the run\n"
                                        "      type: \"batch\" -> \"parallel\"\n"
                                        "  = 3 as they were: 2 succeeded, 1 waiting\n");
        buf_clear(&out);
        cr_assert(replan_is_empty(nothing));
        replan_text(nothing, false, &out);
        cr_assert(strstr(buf_str(&out), "changes nothing in its plan"), "%s", buf_str(&out));
        buf_deinit(&out);
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
