/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers: what is asked of the monitor, and what is said of the case. Nothing here waits: begin
 * and poll look at the files, do the next thing that is missing, and say PENDING.
 */
#include "server.h"

#include <math.h>
#include <sys/stat.h>

/* --- what is there --- */

static json_t *read_part(const struct server *s, const char *name)
{
        _cleanup_(cleanup_free) char *path = local_format("%s/%s", s->folder, name);
        json_t *j = NULL;

        if (path)
                local_read_json(path, &j);
        return j;
}

int server_load(const struct local *l, const char *name, struct server *ret)
{
        *ret = (struct server){.folder = local_format("%s/servers/%s", local_state(l), name)};
        if (!ret->folder)
                return -ENOMEM;
        ret->made = read_part(ret, "server.json");
        ret->wanted = read_part(ret, "wanted.json");
        ret->state = read_part(ret, "state.json");
        const json_t *init = json_object_get(ret->state, "init");
        /* A folder runs as long as it is there. */
        ret->alive = local_is_chroot(ret->made) ? json_is_true(json_object_get(ret->state, "ready"))
                                                : json_is_object(init) && local_process_alive(init);
        ret->monitored = local_monitor_alive(ret->folder);
        return 0;
}

void server_done(struct server *s)
{
        free(s->folder);
        json_decref(s->made);
        json_decref(s->wanted);
        json_decref(s->state);
}

const char *server_case_of(const struct server *s)
{
        if (s->alive)
                return json_is_true(json_object_get(s->state, "ready")) ? "running" : "starting";
        return "stopped";
}

bool server_leaves(const struct server *s)
{
        return streq(local_string(s->wanted, "state", ""), "gone");
}

/* Ours by the op id that made it, or by the workflow that it belongs to. */
bool server_is_owned(const struct server *s, const struct request *q)
{
        return streq(local_string(s->made, "workflow", ""), q->workflow) &&
               streq(local_string(s->made, "site", ""), q->site);
}

bool server_made_by(const struct server *s, const char *op_id)
{
        return *op_id && streq(local_string(s->made, "op_id", ""), op_id);
}

int32_t server_owned_by_other(struct local *l, struct prvng_call *call, const struct server *s,
                              const struct request *q)
{
        return local_fail(
                l, call, PRVNG_CONFLICT, PRVNG_EFFECT_NONE, "name",
                "local: server %s is there already and belongs to workflow %s (made by"
                " operation %s); choose another name, or remove it with prvng batch destroy"
                " %s",
                q->name, local_string(s->made, "workflow", "?"),
                local_string(s->made, "op_id", "?"), local_string(s->made, "workflow", "?"));
}

int32_t server_reply(struct local *l, struct prvng_call *call, const struct server *s,
                     const char *name, struct prvng_sink *result, int32_t class)
{
        _cleanup_(cleanup_json) json_t *j = server_make_result(l, s, name);
        int32_t r = local_reply(l, call, result, j);

        return r < 0 ? r : class;
}

/* --- wishes --- */

static int32_t write_part(struct local *l, struct prvng_call *call, const struct server *s,
                          const char *name, const json_t *value)
{
        _cleanup_(cleanup_free) char *path = local_format("%s/%s", s->folder, name);
        int r = path && value ? local_write_json(path, value, true) : -ENOMEM;

        if (r == 0)
                return PRVNG_DONE;
        return local_fail(l, call, PRVNG_TRANSIENT, PRVNG_EFFECT_PARTIAL, NULL, "local: %s: %s",
                          path ? path : name, strerror(-r));
}

static int32_t refuse_chroot(struct local *l, struct prvng_call *call, const struct server *s,
                             const char *name, const char *state)
{
        if (!local_is_chroot(s->made) || streq(state, "running") || streq(state, "gone"))
                return PRVNG_DONE;
        return local_fail(
                l, call, PRVNG_UNSUPPORTED, PRVNG_EFFECT_NONE, "spec.state",
                "local: server %s is a folder only (driver = \"chroot\") and cannot be %s", name,
                state);
}

