/* SPDX-License-Identifier: Apache-2.0 */
/* A definition in the body of a request: read with places, checked, planned, made a submission. */
#include "run/api.h"

const char *api_definition_text(const struct api_definition *a, const char *key)
{
        uint32_t node = document_get(a->document, a->root, key);

        if (node == DOC_NONE || document_node(a->document, node)->type != DOC_STRING)
                return NULL;
        return document_string(a->document, node);
}

void api_definition_deinit(struct api_definition *a)
{
        plan_free(a->plan);
        definition_free(a->definition);
        document_free(a->document);
        problems_deinit(&a->problems);
        buf_deinit(&a->canonical);
        buf_deinit(&a->who);
        buf_deinit(&a->logging);
        *a = (struct api_definition){0};
}

/* The texts of a list in the body, ending with NULL; NULL if it is not there. Caller frees the array. */
static const char **texts_of(const struct api_definition *a, const char *member)
{
        uint32_t list = document_get(a->document, a->root, member), n = 0;
        const struct doc_node *node;
        const char **ids;

        if (list == DOC_NONE || document_node(a->document, list)->type != DOC_LIST)
                return NULL;
        node = document_node(a->document, list);
        ids = calloc(node->v.children.n + 1, sizeof(*ids));
        for (uint32_t c = node->v.children.first; ids && c != DOC_NONE;
             c = document_node(a->document, c)->next)
                if (document_node(a->document, c)->type == DOC_STRING)
                        ids[n++] = document_string(a->document, c);
        return ids;
}

static bool is_true(const struct api_definition *a, const char *member)
{
        uint32_t node = document_get(a->document, a->root, member);

        return node != DOC_NONE && document_node(a->document, node)->type == DOC_BOOL &&
               document_node(a->document, node)->v.boolean;
}

bool api_definition_read(struct engine_process *p, struct request *q, struct api_definition *a)
{
        int r;

        r = definition_load_json(p->context->plugins, "request", q->body, q->n_body, &a->problems,
                                 &a->document);
        if (r || !a->document) {
                api_problems(q, r ? 500 : 422, r ? strerror(-r) : "the body is not JSON",
                             &a->problems);
                return false;
        }
        a->root = document_root(a->document);
        a->top = document_get(a->document, a->root, "operations") != DOC_NONE
                         ? a->root
                         : document_get(a->document, a->root, "definition");
        if (a->top == DOC_NONE)
                api_problems(q, 422, "the body has no \"definition\"", NULL);
        return a->top != DOC_NONE;
}

bool api_definition_plan(struct engine_process *p, struct request *q, struct api_definition *a,
                         const char *run)
{
        _cleanup_(cleanup_free) const char **ids = texts_of(a, "only"), **again = texts_of(a, "replace");
        struct plan_request request = {
                .config = p->context->config,
                .plugins = p->context->plugins,
                .inventory = &p->site.inventory,
                .runs = &p->site,
                .site = p->site.id_text,
                .run = run,
                .replace = again,
                .prune = is_true(a, "prune"),
                .only = ids && ids[0] ? ids : NULL,
        };
        int r;

        r = definition_check(a->document, a->top, api_definition_text(a, "folder") ?: "", &a->problems,
                             &a->definition);
        request.definition = a->definition;
        if (r == 0 && a->definition)
                r = plan_make(&request, &a->problems, &a->plan);
        if (!a->problems.n && !r && a->plan)
                return true;
        api_problems(q, r ? 500 : 422, r ? strerror(-r) : "the definition is not valid", &a->problems);
        return false;
}

static void describe_logging(const struct definition *d, struct buf *b)
{
        BUF_LIT(b, "{\"level\":");
        buf_json(b, d->logging.level);
        BUF_LIT(b, ",\"path\":");
        buf_json(b, d->logging.path);
        BUF_LIT(b, ",\"format\":");
        buf_json(b, d->logging.format);
        buf_printf(b, ",\"retention_days\":%u,\"destinations\":[", d->logging.retention_days);
        for (uint32_t i = 0; i < d->logging.destinations.n; i++) {
                if (i)
                        buf_putc(b, ',');
                buf_json(b, d->logging.destinations.list[i]);
        }
        BUF_LIT(b, "]}");
}

bool api_definition_submission(struct request *q, struct api_definition *a, const struct uid *run)
{
        static const char *const types[] = {"batch", "sequential", "parallel"};
        const struct definition *d = a->definition;
        uint32_t who = document_get(a->document, a->root, "who");
        int r = definition_canonical(d, &a->canonical);

        if (r == 0 && who != DOC_NONE)
                r = document_json(a->document, who, &a->who);
        if (!a->who.n)
                BUF_LIT(&a->who, "{}");
        describe_logging(d, &a->logging);
        if (r || buf_error(&a->logging) || buf_error(&a->who)) {
                api_problems(q, 500, "out of memory", NULL);
                return false;
        }
        a->submission = (struct submission){
                .run = *run,
                .kind = types[d->type],
                .who = buf_str(&a->who),
                .folder = d->folder,
                .file = api_definition_text(a, "file"),
                .definition = a->canonical.data,
                .n_definition = a->canonical.n,
                .max_attempts = d->retry.max_attempts,
                .initial_delay_s = d->retry.initial_delay_s,
                .max_delay_s = d->retry.max_delay_s,
                .backoff = d->retry.backoff == BACKOFF_LINEAR ? "linear" : "exponential",
                .logging = buf_str(&a->logging),
                .rollback = d->rollback.enabled,
                .on_partial = d->rollback.on_partial_failure,
                .preserve = d->rollback.preserve_successful,
                .checkpoint_interval = d->rollback.checkpoint_interval,
                .snapshot_every_s = d->monitoring.checkpoint_frequency_s,
        };
        return true;
}
