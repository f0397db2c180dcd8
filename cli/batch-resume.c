/* SPDX-License-Identifier: Apache-2.0 */
/* prvng batch resume: also with a changed definition, whose difference is shown first. */
#include "command.h"

#include "replan-text.h"
#include "submit.h"

static const struct run_command resume = {
        .word = "resume",
        .said = "goes on",
        .already = "is not paused: it goes on anyway",
        .can_watch = true,
};

/* Options that say nothing without --definition. */
static bool check_options(const struct cli *cli)
{
        static const char *const options[] = {"dry-run", "yes", "only", "replace", "prune",
                                              "workflow", "env", "define"};

        for (size_t i = 0; i < N_ELEMENTS(options); i++)
                if (option_given(cli, options[i])) {
                        complain(cli, "--%s goes with --definition FILE", options[i]);
                        return false;
                }
        return true;
}

static int post(struct client *client, const struct run *run, const struct source *source, bool dry,
                json_t **ret_answer)
{
        _cleanup_(cleanup_buf) struct buf body = BUF_NULL;
        char path[128];

        snprintf(path, sizeof(path), "/workflows/%s/replan", run->id_text);
        buf_printf(&body, "{\"dry_run\":%s,", dry ? "true" : "false");
        put_source(&body, client->cli, source);
        buf_putc(&body, '}');
        if (buf_error(&body)) {
                complain(client->cli, "out of memory");
                return EXIT_UNUSABLE;
        }
        return submit_post(client, path, &body, source, ret_answer);
}

/* To stdout if that is all that was asked for. Documents are printed at the end, when there is one. */
static void show(const struct cli *cli, const json_t *difference, bool last)
{
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        const json_t *notice;
        size_t i;

        if (cli->format != FORMAT_TABLE && last) {
                print_document(cli, difference);
                return;
        }
        replan_text(difference, last ? cli->color : cli->color_err, &text);
        fwrite(buf_str(&text), 1, text.n, last ? stdout : stderr);
        json_array_foreach (json_object_get(difference, "notices"), i, notice)
                fprintf(stderr, "note: %s\n", json_string_value(notice));
}

/* 0: go on. */
static int ask(const struct cli *cli, const struct run *run, const json_t *difference)
{
        char line[16];

        if (option_given(cli, "yes") || replan_is_empty(difference))
                return 0;
        if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
                complain(cli, "nothing was changed, since there is no terminal to ask on: add --yes to "
                              "change the run so, or --dry-run to see the difference only");
                return EXIT_USAGE;
        }
        fprintf(stderr, "Change run %s so and go on with it? [y/N] ", run->id_text);
        if (fgets(line, sizeof(line), stdin) &&
            (strcasecmp(line, "y\n") == 0 || strcasecmp(line, "yes\n") == 0))
                return 0;
        complain(cli, "nothing was changed: the run stays paused");
        return EXIT_RUN_FAILED;
}

static int go_on(struct look *look, const struct run *run, const struct source *source)
{
        _cleanup_(cleanup_client) struct client client = {.folder = -1};
        _cleanup_(cleanup_json_decref) json_t *difference = NULL, *answer = NULL;
        const struct cli *cli = look->cli;
        bool dry = option_given(cli, "dry-run");
        struct run_command command = resume;
        int r;

        r = client_init(&client, cli, look->context.config);
        r = r ?: post(&client, run, source, true, &difference);
        if (r)
                return r;
        show(cli, difference, dry);
        if (dry)
                return 0;
        r = ask(cli, run, difference);
        r = r ?: post(&client, run, source, false, &answer);
        if (r)
                return r;
        command.document = answer;
        return run_command_on(look, run, &command);
}

int batch_resume(struct cli *cli)
{
        _cleanup_(cleanup_look) struct look look = {0};
        _cleanup_(cleanup_source) struct source source = {0};
        const char *file = option_value(cli, "definition");
        const struct run *run;
        int r;

        if (!file)
                return check_options(cli) ? run_command(cli, &resume) : EXIT_USAGE;
        r = look_open(&look, cli, "loader template");
        if (r)
                return r;
        run = look_run(&look, cli->args[0], false);
        if (!run)
                return EXIT_RUN_FAILED;
        r = source_load(&source, cli, file, &look.context);
        return r ?: go_on(&look, run, &source);
}
