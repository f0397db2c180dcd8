/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which system calls a plugin's process may make: all that are not listed here.
 *
 * A list of what is refused, not of what is allowed: what the libraries and language run times of plugins
 * need is not ours to know, and changes with each of their releases. What names a file is held by Landlock;
 * here is what reaches other processes, the network, and the system as a whole.
 */
#include "sandbox/inside.h"

#include "base/util.h"

#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>

/* Always asked about, where somebody answers. */
static const int asked[] = {
        SCMP_SYS(connect),   SCMP_SYS(bind),      SCMP_SYS(sendmsg),   SCMP_SYS(sendmmsg),
        SCMP_SYS(execve),    SCMP_SYS(execveat),  SCMP_SYS(fork),      SCMP_SYS(creat),
        SCMP_SYS(openat2),   SCMP_SYS(mkdir),     SCMP_SYS(mkdirat),   SCMP_SYS(rmdir),
        SCMP_SYS(unlink),    SCMP_SYS(unlinkat),  SCMP_SYS(rename),    SCMP_SYS(renameat),
        SCMP_SYS(renameat2), SCMP_SYS(link),      SCMP_SYS(linkat),    SCMP_SYS(symlink),
        SCMP_SYS(symlinkat), SCMP_SYS(truncate),  SCMP_SYS(chmod),     SCMP_SYS(fchmodat),
        SCMP_SYS(chown),     SCMP_SYS(lchown),    SCMP_SYS(fchownat),  SCMP_SYS(kill),
        SCMP_SYS(tgkill),    SCMP_SYS(tkill),     SCMP_SYS(mknod),     SCMP_SYS(mknodat),
};

/* Nothing of a plugin's business, whatever the arguments. */
static const int refused[] = {
        SCMP_SYS(ptrace),        SCMP_SYS(mount),          SCMP_SYS(umount2),
        SCMP_SYS(move_mount),    SCMP_SYS(open_tree),      SCMP_SYS(fsopen),
        SCMP_SYS(pivot_root),    SCMP_SYS(chroot),         SCMP_SYS(reboot),
        SCMP_SYS(kexec_load),    SCMP_SYS(init_module),    SCMP_SYS(finit_module),
        SCMP_SYS(delete_module), SCMP_SYS(bpf),            SCMP_SYS(perf_event_open),
        SCMP_SYS(setns),         SCMP_SYS(swapon),         SCMP_SYS(swapoff),
        SCMP_SYS(sethostname),   SCMP_SYS(setdomainname),  SCMP_SYS(settimeofday),
        SCMP_SYS(clock_settime), SCMP_SYS(adjtimex),       SCMP_SYS(clock_adjtime),
        SCMP_SYS(setuid),        SCMP_SYS(setgid),         SCMP_SYS(setresuid),
        SCMP_SYS(setresgid),     SCMP_SYS(setgroups),      SCMP_SYS(add_key),
        SCMP_SYS(request_key),   SCMP_SYS(keyctl),         SCMP_SYS(acct),
        SCMP_SYS(quotactl),      SCMP_SYS(syslog),         SCMP_SYS(process_vm_writev),
};

/* Besides, where nobody is asked: other processes, what processes share by number or name alone, and ways
 * round a filter of names or calls. */
static const int refused_alone[] = {
        SCMP_SYS(process_vm_readv), SCMP_SYS(pidfd_getfd),
        SCMP_SYS(pidfd_send_signal), SCMP_SYS(kcmp),          SCMP_SYS(process_madvise),
        SCMP_SYS(process_mrelease), SCMP_SYS(migrate_pages),  SCMP_SYS(move_pages),
        SCMP_SYS(tkill),            SCMP_SYS(rt_sigqueueinfo), SCMP_SYS(setpriority),
        SCMP_SYS(ioprio_set),       SCMP_SYS(unshare),        SCMP_SYS(mount_setattr),
        SCMP_SYS(fsconfig),         SCMP_SYS(fsmount),        SCMP_SYS(fspick),
        SCMP_SYS(open_by_handle_at), SCMP_SYS(name_to_handle_at), SCMP_SYS(userfaultfd),
        SCMP_SYS(kexec_file_load),  SCMP_SYS(vhangup),        SCMP_SYS(mknod),
        SCMP_SYS(mknodat),          SCMP_SYS(fanotify_init),  SCMP_SYS(setfsuid),
        SCMP_SYS(setfsgid),         SCMP_SYS(setreuid),       SCMP_SYS(setregid),
        SCMP_SYS(shmget),           SCMP_SYS(shmat),          SCMP_SYS(msgget),
        SCMP_SYS(semget),           SCMP_SYS(mq_open),        SCMP_SYS(quotactl_fd),
};

/* Calls whose first argument is a process: 0, itself, only. */
static const int own_only[] = {
        SCMP_SYS(prlimit64),       SCMP_SYS(sched_setaffinity), SCMP_SYS(sched_setscheduler),
        SCMP_SYS(sched_setparam),  SCMP_SYS(sched_setattr),
};

