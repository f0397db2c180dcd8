/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver of last resort, by explicit choice only: a server that is a folder. What runs in it
 * shares everything else with the machine.
 */
#include "helper.h"

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>

int chroot_make(const struct boot *b, const json_t *server, char **ret_error)
{
        _cleanup_(cleanup_free) char *from = local_format("%s/.", b->base);
        _cleanup_(cleanup_free) char *to = local_format("%s/root", b->server);
        _cleanup_(cleanup_free) char *upper = local_format("%s/upper", b->server);
        _cleanup_(cleanup_free) char *said = NULL;
        const char *argv[] = {"cp", "-a", "--reflink=auto", from, to, NULL};

        if (!from || !to || !upper)
                return -ENOMEM;
        int r = local_make_folders(to, 0755);
        if (r == 0 && run_program(argv, NULL, &said) != 0) {
                *ret_error = local_format("copying the base image: %s", said ? said : "?");
                return -EIO;
        }
        /* Here the layer of the server's own is the whole. */
        if (r == 0 && symlink("root", upper) < 0 && errno != EEXIST)
                r = -errno;
        return r == 0 ? boot_seed(b, server, ret_error) : r;
}

/* Ends what runs in the folder. */
void chroot_end(const char *root)
{
        DIR *d = opendir("/proc");

        for (struct dirent *e; d && (e = readdir(d));) {
                char link[300], target[4096];
                int pid = atoi(e->d_name);

                if (pid <= 1)
                        continue;
                snprintf(link, sizeof(link), "/proc/%d/root", pid);
                ssize_t n = readlink(link, target, sizeof(target) - 1);
                if (n <= 0)
                        continue;
                target[n] = '\0';
                if (streq(target, root))
                        kill(pid, SIGKILL);
        }
        if (d)
                closedir(d);
}
