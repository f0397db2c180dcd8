/* SPDX-License-Identifier: Apache-2.0 */
/* prvng.host.http/1 against a server that this test makes, on loopback. */
#include "host/test-host-http.h"

#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <sys/stat.h>

Test(host_http, sends_and_brings_back)
{
        struct fixture f;

        setup(&f, echo, NULL, NULL);
        open_session(&f, "");
        cr_assert_eq(ask(&f, "POST", "/server/?label=a%3Db", "{\"a\":1}"), PRVNG_DONE);
        cr_assert_eq(f.response.status, 200);
        cr_assert_eq(f.response.retry_after_ms, -1);
        cr_assert_eq(f.response.date_ms, -1);
        cr_assert_str_eq(body(&f), "POST /1.3/server/?label=a%3Db|{\"a\":1}|1");
        cr_assert_not_null(strstr(headers(&f), "x-thing: a  b\n"), "%s", headers(&f));
        cr_assert_eq(ask(&f, "GET", "/x", NULL), PRVNG_DONE);
        cr_assert_str_eq(body(&f), "GET /1.3/x||1", "the connection is kept");
        cr_assert_eq(ask(&f, "DELETE", "/x", NULL), PRVNG_DONE);
        cr_assert_str_eq(body(&f), "DELETE /1.3/x||1");
        cr_assert_eq(ask(&f, "PUT", "/x", "y"), PRVNG_DONE);
        cr_assert_str_eq(body(&f), "PUT /1.3/x|y|1");
        cr_assert_eq(ask(&f, "PATCH", "/x", ""), PRVNG_DONE);
        cr_assert_str_eq(body(&f), "PATCH /1.3/x||1");
        cr_assert_eq(ask(&f, "HEAD", "/x", NULL), PRVNG_DONE);
        cr_assert_str_eq(body(&f), "");
        end(&f);
}

Test(host_http, adds_credentials)
{
        _cleanup_(cleanup_free) char *log = NULL;
        struct fixture f;

        setup(&f, echo, NULL, NULL);
        setenv("TEST_TOKEN", "t0ken", 1);
        setenv("TEST_USER", "me", 1);
        open_session(&f, ",\"auth\":{\"type\":\"bearer\",\"token\":{\"env\":\"TEST_TOKEN\"}}");
        cr_assert_eq(ask(&f, "GET", "/bearer", NULL), PRVNG_DONE);
        open_session(&f, ",\"auth\":{\"type\":\"basic\",\"user\":{\"env\":\"TEST_USER\"},"
                         "\"password\":{\"set\":\"pw\"}}");
        cr_assert_eq(ask(&f, "GET", "/early", NULL), PRVNG_AUTH);
        ENDS(&f, PRVNG_AUTH, PRVNG_EFFECT_NONE);
        cr_assert_eq(f.http->secret_set(f.session, "pw", "open sesame", 11), PRVNG_DONE);
        cr_assert_eq(ask(&f, "GET", "/basic", NULL), PRVNG_DONE);
        cr_assert_eq(f.http->secret_set(f.session, "pw", NULL, 0), PRVNG_DONE);
        cr_assert_eq(ask(&f, "GET", "/late", NULL), PRVNG_AUTH);
        log = web_log(f.web);
        cr_assert_eq(web_requests(f.web), 2, "%s", log);
        cr_assert(web_has(log, "Authorization", "Bearer t0ken"));
        cr_assert(web_has(log, "Authorization", "Basic bWU6b3BlbiBzZXNhbWU="));
        end(&f);
}

static void busy(void *userdata, const struct web_request *q, struct web_reply *ret)
{
        ret->status = 429;
        ret->headers = "Retry-After: 7\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
}

Test(host_http, tells_when_to_come_back)
{
        struct fixture f;

        setup(&f, busy, NULL, NULL);
        open_session(&f, "");
        cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_DONE);
        cr_assert_eq(f.response.status, 429);
        cr_assert_eq(f.response.retry_after_ms, 7000, "%lld: %s",
                     (long long)f.response.retry_after_ms, headers(&f));
        cr_assert_eq(f.response.date_ms, INT64_C(784111777000));
        f.call.pub.deadline_ms = clock_boot_ms() + 3000;
        cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_TRANSIENT, "none leaves for 7 s");
        ENDS(&f, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE);
        cr_assert_eq(web_requests(f.web), 1);
        end(&f);
}

