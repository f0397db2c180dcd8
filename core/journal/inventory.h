/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inventory: the resources of the site with their owners and last known outputs. A part of the
 * fold (journal/state.h makes it); everyone else only reads it.
 */
#ifndef PRVNG_JOURNAL_INVENTORY_H
#define PRVNG_JOURNAL_INVENTORY_H

#include "base/buf.h"
#include "base/strmap.h"
#include "base/uid.h"
#include "journal/texts.h"

struct resource {
        const char *workflow; /* name that owns it; NULL: claimed, not there yet */
        const char *plugin;      /* "provider/local", "taskserv/containerd" */
        const char *spec;        /* JSON object: the spec it was last made with */
        const char *outputs;     /* JSON object: its last result */
        const char *builds_on;   /* keys of the resources it stands on, separated by spaces; "" */
        const char *run;         /* run that last changed it */
        int64_t changed_ms; /* wall clock */
        const char *claim;       /* id of the run in flight that may change it, or NULL */
        const char *claim_workflow; /* that run's workflow name, or NULL */
        struct resource *next_claim; /* of the same run */
        uint32_t n_on;     /* how many resources build on it */
        uint32_t n_sharers; /* runs in flight that share it with the one that claims it */
        char op_id[UID_TEXT];    /* request that last changed it; "" if it was found or adopted */
        char key[];        /* "server.web-0", "taskserv.containerd@web-0", "network.private@upcloud" */
};

struct inventory {
        struct strmap by_key; /* struct resource *; also some that are only built on */
        struct texts texts;   /* of the resources: what they have in common */
        struct resource *next; /* the one that the next change is likely about, or NULL */
};

/* One that is there or claimed, or NULL. */
static inline const struct resource *inventory_get(const struct inventory *i, const char *key)
{
        const struct resource *r = strmap_get(&i->by_key, key);

        return r && (r->workflow || r->claim) ? r : NULL;
}

/* Something that is there and builds on it, the first by key; or NULL. Looks at all. */
const struct resource *inventory_user(const struct inventory *i, const char *key);

/* Networks and the like, "network.private@upcloud": several runs in flight may be about one. */
static inline bool key_is_shared(const char *key)
{
        return strchr(key, '@') && !startswith(key, "taskserv.");
}

/* A run in flight of another workflow that has a task to come which builds on the resource; false: there
 * is none. Looks at runs that are loaded. */
struct site;
bool site_used(const struct site *s, const char *key, const char *workflow, const char **ret_run,
               const char **ret_workflow);

/* What the run in flight that claims the resource makes it with, appended; false if others cannot share it, as
 * site_maker() in journal/state.h says. *ret_settled (may be NULL): it is made. */
bool site_makes(const struct site *s, const struct resource *r, struct buf *ret_spec, bool *ret_settled);

/* The first run in flight that shares it with the one that claims it; false: there is none. */
bool site_shared(const struct site *s, const struct resource *r, const char **ret_run,
                 const char **ret_workflow);

/* Does it build on the resource with that key? */
bool resource_stands_on(const struct resource *r, const char *key);

/* Appends the keys of what stands on it, separated by spaces, in strcmp order. */
void inventory_standing_on(const struct inventory *i, const struct resource *r, struct buf *ret);

/* What is there or claimed. Keys in strcmp order; the caller frees the array, not the keys. -ENOMEM. */
int inventory_sorted(const struct inventory *i, const struct resource ***ret_list, size_t *ret_n);

#endif
