/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames and their fields. A reader believes no length before it was compared with what is there; a frame is
 * kept in one buffer, so that bytes and texts are handed out where they stand.
 */
#include "plugin/isolate-wire.h"

#include <sys/socket.h>

enum { READ_MIN = 16384, KEEP_MAX = 1 << 20 };

const char *const wire_functions[WIRE_N_FUNCTIONS] = {
        "prepare", "begin",     "poll",     "cancel", "observe", "read",     "list",  "describe",
        "self_test", "precheck", "find",    "load",   "evaluate", "check",   "render",
        "resolve",   "check",    "list",
};

const char *const wire_hosts[WIRE_N_HOSTS] = {
        PRVNG_HOST_HTTP, PRVNG_HOST_REMOTE, PRVNG_HOST_SPAWN, PRVNG_HOST_WORKDIR, PRVNG_HOST_RATE,
        PRVNG_HOST_DOCUMENT,
};

void wire_deinit(struct wire *w)
{
        cleanup_close(&w->fd);
        for (unsigned int i = 0; i < w->n_passed; i++)
                close(w->passed[i]);
        buf_deinit(&w->out);
        buf_deinit(&w->in);
        *w = WIRE_INIT(-1, w->max);
}

/* --- writing --- */

void wire_begin(struct wire *w, uint32_t type)
{
        w->open = w->out.n;
        wire_put_u32(w, 0);
        wire_put_u32(w, type);
}

void wire_end(struct wire *w)
{
        size_t n = w->out.n - w->open;
        uint32_t size;

        if (w->out.error)
                return;
        if (n - WIRE_HEAD > WIRE_OUT_MAX) {
                w->out.error = -EMSGSIZE;
                return;
        }
        size = htole32((uint32_t)(n - WIRE_HEAD));
        memcpy(w->out.data + w->open, &size, sizeof(size));
}

void wire_put_u32(struct wire *w, uint32_t v)
{
        v = htole32(v);
        buf_append(&w->out, &v, sizeof(v));
}

void wire_put_i32(struct wire *w, int32_t v)
{
        wire_put_u32(w, (uint32_t)v);
}

void wire_put_u64(struct wire *w, uint64_t v)
{
        v = htole64(v);
        buf_append(&w->out, &v, sizeof(v));
}

void wire_put_i64(struct wire *w, int64_t v)
{
        wire_put_u64(w, (uint64_t)v);
}

void wire_put_bytes(struct wire *w, const void *data, uint64_t n)
{
        if (!data) {
                wire_put_u32(w, WIRE_NONE);
                return;
        }
        if (n > WIRE_OUT_MAX) {
                w->out.error = w->out.error ?: -EMSGSIZE;
                return;
        }
        wire_put_u32(w, (uint32_t)n);
        buf_append(&w->out, data, n);
        buf_putc(&w->out, 0);
}

void wire_put_text(struct wire *w, const char *text)
{
        wire_put_bytes(w, text, text ? strlen(text) : 0);
}

void wire_put_list(struct wire *w, const char *const *list)
{
        uint32_t n = 0;

        if (!list) {
                wire_put_u32(w, WIRE_NONE);
                return;
        }
        while (list[n] && n < WIRE_NONE - 1)
                n++;
        wire_put_u32(w, n);
        for (uint32_t i = 0; i < n; i++)
                wire_put_text(w, list[i]);
}

/* Its memory; it goes on wiping, if it did. */
static void give_back(struct buf *b)
{
        bool wipes = b->wipes;

        buf_deinit(b);
        b->wipes = wipes;
}

void wire_forget(struct wire *w)
{
        if (w->in.wipes && w->at > 0)
                explicit_bzero(w->in.data, w->at);
}

