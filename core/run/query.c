/* SPDX-License-Identifier: Apache-2.0 */
/* The read model of the API: documents made from the fold. docs/http-api.md says what they hold. */
#include "run/query.h"

#include "base/json.h"
#include "host/host.h"
#include "plugin/describe.h"

#include <fcntl.h>
#include <limits.h>

int query_runs(const struct site *site, const char *name, struct buf *json)
{
        bool any = false;

        BUF_LIT(json, "{\"workflows\":[");
        for (uint32_t i = 0; i < site->n_runs; i++) {
                const struct run *run = site->runs[i];

                if (name && !streq(name, run->name))
                        continue;
                if (any)
                        buf_putc(json, ',');
                query_head(json, run);
                query_time(json, "ended_at", run->ended_ms);
                buf_putc(json, '}');
                any = true;
        }
        BUF_LIT(json, "]}");
        return buf_error(json);
}

int query_resource(const struct resource *r, struct buf *json)
{
        BUF_LIT(json, "{\"key\":");
        buf_json(json, r->key);
        query_string(json, "workflow", r->workflow);
        query_string(json, "plugin", r->workflow ? r->plugin : NULL);
        query_json(json, "spec", r->workflow ? r->spec : NULL, "null");
        query_json(json, "outputs", r->workflow ? r->outputs : NULL, "null");
        query_string(json, "builds_on", r->workflow ? r->builds_on : NULL);
        query_string(json, "op_id", r->workflow && *r->op_id ? r->op_id : NULL);
        query_string(json, "run", r->workflow ? r->run : NULL);
        query_time(json, "changed_at", r->changed_ms);
        query_string(json, "claimed_by", r->claim);
        buf_putc(json, '}');
        return buf_error(json);
}

int query_resources(const struct site *site, struct buf *json)
{
        _cleanup_(cleanup_free) const struct resource **list = NULL;
        size_t n;
        int r;

        r = inventory_sorted(&site->inventory, &list, &n);
        if (r)
                return error_fold(r);
        BUF_LIT(json, "{\"resources\":[");
        for (size_t i = 0; i < n && r == 0; i++) {
                if (i)
                        buf_putc(json, ',');
                r = query_resource(list[i], json);
        }
        BUF_LIT(json, "]}");
        return r ?: buf_error(json);
}

/* Paths */

static int not_found(struct buf *body, const char *what, const char *name)
{
        buf_clear(body);
        BUF_LIT(body, "{\"error\":{\"message\":");
        {
                _cleanup_(cleanup_buf) struct buf message = BUF_NULL;

                buf_printf(&message, "there is no %s \"%s\"", what, name);
                buf_json(body, buf_str(&message));
        }
        BUF_LIT(body, "}}");
        return 404;
}

/* What a problem looks like. */
static int problem(struct buf *body, int status, const char *message)
{
        buf_clear(body);
        BUF_LIT(body, "{\"error\":{\"message\":");
        buf_json(body, message);
        BUF_LIT(body, "}}");
        return status;
}

static const char *parameter(const char *query, const char *name, char *ret, size_t n_ret)
{
        size_t n = strlen(name);

        for (const char *p = query; p && *p;) {
                size_t len = strcspn(p, "&"), at = 0;

                if (len > n && strncmp(p, name, n) == 0 && p[n] == '=') {
                        for (size_t i = n + 1; i < len && at + 1 < n_ret; i++) {
                                unsigned c;

                                if (p[i] == '%' && i + 2 < len && sscanf(p + i + 1, "%2x", &c) == 1) {
                                        ret[at++] = (char)c;
                                        i += 2;
                                } else {
                                        ret[at++] = p[i] == '+' ? ' ' : p[i];
                                }
                        }
                        ret[at] = 0;
                        return ret;
                }
                p += len + (p[len] == '&');
        }
        return NULL;
}

static int append_file(struct buf *b, const char *path)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = 0;
        char *p;

        if (fd < 0)
                return -errno;
        while ((p = buf_reserve(b, 65536)) && (n = read(fd, p, 65536)) > 0)
                buf_advance(b, (size_t)n);
        close(fd);
        return n < 0 ? -EIO : buf_error(b);
}

