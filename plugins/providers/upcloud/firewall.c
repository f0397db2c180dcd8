/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Security groups. The API has none for all servers: each server has a list of its own rules. So a
 * group is kept by us alone, and its rules are written to each server that has it.
 *
 * What a group promises has to be spelled out, for this firewall keeps no connections, and looks at
 * the public and the utility network only (private networks pass):
 *
 *      the groups' rules, in order; ranges of addresses instead of networks, a rule for each family
 *      replies to what may go out: to the ports that systems open connections from
 *      replies to what may come in, where what goes out is limited
 *      errors and answers of ICMP, neighbours, leases
 *      drop what is left: in, and out too if there is a rule of what may go out
 */
#include "upcloud.h"

#include <arpa/inet.h>

#define EPHEMERAL_FIRST "32768" /* where Linux opens connections from */
#define EPHEMERAL_LAST "60999"
#define RULES_MAX 200

/* --- addresses and ports --- */

bool firewall_range(const char *cidr, char first[static 46], char last[static 46],
                    const char **ret_family)
{
        unsigned char low[16], high[16];
        char address[64], *end;
        const char *slash = strchr(cidr, '/');
        size_t n = slash ? (size_t)(slash - cidr) : strlen(cidr);
        int family = memchr(cidr, ':', n) ? AF_INET6 : AF_INET;
        unsigned long bits = family == AF_INET6 ? 128 : 32, all = bits;

        if (n >= sizeof(address))
                return false;
        memcpy(address, cidr, n);
        address[n] = 0;
        if (inet_pton(family, address, low) != 1)
                return false;
        if (slash) {
                if (!strchr("0123456789", slash[1]) || !slash[1])
                        return false;
                bits = strtoul(slash + 1, &end, 10);
                if (*end || bits > all)
                        return false;
        }
        memcpy(high, low, sizeof(low));
        for (unsigned long b = bits; b < all; b++) {
                low[b / 8] &= (unsigned char)~(0x80u >> (b % 8));
                high[b / 8] |= (unsigned char)(0x80u >> (b % 8));
        }
        *ret_family = family == AF_INET6 ? "IPv6" : "IPv4";
        return inet_ntop(family, low, first, 46) && inet_ntop(family, high, last, 46);
}

/* Of "port" or "ports": 0 none, 1 a range, -1 not one. */
static int port_range(const json_t *rule, int64_t *ret_first, int64_t *ret_last)
{
        const json_t *port = json_object_get(rule, "port");
        const char *ports = up_string(rule, "ports", NULL);
        long long first, last;
        char rest;

        if (!up_present(rule, "port") && !up_present(rule, "ports"))
                return 0;
        if (up_present(rule, "port") && up_present(rule, "ports"))
                return -1;
        if (json_is_integer(port))
                first = last = json_integer_value(port);
        else if (!ports)
                return -1;
        else if (sscanf(ports, "%lld-%lld%c", &first, &last, &rest) != 2) {
                if (sscanf(ports, "%lld%c", &first, &rest) != 1)
                        return -1;
                last = first;
        }
        *ret_first = first;
        *ret_last = last;
        return first >= 1 && last <= 65535 && first <= last ? 1 : -1;
}

/* --- checking what a group says --- */

static int32_t bad(struct upcloud *u, struct prvng_call *call, size_t number, const char *key,
                   const json_t *rule, const char *accepted)
{
        _cleanup_(cleanup_free) char *text =
                json_dumps(json_object_get(rule, key), JSON_COMPACT | JSON_ENCODE_ANY);
        char field[64];

        snprintf(field, sizeof(field), "spec.rules[%zu].%s", number, key);
        return up_fail(u, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, field,
                       "upcloud: %s = %.200s is not accepted; %s", field, text ? text : "nothing",
                       accepted);
}

