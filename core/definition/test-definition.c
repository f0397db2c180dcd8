/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "definition/definition.h"

#include <criterion/criterion.h>

static const struct prvng_host_document *builder(void)
{
        return document_interface();
}

/* Emits JSON with made-up positions: each value in a line of its own. */
static void emit(struct prvng_document *d, const json_t *v, uint32_t *line)
{
        struct prvng_position at = { .line = ++*line, .column = 1 };
        const char *key;
        json_t *child;
        size_t i;

        if (json_is_object(v)) {
                builder()->map_begin(d, &at);
                json_object_foreach ((json_t *)(uintptr_t)v, key, child) {
                        builder()->key(d, key, strlen(key), &at);
                        emit(d, child, line);
                }
                builder()->end(d, &at);
        } else if (json_is_array(v)) {
                builder()->list_begin(d, &at);
                json_array_foreach (v, i, child)
                        emit(d, child, line);
                builder()->end(d, &at);
        } else if (json_is_string(v)) {
                builder()->string(d, json_string_value(v), json_string_length(v), &at);
        } else if (json_is_integer(v)) {
                builder()->integer(d, json_integer_value(v), &at);
        } else if (json_is_real(v)) {
                builder()->real(d, json_real_value(v), &at);
        } else if (json_is_boolean(v)) {
                builder()->boolean(d, json_is_true(v), &at);
        } else {
                builder()->null(d, &at);
        }
}

static struct document *document(const char *text, struct problems *problems)
{
        _cleanup_(cleanup_json_decref) json_t *json = NULL;
        char error[JSON_PARSE_ERROR];
        struct document *d;
        uint32_t line = 0;

        cr_assert_eq(json_parse(text, strlen(text), &json, error), 0, "%s", error);
        cr_assert_eq(document_new("test.json", problems, &d), 0);
        emit(document_builder(d), json, &line);
        return d;
}

struct fixture {
        struct problems problems;
        struct document *document;
        struct definition *definition;
        char *printed;
};

static void cleanup_fixture(struct fixture *f)
{
        definition_free(f->definition);
        document_free(f->document);
        problems_deinit(&f->problems);
        free(f->printed);
}

static void check(struct fixture *f, const char *text)
{
        uint32_t top = DOC_NONE;
        size_t n;
        FILE *out;

        f->document = document(text, &f->problems);
        cr_assert_eq(definition_find(f->document, NULL, &f->problems, &top), 0);
        if (top != DOC_NONE)
                cr_assert_eq(definition_check(f->document, top, "/folder", &f->problems,
                                              &f->definition), 0);
        out = open_memstream(&f->printed, &n);
        problems_print(&f->problems, out);
        fclose(out);
        cr_assert_eq(!f->definition, f->problems.n > 0, "a definition if and only if no problem");
}

static void expect(const struct fixture *f, const char *text)
{
        cr_assert(strstr(f->printed, text), "\"%s\" is not in:\n%s", text, f->printed);
}

#define MINIMAL "\"name\":\"w\",\"operations\":[{\"id\":\"a\",\"type\":\"create\",\"target\":\"server\",\"items\":[\"s-0\"]}]"

Test(document, reads_back)
{
        static const char text[] = "{\"a\":[1,{\"b c\":null,\"d\":\"x\"},-2.5,true],\"e\":{}}";
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
        _cleanup_(cleanup_document) struct document *d = document(text, &problems);
        _cleanup_(cleanup_buf) struct buf json = BUF_NULL;

        cr_assert_eq(document_json(d, document_root(d), &json), 0);
        cr_assert_str_eq(buf_str(&json), text);
        for (uint32_t node = 0; node < 9; node++) {
                _cleanup_(cleanup_free) char *path = document_path(d, 0, node);

                cr_assert_eq(document_at(d, 0, path), node, "%s", path);
        }
        cr_assert_eq(document_at(d, 0, "a[1].nothing.more"), document_at(d, 0, "a[1]"));
}

Test(document, duplicates_are_reported_each)
{
        static const struct prvng_position at = { .line = 7, .column = 3 };
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
        _cleanup_(cleanup_document) struct document *d = NULL;
        struct prvng_document *b;

        cr_assert_eq(document_new("f", &problems, &d), 0);
        b = document_builder(d);
        builder()->map_begin(b, &at);
        for (int i = 0; i < 3; i++) { /* "k" thrice, and inside of each a map that has "k" once */
                builder()->key(b, "k", 1, &at);
                builder()->map_begin(b, &at);
                builder()->key(b, "k", 1, &at);
                builder()->null(b, &at);
                builder()->end(b, &at);
        }
        cr_assert_eq(builder()->end(b, &at), 0);
        cr_assert_eq(problems.n, 2);
        cr_assert(strstr(problems.list[0].message, "line 7"));
}

