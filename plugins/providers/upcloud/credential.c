/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rotation of the API token: a new one is made, stored in token_file, proven to work; only then is
 * the old one revoked. The API cannot replace a token, tells a token's value once, and lets names
 * repeat. So the new one's name holds the site and the op id, and the file remembers what it
 * replaces:
 *
 *      ucat_...                the token; all that the host reads
 *      # id UUID               its id
 *      # replaces UUID         of the one before, to be revoked
 *
 * Killed at any place, the same request goes on: a token of this op id that is not in the file is
 * one whose value is lost: it is revoked, and another is made. All older ones with our name that
 * the file does not hold are revoked too.
 */
#include "upcloud.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DAYS 90
#define FILE_MAX 4096
#define PAGE 100

struct store {
        char *text; /* all of the file */
        char id[64], replaces[64];
};

static void cleanup_store(struct store *s)
{
        if (s->text)
                explicit_bzero(s->text, strlen(s->text));
        free(s->text);
}

static void read_line(const char *text, const char *key, char ret[64])
{
        const char *p = strstr(text, key);
        size_t n;

        if (!p)
                return;
        p += strlen(key);
        n = strcspn(p, "\n");
        if (n == 36) {
                memcpy(ret, p, n);
                ret[n] = 0;
        }
}

static bool read_store(const char *path, struct store *ret)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        ssize_t n;

        ret->text = calloc(1, FILE_MAX + 1);
        n = fd >= 0 && ret->text ? read(fd, ret->text, FILE_MAX) : -1;
        if (fd >= 0)
                close(fd);
        if (n <= 0)
                return false;
        read_line(ret->text, "\n# id ", ret->id);
        read_line(ret->text, "\n# replaces ", ret->replaces);
        return true;
}

