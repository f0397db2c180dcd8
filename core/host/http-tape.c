/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which tape there is, and the one that is written: JSON Lines, each a single write, so that several
 * engines one after the other, and a reader meanwhile, see whole lines.
 */
#include "host/http-tape.h"

#include "base/clock.h"

#include <fcntl.h>
#include <sys/stat.h>

struct http_tape {
        struct http_replay *replay; /* this, or the file that is written */
        int fd;
        pthread_mutex_t lock;
        struct http_ids ids;
        bool failed; /* said once */
};

static const char *choice(const struct host *h, const char *variable, const char *key)
{
        const char *value = getenv(variable);

        if (!value)
                value = h->config ? json_get_string(h->config->http, key, NULL) : NULL;
        return value && value[0] ? value : NULL;
}

static struct http_tape *tape_free(struct http_tape *t)
{
        if (t->fd >= 0)
                close(t->fd);
        http_ids_deinit(&t->ids);
        pthread_mutex_destroy(&t->lock);
        free(t);
        return NULL;
}

static bool put_line(struct http_tape *t, const json_t *line)
{
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;

        if (json_append(&b, line) < 0)
                return false;
        BUF_LIT(&b, "\n");
        return !b.error && write(t->fd, b.data, b.n) == (ssize_t)b.n;
}

static int open_to_write(struct http_tape *t, const char *path, struct buf *why)
{
        _cleanup_(cleanup_json_decref) json_t *head = json_pack("{s:i, s:s}", "prvng_http_recording",
                                                                HTTP_TAPE_FORMAT, "order", "strict");

        if (!head || http_ids_init(&t->ids) < 0)
                return error_origin(-ENOMEM);
        t->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (t->fd >= 0 && put_line(t, head))
                return 0;
        buf_printf(why, "HTTP exchanges cannot be recorded in %s: %s", path, strerror(errno));
        return error_origin(-EINVAL);
}

static int tape_new(const struct host *h, struct http_tape **ret, struct buf *why)
{
        const char *record = choice(h, "PRVNG_HTTP_RECORD", "record"),
                   *replay = choice(h, "PRVNG_HTTP_REPLAY", "replay");
        struct http_tape *t;
        int r;

        if (record && replay) {
                buf_puts(why, "HTTP exchanges can be recorded or replayed, not both");
                return error_origin(-EINVAL);
        }
        if (!record && !replay)
                return 0;
        t = calloc(1, sizeof(*t));
        if (!t)
                return error_origin(-ENOMEM);
        t->fd = -1;
        pthread_mutex_init(&t->lock, NULL);
        r = record ? open_to_write(t, record, why) : http_replay_new(replay, &t->replay, why);
        if (r < 0) {
                tape_free(t);
                return r;
        }
        *ret = t;
        return 0;
}

int http_tape_get(struct host *h, struct http_tape **ret, struct buf *why)
{
        int r = 0;

        pthread_mutex_lock(&h->http_lock);
        if (!h->http_tape_known)
                r = tape_new(h, &h->http_tape, why);
        if (r == 0) {
                h->http_tape_known = true;
                *ret = h->http_tape;
        }
        pthread_mutex_unlock(&h->http_lock);
        return r;
}

void http_tape_free(struct host *h)
{
        _cleanup_(cleanup_buf) struct buf left = BUF_NULL;

        if (!h->http_tape)
                return;
        if (h->http_tape->replay)
                http_replay_free(h->http_tape->replay, &left);
        if (left.n)
                host_log(&h->core.pub, PRVNG_LOG_WARN, "http", buf_str(&left));
        h->http_tape = tape_free(h->http_tape);
}

bool http_tape_plays(const struct http_tape *t)
{
        return t->replay;
}

static void header_lines(struct buf *to, const char *const *lines)
{
        for (; lines && *lines; lines++) {
                buf_puts(to, *lines);
                BUF_LIT(to, "\n");
        }
}

/* The type is the request's own, else the session's. */
static const char *type_of(const char *lines)
{
        static const char name[] = "content-type:";

        for (; lines && *lines; lines = *lines ? lines + 1 : lines) {
                if (strncasecmp(lines, name, sizeof(name) - 1) == 0)
                        return lines + sizeof(name) - 1;
                lines = strchrnul(lines, '\n');
                if (!*lines)
                        break;
        }
        return "";
}

