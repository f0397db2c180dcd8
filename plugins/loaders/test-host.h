/* SPDX-License-Identifier: Apache-2.0 */
/* A host as small as loaders need it: log, error, the document builder and spawn. For tests. */
#ifndef PRVNG_TEST_HOST_H
#define PRVNG_TEST_HOST_H

#include "definition/definition.h"
#include <prvng/prvng.h>

int32_t plugin_json(const struct prvng_host *host, const struct prvng_plugin **ret_plugin);
int32_t plugin_yaml(const struct prvng_host *host, const struct prvng_plugin **ret_plugin);
int32_t plugin_kcl(const struct prvng_host *host, const struct prvng_plugin **ret_plugin);

typedef int32_t (*plugin_entry)(const struct prvng_host *host, const struct prvng_plugin **ret_plugin);

/* What the last load said: class, and the error's message ("" if none). */
extern int32_t test_answer;
extern char test_message[4096];

/* Loads text (path NULL) or a file; config and arguments are JSON, NULL for "{}". */
struct document *test_load(plugin_entry entry, const char *path, const char *text, size_t n_text,
                           const char *config, const char *arguments, struct problems *problems);

/* Loads, finds and checks; the canonical text, or NULL with problems. The caller frees. */
char *test_canonical(plugin_entry entry, const char *path, const char *text, const char *config,
                     const char *arguments, struct problems *problems);

/* examples/klab/wuji/NAME of the sources, and a file's text; the caller frees. */
char *test_example(const char *name);
char *test_read(const char *path);

/* All problems as problems_print shows them; the caller frees. */
char *test_print(const struct problems *problems);

/* Asserts that one text is in the other. */
#define expect(printed, text)                                                                      \
        do {                                                                                       \
                const char *in_ = (printed), *what_ = (text);                                      \
                cr_assert(strstr(in_, what_), "\"%s\" is not in:\n%s", what_, in_);             \
        } while (0)

#endif
