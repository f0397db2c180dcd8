/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a plugin needs beyond the host's services: the object "capabilities" of its note, and of its
 * drop-in, where the site allows more. It binds isolated plugins only. docs/isolation.md says what each
 * member means:
 *
 *      hosts        ["api.example.net:443", "*.example.net:443"]
 *      secrets      ["EXAMPLE_TOKEN", "/etc/example/token"]    variables of the environment, or files
 *      environment  ["EXAMPLE_REGION"]
 *      paths        {read: ["~/.example"], write: ["@task"]}
 *      programs     ["prvng-example-helper", "/usr/bin/example"]
 *      processes    true
 *      sockets      true
 */
#ifndef PRVNG_CONFIG_CAPABILITY_H
#define PRVNG_CONFIG_CAPABILITY_H

#include <jansson.h>

/* Is it such an object? 0 with *ret_reason NULL, or a sentence that goes on after "capabilities", as
 * ".hosts: ..." or ": ..." (caller frees); -ENOMEM. */
int capability_check(const json_t *capabilities, char **ret_reason);

/* Both together, each NULL or checked, with every member that there is. Caller frees; NULL: out of memory. */
json_t *capability_merge(const json_t *declared, const json_t *allowed);

#endif
