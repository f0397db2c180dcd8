/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRVNG_SIMULATE_SHRINK_H
#define PRVNG_SIMULATE_SHRINK_H

#include "simulate/sim.h"

/* Looks for the shortest history of the seed in which the same invariant does not hold, prints it and
 * the command that repeats it. */
void shrink(uint64_t seed, const struct options *options, const char *failure);

/* "crash,lost" and "crash:0,lost:3": false if there is no such fault. */
bool options_off(struct options *o, const char *list);
bool options_skip(struct options *o, const char *list);

#endif
