/* SPDX-License-Identifier: Apache-2.0 */
/* The border to the core: descriptor, instance, and the calls of prvng.op/1, given to their kinds.
 */
#include "upcloud.h"

static const struct kind *const kinds[] = {&kind_server, &kind_network, &kind_security_group,
                                           &kind_credential};

static const struct kind *find_kind(const char *name)
{
        for (size_t i = 0; i < N_ELEMENTS(kinds); i++)
                if (streq(kinds[i]->name, name))
                        return kinds[i];
        return NULL;
}

static json_t *parse(struct upcloud *u, struct prvng_call *call, const void *data, uint64_t n)
{
        json_t *j = json_loadb(data, (size_t)n, JSON_REJECT_DUPLICATES, NULL);

        if (json_is_object(j))
                return j;
        json_decref(j);
        up_fail(u, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, NULL,
                "upcloud: what the core handed over is not a JSON object");
        return NULL;
}

/* Of a request, or of a task; the latter has its identity in an object. */
static const struct kind *fill(struct upcloud *u, struct prvng_call *call, json_t *j,
                               struct request *ret)
{
        const struct kind *kind = find_kind(up_string(j, "kind", ""));

        *ret = (struct request){
                .json = j,
                .kind = up_string(j, "kind", ""),
                .name = up_string(j, "name", ""),
                .workflow = up_string(j, "workflow", ""),
                .site = up_string(j, "site", ""),
                .id = up_string(j, "id", up_string(json_object_get(j, "identity"), "id", "")),
                .spec = json_object_get(j, "spec")};
        if (!kind)
                up_fail(u, call, PRVNG_UNSUPPORTED, PRVNG_EFFECT_NONE, "kind",
                        "upcloud: there are no resources of kind %.64s; there are server, network,"
                        " security_group and credential",
                        ret->kind);
        return kind;
}

static const struct kind *read_request(struct upcloud *u, struct prvng_call *call, const void *data,
                                       uint64_t n, struct request *ret)
{
        json_t *j = parse(u, call, data, n);
        const struct kind *kind;

        if (!j)
                return NULL;
        kind = fill(u, call, j, ret);
        if (!kind || (up_number(j, "format", 0) == UPCLOUD_FORMAT && json_is_object(ret->spec)))
                return kind;
        up_fail(u, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, NULL,
                "upcloud: the request is not one that this version of the plugin prepared");
        return NULL;
}

static void cleanup_request(struct request *q)
{
        json_decref(q->json);
}

static bool is_verb(const char *verb)
{
        return streq(verb, "create") || streq(verb, "update") || streq(verb, "delete") ||
               streq(verb, "check");
}

static int32_t op_prepare(void *instance, struct prvng_call *call, const char *verb,
                          const void *task, uint64_t n_task, struct prvng_sink *request)
{
        struct upcloud *u = instance;
        _cleanup_(cleanup_json) json_t *j = parse(u, call, task, n_task), *out = NULL;
        const struct kind *kind;
        struct request q;
        int32_t r;

        kind = j ? fill(u, call, j, &q) : NULL;
        if (!kind)
                return j ? PRVNG_UNSUPPORTED : PRVNG_PERMANENT;
        if (!is_verb(verb) || (kind == &kind_credential && !streq(verb, "update")))
                return up_fail(u, call, PRVNG_UNSUPPORTED, PRVNG_EFFECT_NONE, NULL,
                               "upcloud: resources of kind %s know no verb %.32s", kind->name,
                               verb);
        if (!*q.name)
                return up_fail(u, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, "name",
                               "upcloud: there is no name");
        out = json_pack("{s:i, s:s, s:s, s:s, s:s}", "format", UPCLOUD_FORMAT, "kind", kind->name,
                        "name", q.name, "workflow", q.workflow, "site", q.site);
        if (!out)
                return PRVNG_INTERNAL;
        if (*q.id)
                json_object_set_new(out, "id", json_string(q.id));
        r = kind->prepare(u, call, verb, j, out);
        return r < 0 ? r : up_reply(u, call, request, out);
}

static int32_t op_begin(void *instance, struct prvng_call *call, const char *verb,
                        const void *request, uint64_t n_request, struct prvng_sink *token,
                        struct prvng_sink *result)
{
        _cleanup_(cleanup_request) struct request q = {0};
        const struct kind *kind = read_request(instance, call, request, n_request, &q);

