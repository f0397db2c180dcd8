/* SPDX-License-Identifier: Apache-2.0 */
/* Anchors: heads of streams as a line of text. */
#include "journal/audit.h"

#include <ctype.h>

void anchor_deinit(struct anchor *a)
{
        free(a->heads);
        *a = ANCHOR_NULL;
}

/* "STREAM:SEAL:DIGEST", or only the digest. */
static bool read_head(const char *text, size_t n, struct audit_head *ret)
{
        const char *colon = memchr(text, ':', n);
        char *end;

        *ret = (struct audit_head){0};
        if (!colon)
                return hex_read(text, n, ret->digest, 32);
        if (colon == text || (size_t)(colon - text) >= sizeof(ret->stream) || !isdigit((unsigned char)colon[1]))
                return false;
        memcpy(ret->stream, text, (size_t)(colon - text));
        errno = 0;
        ret->seal = strtoull(colon + 1, &end, 10);
        return errno == 0 && ret->seal > 0 && *end == ':' && end < text + n &&
               hex_read(end + 1, (size_t)(text + n - (end + 1)), ret->digest, 32);
}

static int add_head(struct anchor *a, const struct audit_head *h)
{
        if (a->n == a->cap) {
                uint32_t cap = a->cap ? a->cap * 2 : 8;
                struct audit_head *heads = realloc(a->heads, cap * sizeof(*heads));

                if (!heads)
                        return error_origin(-ENOMEM);
                a->heads = heads;
                a->cap = cap;
        }
        a->heads[a->n++] = *h;
        return 0;
}

/* The next word; moves *p behind it. */
static size_t next_word(const char **p, const char **ret_word)
{
        size_t n;

        *p += strspn(*p, " \t\r\n");
        n = strcspn(*p, " \t\r\n");
        *ret_word = *p;
        *p += n;
        return n;
}

int anchor_add(struct anchor *a, const char *line)
{
        const char *p = line, *word;
        size_t n = next_word(&p, &word);
        bool whole = n == strlen(ANCHOR_WORD) && memcmp(word, ANCHOR_WORD, n) == 0;
        struct audit_head h;
        struct uid site;
        uint32_t n_heads = 0;
        int r;

        if (whole) {
                n = next_word(&p, &word);
                if (!uid_parse(word, n, &site) ||
                    (*a->site && (strlen(a->site) != n || memcmp(a->site, word, n) != 0)))
                        return -EINVAL;
                snprintf(a->site, sizeof(a->site), "%.*s", (int)n, word);
                n = next_word(&p, &word);
        }
        for (; n > 0; n = next_word(&p, &word), n_heads++) {
                if ((!whole && n_heads > 0) || !read_head(word, n, &h) || (whole && !*h.stream))
                        return -EINVAL;
                r = add_head(a, &h);
                if (r)
                        return error_fold(r);
        }
        return n_heads ? 0 : -EINVAL;
}

void audit_anchor(const struct audit *a, struct buf *line)
{
        BUF_LIT(line, ANCHOR_WORD);
        buf_printf(line, " %s", a->site);
        for (uint32_t i = 0; i < a->n; i++) {
                const struct audit_stream *s = &a->streams[i];

                if ((*s->run && !s->in_flight) || !s->cut.number)
                        continue;
                buf_printf(line, " %s:%llu:", s->name, (unsigned long long)s->cut.number);
                buf_hex(line, s->cut.digest, 32);
        }
}
