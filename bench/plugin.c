/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the border costs. A call into a plugin of this process, beside the same function called through its
 * table and nothing else; and how long it takes to find out what 200 plugin files are, by their ELF notes,
 * without running any of their code.
 *
 * The same of a plugin in a process of its own: a call beside a bare round trip over a socketpair, of as many
 * bytes, with a process that does nothing but answer; how much a message costs that needs no answer, of which
 * many travel at once; and how long it takes from nothing to an instance.
 */
#include "bench.h"

#include "host/host.h"
#include "plugin/border.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { CALLS = 5000, SLICES = 101, FILES = 200 };
enum { TRIPS = 200, TRIP_SLICES = 31, QUESTION = 256, ANSWER = 64, MESSAGES = 1000, WINDOWS = 51, STARTS = 11 };

struct border {
        struct test_site site;
        struct config *config;
        struct host *host;
        struct plugins *plugins;
        struct plugin *plugin;
        double load_ms; /* from the configuration to the instance */
};

static void border_open(struct border *b, const struct test_plugin *plugin)
{
        struct problems problems = PROBLEMS_NULL;

        *b = (struct border){0};
        test_site_new(&b->site, plugin, 1, NULL);
        if (config_load(b->site.conf, &problems, &b->config) || problems.n || host_new(b->config, NULL, &b->host))
                bench_fail("the site of a plugin cannot be opened");
        b->load_ms = seconds();
        if (plugins_load(b->config, b->host, NULL, 0, &b->plugins))
                bench_fail("the plugin cannot be loaded");
        b->load_ms = (seconds() - b->load_ms) * 1e3;
        b->plugin = &b->plugins->list[0];
        if (b->plugin->state != PLUGIN_READY)
                bench_fail("%s", b->plugin->reason);
}

static void border_close(struct border *b)
{
        plugins_free(b->plugins);
        host_free(b->host);
        config_free(b->config);
        test_site_remove(&b->site);
}

/* --- a call --- */

static const char request[] = "{\"kind\":\"server\",\"name\":\"web-0\",\"spec\":{\"cpu\":1}}";
static const char op_id[] = "0123456789ABCDEFGHJKMNPQRS";

static double bare_ns(struct border *b)
{
        struct op_reply r = OP_REPLY_NULL;
        struct prvng_sink token = SINK(&r.token, 4096), result = SINK(&r.result, 16 << 20);
        const struct prvng_op *volatile op = &b->plugin->op; /* looked up each time, as a table is */
        struct op_call c;
        double begin;

        op_call_init(&c, b->plugin, op_id, 1, INT64_MAX, 1, "run", "task");
        begin = seconds();
        for (unsigned i = 0; i < CALLS; i++) {
                r.result.n = 0;
                if (op->begin(b->plugin->instance, &c.pub, "create", request, sizeof(request) - 1, &token, &result))
                        bench_fail("begin() failed");
        }
        begin = seconds() - begin;
        op_call_deinit(&c);
        op_reply_deinit(&r);
        return begin / CALLS * 1e9;
}

static double border_ns(struct border *b)
{
        struct op_reply r = OP_REPLY_NULL;
        struct op_call c;
        double begin = seconds();

        for (unsigned i = 0; i < CALLS; i++) {
                op_call_init(&c, b->plugin, op_id, 1, INT64_MAX, 1, "run", "task");
                op_begin(&c, "create", request, sizeof(request) - 1, &r);
                if (r.answer != PRVNG_DONE)
                        bench_fail("%s", r.message);
                op_call_deinit(&c);
        }
        begin = seconds() - begin;
        op_reply_deinit(&r);
        return begin / CALLS * 1e9;
}

