/* SPDX-License-Identifier: Apache-2.0 */
/* Exchanges written down and played back. */
#include "host/test-host-http.h"

#include "host/http-tape.h"

#include <sys/stat.h>

#define OTHER_OP "01JEZZZZZZZZZZZZZZZZZZZZZZ"

/* An API full of secrets. */
static void api(void *userdata, const struct web_request *q, struct web_reply *ret)
{
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;

        ret->headers = "Content-Type: application/json\r\nSet-Cookie: id=c00kie-value\r\n"
                       "X-Auth-Token: hdr-t0ken\r\nX-Twice: a\r\nX-Twice: b\r\n";
        if (streq(q->target, "/1.3/server")) {
                ret->status = 201;
                buf_puts(&b, "{\"server\":{\"uuid\":\"u-1\",\"op\":\"" TEST_OP "\",\"login\":{\"password\":"
                             "\"g3nerated\"},\"note\":\"made by t0ken-of-mine\",\"ids\":[1,2.5,true,null]}}");
        } else if (streq(q->target, "/1.3/query")) {
                ret->headers = "Content-Type: text/xml\r\n";
                buf_puts(&b, "<?xml version=\"1.0\"?><R><SecretAccessKey>wJalr</SecretAccessKey><Session"
                             "Token\n>abc</SessionToken><SecretAccessKey/><Name>web</Name></R>");
        } else if (streq(q->target, "/1.3/latest/api/token")) {
                ret->headers = NULL;
                buf_puts(&b, "raw-t0ken");
        } else if (startswith(q->target, "/1.3/bytes")) {
                ret->headers = NULL;
                buf_append(&b, "\xff\x00\x01t0ken-of-mine", 16);
                ret->n_body = b.n;
        } else if (streq(q->target, "/1.3/gone")) {
                ret->manner = WEB_RESET;
        }
        ret->body = ret->free_me = buf_steal(&b);
}

static const char session[] = ",\"auth\":{\"type\":\"bearer\",\"token\":{\"env\":\"TEST_TOKEN\"}}";
static const char create[] = "{\"server\":{\"title\":\"web\",\"label\":\"" TEST_OP "\",\"password\":"
                             "\"hunter22\"}}";

static void setup_tape(struct fixture *f, const char *name)
{
        char *path;

        setup(f, api, NULL, NULL);
        path = test_site_path(&f->site, "tape.jsonl");
        setenv("TEST_TOKEN", "t0ken-of-mine", 1);
        setenv(name, path, 1);
        free(path);
}

/* What was recorded, from now on. */
static void replay(struct fixture *f)
{
        setenv("PRVNG_HTTP_REPLAY", getenv("PRVNG_HTTP_RECORD"), 1);
        unsetenv("PRVNG_HTTP_RECORD");
        unsetenv("TEST_TOKEN"); /* nobody needs credentials for this */
        restart(f);
        f->call.pub.op_id = OTHER_OP;
        open_session(f, session);
}

static char *read_tape(struct fixture *f)
{
        _cleanup_(cleanup_free) char *path = test_site_path(&f->site, "tape.jsonl");
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;
        _cleanup_(cleanup_fclose) FILE *file = fopen(path, "re");
        char piece[4096];

        cr_assert_not_null(file);
        for (size_t n; (n = fread(piece, 1, sizeof(piece), file)) > 0;)
                buf_append(&b, piece, n);
        return buf_steal(&b);
}

static void record_all(struct fixture *f)
{
        open_session(f, session);
        cr_assert_eq(ask_with(f, "POST", "/server", create, "X-Api-Key: k3y"), PRVNG_DONE);
        cr_assert_eq(f->response.status, 201);
        cr_assert_eq(ask_with(f, "POST", "/query", "Action=Create&ClientToken=" TEST_OP
                              "&Password=hunter22&Tag.1=a%20b+c",
                              "Content-Type: application/x-www-form-urlencoded"), PRVNG_DONE);
        cr_assert_eq(ask(f, "PUT", "/latest/api/token", NULL), PRVNG_DONE);
        cr_assert_str_eq(body(f), "raw-t0ken");
        cr_assert_eq(ask(f, "GET", "/bytes?token=abc123&x=1", NULL), PRVNG_DONE);
        cr_assert_eq(ask(f, "DELETE", "/gone", NULL), PRVNG_TRANSIENT);
}

