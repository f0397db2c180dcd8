/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to the API and their replies. Nothing is ever sent twice here: see upcloud.h. */
#include "upcloud.h"

#define REPLY_MAX (16u << 20)

static int32_t send_request(struct upcloud *u, struct prvng_call *call, const char *method,
                            const char *target, const json_t *body, struct reply *ret)
{
        static const char *const headers[] = {"Content-Type: application/json", NULL};
        struct prvng_http_session *session = config_session(u, call);
        _cleanup_(cleanup_free) char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
        struct prvng_http_response response = {.struct_size = sizeof(response)};
        struct prvng_http_request request = {.struct_size = sizeof(request),
                                             .method = method,
                                             .target = target,
                                             .headers = body ? headers : NULL,
                                             .body = text,
                                             .n_body = text ? strlen(text) : 0};
        struct prvng_sink *sink;
        const void *data;
        uint64_t n_data;
        int32_t r;

        if (!session)
                return PRVNG_AUTH;
        sink = u->host->sink_new(REPLY_MAX);
        if (!sink || (body && !text)) {
                u->host->sink_free(sink);
                return up_fail(u, call, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, NULL,
                               "upcloud: no memory");
        }
        r = u->http->send(call, session, &request, &response, NULL, sink);
        data = u->host->sink_data(sink, &n_data);
        if (r == PRVNG_DONE)
                *ret = (struct reply){.status = response.status,
                                      .retry_after_ms = response.retry_after_ms,
                                      .body = n_data ? json_loadb(data, (size_t)n_data, 0, NULL)
                                                     : NULL};
        u->host->sink_free(sink);
        return r;
}

int32_t api_change(struct upcloud *u, struct prvng_call *call, const char *method,
                   const char *target, json_t *body, struct reply *ret)
{
        int32_t r;

        watch_busy(u, 1);
        r = send_request(u, call, method, target, body, ret);
        watch_busy(u, -1);
        json_decref(body);
        return r;
}

/* What an error in a mere look means: nothing of the operation's own fate. */
static int32_t look_failed(struct upcloud *u, struct prvng_call *call, int32_t r,
                           const char *target, uint32_t effect)
{
        char text[512];

        if (r == PRVNG_AUTH || r == PRVNG_PERMANENT) /* its record says what is to be set */
                return r;
        snprintf(text, sizeof(text), "upcloud: the API did not answer GET %.300s", target);
        return up_fail_at(u, call,
                          r == PRVNG_CANCELLED && effect == PRVNG_EFFECT_NONE ? r : PRVNG_TRANSIENT,
                          effect, 0, -1, NULL, text);
}

int32_t api_get(struct upcloud *u, struct prvng_call *call, const char *target, uint32_t effect,
                struct reply *ret)
{
        struct reply reply = REPLY_NULL;
        int32_t r = send_request(u, call, "GET", target, NULL, &reply);
        char what[400];

        if (r != PRVNG_DONE)
                return look_failed(u, call, r, target, effect);
        if (reply.status == 404 || (reply.status == 200 && reply.body)) {
                *ret = reply;
                return PRVNG_DONE;
        }
        snprintf(what, sizeof(what), "GET %.300s failed", target);
        if (reply.status == 200) {
                reply.status = 0; /* 200 without JSON: somebody else answers there */
                snprintf(what, sizeof(what), "GET %.300s gave no JSON", target);
        }
        r = api_fail(u, call, &reply, effect, what);
        if (effect == PRVNG_EFFECT_NONE && r == PRVNG_TRANSIENT) /* to look leaves nothing behind */
                r = up_fail_at(u, call, r, effect, reply.status, reply.retry_after_ms, NULL, what);
        json_decref(reply.body);
        return r;
}