void bench_plugin_call(void)
{
        double bare[SLICES], border[SLICES], ratio[SLICES];
        struct border b;

        border_open(&b, &(struct test_plugin){"noop"});
        for (unsigned i = 0; i < SLICES; i++) { /* in turns of less than a slice of the scheduler's */
                bare[i] = bare_ns(&b);
                border[i] = border_ns(&b);
                ratio[i] = border[i] / bare[i];
        }
        border_close(&b);
        print("plugin.bare_vtable_ns", median(bare, SLICES), "ns");
        print("plugin.call_ns", median(border, SLICES), "ns");
        print("plugin.call_over_bare_vtable", median(ratio, SLICES), "1");
}

/* --- a call into another process --- */

static void receive(int fd, char *data, size_t n)
{
        for (ssize_t k; n > 0; data += k, n -= (size_t)k)
                if ((k = read(fd, data, n)) <= 0)
                        _exit(0);
}

/* The least that a process can do: reads a question, writes an answer. */
static pid_t start_echo(int *ret_fd)
{
        char data[QUESTION] = {0};
        int fds[2];
        pid_t pid;

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 || (pid = fork()) < 0)
                bench_fail("no process to answer: %s", strerror(errno));
        if (pid == 0) {
                close(fds[0]);
                for (;;) {
                        receive(fds[1], data, QUESTION);
                        if (write(fds[1], data, ANSWER) != ANSWER)
                                _exit(0);
                }
        }
        close(fds[1]);
        *ret_fd = fds[0];
        return pid;
}

static double bare_trip_us(int fd)
{
        char data[QUESTION] = {0};
        double begin = seconds();

        for (unsigned i = 0; i < TRIPS; i++) {
                if (write(fd, data, QUESTION) != QUESTION)
                        bench_fail("the process that answers is gone");
                receive(fd, data, ANSWER);
        }
        return (seconds() - begin) / TRIPS * 1e6;
}

static double call_us(struct border *b, unsigned n)
{
        struct op_reply r = OP_REPLY_NULL;
        struct op_call c;
        double begin = seconds();

        for (unsigned i = 0; i < n; i++) {
                op_call_init(&c, b->plugin, op_id, 1, INT64_MAX, 1, "run", "task");
                op_begin(&c, "create", request, sizeof(request) - 1, &r);
                if (r.answer != PRVNG_DONE)
                        bench_fail("%s", r.message);
                op_call_deinit(&c);
        }
        begin = seconds() - begin;
        op_reply_deinit(&r);
        return begin / n * 1e6;
}

static const struct test_plugin isolated = {"noop", NULL, NULL, "isolation = \"process\";"};

void bench_plugin_isolated(void)
{
        double bare[TRIP_SLICES], call[TRIP_SLICES], ratio[TRIP_SLICES];
        struct border b;
        int fd = -1;
        pid_t pid;

        pid = start_echo(&fd); /* before there are threads */
        border_open(&b, &isolated);
        call_us(&b, TRIPS);
        for (unsigned i = 0; i < TRIP_SLICES; i++) {
                bare[i] = bare_trip_us(fd);
                call[i] = call_us(&b, TRIPS);
                ratio[i] = call[i] / bare[i];
        }
        border_close(&b);
        close(fd);
        waitpid(pid, NULL, 0);
        print("plugin.bare_socketpair_us", median(bare, TRIP_SLICES), "us");
        print("plugin.isolated_call_us", median(call, TRIP_SLICES), "us");
        print("plugin.isolated_over_bare_socketpair", median(ratio, TRIP_SLICES), "1");
}

void bench_plugin_windowed(void)
{
        double took[WINDOWS];
        struct border b;

        border_open(&b, &(struct test_plugin){"noopmessages", NULL, NULL, "isolation = \"process\";"});
        call_us(&b, 1);
        for (unsigned i = 0; i < WINDOWS; i++)
                took[i] = call_us(&b, 1) / (MESSAGES + 1); /* with the call that they belong to */
        border_close(&b);
        print("plugin.isolated_windowed.us", median(took, WINDOWS), "us");
}

