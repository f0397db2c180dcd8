/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The monitor of a server: starting it, seeing it up, stopping it, and what follows from its end.
 */
#include "monitor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

/* Linux 6.15: how a process that is not our child ended; older kernels refuse the question. */
struct pidfd_info_prvng {
        uint64_t mask;
        uint64_t cgroupid;
        uint32_t ids[11];
        int32_t exit_code;
};
#define PIDFD_INFO_EXIT_PRVNG 8u

#define CRASHES_MS 300000

/* --- limits --- */

void monitor_apply_limits(struct monitor *m)
{
        struct limits l = {
                .cpu = json_number_value(json_object_get(m->wanted, "cpu")),
                .memory = local_integer(m->wanted, "memory", 0),
                .pids = local_integer(m->wanted, "pids", 0),
        };
        _cleanup_(cleanup_free) char *missing = NULL;

        if (cgroups_limit(&m->cgroups, &l, &missing) < 0)
                return;
        monitor_put(m, "missing", json_string(missing ? missing : ""));
        monitor_put(m, "limits",
                    json_pack("{s:f, s:I, s:I}", "cpu", l.cpu, "memory", (json_int_t)l.memory,
                              "pids", (json_int_t)l.pids));
        if (missing)
                monitor_say(m, "limits that are not enforced: %s", missing);
}

/* Where a command that enters the server has to be. */
static json_t *groups_of(const struct cgroups *c)
{
        json_t *list = json_array();

        for (size_t i = 0; i < c->n; i++) {
                _cleanup_(cleanup_free) char *path =
                        local_format("%s/%s/%s/pay", c->list[i].path, c->site, c->name);
                json_array_append_new(list, json_pack("{s:s, s:b}", "path", path ? path : "", "v2",
                                                      c->list[i].v2));
        }
        return list;
}

/* --- starting --- */

static int make_network(struct monitor *m, char **ret_error)
{
        _cleanup_(cleanup_close) int lock = -1;
        int r = local_lock_folder(m->site.folder, &lock);

        if (r == 0)
                r = network_make(&m->site, ret_error);
        if (r == 0) {
                _cleanup_(cleanup_free) char *blocked = network_blocked(&m->site);
                monitor_put(m, "blocked", json_string(blocked ? blocked : ""));
        }
        return r;
}

static int start_with(struct monitor *m, char **ret_error)
{
        struct boot b = {.site = &m->site,
                         .name = m->name,
                         .server = m->server,
                         .base = local_string(m->made, "base", ""),
                         .index = m->index,
                         .cgroups = &m->cgroups,
                         .init = -1};
        _cleanup_(cleanup_close) int init = -1;
        int r = make_network(m, ret_error);

        if (r < 0)
                return r;
        r = cgroups_find(&m->cgroups, m->site.cgroup, m->name);
        if (r == 0)
                r = cgroups_make(&m->cgroups);
        if (r < 0)
                monitor_say(m, "no control groups: %s", strerror(-r));
        monitor_apply_limits(m);
        /* Root's systemd makes do with less; without root it does not start without a group. */
        b.systemd = !helper_rootless || m->cgroups.n > 0;
        monitor_put(m, "systemd", json_boolean(b.systemd));
        if (!b.systemd) {
                _cleanup_(cleanup_free) char *program = helper_sibling("prvng-local-init");
                init = program ? open(program, O_PATH | O_CLOEXEC) : -1;
                if (init < 0) {
                        *ret_error = local_format("%s: %s", program ? program : "memory",
                                                  strerror(errno));
                        return -ENOENT;
                }
                b.init = init;
        }
        r = boot_seed(&b, m->made, ret_error);
        if (r < 0)
                return r;
        m->notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (m->notify < 0)
                return -errno;
        b.notify = m->notify;
        return boot_server(&b, &m->pid, &m->pidfd, ret_error);
}

static void start_chroot(struct monitor *m)
{
        struct boot b = {.site = &m->site,
                         .name = m->name,
                         .server = m->server,
                         .base = local_string(m->made, "base", "")};
        _cleanup_(cleanup_free) char *error = NULL, *root = local_format("%s/root", m->server);
        int r = root ? chroot_make(&b, m->made, &error) : -ENOMEM;

        if (r < 0) {
                monitor_set_error(m, error ? error : strerror(-r));
                m->end = true;
        } else {
                m->phase = UP;
                monitor_put(m, "ready", json_true());
                monitor_put(m, "chroot", json_string(root));
        }
        monitor_save(m);
}

static void close_fd(int *fd)
{
        if (*fd >= 0)
                close(*fd);
        *fd = -1;
}

