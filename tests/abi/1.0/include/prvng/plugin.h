/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a plugin presents itself: one exported function, one descriptor, one ELF note.
 *
 * A plugin is a shared object that exports exactly one symbol, prvng_plugin_v1. Kinds are
 * interfaces that its instance answers to (prvng/kind/...). What `prvng plugin list` shows without
 * running any of its code stands in the ELF note, written by PRVNG_PLUGIN_NOTE.
 */
#ifndef PRVNG_PLUGIN_H
#define PRVNG_PLUGIN_H

#include <prvng/abi.h>
#include <prvng/host.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * How many calls a plugin bears at once. The host locks accordingly, around the plugin's callbacks
 * and the host calls it makes inside them; a plugin that wants concurrency declares PARALLEL.
 */
#define PRVNG_THREADS_SERIAL_INSTANCE 0 /* one call at a time for one instance (the default) */
#define PRVNG_THREADS_SERIAL_PROCESS  1 /* one call at a time for all instances of the plugin */
#define PRVNG_THREADS_PARALLEL        2 /* any number of calls, for different operations */

/* Properties of a plugin, bits of struct prvng_plugin.flags. */
#define PRVNG_PLUGIN_BEGIN_NOT_IDEMPOTENT 0x1u /* a second begin() of one op id may act twice, and
                                                * observe() cannot tell: the core parks an operation
                                                * in doubt for the operator */

/*
 * The descriptor. Constant, in the plugin's own memory, valid until the process ends.
 */
struct prvng_plugin {
        uint32_t struct_size;
        uint32_t reserved;
        uint32_t abi_minor;      /* PRVNG_ABI_MINOR the plugin was compiled with */
        uint32_t min_host_minor; /* refuses to run on a core older than this */
        const char *id;          /* reverse DNS, e.g. "org.example.prvng.hetzner" */
        const char *name;        /* short name, unique in a site: `provider = "hetzner"` */
        const char *kind;        /* "provider", "taskserv", "store", "loader", "secret", "template" */
        const char *version;     /* of the plugin */
        const char *description; /* one line */
        const char *licence;     /* SPDX expression */
        uint32_t threads;        /* PRVNG_THREADS_* */
        uint32_t flags;          /* PRVNG_PLUGIN_* */
        int64_t settle_ms;       /* how long after a request could have left its effect may still be
                                  * invisible; 0 if the API is strongly consistent or keeps our op id */

        /* What the plan needs to know, as one JSON object whose attributes are those of the KCL
         * schemas ProviderDependencies or TaskservDependencies (kcl/dependencies.k of the plugin
         * says the same); NULL for other kinds. */
        const char *dependencies;

        /* [main] Makes an instance. `config` is the JSON object of the site's configuration for
         * this plugin ("{}" if there is none), valid until destroy; it holds secret references,
         * never values. On failure writes a sentence with host->log, returns a negative class and
         * leaves nothing behind. May be called more than once. */
        int32_t (*create)(const struct prvng_host *host, const void *config, uint64_t n_config,
                          void **ret_instance);

        /* [main] Ends an instance: joins its threads, frees everything. Accepts NULL. */
        void (*destroy)(void *instance);

        /* [any] The interface of exactly this id, or NULL. Valid until destroy. */
        const void *(*get_interface)(void *instance, const char *id);

        /* [worker] Optional: checks without side effects that the instance could work here and
         * writes a JSON object {"checks": [{"name", "ok", "message", "cure"}]}. */
        int32_t (*self_test)(void *instance, struct prvng_call *call, struct prvng_sink *report);
        /* members above: 1.0 */
};
#define PRVNG_PLUGIN_BASELINE PRVNG_SIZE_UP_TO(struct prvng_plugin, self_test)

/*
 * The entry. [main] Pure: no I/O, threads, allocation or locks. Writes the descriptor and returns
 * PRVNG_DONE, or refuses with a negative class, after host->log said why. `host` may be kept.
 */
PRVNG_EXPORT int32_t prvng_plugin_v1(const struct prvng_host *host,
                                     const struct prvng_plugin **ret_plugin);

/*
 * The ELF note: section .note.prvng, owner "prvng", type 1, one JSON object. Fixed keys: abi
 * ("major.minor"), kind, id, name, version, requires (ids of host interfaces), isolation ("none" or
 * "process": what the author recommends). It survives strip(1); `readelf -p .note.prvng` shows it.
 * The macro takes string literals; `requires_json` is a JSON array such as
 * "[\"prvng.host.remote/1\"]".
 */
