/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adoption of a security group: the API has none, so what is adopted are the rules of one server's
 * firewall, said as a group would say them. What a group says of itself is left out: replies,
 * answers of ICMP, leases, and the drop at the end. A rule that no group can say is an error that
 * names it: left out it would open or close something.
 */
#include "upcloud.h"

#include <arpa/inet.h>

#define PIECES_MAX 64 /* networks that a range of addresses is made of */

__extension__ typedef unsigned __int128 address;

static bool is_set(const json_t *rule, const char *side, const char *what)
{
        char key[64];

        snprintf(key, sizeof(key), "%s_%s_start", side, what);
        return *up_string(rule, key, "") != 0;
}

static const char *side_value(const json_t *rule, const char *side, const char *what,
                              const char *end)
{
        char key[64];

        snprintf(key, sizeof(key), "%s_%s_%s", side, what, end);
        return up_string(rule, key, "");
}

/* Lets it in or out whatever it is, or drops it. */
static bool is_all(const json_t *rule, const char *action, const char *direction)
{
        return streq(up_string(rule, "action", ""), action) &&
               streq(up_string(rule, "direction", ""), direction) &&
               !*up_string(rule, "protocol", "") && !*up_string(rule, "family", "") &&
               !is_set(rule, "source", "address") && !is_set(rule, "destination", "address") &&
               !is_set(rule, "source", "port") && !is_set(rule, "destination", "port");
}

/* --- addresses --- */

static bool parse_address(const char *text, int *ret_family, address *ret)
{
        unsigned char bytes[16];
        int family = strchr(text, ':') ? AF_INET6 : AF_INET;

        if (inet_pton(family, text, bytes) != 1)
                return false;
        *ret = 0;
        for (size_t i = 0; i < (family == AF_INET6 ? 16 : 4); i++)
                *ret = *ret << 8 | bytes[i];
        *ret_family = family;
        return true;
}

static json_t *network(int family, address low, unsigned bits)
{
        unsigned char bytes[16];
        char text[64];
        size_t n = family == AF_INET6 ? 16 : 4;

        for (size_t i = n; i-- > 0; low >>= 8)
                bytes[i] = (unsigned char)low;
        inet_ntop(family, bytes, text, 46);
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "/%u", bits);
        return json_string(text);
}

/* The networks that a range is made of, each as large as it can be; NULL: it is no range, or of too
 * many. */
static json_t *networks_of(const char *first, const char *last)
{
        json_t *list = json_array();
        address low, high;
        int family, other;

        if (!parse_address(first, &family, &low) ||
            !parse_address(*last ? last : first, &other, &high) || family != other || low > high) {
                json_decref(list);
                return NULL;
        }
        for (unsigned all = family == AF_INET6 ? 128 : 32;;) {
                unsigned host = 0;
                address size = 1;

                while (host < all && !(low & size) &&
                       (host + 1 == 128 || low + (size << 1) - 1 <= high) &&
                       low + ((size - 1) << 1 | 1) <= high) {
                        host++;
                        size <<= 1;
                }
                json_array_append_new(list, network(family, low, all - host));
                if (json_array_size(list) > PIECES_MAX) {
                        json_decref(list);
                        return NULL;
                }
                if (host == 128 || low + (size - 1) >= high)
                        return list;
                low += size;
        }
}

/* --- one rule --- */

/* What a group says of itself, or nothing has to say: replies, and what a system needs. */
static bool goes_without_saying(const json_t *rule)
{
        static const char *const types[] = {"0", "3", "11", "1", "2", "129", "134", "135", "136"};
        const char *type = up_string(rule, "icmp_type", "");

        if (!streq(up_string(rule, "action", ""), "accept"))
                return false;
        for (size_t i = 0; *type && i < N_ELEMENTS(types); i++)
                if (streq(type, types[i]))
                        return true;
        return is_set(rule, "source", "port");
}

