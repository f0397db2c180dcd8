/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng.provider.precheck/1: asks the provider before a run whether what the plan wants can be had:
 * zones, plans, images, names of keys, quotas, and whether the credentials work. Used by
 * `prvng batch submit --validate --online`.
 */
#ifndef PRVNG_EXT_PRECHECK_H
#define PRVNG_EXT_PRECHECK_H

#include <prvng/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PRVNG_PROVIDER_PRECHECK "prvng.provider.precheck/1"

struct prvng_provider_precheck {
        uint32_t struct_size;
        uint32_t reserved;

        /* [worker] `tasks` is {"tasks": [{"verb", "task": {...}}]}: all tasks that the plan has for this
         * provider, each "task" as prepare gets it. Writes {"problems": [{"task": <index>, "field":
         * "spec.zone", "message": "there is no zone fi-hel9; there are de-fra1, fi-hel1, ..."}],
         * "notices": ["..."]}; "task" is missing where it concerns all of them. "message" names the
         * offending value and what is accepted. DONE also with problems; a negative class if the
         * provider could not be asked. Changes nothing. */
        int32_t (*check)(void *instance, struct prvng_call *call, const void *tasks, uint64_t n_tasks,
                         struct prvng_sink *result);
        /* members above: 1.0 */
};
#define PRVNG_PROVIDER_PRECHECK_BASELINE PRVNG_SIZE_UP_TO(struct prvng_provider_precheck, check)

#ifdef __cplusplus
}
#endif

#endif