Test(document, a_loader_that_misbehaves_is_stopped)
{
        static const struct prvng_position at = { 0 };

        for (int i = 0; i < 6; i++) {
                _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
                _cleanup_(cleanup_document) struct document *d = NULL;
                struct prvng_document *b;
                int32_t r = 0;

                cr_assert_eq(document_new(NULL, &problems, &d), 0);
                b = document_builder(d);
                if (i == 0) {
                        r = builder()->end(b, &at);
                } else if (i == 1) {
                        r = builder()->key(b, "k", 1, &at);
                } else if (i == 2) {
                        builder()->null(b, &at);
                        r = builder()->null(b, &at);
                } else if (i == 3) {
                        builder()->map_begin(b, &at);
                        r = builder()->null(b, &at);
                } else if (i == 4) {
                        builder()->map_begin(b, &at);
                        builder()->key(b, "k", 1, &at);
                        r = builder()->end(b, &at);
                } else {
                        for (int depth = 0; depth < 65 && r == 0; depth++)
                                r = builder()->list_begin(b, &at);
                }
                cr_assert_lt(r, 0, "case %d", i);
                cr_assert_eq(builder()->null(b, &at), r, "the class stays");
                cr_assert_eq(problems.n, 1);
        }
}

Test(document, texts_are_utf8)
{
        static const struct { const char *text; bool ok; } cases[] = {
                { "", true }, { "plain ascii, longer than eight", true }, { "\xc3\xa4", true },
                { "12345678\xe2\x82\xac", true }, { "\xf0\x9f\x98\x80", true }, { "\xff", false },
                { "\xc3", false }, { "\xc0\x80", false }, { "\xe0\x80\x80", false },
                { "\xed\xa0\x80", false }, { "\xf4\x90\x80\x80", false }, { "12345678\x80", false },
        };
        static const struct prvng_position at = { 0 };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
                _cleanup_(cleanup_document) struct document *d = NULL;
                int32_t r;

                cr_assert_eq(document_new(NULL, &problems, &d), 0);
                r = builder()->string(document_builder(d), cases[i].text, strlen(cases[i].text), &at);
                cr_assert_eq(r == 0, cases[i].ok, "case %zu", i);
        }
}

Test(document, problems_of_loaders_do_not_steer_terminals)
{
        static const struct prvng_position at = { .line = 1 };
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
        _cleanup_(cleanup_document) struct document *d = NULL;

        cr_assert_eq(document_new(NULL, &problems, &d), 0);
        builder()->problem(document_builder(d), &at, "a\x1b]0;x\x07", "b\x1b[31m\n  ^");
        cr_assert_eq(problems.n, 1);
        cr_assert_null(strchr(problems.list[0].message, 0x1b));
        cr_assert_null(strchr(problems.list[0].snippet, 0x1b));
        cr_assert(strstr(problems.list[0].snippet, "\n  ^"), "lines stay lines");
}

Test(definition, defaults)
{
        _cleanup_(cleanup_fixture) struct fixture f = { 0 };
        const struct definition *d;

        check(&f, "{" MINIMAL "}");
        d = f.definition;
        cr_assert_not_null(d, "%s", f.printed);
        cr_assert(d->type == WORKFLOW_BATCH && d->provider_agnostic && d->n_operations == 1);
        cr_assert(d->operations[0].timeout_s == 300 && d->operations[0].parallel);
        cr_assert_eq(d->operations[0].on_failure, ON_FAILURE_ROLLBACK);
        cr_assert(d->rollback.enabled && d->rollback.checkpoint_interval == 5);
        cr_assert(d->retry.max_attempts == 3 && d->retry.backoff == BACKOFF_EXPONENTIAL);
        cr_assert(d->retry.initial_delay_s == 5 && d->retry.max_delay_s == 300);
        cr_assert_str_eq(d->logging.level, "info");
        cr_assert_eq(d->logging.destinations.n, 2);
        cr_assert_str_eq(d->logging.destinations.list[1], "stdout");
        cr_assert_str_eq(d->monitoring.state_store, "rkvs");
        cr_assert_str_eq(d->monitoring.telemetry,
                         "{\"enabled\":false,\"endpoint\":\"\",\"headers\":{},\"sample_ratio\":1}");
        cr_assert_str_eq(d->secrets, "null");
        cr_assert_str_eq(d->vars, "{}");
        cr_assert_str_eq(d->operations[0].vars, "{}");
        cr_assert_str_eq(d->folder, "/folder");
}

