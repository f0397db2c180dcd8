/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run's records are folded here as the engine folds them, so the view needs nothing else. The
 * engine may die meanwhile: the command starts another one and goes on behind the last record.
 */
#include "follow.h"

#include "base/clock.h"
#include "run/site.h"
#include "sse.h"
#include "view.h"

#include <signal.h>
#include <sys/ioctl.h>

#define FRAME_MS 100
#define TICK_MS 1000   /* clocks in the view go on even if nothing happens */
#define FAILURES_MAX 5 /* engines that die in a row without a new record */

#define NOTICES_MAX 20

enum style { STYLE_TREE, STYLE_LINES, STYLE_RECORDS };

struct follower {
        struct client *client;
        const struct cli *cli;
        const char *id;
        unsigned flags;
        enum style style;
        struct run *run;
        struct record_scratch scratch;
        struct progresses progresses;
        struct sse sse;
        uint64_t last;
        uint64_t seen; /* records up to it are folded, not printed */
        uint64_t last_at_connect;
        json_t *notices; /* what the results want an operator to see, each once */
        bool ended, broken, dirty;
        long status;
        size_t n_drawn; /* lines on the terminal that the next frame replaces */
        int64_t drawn_ms;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
        interrupted = 1;
}

/* Drawing */

static struct view make_view(const struct follower *f)
{
        struct winsize size = {0};
        struct view v = {
                .color = f->cli->color,
                .utf8 = f->cli->utf8,
                .now_ms = clock_wall_ms(),
                .progresses = &f->progresses,
                .width = 80,
        };

        if (f->cli->terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col) {
                v.width = size.ws_col - 1u; /* erasing behind the last column erases it */
                v.height = size.ws_row > 8 ? size.ws_row - 1u : 8;
        }
        return v;
}

static void erase(struct follower *f, struct buf *out)
{
        if (f->n_drawn)
                buf_printf(out, "\r\033[%zuA\033[J", f->n_drawn);
        f->n_drawn = 0;
}

/* One write for a frame, so that no half of it is ever seen; without wrapping, so that its number of
 * lines is known. */
static void draw(struct follower *f)
{
        struct view v = make_view(f);
        struct buf out = BUF_NULL, tree = BUF_NULL;
        const char *p;
        size_t lines = 0;

        view_tree(&v, f->run, &tree);
        BUF_LIT(&out, "\033[?25l\033[?7l");
        if (f->n_drawn)
                buf_printf(&out, "\r\033[%zuA", f->n_drawn);
        for (p = buf_str(&tree); *p; lines++) {
                size_t n = strcspn(p, "\n");

                buf_append(&out, p, n);
                BUF_LIT(&out, "\033[K\n");
                p += n + (p[n] == '\n');
        }
        BUF_LIT(&out, "\033[J\033[?7h\033[?25h");
        f->n_drawn = lines;
        fwrite(buf_str(&out), 1, out.n, stdout);
        fflush(stdout);
        f->drawn_ms = clock_boot_ms();
        f->dirty = false;
        buf_deinit(&out);
        buf_deinit(&tree);
}

static void say(struct follower *f, const char *text)
{
        struct buf out = BUF_NULL;

        if (f->style == STYLE_TREE) {
                erase(f, &out);
                fwrite(buf_str(&out), 1, out.n, stdout);
                fflush(stdout);
        }
        complain(f->cli, "%s", text);
        buf_deinit(&out);
}

static void redraw(struct follower *f)
{
        int64_t since = clock_boot_ms() - f->drawn_ms;

        if (f->style != STYLE_TREE)
                fflush(stdout);
        else if ((f->dirty && since >= FRAME_MS) || since >= TICK_MS)
                draw(f);
}

/* Records */

static void print_record(struct follower *f, const char *line, size_t n)
{
        json_t *json = NULL;

        if (f->cli->format == FORMAT_JSON) {
                fwrite(line, 1, n, stdout);
                putchar('\n');
        } else if (json_parse(line, n, &json, NULL) == 0) {
                yaml_print(json, stdout, true);
                json_decref(json);
        }
}

