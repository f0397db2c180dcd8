/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

static void independent(struct buf *b, unsigned n)
{
        BUF_LIT(b, "{\"id\":\"all\",\"type\":\"create\",\"target\":\"server\",\"items\":[");
        for (unsigned i = 0; i < n; i++)
                buf_printf(b, "%s\"s%u\"", i ? "," : "", i);
        BUF_LIT(b, "]}");
}

/* Up to three different earlier ones. */
static unsigned some_before(unsigned i, unsigned *seed, unsigned ret_deps[3])
{
        unsigned n = 0;

        for (unsigned k = 0; k < 3 && k < i; k++) {
                unsigned dep = (unsigned)(rand_r(seed) % (int)i);
                bool again = false;

                for (unsigned j = 0; j < n; j++)
                        again |= ret_deps[j] == dep;
                if (!again)
                        ret_deps[n++] = dep;
        }
        return n;
}

void graph_definition(struct buf *b, enum shape shape, unsigned n)
{
        unsigned seed = 12345;

        BUF_LIT(b, "{\"name\":\"bench\",\"type\":\"parallel\",\"operations\":[");
        if (shape == INDEPENDENT)
                independent(b, n);
        for (unsigned i = 0; i < n && shape != INDEPENDENT; i++) {
                unsigned deps[3], n_deps = 0;

                if (shape == CHAIN && i)
                        deps[n_deps++] = i - 1;
                if (shape == DAG)
                        n_deps = some_before(i, &seed, deps);
                buf_printf(b, "%s{\"id\":\"o%u\",\"type\":\"create\",\"target\":\"server\",\"items\":"
                              "[\"s%u\"],\"depends_on\":[",
                           i ? "," : "", i, i);
                for (unsigned k = 0; k < n_deps; k++)
                        buf_printf(b, "%s\"o%u\"", k ? "," : "", deps[k]);
                BUF_LIT(b, "]}");
        }
        BUF_LIT(b, "]}");
}

void graph_request(struct buf *b, enum shape shape, unsigned n)
{
        BUF_LIT(b, "{\"definition\":");
        graph_definition(b, shape, n);
        buf_putc(b, '}');
}

/* The DAG of graph_definition() for ninja; `all` needs all of them. */
void graph_ninja(struct buf *b, unsigned n)
{
        unsigned seed = 12345;

        for (unsigned i = 0; i < n; i++) {
                unsigned deps[3], n_deps = some_before(i, &seed, deps);

                buf_printf(b, "build o%u: phony", i);
                for (unsigned k = 0; k < n_deps; k++)
                        buf_printf(b, " o%u", deps[k]);
                buf_putc(b, '\n');
        }
        BUF_LIT(b, "build all: phony");
        for (unsigned i = 0; i < n; i++)
                buf_printf(b, " o%u", i);
        BUF_LIT(b, "\ndefault all\n");
}