static bool is_one_of(const char *text, const char *words)
{
        size_t n = strlen(text);

        for (const char *p = words; n && (p = strstr(p, text)); p += n)
                if ((p == words || p[-1] == ' ') && (p[n] == ' ' || !p[n]))
                        return true;
        return false;
}

static int32_t check_rule(struct upcloud *u, struct prvng_call *call, size_t i, const json_t *rule)
{
        const char *direction = up_string(rule, "direction", ""),
                   *protocol = up_string(rule, "protocol", "");
        const char *other = streq(direction, "in") ? "destination" : "source", *family;
        const char *own = streq(direction, "in") ? "source" : "destination";
        char first[46], last[46];
        int64_t from, to;
        int ports = port_range(rule, &from, &to);

        if (!is_one_of(direction, "in out"))
                return bad(u, call, i, "direction", rule, "write in or out");
        if (!is_one_of(protocol, "tcp udp icmp any"))
                return bad(u, call, i, "protocol", rule, "write tcp, udp, icmp or any");
        if (!is_one_of(up_string(rule, "action", ""), "accept drop"))
                return bad(u, call, i, "action", rule, "write accept or drop");
        if (ports < 0 || (ports > 0 && !is_one_of(protocol, "tcp udp")))
                return bad(u, call, i, up_present(rule, "ports") ? "ports" : "port", rule,
                           "write a port, or a range such as \"8000-8100\", of tcp or udp");
        if (up_present(rule, other))
                return bad(u, call, i, other, rule,
                           "what comes in has a source, what goes out a destination");
        if (up_present(rule, own) &&
            !firewall_range(up_string(rule, own, ""), first, last, &family))
                return bad(u, call, i, own, rule,
                           "write a network such as \"10.0.0.0/8\" or \"2001:db8::/32\"");
        return PRVNG_DONE;
}

/* --- writing rules as the API has them --- */

static void set(json_t *rule, const char *prefix, const char *what, const char *start,
                const char *end)
{
        char key[64];

        snprintf(key, sizeof(key), "%s_%s_start", prefix, what);
        json_object_set_new(rule, key, json_string(start));
        snprintf(key, sizeof(key), "%s_%s_end", prefix, what);
        json_object_set_new(rule, key, json_string(end));
}

/* `ports_of`: the side that the rule's ports belong to; `others`: that of ephemeral ports, or NULL.
 */
static void add_one(json_t *list, const json_t *rule, const char *family, const char *direction,
                    const char *ports_of, const char *others, const char *addresses_of)
{
        const char *cidr = up_string(rule, "source", up_string(rule, "destination", NULL)), *same;
        const char *protocol = up_string(rule, "protocol", "any");
        json_t *one = json_pack("{s:s, s:s, s:s*}", "action", up_string(rule, "action", "accept"),
                                "direction", direction, "family", family);
        char first[46], last[46];
        int64_t from, to;

        if (!streq(protocol, "any"))
                json_object_set_new(one, "protocol", json_string(protocol));
        if (cidr && firewall_range(cidr, first, last, &same))
                set(one, addresses_of, "address", first, last);
        if (port_range(rule, &from, &to) > 0) {
                snprintf(first, sizeof(first), "%lld", (long long)from);
                snprintf(last, sizeof(last), "%lld", (long long)to);
                set(one, ports_of, "port", first, last);
        }
        if (others && is_one_of(protocol, "tcp udp"))
                set(one, others, "port", EPHEMERAL_FIRST, EPHEMERAL_LAST);
        json_array_append_new(list, one);
}

/* The families that a rule is of; a rule of any protocol and address needs none. */
static size_t families(const json_t *rule, const char *ret[static 2])
{
        const char *cidr = up_string(rule, "source", up_string(rule, "destination", NULL));
        char first[46], last[46];

        ret[0] = "IPv4";
        ret[1] = "IPv6";
        if (cidr)
                return firewall_range(cidr, first, last, &ret[0]) ? 1 : 0;
        if (streq(up_string(rule, "protocol", "any"), "any")) {
                ret[0] = NULL;
                return 1;
        }
        return 2;
}

