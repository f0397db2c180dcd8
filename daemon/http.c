/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libwebsockets round exchange.c. What its version 4.1.6 wants, and gives no error for:
 *  - a connection keeps its header table while it streams, so the pool must be as large as the number
 *    of followers; entries are made when first needed
 *  - one lws_write per writeable callback, with LWS_PRE bytes free in front
 *  - only lws_cancel_service may be called from other threads
 *  - closing drops what it still buffers: ask lws_partial_buffered first
 */
#include "http.h"

#include "exchange.h"

#include <fcntl.h>
#include <libwebsockets.h>
#include <sys/stat.h>
#include <unistd.h>

#define BODY_MAX ((uint64_t)64 << 20) /* bytes; 100,000 operations are about 25 MB */
#define CHUNK ((size_t)64 << 10)
#define FOLLOWERS_MAX 12000
#define LOG_TICK_US (250 * LWS_US_PER_MS)

struct http {
        const struct config *config;
        struct engine_process *process;
        struct lws_context *context;
        struct mailbox mailbox;
        pthread_t thread;
        bool has_thread;
        bool stop;           /* atomic */
        uint32_t n_followers; /* atomic: exchanges that want records */
        struct exchange *exchanges;
        char *iface;         /* libwebsockets keeps the pointer, and unlinks what it says at the end */
        unsigned char chunk[LWS_PRE + CHUNK];
};

struct session {
        struct exchange *exchange;
};

/* Hooks: other threads */

static void wake(struct http *h, bool needed)
{
        if (needed && h->context)
                lws_cancel_service(h->context);
}

static void on_record(void *userdata, const char *run, uint64_t seq, const char *line, size_t n_line)
{
        struct http *h = userdata;

        /* Whoever subscribes after this look asks for the backlog after it, too. */
        if (__atomic_load_n(&h->n_followers, __ATOMIC_SEQ_CST) == 0)
                return;
        wake(h, mailbox_news(&h->mailbox, MAIL_RECORD, run, seq, line, n_line));
}

static void on_progress(void *userdata, const char *run, const char *task, uint32_t permille,
                        const char *message)
{
        struct http *h = userdata;
        struct buf json = BUF_NULL;

        if (__atomic_load_n(&h->n_followers, __ATOMIC_SEQ_CST) == 0)
                return;
        BUF_LIT(&json, "{\"task\":");
        buf_json(&json, task);
        buf_printf(&json, ",\"permille\":%u,\"message\":", permille);
        buf_json(&json, message ? message : "");
        BUF_LIT(&json, "}");
        if (buf_error(&json) == 0)
                wake(h, mailbox_news(&h->mailbox, MAIL_PROGRESS, run, 0, json.data, json.n));
        buf_deinit(&json);
}

static void on_answer(void *userdata, void *request, int status, const char *body, size_t n_body)
{
        struct http *h = userdata;

        wake(h, mailbox_answer(&h->mailbox, request, status, body, n_body));
}

void http_hooks(struct http *h, struct engine_process_hooks *ret_hooks)
{
        *ret_hooks = (struct engine_process_hooks){
                .on_record = on_record,
                .on_progress = on_progress,
                .on_answer = on_answer,
                .userdata = h,
        };
}

/* Exchanges and connections: the HTTP thread */

static bool wants_records(const struct exchange *e)
{
        return e->route && e->follow &&
               (e->route->type == ROUTE_EVENTS || e->route->type == ROUTE_LOGS);
}

static void add_exchange(struct http *h, struct exchange *e, struct lws *wsi)
{
        e->connection = wsi;
        e->link = &h->exchanges;
        e->next = h->exchanges;
        if (e->next)
                e->next->link = &e->next;
        h->exchanges = e;
        engine_process_busy(h->process, 1);
}

