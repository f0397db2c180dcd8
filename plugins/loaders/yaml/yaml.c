/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loader for YAML: libyaml's events, kept in one array so that aliases can be played again.
 *
 * Plain scalars are read as people expect them today (the core schema of YAML 1.2): true and false are
 * booleans; yes, no, on and off are texts. Merge keys (<<) are understood. Against "billion laughs" the
 * events that aliases repeat are counted and limited; the builder limits the depth.
 */
#include <prvng/prvng.h>

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#define VERSION "1.0.0"
#define SIZE_LIMIT (64u << 20)   /* of a file; libyaml needs about ten times that */
#define REPEATED_LIMIT 1000000u  /* events that aliases may repeat */
#define COMPARED_LIMIT 50000000u /* events looked at for merge keys */
#define DEPTH_LIMIT 64           /* as the builder's */
#define SNIPPET_MAX 120

PRVNG_PLUGIN_NOTE("loader", "org.prvng.loader.yaml", "yaml", VERSION, "[\"" PRVNG_HOST_DOCUMENT "\"]",
                  "none");

static const struct prvng_host *host;

struct event {
        yaml_event_t yaml;
        size_t other; /* of a start: its end; of an alias: what it stands for */
};

struct anchor {
        const char *name; /* in its event */
        size_t event;
};

struct reader {
        const struct prvng_host_document *table;
        struct prvng_document *document;
        yaml_parser_t parser;
        const unsigned char *text;
        size_t n;
        size_t *lines; /* where each line starts; NULL if the text is ASCII */
        size_t n_lines;
        struct event *events;
        size_t n_events, cap_events;
        struct anchor *anchors;
        size_t n_anchors, cap_anchors;
        size_t open[DEPTH_LIMIT + 1]; /* starts that have not ended */
        size_t n_open;
        size_t n_repeated, n_compared;
        uint32_t n_merges; /* that we are inside of */
};

static int32_t fail(struct prvng_call *call, int32_t error_class, int status, const char *message)
{
        struct prvng_error error = { .struct_size = sizeof(error), .error_class = error_class,
                                     .retry_after_ms = -1, .effect = PRVNG_EFFECT_NONE,
                                     .status = status, .message = message };

        host->error(call, &error);
        return error_class;
}

/* libyaml counts characters, we count bytes. */
static struct prvng_position position(const struct reader *r, yaml_mark_t mark)
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

