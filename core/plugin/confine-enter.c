/* SPDX-License-Identifier: Apache-2.0 */
/* The sandbox of an isolated plugin, in its process: for the helper program only, which has libseccomp. */
#include "plugin/confine.h"

#include "base/json.h"
#include "sandbox/sandbox.h"

#define FILE_MAX (UINT64_C(1) << 30)

int confine_enter(const json_t *sandbox, struct buf *ret_missing)
{
        const json_t *read = json_object_get(sandbox, "read");
        uid_t user = (uid_t)json_get_int(sandbox, "uid", 0);
        struct sandbox s = {
                .flags = (json_get_bool(sandbox, "processes", false) ? SANDBOX_PROGRAMS : 0) |
                         (json_get_bool(sandbox, "sockets", false) ? SANDBOX_SOCKETS : 0),
                .folder = json_get_string(sandbox, "folder", NULL),
                .read = read,
                .write = json_object_get(sandbox, "write"),
                .data_bytes = (uint64_t)json_get_int(sandbox, "memory", 0),
                .file_bytes = FILE_MAX,
                .n_files = (uint32_t)json_get_int(sandbox, "files", 0),
                .uid = user,
                .gid = (gid_t)user,
        };
        int listener;

        if (!json_is_array(read)) /* nobody may mean "everything" by a mistake */
                return error_origin(-EINVAL);
        return error_fold(sandbox_enter(&s, &listener, ret_missing));
}
