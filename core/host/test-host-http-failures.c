/* SPDX-License-Identifier: Apache-2.0 */
/* prvng.host.http/1 where the other side, or the way there, is not as it should be. */
#include "host/test-host-http.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

/* A port of loopback on which nobody listens. */
static int free_port(void)
{
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        _cleanup_(cleanup_close) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        socklen_t n = sizeof(a);

        cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
        cr_assert_eq(getsockname(fd, (struct sockaddr *)&a, &n), 0);
        return ntohs(a.sin_port);
}

Test(host_http_failures, nobody_listens)
{
        char options[100];
        struct fixture f;

        setup(&f, NULL, NULL, NULL);
        snprintf(options, sizeof(options), "{\"base_url\":\"http://127.0.0.1:%d\"}", free_port());
        cr_assert_eq(open_text(&f, options), PRVNG_DONE);
        cr_assert_eq(ask(&f, "POST", "/server?secret=1", "x"), PRVNG_TRANSIENT);
        ENDS(&f, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE);
        cr_assert_eq(f.reply.status, ECONNREFUSED);
        SAYS(&f, "POST http://127.0.0.1");
        cr_assert_null(strstr(f.reply.message, "secret"), "a query is not shown");
        end(&f);
}

/* By target: what goes wrong. */
static void fail(void *userdata, const struct web_request *q, struct web_reply *ret)
{
        if (startswith(q->target, "/1.3/reset") || (streq(q->target, "/1.3/second") && q->number == 2))
                ret->manner = WEB_RESET;
        else if (streq(q->target, "/1.3/silent"))
                ret->manner = WEB_SILENT;
        else if (startswith(q->target, "/1.3/raw/")) {
                ret->manner = WEB_RAW;
                ret->body = userdata;
        }
}

Test(host_http_failures, a_reset_after_the_request_leaves_its_effect_unknown)
{
        struct fixture f;

        setup(&f, fail, NULL, NULL);
        open_session(&f, "");
        cr_assert_eq(ask(&f, "POST", "/reset", "{}"), PRVNG_TRANSIENT);
        ENDS(&f, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN);
        cr_assert_eq(web_requests(f.web), 1);
        end(&f);
}

/* libcurl by itself would send the second request again on a new connection, and make two servers. */
Test(host_http_failures, nothing_is_sent_twice_when_a_kept_connection_breaks)
{
        static const char *const methods[] = {"POST", "PUT", "PATCH", "DELETE"};

        for (size_t i = 0; i < N_ELEMENTS(methods); i++) {
                struct fixture f;

                setup(&f, fail, NULL, NULL);
                open_session(&f, "");
                cr_assert_eq(ask(&f, "GET", "/first", NULL), PRVNG_DONE);
                cr_assert_eq(ask(&f, methods[i], "/second", NULL), PRVNG_TRANSIENT, "%s", methods[i]);
                ENDS(&f, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN);
                cr_assert_eq(web_requests(f.web), 2, "%s", methods[i]);
                cr_assert_eq(ask(&f, methods[i], "/third", NULL), PRVNG_DONE);
                end(&f);
        }
}

Test(host_http_failures, what_only_reads_is_sent_again_when_a_kept_connection_breaks)
{
        struct fixture f;

        setup(&f, fail, NULL, NULL);
        open_session(&f, "");
        cr_assert_eq(ask(&f, "GET", "/first", NULL), PRVNG_DONE);
        cr_assert_eq(ask(&f, "GET", "/second", NULL), PRVNG_DONE);
        cr_assert_eq(web_requests(f.web), 3);
        end(&f);
}

Test(host_http_failures, connections_that_are_reset_at_once)
{
        struct web_options reset = {.resets = 1000};
        char options[100];
        struct fixture f;

        setup(&f, NULL, NULL, NULL);
        f.web = web_new(&reset);
        snprintf(options, sizeof(options), "{\"base_url\":\"http://127.0.0.1:%d\"}", web_port(f.web));
        cr_assert_eq(open_text(&f, options), PRVNG_DONE);
        cr_assert_eq(ask(&f, "POST", "/", "{}"), PRVNG_TRANSIENT);
        cr_assert_eq(f.call.said_class, PRVNG_TRANSIENT);
        cr_assert_eq(web_requests(f.web), 0);
        end(&f);
}

