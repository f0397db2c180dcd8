/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Those who use the engine, over the requests of docs/http-api.md: who submits asks again until there is
 * an answer; who cancels may lose interest; the operator looks at the cloud before the word on a parked
 * task is given.
 */
#include "simulate/calls.h"
#include "simulate/clients.h"
#include "simulate/witness.h"

#define MAX_SUBMISSIONS 16
#define MAX_PARKED 64
#define MAX_REPLANS 12 /* questions and pauses with it */

static const struct {
        const char *name;
        enum record_type record; /* that it leaves in the run's stream */
} commands[] = {
        [CANCEL] = {"cancel", RECORD_CANCEL},       [PAUSE] = {"pause", RECORD_PAUSE},
        [RESUME] = {"resume", N_RECORD_TYPES},      [ROLLBACK] = {"rollback", RECORD_ROLLBACK},
        [RETRY] = {"retry", RECORD_RERUN},          [REPLAN] = {"replan", RECORD_REPLAN},
};

struct submission_of_client {
        char id[UID_TEXT];
        const char *kind;
        uint32_t size;      /* tasks, about */
        struct buf body, changed; /* what it is, and what it shall be after a replan */
        bool due, posted, finished;
        uint32_t n_refused, n_replans;
        uint32_t n_before[RESOLVE]; /* records of a command's type, when it was posted */
};

struct clients {
        struct submission_of_client list[MAX_SUBMISSIONS];
        uint32_t n;
        bool compacting;    /* asked for, and not answered */
        int64_t older_than; /* days; -1: none said */
};

static void *cookie(enum command kind, uint32_t number)
{
        return (void *)(uintptr_t)((kind + 1u) << 16 | number);
}

/* Few are big. */
static uint32_t draw_size(void)
{
        uint64_t way = random_below(&sim->random, 1000);
        uint32_t size = (uint32_t)random_between(&sim->random, 1, 16);

        if (way < 4)
                size = (uint32_t)random_between(&sim->random, 500, 2000);
        else if (way < 40)
                size = (uint32_t)random_between(&sim->random, 100, 400);
        else if (way < 250)
                size = (uint32_t)random_between(&sim->random, 16, 80);
        return MIN(size, sim->options->max_tasks);
}

static void draw_commands(uint32_t number)
{
        static const enum command by_fault[] = {[FAULT_CANCEL - FAULT_CANCEL] = CANCEL,
                                                [FAULT_PAUSE - FAULT_CANCEL] = PAUSE,
                                                [FAULT_ROLLBACK - FAULT_CANCEL] = ROLLBACK,
                                                [FAULT_RETRY - FAULT_CANCEL] = RETRY,
                                                [FAULT_REPLAN - FAULT_CANCEL] = REPLAN};

        for (unsigned f = FAULT_CANCEL; f <= FAULT_REPLAN; f++)
                while (fault((enum fault)f))
                        event_add(random_between(&sim->random, 1, random_chance(&sim->random, 500) ? 5000
                                                                                                : 300000),
                                  EVENT_COMMAND, by_fault[f - FAULT_CANCEL] << 16 | number);
}

struct clients *clients_new(void)
{
        struct clients *c = calloc(1, sizeof(*c));

        c->n = MIN(generate_runs(), MIN(sim->options->max_runs, (uint32_t)MAX_SUBMISSIONS));
        for (uint32_t i = 0; i < c->n; i++) {
                struct uid id;

                for (size_t k = 0; k < sizeof(id.bytes); k++)
                        id.bytes[k] = (uint8_t)random_next(&sim->random);
                id.bytes[0] = (uint8_t)i;
                uid_text(&id, c->list[i].id);
                c->list[i].size = draw_size();
                event_add(random_between(&sim->random, 0, i ? 120000 : 100), EVENT_SUBMIT, i);
                draw_commands(i);
        }
        orphans_draw();
        while (fault(FAULT_COMPACT))
                event_add(random_between(&sim->random, 1, 400000), EVENT_COMMAND, (uint32_t)COMPACT << 16);
        return c;
}

static const struct submission_of_client *submission(const char *run)
{
        for (uint32_t i = 0; i < sim->clients->n; i++)
                if (streq(sim->clients->list[i].id, run))
                        return &sim->clients->list[i];
        return NULL;
}

bool clients_prunes(const char *run)
{
        const struct submission_of_client *s = submission(run);

        return s && strstr(buf_str(&s->body), "\"prune\":true");
}

static bool lists(const struct buf *body, const char *server)
{
        const char *list = strstr(buf_str(body), "\"replace\":["), *at;
        char name[64];

        snprintf(name, sizeof(name), "\"%s\"", server);
        at = list ? strstr(list, name) : NULL;
        return at && at < strchr(list, ']');
}

bool clients_replaces(const char *run, const char *server)
{
        const struct submission_of_client *s = submission(run);

        return s && (lists(&s->body, server) || lists(&s->changed, server));
}

int64_t clients_retention(void)
{
        return sim->clients->compacting ? sim->clients->older_than : 0;
}

