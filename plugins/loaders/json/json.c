/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loader for JSON: yajl's events, each with line and column.
 *
 * yajl says how many bytes it has consumed; a callback's token ends there. Line and column are counted
 * on from the last token, so the whole text is looked at once. Nothing is kept of the document here.
 */
#include <prvng/prvng.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yajl/yajl_parse.h>

#define VERSION "1.0.0"
#define SIZE_LIMIT (1ULL << 30) /* of a file */
#define SNIPPET_MAX 120         /* bytes of a line that are shown */

PRVNG_PLUGIN_NOTE("loader", "org.prvng.loader.json", "json", VERSION, "[\"" PRVNG_HOST_DOCUMENT "\"]",
                  "none");

static const struct prvng_host *host;

struct reader {
        const struct prvng_host_document *table;
        struct prvng_document *document;
        yajl_handle yajl;
        const unsigned char *text;
        size_t n;
        size_t at;         /* counted up to here */
        size_t line_start; /* of the line that holds `at` */
        uint32_t line;
        bool at_end;    /* all of the text was handed to yajl */
        int32_t failed; /* class given by the builder or by us */
};

static int32_t fail(struct prvng_call *call, int32_t error_class, int status, const char *message)
{
        struct prvng_error error = { .struct_size = sizeof(error), .error_class = error_class,
                                     .retry_after_ms = -1, .effect = PRVNG_EFFECT_NONE,
                                     .status = status, .message = message };

        host->error(call, &error);
        return error_class;
}

static struct prvng_position position(struct reader *r, size_t offset)
{
        struct prvng_position at = { 0 };

        while (r->at < offset) {
                const unsigned char *nl = memchr(r->text + r->at, '\n', offset - r->at);

                if (!nl) {
                        r->at = offset;
                } else {
                        r->at = r->line_start = (size_t)(nl - r->text) + 1;
                        r->line++;
                }
        }
        at.line = r->line;
        at.column = (uint32_t)(offset - r->line_start) + 1;
        return at;
}

/* Where the token of n bytes starts whose end is what yajl has consumed. A number with which the text ends
 * comes at the very end only, and then yajl counts from there. */
static struct prvng_position token(struct reader *r, size_t n)
{
        size_t end = r->at_end ? r->n : yajl_get_bytes_consumed(r->yajl);

        return position(r, end > n ? end - n : 0);
}

/* A string without escapes is handed to us in place; of others only the end is known, and the start is
 * the nearest quote to the left that no backslash stands before. */
static struct prvng_position string_token(struct reader *r, const unsigned char *s)
{
        size_t i;

        if (s > r->text && s <= r->text + r->n)
                return position(r, (size_t)(s - r->text) - 1);
        i = yajl_get_bytes_consumed(r->yajl) - 1; /* at the closing quote */
        while (i-- > 0) {
                size_t n = 0;

                if (r->text[i] != '"')
                        continue;
                while (n < i && r->text[i - 1 - n] == '\\')
                        n++;
                if (n % 2 == 0)
                        break;
        }
        return position(r, i);
}

static int go_on(struct reader *r, int32_t answer)
{
        if (answer < 0)
                r->failed = answer;
        return answer >= 0;
}

static int on_null(void *userdata)
{
        struct reader *r = userdata;
        struct prvng_position at = token(r, 4);

        return go_on(r, r->table->null(r->document, &at));
}

static int on_boolean(void *userdata, int value)
{
        struct reader *r = userdata;
        struct prvng_position at = token(r, value ? 4 : 5);

        return go_on(r, r->table->boolean(r->document, value, &at));
}

static int on_number(void *userdata, const char *s, size_t n)
{
        struct reader *r = userdata;
        struct prvng_position at = token(r, n);
        char text[64], *end;
        long long value;

        if (n >= sizeof(text)) {
                r->table->problem(r->document, &at, "this number has too many digits", NULL);
                return go_on(r, PRVNG_PERMANENT);
        }
        memcpy(text, s, n);
        text[n] = 0;
        if (strpbrk(text, ".eE"))
                return go_on(r, r->table->real(r->document, strtod(text, NULL), &at));
        errno = 0;
        value = strtoll(text, &end, 10);
        if (errno == ERANGE || *end) {
                r->table->problem(r->document, &at,
                                  "this number is too large; whole numbers from -9223372036854775808 to "
                                  "9223372036854775807 are accepted", NULL);
                return go_on(r, PRVNG_PERMANENT);
        }
        return go_on(r, r->table->integer(r->document, value, &at));
}

static int on_string(void *userdata, const unsigned char *s, size_t n)
{
        struct reader *r = userdata;
        struct prvng_position at = string_token(r, s);

        return go_on(r, r->table->string(r->document, (const char *)s, n, &at));
}

static int on_key(void *userdata, const unsigned char *s, size_t n)
{
        struct reader *r = userdata;
        struct prvng_position at = string_token(r, s);

        return go_on(r, r->table->key(r->document, (const char *)s, n, &at));
}

static int on_map(void *userdata)
{
        struct reader *r = userdata;
        struct prvng_position at = token(r, 1);

        return go_on(r, r->table->map_begin(r->document, &at));
}

static int on_list(void *userdata)
{
        struct reader *r = userdata;
        struct prvng_position at = token(r, 1);

        return go_on(r, r->table->list_begin(r->document, &at));
}

static int on_end(void *userdata)
{
        struct reader *r = userdata;
        struct prvng_position at = token(r, 1);

        return go_on(r, r->table->end(r->document, &at));
}

