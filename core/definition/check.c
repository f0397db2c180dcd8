/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks a document against the tables of schema.c and fills the structs of definition.h.
 *
 * Nothing stops at the first problem: a value that is wrong is reported and left zero, and the walk
 * goes on. The definition is handed out only if nothing was reported, so nobody sees those zeros.
 */
#include "definition/schema.h"

#define NAME_MAX_LENGTH 128
#define SIMILAR_BUDGET 4000000

struct definition *definition_free(struct definition *d)
{
        if (!d)
                return NULL;
        arena_deinit(&d->arena);
        free(d);
        return NULL;
}

/* n zeroed bytes; NULL is noted in the check. */
static void *take(struct check *c, size_t n)
{
        void *p = arena_alloc(&c->definition->arena, n + 1);

        if (!p)
                c->no_memory = true;
        return p;
}

/* --- values --- */

static void *place(void *out, const struct attribute *a)
{
        return out && a->at != A_NOWHERE ? (char *)out + a->at : NULL;
}

static const char *join(const char *const *words, const char *separator, char *ret_text, size_t n)
{
        size_t at = 0;

        ret_text[0] = 0;
        for (; *words && at < n; words++)
                at += (size_t)snprintf(ret_text + at, n - at, "%s%s", at ? separator : "", *words);
        return ret_text;
}

static size_t count(const char *const *words)
{
        size_t n = 0;

        while (words[n])
                n++;
        return n;
}

static bool is_name(const char *s)
{
        static const uint8_t kinds[256] = {
                ['a' ... 'z'] = 1, ['A' ... 'Z'] = 1, ['0' ... '9'] = 1,
                ['.'] = 2, ['_'] = 2, ['-'] = 2, /* not in front */
        };
        size_t n = 0;

        if (kinds[(uint8_t)s[0]] != 1)
                return false;
        while (kinds[(uint8_t)s[n]])
                n++;
        return s[n] == 0 && n <= NAME_MAX_LENGTH;
}

bool check_name(struct check *c, uint32_t node, const char *value, const char *what)
{
        char text[CHECK_SHOWN];

        if (is_name(value))
                return true;
        if (strstr(value, "{{") || strstr(value, "{%"))
                check_problem(c, node, NULL,
                              "%s holds a Jinja2 template, which this version does not render; "
                              "write the name itself", check_show(c, node, text));
        else
                check_problem(c, node, NULL,
                              "%s is no %s: expected 1 to %d letters, digits, '.', '_' and '-', "
                              "beginning with a letter or digit",
                              check_show(c, node, text), what, NAME_MAX_LENGTH);
        return false;
}

/* The word's number; -1 if it is reported or, with A_OPEN, a new one. */
static int check_word(struct check *c, const struct attribute *a, uint32_t node, const char *value)
{
        const char *similar;
        char text[CHECK_SHOWN], words[256];

        for (int i = 0; a->words[i]; i++)
                if (streq(a->words[i], value))
                        return i;
        similar = check_similar(c, value, a->words, count(a->words));
        if (a->flags & A_OPEN && !similar) {
                check_name(c, node, value, "name");
                return -1;
        }
        check_problem(c, node, NULL, "%s is not accepted here; expected one of: %s.%s%s%s",
                      check_show(c, node, text), join(a->words, ", ", words, sizeof(words)),
                      similar ? " Did you mean \"" : "", similar ? similar : "",
                      similar ? "\"?" : "");
        return -1;
}

/* The text of a node that has to be one, or NULL after a report. */
static const char *check_text(struct check *c, uint32_t node)
{
        const struct doc_node *n = document_node(c->d, node);

        if (n->type != DOC_STRING) {
                check_wrong(c, node, n->type == DOC_LIST || n->type == DOC_MAP || n->type == DOC_NULL
                                       ? "a text"
                                       : "a text: put it in quotes");
                return NULL;
        }
        if (strlen(document_string(c->d, node)) != n->v.string.n) {
                check_problem(c, node, NULL, "a text may not contain the character NUL");
                return NULL;
        }
        return document_string(c->d, node);
}

static const char *check_string(struct check *c, const struct attribute *a, uint32_t node)
{
        const char *value = check_text(c, node);

        if (!value)
                return NULL;
        if (a->flags & A_NAME)
                return check_name(c, node, value, "name") ? value : NULL;
        if (a->flags & A_NONEMPTY && !*value)
                check_wrong(c, node, "a text that is not empty");
        if (a->flags & A_URL_PATH && *value != '/')
                check_wrong(c, node, "a path that begins with '/'");
        return value;
}

