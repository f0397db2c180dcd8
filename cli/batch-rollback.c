/* SPDX-License-Identifier: Apache-2.0 */
/* prvng batch rollback */
#include "command.h"

#include "undo-plan.h"
#include "undo.h"

/* "checkpoint" is a number; 0 is the start. */
static bool read_checkpoint(const struct cli *cli, uint32_t *ret)
{
        const char *text = option_value(cli, "to");
        char *end = NULL;
        long long value = text ? strtoll(text, &end, 10) : 0;

        if (text && (end == text || *end || value < 0 || value > UINT32_MAX)) {
                complain(cli, "--to %s: it must be the number of a checkpoint, 0 for the start", text);
                return false;
        }
        *ret = (uint32_t)value;
        return true;
}

static int dry_run(const struct look *look, const struct run *run, uint32_t to)
{
        const struct cli *cli = look->cli;
        _cleanup_(cleanup_json_decref) json_t *plan = undo_plan(look->site, run, to);
        struct buf text = BUF_NULL;

        if (!plan) {
                complain(cli, "out of memory");
                return EXIT_UNUSABLE;
        }
        if (cli->format != FORMAT_TABLE) {
                print_document(cli, plan);
                return 0;
        }
        undo_plan_text(plan, cli->color, &text);
        fwrite(buf_str(&text), 1, text.n, stdout);
        buf_deinit(&text);
        return 0;
}

int batch_rollback(struct cli *cli)
{
        _cleanup_(cleanup_look) struct look look = {0};
        _cleanup_(cleanup_buf) struct buf members = BUF_NULL, list = BUF_NULL;
        struct run *run;
        uint32_t to;
        int r;

        if (!read_checkpoint(cli, &to))
                return EXIT_USAGE;
        r = look_open(&look, cli, "");
        if (r)
                return r;
        run = run_command_look(&look);
        if (!run)
                return EXIT_RUN_FAILED;
        if (to > run->n_checkpoints) {
                undo_checkpoints(run, &list);
                complain(cli, "the run %s has no checkpoint %u%s%s", run->id_text, to,
                         list.n ? "; there are:\n" : ": it has none, and --to 0 is its start",
                         buf_str(&list));
                return EXIT_USAGE;
        }
        if (option_given(cli, "dry-run"))
                return dry_run(&look, run, to);
        buf_printf(&members, "\"to\":%u,", to);
        return run_command_on(&look, run, &(struct run_command){
                .word = "rollback",
                .members = buf_str(&members),
                .said = "rolls back",
                .already = "is being rolled back already",
                .can_watch = true,
        });
}
