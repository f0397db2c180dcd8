/* SPDX-License-Identifier: Apache-2.0 */
/* One segment file of the store `file`. All functions return 0 or -errno. */
#ifndef PRVNG_STORE_FILE_SEGMENT_H
#define PRVNG_STORE_FILE_SEGMENT_H

#include <stdint.h>
#include <prvng/abi.h>
#include <prvng/host.h>

struct segment {
        int fd;            /* -1: closed */
        int folder;        /* of the stream */
        uint32_t number;
        uint64_t n;        /* bytes of data */
        uint64_t reserved; /* bytes of the file: zero behind the data */
};

/* The name of a segment's file in its stream's folder. */
#define SEGMENT_NAME 16
void segment_name(uint32_t number, char ret_name[SEGMENT_NAME]);

/* Makes an empty segment. Takes over `folder`. */
int segment_create(struct segment *s, int folder, uint32_t number);

/* Replaces a segment by a fresh copy of its first n bytes, durable on return, and opens it. */
int segment_recover(struct segment *s, int folder, uint32_t number, uint64_t n);

/* Opens a segment again that this process itself has closed: what it holds is durable. Takes over
 * `folder`. */
int segment_reopen(struct segment *s, int folder, uint32_t number);

/* Appends durably. After an error the segment must not be written to again. */
int segment_append(struct segment *s, const void *data, uint64_t n);

/* Gives back the room reserved ahead and closes the file (not the folder). */
void segment_close(struct segment *s);

/* Writes the data from `offset` on to the sink: up to the last byte that is not zero. */
int segment_read(int folder, uint32_t number, uint64_t offset, const struct prvng_host *host,
                 struct prvng_sink *sink);

int write_all(int fd, const void *data, uint64_t n, uint64_t offset);

#endif
