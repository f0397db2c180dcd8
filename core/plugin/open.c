/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dlopen, and the negotiation with what it brought. Every step that fails refuses the plugin with
 * one sentence; what it had made by then is given back, but the object stays (nothing is ever
 * unloaded).
 */
#include "plugin/load.h"

#include "base/json.h"
#include "host/call.h"
#include "host/host.h"
#include "plugin/border.h"
#include "plugin/entry.h"
#include "plugin/isolate.h"
#include "plugin/json-line.h"
#include "plugin/lock.h"

#include <dlfcn.h>

#define DESCRIBE_MAX (UINT64_C(4) << 20)

/* An interface that a kind must answer to: where its table goes, and what must be in it. */
struct wanted {
        const char *kind;
        const char *id;
        size_t target; /* in struct plugin */
        size_t size;
        size_t baseline;
        const struct member {
                const char *name;
                size_t offset;
        } * members; /* pointers that must not be NULL; ends with a NULL name */
};

#define MUST(type, m) {#m, offsetof(type, m)}

static const struct member op_members[] = {
        MUST(struct prvng_op, prepare), MUST(struct prvng_op, begin), {NULL}};
static const struct member store_members[] = {
        MUST(struct prvng_store, open),         MUST(struct prvng_store, append),
        MUST(struct prvng_store, read),         MUST(struct prvng_store, recover),
        MUST(struct prvng_store, streams),      MUST(struct prvng_store, remove),
        MUST(struct prvng_store, snapshot_put), MUST(struct prvng_store, snapshot_get),
        MUST(struct prvng_store, close),        {NULL}};
static const struct member loader_members[] = {
        MUST(struct prvng_loader, extensions), MUST(struct prvng_loader, load), {NULL}};

static const struct member template_members[] = {MUST(struct prvng_template, evaluate), {NULL}};

static const struct member secret_members[] = {
        MUST(struct prvng_secret, resolve), MUST(struct prvng_secret, check), {NULL}};

#define WANT(kind, id, member, baseline, members)                                                  \
        {                                                                                          \
                kind, id, offsetof(struct plugin, member), sizeof(((struct plugin *)0)->member),   \
                        baseline, members                                                          \
        }

static const struct wanted wanted[] = {
        WANT("provider", PRVNG_PROVIDER, op, PRVNG_OP_BASELINE, op_members),
        WANT("provider", PRVNG_OP, op, PRVNG_OP_BASELINE, op_members),
        WANT("taskserv", PRVNG_TASKSERV, op, PRVNG_OP_BASELINE, op_members),
        WANT("taskserv", PRVNG_OP, op, PRVNG_OP_BASELINE, op_members),
        WANT("store", PRVNG_STORE, store, PRVNG_STORE_BASELINE, store_members),
        WANT("loader", PRVNG_LOADER, loader, PRVNG_LOADER_BASELINE, loader_members),
        WANT("template", PRVNG_TEMPLATE, template_, PRVNG_TEMPLATE_BASELINE, template_members),
        WANT("secret", PRVNG_SECRET, secret, PRVNG_SECRET_BASELINE, secret_members),
};

/* Those that a kind may answer to. */
static const struct member precheck_members[] = {MUST(struct prvng_provider_precheck, check), {NULL}};
static const struct member inventory_members[] = {MUST(struct prvng_provider_inventory, find), {NULL}};
static const struct wanted optional[] = {
        WANT("provider", PRVNG_PROVIDER_PRECHECK, precheck, PRVNG_PROVIDER_PRECHECK_BASELINE,
             precheck_members),
        WANT("provider", PRVNG_PROVIDER_INVENTORY, inventory, PRVNG_PROVIDER_INVENTORY_BASELINE,
             inventory_members),
        WANT("secret", PRVNG_OP, op, PRVNG_OP_BASELINE, op_members), /* those that can also make them */
};

bool plugin_kind_known(const char *kind)
{
        for (size_t i = 0; i < N_ELEMENTS(wanted); i++)
                if (streq(wanted[i].kind, kind))
                        return true;
        return false;
}

void plugin_refuse(struct plugin *p, const char *format, ...)
{
        va_list ap;

        if (p->state == PLUGIN_REFUSED)
                return;
        p->state = PLUGIN_REFUSED;
        va_start(ap, format);
        if (vasprintf(&p->reason, format, ap) < 0)
                p->reason = NULL;
        va_end(ap);
}

