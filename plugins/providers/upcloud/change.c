/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Update of a server: one step after another from what is the case to what is wanted, each found
 * out anew, so that it goes on from wherever it was left:
 *
 *      maintenance             wait
 *      title, labels, ...      PUT, while it runs
 *      sizes, disks, networks  need it stopped: stop, wait, change
 *      rules                   replaced as a whole
 *      state                   start or stop, wait
 *
 * A token of an update has "change": the state that is waited for, "" if any that lasts will do.
 */
#include "upcloud.h"

#define ASK_MS 500
#define STEPS_MAX 8

struct change {
        struct upcloud *u;
        struct prvng_call *call;
        const struct request *q;
        const char *id;
        const char *verb;
        json_t *server;
        bool changed;
        bool polling; /* what may work later is asked for again by the next poll */
};

static uint32_t effect_of(const struct change *c)
{
        return c->changed ? PRVNG_EFFECT_PARTIAL : PRVNG_EFFECT_NONE;
}

static int32_t waiting(struct change *c, const char *state, struct prvng_sink *token)
{
        _cleanup_(cleanup_json) json_t *text =
                json_pack("{s:s, s:s, s:s}", "verb", c->verb, "id", c->id, "change", state);

        return up_pending(c->u, c->call, token, text, ASK_MS);
}

/* One request that changes something. DONE; PENDING: the state does not allow it now; or an error.
 */
static int32_t apply(struct change *c, const char *method, const char *target, json_t *body)
{
        _cleanup_(cleanup_reply) struct reply reply = REPLY_NULL;
        int32_t r = api_change(c->u, c->call, method, target, body, &reply);
        char what[160];

        if (r < 0)
                return r;
        if (reply.status >= 200 && reply.status <= 299) {
                c->changed = true;
                return PRVNG_DONE;
        }
        if (errors_is_state(&reply))
                return PRVNG_PENDING;
        snprintf(what, sizeof(what), "server %.100s cannot be changed", c->q->name);
        return api_fail(c->u, c->call, &reply,
                        c->polling ? api_effect(&reply, effect_of(c)) : effect_of(c), what);
}

static bool has(const json_t *drift, const char *attribute)
{
        json_t *one;
        size_t i;

        json_array_foreach (drift, i, one)
                if (streq(up_string(one, "attribute", ""), attribute))
                        return true;
        return false;
}

static const json_t *needs(const json_t *drift, const char *how)
{
        json_t *one;
        size_t i;

        json_array_foreach (drift, i, one)
                if (streq(up_string(one, "how", ""), how))
                        return one;
        return NULL;
}

static int32_t put_server(struct change *c, json_t *server)
{
        char target[96];

        snprintf(target, sizeof(target), "/server/%.64s", c->id);
        return apply(c, "PUT", target, json_pack("{s:o}", "server", server));
}

static int32_t change_live(struct change *c, const json_t *drift)
{
        _cleanup_(cleanup_json) json_t *labels = up_labels(c->server);
        json_t *server = json_object();

        if (has(drift, "title"))
                json_object_set(server, "title", json_object_get(c->q->spec, "title"));
        if (has(drift, "hostname"))
                json_object_set(server, "hostname", json_object_get(c->q->spec, "hostname"));
        if (has(drift, "labels") ||
            has(drift, "marks")) /* replaces all; the op id that made it stays */
                json_object_set_new(server, "labels",
                                    body_labels(c->q, up_string(labels, MARK_OP, c->call->op_id)));
        if (has(drift, "firewall"))
                json_object_set_new(
                        server, "firewall",
                        json_string(json_array_size(json_object_get(c->q->json, "rules")) ? "on"
                                                                                          : "off"));
        return put_server(c, server);
}

static int32_t resize_disk(struct change *c, const json_t *storage, int64_t size)
{
        _cleanup_(cleanup_free) char *text = up_format("%lld", (long long)size);
        char target[96];

        snprintf(target, sizeof(target), "/storage/%.64s", up_string(storage, "storage", ""));
        return apply(c, "PUT", target, json_pack("{s:{s:s}}", "storage", "size", text ? text : ""));
}