        return kind ? kind->begin(instance, call, verb, &q, token, result) : PRVNG_PERMANENT;
}

/* NULL: not our token. */
static json_t *read_token(const void *token, uint64_t n, const char *verb)
{
        json_t *j = n > 2 && n <= PRVNG_TOKEN_MAX && memcmp(token, "1 ", 2) == 0
                            ? json_loadb((const char *)token + 2, (size_t)n - 2,
                                         JSON_REJECT_DUPLICATES, NULL)
                            : NULL;

        if (streq(up_string(j, "verb", ""), verb))
                return j;
        json_decref(j);
        return NULL;
}

static int32_t op_poll(void *instance, struct prvng_call *call, const char *verb,
                       const void *request, uint64_t n_request, const void *token, uint64_t n_token,
                       struct prvng_sink *new_token, struct prvng_sink *result)
{
        _cleanup_(cleanup_request) struct request q = {0};
        _cleanup_(cleanup_json) json_t *t = read_token(token, n_token, verb);
        const struct kind *kind = read_request(instance, call, request, n_request, &q);

        if (!kind)
                return PRVNG_PERMANENT;
        if (!t || (kind == &kind_server && !up_is_uuid(up_string(t, "id", ""))))
                return up_fail(instance, call, PRVNG_TOKEN_REJECTED, PRVNG_EFFECT_UNKNOWN, NULL,
                               "upcloud: not a token of this plugin");
        return kind->poll(instance, call, verb, &q, t, new_token, result);
}

/* What is being made is made to its end by the API; what was made stays, for undo. */
static int32_t op_cancel(void *instance, struct prvng_call *call, const char *verb,
                         const void *request, uint64_t n_request, const void *token,
                         uint64_t n_token, struct prvng_sink *result)
{
        return up_fail(instance, call, PRVNG_CANCELLED, PRVNG_EFFECT_PARTIAL, NULL,
                       "upcloud: the %s was not waited for to its end", verb);
}

static int32_t op_observe(void *instance, struct prvng_call *call, const char *verb,
                          const void *request, uint64_t n_request, const void *token,
                          uint64_t n_token, struct prvng_sink *new_token, struct prvng_sink *result)
{
        _cleanup_(cleanup_request) struct request q = {0};
        /* A token that is not ours says no less than none. */
        _cleanup_(cleanup_json) json_t *t = n_token ? read_token(token, n_token, verb) : NULL;
        const struct kind *kind = read_request(instance, call, request, n_request, &q);

        if (!kind)
                return PRVNG_PERMANENT;
        if (t && up_present(t, "id") && !up_is_uuid(up_string(t, "id", "")))
                json_object_del(t, "id");
        return kind->observe(instance, call, verb, &q, t, new_token, result);
}

/* `reach` and what else of the result depends on the definition comes from the request that prepare
 * would make of the task; a task that cannot be prepared is read all the same. */
static int32_t op_read(void *instance, struct prvng_call *call, const void *task, uint64_t n_task,
                       struct prvng_sink *result)
{
        struct upcloud *u = instance;
        _cleanup_(cleanup_json) json_t *j = parse(u, call, task, n_task), *out = json_object();
        const struct kind *kind;
        struct request q;

        kind = j ? fill(u, call, j, &q) : NULL;
        if (!kind)
                return j ? PRVNG_UNSUPPORTED : PRVNG_PERMANENT;
        if (!kind->read)
                return up_fail(u, call, PRVNG_UNSUPPORTED, PRVNG_EFFECT_NONE, NULL,
                               "upcloud: a %s cannot be read", kind->name);
        if (kind->prepare(u, call, "check", j, out) == PRVNG_DONE) {
                q.json = out;
                q.spec = json_object_get(out, "spec");
        }
        return kind->read(u, call, &q, result);
}