static bool check_number(struct check *c, const struct attribute *a, uint32_t node, double *ret_value)
{
        const struct doc_node *n = document_node(c->d, node);
        char text[CHECK_SHOWN], range[96];
        double value = n->type == DOC_REAL ? n->v.real : (double)n->v.integer;
        bool is_number = n->type == DOC_INTEGER || (n->type == DOC_REAL && a->kind == A_NUMBER);

        if (is_number && value >= a->min && value <= a->max) {
                *ret_value = value;
                return true;
        }
        snprintf(range, sizeof(range), "%s from %.12g to %.12g",
                 a->kind == A_NUMBER ? "a number" : "a whole number", a->min, a->max);
        if (is_number)
                check_problem(c, node, NULL, "%s is out of range; expected %s", check_show(c, node, text),
                              range);
        else
                check_wrong(c, node, range);
        return false;
}

static int name_compare(const void *a, const void *b)
{
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* False if the list is short and holds no string twice: the usual case, without memory. */
static bool may_repeat(const struct strings *s)
{
        if (s->n > 8)
                return true;
        for (uint32_t i = 1; i < s->n; i++)
                for (uint32_t k = 0; k < i; k++)
                        if (streq(s->list[i], s->list[k]))
                                return true;
        return false;
}

/* Equal strings in a list: sorted copy, so that long lists cost no square. */
static void check_unique(struct check *c, uint32_t list, const struct strings *s)
{
        const char **sorted;

        if (!may_repeat(s))
                return;
        sorted = malloc(s->n * sizeof(*sorted));
        if (!sorted) {
                c->no_memory = true;
                return;
        }
        memcpy(sorted, s->list, s->n * sizeof(*sorted));
        qsort(sorted, s->n, sizeof(*sorted), name_compare);
        for (uint32_t i = 1; i < s->n; i++) {
                uint32_t seen = 0, child;

                if (!streq(sorted[i - 1], sorted[i]) || (i > 1 && streq(sorted[i - 2], sorted[i])))
                        continue;
                child = document_node(c->d, list)->v.children.first;
                for (; child != DOC_NONE; child = document_node(c->d, child)->next)
                        if (document_node(c->d, child)->type == DOC_STRING &&
                            streq(document_string(c->d, child), sorted[i]) && ++seen == 2)
                                break;
                if (child != DOC_NONE)
                        check_problem(c, child, NULL, "\"%s\" stands twice in this list; keep one",
                                      sorted[i]);
        }
        free(sorted);
}

static void check_strings(struct check *c, const struct attribute *a, uint32_t node,
                          struct strings *out)
{
        const struct doc_node *n = document_node(c->d, node);
        struct attribute each = *a;
        struct strings s = { 0 };

        if (n->type != DOC_LIST) {
                check_wrong(c, node, n->type == DOC_STRING ? "a list of texts: put it in [ ]"
                                                     : "a list of texts");
                return;
        }
        if (a->flags & A_NONEMPTY && a->flags & A_REQUIRED && !n->v.children.n)
                check_problem(c, node, NULL, "the list is empty; expected at least one entry");
        s.list = take(c, n->v.children.n * sizeof(*s.list));
        if (!s.list)
                return;
        for (uint32_t i = n->v.children.first; i != DOC_NONE; i = document_node(c->d, i)->next) {
                const char *value = check_string(c, &each, i);

                if (value && a->words)
                        check_word(c, a, i, value);
                if (value)
                        s.list[s.n++] = value;
        }
        if (a->flags & A_UNIQUE)
                check_unique(c, node, &s);
        if (out)
                *out = s;
}

static void check_labels(struct check *c, uint32_t node)
{
        if (document_node(c->d, node)->type != DOC_MAP) {
                check_wrong(c, node, "a map of texts");
                return;
        }
        for (uint32_t i = document_node(c->d, node)->v.children.first; i != DOC_NONE;
             i = document_node(c->d, i)->next)
                check_text(c, i);
}

static void store_json(struct check *c, uint32_t node, const struct schema *s, const char *without,
                       const char **out)
{
        _cleanup_(cleanup_buf) struct buf json = BUF_NULL;

        if (!out)
                return;
        if (s)
                schema_canonical(s, c->d, node, without, &json);
        else
                document_json(c->d, node, &json);
        *out = json.error ? NULL : arena_copy(&c->definition->arena, buf_str(&json), json.n);
        if (!*out)
                c->no_memory = true;
}

/* --- maps with a schema --- */

static void check_map(struct check *c, const struct schema *s, uint32_t map, void *out);

struct unknown {
        struct check *check;
        const struct schema *schema;
};

/* In a ServerDef any other map is the block of the provider of that name, which the plan knows. Other
 * attributes are a provider's own, and accepted as such only in a workflow that is not agnostic. */
static void check_unknown(void *userdata, uint32_t node)
{
        const struct unknown *u = userdata;
        struct check *c = u->check;
        const char *names[SCHEMA_ATTRIBUTES_MAX + 1] = { 0 };
        const char *name = document_key(c->d, node), *similar;
        char accepted[512];

        for (size_t i = 0; i < u->schema->n_attributes; i++)
                names[i] = u->schema->attributes[i].name;
        similar = check_similar(c, name, names, u->schema->n_attributes);
        if (!similar && u->schema->flags & SCHEMA_BLOCKS) {
                if (document_node(c->d, node)->type == DOC_MAP) {
                        check_name(c, node, name, "name of a provider");
                        return;
                }
                if (!c->definition->provider_agnostic)
                        return;
        }
        check_key_problem(c, node, "unknown attribute \"%.60s\" of %s; accepted: %s.%s%s%s%s", name,
                    u->schema->name, join(names, ", ", accepted, sizeof(accepted)),
                    similar ? " Did you mean \"" : "", similar ? similar : "", similar ? "\"?" : "",
                    !similar && u->schema->flags & SCHEMA_BLOCKS
                            ? " What only one provider knows belongs into a block with the "
                              "provider's name (upcloud = {...}), or needs provider_agnostic = False."
                            : "");
}

static void check_list(struct check *c, const struct attribute *a, uint32_t node, void *out)
{
        const struct doc_node *n = document_node(c->d, node);
        char *elements, *element;

        if (n->type != DOC_LIST) {
                check_wrong(c, node, "a list of maps");
                return;
        }
        if (a->flags & A_NONEMPTY && !n->v.children.n)
                check_problem(c, node, NULL, "the list is empty; expected at least one entry");
        elements = take(c, n->v.children.n * a->schema->size);
        if (!elements)
                return;
        element = elements;
        for (uint32_t i = n->v.children.first; i != DOC_NONE; i = document_node(c->d, i)->next) {
                if (document_node(c->d, i)->type == DOC_MAP)
                        check_map(c, a->schema, i, element);
                else
                        check_wrong(c, i, "a map");
                memcpy(element + a->schema->node_at, &i, sizeof(i));
                element += a->schema->size;
        }
        memcpy((char *)out + a->at, &elements, sizeof(elements));
        memcpy((char *)out + a->count_at, &n->v.children.n, sizeof(uint32_t));
}

static void check_inner(struct check *c, const struct attribute *a, uint32_t node, void *out)
{
        size_t before = c->problems->n;

        if (document_node(c->d, node)->type != DOC_MAP) {
                check_wrong(c, node, "a map");
                return;
        }
        check_map(c, a->schema, node, a->flags & A_AS_TEXT ? NULL : place(out, a));
        if (a->flags & A_AS_TEXT && c->problems->n == before)
                store_json(c, node, a->schema, NULL, place(out, a));
}

static void check_value(struct check *c, const struct attribute *a, uint32_t node, void *out)
{
        void *p = place(out, a);
        const char *text = NULL;
        double number = 0;
        int word;

        switch (a->kind) {
        case A_BOOL:
                if (document_node(c->d, node)->type != DOC_BOOL)
                        check_wrong(c, node, "true or false");
                else if (p)
                        *(bool *)p = document_node(c->d, node)->v.boolean;
                break;
        case A_U32:
                if (check_number(c, a, node, &number) && p)
                        *(uint32_t *)p = (uint32_t)number;
                break;
        case A_U64:
                if (check_number(c, a, node, &number) && p)
                        *(uint64_t *)p = (uint64_t)number;
                break;
        case A_NUMBER:
                if (check_number(c, a, node, &number) && p)
                        *(double *)p = number;
                break;
        case A_STRING:
                text = check_string(c, a, node);
                if (p)
                        *(const char **)p = text;
                break;
        case A_ENUM:
                text = check_text(c, node);
                word = text ? check_word(c, a, node, text) : -1;
                if (p && a->flags & A_AS_TEXT)
                        *(const char **)p = text;
                else if (p && word >= 0)
                        *(int *)p = word;
                break;
        case A_STRINGS:
                check_strings(c, a, node, p);
                break;
        case A_LABELS:
                check_labels(c, node);
                break;
        case A_FREE:
                if (document_node(c->d, node)->type != DOC_MAP)
                        check_wrong(c, node, "a map");
                else
                        store_json(c, node, NULL, NULL, p);
                break;
        case A_SCHEMA:
                check_inner(c, a, node, out);
                break;
        case A_SCHEMAS:
                check_list(c, a, node, out);
                break;
        }
}

/* --- defaults: read from their canonical text --- */

static const char *unquote(struct check *c, const char *fallback)
{
        const char *text = arena_copy(&c->definition->arena, fallback + 1, strlen(fallback) - 2);

        if (!text)
                c->no_memory = true;
        return text;
}

static void default_strings(struct check *c, const struct attribute *a, struct strings *out)
{
        if (streq(a->fallback, "[]"))
                return;
        out->list = take(c, count(a->words) * sizeof(*out->list));
        if (!out->list)
                return;
        for (size_t i = 0; a->words[i]; i++) { /* a default of strings is made of its words */
                char quoted[64];

                snprintf(quoted, sizeof(quoted), "\"%s\"", a->words[i]);
                if (strstr(a->fallback, quoted))
                        out->list[out->n++] = a->words[i];
        }
}

static void check_default(struct check *c, const struct attribute *a, void *out)
{
        void *p = place(out, a);

        if (a->kind == A_SCHEMA && !a->fallback && !(a->flags & A_ABSENT)) {
                if (a->flags & A_AS_TEXT)
                        store_json(c, DOC_NONE, a->schema, NULL, p);
                else
                        check_map(c, a->schema, DOC_NONE, p);
        }
        if (!a->fallback || !p)
                return;
        if (a->kind == A_BOOL) {
                *(bool *)p = streq(a->fallback, "true");
        } else if (a->kind == A_U32) {
                *(uint32_t *)p = (uint32_t)strtoul(a->fallback, NULL, 10);
        } else if (a->kind == A_STRINGS) {
                default_strings(c, a, p);
        } else if (a->kind == A_STRING || (a->kind == A_ENUM && a->flags & A_AS_TEXT)) {
                *(const char **)p = unquote(c, a->fallback);
        } else if (a->kind == A_ENUM) {
                size_t n = strlen(a->fallback) - 2;
                int i = 0;

                while (strncmp(a->words[i], a->fallback + 1, n) != 0 || a->words[i][n])
                        i++;
                *(int *)p = i;
        } else if (a->kind == A_FREE || a->kind == A_SCHEMA) {
                *(const char **)p = a->fallback;
        }
}

static void check_map(struct check *c, const struct schema *s, uint32_t map, void *out)
{
        struct unknown unknown = { c, s };
        uint32_t nodes[SCHEMA_ATTRIBUTES_MAX];
        size_t before = c->problems->n;

        schema_match(s, c->d, map, nodes, check_unknown, &unknown);
        for (size_t i = 0; i < s->n_attributes; i++) {
                const struct attribute *a = &s->attributes[i];

                if (nodes[i] != DOC_NONE)
                        check_value(c, a, nodes[i], out);
                else if (a->flags & A_REQUIRED)
                        check_problem(c, map, a->name, "the attribute \"%s\" of %s is missing and has "
                                      "no default", a->name, s->name);
                else
                        check_default(c, a, out);
        }
        if (s->json_at && c->problems->n == before)
                store_json(c, map, s, s->json_without,
                           (const char **)(void *)((char *)out + s->json_at));
}

/* --- the whole --- */

/* provider_agnostic decides how servers are read, so it is wanted before them. */
static bool find_agnostic(const struct document *d, uint32_t top)
{
        uint32_t node = document_get(d, top, "provider_agnostic");

        return node == DOC_NONE || document_node(d, node)->type != DOC_BOOL ||
               document_node(d, node)->v.boolean;
}

int definition_check(struct document *d, uint32_t top, const char *folder,
                     struct problems *problems, struct definition **ret_definition)
{
        _cleanup_(cleanup_definition) struct definition *def = calloc(1, sizeof(*def));
        struct check c = { .d = d, .top = top, .definition = def, .problems = problems,
                           .budget = SIMILAR_BUDGET, .n_before = problems->n };

        if (!def)
                return error_origin(-ENOMEM);
        if (document_node(d, top)->type != DOC_MAP) {
                check_wrong(&c, top, "a map: a WorkflowDef");
                return 0;
        }
        def->document = d;
        def->top = top;
        def->provider_agnostic = find_agnostic(d, top);
        def->folder = arena_strdup(&def->arena, folder ? folder : "");
        check_map(&c, &schema_workflow, top, def);
        if (def->folder && !c.no_memory)
                check_references(&c);
        if (!def->folder || c.no_memory)
                return error_origin(-ENOMEM);
        if (problems->n == c.n_before)
                *ret_definition = steal(&def);
        else
                check_sort(&c);
        return 0;
}

int definition_canonical(const struct definition *d, struct buf *json)
{
        schema_canonical(&schema_workflow, d->document, d->top, NULL, json);
        return buf_error(json);
}