Test(host_http_failures, time_is_over)
{
        struct prvng_http_request q = request_of("POST", "/silent", "{}");
        struct fixture f;

        setup(&f, fail, NULL, NULL);
        open_session(&f, "");
        f.call.pub.deadline_ms = clock_boot_ms() + 150;
        cr_assert_eq(ask(&f, "POST", "/silent", "{}"), PRVNG_TRANSIENT);
        ENDS(&f, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN);
        cr_assert_eq(f.reply.status, ETIMEDOUT);
        cr_assert_eq(ask(&f, "POST", "/late", "{}"), PRVNG_TRANSIENT);
        ENDS(&f, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE);
        f.call.pub.deadline_ms = INT64_MAX;
        q.timeout_ms = 100;
        cr_assert_eq(f.http->send(&f.call.pub, f.session, &q, &f.response, NULL, NULL),
                     PRVNG_TRANSIENT);
        ENDS(&f, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN);
        cr_assert_eq(web_requests(f.web), 2);
        end(&f);
}

struct asked {
        struct fixture *f;
        const char *target;
        struct op_call call;
        struct op_reply reply;
        int32_t answer;
        pthread_t thread;
};

static void *asking(void *userdata)
{
        struct asked *a = userdata;
        struct prvng_http_request q = request_of("POST", a->target, "{}");
        struct prvng_http_response response = {.struct_size = sizeof(response)};

        a->answer = a->f->http->send(&a->call.pub, a->f->session, &q, &response, NULL, NULL);
        return NULL;
}

static void begin(struct asked *a, struct fixture *f, const char *target)
{
        a->f = f;
        a->target = target;
        a->reply = OP_REPLY_NULL;
        a->call = call_of(f, &a->reply);
        cr_assert_eq(pthread_create(&a->thread, NULL, asking, a), 0);
}

static void finish(struct asked *a)
{
        pthread_join(a->thread, NULL);
        call_deinit(&a->call, &a->reply);
}

/* Until so many wait for their turn. */
static void wait_for_queue(struct fixture *f, size_t n)
{
        size_t waiting;

        do {
                waiting = 0;
                pthread_mutex_lock(&f->session->lock);
                for (const struct http_turn *t = f->session->first; t; t = t->next)
                        waiting++;
                pthread_mutex_unlock(&f->session->lock);
                usleep(1000);
        } while (waiting < n);
}

Test(host_http_failures, cancelled_before_and_on_its_way)
{
        struct fixture f;
        struct asked a;

        setup(&f, fail, NULL, NULL);
        open_session(&f, "");
        begin(&a, &f, "/silent");
        web_wait(f.web, 1);
        cancel(&a.call);
        pthread_join(a.thread, NULL);
        cr_assert_eq(a.answer, PRVNG_CANCELLED);
        cr_assert_eq(a.reply.effect, PRVNG_EFFECT_UNKNOWN);
        call_deinit(&a.call, &a.reply);
        cancel(&f.call);
        cr_assert_eq(ask(&f, "POST", "/", "{}"), PRVNG_CANCELLED);
        ENDS(&f, PRVNG_CANCELLED, PRVNG_EFFECT_NONE);
        cr_assert_eq(web_requests(f.web), 1);
        end(&f);
}

