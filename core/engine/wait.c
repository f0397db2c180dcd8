/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wait conditions: expressions over the present outputs of a resource that the task depends on. The
 * resource is read through its plugin, the expression evaluated by the template plugin, again and again
 * until it is true or the operation's timeout is over. Nothing is asked for the task itself meanwhile,
 * so it takes no place in its lane. What is seen is journaled when it changes (record `wait`), so that
 * the status says what is waited for, since when, and what was seen last.
 */
#include "engine/flight.h"

#include "base/json.h"

#define LOOK_MIN_MS 1000
#define LOOK_MAX_MS 10000

struct waiting {
        json_t *conditions; /* [{"on": KEY, "until": EXPRESSION}] */
        size_t next;        /* the one that is looked at; those before it were true */
        uint32_t n_looks;
        int64_t until_ms;   /* boot-time clock */
        int64_t held_ms;    /* since when a pause holds it; 0: none does */
};

void wait_free(struct flight *f)
{
        if (!f->waiting)
                return;
        json_decref(f->waiting->conditions);
        free(steal(&f->waiting));
}

static const char *condition(const struct flight *f, const char *member)
{
        return json_get_string(json_array_get(f->waiting->conditions, f->waiting->next), member, "");
}

const char *wait_expression(const struct flight *f)
{
        return condition(f, "until");
}

void wait_start(struct flight *f)
{
        struct engine *e = f->engine;
        const char *waits = task_waits(f->run, flight_task(f));

        f->waiting = calloc(1, sizeof(*f->waiting));
        if (!f->waiting || json_parse(waits, strlen(waits), &f->waiting->conditions, NULL)) {
                e->error = error_origin(-ENOMEM);
                return;
        }
        f->waiting->until_ms = e->boot_ms + (int64_t)flight_operation(f)->timeout_s * 1000;
        flight_leave_place(f);
        wait_look(f);
}

static void later(struct flight *f)
{
        struct waiting *w = f->waiting;
        int64_t after = MIN((int64_t)LOOK_MIN_MS << MIN(w->n_looks, 10u), (int64_t)LOOK_MAX_MS);

        w->n_looks++;
        f->phase = PHASE_WATCHING;
        if (timers_set(&f->engine->timers, &f->next, MIN(f->engine->boot_ms + after, w->until_ms)))
                f->engine->error = -ENOMEM;
}

/* Not true yet; `seen` says why not. */
static void not_yet(struct flight *f, const char *seen)
{
        const struct task_note *note = run_note(f->run, f->task);
        _cleanup_(cleanup_buf) struct buf message = BUF_NULL;

        buf_printf(&message, "%s of %s%s%s", condition(f, "until"), condition(f, "on"),
                   *seen ? "; last seen: " : "", seen);
        if (f->engine->boot_ms >= f->waiting->until_ms) {
                flight_fail(f, PRVNG_TRANSIENT, "timed out after %u s waiting for %s",
                            flight_operation(f)->timeout_s, buf_str(&message));
                return;
        }
        if (!note || !streq(note->message, buf_str(&message)))
                engine_append(f->engine, f->run,
                              &(struct record){.type = RECORD_WAIT,
                                               .task = f->task,
                                               .message = span_n(message.data, message.n)});
        later(f);
}

static void judge(struct flight *f, const char *outputs, size_t n_outputs)
{
        struct plugin *plugin = plugins_find_template(f->engine->plugins);

        if (!plugin) {
                flight_fail(f, PRVNG_UNSUPPORTED, "a wait_condition needs a plugin that evaluates "
                                                  "expressions, such as jinja2; see: prvng plugin list");
                return;
        }
        buf_clear(&f->document);
        BUF_LIT(&f->document, "{\"outputs\":");
        buf_append(&f->document, outputs, n_outputs);
        BUF_LIT(&f->document, ",\"resource\":");
        buf_json(&f->document, condition(f, "on"));
        buf_putc(&f->document, '}');
        if (buf_error(&f->document))
                f->engine->error = -ENOMEM;
        else
                engine_ask(f, CALL_EVALUATE, PHASE_JUDGING, plugin);
}