static void add_rule(json_t *list, const json_t *rule)
{
        const char *direction = up_string(rule, "direction", "in"), *family[2];
        size_t n = families(rule, family);

        for (size_t i = 0; i < n; i++)
                add_one(list, rule, family[i], direction, "destination", NULL,
                        streq(direction, "in") ? "source" : "destination");
}

/* What comes back: the other way, from the ports that were asked. */
static void add_replies(json_t *list, const json_t *rule)
{
        bool in = streq(up_string(rule, "direction", "in"), "in");
        const char *family[2];
        size_t n = families(rule, family);

        for (size_t i = 0; i < n; i++)
                add_one(list, rule, family[i], in ? "out" : "in", "source",
                        in ? NULL : "destination", in ? "destination" : "source");
}

static bool accepts(const json_t *rule, const char *direction)
{
        return streq(up_string(rule, "direction", "in"), direction) &&
               streq(up_string(rule, "action", "accept"), "accept");
}

/* Is everything let in by the first rule that looks, and nothing said of what goes out? Then there
 * is nothing to filter. */
static bool lets_all(const json_t *rules)
{
        const json_t *first = json_array_get(rules, 0);
        json_t *rule;
        size_t i;

        json_array_foreach (rules, i, rule)
                if (streq(up_string(rule, "direction", "in"), "out"))
                        return false;
        return json_array_size(rules) == 0 ||
               (accepts(first, "in") && streq(up_string(first, "protocol", "any"), "any") &&
                !up_present(first, "source"));
}

/* To connections of our own, anywhere. */
static void add_all_replies(json_t *list)
{
        static const char *const protocols[] = {"tcp", "udp"};

        for (size_t i = 0; i < N_ELEMENTS(protocols); i++) {
                _cleanup_(cleanup_json) json_t *all =
                        json_pack("{s:s, s:s, s:s}", "action", "accept", "direction", "out",
                                  "protocol", protocols[i]);
                add_replies(list, all);
        }
}

/* What a system needs to have an address and to hear of errors: answers to its pings and packets,
 * its neighbours and routers, its lease. */
static void add_own_traffic(json_t *list)
{
        static const struct {
                const char *family, *type;
        } all[] = {{"IPv4", "0"},   {"IPv4", "3"},  {"IPv4", "11"},  {"IPv6", "1"},
                   {"IPv6", "2"},   {"IPv6", "3"},  {"IPv6", "129"}, {"IPv6", "134"},
                   {"IPv6", "135"}, {"IPv6", "136"}};

        for (size_t i = 0; i < N_ELEMENTS(all); i++)
                json_array_append_new(list,
                                      json_pack("{s:s, s:s, s:s, s:s, s:s}", "action", "accept",
                                                "direction", "in", "family", all[i].family,
                                                "protocol", "icmp", "icmp_type", all[i].type));
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "action",
                                              "accept", "direction", "in", "family", "IPv4",
                                              "protocol", "udp", "source_port_start", "67",
                                              "source_port_end", "67", "destination_port_start",
                                              "68", "destination_port_end", "68"));
}

/* `rules`: those of all groups, as definitions have them. A new array; empty: no firewall is
 * needed. */
static json_t *expand(const json_t *rules)
{
        json_t *list = json_array(), *rule;
        bool limited = false;
        size_t i;

        if (lets_all(rules))
                return list;
        json_array_foreach (rules, i, rule) {
                add_rule(list, rule);
                limited = limited || accepts(rule, "out");
        }
        json_array_foreach (rules, i, rule)
                if (limited && streq(up_string(rule, "action", ""), "accept"))
                        add_replies(list, rule);
        if (!limited)
                add_all_replies(list);
        add_own_traffic(list);
        json_array_append_new(list, json_pack("{s:s, s:s}", "action", "drop", "direction", "in"));
        if (limited)
                json_array_append_new(
                        list, json_pack("{s:s, s:s}", "action", "drop", "direction", "out"));
        return list;
}