Test(host_http_tape, records_no_secret)
{
        static const char *const secrets[] = {"t0ken", "g3nerated", "hunter22", "c00kie", "wJalr", "abc",
                                              "k3y", "dDBrZW4"};
        _cleanup_(cleanup_free) char *tape = NULL, *path = NULL;
        struct stat st;
        struct fixture f;

        setup_tape(&f, "PRVNG_HTTP_RECORD");
        record_all(&f);
        tape = read_tape(&f);
        for (size_t i = 0; i < N_ELEMENTS(secrets); i++) {
                cr_assert_null(strstr(tape, secrets[i]), "%s: %s", secrets[i], tape);
                cr_assert_null(strstr(buf_str(&f.log), secrets[i]), "%s: %s", secrets[i],
                               buf_str(&f.log));
        }
        cr_assert_null(strstr(tape, TEST_OP));
        cr_assert_not_null(strstr(tape, "{\"prvng_http_recording\":1"));
        cr_assert_not_null(strstr(tape, "\"x-twice\":\"a, b\""), "%s", tape);
        cr_assert_not_null(strstr(tape, "made by ***"));
        path = test_site_path(&f.site, "tape.jsonl");
        cr_assert_eq(stat(path, &st), 0);
        cr_assert_eq(st.st_mode & 0777, 0600);
        end(&f);
}

Test(host_http_tape, plays_what_was_recorded)
{
        struct fixture f;
        unsigned int n;
        uint64_t length;

        setup_tape(&f, "PRVNG_HTTP_RECORD");
        record_all(&f);
        n = web_requests(f.web);
        replay(&f);
        /* other order of members, another op id, another password */
        cr_assert_eq(ask(&f, "POST", "/server", "{\"server\": {\"password\":\"x\", \"label\":\"" OTHER_OP
                         "\", \"title\":\"web\"}}"), PRVNG_DONE, "%s", f.reply.message);
        cr_assert_eq(f.response.status, 201);
        cr_assert_not_null(strstr(body(&f), "\"op\":\"" OTHER_OP "\""), "%s", body(&f));
        cr_assert_not_null(strstr(body(&f), "\"ids\":[1,2.5,true,null]"), "%s", body(&f));
        cr_assert_not_null(strstr(headers(&f), "content-type: application/json\n"));
        cr_assert_eq(ask_with(&f, "POST", "/query", "Tag.1=a+b%20c&Password=y&ClientToken=" OTHER_OP
                              "&Action=Create", "Content-Type: application/x-www-form-urlencoded"),
                     PRVNG_DONE, "%s", f.reply.message);
        cr_assert_not_null(strstr(body(&f), "<Name>web</Name>"));
        cr_assert_eq(ask(&f, "PUT", "/latest/api/token", NULL), PRVNG_DONE);
        cr_assert_eq(ask(&f, "GET", "/bytes?token=other&x=1", NULL), PRVNG_DONE);
        cr_assert_eq(memcmp(f.table->sink_data(f.body, &length), "\xff\x00\x01***", 6), 0);
        cr_assert_eq(length, 6);
        cr_assert_eq(ask(&f, "DELETE", "/gone", NULL), PRVNG_TRANSIENT, "%s", f.reply.message);
        ENDS(&f, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN);
        cr_assert_eq(web_requests(f.web), n, "nothing left");
        cr_assert_eq(ask(&f, "DELETE", "/gone", NULL), PRVNG_PERMANENT);
        SAYS(&f, "all 5 exchanges");
        end(&f);
}

