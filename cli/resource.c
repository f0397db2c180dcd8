/* SPDX-License-Identifier: Apache-2.0 */
/* prvng resource list, show */
#include "look.h"
#include "output.h"

#include "base/problem.h"

#include <time.h>

static void put_table(const struct cli *cli, const struct look *look)
{
        static const char *const heads[] = {"RESOURCE", "WORKFLOW", "PLUGIN", "CHANGED"};
        const struct resource **list = NULL;
        char text[32];
        struct table t;
        size_t n = 0;

        if (inventory_sorted(&look->site->inventory, &list, &n) < 0)
                return;
        table_init(&t, cli, N_ELEMENTS(heads), heads);
        for (size_t i = 0; i < n; i++) {
                const struct resource *r = list[i];
                time_t s = (time_t)(r->changed_ms / 1000);
                struct tm tm;

                table_cell(&t, BOLD, "%s", r->key);
                if (r->workflow)
                        table_cell(&t, PLAIN, "%s", r->workflow);
                else
                        table_cell(&t, DIM, "claimed by %s", r->claim_workflow ?: "a run");
                table_cell(&t, PLAIN, "%s", r->plugin ?: "");
                localtime_r(&s, &tm);
                strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
                table_cell(&t, PLAIN, "%s", r->changed_ms ? text : "-");
        }
        if (n == 0)
                puts("The inventory is empty.");
        table_print(&t);
        free(list);
}

int resource_list(struct cli *cli)
{
        _cleanup_(cleanup_look) struct look look = {0};
        _cleanup_(cleanup_json_decref) json_t *doc = NULL;
        int r = look_open(&look, cli, "");

        if (r)
                return r;
        if (cli->format == FORMAT_TABLE) {
                put_table(cli, &look);
                return 0;
        }
        r = look_document(&look, "/resources", &doc);
        if (r == 0)
                print_document(cli, doc);
        return r;
}

/* "web-0" for "server.web-0", if only one resource is called so. */
static const char *find_key(const struct look *look, const char *name)
{
        const char *found = NULL;

        if (inventory_get(&look->site->inventory, name))
                return name;
        strmap_foreach (e, &look->site->inventory.by_key) {
                const char *dot = strchr(e->key, '.');

                if (!dot || !streq(dot + 1, name))
                        continue;
                if (found)
                        return NULL;
                found = e->key;
        }
        return found;
}

static const char *similar(const struct look *look, const char *name)
{
        const char *names[512];
        size_t n = 0;

        strmap_foreach (e, &look->site->inventory.by_key)
                if (n < N_ELEMENTS(names))
                        names[n++] = e->key;
        return did_you_mean(name, names, n);
}

int resource_show(struct cli *cli)
{
        _cleanup_(cleanup_look) struct look look = {0};
        _cleanup_(cleanup_json_decref) json_t *doc = NULL;
        _cleanup_(cleanup_buf) struct buf path = BUF_NULL;
        const char *key, *hint;
        int r;

        r = look_open(&look, cli, "");
        if (r)
                return r;
        key = find_key(&look, cli->args[0]);
        if (!key) {
                hint = similar(&look, cli->args[0]);
                complain(cli, "there is no resource %s%s%s", cli->args[0],
                         hint ? "; did you mean " : "", hint ? hint : "");
                return EXIT_RUN_FAILED;
        }
        buf_printf(&path, "/resources/%s", key);
        r = look_document(&look, buf_str(&path), &doc);
        if (r)
                return r;
        /* A resource is a tree: for people YAML reads best. */
        if (cli->format == FORMAT_TABLE)
                yaml_print(doc, stdout, false);
        else
                print_document(cli, doc);
        return 0;
}
