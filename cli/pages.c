/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Manual pages and completions of prvng, from the table of its commands: they cannot tell of a command
 * or an option that is not there, nor forget one. Run by the build; not installed.
 *
 *      prvng-pages man FOLDER      prvng.1 and a page for each command
 *      prvng-pages bash|zsh|fish   completions, to stdout
 */
#include "cli.h"

#include <ctype.h>

/* --- manual pages --- */

/* Text as troff wants it: no line starts a request by accident, a hyphen is a hyphen. */
static void troff(FILE *f, const char *text)
{
        bool start = true;

        for (; *text; text++) {
                if (start && (*text == '.' || *text == '\''))
                        fputs("\\&", f);
                start = *text == '\n';
                if (*text == '-')
                        fputs("\\-", f);
                else if (*text == '\\')
                        fputs("\\e", f);
                else
                        fputc(*text, f);
        }
}

static void page_head(FILE *f, const char *name, const char *summary)
{
        fprintf(f, ".\\\" SPDX-License-Identifier: Apache-2.0\n.TH ");
        for (const char *p = name; *p; p++)
                fputc(toupper((unsigned char)*p), f);
        fputs(" 1 \"\" \"prvng " PRVNG_VERSION "\"\n.SH NAME\n", f);
        troff(f, name);
        fputs(" \\- ", f);
        fputc(tolower((unsigned char)*summary), f);
        troff(f, summary + 1);
        fputc('\n', f);
}

static void page_options(FILE *f, const struct option_def *o)
{
        for (; o && o->name; o++) {
                fputs(".TP\n", f);
                if (o->letter)
                        fprintf(f, "\\fB\\-%c\\fR, ", o->letter);
                fputs("\\fB\\-\\-", f);
                troff(f, o->name);
                fputs("\\fR", f);
                if (o->value) {
                        fputs(" \\fI", f);
                        troff(f, o->value);
                        fputs("\\fR", f);
                }
                fputc('\n', f);
                troff(f, o->help);
                fputc('\n', f);
        }
}

static void page_examples(FILE *f, const char *examples)
{
        fputs(".SH EXAMPLES\n.nf\n", f);
        while (*examples) {
                size_t n = strcspn(examples, "\n");
                _cleanup_(cleanup_free) char *line = strndup(examples, n);

                fputs("prvng ", f);
                troff(f, line ? line : "");
                fputc('\n', f);
                examples += n + (examples[n] == '\n');
        }
        fputs(".fi\n", f);
}

static void page_exit_codes(FILE *f)
{
        static const struct {
                int code;
                const char *meaning;
        } codes[] = {
                {0, "succeeded"},
                {1, "the run failed; there was nothing to undo, or undoing was not wanted"},
                {2, "wrong usage"},
                {3, "the definition, or the configuration, is not valid"},
                {4, "the run failed and was rolled back"},
                {5, "the rollback is incomplete; what is left is listed"},
                {6, "the run was cancelled"},
                {7, "engine, store or journal not usable"},
                {8, "what is there differs from what it should be"},
                {130, "detached by Ctrl-C; the run goes on"},
        };

        fputs(".SH EXIT STATUS\n", f);
        for (size_t i = 0; i < N_ELEMENTS(codes); i++)
                fprintf(f, ".TP\n%d\n%s.\n", codes[i].code, codes[i].meaning);
}

static void page_name(char *name, size_t size, const struct command *c)
{
        snprintf(name, size, "prvng-%s", c->words);
        for (char *p = name; *p; p++)
                if (*p == ' ')
                        *p = '-';
}

/* prvng-plugin-check(1) comes with that program, which is installed without prvng, too. */
static bool page_is_elsewhere(const struct command *c)
{
        return strcmp(c->words, "plugin check") == 0;
}

static FILE *page_open(const char *folder, const char *name)
{
        _cleanup_(cleanup_free) char *path = NULL;
        FILE *f;

        if (asprintf(&path, "%s/%s.1", folder, name) < 0)
                return NULL;
        f = fopen(path, "we");
        if (!f)
                perror(path);
        return f;
}

