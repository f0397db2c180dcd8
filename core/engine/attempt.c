/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An attempt: what each answer of a plugin leads to.
 *
 *      begin, poll:   DONE, UNCHANGED -> done          PENDING -> token, poll later
 *                     effect UNKNOWN -> doubt           TOKEN_REJECTED -> doubt
 *                     transient, effect known -> retry  all else -> failed
 *      observe:       DONE -> done                      IN_PROGRESS -> token, poll later
 *                     NOT_STARTED -> settle, then begin again under the same op id
 *                     PARTIAL -> begin again            FAILED -> as begin would
 *                     UNCERTAIN -> observe again        UNSUPPORTED -> parked
 *
 * Undos and deletions of surplus are requests like any other and take the same way; what their end
 * leads to stands in rollback.c and surplus.c.
 *
 * Promise 4: an intent without a result is resolved by observe, never by guessing. A poll or an observe
 * that could not ask (the server or API is away) leaves everything as it is and asks again later.
 */
#include "engine/flight.h"

static void set_next(struct flight *f, int64_t after_ms)
{
        if (timers_set(&f->engine->timers, &f->next,
                       f->engine->boot_ms + MIN(MAX(after_ms, (int64_t)0), AFTER_MAX_MS)))
                f->engine->error = -ENOMEM;
}

static void set_limit(struct flight *f, int64_t after_ms)
{
        if (timers_set(&f->engine->timers, &f->limit, f->engine->boot_ms + after_ms))
                f->engine->error = -ENOMEM;
}

/* What the attempts so far left, this one included: one that had no effect does not undo what an earlier
 * one left half-way. */
static uint32_t effect_of_all(const struct flight *f, uint32_t effect)
{
        const struct attempt *a = flight_task(f)->attempt;

        return a && effect == PRVNG_EFFECT_NONE && (f->left_part || a->effect == PRVNG_EFFECT_PARTIAL)
                       ? PRVNG_EFFECT_PARTIAL
                       : effect;
}

static struct span message_of(const struct op_reply *reply)
{
        return span_of(reply->message);
}

/* Ends of a task */

/* A point to roll back to, every so many completed operations. */
static void checkpoint(struct engine *e, struct run *run)
{
        const struct checkpoint *last =
                run->n_checkpoints ? &run->checkpoints[run->n_checkpoints - 1] : NULL;
        uint32_t done = last ? last->n_operations : 0;

        if (run->strategy.interval && run->unsettled && !run->rollback &&
            run->n_checkpoints < UINT16_MAX && /* what a task remembers of it */
            run->n_completed >= done + run->strategy.interval)
                engine_append(e, run, &(struct record){.type = RECORD_CHECKPOINT,
                                                       .checkpoint = run->n_checkpoints + 1,
                                                       .count = run->n_completed});
}

static void end_task(struct flight *f, int32_t answer, struct span outputs, bool shared)
{
        _cleanup_(cleanup_buf) struct buf drift = BUF_NULL;
        struct engine *e = f->engine;
        struct run *run = f->run;

        assert(!f->calling);
        assert(f->role == ROLE_UNDO || !task_status_ended(flight_task(f)->status)); /* E4 */
        if (f->verb == PLAN_CHECK && answer == PRVNG_DONE && drift_text(outputs, &drift))
                e->error = error_origin(-ENOMEM);
        engine_append(e, run, &(struct record){.type = f->role == ROLE_UNDO ? RECORD_UNDONE : RECORD_DONE,
                                               .task = f->task,
                                               .answer = answer,
                                               .outputs = outputs,
                                               .message = span_n(drift.data, drift.n),
                                               .shared = shared});
        if (!e->error && f->role != ROLE_UNDO)
                checkpoint(e, run);
        else if (!e->error && flight_task(f)->verb == PLAN_DELETE)
                undo_restored(e, run, f->task);
        flight_end(f);
}

/* The request is done: the end of the task, or of its undo. */
void task_end(struct flight *f, int32_t answer, struct span outputs)
{
        end_task(f, answer, outputs, false);
}

