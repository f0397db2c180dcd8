/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange.h"

#include "base/json.h"
#include "host/host.h"

#include <fcntl.h>

#define CHUNK ((size_t)64 << 10)

struct exchange *exchange_new(struct engine_process *process, const struct config *config,
                              const char *method, const char *path)
{
        struct exchange *e = calloc(1, sizeof(*e));
        int status;

        if (!e)
                return NULL;
        e->process = process;
        e->config = config;
        e->log_fd = -1;
        snprintf(e->method, sizeof(e->method), "%s", method);
        e->route = route_find(method, path, &status, &e->allow, e->segment, sizeof(e->segment));
        /* Streams follow unless told otherwise, logs only if told so. */
        e->follow = e->route && e->route->type == ROUTE_EVENTS;
        for (const char *p = path; *p; p++)
                if ((unsigned char)*p <= ' ' || strchr("%?#&+", *p))
                        buf_printf(&e->target, "%%%02X", (unsigned char)*p);
                else
                        buf_putc(&e->target, *p);
        if (!e->route)
                exchange_error(e, status,
                               status == 405 ? "this path does not know that method"
                                             : "there is no such path; /openapi.json lists them");
        return e;
}

struct exchange *exchange_free(struct exchange *e)
{
        if (!e)
                return NULL;
        if (e->link) {
                *e->link = e->next;
                if (e->next)
                        e->next->link = e->link;
        }
        if (e->log_fd >= 0)
                close(e->log_fd);
        feed_deinit(&e->feed);
        buf_deinit(&e->target);
        buf_deinit(&e->body);
        buf_deinit(&e->text);
        free(e->answer);
        free(e->task);
        free(e);
        return NULL;
}

void exchange_query(struct exchange *e, const char *name, const char *value)
{
        if (streq(name, "follow")) {
                e->follow = !streq(value, "0") && !streq(value, "false");
        } else if (streq(name, "from")) {
                e->feed.last = strtoull(value, NULL, 10);
        } else if (streq(name, "offset")) {
                e->offset = strtoull(value, NULL, 10);
        } else {
                if (streq(name, "task")) {
                        free(e->task);
                        e->task = strdup(value);
                }
                buf_putc(&e->target, memchr(buf_str(&e->target), '?', e->target.n) ? '&' : '?');
                buf_puts(&e->target, name);
                buf_putc(&e->target, '=');
                for (const char *p = value; *p; p++)
                        if ((unsigned char)*p <= ' ' || strchr("%#&+", *p))
                                buf_printf(&e->target, "%%%02X", (unsigned char)*p);
                        else
                                buf_putc(&e->target, *p);
        }
}

void exchange_error(struct exchange *e, int status, const char *message)
{
        e->route = NULL;
        e->stage = STAGE_ANSWER;
        e->streaming = false;
        e->status = status;
        e->content_type = "application/json";
        buf_clear(&e->text);
        BUF_LIT(&e->text, "{\"error\":{\"message\":");
        buf_json(&e->text, message);
        BUF_LIT(&e->text, "}}\n");
        e->has_response = true;
}

static void post(struct exchange *e, const char *target)
{
        int r = engine_process_post(e->process, e, e->method, target, e->body.data, e->body.n);

        if (r < 0)
                exchange_error(e, 503, "the engine does not take requests now; try again");
        else
                e->posted = true;
}

static void ask_events(struct exchange *e)
{
        char target[128];

        snprintf(target, sizeof(target), "/workflows/%s/events?from=%llu&follow=0", e->feed.run,
                 (unsigned long long)feed_from(&e->feed));
        e->feed.awaiting = true;
        e->feed.resync = false;
        post(e, target);
}

static void ask_runs(struct exchange *e)
{
        struct uid id;
        struct buf target = BUF_NULL;

        e->stage = STAGE_RESOLVE;
        BUF_LIT(&target, "/workflows");
        if (!uid_parse(e->segment, strlen(e->segment), &id))
                buf_printf(&target, "?name=%s", e->segment);
        if (buf_error(&target))
                exchange_error(e, 503, "out of memory");
        else
                post(e, buf_str(&target));
        buf_deinit(&target);
}

