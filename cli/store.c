/* SPDX-License-Identifier: Apache-2.0 */
/* prvng store cat */
#include "opened.h"
#include "output.h"

static int print_line(void *userdata, const struct record *r, const char *line, size_t n_line)
{
        const struct cli *cli = userdata;
        json_t *json = NULL;

        if (cli->format == FORMAT_YAML && json_parse(line, n_line, &json, NULL) == 0)
                yaml_print(json, stdout, true);
        else
                printf("%.*s\n", (int)n_line, line);
        json_decref(json);
        return 0;
}

static int read_stream(const struct cli *cli, struct journal *j, const char *name,
                       journal_record_f f, void *userdata)
{
        int r = journal_read(j, name, f, userdata);

        if (r == 0)
                return 0;
        fflush(stdout);
        complain(cli, "stream %s: %s", name,
                 r > 0 && j->message ? j->message : strerror(r < 0 ? -r : EIO));
        return EXIT_UNUSABLE;
}

static void free_names(char **names, size_t n)
{
        for (size_t i = 0; i < n; i++)
                free(names[i]);
        free(names);
}

static int list_streams(const struct cli *cli, struct journal *j)
{
        char **names = NULL;
        size_t n = 0;
        json_t *list = json_array(), *doc = json_pack("{s:o}", "streams", list);

        if (journal_streams(j, &names, &n) != 0) {
                complain(cli, "%s", j->message ?: "the streams cannot be listed");
                json_decref(doc);
                return EXIT_UNUSABLE;
        }
        for (size_t i = 0; i < n; i++)
                if (cli->format == FORMAT_TABLE)
                        puts(names[i]);
                else
                        json_array_append_new(list, json_string(names[i]));
        if (cli->format != FORMAT_TABLE)
                print_document(cli, doc);
        json_decref(doc);
        free_names(names, n);
        return 0;
}

static int known_stream(const struct cli *cli, struct journal *j, const char *name)
{
        char **names = NULL;
        size_t n = 0;
        bool known = false;

        if (journal_streams(j, &names, &n) != 0)
                return 0; /* reading it will tell */
        for (size_t i = 0; i < n; i++)
                known |= streq(names[i], name);
        free_names(names, n);
        if (known)
                return 0;
        complain(cli, "there is no stream %s; prvng store cat --list shows all", name);
        return EXIT_RUN_FAILED;
}

int store_cat(struct cli *cli)
{
        struct opened o = {0};
        const char *name = cli->args[0] ?: "site";
        int r = opened_open(&o, cli);

        if (r)
                return r;
        if (option_given(cli, "list")) {
                r = list_streams(cli, o.home);
        } else {
                r = cli->args[0] ? known_stream(cli, o.home, name) : 0;
                r = r ?: read_stream(cli, o.home, name, print_line, cli);
        }
        opened_close(&o);
        return r;
}
