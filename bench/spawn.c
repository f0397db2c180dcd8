/* SPDX-License-Identifier: Apache-2.0 */
/* The limit for programs that start programs: nothing but that, so many at a time. */
#include "bench.h"

#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

int spawn_bare(unsigned n, unsigned at_once)
{
        static char program[] = "/bin/true";
        char *const argv[] = {program, NULL};
        unsigned started = 0;

        for (unsigned ended = 0; ended < n; ended++) {
                int status;
                pid_t pid;

                for (; started < n && started - ended < at_once; started++)
                        if (posix_spawn(&pid, program, NULL, NULL, argv, environ))
                                bench_fail("%s cannot be run", program);
                if (wait(&status) < 0 || status)
                        bench_fail("%s failed", program);
        }
        return 0;
}