static int page_command(const char *folder, const struct command *c)
{
        char name[128];
        FILE *f;

        page_name(name, sizeof(name), c);
        f = page_open(folder, name);
        if (!f)
                return 1;
        page_head(f, name, c->summary);
        fprintf(f, ".SH SYNOPSIS\n\\fBprvng %s\\fR ", c->words);
        troff(f, c->args);
        fputs(" [OPTIONS]\n.SH DESCRIPTION\n", f);
        troff(f, c->summary);
        fputs(".\n", f);
        if (c->help) {
                fputs(".PP\n", f);
                troff(f, c->help);
                fputc('\n', f);
        }
        fputs(".SH OPTIONS\n", f);
        page_options(f, c->options);
        page_options(f, global_options);
        page_exit_codes(f);
        page_examples(f, c->examples);
        fputs(".SH SEE ALSO\n.BR prvng (1)\n", f);
        return fclose(f) ? 1 : 0;
}

static int page_all(const char *folder)
{
        FILE *f = page_open(folder, "prvng");
        int r = 0;

        if (!f)
                return 1;
        page_head(f, "prvng", "runs batch workflows over infrastructure");
        fputs(".SH SYNOPSIS\n\\fBprvng\\fR COMMAND [OPTIONS]\n.SH DESCRIPTION\n"
              "A workflow names operations on servers, services and clusters. The engine of the site\n"
              "runs what is ready in parallel, writes every intention and every result to a journal\n"
              "before it acts on it, retries what is worth it, and undoes what it made when a workflow\n"
              "fails. Killed at any moment, it goes on where it was.\n", f);
        for (const struct group *g = groups; g->word; g++) {
                fputs(".SS ", f);
                troff(f, g->summary);
                fputc('\n', f);
                for (const struct command *c = commands; c->words; c++) {
                        char name[128];

                        if (!command_in_group(c, g->word))
                                continue;
                        page_name(name, sizeof(name), c);
                        fputs(".TP\n.BR ", f);
                        troff(f, name);
                        fputs(" (1)\n", f);
                        troff(f, c->summary);
                        fputs(".\n", f);
                }
        }
        fputs(".SH OPTIONS\n", f);
        page_options(f, global_options);
        page_exit_codes(f);
        fputs(".SH FILES\n.TP\n/etc/prvng/prvng.conf\nconfiguration of the site\n"
              ".TP\n/usr/lib/prvng/plugins.d, /etc/prvng/plugins.d\n"
              "which plugins are enabled; a file of the second folder overrides one of the same name in\n"
              "the first\n", f);
        r = fclose(f) ? 1 : 0;
        for (const struct command *c = commands; c->words && r == 0; c++)
                r = page_is_elsewhere(c) ? 0 : page_command(folder, c);
        return r;
}

/* --- completions --- */

/* The words that an option's value is one of: "dot|svg|mermaid" has them, "FILE" has not. */
static bool has_choices(const struct option_def *o)
{
        return o->value && strchr(o->value, '|') && islower((unsigned char)*o->value);
}

static bool wants_file(const char *what)
{
        return strstr(what, "FILE") != NULL;
}

static const char *second_word(const struct command *c)
{
        return strchr(c->words, ' ') + 1;
}

/* For single quotes of a shell. */
static void quoted(const char *text)
{
        putchar('\'');
        for (; *text; text++)
                if (*text == '\'')
                        fputs("'\\''", stdout);
                else
                        putchar(*text);
        putchar('\'');
}

static void bash_options(const struct option_def *o)
{
        for (; o && o->name; o++)
                printf(" --%s", o->name);
}

