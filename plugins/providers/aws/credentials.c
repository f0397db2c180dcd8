/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who we are, in the order of AWS's own tools: the environment (unless a profile is named in the plugin's
 * configuration or AWS_PROFILE), the profile in the shared files, and the role of the machine that we run
 * on. A profile may name a role to assume with the keys of another profile.
 */
#include "aws.h"
#include "ini.h"

#include <sys/stat.h>

#define ROLES_MAX 5 /* source_profile of a source_profile ... */

static void wipe(char **s)
{
        if (*s)
                aws_wipe(*s, strlen(*s));
        free(*s);
        *s = NULL;
}

void credentials_deinit(struct credentials *c)
{
        wipe(&c->key_id);
        wipe(&c->secret);
        wipe(&c->token);
}

int64_t credentials_file_ms(const struct aws *a)
{
        struct stat s[2];
        int64_t sum = 0;

        if (stat(a->credentials_file, &s[0]) == 0)
                sum += (int64_t)s[0].st_mtim.tv_sec * 1000 + s[0].st_mtim.tv_nsec / 1000000 + (int64_t)s[0].st_ino;
        if (stat(a->config_file, &s[1]) == 0)
                sum += (int64_t)s[1].st_mtim.tv_sec * 1000 + s[1].st_mtim.tv_nsec / 1000000 + (int64_t)s[1].st_ino;
        return sum;
}

static int32_t take(struct credentials *c, const char *key_id, const char *secret, const char *token)
{
        c->key_id = strdup(key_id);
        c->secret = strdup(secret);
        c->token = token && *token ? strdup(token) : NULL;
        return c->key_id && c->secret ? PRVNG_DONE : PRVNG_INTERNAL;
}

static int32_t from_environment(struct credentials *c)
{
        const char *key = getenv("AWS_ACCESS_KEY_ID"), *secret = getenv("AWS_SECRET_ACCESS_KEY");

        if (!key || !*key || !secret || !*secret)
                return PRVNG_NOT_FOUND;
        return take(c, key, secret, getenv("AWS_SESSION_TOKEN"));
}

/* What is wrong with the credentials, and what to do. */
static int32_t none(struct aws *a, struct fault *f, const char *why)
{
        *f = (struct fault){.error_class = PRVNG_AUTH, .code = "NoCredentials", .retry_after_ms = -1};
        snprintf(f->message, sizeof(f->message),
                 "%s. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the engine, or write aws_access_key_id"
                 " and aws_secret_access_key of profile %s into %s",
                 why, a->profile, a->credentials_file);
        return PRVNG_AUTH;
}

/* What both files say of a profile; the credentials file has the last word. */
static json_t *profile_of(const json_t *credentials, const json_t *config, const char *name)
{
        _cleanup_(cleanup_free) char *section = aws_format("profile %s", name);
        json_t *all = json_object();

        if (!section || !all)
                return all;
        json_object_update(all, json_object_get(config, streq(name, "default") ? "default" : section));
        if (streq(name, "default"))
                json_object_update_missing(all, json_object_get(config, section));
        json_object_update(all, json_object_get(credentials, name));
        return all;
}

static int32_t read_role(struct aws *a, const struct reply *reply, struct credentials *ret, struct fault *f)
{
        const struct xml_node *c = xml_find(reply_root(reply), "AssumeRoleResult/Credentials");

        if (!c || !*xml_text(c, "AccessKeyId") || !*xml_text(c, "SecretAccessKey"))
                return none(a, f, "STS answered without keys");
        ret->until_ms = aws_parse_time(xml_text(c, "Expiration"));
        return take(ret, xml_text(c, "AccessKeyId"), xml_text(c, "SecretAccessKey"), xml_text(c, "SessionToken"));
}

