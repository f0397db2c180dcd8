/* SPDX-License-Identifier: Apache-2.0 */
/* Server-Sent Events, read in pieces as they come: https://html.spec.whatwg.org/#parsing-an-event-stream */
#ifndef PRVNG_CLI_SSE_H
#define PRVNG_CLI_SSE_H

#include "base/buf.h"

struct sse {
        struct buf line, data, event;
        uint64_t id;
        bool has_id;
};

#define SSE_NULL ((struct sse){0})

typedef void (*sse_event_f)(void *userdata, const char *event, bool has_id, uint64_t id,
                            const char *data, size_t n_data);

void sse_feed(struct sse *s, const char *data, size_t n, sse_event_f f, void *userdata);
void sse_deinit(struct sse *s);

#endif
