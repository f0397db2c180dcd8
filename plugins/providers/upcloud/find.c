/* SPDX-License-Identifier: Apache-2.0 */
/* What is there: by its id, and by the marks that it carries. */
#include "upcloud.h"

/* "&label=KEY%3DVALUE"; NULL value: nothing. Appends to text; false if it does not fit. */
static bool add_mark(char *text, size_t n, const char *key, const char *value)
{
        _cleanup_(cleanup_free) char *encoded = value ? up_encode(value) : NULL;
        size_t k = strlen(text);

        if (!value)
                return true;
        if (!encoded)
                return false;
        return (size_t)snprintf(text + k, n - k, "%clabel=%s%%3D%s", strchr(text, '?') ? '&' : '?',
                                key, encoded) < n - k;
}

static bool carries(const json_t *resource, const char *key, const char *value)
{
        _cleanup_(cleanup_json) json_t *labels = up_labels(resource);

        return !value || streq(up_string(labels, key, ""), value);
}

int32_t find_marked(struct upcloud *u, struct prvng_call *call, const char *kind, const char *site,
                    const char *workflow, const char *name, const char *op_id, uint32_t effect,
                    json_t **ret)
{
        _cleanup_(cleanup_reply) struct reply reply = REPLY_NULL;
        bool server = streq(kind, "server");
        const char *many = server ? "servers" : streq(kind, "router") ? "routers" : "networks";
        char target[2048];
        json_t *one, *found;
        size_t i;
        int32_t r;

        snprintf(target, sizeof(target), "/%s/", kind);
        if (!add_mark(target, sizeof(target), MARK_SITE, site) ||
            !add_mark(target, sizeof(target), MARK_WORKFLOW, workflow) ||
            !add_mark(target, sizeof(target), MARK_NAME, name) ||
            !add_mark(target, sizeof(target), MARK_OP, op_id))
                return up_fail(u, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, NULL,
                               "upcloud: the name is too long to be looked for");
        if (!strchr(target, '?'))
                strcat(target, "?label=" MARK_OP);
        r = api_get(u, call, target, effect, &reply);
        if (r < 0)
                return r;
        /* The filter of the API is not relied on: to take another's server for ours would be worse
         * than a moment's work. */
        found = json_array();
        json_array_foreach (up_inner(reply.body, many, kind), i, one)
                if (carries(one, MARK_SITE, site) && carries(one, MARK_WORKFLOW, workflow) &&
                    carries(one, MARK_NAME, name) && carries(one, MARK_OP, op_id))
                        json_array_append(found, one);
        *ret = found;
        return PRVNG_DONE;
}

static int32_t find_one(struct upcloud *u, struct prvng_call *call, const char *kind,
                        const char *id, uint32_t effect, json_t **ret)
{
        _cleanup_(cleanup_reply) struct reply reply = REPLY_NULL;
        _cleanup_(cleanup_free) char *encoded = up_encode(id);
        char target[256];
        int32_t r;

        snprintf(target, sizeof(target), "/%s/%.128s", kind, encoded ? encoded : "");
        r = api_get(u, call, target, effect, &reply);
        if (r < 0)
                return r;
        if (reply.status == 404 || !json_is_object(json_object_get(reply.body, kind)))
                return PRVNG_NOT_FOUND;
        *ret = json_incref(json_object_get(reply.body, kind));
        return PRVNG_DONE;
}

int32_t find_server(struct upcloud *u, struct prvng_call *call, const char *id, uint32_t effect,
                    json_t **ret)
{
        return find_one(u, call, "server", id, effect, ret);
}

int32_t find_network(struct upcloud *u, struct prvng_call *call, const char *id, uint32_t effect,
                     json_t **ret)
{
        return find_one(u, call, "network", id, effect, ret);
}