static int32_t assume(struct aws *a, struct prvng_call *call, const json_t *profile,
                      const struct credentials *with, struct credentials *ret, struct fault *f)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};
        struct access *x = access_new(a, with->key_id, with->secret, with->token);
        int32_t r;

        if (!x)
                return none(a, f, "no session with STS can be opened");
        query_begin(&q, "AssumeRole", STS_VERSION);
        query_add(&q, aws_string(profile, "role_arn", ""), "RoleArn");
        query_add(&q, aws_string(profile, "role_session_name", "prvng"), "RoleSessionName");
        if (json_object_get(profile, "duration_seconds"))
                query_add(&q, aws_string(profile, "duration_seconds", "3600"), "DurationSeconds");
        if (json_object_get(profile, "external_id"))
                query_add(&q, aws_string(profile, "external_id", ""), "ExternalId");
        r = aws_ask_with(a, call, x, AWS_STS, &q, &reply);
        if (r < 0)
                *f = reply.fault;
        else
                r = read_role(a, &reply, ret, f);
        access_put(a, x);
        return r;
}

static int32_t from_source(struct aws *a, struct prvng_call *call, const char *source, struct credentials *ret,
                           struct fault *f)
{
        if (streq(source, "Environment"))
                return from_environment(ret) == PRVNG_DONE
                               ? PRVNG_DONE
                               : none(a, f, "credential_source is Environment, which holds none");
        if (streq(source, "Ec2InstanceMetadata"))
                return metadata_credentials(a, call, ret, f);
        return none(a, f, "credential_source must be Environment or Ec2InstanceMetadata");
}

static int32_t from_profile(struct aws *a, struct prvng_call *call, const json_t *credentials,
                            const json_t *config, const char *name, unsigned depth, struct credentials *ret,
                            struct fault *f)
{
        _cleanup_(cleanup_json) json_t *p = profile_of(credentials, config, name);
        const char *key = aws_string(p, "aws_access_key_id", ""), *source = aws_string(p, "source_profile", "");
        struct credentials with = {0};
        int32_t r;

        if (!aws_present(p, "role_arn") || (depth > 0 && *key && streq(source, name))) {
                if (*key && *aws_string(p, "aws_secret_access_key", "")) {
                        ret->in_file = depth == 0 && aws_present(json_object_get(credentials, name),
                                                                 "aws_access_key_id");
                        return take(ret, key, aws_string(p, "aws_secret_access_key", ""),
                                    aws_string(p, "aws_session_token", ""));
                }
                if (aws_present(p, "credential_process") || aws_present(p, "sso_start_url") ||
                    aws_present(p, "sso_session") || aws_present(p, "web_identity_token_file"))
                        return none(a, f, "the profile uses credential_process, SSO or a web identity, which this"
                                             " plugin does not know");
                return PRVNG_NOT_FOUND;
        }
        if (aws_present(p, "mfa_serial"))
                return none(a, f, "the profile asks for a code of an MFA device, which an engine has not");
        if (depth >= ROLES_MAX)
                return none(a, f, "source_profile goes round in a circle");
        r = aws_present(p, "credential_source")
                    ? from_source(a, call, aws_string(p, "credential_source", ""), &with, f)
                    : from_profile(a, call, credentials, config, source, depth + 1, &with, f);
        if (r == PRVNG_NOT_FOUND)
                r = none(a, f, "the source_profile of the profile's role has no keys");
        if (r == PRVNG_DONE)
                r = assume(a, call, p, &with, ret, f);
        credentials_deinit(&with);
        return r;
}

static int32_t from_files(struct aws *a, struct prvng_call *call, struct credentials *ret, struct fault *f)
{
        _cleanup_(cleanup_json) json_t *credentials = NULL, *config = NULL;
        int r = ini_read(a->credentials_file, &credentials);

        if (r == 0)
                r = ini_read(a->config_file, &config);
        if (r < 0)
                return none(a, f, "the shared files cannot be read");
        return from_profile(a, call, credentials, config, a->profile, 0, ret, f);
}

int32_t credentials_find(struct aws *a, struct prvng_call *call, struct credentials *ret, struct fault *f)
{
        bool named = !streq(a->profile, "default");
        int32_t r = named ? PRVNG_NOT_FOUND : from_environment(ret);

        if (r == PRVNG_NOT_FOUND)
                r = from_files(a, call, ret, f);
        if (r == PRVNG_NOT_FOUND && named)
                return none(a, f, "there is no such profile");
        if (r == PRVNG_NOT_FOUND && a->metadata)
                return metadata_credentials(a, call, ret, f);
        return r == PRVNG_NOT_FOUND ? none(a, f, "there are none in the environment and in the shared files") : r;
}
