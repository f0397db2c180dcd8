/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loader for KCL: evaluates the file with the real KCL in a sandboxed child, and emits the result
 * with the places where the file writes each value.
 *
 * KCL is not sandboxed by itself: its `file` module reads, writes and deletes. The child
 * (prvng-sandbox) sees the user's package, our schemas and KCL, writes one temporary folder and reaches
 * no network. Results come back as files in that folder, never through stdout, where print() writes.
 *
 * What evaluates, the first that is there:
 *      1. `kcl_command` in the site's sources: speaks KCL's own command line (kcl run ...)
 *      2. our helper prvng-kcl.py, which uses kcl_lib, run by $PRVNG_KCL_PYTHON, by `kcl_python` in the
 *         site's sources, by kcl-venv/bin/python3 in the folder of helpers, or by python3
 *      3. `kcl` on the PATH
 */
#include "kcl.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define VERSION "1.0.0"
#define TIMEOUT_MS 65000
#define OUTPUT_MAX (256L << 20)
#define EXIT_NO_KCL 3
#define EXIT_TIMEOUT 124
#define EXIT_SANDBOX 125

/* A definition may import files from anywhere; they are evaluated by prvng-sandbox, which reads what it is
 * given only. */
PRVNG_PLUGIN_NOTE_WITH("loader", "org.prvng.loader.kcl", "kcl", VERSION,
                       "[\"" PRVNG_HOST_DOCUMENT "\",\"" PRVNG_HOST_SPAWN "\"]", "none",
                       "{\"programs\":[\"prvng-sandbox\"],\"paths\":{\"read\":[\"/\"],\"write\":[\"/tmp\"]},"
                       "\"environment\":[\"PATH\",\"PRVNG_KCL_PYTHON\",\"PRVNG_SCHEMA_PATH\"]}");

static const struct prvng_host *host;

static int32_t fail(struct prvng_call *call, int32_t error_class, int status, const char *format, ...)
        __attribute__((format(printf, 4, 5)));

static int32_t fail(struct prvng_call *call, int32_t error_class, int status, const char *format, ...)
{
        char message[2048];
        struct prvng_error error = { .struct_size = sizeof(error), .error_class = error_class,
                                     .retry_after_ms = -1, .effect = PRVNG_EFFECT_NONE,
                                     .status = status, .message = message };
        va_list ap;

        va_start(ap, format);
        vsnprintf(message, sizeof(message), format, ap);
        va_end(ap);
        host->error(call, &error);
        return error_class;
}

static int32_t no_kcl(struct load *l, const char *why)
{
        return fail(l->call, PRVNG_UNSUPPORTED, 0,
                    "KCL is not installed here%s%s. Install it with `python3 -m venv %s/kcl-venv && "
                    "%s/kcl-venv/bin/pip install kcl-lib`, or name another Python that has kcl_lib in "
                    "PRVNG_KCL_PYTHON or a KCL command in sources.kcl_command of the site's "
                    "configuration; or submit the workflow as YAML or JSON.",
                    why ? ": " : "", why ? why : "", l->libexec, l->libexec);
}

/* --- running it --- */

