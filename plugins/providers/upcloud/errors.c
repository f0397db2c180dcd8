/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors of the API. Two formats, by the endpoint: {"error": {"error_code", "error_message"}}, and
 * RFC 7807 with the code behind the '#' of its type. What a proxy says in between is neither.
 *
 * There are more than 200 codes; their ends tell what they mean.
 */
#include "upcloud.h"

static bool ends(const char *text, const char *end)
{
        size_t n = strlen(text), k = strlen(end);

        return n >= k && streq(text + n - k, end);
}

const char *api_code(const struct reply *reply)
{
        const char *code = up_string(json_object_get(reply->body, "error"), "error_code", NULL);
        const char *type = up_string(reply->body, "type", ""), *hash;

        if (code)
                return code;
        hash = strchr(type, '#');
        code = hash ? hash + 1 : strstr(type, "://") ? "" : type;
        return strncmp(code, "ERROR_", 6) == 0 ? code + 6 : code;
}

static bool is_quota(int32_t status, const char *code)
{
        return status == 402 || ends(code, "_LIMIT_REACHED") || ends(code, "_LIMIT_EXCEEDED") ||
               ends(code, "_RESOURCES_UNAVAILABLE") || ends(code, "_QUOTA_EXCEEDED") ||
               streq(code, "INSUFFICIENT_CREDITS") || strncmp(code, "TRIAL_", 6) == 0;
}

/* States pass: a server under maintenance, a storage that is being copied. */
static bool is_state(const char *code)
{
        return ends(code, "_STATE_ILLEGAL") || ends(code, "_BUSY") || ends(code, "_LOCKED") ||
               streq(code, "BACKUP_RULE_CONFLICT_IN_PROGRESS");
}

bool errors_is_state(const struct reply *reply)
{
        return reply->status == 409 && is_state(api_code(reply));
}

int32_t errors_class(int32_t status, const char *code, bool has_retry_after)
{
        if (streq(code, "SERVER_CREATING_LIMIT_REACHED")) /* passes as those under way are made */
                return PRVNG_RATE_LIMITED;
        if (status == 429 || (status == 503 && has_retry_after))
                return PRVNG_RATE_LIMITED;
        if (status >= 500 || status == 408 || status < 200)
                return PRVNG_TRANSIENT;
        if (is_quota(status, code))
                return PRVNG_QUOTA;
        if (status == 401 || status == 403 || streq(code, "AUTHENTICATION_FAILED"))
                return PRVNG_AUTH;
        if (status == 404 || status == 410)
                return PRVNG_NOT_FOUND;
        if (status == 409)
                return is_state(code) ? PRVNG_TRANSIENT : PRVNG_CONFLICT;
        return PRVNG_PERMANENT;
}

static const char *advice(int32_t class)
{
        switch (class) {
        case PRVNG_AUTH:
                return "; look at the credentials (UPCLOUD_TOKEN, or UPCLOUD_USERNAME and"
                       " UPCLOUD_PASSWORD, or token_file) and at what they may do";
        case PRVNG_QUOTA:
                return "; remove what is not used, or ask UpCloud for more";
        default:
                return "";
        }
}

/* "SERVER_CORE_LIMIT_REACHED" -> "the limit of server cores": what the operator has to raise. */
static void name_limit(const char *code, char *ret, size_t n)
{
        const char *end = strstr(code, "_LIMIT");
        size_t k = 0;

        if (ends(code, "_RESOURCES_UNAVAILABLE")) {
                snprintf(ret, n, " (the zone has no room left)");
                return;
        }
        if (streq(code, "INSUFFICIENT_CREDITS")) {
                snprintf(ret, n, " (the account's credits)");
                return;
        }
        if (!end) {
                *ret = 0;
                return;
        }
        k = (size_t)snprintf(ret, n, " (the account's limit: ");
        for (; code < end && k + 2 < n; code++)
                ret[k++] = *code == '_' ? ' ' : (char)(*code | 0x20);
        snprintf(ret + k, n - k, ")");
}

static void add_params(const json_t *params, char *text, size_t n)
{
        size_t i, k = strlen(text);
        json_t *p;

        json_array_foreach (params, i, p)
                if (k + 1 < n)
                        k += (size_t)snprintf(text + k, n - k, "; %s: %s",
                                              up_string(p, "name", "?"),
                                              up_string(p, "reason", "?"));
}

int32_t api_fail(struct upcloud *u, struct prvng_call *call, const struct reply *reply,
                 uint32_t effect, const char *what)
{
        const char *code = api_code(reply), *said;
        const json_t *error = json_object_get(reply->body, "error");
        int32_t class = errors_class(reply->status, code, reply->retry_after_ms >= 0);
        int64_t after = reply->retry_after_ms;
        char text[1536], limit[128] = "";

        if (effect == PRVNG_EFFECT_NONE && class == PRVNG_TRANSIENT && reply->status != 409)
                effect = PRVNG_EFFECT_UNKNOWN; /* it may have been done all the same */
        if (class == PRVNG_TRANSIENT && reply->status == 409 && after < 0)
                after = 1000;
        if (class == PRVNG_RATE_LIMITED && after < 0)
                after = 2000;
        said = up_string(error, "error_message", up_string(reply->body, "title", ""));
        if (class == PRVNG_QUOTA)
                name_limit(code, limit, sizeof(limit));
        snprintf(text, sizeof(text), "upcloud: %s: %s%s%s%s (HTTP status %d)", what,
                 *said ? said : "the API gave no reason", *code ? ", " : "", code, limit,
                 (int)reply->status);
        add_params(json_object_get(reply->body, "invalid_params"), text, sizeof(text) - 256);
        strncat(text, advice(class), sizeof(text) - strlen(text) - 1);
        return up_fail_at(u, call, class, effect, reply->status, after, NULL, text);
}

uint32_t api_effect(const struct reply *reply, uint32_t otherwise)
{
        int32_t class = errors_class(reply->status, api_code(reply), reply->retry_after_ms >= 0);

        return class == PRVNG_TRANSIENT || class == PRVNG_RATE_LIMITED ? PRVNG_EFFECT_UNKNOWN
                                                                       : otherwise;
}
