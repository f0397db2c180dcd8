/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng-local-init: the first process of a server that cannot have systemd. It starts nothing,
 * takes care of what others leave behind, and ends with all that runs when it is told to.
 *
 * prvng-local-init --hold SITE: holds the namespaces of a site.
 *
 * Needs nothing but the C library, as it runs with the one of the server.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define END_MS 3000
#define STEP_MS 20

static void tell_ready(void)
{
        static const char text[] = "READY=1";
        const char *path = getenv("NOTIFY_SOCKET");
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        if (fd < 0)
                return;
        if (path && strlen(path) < sizeof(a.sun_path)) {
                memcpy(a.sun_path, path, strlen(path) + 1);
                sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&a, sizeof(a));
        }
        close(fd);
}

/* True while there are others than us. */
static bool reap(void)
{
        pid_t pid;

        while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
                ;
        /* As the first process we reach all that is in the server, also what is not our child. */
        return kill(-1, 0) == 0 || (pid < 0 && errno != ECHILD);
}

static void end_all(void)
{
        kill(-1, SIGTERM);
        kill(-1, SIGCONT);
        for (int ms = 0; ms < END_MS && reap(); ms += STEP_MS)
                nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
        kill(-1, SIGKILL);
}

int main(int argc, char **argv)
{
        bool holder = argc == 3 && strcmp(argv[1], "--hold") == 0;
        sigset_t set;
        int signal;

        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGCHLD);
        /* What systemd halts and powers off by. */
        sigaddset(&set, SIGRTMIN + 3);
        sigaddset(&set, SIGRTMIN + 4);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 || (!holder && getpid() != 1))
                return 2;
        if (!holder)
                tell_ready();
        for (;;) {
                if (sigwait(&set, &signal) != 0)
                        continue;
                if (signal == SIGCHLD && !holder)
                        reap();
                else if (signal != SIGCHLD)
                        break;
        }
        if (!holder)
                end_all();
        return 0;
}
