/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of the site that are no plugin's business: the folders of its stores, and its key. The linker puts
 * these in the place of the C library's functions, as in machine.c.
 */
#include "simulate/sim.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define KEY "/sim/site-key.pem"

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_unlink(const char *path);
int __real_access(const char *path, int mode);
int __wrap_access(const char *path, int mode);
EVP_PKEY *__wrap_EVP_PKEY_Q_keygen(OSSL_LIB_CTX *libctx, const char *propq, const char *type, ...);

static int fresh_fd = -1; /* of the key that is being written */

static int file_of(const struct buf *b)
{
        int fd = memfd_create("key", MFD_CLOEXEC);

        if (fd < 0 || fchmod(fd, 0600) < 0 || write(fd, b->data, b->n) != (ssize_t)b->n ||
            lseek(fd, 0, SEEK_SET) < 0)
                abort();
        return fd;
}

int __wrap_open64(const char *path, int flags, ...)
{
        if (!sim || !startswith(path, "/sim"))
                return __real_open64(path, flags);
        if (streq(path, KEY) && !sim->key.n) {
                errno = ENOENT;
                return -1;
        }
        if (streq(path, KEY))
                return file_of(&sim->key);
        if (flags & O_DIRECTORY)
                return __real_open64("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fresh_fd >= 0)
                close(fresh_fd);
        fresh_fd = file_of(&(struct buf){0});
        return dup(fresh_fd);
}

/* The new key takes the place of none. */
int __wrap_rename(const char *from, const char *to)
{
        char bytes[4096];
        ssize_t n;

        if (!sim || !streq(to, KEY))
                return __real_rename(from, to);
        n = pread(fresh_fd, bytes, sizeof(bytes), 0);
        if (n <= 0)
                abort();
        buf_clear(&sim->key);
        buf_append(&sim->key, bytes, (size_t)n);
        close(fresh_fd);
        fresh_fd = -1;
        return 0;
}

int __wrap_unlink(const char *path)
{
        return 0;
}

int __wrap_access(const char *path, int mode)
{
        const char *name = startswith(path, "/sim/stores/");

        if (!name)
                return __real_access(path, mode);
        errno = ENOENT;
        return disk_exists(name) ? 0 : -1;
}

/* From the seed, as all else. */
EVP_PKEY *__wrap_EVP_PKEY_Q_keygen(OSSL_LIB_CTX *libctx, const char *propq, const char *type, ...)
{
        uint8_t secret[32];

        for (size_t i = 0; i < sizeof(secret); i++)
                secret[i] = (uint8_t)random_next(&sim->machine);
        return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret, sizeof(secret));
}
