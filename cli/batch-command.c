/* SPDX-License-Identifier: Apache-2.0 */
/* prvng batch cancel, resolve: commands on a run in flight. */
#include "submit.h"

static int command(struct cli *cli, const char *what, const struct buf *body, json_t **ret_answer)
{
        _cleanup_(cleanup_look) struct look look = {0};
        _cleanup_(cleanup_client) struct client client = {.folder = -1};
        char path[128];
        struct run *run;
        int r;

        r = look_open(&look, cli, "");
        if (r)
                return r;
        run = look_run(&look, cli->args[0], false);
        if (!run)
                return EXIT_RUN_FAILED;
        if (run_status_ended(run->status)) {
                complain(cli, "the run %s has ended: %s", run->id_text,
                         run_status_name(run->status));
                return EXIT_RUN_FAILED;
        }
        snprintf(path, sizeof(path), "/workflows/%s/%s", run->id_text, what);
        r = client_init(&client, cli, look.context.config);
        return r ?: submit_post(&client, path, body, NULL, ret_answer);
}

int batch_cancel(struct cli *cli)
{
        _cleanup_(cleanup_buf) struct buf body = BUF_NULL;
        _cleanup_(cleanup_json_decref) json_t *answer = NULL;
        int r;

        BUF_LIT(&body, "{\"who\":");
        put_who(&body);
        BUF_LIT(&body, "}");
        r = command(cli, "cancel", &body, &answer);
        if (r)
                return r;
        if (cli->format != FORMAT_TABLE)
                print_document(cli, answer);
        else
                printf("%s: nothing more starts; what runs comes to its end\n",
                       json_get_string(answer, "id", cli->args[0]));
        return 0;
}

int batch_resolve(struct cli *cli)
{
        _cleanup_(cleanup_buf) struct buf body = BUF_NULL;
        _cleanup_(cleanup_json_decref) json_t *answer = NULL;
        const char *as = option_value(cli, "as");
        int r;

        if (!as || (!streq(as, "done") && !streq(as, "not-started"))) {
                complain(cli, "--as %s: say done or not-started", as ?: "is missing");
                return EXIT_USAGE;
        }
        BUF_LIT(&body, "{\"task\":");
        buf_json(&body, cli->args[1]);
        BUF_LIT(&body, ",\"as\":");
        buf_json(&body, as);
        BUF_LIT(&body, ",\"who\":");
        put_who(&body);
        BUF_LIT(&body, "}");
        r = command(cli, "resolve", &body, &answer);
        if (r)
                return r;
        if (cli->format != FORMAT_TABLE)
                print_document(cli, answer);
        else
                printf("%s goes on\n", cli->args[1]);
        return 0;
}
