/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A provider for the tests of isolation: does what the request says, sound or not. A request is
 * {"do": [["step", argument], ...]}; see steps[]. What a step finds out is put into the result.
 */
#include <prvng/prvng.h>

#include <jansson.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

PRVNG_PLUGIN_NOTE("provider", "org.prvng.test.isolated", "isolated", "1.0", "[]", "none");

extern char **environ;

struct instance {
        json_t *config;
        const struct prvng_host_http *http;
        const struct prvng_host_spawn *spawn;
        const struct prvng_host_remote *remote;
        const struct prvng_host_workdir *workdir;
        const struct prvng_host_rate *rate;
        struct prvng_http_session *session;
        const char *state;
        pthread_t thread;
        int has_thread;
};

static const struct prvng_host *host;

struct step {
        struct instance *i;
        struct prvng_call *call;
        struct prvng_sink *token;
        const json_t *argument;
        json_t *result;
        int32_t answer;
};

static void pause_ms(int64_t ms)
{
        struct timespec t = {ms / 1000, ms % 1000 * 1000000};

        nanosleep(&t, NULL);
}

/* --- what a sound plugin does --- */

static void do_say(struct step *s)
{
        host->log(host, PRVNG_LOG_INFO, "say", json_string_value(s->argument));
}

static void do_progress(struct step *s)
{
        host->progress(s->call, 500, json_string_value(s->argument));
}

static void do_ask_again(struct step *s)
{
        host->ask_again(s->call, json_integer_value(s->argument));
}

static void do_token(struct step *s)
{
        const char *text = json_string_value(s->argument);

        json_object_set_new(s->result, "token_written",
                            json_integer(host->sink_write(s->token, text, strlen(text))));
}

static void do_answer(struct step *s)
{
        s->answer = (int32_t)json_integer_value(s->argument);
}

static void do_error(struct step *s)
{
        struct prvng_error e = {.struct_size = sizeof(e), .retry_after_ms = 7, .code = 42, .status = 503,
                                .message = "said so", .field = "spec.size"};

        e.error_class = (int32_t)json_integer_value(json_array_get(s->argument, 0));
        e.effect = (uint32_t)json_integer_value(json_array_get(s->argument, 1));
        host->error(s->call, &e);
        s->answer = e.error_class;
}

static void do_call(struct step *s)
{
        json_object_set_new(s->result, "call",
                            json_pack("{ss si sI ss ss}", "op_id", s->call->op_id, "attempt", (int)s->call->attempt,
                                      "epoch", (json_int_t)s->call->epoch, "run", s->call->run, "task",
                                      s->call->task));
}

static void do_where(struct step *s)
{
        char folder[4096];
        size_t n = 0;
        int fds = 0;

        for (char **e = environ; e && *e; e++)
                n++;
        for (int fd = 0; fd < 1024; fd++)
                fds += fcntl(fd, F_GETFD) >= 0 && !(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        json_object_set_new(s->result, "where",
                            json_pack("{si si si sI si ss}", "pid", (int)getpid(), "group_leader",
                                      (int)(getpgrp() == getpid()), "no_new_privs",
                                      prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), "environment", (json_int_t)n,
                                      "inherited", fds, "folder", getcwd(folder, sizeof(folder)) ? folder : "?"));
}

static void do_bytes(struct step *s)
{
        size_t n = (size_t)json_integer_value(s->argument);
        char *text = malloc(n + 1);

        memset(text, 'x', n);
        text[n] = 0;
        json_object_set_new(s->result, "bytes", json_string(text));
        free(text);
}

static void do_wait(struct step *s) /* until cancelled, by the flag */
{
        while (!host->is_cancelled(s->call))
                pause_ms(1);
        s->answer = PRVNG_CANCELLED;
}

static void do_wait_fd(struct step *s)
{
        struct pollfd p = {.fd = host->cancel_fd(s->call), .events = POLLIN};

        s->answer = poll(&p, 1, 20000) == 1 ? PRVNG_CANCELLED : PRVNG_INTERNAL;
}

static void do_http(struct step *s)
{
        struct prvng_sink *headers = host->sink_new(65536), *body = host->sink_new(65536);
        struct prvng_http_response response = {.struct_size = sizeof(response)};
        const char *const with[] = {"X-Test: yes", NULL};
        const char *text = json_string_value(json_array_get(s->argument, 1));
        struct prvng_http_request q = {.struct_size = sizeof(q), .method = text ? "POST" : "GET", .headers = with,
                                       .target = json_string_value(json_array_get(s->argument, 0)),
                                       .body = text, .n_body = text ? strlen(text) : 0};
        int32_t r = s->i->http->send(s->call, s->i->session, &q, &response, headers, body);

        if (r == PRVNG_DONE)
                json_object_set_new(s->result, "http",
                                    json_pack("{si sI ss ss}", "status", response.status, "retry_after_ms",
                                              (json_int_t)response.retry_after_ms, "headers",
                                              host->sink_data(headers, NULL), "body", host->sink_data(body, NULL)));
        else
                s->answer = r;
        host->sink_free(headers);
        host->sink_free(body);
}

