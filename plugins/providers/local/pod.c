/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pod of a site whose user is not root: one user namespace and one network namespace, in which
 * all monitors and servers of the site are and in which we are root. A process that does nothing
 * holds it; it goes with the last server. slirp4netns outside joins it to the machine's network.
 *
 *      SITE/pod.json   {"holder": process, "slirp": process}
 */
#include "helper.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define POD_SPACES (CLONE_NEWUSER | CLONE_NEWNET)
#define END_MS 3000

static char *pod_file(const struct site *s)
{
        return local_format("%s/pod.json", s->folder);
}

static json_t *read_pod(const struct site *s)
{
        _cleanup_(cleanup_free) char *path = pod_file(s);
        json_t *j = NULL;

        if (!path || local_read_json(path, &j) < 0)
                j = json_object();
        return j;
}

/* A process of the site that is in the pod although the holder is not: a monitor of another server.
 */
static int find_other(const struct site *s)
{
        _cleanup_(cleanup_json) json_t *names = NULL;
        size_t i;
        json_t *name;

        if (site_servers(s, &names) < 0)
                return -ESRCH;
        json_array_foreach(names, i, name)
        {
                _cleanup_(cleanup_json) json_t *state = NULL;
                _cleanup_(cleanup_free) char *server = site_server(s, json_string_value(name));
                _cleanup_(cleanup_free) char *path =
                        server ? local_format("%s/state.json", server) : NULL;

                if (!path || local_read_json(path, &state) < 0 || !local_monitor_alive(server) ||
                    !json_is_true(json_object_get(state, "in_pod")))
                        continue;
                int fd = local_process_open(json_object_get(state, "monitor"), NULL);
                if (fd >= 0)
                        return fd;
        }
        return -ESRCH;
}

static void quiet(const char *log)
{
        int null = open("/dev/null", O_RDWR);
        int out = log ? open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;

        dup2(null, 0);
        dup2(out >= 0 ? out : null, 1);
        dup2(out >= 0 ? out : null, 2);
        for (int fd = 3; fd < 256; fd++)
                if (fd == null || fd == out)
                        close(fd);
}

static _Noreturn void hold(const struct site *s, int other, int tell)
{
        static const char *const loopback[] = {"ip", "link", "set", "lo", "up", NULL};
        _cleanup_(cleanup_free) char *program = helper_sibling("prvng-local-init");
        char *error = NULL, *cure = NULL;
        int r = 0;

        setsid();
        if (other >= 0) {
                if (setns(other, POD_SPACES) < 0 || (r = userns_become_root()) < 0)
                        error = local_format("entering the pod: %s", strerror(errno));
        } else if (userns_enter(&error, &cure) == 0) {
                if (unshare(CLONE_NEWNET) < 0)
                        error = local_format("a network namespace: %s", strerror(errno));
                else if (run_program(loopback, NULL, NULL) != 0)
                        error = strdup("ip link set lo up failed");
        }
        if (!error && program) {
                sigset_t none;

                sigemptyset(&none);
                sigprocmask(SIG_SETMASK, &none, NULL);
                quiet(NULL);
                execl(program, program, "--hold", s->folder, (char *)NULL);
                error = local_format("%s: %s", program, strerror(errno));
        }
        dprintf(tell, "%s%s%s", error ? error : "out of memory", cure ? ": " : "",
                cure ? cure : "");
        _exit(1);
}

/* A pidfd of the new holder. */
static int start_holder(const struct site *s, int other, pid_t *ret_pid, char **ret_error)
{
        char text[1024];
        int pipes[2];

        if (pipe2(pipes, O_CLOEXEC) < 0)
                return -errno;
        pid_t pid = fork();
        if (pid == 0)
                hold(s, other, pipes[1]);
        int e = errno;
        close(pipes[1]);
        ssize_t n = pid > 0 ? read(pipes[0], text, sizeof(text) - 1) : -1;
        close(pipes[0]);
        if (pid < 0)
                return -e;
        if (n != 0) {
                text[n > 0 ? n : 0] = '\0';
                *ret_error = local_format("no user namespace for servers: %s", text);
                return -EPERM;
        }
        *ret_pid = pid;
        int fd = (int)syscall(SYS_pidfd_open, pid, 0);
        return fd < 0 ? -errno : fd;
}

