/* SPDX-License-Identifier: Apache-2.0 */
#include "drive.h"

#include "plugin/border.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define CALL_MS   30000
#define LOOKS_MAX 5 /* for what was made, as in the engine */

static struct ledger *one_new(struct check *c)
{
        struct ledger *l = mmap(NULL, sizeof(*l), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        if (l == MAP_FAILED)
                check_stop(c, "no memory");
        return l;
}

struct ledger *ledger_new(struct check *c)
{
        struct ledger *l = one_new(c);

        l->surplus = one_new(c);
        return l;
}

void ledger_start(struct check *c, struct ledger *l, const char *verb, json_t *task)
{
        char *text = json_dumps(task, JSON_COMPACT);

        if (!text || strlen(text) >= sizeof(l->task))
                check_stop(c, "a task of the scenario is larger than %zu bytes", sizeof(l->task));
        memset(l, 0, offsetof(struct ledger, surplus));
        op_id_new(c, l->op_id);
        snprintf(l->verb, sizeof(l->verb), "%s", verb);
        l->n_task = (uint32_t)strlen(text);
        memcpy(l->task, text, l->n_task + 1);
        free(text);
        json_decref(task);
}

static void keep(struct check *c, const struct buf *from, char *to, size_t size, uint32_t *ret_n)
{
        if (from->n >= size)
                check_stop(c, "the plugin wrote %zu bytes: more than this checker keeps", from->n);
        if (from->n)
                memcpy(to, from->data, from->n);
        to[from->n] = 0;
        *ret_n = (uint32_t)from->n;
}

int64_t settle_of(const struct subject *s)
{
        return scenario_limit(s->check, "settle_ms", s->plugin->settle_ms);
}

/* A create of an API without keys that was begun more than once may have made more than one. */
static bool surplus_possible(const struct act *a, const struct ledger *l, int32_t answer)
{
        return answer == PRVNG_DONE && streq(l->verb, "create") && l->attempt > 1 && a->s->plugin->settle_ms > 0 &&
               a->s->op.list;
}

static void end(struct act *a, struct ledger *l, int32_t answer)
{
        struct check *c = a->s->check;

        keep(c, &a->reply.result, l->result, sizeof(l->result), &l->n_result);
        snprintf(l->message, sizeof(l->message), "%s", a->reply.message ?: "");
        l->answer = answer;
        l->effect = a->call.said ? a->reply.effect : answer < 0 ? PRVNG_EFFECT_UNKNOWN : PRVNG_EFFECT_COMPLETE;
        l->state = surplus_possible(a, l, answer) ? LEDGER_MADE : LEDGER_ENDED;
}

static int64_t wait_of(const struct act *a, int64_t fallback)
{
        int64_t ms = a->reply.ask_again_ms >= 0     ? a->reply.ask_again_ms
                     : a->reply.retry_after_ms >= 0 ? a->reply.retry_after_ms
                                                    : fallback;

        return MIN(ms, INT64_C(5000));
}

/* What begin and poll answered. */
static int64_t take(struct act *a, struct ledger *l, int32_t answer, bool polled)
{
        uint32_t effect = a->call.said ? a->reply.effect : PRVNG_EFFECT_UNKNOWN;

        if (answer == PRVNG_PENDING) {
                if (a->reply.token.n) {
                        keep(a->s->check, &a->reply.token, l->token, sizeof(l->token), &l->n_token);
                        world_boundary("the token was journaled");
                }
                l->state = LEDGER_TOKEN;
                l->was_pending = true;
                return wait_of(a, 50);
        }
        if (answer == PRVNG_TOKEN_REJECTED) {
                l->rejections++;
                l->state = LEDGER_INTENT;
                l->n_token = 0;
                return 0;
        }
        if (answer == PRVNG_TRANSIENT || answer == PRVNG_RATE_LIMITED) {
                if (effect == PRVNG_EFFECT_NONE)
                        l->state = LEDGER_NEW; /* begin again: the request stays */
                else if (!polled)
                        l->state = LEDGER_INTENT; /* ask */
                return wait_of(a, 20);
        }
        end(a, l, answer);
        return 0;
}

static int64_t take_observed(struct act *a, struct ledger *l, int32_t answer)
{
        int64_t settle = settle_of(a->s);

        switch (answer) {
        case PRVNG_OBSERVED_DONE:
                end(a, l, PRVNG_DONE);
                return 0;
        case PRVNG_OBSERVED_IN_PROGRESS:
                if (a->reply.token.n)
                        keep(a->s->check, &a->reply.token, l->token, sizeof(l->token), &l->n_token);
                l->was_pending = true;
                l->state = l->n_token ? LEDGER_TOKEN : LEDGER_INTENT;
                return wait_of(a, 50);
        case PRVNG_OBSERVED_NOT_STARTED:
                if (check_now_ms() < l->left_ms + settle) /* proves nothing yet */
                        return l->left_ms + settle - check_now_ms() + 1;
                l->state = LEDGER_NEW;
                return 0;
        case PRVNG_OBSERVED_PARTIAL:
                l->state = LEDGER_NEW;
                return 0;
        case PRVNG_OBSERVED_FAILED:
                end(a, l, a->call.said ? a->call.said_class : PRVNG_PERMANENT);
                return 0;
        case PRVNG_OBSERVED_UNCERTAIN:
        case PRVNG_TRANSIENT:
        case PRVNG_RATE_LIMITED:
                return wait_of(a, 50);
        default:
                end(a, l, answer);
                return 0;
        }
}

static bool prepare(struct act *a, struct ledger *l)
{
        int32_t answer = act_prepare(a, l->verb, l->task, l->n_task);

        if (answer != PRVNG_DONE) {
                end(a, l, answer);
                return false;
        }
        keep(a->s->check, &a->reply.result, l->request, sizeof(l->request), &l->n_request);
        return true;
}

/* --- surplus, as core/engine/surplus.c --- */

int32_t list_by(struct subject *s, const char *filter, json_t **ret)
{
        struct act a;
        int32_t answer;

        *ret = NULL;
        act_init(&a, s, NULL, 1, CALL_MS);
        answer = act_list(&a, filter);
        if (answer == PRVNG_DONE)
                json_parse(a.reply.result.data, a.reply.result.n, ret, NULL);
        act_deinit(&a);
        return answer;
}

/* Is that the one that the result names? Each member of its identity stands there. */
static bool is_ours(json_t *identity, const json_t *outputs)
{
        const char *key;
        json_t *value;

        json_object_foreach (identity, key, value)
                if (!json_equal(value, json_object_get(outputs, key)))
                        return false;
        return json_object_size(identity) > 0;
}

static void remove_one(struct check *c, struct ledger *l, json_t *identity)
{
        json_t *task = json_loads(l->task, 0, NULL);

        json_object_set(task, "identity", identity);
        ledger_start(c, l->surplus, "delete", task);
        l->removing = true;
}

/* True: it is not over. */
static bool look_for_surplus(struct subject *s, struct ledger *l, int64_t *ret_wait_ms)
{
        _cleanup_(cleanup_json_decref) json_t *listed = NULL, *outputs = json_loads(l->result, 0, NULL);
        json_t *one, *other = NULL;
        size_t i, n_ours = 0;
        char filter[64];
        int32_t answer;

        snprintf(filter, sizeof(filter), "{\"op_id\":\"%s\"}", l->op_id);
        *ret_wait_ms = 100;
        answer = list_by(s, filter, &listed);
        if (answer == PRVNG_UNSUPPORTED)
                l->state = LEDGER_ENDED;
        if (answer != PRVNG_DONE)
                return l->state != LEDGER_ENDED;
        json_array_foreach (json_object_get(listed, "resources"), i, one) {
                if (is_ours(json_object_get(one, "identity"), outputs))
                        n_ours++;
                else
                        other = json_object_get(one, "identity");
        }
        if (n_ours == 0 && ++l->looks < LOOKS_MAX) /* a list may lag behind */
                return true;
        if (n_ours == 0 && other)
                check_stop(s->check, "list() by op id finds other resources than the one that the result of create "
                                     "names: the operator would be asked which one is in use");
        if (other)
                remove_one(s->check, l, other);
        else
                l->state = LEDGER_ENDED;
        return l->state != LEDGER_ENDED;
}

static bool surplus_step(struct subject *s, struct ledger *l, int64_t *ret_wait_ms)
{
        int64_t left = l->left_ms + settle_of(s) - check_now_ms();

        if (l->removing) {
                if (ledger_step(s, l->surplus, ret_wait_ms))
                        return true;
                if (l->surplus->answer != PRVNG_DONE && l->surplus->answer != PRVNG_UNCHANGED)
                        check_stop(s->check, "what was made twice cannot be deleted: %s: %s",
                                   class_name(l->surplus->answer), l->surplus->message);
                l->left_ms = check_now_ms(); /* what was deleted may be seen for a while */
                l->removing = false;
                return true;
        }
        *ret_wait_ms = MAX(left, INT64_C(0));
        return left > 0 || look_for_surplus(s, l, ret_wait_ms);
}

/* --- one step --- */

bool ledger_step(struct subject *s, struct ledger *l, int64_t *ret_wait_ms)
{
        struct act a;

        *ret_wait_ms = 0;
        if (l->state == LEDGER_ENDED)
                return false;
        if (l->state == LEDGER_MADE)
                return surplus_step(s, l, ret_wait_ms);
        act_init(&a, s, l->state == LEDGER_NEW && !l->n_request ? "" : l->op_id, MAX(l->attempt, 1u), CALL_MS);
        if (l->state == LEDGER_NEW && !l->n_request) {
                prepare(&a, l);
        } else if (l->state == LEDGER_NEW) {
                l->attempt++;
                a.call.pub.attempt = l->attempt;
                l->left_ms = check_now_ms();
                l->state = LEDGER_INTENT; /* before it acts */
                world_boundary("the intent was journaled");
                *ret_wait_ms = take(&a, l, act_begin(&a, l->verb, l->request, l->n_request), false);
                if (l->state == LEDGER_INTENT)
                        l->left_ms = check_now_ms();
        } else if (l->state == LEDGER_TOKEN) {
                l->polls++;
                *ret_wait_ms = take(&a, l, act_poll(&a, l->verb, l->request, l->n_request, l->token, l->n_token),
                                    true);
        } else if (s->op.observe) {
                l->observes++;
                *ret_wait_ms = take_observed(&a, l, act_observe(&a, l->verb, l->request, l->n_request, l->token,
                                                                l->n_token));
        } else {
                check_stop(s->check, "%s is in doubt and the plugin has no observe(): the operator would be asked",
                           l->verb);
        }
        act_deinit(&a);
        return l->state != LEDGER_ENDED;
}

int32_t ledger_drive(struct subject *s, struct ledger *l)
{
        int64_t end_ms = check_now_ms() + 1000 * scenario_limit(s->check, "operation_s", 60) *
                                                  MAX(s->check->options->slow, 1u);
        int64_t wait;

        while (ledger_step(s, l, &wait)) {
                if (check_now_ms() > end_ms)
                        check_stop(s->check, "%s did not end in time: %u attempts, %u polls, %u observes; last: %s",
                                   l->verb, l->attempt, l->polls, l->observes, l->message);
                check_sleep_ms(wait);
        }
        return l->answer;
}

int32_t run_operation(struct subject *s, struct ledger *l, const char *verb, json_t *task)
{
        int32_t answer;

        ledger_start(s->check, l, verb, task);
        answer = ledger_drive(s, l);
        if (answer != PRVNG_DONE && answer != PRVNG_UNCHANGED)
                check_stop(s->check, "%s ended with %s: %s", verb, class_name(answer), l->message);
        return answer;
}

/* --- tasks --- */

json_t *task_create(struct check *c, const json_t *entry, const char *suffix)
{
        json_t *task = scenario_expand(c, json_object_get(entry, "task")), *spec;
        struct buf name = BUF_NULL;

        if (!json_is_object(task) || !json_get_string(task, "name", NULL))
                check_stop(c, "a member of \"tasks\" is {\"task\": {\"kind\", \"name\", \"spec\"}, ...}");
        if (!json_object_get(task, "workflow"))
                json_object_set_new(task, "workflow", json_string("check"));
        if (!json_object_get(task, "site"))
                json_object_set_new(task, "site", json_string("01JD00000000000000000000CH"));
        if (suffix[0]) {
                buf_printf(&name, "%s%s", json_get_string(task, "name", ""), suffix);
                json_object_set_new(task, "name", json_string(buf_str(&name)));
                spec = json_object_get(task, "spec");
                if (json_object_get(spec, "name"))
                        json_object_set_new(spec, "name", json_string(buf_str(&name)));
                buf_deinit(&name);
        }
        return task;
}

json_t *task_known(struct check *c, const json_t *entry, const char *suffix, const char *result)
{
        json_t *task = task_create(c, entry, suffix), *identity = json_loads(result, 0, NULL);

        if (identity)
                json_object_set_new(task, "identity", identity);
        return task;
}

json_t *task_update(struct check *c, const json_t *entry, const char *suffix, const char *result)
{
        json_t *task = task_known(c, entry, suffix, result);
        json_t *change = scenario_expand(c, json_object_get(entry, "update"));
        json_t *former = json_object_get(task, "spec");

        json_object_set_new(task, "former", json_deep_copy(former));
        json_object_update(former, change);
        json_decref(change);
        return task;
}

int64_t task_counts(const json_t *entry)
{
        return json_get_int(entry, "counts", 1);
}

int64_t task_shared(const json_t *entry)
{
        return json_get_int(entry, "shared", 0);
}

/* --- processes --- */

bool in_child(struct check *c, int64_t kill_after_us, void (*f)(struct check *c, void *userdata),
              void *userdata)
{
        int status = 0;
        pid_t pid;

        c->shared->boundary = 0;
        __atomic_add_fetch(&c->shared->may_fork, 1, __ATOMIC_SEQ_CST);
        pid = fork();
        if (pid != 0)
                __atomic_sub_fetch(&c->shared->may_fork, 1, __ATOMIC_SEQ_CST);
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (c->scenario)
                        c->scenario->fake = -1; /* the parent's */
                c->failed = false;
                f(c, userdata);
                fflush(NULL);
                _exit(c->failed ? 3 : 0);
        }
        if (pid < 0)
                check_stop(c, "fork: %s", strerror(errno));
        if (kill_after_us >= 0) {
                usleep((useconds_t)kill_after_us);
                kill(pid, SIGKILL);
        }
        if (waitpid(pid, &status, 0) != pid)
                check_stop(c, "waitpid: %s", strerror(errno));
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && (kill_after_us >= 0 || c->shared->kill_at)) {
                __atomic_store_n(&c->shared->may_fork, 0, __ATOMIC_SEQ_CST); /* it may have died inside */
                return false;
        }
        if (WIFSIGNALED(status))
                check_stop(c, "ended by signal %d (%s): %s", WTERMSIG(status), strsignal(WTERMSIG(status)),
                           c->shared->step);
        if (WEXITSTATUS(status) != 0)
                check_stop(c, "the process of the plugin ended with code %d: %s", WEXITSTATUS(status),
                           c->shared->step);
        return true;
}
