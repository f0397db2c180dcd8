/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host that a plugin meets in a test.
 *
 * The services behind it (spawn, remote, http, rate, workdir) are the core's own: what a plugin gets in
 * an engine is what it should be tested with, and a second implementation would be tested less than what
 * it tests. The small table round them is ours: it looks at everything that passes, refuses where a test
 * wants that, and lies at the very end of its memory.
 *
 * Loaders meet a builder of ours, which is stricter than the core's: builder.c.
 */
#include "inside.h"

#include "base/clock.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define TABLE_MAX 65536u

enum { SECRET_SHORTEST = 6 }; /* a value that is shorter may stand somewhere by chance */

struct world *the_world;

static struct {
        const struct prvng_host_spawn *spawn;
        const struct prvng_host_remote *remote;
        const struct prvng_host_http *http;
        const struct prvng_host_rate *rate;
        const struct prvng_host_workdir *workdir;
} core;

static struct check *me(void)
{
        return the_world->check;
}

void world_boundary(const char *where)
{
        struct shared *s = me()->shared;

        if (__atomic_add_fetch(&s->boundary, 1, __ATOMIC_SEQ_CST) == s->kill_at) {
                check_step(me(), "killed at %s", where);
                kill(getpid(), SIGKILL);
        }
}

void world_look_for_secrets(struct check *c, const char *where, const void *data, size_t n)
{
        const json_t *e;
        size_t i;

        json_array_foreach (c->scenario ? c->scenario->secrets : NULL, i, e) {
                size_t k = json_string_length(e);

                if (k > 0 && n >= k && memmem(data, n, json_string_value(e), k))
                        check_fail(c, "%s holds secret number %zu of the scenario", where, i + 1);
        }
        json_array_foreach (scenario_get(c, "references"), i, e) {
                const char *value = json_get_string(e, "value", "");
                size_t k = strlen(value);

                if (k >= SECRET_SHORTEST && n >= k && memmem(data, n, value, k))
                        check_fail(c, "%s holds the value of %s", where, json_get_string(e, "reference", ""));
        }
}

void world_look_into(struct check *c, const char *path)
{
        DIR *d = opendir(path);

        for (const struct dirent *e; d && (e = readdir(d));) {
                _cleanup_(cleanup_buf) struct buf data = BUF_NULL;
                char below[4096], chunk[4096], what[4200];
                ssize_t n;
                int fd;

                if (streq(e->d_name, ".") || streq(e->d_name, ".."))
                        continue;
                snprintf(below, sizeof(below), "%s/%s", path, e->d_name);
                if (e->d_type == DT_DIR)
                        world_look_into(c, below);
                fd = e->d_type == DT_REG ? open(below, O_RDONLY | O_CLOEXEC) : -1;
                while (fd >= 0 && data.n < 1 << 24 && (n = read(fd, chunk, sizeof(chunk))) > 0)
                        buf_append(&data, chunk, (size_t)n);
                if (fd >= 0)
                        close(fd);
                snprintf(what, sizeof(what), "the file %s", below);
                world_look_for_secrets(c, what, buf_str(&data), data.n);
        }
        if (d)
                closedir(d);
}

static void look_for_secrets(const char *where, const char *text)
{
        if (text)
                world_look_for_secrets(me(), where, text, strlen(text));
}

/* --- the table --- */

static void put_log(const struct prvng_host *host, int32_t level, const char *topic, const char *message)
{
        struct world *w = the_world;

        if (host != w->table)
                check_fail(me(), "log() got another host than the plugin was given");
        if (level < PRVNG_LOG_ERROR || level > PRVNG_LOG_DEBUG)
                check_fail(me(), "log() got the level %d, which there is not", level);
        if (!topic || !message)
                check_fail(me(), "log() got NULL for %s", topic ? "its message" : "its topic");
        look_for_secrets("a line of the log", topic);
        look_for_secrets("a line of the log", message);
        __atomic_add_fetch(&w->n_logged, level == PRVNG_LOG_ERROR, __ATOMIC_RELAXED);
        w->core_table->log(w->core_table, level, topic ? topic : "", message ? message : "");
}