int wire_flush_with(struct wire *w, int fd)
{
        union {
                struct cmsghdr align;
                char room[CMSG_SPACE(sizeof(int))];
        } control = {0};
        size_t sent = 0;
        int r = 0;

        if (w->out.error) {
                r = w->out.error;
                buf_clear(&w->out);
                return error_origin(r);
        }
        while (sent < w->out.n) {
                struct iovec v = {w->out.data + sent, w->out.n - sent};
                struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};
                ssize_t n;

                if (fd >= 0) {
                        h.msg_control = control.room;
                        h.msg_controllen = sizeof(control.room);
                        *CMSG_FIRSTHDR(&h) = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
                                                             .cmsg_len = CMSG_LEN(sizeof(int))};
                        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&h)), &fd, sizeof(fd));
                        n = sendmsg(w->fd, &h, MSG_NOSIGNAL);
                } else {
                        n = send(w->fd, v.iov_base, v.iov_len, MSG_NOSIGNAL);
                }
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0) {
                        r = -errno;
                        break;
                }
                sent += (size_t)n;
                fd = -1;
        }
        if (sent == w->out.n) {
                if (w->out.wipes)
                        explicit_bzero(w->out.data, w->out.n);
                if (w->out.cap > KEEP_MAX)
                        give_back(&w->out);
                buf_clear(&w->out);
        } else if (sent > 0) { /* -EAGAIN: the rest goes later */
                memmove(w->out.data, w->out.data + sent, w->out.n - sent);
                w->out.n -= sent;
        }
        return r;
}

int wire_flush(struct wire *w)
{
        return wire_flush_with(w, -1);
}

/* --- reading --- */

static void take_fds(struct wire *w, struct msghdr *h)
{
        for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
                size_t n = c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS
                                   ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;

                for (size_t i = 0; i < n; i++) {
                        int fd;

                        memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
                        if (w->n_passed < N_ELEMENTS(w->passed))
                                w->passed[w->n_passed++] = fd;
                        else
                                close(fd);
                }
        }
}

int wire_take_fd(struct wire *w)
{
        int fd = w->n_passed ? w->passed[0] : -1;

        if (w->n_passed)
                memmove(w->passed, w->passed + 1, --w->n_passed * sizeof(int));
        return fd;
}

static int receive(struct wire *w, int flags)
{
        union {
                struct cmsghdr align;
                char room[CMSG_SPACE(4 * sizeof(int))];
        } control;
        struct iovec v;
        struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control.room,
                           .msg_controllen = sizeof(control.room)};
        ssize_t n;

        if (w->at > 0 && w->in.n == w->at) {
                wire_forget(w);
                if (w->in.cap > KEEP_MAX)
                        give_back(&w->in);
                w->in.n = 0;
        } else if (w->at > 0) {
                memmove(w->in.data, w->in.data + w->at, w->in.n - w->at);
                w->in.n -= w->at;
        }
        w->at = 0;
        if (!buf_reserve(&w->in, MAX((size_t)READ_MIN, w->in.n)))
                return error_origin(-ENOMEM);
        v = (struct iovec){w->in.data + w->in.n, w->in.cap - w->in.n - 1};
        do
                n = recvmsg(w->fd, &h, MSG_CMSG_CLOEXEC | flags);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return errno == EAGAIN ? WIRE_E_LATER : errno == ECONNRESET ? WIRE_E_CLOSED : -errno;
        if (n == 0)
                return WIRE_E_CLOSED;
        take_fds(w, &h);
        buf_advance(&w->in, (size_t)n);
        return 0;
}

int wire_peek(struct wire *w, struct wire_message *ret)
{
        size_t there = w->in.n - w->at;
        uint32_t head[2];

        if (there < WIRE_HEAD)
                return WIRE_E_LATER;
        memcpy(head, w->in.data + w->at, sizeof(head));
        head[0] = le32toh(head[0]);
        if (head[0] > w->max)
                return WIRE_E_RUBBISH;
        if (there - WIRE_HEAD < head[0])
                return WIRE_E_LATER;
        *ret = (struct wire_message){.type = le32toh(head[1]),
                                     .at = (const uint8_t *)w->in.data + w->at + WIRE_HEAD};
        ret->end = ret->at + head[0];
        w->at += WIRE_HEAD + head[0];
        return 0;
}

static int next(struct wire *w, int flags, struct wire_message *ret)
{
        int r;

        while ((r = wire_peek(w, ret)) == WIRE_E_LATER) {
                r = receive(w, flags);
                if (r)
                        return r;
        }
        return r;
}

int wire_next(struct wire *w, struct wire_message *ret)
{
        return next(w, 0, ret);
}

int wire_next_now(struct wire *w, struct wire_message *ret)
{
        return next(w, MSG_DONTWAIT, ret);
}

