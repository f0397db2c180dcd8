/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When snapshots are written. What a restart reads behind one is bounded by its own size; what writing
 * them costs is bounded by what was written to the journal anyway:
 *
 *  - a stream gets one only when `share` times its bytes were journaled since the last one, so that all
 *    snapshots together are never more than a part of the journal. A big run whose tasks each end at
 *    their first attempt gets few or none: reading its records is hardly more than reading its state.
 *  - no more often than monitoring.checkpoint_frequency says (the site's stream: as its default does),
 *    and so seldom that writing takes at most one part in `rest` of the time.
 *
 * They are made between two rounds of the loop, after the calls of the last one have left, in steps that
 * take some milliseconds: a state of a million tasks takes a quarter of a second. Until all of it is packed,
 * nothing may change, so answers of plugins wait; what somebody asks for does not: a command ends the
 * making, and there is another try later. Putting it into the store takes steps too, but then
 * all goes on meanwhile.
 */
#include "run/process.h"

#include "base/clock.h"
#include "journal/snapshot.h"

#define EVERY_S  10            /* as the definition's default */
#define LAST_MAX (64u << 20)   /* at the end, which has to be prompt (promise 10) */

struct snapshot_tuning snapshot_tuning = {.worth = 256u << 10, .share = 4, .rest = 50, .step = 8192,
                                          .again_ms = 1000, .part = 2u << 20};

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

static int64_t pause_ms(const struct run *run)
{
        if (!snapshot_tuning.rest)
                return 0;
        return INT64_C(1000) * (run && run->snapshot_every_s ? run->snapshot_every_s : EVERY_S);
}

static void rest(struct engine_process *p, const struct run *run, struct pace *pace, int64_t took_ms)
{
        pace->next_ms = clock_boot_ms() + MAX(pause_ms(run), took_ms * snapshot_tuning.rest);
}

/* At the end: all at once. */
static void write_snapshot(struct engine_process *p, struct stream *s, struct run *run, struct pace *pace)
{
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;
        uint64_t behind = s->n_bytes - pace->n_before;
        int r;

        r = run ? snapshot_of_run(s, &p->site, run, &b) : snapshot_of_site(s, &p->site, &b);
        pace->size = b.n;
        if (r == 0 && b.n <= LAST_MAX && behind >= b.n / 4)
                r = snapshot_put(s, &b);
        if (r)
                say_failed(p, s->journal);
}

/* Step by step */

struct snapshot_writing {
        struct snapshot_making *making;
        struct stream *stream;
        struct run *run;      /* NULL: the site's */
        uint64_t n_bytes;     /* of the stream, when it began */
        int64_t from_ms;
        size_t n_put;
        bool made;
};

static struct pace *pace_of(struct engine_process *p, const struct stream *stream)
{
        if (stream == p->site_stream)
                return &p->site_pace;
        for (uint32_t i = 0; i < p->n_streams; i++)
                if (p->streams[i].stream == stream)
                        return &p->streams[i].pace;
        return NULL;
}

void driver_snapshot_stop(struct engine_process *p)
{
        struct snapshot_writing *w = p->snapshot;

        if (!w)
                return;
        p->snapshot = NULL;
        snapshot_making_free(w->making);
        free(w);
}

void driver_snapshot_forget(struct engine_process *p, const struct stream *closed)
{
        if (p->snapshot && p->snapshot->stream == closed)
                driver_snapshot_stop(p);
}

bool driver_snapshot_is_made(const struct engine_process *p)
{
        return p->snapshot && !p->snapshot->made;
}

void driver_snapshot_disturb(struct engine_process *p)
{
        struct pace *pace;

        if (!driver_snapshot_is_made(p))
                return;
        pace = pace_of(p, p->snapshot->stream);
        if (pace)
                pace->next_ms = clock_boot_ms() + snapshot_tuning.again_ms;
        driver_snapshot_stop(p);
}

static void begin(struct engine_process *p, struct stream *s, struct run *run)
{
        struct snapshot_writing *w = calloc(1, sizeof(*w));

        if (!w)
                return;
        *w = (struct snapshot_writing){.stream = s, .run = run, .n_bytes = s->n_bytes,
                                       .from_ms = clock_boot_ms()};
        if (snapshot_begin(s, &p->site, run, &w->making)) {
                free(w);
                return;
        }
        p->snapshot = w;
}

static void pack_more(struct engine_process *p, struct snapshot_writing *w, struct pace *pace)
{
        int r = snapshot_go_on(w->making, snapshot_tuning.step);
        uint64_t behind = w->n_bytes - pace->n_before;

        if (r == 0)
                return;
        pace->size = snapshot_bytes(w->making)->n;
        w->made = true;
        if (r > 0 && behind >= snapshot_tuning.share * pace->size)
                return;
        if (r < 0)
                say_failed(p, w->stream->journal);
        rest(p, w->run, pace, clock_boot_ms() - w->from_ms);
        driver_snapshot_stop(p);
}

static void put_more(struct engine_process *p, struct snapshot_writing *w, struct pace *pace)
{
        const struct buf *b = snapshot_bytes(w->making);
        size_t n = MIN(b->n - w->n_put, snapshot_tuning.part);
        int r = snapshot_put_part(w->stream, b, w->n_put, n);

        w->n_put += n;
        if (r == 0 && w->n_put < b->n)
                return;
        if (r)
                say_failed(p, w->stream->journal);
        else
                pace->n_before = w->n_bytes;
        rest(p, w->run, pace, clock_boot_ms() - w->from_ms);
        driver_snapshot_stop(p);
}

/* False: nothing is being written. */
static bool go_on(struct engine_process *p)
{
        struct snapshot_writing *w = p->snapshot;
        struct pace *pace = w ? pace_of(p, w->stream) : NULL;

        if (!w)
                return false;
        if (!pace) /* the run has ended */
                driver_snapshot_stop(p);
        else if (!w->made)
                pack_more(p, w, pace);
        else
                put_more(p, w, pace);
        return p->snapshot != NULL;
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

        return behind >= snapshot_tuning.worth && p->engine->boot_ms >= pace->next_ms &&
               behind >= snapshot_tuning.share * guess(p, run, pace);
}

static bool is_worth_it_at_the_end(const struct engine_process *p, const struct stream *s,
                                   const struct run *run, const struct pace *pace)
{
        uint64_t behind = s->n_bytes - pace->n_before, size = guess(p, run, pace);

        return behind >= snapshot_tuning.worth / 4 && behind >= size / 4 && size <= LAST_MAX;
}

static bool is_ready(const struct run_stream *s)
{
        return s->run->planned && !s->ended && !s->stream->n_pending && s->stream->plan.segment;
}

bool driver_snapshot(struct engine_process *p)
{
        if (p->error || p->snapshot)
                return !p->error && go_on(p);
        for (uint32_t i = 0; i < p->n_streams; i++) {
                struct run_stream *s = &p->streams[i];

                if (!s->pace.next_ms && s->run->planned) /* a run's first one is not at its start */
                        s->pace.next_ms = p->engine->boot_ms + pause_ms(s->run);
                if (is_due(p, s->stream, s->run, &s->pace) && is_ready(s)) {
                        begin(p, s->stream, s->run);
                        return p->snapshot != NULL;
                }
        }
        if (is_due(p, p->site_stream, NULL, &p->site_pace))
                begin(p, p->site_stream, NULL);
        return p->snapshot != NULL;
}

/* The end is a good moment: a tail as long as the snapshot, or a quarter of it, is worth one. */
void driver_last_snapshots(struct engine_process *p)
{
        driver_snapshot_stop(p);
        if (p->error)
                return;
        for (uint32_t i = 0; i < p->n_streams; i++) {
                struct run_stream *s = &p->streams[i];

                if (is_ready(s) && is_worth_it_at_the_end(p, s->stream, s->run, &s->pace))
                        write_snapshot(p, s->stream, s->run, &s->pace);
        }
        if (is_worth_it_at_the_end(p, p->site_stream, NULL, &p->site_pace))
                write_snapshot(p, p->site_stream, NULL, &p->site_pace);
}