static void put_error(struct prvng_call *call, const struct prvng_error *e)
{
        __atomic_add_fetch(&the_world->n_said, 1, __ATOMIC_RELAXED);
        if (!e || e->struct_size < PRVNG_ERROR_BASELINE) {
                check_fail(me(), "error() got a record of %u bytes, below the baseline of %zu: is struct_size set?",
                           e ? e->struct_size : 0, (size_t)PRVNG_ERROR_BASELINE);
                return;
        }
        if (e->reserved)
                check_fail(me(), "error() got a record with a reserved member that is not 0");
        if (e->error_class >= 0 || !class_is_known(e->error_class))
                check_fail(me(), "error() got the class %d, which there is not", e->error_class);
        if (e->effect > PRVNG_EFFECT_COMPLETE)
                check_fail(me(), "error() got the effect %u, which there is not", e->effect);
        if (!e->message || !e->message[0])
                check_fail(me(), "error() got no message (class %s)", class_name(e->error_class));
        look_for_secrets("the message of an error", e->message);
        look_for_secrets("the field of an error", e->field);
        the_world->core_table->error(call, e);
}

static void put_progress(struct prvng_call *call, uint32_t permille, const char *message)
{
        if (permille > 1000)
                check_fail(me(), "progress() got %u of 1000", permille);
        look_for_secrets("a progress text", message);
        the_world->core_table->progress(call, permille, message);
}

/* Fails once `sink_left` is used up, and then for ever, as a sink of the core does. */
static int32_t sink_write(struct prvng_sink *sink, const void *data, uint64_t n)
{
        struct world *w = the_world;

        if (n && !data) {
                check_fail(me(), "sink_write() got NULL for %llu bytes", (unsigned long long)n);
                return -EINVAL;
        }
        if (w->sink_left >= 0 && n > (uint64_t)w->sink_left) {
                w->sink_refused = true;
                sink->error = -ENOSPC;
        } else if (w->sink_left >= 0) {
                w->sink_left -= (int64_t)n;
        }
        return w->core_table->sink_write(sink, data, n);
}

static const char *intern(const struct prvng_host *host, const char *string)
{
        look_for_secrets("an interned string", string);
        return the_world->core_table->intern(the_world->core_table, string);
}

/* --- services --- */

static void enter(const char *what)
{
        if (the_world->is_pure)
                check_fail(me(), "%s is to be pure and calls %s", the_world->pure_what, what);
        world_boundary(what);
}

#define AROUND(what, call)                                                                         \
        ({                                                                                         \
                int32_t answer_;                                                                   \
                enter("the call of " what);                                                        \
                __atomic_add_fetch(&me()->shared->may_fork, 1, __ATOMIC_SEQ_CST);                  \
                answer_ = (call);                                                                  \
                __atomic_sub_fetch(&me()->shared->may_fork, 1, __ATOMIC_SEQ_CST);                  \
                world_boundary("the return of " what);                                             \
                answer_;                                                                           \
        })

static void look_at_arguments(const char *const *argv)
{
        for (; argv && *argv; argv++)
                look_for_secrets("an argument of a child process", *argv);
}

static int32_t spawn_run(struct prvng_call *call, const struct prvng_spawn *spawn, struct prvng_sink *output,
                         struct prvng_sink *errors, int32_t *ret_exit_code)
{
        look_at_arguments(spawn ? spawn->argv : NULL);
        return AROUND("spawn run", core.spawn->run(call, spawn, output, errors, ret_exit_code));
}

static int32_t spawn_job_start(struct prvng_call *call, const char *job, const struct prvng_spawn *spawn)
{
        look_at_arguments(spawn ? spawn->argv : NULL);
        return AROUND("spawn job_start", core.spawn->job_start(call, job, spawn));
}

static int32_t spawn_job_status(struct prvng_call *call, const char *job, uint64_t offset,
                                struct prvng_sink *output, struct prvng_job_status *ret)
{
        return AROUND("spawn job_status", core.spawn->job_status(call, job, offset, output, ret));
}

static int32_t spawn_job_end(struct prvng_call *call, const char *job)
{
        return AROUND("spawn job_end", core.spawn->job_end(call, job));
}

static int32_t spawn_job_forget(struct prvng_call *call, const char *job)
{
        return AROUND("spawn job_forget", core.spawn->job_forget(call, job));
}

static const struct prvng_host_spawn spawn_table = {
        .struct_size = sizeof(spawn_table), .run = spawn_run, .job_start = spawn_job_start,
        .job_status = spawn_job_status, .job_end = spawn_job_end, .job_forget = spawn_job_forget};

static int32_t remote_run(struct prvng_call *call, const void *server, uint64_t n_server,
                          const char *const *argv, const void *input, uint64_t n_input,
                          struct prvng_sink *output, struct prvng_sink *errors, int32_t *ret_exit_code)
{
        look_at_arguments(argv);
        return AROUND("remote run", core.remote->run(call, server, n_server, argv, input, n_input, output,
                                                     errors, ret_exit_code));
}

