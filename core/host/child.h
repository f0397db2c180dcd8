/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A child process that ends with the call: started by posix_spawn (never fork: the engine has
 * threads), in a process group of its own, with no file descriptors but 0, 1 and 2, with default
 * signals and a scrubbed environment.
 *
 * stdin is a sealed memory file rather than a pipe: nothing has to be pumped, and a child that does
 * not read its input cannot raise SIGPIPE here.
 */
#ifndef PRVNG_HOST_CHILD_H
#define PRVNG_HOST_CHILD_H

#include "base/buf.h"

#define CHILD_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct child_spec {
        const char *const *argv;        /* ends with NULL; argv[0] is looked up in CHILD_PATH unless
                                         * it holds a slash */
        const char *const *environment; /* ends with NULL; NULL: PATH, LANG=C.UTF-8 and HOME only */
        const char *folder;             /* working folder; NULL: "/" */
        const void *input;              /* for stdin */
        size_t n_input;
        size_t max_output;   /* bytes kept of stdout and of stderr each; the rest is read
                              * and thrown away */
        bool no_output;      /* nobody wants its stdout: /dev/null */
        bool no_errors;      /* the same of stderr */
        int64_t deadline_ms; /* on clock_boot_ms(); INT64_MAX: none */
        int cancel_fd;       /* readable: end the child; -1: none */
};

struct child_result {
        int status;        /* exit code, or 128 + signal */
        int signal;        /* what ended it, 0 if it exited */
        bool cut;          /* output or errors had more than max_output */
        struct buf output; /* stdout */
        struct buf errors; /* stderr */
};

#define CHILD_RESULT_NULL ((struct child_result){0})

enum {
        CHILD_E_NOT_STARTED = 1, /* no such program, or it may not be run; result->status is the
                                  * errno */
        CHILD_E_TIMEOUT,         /* the deadline came and the child was killed */
        CHILD_E_CANCELLED,       /* cancel_fd became readable and the child was killed */
};

/* Runs to the end and fills *result (also with a positive return: what was read until then). Ending
 * a child means SIGTERM to its process group and SIGKILL half a second later; whatever is left of
 * the group when the child has exited is killed too. [any], blocks. */
int child_run(const struct child_spec *spec, struct child_result *result);

void child_result_deinit(struct child_result *r);

static inline void cleanup_child_result(struct child_result *r)
{
        child_result_deinit(r);
}

#endif
