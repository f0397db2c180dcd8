/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of a run: lines for people and log collectors, made from records once they are durable.
 *
 * Written to STATE/runs/RUN/log.jsonl as JSON (what `prvng batch logs RUN` shows), and, if the
 * workflow's LoggingConfig names the destination "file", to PATH/WORKFLOW-RUN.log in its format, PATH
 * being relative to the folder of the definition. Files of earlier runs of the workflow there that are
 * older than retention_days are removed when a run starts.
 *
 * Each line carries the run's trace id: the 128 bits of its ULID in hex (W3C Trace Context).
 *
 * A log that cannot be written is no reason to stop: it is reported once, and the run goes on.
 */
#ifndef PRVNG_RUN_LOG_H
#define PRVNG_RUN_LOG_H

#include "config/config.h"
#include "journal/state.h"

struct run_log;

/* After the run's `run` record was applied. NULL if there is no memory: logging does nothing then. */
struct run_log *run_log_open(const struct config *config, const struct run *run);
struct run_log *run_log_close(struct run_log *l);

/* Remembers what the record says; to be called before it is applied (what happened to a task) ... */
void run_log_record(struct run_log *l, const struct run *run, const struct record *r);

/* ... and written when it is durable. */
void run_log_flush(struct run_log *l);

/* The trace id of a run: 32 hex digits. */
void run_trace_id(const struct uid *run, char ret_text[33]);

#endif