Test(host_http, keeps_to_the_rate_of_the_plugin)
{
        int64_t start;
        struct fixture f;

        setup(&f, echo, NULL, NULL);
        host_set_rate_limit(f.table, 1);
        open_session(&f, "");
        start = clock_boot_ms();
        cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_DONE);
        f.call.pub.deadline_ms = start + 900; /* the next slot comes later than that */
        cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_TRANSIENT);
        ENDS(&f, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE);
        SAYS(&f, "rate limit");
        open_session(&f, ",\"account\":\"other\"");
        f.call.pub.deadline_ms = INT64_MAX;
        cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_DONE);
        cr_assert_eq(web_requests(f.web), 2);
        end(&f);
}

static void come_back(void *userdata, const struct web_request *q, struct web_reply *ret)
{
        static const char *const lines[] = {
                "Retry-After: Sun, 06 Nov 1994 08:50:07 GMT\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
                "Retry-After: Sun, 06 Nov 1994 08:50:07 GMT\r\n", /* long ago */
                "Retry-After: 99999999999999999999\r\n",
                "Retry-After: 1.5\r\n",
                "Retry-After: soon\r\n",
                "Retry-After: 2 \r\n",
                "",
        };

        ret->status = 409;
        ret->headers = lines[q->number - 1];
}

Test(host_http, reads_all_forms_of_retry_after)
{
        static const int64_t expected[] = {30000, 0, INT64_C(7) * 86400000, 2000, -1, 2000, -1};
        struct fixture f;

        setup(&f, come_back, NULL, NULL);
        open_session(&f, "");
        for (size_t i = 0; i < N_ELEMENTS(expected); i++) {
                cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_DONE);
                cr_assert_eq(f.response.retry_after_ms, expected[i], "%zu: %lld", i,
                             (long long)f.response.retry_after_ms);
        }
        end(&f);
}

static void unavailable(void *userdata, const struct web_request *q, struct web_reply *ret)
{
        ret->status = 503;
        ret->headers = q->number == 2 ? "Retry-After: 7\r\n" : NULL;
}

Test(host_http, backs_off_after_503_only_with_retry_after)
{
        struct fixture f;

        setup(&f, unavailable, NULL, NULL);
        open_session(&f, "");
        cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_DONE);
        cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_DONE);
        f.call.pub.deadline_ms = clock_boot_ms() + 3000;
        cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_TRANSIENT);
        ENDS(&f, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE);
        cr_assert_eq(web_requests(f.web), 2);
        end(&f);
}

Test(host_http, says_what_is_wrong_with_options)
{
        static const struct {
                const char *options, *says;
        } cases[] = {
                {"", "no JSON"},
                {"[]", "one JSON object"},
                {"{}", "base_url: a string"},
                {"{\"base_url\":\"nonsense\"}", "base_url"},
                {"{\"base_url\":\"http://api.example.net\"}", "loopback addresses only"},
                {"{\"base_url\":\"http://128.0.0.1\"}", "loopback addresses only"},
                {"{\"base_url\":\"http://localhost.example.net\"}", "loopback addresses only"},
                {"{\"base_url\":\"http://169.254.169.254\",\"auth\":{\"type\":\"bearer\",\"token\":"
                 "{\"env\":\"A\"}}}", "loopback addresses only"},
                {"{\"base_url\":\"ftp://127.0.0.1\"}", "scheme \"ftp\""},
                {"{\"base_url\":\"file:///etc/passwd\"}", "base_url"},
                {"{\"base_url\":\"https://me:pw@api.example.net\"}", "it holds a user"},
                {"{\"base_url\":\"https://api.example.net/?a=b\"}", "holds a query"},
                {"{\"base_url\":\"https://a b.example.net/\"}", "base_url"},
                {"{\"base_url\":\"https://a\",\"acount\":\"x\"}", "unknown member \"acount\""},
                {"{\"base_url\":\"https://a\",\"account\":7}", "account: a string"},
                {"{\"base_url\":\"https://a\",\"auth\":{\"type\":\"digest\"}}", "\"digest\""},
                {"{\"base_url\":\"https://a\",\"auth\":{\"type\":\"bearer\",\"token\":\"hunter2\"}}",
                 "auth.token: a reference"},
                {"{\"base_url\":\"https://a\",\"auth\":{\"type\":\"bearer\",\"token\":{\"file\":"
                 "\"rel\"}}}", "not absolute"},
                {"{\"base_url\":\"https://a\",\"auth\":{\"type\":\"basic\",\"user\":{\"env\":\"A\"}}}",
                 "auth.password"},
                {"{\"base_url\":\"https://a\",\"auth\":{\"type\":\"sigv4\",\"region\":\"a:b\","
                 "\"service\":\"ec2\"}}", "auth.region"},
                {"{\"base_url\":\"https://a\",\"concurrency\":0}", "concurrency"},
                {"{\"base_url\":\"https://a\",\"max_reply\":\"1\"}", "max_reply"},
                {"{\"base_url\":\"https://a\",\"headers\":{\"Authorization\":\"x\"}}",
                 "set by the core"},
                {"{\"base_url\":\"https://a\",\"headers\":{\"A\":\"x\\r\\nB: y\"}}",
                 "control character"},
        };
        struct fixture f;

        setup(&f, NULL, NULL, NULL);
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                buf_clear(&f.log);
                cr_assert_eq(open_text(&f, cases[i].options), PRVNG_PERMANENT, "%s", cases[i].options);
                cr_assert_null(f.session);
                cr_assert_not_null(strstr(buf_str(&f.log), cases[i].says), "%s: %s", cases[i].options,
                                   buf_str(&f.log));
                cr_assert_null(strstr(buf_str(&f.log), "hunter2"));
                cr_assert_null(strstr(buf_str(&f.log), "pw"));
        }
        cr_assert_eq(open_text(&f, "{\"base_url\":\"http://[::1]:1/\"}"), PRVNG_DONE);
        cr_assert_eq(open_text(&f, "{\"base_url\":\"http://169.254.169.254\"}"), PRVNG_DONE);
        cr_assert_eq(open_text(&f, "{\"base_url\":\"https://api.example.net/1.3\"}"), PRVNG_DONE);
        end(&f);
}

