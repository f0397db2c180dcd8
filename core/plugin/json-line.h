/* SPDX-License-Identifier: Apache-2.0 */
/* Inside core/plugin only. */
#ifndef PRVNG_PLUGIN_JSON_LINE_H
#define PRVNG_PLUGIN_JSON_LINE_H

#include "base/buf.h"

/* True if the bytes are surely one JSON object on one line, without duplicate members and within
 * the limits of jansson; false if they are not, or if only a real parser could tell. One pass, no
 * memory. */
bool json_line_is_object(const char *data, size_t n);

/* Makes one line of one JSON object of what a plugin wrote. Returns 0, or -EBADMSG with the reason.
 */
int json_line_normalise(struct buf *b, char ret_error[200]);

#endif