/* A result's "notices" (prvng/kind/op.h), that a server runs without limits for example. */
static void take_notices(struct follower *f, struct span outputs)
{
        _cleanup_(cleanup_json_decref) json_t *json = NULL;
        json_t *notice, *seen;
        size_t i, k;

        if (!outputs.n || !memmem(outputs.p, outputs.n, "\"notices\":[\"", 12) ||
            json_parse(outputs.p, outputs.n, &json, NULL))
                return;
        json_array_foreach (json_object_get(json, "notices"), i, notice) {
                bool known = !json_is_string(notice) || json_array_size(f->notices) >= NOTICES_MAX;

                json_array_foreach (f->notices, k, seen)
                        known |= json_equal(seen, notice) != 0;
                if (!known)
                        json_array_append(f->notices, notice);
        }
}

static void on_record(struct follower *f, const char *line, size_t n)
{
        struct view v;
        struct record r;
        struct buf text = BUF_NULL;

        record_scratch_clear(&f->scratch);
        if (record_read(line, n, &f->scratch, &r, NULL) < 0 || run_apply(f->run, NULL, &r) < 0) {
                f->broken = true;
                return;
        }
        if (r.type == RECORD_DONE || r.type == RECORD_FAILED || r.type == RECORD_UNDONE ||
            r.type == RECORD_UNDO_FAILED)
                progresses_remove(&f->progresses, task_id(f->run, &f->run->tasks[r.task]));
        if (r.type == RECORD_DONE)
                take_notices(f, r.outputs);
        f->ended = run_status_ended(f->run->status); /* a rollback or retry goes on behind an end */
        f->dirty = true;
        if (f->last <= f->seen) {
                /* known to who asked */
        } else if (f->style == STYLE_RECORDS) {
                print_record(f, line, n);
        } else if (f->style == STYLE_LINES) {
                v = make_view(f);
                view_line(&v, f->run, &r, &text);
                fwrite(buf_str(&text), 1, text.n, stdout);
        }
        buf_deinit(&text);
}

static void on_event(void *userdata, const char *event, bool has_id, uint64_t id, const char *data,
                     size_t n_data)
{
        struct follower *f = userdata;
        json_t *json = NULL;

        if (has_id) {
                if (id <= f->last || f->broken)
                        return;
                f->last = id;
                on_record(f, data, n_data);
        } else if (streq(event, "progress") && json_parse(data, n_data, &json, NULL) == 0) {
                progresses_put(&f->progresses, json_get_string(json, "task", ""),
                               (uint32_t)json_get_int(json, "permille", 0),
                               json_get_string(json, "message", ""));
                f->dirty = true;
                json_decref(json);
        }
}

static size_t on_data(char *data, size_t size, size_t n, void *userdata)
{
        struct follower *f = userdata;

        if (f->status == 0)
                f->status = 200;
        sse_feed(&f->sse, data, size * n, on_event, f);
        redraw(f);
        return f->broken || interrupted ? 0 : size * n;
}

/* The connection */

/* Moves bytes until the stream ends. */
static void pump(CURL *curl, struct follower *f)
{
        CURLM *multi = curl_multi_init();
        int running = 1;

        if (!multi)
                return;
        curl_multi_add_handle(multi, curl);
        while (running && !interrupted && !f->broken) {
                if (curl_multi_perform(multi, &running) != CURLM_OK)
                        break;
                redraw(f);
                if (running)
                        curl_multi_poll(multi, NULL, 0, FRAME_MS, NULL);
        }
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &f->status);
        curl_multi_remove_handle(multi, curl);
        curl_multi_cleanup(multi);
}

static int connect_once(struct follower *f)
{
        char path[128];
        CURL *curl;

        snprintf(path, sizeof(path), "/workflows/%s/events?from=%llu", f->id,
                 (unsigned long long)f->last);
        curl = client_stream(f->client, path);
        if (!curl)
                return 0;
        sse_deinit(&f->sse);
        f->sse = SSE_NULL;
        f->status = 0;
        f->last_at_connect = f->last;
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, f);
        pump(curl, f);
        curl_easy_cleanup(curl);
        if (f->status == 404) {
                say(f, "the engine does not know this run");
                return EXIT_UNUSABLE;
        }
        return 0;
}

