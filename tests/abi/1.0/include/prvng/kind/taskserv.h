/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng.taskserv/1: a service installed on a server. The operations are those of prvng.op/1; an
 * instance of this kind answers to both ids with the same table.
 *
 * Task of kind "taskserv": name = the taskserv, "server" = name of the server, spec = the vars of
 * the operation and workflow, inputs hold the server's result under "server.<name>". The plugin works
 * on the server through prvng.host.remote/1 only and never knows which provider it stands on.
 */
#ifndef PRVNG_KIND_TASKSERV_H
#define PRVNG_KIND_TASKSERV_H

#include <prvng/kind/op.h>

#define PRVNG_TASKSERV "prvng.taskserv/1"

#endif
