/* SPDX-License-Identifier: Apache-2.0 */
/* prvng batch submit */
#include "daemon.h"
#include "follow.h"
#include "submit.h"

#include <pthread.h>
#include <time.h>

#define STOP_S 2 /* promise 10 */

static void put_body(struct buf *b, const struct cli *cli, const struct source *s, const char *id)
{
        BUF_LIT(b, "{\"id\":");
        buf_json(b, id);
        buf_putc(b, ',');
        put_source(b, cli, s);
        BUF_LIT(b, "}");
}

static int validated(const struct cli *cli, const struct source *s)
{
        uint32_t n = 0;

        if (cli->format != FORMAT_TABLE) {
                json_t *doc = json_pack("{s:b, s:s, s:[]}", "valid", 1, "name", s->definition->name,
                                        "problems");

                print_document(cli, doc);
                json_decref(doc);
                return 0;
        }
        for (uint32_t i = 0; i < s->plan->n_tasks; i++)
                n += s->plan->tasks[i].verb != PLAN_JOIN;
        printf("%s is valid: %s, %u operations, %u tasks\n", cli->args[0], s->definition->name,
               s->plan->n_operations, n);
        return 0;
}

/* --foreground */

struct foreground {
        struct context context;
        struct daemon *daemon;
        pthread_t thread;
};

static void *foreground_thread(void *userdata)
{
        struct foreground *f = userdata;
        _cleanup_(cleanup_free) char *message = NULL;

        /* The HTTP thread would go on without an engine behind it: nobody would be told. */
        if (daemon_run(f->daemon, 0, &message) != 0) {
                fprintf(stderr, "\nprvng: the engine ended: %s\n", message ? message : "out of memory");
                _exit(EXIT_UNUSABLE);
        }
        return NULL;
}

static int foreground_start(struct foreground *f, const struct cli *cli)
{
        _cleanup_(cleanup_free) char *message = NULL;
        int r;

        r = context_open(cli->config, NULL, &f->context);
        if (r)
                return r;
        r = daemon_new(&f->context, &f->daemon, &message);
        if (r) {
                complain(cli, "no engine in the foreground: %s", message ? message : "out of memory");
                context_close(&f->context);
                return r;
        }
        if (pthread_create(&f->thread, NULL, foreground_thread, f) != 0) {
                complain(cli, "no room for another thread");
                daemon_free(f->daemon);
                context_close(&f->context);
                return EXIT_UNUSABLE;
        }
        return 0;
}

static void foreground_end(struct foreground *f, int code)
{
        struct timespec deadline;

        daemon_stop(f->daemon);
        clock_gettime(CLOCK_REALTIME, &deadline);
        deadline.tv_sec += STOP_S;
        if (pthread_timedjoin_np(f->thread, NULL, &deadline) != 0) {
                fflush(stdout);
                _exit(code); /* a plugin does not return; the next engine finds out what it did */
        }
        if (!daemon_free(f->daemon)) /* else a plugin is still in a call */
                context_close(&f->context);
}

/* Submitting */

static int post(const struct cli *cli, const struct source *s, const struct config *config,
                unsigned flags)
{
        _cleanup_(cleanup_client) struct client client = {.folder = -1};
        _cleanup_(cleanup_json_decref) json_t *answer = NULL;
        _cleanup_(cleanup_buf) struct buf body = BUF_NULL;
        char id[UID_TEXT];
        int r;

        r = client_init(&client, cli, config);
        r = r ?: new_run_id(cli, id);
        if (r)
                return r;
        client.may_start = !(flags & FOLLOW_FOREGROUND);
        put_body(&body, cli, s, id);
        if (buf_error(&body)) {
                complain(cli, "out of memory");
                return EXIT_UNUSABLE;
        }
        r = submit_post(&client, "/workflows/batch", &body, s, &answer);
        if (r)
                return r;
        return after_submit(&client, id, answer,
                            option_given(cli, "watch") || flags & FOLLOW_FOREGROUND, flags);
}

static int post_foreground(const struct cli *cli, const struct source *s, const struct config *config)
{
        struct foreground f = {0};
        int r = foreground_start(&f, cli);

        if (r)
                return r;
        r = post(cli, s, config, FOLLOW_FOREGROUND);
        foreground_end(&f, r);
        return r;
}

int batch_submit(struct cli *cli)
{
        _cleanup_(cleanup_look) struct look look = {0};
        _cleanup_(cleanup_source) struct source source = {0};
        int r;

        if (option_given(cli, "online") && !option_given(cli, "validate") && !option_given(cli, "dry-run")) {
                complain(cli, "--online goes with --validate or --dry-run");
                return EXIT_USAGE;
        }
        r = look_open(&look, cli, "loader provider taskserv template");
        r = r ?: source_load(&source, cli, cli->args[0], &look.context);
        r = r ?: source_plan(&source, &look);
        if (r)
                return r;
        if (option_given(cli, "validate")) {
                r = option_given(cli, "online") ? source_ask(&source, &look) : 0;
                return r ?: validated(cli, &source);
        }
        if (option_given(cli, "dry-run")) {
                if (cli->format == FORMAT_TABLE || !option_given(cli, "online"))
                        print_plan(cli, source.plan);
                r = option_given(cli, "online") ? source_ask(&source, &look) : 0;
                if (r == 0 && cli->format != FORMAT_TABLE && option_given(cli, "online"))
                        print_plan(cli, source.plan);
                return r;
        }
        print_differences(cli, source.plan);
        if (option_given(cli, "foreground"))
                return post_foreground(cli, &source, look.context.config);
        return post(cli, &source, look.context.config, 0);
}
