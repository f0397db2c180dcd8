/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng.provider/1: makes servers and what they stand on. The operations are those of prvng.op/1;
 * an instance of this kind answers to both ids with the same table.
 *
 * Task of kind "server": spec = the ServerDef (name, cpu in cores, memory in MiB, disk in GiB, plan,
 * image, zone, networks, labels, ssh_keys) without the blocks of other providers; the provider's own
 * block stands in spec under the provider's name. Its result holds at least:
 *
 *      {"name", "state": "running" | "stopped", "cpu", "memory", "disk", "hostname",
 *       "addresses": ["10.77.0.5"], "reach": {...}, "notices": [..]}
 *
 * Tasks of kind "network" and "security_group" are made once for all servers of a workflow and provider
 * that need them, and before the servers; other workflows of the site may use them as they stand. The
 * servers' inputs hold their results, each with the "id" that the provider gave it, under keys such as
 * "network.private@upcloud" and "security_group.default@aws". A server gets the shared ones that
 * kcl/dependencies.k names (shared_resources; requires_network means the network "private"), and those
 * that its spec names in "networks" and "security_groups" and that the workflow defines. A name there
 * without a task in the inputs is one that the provider has anyway: its own name or id.
 *
 *      network         {"name": "private",
 *                       "address": "10.8.0.0/22",      absent: the provider chooses, and its result says
 *                       "zone": "fi-hel1",             where all servers of it stand, or as defined; or
 *                       "zones": ["a", "b"],           where they stand in several; both may be absent
 *                       "upcloud": {...}}              the provider's own block, under its name
 *      security_group  {"name": "default",
 *                       "rules": [{"direction": "in" | "out", "protocol": "tcp" | "udp" | "icmp" | "any",
 *                                  "port": 22,         or
 *                                  "ports": "8000-8100", or neither: all; only with tcp and udp
 *                                  "source": "10.0.0.0/8", of "in": CIDR of IPv4 or IPv6; absent: any, of
 *                                  "destination": CIDR,    both families. The same of "out"
 *                                  "action": "accept" | "drop"}],
 *                       "aws": {...}}
 *
 * direction, protocol and action are always there. The first rule that fits decides. What comes in and
 * fits none is dropped; what goes out and fits none is accepted, but dropped if there is any rule of
 * "out" that accepts. Replies to what was let through, and traffic between the servers over their private
 * networks, are always accepted. The core writes the default rules (ssh and icmp from anywhere) into the
 * spec where the definition has none; a plugin has none of its own. What an API cannot express (a "drop"
 * at AWS) is a PERMANENT answer of prepare with the field "spec.rules[2].action", never left out.
 *
 * Their results hold "id", "name", for a network "address" (and "zone" or "zones" with one id each, in
 * "subnets": {"ZONE": "ID"}, where the provider divides a network by zones). A create that finds what
 * carries the marks of this site, this workflow and this name answers UNCHANGED with it if it is as the
 * spec says. A delete of what servers still use answers CONFLICT with effect NONE.
 *
 * Task of kind "credential", verb "update", name and spec.name are the provider's: the provider replaces
 * the credential that it works with by a new one: made, stored where the old one stood (a file that the
 * configuration names), proven to work, and only then is the old one revoked. What an interrupted rotation
 * left behind is found by the op id in its name and revoked. Its result holds "id" and "valid_until"
 * (RFC 3339, or null), never the secret. prvng secret rotate PROVIDER.
 *
 * What is made carries marks, as labels or tags: the site, the workflow, the name of the resource and
 * the op id.
 *
 * Optional interfaces: prvng/ext/precheck.h, prvng/ext/inventory.h.
 */
#ifndef PRVNG_KIND_PROVIDER_H
#define PRVNG_KIND_PROVIDER_H

#include <prvng/kind/op.h>

#define PRVNG_PROVIDER "prvng.provider/1"

#endif
