/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng-local-monitor SITE NAME: owns the life of one server.
 *
 * It makes the case what wanted.json says and writes down in state.json what the case is; it
 * watches wanted.json for as long as the server runs, and ends with the server. It can be killed at
 * any moment: the next one finds the server by state.json and takes it over without disturbing it.
 */
#include "monitor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>

void monitor_say(const struct monitor *m, const char *format, ...)
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

void monitor_put(struct monitor *m, const char *key, json_t *value)
{
        json_object_set_new(m->state, key, value);
}

void monitor_save(struct monitor *m)
{
        static const char *const names[] = {"stopped", "starting", "running", "stopping"};
        _cleanup_(cleanup_free) char *path = local_format("%s/state.json", m->server);

        monitor_put(m, "format", json_integer(LOCAL_FORMAT));
        monitor_put(m, "state", json_string(names[m->phase]));
        int r = path ? local_write_json(path, m->state, false) : -ENOMEM;
        if (r < 0)
                monitor_say(m, "cannot write %s: %s", path ? path : "state", strerror(-r));
}

void monitor_set_error(struct monitor *m, const char *error)
{
        monitor_say(m, "%s", error);
        monitor_put(m, "error", json_string(error));
        monitor_put(m, "failed", json_string(local_string(m->wanted, "op_id", "")));
        monitor_put(m, "attempt", json_integer(local_integer(m->wanted, "attempt", 0)));
        m->failed = true;
}

bool monitor_wants(const struct monitor *m, const char *state)
{
        return streq(local_string(m->wanted, "state", "running"), state);
}

static void read_wanted(struct monitor *m)
{
        _cleanup_(cleanup_free) char *path = local_format("%s/wanted.json", m->server);
        json_t *wanted = NULL;
        int r = path ? local_read_json(path, &wanted) : -ENOMEM;

        if (r < 0) {
                monitor_say(m, "cannot read %s: %s", path ? path : "wanted.json", strerror(-r));
                return;
        }
        json_decref(m->wanted);
        m->wanted = wanted;
        m->failed = false;
}

/* --- the end --- */

static void vanish(struct monitor *m)
{
        int r = remove_server(&m->site, m->name, m->index, &m->cgroups);

        m->end = true;
        if (r < 0) {
                _cleanup_(cleanup_free) char *text =
                        local_format("cannot remove server %s: %s", m->name, strerror(-r));
                monitor_set_error(m, text ? text : "out of memory");
                monitor_save(m);
                return;
        }
        monitor_say(m, "removed");
}

/* --- the loop --- */

/* One step from what is the case to what is wanted; called again after each event. */
static void step(struct monitor *m)
{
        const char *op_id = local_string(m->wanted, "op_id", "");
        const char *restart = local_string(m->wanted, "restart", "");
        bool restart_due = *restart && !streq(restart, local_string(m->state, "restarted", ""));

        if (m->end || m->failed)
                return;
        if (monitor_wants(m, "gone")) {
                if (*local_string(m->state, "chroot", ""))
                        chroot_end(local_string(m->state, "chroot", ""));
                if (m->pidfd < 0)
                        vanish(m);
                else
                        monitor_stop(m, true);
                return;
        }
        if (m->phase == DOWN && monitor_wants(m, "running")) {
                m->again = false;
                monitor_put(m, "powered_off", json_false());
                monitor_put(m, "restarted", json_string(restart));
                monitor_start(m);
                return;
        }
        if (m->phase == DOWN) {
                monitor_put(m, "applied", json_string(op_id));
                monitor_save(m);
                m->end = true;
                return;
        }
        if (m->phase == STOPPING || m->phase == STARTING)
                return;
        if (monitor_wants(m, "stopped") || restart_due) {
                m->again = restart_due;
                monitor_stop(m, false);
                return;
        }
        if (!streq(op_id, local_string(m->state, "applied", ""))) {
                if (!local_is_chroot(m->made))
                        monitor_apply_limits(m);
                monitor_put(m, "applied", json_string(op_id));
                monitor_save(m);
        }
        /* Nothing runs that could be watched. */
        m->end = local_is_chroot(m->made);
}

