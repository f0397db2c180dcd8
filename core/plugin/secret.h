/* SPDX-License-Identifier: Apache-2.0 */
/*
 * References to secrets, "secret://BACKEND/PATH#KEY", and the values behind them. A reference is no secret:
 * it may be logged, journaled and shown.
 */
#ifndef PRVNG_PLUGIN_SECRET_H
#define PRVNG_PLUGIN_SECRET_H

#include "base/buf.h"
#include "host/call.h"
#include "plugin/plugin.h"

struct locked;

#define SECRET_BACKEND_MAX 64

/* The backend's name, and what it gets (points into `reference`). False: it is none, a sentence in `why`. */
bool secret_reference_split(const char *reference, char ret_backend[SECRET_BACKEND_MAX],
                            const char **ret_rest, struct buf *why);

/* The plugin that keeps it, and what it gets; NULL: none that can be used, a sentence in `why`. */
struct plugin *plugins_find_secret(const struct plugins *all, const char *reference,
                                   const char **ret_rest, struct buf *why);

/* host_secret_f over the plugins of a site (userdata): the value of a reference, for the call `outer`, which
 * it is cancelled and late with. A backend whose own credentials stand in another one is served; one that
 * would need itself is refused. [any] */
int32_t plugins_resolve(void *all, struct op_call *outer, const char *reference,
                        struct locked *ret_value, struct buf *why);

#endif
