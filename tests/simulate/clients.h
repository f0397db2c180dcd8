/* SPDX-License-Identifier: Apache-2.0 */
/* What clients.c and orphans.c share. */
#ifndef PRVNG_SIMULATE_CLIENTS_H
#define PRVNG_SIMULATE_CLIENTS_H

#include "simulate/sim.h"

enum command { SUBMIT, CANCEL, PAUSE, RESUME, ROLLBACK, RETRY, REPLAN, RESOLVE, COMPACT, SWEEP, TAKE, ADOPT };

/* Sends a request; clients_answer gets the answer. */
void client_send(enum command kind, uint32_t number, const char *method, const char *path,
                 const struct buf *body);

/* orphans.c: looks for what no journal knows, takes it or has it deleted; adopts what others made. */
void orphans_draw(void);
void orphans_command(enum command kind);
void orphans_answer(enum command kind, int status, const char *body);
void orphans_engine_gone(void);

#endif
