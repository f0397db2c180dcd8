/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The site's bridge and address translation, by the programs ip and nft (whose library may not be
 * linked: its licence is another).
 */
#include "helper.h"

#include <net/if.h>

static void cable_name(const struct site *s, unsigned index, char ret[static IFNAMSIZ])
{
        snprintf(ret, IFNAMSIZ, "pv%.6s-%u", s->hash, index);
}

/* Runs `ip -batch -`; what it says on failure becomes the error. */
static int ip_batch(const char *commands, char **ret_error)
{
        static const char *const argv[] = {"ip", "-batch", "-", NULL};
        _cleanup_(cleanup_free) char *said = NULL;
        int r = run_program(argv, commands, &said);

        if (r == 0)
                return 0;
        if (ret_error)
                *ret_error = local_format("ip: %s", said ? said : strerror(-r));
        return r < 0 ? r : -EIO;
}

static int nft(const char *rules, char **ret_error)
{
        static const char *const argv[] = {"nft", "-f", "-", NULL};
        _cleanup_(cleanup_free) char *said = NULL;
        int r = run_program(argv, rules, &said);

        if (r == 0)
                return 0;
        if (ret_error)
                *ret_error = local_format("nft: %s", said ? said : strerror(-r));
        return r < 0 ? r : -EIO;
}

static int make_rules(const struct site *s, char **ret_error)
{
        char subnet[16];

        site_address(s, 0, subnet);
        /* Made, deleted and made again in one transaction: right whatever was there before. */
        _cleanup_(cleanup_free) char *rules = local_format(
                "table ip %1$s\n"
                "delete table ip %1$s\n"
                "table ip %1$s {\n"
                " chain postr { type nat hook postrouting priority srcnat; policy accept;"
                " ip saddr %2$s/24 oifname != \"%3$s\" masquerade; }\n"
                " chain forw { type filter hook forward priority filter; policy accept;"
                " iifname \"%3$s\" accept;"
                " oifname \"%3$s\" ct state established,related accept; }\n"
                "}\n",
                s->table, subnet, s->bridge);
        return rules ? nft(rules, ret_error) : -ENOMEM;
}

int network_make(const struct site *s, char **ret_error)
{
        char gateway[16];
        int r;

        site_address(s, 1, gateway);
        if (if_nametoindex(s->bridge) == 0) {
                _cleanup_(cleanup_free) char *commands =
                        local_format("link add name %1$s type bridge forward_delay 0\n"
                                     "address add %2$s/24 dev %1$s\n"
                                     "link set %1$s up\n",
                                     s->bridge, gateway);
                r = commands ? ip_batch(commands, ret_error) : -ENOMEM;
                if (r < 0) {
                        network_remove(s);
                        return r;
                }
        }
        r = local_write_proc("/proc/sys/net/ipv4/ip_forward", "1");
        if (r < 0) {
                *ret_error = local_format("/proc/sys/net/ipv4/ip_forward: %s", strerror(-r));
                return r;
        }
        return make_rules(s, ret_error);
}

char *network_blocked(const struct site *s)
{
        static const char *const argv[] = {"nft", "list", "chains", NULL};
        _cleanup_(cleanup_free) char *said = NULL;

        /* What we accept another chain may still drop. */
        if (run_program(argv, NULL, &said) != 0 || !said)
                return NULL;
        for (char *save = NULL, *line = strtok_r(said, "\n", &save); line;
             line = strtok_r(NULL, "\n", &save))
                if (strstr(line, "hook forward") && strstr(line, "policy drop"))
                        return local_format(
                                "a firewall of this machine drops what it forwards, so servers"
                                " may not reach the outside; let %1$s pass, e.g. nft insert"
                                " rule ip filter FORWARD iifname %1$s accept, and the same"
                                " with oifname",
                                s->bridge);
        return NULL;
}

int network_connect(const struct site *s, unsigned index, pid_t pid, char **ret_error)
{
        char cable[IFNAMSIZ];

        cable_name(s, index, cable);
        network_disconnect(s, index);
        /* The hardware address follows from the place in the subnet, so that the neighbours' tables
         * stay right when the server starts again. */
        unsigned hash = (unsigned)strtoul(s->hash, NULL, 16);
        _cleanup_(cleanup_free) char *commands = local_format(
                "link add %1$s type veth peer name eth0 address 0a:70:%2$02x:%3$02x:%4$02x:%5$02x"
                " netns %6$d\n"
                "link set %1$s master %7$s up\n",
                cable, (hash >> 16) & 0xff, (hash >> 8) & 0xff, hash & 0xff, index, (int)pid,
                s->bridge);
        return commands ? ip_batch(commands, ret_error) : -ENOMEM;
}

int network_configure(const struct site *s, unsigned index)
{
        char address[16], gateway[16];

        site_address(s, index, address);
        site_address(s, 1, gateway);
        _cleanup_(cleanup_free) char *commands = local_format("link set lo up\n"
                                                              "address add %s/24 dev eth0\n"
                                                              "link set eth0 up\n"
                                                              "route add default via %s\n",
                                                              address, gateway);
        return commands ? ip_batch(commands, NULL) : -ENOMEM;
}

int network_disconnect(const struct site *s, unsigned index)
{
        char cable[IFNAMSIZ];

        cable_name(s, index, cable);
        if (if_nametoindex(cable) == 0)
                return 0;
        const char *argv[] = {"ip", "link", "delete", cable, NULL};
        /* It may go by itself, with the server's network namespace, while we look. */
        int r = run_program(argv, NULL, NULL);
        return r == 0 || if_nametoindex(cable) == 0 ? 0 : -EIO;
}

int network_remove(const struct site *s)
{
        const char *list[] = {"nft", "list", "table", "ip", s->table, NULL};
        const char *delete[] = {"nft", "delete", "table", "ip", s->table, NULL};
        const char *bridge[] = {"ip", "link", "delete", s->bridge, NULL};
        int r = 0;

        if (if_nametoindex(s->bridge) != 0 && run_program(bridge, NULL, NULL) != 0)
                r = -EIO;
        if (run_program(list, NULL, NULL) == 0 && run_program(delete, NULL, NULL) != 0)
                r = -EIO;
        return r;
}
