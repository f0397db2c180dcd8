/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng-local-monitor SITE NAME: owns the life of one server.
 *
 * It makes the case what wanted.json says and writes down in state.json what the case is; it watches
 * wanted.json for as long as the server runs, and ends with the server. It can be killed at any moment:
 * the next one finds the server by state.json and takes it over without disturbing it.
 */
#include "helper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
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

#define CRASHES_MAX 3
#define CRASHES_MS 300000

enum phase { DOWN, STARTING, UP, STOPPING };

struct monitor {
        struct site site;
        const char *name;
        char *server; /* its folder */
        json_t *made; /* server.json */
        json_t *wanted;
        json_t *state;
        unsigned index;
        struct cgroups cgroups;
        enum phase phase;
        pid_t pid;
        int pidfd, notify, inotify, signals, lock;
        bool child;         /* the first process is our child */
        bool again;         /* after the stop that is under way: start */
        bool end;           /* nothing left to watch */
        bool failed;        /* the present wish cannot be fulfilled */
        int64_t since, deadline;
        int64_t crashes[CRASHES_MAX];
};

static _printf_(2, 3) void say(const struct monitor *m, const char *format, ...)
{
        char stamp[32];
        time_t now = time(NULL);
        struct tm tm;
        va_list ap;

        strftime(stamp, sizeof(stamp), "%FT%TZ", gmtime_r(&now, &tm));
        fprintf(stderr, "%s %s: ", stamp, m->name);
        va_start(ap, format);
        vfprintf(stderr, format, ap);
        va_end(ap);
        fputc('\n', stderr);
}

static void put(struct monitor *m, const char *key, json_t *value)
{
        json_object_set_new(m->state, key, value);
}

static void save(struct monitor *m)
{
        static const char *const names[] = { "stopped", "starting", "running", "stopping" };
        _cleanup_(cleanup_free) char *path = local_format("%s/state.json", m->server);

        put(m, "format", json_integer(LOCAL_FORMAT));
        put(m, "state", json_string(names[m->phase]));
        int r = path ? local_write_json(path, m->state, false) : -ENOMEM;
        if (r < 0)
                say(m, "cannot write %s: %s", path ? path : "state", strerror(-r));
}

static void set_error(struct monitor *m, const char *error)
{
        say(m, "%s", error);
        put(m, "error", json_string(error));
        put(m, "failed", json_string(local_string(m->wanted, "op_id", "")));
        put(m, "attempt", json_integer(local_integer(m->wanted, "attempt", 0)));
        m->failed = true;
}

static bool wants(const struct monitor *m, const char *state)
{
        return streq(local_string(m->wanted, "state", "running"), state);
}

static void read_wanted(struct monitor *m)
{
        _cleanup_(cleanup_free) char *path = local_format("%s/wanted.json", m->server);
        json_t *wanted = NULL;
        int r = path ? local_read_json(path, &wanted) : -ENOMEM;

        if (r < 0) {
                say(m, "cannot read %s: %s", path ? path : "wanted.json", strerror(-r));
                return;
        }
        json_decref(m->wanted);
        m->wanted = wanted;
        m->failed = false;
}

/* --- limits ------------------------------------------------------------------------------------- */

