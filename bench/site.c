/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include <time.h>

static void on_answer(void *userdata, void *request, int status, const char *body, size_t n_body)
{
        struct bench *b = request;

        if (!b) /* nobody waits for it */
                return;
        pthread_mutex_lock(&b->lock);
        b->answered_s = seconds();
        buf_clear(&b->answer);
        buf_append(&b->answer, body, n_body);
        b->status = status;
        pthread_cond_signal(&b->answered);
        pthread_mutex_unlock(&b->lock);
}

int bench_ask(struct bench *b, const char *method, const char *path, const struct buf *body)
{
        int status;

        pthread_mutex_lock(&b->lock);
        b->status = 0;
        engine_process_post(b->process, b, method, path, body ? body->data : "",
                            body ? body->n : 0);
        while (!b->status)
                pthread_cond_wait(&b->answered, &b->lock);
        status = b->status;
        pthread_mutex_unlock(&b->lock);
        return status;
}

static void *loop(void *argument)
{
        struct bench *b = argument;
        char *message = NULL;

        pthread_setname_np(pthread_self(), "loop");
        if (engine_process_run(b->process, 0, &message))
                bench_fail("the engine stopped: %s", message);
        return NULL;
}

void bench_start(struct bench *b)
{
        char *message = NULL;

        b->hooks.on_answer = on_answer;
        if (engine_process_new(&b->context, &b->hooks, &b->process, &message))
                bench_fail("%s", message);
        pthread_create(&b->thread, NULL, loop, b);
        bench_ask(b, "GET", "/healthz", NULL); /* answered when the first calls have left */
}

void bench_stop(struct bench *b)
{
        engine_process_stop(b->process);
        pthread_join(b->thread, NULL);
        b->process = engine_process_free(b->process);
}

/* The stores are plugins as others: built, or not. */
static const char *store_file(const char *store)
{
        return getenv(streq(store, "rkvs") ? "PRVNG_TEST_RKVS" : "PRVNG_TEST_STORE");
}

const char *bench_store_absent(const char *store)
{
        const char *file = store_file(store);

        if (!file || !*file)
                return "the store is not part of this build";
        return access(file, R_OK) == 0 ? NULL : "the store is not built";
}

void bench_open(struct bench *b, const char *store, const char *provider)
{
        const struct test_plugin plugins[] = {
                {.name = provider},
                {.name = "testcloud"},
                {.name = store, .file = store_file(store)},
                {.name = "json", .file = getenv("PRVNG_TEST_JSON")},
        };
        char more[128];

        *b = (struct bench){.lock = PTHREAD_MUTEX_INITIALIZER,
                            .answered = PTHREAD_COND_INITIALIZER};
        snprintf(more, sizeof(more), "provider = \"%s\"; store = \"%s\";", provider, store);
        test_site_new(&b->site, plugins, N_ELEMENTS(plugins), more);
        if (context_open(b->site.conf, NULL, &b->context))
                bench_fail("the site cannot be used");
        b->store_folder = journals_folder(b->context.config, b->context.config->store);
        if (!b->store_folder)
                bench_fail("no memory");
}

void bench_close(struct bench *b)
{
        context_close(&b->context);
        buf_deinit(&b->answer);
        free(b->store_folder);
        test_site_remove(&b->site);
}

double bench_number(struct bench *b, const char *name)
{
        const char *p = strstr(buf_str(&b->answer), name);

        if (!p)
                bench_fail("no %s in: %.200s", name, buf_str(&b->answer));
        return strtod(p + strlen(name), NULL);
}

void bench_submit(struct bench *b, const struct buf *body)
{
        if (bench_ask(b, "POST", "/workflows/batch", body) != 202)
                bench_fail("%.2000s", buf_str(&b->answer));
}

void bench_wait_for_end(struct bench *b)
{
        struct timespec pause = {.tv_nsec = 5000000}; /* looking costs time, too */

        for (;; nanosleep(&pause, NULL)) {
                bench_ask(b, "GET", "/workflows", NULL);
                if (strstr(buf_str(&b->answer), "\"exit_code\":0"))
                        return;
                if (!strstr(buf_str(&b->answer), "\"exit_code\":null"))
                        bench_fail("the run failed: %s", buf_str(&b->answer));
        }
}
