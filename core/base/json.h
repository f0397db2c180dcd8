/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers round jansson, which is for small messages; large input is streamed (design: yajl). */
#ifndef PRVNG_BASE_JSON_H
#define PRVNG_BASE_JSON_H

#include "base/buf.h"
#include <jansson.h>

DEFINE_CLEANUP(json_t *, json_decref)

#define JSON_PARSE_ERROR 200 /* room for the text of an error */

/* Parses strictly (duplicate keys are errors). -EBADMSG if it is no JSON; the text says where. */
int json_parse(const void *data, size_t n, json_t **ret_json, char ret_error[JSON_PARSE_ERROR]);

/* Appends the compact text; member order as inserted. */
int json_append(struct buf *b, const json_t *json);

/* The member as a string, or `fallback` if there is none or it is no string. */
static inline const char *json_get_string(const json_t *o, const char *key, const char *fallback)
{
        const char *s = json_string_value(json_object_get(o, key));
        return s ? s : fallback;
}

static inline int64_t json_get_int(const json_t *o, const char *key, int64_t fallback)
{
        const json_t *v = json_object_get(o, key);
        return json_is_integer(v) ? json_integer_value(v) : fallback;
}

static inline bool json_get_bool(const json_t *o, const char *key, bool fallback)
{
        const json_t *v = json_object_get(o, key);
        return json_is_boolean(v) ? json_boolean_value(v) : fallback;
}

#endif