void exchange_begin(struct exchange *e)
{
        struct uid id;

        if (e->has_response)
                return;
        if (buf_error(&e->target) || buf_error(&e->body)) {
                exchange_error(e, 503, "out of memory");
                return;
        }
        switch (e->route->type) {
        case ROUTE_OPENAPI:
                route_openapi(&e->text);
                e->status = 200;
                e->content_type = "application/json";
                e->has_response = true;
                return;
        case ROUTE_EVENTS:
                e->feed.follow = e->follow;
                if (uid_parse(e->segment, strlen(e->segment), &id)) {
                        uid_text(&id, e->feed.run);
                        e->stage = STAGE_FIRST;
                        ask_events(e);
                } else {
                        ask_runs(e);
                }
                return;
        case ROUTE_LOGS:
                if (e->follow) {
                        ask_runs(e);
                        return;
                }
                break;
        case ROUTE_ENGINE:
                break;
        }
        e->stage = STAGE_ANSWER;
        post(e, buf_str(&e->target));
}

/* The run that the segment means: by id, or the last one accepted of that name. */
static int resolve(struct exchange *e, const struct mail *answer)
{
        _cleanup_(cleanup_json_decref) json_t *doc = NULL;
        const char *latest = NULL, *at = "";
        bool ended = false;
        json_t *run;
        size_t i;

        if (json_parse(answer->data, answer->n, &doc, NULL) < 0)
                return -EBADMSG;
        json_array_foreach (json_object_get(doc, "workflows"), i, run) {
                const char *id = json_get_string(run, "id", "");
                const char *accepted = json_get_string(run, "accepted_at", "");

                if (!streq(id, e->segment) && !streq(json_get_string(run, "name", ""), e->segment))
                        continue;
                if (latest && strcmp(accepted, at) < 0)
                        continue;
                latest = id;
                at = accepted;
                ended = json_is_string(json_object_get(run, "ended_at"));
        }
        if (!latest)
                return -ENOENT;
        snprintf(e->feed.run, sizeof(e->feed.run), "%s", latest);
        /* The log of an ended run is followed to the end of what there is. */
        e->closing = ended;
        if (e->route->type == ROUTE_LOGS)
                e->feed.follow = true;
        return 0;
}

static void resolved(struct exchange *e, struct mail *answer)
{
        char message[SEGMENT_MAX + 64];
        int r = answer->status == 200 ? resolve(e, answer) : -EBADMSG;

        free(answer);
        e->stage = STAGE_FIRST;
        if (r == 0 && e->route->type == ROUTE_EVENTS) {
                ask_events(e);
        } else if (r == 0) {
                e->last_post = e->closing;
                post(e, buf_str(&e->target));
        } else if (r == -ENOENT) {
                snprintf(message, sizeof(message), "there is no run or workflow named %s",
                         e->segment);
                exchange_error(e, 404, message);
        } else {
                exchange_error(e, 503, "the engine cannot say which run that is");
        }
}

static void open_log(struct exchange *e)
{
        _cleanup_(cleanup_free) char *folder = host_run_folder(e->config, e->feed.run, e->task);
        _cleanup_(cleanup_free) char *path = NULL;

        if (folder && asprintf(&path, "%s/output.log", folder) >= 0)
                e->log_fd = open(path, O_RDONLY | O_CLOEXEC);
}

/* Output of a task: the file is only appended to, so reading on from where we are is enough. */
static void read_log(struct exchange *e)
{
        struct buf *out = &e->feed.out;
        char *room;
        ssize_t n;

        if (e->log_fd < 0)
                open_log(e);
        if (e->log_fd < 0)
                e->feed.ended = e->closing;
        if (e->log_fd < 0 || out->n > e->feed.sent)
                return;
        buf_clear(out);
        e->feed.sent = 0;
        room = buf_reserve(out, CHUNK);
        n = room ? pread(e->log_fd, room, CHUNK, (off_t)e->offset) : -1;
        if (n <= 0) {
                e->feed.ended = e->closing;
                return;
        }
        buf_advance(out, (size_t)n);
        e->offset += (uint64_t)n;
}

/* The whole text so far: what was not passed on yet goes to the reader. */
static void take_log(struct exchange *e, struct mail *answer)
{
        if (answer->n > e->offset) {
                buf_append(&e->feed.out, answer->data + e->offset, answer->n - e->offset);
                e->offset = answer->n;
        }
        if (!e->task && e->closing && e->last_post)
                e->feed.ended = true;
        free(answer);
}

