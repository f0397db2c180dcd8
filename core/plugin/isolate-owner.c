/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that owns the helper of one isolated plugin. It alone starts and reaps it, so that the helper's
 * parent-death signal means the end of the plugin and not that of some worker.
 */
#include "plugin/isolate-inside.h"

#include "base/clock.h"
#include "host/host.h"
#include "plugin/confine.h"
#include "plugin/trust.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>

enum { LINE_MAX_ = 1000, LINES_MAX = 200, LINES_MS = 10000, END_MS = 1000, SAID_MAX = 8192 };

void *isolate_own(void *isolated);

/* --- starting --- */

/* What the helper gets: 0 to 4. */
struct ends {
        int fds[5];
};

static void cleanup_ends(struct ends *e)
{
        for (size_t k = 0; k < N_ELEMENTS(e->fds); k++)
                cleanup_close(&e->fds[k]);
}

/* Out of the way of the numbers that they shall get. */
static int lift(int fd)
{
        int high = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 10);

        if (fd >= 0)
                close(fd);
        return high;
}

static int make_ends(struct isolated *i, struct ends *e)
{
        const struct timeval tick = {.tv_usec = ISOLATE_TICK_MS * 1000};
        int fds[2];

        e->fds[0] = lift(open("/dev/null", O_RDONLY | O_CLOEXEC));
        for (int k = 0; k < 2; k++) {
                if (pipe2(fds, O_CLOEXEC) < 0)
                        return error_origin(-errno);
                fcntl(fds[0], F_SETFL, O_NONBLOCK);
                i->outputs[k] = fds[0];
                e->fds[1 + k] = lift(fds[1]);
        }
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
                return error_origin(-errno);
        setsockopt(fds[0], SOL_SOCKET, SO_SNDTIMEO, &tick, sizeof(tick));
        pthread_mutex_lock(&i->control_lock);
        i->control = WIRE_INIT(fds[0], WIRE_IN_MAX);
        pthread_mutex_unlock(&i->control_lock);
        e->fds[3] = lift(fds[1]);
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
                return error_origin(-errno);
        setsockopt(fds[0], SOL_SOCKET, SO_SNDTIMEO, &tick, sizeof(tick));
        i->outside = WIRE_INIT(fds[0], WIRE_IN_MAX);
        e->fds[4] = lift(fds[1]);
        for (size_t k = 0; k < N_ELEMENTS(e->fds); k++)
                if (e->fds[k] < 0)
                        return error_origin(-EMFILE);
        return 0;
}

/* Returns 0 or a positive errno. A process group of its own keeps signals of a terminal away; a session of its
 * own would be a scheduling group of its own where the kernel groups by sessions, and make each call several times
 * as expensive. */
static int spawn(const struct isolated *i, const struct ends *e, pid_t *ret_pid)
{
        char name[] = "prvng-plugin-host", *const argv[] = {name, i->name, NULL};
        char **environment = confine_environment(&i->view);
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        sigset_t none, all;
        int r;

        sigemptyset(&none);
        sigfillset(&all);
        if (!environment)
                return ENOMEM;
        posix_spawn_file_actions_init(&actions); /* neither fails in the C libraries that there are */
        posix_spawnattr_init(&attributes);
        r = 0;
        for (int k = 0; k < (int)N_ELEMENTS(e->fds) && r == 0; k++)
                r = posix_spawn_file_actions_adddup2(&actions, e->fds[k], k);
        r = r ?: posix_spawn_file_actions_addclosefrom_np(&actions, (int)N_ELEMENTS(e->fds));
        r = r ?: posix_spawn_file_actions_addchdir_np(&actions, "/");
        r = r ?: posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                                               POSIX_SPAWN_SETSIGDEF);
        r = r ?: posix_spawnattr_setsigmask(&attributes, &none);
        r = r ?: posix_spawnattr_setsigdefault(&attributes, &all);
        r = r ?: posix_spawn(ret_pid, i->program, &actions, &attributes, argv, environment);
        posix_spawnattr_destroy(&attributes);
        posix_spawn_file_actions_destroy(&actions);
        confine_environment_free(environment);
        return r;
}

