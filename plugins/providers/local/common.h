/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the plugin and its helper programs share: where things lie in the site's folder, how they
 * are read and written, and who is alive.
 *
 * The folder of a site, SITE:
 *
 *      site.json               the network: subnet, names of bridge and nft table; there as long as
 *                              there are servers
 *      hosts                   addresses and names of the servers
 *      servers/NAME/
 *              server.json     who owns the server and how it is made; written by the plugin
 *              wanted.json     the last wish: limits, running or not; written by the plugin
 *              state.json      what is the case; written by the monitor
 *              monitor.lock    locked by the monitor that owns the server
 *              upper/ work/    what the server wrote over its base image
 *              data/           folders of the server that must not lie on an overlay
 *
 * The wish and the state are two files with one writer each, so that nobody waits for anybody:
 * whoever dies, the other finds what it needs. SITE itself is locked (flock) while servers come or
 * go.
 *
 * Functions return 0 or a negative errno unless they say otherwise. Nothing here forks.
 */
#ifndef PRVNG_LOCAL_COMMON_H
#define PRVNG_LOCAL_COMMON_H

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define N_ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))

#define LOCAL_FORMAT 1     /* of all files in the site's folder */
#define LOCAL_NAME_MAX 63  /* bytes of a server's name: it is a host name too */
#define LOCAL_FIRST_HOST 2 /* .1 is the bridge */
#define LOCAL_LAST_HOST 254
#define LOCAL_STOP_S 20  /* how long a server may take to shut down before it is killed */
#define LOCAL_START_S 90 /* how long systemd may take to come up */

static inline void cleanup_free(void *p)
{
        free(*(void **)p);
}

static inline void cleanup_close(int *fd)
{
        if (*fd >= 0)
                close(*fd);
}

static inline void cleanup_json(json_t **j)
{
        json_decref(*j);
}

static inline void cleanup_fclose(FILE **f)
{
        if (*f)
                fclose(*f);
}

static inline bool streq(const char *a, const char *b)
{
        return strcmp(a, b) == 0;
}

/* The network of a site. */
struct site {
        char *folder;    /* absolute */
        char hash[9];    /* names everything of this site that is not in its folder */
        uint32_t subnet; /* host byte order; always a /24 */
        char bridge[16]; /* interface */
        char table[24];  /* nft */
        char cgroup[24]; /* name of its group in each hierarchy */
};

/* Formats into new memory; NULL if there is none. */
char *local_format(const char *format, ...) _printf_(1, 2);

/* A member of an object, or the default if it is missing or of another type. */
const char *local_string(const json_t *object, const char *key, const char *otherwise);
int64_t local_integer(const json_t *object, const char *key, int64_t otherwise);

/* -ENOENT, -EBADMSG if it is not an object. */
int local_read_json(const char *path, json_t **ret);

/* Atomically; `sync` also makes it durable. */
int local_write_json(const char *path, const json_t *object, bool sync);
int local_write_text(const char *path, const char *text, mode_t mode, bool sync);
int local_read_text(const char *path, char **ret);

/* Into a file that is there, in one write: /proc, /sys. */
int local_write_proc(const char *path, const char *text);

int local_make_folders(const char *path, mode_t mode);

/* Removes a folder with all that is in it, never crossing into another mount. 0 also if it is
 * absent. */
int local_remove_tree(const char *path);

/* True if it may name a server: a host name of one label, lower case. */
bool local_valid_name(const char *name);

/* Locks SITE against other comers and goers; the descriptor is the lock. Waits. */
int local_lock_folder(const char *folder, int *ret_fd);

/* Takes monitor.lock: -EAGAIN if another has it. */
int local_lock_monitor(const char *server, int *ret_fd);

/* True if a monitor owns the server. */
bool local_monitor_alive(const char *server);

/* {"pid", "start", "boot"}: names a process for ever, although pids are used again. */
json_t *local_process(pid_t pid);

/* A pidfd of the process, or -ESRCH if it has ended. */
int local_process_open(const json_t *process, pid_t *ret_pid);
bool local_process_alive(const json_t *process);

/* The network's names follow from the folder. `subnet` may be 0: not chosen yet. */
int site_init(struct site *s, const char *folder, uint32_t subnet);
void site_done(struct site *s);

/* Reads site.json; -ENOENT if the site has no network yet. */
int site_read(struct site *s, const char *folder);
/* `registry` is the file that tells other sites of the subnet. */
int site_write(const struct site *s, int ip_forward_was, const char *registry);

/* Forgets the network: site.json, hosts, the registry's file. Call with the site locked. */
void site_forget(const struct site *s);

/* True if `server` (server.json) is a mere folder, without namespaces: driver = "chroot". */
static inline bool local_is_chroot(const json_t *server)
{
        return streq(local_string(server, "driver", "ns"), "chroot");
}

char *site_server(const struct site *s, const char *name);

/* "10.77.0.5": the address of host `index` in the subnet. */
void site_address(const struct site *s, unsigned index, char ret[static 16]);

/* Names of all servers, in order; an array of strings. */
int site_servers(const struct site *s, json_t **ret);

/* Writes SITE/hosts anew, leaving `without` out (may be NULL). Call with the site locked. */
int site_write_hosts(const struct site *s, const char *without);

/* "a.b.c.d/24" -> network address; -EINVAL. */
int local_parse_subnet(const char *text, uint32_t *ret);

static inline void cleanup_site(struct site *s)
{
        site_done(s);
}

#endif
