/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/signer.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sys/stat.h>

struct signer {
        EVP_PKEY *key;
};

struct signer *signer_close(struct signer *s)
{
        if (s) {
                EVP_PKEY_free(s->key);
                free(s);
        }
        return NULL;
}

static EVP_PKEY *read_key(int fd)
{
        FILE *f = fdopen(fd, "r");
        EVP_PKEY *key = f ? PEM_read_PrivateKey(f, NULL, NULL, NULL) : NULL;

        if (f)
                fclose(f);
        else
                close(fd);
        if (key && EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519)
                return key;
        EVP_PKEY_free(key);
        return NULL;
}

static int sync_folder_of(const char *path)
{
        _cleanup_(cleanup_free) char *copy = strdup(path);
        char *slash = copy ? strrchr(copy, '/') : NULL;
        int fd, r = 0;

        if (!copy)
                return error_origin(-ENOMEM);
        if (slash)
                *slash = 0;
        fd = open(slash ? copy : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (fsync(fd) < 0)
                r = -errno;
        close(fd);
        return r;
}

/* Under another name first: a key that is only half there would be no key for ever. */
static int write_key(EVP_PKEY *key, const char *path)
{
        _cleanup_(cleanup_free) char *fresh = NULL;
        FILE *f = NULL;
        int fd, r = 0;

        if (asprintf(&fresh, "%s.new", path) < 0) {
                fresh = NULL;
                return error_origin(-ENOMEM);
        }
        unlink(fresh); /* of a process that died here */
        fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        f = fdopen(fd, "w");
        if (!f) {
                close(fd);
                return error_origin(-ENOMEM);
        }
        if (!PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) || fflush(f) != 0 || fsync(fd) < 0)
                r = errno ? -errno : -EIO;
        fclose(f);
        if (r == 0 && rename(fresh, path) < 0)
                r = -errno;
        return r ? r : sync_folder_of(path);
}

int signer_open(const char *path, struct signer **ret_signer)
{
        struct signer *s = calloc(1, sizeof(*s));
        struct stat st;
        int fd, r = 0;

        if (!s)
                return error_origin(-ENOMEM);
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd >= 0 && (fstat(fd, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 077))) {
                close(fd);
                r = -EPERM;
        } else if (fd >= 0) {
                s->key = read_key(fd);
                r = s->key ? 0 : -EBADMSG;
        } else if (errno != ENOENT) {
                r = -errno;
        } else {
                s->key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
                r = s->key ? write_key(s->key, path) : -EIO;
        }
        if (r) {
                signer_close(s);
                return r;
        }
        *ret_signer = s;
        return 0;
}

void signer_public(const struct signer *s, char ret_hex[SIGNER_PUBLIC])
{
        uint8_t raw[32] = {0};
        size_t n = sizeof(raw);

        EVP_PKEY_get_raw_public_key(s->key, raw, &n);
        hex_text(raw, sizeof(raw), ret_hex);
        ret_hex[SIGNER_PUBLIC - 1] = 0;
}

int signer_sign(const struct signer *s, const void *text, size_t n, char ret_hex[SIGNER_SIGNATURE])
{
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        uint8_t raw[64];
        size_t n_raw = sizeof(raw);
        bool good = ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, s->key) == 1 &&
                    EVP_DigestSign(ctx, raw, &n_raw, text, n) == 1 && n_raw == sizeof(raw);

        EVP_MD_CTX_free(ctx);
        if (!good)
                return error_origin(-EIO);
        hex_text(raw, sizeof(raw), ret_hex);
        ret_hex[SIGNER_SIGNATURE - 1] = 0;
        return 0;
}

bool signer_verify(struct span public, const void *text, size_t n, struct span signature)
{
        uint8_t key_raw[32], raw[64];
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        EVP_PKEY *key = NULL;
        bool good = false;

        if (ctx && hex_read(public.p, public.n, key_raw, sizeof(key_raw)) &&
            hex_read(signature.p, signature.n, raw, sizeof(raw))) {
                key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key_raw, sizeof(key_raw));
                good = key && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
                       EVP_DigestVerify(ctx, raw, sizeof(raw), text, n) == 1;
        }
        EVP_PKEY_free(key);
        EVP_MD_CTX_free(ctx);
        return good;
}

void signer_compacted(const char *site, const struct record *r, struct buf *text)
{
        char run[UID_TEXT];

        uid_text(&r->run, run);
        buf_printf(text, "prvng compacted/1\n%s\n%s\n%llu\n%u\n%.*s\n", site, run,
                   (unsigned long long)r->upto, r->count, (int)r->head.n, r->head.p ? r->head.p : "");
}
