/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Test provider for the simulated cloud of tests/cloud/cloud.py, from the public headers only: one
 * connection to its socket ("socket" in the configuration) for each request. Built twice:
 *
 *      simcloud        the cloud keeps the op id as the key of a request
 *      simtags         it does not: what an op id made is found again by its label, some time later
 *                      (SIMCLOUD_SETTLE_MS)
 *
 * The op id is the key of every change, and the label "op_id" of what a create makes.
 */
#include <prvng/prvng.h>

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef SIMCLOUD_SETTLE_MS
#define SIMCLOUD_NAME      "simcloud"
#define SIMCLOUD_SETTLE_MS 0
#else
#define SIMCLOUD_NAME      "simtags"
#endif
#define ASK_AGAIN_MS 10

PRVNG_PLUGIN_NOTE("provider", "org.prvng.test." SIMCLOUD_NAME, SIMCLOUD_NAME, "1.0", "[]", "none");

static const struct prvng_host *host;

struct cloud {
        struct sockaddr_un address;
};

/* Talking */

static int32_t fail(struct prvng_call *call, int32_t error_class, uint32_t effect, int64_t after_ms,
                    const char *message)
{
        struct prvng_error e = {.struct_size = sizeof(e), .error_class = error_class,
                                .retry_after_ms = after_ms, .effect = effect, .message = message};

        host->error(call, &e);
        return error_class;
}

static int64_t deadline_left(const struct prvng_call *call)
{
        int64_t left = call->deadline_ms - host->monotonic_ms();

        return left < 0 ? 0 : left > 60000 ? 60000 : left;
}

/* One line, until the other side has said all. NULL: it did not, or in vain. */
static json_t *receive(struct prvng_call *call, int fd)
{
        struct pollfd wait[2] = {{.fd = fd, .events = POLLIN},
                                 {.fd = host->cancel_fd(call), .events = POLLIN}};
        json_t *reply = NULL;
        char *text = NULL;
        size_t n = 0;
        ssize_t got;
        FILE *f = open_memstream(&text, &n);
        char chunk[4096];

        if (!f)
                return NULL;
        while (poll(wait, 2, (int)deadline_left(call)) > 0 && !wait[1].revents) {
                got = read(fd, chunk, sizeof(chunk));
                if (got <= 0)
                        break;
                fwrite(chunk, 1, (size_t)got, f);
        }
        fclose(f);
        if (n > 0 && text[n - 1] == '\n')
                reply = json_loadb(text, n, 0, NULL);
        free(text);
        return reply;
}

/* *ret_sent: the cloud may have got it. Takes over the request. */
static json_t *ask(const struct cloud *c, struct prvng_call *call, json_t *request, bool *ret_sent)
{
        char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        json_t *reply = NULL;

        *ret_sent = false;
        json_decref(request);
        if (text && fd >= 0 &&
            connect(fd, (const struct sockaddr *)&c->address, sizeof(c->address)) == 0) {
                struct iovec parts[] = {{text, strlen(text)}, {(char[]){"\n"}, 1}};
                struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

                *ret_sent = true;
                if (sendmsg(fd, &message, MSG_NOSIGNAL) == (ssize_t)strlen(text) + 1)
                        reply = receive(call, fd);
        }
        if (fd >= 0)
                close(fd);
        free(text);
        return reply;
}

static int64_t number(const json_t *o, const char *key)
{
        return json_integer_value(json_object_get(o, key));
}

static const char *text_of(const json_t *o, const char *key)
{
        const char *s = json_string_value(json_object_get(o, key));

        return s ? s : "";
}

/* What a reply means where it is not 200 or 404, which are the caller's: DONE for these. `lost` is the
 * effect where the cloud did not answer, `refused` where it said no. */
