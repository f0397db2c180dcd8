/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

#include "base/problem.h"
#include <langinfo.h>
#include <locale.h>

const struct option_def global_options[] = {
        {"config", 'c', "FILE", "site configuration"},
        {"format", 0, "table|json|yaml", "how to print (default: table)"},
        {"color", 0, "auto|always|never", "colours (default: auto; NO_COLOR is obeyed)"},
        {"help", 'h', NULL, "this help"},
        {"version", 'V', NULL, "the version"},
        {0},
};

/* Not there yet, but known: a clear word instead of "unknown". */
static const char *const later[] = {
        "batch render", "secret get", "secret set", "top",
};

static const char heading[] =
        "prvng runs batch workflows over infrastructure: durable, resumable, in parallel.\n";

const struct group groups[] = {
        {"batch", "workflows and their runs"}, {"resource", "the inventory of the site"},
        {"server", "looking into servers"},    {"plugin", "what can be used here"},
        {"store", "the journal"},              {"audit", "who did what, and proof of it"},
        {"secret", "credentials of providers"}, {"config", "the site's configuration"}, {0},
};

/* Help */

static void print_options(FILE *f, const struct option_def *o)
{
        for (; o && o->name; o++) {
                char left[64], letter[8] = "    ";

                if (o->letter)
                        snprintf(letter, sizeof(letter), "-%c, ", o->letter);
                snprintf(left, sizeof(left), "%s--%s%s%s", letter, o->name, o->value ? " " : "",
                         o->value ? o->value : "");
                fprintf(f, "  %-32s %s\n", left, o->help);
        }
}

static void print_examples(FILE *f, const char *examples)
{
        fputs("\nExamples:\n", f);
        while (*examples) {
                size_t n = strcspn(examples, "\n");

                fprintf(f, "  prvng %.*s\n", (int)n, examples);
                examples += n + (examples[n] == '\n');
        }
}

static void help_command(FILE *f, const struct command *c)
{
        fprintf(f, "Usage: prvng %s%s%s [OPTIONS]\n\n%s.\n", c->words, *c->args ? " " : "", c->args,
                c->summary);
        if (c->help)
                fprintf(f, "\n%s\n", c->help);
        if (c->options) {
                fputs("\nOptions:\n", f);
                print_options(f, c->options);
        }
        fputs("\nEverywhere:\n", f);
        print_options(f, global_options);
        print_examples(f, c->examples);
}

bool command_in_group(const struct command *c, const char *group)
{
        const char *rest = startswith(c->words, group);

        return rest && *rest == ' ';
}

static void list_group(FILE *f, const char *group)
{
        for (const struct command *c = commands; c->words; c++)
                if (command_in_group(c, group)) {
                        char left[64];

                        snprintf(left, sizeof(left), "%s %s", c->words, c->args);
                        fprintf(f, "  %-28s %s\n", left, c->summary);
                }
}

static void help_group(FILE *f, const char *group)
{
        const struct command *first = NULL;

        fprintf(f, "Usage: prvng %s COMMAND\n\n", group);
        list_group(f, group);
        for (const struct command *c = commands; c->words && !first; c++)
                if (command_in_group(c, group))
                        first = c;
        print_examples(f, first->examples);
        fprintf(f, "\nMore: prvng %s COMMAND --help\n", group);
}

static void help_all(FILE *f)
{
        fprintf(f, "%s\nUsage: prvng COMMAND [OPTIONS]\n", heading);
        for (size_t i = 0; groups[i].word; i++) {
                fprintf(f, "\n%s:\n", groups[i].summary);
                list_group(f, groups[i].word);
        }
        fputs("\nEverywhere:\n", f);
        print_options(f, global_options);
        print_examples(f, "batch submit workflows.k --dry-run\n"
                          "batch submit workflows.k --watch\n"
                          "batch status wuji-full-deployment");
        fputs("\nMore: prvng COMMAND --help\n", f);
}

/* Options */

static const struct option_def *find_long(const struct option_def *o, const char *name, size_t n)
{
        for (; o && o->name; o++)
                if (strlen(o->name) == n && memcmp(o->name, name, n) == 0)
                        return o;
        return NULL;
}

static const struct option_def *find_letter(const struct option_def *o, char letter)
{
        for (; o && o->name; o++)
                if (o->letter == letter)
                        return o;
        return NULL;
}

static int unknown_option(const struct cli *cli, const char *arg)
{
        const char *names[64];
        const char *hint = NULL;
        size_t n = 0;

        for (const struct option_def *o = cli->command ? cli->command->options : NULL; o && o->name;
             o++)
                names[n++] = o->name;
        for (const struct option_def *o = global_options; o->name; o++)
                names[n++] = o->name;
        if (startswith(arg, "--"))
                hint = did_you_mean(arg + 2, names, n);
        complain(cli, "there is no option %s%s%s%s%s", arg, cli->command ? " for " : "",
                 cli->command ? cli->command->words : "", hint ? "; did you mean --" : "",
                 hint ? hint : "");
        fprintf(stderr, "Try: prvng %s%s--help\n", cli->command ? cli->command->words : "",
                cli->command ? " " : "");
        return EXIT_USAGE;
}

