/* SPDX-License-Identifier: Apache-2.0 */
#include "base/uid.h"

#include <endian.h>
#include <sys/random.h>

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/* Two digits of the alphabet at a time, from the end of a number. */
static uint64_t put_pairs(uint64_t v, char *end, unsigned n_pairs)
{
        for (; n_pairs > 0; n_pairs--, v >>= 10) {
                *--end = alphabet[v & 31];
                *--end = alphabet[v >> 5 & 31];
        }
        return v;
}

void uid_text(const struct uid *u, char ret_text[UID_TEXT])
{
        uint64_t high, low;

        memcpy(&high, u->bytes, 8);
        memcpy(&low, u->bytes + 8, 8);
        high = be64toh(high);
        low = be64toh(low);
        put_pairs(low, ret_text + 26, 6);                             /* 60 bits */
        put_pairs(low >> 60 | high << 4, ret_text + 14, 6);           /* 60 more */
        put_pairs(high >> 56, ret_text + 2, 1);                       /* the last 8 */
        ret_text[26] = 0;
}

/* The value of a digit and one more; 0: none of the alphabet. */
static const uint8_t values[256] = {
        ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
        ['8'] = 9,  ['9'] = 10, ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
        ['G'] = 17, ['H'] = 18, ['J'] = 19, ['K'] = 20, ['M'] = 21, ['N'] = 22, ['P'] = 23, ['Q'] = 24,
        ['R'] = 25, ['S'] = 26, ['T'] = 27, ['V'] = 28, ['W'] = 29, ['X'] = 30, ['Y'] = 31, ['Z'] = 32,
};

/* The number of `n` digits, not more than 12; *wrong is set if one is none. */
static uint64_t get_digits(const char *p, unsigned n, bool *wrong)
{
        uint64_t v = 0;

        for (unsigned i = 0; i < n; i++) {
                uint8_t d = values[(uint8_t)p[i]];

                *wrong |= d == 0;
                v = v << 5 | (uint8_t)(d - 1);
        }
        return v;
}

bool uid_parse(const char *text, size_t n_text, struct uid *ret_uid)
{
        uint64_t top, middle, low;
        bool wrong = false;

        if (n_text != 26 || text[0] > '7')
                return false;
        top = get_digits(text, 2, &wrong);
        middle = get_digits(text + 2, 12, &wrong);
        low = get_digits(text + 14, 12, &wrong);
        if (wrong)
                return false;
        top = htobe64(top << 56 | middle >> 4);
        low = htobe64(middle << 60 | low);
        memcpy(ret_uid->bytes, &top, 8);
        memcpy(ret_uid->bytes + 8, &low, 8);
        return true;
}

int uid_random(struct uid *ret_uid)
{
        struct uid u;

        if (getrandom(&u, sizeof(u), 0) != sizeof(u))
                return error_origin(-errno);
        *ret_uid = u;
        return 0;
}

int uid_ulid(int64_t wall_ms, struct uid *ret_uid)
{
        struct uid u;
        int r;

        r = uid_random(&u);
        if (r)
                return error_fold(r);
        for (size_t i = 6; i-- > 0; wall_ms >>= 8)
                u.bytes[i] = (uint8_t)wall_ms;
        *ret_uid = u;
        return 0;
}