static bool get(struct wire_message *m, void *ret, size_t n)
{
        if (m->bad || (size_t)(m->end - m->at) < n) {
                m->bad = true;
                memset(ret, 0, n);
                return false;
        }
        memcpy(ret, m->at, n);
        m->at += n;
        return true;
}

uint8_t wire_get_u8(struct wire_message *m)
{
        uint8_t v;

        get(m, &v, sizeof(v));
        return v;
}

uint32_t wire_get_u32(struct wire_message *m)
{
        uint32_t v;

        get(m, &v, sizeof(v));
        return le32toh(v);
}

int32_t wire_get_i32(struct wire_message *m)
{
        return (int32_t)wire_get_u32(m);
}

uint64_t wire_get_u64(struct wire_message *m)
{
        uint64_t v;

        get(m, &v, sizeof(v));
        return le64toh(v);
}

int64_t wire_get_i64(struct wire_message *m)
{
        return (int64_t)wire_get_u64(m);
}

const void *wire_get_bytes(struct wire_message *m, uint64_t *ret_n)
{
        uint32_t n = wire_get_u32(m);
        const uint8_t *data = m->at;

        *ret_n = 0;
        if (m->bad || n == WIRE_NONE)
                return NULL;
        if ((size_t)(m->end - m->at) <= n || m->at[n] != 0) {
                m->bad = true;
                return NULL;
        }
        m->at += n + 1;
        *ret_n = n;
        return data;
}

const char *wire_get_text(struct wire_message *m)
{
        uint64_t n;
        const char *text = wire_get_bytes(m, &n);

        if (text && memchr(text, 0, n)) {
                m->bad = true;
                return NULL;
        }
        return text;
}

const char **wire_get_list(struct wire_message *m)
{
        uint32_t n = wire_get_u32(m);
        const char **list;

        if (m->bad || n == WIRE_NONE)
                return NULL;
        list = n <= WIRE_LIST_MAX ? calloc(n + 1, sizeof(*list)) : NULL;
        for (uint32_t i = 0; list && i < n; i++)
                if (!(list[i] = wire_get_text(m)))
                        m->bad = true;
        if (!list || m->bad) {
                m->bad = true;
                free(list);
                return NULL;
        }
        return list;
}

bool wire_done(const struct wire_message *m)
{
        return !m->bad && m->at == m->end;
}

/* --- tables --- */

#define AT(type, m) offsetof(struct prvng_##type, m)

static const size_t op_members[] = {
        AT(op, prepare), AT(op, begin), AT(op, poll), AT(op, cancel),
        AT(op, observe), AT(op, read),  AT(op, list), AT(op, describe),
};
static const size_t loader_members[] = {AT(loader, load)};
static const size_t template_members[] = {AT(template, evaluate), AT(template, check), AT(template, render)};
static const size_t secret_members[] = {AT(secret, resolve), AT(secret, check), AT(secret, list)};
static const size_t precheck_members[] = {AT(provider_precheck, check)};
static const size_t inventory_members[] = {AT(provider_inventory, find)};

#define INTERFACE(id, type, TYPE, members, extensions)                                             \
        {id, sizeof(struct prvng_##type), PRVNG_##TYPE##_BASELINE, members, N_ELEMENTS(members), extensions}

const struct wire_interface wire_interfaces[] = {
        INTERFACE(PRVNG_OP, op, OP, op_members, false),
        INTERFACE(PRVNG_PROVIDER, op, OP, op_members, false),
        INTERFACE(PRVNG_TASKSERV, op, OP, op_members, false),
        INTERFACE(PRVNG_SECRET, secret, SECRET, secret_members, false),
        INTERFACE(PRVNG_LOADER, loader, LOADER, loader_members, true),
        INTERFACE(PRVNG_TEMPLATE, template, TEMPLATE, template_members, false),
        INTERFACE(PRVNG_PROVIDER_PRECHECK, provider_precheck, PROVIDER_PRECHECK, precheck_members, false),
        INTERFACE(PRVNG_PROVIDER_INVENTORY, provider_inventory, PROVIDER_INVENTORY, inventory_members, false),
};
const size_t wire_n_interfaces = N_ELEMENTS(wire_interfaces);