Test(host_http, refuses_requests_that_would_smuggle)
{
        static const char *const targets[] = {"server", "", "https://evil.example.net/", "/a b", "/a#b",
                                              "/a\r\nB: c", "/\xc3\xa4", "@evil.example.net/"},
                          *const lines[] = {"Authorization: Bearer x", "HOST: evil", "Content-Length: 1",
                                            "Transfer-Encoding: chunked", "A: b\r\nC: d", "A: b\nC: d",
                                            "no colon", ": x", "A B: c", "Expect: 100-continue", "A:"};
        struct prvng_http_request q;
        struct fixture f;

        setup(&f, echo, NULL, NULL);
        open_session(&f, "");
        for (size_t i = 0; i < N_ELEMENTS(targets); i++) {
                cr_assert_eq(ask(&f, "GET", targets[i], NULL), PRVNG_INTERNAL, "%s", targets[i]);
                ENDS(&f, PRVNG_INTERNAL, PRVNG_EFFECT_NONE);
        }
        for (size_t i = 0; i < N_ELEMENTS(lines); i++) {
                cr_assert_eq(ask_with(&f, "GET", "/", NULL, lines[i]), PRVNG_INTERNAL, "%s", lines[i]);
                ENDS(&f, PRVNG_INTERNAL, PRVNG_EFFECT_NONE);
        }
        cr_assert_eq(ask(&f, "get", "/", NULL), PRVNG_INTERNAL);
        cr_assert_eq(ask(&f, "CONNECT", "/", NULL), PRVNG_INTERNAL);
        cr_assert_eq(ask(&f, "GET", "/", "body"), PRVNG_INTERNAL);
        q = request_of("GET", "/", NULL);
        q.struct_size = PRVNG_HTTP_REQUEST_BASELINE - 1;
        cr_assert_eq(f.http->send(&f.call.pub, f.session, &q, &f.response, NULL, NULL), PRVNG_INTERNAL);
        cr_assert_eq(web_requests(f.web), 0);
        q.struct_size = PRVNG_HTTP_REQUEST_BASELINE;
        cr_assert_eq(f.http->send(&f.call.pub, f.session, &q, &f.response, NULL, NULL), PRVNG_DONE);
        cr_assert_eq(web_requests(f.web), 1);
        end(&f);
}

