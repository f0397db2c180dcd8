/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provider `local`: servers on this machine, each a Linux system of its own in namespaces. This
 * file is the border to the core: descriptor, configuration, and the calls of prvng.op/1.
 */
#include "local.h"

#include <stdarg.h>

#define TOKEN_FORMAT "1"

int32_t local_fail(struct local *l, struct prvng_call *call, int32_t class, uint32_t effect,
                   const char *field, const char *format, ...)
{
        char message[2048];
        va_list ap;

        va_start(ap, format);
        vsnprintf(message, sizeof(message), format, ap);
        va_end(ap);
        l->host->error(call, &(struct prvng_error){.struct_size = sizeof(struct prvng_error),
                                                   .error_class = class,
                                                   .retry_after_ms = -1,
                                                   .effect = effect,
                                                   .message = message,
                                                   .field = field});
        return class;
}

int32_t local_reply(struct local *l, struct prvng_call *call, struct prvng_sink *sink,
                    const json_t *value)
{
        _cleanup_(cleanup_free) char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS);

        if (text && l->host->sink_write(sink, text, strlen(text)) == 0)
                return PRVNG_DONE;
        return local_fail(l, call, PRVNG_INTERNAL, PRVNG_EFFECT_UNKNOWN, NULL,
                          "local: the answer could not be handed over");
}

const char *local_state(const struct local *l)
{
        return l->workdir->state(l->host, "local");
}

char *local_program(const struct local *l, const char *name)
{
        return local_format("%s/%s", l->libexec, name);
}

/* --- calls --- */

static json_t *parse(struct local *l, struct prvng_call *call, const void *data, uint64_t n)
{
        json_t *j = json_loadb(data, (size_t)n, JSON_REJECT_DUPLICATES, NULL);

        if (json_is_object(j))
                return j;
        json_decref(j);
        local_fail(l, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, NULL,
                   "local: what the core handed over is not a JSON object");
        return NULL;
}

static int32_t read_request(struct local *l, struct prvng_call *call, const void *data, uint64_t n,
                            struct request *ret)
{
        json_t *j = parse(l, call, data, n);

        if (!j)
                return PRVNG_PERMANENT;
        *ret = (struct request){.json = j,
                                .name = local_string(j, "name", ""),
                                .workflow = local_string(j, "workflow", ""),
                                .site = local_string(j, "site", ""),
                                .spec = json_object_get(j, "spec"),
                                .identity = json_object_get(j, "identity")};
        if (local_integer(j, "format", 0) == LOCAL_FORMAT && local_valid_name(ret->name) &&
            json_is_object(ret->spec))
                return PRVNG_DONE;
        return local_fail(l, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, NULL,
                          "local: the request is not one that this version of the plugin prepared");
}

static void cleanup_request(struct request *q)
{
        json_decref(q->json);
}

static bool no_state(struct local *l, struct prvng_call *call)
{
        if (local_state(l))
                return false;
        local_fail(l, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, NULL,
                   "local: the folder for the state of servers cannot be made");
        return true;
}

static int32_t unknown_verb(struct local *l, struct prvng_call *call, const char *verb)
{
        return local_fail(
                l, call, PRVNG_UNSUPPORTED, PRVNG_EFFECT_NONE, NULL,
                "local: servers know no verb %s; there are create, update, delete and check", verb);
}

static int32_t op_prepare(void *instance, struct prvng_call *call, const char *verb,
                          const void *task, uint64_t n_task, struct prvng_sink *request)
{
        struct local *l = instance;
        _cleanup_(cleanup_json) json_t *j = parse(l, call, task, n_task);

        if (!j)
                return PRVNG_PERMANENT;
        if (!streq(local_string(j, "kind", ""), "server"))
                return local_fail(l, call, PRVNG_UNSUPPORTED, PRVNG_EFFECT_NONE, "kind",
                                  "local: there are no resources of kind %s, only servers; their"
                                  " network is made with the first and removed with the last",
                                  local_string(j, "kind", "?"));
        return server_prepare(l, call, verb, j, request);
}