static int sync_folder(const char *path)
{
        char *slash, *folder = strdup(path);
        int fd, r = -1;

        slash = folder ? strrchr(folder, '/') : NULL;
        if (slash) {
                slash[slash == folder] = 0;
                fd = open(folder, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
                if (fd >= 0) {
                        r = fsync(fd);
                        close(fd);
                }
        }
        free(folder);
        return r;
}

/* Atomically, for nobody else to read. 0 or -1 with errno. */
static int write_store(const char *path, const char *text)
{
        _cleanup_(cleanup_free) char *other = up_format("%s.new", path);
        size_t n = strlen(text);
        int fd, r;

        if (!other)
                return -1;
        unlink(other);
        fd = open(other, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -1;
        r = write(fd, text, n) == (ssize_t)n && fsync(fd) == 0 ? 0 : -1;
        if (close(fd) == 0 && r == 0 && rename(other, path) == 0)
                return sync_folder(path);
        unlink(other);
        return -1;
}

/* --- the API --- */

static int32_t list_tokens(struct upcloud *u, struct prvng_call *call, json_t **ret)
{
        json_t *all = json_array();
        size_t n = PAGE;

        for (size_t offset = 0; n == PAGE; offset += PAGE) {
                _cleanup_(cleanup_reply) struct reply reply = REPLY_NULL;
                char target[96];
                int32_t r;

                snprintf(target, sizeof(target), "/account/tokens?limit=%d&offset=%zu", PAGE,
                         offset);
                r = api_get(u, call, target, PRVNG_EFFECT_NONE, &reply);
                if (r < 0) {
                        json_decref(all);
                        return r;
                }
                n = json_array_size(reply.body);
                json_array_extend(all, reply.body);
        }
        *ret = all;
        return PRVNG_DONE;
}

static int32_t revoke_token(struct upcloud *u, struct prvng_call *call, const char *id)
{
        _cleanup_(cleanup_reply) struct reply reply = REPLY_NULL;
        char target[128];
        int32_t r;

        snprintf(target, sizeof(target), "/account/tokens/%.64s", id);
        r = api_change(u, call, "DELETE", target, NULL, &reply);
        if (r < 0)
                return r;
        if (reply.status == 404 || (reply.status >= 200 && reply.status <= 299))
                return PRVNG_DONE;
        return api_fail(u, call, &reply, PRVNG_EFFECT_PARTIAL, "a token cannot be revoked");
}

static const json_t *by_id(const json_t *tokens, const char *id)
{
        json_t *one;
        size_t i;

        json_array_foreach (tokens, i, one)
                if (*id && streq(up_string(one, "id", ""), id))
                        return one;
        return NULL;
}

/* The one that we ask with, as far as it can be told: the file says its id; else it is the only one
 * in the account that no rotation made. */
static const json_t *in_use(const json_t *tokens, const char *id, const char *prefix)
{
        const json_t *found = by_id(tokens, id), *other = NULL;
        json_t *one;
        size_t i, n = 0;

        json_array_foreach (tokens, i, one)
                if (strncmp(up_string(one, "name", ""), prefix, strlen(prefix)) != 0) {
                        other = one;
                        n++;
                }
        return found || n != 1 ? found : other;
}

static void wipe(const json_t *reply)
{
        const char *secret = up_string(reply, "token", NULL);

        if (secret)
                explicit_bzero((char *)(uintptr_t)secret, strlen(secret));
}

/* Makes one and stores it. `old`: the id of the one in use, "" if it is not known. */
static int32_t replace(struct upcloud *u, struct prvng_call *call, const char *name,
                       const json_t *old)
{
        _cleanup_(cleanup_reply) struct reply reply = REPLY_NULL;
        _cleanup_(cleanup_free) char *text = NULL;
        const char *old_id = up_string(old, "id", ""), *secret;
        time_t end = time(NULL) + DAYS * 86400;
        char expires[32];
        struct tm tm;
        int32_t r;
        int error;

        gmtime_r(&end, &tm);
        strftime(expires, sizeof(expires), "%Y-%m-%dT%H:%M:%SZ", &tm);
        r = api_change(u, call, "POST", "/account/tokens",
                       json_pack("{s:s, s:s, s:b, s:O*}", "name", name, "expires_at", expires,
                                 "can_create_tokens", 1, "allowed_ip_ranges",
                                 json_object_get(old, "allowed_ip_ranges")),
                       &reply);
        if (r < 0)
                return r;
        secret = up_string(reply.body, "token", "");
        if (reply.status < 200 || reply.status > 299 || !*secret)
                return api_fail(u, call, &reply, PRVNG_EFFECT_NONE,
                                "a new token cannot be made (the one in use needs the right to "
                                "create tokens)");
        text = up_format("%s\n# id %s\n%s%s%s", secret, up_string(reply.body, "id", ""),
                         *old_id ? "# replaces " : "", old_id, *old_id ? "\n" : "");
        wipe(reply.body);
        error = text && write_store(u->config.token_file, text) == 0 ? 0 : errno ? errno : ENOMEM;
        if (text)
                explicit_bzero(text, strlen(text));
        if (!error)
                return PRVNG_DONE;
        revoke_token(u, call, up_string(reply.body, "id", ""));
        return up_fail(
                u, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, NULL,
                "upcloud: the new token cannot be stored in %s: %s; the old one stays in use",
                u->config.token_file, strerror(error));
}

/* Does what the file holds work? If not, the former content comes back. */
static int32_t verify(struct upcloud *u, struct prvng_call *call, const char *former)
{
        _cleanup_(cleanup_reply) struct reply reply = REPLY_NULL;
        int32_t r = api_get(u, call, "/account", PRVNG_EFFECT_UNKNOWN, &reply);

        if (r != PRVNG_AUTH || !former)
                return r;
        if (write_store(u->config.token_file, former) < 0)
                return r;
        return up_fail(u, call, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN, NULL,
                       "upcloud: the new token does not work; the old one is in use again");
}

static int32_t tell(struct upcloud *u, struct prvng_call *call, const json_t *token, bool unknown,
                    struct prvng_sink *result)
{
        _cleanup_(cleanup_json) json_t *outputs =
                json_pack("{s:s, s:s, s:s?, s:[]}", "id", up_string(token, "id", ""), "name",
                          up_string(token, "name", ""), "valid_until",
                          up_string(token, "expires_at", NULL), "notices");

        if (unknown)
                json_array_append_new(json_object_get(outputs, "notices"),
                                      json_string("the token that was used before was not made by "
                                                  "prvng, and cannot be"
                                                  " told from the account's others: revoke it "
                                                  "yourself (`upctl account"
                                                  " token list`)"));
        return up_reply(u, call, result, outputs);
}

/* All that carry the name of this site, but the one in use. */
static int32_t revoke_others(struct upcloud *u, struct prvng_call *call, const json_t *tokens,
                             const char *prefix, const char *kept)
{
        json_t *one;
        size_t i;

        json_array_foreach (tokens, i, one) {
                int32_t r;

                if (strncmp(up_string(one, "name", ""), prefix, strlen(prefix)) != 0 ||
                    streq(up_string(one, "id", ""), kept))
                        continue;
                r = revoke_token(u, call, up_string(one, "id", ""));
                if (r < 0)
                        return r;
        }
        return PRVNG_DONE;
}

static int32_t rotate(struct upcloud *u, struct prvng_call *call, const struct request *q,
                      struct prvng_sink *result)
{
        _cleanup_(cleanup_free) char *prefix = up_format("prvng-%s-", q->site);
        _cleanup_(cleanup_free) char *name = up_format("prvng-%s-%s", q->site, call->op_id);
        _cleanup_(cleanup_store) struct store before = {0}, now = {0};
        _cleanup_(cleanup_json) json_t *tokens = NULL, *after = NULL;
        const json_t *current;
        int32_t r;

        if (!prefix || !name || !read_store(u->config.token_file, &before))
                return up_fail(u, call, PRVNG_AUTH, PRVNG_EFFECT_NONE, NULL,
                               "upcloud: %s cannot be read: %s", u->config.token_file,
                               strerror(errno));
        r = list_tokens(u, call, &tokens);
        if (r < 0)
                return r;
        current = in_use(tokens, before.id, prefix);
        if (!streq(up_string(current, "name", ""), name)) {
                r = replace(u, call, name, current);
                if (r < 0)
                        return r;
        }
        if (!read_store(u->config.token_file, &now))
                return up_fail(u, call, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN, NULL,
                               "upcloud: %s cannot be read any more: %s", u->config.token_file,
                               strerror(errno));
        r = verify(u, call, streq(before.text, now.text) ? NULL : before.text);
        r = r < 0 || !*now.replaces ? r : revoke_token(u, call, now.replaces);
        r = r < 0 ? r : list_tokens(u, call, &after);
        r = r < 0 ? r : revoke_others(u, call, after, prefix, now.id);
        return r < 0 ? r : tell(u, call, by_id(after, now.id), !*now.replaces, result);
}

static int32_t prepare(struct upcloud *u, struct prvng_call *call, const char *verb,
                       const json_t *task, json_t *request)
{
        if (!u->config.token_file)
                return up_fail(
                        u, call, PRVNG_UNSUPPORTED, PRVNG_EFFECT_NONE, NULL,
                        "upcloud: only a token in a file can be rotated: write token_file = "
                        "\"/...\" in the"
                        " plugin's configuration, and put a token that may create tokens there");
        json_object_set_new(request, "spec", json_object());
        return PRVNG_DONE;
}

static int32_t begin(struct upcloud *u, struct prvng_call *call, const char *verb,
                     const struct request *q, struct prvng_sink *token, struct prvng_sink *result)
{
        if (!u->config.token_file)
                return up_fail(u, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, NULL,
                               "upcloud: token_file has gone from the plugin's configuration");
        return rotate(u, call, q, result);
}

static int32_t poll(struct upcloud *u, struct prvng_call *call, const char *verb,
                    const struct request *q, json_t *token, struct prvng_sink *new_token,
                    struct prvng_sink *result)
{
        return begin(u, call, verb, q, new_token, result);
}

/* To begin again goes on from wherever it was left. */
static int32_t observe(struct upcloud *u, struct prvng_call *call, const char *verb,
                       const struct request *q, json_t *token, struct prvng_sink *new_token,
                       struct prvng_sink *result)
{
        return PRVNG_OBSERVED_PARTIAL;
}

const struct kind kind_credential = {
        .name = "credential",
        .prepare = prepare,
        .begin = begin,
        .poll = poll,
        .observe = observe,
};
