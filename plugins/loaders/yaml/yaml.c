/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loader for YAML: libyaml's events, kept in one array so that aliases can be played again.
 *
 * Plain scalars are read as people expect them today (the core schema of YAML 1.2): true and false are
 * booleans; yes, no, on and off are texts. Merge keys (<<) are understood. Against "billion laughs" the
 * events that aliases repeat are counted and limited; the builder limits the depth.
 */
#include "reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define VERSION "1.0.0"
#define SIZE_LIMIT (64u << 20)   /* of a file; libyaml needs about ten times that */
#define SNIPPET_MAX 120

PRVNG_PLUGIN_NOTE("loader", "org.prvng.loader.yaml", "yaml", VERSION, "[\"" PRVNG_HOST_DOCUMENT "\"]",
                  "none");

static const struct prvng_host *host;

static int32_t fail(struct prvng_call *call, int32_t error_class, int status, const char *message)
{
        struct prvng_error error = { .struct_size = sizeof(error), .error_class = error_class,
                                     .retry_after_ms = -1, .effect = PRVNG_EFFECT_NONE,
                                     .status = status, .message = message };

        host->error(call, &error);
        return error_class;
}

struct prvng_position yaml_position(const struct reader *r, yaml_mark_t mark)
{
        struct prvng_position at = { .line = (uint32_t)mark.line + 1,
                                     .column = (uint32_t)mark.column + 1 };
        size_t i;

        if (!r->lines || mark.line >= r->n_lines)
                return at;
        i = r->lines[mark.line];
        for (size_t column = 0; column < mark.column && i < r->n; column++)
                do
                        i++;
                while (i < r->n && (r->text[i] & 0xc0) == 0x80);
        at.column = (uint32_t)(i - r->lines[mark.line]) + 1;
        return at;
}

