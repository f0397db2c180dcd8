/* SPDX-License-Identifier: Apache-2.0 */
/* prvng resource adopt: what a provider has, and nobody made here, becomes a workflow's. */
#include "follow.h"
#include "output.h"
#include "run/ask.h"
#include "submit.h"

/* An engine makes the call itself, with its credentials and under its limits. */
static int find_by_engine(struct client *client, json_t **ret_found)
{
        _cleanup_(cleanup_json_decref) json_t *answer = NULL;
        _cleanup_(cleanup_buf) struct buf body = BUF_NULL, text = BUF_NULL;
        const struct cli *cli = client->cli;
        json_t *question = json_pack("{s:s, s:s, s:s, s:s*}", "provider", cli->args[0], "kind", cli->args[1],
                                     "id", cli->args[2], "as", option_value(cli, "as"));
        long status = 0;
        int r = question ? json_append(&body, question) : -ENOMEM;

        json_decref(question);
        if (r) {
                complain(cli, "out of memory");
                return EXIT_UNUSABLE;
        }
        r = client_request(client, "/resources/find", body.data, body.n, &status, &text);
        if (r)
                return r;
        if (json_parse(text.data, text.n, &answer, NULL) < 0)
                answer = NULL;
        if (status == 200 && answer) {
                *ret_found = steal(&answer);
                return 0;
        }
        complain(cli, "%s", client_message(answer));
        return status == 404 ? EXIT_RUN_FAILED : EXIT_UNUSABLE;
}

/* By the engine if one runs: then *ret_asked. 0, or an exit code. */
static int ask_engine(struct cli *cli, json_t **ret_found, bool *ret_asked)
{
        _cleanup_(cleanup_client) struct client client = {.folder = -1};
        _cleanup_(cleanup_look) struct look look = {0};
        int r = look_open(&look, cli, "");

        r = r ? r : client_init(&client, cli, look.context.config);
        *ret_asked = r == 0 && client_answers(&client);
        return r || !*ret_asked ? r : find_by_engine(&client, ret_found);
}

static int find(struct cli *cli, json_t **ret_found)
{
        _cleanup_(cleanup_free) char *message = NULL;
        struct context providers = {0};
        bool asked;
        int r = ask_engine(cli, ret_found, &asked);

        if (r || asked)
                return r;
        r = context_open(cli->config, "provider", &providers);
        if (r)
                return r;
        r = ask_find(&providers, cli->args[0], cli->args[1], cli->args[2], option_value(cli, "as"),
                     ret_found, &message);
        context_close(&providers);
        if (r)
                complain(cli, "%s", message ? message : "out of memory");
        return r == -ENOENT ? EXIT_RUN_FAILED : r ? EXIT_UNUSABLE : 0;
}

static void show(const struct cli *cli, const json_t *found)
{
        if (cli->format != FORMAT_TABLE)
                return;
        printf("%s, as provider %s has it:\n", json_get_string(found, "key", ""), cli->args[0]);
        yaml_print(json_object_get(found, "spec"), stdout, false);
        fflush(stdout);
}

static int post(struct cli *cli, const json_t *found, json_t **ret_answer)
{
        _cleanup_(cleanup_client) struct client client = {.folder = -1};
        _cleanup_(cleanup_look) struct look look = {0};
        _cleanup_(cleanup_buf) struct buf body = BUF_NULL;
        int r = look_open(&look, cli, "");

        if (r)
                return r;
        json_append(&body, found);
        body.n -= body.n > 0; /* the bracket */
        BUF_LIT(&body, ",\"workflow\":");
        buf_json(&body, option_value(cli, "workflow") ?: "adopted");
        BUF_LIT(&body, ",\"who\":");
        put_who(&body);
        BUF_LIT(&body, "}");
        if (buf_error(&body)) {
                complain(cli, "out of memory");
                return EXIT_UNUSABLE;
        }
        r = client_init(&client, cli, look.context.config);
        return r ?: submit_post(&client, "/resources/adopt", &body, NULL, ret_answer);
}

int resource_adopt(struct cli *cli)
{
        _cleanup_(cleanup_json_decref) json_t *found = NULL, *answer = NULL;
        bool dry = option_given(cli, "dry-run");
        int r = find(cli, &found);

        if (r)
                return r;
        show(cli, found);
        if (!dry)
                r = post(cli, found, &answer);
        if (r)
                return r;
        if (cli->format != FORMAT_TABLE) {
                if (answer)
                        json_object_set(found, "workflow", json_object_get(answer, "workflow"));
                print_document(cli, found);
        } else if (answer) {
                printf("%s belongs to workflow %s now.\n", json_get_string(answer, "key", ""),
                       json_get_string(answer, "workflow", ""));
        }
        return 0;
}
