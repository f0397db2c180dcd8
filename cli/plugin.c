/* SPDX-License-Identifier: Apache-2.0 */
/* prvng plugin list, info */
#include "base/clock.h"
#include "base/problem.h"
#include "output.h"
#include "plugin/border.h"
#include "run/site.h"

#define SELF_TEST_MS 30000

static const char *state_name(enum plugin_state s)
{
        return s == PLUGIN_READY ? "ready" : s == PLUGIN_DISABLED ? "disabled" : "refused";
}

static json_t *describe(const struct plugin *p)
{
        return json_pack("{s:s?, s:s?, s:s?, s:s?, s:s, s:s?, s:s?, s:s?, s:s?, s:s?, s:s?}", "name", p->name,
                         "kind", p->kind, "id", p->id, "version", p->version, "state",
                         state_name(p->state), "reason", p->reason, "path", p->path, "sha256",
                         p->sha256, "build_id", p->build_id, "signed_by", p->signer, "enabled_by", p->config ? p->config->from : NULL);
}

static void put_table(const struct cli *cli, const struct plugins *plugins)
{
        static const char *const heads[] = {"KIND", "NAME", "VERSION", "STATE", ""};
        struct table t;

        table_init(&t, cli, N_ELEMENTS(heads), heads);
        for (size_t i = 0; i < plugins->n; i++) {
                const struct plugin *p = &plugins->list[i];
                const char *state = state_name(p->state);

                table_cell(&t, PLAIN, "%s", p->kind && *p->kind ? p->kind : "-");
                table_cell(&t, BOLD, "%s", p->name);
                table_cell(&t, PLAIN, "%s", p->version && *p->version ? p->version : "-");
                table_cell(&t, status_paint(state), "%s", state);
                table_cell(&t, p->state == PLUGIN_REFUSED ? RED : DIM, "%s", p->reason ?: "");
        }
        table_print(&t);
        if (plugins->n == 0)
                puts("The configuration enables no plugin; prvng config check shows what was read.");
}

int plugin_list(struct cli *cli)
{
        struct context c;
        json_t *doc, *list;
        int r = context_open(cli->config, "", &c);

        if (r)
                return r;
        if (cli->format == FORMAT_TABLE) {
                put_table(cli, c.plugins);
                context_close(&c);
                return 0;
        }
        list = json_array();
        for (size_t i = 0; i < c.plugins->n; i++) {
                plugin_digest(&c.plugins->list[i]);
                json_array_append_new(list, describe(&c.plugins->list[i]));
        }
        doc = json_pack("{s:o}", "plugins", list);
        print_document(cli, doc);
        json_decref(doc);
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
        o = describe(p);
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
