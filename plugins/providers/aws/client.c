/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to the query APIs: a POST of a form, signed by the host; the reply is XML, or says nothing. */
#include "aws.h"

#include <stdarg.h>

#define REPLY_MAX  (32u << 20) /* all images of a region that fit a wide name */
#define TIMEOUT_MS 30000

static const char *const service_names[] = {"EC2", "IAM", "STS"};

const struct xml_node *reply_root(const struct reply *r)
{
        return r->xml ? xml_root(r->xml) : NULL;
}

static void set_message(struct fault *f, const char *text)
{
        size_t n = 0;

        /* of the reply: one line, and not for ever */
        for (; *text && n + 1 < sizeof(f->message); text++)
                f->message[n++] = (unsigned char)*text < ' ' ? ' ' : *text;
        f->message[n] = '\0';
}

/* What a reply that is no success says: EC2 and the other query APIs have shapes of their own. */
static void read_error(struct fault *f, const struct xml_node *root)
{
        static const char *const shapes[] = {"Errors/Error", "Error"};

        for (size_t i = 0; root && i < N_ELEMENTS(shapes); i++) {
                const struct xml_node *error = xml_find(root, shapes[i]);

                if (!error)
                        continue;
                snprintf(f->code, sizeof(f->code), "%s", xml_text(error, "Code"));
                set_message(f, xml_text(error, "Message"));
                return;
        }
}

static int32_t understand(struct prvng_http_response *response, const void *body, uint64_t n_body,
                          enum aws_service service, struct reply *ret)
{
        struct fault *f = &ret->fault;
        const char *why = "";
        int r = xml_parse(body, (size_t)n_body, &ret->xml, &why);

        f->status = response->status;
        f->retry_after_ms = response->retry_after_ms;
        if (r == 0 && response->status >= 200 && response->status < 300)
                return PRVNG_DONE;
        if (r == 0)
                read_error(f, xml_root(ret->xml));
        xml_free(ret->xml);
        ret->xml = NULL;
        fault_classify(f);
        if (r < 0 && response->status >= 200 && response->status < 300) {
                /* It may have been done: who asks finds out. */
                f->error_class = PRVNG_TRANSIENT;
                f->unknown = true;
        }
        if (!*f->message)
                snprintf(f->message, sizeof(f->message), "%s answered %d%s%s", service_names[service],
                         (int)response->status,
                         r < 0 ? " with something that cannot be read: " : " without saying why", r < 0 ? why : "");
        return f->error_class;
}

static int32_t not_answered(struct aws *a, enum aws_service service, int32_t error_class, struct fault *f)
{
        f->error_class = error_class;
        f->unknown = true;
        f->retry_after_ms = -1;
        if (error_class == PRVNG_CANCELLED)
                snprintf(f->message, sizeof(f->message), "the request to %s was ended", service_names[service]);
        else
                snprintf(f->message, sizeof(f->message),
                         "%s%s%s could not be reached, or did not answer in time", service_names[service],
                         a->endpoint[service] ? " at " : "", a->endpoint[service] ? a->endpoint[service] : "");
        return error_class;
}

int32_t aws_ask_with(struct aws *a, struct prvng_call *call, struct access *access,
                     enum aws_service service, const struct query *q, struct reply *ret)
{
        static const char *const headers[] = {
                "Content-Type: application/x-www-form-urlencoded", NULL};
        struct prvng_http_response response = {.struct_size = sizeof(response)};
        struct prvng_http_request request = {.struct_size = sizeof(request), .method = "POST", .target = "/",
                                             .headers = headers, .body = query_text(q), .n_body = q->n,
                                             .timeout_ms = TIMEOUT_MS};
        struct prvng_sink *body = a->host->sink_new(REPLY_MAX);
        uint64_t n = 0;
        const void *data;
        int32_t r;