static uint32_t available(const struct isolated *i)
{
        uint32_t bits = 0;

        for (unsigned int k = 0; k < WIRE_N_HOSTS; k++)
                if (i->table->get_interface(i->table, wire_hosts[k]))
                        bits |= 1u << k;
        return bits;
}

/* Sends what lies in control's buffer; a helper that does not read it in time is no helper. */
static int send_control(struct isolated *i, int64_t until)
{
        int r;

        do {
                pthread_mutex_lock(&i->control_lock);
                r = wire_flush(&i->control);
                pthread_mutex_unlock(&i->control_lock);
        } while (r == -EAGAIN && clock_boot_ms() < until);
        return r;
}

static void put_open(struct isolated *i)
{
        _cleanup_(cleanup_free) char *sandbox = i->sandbox ? json_dumps(i->sandbox, JSON_COMPACT) : NULL;
        struct wire *w = &i->control;

        pthread_mutex_lock(&i->control_lock);
        wire_begin(w, WIRE_OPEN);
        wire_put_text(w, PRVNG_VERSION);
        wire_put_text(w, i->path);
        wire_put_text(w, i->name);
        wire_put_text(w, i->table->core_version);
        wire_put_text(w, sandbox);
        wire_put_u32(w, available(i));
        wire_end(w);
        pthread_mutex_unlock(&i->control_lock);
}

/* The file is still the one that was trusted. */
static bool same_file(struct isolated *i)
{
        _cleanup_(cleanup_close) int fd = open(i->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        char digest[TRUST_DIGEST];

        return fd >= 0 && trust_digest(fd, digest) == 0 && streq(digest, i->sha256);
}

/* 0, or -errno with the reason in i->end. */
static int start(struct isolated *i)
{
        _cleanup_(cleanup_ends) struct ends e = {{-1, -1, -1, -1, -1}};
        pid_t pid = 0;
        int r;

        if (!same_file(i)) {
                snprintf(i->end, sizeof(i->end), "%s is no longer the file that was checked: start the engine "
                         "again to use the new one", i->path);
                return -ESTALE;
        }
        r = make_ends(i, &e);
        if (r == 0)
                r = -spawn(i, &e, &pid);
        if (r < 0) {
                snprintf(i->end, sizeof(i->end), "%s cannot be started: %s", i->program, strerror(-r));
                return r;
        }
        pthread_mutex_lock(&i->lock);
        i->pidfd = pidfd_open(pid, 0);
        i->state.pid = pid;
        i->state.n_starts++;
        pthread_mutex_unlock(&i->lock);
        if (i->pidfd < 0) {
                r = -errno;
                kill(pid, SIGKILL);
                waitpid(pid, NULL, 0);
                snprintf(i->end, sizeof(i->end), "%s cannot be watched: %s", i->program, strerror(-r));
                return error_origin(r);
        }
        put_open(i);
        send_control(i, clock_boot_ms() + ISOLATE_START_MS); /* if not: it does not come up in time */
        return 0;
}

/* --- what it prints --- */

static void log_line(struct isolated *i, const char *line)
{
        int64_t now = clock_boot_ms();

        if (now - i->lines_since_ms >= LINES_MS) {
                i->lines_since_ms = now;
                i->n_lines = 0;
        }
        if (++i->n_lines < LINES_MAX)
                i->table->log(i->table, PRVNG_LOG_WARN, "output", line);
        else if (i->n_lines == LINES_MAX)
                i->table->log(i->table, PRVNG_LOG_WARN, "output", "... it prints more than is worth a log");
}

static void log_lines(struct isolated *i, struct buf *b, bool all)
{
        size_t from = 0;

        for (size_t k = 0; k < b->n; k++) {
                if (b->data[k] == 0)
                        b->data[k] = '?';
                if (b->data[k] != '\n' && k - from < LINE_MAX_)
                        continue;
                if (b->data[k] == '\n') {
                        b->data[k] = 0;
                        if (k > from)
                                log_line(i, b->data + from);
                        from = k + 1;
                } else {
                        char kept = b->data[k];

                        b->data[k] = 0;
                        log_line(i, b->data + from);
                        b->data[k] = kept;
                        from = k;
                }
        }
        if (all && b->n > from)
                log_line(i, b->data + from);
        if (all || from == b->n) {
                buf_clear(b);
        } else if (from > 0) {
                memmove(b->data, b->data + from, b->n - from + 1);
                b->n -= from;
        }
}

/* One piece, so that what prints without end stops nothing else. */
static void read_output(struct isolated *i, int k)
{
        char chunk[8192];
        ssize_t n;

        if (i->outputs[k] < 0)
                return;
        n = read(i->outputs[k], chunk, sizeof(chunk));
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n > 0)
                buf_append(&i->lines[k], chunk, (size_t)n);
        log_lines(i, &i->lines[k], n <= 0);
        if (n <= 0)
                close(i->outputs[k]), i->outputs[k] = -1;
}

