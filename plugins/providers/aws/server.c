/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers are made in three steps:
 *
 *      (none)  look for what carries our marks already, and for what the names stand for -> token
 *      run     RunInstances, with the client token OP_ID-ATTEMPT.N: a request that may have been lost is
 *              sent again byte for byte, and AWS makes one instance of both. If a zone has no room, N and the
 *              place in the token move on: that is another request, after the last was refused for certain
 *      wait    until it runs
 */
#include "aws.h"

#define CAPACITY_AFTER_MS 15000 /* when all zones are tried again */
#define VANISHED          20    /* times settle_ms: it will not be seen any more */

/* What is already there of this name? DONE: the answer was given in *ret. PENDING: nothing is. */
static int32_t look(struct op *o, int32_t *ret)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};
        const struct xml_node *own, *other;
        _cleanup_(cleanup_json) json_t *drift = NULL;
        size_t n;

        query_begin(&q, "DescribeInstances", EC2_VERSION);
        tags_filter(&q, 1, o);
        if (aws_ask(o->a, o->call, AWS_EC2, &q, &reply) < 0) {
                *ret = op_fault(o, &reply.fault, PRVNG_EFFECT_NONE, "what is there could not be asked for");
                return PRVNG_DONE;
        }
        own = server_find(&reply, o->call->op_id, &other, &n);
        if (!own && !other)
                return PRVNG_PENDING;
        if (own) {
                json_object_set_new(o->token, "id", json_string(xml_text(own, "instanceId")));
                *ret = op_pending(o, "wait", 0);
                return PRVNG_DONE;
        }
        drift = server_drift(o, other, NULL);
        if (n == 1 && json_array_size(drift) == 0)
                *ret = op_done(o, PRVNG_UNCHANGED, server_result(o, other));
        else
                *ret = op_fail(o, PRVNG_CONFLICT, PRVNG_EFFECT_NONE,
                               "%zu instance%s of this name, workflow and site %s there already (%s), and not as wanted;"
                               " see: prvng resource orphans",
                               n, n == 1 ? "" : "s", n == 1 ? "is" : "are", xml_text(other, "instanceId"));
        return PRVNG_DONE;
}

static int32_t start(struct op *o)
{
        _cleanup_(cleanup_json) json_t *image = NULL;
        struct fault f;
        int32_t answer, r = look(o, &answer);

        if (r == PRVNG_DONE)
                return answer;
        if (image_find(o->a, o->call, json_object_get(o->request, "image"), &image, &f) < 0)
                return op_fault(o, &f, PRVNG_EFFECT_NONE, "its image could not be found");
        json_object_set(o->token, "image", json_object_get(image, "id"));
        json_object_set(o->token, "root", json_object_get(image, "root"));
        json_object_set_new(o->token, "place", json_integer(0));
        json_object_set_new(o->token, "try", json_integer(0));
        json_object_set_new(o->token, "attempt", json_integer(o->call->attempt));
        json_object_set_new(o->token, "by", json_string(o->a->nonce));
        return op_pending(o, "run", 0);
}

static const json_t *place(const struct op *o)
{
        return json_array_get(json_object_get(o->request, "places"), (size_t)aws_integer(o->token, "place", 0));
}

/* The whole body of RunInstances, from request and token alone. */
static void compose(const struct op *o, struct query *q)
{
        const json_t *form = json_object_get(o->request, "form");
        const json_t *labels = json_object_get(json_object_get(o->request, "wanted"), "labels");
        const char *subnet = aws_string(place(o), "subnet", ""), *zone = aws_string(place(o), "zone", "");
        char client[80];

        query_begin(q, "RunInstances", EC2_VERSION);
        query_object(q, form);
        query_add(q, aws_string(o->token, "image", ""), "ImageId");
        if (json_object_get(form, "BlockDeviceMapping.1.Ebs.VolumeSize") &&
            !json_object_get(form, "BlockDeviceMapping.1.DeviceName"))
                query_add(q, aws_string(o->token, "root", ""), "BlockDeviceMapping.1.DeviceName");
        if (*subnet)
                query_add(q, subnet, "SubnetId");
        else if (*zone)
                query_add(q, zone, "Placement.AvailabilityZone");
        snprintf(client, sizeof(client), "%s-%lld.%lld", o->call->op_id,
                 (long long)aws_integer(o->token, "attempt", 1), (long long)aws_integer(o->token, "try", 0));
        query_add(q, client, "ClientToken");
        tags_add(q, 1, "instance", o, labels);
        tags_add(q, 2, "volume", o, labels);
}

