/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP thread against an engine that the test plays: one "loop" thread that answers posts and
 * appends records, as core/run does. Readers must get each record exactly once, in order, however slow
 * they are and whenever they come.
 */
#include "http.h"
#include "routes.h"
#include "feed.h"

#include "base/json.h"
#include "host/host.h"

#include <criterion/criterion.h>
#include <curl/curl.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define RUN "01JD0000000000000000000000"

struct post {
        struct post *next;
        void *request;
        char *method, *path, *body;
        size_t n_body;
};

/* The engine */

struct engine_process {
        struct engine_process_hooks hooks;
        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t changed;
        struct post *first, **last;
        unsigned n_records; /* to append, asked for by the test */
        unsigned padding;   /* bytes of each record */
        bool end, stop;
        struct buf journal, offsets; /* of each record: size_t */
        uint64_t seq;
        int busy; /* atomic */
        unsigned n_backlogs;
        unsigned n_logs;  /* atomic */
        bool says_ended;  /* atomic: /workflows says that the run has ended */
};

int engine_process_post(struct engine_process *p, void *request, const char *method,
                        const char *path, const void *body, size_t n_body)
{
        struct post *post = calloc(1, sizeof(*post));

        post->request = request;
        post->method = strdup(method);
        post->path = strdup(path);
        post->body = memcpy(calloc(1, n_body + 1), n_body ? body : "", n_body);
        post->n_body = n_body;
        pthread_mutex_lock(&p->lock);
        *p->last = post;
        p->last = &post->next;
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->lock);
        return 0;
}

void engine_process_busy(struct engine_process *p, int delta)
{
        __atomic_fetch_add(&p->busy, delta, __ATOMIC_SEQ_CST);
}

char *host_run_folder(const struct config *config, const char *run, const char *task)
{
        char *path = NULL;

        return asprintf(&path, "%s/%s", config->state, task) < 0 ? NULL : path;
}

static const char *behind(const struct engine_process *p, uint64_t from)
{
        const size_t *offsets = (const size_t *)(const void *)p->offsets.data;

        return buf_str(&p->journal) + (from < p->seq ? offsets[from] : p->journal.n);
}

static void answer(struct engine_process *p, struct post *post)
{
        const char *text = "{\"error\":{\"message\":\"no such run\"}}";
        const char *from = strstr(post->path, "/events?from=");
        int status = 404;
        char echo[256];

        if (from && strstr(post->path, RUN)) {
                status = 200;
                text = behind(p, strtoull(from + strlen("/events?from="), NULL, 10));
                p->n_backlogs++;
        } else if (startswith(post->path, "/workflows?name=shop") || streq(post->path, "/workflows")) {
                status = 200;
                text = "{\"workflows\":[{\"id\":\"01JC0000000000000000000000\",\"name\":\"shop\","
                       "\"accepted_at\":\"2026-01-01T00:00:00.000Z\",\"ended_at\":\"2026\"},"
                       "{\"id\":\"" RUN "\",\"name\":\"shop\",\"accepted_at\":"
                       "\"2026-01-02T00:00:00.000Z\",\"ended_at\":null}]}";
                if (__atomic_load_n(&p->says_ended, __ATOMIC_SEQ_CST))
                        text = "{\"workflows\":[{\"id\":\"" RUN "\",\"name\":\"shop\","
                               "\"accepted_at\":\"2026\",\"ended_at\":\"2026\"}]}";
        } else if (startswith(post->path, "/workflows?name=")) {
                status = 200;
                text = "{\"workflows\":[]}";
        } else if (streq(post->path, "/workflows/shop/logs?task=a/b@c")) {
                status = 200;
                text = "one\n";
                __atomic_fetch_add(&p->n_logs, 1, __ATOMIC_SEQ_CST);
        } else if (streq(post->path, "/workflows/batch")) {
                status = 202;
                snprintf(echo, sizeof(echo), "{\"got\":%zu}", post->n_body);
                text = echo;
        }
        p->hooks.on_answer(p->hooks.userdata, post->request, status, text, strlen(text));
        free(post->method);
        free(post->path);
        free(post->body);
        free(post);
}