Test(definition, canonical_is_a_fixed_point_and_ignores_form)
{
        static const char a[] = "{\"x\":{" MINIMAL ",\"vars\":{\"b\":1,\"a\":[2.0]},\"servers\":[{\"local\":"
                                "{\"z\":1,\"y\":2},\"cpu\":2.0,\"name\":\"s-0\",\"zone\":null}]}}";
        static const char b[] = "{\"servers\":[{\"name\":\"s-0\",\"cpu\":2,\"local\":{\"y\":2,\"z\":1}}],"
                                "\"type\":\"batch\",\"vars\":{\"a\":[2.0],\"b\":1},\"retry_policy\":{}," MINIMAL "}";
        _cleanup_(cleanup_fixture) struct fixture fa = { 0 }, fb = { 0 }, fc = { 0 };
        _cleanup_(cleanup_buf) struct buf ja = BUF_NULL, jb = BUF_NULL, jc = BUF_NULL;

        check(&fa, a);
        check(&fb, b);
        cr_assert(fa.definition && fb.definition, "%s%s", fa.printed, fb.printed);
        cr_assert_eq(definition_canonical(fa.definition, &ja), 0);
        cr_assert_eq(definition_canonical(fb.definition, &jb), 0);
        cr_assert_str_eq(buf_str(&ja), buf_str(&jb));
        check(&fc, buf_str(&ja));
        cr_assert_not_null(fc.definition, "%s", fc.printed);
        cr_assert_eq(definition_canonical(fc.definition, &jc), 0);
        cr_assert_str_eq(buf_str(&ja), buf_str(&jc));
        cr_assert_str_eq(fa.definition->servers[0].spec,
                         "{\"name\":\"s-0\",\"cpu\":2,\"local\":{\"y\":2,\"z\":1}}");
}

/* The default of the schema is no choice, neither where nothing stands nor where an evaluator filled it in,
 * at the place of its map; nor has the engine, which gets the canonical text, reason to think so. */
Test(definition, knows_whether_a_store_was_chosen)
{
        static const struct { const char *monitoring; bool chosen; } cases[] = {
                { "", false },
                { ",\"monitoring\":{}", false },
                { ",\"monitoring\":{\"state_store\":null}", false },
                { ",\"monitoring\":{\"state_store\":\"rkvs\"}", true },
                { ",\"monitoring\":{\"state_store\":\"file\"}", true },
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                _cleanup_(cleanup_fixture) struct fixture f = { 0 }, again = { 0 };
                _cleanup_(cleanup_buf) struct buf text = BUF_NULL, canonical = BUF_NULL;
                const char *store;

                buf_printf(&text, "{" MINIMAL "%s}", cases[i].monitoring);
                check(&f, buf_str(&text));
                cr_assert_not_null(f.definition, "%s", f.printed);
                store = definition_state_store(f.definition);
                cr_assert_eq(store != NULL, cases[i].chosen, "%s", cases[i].monitoring);
                cr_assert(!store || strstr(cases[i].monitoring, store));
                cr_assert_eq(definition_canonical(f.definition, &canonical), 0);
                cr_assert_eq(strstr(buf_str(&canonical), "state_store") != NULL, cases[i].chosen,
                             "%s", buf_str(&canonical));
                check(&again, buf_str(&canonical));
                cr_assert_eq(definition_state_store(again.definition) != NULL, cases[i].chosen);
        }
}

