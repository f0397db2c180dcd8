/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The subnet of a site: chosen when its first server is made, away from every address and route of
 * the machine and from the subnets of other sites, and kept until the last server is gone.
 */
#include "local.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/stat.h>

#define MASK 0xffffff00u

/* True if the networks share an address. */
static bool overlap(uint32_t a, uint32_t mask_a, uint32_t b, uint32_t mask_b)
{
        uint32_t mask = mask_a & mask_b;

        return (a & mask) == (b & mask);
}

/* The interface whose address or route collides; "" if none does. */
static void collision(uint32_t subnet, const char *own, char ret[static 64])
{
        _cleanup_(cleanup_fclose) FILE *f = fopen("/proc/net/route", "re");
        char line[512], device[64];
        unsigned destination, mask;
        struct ifaddrs *list = NULL;

        ret[0] = '\0';
        while (f && fgets(line, sizeof(line), f)) {
                if (sscanf(line, "%63s %x %*x %*x %*d %*d %*d %x", device, &destination, &mask) !=
                            3 ||
                    mask == 0 || streq(device, own))
                        continue;
                if (overlap(subnet, MASK, ntohl(destination), ntohl(mask)))
                        snprintf(ret, 64, "a route through %.32s", device);
        }
        if (getifaddrs(&list) < 0)
                return;
        for (struct ifaddrs *a = list; a; a = a->ifa_next) {
                if (!a->ifa_addr || a->ifa_addr->sa_family != AF_INET || !a->ifa_netmask ||
                    streq(a->ifa_name, own))
                        continue;
                uint32_t address =
                        ntohl(((struct sockaddr_in *)(void *)a->ifa_addr)->sin_addr.s_addr);
                uint32_t m = ntohl(((struct sockaddr_in *)(void *)a->ifa_netmask)->sin_addr.s_addr);
                if (overlap(subnet, MASK, address, m))
                        snprintf(ret, 64, "an address of %.32s", a->ifa_name);
        }
        freeifaddrs(list);
}

/* Subnets that other sites hold: files of the cache, as that is shared by all sites. A file whose
 * site is gone is forgotten. */
static void other_site(const char *registry, uint32_t subnet, const char *own, char ret[static 64])
{
        DIR *d = opendir(registry);

        ret[0] = '\0';
        for (struct dirent *e; d && (e = readdir(d));) {
                _cleanup_(cleanup_json) json_t *j = NULL;
                _cleanup_(cleanup_free) char *path = local_format("%s/%s", registry, e->d_name);
                uint32_t theirs;

                if (e->d_name[0] == '.' || !path || local_read_json(path, &j) < 0 ||
                    streq(local_string(j, "site", ""), own))
                        continue;
                _cleanup_(cleanup_free) char *site =
                        local_format("%s/site.json", local_string(j, "site", ""));
                if (site && access(site, F_OK) < 0 && errno == ENOENT) {
                        unlink(path);
                        continue;
                }
                if (local_parse_subnet(local_string(j, "subnet", ""), &theirs) == 0 &&
                    theirs == subnet)
                        snprintf(ret, 64, "another site of this machine");
        }
        if (d)
                closedir(d);
}

static int32_t take(struct local *l, struct prvng_call *call, struct site *s, const char *registry)
{
        _cleanup_(cleanup_free) char *path = local_format("%s/%s.json", registry, s->hash);
        _cleanup_(cleanup_free) char *forward = NULL;
        char subnet[24];

        site_address(s, 0, subnet);
        strcat(subnet, "/24");
        local_read_text("/proc/sys/net/ipv4/ip_forward", &forward);
        _cleanup_(cleanup_json) json_t *j =
                json_pack("{s:s, s:s}", "site", s->folder, "subnet", subnet);
        /* Our own file first: a registry that names a site without network is cleared by the next.
         */
        int r = path && j ? site_write(s, forward && forward[0] == '0' ? 0 : 1, path) : -ENOMEM;
        if (r == 0)
                r = local_write_json(path, j, false);
        if (r == 0)
                return PRVNG_DONE;
        return local_fail(l, call, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, NULL,
                          "local: the network of the site cannot be written down in %s: %s",
                          s->folder, strerror(-r));
}

static int32_t choose(struct local *l, struct prvng_call *call, struct site *s,
                      const char *registry)
{
        char machine[64], site[64];

        for (unsigned i = 0; i < 1024; i++) {
                /* 10.77.0.0, 10.77.1.0 ... 10.80.255.0 */
                s->subnet = l->subnet ? l->subnet : 0x0a4d0000u + (i << 8);
                collision(s->subnet, s->bridge, machine);
                other_site(registry, s->subnet, s->folder, site);
                if (!*machine && !*site)
                        return take(l, call, s, registry);
                if (l->subnet)
                        break;
        }
        char text[16];
        site_address(s, 0, text);
        if (l->subnet)
                return local_fail(
                        l, call, PRVNG_CONFLICT, PRVNG_EFFECT_NONE, NULL,
                        "local: the configured subnet %s/24 collides with %s; choose another"
                        " (key subnet of the plugin local)",
                        text, *machine ? machine : site);
        return local_fail(
                l, call, PRVNG_CONFLICT, PRVNG_EFFECT_NONE, NULL,
                "local: no subnet of 10.77.0.0 to 10.80.255.0 is free; name one (key subnet of"
                " the plugin local)");
}

int32_t subnet_choose(struct local *l, struct prvng_call *call, struct site *ret_site)
{
        const char *state = local_state(l), *cache = l->workdir->cache(l->host, "local");
        _cleanup_(cleanup_free) char *registry = local_format("%s/subnets", cache);
        _cleanup_(cleanup_close) int lock = -1;
        int r = site_read(ret_site, state);

        /* Once there are servers, they keep their addresses. */
        if (r == 0)
                return PRVNG_DONE;
        r = cache && registry ? local_make_folders(registry, 0755) : -ENOMEM;
        if (r == 0)
                r = local_lock_folder(registry, &lock);
        if (r == 0)
                r = site_init(ret_site, state, 0);
        if (r < 0)
                return local_fail(l, call, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, NULL,
                                  "local: %s: %s", registry ? registry : state, strerror(-r));
        int32_t k = choose(l, call, ret_site, registry);
        if (k < 0)
                site_done(ret_site);
        return k;
}