/* --- what others are told --- */

static isolate_changed_f changed_function;
static void *changed_userdata;

void isolate_on_change(isolate_changed_f changed, void *userdata)
{
        changed_function = changed;
        changed_userdata = userdata;
}

static void report(struct isolated *i, bool crashed)
{
        _cleanup_(cleanup_free) char *text = NULL;
        struct isolate_state s;

        pthread_mutex_lock(&i->lock);
        s = i->state;
        pthread_mutex_unlock(&i->lock);
        if (crashed && s.quarantined &&
            asprintf(&text, "%s; that was the end number %u within %d minutes: the plugin is not started any more",
                     s.last_reason, s.n_in_window, ISOLATE_WINDOW_MS / 60000) < 0)
                text = NULL;
        if (crashed && !s.quarantined && asprintf(&text, "%s; the next call starts it again", s.last_reason) < 0)
                text = NULL;
        if (text)
                i->table->log(i->table, s.quarantined ? PRVNG_LOG_ERROR : PRVNG_LOG_WARN, "isolation", text);
        if (changed_function)
                changed_function(changed_userdata, i->kind, i->name, &s);
}

/* --- what it says --- */

static void condemn(struct isolated *i, const char *why)
{
        isolate_condemn(i, i->generation, why);
}

static void set_phase(struct isolated *i, enum isolate_phase phase)
{
        pthread_mutex_lock(&i->lock);
        i->phase = phase;
        i->state.running = phase == ISOLATE_UP;
        pthread_cond_broadcast(&i->changed);
        pthread_mutex_unlock(&i->lock);
}

/* Host functions outside of calls. */
static void serve_outside(struct isolated *i)
{
        struct wire_message m;
        bool ok;
        int r;

        for (int k = 0; k < 1000; k++) {
                r = wire_next_now(&i->outside, &m);
                if (r == WIRE_E_LATER || r == WIRE_E_CLOSED)
                        return;
                /* During entry and create(), errors are why it does not start. */
                host_capture_errors(i->phase != ISOLATE_UP && i->said.n < SAID_MAX ? &i->said : NULL);
                ok = r == 0 && isolate_serve(i, &i->outside, &m, NULL, NULL);
                host_capture_errors(NULL);
                if (!ok) {
                        condemn(i, "sent what is no message");
                        return;
                }
                if (i->outside.out.n && wire_flush(&i->outside) < 0) {
                        condemn(i, "does not read the answers to its questions");
                        return;
                }
        }
}

static bool take_tables(struct isolated *i, struct wire_message *m)
{
        bool known = i->tables_known;

        if (wire_get_u32(m) != wire_n_interfaces || m->bad)
                return false;
        if (!known) { /* where the texts stand from now on */
                buf_append(&i->tables_text, m->at, (size_t)(m->end - m->at));
                if (buf_error(&i->tables_text) < 0)
                        return false;
                m->at = (const uint8_t *)i->tables_text.data;
                m->end = m->at + i->tables_text.n;
        }
        for (size_t n = 0; n < wire_n_interfaces; n++) {
                const struct wire_interface *f = &wire_interfaces[n];
                uint32_t head[2] = {wire_get_u32(m)}, has;
                const char *extensions;

                head[1] = wire_get_u32(m);
                has = wire_get_u32(m);
                extensions = wire_get_text(m);
                if (m->bad || known)
                        continue;
                i->has_table[n] = head[0] != 0;
                memset(&i->tables[n], 0, sizeof(i->tables[n]));
                if (head[0] >= f->baseline) {
                        memcpy(&i->tables[n], isolate_proxies(n), f->size);
                        for (size_t k = 0; k < f->n_members; k++)
                                if (!(has & 1u << k))
                                        memset((char *)&i->tables[n] + f->members[k], 0, sizeof(void *));
                        if (f->has_extensions)
                                i->tables[n].loader.extensions = extensions;
                }
                head[0] = (uint32_t)MIN((size_t)head[0], f->size);
                memcpy(&i->tables[n], head, sizeof(head));
        }
        i->tables_known = true;
        return wire_done(m);
}

