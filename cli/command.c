/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

#include "follow.h"
#include "submit.h"

/* The exit code of a refusal: what was asked for is wrong, or not possible now. */
static int refused(const struct cli *cli, long status, const json_t *answer)
{
        complain(cli, "%s", client_message(answer));
        return status >= 500   ? EXIT_UNUSABLE
               : status == 422 ? EXIT_USAGE
                               : EXIT_RUN_FAILED;
}

static int post(struct client *client, const struct run *run, const struct run_command *c,
                json_t **ret_answer)
{
        _cleanup_(cleanup_buf) struct buf body = BUF_NULL, text = BUF_NULL;
        _cleanup_(cleanup_json_decref) json_t *answer = NULL;
        long status = 0;
        char path[128];
        int r;

        snprintf(path, sizeof(path), "/workflows/%s/%s", run->id_text, c->word);
        buf_printf(&body, "{%s\"who\":", c->members ?: "");
        put_who(&body);
        buf_putc(&body, '}');
        r = client_request(client, path, body.data, body.n, &status, &text);
        if (r)
                return r;
        if (json_parse(text.data, text.n, &answer, NULL) < 0) {
                complain(client->cli, "the engine's answer is no JSON (status %ld)", status);
                return EXIT_UNUSABLE;
        }
        if (status != 202 && status != 200)
                return refused(client->cli, status, answer);
        *ret_answer = steal(&answer);
        return 0;
}

static void say(const struct cli *cli, const struct run *run, const struct run_command *c,
                const json_t *answer)
{
        bool changed = !json_is_false(json_object_get(answer, "changed"));

        if (cli->format != FORMAT_TABLE) {
                if (c->document) {
                        json_object_set(c->document, "status", json_object_get(answer, "status"));
                        json_object_update_missing(c->document, (json_t *)(uintptr_t)answer);
                }
                print_document(cli, c->document ? c->document : answer);
                return;
        }
        printf("%s %s %s\n", run->name, run->id_text, changed ? c->said : c->already);
        fflush(stdout);
        if (c->can_watch)
                fprintf(stderr, "follow it with: prvng batch attach %s\n", run->id_text);
}

struct run *run_command_look(struct look *look)
{
        struct run *run = look_run(look, look->cli->args[0], false);

        if (run && run->compacted) {
                complain(look->cli,
                         "the run %s was compacted: what it did in detail, which this needs, is not kept any "
                         "more; what its workflow owns can be deleted: prvng batch destroy %s",
                         run->id_text, run->name);
                return NULL;
        }
        return run ? look_run(look, look->cli->args[0], true) : NULL;
}

int run_command_on(struct look *look, const struct run *run, const struct run_command *c)
{
        _cleanup_(cleanup_client) struct client client = {.folder = -1};
        _cleanup_(cleanup_json_decref) json_t *answer = NULL;
        const struct cli *cli = look->cli;
        uint64_t seen = run->seq;
        int r;

        r = client_init(&client, cli, look->context.config);
        r = r ?: post(&client, run, c, &answer);
        if (r)
                return r;
        if (c->can_watch && option_given(cli, "watch"))
                return follow_run(&client, run->id_text, 0, seen);
        say(cli, run, c, answer);
        return 0;
}

int run_command(struct cli *cli, const struct run_command *c)
{
        _cleanup_(cleanup_look) struct look look = {0};
        struct run *run;
        int r;

        r = look_open(&look, cli, "");
        if (r)
                return r;
        run = look_run(&look, cli->args[0], c->can_watch && option_given(cli, "watch"));
        return run ? run_command_on(&look, run, c) : EXIT_RUN_FAILED;
}
