/* SPDX-License-Identifier: Apache-2.0 */
/* The stores of a site, open for reading, without a fold: for what must work where folding does not. */
#ifndef PRVNG_CLI_OPENED_H
#define PRVNG_CLI_OPENED_H

#include "cli.h"
#include "run/site.h"

struct opened {
        struct context context;
        struct journals *journals;
        struct journal *home; /* one of them */
};

/* 0, or an exit code after a complaint. */
int opened_open(struct opened *o, const struct cli *cli);
void opened_close(struct opened *o);

/* The journal of a store by its name: struct audit_request.journal, over a struct opened. */
int opened_journal(void *opened, const char *store, struct journal **ret_journal, char **ret_message);

static inline void cleanup_opened(struct opened *o)
{
        opened_close(o);
}

#endif