        *ret = (struct reply){.fault = {.retry_after_ms = -1}};
        if (!body || !request.body) {
                a->host->sink_free(body);
                snprintf(ret->fault.message, sizeof(ret->fault.message), "there is no memory for the request");
                return ret->fault.error_class = PRVNG_INTERNAL;
        }
        r = a->http->send(call, access->session[service], &request, &response, NULL, body);
        if (r == PRVNG_DONE) {
                data = a->host->sink_data(body, &n);
                r = understand(&response, data, n, service, ret);
        } else
                r = not_answered(a, service, r, &ret->fault);
        a->host->sink_free(body);
        return r;
}

/* Signed with what is not valid any more, or by a clock that is wrong. */
static bool is_stale(const struct fault *f)
{
        static const char *const codes[] = {"ExpiredToken", "ExpiredTokenException", "RequestExpired",
                                            "InvalidClientTokenId", "AuthFailure", "SignatureDoesNotMatch"};

        for (size_t i = 0; i < N_ELEMENTS(codes); i++)
                if (streq(f->code, codes[i]))
                        return true;
        return false;
}

int32_t aws_ask(struct aws *a, struct prvng_call *call, enum aws_service service, const struct query *q,
                struct reply *ret)
{
        struct access *access;
        int32_t r;

        *ret = (struct reply){.fault = {.retry_after_ms = -1}};
        r = access_get(a, call, &access, &ret->fault);
        if (r < 0)
                return r;
        r = aws_ask_with(a, call, access, service, q, ret);
        if (r == PRVNG_AUTH && is_stale(&ret->fault))
                access_drop(a, access);
        access_put(a, access);
        return r;
}

static const char *hint(const struct fault *f)
{
        if (streq(f->code, "RequestExpired") || streq(f->code, "RequestInTheFuture"))
                return "; the clock of this machine is wrong, or the credentials have expired";
        if (streq(f->code, "UnauthorizedOperation") || streq(f->code, "AccessDenied"))
                return "; the credentials work, but lack the right: let the account's administrator allow it";
        if (f->error_class == PRVNG_AUTH && !streq(f->code, "NoCredentials"))
                return "; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile in"
                       " ~/.aws/credentials";
        if (f->error_class == PRVNG_QUOTA && strncmp(f->code, "Insufficient", 12) != 0)
                return "; ask AWS for a higher quota, or remove what is not needed";
        return "";
}

int32_t aws_report(struct aws *a, struct prvng_call *call, const struct fault *f, uint32_t effect,
                   const char *format, ...)
{
        char what[512], message[2048];
        va_list ap;

        va_start(ap, format);
        vsnprintf(what, sizeof(what), format, ap);
        va_end(ap);
        snprintf(message, sizeof(message), "aws: %s: %s%s%s%s%s", what, f->message, *f->code ? " (" : "",
                 f->code, *f->code ? ")" : "", hint(f));
        a->host->error(call, &(struct prvng_error){.struct_size = sizeof(struct prvng_error),
                                                   .error_class = f->error_class,
                                                   .retry_after_ms = f->retry_after_ms,
                                                   .effect = effect,
                                                   .status = f->status,
                                                   .message = message});
        return f->error_class;
}

int32_t aws_pages(struct aws *a, struct prvng_call *call, const struct query *q, struct fault *ret_fault,
                  void (*each)(const struct xml_node *root, void *user), void *user)
{
        _cleanup_(cleanup_free) char *next = NULL;
        int32_t r;

        for (unsigned page = 0; page < 10000; page++) {
                _cleanup_(cleanup_query) struct query own = {.text = strdup(q->text ? q->text : ""), .n = q->n,
                                                             .size = q->n + 1, .error = q->error};
                _cleanup_(cleanup_reply) struct reply reply = {0};
                const char *more;

                if (!own.text)
                        own.error = -ENOMEM;
                if (next)
                        query_add(&own, next, "NextToken");
                r = aws_ask(a, call, AWS_EC2, &own, &reply);
                *ret_fault = reply.fault;
                if (r < 0)
                        return r;
                each(reply_root(&reply), user);
                more = xml_text(reply_root(&reply), "nextToken");
                free(next);
                next = *more ? strdup(more) : NULL;
                if (!next)
                        return PRVNG_DONE;
        }
        return PRVNG_DONE;
}