/* The last wish counts. `attempt` tells the monitor's answers to two tries of one wish apart. */
static int32_t wish(struct local *l, struct prvng_call *call, struct server *s, const json_t *spec,
                    const char *state)
{
        bool restart = streq(state, "restarted");
        bool same = streq(local_string(s->wanted, "op_id", ""), call->op_id);
        int64_t attempt = same ? local_integer(s->wanted, "attempt", 0) + 1 : 1;
        const char *former = local_string(s->wanted, "restart", "");
        const json_t *pids = json_object_get(json_object_get(spec, "local"), "pids");
        json_t *j = json_pack("{s:i, s:s, s:I, s:s, s:s, s:O, s:O, s:O}", "format", LOCAL_FORMAT,
                              "op_id", call->op_id, "attempt", (json_int_t)attempt, "state",
                              restart ? "running" : state, "restart",
                              restart ? call->op_id : former, "cpu", json_object_get(spec, "cpu"),
                              "memory", json_object_get(spec, "memory"), "pids", pids);
        int32_t r = write_part(l, call, s, "wanted.json", j);

        json_decref(s->wanted);
        s->wanted = j;
        return r;
}

/* The monitor is a job named by the op id that made the server; the next one takes the same name.
 */
char *server_monitor_job(const struct server *s)
{
        return local_format("%s.monitor", local_string(s->made, "op_id", ""));
}

static int32_t start_monitor(struct local *l, struct prvng_call *call, const struct server *s,
                             const char *name)
{
        _cleanup_(cleanup_free) char *job = server_monitor_job(s);
        _cleanup_(cleanup_free) char *program = local_program(l, "prvng-local-monitor");
        const char *argv[] = {program, local_state(l), name, NULL};
        struct prvng_spawn spawn = {.struct_size = sizeof(spawn), .argv = argv};
        struct prvng_job_status status = {.struct_size = sizeof(status)};

        if (!job || !program)
                return PRVNG_INTERNAL;
        int32_t r = l->spawn->job_status(call, job, 0, NULL, &status);
        if (r != PRVNG_DONE)
                return r;
        if (status.state == PRVNG_JOB_RUNNING)
                return PRVNG_DONE; /* is about to take the lock, or to give it up */
        /* 128 and more: it was killed, which says nothing against the next one. */
        if (status.state == PRVNG_JOB_EXITED && status.exit_code > 0 && status.exit_code < 128) {
                l->spawn->job_forget(call, job);
                return local_fail(l, call, PRVNG_TRANSIENT, PRVNG_EFFECT_PARTIAL, NULL,
                                  "local: the monitor of server %s ended with %d; see"
                                  " %s/monitor.log",
                                  name, status.exit_code, s->folder);
        }
        if (status.state != PRVNG_JOB_UNKNOWN)
                r = l->spawn->job_forget(call, job);
        return r == PRVNG_DONE ? l->spawn->job_start(call, job, &spawn) : r;
}

bool server_is_fulfilled(const struct server *s, const char *op_id)
{
        return streq(local_string(s->state, "applied", ""), op_id);
}

bool server_has_failed(const struct server *s, const char *op_id)
{
        return streq(local_string(s->state, "failed", ""), op_id) &&
               local_integer(s->state, "attempt", 0) == local_integer(s->wanted, "attempt", 0);
}

/* How far the wish of this call is. */
static int32_t settle(struct local *l, struct prvng_call *call, struct server *s, const char *name,
                      struct prvng_sink *result)
{
        if (server_is_fulfilled(s, call->op_id))
                return server_reply(l, call, s, name, result, PRVNG_DONE);
        if (server_has_failed(s, call->op_id))
                return local_fail(l, call, PRVNG_TRANSIENT, PRVNG_EFFECT_PARTIAL, NULL,
                                  "local: %s (more in %s/monitor.log)",
                                  local_string(s->state, "error", "?"), s->folder);
        if (!s->monitored) {
                int32_t r = start_monitor(l, call, s, name);
                if (r != PRVNG_DONE)
                        return r;
        }
        l->host->progress(call, 700,
                          streq(local_string(s->wanted, "state", ""), "stopped")
                                  ? "shutting down"
                                  : "starting the server");
        l->host->ask_again(call, ASK_MS);
        return PRVNG_PENDING;
}

int32_t server_with_token(struct local *l, struct prvng_call *call, int32_t class,
                          struct prvng_sink *token, const char *verb, const char *job)
{
        _cleanup_(cleanup_free) char *text =
                local_format("1 %s%s%s", verb, job ? " " : "", job ? job : "");

        if ((class != PRVNG_PENDING && class != PRVNG_OBSERVED_IN_PROGRESS) || !token)
                return class;
        if (text && l->host->sink_write(token, text, strlen(text)) == 0)
                return class;
        return local_fail(l, call, PRVNG_INTERNAL, PRVNG_EFFECT_UNKNOWN, NULL,
                          "local: the token could not be handed over");
}

