/* SPDX-License-Identifier: Apache-2.0 */
/* The parts that need no cloud: XML from strangers, bodies, rules, shared files, what codes mean. */
#include "ini.h"
#include "network.h"
#include "rules.h"

#include <criterion/criterion.h>
#include <dirent.h>

static struct xml *parse(const char *text)
{
        struct xml *x = NULL;
        const char *why = NULL;

        cr_assert_eq(xml_parse(text, strlen(text), &x, &why), 0, "%s: %s", text, why);
        return x;
}

static int refused(const char *text, size_t n)
{
        struct xml *x = NULL;
        const char *why = NULL;
        int r = xml_parse(text, n, &x, &why);

        cr_assert(r < 0, "%.80s", text);
        cr_assert_null(x);
        cr_assert(*why);
        return r;
}

Test(xml, paths_text_and_lists)
{
        struct xml *x = parse("<?xml version=\"1.0\"?>\n<r xmlns=\"http://ec2/\" xmlns:p=\"x\"><a> one &amp; two \n</a>"
                              "<p:set><item><id>1</id></item><other/><item><id>2</id></item></p:set>"
                              "<c><![CDATA[<raw>]]></c><!-- no --><e/></r>");
        const struct xml_node *root = xml_root(x);
        char ids[8] = "";

        cr_assert_str_eq(root->name, "r");
        cr_assert_str_eq(xml_text(root, "a"), "one & two");
        cr_assert_str_eq(xml_text(root, "c"), "<raw>");
        cr_assert_str_eq(xml_text(root, "e"), "");
        cr_assert_str_eq(xml_text(root, "a/b"), "");
        cr_assert_str_eq(xml_text(NULL, "a"), "");
        cr_assert_null(xml_child(root, "set-"));
        xml_foreach (item, root, "set")
                strcat(ids, xml_text(item, "id"));
        cr_assert_str_eq(ids, "12");
        xml_foreach (item, root, "nowhere")
                cr_assert_fail("%s", item->name);
        xml_free(x);
}

Test(xml, what_is_no_xml)
{
        static const char *const texts[] = {"", "   ", "hello", "<a>", "<a></b>", "<a/><b/>", "<html><br></html>",
                                            "{\"a\":1}", "<a>\xff\xfe</a>", "<a>&unknown;</a>", "<a", "\xef\xbb\xbf"};

        for (size_t i = 0; i < N_ELEMENTS(texts); i++)
                cr_assert_eq(refused(texts[i], strlen(texts[i])), -EBADMSG, "%s", texts[i]);
        cr_assert_eq(refused("<a>\0</a>", 8), -EBADMSG);
}

Test(xml, every_prefix_of_a_reply_is_refused)
{
        static const char reply[] = "<r><set><item><id>i-1</id></item></set></r>";

        for (size_t n = 0; n + 1 < sizeof(reply) - 1; n++)
                refused(reply, n);
        xml_free(parse(reply));
}

Test(xml, too_deep_too_long_too_many)
{
        char *big = malloc(XML_TEXT_MAX + 100);
        char deep[XML_DEPTH_MAX * 8 + 64] = "";

        for (size_t i = 0; i < XML_DEPTH_MAX; i++)
                strcat(deep, "<a>");
        for (size_t i = 0; i < XML_DEPTH_MAX; i++)
                strcat(deep, "</a>");
        xml_free(parse(deep));
        memmove(deep + 3, deep, strlen(deep) + 1);
        memcpy(deep, "<a>", 3);
        strcat(deep, "</a>");
        cr_assert_eq(refused(deep, strlen(deep)), -E2BIG);
        cr_assert(big);
        strcpy(big, "<a>");
        memset(big + 3, 'x', XML_TEXT_MAX + 1);
        strcpy(big + 3 + XML_TEXT_MAX + 1, "</a>");
        cr_assert_eq(refused(big, strlen(big)), -E2BIG);
        free(big);
        big = malloc((size_t)XML_NODES_MAX * 4 + 100);
        cr_assert(big);
        strcpy(big, "<r>");
        for (size_t i = 0; i < XML_NODES_MAX; i++)
                memcpy(big + 3 + 4 * i, "<a/>", 4);
        strcpy(big + 3 + 4 * (size_t)XML_NODES_MAX, "</r>");
        cr_assert_eq(refused(big, strlen(big)), -E2BIG);
        free(big);
}

