/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a task to a request: checks what is asked for, fills in what is left out, and leaves away
 * what means nothing here. Pure: the same task gives the same bytes.
 */
#include "local.h"

#include <limits.h>

#define MEMORY_MIN 64 /* MiB: systemd does not come up with less */
#define MEMORY_MAX (16 * 1024 * 1024)
#define CPU_MIN 0.01
#define CPU_MAX 4096
#define PIDS_MIN 32
#define PIDS_DEFAULT 4096
#define PIDS_MAX 4194304

static int32_t bad(struct local *l, struct prvng_call *call, const char *field, const char *name,
                   const json_t *value, const char *accepted)
{
        _cleanup_(cleanup_free) char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

        return local_fail(l, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, field,
                          "local: server %s: %s = %s is not accepted; %s", name, field,
                          text ? text : "?", accepted);
}

static bool is_state(const char *s)
{
        return streq(s, "running") || streq(s, "stopped") || streq(s, "restarted");
}

static bool present(const json_t *object, const char *key)
{
        const json_t *v = json_object_get(object, key);

        return v && !json_is_null(v);
}

static bool is_key(const char *s)
{
        return strncmp(s, "ssh-", 4) == 0 || strncmp(s, "ecdsa-", 6) == 0 ||
               strncmp(s, "sk-", 3) == 0;
}

static int32_t sizes(struct local *l, struct prvng_call *call, const char *name, const json_t *spec,
                     json_t *out)
{
        const json_t *cpu = json_object_get(spec, "cpu"), *memory = json_object_get(spec, "memory");
        const json_t *disk = json_object_get(spec, "disk");
        double cores = present(spec, "cpu") ? json_number_value(cpu) : 1;

        if (present(spec, "cpu") &&
            (!json_is_number(cpu) || !(cores >= CPU_MIN && cores <= CPU_MAX)))
                return bad(l, call, "spec.cpu", name, cpu, "write cores, 0.01 to 4096");
        if (present(spec, "memory") &&
            (!json_is_integer(memory) || json_integer_value(memory) < MEMORY_MIN ||
             json_integer_value(memory) > MEMORY_MAX))
                return bad(l, call, "spec.memory", name, memory,
                           "write MiB as a whole number, 64 at least");
        if (present(spec, "disk") && (!json_is_integer(disk) || json_integer_value(disk) < 1))
                return bad(l, call, "spec.disk", name, disk,
                           "write GiB as a whole number, 1 at least");
        json_object_set_new(out, "cpu",
                            present(spec, "cpu") ? json_deep_copy(cpu) : json_integer(1));
        json_object_set_new(out, "memory", json_integer(local_integer(spec, "memory", 1024)));
        if (present(spec, "disk"))
                json_object_set_new(out, "disk", json_integer(json_integer_value(disk)));
        return PRVNG_DONE;
}

static int32_t own_block(struct local *l, struct prvng_call *call, const char *name,
                         const json_t *block, json_t *out)
{
        const json_t *pids = json_object_get(block, "pids");
        const char *key;
        json_t *value;

        if (block && !json_is_null(block) && !json_is_object(block))
                return bad(l, call, "spec.local", name, block, "write a block with pids or state");
        json_object_foreach((json_t *)(uintptr_t)block, key,
                            value) if (!streq(key, "pids") && !streq(key, "state"))
        {
                char field[128];

                snprintf(field, sizeof(field), "spec.local.%.64s", key);
                return bad(l, call, field, name, value, "the block local knows pids and state");
        }
        if (present(block, "pids") &&
            (!json_is_integer(pids) || json_integer_value(pids) < PIDS_MIN ||
             json_integer_value(pids) > PIDS_MAX))
                return bad(l, call, "spec.local.pids", name, pids,
                           "write the most processes it may have, 32 at least");
        json_object_set_new(
                out, "local",
                json_pack("{s:I}", "pids", (json_int_t)local_integer(block, "pids", PIDS_DEFAULT)));
        return PRVNG_DONE;
}