/* What ran in the server for a task, or the run's own log. */
static int query_logs(const struct context *c, const struct run *run, const char *task,
                      struct buf *body)
{
        _cleanup_(cleanup_free) char *folder = host_run_folder(c->config, run->id_text, task);
        char path[PATH_MAX];

        if (!folder)
                return 500;
        snprintf(path, sizeof(path), "%s/%s", folder, task ? "output.log" : "log.jsonl");
        return append_file(body, path) == 0 ? 200
               : task ? not_found(body, "log of the task", task)
                      : 200; /* nothing was logged yet */
}

static int query_run(const struct context *c, struct journals *journals, struct site *site,
                     const char *rest, const char *query_, struct buf *body, char **ret_message)
{
        char name[256], value[512];
        size_t n = strcspn(rest, "/");
        struct run *run;
        bool loaded;
        int r = 0;

        snprintf(name, sizeof(name), "%.*s", (int)n, rest);
        rest += n;
        run = site_run(site, name);
        if (!run)
                return not_found(body, "workflow or run", name);
        loaded = run->loaded;
        if (streq(rest, "/status") || streq(rest, "/metrics")) {
                r = journals ? site_load_run(journals, site, run, ret_message) : 0;
                r = r ?: query_status(c, run, body);
                if (!loaded) /* it has ended: what it holds is not needed again soon */
                        run_unload(run);
        } else if (streq(rest, "/events")) {
                const char *from = parameter(query_, "from", value, sizeof(value));

                r = site_events(journals, run, from ? strtoull(from, NULL, 10) : 0, body, ret_message);
        } else if (streq(rest, "/logs")) {
                return query_logs(c, run, parameter(query_, "task", value, sizeof(value)), body);
        } else {
                return not_found(body, "page", rest);
        }
        return !r ? 200 : run->compacted ? problem(body, 410, *ret_message ?: "") : 500;
}

static int query_plugins(const struct plugins *plugins, struct buf *body)
{
        int r = 0;

        BUF_LIT(body, "{\"plugins\":[");
        for (size_t i = 0; r == 0 && i < plugins->n; i++) {
                _cleanup_(cleanup_json_decref) json_t *o = plugin_describe(&plugins->list[i]);

                if (i)
                        buf_putc(body, ',');
                r = o ? json_append(body, o) : error_origin(-ENOMEM);
        }
        BUF_LIT(body, "]}");
        return r ? error_fold(r) : buf_error(body);
}

int query(const struct context *c, struct journals *journals, struct site *site, const char *path,
          struct buf *body, char **ret_message)
{
        char bare[1024], value[256];
        const char *mark = strchr(path, '?'), *rest;
        int r;

        snprintf(bare, sizeof(bare), "%.*s", (int)(mark ? mark - path : (ssize_t)strlen(path)), path);
        mark = mark ? mark + 1 : "";
        if (streq(bare, "/workflows")) {
                r = query_runs(site, parameter(mark, "name", value, sizeof(value)), body);
        } else if ((rest = startswith(bare, "/workflows/"))) {
                return query_run(c, journals, site, rest, mark, body, ret_message);
        } else if (streq(bare, "/resources")) {
                r = query_resources(site, body);
        } else if ((rest = startswith(bare, "/resources/"))) {
                const struct resource *resource = inventory_get(&site->inventory, rest);

                if (!resource)
                        return not_found(body, "resource", rest);
                r = query_resource(resource, body);
        } else if (streq(bare, "/plugins")) {
                r = query_plugins(c->plugins, body);
        } else if (streq(bare, "/healthz") || streq(bare, "/readyz")) {
                buf_printf(body,
                           "{\"status\":\"ok\",\"version\":\"%s\",\"pid\":%ld,\"site\":\"%s\","
                           "\"epoch\":%llu}",
                           PRVNG_VERSION, (long)getpid(), site->id_text,
                           (unsigned long long)site->epoch);
                r = buf_error(body);
        } else {
                return not_found(body, "page", bare);
        }
        return r ? 500 : 200;
}
