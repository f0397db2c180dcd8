/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/signature.h"

#include "plugin/trust.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { SIGNATURE_BYTES = 64 };

DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free)

/* What is being checked. */
struct signed_file {
        const void *data;
        size_t n;
        uint8_t signature[SIGNATURE_BYTES];
};

static int say(char **ret_reason, const char *format, ...) _printf_(2, 3);

static int say(char **ret_reason, const char *format, ...)
{
        va_list ap;
        int n;

        va_start(ap, format);
        n = vasprintf(ret_reason, format, ap);
        va_end(ap);
        if (n >= 0)
                return 0;
        *ret_reason = NULL;
        return error_origin(-ENOMEM);
}

/* NULL with a sentence if the file holds no public ed25519 key. */
static EVP_PKEY *read_key(const char *path, char **ret_reason)
{
        FILE *f = fopen(path, "re");
        EVP_PKEY *key;

        if (!f) {
                say(ret_reason, "%s cannot be read: %s", path, strerror(errno));
                return NULL;
        }
        key = PEM_read_PUBKEY(f, NULL, NULL, NULL);
        fclose(f);
        if (key && EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519)
                return key;
        EVP_PKEY_free(key);
        say(ret_reason, "%s holds no public ed25519 key in PEM form; openssl pkey -in KEY -pubout writes one",
            path);
        return NULL;
}

int signature_check_key(const char *path, char **ret_reason)
{
        _cleanup_(cleanup_EVP_PKEY_free) EVP_PKEY *key = NULL;

        *ret_reason = NULL;
        key = read_key(path, ret_reason);
        return key || *ret_reason ? 0 : error_origin(-ENOMEM);
}

static bool signed_by(const struct signed_file *s, EVP_PKEY *key)
{
        _cleanup_(cleanup_EVP_MD_CTX_free) EVP_MD_CTX *ctx = EVP_MD_CTX_new();

        return ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
               EVP_DigestVerify(ctx, s->signature, sizeof(s->signature), s->data, s->n) == 1;
}

/* One key of the keyring: 1 if it signed. A key that cannot be trusted ends the search with its reason. */
static int try_key(const struct signed_file *s, const char *keyring, const char *name, char **ret_signer,
                   char **ret_reason)
{
        _cleanup_(cleanup_EVP_PKEY_free) EVP_PKEY *key = NULL;
        _cleanup_(cleanup_free) char *path = NULL, *real = NULL;
        int r;

        if (asprintf(&path, "%s/%s", keyring, name) < 0)
                return error_origin(-ENOMEM);
        r = trust_check(path, &real, ret_reason);
        if (r < 0 || *ret_reason)
                return error_fold(r);
        key = read_key(real, ret_reason);
        if (!key || !signed_by(s, key))
                return 0;
        *ret_signer = strndup(name, strlen(name) - strlen(".pem"));
        return *ret_signer ? 1 : error_origin(-ENOMEM);
}

static int search(const struct signed_file *s, const char *path, const char *keyring, char **ret_signer,
                  char **ret_reason)
{
        size_t n_keys = 0;
        struct dirent *e;
        DIR *d = opendir(keyring);
        int r = 0;

        while (d && r == 0 && !*ret_reason && (e = readdir(d))) {
                size_t n = strlen(e->d_name);

                if (n <= 4 || e->d_name[0] == '.' || !streq(e->d_name + n - 4, ".pem"))
                        continue;
                n_keys++;
                r = try_key(s, keyring, e->d_name, ret_signer, ret_reason);
        }
        if (d)
                closedir(d);
        if (r || *ret_reason)
                return r < 0 ? error_fold(r) : 0;
        if (n_keys == 0)
                return error_fold(say(ret_reason, "%s is signed, but there is no key in %s to check it with: "
                                      "prvng plugin trust --key KEY.pem adds one", path, keyring));
        return error_fold(say(ret_reason, "%s is not what was signed, or was signed by none of the %zu keys in "
                              "%s", path, n_keys, keyring));
}

/* 1 if there is a signature; 0 if there is none or it cannot count, with the reason. */
static int read_signature(const char *path, struct signed_file *s, char **ret_reason)
{
        _cleanup_(cleanup_free) char *name = NULL;
        _cleanup_(cleanup_close) int fd = -1;
        uint8_t bytes[SIGNATURE_BYTES + 1];
        ssize_t n;

        if (asprintf(&name, "%s.sig", path) < 0)
                return error_origin(-ENOMEM);
        fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0 && errno == ENOENT)
                return 0;
        n = fd < 0 ? -1 : read(fd, bytes, sizeof(bytes));
        if (n < 0)
                return error_fold(say(ret_reason, "%s cannot be read: %s", name, strerror(errno)));
        if (n != SIGNATURE_BYTES)
                return error_fold(say(ret_reason, "%s is no ed25519 signature, which has 64 bytes: "
                                      "openssl pkeyutl -sign -rawin makes one", name));
        memcpy(s->signature, bytes, SIGNATURE_BYTES);
        return 1;
}

int signature_check(int fd, const char *path, const char *keyring, char **ret_signer, char **ret_reason)
{
        struct signed_file s = {0};
        struct stat st;
        void *data;
        int r;

        *ret_signer = NULL;
        *ret_reason = NULL;
        r = read_signature(path, &s, ret_reason);
        if (r <= 0)
                return error_fold(r);
        if (fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > SIGNATURE_MAX_FILE)
                return error_fold(say(ret_reason, "%s is no file that can be signed", path));
        data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
                return error_fold(say(ret_reason, "%s cannot be read: %s", path, strerror(errno)));
        s.data = data;
        s.n = (size_t)st.st_size;
        r = search(&s, path, keyring, ret_signer, ret_reason);
        munmap(data, s.n);
        return error_fold(r);
}