Test(host_http_tape, says_what_differs)
{
        struct fixture f;

        setup_tape(&f, "PRVNG_HTTP_RECORD");
        record_all(&f);
        replay(&f);
        cr_assert_eq(ask(&f, "GET", "/server", NULL), PRVNG_PERMANENT);
        ENDS(&f, PRVNG_PERMANENT, PRVNG_EFFECT_NONE);
        SAYS(&f, "tape.jsonl: GET /server was not recorded here; expected is that of line 2, POST /server");
        cr_assert_eq(ask(&f, "POST", "/server", "{\"server\":{\"title\":\"db\",\"label\":\"" OTHER_OP
                         "\",\"password\":\"x\",\"zone\":\"a\"}}"), PRVNG_PERMANENT);
        SAYS(&f, "json.server.title: \"db\" where was \"web\"");
        SAYS(&f, "json.server.zone: \"a\" where was nothing");
        cr_assert_null(strstr(f.reply.message, "json.server.password"));
        cr_assert_null(strstr(f.reply.message, "json.server.label"), "%s", f.reply.message);
        restart(&f); /* says what is left */
        cr_assert_not_null(strstr(buf_str(&f.log), "5 of the 5 exchanges recorded in "), "%s",
                           buf_str(&f.log));
        cr_assert_not_null(strstr(buf_str(&f.log), "were not asked for, first that of line 2"));
        end(&f);
}

Test(host_http_tape, any_order_if_the_head_says_so)
{
        static const char text[] =
                "{\"prvng_http_recording\":1,\"order\":\"any\"}\n"
                "{\"request\":{\"method\":\"GET\",\"target\":\"/a\"},\"reply\":{\"status\":200,\"body\":"
                "{\"text\":\"first ${id_1}\"}}}\n\n"
                "{\"request\":{\"method\":\"GET\",\"target\":\"/a\"},\"reply\":{\"status\":200,\"body\":"
                "{\"text\":\"second\"}}}\n"
                "{\"request\":{\"method\":\"GET\",\"target\":\"/b\"},\"reply\":{\"status\":404,"
                "\"headers\":{\"retry-after\":\"3\"}},\"comment\":\"unknown members are passed over\"}\n";
        struct fixture f;

        setup_tape(&f, "PRVNG_HTTP_REPLAY");
        test_site_write(&f.site, "tape.jsonl", text);
        open_session(&f, "");
        cr_assert_eq(ask(&f, "GET", "/b", NULL), PRVNG_DONE);
        cr_assert_eq(f.response.status, 404);
        cr_assert_eq(f.response.retry_after_ms, 3000);
        cr_assert_eq(ask(&f, "GET", "/a", NULL), PRVNG_DONE);
        cr_assert_str_eq(body(&f), "first ${id_1}", "an id that nobody bound");
        cr_assert_eq(ask(&f, "GET", "/a", NULL), PRVNG_DONE);
        cr_assert_str_eq(body(&f), "second");
        end(&f);
}