static void send_create(struct isolated *i)
{
        pthread_mutex_lock(&i->control_lock);
        wire_begin(&i->control, WIRE_CREATE);
        wire_put_bytes(&i->control, i->config.data ?: "", i->config.n);
        wire_end(&i->control);
        pthread_mutex_unlock(&i->control_lock);
        set_phase(i, ISOLATE_CREATING);
        send_control(i, clock_boot_ms() + ISOLATE_START_MS);
}

static void opened(struct isolated *i, const struct wire_message *m)
{
        if (i->tables_known) { /* the same file as before: it goes on where it was */
                send_create(i);
                return;
        }
        buf_append(&i->opened, m->at, (size_t)(m->end - m->at));
        set_phase(i, ISOLATE_OPENED);
}

static bool created(struct isolated *i, struct wire_message *m)
{
        int32_t answer = wire_get_i32(m);
        char why[256];

        if (answer == PRVNG_DONE) {
                if (!take_tables(i, m))
                        return false;
                set_phase(i, ISOLATE_UP);
                report(i, false);
                return true;
        }
        pthread_mutex_lock(&i->lock);
        i->created = answer < 0 ? answer : PRVNG_INTERNAL;
        buf_clear(&i->sentence);
        buf_puts(&i->sentence, i->said.n ? buf_str(&i->said) : "create() failed and said nothing");
        pthread_mutex_unlock(&i->lock);
        snprintf(why, sizeof(why), "was ended since its create() failed: %s", buf_str(&i->sentence));
        condemn(i, why);
        return wire_done(m);
}

static void confined(struct isolated *i, const char *text)
{
        pthread_mutex_lock(&i->lock);
        snprintf(i->state.confinement, sizeof(i->state.confinement), "%s", text);
        pthread_mutex_unlock(&i->lock);
}

/* False: rubbish. */
static bool control_message(struct isolated *i, struct wire_message *m)
{
        const char *text;

        switch (m->type) {
        case WIRE_CONFINED:
                text = wire_get_text(m);
                if (text && i->phase == ISOLATE_STARTING)
                        confined(i, text);
                return text && wire_done(m);
        case WIRE_REFUSED:
                text = wire_get_text(m);
                if (!text || !wire_done(m) || i->phase != ISOLATE_STARTING)
                        return false;
                pthread_mutex_lock(&i->lock);
                buf_clear(&i->sentence);
                buf_puts(&i->sentence, text);
                if (i->said.n)
                        buf_printf(&i->sentence, ": %s", buf_str(&i->said));
                pthread_mutex_unlock(&i->lock);
                condemn(i, "was ended since it cannot open the plugin");
                return true;
        case WIRE_OPENED:
                if (i->phase != ISOLATE_STARTING)
                        return false;
                opened(i, m);
                return true;
        case WIRE_CREATED:
                return i->phase == ISOLATE_CREATING && created(i, m);
        case WIRE_DESTROYED:
                pthread_mutex_lock(&i->lock);
                i->destroyed = true;
                pthread_cond_broadcast(&i->changed);
                pthread_mutex_unlock(&i->lock);
                return i->destroy_wanted && wire_done(m);
        default:
                return false;
        }
}

static void read_control(struct isolated *i)
{
        struct wire_message m;
        int r;

        while ((r = wire_next_now(&i->control, &m)) == 0) {
                serve_outside(i); /* what was said before it */
                if (!control_message(i, &m)) {
                        condemn(i, "sent what is no message");
                        return;
                }
        }
        if (r != WIRE_E_LATER && r != WIRE_E_CLOSED)
                condemn(i, "sent what is no message");
}

