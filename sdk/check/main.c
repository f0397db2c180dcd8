/* SPDX-License-Identifier: Apache-2.0 */
/* prvng-plugin-check FILE.so: arguments, choice of tests, results. */
#include "check.h"

#include "plugin/note.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <getopt.h>
#include <limits.h>
#include <sys/random.h>
#include <sys/stat.h>

enum { EXIT_PASSED, EXIT_FAILED, EXIT_USAGE, EXIT_UNUSABLE = 7 };

static const char help[] =
        "Usage: prvng-plugin-check [OPTION...] FILE.so\n"
        "\n"
        "Checks whether a plugin keeps the contract of prvng-plugin(7). Each test runs in a process of its\n"
        "own, in a sandbox, with a limit of time.\n"
        "\n"
        "  --scenario FILE   how this plugin is tried out: configuration, the fake it talks to, tasks;\n"
        "                    see prvng-plugin-check(1). Without it only what needs none is tested\n"
        "  --config JSON     configuration handed to the plugin, instead of the scenario's\n"
        "  --word NAME=VALUE stands for @NAME@ in the scenario\n"
        "  --previous FILE   the plugin's previous release: its tokens must be accepted\n"
        "  --only NAME,...   only these tests; * and ? stand for anything\n"
        "  --without NAME,.. not these\n"
        "  --list            the tests that there are for this plugin (without FILE: all)\n"
        "  --format FORMAT   text (default), json or junit\n"
        "  --output FILE     where to, instead of stdout\n"
        "  --seed N          of what is random; a failure names it\n"
        "  --slow N          limits of time are N times as long\n"
        "  --libexec FOLDER  helper programs of plugins, if they are not where they are installed\n"
        "  --help, --version\n"
        "\n"
        "Exit code: 0 all passed or were skipped, 1 some failed, 2 wrong usage, 7 it could not be checked.\n";

struct arguments {
        struct options options;
        const char *only, *without, *format, *output;
        bool list;
};

/* Choice of tests */

static bool matches(const char *list, const char *name)
{
        while (list && *list) {
                size_t n = strcspn(list, ",");
                char pattern[256];

                snprintf(pattern, sizeof(pattern), "%.*s", (int)MIN(n, sizeof(pattern) - 1), list);
                if (fnmatch(pattern, name, 0) == 0)
                        return true;
                list += n + (list[n] == ',');
        }
        return false;
}

static bool has_word(const char *words, const char *word)
{
        size_t n = strlen(word);

        for (const char *w = words; (w = strstr(w, word)); w += n)
                if ((w == words || w[-1] == ' ') && (!w[n] || w[n] == ' '))
                        return true;
        return false;
}

struct choice {
        const struct arguments *a;
        const char *kind; /* NULL: any */
        struct result *results;
        size_t n;
        bool color;
        FILE *f;
        int error;
};

static bool is_chosen(const struct choice *c, const struct test *t)
{
        if (c->kind && t->kinds && !has_word(t->kinds, c->kind))
                return false;
        if (matches(c->a->without, t->name))
                return false;
        return !c->a->only || matches(c->a->only, t->name);
}

static bool print_one(const struct test *t, void *userdata)
{
        struct choice *c = userdata;

        if (!is_chosen(c, t))
                return true;
        fprintf(c->f, "%-28s %s%s%s%s\n", t->name, t->title, t->kinds && !c->kind ? " (" : "",
                t->kinds && !c->kind ? t->kinds : "", t->kinds && !c->kind ? ")" : "");
        c->n++;
        return true;
}

