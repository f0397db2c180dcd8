/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/json-line.h"

#include "base/json.h"

#include <criterion/criterion.h>

static bool is_line(const char *text)
{
        return json_line_is_object(text, strlen(text));
}

Test(json_line, recognises_the_common_form)
{
        cr_assert(is_line("{}"));
        cr_assert(is_line("{\"a\":1,\"b\":[true,false,null,-0.5,\"x\\n\"],\"c\":{\"a\":{}}}"));
        cr_assert(is_line("{ \"name\" : \"web-0\", \"addresses\" : [ ] }"));
}

Test(json_line, leaves_the_rest_to_the_parser)
{
        static const char *const others[] = {
                "", "[]", "1", "{", "{}}", "{} ", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{,}",
                "{\"a\":01}", "{\"a\":.5}", "{\"a\":1.}", "{\"a\":-}", "{\"a\":1e999}",
                "{\"a\":99999999999999999999}", "{\"a\":\"\x01\"}", "{\"a\":\"\xff\"}",
                "{\"a\":\"\\u0000\"}",
                "{\"a\":\"\\x\"}", "{\"a\":\"", "{\"a\":\"\\", "{\"a\":1,\"a\":2}", "{\"a\":tru}",
                "{\"a\":[1,]}", "{\n}",
                "{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}"};

        for (size_t i = 0; i < N_ELEMENTS(others); i++)
                cr_assert_not(is_line(others[i]), "%s", others[i]);
        cr_assert_not(json_line_is_object("{\"a\":\"\\\0\"}", 10), "an escaped NUL");
}

/* Random mutations of sound objects: what the scan accepts, jansson accepts too. */
Test(json_line, never_accepts_what_jansson_refuses)
{
        static const char alphabet[] = "{}[]\",:\\ 0123456789.-+eEtrufalsn\x01\xc3\xa4\n";
        static const char *const seeds[] = {
                "{\"a\":1,\"b\":[true,null,-0.5],\"c\":{\"a\":\"x\\n\"}}",
                "{\"name\":\"web-0\",\"list\":[1,2,{\"k\":\"v\"}],\"n\":12.25}"};
        uint32_t random = 12345;
        size_t n_accepted = 0;

        for (int i = 0; i < 200000; i++) {
                char text[80];
                size_t n = strlen(strcpy(text, seeds[i & 1]));

                for (int m = 0; m < 1 + i % 3; m++) {
                        random = random * 1664525u + 1013904223u;
                        text[(random >> 8) % n] = alphabet[(random >> 20) % (sizeof(alphabet) - 1)];
                }
                if (json_line_is_object(text, n)) {
                        _cleanup_(cleanup_json_decref) json_t *json = NULL;

                        n_accepted++;
                        cr_assert_eq(json_parse(text, n, &json, NULL), 0, "%.*s", (int)n, text);
                        cr_assert(json_is_object(json) && !memchr(text, '\n', n));
                }
        }
        cr_assert_gt(n_accepted, 1000);
}
