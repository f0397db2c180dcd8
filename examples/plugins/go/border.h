/* SPDX-License-Identifier: Apache-2.0 */
/* Go cannot call a C function pointer: these do it for files.go. */
#ifndef FILES_GO_BORDER_H
#define FILES_GO_BORDER_H

#include <prvng/prvng.h>

extern const struct prvng_host *files_host; /* given by the entry, valid for ever */

static inline int32_t host_write(struct prvng_sink *sink, const void *data, uint64_t n)
{
        return files_host->sink_write(sink, data, n);
}

static inline int32_t host_is_cancelled(struct prvng_call *call)
{
        return files_host->is_cancelled(call);
}

static inline void host_fail(struct prvng_call *call, int32_t error_class, uint32_t effect, const char *message,
                             const char *field)
{
        struct prvng_error e = {.struct_size = sizeof(e), .error_class = error_class, .retry_after_ms = -1,
                                .effect = effect, .message = message, .field = field};

        files_host->error(call, &e);
}

static inline void host_log(const struct prvng_host *host, int32_t level, const char *topic, const char *message)
{
        host->log(host, level, topic, message);
}

#endif
