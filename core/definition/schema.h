/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schemas of kcl/workflows.k as tables: one row per attribute drives checking, defaults, the
 * struct that the plan reads, and the canonical text, so that none can disagree.
 */
#ifndef PRVNG_DEFINITION_SCHEMA_H
#define PRVNG_DEFINITION_SCHEMA_H

#include "definition/definition.h"

enum attribute_kind {
        A_BOOL,    /* bool */
        A_U32,     /* uint32_t in min..max */
        A_U64,     /* uint64_t in min..max; 0 in the struct: not given */
        A_NUMBER,  /* double in min..max; 0: not given */
        A_STRING,  /* const char * */
        A_ENUM,    /* an enum of the order of `words`; with A_AS_TEXT const char * */
        A_STRINGS, /* struct strings */
        A_LABELS,  /* map of strings; not stored */
        A_FREE,    /* any map; const char *, JSON */
        A_SCHEMA,  /* a map with a schema: a struct inside; with A_AS_TEXT const char *, JSON */
        A_SCHEMAS, /* a list of such maps: pointer and count */
};

#define A_REQUIRED 0x1u
#define A_NAME     0x2u  /* the string, or each of them, is a name */
#define A_NONEMPTY 0x4u  /* the string, or each of them; the list */
#define A_UNIQUE   0x8u  /* no string of the list twice */
#define A_AS_TEXT  0x10u
#define A_OPEN     0x20u /* other words are accepted if they do not look like a mistyped one */
#define A_URL_PATH 0x40u /* begins with a slash */
#define A_ABSENT   0x80u /* A_SCHEMA: stays absent, where others appear with their defaults */
#define A_SITE     0x100u /* the site decides where nobody wrote it; see schema_chosen() */

#define A_NOWHERE SIZE_MAX

struct schema;

struct attribute {
        const char *name;
        enum attribute_kind kind;
        uint32_t flags;
        const char *fallback; /* canonical text; NULL: absent stays absent */
        size_t at;            /* in the schema's struct, or A_NOWHERE */
        size_t count_at;      /* of A_SCHEMAS */
        double min, max;
        const char *const *words; /* ends with NULL: A_ENUM, or of each string of A_STRINGS */
        const struct schema *schema;
};

#define SCHEMA_ATTRIBUTES_MAX 20

#define SCHEMA_BLOCKS 0x1u /* other maps are blocks of providers; see check_unknown() */

struct schema {
        const char *name;
        const struct attribute *attributes;
        size_t n_attributes;
        uint32_t flags;
        size_t size;    /* of the struct of one list element */
        size_t node_at; /* where the element's node number goes */
        size_t json_at; /* where its canonical text goes; 0: nowhere */
        const char *json_without; /* attribute left out there */
};

extern const struct schema schema_workflow;
extern const struct schema schema_operation;
extern const struct schema schema_server;

/* Sorts the children of `map` by attribute: ret_nodes[i] is the value of attribute i, or DOC_NONE if it
 * is absent or null. Others are given to `unknown`, if there is one. */
void schema_match(const struct schema *s, const struct document *d, uint32_t map,
                  uint32_t ret_nodes[SCHEMA_ATTRIBUTES_MAX],
                  void (*unknown)(void *userdata, uint32_t node), void *userdata);

/* A_SITE: did somebody write that value of the map? What is another one than the fallback is; so is what
 * has a place of its own, which what an evaluator filled in has not. */
bool schema_chosen(const struct attribute *a, const struct document *d, uint32_t map, uint32_t node);

/* Appends the canonical text of a map (DOC_NONE: all defaults) that was checked. */
void schema_canonical(const struct schema *s, const struct document *d, uint32_t map,
                      const char *without, struct buf *json);

/* Canonical text of any value: keys sorted, no whitespace. */
void canonical_any(const struct document *d, uint32_t node, struct buf *json);

/* --- what check.c, cross.c and report.c share --- */
struct check {
        struct document *d;
        uint32_t top;
        struct definition *definition;
        struct problems *problems;
        size_t budget;   /* of comparisons for "did you mean": problems may be as many as nodes */
        size_t n_before; /* problems that were there when the check began */
        size_t n_more;   /* not shown */
        bool no_memory;
};

/* Reports a problem of a node, or of its member that is not there; and the same at the node's key. */
void check_problem(struct check *c, uint32_t node, const char *member, const char *format, ...)
        _printf_(4, 5);
void check_key_problem(struct check *c, uint32_t node, const char *format, ...) _printf_(3, 4);

/* "VALUE is not accepted here; expected ..." */
void check_wrong(struct check *c, uint32_t node, const char *accepted);

/* The value as the user would write it, cut to a bearable length. */
#define CHECK_SHOWN 68
const char *check_show(struct check *c, uint32_t node, char ret_text[CHECK_SHOWN]);

const char *check_similar(struct check *c, const char *word, const char *const *list, size_t n);

/* Puts the problems into the order of the file. */
void check_sort(struct check *c);

/* The i-th child of the list that `map` has under that key. */
uint32_t check_child(const struct check *c, uint32_t map, const char *key, uint32_t i);

bool check_name(struct check *c, uint32_t node, const char *value, const char *what);

/* Everything that refers from one part of the definition to another. */
void check_references(struct check *c);

#endif