/* --- its end --- */

static void describe_end(struct isolated *i, const siginfo_t *info)
{
        const char *calls = "", *function = NULL;
        char in[64] = "";
        int n = 0;

        for (const struct channel *c = i->all_channels; c; c = c->next_of_all) {
                n += c->function != NULL;
                function = c->function ?: function;
        }
        if (n == 1)
                snprintf(in, sizeof(in), " in %s", function);
        else if (n > 1)
                snprintf(in, sizeof(in), " while %d calls were under way", n);
        if (i->condemned && (info->si_code != CLD_EXITED && info->si_status == SIGKILL))
                snprintf(i->end, sizeof(i->end), "its process %s", i->condemned);
        else if (info->si_code == CLD_EXITED)
                snprintf(i->end, sizeof(i->end), "its process ended by itself, with exit code %d%s%s",
                         info->si_status, calls, in);
        else
                snprintf(i->end, sizeof(i->end), "its process was ended by SIG%s%s",
                         sigabbrev_np(info->si_status) ?: "?", in);
}

/* A crash, unless it was asked to end. Under the lock. */
static void count_crash(struct isolated *i)
{
        int64_t now = clock_boot_ms(), delay = ISOLATE_BACKOFF_MIN_MS;
        uint32_t n = 0;

        memmove(i->crashes, i->crashes + 1, sizeof(i->crashes) - sizeof(i->crashes[0]));
        i->crashes[N_ELEMENTS(i->crashes) - 1] = now;
        for (size_t k = 0; k < N_ELEMENTS(i->crashes); k++)
                n += i->crashes[k] && now - i->crashes[k] < ISOLATE_WINDOW_MS;
        for (uint32_t k = 1; k < n && delay < ISOLATE_BACKOFF_MAX_MS; k++)
                delay *= 2;
        i->state.n_crashes++;
        i->state.n_in_window = n;
        i->state.quarantined = n >= ISOLATE_CRASHES_MAX;
        i->state.next_start_ms = now + MIN(delay, (int64_t)ISOLATE_BACKOFF_MAX_MS);
        i->state.last_crash_wall_ms = clock_wall_ms();
        snprintf(i->state.last_reason, sizeof(i->state.last_reason), "%s", i->end);
}

/* What is left of a helper: nothing. Its channels go as their calls come back. */
static void bury(struct isolated *i, bool crashed)
{
        struct channel **at;

        pthread_mutex_lock(&i->lock);
        crashed = crashed && !i->quit && !i->destroy_wanted && i->tables_known;
        i->generation++;
        i->n_channels = 0;
        i->free_channels = NULL;
        for (at = &i->all_channels; *at;) {
                struct channel *c = *at;

                if (c->function) {
                        shutdown(c->wire.fd, SHUT_RDWR);
                        at = &c->next_of_all;
                        continue;
                }
                *at = c->next_of_all;
                wire_deinit(&c->wire);
                free(c);
        }
        cleanup_close(&i->pidfd);
        i->pidfd = -1;
        free(i->condemned);
        i->condemned = NULL;
        if (crashed)
                count_crash(i);
        i->phase = ISOLATE_DOWN;
        i->state.running = false;
        i->state.pid = 0;
        buf_clear(&i->said);
        pthread_cond_broadcast(&i->changed);
        pthread_mutex_unlock(&i->lock);
        pthread_mutex_lock(&i->control_lock);
        wire_deinit(&i->control);
        pthread_mutex_unlock(&i->control_lock);
        wire_deinit(&i->outside);
        for (int k = 0; k < 2; k++) {
                cleanup_close(&i->outputs[k]);
                i->outputs[k] = -1;
        }
        isolate_sessions_end(i);
        report(i, crashed);
}