static json_t *request_of(const struct http_event *e, const struct http_blank *b, bool whole)
{
        const struct prvng_http_request *q = e->request;
        _cleanup_(cleanup_buf) struct buf lines = BUF_NULL;
        _cleanup_(cleanup_free) char *type = NULL;
        const char *at;
        json_t *o;

        header_lines(&lines, q->headers);
        header_lines(&lines, (const char *const *)e->session->headers);
        at = type_of(buf_str(&lines));
        type = strndup(at, strcspn(at, "\n"));
        if (!type || lines.error)
                return NULL;
        o = json_pack("{s:s, s:o, s:o}", "method", q->method, "target",
                      http_blank_target(b, q->target), "body",
                      http_blank_body(b, type, q->target, q->body, q->n_body));
        if (whole && o)
                json_object_set_new(o, "headers", http_blank_headers(b, buf_str(&lines)));
        return o;
}

json_t *http_event_request(const struct http_event *e, struct http_ids *ids)
{
        const struct http_blank b = {e->session, e->credentials, ids, false};
        json_t *o;

        pthread_mutex_lock(&e->session->lock);
        o = request_of(e, &b, false);
        pthread_mutex_unlock(&e->session->lock);
        return o;
}

static json_t *reply_of(const struct http_event *e, const struct http_blank *b)
{
        struct http_reply *r = e->reply;
        _cleanup_(cleanup_free) char *type = NULL;
        size_t n = 0;
        const char *value = http_reply_find(r, "content-type", &n);

        type = strndup(value ? value : "", n);
        if (type && strcasestr(type, "x-www-form-urlencoded")) /* forms are kept in requests only */
                type[0] = 0;
        return type ? json_pack("{s:i, s:o, s:o}", "status", (int)r->status, "headers",
                                http_blank_headers(b, buf_str(&r->headers)), "body",
                                http_blank_body(b, type, e->request->target, r->body.data, r->body.n))
                    : NULL;
}

static json_t *error_of(const struct http_event *e, const struct http_blank *b, int32_t answer)
{
        const struct op_reply *r = e->call->reply;
        const char *text = r && r->message ? r->message : "";

        return json_pack("{s:i, s:i, s:o}", "class", (int)answer, "effect",
                         r ? (int)r->effect : PRVNG_EFFECT_UNKNOWN, "message",
                         http_blank_text(b, text, strlen(text)));
}

static json_t *line_of(struct http_tape *t, const struct http_event *e, int32_t answer)
{
        struct http_blank b = {e->session, e->credentials, &t->ids, true};
        const char *op = http_ids_name(&t->ids, e->call->pub.op_id);
        char now[CLOCK_TEXT];
        json_t *line;

        clock_text(clock_wall_ms(), now);
        line = json_pack("{s:s, s:s, s:s, s:I, s:o}", "at", now, "plugin", e->session->plugin, "base",
                         e->session->base, "ms", (json_int_t)e->ms, "request",
                         request_of(e, &b, true));
        if (!line)
                return NULL;
        if (op)
                json_object_set_new(line, "op", json_string(op));
        if (e->call->run && e->call->run[0])
                json_object_set_new(line, "task", json_string(e->call->task ? e->call->task : ""));
        json_object_set_new(line, "attempt", json_integer(e->call->pub.attempt));
        b.learn = false; /* what only the other side knows are its own */
        if (json_object_set_new(line, answer == PRVNG_DONE ? "reply" : "error",
                                answer == PRVNG_DONE ? reply_of(e, &b)
                                                     : error_of(e, &b, answer)) < 0)
                return json_decref(line), NULL;
        return line;
}

void http_tape_write(struct http_tape *t, const struct http_event *e, int32_t answer)
{
        json_t *line;
        bool good, first = false;

        pthread_mutex_lock(&t->lock);
        pthread_mutex_lock(&e->session->lock); /* the secrets that it was given */
        line = line_of(t, e, answer);
        pthread_mutex_unlock(&e->session->lock);
        good = line && put_line(t, line);
        if (!good && !t->failed)
                first = t->failed = true;
        pthread_mutex_unlock(&t->lock);
        json_decref(line);
        if (first) /* no reason to stop what is under way */
                host_log(&e->session->host->core.pub, PRVNG_LOG_WARN, "http",
                         "the recording of HTTP exchanges is not complete: a line could not be "
                         "written");
}

int32_t http_tape_play(struct http_tape *t, struct http_event *e)
{
        int32_t answer;

        pthread_mutex_lock(&t->lock);
        answer = http_replay_answer(t->replay, e);
        pthread_mutex_unlock(&t->lock);
        return answer;
}
