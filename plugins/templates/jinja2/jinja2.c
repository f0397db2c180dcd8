/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jinja2 expressions, by the real Jinja2 in a process of its own (worker.h, prvng-jinja2.py).
 *
 * Configuration: `timeout`, seconds that an evaluation may take (5); `memory`, MiB that the process
 * may have (512); `python`, the absolute path of a Python that has Jinja2 (/usr/bin/python3).
 */
#include "worker.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VERSION "1.0.0"
#define EXPRESSION_MAX 65536

PRVNG_PLUGIN_NOTE_WITH("template", "org.prvng.template.jinja2", "jinja2", VERSION, "[]", "none",
                       "{\"processes\":true}");

static const struct prvng_host *host;

struct instance {
        json_t *config;
        struct worker worker;
};

/* {"id", "do", "expression"}; NULL: the expression is not UTF-8, or memory is short. Caller frees.
 */
static char *question(struct instance *i, const char *what, const void *expression, uint64_t n)
{
        json_t *json = json_pack("{s:I, s:s, s:s%}", "id", (json_int_t)i->worker.number + 1, "do",
                                 what, "expression", (const char *)expression, (size_t)n);
        char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

        json_decref(json);
        return text;
}

static int32_t ask(struct instance *i, struct prvng_call *call, const char *what,
                   const void *expression, uint64_t n_expression, const void *body, uint64_t n_body,
                   struct answer *ret)
{
        struct worker *w = &i->worker;
        char *text;
        int32_t r;

        if (n_expression > EXPRESSION_MAX)
                return worker_fail(w, call, PRVNG_PERMANENT, PRVNG_TEMPLATE_SYNTAX,
                                   "the expression is longer than %d bytes", EXPRESSION_MAX);
        text = question(i, what, expression, n_expression);
        if (!text)
                return worker_fail(w, call, PRVNG_PERMANENT, PRVNG_TEMPLATE_SYNTAX,
                                   "the expression is not UTF-8");
        r = worker_ask(w, call, text, body, n_body, ret);
        free(text);
        if (r == PRVNG_DONE && ret->code)
                r = worker_fail(w, call, PRVNG_PERMANENT, ret->code, "%s", ret->message);
        return r;
}

static int32_t jinja2_evaluate(void *instance, struct prvng_call *call, const void *expression,
                               uint64_t n_expression, const void *variables, uint64_t n_variables,
                               struct prvng_sink *result)
{
        struct answer a = {0};
        int32_t r = ask(instance, call, "evaluate", expression, n_expression, variables,
                        n_variables, &a);

        if (r != PRVNG_DONE)
                return r;
        return host->sink_write(result, a.result, a.n_result) == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
}

static int32_t jinja2_check(void *instance, struct prvng_call *call, const void *expression,
                            uint64_t n_expression, const void *names, uint64_t n_names)
{
        struct answer a = {0};

        if (!names) {
                names = "null";
                n_names = 4;
        }
        return ask(instance, call, "check", expression, n_expression, names, n_names, &a);
}

static int32_t jinja2_render(void *instance, struct prvng_call *call, const void *source,
                             uint64_t n_source, const void *variables, uint64_t n_variables,
                             struct prvng_sink *text)
{
        struct instance *i = instance;

        return worker_fail(&i->worker, call, PRVNG_UNSUPPORTED, 0,
                           "jinja2 " VERSION
                           " evaluates expressions, but renders no templates yet");
}

static const struct prvng_template table = {
        .struct_size = sizeof(table),
        .evaluate = jinja2_evaluate,
        .check = jinja2_check,
        .render = jinja2_render,
};

/* --- the plugin --- */

