/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvngd: the engine as a process.
 *
 * Exit codes (design.md §6): 0 stopped or idle, 2 wrong usage, 3 configuration not valid, 7 not usable
 * (store in use, damaged, full).
 */
#include "daemon.h"

#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define STOP_MS 1700 /* promise 10: within 2 s, whatever plugins do */

struct options {
        const char *config;
        bool on_demand, check;
        int ready_fd, reload_fd;
        char *program; /* path to start it again */
};

struct service {
        struct options *options;
        struct daemon *daemon;
        bool reload; /* atomic: it ends to be started again */
        bool left;   /* a call did not come back: what it may use is not released */
};

static const char help[] =
        "Usage: prvngd [--config FILE] [--on-demand] [--ready-fd N]\n"
        "\n"
        "Runs the engine of a site: takes its store, goes on with every run in flight and serves\n"
        "the HTTP API on the site's unix socket. The command prvng starts it when it needs one.\n"
        "\n"
        "  --config FILE   site configuration (default: /etc/prvng/prvng.conf, or that of the user)\n"
        "  --on-demand     own session, log to STATE/prvngd.log, ends when idle (idle_timeout)\n"
        "  --ready-fd N    writes \"ok\", or why not, to this descriptor once it is known\n"
        "  --check         says whether the configuration is valid, and ends\n"
        "  --version       prints the version\n"
        "  --help          prints this\n"
        "\n"
        "SIGHUP: reads configuration and plugins anew, once the calls under way have come back.\n"
        "\n"
        "Examples:\n"
        "  prvngd                          as a service, until SIGTERM\n"
        "  prvngd --config ./prvng.conf    another site\n";

/* Exit code, or -1 to go on. */
static int parse(int argc, char **argv, struct options *o)
{
        enum { CONFIG = 1, ON_DEMAND, READY_FD, RELOAD_FD, CHECK, VERSION, HELP };
        static const struct option table[] = {
                {"config", required_argument, NULL, CONFIG},
                {"on-demand", no_argument, NULL, ON_DEMAND},
                {"ready-fd", required_argument, NULL, READY_FD},
                {"reload-fd", required_argument, NULL, RELOAD_FD}, /* our own, see start_again */
                {"check", no_argument, NULL, CHECK},
                {"version", no_argument, NULL, VERSION},
                {"help", no_argument, NULL, HELP},
                {0},
        };
        char *end;
        int c, fd;

        while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
                switch (c) {
                case CONFIG:
                        o->config = optarg;
                        break;
                case ON_DEMAND:
                        o->on_demand = true;
                        break;
                case READY_FD:
                case RELOAD_FD:
                        fd = (int)strtol(optarg, &end, 10);
                        if (*end || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
                                fprintf(stderr, "prvngd: %s is no open descriptor\n", optarg);
                                return 2;
                        }
                        *(c == READY_FD ? &o->ready_fd : &o->reload_fd) = fd;
                        break;
                case CHECK:
                        o->check = true;
                        break;
                case VERSION:
                        puts("prvngd " PRVNG_VERSION);
                        return 0;
                case HELP:
                        fputs(help, stdout);
                        return 0;
                default:
                        fputs("Try: prvngd --help\n", stderr);
                        return 2;
                }
        }
        if (optind < argc) {
                fprintf(stderr, "prvngd: unexpected argument %s\nTry: prvngd --help\n", argv[optind]);
                return 2;
        }
        return -1;
}

static void note(const char *message)
{
        time_t now = time(NULL);
        struct tm tm;
        char at[32];

        gmtime_r(&now, &tm);
        strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%SZ", &tm);
        fprintf(stderr, "%s prvngd[%d]: %s\n", at, (int)getpid(), message);
}

static void tell(int *fd, const char *message)
{
        if (*fd < 0)
                return;
        if (dprintf(*fd, "%s\n", message) < 0)
                note("nobody waits at --ready-fd any more");
        close(*fd);
        *fd = -1;
}

/* Errors of the configuration must reach who started us: they go to stderr before it is the log. */
static void open_log(const struct config *config)
{
        _cleanup_(cleanup_free) char *path = NULL;
        int fd;

        if (asprintf(&path, "%s/prvngd.log", config->state) < 0)
                return;
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (fd < 0)
                return;
        dup2(fd, STDERR_FILENO);
        dup2(fd, STDOUT_FILENO);
        close(fd);
        fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
                dup2(fd, STDIN_FILENO);
                close(fd);
        }
}

/* A call that does not come back must not keep us; what it did is observed at the next start. */
_Noreturn static void abandon(int code)
{
        note("a plugin did not return in time; ended without it");
        _exit(code);
}

/* The program that is installed now, under the name of the one that runs. */
static char *own_path(void)
{
        char path[4096];
        ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
        char *replaced;

        if (n <= 0)
                return NULL;
        path[n] = '\0';
        replaced = strstr(path, " (deleted)");
        if (replaced && replaced[strlen(" (deleted)")] == '\0')
                *replaced = '\0';
        return strdup(path);
}

/* What would keep an engine from starting, as far as it can be told without running plugins. */
static int check(const char *config)
{
        _cleanup_(cleanup_free) char *message = NULL;
        struct context c;
        int r = context_open(config, "", &c);

        if (r)
                return r;
        r = context_check_critical(&c, &message) ? 3 : 0;
        if (r)
                note(message ? message : "out of memory");
        context_close(&c);
        return r;
}

