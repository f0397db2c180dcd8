/* SPDX-License-Identifier: Apache-2.0 */
/* Images by name: which one a name stands for now, and what its root device is called. */
#include "aws.h"

#define FRESH_MS 600000 /* what was looked up holds for so long */

struct known {
        const char *name, *pattern, *owner, *user;
};

static const struct known known_images[] = {
        {"debian-12", "debian-12-amd64-*", "136693071363", "admin"},
        {"debian-13", "debian-13-amd64-*", "136693071363", "admin"},
        {"ubuntu-22.04", "ubuntu/images/hvm-ssd*/ubuntu-*-22.04-amd64-server-*", "099720109477", "ubuntu"},
        {"ubuntu-24.04", "ubuntu/images/hvm-ssd*/ubuntu-*-24.04-amd64-server-*", "099720109477", "ubuntu"},
        {"al2023", "al2023-ami-2*-x86_64", "amazon", "ec2-user"},
};

const char *image_user(const char *name)
{
        for (size_t i = 0; i < N_ELEMENTS(known_images); i++)
                if (streq(known_images[i].name, name))
                        return known_images[i].user;
        return strstr(name, "ubuntu") ? "ubuntu" : strstr(name, "debian") ? "admin" : "ec2-user";
}

json_t *image_wanted(const char *image, const json_t *owners)
{
        if (strncmp(image, "ami-", 4) == 0)
                return strlen(image) > 4 ? json_pack("{s:s}", "id", image) : NULL;
        for (size_t i = 0; i < N_ELEMENTS(known_images); i++)
                if (streq(known_images[i].name, image))
                        return json_pack("{s:s, s:o}", "name", known_images[i].pattern, "owners",
                                         json_array_size(owners) > 0 ? json_deep_copy(owners)
                                                                     : json_pack("[s]", known_images[i].owner));
        if (!*image || (owners && !json_is_array(owners)))
                return NULL;
        return json_pack("{s:s, s:o}", "name", image, "owners",
                         json_array_size(owners) > 0 ? json_deep_copy(owners) : json_pack("[s, s]", "self", "amazon"));
}

struct newest {
        const char *wanted;
        json_t *image;
        char date[40];
};

/* The latest; of equals the one with the larger id, so that two looks find the same. */
static void compare(const struct xml_node *root, void *user)
{
        struct newest *n = user;

        xml_foreach (image, root, "imagesSet") {
                const char *date = xml_text(image, "creationDate"), *id = xml_text(image, "imageId");
                int c = strcmp(date, n->date);

                if (!*id || (n->image && (c < 0 || (c == 0 && strcmp(id, aws_string(n->image, "id", "")) < 0))))
                        continue;
                json_decref(n->image);
                n->image = json_pack("{s:s, s:s, s:s}", "id", id, "root", xml_text(image, "rootDeviceName"), "name",
                                     xml_text(image, "name"));
                snprintf(n->date, sizeof(n->date), "%s", date);
        }
}

static void question(const json_t *wanted, struct query *q)
{
        const json_t *owners = json_object_get(wanted, "owners");
        json_t *owner;
        size_t i;

        query_begin(q, "DescribeImages", EC2_VERSION);
        if (*aws_string(wanted, "id", "")) {
                query_add(q, aws_string(wanted, "id", ""), "ImageId.1");
                return;
        }
        query_filter(q, 1, "name", aws_string(wanted, "name", ""));
        query_filter(q, 2, "state", "available");
        json_array_foreach (owners, i, owner)
                query_add(q, json_string_value(owner) ? json_string_value(owner) : "", "Owner.%zu", i + 1);
}

static json_t *remembered(struct aws *a, const char *key)
{
        json_t *found;

        pthread_mutex_lock(&a->lock);
        found = json_deep_copy(json_object_get(a->images, key));
        pthread_mutex_unlock(&a->lock);
        if (found && aws_now_ms() - aws_integer(found, "at", 0) < FRESH_MS)
                return found;
        json_decref(found);
        return NULL;
}

int32_t image_find(struct aws *a, struct prvng_call *call, const json_t *wanted, json_t **ret,
                   struct fault *ret_fault)
{
        _cleanup_(cleanup_free) char *key = json_dumps(wanted, JSON_COMPACT | JSON_SORT_KEYS);
        _cleanup_(cleanup_query) struct query q = QUERY_NULL;
        struct newest newest = {.date = ""};
        int32_t r;

        *ret = key ? remembered(a, key) : NULL;
        if (*ret)
                return PRVNG_DONE;
        question(wanted, &q);
        r = aws_pages(a, call, &q, ret_fault, compare, &newest);
        if (r == PRVNG_DONE && !newest.image) {
                *ret_fault = (struct fault){.error_class = PRVNG_PERMANENT, .retry_after_ms = -1};
                snprintf(ret_fault->message, sizeof(ret_fault->message), "there is no image %s in %s",
                         key ? key : "", a->region);
                return PRVNG_PERMANENT;
        }
        if (r < 0) {
                json_decref(newest.image);
                return r;
        }
        json_object_set_new(newest.image, "at", json_integer(aws_now_ms()));
        pthread_mutex_lock(&a->lock);
        if (key)
                json_object_set_new(a->images, key, json_deep_copy(newest.image));
        pthread_mutex_unlock(&a->lock);
        *ret = newest.image;
        return PRVNG_DONE;
}
