/* SPDX-License-Identifier: Apache-2.0 */
/* prvng batch submit --online: what the providers say of the plan, at the places of the definition. */
#include "submit.h"

#include "output.h"
#include "run/ask.h"

/* The node of what the definition says of a resource, or DOC_NONE. */
static uint32_t find_node(const struct definition *d, const char *resource)
{
        const char *dot = strchr(resource, '.'), *name = dot ? dot + 1 : "";
        size_t n = strcspn(name, "@");
        const char *provider = name[n] ? name + n + 1 : "";
        uint32_t found = DOC_NONE;

        for (uint32_t i = 0; startswith(resource, "server.") && i < d->n_servers; i++)
                if (streq(d->servers[i].name, name))
                        return d->servers[i].node;
        for (uint32_t i = 0; startswith(resource, "network.") && i < d->n_networks; i++) {
                const struct network_def *e = &d->networks[i];

                if (strlen(e->name) == n && strncmp(e->name, name, n) == 0 &&
                    (e->provider ? streq(e->provider, provider) : found == DOC_NONE))
                        found = e->node;
        }
        for (uint32_t i = 0; startswith(resource, "security_group.") && i < d->n_security_groups; i++) {
                const struct security_group_def *e = &d->security_groups[i];

                if (strlen(e->name) == n && strncmp(e->name, name, n) == 0 &&
                    (e->provider ? streq(e->provider, provider) : found == DOC_NONE))
                        found = e->node;
        }
        return found;
}

/* "spec.upcloud.tier" below the node, as deep as the definition says something. */
static uint32_t find_attribute(const struct definition *d, uint32_t node, const char *field)
{
        _cleanup_(cleanup_free) char *path = NULL, *below = document_path(d->document, d->top, node);

        field = startswith(field, "spec.") ?: "";
        if (!below || asprintf(&path, "%s%s%s", below, *field ? "." : "", field) < 0)
                path = NULL;
        return path ? document_at(d->document, d->top, path) : node;
}

static void add_problem(struct problems *problems, const struct source *s, const json_t *problem)
{
        const char *resource = json_get_string(problem, "resource", "");
        const char *field = json_get_string(problem, "field", ""), *subject = resource;
        const char *message = json_get_string(problem, "message", ""), *rest;
        uint32_t node = *resource ? find_node(s->definition, resource) : DOC_NONE;
        _cleanup_(cleanup_free) char *path = NULL;
        struct position at = {0};

        if (node != DOC_NONE) {
                node = find_attribute(s->definition, node, field);
                at = document_position(s->document, node);
                path = document_path(s->document, s->top, node);
        }
        if (!*subject)
                subject = json_get_string(problem, "provider", "");
        rest = startswith(message, subject); /* plugins begin their sentences with their name */
        if (rest && startswith(rest, ": "))
                message = rest + strlen(": ");
        problems_add(problems, &at, path ? path : NULL, "%s%s%s: %s", subject,
                     node == DOC_NONE && *field ? ", " : "", node == DOC_NONE ? field : "",
                     message);
}

/* By the engine, if one runs, with its credentials and under its limits; else here. 0, or an exit code. */
static int ask(struct source *s, struct look *look, json_t **ret_said)
{
        _cleanup_(cleanup_client) struct client client = {.folder = -1};
        _cleanup_(cleanup_buf) struct buf body = BUF_NULL;
        int r = client_init(&client, look->cli, look->context.config);

        if (r)
                return r;
        if (client_answers(&client)) {
                buf_putc(&body, '{');
                put_source(&body, look->cli, s);
                buf_putc(&body, '}');
                if (!buf_error(&body))
                        return submit_post(&client, "/workflows/precheck", &body, s, ret_said);
        } else if (ask_precheck(&look->context, &look->site->inventory, s->plan, ret_said) == 0) {
                return 0;
        }
        complain(look->cli, "out of memory");
        return EXIT_UNUSABLE;
}

int source_ask(struct source *s, struct look *look)
{
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
        _cleanup_(cleanup_json_decref) json_t *said = NULL;
        const json_t *v;
        size_t i;
        bool silent;
        int r = ask(s, look, &said);

        if (r)
                return r;
        json_array_foreach (json_object_get(said, "notices"), i, v)
                fprintf(stderr, "note: %s\n", json_string_value(v));
        silent = json_array_size(json_object_get(said, "silent"));
        json_array_foreach (json_object_get(said, "silent"), i, v)
                complain(look->cli, "provider %s could not be asked: %s", json_get_string(v, "provider", "?"),
                         json_get_string(v, "message", "?"));
        json_array_foreach (json_object_get(said, "problems"), i, v)
                add_problem(&problems, s, v);
        if (problems.n)
                return print_problems(look->cli, &problems);
        return silent ? EXIT_UNUSABLE : 0;
}