int32_t firewall_prepare(struct upcloud *u, struct prvng_call *call, const json_t *task,
                         json_t *request)
{
        json_t *inputs = json_object_get(task, "inputs"), *input, *rules = json_array(),
               *groups = json_array();
        const char *key;

        json_object_foreach (inputs, key, input) {
                if (strncmp(key, "security_group.", 15) != 0)
                        continue;
                json_array_extend(rules, json_object_get(input, "rules"));
                json_array_append_new(groups, json_string(up_string(input, "name", "")));
        }
        json_object_set_new(request, "rules", expand(rules));
        json_object_set_new(request, "groups", groups);
        json_decref(rules);
        return PRVNG_DONE;
}

/* --- at the API --- */

int32_t firewall_set(struct upcloud *u, struct prvng_call *call, const char *id,
                     const json_t *rules, const char *name)
{
        _cleanup_(cleanup_reply) struct reply reply = REPLY_NULL;
        char target[128], what[192];
        int32_t r;

        snprintf(target, sizeof(target), "/server/%.64s/firewall_rule", id);
        r = api_change(u, call, "PUT", target,
                       json_pack("{s:{s:O}}", "firewall_rules", "firewall_rule", rules), &reply);
        if (r == PRVNG_TRANSIENT || r == PRVNG_CANCELLED) /* a second time does no harm */
                return up_fail(u, call, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN, NULL,
                               "upcloud: the API did not answer PUT %s", target);
        if (r < 0)
                return r;
        if (reply.status >= 200 && reply.status <= 299)
                return PRVNG_DONE;
        if (errors_is_state(&reply))
                return PRVNG_PENDING;
        snprintf(what, sizeof(what), "the firewall of server %.100s cannot be set", name);
        return api_fail(u, call, &reply, api_effect(&reply, PRVNG_EFFECT_PARTIAL), what);
}

/* What we do not set is "" there, or absent; position and comment mean nothing. */
static bool same_rule(const json_t *ours, const json_t *theirs)
{
        const char *key;
        json_t *value;

        json_object_foreach ((json_t *)(uintptr_t)ours, key, value)
                if (!streq(up_string(theirs, key, ""), json_string_value(value)))
                        return false;
        json_object_foreach ((json_t *)(uintptr_t)theirs, key, value)
                if (!streq(key, "position") && !streq(key, "comment") &&
                    !json_object_get(ours, key) && json_is_string(value) &&
                    *json_string_value(value))
                        return false;
        return true;
}

static bool same_list(const json_t *ours, const json_t *theirs)
{
        json_t *rule;
        size_t i;

        if (json_array_size(ours) != json_array_size(theirs))
                return false;
        json_array_foreach (ours, i, rule)
                if (!same_rule(rule, json_array_get(theirs, i)))
                        return false;
        return true;
}

bool firewall_says(const json_t *rules, const json_t *there)
{
        _cleanup_(cleanup_json) json_t *list = expand(rules);

        return same_list(list, there);
}

int32_t firewall_compare(struct upcloud *u, struct prvng_call *call, const char *id,
                         const json_t *rules, bool *ret_same)
{
        _cleanup_(cleanup_reply) struct reply reply = REPLY_NULL;
        char target[128];
        int32_t r;

        snprintf(target, sizeof(target), "/server/%.64s/firewall_rule", id);
        r = api_get(u, call, target, PRVNG_EFFECT_UNKNOWN, &reply);
        if (r < 0)
                return r;
        *ret_same = same_list(rules, up_inner(reply.body, "firewall_rules", "firewall_rule"));
        return PRVNG_DONE;
}

/* --- the kind security_group: nothing at the API stands for it --- */