static int add_all(scmp_filter_ctx f, uint32_t action, const int *calls, size_t n)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < n; i++)
                if (calls[i] >= 0) /* this machine has it */
                        r = seccomp_rule_add(f, action, calls[i], 0);
        return r;
}

#define ASK(f, call, ...) seccomp_rule_add(f, SCMP_ACT_NOTIFY, SCMP_SYS(call), __VA_ARGS__)

static int add_asked(scmp_filter_ctx f)
{
        int r = add_all(f, SCMP_ACT_NOTIFY, asked, N_ELEMENTS(asked));

        r = r ?: add_all(f, SCMP_ACT_NOTIFY, refused, N_ELEMENTS(refused));
        /* Opened for writing; a destination with a datagram; children that are no threads. */
        r = r ?: ASK(f, openat, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE, O_WRONLY));
        r = r ?: ASK(f, openat, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE, O_RDWR));
        r = r ?: ASK(f, open, 1, SCMP_A1(SCMP_CMP_MASKED_EQ, O_ACCMODE, O_WRONLY));
        r = r ?: ASK(f, open, 1, SCMP_A1(SCMP_CMP_MASKED_EQ, O_ACCMODE, O_RDWR));
        r = r ?: ASK(f, sendto, 1, SCMP_A4(SCMP_CMP_NE, 0));
        r = r ?: ASK(f, clone, 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
        return r ?: ASK(f, vfork, 0);
}

#define DENY(f, e, call, ...) seccomp_rule_add(f, SCMP_ACT_ERRNO(e), SCMP_SYS(call), __VA_ARGS__)

/* The engine may be of the same user: its process must not be reached by number. */
static int add_own(scmp_filter_ctx f)
{
        unsigned int own = (unsigned int)getpid();
        int r = DENY(f, EPERM, kill, 1, SCMP_A0_32(SCMP_CMP_NE, own));

        r = r ?: DENY(f, EPERM, tgkill, 1, SCMP_A0_32(SCMP_CMP_NE, own));
        r = r ?: DENY(f, EPERM, rt_tgsigqueueinfo, 1, SCMP_A0_32(SCMP_CMP_NE, own));
        for (size_t i = 0; r == 0 && i < N_ELEMENTS(own_only); i++)
                r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), own_only[i], 1, SCMP_A0_32(SCMP_CMP_NE, 0));
        return r;
}

static int add_refused(scmp_filter_ctx f, uint32_t flags)
{
        int r = add_all(f, SCMP_ACT_ERRNO(EPERM), refused, N_ELEMENTS(refused));

        r = r ?: add_all(f, SCMP_ACT_ERRNO(EPERM), refused_alone, N_ELEMENTS(refused_alone));
        r = r ?: DENY(f, EPERM, ioctl, 1, SCMP_A1_32(SCMP_CMP_EQ, TIOCSTI));
        if (!(flags & SANDBOX_SOCKETS))
                r = r ?: DENY(f, EACCES, socket, 0);
        if (flags & SANDBOX_PROGRAMS) /* children have numbers of their own: they send signals to each other */
                return r;
        r = r ?: add_own(f);
        r = r ?: DENY(f, EPERM, execve, 0);
        r = r ?: DENY(f, EPERM, execveat, 0);
        r = r ?: DENY(f, EPERM, fork, 0);
        r = r ?: DENY(f, EPERM, vfork, 0);
        return r ?: DENY(f, EPERM, clone, 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
}

static int make_filter(const struct sandbox *s, scmp_filter_ctx f)
{
        int r = s->flags & SANDBOX_ASKS ? add_asked(f) : add_refused(f, s->flags);

        /* clone3 keeps its flags in memory: the C library falls back to clone. io_uring makes calls that no
         * filter sees. */
        r = r ?: seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
        return r ?: seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(io_uring_setup), 0);
}

int sandbox_hold_calls(const struct sandbox *s, int *ret_listener, struct buf *ret_missing)
{
        bool asks = s->flags & SANDBOX_ASKS;
        scmp_filter_ctx f = seccomp_api_get() >= (asks ? 5U : 1U) ? seccomp_init(SCMP_ACT_ALLOW) : NULL;
        int r = f ? make_filter(s, f) : 0;

        if (r < 0) {
                seccomp_release(f);
                return error_origin(r);
        }
        r = f ? seccomp_load(f) : -ENOSYS;
        *ret_listener = r == 0 && asks ? seccomp_notify_fd(f) : -1;
        if (r < 0 && asks)
                sandbox_miss(ret_missing, "seccomp cannot ask the parent here (%s): attempts at the network, at "
                             "other processes and at the system are neither stopped nor reported", strerror(-r));
        else if (r < 0)
                sandbox_miss(ret_missing, "this kernel has no seccomp filters (%s): connections, programs and "
                             "other processes are not kept from it", strerror(-r));
        if (*ret_listener < 0 && f)
                seccomp_release(f); /* else it keeps the descriptor */
        return 0;
}
