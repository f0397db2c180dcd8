/* SPDX-License-Identifier: Apache-2.0 */
#include "internal.h"

#define TAIL_LINES 5
#define TAIL_MAX 1500

/* The rest of a line that begins with `word` and a blank (or ends there), else NULL. */
static const char *after_word(const char *line, const char *word)
{
        size_t n = strlen(word);

        if (strncmp(line, word, n) != 0)
                return NULL;
        if (line[n] == 0)
                return line + n;
        return line[n] == ' ' ? line + n + 1 : NULL;
}

static void set_text(char **text, const char *value)
{
        free(*text);
        *text = strdup(value);
}

static void take_progress(struct said *s, const char *rest)
{
        char *end;
        unsigned long permille = strtoul(rest, &end, 10);

        if (end == rest || permille > 1000)
                return;
        s->permille = (uint32_t)permille;
        while (*end == ' ')
                end++;
        set_text(&s->step, end);
}

/* Lines that are no JSON objects are ignored: they may be cut at the start of what was read. */
static void take_object(const char *rest, json_t *object, json_t *array)
{
        _cleanup_(cleanup_json) json_t *value = json_loads(rest, JSON_REJECT_DUPLICATES, NULL);

        if (!json_is_object(value))
                return;
        if (object)
                json_object_update_recursive(object, value);
        else
                json_array_append(array, value);
}

static bool take_line(struct said *s, const char *line)
{
        const char *rest;

        if (strncmp(line, "::", 2) != 0)
                return false;
        line += 2;
        if ((rest = after_word(line, "progress"))) {
                take_progress(s, rest);
        } else if ((rest = after_word(line, "result"))) {
                take_object(rest, s->result, NULL);
        } else if ((rest = after_word(line, "drift"))) {
                take_object(rest, NULL, s->drift);
        } else if ((rest = after_word(line, "transient"))) {
                set_text(&s->transient, rest);
        } else if ((rest = after_word(line, "error"))) {
                set_text(&s->error, rest);
        } else if ((rest = after_word(line, "state"))) {
                s->absent = strcmp(rest, "absent") == 0;
                s->present = strcmp(rest, "present") == 0;
        } else if (after_word(line, "unchanged")) {
                s->unchanged = true;
        } else {
                return false;
        }
        return true;
}

/* Where the last TAIL_LINES lines of `text` begin, at most TAIL_MAX bytes before its end. */
static const char *tail_start(const char *text)
{
        const char *p = text + strlen(text);
        int lines = 0;

        while (p > text && (size_t)(text + strlen(text) - p) < TAIL_MAX) {
                if (p[-1] == '\n' && lines++ == TAIL_LINES)
                        break;
                p--;
        }
        return p;
}

int said_parse(const char *output, size_t n_output, struct said *s)
{
        _cleanup_(cleanup_free) char *copy = malloc(n_output + 1);
        _cleanup_(cleanup_free) char *other = calloc(1, n_output + 2);
        size_t n_other = 0;
        char *save = NULL;

        *s = (struct said){.result = json_object(), .drift = json_array()};
        if (!copy || !other || !s->result || !s->drift)
                return -1;
        for (size_t k = 0; k < n_output; k++)
                copy[k] = output[k] ? output[k] : '?';
        copy[n_output] = 0;
        for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                size_t n = strlen(line);

                while (n > 0 && line[n - 1] == '\r')
                        line[--n] = 0;
                if (n == 0 || take_line(s, line))
                        continue;
                memcpy(other + n_other, line, n);
                n_other += n;
                other[n_other++] = '\n';
        }
        while (n_other > 0 && other[n_other - 1] == '\n')
                n_other--;
        other[n_other] = 0;
        s->tail = strdup(tail_start(other));
        return s->tail ? 0 : -1;
}

void said_deinit(struct said *s)
{
        free(s->transient);
        free(s->error);
        free(s->step);
        free(s->tail);
        json_decref(s->result);
        json_decref(s->drift);
}