void task_use(struct flight *f, struct span outputs)
{
        assert(f->role == ROLE_TASK && f->verb == PLAN_CREATE);
        end_task(f, PRVNG_UNCHANGED, outputs, true);
}

void task_done(struct flight *f, int32_t answer, struct span outputs)
{
        if (f->role == ROLE_SURPLUS)
                surplus_removed(f, answer);
        else if (surplus_possible(f, answer))
                surplus_made(f, answer, outputs);
        else
                task_end(f, answer, outputs);
}

void task_halts(struct engine *e, struct run *run, uint32_t task, struct span message)
{
        const struct operation *o = &run->operations[run->tasks[task].operation];

        if (o->on_failure == ON_FAILURE_CONTINUE || run->halted || e->error)
                return;
        engine_append(e, run, &(struct record){.type = RECORD_HALT, .task = task, .message = message});
        engine_run_hurry(e, run);
}

void task_failed(struct flight *f, const struct op_reply *reply)
{
        struct engine *e = f->engine;
        struct run *run = f->run;
        uint32_t task = f->task;

        assert(!f->calling);
        assert(f->role == ROLE_UNDO || !task_status_ended(flight_task(f)->status)); /* E4 */
        if (f->role == ROLE_SURPLUS) {
                attempt_park(f, reply->message ?: "What was made twice could not be deleted");
                return;
        }
        engine_append(e, run, &(struct record){.type = f->role == ROLE_UNDO ? RECORD_UNDO_FAILED
                                                                            : RECORD_FAILED,
                                               .task = task,
                                               .answer = reply->answer,
                                               .effect = effect_of_all(f, reply->effect),
                                               .message = message_of(reply),
                                               .field = span_of(reply->field)});
        task_halts(e, run, task, message_of(reply));
        flight_end(f);
}

static void park(struct flight *f, const char *format, ...) _printf_(2, 3);

static void park(struct flight *f, const char *format, ...)
{
        _cleanup_(cleanup_free) char *message = NULL;
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&message, format, ap) < 0)
                message = NULL;
        va_end(ap);
        engine_append(f->engine, f->run, &(struct record){.type = RECORD_PARKED,
                                                          .task = f->task,
                                                          .message = span_of(message)});
        timers_unset(&f->engine->timers, &f->next);
        timers_unset(&f->engine->timers, &f->limit);
        f->phase = PHASE_IDLE;
        if (!f->calling)
                flight_leave_place(f);
}

void attempt_park(struct flight *f, const char *why)
{
        const struct task *t = flight_task(f);
        char op_id[UID_TEXT];

        uid_text(&t->attempt->op_id, op_id);
        park(f, "%s. Look yourself whether %s of %s took effect (op id %s), then say: prvng batch "
                "resolve %s %s --as done|not-started",
             why, plan_verb_name((enum plan_verb)f->verb), task_key(f->run, t), op_id, f->run->id_text, task_id(f->run, t));
}

/* Retries */

/* Linear: n x initial; exponential: initial x 2^(n-1); both capped, then full jitter (a random part of
 * it: Brooker, "Exponential Backoff and Jitter", 2015), never less than the plugin asked for. */
static int64_t backoff_ms(struct flight *f, uint32_t failed, int64_t retry_after_ms)
{
        const struct run *run = f->run;
        uint64_t delay = (uint64_t)run->initial_delay_s * 1000, cap = run->max_delay_s * UINT64_C(1000);
        uint64_t random;

        if (streq(run->backoff, "linear"))
                delay *= failed;
        else
                delay = failed > 32 ? cap : delay << (failed - 1);
        delay = MIN(delay, cap);
        f->engine->ops->entropy(f->engine->userdata, &random, sizeof(random));
        delay = delay ? random % (delay + 1) : 0;
        return MAX((int64_t)delay, MIN(retry_after_ms, AFTER_MAX_MS));
}