Test(definition, all_problems_at_once)
{
        _cleanup_(cleanup_fixture) struct fixture f = { 0 };

        check(&f, "{\"name\":\"w\",\"provider_agnostic\":\"yes\",\"operations\":["
                  "{\"id\":\"a\",\"type\":\"craete\",\"target\":\"server\",\"items\":[\"s-0\",\"s-0\"],\"timeout\":0},"
                  "{\"id\":\"a\",\"type\":\"create\",\"target\":\"taskserv\",\"items\":[],\"depend_on\":[\"a\"]},"
                  "{\"id\":\"bb\",\"type\":\"create\",\"target\":\"taskserv\",\"items\":[\"os\"],"
                  "\"depends_on\":[\"bb\",\"b\"],\"servers\":[\"s-1\"]},"
                  "{\"type\":\"create\",\"target\":\"server\",\"items\":\"s-9\"}],"
                  "\"servers\":[{\"name\":\"s-0\",\"tier\":\"x\",\"cpu\":-1},{\"name\":\"s-0\"}],"
                  "\"clusters\":[{\"name\":\"c\",\"servers\":[\"t-0\"]}],"
                  "\"dependencies\":[{\"source\":\"os@s-0\",\"target\":\"server.s-7\"}],"
                  "\"retry_policy\":{\"initial_delay\":10,\"max_delay\":2},"
                  "\"monitoring\":{\"state_store\":\"rkv\",\"metrics_endpoint\":\"m\"}}");
        expect(&f, "provider_agnostic: \"yes\" is not accepted here; expected true or false");
        expect(&f, "operations[0].type: \"craete\" is not accepted here; expected one of: create, update, "
                   "delete, check. Did you mean \"create\"?");
        expect(&f, "operations[0].items[1]: \"s-0\" stands twice");
        expect(&f, "operations[0].timeout: 0 is out of range; expected a whole number from 1 to");
        expect(&f, "operations[1].id: the operation id \"a\" is there already, in line");
        expect(&f, "operations[1].items: the list is empty");
        expect(&f, "operations[1].depend_on: unknown attribute \"depend_on\" of OperationDef; accepted: id,");
        expect(&f, "Did you mean \"depends_on\"?");
        expect(&f, "operations[2].depends_on[0]: the operation \"bb\" depends on itself");
        expect(&f, "operations[2].depends_on[1]: there is no operation \"b\". Did you mean");
        expect(&f, "operations[2].servers[0]: there is no server \"s-1\" in this workflow. Did you mean "
                   "\"s-0\"?");
        expect(&f, "operations[3].id: the attribute \"id\" of OperationDef is missing");
        expect(&f, "operations[3].items: \"s-9\" is not accepted here; expected a list of texts");
        expect(&f, "servers[0].tier: unknown attribute \"tier\" of ServerDef");
        expect(&f, "block with the provider's name");
        expect(&f, "servers[0].cpu: -1 is out of range");
        expect(&f, "servers[1].name: the server \"s-0\" is there already");
        expect(&f, "clusters[0].servers[0]: there is no server \"t-0\"");
        expect(&f, "dependencies[0].source: \"os@s-0\" names no resource");
        expect(&f, "dependencies[0].target: there is no server \"s-7\"");
        expect(&f, "retry_policy.initial_delay: initial_delay (10) is longer than max_delay (2)");
        expect(&f, "monitoring.state_store: \"rkv\" is not accepted here");
        expect(&f, "monitoring.metrics_endpoint: \"m\" is not accepted here; expected a path");
        cr_assert_eq(f.problems.n, 21, "%zu:\n%s", f.problems.n, f.printed);
        for (size_t i = 0; i < f.problems.n; i++) {
                cr_assert_str_eq(f.problems.list[i].file, "test.json");
                cr_assert_gt(f.problems.list[i].line, 0);
                cr_assert(i == 0 || f.problems.list[i].line >= f.problems.list[i - 1].line, "sorted");
        }
}

Test(definition, conditions_of_dependencies)
{
        _cleanup_(cleanup_fixture) struct fixture f = { 0 };
        _cleanup_(cleanup_buf) struct buf json = BUF_NULL;

#define DEPENDENCY(type)                                                                           \
        "{\"name\":\"w\",\"operations\":[{\"id\":\"a\",\"type\":\"create\",\"target\":\"server\","      \
        "\"items\":[\"s-0\",\"s-1\"]}],\"dependencies\":[{\"source\":\"server.s-0\",\"target\":"       \
        "\"server.s-1\",\"type\":\"" type "\",\"wait_condition\":\"outputs['gr\\u00f6\\u00dfe'] == 1\"}]}"
        check(&f, DEPENDENCY("soft"));
        cr_assert_eq(f.problems.n, 0, "%s", f.printed);
        cr_assert_str_eq(f.definition->dependencies[0].wait_condition, "outputs['größe'] == 1");
        cr_assert_eq(definition_canonical(f.definition, &json), 0);
        cr_assert_not_null(strstr(buf_str(&json), "\"wait_condition\":\"outputs['größe'] == 1\""));
        cleanup_fixture(&f);
        f = (struct fixture){ 0 };
        check(&f, DEPENDENCY("optional"));
        expect(&f, "dependencies[0].wait_condition: an optional dependency is waited for only where it "
                   "is in the plan, so it has no condition; make its type hard or soft");
}