/* It has ended: what it said before is heard, then it is reaped. */
static void reap(struct isolated *i)
{
        siginfo_t info = {0};

        serve_outside(i);
        read_control(i);
        while (i->outputs[0] >= 0 || i->outputs[1] >= 0) {
                struct pollfd fds[] = {{.fd = i->outputs[0], .events = POLLIN},
                                       {.fd = i->outputs[1], .events = POLLIN}};

                if (poll(fds, 2, 0) <= 0) /* somebody else has them too */
                        break;
                for (int k = 0; k < 2; k++)
                        if (fds[k].revents)
                                read_output(i, k);
        }
        while (waitid(P_PIDFD, (id_t)i->pidfd, &info, WEXITED) < 0 && errno == EINTR)
                ;
        pthread_mutex_lock(&i->lock);
        describe_end(i, &info);
        pthread_mutex_unlock(&i->lock);
        bury(i, true);
}

/* --- the loop --- */

/* What others want of it; false: it shall end now. */
static bool obey(struct isolated *i)
{
        eventfd_t n;
        bool create, destroy, quit;

        eventfd_read(i->wake, &n);
        pthread_mutex_lock(&i->lock);
        create = i->create_wanted && i->phase == ISOLATE_OPENED;
        destroy = i->destroy_wanted && i->phase == ISOLATE_UP && !i->destroy_sent;
        quit = i->quit;
        pthread_mutex_unlock(&i->lock);
        if (quit)
                return false;
        if (create)
                send_create(i);
        if (destroy) {
                i->destroy_sent = true;
                pthread_mutex_lock(&i->control_lock);
                wire_begin(&i->control, WIRE_DESTROY);
                wire_end(&i->control);
                wire_flush(&i->control);
                pthread_mutex_unlock(&i->control_lock);
        }
        return true;
}

static void watch(struct isolated *i)
{
        int64_t until = clock_boot_ms() + ISOLATE_START_MS;

        for (;;) {
                bool starting = i->phase == ISOLATE_STARTING || i->phase == ISOLATE_CREATING;
                struct pollfd fds[] = {
                        {.fd = i->pidfd, .events = POLLIN},         {.fd = i->wake, .events = POLLIN},
                        {.fd = i->outside.fd, .events = POLLIN},    {.fd = i->control.fd, .events = POLLIN},
                        {.fd = i->outputs[0], .events = POLLIN},    {.fd = i->outputs[1], .events = POLLIN},
                };

                if (poll(fds, N_ELEMENTS(fds), starting ? 100 : -1) < 0 && errno != EINTR)
                        condemn(i, "could not be watched");
                if (fds[0].revents) {
                        reap(i);
                        return;
                }
                if (fds[1].revents && !obey(i))
                        break;
                if (fds[2].revents & POLLIN)
                        serve_outside(i);
                if (fds[3].revents & POLLIN)
                        read_control(i);
                if ((fds[2].revents | fds[3].revents) & (POLLHUP | POLLERR) &&
                    poll(fds, 1, END_MS) == 0)
                        condemn(i, "closed a socket that it needs");
                for (int k = 0; k < 2; k++)
                        if (fds[4 + k].revents)
                                read_output(i, k);
                if (!starting)
                        until = clock_boot_ms() + ISOLATE_START_MS;
                else if (clock_boot_ms() > until)
                        condemn(i, "was ended since it did not start within 10 s");
        }
        /* The end of control is its own end; who does not see it is killed. */
        shutdown(i->control.fd, SHUT_WR);
        if (poll(&(struct pollfd){.fd = i->pidfd, .events = POLLIN}, 1, END_MS) <= 0)
                condemn(i, "did not end");
        poll(&(struct pollfd){.fd = i->pidfd, .events = POLLIN}, 1, -1);
        reap(i);
}

void *isolate_own(void *isolated)
{
        struct isolated *i = isolated;
        bool ok;

        prctl(PR_SET_NAME, "prvng-isolate");
        for (;;) {
                pthread_mutex_lock(&i->lock);
                while (!i->quit && !i->wanted)
                        pthread_cond_wait(&i->changed, &i->lock);
                if (i->quit) {
                        pthread_mutex_unlock(&i->lock);
                        return NULL;
                }
                i->wanted = false;
                i->phase = ISOLATE_STARTING;
                pthread_mutex_unlock(&i->lock);
                ok = start(i) == 0;
                if (ok)
                        watch(i);
                else
                        bury(i, true);
                pthread_mutex_lock(&i->lock);
                i->create_wanted = i->create_wanted && i->tables_known;
                pthread_mutex_unlock(&i->lock);
        }
}