static int32_t judge(struct prvng_call *call, const json_t *reply, uint32_t lost, uint32_t refused)
{
        int64_t status = number(reply, "status");

        if (!reply)
                return fail(call, PRVNG_TRANSIENT, lost, -1, "the cloud did not answer");
        if (status == 429)
                return fail(call, PRVNG_RATE_LIMITED, refused, number(reply, "retry_after_ms"),
                            "too many requests");
        if (status == 503 || status == 409)
                return fail(call, PRVNG_TRANSIENT, refused, 5,
                            status == 503 ? "the cloud is busy" : "it is being built");
        if (status != 200 && status != 404)
                return fail(call, PRVNG_PERMANENT, PRVNG_EFFECT_UNKNOWN, -1, "a reply unheard of");
        return PRVNG_DONE;
}

/* A request that only looks: its reply, or NULL and the class. The effect that an error tells of is that
 * of the operation, which goes on (in poll) or of which nothing is known. */
static json_t *look(const struct cloud *c, struct prvng_call *call, json_t *request, int32_t *ret_class)
{
        bool sent;
        json_t *reply = ask(c, call, request, &sent);

        *ret_class = judge(call, reply, PRVNG_EFFECT_UNKNOWN, PRVNG_EFFECT_UNKNOWN);
        if (*ret_class == PRVNG_DONE)
                return reply;
        json_decref(reply);
        return NULL;
}

static json_t *get(const struct cloud *c, struct prvng_call *call, const char *id, int32_t *ret_class)
{
        return look(c, call, json_pack("{s:s, s:s}", "do", "get", "id", id), ret_class);
}

/* Results */

static int32_t write_json(struct prvng_sink *sink, json_t *o)
{
        char *s = o ? json_dumps(o, JSON_COMPACT) : NULL;
        int32_t r = s && host->sink_write(sink, s, strlen(s)) == 0 ? PRVNG_DONE : PRVNG_INTERNAL;

        free(s);
        json_decref(o);
        return r;
}

static int32_t write_server(struct prvng_sink *sink, const json_t *server)
{
        static const char *const copied[] = {"cpu", "memory", "disk"};
        const json_t *spec = json_object_get(server, "spec");
        json_t *result = json_pack("{s:O, s:O, s:O}", "id", json_object_get(server, "id"), "name",
                                   json_object_get(server, "name"), "state",
                                   json_object_get(server, "state"));

        for (size_t i = 0; result && i < sizeof(copied) / sizeof(copied[0]); i++)
                if (json_object_get(spec, copied[i]))
                        json_object_set(result, copied[i], json_object_get(spec, copied[i]));
        return write_json(sink, result);
}

static bool runs(const json_t *server)
{
        return strcmp(text_of(server, "state"), "running") == 0;
}

/* Where a create stands: finished, or PENDING with the id as its token. */
static int32_t progress(struct prvng_call *call, const json_t *server, int32_t done, int32_t pending,
                        struct prvng_sink *token, struct prvng_sink *result)
{
        char text[256];
        int n = snprintf(text, sizeof(text), "1 %s", text_of(server, "id"));

        if (runs(server))
                return write_server(result, server) == PRVNG_DONE ? done : PRVNG_INTERNAL;
        host->ask_again(call, ASK_AGAIN_MS);
        return host->sink_write(token, text, (uint64_t)n) == 0 ? pending : PRVNG_INTERNAL;
}

/* Operations */

static int32_t prepare(void *instance, struct prvng_call *call, const char *verb, const void *task,
                       uint64_t n_task, struct prvng_sink *request)
{
        static const char *const copied[] = {"kind", "name", "workflow", "site", "spec"};
        json_t *o = json_loadb(task, n_task, 0, NULL), *q = json_object();
        int32_t r;

        for (size_t i = 0; i < sizeof(copied) / sizeof(copied[0]); i++)
                if (json_object_get(o, copied[i]))
                        json_object_set(q, copied[i], json_object_get(o, copied[i]));
        if (json_object_get(json_object_get(o, "identity"), "id"))
                json_object_set(q, "id", json_object_get(json_object_get(o, "identity"), "id"));
        r = write_json(request, q);
        json_decref(o);
        return r;
}

/* A spec may ask for a failure: {"simcloud": {"refuse": true}}. */
static bool is_refused(const json_t *q)
{
        return json_is_true(json_object_get(
                json_object_get(json_object_get(q, "spec"), SIMCLOUD_NAME), "refuse"));
}