static int32_t jinja2_self_test(void *instance, struct prvng_call *call, struct prvng_sink *report)
{
        static const char cure[] = "apt-get install python3-jinja2";
        struct instance *i = instance;
        struct worker *w = &i->worker;
        struct answer a = {0};
        int32_t r = ask(i, call, "evaluate", "1 + 1", 5, "{}", 2, &a);
        bool works =
                r == PRVNG_DONE && a.n_result > 10 && memcmp(a.result, "{\"value\":2,", 11) == 0;
        char said[PATH_MAX + 256];
        json_t *json;
        char *text;

        if (r == PRVNG_CANCELLED)
                return r;
        if (works)
                snprintf(said, sizeof(said), "%s of %s", w->engine, w->used);
        else
                snprintf(said, sizeof(said), "%s",
                         r == PRVNG_DONE ? "it cannot compute 1 + 1" : w->said);
        json = json_pack("{s:[{s:s, s:b, s:s, s:s}]}", "checks", "name", "jinja2", "ok", works,
                         "message", said, "cure", works ? "" : cure);
        if (json && works)
                json_array_append_new(
                        json_object_get(json, "checks"),
                        json_pack("{s:s, s:b, s:s, s:s}", "name", "sandbox", "ok", !w->warning[0],
                                  "message",
                                  w->warning[0] ? w->warning
                                                : "expressions reach no file and no network",
                                  "cure",
                                  w->warning[0] ? "allow user namespaces, or use a "
                                                  "kernel with Landlock"
                                                : ""));
        text = json ? json_dumps(json, JSON_COMPACT) : NULL;
        r = text && host->sink_write(report, text, strlen(text)) == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
        free(text);
        json_decref(json);
        return r;
}

/* A number of the configuration; false if it is not one between 1 and max. */
static bool take_number(const json_t *config, const char *key, unsigned int max, unsigned int *ret)
{
        const json_t *v = json_object_get(config, key);

        if (!v)
                return true;
        if (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > max)
                return false;
        *ret = (unsigned int)json_integer_value(v);
        return true;
}

static bool configure(struct instance *i, const struct prvng_host *h)
{
        const json_t *python = json_object_get(i->config, "python");
        const char *wrong = NULL;

        i->worker = (struct worker){
                .host = h,
                .seconds = 5,
                .memory = 512,
                .pidfd = -1,
                .socket = -1,
                .errors = -1,
                .python = json_string_value(python),
                .libexec = json_string_value(json_object_get(i->config, "libexec"))};
        if (!json_is_object(i->config))
                wrong = "the configuration is no JSON object";
        else if (!take_number(i->config, "timeout", 3600, &i->worker.seconds))
                wrong = "timeout must be 1 to 3600, in seconds";
        else if (!take_number(i->config, "memory", 65536, &i->worker.memory) ||
                 i->worker.memory < 64)
                wrong = "memory must be 64 to 65536, in MiB";
        else if (python && (!i->worker.python || i->worker.python[0] != '/'))
                wrong = "python must be the absolute path of a Python that has Jinja2";
        if (wrong)
                h->log(h, PRVNG_LOG_ERROR, "jinja2", wrong);
        return !wrong;
}

static int32_t jinja2_create(const struct prvng_host *h, const void *config, uint64_t n_config,
                             void **ret_instance)
{
        struct instance *i = calloc(1, sizeof(*i));

        if (!i)
                return PRVNG_TRANSIENT;
        i->config = json_loadb(config, n_config, 0, NULL);
        if (!configure(i, h)) {
                json_decref(i->config);
                free(i);
                return PRVNG_PERMANENT;
        }
        *ret_instance = i;
        return PRVNG_DONE;
}

static void jinja2_destroy(void *instance)
{
        struct instance *i = instance;

        if (!i)
                return;
        worker_end(&i->worker);
        json_decref(i->config);
        free(i);
}

static const void *jinja2_get_interface(void *instance, const char *id)
{
        return strcmp(id, PRVNG_TEMPLATE) == 0 ? &table : NULL;
}

static const struct prvng_plugin plugin = {
        .struct_size = sizeof(plugin),
        .abi_minor = PRVNG_ABI_MINOR,
        .id = "org.prvng.template.jinja2",
        .name = "jinja2",
        .kind = "template",
        .version = VERSION,
        .description = "Evaluates Jinja2 expressions, such as wait_condition",
        .licence = "Apache-2.0",
        .threads = PRVNG_THREADS_SERIAL_INSTANCE, /* one worker, one question at a time */
        .create = jinja2_create,
        .destroy = jinja2_destroy,
        .get_interface = jinja2_get_interface,
        .self_test = jinja2_self_test,
};

int32_t prvng_plugin_v1(const struct prvng_host *h, const struct prvng_plugin **ret_plugin)
{
        host = h;
        *ret_plugin = &plugin;
        return PRVNG_DONE;
}
