/* SPDX-License-Identifier: Apache-2.0 */
#include "submit.h"

#include "base/clock.h"
#include "base/uid.h"
#include "follow.h"
#include "output.h"

#include <libgen.h>
#include <pwd.h>

/* Loading */

void source_deinit(struct source *s)
{
        plan_free(s->plan);
        definition_free(s->definition);
        document_free(s->document);
        free(s->path);
        free(s->folder);
        *s = (struct source){0};
}

int print_problems(const struct cli *cli, const struct problems *problems)
{
        fflush(stdout);
        if (cli->format == FORMAT_TABLE) {
                problems_print(problems, stderr);
                complain(cli, "%zu problem%s; nothing was started", problems->n,
                         problems->n == 1 ? "" : "s");
        } else {
                json_t *doc = json_pack("{s:o}", "problems", problems_json(problems));

                if (doc)
                        print_document(cli, doc);
                json_decref(doc);
        }
        return EXIT_DEFINITION;
}

/* {"D": {...}, "env": NAME, "schemas": FOLDER}; the environment is an argument too, unless -D says
 * otherwise, so that a definition can ask for it in its own language. */
static int make_arguments(const struct cli *cli, const struct config *config, char **ret)
{
        json_t *d = json_object(), *all;
        const char *env = option_value(cli, "env");

        if (env)
                json_object_set_new(d, "env", json_string(env));
        for (size_t i = 0; i < cli->n_uses; i++) {
                const char *value = cli->uses[i].value, *equals;

                if (!streq(cli->uses[i].def->name, "define"))
                        continue;
                equals = strchr(value, '=');
                if (!equals || equals == value) {
                        complain(cli, "-D %s: it must look like KEY=VALUE", value);
                        json_decref(d);
                        return EXIT_USAGE;
                }
                json_object_setn_new_nocheck(d, value, (size_t)(equals - value),
                                             json_string(equals + 1));
        }
        all = json_pack("{s:o, s:s?, s:s?}", "D", d, "env", env, "schemas", config->schemas);
        *ret = all ? json_dumps(all, JSON_COMPACT) : NULL;
        json_decref(all);
        return *ret ? 0 : EXIT_UNUSABLE;
}

static int find_file(struct source *s, const struct cli *cli, const char *file)
{
        char *copy;

        s->path = realpath(file, NULL);
        if (!s->path || access(s->path, R_OK) < 0) {
                complain(cli, "%s cannot be read: %s", file, strerror(errno));
                return EXIT_DEFINITION;
        }
        copy = strdup(s->path);
        s->folder = copy ? strdup(dirname(copy)) : NULL;
        free(copy);
        return s->folder ? 0 : EXIT_UNUSABLE;
}

int source_load(struct source *s, const struct cli *cli, const char *file,
                const struct context *context)
{
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
        _cleanup_(cleanup_free) char *arguments = NULL;
        int r;

        r = find_file(s, cli, file);
        r = r ?: make_arguments(cli, context->config, &arguments);
        if (r)
                return r;
        r = definition_load(context->plugins, s->path, arguments, &problems, &s->document);
        if (r == 0 && problems.n == 0)
                r = definition_find(s->document, option_value(cli, "workflow"), &problems, &s->top);
        if (r == 0 && problems.n == 0)
                r = definition_check(s->document, s->top, s->folder, &problems, &s->definition);
        if (problems.n)
                return print_problems(cli, &problems);
        if (r == 0 && s->definition)
                return 0;
        complain(cli, "%s cannot be read: %s", file, strerror(r < 0 ? -r : EIO));
        return EXIT_DEFINITION;
}

/* "a,b" -> {"a", "b", NULL}, in one piece of memory. */
static const char **split(const char *list)
{
        size_t n = 1;
        const char **words;
        char *text;

        for (const char *p = list; *p; p++)
                n += *p == ',';
        words = malloc((n + 1) * sizeof(*words) + strlen(list) + 1);
        if (!words)
                return NULL;
        text = strcpy((char *)(words + n + 1), list);
        n = 0;
        for (char *p = text, *save; (p = strtok_r(p, ", ", &save)); p = NULL)
                words[n++] = p;
        words[n] = NULL;
        return words;
}

