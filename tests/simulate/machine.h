/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRVNG_SIMULATE_MACHINE_H
#define PRVNG_SIMULATE_MACHINE_H

#include "simulate/sim.h"

void machine_wake(void); /* the loop has something to look at */

#endif