static void retry(struct flight *f, const struct op_reply *reply)
{
        const struct attempt *a = flight_task(f)->attempt;
        int64_t after = backoff_ms(f, a->number, reply->retry_after_ms);

        engine_append(f->engine, f->run, &(struct record){.type = RECORD_RETRY,
                                                          .task = f->task,
                                                          .attempt = a->number,
                                                          .answer = reply->answer,
                                                          .effect = effect_of_all(f, reply->effect),
                                                          .after = after,
                                                          .message = message_of(reply)});
        timers_unset(&f->engine->timers, &f->limit);
        f->recovered = false;
        f->phase = PHASE_DELAYED;
        set_next(f, after);
}

/* A rate limit is no failure of the task: many more tries are allowed, at the API's own pace. */
static bool may_retry(const struct flight *f, int32_t answer)
{
        uint32_t number = flight_task(f)->attempt->number;

        if (!flight_may_begin(f))
                return false;
        if (answer == PRVNG_RATE_LIMITED)
                return number < f->run->max_attempts + 50;
        return answer == PRVNG_TRANSIENT && number < f->run->max_attempts;
}

/* What was cancelled because its time was over may be tried again. */
static int32_t answer_that_counts(const struct flight *f, const struct op_reply *reply)
{
        return f->timed_out && reply->answer == PRVNG_CANCELLED ? PRVNG_TRANSIENT : reply->answer;
}

/* The attempt ended without success, and its effect is known. */
static void attempt_failed(struct flight *f, struct op_reply *reply)
{
        if (reply->effect == PRVNG_EFFECT_COMPLETE && f->verb == PLAN_DELETE) {
                task_done(f, PRVNG_DONE, span_of("{}")); /* it is gone, whatever was said about it */
                return;
        }
        reply->answer = answer_that_counts(f, reply);
        if (f->timed_out) {
                char *message = NULL;

                if (asprintf(&message, "timed out after %u s%s%s", flight_operation(f)->timeout_s,
                             reply->message ? ": " : "", reply->message ?: "") < 0)
                        message = NULL;
                free(reply->message);
                reply->message = message;
        }
        if (reply->effect != PRVNG_EFFECT_COMPLETE && may_retry(f, reply->answer))
                retry(f, reply);
        else
                task_failed(f, reply);
}

/* The former state could not be read: again later, as often as an attempt. Nothing was asked of the
 * plugin that a record would have to tell of, so that none is written: the task is ready all the time. */
bool attempt_read_later(struct flight *f, const struct op_reply *reply)
{
        uint32_t most = f->run->max_attempts + (reply->answer == PRVNG_RATE_LIMITED ? 50 : 0);

        if ((reply->answer != PRVNG_TRANSIENT && reply->answer != PRVNG_RATE_LIMITED) ||
            ++f->n_failures >= most)
                return false;
        f->phase = PHASE_DELAYED;
        set_next(f, backoff_ms(f, f->n_failures, reply->retry_after_ms));
        return true;
}

/* Doubt */

static void observe(struct flight *f)
{
        if (!flight_take_place(f)) { /* it was parked */
                f->phase = PHASE_DOUBTING;
                set_next(f, PLACE_MS);
                return;
        }
        f->asked_ms = f->engine->boot_ms;
        engine_call(f, CALL_OBSERVE, PHASE_OBSERVING, f->engine->boot_ms + CALL_MS);
        set_limit(f, CALL_MS);
}

void attempt_doubt(struct flight *f, const char *message)
{
        struct engine *e = f->engine;

        engine_append(e, f->run, &(struct record){.type = RECORD_DOUBT,
                                                  .task = f->task,
                                                  .message = span_of(message)});
        if (e->error)
                return;
        f->doubt_since_ms = e->boot_ms;
        f->n_failures = 0;
        if (f->lane->plugin->descriptor.flags & PRVNG_PLUGIN_BEGIN_NOT_IDEMPOTENT &&
            f->verb != PLAN_CHECK)
                attempt_park(f, "The plugin cannot tell what became of a request");
        else
                observe(f);
}

