/* SPDX-License-Identifier: Apache-2.0 */
#include "test-host.h"

#include <criterion/criterion.h>

static char *load_and_print(plugin_entry entry, const char *text)
{
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;

        free(test_canonical(entry, NULL, text, NULL, NULL, &problems));
        return test_print(&problems);
}

/* The document as JSON, or what was wrong with it. */
static char *load_json(plugin_entry entry, const char *text)
{
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
        _cleanup_(cleanup_document) struct document *d = NULL;
        struct buf json = BUF_NULL;

        d = test_load(entry, NULL, text, strlen(text), NULL, NULL, &problems);
        if (!d)
                return test_print(&problems);
        cr_assert_eq(document_json(d, 0, &json), 0);
        return buf_steal(&json);
}

Test(json, positions)
{
        static const char text[] = "{\n  \"a\": [1, \"x\\\"\\\\\", true],\n\t\"b\\/\": {\"c\": null, \"d\": 1.5e3}\n}";
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
        _cleanup_(cleanup_document) struct document *d = NULL;
        _cleanup_(cleanup_buf) struct buf json = BUF_NULL;
        static const struct { const char *path; uint32_t line, column; } places[] = {
                { "", 1, 1 }, { "a", 2, 8 }, { "a[0]", 2, 9 }, { "a[1]", 2, 12 }, { "a[2]", 2, 21 },
        };
        uint32_t b;

        d = test_load(plugin_json, NULL, text, strlen(text), NULL, NULL, &problems);
        cr_assert_not_null(d);
        for (size_t i = 0; i < N_ELEMENTS(places); i++) {
                struct position at = document_position(d, document_at(d, 0, places[i].path));

                cr_assert_eq(at.line, places[i].line, "%s: line %u", places[i].path, at.line);
                cr_assert_eq(at.column, places[i].column, "%s: column %u", places[i].path, at.column);
        }
        b = document_get(d, 0, "b/");
        cr_assert_neq(b, DOC_NONE);
        cr_assert_eq(document_position(d, b).column, 9);
        cr_assert_eq(document_json(d, 0, &json), 0);
        cr_assert_str_eq(buf_str(&json),
                         "{\"a\":[1,\"x\\\"\\\\\",true],\"b/\":{\"c\":null,\"d\":1500.0}}");
}

Test(json, syntax_errors_have_their_place)
{
        static const struct { const char *text, *message; } cases[] = {
                { "{\"a\": [1,2,],\n \"b\": 1}", "text:1:12: this is no valid JSON" },
                { "{\"a\": 1,\n\n  oops}", "text:3:3: this is no valid JSON" },
                { "{\"a\": [1,\n  2\n", "text:2:4: the JSON ends too early" },
                { "{\"a\": [1,\n  -2", "text:2:5: the JSON ends too early" },
                { "", "text:1:1: the file is empty" },
                { " \n ", "text:1:1: the file is empty" },
                { "{\"a\": 99999999999999999999}", "text:1:7: this number is too large" },
                { "{} {}", "text:1:4: this is no valid JSON" },
                { "{\"a\": 1 /* no */}", "text:1:" },
                { "{\"a\": 1, \"b\": 2, \"a\": 3}", "text:1:18: a: the key \"a\" stands twice" },
                { "{\"a\": \"\xff\"}", "text:1:" },
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                _cleanup_(cleanup_free) char *printed = load_json(plugin_json, cases[i].text);

                expect(printed, cases[i].message);
        }
}

Test(json, a_byte_order_mark_is_skipped)
{
        _cleanup_(cleanup_free) char *json = load_json(plugin_json, "\xef\xbb\xbf{\"a\":1}");

        cr_assert_str_eq(json, "{\"a\":1}");
}

Test(json, a_missing_file_is_named)
{
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;

        cr_assert_null(test_load(plugin_json, "/nonexistent/x.json", NULL, 0, NULL, NULL, &problems));
        cr_assert_eq(test_answer, PRVNG_PERMANENT);
        expect(test_message, "/nonexistent/x.json cannot be read: No such file");
}

Test(yaml, scalars_are_what_people_expect)
{
        static const char text[] = "a: [yes, no, on, off, true, False, 1, -2, 0x1f, 0o17, 017, 1.5, 1e3, .5, "
                                   "1.2.3, ~, null, '1', \"true\", !!str 1, 2026-11-22, 1:30, 1_000, '']\n"
                                   "b:\nc: |\n  x\n  y\n12: number\n";
        _cleanup_(cleanup_free) char *json = load_json(plugin_yaml, text);

        cr_assert_str_eq(json,
                         "{\"a\":[\"yes\",\"no\",\"on\",\"off\",true,false,1,-2,31,15,17,1.5,1000.0,0.5,"
                         "\"1.2.3\",null,null,\"1\",\"true\",\"1\",\"2026-11-22\",\"1:30\",\"1_000\",\"\"],"
                         "\"b\":null,\"c\":\"x\\ny\\n\",\"12\":\"number\"}");
}