/* The whole file with a NUL behind it; NULL if there is none. The caller frees. */
static char *read_all(const struct load *l, const char *name, size_t *ret_n)
{
        char path[PATH_MAX];
        struct stat st;
        char *text = NULL;
        FILE *f;

        if ((size_t)snprintf(path, sizeof(path), "%s/%s", l->out, name) >= sizeof(path))
                return NULL;
        f = fopen(path, "re");
        if (!f)
                return NULL;
        if (fstat(fileno(f), &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= OUTPUT_MAX)
                text = malloc((size_t)st.st_size + 1);
        if (text) {
                *ret_n = fread(text, 1, (size_t)st.st_size, f);
                text[*ret_n] = 0;
        }
        fclose(f);
        return text;
}

static int32_t run(struct load *l, int32_t *ret_exit_code)
{
        struct prvng_spawn spawn = { .struct_size = sizeof(spawn), .argv = l->argv,
                                     .timeout_ms = TIMEOUT_MS };
        char errors[PATH_MAX];

        if (l->failed)
                return fail(l->call, PRVNG_PERMANENT, E2BIG, "too many arguments (-D) for KCL");
        if ((size_t)snprintf(errors, sizeof(errors), "%s/errors.txt", l->out) < sizeof(errors))
                unlink(errors);
        return l->spawn->run(l->call, &spawn, NULL, NULL, ret_exit_code);
}

/* Tries in the order at the top; *ret_exit_code is that of what ran. */
static int32_t evaluate(struct load *l, int32_t *ret_exit_code)
{
        json_t *command =
                json_object_get(json_object_get(l->instance->config, "sources"), "kcl_command");
        char program[PATH_MAX] = "", why[512];
        bool chosen = false;
        int32_t r;

        if (command && !json_is_null(command)) {
                kcl_command_configured(l, command);
                return run(l, ret_exit_code);
        }
        if (kcl_find_python(l, program, &chosen)) {
                kcl_command_helper(l, program);
                r = run(l, ret_exit_code);
                if (r < 0 || *ret_exit_code != EXIT_NO_KCL)
                        return r;
        }
        if (chosen) {
                snprintf(why, sizeof(why), "%.400s has no kcl_lib, or is not there", program);
                return no_kcl(l, why);
        }
        if (!kcl_find_on_path("kcl", program))
                return no_kcl(l, NULL);
        kcl_command_kcl(l, program);
        return run(l, ret_exit_code);
}

/* --- the result --- */

/* `places` is [line, column, key's line, key's column, children], or NULL where the file does not write
 * the value: then it has the place of what it is in. */
static struct prvng_position place_of(const json_t *places, size_t from, struct prvng_position outer)
{
        struct prvng_position at = outer;

        if (places) {
                at.line = (uint32_t)json_integer_value(json_array_get(places, from));
                at.column = (uint32_t)json_integer_value(json_array_get(places, from + 1));
        }
        return at;
}

static int32_t emit(struct load *l, const json_t *value, const json_t *places,
                    struct prvng_position outer)
{
        struct prvng_position at = place_of(places, 0, outer), key_at;
        const json_t *inner = json_array_get(places, 4), *child_places;
        int32_t r = 0;
        const char *key;
        json_t *child;
        size_t i;

        switch (json_typeof(value)) {
        case JSON_OBJECT:
                r = l->table->map_begin(l->document, &at);
                json_object_foreach ((json_t *)(uintptr_t)value, key, child) {
                        if (r < 0)
                                return r;
                        child_places = json_object_get(inner, key);
                        key_at = place_of(child_places, 2, at);
                        r = l->table->key(l->document, key, strlen(key), &key_at);
                        if (r == 0)
                                r = emit(l, child, child_places, at);
                }
                return r < 0 ? r : l->table->end(l->document, &at);
        case JSON_ARRAY:
                r = l->table->list_begin(l->document, &at);
                json_array_foreach (value, i, child) {
                        if (r < 0)
                                return r;
                        r = emit(l, child, json_array_get(inner, i), at);
                }
                return r < 0 ? r : l->table->end(l->document, &at);
        case JSON_STRING:
                return l->table->string(l->document, json_string_value(value),
                                        json_string_length(value), &at);
        case JSON_INTEGER:
                return l->table->integer(l->document, json_integer_value(value), &at);
        case JSON_REAL:
                return l->table->real(l->document, json_real_value(value), &at);
        case JSON_TRUE:
        case JSON_FALSE:
                return l->table->boolean(l->document, json_is_true(value), &at);
        case JSON_NULL:
                return l->table->null(l->document, &at);
        }
        return PRVNG_INTERNAL;
}

static int32_t emit_result(struct load *l)
{
        struct prvng_position start = { .line = 1, .column = 1 };
        json_t *value, *places = NULL;
        json_error_t error;
        size_t n;
        char *text;
        int32_t r;

        text = read_all(l, "result.json", &n);
        if (!text)
                return fail(l->call, PRVNG_PERMANENT, 0, "KCL gave no result");
        value = json_loadb(text, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
        free(text);
        if (!value) {
                l->table->problem(l->document, &start, n ? "this file evaluates to several documents or to "
                                  "none; expected one map" : "this file evaluates to nothing", NULL);
                return PRVNG_PERMANENT;
        }
        text = read_all(l, "positions.json", &n);
        if (text)
                places = json_loadb(text, n, 0, &error);
        free(text);
        r = emit(l, value, places, start);
        json_decref(places);
        json_decref(value);
        return r;
}

static int32_t report(struct load *l, int32_t exit_code, const char *errors)
{
        struct prvng_position start = { .line = 1, .column = 1 };
        struct kcl_names names = { .entry = l->entry, .view = l->viewed ? l->view : NULL,
                                   .root = l->root };

        if (exit_code == EXIT_TIMEOUT) {
                l->table->problem(l->document, &start, "the evaluation was ended after " SECONDS " s; is "
                                  "there an endless loop or recursion?", NULL);
                return PRVNG_PERMANENT;
        }
        if (exit_code == EXIT_SANDBOX)
                return fail(l->call, PRVNG_UNSUPPORTED, 0, "KCL cannot be run here: %.1000s", errors);
        if (exit_code == 126 || exit_code == 127) /* no program, or one that cannot run in the sandbox */
                return no_kcl(l, *errors ? errors : "its program cannot be started");
        if (kcl_report(l->table, l->document, errors, &names) == 0)
                return fail(l->call, PRVNG_PERMANENT, 0, "KCL failed with exit code %d: %.1500s",
                            exit_code, *errors ? errors : "(it said nothing)");
        return PRVNG_PERMANENT;
}

static int32_t evaluate_and_emit(struct load *l)
{
        int32_t exit_code = 0, r;
        const char *end;
        char *errors;
        size_t n;

        r = evaluate(l, &exit_code);
        if (r < 0)
                return r;
        errors = read_all(l, "errors.txt", &n);
        if (errors && strncmp(errors, "prvng-sandbox: warning:", 23) == 0) {
                end = strchr(errors, '\n');
                if (end)
                        errors[end - errors] = 0;
                host->log(host, PRVNG_LOG_WARN, "kcl", errors);
                if (end)
                        memmove(errors, end + 1, strlen(end + 1) + 1);
        }
        r = exit_code == 0 ? emit_result(l) : report(l, exit_code, errors ? errors : "");
        free(errors);
        return r;
}

/* --- preparing --- */

static bool has_sandbox(const char *libexec)
{
        char path[PATH_MAX];

        return (size_t)snprintf(path, sizeof(path), "%s/prvng-sandbox", libexec) < sizeof(path) &&
               access(path, X_OK) == 0;
}

/* $PRVNG_LIBEXEC_PATH, the configuration's `libexec`, or where packages put it. */
static int32_t find_folders(struct load *l)
{
        const char *places[] = { getenv("PRVNG_LIBEXEC_PATH"),
                                 json_string_value(json_object_get(l->instance->config, "libexec")),
                                 "/usr/libexec/prvng", "/usr/local/libexec/prvng" };
        const char *schemas = json_string_value(json_object_get(l->arguments, "schemas"));

        for (size_t i = 0; i < sizeof(places) / sizeof(places[0]) && !l->libexec[0]; i++)
                if (places[i] && has_sandbox(places[i]) && !realpath(places[i], l->libexec))
                        l->libexec[0] = 0;
        if (!l->libexec[0])
                return fail(l->call, PRVNG_UNSUPPORTED, 0,
                            "prvng-sandbox, which KCL runs in, was not found in %s; install the loader "
                            "again, or name its folder in PRVNG_LIBEXEC_PATH",
                            places[0] ? places[0] : places[1] ? places[1] : places[2]);
        if (!schemas)
                schemas = getenv("PRVNG_SCHEMA_PATH");
        if (!schemas)
                schemas = "/usr/share/prvng/kcl";
        if (!realpath(schemas, l->schemas))
                return fail(l->call, PRVNG_UNSUPPORTED, errno,
                            "the KCL schemas were not found in %s; install prvng again, or name their "
                            "folder in PRVNG_SCHEMA_PATH", schemas);
        return 0;
}

static int32_t make_folders(struct load *l)
{
        const char *temporary = getenv("TMPDIR");
        char folder[PATH_MAX - 64];

        if (!temporary || temporary[0] != '/' || strlen(temporary) > 512)
                temporary = "/tmp";
        snprintf(folder, sizeof(folder), "%s/prvng-kcl-XXXXXX", temporary);
        if (!mkdtemp(folder))
                return fail(l->call, PRVNG_TRANSIENT, errno, "no folder can be made in %s: %s", temporary,
                            strerror(errno));
        snprintf(l->folder, sizeof(l->folder), "%s", folder);
        snprintf(l->view, sizeof(l->view), "%s/view", folder);
        snprintf(l->out, sizeof(l->out), "%s/out", folder);
        if (mkdir(l->view, 0700) < 0 || mkdir(l->out, 0700) < 0)
                return fail(l->call, PRVNG_TRANSIENT, errno, "no folder can be made in %s: %s", folder,
                            strerror(errno));
        return 0;
}

static int32_t write_input(struct load *l, const struct prvng_loader_source *source)
{
        FILE *f;
        bool ok;

        snprintf(l->path, sizeof(l->path), "%.4000s/input.k", l->view);
        f = fopen(l->path, "we");
        ok = f && fwrite(source->data, 1, source->n_data, f) == source->n_data;
        if (f && fclose(f) != 0)
                ok = false;
        return ok ? 0 : fail(l->call, PRVNG_TRANSIENT, errno, "%s cannot be written", l->path);
}

static int32_t prepare(struct load *l, const struct prvng_loader_source *source)
{
        int32_t r = find_folders(l);
        int error;

        if (r == 0)
                r = make_folders(l);
        if (r < 0)
                return r;
        if (source->data) {
                r = write_input(l, source);
                if (r < 0)
                        return r;
                snprintf(l->root, sizeof(l->root), "%s", l->view);
        } else {
                if (!source->path || !realpath(source->path, l->path))
                        return fail(l->call, PRVNG_PERMANENT, errno, "%s cannot be read: %s",
                                    source->path ? source->path : "the file", strerror(errno));
                kcl_root(l->path, l->root, sizeof(l->root));
        }
        snprintf(l->entry, sizeof(l->entry), "%s", l->path);
        if (strcmp(l->root, l->schemas) == 0 || !kcl_hides_schemas(l->root))
                return 0;
        error = kcl_make_view(l->root, l->path, l->view);
        if (error < 0)
                return fail(l->call, PRVNG_PERMANENT, -error, "the KCL files of %s cannot be copied: %s",
                            l->root, error == -E2BIG ? "it holds too many files; give the definition a "
                            "folder of its own" : strerror(-error));
        /* The entry keeps its folder below the root and changes its name. */
        snprintf(l->entry, sizeof(l->entry), "%.2000s%.*s/prvng-entry.k", l->view,
                 (int)(strrchr(l->path, '/') - l->path - (ptrdiff_t)strlen(l->root)),
                 l->path + strlen(l->root));
        l->viewed = true;
        return 0;
}

static int32_t kcl_load(void *instance, struct prvng_call *call,
                        const struct prvng_loader_source *source, struct prvng_document *document)
{
        struct load *l = calloc(1, sizeof(*l));
        int32_t r;

        if (!l)
                return fail(call, PRVNG_TRANSIENT, ENOMEM, "out of memory");
        l->call = call;
        l->instance = instance;
        l->document = document;
        l->table = host->get_interface(host, PRVNG_HOST_DOCUMENT);
        l->spawn = host->get_interface(host, PRVNG_HOST_SPAWN);
        if (l->table && l->spawn) {
                l->arguments = json_loads(source->arguments ? source->arguments : "{}", 0, NULL);
                r = prepare(l, source);
                if (r == 0)
                        r = evaluate_and_emit(l);
        } else {
                r = fail(call, PRVNG_UNSUPPORTED, 0, "this core has no " PRVNG_HOST_SPAWN);
        }
        if (l->folder[0])
                kcl_remove(l->folder);
        kcl_command_clear(l);
        json_decref(l->arguments);
        free(l);
        return r;
}

static const struct prvng_loader loader = {
        .struct_size = sizeof(loader),
        .extensions = "k",
        .load = kcl_load,
};

static int32_t create(const struct prvng_host *h, const void *config, uint64_t n_config,
                      void **ret_instance)
{
        struct instance *i = calloc(1, sizeof(*i));
        json_error_t error;

        if (!i)
                return PRVNG_TRANSIENT;
        i->config = json_loadb(config, n_config, 0, &error);
        if (!json_is_object(i->config)) {
                json_decref(i->config);
                free(i);
                h->log(h, PRVNG_LOG_ERROR, "kcl", "the configuration is no JSON object");
                return PRVNG_PERMANENT;
        }
        *ret_instance = i;
        return PRVNG_DONE;
}

static void destroy(void *instance)
{
        struct instance *i = instance;

        if (!i)
                return;
        json_decref(i->config);
        free(i);
}

static const void *get_interface(void *instance, const char *id)
{
        return strcmp(id, PRVNG_LOADER) == 0 ? &loader : NULL;
}

static const struct prvng_plugin plugin = {
        .struct_size = sizeof(plugin),
        .abi_minor = PRVNG_ABI_MINOR,
        .id = "org.prvng.loader.kcl",
        .name = "kcl",
        .kind = "loader",
        .version = VERSION,
        .description = "Evaluates workflow definitions written in KCL",
        .licence = "Apache-2.0",
        .threads = PRVNG_THREADS_PARALLEL,
        .create = create,
        .destroy = destroy,
        .get_interface = get_interface,
};

int32_t prvng_plugin_v1(const struct prvng_host *h, const struct prvng_plugin **ret_plugin)
{
        host = h;
        *ret_plugin = &plugin;
        return PRVNG_DONE;
}
