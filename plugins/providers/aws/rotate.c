/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The access key that we work with is replaced by a new one. IAM keeps two keys of a user at most, shows a
 * secret once, and knows a new key only after a while:
 *
 *      (none)  list: which keys are there before -> token. Two: the user must remove one
 *      make    CreateAccessKey. The new pair goes into FILE.prvng-new before anything else. A key that was not
 *              there before and whose secret is not in that file is what an interrupted try left: it is deleted
 *      prove   GetCallerIdentity with the new pair, until it works
 *      switch  the profile in the credentials file gets the new pair, at once and durably
 *      off     the old key is made inactive, then deleted, signed with the new one; FILE.prvng-new goes
 *
 * Each step can be done again. The secret is in the two files only, never in request, token or result.
 */
#include "aws.h"
#include "ini.h"

#include <stdarg.h>
#include <sys/stat.h>

#define SECTION "new"

int32_t rotate_prepare(struct aws *a, struct prvng_call *call, const char *verb, const json_t *task, json_t *out)
{
        return PRVNG_DONE;
}

static char *staging(const struct op *o)
{
        return aws_format("%s.prvng-new", o->a->credentials_file);
}

/* The pair in the staging file, if it is this key's: a session that signs with it. NULL: it is not. */
static struct access *staged(struct op *o, const char *id)
{
        _cleanup_(cleanup_free) char *path = staging(o);
        _cleanup_(cleanup_json) json_t *file = NULL;
        const json_t *pair;

        if (!path || ini_read(path, &file) < 0)
                return NULL;
        pair = json_object_get(file, SECTION);
        if (!*id || !streq(aws_string(pair, "aws_access_key_id", ""), id))
                return NULL;
        return access_new(o->a, id, aws_string(pair, "aws_secret_access_key", ""), NULL);
}

static int32_t iam(struct op *o, struct access *with, const char *action, const char *key_id, const char *status,
                   struct reply *reply)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;

        query_begin(&q, action, IAM_VERSION);
        if (key_id)
                query_add(&q, key_id, "AccessKeyId");
        if (status)
                query_add(&q, status, "Status");
        return with ? aws_ask_with(o->a, o->call, with, AWS_IAM, &q, reply) : aws_ask(o->a, o->call, AWS_IAM, &q, reply);
}

static json_t *keys_in(const struct reply *reply)
{
        json_t *keys = json_array();
        const struct xml_node *all = xml_find(reply_root(reply), "ListAccessKeysResult/AccessKeyMetadata");

        for (const struct xml_node *m = xml_child(all, "member"); m; m = xml_next(m))
                json_array_append_new(keys, json_string(xml_text(m, "AccessKeyId")));
        return keys;
}

static bool holds(const json_t *list, const char *text)
{
        json_t *v;
        size_t i;

        json_array_foreach (list, i, v)
                if (streq(json_string_value(v), text))
                        return true;
        return false;
}

static int32_t start(struct op *o)
{
        _cleanup_(cleanup_reply) struct reply reply = {0};
        struct access *now;
        struct fault f;
        json_t *keys;
        bool in_file;

        if (access_get(o->a, o->call, &now, &f) < 0)
                return op_fault(o, &f, PRVNG_EFFECT_NONE, "the key to be replaced");
        in_file = now->in_file;
        json_object_set_new(o->token, "old", json_string(now->key_id));
        access_put(o->a, now);
        if (!in_file)
                return op_fail(o, PRVNG_UNSUPPORTED, PRVNG_EFFECT_NONE,
                               "only keys that stand in a profile of %s can be replaced; these come from the environment,"
                               " from a role or from the metadata service (roles change theirs by themselves)",
                               o->a->credentials_file);
        if (iam(o, NULL, "ListAccessKeys", NULL, NULL, &reply) < 0)
                return op_fault(o, &reply.fault, PRVNG_EFFECT_NONE, "the user's keys could not be listed");
        keys = keys_in(&reply);
        json_object_set_new(o->token, "before", keys);
        if (json_array_size(keys) >= 2)
                return op_fail(o, PRVNG_QUOTA, PRVNG_EFFECT_NONE,
                               "the user has two keys already, the most that IAM keeps (%s and %s; in use is %s): delete the"
                               " other one, then rotate again",
                               json_string_value(json_array_get(keys, 0)), json_string_value(json_array_get(keys, 1)),
                               aws_string(o->token, "old", ""));
        return op_pending(o, "make", 0);
}

/* The new pair is on the disk when this returns DONE. */
static int32_t stage(struct op *o, const struct reply *reply)
{
        const struct xml_node *key = xml_find(reply_root(reply), "CreateAccessKeyResult/AccessKey");
        const char *id = xml_text(key, "AccessKeyId");
        _cleanup_(cleanup_free) char *path = staging(o);
        char *text = aws_format("[" SECTION "]\naws_access_key_id = %s\naws_secret_access_key = %s\n", id,
                                xml_text(key, "SecretAccessKey"));
        int r = path && text ? ini_write(path, text) : -ENOMEM;

        if (text)
                aws_wipe(text, strlen(text));
        free(text);
        if (r < 0)
                return op_fail(o, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN, "%s cannot be written: %s", path ? path : "",
                               strerror(-r));
        json_object_set_new(o->token, "new", json_string(id));
        return op_pending(o, "prove", 0);
}

