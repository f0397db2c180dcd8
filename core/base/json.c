/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

int json_parse(const void *data, size_t n, json_t **ret_json, char ret_error[JSON_PARSE_ERROR])
{
        json_error_t error;
        json_t *json;

        json = json_loadb(data, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
        if (!json) {
                if (ret_error)
                        snprintf(ret_error, JSON_PARSE_ERROR, "line %d, column %d: %s", error.line,
                                 error.column, error.text);
                return error_origin(-EBADMSG);
        }
        *ret_json = json;
        return 0;
}

static int append(const char *data, size_t n, void *b)
{
        buf_append(b, data, n);
        return 0;
}

int json_append(struct buf *b, const json_t *json)
{
        if (json_dump_callback(json, append, b, JSON_COMPACT | JSON_ENCODE_ANY |
                                                        JSON_REAL_PRECISION(17)) < 0)
                return error_origin(-ENOMEM);
        return buf_error(b);
}
