/* SPDX-License-Identifier: Apache-2.0 */
/* The host table that an isolated plugin sees: what can be done here is done here, the rest crosses. */
#include "plugin/prvng-plugin-host.h"

#include "base/clock.h"
#include "base/strmap.h"

static char version[64];
static uint32_t available;

static void table_log(const struct prvng_host *host, int32_t level, const char *topic, const char *message)
{
        struct line *l = line_of(NULL);
        struct wire *w;

        if (!message)
                return;
        w = line_say(l, WIRE_LOG);
        wire_put_i32(w, level);
        wire_put_text(w, topic);
        wire_put_text(w, message);
        line_said(l);
}

static void table_error(struct prvng_call *call, const struct prvng_error *record)
{
        struct prvng_error e = {0};
        struct line *l = line_of(call);
        struct wire *w;

        if (!record || record->struct_size < PRVNG_ERROR_BASELINE)
                return;
        memcpy(&e, record, MIN((size_t)record->struct_size, sizeof(e)));
        w = line_say(l, WIRE_ERROR);
        wire_put_i32(w, e.error_class);
        wire_put_i32(w, e.code);
        wire_put_i64(w, e.retry_after_ms);
        wire_put_u32(w, e.effect);
        wire_put_i32(w, e.status);
        wire_put_text(w, e.message);
        wire_put_text(w, e.field);
        line_said(l);
}

static void table_progress(struct prvng_call *call, uint32_t permille, const char *message)
{
        struct line *l = line_of(call);
        struct wire *w = line_say(l, WIRE_PROGRESS);

        wire_put_u32(w, permille);
        wire_put_text(w, message);
        line_said(l);
}

static void table_ask_again(struct prvng_call *call, int64_t after_ms)
{
        struct line *l = line_of(call);

        wire_put_i64(line_say(l, WIRE_ASK_AGAIN), after_ms);
        line_said(l);
}

static int32_t table_sink_write(struct prvng_sink *sink, const void *data, uint64_t n_data)
{
        if (sink->error)
                return sink->error;
        if (n_data > sink->limit - sink->buf->n) {
                sink->error = -ENOSPC;
        } else {
                buf_append(sink->buf, data, n_data);
                sink->error = sink->buf->error;
        }
        return sink->error;
}

struct own_sink {
        struct prvng_sink sink; /* first */
        struct buf buf;
};

static struct prvng_sink *table_sink_new(uint64_t limit)
{
        struct own_sink *own = calloc(1, sizeof(*own));

        if (!own)
                return NULL;
        own->buf = BUF_WIPES;
        own->sink = SINK(&own->buf, limit);
        return &own->sink;
}

static const void *table_sink_data(struct prvng_sink *sink, uint64_t *ret_n_data)
{
        if (ret_n_data)
                *ret_n_data = sink->buf->n;
        return buf_str(sink->buf);
}

static void table_sink_free(struct prvng_sink *sink)
{
        struct own_sink *own = (struct own_sink *)sink;

        if (!own)
                return;
        buf_deinit(&own->buf);
        free(own);
}

static const char *table_intern(const struct prvng_host *host, const char *string)
{
        static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
        static struct strmap interned;
        struct strmap_entry *e;
        char *copy = NULL;
        size_t n = string ? strlen(string) : 0;

        if (!string || n > 4096)
                return NULL;
        pthread_mutex_lock(&lock);
        e = strmap_find(&interned, string, n);
        if (e) {
                copy = e->value.pointer;
        } else if ((copy = strdup(string))) {
                e = strmap_add(&interned, copy, n);
                if (e)
                        e->value.pointer = copy;
                else
                        copy = (free(copy), NULL);
        }
        pthread_mutex_unlock(&lock);
        return copy;
}

static const void *table_get_interface(const struct prvng_host *host, const char *id)
{
        static const void *const tables[WIRE_N_HOSTS] = {
                [WIRE_HOST_HTTP] = &service_http,       [WIRE_HOST_REMOTE] = &service_remote,
                [WIRE_HOST_SPAWN] = &service_spawn,     [WIRE_HOST_WORKDIR] = &service_workdir,
                [WIRE_HOST_RATE] = &service_rate,       [WIRE_HOST_DOCUMENT] = &service_document,
        };

        for (unsigned int k = 0; id && k < WIRE_N_HOSTS; k++)
                if (streq(wire_hosts[k], id))
                        return available & 1u << k ? tables[k] : NULL;
        return NULL;
}

static const struct prvng_host table = {
        .struct_size = sizeof(table),
        .abi_minor = PRVNG_ABI_MINOR,
        .core_version = version,
        .log = table_log,
        .error = table_error,
        .is_cancelled = local_is_cancelled,
        .cancel_fd = local_cancel_fd,
        .progress = table_progress,
        .ask_again = table_ask_again,
        .sink_write = table_sink_write,
        .sink_new = table_sink_new,
        .sink_data = table_sink_data,
        .sink_free = table_sink_free,
        .intern = table_intern,
        .monotonic_ms = clock_boot_ms,
        .get_interface = table_get_interface,
};

void table_set(const char *core_version, uint32_t interfaces)
{
        snprintf(version, sizeof(version), "%s", core_version);
        available = interfaces;
}

const struct prvng_host *table_get(void)
{
        return &table;
}