bool server_differs(const json_t *a, const json_t *b, const char *key)
{
        const json_t *x = json_object_get(a, key), *y = json_object_get(b, key);

        if (json_is_number(x) && json_is_number(y))
                return fabs(json_number_value(x) - json_number_value(y)) > 1e-9;
        return (x || y) && !json_equal(x, y);
}

/* Whether it runs is no part of what a server is. */
static bool same_spec(const json_t *a, const json_t *b)
{
        static const char *const keys[] = {"cpu",      "memory", "disk", "image",
                                           "ssh_keys", "labels", "local"};

        for (size_t i = 0; i < N_ELEMENTS(keys); i++)
                if (server_differs(a, b, keys[i]))
                        return false;
        return true;
}

/* --- create --- */

const char *server_wanted_state(const json_t *spec)
{
        return local_string(spec, "state", "running");
}

/* A number that no other server of the site has; 0 if all are taken. */
static unsigned free_index(const struct site *site)
{
        bool taken[LOCAL_LAST_HOST + 1] = {false};
        _cleanup_(cleanup_json) json_t *names = NULL;
        size_t i;
        json_t *name;

        if (site_servers(site, &names) < 0)
                return 0;
        json_array_foreach(names, i, name)
        {
                _cleanup_(cleanup_free) char *path = local_format(
                        "%s/servers/%s/server.json", site->folder, json_string_value(name));
                _cleanup_(cleanup_json) json_t *server = NULL;

                if (!path || local_read_json(path, &server) < 0)
                        continue;
                int64_t index = local_integer(server, "index", 0);
                if (index > 0 && index <= LOCAL_LAST_HOST)
                        taken[index] = true;
        }
        for (unsigned k = LOCAL_FIRST_HOST; k <= LOCAL_LAST_HOST; k++)
                if (!taken[k])
                        return k;
        return 0;
}

/* Writes down whose the server is, before anything of it exists. With the site locked. */
static int32_t found(struct local *l, struct prvng_call *call, const struct request *q,
                     struct server *s, const char *root, const char *image)
{
        struct site site;
        int32_t k = subnet_choose(l, call, &site);

        if (k < 0)
                return k;
        unsigned index = free_index(&site);
        int r = local_remove_tree(s->folder); /* what a removal may have left unfinished */
        if (r == 0)
                r = local_make_folders(s->folder, 0755);
        if (index == 0)
                k = local_fail(l, call, PRVNG_QUOTA, PRVNG_EFFECT_NONE, NULL,
                               "local: the site has %d servers, and no address for more",
                               LOCAL_LAST_HOST - LOCAL_FIRST_HOST + 1);
        else if (r < 0)
                k = local_fail(l, call, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, NULL, "local: %s: %s",
                               s->folder, strerror(-r));
        if (k == PRVNG_DONE) {
                json_t *made = json_pack(
                        "{s:i, s:s, s:s, s:s, s:s, s:s, s:O, s:i, s:s, s:s}", "format",
                        LOCAL_FORMAT, "driver", l->chroot ? "chroot" : "ns", "op_id", call->op_id,
                        "name", q->name, "workflow", q->workflow, "site", q->site, "spec", q->spec,
                        "index", (int)index, "base", root, "image", image);
                k = write_part(l, call, s, "server.json", made);
                s->made = made;
        }
        if (k == PRVNG_DONE)
                site_write_hosts(&site, NULL);
        site_done(&site);
        return k;
}

/* The server of that name that is there. */
static int32_t create_existing(struct local *l, struct prvng_call *call, const struct request *q,
                               struct server *s, bool first, struct prvng_sink *result)
{
        bool mine = server_made_by(s, call->op_id);
        bool known = server_made_by(s, local_string(q->identity, "op_id", ""));

        if (server_leaves(s) && (mine || known || server_is_owned(s, q))) {
                l->host->ask_again(call, 200);
                return local_fail(
                        l, call, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, NULL,
                        "local: server %s is being removed; it can be made anew after that",
                        q->name);
        }
        if (!mine && !(known && server_is_owned(s, q)))
                return server_owned_by_other(l, call, s, q);
        if (!same_spec(json_object_get(s->made, "spec"), q->spec))
                return local_fail(
                        l, call, PRVNG_CONFLICT, PRVNG_EFFECT_NONE, "spec",
                        "local: server %s is there with another definition; change it with an"
                        " operation of type update",
                        q->name);
        bool stopped = streq(server_wanted_state(q->spec), "stopped");
        bool wished = streq(local_string(s->wanted, "op_id", ""), call->op_id);
        if (known && !mine && !wished &&
            (stopped ? !s->alive : streq(server_case_of(s), "running"))) {
                if (s->alive && !s->monitored && !local_is_chroot(s->made))
                        start_monitor(l, call, s, q->name);
                return server_reply(l, call, s, q->name, result, PRVNG_UNCHANGED);
        }
        if (!wished || (first && server_has_failed(s, call->op_id))) {
                int32_t r = refuse_chroot(l, call, s, q->name, stopped ? "stopped" : "running");
                if (r == PRVNG_DONE)
                        r = wish(l, call, s, q->spec, stopped ? "stopped" : "running");
                if (r < 0)
                        return r;
        }
        return settle(l, call, s, q->name, result);
}

