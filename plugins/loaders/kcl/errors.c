/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads KCL's error messages:
 *
 *      error[E2L23]: CompileError
 *       --> /path/main.k:3:5
 *        |
 *      3 |     nam = "n"
 *        |     ^ Cannot add member 'nam' to schema 'WorkflowDef'
 *        |
 *
 * with colours in between, the same error several times, and further places of the same error without a
 * heading. There is no machine-readable form that all versions have.
 */
#include "kcl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ERRORS_MAX 200
#define MESSAGE_MAX 1024

struct place {
        char file[1024];
        uint32_t line, column;
        char source[256]; /* the line there */
        char message[MESSAGE_MAX];
};

struct reader {
        const struct prvng_host_document *table;
        struct prvng_document *document;
        const struct kcl_names *names;
        struct place first; /* of the error that is being read */
        struct place own;   /* the first one in a file of the user, if `first` is not */
        char heading[128];
        size_t n_places;
        char *seen[ERRORS_MAX];
        size_t n_seen;
};

static void strip_colours(char *text)
{
        char *to = text;

        for (char *from = text; *from;) {
                if (from[0] == '\x1b' && from[1] == '[') {
                        from += 2;
                        while (*from && (*from < '@' || *from > '~'))
                                from++;
                        from += *from != 0;
                } else {
                        *to++ = *from++;
                }
        }
        *to = 0;
}

/* The user's name for a file; NULL: the source itself. */
static const char *real_name(const struct reader *r, const char *file, char *text, size_t size)
{
        const struct kcl_names *n = r->names;
        size_t length = n->view ? strlen(n->view) : 0;

        if (!*file || strcmp(file, n->entry) == 0)
                return n->path;
        if (n->view && strncmp(file, n->view, length) == 0 && file[length] == '/') {
                snprintf(text, size, "%s%s", n->root, file + length);
                return text;
        }
        return file;
}

static bool is_users(const struct reader *r, const char *file)
{
        const char *root = r->names->view ? r->names->view : r->names->root;
        size_t n = strlen(root);

        return strcmp(file, r->names->entry) == 0 ||
               (strncmp(file, root, n) == 0 && (file[n] == '/' || root[n - 1] == '/'));
}

static bool is_new(struct reader *r, const char *key)
{
        for (size_t i = 0; i < r->n_seen; i++)
                if (strcmp(r->seen[i], key) == 0)
                        return false;
        if (r->n_seen == ERRORS_MAX)
                return false;
        r->seen[r->n_seen] = strdup(key);
        r->n_seen += r->seen[r->n_seen] != NULL;
        return true;
}

/* Ends the error that is being read: reports it, if it is one and new. */
static void finish(struct reader *r)
{
        const struct place *p = !is_users(r, r->first.file) && r->own.file[0] ? &r->own : &r->first;
        char key[sizeof(p->file) + MESSAGE_MAX + 32], name[2048], snippet[sizeof(p->source) + 300];
        struct prvng_position at = { .line = p->line, .column = p->column };
        size_t n;

        if (!r->n_places)
                return;
        r->n_places = 0;
        snprintf(key, sizeof(key), "%s:%u:%u:%s", p->file, p->line, p->column, p->message);
        if (!is_new(r, key))
                return;
        at.file = real_name(r, p->file, name, sizeof(name));
        n = (size_t)snprintf(snippet, sizeof(snippet), "    %s\n    ", p->source);
        for (uint32_t i = 1; i < p->column && i < 256 && n + 2 < sizeof(snippet); i++)
                snippet[n++] = ' ';
        snprintf(snippet + n, sizeof(snippet) - n, "^");
        r->table->problem(r->document, &at, p->message[0] ? p->message : r->heading,
                          p->source[0] && p->column ? snippet : NULL);
}

static bool is_heading(const char *line)
{
        return strncmp(line, "error", 5) == 0 || strcmp(line, "EvaluationError") == 0;
}

/* " --> FILE:LINE:COLUMN" */
static bool read_place(const char *line, struct place *ret_place)
{
        const char *arrow = line + strspn(line, " "), *colon;
        struct place p = { 0 };
        char *end;

        if (strncmp(arrow, "--> ", 4) != 0)
                return false;
        arrow += 4;
        colon = strrchr(arrow, ':');
        if (!colon || colon == arrow)
                return false;
        p.column = (uint32_t)strtoul(colon + 1, NULL, 10);
        do
                colon--;
        while (colon > arrow && *colon != ':');
        p.line = (uint32_t)strtoul(colon + 1, &end, 10);
        if (*colon != ':' || *end != ':')
                return false;
        snprintf(p.file, sizeof(p.file), "%.*s", (int)(colon - arrow), arrow);
        *ret_place = p;
        return true;
}

/* A line "  | ^^^ message" or "12 | source" belongs to the last place. */
static void read_detail(const char *line, struct place *p)
{
        const char *bar = strchr(line, '|'), *text;
        size_t digits = strspn(line, " 0123456789");

        if (!bar || line + digits != bar)
                return;
        text = bar + 1 + strspn(bar + 1, " ");
        if (strspn(line, " ") < digits && !p->source[0]) {
                snprintf(p->source, sizeof(p->source), "%.200s", bar + 1 + (bar[1] == ' '));
        } else if (*text && strspn(line, " ") == digits && !p->message[0]) {
                text += strspn(text, "^"); /* in column 1 there is none */
                snprintf(p->message, sizeof(p->message), "%s", text + strspn(text, " "));
        }
}

static void read_line(struct reader *r, const char *line, struct place *now)
{
        struct place found;

        if (is_heading(line)) {
                finish(r);
                snprintf(r->heading, sizeof(r->heading), "%s", line);
                *now = r->first = r->own = (struct place){ 0 };
        } else if (read_place(line, &found)) {
                r->n_places++;
                *now = found;
        } else {
                read_detail(line, now);
        }
        /* An evaluation names the outermost place first, and says what is wrong at the last. */
        if (r->n_places == 1 || (strcmp(r->heading, "EvaluationError") == 0 && now->message[0]))
                r->first = *now;
        if (r->n_places && !r->own.message[0] && is_users(r, now->file))
                r->own = *now;
}

size_t kcl_report(const struct prvng_host_document *table, struct prvng_document *d, const char *text,
                  const struct kcl_names *names)
{
        struct reader r = { .table = table, .document = d, .names = names };
        struct place now = { 0 };
        char *copy = strdup(text), *rest = copy, *line;
        size_t n;

        if (!copy)
                return 0;
        strip_colours(copy);
        while ((line = strsep(&rest, "\n")))
                read_line(&r, line, &now);
        finish(&r);
        for (size_t i = 0; i < r.n_seen; i++)
                free(r.seen[i]);
        n = r.n_seen;
        free(copy);
        return n;
}