static void on_deadline(struct monitor *m)
{
        m->deadline = 0;
        if (m->phase == STOPPING) {
                monitor_say(m, "did not end within %d s, is killed", LOCAL_STOP_S);
                monitor_stop(m, true);
        } else if (m->phase == STARTING) {
                monitor_set_error(
                        m,
                        "systemd in the server did not come up in time; the server is left running:"
                        " look into it with prvng server exec NAME -- systemctl list-jobs");
                monitor_save(m);
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
        if (hosts && m->pid > 0 && !monitor_wants(m, "gone")) {
                char root[64];

                snprintf(root, sizeof(root), "/proc/%d/root", (int)m->pid);
                int r = hosts_update(root, m->site.folder);
                if (r < 0)
                        monitor_say(m, "cannot update /etc/hosts: %s", strerror(-r));
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
                        {.fd = m->inotify, .events = POLLIN},
                        {.fd = m->signals, .events = POLLIN},
                        {.fd = m->pidfd, .events = POLLIN},
                        {.fd = m->notify, .events = POLLIN},
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
                        monitor_say(m, "told to end; the server is left as it is");
                        return 0;
                }
                if (fds[0].revents)
                        on_files(m);
                if (fds[3].revents & POLLIN)
                        monitor_on_notify(m);
                if (m->pidfd >= 0 && fds[2].revents)
                        monitor_on_end(m);
                else if (m->deadline && helper_now() >= m->deadline)
                        on_deadline(m);
                else if (ask)
                        monitor_ask_if_up(m);
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
        monitor_say(m, "found running, first process %d", (int)m->pid);
        m->phase = json_is_true(json_object_get(m->state, "ready")) ? UP : STARTING;
        m->since = helper_now();
        if (m->phase == STARTING)
                m->deadline = m->since + LOCAL_START_S * 1000;
        monitor_save(m);
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
        monitor_put(m, "monitor", local_process(getpid()));
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

/* Who is not root becomes it in the site's pod. */
static int join_pod(struct monitor *m)
{
        _cleanup_(cleanup_free) char *error = NULL;

        if (geteuid() == 0 || local_is_chroot(m->made))
                return 0;
        int r = pod_join(&m->site, &error);
        monitor_put(m, "in_pod", json_boolean(r == 0));
        monitor_put(m, "rootless", json_true());
        if (r < 0) {
                monitor_set_error(m, error ? error : strerror(-r));
                monitor_save(m);
        }
        return r;
}

static int run(struct monitor *m)
{
        int r;

        keep_log(m);
        r = watch(m);
        if (r == 0)
                r = open_files(m);
        if (r == 0)
                r = join_pod(m);
        if (r == 0)
                r = cgroups_find(&m->cgroups, m->site.cgroup, m->name);
        if (r < 0) {
                monitor_say(m, "cannot begin: %s", strerror(-r));
                return 1;
        }
        adopt(m);
        return loop(m) < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
        struct monitor m = {.pidfd = -1, .notify = -1, .inotify = -1, .signals = -1, .lock = -1};
        int r;

        if (argc != 3 || !local_valid_name(argv[2])) {
                fputs("usage: prvng-local-monitor SITE-FOLDER NAME\n"
                      "Started by the local provider of prvng, once for each server.\n",
                      stderr);
                return 2;
        }
        umask(022);
        setsid();
        m.name = argv[2];
        r = site_read(&m.site, argv[1]);
        if (r < 0) {
                monitor_say(&m, "%s/site.json: %s", argv[1], strerror(-r));
                return 1;
        }
        m.server = site_server(&m.site, m.name);
        r = m.server ? local_lock_monitor(m.server, &m.lock) : -ENOMEM;
        if (r == -EAGAIN) {
                monitor_say(&m, "has a monitor already");
                return 0;
        }
        if (r < 0) {
                monitor_say(&m, "%s: %s", m.server ? m.server : "memory", strerror(-r));
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
