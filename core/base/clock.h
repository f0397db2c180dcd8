/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks. Timeouts use the boot-time clock: a jump of the wall clock shortens nothing. */
#ifndef PRVNG_BASE_CLOCK_H
#define PRVNG_BASE_CLOCK_H

#include "base/util.h"

#define CLOCK_TEXT 25 /* "2026-11-22T10:40:00.123Z" with the NUL */

int64_t clock_boot_ms(void);
int64_t clock_wall_ms(void);
int64_t clock_tick_us(void); /* for measuring how long something takes */
void clock_text(int64_t wall_ms, char ret_text[CLOCK_TEXT]); /* RFC 3339, UTC */

#endif
