/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of providers and taskservs against the world of their scenario have in common. */
#ifndef PRVNG_CHECK_SCENARIO_TESTS_H
#define PRVNG_CHECK_SCENARIO_TESTS_H

#include "drive.h"

#define KINDS "provider taskserv"

/* A member of the scenario's "tasks"; skips the test if there is none. */
const json_t *scenario_entry(struct check *c, size_t i);

/* Scenario and plugin are started: the first of "tasks", and how many resources there are before it. */
const json_t *scenario_stage(struct check *c, struct subject *ret_s, int64_t *ret_base);

/* Fails the test unless there are so many resources. */
void scenario_count_is(struct check *c, int64_t want, const char *after);
void answer_must_be(struct check *c, int32_t answer, int32_t want, const char *what);

/* For in_child(): a plugin of its own drives the ledger to its end. */
void drive_in_child(struct check *c, void *ledger);

#endif
