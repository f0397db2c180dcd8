/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /resources/find and POST /workflows/precheck: what a provider has under an id, and whether
 * it has what a plan wants. The engine asks, with its credentials and under the site's limits;
 * nothing is changed.
 */
#include "run/api.h"

#include "base/json.h"
#include "run/ask.h"
#include "run/search.h"

static bool is_draining(const struct engine_process *p, struct request *q)
{
        if (p->draining)
                api_refuse(q, 503, "the engine is about to start anew: ask again in a moment");
        return p->draining;
}

/* Finding */

struct finding {
        json_t *body, *found;
        char *message;
};

static void finding_free(struct search *s)
{
        struct finding *f = s->data;

        json_decref(f->body);
        json_decref(f->found);
        free(f->message);
        free(f);
}

static void find_run(struct job *job)
{
        op_find(&job->call, job->request, job->token, &job->reply);
}

static void find_take(struct search *s, struct question *question, const struct op_reply *reply)
{
        struct finding *f = s->data;

        if (!reply) {
                f->message = strdup("the provider did not answer in time");
                return;
        }
        if (ask_found(question->plugin->name, buf_str(&question->request), buf_str(&question->more),
                      json_get_string(f->body, "as", NULL), reply, &f->found, &f->message))
                f->found = NULL;
}

static void find_answer(struct engine_process *p, struct search *s, struct request *q)
{
        const struct finding *f = s->data;

        if (f->found && json_append(&q->answer, f->found) == 0)
                q->status = 200;
        else
                api_refuse(q, f->message ? 404 : 500, "%s", f->message ?: "out of memory");
}

static const struct search_kind finding = {find_run, find_take, find_answer, finding_free};

static void find(struct engine_process *p, struct request *q, json_t *body)
{
        const char *provider = json_get_string(body, "provider", NULL);
        const char *kind = json_get_string(body, "kind", NULL),
                   *id = json_get_string(body, "id", NULL);
        _cleanup_(cleanup_free) char *message = NULL;
        struct buf first = BUF_NULL, second = BUF_NULL;
        struct plugin *plugin;
        struct finding *f;
        struct search *s;

        if (!provider || !kind || !id) {
                api_refuse(q, 422,
                           "the body must be a JSON object with \"provider\", \"kind\" and \"id\", "
                           "and perhaps \"as\"");
                return;
        }
        plugin = ask_find_provider(p->context, provider, &message);
        if (!plugin) {
                api_refuse(q, message ? 404 : 500, "%s", message ?: "out of memory");
                return;
        }
        f = calloc(1, sizeof(*f));
        s = f ? search_new(&finding, 1, ASK_MS, f) : NULL;
        if (!s) {
                free(f);
                api_refuse(q, 500, "out of memory");
                return;
        }
        f->body = json_incref(body);
        buf_puts(&first, kind);
        buf_puts(&second, id);
        search_ask(p, s, plugin, &first, &second);
        search_wait(p, s, q);
}

void api_ask_find(struct engine_process *p, struct request *q)
{
        _cleanup_(cleanup_json_decref) json_t *body = NULL;

        if (is_draining(p, q))
                return;
        if (json_parse(q->body, q->n_body, &body, NULL))
                body = NULL;
        find(p, q, body);
}

/* Prechecks */

struct checking {
        struct prechecks checks;
        json_t *resources; /* by the number of the question: those of its tasks */
        bool failed;       /* out of memory */
};

static void checking_free(struct search *s)
{
        struct checking *c = s->data;

        prechecks_deinit(&c->checks);
        json_decref(c->resources);
        free(c);
}

static void check_run(struct job *job)
{
        op_precheck(&job->call, job->request, job->n_request, &job->reply);
}

static void check_take(struct search *s, struct question *question, const struct op_reply *reply)
{
        struct checking *c = s->data;

        if (prechecks_take(&c->checks, question->plugin,
                           json_array_get(c->resources, question->number), reply))
                c->failed = true;
}

static void check_answer(struct engine_process *p, struct search *s, struct request *q)
{
        const struct checking *c = s->data;
        _cleanup_(cleanup_json_decref) json_t *said = c->failed ? NULL : prechecks_said(&c->checks);

        if (said && json_append(&q->answer, said) == 0)
                q->status = 200;
        else
                api_refuse(q, 500, "out of memory");
}

static const struct search_kind checking = {check_run, check_take, check_answer, checking_free};

static int ask_lane(struct engine_process *p, struct search *s, const struct plan *plan,
                    uint32_t lane)
{
        struct checking *c = s->data;
        _cleanup_(cleanup_buf) struct buf tasks = BUF_NULL;
        json_t *resources = NULL;
        struct plugin *plugin;
        int r = prechecks_question(&c->checks, p->context, &p->site.inventory, plan, lane, &plugin,
                                   &tasks, &resources);

        if (r || !plugin)
                return r;
        if (json_array_append_new(c->resources, resources))
                return error_origin(-ENOMEM);
        search_ask(p, s, plugin, &tasks, NULL);
        return 0;
}

static void precheck(struct engine_process *p, struct request *q, const struct plan *plan)
{
        struct checking *c = calloc(1, sizeof(*c));
        struct search *s = c ? search_new(&checking, plan->n_lanes, ASK_MS, c) : NULL;

        if (!s) {
                free(c);
                api_refuse(q, 500, "out of memory");
                return;
        }
        c->resources = json_array();
        c->failed = prechecks_init(&c->checks) || !c->resources;
        for (uint32_t i = 0; !c->failed && i < plan->n_lanes; i++)
                c->failed = ask_lane(p, s, plan, i) != 0;
        search_wait(p, s, q);
}

void api_ask_precheck(struct engine_process *p, struct request *q)
{
        _cleanup_(cleanup_api_definition) struct api_definition a = {0};

        if (!is_draining(p, q) && api_definition_read(p, q, &a) &&
            api_definition_plan(p, q, &a, NULL))
                precheck(p, q, a.plan);
}
