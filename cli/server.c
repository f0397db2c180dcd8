/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng server list, exec, shell, logs. How a server is reached stands in its outputs ("reach",
 * prvng/host/remote.h): no provider is known here.
 */
#include "base/problem.h"
#include "look.h"
#include "output.h"

#include <unistd.h>

static const char *name_of(const struct resource *r)
{
        return startswith(r->key, "server.");
}

static json_t *outputs_of(const struct resource *r)
{
        json_t *outputs = NULL;

        if (!r->outputs || json_parse(r->outputs, strlen(r->outputs), &outputs, NULL) < 0)
                return json_object();
        return outputs;
}

static json_t *describe(const struct resource *r)
{
        json_t *outputs = outputs_of(r);
        json_t *addresses = json_object_get(outputs, "addresses");
        const char *state = json_get_string(outputs, "state", r->workflow ? "made" : "being made");
        json_t *o = json_pack("{s:s, s:s?, s:s?, s:s, s:O?, s:O?}", "name", name_of(r), "workflow",
                              r->workflow ?: r->claim_workflow, "plugin", r->plugin, "state",
                              state, "addresses", addresses, "reach",
                              json_object_get(outputs, "reach"));

        json_decref(outputs);
        return o;
}

static void put_row(struct table *t, const json_t *server)
{
        struct buf addresses = BUF_NULL;
        json_t *address;
        size_t i;

        json_array_foreach (json_object_get(server, "addresses"), i, address)
                buf_printf(&addresses, "%s%s", i ? ", " : "", json_string_value(address) ?: "?");
        table_cell(t, BOLD, "%s", json_get_string(server, "name", ""));
        table_cell(t, status_paint(json_get_string(server, "state", "")), "%s",
                   json_get_string(server, "state", ""));
        table_cell(t, PLAIN, "%s", addresses.n ? buf_str(&addresses) : "-");
        table_cell(t, PLAIN, "%s", json_get_string(server, "plugin", ""));
        table_cell(t, PLAIN, "%s", json_get_string(server, "workflow", ""));
        buf_deinit(&addresses);
}

int server_list(struct cli *cli)
{
        static const char *const heads[] = {"SERVER", "STATE", "ADDRESSES", "PLUGIN", "WORKFLOW"};
        _cleanup_(cleanup_look) struct look look = {0};
        _cleanup_(cleanup_json_decref) json_t *doc = NULL;
        const struct resource **list = NULL;
        json_t *servers = json_array(), *server;
        struct table t;
        size_t n = 0, i;
        int r;

        doc = json_pack("{s:o}", "servers", servers);
        r = look_open(&look, cli, "");
        if (r)
                return r;
        if (inventory_sorted(&look.site->inventory, &list, &n) < 0)
                return EXIT_UNUSABLE;
        for (i = 0; i < n; i++)
                if (name_of(list[i]))
                        json_array_append_new(servers, describe(list[i]));
        free(list);
        if (cli->format != FORMAT_TABLE) {
                print_document(cli, doc);
                return 0;
        }
        if (json_array_size(servers) == 0) {
                puts("There are no servers.");
                return 0;
        }
        table_init(&t, cli, N_ELEMENTS(heads), heads);
        json_array_foreach (servers, i, server)
                put_row(&t, server);
        table_print(&t);
        return 0;
}

/* Reaching one */

static int complain_unknown(const struct look *look, const char *name)
{
        const char *names[512], *hint;
        size_t n = 0;

        strmap_foreach (e, &look->site->inventory.by_key)
                if (startswith(e->key, "server.") && n < N_ELEMENTS(names))
                        names[n++] = e->key + strlen("server.");
        hint = did_you_mean(name, names, n);
        complain(look->cli, "there is no server %s%s%s; prvng server list shows all", name,
                 hint ? ", did you mean " : "", hint ? hint : "");
        return EXIT_RUN_FAILED;
}