static void append(struct engine_process *p, bool end)
{
        struct buf line = BUF_NULL;

        buf_printf(&line, "{\"seq\":%llu,\"at\":1,\"type\":\"%s\",\"status\":\"",
                   (unsigned long long)++p->seq, end ? "end" : "done");
        for (unsigned i = 0; !end && i < p->padding; i++)
                buf_putc(&line, 'x');
        BUF_LIT(&line, "\"}\n");
        buf_append(&p->offsets, &p->journal.n, sizeof(p->journal.n));
        buf_append(&p->journal, line.data, line.n);
        p->hooks.on_record(p->hooks.userdata, RUN, p->seq, line.data, line.n);
        buf_deinit(&line);
}

static void *loop(void *userdata)
{
        struct engine_process *p = userdata;

        pthread_mutex_lock(&p->lock);
        while (!p->stop) {
                struct post *post = p->first;
                unsigned n = MIN(p->n_records, 10u);
                bool end = p->end && n == p->n_records;

                if (!post && !n && !end) {
                        pthread_cond_wait(&p->changed, &p->lock);
                        continue;
                }
                if (post) {
                        p->first = post->next;
                        if (!p->first)
                                p->last = &p->first;
                }
                p->n_records -= n;
                p->end &= !end;
                pthread_mutex_unlock(&p->lock);
                for (unsigned i = 0; i < n; i++)
                        append(p, false);
                if (end)
                        append(p, true);
                if (post)
                        answer(p, post);
                pthread_mutex_lock(&p->lock);
        }
        pthread_mutex_unlock(&p->lock);
        return NULL;
}

static void ask(struct engine_process *p, unsigned n_records, bool end)
{
        pthread_mutex_lock(&p->lock);
        p->n_records += n_records;
        p->end = end;
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->lock);
}

/* The site */

struct fixture {
        char folder[64];
        char socket[96];
        struct config config;
        struct http *http;
        struct engine_process process;
};

static struct fixture fixture;

static void setup(void)
{
        struct fixture *f = &fixture;
        char *message = NULL;

        *f = (struct fixture){.process = {.lock = PTHREAD_MUTEX_INITIALIZER,
                                          .changed = PTHREAD_COND_INITIALIZER}};
        f->process.last = &f->process.first;
        strcpy(f->folder, "/tmp/prvng-test-http-XXXXXX");
        cr_assert(mkdtemp(f->folder));
        snprintf(f->socket, sizeof(f->socket), "%s/s", f->folder);
        f->config = (struct config){.state = f->folder, .socket = f->socket};
        close(open(f->socket, O_CREAT | O_WRONLY, 0644)); /* stale */
        cr_assert_eq(http_new(&f->config, &f->http), 0);
        http_hooks(f->http, &f->process.hooks);
        cr_assert_eq(pthread_create(&f->process.thread, NULL, loop, &f->process), 0);
        cr_assert_eq(http_start(f->http, &f->process, &message), 0, "%s", message);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
        return remove(path);
}

static void teardown(void)
{
        struct fixture *f = &fixture;

        pthread_mutex_lock(&f->process.lock);
        f->process.stop = true;
        pthread_cond_broadcast(&f->process.changed);
        pthread_mutex_unlock(&f->process.lock);
        pthread_join(f->process.thread, NULL);
        http_free(f->http);
        cr_assert_eq(access(f->socket, F_OK), -1, "the socket is removed");
        buf_deinit(&f->process.journal);
        buf_deinit(&f->process.offsets);
        nftw(f->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(http, .init = setup, .fini = teardown, .timeout = 40);

/* The client */

static size_t collect(char *data, size_t size, size_t n, void *userdata)
{
        buf_append(userdata, data, size * n);
        return size * n;
}

static long request(const char *method, const char *path, const void *body, size_t n_body,
                    struct buf *ret)
{
        CURL *curl = curl_easy_init();
        struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
        char url[512];
        long status = 0;
        CURLcode code;

        snprintf(url, sizeof(url), "http://prvng%s", path);
        curl_easy_setopt(curl, CURLOPT_URL, url);
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, fixture.socket);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, ret);
        curl_easy_setopt(curl, CURLOPT_TIMEOUT, 30L);
        if (streq(method, "POST")) {
                curl_easy_setopt(curl, CURLOPT_POST, 1L);
                curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
                curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)n_body);
        } else {
                curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
        }
        code = curl_easy_perform(curl);
        if (code == CURLE_OK)
                curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        else
                cr_log_error("%s %s: %s", method, path, curl_easy_strerror(code));
        curl_easy_cleanup(curl);
        curl_slist_free_all(headers);
        return status;
}