static void start_stream(struct exchange *e)
{
        e->stage = STAGE_FOLLOW;
        e->status = 200;
        e->content_type = e->route->type == ROUTE_EVENTS ? "text/event-stream"
                                                         : "text/plain; charset=utf-8";
        e->streaming = true;
        e->has_response = true;
}

static void respond(struct exchange *e, struct mail *answer)
{
        e->stage = STAGE_ANSWER;
        e->status = answer->status;
        e->content_type = "application/json";
        if (e->route->type == ROUTE_LOGS && answer->status == 200)
                e->content_type = "text/plain; charset=utf-8";
        e->answer = answer;
        e->has_response = true;
}

void exchange_answer(struct exchange *e, struct mail *answer)
{
        e->posted = false;
        if (!e->connection) {
                free(answer);
                return;
        }
        /* A task that has printed nothing yet: its log will come. */
        if (e->stage == STAGE_FIRST && e->task && answer->status == 404) {
                answer->status = 200;
                answer->n = 0;
        }
        if (e->stage == STAGE_RESOLVE) {
                resolved(e, answer);
        } else if (e->stage == STAGE_ANSWER || (e->stage == STAGE_FIRST && answer->status != 200)) {
                respond(e, answer);
        } else if (answer->status != 200) {
                /* Too late for a status: the reader sees the stream end before its time. */
                free(answer);
                e->feed.awaiting = false;
                e->feed.ended = true;
        } else {
                if (e->stage == STAGE_FIRST)
                        start_stream(e);
                if (e->route->type == ROUTE_EVENTS)
                        feed_backlog(&e->feed, answer);
                else
                        take_log(e, answer);
        }
}

bool exchange_follows(const struct exchange *e, const char *run)
{
        return e->route && (e->route->type == ROUTE_EVENTS || e->route->type == ROUTE_LOGS) &&
               e->connection && e->stage >= STAGE_FIRST && e->follow && streq(e->feed.run, run);
}

void exchange_news(struct exchange *e, const struct mail *news)
{
        if (e->route->type == ROUTE_LOGS) {
                if (news->type == MAIL_RECORD && feed_line_is_end(news->data, news->n))
                        e->closing = true;
        } else if (news->type == MAIL_RECORD) {
                feed_record(&e->feed, news->seq, news->data, news->n);
        } else {
                feed_progress(&e->feed, news->data, news->n);
        }
}

void exchange_overflow(struct exchange *e)
{
        if (e->route && e->route->type == ROUTE_EVENTS && e->follow && e->stage >= STAGE_FIRST)
                e->feed.resync = true;
}

bool exchange_wants_timer(const struct exchange *e)
{
        return e->route && e->route->type == ROUTE_LOGS && e->follow && e->stage == STAGE_FOLLOW;
}

void exchange_timer(struct exchange *e)
{
        if (!exchange_wants_timer(e) || e->posted)
                return;
        if (e->task) {
                read_log(e);
        } else if (!e->feed.ended) {
                e->last_post = e->closing;
                post(e, buf_str(&e->target));
        }
}

size_t exchange_length(const struct exchange *e)
{
        return e->answer ? e->answer->n : e->text.n;
}

size_t exchange_next(struct exchange *e, const char **ret_data)
{
        size_t n;

        if (!e->streaming) {
                n = exchange_length(e) - e->sent;
                *ret_data = (e->answer ? e->answer->data : buf_str(&e->text)) + e->sent;
                return MIN(n, CHUNK);
        }
        n = feed_next(&e->feed, ret_data);
        if (n == 0 && e->route->type == ROUTE_EVENTS && feed_must_ask(&e->feed))
                ask_events(e);
        if (n == 0 && e->route->type == ROUTE_LOGS && e->task) {
                read_log(e);
                n = feed_next(&e->feed, ret_data);
        }
        return n;
}

void exchange_sent(struct exchange *e, size_t n)
{
        if (e->streaming)
                feed_sent(&e->feed, n);
        else
                e->sent += n;
}

bool exchange_is_over(const struct exchange *e)
{
        if (!e->has_response)
                return false;
        if (buf_error(&e->feed.out))
                return true;
        return e->streaming ? feed_is_over(&e->feed) : e->sent == exchange_length(e);
}