static int32_t remote_job_start(struct prvng_call *call, const void *server, uint64_t n_server,
                                const char *job, const void *script, uint64_t n_script)
{
        return AROUND("remote job_start", core.remote->job_start(call, server, n_server, job, script, n_script));
}

static int32_t remote_job_status(struct prvng_call *call, const void *server, uint64_t n_server,
                                 const char *job, uint64_t offset, struct prvng_sink *output,
                                 struct prvng_job_status *ret)
{
        return AROUND("remote job_status", core.remote->job_status(call, server, n_server, job, offset,
                                                                   output, ret));
}

static int32_t remote_job_end(struct prvng_call *call, const void *server, uint64_t n_server, const char *job)
{
        return AROUND("remote job_end", core.remote->job_end(call, server, n_server, job));
}

static int32_t remote_job_forget(struct prvng_call *call, const void *server, uint64_t n_server,
                                 const char *job)
{
        return AROUND("remote job_forget", core.remote->job_forget(call, server, n_server, job));
}

static int32_t remote_put_file(struct prvng_call *call, const void *server, uint64_t n_server,
                               const char *path, uint32_t mode, const void *data, uint64_t n_data)
{
        return AROUND("remote put_file", core.remote->put_file(call, server, n_server, path, mode, data, n_data));
}

static const struct prvng_host_remote remote_table = {
        .struct_size = sizeof(remote_table), .run = remote_run, .job_start = remote_job_start,
        .job_status = remote_job_status, .job_end = remote_job_end, .job_forget = remote_job_forget,
        .put_file = remote_put_file};

/* Handed on to the core with its own table: it keeps more behind it. */
static int32_t http_session_new(const struct prvng_host *host, const void *options, uint64_t n,
                                struct prvng_http_session **ret)
{
        world_look_for_secrets(me(), "the options of an HTTP session", options, n);
        return core.http->session_new(the_world->core_table, options, n, ret);
}

static void http_session_free(struct prvng_http_session *session)
{
        core.http->session_free(session);
}

static int32_t http_secret_set(struct prvng_http_session *session, const char *name, const void *value,
                               uint64_t n)
{
        return core.http->secret_set(session, name, value, n);
}

static int32_t http_send(struct prvng_call *call, struct prvng_http_session *session,
                         const struct prvng_http_request *request, struct prvng_http_response *ret,
                         struct prvng_sink *headers, struct prvng_sink *body)
{
        return AROUND("http send", core.http->send(call, session, request, ret, headers, body));
}

static const struct prvng_host_http http_table = {
        .struct_size = sizeof(http_table), .session_new = http_session_new,
        .session_free = http_session_free, .secret_set = http_secret_set, .send = http_send};

static int32_t rate_acquire(struct prvng_call *call, const char *account, uint32_t per_second)
{
        return AROUND("rate acquire", core.rate->acquire(call, account, per_second));
}

static void rate_back_off(struct prvng_call *call, const char *account, int64_t retry_after_ms)
{
        core.rate->back_off(call, account, retry_after_ms);
}

static const struct prvng_host_rate rate_table = {
        .struct_size = sizeof(rate_table), .acquire = rate_acquire, .back_off = rate_back_off};

static const char *workdir_state(const struct prvng_host *host, const char *plugin)
{
        return core.workdir->state(the_world->core_table, plugin);
}

static const char *workdir_cache(const struct prvng_host *host, const char *plugin)
{
        return core.workdir->cache(the_world->core_table, plugin);
}

static const char *workdir_task(struct prvng_call *call)
{
        return core.workdir->task(call);
}

static const struct prvng_host_workdir workdir_table = {
        .struct_size = sizeof(workdir_table), .state = workdir_state, .cache = workdir_cache,
        .task = workdir_task};

static const struct {
        const char *id;
        const void *table;
        const void **behind; /* the core's */
} services[] = {
        {PRVNG_HOST_SPAWN, &spawn_table, (const void **)&core.spawn},
        {PRVNG_HOST_REMOTE, &remote_table, (const void **)&core.remote},
        {PRVNG_HOST_HTTP, &http_table, (const void **)&core.http},
        {PRVNG_HOST_RATE, &rate_table, (const void **)&core.rate},
        {PRVNG_HOST_WORKDIR, &workdir_table, (const void **)&core.workdir},
        {PRVNG_HOST_DOCUMENT, NULL, NULL},
};

static const void *get_interface(const struct prvng_host *host, const char *id)
{
        if (host != the_world->table)
                check_fail(me(), "get_interface() got another host than the plugin was given");
        for (size_t i = 0; !the_world->no_interfaces && id && i < N_ELEMENTS(services); i++) {
                if (!streq(services[i].id, id))
                        continue;
                if (!services[i].behind)
                        return builder_table();
                return *services[i].behind ? services[i].table : NULL;
        }
        return NULL;
}

