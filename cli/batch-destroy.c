/* SPDX-License-Identifier: Apache-2.0 */
/* prvng batch destroy, check: plans that the engine makes from the inventory. */
#include "base/problem.h"
#include "follow.h"
#include "submit.h"

static int post_name(struct cli *cli, const struct config *config, const char *path, bool follow)
{
        _cleanup_(cleanup_client) struct client client = {.folder = -1};
        _cleanup_(cleanup_json_decref) json_t *answer = NULL;
        _cleanup_(cleanup_buf) struct buf body = BUF_NULL;
        char id[UID_TEXT];
        int r;

        r = client_init(&client, cli, config);
        r = r ?: new_run_id(cli, id);
        if (r)
                return r;
        BUF_LIT(&body, "{\"id\":");
        buf_json(&body, id);
        BUF_LIT(&body, ",\"name\":");
        buf_json(&body, cli->args[0]);
        BUF_LIT(&body, ",\"who\":");
        put_who(&body);
        BUF_LIT(&body, "}");
        r = submit_post(&client, path, &body, NULL, &answer);
        return r ?: after_submit(&client, id, answer, follow, 0);
}

/* Names that own something, for "did you mean". */
static bool owns_something(const struct look *l, const char *name, const char **ret_hint)
{
        const char *names[256];
        size_t n = 0;

        strmap_foreach (e, &l->site->inventory.by_key) {
                const struct resource *r = e->value.pointer;

                if (!r->workflow)
                        continue;
                if (streq(r->workflow, name))
                        return true;
                if (n < N_ELEMENTS(names))
                        names[n++] = r->workflow;
        }
        *ret_hint = did_you_mean(name, names, n);
        return false;
}

static int dry_run(struct cli *cli, struct look *look)
{
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
        _cleanup_(cleanup_plan) struct plan *plan = NULL;
        struct plan_request request = {.config = look->context.config, .plugins = look->context.plugins,
                                       .inventory = &look->site->inventory, .runs = look->site,
                                       .site = look->site->id_text};
        int r = plan_destroy(&request, cli->args[0], &problems, &plan);

        if (problems.n) {
                problems_print(&problems, stderr);
                return EXIT_DEFINITION;
        }
        if (r < 0) {
                complain(cli, "no plan could be made: %s", strerror(-r));
                return EXIT_UNUSABLE;
        }
        print_plan(cli, plan);
        return 0;
}

int batch_destroy(struct cli *cli)
{
        _cleanup_(cleanup_look) struct look look = {0};
        bool only_show = option_given(cli, "dry-run");
        const char *hint;
        int r;

        r = look_open(&look, cli, only_show ? "provider taskserv" : "");
        if (r)
                return r;
        if (!owns_something(&look, cli->args[0], &hint)) {
                complain(cli, "no workflow named %s owns anything here%s%s", cli->args[0],
                         hint ? "; did you mean " : "", hint ? hint : "");
                return EXIT_RUN_FAILED;
        }
        if (only_show)
                return dry_run(cli, &look);
        return post_name(cli, look.context.config, "/workflows/destroy",
                         option_given(cli, "watch"));
}

int batch_check(struct cli *cli)
{
        _cleanup_(cleanup_look) struct look look = {0};
        const char *hint;
        int r;

        r = look_open(&look, cli, "");
        if (r)
                return r;
        if (!owns_something(&look, cli->args[0], &hint)) {
                complain(cli, "no workflow named %s owns anything here%s%s", cli->args[0],
                         hint ? "; did you mean " : "", hint ? hint : "");
                return EXIT_RUN_FAILED;
        }
        return post_name(cli, look.context.config, "/workflows/check", true);
}
