/* SPDX-License-Identifier: Apache-2.0 */
/* prvng batch pause */
#include "command.h"

int batch_pause(struct cli *cli)
{
        return run_command(cli, &(struct run_command){
                .word = "pause",
                .said = "is paused: nothing more starts, what runs comes to its end",
                .already = "is paused already",
        });
}
