/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A helper for taskservs that are made of shell scripts: the complete prvng.op/1 on top of
 * prvng.host.remote/1, linked statically into the plugin. The plugin itself is data (struct taskserv)
 * and the entry; plugins/taskservs/ has examples, README.md beside this file the manual.
 *
 * How an operation goes: begin() asks whether the job named by the op id is there already; if not, the
 * check script says in one round trip whether anything has to be done (UNCHANGED if not), and the
 * install, update or remove script is started as a job. poll() follows its output; when it has ended
 * well, the health check of the plugin's dependencies must succeed before the operation is DONE. The
 * library keeps no state of its own: all is in the request, the token and the server.
 */
#ifndef PRVNG_SDK_TASKSERV_H
#define PRVNG_SDK_TASKSERV_H

#include <prvng/prvng.h>

/* Kinds of parameters. */
#define TASKSERV_TEXT 0u
#define TASKSERV_LIST 1u    /* array of texts without blanks; the script gets them separated by blanks */
#define TASKSERV_INTEGER 2u
#define TASKSERV_BOOLEAN 3u /* the script gets "yes" or "no" */

/* A parameter: attribute NAME of the spec (the vars of operation and workflow), or of an object in the
 * spec that is named like the taskserv, which counts more. The script gets it as the variable p_NAME. */
struct taskserv_parameter {
        const char *name;        /* [a-z][a-z0-9_]* */
        uint32_t kind;           /* TASKSERV_* */
        const char *fallback;    /* as the script gets it; "" if there is none */
        const char *accepted;    /* POSIX extended expression that the text, or each text of a list,
                                  * must match as a whole; NULL: anything */
        const char *description; /* one line; also says what is accepted */
};

/* A taskserv. Constant, lives as long as the process. */
struct taskserv {
        const char *name;
        const char *version;      /* of the plugin */
        const char *digest;       /* of the scripts: changes whenever one of them does */
        const char *dependencies; /* as in struct prvng_plugin; "health_check" is used from it */
        const struct taskserv_parameter *parameters;
        size_t n_parameters;

        /* Scripts. The library puts prelude.sh and the parameters before each. */
        const char *check;   /* changes nothing; says ::state, ::drift and ::result */
        const char *install; /* makes it as the parameters say, whatever was there before */
        const char *update;  /* NULL: install */
        const char *remove;
};

/* For the plugin's descriptor and entry. Tags and ownership as in prvng/plugin.h. */
int32_t taskserv_create(const struct taskserv *taskserv, const struct prvng_host *host,
                        const void *config, uint64_t n_config, void **ret_instance);
void taskserv_destroy(void *instance);
const void *taskserv_get_interface(void *instance, const char *id);
int32_t taskserv_self_test(void *instance, struct prvng_call *call, struct prvng_sink *report);

/*
 * Defines the note, the descriptor and the entry of a plugin around a `static const struct taskserv
 * taskserv`. The strings are literals, as the note needs them.
 */
#define TASKSERV_PLUGIN(name_, version_, description_, dependencies_)                              \
        PRVNG_PLUGIN_NOTE("taskserv", "org.prvng.taskserv." name_, name_, version_,                \
                          "[\"prvng.host.remote/1\"]", "none");                                    \
        static int32_t create(const struct prvng_host *host, const void *config,                   \
                              uint64_t n_config, void **ret_instance)                              \
        {                                                                                          \
                return taskserv_create(&taskserv, host, config, n_config, ret_instance);           \
        }                                                                                          \
        static const struct prvng_plugin plugin = {                                                \
                .struct_size = sizeof(plugin),                                                     \
                .abi_minor = PRVNG_ABI_MINOR,                                                      \
                .min_host_minor = 0,                                                               \
                .id = "org.prvng.taskserv." name_,                                                 \
                .name = name_,                                                                     \
                .kind = "taskserv",                                                                \
                .version = version_,                                                               \
                .description = description_,                                                       \
                .licence = "Apache-2.0",                                                           \
                .threads = PRVNG_THREADS_PARALLEL,                                                 \
                .dependencies = dependencies_,                                                     \
                .create = create,                                                                  \
                .destroy = taskserv_destroy,                                                       \
                .get_interface = taskserv_get_interface,                                           \
                .self_test = taskserv_self_test,                                                   \
        };                                                                                         \
        PRVNG_EXPORT int32_t prvng_plugin_v1(const struct prvng_host *host,                        \
                                             const struct prvng_plugin **ret_plugin)               \
        {                                                                                          \
                *ret_plugin = &plugin;                                                             \
                return PRVNG_DONE;                                                                 \
        }                                                                                          \
        struct prvng_plugin /* takes the semicolon */

#endif
