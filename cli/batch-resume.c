/* SPDX-License-Identifier: Apache-2.0 */
/* prvng batch resume */
#include "command.h"

int batch_resume(struct cli *cli)
{
        return run_command(cli, &(struct run_command){
                .word = "resume",
                .said = "goes on",
                .already = "is not paused: it goes on anyway",
                .can_watch = true,
        });
}
