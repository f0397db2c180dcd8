/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process that evaluates: Python with Jinja2 inside of prvng-sandbox. Started when it is first
 * needed, asked one thing after the other, killed when it takes too long, started again when it is
 * gone.
 *
 * It ends with the engine, however that ends: the sandbox kills it when the other end of the socket
 * that is its stdin is closed.
 */
#ifndef PRVNG_TEMPLATE_JINJA2_WORKER_H
#define PRVNG_TEMPLATE_JINJA2_WORKER_H

#include <prvng/prvng.h>

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define RESULT_MAX (16 << 20) /* bytes: what the core takes */

struct worker {
        const struct prvng_host *host;
        const char *libexec;  /* the site's folder of helper programs, or NULL */
        const char *python;   /* chosen by the site, or NULL */
        unsigned int seconds; /* an evaluation may take */
        unsigned int memory;  /* MiB */

        pid_t pid; /* of the sandbox; 0: none runs */
        int pidfd;
        int socket;          /* its stdin and stdout */
        int errors;          /* its stderr, a memory file */
        uint64_t number;     /* of the last request */
        char engine[64];     /* "Jinja2 3.1.2", once one said so */
        char used[PATH_MAX]; /* the Python that runs it */
        char warning[512];   /* of the sandbox, or "" */
        char said[2600];     /* the last error's message */

        char *in; /* what was read and is not used yet */
        size_t n_in, cap_in;
};

/* What came back of a question; points into the worker's buffer, valid until the next one. */
struct answer {
        int32_t code;       /* 0, PRVNG_TEMPLATE_* */
        char message[2048]; /* with code */
        const char *result; /* one line of JSON, without its newline */
        size_t n_result;
};

/* Asks: `question` is one line of JSON with an "id" (worker.number + 1), `body` the JSON it is
 * about, newlines allowed between its tokens; each without a newline at the end. PRVNG_DONE with
 * *ret_answer; else a class, and the call's error record is set. Sets worker.number. */
int32_t worker_ask(struct worker *w, struct prvng_call *call, const char *question,
                   const void *body, size_t n_body, struct answer *ret_answer);

/* Makes sure that one runs. A class as above. */
int32_t worker_start(struct worker *w, struct prvng_call *call);

/* Ends it, if there is one, and waits for its end. */
void worker_end(struct worker *w);

/* Sets the call's error record, effect NONE; returns the class. */
int32_t worker_fail(struct worker *w, struct prvng_call *call, int32_t error_class, int32_t code,
                    const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
