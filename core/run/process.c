/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop. One round: the time, the answers of plugins, the requests of clients; then the engine
 * schedules; then everything is committed in one group per stream; then calls leave and clients are
 * answered. The next round begins as soon as there is anything to do: the sync clocks itself.
 */
#include "run/process.h"

#include "base/clock.h"
#include "journal/seal.h"
#include "journal/snapshot.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#define PATIENCE_MS 1500 /* for calls at the end: promise 10 leaves 2 s for everything */
#define DRAIN_MS 60000 /* for calls before a reload */
#define SPIN_US 60 /* a wake-up costs about as much */

/* Starting */

static int store_failed(struct engine_process *p, int r, const char *message)
{
        process_fail(p, r, message);
        return r;
}

/* The journal is older than the world: what this run made since then nobody knows here. */
static int hold(struct engine_process *p, struct run *run)
{
        fprintf(stderr, "prvng: this site was restored from a backup: run %s of %s is paused. Look for what "
                        "was made since (prvng resource orphans), then: prvng batch resume %s\n",
                run->id_text, run->name, run->id_text);
        return engine_hold(p->engine, run, "{\"user\":\"prvngd\",\"reason\":\"restored from a backup\"}");
}

static int tidy(struct engine_process *p, struct journal *j);

/* Reads the stream of a run in flight and goes on with it. */
static int take_up(struct engine_process *p, struct run *run)
{
        _cleanup_(cleanup_free) char *message = NULL;
        struct journal *journal;
        struct stream *stream;
        int r;

        r = journals_of_run(p->journals, run, &journal, &message);
        if (r)
                return store_failed(p, r, message);
        r = tidy(p, journal); /* its store may have refused to open a moment ago */
        if (r)
                return r;
        r = run_open_stream(journal, &p->site, run, &stream);
        if (r == JOURNAL_E_SHORTCUT)
                return r;
        if (r)
                return store_failed(p, r, journal->message);
        r = driver_open_run(p, run, stream);
        if (r)
                return error_fold(r);
        run->loaded = true;
        if (!run->planned)
                return error_origin(-EBADMSG);
        if (run_status_ended(run->status))
                return engine_finish(p->engine, run);
        r = p->restored ? hold(p, run) : 0;
        return r ?: engine_adopt(p->engine, run);
}

/* Only after a plugin was asked can it have answered. */
static int refuse_answers(void *userdata, const struct record *r, const char *line, size_t n_line)
{
        return r->type == RECORD_TOKEN || r->type == RECORD_RETRY || r->type == RECORD_DOUBT ||
                               r->type == RECORD_DONE
                       ? JOURNAL_E_DAMAGED
                       : 0;
}

/* A stream that the site stream does not name. */
static int remove_orphan(struct engine_process *p, struct journal *j, const char *name)
{
        _cleanup_(cleanup_free) char *message = NULL;
        int r;

        free(steal(&j->message));
        r = journal_read(j, name, refuse_answers, NULL);
        if (r == 0)
                r = journal_remove(j, name);
        if (r != JOURNAL_E_DAMAGED || j->message)
                return r ? store_failed(p, r, j->message) : 0;
        if (asprintf(&message, "stream %s of store %s tells of things that were done, but the site's "
                               "stream does not know that run: it is older or was replaced. Nothing was "
                               "changed. Restore all stores of the site from one backup", name,
                     j->plugin->name) < 0)
                message = NULL;
        return store_failed(p, JOURNAL_E_DAMAGED, message);
}

/* Streams of runs that were never accepted: the engine died between the two commits. Nobody was told
 * of them, and nothing was called for them. And those that were to be removed: a record stands for them. */
static int remove_orphans(struct engine_process *p, struct journal *j)
{
        char **names;
        size_t n;
        int r;

        r = journal_streams(j, &names, &n);
        if (r)
                return store_failed(p, r, j->message);
        for (size_t i = 0; i < n; i++) {
                const char *id = startswith(names[i], "run-");
                const struct run *run = id ? strmap_get(&p->site.run_by_id, id) : NULL;

                if (r == 0 && id && !run)
                        r = remove_orphan(p, j, names[i]);
                else if (r == 0 && id && run->compacted) /* the engine died in between */
                        r = journal_remove(j, names[i]);
                free(names[i]);
        }
        free(names);
        return r;
}

