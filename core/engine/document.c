/* SPDX-License-Identifier: Apache-2.0 */
/* The task as its plugin gets it (prvng/kind/op.h): the plan's part and what the inventory knows now. */
#include "engine/flight.h"

static bool present(const struct resource *r)
{
        return r && r->workflow;
}

/* `uses` is a JSON array of keys, written by us: ["server.a","network.b"]. */
static void add_inputs(const struct site *site, const char *uses, struct buf *b)
{
        const char *p = uses;
        bool any = false;

        while ((p = strchr(p, '"'))) {
                const char *end = strchr(p + 1, '"');
                struct strmap_entry *e;

                if (!end)
                        break;
                e = strmap_find(&site->inventory.by_key, p + 1, (size_t)(end - p - 1));
                if (e && present(e->value.pointer)) {
                        buf_puts(b, any ? "," : ",\"inputs\":{");
                        buf_append(b, p, (size_t)(end - p + 1));
                        buf_putc(b, ':');
                        buf_puts(b, ((struct resource *)e->value.pointer)->outputs);
                        any = true;
                }
                p = end + 1;
        }
        if (any)
                buf_putc(b, '}');
}

int compose_document(const struct site *site, const struct run *run, struct task *t,
                     struct buf *ret)
{
        const struct resource *r = run_resource(site, run, t);

        buf_clear(ret);
        task_doc_append(run, t, ret);
        if (!buf_error(ret))
                ret->n--; /* the bracket */
        if (present(r)) {
                BUF_LIT(ret, ",\"identity\":");
                buf_puts(ret, r->outputs);
                BUF_LIT(ret, ",\"former\":");
                buf_puts(ret, r->spec);
        }
        add_inputs(site, task_uses(run, t), ret);
        buf_putc(ret, '}');
        return buf_error(ret);
}
