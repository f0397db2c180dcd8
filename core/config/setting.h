/* SPDX-License-Identifier: Apache-2.0 */
/* libconfig's settings with positions and problems; inside core/config only. */
#ifndef PRVNG_CONFIG_SETTING_H
#define PRVNG_CONFIG_SETTING_H

#include "base/json.h"
#include "base/problem.h"
#include <libconfig.h>

DEFINE_CLEANUP(config_t *, config_destroy)

/* One file being read. */
struct reader {
        struct problems *problems;
        const char *file;
        const char *group; /* path of the group whose members are applied, "" at the top */
        void *target;      /* what the keys' functions write to */
};

/* A key that a group may have. `apply` reports what is wrong with the value itself; it returns only
 * -ENOMEM and the like. */
struct key {
        const char *name;
        int (*apply)(struct reader *r, const struct key *key, const config_setting_t *s);
        size_t offset; /* of the member in the target, for the functions below */
        int64_t min;   /* setting_u32 */
        int64_t max;
};

/* Reads a file. Returns 0 and *ret_root NULL if it is not there or has a problem, now reported. The
 * caller destroys *config, initialised by config_init, in any case. */
int setting_read(struct reader *r, config_t *config, const config_setting_t **ret_root);

/* Applies every member of a group by `keys`; an unknown one is a problem. */
int setting_apply(struct reader *r, const config_setting_t *group, const struct key *keys,
                  size_t n_keys);

void setting_problem(struct reader *r, const config_setting_t *s, const char *format, ...)
        _printf_(3, 4);
const char *setting_type(const config_setting_t *s); /* "a string", "a group" ... */

/* Values for struct key. */
int setting_string(struct reader *r, const struct key *key, const config_setting_t *s);
int setting_path(struct reader *r, const struct key *key, const config_setting_t *s);
int setting_bool(struct reader *r, const struct key *key, const config_setting_t *s);
int setting_u32(struct reader *r, const struct key *key, const config_setting_t *s);

/* The setting as JSON: groups are objects, lists and arrays are arrays. *ret_json is NULL if there
 * was a problem, now reported. */
int setting_json(struct reader *r, const config_setting_t *s, json_t **ret_json);

/* Absolute form of a path: "~/x" is below the home folder. NULL with errno EINVAL if it is neither
 * absolute nor that, or ENOMEM. Caller frees. */
char *setting_expand(const char *path);

#endif
