/* SPDX-License-Identifier: Apache-2.0 */
#include "rules.h"

#include <arpa/inet.h>

bool cidr_normal(const char *text, char ret[64], bool *ret_six)
{
        unsigned char bytes[16] = {0};
        char address[INET6_ADDRSTRLEN + 1], *end;
        const char *slash = strchr(text, '/');
        size_t n = slash ? (size_t)(slash - text) : 0;
        long bits, most;
        int family;

        if (!slash || n >= sizeof(address) || slash[1] < '0' || slash[1] > '9')
                return false;
        memcpy(address, text, n);
        address[n] = '\0';
        family = strchr(address, ':') ? AF_INET6 : AF_INET;
        most = family == AF_INET6 ? 128 : 32;
        bits = strtol(slash + 1, &end, 10);
        if (*end || bits < 0 || bits > most || inet_pton(family, address, bytes) != 1)
                return false;
        for (long i = bits; i < most; i++)
                bytes[i / 8] &= (unsigned char)~(0x80u >> (i % 8));
        if (!inet_ntop(family, bytes, address, sizeof(address)))
                return false;
        snprintf(ret, 64, "%s/%u", address, (unsigned)bits);
        *ret_six = family == AF_INET6;
        return true;
}

static void add(json_t *set, const char *text)
{
        json_t *v;
        size_t i;

        json_array_foreach (set, i, v)
                if (streq(json_string_value(v), text))
                        return;
        json_array_append_new(set, json_string(text));
}

struct rule {
        const char *direction, *protocol;
        long from, to; /* -1: all */
};

static void add_rule(json_t *set, const struct rule *r, const char *cidr, bool six)
{
        char text[RULE_MAX];

        if (streq(r->protocol, "any"))
                snprintf(text, sizeof(text), "%s any - - %s", r->direction, cidr);
        else if (streq(r->protocol, "icmp"))
                snprintf(text, sizeof(text), "%s %s -1 -1 %s", r->direction, six ? "icmpv6" : "icmp", cidr);
        else
                snprintf(text, sizeof(text), "%s %s %ld %ld %s", r->direction, r->protocol, r->from < 0 ? 0 : r->from,
                         r->from < 0 ? 65535 : r->to, cidr);
        add(set, text);
}

static bool read_ports(const json_t *rule, struct rule *r)
{
        const json_t *port = json_object_get(rule, "port");
        const char *ports = aws_string(rule, "ports", NULL);
        char *end;

        r->from = r->to = -1;
        if (aws_present(rule, "port")) {
                if (!json_is_integer(port))
                        return false;
                r->from = r->to = (long)json_integer_value(port);
        } else if (ports) {
                r->from = r->to = strtol(ports, &end, 10);
                if (*end == '-')
                        r->to = strtol(end + 1, &end, 10);
                if (*end || end == ports)
                        return false;
        } else
                return true;
        return r->from >= 0 && r->to <= 65535 && r->from <= r->to &&
               (streq(r->protocol, "tcp") || streq(r->protocol, "udp"));
}

static int32_t bad_rule(struct aws *a, struct prvng_call *call, size_t i, const char *member, const json_t *value,
                        const char *accepted)
{
        char field[64];

        snprintf(field, sizeof(field), "spec.rules[%zu]%s%s", i, *member ? "." : "", member);
        return bad_field(a, call, field, value, accepted);
}

static int32_t read_rule(struct aws *a, struct prvng_call *call, const json_t *rule, size_t i, json_t *set)
{
        struct rule r = {.direction = aws_string(rule, "direction", "in"),
                         .protocol = aws_string(rule, "protocol", "tcp")};
        bool in = streq(r.direction, "in"), six = false;
        const char *who = in ? "source" : "destination", *cidr = aws_string(rule, who, "");
        char normal[64];

        if (!in && !streq(r.direction, "out"))
                return bad_rule(a, call, i, "direction", json_object_get(rule, "direction"), "write in or out");
        if (!streq(r.protocol, "tcp") && !streq(r.protocol, "udp") && !streq(r.protocol, "icmp") &&
            !streq(r.protocol, "any"))
                return bad_rule(a, call, i, "protocol", json_object_get(rule, "protocol"),
                                "write tcp, udp, icmp or any");
        if (!streq(aws_string(rule, "action", "accept"), "accept"))
                return bad_rule(a, call, i, "action", json_object_get(rule, "action"),
                                "security groups of AWS only accept; what fits no rule is dropped");
        if (!read_ports(rule, &r))
                return bad_rule(a, call, i, aws_present(rule, "port") ? "port" : "ports",
                                json_object_get(rule, aws_present(rule, "port") ? "port" : "ports"),
                                "write a port (0 to 65535) or ports \"8000-8100\", with tcp and udp only");
        if (!*cidr) { /* anybody */
                add_rule(set, &r, "0.0.0.0/0", false);
                add_rule(set, &r, "::/0", true);
                return PRVNG_DONE;
        }
        if (!cidr_normal(cidr, normal, &six))
                return bad_rule(a, call, i, who, json_object_get(rule, who),
                                "write a network such as \"10.0.0.0/8\" or \"2001:db8::/32\"");
        add_rule(set, &r, normal, six);
        return PRVNG_DONE;
}

