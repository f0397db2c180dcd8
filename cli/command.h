/* SPDX-License-Identifier: Apache-2.0 */
/* Commands on a run: pause, resume, rollback, retry, cancel, resolve. */
#ifndef PRVNG_CLI_COMMAND_H
#define PRVNG_CLI_COMMAND_H

#include "look.h"

struct run_command {
        const char *word;    /* "rollback": POST /workflows/ID/rollback */
        const char *members; /* of the body beside `who`, each with a comma behind; NULL: none */
        const char *said;    /* for people, behind the run's name: "rolls back" */
        const char *already; /* the same where that was so before: "is being rolled back" */
        bool can_watch;      /* it has --watch: then the run is followed to its end */
        json_t *document;    /* of an answer before it, which the status is added to; NULL: none */
};

/* Posts the command for the run of the first argument, in the name of who runs prvng; starts an engine
 * if none runs. Says what became of it, and follows the run if asked to. Exit code. */
int run_command(struct cli *cli, const struct run_command *c);

/* The run of the first argument with all that its stream says, for a command that needs it. NULL after a
 * complaint. */
struct run *run_command_look(struct look *look);

/* The same with the site open already. */
int run_command_on(struct look *look, const struct run *run, const struct run_command *c);

#endif
