/* SPDX-License-Identifier: Apache-2.0 */
#include "routes.h"

static const struct route routes[] = {
        {"POST", "/workflows/batch", ROUTE_ENGINE, "Submits a workflow", NULL,
         "id definition folder file only replace prune who"},
        {"POST", "/workflows/destroy", ROUTE_ENGINE, "Deletes what a workflow owns", NULL,
         "name id who"},
        {"POST", "/workflows/check", ROUTE_ENGINE, "Checks what a workflow owns", NULL,
         "name id who"},
        {"GET", "/workflows", ROUTE_ENGINE, "Lists runs", "name", NULL},
        {"GET", "/workflows/{id}/status", ROUTE_ENGINE, "State of a run", NULL, NULL},
        {"GET", "/workflows/{id}/events", ROUTE_EVENTS, "The run's journal as Server-Sent Events",
         "from follow", NULL},
        {"GET", "/workflows/{id}/logs", ROUTE_LOGS, "Log lines of a run, or output of a task",
         "task follow offset", NULL},
        {"GET", "/workflows/{id}/metrics", ROUTE_ENGINE, "Counts and durations", NULL, NULL},
        {"POST", "/workflows/{id}/pause", ROUTE_ENGINE, "Starts nothing more until it is resumed", NULL,
         "who"},
        {"POST", "/workflows/{id}/resume", ROUTE_ENGINE,
         "Goes on with a run that is paused, or with a rollback that is incomplete", NULL, "who"},
        {"POST", "/workflows/{id}/rollback", ROUTE_ENGINE,
         "Undoes what a run did, or what it did after a checkpoint", NULL, "to who"},
        {"POST", "/workflows/{id}/retry", ROUTE_ENGINE,
         "Does again what did not succeed, in the whole run or in one operation", NULL,
         "operation who"},
        {"POST", "/workflows/{id}/replan", ROUTE_ENGINE,
         "Gives a paused run a changed definition, or shows the difference", NULL,
         "definition folder file only replace prune who dry_run"},
        {"POST", "/workflows/{id}/cancel", ROUTE_ENGINE, "Starts nothing more in a run", NULL, "who"},
        {"POST", "/workflows/{id}/resolve", ROUTE_ENGINE, "Tells what became of a parked task", NULL,
         "task as outputs who"},
        {"POST", "/store/compact", ROUTE_ENGINE, "Removes the journals of runs that ended long ago", NULL,
         "older_than dry_run after who"},
        {"GET", "/resources", ROUTE_ENGINE, "The inventory", NULL, NULL},
        {"POST", "/resources/adopt", ROUTE_ENGINE, "Takes what a provider has into the inventory", NULL,
         "key plugin spec outputs workflow who"},
        {"POST", "/resources/find", ROUTE_ENGINE, "What a provider has under an id or a name", NULL,
         "provider kind id as"},
        {"POST", "/workflows/precheck", ROUTE_ENGINE, "What the providers have against a plan", NULL,
         "definition folder file only replace prune"},
        {"POST", "/secrets/rotate", ROUTE_ENGINE, "Renews the credential of a provider", NULL,
         "provider id who"},
        {"GET", "/resources/orphans", ROUTE_ENGINE, "What carries the site's marks and no journal knows", NULL,
         NULL},
        {"POST", "/resources/orphans", ROUTE_ENGINE, "Adopts or deletes what no journal knows", NULL,
         "resources action who"},
        {"GET", "/resources/{key}", ROUTE_ENGINE, "A resource", NULL, NULL},
        {"GET", "/plugins", ROUTE_ENGINE, "The plugins of the site, and how isolated ones fare", NULL, NULL},
        {"GET", "/healthz", ROUTE_ENGINE, "Is the engine alive?", NULL, NULL},
        {"GET", "/readyz", ROUTE_ENGINE, "Does the engine take work?", NULL, NULL},
        {"GET", "/openapi.json", ROUTE_OPENAPI, "This description", NULL, NULL},
};

