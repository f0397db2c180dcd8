/* SPDX-License-Identifier: Apache-2.0 */
/* The plugins of the simulated site. They stand in the process, not in files; the border (plugin/border.c)
 * checks what they say as it does with all others. */
#include "simulate/plugins.h"

#include "base/json.h"
#include "definition/document.h"

#include <jansson.h>

/* A spec as a number: equal texts, equal numbers. */
static uint64_t spec_number(const json_t *spec)
{
        _cleanup_(cleanup_free) char *text = json_dumps(spec, JSON_COMPACT | JSON_SORT_KEYS);

        return (digest_bytes(1, text ?: "", text ? strlen(text) : 0) & 0xffffffffffffu) | 1;
}

static int32_t prepare(void *instance, struct prvng_call *call, const char *verb, const void *task,
                       uint64_t n_task, struct prvng_sink *request)
{
        _cleanup_(cleanup_json_decref) json_t *t = json_loadb(task, n_task, 0, NULL);
        const json_t *identity = json_object_get(t, "identity");
        const char *kind = json_get_string(t, "kind", ""), *name = json_get_string(t, "name", "");
        const char *server = json_get_string(t, "server", NULL), *by;

        sim->n_steps++;
        if (!t)
                return op_call_fail(call, PRVNG_INTERNAL, PRVNG_EFFECT_NONE, 0, "no task");
        buf_printf(request->buf, "{\"key\":\"%s.%s%s%s\",\"spec\":%llu", kind, name, server ? "@" : "",
                   server ?: "", (unsigned long long)spec_number(json_object_get(t, "spec")));
        buf_printf(request->buf, ",\"workflow\":\"%s\"", json_get_string(t, "workflow", ""));
        by = json_get_string(identity, "op_id", NULL);
        if (json_object_get(identity, "id"))
                buf_printf(request->buf, ",\"id\":%lld", (long long)json_get_int(identity, "id", 0));
        else if (by)
                buf_printf(request->buf, ",\"op_id\":\"%s\"", by);
        buf_putc(request->buf, '}');
        return PRVNG_DONE;
}

static int32_t fails(struct prvng_call *pub, const struct call *c)
{
        int32_t r = op_call_fail(pub, c->answer, c->effect, 0, "simulated");

        op_call_of(pub)->reply->retry_after_ms = c->retry_after;
        return r;
}

static void give_token(struct cloud_op *op, struct prvng_sink *token)
{
        if (!op->token || random_chance(&sim->random, 300))
                op->token++;
        buf_printf(token->buf, "1 %s %u", op->id, op->token);
}

static int32_t nonsense(struct prvng_call *pub, const struct call *c, struct prvng_sink *result)
{
        switch (c->nonsense) {
        case 1:
                return 77; /* no such class */
        case 2:
                return -99;
        case 3:
                return PRVNG_TRANSIENT; /* without an error record */
        case 4:
                return PRVNG_PENDING; /* without a token */
        default:
                BUF_LIT(result->buf, "{\"id\":"); /* cut short */
                return PRVNG_DONE;
        }
}

static int32_t missing(struct prvng_call *pub)
{
        return op_call_fail(pub, PRVNG_NOT_FOUND, PRVNG_EFFECT_NONE, 0, "there is no such thing");
}

/* What is true of the request now, as begin, poll and cancel say it. */
static int32_t state_of(struct prvng_call *pub, struct call *c, struct prvng_sink *token,
                        struct prvng_sink *result)
{
        struct cloud_op *op = c->op;

        cloud_advance(op);
        if (c->not_found)
                return missing(pub);
        op_call_of(pub)->reply->ask_again_ms = c->ask_again;
        switch (op->state) {
        case OP_RUNNING:
                if (token && (c->kind == CALL_BEGIN || random_chance(&sim->random, 100)))
                        give_token(op, token);
                op_call_of(pub)->reply->ask_again_ms = random_between(&sim->random, 10, 3000);
                return PRVNG_PENDING;
        case OP_FAILED:
                return op_call_fail(pub, op->failed_class, op->failed_effect, 0, "the job failed");
        case OP_PARTIAL:
                return op_call_fail(pub, PRVNG_TRANSIENT, PRVNG_EFFECT_PARTIAL, 0, "half done");
        case OP_ABSENT:
                if (c->unchanged)
                        break;
                return op_call_fail(pub, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, 0, "no such job");
        case OP_DONE:
                break;
        }
        cloud_result(op, result->buf);
        return c->unchanged ? PRVNG_UNCHANGED : PRVNG_DONE;
}