#define PRVNG_NOTE_OWNER "prvng"
#define PRVNG_NOTE_TYPE  1u
#define PRVNG_STR_(x)    #x
#define PRVNG_STR(x)     PRVNG_STR_(x)
#define PRVNG_NOTE_JSON(kind_, id_, name_, version_, requires_json_, isolation_)                   \
        "{\"abi\":\"" PRVNG_STR(PRVNG_ABI_MAJOR) "." PRVNG_STR(PRVNG_ABI_MINOR)                    \
        "\",\"kind\":\"" kind_ "\",\"id\":\"" id_ "\",\"name\":\"" name_ "\",\"version\":\""       \
        version_ "\",\"requires\":" requires_json_ ",\"isolation\":\"" isolation_ "\"}"

#define PRVNG_PLUGIN_NOTE(kind_, id_, name_, version_, requires_json_, isolation_)                 \
        extern const struct prvng_plugin_note_ {                                                   \
                uint32_t n_name, n_desc, type;                                                     \
                char name[8];                                                                      \
                char desc[sizeof(PRVNG_NOTE_JSON(kind_, id_, name_, version_, requires_json_,      \
                                                 isolation_))];                                    \
        } prvng_plugin_note_ __attribute__((visibility("hidden")));                                \
        __attribute__((section(".note.prvng"), used, aligned(4)))                                  \
        const struct prvng_plugin_note_ prvng_plugin_note_ = {                                     \
                sizeof(PRVNG_NOTE_OWNER),                                                          \
                sizeof(PRVNG_NOTE_JSON(kind_, id_, name_, version_, requires_json_, isolation_)),  \
                PRVNG_NOTE_TYPE, PRVNG_NOTE_OWNER,                                                 \
                PRVNG_NOTE_JSON(kind_, id_, name_, version_, requires_json_, isolation_),          \
        }

/*
 * The same with the member "capabilities": what the plugin needs beyond the host's services, as the literal
 * of a JSON object, such as
 *
 *      "{\"hosts\":[\"api.example.net:443\"],\"secrets\":[\"EXAMPLE_TOKEN\"]}"
 *
 * It binds where the site isolates the plugin in a process of its own; inside the engine nothing holds a
 * plugin. A plugin that declares nothing may, isolated, use the host's services and no host, secret,
 * variable, file or program, unless the site allows it. prvng-plugin(7) has the members.
 */
#define PRVNG_NOTE_JSON_WITH(kind_, id_, name_, version_, requires_json_, isolation_, capabilities_json_) \
        "{\"abi\":\"" PRVNG_STR(PRVNG_ABI_MAJOR) "." PRVNG_STR(PRVNG_ABI_MINOR)                    \
        "\",\"kind\":\"" kind_ "\",\"id\":\"" id_ "\",\"name\":\"" name_ "\",\"version\":\""       \
        version_ "\",\"requires\":" requires_json_ ",\"isolation\":\"" isolation_                    \
        "\",\"capabilities\":" capabilities_json_ "}"

#define PRVNG_PLUGIN_NOTE_WITH(kind_, id_, name_, version_, requires_json_, isolation_,            \
                               capabilities_json_)                                                 \
        extern const struct prvng_plugin_note_ {                                                   \
                uint32_t n_name, n_desc, type;                                                     \
                char name[8];                                                                      \
                char desc[sizeof(PRVNG_NOTE_JSON_WITH(kind_, id_, name_, version_, requires_json_, \
                                                      isolation_, capabilities_json_))];           \
        } prvng_plugin_note_ __attribute__((visibility("hidden")));                                \
        __attribute__((section(".note.prvng"), used, aligned(4)))                                  \
        const struct prvng_plugin_note_ prvng_plugin_note_ = {                                     \
                sizeof(PRVNG_NOTE_OWNER),                                                          \
                sizeof(PRVNG_NOTE_JSON_WITH(kind_, id_, name_, version_, requires_json_,           \
                                            isolation_, capabilities_json_)),                      \
                PRVNG_NOTE_TYPE, PRVNG_NOTE_OWNER,                                                 \
                PRVNG_NOTE_JSON_WITH(kind_, id_, name_, version_, requires_json_, isolation_,      \
                                     capabilities_json_),                                          \
        }

#ifdef __cplusplus
}
#endif

#endif