Test(host_http, sends_headers_of_session_request_and_call)
{
        _cleanup_(cleanup_free) char *log = NULL;
        struct fixture f;

        setup(&f, echo, NULL, NULL);
        open_session(&f, ",\"headers\":{\"Accept\":\"application/json\",\"X-Kept\":\"1\"}");
        f.call.pub.trace_parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        cr_assert_eq(ask_with(&f, "POST", "/a", "{}", "Accept: text/x"), PRVNG_DONE);
        log = web_log(f.web);
        cr_assert(web_has(log, "Accept", "text/x"), "%s", log);
        cr_assert_not(web_has(log, "Accept", "application/json"), "%s", log);
        cr_assert(web_has(log, "X-Kept", "1"));
        cr_assert(web_has(log, "traceparent", f.call.pub.trace_parent));
        cr_assert(web_has(log, "User-Agent", "prvng/" PRVNG_VERSION " (cloud)"), "%s", log);
        cr_assert_not(web_has(log, "Content-Type", NULL), "none was given: %s", log);
        cr_assert_not(web_has(log, "Authorization", NULL));
        cr_assert_not_null(strstr(buf_str(&f.log), "status 200"), "%s", buf_str(&f.log));
        cr_assert_not_null(strstr(buf_str(&f.log), "attempt 1, op " TEST_OP
                                                   ", trace 0af7651916cd43dd8448eb211c80319c\n"),
                           "%s", buf_str(&f.log));
        end(&f);
}

Test(host_http, reads_secrets_from_private_files_anew)
{
        _cleanup_(cleanup_free) char *path = NULL, *log = NULL;
        _cleanup_(cleanup_buf) struct buf more = BUF_NULL;
        struct fixture f;

        setup(&f, echo, NULL, NULL);
        path = test_site_path(&f.site, "token");
        buf_printf(&more, ",\"auth\":{\"type\":\"bearer\",\"token\":{\"file\":\"%s\"}}", path);
        open_session(&f, buf_str(&more));
        cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_AUTH);
        SAYS(&f, path);
        test_site_write(&f.site, "token", "first-one\nsecond line\n");
        for (mode_t mode = 0604; mode; mode = mode == 0604 ? 0640 : mode == 0640 ? 0602 : 0) {
                cr_assert_eq(chmod(path, mode), 0);
                cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_AUTH);
                ENDS(&f, PRVNG_AUTH, PRVNG_EFFECT_NONE);
                SAYS(&f, "chmod 600");
        }
        cr_assert_eq(chmod(path, 0600), 0);
        cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_DONE);
        test_site_write(&f.site, "token", "another");
        cr_assert_eq(chmod(path, 0600), 0);
        cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_DONE);
        test_site_write(&f.site, "token", "sec\x01ret\n");
        cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_AUTH);
        SAYS(&f, "control character at byte 4");
        cr_assert_null(strstr(f.reply.message, "sec\x01"));
        test_site_write(&f.site, "token", "\n");
        cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_AUTH);
        SAYS(&f, "is empty");
        log = web_log(f.web);
        cr_assert_eq(web_requests(f.web), 2);
        cr_assert(web_has(log, "Authorization", "Bearer first-one"), "%s", log);
        cr_assert(web_has(log, "Authorization", "Bearer another"), "%s", log);
        cr_assert_null(strstr(buf_str(&f.log), "first-one"));
        end(&f);
}

static void elsewhere(void *userdata, const struct web_request *q, struct web_reply *ret)
{
        ret->status = 302;
        ret->headers = userdata;
}

Test(host_http, does_not_follow_redirects)
{
        struct web *other = web_new(&(struct web_options){.answer = echo});
        char location[100];
        struct fixture f;

        snprintf(location, sizeof(location), "Location: http://127.0.0.1:%d/\r\n", web_port(other));
        setenv("TEST_TOKEN", "t0ken", 1);
        setup(&f, elsewhere, location, NULL);
        open_session(&f, ",\"auth\":{\"type\":\"bearer\",\"token\":{\"env\":\"TEST_TOKEN\"}}");
        cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_DONE);
        cr_assert_eq(f.response.status, 302);
        cr_assert_eq(web_connections(other), 0);
        web_free(other);
        end(&f);
}

Test(host_http, localhost_is_loopback)
{
        char options[100];
        struct fixture f;

        setup(&f, echo, NULL, NULL);
        snprintf(options, sizeof(options), "{\"base_url\":\"http://LOCALHOST:%d\"}", web_port(f.web));
        cr_assert_eq(open_text(&f, options), PRVNG_DONE);
        cr_assert_eq(ask(&f, "GET", "/x", NULL), PRVNG_DONE, "%s", f.reply.message);
        cr_assert_str_eq(body(&f), "GET /x||1");
        end(&f);
}

/* --- signatures --- */

static void hmac(const void *key, size_t n_key, const char *text, uint8_t ret[32])
{
        uint8_t out[32];

        cr_assert_not_null(HMAC(EVP_sha256(), key, (int)n_key, (const uint8_t *)text, strlen(text), out,
                                NULL));
        memcpy(ret, out, 32);
}