static int32_t keys(struct local *l, struct prvng_call *call, const char *name, const json_t *list,
                    json_t *out)
{
        size_t i;
        json_t *key;

        if (!list || json_is_null(list) || json_array_size(list) == 0)
                return PRVNG_DONE;
        if (!json_is_array(list))
                return bad(l, call, "spec.ssh_keys", name, list, "write a list of public keys");
        json_array_foreach(list, i,
                           key) if (!json_is_string(key) || !is_key(json_string_value(key)) ||
                                    strpbrk(json_string_value(key),
                                            "\r\n")) return bad(l, call, "spec.ssh_keys", name, key,
                                                                "write public keys as they stand "
                                                                "in authorized_keys, e.g."
                                                                " \"ssh-ed25519 AAAA... me\"");
        json_object_set(out, "ssh_keys", (json_t *)(uintptr_t)list);
        return PRVNG_DONE;
}

static int32_t normalise(struct local *l, struct prvng_call *call, const char *name,
                         const json_t *spec, json_t *out)
{
        const json_t *block = json_object_get(spec, "local");
        const char *image = local_string(spec, "image", "");
        const char *state = local_string(block, "state", local_string(spec, "state", "running"));
        int32_t r = sizes(l, call, name, spec, out);

        if (r == PRVNG_DONE)
                r = own_block(l, call, name, block, out);
        if (r == PRVNG_DONE)
                r = keys(l, call, name, json_object_get(spec, "ssh_keys"), out);
        if (r < 0)
                return r;
        if (!is_state(state)) {
                _cleanup_(cleanup_json) json_t *j = json_string(state);
                return bad(l, call, "spec.state", name, j, "write running, stopped or restarted");
        }
        json_object_set_new(out, "state", json_string(state));
        if (*image)
                json_object_set_new(out, "image", json_string(image));
        if (json_object_size(json_object_get(spec, "labels")) > 0)
                json_object_set(out, "labels", json_object_get(spec, "labels"));
        return PRVNG_DONE;
}

int32_t server_prepare(struct local *l, struct prvng_call *call, const char *verb,
                       const json_t *task, struct prvng_sink *request)
{
        static const char *const verbs[] = {"create", "update", "delete", "check"};
        const char *name = local_string(task, "name", "");
        const json_t *identity = json_object_get(task, "identity");
        _cleanup_(cleanup_json) json_t *spec = json_object();
        bool known = false;

        for (size_t i = 0; i < N_ELEMENTS(verbs); i++)
                known = known || streq(verb, verbs[i]);
        if (!known)
                return local_fail(
                        l, call, PRVNG_UNSUPPORTED, PRVNG_EFFECT_NONE, NULL,
                        "local: servers know no verb %s; there are create, update, delete and"
                        " check",
                        verb);
        if (!local_valid_name(name))
                return local_fail(
                        l, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, "name",
                        "local: \"%s\" cannot be a server's name, which is its host name too;"
                        " write a to z, 0 to 9 and -, at most 63 of them",
                        name);
        /* What is deleted need not be well defined. */
        int32_t r = streq(verb, "delete")
                            ? PRVNG_DONE
                            : normalise(l, call, name, json_object_get(task, "spec"), spec);
        if (r < 0)
                return r;
        _cleanup_(cleanup_json) json_t *q =
                json_pack("{s:i, s:s, s:s, s:s, s:s, s:O}", "format", LOCAL_FORMAT, "kind",
                          "server", "name", name, "workflow", local_string(task, "workflow", ""),
                          "site", local_string(task, "site", ""), "spec", spec);
        if (!q)
                return PRVNG_INTERNAL;
        if (json_is_object(identity) && *local_string(identity, "op_id", ""))
                json_object_set_new(
                        q, "identity",
                        json_pack("{s:s}", "op_id", local_string(identity, "op_id", "")));
        return local_reply(l, call, request, q);
}
