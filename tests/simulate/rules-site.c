/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of the site: the pace of its lanes, and what the journals of runs that ended must keep to when they are
 * removed. */
#include "simulate/witness-inside.h"

#define DAY_MS INT64_C(86400000)
#define AHEAD_US 1000000 /* starts may run ahead of their pace by that */

/* Pace (promise 6). The host counts requests where they leave; here it is starts, which must not run ahead. */

void witness_forget_pace(void)
{
        for (uint32_t i = 0; i < sim->witness->n_lanes; i++)
                sim->witness->lanes[i].paced_us = sim->witness->lanes[i].held_until = 0;
}

/* Only of tasks whose intent is the first thing that happens: that of others comes some time after their start. */
void w_check_pace(struct witness_task *t, int64_t at)
{
        struct w_lane *l = t->lane;
        int64_t now = at - sim->wall_ahead;

        if (!l || t->verb != W_CREATE || t->waits || !sim->process) /* of a former engine, found by this one */
                return;
        if (now < l->held_until)
                violated("hold", "%s starts %lld ms before %s wants anything more", t->id,
                         (long long)(l->held_until - now), l->name);
        if (!l->rate_limit)
                return;
        if (l->paced_us > now * 1000 + AHEAD_US)
                violated("pace", "%s starts %lld ms before its turn; %s takes %u requests a second", t->id,
                         (long long)((l->paced_us - now * 1000 - AHEAD_US) / 1000), l->name, l->rate_limit);
        l->paced_us = MAX(l->paced_us, now * 1000) + 1000000 / l->rate_limit;
}

bool witness_only_about(const char *id, const char *keys)
{
        const struct w_run *run = w_run_find(id);

        for (uint32_t i = 0; run && i < run->n_tasks; i++) {
                char key[128];

                snprintf(key, sizeof(key), "\"%s\"", run->tasks[i]->key);
                if (!w_is_join(run->tasks[i]) && !strstr(keys, key))
                        return false;
        }
        return run;
}

/* Removed journals */

/* {"seal":1,"records":2,"after":"...","sha256":"..."} */
void w_seal(struct w_run *run, const char *line, size_t n)
{
        static const char word[] = "\"sha256\":\"";
        const char *digest = memmem(line, n, word, sizeof(word) - 1);

        run->n_seals = strtoull(line + strlen("{\"seal\":"), NULL, 10);
        if (digest)
                snprintf(run->head, sizeof(run->head), "%.64s", digest + sizeof(word) - 1);
}

/* What stands for the stream says how much it was, and it was time. */
void w_compacts(struct w_run *run, const struct record *r)
{
        int64_t days = clients_retention();

        if (days < 0)
                days = run->retention_days;
        if (!run->ended || run->compacted)
                violated("tombstone", "run %s is compacted, and %s", run->id,
                         run->ended ? "was compacted before" : "has not ended");
        if (r->upto != run->last_seq || r->count != run->n_seals || !span_eq(r->head, run->head))
                violated("tombstone", "of run %s %llu records and %u seals are said to be removed; it has %llu "
                         "and %llu, or another head", run->id, (unsigned long long)r->upto, r->count,
                         (unsigned long long)run->last_seq, (unsigned long long)run->n_seals);
        if (r->at < run->ended_at + days * DAY_MS)
                violated("retention", "run %s is compacted %lld ms after its end, and was to be kept for %lld "
                         "days", run->id, (long long)(r->at - run->ended_at), (long long)days);
        run->compacted = true;
}

/* An engine that died between the record and the removal has removed it by now. */
void witness_started(void)
{
        for (uint32_t i = 0; i < sim->witness->n_runs && !*sim->failure; i++) {
                const struct w_run *run = sim->witness->runs[i];
                char stream[8 + UID_TEXT];

                snprintf(stream, sizeof(stream), "run-%s", run->id);
                if (run->compacted && disk_has(disk_find(run->store), stream))
                        violated("compacted-left", "run %s was compacted, an engine started since, and its "
                                 "stream is still there", run->id);
        }
}
