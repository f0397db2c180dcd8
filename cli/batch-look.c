/* SPDX-License-Identifier: Apache-2.0 */
/* prvng batch list, status, logs, events, attach: looking at runs, and following them. */
#include "base/clock.h"
#include "base/problem.h"
#include "follow.h"
#include "look.h"
#include "undo.h"
#include "view.h"

/* Follows a run that the journal knows. */
static int follow(struct look *look, const char *id_or_name, unsigned flags)
{
        _cleanup_(cleanup_client) struct client client = {.folder = -1};
        struct run *run = look_run(look, id_or_name, false);
        int r;

        if (!run)
                return EXIT_RUN_FAILED;
        r = client_init(&client, look->cli, look->context.config);
        r = r ?: client_ensure(&client);
        return r ?: follow_run(&client, run->id_text, flags, 0);
}

int batch_attach(struct cli *cli)
{
        _cleanup_(cleanup_look) struct look look = {0};

        return look_open(&look, cli, "") ?: follow(&look, cli->args[0], 0);
}

/* list */

static void took(struct buf *b, const json_t *run)
{
        int64_t from = parse_time(json_get_string(run, "accepted_at", NULL));
        int64_t to = parse_time(json_get_string(run, "ended_at", NULL));

        buf_clear(b);
        if (from)
                put_duration(b, ((to ? to : clock_wall_ms()) - from) / 1000);
}

int batch_list(struct cli *cli)
{
        static const char *const heads[] = {"ID", "WORKFLOW", "KIND", "STATUS", "ACCEPTED", "TOOK"};
        _cleanup_(cleanup_look) struct look look = {0};
        _cleanup_(cleanup_json_decref) json_t *doc = NULL;
        _cleanup_(cleanup_buf) struct buf path = BUF_NULL, text = BUF_NULL;
        const char *name = option_value(cli, "name");
        struct table t;
        json_t *run;
        size_t i;
        int r;

        BUF_LIT(&path, "/workflows");
        if (name) {
                BUF_LIT(&path, "?name=");
                put_escaped(&path, name);
        }
        r = look_open(&look, cli, "");
        r = r ?: look_document(&look, buf_str(&path), &doc);
        if (r)
                return r;
        if (cli->format != FORMAT_TABLE) {
                print_document(cli, doc);
                return 0;
        }
        if (json_array_size(json_object_get(doc, "workflows")) == 0) {
                puts("Nothing has run here yet.");
                return 0;
        }
        table_init(&t, cli, N_ELEMENTS(heads), heads);
        json_array_foreach (json_object_get(doc, "workflows"), i, run) {
                const char *status = json_get_string(run, "status", "");

                table_cell(&t, PLAIN, "%s", json_get_string(run, "id", ""));
                table_cell(&t, BOLD, "%s", json_get_string(run, "name", ""));
                table_cell(&t, PLAIN, "%s", json_get_string(run, "kind", ""));
                table_cell(&t, status_paint(status), "%s", status);
                buf_clear(&text);
                put_time(&text, json_get_string(run, "accepted_at", NULL));
                table_cell(&t, PLAIN, "%s", buf_str(&text));
                took(&text, run);
                table_cell(&t, PLAIN, "%s", buf_str(&text));
        }
        table_print(&t);
        return 0;
}

/* status */

static void print_status(const struct cli *cli, const struct run *run)
{
        _cleanup_(cleanup_buf) struct buf out = BUF_NULL;
        struct view v = {.color = cli->color, .utf8 = cli->utf8, .width = 120,
                         .now_ms = clock_wall_ms()};
        json_t *notices = NULL, *notice;
        size_t i;

        if (run_status_ended(run->status)) {
                view_table(&v, run, &out);
                buf_putc(&out, '\n');
                view_summary(&v, run, &out);
        } else {
                view_tree(&v, run, &out);
        }
        view_troubles(&v, run, &out);
        undo_checkpoints(run, &out);
        if (run->notices && json_parse(run->notices, strlen(run->notices), &notices, NULL) == 0)
                json_array_foreach (notices, i, notice)
                        buf_printf(&out, "note: %s\n", json_string_value(notice));
        json_decref(notices);
        fwrite(buf_str(&out), 1, out.n, stdout);
}

int batch_status(struct cli *cli)
{
        _cleanup_(cleanup_look) struct look look = {0};
        _cleanup_(cleanup_buf) struct buf path = BUF_NULL, text = BUF_NULL;
        json_t *doc = NULL;
        struct run *run;
        int r;

        r = look_open(&look, cli, "");
        if (r)
                return r;
        if (option_given(cli, "follow"))
                return follow(&look, cli->args[0], 0);
        run = look_run(&look, cli->args[0], true);
        if (!run)
                return EXIT_RUN_FAILED;
        if (cli->format == FORMAT_TABLE) {
                print_status(cli, run);
                return 0;
        }
        buf_printf(&path, "/workflows/%s/status", run->id_text);
        if (cli->format == FORMAT_YAML) {
                r = look_document(&look, buf_str(&path), &doc);
                if (r == 0)
                        print_document(cli, doc);
                json_decref(doc);
                return r;
        }
        /* As it is: a run may have a million tasks. */
        if (look_query(&look, buf_str(&path), &text) != 200)
                return EXIT_UNUSABLE;
        fwrite(buf_str(&text), 1, text.n, stdout);
        if (text.n && text.data[text.n - 1] != '\n')
                putchar('\n');
        return 0;
}

