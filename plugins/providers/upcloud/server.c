/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers: create, delete, and what became of them.
 *
 * A create is one POST. Its reply is all that the result needs, but for the state, which comes from
 * the shared listing; so it costs one request, and one more for the firewall's rules, which can be
 * set only once the server's maintenance is over.
 *
 * A delete stops first (a started server is not deleted), and takes the storages along.
 */
#include "upcloud.h"

#define ASK_MS 500
#define TOKEN_ROOM 3900 /* what does not fit is asked for again */

/* --- create --- */

static json_t *create_token(const char *id, const json_t *server)
{
        json_t *token = json_pack("{s:s, s:s}", "verb", "create", "id", id);
        _cleanup_(cleanup_json) json_t *kept = result_keep(server);
        _cleanup_(cleanup_free) char *text = json_dumps(kept, JSON_COMPACT | JSON_ENSURE_ASCII);

        if (json_object_get(server, "networking") && text && strlen(text) < TOKEN_ROOM)
                json_object_set(token, "server", kept);
        return token;
}

static int32_t created(struct upcloud *u, struct prvng_call *call, const json_t *server,
                       struct prvng_sink *token)
{
        _cleanup_(cleanup_json) json_t *text = create_token(up_string(server, "uuid", ""), server);

        return up_pending(u, call, token, text, ASK_MS);
}

/* Of those that carry the op id, the one that is kept: the oldest; the engine deletes the others.
 */
static const json_t *oldest(const json_t *servers)
{
        const json_t *first = NULL;
        json_t *one;
        size_t i;

        json_array_foreach (servers, i, one) {
                int64_t a = up_number(one, "created", INT64_MAX);
                int64_t b = up_number(first, "created", INT64_MAX);

                if (!first || a < b ||
                    (a == b &&
                     strcmp(up_string(one, "uuid", ""), up_string(first, "uuid", "")) < 0))
                        first = one;
        }
        return first;
}

/* A network's name that is no UUID: one that the account has anyway. */
static int32_t resolve_networks(struct upcloud *u, struct prvng_call *call, struct request *q)
{
        _cleanup_(cleanup_reply) struct reply reply = REPLY_NULL;
        json_t *list = json_object_get(q->spec, "networks"), *nic, *network;
        char target[128];
        size_t i, k;
        int32_t r;

        json_array_foreach (list, i, nic) {
                const char *name = up_string(nic, "network", NULL), *found = NULL;

                if (!name || up_is_uuid(name))
                        continue;
                snprintf(target, sizeof(target), "/network/?zone=%.32s",
                         up_string(q->spec, "zone", ""));
                r = reply.body ? PRVNG_DONE : api_get(u, call, target, PRVNG_EFFECT_NONE, &reply);
                if (r < 0)
                        return r;
                json_array_foreach (up_inner(reply.body, "networks", "network"), k, network)
                        if (streq(up_string(network, "name", ""), name))
                                found = up_string(network, "uuid", NULL);
                if (!found)
                        return up_fail(u, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, "spec.networks",
                                       "upcloud: there is no network \"%s\" in the zone %s, and "
                                       "the workflow"
                                       " defines none",
                                       name, up_string(q->spec, "zone", ""));
                json_object_set_new(nic, "network", json_string(found));
        }
        return PRVNG_DONE;
}

static int32_t post_server(struct upcloud *u, struct prvng_call *call, struct request *q,
                           struct prvng_sink *token)
{
        _cleanup_(cleanup_reply) struct reply reply = REPLY_NULL;
        _cleanup_(cleanup_free) char *image = NULL;
        json_t *body, *server;
        char what[160];
        int32_t r = image_find(u, call, up_string(q->spec, "image", ""), &image);

