/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/inventory.h"

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