/* The ids of all events must be first..last without a gap. */
static void assert_events(const struct buf *text, uint64_t first, uint64_t last)
{
        uint64_t expected = first;

        /* Line by line: the sanitizer's strstr measures the whole rest at each call. */
        for (const char *p = buf_str(text), *end; (end = strchr(p, '\n')); p = end + 1) {
                uint64_t seq;

                if (!startswith(p, "id: "))
                        continue;
                seq = strtoull(p + strlen("id: "), NULL, 10);
                cr_assert_eq(seq, expected, "event %llu instead of %llu", (unsigned long long)seq,
                             (unsigned long long)expected);
                expected++;
        }
        cr_assert_eq(expected, last + 1, "ended after %llu", (unsigned long long)expected - 1);
}

Test(http, socket_is_for_the_user_only)
{
        struct stat st;

        cr_assert_eq(stat(fixture.socket, &st), 0);
        cr_assert(S_ISSOCK(st.st_mode));
        cr_assert_eq(st.st_mode & 0777, 0600);
}

Test(http, unknown_paths_and_methods)
{
        struct buf b = BUF_NULL;

        cr_assert_eq(request("GET", "/nowhere", NULL, 0, &b), 404);
        cr_assert(strstr(buf_str(&b), "openapi.json"));
        cr_assert_eq(request("GET", "/workflows/nobody/status", NULL, 0, &b), 404);
        cr_assert_eq(request("GET", "/workflows/nobody/events", NULL, 0, &b), 404);
        cr_assert_eq(request("GET", "/workflows/01JD0000000000000000000001/events", NULL, 0, &b),
                     404);
        cr_assert_eq(request("DELETE", "/workflows", NULL, 0, &b), 405);
        cr_assert_eq(request("GET", "/workflows/batch", NULL, 0, &b), 405);
        buf_deinit(&b);
}

Test(http, openapi_is_json_and_knows_each_route)
{
        struct buf b = BUF_NULL;
        json_t *doc = NULL;

        cr_assert_eq(request("GET", "/openapi.json", NULL, 0, &b), 200);
        cr_assert_eq(json_parse(b.data, b.n, &doc, NULL), 0);
        cr_assert(json_object_get(json_object_get(json_object_get(doc, "paths"),
                                                  "/workflows/{id}/events"), "get"));
        json_decref(doc);
        buf_deinit(&b);
}

Test(http, large_definitions_arrive_whole)
{
        enum { N = 25000000 };
        char *body = malloc(N);
        struct buf b = BUF_NULL;

        memset(body, ' ', N);
        cr_assert_eq(request("POST", "/workflows/batch", body, N, &b), 202);
        cr_assert_str_eq(buf_str(&b), "{\"got\":25000000}");
        buf_clear(&b);
        cr_assert_eq(request("POST", "/workflows/batch", "", 0, &b), 202);
        cr_assert_str_eq(buf_str(&b), "{\"got\":0}");
        free(body);
        buf_deinit(&b);
}

static int connect_raw(void)
{
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        strcpy(a.sun_path, fixture.socket);
        cr_assert_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
        return fd;
}

