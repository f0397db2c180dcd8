/* SPDX-License-Identifier: Apache-2.0 */
#include "host/host.h"

#include "base/clock.h"
#include "host/call.h"
#include "../../tests/support/site.h"
#include <prvng/prvng.h>

#include <criterion/criterion.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

struct fixture {
        struct test_site site;
        struct config *config;
        struct host *host;
        const struct prvng_host *table;
        struct op_reply reply;
        struct op_call call;
        struct buf log;
};

static void log_line(void *data, int32_t level, const char *plugin, const char *topic,
                     const char *run, const char *task, const char *message)
{
        buf_printf(data, "%d %s %s %s %s %s\n", level, plugin, topic, run, task, message);
}

static void setup(struct fixture *f)
{
        struct host_hooks hooks = {.log = log_line, .userdata = &f->log};
        struct problems problems = PROBLEMS_NULL;

        *f = (struct fixture){.reply = OP_REPLY_NULL};
        test_site_new(&f->site, NULL, 0, NULL);
        cr_assert_eq(config_load(f->site.conf, &problems, &f->config), 0);
        cr_assert_eq(host_new(f->config, &hooks, &f->host), 0);
        f->table = host_table_for(f->host, "cloud");
        f->call = (struct op_call){.pub = {.struct_size = sizeof(f->call.pub), .op_id = "",
                                           .deadline_ms = INT64_MAX},
                                   .host = f->host, .plugin_name = "cloud", .run = "RUN",
                                   .task = "op/web-0", .cancel_fd = -1, .reply = &f->reply};
}

static void end(struct fixture *f)
{
        if (f->call.cancel_fd >= 0)
                close(f->call.cancel_fd);
        free(f->reply.message);
        free(f->reply.field);
        buf_deinit(&f->log);
        host_free(f->host);
        config_free(f->config);
        test_site_remove(&f->site);
}

Test(host, logs_with_names_and_harmless_text)
{
        struct fixture f;

        setup(&f);
        f.table->log(f.table, PRVNG_LOG_INFO, "network", "up\x1b[31m\xff \xc3\xa4 \xc2\x9b\n");
        host_current_call = &f.call;
        f.table->log(f.table, 99, NULL, "inside");
        host_current_call = NULL;
        f.table->log(f.table, PRVNG_LOG_INFO, "x", NULL);
        cr_assert_str_eq(buf_str(&f.log), "2 cloud network   up?[31m? \xc3\xa4 ?\n\n"
                                          "3 cloud  RUN op/web-0 inside\n");
        end(&f);
}

Test(host, keeps_why_create_failed)
{
        _cleanup_(cleanup_buf) struct buf said = BUF_NULL;
        struct fixture f;

        setup(&f);
        host_capture_errors(&said);
        f.table->log(f.table, PRVNG_LOG_ERROR, "create", "no key");
        f.table->log(f.table, PRVNG_LOG_ERROR, "create", "no luck");
        f.table->log(f.table, PRVNG_LOG_WARN, "create", "by the way");
        host_capture_errors(NULL);
        cr_assert_str_eq(buf_str(&said), "no key; no luck");
        cr_assert_str_eq(buf_str(&f.log), "1 cloud create   by the way\n");
        end(&f);
}

Test(host, error_records_by_the_size_rule)
{
        struct {
                struct prvng_error e;
                char later[64];
        } big = {.e = {.struct_size = sizeof(big), .error_class = PRVNG_QUOTA, .effect = 77,
                       .retry_after_ms = -9, .message = "full\x01", .field = "spec.memory"}};
        struct fixture f;

        setup(&f);
        f.table->error(&f.call.pub, &big.e);
        cr_assert_str_eq(f.reply.message, "full?");
        cr_assert_str_eq(f.reply.field, "spec.memory");
        cr_assert_eq(f.reply.effect, PRVNG_EFFECT_UNKNOWN);
        cr_assert_eq(f.reply.retry_after_ms, -1);
        big.e.struct_size = PRVNG_ERROR_BASELINE - 1;
        big.e.message = "not seen";
        f.table->error(&f.call.pub, &big.e);
        cr_assert_str_eq(f.reply.message, "full?");
        cr_assert_eq(op_call_fail(&f.call.pub, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, 5, "n=%d", 3),
                     PRVNG_TRANSIENT);
        cr_assert_str_eq(f.reply.message, "n=3");
        cr_assert_eq(f.call.said_class, PRVNG_TRANSIENT);
        end(&f);
}