Test(xml, entity_bombs)
{
        static const char *const bombs[] = {
                "<!DOCTYPE a [<!ENTITY l \"lol\"><!ENTITY m \"&l;&l;&l;&l;&l;&l;&l;&l;\">"
                "<!ENTITY n \"&m;&m;&m;&m;&m;&m;&m;&m;\">]><a>&n;</a>",
                "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>",
                "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>"};

        for (size_t i = 0; i < N_ELEMENTS(bombs); i++)
                cr_assert_eq(refused(bombs[i], strlen(bombs[i])), -E2BIG, "%s", bombs[i]);
}

/* Whatever it is: no crash, and a reason where it is refused. */
Test(xml, corpus)
{
        DIR *d = opendir(CORPUS);
        struct dirent *e;
        size_t n_files = 0;

        cr_assert(d, "%s", CORPUS);
        while ((e = readdir(d))) {
                char path[4096], data[65536];
                struct xml *x = NULL;
                const char *why = NULL;
                size_t n;
                FILE *f;

                if (e->d_name[0] == '.')
                        continue;
                snprintf(path, sizeof(path), "%s/%s", CORPUS, e->d_name);
                f = fopen(path, "re");
                cr_assert(f, "%s", path);
                n = fread(data, 1, sizeof(data), f);
                fclose(f);
                bool good = strncmp(e->d_name, "good-", 5) == 0;
                cr_assert_eq(xml_parse(data, n, &x, &why) == 0, good, "%s: %s", e->d_name, why);
                xml_free(x);
                n_files++;
        }
        closedir(d);
        cr_assert_gt(n_files, 8);
}

Test(query, encodes_sorts_and_repeats)
{
        struct query q = QUERY_NULL;
        json_t *o = json_pack("{s:s, s:s}", "b", "2&=", "a.1", "x y~");

        for (int i = 0; i < 2; i++) {
                query_begin(&q, "Do", "2016-11-15");
                query_object(&q, o);
                query_filter(&q, 1, "tag:prvng:op", "\xc3\xa4*");
                cr_assert_str_eq(query_text(&q), "Action=Do&Version=2016-11-15&a.1=x+y~&b=2%26%3D&Filter.1.Name=tag%3Aprvng%3Aop"
                                                 "&Filter.1.Value.1=%C3%A4%2A");
        }
        json_decref(o);
        query_deinit(&q);
}

Test(rules, networks_without_bits_of_hosts)
{
        static const char *const cases[][2] = {{"10.1.2.3/8", "10.0.0.0/8"}, {"0.0.0.0/0", "0.0.0.0/0"},
                                               {"192.168.1.1/32", "192.168.1.1/32"}, {"10.0.0.129/25", "10.0.0.128/25"},
                                               {"2001:DB8::1/32", "2001:db8::/32"}, {"::/0", "::/0"}};
        static const char *const bad[] = {"", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "x/8", "10.0.0.0/-1", "::/129",
                                          "10.0.0.0/8x", "10.0.0.0/", "/8"};
        char normal[64];
        bool six;

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                cr_assert(cidr_normal(cases[i][0], normal, &six), "%s", cases[i][0]);
                cr_assert_str_eq(normal, cases[i][1]);
                cr_assert_eq(six, strchr(normal, ':') != NULL);
        }
        for (size_t i = 0; i < N_ELEMENTS(bad); i++)
                cr_assert_not(cidr_normal(bad[i], normal, &six), "%s", bad[i]);
}

Test(network, parts)
{
        char part[64];

        network_part("10.8.0.0/20", 2, 1, part);
        cr_assert_str_eq(part, "10.8.4.0/22");
        network_part("10.8.0.0/20", 0, 0, part);
        cr_assert_str_eq(part, "10.8.0.0/20");
        network_part("10.8.0.0/28", 2, 0, part);
        cr_assert_str_eq(part, "", "smaller than AWS has them");
        network_part("10.8.0.0/20", 2, 4, part);
        cr_assert_str_eq(part, "");
        network_part("nonsense", 2, 0, part);
        cr_assert_str_eq(part, "");
}