void bench_plugin_start(void)
{
        double took[STARTS];
        struct border b;

        for (unsigned i = 0; i < STARTS; i++) {
                border_open(&b, &isolated);
                took[i] = b.load_ms;
                border_close(&b);
        }
        print("plugin.isolated_start.ms", median(took, STARTS), "ms");
}

/* --- a scan --- */

/* The plugin noop under another name of four letters: only its note tells it. */
static void write_renamed(const char *path, const struct buf *noop, const char *name)
{
        static const char member[] = "\"name\":\"noop\"";
        char *at = memmem(noop->data, noop->n, member, sizeof(member) - 1);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

        if (!at)
                bench_fail("the note of noop.so names another plugin");
        memcpy(at + strlen("\"name\":\""), name, 4);
        if (fd < 0 || write(fd, noop->data, noop->n) != (ssize_t)noop->n)
                bench_fail("%s cannot be written", path);
        memcpy(at + strlen("\"name\":\""), "noop", 4);
        close(fd);
}

static void read_file(struct buf *b, const char *path)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct stat st;
        char *p;

        if (fd < 0 || fstat(fd, &st) < 0 || !(p = buf_reserve(b, (size_t)st.st_size)) ||
            read(fd, p, (size_t)st.st_size) != st.st_size)
                bench_fail("%s cannot be read", path);
        buf_advance(b, (size_t)st.st_size);
        close(fd);
}

static void write_plugins(const struct test_site *site)
{
        struct buf noop = BUF_NULL;
        char path[512];

        snprintf(path, sizeof(path), "%s/noop.so", getenv("PRVNG_TEST_PLUGINS"));
        read_file(&noop, path);
        for (unsigned i = 0; i < FILES; i++) {
                char name[8], relative[64], dropin[640];

                snprintf(name, sizeof(name), "n%03u", i);
                snprintf(path, sizeof(path), "%s/%s.so", site->folder, name);
                write_renamed(path, &noop, name);
                snprintf(relative, sizeof(relative), "plugins.d/%s.conf", name);
                snprintf(dropin, sizeof(dropin), "plugin: { name = \"%s\"; file = \"%s\"; };\n", name, path);
                test_site_write(site, relative, dropin);
        }
        buf_deinit(&noop);
}

/* No code of theirs may have been mapped. */
static void must_not_be_mapped(const struct test_site *site)
{
        FILE *f = fopen("/proc/self/maps", "re");
        char line[1024];

        while (f && fgets(line, sizeof(line), f))
                if (strstr(line, site->folder))
                        bench_fail("a plugin was opened: %s", line);
        if (f)
                fclose(f);
}

static double scan_ms(const struct test_site *site)
{
        struct problems problems = PROBLEMS_NULL;
        struct config *config = NULL;
        struct plugins *plugins = NULL;
        struct host *host = NULL;
        double begin;

        if (config_load(site->conf, &problems, &config) || problems.n || host_new(config, NULL, &host))
                bench_fail("the site of %d plugins cannot be opened", FILES);
        begin = seconds();
        if (plugins_load(config, host, NULL, PLUGINS_NOTES_ONLY, &plugins))
                bench_fail("the notes cannot be read");
        begin = seconds() - begin;
        for (size_t i = 0; i < plugins->n; i++)
                if (plugins->list[i].state != PLUGIN_READY)
                        bench_fail("%s", plugins->list[i].reason);
        if (plugins->n != FILES)
                bench_fail("%zu of %d plugins were found", plugins->n, FILES);
        must_not_be_mapped(site);
        plugins_free(plugins);
        host_free(host);
        config_free(config);
        return begin * 1e3;
}

void bench_plugin_scan(void)
{
        double took[ROUNDS];
        struct test_site site;

        test_site_new(&site, NULL, 0, NULL);
        write_plugins(&site);
        for (unsigned i = 0; i < ROUNDS; i++)
                took[i] = scan_ms(&site);
        test_site_remove(&site);
        print("plugin.scan_200_notes.ms", median(took, ROUNDS), "ms");
}
