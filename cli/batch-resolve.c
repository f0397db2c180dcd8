/* SPDX-License-Identifier: Apache-2.0 */
/* prvng batch resolve */
#include "command.h"

int batch_resolve(struct cli *cli)
{
        _cleanup_(cleanup_buf) struct buf members = BUF_NULL, said = BUF_NULL;
        const char *as = option_value(cli, "as");

        if (!as || (!streq(as, "done") && !streq(as, "not-started"))) {
                complain(cli, "--as %s: say done or not-started", as ?: "is missing");
                return EXIT_USAGE;
        }
        BUF_LIT(&members, "\"task\":");
        buf_json(&members, cli->args[1]);
        BUF_LIT(&members, ",\"as\":");
        buf_json(&members, as);
        buf_putc(&members, ',');
        buf_printf(&said, "goes on with %s", cli->args[1]);
        return run_command(cli, &(struct run_command){
                .word = "resolve",
                .members = buf_str(&members),
                .said = buf_str(&said),
                .already = buf_str(&said),
        });
}
