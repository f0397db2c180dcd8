/* SPDX-License-Identifier: Apache-2.0 */
/* GET /resources/orphans: what carries the site's marks at the providers, and no journal knows. */
#include "run/api.h"

#include "base/json.h"
#include "run/orphans.h"
#include "run/search.h"

struct found {
        json_t *listed, *silent;
};

static void found_free(struct search *s)
{
        struct found *found = s->data;

        json_decref(found->listed);
        json_decref(found->silent);
        free(found);
}

static void take(struct search *s, struct question *question, const struct op_reply *reply)
{
        struct found *found = s->data;

        if (reply)
                orphans_take(question->plugin, reply, found->listed, found->silent);
        else
                orphans_silent(found->silent, question->plugin->name, "it did not answer in time");
}

static void answer(struct engine_process *p, struct search *s, struct request *q)
{
        _cleanup_(cleanup_json_decref) json_t *listed = NULL, *orphans = NULL;
        const struct found *found = s->data;

        listed = json_pack("{s:O}", "listed", found->listed);
        if (listed && orphans_find(&p->site, listed, &orphans) == 0 &&
            json_object_set(orphans, "silent", found->silent) == 0 &&
            json_append(&q->answer, orphans) == 0)
                q->status = 200;
        else
                api_refuse(q, 500, "out of memory");
}

static const struct search_kind orphans = {.take = take, .answer = answer, .free = found_free};

void api_search(struct engine_process *p, struct request *q)
{
        const struct plugins *plugins = p->context->plugins;
        struct found *found = calloc(1, sizeof(*found));
        struct search *s = NULL;

        if (p->draining) {
                free(found);
                api_refuse(q, 503, "the engine is about to start anew: ask again in a moment");
                return;
        }
        if (found)
                *found = (struct found){.listed = json_array(), .silent = json_array()};
        if (found)
                s = search_new(&orphans, (uint32_t)plugins->n, ORPHANS_LIST_MS, found);
        if (!s || !found->listed || !found->silent) {
                if (s)
                        search_free(s);
                else
                        free(found);
                api_refuse(q, 500, "out of memory");
                return;
        }
        for (size_t i = 0; i < plugins->n; i++) {
                struct buf filter = BUF_NULL;

                if (!orphans_may_ask(&plugins->list[i], found->silent))
                        continue;
                buf_printf(&filter, "{\"site\":\"%s\"}", p->site.id_text);
                search_ask(p, s, &plugins->list[i], &filter, NULL);
        }
        search_wait(p, s, q);
}