/* A site whose home store is empty, while another one holds a site stream, would forget all that it owns. */
static int refuse_other_home(struct engine_process *p, struct journal *other)
{
        _cleanup_(cleanup_free) char *message = NULL;
        const char *home = p->journal->plugin->name, *name = other->plugin->name;
        uint32_t last;
        int r;

        if (p->site.seq)
                return 0;
        r = journal_last_segment(other, "site", &last);
        if (r || !last)
                return r ? store_failed(p, r, other->message) : 0;
        if (asprintf(&message, "the configuration calls \"%s\" the site's store, which is empty; the site's "
                               "journal is in the store \"%s\". Say store = \"%s\" in the configuration, "
                               "or move the site with: prvng store migrate", home, name, name) < 0)
                message = NULL;
        return store_failed(p, JOURNAL_E_FAILED, message);
}

/* Before anything is done with a journal, once: whoever was the first to open it. */
static int tidy(struct engine_process *p, struct journal *j)
{
        int r = 0;

        if (j->tidy)
                return 0;
        if (j != p->journal)
                r = refuse_other_home(p, j); /* before streams that nothing names are removed */
        r = r ?: remove_orphans(p, j);
        j->tidy = r == 0;
        return r;
}

int process_journal(struct engine_process *p, const char *store, struct journal **ret_journal,
                    char **ret_message)
{
        int r = journals_get(p->journals, store, ret_journal, ret_message);

        if (r)
                return r;
        r = tidy(p, *ret_journal);
        if (r && p->message)
                *ret_message = strdup(p->message);
        return r;
}

/* What cannot be opened now may be needed by nobody. */
static int open_other(void *userdata, const char *store)
{
        _cleanup_(cleanup_free) char *message = NULL, *notice = NULL;
        struct engine_process *p = userdata;
        struct journal *journal;
        int r = process_journal(p, store, &journal, &message);

        if (r == 0 || p->error)
                return r;
        if (p->hooks.on_notice && message &&
            asprintf(&notice, "%s; runs that are kept in it cannot be read", message) >= 0)
                p->hooks.on_notice(p->hooks.userdata, notice);
        return 0;
}

static void first_records(struct engine_process *p)
{
        struct record r = {.type = RECORD_ENGINE, .epoch = p->epoch,
                           .pid = (uint32_t)getpid(), .version = span_of(PRVNG_VERSION)};
        char host[65] = "";

        if (p->site.seq == 0) {
                struct record site = {.type = RECORD_SITE, .format = JOURNAL_FORMAT};

                if (uid_ulid(clock_wall_ms(), &site.site))
                        process_fail(p, -EIO, "no random numbers");
                engine_append_site(p->engine, &site);
        }
        gethostname(host, sizeof(host) - 1);
        r.host = span_of(host);
        engine_append_site(p->engine, &r);
}

static int replay(struct engine_process *p)
{
        int r;

        r = site_open_stream(p->journal, &p->site, &p->site_stream);
        r = r ?: engine_new(&driver_ops, p, &p->site, p->context->plugins, &p->engine);
        if (r)
                return r;
        p->epoch = MAX(p->journal->epoch, p->site.epoch + 1);
        p->restored = p->site.restored; /* until the first record of this engine is applied */
        engine_time(p->engine, clock_boot_ms(), clock_wall_ms());
        r = tidy(p, p->journal);
        r = r ?: journals_others(p->context, open_other, p);
        if (r)
                return r;
        first_records(p);
        for (uint32_t i = 0; i < p->site.n_runs && r == 0; i++)
                if (!run_status_ended(p->site.runs[i]->status))
                        r = take_up(p, p->site.runs[i]);
        return r ?: p->error;
}

static void close_streams(struct engine_process *p)
{
        for (uint32_t i = 0; i < p->n_streams; i++) {
                stream_close(p->streams[i].stream);
                run_log_close(p->streams[i].log);
                buf_deinit(&p->streams[i].lines);
        }
        p->n_streams = 0;
        p->site_stream = stream_close(p->site_stream);
}

/* What a snapshot said did not hold: all of it is forgotten, and everything is read. */
static int replay_in_full(struct engine_process *p)
{
        p->engine = engine_free(p->engine);
        driver_drop_jobs(p);
        p->n_jobs = 0;
        close_streams(p);
        site_deinit(&p->site);
        journals_read_in_full(p->journals);
        return replay(p);
}

static int open_store(struct engine_process *p, char **ret_message)
{
        int r = journals_open(p->context, false, &p->journals, ret_message);

        if (r == 0)
                p->journal = p->journals->home;
        return r;
}

