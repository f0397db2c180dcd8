/* SPDX-License-Identifier: Apache-2.0 */
/* What a plugin may have changed in the process that is not its own. */
#include "inside.h"

#include <dirent.h>
#include <fcntl.h>
#include <locale.h>
#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>

extern char **environ;

enum { FDS = 1024, SIGNALS = 64 };

struct trace {
        struct check *check;
        char *fds[FDS]; /* what each is; NULL: closed */
        unsigned int threads;
        unsigned int children;
        struct buf environment;
        struct sigaction actions[SIGNALS + 1];
        sigset_t blocked;
        char *locale;
        char cwd[512];
        mode_t mask;
        struct itimerval timer;
        int priority;
        size_t printed; /* bytes on stdout, if that is a file */
};

static unsigned int count_entries(const char *path)
{
        DIR *d = opendir(path);
        unsigned int n = 0;

        for (const struct dirent *e; d && (e = readdir(d));)
                n += e->d_name[0] != '.';
        if (d)
                closedir(d);
        return n;
}

static unsigned int count_children(void)
{
        char path[64], text[4096];
        unsigned int n = 0;
        FILE *f;

        snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
        f = fopen(path, "re");
        if (f) {
                text[fread(text, 1, sizeof(text) - 1, f)] = 0;
                for (const char *p = text; *p; p++)
                        n += *p == ' ';
                fclose(f);
        }
        return n;
}

static void take_fds(struct trace *t)
{
        DIR *d = opendir("/proc/self/fd");

        for (const struct dirent *e; d && (e = readdir(d));) {
                char path[64], link[256];
                int fd = atoi(e->d_name);
                ssize_t n;

                if (e->d_name[0] == '.' || fd >= FDS || fd == dirfd(d))
                        continue;
                snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
                n = readlink(path, link, sizeof(link) - 1);
                link[MAX(n, (ssize_t)0)] = 0;
                t->fds[fd] = strdup(link);
        }
        if (d)
                closedir(d);
}

struct trace *trace_take(struct check *c)
{
        struct trace *t = calloc(1, sizeof(*t));

        if (!t)
                check_stop(c, "no memory");
        t->check = c;
        for (char **e = environ; e && *e; e++)
                buf_printf(&t->environment, "%s\n", *e);
        for (int i = 1; i <= SIGNALS; i++)
                sigaction(i, NULL, &t->actions[i]);
        pthread_sigmask(SIG_BLOCK, NULL, &t->blocked);
        t->locale = strdup(setlocale(LC_ALL, NULL));
        if (!getcwd(t->cwd, sizeof(t->cwd)))
                t->cwd[0] = 0;
        t->mask = umask(0);
        umask(t->mask);
        getitimer(ITIMER_REAL, &t->timer);
        t->priority = getpriority(PRIO_PROCESS, 0);
        t->threads = count_entries("/proc/self/task");
        t->children = count_children();
        take_fds(t);
        return t;
}

/* What a run time brings, once, and keeps: Go's takes signals, starts threads and waits for them with epoll.
 * Such a plugin has a process of its own, where none of it is in anybody's way. */
static bool is_run_time(const struct check *c, const char *link)
{
        return c->is_foreign && (streq(link, "anon_inode:[eventpoll]") || streq(link, "anon_inode:[eventfd]"));
}

static void compare_fds(const struct trace *a, const struct trace *b, const char *what)
{
        for (int fd = 0; fd < FDS; fd++) {
                if (a->fds[fd] && !b->fds[fd])
                        check_fail(a->check, "after %s file descriptor %d (%s) is closed: it was not the plugin's",
                                   what, fd, a->fds[fd]);
                else if (!a->fds[fd] && b->fds[fd] && is_run_time(a->check, b->fds[fd]))
                        check_remark(a->check, "keeps file descriptor %d (%s)", fd, b->fds[fd]);
                else if (!a->fds[fd] && b->fds[fd])
                        check_fail(a->check, "after %s file descriptor %d (%s) is left open", what, fd, b->fds[fd]);
                else if (a->fds[fd] && !streq(a->fds[fd], b->fds[fd]))
                        check_fail(a->check, "after %s file descriptor %d is %s, it was %s", what, fd, b->fds[fd],
                                   a->fds[fd]);
        }
}