static void use(struct cli *cli, const struct option_def *def, const char *value)
{
        cli->uses[cli->n_uses++] = (struct option_use){def, value};
}

/* Parses the option at argv[*i]; moves *i on if its value is the next word. Exit code or 0. */
static int parse_option(struct cli *cli, int argc, char **argv, int *i)
{
        const struct option_def *mine = cli->command ? cli->command->options : NULL, *def;
        const char *arg = argv[*i], *value = NULL;

        if (startswith(arg, "--")) {
                const char *equals = strchr(arg, '=');
                size_t n = equals ? (size_t)(equals - arg) - 2 : strlen(arg + 2);

                def = find_long(mine, arg + 2, n) ?: find_long(global_options, arg + 2, n);
                value = equals ? equals + 1 : NULL;
        } else {
                def = find_letter(mine, arg[1]) ?: find_letter(global_options, arg[1]);
                value = arg[1] && arg[2] ? arg + 2 : NULL;
                if (def && !def->value && value)
                        def = NULL; /* switches are not bundled */
        }
        if (!def)
                return unknown_option(cli, arg);
        if (!def->value && value) {
                complain(cli, "--%s takes no value", def->name);
                return EXIT_USAGE;
        }
        if (def->value && !value) {
                if (*i + 1 >= argc) {
                        complain(cli, "--%s wants a value: %s", def->name, def->value);
                        return EXIT_USAGE;
                }
                value = argv[++*i];
        }
        use(cli, def, value);
        return 0;
}

bool option_given(const struct cli *cli, const char *name)
{
        for (size_t i = 0; i < cli->n_uses; i++)
                if (streq(cli->uses[i].def->name, name))
                        return true;
        return false;
}

const char *option_value(const struct cli *cli, const char *name)
{
        for (size_t i = cli->n_uses; i > 0; i--)
                if (streq(cli->uses[i - 1].def->name, name))
                        return cli->uses[i - 1].value;
        return NULL;
}

static int choice(const struct cli *cli, const char *name, const char *const *words, size_t n,
                  int *ret)
{
        const char *value = option_value(cli, name), *hint;

        if (!value)
                return 0;
        for (size_t i = 0; i < n; i++)
                if (streq(value, words[i])) {
                        *ret = (int)i;
                        return 0;
                }
        hint = did_you_mean(value, words, n);
        complain(cli, "--%s %s: accepted are %s, %s and %s%s%s", name, value, words[0], words[1],
                 words[2], hint ? "; did you mean " : "", hint ? hint : "");
        return EXIT_USAGE;
}

static int apply_global(struct cli *cli)
{
        static const char *const formats[] = {"table", "json", "yaml"};
        static const char *const colors[] = {"auto", "always", "never"};
        int format = FORMAT_TABLE, color = 0;
        const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
        int r;

        r = choice(cli, "format", formats, 3, &format);
        r = r ?: choice(cli, "color", colors, 3, &color);
        if (r)
                return r;
        cli->format = (enum format)format;
        cli->config = option_value(cli, "config");
        if (color == 0) {
                bool may = !(no_color && *no_color) && term && !streq(term, "dumb");

                cli->color = may && cli->terminal;
                cli->color_err = may && isatty(STDERR_FILENO);
        } else {
                cli->color = cli->color_err = color == 1;
        }
        return 0;
}

/* Commands */

/* How many of the words are a command's; 0: not this one. */
static int match(const struct command *c, char **words, int n_words)
{
        const char *p = c->words;
        int n = 0;

        while (*p) {
                size_t length = strcspn(p, " ");

                if (n >= n_words || strlen(words[n]) != length || memcmp(words[n], p, length) != 0)
                        return 0;
                n++;
                p += length + (p[length] == ' ');
        }
        return n;
}

static bool is_group(const char *word)
{
        for (size_t i = 0; groups[i].word; i++)
                if (streq(groups[i].word, word))
                        return true;
        return false;
}

static int unknown_command(const struct cli *cli, char **words, int n_words)
{
        const char *candidates[64], *hint;
        char typed[256];
        size_t n = 0;

        for (size_t i = 0; i < N_ELEMENTS(later); i++)
                if (match(&(struct command){.words = later[i]}, words, n_words)) {
                        complain(cli, "%s comes with a later release", later[i]);
                        return EXIT_USAGE;
                }
        if (n_words > 1)
                snprintf(typed, sizeof(typed), "%s %s", words[0], words[1]);
        else
                snprintf(typed, sizeof(typed), "%s", words[0]);
        for (const struct command *c = commands; c->words; c++)
                candidates[n++] = c->words;
        for (size_t i = 0; groups[i].word; i++)
                candidates[n++] = groups[i].word;
        hint = did_you_mean(typed, candidates, n);
        /* "prvng submit": the second word alone. */
        for (const struct command *c = commands; c->words && !hint; c++)
                if (streq(strchr(c->words, ' ') + 1, words[0]))
                        hint = c->words;
        complain(cli, "there is no command %s%s%s", typed, hint ? "; did you mean: prvng " : "",
                 hint ? hint : "");
        fprintf(stderr, "Try: prvng %s%s--help\n", is_group(words[0]) ? words[0] : "",
                is_group(words[0]) ? " " : "");
        return EXIT_USAGE;
}

