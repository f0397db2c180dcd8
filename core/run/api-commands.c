/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands on a run: pause, resume, rollback, retry, cancel, resolve. Each is a record of the run's
 * stream (promise 8), and answered when that is durable.
 *
 * A run that has ended is taken up again for rollback, retry and resume: its stream is read without the
 * inventory, which the site stream has told of already (settled_seq in journal/state.h); its claims are
 * durable in the site stream before the command is in its own.
 */
#include "run/api.h"

#include "journal/snapshot.h"

#include "base/clock.h"
#include "base/json.h"

struct command {
        struct engine_process *p;
        struct request *q;
        json_t *body;    /* an object */
        struct run *run;
        struct buf who;  /* JSON object */
        int64_t ended_ms; /* of the run, and its drifts: as the site stream says */
        uint32_t n_drift;
};

/* Answers */

#define refuse(c, ...) api_refuse((c)->q, __VA_ARGS__)

static void answer(struct command *c, bool changed)
{
        struct buf *b = &c->q->answer;

        BUF_LIT(b, "{\"id\":");
        buf_json(b, c->run->id_text);
        BUF_LIT(b, ",\"name\":");
        buf_json(b, c->run->name);
        buf_printf(b, ",\"status\":\"%s\",\"changed\":%s}", run_status_name(c->run->status),
                   changed ? "true" : "false");
        c->q->status = buf_error(b) ? 500 : 202;
}

/* The end of a command: the engine took it, or cannot. */
static void answer_result(struct command *c, int r)
{
        if (r == 0) {
                answer(c, true);
                return;
        }
        if (r != -ENOENT && r != -EINVAL)
                process_fail(c->p, r, c->p->journal->message);
        refuse(c, r == -ENOENT || r == -EINVAL ? 409 : 500,
               "the run is %s and cannot do that now; see: prvng batch status %s",
               run_status_name(c->run->status), c->run->id_text);
}

/* Runs that have ended */

/* Reads the stream of a run that has ended and opens it for appending. False: the answer says why. */
static bool load_ended(struct command *c)
{
        struct engine_process *p = c->p;
        struct run *run = c->run;
        enum run_status status = run->status;
        _cleanup_(cleanup_free) char *message = NULL;
        struct journal *journal = p->journal;
        struct stream *stream = NULL;
        int r;

        if (run->compacted) {
                refuse(c, 409,
                       "run %s was compacted: what it did in detail, which this needs, is not kept any more. "
                       "What its workflow owns can be deleted: prvng batch destroy %s", run->id_text,
                       run->name);
                return false;
        }
        if (driver_commit(p)) { /* it may have ended in this very round: closes its stream */
                refuse(c, 500, "%s", p->message);
                return false;
        }
        if (run->compacted) {
                refuse(c, 410, "run %s was compacted: what it did is no longer in the journal, so it can be "
                               "neither rolled back nor retried any more. What it made is there (prvng "
                               "resource list); prvng batch destroy %s deletes it", run->id_text, run->name);
                return false;
        }
        c->ended_ms = run->ended_ms;
        c->n_drift = run->n_drift;
        run_unload(run);
        r = journals_of_run(p->journals, run, &journal, &message);
        r = r ?: run_open_stream(journal, NULL, run, &stream);
        if (r == JOURNAL_E_SHORTCUT) {
                journals_read_in_full(p->journals);
                run_unload(run);
                r = run_open_stream(journal, NULL, run, &stream);
        }
        r = r ?: driver_open_run(p, run, stream);
        if (r == 0) {
                run->loaded = true;
                return true;
        }
        stream_close(stream);
        run_unload(run);
        run->status = status;
        refuse(c, 500, "the journal of run %s cannot be read: %s", run->id_text,
               message                       ? message
               : r > 0 && journal->message ? journal->message
                                             : strerror(r < 0 ? -r : EIO));
        return false;
}