/* libconfig is for one thread only, and that one is at work: a child looks. */
static bool configuration_is_valid(const struct options *o)
{
        const char *argv[] = {"prvngd", "--check", o->config ? "--config" : NULL, o->config, NULL};
        int status = -1;
        pid_t pid;

        if (!o->program || posix_spawn(&pid, o->program, NULL, NULL, (char *const *)(uintptr_t)argv,
                                       environ) != 0)
                return false;
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void *signal_thread(void *userdata)
{
        struct timespec patience = {.tv_sec = STOP_MS / 1000,
                                    .tv_nsec = STOP_MS % 1000 * 1000000};
        struct service *s = userdata;
        sigset_t set;
        int number;

        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGHUP);
        while (sigwait(&set, &number) == 0 && number == SIGHUP) {
                if (!configuration_is_valid(s->options)) {
                        note("SIGHUP: the new configuration is not valid (see above); goes on with the "
                             "one it has");
                        continue;
                }
                note("SIGHUP: starts again with the new configuration when the calls under way are back");
                __atomic_store_n(&s->reload, true, __ATOMIC_RELEASE);
                daemon_drain(s->daemon);
        }
        if (number == SIGHUP)
                return NULL;
        __atomic_store_n(&s->reload, false, __ATOMIC_RELEASE);
        daemon_stop(s->daemon);
        nanosleep(&patience, NULL);
        abandon(0);
}

/*
 * While an engine starts itself again nobody holds the site's store for a moment, and a command that misses
 * the engine would start another one. This file is locked meanwhile: engines that start wait for it.
 */
static int open_reload(const struct config *config, int operation)
{
        _cleanup_(cleanup_free) char *path = NULL;
        int fd;

        if (asprintf(&path, "%s/reload.lock", config->state) < 0)
                return -1;
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        while (fd >= 0 && flock(fd, operation) < 0)
                if (errno != EINTR)
                        return close(fd), -1;
        return fd;
}

static void close_reload(int *fd)
{
        if (*fd >= 0)
                close(*fd);
        *fd = -1;
}

static int serve(struct service *s, struct context *c)
{
        _cleanup_(cleanup_free) char *message = NULL;
        int *ready_fd = &s->options->ready_fd;
        struct daemon *d = NULL;
        pthread_t thread;
        int r;

        if (s->options->reload_fd < 0)
                s->options->reload_fd = open_reload(c->config, LOCK_SH);
        r = daemon_new(c, &d, &message);
        close_reload(&s->options->reload_fd);
        s->daemon = d;
        if (r == 0) {
                if (pthread_create(&thread, NULL, signal_thread, s) != 0) {
                        daemon_free(d);
                        tell(ready_fd, "no room for another thread");
                        return 7;
                }
                pthread_detach(thread);
                tell(ready_fd, "ok");
                note("ready");
                r = daemon_run(d, s->options->on_demand ? c->config->idle_s : 0, &message);
        }
        if (r != 0) {
                tell(ready_fd, message ? message : "out of memory");
                note(message ? message : "out of memory");
        } else {
                note("ended");
        }
        s->reload &= r == 0;
        if (s->reload)
                s->options->reload_fd = open_reload(c->config, LOCK_EX);
        /* A call that does not come back is no obstacle to starting again: that ends it. */
        s->left = daemon_free(d) != NULL;
        if (s->left && !s->reload)
                abandon(r);
        return r;
}

/* The same process goes on as a new program: a service keeps its pid. */
static void start_again(const struct options *o)
{
        const char *argv[7] = {"prvngd"};
        char fd[16];
        size_t n = 1;

        if (o->config) {
                argv[n++] = "--config";
                argv[n++] = o->config;
        }
        if (o->on_demand)
                argv[n++] = "--on-demand";
        if (o->reload_fd >= 0 && fcntl(o->reload_fd, F_SETFD, 0) == 0) {
                snprintf(fd, sizeof(fd), "%d", o->reload_fd);
                argv[n++] = "--reload-fd";
                argv[n++] = fd;
        }
        execv(o->program, (char *const *)(uintptr_t)argv);
        note("cannot start again; the next engine goes on");
}

int main(int argc, char **argv)
{
        struct options o = {.ready_fd = -1, .reload_fd = -1};
        struct service s = {.options = &o};
        struct context c;
        sigset_t set;
        int r;

        r = parse(argc, argv, &o);
        if (r >= 0)
                return r;
        o.program = own_path();
        /* Before any thread, so that only signal_thread ever gets them. */
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGHUP);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        signal(SIGPIPE, SIG_IGN);
        if (o.on_demand)
                setsid();

        if (o.check)
                return check(o.config);
        r = context_open(o.config, NULL, &c);
        if (r != 0) {
                tell(&o.ready_fd, "the site's configuration is not usable (see above)");
                return r;
        }
        if (o.on_demand && site_make_folder(c.config->state) < 0)
                note("the folder of the site's state cannot be made");
        if (o.on_demand)
                open_log(c.config);
        r = serve(&s, &c);
        if (!s.left)
                context_close(&c);
        if (s.reload)
                start_again(&o);
        free(o.program);
        return r;
}