/* Asks again later: at the pace that the plugin names, else ever more slowly. */
void attempt_ask_later(struct flight *f, enum phase phase, const struct op_reply *reply)
{
        int64_t after = reply->ask_again_ms >= 0 ? reply->ask_again_ms : reply->retry_after_ms;

        if (after < 0)
                after = MIN((int64_t)500 << MIN(f->n_failures, 10u), (int64_t)OBSERVE_MAX_MS);
        f->n_failures++;
        f->phase = phase;
        timers_unset(&f->engine->timers, &f->limit);
        set_next(f, after);
}

/* Nothing of the attempt is there, or only a part: begin again under the same op id. An attempt that
 * a crash of the engine interrupted is not counted against the task. */
static void begin_again(struct flight *f, struct op_reply *reply, uint32_t effect)
{
        f->left_part |= effect == PRVNG_EFFECT_PARTIAL;
        if (f->recovered && flight_may_begin(f)) {
                /* More than the limit may have been taken up: what a task journaled as its end may be
                 * lost, while the intent that took its place, in another stream, is not (E3). */
                if (f->lane->batch_size && f->lane->in_flight > f->lane->batch_size)
                        flight_leave_place(f);
                attempt_next(f);
                return;
        }
        if (!flight_may_begin(f) && !reply->message)
                reply->message = strdup("not begun again, since nothing more starts");
        reply->answer = PRVNG_TRANSIENT;
        reply->effect = effect;
        attempt_failed(f, reply);
}

/* Promise 4: what is not there proves nothing yet, nor does what an earlier attempt left. Counted to
 * when the question left, for the answer may be as old. True: it is asked again when it does. */
static bool ask_when_settled(struct flight *f, struct op_reply *reply)
{
        int64_t settled = (f->left_ms ?: f->doubt_since_ms) +
                          f->lane->plugin->descriptor.settle_ms;

        if (f->asked_ms >= settled)
                return false;
        reply->ask_again_ms = MAX(settled - f->engine->boot_ms, (int64_t)0);
        attempt_ask_later(f, PHASE_DOUBTING, reply);
        return true;
}

static bool doubted(const struct task *t)
{
        return t->status == TASK_IN_DOUBT || t->status == TASK_PARKED;
}

/* A record also if the token is the old one, but the task was in doubt or parked: it goes on. */
static void keep_token(struct flight *f, const struct op_reply *reply)
{
        const struct attempt *a = flight_task(f)->attempt;
        struct span token = span_n(reply->token.data, reply->token.n);

        if (!token.n)
                token = span_of(a->token);
        if (token.n && (doubted(flight_task(f)) || !a->token || !span_eq(token, a->token)))
                engine_append(f->engine, f->run, &(struct record){.type = RECORD_TOKEN,
                                                                  .task = f->task,
                                                                  .token = token});
}

static void pending(struct flight *f, enum phase asked, struct op_reply *reply)
{
        struct engine *e = f->engine;
        int64_t left = f->deadline_ms - e->boot_ms;

        keep_token(f, reply);
        if (e->error)
                return;
        if (!flight_task(f)->attempt->token) {
                attempt_doubt(f, "the plugin answered PENDING without a token");
                return;
        }
        f->n_failures = 0;
        f->doubt_since_ms = 0;
        f->phase = PHASE_WAITING;
        if (asked == PHASE_BEGINNING) /* the call was asked to end, not what it began */
                f->timed_out = false;
        set_next(f, reply->ask_again_ms >= 0 ? reply->ask_again_ms : POLL_MS);
        set_limit(f, f->timed_out ? GRACE_MS : MAX(left, (int64_t)0));
}