static int find_lines(struct reader *r)
{
        size_t n = 1;

        for (size_t i = 0;; i++) {
                if (i == r->n)
                        return 0;
                if (r->text[i] & 0x80)
                        break;
        }
        for (size_t i = 0; i < r->n; i++)
                n += r->text[i] == '\n';
        r->lines = malloc(n * sizeof(*r->lines));
        if (!r->lines)
                return -ENOMEM;
        r->lines[0] = r->n >= 3 && memcmp(r->text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
        r->n_lines = 1;
        for (size_t i = 0; i < r->n; i++)
                if (r->text[i] == '\n')
                        r->lines[r->n_lines++] = i + 1;
        return 0;
}

int32_t yaml_problem(struct reader *r, yaml_mark_t mark, const char *message)
{
        struct prvng_position at = yaml_position(r, mark);

        r->table->problem(r->document, &at, message, NULL);
        return PRVNG_PERMANENT;
}

static int32_t out_of_memory(struct reader *r)
{
        static const struct prvng_position nowhere = { 0 };

        r->table->problem(r->document, &nowhere, "out of memory while the YAML was read", NULL);
        return PRVNG_TRANSIENT;
}

/* --- reading: from the text to the array --- */

static void report_syntax(struct reader *r)
{
        const yaml_parser_t *p = &r->parser;
        struct prvng_position at = yaml_position(r, p->problem_mark);
        char message[512], snippet[SNIPPET_MAX + 8];
        size_t from = p->problem_mark.index > r->n ? r->n : p->problem_mark.index, to;

        if (p->error == YAML_READER_ERROR) { /* has an offset in bytes instead of a mark */
                from = p->problem_offset < r->n ? p->problem_offset : r->n;
                at = (struct prvng_position){ .line = 1 };
                for (size_t i = 0, start = 0; i <= from; i++) {
                        at.column = (uint32_t)(i - start) + 1;
                        if (i < from && r->text[i] == '\n') {
                                at.line++;
                                start = i + 1;
                        }
                }
        }
        if (p->context)
                snprintf(message, sizeof(message), "this is no valid YAML: %s %s (the latter began in line "
                         "%zu)", p->problem ? p->problem : "unreadable", p->context,
                         p->context_mark.line + 1);
        else
                snprintf(message, sizeof(message), "this is no valid YAML: %s",
                         p->problem ? p->problem : "unreadable");
        while (from > 0 && r->text[from - 1] != '\n' && (!r->lines || from > r->lines[0]))
                from--;
        for (to = from; to < r->n && r->text[to] != '\n' && to - from < SNIPPET_MAX;)
                to++;
        snprintf(snippet, sizeof(snippet), "    %.*s", (int)(to - from), (const char *)r->text + from);
        r->table->problem(r->document, &at, message, r->lines ? NULL : snippet);
}

static const char *anchor_of(const yaml_event_t *e)
{
        if (e->type == YAML_SCALAR_EVENT)
                return (const char *)e->data.scalar.anchor;
        if (e->type == YAML_SEQUENCE_START_EVENT)
                return (const char *)e->data.sequence_start.anchor;
        if (e->type == YAML_MAPPING_START_EVENT)
                return (const char *)e->data.mapping_start.anchor;
        return NULL;
}

static int32_t add_anchor(struct reader *r, const char *name, size_t event)
{
        if (r->n_anchors == r->cap_anchors) {
                size_t cap = r->cap_anchors ? r->cap_anchors * 2 : 16;
                struct anchor *anchors = realloc(r->anchors, cap * sizeof(*anchors));

                if (!anchors)
                        return out_of_memory(r);
                r->anchors = anchors;
                r->cap_anchors = cap;
        }
        r->anchors[r->n_anchors++] = (struct anchor){ name, event };
        return 0;
}

/* The last anchor of that name counts. Many aliases to many anchors would cost a square: limited. */
static int32_t resolve_alias(struct reader *r, struct event *e)
{
        const char *name = (const char *)e->yaml.data.alias.anchor;
        char message[160];

        if (r->n_anchors > 1000)
                return yaml_problem(r, e->yaml.start_mark, "more than 1000 anchors together with aliases are "
                               "not accepted");
        for (size_t i = r->n_anchors; i-- > 0;) {
                if (strcmp(r->anchors[i].name, name) != 0)
                        continue;
                e->other = r->anchors[i].event;
                for (size_t k = 0; k < r->n_open; k++)
                        if (r->open[k] == e->other)
                                return yaml_problem(r, e->yaml.start_mark,
                                               "this alias stands inside of what it stands for");
                return 0;
        }
        snprintf(message, sizeof(message), "there is no anchor \"&%.80s\" before this alias", name);
        return yaml_problem(r, e->yaml.start_mark, message);
}

static int32_t note_structure(struct reader *r, size_t number)
{
        struct event *e = &r->events[number];
        const char *anchor = anchor_of(&e->yaml);
        int32_t answer = anchor ? add_anchor(r, anchor, number) : 0;

        if (answer < 0)
                return answer;
        switch ((int)e->yaml.type) {
        case YAML_SEQUENCE_START_EVENT:
        case YAML_MAPPING_START_EVENT:
                if (r->n_open == DEPTH_LIMIT)
                        return yaml_problem(r, e->yaml.start_mark,
                                       "maps and lists are nested too deeply; at most 64 levels are "
                                       "accepted");
                r->open[r->n_open++] = number;
                break;
        case YAML_SEQUENCE_END_EVENT:
        case YAML_MAPPING_END_EVENT:
                r->events[r->open[--r->n_open]].other = number;
                break;
        case YAML_ALIAS_EVENT:
                return resolve_alias(r, e);
        default:
                break;
        }
        return 0;
}

static int32_t read_events(struct reader *r)
{
        bool one = false;

        for (;;) {
                struct event *e;
                int32_t answer;
                int type;

                if (r->n_events == r->cap_events) {
                        size_t cap = r->cap_events ? r->cap_events * 2 : 256;

                        e = realloc(r->events, cap * sizeof(*e));
                        if (!e)
                                return out_of_memory(r);
                        r->events = e;
                        r->cap_events = cap;
                }
                e = &r->events[r->n_events];
                if (!yaml_parser_parse(&r->parser, &e->yaml)) {
                        if (r->parser.error == YAML_MEMORY_ERROR)
                                return out_of_memory(r);
                        report_syntax(r);
                        return PRVNG_PERMANENT;
                }
                type = e->yaml.type;
                if (type == YAML_DOCUMENT_START_EVENT && one) {
                        answer = yaml_problem(r, e->yaml.start_mark, "a second document begins here; one "
                                         "document per file is accepted");
                        yaml_event_delete(&e->yaml);
                        return answer;
                }
                one = one || type == YAML_DOCUMENT_START_EVENT;
                if (type == YAML_STREAM_END_EVENT)
                        return 0;
                if (type < YAML_ALIAS_EVENT) {
                        yaml_event_delete(&e->yaml);
                        continue;
                }
                r->n_events++;
                answer = note_structure(r, r->n_events - 1);
                if (answer < 0)
                        return answer;
        }
}

static int32_t load_text(struct prvng_call *call, struct reader *r)
{
        int32_t answer;

        if (r->n > SIZE_LIMIT)
                return fail(call, PRVNG_PERMANENT, EFBIG,
                            "the YAML is larger than 64 MiB; write large definitions as JSON");
        if (find_lines(r) < 0 || !yaml_parser_initialize(&r->parser))
                return fail(call, PRVNG_TRANSIENT, ENOMEM, "out of memory");
        yaml_parser_set_input_string(&r->parser, r->text, r->n);
        answer = read_events(r);
        if (answer == 0 && r->n_events == 0)
                answer = yaml_problem(r, (yaml_mark_t){ 0 }, "the file is empty; expected a map");
        if (answer == 0)
                answer = yaml_emit(r, 0);
        for (size_t i = 0; i < r->n_events; i++)
                yaml_event_delete(&r->events[i].yaml);
        free(r->events);
        free(r->anchors);
        yaml_parser_delete(&r->parser);
        return answer;
}

static int read_file(const char *path, unsigned char **ret_text, size_t *ret_n)
{
        unsigned char *text = NULL;
        size_t n = 0, cap = 0;
        int error = 0, fd;

        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        for (;;) {
                ssize_t got;

                if (n == cap) {
                        unsigned char *more = realloc(text, cap = cap ? cap * 2 : 65536);

                        if (!more) {
                                error = -ENOMEM;
                                break;
                        }
                        text = more;
                }
                got = read(fd, text + n, cap - n);
                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0)
                        error = -errno;
                if (got <= 0)
                        break;
                n += (size_t)got;
                if (n > SIZE_LIMIT)
                        break; /* load_text says so */
        }
        close(fd);
        if (error) {
                free(text);
                return error;
        }
        *ret_text = text;
        *ret_n = n;
        return 0;
}

