/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The half of the API that changes something: submitting. The definition in a body stands in
 * api-definition.c, commands in api-commands.c and api-replan.c, what is only asked for in query.c.
 */
#include "run/api.h"

#include "base/clock.h"
#include "base/json.h"

#include <stdarg.h>

void api_problems(struct request *q, int status, const char *message,
                  const struct problems *problems)
{
        _cleanup_(cleanup_json_decref) json_t *list = problems ? problems_json(problems) : NULL;
        _cleanup_(cleanup_json_decref) json_t *body = NULL;

        body = json_pack("{s:{s:s, s:O*}}", "error", "message", message, "problems", list);
        buf_clear(&q->answer);
        q->status = body && json_append(&q->answer, body) == 0 ? status : 500;
}

void api_refuse(struct request *q, int status, const char *format, ...)
{
        _cleanup_(cleanup_free) char *message = NULL;
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&message, format, ap) < 0)
                message = NULL;
        va_end(ap);
        api_problems(q, status, message ?: "out of memory", NULL);
}

struct run *api_find_run(struct engine_process *p, struct request *q, const char *name, size_t n)
{
        _cleanup_(cleanup_free) char *copy = strndup(name, n);
        struct run *run = copy ? site_run(&p->site, copy) : NULL;

        if (!run)
                api_refuse(q, 404, "there is no run or workflow \"%s\"; prvng batch list shows all",
                           copy ?: "");
        return run;
}

static void answer_run(struct request *q, const struct run *run)
{
        BUF_LIT(&q->answer, "{\"id\":");
        buf_json(&q->answer, run->id_text);
        BUF_LIT(&q->answer, ",\"name\":");
        buf_json(&q->answer, run->name);
        BUF_LIT(&q->answer, ",\"status\":");
        buf_json(&q->answer, run_status_name(run->status));
        BUF_LIT(&q->answer, ",\"notices\":");
        buf_puts(&q->answer, run->notices ?: "[]");
        buf_putc(&q->answer, '}');
        q->status = 202;
}

/* The id that the client chose, or a new one. True if a run of that id exists: it is answered. */
static bool known_id(struct engine_process *p, struct request *q, const char *id,
                     struct uid *ret_run)
{
        struct run *run;

        if (!id) {
                if (uid_ulid(p->engine->wall_ms, ret_run))
                        api_problems(q, 500, "no random numbers", NULL);
                return q->status != 0;
        }
        run = strmap_get(&p->site.run_by_id, id);
        if (run) {
                answer_run(q, run);
                return true;
        }
        if (!uid_parse(id, strlen(id), ret_run)) {
                api_problems(q, 422, "\"id\" is not a ULID", NULL);
                return true;
        }
        return false;
}

static void start(struct engine_process *p, struct request *q, struct submission *s,
                  const struct plan *plan)
{
        _cleanup_(cleanup_free) char *message = NULL;
        struct journal *journal;
        struct run *run = NULL;
        int r;

        s->store = plan->store ?: p->context->config->store;
        r = process_journal(p, s->store, &journal, &message); /* now, where it is no harm to the others */
        if (r) {
                api_problems(q, 500, message ?: strerror(r < 0 ? -r : EIO), NULL);
                return;
        }
        engine_time(p->engine, clock_boot_ms(), clock_wall_ms()); /* planning may have taken long */
        r = engine_submit(p->engine, s, plan, &run);
        if (r) {
                process_fail(p, r, p->journal->message);
                api_problems(q, 500, p->message ?: strerror(-r), NULL);
                return;
        }
        answer_run(q, run);
}

/* Submitting a definition */

static void submit(struct engine_process *p, struct request *q)
{
        _cleanup_(cleanup_api_definition) struct api_definition a = {0};
        struct uid run;

        if (api_definition_read(p, q, &a) && !known_id(p, q, api_definition_text(&a, "id"), &run) &&
            api_definition_plan(p, q, &a, NULL) && api_definition_submission(q, &a, &run))
                start(p, q, &a.submission, a.plan);
}

