/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Surplus (promise 4): where an API keeps no key of ours, a create that was begun more than once may
 * have made more than one. After DONE the result is journaled (`made`), what carries the op id is
 * listed, and all but the one that the result names are deleted, each deletion journaled like any other
 * request. Then the task is done. After a crash in between it is looked for again. An undo that makes
 * again what was deleted is a create too.
 *
 * Nothing is listed before the settling time is over: what was made or deleted may not be seen before.
 */
#include "engine/flight.h"

#include "base/json.h"

#define LOOKS_MAX 5 /* for what was made, before the operator is asked */

bool surplus_possible(const struct flight *f, int32_t answer)
{
        const struct attempt *a = flight_task(f)->attempt;

        return answer == PRVNG_DONE && a->role != ROLE_SURPLUS && a->verb == PLAN_CREATE && a->again &&
               f->lane->plugin && f->lane->plugin->descriptor.settle_ms > 0 &&
               !task_made(f->run, flight_task(f));
}

void surplus_made(struct flight *f, int32_t answer, struct span outputs)
{
        engine_append(f->engine, f->run, &(struct record){.type = RECORD_MADE,
                                                          .task = f->task,
                                                          .answer = answer,
                                                          .outputs = outputs});
        if (!f->engine->error)
                surplus_look(f);
}

void surplus_look(struct flight *f)
{
        const struct task_note *made = task_made(f->run, flight_task(f));
        int64_t settled = f->left_ms + f->lane->plugin->descriptor.settle_ms;
        char op_id[UID_TEXT];

        if (f->engine->boot_ms < settled) {
                f->phase = PHASE_UNLISTED;
                if (timers_set(&f->engine->timers, &f->next, settled))
                        f->engine->error = -ENOMEM;
                return;
        }
        uid_text(&made->made_by, op_id);
        buf_clear(&f->document);
        buf_printf(&f->document, "{\"op_id\":\"%s\"}", op_id);
        if (buf_error(&f->document))
                f->engine->error = -ENOMEM;
        else
                engine_ask(f, CALL_LIST, PHASE_LISTING, f->lane->plugin);
}

void surplus_removed(struct flight *f, int32_t answer)
{
        engine_append(f->engine, f->run, &(struct record){.type = RECORD_REMOVED,
                                                          .task = f->task,
                                                          .answer = answer});
        if (f->engine->error)
                return;
        f->role = flight_task(f)->attempt->role;
        f->verb = flight_task(f)->attempt->verb;
        f->left_ms = f->left_ms ?: f->engine->boot_ms; /* nothing is known of it after a restart */
        surplus_look(f);
}

/* Is that the one that the task's result names? Each member of its identity stands in the outputs. */
static bool is_ours(json_t *identity, const json_t *outputs)
{
        const char *key;
        json_t *value;

        if (!json_is_object(identity) || json_object_size(identity) == 0)
                return false;
        json_object_foreach (identity, key, value)
                if (!json_equal(value, json_object_get(outputs, key)))
                        return false;
        return true;
}

static void finish(struct flight *f)
{
        _cleanup_(cleanup_free) char *outputs = strdup(task_made(f->run, flight_task(f))->made);

        if (flight_task(f)->attempt->role == ROLE_SURPLUS) /* the operator saw to it */
                f->role = flight_task(f)->attempt->outer;
        if (outputs)
                task_end(f, PRVNG_DONE, span_of(outputs));
        else
                f->engine->error = error_origin(-ENOMEM);
}

/* The task's document with the identity of the other one: what a delete of it asks for. */
static void remove_one(struct flight *f, const json_t *identity)
{
        struct engine *e = f->engine;
        struct task *t = flight_task(f);

        buf_clear(&f->document);
        buf_append(&f->document, task_doc(f->run, t), t->n_doc - 1);
        BUF_LIT(&f->document, ",\"identity\":");
        if (json_append(&f->document, identity) || (buf_putc(&f->document, '}'), buf_error(&f->document))) {
                e->error = error_origin(-ENOMEM);
                return;
        }
        f->role = ROLE_SURPLUS;
        f->verb = PLAN_DELETE;
        attempt_prepare(f);
}

static void later(struct flight *f, int64_t after_ms)
{
        f->phase = PHASE_UNLISTED;
        if (timers_set(&f->engine->timers, &f->next, f->engine->boot_ms + after_ms))
                f->engine->error = -ENOMEM;
}

void surplus_listed(struct flight *f, struct op_reply *reply)
{
        _cleanup_(cleanup_json_decref) json_t *listed = NULL, *outputs = NULL;
        const char *made = task_made(f->run, flight_task(f))->made;
        json_t *other = NULL, *resource;
        size_t i, n, n_ours = 0;

        if (reply->answer == PRVNG_UNSUPPORTED) {
                finish(f);
                return;
        }
        if (reply->answer != PRVNG_DONE ||
            json_parse(reply->result.data, reply->result.n, &listed, NULL) ||
            json_parse(made, strlen(made), &outputs, NULL)) {
                attempt_ask_later(f, PHASE_UNLISTED, reply);
                return;
        }
        json_array_foreach (json_object_get(listed, "resources"), i, resource) {
                if (is_ours(json_object_get(resource, "identity"), outputs))
                        n_ours++;
                else
                        other = json_object_get(resource, "identity");
        }
        n = json_array_size(json_object_get(listed, "resources"));
        if (n_ours == 0 && f->n_failures < LOOKS_MAX) /* a list may lag behind */
                attempt_ask_later(f, PHASE_UNLISTED, reply);
        else if (n == 0 || !other)
                finish(f);
        else if (n_ours == 0)
                attempt_park(f, "It was made more than once, and the plugin does not tell which one is in "
                                "use");
        else if (flight_take_place(f)) /* it has none if the operator said that it is made */
                remove_one(f, other);
        else
                later(f, PLACE_MS);
}
