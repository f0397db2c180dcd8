/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop. One round: the time, the answers of plugins, the requests of clients; then the engine
 * schedules; then everything is committed in one group per stream; then calls leave and clients are
 * answered. The next round begins as soon as there is anything to do: the sync clocks itself.
 */
#include "run/process.h"

#include "base/clock.h"
#include "journal/snapshot.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#define PATIENCE_MS 1500 /* for calls at the end: promise 10 leaves 2 s for everything */
#define SPIN_US 60 /* a wake-up costs about as much */

/* Starting */

/* Reads the stream of a run in flight and goes on with it. */
static int take_up(struct engine_process *p, struct run *run)
{
        struct stream *stream;
        int r;

        r = run_open_stream(p->journal, &p->site, run, &stream);
        if (r)
                return r;
        r = driver_open_run(p, run, stream);
        if (r)
                return error_fold(r);
        run->loaded = true;
        if (!run->planned)
                return error_origin(-EBADMSG);
        return run_status_ended(run->status) ? engine_finish(p->engine, run)
                                             : engine_adopt(p->engine, run);
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
static int remove_orphan(struct engine_process *p, const char *name)
{
        _cleanup_(cleanup_free) char *message = NULL;
        int r;

        free(steal(&p->journal->message));
        r = journal_read(p->journal, name, refuse_answers, NULL);
        if (r == 0)
                return journal_remove(p->journal, name);
        if (r != JOURNAL_E_DAMAGED || p->journal->message)
                return r;
        if (asprintf(&message, "stream %s tells of things that were done, but the site's stream does "
                               "not know that run: it is older or was replaced. Nothing was changed. "
                               "Restore the whole store from one backup", name) < 0)
                message = NULL;
        process_fail(p, JOURNAL_E_DAMAGED, message);
        return r;
}

/* Streams of runs that were never accepted: the engine died between the two commits. Nobody was told
 * of them, and nothing was called for them. */
static int remove_orphans(struct engine_process *p)
{
        char **names;
        size_t n;
        int r;

        r = journal_streams(p->journal, &names, &n);
        if (r)
                return r;
        for (size_t i = 0; i < n; i++) {
                const char *id = startswith(names[i], "run-");

                if (r == 0 && id && !strmap_get(&p->site.run_by_id, id))
                        r = remove_orphan(p, names[i]);
                free(names[i]);
        }
        free(names);
        return r;
}

static void first_records(struct engine_process *p)
{
        struct record r = {.type = RECORD_ENGINE, .epoch = p->journal->epoch,
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
        engine_time(p->engine, clock_boot_ms(), clock_wall_ms());
        r = remove_orphans(p);
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
        fprintf(stderr, "prvng: a snapshot does not fit its journal; reading all of it\n");
        p->engine = engine_free(p->engine);
        driver_drop_jobs(p);
        p->n_jobs = 0;
        close_streams(p);
        site_deinit(&p->site);
        free(steal(&p->message));
        p->error = 0;
        p->journal->in_full = true;
        return replay(p);
}

/* "critical" in a plugin's drop-in. */
static int check_critical(const struct engine_process *p, char **ret_message)
{
        const struct plugins *plugins = p->context->plugins;

        for (size_t i = 0; i < plugins->n; i++) {
                const struct plugin *plugin = &plugins->list[i];

                if (!plugin->config->critical || plugin->state != PLUGIN_REFUSED)
                        continue;
                if (asprintf(ret_message, "the plugin %s is critical (%s) and was refused: %s",
                             plugin->name, plugin->config->from, plugin->reason) < 0)
                        *ret_message = NULL;
                return error_origin(-ENOEXEC);
        }
        return 0;
}

static int open_store(struct engine_process *p, char **ret_message)
{
        _cleanup_(cleanup_free) char *folder = site_store_folder(p->context->config);
        int r;

        r = folder ? site_make_folder(folder) : -ENOMEM;
        if (r < 0) {
                if (asprintf(ret_message, "cannot make the folder %s: %s", folder, strerror(-r)) < 0)
                        *ret_message = NULL;
                return r;
        }
        return site_open_store(p->context, false, &p->journal, ret_message);
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
        p->held_last = &p->held;
        p->posted_last = &p->posted;
        p->answers_last = &p->answers;
        pthread_mutex_init(&p->lock, NULL);
        r = check_critical(p, &message);
        r = r ?: open_store(p, &message);
        r = r ?: open_loop(p);
        r = r ?: replay(p);
        if (r == JOURNAL_E_SHORTCUT)
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
                free(q->method);
                free(q->path);
                free(q->body);
                free(q);
        }
        engine_free(p->engine);
        driver_drop_jobs(p);
        close_streams(p);
        free(p->streams);
        journal_close(p->journal);
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
                if (q) {
                        free(q->method);
                        free(q->path);
                        free(q->body);
                }
                free(q);
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

void engine_process_busy(struct engine_process *p, int delta)
{
        pthread_mutex_lock(&p->lock);
        p->busy += delta;
        p->idle_since_ms = clock_boot_ms();
        pthread_mutex_unlock(&p->lock);
}

/* The loop */

static bool handle_posted(struct engine_process *p)
{
        struct request *q, *next;

        pthread_mutex_lock(&p->lock);
        q = p->posted;
        p->posted = NULL;
        p->posted_last = &p->posted;
        pthread_mutex_unlock(&p->lock);
        if (!q)
                return false;
        for (; q; q = next) {
                next = q->next;
                q->next = NULL;
                api_handle(p, q);
                *p->answers_last = q;
                p->answers_last = &q->next;
        }
        return true;
}

static void send_answers(struct engine_process *p)
{
        struct request *q;

        while ((q = p->answers)) {
                p->answers = q->next;
                if (p->hooks.on_answer)
                        p->hooks.on_answer(p->hooks.userdata, q->cookie, q->status,
                                           buf_str(&q->answer), q->answer.n);
                buf_deinit(&q->answer);
                free(q->method);
                free(q->path);
                free(q->body);
                free(q);
        }
        p->answers_last = &p->answers;
}

static bool round_of_work(struct engine_process *p)
{
        bool any;

        engine_time(p->engine, clock_boot_ms(), clock_wall_ms());
        any = driver_collect(p);
        any |= handle_posted(p);
        engine_schedule(p->engine);
        if (p->engine->error)
                process_fail(p, p->engine->error, NULL);
        if (driver_commit(p) == 0)
                send_answers(p);
        driver_snapshot(p);
        return any;
}

/* False when the loop should end. */
static bool may_go_on(struct engine_process *p, uint32_t idle_s)
{
        int64_t now = clock_boot_ms();
        bool stop;

        pthread_mutex_lock(&p->lock);
        if (!engine_is_idle(p->engine) || p->busy)
                p->idle_since_ms = now;
        stop = p->stop || (idle_s && !p->posted && now - p->idle_since_ms >= idle_s * INT64_C(1000));
        pthread_mutex_unlock(&p->lock);
        return !stop && !p->error;
}

static void wait(struct engine_process *p, uint32_t idle_s)
{
        int64_t at = engine_deadline(p->engine), now = clock_boot_ms();
        struct itimerspec when = {0};
        struct epoll_event events[2];
        uint64_t sink;

        if (!workers_may_sleep(p->workers, SPIN_US))
                return;
        if (idle_s && engine_is_idle(p->engine))
                at = MIN(at, now + 1000);
        if (at != INT64_MAX) {
                at = MAX(at, (int64_t)1);
                when.it_value.tv_sec = at / 1000;
                when.it_value.tv_nsec = at % 1000 * 1000000;
        }
        timerfd_settime(p->timer, TFD_TIMER_ABSTIME, &when, NULL);
        epoll_wait(p->epoll, events, 2, workers_backlog(p->workers) ? 1 : -1);
        workers_awake(p->workers);
        if (read(p->wake, &sink, sizeof(sink)) < 0 && errno != EAGAIN)
                process_fail(p, -errno, "eventfd");
        if (read(p->timer, &sink, sizeof(sink)) < 0 && errno != EAGAIN)
                process_fail(p, -errno, "timerfd");
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