        r = r < 0 ? r : resolve_networks(u, call, q);
        if (r < 0)
                return r;
        body = body_of_server(q, call->op_id, image);
        if (!body)
                return up_fail(u, call, PRVNG_INTERNAL, PRVNG_EFFECT_NONE, NULL,
                               "upcloud: no memory");
        r = api_change(u, call, "POST", "/server", body, &reply);
        if (r < 0)
                return r;
        snprintf(what, sizeof(what), "server %.100s cannot be made", q->name);
        if (reply.status < 200 || reply.status > 299)
                return api_fail(u, call, &reply, PRVNG_EFFECT_NONE, what);
        server = json_object_get(reply.body, "server");
        if (!up_is_uuid(up_string(server, "uuid", "")))
                return up_fail(u, call, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN, NULL,
                               "upcloud: the reply to the request for server %s names none",
                               q->name);
        return created(u, call, server, token);
}

static int32_t create_begin(struct upcloud *u, struct prvng_call *call, struct request *q,
                            struct prvng_sink *token, struct prvng_sink *result)
{
        _cleanup_(cleanup_json) json_t *servers = NULL;
        int32_t r;

        if (*q->id) { /* the inventory knows it: is it there, and equal? */
                r = change_go(u, call, q, q->id, "create", PRVNG_UNCHANGED, token, result);
                if (r != PRVNG_NOT_FOUND)
                        return r;
        }
        if (call->attempt > 1) { /* one that left before may have made it */
                r = find_marked(u, call, "server", NULL, NULL, NULL, call->op_id,
                                PRVNG_EFFECT_UNKNOWN, &servers);
                if (r < 0)
                        return r;
                if (json_array_size(servers) > 0)
                        return created(u, call, oldest(servers), token);
        }
        return post_server(u, call, q, token);
}

/* What is known of it in full, with the state and the sizes that the listing told just now. */
static json_t *merge(const json_t *kept, const json_t *listed)
{
        static const char *const keys[] = {"state", "plan",     "core_number", "memory_amount",
                                           "title", "hostname", "labels"};
        json_t *server = json_copy((json_t *)(uintptr_t)kept);

        for (size_t i = 0; i < N_ELEMENTS(keys); i++)
                if (json_object_get(listed, keys[i]))
                        json_object_set(server, keys[i], json_object_get(listed, keys[i]));
        return server;
}

static int32_t change_state(struct upcloud *u, struct prvng_call *call, const struct request *q,
                            const char *id, bool start)
{
        _cleanup_(cleanup_reply) struct reply reply = REPLY_NULL;
        char target[128], what[160];
        json_t *body = start ? json_pack("{s:{}}", "server")
                             : json_pack("{s:{s:s, s:s}}", "stop_server", "stop_type", "hard",
                                         "timeout", "900");
        int32_t r;

        snprintf(target, sizeof(target), "/server/%.64s/%s", id, start ? "start" : "stop");
        r = api_change(u, call, "POST", target, body, &reply);
        watch_touch(u, id);
        if (r < 0)
                return r;
        snprintf(what, sizeof(what), "server %.100s cannot be %s", q->name,
                 start ? "started" : "stopped");
        if (reply.status == 404)
                return PRVNG_NOT_FOUND;
        if (reply.status < 200 || reply.status > 299)
                return errors_is_state(&reply)
                               ? PRVNG_PENDING
                               : api_fail(u, call, &reply, api_effect(&reply, PRVNG_EFFECT_PARTIAL),
                                          what);
        return PRVNG_PENDING;
}

