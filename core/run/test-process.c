/* SPDX-License-Identifier: Apache-2.0 */
/* The engine as a process over the real stores: what it does with what a crash left. */
#include "host/host.h"
#include "run/engine-process.h"
#include "run/workers.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <semaphore.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

static char folder[] = "/tmp/prvng-process-XXXXXX";
static char file_name[] = "file", rkvs_name[] = "rkvs", no_config[] = "{}";
static struct config config;
static struct config_plugin stores[2];
static struct context context;

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        return remove(path);
}

static void setup(void)
{
        char *path = getenv("PRVNG_TEST_STORE"), *rkvs = getenv("PRVNG_TEST_RKVS");

        cr_assert(path && rkvs, "PRVNG_TEST_STORE and PRVNG_TEST_RKVS name the stores' files");
        cr_assert(mkdtemp(folder));
        stores[0] = (struct config_plugin){.name = file_name, .file = path, .enabled = true,
                                           .config = no_config, .from = file_name};
        stores[1] = stores[0];
        stores[1].name = rkvs_name;
        stores[1].file = rkvs;
        config = (struct config){.state = folder, .cache = folder, .store = file_name, .workers = 1,
                                 .plugin_path = (char *[]){NULL}, .plugins = stores,
                                 .n_plugins = N_ELEMENTS(stores)};
        context.config = &config;
        cr_assert_eq(host_new(&config, NULL, &context.host), 0);
        cr_assert_eq(plugins_load(&config, context.host, NULL, 0, &context.plugins), 0);
}