char *pod_cannot_uplink(void)
{
        int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
        int e = errno;

        if (fd < 0)
                return local_format("/dev/net/tun: %s", strerror(e));
        close(fd);
        return access("/usr/bin/slirp4netns", X_OK) == 0 ? NULL : strdup("slirp4netns is missing");
}

static _Noreturn void slirp(const char *log, pid_t holder, int ready)
{
        char pid[16], fd[32];
        sigset_t none;

        setsid();
        quiet(log);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        fcntl(ready, F_SETFD, 0);
        snprintf(pid, sizeof(pid), "%d", (int)holder);
        snprintf(fd, sizeof(fd), "--ready-fd=%d", ready);
        execl("/usr/bin/slirp4netns", "slirp4netns", "--configure", "--mtu=1500",
              "--disable-host-loopback", fd, pid, "tap0", (char *)NULL);
        dprintf(2, "slirp4netns: %s\n", strerror(errno));
        _exit(127);
}

/* Joins the pod to the machine's network. Servers can do without, and say so. */
static void start_slirp(const struct site *s, pid_t holder, json_t *pod)
{
        _cleanup_(cleanup_free) char *log = local_format("%s/slirp.log", s->folder);
        _cleanup_(cleanup_free) char *cannot = pod_cannot_uplink();
        int pipes[2];
        char c;

        json_object_del(pod, "slirp");
        if (cannot || !log || pipe2(pipes, O_CLOEXEC) < 0)
                return;
        pid_t pid = fork();
        if (pid == 0) {
                close(pipes[0]);
                slirp(log, holder, pipes[1]);
        }
        close(pipes[1]);
        if (pid > 0 && read(pipes[0], &c, 1) == 1)
                json_object_set_new(pod, "slirp", local_process(pid));
        close(pipes[0]);
}

int pod_join(const struct site *s, char **ret_error)
{
        _cleanup_(cleanup_close) int lock = -1, holder = -1, other = -1;
        _cleanup_(cleanup_json) json_t *pod = NULL;
        _cleanup_(cleanup_free) char *path = pod_file(s);
        pid_t pid = 0;
        int r = path ? local_lock_folder(s->folder, &lock) : -ENOMEM;

        if (r < 0)
                return r;
        pod = read_pod(s);
        holder = local_process_alive(json_object_get(pod, "holder"))
                         ? local_process_open(json_object_get(pod, "holder"), &pid)
                         : -ESRCH;
        if (holder < 0) {
                other = find_other(s);
                holder = start_holder(s, other, &pid, ret_error);
                if (holder < 0)
                        return holder;
                /* Before anything else takes time: who comes after us must find it. */
                json_object_set_new(pod, "holder", local_process(pid));
                r = local_write_json(path, pod, false);
        }
        if (!local_process_alive(json_object_get(pod, "slirp")))
                start_slirp(s, pid, pod);
        if (r == 0)
                r = local_write_json(path, pod, false);
        if (r == 0 && setns(holder, POD_SPACES) < 0)
                r = -errno;
        if (r == 0)
                r = userns_become_root();
        if (r < 0 && !*ret_error)
                *ret_error = local_format("entering the namespaces of process %d: %s", (int)pid,
                                          strerror(-r));
        helper_rootless = r == 0;
        return r;
}

static void end_process(const json_t *process)
{
        _cleanup_(cleanup_close) int fd =
                json_is_object(process) ? local_process_open(process, NULL) : -1;
        struct pollfd gone = {.fd = fd, .events = POLLIN};

        if (fd < 0 || syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0) < 0)
                return;
        if (poll(&gone, 1, END_MS) == 0)
                syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
}

void pod_end(const struct site *s)
{
        _cleanup_(cleanup_json) json_t *pod = read_pod(s);
        _cleanup_(cleanup_free) char *path = pod_file(s);
        _cleanup_(cleanup_free) char *log = local_format("%s/slirp.log", s->folder);

        end_process(json_object_get(pod, "slirp"));
        end_process(json_object_get(pod, "holder"));
        if (log)
                unlink(log);
        if (path)
                unlink(path);
}