/* Back to what the site stream says, with the next commit. */
static void unload_ended(struct command *c)
{
        for (uint32_t i = 0; i < c->p->n_streams; i++)
                if (c->p->streams[i].run == c->run)
                        c->p->streams[i].ended = true;
        c->run->ended_ms = c->ended_ms;
        c->run->n_drift = c->n_drift;
}

/* Claims what the run is about, durably. False: the answer says why. */
static bool reopen(struct command *c)
{
        const struct resource *claimed = NULL;
        const struct run *holder;
        int r = engine_reopen(c->p->engine, c->run, buf_str(&c->who), &claimed);

        if (r == -EBUSY) {
                holder = site_run(&c->p->site, claimed->claim);
                refuse(c, 409,
                       "%s is claimed by run %s of workflow \"%s\", which is %s. Wait for its end (prvng "
                       "batch attach %s) or cancel it, then ask again",
                       claimed->key, claimed->claim, claimed->claim_workflow,
                       holder ? run_status_name(holder->status) : "in flight", claimed->claim);
                unload_ended(c);
                return false;
        }
        r = r ?: driver_commit(c->p);
        if (r == 0)
                return true;
        process_fail(c->p, r, c->p->journal->message);
        refuse(c, 500, "%s", c->p->message);
        return false;
}

/* The commands */

static void pause_run(struct command *c)
{
        if (run_status_ended(c->run->status))
                refuse(c, 409, "run %s has ended: it is %s, and nothing of it is left to pause",
                       c->run->id_text, run_status_name(c->run->status));
        else if (c->run->status == RUN_PAUSED)
                answer(c, false);
        else
                answer_result(c, engine_pause(c->p->engine, c->run, buf_str(&c->who)));
}

static void cancel(struct command *c)
{
        if (run_status_ended(c->run->status))
                refuse(c, 409, "run %s has ended: it is %s, and nothing of it is left to cancel",
                       c->run->id_text, run_status_name(c->run->status));
        else if (c->run->rollback ? c->run->stopped : c->run->cancelled)
                answer(c, false);
        else
                answer_result(c, engine_cancel(c->p->engine, c->run, buf_str(&c->who)));
}

static void resume(struct command *c)
{
        switch (c->run->status) {
        case RUN_PAUSED:
                answer_result(c, engine_resume(c->p->engine, c->run, buf_str(&c->who)));
                return;
        case RUN_PENDING:
        case RUN_RUNNING:
        case RUN_ROLLING_BACK:
                answer(c, false);
                return;
        case RUN_ROLLBACK_INCOMPLETE:
                if (load_ended(c) && reopen(c))
                        answer_result(c, engine_rollback_again(c->p->engine, c->run, buf_str(&c->who)));
                return;
        case RUN_SUCCEEDED:
        case RUN_FAILED:
        case RUN_ROLLED_BACK:
        case RUN_CANCELLED:
        case N_RUN_STATUSES:
                refuse(c, 409,
                       "run %s is %s, not paused. prvng batch retry does again what did not succeed, "
                       "prvng batch rollback undoes what did", c->run->id_text,
                       run_status_name(c->run->status));
        }
}

static bool anything_to_undo(const struct run *run, uint32_t checkpoint)
{
        for (uint32_t i = 0; i < run->n_tasks; i++)
                if (run_in_rollback(run, i, checkpoint, false))
                        return true;
        return false;
}

static bool has_checkpoint(struct command *c, uint32_t checkpoint)
{
        const struct run *run = c->run;

        if (checkpoint <= run->n_checkpoints)
                return true;
        if (run->n_checkpoints)
                refuse(c, 422, "there is no checkpoint %u: run %s has 1 to %u, and 0 is its start",
                       checkpoint, run->id_text, run->n_checkpoints);
        else
                refuse(c, 422, "there is no checkpoint %u: run %s has none; 0 is its start", checkpoint,
                       run->id_text);
        return false;
}

