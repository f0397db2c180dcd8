/* SPDX-License-Identifier: Apache-2.0 */
/* From ready to the first begin: read what will be changed, prepare the request, journal the intent. */
#include "engine/flight.h"

void flight_fail(struct flight *f, int32_t answer, const char *format, ...)
{
        struct op_reply reply = OP_REPLY_NULL;
        va_list ap;

        reply.answer = answer;
        reply.effect = PRVNG_EFFECT_NONE;
        va_start(ap, format);
        if (vasprintf(&reply.message, format, ap) < 0)
                reply.message = NULL;
        va_end(ap);
        task_failed(f, &reply);
        op_reply_deinit(&reply);
}

static void set_limit(struct flight *f, int64_t at)
{
        if (timers_set(&f->engine->timers, &f->limit, at))
                f->engine->error = -ENOMEM;
}

void attempt_begin(struct flight *f, uint32_t number)
{
        struct engine *e = f->engine;

        if (number > 1 || f->recovered)
                engine_append(e, f->run, &(struct record){.type = RECORD_BEGIN,
                                                          .task = f->task,
                                                          .attempt = number});
        if (e->error)
                return;
        f->deadline_ms = e->boot_ms + (int64_t)flight_operation(f)->timeout_s * 1000;
        f->left_ms = e->boot_ms;
        f->doubt_since_ms = 0;
        f->n_failures = 0;
        f->timed_out = f->recovered = false;
        set_limit(f, f->deadline_ms);
        engine_call(f, CALL_BEGIN, PHASE_BEGINNING, f->deadline_ms);
}

/* The intent of what the flight is for; empty members are left out of the record. */
static void append_intent(struct flight *f, const struct op_reply *reply)
{
        static const enum record_type types[] = {
                [ROLE_TASK] = RECORD_INTENT, [ROLE_UNDO] = RECORD_UNDO, [ROLE_SURPLUS] = RECORD_SURPLUS};
        struct record r = {.type = types[f->role],
                           .task = f->task,
                           .verb = span_of(plan_verb_name((enum plan_verb)f->verb)),
                           .request = reply->result.n ? span_n(reply->result.data, reply->result.n)
                                                      : span_of("{}")};

        f->engine->ops->entropy(f->engine->userdata, &r.op_id, sizeof(r.op_id));
        r.former = r.spec = span_n(f->former.data, f->former.n);
        engine_append(f->engine, f->run, &r);
        buf_clear(&f->document);
        buf_deinit(&f->former);
}

void attempt_prepare(struct flight *f)
{
        struct engine *e = f->engine;
        struct task *t = flight_task(f);
        struct op_reply *reply = &e->prepared;
        struct engine_call call = {
                .flight = f,
                .run = f->run->id_text,
                .task = task_id(f->run, t),
                .plugin = f->lane->plugin,
                .verb = plan_verb_name((enum plan_verb)f->verb),
                .deadline_ms = e->boot_ms + CALL_MS,
                .request = buf_str(&f->document),
                .n_request = f->document.n,
        };

        buf_clear(&reply->result);
        e->ops->prepare(e->userdata, &call, reply);
        if (reply->answer != PRVNG_DONE) {
                task_failed(f, reply);
                op_reply_deinit(reply);
                return;
        }
        append_intent(f, reply);
        if (reply->result.cap > 4096)
                op_reply_deinit(reply);
        f->recovered = false;
        if (!e->error)
                attempt_begin(f, 1);
}

void task_read(struct flight *f)
{
        engine_ask(f, CALL_READ, PHASE_READING, f->lane->plugin);
}

/* What goes with a server, so that an undo can say what it does not bring back. */
static void add_with(struct flight *f, const struct resource *r)
{
        _cleanup_(cleanup_buf) struct buf keys = BUF_NULL;

        if (f->verb != PLAN_DELETE || !r || !r->workflow || !startswith(r->key, "server."))
                return;
        inventory_standing_on(&f->engine->site->inventory, r, &keys);
        if (buf_error(&keys))
                f->engine->error = -ENOMEM;
        if (!keys.n)
                return;
        BUF_LIT(&f->former, "\"with\":");
        buf_json_n(&f->former, keys.data, keys.n);
        buf_putc(&f->former, ',');
}

/* Promise 5: before update and delete the former state is read and journaled with the intent. */
void task_former_read(struct flight *f, struct op_reply *reply)
{
        const struct resource *r = run_resource(f->engine->site, f->run, flight_task(f));

        if (f->run->halted) { /* nothing was asked of it yet: it ends with the run, skipped */
                flight_end(f);
                return;
        }
        if (f->run->status == RUN_PAUSED) { /* read anew when it is resumed */
                f->phase = PHASE_DELAYED;
                return;
        }
        if (attempt_read_later(f, reply))
                return;
        if (reply->answer < 0 && reply->answer != PRVNG_NOT_FOUND &&
            reply->answer != PRVNG_UNSUPPORTED) {
                task_failed(f, reply);
                return;
        }
        buf_putc(&f->former, '{');
        add_with(f, r);
        BUF_LIT(&f->former, "\"spec\":");
        buf_puts(&f->former, r && r->workflow ? r->spec : "null");
        BUF_LIT(&f->former, ",\"state\":");
        if (reply->answer == PRVNG_DONE && reply->result.n)
                buf_append(&f->former, reply->result.data, reply->result.n);
        else
                BUF_LIT(&f->former, "null");
        buf_putc(&f->former, '}');
        if (buf_error(&f->former))
                f->engine->error = -ENOMEM;
        else
                attempt_prepare(f);
}

void task_start(struct engine *e, struct run *run, uint32_t task)
{
        struct task *t = &run->tasks[task];
        struct flight *f;

        if (t->redo) { /* what a failed attempt left goes first */
                undo_start(e, run, task);
                return;
        }
        f = flight_new(e, run, task);
        if (!f) {
                e->error = error_origin(-ENOMEM);
                return;
        }
        f->verb = t->verb;
        if (!f->lane->plugin)
                flight_fail(f, PRVNG_UNSUPPORTED, "the plugin %s is not available in this engine; see: "
                                                  "prvng plugin list", f->lane->name);
        else if (t->has_waits)
                wait_start(f);
        else
                task_go(f);
}

void task_go(struct flight *f)
{
        struct task *t = flight_task(f);

        if (share_waits(f))
                return;
        buf_clear(&f->document);
        if (compose_document(f->engine->site, f->run, t, NULL, &f->document))
                f->engine->error = error_origin(-ENOMEM);
        else if (t->verb == PLAN_UPDATE || t->verb == PLAN_DELETE)
                task_read(f);
        else
                attempt_prepare(f);
}
