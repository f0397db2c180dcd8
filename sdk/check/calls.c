/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of prvng.op/1, each looked at as the core's border does it, and more strictly: what the core
 * would mend or put up with is a failure here. */
#include "inside.h"

#include "plugin/border.h"
#include "plugin/json-line.h"

#include <ctype.h>

#define RESULT_MAX (UINT64_C(16) << 20)

void op_id_new(struct check *c, char ret[27])
{
        static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

        ret[0] = '0'; /* as a ULID of this millennium */
        for (int i = 1; i < 26; i++)
                ret[i] = digits[check_random(c) % 32];
        ret[26] = 0;
}

void act_init(struct act *a, struct subject *s, const char *op_id, uint32_t attempt, int64_t limit_ms)
{
        *a = (struct act){.s = s, .reply = OP_REPLY_NULL};
        snprintf(a->op_id, sizeof(a->op_id), "%s", op_id ? op_id : "");
        strcpy(a->run, "01JD0000000000000000000000");
        strcpy(a->task, "check/task-0");
        a->call = (struct op_call){
                .pub = {.struct_size = sizeof(struct prvng_call),
                        .op_id = a->op_id,
                        .attempt = attempt,
                        .deadline_ms = check_now_ms() + limit_ms,
                        .epoch = 1,
                        .trace_parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                        .run = a->run,
                        .task = a->task},
                .host = s->world->core,
                .plugin_name = s->plugin->name,
                .run = a->run,
                .task = a->task,
                .cancel_fd = -1};
}

void act_deinit(struct act *a)
{
        op_call_deinit(&a->call);
        op_reply_deinit(&a->reply);
}

static void before(struct act *a, const char *what, const char *verb)
{
        a->what = what;
        check_step(a->s->check, "%s(%s%s%s)", what, verb, a->op_id[0] ? ", op id " : "", a->op_id);
        buf_clear(&a->reply.result);
        buf_clear(&a->reply.token);
        a->reply.ask_again_ms = -1;
        a->token = SINK(&a->reply.token, PRVNG_TOKEN_MAX);
        a->result = SINK(&a->reply.result, RESULT_MAX);
        a->call.reply = &a->reply;
        a->call.said = false;
        host_current_call = &a->call;
        world_boundary(what);
}

static int32_t after(struct act *a, int32_t answer, bool observed)
{
        host_current_call = NULL;
        a->answer = answer;
        if (observed)
                act_judge_observed(a, answer);
        else
                act_judge(a, answer);
        world_boundary(a->what);
        return answer;
}

/* --- what an answer must be --- */

static void judge_error(struct act *a, int32_t answer)
{
        struct check *c = a->s->check;

        if (!a->call.said)
                check_fail(c, "%s() answered %s without an error record (host->error)", a->what,
                           class_name(answer));
        else if (a->call.said_class != answer)
                check_fail(c, "%s() answered %s, its error record says %s", a->what, class_name(answer),
                           class_name(a->call.said_class));
}

/* Part of a word, such as a UUID, where a number may stand by chance. */
static bool is_word(char c)
{
        return isalnum((unsigned char)c) || c == '-' || c == '_' || c == '.';
}

/* A pid in there means nothing after a restart. */
static bool has_number(const char *text, size_t n, unsigned long number)
{
        char want[32];
        size_t k = (size_t)snprintf(want, sizeof(want), "%lu", number);

        for (size_t i = 0; i + k <= n; i++)
                if (memcmp(text + i, want, k) == 0 && (i == 0 || !is_word(text[i - 1])) &&
                    (i + k == n || !is_word(text[i + k])))
                        return true;
        return false;
}

static void judge_token(struct act *a)
{
        const struct buf *t = &a->reply.token;
        struct check *c = a->s->check;

        if (a->token.error) {
                if (!a->s->world->sink_refused)
                        check_fail(c, "the token that %s() wrote is longer than %u bytes", a->what, PRVNG_TOKEN_MAX);
                return;
        }
        for (size_t i = 0; i < t->n; i++)
                if ((uint8_t)t->data[i] < 0x20 || t->data[i] == 0x7f) {
                        check_fail(c, "the token that %s() wrote holds the control character 0x%02x", a->what,
                                   (uint8_t)t->data[i]);
                        break;
                }
        if (t->n && (t->data[0] < '0' || t->data[0] > '9') && t->data[0] != '{')
                check_remark(c, "the token that %s() wrote does not start with a format number", a->what);
        if (t->n && getpid() > 99 && has_number(t->data, t->n, (unsigned long)getpid()))
                check_fail(c, "the token that %s() wrote holds the pid of the engine, %d", a->what, getpid());
        if (t->n && (memmem(t->data, t->n, "0x7f", 4) || memmem(t->data, t->n, "0x55", 4)))
                check_fail(c, "the token that %s() wrote holds what looks like a pointer: %.*s", a->what,
                           (int)MIN(t->n, (size_t)80), t->data);
        world_look_for_secrets(c, "a token", t->data, t->n);
}

