/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/inventory.h"

/* `keys` are separated by spaces. */
static bool has_key(const char *keys, const char *key)
{
        size_t n = strlen(key);

        for (const char *p = keys; *p; p += strcspn(p, " "), p += *p == ' ')
                if (strncmp(p, key, n) == 0 && (p[n] == ' ' || !p[n]))
                        return true;
        return false;
}

const struct resource *inventory_user(const struct inventory *i, const char *key)
{
        const struct resource *first = NULL;

        strmap_foreach (e, &i->by_key) {
                const struct resource *r = e->value.pointer;

                if (e->key && r->workflow && has_key(r->builds_on ?: "", key) &&
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