Test(host_http_tape, refuses_what_is_no_recording)
{
        static const struct {
                const char *text, *says;
        } cases[] = {
                {"{\"prvng_http_recording\":2}\n", "tape.jsonl:1: format 2"},
                {"{\"prvng_http_recording\":1,\"order\":\"none\"}\n", "order \"none\""},
                {"{\"request\":{\"method\":\"GET\",\"target\":\"/\"},\"reply\":{\"status\":200}}\n",
                 "tape.jsonl:1: the first line"},
                {"{\"prvng_http_recording\":1}\n{\"request\":{\"method\":\"GET\"},\"reply\":{}}\n",
                 "tape.jsonl:2: no exchange"},
                {"{\"prvng_http_recording\":1}\n\n{\"torn", "tape.jsonl:3: "},
        };
        struct fixture f;

        setup_tape(&f, "PRVNG_HTTP_REPLAY");
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                test_site_write(&f.site, "tape.jsonl", cases[i].text);
                cr_assert_eq(open_text(&f, "{\"base_url\":\"https://a.example.net\"}"), PRVNG_PERMANENT);
                cr_assert_not_null(strstr(buf_str(&f.log), cases[i].says), "%s", buf_str(&f.log));
        }
        setenv("PRVNG_HTTP_RECORD", "/nonexistent/tape", 1);
        cr_assert_eq(open_text(&f, "{\"base_url\":\"https://a.example.net\"}"), PRVNG_PERMANENT);
        cr_assert_not_null(strstr(buf_str(&f.log), "not both"));
        unsetenv("PRVNG_HTTP_REPLAY");
        cr_assert_eq(open_text(&f, "{\"base_url\":\"https://a.example.net\"}"), PRVNG_PERMANENT);
        cr_assert_not_null(strstr(buf_str(&f.log), "/nonexistent/tape: No such file"), "%s",
                           buf_str(&f.log));
        end(&f);
}

/* Engines that were started anew write into one file; op ids count from the start in each. */
Test(host_http_tape, several_engines_in_one_file)
{
        struct fixture f;

        setup_tape(&f, "PRVNG_HTTP_RECORD");
        for (int i = 0; i < 2; i++) {
                open_session(&f, session);
                cr_assert_eq(ask(&f, "POST", "/server", create), PRVNG_DONE);
                restart(&f);
        }
        replay(&f);
        for (int i = 0; i < 2; i++) {
                const char *op = i ? "01JFYYYYYYYYYYYYYYYYYYYYYY" : OTHER_OP;
                char text[200];

                snprintf(text, sizeof(text), "{\"server\":{\"title\":\"web\",\"label\":\"%s\",\"password\":"
                         "\"\"}}", op);
                f.call.pub.op_id = op;
                cr_assert_eq(ask(&f, "POST", "/server", text), PRVNG_DONE, "%s", f.reply.message);
                cr_assert_not_null(strstr(body(&f), op));
        }
        end(&f);
}

Test(host_http_tape, the_configuration_names_it_too)
{
        struct fixture f;

        setup(&f, api, NULL, "http: { record = \"/nonexistent/by-config\"; };");
        cr_assert_eq(open_text(&f, "{\"base_url\":\"https://a.example.net\"}"), PRVNG_PERMANENT);
        cr_assert_not_null(strstr(buf_str(&f.log), "/nonexistent/by-config"), "%s", buf_str(&f.log));
        end(&f);
}

Test(host_http_tape, secrets_that_a_plugin_gave)
{
        _cleanup_(cleanup_free) char *tape = NULL;
        struct fixture f;

        setup_tape(&f, "PRVNG_HTTP_RECORD");
        open_session(&f, "");
        cr_assert_eq(f.http->secret_set(f.session, "x", "assumed-key", 11), PRVNG_DONE);
        cr_assert_eq(ask(&f, "POST", "/other", "{\"a\":[\"-assumed-key-\"],\"tokens\":1,\"token\":{\"b\":"
                         "\"inner\",\"n\":7}}"), PRVNG_DONE);
        tape = read_tape(&f);
        cr_assert_not_null(strstr(tape, "{\"a\":[\"-***-\"],\"tokens\":1,\"token\":{\"b\":\"***\",\"n\":"
                                        "\"***\"}}"), "%s", tape);
        end(&f);
}

/* Nothing that a server may send, or a plugin, leads the blanking astray; and a secret is never left over.
 * Bodies have no byte behind them, so that a sanitizer sees each step too far. */