static void compare_signals(const struct trace *a, const struct trace *b, const char *what)
{
        unsigned int n_taken = 0;

        for (int i = 1; i <= SIGNALS; i++) {
                bool is_taken = a->actions[i].sa_handler != b->actions[i].sa_handler;

                n_taken += is_taken;
                if (is_taken && !a->check->is_foreign)
                        check_fail(a->check, "after %s signal %d (%s) is handled otherwise", what, i, strsignal(i));
                if (sigismember(&a->blocked, i) != sigismember(&b->blocked, i))
                        check_fail(a->check, "after %s signal %d (%s) is %s", what, i, strsignal(i),
                                   sigismember(&b->blocked, i) > 0 ? "blocked" : "no longer blocked");
        }
        if (n_taken && a->check->is_foreign)
                check_remark(a->check, "handles %u signals: it runs in a process of its own", n_taken);
}

static void trace_free(struct trace *t)
{
        for (int i = 0; i < FDS; i++)
                free(t->fds[i]);
        buf_deinit(&t->environment);
        free(t->locale);
        free(t);
}

void trace_compare(struct check *c, struct trace *a, const char *what)
{
        struct trace *b = trace_take(c);

        /* A thread that was joined may be a moment yet in the kernel's list. */
        for (int i = 0; i < 200 && b->threads > a->threads && !c->is_foreign; i++) {
                check_sleep_ms(5);
                b->threads = count_entries("/proc/self/task");
        }
        compare_fds(a, b, what);
        compare_signals(a, b, what);
        if (a->threads != b->threads && c->is_foreign)
                check_remark(c, "runs %u threads: it runs in a process of its own", b->threads - a->threads);
        else if (a->threads != b->threads)
                check_fail(c, "after %s there are %u threads, there were %u", what, b->threads, a->threads);
        if (a->children != b->children)
                check_fail(c, "after %s there are %u child processes, there were %u", what, b->children,
                           a->children);
        if (!streq(buf_str(&a->environment), buf_str(&b->environment)))
                check_fail(c, "after %s the environment is another", what);
        if (!streq(a->locale, b->locale))
                check_fail(c, "after %s the locale is %s, it was %s", what, b->locale, a->locale);
        if (!streq(a->cwd, b->cwd))
                check_fail(c, "after %s the working folder is %s, it was %s", what, b->cwd, a->cwd);
        if (a->mask != b->mask)
                check_fail(c, "after %s the umask is %03o, it was %03o", what, b->mask, a->mask);
        if (a->timer.it_value.tv_sec != b->timer.it_value.tv_sec)
                check_fail(c, "after %s an interval timer runs", what);
        if (a->priority != b->priority)
                check_fail(c, "after %s the priority is %d, it was %d", what, b->priority, a->priority);
        trace_free(a);
        trace_free(b);
}

size_t trace_memory(void)
{
        return *CHECK_SANITIZER ? 0 : mallinfo2().uordblks + mallinfo2().hblkhd;
}

/* --- memory --- */

enum { PIECE = 1 << 20 };

static int64_t count_in(const char *data, size_t n_data, const void *bytes, size_t n)
{
        int64_t count = 0;

        for (const char *p = data; (p = memmem(p, n_data - (size_t)(p - data), bytes, n)); p++)
                count++;
        return count;
}

/* Piece by piece; a piece overlaps the one before, so that nothing falls between them. What they are read into
 * is a shared mapping, and left out. Sanitizers keep more memory than could be read. */
int64_t memory_count(const void *bytes, size_t n)
{
        int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
        FILE *maps = fopen("/proc/self/maps", "re");
        char *piece = mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), line[512];
        unsigned long from, to;
        int64_t count = *CHECK_SANITIZER || memory < 0 || !maps || piece == MAP_FAILED ? -1 : 0;

        while (count >= 0 && fgets(line, sizeof(line), maps)) {
                if (sscanf(line, "%lx-%lx", &from, &to) != 2 || !strstr(line, " rw-p"))
                        continue;
                for (unsigned long at = from; at < to; at += PIECE - n) {
                        ssize_t got = pread(memory, piece, MIN(to - at, (unsigned long)PIECE), (off_t)at);

                        if (got > 0)
                                count += count_in(piece, (size_t)got, bytes, n);
                }
        }
        if (piece != MAP_FAILED)
                munmap(piece, PIECE);
        if (maps)
                fclose(maps);
        if (memory >= 0)
                close(memory);
        return count;
}
