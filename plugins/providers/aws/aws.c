/* SPDX-License-Identifier: Apache-2.0 */
/* The border to the core: descriptor, configuration, and the calls of prvng.op/1. */
#include "aws.h"

struct kind {
        const char *name;
        int32_t (*prepare)(struct aws *a, struct prvng_call *call, const char *verb, const json_t *task,
                           json_t *out);
        poll_function *create, *update, *delete, *check; /* NULL: there is no such verb */
        int32_t (*read)(struct op *o);
};

static const struct kind kinds[] = {
        {"server", server_prepare, server_create_poll, server_update_poll, server_delete_poll, server_check,
         server_read},
        {"network", network_prepare, network_create_poll, network_update_poll, network_delete_poll, network_check,
         network_read},
        {"security_group", group_prepare, group_create_poll, group_update_poll, group_delete_poll, group_check,
         group_read},
        {"credential", rotate_prepare, NULL, rotate_poll, NULL, NULL, NULL},
};

static const struct kind *kind_by_name(const char *name)
{
        for (size_t i = 0; i < N_ELEMENTS(kinds); i++)
                if (streq(kinds[i].name, name))
                        return &kinds[i];
        return NULL;
}

static poll_function *poll_of(const struct kind *k, const char *verb)
{
        if (streq(verb, "create"))
                return k->create;
        if (streq(verb, "update"))
                return k->update;
        if (streq(verb, "delete"))
                return k->delete;
        return streq(verb, "check") ? k->check : NULL;
}

static json_t *parse(struct aws *a, struct prvng_call *call, const void *data, uint64_t n)
{
        json_t *j = json_loadb(data, (size_t)n, JSON_REJECT_DUPLICATES, NULL);

        if (json_is_object(j))
                return j;
        json_decref(j);
        aws_fail(a, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, NULL,
                 "aws: what the core handed over is not a JSON object");
        return NULL;
}

static int32_t unknown(struct aws *a, struct prvng_call *call, const char *kind, const char *verb)
{
        if (!kind_by_name(kind))
                return aws_fail(a, call, PRVNG_UNSUPPORTED, PRVNG_EFFECT_NONE, "kind",
                                "aws: there are no resources of kind %s", kind);
        return aws_fail(a, call, PRVNG_UNSUPPORTED, PRVNG_EFFECT_NONE, NULL, "aws: %s cannot be done to a %s", verb,
                        kind);
}

static int32_t op_prepare(void *instance, struct prvng_call *call, const char *verb, const void *task,
                          uint64_t n_task, struct prvng_sink *request)
{
        struct aws *a = instance;
        _cleanup_(cleanup_json) json_t *j = parse(a, call, task, n_task), *out = NULL;
        static const char *const copied[] = {"kind", "name", "workflow", "site", "identity"};
        const struct kind *k;
        int32_t r;

        if (!j)
                return PRVNG_PERMANENT;
        k = kind_by_name(aws_string(j, "kind", ""));
        if (!k || !poll_of(k, verb))
                return unknown(a, call, aws_string(j, "kind", ""), verb);
        out = json_pack("{s:i}", "format", AWS_FORMAT);
        for (size_t i = 0; i < N_ELEMENTS(copied); i++)
                if (aws_present(j, copied[i]))
                        json_object_set(out, copied[i], json_object_get(j, copied[i]));
        r = k->prepare(a, call, verb, j, out);
        return r < 0 ? r : aws_reply(a, call, request, out);
}

/* --- an operation --- */

static void op_deinit(struct op *o)
{
        json_decref(o->request);
        json_decref(o->token);
}

static void name_it(struct op *o)
{
        o->kind = aws_string(o->request, "kind", "");
        o->name = aws_string(o->request, "name", "");
        o->workflow = aws_string(o->request, "workflow", "");
        o->site = aws_string(o->request, "site", "");
}

static int32_t op_init(struct op *o, const void *request, uint64_t n_request)
{
        o->request = parse(o->a, o->call, request, n_request);
        if (!o->request)
                return PRVNG_PERMANENT;
        name_it(o);
        if (aws_integer(o->request, "format", 0) == AWS_FORMAT && *o->name && kind_by_name(o->kind))
                return PRVNG_DONE;
        return aws_fail(o->a, o->call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, NULL,
                        "aws: the request is not one that this version of the plugin prepared");
}

/* NULL: not our token. */
static json_t *read_token(const void *token, uint64_t n)
{
        const char *text = token;
        json_t *j;

        if (n < 4 || n > PRVNG_TOKEN_MAX || text[0] != '0' + AWS_FORMAT || text[1] != ' ')
                return NULL;
        j = json_loadb(text + 2, (size_t)n - 2, JSON_REJECT_DUPLICATES, NULL);
        if (json_is_object(j) && *aws_string(j, "step", ""))
                return j;
        json_decref(j);
        return NULL;
}