static void bash_values(const struct option_def *o)
{
        for (; o && o->name; o++)
                if (has_choices(o)) {
                        printf("        --%s) COMPREPLY=($(compgen -W \"", o->name);
                        for (const char *p = o->value; *p; p++)
                                putchar(*p == '|' ? ' ' : *p);
                        puts("\" -- \"$word\")); return ;;");
                } else if (o->value && wants_file(o->value)) {
                        printf("        --%s) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n",
                               o->name);
                }
}

static int bash(void)
{
        puts("# SPDX-License-Identifier: Apache-2.0\n"
             "# Completion of prvng for bash, made from its table of commands.\n"
             "_prvng() {\n"
             "        local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
             "        local group='' command='' w\n"
             "        COMPREPLY=()\n"
             "        for w in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
             "                case $w in\n"
             "                -*) ;;\n"
             "                *) if [ -z \"$group\" ]; then group=$w; elif [ -z \"$command\" ]; then "
             "command=$w; fi ;;\n"
             "                esac\n"
             "        done\n"
             "        case $before in");
        bash_values(global_options);
        puts("        esac\n        case \"$group $command\" in");
        fputs("        ' ') COMPREPLY=($(compgen -W \"", stdout);
        for (const struct group *g = groups; g->word; g++)
                printf("%s ", g->word);
        fputs("--help --version\" -- \"$word\")) ;;\n", stdout);
        for (const struct group *g = groups; g->word; g++) {
                printf("        '%s ') COMPREPLY=($(compgen -W \"", g->word);
                for (const struct command *c = commands; c->words; c++)
                        if (command_in_group(c, g->word))
                                printf("%s ", second_word(c));
                puts("\" -- \"$word\")) ;;");
        }
        for (const struct command *c = commands; c->words; c++) {
                printf("        '%s')\n        case $before in\n", c->words);
                bash_values(c->options);
                fputs("        esac\n        if [[ $word == -* ]]; then COMPREPLY=($(compgen -W \"", stdout);
                bash_options(c->options);
                bash_options(global_options);
                puts("\" -- \"$word\"))");
                if (wants_file(c->args))
                        puts("        else COMPREPLY=($(compgen -f -- \"$word\"))");
                puts("        fi ;;");
        }
        puts("        esac\n}\ncomplete -o filenames -F _prvng prvng");
        return 0;
}

static void zsh_options(const struct option_def *o)
{
        for (; o && o->name; o++) {
                char spec[512];
                size_t n = 0;

                n += (size_t)snprintf(spec, sizeof(spec), "--%s[", o->name);
                for (const char *p = o->help; *p && n + 2 < sizeof(spec); p++) {
                        if (strchr("[]:\\", *p))
                                spec[n++] = '\\';
                        spec[n++] = *p;
                }
                n = MIN(n, sizeof(spec) - 1);
                spec[n] = '\0';
                fputs("                ", stdout);
                quoted(spec);
                fputs("']", stdout);
                if (o->value && has_choices(o)) {
                        printf(":%s:(", o->name);
                        for (const char *p = o->value; *p; p++)
                                putchar(*p == '|' ? ' ' : *p);
                        putchar(')');
                } else if (o->value) {
                        printf(":%s:%s", o->name, wants_file(o->value) ? "_files" : " ");
                }
                puts("' \\");
        }
}