static int outputs_by_name(const struct cli *cli, const char *name, json_t **ret_outputs)
{
        _cleanup_(cleanup_look) struct look look = {0};
        char key[512];
        const struct resource *server;
        int r = look_open(&look, cli, "");

        if (r)
                return r;
        snprintf(key, sizeof(key), "server.%s", startswith(name, "server.") ?: name);
        server = inventory_get(&look.site->inventory, key);
        if (!server)
                return complain_unknown(&look, name);
        if (!server->workflow) {
                complain(cli, "the server %s is being made; try again in a moment", name);
                return EXIT_RUN_FAILED;
        }
        *ret_outputs = outputs_of(server);
        return 0;
}

/* Becomes the command in the server. Returns only if that was not possible. */
static int become(const struct cli *cli, const char *name, const char *const *command, int n_command)
{
        json_t *outputs = NULL, *reach, *argv;
        const char **all;
        size_t n;
        int r = outputs_by_name(cli, name, &outputs);

        if (r)
                return r;
        reach = json_object_get(outputs, "reach");
        argv = json_object_get(reach, "argv");
        n = json_array_size(argv);
        if (!streq(json_get_string(reach, "method", ""), "exec") || n == 0) {
                complain(cli, "the server %s is reached by \"%s\", which this release cannot do",
                         name, json_get_string(reach, "method", "nothing"));
                return EXIT_UNUSABLE;
        }
        all = calloc(n + (size_t)n_command + 1, sizeof(*all));
        if (!all)
                return EXIT_UNUSABLE;
        for (size_t i = 0; i < n; i++)
                all[i] = json_string_value(json_array_get(argv, i)) ?: "";
        for (int i = 0; i < n_command; i++)
                all[n + (size_t)i] = command[i];
        fflush(stdout);
        execvp(all[0], (char *const *)(uintptr_t)all);
        complain(cli, "cannot start %s: %s", all[0], strerror(errno));
        return 255;
}

int server_exec(struct cli *cli)
{
        return become(cli, cli->args[0], (const char *const *)(uintptr_t)(cli->args + 1),
                      cli->n_args - 1);
}

int server_shell(struct cli *cli)
{
        /* The server has its own idea of everything but the terminal. */
        static const char script[] =
                "export TERM=\"$0\"; cd ~ 2>/dev/null || cd /; "
                "if command -v bash >/dev/null; then exec bash -l; else exec sh -l; fi";
        const char *term = getenv("TERM") ?: "dumb";
        const char *const command[] = {"/bin/sh", "-c", script, term};

        if (!isatty(STDIN_FILENO)) {
                const char *const plain[] = {"/bin/sh", "-s"};

                return become(cli, cli->args[0], plain, 2);
        }
        return become(cli, cli->args[0], command, 4);
}

static int console(const struct cli *cli)
{
        _cleanup_(cleanup_json_decref) json_t *outputs = NULL;
        const char *path;
        char chunk[65536];
        size_t n;
        FILE *f;
        int r = outputs_by_name(cli, cli->args[0], &outputs);

        if (r)
                return r;
        path = json_get_string(outputs, "console", NULL);
        f = path ? fopen(path, "re") : NULL;
        if (!f) {
                complain(cli, path ? "the console %s cannot be read" : "the provider keeps no console%s",
                         path ? path : "");
                return EXIT_RUN_FAILED;
        }
        while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
                fwrite(chunk, 1, n, stdout);
        fclose(f);
        return 0;
}

int server_logs(struct cli *cli)
{
        const char *lines = option_value(cli, "lines") ?: "200";
        const char *command[] = {"journalctl", "--no-pager", "-n", lines, NULL};
        int n = 4;

        if (option_given(cli, "console"))
                return console(cli);
        if (lines[strspn(lines, "0123456789")] || !*lines) {
                complain(cli, "--lines %s: it must be a number", lines);
                return EXIT_USAGE;
        }
        if (option_given(cli, "follow"))
                command[n++] = "-f";
        return become(cli, cli->args[0], command, n);
}
