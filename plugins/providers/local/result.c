/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server's outputs, and in its notices all that it does without.
 */
#include "server.h"

static void add_notice(json_t *notices, const char *name, const char *lost)
{
        _cleanup_(cleanup_free) char *text = local_format("server %s %s", name, lost);

        json_array_append_new(notices, json_string(text ? text : lost));
}

/* What a server does without because its site's user is not root. */
static void add_rootless(const struct local *l, const struct server *s, const char *name,
                         json_t *notices)
{
        _cleanup_(cleanup_free) char *path = local_format("%s/pod.json", local_state(l));
        _cleanup_(cleanup_json) json_t *pod = NULL;

        if (!s->alive)
                return;
        add_notice(notices, name,
                   "was made without root: its address is reached from the servers of this site"
                   " only, not from the machine");
        if (path)
                local_read_json(path, &pod);
        if (!local_process_alive(json_object_get(pod, "slirp")))
                add_notice(notices, name,
                           "has no way to the outside, so nothing can be installed in it:"
                           " slirp4netns does not run; as root: apt-get install -y slirp4netns,"
                           " and chmod 0666 /dev/net/tun (to keep that: a udev rule"
                           " KERNEL==\"tun\", MODE=\"0666\")");
        if (json_is_false(json_object_get(s->state, "systemd")))
                add_notice(notices, name,
                           "has no service manager, as there is no control group that its systemd"
                           " could have: what needs services fails in it; have systemd start"
                           " prvngd with Delegate=yes (as a user's service, after loginctl"
                           " enable-linger)");
}

/* The resource's outputs. */
json_t *server_make_result(const struct local *l, const struct server *s, const char *name)
{
        const json_t *spec = json_object_get(s->made, "spec");
        const char *missing = local_string(s->state, "missing", "");
        _cleanup_(cleanup_free) char *program = local_program(l, "prvng-local-enter");
        json_t *notices = json_array();
        struct site site = {.subnet = 0};
        char address[16] = "";

        if (local_is_chroot(s->made)) {
                _cleanup_(cleanup_free) char *text =
                        local_format("server %s is a folder only (driver = \"chroot\"): no "
                                     "isolation, no address of"
                                     " its own, no limits, no systemd",
                                     name);
                json_array_append_new(notices, json_string(text ? text : "chroot"));
                strcpy(address, "127.0.0.1");
        } else if (site_read(&site, local_state(l)) == 0) {
                site_address(&site, (unsigned)local_integer(s->made, "index", 0), address);
                site_done(&site);
        }
        if (*missing) {
                _cleanup_(cleanup_free) char *text =
                        local_format("server %s runs without these limits: %s", name, missing);
                json_array_append_new(notices, json_string(text ? text : missing));
        }
        if (*local_string(s->state, "blocked", ""))
                json_array_append_new(notices, json_string(local_string(s->state, "blocked", "")));
        if (json_is_true(json_object_get(s->state, "rootless")))
                add_rootless(l, s, name, notices);
        if (s->alive && !s->monitored && !local_is_chroot(s->made))
                json_array_append_new(notices,
                                      json_string("its monitor has ended and is replaced by"
                                                  " the next create or update"));
        return json_pack(
                "{s:s, s:s, s:O*, s:O*, s:O*, s:s, s:[s], s:{s:s, s:[s,s,s,s]}, s:o, s:s, s:s,"
                " s:s, s:O*}",
                "name", name, "state", server_case_of(s), "cpu", json_object_get(spec, "cpu"),
                "memory", json_object_get(spec, "memory"), "disk", json_object_get(spec, "disk"),
                "hostname", name, "addresses", address, "reach", "method", "exec", "argv", program,
                local_state(l), name, "--", "notices", notices, "op_id",
                local_string(s->made, "op_id", ""), "image", local_string(s->made, "image", ""),
                "driver", local_string(s->made, "driver", "ns"), "start_ms",
                json_object_get(s->state, "start_ms"));
}