static bool is_capacity(const char *code)
{
        return strncmp(code, "Insufficient", 12) == 0 ||
               streq(code, "Unsupported"); /* this type is not offered in that zone */
}

/* The zone has no room, for certain: the next one, as another request. */
static int32_t next_place(struct op *o, const struct fault *f)
{
        int64_t at = aws_integer(o->token, "place", 0) + 1;

        if ((size_t)at < json_array_size(json_object_get(o->request, "places"))) {
                json_object_set_new(o->token, "place", json_integer(at));
                json_object_set_new(o->token, "try", json_integer(aws_integer(o->token, "try", 0) + 1));
                return op_pending(o, "run", 0);
        }
        struct fault last = *f;
        if (last.error_class == PRVNG_TRANSIENT && last.retry_after_ms < 0)
                last.retry_after_ms = CAPACITY_AFTER_MS;
        return aws_report(o->a, o->call, &last, PRVNG_EFFECT_NONE,
                          "server %s: no zone that it may be in (%zu tried) has room for a %s; name more in aws.zones, or"
                          " another plan",
                          o->name, (size_t)at,
                          aws_string(json_object_get(o->request, "form"), "InstanceType", "?"));
}

/* What a request of this step might have left unseen: known only to the process that took it up. */
static void doubt(struct op *o)
{
        _cleanup_(cleanup_free) char *key = aws_format("%s doubt", o->call->op_id);

        pthread_mutex_lock(&o->a->lock);
        if (key)
                json_object_set_new(o->a->sent, key, json_true());
        pthread_mutex_unlock(&o->a->lock);
}

static bool doubted(struct op *o)
{
        _cleanup_(cleanup_free) char *key = aws_format("%s doubt", o->call->op_id);
        bool found;

        if (!streq(aws_string(o->token, "by", ""), o->a->nonce))
                return true;
        pthread_mutex_lock(&o->a->lock);
        found = !key || json_object_get(o->a->sent, key);
        pthread_mutex_unlock(&o->a->lock);
        return found;
}

/* The request was carried out earlier with another body: there is an instance, which will be seen. */
static int32_t mismatch(struct op *o, const struct fault *f)
{
        int32_t answer;

        if (look(o, &answer) == PRVNG_DONE)
                return answer;
        if (op_settled(o))
                return aws_report(o->a, o->call, f, PRVNG_EFFECT_PARTIAL, "server %s was asked for twice", o->name);
        return op_pending(o, "run", 1000);
}

static bool is_new(const struct fault *f)
{
        static const char *const codes[] = {"InvalidSubnetID.NotFound", "InvalidGroup.NotFound",
                                            "InvalidSecurityGroupID.NotFound", "InvalidVpcID.NotFound",
                                            "InvalidAMIID.NotFound"};

        for (size_t i = 0; i < N_ELEMENTS(codes); i++)
                if (streq(f->code, codes[i]))
                        return true;
        return false;
}

static int32_t refused(struct op *o, const struct fault *f)
{
        bool certain = f->error_class != PRVNG_AUTH || !doubted(o);

        if (is_capacity(f->code))
                return next_place(o, f);
        if (streq(f->code, "IdempotentParameterMismatch"))
                return mismatch(o, f);
        if (streq(f->code, "InvalidKeyPair.NotFound")) /* the last server that used it took it along */
                key_lost(o);
        if (f->unknown)
                doubt(o);
        /* What was made a moment ago may not be known everywhere. */
        if ((is_new(f) && !op_settled(o)) ||
            (streq(f->code, "InvalidKeyPair.NotFound") && json_object_get(o->request, "key"))) {
                struct fault later = *f;
                later.error_class = PRVNG_TRANSIENT;
                return op_fault(o, &later, PRVNG_EFFECT_UNKNOWN, "RunInstances");
        }
        if (f->unknown && f->error_class != PRVNG_TRANSIENT && f->error_class != PRVNG_RATE_LIMITED)
                certain = false;
        return op_fault(o, f, certain ? PRVNG_EFFECT_NONE : PRVNG_EFFECT_PARTIAL, "AWS did not start it");
}