static void digest(const char *text, char ret_hex[65])
{
        uint8_t out[32];

        SHA256((const uint8_t *)text, strlen(text), out);
        hex_text(out, 32, ret_hex);
        ret_hex[64] = 0;
}

/* The value of a header, "" if there is none. */
static void header_of(const char *all, const char *name, size_t n_name, char ret[256])
{
        ret[0] = 0;
        for (const char *line = all; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
                if (strncasecmp(line, name, n_name) == 0 && line[n_name] == ':') {
                        const char *v = line + n_name + 1 + strspn(line + n_name + 1, " ");

                        snprintf(ret, 256, "%.*s", (int)strcspn(v, "\r\n"), v);
                        return;
                }
}

/* The signature that the server would expect, by the rules of Signature Version 4. */
static void expected_signature(const struct web_request *q, const char *signed_headers,
                               char ret_hex[65])
{
        static const char secret[] = "AWS4test-secret-key";
        _cleanup_(cleanup_buf) struct buf canonical = BUF_NULL, text = BUF_NULL;
        char value[256], hash[65], date[9];
        uint8_t key[32];

        buf_printf(&canonical, "%s\n%s\n\n", q->method, q->target);
        for (const char *p = signed_headers; *p; p += strcspn(p, ";"), p += *p == ';') {
                header_of(q->headers, p, strcspn(p, ";"), value);
                buf_printf(&canonical, "%.*s:%s\n", (int)strcspn(p, ";"), p, value);
        }
        digest(q->body, hash);
        buf_printf(&canonical, "\n%s\n%s", signed_headers, hash);
        header_of(q->headers, "x-amz-date", 10, value);
        snprintf(date, sizeof(date), "%.8s", value);
        digest(buf_str(&canonical), hash);
        buf_printf(&text, "AWS4-HMAC-SHA256\n%s\n%s/eu-north-1/ec2/aws4_request\n%s", value, date, hash);
        hmac(secret, sizeof(secret) - 1, date, key);
        hmac(key, 32, "eu-north-1", key);
        hmac(key, 32, "ec2", key);
        hmac(key, 32, "aws4_request", key);
        hmac(key, 32, buf_str(&text), key);
        hex_text(key, 32, ret_hex);
        ret_hex[64] = 0;
}

static void verify(void *userdata, const struct web_request *q, struct web_reply *ret)
{
        char authorization[256], names[200], given[65] = "", expected[65];
        const char *at;

        header_of(q->headers, "Authorization", 13, authorization);
        at = strstr(authorization, "SignedHeaders=");
        snprintf(names, sizeof(names), "%.*s", at ? (int)strcspn(at + 14, ",") : 0, at ? at + 14 : "");
        at = strstr(authorization, "Signature=");
        snprintf(given, sizeof(given), "%s", at ? at + 10 : "");
        expected_signature(q, names, expected);
        if (!startswith(authorization, "AWS4-HMAC-SHA256 Credential=AKIATEST/") || !streq(given, expected))
                ret->status = 403;
        ret->body = ret->free_me = strdup(names);
}

Test(host_http, signs_with_sigv4)
{
        static const char form[] = "Action=DescribeInstances&Version=2016-11-15&Filter.1.Value.1=a%20b";
        _cleanup_(cleanup_free) char *log = NULL;
        char options[600];
        struct fixture f;

        setup(&f, verify, NULL, NULL);
        setenv("TEST_KEY", "AKIATEST", 1);
        setenv("TEST_SECRET", "test-secret-key", 1);
        for (int i = 0; i < 2; i++) {
                snprintf(options, sizeof(options), "{\"base_url\":\"http://127.0.0.1:%d\",\"auth\":{\"type\":"
                         "\"sigv4\",\"region\":\"eu-north-1\",\"service\":\"ec2\",\"access_key\":{\"env\":"
                         "\"TEST_KEY\"},\"secret_key\":{\"env\":\"TEST_SECRET\"}%s}}", web_port(f.web),
                         i ? ",\"session_token\":{\"set\":\"session\"}" : "");
                cr_assert_eq(open_text(&f, options), PRVNG_DONE);
                cr_assert_eq(f.http->secret_set(f.session, "session", "FwoG+/=", 7), PRVNG_DONE);
                f.call.pub.trace_parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
                cr_assert_eq(ask_with(&f, "POST", "/", form,
                                      "Content-Type: application/x-www-form-urlencoded; charset=utf-8"),
                             PRVNG_DONE);
                log = web_log(f.web);
                cr_assert_eq(f.response.status, 200, "%s: %s", body(&f), log);
                cr_assert_eq(web_has(log, "X-Amz-Security-Token", "FwoG+/="), i);
                cr_assert_eq(!!strstr(body(&f), "x-amz-security-token"), i, "%s", body(&f));
                free(steal(&log));
        }
        setenv("TEST_SECRET", "another", 1);
        cr_assert_eq(ask(&f, "POST", "/", form), PRVNG_DONE);
        cr_assert_eq(f.response.status, 403);
        end(&f);
}

/* --- secrets of a backend --- */

struct safe {
        unsigned int asked;
        int32_t answer;
        const char *value;
};

static int32_t open_safe(void *userdata, struct op_call *call, const char *reference,
                         struct locked *ret_value, struct buf *why)
{
        struct safe *s = userdata;

        s->asked++;
        cr_assert_str_eq(reference, "secret://safe/api#token");
        cr_assert_str_eq(call->run, "RUN");
        if (s->answer != PRVNG_DONE)
                return buf_puts(why, "the safe is shut"), s->answer;
        cr_assert_eq(locked_init(ret_value, s->value, strlen(s->value)), 0);
        return PRVNG_DONE;
}

static void refuse_old(void *userdata, const struct web_request *q, struct web_reply *ret)
{
        ret->status = strstr(q->headers, "Bearer new") ? 200 : 401;
}

/* A minute long no program is run anew for each request; but what was refused is not tried again. */
Test(host_http, asks_a_backend_for_its_credentials)
{
        static const char auth[] = ",\"auth\":{\"type\":\"bearer\",\"token\":{\"secret\":"
                                   "\"secret://safe/api#token\"}}";
        struct safe safe = {.value = "old"};
        struct fixture f;

        setup(&f, refuse_old, NULL, NULL);
        open_session(&f, auth);
        cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_AUTH, "nobody looks it up");
        ENDS(&f, PRVNG_AUTH, PRVNG_EFFECT_NONE);
        host_set_secrets(f.host, open_safe, &safe);
        cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_DONE);
        cr_assert_eq(f.response.status, 401);
        cr_assert_eq(safe.asked, 1);
        safe.value = "new";
        for (int i = 0; i < 3; i++) {
                cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_DONE);
                cr_assert_eq(f.response.status, 200);
        }
        cr_assert_eq(safe.asked, 2, "%u", safe.asked);
        cr_assert_null(strstr(buf_str(&f.log), "new"), "%s", buf_str(&f.log));
        end(&f);
}