static int32_t check(struct prvng_call *pub, const struct call *c, struct prvng_sink *result)
{
        uint64_t spec, id = cloud_object_of(c->op);
        bool whole, same = cloud_object(id, &spec, &whole) && whole && spec == c->op->spec;

        if (!c->as_it_is)
                return fails(pub, c);
        buf_puts(result->buf, same ? "{}" : "{\"drift\":[]}");
        return same ? PRVNG_UNCHANGED : PRVNG_DONE;
}

static int32_t begin(void *instance, struct prvng_call *pub, const char *verb, const void *request,
                     uint64_t n_request, struct prvng_sink *token, struct prvng_sink *result)
{
        struct call *c = current_call;

        if (c->nonsense)
                return nonsense(pub, c, result);
        if (c->op->verb == OP_CHECK)
                return check(pub, c, result);
        if (c->as_it_is)
                return state_of(pub, c, token, result);
        return c->not_found ? missing(pub) : fails(pub, c);
}

static int32_t poll(void *instance, struct prvng_call *pub, const char *verb, const void *request,
                    uint64_t n_request, const void *token, uint64_t n_token,
                    struct prvng_sink *new_token, struct prvng_sink *result)
{
        return current_call->as_it_is ? state_of(pub, current_call, new_token, result)
                                      : fails(pub, current_call);
}

static int32_t cancel(void *instance, struct prvng_call *pub, const char *verb, const void *request,
                      uint64_t n_request, const void *token, uint64_t n_token,
                      struct prvng_sink *result)
{
        struct cloud_op *op = current_call->op;
        uint64_t way = random_below(&sim->random, 10);

        if (!current_call->as_it_is)
                return fails(pub, current_call);
        cloud_advance(op);
        if (op->state == OP_RUNNING && way < 7) { /* else it goes on */
                op->ends_at = sim->now;
                op->ends_well = way == 6;
                op->failed_class = PRVNG_CANCELLED;
                op->failed_effect = way < 4 ? PRVNG_EFFECT_NONE : PRVNG_EFFECT_PARTIAL;
        }
        return state_of(pub, current_call, NULL, result);
}

static int32_t observe(void *instance, struct prvng_call *pub, const char *verb, const void *request,
                       uint64_t n_request, const void *token, uint64_t n_token,
                       struct prvng_sink *new_token, struct prvng_sink *result)
{
        struct call *c = current_call;
        struct cloud_op *op = c->op;
        int32_t seen;

        if (c->service->api == API_MUTE || c->service->api == API_BLIND)
                return op_call_fail(pub, PRVNG_UNSUPPORTED, PRVNG_EFFECT_UNKNOWN, 0,
                                    "this plugin cannot tell");
        if (!c->as_it_is && c->answer < 0)
                return fails(pub, c);
        op_call_of(pub)->reply->ask_again_ms = c->ask_again;
        if (!c->as_it_is)
                return c->answer;
        seen = c->seen >= 0 ? c->seen : cloud_observe(op);
        if (seen == PRVNG_OBSERVED_IN_PROGRESS)
                give_token(op, new_token);
        else if (seen == PRVNG_OBSERVED_FAILED)
                op_call_fail(pub, op->failed_class, op->failed_effect, 0, "the job failed");
        else if (seen == PRVNG_OBSERVED_DONE)
                cloud_result(op, result->buf);
        return seen;
}

static int32_t read_state(void *instance, struct prvng_call *pub, const void *task, uint64_t n_task,
                          struct prvng_sink *result)
{
        _cleanup_(cleanup_json_decref) json_t *t = json_loadb(task, n_task, 0, NULL);
        uint64_t spec, id = (uint64_t)json_get_int(json_object_get(t, "identity"), "id", 0);
        bool whole;

        if (!current_call->as_it_is)
                return fails(pub, current_call);
        if (!cloud_object(id, &spec, &whole))
                return missing(pub);
        buf_printf(result->buf, "{\"id\":%llu,\"spec\":%llu}", (unsigned long long)id,
                   (unsigned long long)spec);
        return PRVNG_DONE;
}

static int32_t list(void *instance, struct prvng_call *pub, const void *filter, uint64_t n_filter,
                    struct prvng_sink *result)
{
        _cleanup_(cleanup_json_decref) json_t *f = json_loadb(filter, n_filter, 0, NULL);

        if (current_call->service->api == API_BLIND)
                return op_call_fail(pub, PRVNG_UNSUPPORTED, PRVNG_EFFECT_NONE, 0, "nothing carries it");
        if (!current_call->as_it_is)
                return fails(pub, current_call);
        BUF_LIT(result->buf, "{\"resources\":[");
        if (json_object_get(f, "site"))
                cloud_list_ours(current_call->service, result->buf);
        else
                cloud_list(json_get_string(f, "op_id", ""), result->buf);
        BUF_LIT(result->buf, "]}");
        return PRVNG_DONE;
}

