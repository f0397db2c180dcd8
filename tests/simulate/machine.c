/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine below the engine: time, chance and waiting. The linker puts these in the place of the C
 * library's functions for everything that is linked statically (--wrap in meson.build); so core/run's
 * loop runs as it is, and where it would sleep, the world goes on instead.
 */
#include "simulate/machine.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>

enum { FAKE_FD = 1000000 }; /* what the fakes below give out instead of descriptors */

static bool woken;
static int64_t timer_at; /* boot-time clock; 0: not set */
static struct epoll_event timer_event;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);
ssize_t __wrap_getrandom(void *bytes, size_t n, unsigned flags);
pid_t __wrap_getpid(void);
int __wrap_gethostname(char *name, size_t n);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_sched_getaffinity(pid_t pid, size_t n, void *cpus);
int __wrap_epoll_create1(int flags);
int __wrap_epoll_ctl(int fd, int op, int other, struct epoll_event *event);
int __wrap_epoll_wait(int fd, struct epoll_event *events, int n, int timeout);
int __wrap_eventfd(unsigned value, int flags);
int __wrap_eventfd_write(int fd, eventfd_t value);
int __wrap_timerfd_create(int clock, int flags);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *when,
                           struct itimerspec *old);
ssize_t __real_read(int fd, void *data, size_t n);
ssize_t __wrap_read(int fd, void *data, size_t n);
int __real_close(int fd);
int __wrap_close(int fd);

void machine_wake(void)
{
        woken = true;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
        int64_t ms = !sim ? 1 : clock == CLOCK_REALTIME ? sim_wall() : sim_boot();

        ts->tv_sec = ms / 1000;
        ts->tv_nsec = ms % 1000 * 1000000;
        return 0;
}

ssize_t __wrap_getrandom(void *bytes, size_t n, unsigned flags)
{
        uint8_t *p = bytes;

        for (size_t i = 0; i < n; i += 8) {
                uint64_t v = sim ? random_next(&sim->machine) : 0x5eed5eed5eed5eedu;

                memcpy(p + i, &v, MIN(n - i, sizeof(v)));
        }
        return (ssize_t)n;
}

pid_t __wrap_getpid(void)
{
        return 4242;
}

int __wrap_gethostname(char *name, size_t n)
{
        snprintf(name, n, "simulated");
        return 0;
}

int __wrap_mkdir(const char *path, mode_t mode)
{
        return 0;
}

/* One processor: nobody starts a thread to read faster. */
int __wrap_sched_getaffinity(pid_t pid, size_t n, void *cpus)
{
        return -1;
}

int __wrap_epoll_create1(int flags)
{
        return FAKE_FD;
}

int __wrap_epoll_ctl(int fd, int op, int other, struct epoll_event *event)
{
        if (other == FAKE_FD + 2)
                timer_event = *event;
        return 0;
}

int __wrap_eventfd(unsigned value, int flags)
{
        woken = false;
        return FAKE_FD + 1;
}

int __wrap_eventfd_write(int fd, eventfd_t value)
{
        woken = true;
        return 0;
}

int __wrap_timerfd_create(int clock, int flags)
{
        timer_at = 0;
        return FAKE_FD + 2;
}

int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *when,
                           struct itimerspec *old)
{
        timer_at = when->it_value.tv_sec * 1000 + when->it_value.tv_nsec / 1000000;
        return 0;
}

ssize_t __wrap_read(int fd, void *data, size_t n)
{
        if (fd < FAKE_FD)
                return __real_read(fd, data, n);
        errno = EAGAIN;
        return -1;
}

int __wrap_close(int fd)
{
        return fd < FAKE_FD ? __real_close(fd) : 0;
}

/* The engine has nothing to do: the world goes on until something happens to it. */
int __wrap_epoll_wait(int fd, struct epoll_event *events, int n, int timeout)
{
        int64_t until = timer_at ? timer_at + sim->boot_at : INT64_MAX;

        if (until <= sim->now && random_chance(&sim->random, 300)) /* a busy machine wakes it late */
                until = sim->now + random_between(&sim->random, 1, 3000);
        while (!woken && sim->now < until && !*sim->failure)
                world_step(until);
        woken = false;
        sim->n_steps++; /* the time, as an input */
        if (sim->now < until)
                return 0;
        timer_at = 0; /* it fires once */
        events[0] = timer_event;
        return 1;
}

/* Logs for people are no part of the engine's promises. */
void run_trace_id(const struct uid *run, char ret_text[33])
{
        hex_text(run->bytes, 16, ret_text);
        ret_text[32] = 0;
}

struct run_log *run_log_open(const struct config *config, const struct run *run)
{
        return NULL;
}

struct run_log *run_log_close(struct run_log *l)
{
        return NULL;
}

void run_log_record(struct run_log *l, const struct run *run, const struct record *r)
{
}

void run_log_flush(struct run_log *l)
{
}