/* Why no group can say it; NULL: one can. */
static const char *trouble(const json_t *rule)
{
        bool in = streq(up_string(rule, "direction", ""), "in");
        const char *protocol = up_string(rule, "protocol", "");

        if (is_set(rule, "source", "port"))
                return "it looks at the port that a packet comes from";
        if (*up_string(rule, "icmp_type", ""))
                return "it looks at one type of ICMP";
        if (is_set(rule, in ? "destination" : "source", "address"))
                return in ? "it looks at one address of the server"
                          : "it looks at the server's own address";
        if (*protocol && !streq(protocol, "tcp") && !streq(protocol, "udp") &&
            !streq(protocol, "icmp"))
                return "it is of another protocol than tcp, udp and icmp";
        return NULL;
}

static void set_ports(json_t *rule, const json_t *theirs)
{
        const char *first = side_value(theirs, "destination", "port", "start");
        const char *last = side_value(theirs, "destination", "port", "end");

        if (!*first)
                return;
        if (!*last || streq(first, last))
                json_object_set_new(rule, "port", json_integer(atoll(first)));
        else
                json_object_set_new(rule, "ports", json_sprintf("%s-%s", first, last));
}

/* Said for one family without an address, and next for the other: then it is for both. */
static bool is_pair(const json_t *rule, const json_t *next)
{
        static const char *const keys[] = {"action",
                                           "direction",
                                           "protocol",
                                           "destination_port_start",
                                           "destination_port_end",
                                           "source_port_start",
                                           "icmp_type",
                                           "source_address_start",
                                           "destination_address_start"};

        for (size_t i = 0; i < N_ELEMENTS(keys); i++)
                if (!streq(up_string(rule, keys[i], ""), up_string(next, keys[i], "")))
                        return false;
        return *up_string(rule, "family", "") && *up_string(next, "family", "") &&
               !streq(up_string(rule, "family", ""), up_string(next, "family", ""));
}

/* Appends it, once for each of its networks. False: its addresses are no networks. */
static bool add_rule(json_t *rules, const json_t *theirs, bool both)
{
        const char *direction = up_string(theirs, "direction", "in"), *protocol, *family;
        const char *own = streq(direction, "in") ? "source" : "destination";
        _cleanup_(cleanup_json) json_t *networks = NULL, *rule = NULL;
        json_t *one;
        size_t i;

        protocol = up_string(theirs, "protocol", "");
        family = up_string(theirs, "family", "");
        rule = json_pack("{s:s, s:s, s:s}", "direction", direction, "protocol",
                         *protocol ? protocol : "any", "action",
                         up_string(theirs, "action", "accept"));
        set_ports(rule, theirs);
        if (is_set(theirs, own, "address"))
                networks = networks_of(side_value(theirs, own, "address", "start"),
                                       side_value(theirs, own, "address", "end"));
        else if (*family && !both)
                networks = json_pack("[s]", streq(family, "IPv6") ? "::/0" : "0.0.0.0/0");
        else
                return json_array_append(rules, rule) == 0;
        json_array_foreach (networks, i, one) {
                json_t *copy = json_copy(rule);

                json_object_set(copy, own, one);
                json_array_append_new(rules, copy);
        }
        return networks != NULL;
}

/* --- the list --- */

struct reading {
        struct upcloud *u;
        struct prvng_call *call;
        json_t *rules, *notices;
        bool closed_in, closed_out; /* nothing behind is reached */
        const char *server;
};

static int32_t refuse(const struct reading *r, size_t number, const char *why)
{
        return up_fail(
                r->u, r->call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, NULL,
                "upcloud: rule %zu of the firewall of server %.64s cannot be said by a security "
                "group: "
                "%s. Change it there, or write the group in the definition: its rules replace the "
                "server's with the next update",
                number + 1, r->server, why);
}

