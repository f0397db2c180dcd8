/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions of the host's HTTP service with our keys in them. They are replaced as a whole when the keys
 * change, so that no request is ever signed with half of the one pair and half of the other.
 */
#include "aws.h"

#define REFRESH_MS 300000 /* before the keys of a role end */

static char *address_of(const struct aws *a, enum aws_service service)
{
        const char *end = strncmp(a->region, "cn-", 3) == 0 ? ".cn" : "";

        if (a->endpoint[service])
                return strdup(a->endpoint[service]);
        if (service == AWS_IAM) /* one for all regions */
                return aws_format("https://iam.%samazonaws.com%s", *end ? "cn-north-1." : "", end);
        return aws_format("https://%s.%s.amazonaws.com%s", service == AWS_EC2 ? "ec2" : "sts", a->region, end);
}

static json_t *session_options(const struct aws *a, enum aws_service service, bool with_token)
{
        static const char *const names[] = {"ec2", "iam", "sts"};
        _cleanup_(cleanup_free) char *address = address_of(a, service);
        const char *region = service == AWS_IAM ? strncmp(a->region, "cn-", 3) == 0 ? "cn-north-1" : "us-east-1"
                                                : a->region;
        json_t *j = json_pack("{s:s*, s:s, s:i, s:{s:s, s:s, s:s, s:{s:s}, s:{s:s}}}", "base_url", address,
                              "account", a->region, "max_reply", 32 << 20, "auth", "type", "sigv4", "region",
                              region, "service", names[service], "access_key", "set", "access_key", "secret_key",
                              "set", "secret_key");

        if (j && with_token)
                json_object_set_new(json_object_get(j, "auth"), "session_token",
                                    json_pack("{s:s}", "set", "session_token"));
        return j;
}

static bool open_session(struct aws *a, struct access *x, enum aws_service service, const char *secret,
                         const char *token)
{
        _cleanup_(cleanup_json) json_t *options = session_options(a, service, token);
        _cleanup_(cleanup_free) char *text = options ? json_dumps(options, JSON_COMPACT) : NULL;
        struct prvng_http_session *s = NULL;

        if (!text || a->http->session_new(a->host, text, strlen(text), &s) != PRVNG_DONE)
                return false;
        x->session[service] = s;
        return a->http->secret_set(s, "access_key", x->key_id, strlen(x->key_id)) == PRVNG_DONE &&
               a->http->secret_set(s, "secret_key", secret, strlen(secret)) == PRVNG_DONE &&
               (!token || a->http->secret_set(s, "session_token", token, strlen(token)) == PRVNG_DONE);
}

static void access_free(struct aws *a, struct access *x)
{
        for (size_t i = 0; i < AWS_N_SERVICES; i++)
                a->http->session_free(x->session[i]);
        free(x);
}

struct access *access_new(struct aws *a, const char *key_id, const char *secret, const char *token)
{
        struct access *x = calloc(1, sizeof(*x));
        bool ok = x != NULL;

        if (!x)
                return NULL;
        x->refs = 1;
        snprintf(x->key_id, sizeof(x->key_id), "%s", key_id);
        for (size_t i = 0; ok && i < AWS_N_SERVICES; i++)
                ok = open_session(a, x, (enum aws_service)i, secret, token);
        if (ok)
                return x;
        access_free(a, x);
        return NULL;
}

static int32_t refuse(struct fault *f, const char *code, const char *message)
{
        *f = (struct fault){.error_class = PRVNG_PERMANENT, .retry_after_ms = -1};
        snprintf(f->code, sizeof(f->code), "%s", code);
        snprintf(f->message, sizeof(f->message), "%s", message);
        return PRVNG_PERMANENT;
}

static int32_t look_up(struct aws *a, struct prvng_call *call, struct access **ret, struct fault *f)
{
        struct credentials c = {0};
        int64_t file_ms = credentials_file_ms(a);
        int32_t r = credentials_find(a, call, &c, f);

        if (r == PRVNG_DONE) {
                *ret = access_new(a, c.key_id, c.secret, c.token);
                if (*ret) {
                        (*ret)->until_ms = c.until_ms;
                        (*ret)->in_file = c.in_file;
                        (*ret)->file_ms = file_ms;
                } else
                        r = refuse(f, "NoSession", "no session can be opened; the log says why");
        }
        credentials_deinit(&c);
        return r;
}

static bool is_good(const struct aws *a, const struct access *x, int64_t file_ms)
{
        return x && x->file_ms == file_ms && (x->until_ms == 0 || aws_now_ms() < x->until_ms - REFRESH_MS);
}

int32_t access_get(struct aws *a, struct prvng_call *call, struct access **ret, struct fault *f)
{
        int64_t file_ms = credentials_file_ms(a);
        struct access *found = NULL, *old = NULL;
        int32_t r;

        if (!*a->region)
                return refuse(f, "NoRegion",
                              "no region; set AWS_REGION for the engine, or region in the plugin's configuration,"
                              " e.g. region = \"eu-central-1\"");
        pthread_mutex_lock(&a->lock);
        if (is_good(a, a->access, file_ms)) {
                *ret = a->access;
                a->access->refs++;
        }
        found = is_good(a, a->access, file_ms) ? a->access : NULL;
        pthread_mutex_unlock(&a->lock);
        if (found)
                return PRVNG_DONE;
        /* Without the lock: it may ask STS or the metadata service. Two at once do it twice. */
        r = look_up(a, call, &found, f);
        if (r < 0)
                return r;
        found->refs++;
        pthread_mutex_lock(&a->lock);
        old = a->access;
        a->access = found;
        pthread_mutex_unlock(&a->lock);
        if (old)
                access_put(a, old);
        *ret = found;
        return PRVNG_DONE;
}

void access_put(struct aws *a, struct access *x)
{
        bool last;

        pthread_mutex_lock(&a->lock);
        last = --x->refs == 0;
        pthread_mutex_unlock(&a->lock);
        if (last)
                access_free(a, x);
}

void access_drop(struct aws *a, struct access *x)
{
        bool ours;

        pthread_mutex_lock(&a->lock);
        ours = a->access == x;
        if (ours)
                a->access = NULL;
        pthread_mutex_unlock(&a->lock);
        if (ours)
                access_put(a, x);
}