static int32_t op_begin(void *instance, struct prvng_call *call, const char *verb, const void *request,
                        uint64_t n_request, struct prvng_sink *token, struct prvng_sink *result)
{
        _cleanup_(op_deinit) struct op o = {.a = instance, .call = call, .verb = verb, .token_sink = token,
                                            .result_sink = result};
        int32_t r = op_init(&o, request, n_request);
        poll_function *f;

        if (r < 0)
                return r;
        f = poll_of(kind_by_name(o.kind), verb);
        if (!f)
                return unknown(o.a, call, o.kind, verb);
        return streq(verb, "check") ? f(&o) : op_pending(&o, "begin", 0);
}

static int32_t op_poll(void *instance, struct prvng_call *call, const char *verb, const void *request,
                       uint64_t n_request, const void *token, uint64_t n_token, struct prvng_sink *new_token,
                       struct prvng_sink *result)
{
        _cleanup_(op_deinit) struct op o = {.a = instance, .call = call, .verb = verb, .token_sink = new_token,
                                            .result_sink = result};
        int32_t r;
        poll_function *f;

        o.token = read_token(token, n_token);
        if (!o.token)
                return aws_fail(o.a, call, PRVNG_TOKEN_REJECTED, PRVNG_EFFECT_UNKNOWN, NULL,
                                "aws: not a token of this plugin");
        r = op_init(&o, request, n_request);
        if (r < 0)
                return r;
        f = poll_of(kind_by_name(o.kind), verb);
        return f ? f(&o) : unknown(o.a, call, o.kind, verb);
}

static int32_t op_cancel(void *instance, struct prvng_call *call, const char *verb, const void *request,
                         uint64_t n_request, const void *token, uint64_t n_token, struct prvng_sink *result)
{
        _cleanup_(op_deinit) struct op o = {.a = instance, .call = call, .verb = verb, .result_sink = result};
        int32_t r = op_init(&o, request, n_request);

        if (r < 0)
                return r;
        o.token = read_token(token, n_token);
        return server_cancel(&o);
}

/*
 * Nothing leaves before its token is journaled, so a token says how to go on, and without one nothing was
 * done. A create looks nevertheless: a token that was lost with a disk must not lead to a second server.
 */
static int32_t op_observe(void *instance, struct prvng_call *call, const char *verb, const void *request,
                          uint64_t n_request, const void *token, uint64_t n_token,
                          struct prvng_sink *new_token, struct prvng_sink *result)
{
        _cleanup_(op_deinit) struct op o = {.a = instance, .call = call, .verb = verb, .token_sink = new_token,
                                            .result_sink = result, .observing = true};
        int32_t r = op_init(&o, request, n_request);

        if (r < 0)
                return r;
        o.token = n_token ? read_token(token, n_token) : NULL;
        if (o.token)
                return op_pending(&o, aws_string(o.token, "step", ""), 0);
        /* A token of another version: from the start, which finds what carries the op id. */
        return n_token ? op_pending(&o, "begin", 0) : PRVNG_OBSERVED_NOT_STARTED;
}

static int32_t op_read(void *instance, struct prvng_call *call, const void *task, uint64_t n_task,
                       struct prvng_sink *result)
{
        _cleanup_(op_deinit) struct op o = {.a = instance, .call = call, .verb = "read", .result_sink = result};
        const struct kind *k;

        o.request = parse(o.a, call, task, n_task);
        if (!o.request)
                return PRVNG_PERMANENT;
        name_it(&o);
        k = kind_by_name(o.kind);
        return k && k->read ? k->read(&o) : unknown(o.a, call, o.kind, "read");
}

static int32_t op_list(void *instance, struct prvng_call *call, const void *filter, uint64_t n_filter,
                       struct prvng_sink *result)
{
        _cleanup_(cleanup_json) json_t *j = n_filter ? parse(instance, call, filter, n_filter) : json_object();

        return j ? aws_list(instance, call, j, result) : PRVNG_PERMANENT;
}

static int32_t op_describe(void *instance, struct prvng_sink *result)
{
        struct aws *a = instance;

        return a->host->sink_write(result, aws_description, strlen(aws_description)) == 0 ? PRVNG_DONE
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
        struct aws *a = instance;

        if (!a)
                return;
        if (a->access)
                access_put(a, a->access);
        aws_unconfigure(a);
        pthread_mutex_destroy(&a->lock);
        free(a);
}

