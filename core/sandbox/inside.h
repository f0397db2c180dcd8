/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the sandbox. Inside core/sandbox only. */
#ifndef PRVNG_SANDBOX_INSIDE_H
#define PRVNG_SANDBOX_INSIDE_H

#include "sandbox/sandbox.h"

/* calls.c: loads the filter of system calls. A sentence to ret_missing where the kernel has no such thing. -errno where
 * the filter cannot even be made. */
int sandbox_hold_calls(const struct sandbox *s, int *ret_listener, struct buf *ret_missing);

/* One more sentence. */
void sandbox_miss(struct buf *missing, const char *format, ...) _printf_(2, 3);

#endif