static json_t *change(const char *verb, const char *op_id, json_t *q)
{
        if (strcmp(verb, "create") == 0)
                return json_pack("{s:s, s:s, s:O, s:O, s:{s:s, s:O, s:O}, s:O}", "do", verb, "key",
                                 op_id, "kind", json_object_get(q, "kind"), "name",
                                 json_object_get(q, "name"), "labels", "op_id", op_id, "workflow",
                                 json_object_get(q, "workflow"), "site", json_object_get(q, "site"),
                                 "spec", json_object_get(q, "spec"));
        if (strcmp(verb, "update") == 0)
                return json_pack("{s:s, s:s, s:s, s:O}", "do", verb, "key", op_id, "id",
                                 text_of(q, "id"), "spec", json_object_get(q, "spec"));
        return json_pack("{s:s, s:s, s:s}", "do", verb, "key", op_id, "id", text_of(q, "id"));
}

static int32_t check(const struct cloud *c, struct prvng_call *call, const json_t *q,
                     struct prvng_sink *result)
{
        int32_t r;
        json_t *reply = get(c, call, text_of(q, "id"), &r);

        if (!reply)
                return r;
        if (number(reply, "status") == 404)
                r = write_json(result, json_pack("{s:[{s:s}]}", "drift", "path", "it is gone"));
        else
                r = write_server(result, json_object_get(reply, "server")) == PRVNG_DONE
                            ? PRVNG_UNCHANGED
                            : PRVNG_INTERNAL;
        json_decref(reply);
        return r;
}

static int32_t begin(void *instance, struct prvng_call *call, const char *verb, const void *request,
                     uint64_t n_request, struct prvng_sink *token, struct prvng_sink *result)
{
        json_t *q = json_loadb(request, n_request, 0, NULL), *reply;
        bool created = strcmp(verb, "create") == 0, sent;
        int32_t r;

        if (strcmp(verb, "check") == 0) {
                r = check(instance, call, q, result);
                json_decref(q);
                return r;
        }
        if (is_refused(q)) {
                json_decref(q);
                return fail(call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, -1, "no such plan");
        }
        reply = ask(instance, call, change(verb, call->op_id, q), &sent);
        r = judge(call, reply, sent ? PRVNG_EFFECT_UNKNOWN : PRVNG_EFFECT_NONE, PRVNG_EFFECT_NONE);
        if (r == PRVNG_DONE && number(reply, "status") == 404)
                r = strcmp(verb, "delete") == 0
                            ? (write_json(result, json_object()), PRVNG_UNCHANGED)
                            : fail(call, PRVNG_NOT_FOUND, PRVNG_EFFECT_NONE, -1, "it is gone");
        else if (r == PRVNG_DONE && created)
                r = progress(call, json_object_get(reply, "server"), PRVNG_DONE, PRVNG_PENDING, token,
                             result);
        else if (r == PRVNG_DONE && strcmp(verb, "update") == 0)
                r = write_server(result, json_object_get(reply, "server"));
        else if (r == PRVNG_DONE)
                r = write_json(result, json_object());
        json_decref(reply);
        json_decref(q);
        return r;
}

/* The id in a token of ours, in `ret_id`; false: it is none. */
static bool token_id(const void *token, uint64_t n_token, char ret_id[256])
{
        if (n_token < 3 || n_token >= 256 || memcmp(token, "1 ", 2) != 0)
                return false;
        memcpy(ret_id, (const char *)token + 2, n_token - 2);
        ret_id[n_token - 2] = 0;
        return true;
}

static int32_t poll_create(void *instance, struct prvng_call *call, const char *verb,
                           const void *request, uint64_t n_request, const void *token,
                           uint64_t n_token, struct prvng_sink *new_token,
                           struct prvng_sink *result)
{
        char id[256];
        json_t *reply;
        int32_t r;

