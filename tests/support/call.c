/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls into one plugin, for tests in Python: a site with that plugin only, or one more beside it, and
 * the real host behind it.
 *
 *      call FILE.so NAME [CONFIG [DROPIN [NAME2 FILE2.so]]]
 *
 * Reads one JSON object a line, writes one a line. First comes {"state", "reason", "dependencies"}.
 *
 *      {"call": "prepare" | "begin" | "poll" | "cancel" | "observe" | "read" | "list" | "describe"
 * | "self_test" | "precheck" | "find", "verb", "request" | "task" | "filter" | "tasks": {...},
 * "token", "op_id", "attempt", "kind", "id"}
 *   ->  {"answer", "class": "DONE", "result": {...}, "token", "effect", "status", "message",
 * "field", "ask_again_ms", "retry_after_ms"}
 */
#include "base/json.h"
#include "config/config.h"
#include "host/host.h"
#include "plugin/border.h"
#include "support/site.h"

#include <prvng/ext/inventory.h>
#include <prvng/ext/precheck.h>
#include <stdio.h>

static const char standard_op[] = "0123456789ABCDEFGHJKMNPQRS";

static const void *extension(struct plugin *p, const char *id)
{
        return p->descriptor.get_interface(p->instance, id);
}

static void beyond_op(struct op_call *c, struct plugin *p, const char *what, const json_t *q,
                      const char *document, struct op_reply *r)
{
        const struct prvng_provider_precheck *precheck = extension(p, PRVNG_PROVIDER_PRECHECK);
        const struct prvng_provider_inventory *inventory = extension(p, PRVNG_PROVIDER_INVENTORY);
        struct prvng_sink sink = SINK(&r->result, 16 << 20);

        r->answer = PRVNG_UNSUPPORTED;
        c->reply = r;
        if (streq(what, "precheck") && precheck)
                r->answer =
                        precheck->check(p->instance, &c->pub, document, strlen(document), &sink);
        else if (streq(what, "find") && inventory)
                r->answer = inventory->find(p->instance, &c->pub, json_get_string(q, "kind", ""),
                                            json_get_string(q, "id", ""), &sink);
}

static void call(struct plugin *p, const json_t *q, struct op_reply *r)
{
        static const char *const documents[] = {"request", "task", "filter", "tasks"};
        const char *what = json_get_string(q, "call", ""), *verb = json_get_string(q, "verb", "");
        const char *token = json_get_string(q, "token", "");
        _cleanup_(cleanup_free) char *text = NULL;
        struct op_call c;
        size_t n;

        for (size_t i = 0; i < N_ELEMENTS(documents) && !text; i++)
                if (json_object_get(q, documents[i]))
                        text = json_dumps(json_object_get(q, documents[i]), JSON_COMPACT);
        if (!text)
                text = strdup("{}");
        n = strlen(text);
        op_call_init(&c, p, json_get_string(q, "op_id", standard_op),
                     (uint32_t)json_get_int(q, "attempt", 1), INT64_MAX, 1, "run", "test/task");
        if (streq(what, "prepare"))
                op_prepare(&c, verb, text, n, r);
        else if (streq(what, "begin"))
                op_begin(&c, verb, text, n, r);
        else if (streq(what, "poll"))
                op_poll(&c, verb, text, n, token, strlen(token), r);
        else if (streq(what, "cancel"))
                op_cancel(&c, verb, text, n, token, strlen(token), r);
        else if (streq(what, "observe"))
                op_observe(&c, verb, text, n, token, strlen(token), r);
        else if (streq(what, "read"))
                op_read(&c, text, n, r);
        else if (streq(what, "list"))
                op_list(&c, text, n, r);
        else if (streq(what, "self_test"))
                op_self_test(&c, r);
        else
                beyond_op(&c, p, what, q, text, r);
        op_call_deinit(&c);
}

static void print(json_t *o)
{
        char *text = json_dumps(o, JSON_COMPACT);

        puts(text);
        fflush(stdout);
        free(text);
        json_decref(o);
}

static void answer(const json_t *q, const struct op_reply *r)
{
        json_t *result = r->result.n ? json_loadb(r->result.data, r->result.n, 0, NULL) : NULL;
        json_t *token = r->token.n ? json_stringn(r->token.data, r->token.n) : NULL;

        print(json_pack("{s:i, s:s, s:s, s:o*, s:o*, s:i, s:s*, s:s*, s:I, s:I}", "answer",
                        r->answer, "class", op_class_name(r->answer), "effect",
                        op_effect_name(r->effect), "result", result, "token", token, "status",
                        r->status, "message", r->message, "field", r->field, "ask_again_ms",
                        (json_int_t)r->ask_again_ms, "retry_after_ms",
                        (json_int_t)r->retry_after_ms));
        (void)q;
}

static void serve(struct plugin *p)
{
        char *line = NULL;
        size_t cap = 0;

        while (getline(&line, &cap, stdin) > 0) {
                json_t *q = json_loads(line, 0, NULL);
                struct op_reply r = OP_REPLY_NULL;

                if (streq(json_get_string(q, "call", ""), "describe")) {
                        print(json_pack("{s:O}", "result", p->describe));
                } else {
                        call(p, q, &r);
                        answer(q, &r);
                }
                op_reply_deinit(&r);
                json_decref(q);
        }
        free(line);
}

int main(int argc, char **argv)
{
        struct problems problems = PROBLEMS_NULL;
        struct test_site site;
        struct config *config = NULL;
        struct host *host = NULL;
        struct plugins *plugins = NULL;
        struct plugin *p;

        struct test_plugin list[2];

        if (argc < 3)
                return 2;
        list[0] = (struct test_plugin){argv[2], argv[1], argc > 3 ? argv[3] : NULL, argc > 4 ? argv[4] : NULL};
        list[1] = (struct test_plugin){argc > 6 ? argv[5] : "", argc > 6 ? argv[6] : NULL}; /* beside it */
        test_site_new(&site, list, argc > 6 ? 2 : 1, NULL);
        if (config_load(site.conf, &problems, &config) || problems.n ||
            host_new(config, NULL, &host) || plugins_load(config, host, NULL, 0, &plugins)) {
                problems_print(&problems, stderr);
                return 1;
        }
        p = &plugins->list[0];
        for (size_t i = 0; i < plugins->n; i++)
                if (streq(plugins->list[i].name, argv[2]))
                        p = &plugins->list[i];
        print(json_pack("{s:b, s:s, s:O*}", "ready", p->state == PLUGIN_READY, "reason",
                        p->reason ?: "", "dependencies", p->dependencies));
        if (p->state == PLUGIN_READY)
                serve(p);
        plugins_free(plugins);
        host_free(host);
        config_free(config);
        test_site_remove(&site);
        return 0;
}