Test(http, too_large_requests_are_refused)
{
        static const char head[] = "POST /workflows/batch HTTP/1.1\r\nHost: x\r\n"
                                   "Content-Length: 68000000\r\n\r\n";
        char answer_text[512] = {0};
        int fd = connect_raw();

        cr_assert_eq(write(fd, head, strlen(head)), (ssize_t)strlen(head));
        cr_assert_gt(read(fd, answer_text, sizeof(answer_text) - 1), 0);
        cr_assert(startswith(answer_text, "HTTP/1.1 413"), "%s", answer_text);
        close(fd);
}

Test(http, events_end_with_the_run)
{
        struct buf b = BUF_NULL;

        ask(&fixture.process, 100, true);
        cr_assert_eq(request("GET", "/workflows/" RUN "/events", NULL, 0, &b), 200);
        assert_events(&b, 1, 101);
        buf_clear(&b);
        cr_assert_eq(request("GET", "/workflows/shop/events?from=95", NULL, 0, &b), 200);
        assert_events(&b, 96, 101);
        buf_clear(&b);
        cr_assert_eq(request("GET", "/workflows/" RUN "/events?from=101", NULL, 0, &b), 200);
        cr_assert_str_eq(buf_str(&b), "", "the reader had seen all of it");
        __atomic_store_n(&fixture.process.says_ended, true, __ATOMIC_SEQ_CST);
        cr_assert_eq(request("GET", "/workflows/" RUN "/events?from=5000", NULL, 0, &b), 200);
        cr_assert_str_eq(buf_str(&b), "", "the reader claims to have seen more than there is");
        buf_deinit(&b);
}

Test(http, events_without_follow_end_at_the_last_record)
{
        struct buf b = BUF_NULL;

        ask(&fixture.process, 10, false);
        while (b.n == 0)
                cr_assert_eq(request("GET", "/workflows/" RUN "/events?follow=0&from=9", NULL, 0,
                                     &b), 200);
        assert_events(&b, 10, 10);
        buf_deinit(&b);
}

static void *reader(void *userdata)
{
        long status = request("GET", "/workflows/" RUN "/events", NULL, 0, userdata);

        return (void *)(intptr_t)status;
}

/* Readers come while the engine writes as fast as it can. */
Test(http, no_record_is_lost_or_doubled)
{
        enum { READERS = 12, ROUNDS = 40, EACH = 500 };
        struct buf texts[READERS] = {0};
        pthread_t threads[READERS];
        void *status;

        for (unsigned i = 0; i < ROUNDS; i++) {
                ask(&fixture.process, EACH, false);
                if (i < READERS)
                        pthread_create(&threads[i], NULL, reader, &texts[i]);
        }
        ask(&fixture.process, 0, true);
        for (unsigned i = 0; i < READERS; i++) {
                pthread_join(threads[i], &status);
                cr_assert_eq((intptr_t)status, 200);
                assert_events(&texts[i], 1, ROUNDS * EACH + 1);
                buf_deinit(&texts[i]);
        }
}

/* Reads nothing until all is written: the rest is read again from the journal, nothing is lost. */
Test(http, slow_readers_get_everything_and_cost_little)
{
        static const char head[] = "GET /workflows/" RUN "/events HTTP/1.1\r\nHost: x\r\n\r\n";
        enum { RECORDS = 20000 };
        struct buf b = BUF_NULL;
        char chunk[65536];
        ssize_t n;
        int fd = connect_raw();

        fixture.process.padding = 1000;
        cr_assert_eq(write(fd, head, strlen(head)), (ssize_t)strlen(head));
        cr_assert_gt(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 10000), 0);
        ask(&fixture.process, RECORDS, true);
        for (bool done = false; !done;) { /* the engine is not held up by the reader */
                pthread_mutex_lock(&fixture.process.lock);
                done = fixture.process.n_records == 0 && !fixture.process.end;
                pthread_mutex_unlock(&fixture.process.lock);
        }
        while ((n = read(fd, chunk, sizeof(chunk))) > 0)
                buf_append(&b, chunk, (size_t)n);
        cr_assert_eq(n, 0);
        assert_events(&b, 1, RECORDS + 1);
        cr_assert_geq(fixture.process.n_backlogs, 2u, "read again from the journal");
        close(fd);
        buf_deinit(&b);
}