static int32_t problem(struct reader *r, yaml_mark_t mark, const char *message)
{
        struct prvng_position at = position(r, mark);

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
        struct prvng_position at = position(r, p->problem_mark);
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
                return problem(r, e->yaml.start_mark, "more than 1000 anchors together with aliases are "
                               "not accepted");
        for (size_t i = r->n_anchors; i-- > 0;) {
                if (strcmp(r->anchors[i].name, name) != 0)
                        continue;
                e->other = r->anchors[i].event;
                for (size_t k = 0; k < r->n_open; k++)
                        if (r->open[k] == e->other)
                                return problem(r, e->yaml.start_mark,
                                               "this alias stands inside of what it stands for");
                return 0;
        }
        snprintf(message, sizeof(message), "there is no anchor \"&%.80s\" before this alias", name);
        return problem(r, e->yaml.start_mark, message);
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
                        return problem(r, e->yaml.start_mark,
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
                        answer = problem(r, e->yaml.start_mark, "a second document begins here; one "
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

/* --- emitting: from the array to the builder --- */

static bool is_one_of(const char *s, const char *const *words)
{
        for (; *words; words++)
                if (strcmp(s, *words) == 0)
                        return true;
        return false;
}

#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* [-+]?[0-9]+, 0x..., 0o... of the core schema. */
static bool is_integer(const char *s)
{
        if (s[0] == '0' && (s[1] == 'x' || s[1] == 'o') && s[2])
                return s[2 + strspn(s + 2, s[1] == 'x' ? "0123456789abcdefABCDEF" : "01234567")] == 0;
        s += *s == '-' || *s == '+';
        return *s && s[strspn(s, "0123456789")] == 0;
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool is_real(const char *s)
{
        size_t whole, fraction = 0;

        s += *s == '-' || *s == '+';
        whole = strspn(s, "0123456789");
        s += whole;
        if (*s == '.') {
                s++;
                fraction = strspn(s, "0123456789");
                s += fraction;
        }
        if (!whole && !fraction)
                return false;
        if (*s == 'e' || *s == 'E') {
                s++;
                s += *s == '-' || *s == '+';
                if (!strspn(s, "0123456789"))
                        return false;
                s += strspn(s, "0123456789");
        }
        return *s == 0;
}

static int32_t emit_integer(struct reader *r, const yaml_event_t *e, const struct prvng_position *at)
{
        const char *s = (const char *)e->data.scalar.value;
        int base = s[0] == '0' && s[1] == 'x' ? 16 : s[0] == '0' && s[1] == 'o' ? 8 : 10;
        long long value;

        errno = 0;
        value = strtoll(base == 10 ? s : s + 2, NULL, base);
        if (errno == ERANGE)
                return problem(r, e->start_mark, "this number is too large; whole numbers from "
                               "-9223372036854775808 to 9223372036854775807 are accepted; if it is a "
                               "text, put it in quotes");
        return r->table->integer(r->document, value, at);
}

static int32_t emit_plain(struct reader *r, const yaml_event_t *e, const struct prvng_position *at)
{
        const char *s = (const char *)e->data.scalar.value;
        size_t n = e->data.scalar.length;

        if (n == 0 || is_one_of(s, WORDS("~", "null", "Null", "NULL")))
                return r->table->null(r->document, at);
        if (is_one_of(s, WORDS("true", "True", "TRUE")))
                return r->table->boolean(r->document, 1, at);
        if (is_one_of(s, WORDS("false", "False", "FALSE")))
                return r->table->boolean(r->document, 0, at);
        if (is_integer(s))
                return emit_integer(r, e, at);
        if (is_real(s) && n < 64)
                return r->table->real(r->document, strtod(s, NULL), at);
        return r->table->string(r->document, s, n, at);
}

static int32_t emit_scalar(struct reader *r, const yaml_event_t *e)
{
        struct prvng_position at = position(r, e->start_mark);
        const char *s = (const char *)e->data.scalar.value, *tag = (const char *)e->data.scalar.tag;
        size_t n = e->data.scalar.length;
        char message[256];

        if (!tag)
                return e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE
                               ? emit_plain(r, e, &at)
                               : r->table->string(r->document, s, n, &at);
        if (strcmp(tag, "!") == 0 || strcmp(tag, YAML_STR_TAG) == 0)
                return r->table->string(r->document, s, n, &at);
        if (strcmp(tag, YAML_INT_TAG) == 0 && is_integer(s))
                return emit_integer(r, e, &at);
        if (strcmp(tag, YAML_FLOAT_TAG) == 0 && is_real(s) && n < 64)
                return r->table->real(r->document, strtod(s, NULL), &at);
        if (strcmp(tag, YAML_BOOL_TAG) == 0 || strcmp(tag, YAML_NULL_TAG) == 0)
                return emit_plain(r, e, &at);
        snprintf(message, sizeof(message), "the tag \"%.80s\" is not accepted for this value; accepted: "
                 "!!str, !!int, !!float, !!bool, !!null", tag);
        return problem(r, e->start_mark, message);
}

static int32_t emit(struct reader *r, size_t number);

/* The event behind one node and all that is inside of it. */
static size_t after(const struct reader *r, size_t number)
{
        int type = r->events[number].yaml.type;

        return type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT
                       ? r->events[number].other + 1
                       : number + 1;
}

static size_t follow(const struct reader *r, size_t number)
{
        while (r->events[number].yaml.type == YAML_ALIAS_EVENT)
                number = r->events[number].other;
        return number;
}

static bool is_merge(const yaml_event_t *e)
{
        return e->type == YAML_SCALAR_EVENT && e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
               !e->data.scalar.tag && strcmp((const char *)e->data.scalar.value, "<<") == 0;
}

/* Maps whose members are being collected, innermost first: a member of an earlier one wins. */
struct layer {
        const struct layer *earlier;
        size_t map;
};

static bool has_key(const struct reader *r, size_t map, const yaml_event_t *key)
{
        for (size_t i = map + 1; i < r->events[map].other; i = after(r, after(r, i))) {
                const yaml_event_t *e = &r->events[follow(r, i)].yaml;

                if (e->type == YAML_SCALAR_EVENT && e->data.scalar.length == key->data.scalar.length &&
                    memcmp(e->data.scalar.value, key->data.scalar.value, e->data.scalar.length) == 0)
                        return true;
        }
        return false;
}

static int32_t emit_member(struct reader *r, size_t number, const struct layer *earlier)
{
        const yaml_event_t *key = &r->events[follow(r, number)].yaml;
        struct prvng_position at = position(r, r->events[number].yaml.start_mark);
        int32_t answer;

        if (key->type != YAML_SCALAR_EVENT)
                return problem(r, key->start_mark, "a map or list as a key is not accepted; expected a "
                               "text");
        for (; earlier; earlier = earlier->earlier) {
                r->n_compared += r->events[earlier->map].other - earlier->map;
                if (r->n_compared > COMPARED_LIMIT)
                        return problem(r, key->start_mark, "the maps of this merge key (<<) are too large");
                if (has_key(r, earlier->map, key))
                        return 0;
        }
        answer = r->table->key(r->document, (const char *)key->data.scalar.value,
                               key->data.scalar.length, &at);
        return answer < 0 ? answer : emit(r, number + 1);
}

static int32_t emit_members(struct reader *r, size_t map, const struct layer *earlier);

/* `<<: *base` or `<<: [*a, *b]` */
static int32_t emit_merged(struct reader *r, size_t number, const struct layer *earlier)
{
        size_t value = follow(r, number), end;
        struct layer layers[16];
        size_t n = 0;
        int32_t answer = 0;

        if (r->events[value].yaml.type == YAML_MAPPING_START_EVENT)
                return emit_members(r, value, earlier);
        if (r->events[value].yaml.type != YAML_SEQUENCE_START_EVENT)
                return problem(r, r->events[number].yaml.start_mark,
                               "a merge key (<<) takes a map or a list of maps");
        end = r->events[value].other;
        for (size_t i = value + 1; i < end && answer == 0; i = after(r, i)) {
                size_t map = follow(r, i);

                if (r->events[map].yaml.type != YAML_MAPPING_START_EVENT || n == 16)
                        return problem(r, r->events[i].yaml.start_mark,
                                       "a merge key (<<) takes a map or a list of at most 16 maps");
                answer = emit_members(r, map, earlier);
                layers[n] = (struct layer){ earlier, map };
                earlier = &layers[n++];
        }
        return answer;
}

static int32_t emit_members(struct reader *r, size_t map, const struct layer *earlier)
{
        struct layer own = { earlier, map };
        size_t end = r->events[map].other;
        int32_t answer = 0;

        if (++r->n_merges > DEPTH_LIMIT)
                return problem(r, r->events[map].yaml.start_mark, "merge keys are nested too deeply");
        for (size_t i = map + 1; i < end && answer == 0; i = after(r, i + 1))
                if (!is_merge(&r->events[i].yaml))
                        answer = emit_member(r, i, earlier);
        for (size_t i = map + 1; i < end && answer == 0; i = after(r, i + 1))
                if (is_merge(&r->events[i].yaml))
                        answer = emit_merged(r, i + 1, &own);
        r->n_merges--;
        return answer;
}

static int32_t emit_map(struct reader *r, size_t number)
{
        struct prvng_position at = position(r, r->events[number].yaml.start_mark);
        int32_t answer = r->table->map_begin(r->document, &at);
        uint32_t outer = r->n_merges;

        if (answer < 0)
                return answer;
        /* A key is a scalar or an alias, so it is one event; others are refused first. */
        for (size_t i = number + 1; i < r->events[number].other; i = after(r, i + 1))
                if (after(r, i) != i + 1)
                        return problem(r, r->events[i].yaml.start_mark,
                                       "a map or list as a key is not accepted; expected a text");
        r->n_merges = 0;
        answer = emit_members(r, number, NULL);
        r->n_merges = outer;
        return answer < 0 ? answer : r->table->end(r->document, &at);
}

static int32_t emit_list(struct reader *r, size_t number)
{
        struct prvng_position at = position(r, r->events[number].yaml.start_mark);
        int32_t answer = r->table->list_begin(r->document, &at);

        for (size_t i = number + 1; i < r->events[number].other && answer == 0; i = after(r, i))
                answer = emit(r, i);
        return answer < 0 ? answer : r->table->end(r->document, &at);
}

static int32_t emit(struct reader *r, size_t number)
{
        const yaml_event_t *e = &r->events[number].yaml;

        switch ((int)e->type) {
        case YAML_ALIAS_EVENT:
                r->n_repeated += after(r, r->events[number].other) - r->events[number].other;
                if (r->n_repeated > REPEATED_LIMIT)
                        return problem(r, e->start_mark, "aliases repeat more than 1000000 values; write "
                                       "the document out, or make it smaller");
                return emit(r, r->events[number].other);
        case YAML_MAPPING_START_EVENT:
                return emit_map(r, number);
        case YAML_SEQUENCE_START_EVENT:
                return emit_list(r, number);
        default:
                return emit_scalar(r, e);
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
                answer = problem(r, (yaml_mark_t){ 0 }, "the file is empty; expected a map");
        if (answer == 0)
                answer = emit(r, 0);
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