static int open_loop(struct engine_process *p)
{
        struct epoll_event wake = {.events = EPOLLIN, .data.u32 = 0};
        struct epoll_event timer = {.events = EPOLLIN, .data.u32 = 1};

        p->epoll = epoll_create1(EPOLL_CLOEXEC);
        p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        p->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
        if (p->epoll < 0 || p->wake < 0 || p->timer < 0 ||
            epoll_ctl(p->epoll, EPOLL_CTL_ADD, p->wake, &wake) < 0 ||
            epoll_ctl(p->epoll, EPOLL_CTL_ADD, p->timer, &timer) < 0)
                return error_origin(-errno);
        return workers_new(p->context->config->workers, p->wake, &p->workers);
}

int engine_process_new(const struct context *c, const struct engine_process_hooks *hooks,
                       struct engine_process **ret_process, char **ret_message)
{
        struct engine_process *p = calloc(1, sizeof(*p));
        char *message = NULL;
        int r;

        if (!p)
                return 7;
        p->context = c;
        if (hooks)
                p->hooks = *hooks;
        p->epoll = p->wake = p->timer = -1;
        p->timer_at = INT64_MAX;
        p->held_last = &p->held;
        p->posted_last = &p->posted;
        p->answers_last = &p->answers;
        pthread_mutex_init(&p->lock, NULL);
        r = context_check_critical(p->context, &message);
        r = r ?: open_store(p, &message);
        r = r ?: open_loop(p);
        r = r ?: replay(p);
        if (r == JOURNAL_E_SHORTCUT && !p->error)
                r = replay_in_full(p);
        if (r) {
                if (!message && (p->message || (p->journal && p->journal->message)))
                        message = strdup(p->message ?: p->journal->message);
                if (!message)
                        message = strdup(strerror(r < 0 ? -r : EIO));
                engine_process_free(p);
                *ret_message = message;
                return 7;
        }
        *ret_process = p;
        return 0;
}

bool engine_process_end_calls(struct engine_process *p)
{
        if (!p->abandoned)
                p->workers = workers_free(p->workers, PATIENCE_MS, &p->left);
        p->abandoned = p->workers != NULL;
        return !p->abandoned;
}

struct engine_process *engine_process_free(struct engine_process *p)
{
        if (!p)
                return NULL;
        if (!engine_process_end_calls(p))
                return p; /* the store's lock too goes with the process: nobody acts beside the call */
        for (struct request *q = p->posted, *next; q; q = next) {
                next = q->next;
                process_request_free(q);
        }
        api_search_free(p);
        driver_snapshot_stop(p);
        engine_free(p->engine);
        driver_drop_jobs(p);
        close_streams(p);
        free(p->streams);
        journals_close(p->journals);
        site_deinit(&p->site);
        if (p->epoll >= 0)
                close(p->epoll);
        if (p->wake >= 0)
                close(p->wake);
        if (p->timer >= 0)
                close(p->timer);
        pthread_mutex_destroy(&p->lock);
        free(p->message);
        free(p);
        return NULL;
}

/* Requests, from any thread */

void process_request_free(struct request *q)
{
        if (!q)
                return;
        buf_deinit(&q->answer);
        free(q->method);
        free(q->path);
        free(q->body);
        free(q);
}

int engine_process_post(struct engine_process *p, void *cookie, const char *method,
                        const char *path, const void *body, size_t n_body)
{
        struct request *q = calloc(1, sizeof(*q));

        if (q) {
                q->cookie = cookie;
                q->method = strdup(method);
                q->path = strdup(path);
                q->body = malloc(n_body + 1);
                q->n_body = n_body;
        }
        if (!q || !q->method || !q->path || !q->body) {
                process_request_free(q);
                return error_origin(-ENOMEM);
        }
        if (n_body)
                memcpy(q->body, body, n_body);
        pthread_mutex_lock(&p->lock);
        *p->posted_last = q;
        p->posted_last = &q->next;
        pthread_mutex_unlock(&p->lock);
        eventfd_write(p->wake, 1);
        return 0;
}

void engine_process_stop(struct engine_process *p)
{
        pthread_mutex_lock(&p->lock);
        p->stop = true;
        pthread_mutex_unlock(&p->lock);
        eventfd_write(p->wake, 1);
}

void engine_process_drain(struct engine_process *p)
{
        pthread_mutex_lock(&p->lock);
        p->drain = true;
        pthread_mutex_unlock(&p->lock);
        eventfd_write(p->wake, 1);
}

void engine_process_busy(struct engine_process *p, int delta)
{
        pthread_mutex_lock(&p->lock);
        p->busy += delta;
        p->idle_since_ms = clock_boot_ms();
        pthread_mutex_unlock(&p->lock);
}

/* The loop */

static struct request *take_posted(struct engine_process *p)
{
        struct request *q;

