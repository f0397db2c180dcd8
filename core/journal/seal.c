/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/seal.h"

#include <openssl/evp.h>
#include <pthread.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key; /* frees a thread's context at its end */
static EVP_MD *md;

static void free_context(void *ctx)
{
        EVP_MD_CTX_free(ctx);
}

static void fetch(void)
{
        if (pthread_key_create(&key, free_context) == 0)
                md = EVP_MD_fetch(NULL, "SHA256", NULL);
}

/* Fetched once: looking an algorithm up costs more than digesting a small batch. */
static EVP_MD_CTX *context(void)
{
        static __thread EVP_MD_CTX *ctx;

        pthread_once(&once, fetch);
        if (md && !ctx) {
                ctx = EVP_MD_CTX_new();
                if (ctx && pthread_setspecific(key, ctx) != 0) {
                        EVP_MD_CTX_free(ctx);
                        ctx = NULL;
                }
        }
        return ctx && EVP_DigestInit_ex2(ctx, md, NULL) ? ctx : NULL;
}

int seal_digest(const uint8_t after[32], const uint8_t salt[16], uint32_t segment, uint64_t number,
                const void *batch, size_t n_batch, uint8_t ret_digest[32])
{
        EVP_MD_CTX *ctx = context();
        uint8_t numbers[12];

        for (unsigned i = 0; i < 4; i++)
                numbers[i] = (uint8_t)(segment >> 8 * i);
        for (unsigned i = 0; i < 8; i++)
                numbers[4 + i] = (uint8_t)(number >> 8 * i);
        if (!ctx || !EVP_DigestUpdate(ctx, after, 32) || !EVP_DigestUpdate(ctx, salt, 16) ||
            !EVP_DigestUpdate(ctx, numbers, sizeof(numbers)) ||
            !EVP_DigestUpdate(ctx, batch, n_batch) || !EVP_DigestFinal_ex(ctx, ret_digest, NULL))
                return error_origin(-EIO);
        return 0;
}

int sha256(const void *data, size_t n, uint8_t ret_digest[32])
{
        EVP_MD_CTX *ctx = context();

        if (!ctx || !EVP_DigestUpdate(ctx, data, n) || !EVP_DigestFinal_ex(ctx, ret_digest, NULL))
                return error_origin(-EIO);
        return 0;
}

struct sha256_steps *sha256_begin(void)
{
        EVP_MD_CTX *ctx = context() ? EVP_MD_CTX_new() : NULL; /* context() has fetched md */

        if (ctx && !EVP_DigestInit_ex2(ctx, md, NULL)) {
                EVP_MD_CTX_free(ctx);
                ctx = NULL;
        }
        return (struct sha256_steps *)ctx;
}

int sha256_add(struct sha256_steps *s, const void *data, size_t n)
{
        return s && EVP_DigestUpdate((EVP_MD_CTX *)s, data, n) ? 0 : error_origin(-EIO);
}

int sha256_end(struct sha256_steps *s, uint8_t ret_digest[32])
{
        EVP_MD_CTX *ctx = (EVP_MD_CTX *)s;
        bool good = ctx && (!ret_digest || EVP_DigestFinal_ex(ctx, ret_digest, NULL));

        EVP_MD_CTX_free(ctx);
        return good ? 0 : error_origin(-EIO);
}

void seal_write(struct buf *b, uint64_t number, uint64_t n_records, const uint8_t after[32],
                const uint8_t digest[32])
{
        BUF_LIT(b, "{\"seal\":");
        buf_u64(b, number);
        BUF_LIT(b, ",\"records\":");
        buf_u64(b, n_records);
        BUF_LIT(b, ",\"after\":\"");
        buf_hex(b, after, 32);
        BUF_LIT(b, "\",\"sha256\":\"");
        buf_hex(b, digest, 32);
        BUF_LIT(b, "\"}\n");
}

static bool take(const char **p, const char *end, const char *text)
{
        size_t n = strlen(text);

        if ((size_t)(end - *p) < n || memcmp(*p, text, n) != 0)
                return false;
        *p += n;
        return true;
}

static bool take_number(const char **p, const char *end, uint64_t *ret)
{
        const char *from = *p;
        uint64_t v = 0;

        for (; *p < end && **p >= '0' && **p <= '9' && *p - from < 19; (*p)++)
                v = v * 10 + (uint64_t)(**p - '0');
        *ret = v;
        return *p > from;
}

static bool take_hex(const char **p, const char *end, uint8_t *ret, size_t n)
{
        if ((size_t)(end - *p) < 2 * n)
                return false;
        for (size_t i = 0; i < 2 * n; i++) {
                char c = (*p)[i];
                int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;

                if (digit < 0)
                        return false;
                ret[i / 2] = (uint8_t)(i % 2 ? ret[i / 2] | digit : digit << 4);
        }
        *p += 2 * n;
        return true;
}

bool seal_read(const char *line, size_t n_line, struct seal *ret_seal)
{
        const char *p = line, *end = line + n_line;

        return take(&p, end, "{\"seal\":") && take_number(&p, end, &ret_seal->number) &&
               take(&p, end, ",\"records\":") && take_number(&p, end, &ret_seal->n_records) &&
               take(&p, end, ",\"after\":\"") && take_hex(&p, end, ret_seal->after, 32) &&
               take(&p, end, "\",\"sha256\":\"") && take_hex(&p, end, ret_seal->digest, 32) &&
               take(&p, end, "\"}") && p == end;
}

bool segment_read(const char *line, size_t n_line, const char *stream, uint32_t segment,
                  uint32_t *ret_format, uint8_t ret_salt[16])
{
        const char *p = line, *end = line + n_line;
        uint64_t number, format;

        if (!take(&p, end, "{\"segment\":") || !take_number(&p, end, &number) ||
            number != segment || !take(&p, end, ",\"format\":") ||
            !take_number(&p, end, &format) || !take(&p, end, ",\"stream\":\"") ||
            !take(&p, end, stream) || !take(&p, end, "\",\"salt\":\"") ||
            !take_hex(&p, end, ret_salt, 16) || !take(&p, end, "\"}") || p != end)
                return false;
        *ret_format = (uint32_t)format;
        return true;
}

bool seal_follows(const uint8_t salt[16], uint32_t segment, const char *p, const char *end)
{
        const char *nl;
        struct seal seal;
        uint8_t digest[32];

        for (const char *line = p; line < end && (nl = memchr(line, '\n', (size_t)(end - line)));
             line = nl + 1) {
                const char *first = line;

                if (!startswith(line, "{\"seal\":") || !seal_read(line, (size_t)(nl - line), &seal))
                        continue;
                /* The batch is that many lines before its seal, one more if it opens a segment. */
                for (uint64_t n = 1; n <= seal.n_records + 1 && first > p; n++) {
                        for (first--; first > p && first[-1] != '\n';)
                                first--;
                        if (n >= seal.n_records &&
                            seal_digest(seal.after, salt, segment, seal.number, first,
                                        (size_t)(line - first), digest) == 0 &&
                            memcmp(digest, seal.digest, 32) == 0)
                                return true;
                }
        }
        return false;
}