/* 0: the run ended, or Ctrl-C. */
static int stay_connected(struct follower *f)
{
        int failures = 0, r;

        for (;;) {
                r = connect_once(f);
                if (r || f->ended || interrupted)
                        return r;
                if (f->broken) {
                        say(f, "a record cannot be read: is this prvng older than the engine?");
                        return EXIT_UNUSABLE;
                }
                failures = f->last > f->last_at_connect ? 0 : failures + 1;
                if (failures > FAILURES_MAX) {
                        say(f, "the engine ends again and again; its log is prvngd.log in the "
                               "site's state folder");
                        return EXIT_UNUSABLE;
                }
                if (f->flags & FOLLOW_FOREGROUND)
                        return EXIT_UNUSABLE;
                say(f, "the engine went away; starting another one, the run goes on");
                r = client_ensure(f->client);
                if (r)
                        return r;
        }
}

/* The end */

static void finish(struct follower *f)
{
        struct view v = make_view(f);
        struct buf out = BUF_NULL;
        json_t *notice;
        size_t i;

        v.height = 0;
        if (f->style == STYLE_RECORDS)
                return;
        if (f->style == STYLE_TREE)
                erase(f, &out);
        view_table(&v, f->run, &out);
        buf_putc(&out, '\n');
        json_array_foreach (f->notices, i, notice)
                buf_printf(&out, "note: %s\n", json_string_value(notice));
        view_summary(&v, f->run, &out);
        view_troubles(&v, f->run, &out);
        fwrite(buf_str(&out), 1, out.n, stdout);
        fflush(stdout);
        buf_deinit(&out);
}

static int detach(struct follower *f)
{
        if (f->style == STYLE_TREE)
                draw(f);
        fflush(stdout);
        if (f->flags & FOLLOW_FOREGROUND)
                fprintf(stderr, "\nstopped; the run goes on with the next engine; come back with: "
                                "prvng batch attach %s\n", f->id);
        else
                fprintf(stderr, "\ndetached; the run goes on; come back with: prvng batch attach %s\n",
                        f->id);
        return EXIT_DETACHED;
}

int follow_run(struct client *client, const char *run, unsigned flags, uint64_t seen)
{
        struct follower f = {
                .client = client,
                .cli = client->cli,
                .id = run,
                .flags = flags,
                .seen = seen,
                .run = run_new(),
                .notices = json_array(),
                .dirty = true,
        };
        struct sigaction action = {.sa_handler = on_interrupt}, former;
        int r;

        f.style = f.cli->format != FORMAT_TABLE                    ? STYLE_RECORDS
                  : f.cli->terminal && !(flags & FOLLOW_LINES) ? STYLE_TREE
                                                                   : STYLE_LINES;
        if (!f.run) {
                complain(f.cli, "out of memory");
                return EXIT_UNUSABLE;
        }
        interrupted = 0;
        sigaction(SIGINT, &action, &former);
        r = stay_connected(&f);
        if (r == 0 && f.ended) {
                finish(&f);
                r = run_exit_code(f.run);
        } else if (r == 0) {
                r = detach(&f);
        }
        sigaction(SIGINT, &former, NULL);
        sse_deinit(&f.sse);
        progresses_deinit(&f.progresses);
        record_scratch_deinit(&f.scratch);
        json_decref(f.notices);
        run_free(f.run);
        return r;
}

static size_t on_text(char *data, size_t size, size_t n, void *userdata)
{
        *(uint64_t *)userdata += size * n;
        fwrite(data, size, n, stdout);
        fflush(stdout);
        return size * n;
}

/* The end of the text is the end of the run; an engine that died shows as a broken transfer only if
 * its successor still has something to say, so ask until it has not. */
int follow_text(struct client *client, const char *path)
{
        uint64_t offset = 0, before;
        long status = 0;

        do {
                char with_offset[4096];
                CURL *curl;
                int r = client_ensure(client);

                if (r)
                        return r;
                before = offset;
                snprintf(with_offset, sizeof(with_offset), "%s&offset=%llu", path,
                         (unsigned long long)offset);
                curl = client_stream(client, with_offset);
                if (!curl)
                        break;
                curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
                curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_text);
                curl_easy_setopt(curl, CURLOPT_WRITEDATA, &offset);
                curl_easy_perform(curl);
                curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
                curl_easy_cleanup(curl);
        } while (status == 200 && offset > before);
        if (status == 200)
                return 0;
        complain(client->cli, "there is no such run or task");
        return EXIT_UNUSABLE;
}