static bool matches(const char *pattern, const char *path, char *segment, size_t n_segment)
{
        while (*pattern) {
                if (*pattern == '{') {
                        size_t n = strcspn(path, "/");

                        if (n == 0 || n >= n_segment)
                                return false;
                        memcpy(segment, path, n);
                        segment[n] = 0;
                        path += n;
                        pattern = strchr(pattern, '}') + 1;
                } else if (*pattern++ != *path++) {
                        return false;
                }
        }
        return *path == 0;
}

const struct route *route_find(const char *method, const char *path, int *ret_status,
                               const char **ret_allow, char *ret_segment, size_t n_segment)
{
        *ret_status = 404;
        *ret_allow = NULL;
        ret_segment[0] = 0;
        for (size_t i = 0; i < N_ELEMENTS(routes); i++) {
                if (!matches(routes[i].path, path, ret_segment, n_segment))
                        continue;
                if (streq(routes[i].method, method))
                        return &routes[i];
                *ret_allow = *ret_status == 405 ? "GET, POST" : routes[i].method;
                *ret_status = 405;
        }
        return NULL;
}

/* Calls f for each word of a list separated by spaces. */
static void each_word(const char *words, void (*f)(struct buf *, const char *, size_t, bool),
                      struct buf *b)
{
        bool first = true;

        for (const char *p = words; p && *p;) {
                size_t n = strcspn(p, " ");

                f(b, p, n, first);
                first = false;
                p += n + (p[n] == ' ');
        }
}

static void query_parameter(struct buf *b, const char *name, size_t n, bool first)
{
        BUF_LIT(b, ",{\"in\":\"query\",\"name\":");
        buf_json_n(b, name, n);
        BUF_LIT(b, ",\"schema\":{\"type\":\"string\"}}");
}

static void body_member(struct buf *b, const char *name, size_t n, bool first)
{
        if (!first)
                buf_putc(b, ',');
        buf_json_n(b, name, n);
        BUF_LIT(b, ":{}");
}

static void operation(struct buf *b, const struct route *r)
{
        const char *name = strchr(r->path, '{');
        size_t from;

        buf_puts(b, streq(r->method, "GET") ? "\"get\":{" : "\"post\":{");
        BUF_LIT(b, "\"summary\":");
        buf_json(b, r->summary);
        BUF_LIT(b, ",\"parameters\":[");
        from = b->n;
        if (name) {
                BUF_LIT(b, ",{\"in\":\"path\",\"required\":true,\"name\":");
                buf_json_n(b, name + 1, (size_t)(strchr(name, '}') - name) - 1);
                BUF_LIT(b, ",\"schema\":{\"type\":\"string\"}}");
        }
        each_word(r->query, query_parameter, b);
        if (b->n > from)
                b->data[from] = ' '; /* the first comma */
        BUF_LIT(b, "]");
        if (r->body) {
                BUF_LIT(b, ",\"requestBody\":{\"content\":{\"application/json\":{\"schema\":"
                           "{\"type\":\"object\",\"properties\":{");
                each_word(r->body, body_member, b);
                BUF_LIT(b, "}}}}}");
        }
        buf_printf(b, ",\"responses\":{\"%s\":{\"description\":\"ok\",\"content\":{\"%s\":{}}},"
                      "\"default\":{\"description\":\"an error, with message and problems\"}}}",
                   streq(r->method, "POST") ? "202" : "200",
                   r->type == ROUTE_EVENTS ? "text/event-stream"
                   : r->type == ROUTE_LOGS ? "text/plain"
                                           : "application/json");
}

void route_openapi(struct buf *json)
{
        BUF_LIT(json, "{\"openapi\":\"3.0.3\",\"info\":{\"title\":\"prvng\",\"version\":\"" PRVNG_VERSION
                      "\"},\"paths\":{");
        for (size_t i = 0; i < N_ELEMENTS(routes); i++) {
                bool more = i + 1 < N_ELEMENTS(routes) && streq(routes[i + 1].path, routes[i].path);

                if (!i || !streq(routes[i - 1].path, routes[i].path)) {
                        buf_puts(json, i ? "," : "");
                        buf_json(json, routes[i].path);
                        BUF_LIT(json, ":{");
                }
                operation(json, &routes[i]);
                buf_putc(json, more ? ',' : '}');
        }
        BUF_LIT(json, "}}\n");
}
