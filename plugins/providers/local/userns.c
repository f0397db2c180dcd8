/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A user namespace of our own, for users who are not root: in it we are, with the user ids that
 * /etc/subuid gives us for everybody else in a server.
 */
#include "helper.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <sys/wait.h>

/* Up to nobody, 65534. */
#define IDS_NEEDED 65536

#define CURE_PACKAGE "apt-get install -y uidmap slirp4netns"

struct range {
        unsigned long long first, count;
};

/* The first range of the user in /etc/subuid or /etc/subgid that is large enough. */
static int find_range(const char *file, uid_t uid, const char *user, struct range *ret)
{
        _cleanup_(cleanup_fclose) FILE *f = fopen(file, "re");
        char line[512], number[24], name[256];
        struct range r;

        snprintf(number, sizeof(number), "%u", (unsigned)uid);
        while (f && fgets(line, sizeof(line), f))
                if (sscanf(line, " %255[^:]:%llu:%llu", name, &r.first, &r.count) == 3 &&
                    (streq(name, user) || streq(name, number)) && r.count >= IDS_NEEDED) {
                        *ret = r;
                        return 0;
                }
        return -ENOENT;
}

static int find_ranges(struct range *ret_users, struct range *ret_groups, char **ret_error,
                       char **ret_cure)
{
        const struct passwd *p = getpwuid(getuid());
        _cleanup_(cleanup_free) char *user =
                p ? strdup(p->pw_name) : local_format("%u", (unsigned)getuid());

        if (!user)
                return -ENOMEM;
        bool users = find_range("/etc/subuid", getuid(), user, ret_users) == 0;
        bool groups = find_range("/etc/subgid", getuid(), user, ret_groups) == 0;
        if (users && groups)
                return 0;
        *ret_error = local_format("user %s has no range of %d ids in %s%s%s", user, IDS_NEEDED,
                                  users ? "" : "/etc/subuid", users || groups ? "" : " and ",
                                  groups ? "" : "/etc/subgid");
        *ret_cure = local_format("as root: usermod --add-subuids 100000-165535 --add-subgids"
                                 " 100000-165535 %s (another range if another user has this one)",
                                 user);
        return -ENOENT;
}

/* Outside of the namespace: tells the kernel the ids of process `pid` in it. */
static int map_ids(pid_t pid, const char *program, unsigned own, const struct range *range,
                   char **ret_error)
{
        char process[16], self[16], first[24], count[24];
        const char *argv[] = {program, process, "0", self, "1", "1", first, count, NULL};
        _cleanup_(cleanup_free) char *said = NULL;

        snprintf(process, sizeof(process), "%d", (int)pid);
        snprintf(self, sizeof(self), "%u", own);
        snprintf(first, sizeof(first), "%llu", range->first);
        snprintf(count, sizeof(count), "%d", IDS_NEEDED);
        int r = run_program(argv, NULL, &said);
        if (r == 0)
                return 0;
        *ret_error =
                local_format("%s: %s", program, said && *said ? said : strerror(r < 0 ? -r : EIO));
        return -EIO;
}

static _Noreturn void mapper(pid_t pid, int go, int tell, const struct range *users,
                             const struct range *groups)
{
        char *error = NULL, c;

        if (read(go, &c, 1) != 1)
                _exit(0);
        int r = map_ids(pid, "newuidmap", getuid(), users, &error);
        if (r == 0)
                r = map_ids(pid, "newgidmap", getgid(), groups, &error);
        if (r < 0 && error && write(tell, error, strlen(error)) < 0)
                _exit(2);
        _exit(r < 0);
}

int userns_become_root(void)
{
        if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
                return -errno;
        return 0;
}

/* What the mapper says goes into `text`. */
static int wait_mapper(pid_t pid, int fd, char *text, size_t n_text)
{
        ssize_t n = read(fd, text, n_text - 1);
        int status = 0;

        text[n > 0 ? n : 0] = '\0';
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}

static int unshare_mapped(const struct range *users, const struct range *groups, char *text,
                          size_t n_text)
{
        _cleanup_(cleanup_close) int go_in = -1, go_out = -1, told_in = -1, told_out = -1;
        int a[2], b[2];

        if (pipe2(a, O_CLOEXEC) < 0)
                return -errno;
        go_in = a[0], go_out = a[1];
        if (pipe2(b, O_CLOEXEC) < 0)
                return -errno;
        told_in = b[0], told_out = b[1];
        pid_t own = getpid(), pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0) {
                close(go_out);
                close(told_in);
                mapper(own, go_in, told_out, users, groups);
        }
        close(told_out);
        told_out = -1;
        int r = unshare(CLONE_NEWUSER) < 0 ? -errno : 0;
        if (r == 0 && write(go_out, "", 1) != 1)
                r = -errno;
        close(go_out);
        go_out = -1;
        int k = wait_mapper(pid, told_in, text, n_text);
        return r < 0 ? r : k;
}

int userns_enter(char **ret_error, char **ret_cure)
{
        struct range users, groups;
        char text[512] = "";

        *ret_error = *ret_cure = NULL;
        /* All that is missing at once, so that it is put right at once. */
        int r = find_ranges(&users, &groups, ret_error, ret_cure);
        if (access("/usr/bin/newuidmap", X_OK) < 0 || access("/usr/bin/newgidmap", X_OK) < 0) {
                char *error = *ret_error, *cure = *ret_cure;

                *ret_error = local_format("newuidmap and newgidmap are missing%s%s",
                                          error ? ", and " : "", error ? error : "");
                *ret_cure = local_format("as root: " CURE_PACKAGE "%s%s", cure ? "; " : "",
                                         cure ? cure : "");
                free(error);
                free(cure);
                return -ENOENT;
        }
        if (r < 0)
                return r;
        r = unshare_mapped(&users, &groups, text, sizeof(text));
        if (r == 0)
                r = userns_become_root();
        helper_rootless = r == 0;
        if (r == 0)
                return 0;
        if (*text) {
                *ret_error = strdup(text);
                *ret_cure = strdup("check that newuidmap is setuid root (" CURE_PACKAGE
                                   ") and that the service has no NoNewPrivileges");
                return r;
        }
        *ret_error = local_format("a user namespace: %s", strerror(-r));
        *ret_cure = strdup("as root: sysctl -w kernel.unprivileged_userns_clone=1"
                           " user.max_user_namespaces=10000 (Ubuntu:"
                           " kernel.apparmor_restrict_unprivileged_userns=0)");
        return r;
}