/* It is out of maintenance: rules, the state that is wanted, and the result. */
static int32_t create_finish(struct upcloud *u, struct prvng_call *call, const struct request *q,
                             const json_t *kept, const json_t *listed, struct prvng_sink *result)
{
        const char *wanted =
                streq(up_string(q->spec, "state", "running"), "stopped") ? "stopped" : "started";
        const char *id = up_string(listed, "uuid", "");
        _cleanup_(cleanup_json) json_t *server = NULL, *full = NULL, *outputs = NULL;
        int32_t r;

        if (json_array_size(json_object_get(q->json, "rules")) > 0) {
                r = firewall_set(u, call, id, json_object_get(q->json, "rules"), q->name);
                if (r != PRVNG_DONE)
                        return r;
        }
        if (!streq(up_string(listed, "state", ""), wanted))
                return change_state(u, call, q, id, streq(wanted, "started"));
        server = merge(kept, listed);
        if (!result_is_whole(server)) {
                r = find_server(u, call, id, PRVNG_EFFECT_UNKNOWN, &full);
                if (r < 0 && r != PRVNG_NOT_FOUND)
                        return r;
                if (!full || !result_is_whole(full))
                        return PRVNG_PENDING; /* the address in a private network comes later */
        }
        outputs = result_of_server(u, q, full ? full : server);
        return up_reply(u, call, result, outputs);
}

static int32_t create_poll(struct upcloud *u, struct prvng_call *call, const struct request *q,
                           const json_t *token, struct prvng_sink *result)
{
        const char *id = up_string(token, "id", ""), *state;
        const char *wanted =
                streq(up_string(q->spec, "state", "running"), "stopped") ? "stopped" : "started";
        _cleanup_(cleanup_json) json_t *listed = NULL;
        int64_t after;
        int32_t r = watch_server(u, call, q->site, id, wanted, &listed, &after);

        if (r < 0)
                return r;
        if (r == WATCH_GONE) { /* a list may lag behind: this one says for certain */
                r = find_server(u, call, id, PRVNG_EFFECT_UNKNOWN, &listed);
                if (r == PRVNG_NOT_FOUND)
                        return up_fail(
                                u, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, NULL,
                                "upcloud: server %s was deleted by somebody while it was made",
                                q->name);
                if (r < 0)
                        return r;
        }
        state = up_string(listed, "state", "");
        if (streq(state, "started") || streq(state, "stopped")) {
                r = create_finish(u, call, q, json_object_get(token, "server"), listed, result);
                if (r != PRVNG_PENDING)
                        return r;
                after = ASK_MS;
        } else if (*state && !streq(state, "maintenance")) {
                u->host->progress(call, 0, state);
        }
        return up_pending(u, call, NULL, NULL, after);
}

static int32_t create_observe(struct upcloud *u, struct prvng_call *call, const struct request *q,
                              const json_t *token, struct prvng_sink *new_token)
{
        _cleanup_(cleanup_json) json_t *servers = NULL, *known = NULL;
        const char *id = up_string(token, "id", "");
        const json_t *server;
        int32_t r = watch_made_by(u, call, q->site, call->op_id, &servers);

        if (r < 0)
                return r;
        if (r == WATCH_UNKNOWN)
                return PRVNG_OBSERVED_UNCERTAIN;
        server = oldest(servers);
        if (!server && *id) { /* its labels may have been changed */
                r = find_server(u, call, id, PRVNG_EFFECT_UNKNOWN, &known);
                if (r < 0 && r != PRVNG_NOT_FOUND)
                        return r;
                server = known;
        }
        if (!server)
                return PRVNG_OBSERVED_NOT_STARTED;
        r = created(u, call, server, new_token);
        return r < 0 ? r : PRVNG_OBSERVED_IN_PROGRESS;
}

/* --- delete --- */

static int32_t deleting(struct upcloud *u, struct prvng_call *call, const char *id, bool stopping,
                        struct prvng_sink *token)
{
        _cleanup_(cleanup_json) json_t *text =
                json_pack("{s:s, s:s, s:b}", "verb", "delete", "id", id, "stopping", stopping);

        return up_pending(u, call, token, text, ASK_MS);
}

static int32_t is_gone(struct upcloud *u, struct prvng_call *call, int32_t class,
                       struct prvng_sink *result)
{
        _cleanup_(cleanup_json) json_t *nothing = json_object();
        int32_t r = up_reply(u, call, result, nothing);

        return r < 0 ? r : class;
}

