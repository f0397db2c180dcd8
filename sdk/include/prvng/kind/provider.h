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
 * need them; the servers' inputs hold their results.
 */
#ifndef PRVNG_KIND_PROVIDER_H
#define PRVNG_KIND_PROVIDER_H

#include <prvng/kind/op.h>

#define PRVNG_PROVIDER "prvng.provider/1"

#endif
