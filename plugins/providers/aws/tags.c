/* SPDX-License-Identifier: Apache-2.0 */
/* Marks: who made a thing for what, as tags from its creation on. */
#include "aws.h"

bool tag_is_ours(const char *key)
{
        return strncmp(key, "prvng:", 6) == 0 || streq(key, "Name") || strncmp(key, "aws:", 4) == 0;
}

static void add(struct query *q, size_t i, size_t *k, const char *key, const char *value)
{
        ++*k;
        query_add(q, key, "TagSpecification.%zu.Tag.%zu.Key", i, *k);
        query_add(q, value, "TagSpecification.%zu.Tag.%zu.Value", i, *k);
}

void tags_add(struct query *q, size_t i, const char *type, const struct op *o, const json_t *labels)
{
        const char *key;
        json_t *value;
        size_t k = 0;

        query_add(q, type, "TagSpecification.%zu.ResourceType", i);
        add(q, i, &k, "Name", o->name);
        add(q, i, &k, TAG_SITE, o->site);
        add(q, i, &k, TAG_WORKFLOW, o->workflow);
        add(q, i, &k, TAG_NAME, o->name);
        add(q, i, &k, TAG_OP, o->call->op_id);
        json_object_foreach ((json_t *)(uintptr_t)labels, key, value)
                add(q, i, &k, key, json_string_value(value) ? json_string_value(value) : "");
}

size_t tags_filter(struct query *q, size_t i, const struct op *o)
{
        query_filter(q, i++, "tag:" TAG_SITE, o->site);
        query_filter(q, i++, "tag:" TAG_WORKFLOW, o->workflow);
        query_filter(q, i++, "tag:" TAG_NAME, o->name);
        return i;
}

const char *tag_of(const struct xml_node *thing, const char *key)
{
        xml_foreach (tag, thing, "tagSet")
                if (streq(xml_text(tag, "key"), key))
                        return xml_text(tag, "value");
        return "";
}

json_t *tags_labels(const struct xml_node *thing)
{
        json_t *labels = json_object();

        xml_foreach (tag, thing, "tagSet")
                if (!tag_is_ours(xml_text(tag, "key")))
                        json_object_set_new(labels, xml_text(tag, "key"), json_string(xml_text(tag, "value")));
        return labels;
}