static void observed(struct flight *f, struct op_reply *reply)
{
        switch (reply->answer) {
        case PRVNG_OBSERVED_DONE:
                task_done(f, PRVNG_DONE, span_n(reply->result.data, reply->result.n));
                break;
        case PRVNG_OBSERVED_IN_PROGRESS:
                if (f->recovered || !f->deadline_ms)
                        f->deadline_ms = f->engine->boot_ms +
                                         (int64_t)flight_operation(f)->timeout_s * 1000;
                f->recovered = false;
                pending(f, PHASE_OBSERVING, reply);
                break;
        case PRVNG_OBSERVED_NOT_STARTED:
                if (!ask_when_settled(f, reply))
                        begin_again(f, reply, PRVNG_EFFECT_NONE);
                break;
        case PRVNG_OBSERVED_PARTIAL:
                if (!ask_when_settled(f, reply))
                        begin_again(f, reply, PRVNG_EFFECT_PARTIAL);
                break;
        case PRVNG_OBSERVED_FAILED:
                if (ask_when_settled(f, reply))
                        break;
                if (reply->effect == PRVNG_EFFECT_UNKNOWN)
                        reply->effect = PRVNG_EFFECT_PARTIAL;
                reply->answer = reply->error_class;
                attempt_failed(f, reply);
                break;
        case PRVNG_UNSUPPORTED:
                if (f->verb == PLAN_CHECK) { /* it changes nothing: ask once more */
                        begin_again(f, reply, PRVNG_EFFECT_NONE);
                        break;
                }
                attempt_park(f, reply->message ?: "The plugin cannot tell what became of a request");
                break;
        default: /* UNCERTAIN, or it could not be asked */
                attempt_ask_later(f, PHASE_DOUBTING, reply);
        }
}

/* Answers of begin, poll and cancel. */
static void answered(struct flight *f, enum phase asked, struct op_reply *reply)
{
        bool could_not_ask = asked != PHASE_BEGINNING && reply->effect == PRVNG_EFFECT_UNKNOWN &&
                             (reply->answer == PRVNG_TRANSIENT || reply->answer == PRVNG_RATE_LIMITED);

        if (reply->answer == PRVNG_DONE || reply->answer == PRVNG_UNCHANGED)
                task_done(f, reply->answer, span_n(reply->result.data, reply->result.n));
        else if (reply->answer == PRVNG_PENDING)
                pending(f, asked, reply);
        else if (could_not_ask)
                attempt_ask_later(f, PHASE_WAITING, reply);
        else if (reply->answer == PRVNG_TOKEN_REJECTED || reply->effect == PRVNG_EFFECT_UNKNOWN ||
                 (reply->effect == PRVNG_EFFECT_COMPLETE && f->verb != PLAN_DELETE &&
                  may_retry(f, answer_that_counts(f, reply))) ||
                 (asked == PHASE_CANCELLING && reply->answer == PRVNG_UNSUPPORTED))
                attempt_doubt(f, reply->message ?: op_class_name(reply->answer));
        else
                attempt_failed(f, reply);
}

/* The API asks all of us for patience, not this task only (promise 6): nothing more of its lane starts
 * until then. What is in flight has timers of its own. */
static void hold_lane(struct flight *f, const struct op_reply *reply)
{
        struct engine *e = f->engine;
        int64_t until = e->boot_ms + MIN(reply->retry_after_ms, AFTER_MAX_MS);

        if (reply->answer != PRVNG_RATE_LIMITED || reply->retry_after_ms <= 0 ||
            f->phase == PHASE_SEEING || f->phase == PHASE_JUDGING ||
            (timer_is_set(&f->lane->hold) && f->lane->hold.at >= until))
                return;
        if (timers_set(&e->timers, &f->lane->hold, until))
                e->error = -ENOMEM;
}

static void deliver(struct flight *f, enum phase asked, struct op_reply *reply)
{
        switch ((unsigned)asked) {
        case PHASE_READING:
                if (f->role == ROLE_UNDO)
                        undo_read(f, reply);
                else
                        task_former_read(f, reply);
                break;
        case PHASE_OBSERVING:
                observed(f, reply);
                break;
        case PHASE_LISTING:
                surplus_listed(f, reply);
                break;
        case PHASE_SEEING:
                wait_seen(f, reply);
                break;
        case PHASE_JUDGING:
                wait_judged(f, reply);
                break;
        default:
                answered(f, asked, reply);
        }
}