void monitor_start(struct monitor *m)
{
        _cleanup_(cleanup_free) char *error = NULL;

        m->since = helper_now();
        m->deadline = m->since + LOCAL_START_S * 1000;
        monitor_put(m, "ready", json_false());
        monitor_put(m, "error", json_string(""));
        monitor_put(m, "failed", json_string(""));
        if (local_is_chroot(m->made)) {
                start_chroot(m);
                return;
        }
        int r = start_with(m, &error);
        if (r < 0) {
                _cleanup_(cleanup_free) char *text = local_format(
                        "cannot start server %s: %s", m->name, error ? error : strerror(-r));
                monitor_set_error(m, text ? text : "out of memory");
                close_fd(&m->notify);
                cgroups_remove(&m->cgroups);
                network_disconnect(&m->site, m->index);
                m->end = true;
                monitor_save(m);
                return;
        }
        m->child = true;
        m->phase = STARTING;
        monitor_put(m, "init", local_process(m->pid));
        monitor_put(m, "cgroups", groups_of(&m->cgroups));
        monitor_put(m, "boots", json_integer(local_integer(m->state, "boots", 0) + 1));
        monitor_say(m, "started, first process %d", (int)m->pid);
        monitor_save(m);
}

void monitor_is_up(struct monitor *m)
{
        int64_t took = helper_now() - m->since;

        m->phase = UP;
        m->deadline = 0;
        monitor_put(m, "ready", json_true());
        monitor_put(m, "start_ms", json_integer(took));
        monitor_say(m, "up after %lld ms", (long long)took);
        monitor_save(m);
}

void monitor_on_notify(struct monitor *m)
{
        char text[4096];
        ssize_t n;

        while ((n = recv(m->notify, text, sizeof(text) - 1, 0)) > 0) {
                text[n] = '\0';
                if (m->phase == STARTING &&
                    (strncmp(text, "READY=1", 7) == 0 || strstr(text, "\nREADY=1")))
                        monitor_is_up(m);
        }
}

/* For a server that another monitor started: its messages are lost, so it is asked. */
void monitor_ask_if_up(struct monitor *m)
{
        _cleanup_(cleanup_free) char *program = helper_sibling("prvng-local-enter");
        _cleanup_(cleanup_free) char *said = NULL;
        const char *argv[] = {program,     m->site.folder,      m->name, "--",
                              "systemctl", "is-system-running", NULL};

        if (!program)
                return;
        if (json_is_false(json_object_get(m->state, "systemd")))
                argv[4] = "echo", argv[5] = "running";
        run_program(argv, NULL, &said);
        if (said && (streq(said, "running") || streq(said, "degraded")))
                monitor_is_up(m);
}

/* --- stopping --- */

void monitor_stop(struct monitor *m, bool at_once)
{
        /* systemd: SIGRTMIN+3 halts. */
        int signal = at_once ? SIGKILL : SIGRTMIN + 3;

        if (syscall(SYS_pidfd_send_signal, m->pidfd, signal, NULL, 0) < 0 && errno != ESRCH)
                monitor_say(m, "cannot signal the server: %s", strerror(errno));
        if (m->phase != STOPPING) {
                m->phase = STOPPING;
                m->deadline = helper_now() + LOCAL_STOP_S * 1000;
                monitor_save(m);
        }
}

/* The signal that ended the first process: SIGHUP after a reboot inside, SIGINT after a power-off;
 * 0 if it ended by itself or cannot be known. */
static int reap(struct monitor *m)
{
        int status = 0;

        if (m->child) {
                while (waitpid(m->pid, &status, 0) < 0 && errno == EINTR)
                        ;
        } else {
                struct pidfd_info_prvng info = {.mask = PIDFD_INFO_EXIT_PRVNG};
                struct pollfd gone = {.fd = m->pidfd, .events = POLLHUP};

                /* Known once its parent has reaped it, which may take a moment. */
                while (poll(&gone, 1, 1000) > 0 && !(gone.revents & POLLHUP))
                        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
                if (ioctl(m->pidfd, _IOWR(0xFF, 11, struct pidfd_info_prvng), &info) < 0 ||
                    !(info.mask & PIDFD_INFO_EXIT_PRVNG))
                        return 0;
                status = info.exit_code;
        }
        return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* True if it ended too often to be started again. */
static bool crashes_too_often(struct monitor *m)
{
        int64_t now = helper_now();

        memmove(&m->crashes[1], &m->crashes[0], sizeof(m->crashes) - sizeof(m->crashes[0]));
        m->crashes[0] = now;
        return m->crashes[CRASHES_MAX - 1] > now - CRASHES_MS && m->crashes[CRASHES_MAX - 1] > 0;
}

void monitor_on_end(struct monitor *m)
{
        bool asked = m->phase == STOPPING;
        int signal = reap(m);

        monitor_say(m, "ended%s%s", signal ? " by signal " : "", signal ? strsignal(signal) : "");
        close_fd(&m->pidfd);
        close_fd(&m->notify);
        m->pid = 0;
        m->phase = DOWN;
        m->deadline = 0;
        monitor_put(m, "init", json_null());
        monitor_put(m, "ready", json_false());
        cgroups_remove(&m->cgroups);
        network_disconnect(&m->site, m->index);
        if (!monitor_wants(m, "running") || (asked && !m->again)) {
                monitor_save(m);
                return;
        }
        if (!asked && signal == SIGINT) {
                monitor_say(m, "it was powered off from inside");
                monitor_put(m, "powered_off", json_true());
                m->end = true;
        } else if (!asked && signal != SIGHUP && crashes_too_often(m)) {
                monitor_set_error(
                        m,
                        "it ended without being asked three times within five minutes, and is not"
                        " started again");
                m->end = true;
        }
        monitor_save(m);
}
