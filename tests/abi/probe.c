/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names every public struct in a function of its own, so that abidiff(1) sees what stands behind the void *
 * of get_interface(). Compiled with the headers of 1.0 and with the present ones; never installed.
 */
#include <prvng/prvng.h>

#define PROBE(type)                                                                                \
        PRVNG_EXPORT void probe_##type(const struct type *p);                                      \
        void probe_##type(const struct type *p)                                                    \
        {                                                                                          \
                (void)p;                                                                           \
        }

PROBE(prvng_error)
PROBE(prvng_call)
PROBE(prvng_host)
PROBE(prvng_plugin)
PROBE(prvng_position)
PROBE(prvng_host_document)
PROBE(prvng_host_rate)
PROBE(prvng_host_workdir)
PROBE(prvng_job_status)
PROBE(prvng_host_remote)
PROBE(prvng_spawn)
PROBE(prvng_host_spawn)
PROBE(prvng_http_request)
PROBE(prvng_http_response)
PROBE(prvng_host_http)
PROBE(prvng_op)
PROBE(prvng_loader_source)
PROBE(prvng_loader)
PROBE(prvng_store)
PROBE(prvng_template)
PROBE(prvng_secret)
PROBE(prvng_provider_precheck)
PROBE(prvng_provider_inventory)