Test(definition, provider_attributes)
{
        _cleanup_(cleanup_fixture) struct fixture agnostic = { 0 }, specific = { 0 }, mistyped = { 0 };

        check(&agnostic, "{" MINIMAL ",\"servers\":[{\"name\":\"s-0\",\"upcloud\":{\"tier\":\"maxiops\"}}]}");
        cr_assert_not_null(agnostic.definition, "a block of a provider: %s", agnostic.printed);
        check(&specific, "{" MINIMAL ",\"provider_agnostic\":false,\"servers\":[{\"name\":\"s-0\",\"tier\":1}]}");
        cr_assert_not_null(specific.definition, "%s", specific.printed);
        cr_assert_str_eq(specific.definition->servers[0].spec, "{\"name\":\"s-0\",\"tier\":1}");
        check(&mistyped, "{" MINIMAL ",\"servers\":[{\"name\":\"s-0\",\"lables\":{\"a\":\"b\"}}]}");
        expect(&mistyped, "servers[0].lables: unknown attribute");
        expect(&mistyped, "Did you mean \"labels\"?");
}

Test(definition, networks_and_rules)
{
        _cleanup_(cleanup_fixture) struct fixture f = {0}, g = {0};
        const struct security_group_def *s;

        check(&f, "{" MINIMAL ",\"networks\":[{\"name\":\"private\",\"address\":\"10.8.0.0/22\","
                  "\"upcloud\":{\"router\":true}},{\"name\":\"private\",\"provider\":\"aws\"}],"
                  "\"security_groups\":[{\"name\":\"default\",\"rules\":[{\"port\":22},"
                  "{\"direction\":\"out\",\"protocol\":\"any\",\"destination\":\"2001:db8::/32\"}]},"
                  "{\"name\":\"web\"}]}");
        cr_assert_str_eq(f.printed, "");
        cr_assert_eq(f.definition->n_networks, 2);
        cr_assert_str_eq(f.definition->networks[0].spec,
                         "{\"name\":\"private\",\"address\":\"10.8.0.0/22\",\"upcloud\":{\"router\":true}}");
        cr_assert_str_eq(f.definition->networks[1].provider, "aws");
        cr_assert_str_eq(f.definition->networks[1].spec, "{\"name\":\"private\"}");
        s = f.definition->security_groups;
        cr_assert_eq(s[0].rules[0].port, 22);
        cr_assert_str_eq(s[0].spec, "{\"name\":\"default\",\"rules\":[{\"direction\":\"in\","
                         "\"protocol\":\"tcp\",\"port\":22,\"action\":\"accept\"},{\"direction\":\"out\","
                         "\"protocol\":\"any\",\"destination\":\"2001:db8::/32\",\"action\":\"accept\"}]}");
        cr_assert_str_eq(s[1].spec, "{\"name\":\"web\"}");

        check(&g, "{" MINIMAL ",\"networks\":[{\"name\":\"n\",\"address\":\"10.8.0.1/22\"},"
                  "{\"name\":\"n\",\"address\":\"ten\"},{\"name\":\"m\",\"address\":\"10.0.0.0/33\"}],"
                  "\"security_groups\":[{\"name\":\"g\",\"rules\":[{\"port\":22,\"ports\":\"1-2\"},"
                  "{\"ports\":\"9-1\"},{\"protocol\":\"icmp\",\"port\":1},{\"port\":0},"
                  "{\"direction\":\"out\",\"source\":\"::/0\"},{\"destination\":\"::/0\"},"
                  "{\"protocol\":\"tpc\"}]}]}");
        expect(&g, "networks[0].address: \"10.8.0.1/22\" has bits set behind its prefix");
        expect(&g, "networks[1].name: the network \"n\" is there already, in line");
        expect(&g, "networks[1].address: \"ten\" is no range of addresses; expected ADDRESS/PREFIX");
        expect(&g, "networks[2].address: \"10.0.0.0/33\" is no range");
        expect(&g, "rules[0].ports: port and ports exclude each other");
        expect(&g, "rules[1].ports: \"9-1\" is no range of ports; expected FROM-TO");
        expect(&g, "rules[2].port: protocol icmp has no ports");
        expect(&g, "rules[3].port: 0 is out of range; expected a whole number from 1 to 65535");
        expect(&g, "rules[4].source: a rule of direction out is about where it goes");
        expect(&g, "rules[5].destination: a rule of direction in is about where it comes from");
        expect(&g, "rules[6].protocol: \"tpc\" is not accepted here");
        cr_assert_eq(g.problems.n, 11, "%s", g.printed);
}