static int32_t create_locked(struct local *l, struct prvng_call *call, const struct request *q,
                             bool first, struct prvng_sink *result)
{
        _cleanup_(cleanup_server) struct server s = {0};
        _cleanup_(cleanup_free) char *root = NULL, *image = NULL;

        if (server_load(l, q->name, &s) < 0)
                return PRVNG_INTERNAL;
        if (!s.made) {
                if (s.monitored)
                        return local_fail(l, call, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, NULL,
                                          "local: server %s is being removed", q->name);
                int32_t r = image_ready(l, call, local_string(q->spec, "image", ""), &root, &image);
                if (r == PRVNG_DONE)
                        r = found(l, call, q, &s, root, image);
                if (r != PRVNG_DONE)
                        return r;
                json_decref(s.wanted);
                json_decref(s.state);
                s.wanted = s.state = NULL;
        }
        return create_existing(l, call, q, &s, first, result);
}

/* Takes the site's lock for the length of one call of `f`. */
static int lock_site(const struct local *l)
{
        _cleanup_(cleanup_free) char *servers = local_format("%s/servers", local_state(l));
        int fd = -1, r = servers ? local_make_folders(servers, 0700) : -ENOMEM;

        if (r == 0)
                r = local_lock_folder(local_state(l), &fd);
        return r < 0 ? r : fd;
}

int32_t server_create(struct local *l, struct prvng_call *call, const struct request *q, bool first,
                      struct prvng_sink *token, struct prvng_sink *result)
{
        int32_t r = probe_check(l, call);

        if (r < 0)
                return r;
        _cleanup_(cleanup_close) int lock = lock_site(l);
        if (lock < 0)
                return local_fail(l, call, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, NULL,
                                  "local: %s: %s", local_state(l), strerror(-lock));
        return server_with_token(l, call, create_locked(l, call, q, first, result), token, "create",
                                 NULL);
}

/* --- update --- */

/* What only a new server can have. */
static int32_t refuse_replacement(struct local *l, struct prvng_call *call, const struct request *q,
                                  const struct server *s)
{
        static const char *const fixed[] = {"image", "disk", "ssh_keys"};
        const json_t *former = json_object_get(s->made, "spec");

        for (size_t i = 0; i < N_ELEMENTS(fixed); i++) {
                char field[32];

                if (!server_differs(former, q->spec, fixed[i]))
                        continue;
                snprintf(field, sizeof(field), "spec.%s", fixed[i]);
                return local_fail(
                        l, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, field,
                        "local: %s of server %s cannot be changed while it lives; it needs a"
                        " replacement: delete it and create it anew",
                        fixed[i], q->name);
        }
        return PRVNG_DONE;
}

static int32_t update_locked(struct local *l, struct prvng_call *call, const struct request *q,
                             bool first, struct prvng_sink *result)
{
        _cleanup_(cleanup_server) struct server s = {0};

        if (server_load(l, q->name, &s) < 0)
                return PRVNG_INTERNAL;
        if (!s.made || server_leaves(&s))
                return local_fail(l, call, PRVNG_NOT_FOUND, PRVNG_EFFECT_NONE, NULL,
                                  "local: there is no server %s to update; create it", q->name);
        if (!server_is_owned(&s, q))
                return server_owned_by_other(l, call, &s, q);
        bool wished = streq(local_string(s.wanted, "op_id", ""), call->op_id);
        if (!wished || (first && server_has_failed(&s, call->op_id))) {
                int32_t r = refuse_replacement(l, call, q, &s);
                if (r == PRVNG_DONE)
                        r = refuse_chroot(l, call, &s, q->name, server_wanted_state(q->spec));
                bool running = !streq(server_wanted_state(q->spec), "stopped");

                if (r < 0)
                        return r;
                if (!wished && same_spec(json_object_get(s.made, "spec"), q->spec) &&
                    !streq(server_wanted_state(q->spec), "restarted") &&
                    (running ? streq(server_case_of(&s), "running") : !s.alive))
                        return server_reply(l, call, &s, q->name, result, PRVNG_UNCHANGED);
                r = wish(l, call, &s, q->spec, server_wanted_state(q->spec));
                if (r < 0)
                        return r;
        }
        if (!json_equal(json_object_get(s.made, "spec"), q->spec)) {
                json_object_set(s.made, "spec", (json_t *)(uintptr_t)q->spec);
                int32_t r = write_part(l, call, &s, "server.json", s.made);
                if (r < 0)
                        return r;
        }
        return settle(l, call, &s, q->name, result);
}