static int32_t new_disk(struct change *c, const json_t *wanted)
{
        _cleanup_(cleanup_reply) struct reply reply = REPLY_NULL;
        _cleanup_(cleanup_free) char *size =
                up_format("%lld", (long long)up_number(wanted, "size", 1));
        char target[96], what[160];
        json_t *body = json_pack("{s:{s:s, s:s, s:s, s:s}}", "storage", "size", size ? size : "",
                                 "tier", up_string(wanted, "tier", "maxiops"), "title",
                                 up_string(wanted, "title", "disk"), "zone",
                                 up_string(c->q->spec, "zone", ""));
        int32_t r = api_change(c->u, c->call, "POST", "/storage", body, &reply);

        if (r < 0)
                return r;
        if (reply.status < 200 || reply.status > 299) {
                snprintf(what, sizeof(what), "a storage for server %.100s cannot be made",
                         c->q->name);
                return api_fail(c->u, c->call, &reply, effect_of(c), what);
        }
        c->changed = true;
        snprintf(target, sizeof(target), "/server/%.64s/storage/attach", c->id);
        return apply(c, "POST", target,
                     json_pack("{s:{s:s, s:s}}", "storage_device", "type", "disk", "storage",
                               up_string(json_object_get(reply.body, "storage"), "uuid", "")));
}

/* The first disk that is not as wanted. Whether all are is looked at anew after each. */
static int32_t change_disks(struct change *c)
{
        json_t *list = up_inner(c->server, "storage_devices", "storage_device"), *one;
        json_t *more = json_object_get(c->q->spec, "storages");
        size_t i, n = 0;

        json_array_foreach (list, i, one) {
                int64_t wanted;

                if (streq(up_string(one, "type", "disk"), "cdrom"))
                        continue;
                wanted = n == 0 ? up_number(c->q->spec, "disk", 0)
                                : up_number(json_array_get(more, n - 1), "size", 0);
                n++;
                if (wanted > up_number(one, "storage_size", 0))
                        return resize_disk(c, one, wanted);
        }
        if (n > 0 && n - 1 < json_array_size(more))
                return new_disk(c, json_array_get(more, n - 1));
        return PRVNG_DONE;
}

static int32_t attach_network(struct change *c, const json_t *drift)
{
        json_t *one;
        char target[96];
        size_t i;

        snprintf(target, sizeof(target), "/server/%.64s/networking/interface", c->id);
        json_array_foreach (drift, i, one)
                if (streq(up_string(one, "attribute", ""), "networks"))
                        return apply(c, "POST", target,
                                     json_pack("{s:{s:s, s:s, s:{s:[{s:s}]}}}", "interface", "type",
                                               "private", "network", up_string(one, "wanted", ""),
                                               "ip_addresses", "ip_address", "family", "IPv4"));
        return PRVNG_DONE;
}

/* Needs it stopped. */
static int32_t change_stopped(struct change *c, const json_t *drift)
{
        const json_t *spec = c->q->spec;
        json_t *server;

        if (has(drift, "plan"))
                return put_server(c, json_pack("{s:s}", "plan", up_string(spec, "plan", "")));
        if (has(drift, "cpu") || has(drift, "memory")) { /* as texts here, unlike in a create */
                _cleanup_(cleanup_free) char *cpu =
                        up_format("%lld", (long long)up_number(spec, "cpu", 1));
                _cleanup_(cleanup_free) char *memory =
                        up_format("%lld", (long long)up_number(spec, "memory", 1024));

                server = json_pack("{s:s, s:s}", "core_number", cpu ? cpu : "", "memory_amount",
                                   memory ? memory : "");
                if (!streq(up_string(c->server, "plan", "custom"), "custom"))
                        json_object_set_new(server, "plan", json_string("custom"));
                return put_server(c, server);
        }
        if (has(drift, "networks"))
                return attach_network(c, drift);
        return change_disks(c);
}

