/* SPDX-License-Identifier: Apache-2.0 */
/* prvng: the command line. Always a client of the site's engine, or a reader of its journal. */
#include "cli.h"

#include <signal.h>

int main(int argc, char **argv)
{
        struct cli cli;
        int r = 0;

        if (cli_parse(&cli, argc, argv, &r) == 0) {
                signal(SIGPIPE, SIG_DFL);
                json_object_seed(0);
                r = cli.command->run(&cli);
        }
        if (fflush(stdout) != 0 && r == 0)
                r = EXIT_RUN_FAILED;
        cli_deinit(&cli);
        return r;
}