static void judge_result(struct act *a, bool must)
{
        struct buf *r = &a->reply.result;
        struct check *c = a->s->check;
        char why[200] = "";

        if (a->result.error) {
                if (!a->s->world->sink_refused)
                        check_fail(c, "the result that %s() wrote is longer than 16 MiB", a->what);
        } else if (r->n == 0) {
                if (must)
                        check_fail(c, "%s() answered %s and wrote no result", a->what, class_name(a->answer));
        } else if (json_line_normalise(r, why) < 0) {
                check_fail(c, "what %s() wrote is not one JSON object: %s", a->what, why);
        } else {
                world_look_for_secrets(c, streq(a->what, "prepare") ? "a request" : "a result", r->data, r->n);
        }
}

static bool is_acting(const struct act *a)
{
        return streq(a->what, "begin") || streq(a->what, "poll") || streq(a->what, "cancel");
}

void act_judge(struct act *a, int32_t answer)
{
        struct check *c = a->s->check;

        if (!class_is_known(answer)) {
                check_fail(c, "%s() answered %s", a->what, class_name(answer));
        } else if (answer < 0) {
                judge_error(a, answer);
        } else if (answer == PRVNG_PENDING && is_acting(a)) {
                judge_token(a);
                if (a->reply.token.n == 0 && streq(a->what, "begin") && !a->s->world->sink_refused)
                        check_fail(c, "begin() answered PENDING and wrote no token");
        } else if (answer != PRVNG_DONE && !is_acting(a)) {
                check_fail(c, "%s() answered %s, which means nothing there", a->what, class_name(answer));
        } else {
                judge_result(a, !is_acting(a));
        }
}

void act_judge_observed(struct act *a, int32_t answer)
{
        struct check *c = a->s->check;

        if (answer > PRVNG_OBSERVED_UNCERTAIN || answer < PRVNG_TOKEN_REJECTED) {
                check_fail(c, "observe() answered %d, which is none of PRVNG_OBSERVED_*", answer);
        } else if (answer < 0) {
                judge_error(a, answer);
        } else if (answer == PRVNG_OBSERVED_FAILED && !a->call.said) {
                check_fail(c, "observe() answered FAILED without an error record");
        } else if (answer == PRVNG_OBSERVED_IN_PROGRESS) {
                judge_token(a);
        } else if (answer == PRVNG_OBSERVED_DONE) {
                judge_result(a, false);
        }
}

void *act_cancel_soon(void *userdata)
{
        struct act *a = userdata;

        check_sleep_ms(ACT_SOON_MS);
        op_call_cancel(&a->call);
        return NULL;
}

/* --- the calls --- */

int32_t act_prepare(struct act *a, const char *verb, const void *task, size_t n)
{
        before(a, "prepare", verb);
        return after(a, a->s->op.prepare(a->s->instance, &a->call.pub, verb, task, n, &a->result), false);
}

int32_t act_begin(struct act *a, const char *verb, const void *request, size_t n)
{
        before(a, "begin", verb);
        return after(a, a->s->op.begin(a->s->instance, &a->call.pub, verb, request, n, &a->token, &a->result),
                     false);
}

/* A plugin may leave out what it has no use for. */
static int32_t none(struct act *a)
{
        return a->answer = PRVNG_UNSUPPORTED;
}

int32_t act_poll(struct act *a, const char *verb, const void *request, size_t n, const void *token,
                 size_t n_token)
{
        if (!a->s->op.poll)
                return none(a);
        before(a, "poll", verb);
        return after(a, a->s->op.poll(a->s->instance, &a->call.pub, verb, request, n, token, n_token, &a->token,
                                      &a->result), false);
}

int32_t act_cancel(struct act *a, const char *verb, const void *request, size_t n, const void *token,
                   size_t n_token)
{
        if (!a->s->op.cancel)
                return none(a);
        before(a, "cancel", verb);
        return after(a, a->s->op.cancel(a->s->instance, &a->call.pub, verb, request, n, token, n_token,
                                        &a->result), false);
}

int32_t act_observe(struct act *a, const char *verb, const void *request, size_t n, const void *token,
                    size_t n_token)
{
        if (!a->s->op.observe)
                return none(a);
        before(a, "observe", verb);
        return after(a, a->s->op.observe(a->s->instance, &a->call.pub, verb, request, n, token, n_token,
                                         &a->token, &a->result), true);
}

int32_t act_read(struct act *a, const void *task, size_t n)
{
        if (!a->s->op.read)
                return none(a);
        before(a, "read", "");
        return after(a, a->s->op.read(a->s->instance, &a->call.pub, task, n, &a->result), false);
}

int32_t act_list(struct act *a, const char *filter)
{
        if (!a->s->op.list)
                return none(a);
        before(a, "list", "");
        return after(a, a->s->op.list(a->s->instance, &a->call.pub, filter, strlen(filter), &a->result), false);
}