Test(yaml, anchors_and_merge_keys)
{
        static const char text[] = "a: &a {x: 1, y: 2}\nb: *a\nc: {<<: *a, y: 3}\n"
                                   "d: {<<: [{z: 5, x: 7}, *a]}\n";
        _cleanup_(cleanup_free) char *json = load_json(plugin_yaml, text);

        cr_assert_str_eq(json, "{\"a\":{\"x\":1,\"y\":2},\"b\":{\"x\":1,\"y\":2},\"c\":{\"y\":3,\"x\":1},"
                               "\"d\":{\"z\":5,\"x\":7,\"y\":2}}");
}

Test(yaml, errors_have_their_place)
{
        static const struct { const char *text, *message; } cases[] = {
                { "a: [\n b: }", "text:2:5: this is no valid YAML" },
                { "a: 1\n\tb: 2\n", "text:2:1: this is no valid YAML" },
                { "a: *b\n", "text:1:4: there is no anchor \"&b\"" },
                { "a: &a [*a]\n", "text:1:8: this alias stands inside of what it stands for" },
                { "a: 1\n---\nb: 2\n", "text:2:1: a second document begins here" },
                { "a: 1\nb: 2\na: 3\n", "text:3:1: a: the key \"a\" stands twice" },
                { "[a]: 1\n", "a map or list as a key is not accepted" },
                { "\xc3\xa4\xc3\xb6: [1, *x]\n", "text:1:11: there is no anchor" },
                { "a: !!python/object x\n", "text:1:4: the tag" },
                { "", "the file is empty" },
                { "# only a comment\n", "the file is empty" },
                { "a: 99999999999999999999\n", "text:1:4: this number is too large" },
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                _cleanup_(cleanup_free) char *printed = load_json(plugin_yaml, cases[i].text);

                expect(printed, cases[i].message);
        }
}

Test(yaml, a_billion_laughs_end_early)
{
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        _cleanup_(cleanup_free) char *printed = NULL;

        BUF_LIT(&text, "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
        for (int i = 1; i < 12; i++) {
                buf_printf(&text, "a%d: &a%d [", i, i);
                for (int k = 0; k < 9; k++)
                        buf_printf(&text, "%s*a%d", k ? "," : "", i - 1);
                BUF_LIT(&text, "]\n");
        }
        printed = load_json(plugin_yaml, buf_str(&text));
        expect(printed, "aliases repeat more than 1000000 values");
}

Test(yaml, depth_is_limited)
{
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        _cleanup_(cleanup_free) char *printed = NULL;

        for (int i = 0; i < 10000; i++)
                buf_putc(&text, '[');
        printed = load_json(plugin_yaml, buf_str(&text));
        expect(printed, "nested too deeply");
}

/* Cut and bent inputs: nothing may crash, and who gives no document has to say why. */
static void bend(plugin_entry entry, const char *text)
{
        size_t n = strlen(text);
        uint32_t seed = 1;

        for (size_t i = 0; i < 1500; i++) {
                _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
                _cleanup_(cleanup_document) struct document *d = NULL;
                _cleanup_(cleanup_definition) struct definition *def = NULL;
                _cleanup_(cleanup_free) char *copy = malloc(n);
                size_t length = i < n ? i : n;
                uint32_t top = DOC_NONE;

                memcpy(copy, text, length);
                for (int k = 0; i >= n / 2 && k < 3 && length; k++) {
                        seed = seed * 1664525 + 1013904223;
                        copy[(seed >> 8) % length] = "{}[]:,\"\\-&*!|>#\n\t 0\0\xff"[(seed >> 3) % 22];
                }
                d = test_load(entry, NULL, copy, length, NULL, NULL, &problems);
                if (!d)
                        cr_assert(problems.n || test_message[0], "round %zu failed without a word", i);
                if (d && definition_find(d, NULL, &problems, &top) == 0 && top != DOC_NONE)
                        cr_assert_eq(definition_check(d, top, "", &problems, &def), 0);
                if (d)
                        cr_assert_eq(!def, problems.n > 0);
        }
}

Test(json, bent_input)
{
        _cleanup_(cleanup_free) char *path = test_example("workflows.json"), *text = test_read(path);

        bend(plugin_json, text);
}

Test(yaml, bent_input)
{
        _cleanup_(cleanup_free) char *path = test_example("workflows.yaml"), *text = test_read(path);

        bend(plugin_yaml, text);
}

Test(yaml, problems_of_the_definition_have_their_place)
{
        _cleanup_(cleanup_free) char *printed = load_and_print(
                plugin_yaml, "name: x\noperations:\n  - id: a\n    type: creat\n    target: server\n"
                             "    items: [s]\n    depend_on:\n      - b\n");

        expect(printed, "text:4:11: operations[0].type: \"creat\" is not accepted here");
        expect(printed, "text:7:5: operations[0].depend_on: unknown attribute");
}
