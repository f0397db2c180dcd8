/* SPDX-License-Identifier: Apache-2.0 */
#include "test-host.h"

#include <criterion/criterion.h>

Test(json, positions)
{
        static const char text[] = "{\n  \"a\": [1, \"x\\\"\\\\\", true],\n\t\"b\\n\": {\"c\": null, \"d\": 1.5e3}\n}";
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
        b = document_get(d, 0, "b\n");
        cr_assert_neq(b, DOC_NONE);
        cr_assert_eq(document_position(d, b).column, 9);
        cr_assert_eq(document_json(d, 0, &json), 0);
        cr_assert_str_eq(buf_str(&json),
                         "{\"a\":[1,\"x\\\"\\\\\",true],\"b\\n\":{\"c\":null,\"d\":1500.0}}");
}