/* --- making --- */

static void on_log(void *userdata, int32_t level, const char *plugin, const char *topic, const char *run,
                   const char *task, const char *message)
{
        static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
        struct world *w = userdata;

        pthread_mutex_lock(&lock);
        if (w->log.n < 65536)
                buf_printf(&w->log, "[%d %s] %s\n", level, topic, message);
        pthread_mutex_unlock(&lock);
}

static void on_output(void *userdata, const char *run, const char *task, const void *data, size_t n)
{
        world_look_for_secrets(me(), "the output of a job", data, n);
}

static void make_config(struct check *c, struct config *ret)
{
        json_t *own_cache = scenario_expand(c, scenario_get(c, "cache"));
        const char *cache = json_string_value(own_cache);
        static char no_plugins[] = "";
        static char *none[] = {NULL};
        struct buf path = BUF_NULL;

        *ret = (struct config){.workers = 1, .plugin_path = none, .files = none, .sources = json_object(),
                               .schemas = no_plugins, .server = json_object()};
        buf_printf(&path, "%s/state", c->folder);
        ret->state = buf_steal(&path);
        buf_printf(&path, "%s/cache", c->folder);
        ret->cache = cache ? strdup(cache) : buf_steal(&path);
        buf_printf(&path, "%s/socket", c->folder);
        ret->socket = buf_steal(&path);
        ret->libexec = strdup(c->options->libexec ? c->options->libexec : CHECK_LIBEXEC);
        if (!ret->state || !ret->cache || !ret->libexec ||
            (mkdir(ret->state, 0700) < 0 && errno != EEXIST) ||
            (!cache && mkdir(ret->cache, 0700) < 0 && errno != EEXIST))
                check_stop(c, "the private folder cannot be used: %s", strerror(errno));
        json_decref(own_cache);
}

/* `n` bytes that end where the memory ends. */
static void *at_the_end(size_t n)
{
        size_t page = (size_t)sysconf(_SC_PAGESIZE), all = (n + page - 1) / page * page;
        uint8_t *m = mmap(NULL, all + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (m == MAP_FAILED || mprotect(m + all, page, PROT_NONE) < 0)
                return NULL;
        return m + all - n;
}

static void make_table(struct world *w, const struct world_options *options)
{
        uint32_t size = options && options->table_size ? options->table_size : sizeof(struct prvng_host);
        struct prvng_host table = {
                .struct_size = size,
                .abi_minor = options && options->table_size ? options->abi_minor : PRVNG_ABI_MINOR,
                .core_version = PRVNG_VERSION,
                .log = put_log,
                .error = put_error,
                .is_cancelled = w->core_table->is_cancelled,
                .cancel_fd = w->core_table->cancel_fd,
                .progress = put_progress,
                .ask_again = w->core_table->ask_again,
                .sink_write = sink_write,
                .sink_new = w->core_table->sink_new,
                .sink_data = w->core_table->sink_data,
                .sink_free = w->core_table->sink_free,
                .intern = intern,
                .monotonic_ms = w->core_table->monotonic_ms,
                .get_interface = get_interface,
        };
        uint8_t *place = size <= TABLE_MAX ? at_the_end(size) : NULL;

        if (!place)
                check_stop(w->check, "no memory for the host's table");
        memset(place, 0xa5, size); /* what a newer core has behind what this one knows */
        memcpy(place, &table, MIN((size_t)size, sizeof(table)));
        w->table = (struct prvng_host *)place;
}

struct world *world_new(struct check *c, const struct world_options *options)
{
        static struct world w;
        const char *name = c->note ? json_get_string(c->note, "name", "plugin") : "plugin";

        w = (struct world){.check = c, .sink_left = -1};
        the_world = &w;
        make_config(c, &w.config);
        if (host_new(&w.config, &(struct host_hooks){on_log, on_output, &w}, &w.core) < 0 ||
            !(w.core_table = host_table_for(w.core, name)))
                check_stop(c, "no memory for the host");
        for (size_t i = 0; i < N_ELEMENTS(services); i++)
                if (services[i].behind)
                        *services[i].behind = w.core_table->get_interface(w.core_table, services[i].id);
        make_table(&w, options);
        return &w;
}

void world_end(struct world *w)
{
        w->core = host_free(w->core);
        free(w->config.state);
        free(w->config.cache);
        free(w->config.socket);
        free(w->config.libexec);
        json_decref(w->config.sources);
        json_decref(w->config.server);
        buf_deinit(&w->log);
}
