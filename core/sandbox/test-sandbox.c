/* SPDX-License-Identifier: Apache-2.0 */
/* What is left to a process that went into the sandbox, tried in children. */
#include "sandbox/sandbox.h"

#include "base/json.h"
#include "base/util.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char folder[] = "/tmp/prvng-sandbox-XXXXXX", other[] = "/tmp/prvng-sandbox-XXXXXX";

static void make(void)
{
        cr_assert(mkdtemp(folder) && mkdtemp(other));
        cr_assert_eq(chmod(other, 0777), 0);
}

static void clean(void)
{
        char path[64];

        for (size_t i = 0; i < 2; i++) {
                snprintf(path, sizeof(path), "%s/f", i ? other : folder);
                unlink(path);
                rmdir(i ? other : folder);
        }
}

TestSuite(sandbox, .init = make, .fini = clean);

/* What `try` returned in a child inside: 0 it may, else an errno; -1: the sandbox could not be entered. */
static int inside(const struct sandbox *s, int (*try)(void), struct buf *missing)
{
        int status = 0, pipes[2];
        char text[600];
        ssize_t n;
        pid_t pid;

        cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
        pid = fork();
        if (pid == 0) {
                _cleanup_(cleanup_buf) struct buf m = BUF_NULL;
                int listener, r = sandbox_enter(s, &listener, &m);

                if (write(pipes[1], buf_str(&m), m.n) < 0)
                        _exit(254);
                _exit(r < 0 ? 255 : try());
        }
        close(pipes[1]);
        n = read(pipes[0], text, sizeof(text));
        close(pipes[0]);
        if (missing && n > 0)
                buf_append(missing, text, (size_t)n);
        cr_assert(waitpid(pid, &status, 0) == pid);
        cr_assert(WIFEXITED(status), "ended by signal %d", WTERMSIG(status));
        return WEXITSTATUS(status) == 255 ? -1 : WEXITSTATUS(status);
}

static bool landlock(void)
{
        _cleanup_(cleanup_buf) struct buf missing = BUF_NULL;
        struct sandbox s = {.folder = folder};
        int status;
        pid_t pid = fork();

        if (pid == 0) {
                int listener;

                _exit(sandbox_enter(&s, &listener, &missing) < 0 || strstr(buf_str(&missing), "Landlock"));
        }
        waitpid(pid, &status, 0);
        if (status)
                cr_skip("this kernel has no Landlock");
        return !status;
}

static int write_there(const char *where)
{
        char path[64];
        int fd;

        snprintf(path, sizeof(path), "%s/f", where);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        return fd < 0 ? errno : 0;
}

static int write_folder(void)
{
        return write_there(folder);
}

static int write_other(void)
{
        return write_there(other);
}

static int list_other(void)
{
        int fd = open(other, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 ? errno : 0;
}

static int read_library(void)
{
        int fd = open("/usr/bin/env", O_RDONLY | O_CLOEXEC);

        return fd < 0 ? errno : 0;
}

Test(sandbox, holds_files_to_the_folders)
{
        _cleanup_(cleanup_json_decref) json_t *none = json_array(), *one = json_pack("[s]", other);
        struct sandbox s = {.folder = folder, .read = none};

        if (!landlock())
                return;
        cr_expect_eq(inside(&s, write_folder, NULL), 0);
        cr_expect_eq(inside(&s, write_other, NULL), EACCES);
        cr_expect_eq(inside(&s, list_other, NULL), EACCES);
        cr_expect_eq(inside(&s, read_library, NULL), 0);
        s.read = one;
        cr_expect_eq(inside(&s, list_other, NULL), 0);
        cr_expect_eq(inside(&s, write_other, NULL), EACCES);
        s.write = one;
        cr_expect_eq(inside(&s, write_other, NULL), 0);
        s = (struct sandbox){.folder = folder};
        cr_expect_eq(inside(&s, list_other, NULL), 0, "without a list everything may be read");
        cr_expect_eq(inside(&s, write_other, NULL), EACCES);
}

static int open_socket(void)
{
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        return fd < 0 ? errno : 0;
}

static int use_pair(void)
{
        struct iovec v = {(void *)(uintptr_t)"x", 1};
        struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
        int fds[2];
        char c;

        return socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds) < 0 || sendmsg(fds[0], &m, 0) != 1 ||
                               recv(fds[1], &c, 1, 0) != 1 ? errno : 0;
}

Test(sandbox, opens_no_socket_but_uses_those_it_has)
{
        cr_expect_eq(inside(&(struct sandbox){.folder = folder}, open_socket, NULL), EACCES);
        cr_expect_eq(inside(&(struct sandbox){.folder = folder}, use_pair, NULL), 0);
        cr_expect_eq(inside(&(struct sandbox){.flags = SANDBOX_SOCKETS}, open_socket, NULL), 0);
}