static int32_t run(struct op *o)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};
        const struct xml_node *instance;
        struct fault f;
        const char *id;

        if (key_import(o, &f) < 0)
                return op_fault(o, &f, doubted(o) ? PRVNG_EFFECT_PARTIAL : PRVNG_EFFECT_NONE,
                                "its key pair could not be imported");
        compose(o, &q);
        if (aws_ask(o->a, o->call, AWS_EC2, &q, &reply) < 0)
                return refused(o, &reply.fault);
        instance = xml_child(xml_find(reply_root(&reply), "instancesSet"), "item");
        id = xml_text(instance, "instanceId");
        if (!*id) {
                struct fault odd = {.error_class = PRVNG_TRANSIENT, .unknown = true, .retry_after_ms = -1,
                                    .message = "the reply names no instance"};
                return refused(o, &odd);
        }
        json_object_set_new(o->token, "id", json_string(id));
        return op_pending(o, "wait", o->a->poll_ms);
}

/* It ended before it ran: of itself, or because the zone had no room after all. */
static int32_t ended(struct op *o, const struct xml_node *instance)
{
        struct fault f = {.error_class = PRVNG_PERMANENT, .retry_after_ms = -1};
        const char *code = xml_text(instance, "stateReason/code");
        const char *capacity = strstr(code, "Insufficient");

        snprintf(f.code, sizeof(f.code), "%s", capacity ? capacity : code);
        snprintf(f.message, sizeof(f.message), "%s ended while it was starting: %s", xml_text(instance, "instanceId"),
                 xml_text(instance, "stateReason/message"));
        if (strncmp(code, "Server.", 7) == 0)
                f.error_class = PRVNG_TRANSIENT;
        if (capacity)
                return next_place(o, &f);
        return aws_report(o->a, o->call, &f, PRVNG_EFFECT_NONE, "server %s", o->name);
}

static int32_t stop(struct op *o, const char *id)
{
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        _cleanup_(cleanup_reply) struct reply reply = {0};

        query_begin(&q, "StopInstances", EC2_VERSION);
        query_add(&q, id, "InstanceId.1");
        if (aws_ask(o->a, o->call, AWS_EC2, &q, &reply) < 0)
                return op_fault(o, &reply.fault, PRVNG_EFFECT_PARTIAL, "it could not be stopped, as wanted");
        return op_pending(o, "wait", o->a->poll_ms);
}

static int32_t wait(struct op *o)
{
        _cleanup_(cleanup_reply) struct reply reply = {0};
        const char *id = aws_string(o->token, "id", ""), *state;
        const json_t *wanted = json_object_get(o->request, "wanted");
        const struct xml_node *instance;

        if (server_describe(o, id, &reply, &instance) < 0)
                return op_fault(o, &reply.fault, PRVNG_EFFECT_PARTIAL, "its state could not be asked for");
        if (!instance) { /* that it is not seen yet does not say that it is not there */
                if (aws_now_ms() > aws_integer(o->token, "since", 0) + VANISHED * (o->a->settle_ms + 1000))
                        return op_fail(o, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, "%s was never seen", id);
                return op_pending(o, "wait", o->a->poll_ms);
        }
        state = server_state(instance);
        if (streq(state, "shutting-down") || streq(state, "terminated"))
                return ended(o, instance);
        if (streq(state, "pending") || (streq(state, "stopping") && streq(aws_string(wanted, "state", ""), "stopped")))
                return op_pending(o, "wait", o->a->poll_ms);
        if (streq(state, "running") && streq(aws_string(wanted, "state", ""), "stopped"))
                return stop(o, id);
        return op_done(o, PRVNG_DONE, server_result(o, instance));
}

int32_t server_create_poll(struct op *o)
{
        if (op_step(o, "run"))
                return run(o);
        return op_step(o, "wait") ? wait(o) : start(o);
}

int32_t server_cancel(struct op *o)
{
        /* Before RunInstances nothing is there; after it, it runs within a minute and is ended by its undo. */
        if (streq(o->verb, "create") && op_step(o, "begin"))
                return op_fail(o, PRVNG_CANCELLED, PRVNG_EFFECT_NONE, "it was not begun");
        o->a->host->ask_again(o->call, 0);
        return PRVNG_PENDING;
}
