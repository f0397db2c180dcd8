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
#include <sys/stat.h>
#include <time.h>

#define STOP_MS 1700 /* promise 10: within 2 s, whatever plugins do */

struct options {
        const char *config;
        bool on_demand;
        int ready_fd;
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
        "  --version       prints the version\n"
        "  --help          prints this\n"
        "\n"
        "Examples:\n"
        "  prvngd                          as a service, until SIGTERM\n"
        "  prvngd --config ./prvng.conf    another site\n";

/* Exit code, or -1 to go on. */
static int parse(int argc, char **argv, struct options *o)
{
        enum { CONFIG = 1, ON_DEMAND, READY_FD, VERSION, HELP };
        static const struct option table[] = {
                {"config", required_argument, NULL, CONFIG},
                {"on-demand", no_argument, NULL, ON_DEMAND},
                {"ready-fd", required_argument, NULL, READY_FD},
                {"version", no_argument, NULL, VERSION},
                {"help", no_argument, NULL, HELP},
                {0},
        };
        char *end;
        int c;

        while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
                switch (c) {
                case CONFIG:
                        o->config = optarg;
                        break;
                case ON_DEMAND:
                        o->on_demand = true;
                        break;
                case READY_FD:
                        o->ready_fd = (int)strtol(optarg, &end, 10);
                        if (*end || fcntl(o->ready_fd, F_GETFD) < 0) {
                                fprintf(stderr, "prvngd: --ready-fd %s is no open descriptor\n",
                                        optarg);
                                return 2;
                        }
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

static void *signal_thread(void *userdata)
{
        struct timespec patience = {.tv_sec = STOP_MS / 1000,
                                    .tv_nsec = STOP_MS % 1000 * 1000000};
        struct daemon *d = userdata;
        sigset_t set;
        int number;

        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        if (sigwait(&set, &number) != 0)
                return NULL;
        daemon_stop(d);
        nanosleep(&patience, NULL);
        abandon(0);
}

static int serve(const struct options *o, struct context *c, int *ready_fd)
{
        _cleanup_(cleanup_free) char *message = NULL;
        struct daemon *d = NULL;
        pthread_t thread;
        int r;

        r = daemon_new(c, &d, &message);
        if (r == 0) {
                if (pthread_create(&thread, NULL, signal_thread, d) != 0) {
                        daemon_free(d);
                        tell(ready_fd, "no room for another thread");
                        return 7;
                }
                pthread_detach(thread);
                tell(ready_fd, "ok");
                note("ready");
                r = daemon_run(d, o->on_demand ? c->config->idle_s : 0, &message);
        }
        if (r != 0) {
                tell(ready_fd, message ? message : "out of memory");
                note(message ? message : "out of memory");
        } else {
                note("ended");
        }
        if (daemon_free(d))
                abandon(r);
        return r;
}

int main(int argc, char **argv)
{
        struct options o = {.ready_fd = -1};
        struct context c;
        sigset_t set;
        int r;

        r = parse(argc, argv, &o);
        if (r >= 0)
                return r;
        if (o.ready_fd >= 0)
                fcntl(o.ready_fd, F_SETFD, FD_CLOEXEC);
        /* Before any thread, so that only signal_thread ever gets them. */
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        signal(SIGPIPE, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        if (o.on_demand)
                setsid();

        r = context_open(o.config, NULL, &c);
        if (r != 0) {
                tell(&o.ready_fd, "the site's configuration is not usable (see above)");
                return r;
        }
        if (o.on_demand && site_make_folder(c.config->state) < 0)
                note("the folder of the site's state cannot be made");
        if (o.on_demand)
                open_log(c.config);
        r = serve(&o, &c, &o.ready_fd);
        context_close(&c);
        return r;
}
