/* SPDX-License-Identifier: Apache-2.0 */
/* Before a run: zones, plans, sizes, templates, the account's limits; and the plugin's self test.
 */
#include "upcloud.h"

#include <stdarg.h>

struct check {
        struct upcloud *u;
        struct prvng_call *call;
        json_t *zones, *plans, *sizes, *templates, *limits;
        json_t *problems, *notices;
        int64_t cores, memory, ipv4, networks, storage;
};

static void add_problem(struct check *c, size_t task, const char *field, const char *format, ...)
        _printf_(4, 5);
static void add_problem(struct check *c, size_t task, const char *field, const char *format, ...)
{
        char text[1500];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        if (task == SIZE_MAX)
                json_array_append_new(c->problems, json_pack("{s:s}", "message", text));
        else
                json_array_append_new(c->problems,
                                      json_pack("{s:I, s:s, s:s}", "task", (json_int_t)task,
                                                "field", field, "message", text));
}

static int32_t get_list(struct check *c, const char *target, const char *a, const char *b,
                        json_t **ret)
{
        _cleanup_(cleanup_reply) struct reply reply = REPLY_NULL;
        int32_t r = api_get(c->u, c->call, target, PRVNG_EFFECT_NONE, &reply);

        if (r == PRVNG_DONE)
                *ret = json_incref(up_inner(reply.body, a, b));
        return r;
}

static const json_t *find(const json_t *list, const char *key, const char *value)
{
        json_t *one;
        size_t i;

        json_array_foreach (list, i, one)
                if (streq(up_string(one, key, ""), value))
                        return one;
        return NULL;
}

/* "de-fra1, fi-hel1, ..." */
static void names(const json_t *list, const char *key, char *text, size_t n)
{
        json_t *one;
        size_t i, k = 0;

        *text = 0;
        json_array_foreach (list, i, one)
                if (k + 1 < n)
                        k += (size_t)snprintf(text + k, n - k, "%s%s", k ? ", " : "",
                                              up_string(one, key, "?"));
}

static void check_place(struct check *c, size_t i, const json_t *spec)
{
        const char *zone = up_string(spec, "zone", c->u->config.zone ? c->u->config.zone : "");
        const char *image = up_string(spec, "image", c->u->config.image ? c->u->config.image : "");
        char known[1024];
        size_t n;

        names(c->zones, "id", known, sizeof(known));
        if (*zone && !find(c->zones, "id", zone))
                add_problem(c, i, "spec.zone", "there is no zone %.100s; there are %s", zone,
                            known);
        names(c->templates, "title", known, sizeof(known));
        if (*image && !image_match(c->templates, image, &n))
                add_problem(c, i, "spec.image",
                            n ? "the image %.200s may be more than one template; there are %s"
                              : "there is no template %.200s; there are %s",
                            image, known);
}

static void check_size(struct check *c, size_t i, const json_t *spec)
{
        int64_t cpu = up_number(spec, "cpu", 1), memory = up_number(spec, "memory", 1024);
        const char *plan = up_string(spec, "plan", "custom");
        const json_t *found = find(c->plans, "name", plan);
        char known[1024];
        json_t *one;
        size_t k, n = 0;

        if (!streq(plan, "custom")) {
                names(c->plans, "name", known, sizeof(known));
                if (!found)
                        add_problem(c, i, "spec.plan", "there is no plan %.100s; there are %s",
                                    plan, known);
                c->cores += up_number(found, "core_number", 0);
                c->memory += up_number(found, "memory_amount", 0);
                return;
        }
        c->cores += cpu;
        c->memory += memory;
        *known = 0;
        json_array_foreach (c->sizes, k, one) {
                if (up_number(one, "core_number", 0) != cpu)
                        continue;
                if (up_number(one, "memory_amount", 0) == memory)
                        return;
                if (n + 1 < sizeof(known))
                        n += (size_t)snprintf(known + n, sizeof(known) - n, "%s%lld", n ? ", " : "",
                                              (long long)up_number(one, "memory_amount", 0));
        }
        if (n)
                add_problem(c, i, "spec.memory",
                            "there is no server of %lld cores with %lld MiB; there are %s MiB",
                            (long long)cpu, (long long)memory, known);
        else if (json_array_size(c->sizes))
                add_problem(c, i, "spec.cpu", "there is no server of %lld cores", (long long)cpu);
}

static void check_task(struct check *c, size_t i, const json_t *entry)
{
        const json_t *task = json_object_get(entry, "task"), *spec = json_object_get(task, "spec"),
                     *one;
        const char *verb = up_string(entry, "verb", ""), *kind = up_string(task, "kind", "");
        bool create = streq(verb, "create") && !up_present(task, "identity");
        const json_t *block = json_object_get(spec, "upcloud");
        size_t k;

        if (streq(verb, "delete") || streq(verb, "check"))
                return;
        if (streq(kind, "network") && create)
                c->networks++;
        if (!streq(kind, "server"))
                return;
        check_place(c, i, spec);
        if (!create) { /* what it has already counts against the limits as it is */
                int64_t cores = c->cores, memory = c->memory;

                check_size(c, i, spec);
                c->cores = cores;
                c->memory = memory;
                return;
        }
        check_size(c, i, spec);
        c->ipv4 += up_yes(block, "public", true);
        c->storage += up_number(spec, "disk", 10);
        json_array_foreach (json_object_get(block, "storages"), k, one)
                c->storage += up_number(one, "size", 0);
}