static void rollback(struct command *c)
{
        uint32_t to = (uint32_t)json_get_int(c->body, "to", 0);
        struct run *run = c->run;

        if (!run_status_ended(run->status)) {
                if (!has_checkpoint(c, to))
                        return;
                if (!run->rollback)
                        answer_result(c, engine_rollback(c->p->engine, run, to, buf_str(&c->who)));
                else if (run->to_checkpoint == to)
                        answer(c, false);
                else
                        refuse(c, 409,
                               "run %s is being rolled back already, to checkpoint %u (0: its start). "
                               "Wait for its end, then ask again", run->id_text, run->to_checkpoint);
                return;
        }
        if (!load_ended(c))
                return;
        if (!has_checkpoint(c, to)) {
                unload_ended(c);
        } else if (!anything_to_undo(run, to)) {
                refuse(c, 409, "run %s is %s: nothing it did is left to undo", run->id_text,
                       run_status_name(run->status));
                unload_ended(c);
        } else if (reopen(c)) {
                answer_result(c, engine_rollback(c->p->engine, run, to, buf_str(&c->who)));
        }
}

/* The same as the fold does: journal/run-rollback.c. */
static bool anything_to_do_again(const struct run *run, const char *operation)
{
        for (uint32_t i = 0; i < run->n_tasks; i++) {
                const struct task *t = &run->tasks[i];

                if (!task_is_join(t) && t->status != TASK_SUCCEEDED && t->status != TASK_UNCHANGED &&
                    (!operation ||
                     streq(operation_id(run, &run->operations[t->operation]), operation)))
                        return true;
        }
        return false;
}

static bool has_operation(struct command *c, const char *id)
{
        const char **ids = calloc(c->run->n_operations + (size_t)1, sizeof(*ids)), *hint;
        bool known = !id;

        for (uint32_t i = 0; ids && i < c->run->n_operations; i++) {
                ids[i] = operation_id(c->run, &c->run->operations[i]);
                known |= id && streq(ids[i], id);
        }
        hint = known || !ids ? NULL : did_you_mean(id, ids, c->run->n_operations);
        if (!known)
                refuse(c, 422, "run %s has no operation \"%s\"%s%s%s", c->run->id_text, id,
                       hint ? "; did you mean \"" : "", hint ?: "", hint ? "\"?" : "");
        free(ids);
        return known;
}

static void retry(struct command *c)
{
        const char *operation = json_get_string(c->body, "operation", NULL);
        struct run *run = c->run;

        if (!run_status_ended(run->status)) {
                refuse(c, 409,
                       "run %s is %s: what has failed can be done again when it has ended. Follow it: "
                       "prvng batch attach %s", run->id_text, run_status_name(run->status),
                       run->id_text);
                return;
        }
        if (!load_ended(c))
                return;
        if (!has_operation(c, operation)) {
                unload_ended(c);
        } else if (!anything_to_do_again(run, operation)) {
                refuse(c, 409, "all tasks of %s%s succeeded: there is nothing to do again",
                       operation ? "operation " : "run ", operation ?: run->id_text);
                unload_ended(c);
        } else if (reopen(c)) {
                answer_result(c, engine_retry(c->p->engine, run, operation, buf_str(&c->who)));
        }
}

