/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials of HTTP sessions. They are looked up anew for each request, so that a rotated key counts
 * from the next one on, and wiped when it has come back. Kept are those that a plugin gave; and for a
 * minute, or until they are refused, those of a secret backend, which may have to run a program or ask a
 * service for each.
 */
#include "host/http.h"

#include "base/clock.h"

#include <fcntl.h>
#include <sys/stat.h>

enum { SECRET_MAX = 16384, KEEP_MS = 60000 };

void http_credentials_deinit(struct http_credentials *c)
{
        for (size_t i = 0; i < HTTP_SECRETS; i++)
                locked_deinit(&c->secret[i]);
}

/* A secret goes into a header line: whatever would end that line is no secret but an attack, or a file
 * that holds something else. */
static int check(struct locked *s, const struct http_ref *ref, struct buf *why)
{
        while (s->n > 0 && strchr("\r\n \t", s->data[s->n - 1]))
                s->data[--s->n] = 0;
        if (s->n == 0) {
                buf_printf(why, "%s %s is empty",
                           ref->source == HTTP_ENV ? "the environment variable"
                           : ref->source == HTTP_FILE ? "the first line of" : "the secret",
                           ref->name);
                return -ENOKEY;
        }
        for (size_t i = 0; i < s->n; i++) {
                if ((uint8_t)s->data[i] < 0x20 || s->data[i] == 0x7f) {
                        buf_printf(why, "the secret in %s%s holds a control character at byte %zu; "
                                        "it must be one line of plain text",
                                   ref->source == HTTP_ENV ? "$" : "", ref->name, i + 1);
                        return -EINVAL;
                }
        }
        return 0;
}

static int open_private(const char *path, int *ret_fd, struct buf *why)
{
        _cleanup_(cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0) {
                buf_printf(why, "%s cannot be read: %s", path, strerror(errno));
                return -ENOKEY;
        }
        if (!S_ISREG(st.st_mode)) {
                buf_printf(why, "%s is no regular file", path);
                return -EINVAL;
        }
        if (st.st_uid != 0 && st.st_uid != geteuid()) {
                buf_printf(why, "%s belongs to another user (uid %u); it must be the engine's own, or "
                                "root's", path, (unsigned int)st.st_uid);
                return -EPERM;
        }
        if (st.st_mode & 077) {
                buf_printf(why, "%s can be used by others (mode %04o); run: chmod 600 %s", path,
                           (unsigned int)st.st_mode & 07777, path);
                return -EPERM;
        }
        *ret_fd = fd;
        fd = -1;
        return 0;
}

static int from_file(const struct http_ref *ref, struct locked *ret, struct buf *why)
{
        _cleanup_(cleanup_close) int fd = -1;
        char text[SECRET_MAX + 1], *end;
        size_t n = 0;
        ssize_t k = 1;
        int r;

        r = open_private(ref->name, &fd, why);
        if (r)
                return r;
        while (k > 0 && n < sizeof(text)) {
                k = read(fd, text + n, sizeof(text) - n);
                if (k < 0 && errno == EINTR)
                        k = 1;
                else
                        n += (size_t)MAX(k, (ssize_t)0);
        }
        end = memchr(text, '\n', n);
        n = end ? (size_t)(end - text) : n;
        if (k < 0) {
                buf_printf(why, "%s cannot be read: %s", ref->name, strerror(errno));
                r = -ENOKEY;
        } else if (n > SECRET_MAX) {
                buf_printf(why, "the first line of %s is longer than %d bytes", ref->name, SECRET_MAX);
                r = -EINVAL;
        } else {
                r = locked_init(ret, text, n);
        }
        explicit_bzero(text, sizeof(text));
        return r;
}

static int from_given(struct prvng_http_session *s, const struct http_ref *ref,
                      struct locked *ret, struct buf *why)
{
        int r = -ENOKEY;

        pthread_mutex_lock(&s->lock);
        for (const struct http_given *g = s->given; g && r == -ENOKEY; g = g->next)
                if (g->value.data && streq(g->name, ref->name))
                        r = locked_init(ret, g->value.data, g->value.n);
        pthread_mutex_unlock(&s->lock);
        if (r == -ENOKEY)
                buf_printf(why, "the secret \"%s\" was not set yet", ref->name);
        return r;
}

/* 0, or -ENOKEY if none is kept. */
static int from_kept(struct prvng_http_session *s, const struct http_ref *ref, struct locked *ret)
{
        int r = -ENOKEY;

        pthread_mutex_lock(&s->lock);
        if (ref->kept.data && clock_boot_ms() < ref->kept_until_ms)
                r = locked_init(ret, ref->kept.data, ref->kept.n);
        pthread_mutex_unlock(&s->lock);
        return r;
}

