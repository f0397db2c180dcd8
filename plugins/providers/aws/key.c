/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key pairs: one for a public key and a site, shared by all servers that have it first in ssh_keys. Its name
 * is its key: importing it twice changes nothing. The last server that uses it takes it along.
 */
#include "aws.h"

json_t *key_of(const char *site, const char *public_key)
{
        _cleanup_(cleanup_free) char *both = aws_format("%s %s", site, public_key);
        char digest[33], name[48];

        if (!both || !aws_digest(both, digest))
                return NULL;
        snprintf(name, sizeof(name), "prvng-%s", digest);
        return json_pack("{s:s, s:s}", "name", name, "public", public_key);
}

static bool is_known(struct aws *a, const char *name)
{
        bool known;

        pthread_mutex_lock(&a->lock);
        known = json_object_get(a->keys, name) != NULL;
        pthread_mutex_unlock(&a->lock);
        return known;
}

static void know(struct aws *a, const char *name, bool is)
{
        pthread_mutex_lock(&a->lock);
        if (is)
                json_object_set_new(a->keys, name, json_true());
        else
                json_object_del(a->keys, name);
        pthread_mutex_unlock(&a->lock);
}

void key_lost(struct op *o)
{
        know(o->a, aws_string(json_object_get(o->request, "key"), "name", ""), false);
}

int32_t key_import(struct op *o, struct fault *ret_fault)
{
        const json_t *key = json_object_get(o->request, "key");
        const char *name = aws_string(key, "name", "");
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};
        _cleanup_(cleanup_free) char *material = aws_base64(aws_string(key, "public", ""));
        int32_t r;

        if (!*name || is_known(o->a, name))
                return PRVNG_DONE;
        query_begin(&q, "ImportKeyPair", EC2_VERSION);
        query_add(&q, name, "KeyName");
        query_add(&q, material ? material : "", "PublicKeyMaterial");
        query_add(&q, "key-pair", "TagSpecification.1.ResourceType");
        query_add(&q, TAG_SITE, "TagSpecification.1.Tag.1.Key");
        query_add(&q, o->site, "TagSpecification.1.Tag.1.Value");
        r = aws_ask(o->a, o->call, AWS_EC2, &q, &reply);
        if (r < 0 && streq(reply.fault.code, "InvalidKeyPair.Duplicate"))
                r = PRVNG_DONE;
        *ret_fault = reply.fault;
        if (r == PRVNG_DONE)
                know(o->a, name, true);
        return r;
}

static bool any_instance(const struct reply *reply)
{
        return xml_child(xml_find(reply_root(reply), "reservationSet"), "item") != NULL;
}

int32_t key_remove(struct op *o, const char *name, struct fault *ret_fault)
{
        static const char *const states[] = {"pending", "running", "stopping", "stopped"};
        _cleanup_(cleanup_query) struct query q = QUERY_NULL, d = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0}, gone = {0};
        int32_t r;

        if (!*name)
                return PRVNG_DONE;
        query_begin(&q, "DescribeInstances", EC2_VERSION);
        query_filter(&q, 1, "key-name", name);
        query_add(&q, "instance-state-name", "Filter.2.Name");
        for (size_t i = 0; i < N_ELEMENTS(states); i++)
                query_add(&q, states[i], "Filter.2.Value.%zu", i + 1);
        query_add(&q, "5", "MaxResults");
        r = aws_ask(o->a, o->call, AWS_EC2, &q, &reply);
        *ret_fault = reply.fault;
        if (r < 0 || any_instance(&reply))
                return r < 0 ? r : PRVNG_DONE;
        know(o->a, name, false); /* before: a server that is begun meanwhile imports it again */
        query_begin(&d, "DeleteKeyPair", EC2_VERSION);
        query_add(&d, name, "KeyName");
        r = aws_ask(o->a, o->call, AWS_EC2, &d, &gone);
        *ret_fault = gone.fault;
        return r < 0 && streq(gone.fault.code, "InvalidKeyPair.NotFound") ? PRVNG_DONE : r;
}
