/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When snapshots are written. What a restart reads behind one is bounded by its own size; what writing
 * them costs is bounded by what was written to the journal anyway:
 *
 *  - a stream gets one only when SHARE times its bytes were journaled since the last one, so that all
 *    snapshots together are never more than a part of the journal. A big run whose tasks each end at
 *    their first attempt gets few or none: reading its records is hardly more than reading its state.
 *  - no more often than monitoring.checkpoint_frequency says (the site's stream: as its default does),
 *    and so seldom that writing takes at most one part in REST of the time.
 *
 * They are written between two rounds of the loop, after the calls of the last one have left.
 */
#include "run/process.h"

#include "base/clock.h"
#include "journal/snapshot.h"

#define EVERY_S  10            /* as the definition's default */
#define SHARE    4
#define REST     50
#define LAST_MAX (64u << 20)   /* at the end, which has to be prompt (promise 10) */

uint64_t snapshot_worth = 256u << 10;

static void say_failed(struct engine_process *p, struct journal *j)
{
        _cleanup_(cleanup_free) char *notice = NULL;

        if (!p->snapshot_failed && p->hooks.on_notice &&
            asprintf(&notice, "no snapshot of the journal could be written, the next start takes longer: %s",
                     j->message ?: "out of memory") >= 0)
                p->hooks.on_notice(p->hooks.userdata, notice);
        p->snapshot_failed = true;
        free(steal(&j->message));
}

/* `enough`: how many bytes of journal one byte of a snapshot needs, in quarters. */
static void write_snapshot(struct engine_process *p, struct stream *s, struct run *run,
                           struct pace *pace, uint64_t enough, uint64_t max)
{
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;
        uint64_t behind = s->n_bytes - pace->n_before;
        int64_t from = clock_boot_ms(), every_s = run && run->snapshot_every_s ? run->snapshot_every_s
                                                                               : EVERY_S;
        int r;

        r = run ? snapshot_of_run(s, &p->site, run, &b) : snapshot_of_site(s, &p->site, &b);
        pace->size = b.n;
        if (r == 0 && b.n <= max && behind >= enough * b.n / 4) {
                r = snapshot_put(s, &b);
                if (r == 0)
                        pace->n_before = s->n_bytes;
        }
        if (r)
                say_failed(p, s->journal);
        pace->next_ms = clock_boot_ms();
        pace->next_ms += MAX(every_s * 1000, (pace->next_ms - from) * REST);
}

/* About how large it will be: building one that is too large for now is work for nothing. */
static uint64_t guess(const struct engine_process *p, const struct run *run, const struct pace *pace)
{
        if (pace->size)
                return pace->size;
        return run ? UINT64_C(24) * run->n_tasks
                   : UINT64_C(100) * p->site.inventory.by_key.n + UINT64_C(200) * p->site.n_runs;
}

static bool is_due(const struct engine_process *p, const struct stream *s, const struct run *run,
                   const struct pace *pace)
{
        uint64_t behind = s->n_bytes - pace->n_before;

        return behind >= snapshot_worth && p->engine->boot_ms >= pace->next_ms &&
               behind >= SHARE * guess(p, run, pace);
}

static bool is_worth_it_at_the_end(const struct engine_process *p, const struct stream *s,
                                   const struct run *run, const struct pace *pace)
{
        uint64_t behind = s->n_bytes - pace->n_before, size = guess(p, run, pace);

        return behind >= snapshot_worth / 4 && behind >= size / 4 && size <= LAST_MAX;
}

static bool is_ready(const struct run_stream *s)
{
        return s->run->planned && !s->ended && !s->stream->n_pending && s->stream->plan.segment;
}

void driver_snapshot(struct engine_process *p)
{
        for (uint32_t i = 0; i < p->n_streams && !p->error; i++) {
                struct run_stream *s = &p->streams[i];

                if (!s->pace.next_ms && s->run->planned) /* a run's first one is not at its start */
                        s->pace.next_ms = p->engine->boot_ms +
                                          INT64_C(1000) * (s->run->snapshot_every_s ?: EVERY_S);
                if (is_due(p, s->stream, s->run, &s->pace) && is_ready(s)) {
                        write_snapshot(p, s->stream, s->run, &s->pace, 4 * SHARE, UINT64_MAX);
                        return;
                }
        }
        if (!p->error && is_due(p, p->site_stream, NULL, &p->site_pace))
                write_snapshot(p, p->site_stream, NULL, &p->site_pace, 4 * SHARE, UINT64_MAX);
}

/* The end is a good moment: a tail as long as the snapshot, or a quarter of it, is worth one. */
void driver_last_snapshots(struct engine_process *p)
{
        if (p->error)
                return;
        for (uint32_t i = 0; i < p->n_streams; i++) {
                struct run_stream *s = &p->streams[i];

                if (is_ready(s) && is_worth_it_at_the_end(p, s->stream, s->run, &s->pace))
                        write_snapshot(p, s->stream, s->run, &s->pace, 1, LAST_MAX);
        }
        if (is_worth_it_at_the_end(p, p->site_stream, NULL, &p->site_pace))
                write_snapshot(p, p->site_stream, NULL, &p->site_pace, 1, LAST_MAX);
}
