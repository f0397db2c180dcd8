/* SPDX-License-Identifier: Apache-2.0 */
/* The role of the EC2 instance that we run on: instance metadata service, version 2 (with a token). */
#include "aws.h"

#define TIMEOUT_MS 2000 /* elsewhere nobody answers at that address */

struct metadata {
        struct aws *a;
        struct prvng_call *call;
        struct prvng_http_session *session;
};

/* The body of a 200, to be freed and wiped; NULL: none. */
static char *ask(const struct metadata *m, const char *method, const char *target, const char *header)
{
        const char *const headers[] = {header, NULL};
        struct prvng_http_response response = {.struct_size = sizeof(response)};
        struct prvng_http_request request = {.struct_size = sizeof(request), .method = method,
                                             .target = target, .headers = headers, .timeout_ms = TIMEOUT_MS};
        struct prvng_sink *body = m->a->host->sink_new(65536);
        uint64_t n = 0;
        char *text = NULL;

        if (!body)
                return NULL;
        if (m->a->http->send(m->call, m->session, &request, &response, NULL, body) == PRVNG_DONE &&
            response.status == 200) {
                const char *data = m->a->host->sink_data(body, &n);
                text = strndup(data, (size_t)n);
        }
        m->a->host->sink_free(body);
        return text;
}

static void wipe(char **s)
{
        if (*s)
                aws_wipe(*s, strlen(*s));
        free(*s);
}

static bool read_keys(const char *text, struct credentials *ret)
{
        _cleanup_(cleanup_json) json_t *j = json_loads(text, 0, NULL);
        const char *key = aws_string(j, "AccessKeyId", ""), *secret = aws_string(j, "SecretAccessKey", "");

        if (!*key || !*secret)
                return false;
        ret->key_id = strdup(key);
        ret->secret = strdup(secret);
        ret->token = *aws_string(j, "Token", "") ? strdup(aws_string(j, "Token", "")) : NULL;
        ret->until_ms = aws_parse_time(aws_string(j, "Expiration", ""));
        return ret->key_id && ret->secret;
}

static bool fetch(const struct metadata *m, struct credentials *ret)
{
        static const char folder[] = "/latest/meta-data/iam/security-credentials/";
        _cleanup_(wipe) char *token =
                ask(m, "PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 21600");
        _cleanup_(wipe) char *header = token ? aws_format("X-aws-ec2-metadata-token: %s", token) : NULL;
        _cleanup_(cleanup_free) char *role = header ? ask(m, "GET", folder, header) : NULL;
        _cleanup_(cleanup_free) char *target = NULL;
        _cleanup_(wipe) char *keys = NULL;

        if (!role || !*role)
                return false;
        role[strcspn(role, "\r\n")] = '\0';
        if (strspn(role, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+=,.@_-") != strlen(role))
                return false;
        target = aws_format("%s%s", folder, role);
        keys = target ? ask(m, "GET", target, header) : NULL;
        return keys && read_keys(keys, ret);
}

int32_t metadata_credentials(struct aws *a, struct prvng_call *call, struct credentials *ret, struct fault *f)
{
        struct metadata m = {.a = a, .call = call};
        _cleanup_(cleanup_json) json_t *options =
                json_pack("{s:s*, s:s, s:{s:s}}", "base_url", a->metadata, "account", "metadata", "auth", "type",
                          "none");
        _cleanup_(cleanup_free) char *text = options ? json_dumps(options, JSON_COMPACT) : NULL;
        bool ok = false;

        if (a->metadata && text && a->http->session_new(a->host, text, strlen(text), &m.session) == PRVNG_DONE)
                ok = fetch(&m, ret);
        a->http->session_free(m.session);
        if (ok)
                return PRVNG_DONE;
        *f = (struct fault){.error_class = PRVNG_AUTH, .code = "NoCredentials", .retry_after_ms = -1};
        snprintf(f->message, sizeof(f->message),
                 "there are none in the environment, none of profile %s in %s, and no role of this machine. Set"
                 " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the engine, or write the profile",
                 a->profile, a->credentials_file);
        return PRVNG_AUTH;
}
