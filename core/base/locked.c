/* SPDX-License-Identifier: Apache-2.0 */
#include "base/locked.h"

#include <sys/mman.h>

int locked_init(struct locked *l, const void *data, size_t n)
{
        size_t page = (size_t)sysconf(_SC_PAGESIZE), mapped = (n / page + 1) * page;
        char *p = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED)
                return error_origin(-ENOMEM);
        /* Best effort: a user's limit on locked memory is no reason not to work. */
        mlock(p, mapped);
        madvise(p, mapped, MADV_DONTDUMP);
        if (data)
                memcpy(p, data, n);
        *l = (struct locked){p, n, mapped};
        return 0;
}

void locked_deinit(struct locked *l)
{
        if (l->data) {
                explicit_bzero(l->data, l->mapped);
                munmap(l->data, l->mapped);
        }
        *l = (struct locked){0};
}
