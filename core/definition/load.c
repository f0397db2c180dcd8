/* SPDX-License-Identifier: Apache-2.0 */
/* From a file to a document, through the loader plugin for its ending. */
#include "definition/definition.h"
#include "plugin/border.h"
#include "plugin/lock.h"

/* Why no loader could be found: what reads the ending but may not, and what endings are read. */
static void report_no_loader(const struct plugins *plugins, const struct position *at,
                             struct problems *problems)
{
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;
        const char *slash = strrchr(at->file, '/'), *dot = strrchr(slash ? slash : at->file, '.');

        for (size_t i = 0; i < plugins->n; i++) {
                const struct plugin *p = &plugins->list[i];

                if (!p->kind || !streq(p->kind, "loader"))
                        continue;
                if (p->state == PLUGIN_READY)
                        buf_printf(&b, " The loader %s reads: %s.", p->name, p->loader.extensions);
                else
                        buf_printf(&b, " The loader %s is not used: %s.", p->name,
                                   p->reason ? p->reason : "it is disabled");
        }
        problems_add(problems, at, NULL, "no loader reads files that end in \"%s\".%s", dot ? dot : "",
                     b.n ? buf_str(&b) : " No loader is installed.");
}

static void call_loader(struct plugin *plugin, const char *path, const void *data, size_t n_data,
                        const char *arguments, struct problems *problems, struct document *d)
{
        struct prvng_loader_source source = { .struct_size = sizeof(source), .path = path,
                                              .data = data, .n_data = n_data,
                                              .arguments = arguments ? arguments : "{}" };
        struct op_reply reply = OP_REPLY_NULL;
        struct op_call *outer = host_current_call, call;
        struct position at = { .file = path };
        size_t before = problems->n;
        int32_t r = PRVNG_CANCELLED;

        op_call_init(&call, plugin, "", 1, INT64_MAX, 0, "", "");
        call.reply = &reply;
        if (plugin_lock_enter(plugin->lock, &call) == 0) {
                host_current_call = &call;
                r = plugin->loader.load(plugin->instance, &call.pub, &source, document_builder(d));
                host_current_call = outer;
                plugin_lock_leave(plugin->lock);
        }
        if (r < 0 && problems->n == before)
                problems_add(problems, &at, NULL, "%s",
                             reply.message ? reply.message : "the loader failed without a reason");
        op_call_deinit(&call);
        op_reply_deinit(&reply);
}

int definition_load(const struct plugins *plugins, const char *path, const char *arguments,
                    struct problems *problems, struct document **ret_document)
{
        _cleanup_(cleanup_document) struct document *d = NULL;
        _cleanup_(cleanup_free) char *absolute = realpath(path, NULL);
        struct position at = { .file = path };
        size_t before = problems->n;
        struct plugin *plugin;
        int r;

        if (!absolute || access(absolute, R_OK) < 0) {
                problems_add(problems, &at, NULL, "cannot be read: %s", strerror(errno));
                return 0;
        }
        plugin = plugins_find_loader(plugins, absolute);
        if (!plugin) {
                report_no_loader(plugins, &at, problems);
                return 0;
        }
        r = document_new(path, problems, &d);
        if (r < 0)
                return error_fold(r);
        call_loader(plugin, absolute, NULL, 0, arguments, problems, d);
        if (problems->n == before)
                *ret_document = steal(&d);
        return 0;
}

int definition_load_json(const struct plugins *plugins, const char *name, const void *data,
                         size_t n_data, struct problems *problems, struct document **ret_document)
{
        _cleanup_(cleanup_document) struct document *d = NULL;
        struct plugin *plugin = plugins_find(plugins, "loader", "json");
        struct position at = { .file = name };
        size_t before = problems->n;
        int r;

        if (!plugin || plugin->state != PLUGIN_READY) {
                report_no_loader(plugins, &at, problems);
                return 0;
        }
        r = document_new(name, problems, &d);
        if (r < 0)
                return error_fold(r);
        call_loader(plugin, name, data, n_data, NULL, problems, d);
        if (problems->n == before)
                *ret_document = steal(&d);
        return 0;
}