static void teardown(void)
{
        plugins_free(context.plugins);
        host_free(context.host);
        nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(process, .init = setup, .fini = teardown);

/* 0, or 7 with a message that names `about`. */
static void start(int expected, const char *about)
{
        _cleanup_(cleanup_free) char *message = NULL;
        struct engine_process *p = NULL;
        int r = engine_process_new(&context, NULL, &p, &message);

        cr_assert_eq(r, expected, "%s", message ?: "no message");
        if (about)
                cr_assert(message && strstr(message, about), "%s", message ?: "no message");
        engine_process_free(p);
}

#define STREAM "run-01JD0000000000000000000001"

/* A stream that no record of the site stream names. */
static void orphan(const char *store, bool answered)
{
        _cleanup_(cleanup_free) char *message = NULL;
        struct journals *js = NULL;
        struct journal *j = NULL;
        struct stream *s = NULL;
        struct record halt = {.type = RECORD_HALT, .message = span_of("x")};
        struct record done = {.type = RECORD_DONE};

        cr_assert_eq(journals_open(&context, false, &js, &message), 0, "%s", message);
        cr_assert_eq(journals_get(js, store, &j, &message), 0, "%s", message);
        cr_assert_eq(stream_open(j, STREAM, NULL, NULL, &s), 0);
        stream_append(s, &halt);
        if (answered)
                stream_append(s, &done);
        cr_assert_eq(stream_commit(s), 0);
        stream_close(s);
        journals_close(js);
}

static bool exists(const char *store, const char *name)
{
        _cleanup_(cleanup_free) char *message = NULL;
        struct journals *js = NULL;
        struct journal *j = NULL;
        bool found = false;
        char **names;
        size_t n;

        cr_assert_eq(journals_open(&context, true, &js, &message), 0, "%s", message);
        cr_assert_eq(journals_get(js, store, &j, &message), 0, "%s", message);
        cr_assert_eq(journal_streams(j, &names, &n), 0);
        for (size_t i = 0; i < n; i++) {
                found |= streq(names[i], name);
                free(names[i]);
        }
        free(names);
        journals_close(js);
        return found;
}

/* In each store, whichever is the site's. */
static void in_each_store(void (*test)(const char *store))
{
        for (unsigned i = 0; i < 4; i++) {
                config.store = stores[i / 2].name;
                test(stores[i % 2].name);
                nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        }
}

static void removed(const char *store)
{
        start(0, NULL);
        orphan(store, false);
        cr_assert(exists(store, STREAM));
        start(0, NULL);
        cr_assert(!exists(store, STREAM), "the site's store is %s, this one is %s", config.store, store);
}

Test(process, removes_what_a_crash_between_two_commits_left)
{
        in_each_store(removed);
}

/* A run in flight that is kept in the store `rkvs`, all of it paused. */
static void run_in_rkvs(void)
{
        static const char name[] = "run-01JD0000000000000000000002";
        _cleanup_(cleanup_free) char *message = NULL;
        struct record accepted = {.type = RECORD_ACCEPTED, .name = span_of("w"), .kind = span_of("batch"),
                                  .store = span_of(rkvs_name), .stream = span_of(name),
                                  .who = span_of("{}"), .claims = span_of("[]")};
        struct record run = {.type = RECORD_RUN, .name = span_of("w"), .kind = span_of("batch"),
                             .who = span_of("{}"), .max_attempts = 1, .backoff = span_of("linear"),
                             .logging = span_of("{}"), .options = span_of("{}"), .notices = span_of("[]")};
        struct journals *js = NULL;
        struct journal *j = NULL;
        struct stream *s = NULL;

        cr_assert(uid_parse(name + 4, strlen(name + 4), &accepted.run));
        run.run = accepted.run;
        cr_assert_eq(journals_open(&context, false, &js, &message), 0, "%s", message);
        cr_assert_eq(journals_get(js, rkvs_name, &j, &message), 0, "%s", message);
        cr_assert_eq(stream_open(j, name, NULL, NULL, &s), 0);
        stream_append(s, &run);
        stream_append(s, &(struct record){.type = RECORD_PLANNED});
        stream_append(s, &(struct record){.type = RECORD_PAUSE, .who = span_of("{}")});
        cr_assert_eq(stream_commit(s), 0);
        stream_close(s);
        cr_assert_eq(stream_open(js->home, "site", NULL, NULL, &s), 0);
        stream_append(s, &(struct record){.type = RECORD_SITE, .site = accepted.run, .format = 2});
        stream_append(s, &accepted);
        cr_assert_eq(stream_commit(s), 0);
        stream_close(s);
        journals_close(js);
}

static int32_t (*really_open)(void *instance, struct prvng_call *call, const char *location, uint32_t flags,
                              uint64_t *ret_epoch);
static unsigned n_refusals;

static int32_t opens_later(void *instance, struct prvng_call *call, const char *location, uint32_t flags,
                           uint64_t *ret_epoch)
{
        if (n_refusals == 0)
                return really_open(instance, call, location, flags, ret_epoch);
        n_refusals--;
        return PRVNG_PERMANENT;
}

/* Whoever opens a store first: a client would find its own id there, with another plan. */
Test(process, removes_it_too_where_the_store_opens_later)
{
        struct plugin *rkvs = plugins_find(context.plugins, "store", rkvs_name);

        run_in_rkvs();
        orphan(rkvs_name, false);
        really_open = rkvs->store.open;
        rkvs->store.open = opens_later;
        n_refusals = 1;
        start(0, NULL);
        rkvs->store.open = really_open;
        cr_assert_eq(n_refusals, 0);
        cr_assert(!exists(rkvs_name, STREAM));
}

static void refused(const char *store)
{
        start(0, NULL);
        orphan(store, true);
        start(7, STREAM);
        start(7, store);
        cr_assert(exists(store, STREAM));
}

/* A site stream from an older backup knows nothing of what was made since. */
Test(process, refuses_to_remove_a_run_that_has_done_something)
{
        in_each_store(refused);
}

/* Another store in the configuration, and all that the site owns would be forgotten. */
Test(process, refuses_a_home_store_that_is_empty_where_another_one_is_not)
{
        _cleanup_(cleanup_free) char *message = NULL;
        struct engine_process *p = NULL;

        cr_assert_eq(engine_process_new(&context, NULL, &p, &message), 0, "%s", message);
        engine_process_stop(p);
        cr_assert_eq(engine_process_run(p, 0, &message), 0, "%s", message); /* commits once */
        cr_assert_null(engine_process_free(p));
        config.store = rkvs_name;
        start(7, "store = \"file\"");
        cr_assert(!exists(rkvs_name, "site"));
        start(7, "prvng store migrate");
        config.store = file_name;
        start(0, NULL);
}

static sem_t taken, go_on;
static unsigned n_asked;

static void busy(struct job *job)
{
        sem_post(&taken);
        sem_wait(&go_on);
}

static void asked(struct job *job)
{
        n_asked++;
}

/* A call whose time is over before a worker came to it never reaches its plugin. */
Test(workers, withdraw_what_no_worker_has_begun)
{
        struct job jobs[3] = {{.run = busy}, {.run = asked}, {.run = asked}};
        int wake = eventfd(0, EFD_CLOEXEC);
        struct workers *w = NULL;
        struct job *left = NULL;
        struct job *done;
        unsigned n = 0;

        sem_init(&taken, 0, 0);
        sem_init(&go_on, 0, 0);
        cr_assert_eq(workers_new(1, wake, &w), 0);
        jobs[0].next = &jobs[1];
        jobs[1].next = &jobs[2];
        workers_submit(w, jobs);
        sem_wait(&taken);
        cr_assert(!workers_backlog(w), "nobody is there to be woken for it");
        cr_assert(!workers_withdraw(w, &jobs[0]), "a worker has it");
        cr_assert(workers_withdraw(w, &jobs[2]));
        done = workers_collect(w);
        cr_assert_eq(done, &jobs[2]);
        cr_assert_null(done->next);
        sem_post(&go_on);
        while (n < 2)
                for (done = workers_collect(w); done; done = done->next)
                        n++;
        cr_assert_eq(n_asked, 1);
        cr_assert_null(workers_free(w, 10000, &left));
        cr_assert_null(left);
        close(wake);
}

static struct job hanging = {.run = busy};

Test(workers, say_that_a_job_does_not_return)
{
        int wake = eventfd(0, EFD_CLOEXEC);
        struct workers *w = NULL;
        struct job *left = NULL;

        sem_init(&taken, 0, 0);
        sem_init(&go_on, 0, 0);
        cr_assert_eq(workers_new(1, wake, &w), 0);
        workers_submit(w, &hanging);
        sem_wait(&taken);
        cr_assert_eq(workers_free(w, 10, &left), w);
        sem_post(&go_on);
        cr_assert_null(workers_free(w, 10000, &left));
        close(wake);
}
