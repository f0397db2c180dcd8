/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plugins of a site: found by configuration, checked for trust, opened, negotiated, and called.
 *
 * A struct plugins is made once in [main] and immutable afterwards, except for the locks inside. A
 * plugin that may not or cannot be used stays in the list with its reason; nothing is ever unloaded.
 */
#ifndef PRVNG_PLUGIN_PLUGIN_H
#define PRVNG_PLUGIN_PLUGIN_H

#include "config/config.h"
#include <prvng/prvng.h>

struct host;        /* core/host/host.h */
struct isolated;    /* core/plugin/isolate.h */
struct plugin_lock; /* core/plugin/lock.h */

enum plugin_state {
        PLUGIN_READY,    /* with an instance, or nothing speaks against one (notes only, other
                          * kinds than asked for) */
        PLUGIN_DISABLED, /* by configuration */
        PLUGIN_REFUSED,  /* `reason` says why */
};

struct plugin {
        enum plugin_state state;
        char *reason;    /* one sentence with the cure, or NULL */
        char *name;      /* of the drop-in; equals the descriptor's */
        char *kind;      /* from the note, else from the folder in the drop-in's `file`, else "" */
        char *id;
        char *version;
        char *path;      /* absolute path of the file, or NULL if it was not found */
        char *sha256;    /* of the file, hex; NULL: unreadable, or only its note was asked for (plugin_digest) */
        char *build_id;  /* that the linker wrote into it, hex, or NULL */
        char *signer;    /* key of the keyring that signed it, or NULL */
        json_t *note;    /* the ELF note's object, or NULL */
        json_t *capabilities; /* that it may use if isolated: the note's and the drop-in's, with every member
                          * (config/capability.h); NULL where there is no note */
        struct prvng_plugin descriptor; /* private copy; zero unless READY */
        json_t *dependencies;           /* descriptor.dependencies parsed, or NULL */
        json_t *describe;               /* what describe() wrote, or NULL */
        void *instance;
        struct prvng_op op;         /* private zero-extended copies of its tables; struct_size 0 if */
        struct prvng_store store;   /* it has none */
        struct prvng_loader loader;
        struct prvng_template template_;
        struct prvng_secret secret;
        struct prvng_provider_precheck precheck;   /* optional */
        struct prvng_provider_inventory inventory;
        struct isolated *isolated;  /* its process, NULL if it runs in this one */
        struct plugin_lock *lock;   /* by descriptor.threads */
        const struct config_plugin *config;
        struct host *host;
};

struct plugins {
        struct plugin *list; /* sorted by kind, then name */
        size_t n;
        struct host *host;
};

/* What plugins_load does: only read the notes (list), or everything. */
#define PLUGINS_NOTES_ONLY 0x1u

/* Loads what the configuration enables. `kinds` is a space-separated list of kinds to create
 * instances of ("loader provider taskserv"), NULL for all: the others are listed by note only.
 * Returns 0 also if some are refused. */
int plugins_load(const struct config *config, struct host *host, const char *kinds, uint32_t flags,
                 struct plugins **ret_plugins);
/* Fills in p->sha256 where it is not known yet and the file can be read, all of it. [main] */
void plugin_digest(struct plugin *p);
struct plugins *plugins_free(struct plugins *p); /* destroys instances; closes no object */

/* What limits its account: the site's drop-in, else what the plugin declares; 0: nothing does. Requests a
 * second, and tasks at once (`otherwise`: where it declares nothing). */
uint32_t plugin_rate_limit(const struct plugin *p);
uint32_t plugin_batch_size(const struct plugin *p, uint32_t otherwise);

/* Does it run, or would it, in a process of its own? The drop-in says so, else the note. */
bool plugin_isolation(const struct plugin *p);

/* The plugin of that kind and name in any state, or NULL. */
struct plugin *plugins_find(const struct plugins *p, const char *kind, const char *name);

/* The loader for a file name, by extension, READY; or NULL. */
struct plugin *plugins_find_loader(const struct plugins *p, const char *path);

/* What evaluates expressions: the first plugin of the kind "template" that is READY; or NULL. */
struct plugin *plugins_find_template(const struct plugins *p);

static inline void cleanup_plugins(struct plugins **p)
{
        plugins_free(*p);
}

#endif
