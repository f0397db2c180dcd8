/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls into an isolated plugin: proxies with the signatures of its tables. Each takes a channel, writes one
 * CALL, and serves what the helper asks until the REPLY comes, all on its own thread: a call costs what a
 * round trip over a socket costs, and nothing has to be handed from thread to thread.
 *
 * What can go wrong is answered here. Before anything was sent, nothing can have happened in begin; of all
 * that was sent and got no reply the effect is unknown. poll, cancel and observe always answer UNKNOWN: that
 * they could not be asked says nothing about their operation.
 */
#include "plugin/isolate-inside.h"

#include "base/clock.h"
#include "host/host.h"

#include <fcntl.h>

/* What crosses with every call; what a function has no use for is NULL. */
struct arguments {
        const char *text[2];
        const void *data[2];
        uint64_t n_data[2];
        struct prvng_sink *token, *result;
        struct prvng_document *document;
};

struct exchange {
        struct isolated *i;
        struct channel *c;
        struct prvng_call *call; /* NULL with describe() */
        const struct arguments *a;
        enum wire_function function;
        int64_t told_ms; /* when the helper was told that the call is over its time, 0: not yet */
};

static void say(struct exchange *x, int32_t error_class, uint32_t effect, int64_t retry_ms, const char *format, ...)
        _printf_(5, 6);
static void say(struct exchange *x, int32_t error_class, uint32_t effect, int64_t retry_ms, const char *format, ...)
{
        _cleanup_(cleanup_free) char *message = NULL;
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&message, format, ap) < 0)
                message = NULL;
        va_end(ap);
        if (x->call)
                x->i->table->error(x->call, &(struct prvng_error){
                        .struct_size = sizeof(struct prvng_error), .error_class = error_class,
                        .retry_after_ms = retry_ms, .effect = effect, .message = message});
        else
                x->i->table->log(x->i->table, PRVNG_LOG_WARN, "isolation", message ?: "out of memory");
}

static bool asks_later(enum wire_function f)
{
        return f == WIRE_POLL || f == WIRE_CANCEL_OP || f == WIRE_OBSERVE;
}

static uint32_t effect_unsent(const struct exchange *x)
{
        return asks_later(x->function) ? PRVNG_EFFECT_UNKNOWN : PRVNG_EFFECT_NONE;
}

/* Nothing was sent: there is no channel. */
static int32_t not_sent(struct exchange *x, int r, const char *why, int64_t retry_ms)
{
        const char *name = x->i->name;

        switch (r) {
        case -ESHUTDOWN:
                /* observe() with UNSUPPORTED parks the operation; anything else leads there or fails. */
                r = x->function == WIRE_OBSERVE ? PRVNG_UNSUPPORTED : PRVNG_PERMANENT;
                say(x, r, effect_unsent(x), -1,
                    "plugin %s is quarantined, since it ended unasked %d times; at last %s. Once it is mended, "
                    "let the engine reload (SIGHUP) or start it again", name, ISOLATE_CRASHES_MAX,
                    why ?: "it ended");
                return r;
        case -ECANCELED:
                say(x, PRVNG_CANCELLED, effect_unsent(x), -1, "cancelled before plugin %s was started", name);
                return PRVNG_CANCELLED;
        case -EAGAIN:
        case -ETIMEDOUT:
                /* Until its next start nothing of its lane is begun, and no attempt is used up. */
                r = retry_ms > 0 ? PRVNG_RATE_LIMITED : PRVNG_TRANSIENT;
                say(x, r, effect_unsent(x), retry_ms, "plugin %s is not running: %s", name,
                    why && *why ? why : "it could not be started in time");
                return r;
        case -EMSGSIZE:
                say(x, PRVNG_PERMANENT, effect_unsent(x), -1, "what plugin %s is asked in %s is longer than 1 GiB",
                    name, wire_functions[x->function]);
                return PRVNG_PERMANENT;
        default:
                say(x, PRVNG_TRANSIENT, effect_unsent(x), -1, "plugin %s cannot be asked: %s", name, strerror(-r));
                return PRVNG_TRANSIENT;
        }
}

/* The helper, or its sense, was lost in the call. */
static int32_t lost(struct exchange *x, const char *why)
{
        char end[256];

        isolate_channel_lost(x->i, x->c, why, end, sizeof(end));
        say(x, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN, -1, "plugin %s did not come back from %s: %s", x->i->name,
            wire_functions[x->function], end);
        return PRVNG_TRANSIENT;
}

