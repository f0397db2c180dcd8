/* SPDX-License-Identifier: Apache-2.0 */
/* What api.c and api-commands.c share. Internal to core/run. */
#ifndef PRVNG_RUN_API_H
#define PRVNG_RUN_API_H

#include "base/problem.h"
#include "run/process.h"

/* Answers with an error: {"error": {"message", "problems"?}}. */
void api_problems(struct request *q, int status, const char *message,
                  const struct problems *problems);

/* POST /workflows/{id}/COMMAND: `run` is what follows "/workflows/", `command` its rest from the slash
 * on. */
void api_command(struct engine_process *p, struct request *q, const char *run, const char *command);

#endif