        if (!token_id(token, n_token, id))
                return fail(call, PRVNG_TOKEN_REJECTED, PRVNG_EFFECT_UNKNOWN, -1, "no token of ours");
        reply = get(instance, call, id, &r);
        if (!reply)
                return r;
        if (number(reply, "status") == 404)
                r = fail(call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, -1, "it went while it was built");
        else
                r = progress(call, json_object_get(reply, "server"), PRVNG_DONE, PRVNG_PENDING,
                             new_token, result);
        json_decref(reply);
        return r;
}

static int32_t cancel(void *instance, struct prvng_call *call, const char *verb,
                      const void *request, uint64_t n_request, const void *token, uint64_t n_token,
                      struct prvng_sink *result)
{
        return PRVNG_PENDING; /* what is being built is built to its end */
}

static int32_t observe_create(const struct cloud *c, struct prvng_call *call,
                              struct prvng_sink *new_token, struct prvng_sink *result)
{
        json_t *reply, *server;
        int32_t r;

        reply = look(c, call, json_pack("{s:s, s:{s:s}}", "do", "list", "labels", "op_id", call->op_id),
                     &r);
        if (!reply)
                return r;
        server = json_array_get(json_object_get(reply, "servers"), 0);
        r = server ? progress(call, server, PRVNG_OBSERVED_DONE, PRVNG_OBSERVED_IN_PROGRESS, new_token,
                              result)
                   : PRVNG_OBSERVED_NOT_STARTED;
        json_decref(reply);
        return r;
}

static int32_t observe_update(const struct cloud *c, struct prvng_call *call, const json_t *q,
                              struct prvng_sink *result)
{
        int32_t r;
        json_t *reply = get(c, call, text_of(q, "id"), &r), *server;

        if (!reply)
                return r;
        server = json_object_get(reply, "server");
        if (number(reply, "status") == 404) {
                fail(call, PRVNG_NOT_FOUND, PRVNG_EFFECT_NONE, -1, "it is gone");
                r = PRVNG_OBSERVED_FAILED;
        } else if (!json_equal(json_object_get(server, "spec"), json_object_get(q, "spec")))
                r = PRVNG_OBSERVED_NOT_STARTED;
        else
                r = write_server(result, server) == PRVNG_DONE ? PRVNG_OBSERVED_DONE : PRVNG_INTERNAL;
        json_decref(reply);
        return r;
}

static int32_t observe_delete(const struct cloud *c, struct prvng_call *call, const json_t *q,
                              struct prvng_sink *result)
{
        int32_t r;
        json_t *reply = get(c, call, text_of(q, "id"), &r);

        if (!reply)
                return r;
        if (number(reply, "status") == 404)
                r = write_json(result, json_object()) == PRVNG_DONE ? PRVNG_OBSERVED_DONE
                                                                     : PRVNG_INTERNAL;
        else
                r = PRVNG_OBSERVED_NOT_STARTED;
        json_decref(reply);
        return r;
}

static int32_t observe(void *instance, struct prvng_call *call, const char *verb,
                       const void *request, uint64_t n_request, const void *token,
                       uint64_t n_token, struct prvng_sink *new_token, struct prvng_sink *result)
{
        json_t *q = json_loadb(request, n_request, 0, NULL);
        int32_t r;

        if (strcmp(verb, "create") == 0)
                r = observe_create(instance, call, new_token, result);
        else if (strcmp(verb, "update") == 0)
                r = observe_update(instance, call, q, result);
        else if (strcmp(verb, "delete") == 0)
                r = observe_delete(instance, call, q, result);
        else
                r = PRVNG_OBSERVED_NOT_STARTED;
        json_decref(q);
        return r;
}

static int32_t read_server(void *instance, struct prvng_call *call, const void *task, uint64_t n_task,
                           struct prvng_sink *result)
{
        json_t *o = json_loadb(task, n_task, 0, NULL);
        int32_t r;
        json_t *reply = get(instance, call, text_of(json_object_get(o, "identity"), "id"), &r);

        if (reply && number(reply, "status") == 404)
                r = fail(call, PRVNG_NOT_FOUND, PRVNG_EFFECT_NONE, -1, "it is not there");
        else if (reply)
                r = write_server(result, json_object_get(reply, "server"));
        json_decref(reply);
        json_decref(o);
        return r;
}

