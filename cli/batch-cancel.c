/* SPDX-License-Identifier: Apache-2.0 */
/* prvng batch cancel */
#include "command.h"

int batch_cancel(struct cli *cli)
{
        return run_command(cli, &(struct run_command){
                .word = "cancel",
                .said = "is cancelled: nothing more starts, what runs comes to its end",
                .already = "is cancelled already",
        });
}
