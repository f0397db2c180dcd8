/* SPDX-License-Identifier: Apache-2.0 */
/* What a changed definition changes in a paused run, for people. Pure. */
#ifndef PRVNG_CLI_REPLAN_TEXT_H
#define PRVNG_CLI_REPLAN_TEXT_H

#include "base/buf.h"
#include "base/json.h"

/* `answer` is that of POST /workflows/{id}/replan. */
void replan_text(const json_t *answer, bool color, struct buf *out);

/* Does it change nothing? */
bool replan_is_empty(const json_t *answer);

#endif