static int32_t yaml_load(void *instance, struct prvng_call *call,
                         const struct prvng_loader_source *source, struct prvng_document *document)
{
        struct reader r = { .document = document };
        unsigned char *text = NULL;
        char message[512];
        int32_t answer;
        int error;

        r.table = host->get_interface(host, PRVNG_HOST_DOCUMENT);
        if (!r.table)
                return fail(call, PRVNG_UNSUPPORTED, 0, "this core has no " PRVNG_HOST_DOCUMENT);
        if (source->data) {
                r.text = source->data;
                r.n = source->n_data;
        } else {
                error = read_file(source->path ? source->path : "", &text, &r.n);
                if (error < 0) {
                        snprintf(message, sizeof(message), "%s cannot be read: %s", source->path,
                                 strerror(-error));
                        return fail(call, error == -ENOMEM ? PRVNG_TRANSIENT : PRVNG_PERMANENT, -error,
                                    message);
                }
                r.text = text;
        }
        answer = load_text(call, &r);
        free(r.lines);
        free(text);
        return answer;
}

static const struct prvng_loader loader = {
        .struct_size = sizeof(loader),
        .extensions = "yaml yml",
        .load = yaml_load,
};

static int32_t create(const struct prvng_host *h, const void *config, uint64_t n_config,
                      void **ret_instance)
{
        static char instance; /* no state: any number of loads at once */

        *ret_instance = &instance;
        return PRVNG_DONE;
}

static void destroy(void *instance)
{
}

static const void *get_interface(void *instance, const char *id)
{
        return strcmp(id, PRVNG_LOADER) == 0 ? &loader : NULL;
}

static const struct prvng_plugin plugin = {
        .struct_size = sizeof(plugin),
        .abi_minor = PRVNG_ABI_MINOR,
        .id = "org.prvng.loader.yaml",
        .name = "yaml",
        .kind = "loader",
        .version = VERSION,
        .description = "Reads workflow definitions written in YAML",
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
