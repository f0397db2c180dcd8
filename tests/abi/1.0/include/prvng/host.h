/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the core offers to every plugin: a small table, and larger services by string id.
 */
#ifndef PRVNG_HOST_H
#define PRVNG_HOST_H

#include <prvng/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The host table. Valid from the plugin's entry call until the process ends. All functions are
 * [any] unless tagged otherwise, and may be called from a plugin's own threads between create and
 * destroy.
 */
struct prvng_host {
        uint32_t struct_size;
        uint32_t reserved;
        uint32_t abi_minor;       /* of the core */
        uint32_t reserved2;
        const char *core_version; /* for messages only, never to be compared */

        /* Writes one line to the core's log. `topic` is a short word such as "network". The text
         * must hold no secret. Both strings are copied. */
        void (*log)(const struct prvng_host *host, int32_t level, const char *topic,
                    const char *message);

        /* Says why the running call fails. The last record of a call counts; it is copied. */
        void (*error)(struct prvng_call *call, const struct prvng_error *error);

        /* 1 once the core wants the call to end early, else 0. Cheap enough for every loop. */
        int32_t (*is_cancelled)(struct prvng_call *call);

        /* A file descriptor that becomes readable when the call is cancelled, for use with poll().
         * Owned by the host; -1 if there is none. */
        int32_t (*cancel_fd)(struct prvng_call *call);

        /* Tells how far the work is: 0 to 1000, and a short text ("installing packages"), which
         * is copied. Shown to operators, not journaled. */
        void (*progress)(struct prvng_call *call, uint32_t permille, const char *message);

        /* With PRVNG_PENDING, PRVNG_OBSERVED_IN_PROGRESS and PRVNG_OBSERVED_UNCERTAIN: when the
         * core should ask next, counted from the return of this call. */
        void (*ask_again)(struct prvng_call *call, int64_t after_ms);

        /* Appends bytes. 0, or -ENOSPC if the sink's limit is reached, or -ENOMEM; after an error
         * the plugin returns PRVNG_INTERNAL. */
        int32_t (*sink_write)(struct prvng_sink *sink, const void *data, uint64_t n_data);

        /* A sink of the plugin's own, for what host services such as spawn and remote write; takes
         * at most `limit` bytes. NULL if memory is short. Ended with sink_free. */
        struct prvng_sink *(*sink_new)(uint64_t limit);

        /* What is in a sink made by sink_new, with a NUL behind it that is not counted. Valid until
         * the next write to it and sink_free. Never NULL. */
        const void *(*sink_data)(struct prvng_sink *sink, uint64_t *ret_n_data);

        /* Ends a sink made by sink_new; NULL does nothing. */
        void (*sink_free)(struct prvng_sink *sink);

        /* A copy of `string` that lives as long as the process; equal strings give one pointer.
         * NULL if memory is short. For a bounded set of strings only. */
        const char *(*intern)(const struct prvng_host *host, const char *string);

        /* The clock of all deadlines. */
        int64_t (*monotonic_ms)(void);

        /* The interface of that id, e.g. PRVNG_HOST_REMOTE, or NULL if this core or this process
         * has none. The pointer stays valid until the process ends. */
        const void *(*get_interface)(const struct prvng_host *host, const char *id);
        /* members above: 1.0 */
};
#define PRVNG_HOST_BASELINE PRVNG_SIZE_UP_TO(struct prvng_host, get_interface)

#ifdef __cplusplus
}
#endif

#endif
