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
 * Tasks of kind "network", "security_group" ... are made once for all servers of a workflow that
 * need them; the servers' inputs hold their results, each with the "id" that the provider gave it. Their
 * spec is {"name"} with what the definition's `networks` say of it; a create that finds what carries the
 * marks of this site, this workflow and this name answers UNCHANGED with it.
 *
 * Task of kind "credential", verb "update": the provider replaces the credential that it works with by a
 * new one: made, stored where the old one stood (a file that the configuration names), proven to work,
 * and only then is the old one revoked. What an interrupted rotation left behind is found by the op id
 * in its name and revoked. Its result holds the id and the end of validity, never the secret.
 * prvng secret rotate PROVIDER.
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