int source_plan(struct source *s, struct look *look)
{
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
        const char *list = option_value(look->cli, "only"), *again = option_value(look->cli, "replace");
        const char **only = list ? split(list) : NULL, **replace = again ? split(again) : NULL;
        int r;

        r = plan_make(&(struct plan_request){.definition = s->definition,
                                             .config = look->context.config,
                                             .plugins = look->context.plugins,
                                             .inventory = &look->site->inventory,
                                             .runs = look->site,
                                             .site = look->site->id_text,
                                             .replace = replace,
                                             .prune = option_given(look->cli, "prune"),
                                             .only = only},
                      &problems, &s->plan);
        free(only);
        free(replace);
        if (problems.n)
                return print_problems(look->cli, &problems);
        if (r == 0)
                return 0;
        complain(look->cli, "no plan could be made: %s", strerror(r < 0 ? -r : EIO));
        return EXIT_UNUSABLE;
}

/* Showing */

void print_plan(const struct cli *cli, const struct plan *plan)
{
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        json_t *json = NULL;

        if (cli->format == FORMAT_TABLE) {
                plan_text(plan, &text);
                fwrite(buf_str(&text), 1, text.n, stdout);
                return;
        }
        plan_json(plan, &text);
        if (cli->format == FORMAT_JSON) {
                fwrite(buf_str(&text), 1, text.n, stdout);
                if (text.n && text.data[text.n - 1] != '\n')
                        putchar('\n');
        } else if (json_parse(text.data, text.n, &json, NULL) == 0) {
                print_document(cli, json);
                json_decref(json);
        }
}

static void put_json_short(struct buf *b, const json_t *value)
{
        char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

        put_cut(b, text ? text : "-", 60, 0, true);
        free(text);
}

void print_differences(const struct cli *cli, const struct plan *plan)
{
        _cleanup_(cleanup_buf) struct buf out = BUF_NULL;

        for (uint32_t i = 0; i < plan->n_tasks; i++) {
                const struct plan_task *t = &plan->tasks[i];
                json_t *list = NULL, *entry;
                size_t k;

                if (!t->difference || json_parse(t->difference, strlen(t->difference), &list, NULL) < 0)
                        continue;
                paint(&out, cli->color_err, YELLOW, t->verb == PLAN_UPDATE ? "~ " : "± ");
                buf_printf(&out, "%s%s\n", t->resource,
                           t->impact == PLAN_REPLACE   ? ": is deleted and made anew"
                           : t->impact == PLAN_RESTART ? ": needs a restart"
                                                       : "");
                json_array_foreach (list, k, entry) {
                        buf_printf(&out, "    %s: ", json_get_string(entry, "path", "?"));
                        put_json_short(&out, json_object_get(entry, "from"));
                        BUF_LIT(&out, " -> ");
                        put_json_short(&out, json_object_get(entry, "to"));
                        if (json_object_get(entry, "how"))
                                buf_printf(&out, "  (%s)", json_get_string(entry, "how", ""));
                        buf_putc(&out, '\n');
                }
                json_decref(list);
        }
        for (uint32_t i = 0; i < plan->n_tasks; i++)
                if (streq(plan->operations[plan->tasks[i].operation].id, "(prune)") &&
                    plan->tasks[i].verb == PLAN_DELETE) {
                        paint(&out, cli->color_err, RED, "- ");
                        buf_printf(&out, "%s: is no longer defined\n", plan->tasks[i].resource);
                }
        if (out.n)
                fprintf(stderr, "Changes to what is there:\n%s\n", buf_str(&out));
}

/* Submitting */

int new_run_id(const struct cli *cli, char ret_id[UID_TEXT])
{
        struct uid id;

        if (uid_ulid(clock_wall_ms(), &id) < 0) {
                complain(cli, "the kernel gives no random numbers");
                return EXIT_UNUSABLE;
        }
        uid_text(&id, ret_id);
        return 0;
}

