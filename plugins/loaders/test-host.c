/* SPDX-License-Identifier: Apache-2.0 */
#include "test-host.h"
#include "base/clock.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

int32_t test_answer;
char test_message[4096];

struct prvng_sink {
        struct buf bytes;
};

static void host_log(const struct prvng_host *host, int32_t level, const char *topic,
                     const char *message)
{
        if (level <= PRVNG_LOG_WARN)
                fprintf(stderr, "%s: %s\n", topic, message);
}

static void host_error(struct prvng_call *call, const struct prvng_error *error)
{
        snprintf(test_message, sizeof(test_message), "%s", error->message);
}

static int32_t host_is_cancelled(struct prvng_call *call)
{
        return 0;
}

static int32_t host_cancel_fd(struct prvng_call *call)
{
        return -1;
}

static int32_t host_sink_write(struct prvng_sink *sink, const void *data, uint64_t n_data)
{
        buf_append(&sink->bytes, data, n_data);
        return 0;
}

/* No loader hands sinks to spawn, so this one needs none. */
static int32_t spawn_run(struct prvng_call *call, const struct prvng_spawn *spawn,
                         struct prvng_sink *output, struct prvng_sink *errors,
                         int32_t *ret_exit_code)
{
        static const char *const environment[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                                                   "LANG=C.UTF-8", "HOME=/root", NULL };
        const char *const *env = spawn->environment ? spawn->environment : environment;
        pid_t pid;
        int status, r;

        fflush(NULL);
        r = posix_spawnp(&pid, spawn->argv[0], NULL, NULL, (char *const *)(uintptr_t)spawn->argv,
                         (char *const *)(uintptr_t)env);
        if (r)
                return PRVNG_PERMANENT;
        for (int64_t until = clock_boot_ms() + spawn->timeout_ms;;) {
                pid_t got = waitpid(pid, &status, WNOHANG);

                if (got == pid)
                        break;
                if (clock_boot_ms() > until) {
                        kill(pid, SIGKILL);
                        waitpid(pid, &status, 0);
                        return PRVNG_TRANSIENT;
                }
                usleep(500);
        }
        *ret_exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        return PRVNG_DONE;
}

static const void *host_get_interface(const struct prvng_host *host, const char *id)
{
        static const struct prvng_host_spawn spawn = { .struct_size = sizeof(spawn),
                                                       .run = spawn_run };

        if (streq(id, PRVNG_HOST_DOCUMENT))
                return document_interface();
        if (streq(id, PRVNG_HOST_SPAWN))
                return &spawn;
        return NULL;
}

static const struct prvng_host host = {
        .struct_size = sizeof(host),
        .core_version = "test",
        .log = host_log,
        .error = host_error,
        .is_cancelled = host_is_cancelled,
        .cancel_fd = host_cancel_fd,
        .sink_write = host_sink_write,
        .monotonic_ms = clock_boot_ms,
        .get_interface = host_get_interface,
};

struct document *test_load(plugin_entry entry, const char *path, const char *text, size_t n_text,
                           const char *config, const char *arguments, struct problems *problems)
{
        struct prvng_call call = { .struct_size = sizeof(call), .op_id = "", .attempt = 1,
                                   .deadline_ms = INT64_MAX, .trace_parent = "", .run = "",
                                   .task = "" };
        struct prvng_loader_source source = { .struct_size = sizeof(source), .path = path, .data = text,
                                              .n_data = n_text,
                                              .arguments = arguments ? arguments : "{}" };
        const struct prvng_plugin *plugin;
        const struct prvng_loader *loader;
        struct document *d = NULL;
        void *instance = NULL;

        test_message[0] = 0;
        if (!config)
                config = "{}";
        test_answer = entry(&host, &plugin);
        if (test_answer == 0)
                test_answer = plugin->create(&host, config, strlen(config), &instance);
        if (test_answer < 0 || document_new(path ? path : "text", problems, &d) < 0)
                return NULL;
        loader = plugin->get_interface(instance, PRVNG_LOADER);
        test_answer = loader->load(instance, &call, &source, document_builder(d));
        plugin->destroy(instance);
        if (test_answer == 0 && problems->n == 0)
                return d;
        return document_free(d);
}

char *test_canonical(plugin_entry entry, const char *path, const char *text, const char *config,
                     const char *arguments, struct problems *problems)
{
        _cleanup_(cleanup_document) struct document *d = NULL;
        _cleanup_(cleanup_definition) struct definition *def = NULL;
        struct buf json = BUF_NULL;
        uint32_t top = DOC_NONE;

        d = test_load(entry, path, text, text ? strlen(text) : 0, config, arguments, problems);
        if (!d || definition_find(d, NULL, problems, &top) < 0 || top == DOC_NONE ||
            definition_check(d, top, "", problems, &def) < 0 || !def ||
            definition_canonical(def, &json) < 0)
                return NULL;
        return buf_steal(&json);
}

char *test_print(const struct problems *problems)
{
        char *text = NULL;
        size_t n;
        FILE *f = open_memstream(&text, &n);

        problems_print(problems, f);
        fclose(f);
        return text;
}

char *test_example(const char *name)
{
        const char *root = getenv("PRVNG_TEST_SOURCE");
        char *path = NULL;

        cr_assert_not_null(root, "PRVNG_TEST_SOURCE is set by meson test");
        cr_assert_geq(asprintf(&path, "%s/examples/klab/wuji/%s", root, name), 0);
        return path;
}

char *test_read(const char *path)
{
        FILE *f = fopen(path, "re");
        char *text = calloc(1, 1 << 16);

        cr_assert_not_null(f, "%s", path);
        cr_assert_lt(fread(text, 1, 1 << 16, f), 1 << 16);
        fclose(f);
        return text;
}