/* It is stopped. */
static int32_t remove_server(struct upcloud *u, struct prvng_call *call, const struct request *q,
                             const char *id, struct prvng_sink *token, struct prvng_sink *result)
{
        _cleanup_(cleanup_reply) struct reply reply = REPLY_NULL;
        char target[128], what[160];
        int32_t r;

        snprintf(target, sizeof(target), "/server/%.64s/?storages=1", id);
        r = api_change(u, call, "DELETE", target, NULL, &reply);
        watch_touch(u, id);
        if (r < 0)
                return r;
        if (reply.status == 404 || (reply.status >= 200 && reply.status <= 299))
                return is_gone(u, call, PRVNG_DONE, result);
        if (errors_is_state(&reply))
                return deleting(u, call, id, false, token);
        snprintf(what, sizeof(what), "server %.100s cannot be deleted", q->name);
        return api_fail(u, call, &reply, api_effect(&reply, PRVNG_EFFECT_PARTIAL), what);
}

/* In which state is it? Not asked from the listing, which may be of before. */
static int32_t delete_look(struct upcloud *u, struct prvng_call *call, const struct request *q,
                           const char *id, int32_t absent, struct prvng_sink *token,
                           struct prvng_sink *result)
{
        _cleanup_(cleanup_json) json_t *server = NULL;
        int32_t r = find_server(u, call, id, PRVNG_EFFECT_UNKNOWN, &server);

        if (r == PRVNG_NOT_FOUND)
                return is_gone(u, call, absent, result);
        if (r < 0)
                return r;
        if (streq(up_string(server, "state", ""), "stopped"))
                return remove_server(u, call, q, id, token, result);
        return deleting(u, call, id, false, token);
}

static int32_t delete_begin(struct upcloud *u, struct prvng_call *call, const struct request *q,
                            struct prvng_sink *token, struct prvng_sink *result)
{
        _cleanup_(cleanup_reply) struct reply reply = REPLY_NULL;
        _cleanup_(cleanup_json) json_t *servers = NULL;
        const char *id = q->id;
        char target[128], what[160];
        int32_t r;

        if (!*id) {
                r = find_marked(u, call, "server", q->site, q->workflow, q->name, NULL,
                                PRVNG_EFFECT_NONE, &servers);
                if (r < 0)
                        return r;
                id = up_string(json_array_get(servers, 0), "uuid", "");
                if (!*id)
                        return is_gone(u, call, PRVNG_UNCHANGED, result);
        }
        snprintf(target, sizeof(target), "/server/%.64s/stop", id);
        r = api_change(
                u, call, "POST", target,
                json_pack("{s:{s:s, s:s}}", "stop_server", "stop_type", "hard", "timeout", "900"),
                &reply);
        watch_touch(u, id);
        if (r < 0)
                return r;
        if (reply.status == 404)
                return is_gone(u, call, PRVNG_UNCHANGED, result);
        if (reply.status >= 200 && reply.status <= 299)
                return deleting(u, call, id, true, token);
        if (errors_is_state(&reply)) /* stopped already, or under maintenance */
                return delete_look(u, call, q, id, PRVNG_UNCHANGED, token, result);
        snprintf(what, sizeof(what), "server %.100s cannot be stopped", q->name);
        return api_fail(u, call, &reply, PRVNG_EFFECT_NONE, what);
}

static int32_t delete_poll(struct upcloud *u, struct prvng_call *call, const struct request *q,
                           const json_t *token, struct prvng_sink *new_token,
                           struct prvng_sink *result)
{
        const char *id = up_string(token, "id", ""), *state;
        _cleanup_(cleanup_json) json_t *listed = NULL;
        int64_t after;
        int32_t r = watch_server(u, call, q->site, id, "stopped", &listed, &after);

