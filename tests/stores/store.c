/* SPDX-License-Identifier: Apache-2.0 */
#include "store.h"

#include "host/host.h"
#include "plugin/border.h"

static _Noreturn void fail(const char *what, const char *why)
{
        fprintf(stderr, "test store: %s: %s\n", what, why ? why : "failed");
        abort();
}

void store_new(struct store *s, const char *folder)
{
        static char nothing[] = "{}", from[] = "the test", *no_path[] = {NULL};
        char *file = getenv("PRVNG_TEST_STORE"), *config = getenv("PRVNG_TEST_STORE_CONFIG");
        const char *base;

        if (!file)
                fail("PRVNG_TEST_STORE", "is not set; run this by `meson test`");
        base = strrchr(file, '/');
        *s = (struct store){0};
        snprintf(s->name, sizeof(s->name), "%s", base ? base + 1 : file);
        s->name[strcspn(s->name, ".")] = 0;
        s->conf = (struct config_plugin){.name = s->name, .file = file, .enabled = true,
                                         .config = config ? config : nothing, .from = from};
        s->config = (struct config){.state = (char *)(uintptr_t)folder,
                                    .cache = (char *)(uintptr_t)folder, .plugin_path = no_path,
                                    .plugins = &s->conf, .n_plugins = 1};
        if (host_new(&s->config, NULL, &s->host) || plugins_load(&s->config, s->host, NULL, 0, &s->plugins))
                fail(file, "cannot be loaded");
        s->plugin = plugins_find(s->plugins, "store", s->name);
        if (!s->plugin || s->plugin->state != PLUGIN_READY || !s->plugin->store.struct_size)
                fail(file, s->plugin ? s->plugin->reason : "is no store");
}

void store_free(struct store *s)
{
        plugins_free(s->plugins);
        host_free(s->host);
}

struct one_call {
        struct op_call call;
        struct op_reply reply;
};

static struct prvng_call *begin(struct store *s, struct one_call *c)
{
        c->reply = OP_REPLY_NULL;
        op_call_init(&c->call, s->plugin, "", 1, INT64_MAX, s->epoch, "", "");
        c->call.reply = &c->reply;
        return &c->call.pub;
}

static int32_t end(struct store *s, struct one_call *c, int32_t answer)
{
        snprintf(s->message, sizeof(s->message), "%s", c->reply.message ? c->reply.message : "");
        if (answer < 0 && !c->call.said)
                fail("an error without a record", op_class_name(answer));
        if (answer < 0 && c->call.said_class != answer)
                fail("the record of an error is of another class", s->message);
        op_call_deinit(&c->call);
        op_reply_deinit(&c->reply);
        return answer;
}

#define CALL(s, function, ...)                                                                     \
        ({                                                                                         \
                struct one_call c_;                                                                \
                struct prvng_call *pub_ = begin(s, &c_);                                           \
                end(s, &c_, (s)->plugin->store.function((s)->plugin->instance, pub_, __VA_ARGS__)); \
        })

int32_t store_open(struct store *s, const char *location, uint32_t flags)
{
        return CALL(s, open, location, flags, &s->epoch);
}

int32_t store_append(struct store *s, const char *stream, uint32_t segment, const void *data,
                     size_t n)
{
        return CALL(s, append, stream, segment, data, n, s->epoch);
}

int32_t store_read(struct store *s, const char *stream, uint32_t segment, uint64_t offset,
                   struct buf *ret)
{
        struct prvng_sink sink = SINK(ret, UINT64_MAX);

        buf_clear(ret);
        return CALL(s, read, stream, segment, offset, &sink);
}

int32_t store_recover(struct store *s, const char *stream, uint32_t segment, uint64_t n)
{
        return CALL(s, recover, stream, segment, n, s->epoch);
}

int32_t store_list(struct store *s, json_t **ret)
{
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        struct prvng_sink sink = SINK(&text, UINT64_MAX);
        int32_t r = CALL(s, streams, &sink);

        if (r == PRVNG_DONE && json_parse(buf_str(&text), text.n, ret, NULL))
                fail("the list of streams is no JSON", buf_str(&text));
        return r;
}

int32_t store_remove(struct store *s, const char *stream)
{
        return CALL(s, remove, stream, s->epoch);
}

int32_t store_put(struct store *s, const char *stream, const void *data, size_t n)
{
        return CALL(s, snapshot_put, stream, data, n, s->epoch);
}

int32_t store_put_parts(struct store *s, const char *stream, const void *data, size_t n, size_t part,
                        unsigned max)
{
        int32_t r = PRVNG_DONE;

        for (size_t at = 0; at < n && r == PRVNG_DONE && max-- > 0; at += part) {
                size_t some = MIN(part, n - at);

                r = CALL(s, snapshot_part, stream, (const char *)data + at, some, at, at + some == n, s->epoch);
        }
        return r;
}

int32_t store_get(struct store *s, const char *stream, struct buf *ret)
{
        struct prvng_sink sink = SINK(ret, UINT64_MAX);

        buf_clear(ret);
        return CALL(s, snapshot_get, stream, &sink);
}

void store_close(struct store *s)
{
        s->plugin->store.close(s->plugin->instance);
}