static int32_t read_rule(struct reading *r, const json_t *list, size_t *i)
{
        const json_t *rule = json_array_get(list, *i), *next = json_array_get(list, *i + 1);
        bool in = streq(up_string(rule, "direction", ""), "in"), both = next && is_pair(rule, next);
        const char *why;

        if (in ? r->closed_in : r->closed_out)
                return PRVNG_DONE;
        if (is_all(rule, "drop", in ? "in" : "out")) {
                *(in ? &r->closed_in : &r->closed_out) = true;
                return PRVNG_DONE;
        }
        if (goes_without_saying(rule)) {
                json_array_append_new(
                        r->notices,
                        json_sprintf("rule %zu is left out: a group lets replies, and what ICMP "
                                     "answers, through without being told",
                                     *i + 1));
                return PRVNG_DONE;
        }
        why = trouble(rule);
        if (!why && !add_rule(r->rules, rule, both))
                why = "its addresses are a range that is made of too many networks";
        if (why)
                return refuse(r, *i, why);
        *i += both;
        return PRVNG_DONE;
}

static void add_all(json_t *rules, const char *direction, const char *action)
{
        json_array_append_new(rules, json_pack("{s:s, s:s, s:s}", "direction", direction,
                                               "protocol", "any", "action", action));
}

static bool lets_some_out(const json_t *rules)
{
        json_t *rule;
        size_t i;

        json_array_foreach (rules, i, rule)
                if (streq(up_string(rule, "direction", ""), "out") &&
                    streq(up_string(rule, "action", ""), "accept"))
                        return true;
        return false;
}

static int32_t read_rules(struct reading *r, const json_t *list)
{
        for (size_t i = 0; i < json_array_size(list); i++) {
                int32_t class = read_rule(r, list, &i);

                if (class < 0)
                        return class;
        }
        if (!r->closed_in) /* what fits no rule passes there, and not here */
                add_all(r->rules, "in", "accept");
        if (r->closed_out != lets_some_out(r->rules))
                add_all(r->rules, "out", r->closed_out ? "drop" : "accept");
        return PRVNG_DONE;
}

/* Where groups made the list: their rules stand first, and what follows is what a group says of
 * itself. */
static void find_groups(const struct reading *r, const json_t *there)
{
        _cleanup_(cleanup_json) json_t *first = json_array();
        json_t *rule;
        size_t i;

        json_array_foreach (r->rules, i, rule) {
                json_array_append(first, rule);
                if (!firewall_says(first, there))
                        continue;
                json_array_clear(r->rules);
                json_array_extend(r->rules, first);
                json_array_clear(r->notices);
                return;
        }
}

static int32_t read_firewall(struct reading *r, const char *id)
{
        _cleanup_(cleanup_reply) struct reply reply = REPLY_NULL;
        const json_t *there;
        char target[128];
        int32_t class;

        snprintf(target, sizeof(target), "/server/%.64s/firewall_rule", id);
        class = api_get(r->u, r->call, target, PRVNG_EFFECT_NONE, &reply);
        if (class < 0)
                return class;
        there = up_inner(reply.body, "firewall_rules", "firewall_rule");
        class = read_rules(r, there);
        if (class == PRVNG_DONE)
                find_groups(r, there);
        return class;
}

int32_t group_find(struct upcloud *u, struct prvng_call *call, const json_t *server,
                   const char *name, struct prvng_sink *result)
{
        _cleanup_(cleanup_json) json_t *rules = json_array(), *notices = json_array(), *out = NULL;
        const char *id = up_string(server, "uuid", "");
        struct reading reading = {
                .u = u, .call = call, .rules = rules, .notices = notices, .server = name};
        int32_t r = PRVNG_DONE;

        if (streq(up_string(server, "firewall", "off"), "on"))
                r = read_firewall(&reading, id);
        else
                add_all(rules, "in", "accept");
        if (r < 0)
                return r;
        out = json_pack("{s:s, s:s, s:{s:s, s:O}, s:{s:s, s:s, s:O, s:s, s:O}}", "name", name,
                        "kind", "security_group", "spec", "name", name, "rules", rules, "outputs",
                        "id", id, "name", name, "rules", rules, "server", id, "notices", notices);
        return up_reply(u, call, result, out);
}
