/* SPDX-License-Identifier: Apache-2.0 */
#include "host/host.h"

#include "base/clock.h"
#include "host/services.h"
#include <prvng/prvng.h>

#include <limits.h>
#include <stdarg.h>
#include <sys/eventfd.h>

enum { ERROR_TEXT_MAX = 8192, INTERN_MAX = 4096 };

/* Copies what the writer knew of the record; false if it is below the baseline. */
static bool copy_error(struct prvng_error *copy, const struct prvng_error *error)
{
        *copy = (struct prvng_error){0};
        if (!error || error->struct_size < PRVNG_ERROR_BASELINE)
                return false;
        memcpy(copy, error, MIN((size_t)error->struct_size, sizeof(*copy)));
        return true;
}

static void host_error(struct prvng_call *pub, const struct prvng_error *record)
{
        struct op_call *call = op_call_of(pub);
        struct op_reply *reply = call->reply;
        struct prvng_error e;

        if (!reply || !copy_error(&e, record))
                return;
        free(reply->message);
        free(reply->field);
        reply->message = e.message && e.message[0] ? host_clean_text(e.message, ERROR_TEXT_MAX) : NULL;
        reply->field = e.field && e.field[0] ? host_clean_text(e.field, ERROR_TEXT_MAX) : NULL;
        reply->retry_after_ms = MAX(e.retry_after_ms, (int64_t)-1);
        reply->effect = e.effect <= PRVNG_EFFECT_COMPLETE ? e.effect : PRVNG_EFFECT_UNKNOWN;
        reply->code = e.code;
        reply->status = e.status;
        call->said = true;
        call->said_class = e.error_class;
}

int32_t op_call_fail(struct prvng_call *call, int32_t error_class, uint32_t effect, int32_t status,
                     const char *format, ...)
{
        _cleanup_(cleanup_free) char *message = NULL;
        struct prvng_error e = {.struct_size = sizeof(e), .error_class = error_class,
                                .retry_after_ms = -1, .effect = effect, .status = status};
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&message, format, ap) < 0)
                message = NULL;
        va_end(ap);
        e.message = message;
        host_error(call, &e);
        return error_class;
}

static int32_t host_is_cancelled(struct prvng_call *pub)
{
        return op_call_is_cancelled(op_call_of(pub));
}

/* The canceller sets the flag, then looks for the descriptor; here the descriptor is published, then
 * the flag is looked at: whatever the order, one of the two makes it readable. */
static int32_t host_cancel_fd(struct prvng_call *pub)
{
        struct op_call *call = op_call_of(pub);
        int fd, none = -1;

        while (call->within) /* nobody else cancels it */
                call = call->within;
        fd = __atomic_load_n(&call->cancel_fd, __ATOMIC_SEQ_CST);
        if (fd >= 0)
                return fd;
        fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd < 0)
                return -1;
        if (!__atomic_compare_exchange_n(&call->cancel_fd, &none, fd, false, __ATOMIC_SEQ_CST,
                                         __ATOMIC_SEQ_CST)) { /* the plugin asked in two threads */
                close(fd);
                fd = none;
        }
        if (__atomic_load_n(&call->cancelled, __ATOMIC_SEQ_CST))
                eventfd_write(fd, 1);
        return fd;
}

static void host_progress(struct prvng_call *pub, uint32_t permille, const char *message)
{
        struct op_call *call = op_call_of(pub);
        _cleanup_(cleanup_free) char *text = NULL;

        if (!call->on_progress)
                return;
        text = host_clean_text(message ? message : "", 1024);
        if (text)
                call->on_progress(call, MIN(permille, 1000u), text);
}

static void host_ask_again(struct prvng_call *pub, int64_t after_ms)
{
        struct op_call *call = op_call_of(pub);

        if (call->reply)
                call->reply->ask_again_ms = MAX(after_ms, (int64_t)0);
}

static int32_t host_sink_write(struct prvng_sink *sink, const void *data, uint64_t n_data)
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

/* A plugin's own sink, with the buffer that a sink of the core only points to. */
struct own_sink {
        struct prvng_sink sink; /* first */
        struct buf buf;
};

static struct prvng_sink *host_sink_new(uint64_t limit)
{
        struct own_sink *own = calloc(1, sizeof(*own));

        if (!own)
                return NULL;
        own->buf = BUF_WIPES; /* the output of a program that decrypts, the reply of a vault */
        own->sink = SINK(&own->buf, limit);
        return &own->sink;
}

static const void *host_sink_data(struct prvng_sink *sink, uint64_t *ret_n_data)
{
        if (ret_n_data)
                *ret_n_data = sink->buf->n;
        return buf_str(sink->buf);
}

static void host_sink_free(struct prvng_sink *sink)
{
        struct own_sink *own = (struct own_sink *)sink;

        if (!own)
                return;
        buf_deinit(&own->buf);
        free(own);
}