struct clients *clients_free(struct clients *c)
{
        for (uint32_t i = 0; c && i < c->n; i++) {
                buf_deinit(&c->list[i].body);
                buf_deinit(&c->list[i].changed);
        }
        free(c);
        return NULL;
}

void client_send(enum command kind, uint32_t number, const char *method, const char *path,
                 const struct buf *body)
{
        sim->n_steps++;
        if (engine_process_post(sim->process, cookie(kind, number), method, path, body ? body->data : "",
                                body ? body->n : 0))
                abort();
}

void clients_submit(uint32_t number)
{
        struct submission_of_client *s = &sim->clients->list[number];
        char path[64];

        s->due = true;
        if (s->finished || s->posted || !sim->process || sim->dead)
                return;
        if (!s->body.n)
                s->kind = generate_workflow(&s->body, s->id, s->size);
        snprintf(path, sizeof(path), "/workflows/%s", s->kind);
        s->posted = true;
        HISTORY("submit", number, s->body.n, "%s %s: %s", s->id, s->kind, buf_str(&s->body));
        client_send(SUBMIT, number, "POST", path, &s->body);
}

static void command(enum command kind, uint32_t number, const struct buf *body)
{
        struct submission_of_client *s = &sim->clients->list[number];
        char path[80];

        snprintf(path, sizeof(path), "/workflows/%s/%s", s->id, commands[kind].name);
        if (commands[kind].record < N_RECORD_TYPES)
                s->n_before[kind] = witness_records(s->id, commands[kind].record);
        HISTORY("command", kind, number, "%s %s %s", commands[kind].name, s->id,
                body ? buf_str(body) : "");
        client_send(kind, number, "POST", path, body);
}

/* It is paused for that, and asked for again while something of it is in flight, or what was asked for is
 * refused. */
static void replan(uint32_t number)
{
        struct submission_of_client *s = &sim->clients->list[number];
        bool dry = random_chance(&sim->random, 200);

        if (s->n_replans++ >= MAX_REPLANS || !streq(s->kind, "batch") || witness_ended(s->id))
                return;
        if (!witness_paused(s->id)) {
                command(PAUSE, number, NULL);
        } else {
                buf_clear(&s->changed);
                if (replan_body(&s->body, dry, &s->changed))
                        command(REPLAN, number, &s->changed);
        }
        event_add(random_between(&sim->random, 1, 8000), EVENT_COMMAND, (uint32_t)REPLAN << 16 | number);
}

/* The journals of runs that ended are removed. */
static void compact(void)
{
        _cleanup_(cleanup_buf) struct buf body = BUF_NULL;
        struct clients *c = sim->clients;

        if (c->compacting)
                return;
        c->older_than = random_chance(&sim->random, 300) ? -1 : random_chance(&sim->random, 800) ? 0 : 1;
        buf_printf(&body, "{\"dry_run\":%s", random_chance(&sim->random, 100) ? "true" : "false");
        if (c->older_than >= 0)
                buf_printf(&body, ",\"older_than\":%d", (int)c->older_than);
        buf_putc(&body, '}');
        c->compacting = true;
        HISTORY("compact", c->older_than, 0, "%s", buf_str(&body));
        client_send(COMPACT, 0, "POST", "/store/compact", &body);
}

/* What was answered is so, unless it was a question. */
static void compacted(int status, const char *body)
{
        sim->clients->compacting = false;
        for (uint32_t i = 0; status == 200 && i < sim->clients->n; i++) {
                bool removed, is = witness_compacted(sim->clients->list[i].id, &removed);

                if (is && !removed && strstr(body, sim->clients->list[i].id))
                        violated("compacted-left", "run %s was compacted, that was answered, and its stream is "
                                 "still there", sim->clients->list[i].id);
        }
        if (status >= 500)
                sim->failing = true;
}

void clients_command(uint32_t what)
{
        _cleanup_(cleanup_buf) struct buf body = BUF_NULL;
        enum command kind = what >> 16;
        uint32_t number = what & 0xffff;

        if (kind >= COMPACT) {
                if (!sim->quiet && sim->process && !sim->dead)
                        kind == COMPACT ? compact() : orphans_command(kind);
                return;
        }
        if (!sim->process || sim->dead || !witness_accepted(sim->clients->list[number].id))
                return;
        if (sim->quiet && kind != RESUME)
                return;
        if (kind == REPLAN) {
                replan(number);
                return;
        }
        if (kind == ROLLBACK && random_chance(&sim->random, 300))
                buf_printf(&body, "{\"to\":%u}", (unsigned)random_below(&sim->random, 4));
        if (kind == RETRY && random_chance(&sim->random, 300))
                buf_printf(&body, "{\"operation\":\"o%u\"}", (unsigned)random_below(&sim->random, 4));
        command(kind, number, body.n ? &body : NULL);
        if (kind == PAUSE)
                event_add(random_between(&sim->random, 1, 60000), EVENT_COMMAND,
                          (uint32_t)RESUME << 16 | number);
}