Test(host_http_failures, turns_come_in_order_and_may_be_given_up)
{
        _cleanup_(cleanup_free) char *log = NULL;
        struct asked a, b, c, d, e;
        const char *at_c, *at_e;
        struct fixture f;

        setup(&f, fail, NULL, NULL);
        open_session(&f, ",\"concurrency\":1");
        begin(&a, &f, "/silent");
        web_wait(f.web, 1);
        begin(&b, &f, "/b");
        wait_for_queue(&f, 1);
        begin(&c, &f, "/c");
        wait_for_queue(&f, 2);
        begin(&d, &f, "/d");
        wait_for_queue(&f, 3);
        begin(&e, &f, "/e");
        wait_for_queue(&f, 4);
        cancel(&b.call); /* the first, one in the middle, and one by its deadline */
        pthread_join(b.thread, NULL);
        cr_assert_eq(b.answer, PRVNG_CANCELLED);
        cr_assert_eq(b.reply.effect, PRVNG_EFFECT_NONE);
        call_deinit(&b.call, &b.reply);
        cancel(&d.call);
        finish(&d);
        cr_assert_eq(d.answer, PRVNG_CANCELLED);
        f.call.pub.deadline_ms = clock_boot_ms() + 50;
        cr_assert_eq(ask(&f, "POST", "/never", "{}"), PRVNG_TRANSIENT);
        ENDS(&f, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE);
        SAYS(&f, "1 requests to");
        cr_assert_eq(web_requests(f.web), 1);
        cancel(&a.call);
        finish(&a);
        finish(&c);
        finish(&e);
        cr_assert_eq(c.answer, PRVNG_DONE);
        cr_assert_eq(e.answer, PRVNG_DONE);
        log = web_log(f.web);
        at_c = strstr(log, "POST /1.3/c\n");
        at_e = strstr(log, "POST /1.3/e\n");
        cr_assert(at_c && at_e && at_c < at_e, "%s", log);
        cr_assert_null(strstr(log, "/b\n"));
        cr_assert_null(strstr(log, "/never"));
        end(&f);
}

Test(host_http_failures, one_that_hangs_holds_up_nobody)
{
        struct fixture f;
        struct asked a;

        setup(&f, fail, NULL, NULL);
        open_session(&f, ",\"concurrency\":2");
        begin(&a, &f, "/silent");
        web_wait(f.web, 1);
        cr_assert_eq(ask(&f, "POST", "/other", "{}"), PRVNG_DONE, "%s", f.reply.message);
        cr_assert_eq(web_connections(f.web), 2);
        cancel(&a.call);
        finish(&a);
        cr_assert_eq(a.answer, PRVNG_CANCELLED);
        end(&f);
}

static void slow(void *userdata, const struct web_request *q, struct web_reply *ret)
{
        usleep(20000); /* so that there is something to be at once */
}

Test(host_http_failures, no_more_at_once_than_allowed)
{
        struct asked all[12];
        struct fixture f;

        setup(&f, slow, NULL, NULL);
        open_session(&f, ",\"concurrency\":3");
        for (size_t i = 0; i < N_ELEMENTS(all); i++)
                begin(&all[i], &f, "/x");
        for (size_t i = 0; i < N_ELEMENTS(all); i++) {
                finish(&all[i]);
                cr_assert_eq(all[i].answer, PRVNG_DONE);
        }
        cr_assert_eq(web_requests(f.web), 12);
        cr_assert_leq(web_most_at_once(f.web), 3, "%d", web_most_at_once(f.web));
        cr_assert_leq(web_connections(f.web), 3);
        end(&f);
}

/* --- replies --- */

struct big {
        size_t n;
        enum web_manner manner;
        char *zipped;
        size_t n_zipped;
};

static void answer_big(void *userdata, const struct web_request *q, struct web_reply *ret)
{
        struct big *b = userdata;

        ret->manner = b->manner;
        if (b->zipped) {
                ret->headers = "Content-Encoding: gzip\r\n";
                ret->body = b->zipped;
                ret->n_body = b->n_zipped;
        } else {
                ret->body = ret->free_me = calloc(1, b->n + 1);
                memset(ret->free_me, 'x', b->n);
                ret->n_body = b->n;
        }
}

