/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng.host.document/1: the event builder that loaders write to.
 *
 * Events come in document order: map_begin, then key and value in turns, then end; list_begin,
 * values, end. One value at the top. Positions: line and column count from 1, column in bytes; 0 if
 * the format has none. `file` NULL means the source's own path.
 */
#ifndef PRVNG_HOST_DOCUMENT_H
#define PRVNG_HOST_DOCUMENT_H

#include <prvng/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PRVNG_HOST_DOCUMENT "prvng.host.document/1"

struct prvng_document;

struct prvng_position {
        const char *file; /* copied by the host */
        uint32_t line;
        uint32_t column;
};

/* All functions [any], one thread at a time per builder. They return 0, or a negative class once the
 * builder has given up (limits: depth 64, 4 GiB); the loader then returns that class. */
struct prvng_host_document {
        uint32_t struct_size;
        uint32_t reserved;
        int32_t (*map_begin)(struct prvng_document *d, const struct prvng_position *at);
        int32_t (*list_begin)(struct prvng_document *d, const struct prvng_position *at);
        int32_t (*end)(struct prvng_document *d, const struct prvng_position *at);
        int32_t (*key)(struct prvng_document *d, const char *key, uint64_t n_key,
                       const struct prvng_position *at);
        int32_t (*string)(struct prvng_document *d, const char *value, uint64_t n_value,
                          const struct prvng_position *at);
        int32_t (*integer)(struct prvng_document *d, int64_t value,
                           const struct prvng_position *at);
        int32_t (*real)(struct prvng_document *d, double value, const struct prvng_position *at);
        int32_t (*boolean)(struct prvng_document *d, int32_t value,
                           const struct prvng_position *at);
        int32_t (*null)(struct prvng_document *d, const struct prvng_position *at);

        /* Reports a problem of the source: a sentence that says what is wrong and what is
         * accepted. `snippet` may hold lines of the source to show, or NULL. Both are copied. */
        void (*problem)(struct prvng_document *d, const struct prvng_position *at,
                        const char *message, const char *snippet);
        /* members above: 1.0 */
};
#define PRVNG_HOST_DOCUMENT_BASELINE PRVNG_SIZE_UP_TO(struct prvng_host_document, problem)

#ifdef __cplusplus
}
#endif

#endif