/* Plans made from what a workflow owns */

typedef int (*plan_owned_f)(const struct plan_request *request, const char *workflow,
                            struct problems *problems, struct plan **ret_plan);

/* `member` of the body names what the plan is about. */
static void submit_owned(struct engine_process *p, struct request *q, const char *kind,
                         const char *member, plan_owned_f make)
{
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
        _cleanup_(cleanup_json_decref) json_t *body = NULL;
        _cleanup_(cleanup_plan) struct plan *plan = NULL;
        _cleanup_(cleanup_buf) struct buf who = BUF_NULL;
        struct submission s = {.kind = kind, .max_attempts = 3, .initial_delay_s = 5,
                               .max_delay_s = 300, .backoff = "exponential", .logging = "{}"};
        const char *name;
        int r;

        if (json_parse(q->body, q->n_body, &body, NULL) || !json_is_object(body)) {
                api_problems(q, 422, "the body is not a JSON object", NULL);
                return;
        }
        name = json_get_string(body, member, NULL);
        if (!name) {
                api_refuse(q, 422, "\"%s\" is missing: the name of the %s", member,
                           streq(member, "name") ? "workflow" : member);
                return;
        }
        if (known_id(p, q, json_get_string(body, "id", NULL), &s.run))
                return;
        r = make(&(struct plan_request){.config = p->context->config, .plugins = p->context->plugins,
                                        .inventory = &p->site.inventory, .runs = &p->site,
                                        .site = p->site.id_text}, name, &problems, &plan);
        if (r || problems.n || !plan) {
                api_problems(q, r ? 500 : 422, r ? strerror(-r) : "this cannot be planned",
                                &problems);
                return;
        }
        if (json_object_get(body, "who"))
                r = json_append(&who, json_object_get(body, "who"));
        s.who = who.n && r == 0 ? buf_str(&who) : "{}";
        start(p, q, &s, plan);
}

static void post(struct engine_process *p, struct request *q)
{
        const char *run, *command;

        if (streq(q->path, "/workflows/batch"))
                submit(p, q);
        else if (streq(q->path, "/workflows/destroy"))
                submit_owned(p, q, "destroy", "name", plan_destroy);
        else if (streq(q->path, "/workflows/check"))
                submit_owned(p, q, "check", "name", plan_check);
        else if (streq(q->path, "/secrets/rotate"))
                submit_owned(p, q, "rotate", "provider", plan_rotate);
        else if (streq(q->path, "/resources/adopt"))
                api_adopt(p, q);
        else if (streq(q->path, "/resources/find"))
                api_ask_find(p, q);
        else if (streq(q->path, "/workflows/precheck"))
                api_ask_precheck(p, q);
        else if (streq(q->path, "/store/compact"))
                api_compact(p, q);
        else if (streq(q->path, "/resources/orphans"))
                api_orphans(p, q);
        else if ((run = startswith(q->path, "/workflows/")) && (command = strchr(run, '/')))
                streq(command, "/replan") ? api_replan(p, q, run, (size_t)(command - run))
                                          : api_command(p, q, run, command);
        else
                api_problems(q, 404, "there is no such page", NULL);
}

/* A search lets calls leave after a commit, and their answers come when nothing may change. */
bool api_changes(const struct request *q)
{
        return streq(q->method, "POST") || streq(q->path, "/resources/orphans");
}

void api_handle(struct engine_process *p, struct request *q)
{
        _cleanup_(cleanup_free) char *message = NULL;

        if (streq(q->method, "POST")) {
                post(p, q);
                return;
        }
        if (streq(q->path, "/resources/orphans")) {
                api_search(p, q);
                return;
        }
        if (driver_commit(p)) { /* what is told must be durable */
                api_problems(q, 500, p->message, NULL);
                return;
        }
        q->status = query(p->context, p->journals, &p->site, q->path, &q->answer, &message);
        if (q->status == 500)
                api_problems(q, 500, message ?: "the journal could not be read", NULL);
}
