/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 128-bit identifiers as text of 26 characters (Crockford's base 32, https://github.com/ulid/spec).
 *
 * A ULID (run ids) starts with its time, so that ids sort by age. An op id is random all over, from
 * the kernel's CSPRNG, so that nobody can guess one.
 */
#ifndef PRVNG_BASE_UID_H
#define PRVNG_BASE_UID_H

#include "base/util.h"

#define UID_TEXT 27 /* with the NUL */

struct uid {
        uint8_t bytes[16];
};

void uid_text(const struct uid *u, char ret_text[UID_TEXT]);
bool uid_parse(const char *text, size_t n_text, struct uid *ret_uid);
int uid_random(struct uid *ret_uid);                 /* an op id */
int uid_ulid(int64_t wall_ms, struct uid *ret_uid);  /* a run id */

#endif