static const struct prvng_op op = {
        .struct_size = sizeof(op),
        .prepare = prepare,
        .begin = begin,
        .poll = poll,
        .cancel = cancel,
        .observe = observe,
        .read = read_state,
        .list = list,
};

/* Conditions come true by themselves. */
static int32_t evaluate(void *instance, struct prvng_call *call, const void *expression,
                        uint64_t n_expression, const void *variables, uint64_t n_variables,
                        struct prvng_sink *result)
{
        if (!current_call->as_it_is)
                return fails(call, current_call);
        buf_printf(result->buf, "{\"value\":%s,\"seen\":{\"outputs.id\":%u}}",
                   fault(FAULT_CONDITION) ? "false" : "true", (unsigned)random_below(&sim->random, 3));
        return PRVNG_DONE;
}

static int32_t check_expression(void *instance, struct prvng_call *call, const void *expression,
                                uint64_t n_expression, const void *names, uint64_t n_names)
{
        return PRVNG_DONE;
}

static const struct prvng_template template = {
        .struct_size = sizeof(template),
        .evaluate = evaluate,
        .check = check_expression,
};

/* The loader `json`, from jansson's tree: the position of everything is line 1. */
static void emit(struct prvng_document *d, const json_t *json)
{
        const struct prvng_host_document *h = document_interface();
        const struct prvng_position at = {.file = "request", .line = 1, .column = 1};
        const char *key;
        json_t *v;
        size_t i;

        if (json_is_object(json)) {
                h->map_begin(d, &at);
                json_object_foreach((json_t *)(uintptr_t)json, key, v) {
                        h->key(d, key, strlen(key), &at);
                        emit(d, v);
                }
                h->end(d, &at);
        } else if (json_is_array(json)) {
                h->list_begin(d, &at);
                json_array_foreach (json, i, v)
                        emit(d, v);
                h->end(d, &at);
        } else if (json_is_string(json)) {
                h->string(d, json_string_value(json), json_string_length(json), &at);
        } else if (json_is_integer(json)) {
                h->integer(d, json_integer_value(json), &at);
        } else {
                h->boolean(d, json_is_true(json), &at);
        }
}

static int32_t load(void *instance, struct prvng_call *call, const struct prvng_loader_source *source,
                    struct prvng_document *document)
{
        _cleanup_(cleanup_json_decref) json_t *json = json_loadb(source->data, source->n_data, 0, NULL);

        if (!json)
                return op_call_fail(call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, 0, "no JSON");
        emit(document, json);
        return PRVNG_DONE;
}

static const struct prvng_loader loader = {
        .struct_size = sizeof(loader),
        .extensions = "json",
        .load = load,
};

/* What it can do. A delete can be undone only where it says so. */
static json_t *describe(const struct service *s)
{
        const char *delete = s->restores ? ",\"delete\"" : "";
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;

        BUF_LIT(&b, "{\"resources\":[");
        for (unsigned i = 0; i < 2; i++)
                buf_printf(&b, "%s{\"kind\":\"%s\",\"verbs\":[\"create\",\"update\",\"delete\",\"check\"],"
                               "\"undo\":[\"create\",\"update\",\"check\"%s]%s}",
                           i ? "," : "", i ? "taskserv" : "server", delete,
                           !i && s->replaces ? ",\"update\":{\"cpu\":\"replace\"}" : "");
        BUF_LIT(&b, "]}");
        return json_loads(buf_str(&b), 0, NULL);
}

void plugin_add(const char *kind, const char *name, const char *dependencies,
                struct service *service)
{
        struct plugin *p = &sim->plugins.list[sim->plugins.n++];

        *p = (struct plugin){.state = PLUGIN_READY, .kind = strdup(kind), .name = strdup(name),
                             .config = &sim->config_plugin};
        if (dependencies)
                p->dependencies = json_loads(dependencies, 0, NULL);
        if (service && (service->restores || service->replaces))
                p->describe = describe(service);
        p->descriptor.threads = PRVNG_THREADS_PARALLEL;
        if (service) {
                p->op = op;
                p->descriptor.settle_ms = service->settle_ms;
                if (service->api == API_BLIND)
                        p->descriptor.flags = PRVNG_PLUGIN_BEGIN_NOT_IDEMPOTENT;
                service->plugin = p;
        }
        if (streq(kind, "loader"))
                p->loader = loader;
        if (streq(kind, "store")) {
                p->store = disk_store;
                p->instance = disk_find(name);
        }
        if (streq(kind, "template"))
                p->template_ = template;
}

void plugins_forget(void)
{
        for (size_t i = 0; i < sim->plugins.n; i++) {
                free(sim->plugins.list[i].kind);
                free(sim->plugins.list[i].name);
                json_decref(sim->plugins.list[i].dependencies);
                json_decref(sim->plugins.list[i].describe);
        }
        free(sim->plugins.list);
}
