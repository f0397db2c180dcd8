/* SPDX-License-Identifier: Apache-2.0 */
/* prvng resource orphans: what carries our marks at a provider, and no journal knows. */
#include "follow.h"
#include "output.h"
#include "run/orphans.h"
#include "submit.h"

/* The id of the site, from the journal as it is now. */
static int site_id(const struct cli *cli, char ret_id[UID_TEXT])
{
        _cleanup_(cleanup_look) struct look look = {0};
        int r = look_open(&look, cli, "");

        if (r)
                return r;
        memcpy(ret_id, look.site->id_text, UID_TEXT);
        return 0;
}

/* An engine makes the calls itself, under its limits. */
static int ask_engine(struct client *client, json_t **ret_found)
{
        _cleanup_(cleanup_json_decref) json_t *answer = NULL;
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        long status = 0;
        int r = client_request(client, "/resources/orphans", NULL, 0, &status, &text);

        if (r)
                return r;
        if (json_parse(text.data, text.n, &answer, NULL) < 0)
                answer = NULL;
        if (status != 200 || !answer) {
                complain(client->cli, "%s", client_message(answer));
                return EXIT_UNUSABLE;
        }
        *ret_found = steal(&answer);
        return 0;
}

/* Without an engine. First the providers, then the journal: see run/orphans.h. */
static int ask_providers(struct cli *cli, const char *id, json_t **ret_listed)
{
        struct context providers = {0};
        int r = context_open(cli->config, "provider", &providers);

        if (r)
                return r;
        r = orphans_list(&providers, id, ret_listed);
        context_close(&providers);
        return r ? EXIT_UNUSABLE : 0;
}

static int find(struct cli *cli, struct look *look, json_t **ret_found)
{
        _cleanup_(cleanup_client) struct client client = {.folder = -1};
        _cleanup_(cleanup_json_decref) json_t *listed = NULL;
        char id[UID_TEXT] = "";
        int r = site_id(cli, id);

        if (r)
                return r;
        if (!*id) {
                complain(cli, "nothing has run here yet: nothing can carry this site's marks");
                return EXIT_RUN_FAILED;
        }
        r = look_open(look, cli, "");
        r = r ? r : client_init(&client, cli, look->context.config);
        if (r)
                return r;
        if (client_answers(&client))
                return ask_engine(&client, ret_found);
        look_close(look);
        *look = (struct look){0};
        r = ask_providers(cli, id, &listed);
        r = r ? r : look_open(look, cli, "");
        if (r)
                return r;
        if (orphans_find(look->site, listed, ret_found))
                return EXIT_UNUSABLE;
        json_object_set(*ret_found, "silent", json_object_get(listed, "silent"));
        return 0;
}

static void put_rows(struct table *t, const json_t *list, const char *state)
{
        json_t *thing;
        size_t i;

        json_array_foreach (list, i, thing) {
                table_cell(t, BOLD, "%s", json_get_string(thing, "key", ""));
                table_cell(t, PLAIN, "%s", json_get_string(thing, "plugin", ""));
                table_cell(t, PLAIN, "%s", json_get_string(thing, "workflow", ""));
                table_cell(t, PLAIN, "%s", json_get_string(thing, "op_id", ""));
                table_cell(t, *state == 'o' ? RED : YELLOW, "%s", state);
        }
}

static void print_found(const struct cli *cli, const json_t *found)
{
        static const char *const heads[] = {"RESOURCE", "PLUGIN", "WORKFLOW", "OP ID", "STATE"};
        const json_t *orphans = json_object_get(found, "orphans"), *unclear = json_object_get(found, "unclear");
        struct table t;
        json_t *silent;
        size_t i;

        json_array_foreach (json_object_get(found, "silent"), i, silent)
                fprintf(stderr, "prvng: provider %s could not be asked: %s\n",
                        json_get_string(silent, "plugin", "?"), json_get_string(silent, "reason", "?"));
        if (cli->format != FORMAT_TABLE) {
                print_document(cli, found);
                return;
        }
        if (json_array_size(orphans) + json_array_size(unclear) == 0) {
                puts("No orphans: the journal knows all that carries this site's marks.");
                return;
        }
        table_init(&t, cli, N_ELEMENTS(heads), heads);
        put_rows(&t, orphans, "orphan");
        put_rows(&t, unclear, "unclear");
        table_print(&t);
        if (json_array_size(unclear))
                puts("unclear: the inventory has one of that name, and it cannot be told which of these it is; "
                     "look at the provider.");
}

