/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the helper programs do to the machine: children, cgroups, the network, and the start of a
 * server. Never part of the plugin itself, which must not fork.
 *
 * Functions return 0 or a negative errno; those with `ret_error` then also give a sentence for
 * people, which the caller frees.
 */
#ifndef PRVNG_LOCAL_HELPER_H
#define PRVNG_LOCAL_HELPER_H

#include "common.h"

#define CGROUP_MAX 24

/* One mounted hierarchy of cgroups. */
struct hierarchy {
        char path[256];       /* where it is mounted, or the group in it that is ours */
        char controllers[96]; /* v1: "cpu,cpuacct" or "name=systemd"; v2: "" */
        bool v2;
};

struct cgroups {
        struct hierarchy list[CGROUP_MAX];
        size_t n;
        char site[24]; /* group of the site in each hierarchy, */
        char name[64]; /* and in that the server's, which carries the limits; in that "pay", the
                        * root of what the server sees, so that it cannot widen its own limits */
};

struct limits {
        double cpu;     /* cores */
        int64_t memory; /* MiB */
        int64_t pids;
};

struct boot {
        const struct site *site;
        const char *name;
        const char *server; /* its folder */
        const char *base;   /* root folder of the base image */
        unsigned index;     /* of its address */
        struct cgroups *cgroups;
        bool systemd; /* its first process; else prvng-local-init, of which this is open: */
        int init;
        int notify; /* unbound datagram socket that the server's systemd will write to */
};

/* We are in a user namespace of our own, and root in it only. */
extern bool helper_rootless;

/* A program that lies beside this one, to be freed. */
char *helper_sibling(const char *name);

/* Makes a user namespace and becomes root in it; sets helper_rootless. On failure the error may
 * come with a cure; both are the caller's to free. */
int userns_enter(char **ret_error, char **ret_cure);

/* In a user namespace that was just entered. */
int userns_become_root(void);

/* Enters the namespaces that all servers of the site share, and makes them first if need be. Sets
 * helper_rootless. Takes the site's lock. */
int pod_join(const struct site *s, char **ret_error);

/* Ends what holds them. With the site locked. */
void pod_end(const struct site *s);

/* Why the pod can have no way to the outside, to be freed; NULL: it can. */
char *pod_cannot_uplink(void);

/* Runs a program, with `input` on its stdin, and waits. Its exit code (128+n: by signal n), or a
 * negative errno. What it wrote comes back in ret_output, if not NULL (caller frees). */
int run_program(const char *const *argv, const char *input, char **ret_output);

/* Milliseconds on a clock that runs on while the machine sleeps. */
int64_t helper_now(void);

/* Finds the hierarchies; `site` and `name` say which groups the other functions mean. */
int cgroups_find(struct cgroups *c, const char *site, const char *name);
int cgroups_make(struct cgroups *c);

/* Sets the limits; what could not be set is named in ret_missing ("memory, cpu: why"), else NULL.
 */
int cgroups_limit(const struct cgroups *c, const struct limits *limits, char **ret_missing);
int cgroups_join(const struct cgroups *c, pid_t pid);

/* Ends what is left in the groups, and removes them; the site's too if it was the last. */
int cgroups_remove(const struct cgroups *c);

/* In the server, before its root is made the root: mounts what it sees of the groups. */
int cgroups_mount(const struct cgroups *c, const char *root);

/* Bridge, forwarding and address translation of the site; does nothing to what is there. Call with
 * the site locked. */
int network_make(const struct site *s, char **ret_error);

/* What other firewalls of the machine do to what servers send: a sentence, to be freed; or NULL. */
char *network_blocked(const struct site *s);

/* The server's end of a cable to the bridge, put into the network namespace of `pid`. */
int network_connect(const struct site *s, unsigned index, pid_t pid, char **ret_error);

/* In the server's network namespace, with the machine's programs still in reach. */
int network_configure(const struct site *s, unsigned index);
int network_disconnect(const struct site *s, unsigned index);
int network_remove(const struct site *s);

/* Starts the server: clone, cgroups, network, root, systemd. ret_pidfd: of its first process. */
int boot_server(const struct boot *b, pid_t *ret_pid, int *ret_pidfd, char **ret_error);

/* Puts what is the server's own into the layer over the base image, before its first start. */
int boot_seed(const struct boot *b, const json_t *server, char **ret_error);

/* The driver without isolation: a copy of the base image, and its end. */
int chroot_make(const struct boot *b, const json_t *server, char **ret_error);
void chroot_end(const char *root);

/* Removes a server that does not run, with all that was made for it. May be called again after a
 * failure or a crash. */
int remove_server(const struct site *s, const char *name, unsigned index,
                  const struct cgroups *cgroups);

/* Brings the block of names in etc/hosts below `root` (a folder, or /proc/PID/root) up to date. */
int hosts_update(const char *root, const char *site_folder);

#endif
