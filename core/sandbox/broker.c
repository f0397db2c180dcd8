/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parent's half of the sandbox: answers each system call that seccomp asks about, and keeps what
 * was tried in vain.
 *
 * It looks at what stands in the other process's memory, which another thread there may change before
 * the kernel looks again: that is good enough for a report. Files are held by Landlock besides.
 */
#include "sandbox/sandbox.h"

#include "base/util.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>

/* One question. */
struct ask {
        const struct sandbox_broker *b;
        const struct seccomp_notif *n;
        int error;       /* 0: go on; else what the call answers */
        char text[1400]; /* what is reported; "" nothing */
};

static bool peek(const struct ask *a, uint64_t address, void *ret, size_t n)
{
        struct iovec here = {ret, n}, there = {(void *)(uintptr_t)address, n};

        return process_vm_readv((pid_t)a->n->pid, &here, 1, &there, 1, 0) == (ssize_t)n;
}

/* A text ends somewhere in a page or two. */
static bool peek_text(const struct ask *a, uint64_t address, char *ret, size_t size)
{
        size_t n = 0;

        while (n < size) {
                size_t part = MIN(size - n, 256 - (address + n) % 256);

                if (!peek(a, address + n, ret + n, part))
                        return false;
                if (memchr(ret + n, 0, part))
                        return true;
                n += part;
        }
        return false;
}

static int process_of(uint32_t thread)
{
        char path[64], line[128];
        int pid = (int)thread;
        FILE *f;

        snprintf(path, sizeof(path), "/proc/%u/status", thread);
        f = fopen(path, "re");
        while (f && fgets(line, sizeof(line), f))
                if (sscanf(line, "Tgid: %d", &pid) == 1)
                        break;
        if (f)
                fclose(f);
        return pid;
}

/* --- places --- */

/* "/a/./b//../c" becomes "/a/c". */
static void tidy(char *path)
{
        char *out = path;

        for (const char *p = path; *p;) {
                const char *from = p + strspn(p, "/");
                size_t n = strcspn(from, "/");

                if (n == 2 && from[0] == '.' && from[1] == '.') {
                        while (out > path && *--out != '/')
                                ;
                } else if (n && !(n == 1 && from[0] == '.')) {
                        *out++ = '/';
                        memmove(out, from, n);
                        out += n;
                }
                p = from + n;
        }
        if (out == path)
                *out++ = '/';
        *out = 0;
}

static bool is_below(const char *path, const char *folder)
{
        size_t n = strlen(folder);

        while (n > 1 && folder[n - 1] == '/')
                n--;
        return strncmp(path, folder, n) == 0 && (path[n] == '/' || !path[n]);
}

/* The absolute path behind (folder, text); false: it cannot be told. */
static bool place_of(const struct ask *a, int folder, uint64_t address, char ret[4096])
{
        char text[2048], link[64];
        ssize_t n = 0;

        if (!peek_text(a, address, text, sizeof(text)))
                return false;
        if (text[0] != '/') {
                snprintf(link, sizeof(link), folder == AT_FDCWD ? "/proc/%u/cwd" : "/proc/%u/fd/%d",
                         a->n->pid, folder);
                n = readlink(link, ret, 2000);
                if (n < 0)
                        return false;
        }
        snprintf(ret + n, 4096 - (size_t)n, "/%s", text);
        if (!strstr(ret, "/proc/self"))
                tidy(ret);
        return true;
}

static void write_to(struct ask *a, const char *what, int folder, uint64_t address)
{
        static const char *const free_for_all[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/tty",
                                                   "/proc"};
        char path[4096];
        const json_t *e;
        size_t i;

        if (!place_of(a, folder, address, path) || is_below(path, a->b->folder))
                return;
        if (startswith(what, "mkdir") && is_below(a->b->folder, path))
                return; /* it is there: the host makes sure of all folders on the way */
        for (i = 0; i < N_ELEMENTS(free_for_all); i++)
                if (is_below(path, free_for_all[i]))
                        return;
        json_array_foreach (a->b->write, i, e)
                if (is_below(path, json_string_value(e)))
                        return;
        a->error = EACCES;
        snprintf(a->text, sizeof(a->text), "%s %.1000s: only the folders of prvng.host.workdir/1 are a plugin's",
                 what, path);
}