static int32_t make(struct op *o)
{
        _cleanup_(cleanup_reply) struct reply list = {0}, made = {0}, gone = {0};
        _cleanup_(cleanup_json) json_t *keys = NULL;
        json_t *v;
        size_t i;

        if (iam(o, NULL, "ListAccessKeys", NULL, NULL, &list) < 0)
                return op_fault(o, &list.fault, PRVNG_EFFECT_PARTIAL, "the user's keys could not be listed");
        keys = keys_in(&list);
        json_array_foreach (keys, i, v) {
                const char *id = json_string_value(v);
                struct access *x;

                if (holds(json_object_get(o->token, "before"), id))
                        continue;
                x = staged(o, id);
                if (x) { /* made, and written before we were interrupted */
                        access_put(o->a, x);
                        json_object_set_new(o->token, "new", json_string(id));
                        return op_pending(o, "prove", 0);
                }
                if (iam(o, NULL, "DeleteAccessKey", id, NULL, &gone) < 0)
                        return op_fault(o, &gone.fault, PRVNG_EFFECT_PARTIAL, "a key whose secret was lost could not be"
                                                                              " deleted");
                return op_pending(o, "make", 0);
        }
        if (iam(o, NULL, "CreateAccessKey", NULL, NULL, &made) < 0)
                return op_fault(o, &made.fault, PRVNG_EFFECT_PARTIAL, "a new key could not be made");
        return stage(o, &made);
}

static int32_t prove(struct op *o)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};
        struct access *x = staged(o, aws_string(o->token, "new", ""));
        int32_t r;

        if (!x) /* the file is gone: so is the secret */
                return op_pending(o, "make", 0);
        query_begin(&q, "GetCallerIdentity", STS_VERSION);
        r = aws_ask_with(o->a, o->call, x, AWS_STS, &q, &reply);
        access_put(o->a, x);
        if (r == PRVNG_DONE)
                return op_pending(o, "switch", 0);
        if (r == PRVNG_AUTH && !op_settled(o)) /* it is not known everywhere yet */
                return op_pending(o, "prove", 1000);
        return op_fault(o, &reply.fault, PRVNG_EFFECT_PARTIAL, "the new key does not work");
}

static int32_t switch_over(struct op *o)
{
        _cleanup_(cleanup_free) char *path = staging(o), *own = realpath(o->a->credentials_file, NULL);
        _cleanup_(cleanup_json) json_t *file = NULL;
        char *text = NULL;
        int r;

        if (!path || !own || ini_read(path, &file) < 0 || !json_object_get(file, SECTION))
                return op_fail(o, PRVNG_PERMANENT, PRVNG_EFFECT_PARTIAL, "%s, which holds the new key, cannot be read",
                               path ? path : "");
        r = ini_replace(own, o->a->profile, json_object_get(file, SECTION), &text);
        if (r == 0)
                r = ini_write(own, text);
        if (text)
                aws_wipe(text, strlen(text));
        free(text);
        if (r < 0)
                return op_fail(o, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN, "%s cannot be written: %s", own, strerror(-r));
        return op_pending(o, "off", 0);
}

static int32_t off(struct op *o)
{
        _cleanup_(cleanup_reply) struct reply idle = {0}, gone = {0};
        _cleanup_(cleanup_free) char *path = staging(o);
        const char *old = aws_string(o->token, "old", "");
        struct access *x = staged(o, aws_string(o->token, "new", ""));
        int32_t r = iam(o, x, "UpdateAccessKey", old, "Inactive", &idle);

        if (r == PRVNG_DONE)
                r = iam(o, x, "DeleteAccessKey", old, NULL, &gone);
        if (x)
                access_put(o->a, x);
        if (r < 0 && idle.fault.error_class != PRVNG_NOT_FOUND && gone.fault.error_class != PRVNG_NOT_FOUND)
                return op_fault(o, idle.fault.error_class < 0 ? &idle.fault : &gone.fault, PRVNG_EFFECT_PARTIAL,
                                "the new key is in use, but the old one could not be deleted");
        if (path)
                unlink(path);
        return op_done(o, PRVNG_DONE, json_pack("{s:s, s:s, s:n}", "id", aws_string(o->token, "new", ""), "name",
                                                o->name, "valid_until"));
}

int32_t rotate_poll(struct op *o)
{
        if (op_step(o, "make"))
                return make(o);
        if (op_step(o, "prove"))
                return prove(o);
        if (op_step(o, "switch"))
                return switch_over(o);
        return op_step(o, "off") ? off(o) : start(o);
}