void wait_look(struct flight *f)
{
        struct engine *e = f->engine;
        const struct resource *r;
        struct plugin *plugin;

        if (!flight_may_begin(f)) {
                flight_end(f);
                return;
        }
        if (f->run->status == RUN_PAUSED) { /* engine_resume wakes it */
                f->waiting->held_ms = f->waiting->held_ms ?: e->boot_ms;
                f->phase = PHASE_WATCHING;
                return;
        }
        if (f->waiting->held_ms) {
                f->waiting->until_ms += e->boot_ms - f->waiting->held_ms;
                f->waiting->held_ms = 0;
        }
        if (f->waiting->next == json_array_size(f->waiting->conditions)) {
                if (!flight_take_place(f)) {
                        f->phase = PHASE_WATCHING;
                        if (timers_set(&e->timers, &f->next, e->boot_ms + PLACE_MS))
                                e->error = -ENOMEM;
                        return;
                }
                wait_free(f);
                task_go(f);
                return;
        }
        r = inventory_get(&e->site->inventory, condition(f, "on"));
        plugin = r && r->workflow ? engine_find_plugin(e, r->plugin) : NULL;
        if (!r || !r->workflow)
                judge(f, "{}", 2);
        else if (!plugin || compose_present(e->site, r, &f->document))
                judge(f, r->outputs, strlen(r->outputs));
        else
                engine_ask(f, CALL_READ, PHASE_SEEING, plugin);
}

void wait_seen(struct flight *f, struct op_reply *reply)
{
        const struct resource *r = inventory_get(&f->engine->site->inventory, condition(f, "on"));

        if (reply->answer == PRVNG_DONE && reply->result.n)
                judge(f, reply->result.data, reply->result.n);
        else if (reply->answer == PRVNG_UNSUPPORTED && r && r->workflow)
                judge(f, r->outputs, strlen(r->outputs));
        else if (reply->answer == PRVNG_NOT_FOUND)
                judge(f, "{}", 2);
        else
                not_yet(f, reply->message ?: op_class_name(reply->answer));
}

/* {"value":V,"seen":{"outputs.state":"starting"}} -> outputs.state = "starting" */
static void put_seen(const struct op_reply *reply, struct buf *b)
{
        _cleanup_(cleanup_json_decref) json_t *result = NULL;
        const char *name;
        json_t *value;

        if (json_parse(reply->result.data, reply->result.n, &result, NULL))
                return;
        json_object_foreach (json_object_get(result, "seen"), name, value) {
                if (b->n)
                        BUF_LIT(b, ", ");
                buf_printf(b, "%s = ", name);
                json_append(b, value);
        }
}

void wait_judged(struct flight *f, struct op_reply *reply)
{
        _cleanup_(cleanup_buf) struct buf seen = BUF_NULL;
        bool is_true = false;

        if (reply->answer == PRVNG_DONE && op_evaluated_true(reply, &is_true) == 0) {
                put_seen(reply, &seen);
                if (!is_true) {
                        not_yet(f, buf_str(&seen));
                        return;
                }
                f->waiting->next++;
                f->waiting->n_looks = 0;
                wait_look(f);
        } else if (reply->answer == PRVNG_TRANSIENT || reply->answer == PRVNG_CANCELLED ||
                   reply->code == PRVNG_TEMPLATE_UNDEFINED ||
                   reply->code == PRVNG_TEMPLATE_FAILED) { /* of what is not there yet */
                not_yet(f, reply->message ?: op_class_name(reply->answer));
        } else {
                flight_fail(f, reply->answer, "wait_condition %s: %s", condition(f, "until"),
                            reply->message ?: op_class_name(reply->answer));
        }
}
