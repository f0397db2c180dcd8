/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/inventory.h"

const struct resource *inventory_user(const struct inventory *i, const char *key)
{
        const struct resource *first = NULL;

        strmap_foreach (e, &i->by_key) {
                const struct resource *r = e->value.pointer;

                if (e->key && r->workflow && resource_stands_on(r, key) &&
                    (!first || strcmp(r->key, first->key) < 0))
                        first = r;
        }
        return first;
}

static int compare(const void *a, const void *b)
{
        return strcmp((*(const struct resource *const *)a)->key,
                      (*(const struct resource *const *)b)->key);
}

int inventory_sorted(const struct inventory *i, const struct resource ***ret_list, size_t *ret_n)
{
        const struct resource **list = malloc((i->by_key.n + 1) * sizeof(*list));
        size_t n = 0;

        if (!list)
                return error_origin(-ENOMEM);
        strmap_foreach (e, &i->by_key) {
                const struct resource *r = e->value.pointer;

                if (r->workflow || r->claim)
                        list[n++] = r;
        }
        qsort(list, n, sizeof(*list), compare);
        *ret_list = list;
        *ret_n = n;
        return 0;
}

bool resource_stands_on(const struct resource *r, const char *key)
{
        const char *p = r->workflow ? r->builds_on : "";

        while (*p) {
                size_t n = strcspn(p, " ");

                if (strncmp(p, key, n) == 0 && !key[n])
                        return true;
                p += n + (p[n] == ' ');
        }
        return false;
}

void inventory_standing_on(const struct inventory *i, const struct resource *r, struct buf *ret)
{
        _cleanup_(cleanup_free) const struct resource **list = NULL;
        size_t n = 0;

        if (!r->n_on)
                return;
        list = calloc(r->n_on, sizeof(*list));
        if (!list) {
                ret->error = -ENOMEM;
                return;
        }
        strmap_foreach (e, &i->by_key) {
                const struct resource *on = e->value.pointer;

                if (on != r && n < r->n_on && resource_stands_on(on, r->key))
                        list[n++] = on;
        }
        qsort(list, n, sizeof(*list), compare);
        for (size_t k = 0; k < n; k++) {
                if (k)
                        buf_putc(ret, ' ');
                buf_puts(ret, list[k]->key);
        }
}
