/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images: the templates of the account and UpCloud's own, by title, by UUID, or by a short form of
 * the title: "debian-12" and "Debian GNU/Linux 12" mean "Debian GNU/Linux 12 (Bookworm)".
 */
#include "upcloud.h"

#include <ctype.h>

#define KEEP_MS 600000

/* The next word of letters, or of digits and dots, of a text; n is 0 at its end. */
static const char *next_word(const char *p, size_t *ret_n)
{
        size_t n = 0;

        while (*p && !isalnum((unsigned char)*p))
                p++;
        if (isdigit((unsigned char)*p))
                while (isdigit((unsigned char)p[n]) ||
                       (p[n] == '.' && isdigit((unsigned char)p[n + 1])))
                        n++;
        else
                while (isalpha((unsigned char)p[n]))
                        n++;
        *ret_n = n;
        return p;
}

/* Do all words of the short form stand in the title, in that order? */
static bool has_words(const char *title, const char *image)
{
        size_t n, k;
        const char *word = next_word(image, &n);

        if (n == 0)
                return false;
        while (n > 0) {
                do {
                        title = next_word(title, &k);
                        if (k == 0)
                                return false;
                        title += k;
                } while (k != n || strncasecmp(title - k, word, n) != 0);
                word = next_word(word + n, &n);
        }
        return true;
}

const json_t *image_match(const json_t *templates, const char *image, size_t *ret_n)
{
        const json_t *found = NULL;
        json_t *one;
        size_t i;

        *ret_n = 0;
        json_array_foreach (templates, i, one)
                if (strcasecmp(up_string(one, "title", ""), image) == 0 ||
                    streq(up_string(one, "uuid", ""), image)) {
                        *ret_n = 1;
                        return one;
                }
        json_array_foreach (templates, i, one)
                if (has_words(up_string(one, "title", ""), image)) {
                        found = one;
                        ++*ret_n;
                }
        return *ret_n == 1 ? found : NULL;
}

/* With the lock of images, which is held meanwhile: who comes next finds them here. */
static int32_t fetch(struct upcloud *u, struct prvng_call *call)
{
        _cleanup_(cleanup_reply) struct reply reply = REPLY_NULL;
        int64_t now = u->host->monotonic_ms();
        json_t *list;
        int32_t r;

        if (u->images && now - u->images_ms < KEEP_MS)
                return PRVNG_DONE;
        r = api_get(u, call, "/storage/template", PRVNG_EFFECT_NONE, &reply);
        if (r < 0)
                return r;
        list = up_inner(reply.body, "storages", "storage");
        json_decref(u->images);
        u->images = json_is_array(list) ? json_incref(list) : json_array();
        u->images_ms = now;
        return PRVNG_DONE;
}

int32_t image_list(struct upcloud *u, struct prvng_call *call, json_t **ret)
{
        int32_t r;

        pthread_mutex_lock(&u->images_lock);
        r = fetch(u, call);
        if (r == PRVNG_DONE)
                *ret = json_incref(u->images);
        pthread_mutex_unlock(&u->images_lock);
        return r;
}

int32_t image_find(struct upcloud *u, struct prvng_call *call, const char *image, char **ret)
{
        _cleanup_(cleanup_json) json_t *templates = NULL;
        const json_t *found;
        size_t n;
        int32_t r;

        if (up_is_uuid(image)) {
                *ret = strdup(image);
                return *ret ? PRVNG_DONE : PRVNG_INTERNAL;
        }
        r = image_list(u, call, &templates);
        if (r < 0)
                return r;
        found = image_match(templates, image, &n);
        if (!found)
                return up_fail(
                        u, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, "spec.image",
                        n ? "upcloud: the image \"%s\" may be one of %zu templates; write the whole"
                            " title, or the UUID"
                          : "upcloud: there is no template \"%s\"; `upctl storage list --template`"
                            " shows what there is",
                        image, n);
        *ret = strdup(up_string(found, "uuid", ""));
        return *ret ? PRVNG_DONE : PRVNG_INTERNAL;
}
