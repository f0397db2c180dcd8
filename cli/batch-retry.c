/* SPDX-License-Identifier: Apache-2.0 */
/* prvng batch retry */
#include "command.h"

#include "base/problem.h"

/* An operation that the run has not: the ones it has are known here. */
static int check_operation(const struct cli *cli, const struct run *run, const char *id)
{
        _cleanup_(cleanup_free) const char **ids = calloc(run->n_operations + (size_t)1, sizeof(*ids));
        const char *hint;

        if (!ids)
                return EXIT_UNUSABLE;
        for (uint32_t i = 0; i < run->n_operations; i++) {
                ids[i] = operation_id(run, &run->operations[i]);
                if (streq(ids[i], id))
                        return 0;
        }
        hint = did_you_mean(id, ids, run->n_operations);
        complain(cli, "the run %s has no operation %s%s%s", run->id_text, id,
                 hint ? "; did you mean " : "", hint ?: "");
        return EXIT_USAGE;
}

int batch_retry(struct cli *cli)
{
        _cleanup_(cleanup_look) struct look look = {0};
        _cleanup_(cleanup_buf) struct buf members = BUF_NULL;
        struct run *run;
        int r;

        r = look_open(&look, cli, "");
        if (r)
                return r;
        run = run_command_look(&look);
        if (!run)
                return EXIT_RUN_FAILED;
        if (cli->n_args > 1) {
                r = check_operation(cli, run, cli->args[1]);
                if (r)
                        return r;
                BUF_LIT(&members, "\"operation\":");
                buf_json(&members, cli->args[1]);
                buf_putc(&members, ',');
        }
        return run_command_on(&look, run, &(struct run_command){
                .word = "retry",
                .members = buf_str(&members),
                .said = "goes on with what did not succeed",
                .already = "goes on already",
                .can_watch = true,
        });
}
