/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives one plugin by hand, through the core's own border and host services: drive PLUGIN.so NAME
 * [CONFIG [MORE]]. A line of JSON in is a call, a line out what came of it:
 *
 *      {"do": "prepare", "verb": "create", "task": {...}}           {"answer": 0, "class": "DONE", "result": ..}
 *      {"do": "begin" | "observe", "verb", "op_id", "request": TEXT, "attempt": 1, "token": TEXT}
 *      {"do": "poll" | "cancel", the same}                          with "token", "ask_again_ms"
 *      {"do": "read", "task"}  {"do": "list", "filter"}  {"do": "describe"}  {"do": "self_test"}
 *      {"do": "check", "task": {"tasks": [..]}}                     prvng.provider.precheck/1
 *      {"do": "find", "kind", "id"}                                 prvng.provider.inventory/1
 *
 * "result" and "token" are the plugin's own bytes, as text. For tests in Python: plugins/.../tests.
 */
#include "base/json.h"
#include "base/util.h"
#include "host/host.h"
#include "plugin/border.h"
#include "plugin/plugin.h"
#include "support/site.h"

#include <prvng/ext/inventory.h>
#include <prvng/ext/precheck.h>

#define OUT_MAX (16u << 20)

static const char *text_of(const json_t *j, const char *key)
{
        return json_get_string(j, key, "");
}

static void answer(struct op_reply *r, bool observed)
{
        _cleanup_(cleanup_json_decref) json_t *j = json_pack(
                "{s:i, s:s, s:i, s:I, s:I, s:i}", "answer", r->answer, "class",
                observed && r->answer >= 0 ? "" : op_class_name(r->answer), "effect", (int)r->effect,
                "ask_again_ms", (json_int_t)r->ask_again_ms, "retry_after_ms",
                (json_int_t)r->retry_after_ms, "status", (int)r->status);

        json_object_set_new(j, "message", json_string(r->message ?: ""));
        json_object_set_new(j, "field", json_string(r->field ?: ""));
        json_object_set_new(j, "effect_name", json_string(op_effect_name(r->effect)));
        json_object_set_new(j, "result", json_stringn(r->result.n ? r->result.data : "", r->result.n));
        json_object_set_new(j, "token", json_stringn(r->token.n ? r->token.data : "", r->token.n));
        json_dumpf(j, stdout, JSON_COMPACT);
        putchar('\n');
        fflush(stdout);
}

/* What the core does not ask for by its border: the optional interfaces. */
static void extension(struct plugin *p, struct op_call *call, const json_t *line, const char *task,
                      struct op_reply *r)
{
        const struct prvng_provider_precheck *precheck =
                p->descriptor.get_interface(p->instance, PRVNG_PROVIDER_PRECHECK);
        const struct prvng_provider_inventory *inventory =
                p->descriptor.get_interface(p->instance, PRVNG_PROVIDER_INVENTORY);
        struct prvng_sink sink = SINK(&r->result, OUT_MAX);

        call->reply = r;
        r->answer = PRVNG_UNSUPPORTED;
        if (streq(text_of(line, "do"), "check") && precheck)
                r->answer = precheck->check(p->instance, &call->pub, task, strlen(task), &sink);
        else if (streq(text_of(line, "do"), "find") && inventory)
                r->answer = inventory->find(p->instance, &call->pub, text_of(line, "kind"), text_of(line, "id"), &sink);
}

static void act(struct plugin *p, struct op_call *c, const json_t *line, struct op_reply *r)
{
        const char *what = text_of(line, "do"), *verb = text_of(line, "verb");
        const char *request = text_of(line, "request"), *token = text_of(line, "token");
        const json_t *input = json_object_get(line, streq(what, "list") ? "filter" : "task");
        _cleanup_(cleanup_free) char *task = input ? json_dumps(input, JSON_COMPACT | JSON_SORT_KEYS) : strdup("{}");

        if (streq(what, "prepare"))
                op_prepare(c, verb, task, strlen(task), r);
        else if (streq(what, "begin"))
                op_begin(c, verb, request, strlen(request), r);
        else if (streq(what, "poll"))
                op_poll(c, verb, request, strlen(request), token, strlen(token), r);
        else if (streq(what, "cancel"))
                op_cancel(c, verb, request, strlen(request), token, strlen(token), r);
        else if (streq(what, "observe"))
                op_observe(c, verb, request, strlen(request), token, strlen(token), r);
        else if (streq(what, "read"))
                op_read(c, task, strlen(task), r);
        else if (streq(what, "list"))
                op_list(c, task, strlen(task), r);
        else if (streq(what, "self_test"))
                op_self_test(c, r);
        else
                extension(p, c, line, task, r);
}

static void call(struct plugin *p, const json_t *line)
{
        struct op_reply reply = OP_REPLY_NULL;
        int64_t deadline = (int64_t)json_get_int(line, "deadline_ms", INT64_MAX);
        struct op_call c;

        op_call_init(&c, p, text_of(line, "op_id"), (uint32_t)json_get_int(line, "attempt", 1), deadline, 1,
                     "01JD0000000000000000000000", "test/task");
        act(p, &c, line, &reply);
        op_call_deinit(&c);
        answer(&reply, streq(text_of(line, "do"), "observe"));
        op_reply_deinit(&reply);
}

/* What says something of the plugin, not of a call. */
static bool about(struct plugin *p, const json_t *line)
{
        const char *what = text_of(line, "do");
        const json_t *j = streq(what, "describe")       ? p->describe
                          : streq(what, "dependencies") ? p->dependencies
                                                        : NULL;

        if (j)
                json_dumpf(j, stdout, JSON_COMPACT);
        if (j)
                putchar('\n');
        fflush(stdout);
        return j;
}

static int run(struct plugin *p)
{
        _cleanup_(cleanup_free) char *text = NULL;
        size_t size = 0;

        while (getline(&text, &size, stdin) > 0) {
                _cleanup_(cleanup_json_decref) json_t *line = json_loads(text, 0, NULL);

                if (!json_is_object(line)) {
                        fprintf(stderr, "drive: not a JSON object: %s", text);
                        return 2;
                }
                if (!about(p, line))
                        call(p, line);
        }
        return 0;
}

int main(int argc, char **argv)
{
        struct problems problems = PROBLEMS_NULL;
        struct test_plugin list = {.name = argc > 2 ? argv[2] : "", .file = argc > 2 ? argv[1] : NULL,
                                   .config = argc > 3 ? argv[3] : NULL, .more = argc > 4 ? argv[4] : NULL};
        struct test_site site;
        struct config *config = NULL;
        struct host *host = NULL;
        struct plugins *plugins = NULL;
        struct plugin *p;
        int r = 2;

        if (argc < 3) {
                fputs("Usage: drive PLUGIN.so NAME [CONFIG [MORE]]\n", stderr);
                return 2;
        }
        test_site_new(&site, &list, 1, NULL);
        if (config_load(site.conf, &problems, &config) == 0 && problems.n == 0 &&
            host_new(config, NULL, &host) == 0 && plugins_load(config, host, NULL, 0, &plugins) == 0) {
                p = plugins_find(plugins, "provider", argv[2]);
                if (p && p->state == PLUGIN_READY)
                        r = run(p);
                else
                        fprintf(stderr, "drive: %s\n", p && p->reason ? p->reason : "there is no such provider");
        }
        problems_print(&problems, stderr);
        plugins_free(plugins);
        host_free(host);
        config_free(config);
        test_site_remove(&site);
        return r;
}