static bool run_one(const struct test *t, void *userdata)
{
        struct choice *c = userdata;
        struct result *more, *r;

        if (!is_chosen(c, t))
                return true;
        more = realloc(c->results, (c->n + 1) * sizeof(*more));
        if (!more)
                return c->error = error_origin(-ENOMEM), false;
        c->results = more;
        r = &more[c->n++];
        if (t->flags & TEST_SCENARIO && !c->a->options.scenario) {
                *r = (struct result){.test = t, .outcome = SKIPPED, .failures = json_array(),
                                     .remarks = json_array(), .violations = json_array(),
                                     .reason = strdup("needs --scenario")};
        } else {
                c->error = run_test(&c->a->options, t, r);
        }
        if (c->error == 0 && streq(c->a->format, "text")) {
                report_text_one(c->f, r, c->color);
                fflush(c->f);
        }
        return c->error == 0;
}

/* Arguments */

static char *absolute(const char *path)
{
        char *full = realpath(path, NULL);

        if (!full)
                fprintf(stderr, "prvng-plugin-check: %s: %s\n", path, strerror(errno));
        return full;
}

static bool read_number(const char *text, const char *option, uint64_t max, uint64_t *ret)
{
        char *end;

        errno = 0;
        *ret = strtoull(text, &end, 0);
        if (!errno && end != text && !*end && *ret <= max && text[0] != '-')
                return true;
        fprintf(stderr, "prvng-plugin-check: %s takes a number, not \"%s\"\n", option, text);
        return false;
}

static bool take_path(char **ret, const char *path)
{
        free(*ret);
        return (*ret = absolute(path)) != NULL;
}

/* -1: go on; else the exit code. */
static int read_option(struct arguments *a, int option)
{
        struct options *o = &a->options;
        uint64_t n = 0;
        char *equals;

        switch (option) {
        case 's': return take_path(&o->scenario, optarg) ? -1 : EXIT_USAGE;
        case 'p': return take_path(&o->previous, optarg) ? -1 : EXIT_USAGE;
        case 'x': return take_path(&o->libexec, optarg) ? -1 : EXIT_USAGE;
        case 'W':
                equals = strchr(optarg, '=');
                if (!equals) {
                        fprintf(stderr, "prvng-plugin-check: --word takes NAME=VALUE, not \"%s\"\n", optarg);
                        return EXIT_USAGE;
                }
                *equals = 0;
                json_object_set_new(o->words, optarg, json_string(equals + 1));
                return -1;
        case 'c':
                free(o->config);
                o->config = strdup(optarg);
                return -1;
        case 'o': a->only = optarg; return -1;
        case 'w': a->without = optarg; return -1;
        case 'l': a->list = true; return -1;
        case 'O': a->output = optarg; return -1;
        case 'f':
                a->format = optarg;
                if (streq(optarg, "text") || streq(optarg, "json") || streq(optarg, "junit"))
                        return -1;
                fprintf(stderr, "prvng-plugin-check: --format is text, json or junit, not \"%s\"\n", optarg);
                return EXIT_USAGE;
        case 'S': return read_number(optarg, "--seed", INT64_MAX, &o->seed) ? -1 : EXIT_USAGE;
        case 'n':
                if (!read_number(optarg, "--slow", 1000, &n))
                        return EXIT_USAGE;
                o->slow = (unsigned int)MAX(n, UINT64_C(1));
                return -1;
        case 'h': fputs(help, stdout); return EXIT_PASSED;
        case 'V': puts("prvng-plugin-check " PRVNG_VERSION); return EXIT_PASSED;
        default: fputs("Try prvng-plugin-check --help\n", stderr); return EXIT_USAGE;
        }
}

static int read_arguments(struct arguments *a, int argc, char **argv)
{
        static const struct option known[] = {
                {"scenario", 1, NULL, 's'}, {"config", 1, NULL, 'c'},  {"previous", 1, NULL, 'p'},
                {"word", 1, NULL, 'W'},
                {"only", 1, NULL, 'o'},     {"without", 1, NULL, 'w'}, {"list", 0, NULL, 'l'},
                {"format", 1, NULL, 'f'},   {"output", 1, NULL, 'O'},  {"seed", 1, NULL, 'S'},
                {"slow", 1, NULL, 'n'},     {"libexec", 1, NULL, 'x'}, {"help", 0, NULL, 'h'},
                {"version", 0, NULL, 'V'},  {0}};
        int option, r;

        while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
                r = read_option(a, option);
                if (r >= 0)
                        return r;
        }
        if (optind + 1 == argc)
                return take_path(&a->options.plugin, argv[optind]) ? -1 : EXIT_USAGE;
        if (optind == argc && a->list)
                return -1;
        fprintf(stderr, "prvng-plugin-check: %s\n",
                optind == argc ? "which plugin? Name its file" : "one plugin at a time");
        return EXIT_USAGE;
}