static int32_t op_begin(void *instance, struct prvng_call *call, const char *verb,
                        const void *request, uint64_t n_request, struct prvng_sink *token,
                        struct prvng_sink *result)
{
        struct local *l = instance;
        _cleanup_(cleanup_request) struct request q = {0};
        int32_t r = read_request(l, call, request, n_request, &q);

        if (r < 0 || no_state(l, call))
                return PRVNG_PERMANENT;
        if (streq(verb, "create"))
                return server_create(l, call, &q, true, token, result);
        if (streq(verb, "update"))
                return server_update(l, call, &q, true, token, result);
        if (streq(verb, "delete"))
                return server_delete(l, call, &q, NULL, token, result);
        if (streq(verb, "check"))
                return server_check(l, call, &q, result);
        return unknown_verb(l, call, verb);
}

static const char job_characters[] =
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._-";

/* "1 VERB [JOB]". The job is "" if there is none; to be freed. NULL: not our token. */
static char *read_token(const void *token, uint64_t n, const char *verb)
{
        _cleanup_(cleanup_free) char *text =
                n <= PRVNG_TOKEN_MAX ? strndup(token, (size_t)n) : NULL;
        _cleanup_(cleanup_free) char *begin = local_format(TOKEN_FORMAT " %s", verb);
        size_t k = begin ? strlen(begin) : 0;

        if (!text || !begin || strlen(text) != n || strncmp(text, begin, k) != 0)
                return NULL;
        if (text[k] == '\0')
                return strdup("");
        if (text[k] != ' ' || strspn(text + k + 1, job_characters) != n - k - 1)
                return NULL;
        return strdup(text + k + 1);
}

static int32_t op_poll(void *instance, struct prvng_call *call, const char *verb,
                       const void *request, uint64_t n_request, const void *token, uint64_t n_token,
                       struct prvng_sink *new_token, struct prvng_sink *result)
{
        struct local *l = instance;
        _cleanup_(cleanup_request) struct request q = {0};
        _cleanup_(cleanup_free) char *job = read_token(token, n_token, verb);

        if (!job)
                return local_fail(l, call, PRVNG_TOKEN_REJECTED, PRVNG_EFFECT_UNKNOWN, NULL,
                                  "local: not a token of this plugin");
        if (read_request(l, call, request, n_request, &q) < 0 || no_state(l, call))
                return PRVNG_PERMANENT;
        if (streq(verb, "create"))
                return server_create(l, call, &q, false, NULL, result);
        if (streq(verb, "update"))
                return server_update(l, call, &q, false, NULL, result);
        if (streq(verb, "delete"))
                return server_delete(l, call, &q, job, NULL, result);
        return unknown_verb(l, call, verb);
}

static int32_t op_cancel(void *instance, struct prvng_call *call, const char *verb,
                         const void *request, uint64_t n_request, const void *token,
                         uint64_t n_token, struct prvng_sink *result)
{
        struct local *l = instance;
        _cleanup_(cleanup_request) struct request q = {0};

        if (read_request(l, call, request, n_request, &q) < 0 || no_state(l, call))
                return PRVNG_PERMANENT;
        return server_cancel(l, call, &q, verb, result);
}

static int32_t op_observe(void *instance, struct prvng_call *call, const char *verb,
                          const void *request, uint64_t n_request, const void *token,
                          uint64_t n_token, struct prvng_sink *new_token, struct prvng_sink *result)
{
        struct local *l = instance;
        _cleanup_(cleanup_request) struct request q = {0};
        /* A token that is not ours says no less than none. */
        _cleanup_(cleanup_free) char *job = n_token ? read_token(token, n_token, verb) : NULL;

        if (read_request(l, call, request, n_request, &q) < 0 || no_state(l, call))
                return PRVNG_PERMANENT;
        return server_observe(l, call, &q, verb, job ? job : "", new_token, result);
}

static int32_t op_read(void *instance, struct prvng_call *call, const void *task, uint64_t n_task,
                       struct prvng_sink *result)
{
        struct local *l = instance;
        _cleanup_(cleanup_json) json_t *j = parse(l, call, task, n_task);

        if (!j || no_state(l, call))
                return PRVNG_PERMANENT;
        return server_read(l, call, j, result);
}

