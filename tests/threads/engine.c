/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine as a process, from many threads at once: clients that submit, look and cancel; stopping
 * while it is busy; a successor that goes on. A plain program, for -Dsanitize=thread (criterion aborts
 * there).
 */
#include "base/clock.h"
#include "base/json.h"
#include "run/engine-process.h"
#include "../support/site.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

enum { CLIENTS = 4, RUNS = 6, PATIENCE_MS = 120000, STOP_MS = 2000 };

#define CHECK(x)                                                                                   \
        do {                                                                                       \
                if (!(x)) {                                                                        \
                        fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #x);            \
                        abort();                                                                   \
                }                                                                                  \
        } while (0)

/* What was asked and answered. */
struct question {
        pthread_mutex_t lock;
        pthread_cond_t answered;
        int status;
        char *body;
};

struct stage {
        struct context context;
        struct engine_process *process;
        pthread_t loop;
        int loop_returned;
        char *message;
        atomic_int records, ends;
};

static void on_record(void *userdata, const char *run, uint64_t seq, const char *line, size_t n_line)
{
        struct stage *s = userdata;

        CHECK(n_line > 0 && line[n_line - 1] == '\n');
        atomic_fetch_add(&s->records, 1);
        if (memmem(line, n_line, "\"type\":\"end\"", 12))
                atomic_fetch_add(&s->ends, 1);
}

static void on_progress(void *userdata, const char *run, const char *task, uint32_t permille,
                        const char *message)
{
}

static void on_answer(void *userdata, void *request, int status, const char *body, size_t n_body)
{
        struct question *q = request;

        pthread_mutex_lock(&q->lock);
        q->body = strndup(body, n_body);
        q->status = status;
        pthread_cond_signal(&q->answered);
        pthread_mutex_unlock(&q->lock);
}

/* Asks and waits; the caller frees *ret_body (may be NULL). */
static int ask(struct stage *s, const char *method, const char *path, const char *body, char **ret_body)
{
        struct question q = {.lock = PTHREAD_MUTEX_INITIALIZER, .answered = PTHREAD_COND_INITIALIZER};
        struct timespec until;

        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += PATIENCE_MS / 1000;
        engine_process_busy(s->process, 1);
        CHECK(engine_process_post(s->process, &q, method, path, body, body ? strlen(body) : 0) == 0);
        pthread_mutex_lock(&q.lock);
        while (!q.status)
                CHECK(pthread_cond_timedwait(&q.answered, &q.lock, &until) == 0);
        pthread_mutex_unlock(&q.lock);
        engine_process_busy(s->process, -1);
        if (ret_body)
                *ret_body = q.body;
        else
                free(q.body);
        return q.status;
}

static void *loop(void *userdata)
{
        struct stage *s = userdata;

        s->loop_returned = engine_process_run(s->process, 0, &s->message);
        return NULL;
}

static void start(struct stage *s, const struct test_site *site)
{
        struct engine_process_hooks hooks = {.on_record = on_record, .on_progress = on_progress,
                                             .on_answer = on_answer, .userdata = s};
        char *message = NULL;

        CHECK(context_open(site->conf, NULL, &s->context) == 0);
        if (engine_process_new(&s->context, &hooks, &s->process, &message) != 0) {
                fprintf(stderr, "no engine: %s\n", message);
                abort();
        }
        CHECK(pthread_create(&s->loop, NULL, loop, s) == 0);
}

/* Promise 10: prompt, whatever is going on. */
static void stop(struct stage *s, int64_t limit_ms)
{
        int64_t from = clock_boot_ms();

        engine_process_stop(s->process);
        pthread_join(s->loop, NULL);
        CHECK(s->loop_returned == 0);
        s->process = engine_process_free(s->process);
        CHECK(clock_boot_ms() - from < limit_ms);
        context_close(&s->context);
}

static char *definition(int client, int run, unsigned int ms)
{
        char *text;

        CHECK(asprintf(&text,
                       "{\"name\":\"w-%d-%d\",\"retry_policy\":{\"initial_delay\":0,\"max_delay\":0},"
                       "\"servers\":[{\"name\":\"a-%d-%d\",\"provider\":\"testcloud\",\"testcloud\":{"
                       "\"pending_ms\":%u}},{\"name\":\"b-%d-%d\",\"provider\":\"testcloud\","
                       "\"testcloud\":{\"begin_ms\":%u,\"fail\":[{\"attempt\":1,\"class\":\"TRANSIENT\","
                       "\"effect\":\"UNKNOWN\"}]}},{\"name\":\"c-%d-%d\",\"provider\":\"noop\"}],"
                       "\"operations\":[{\"id\":\"make\",\"type\":\"create\",\"target\":\"server\","
                       "\"items\":[\"a-%d-%d\",\"b-%d-%d\",\"c-%d-%d\"],\"on_failure\":\"fail\"},"
                       "{\"id\":\"put\",\"type\":\"create\",\"target\":\"taskserv\",\"items\":["
                       "\"testtop\"],\"depends_on\":[\"make\"],\"on_failure\":\"fail\",\"vars\":{"
                       "\"testserv\":{\"begin_ms\":%u}}}]}",
                       client, run, client, run, ms, client, run, ms, client, run, client, run,
                       client, run, client, run, ms) > 0);
        return text;
}