/* Copies a table by the size rule. */
static bool copy_sized(struct plugin *p, const char *what, void *target, size_t size,
                       size_t baseline, const void *table)
{
        uint32_t head[2]; /* struct_size, reserved */

        memcpy(head, table, sizeof(head));
        if (head[0] < baseline) {
                plugin_refuse(p, "%s of %s is %u bytes long, at least %zu are needed: its "
                              "struct_size is not set, or it was built with headers older than 1.0",
                              what, p->path, head[0], baseline);
                return false;
        }
        if (head[1] != 0) {
                plugin_refuse(p, "%s of %s has a reserved field that is not 0", what, p->path);
                return false;
        }
        memset(target, 0, size);
        memcpy(target, table, MIN((size_t)head[0], size));
        head[0] = (uint32_t)MIN((size_t)head[0], size);
        memcpy(target, head, sizeof(head));
        return true;
}

/* What the descriptor says must be what note and drop-in say. */
static bool matches(struct plugin *p, const char *member, const char *value)
{
        const char *noted = json_get_string(p->note, member, "");

        if (value && streq(value, noted))
                return true;
        plugin_refuse(p, "%s: its note says %s \"%s\", its descriptor \"%s\": build it again",
                      p->path, member, noted, value ? value : "(none)");
        return false;
}

static bool check_descriptor(struct plugin *p)
{
        const struct prvng_plugin *d = &p->descriptor;

        if (d->min_host_minor > PRVNG_ABI_MINOR) {
                plugin_refuse(p, "%s needs a core with plugin interface %d.%u, this one has %d.%d: "
                              "install a newer prvng", p->path, PRVNG_ABI_MAJOR, d->min_host_minor,
                              PRVNG_ABI_MAJOR, PRVNG_ABI_MINOR);
                return false;
        }
        if (!matches(p, "id", d->id) || !matches(p, "name", d->name) ||
            !matches(p, "kind", d->kind) || !matches(p, "version", d->version))
                return false;
        if (!d->description || !d->licence || !d->create || !d->destroy || !d->get_interface) {
                plugin_refuse(p, "the descriptor of %s has no %s", p->path,
                              !d->description ? "description" : !d->licence ? "licence"
                              : !d->create    ? "create"        : !d->destroy ? "destroy"
                                                                : "get_interface");
                return false;
        }
        if (d->threads > PRVNG_THREADS_PARALLEL) {
                plugin_refuse(p, "%s declares the unknown thread model %u", p->path, d->threads);
                return false;
        }
        return true;
}

static bool fetch_table(struct plugin *p, const struct wanted *w)
{
        const void *t = p->descriptor.get_interface(p->instance, w->id);
        char *target = (char *)p + w->target;

        if (!t) {
                plugin_refuse(p, "%s is a %s but offers no interface %s", p->path, w->kind, w->id);
                return false;
        }
        if (!copy_sized(p, w->id, target, w->size, w->baseline, t))
                return false;
        for (const struct member *m = w->members; m->name; m++) {
                const void *pointer;

                memcpy(&pointer, target + m->offset, sizeof(pointer));
                if (!pointer) {
                        plugin_refuse(p, "%s of %s has no %s", w->id, p->path, m->name);
                        return false;
                }
        }
        return true;
}

static int parse_dependencies(struct plugin *p)
{
        char why[JSON_PARSE_ERROR] = "it is not an object";
        const char *text = p->descriptor.dependencies;

        if (!text)
                return 0;
        if (json_parse(text, strlen(text), &p->dependencies, why) < 0 ||
            !json_is_object(p->dependencies))
                plugin_refuse(p, "the dependencies that %s declares are not one JSON object: %s",
                              p->path, why);
        return 0;
}

static int ask_describe(struct plugin *p)
{
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        struct prvng_sink sink = SINK(&text, DESCRIBE_MAX);
        char why[JSON_PARSE_ERROR] = "it is not an object";
        int32_t answer;

        if (!p->op.describe)
                return 0;
        answer = p->op.describe(p->instance, &sink);
        if (answer == PRVNG_UNSUPPORTED)
                return 0;
        if (answer != PRVNG_DONE)
                plugin_refuse(p, "%s cannot describe itself: describe() answered %s", p->path,
                              op_class_name(answer));
        else if (sink.error)
                plugin_refuse(p, "what describe() of %s writes is longer than 4 MiB", p->path);
        else if (json_parse(buf_str(&text), text.n, &p->describe, why) < 0 ||
                 !json_is_object(p->describe))
                plugin_refuse(p, "what describe() of %s writes is not one JSON object: %s", p->path,
                              why);
        return 0;
}

