/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of seals, and what journal.c and reader.c share. Internal to core/journal. */
#ifndef PRVNG_JOURNAL_SEAL_H
#define PRVNG_JOURNAL_SEAL_H

#include "journal/journal.h"
#include "plugin/border.h"

struct seal {
        uint64_t number;
        uint64_t n_records;
        uint8_t after[32];
        uint8_t digest[32];
};

/* The digest of a batch; see journal.h for what it covers. -EIO if OpenSSL fails. */
int seal_digest(const uint8_t after[32], const uint8_t salt[16], uint32_t segment, uint64_t number,
                const void *batch, size_t n_batch, uint8_t ret_digest[32]);
/* SHA-256 of a piece of memory. -EIO if OpenSSL fails. */
int sha256(const void *data, size_t n, uint8_t ret_digest[32]);
/* The same step by step. NULL: OpenSSL fails; the others then do nothing but fail. */
struct sha256_steps *sha256_begin(void);
int sha256_add(struct sha256_steps *s, const void *data, size_t n);
int sha256_end(struct sha256_steps *s, uint8_t ret_digest[32]); /* frees it; ret_digest NULL: only that */
void seal_write(struct buf *b, uint64_t number, uint64_t n_records, const uint8_t after[32],
                const uint8_t digest[32]);

/* Both read one line without its newline, false if it is not such a line. */
bool seal_read(const char *line, size_t n_line, struct seal *ret_seal);
bool segment_read(const char *line, size_t n_line, const char *stream, uint32_t segment,
                  uint32_t *ret_format, uint8_t ret_salt[16]);

/* Is there, from `p` on, a batch whose own seal is valid? Then all before it was durable once. */
bool seal_follows(const uint8_t salt[16], uint32_t segment, const char *p, const char *end);

struct store_call {
        struct op_call call;
        struct op_reply reply;
};

void store_call_begin(struct journal *j, struct store_call *c);
int store_call_end(struct journal *j, struct store_call *c, const char *what, int32_t answer);
int journal_fail(struct journal *j, int condition, const char *format, ...) _printf_(3, 4);
/* The batch between these bytes of the stream's segment is its last one now. */
void stream_sealed(struct stream *s, uint64_t from, uint64_t end, uint64_t seal,
                   const uint8_t digest[32]);
int journal_last_segment(struct journal *j, const char *name, uint32_t *ret_segment);

#endif