Test(host, sinks_have_limits)
{
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;
        struct prvng_sink sink = SINK(&b, 4);
        struct fixture f;

        setup(&f);
        cr_assert_eq(f.table->sink_write(&sink, "abc", 3), 0);
        cr_assert_eq(f.table->sink_write(&sink, "de", 2), -ENOSPC);
        cr_assert_eq(f.table->sink_write(&sink, "d", 1), -ENOSPC, "an error stays");
        cr_assert_str_eq(buf_str(&b), "abc");
        sink = SINK(&b, 4);
        cr_assert_eq(f.table->sink_write(&sink, "x", UINT64_MAX), -ENOSPC);
        end(&f);
}

Test(host, interns)
{
        struct fixture f;
        char one[] = "zone-1", two[] = "zone-1";
        const char *a;

        setup(&f);
        a = f.table->intern(f.table, one);
        cr_assert(a != one && streq(a, "zone-1"));
        cr_assert_eq(a, f.table->intern(f.table, two));
        cr_assert_eq(a, host_table(f.host)->intern(host_table(f.host), two));
        cr_assert_null(f.table->intern(f.table, NULL));
        end(&f);
}

Test(host, interfaces_by_exact_id)
{
        static const int table = 0;
        struct fixture f;

        setup(&f);
        cr_assert_not_null(f.table->get_interface(f.table, PRVNG_HOST_WORKDIR));
        cr_assert_null(f.table->get_interface(f.table, PRVNG_HOST_WORKDIR "0"));
        cr_assert_null(f.table->get_interface(f.table, "prvng.host.workdir"));
        cr_assert_null(f.table->get_interface(f.table, NULL));
        cr_assert_null(f.table->get_interface(f.table, PRVNG_HOST_DOCUMENT));
        cr_assert_eq(host_provide(f.host, PRVNG_HOST_DOCUMENT, &table), 0);
        cr_assert_eq(f.table->get_interface(f.table, PRVNG_HOST_DOCUMENT), &table);
        end(&f);
}

static void *cancel(void *data)
{
        struct op_call *call = data;

        /* as op_call_cancel() does, which stands in a module above */
        __atomic_store_n(&call->cancelled, 1, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&call->cancel_fd, __ATOMIC_SEQ_CST) >= 0)
                eventfd_write(call->cancel_fd, 1);
        return NULL;
}

Test(host, cancel_fd_whatever_the_order)
{
        struct fixture f;
        pthread_t thread;

        setup(&f);
        for (int i = 0; i < 500; i++) {
                struct pollfd fd = {.events = POLLIN};

                f.call.cancelled = 0;
                f.call.cancel_fd = -1;
                pthread_create(&thread, NULL, cancel, &f.call);
                fd.fd = f.table->cancel_fd(&f.call.pub);
                cr_assert_geq(fd.fd, 0);
                cr_assert_eq(fd.fd, f.table->cancel_fd(&f.call.pub), "one for a call");
                cr_assert_eq(poll(&fd, 1, 10000), 1);
                cr_assert_eq(f.table->is_cancelled(&f.call.pub), 1);
                pthread_join(thread, NULL);
                close(fd.fd);
                f.call.cancel_fd = -1;
        }
        end(&f);
}

Test(workdir, folders)
{
        const struct prvng_host_workdir *w;
        _cleanup_(cleanup_free) char *task = NULL, *state = NULL;
        struct fixture f;
        struct stat st;

        setup(&f);
        w = f.table->get_interface(f.table, PRVNG_HOST_WORKDIR);
        task = test_site_path(&f.site, "state/prvng/runs/RUN/op:web-0");
        state = test_site_path(&f.site, "state/prvng/plugins/cloud");
        cr_assert_str_eq(w->task(&f.call.pub), task);
        cr_assert_str_eq(w->state(f.table, "cloud"), state);
        cr_assert_eq(stat(state, &st), 0);
        cr_assert_eq(st.st_mode & 07777, 0700);
        cr_assert_not_null(w->cache(f.table, "cloud"));
        cr_assert_null(w->state(f.table, "../../etc"));
        cr_assert_null(w->state(f.table, ".."));
        cr_assert_null(w->state(f.table, ""));
        f.call.task = "";
        cr_assert_null(w->task(&f.call.pub));
        end(&f);
}

Test(output, goes_to_the_tasks_file)
{
        _cleanup_(cleanup_free) char *path = NULL;
        char text[16] = "";
        struct fixture f;
        FILE *file;

        setup(&f);
        host_output(f.host, "RUN", "op/web-0", "one\n", 4);
        host_output(f.host, "RUN", "op/web-0", "two\n", 4);
        host_output(f.host, "", "", "lost", 4);
        path = test_site_path(&f.site, "state/prvng/runs/RUN/op:web-0/output.log");
        file = fopen(path, "re");
        cr_assert_eq(fread(text, 1, sizeof(text), file), 8);
        fclose(file);
        cr_assert_str_eq(text, "one\ntwo\n");
        end(&f);
}

