/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules of security groups as texts, so that sets of them can be compared:
 *
 *      "in tcp 22 22 0.0.0.0/0"   "out any - - ::/0"   "in any - - self"   "in icmp -1 -1 10.0.0.0/8"
 *
 * Direction, protocol, ports, and who: a CIDR, "self" (the group), a group's or a prefix list's id.
 */
#ifndef PRVNG_AWS_RULES_H
#define PRVNG_AWS_RULES_H

#include "aws.h"

#define RULE_MAX 128

/* Of a spec: an array of texts, each once. The default of AWS (all may go out) is among them unless a rule
 * of "out" accepts something; so is what members of the group send each other, if `members`. DONE, or PERMANENT
 * with the field. */
int32_t rules_wanted(struct aws *a, struct prvng_call *call, const json_t *rules, bool members, json_t **ret);

/* Of a group as DescribeSecurityGroups shows it. */
json_t *rules_found(const struct xml_node *group, const char *group_id);

/* What is in `of` and not in `in`, of that direction; NULL if there is nothing. */
json_t *rules_missing(const json_t *of, const json_t *in, const char *direction);

/* IpPermissions.N for each. */
void rules_add(struct query *q, const json_t *rules, const char *group_id);

/* The network's address without bits of hosts, "10.0.1.7/8" -> "10.0.0.0/8"; false: it is no CIDR. */
bool cidr_normal(const char *text, char ret[64], bool *ret_six);

#endif
