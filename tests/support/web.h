/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A web server on a loopback port, for tests: what it answers, and how badly, is up to the test. It keeps
 * connections alive, each on a thread of its own, and remembers every request.
 */
#ifndef PRVNG_TESTS_WEB_H
#define PRVNG_TESTS_WEB_H

#include "base/buf.h"

#include <stdint.h>

struct web;

struct web_request {
        const char *method, *target;
        const char *headers; /* as they came, with their line ends */
        const char *body;
        size_t n_body;
        unsigned int number;     /* counts the requests of the server, from 1 */
        unsigned int connection; /* counts its connections, from 1 */
};

enum web_manner {
        WEB_PLAIN,   /* Content-Length and body */
        WEB_CHUNKED, /* in chunks of 1000 bytes */
        WEB_RAW,     /* `body` is all of the answer, head included; then the end */
        WEB_RESET,   /* no answer: the connection is reset, the request having been read */
        WEB_SILENT,  /* no answer, until the server ends */
};

struct web_reply {
        enum web_manner manner;
        int status;          /* default 200 */
        const char *headers; /* "Name: value\r\n"..., or NULL */
        const char *body;    /* NULL: empty */
        size_t n_body;       /* 0: strlen(body) */
        char *free_me;       /* freed after the answer, or NULL */
};

/* On the connection's thread. */
typedef void (*web_f)(void *userdata, const struct web_request *request, struct web_reply *ret);

struct web_options {
        web_f answer;        /* NULL: 200 and nothing */
        void *userdata;
        unsigned int resets; /* that many connections are reset as soon as they stand */
        const char *certificate, *key; /* PEM files: TLS */
        int tls_max;         /* highest version of TLS, as OpenSSL numbers it; 0: any */
};

/* Ends the process if it cannot be. */
struct web *web_new(const struct web_options *options);
struct web *web_free(struct web *w);
int web_port(const struct web *w);
unsigned int web_requests(struct web *w);
unsigned int web_connections(struct web *w);
int web_most_at_once(struct web *w);

/* All requests so far, "METHOD TARGET\n" with the headers behind it and the body; caller frees. */
char *web_log(struct web *w);

/* Waits until so many requests have been read. */
void web_wait(struct web *w, unsigned int requests);

/* Is there "name: value" among the headers? Names in any case. NULL value: any. */
bool web_has(const char *headers, const char *name, const char *value);

#endif
