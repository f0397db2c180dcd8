/* SPDX-License-Identifier: Apache-2.0 */
/* Which of a document's values is the workflow. */
#include "definition/definition.h"

#define NAMES_SHOWN 8

static bool is_workflow(const struct document *d, uint32_t node)
{
        return document_get(d, node, "operations") != DOC_NONE;
}

static const char *workflow_name(const struct document *d, uint32_t node)
{
        uint32_t name = document_get(d, node, "name");

        return name != DOC_NONE && document_node(d, name)->type == DOC_STRING
                       ? document_string(d, name)
                       : "";
}

static bool is_called(const struct document *d, uint32_t node, const char *name)
{
        const char *key = document_key(d, node);

        return (key && streq(key, name)) || streq(workflow_name(d, node), name);
}

static void report_none(const struct document *d, uint32_t root, struct problems *problems)
{
        static const char *const wanted[] = { "operations" };
        struct position at = document_position(d, root);
        uint32_t c = document_node(d, root)->v.children.first;

        for (; c != DOC_NONE; c = document_node(d, c)->next) {
                if (!did_you_mean(document_key(d, c), wanted, 1))
                        continue;
                at = document_key_position(d, c);
                problems_add(problems, &at, document_key(d, c),
                             "unknown attribute \"%s\". Did you mean \"operations\"?",
                             document_key(d, c));
                return;
        }
        problems_add(problems, &at, NULL,
                     "there is no workflow in this document: neither it nor one of its members has "
                     "`operations`");
}

/* `name` is NULL if several were found and none was asked for. */
static void report_choice(const struct document *d, uint32_t root, const char *name,
                          struct problems *problems)
{
        _cleanup_(cleanup_buf) struct buf names = BUF_NULL;
        const char *list[NAMES_SHOWN], *similar;
        struct position at = document_position(d, root);
        size_t n = 0;

        for (uint32_t c = document_node(d, root)->v.children.first; c != DOC_NONE;
             c = document_node(d, c)->next) {
                if (!is_workflow(d, c) || n == NAMES_SHOWN)
                        continue;
                buf_printf(&names, "%s%s", n ? ", " : "", document_key(d, c));
                list[n++] = document_key(d, c);
        }
        similar = name ? did_you_mean(name, list, n) : NULL;
        if (name)
                problems_add(problems, &at, NULL,
                             "there is no workflow \"%s\" in this document; it has: %s.%s%s%s", name,
                             buf_str(&names), similar ? " Did you mean \"" : "",
                             similar ? similar : "", similar ? "\"?" : "");
        else
                problems_add(problems, &at, NULL,
                             "this document has several workflows: %s. Choose one with --workflow NAME.",
                             buf_str(&names));
}

int definition_find(const struct document *d, const char *name, struct problems *problems,
                    uint32_t *ret_top)
{
        uint32_t root = document_root(d), found = DOC_NONE;
        _cleanup_(cleanup_buf) struct buf own = BUF_NULL;
        struct position at;
        size_t n = 0, n_all = 0;

        if (root == DOC_NONE || document_node(d, root)->type != DOC_MAP) {
                at = document_position(d, root);
                problems_add(problems, &at, NULL, "%s; expected a map: a workflow, or workflows by name",
                             root == DOC_NONE ? "the document is empty" : "the document is no map");
                return 0;
        }
        if (is_workflow(d, root)) {
                if (!name || streq(workflow_name(d, root), name)) {
                        *ret_top = root;
                        return 0;
                }
                at = document_position(d, root);
                buf_json(&own, workflow_name(d, root));
                problems_add(problems, &at, NULL,
                             "there is no workflow \"%s\" in this document; it is the workflow %s", name,
                             buf_str(&own));
                return 0;
        }
        for (uint32_t c = document_node(d, root)->v.children.first; c != DOC_NONE;
             c = document_node(d, c)->next) {
                if (!is_workflow(d, c))
                        continue;
                n_all++;
                if (name && !is_called(d, c, name))
                        continue;
                found = c;
                n++;
        }
        if (n == 1)
                *ret_top = found;
        else if (n_all == 0)
                report_none(d, root, problems);
        else
                report_choice(d, root, n ? NULL : name, problems);
        return 0;
}