static void apply_limits(struct monitor *m)
{
        struct limits l = {
                .cpu = json_number_value(json_object_get(m->wanted, "cpu")),
                .memory = local_integer(m->wanted, "memory", 0),
                .pids = local_integer(m->wanted, "pids", 0),
        };
        _cleanup_(cleanup_free) char *missing = NULL;

        if (cgroups_limit(&m->cgroups, &l, &missing) < 0)
                return;
        put(m, "missing", json_string(missing ? missing : ""));
        put(m, "limits", json_pack("{s:f, s:I, s:I}", "cpu", l.cpu, "memory", (json_int_t)l.memory,
                                   "pids", (json_int_t)l.pids));
        if (missing)
                say(m, "limits that are not enforced: %s", missing);
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

/* --- starting ----------------------------------------------------------------------------------- */

static int make_network(struct monitor *m, char **ret_error)
{
        _cleanup_(cleanup_close) int lock = -1;
        int r = local_lock_folder(m->site.folder, &lock);

        return r < 0 ? r : network_make(&m->site, ret_error);
}

static int start_with(struct monitor *m, char **ret_error)
{
        struct boot b = { .site = &m->site, .name = m->name, .server = m->server,
                          .base = local_string(m->made, "base", ""), .index = m->index,
                          .cgroups = &m->cgroups };
        int r = make_network(m, ret_error);

        if (r < 0)
                return r;
        r = cgroups_find(&m->cgroups, m->site.cgroup, m->name);
        if (r == 0)
                r = cgroups_make(&m->cgroups);
        if (r < 0)
                say(m, "no control groups: %s", strerror(-r));
        apply_limits(m);
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
        struct boot b = { .site = &m->site, .name = m->name, .server = m->server,
                          .base = local_string(m->made, "base", "") };
        _cleanup_(cleanup_free) char *error = NULL, *root = local_format("%s/root", m->server);
        int r = root ? chroot_make(&b, m->made, &error) : -ENOMEM;

        if (r < 0) {
                set_error(m, error ? error : strerror(-r));
                m->end = true;
        } else {
                m->phase = UP;
                put(m, "ready", json_true());
                put(m, "chroot", json_string(root));
        }
        save(m);
}

static void close_fd(int *fd)
{
        if (*fd >= 0)
                close(*fd);
        *fd = -1;
}

static void start(struct monitor *m)
{
        _cleanup_(cleanup_free) char *error = NULL;

        m->since = helper_now();
        m->deadline = m->since + LOCAL_START_S * 1000;
        put(m, "ready", json_false());
        put(m, "error", json_string(""));
        put(m, "failed", json_string(""));
        if (local_is_chroot(m->made)) {
                start_chroot(m);
                return;
        }
        int r = start_with(m, &error);
        if (r < 0) {
                _cleanup_(cleanup_free) char *text = local_format("cannot start server %s: %s", m->name,
                                                                  error ? error : strerror(-r));
                set_error(m, text ? text : "out of memory");
                close_fd(&m->notify);
                cgroups_remove(&m->cgroups);
                network_disconnect(&m->site, m->index);
                m->end = true;
                save(m);
                return;
        }
        m->child = true;
        m->phase = STARTING;
        put(m, "init", local_process(m->pid));
        put(m, "cgroups", groups_of(&m->cgroups));
        put(m, "boots", json_integer(local_integer(m->state, "boots", 0) + 1));
        say(m, "started, first process %d", (int)m->pid);
        save(m);
}

static void is_up(struct monitor *m)
{
        int64_t took = helper_now() - m->since;

        m->phase = UP;
        m->deadline = 0;
        put(m, "ready", json_true());
        put(m, "start_ms", json_integer(took));
        say(m, "up after %lld ms", (long long)took);
        save(m);
}

static void on_notify(struct monitor *m)
{
        char text[4096];
        ssize_t n;

        while ((n = recv(m->notify, text, sizeof(text) - 1, 0)) > 0) {
                text[n] = '\0';
                if (m->phase == STARTING && (strncmp(text, "READY=1", 7) == 0 ||
                                             strstr(text, "\nREADY=1")))
                        is_up(m);
        }
}

/* For a server that another monitor started: its messages are lost, so it is asked. */
static void ask_if_up(struct monitor *m)
{
        char program[512];
        ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 32);
        _cleanup_(cleanup_free) char *said = NULL;

        if (n < 0)
                return;
        program[n] = '\0';
        strcpy(strrchr(program, '/') + 1, "prvng-local-enter");
        const char *argv[] = { program, m->site.folder, m->name, "--", "systemctl",
                               "is-system-running", NULL };
        run_program(argv, NULL, &said);
        if (said && (streq(said, "running") || streq(said, "degraded")))
                is_up(m);
}

/* --- stopping ----------------------------------------------------------------------------------- */

static void stop(struct monitor *m, bool at_once)
{
        /* systemd: SIGRTMIN+3 halts. */
        int signal = at_once ? SIGKILL : SIGRTMIN + 3;

        if (syscall(SYS_pidfd_send_signal, m->pidfd, signal, NULL, 0) < 0 && errno != ESRCH)
                say(m, "cannot signal the server: %s", strerror(errno));
        if (m->phase != STOPPING) {
                m->phase = STOPPING;
                m->deadline = helper_now() + LOCAL_STOP_S * 1000;
                save(m);
        }
}