void engine_answer_soon(const struct flight *f, unsigned step)
{
        if (!f->abandoned && f->run->planned)
                run_fetch_end(f->run, f->task, step);
}

void engine_answer(struct engine *e, struct flight *f, struct op_reply *reply)
{
        enum phase asked = f->phase;

        if (f->abandoned) {
                flight_take_back(e, f);
                return;
        }
        assert(f->calling); /* E1 */
        f->calling = false;
        if (asked == PHASE_BEGINNING || asked == PHASE_POLLING || asked == PHASE_CANCELLING)
                f->left_ms = e->boot_ms;
        timers_unset(&e->timers, &f->limit);
        hold_lane(f, reply);
        deliver(f, asked, reply);
}

static bool asks_only(enum phase phase)
{
        return phase == PHASE_READING || phase == PHASE_LISTING || phase == PHASE_SEEING ||
               phase == PHASE_JUDGING;
}

/* A question that was never answered: as if it could not be asked. */
static void give_up_asking(struct flight *f)
{
        struct flight *n = flight_abandon(f);
        struct op_reply reply = OP_REPLY_NULL;

        if (!n) {
                f->engine->error = error_origin(-ENOMEM);
                return;
        }
        reply.answer = PRVNG_TRANSIENT;
        reply.effect = PRVNG_EFFECT_NONE;
        reply.message = strdup("the plugin did not come back from a call that was cancelled");
        deliver(n, n->phase, &reply);
        op_reply_deinit(&reply);
}

/* Time */

/* Nothing more starts in the run, a further attempt neither: the last one's failure stands. */
static void not_again(struct flight *f)
{
        const struct task_note *note = run_note(f->run, f->task);
        struct op_reply reply = OP_REPLY_NULL;

        if (f->recovered) { /* the operator said that it had not started */
                reply.answer = PRVNG_CANCELLED;
                reply.effect = PRVNG_EFFECT_NONE;
        } else {
                reply.answer = flight_task(f)->attempt->answer;
                reply.effect = flight_task(f)->attempt->effect;
        }
        if (asprintf(&reply.message, "not tried again, since nothing more starts: %s",
                     note ? note->message : "") < 0)
                reply.message = NULL;
        task_failed(f, &reply);
        op_reply_deinit(&reply);
}

/* Begins, once there is a place in the lane. */
void attempt_next(struct flight *f)
{
        uint32_t number = flight_task(f)->attempt->number;

        if (!flight_may_begin(f)) {
                not_again(f);
        } else if (f->run->status == RUN_PAUSED && f->role != ROLE_SURPLUS) {
                f->phase = PHASE_DELAYED; /* engine_resume wakes it */
        } else if (flight_take_place(f)) {
                attempt_begin(f, f->recovered ? number : number + 1);
        } else {
                f->phase = PHASE_DELAYED;
                set_next(f, PLACE_MS);
        }
}

static void read_again(struct flight *f)
{
        if (!flight_may_begin(f)) /* ends with the run, skipped */
                flight_end(f);
        else if (f->run->status != RUN_PAUSED) /* else engine_resume wakes it */
                task_read(f);
}

static void next_step(struct flight *f)
{
        switch (f->phase) {
        case PHASE_WAITING:
                engine_call(f, CALL_POLL, PHASE_POLLING, f->engine->boot_ms + CALL_MS);
                if (!timer_is_set(&f->limit)) /* after a poll that could not ask */
                        set_limit(f, CALL_MS);
                break;
        case PHASE_DELAYED:
                if (!flight_task(f)->attempt)
                        read_again(f);
                else
                        attempt_next(f);
                break;
        case PHASE_DOUBTING:
                observe(f);
                break;
        case PHASE_UNLISTED:
                surplus_look(f);
                break;
        case PHASE_WATCHING:
                wait_look(f);
                break;
        case PHASE_SHARING:
                task_go(f);
                break;
        case PHASE_LISTING:
        case PHASE_SEEING:
        case PHASE_JUDGING:
        case PHASE_IDLE:
        case PHASE_READING:
        case PHASE_BEGINNING:
        case PHASE_POLLING:
        case PHASE_CANCELLING:
        case PHASE_OBSERVING:
                assert(!"a timer for a flight that waits for an answer");
        }
}

