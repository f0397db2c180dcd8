/* SPDX-License-Identifier: Apache-2.0 */
/* What is there that carries our marks. */
#include "aws.h"

struct collection {
        struct aws *a;
        json_t *all;
        const char *kind, *set, *id; /* of what is being listed: the elements of its XML */
};

static void add(struct collection *c, const struct xml_node *thing)
{
        const char *site = tag_of(thing, TAG_SITE);

        if (!*site)
                return;
        json_array_append_new(c->all,
                              json_pack("{s:s, s:s, s:s, s:s, s:s, s:{s:s}}", "kind", c->kind, "name",
                                        tag_of(thing, TAG_NAME), "op_id", tag_of(thing, TAG_OP), "workflow",
                                        tag_of(thing, TAG_WORKFLOW), "site", site, "identity", "id",
                                        xml_text(thing, c->id)));
}

static void add_instances(const struct xml_node *root, void *user)
{
        struct collection *c = user;

        xml_foreach (reservation, root, "reservationSet")
                xml_foreach (instance, reservation, "instancesSet")
                        if (server_lives(instance))
                                add(c, instance);
}

static void add_things(const struct xml_node *root, void *user)
{
        struct collection *c = user;

        xml_foreach (thing, root, c->set)
                add(c, thing);
}

static void filter_by(struct query *q, const json_t *filter)
{
        static const char *const keys[] = {"site", "workflow", "op_id"};
        static const char *const tags[] = {"tag:" TAG_SITE, "tag:" TAG_WORKFLOW, "tag:" TAG_OP};
        size_t n = 0;

        for (size_t i = 0; i < N_ELEMENTS(keys); i++)
                if (json_object_get(filter, keys[i]))
                        query_filter(q, ++n, tags[i], aws_string(filter, keys[i], ""));
        if (n == 0) {
                query_add(q, "tag-key", "Filter.1.Name");
                query_add(q, TAG_SITE, "Filter.1.Value.1");
        }
        query_add(q, "1000", "MaxResults");
}

int32_t aws_list(struct aws *a, struct prvng_call *call, const json_t *filter, struct prvng_sink *result)
{
        static const struct {
                const char *kind, *action, *set, *id;
        } lists[] = {{"server", "DescribeInstances", NULL, "instanceId"},
                     {"network", "DescribeVpcs", "vpcSet", "vpcId"},
                     {"security_group", "DescribeSecurityGroups", "securityGroupInfo", "groupId"}};
        _cleanup_(cleanup_json) json_t *j = json_pack("{s:[]}", "resources");
        const char *kind = aws_string(filter, "kind", NULL);

        for (size_t i = 0; i < N_ELEMENTS(lists); i++) {
                _cleanup_(cleanup_query) struct query q = QUERY_NULL;
                struct collection c = {.a = a, .all = json_object_get(j, "resources"), .kind = lists[i].kind,
                                       .set = lists[i].set, .id = lists[i].id};
                struct fault f;

                if (kind && !streq(kind, lists[i].kind))
                        continue;
                query_begin(&q, lists[i].action, EC2_VERSION);
                filter_by(&q, filter);
                if (aws_pages(a, call, &q, &f, lists[i].set ? add_things : add_instances, &c) < 0)
                        return aws_report(a, call, &f, PRVNG_EFFECT_NONE, "what is there (%s) could not be listed",
                                          lists[i].kind);
        }
        return aws_reply(a, call, result, j);
}
