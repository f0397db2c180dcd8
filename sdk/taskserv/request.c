/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request is {"format": 1, "taskserv", "server": <name>, "reach": <the server's result, without what
 * is not needed to reach it>, "parameters": {<name>: <text as the script gets it>}, "version",
 * "scripts": <digest>}. All parameters are in it, resolved, so that a later default changes nothing.
 */
#include "internal.h"
#include "taskserv-prelude.h"

#include <regex.h>
#include <stdio.h>

#define FORMAT 1

/* True if the whole of `text` matches. */
static bool matches(const char *expression, const char *text)
{
        char whole[512];
        regex_t regex;
        bool ok;

        if (!expression)
                return true;
        if ((size_t)snprintf(whole, sizeof(whole), "^(%s)$", expression) >= sizeof(whole) ||
            regcomp(&regex, whole, REG_EXTENDED | REG_NOSUB) != 0)
                return false;
        ok = regexec(&regex, text, 0, NULL, 0) == 0;
        regfree(&regex);
        return ok;
}

static json_t *list_text(const struct taskserv_parameter *p, const json_t *value)
{
        _cleanup_(cleanup_free) char *text = strdup("");
        const json_t *entry;
        size_t i;

        json_array_foreach (value, i, entry) {
                const char *s = json_string_value(entry);
                char *longer;

                if (!text || !s || !*s || strpbrk(s, " \t\n") || !matches(p->accepted, s))
                        return NULL;
                if (asprintf(&longer, "%s%s%s", text, *text ? " " : "", s) < 0)
                        return NULL;
                free(text);
                text = longer;
        }
        return text ? json_string(text) : NULL;
}

/* The text for the script, new reference; NULL if the value is not accepted. */
static json_t *parameter_text(const struct taskserv_parameter *p, const json_t *value)
{
        const char *s;

        switch (p->kind) {
        case TASKSERV_TEXT:
                s = json_string_value(value);
                return s && matches(p->accepted, s) ? json_string(s) : NULL;
        case TASKSERV_LIST:
                return json_is_array(value) ? list_text(p, value) : NULL;
        case TASKSERV_INTEGER:
                return json_is_integer(value)
                               ? json_sprintf("%lld", (long long)json_integer_value(value))
                               : NULL;
        case TASKSERV_BOOLEAN:
                return json_is_boolean(value) ? json_string(json_is_true(value) ? "yes" : "no")
                                              : NULL;
        default:
                return NULL;
        }
}

/* The value that the spec gives to a parameter, or NULL; *ret_own: in the taskserv's own object. */
static const json_t *spec_value(const struct taskserv *t, const json_t *spec, const char *name,
                                bool *ret_own)
{
        const json_t *own = json_object_get(spec, t->name);
        const json_t *value = json_is_object(own) ? json_object_get(own, name) : NULL;

        *ret_own = value != NULL;
        if (!value)
                value = json_object_get(spec, name);
        return json_is_null(value) ? NULL : value;
}

/* `lenient`: what is not accepted counts as not given. */
static int32_t parameters_make(const struct instance *i, struct prvng_call *call,
                               const json_t *spec, bool lenient, json_t *parameters)
{
        const struct taskserv *t = i->taskserv;

        for (size_t k = 0; k < t->n_parameters; k++) {
                const struct taskserv_parameter *p = &t->parameters[k];
                bool own;
                const json_t *value = spec_value(t, spec, p->name, &own);
                json_t *text = value ? parameter_text(p, value) : NULL;

                if (!text && (!value || lenient))
                        text = json_string(p->fallback);
                if (!text) {
                        _cleanup_(cleanup_free) char *given =
                                json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
                        char field[256];

                        snprintf(field, sizeof(field), "spec.%s%s%s", own ? t->name : "",
                                 own ? "." : "", p->name);
                        return failure(i, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, field,
                                       "taskserv %s does not accept %s = %s; it is: %s", t->name,
                                       p->name, given ? given : "?", p->description);
                }
                if (json_object_set_new(parameters, p->name, text) < 0)
                        return out_of_memory(i, call);
        }
        return PRVNG_DONE;
}

/* Attributes in the taskserv's own object must all be known; others may be meant for others. */
static int32_t own_check(const struct instance *i, struct prvng_call *call, const json_t *spec)
{
        const struct taskserv *t = i->taskserv;
        const json_t *own = json_object_get(spec, t->name);
        void *entry;

        for (entry = json_object_iter((json_t *)(uintptr_t)own); entry;
             entry = json_object_iter_next((json_t *)(uintptr_t)own, entry)) {
                const char *key = json_object_iter_key(entry);
                char field[256], known[512] = "";
                bool found = false;

                for (size_t k = 0; k < t->n_parameters; k++) {
                        found |= strcmp(t->parameters[k].name, key) == 0;
                        snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s",
                                 k ? ", " : "", t->parameters[k].name);
                }
                snprintf(field, sizeof(field), "spec.%s.%s", t->name, key);
                if (!found)
                        return failure(i, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, field,
                                       "taskserv %s knows no attribute '%s'; accepted are: %s",
                                       t->name, key, known);
        }
        return PRVNG_DONE;
}

