/* SPDX-License-Identifier: Apache-2.0 */
/* The engine as a process over the real store `file`: what it does with what a crash left. */
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
static char file_name[] = "file", no_config[] = "{}";
static struct config config;
static struct config_plugin file_store;
static struct context context;

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        return remove(path);
}

static void setup(void)
{
        char *path = getenv("PRVNG_TEST_STORE");

        cr_assert(path, "PRVNG_TEST_STORE names the store's file");
        cr_assert(mkdtemp(folder));
        file_store = (struct config_plugin){.name = file_name, .file = path, .enabled = true,
                                            .config = no_config, .from = file_name};
        config = (struct config){.state = folder, .cache = folder, .store = file_name, .workers = 1,
                                 .plugin_path = (char *[]){NULL}, .plugins = &file_store,
                                 .n_plugins = 1};
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
static void orphan(bool answered)
{
        _cleanup_(cleanup_free) char *message = NULL;
        struct journal *j = NULL;
        struct stream *s = NULL;
        struct record halt = {.type = RECORD_HALT, .message = span_of("x")};
        struct record done = {.type = RECORD_DONE};

        cr_assert_eq(site_open_store(&context, false, &j, &message), 0, "%s", message);
        cr_assert_eq(stream_open(j, STREAM, NULL, NULL, &s), 0);
        stream_append(s, &halt);
        if (answered)
                stream_append(s, &done);
        cr_assert_eq(stream_commit(s), 0);
        stream_close(s);
        journal_close(j);
}

static bool exists(const char *name)
{
        char path[256];

        snprintf(path, sizeof(path), "%s/stores/file/streams/%s", folder, name);
        return access(path, F_OK) == 0;
}

Test(process, removes_what_a_crash_between_two_commits_left)
{
        start(0, NULL);
        orphan(false);
        start(0, NULL);
        cr_assert(!exists(STREAM));
}

/* A site stream from an older backup knows nothing of what was made since. */
Test(process, refuses_to_remove_a_run_that_has_done_something)
{
        start(0, NULL);
        orphan(true);
        start(7, STREAM);
        cr_assert(exists(STREAM));
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
