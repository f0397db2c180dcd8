/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /resources/orphans: the engine asks the providers itself, so that the limits of the site hold for these
 * calls too. The answer waits for the slowest provider, the loop for none of them.
 */
#include "run/api.h"

#include "base/clock.h"
#include "base/json.h"
#include "run/orphans.h"

struct search {
        struct search *next;
        struct request *q;   /* NULL: it was answered */
        struct question {
                struct search *search;
                struct plugin *plugin;
                struct job *job; /* NULL: it was answered */
        } *questions;
        size_t n_questions;
        uint32_t n_open;
        json_t *listed, *silent;
        int64_t deadline_ms; /* boot-time clock */
        char filter[UID_TEXT + 16];
};

static struct search *search_free(struct search *s)
{
        if (!s)
                return NULL;
        json_decref(s->listed);
        json_decref(s->silent);
        free(s->questions);
        free(s);
        return NULL;
}

static void find(struct engine_process *p, struct search *s, struct request *q)
{
        _cleanup_(cleanup_json_decref) json_t *listed = NULL, *found = NULL;

        listed = json_pack("{s:O}", "listed", s->listed);
        if (listed && orphans_find(&p->site, listed, &found) == 0 &&
            json_object_set(found, "silent", s->silent) == 0 && json_append(&q->answer, found) == 0)
                q->status = 200;
        else
                api_refuse(q, 500, "out of memory");
}

/* All of them said what they have, or their time is over. */
static void answer(struct engine_process *p, struct search *s)
{
        struct request *q = steal(&s->q);

        if (!q)
                return;
        find(p, s, q);
        *p->answers_last = q;
        p->answers_last = &q->next;
}

static void end(struct engine_process *p, struct search *s)
{
        struct search **at = &p->searches;

        answer(p, s);
        while (*at != s)
                at = &(*at)->next;
        *at = s->next;
        search_free(s);
}

static void answered(struct engine_process *p, struct job *job)
{
        struct question *question = job->owner;
        struct search *s = question->search;

        question->job = NULL;
        if (s->q)
                orphans_take(question->plugin, &job->reply, s->listed, s->silent);
        if (--s->n_open == 0)
                end(p, s);
}

static void ask(struct engine_process *p, struct search *s, struct plugin *plugin)
{
        struct question *question = &s->questions[s->n_questions++];
        struct engine_call call = {.kind = CALL_LIST, .plugin = plugin, .deadline_ms = s->deadline_ms,
                                   .run = "", .task = "", .request = s->filter,
                                   .n_request = strlen(s->filter)};

        *question = (struct question){.search = s, .plugin = plugin};
        question->job = driver_ask(p, &call, answered, question);
        if (question->job)
                s->n_open++;
}

void api_search(struct engine_process *p, struct request *q)
{
        const struct plugins *plugins = p->context->plugins;
        struct search *s;

        if (p->draining) {
                api_refuse(q, 503, "the engine is about to start anew: ask again in a moment");
                return;
        }
        s = calloc(1, sizeof(*s));
        if (s) {
                *s = (struct search){.next = p->searches, .q = q, .listed = json_array(),
                                     .silent = json_array(),
                                     .questions = calloc(plugins->n + 1, sizeof(*s->questions)),
                                     .deadline_ms = clock_boot_ms() + ORPHANS_LIST_MS};
                snprintf(s->filter, sizeof(s->filter), "{\"site\":\"%s\"}", p->site.id_text);
        }
        if (!s || !s->questions || !s->listed || !s->silent) {
                search_free(s);
                api_refuse(q, 500, "out of memory");
                return;
        }
        p->searches = s;
        q->later = true;
        for (size_t i = 0; i < plugins->n; i++)
                if (orphans_may_ask(&plugins->list[i], s->silent))
                        ask(p, s, &plugins->list[i]);
        if (s->n_open == 0)
                end(p, s);
}

int64_t api_search_deadline(const struct engine_process *p)
{
        int64_t at = INT64_MAX;

        for (const struct search *s = p->searches; s; s = s->next)
                if (s->q)
                        at = MIN(at, s->deadline_ms);
        return at;
}

/* A provider that does not come back delays nobody for ever. */
void api_search_time(struct engine_process *p)
{
        for (struct search *s = p->searches; s; s = s->next) {
                if (!s->q || clock_boot_ms() < s->deadline_ms)
                        continue;
                for (size_t i = 0; i < s->n_questions; i++) {
                        if (!s->questions[i].job)
                                continue;
                        op_call_cancel(&s->questions[i].job->call);
                        orphans_silent(s->silent, s->questions[i].plugin->name, "it did not answer in time");
                }
                answer(p, s);
        }
}

void api_search_free(struct engine_process *p)
{
        for (struct search *s = p->searches, *next; s; s = next) {
                next = s->next;
                process_request_free(s->q);
                search_free(s);
        }
        p->searches = NULL;
}