static void do_spawn(struct step *s)
{
        const char *const argv[] = {"/bin/sh", "-c", json_string_value(s->argument), NULL};
        struct prvng_spawn q = {.struct_size = sizeof(q), .argv = argv, .input = "input", .n_input = 5};
        struct prvng_sink *out = host->sink_new(4096), *err = host->sink_new(4096);
        int32_t code = -1, r = s->i->spawn->run(s->call, &q, out, err, &code);

        if (r == PRVNG_DONE)
                json_object_set_new(s->result, "spawn",
                                    json_pack("{si ss ss}", "code", code, "out", host->sink_data(out, NULL), "err",
                                              host->sink_data(err, NULL)));
        else
                s->answer = r;
        host->sink_free(out);
        host->sink_free(err);
}

/* A server that is this machine. */
static void do_remote(struct step *s)
{
        static const char server[] = "{\"name\":\"here\",\"reach\":{\"method\":\"exec\",\"argv\":[\"/usr/bin/env\"]}}";
        const char *const argv[] = {"/bin/sh", "-c", json_string_value(s->argument), NULL};
        struct prvng_sink *out = host->sink_new(4096);
        int32_t code = -1;
        int32_t r = s->i->remote->run(s->call, server, sizeof(server) - 1, argv, "in", 2, out, NULL, &code);

        if (r == PRVNG_DONE)
                json_object_set_new(s->result, "remote",
                                    json_pack("{si ss}", "code", code, "out", host->sink_data(out, NULL)));
        else
                s->answer = r;
        host->sink_free(out);
}

static void do_folders(struct step *s)
{
        json_object_set_new(s->result, "folders",
                            json_pack("{ss ss ss}", "state", s->i->state, "cache",
                                      s->i->workdir->cache(host, "isolated"), "task", s->i->workdir->task(s->call)));
}

static void do_rate(struct step *s)
{
        s->answer = s->i->rate->acquire(s->call, "account", 1000);
        s->i->rate->back_off(s->call, "account", 1);
}

static void do_teleport(struct step *s)
{
        json_object_set_new(s->result, "teleport",
                            json_boolean(host->get_interface(host, "prvng.host.teleport/1") != NULL));
}

static void do_outside(struct step *s) /* a thread of the plugin that logs */
{
        host->log(host, PRVNG_LOG_INFO, "inside", "before");
}

/* --- what a bad one does --- */

static void do_kill(struct step *s)
{
        kill(getpid(), (int)json_integer_value(s->argument));
}

static void do_fault(struct step *s)
{
        static volatile int *volatile nowhere;

        *nowhere = 1;
}

static void do_exit(struct step *s)
{
        _exit((int)json_integer_value(s->argument));
}

static void do_hang(struct step *s)
{
        for (;;)
                pause_ms(1000);
}

static void do_eat(struct step *s) /* memory, until there is none */
{
        for (;;) {
                char *p = malloc(64 << 20);

                if (!p)
                        abort();
                memset(p, 1, 64 << 20);
        }
}

static void do_print(struct step *s)
{
        for (json_int_t n = json_integer_value(s->argument); n > 0; n--)
                printf("rubbish \x1b[31m %lld\n", (long long)n);
        fflush(stdout);
        fprintf(stderr, "and no end of line");
}

/* Writes bytes, given in hex, into all sockets it has. */
static void do_garbage(struct step *s)
{
        const char *hex = json_string_value(s->argument);
        unsigned char bytes[64];
        size_t n = 0;

        for (unsigned int byte; n < sizeof(bytes) && sscanf(hex + 2 * n, "%2x", &byte) == 1; n++)
                bytes[n] = (unsigned char)byte;
        for (int fd = 3; fd < 64; fd++)
                if (write(fd, bytes, n) < 0)
                        continue;
        pause_ms(20000);
}

static void do_flood(struct step *s) /* messages without end */
{
        for (;;)
                host->progress(s->call, 1, "still");
}

static void do_close(struct step *s) /* all sockets it has */
{
        for (int fd = 3; fd < 64; fd++)
                close(fd);
        pause_ms(20000);
}

