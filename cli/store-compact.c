/* SPDX-License-Identifier: Apache-2.0 */
/* prvng store compact: done by the engine, a page of runs at a time. */
#include "output.h"
#include "submit.h"

static int read_days(const struct cli *cli, int *ret_days)
{
        const char *text = option_value(cli, "older-than");
        char *end = NULL;
        long days;

        *ret_days = -1;
        if (!text)
                return 0;
        errno = 0;
        days = strtol(text, &end, 10);
        if (errno || end == text || *end || days < 0 || days > 36500) {
                complain(cli, "--older-than %s: say a number of days, 0 to 36500", text);
                return EXIT_USAGE;
        }
        *ret_days = (int)days;
        return 0;
}

static int post_page(struct client *client, const struct cli *cli, int days, const char *after,
                     json_t **ret_answer)
{
        _cleanup_(cleanup_buf) struct buf body = BUF_NULL, text = BUF_NULL;
        long status = 0;
        int r;

        BUF_LIT(&body, "{\"who\":");
        put_who(&body);
        buf_printf(&body, ",\"dry_run\":%s", option_given(cli, "dry-run") ? "true" : "false");
        if (days >= 0)
                buf_printf(&body, ",\"older_than\":%d", days);
        if (*after)
                buf_printf(&body, ",\"after\":\"%s\"", after);
        BUF_LIT(&body, "}");
        r = client_request(client, "/store/compact", body.data, body.n, &status, &text);
        if (r)
                return r;
        if (json_parse(text.data, text.n, ret_answer, NULL) < 0)
                *ret_answer = NULL;
        if (status == 200 && *ret_answer)
                return 0;
        complain(cli, "%s", client_message(*ret_answer));
        return status == 422 ? EXIT_USAGE : EXIT_UNUSABLE;
}

static void print_compacted(const struct cli *cli, const json_t *all)
{
        static const char *const heads[] = {"RUN", "WORKFLOW", "RECORDS", "BYTES"};
        bool dry = option_given(cli, "dry-run");
        size_t n = json_array_size(all), i;
        struct table t;
        json_t *run;

        if (n == 0) {
                puts("No run ended long enough ago.");
                return;
        }
        table_init(&t, cli, N_ELEMENTS(heads), heads);
        json_array_foreach (all, i, run) {
                table_cell(&t, PLAIN, "%s", json_get_string(run, "id", ""));
                table_cell(&t, PLAIN, "%s", json_get_string(run, "name", ""));
                table_cell(&t, PLAIN, "%lld", (long long)json_get_int(run, "records", 0));
                table_cell(&t, PLAIN, "%lld", (long long)json_get_int(run, "bytes", 0));
        }
        table_print(&t);
        printf(dry ? "%zu run%s would be compacted.\n"
                   : "%zu run%s compacted: what they did is no longer in the journal, and they cannot be "
                     "rolled back any more.\n", n, n == 1 ? "" : "s");
}

int store_compact(struct cli *cli)
{
        _cleanup_(cleanup_look) struct look look = {0};
        _cleanup_(cleanup_client) struct client client = {.folder = -1};
        json_t *all = json_array();
        _cleanup_(cleanup_json_decref) json_t *doc = json_pack("{s:o}", "compacted", all);
        char after[UID_TEXT] = "";
        int days, r;

        r = read_days(cli, &days);
        r = r ? r : look_open(&look, cli, "");
        r = r ? r : client_init(&client, cli, look.context.config);
        if (r)
                return r;
        do {
                _cleanup_(cleanup_json_decref) json_t *answer = NULL;

                r = post_page(&client, cli, days, after, &answer);
                if (r)
                        return r;
                json_array_extend(all, json_object_get(answer, "compacted"));
                snprintf(after, sizeof(after), "%s", json_get_string(answer, "next", ""));
        } while (*after);
        if (cli->format == FORMAT_TABLE)
                print_compacted(cli, all);
        else
                print_document(cli, doc);
        return 0;
}