static struct mail *lines(const char *text)
{
        size_t n = strlen(text);
        struct mail *m = calloc(1, sizeof(*m) + n + 1);

        m->n = n;
        memcpy(m->data, text, n);
        return m;
}

static void drain(struct feed *f)
{
        const char *data;
        size_t n;

        while ((n = feed_next(f, &data)) > 0)
                feed_sent(f, n);
}

#define END(n) "{\"seq\":" #n ",\"at\":1,\"type\":\"end\",\"status\":\"failed\"}\n"
#define ROLLBACK(n) "{\"seq\":" #n ",\"at\":1,\"type\":\"rollback\"}\n"

/* A run that is rolled back goes on behind its `end`: whoever follows it then must not stop there. */
Test(feed, a_run_may_end_more_than_once)
{
        struct feed f = {.follow = true};

        feed_backlog(&f, lines(END(1) ROLLBACK(2)));
        drain(&f);
        cr_assert_eq(f.last, 2);
        cr_assert_not(feed_is_over(&f));
        feed_record(&f, 3, END(3), strlen(END(3)));
        drain(&f);
        cr_assert_eq(f.last, 3);
        cr_assert(feed_is_over(&f));
        feed_deinit(&f);
}

/* What comes while the reader takes the backlog is read again, even if that ends with `end`. */
Test(feed, what_comes_behind_the_end_of_a_backlog_is_asked_for)
{
        struct feed f = {.follow = true};

        feed_backlog(&f, lines(END(1)));
        feed_record(&f, 2, ROLLBACK(2), strlen(ROLLBACK(2)));
        drain(&f);
        cr_assert_eq(f.last, 1);
        cr_assert(feed_must_ask(&f) && !feed_is_over(&f));
        feed_backlog(&f, lines(END(1) ROLLBACK(2)));
        drain(&f);
        cr_assert_eq(f.last, 2);
        cr_assert_not(feed_is_over(&f) || feed_must_ask(&f));
        feed_deinit(&f);
}

static void *log_reader(void *userdata)
{
        return (void *)(intptr_t)request("GET", "/workflows/shop/logs?task=a/b@c&follow=1", NULL, 0,
                                         userdata);
}

Test(http, logs_are_followed_to_the_end_of_the_run)
{
        char path[160];
        struct buf b = BUF_NULL;
        pthread_t thread;
        void *status;
        FILE *f;

        snprintf(path, sizeof(path), "%s/a", fixture.folder);
        mkdir(path, 0700);
        snprintf(path, sizeof(path), "%s/a/b@c", fixture.folder);
        mkdir(path, 0700);
        snprintf(path, sizeof(path), "%s/a/b@c/output.log", fixture.folder);
        f = fopen(path, "w");
        fputs("one\ntwo\n", f);
        fflush(f);
        pthread_create(&thread, NULL, log_reader, &b);
        while (__atomic_load_n(&fixture.process.n_logs, __ATOMIC_SEQ_CST) == 0)
                poll(NULL, 0, 5);
        fputs("three\n", f);
        fclose(f);
        ask(&fixture.process, 1, true);
        pthread_join(thread, &status);
        cr_assert_eq((intptr_t)status, 200);
        cr_assert_str_eq(buf_str(&b), "one\ntwo\nthree\n");
        buf_deinit(&b);
}

Test(http, busy_is_balanced)
{
        struct buf b = BUF_NULL;

        request("GET", "/workflows", NULL, 0, &b);
        request("GET", "/nowhere", NULL, 0, &b);
        close(connect_raw());
        request("GET", "/openapi.json", NULL, 0, &b);
        for (int i = 0; i < 1000 && __atomic_load_n(&fixture.process.busy, __ATOMIC_SEQ_CST); i++)
                poll(NULL, 0, 5);
        cr_assert_eq(__atomic_load_n(&fixture.process.busy, __ATOMIC_SEQ_CST), 0);
        buf_deinit(&b);
}
