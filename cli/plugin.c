/* SPDX-License-Identifier: Apache-2.0 */
/* prvng plugin list, info */
#include "base/clock.h"
#include "base/problem.h"
#include "client.h"
#include "output.h"
#include "plugin/border.h"
#include "plugin/describe.h"
#include "run/site.h"

#define SELF_TEST_MS 30000

/* What the running engine knows of its plugins, as GET /plugins answers; NULL: none runs, or an older one. */
static json_t *ask_engine(const struct cli *cli, const struct config *config)
{
        _cleanup_(cleanup_client) struct client client;
        _cleanup_(cleanup_buf) struct buf answer = BUF_NULL;
        json_t *doc = NULL;
        long status = 0;

        if (client_init(&client, cli, config))
                return NULL;
        client.may_start = false;
        if (!client_answers(&client) || client_request(&client, "/plugins", NULL, 0, &status, &answer) ||
            status != 200 || json_parse(answer.data, answer.n, &doc, NULL) < 0)
                return NULL;
        return doc;
}

/* The engine has read the configuration at another time: only of a plugin that is the same file is what it says
 * taken. */
static void add_engine(json_t *o, const json_t *engine)
{
        static const char *const members[] = {"state", "reason", "process"};
        const char *digest = json_get_string(o, "sha256", NULL);
        const json_t *e;
        size_t i;

        if (!digest || !streq(json_get_string(o, "state", ""), "isolated"))
                return;
        json_array_foreach (json_object_get(engine, "plugins"), i, e) {
                if (!streq(json_get_string(e, "name", ""), json_get_string(o, "name", "")) ||
                    !streq(json_get_string(e, "sha256", ""), digest) ||
                    !streq(json_get_string(e, "isolation", ""), "process"))
                        continue;
                for (size_t k = 0; k < N_ELEMENTS(members); k++)
                        if (json_object_get(e, members[k]))
                                json_object_set(o, members[k], json_object_get(e, members[k]));
        }
}

static json_t *describe_all(const struct cli *cli, const struct context *c)
{
        _cleanup_(cleanup_json_decref) json_t *engine = NULL;
        json_t *list = json_array();

        for (size_t i = 0; i < c->plugins->n && !engine; i++)
                if (streq(plugin_state_text(&c->plugins->list[i]), "isolated")) {
                        engine = ask_engine(cli, c->config);
                        break;
                }
        for (size_t i = 0; i < c->plugins->n; i++) {
                struct plugin *p = &c->plugins->list[i];
                json_t *o;

                /* Whole files are read for those who want to know, and to tell whether it is the engine's. */
                if (cli->format != FORMAT_TABLE || (engine && streq(plugin_state_text(p), "isolated")))
                        plugin_digest(p);
                o = plugin_describe(p);
                if (o)
                        add_engine(o, engine);
                json_array_append_new(list, o);
        }
        return list;
}

static enum paint state_paint(const char *state)
{
        return streq(state, "enabled") || streq(state, "isolated") ? GREEN : streq(state, "disabled") ? DIM : RED;
}

static void put_table(const struct cli *cli, const json_t *list)
{
        static const char *const heads[] = {"KIND", "NAME", "VERSION", "STATE", ""};
        struct table t;
        const json_t *o;
        size_t i;

        table_init(&t, cli, N_ELEMENTS(heads), heads);
        json_array_foreach (list, i, o) {
                const char *kind = json_get_string(o, "kind", ""), *version = json_get_string(o, "version", "");
                const char *state = json_get_string(o, "state", ""), *reason = json_get_string(o, "reason", "");

                table_cell(&t, PLAIN, "%s", *kind ? kind : "-");
                table_cell(&t, BOLD, "%s", json_get_string(o, "name", ""));
                table_cell(&t, PLAIN, "%s", *version ? version : "-");
                table_cell(&t, state_paint(state), "%s", state);
                table_cell(&t, streq(state, "refused") || streq(state, "quarantined") ? RED : DIM, "%s", reason);
        }
        table_print(&t);
        if (json_array_size(list) == 0)
                puts("The configuration enables no plugin; prvng config check shows what was read.");
}

int plugin_list(struct cli *cli)
{
        _cleanup_(cleanup_json_decref) json_t *doc = NULL;
        struct context c;
        int r = context_open(cli->config, "", &c);

        if (r)
                return r;
        doc = json_pack("{s:o}", "plugins", describe_all(cli, &c));
        if (cli->format == FORMAT_TABLE)
                put_table(cli, json_object_get(doc, "plugins"));
        else
                print_document(cli, doc);
        context_close(&c);
        return 0;
}

