/* SPDX-License-Identifier: Apache-2.0 */
/* From the array of events to the builder: scalars, aliases, merge keys. */
#include "reader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPEATED_LIMIT 1000000u /* events that aliases may repeat */
#define COMPARED_LIMIT 50000000u /* events looked at for merge keys */

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
                return yaml_problem(r, e->start_mark, "this number is too large; whole numbers from "
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
        struct prvng_position at = yaml_position(r, e->start_mark);
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
        return yaml_problem(r, e->start_mark, message);
}

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
        struct prvng_position at = yaml_position(r, r->events[number].yaml.start_mark);
        int32_t answer;

        if (key->type != YAML_SCALAR_EVENT)
                return yaml_problem(r, key->start_mark, "a map or list as a key is not accepted; expected a "
                               "text");
        for (; earlier; earlier = earlier->earlier) {
                r->n_compared += r->events[earlier->map].other - earlier->map;
                if (r->n_compared > COMPARED_LIMIT)
                        return yaml_problem(r, key->start_mark, "the maps of this merge key (<<) are too large");
                if (has_key(r, earlier->map, key))
                        return 0;
        }
        answer = r->table->key(r->document, (const char *)key->data.scalar.value,
                               key->data.scalar.length, &at);
        return answer < 0 ? answer : yaml_emit(r, number + 1);
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
                return yaml_problem(r, r->events[number].yaml.start_mark,
                               "a merge key (<<) takes a map or a list of maps");
        end = r->events[value].other;
        for (size_t i = value + 1; i < end && answer == 0; i = after(r, i)) {
                size_t map = follow(r, i);

                if (r->events[map].yaml.type != YAML_MAPPING_START_EVENT || n == 16)
                        return yaml_problem(r, r->events[i].yaml.start_mark,
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
                return yaml_problem(r, r->events[map].yaml.start_mark, "merge keys are nested too deeply");
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
        struct prvng_position at = yaml_position(r, r->events[number].yaml.start_mark);
        int32_t answer = r->table->map_begin(r->document, &at);
        uint32_t outer = r->n_merges;

        if (answer < 0)
                return answer;
        /* A key is a scalar or an alias, so it is one event; others are refused first. */
        for (size_t i = number + 1; i < r->events[number].other; i = after(r, i + 1))
                if (after(r, i) != i + 1)
                        return yaml_problem(r, r->events[i].yaml.start_mark,
                                       "a map or list as a key is not accepted; expected a text");
        r->n_merges = 0;
        answer = emit_members(r, number, NULL);
        r->n_merges = outer;
        return answer < 0 ? answer : r->table->end(r->document, &at);
}

static int32_t emit_list(struct reader *r, size_t number)
{
        struct prvng_position at = yaml_position(r, r->events[number].yaml.start_mark);
        int32_t answer = r->table->list_begin(r->document, &at);

        for (size_t i = number + 1; i < r->events[number].other && answer == 0; i = after(r, i))
                answer = yaml_emit(r, i);
        return answer < 0 ? answer : r->table->end(r->document, &at);
}

int32_t yaml_emit(struct reader *r, size_t number)
{
        const yaml_event_t *e = &r->events[number].yaml;

        switch ((int)e->type) {
        case YAML_ALIAS_EVENT:
                r->n_repeated += after(r, r->events[number].other) - r->events[number].other;
                if (r->n_repeated > REPEATED_LIMIT)
                        return yaml_problem(r, e->start_mark, "aliases repeat more than 1000000 values; write "
                                       "the document out, or make it smaller");
                return yaml_emit(r, r->events[number].other);
        case YAML_MAPPING_START_EVENT:
                return emit_map(r, number);
        case YAML_SEQUENCE_START_EVENT:
                return emit_list(r, number);
        default:
                return emit_scalar(r, e);
        }
}
