/* SPDX-License-Identifier: Apache-2.0 */
/* May this file's code run in our process? Inside core/plugin only. */
#ifndef PRVNG_PLUGIN_TRUST_H
#define PRVNG_PLUGIN_TRUST_H

#include "base/util.h"

/*
 * Checks that nobody but root and the user could have put the file there or can replace it: each
 * component of the path, symbolic links and what they point to included, belongs to one of the two
 * and is writable by nobody else, except that a sticky folder (/tmp) may be. Returns 0 with the
 * path without links (caller frees); or 0 with *ret_path NULL and a sentence that says which
 * component and what to do (caller frees); -errno if memory is short.
 */
int trust_check(const char *path, char **ret_path, char **ret_reason);

#define TRUST_DIGEST 65 /* SHA-256 in hex with the NUL */

int trust_digest(int fd, char ret_hex[TRUST_DIGEST]);

#endif