/* The signal that ended the first process: SIGHUP after a reboot inside, SIGINT after a power-off; 0 if
 * it ended by itself or cannot be known. */
static int reap(struct monitor *m)
{
        int status = 0;

        if (m->child) {
                while (waitpid(m->pid, &status, 0) < 0 && errno == EINTR)
                        ;
        } else {
                struct pidfd_info_prvng info = { .mask = PIDFD_INFO_EXIT_PRVNG };
                struct pollfd gone = { .fd = m->pidfd, .events = POLLHUP };

                /* Known once its parent has reaped it, which may take a moment. */
                while (poll(&gone, 1, 1000) > 0 && !(gone.revents & POLLHUP))
                        nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
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

static void on_end(struct monitor *m)
{
        bool asked = m->phase == STOPPING;
        int signal = reap(m);

        say(m, "ended%s%s", signal ? " by signal " : "", signal ? strsignal(signal) : "");
        close_fd(&m->pidfd);
        close_fd(&m->notify);
        m->pid = 0;
        m->phase = DOWN;
        m->deadline = 0;
        put(m, "init", json_null());
        put(m, "ready", json_false());
        cgroups_remove(&m->cgroups);
        network_disconnect(&m->site, m->index);
        if (!wants(m, "running") || (asked && !m->again)) {
                save(m);
                return;
        }
        if (!asked && signal == SIGINT) {
                say(m, "it was powered off from inside");
                put(m, "powered_off", json_true());
                m->end = true;
        } else if (!asked && signal != SIGHUP && crashes_too_often(m)) {
                set_error(m, "it ended without being asked three times within five minutes, and is not"
                             " started again");
                m->end = true;
        }
        save(m);
}

/* --- the end ------------------------------------------------------------------------------------ */

static bool others_left(const struct monitor *m)
{
        _cleanup_(cleanup_json) json_t *names = NULL;
        size_t i;
        json_t *name;

        if (site_servers(&m->site, &names) < 0)
                return true;
        json_array_foreach(names, i, name) {
                _cleanup_(cleanup_free) char *path = local_format(
                        "%s/servers/%s/server.json", m->site.folder, json_string_value(name));

                if (!streq(json_string_value(name), m->name) && path && access(path, F_OK) == 0)
                        return true;
        }
        return false;
}

/* Forwarding was switched on for us; it is switched off again only if nobody else may lean on it. */
static void restore_forwarding(const struct site *s)
{
        _cleanup_(cleanup_free) char *path = local_format("%s/site.json", s->folder);
        static const char *const argv[] = { "ip", "-o", "link", "show", "type", "bridge", NULL };
        _cleanup_(cleanup_json) json_t *j = NULL;
        _cleanup_(cleanup_free) char *bridges = NULL;

        if (!path || local_read_json(path, &j) < 0 || local_integer(j, "ip_forward_was", 1) != 0)
                return;
        if (run_program(argv, NULL, &bridges) == 0 && !*bridges)
                local_write_proc("/proc/sys/net/ipv4/ip_forward", "0");
}

static int remove_server(struct monitor *m)
{
        static const char *const big[] = { "upper", "work", "data", "root" };
        _cleanup_(cleanup_close) int lock = -1;
        int r = 0;

        for (size_t i = 0; r == 0 && i < N_ELEMENTS(big); i++) {
                _cleanup_(cleanup_free) char *path = local_format("%s/%s", m->server, big[i]);
                r = path ? local_remove_tree(path) : -ENOMEM;
        }
        if (r == 0)
                r = cgroups_remove(&m->cgroups);
        if (r == 0)
                r = network_disconnect(&m->site, m->index);
        if (r == 0)
                r = local_lock_folder(m->site.folder, &lock);
        if (r < 0)
                return r;
        site_write_hosts(&m->site, m->name);
        bool last = !others_left(m);
        if (last) {
                r = network_remove(&m->site);
                if (r < 0)
                        return r;
                restore_forwarding(&m->site);
        }
        r = local_remove_tree(m->server);
        if (r == 0 && last)
                site_forget(&m->site);
        return r;
}

static void vanish(struct monitor *m)
{
        int r = remove_server(m);

        m->end = true;
        if (r < 0) {
                _cleanup_(cleanup_free) char *text = local_format("cannot remove server %s: %s",
                                                                  m->name, strerror(-r));
                set_error(m, text ? text : "out of memory");
                save(m);
                return;
        }
        say(m, "removed");
}

/* --- the loop ----------------------------------------------------------------------------------- */

/* One step from what is the case to what is wanted; called again after each event. */
static void step(struct monitor *m)
{
        const char *op_id = local_string(m->wanted, "op_id", "");
        const char *restart = local_string(m->wanted, "restart", "");
        bool restart_due = *restart && !streq(restart, local_string(m->state, "restarted", ""));

        if (m->end || m->failed)
                return;
        if (wants(m, "gone")) {
                if (*local_string(m->state, "chroot", ""))
                        chroot_end(local_string(m->state, "chroot", ""));
                if (m->pidfd < 0)
                        vanish(m);
                else
                        stop(m, true);
                return;
        }
        if (m->phase == DOWN && wants(m, "running")) {
                m->again = false;
                put(m, "powered_off", json_false());
                put(m, "restarted", json_string(restart));
                start(m);
                return;
        }
        if (m->phase == DOWN) {
                put(m, "applied", json_string(op_id));
                save(m);
                m->end = true;
                return;
        }
        if (m->phase == STOPPING || m->phase == STARTING)
                return;
        if (wants(m, "stopped") || restart_due) {
                m->again = restart_due;
                stop(m, false);
                return;
        }
        if (!streq(op_id, local_string(m->state, "applied", ""))) {
                if (!local_is_chroot(m->made))
                        apply_limits(m);
                put(m, "applied", json_string(op_id));
                save(m);
        }
        /* Nothing runs that could be watched. */
        m->end = local_is_chroot(m->made);
}

static void on_deadline(struct monitor *m)
{
        m->deadline = 0;
        if (m->phase == STOPPING) {
                say(m, "did not end within %d s, is killed", LOCAL_STOP_S);
                stop(m, true);
        } else if (m->phase == STARTING) {
                set_error(m, "systemd in the server did not come up in time; the server is left running:"
                             " look into it with prvng server exec NAME -- systemctl list-jobs");
                save(m);
        }
}

static void on_files(struct monitor *m)
{
        _Alignas(struct inotify_event) char buffer[4096];
        bool wanted = false, hosts = false;
        ssize_t n;

        while ((n = read(m->inotify, buffer, sizeof(buffer))) > 0)
                for (char *p = buffer; p < buffer + n;) {
                        const struct inotify_event *e = (const void *)p;

                        wanted = wanted || (e->len && streq(e->name, "wanted.json"));
                        hosts = hosts || (e->len && streq(e->name, "hosts"));
                        p += sizeof(*e) + e->len;
                }
        if (wanted)
                read_wanted(m);
        if (hosts && m->pid > 0 && !wants(m, "gone")) {
                char root[64];

                snprintf(root, sizeof(root), "/proc/%d/root", (int)m->pid);
                int r = hosts_update(root, m->site.folder);
                if (r < 0)
                        say(m, "cannot update /etc/hosts: %s", strerror(-r));
        }
}

static int loop(struct monitor *m)
{
        for (;;) {
                step(m);
                if (m->end)
                        return 0;
                int64_t now = helper_now(), wait = -1;
                bool ask = m->phase == STARTING && m->notify < 0;
                struct pollfd fds[] = {
                        { .fd = m->inotify, .events = POLLIN }, { .fd = m->signals, .events = POLLIN },
                        { .fd = m->pidfd, .events = POLLIN }, { .fd = m->notify, .events = POLLIN },
                };

                /* A step may have led to the next without an event. */
                if (m->phase == DOWN || local_is_chroot(m->made))
                        wait = m->failed ? -1 : 0;
                else if (m->deadline)
                        wait = m->deadline > now ? m->deadline - now : 0;
                if (ask && (wait < 0 || wait > 300))
                        wait = 300;
                if (poll(fds, N_ELEMENTS(fds), (int)wait) < 0 && errno != EINTR)
                        return -errno;
                if (fds[1].revents) {
                        say(m, "told to end; the server is left as it is");
                        return 0;
                }
                if (fds[0].revents)
                        on_files(m);
                if (fds[3].revents & POLLIN)
                        on_notify(m);
                if (m->pidfd >= 0 && fds[2].revents)
                        on_end(m);
                else if (m->deadline && helper_now() >= m->deadline)
                        on_deadline(m);
                else if (ask)
                        ask_if_up(m);
        }
}

/* Takes over a server that a former monitor left running. */
static void adopt(struct monitor *m)
{
        json_t *init = json_object_get(m->state, "init");

        if (local_is_chroot(m->made)) {
                m->phase = json_is_true(json_object_get(m->state, "ready")) ? UP : DOWN;
                return;
        }
        m->pidfd = json_is_object(init) ? local_process_open(init, &m->pid) : -1;
        if (m->pidfd < 0) {
                m->pid = 0;
                /* Whatever a former monitor may have left half made. */
                cgroups_remove(&m->cgroups);
                network_disconnect(&m->site, m->index);
                return;
        }
        say(m, "found running, first process %d", (int)m->pid);
        m->phase = json_is_true(json_object_get(m->state, "ready")) ? UP : STARTING;
        m->since = helper_now();
        if (m->phase == STARTING)
                m->deadline = m->since + LOCAL_START_S * 1000;
        save(m);
}

static int watch(struct monitor *m)
{
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGHUP);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;
        m->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        m->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        if (m->signals < 0 || m->inotify < 0 ||
            inotify_add_watch(m->inotify, m->server, IN_MOVED_TO) < 0 ||
            inotify_add_watch(m->inotify, m->site.folder, IN_MOVED_TO) < 0)
                return -errno;
        return 0;
}

static int open_files(struct monitor *m)
{
        _cleanup_(cleanup_free) char *made = local_format("%s/server.json", m->server);
        _cleanup_(cleanup_free) char *state = local_format("%s/state.json", m->server);
        int r;

        if (!made || !state)
                return -ENOMEM;
        r = local_read_json(made, &m->made);
        if (r < 0)
                return r;
        m->index = (unsigned)local_integer(m->made, "index", 0);
        if (local_read_json(state, &m->state) < 0)
                m->state = json_object();
        put(m, "monitor", local_process(getpid()));
        read_wanted(m);
        return m->wanted ? 0 : -ENOENT;
}

/* What it says goes to monitor.log, as long as it is small. */
static void keep_log(const struct monitor *m)
{
        _cleanup_(cleanup_free) char *path = local_format("%s/monitor.log", m->server);
        struct stat st;

        if (!path)
                return;
        bool big = stat(path, &st) == 0 && st.st_size > 1 << 20;
        int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (big ? O_TRUNC : 0), 0600);
        if (fd >= 0)
                dup2(fd, 2);
        if (fd >= 0)
                close(fd);
}