/* soft: the system inside shuts down, and is ended after the timeout. */
static int32_t set_state(struct change *c, bool start)
{
        char target[96];
        int32_t r;

        snprintf(target, sizeof(target), "/server/%.64s/%s", c->id, start ? "start" : "stop");
        r = apply(c, "POST", target,
                  start ? json_pack("{s:{}}", "server")
                        : json_pack("{s:{s:s, s:s}}", "stop_server", "stop_type", "soft", "timeout",
                                    "120"));
        watch_touch(c->u, c->id);
        return r;
}

static int32_t look(struct change *c)
{
        json_decref(c->server);
        c->server = NULL;
        return find_server(c->u, c->call, c->id, c->polling ? PRVNG_EFFECT_UNKNOWN : effect_of(c),
                           &c->server);
}

static int32_t set_rules(struct change *c)
{
        const json_t *rules = json_object_get(c->q->json, "rules");
        bool same;
        int32_t r;

        if (json_array_size(rules) == 0)
                return PRVNG_DONE;
        r = firewall_compare(c->u, c->call, c->id, rules, &same);
        if (r < 0 || same)
                return r;
        r = firewall_set(c->u, c->call, c->id, rules, c->q->name);
        c->changed = c->changed || r == PRVNG_DONE;
        return r;
}

/* One step. DONE: go on; PENDING: with a token; 1 in *ret_end: all is as wanted. */
static int32_t step(struct change *c, struct prvng_sink *token, bool *ret_end)
{
        bool run = !streq(up_string(c->q->spec, "state", "running"), "stopped");
        const char *state = up_string(c->server, "state", "");
        bool started = streq(state, "started"), stopped = streq(state, "stopped");
        _cleanup_(cleanup_json) json_t *drift = diff_server(c->q, c->server);
        const json_t *no = needs(drift, "replace");
        int32_t r;

        if (no && json_is_null(json_object_get(no, "wanted")))
                return up_fail(c->u, c->call, PRVNG_PERMANENT, effect_of(c),
                               up_string(no, "attribute", ""),
                               "upcloud: server %s has %s, which its definition has no more; no update "
                               "takes data away: detach that storage from it yourself, or write it again",
                               c->q->name, up_string(no, "attribute", ""));
        if (no)
                return up_fail(
                        c->u, c->call, PRVNG_PERMANENT, effect_of(c),
                        up_string(no, "attribute", ""),
                        "upcloud: %s of server %s cannot be changed, it would have to be made anew:"
                        " delete it and create it again",
                        up_string(no, "attribute", ""), c->q->name);
        if (!started && !stopped)
                return waiting(c, "", token);
        if (needs(drift, "live"))
                r = change_live(c, drift);
        else if (needs(drift, "restart") && started)
                r = set_state(c, false);
        else if (needs(drift, "restart"))
                r = change_stopped(c, drift);
        else if ((r = set_rules(c)) == PRVNG_DONE && run != started)
                r = set_state(c, run);
        else if (r == PRVNG_DONE)
                *ret_end = true;
        if (r == PRVNG_PENDING)
                return waiting(c, "", token);
        if (r == PRVNG_DONE && !*ret_end &&
            ((needs(drift, "restart") && !needs(drift, "live") && started) ||
             (json_array_size(drift) == 0 && run != started)))
                return waiting(c, started ? "stopped" : "started", token);
        return r;
}

static int32_t finish(struct change *c, int32_t unchanged, struct prvng_sink *result)
{
        _cleanup_(cleanup_json) json_t *outputs = result_of_server(c->u, c->q, c->server);
        int32_t r = up_reply(c->u, c->call, result, outputs);

        return r < 0 ? r : c->changed ? PRVNG_DONE : unchanged;
}

