/* SPDX-License-Identifier: Apache-2.0 */
/* Providers and taskservs that are killed or cancelled in the middle: no duplicate, no leak. */
#include "scenario-tests.h"

#include "plugin/border.h"

#include <pthread.h>

/* --- killed anywhere --- */

/* One operation, killed at boundary `at` (0: not) or after `us` (-1: not), then carried on with. True: it
 * was killed. */
static bool killed_and_resumed(struct check *c, struct ledger *l, uint32_t at, int64_t us)
{
        bool killed;

        c->shared->kill_at = at;
        killed = !in_child(c, us, drive_in_child, l);
        c->shared->kill_at = 0;
        if (killed)
                in_child(c, -1, drive_in_child, l);
        if (l->answer != PRVNG_DONE && l->answer != PRVNG_UNCHANGED)
                check_stop(c, "killed at boundary %u and carried on with, %s ended with %s: %s", at, l->verb,
                           class_name(l->answer), l->message);
        return killed;
}

/* create and delete, each killed at that place. Without one: how many boundaries the longer has; else 0: there
 * are fewer. */
static uint32_t kill_round(struct check *c, struct ledger *l, const json_t *e, uint32_t at, int64_t us, int64_t base)
{
        uint32_t n;
        char what[128];
        bool killed;

        ledger_start(c, l, "create", task_create(c, e, ""));
        killed = killed_and_resumed(c, l, at, us);
        n = c->shared->boundary;
        snprintf(what, sizeof(what), us < 0 ? "a create that was killed at boundary %u" :
                                              "a create that was killed at a moment of its own (%u)", at);
        scenario_count_is(c, base + task_counts(e), what);
        ledger_start(c, l, "delete", task_known(c, e, "", l->result));
        killed = killed_and_resumed(c, l, at, us) || killed;
        snprintf(what, sizeof(what), us < 0 ? "a delete that was killed at boundary %u" :
                                              "a delete that was killed at a moment of its own (%u)", at);
        scenario_count_is(c, base, what);
        if (at == 0 && us < 0)
                return MAX(n, c->shared->boundary);
        return killed && !c->failed;
}

/* All boundaries, or as many as are allowed, spread over them: others with another seed. */
static void kill_everywhere(struct check *c, struct ledger *l, const json_t *e, int64_t base)
{
        uint32_t most = (uint32_t)scenario_limit(c, "boundaries", 60), at, n;
        const char *kind = json_get_string(json_object_get(e, "task"), "kind", "");
        int64_t took = check_now_ms();

        n = kill_round(c, l, e, 0, -1, base);
        took = (check_now_ms() - took) / 2;
        if (n <= most) {
                for (at = 1; kill_round(c, l, e, at, -1, base) && at < 2 * most; at++)
                        ;
                check_remark(c, "%s: killed at each of %u boundaries", kind, at - 1);
        } else {
                for (uint32_t i = 0; i < most && !c->failed; i++)
                        kill_round(c, l, e, 1 + i * n / most + (uint32_t)check_below(c, n / most), -1, base);
                check_remark(c, "%s: killed at %u of %u boundaries (limits.boundaries)", kind, most, n);
        }
        for (int64_t i = scenario_limit(c, "random_kills", 6); i > 0 && !c->failed; i--)
                kill_round(c, l, e, 0, (int64_t)check_below(c, (size_t)MAX(took * 1000, INT64_C(2000))), base);
}

static void test_kill(struct check *c)
{
        struct ledger *l = ledger_new(c);
        int64_t base;

        scenario_start(c);
        scenario_entry(c, 0);
        base = scenario_count(c);
        for (size_t i = 0; i < json_array_size(scenario_get(c, "tasks")) && !c->failed; i++)
                kill_everywhere(c, l, scenario_entry(c, i), base);
}

/* --- cancelling --- */

static void *cancel_later(void *userdata)
{
        struct act *a = userdata;

        check_sleep_ms(a->call.pub.epoch == 1 ? 0 : (int64_t)a->call.pub.epoch);
        op_call_cancel(&a->call);
        return NULL;
}

/* After a cancelled begin(): what was begun is found out, ended, removed. */
static void clean_up(struct subject *s, struct ledger *l, const json_t *e, int64_t base, const char *after)
{
        struct check *c = s->check;

        if (l->state == LEDGER_ENDED && l->answer == PRVNG_CANCELLED && l->effect == PRVNG_EFFECT_NONE) {
                scenario_count_is(c, base, after);
                return;
        }
        if (l->state == LEDGER_ENDED && l->answer == PRVNG_CANCELLED) {
                l->state = LEDGER_INTENT;
                ledger_drive(s, l);
        } else if (l->state != LEDGER_ENDED) {
                ledger_drive(s, l);
        }
        if (l->answer == PRVNG_DONE || l->answer == PRVNG_UNCHANGED)
                run_operation(s, l, "delete", task_known(c, e, "", l->result));
        scenario_count_is(c, base, after);
}