/* The attempt's time, or a call's, is over: first ask nicely, then give the plugin up. A call that
 * never came back is not begun again in this process (abi.md); its late answer still counts. */
static void time_is_over(struct flight *f)
{
        if (f->calling && !f->cancel_sent) {
                f->cancel_sent = true;
                f->timed_out = f->phase == PHASE_BEGINNING || f->timed_out;
                f->engine->ops->cancel(f->engine->userdata, f);
                set_limit(f, GRACE_MS);
        } else if (f->calling && asks_only(f->phase)) {
                give_up_asking(f);
        } else if (f->calling) {
                enum phase phase = f->phase;

                if (flight_task(f)->attempt) {
                        attempt_park(f, "The plugin did not come back from a call that was cancelled");
                        f->phase = phase;
                }
        } else if (f->phase == PHASE_WAITING && !f->timed_out) {
                f->timed_out = true;
                timers_unset(&f->engine->timers, &f->next);
                engine_call(f, CALL_CANCEL, PHASE_CANCELLING, f->engine->boot_ms + CALL_MS);
                set_limit(f, CALL_MS);
        } else if (f->phase == PHASE_WAITING) {
                timers_unset(&f->engine->timers, &f->next);
                if (++f->n_overruns < OVERRUNS_MAX)
                        attempt_doubt(f, "it went on after it was cancelled");
                else
                        attempt_park(f, "It goes on and on although it was cancelled");
        }
}

void attempt_timer(struct flight *f, uint32_t kind)
{
        if (kind == TIMER_NEXT)
                next_step(f);
        else
                time_is_over(f);
}

/* Goes on after a restart of the engine: from what the fold says. */
void attempt_resume(struct flight *f)
{
        struct engine *e = f->engine;
        const struct attempt *a = flight_task(f)->attempt;
        int64_t timeout_ms = (int64_t)flight_operation(f)->timeout_s * 1000;

        f->deadline_ms = e->boot_ms + timeout_ms;
        if (a->role != ROLE_SURPLUS && task_made(f->run, flight_task(f))) {
                f->left_ms = e->boot_ms;
                surplus_look(f);
                return;
        }
        switch ((unsigned)flight_task(f)->status) {
        case TASK_PENDING:
                f->phase = PHASE_WAITING;
                set_next(f, 0);
                set_limit(f, timeout_ms);
                break;
        case TASK_RETRYING:
                f->phase = PHASE_DELAYED;
                set_next(f, MIN(a->retry_ms - e->wall_ms, a->after_ms));
                break;
        case TASK_UNDOING:
                if (a->token) {
                        f->phase = PHASE_WAITING;
                        set_next(f, 0);
                        set_limit(f, timeout_ms);
                        break;
                }
                __attribute__((fallthrough));
        case TASK_RUNNING:
                f->recovered = true;
                attempt_doubt(f, "the engine ended before the answer came");
                break;
        case TASK_PARKED: /* a call that did not come back is over now, so that it can be asked */
                flight_leave_place(f); /* and takes one again when there is one: E3 */
                if (f->lane->plugin->descriptor.flags & PRVNG_PLUGIN_BEGIN_NOT_IDEMPOTENT)
                        break;
                f->recovered = true;
                f->doubt_since_ms = e->boot_ms;
                f->phase = PHASE_DOUBTING;
                set_next(f, 0);
                break;
        case TASK_IN_DOUBT:
                f->recovered = true;
                f->doubt_since_ms = e->boot_ms;
                observe(f);
                break;
        default:
                break;
        }
}
