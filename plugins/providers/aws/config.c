/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration: the site's block, the environment, the shared files; in this order. Nothing here needs
 * credentials, and nothing asks AWS.
 */
#include "aws.h"
#include "ini.h"

#include <stdarg.h>
#include <sys/random.h>

#define SETTLE_MS 30000
#define POLL_MS   3000

static int32_t refuse(struct aws *a, const char *format, ...) _printf_(2, 3);

static int32_t refuse(struct aws *a, const char *format, ...)
{
        char text[700];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        a->host->log(a->host, PRVNG_LOG_ERROR, "config", text);
        return PRVNG_PERMANENT;
}

static const char *env(const char *name)
{
        const char *s = getenv(name);

        return s && *s ? s : NULL;
}

static char *home_file(const char *name)
{
        const char *home = env("HOME");

        return home ? aws_format("%s/.aws/%s", home, name) : strdup("/nonexistent");
}

static char *path_of(const json_t *config, const char *key, const char *variable, const char *name)
{
        const char *s = aws_string(config, key, env(variable));

        if (!s)
                return home_file(name);
        if (strncmp(s, "~/", 2) == 0 && env("HOME"))
                return aws_format("%s%s", env("HOME"), s + 1);
        return strdup(s);
}

static char *endpoint_of(const json_t *config, const char *key, const char *variable)
{
        const char *s = aws_string(config, key, env(variable));
        size_t n;

        if (!s)
                s = aws_string(config, "endpoint", env("AWS_ENDPOINT_URL"));
        if (!s)
                return NULL;
        n = strlen(s);
        while (n > 0 && s[n - 1] == '/')
                n--;
        return strndup(s, n);
}

static char *region_of(const struct aws *a, const json_t *config)
{
        const char *s = aws_string(config, "region", env("AWS_REGION"));
        _cleanup_(cleanup_json) json_t *file = NULL;
        _cleanup_(cleanup_free) char *section = aws_format("profile %s", a->profile);

        if (!s)
                s = env("AWS_DEFAULT_REGION");
        if (!s && section && ini_read(a->config_file, &file) == 0)
                s = aws_string(json_object_get(file, streq(a->profile, "default") ? "default" : section),
                               "region", NULL);
        return strdup(s ? s : "");
}

static bool is_true(const char *s)
{
        return s && (streq(s, "true") || streq(s, "True") || streq(s, "TRUE") || streq(s, "1"));
}

static int32_t check(struct aws *a, const json_t *config)
{
        static const char *const known[] = {"region", "profile", "credentials_file", "config_file", "endpoint",
                                            "endpoint_ec2", "endpoint_iam", "endpoint_sts", "settle_ms",
                                            "poll_ms", "sources", "libexec"};
        const char *key;
        json_t *value;

        json_object_foreach ((json_t *)(uintptr_t)config, key, value) {
                bool number = streq(key, "settle_ms") || streq(key, "poll_ms"), ok = false;

                for (size_t i = 0; i < N_ELEMENTS(known); i++)
                        ok = ok || streq(key, known[i]);
                if (!ok)
                        return refuse(a,
                                      "aws: unknown key %s in the configuration; there are region, profile,"
                                      " credentials_file, config_file, endpoint, endpoint_ec2, endpoint_iam,"
                                      " endpoint_sts, settle_ms and poll_ms",
                                      key);
                if (number && (!json_is_integer(value) || json_integer_value(value) < 0 ||
                               json_integer_value(value) > 600000))
                        return refuse(a, "aws: %s is milliseconds, 0 to 600000", key);
                if (!number && !streq(key, "sources") && !json_is_string(value))
                        return refuse(a, "aws: %s is not a text", key);
        }
        return PRVNG_DONE;
}

static int32_t check_region(struct aws *a)
{
        static const char accepted[] = "abcdefghijklmnopqrstuvwxyz0123456789-";

        if (strspn(a->region, accepted) == strlen(a->region) && strlen(a->region) < 40)
                return PRVNG_DONE;
        return refuse(a, "aws: \"%s\" is no region; write one such as \"eu-central-1\"", a->region);
}

int32_t aws_configure(struct aws *a, const json_t *config)
{
        static const char *const keys[] = {"endpoint_ec2", "endpoint_iam", "endpoint_sts"};
        static const char *const variables[] = {"AWS_ENDPOINT_URL_EC2", "AWS_ENDPOINT_URL_IAM",
                                                "AWS_ENDPOINT_URL_STS"};
        const char *metadata = env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
        unsigned char random[8];
        int32_t r = check(a, config);

        if (r < 0)
                return r;
        a->profile = strdup(aws_string(config, "profile", env("AWS_PROFILE") ? env("AWS_PROFILE") : "default"));
        a->credentials_file = path_of(config, "credentials_file", "AWS_SHARED_CREDENTIALS_FILE", "credentials");
        a->config_file = path_of(config, "config_file", "AWS_CONFIG_FILE", "config");
        if (!a->profile || !a->credentials_file || !a->config_file)
                return PRVNG_INTERNAL;
        a->region = region_of(a, config);
        for (size_t i = 0; i < AWS_N_SERVICES; i++)
                a->endpoint[i] = endpoint_of(config, keys[i], variables[i]);
        if (!is_true(env("AWS_EC2_METADATA_DISABLED")))
                a->metadata = strdup(metadata ? metadata : "http://169.254.169.254");
        a->settle_ms = aws_integer(config, "settle_ms", SETTLE_MS);
        a->poll_ms = aws_integer(config, "poll_ms", POLL_MS);
        a->sent = json_object();
        a->images = json_object();
        a->keys = json_object();
        if (!a->region || !a->sent || !a->images || !a->keys ||
            getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
                return PRVNG_INTERNAL;
        for (size_t i = 0; i < sizeof(random); i++)
                snprintf(a->nonce + 2 * i, 3, "%02x", random[i]);
        return check_region(a);
}

void aws_unconfigure(struct aws *a)
{
        free(a->region);
        free(a->profile);
        free(a->credentials_file);
        free(a->config_file);
        for (size_t i = 0; i < AWS_N_SERVICES; i++)
                free(a->endpoint[i]);
        free(a->metadata);
        json_decref(a->sent);
        json_decref(a->images);
        json_decref(a->keys);
}
