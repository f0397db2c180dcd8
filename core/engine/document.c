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
                     const char *spec, struct buf *ret)
{
        const struct resource *r = run_resource(site, run, t);
        const char *own;

        buf_clear(ret);
        task_doc_append(run, t, ret);
        if (!buf_error(ret))
                ret->n--; /* the bracket */
        own = spec ? strstr(buf_str(ret), ",\"spec\":") : NULL;
        if (own) {
                ret->n = (size_t)(own - ret->data) + 8;
                buf_puts(ret, spec);
        }
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

/* builds_on has its keys separated by spaces; add_inputs() wants them quoted. */
static void quote_keys(const char *keys, struct buf *b)
{
        for (const char *p = keys; *p; p += strcspn(p, " "), p += *p == ' ')
                buf_printf(b, "\"%.*s\",", (int)strcspn(p, " "), p);
}

/* The document of a resource as it stands in the inventory: to read it. Its key is KIND.NAME, where
 * NAME goes up to an '@'. */
int compose_present(const struct site *site, const struct resource *r, struct buf *ret)
{
        _cleanup_(cleanup_buf) struct buf keys = BUF_NULL;
        const char *dot = strchr(r->key, '.');

        if (!dot || !present(r))
                return -EINVAL;
        buf_clear(ret);
        BUF_LIT(ret, "{\"kind\":");
        buf_json_n(ret, r->key, (size_t)(dot - r->key));
        BUF_LIT(ret, ",\"name\":");
        buf_json_n(ret, dot + 1, strcspn(dot + 1, "@"));
        BUF_LIT(ret, ",\"workflow\":");
        buf_json(ret, r->workflow);
        buf_printf(ret, ",\"site\":\"%s\",\"spec\":%s,\"identity\":%s", site->id_text, r->spec,
                   r->outputs);
        quote_keys(r->builds_on, &keys);
        add_inputs(site, buf_str(&keys), ret);
        buf_putc(ret, '}');
        return buf_error(ret) ?: buf_error(&keys);
}