Test(host_http_tape, blanks_whatever_comes)
{
        static const char *const pieces[] = {"<", ">", "</", "/>", "<token>", "</token>", "token", "=", "&",
                                             "%", "%4", "%41", "+", "{", "}", "[", "\"", ":", ",", "\\",
                                             "\n", "\xff", "\xc3", "s3cret", "s3cre", "${id_1}", TEST_OP,
                                             "01JDABCDEFGH", "\"password\":", "a", " ", "<a:token x='1'>"},
                          *const types[] = {"", "application/json", "text/xml",
                                            "application/x-www-form-urlencoded"};
        struct http_credentials have = {0};
        struct http_ids ids;
        struct http_blank b = {.credentials = &have, .ids = &ids, .learn = true};
        uint32_t random = 1;

        cr_assert_eq(locked_init(&have.secret[1], "s3cret", 6), 0);
        cr_assert_eq(http_ids_init(&ids), 0);
        cr_assert_str_eq(http_ids_name(&ids, TEST_OP), "id_1");
        for (int i = 0; i < 20000; i++) {
                _cleanup_(cleanup_buf) struct buf text = BUF_NULL, shown = BUF_NULL;
                _cleanup_(cleanup_json_decref) json_t *o = NULL, *t = NULL, *h = NULL;
                char *exact;

                for (unsigned int n = (random >> 8) % 12; n > 0; n--) {
                        random = random * 1664525 + 1013904223;
                        buf_puts(&text, pieces[(random >> 16) % N_ELEMENTS(pieces)]);
                }
                random = random * 1664525 + 1013904223;
                exact = malloc(MAX(text.n, (size_t)1));
                memcpy(exact, buf_str(&text), text.n);
                o = http_blank_body(&b, types[(random >> 16) % N_ELEMENTS(types)], "/x", exact, text.n);
                free(exact);
                t = http_blank_target(&b, buf_str(&text)); /* NULL: not UTF-8 */
                h = http_blank_headers(&b, buf_str(&text));
                cr_assert(o && h);
                json_append(&shown, o);
                json_append(&shown, h);
                if (t)
                        json_append(&shown, t);
                cr_assert_null(strstr(buf_str(&shown), "s3cret"), "%s", buf_str(&shown));
        }
        http_ids_deinit(&ids);
        http_credentials_deinit(&have);
}

/* Ids that are no op ids of the call: of the site, of the run, of another operation. */
Test(host_http_tape, knows_ids_again_by_their_place)
{
        static const char *const sites[] = {"01M828V7KAX505Q6T022S2ZX4W", "01M828V4MA54SFBW22N2BFC6D2"};
        _cleanup_(cleanup_free) char *tape = NULL;
        char target[128], text[256];
        struct fixture f;

        setup_tape(&f, "PRVNG_HTTP_RECORD");
        for (int i = 0; i < 2; i++) {
                open_session(&f, session);
                snprintf(target, sizeof(target), "/bytes?label=site%%3D%s", sites[i]);
                cr_assert_eq(ask(&f, "GET", target, NULL), PRVNG_DONE, "%s", f.reply.message);
                snprintf(text, sizeof(text), "{\"a\":[\"%s\",\"x-%s\"],\"b\":\"%s\"}", sites[i], sites[i],
                         i ? OTHER_OP : TEST_OP);
                cr_assert_eq(ask(&f, "POST", "/server", text), PRVNG_DONE, "%s", f.reply.message);
                if (i == 0) {
                        tape = read_tape(&f);
                        cr_assert_null(strstr(tape, sites[0]), "%s", tape);
                        replay(&f);
                }
        }
        restart(&f); /* an id must stay what it is */
        f.call.pub.op_id = OTHER_OP;
        open_session(&f, session);
        cr_assert_eq(ask(&f, "GET", target, NULL), PRVNG_DONE);
        snprintf(text, sizeof(text), "{\"a\":[\"%s\",\"x-%s\"],\"b\":\"%s\"}", sites[1], sites[0],
                 OTHER_OP);
        cr_assert_eq(ask(&f, "POST", "/server", text), PRVNG_PERMANENT);
        SAYS(&f, "json.a[1]: \"x-01M828V7KAX505Q6T022S2ZX4W\" where was \"x-${id_2}\"");
        end(&f);
}