static const yajl_callbacks callbacks = {
        .yajl_null = on_null,
        .yajl_boolean = on_boolean,
        .yajl_number = on_number,
        .yajl_string = on_string,
        .yajl_start_map = on_map,
        .yajl_map_key = on_key,
        .yajl_end_map = on_end,
        .yajl_start_array = on_list,
        .yajl_end_array = on_end,
};

/* The line around an offset, cut to a bearable length, with a caret under the place. */
static void snippet(const struct reader *r, size_t offset, char *ret_text, size_t size)
{
        size_t from = offset, to = offset, n, column;

        while (from > 0 && r->text[from - 1] != '\n' && offset - from < SNIPPET_MAX / 2)
                from--;
        while (to < r->n && r->text[to] != '\n' && to - from < SNIPPET_MAX)
                to++;
        while (from < offset && (r->text[from] & 0xc0) == 0x80)
                from++; /* not inside of a character */
        n = (size_t)snprintf(ret_text, size, "    %.*s\n    ", (int)(to - from),
                             (const char *)r->text + from);
        for (column = from; column < offset && n + 2 < size; column++)
                if ((r->text[column] & 0xc0) != 0x80)
                        ret_text[n++] = r->text[column] == '\t' ? '\t' : ' ';
        snprintf(ret_text + n, size - n, "^");
}

/* Where the token starts that yajl stumbled over; it says only how far it has read. */
static size_t error_offset(const struct reader *r, bool at_end)
{
        size_t i = yajl_get_bytes_consumed(r->yajl);

        if (at_end || i > r->n)
                i = r->n;
        else if (i > 0)
                i--;
        if (i == r->n)
                while (i > 0 && strchr(" \t\r\n", r->text[i - 1]))
                        i--;
        return i;
}

static void report_syntax(struct reader *r, bool at_end)
{
        unsigned char *raw = yajl_get_error(r->yajl, 0, r->text, r->n);
        const char *what = raw ? (const char *)raw : "";
        size_t offset = error_offset(r, at_end);
        char message[256], lines[2 * SNIPPET_MAX + 64];
        struct prvng_position at;

        for (const char *colon = strchr(what, ':'); colon; colon = NULL)
                what = colon + 1 + (colon[1] == ' '); /* "parse error: ", "lexical error: " */
        if (at_end)
                snprintf(message, sizeof(message), "the JSON ends too early: a bracket, brace or quote "
                         "is not closed");
        else
                snprintf(message, sizeof(message), "this is no valid JSON: %.*s%s",
                         (int)strcspn(what, "\n"), what,
                         offset < r->n && strchr("}]", r->text[offset])
                                 ? " (is there a comma too many before it?)" : "");
        if (raw)
                yajl_free_error(r->yajl, raw);
        if (offset < r->at) { /* counted past it already: from the start, once */
                r->at = r->line_start = 0;
                r->line = 1;
        }
        at = position(r, offset);
        snippet(r, offset, lines, sizeof(lines));
        r->table->problem(r->document, &at, message, lines);
}

static int32_t parse(struct prvng_call *call, struct reader *r)
{
        static const struct prvng_position start = { .line = 1, .column = 1 };
        size_t skip = r->n >= 3 && memcmp(r->text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
        yajl_status status;

        r->text += skip; /* a byte order mark */
        r->n -= skip;
        r->line = 1;
        for (size_t i = 0; i <= r->n; i++) {
                if (i == r->n) {
                        r->table->problem(r->document, &start, "the file is empty; expected a JSON "
                                          "object", NULL);
                        return PRVNG_PERMANENT;
                }
                if (!strchr(" \t\r\n", r->text[i]) || !r->text[i])
                        break;
        }
        r->yajl = yajl_alloc(&callbacks, NULL, r);
        if (!r->yajl)
                return fail(call, PRVNG_TRANSIENT, ENOMEM, "out of memory");
        status = yajl_parse(r->yajl, r->text, r->n);
        if (status == yajl_status_error) {
                report_syntax(r, false);
        } else if (status == yajl_status_ok) {
                r->at_end = true;
                status = yajl_complete_parse(r->yajl);
                if (status == yajl_status_error)
                        report_syntax(r, true);
        }
        yajl_free(r->yajl);
        if (status == yajl_status_ok)
                return PRVNG_DONE;
        return r->failed ? r->failed : PRVNG_PERMANENT;
}

static int read_file(const char *path, unsigned char **ret_text, size_t *ret_n)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC), error = 0;
        unsigned char *text = NULL;
        size_t n = 0, cap = 0;
        struct stat st;

        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) == 0 && st.st_size > 0)
                cap = (size_t)st.st_size + 1;
        for (;;) {
                ssize_t got;

                if (!text || n == cap) {
                        unsigned char *more;

                        cap = text ? cap * 2 : cap ? cap : 65536;
                        more = cap > 2 * SIZE_LIMIT ? NULL : realloc(text, cap);
                        if (!more) {
                                error = cap > 2 * SIZE_LIMIT ? -EFBIG : -ENOMEM;
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
        }
        close(fd);
        if (!error && n > SIZE_LIMIT)
                error = -EFBIG;
        if (error) {
                free(text);
                return error;
        }
        *ret_text = text;
        *ret_n = n;
        return 0;
}

static int32_t json_load(void *instance, struct prvng_call *call,
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
        answer = parse(call, &r);
        free(text);
        return answer;
}

static const struct prvng_loader loader = {
        .struct_size = sizeof(loader),
        .extensions = "json",
        .load = json_load,
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
        .id = "org.prvng.loader.json",
        .name = "json",
        .kind = "loader",
        .version = VERSION,
        .description = "Reads workflow definitions written in JSON",
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