Test(types, the_smallest_that_holds_it)
{
        cr_assert_str_eq(type_for(1, 1024)->name, "t3.micro");
        cr_assert_str_eq(type_for(0.5, 100)->name, "t3.nano");
        cr_assert_str_eq(type_for(2, 8193)->name, "r6i.large");
        cr_assert_str_eq(type_for(4, 8192)->name, "c6i.xlarge");
        cr_assert_null(type_for(1000, 1));
        for (double cpu = 1; cpu <= 128; cpu *= 2)
                for (int64_t memory = 512; memory <= 1 << 19; memory *= 2) {
                        const struct instance_type *t = type_for(cpu, memory);
                        cr_assert(!t || (t->cpu >= cpu && t->memory >= memory));
                }
        cr_assert_null(type_by_name("t3.huge"));
}

Test(errors, code_before_status)
{
        static const struct {
                const char *code;
                int status, error_class;
                bool unknown;
        } cases[] = {
                {"RequestLimitExceeded", 503, PRVNG_RATE_LIMITED, false},
                {"Throttling", 400, PRVNG_RATE_LIMITED, false},
                {"LimitExceededException", 400, PRVNG_RATE_LIMITED, false},
                {"LimitExceeded", 409, PRVNG_QUOTA, false},
                {"InternalError", 500, PRVNG_TRANSIENT, true},
                {"", 502, PRVNG_TRANSIENT, true},
                {"", 509, PRVNG_RATE_LIMITED, false},
                {"", 429, PRVNG_RATE_LIMITED, false},
                {"", 403, PRVNG_AUTH, false},
                {"", 302, PRVNG_PERMANENT, true},
                {"InvalidInstanceID.NotFound", 400, PRVNG_NOT_FOUND, false},
                {"InvalidGroup.Duplicate", 400, PRVNG_CONFLICT, false},
                {"RouteAlreadyExists", 400, PRVNG_CONFLICT, false},
                {"Resource.AlreadyAssociated", 400, PRVNG_CONFLICT, false},
                {"InvalidParameterCombination", 400, PRVNG_PERMANENT, false},
                {"InsufficientInstanceCapacity", 500, PRVNG_TRANSIENT, false},
                {"ExpiredToken", 400, PRVNG_AUTH, false},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                struct fault f = {.status = cases[i].status};

                snprintf(f.code, sizeof(f.code), "%s", cases[i].code);
                fault_classify(&f);
                cr_assert_eq(f.error_class, cases[i].error_class, "%s %d: %d", f.code, f.status, f.error_class);
                cr_assert_eq(f.unknown, cases[i].unknown, "%s %d", f.code, f.status);
        }
}

Test(ini, reads_and_replaces)
{
        char path[] = "/tmp/prvng-ini-XXXXXX";
        int fd = mkstemp(path);
        json_t *all = NULL, *keys = json_pack("{s:s, s:s}", "aws_access_key_id", "B", "aws_secret_access_key", "T");
        char *text = NULL;
        static const char before[] = "; a comment\n[one]\r\naws_access_key_id=A\n  nested = 1\naws_secret_access_key = S=\n"
                                     "region = x\n\n[ two ]\nk = v";

        cr_assert(fd >= 0 && write(fd, before, sizeof(before) - 1) > 0);
        close(fd);
        cr_assert_eq(ini_read(path, &all), 0);
        cr_assert_str_eq(aws_string(json_object_get(all, "one"), "aws_secret_access_key", ""), "S=");
        cr_assert_null(json_object_get(json_object_get(all, "one"), "nested"));
        cr_assert_str_eq(aws_string(json_object_get(all, "two"), "k", ""), "v");
        json_decref(all);
        cr_assert_eq(ini_replace(path, "one", keys, &text), 0);
        cr_assert_eq(ini_write(path, text), 0);
        free(text);
        cr_assert_eq(ini_read(path, &all), 0);
        cr_assert_str_eq(aws_string(json_object_get(all, "one"), "aws_access_key_id", ""), "B");
        cr_assert_str_eq(aws_string(json_object_get(all, "one"), "aws_secret_access_key", ""), "T");
        cr_assert_str_eq(aws_string(json_object_get(all, "one"), "region", ""), "x");
        cr_assert_str_eq(aws_string(json_object_get(all, "two"), "k", ""), "v");
        json_decref(all);
        cr_assert_eq(ini_replace(path, "three", keys, &text), 0);
        cr_assert(strstr(text, "[three]\naws_access_key_id = B\n"));
        free(text);
        json_decref(keys);
        unlink(path);
        cr_assert_eq(ini_read(path, &all), 0, "no file is an empty one");
        cr_assert_eq(json_object_size(all), 0);
        json_decref(all);
}
