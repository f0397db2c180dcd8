/* SPDX-License-Identifier: Apache-2.0 */
/* The workflow "shop" on a site with a provider "cloud" and some taskservs, and short words to define it. */
#ifndef PRVNG_PLAN_TEST_SHOP_H
#define PRVNG_PLAN_TEST_SHOP_H

#include "plan/test-plan-stage.h"

#define SERVERS(id, items) "{'id':'" id "','type':'create','target':'server','items':[" items "]}"
#define TASKSERVS(id, items, more)                                                                 \
        "{'id':'" id "','type':'create','target':'taskserv','items':[" items "]" more "}"
#define WORKFLOW(operations, more) "{'name':'shop','operations':[" operations "]" more "}"

/* With a provider "cloud" that has what is shared, and the taskservs os, resolv, containerd, docker and
 * kubernetes. */
struct stage *stage_shop(void);

#endif