/* The connection is gone, or its response was sent. */
static void drop_exchange(struct http *h, struct session *s)
{
        struct exchange *e = s->exchange;

        if (!e)
                return;
        s->exchange = NULL;
        e->connection = NULL;
        if (e->counted)
                __atomic_fetch_sub(&h->n_followers, 1, __ATOMIC_SEQ_CST);
        e->counted = false;
        engine_process_busy(h->process, -1);
        if (!e->posted)
                exchange_free(e);
}

static void poke(struct exchange *e)
{
        if (e->connection && e->has_response)
                lws_callback_on_writable(e->connection);
        if (e->connection && exchange_wants_timer(e))
                lws_set_timer_usecs(e->connection, LOG_TICK_US);
}

static void deliver(struct http *h, struct mail *mail)
{
        struct exchange *e = mail->request;

        if (mail->type == MAIL_ANSWER) {
                exchange_answer(e, mail);
                if (!e->connection && !e->posted)
                        exchange_free(e);
                else
                        poke(e);
                return;
        }
        for (e = h->exchanges; e; e = e->next)
                if (exchange_follows(e, mail->run)) {
                        exchange_news(e, mail);
                        poke(e);
                }
        free(mail);
}

static void empty_mailbox(struct http *h)
{
        bool overflow;
        struct mail *next;

        for (struct mail *m = mailbox_take(&h->mailbox, &overflow); m; m = next) {
                next = m->next;
                deliver(h, m);
        }
        for (struct exchange *e = overflow ? h->exchanges : NULL; e; e = e->next) {
                exchange_overflow(e);
                poke(e);
        }
}

static int begin(struct http *h, struct session *s)
{
        struct exchange *e = s->exchange;

        /* Subscribed before the engine is asked: nothing can fall between. */
        e->counted = wants_records(e);
        if (e->counted)
                __atomic_fetch_add(&h->n_followers, 1, __ATOMIC_SEQ_CST);
        lws_set_timeout(e->connection, NO_PENDING_TIMEOUT, 0);
        exchange_begin(e);
        poke(e);
        return 0;
}

static void read_query(struct lws *wsi, struct exchange *e)
{
        char pair[1024];
        char *value;

        for (int i = 0; lws_hdr_copy_fragment(wsi, pair, sizeof(pair), WSI_TOKEN_HTTP_URI_ARGS, i) >= 0;
             i++) {
                value = strchr(pair, '=');
                if (value)
                        *value++ = 0;
                exchange_query(e, pair, value ? value : "");
        }
        if (e->route && e->route->type == ROUTE_EVENTS && e->feed.last == 0 &&
            lws_hdr_custom_copy(wsi, pair, sizeof(pair), "last-event-id:", 14) > 0)
                exchange_query(e, "from", pair);
}

static int on_request(struct http *h, struct lws *wsi, struct session *s, const char *path)
{
        bool is_post = lws_hdr_total_length(wsi, WSI_TOKEN_POST_URI) > 0;
        bool is_get = lws_hdr_total_length(wsi, WSI_TOKEN_GET_URI) > 0;
        struct exchange *e;
        char length[32];
        uint64_t n = 0;

        e = exchange_new(h->process, h->config, is_post ? "POST" : is_get ? "GET" : "OTHER", path);
        if (!e)
                return -1;
        s->exchange = e;
        add_exchange(h, e, wsi);
        read_query(wsi, e);
        if (is_post && lws_hdr_copy(wsi, length, sizeof(length), WSI_TOKEN_HTTP_CONTENT_LENGTH) > 0)
                n = strtoull(length, NULL, 10);
        if (n > BODY_MAX) {
                exchange_error(e, 413, "the request is larger than 64 MiB");
                return begin(h, s);
        }
        if (n > 0) {
                lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_CONTENT, 60);
                return 0; /* the body comes */
        }
        return begin(h, s);
}

static int on_body(struct session *s, const void *data, size_t n)
{
        struct exchange *e = s->exchange;

        if (!e || e->has_response)
                return 0;
        if (e->body.n + n > BODY_MAX) {
                exchange_error(e, 413, "the request is larger than 64 MiB");
                return 0;
        }
        buf_append(&e->body, data, n);
        return 0;
}