static int32_t op_list(void *instance, struct prvng_call *call, const void *filter,
                       uint64_t n_filter, struct prvng_sink *result)
{
        struct local *l = instance;
        _cleanup_(cleanup_json) json_t *j =
                n_filter ? parse(l, call, filter, n_filter) : json_object();

        if (!j || no_state(l, call))
                return PRVNG_PERMANENT;
        return server_list(l, call, j, result);
}

static const char description[] =
        "{\"resources\":[{\"kind\":\"server\",\"verbs\":[\"create\",\"update\",\"delete\","
        "\"check\"],"
        "\"undo\":[\"create\",\"update\"],"
        "\"spec\":{\"type\":\"object\",\"properties\":{"
        "\"name\":{\"type\":\"string\"},"
        "\"cpu\":{\"type\":\"number\",\"exclusiveMinimum\":0,\"default\":1,"
        "\"description\":\"cores\"},"
        "\"memory\":{\"type\":\"integer\",\"minimum\":64,\"default\":1024,"
        "\"description\":\"MiB\"},"
        "\"disk\":{\"type\":\"integer\",\"description\":\"GiB; recorded, not enforced\"},"
        "\"image\":{\"type\":\"string\",\"description\":\"the machine's own release, e.g."
        " bookworm or debian-12\"},"
        "\"state\":{\"enum\":[\"running\",\"stopped\",\"restarted\"],\"default\":\"running\"},"
        "\"ssh_keys\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},"
        "\"labels\":{\"type\":\"object\"},"
        "\"local\":{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
        "\"pids\":{\"type\":\"integer\",\"minimum\":32,\"default\":4096},"
        "\"state\":{\"enum\":[\"running\",\"stopped\",\"restarted\"]}}}}},"
        "\"update\":{\"cpu\":\"live\",\"memory\":\"live\",\"labels\":\"live\",\"state\":\"live\","
        "\"local\":\"live\",\"ssh_keys\":\"replace\",\"image\":\"replace\",\"disk\":\"replace\"}}]"
        "}";

static int32_t op_describe(void *instance, struct prvng_sink *result)
{
        struct local *l = instance;

        return l->host->sink_write(result, description, sizeof(description) - 1) == 0
                       ? PRVNG_DONE
                       : PRVNG_INTERNAL;
}

static const struct prvng_op op = {
        .struct_size = sizeof(op),
        .prepare = op_prepare,
        .begin = op_begin,
        .poll = op_poll,
        .cancel = op_cancel,
        .observe = op_observe,
        .read = op_read,
        .list = op_list,
        .describe = op_describe,
};

/* --- the instance --- */

static void destroy(void *instance)
{
        struct local *l = instance;

        if (!l)
                return;
        free(l->libexec);
        free(l->apt_mirror);
        free(l->http_proxy);
        free(l->https_proxy);
        free(l->no_proxy);
        json_decref(l->probe);
        pthread_mutex_destroy(&l->lock);
        free(l);
}

static int32_t refuse(const struct prvng_host *host, const char *format, ...) _printf_(2, 3);
static int32_t refuse(const struct prvng_host *host, const char *format, ...)
{
        char text[512];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        host->log(host, PRVNG_LOG_ERROR, "config", text);
        return PRVNG_PERMANENT;
}

static char *copy_string(const json_t *object, const char *key)
{
        const char *s = local_string(object, key, "");

        return *s ? strdup(s) : NULL;
}

