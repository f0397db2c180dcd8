/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the command line without side effects: words in, text out. */
#include "output.h"
#include "replan-text.h"
#include "sse.h"

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
STUB(plugin_trust) STUB(resource_adopt) STUB(secret_rotate)
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