static int write_headers(struct lws *wsi, struct exchange *e)
{
        unsigned char block[LWS_PRE + 1024], *start = block + LWS_PRE, *p = start;
        unsigned char *end = block + sizeof(block) - 1;
        lws_filepos_t length = e->streaming ? LWS_ILLEGAL_HTTP_CONTENT_LEN : exchange_length(e);

        if (lws_add_http_common_headers(wsi, (unsigned)e->status, e->content_type, length, &p, end))
                return -1;
        if (e->allow && lws_add_http_header_by_token(wsi, WSI_TOKEN_HTTP_ALLOW,
                                                     (const unsigned char *)e->allow,
                                                     (int)strlen(e->allow), &p, end))
                return -1;
        if (e->streaming && lws_add_http_header_by_token(wsi, WSI_TOKEN_HTTP_CACHE_CONTROL,
                                                         (const unsigned char *)"no-store", 8, &p,
                                                         end))
                return -1;
        if (lws_finalize_write_http_header(wsi, start, &p, end))
                return -1;
        e->sent_headers = true;
        return 0;
}

static int on_writeable(struct http *h, struct lws *wsi, struct session *s)
{
        struct exchange *e = s->exchange;
        enum lws_write_protocol how = LWS_WRITE_HTTP;
        const char *data;
        size_t n;

        if (!e || !e->has_response)
                return 0;
        if (!e->sent_headers) {
                if (write_headers(wsi, e) < 0)
                        return -1;
                lws_callback_on_writable(wsi);
                return 0;
        }
        n = exchange_next(e, &data);
        if (n > 0) {
                n = MIN(n, CHUNK);
                memcpy(h->chunk + LWS_PRE, data, n);
                exchange_sent(e, n);
                if (!e->streaming && exchange_is_over(e))
                        how = LWS_WRITE_HTTP_FINAL;
                if (lws_write(wsi, h->chunk + LWS_PRE, n, how) < 0)
                        return -1;
                lws_callback_on_writable(wsi);
                return 0;
        }
        if (!exchange_is_over(e)) {
                if (exchange_wants_timer(e))
                        lws_set_timer_usecs(wsi, LOG_TICK_US);
                return 0;
        }
        if (lws_partial_buffered(wsi)) {
                lws_callback_on_writable(wsi);
                return 0;
        }
        n = e->streaming || e->status == 413;
        drop_exchange(h, s);
        return n || lws_http_transaction_completed(wsi) ? -1 : 0;
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t n)
{
        struct http *h = lws_context_user(lws_get_context(wsi));
        struct session *s = user;

        switch ((int)reason) {
        case LWS_CALLBACK_HTTP:
                return on_request(h, wsi, s, in);
        case LWS_CALLBACK_HTTP_BODY:
                return on_body(s, in, n);
        case LWS_CALLBACK_HTTP_BODY_COMPLETION:
                return s->exchange && !s->exchange->posted ? begin(h, s) : 0;
        case LWS_CALLBACK_HTTP_WRITEABLE:
                return on_writeable(h, wsi, s);
        case LWS_CALLBACK_TIMER:
                if (s && s->exchange) {
                        exchange_timer(s->exchange);
                        poke(s->exchange);
                }
                return 0;
        case LWS_CALLBACK_CLOSED_HTTP:
                if (s)
                        drop_exchange(h, s);
                return 0;
        case LWS_CALLBACK_EVENT_WAIT_CANCELLED:
                empty_mailbox(h);
                return 0;
        default:
                return 0;
        }
}

static const struct lws_protocols protocols[] = {
        {.name = "http", .callback = callback, .per_session_data_size = sizeof(struct session)},
        {0},
};

/* Life */