struct client {
        struct stage *stage;
        int number;
        unsigned int ms;
};

/* Submits some runs and looks at all there is meanwhile. */
static void *be_a_client(void *userdata)
{
        struct client *c = userdata;

        for (int i = 0; i < RUNS; i++) {
                char *text = definition(c->number, i, c->ms), *answer, path[64];
                int status = ask(c->stage, "POST", "/workflows/batch", text, &answer);

                if (status != 202)
                        fprintf(stderr, "answer %d: %s\n", status, answer);
                CHECK(status == 202);
                free(answer);
                free(text);
                snprintf(path, sizeof(path), "/workflows/w-%d-%d/status", c->number, i);
                CHECK(ask(c->stage, "GET", path, NULL, NULL) == 200);
                CHECK(ask(c->stage, "GET", "/workflows", NULL, NULL) == 200);
                CHECK(ask(c->stage, "GET", "/resources", NULL, NULL) == 200);
                snprintf(path, sizeof(path), "/workflows/w-%d-%d/events?from=0&follow=0", c->number, i);
                CHECK(ask(c->stage, "GET", path, NULL, NULL) == 200);
                CHECK(ask(c->stage, "GET", "/workflows/nobody/status", NULL, NULL) == 404);
        }
        return NULL;
}

static void submit_all(struct stage *s, unsigned int ms)
{
        struct client clients[CLIENTS];
        pthread_t threads[CLIENTS];

        for (int i = 0; i < CLIENTS; i++) {
                clients[i] = (struct client){s, i, ms};
                CHECK(pthread_create(&threads[i], NULL, be_a_client, &clients[i]) == 0);
        }
        for (int i = 0; i < CLIENTS; i++)
                pthread_join(threads[i], NULL);
}

/* All runs, and all of them succeeded but `cancelled` ones. */
static void wait_for_all(struct stage *s)
{
        int64_t until = clock_boot_ms() + PATIENCE_MS;

        for (int n = 0, running = 1; running; poll(NULL, 0, 20)) {
                char *answer;
                json_t *all, *run, *list;
                size_t i;

                CHECK(clock_boot_ms() < until);
                CHECK(ask(s, "GET", "/workflows", NULL, &answer) == 200);
                CHECK(json_parse(answer, strlen(answer), &all, NULL) == 0);
                list = json_object_get(all, "workflows");
                running = n = 0;
                json_array_foreach (list, i, run) {
                        const char *status = json_get_string(run, "status", "");

                        n += streq(status, "succeeded");
                        running += streq(status, "running");
                }
                CHECK(running || n == CLIENTS * RUNS);
                json_decref(all);
                free(answer);
        }
}

static void once_through(const struct test_site *site)
{
        struct stage s = {0};

        puts("clients submit and look at the same time");
        start(&s, site);
        submit_all(&s, 2);
        wait_for_all(&s);
        CHECK(atomic_load(&s.ends) == CLIENTS * RUNS);
        stop(&s, STOP_MS);
}

static void stopped_while_busy(const struct test_site *site)
{
        struct stage s = {0};

        puts("an engine is stopped in the middle of it all, a successor goes on");
        start(&s, site);
        submit_all(&s, 300);
        CHECK(atomic_load(&s.ends) < CLIENTS * RUNS);
        stop(&s, STOP_MS);
        for (int i = 0; i < 3; i++) { /* successors that get no further either */
                s = (struct stage){0};
                start(&s, site);
                ask(&s, "GET", "/workflows", NULL, NULL);
                stop(&s, STOP_MS);
        }
        s = (struct stage){0};
        start(&s, site);
        wait_for_all(&s);
        stop(&s, STOP_MS);
}

static void a_test(void (*f)(const struct test_site *site))
{
        const char *build = getenv("PRVNG_TEST_BUILD");
        struct test_plugin plugins[] = {
                {.name = "file"},
                {.name = "json"},
                {.name = "noop"},
                {.name = "testcloud", .config = "folder = \"@SITE@/world\";"},
                {.name = "testserv", .config = "folder = \"@SITE@/world\";"},
                {.name = "testtop", .config = "folder = \"@SITE@/world\";"},
        };
        struct test_site site;
        char store[4096], loader[4096];

        CHECK(build);
        snprintf(store, sizeof(store), "%s/plugins/file.so", build);
        snprintf(loader, sizeof(loader), "%s/plugins/json.so", build);
        plugins[0].file = store;
        plugins[1].file = loader;
        test_site_new(&site, plugins, N_ELEMENTS(plugins), "workers = 6;\n");
        f(&site);
        CHECK(test_site_count(&site, "world/violations") == 0);
        CHECK(test_site_count(&site, "world/effects") == CLIENTS * RUNS * 8);
        test_site_remove(&site);
}

int main(void)
{
        a_test(once_through);
        a_test(stopped_while_busy);
        return 0;
}
