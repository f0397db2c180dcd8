/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The builder behind prvng.host.document/1: one array of nodes in document order and one arena of text.
 *
 * Keys are interned: equal keys of a document have one place in the text, so a document of a hundred
 * thousand operations holds each attribute name once. The four bytes in front of a key are the number
 * of the map that had it last; when a map ends, its children put theirs there, and who finds it there
 * already is a duplicate. So duplicates cost one look per key, however large the map is.
 */
#include "definition/document-inside.h"
#include "host/call.h"

#include <math.h>

#define PROBLEM_MAX 4096    /* bytes of a loader's message */
#define DUPLICATES_MAX 1000 /* reported: each costs a walk */
#define TEXT_MAX UINT32_MAX /* 4 GiB: keys are named by 32 bits */

static struct document *to_document(struct prvng_document *d)
{
        return (struct document *)d;
}

struct prvng_document *document_builder(struct document *d)
{
        return (struct prvng_document *)d;
}

static int files_add(struct document *d, const char *file)
{
        char **files = realloc(d->files, (d->n_files + 1) * sizeof(*files));

        if (!files)
                return error_origin(-ENOMEM);
        d->files = files;
        files[d->n_files] = strdup(file);
        if (!files[d->n_files])
                return error_origin(-ENOMEM);
        d->n_files++;
        return 0;
}

int document_new(const char *path, struct problems *problems, struct document **ret_document)
{
        struct document *d = calloc(1, sizeof(*d));

        if (!d)
                return error_origin(-ENOMEM);
        d->key = DOC_NONE;
        d->problems = problems;
        buf_putc(&d->text, 0); /* so that no key stands at 0 */
        if (files_add(d, path ? path : "") < 0 || d->text.error) {
                document_free(d);
                return error_origin(-ENOMEM);
        }
        *ret_document = d;
        return 0;
}

struct document *document_free(struct document *d)
{
        if (!d)
                return NULL;
        for (uint32_t i = 0; i < d->n_files; i++)
                free(d->files[i]);
        free(d->files);
        free(d->nodes);
        free(d->keys);
        buf_deinit(&d->text);
        free(d);
        return NULL;
}

static struct position position_of(const struct document *d, const struct prvng_position *at)
{
        struct position p = { .file = d->files[0] };

        if (at) {
                p.file = at->file ? at->file : d->files[0];
                p.line = at->line;
                p.column = at->column;
        }
        return p;
}

static int32_t fail(struct document *d, int32_t error_class, const struct prvng_position *at,
                    const char *message)
{
        struct position p = position_of(d, at);

        d->failed = error_class;
        if (d->problems)
                problems_add(d->problems, &p, NULL, "%s", message);
        return error_class;
}

static int32_t out_of_memory(struct document *d, const struct prvng_position *at)
{
        return fail(d, PRVNG_TRANSIENT, at, "out of memory while the document was read");
}

static uint32_t file_number(struct document *d, const char *file)
{
        if (!file)
                return 0;
        for (uint32_t i = d->n_files; i-- > 0;) /* the last one is the likely one */
                if (streq(d->files[i], file))
                        return i;
        return files_add(d, file) < 0 ? DOC_NONE : d->n_files - 1;
}