static void *http_thread(void *userdata)
{
        struct http *h = userdata;

        while (!__atomic_load_n(&h->stop, __ATOMIC_ACQUIRE))
                if (lws_service(h->context, 0) < 0)
                        break;
        return NULL;
}

int http_new(const struct config *config, struct http **ret_http)
{
        struct http *h = calloc(1, sizeof(*h));
        int r;

        if (!h)
                return error_origin(-ENOMEM);
        h->config = config;
        r = mailbox_init(&h->mailbox);
        if (r < 0) {
                free(h);
                return error_fold(r);
        }
        *ret_http = h;
        return 0;
}

static void emit(int level, const char *line)
{
        fprintf(stderr, "prvngd: http: %s", line);
}

/* A socket's path must fit into 107 bytes; its folder may be deeper than that. */
static int short_path(const char *path, int *ret_folder_fd, char **ret_path)
{
        _cleanup_(cleanup_free) char *folder = strdup(path);
        char *slash = folder ? strrchr(folder, '/') : NULL;
        int fd;

        if (!slash)
                return error_origin(folder ? -EINVAL : -ENOMEM);
        *slash = 0;
        fd = open(*folder ? folder : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (asprintf(ret_path, "/proc/self/fd/%d/%s", fd, slash + 1) < 0) {
                close(fd);
                return error_origin(-ENOMEM);
        }
        *ret_folder_fd = fd;
        return 0;
}

static int bind_socket(struct http *h, const char *path)
{
        struct lws_context_creation_info info = {
                .options = LWS_SERVER_OPTION_UNIX_SOCK | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                           LWS_SERVER_OPTION_DISABLE_IPV6,
                .iface = path,
                .protocols = protocols,
                .user = h,
                .uid = -1,
                .gid = -1,
                .max_http_header_pool = FOLLOWERS_MAX,
                .fd_limit_per_thread = FOLLOWERS_MAX,
                .pt_serv_buf_size = CHUNK,
                .keepalive_timeout = 30,
                .vhost_name = "prvng",
        };
        mode_t mask;
        bool ok;

        lws_set_log_level(LLL_ERR, emit);
        h->context = lws_create_context(&info);
        if (!h->context)
                return -EIO;
        if (unlink(path) < 0 && errno != ENOENT)
                return -errno;
        mask = umask(0177); /* nobody else, not even between bind and chmod */
        ok = lws_create_vhost(h->context, &info);
        umask(mask);
        if (!ok || chmod(path, 0600) < 0)
                return ok ? -errno : -EADDRNOTAVAIL;
        return 0;
}

int http_start(struct http *h, struct engine_process *process, char **ret_message)
{
        _cleanup_(cleanup_close) int folder = -1;
        int r;

        h->process = process;
        r = short_path(h->config->socket, &folder, &h->iface);
        if (r == 0) {
                r = bind_socket(h, h->iface);
                /* The descriptor in the path is closed soon and may then be another folder's: what
                 * libwebsockets unlinks at the end must name nothing. http_free unlinks the socket. */
                *h->iface = 0;
        }
        if (r == 0)
                r = -pthread_create(&h->thread, NULL, http_thread, h);
        if (r < 0) {
                if (asprintf(ret_message, "cannot listen on %s: %s", h->config->socket,
                             strerror(-r)) < 0)
                        *ret_message = NULL;
                return r;
        }
        h->has_thread = true;
        pthread_setname_np(h->thread, "prvng-http");
        return 0;
}

struct http *http_free(struct http *h)
{
        if (!h)
                return NULL;
        if (h->has_thread) {
                __atomic_store_n(&h->stop, true, __ATOMIC_RELEASE);
                lws_cancel_service(h->context);
                pthread_join(h->thread, NULL);
                unlink(h->config->socket);
        }
        if (h->context)
                lws_context_destroy(h->context);
        free(h->iface); /* not before: see struct http */
        while (h->exchanges)
                exchange_free(h->exchanges);
        mailbox_deinit(&h->mailbox);
        free(h);
        return NULL;
}
