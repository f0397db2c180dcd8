/* SPDX-License-Identifier: Apache-2.0 */
/* Following a run to its end: live tree, plain lines, or records as they are. */
#ifndef PRVNG_CLI_FOLLOW_H
#define PRVNG_CLI_FOLLOW_H

#include "client.h"

#define FOLLOW_FOREGROUND 0x1u /* the engine runs in this process: Ctrl-C stops it */
#define FOLLOW_LINES      0x2u /* lines even on a terminal (batch events) */

/* The exit code of the run; EXIT_DETACHED after Ctrl-C; EXIT_UNUSABLE after a complaint. Where lines or
 * records are printed, only those behind `seen` (number of a record; 0: all). */
int follow_run(struct client *client, const char *run, unsigned flags, uint64_t seen);

/* Follows a text (logs) to the end of the run. */
int follow_text(struct client *client, const char *path);

#endif
