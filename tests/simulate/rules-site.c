/* SPDX-License-Identifier: Apache-2.0 */
/* What the journals of runs that ended must keep to when they are removed. */
#include "simulate/witness-inside.h"

#define DAY_MS INT64_C(86400000)

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