/* So many megabytes of zeros, compressed by gzip. */
static void make_bomb(struct big *b, unsigned int megabytes)
{
        char command[100];
        FILE *gzip;

        snprintf(command, sizeof(command), "head -c %uM /dev/zero | gzip -6", megabytes);
        gzip = popen(command, "re");
        b->zipped = malloc(1 << 20);
        b->n_zipped = fread(b->zipped, 1, 1 << 20, gzip);
        cr_assert_eq(pclose(gzip), 0);
        cr_assert_gt(b->n_zipped, 1000);
}

Test(host_http_failures, replies_have_a_limit)
{
        struct big big = {.n = 5000};
        struct fixture f;
        uint64_t n;

        setup(&f, answer_big, &big, NULL);
        open_session(&f, ",\"max_reply\":5000");
        for (big.manner = WEB_PLAIN; big.manner <= WEB_CHUNKED; big.manner++) {
                big.n = 5000;
                cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_DONE);
                f.table->sink_data(f.body, &n);
                cr_assert_eq(n, 5000);
                big.n = 5001;
                cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_PERMANENT);
                ENDS(&f, PRVNG_PERMANENT, PRVNG_EFFECT_UNKNOWN);
                SAYS(&f, "5000 bytes");
                f.table->sink_data(f.body, &n);
                cr_assert_eq(n, 0, "nothing of it is handed over");
        }
        end(&f);
}

Test(host_http_failures, compressed_replies_count_as_they_unfold)
{
        struct big big = {0};
        struct fixture f;
        uint64_t n;

        make_bomb(&big, 2);
        setup(&f, answer_big, &big, NULL);
        open_session(&f, ",\"max_reply\":2097152");
        cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_DONE, "%s", f.reply.message);
        f.table->sink_data(f.body, &n);
        cr_assert_eq(n, 2097152);
        open_session(&f, ",\"max_reply\":2097151");
        cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_PERMANENT);
        ENDS(&f, PRVNG_PERMANENT, PRVNG_EFFECT_UNKNOWN);
        free(big.zipped);
        make_bomb(&big, 64); /* four times what is accepted by default */
        open_session(&f, "");
        cr_assert_eq(ask(&f, "GET", "/", NULL), PRVNG_PERMANENT);
        free(big.zipped);
        end(&f);
}

Test(host_http_failures, sinks_have_a_limit)
{
        struct prvng_http_request q = request_of("POST", "/", "{}");
        struct big big = {.n = 5000};
        struct prvng_sink *small;
        struct fixture f;

        setup(&f, answer_big, &big, NULL);
        open_session(&f, "");
        small = f.table->sink_new(4999);
        cr_assert_eq(f.http->send(&f.call.pub, f.session, &q, &f.response, NULL, small),
                     PRVNG_PERMANENT);
        ENDS(&f, PRVNG_PERMANENT, PRVNG_EFFECT_UNKNOWN);
        f.table->sink_free(small);
        end(&f);
}

/* The server ends each connection behind its reply; who does not say so may be asked once more on it. */
static const struct raw {
        const char *text;
        int32_t answer;
} raws[] = {
        {"HTTP/1.1 103 Early Hints\r\nLink: early\r\n\r\nHTTP/1.1 200 OK\r\nX: final\r\n"
         "Connection: close\r\nContent-Length: 2\r\n\r\nok", PRVNG_DONE},
        {"HTTP/1.1 200 OK\r\nX: final\r\nConnection: close\r\n"
         "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"
         "X-Trailer: early\r\n\r\n", PRVNG_DONE},
        {"HTTP/1.1 200 OK\r\nX: fi\x1b[31mnal\r\nConnection: close\r\n"
         "Content-Length: 2\r\n\r\nok", PRVNG_DONE},
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok", PRVNG_TRANSIENT},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok", PRVNG_TRANSIENT},
        {"HTTP/1.1 200 OK\r\nContent-Len", PRVNG_TRANSIENT},
        {"SSH-2.0-OpenSSH_9.2\r\n", PRVNG_TRANSIENT},
        {"<html>\r\n\r\n", PRVNG_TRANSIENT},
        {"HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\nok", PRVNG_TRANSIENT},
        {"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok", PRVNG_TRANSIENT},
};

