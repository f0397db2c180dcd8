/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers: what only looks, and changes nothing.
 */
#include "server.h"

static void add_drift(json_t *drift, const char *attribute, json_t *wanted, json_t *found)
{
        json_array_append_new(drift, json_pack("{s:s, s:o, s:o}", "attribute", attribute, "wanted",
                                               wanted ? wanted : json_null(), "found",
                                               found ? found : json_null()));
}

static json_t *drift_of(const struct server *s, const struct request *q)
{
        static const char *const keys[] = {"cpu", "memory", "image", "disk", "local"};
        const json_t *former = json_object_get(s->made, "spec");
        json_t *drift = json_array();
        bool stopped = streq(server_wanted_state(q->spec), "stopped");

        if (!s->made || server_leaves(s)) {
                add_drift(drift, "state", json_string(stopped ? "stopped" : "running"),
                          json_string("absent"));
                return drift;
        }
        if (stopped ? s->alive : !streq(server_case_of(s), "running"))
                add_drift(drift, "state", json_string(stopped ? "stopped" : "running"),
                          json_string(server_case_of(s)));
        for (size_t i = 0; i < N_ELEMENTS(keys); i++)
                if (server_differs(former, q->spec, keys[i]))
                        add_drift(drift, keys[i], json_incref(json_object_get(q->spec, keys[i])),
                                  json_incref(json_object_get(former, keys[i])));
        return drift;
}

int32_t server_check(struct local *l, struct prvng_call *call, const struct request *q,
                     struct prvng_sink *result)
{
        _cleanup_(cleanup_server) struct server s = {0};
        _cleanup_(cleanup_json) json_t *j = NULL, *drift = NULL;

        if (server_load(l, q->name, &s) < 0)
                return PRVNG_INTERNAL;
        if (s.made && !server_is_owned(&s, q))
                return server_owned_by_other(l, call, &s, q);
        drift = drift_of(&s, q);
        j = s.made ? server_make_result(l, &s, q->name) : json_object();
        if (json_array_size(drift) > 0)
                json_object_set(j, "drift", drift);
        int32_t r = local_reply(l, call, result, j);
        if (r < 0)
                return r;
        return json_array_size(drift) > 0 ? PRVNG_DONE : PRVNG_UNCHANGED;
}

int32_t server_observe(struct local *l, struct prvng_call *call, const struct request *q,
                       const char *verb, const char *job, struct prvng_sink *token,
                       struct prvng_sink *result)
{
        _cleanup_(cleanup_server) struct server s = {0};
        bool create = streq(verb, "create");

        if (streq(verb, "check"))
                return PRVNG_OBSERVED_NOT_STARTED; /* has no effect that could be lost */
        if (server_load(l, q->name, &s) < 0)
                return PRVNG_INTERNAL;
        bool wished = s.made && streq(local_string(s.wanted, "op_id", ""), call->op_id);
        if (streq(verb, "delete")) {
                if (access(s.folder, F_OK) < 0 || (s.made && !server_is_owned(&s, q))) {
                        int32_t r = server_after_removal(l, call, job, result);
                        if (r == PRVNG_PENDING)
                                return server_with_token(l, call, PRVNG_OBSERVED_IN_PROGRESS, token,
                                                         verb, job);
                        return r < 0 ? r : PRVNG_OBSERVED_DONE;
                }
                if (!wished && !server_leaves(&s))
                        return PRVNG_OBSERVED_NOT_STARTED;
                if (!s.monitored)
                        return PRVNG_OBSERVED_PARTIAL;
                _cleanup_(cleanup_free) char *own = s.made ? server_monitor_job(&s) : NULL;
                l->host->ask_again(call, ASK_MS);
                return server_with_token(l, call, PRVNG_OBSERVED_IN_PROGRESS, token, verb, own);
        }
        /* A later operation may have changed what this one made: made it was. */
        bool later = create && server_made_by(&s, call->op_id) && s.wanted && !wished;
        if (later || server_is_fulfilled(&s, call->op_id)) {
                int32_t r = server_reply(l, call, &s, q->name, result, PRVNG_DONE);
                return r < 0 ? r : PRVNG_OBSERVED_DONE;
        }
        if (!wished && !(create && server_made_by(&s, call->op_id)))
                return PRVNG_OBSERVED_NOT_STARTED;
        if (!s.monitored || server_has_failed(&s, call->op_id))
                return PRVNG_OBSERVED_PARTIAL;
        l->host->ask_again(call, ASK_MS);
        return server_with_token(l, call, PRVNG_OBSERVED_IN_PROGRESS, token, verb, NULL);
}