int32_t server_update(struct local *l, struct prvng_call *call, const struct request *q, bool first,
                      struct prvng_sink *token, struct prvng_sink *result)
{
        _cleanup_(cleanup_close) int lock = lock_site(l);

        if (lock < 0)
                return local_fail(l, call, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, NULL,
                                  "local: %s: %s", local_state(l), strerror(-lock));
        return server_with_token(l, call, update_locked(l, call, q, first, result), token, "update",
                                 NULL);
}

/* --- delete --- */

/* The folder is gone; what remains is the name of the monitor's job, once that has ended. */
int32_t server_after_removal(struct local *l, struct prvng_call *call, const char *job,
                             struct prvng_sink *result)
{
        struct prvng_job_status status = {.struct_size = sizeof(status)};
        _cleanup_(cleanup_json) json_t *j = json_object();

        if (job && *job) {
                int32_t r = l->spawn->job_status(call, job, 0, NULL, &status);
                if (r != PRVNG_DONE)
                        return r;
                if (status.state == PRVNG_JOB_RUNNING) {
                        l->host->ask_again(call, ASK_MS / 2);
                        return PRVNG_PENDING;
                }
                l->spawn->job_forget(call, job);
        }
        int32_t r = local_reply(l, call, result, j);
        return r < 0 ? r : job ? PRVNG_DONE : PRVNG_UNCHANGED;
}

static int32_t delete_locked(struct local *l, struct prvng_call *call, const struct request *q,
                             struct server *s, const char *job, struct prvng_sink *result)
{
        bool known = server_made_by(s, local_string(q->identity, "op_id", ""));

        if (access(s->folder, F_OK) < 0)
                return server_after_removal(l, call, job, result);
        if (!s->made) {
                /* The last moment of a removal that was interrupted. */
                if (!s->monitored)
                        local_remove_tree(s->folder);
                l->host->ask_again(call, ASK_MS);
                return PRVNG_PENDING;
        }
        if (!known && !server_is_owned(s, q)) {
                /* Ours is gone, and another has taken the name since. */
                if (job)
                        return server_after_removal(l, call, job, result);
                return server_owned_by_other(l, call, s, q);
        }
        if (!server_leaves(s) || (!job && server_has_failed(s, call->op_id))) {
                int32_t r = wish(l, call, s, json_object_get(s->made, "spec"), "gone");
                if (r < 0)
                        return r;
        }
        if (server_has_failed(s, call->op_id))
                return local_fail(l, call, PRVNG_TRANSIENT, PRVNG_EFFECT_PARTIAL, NULL,
                                  "local: %s (more in %s/monitor.log)",
                                  local_string(s->state, "error", "?"), s->folder);
        if (!s->monitored) {
                int32_t r = start_monitor(l, call, s, q->name);
                if (r != PRVNG_DONE)
                        return r;
        }
        l->host->progress(call, 500, "removing");
        l->host->ask_again(call, ASK_MS);
        return PRVNG_PENDING;
}

int32_t server_delete(struct local *l, struct prvng_call *call, const struct request *q,
                      const char *job, struct prvng_sink *token, struct prvng_sink *result)
{
        _cleanup_(cleanup_server) struct server s = {0};
        _cleanup_(cleanup_free) char *own = NULL;
        _cleanup_(cleanup_close) int lock = -1;

        int r = local_lock_folder(local_state(l), &lock);
        if (r < 0)
                return local_fail(l, call, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN, NULL,
                                  "local: %s: %s", local_state(l), strerror(-r));
        if (server_load(l, q->name, &s) < 0)
                return PRVNG_INTERNAL;
        own = s.made ? server_monitor_job(&s) : NULL;
        return server_with_token(l, call, delete_locked(l, call, q, &s, job, result), token,
                                 "delete", own);
}
