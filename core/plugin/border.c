/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every call goes the same way: enter (lock, fresh reply, the thread's current call), the plugin's
 * function, leave (check what came back). What the plugin said is believed only in so far as it is
 * well formed; in doubt the effect is UNKNOWN, so that observe() is asked before anything is done
 * twice (promise 4).
 */
#include "plugin/border.h"

#include "base/json.h"
#include "host/services.h"
#include "plugin/isolate.h"
#include "plugin/json-line.h"
#include "plugin/lock.h"

#include <sys/eventfd.h>

#define RESULT_MAX (UINT64_C(16) << 20)

/* Names by -class. */
static const char *const failures[] = {
        NULL,        "TRANSIENT", "RATE_LIMITED", "PERMANENT", "AUTH",     "CONFLICT",
        "NOT_FOUND", "CANCELLED", "UNSUPPORTED",  "QUOTA",     "INTERNAL", "TOKEN_REJECTED",
};
static const char *const successes[] = {"DONE", "PENDING", "UNCHANGED"};
static const char *const effects[] = {"NONE", "UNKNOWN", "PARTIAL", "COMPLETE"};

const char *op_class_name(int32_t answer)
{
        if (answer >= 0)
                return answer < (int32_t)N_ELEMENTS(successes) ? successes[answer] : "INTERNAL";
        return answer > -(int32_t)N_ELEMENTS(failures) ? failures[-answer] : "PERMANENT";
}

bool op_class_from_name(const char *name, size_t n_name, int32_t *ret_answer)
{
        if (_likely_(n_name == 4 && memcmp(name, "DONE", 4) == 0)) {
                *ret_answer = PRVNG_DONE;
                return true;
        }
        for (int32_t c = PRVNG_TOKEN_REJECTED; c <= PRVNG_UNCHANGED; c++) {
                const char *known = op_class_name(c);

                if (strlen(known) == n_name && memcmp(known, name, n_name) == 0) {
                        *ret_answer = c;
                        return true;
                }
        }
        return false;
}

const char *op_effect_name(uint32_t effect)
{
        return effect < N_ELEMENTS(effects) ? effects[effect] : "UNKNOWN";
}

void op_reply_deinit(struct op_reply *r)
{
        free(r->message);
        free(r->field);
        buf_deinit(&r->result);
        buf_deinit(&r->token);
        *r = OP_REPLY_NULL;
}

void op_call_init(struct op_call *c, struct plugin *plugin, const char *op_id, uint32_t attempt,
                  int64_t deadline_ms, uint64_t epoch, const char *run, const char *task)
{
        *c = (struct op_call){
                .pub = {.struct_size = sizeof(c->pub), .op_id = op_id ? op_id : "",
                        .attempt = attempt, .deadline_ms = deadline_ms, .epoch = epoch,
                        .trace_parent = "", .run = run ? run : "", .task = task ? task : ""},
                .plugin = plugin,
                .host = plugin->host,
                .plugin_name = plugin->name,
                .run = run ? run : "",
                .task = task ? task : "",
                .cancel_fd = -1,
        };
}

void op_call_deinit(struct op_call *c)
{
        if (c->cancel_fd >= 0)
                close(c->cancel_fd);
        c->cancel_fd = -1;
}

void op_call_cancel(struct op_call *c)
{
        struct isolated *inside;
        int fd;

        if (__atomic_exchange_n(&c->cancelled, 1, __ATOMIC_SEQ_CST))
                return;
        fd = __atomic_load_n(&c->cancel_fd, __ATOMIC_SEQ_CST);
        if (fd >= 0)
                eventfd_write(fd, 1);
        inside = __atomic_load_n(&c->inside, __ATOMIC_SEQ_CST);
        if (inside)
                isolate_cancel(inside, c);
}

/* What an answer of each function may be, and what may come with it. */
enum {
        ACTS = 1u << 0,        /* PENDING and UNCHANGED are possible */
        HAS_EFFECT = 1u << 1,  /* the verb is not `check`: the effect counts */
        OBSERVES = 1u << 2,    /* answers PRVNG_OBSERVED_* */
        IS_LATER = 1u << 3,    /* the operation has begun: not being asked leaves it unknown */
        NO_LOCK = 1u << 4,     /* runs beside other calls of the instance */
        MUST_WRITE = 1u << 5,  /* DONE needs a result */
        KEEPS_TOKEN = 1u << 6, /* writing no token keeps the one there is */
        IS_VALUE = 1u << 7,    /* what it writes is a secret value, no JSON */
};

/* One call on its way: on the stack of op_*. */
struct crossing {
        struct op_call *call;
        struct op_reply *reply;
        const char *function;
        unsigned int rules;
        struct op_call *outer;
        struct prvng_sink token;
        struct prvng_sink result;
};

/* Puts our own sentence into the place of the plugin's. */
static void say(struct op_reply *r, int32_t answer, uint32_t effect, const char *format, ...)
        _printf_(4, 5);
static void say(struct op_reply *r, int32_t answer, uint32_t effect, const char *format, ...)
{
        va_list ap;

        r->answer = answer;
        r->effect = effect;
        free(r->message);
        va_start(ap, format);
        if (vasprintf(&r->message, format, ap) < 0)
                r->message = NULL;
        va_end(ap);
        buf_clear(&r->result);
        buf_clear(&r->token);
}

/* Forgets an error record: the call did not fail after all, or never was. */
static void forget(struct op_reply *r)
{
        if (_unlikely_(r->message || r->field)) {
                free(r->message);
                free(r->field);
                r->message = r->field = NULL;
        }
        r->retry_after_ms = -1;
        r->code = r->status = 0;
}

/* False if the plugin is not to be called: the reply says why. */
static bool enter(struct crossing *x, bool has_function)
{
        struct op_reply *r = x->reply;
        uint32_t untouched = x->rules & IS_LATER && x->rules & HAS_EFFECT ? PRVNG_EFFECT_UNKNOWN
                                                                          : PRVNG_EFFECT_NONE;
        int k;

        forget(r);
        r->effect = PRVNG_EFFECT_UNKNOWN;
        r->ask_again_ms = -1;
        buf_clear(&r->result);
        buf_clear(&r->token);
        if (_unlikely_(!has_function)) {
                say(r, PRVNG_UNSUPPORTED, PRVNG_EFFECT_NONE, "plugin %s has no %s function",
                    x->call->plugin_name, x->function);
                return false;
        }
        k = x->rules & NO_LOCK ? 0 : plugin_lock_enter(x->call->plugin->lock, x->call);
        if (_unlikely_(k == -ETIMEDOUT)) {
                say(r, PRVNG_TRANSIENT, untouched,
                    "plugin %s was busy with another operation until the deadline; it does one at "
                    "a time",
                    x->call->plugin_name);
                return false;
        }
        if (_unlikely_(k < 0)) {
                say(r, PRVNG_CANCELLED, untouched, "cancelled before plugin %s was asked",
                    x->call->plugin_name);
                return false;
        }
        x->call->reply = r;
        x->call->said = false;
        x->token = SINK(&r->token, PRVNG_TOKEN_MAX);
        x->result = SINK(&r->result, RESULT_MAX);
        x->outer = host_current_call;
        host_current_call = x->call;
        return true;
}

/* A negative answer, or one that means failure: what the error record is worth. */
static void failed(struct crossing *x, int32_t answer)
{
        struct op_reply *r = x->reply;

        if (answer < PRVNG_TOKEN_REJECTED) {
                r->answer = PRVNG_PERMANENT;
                r->effect = PRVNG_EFFECT_UNKNOWN;
                if (!r->message)
                        say(r, PRVNG_PERMANENT, PRVNG_EFFECT_UNKNOWN,
                            "plugin %s answered %s with the unknown class %d",
                            x->call->plugin_name, x->function, answer);
        } else {
                r->answer = answer;
                if (!x->call->said || x->call->said_class != answer)
                        r->effect = PRVNG_EFFECT_UNKNOWN;
                if (!r->message)
                        say(r, answer, r->effect, "plugin %s answered %s with %s and no reason",
                            x->call->plugin_name, x->function, op_class_name(answer));
        }
        buf_clear(&r->result);
        buf_clear(&r->token);
}

/* The effect that a well-formed answer which is no failure implies. */
static uint32_t implied_effect(const struct crossing *x, int32_t answer)
{
        if (x->rules & OBSERVES) {
                static const uint32_t by_answer[] = {
                        PRVNG_EFFECT_COMPLETE, PRVNG_EFFECT_UNKNOWN, PRVNG_EFFECT_NONE,
                        PRVNG_EFFECT_PARTIAL,  PRVNG_EFFECT_UNKNOWN, PRVNG_EFFECT_UNKNOWN,
                };
                return by_answer[answer];
        }
        if (answer == PRVNG_DONE)
                return PRVNG_EFFECT_COMPLETE;
        return answer == PRVNG_UNCHANGED ? PRVNG_EFFECT_NONE : PRVNG_EFFECT_UNKNOWN;
}

static bool is_possible(const struct crossing *x, int32_t answer)
{
        if (x->rules & OBSERVES)
                return answer <= PRVNG_OBSERVED_UNCERTAIN;
        return answer == PRVNG_DONE || (answer == PRVNG_PENDING && x->rules & ACTS) ||
               (answer == PRVNG_UNCHANGED && x->rules & ACTS);
}

/* DONE, UNCHANGED and what else carries a result: is it whole, and one JSON object? */
static void check_result(struct crossing *x, uint32_t effect)
{
        const char *what = x->rules & IS_VALUE ? "value" : "result";
        struct op_reply *r = x->reply;
        char why[200] = "";

        if (x->result.error)
                say(r, PRVNG_INTERNAL, effect, "the %s that plugin %s wrote in %s %s", what,
                    x->call->plugin_name, x->function,
                    x->result.error != -ENOSPC ? "did not fit into memory"
                    : x->rules & IS_VALUE      ? "is longer than 65536 bytes"
                                               : "is longer than 16 MiB");
        else if (x->result.buf->n == 0 && x->rules & MUST_WRITE)
                say(r, PRVNG_INTERNAL, effect, "plugin %s answered %s without writing a %s",
                    x->call->plugin_name, x->function, what);
        else if (r->result.n > 0 && _unlikely_(json_line_normalise(&r->result, why) < 0))
                say(r, PRVNG_INTERNAL, effect,
                    "what plugin %s wrote in %s is not one JSON object: %s", x->call->plugin_name,
                    x->function, why[0] ? why : "no memory");
}

/* Tokens stand in the journal as text. */
static bool is_text(const struct buf *b)
{
        for (size_t i = 0; i < b->n; i++)
                if ((uint8_t)b->data[i] < 0x20 || b->data[i] == 0x7f)
                        return false;
        return true;
}

static void check_token(struct crossing *x)
{
        struct op_reply *r = x->reply;

        if (x->token.error)
                say(r, PRVNG_INTERNAL, PRVNG_EFFECT_UNKNOWN,
                    "the token that plugin %s wrote in %s %s", x->call->plugin_name, x->function,
                    x->token.error == -ENOSPC ? "is longer than 4096 bytes"
                                              : "did not fit into memory");
        else if (!is_text(&r->token))
                say(r, PRVNG_INTERNAL, PRVNG_EFFECT_UNKNOWN,
                    "the token that plugin %s wrote in %s holds control characters; it must be "
                    "text",
                    x->call->plugin_name, x->function);
        else if (r->token.n == 0 && !(x->rules & KEEPS_TOKEN))
                say(r, PRVNG_INTERNAL, PRVNG_EFFECT_UNKNOWN,
                    "plugin %s answered %s with %s and wrote no token", x->call->plugin_name,
                    x->function, x->rules & OBSERVES ? "IN_PROGRESS" : "PENDING");
}

static void judge(struct crossing *x, int32_t answer)
{
        struct op_reply *r = x->reply;
        uint32_t said_effect = r->effect;

        if (answer < 0) {
                failed(x, answer);
                return;
        }
        if (!is_possible(x, answer)) {
                say(r, PRVNG_INTERNAL, PRVNG_EFFECT_UNKNOWN, "plugin %s answered %s with %d, which "
                    "means nothing there", x->call->plugin_name, x->function, answer);
                return;
        }
        r->answer = answer;
        r->effect = implied_effect(x, answer);
        if (x->call->said) {
                if (!(x->rules & OBSERVES) || answer < PRVNG_OBSERVED_PARTIAL)
                        forget(r);
                else if (answer == PRVNG_OBSERVED_FAILED)
                        r->effect = said_effect;
        }
        if (x->rules & OBSERVES && answer == PRVNG_OBSERVED_FAILED) {
                bool known = x->call->said && x->call->said_class < 0 &&
                             x->call->said_class >= PRVNG_TOKEN_REJECTED;

                r->error_class = known ? x->call->said_class : PRVNG_PERMANENT;
        }
        if (x->rules & OBSERVES ? answer == PRVNG_OBSERVED_IN_PROGRESS : answer == PRVNG_PENDING) {
                buf_clear(&r->result);
                check_token(x);
                return;
        }
        buf_clear(&r->token);
        check_result(x, r->effect);
}

static void leave(struct crossing *x, int32_t answer)
{
        host_current_call = x->outer;
        x->call->reply = NULL;
        if (!(x->rules & NO_LOCK))
                plugin_lock_leave(x->call->plugin->lock);
        judge(x, answer);
        if (!(x->rules & HAS_EFFECT))
                x->reply->effect = PRVNG_EFFECT_NONE;
}

static unsigned int by_verb(const char *verb, unsigned int rules)
{
        return rules | (verb[0] == 'c' && streq(verb, "check") ? 0 : HAS_EFFECT);
}

#define OP(c) (&(c)->plugin->op)
#define INSTANCE(c) ((c)->plugin->instance)

void op_self_test(struct op_call *c, struct op_reply *reply)
{
        struct crossing x = {c, reply, "self_test", MUST_WRITE};

        if (enter(&x, c->plugin->descriptor.self_test))
                leave(&x, c->plugin->descriptor.self_test(INSTANCE(c), &c->pub, &x.result));
}

void op_prepare(struct op_call *c, const char *verb, const void *task, size_t n_task,
                struct op_reply *reply)
{
        struct crossing x = {c, reply, "prepare", NO_LOCK | MUST_WRITE};

        if (enter(&x, OP(c)->prepare))
                leave(&x, OP(c)->prepare(INSTANCE(c), &c->pub, verb, task, n_task, &x.result));
}

void op_begin(struct op_call *c, const char *verb, const void *request, size_t n_request,
              struct op_reply *reply)
{
        struct crossing x = {c, reply, "begin", by_verb(verb, ACTS)};

        if (enter(&x, OP(c)->begin))
                leave(&x, OP(c)->begin(INSTANCE(c), &c->pub, verb, request, n_request, &x.token,
                                       &x.result));
}

void op_poll(struct op_call *c, const char *verb, const void *request, size_t n_request,
             const void *token, size_t n_token, struct op_reply *reply)
{
        struct crossing x = {c, reply, "poll", by_verb(verb, ACTS | IS_LATER | KEEPS_TOKEN)};

        if (enter(&x, OP(c)->poll))
                leave(&x, OP(c)->poll(INSTANCE(c), &c->pub, verb, request, n_request, token,
                                      n_token, &x.token, &x.result));
}

void op_cancel(struct op_call *c, const char *verb, const void *request, size_t n_request,
               const void *token, size_t n_token, struct op_reply *reply)
{
        struct crossing x = {c, reply, "cancel", by_verb(verb, ACTS | IS_LATER | KEEPS_TOKEN)};

        if (enter(&x, OP(c)->cancel))
                leave(&x, OP(c)->cancel(INSTANCE(c), &c->pub, verb, request, n_request, token,
                                        n_token, &x.result));
}

void op_observe(struct op_call *c, const char *verb, const void *request, size_t n_request,
                const void *token, size_t n_token, struct op_reply *reply)
{
        struct crossing x = {c, reply, "observe",
                             by_verb(verb, OBSERVES | IS_LATER | (n_token ? KEEPS_TOKEN : 0))};

        if (enter(&x, OP(c)->observe))
                leave(&x, OP(c)->observe(INSTANCE(c), &c->pub, verb, request, n_request, token,
                                         n_token, &x.token, &x.result));
}

void op_read(struct op_call *c, const void *task, size_t n_task, struct op_reply *reply)
{
        struct crossing x = {c, reply, "read", MUST_WRITE};

        if (enter(&x, OP(c)->read))
                leave(&x, OP(c)->read(INSTANCE(c), &c->pub, task, n_task, &x.result));
}

void op_list(struct op_call *c, const void *filter, size_t n_filter, struct op_reply *reply)
{
        struct crossing x = {c, reply, "list", MUST_WRITE};

        if (enter(&x, OP(c)->list))
                leave(&x, OP(c)->list(INSTANCE(c), &c->pub, filter, n_filter, &x.result));
}

void op_precheck(struct op_call *c, const void *tasks, size_t n_tasks, struct op_reply *reply)
{
        struct crossing x = {c, reply, "precheck", MUST_WRITE};

        if (enter(&x, c->plugin->precheck.check))
                leave(&x, c->plugin->precheck.check(INSTANCE(c), &c->pub, tasks, n_tasks, &x.result));
}

void op_find(struct op_call *c, const char *kind, const char *id, struct op_reply *reply)
{
        struct crossing x = {c, reply, "find", MUST_WRITE};

        if (enter(&x, c->plugin->inventory.find))
                leave(&x, c->plugin->inventory.find(INSTANCE(c), &c->pub, kind, id, &x.result));
}

#define TEMPLATE(c) (&(c)->plugin->template_)

void op_evaluate(struct op_call *c, const char *expression, const void *variables,
                 size_t n_variables, struct op_reply *reply)
{
        struct crossing x = {c, reply, "evaluate", MUST_WRITE};

        if (enter(&x, TEMPLATE(c)->evaluate))
                leave(&x, TEMPLATE(c)->evaluate(INSTANCE(c), &c->pub, expression,
                                                strlen(expression), variables, n_variables,
                                                &x.result));
}

void op_check_expression(struct op_call *c, const char *expression, const char *names,
                         struct op_reply *reply)
{
        struct crossing x = {c, reply, "check", 0};

        if (enter(&x, TEMPLATE(c)->check))
                leave(&x, TEMPLATE(c)->check(INSTANCE(c), &c->pub, expression, strlen(expression),
                                             names, names ? strlen(names) : 0));
}

int op_evaluated_true(const struct op_reply *reply, bool *ret_true)
{
        _cleanup_(cleanup_json_decref) json_t *all = NULL;
        const json_t *v;
        int r = json_parse(reply->result.data, reply->result.n, &all, NULL);

        if (r)
                return error_fold(r);
        v = json_object_get(all, "value");
        if (!v)
                return error_origin(-EBADMSG);
        *ret_true = json_is_string(v)   ? json_string_length(v) > 0
                    : json_is_array(v)  ? json_array_size(v) > 0
                    : json_is_object(v) ? json_object_size(v) > 0
                    : json_is_number(v) ? json_number_value(v) != 0
                                        : json_is_true(v);
        return 0;
}

#define SECRET(c) (&(c)->plugin->secret)

/* The sink is a buffer that never grows: it would leave a copy behind, and its limit is below its room. */
void secret_resolve(struct op_call *c, const char *reference, struct locked *ret_value,
                    struct op_reply *reply)
{
        struct crossing x = {c, reply, "resolve", MUST_WRITE | IS_VALUE};
        _cleanup_(cleanup_locked) struct locked room = {0};
        struct buf value;

        if (!enter(&x, SECRET(c)->resolve))
                return;
        if (locked_init(&room, NULL, PRVNG_SECRET_MAX) < 0)
                room.mapped = 0;
        value = (struct buf){.data = room.data, .cap = room.mapped, .error = room.data ? 0 : -ENOMEM};
        x.result = SINK(&value, PRVNG_SECRET_MAX);
        leave(&x, SECRET(c)->resolve(INSTANCE(c), &c->pub, reference, &x.result));
        assert(value.data == room.data);
        if (reply->answer == PRVNG_DONE && locked_init(ret_value, value.data, value.n) < 0)
                say(reply, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, "no memory for a secret");
}

void secret_check(struct op_call *c, const char *reference, struct op_reply *reply)
{
        struct crossing x = {c, reply, "check", MUST_WRITE};

        if (enter(&x, SECRET(c)->check))
                leave(&x, SECRET(c)->check(INSTANCE(c), &c->pub, reference, &x.result));
}

void secret_list(struct op_call *c, const char *prefix, struct op_reply *reply)
{
        struct crossing x = {c, reply, "list", MUST_WRITE};

        if (enter(&x, SECRET(c)->list))
                leave(&x, SECRET(c)->list(INSTANCE(c), &c->pub, prefix, &x.result));
}
