/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of prvng.host.http/1 share: a host, a server on loopback, a session at it, a call. */
#ifndef PRVNG_HOST_TEST_HOST_HTTP_H
#define PRVNG_HOST_TEST_HOST_HTTP_H

#include "base/clock.h"
#include "host/http.h"
#include "../../tests/support/site.h"
#include "support/web.h"

#include <criterion/criterion.h>
#include <limits.h>

struct fixture {
        struct test_site site;
        struct config *config;
        struct host *host;
        const struct prvng_host *table;
        const struct prvng_host_http *http;
        struct op_reply reply;
        struct op_call call;
        pthread_mutex_t log_lock;
        struct buf log;
        struct web *web;
        struct prvng_http_session *session;
        struct prvng_http_response response;
        struct prvng_sink *headers, *body;
};

#define TEST_OP "01JDABCDEFGHJKMNPQRSTVWXYZ"

/* `answer` NULL: no server. `conf` is text for prvng.conf, with "@SITE@" for the site's folder, or NULL. */
void setup(struct fixture *f, web_f answer, void *userdata, const char *conf);
/* The host anew, with the configuration as it is now; the site and the server stay. */
void restart(struct fixture *f);
void end(struct fixture *f);

struct op_call call_of(struct fixture *f, struct op_reply *reply);
void cancel(struct op_call *call);
void call_deinit(struct op_call *call, struct op_reply *reply);

int32_t open_text(struct fixture *f, const char *options);
/* A session at the fixture's server; `more` are further members, ",..." */
void open_session(struct fixture *f, const char *more);

struct prvng_http_request request_of(const char *method, const char *target, const char *text);
int32_t ask(struct fixture *f, const char *method, const char *target, const char *text);
/* With one header line. */
int32_t ask_with(struct fixture *f, const char *method, const char *target, const char *text,
                 const char *header);
const char *body(struct fixture *f);
const char *headers(struct fixture *f);

#define ENDS(f, class_, effect_)                                                                   \
        do {                                                                                       \
                cr_assert_eq((f)->call.said_class, (class_), "class %d: %s", (f)->call.said_class, \
                             (f)->reply.message);                                                  \
                cr_assert_eq((f)->reply.effect, (effect_), "effect %u: %s", (f)->reply.effect,     \
                             (f)->reply.message);                                                  \
        } while (0)

#define SAYS(f, text)                                                                              \
        cr_assert_not_null(strstr((f)->reply.message, (text)), "%s", (f)->reply.message)

/* Answers with the request: "METHOD TARGET|BODY|number of the connection". */
void echo(void *userdata, const struct web_request *q, struct web_reply *ret);

#endif
