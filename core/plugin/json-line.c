/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plugin's results on their way into the journal: one line of one JSON object each.
 *
 * A scan recognises the form that nearly all results have and says yes; all else goes through
 * jansson, which then decides and rewrites. So the scan need not know all of JSON: it must only
 * never say yes to what jansson, reading the journal later, would refuse (a test compares the two).
 */
#include "plugin/json-line.h"

#include "base/json.h"

enum { DEPTH_MAX = 32, KEYS_MAX = 64 };

/* Members of the objects that are open, to find duplicates; each object's begin at its `first`. */
struct scan {
        const char *p;
        const char *end;
        size_t n_keys;
        struct {
                const char *text;
                size_t n;
        } keys[KEYS_MAX];
};

static inline void skip_space(struct scan *s)
{
        while (s->p < s->end && *s->p == ' ')
                s->p++;
}

static inline bool take(struct scan *s, char c)
{
        if (s->p == s->end || *s->p != c)
                return false;
        s->p++;
        return true;
}

/* Printable ASCII with the simple escapes. */
static bool string(struct scan *s, bool escapes)
{
        if (!take(s, '"'))
                return false;
        for (; s->p < s->end; s->p++) {
                uint8_t c = (uint8_t)*s->p;

                if (c == '"')
                        return s->p++, true;
                if (c < 0x20 || c >= 0x7f)
                        return false;
                if (c == '\\') {
                        s->p++;
                        if (!escapes || s->p == s->end || !strchr("\"\\/bfnrt", *s->p) || !*s->p)
                                return false;
                }
        }
        return false;
}

static size_t digits(struct scan *s)
{
        const char *from = s->p;

        while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
                s->p++;
        return (size_t)(s->p - from);
}

static bool number(struct scan *s)
{
        const char *first;
        size_t n;

        take(s, '-');
        first = s->p;
        n = digits(s);
        if (n == 0 || n > 15 || (n > 1 && *first == '0'))
                return false;
        if (!take(s, '.'))
                return true;
        n = digits(s);
        return n > 0 && n <= 15;
}

static bool word(struct scan *s, const char *literal, size_t n)
{
        if ((size_t)(s->end - s->p) < n || memcmp(s->p, literal, n) != 0)
                return false;
        s->p += n;
        return true;
}

static bool value(struct scan *s, unsigned int depth);

static bool list(struct scan *s, unsigned int depth)
{
        if (!take(s, '['))
                return false;
        skip_space(s);
        if (take(s, ']'))
                return true;
        do {
                skip_space(s);
                if (!value(s, depth))
                        return false;
                skip_space(s);
        } while (take(s, ','));
        return take(s, ']');
}

static bool key(struct scan *s, size_t first)
{
        const char *text = s->p + 1;
        size_t n;

        if (s->n_keys == KEYS_MAX || !string(s, false))
                return false;
        n = (size_t)(s->p - 1 - text);
        for (size_t i = first; i < s->n_keys; i++)
                if (s->keys[i].n == n && memcmp(s->keys[i].text, text, n) == 0)
                        return false;
        s->keys[s->n_keys].text = text;
        s->keys[s->n_keys++].n = n;
        return true;
}

static bool object(struct scan *s, unsigned int depth)
{
        size_t first = s->n_keys;

        if (!take(s, '{'))
                return false;
        skip_space(s);
        if (take(s, '}'))
                return true;
        do {
                skip_space(s);
                if (!key(s, first))
                        return false;
                skip_space(s);
                if (!take(s, ':'))
                        return false;
                skip_space(s);
                if (!value(s, depth))
                        return false;
                skip_space(s);
        } while (take(s, ','));
        s->n_keys = first;
        return take(s, '}');
}

static bool value(struct scan *s, unsigned int depth)
{
        if (s->p == s->end || depth == 0)
                return false;
        switch (*s->p) {
        case '{':
                return object(s, depth - 1);
        case '[':
                return list(s, depth - 1);
        case '"':
                return string(s, true);
        case 't':
                return word(s, "true", 4);
        case 'f':
                return word(s, "false", 5);
        case 'n':
                return word(s, "null", 4);
        default:
                return number(s);
        }
}

bool json_line_is_object(const char *data, size_t n)
{
        struct scan s;

        s.p = data; /* the keys stay uninitialised: clearing them costs more than the scan */
        s.end = data + n;
        s.n_keys = 0;
        return object(&s, DEPTH_MAX) && s.p == s.end;
}

int json_line_normalise(struct buf *b, char ret_error[200])
{
        _cleanup_(cleanup_json_decref) json_t *json = NULL;
        int r;

        if (_likely_(json_line_is_object(b->data, b->n)))
                return 0;
        r = json_parse(b->data, b->n, &json, ret_error);
        if (r < 0)
                return r;
        if (!json_is_object(json)) {
                snprintf(ret_error, JSON_PARSE_ERROR, "it is not an object");
                return error_origin(-EBADMSG);
        }
        buf_clear(b);
        return error_fold(json_append(b, json));
}