static void give_back(struct plugin *p)
{
        if (p->instance)
                p->descriptor.destroy(p->instance);
        p->instance = NULL;
        p->isolated = isolate_free(p->isolated);
        json_decref(p->dependencies);
        json_decref(p->describe);
        p->dependencies = p->describe = NULL;
        p->descriptor = (struct prvng_plugin){0};
        p->op = (struct prvng_op){0};
        p->store = (struct prvng_store){0};
        p->loader = (struct prvng_loader){0};
        p->template_ = (struct prvng_template){0};
        p->secret = (struct prvng_secret){0};
        p->precheck = (struct prvng_provider_precheck){0};
        p->inventory = (struct prvng_provider_inventory){0};
        p->lock = plugin_lock_free(p->lock);
}

static int make_instance(struct plugin *p, const struct prvng_host *table)
{
        _cleanup_(cleanup_buf) struct buf said = BUF_NULL;
        const char *config = p->config->config;
        int32_t answer;

        host_capture_errors(&said);
        answer = p->isolated ? isolate_create(p->isolated, config, strlen(config), &p->instance)
                             : p->descriptor.create(table, config, strlen(config), &p->instance);
        host_capture_errors(NULL);
        if (answer != PRVNG_DONE) {
                p->instance = NULL; /* a failed create leaves nothing behind */
                plugin_refuse(p, "%s could not start: %s", p->name,
                              said.n ? buf_str(&said) : op_class_name(answer));
                return 0;
        }
        for (size_t i = 0; i < N_ELEMENTS(wanted); i++)
                if (streq(wanted[i].kind, p->kind) && !fetch_table(p, &wanted[i]))
                        return 0;
        for (size_t i = 0; i < N_ELEMENTS(optional); i++)
                if (streq(optional[i].kind, p->kind) &&
                    p->descriptor.get_interface(p->instance, optional[i].id) &&
                    !fetch_table(p, &optional[i]))
                        return 0;
        return error_fold(ask_describe(p));
}

/* Opens the object in this process, up to its entry. NULL in *ret_descriptor: p is refused. */
static int open_here(struct plugin *p, const struct prvng_host *table, const struct prvng_plugin **ret_descriptor,
                     void **ret_handle)
{
        _cleanup_(cleanup_buf) struct buf said = BUF_NULL;
        _cleanup_(cleanup_free) char *why = NULL;
        const struct prvng_plugin *descriptor = NULL;
        plugin_entry_f entry;
        int32_t answer;
        int r;

        *ret_descriptor = NULL;
        r = entry_open(p->path, &entry, ret_handle, &why);
        if (r < 0)
                return error_fold(r);
        if (!entry) {
                plugin_refuse(p, "%s", why);
                return 0;
        }
        host_capture_errors(&said);
        answer = entry(table, &descriptor);
        host_capture_errors(NULL);
        if (answer != PRVNG_DONE || !descriptor)
                plugin_refuse(p, "%s refuses to run here: %s", p->path,
                              said.n ? buf_str(&said) : answer ? op_class_name(answer)
                                                               : "it returned no descriptor");
        else
                *ret_descriptor = descriptor;
        return 0;
}

int plugin_open(struct plugin *p)
{
        const struct prvng_host *table = host_table_for(p->host, p->name);
        const struct prvng_plugin *descriptor;
        void *handle = NULL;
        int r;

        if (!table)
                return error_origin(-ENOMEM);
        r = plugin_isolation(p) ? isolate_start(p, table, &descriptor)
                                : open_here(p, table, &descriptor, &handle);
        if (r < 0)
                return error_fold(r);
        if (descriptor &&
            copy_sized(p, "the descriptor", &p->descriptor, sizeof(p->descriptor), PRVNG_PLUGIN_BASELINE,
                       descriptor) &&
            check_descriptor(p)) {
                r = parse_dependencies(p);
                /* Before create() opens its sessions. Who declares no limit may still ask for one. */
                if (p->config->rate_limit.given || plugin_rate_limit(p) > 0)
                        host_set_rate_limit(table, plugin_rate_limit(p));
                if (r == 0 && p->state == PLUGIN_READY)
                        r = plugin_lock_new(p->descriptor.threads, handle ?: (void *)p->isolated, &p->lock);
                if (r == 0 && p->state == PLUGIN_READY)
                        r = make_instance(p, table);
                if (r < 0) {
                        give_back(p);
                        return error_fold(r);
                }
        }
        if (p->state == PLUGIN_REFUSED)
                give_back(p);
        return 0;
}