        pthread_mutex_lock(&p->lock);
        q = p->posted;
        p->posted = NULL;
        p->posted_last = &p->posted;
        pthread_mutex_unlock(&p->lock);
        return q;
}

static bool only_look(const struct request *q)
{
        for (; q; q = q->next)
                if (api_changes(q))
                        return false;
        return true;
}

static void handle(struct engine_process *p, struct request *q)
{
        for (struct request *next; q; q = next) {
                next = q->next;
                q->next = NULL;
                api_handle(p, q);
                if (q->later)
                        continue;
                *p->answers_last = q;
                p->answers_last = &q->next;
        }
}

static void send_answers(struct engine_process *p)
{
        struct request *q;

        while ((q = p->answers)) {
                p->answers = q->next;
                if (p->hooks.on_answer)
                        p->hooks.on_answer(p->hooks.userdata, q->cookie, q->status,
                                           buf_str(&q->answer), q->answer.n);
                process_request_free(q);
        }
        p->answers_last = &p->answers;
}

static bool round_of_work(struct engine_process *p)
{
        struct request *posted = take_posted(p);
        bool any = posted != NULL;

        if (driver_snapshot_is_made(p) && only_look(posted)) { /* all else waits */
                handle(p, posted);
                send_answers(p);
                driver_snapshot(p);
                return false; /* there is always time to see what came */
        }
        driver_snapshot_disturb(p);
        if (!p->draining) /* else no timer is due: a due one asks again */
                engine_time(p->engine, clock_boot_ms(), clock_wall_ms());
        any |= driver_collect(p);
        handle(p, posted);
        api_search_time(p);
        if (!p->draining)
                engine_schedule(p->engine);
        if (p->engine->error)
                process_fail(p, p->engine->error, NULL);
        if (driver_commit(p) == 0)
                send_answers(p);
        return (driver_snapshot(p) && !driver_snapshot_is_made(p)) || any;
}

/* False when the loop should end. */
static bool may_go_on(struct engine_process *p, uint32_t idle_s)
{
        int64_t now = clock_boot_ms();
        bool stop;

        pthread_mutex_lock(&p->lock);
        if (!engine_is_idle(p->engine) || p->busy)
                p->idle_since_ms = now;
        if (p->drain && !p->draining) {
                p->draining = true;
                p->drained_by_ms = now + DRAIN_MS;
        }
        stop = p->stop || (p->draining && (!p->n_jobs || now >= p->drained_by_ms)) ||
               (idle_s && !p->posted && now - p->idle_since_ms >= idle_s * INT64_C(1000));
        pthread_mutex_unlock(&p->lock);
        return !stop && !p->error;
}

/* Waking for nothing now and then is cheaper than setting the timer anew for every call's deadline. */
static void set_timer(struct engine_process *p, int64_t at)
{
        struct itimerspec when = {0};

        if (p->timer_at <= at)
                return;
        p->timer_at = at;
        at = MAX(at, (int64_t)1);
        when.it_value.tv_sec = at / 1000;
        when.it_value.tv_nsec = at % 1000 * 1000000;
        timerfd_settime(p->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void wait(struct engine_process *p, uint32_t idle_s)
{
        int64_t at = p->draining ? p->drained_by_ms : engine_deadline(p->engine), now = clock_boot_ms();
        struct epoll_event events[2];
        uint64_t sink;
        int n;

        if (!workers_may_sleep(p->workers, SPIN_US))
                return;
        at = driver_snapshot_is_made(p) ? now : MIN(at, api_search_deadline(p));
        if (idle_s && engine_is_idle(p->engine))
                at = MIN(at, now + 1000);
        set_timer(p, at);
        n = epoll_wait(p->epoll, events, 2, workers_backlog(p->workers) ? 1 : -1);
        workers_awake(p->workers);
        for (int i = 0; i < n; i++) {
                if (events[i].data.u32 == 1)
                        p->timer_at = INT64_MAX;
                if (read(events[i].data.u32 == 1 ? p->timer : p->wake, &sink, sizeof(sink)) < 0 &&
                    errno != EAGAIN)
                        process_fail(p, -errno, events[i].data.u32 == 1 ? "timerfd" : "eventfd");
        }
}

int engine_process_run(struct engine_process *p, uint32_t idle_s, char **ret_message)
{
        engine_process_busy(p, 0); /* idle from now on */
        do {
                while (round_of_work(p) && may_go_on(p, idle_s))
                        ;
                if (may_go_on(p, idle_s))
                        wait(p, idle_s);
        } while (may_go_on(p, idle_s));
        driver_last_snapshots(p);
        if (!p->error)
                return 0;
        *ret_message = steal(&p->message);
        return 7;
}
