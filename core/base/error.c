/* SPDX-License-Identifier: Apache-2.0 */
#include "base/util.h"

int error_trace(int r, const char *file, int line)
{
        static int on = -1;

        if (on < 0)
                on = getenv("PRVNG_TRACE") != NULL;
        if (on)
                fprintf(stderr, "%s:%d: %s\n", file, line, strerror(-r));
        return r;
}
