/* SPDX-License-Identifier: Apache-2.0 */
#include "support/web.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

enum { CONNECTIONS_MAX = 4096 };

struct web {
        struct web_options options;
        int listener, port;
        int end_fd; /* readable when all is to end */
        SSL_CTX *tls;
        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t changed;
        unsigned int requests, connections;
        int at_once, most_at_once;
        struct buf log;
        pthread_t threads[CONNECTIONS_MAX];
};

struct connection {
        struct web *web;
        int fd;
        SSL *ssl;
        unsigned int number;
        struct buf in;
};

static void die(const char *what)
{
        fprintf(stderr, "web: %s: %s\n", what, strerror(errno));
        abort();
}

static bool in_time(struct connection *c, short events)
{
        struct pollfd fds[2] = {{.fd = c->fd, .events = events},
                                {.fd = c->web->end_fd, .events = POLLIN}};

        if (c->ssl && (events & POLLIN) && SSL_pending(c->ssl))
                return true;
        while (poll(fds, 2, -1) < 0)
                if (errno != EINTR)
                        return false;
        return !fds[1].revents;
}

static ssize_t get(struct connection *c, void *to, size_t n)
{
        if (!in_time(c, POLLIN))
                return -1;
        return c->ssl ? SSL_read(c->ssl, to, (int)n) : recv(c->fd, to, n, 0);
}

static bool put(struct connection *c, const void *data, size_t n)
{
        const char *p = data;

        while (n > 0) {
                ssize_t k = -1;

                if (in_time(c, POLLOUT))
                        k = c->ssl ? SSL_write(c->ssl, p, (int)MIN(n, (size_t)65536))
                                   : send(c->fd, p, MIN(n, (size_t)65536), MSG_NOSIGNAL);
                if (k <= 0)
                        return false;
                p += k;
                n -= (size_t)k;
        }
        return true;
}

static bool more(struct connection *c)
{
        char piece[16384];
        ssize_t n = get(c, piece, sizeof(piece));

        if (n > 0)
                buf_append(&c->in, piece, (size_t)n);
        return n > 0;
}

bool web_has(const char *headers, const char *name, const char *value)
{
        size_t n = strlen(name);

        for (const char *line = headers; line && *line;) {
                const char *end = strchrnul(line, '\n');

                if (strncasecmp(line, name, n) == 0 && line[n] == ':') {
                        const char *v = line + n + 1 + strspn(line + n + 1, " ");
                        size_t n_v = (size_t)(end - v);

                        if (n_v && v[n_v - 1] == '\r')
                                n_v--;
                        if (!value || (n_v == strlen(value) && memcmp(v, value, n_v) == 0))
                                return true;
                }
                line = *end ? end + 1 : end;
        }
        return false;
}

static bool put_reply(struct connection *c, const struct web_reply *r)
{
        _cleanup_(cleanup_buf) struct buf head = BUF_NULL;
        size_t n = r->n_body ? r->n_body : r->body ? strlen(r->body) : 0;

        if (r->manner == WEB_RAW)
                return put(c, r->body, n), false;
        buf_printf(&head, "HTTP/1.1 %d Whatever\r\n%s", r->status ? r->status : 200,
                   r->headers ? r->headers : "");
        if (r->manner == WEB_CHUNKED)
                BUF_LIT(&head, "Transfer-Encoding: chunked\r\n\r\n");
        else
                buf_printf(&head, "Content-Length: %zu\r\n\r\n", n);
        if (!put(c, head.data, head.n))
                return false;
        if (r->manner != WEB_CHUNKED)
                return put(c, r->body, n);
        for (size_t at = 0, k; at < n; at += k) {
                char size[16];

                k = MIN(n - at, (size_t)1000);
                snprintf(size, sizeof(size), "%zx\r\n", k);
                if (!put(c, size, strlen(size)) || !put(c, r->body + at, k) || !put(c, "\r\n", 2))
                        return false;
        }
        return put(c, "0\r\n\r\n", 5);
}

/* The request as it stands in c->in, remembered and answered. False: the connection ends. */
static bool answer(struct connection *c, struct web_request *q)
{
        struct web *w = c->web;
        struct web_reply r = {0};
        bool keep = false;
        char b;

        pthread_mutex_lock(&w->lock);
        q->number = ++w->requests;
        buf_printf(&w->log, "%s %s\n%s\n", q->method, q->target, q->headers);
        buf_append(&w->log, q->body, q->n_body);
        BUF_LIT(&w->log, "\n");
        w->at_once++;
        w->most_at_once = MAX(w->most_at_once, w->at_once);
        pthread_cond_broadcast(&w->changed);
        pthread_mutex_unlock(&w->lock);
        q->connection = c->number;
        if (w->options.answer)
                w->options.answer(w->options.userdata, q, &r);
        pthread_mutex_lock(&w->lock);
        w->at_once--;
        pthread_mutex_unlock(&w->lock);
        if (r.manner == WEB_SILENT)
                while (get(c, &b, 1) > 0)
                        ;
        else if (r.manner == WEB_RESET)
                setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0},
                           sizeof(struct linger));
        else
                keep = put_reply(c, &r);
        free(r.free_me);
        return keep;
}

