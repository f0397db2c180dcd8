/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of an evaluation: the sandbox, what it may read, and what evaluates. */
#include "kcl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void add(struct load *l, const char *word)
{
        if (l->n_argv + 1 >= ARGUMENTS_MAX)
                l->failed = true;
        else
                l->argv[l->n_argv++] = word;
}

static void add_format(struct load *l, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add_format(struct load *l, const char *format, ...)
{
        char *word = NULL;
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&word, format, ap) < 0)
                word = NULL;
        va_end(ap);
        if (!word || l->n_owned == ARGUMENTS_MAX) {
                free(word);
                l->failed = true;
                return;
        }
        l->owned[l->n_owned++] = word;
        add(l, word);
}

void kcl_command_clear(struct load *l)
{
        while (l->n_owned > 0)
                free(l->owned[--l->n_owned]);
        l->n_argv = 0;
}

/* Lets the child read a path, unless it is part of what every program reads. */
static void add_read(struct load *l, const char *path)
{
        char real[PATH_MAX];

        if (!realpath(path, real) || strncmp(real, "/usr/", 5) == 0 || strcmp(real, "/") == 0)
                return;
        add(l, "--read");
        add_format(l, "%s", real);
}

/* The folder of a program and, for /x/bin/python of a virtual environment, all of /x. */
static void add_program(struct load *l, const char *program)
{
        char folder[PATH_MAX], test[PATH_MAX + 16];
        char *slash;

        if (program[0] != '/')
                return;
        snprintf(folder, sizeof(folder), "%s", program);
        slash = strrchr(folder, '/');
        if (slash == folder)
                return;
        *slash = 0;
        slash = strrchr(folder, '/');
        if (slash && slash != folder && strcmp(slash, "/bin") == 0) {
                *slash = 0;
                snprintf(test, sizeof(test), "%s/lib", folder);
                if (access(test, F_OK) != 0)
                        *slash = '/';
        }
        add_read(l, folder);
}

/* The program and, if it is a link to elsewhere, that too. */
static void add_programs(struct load *l, const char *program)
{
        char real[PATH_MAX];

        add_program(l, program);
        if (realpath(program, real) && strcmp(real, program) != 0)
                add_program(l, real);
}

static void begin_command(struct load *l)
{
        kcl_command_clear(l);
        add_format(l, "%s/prvng-sandbox", l->libexec);
        add_read(l, l->viewed ? l->view : l->root[1] ? l->root : l->path);
        add_read(l, l->schemas);
        add_read(l, l->libexec);
}

static void end_command(struct load *l, bool helper)
{
        const char *key;
        json_t *value;

        add(l, "run");
        add(l, l->entry);
        add(l, "--format");
        add(l, "json");
        add(l, "--no_style");
        add(l, "-o");
        add_format(l, "%s/result.json", l->out);
        add(l, "-E");
        add_format(l, "workflows=%s", l->schemas);
        if (helper) {
                add(l, "--positions");
                add_format(l, "%s/positions.json", l->out);
        }
        json_object_foreach (json_object_get(l->arguments, "D"), key, value) {
                add(l, "-D");
                add_format(l, "%s=%s", key, json_is_string(value) ? json_string_value(value) : "");
        }
        l->argv[l->n_argv] = NULL;
}

static void add_sandbox_end(struct load *l)
{
        add(l, "--write");
        add(l, l->out);
        add(l, "--errors");
        add_format(l, "%s/errors.txt", l->out);
        add(l, "--seconds");
        add(l, SECONDS);
        add(l, "--");
}

/* `kcl_command`: a list of words, or one text of words between blanks. */
void kcl_command_configured(struct load *l, const json_t *command)
{
        const char *text = json_string_value(command);
        size_t i;
        json_t *word;

        begin_command(l);
        if (text) {
                json_t *list = json_array();

                while (*(text += strspn(text, " ")) && list) {
                        json_array_append_new(list, json_stringn(text, strcspn(text, " ")));
                        text += strcspn(text, " ");
                }
                kcl_command_configured(l, list);
                json_decref(list);
                return;
        }
        json_array_foreach (command, i, word)
                if (json_is_string(word))
                        add_programs(l, json_string_value(word));
        add_sandbox_end(l);
        json_array_foreach (command, i, word)
                add_format(l, "%s", json_is_string(word) ? json_string_value(word) : "");
        end_command(l, false);
}

void kcl_command_helper(struct load *l, const char *python)
{
        char helper[PATH_MAX + 16];

        begin_command(l);
        snprintf(helper, sizeof(helper), "%s/prvng-kcl.py", l->libexec);
        add_read(l, helper); /* may be a link to elsewhere, as in a build folder */
        add_programs(l, python);
        add_sandbox_end(l);
        add(l, python);
        add(l, "-I");
        add_format(l, "%s/prvng-kcl.py", l->libexec);
        end_command(l, true);
}

void kcl_command_kcl(struct load *l, const char *kcl)
{
        begin_command(l);
        add_programs(l, kcl);
        add_sandbox_end(l);
        add(l, kcl);
        end_command(l, false);
}

bool kcl_find_on_path(const char *name, char ret_path[PATH_MAX])
{
        const char *path = getenv("PATH");

        if (!path)
                path = "/usr/local/bin:/usr/bin:/bin";
        while (*path) {
                size_t n = strcspn(path, ":");

                if (snprintf(ret_path, PATH_MAX, "%.*s/%s", (int)n, path, name) < PATH_MAX &&
                    ret_path[0] == '/' && access(ret_path, X_OK) == 0)
                        return true;
                path += n + (path[n] == ':');
        }
        return false;
}

/* Which Python runs the helper; false if none was found. `ret_chosen`: by the user, so that nothing else
 * is tried. */
bool kcl_find_python(const struct load *l, char ret_python[PATH_MAX], bool *ret_chosen)
{
        const char *python = getenv("PRVNG_KCL_PYTHON");

        if (!python || !*python)
                python = json_string_value(json_object_get(
                        json_object_get(l->instance->config, "sources"), "kcl_python"));
        *ret_chosen = python != NULL;
        if (python) {
                if (python[0] != '/')
                        return kcl_find_on_path(python, ret_python);
                snprintf(ret_python, PATH_MAX, "%s", python);
                return access(python, X_OK) == 0;
        }
        if (snprintf(ret_python, PATH_MAX, "%s/kcl-venv/bin/python3", l->libexec) < PATH_MAX &&
            access(ret_python, X_OK) == 0)
                return true;
        return kcl_find_on_path("python3", ret_python);
}
