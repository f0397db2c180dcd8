/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store that is tested, as the core calls it: loaded and trusted as a plugin, in calls of the border.
 * Which one it is says the environment:
 *
 *      PRVNG_TEST_STORE          its file; the plugin's name is that of the file
 *      PRVNG_TEST_STORE_CONFIG   JSON handed to create(), if it needs any
 */
#ifndef PRVNG_TEST_STORE_H
#define PRVNG_TEST_STORE_H

#include "base/buf.h"
#include "base/json.h"
#include "config/config.h"
#include "plugin/plugin.h"

#include <limits.h>

/* One instance of the plugin, as one process has. */
struct store {
        char name[64];
        struct config config;
        struct config_plugin conf;
        struct host *host;
        struct plugins *plugins;
        struct plugin *plugin;
        uint64_t epoch;      /* of the last opening */
        char message[1024];  /* of the last call, "" if it said nothing */
};

void store_new(struct store *s, const char *folder);
void store_free(struct store *s);

/* The calls; epoch and messages are kept here. */
int32_t store_open(struct store *s, const char *location, uint32_t flags);
int32_t store_append(struct store *s, const char *stream, uint32_t segment, const void *data,
                     size_t n);
int32_t store_read(struct store *s, const char *stream, uint32_t segment, uint64_t offset,
                   struct buf *ret);
int32_t store_recover(struct store *s, const char *stream, uint32_t segment, uint64_t n);
int32_t store_list(struct store *s, json_t **ret);
int32_t store_remove(struct store *s, const char *stream);
int32_t store_put(struct store *s, const char *stream, const void *data, size_t n);
/* In parts of that size; stops behind the first `max` of them. */
int32_t store_put_parts(struct store *s, const char *stream, const void *data, size_t n, size_t part,
                        unsigned max);
int32_t store_get(struct store *s, const char *stream, struct buf *ret);
void store_close(struct store *s);

#endif