static int run(struct monitor *m)
{
        int r = cgroups_find(&m->cgroups, m->site.cgroup, m->name);

        keep_log(m);
        if (r == 0)
                r = watch(m);
        if (r == 0)
                r = open_files(m);
        if (r < 0) {
                say(m, "cannot begin: %s", strerror(-r));
                return 1;
        }
        adopt(m);
        return loop(m) < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
        struct monitor m = { .pidfd = -1, .notify = -1, .inotify = -1, .signals = -1, .lock = -1 };
        int r;

        if (argc != 3 || !local_valid_name(argv[2])) {
                fputs("usage: prvng-local-monitor SITE-FOLDER NAME\n"
                      "Started by the local provider of prvng, once for each server.\n", stderr);
                return 2;
        }
        umask(022);
        setsid();
        m.name = argv[2];
        r = site_read(&m.site, argv[1]);
        if (r < 0) {
                say(&m, "%s/site.json: %s", argv[1], strerror(-r));
                return 1;
        }
        m.server = site_server(&m.site, m.name);
        r = m.server ? local_lock_monitor(m.server, &m.lock) : -ENOMEM;
        if (r == -EAGAIN) {
                say(&m, "has a monitor already");
                return 0;
        }
        if (r < 0) {
                say(&m, "%s: %s", m.server ? m.server : "memory", strerror(-r));
                return 1;
        }
        r = run(&m);
        json_decref(m.made);
        json_decref(m.wanted);
        json_decref(m.state);
        free(m.server);
        site_done(&m.site);
        return r;
}
