/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Engine and HTTP API together: what prvngd runs as a process, and `prvng batch submit --foreground`
 * inside the command.
 */
#ifndef PRVNG_DAEMON_DAEMON_H
#define PRVNG_DAEMON_DAEMON_H

#include "run/engine-process.h"

struct daemon;

/* Takes the site's store and listens. 0, or exit code 7 with *ret_message (caller frees). From here on
 * clients may connect; they are answered when daemon_run runs. */
int daemon_new(const struct context *c, struct daemon **ret_daemon, char **ret_message);

/* Blocks until stopped, or idle for idle_s seconds (0: for ever). 0, or 7 with *ret_message. */
int daemon_run(struct daemon *d, uint32_t idle_s, char **ret_message);

void daemon_stop(struct daemon *d); /* [any] */

/* [any] Ends it once no plugin has a call any more; none is begun until then. */
void daemon_drain(struct daemon *d);

/* NULL; or `d` if a plugin's call did not come back: then the context must not be closed either, and the
 * process should _exit(). */
struct daemon *daemon_free(struct daemon *d);

#endif
