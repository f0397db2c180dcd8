/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a server: nothing of it is left, and with the last one nothing of the site's network.
 */
#include "helper.h"

static bool others_left(const struct site *s, const char *own)
{
        _cleanup_(cleanup_json) json_t *names = NULL;
        size_t i;
        json_t *name;

        if (site_servers(s, &names) < 0)
                return true;
        json_array_foreach(names, i, name)
        {
                _cleanup_(cleanup_free) char *path = local_format(
                        "%s/servers/%s/server.json", s->folder, json_string_value(name));

                if (!streq(json_string_value(name), own) && path && access(path, F_OK) == 0)
                        return true;
        }
        return false;
}

/* Forwarding was switched on for us; it is switched off again only if nobody else may lean on it.
 */
static void restore_forwarding(const struct site *s)
{
        _cleanup_(cleanup_free) char *path = local_format("%s/site.json", s->folder);
        static const char *const argv[] = {"ip", "-o", "link", "show", "type", "bridge", NULL};
        _cleanup_(cleanup_json) json_t *j = NULL;
        _cleanup_(cleanup_free) char *bridges = NULL;

        if (!path || local_read_json(path, &j) < 0 || local_integer(j, "ip_forward_was", 1) != 0)
                return;
        if (run_program(argv, NULL, &bridges) == 0 && !*bridges)
                local_write_proc("/proc/sys/net/ipv4/ip_forward", "0");
}

int remove_server(const struct site *s, const char *name, unsigned index,
                  const struct cgroups *cgroups)
{
        static const char *const big[] = {"upper", "work", "data", "root"};
        _cleanup_(cleanup_free) char *server = site_server(s, name);
        _cleanup_(cleanup_close) int lock = -1;
        int r = server ? 0 : -ENOMEM;

        for (size_t i = 0; r == 0 && i < N_ELEMENTS(big); i++) {
                _cleanup_(cleanup_free) char *path = local_format("%s/%s", server, big[i]);
                r = path ? local_remove_tree(path) : -ENOMEM;
        }
        if (r == 0)
                r = cgroups_remove(cgroups);
        if (r == 0)
                r = network_disconnect(s, index);
        if (r == 0)
                r = local_lock_folder(s->folder, &lock);
        if (r < 0)
                return r;
        site_write_hosts(s, name);
        bool last = !others_left(s, name);
        if (last) {
                r = network_remove(s);
                if (r < 0)
                        return r;
                if (helper_rootless)
                        pod_end(s);
                else
                        restore_forwarding(s);
        }
        r = local_remove_tree(server);
        if (r == 0 && last)
                site_forget(s);
        return r;
}