static bool confirmed(const struct cli *cli, size_t n)
{
        char line[16] = "";

        if (option_given(cli, "yes"))
                return true;
        if (!isatty(STDIN_FILENO)) {
                complain(cli, "--delete asks before it deletes, and there is nobody to ask: say --yes");
                return false;
        }
        fprintf(stderr, "Delete %s? [y/N] ", n == 1 ? "it" : "all of them");
        fflush(stderr);
        return fgets(line, sizeof(line), stdin) && (*line == 'y' || *line == 'Y');
}

static int post(struct cli *cli, const struct look *look, const json_t *orphans, const char *action,
                json_t **ret_answer)
{
        _cleanup_(cleanup_client) struct client client = {.folder = -1};
        _cleanup_(cleanup_buf) struct buf body = BUF_NULL, text = BUF_NULL;
        long status = 0;
        int r;

        buf_printf(&body, "{\"action\":\"%s\",\"who\":", action);
        put_who(&body);
        BUF_LIT(&body, ",\"resources\":");
        json_append(&body, orphans);
        BUF_LIT(&body, "}");
        r = client_init(&client, cli, look->context.config);
        r = r ? r : client_request(&client, "/resources/orphans", body.data, body.n, &status, &text);
        if (r)
                return r;
        if (json_parse(text.data, text.n, ret_answer, NULL) < 0)
                *ret_answer = NULL;
        if (status == 202 && *ret_answer)
                return 0;
        complain(cli, "%s", client_message(*ret_answer));
        return EXIT_UNUSABLE;
}

static int report(const struct cli *cli, const json_t *answer)
{
        json_t *one;
        size_t i;

        json_array_foreach (json_object_get(answer, "refused"), i, one)
                complain(cli, "%s: %s", json_get_string(one, "key", ""), json_get_string(one, "reason", ""));
        if (cli->format != FORMAT_TABLE) {
                print_document(cli, answer);
        } else {
                json_array_foreach (json_object_get(answer, "adopted"), i, one)
                        printf("%s belongs to workflow %s now.\n", json_get_string(one, "key", ""),
                               json_get_string(one, "workflow", ""));
                json_array_foreach (json_object_get(answer, "runs"), i, one)
                        printf("Run %s deletes what %s has of it: prvng batch attach %s\n",
                               json_get_string(one, "id", ""), json_get_string(one, "name", ""),
                               json_get_string(one, "id", ""));
        }
        return json_array_size(json_object_get(answer, "refused")) ? EXIT_RUN_FAILED : 0;
}

int resource_orphans(struct cli *cli)
{
        _cleanup_(cleanup_look) struct look look = {0};
        _cleanup_(cleanup_json_decref) json_t *found = NULL, *answer = NULL;
        bool adopt = option_given(cli, "adopt"), delete = option_given(cli, "delete");
        const json_t *orphans;
        int r;

        if (adopt && delete) {
                complain(cli, "--adopt and --delete: say one of them");
                return EXIT_USAGE;
        }
        r = find(cli, &look, &found);
        if (r)
                return r;
        orphans = json_object_get(found, "orphans");
        if ((!adopt && !delete) || json_array_size(orphans) == 0) {
                print_found(cli, found);
                return 0;
        }
        if (cli->format == FORMAT_TABLE)
                print_found(cli, found);
        fflush(stdout);
        if (delete && !confirmed(cli, json_array_size(orphans)))
                return EXIT_USAGE;
        r = post(cli, &look, orphans, adopt ? "adopt" : "delete", &answer);
        return r ? r : report(cli, answer);
}
