/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a call, drawn when it begins. */
#include "simulate/calls.h"

static const int32_t classes[] = {
        PRVNG_TRANSIENT, PRVNG_TRANSIENT, PRVNG_TRANSIENT, PRVNG_TRANSIENT, PRVNG_TRANSIENT,
        PRVNG_TRANSIENT, PRVNG_RATE_LIMITED, PRVNG_RATE_LIMITED, PRVNG_PERMANENT, PRVNG_AUTH,
        PRVNG_CONFLICT, PRVNG_NOT_FOUND, PRVNG_UNSUPPORTED, PRVNG_QUOTA, PRVNG_INTERNAL,
        PRVNG_CANCELLED,
};

static int64_t draw(int64_t least, int64_t most)
{
        return random_between(&sim->random, least, most);
}

static void fails(struct call *c, uint32_t effect)
{
        c->answer = classes[random_below(&sim->random, N_ELEMENTS(classes))];
        c->effect = effect;
        c->retry_after = random_chance(&sim->random, 300) ? draw(0, 20000) : -1;
}

static void arrive(struct call *c, enum way way, int64_t after)
{
        c->arrives = true;
        c->way = way;
        c->arrives_at = sim->now + after;
        event_add(after, EVENT_ARRIVE, c->number);
}

void plan_last_arrival(struct call *c)
{
        int64_t after = c->service->settle_ms ? draw(0, c->service->settle_ms - 1) : 0;

        c->arrives_at = sim->now + after;
        event_add(after, EVENT_ARRIVE, c->number);
}

/* A request that arrives when nobody waits for it any more: within the settling time. */
static void late(struct call *c, enum way way, int64_t returns)
{
        int64_t settle = c->service->settle_ms;

        if (settle > 1 && fault(FAULT_LATE))
                arrive(c, way, returns + draw(0, settle - 1));
        else if (random_chance(&sim->random, 600))
                arrive(c, way, draw(0, returns));
}

static void plan_begin(struct call *c, int64_t returns)
{
        enum way way = random_chance(&sim->random, c->service->pending) ? WAY_JOB : WAY_FULL;

        if (fault(FAULT_NONSENSE)) {
                c->nonsense = 1 + (unsigned)random_below(&sim->random, 5);
                if (random_chance(&sim->random, 500) || c->nonsense == 5)
                        arrive(c, WAY_FULL, draw(0, returns));
        } else if (fault(FAULT_ERROR)) {
                fails(c, PRVNG_EFFECT_NONE);
        } else if (fault(FAULT_UNKNOWN)) {
                fails(c, PRVNG_EFFECT_UNKNOWN);
                late(c, random_chance(&sim->random, 300) ? WAY_PARTIAL : way, returns);
        } else if (fault(FAULT_PARTIAL)) {
                fails(c, PRVNG_EFFECT_PARTIAL);
                arrive(c, WAY_PARTIAL, draw(0, returns));
        } else if (fault(FAULT_COMPLETE)) {
                fails(c, PRVNG_EFFECT_COMPLETE);
                arrive(c, WAY_FULL, draw(0, returns));
        } else if (fault(FAULT_LOST)) {
                c->answer = PRVNG_TRANSIENT;
                c->effect = PRVNG_EFFECT_UNKNOWN;
                arrive(c, way, draw(0, returns));
        } else {
                c->as_it_is = true;
                arrive(c, way, draw(0, returns));
        }
        c->twice = c->arrives && c->way == WAY_FULL && c->as_it_is && c->service->api == API_TAGGED &&
                   c->service->settle_ms && c->op->verb == OP_CREATE && c->op->n_attempts > 1 &&
                   fault(FAULT_DUPLICATE);
}

static void plan_observe(struct call *c)
{
        /* What it looks at may be older than its answer. */
        c->seen = random_chance(&sim->random, 500) ? cloud_observe(c->op) : -1;
        if (fault(FAULT_OBSERVE)) {
                c->answer = random_chance(&sim->random, 700) ? PRVNG_TRANSIENT : PRVNG_RATE_LIMITED;
                c->effect = PRVNG_EFFECT_UNKNOWN;
        } else if (fault(FAULT_UNCERTAIN)) {
                c->answer = PRVNG_OBSERVED_UNCERTAIN;
                c->ask_again = random_chance(&sim->random, 500) ? draw(0, 5000) : -1;
        } else {
                c->as_it_is = true;
        }
}

static void plan_poll(struct call *c)
{
        if (c->kind == CALL_POLL && fault(FAULT_TOKEN)) {
                c->answer = PRVNG_TOKEN_REJECTED;
                c->effect = PRVNG_EFFECT_UNKNOWN;
        } else if (fault(FAULT_POLL)) {
                c->answer = classes[random_below(&sim->random, 8)];
                if (c->kind == CALL_CANCEL && random_chance(&sim->random, 300))
                        c->answer = PRVNG_UNSUPPORTED;
                c->effect = PRVNG_EFFECT_UNKNOWN;
        } else {
                c->as_it_is = true;
        }
}

static void plan_read(struct call *c)
{
        if (fault(FAULT_READ)) {
                fails(c, PRVNG_EFFECT_NONE);
                if (c->answer == PRVNG_CANCELLED || c->answer == PRVNG_UNSUPPORTED)
                        c->answer = PRVNG_TRANSIENT;
        } else {
                c->as_it_is = true;
        }
}

void plan_call(struct call *c)
{
        int64_t returns = draw(1, c->service ? c->service->latency_ms : 20); /* or it evaluates */
        bool hangs = false;

        c->retry_after = c->ask_again = -1;
        if (fault(FAULT_SLOW))
                returns = draw(1, random_chance(&sim->random, 200) ? 150000 : 10000);
        if (fault(FAULT_HANG)) {
                hangs = true;
                c->deaf = fault(FAULT_DEAF);
        }
        switch (c->kind) {
        case CALL_BEGIN:
                plan_begin(c, returns);
                break;
        case CALL_OBSERVE:
                plan_observe(c);
                break;
        case CALL_POLL:
        case CALL_CANCEL:
                plan_poll(c);
                break;
        case CALL_READ:
        case CALL_LIST:
        case CALL_EVALUATE:
                plan_read(c);
                break;
        }
        c->returns_at = hangs ? INT64_MAX : sim->now + returns;
        if (!hangs)
                event_add(returns, EVENT_RETURN, c->number);
}

/* What was to arrive may arrive yet; the plugin cannot tell. */
void plan_early_end(struct call *c)
{
        c->as_it_is = false;
        c->nonsense = 0;
        c->answer = random_chance(&sim->random, 500) ? PRVNG_CANCELLED : PRVNG_TRANSIENT;
        c->effect = c->kind == CALL_READ ? PRVNG_EFFECT_NONE : PRVNG_EFFECT_UNKNOWN;
        c->retry_after = -1;
        if (!c->arrives || c->arrives_at <= c->returns_at)
                return;
        if (c->service->settle_ms && random_chance(&sim->random, 500))
                arrive(c, c->way, c->returns_at - sim->now + draw(0, c->service->settle_ms - 1));
        else
                c->arrives = false; /* it never left */
}
