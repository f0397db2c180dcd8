/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sandbox of a test, entered by its process before it opens the plugin.
 *
 * Landlock holds the files: all may be read, only the private folder be written. What cannot be told
 * from the number of a system call alone (where a connection goes, what a file's name is, who starts a
 * process) seccomp sends to the parent, which answers and keeps a list of what was tried: broker.c.
 * Children inherit all of it.
 */
#include "check.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static void limit(int what, rlim_t n)
{
        struct rlimit old;

        if (getrlimit(what, &old) == 0 && old.rlim_max < n)
                n = old.rlim_max;
        setrlimit(what, &(struct rlimit){n, n});
}

static void set_limits(const struct sandbox *s)
{
        limit(RLIMIT_CORE, 0);
        if (s->off) /* what makes a sandbox of its own may want to set its own limits */
                return;
        limit(RLIMIT_CPU, s->cpu_seconds);
        limit(RLIMIT_FSIZE, UINT64_C(1) << 30);
        limit(RLIMIT_NOFILE, 1024);
        if (!*CHECK_SANITIZER) /* which need terabytes */
                limit(RLIMIT_DATA, UINT64_C(2) << 30);
}

/* --- files --- */

#define READS (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITES_1                                                                                   \
        (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                           \
         LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |                           \
         LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | \
         LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)
#define REFER    (UINT64_C(1) << 13) /* since version 2 */
#define TRUNCATE (UINT64_C(1) << 14) /* since version 3 */
#define ON_FILES (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | TRUNCATE)

static void allow(int rules, const char *path, uint64_t what)
{
        int fd = open(path, O_PATH | O_CLOEXEC);
        struct landlock_path_beneath_attr rule = {.allowed_access = what, .parent_fd = fd};

        if (fd >= 0)
                syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
        if (fd >= 0)
                close(fd);
}

static void hold_files(const struct sandbox *s, struct buf *ret_missing)
{
        long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
        uint64_t writes = WRITES_1 | (version >= 2 ? REFER : 0) | (version >= 3 ? TRUNCATE : 0);
        static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/tty"};
        struct landlock_ruleset_attr attr = {.handled_access_fs = READS | writes};
        const json_t *e;
        size_t i;
        int rules;

        rules = version < 1 ? -1 : (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
        if (rules < 0) {
                buf_puts(ret_missing, "this kernel has no Landlock: a write outside of the private folder is "
                                      "refused by its name alone");
                return;
        }
        allow(rules, "/", READS);
        allow(rules, s->folder, READS | writes);
        for (i = 0; i < N_ELEMENTS(devices); i++)
                allow(rules, devices[i], ON_FILES & (READS | writes));
        allow(rules, "/proc/self", ON_FILES & (READS | writes));
        json_array_foreach (s->write, i, e)
                allow(rules, json_string_value(e), READS | writes);
        if (syscall(SYS_landlock_restrict_self, rules, 0) < 0)
                buf_printf(ret_missing, "Landlock could not be set up: %s", strerror(errno));
        close(rules);
}

/* --- system calls --- */

/* Always asked about. */
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

#define ASK(f, call, ...) seccomp_rule_add(f, SCMP_ACT_NOTIFY, SCMP_SYS(call), __VA_ARGS__)

static int add_rules(scmp_filter_ctx f)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < N_ELEMENTS(asked); i++)
                if (asked[i] >= 0)
                        r = seccomp_rule_add(f, SCMP_ACT_NOTIFY, asked[i], 0);
        for (size_t i = 0; r == 0 && i < N_ELEMENTS(refused); i++)
                if (refused[i] >= 0)
                        r = seccomp_rule_add(f, SCMP_ACT_NOTIFY, refused[i], 0);
        /* Opened for writing; a destination with a datagram; children that are no threads. clone3 keeps
         * its flags in memory: the C library falls back to clone. */
        r = r ?: ASK(f, openat, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE, O_WRONLY));
        r = r ?: ASK(f, openat, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE, O_RDWR));
        r = r ?: ASK(f, open, 1, SCMP_A1(SCMP_CMP_MASKED_EQ, O_ACCMODE, O_WRONLY));
        r = r ?: ASK(f, open, 1, SCMP_A1(SCMP_CMP_MASKED_EQ, O_ACCMODE, O_RDWR));
        r = r ?: ASK(f, sendto, 1, SCMP_A4(SCMP_CMP_NE, 0));
        r = r ?: ASK(f, clone, 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
        r = r ?: ASK(f, vfork, 0);
        r = r ?: seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
        r = r ?: seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(io_uring_setup), 0);
        return r;
}

static int hold_calls(int *ret_listener, struct buf *ret_missing)
{
        scmp_filter_ctx f = seccomp_api_get() >= 5 ? seccomp_init(SCMP_ACT_ALLOW) : NULL;
        int r = f ? add_rules(f) : -ENOSYS;

        if (r == 0)
                r = seccomp_load(f);
        *ret_listener = r == 0 ? seccomp_notify_fd(f) : -1;
        if (r < 0)
                buf_printf(ret_missing, "%sseccomp cannot ask the parent here (%s): attempts at the network, at "
                           "other processes and at the system are neither stopped nor reported",
                           ret_missing->n ? "; " : "", strerror(-r));
        /* The context keeps the descriptor: it is not released. */
        return 0;
}

int sandbox_enter(const struct sandbox *s, int *ret_listener, struct buf *ret_missing)
{
        *ret_listener = -1;
        set_limits(s);
        if (s->off) {
                buf_printf(ret_missing, "no sandbox: %s", s->off);
                return 0;
        }
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return error_origin(-errno);
        hold_files(s, ret_missing);
        return error_fold(hold_calls(ret_listener, ret_missing));
}
