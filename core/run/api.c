/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The half of the API that changes something: submitting. Commands stand in api-commands.c, what is only
 * asked for in query.c.
 */
#include "run/api.h"

#include "base/clock.h"
#include "base/json.h"
#include "definition/definition.h"
#include "plan/plan.h"

void api_problems(struct request *q, int status, const char *message,
                  const struct problems *problems)
{
        _cleanup_(cleanup_json_decref) json_t *list = problems ? problems_json(problems) : NULL;
        _cleanup_(cleanup_json_decref) json_t *body = NULL;

        body = json_pack("{s:{s:s, s:O*}}", "error", "message", message, "problems", list);
        buf_clear(&q->answer);
        q->status = body && json_append(&q->answer, body) == 0 ? status : 500;
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

struct body {
        const struct document *d;
        uint32_t root;
};

static const char *text(const struct body *b, const char *key)
{
        uint32_t node = document_get(b->d, b->root, key);

        if (node == DOC_NONE || document_node(b->d, node)->type != DOC_STRING)
                return NULL;
        return document_string(b->d, node);
}

/* The ids of --only, ending with NULL; caller frees the array. */
static const char **only(const struct body *b)
{
        uint32_t list = document_get(b->d, b->root, "only"), n = 0;
        const struct doc_node *node;
        const char **ids;

        if (list == DOC_NONE || document_node(b->d, list)->type != DOC_LIST)
                return NULL;
        node = document_node(b->d, list);
        ids = calloc(node->v.children.n + 1, sizeof(*ids));
        for (uint32_t c = node->v.children.first; ids && c != DOC_NONE;
             c = document_node(b->d, c)->next)
                if (document_node(b->d, c)->type == DOC_STRING)
                        ids[n++] = document_string(b->d, c);
        return ids;
}

static const char *const types[] = {"batch", "sequential", "parallel"};

static void describe_logging(const struct definition *d, struct buf *b)
{
        BUF_LIT(b, "{\"level\":");
        buf_json(b, d->logging.level);
        BUF_LIT(b, ",\"path\":");
        buf_json(b, d->logging.path);
        BUF_LIT(b, ",\"format\":");
        buf_json(b, d->logging.format);
        buf_printf(b, ",\"retention_days\":%u,\"destinations\":[", d->logging.retention_days);
        for (uint32_t i = 0; i < d->logging.destinations.n; i++) {
                if (i)
                        buf_putc(b, ',');
                buf_json(b, d->logging.destinations.list[i]);
        }
        BUF_LIT(b, "]}");
}

static void start_definition(struct engine_process *p, struct request *q, const struct body *b,
                             const struct definition *d, const struct plan *plan,
                             const struct uid *run)
{
        _cleanup_(cleanup_buf) struct buf canonical = BUF_NULL, who = BUF_NULL, logging = BUF_NULL;
        uint32_t who_node = document_get(b->d, b->root, "who");
        struct submission s = {
                .run = *run,
                .kind = types[d->type],
                .folder = d->folder,
                .file = text(b, "file"),
                .max_attempts = d->retry.max_attempts,
                .initial_delay_s = d->retry.initial_delay_s,
                .max_delay_s = d->retry.max_delay_s,
                .backoff = d->retry.backoff == BACKOFF_LINEAR ? "linear" : "exponential",
                .rollback = d->rollback.enabled,
                .on_partial = d->rollback.on_partial_failure,
                .preserve = d->rollback.preserve_successful,
                .checkpoint_interval = d->rollback.checkpoint_interval,
                .snapshot_every_s = d->monitoring.checkpoint_frequency_s,
        };
        int r;

        r = definition_canonical(d, &canonical);
        if (r == 0 && who_node != DOC_NONE)
                r = document_json(b->d, who_node, &who);
        if (!who.n)
                BUF_LIT(&who, "{}");
        describe_logging(d, &logging);
        if (r || buf_error(&logging)) {
                api_problems(q, 500, "out of memory", NULL);
                return;
        }
        s.definition = canonical.data;
        s.n_definition = canonical.n;
        s.who = buf_str(&who);
        s.logging = buf_str(&logging);
        start(p, q, &s, plan);
}

static void submit_checked(struct engine_process *p, struct request *q, const struct body *b,
                           struct document *d, uint32_t top, struct problems *problems)
{
        _cleanup_(cleanup_definition) struct definition *definition = NULL;
        _cleanup_(cleanup_plan) struct plan *plan = NULL;
        _cleanup_(cleanup_free) const char **ids = only(b);
        struct plan_request request = {
                .config = p->context->config,
                .plugins = p->context->plugins,
                .inventory = &p->site.inventory,
                .site = p->site.id_text,
                .only = ids && ids[0] ? ids : NULL,
        };
        struct uid run;
        int r;

        if (known_id(p, q, text(b, "id"), &run))
                return;
        r = definition_check(d, top, text(b, "folder") ?: "", problems, &definition);
        request.definition = definition;
        if (r == 0 && definition)
                r = plan_make(&request, problems, &plan);
        if (problems->n || r || !plan)
                api_problems(q, r ? 500 : 422, r ? strerror(-r) : "the definition is not valid",
                                problems);
        else
                start_definition(p, q, b, definition, plan, &run);
}

static void submit(struct engine_process *p, struct request *q)
{
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
        _cleanup_(cleanup_document) struct document *d = NULL;
        struct body b = {0};
        uint32_t top;
        int r;

        r = definition_load_json(p->context->plugins, "request", q->body, q->n_body, &problems, &d);
        if (r || !d) {
                api_problems(q, r ? 500 : 422, r ? strerror(-r) : "the body is not JSON", &problems);
                return;
        }
        b.d = d;
        b.root = document_root(d);
        top = document_get(d, b.root, "operations") != DOC_NONE
                      ? b.root
                      : document_get(d, b.root, "definition");
        if (top == DOC_NONE)
                api_problems(q, 422, "the body has no \"definition\"", NULL);
        else
                submit_checked(p, q, &b, d, top, &problems);
}

/* Plans made from what a workflow owns */

typedef int (*plan_owned_f)(const struct config *config, const struct plugins *plugins,
                            const struct inventory *inventory, const char *site,
                            const char *workflow, struct problems *problems,
                            struct plan **ret_plan);

static void submit_owned(struct engine_process *p, struct request *q, const char *kind,
                         plan_owned_f make)
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
        name = json_get_string(body, "name", NULL);
        if (!name) {
                api_problems(q, 422, "\"name\" is missing: the workflow's name", NULL);
                return;
        }
        if (known_id(p, q, json_get_string(body, "id", NULL), &s.run))
                return;
        r = make(p->context->config, p->context->plugins, &p->site.inventory, p->site.id_text, name,
                 &problems, &plan);
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
                submit_owned(p, q, "destroy", plan_destroy);
        else if (streq(q->path, "/workflows/check"))
                submit_owned(p, q, "check", plan_check);
        else if ((run = startswith(q->path, "/workflows/")) && (command = strchr(run, '/')))
                api_command(p, q, run, command);
        else
                api_problems(q, 404, "there is no such page", NULL);
}

void api_handle(struct engine_process *p, struct request *q)
{
        _cleanup_(cleanup_free) char *message = NULL;

        if (streq(q->method, "POST")) {
                post(p, q);
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
