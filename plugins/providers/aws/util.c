/* SPDX-License-Identifier: Apache-2.0 */
#include "aws.h"

#include <openssl/evp.h>
#include <stdarg.h>
#include <time.h>

bool streq(const char *a, const char *b)
{
        return strcmp(a, b) == 0;
}

void cleanup_free(void *p)
{
        free(*(void **)p);
}

void cleanup_close(int *fd)
{
        if (*fd >= 0)
                close(*fd);
}

void cleanup_json(json_t **j)
{
        json_decref(*j);
}

void cleanup_query(struct query *q)
{
        query_deinit(q);
}

void cleanup_reply(struct reply *r)
{
        xml_free(r->xml);
}

char *aws_format(const char *format, ...)
{
        char *text = NULL;
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&text, format, ap) < 0)
                text = NULL;
        va_end(ap);
        return text;
}

const char *aws_string(const json_t *object, const char *key, const char *otherwise)
{
        const char *s = json_string_value(json_object_get(object, key));

        return s ? s : otherwise;
}

int64_t aws_integer(const json_t *object, const char *key, int64_t otherwise)
{
        const json_t *v = json_object_get(object, key);

        return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

bool aws_present(const json_t *object, const char *key)
{
        const json_t *v = json_object_get(object, key);

        return v && !json_is_null(v);
}

int64_t aws_now_ms(void)
{
        struct timespec t;

        clock_gettime(CLOCK_REALTIME, &t);
        return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void aws_wipe(void *p, size_t n)
{
        explicit_bzero(p, n);
}

char *aws_base64(const char *text)
{
        size_t n = strlen(text);
        char *out = malloc(n / 3 * 4 + 8);

        if (out)
                EVP_EncodeBlock((unsigned char *)out, (const unsigned char *)text, (int)n);
        return out;
}

bool aws_digest(const char *text, char ret_hex[33])
{
        unsigned char digest[EVP_MAX_MD_SIZE];
        size_t n = 0;

        if (EVP_Q_digest(NULL, "SHA256", NULL, text, strlen(text), digest, &n) != 1 || n < 16)
                return false;
        for (size_t i = 0; i < 16; i++)
                snprintf(ret_hex + 2 * i, 3, "%02x", digest[i]);
        return true;
}

int64_t aws_parse_time(const char *text)
{
        struct tm t = {0};
        char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &t);

        return end ? (int64_t)timegm(&t) * 1000 : 0;
}

int32_t aws_fail(struct aws *a, struct prvng_call *call, int32_t error_class, uint32_t effect,
                 const char *field, const char *format, ...)
{
        char message[2048];
        va_list ap;

        va_start(ap, format);
        vsnprintf(message, sizeof(message), format, ap);
        va_end(ap);
        a->host->error(call, &(struct prvng_error){.struct_size = sizeof(struct prvng_error),
                                                   .error_class = error_class,
                                                   .retry_after_ms = -1,
                                                   .effect = effect,
                                                   .message = message,
                                                   .field = field});
        return error_class;
}

int32_t aws_reply(struct aws *a, struct prvng_call *call, struct prvng_sink *sink, const json_t *value)
{
        _cleanup_(cleanup_free) char *text = value ? json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

        if (text && a->host->sink_write(sink, text, strlen(text)) == 0)
                return PRVNG_DONE;
        return aws_fail(a, call, PRVNG_INTERNAL, PRVNG_EFFECT_UNKNOWN, NULL,
                        "aws: the answer could not be handed over");
}