int32_t rules_wanted(struct aws *a, struct prvng_call *call, const json_t *rules, bool members, json_t **ret)
{
        json_t *set = json_array(), *rule;
        bool out = false;
        size_t i;
        int32_t r = PRVNG_DONE;

        if (rules && !json_is_null((json_t *)(uintptr_t)rules) && !json_is_array(rules))
                r = bad_field(a, call, "spec.rules", rules, "write a list of rules");
        json_array_foreach (rules, i, rule) {
                r = r < 0 ? r : read_rule(a, call, rule, i, set);
                out |= streq(aws_string(rule, "direction", "in"), "out");
        }
        if (r < 0) {
                json_decref(set);
                return r;
        }
        if (members)
                add(set, "in any - - self"); /* among each other they may do everything */
        if (!out)
                add(set, "out any - - 0.0.0.0/0");
        else if (members)
                add(set, "out any - - self");
        *ret = set;
        return PRVNG_DONE;
}

static void add_found(json_t *set, const char *direction, const struct xml_node *permission, const char *who)
{
        const char *protocol = xml_text(permission, "ipProtocol");
        const char *from = xml_text(permission, "fromPort"), *to = xml_text(permission, "toPort");
        char text[RULE_MAX];

        if (streq(protocol, "-1"))
                snprintf(text, sizeof(text), "%s any - - %s", direction, who);
        else
                snprintf(text, sizeof(text), "%s %s %s %s %s", direction, streq(protocol, "58") ? "icmpv6" : protocol,
                         *from ? from : "-1", *to ? to : "-1", who);
        add(set, text);
}

static void add_all_found(json_t *set, const char *direction, const struct xml_node *permission,
                          const char *group_id)
{
        xml_foreach (range, permission, "ipRanges")
                add_found(set, direction, permission, xml_text(range, "cidrIp"));
        xml_foreach (range, permission, "ipv6Ranges")
                add_found(set, direction, permission, xml_text(range, "cidrIpv6"));
        xml_foreach (list, permission, "prefixListIds")
                add_found(set, direction, permission, xml_text(list, "prefixListId"));
        xml_foreach (group, permission, "groups") {
                const char *id = xml_text(group, "groupId");

                add_found(set, direction, permission, streq(id, group_id) ? "self" : id);
        }
}

json_t *rules_found(const struct xml_node *group, const char *group_id)
{
        json_t *set = json_array();

        xml_foreach (permission, group, "ipPermissions")
                add_all_found(set, "in", permission, group_id);
        xml_foreach (permission, group, "ipPermissionsEgress")
                add_all_found(set, "out", permission, group_id);
        return set;
}

static bool holds(const json_t *set, const char *text)
{
        json_t *v;
        size_t i;

        json_array_foreach (set, i, v)
                if (streq(json_string_value(v), text))
                        return true;
        return false;
}

json_t *rules_missing(const json_t *of, const json_t *in, const char *direction)
{
        /* AWS adds this one of itself where a network has addresses of IPv6. */
        static const char six[] = "out any - - ::/0";
        json_t *missing = NULL, *v;
        size_t i;

        json_array_foreach (of, i, v) {
                const char *text = json_string_value(v);

                if (strncmp(text, direction, strlen(direction)) != 0 || holds(in, text) ||
                    (streq(text, six) && holds(in, "out any - - 0.0.0.0/0")))
                        continue;
                if (!missing)
                        missing = json_array();
                json_array_append(missing, v);
        }
        return missing;
}

void rules_add(struct query *q, const json_t *rules, const char *group_id)
{
        json_t *v;
        size_t i;

        json_array_foreach (rules, i, v) {
                char direction[8], protocol[16], from[16], to[16], who[72];
                size_t n = i + 1;

                if (sscanf(json_string_value(v), "%7s %15s %15s %15s %71s", direction, protocol, from, to, who) != 5)
                        continue;
                query_add(q, streq(protocol, "any") ? "-1" : protocol, "IpPermissions.%zu.IpProtocol", n);
                if (!streq(protocol, "any")) {
                        query_add(q, from, "IpPermissions.%zu.FromPort", n);
                        query_add(q, to, "IpPermissions.%zu.ToPort", n);
                }
                if (streq(who, "self") || strncmp(who, "sg-", 3) == 0)
                        query_add(q, streq(who, "self") ? group_id : who, "IpPermissions.%zu.Groups.1.GroupId", n);
                else if (strncmp(who, "pl-", 3) == 0)
                        query_add(q, who, "IpPermissions.%zu.PrefixListIds.1.PrefixListId", n);
                else if (strchr(who, ':'))
                        query_add(q, who, "IpPermissions.%zu.Ipv6Ranges.1.CidrIpv6", n);
                else
                        query_add(q, who, "IpPermissions.%zu.IpRanges.1.CidrIp", n);
        }
}