/* The part of the server's result that is needed to reach it: addresses and the like may change. */
static json_t *server_part(const json_t *task, const char *server)
{
        const json_t *result;
        char key[300];

        snprintf(key, sizeof(key), "server.%s", server);
        result = json_object_get(json_object_get(task, "inputs"), key);
        if (!json_object_get(result, "reach"))
                return NULL;
        return json_pack("{s:s, s:O}", "name", server, "reach", json_object_get(result, "reach"));
}

int32_t request_make(const struct instance *i, struct prvng_call *call, const char *verb,
                     const void *task, uint64_t n_task, json_t **ret_request)
{
        const struct taskserv *t = i->taskserv;
        _cleanup_(cleanup_json) json_t *json = json_loadb(task, n_task, 0, NULL);
        _cleanup_(cleanup_json) json_t *parameters = json_object(), *reach = NULL;
        const char *server = json_string_value(json_object_get(json, "server"));
        const json_t *spec = json_object_get(json, "spec");
        bool delete = strcmp(verb, "delete") == 0;
        int32_t r;

        if (!json_is_object(json) || !server)
                return failure(i, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, "server",
                               "taskserv %s: the task names no server", t->name);
        reach = server_part(json, server);
        if (!reach)
                return failure(i, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, "inputs",
                               "taskserv %s: the inputs do not say how server %s is reached",
                               t->name, server);
        /* A mistake in the parameters must not keep a service from being removed. */
        r = delete ? PRVNG_DONE : own_check(i, call, spec);
        if (r == PRVNG_DONE)
                r = parameters_make(i, call, spec, delete, parameters);
        if (r != PRVNG_DONE)
                return r;
        *ret_request = json_pack("{s:i, s:s, s:s, s:O, s:O, s:s, s:s}", "format", FORMAT,
                                 "taskserv", t->name, "server", server, "reach", reach,
                                 "parameters", parameters, "version", t->version, "scripts",
                                 t->digest);
        return *ret_request ? PRVNG_DONE : out_of_memory(i, call);
}

int32_t request_parse(const struct instance *i, struct prvng_call *call, const void *data,
                      uint64_t n_data, struct request *r)
{
        const json_t *reach;

        *r = (struct request){.json = json_loadb(data, n_data, 0, NULL)};
        reach = json_object_get(r->json, "reach");
        r->server_name = json_string_value(json_object_get(r->json, "server"));
        r->parameters = json_object_get(r->json, "parameters");
        if (json_integer_value(json_object_get(r->json, "format")) != FORMAT || !r->server_name ||
            !json_is_object(reach) || !json_is_object(r->parameters))
                return failure(i, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, NULL,
                               "taskserv %s: this request was not made by this version (%s)",
                               i->taskserv->name, i->taskserv->version);
        r->server = json_dumps(reach, JSON_COMPACT);
        return r->server ? PRVNG_DONE : out_of_memory(i, call);
}

void request_deinit(struct request *r)
{
        json_decref(r->json);
        free(r->server);
}

/* NAME='text' with the quotes of text made safe for a shell. */
static void put_variable(FILE *f, const char *prefix, const char *name, const char *text)
{
        fprintf(f, "%s%s='", prefix, name);
        for (; *text; text++) {
                if (*text == '\'')
                        fputs("'\\''", f);
                else
                        fputc(*text, f);
        }
        fputs("'\n", f);
}

static void put_proxies(FILE *f, const json_t *sources)
{
        static const char *const names[] = {"http_proxy", "https_proxy", "no_proxy"};

        for (size_t k = 0; k < N_ELEMENTS(names); k++) {
                const char *value = json_string_value(json_object_get(sources, names[k]));

                if (value && *value)
                        put_variable(f, "export ", names[k], value);
        }
}

char *script_make(const struct instance *i, const struct request *r, const char *script)
{
        char *text = NULL;
        size_t n_text;
        FILE *f = open_memstream(&text, &n_text);
        bool bad;

        if (!f)
                return NULL;
        fputs("#!/bin/sh -e\n", f);
        put_variable(f, "", "prvng_taskserv", i->taskserv->name);
        put_variable(f, "", "prvng_server", r->server_name);
        put_proxies(f, i->sources);
        for (size_t k = 0; k < i->taskserv->n_parameters; k++) {
                const struct taskserv_parameter *p = &i->taskserv->parameters[k];
                const char *value = json_string_value(json_object_get(r->parameters, p->name));

                /* A request of an older version may lack a parameter. */
                put_variable(f, "p_", p->name, value ? value : p->fallback);
        }
        fputs(taskserv_prelude, f);
        fputs(script, f);
        bad = ferror(f);
        if (fclose(f) != 0 || bad) {
                free(text);
                return NULL;
        }
        return text;
}

json_t *spec_schema(const struct taskserv *t)
{
        static const char *const types[] = {"string", "array", "integer", "boolean"};
        json_t *properties = json_object();

        for (size_t k = 0; properties && k < t->n_parameters; k++) {
                const struct taskserv_parameter *p = &t->parameters[k];
                json_t *schema = json_pack("{s:s, s:s}", "type", types[p->kind], "description",
                                           p->description);

                if (schema && p->kind == TASKSERV_LIST)
                        json_object_set_new(schema, "items", json_pack("{s:s}", "type", "string"));
                json_object_set_new(properties, p->name, schema);
        }
        return json_pack("{s:s, s:o}", "type", "object", "properties", properties);
}