static int32_t op_list(void *instance, struct prvng_call *call, const void *filter,
                       uint64_t n_filter, struct prvng_sink *result)
{
        struct upcloud *u = instance;
        _cleanup_(cleanup_json) json_t *j =
                n_filter ? parse(u, call, filter, n_filter) : json_object();
        _cleanup_(cleanup_json) json_t *out = NULL;
        json_t *resources = json_array();
        const char *only = up_string(j, "kind", NULL);
        int32_t r = j ? PRVNG_DONE : PRVNG_PERMANENT;

        for (size_t i = 0; i < N_ELEMENTS(kinds) && r == PRVNG_DONE; i++)
                if (kinds[i]->list && (!only || streq(only, kinds[i]->name)))
                        r = kinds[i]->list(u, call, j, resources);
        out = json_pack("{s:o}", "resources", resources);
        return r < 0 ? r : up_reply(u, call, result, out);
}

static int32_t op_describe(void *instance, struct prvng_sink *result)
{
        struct upcloud *u = instance;

        return u->host->sink_write(result, describe_text, strlen(describe_text)) == 0
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
        struct upcloud *u = instance;

        if (!u)
                return;
        if (u->session)
                u->http->session_free(u->session);
        config_deinit(&u->config);
        watch_deinit(&u->watch);
        json_decref(u->images);
        pthread_mutex_destroy(&u->lock);
        pthread_mutex_destroy(&u->images_lock);
        free(u);
}

static int32_t create(const struct prvng_host *host, const void *config, uint64_t n_config,
                      void **ret_instance)
{
        _cleanup_(cleanup_json) json_t *j =
                json_loadb(config, (size_t)n_config, JSON_REJECT_DUPLICATES, NULL);
        struct upcloud *u;
        int32_t r = PRVNG_PERMANENT;

        if (!json_is_object(j)) {
                host->log(host, PRVNG_LOG_ERROR, "config",
                          "upcloud: the configuration is not an object");
                return PRVNG_PERMANENT;
        }
        u = calloc(1, sizeof(*u));
        if (!u)
                return PRVNG_INTERNAL;
        u->host = host;
        pthread_mutex_init(&u->lock, NULL);
        pthread_mutex_init(&u->images_lock, NULL);
        watch_init(&u->watch);
        u->http = host->get_interface(host, PRVNG_HOST_HTTP);
        if (!u->http)
                host->log(host, PRVNG_LOG_ERROR, "config",
                          "upcloud: needs " PRVNG_HOST_HTTP " of the core");
        else
                r = config_read(u, j);
        if (r < 0) {
                destroy(u);
                return r;
        }
        *ret_instance = u;
        return PRVNG_DONE;
}

static const void *get_interface(void *instance, const char *id)
{
        if (streq(id, PRVNG_PROVIDER_PRECHECK))
                return &precheck;
        if (streq(id, PRVNG_PROVIDER_INVENTORY))
                return &inventory;
        return streq(id, PRVNG_OP) || streq(id, PRVNG_PROVIDER) ? &op : NULL;
}

static const struct prvng_plugin plugin = {
        .struct_size = sizeof(plugin),
        .abi_minor = PRVNG_ABI_MINOR,
        .id = "org.prvng.provider.upcloud",
        .name = "upcloud",
        .kind = "provider",
        .version = PRVNG_VERSION,
        .description = "servers, private networks and firewall rules at UpCloud",
        .licence = "Apache-2.0",
        .threads = PRVNG_THREADS_PARALLEL,
        .settle_ms = UPCLOUD_SETTLE_MS,
        .dependencies = "{\"requires_network\":true,\"network_before_servers\":true,"
                        "\"shared_resources\":[\"private_network\",\"security_group\"],"
                        "\"api_rate_limit\":10,\"batch_size\":5}",
        .create = create,
        .destroy = destroy,
        .get_interface = get_interface,
        .self_test = precheck_self_test,
};

PRVNG_PLUGIN_NOTE_WITH("provider", "org.prvng.provider.upcloud", "upcloud", PRVNG_VERSION,
                       "[\"prvng.host.http/1\"]", "none",
                       "{\"hosts\":[\"api.upcloud.com:443\"],"
                       "\"secrets\":[\"UPCLOUD_TOKEN\",\"UPCLOUD_USERNAME\",\"UPCLOUD_PASSWORD\"],"
                       "\"environment\":[\"UPCLOUD_DEBUG_API_BASE_URL\"]}");

int32_t prvng_plugin_v1(const struct prvng_host *host, const struct prvng_plugin **ret_plugin)
{
        *ret_plugin = &plugin;
        return PRVNG_DONE;
}
