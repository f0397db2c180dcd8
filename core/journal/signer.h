/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The site's key: an ed25519 pair that signs for what is removed from the journal, so that the chain can
 * be verified without it. The private half is a file that only its owner can read, made when it is first
 * needed; the public one is in the site's stream (`signer`), where all that is signed can be checked.
 */
#ifndef PRVNG_JOURNAL_SIGNER_H
#define PRVNG_JOURNAL_SIGNER_H

#include "base/buf.h"
#include "journal/record.h"

#define SIGNER_PUBLIC 65      /* room for a public key in hex */
#define SIGNER_SIGNATURE 129  /* room for a signature in hex */

struct signer;

/* Reads the key from that file, or makes it, durably. -errno; -EPERM if others may read the file, -EBADMSG
 * if it holds no ed25519 key. */
int signer_open(const char *path, struct signer **ret_signer);
struct signer *signer_close(struct signer *s);

void signer_public(const struct signer *s, char ret_hex[SIGNER_PUBLIC]);
int signer_sign(const struct signer *s, const void *text, size_t n, char ret_hex[SIGNER_SIGNATURE]);

/* Did the owner of the key sign that text? */
bool signer_verify(struct span public, const void *text, size_t n, struct span signature);

/* What is signed of a run whose stream is removed; `r` is its `compacted` record. */
void signer_compacted(const char *site, const struct record *r, struct buf *text);

static inline void cleanup_signer(struct signer **s)
{
        signer_close(*s);
}

#endif