static void put_limit(struct wire *w, const struct prvng_sink *s)
{
        wire_put_u64(w, s ? s->limit - MIN(s->limit, (uint64_t)s->buf->n) : 0);
}

static void put_call(struct exchange *x)
{
        static const struct prvng_call none = {.op_id = "", .deadline_ms = INT64_MAX, .trace_parent = "",
                                               .run = "", .task = ""};
        const struct prvng_call *c = x->call ?: &none;
        const struct arguments *a = x->a;
        struct wire *w = &x->c->wire;

        wire_begin(w, WIRE_CALL);
        wire_put_u32(w, x->function);
        wire_put_u32(w, x->c->serial);
        wire_put_u32(w, c->attempt);
        wire_put_i64(w, c->deadline_ms);
        wire_put_u64(w, c->epoch);
        wire_put_text(w, c->op_id);
        wire_put_text(w, c->trace_parent);
        wire_put_text(w, c->run);
        wire_put_text(w, c->task);
        for (int k = 0; k < 2; k++)
                wire_put_text(w, a->text[k]);
        for (int k = 0; k < 2; k++)
                wire_put_bytes(w, a->data[k], a->n_data[k]);
        put_limit(w, a->token);
        put_limit(w, a->result);
        wire_end(w);
}

/* Is the call's time over for good? Tells the helper when it begins to be. */
static bool is_hung(struct exchange *x)
{
        int64_t now = clock_boot_ms();
        bool cancelled = x->call && op_call_is_cancelled(op_call_of(x->call));

        if (!x->call || (!cancelled && now < x->call->deadline_ms))
                return false;
        if (!x->told_ms) {
                x->told_ms = now;
                isolate_tell_cancelled(x->i, x->c->number, x->c->serial);
        }
        return now - x->told_ms > ISOLATE_GRACE_MS;
}

/* False: it was condemned. */
static bool send_all(struct exchange *x, const char **ret_why)
{
        int r;

        while ((r = wire_flush(&x->c->wire)) == -EAGAIN) {
                if (is_hung(x)) {
                        *ret_why = "was ended since it did not read what it was asked";
                        isolate_condemn(x->i, x->c->generation, *ret_why);
                        return false;
                }
        }
        *ret_why = "was ended since it closed a channel in use";
        return r == 0;
}

static void take_sink(struct wire_message *m, struct isolated *i, struct prvng_sink *s)
{
        int32_t error = wire_get_i32(m);
        uint64_t n;
        const void *data = wire_get_bytes(m, &n);

        if (!s || m->bad)
                return;
        if (n > 0)
                i->table->sink_write(s, data, n);
        if (error)
                s->error = error == -ENOMEM ? -ENOMEM : -ENOSPC;
}

/* False: rubbish. */
static bool take_reply(struct exchange *x, struct wire_message *m, int32_t *ret_answer)
{
        uint32_t serial = wire_get_u32(m);
        int32_t answer = wire_get_i32(m);

        if (m->bad || serial != x->c->serial)
                return false;
        take_sink(m, x->i, x->a->token);
        take_sink(m, x->i, x->a->result);
        *ret_answer = answer;
        return wire_done(m);
}

static const char rubbish[] = "was ended since it sent what is no message";

/* Until the reply: false with the reason if there will be none. */
static bool converse(struct exchange *x, int32_t *ret_answer, const char **ret_why)
{
        struct wire *w = &x->c->wire;
        struct wire_message m;
        unsigned int n = 0;
        int r;

        if (!send_all(x, ret_why))
                return false;
        for (;;) {
                r = wire_next(w, &m);
                if (r == WIRE_E_CLOSED || (r < 0 && r != -ENOMEM))
                        return false;
                if (_unlikely_(r == WIRE_E_LATER || ++n % 256 == 0) && is_hung(x)) {
                        *ret_why = "was ended since it did not come back in time";
                        isolate_condemn(x->i, x->c->generation, *ret_why);
                        return false;
                }
                if (r == WIRE_E_LATER)
                        continue;
                if (_likely_(r == 0 && m.type == WIRE_REPLY && take_reply(x, &m, ret_answer)))
                        return true;
                if (r != 0 || m.type == WIRE_REPLY ||
                    !isolate_serve(x->i, w, &m, x->call, x->a->document)) {
                        *ret_why = rubbish;
                        isolate_condemn(x->i, x->c->generation, rubbish);
                        return false;
                }
                if (w->out.n && !send_all(x, ret_why))
                        return false;
        }
}

/* So that op_call_cancel() finds the way. It sets the flag and then looks for us; we do it the other way
 * round, so that one of the two tells the helper. */