static const char *threads_name(uint32_t threads)
{
        return threads == PRVNG_THREADS_PARALLEL         ? "parallel"
               : threads == PRVNG_THREADS_SERIAL_PROCESS ? "serial per process"
                                                         : "serial per instance";
}

static void put_info(json_t *o, const struct plugin *p)
{
        const struct prvng_plugin *d = &p->descriptor;

        if (p->note)
                json_object_set(o, "note", p->note);
        if (d->struct_size == 0)
                return;
        json_object_set_new(o, "description", json_string(d->description ?: ""));
        json_object_set_new(o, "licence", json_string(d->licence ?: ""));
        json_object_set_new(o, "threads", json_string(threads_name(d->threads)));
        json_object_set_new(o, "settle_ms", json_integer(d->settle_ms));
        if (p->dependencies)
                json_object_set(o, "dependencies", p->dependencies);
        if (p->describe)
                json_object_set(o, "describe", p->describe);
        if (p->secret.struct_size)
                json_object_set_new(o, "references", json_sprintf("secret://%s/PATH#KEY", p->name));
        if (p->loader.struct_size && p->loader.extensions)
                json_object_set_new(o, "extensions", json_string(p->loader.extensions));
}

/* What the plugin says of this machine, if it can tell: {"checks": [{"name", "ok", "message", "cure"}]}. */
static void put_self_test(json_t *o, struct plugin *p)
{
        struct op_reply reply = OP_REPLY_NULL;
        struct op_call call;
        json_t *report = NULL;

        if (p->state != PLUGIN_READY || !p->instance || !p->descriptor.self_test)
                return;
        op_call_init(&call, p, "", 1, clock_boot_ms() + SELF_TEST_MS, 0, "", "");
        op_self_test(&call, &reply);
        if (reply.answer == PRVNG_DONE &&
            json_parse(reply.result.data, reply.result.n, &report, NULL) == 0)
                json_object_set_new(o, "self_test", report);
        else
                json_object_set_new(o, "self_test",
                                    json_string(reply.message ? reply.message : "it failed"));
        op_call_deinit(&call);
        op_reply_deinit(&reply);
}

static struct plugin *find(const struct plugins *plugins, const char *name)
{
        for (size_t i = 0; i < plugins->n; i++)
                if (streq(plugins->list[i].name, name) ||
                    (plugins->list[i].id && streq(plugins->list[i].id, name)))
                        return &plugins->list[i];
        return NULL;
}

static int unknown(const struct cli *cli, const struct plugins *plugins)
{
        const char *names[256], *hint;
        size_t n = 0;

        for (size_t i = 0; i < plugins->n && n < N_ELEMENTS(names); i++)
                names[n++] = plugins->list[i].name;
        hint = did_you_mean(cli->args[0], names, n);
        complain(cli, "there is no plugin %s%s%s; prvng plugin list shows all", cli->args[0],
                 hint ? ", did you mean " : "", hint ? hint : "");
        return EXIT_RUN_FAILED;
}

int plugin_info(struct cli *cli)
{
        _cleanup_(cleanup_json_decref) json_t *engine = NULL;
        struct plugin *p;
        struct context c;
        char kind[32];
        json_t *o;
        int r = context_open(cli->config, "", &c);

        if (r)
                return r;
        p = find(c.plugins, cli->args[0]);
        if (!p) {
                r = unknown(cli, c.plugins);
                context_close(&c);
                return r;
        }
        /* What it says of itself is known only to an instance; this one kind is loaded for that. */
        snprintf(kind, sizeof(kind), "%s", p->kind ?: "");
        if (p->state == PLUGIN_READY && *kind) {
                context_close(&c);
                r = context_open(cli->config, kind, &c);
                if (r)
                        return r;
                p = find(c.plugins, cli->args[0]);
        }
        plugin_digest(p);
        o = plugin_describe(p);
        engine = ask_engine(cli, c.config);
        add_engine(o, engine);
        put_info(o, p);
        put_self_test(o, p);
        if (cli->format == FORMAT_TABLE)
                yaml_print(o, stdout, false);
        else
                print_document(cli, o);
        json_decref(o);
        r = p->state == PLUGIN_REFUSED ? EXIT_RUN_FAILED : 0;
        context_close(&c);
        return r;
}