static void answer_raw(void *userdata, const struct web_request *q, struct web_reply *ret)
{
        ret->manner = WEB_RAW;
        ret->body = raws[strtoul(q->target + strlen("/1.3/"), NULL, 10)].text;
}

Test(host_http_failures, half_and_odd_replies)
{
        struct fixture f;
        char target[20];

        setup(&f, answer_raw, NULL, NULL);
        open_session(&f, "");
        for (size_t i = 0; i < N_ELEMENTS(raws); i++) {
                snprintf(target, sizeof(target), "/%zu", i);
                cr_assert_eq(ask(&f, "POST", target, "{}"), raws[i].answer, "%zu: %s", i,
                             f.reply.message);
                if (raws[i].answer == PRVNG_DONE) {
                        cr_assert_str_eq(body(&f), "ok");
                        cr_assert_not_null(strstr(headers(&f), "x: fi"), "%zu", i);
                        cr_assert_null(strstr(headers(&f), "early"), "%zu: %s", i, headers(&f));
                } else {
                        ENDS(&f, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN);
                }
        }
        end(&f);
}

static void many_headers(void *userdata, const struct web_request *q, struct web_reply *ret)
{
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;

        BUF_LIT(&b, "HTTP/1.1 200 OK\r\n");
        for (unsigned int i = 0; i < 10000; i++)
                buf_printf(&b, "X-Header-%u: 0123456789012345678901234567890123456789\r\n", i);
        BUF_LIT(&b, "Content-Length: 0\r\n\r\n");
        ret->manner = WEB_RAW;
        ret->body = ret->free_me = buf_steal(&b);
}

Test(host_http_failures, headers_have_a_limit)
{
        struct fixture f;

        setup(&f, many_headers, NULL, NULL);
        open_session(&f, "");
        cr_assert_neq(ask(&f, "POST", "/", "{}"), PRVNG_DONE);
        cr_assert_eq(f.reply.effect, PRVNG_EFFECT_UNKNOWN);
        end(&f);
}

/* --- TLS and the way there --- */

/* A certificate authority, and certificates by it for 127.0.0.1 and for another host. */
static void make_certificates(const struct test_site *site)
{
        char command[4096];

        snprintf(command, sizeof(command),
                 "exec 2>/dev/null; cd '%s' && k='-nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256' && "
                 "openssl req -x509 $k -days 2 -keyout ca.key -out ca.pem -subj /CN=test-ca && "
                 "for n in good:IP:127.0.0.1 wrong:DNS:other.example.net; do "
                 "openssl req $k -keyout ${n%%%%:*}.key -out c.csr -subj /CN=test && "
                 "echo subjectAltName=${n#*:} > ext && "
                 "openssl x509 -req -in c.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
                 "-extfile ext -out ${n%%%%:*}.pem || exit 1; done",
                 site->folder);
        cr_assert_eq(system(command), 0);
}

static void setup_tls(struct fixture *f, const char *certificate, int tls_max, bool known_ca)
{
        char options[160], *pem, *key, *name;

        setup(f, NULL, NULL, NULL);
        make_certificates(&f->site);
        cr_assert_gt(asprintf(&name, "%s.key", certificate), 0);
        key = test_site_path(&f->site, name);
        memcpy(name + strlen(certificate), ".pem", 4);
        pem = test_site_path(&f->site, name);
        f->web = web_new(&(struct web_options){.answer = echo, .certificate = pem, .key = key,
                                               .tls_max = tls_max});
        free(key);
        free(pem);
        free(name);
        if (known_ca)
                json_object_set_new(f->config->sources, "ca_file",
                                    json_sprintf("%s/ca.pem", f->site.folder));
        snprintf(options, sizeof(options), "{\"base_url\":\"https://127.0.0.1:%d\",\"auth\":{\"type\":"
                 "\"bearer\",\"token\":{\"env\":\"TEST_TOKEN\"}}}", web_port(f->web));
        setenv("TEST_TOKEN", "t0ken", 1);
        cr_assert_eq(open_text(f, options), PRVNG_DONE, "%s", buf_str(&f->log));
}