int32_t server_read(struct local *l, struct prvng_call *call, const json_t *task,
                    struct prvng_sink *result)
{
        _cleanup_(cleanup_server) struct server s = {0};
        const char *name = local_string(task, "name", "");

        if (!local_valid_name(name) || server_load(l, name, &s) < 0 || !s.made || server_leaves(&s))
                return local_fail(l, call, PRVNG_NOT_FOUND, PRVNG_EFFECT_NONE, NULL,
                                  "local: there is no server %s", name);
        return server_reply(l, call, &s, name, result, PRVNG_DONE);
}

static bool passes(const struct server *s, const json_t *filter)
{
        static const char *const keys[] = {"op_id", "workflow", "site"};

        for (size_t i = 0; i < N_ELEMENTS(keys); i++) {
                const char *want = local_string(filter, keys[i], NULL);
                if (want && !streq(want, local_string(s->made, keys[i], "")))
                        return false;
        }
        return streq(local_string(filter, "kind", "server"), "server");
}

int32_t server_list(struct local *l, struct prvng_call *call, const json_t *filter,
                    struct prvng_sink *result)
{
        struct site site = {.folder = (char *)(uintptr_t)local_state(l)};
        _cleanup_(cleanup_json) json_t *names = NULL;
        _cleanup_(cleanup_json) json_t *j = json_pack("{s:[]}", "resources");
        size_t i;
        json_t *name;

        if (!j || site_servers(&site, &names) < 0)
                return PRVNG_INTERNAL;
        json_array_foreach(names, i, name)
        {
                _cleanup_(cleanup_server) struct server s = {0};

                if (server_load(l, json_string_value(name), &s) < 0)
                        return PRVNG_INTERNAL;
                if (!s.made || !passes(&s, filter))
                        continue;
                json_array_append_new(
                        json_object_get(j, "resources"),
                        json_pack("{s:s, s:O, s:s, s:s, s:s, s:o}", "kind", "server", "name", name,
                                  "op_id", local_string(s.made, "op_id", ""), "workflow",
                                  local_string(s.made, "workflow", ""), "site",
                                  local_string(s.made, "site", ""), "identity",
                                  server_make_result(l, &s, json_string_value(name))));
        }
        return local_reply(l, call, result, j);
}

int32_t server_cancel(struct local *l, struct prvng_call *call, const struct request *q,
                      const char *verb, struct prvng_sink *result)
{
        _cleanup_(cleanup_server) struct server s = {0};

        if (server_load(l, q->name, &s) < 0)
                return PRVNG_INTERNAL;
        /* Before the server exists there is nothing to end: a base image serves others too. All
         * else is a matter of seconds, and ends by itself. */
        if (streq(verb, "create") && !server_made_by(&s, call->op_id) &&
            !streq(local_string(s.wanted, "op_id", ""), call->op_id))
                return local_fail(l, call, PRVNG_CANCELLED, PRVNG_EFFECT_NONE, NULL,
                                  "local: server %s was not begun", q->name);
        if (server_is_fulfilled(&s, call->op_id))
                return server_reply(l, call, &s, q->name, result, PRVNG_DONE);
        l->host->ask_again(call, ASK_MS);
        return PRVNG_PENDING;
}