/* What the operator says of a task after a look at the cloud; NULL: nothing yet. */
static const char *verdict(const struct parked *p)
{
        struct cloud_op *op = p->op;

        if (!op) /* the engine died before the call left */
                return p->calling ? NULL : "not-started";
        if (p->calling || sim->now < op->left_at + op->service->settle_ms + 1000)
                return NULL;
        cloud_advance(op);
        if (op->state == OP_RUNNING)
                return NULL;
        return op->state == OP_DONE ? "done" : "not-started";
}

static void resolve(const struct parked *p, const char *as)
{
        _cleanup_(cleanup_buf) struct buf body = BUF_NULL;
        char path[64];

        if (streq(as, "not-started") && p->op && p->op->n_effects)
                cloud_clean(p->op);
        buf_printf(&body, "{\"task\":\"%s\",\"as\":\"%s\"", p->task, as);
        if (streq(as, "done")) {
                BUF_LIT(&body, ",\"outputs\":");
                cloud_result(p->op, &body);
        }
        buf_putc(&body, '}');
        snprintf(path, sizeof(path), "/workflows/%s/resolve", p->run);
        HISTORY("resolve", as[0], p->since, "%s %s: %s", p->run, p->task, as);
        client_send(RESOLVE, 0, "POST", path, &body);
}

/* Comes by every now and then. */
void clients_operator(void)
{
        struct parked list[MAX_PARKED];
        uint32_t n = witness_parked(list, N_ELEMENTS(list));

        for (uint32_t i = 0; i < n && sim->process && !sim->dead; i++) {
                const char *as = verdict(&list[i]);

                if (as && random_chance(&sim->random, 700))
                        resolve(&list[i], as);
        }
        for (uint32_t i = 0; sim->quiet && i < sim->clients->n && sim->process && !sim->dead; i++)
                if (witness_paused(sim->clients->list[i].id))
                        command(RESUME, i, NULL);
        event_add(random_between(&sim->random, 5000, 60000), EVENT_OPERATOR, 0);
}

static void submitted(uint32_t number, int status, const char *body, size_t n_body)
{
        struct submission_of_client *s = &sim->clients->list[number];

        s->posted = false;
        s->finished = status == 202;
        if (status == 202 && !witness_accepted(s->id))
                violated("answered-early", "run %s was answered before it is durable", s->id);
        if (status == 422 && ++s->n_refused > 3)
                s->finished = true; /* somebody else has what it wants */
        if (status >= 500) /* its store cannot be opened */
                event_add(random_between(&sim->random, 1000, 60000), EVENT_SUBMIT, number);
        if (status == 422 && !s->finished) {
                buf_clear(&s->body); /* the world may look different by then */
                event_add(random_between(&sim->random, 1000, 120000), EVENT_SUBMIT, number);
        }
}

/* What was answered is durable (promise 8). */
static void commanded(enum command kind, uint32_t number, int status, const char *body)
{
        struct submission_of_client *s = &sim->clients->list[number];

        if (kind == REPLAN && status == 202) {
                struct buf was = s->body;

                s->body = s->changed;
                s->changed = was;
        }
        if (status == 202 && commands[kind].record < N_RECORD_TYPES &&
            (kind == REPLAN || strstr(body, "\"changed\":true")) &&
            witness_records(s->id, commands[kind].record) <= s->n_before[kind])
                violated("answered-early", "the %s of run %s was answered before it is durable",
                         commands[kind].name, s->id);
        if (status >= 500)
                sim->failing = true;
}

void clients_answer(void *userdata, void *with, int status, const char *body, size_t n_body)
{
        enum command kind = (enum command)(((uintptr_t)with >> 16) - 1);
        uint32_t number = (uint32_t)(uintptr_t)with & 0xffff;

        if (sim->dead) /* nobody hears it */
                return;
        sim->n_steps++;
        HISTORY("reply", (uintptr_t)with, status, "%d %.*s", status, (int)MIN(n_body, (size_t)400), body);
        if (kind == SUBMIT)
                submitted(number, status, body, n_body);
        else if (kind > COMPACT)
                orphans_answer(kind, status, body);
        else if (kind == COMPACT)
                compacted(status, body);
        else if (kind != RESOLVE)
                commanded(kind, number, status, body);
}

void clients_engine_gone(void)
{
        sim->clients->compacting = false;
        orphans_engine_gone();
        for (uint32_t i = 0; i < sim->clients->n; i++)
                sim->clients->list[i].posted &= sim->clients->list[i].finished;
}

void clients_started(void)
{
        for (uint32_t i = 0; i < sim->clients->n; i++)
                if (sim->clients->list[i].due && !sim->clients->list[i].finished)
                        event_add(random_between(&sim->random, 0, 2000), EVENT_SUBMIT, i);
}

bool clients_done(void)
{
        for (uint32_t i = 0; i < sim->clients->n; i++)
                if (!sim->clients->list[i].finished)
                        return false;
        return true;
}
