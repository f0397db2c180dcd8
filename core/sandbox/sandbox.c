/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sandbox of a plugin, entered by its process before it opens the plugin: limits, user, files. Files
 * are Landlock's business, which knows them by where they are, not by their names; system calls: calls.c.
 */
#include "sandbox/inside.h"

#include "base/util.h"

#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1 /* they need terabytes */
#else
#define IS_SANITIZED 0
#endif

void sandbox_miss(struct buf *missing, const char *format, ...)
{
        char text[400];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        buf_printf(missing, "%s%s", missing->n ? "; " : "", text);
}

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
        if (s->cpu_seconds)
                limit(RLIMIT_CPU, s->cpu_seconds);
        if (s->file_bytes)
                limit(RLIMIT_FSIZE, s->file_bytes);
        if (s->n_files)
                limit(RLIMIT_NOFILE, s->n_files);
        if (s->data_bytes && !IS_SANITIZED)
                limit(RLIMIT_DATA, s->data_bytes);
}

/* --- the user --- */

/* Root without capabilities is an ordinary user who owns the system's files. */
static int drop_capabilities(void)
{
        struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct none[2] = {{0}};

        for (int c = 0; prctl(PR_CAPBSET_READ, c, 0, 0, 0) >= 0; c++)
                prctl(PR_CAPBSET_DROP, c, 0, 0, 0); /* fails where it is not in it */
        return syscall(SYS_capset, &head, none) < 0 ? error_origin(-errno) : 0;
}

static int become_user(const struct sandbox *s)
{
        int end_with_parent = 0;

        prctl(PR_GET_PDEATHSIG, &end_with_parent, 0, 0, 0);
        if (s->uid && geteuid() == 0 &&
            (setgroups(0, NULL) < 0 || setresgid(s->gid, s->gid, s->gid) < 0 ||
             setresuid(s->uid, s->uid, s->uid) < 0))
                return error_origin(-errno);
        if (s->flags & SANDBOX_ASKS)
                return 0;
        /* Nobody of the same user looks into it. */
        if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
            prctl(PR_SET_PDEATHSIG, end_with_parent, 0, 0, 0) < 0) /* another user forgets it */
                return error_origin(-errno);
        return error_fold(drop_capabilities());
}

/* --- files --- */

#define READS (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITES_1                                                                                   \
        (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                           \
         LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |                           \
         LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | \
         LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)
#define REFER     (UINT64_C(1) << 13) /* since version 2 */
#define TRUNCATE  (UINT64_C(1) << 14) /* since version 3 */
#define IOCTL_DEV (UINT64_C(1) << 15) /* since version 5 */
#define ON_FILES                                                                                   \
        (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | TRUNCATE)

/* struct landlock_ruleset_attr of version 6, which not every linux/landlock.h knows. */
struct rules {
        uint64_t files, net, scopes;
};
#define NET_BIND_AND_CONNECT 3U /* TCP; since version 4 */
#define SCOPE_ALL            3U /* abstract sockets and signals; since version 6 */

static long landlock_version(void)
{
        return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

/* What is not there needs no rule. */
static void allow(int rules, const char *path, uint64_t what)
{
        _cleanup_(cleanup_close) int fd = open(path, O_PATH | O_CLOEXEC);
        struct landlock_path_beneath_attr rule = {.allowed_access = what, .parent_fd = fd};
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return;
        if (!S_ISDIR(st.st_mode))
                rule.allowed_access &= ON_FILES;
        syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

static void allow_each(int rules, const json_t *paths, uint64_t what)
{
        const json_t *e;
        size_t i;

        json_array_foreach (paths, i, e)
                allow(rules, json_string_value(e), what);
}

static void allow_pattern(int rules, const char *pattern)
{
        glob_t found = {0};

        if (glob(pattern, 0, NULL, &found) == 0)
                for (size_t i = 0; i < found.gl_pathc; i++)
                        allow(rules, found.gl_pathv[i], READS);
        globfree(&found);
}

/* What programs, the C library and language run times read in order to run at all. No secret is among it. */
static const char *const readable[] = {
        "/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/ld.so.conf",
        "/etc/ld.so.conf.d", "/etc/ld.so.preload", "/etc/localtime", "/etc/timezone", "/etc/nsswitch.conf",
        "/etc/passwd", "/etc/group", "/etc/hosts", "/etc/host.conf", "/etc/resolv.conf", "/etc/gai.conf",
        "/etc/services", "/etc/protocols", "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/ca-certificates",
        "/etc/pki/tls/certs", "/etc/mime.types", "/etc/os-release", "/etc/alternatives", "/dev/urandom",
        "/dev/random", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version", "/proc/sys/kernel",
        "/proc/sys/vm", "/sys/devices/system/cpu", "/sys/kernel/mm/transparent_hugepage", "/sys/fs/cgroup",
};

static void add_paths(const struct sandbox *s, int rules, uint64_t writes)
{
        static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/tty"};
        uint64_t all = READS | writes;

        if (!s->read)
                allow(rules, "/", READS);
        for (size_t i = 0; s->read && i < N_ELEMENTS(readable); i++)
                allow(rules, readable[i], READS);
        if (s->read && s->flags & SANDBOX_PROGRAMS) {
                allow(rules, "/proc", READS); /* its children are there under numbers to come */
                allow_pattern(rules, "/etc/python3*");
                allow_pattern(rules, "/etc/perl*");
        }
        for (size_t i = 0; i < N_ELEMENTS(devices); i++)
                allow(rules, devices[i], ON_FILES & all);
        allow(rules, "/proc/self", s->read ? READS | (ON_FILES & all) : ON_FILES & all);
        allow_each(rules, s->read, READS);
        allow_each(rules, s->write, all);
        if (s->folder)
                allow(rules, s->folder, all);
}

static void hold_files(const struct sandbox *s, struct buf *ret_missing)
{
        bool asks = s->flags & SANDBOX_ASKS;
        long version = landlock_version();
        uint64_t writes = WRITES_1 | (version >= 2 ? REFER : 0) | (version >= 3 ? TRUNCATE : 0) |
                          (version >= 5 && !asks ? IOCTL_DEV : 0);
        struct rules attr = {.files = READS | writes,
                             .net = version >= 4 && !(s->flags & (SANDBOX_ASKS | SANDBOX_SOCKETS)) ?
                                            NET_BIND_AND_CONNECT : 0,
                             .scopes = version >= 6 && !asks ? SCOPE_ALL : 0};
        size_t n = version >= 6 ? sizeof(attr) : version >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
        _cleanup_(cleanup_close) int rules = -1;

        rules = version < 1 ? -1 : (int)syscall(SYS_landlock_create_ruleset, &attr, n, 0);
        if (rules < 0) {
                sandbox_miss(ret_missing, asks ? "this kernel has no Landlock: a write outside of the private folder "
                                                 "is refused by its name alone"
                                               : "this kernel has no Landlock: it may read and write whatever files "
                                                 "its user may");
                return;
        }
        add_paths(s, rules, writes);
        if (syscall(SYS_landlock_restrict_self, rules, 0) < 0)
                sandbox_miss(ret_missing, "Landlock could not be set up: %s", strerror(errno));
}

int sandbox_enter(const struct sandbox *s, int *ret_listener, struct buf *ret_missing)
{
        int r;

        *ret_listener = -1;
        set_limits(s);
        r = become_user(s);
        if (r < 0)
                return error_fold(r);
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return error_origin(-errno);
        hold_files(s, ret_missing);
        return error_fold(sandbox_hold_calls(s, ret_listener, ret_missing));
}
