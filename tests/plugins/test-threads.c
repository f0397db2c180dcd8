/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many threads at the border and in the host services: a plain program, since criterion aborts
 * under TSan, which is where this one earns its keep (-Dsanitize=thread).
 */
#include "base/clock.h"
#include "host/host.h"
#include "plugin/border.h"
#include "../support/site.h"

#include <limits.h>
#include <pthread.h>

enum { THREADS = 6, ROUNDS = 300 };

#define CHECK(x)                                                                                   \
        do {                                                                                       \
                if (!(x)) {                                                                        \
                        fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #x);            \
                        abort();                                                                   \
                }                                                                                  \
        } while (0)

static struct plugins *plugins;
static const struct prvng_host *table;
static struct host *host;

static void log_line(void *data, int32_t level, const char *plugin, const char *topic,
                     const char *run, const char *task, const char *message)
{
}

static void progress(struct op_call *call, uint32_t permille, const char *message)
{
}

static void one_round(int round)
{
        struct plugin *noop = plugins_find(plugins, "provider", "noop");
        struct plugin *serial = plugins_find(plugins, "provider", "misbehaves");
        struct op_reply reply = OP_REPLY_NULL;
        char text[64];
        struct op_call call;

        op_call_init(&call, noop, "0", 1, INT64_MAX, 1, "run", "task");
        call.on_progress = progress;
        op_begin(&call, "create", "{}", 2, &reply);
        CHECK(reply.answer == PRVNG_DONE);
        op_call_deinit(&call);

        op_call_init(&call, serial, "0", 1, INT64_MAX, 1, "run", "task");
        op_begin(&call, "create", "answer=-1 error=-1 effect=0", 27, &reply);
        CHECK(reply.answer == PRVNG_TRANSIENT && reply.effect == PRVNG_EFFECT_NONE);
        op_prepare(&call, "create", "{}", 2, &reply);
        CHECK(reply.answer == PRVNG_DONE);
        op_call_deinit(&call);
        op_reply_deinit(&reply);

        snprintf(text, sizeof(text), "string-%d", round % 7);
        CHECK(table->intern(table, text) == table->intern(table, text));
        table->log(table, PRVNG_LOG_INFO, "thread", text);
}

static void *work(void *data)
{
        for (int i = 0; i < ROUNDS; i++)
                one_round(i);
        return NULL;
}

static void *hold(void *data)
{
        struct op_reply reply = OP_REPLY_NULL;
        struct op_call *call = data;

        op_begin(call, "create", "wait=1 ", 7, &reply); /* spins until cancelled */
        CHECK(reply.answer == PRVNG_DONE || reply.answer == PRVNG_CANCELLED);
        op_reply_deinit(&reply);
        return NULL;
}

/* Several calls of a serial plugin, cancelled from here in any order: all come back. */
static void cancel_all(void)
{
        struct plugin *serial = plugins_find(plugins, "provider", "misbehaves");
        struct op_call calls[THREADS];
        pthread_t threads[THREADS];

        for (int i = 0; i < THREADS; i++) {
                op_call_init(&calls[i], serial, "0", 1, INT64_MAX, 1, "run", "task");
                CHECK(pthread_create(&threads[i], NULL, hold, &calls[i]) == 0);
        }
        for (int i = THREADS - 1; i >= 0; i--)
                op_call_cancel(&calls[i]);
        for (int i = 0; i < THREADS; i++) {
                pthread_join(threads[i], NULL);
                op_call_deinit(&calls[i]);
        }
}

/* What all threads together get of one account keeps to the limit. */
static void *take_rate(void *data)
{
        struct plugin *noop = plugins_find(plugins, "provider", "noop");
        const struct prvng_host_rate *rate = table->get_interface(table, PRVNG_HOST_RATE);
        struct op_call call;

        op_call_init(&call, noop, "0", 1, INT64_MAX, 1, "run", "task");
        for (int i = 0; i < 5; i++)
                CHECK(rate->acquire(&call.pub, "account", 200) == PRVNG_DONE);
        op_call_deinit(&call);
        return NULL;
}

static void in_threads(void *(*f)(void *))
{
        pthread_t threads[THREADS];

        for (uintptr_t i = 0; i < THREADS; i++)
                CHECK(pthread_create(&threads[i], NULL, f, (void *)i) == 0);
        for (int i = 0; i < THREADS; i++)
                pthread_join(threads[i], NULL);
}

int main(void)
{
        struct host_hooks hooks = {.log = log_line};
        struct problems problems = PROBLEMS_NULL;
        struct config *config;
        struct test_site site;
        int64_t start;

        test_site_new(&site, (struct test_plugin[]){{"noop"}, {"misbehaves"}}, 2, NULL);
        CHECK(config_load(site.conf, &problems, &config) == 0 && problems.n == 0);
        CHECK(host_new(config, &hooks, &host) == 0);
        CHECK(plugins_load(config, host, NULL, 0, &plugins) == 0);
        table = host_table_for(host, "threads");
        in_threads(work);
        cancel_all();
        start = clock_boot_ms();
        in_threads(take_rate);
        CHECK(clock_boot_ms() - start >= (THREADS * 5 - 1) * 5 - 1);
        plugins_free(plugins);
        host_free(host);
        config_free(config);
        test_site_remove(&site);
        return 0;
}