/* Without the lock: the backend may take long, and others have theirs. */
static int from_backend(struct prvng_http_session *s, struct op_call *call, struct http_ref *ref,
                        struct locked *ret, struct buf *why)
{
        struct host *h = s->host;
        struct locked copy = {0}, old;
        int32_t answer;
        int r = from_kept(s, ref, ret);

        if (r != -ENOKEY)
                return r;
        if (!h->secrets) {
                buf_printf(why, "%s: nothing here looks secrets up", ref->name);
                return -ENOKEY;
        }
        answer = h->secrets(h->secrets_userdata, call, ref->name, ret, why);
        if (answer != PRVNG_DONE)
                return answer == PRVNG_TRANSIENT || answer == PRVNG_RATE_LIMITED ? -EAGAIN
                       : answer == PRVNG_CANCELLED                               ? -ECANCELED
                                                                                 : -ENOKEY;
        if (ret->n > SECRET_MAX) {
                buf_printf(why, "the value of %s is longer than %d bytes", ref->name, SECRET_MAX);
                return -EINVAL;
        }
        if (locked_init(&copy, ret->data, ret->n) == 0) {
                pthread_mutex_lock(&s->lock);
                old = ref->kept;
                ref->kept = copy;
                ref->kept_until_ms = clock_boot_ms() + KEEP_MS;
                pthread_mutex_unlock(&s->lock);
                locked_deinit(&old);
        }
        return 0;
}

void http_credentials_refused(struct prvng_http_session *s)
{
        pthread_mutex_lock(&s->lock);
        for (size_t i = 0; i < HTTP_SECRETS; i++)
                s->ref[i].kept_until_ms = 0;
        pthread_mutex_unlock(&s->lock);
}

static int find(struct prvng_http_session *s, struct op_call *call, struct http_ref *ref,
                struct locked *ret, struct buf *why)
{
        const char *value;
        int r;

        switch (ref->source) {
        case HTTP_ENV:
                value = getenv(ref->name);
                if (!value) {
                        buf_printf(why, "the environment variable %s is not set", ref->name);
                        return -ENOKEY;
                }
                r = strnlen(value, SECRET_MAX + 1) > SECRET_MAX
                            ? -E2BIG : locked_init(ret, value, strlen(value));
                if (r == -E2BIG)
                        buf_printf(why, "the value of $%s is longer than %d bytes", ref->name,
                                   SECRET_MAX);
                break;
        case HTTP_FILE:
                r = from_file(ref, ret, why);
                break;
        case HTTP_SECRET:
                r = from_backend(s, call, ref, ret, why);
                break;
        case HTTP_SET:
                r = from_given(s, ref, ret, why);
                break;
        case HTTP_NOWHERE:
        default:
                return 0;
        }
        return r < 0 ? r : check(ret, ref, why);
}

int http_credentials_find(struct prvng_http_session *s, struct op_call *call,
                          struct http_credentials *ret, struct buf *why)
{
        int r = 0;

        for (size_t i = 0; i < HTTP_SECRETS && r == 0; i++)
                r = find(s, call, &s->ref[i], &ret->secret[i], why);
        if (r < 0)
                http_credentials_deinit(ret);
        return r;
}

/* Takes one out of the session, or makes room for it. With the lock. */
static struct http_given *given_get(struct prvng_http_session *s, const char *name, bool make)
{
        struct http_given *g = s->given;

        while (g && !streq(g->name, name))
                g = g->next;
        if (g || !make)
                return g;
        g = calloc(1, sizeof(*g));
        if (!g || !(g->name = strdup(name)))
                return free(g), NULL;
        g->next = s->given;
        s->given = g;
        return g;
}

int32_t http_secret_set(struct prvng_http_session *s, const char *name, const void *value,
                        uint64_t n_value)
{
        struct locked copy = {0};
        struct http_given *g;

        if (!name || !name[0] || n_value > SECRET_MAX || (n_value && !value))
                return PRVNG_PERMANENT;
        if (n_value && locked_init(&copy, value, n_value) < 0)
                return PRVNG_TRANSIENT;
        pthread_mutex_lock(&s->lock);
        g = given_get(s, name, n_value > 0);
        if (g) {
                locked_deinit(&g->value);
                g->value = copy;
                copy = (struct locked){0};
        }
        pthread_mutex_unlock(&s->lock);
        locked_deinit(&copy);
        return g || n_value == 0 ? PRVNG_DONE : PRVNG_TRANSIENT;
}