static const struct {
        const char *name;
        void (*run)(struct step *s);
} steps[] = {
        {"say", do_say},         {"progress", do_progress}, {"ask_again", do_ask_again}, {"token", do_token},
        {"answer", do_answer},   {"error", do_error},       {"call", do_call},           {"where", do_where},
        {"bytes", do_bytes},     {"wait", do_wait},         {"wait_fd", do_wait_fd},     {"http", do_http},
        {"spawn", do_spawn},     {"remote", do_remote},     {"folders", do_folders},     {"rate", do_rate},
        {"teleport", do_teleport}, {"outside", do_outside}, {"kill", do_kill},           {"fault", do_fault},
        {"exit", do_exit},       {"hang", do_hang},         {"eat", do_eat},             {"print", do_print},
        {"garbage", do_garbage}, {"flood", do_flood},       {"close", do_close},
};

static int32_t run(struct instance *i, struct prvng_call *call, const char *function, const char *verb,
                   const void *text, uint64_t n_text, const void *token, uint64_t n_token,
                   struct prvng_sink *new_token, struct prvng_sink *result)
{
        json_t *q = json_loadb(text, (size_t)n_text, 0, NULL), *e;
        struct step s = {.i = i, .call = call, .token = new_token, .result = json_object()};
        char *line;
        size_t n;

        json_object_set_new(s.result, "function", json_string(function));
        json_object_set_new(s.result, "verb", json_string(verb ? verb : ""));
        if (n_token)
                json_object_set_new(s.result, "token", json_stringn(token, (size_t)n_token));
        json_array_foreach (json_object_get(q, "do"), n, e)
                for (size_t k = 0; k < sizeof(steps) / sizeof(steps[0]); k++)
                        if (strcmp(steps[k].name, json_string_value(json_array_get(e, 0))) == 0) {
                                s.argument = json_array_get(e, 1);
                                steps[k].run(&s);
                        }
        line = json_dumps(s.result, JSON_COMPACT);
        host->sink_write(result, line, strlen(line));
        free(line);
        json_decref(q);
        json_decref(s.result);
        return s.answer;
}

static int32_t prepare(void *instance, struct prvng_call *call, const char *verb, const void *task, uint64_t n_task,
                       struct prvng_sink *request)
{
        return run(instance, call, "prepare", verb, task, n_task, NULL, 0, NULL, request);
}

static int32_t begin(void *instance, struct prvng_call *call, const char *verb, const void *request,
                     uint64_t n_request, struct prvng_sink *token, struct prvng_sink *result)
{
        return run(instance, call, "begin", verb, request, n_request, NULL, 0, token, result);
}

static int32_t poll_(void *instance, struct prvng_call *call, const char *verb, const void *request,
                     uint64_t n_request, const void *token, uint64_t n_token, struct prvng_sink *new_token,
                     struct prvng_sink *result)
{
        return run(instance, call, "poll", verb, request, n_request, token, n_token, new_token, result);
}

static int32_t cancel(void *instance, struct prvng_call *call, const char *verb, const void *request,
                      uint64_t n_request, const void *token, uint64_t n_token, struct prvng_sink *result)
{
        return run(instance, call, "cancel", verb, request, n_request, token, n_token, NULL, result);
}

static int32_t observe(void *instance, struct prvng_call *call, const char *verb, const void *request,
                       uint64_t n_request, const void *token, uint64_t n_token, struct prvng_sink *new_token,
                       struct prvng_sink *result)
{
        return run(instance, call, "observe", verb, request, n_request, token, n_token, new_token, result);
}

static int32_t read_(void *instance, struct prvng_call *call, const void *task, uint64_t n_task,
                     struct prvng_sink *result)
{
        return run(instance, call, "read", NULL, task, n_task, NULL, 0, NULL, result);
}

static int32_t list(void *instance, struct prvng_call *call, const void *filter, uint64_t n_filter,
                    struct prvng_sink *result)
{
        return run(instance, call, "list", NULL, filter, n_filter, NULL, 0, NULL, result);
}

static int32_t describe(void *instance, struct prvng_sink *result)
{
        static const char text[] = "{\"resources\":[{\"kind\":\"server\",\"verbs\":[\"create\"],\"undo\":[],"
                                   "\"spec\":{}}]}";

        return host->sink_write(result, text, sizeof(text) - 1) == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
}

static int32_t check(void *instance, struct prvng_call *call, const void *tasks, uint64_t n_tasks,
                     struct prvng_sink *result)
{
        return run(instance, call, "precheck", NULL, tasks, n_tasks, NULL, 0, NULL, result);
}