/* --- the network --- */

static bool is_loopback6(const struct sockaddr_in6 *sa)
{
        return IN6_IS_ADDR_LOOPBACK(&sa->sin6_addr) ||
               (IN6_IS_ADDR_V4MAPPED(&sa->sin6_addr) && sa->sin6_addr.s6_addr[12] == 127);
}

static void reach(struct ask *a, const char *what, uint64_t address, uint64_t n, bool binds)
{
        union {
                struct sockaddr any;
                struct sockaddr_in in;
                struct sockaddr_in6 in6;
                struct sockaddr_un un;
        } sa = {0};
        char text[INET6_ADDRSTRLEN] = "";

        if (!address || n < sizeof(sa.any.sa_family) || !peek(a, address, &sa, MIN(n, sizeof(sa))))
                return;
        if (sa.any.sa_family == AF_INET) {
                if ((ntohl(sa.in.sin_addr.s_addr) >> 24) == 127 || (binds && !sa.in.sin_port))
                        return;
                inet_ntop(AF_INET, &sa.in.sin_addr, text, sizeof(text));
        } else if (sa.any.sa_family == AF_INET6) {
                if (is_loopback6(&sa.in6) || (binds && !sa.in6.sin6_port))
                        return;
                inet_ntop(AF_INET6, &sa.in6.sin6_addr, text, sizeof(text));
        } else if (sa.any.sa_family == AF_UNIX && strstr(sa.un.sun_path, "/nscd/")) {
                a->error = ENOENT; /* the C library asks, whatever name is looked up */
                return;
        } else {
                return; /* Landlock and the machine's own rights hold the others */
        }
        a->error = ENETUNREACH;
        snprintf(a->text, sizeof(a->text), "%s %s port %u: only loopback can be reached here", what, text,
                 ntohs(sa.in.sin_port)); /* at the same place in both */
}

static void send_message(struct ask *a)
{
        struct msghdr m;

        if (peek(a, a->n->data.args[1], &m, sizeof(m)) && m.msg_name)
                reach(a, "a datagram to", (uint64_t)(uintptr_t)m.msg_name, m.msg_namelen, false);
}

/* --- processes --- */

static void start_process(struct ask *a, const char *what, bool is_spawn)
{
        int tested = __atomic_load_n(a->b->tested, __ATOMIC_ACQUIRE);

        if (!tested || process_of(a->n->pid) != tested ||
            __atomic_load_n(a->b->may_fork, __ATOMIC_ACQUIRE) > 0 ||
            (is_spawn && __atomic_load_n(a->b->may_spawn, __ATOMIC_ACQUIRE)))
                return;
        a->error = EPERM;
        snprintf(a->text, sizeof(a->text), "%s: children are made by prvng.host.spawn/1 only", what);
}

static void send_signal(struct ask *a, int pid)
{
        int from = process_of(a->n->pid);

        if (pid == from || pid == 0 || from != __atomic_load_n(a->b->tested, __ATOMIC_ACQUIRE) ||
            __atomic_load_n(a->b->may_fork, __ATOMIC_ACQUIRE) > 0 || a->n->data.args[1] == 0 || process_of((uint32_t)pid) == from)
                return;
        a->error = EPERM;
        snprintf(a->text, sizeof(a->text), "signal %d to process %d", (int)a->n->data.args[1], pid);
}

static const char *call_name(int call)
{
        static char text[64];
        char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, call);

        snprintf(text, sizeof(text), "%s", name ? name : "an unknown system call");
        free(name);
        return text;
}