Test(host_http, tells_why_a_backend_gave_nothing)
{
        static const struct {
                int32_t safe, send;
        } answers[] = {{PRVNG_TRANSIENT, PRVNG_TRANSIENT}, {PRVNG_RATE_LIMITED, PRVNG_TRANSIENT},
                       {PRVNG_CANCELLED, PRVNG_CANCELLED}, {PRVNG_NOT_FOUND, PRVNG_AUTH},
                       {PRVNG_PERMANENT, PRVNG_AUTH},      {PRVNG_AUTH, PRVNG_AUTH}};
        struct safe safe = {.value = "two\nlines"};
        struct fixture f;

        setup(&f, echo, NULL, NULL);
        host_set_secrets(f.host, open_safe, &safe);
        open_session(&f, ",\"auth\":{\"type\":\"bearer\",\"token\":{\"secret\":\"secret://safe/api#token\"}}");
        for (size_t i = 0; i < N_ELEMENTS(answers); i++) {
                safe.answer = answers[i].safe;
                cr_assert_eq(ask(&f, "GET", "/", NULL), answers[i].send);
                ENDS(&f, answers[i].send, PRVNG_EFFECT_NONE);
                SAYS(&f, "the safe is shut");
        }
        safe.answer = PRVNG_DONE;
        cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_AUTH, "it would end the header line");
        SAYS(&f, "control character");
        cr_assert_eq(web_requests(f.web), 0);
        cr_assert_eq(open_text(&f, "{\"base_url\":\"https://a.example\",\"auth\":{\"type\":\"bearer\","
                                   "\"token\":{\"secret\":\"hunter2\"}}}"), PRVNG_PERMANENT);
        cr_assert_not_null(strstr(buf_str(&f.log), "secret://BACKEND"), "%s", buf_str(&f.log));
        cr_assert_null(strstr(buf_str(&f.log), "hunter2"), "%s", buf_str(&f.log));
        end(&f);
}