static void resolve(struct command *c)
{
        const char *task = json_get_string(c->body, "task", ""), *as = json_get_string(c->body, "as", "");
        const json_t *given = json_object_get(c->body, "outputs");
        _cleanup_(cleanup_buf) struct buf outputs = BUF_NULL;

        if (run_status_ended(c->run->status)) {
                refuse(c, 409, "run %s has ended: it is %s, and none of its tasks waits for an answer",
                       c->run->id_text, run_status_name(c->run->status));
                return;
        }
        if (!streq(as, "done") && !streq(as, "not-started")) {
                refuse(c, 422, "\"as\" must be \"done\" or \"not-started\"");
                return;
        }
        if (!given || json_append(&outputs, given))
                BUF_LIT(&outputs, "{}");
        for (uint32_t i = 0; i < c->run->n_tasks; i++) {
                if (!streq(task_id(c->run, &c->run->tasks[i]), task))
                        continue;
                if (engine_resolve(c->p->engine, c->run, i, streq(as, "done"), buf_str(&outputs),
                                   buf_str(&c->who)))
                        refuse(c, 409,
                               "the task is neither parked nor in doubt, or its plugin is being asked at "
                               "this moment, or is not available");
                else
                        answer(c, true);
                return;
        }
        refuse(c, 404, "run %s has no task \"%s\"; prvng batch status %s shows them", c->run->id_text,
               task, c->run->id_text);
}

/* Bodies */

static const struct {
        const char *name;
        void (*carry_out)(struct command *c);
        const char *members;  /* beside `who`, with a space behind each */
        const char *accepted; /* the same for people */
} commands[] = {
        {"/pause", pause_run, "", "\"who\""},
        {"/resume", resume, "", "\"who\""},
        {"/rollback", rollback, "to ", "\"to\" (number of a checkpoint; 0: the start) and \"who\""},
        {"/retry", retry, "operation ", "\"operation\" (its id) and \"who\""},
        {"/cancel", cancel, "", "\"who\""},
        {"/resolve", resolve, "task as outputs ",
         "\"task\" (its id), \"as\" (\"done\" or \"not-started\"), \"outputs\" (object) and \"who\""},
};

static bool is_member(const char *members, const char *key)
{
        size_t n = strlen(key);

        for (const char *p = members; *p; p = strchr(p, ' ') + 1)
                if (strncmp(p, key, n) == 0 && p[n] == ' ')
                        return true;
        return false;
}

static bool has_type(const char *key, const json_t *value)
{
        if (streq(key, "to"))
                return json_is_integer(value) && json_integer_value(value) >= 0 &&
                       json_integer_value(value) <= UINT32_MAX;
        if (streq(key, "who") || streq(key, "outputs"))
                return json_is_object(value);
        return json_is_string(value);
}

/* False: the answer says what is accepted. */
static bool read_body(struct command *c, const char *members, const char *accepted)
{
        char error[JSON_PARSE_ERROR] = "";
        const char *key;
        json_t *value;

        if (c->q->n_body == 0)
                c->body = json_object();
        else if (json_parse(c->q->body, c->q->n_body, &c->body, error))
                c->body = NULL;
        if (!json_is_object(c->body)) {
                refuse(c, 422, "the body must be a JSON object with %s%s%s", accepted,
                       *error ? "; it is no JSON: " : "", error);
                return false;
        }
        json_object_foreach (c->body, key, value) {
                if (!streq(key, "who") && !is_member(members, key))
                        refuse(c, 422, "\"%s\" is not known here; accepted: %s", key, accepted);
                else if (!has_type(key, value))
                        refuse(c, 422, "the value of \"%s\" is not accepted; accepted: %s", key,
                               accepted);
                if (c->q->status)
                        return false;
        }
        value = json_object_get(c->body, "who");
        if (!value || json_append(&c->who, value))
                BUF_LIT(&c->who, "{}");
        return true;
}

void api_command(struct engine_process *p, struct request *q, const char *run, const char *command)
{
        struct command c = {.p = p, .q = q};

        for (size_t i = 0; i < N_ELEMENTS(commands); i++) {
                if (!streq(command, commands[i].name))
                        continue;
                engine_time(p->engine, clock_boot_ms(), clock_wall_ms());
                c.run = api_find_run(p, q, run, (size_t)(command - run));
                if (c.run && read_body(&c, commands[i].members, commands[i].accepted))
                        commands[i].carry_out(&c);
                json_decref(c.body);
                buf_deinit(&c.who);
                return;
        }
        api_problems(q, 404, "there is no such page", NULL);
}