static int zsh(void)
{
        puts("#compdef prvng\n"
             "# SPDX-License-Identifier: Apache-2.0\n"
             "# Completion of prvng for zsh, made from its table of commands.\n"
             "_prvng() {\n"
             "        local -a groups commands\n"
             "        if (( CURRENT == 2 )); then\n"
             "                groups=(");
        for (const struct group *g = groups; g->word; g++) {
                char text[256];

                snprintf(text, sizeof(text), "%s:%s", g->word, g->summary);
                fputs("                        ", stdout);
                quoted(text);
                putchar('\n');
        }
        puts("                )\n                _describe group groups\n                return\n        fi\n"
             "        if (( CURRENT == 3 )); then\n                case $words[2] in");
        for (const struct group *g = groups; g->word; g++) {
                printf("                %s) commands=(\n", g->word);
                for (const struct command *c = commands; c->words; c++)
                        if (command_in_group(c, g->word)) {
                                char text[256];

                                snprintf(text, sizeof(text), "%s:%s", second_word(c), c->summary);
                                fputs("                        ", stdout);
                                quoted(text);
                                putchar('\n');
                        }
                puts("                ) ;;");
        }
        puts("                esac\n                _describe command commands\n                return\n"
             "        fi\n        case \"$words[2] $words[3]\" in");
        for (const struct command *c = commands; c->words; c++) {
                printf("        '%s') shift 2 words; (( CURRENT -= 2 ))\n                _arguments \\\n",
                       c->words);
                zsh_options(c->options);
                zsh_options(global_options);
                printf("                '*:%s:%s' ;;\n", *c->args ? "argument" : "nothing",
                       wants_file(c->args) ? "_files" : " ");
        }
        puts("        esac\n}\n_prvng \"$@\"");
        return 0;
}

static void fish_options(const char *condition, const struct option_def *o)
{
        for (; o && o->name; o++) {
                printf("complete -c prvng -n '%s' -l %s", condition, o->name);
                if (o->letter)
                        printf(" -s %c", o->letter);
                if (o->value && has_choices(o)) {
                        fputs(" -x -a '", stdout);
                        for (const char *p = o->value; *p; p++)
                                putchar(*p == '|' ? ' ' : *p);
                        putchar('\'');
                } else if (o->value) {
                        fputs(wants_file(o->value) ? " -r -F" : " -x", stdout);
                }
                fputs(" -d ", stdout);
                quoted(o->help);
                putchar('\n');
        }
}

static int fish(void)
{
        puts("# SPDX-License-Identifier: Apache-2.0\n"
             "# Completion of prvng for fish, made from its table of commands.\n"
             "function __prvng_words\n"
             "        set -l words\n"
             "        for w in (commandline -opc)[2..]\n"
             "                string match -q -- '-*' $w; or set words $words $w\n"
             "        end\n"
             "        set -l n (count $argv)\n"
             "        test (count $words) -ge $n; or return 1\n"
             "        test $n -eq 0; and test (count $words) -eq 0; and return 0\n"
             "        test $n -gt 0; and test \"$words[1..$n]\" = \"$argv\"\n"
             "end\n"
             "function __prvng_exactly\n"
             "        set -l words\n"
             "        for w in (commandline -opc)[2..]\n"
             "                string match -q -- '-*' $w; or set words $words $w\n"
             "        end\n"
             "        test \"$words\" = \"$argv\"\n"
             "end\n"
             "complete -c prvng -f");
        for (const struct group *g = groups; g->word; g++) {
                printf("complete -c prvng -n '__prvng_exactly' -a %s -d ", g->word);
                quoted(g->summary);
                putchar('\n');
        }
        for (const struct command *c = commands; c->words; c++) {
                char condition[128];
                const char *group_end = strchr(c->words, ' ');

                printf("complete -c prvng -n '__prvng_exactly %.*s' -a %s -d ",
                       (int)(group_end - c->words), c->words, second_word(c));
                quoted(c->summary);
                putchar('\n');
                snprintf(condition, sizeof(condition), "__prvng_words %s", c->words);
                if (wants_file(c->args))
                        printf("complete -c prvng -n '%s' -F\n", condition);
                fish_options(condition, c->options);
        }
        fish_options("true", global_options);
        return 0;
}

int main(int argc, char **argv)
{
        if (argc == 3 && streq(argv[1], "man"))
                return page_all(argv[2]);
        if (argc == 2 && streq(argv[1], "bash"))
                return bash();
        if (argc == 2 && streq(argv[1], "zsh"))
                return zsh();
        if (argc == 2 && streq(argv[1], "fish"))
                return fish();
        fputs("Usage: prvng-pages man FOLDER | bash | zsh | fish\n", stderr);
        return 2;
}