static void judge(struct ask *a)
{
        const struct seccomp_data *d = &a->n->data;
        int at = (int)d->args[0], call = d->nr;

        if (call == SCMP_SYS(connect))
                reach(a, "a connection to", d->args[1], d->args[2], false);
        else if (call == SCMP_SYS(bind))
                reach(a, "bind to", d->args[1], d->args[2], true);
        else if (call == SCMP_SYS(sendto))
                reach(a, "a datagram to", d->args[4], d->args[5], false);
        else if (call == SCMP_SYS(sendmsg) || call == SCMP_SYS(sendmmsg))
                send_message(a);
        else if (call == SCMP_SYS(clone) || call == SCMP_SYS(fork) || call == SCMP_SYS(vfork))
                start_process(a, "starts a process of its own",
                              call == SCMP_SYS(clone) && d->args[0] & CLONE_VFORK && d->args[0] & CLONE_VM);
        else if (call == SCMP_SYS(execve) || call == SCMP_SYS(execveat))
                start_process(a, "replaces its process by another program", false);
        else if (call == SCMP_SYS(kill) || call == SCMP_SYS(tkill) || call == SCMP_SYS(tgkill))
                send_signal(a, at);
        else if (call == SCMP_SYS(openat) || call == SCMP_SYS(openat2))
                write_to(a, "opens for writing", at, d->args[1]);
        else if (call == SCMP_SYS(open) || call == SCMP_SYS(creat) || call == SCMP_SYS(truncate))
                write_to(a, "opens for writing", AT_FDCWD, d->args[0]);
        else if (call == SCMP_SYS(mkdir) || call == SCMP_SYS(rmdir) || call == SCMP_SYS(unlink) ||
                 call == SCMP_SYS(rename) || call == SCMP_SYS(chmod) || call == SCMP_SYS(chown) ||
                 call == SCMP_SYS(lchown) || call == SCMP_SYS(mknod))
                write_to(a, call_name(call), AT_FDCWD, d->args[0]);
        else if (call == SCMP_SYS(link) || call == SCMP_SYS(symlink))
                write_to(a, call_name(call), AT_FDCWD, d->args[1]);
        else if (call == SCMP_SYS(linkat))
                write_to(a, call_name(call), (int)d->args[2], d->args[3]);
        else if (call == SCMP_SYS(symlinkat))
                write_to(a, call_name(call), (int)d->args[1], d->args[2]);
        else if (call == SCMP_SYS(renameat) || call == SCMP_SYS(renameat2)) {
                write_to(a, call_name(call), at, d->args[1]);
                if (!a->error)
                        write_to(a, call_name(call), (int)d->args[2], d->args[3]);
        } else if (call == SCMP_SYS(mkdirat) || call == SCMP_SYS(unlinkat) || call == SCMP_SYS(fchmodat) ||
                   call == SCMP_SYS(fchownat) || call == SCMP_SYS(mknodat)) {
                write_to(a, call_name(call), at, d->args[1]);
        } else {
                a->error = EPERM;
                snprintf(a->text, sizeof(a->text), "the system call %s", call_name(call));
        }
}

void sandbox_answer(const struct sandbox_broker *b)
{
        struct seccomp_notif *n;
        struct seccomp_notif_resp *answer;
        struct ask a = {.b = b};

        if (seccomp_notify_alloc(&n, &answer) < 0)
                return;
        memset(n, 0, sizeof(*n));
        if (seccomp_notify_receive(b->listener, n) == 0) {
                a.n = n;
                judge(&a);
                answer->id = n->id;
                answer->error = -a.error;
                answer->flags = a.error ? 0 : SECCOMP_USER_NOTIF_FLAG_CONTINUE;
                if (seccomp_notify_respond(b->listener, answer) == 0 && a.text[0])
                        b->violation(b->userdata, a.text);
        }
        seccomp_notify_free(n, answer);
}
