/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that AWS would carry out twice: those without a client token (CreateVpc,
 * CreateInternetGateway, CreateAccessKey). Their way:
 *
 *      look      nothing carries the op id: once_mark, PENDING; the mark is journaled
 *      send      once_may_send says that this instance made the mark and has not sent the request: it
 *                leaves now
 *      else      it may have left, from here or from an engine that is dead: look until it is seen, or
 *                settle_ms have passed since the mark; then mark anew
 *
 * The mark names the instance by a number from the kernel; what it has sent it knows by heart.
 */
#include "aws.h"

static char *key_of_mark(const struct op *o, const char *what)
{
        return aws_format("%s %s %lld", o->call->op_id, what,
                          (long long)aws_integer(o->token, "marks", 0));
}

void once_mark(struct op *o, const char *what)
{
        json_object_set_new(o->token, "mark", json_string(what));
        json_object_set_new(o->token, "by", json_string(o->a->nonce));
        json_object_set_new(o->token, "marks", json_integer(aws_integer(o->token, "marks", 0) + 1));
        json_object_set_new(o->token, "since", json_integer(aws_now_ms()));
}

bool once_is_marked(const struct op *o, const char *what)
{
        return streq(aws_string(o->token, "mark", ""), what);
}

bool once_may_send(struct op *o, const char *what)
{
        _cleanup_(cleanup_free) char *key = key_of_mark(o, what);
        bool may = false;

        if (!key || !once_is_marked(o, what) || !streq(aws_string(o->token, "by", ""), o->a->nonce))
                return false;
        pthread_mutex_lock(&o->a->lock);
        if (!json_object_get(o->a->sent, key))
                may = json_object_set_new(o->a->sent, key, json_true()) == 0;
        pthread_mutex_unlock(&o->a->lock);
        return may;
}

/* The operation is over: no poll of it comes again that could send. */
void once_forget(struct op *o)
{
        size_t n = strlen(o->call->op_id);
        const char *key;
        json_t *value;
        void *next;

        if (n == 0)
                return;
        pthread_mutex_lock(&o->a->lock);
        json_object_foreach_safe (o->a->sent, next, key, value)
                if (strncmp(key, o->call->op_id, n) == 0)
                        json_object_del(o->a->sent, key);
        pthread_mutex_unlock(&o->a->lock);
}