static int32_t configure(struct local *l, const json_t *config)
{
        static const char *const known[] = {"libexec", "sources", "subnet", "driver"};
        const json_t *sources = json_object_get(config, "sources");
        const char *subnet = local_string(config, "subnet", "");
        const char *driver = local_string(config, "driver", "ns");
        const char *libexec = local_string(config, "libexec", getenv("PRVNG_LIBEXEC_PATH"));
        const char *key;
        json_t *value;

        json_object_foreach((json_t *)(uintptr_t)config, key, value)
        {
                bool ok = false;

                for (size_t i = 0; i < N_ELEMENTS(known); i++)
                        ok = ok || streq(key, known[i]);
                if (!ok)
                        return refuse(l->host,
                                      "local: unknown key %s in the configuration; there are"
                                      " subnet and driver",
                                      key);
        }
        if (*subnet && local_parse_subnet(subnet, &l->subnet) < 0)
                return refuse(l->host,
                              "local: subnet = \"%s\" is not accepted; write a network of 256"
                              " addresses, such as \"10.77.0.0/24\"",
                              subnet);
        if (!streq(driver, "ns") && !streq(driver, "chroot"))
                return refuse(l->host,
                              "local: driver = \"%s\" is not known; there are \"ns\" and"
                              " \"chroot\"",
                              driver);
        if (!libexec || !*libexec)
                return refuse(l->host, "local: the folder of the helper programs is not known; set"
                                       " PRVNG_LIBEXEC_PATH");
        l->chroot = streq(driver, "chroot");
        l->libexec = strdup(libexec);
        l->apt_mirror = copy_string(sources, "apt_mirror");
        l->http_proxy = copy_string(sources, "http_proxy");
        l->https_proxy = copy_string(sources, "https_proxy");
        l->no_proxy = copy_string(sources, "no_proxy");
        return l->libexec ? PRVNG_DONE : PRVNG_INTERNAL;
}

static int32_t create(const struct prvng_host *host, const void *config, uint64_t n_config,
                      void **ret_instance)
{
        _cleanup_(cleanup_json) json_t *j =
                json_loadb(config, (size_t)n_config, JSON_REJECT_DUPLICATES, NULL);
        struct local *l;
        int32_t r;

        if (!json_is_object(j))
                return refuse(host, "local: the configuration is not an object");
        l = calloc(1, sizeof(*l));
        if (!l)
                return PRVNG_INTERNAL;
        pthread_mutex_init(&l->lock, NULL);
        l->host = host;
        l->spawn = host->get_interface(host, PRVNG_HOST_SPAWN);
        l->workdir = host->get_interface(host, PRVNG_HOST_WORKDIR);
        if (!l->spawn || !l->workdir)
                r = refuse(host, "local: needs %s of the core",
                           l->spawn ? PRVNG_HOST_WORKDIR : PRVNG_HOST_SPAWN);
        else
                r = configure(l, j);
        if (r < 0) {
                destroy(l);
                return r;
        }
        *ret_instance = l;
        return PRVNG_DONE;
}

static const void *get_interface(void *instance, const char *id)
{
        return streq(id, PRVNG_OP) || streq(id, PRVNG_PROVIDER) ? &op : NULL;
}

static int32_t self_test(void *instance, struct prvng_call *call, struct prvng_sink *report)
{
        struct local *l = instance;
        _cleanup_(cleanup_json) json_t *j = NULL;
        int32_t r = probe_run(l, call, &j);

        return r < 0 ? r : local_reply(l, call, report, j);
}

static const struct prvng_plugin plugin = {
        .struct_size = sizeof(plugin),
        .abi_minor = PRVNG_ABI_MINOR,
        .id = "org.prvng.provider.local",
        .name = "local",
        .kind = "provider",
        .version = PRVNG_VERSION,
        .description = "servers on this machine, each with its own systemd, address and limits",
        .licence = "Apache-2.0",
        .threads = PRVNG_THREADS_PARALLEL,
        .dependencies = "{\"requires_network\":false,\"network_before_servers\":false,"
                        "\"shared_resources\":[],\"api_rate_limit\":0,\"batch_size\":8}",
        .create = create,
        .destroy = destroy,
        .get_interface = get_interface,
        .self_test = self_test,
};

/* The programs have all rights of the engine: they mount, and make namespaces and networks. */
PRVNG_PLUGIN_NOTE_WITH("provider", "org.prvng.provider.local", "local", PRVNG_VERSION,
                       "[\"prvng.host.spawn/1\",\"prvng.host.workdir/1\"]", "none",
                       "{\"programs\":[\"prvng-local-monitor\",\"prvng-local-base\",\"prvng-local-probe\","
                       "\"prvng-local-enter\"],\"paths\":{\"read\":[\"/proc\"]}}");

int32_t prvng_plugin_v1(const struct prvng_host *host, const struct prvng_plugin **ret_plugin)
{
        *ret_plugin = &plugin;
        return PRVNG_DONE;
}