static void go_inside(struct exchange *x)
{
        struct op_call *call = op_call_of(x->call);

        __atomic_store_n(&call->ticket, (uint64_t)x->c->number << 32 | x->c->serial, __ATOMIC_RELAXED);
        __atomic_store_n(&call->inside, x->i, __ATOMIC_SEQ_CST);
        if (op_call_is_cancelled(call))
                is_hung(x);
}

static int32_t cross(struct isolated *i, struct prvng_call *call, enum wire_function function,
                     const struct arguments *a)
{
        struct exchange x = {.i = i, .call = call, .function = function, .a = a};
        _cleanup_(cleanup_free) char *why = NULL;
        const char *reason = NULL;
        int64_t retry_ms;
        int32_t answer;
        int r;

        r = isolate_channel_take(i, call ? op_call_of(call) : NULL, wire_functions[function], &x.c, &why, &retry_ms);
        if (_unlikely_(r < 0))
                return not_sent(&x, r, why, retry_ms);
        put_call(&x);
        if (_unlikely_(x.c->wire.out.error)) {
                r = x.c->wire.out.error;
                buf_clear(&x.c->wire.out);
                isolate_channel_give(i, x.c);
                return not_sent(&x, r, NULL, -1);
        }
        if (call)
                go_inside(&x);
        if (_unlikely_(!converse(&x, &answer, &reason)))
                answer = lost(&x, reason);
        if (call)
                __atomic_store_n(&op_call_of(call)->inside, NULL, __ATOMIC_SEQ_CST);
        wire_forget(&x.c->wire);
        isolate_channel_give(i, x.c);
        return answer;
}

/* --- the proxies --- */

#define CROSS(function, ...) cross(instance, call, function, &(const struct arguments){__VA_ARGS__})

static int32_t proxy_prepare(void *instance, struct prvng_call *call, const char *verb, const void *task,
                             uint64_t n_task, struct prvng_sink *request)
{
        return CROSS(WIRE_PREPARE, {verb}, {task}, {n_task}, .result = request);
}

static int32_t proxy_begin(void *instance, struct prvng_call *call, const char *verb, const void *request,
                           uint64_t n_request, struct prvng_sink *token, struct prvng_sink *result)
{
        return CROSS(WIRE_BEGIN, {verb}, {request}, {n_request}, token, result);
}

static int32_t proxy_poll(void *instance, struct prvng_call *call, const char *verb, const void *request,
                          uint64_t n_request, const void *token, uint64_t n_token,
                          struct prvng_sink *new_token, struct prvng_sink *result)
{
        return CROSS(WIRE_POLL, {verb}, {request, token}, {n_request, n_token}, new_token, result);
}

static int32_t proxy_cancel(void *instance, struct prvng_call *call, const char *verb, const void *request,
                            uint64_t n_request, const void *token, uint64_t n_token, struct prvng_sink *result)
{
        return CROSS(WIRE_CANCEL_OP, {verb}, {request, token}, {n_request, n_token}, .result = result);
}

static int32_t proxy_observe(void *instance, struct prvng_call *call, const char *verb, const void *request,
                             uint64_t n_request, const void *token, uint64_t n_token,
                             struct prvng_sink *new_token, struct prvng_sink *result)
{
        return CROSS(WIRE_OBSERVE, {verb}, {request, token}, {n_request, n_token}, new_token, result);
}

static int32_t proxy_read(void *instance, struct prvng_call *call, const void *task, uint64_t n_task,
                          struct prvng_sink *result)
{
        return CROSS(WIRE_READ, {NULL}, {task}, {n_task}, .result = result);
}

static int32_t proxy_list(void *instance, struct prvng_call *call, const void *filter, uint64_t n_filter,
                          struct prvng_sink *result)
{
        return CROSS(WIRE_LIST, {NULL}, {filter}, {n_filter}, .result = result);
}

static int32_t proxy_describe(void *instance, struct prvng_sink *result)
{
        struct prvng_call *call = NULL;

        return CROSS(WIRE_DESCRIBE, .result = result);
}

int32_t isolate_self_test(void *instance, struct prvng_call *call, struct prvng_sink *report)
{
        return CROSS(WIRE_SELF_TEST, .result = report);
}

static int32_t proxy_precheck(void *instance, struct prvng_call *call, const void *tasks, uint64_t n_tasks,
                              struct prvng_sink *result)
{
        return CROSS(WIRE_PRECHECK, {NULL}, {tasks}, {n_tasks}, .result = result);
}