static bool serve_one(struct connection *c)
{
        struct web_request q = {0};
        char *end, *space, *line;
        size_t n_head, n_body = 0;
        const char *length;

        while (!(end = c->in.n ? memmem(c->in.data, c->in.n, "\r\n\r\n", 4) : NULL))
                if (!more(c))
                        return false;
        n_head = (size_t)(end - c->in.data) + 4;
        length = strcasestr(buf_str(&c->in), "\r\ncontent-length:");
        if (length && length < c->in.data + n_head)
                n_body = strtoull(length + 17, NULL, 10);
        while (c->in.n < n_head + n_body)
                if (!more(c))
                        return false;
        line = c->in.data;
        line[n_head - 2] = 0;
        q.body = line + n_head;
        q.n_body = n_body;
        q.method = line;
        space = strchr(line, ' ');
        *space = 0;
        q.target = space + 1;
        *strchr(q.target, ' ') = 0;
        q.headers = strchr(q.target + strlen(q.target) + 1, '\n') + 1;
        if (!answer(c, &q))
                return false;
        memmove(line, line + n_head + n_body, c->in.n - n_head - n_body);
        c->in.n -= n_head + n_body;
        return true;
}

static void *connection(void *userdata)
{
        struct connection *c = userdata;
        struct web *w = c->web;
        bool good = c->number > w->options.resets;

        if (!good)
                setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0},
                           sizeof(struct linger));
        if (good && w->tls) {
                c->ssl = SSL_new(w->tls);
                SSL_set_fd(c->ssl, c->fd);
                good = SSL_accept(c->ssl) == 1;
        }
        while (good && serve_one(c))
                ;
        SSL_free(c->ssl);
        close(c->fd);
        buf_deinit(&c->in);
        free(c);
        return NULL;
}

static void *listen_on(void *userdata)
{
        struct web *w = userdata;
        struct pollfd fds[2] = {{.fd = w->listener, .events = POLLIN},
                                {.fd = w->end_fd, .events = POLLIN}};

        while (poll(fds, 2, -1) >= 0 && !fds[1].revents && w->connections < CONNECTIONS_MAX) {
                struct connection *c = calloc(1, sizeof(*c));

                c->web = w;
                c->fd = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC);
                if (c->fd < 0)
                        die("accept");
                setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
                pthread_mutex_lock(&w->lock);
                c->number = ++w->connections;
                pthread_mutex_unlock(&w->lock);
                if (pthread_create(&w->threads[c->number - 1], NULL, connection, c))
                        die("thread");
        }
        return NULL;
}

static SSL_CTX *make_tls(const struct web_options *o)
{
        SSL_CTX *t = SSL_CTX_new(TLS_server_method());

        /* Level 0: tests offer versions of TLS that nobody should take. */
        SSL_CTX_set_security_level(t, 0);
        if (o->tls_max) {
                SSL_CTX_set_min_proto_version(t, o->tls_max);
                SSL_CTX_set_max_proto_version(t, o->tls_max);
        }
        if (SSL_CTX_use_certificate_chain_file(t, o->certificate) != 1 ||
            SSL_CTX_use_PrivateKey_file(t, o->key, SSL_FILETYPE_PEM) != 1)
                die("certificate");
        return t;
}

struct web *web_new(const struct web_options *options)
{
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t n = sizeof(a);
        struct web *w = calloc(1, sizeof(*w));

        signal(SIGPIPE, SIG_IGN); /* SSL_write */
        w->options = *options;
        pthread_mutex_init(&w->lock, NULL);
        pthread_cond_init(&w->changed, NULL);
        w->end_fd = eventfd(0, EFD_CLOEXEC);
        w->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (w->listener < 0 || bind(w->listener, (struct sockaddr *)&a, sizeof(a)) ||
            listen(w->listener, 512) || getsockname(w->listener, (struct sockaddr *)&a, &n))
                die("listen");
        w->port = ntohs(a.sin_port);
        w->tls = options->certificate ? make_tls(options) : NULL;
        if (pthread_create(&w->thread, NULL, listen_on, w))
                die("thread");
        return w;
}

struct web *web_free(struct web *w)
{
        if (!w)
                return NULL;
        eventfd_write(w->end_fd, 1);
        pthread_join(w->thread, NULL);
        for (unsigned int i = 0; i < w->connections; i++)
                pthread_join(w->threads[i], NULL);
        close(w->listener);
        close(w->end_fd);
        SSL_CTX_free(w->tls);
        buf_deinit(&w->log);
        pthread_mutex_destroy(&w->lock);
        pthread_cond_destroy(&w->changed);
        free(w);
        return NULL;
}

int web_port(const struct web *w)
{
        return w->port;
}

static unsigned int look(struct web *w, const unsigned int *what)
{
        unsigned int n;

        pthread_mutex_lock(&w->lock);
        n = *what;
        pthread_mutex_unlock(&w->lock);
        return n;
}

unsigned int web_requests(struct web *w)
{
        return look(w, &w->requests);
}

unsigned int web_connections(struct web *w)
{
        return look(w, &w->connections);
}

int web_most_at_once(struct web *w)
{
        int n;

        pthread_mutex_lock(&w->lock);
        n = w->most_at_once;
        pthread_mutex_unlock(&w->lock);
        return n;
}

char *web_log(struct web *w)
{
        char *text;

        pthread_mutex_lock(&w->lock);
        text = strdup(buf_str(&w->log));
        pthread_mutex_unlock(&w->lock);
        return text;
}

void web_wait(struct web *w, unsigned int requests)
{
        pthread_mutex_lock(&w->lock);
        while (w->requests < requests)
                pthread_cond_wait(&w->changed, &w->lock);
        pthread_mutex_unlock(&w->lock);
}
