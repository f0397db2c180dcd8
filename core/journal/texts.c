/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/texts.h"

#define LONG 4096 /* not worth comparing */

struct text {
        uint32_t n_users;
        uint32_t n;
        char text[];
};

static char empty[] = "";

static struct text *of(const char *text)
{
        return (struct text *)(void *)(uintptr_t)(text - offsetof(struct text, text));
}

/* From a few bytes at the start, in the middle and at the end: texts that share a place push each other
 * out, no more. */
static unsigned place(const char *p, size_t n)
{
        uint64_t a = 0, b = 0, c = 0;

        if (n >= 8) {
                memcpy(&a, p, 8);
                memcpy(&b, p + (n - 8) / 2, 8);
                memcpy(&c, p + n - 8, 8);
        } else {
                for (size_t i = 0; i < n; i++)
                        a = a << 8 | (uint8_t)p[i];
        }
        a = (a ^ b * 3 ^ c * 5 ^ n) * 0x9e3779b97f4a7c15u;
        return (unsigned)(a >> 58);
}

static struct text *text_new(const char *p, size_t n)
{
        struct text *t = malloc(sizeof(*t) + n + 1);

        if (!t)
                return NULL;
        t->n_users = 1;
        t->n = (uint32_t)n;
        memcpy(t->text, p, n);
        t->text[n] = 0;
        return t;
}

const char *texts_get(struct texts *t, const char *p, size_t n)
{
        struct text *text;
        char **at;

        if (n == 0)
                return empty;
        if (n > LONG) {
                text = n < UINT32_MAX ? text_new(p, n) : NULL;
                return text ? text->text : NULL;
        }
        at = &t->recent[place(p, n)];
        if (!*at || of(*at)->n != n || memcmp(*at, p, n) != 0) {
                text = text_new(p, n);
                if (!text)
                        return NULL;
                texts_put(*at);
                *at = text->text;
        }
        of(*at)->n_users++;
        return *at;
}

void texts_put(const char *text)
{
        if (text && text != empty && --of(text)->n_users == 0)
                free(of(text));
}

void texts_deinit(struct texts *t)
{
        for (size_t i = 0; i < N_ELEMENTS(t->recent); i++)
                texts_put(t->recent[i]);
        *t = (struct texts){0};
}