/* What the file says of itself; NULL: a test will say why not. */
static json_t *read_note(const char *path)
{
        _cleanup_(cleanup_close) int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        _cleanup_(cleanup_free) char *reason = NULL;
        json_t *note = NULL;

        if (fd >= 0)
                note_read(fd, &note, &reason);
        return note;
}

static int report(const struct arguments *a, struct choice *c, json_t *note)
{
        struct report all = {.options = &a->options, .note = note, .results = c->results, .n = c->n};

        for (size_t i = 0; i < c->n; i++) {
                all.passed += c->results[i].outcome == PASSED;
                all.failed += c->results[i].outcome == FAILED;
                all.skipped += c->results[i].outcome == SKIPPED;
        }
        if (streq(a->format, "json"))
                report_json(c->f, &all);
        else if (streq(a->format, "junit"))
                report_junit(c->f, &all);
        else
                report_text_end(c->f, &all);
        if (fflush(c->f) != 0 || ferror(c->f)) {
                fprintf(stderr, "prvng-plugin-check: the results could not be written: %s\n", strerror(errno));
                return EXIT_UNUSABLE;
        }
        return all.failed ? EXIT_FAILED : EXIT_PASSED;
}

static int check(const struct arguments *a, FILE *f)
{
        json_t *note = read_note(a->options.plugin);
        struct choice c = {.a = a, .f = f, .color = isatty(fileno(f)) && !getenv("NO_COLOR"),
                           .kind = note ? json_get_string(note, "kind", "") : NULL};
        int code;

        if (a->list) {
                tests_visit(print_one, &c);
                json_decref(note);
                return EXIT_PASSED;
        }
        if (streq(a->format, "text"))
                fprintf(f, "%s: %s %s %s\n", a->options.plugin, note ? c.kind : "no plugin",
                        note ? json_get_string(note, "name", "") : "",
                        note ? json_get_string(note, "version", "") : "");
        tests_visit(run_one, &c);
        if (c.error) {
                fprintf(stderr, "prvng-plugin-check: no test can be run here: %s\n", strerror(-c.error));
                code = EXIT_UNUSABLE;
        } else if (c.n == 0) {
                fprintf(stderr, "prvng-plugin-check: no test is chosen; --list shows their names\n");
                code = EXIT_USAGE;
        } else {
                code = report(a, &c, note);
        }
        for (size_t i = 0; i < c.n; i++)
                result_deinit(&c.results[i]);
        free(c.results);
        json_decref(note);
        return code;
}

int main(int argc, char **argv)
{
        struct arguments a = {.format = "text", .options = {.slow = 1}};
        uint32_t seed;
        FILE *f = stdout;
        int code;

        if (argc == 3 && streq(argv[1], "--in-the-sandbox"))
                child_main(argv[2]);
        a.options.words = json_object();
        if (getrandom(&seed, sizeof(seed), 0) == sizeof(seed))
                a.options.seed = seed;
        code = read_arguments(&a, argc, argv);
        if (code >= 0)
                return code;
        if (a.output && !(f = fopen(a.output, "we"))) {
                fprintf(stderr, "prvng-plugin-check: %s: %s\n", a.output, strerror(errno));
                return EXIT_USAGE;
        }
        code = check(&a, f);
        if (f != stdout)
                fclose(f);
        free(a.options.plugin);
        free(a.options.scenario);
        free(a.options.previous);
        free(a.options.libexec);
        free(a.options.config);
        json_decref(a.options.words);
        return code;
}
