/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <time.h>

static int64_t now_ms(clockid_t clock)
{
        struct timespec ts;

        clock_gettime(clock, &ts);
        return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t clock_boot_ms(void)
{
        return now_ms(CLOCK_BOOTTIME);
}

int64_t clock_tick_us(void)
{
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_wall_ms(void)
{
        return now_ms(CLOCK_REALTIME);
}

void clock_text(int64_t wall_ms, char ret_text[CLOCK_TEXT])
{
        time_t s = (time_t)(wall_ms / 1000);
        struct tm tm;
        size_t n;

        gmtime_r(&s, &tm);
        n = strftime(ret_text, CLOCK_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
        snprintf(ret_text + n, CLOCK_TEXT - n, ".%03dZ", (int)(wall_ms % 1000) % 1000);
}