void put_who(struct buf *b)
{
        const struct passwd *pw = getpwuid(getuid());
        char host[256] = "";

        gethostname(host, sizeof(host) - 1);
        BUF_LIT(b, "{\"user\":");
        buf_json(b, pw ? pw->pw_name : "?");
        BUF_LIT(b, ",\"host\":");
        buf_json(b, host);
        BUF_LIT(b, "}");
}

/* "a,b" -> ,"only":["a","b"] */
static void put_list(struct buf *b, const char *member, const char *list)
{
        bool first = true;

        buf_printf(b, ",\"%s\":[", member);
        for (const char *p = list; *p;) {
                size_t n = strcspn(p, ", ");

                if (n) {
                        buf_puts(b, first ? "" : ",");
                        buf_json_n(b, p, n);
                        first = false;
                }
                p += n + (p[n] != 0);
        }
        BUF_LIT(b, "]");
}

void put_source(struct buf *b, const struct cli *cli, const struct source *s)
{
        BUF_LIT(b, "\"folder\":");
        buf_json(b, s->folder);
        BUF_LIT(b, ",\"file\":");
        buf_json(b, s->path);
        BUF_LIT(b, ",\"who\":");
        put_who(b);
        if (option_value(cli, "only"))
                put_list(b, "only", option_value(cli, "only"));
        if (option_value(cli, "replace"))
                put_list(b, "replace", option_value(cli, "replace"));
        if (option_given(cli, "prune"))
                BUF_LIT(b, ",\"prune\":true");
        BUF_LIT(b, ",\"definition\":");
        definition_canonical(s->definition, b);
}

/* The engine knows the document without its lines; we have them. */
static void place_problems(struct problems *problems, const struct source *source)
{
        for (size_t i = 0; source && i < problems->n; i++) {
                struct problem *p = &problems->list[i];
                struct position at;

                if (p->file && !streq(p->file, "request"))
                        continue;
                at = document_position(source->document,
                                       document_at(source->document, source->top, p->path));
                free(p->file);
                p->file = at.file ? strdup(at.file) : NULL;
                p->line = at.line;
                p->column = at.column;
        }
}

int submit_post(struct client *client, const char *path, const struct buf *body,
                const struct source *source, json_t **ret_answer)
{
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
        _cleanup_(cleanup_json_decref) json_t *answer = NULL;
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        const json_t *list;
        long status = 0;
        int r;

        r = client_request(client, path, body->data, body->n, &status, &text);
        if (r)
                return r;
        if (json_parse(text.data, text.n, &answer, NULL) < 0) {
                complain(client->cli, "the engine's answer is no JSON (status %ld)", status);
                return EXIT_UNUSABLE;
        }
        if (status == 202 || status == 200) {
                *ret_answer = steal(&answer);
                return 0;
        }
        list = json_object_get(json_object_get(answer, "error"), "problems");
        if (json_array_size(list) > 0 && problems_from_json(&problems, list) == 0) {
                place_problems(&problems, source);
                return print_problems(client->cli, &problems);
        }
        complain(client->cli, "%s", client_message(answer));
        return status >= 500   ? EXIT_UNUSABLE
               : status == 409 ? EXIT_RUN_FAILED
                               : EXIT_DEFINITION;
}

static void print_notices(const struct cli *cli, const json_t *answer)
{
        json_t *notice;
        size_t i;

        json_array_foreach (json_object_get(answer, "notices"), i, notice) {
                struct buf line = BUF_NULL;

                paint(&line, cli->color_err, YELLOW, "note:");
                fprintf(stderr, "%s %s\n", buf_str(&line), json_string_value(notice));
                buf_deinit(&line);
        }
}

int after_submit(struct client *client, const char *id, const json_t *answer, bool follow,
                 unsigned flags)
{
        const struct cli *cli = client->cli;

        print_notices(cli, answer);
        if (follow)
                return follow_run(client, id, flags, 0);
        if (cli->format != FORMAT_TABLE) {
                print_document(cli, answer);
                return 0;
        }
        printf("%s\n", id);
        fflush(stdout);
        fprintf(stderr, "accepted; follow it with: prvng batch attach %s\n", id);
        return 0;
}