const char *host_intern(const struct prvng_host *pub, const char *string)
{
        struct host *h = host_table_of(pub)->host;
        size_t n = string ? strlen(string) : 0;
        struct strmap_entry *e;
        char *copy = NULL;

        if (!string || n > INTERN_MAX)
                return NULL;
        pthread_mutex_lock(&h->intern_lock);
        e = strmap_find(&h->interned, string, n);
        if (e) {
                copy = e->value.pointer;
        } else if ((copy = strdup(string))) {
                e = strmap_add(&h->interned, copy, n);
                if (e)
                        e->value.pointer = copy;
                else
                        copy = (free(copy), NULL);
        }
        pthread_mutex_unlock(&h->intern_lock);
        return copy;
}

static const struct host_provided built_in[] = {
        {PRVNG_HOST_WORKDIR, &host_workdir},
        {PRVNG_HOST_RATE, &host_rate},
        {PRVNG_HOST_REMOTE, &host_remote},
        {PRVNG_HOST_SPAWN, &host_spawn},
        {PRVNG_HOST_HTTP, &host_http},
};

static const void *host_get_interface(const struct prvng_host *pub, const char *id)
{
        const struct host *h = host_table_of(pub)->host;

        for (size_t i = 0; id && i < N_ELEMENTS(built_in); i++)
                if (streq(built_in[i].id, id))
                        return built_in[i].table;
        for (size_t i = 0; id && i < h->n_provided; i++)
                if (streq(h->provided[i].id, id))
                        return h->provided[i].table;
        return NULL;
}

int host_provide(struct host *h, const char *id, const void *table)
{
        struct host_provided *p = realloc(h->provided, (h->n_provided + 1) * sizeof(*p));

        if (!p)
                return error_origin(-ENOMEM);
        h->provided = p;
        p[h->n_provided].id = host_intern(&h->core.pub, id);
        p[h->n_provided].table = table;
        if (!p[h->n_provided].id)
                return error_origin(-ENOMEM);
        h->n_provided++;
        return 0;
}

void host_set_secrets(struct host *h, host_secret_f resolve, void *userdata)
{
        h->secrets = resolve;
        h->secrets_userdata = userdata;
}

static const struct prvng_host table = {
        .struct_size = sizeof(struct prvng_host),
        .abi_minor = PRVNG_ABI_MINOR,
        .core_version = PRVNG_VERSION,
        .log = host_log,
        .error = host_error,
        .is_cancelled = host_is_cancelled,
        .cancel_fd = host_cancel_fd,
        .progress = host_progress,
        .ask_again = host_ask_again,
        .sink_write = host_sink_write,
        .sink_new = host_sink_new,
        .sink_data = host_sink_data,
        .sink_free = host_sink_free,
        .intern = host_intern,
        .monotonic_ms = clock_boot_ms,
        .get_interface = host_get_interface,
};

static char no_plugin[] = "";

int host_new(const struct config *config, const struct host_hooks *hooks, struct host **ret_host)
{
        struct host *h = calloc(1, sizeof(*h));

        if (!h)
                return error_origin(-ENOMEM);
        h->config = config;
        if (hooks)
                h->hooks = *hooks;
        h->core = (struct host_table){.pub = table, .host = h, .plugin = no_plugin};
        pthread_mutex_init(&h->intern_lock, NULL);
        pthread_mutex_init(&h->rate_lock, NULL);
        pthread_mutex_init(&h->http_lock, NULL);
        *ret_host = h;
        return 0;
}

struct host *host_free(struct host *h)
{
        if (!h)
                return NULL;
        http_loop_free(h->http);
        http_tape_free(h);
        while (h->tables) {
                struct host_table *t = h->tables;

                h->tables = t->next;
                free(t->plugin);
                free(t);
        }
        strmap_foreach (e, &h->interned)
                free(e->value.pointer);
        strmap_deinit(&h->interned);
        rate_deinit(h);
        free(h->provided);
        pthread_mutex_destroy(&h->intern_lock);
        pthread_mutex_destroy(&h->rate_lock);
        pthread_mutex_destroy(&h->http_lock);
        free(h);
        return NULL;
}

const struct prvng_host *host_table(struct host *h)
{
        return &h->core.pub;
}

const struct prvng_host *host_table_for(struct host *h, const char *plugin)
{
        struct host_table *t = malloc(sizeof(*t));

        if (!t)
                return NULL;
        *t = (struct host_table){.pub = table, .host = h, .plugin = strdup(plugin),
                                 .rate_limit = -1, .next = h->tables};
        if (!t->plugin)
                return free(t), NULL;
        h->tables = t;
        return &t->pub;
}

void host_set_rate_limit(const struct prvng_host *table_, uint32_t requests_per_second)
{
        host_table_of(table_)->rate_limit = requests_per_second;
}

uint32_t host_rate_limit(const struct prvng_host *table_)
{
        return (uint32_t)MAX(host_table_of(table_)->rate_limit, INT64_C(0));
}

uint32_t host_rate_limit_of(const struct host *h, const char *plugin, uint32_t otherwise)
{
        for (const struct host_table *t = h->tables; t; t = t->next)
                if (streq(t->plugin, plugin) && t->rate_limit >= 0)
                        return (uint32_t)t->rate_limit;
        return otherwise;
}

const struct config *host_config(const struct host *h)
{
        return h->config;
}