static int32_t prepare(struct upcloud *u, struct prvng_call *call, const char *verb,
                       const json_t *task, json_t *request)
{
        const json_t *rules = up_inner(task, "spec", "rules");
        json_t *rule;
        size_t i;

        json_object_set_new(request, "spec", json_pack("{s:O*}", "rules", rules));
        if (streq(verb, "delete"))
                return PRVNG_DONE;
        if (json_array_size(rules) > RULES_MAX)
                return up_fail(u, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, "spec.rules",
                               "upcloud: a security group has at most %d rules", RULES_MAX);
        json_array_foreach (rules, i, rule) {
                int32_t r = check_rule(u, call, i, rule);

                if (r < 0)
                        return r;
        }
        return PRVNG_DONE;
}

static int32_t tell(struct upcloud *u, struct prvng_call *call, const struct request *q,
                    int32_t class, struct prvng_sink *result)
{
        _cleanup_(cleanup_free) char *id = up_format("%s/%s", q->workflow, q->name);
        _cleanup_(cleanup_json) json_t *outputs =
                json_pack("{s:s, s:s, s:O*}", "id", id ? id : q->name, "name", q->name, "rules",
                          json_object_get(q->spec, "rules"));
        int32_t r = up_reply(u, call, result, outputs);

        return r < 0 ? r : class;
}

/* Of the servers that carry this group in their marks, those that have no other get the new rules
 * now; the others with their own next update, which knows all their groups. */
static int32_t group_update(struct upcloud *u, struct prvng_call *call, const struct request *q,
                            struct prvng_sink *token, struct prvng_sink *result)
{
        _cleanup_(cleanup_json) json_t *servers = NULL, *text = NULL,
                                       *rules = expand(json_object_get(q->spec, "rules"));
        json_t *server;
        size_t i;
        int32_t r = find_marked(u, call, "server", q->site, NULL, NULL, NULL, PRVNG_EFFECT_NONE,
                                &servers);

        if (r < 0)
                return r;
        json_array_foreach (servers, i, server) {
                _cleanup_(cleanup_json) json_t *labels = up_labels(server);

                if (!streq(up_string(labels, MARK_GROUPS, ""), q->name) ||
                    !streq(up_string(labels, MARK_WORKFLOW, ""), q->workflow))
                        continue;
                r = firewall_set(u, call, up_string(server, "uuid", ""), rules,
                                 up_string(labels, MARK_NAME, ""));
                if (r == PRVNG_PENDING) {
                        text = json_pack("{s:s}", "verb", "update");
                        return up_pending(u, call, token, text, 1000);
                }
                if (r < 0)
                        return r;
        }
        return tell(u, call, q, PRVNG_DONE, result);
}

static int32_t begin(struct upcloud *u, struct prvng_call *call, const char *verb,
                     const struct request *q, struct prvng_sink *token, struct prvng_sink *result)
{
        if (streq(verb, "update"))
                return group_update(u, call, q, token, result);
        return tell(u, call, q, streq(verb, "check") ? PRVNG_UNCHANGED : PRVNG_DONE, result);
}

static int32_t poll(struct upcloud *u, struct prvng_call *call, const char *verb,
                    const struct request *q, json_t *token, struct prvng_sink *new_token,
                    struct prvng_sink *result)
{
        return begin(u, call, verb, q, new_token, result);
}

static int32_t observe(struct upcloud *u, struct prvng_call *call, const char *verb,
                       const struct request *q, json_t *token, struct prvng_sink *new_token,
                       struct prvng_sink *result)
{
        if (streq(verb, "update") || streq(verb, "check"))
                return PRVNG_OBSERVED_PARTIAL;
        return tell(u, call, q, PRVNG_OBSERVED_DONE, result);
}

static int32_t read(struct upcloud *u, struct prvng_call *call, const struct request *q,
                    struct prvng_sink *result)
{
        return tell(u, call, q, PRVNG_DONE, result);
}

const struct kind kind_security_group = {
        .name = "security_group",
        .prepare = prepare,
        .begin = begin,
        .poll = poll,
        .observe = observe,
        .read = read,
};