static int start_program(void)
{
        char *argv[] = {(char[]){"true"}, NULL}, *envp[] = {NULL};
        int status = 0;
        pid_t pid;
        int e = posix_spawn(&pid, "/bin/true", NULL, NULL, argv, envp);

        return e ? e : waitpid(pid, &status, 0) != pid || status ? 99 : 0;
}

static int fork_it(void)
{
        pid_t pid = fork();

        if (pid == 0)
                _exit(0);
        return pid < 0 ? errno : 0;
}

static int exec_it(void)
{
        execl("/bin/true", "true", (char *)NULL);
        return errno;
}

static void *thread(void *userdata)
{
        return userdata;
}

static int start_thread(void)
{
        pthread_t t;
        int r = pthread_create(&t, NULL, thread, NULL);

        return r ?: pthread_join(t, NULL);
}

Test(sandbox, starts_threads_but_no_processes)
{
        struct sandbox s = {.folder = folder};

        cr_expect_eq(inside(&s, start_thread, NULL), 0);
        cr_expect_eq(inside(&s, fork_it, NULL), EPERM);
        cr_expect_eq(inside(&s, exec_it, NULL), EPERM);
        cr_expect_eq(inside(&s, start_program, NULL), EPERM);
        s.flags = SANDBOX_PROGRAMS;
        cr_expect_eq(inside(&s, start_program, NULL), 0);
}

static int signal_parent(void)
{
        return kill(getppid(), SIGCONT) < 0 ? errno : 0;
}

static int signal_itself(void)
{
        signal(SIGUSR1, SIG_IGN);
        return kill(getpid(), SIGUSR1) < 0 || raise(SIGUSR1) ? errno : 0;
}

static int limit_parent(void)
{
        struct rlimit l;

        return prlimit(getppid(), RLIMIT_NOFILE, NULL, &l) < 0 ? errno : 0;
}

static int look_into_parent(void)
{
        char path[64];
        int fd;

        snprintf(path, sizeof(path), "/proc/%d/environ", getppid());
        fd = open(path, O_RDONLY);
        return fd < 0 ? errno : 0;
}

Test(sandbox, reaches_no_other_process)
{
        _cleanup_(cleanup_json_decref) json_t *none = json_array();
        struct sandbox s = {.folder = folder, .read = none};

        cr_expect_eq(inside(&s, signal_parent, NULL), EPERM);
        cr_expect_eq(inside(&s, signal_itself, NULL), 0);
        cr_expect_eq(inside(&s, limit_parent, NULL), EPERM);
        if (landlock())
                cr_expect_eq(inside(&s, look_into_parent, NULL), EACCES);
}

static int eat_memory(void)
{
        for (int i = 0; i < 64; i++) {
                char *p = malloc(8 << 20);

                if (!p)
                        return ENOMEM;
                memset(p, 1, 8 << 20);
        }
        return 0;
}

static int count_files(void)
{
        struct rlimit l;

        return getrlimit(RLIMIT_NOFILE, &l) == 0 ? (int)l.rlim_max : -1;
}

Test(sandbox, has_limits)
{
        struct sandbox s = {.folder = folder, .data_bytes = UINT64_C(64) << 20, .n_files = 77};

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they need terabytes */
        cr_expect_eq(inside(&s, eat_memory, NULL), ENOMEM);
#endif
        cr_expect_eq(inside(&s, count_files, NULL), 77);
}

#define SOMEBODY 61000 /* not the one who builds packages, who is nobody */

static int is_somebody(void)
{
        return getuid() == SOMEBODY && geteuid() == SOMEBODY && getgid() == SOMEBODY && getgroups(0, NULL) == 0 &&
                               setuid(0) < 0 ? 0 : 1;
}

Test(sandbox, becomes_another_user)
{
        struct sandbox s = {.folder = folder, .uid = SOMEBODY, .gid = SOMEBODY};

        if (geteuid() != 0) {
                cr_expect_eq(inside(&s, is_somebody, NULL), 1, "an ordinary user stays who he is");
                return;
        }
        cr_expect_eq(inside(&s, is_somebody, NULL), 0);
}

static int use_capability(void)
{
        return chown(folder, 1, 1) < 0 ? errno : 0;
}

Test(sandbox, root_keeps_no_capability)
{
        struct sandbox s = {.folder = folder};

        if (geteuid() == 0)
                cr_expect_eq(inside(&s, use_capability, NULL), EPERM);
}

Test(sandbox, names_what_the_kernel_lacks)
{
        struct sandbox s = {.folder = folder};
        _cleanup_(cleanup_buf) struct buf missing = BUF_NULL;

        cr_assert_eq(inside(&s, read_library, &missing), 0);
        for (const char *p = buf_str(&missing); *p; p++)
                cr_expect(*p != '\n');
        cr_expect(!missing.n || strstr(buf_str(&missing), "this kernel has no"), "%s", buf_str(&missing));
}
