/* SPDX-License-Identifier: Apache-2.0 */
#include "run/search.h"

#include "base/clock.h"

struct search *search_new(const struct search_kind *kind, uint32_t max, int64_t ms, void *data)
{
        struct search *s = calloc(1, sizeof(*s));

        if (!s)
                return NULL;
        *s = (struct search){.kind = kind,
                             .cap_questions = max,
                             .deadline_ms = clock_boot_ms() + ms,
                             .questions = calloc(max + 1, sizeof(*s->questions))};
        if (!s->questions) {
                free(s);
                return NULL;
        }
        s->data = data;
        return s;
}

struct search *search_free(struct search *s)
{
        if (!s)
                return NULL;
        for (uint32_t i = 0; i < s->n_questions; i++) {
                buf_deinit(&s->questions[i].request);
                buf_deinit(&s->questions[i].more);
        }
        s->kind->free(s);
        free(s->questions);
        free(s);
        return NULL;
}

/* All of them said what they have, or their time is over. */
static void answer(struct engine_process *p, struct search *s)
{
        struct request *q = steal(&s->q);

        if (!q)
                return;
        s->kind->answer(p, s, q);
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
                s->kind->take(s, question, &job->reply);
        if (--s->n_open == 0)
                end(p, s);
}

void search_ask(struct engine_process *p, struct search *s, struct plugin *plugin,
                struct buf *request, struct buf *more)
{
        struct question *question = &s->questions[s->n_questions];
        struct engine_call call = {.kind = CALL_LIST,
                                   .plugin = plugin,
                                   .deadline_ms = s->deadline_ms,
                                   .run = "",
                                   .task = ""};

        assert(s->n_questions < s->cap_questions);
        *question = (struct question){
                .search = s, .plugin = plugin, .number = s->n_questions++, .request = *request};
        *request = BUF_NULL;
        if (more) {
                question->more = *more;
                *more = BUF_NULL;
                call.token = buf_str(&question->more);
        }
        call.request = buf_str(&question->request);
        call.n_request = question->request.n;
        question->job = driver_ask(p, &call, answered, question);
        if (!question->job)
                return;
        if (s->kind->run) /* it leaves after the next commit only */
                question->job->run = s->kind->run;
        s->n_open++;
}

void search_wait(struct engine_process *p, struct search *s, struct request *q)
{
        s->q = q;
        s->next = p->searches;
        p->searches = s;
        q->later = true;
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

/* A plugin that does not come back delays nobody for ever. */
void api_search_time(struct engine_process *p)
{
        for (struct search *s = p->searches; s; s = s->next) {
                if (!s->q || clock_boot_ms() < s->deadline_ms)
                        continue;
                for (uint32_t i = 0; i < s->n_questions; i++) {
                        if (!s->questions[i].job)
                                continue;
                        op_call_cancel(&s->questions[i].job->call);
                        s->kind->take(s, &s->questions[i], NULL);
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
