/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What several runs in flight want to be there, alike (journal/share.c): one claims and makes it,
 * the others wait for that and use it. Nothing is asked of a plugin for them, so a wait takes no
 * place in a lane. Who waits has tasks to come that build on it, hence a rollback of the one that
 * made it leaves it. Where that one ends without having made it, the claim is handed over, and the
 * next one makes it itself.
 */
#include "engine/flight.h"

#define LOOK_MS 500 /* at what is in memory: cheap */

static void tell(struct flight *f, const struct resource *r, const struct run *holder,
                 const struct task *maker)
{
        const struct task_note *note = run_note(f->run, f->task);
        _cleanup_(cleanup_buf) struct buf message = BUF_NULL;
        bool over = maker && task_status_ended(maker->status) && !maker->attempt;

        buf_printf(&message,
                   over ? "the end of run %2$s of workflow \"%3$s\", which did not make %1$s"
                        : "%1$s, which run %2$s of workflow \"%3$s\" is making",
                   r->key, r->claim, holder ? holder->name : "?");
        if (!note || !streq(note->message, buf_str(&message)))
                engine_append(f->engine, f->run,
                              &(struct record){.type = RECORD_WAIT,
                                               .task = f->task,
                                               .message = span_n(message.data, message.n)});
        if (buf_error(&message))
                f->engine->error = -ENOMEM;
}

/* It is there, and nobody will take it away. */
static void use(struct flight *f, const struct resource *r)
{
        struct span spec = task_spec(f->run, flight_task(f));
        _cleanup_(cleanup_buf) struct buf wanted = BUF_NULL, difference = BUF_NULL;
        int q;

        buf_append(&wanted, spec.p, spec.n);
        q = buf_error(&wanted) ?: spec_difference(&difference, r->spec, buf_str(&wanted));
        if (q)
                f->engine->error = q;
        else if (difference.n)
                flight_fail(f, PRVNG_CONFLICT,
                            "run %s of workflow \"%s\" made %s, but not as this run would: %s. "
                            "Say the same in both, or choose another name",
                            r->run, r->workflow, r->key, buf_str(&difference));
        else
                task_use(f, span_of(r->outputs));
}

bool share_waits(struct flight *f)
{
        struct engine *e = f->engine;
        struct task *t = flight_task(f);
        const struct resource *r = t->verb == PLAN_CREATE ? run_resource(e->site, f->run, t) : NULL;
        bool ours = !r || !r->claim || streq(r->claim, f->run->id_text), foreign, there;
        struct task *maker = NULL;
        struct run *holder = NULL;

        if (!r || !key_is_shared(r->key))
                return false;
        foreign = r->workflow && !streq(r->workflow, f->run->name);
        if (ours && !foreign && f->phase != PHASE_SHARING)
                return false;
        if (!flight_may_begin(f)) {
                flight_end(f);
                return true;
        }
        if (f->run->status == RUN_PAUSED) { /* engine_resume wakes it */
                flight_leave_place(f);
                f->phase = PHASE_SHARING;
                return true;
        }
        if (!ours)
                maker = site_maker(e->site, r, &holder);
        there = r->workflow && !resource_is_rest(r) && (ours || (maker && maker_settled(maker)));
        if (there && (!ours || foreign)) {
                use(f, r);
                return true;
        }
        if (!ours)
                tell(f, r, holder, maker);
        if (ours && flight_take_place(f)) {
                f->phase = PHASE_IDLE;
                return false;
        }
        flight_leave_place(f);
        f->phase = PHASE_SHARING;
        if (timers_set(&e->timers, &f->next, e->boot_ms + LOOK_MS))
                e->error = -ENOMEM;
        return true;
}