Test(rate, spaces_requests)
{
        const struct prvng_host_rate *rate;
        struct fixture f;
        int64_t start;

        setup(&f);
        rate = f.table->get_interface(f.table, PRVNG_HOST_RATE);
        start = clock_boot_ms();
        for (int i = 0; i < 6; i++)
                cr_assert_eq(rate->acquire(&f.call.pub, "a", 50), PRVNG_DONE);
        cr_assert_geq(clock_boot_ms() - start, 5 * 20 - 1, "six in less time than five gaps");
        start = clock_boot_ms();
        cr_assert_eq(rate->acquire(&f.call.pub, "another", 1), PRVNG_DONE);
        cr_assert_leq(clock_boot_ms() - start, 500, "accounts do not wait for each other");
        end(&f);
}

/* What the site says comes before what the plugin asks for. */
Test(rate, the_site_decides)
{
        const struct prvng_host_rate *rate;
        struct fixture f;
        int64_t start;

        setup(&f);
        rate = f.table->get_interface(f.table, PRVNG_HOST_RATE);
        cr_assert_eq(host_rate_limit_of(f.host, "cloud", 3), 3, "nothing was set");
        host_set_rate_limit(f.table, 50);
        cr_assert_eq(host_rate_limit(f.table), 50);
        start = clock_boot_ms();
        for (int i = 0; i < 6; i++)
                cr_assert_eq(rate->acquire(&f.call.pub, "a", 100000), PRVNG_DONE);
        cr_assert_geq(clock_boot_ms() - start, 5 * 20 - 1, "six in less time than five gaps");
        host_set_rate_limit(f.table, 0);
        f.call.pub.deadline_ms = clock_boot_ms() + 10000; /* a slot a second would be too late */
        for (int i = 0; i < 100; i++)
                cr_assert_eq(rate->acquire(&f.call.pub, "b", 1), PRVNG_DONE);
        end(&f);
}

Test(rate, gives_up_at_the_deadline)
{
        const struct prvng_host_rate *rate;
        struct fixture f;

        setup(&f);
        rate = f.table->get_interface(f.table, PRVNG_HOST_RATE);
        cr_assert_eq(rate->acquire(&f.call.pub, "a", 1), PRVNG_DONE);
        f.call.pub.deadline_ms = clock_boot_ms() + 50;
        cr_assert_eq(rate->acquire(&f.call.pub, "a", 1), PRVNG_TRANSIENT);
        cr_assert_eq(f.reply.effect, PRVNG_EFFECT_NONE);
        cr_assert_leq(clock_boot_ms(), f.call.pub.deadline_ms, "at once, not at the deadline");
        end(&f);
}

static void *cancel_later(void *data)
{
        usleep(30000);
        return cancel(data);
}

Test(rate, a_wait_is_cancellable)
{
        const struct prvng_host_rate *rate;
        struct fixture f;
        pthread_t thread;

        setup(&f);
        rate = f.table->get_interface(f.table, PRVNG_HOST_RATE);
        cr_assert_eq(rate->acquire(&f.call.pub, "a", 10), PRVNG_DONE);
        rate->back_off(&f.call.pub, "a", 3600000);
        pthread_create(&thread, NULL, cancel_later, &f.call);
        cr_assert_eq(rate->acquire(&f.call.pub, "a", 10), PRVNG_CANCELLED);
        pthread_join(thread, NULL);
        end(&f);
}

Test(rate, backs_off)
{
        const struct prvng_host_rate *rate;
        struct fixture f;
        int64_t start;

        setup(&f);
        rate = f.table->get_interface(f.table, PRVNG_HOST_RATE);
        cr_assert_eq(rate->acquire(&f.call.pub, "a", 100), PRVNG_DONE);
        start = clock_boot_ms();
        rate->back_off(&f.call.pub, "a", 150);
        rate->back_off(&f.call.pub, "a", 10); /* the longer pause stays; no second halving */
        cr_assert_eq(rate->acquire(&f.call.pub, "a", 100), PRVNG_DONE);
        cr_assert_geq(clock_boot_ms() - start, 149, "none leaves before retry_after");
        start = clock_boot_ms();
        for (int i = 0; i < 5; i++)
                cr_assert_eq(rate->acquire(&f.call.pub, "a", 100), PRVNG_DONE);
        /* about 50 a second now; it recovers by less than 2 a second */
        cr_assert_geq(clock_boot_ms() - start, 5 * 18);
        end(&f);
}
