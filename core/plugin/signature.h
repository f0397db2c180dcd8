/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Detached signatures of plugin files: FILE.so.sig holds the 64 bytes of an ed25519 signature (RFC 8032)
 * over the whole file, as
 *
 *      openssl pkeyutl -sign -rawin -inkey KEY.pem -in FILE.so -out FILE.so.sig
 *
 * writes it. The keyring is a folder of public keys, NAME.pem, as `openssl pkey -pubout` writes them.
 * Keys and folder are held to the same rules as plugins (trust.h): who can add a key can add code.
 */
#ifndef PRVNG_PLUGIN_SIGNATURE_H
#define PRVNG_PLUGIN_SIGNATURE_H

#include "base/util.h"

#define SIGNATURE_MAX_FILE (INT64_C(1) << 30) /* bytes; larger is no plugin */

/*
 * Who signed the open file at `path`. 0 with *ret_signer the name of the key (caller frees), NULL if there is
 * no signature beside it; or, with *ret_reason set (caller frees), why the signature that is there does not
 * count: broken, by no key of the keyring, or a keyring that others could write to. -ENOMEM. [main]
 */
int signature_check(int fd, const char *path, const char *keyring, char **ret_signer, char **ret_reason);

/* The public key in that PEM file is one that signature_check can use. 0 with *ret_reason NULL or a sentence
 * (caller frees). */
int signature_check_key(const char *path, char **ret_reason);

#endif