        if (r < 0)
                return r;
        if (r == WATCH_GONE)
                return delete_look(u, call, q, id, PRVNG_DONE, new_token, result);
        state = up_string(listed, "state", "");
        if (streq(state, "stopped") || streq(state, "error"))
                return remove_server(u, call, q, id, new_token, result);
        if (streq(state, "started") && !up_yes(token, "stopping", false)) {
                r = change_state(u, call, q, id, false);
                if (r == PRVNG_NOT_FOUND)
                        return is_gone(u, call, PRVNG_DONE, result);
                return r < 0 ? r : deleting(u, call, id, true, new_token);
        }
        return up_pending(u, call, NULL, NULL, after);
}

static int32_t delete_observe(struct upcloud *u, struct prvng_call *call, const struct request *q,
                              const json_t *token, struct prvng_sink *result)
{
        _cleanup_(cleanup_json) json_t *server = NULL, *servers = NULL;
        const char *id = *q->id ? q->id : up_string(token, "id", "");
        int32_t r;

        if (!*id) {
                r = find_marked(u, call, "server", q->site, q->workflow, q->name, NULL,
                                PRVNG_EFFECT_UNKNOWN, &servers);
                if (r < 0)
                        return r;
                if (json_array_size(servers) > 0)
                        return PRVNG_OBSERVED_NOT_STARTED;
                return is_gone(u, call, PRVNG_OBSERVED_DONE, result);
        }
        r = find_server(u, call, id, PRVNG_EFFECT_UNKNOWN, &server);
        if (r == PRVNG_NOT_FOUND)
                return is_gone(u, call, PRVNG_OBSERVED_DONE, result);
        if (r < 0)
                return r;
        return streq(up_string(server, "state", ""), "started") ? PRVNG_OBSERVED_NOT_STARTED
                                                                : PRVNG_OBSERVED_PARTIAL;
}

/* --- check, read, list --- */

static void add_drift(json_t *drift, const char *attribute, const char *wanted, const char *found)
{
        json_array_append_new(drift, json_pack("{s:s, s:s, s:s}", "attribute", attribute, "wanted",
                                               wanted, "found", found));
}

/* By its id, else by its marks. */
static int32_t find_request(struct upcloud *u, struct prvng_call *call, const struct request *q,
                            json_t **ret)
{
        _cleanup_(cleanup_json) json_t *servers = NULL;
        int32_t r;

        if (*q->id)
                return find_server(u, call, q->id, PRVNG_EFFECT_NONE, ret);
        r = find_marked(u, call, "server", q->site, q->workflow, q->name, NULL, PRVNG_EFFECT_NONE,
                        &servers);
        if (r < 0)
                return r;
        if (json_array_size(servers) == 0)
                return PRVNG_NOT_FOUND;
        return find_server(u, call, up_string(json_array_get(servers, 0), "uuid", ""),
                           PRVNG_EFFECT_NONE, ret);
}

/* What was adopted has none: no drift, though an update sets them. */
static void drop_marks(json_t *drift)
{
        for (size_t i = json_array_size(drift); i-- > 0;)
                if (streq(up_string(json_array_get(drift, i), "attribute", ""), "marks"))
                        json_array_remove(drift, i);
}

static int32_t check_begin(struct upcloud *u, struct prvng_call *call, const struct request *q,
                           struct prvng_sink *result)
{
        const char *wanted = up_string(q->spec, "state", "running"), *found;
        const json_t *rules = json_object_get(q->json, "rules");
        _cleanup_(cleanup_json) json_t *server = NULL, *outputs = NULL, *drift = NULL;
        bool same = true;
        int32_t r = find_request(u, call, q, &server);

        if (r < 0 && r != PRVNG_NOT_FOUND)
                return r;
        outputs = server ? result_of_server(u, q, server) : json_object();
        drift = server ? diff_server(q, server) : json_array();
        drop_marks(drift);
        found = server ? result_state(up_string(server, "state", "")) : "absent";
        if (!streq(found, wanted))
                add_drift(drift, "state", wanted, found);
        if (server && json_array_size(rules) > 0) {
                r = firewall_compare(u, call, up_string(server, "uuid", ""), rules, &same);
                if (r < 0)
                        return r;
                if (!same)
                        add_drift(drift, "firewall", "the rules of its security groups", "others");
        }
        if (json_array_size(drift) > 0)
                json_object_set(outputs, "drift", drift);
        r = up_reply(u, call, result, outputs);
        if (r < 0)
                return r;
        return json_array_size(drift) > 0 ? PRVNG_DONE : PRVNG_UNCHANGED;
}