Test(definition, what_the_inventory_knows_is_left_to_the_plan)
{
        _cleanup_(cleanup_fixture) struct fixture none = { 0 }, deletion = { 0 };

        check(&none, "{\"name\":\"w\",\"operations\":[{\"id\":\"a\",\"type\":\"create\",\"target\":\"taskserv\","
                     "\"items\":[\"os\"],\"servers\":[\"old-0\"]}]}");
        cr_assert_not_null(none.definition, "%s", none.printed);
        check(&deletion, "{\"name\":\"w\",\"operations\":[{\"id\":\"a\",\"type\":\"delete\",\"target\":\"taskserv\","
                         "\"items\":[\"os\"],\"servers\":[\"old-0\"]}],\"servers\":[{\"name\":\"new-0\"}]}");
        cr_assert_not_null(deletion.definition, "%s", deletion.printed);
}

Test(definition, names_hold_no_surprise)
{
        static const char *const names[] = { "", "a/b", "a b", "-a", "a\\u0000b", "a@b", "{{ env }}-0",
                                             "\\u001b[31m" };

        for (size_t i = 0; i < N_ELEMENTS(names); i++) {
                _cleanup_(cleanup_fixture) struct fixture f = { 0 };
                char text[512];

                snprintf(text, sizeof(text), "{\"name\":\"w\",\"operations\":[{\"id\":\"%s\",\"type\":\"create\","
                         "\"target\":\"server\",\"items\":[\"s\"]}]}", names[i]);
                check(&f, text);
                cr_assert_eq(f.problems.n, 1, "\"%s\": %s", names[i], f.printed);
                cr_assert_null(strchr(f.printed, 0x1b), "no control characters on a terminal");
        }
}

Test(definition, keys_do_not_steer_terminals)
{
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
        _cleanup_(cleanup_document) _unused_ struct document *d = document("{\"x\\u001b[31m\":1}", &problems);

        cr_assert_eq(problems.n, 1);
        cr_assert_str_eq(problems.list[0].message, "a key may not contain control characters");
}

Test(definition, too_many_problems_are_counted)
{
        _cleanup_(cleanup_fixture) struct fixture f = { 0 };
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;

        BUF_LIT(&text, "{\"name\":\"w\",\"operations\":[");
        for (int i = 0; i < 5000; i++)
                buf_printf(&text, "%s{\"id\":\"o%d\",\"type\":\"x\",\"target\":\"server\",\"items\":[\"s\"]}",
                           i ? "," : "", i);
        BUF_LIT(&text, "]}");
        check(&f, buf_str(&text));
        expect(&f, "and 4000 more problems");
        cr_assert_eq(f.problems.n, 1001);
}

Test(find, chooses)
{
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
        _cleanup_(cleanup_document) struct document *d =
                document("{\"a\":{\"operations\":[],\"name\":\"first\"},\"b\":{\"operations\":[]},\"c\":1}", &problems);
        uint32_t top = DOC_NONE;

        cr_assert_eq(definition_find(d, "first", &problems, &top), 0);
        cr_assert_eq(top, document_get(d, 0, "a"));
        cr_assert_eq(definition_find(d, "b", &problems, &top), 0);
        cr_assert_eq(top, document_get(d, 0, "b"));
        cr_assert_eq(problems.n, 0);
        top = DOC_NONE;
        definition_find(d, NULL, &problems, &top);
        definition_find(d, "bb", &problems, &top);
        cr_assert(top == DOC_NONE && problems.n == 2);
        cr_assert(strstr(problems.list[0].message, "several workflows: a, b. Choose one with --workflow"));
        cr_assert(strstr(problems.list[1].message, "Did you mean \"b\"?"));
}

Test(find, none)
{
        static const char *const texts[] = { "[]", "{}", "{\"operation\":[]}", "1" };

        for (size_t i = 0; i < N_ELEMENTS(texts); i++) {
                _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
                _cleanup_(cleanup_document) struct document *d = document(texts[i], &problems);
                uint32_t top = DOC_NONE;

                cr_assert_eq(definition_find(d, NULL, &problems, &top), 0);
                cr_assert(top == DOC_NONE && problems.n == 1, "%s", texts[i]);
        }
}