int32_t change_go(struct upcloud *u, struct prvng_call *call, const struct request *q,
                  const char *id, const char *verb, int32_t unchanged, struct prvng_sink *token,
                  struct prvng_sink *result)
{
        struct change c = {.u = u,
                           .call = call,
                           .q = q,
                           .id = id,
                           .verb = verb,
                           .changed = unchanged == PRVNG_DONE,
                           .polling = unchanged == PRVNG_DONE};
        bool end = false;
        int32_t r = PRVNG_DONE;

        for (int i = 0; i < STEPS_MAX && r == PRVNG_DONE && !end; i++) {
                r = look(&c);
                r = r == PRVNG_DONE ? step(&c, token, &end) : r;
        }
        if (end)
                r = finish(&c, unchanged, result);
        else if (r == PRVNG_DONE)
                r = waiting(&c, "", token);
        json_decref(c.server);
        return r;
}

static int32_t is_missing(struct upcloud *u, struct prvng_call *call, const struct request *q)
{
        return up_fail(u, call, PRVNG_NOT_FOUND, PRVNG_EFFECT_NONE, NULL,
                       "upcloud: there is no server %s; somebody deleted it, create makes it again",
                       q->name);
}

int32_t change_begin(struct upcloud *u, struct prvng_call *call, const struct request *q,
                     struct prvng_sink *token, struct prvng_sink *result)
{
        _cleanup_(cleanup_json) json_t *servers = NULL;
        const char *id = q->id;
        int32_t r;

        if (!*id) {
                r = find_marked(u, call, "server", q->site, q->workflow, q->name, NULL,
                                PRVNG_EFFECT_NONE, &servers);
                if (r < 0)
                        return r;
                id = up_string(json_array_get(servers, 0), "uuid", "");
        }
        r = *id ? change_go(u, call, q, id, "update", PRVNG_UNCHANGED, token, result)
                : PRVNG_NOT_FOUND;
        return r == PRVNG_NOT_FOUND ? is_missing(u, call, q) : r;
}

int32_t change_poll(struct upcloud *u, struct prvng_call *call, const char *verb,
                    const struct request *q, const json_t *token, struct prvng_sink *new_token,
                    struct prvng_sink *result)
{
        const char *id = up_string(token, "id", ""), *wanted = up_string(token, "change", "");
        _cleanup_(cleanup_json) json_t *listed = NULL;
        int64_t after;
        int32_t r;

        if (*wanted) {
                r = watch_server(u, call, q->site, id, wanted, &listed, &after);
                if (r < 0)
                        return r;
                if (r != WATCH_GONE && !streq(up_string(listed, "state", ""), wanted))
                        return up_pending(u, call, NULL, NULL, after);
        }
        r = change_go(u, call, q, id, verb, PRVNG_DONE, new_token, result);
        return r == PRVNG_NOT_FOUND ? is_missing(u, call, q) : r;
}

int32_t change_observe(struct upcloud *u, struct prvng_call *call, const struct request *q,
                       struct prvng_sink *result)
{
        _cleanup_(cleanup_json) json_t *server = NULL, *drift = NULL, *outputs = NULL;
        const json_t *rules = json_object_get(q->json, "rules");
        bool run = !streq(up_string(q->spec, "state", "running"), "stopped"), same = true;
        int32_t r = *q->id ? find_server(u, call, q->id, PRVNG_EFFECT_UNKNOWN, &server)
                           : PRVNG_OBSERVED_PARTIAL;

        if (r == PRVNG_NOT_FOUND) {
                is_missing(u, call, q);
                return PRVNG_OBSERVED_FAILED;
        }
        if (!server)
                return r;
        drift = diff_server(q, server);
        if (json_array_size(drift) > 0 ||
            !streq(up_string(server, "state", ""), run ? "started" : "stopped"))
                return PRVNG_OBSERVED_PARTIAL;
        if (json_array_size(rules) > 0 && (r = firewall_compare(u, call, q->id, rules, &same)) < 0)
                return r;
        if (!same)
                return PRVNG_OBSERVED_PARTIAL;
        outputs = result_of_server(u, q, server);
        r = up_reply(u, call, result, outputs);
        return r < 0 ? r : PRVNG_OBSERVED_DONE;
}