Test(host_http_failures, tls_with_a_known_authority)
{
        _cleanup_(cleanup_free) char *log = NULL;
        struct fixture f;

        setup_tls(&f, "good", 0, true);
        cr_assert_eq(ask(&f, "GET", "/a", NULL), PRVNG_DONE, "%s", f.reply.message);
        cr_assert_str_eq(body(&f), "GET /a||1");
        cr_assert_eq(ask(&f, "POST", "/a", "{}"), PRVNG_DONE);
        cr_assert_str_eq(body(&f), "POST /a|{}|1");
        log = web_log(f.web);
        cr_assert(web_has(log, "Authorization", "Bearer t0ken"));
        end(&f);
}

static void refused(const char *certificate, int tls_max, bool known_ca, const char *says)
{
        struct fixture f;

        setup_tls(&f, certificate, tls_max, known_ca);
        cr_assert_eq(ask(&f, "POST", "/a", "{}"), PRVNG_TRANSIENT);
        ENDS(&f, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE);
        SAYS(&f, says);
        cr_assert_eq(web_requests(f.web), 0);
        end(&f);
}

Test(host_http_failures, tls_of_an_unknown_authority)
{
        refused("good", 0, false, "sources.ca_file");
}

Test(host_http_failures, tls_of_another_host)
{
        refused("wrong", 0, true, "SSL");
}

Test(host_http_failures, tls_too_old)
{
        refused("good", TLS1_1_VERSION, true, "SSL");
}

Test(host_http_failures, tls_1_2_is_enough)
{
        struct fixture f;

        setup_tls(&f, "good", TLS1_2_VERSION, true);
        cr_assert_eq(ask(&f, "GET", "/a", NULL), PRVNG_DONE, "%s", f.reply.message);
        end(&f);
}

static void no_tunnel(void *userdata, const struct web_request *q, struct web_reply *ret)
{
        ret->status = 403;
}

Test(host_http_failures, the_proxy_of_the_site_sees_no_credentials)
{
        static const char options[] = "{\"base_url\":\"https://192.0.2.1\",\"auth\":{\"type\":\"bearer\","
                                      "\"token\":{\"env\":\"TEST_TOKEN\"}}}";
        struct prvng_http_request q = request_of("POST", "/", "{}");
        _cleanup_(cleanup_free) char *log = NULL;
        char proxy[64];
        struct fixture f;

        setup(&f, no_tunnel, NULL, NULL);
        setenv("TEST_TOKEN", "t0ken", 1);
        snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%d", web_port(f.web));
        setenv("https_proxy", proxy, 1); /* of the environment: does not count */
        cr_assert_eq(open_text(&f, options), PRVNG_DONE);
        q.timeout_ms = 100;
        cr_assert_eq(f.http->send(&f.call.pub, f.session, &q, &f.response, NULL, NULL),
                     PRVNG_TRANSIENT);
        ENDS(&f, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE);
        cr_assert_eq(web_requests(f.web), 0);
        unsetenv("https_proxy");
        json_object_set_new(f.config->sources, "https_proxy", json_string(proxy));
        cr_assert_eq(ask(&f, "POST", "/", "{}"), PRVNG_TRANSIENT);
        ENDS(&f, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE);
        log = web_log(f.web);
        cr_assert_not_null(strstr(log, "CONNECT 192.0.2.1:443\n"), "%s", log);
        cr_assert_not(web_has(log, "Authorization", NULL), "%s", log);
        json_object_set_new(f.config->sources, "no_proxy", json_string("192.0.2.0/24"));
        cr_assert_eq(f.http->send(&f.call.pub, f.session, &q, &f.response, NULL, NULL),
                     PRVNG_TRANSIENT);
        cr_assert_eq(web_requests(f.web), 1);
        end(&f);
}