static int32_t proxy_find(void *instance, struct prvng_call *call, const char *kind, const char *id,
                          struct prvng_sink *result)
{
        return CROSS(WIRE_FIND, {kind, id}, .result = result);
}

static int read_file(const char *path, struct buf *ret)
{
        _cleanup_(cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n;

        if (fd < 0)
                return -errno;
        do {
                char *room = buf_reserve(ret, 65536);

                if (!room)
                        return -ENOMEM;
                n = read(fd, room, 65536);
                if (n > 0)
                        buf_advance(ret, (size_t)n);
        } while (n > 0 || (n < 0 && errno == EINTR));
        return n < 0 ? -errno : 0;
}

static int32_t proxy_load(void *instance, struct prvng_call *call, const struct prvng_loader_source *s,
                          struct prvng_document *document)
{
        struct isolated *i = instance;
        _cleanup_(cleanup_buf) struct buf file = BUF_NULL;
        const void *data = s->data;
        uint64_t n_data = s->n_data;
        int r = 0;

        /* A loader that declares no files it reads gets what it shall load. */
        if (!data && s->path &&
            json_array_size(json_object_get(json_object_get(i->view.capabilities, "paths"), "read")) == 0) {
                r = read_file(s->path, &file);
                data = buf_str(&file);
                n_data = file.n;
        }
        if (r < 0)
                return op_call_fail(call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, -r, "%s cannot be read: %s", s->path,
                                    strerror(-r));
        return CROSS(WIRE_LOAD, {s->path, s->arguments}, {data}, {n_data}, .document = document);
}

static int32_t proxy_evaluate(void *instance, struct prvng_call *call, const void *expression,
                              uint64_t n_expression, const void *variables, uint64_t n_variables,
                              struct prvng_sink *result)
{
        return CROSS(WIRE_EVALUATE, {NULL}, {expression, variables}, {n_expression, n_variables},
                     .result = result);
}

static int32_t proxy_check(void *instance, struct prvng_call *call, const void *expression, uint64_t n_expression,
                           const void *names, uint64_t n_names)
{
        return CROSS(WIRE_CHECK, {NULL}, {expression, names}, {n_expression, n_names});
}

static int32_t proxy_render(void *instance, struct prvng_call *call, const void *source, uint64_t n_source,
                            const void *variables, uint64_t n_variables, struct prvng_sink *text)
{
        return CROSS(WIRE_RENDER, {NULL}, {source, variables}, {n_source, n_variables}, .result = text);
}

static int32_t proxy_resolve(void *instance, struct prvng_call *call, const char *reference,
                             struct prvng_sink *value)
{
        return CROSS(WIRE_SECRET_RESOLVE, {reference}, .result = value);
}

static int32_t proxy_secret_check(void *instance, struct prvng_call *call, const char *reference,
                                  struct prvng_sink *result)
{
        return CROSS(WIRE_SECRET_CHECK, {reference}, .result = result);
}

static int32_t proxy_secret_list(void *instance, struct prvng_call *call, const char *prefix,
                                 struct prvng_sink *result)
{
        return CROSS(WIRE_SECRET_LIST, {prefix}, .result = result);
}

static const struct prvng_op op = {
        .struct_size = sizeof(op), .prepare = proxy_prepare, .begin = proxy_begin, .poll = proxy_poll,
        .cancel = proxy_cancel, .observe = proxy_observe, .read = proxy_read, .list = proxy_list,
        .describe = proxy_describe,
};
static const struct prvng_loader loader = {.struct_size = sizeof(loader), .load = proxy_load};
static const struct prvng_template template_ = {
        .struct_size = sizeof(template_), .evaluate = proxy_evaluate, .check = proxy_check,
        .render = proxy_render,
};
static const struct prvng_secret secret = {
        .struct_size = sizeof(secret), .resolve = proxy_resolve, .check = proxy_secret_check,
        .list = proxy_secret_list,
};
static const struct prvng_provider_precheck precheck = {.struct_size = sizeof(precheck), .check = proxy_precheck};
static const struct prvng_provider_inventory inventory = {.struct_size = sizeof(inventory), .find = proxy_find};

const void *isolate_proxies(size_t n)
{
        const char *id = wire_interfaces[n].id;

        if (streq(id, PRVNG_LOADER))
                return &loader;
        if (streq(id, PRVNG_TEMPLATE))
                return &template_;
        if (streq(id, PRVNG_SECRET))
                return &secret;
        if (streq(id, PRVNG_PROVIDER_PRECHECK))
                return &precheck;
        if (streq(id, PRVNG_PROVIDER_INVENTORY))
                return &inventory;
        return &op;
}