/* Loaders read many encodings; what leaves them is UTF-8 (https://www.rfc-editor.org/rfc/rfc3629). */
static bool is_utf8(const char *s, uint64_t n)
{
        const uint8_t *p = (const uint8_t *)s, *end = p + n;

        while (p < end) {
                uint32_t c, least, more;
                uint64_t eight;

                while (end - p >= 8 && (memcpy(&eight, p, 8), !(eight & 0x8080808080808080u)))
                        p += 8;
                if (p == end)
                        break;
                c = *p++;
                if (c < 0x80)
                        continue;
                more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
                least = more == 3 ? 0x10000 : more == 2 ? 0x800 : 0x80;
                if (c < 0xc2 || c > 0xf4 || (size_t)(end - p) < more)
                        return false;
                for (c &= 0x3f >> more; more > 0; more--, p++) {
                        if ((*p & 0xc0) != 0x80)
                                return false;
                        c = c << 6 | (*p & 0x3f);
                }
                if (c < least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
                        return false;
        }
        return true;
}

/* Room for n bytes and their NUL; its place, or DOC_NONE. */
static uint32_t text_add(struct document *d, const char *s, uint64_t n)
{
        size_t at = d->text.n;
        char *p;

        if (n >= TEXT_MAX || at + n + 1 >= TEXT_MAX)
                return DOC_NONE;
        p = buf_reserve(&d->text, n + 1);
        if (!p)
                return DOC_NONE;
        if (n)
                memcpy(p, s, n);
        p[n] = 0;
        buf_advance(&d->text, n + 1);
        return (uint32_t)at;
}

/* --- keys --- */

struct key_head {
        uint32_t map; /* that had this key last, plus one */
        uint32_t n;
};

static struct key_head key_head(const struct document *d, uint32_t key)
{
        struct key_head h;

        memcpy(&h, d->text.data + key - sizeof(h), sizeof(h));
        return h;
}

static uint32_t hash(const char *s, uint64_t n)
{
        uint32_t h = 2166136261u;

        for (uint64_t i = 0; i < n; i++)
                h = (h ^ (uint8_t)s[i]) * 16777619u;
        return h ^ h >> 15;
}

static int keys_grow(struct document *d)
{
        uint32_t cap = d->cap_keys ? d->cap_keys * 2 : 256;
        uint32_t *keys = calloc(cap, sizeof(*keys));

        if (!keys)
                return error_origin(-ENOMEM);
        for (uint32_t i = 0; i < d->cap_keys; i++) {
                uint32_t k = d->keys[i], slot;

                if (!k)
                        continue;
                slot = hash(d->text.data + k, key_head(d, k).n) & (cap - 1);
                while (keys[slot])
                        slot = (slot + 1) & (cap - 1);
                keys[slot] = k;
        }
        free(d->keys);
        d->keys = keys;
        d->cap_keys = cap;
        return 0;
}

static uint32_t key_intern(struct document *d, const char *key, uint64_t n)
{
        struct key_head h = { .n = (uint32_t)n };
        uint32_t slot, at;

        if (n >= TEXT_MAX)
                return DOC_NONE;
        if (d->n_keys * 2 >= d->cap_keys && keys_grow(d) < 0)
                return DOC_NONE;
        slot = hash(key, n) & (d->cap_keys - 1);
        for (; d->keys[slot]; slot = (slot + 1) & (d->cap_keys - 1)) {
                uint32_t k = d->keys[slot];

                if (key_head(d, k).n == n && memcmp(d->text.data + k, key, n) == 0)
                        return k;
        }
        if (d->text.n + sizeof(h) + n + 1 >= TEXT_MAX)
                return DOC_NONE;
        buf_append(&d->text, &h, sizeof(h));
        at = text_add(d, key, n);
        if (at == DOC_NONE || d->text.error)
                return DOC_NONE;
        d->keys[slot] = at;
        d->n_keys++;
        return at;
}

static void report_duplicate(struct document *d, uint32_t map, uint32_t node)
{
        _cleanup_(cleanup_free) char *path = NULL;
        struct position p = document_key_position(d, node);
        uint32_t first;

        if (!d->problems || d->problems->n >= DUPLICATES_MAX)
                return;
        path = document_path(d, 0, node);
        first = document_get(d, map, document_key(d, node));
        problems_add(d->problems, &p, path,
                     "the key \"%s\" stands twice in this map; the first one is in line %u. "
                     "Keep one of them.",
                     document_key(d, node), document_key_position(d, first).line);
}

static void check_duplicates(struct document *d, uint32_t map)
{
        for (uint32_t c = d->nodes[map].v.children.first; c != DOC_NONE; c = d->nodes[c].next) {
                char *place = d->text.data + d->nodes[c].key - sizeof(struct key_head);
                uint32_t stamp;

                memcpy(&stamp, place, sizeof(stamp));
                if (stamp == map + 1)
                        report_duplicate(d, map, c);
                stamp = map + 1;
                memcpy(place, &stamp, sizeof(stamp));
        }
}

/* --- events --- */

static int32_t append(struct document *d, enum doc_type type, const struct prvng_position *at,
                      struct doc_node **ret_node)
{
        struct frame *f = d->depth ? &d->stack[d->depth - 1] : NULL;
        uint32_t number = d->n_nodes, file;
        struct doc_node *n;

        if (d->failed)
                return d->failed;
        if (!f && number)
                return fail(d, PRVNG_INTERNAL, at, "the loader gave more than one value at the top");
        if (f && (d->nodes[f->node].type == DOC_MAP) != (d->key != DOC_NONE))
                return fail(d, PRVNG_INTERNAL, at, "the loader gave a value without its key");
        if (number == d->cap_nodes) {
                uint32_t cap = d->cap_nodes ? d->cap_nodes * 2 : 64;

                n = cap > d->cap_nodes ? realloc(d->nodes, cap * sizeof(*n)) : NULL;
                if (!n)
                        return out_of_memory(d, at);
                d->nodes = n;
                d->cap_nodes = cap;
        }
        file = file_number(d, at ? at->file : NULL);
        if (file == DOC_NONE)
                return out_of_memory(d, at);
        n = &d->nodes[d->n_nodes++];
        *n = (struct doc_node){
                .type = (uint8_t)type,
                .file = file,
                .line = at ? at->line : 0,
                .column = at ? at->column : 0,
                .key = d->key,
                .n_key = d->n_key,
                .key_line = d->key_line,
                .key_column = d->key_column,
                .parent = f ? f->node : DOC_NONE,
                .next = DOC_NONE,
        };
        d->key = DOC_NONE;
        d->n_key = d->key_line = d->key_column = 0;
        if (f) {
                if (f->last == DOC_NONE)
                        d->nodes[f->node].v.children.first = number;
                else
                        d->nodes[f->last].next = number;
                d->nodes[f->node].v.children.n++;
                f->last = number;
        }
        *ret_node = n;
        return 0;
}

static int32_t begin(struct prvng_document *builder, enum doc_type type,
                     const struct prvng_position *at)
{
        struct document *d = to_document(builder);
        struct doc_node *n;
        int32_t r;

        if (!d->failed && d->depth == DEPTH_MAX)
                return fail(d, PRVNG_PERMANENT, at,
                            "maps and lists are nested too deeply; at most 64 levels are accepted");
        r = append(d, type, at, &n);
        if (r < 0)
                return r;
        n->v.children.first = DOC_NONE;
        n->v.children.n = 0;
        d->stack[d->depth++] = (struct frame){ .node = d->n_nodes - 1, .last = DOC_NONE };
        return 0;
}

static int32_t map_begin(struct prvng_document *d, const struct prvng_position *at)
{
        return begin(d, DOC_MAP, at);
}

static int32_t list_begin(struct prvng_document *d, const struct prvng_position *at)
{
        return begin(d, DOC_LIST, at);
}

static int32_t end(struct prvng_document *builder, const struct prvng_position *at)
{
        struct document *d = to_document(builder);
        uint32_t node;

        if (d->failed)
                return d->failed;
        if (!d->depth || d->key != DOC_NONE)
                return fail(d, PRVNG_INTERNAL, at, "the loader ended a map or list at a wrong place");
        node = d->stack[--d->depth].node;
        if (d->nodes[node].type == DOC_MAP)
                check_duplicates(d, node);
        return 0;
}

static int32_t key(struct prvng_document *builder, const char *name, uint64_t n_name,
                   const struct prvng_position *at)
{
        struct document *d = to_document(builder);

        if (d->failed)
                return d->failed;
        if (!d->depth || d->key != DOC_NONE ||
            d->nodes[d->stack[d->depth - 1].node].type != DOC_MAP)
                return fail(d, PRVNG_INTERNAL, at, "the loader gave a key outside of a map");
        for (uint64_t i = 0; i < n_name; i++)
                if ((uint8_t)name[i] < 0x20 || name[i] == 0x7f)
                        return fail(d, PRVNG_PERMANENT, at, "a key may not contain control characters");
        if (!is_utf8(name, n_name))
                return fail(d, PRVNG_PERMANENT, at, "this key is no valid UTF-8");
        d->key = key_intern(d, name, n_name);
        d->n_key = (uint32_t)n_name;
        d->key_line = at ? at->line : 0;
        d->key_column = at ? at->column : 0;
        return d->key == DOC_NONE ? out_of_memory(d, at) : 0;
}

static int32_t string(struct prvng_document *builder, const char *value, uint64_t n_value,
                      const struct prvng_position *at)
{
        struct document *d = to_document(builder);
        uint32_t place;
        struct doc_node *n;
        int32_t r;

        if (!d->failed && !is_utf8(value, n_value))
                return fail(d, PRVNG_PERMANENT, at, "this text is no valid UTF-8");
        r = append(d, DOC_STRING, at, &n);
        if (r < 0)
                return r;
        place = text_add(d, value, n_value);
        if (place == DOC_NONE) {
                n->type = DOC_NULL;
                return out_of_memory(d, at);
        }
        n->v.string.offset = place;
        n->v.string.n = (uint32_t)n_value;
        return 0;
}

static int32_t integer(struct prvng_document *d, int64_t value, const struct prvng_position *at)
{
        struct doc_node *n;
        int32_t r = append(to_document(d), DOC_INTEGER, at, &n);

        if (r == 0)
                n->v.integer = value;
        return r;
}

static int32_t real(struct prvng_document *d, double value, const struct prvng_position *at)
{
        struct doc_node *n;
        int32_t r;

        if (!isfinite(value) && !to_document(d)->failed)
                return fail(to_document(d), PRVNG_PERMANENT, at,
                            "infinite numbers and NaN are not accepted");
        r = append(to_document(d), DOC_REAL, at, &n);
        if (r == 0)
                n->v.real = value;
        return r;
}

static int32_t boolean(struct prvng_document *d, int32_t value, const struct prvng_position *at)
{
        struct doc_node *n;
        int32_t r = append(to_document(d), DOC_BOOL, at, &n);

        if (r == 0)
                n->v.boolean = value != 0;
        return r;
}

static int32_t null(struct prvng_document *d, const struct prvng_position *at)
{
        struct doc_node *n;

        return append(to_document(d), DOC_NULL, at, &n);
}

static void problem(struct prvng_document *builder, const struct prvng_position *at,
                    const char *message, const char *snippet)
{
        struct document *d = to_document(builder);
        struct position p = position_of(d, at);
        _cleanup_(cleanup_free) char *clean = host_clean_text(message, PROBLEM_MAX);
        _cleanup_(cleanup_free) char *lines = snippet ? host_clean_text(snippet, PROBLEM_MAX) : NULL;

        if (d->problems)
                problems_add_snippet(d->problems, &p, NULL, lines,
                                     clean ? clean : "there is a problem, and no memory to say which");
}

const struct prvng_host_document *document_interface(void)
{
        static const struct prvng_host_document table = {
                .struct_size = sizeof(table),
                .map_begin = map_begin,
                .list_begin = list_begin,
                .end = end,
                .key = key,
                .string = string,
                .integer = integer,
                .real = real,
                .boolean = boolean,
                .null = null,
                .problem = problem,
        };

        return &table;
}