/* logs */

static int check_task(const struct cli *cli, const struct run *run, const char *id)
{
        const char **ids = calloc(run->n_tasks + (size_t)1, sizeof(*ids));
        const char *hint = NULL;
        bool known = false;
        size_t n = 0;

        for (uint32_t i = 0; ids && i < run->n_tasks; i++)
                if (!task_is_join(&run->tasks[i])) {
                        ids[n++] = task_id(run, &run->tasks[i]);
                        known |= streq(ids[n - 1], id);
                }
        if (!known && ids)
                hint = did_you_mean(id, ids, n);
        free(ids);
        if (known)
                return 0;
        complain(cli, "the run %s has no task %s%s%s", run->id_text, id,
                 hint ? "; did you mean " : "", hint ? hint : "");
        return EXIT_RUN_FAILED;
}

int batch_logs(struct cli *cli)
{
        _cleanup_(cleanup_look) struct look look = {0};
        _cleanup_(cleanup_client) struct client client = {.folder = -1};
        _cleanup_(cleanup_buf) struct buf path = BUF_NULL, text = BUF_NULL;
        _cleanup_(cleanup_json_decref) json_t *doc = NULL;
        bool follows = option_given(cli, "follow");
        struct run *run;
        int r;

        r = look_open(&look, cli, "");
        if (r)
                return r;
        run = look_run(&look, cli->args[0], cli->n_args > 1);
        if (!run)
                return EXIT_RUN_FAILED;
        buf_printf(&path, "/workflows/%s/logs", run->id_text);
        if (cli->n_args > 1) {
                r = check_task(cli, run, cli->args[1]);
                if (r)
                        return r;
                BUF_LIT(&path, "?task=");
                put_escaped(&path, cli->args[1]);
        }
        if (follows) {
                buf_puts(&path, cli->n_args > 1 ? "&follow=1" : "?follow=1");
                r = client_init(&client, cli, look.context.config);
                return r ?: follow_text(&client, buf_str(&path));
        }
        r = look_query(&look, buf_str(&path), &text);
        if (r == 200 && cli->format != FORMAT_TABLE) {
                doc = json_pack("{s:s, s:s%}", "id", run->id_text, "text", buf_str(&text), text.n);
                if (doc)
                        print_document(cli, doc);
        } else if (r == 200) {
                fwrite(buf_str(&text), 1, text.n, stdout);
        } else if (r == 404 && cli->n_args > 1) {
                fprintf(stderr, "%s has printed nothing\n", cli->args[1]);
        } else if (r > 0) {
                complain(cli, "%s", json_parse(text.data, text.n, &doc, NULL) == 0
                                            ? client_message(doc)
                                            : "there is no such log");
        }
        return r == 200 || r == 404 ? 0 : r < 0 ? EXIT_UNUSABLE : EXIT_RUN_FAILED;
}

/* events */

static int print_events(const struct cli *cli, const struct buf *lines)
{
        struct view v = {.color = cli->color, .utf8 = cli->utf8, .width = 120};
        struct record_scratch scratch = RECORD_SCRATCH_NULL;
        struct run *run = run_new();
        int q = run ? 0 : -ENOMEM;

        for (const char *p = buf_str(lines); *p && q == 0;) {
                size_t n = strcspn(p, "\n");
                struct buf text = BUF_NULL;
                json_t *json = NULL;
                struct record r;

                if (cli->format == FORMAT_JSON) {
                        printf("%.*s\n", (int)n, p);
                } else if (cli->format == FORMAT_YAML) {
                        q = json_parse(p, n, &json, NULL);
                        if (q == 0)
                                yaml_print(json, stdout, true);
                        json_decref(json);
                } else {
                        q = record_read(p, n, &scratch, &r, NULL);
                        q = q ?: run_apply(run, NULL, &r);
                        if (q == 0)
                                view_line(&v, run, &r, &text);
                        fwrite(buf_str(&text), 1, text.n, stdout);
                        buf_deinit(&text);
                        record_scratch_clear(&scratch);
                }
                p += n + (p[n] == '\n');
        }
        record_scratch_deinit(&scratch);
        run_free(run);
        if (q == 0)
                return 0;
        complain(cli, "a record cannot be read; prvng store check tells more");
        return EXIT_UNUSABLE;
}

int batch_events(struct cli *cli)
{
        _cleanup_(cleanup_look) struct look look = {0};
        _cleanup_(cleanup_buf) struct buf lines = BUF_NULL;
        _cleanup_(cleanup_free) char *message = NULL;
        struct run *run;
        int r;

        r = look_open(&look, cli, "");
        if (r)
                return r;
        if (option_given(cli, "follow"))
                return follow(&look, cli->args[0], FOLLOW_LINES);
        run = look_run(&look, cli->args[0], false);
        if (!run)
                return EXIT_RUN_FAILED;
        r = site_events(look.journals, run, 0, &lines, &message);
        if (r != 0) {
                complain(cli, "the journal of run %s cannot be read: %s", run->id_text,
                         message ? message : strerror(r < 0 ? -r : EIO));
                return EXIT_UNUSABLE;
        }
        return print_events(cli, &lines);
}