/* begin() with the flag set before (ms 0) or so much later. */
static void cancel_begin(struct subject *s, struct ledger *l, const json_t *e, int64_t ms, int64_t base)
{
        struct check *c = s->check;
        int64_t allowed = 1000 * scenario_limit(c, "cancel_s", 3) * MAX(c->options->slow, 1u), begun, wait;
        pthread_t thread;
        char what[80];
        struct act a;

        ledger_start(c, l, "create", task_create(c, e, ""));
        ledger_step(s, l, &wait); /* prepare */
        act_init(&a, s, l->op_id, 1, 600000);
        a.call.pub.epoch = (uint64_t)MAX(ms, INT64_C(1));
        if (ms == 0)
                op_call_cancel(&a.call);
        l->state = LEDGER_INTENT;
        l->attempt = 1;
        l->left_ms = begun = check_now_ms();
        if (ms > 0 && pthread_create(&thread, NULL, cancel_later, &a) != 0)
                check_stop(c, "no thread");
        act_begin(&a, l->verb, l->request, l->n_request);
        if (ms > 0)
                pthread_join(thread, NULL);
        if (check_now_ms() - begun > ms + allowed)
                check_fail(c, "begin() came back %lld ms after it was cancelled, %lld are allowed",
                           (long long)(check_now_ms() - begun - ms), (long long)allowed);
        if (a.answer == PRVNG_PENDING) {
                l->state = LEDGER_TOKEN;
                l->n_token = (uint32_t)a.reply.token.n;
                memcpy(l->token, a.reply.token.data, a.reply.token.n);
        } else if (a.answer != PRVNG_TRANSIENT) {
                l->state = LEDGER_ENDED;
                l->answer = a.answer;
                l->effect = a.call.said ? a.reply.effect : PRVNG_EFFECT_UNKNOWN;
                snprintf(l->result, sizeof(l->result), "%s", buf_str(&a.reply.result));
        }
        act_deinit(&a);
        snprintf(what, sizeof(what), "a create that was cancelled after %lld ms", (long long)ms);
        clean_up(s, l, e, base, what);
}

/* cancel() of what is PENDING, twice, until it has ended. */
static void cancel_pending(struct subject *s, struct ledger *l, const json_t *e, int64_t base)
{
        struct check *c = s->check;
        int64_t wait;
        struct act a;
        int32_t answer = PRVNG_PENDING;

        ledger_start(c, l, "create", task_create(c, e, ""));
        ledger_step(s, l, &wait);
        ledger_step(s, l, &wait);
        if (l->state == LEDGER_TOKEN && s->op.cancel) {
                for (int i = 0; i < 2; i++) { /* idempotent */
                        act_init(&a, s, l->op_id, 1, 30000);
                        answer = act_cancel(&a, l->verb, l->request, l->n_request, l->token, l->n_token);
                        if (answer != PRVNG_DONE && answer != PRVNG_CANCELLED && answer != PRVNG_PENDING &&
                            answer != PRVNG_UNSUPPORTED && answer != PRVNG_TRANSIENT && !(i && answer < 0))
                                check_fail(c, "cancel() of pending work is answered %s", class_name(answer));
                        if (i == 0 && answer != PRVNG_PENDING && answer != PRVNG_UNSUPPORTED &&
                            answer != PRVNG_TRANSIENT) {
                                l->state = LEDGER_ENDED;
                                l->answer = answer;
                                l->effect = a.call.said ? a.reply.effect : PRVNG_EFFECT_UNKNOWN;
                                snprintf(l->result, sizeof(l->result), "%s", buf_str(&a.reply.result));
                        }
                        act_deinit(&a);
                }
        }
        clean_up(s, l, e, base, "a create whose pending work was cancelled");
}

static void test_cancel(struct check *c)
{
        struct ledger *l = ledger_new(c);
        const json_t *e;
        struct subject s;
        int64_t base;

        e = scenario_stage(c, &s, &base);
        for (int64_t i = 0, ms = 0; i < scenario_limit(c, "cancels", 5) && !c->failed; i++, ms = ms * 3 + 2)
                cancel_begin(&s, l, e, ms, base);
        if (!c->failed)
                cancel_pending(&s, l, e, base);
        subject_stop(&s);
}

const struct test crash_tests[] = {
        {"scenario/killed-anywhere", KINDS, "killed at every boundary: no duplicate, no leak", test_kill, 1200,
         TEST_SCENARIO},
        {"scenario/cancel", KINDS, "ends in time when it is cancelled, before and during", test_cancel, 300,
         TEST_SCENARIO},
        {0},
};
