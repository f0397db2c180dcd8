/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The instance and what does not act: create, describe, errors. The operations are in operation.c.
 */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>

#define HEALTH_TIMEOUT_S 60
#define HEALTH_RETRIES 5

int32_t failure(const struct instance *i, struct prvng_call *call, int32_t answer, uint32_t effect,
                const char *field, const char *format, ...)
{
        struct prvng_error error = {.struct_size = sizeof(error),
                                    .error_class = answer,
                                    .retry_after_ms = -1,
                                    .effect = effect,
                                    .field = field};
        char message[4096];
        va_list ap;

        va_start(ap, format);
        vsnprintf(message, sizeof(message), format, ap);
        va_end(ap);
        error.message = message;
        i->host->error(call, &error);
        return answer;
}

int32_t out_of_memory(const struct instance *i, struct prvng_call *call)
{
        return failure(i, call, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN, NULL, "out of memory");
}

int32_t reply_json(const struct instance *i, struct prvng_call *call, struct prvng_sink *sink,
                   const json_t *value)
{
        _cleanup_(cleanup_free) char *text =
                value ? json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

        if (!text || i->host->sink_write(sink, text, strlen(text)) < 0)
                return failure(i, call, PRVNG_INTERNAL, PRVNG_EFFECT_UNKNOWN, NULL,
                               "taskserv %s: the result could not be written", i->taskserv->name);
        return PRVNG_DONE;
}

static int32_t refuse(const struct prvng_host *host, const struct taskserv *t, const char *why)
{
        char message[512];

        snprintf(message, sizeof(message), "taskserv %s: %s", t->name, why);
        host->log(host, PRVNG_LOG_ERROR, "taskserv", message);
        return PRVNG_PERMANENT;
}

static bool health_read(struct instance *i)
{
        const json_t *health, *v;

        i->dependencies = json_loads(i->taskserv->dependencies, JSON_REJECT_DUPLICATES, NULL);
        if (!i->dependencies)
                return false;
        health = json_object_get(i->dependencies, "health_check");
        i->health_command = json_string_value(json_object_get(health, "command"));
        v = json_object_get(health, "timeout");
        i->health_timeout_s = json_is_integer(v) ? json_integer_value(v) : HEALTH_TIMEOUT_S;
        v = json_object_get(health, "retries");
        i->health_retries = json_is_integer(v) ? json_integer_value(v) : HEALTH_RETRIES;
        return true;
}

int32_t taskserv_create(const struct taskserv *t, const struct prvng_host *host,
                        const void *config, uint64_t n_config, void **ret_instance)
{
        const struct prvng_host_remote *remote;
        struct instance *i;
        json_t *json;

        if (!PRVNG_HAS(host, struct prvng_host, get_interface) ||
            !(remote = host->get_interface(host, PRVNG_HOST_REMOTE)) ||
            remote->struct_size < PRVNG_HOST_REMOTE_BASELINE)
                return refuse(host, t, "this core has no " PRVNG_HOST_REMOTE);
        json = json_loadb(config, n_config, 0, NULL);
        if (!json_is_object(json)) {
                json_decref(json);
                return refuse(host, t, "its configuration is no JSON object");
        }
        i = calloc(1, sizeof(*i));
        if (!i) {
                json_decref(json);
                return refuse(host, t, "out of memory");
        }
        i->taskserv = t;
        i->host = host;
        memcpy(&i->remote, remote,
               remote->struct_size < sizeof(i->remote) ? remote->struct_size : sizeof(i->remote));
        i->sources = json_incref(json_object_get(json, "sources"));
        json_decref(json);
        if (!health_read(i)) {
                taskserv_destroy(i);
                return refuse(host, t, "its dependencies are no valid JSON");
        }
        *ret_instance = i;
        return PRVNG_DONE;
}

void taskserv_destroy(void *instance)
{
        struct instance *i = instance;

        if (!i)
                return;
        json_decref(i->dependencies);
        json_decref(i->sources);
        free(i);
}

const void *taskserv_get_interface(void *instance, const char *id)
{
        return strcmp(id, PRVNG_OP) == 0 || strcmp(id, PRVNG_TASKSERV) == 0 ? &taskserv_op : NULL;
}

int32_t taskserv_self_test(void *instance, struct prvng_call *call, struct prvng_sink *report)
{
        const struct instance *i = instance;
        static const char text[] = "{\"checks\":[{\"name\":\"prvng.host.remote/1\",\"ok\":true,"
                                   "\"message\":\"servers can be reached through the core\"}]}";

        return i->host->sink_write(report, text, sizeof(text) - 1) < 0 ? PRVNG_INTERNAL
                                                                       : PRVNG_DONE;
}
