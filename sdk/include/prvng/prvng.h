/* SPDX-License-Identifier: Apache-2.0 */
/* All stable headers of the plugin SDK. */
#ifndef PRVNG_PRVNG_H
#define PRVNG_PRVNG_H

#include <prvng/abi.h>
#include <prvng/ext/inventory.h>
#include <prvng/ext/precheck.h>
#include <prvng/host.h>
#include <prvng/host/document.h>
#include <prvng/host/http.h>
#include <prvng/host/rate.h>
#include <prvng/host/remote.h>
#include <prvng/host/spawn.h>
#include <prvng/host/workdir.h>
#include <prvng/kind/loader.h>
#include <prvng/kind/op.h>
#include <prvng/kind/provider.h>
#include <prvng/kind/secret.h>
#include <prvng/kind/store.h>
#include <prvng/kind/taskserv.h>
#include <prvng/kind/template.h>
#include <prvng/plugin.h>

#endif