static int too_few_or_many(const struct cli *cli)
{
        const struct command *c = cli->command;

        if (cli->n_args < c->min_args)
                complain(cli, "%s wants %s", c->words, c->args);
        else if (c->max_args >= 0 && cli->n_args > c->max_args)
                complain(cli, "%s: unexpected argument %s", c->words, cli->args[c->max_args]);
        else
                return 0;
        fprintf(stderr, "Usage: prvng %s%s%s [OPTIONS]\n", c->words, *c->args ? " " : "", c->args);
        return EXIT_USAGE;
}

/* The command's words are the first arguments that are no options; global options may stand between. */
static int find_command(struct cli *cli, int argc, char **argv, int *ret_exit)
{
        char *words[3];
        int n = 0, used = 0;

        for (int i = 1; i < argc && n < 3 && !streq(argv[i], "--"); i++) {
                const struct option_def *o;

                if (argv[i][0] != '-' || !argv[i][1]) {
                        words[n++] = argv[i];
                        continue;
                }
                if (streq(argv[i], "--version") || streq(argv[i], "-V")) {
                        puts("prvng " PRVNG_VERSION);
                        *ret_exit = 0;
                        return 1;
                }
                o = startswith(argv[i], "--") ? find_long(global_options, argv[i] + 2,
                                                          strlen(argv[i] + 2))
                                              : find_letter(global_options, argv[i][1]);
                if (o && o->value && (startswith(argv[i], "--") || !argv[i][2]))
                        i++;
        }
        for (const struct command *c = commands; c->words && n; c++) {
                used = match(c, words, n);
                if (used) {
                        cli->command = c;
                        return 0;
                }
        }
        for (int i = 1; i < argc; i++)
                if (streq(argv[i], "--help") || streq(argv[i], "-h")) {
                        if (n == 1 && is_group(words[0]))
                                help_group(stdout, words[0]);
                        else if (n == 0)
                                help_all(stdout);
                        else
                                break;
                        *ret_exit = 0;
                        return 1;
                }
        *ret_exit = EXIT_USAGE;
        if (n == 0)
                help_all(stderr);
        else if (n == 1 && is_group(words[0]))
                help_group(stderr, words[0]);
        else
                *ret_exit = unknown_command(cli, words, n);
        return 1;
}

static bool wants_utf8(void)
{
        /* Nothing said about the locale (containers): terminals are UTF-8 these days. */
        if (!getenv("LC_ALL") && !getenv("LC_CTYPE") && !getenv("LANG"))
                return true;
        setlocale(LC_CTYPE, "");
        return streq(nl_langinfo(CODESET), "UTF-8");
}

int cli_parse(struct cli *cli, int argc, char **argv, int *ret_exit)
{
        int words;
        bool verbatim = false;

        *cli = (struct cli){.terminal = isatty(STDOUT_FILENO), .utf8 = wants_utf8()};
        cli->color_err = false;
        cli->uses = calloc((size_t)argc + 1, sizeof(*cli->uses));
        cli->args = calloc((size_t)argc + 1, sizeof(*cli->args));
        if (!cli->uses || !cli->args) {
                complain(cli, "out of memory");
                *ret_exit = EXIT_UNUSABLE;
                return 1;
        }
        if (find_command(cli, argc, argv, ret_exit))
                return 1;
        words = strchr(cli->command->words, ' ') ? 2 : 1;
        for (int i = 1; i < argc; i++) {
                if (!verbatim && streq(argv[i], "--")) {
                        verbatim = true;
                } else if (verbatim || argv[i][0] != '-' || !argv[i][1]) {
                        if (words > 0)
                                words--;
                        else
                                cli->args[cli->n_args++] = argv[i];
                } else {
                        *ret_exit = parse_option(cli, argc, argv, &i);
                        if (*ret_exit)
                                return 1;
                }
        }
        if (option_given(cli, "help")) {
                help_command(stdout, cli->command);
                *ret_exit = 0;
                return 1;
        }
        *ret_exit = apply_global(cli);
        if (*ret_exit == 0)
                *ret_exit = too_few_or_many(cli);
        return *ret_exit != 0;
}

void cli_deinit(struct cli *cli)
{
        free(cli->uses);
        free(cli->args);
}