static int32_t read_server(struct upcloud *u, struct prvng_call *call, const struct request *q,
                           struct prvng_sink *result)
{
        _cleanup_(cleanup_json) json_t *server = NULL, *outputs = NULL;
        int32_t r = find_request(u, call, q, &server);

        if (r == PRVNG_NOT_FOUND)
                return up_fail(u, call, r, PRVNG_EFFECT_NONE, NULL,
                               "upcloud: there is no server %s", q->name);
        if (r < 0)
                return r;
        outputs = result_of_server(u, q, server);
        return up_reply(u, call, result, outputs);
}

static int32_t list_servers(struct upcloud *u, struct prvng_call *call, const json_t *filter,
                            json_t *resources)
{
        _cleanup_(cleanup_json) json_t *servers = NULL;
        json_t *one;
        size_t i;
        int32_t r = find_marked(u, call, "server", up_string(filter, "site", NULL),
                                up_string(filter, "workflow", NULL), NULL,
                                up_string(filter, "op_id", NULL), PRVNG_EFFECT_NONE, &servers);

        if (r < 0)
                return r;
        json_array_foreach (servers, i, one) {
                _cleanup_(cleanup_json) json_t *labels = up_labels(one);

                json_array_append_new(resources,
                                      json_pack("{s:s, s:s, s:s, s:s, s:s, s:{s:s}}", "kind",
                                                "server", "name", up_string(labels, MARK_NAME, ""),
                                                "op_id", up_string(labels, MARK_OP, ""), "workflow",
                                                up_string(labels, MARK_WORKFLOW, ""), "site",
                                                up_string(labels, MARK_SITE, ""), "identity", "id",
                                                up_string(one, "uuid", "")));
        }
        return PRVNG_DONE;
}

/* --- by verb --- */

static int32_t begin(struct upcloud *u, struct prvng_call *call, const char *verb,
                     const struct request *q, struct prvng_sink *token, struct prvng_sink *result)
{
        if (streq(verb, "create"))
                return create_begin(u, call, (struct request *)(uintptr_t)q, token, result);
        if (streq(verb, "delete"))
                return delete_begin(u, call, q, token, result);
        if (streq(verb, "update"))
                return change_begin(u, call, q, token, result);
        return check_begin(u, call, q, result);
}

static int32_t poll(struct upcloud *u, struct prvng_call *call, const char *verb,
                    const struct request *q, json_t *token, struct prvng_sink *new_token,
                    struct prvng_sink *result)
{
        if (up_present(token, "change"))
                return change_poll(u, call, verb, q, token, new_token, result);
        if (streq(verb, "create"))
                return create_poll(u, call, q, token, result);
        return delete_poll(u, call, q, token, new_token, result);
}

static int32_t observe(struct upcloud *u, struct prvng_call *call, const char *verb,
                       const struct request *q, json_t *token, struct prvng_sink *new_token,
                       struct prvng_sink *result)
{
        if (streq(verb, "check")) /* it has no effect that could be lost */
                return PRVNG_OBSERVED_NOT_STARTED;
        if (streq(verb, "delete"))
                return delete_observe(u, call, q, token, result);
        if (streq(verb, "update") || up_present(token, "change"))
                return change_observe(u, call, q, result);
        return create_observe(u, call, q, token, new_token);
}

const struct kind kind_server = {
        .name = "server",
        .prepare = server_prepare,
        .begin = begin,
        .poll = poll,
        .observe = observe,
        .read = read_server,
        .list = list_servers,
};