static int32_t create(const struct prvng_host *host, const void *config, uint64_t n_config, void **ret_instance)
{
        _cleanup_(cleanup_json) json_t *j = json_loadb(config, (size_t)n_config, JSON_REJECT_DUPLICATES, NULL);
        struct aws *a;
        int32_t r = PRVNG_PERMANENT;

        if (!json_is_object(j)) {
                host->log(host, PRVNG_LOG_ERROR, "config", "aws: the configuration is not an object");
                return PRVNG_PERMANENT;
        }
        a = calloc(1, sizeof(*a));
        if (!a)
                return PRVNG_INTERNAL;
        pthread_mutex_init(&a->lock, NULL);
        a->host = host;
        a->http = host->get_interface(host, PRVNG_HOST_HTTP);
        if (!a->http || a->http->struct_size < PRVNG_HOST_HTTP_BASELINE)
                host->log(host, PRVNG_LOG_ERROR, "config", "aws: needs " PRVNG_HOST_HTTP " of the core");
        else
                r = aws_configure(a, j);
        if (r < 0) {
                destroy(a);
                return r;
        }
        *ret_instance = a;
        return PRVNG_DONE;
}

static const void *get_interface(void *instance, const char *id)
{
        if (streq(id, PRVNG_OP) || streq(id, PRVNG_PROVIDER))
                return &op;
        if (streq(id, PRVNG_PROVIDER_PRECHECK))
                return &aws_precheck;
        return streq(id, PRVNG_PROVIDER_INVENTORY) ? &aws_inventory : NULL;
}

/* Who are we, and does it work? */
static int32_t self_test(void *instance, struct prvng_call *call, struct prvng_sink *report)
{
        struct aws *a = instance;
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};
        _cleanup_(cleanup_json) json_t *j = NULL;
        _cleanup_(cleanup_free) char *text = NULL;
        const struct xml_node *who;
        int32_t r;

        query_begin(&q, "GetCallerIdentity", STS_VERSION);
        r = aws_ask(a, call, AWS_STS, &q, &reply);
        who = xml_find(reply_root(&reply), "GetCallerIdentityResult");
        text = r == PRVNG_DONE ? aws_format("%s, in %s", xml_text(who, "Arn"), a->region) : strdup(reply.fault.message);
        j = json_pack("{s:[{s:s, s:b, s:s*, s:s}]}", "checks", "name", "credentials", "ok", r == PRVNG_DONE, "message",
                      text, "cure",
                      r == PRVNG_DONE ? "" : "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION for the engine");
        return aws_reply(a, call, report, j);
}

static const struct prvng_plugin plugin = {
        .struct_size = sizeof(plugin),
        .abi_minor = PRVNG_ABI_MINOR,
        .id = "org.prvng.provider.aws",
        .name = "aws",
        .kind = "provider",
        .version = PRVNG_VERSION,
        .description = "servers, networks and security groups of Amazon EC2",
        .licence = "Apache-2.0",
        .threads = PRVNG_THREADS_PARALLEL,
        .settle_ms = 0, /* the plugin settles itself: see aws.h */
        .dependencies = "{\"requires_network\":false,\"network_before_servers\":true,"
                        "\"shared_resources\":[\"security_group\"],\"api_rate_limit\":20,\"batch_size\":10}",
        .create = create,
        .destroy = destroy,
        .get_interface = get_interface,
        .self_test = self_test,
};

/* The shared files may hold secrets, and what they name else (a role to assume) only we can tell. */
PRVNG_PLUGIN_NOTE_WITH("provider", "org.prvng.provider.aws", "aws", PRVNG_VERSION, "[\"prvng.host.http/1\"]", "none",
                       "{\"hosts\":[\"*.amazonaws.com:443\",\"*.amazonaws.com.cn:443\",\"169.254.169.254:80\"],"
                       "\"secrets\":[\"AWS_ACCESS_KEY_ID\",\"AWS_SECRET_ACCESS_KEY\",\"AWS_SESSION_TOKEN\"],"
                       "\"environment\":[\"HOME\",\"AWS_REGION\",\"AWS_DEFAULT_REGION\",\"AWS_PROFILE\","
                       "\"AWS_SHARED_CREDENTIALS_FILE\",\"AWS_CONFIG_FILE\",\"AWS_ENDPOINT_URL\","
                       "\"AWS_ENDPOINT_URL_EC2\",\"AWS_ENDPOINT_URL_IAM\",\"AWS_ENDPOINT_URL_STS\","
                       "\"AWS_EC2_METADATA_SERVICE_ENDPOINT\",\"AWS_EC2_METADATA_DISABLED\"],"
                       "\"paths\":{\"read\":[\"~/.aws\"]}}");

int32_t prvng_plugin_v1(const struct prvng_host *host, const struct prvng_plugin **ret_plugin)
{
        *ret_plugin = &plugin;
        return PRVNG_DONE;
}
