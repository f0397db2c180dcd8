/* SPDX-License-Identifier: Apache-2.0 */
/* What stores that keep their bytes in a folder of this machine share. Linked into each of them. */
#ifndef PRVNG_STORE_COMMON_H
#define PRVNG_STORE_COMMON_H

#include <prvng/abi.h>
#include <prvng/host.h>

#include <stdbool.h>

#define STORE_NAME_MAX 64 /* bytes of a stream's name */

/* [a-z0-9][a-zA-Z0-9._-]{0,63}: what kind/store.h allows. Nothing of that is a path. */
bool store_name_good(const char *name);

/* Says "cannot ACTION WHAT: reason", and what to do where the disk is full. Returns the class:
 * QUOTA for -ENOSPC and -EDQUOT, else PERMANENT. */
int32_t store_fail(const struct prvng_host *host, struct prvng_call *call, int error,
                   const char *action, const char *what);

/* Says why something was not even tried, and returns the class. */
int32_t store_refuse(const struct prvng_host *host, struct prvng_call *call, int32_t error_class,
                     const char *message);

/* The refusals that every store knows (S1, S3, names). */
int32_t store_refuse_epoch(const struct prvng_host *host, struct prvng_call *call);
int32_t store_refuse_failed(const struct prvng_host *host, struct prvng_call *call);
int32_t store_refuse_name(const struct prvng_host *host, struct prvng_call *call, const char *name);

/* Locks the file `lock` of the folder and writes "pid N on host H" into it (S3). DONE and the
 * descriptor that holds the lock; CONFLICT naming who has it; what store_fail says. */
int32_t store_lock(const struct prvng_host *host, struct prvng_call *call, int folder,
                   const char *location, int *ret_fd);

#endif