static int32_t find(void *instance, struct prvng_call *call, const char *kind, const char *id,
                    struct prvng_sink *result)
{
        return run(instance, call, id, kind, "{}", 2, NULL, 0, NULL, result);
}

static int32_t self_test(void *instance, struct prvng_call *call, struct prvng_sink *report)
{
        return host->sink_write(report, "{\"checks\":[]}", 13) == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
}

static const struct prvng_op op = {
        .struct_size = sizeof(op), .prepare = prepare, .begin = begin, .poll = poll_, .cancel = cancel,
        .observe = observe, .read = read_, .list = list, .describe = describe,
};
static const struct prvng_provider_precheck precheck = {.struct_size = sizeof(precheck), .check = check};
static const struct prvng_provider_inventory inventory = {.struct_size = sizeof(inventory), .find = find};

/* --- its life --- */

static void *log_from_a_thread(void *unused)
{
        host->log(host, PRVNG_LOG_INFO, "thread", "from a thread of the plugin");
        return NULL;
}

/* What create() is to do wrong: a word in the configuration, and a file that says from when on. */
static int is_bad(const struct instance *i, const char *how)
{
        const char *bad = json_string_value(json_object_get(i->config, "create"));
        const char *once = json_string_value(json_object_get(i->config, "if_there"));

        return bad && strcmp(bad, how) == 0 && (!once || access(once, F_OK) == 0);
}

static int32_t create(const struct prvng_host *h, const void *config, uint64_t n_config, void **ret_instance)
{
        struct instance *i = calloc(1, sizeof(*i));
        const char *url;

        i->config = json_loadb(config, (size_t)n_config, 0, NULL);
        i->http = h->get_interface(h, PRVNG_HOST_HTTP);
        i->spawn = h->get_interface(h, PRVNG_HOST_SPAWN);
        i->remote = h->get_interface(h, PRVNG_HOST_REMOTE);
        i->workdir = h->get_interface(h, PRVNG_HOST_WORKDIR);
        i->rate = h->get_interface(h, PRVNG_HOST_RATE);
        i->state = i->workdir->state(h, "isolated");
        if (is_bad(i, "fault"))
                do_fault(NULL);
        if (is_bad(i, "hang"))
                do_hang(NULL);
        url = json_string_value(json_object_get(i->config, "url"));
        if (is_bad(i, "fail")) {
                h->log(h, PRVNG_LOG_ERROR, "create", "no account: set config.account");
                json_decref(i->config);
                free(i);
                return PRVNG_AUTH;
        }
        if (url) {
                char options[512];

                snprintf(options, sizeof(options), "{\"base_url\": \"%s\", \"auth\": {\"type\": \"bearer\", \"token\": "
                         "{\"set\": \"token\"}}}", url);
                if (i->http->session_new(h, options, strlen(options), &i->session) != PRVNG_DONE)
                        return PRVNG_PERMANENT;
                i->http->secret_set(i->session, "token", "s3cret", 6);
        }
        i->has_thread = pthread_create(&i->thread, NULL, log_from_a_thread, NULL) == 0;
        *ret_instance = i;
        return PRVNG_DONE;
}

static void destroy(void *instance)
{
        struct instance *i = instance;

        if (!i)
                return;
        if (i->has_thread)
                pthread_join(i->thread, NULL);
        if (i->session)
                i->http->session_free(i->session);
        host->log(host, PRVNG_LOG_INFO, "destroy", "destroyed");
        json_decref(i->config);
        free(i);
}

static const void *get_interface(void *instance, const char *id)
{
        if (strcmp(id, PRVNG_OP) == 0 || strcmp(id, PRVNG_PROVIDER) == 0)
                return &op;
        if (strcmp(id, PRVNG_PROVIDER_PRECHECK) == 0)
                return &precheck;
        return strcmp(id, PRVNG_PROVIDER_INVENTORY) == 0 ? &inventory : NULL;
}

static const struct prvng_plugin plugin = {
        .struct_size = sizeof(plugin),
        .abi_minor = PRVNG_ABI_MINOR,
        .id = "org.prvng.test.isolated",
        .name = "isolated",
        .kind = "provider",
        .version = "1.0",
        .description = "does what a test says",
        .licence = "Apache-2.0",
        .threads = PRVNG_THREADS_PARALLEL,
        .settle_ms = 1234,
        .dependencies = "{\"batch_size\": 8}",
        .create = create,
        .destroy = destroy,
        .get_interface = get_interface,
        .self_test = self_test,
};

int32_t prvng_plugin_v1(const struct prvng_host *h, const struct prvng_plugin **ret_plugin)
{
        host = h;
        *ret_plugin = &plugin;
        return PRVNG_DONE;
}
