/* SPDX-License-Identifier: Apache-2.0 */
/* JSON values as YAML, by libyaml's emitter. Strings that YAML would read as something else are quoted. */
#include "output.h"

#include <yaml.h>

static const yaml_char_t *bytes(const char *s)
{
        return (const yaml_char_t *)s;
}

/* Would a YAML 1.1 or 1.2 reader take these letters for something else than a string? */
static bool is_ambiguous(const char *s)
{
        static const char *const words[] = {"",   "~",   "null", "true", "false", "yes",
                                            "no", "on",  "off",  "y",    "n",     ".inf",
                                            "-.inf", "+.inf", ".nan", "<<", "="};

        for (size_t i = 0; i < N_ELEMENTS(words); i++)
                if (strcasecmp(s, words[i]) == 0)
                        return true;
        /* Numbers, dates, times and what looks like them. */
        return strchr("0123456789+-.", s[0]) != NULL;
}

static int put_scalar(yaml_emitter_t *e, const char *text, size_t n, bool quoted)
{
        yaml_event_t event;
        yaml_scalar_style_t style = YAML_PLAIN_SCALAR_STYLE;

        if (quoted)
                style = memchr(text, '\n', n) ? YAML_LITERAL_SCALAR_STYLE
                        : is_ambiguous(text)  ? YAML_SINGLE_QUOTED_SCALAR_STYLE
                                              : YAML_ANY_SCALAR_STYLE;
        return yaml_scalar_event_initialize(&event, NULL, NULL, bytes(text), (int)n, 1, 1, style) &&
               yaml_emitter_emit(e, &event);
}

static int put_value(yaml_emitter_t *e, const json_t *json);

static int put_object(yaml_emitter_t *e, const json_t *json)
{
        yaml_event_t event;
        const char *key;
        json_t *value;
        json_t *object = json_incref((json_t *)(uintptr_t)json); /* jansson's loop wants it so */
        int ok = yaml_mapping_start_event_initialize(&event, NULL, NULL, 1,
                                                     json_object_size(json)
                                                             ? YAML_BLOCK_MAPPING_STYLE
                                                             : YAML_FLOW_MAPPING_STYLE) &&
                 yaml_emitter_emit(e, &event);

        if (ok)
                json_object_foreach (object, key, value) {
                        ok = put_scalar(e, key, strlen(key), true) && put_value(e, value);
                        if (!ok)
                                break;
                }
        json_decref(object);
        return ok && yaml_mapping_end_event_initialize(&event) && yaml_emitter_emit(e, &event);
}

static int put_array(yaml_emitter_t *e, const json_t *json)
{
        yaml_event_t event;
        int ok = yaml_sequence_start_event_initialize(&event, NULL, NULL, 1,
                                                      json_array_size(json)
                                                              ? YAML_BLOCK_SEQUENCE_STYLE
                                                              : YAML_FLOW_SEQUENCE_STYLE) &&
                 yaml_emitter_emit(e, &event);

        for (size_t i = 0; ok && i < json_array_size(json); i++)
                ok = put_value(e, json_array_get(json, i));
        return ok && yaml_sequence_end_event_initialize(&event) && yaml_emitter_emit(e, &event);
}

static int put_value(yaml_emitter_t *e, const json_t *json)
{
        char *text;
        int ok;

        switch (json_typeof(json)) {
        case JSON_OBJECT:
                return put_object(e, json);
        case JSON_ARRAY:
                return put_array(e, json);
        case JSON_STRING:
                return put_scalar(e, json_string_value(json), json_string_length(json), true);
        case JSON_INTEGER:
        case JSON_REAL:
        case JSON_TRUE:
        case JSON_FALSE:
        case JSON_NULL:
                text = json_dumps(json, JSON_ENCODE_ANY);
                ok = text && put_scalar(e, text, strlen(text), false);
                free(text);
                return ok;
        }
        return 0;
}

int yaml_print(const json_t *json, FILE *f, bool explicit_start)
{
        yaml_emitter_t e;
        yaml_event_t event;
        int ok;

        if (!yaml_emitter_initialize(&e))
                return error_origin(-ENOMEM);
        yaml_emitter_set_output_file(&e, f);
        yaml_emitter_set_unicode(&e, 1);
        yaml_emitter_set_width(&e, -1);
        ok = yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING) &&
             yaml_emitter_emit(&e, &event) &&
             yaml_document_start_event_initialize(&event, NULL, NULL, NULL, !explicit_start) &&
             yaml_emitter_emit(&e, &event) && put_value(&e, json) &&
             yaml_document_end_event_initialize(&event, 1) && yaml_emitter_emit(&e, &event) &&
             yaml_stream_end_event_initialize(&event) && yaml_emitter_emit(&e, &event);
        yaml_emitter_delete(&e);
        return ok ? 0 : -EIO;
}