/* The filter's members are our labels, but for the kind: there is one only. */
static int32_t list(void *instance, struct prvng_call *call, const void *filter, uint64_t n_filter,
                    struct prvng_sink *result)
{
        json_t *labels = json_loadb(filter, n_filter, 0, NULL), *reply, *found = json_array(), *server;
        int32_t r;
        size_t i;

        json_object_del(labels, "kind");
        reply = look(instance, call, json_pack("{s:s, s:o}", "do", "list", "labels", labels), &r);
        json_array_foreach (json_object_get(reply, "servers"), i, server) {
                const json_t *l = json_object_get(server, "labels");

                json_array_append_new(found,
                                      json_pack("{s:O, s:O, s:O, s:O, s:{s:O}}", "kind",
                                                json_object_get(server, "kind"), "name",
                                                json_object_get(server, "name"), "op_id",
                                                json_object_get(l, "op_id"), "workflow",
                                                json_object_get(l, "workflow"), "identity", "id",
                                                json_object_get(server, "id")));
        }
        r = reply ? write_json(result, json_pack("{s:O}", "resources", found)) : r;
        json_decref(found);
        json_decref(reply);
        return r;
}

static int32_t describe(void *instance, struct prvng_sink *result)
{
        static const char text[] =
                "{\"resources\":[{\"kind\":\"server\",\"verbs\":[\"create\",\"update\",\"delete\","
                "\"check\"],\"undo\":[\"create\",\"update\",\"delete\"],\"spec\":{\"type\":\"object\"},"
                "\"update\":{\"cpu\":\"live\",\"memory\":\"live\",\"disk\":\"live\"}}]}";

        return host->sink_write(result, text, sizeof(text) - 1) == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
}

static const struct prvng_op op = {
        .struct_size = sizeof(op),
        .prepare = prepare,
        .begin = begin,
        .poll = poll_create,
        .cancel = cancel,
        .observe = observe,
        .read = read_server,
        .list = list,
        .describe = describe,
};

/* The plugin itself */

static int32_t create(const struct prvng_host *h, const void *config, uint64_t n_config,
                      void **ret_instance)
{
        json_t *o = json_loadb(config, n_config, 0, NULL);
        const char *path = text_of(o, "socket");
        struct cloud *c = calloc(1, sizeof(*c));

        if (!c || !*path || strlen(path) >= sizeof(c->address.sun_path)) {
                host->log(host, PRVNG_LOG_ERROR, "config", "\"socket\" is missing or too long");
                json_decref(o);
                free(c);
                return PRVNG_PERMANENT;
        }
        c->address.sun_family = AF_UNIX;
        strcpy(c->address.sun_path, path);
        json_decref(o);
        *ret_instance = c;
        return PRVNG_DONE;
}

static void destroy(void *instance)
{
        free(instance);
}

static const void *get_interface(void *instance, const char *id)
{
        return strcmp(id, PRVNG_OP) == 0 || strcmp(id, PRVNG_PROVIDER) == 0 ? &op : NULL;
}

static const struct prvng_plugin plugin = {
        .struct_size = sizeof(plugin),
        .abi_minor = PRVNG_ABI_MINOR,
        .id = "org.prvng.test." SIMCLOUD_NAME,
        .name = SIMCLOUD_NAME,
        .kind = "provider",
        .version = "1.0",
        .description = "servers of the simulated cloud of the crash tests",
        .licence = "Apache-2.0",
        .threads = PRVNG_THREADS_PARALLEL,
        .settle_ms = SIMCLOUD_SETTLE_MS,
        .dependencies = "{\"requires_network\":false,\"network_before_servers\":false,"
                        "\"shared_resources\":[],\"api_rate_limit\":0,\"batch_size\":6}",
        .create = create,
        .destroy = destroy,
        .get_interface = get_interface,
};

int32_t prvng_plugin_v1(const struct prvng_host *h, const struct prvng_plugin **ret_plugin)
{
        host = h;
        *ret_plugin = &plugin;
        return PRVNG_DONE;
}
