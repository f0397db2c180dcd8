/* SPDX-License-Identifier: Apache-2.0 */
#include "base/uid.h"

#include <sys/random.h>

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void uid_text(const struct uid *u, char ret_text[UID_TEXT])
{
        __uint128_t v = 0;

        for (size_t i = 0; i < 16; i++)
                v = v << 8 | u->bytes[i];
        for (size_t i = 26; i-- > 0; v >>= 5)
                ret_text[i] = alphabet[v & 31];
        ret_text[26] = 0;
}

bool uid_parse(const char *text, size_t n_text, struct uid *ret_uid)
{
        __uint128_t v = 0;
        struct uid u;

        if (n_text != 26 || text[0] > '7')
                return false;
        for (size_t i = 0; i < 26; i++) {
                const char *p = text[i] ? strchr(alphabet, text[i]) : NULL;
                if (!p)
                        return false;
                v = v << 5 | (unsigned)(p - alphabet);
        }
        for (size_t i = 16; i-- > 0; v >>= 8)
                u.bytes[i] = (uint8_t)v;
        *ret_uid = u;
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