static void check_limit(struct check *c, const char *limit, int64_t used, int64_t wanted,
                        const char *unit)
{
        int64_t most = up_number(c->limits, limit, -1);

        if (most >= 0 && wanted > 0 && used + wanted > most)
                add_problem(c, SIZE_MAX, NULL,
                            "the account's limit %s is %lld%s: %lld are used, and this run wants "
                            "%lld more; remove what is"
                            " not used, or ask UpCloud for more",
                            limit, (long long)most, unit, (long long)used, (long long)wanted);
}

/* What the account has is counted only where a limit could matter. */
static int32_t check_limits(struct check *c)
{
        _cleanup_(cleanup_json) json_t *servers = NULL;
        int64_t cores = 0, memory = 0;
        json_t *one;
        size_t i;
        int32_t r;

        if (!c->cores)
                return PRVNG_DONE;
        r = get_list(c, "/server", "servers", "server", &servers);
        if (r < 0)
                return r;
        json_array_foreach (servers, i, one) {
                cores += up_number(one, "core_number", 0);
                memory += up_number(one, "memory_amount", 0);
        }
        check_limit(c, "cores", cores, c->cores, "");
        check_limit(c, "memory", memory, c->memory, " MiB");
        check_limit(c, "public_ipv4", (int64_t)json_array_size(servers), c->ipv4, "");
        check_limit(c, "networks", 0, c->networks, "");
        check_limit(c, "storage_maxiops", 0, c->storage, " GiB");
        return PRVNG_DONE;
}

static int32_t ask_all(struct check *c)
{
        _cleanup_(cleanup_reply) struct reply account = REPLY_NULL;
        int32_t r = api_get(c->u, c->call, "/account", PRVNG_EFFECT_NONE, &account);

        if (r == PRVNG_DONE)
                c->limits = json_incref(up_inner(account.body, "account", "resource_limits"));
        r = r < 0 ? r : get_list(c, "/zone", "zones", "zone", &c->zones);
        r = r < 0 ? r : get_list(c, "/plan", "plans", "plan", &c->plans);
        r = r < 0 ? r : get_list(c, "/server_size", "server_sizes", "server_size", &c->sizes);
        r = r < 0 ? r : image_list(c->u, c->call, &c->templates);
        return r;
}

static int32_t check(void *instance, struct prvng_call *call, const void *tasks, uint64_t n_tasks,
                     struct prvng_sink *result)
{
        _cleanup_(cleanup_json) json_t *j = json_loadb(tasks, (size_t)n_tasks, 0, NULL),
                                       *out = NULL;
        struct check c = {
                .u = instance, .call = call, .problems = json_array(), .notices = json_array()};
        json_t *entry;
        size_t i;
        int32_t r = ask_all(&c);

        if (r == PRVNG_DONE) {
                json_array_foreach (json_object_get(j, "tasks"), i, entry)
                        check_task(&c, i, entry);
                r = check_limits(&c);
        }
        out = json_pack("{s:o, s:o}", "problems", c.problems, "notices", c.notices);
        json_decref(c.zones);
        json_decref(c.plans);
        json_decref(c.sizes);
        json_decref(c.templates);
        json_decref(c.limits);
        return r < 0 ? r : up_reply(c.u, call, result, out);
}

const struct prvng_provider_precheck precheck = {
        .struct_size = sizeof(precheck),
        .check = check,
};

int32_t precheck_self_test(void *instance, struct prvng_call *call, struct prvng_sink *report)
{
        struct upcloud *u = instance;
        _cleanup_(cleanup_reply) struct reply reply = REPLY_NULL;
        _cleanup_(cleanup_json) json_t *out = NULL;
        int32_t r = api_get(u, call, "/account", PRVNG_EFFECT_NONE, &reply);
        const json_t *account = json_object_get(reply.body, "account");
        char text[256];

        if (r == PRVNG_DONE)
                snprintf(text, sizeof(text), "the account %.100s answers, with %.2f credits left",
                         up_string(account, "username", "?"),
                         json_number_value(json_object_get(account, "credits")));
        else
                snprintf(text, sizeof(text), "%s",
                         r == PRVNG_AUTH ? "there are no credentials that the API accepts"
                                         : "the API does not answer");
        out = json_pack("{s:[{s:s, s:b, s:s, s:s}]}", "checks", "name", "account", "ok",
                        r == PRVNG_DONE, "message", text, "cure",
                        r == PRVNG_DONE ? ""
                                        : "set UPCLOUD_TOKEN in the engine's environment, or "
                                          "UPCLOUD_USERNAME and UPCLOUD_PASSWORD, or"
                                          " token_file in the plugin's configuration");
        return up_reply(u, call, report, out);
}
