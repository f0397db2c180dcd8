/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng.loader/1: reads a file format into the core's document builder (prvng/host/document.h).
 *
 * A loader builds no document itself: it emits events with positions, so that every format shares
 * one checker and every error knows where it stands.
 */
#ifndef PRVNG_KIND_LOADER_H
#define PRVNG_KIND_LOADER_H

#include <prvng/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PRVNG_LOADER "prvng.loader/1"

struct prvng_document; /* the builder, see prvng/host/document.h */

/* What to load. */
struct prvng_loader_source {
        uint32_t struct_size;
        uint32_t reserved;
        const char *path;      /* absolute path of the file, or NULL */
        const void *data;      /* its content where there is no file (path is then only a name for
                                * messages), else NULL */
        uint64_t n_data;
        const char *arguments; /* JSON object: {"D": {"k": "v"}} from `-D k=v`, and "schemas": folder
                                * of the shipped KCL schemas */
        /* members above: 1.0 */
};
#define PRVNG_LOADER_SOURCE_BASELINE PRVNG_SIZE_UP_TO(struct prvng_loader_source, arguments)

struct prvng_loader {
        uint32_t struct_size;
        uint32_t reserved;

        /* [any] File name endings it reads, separated by spaces, without dots: "yaml yml". */
        const char *extensions;

        /* [worker] Reads the source and emits it. Problems of the source are reported to the
         * builder with their positions, as many as can be found, and give PERMANENT; a missing
         * program or library gives UNSUPPORTED with the cure in the message. Evaluates nothing
         * untrusted outside a sandboxed child. */
        int32_t (*load)(void *instance, struct prvng_call *call,
                        const struct prvng_loader_source *source, struct prvng_document *document);
        /* members above: 1.0 */
};
#define PRVNG_LOADER_BASELINE PRVNG_SIZE_UP_TO(struct prvng_loader, load)

#ifdef __cplusplus
}
#endif

#endif
