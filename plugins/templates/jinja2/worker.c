/* SPDX-License-Identifier: Apache-2.0 */
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_SECONDS 30 /* Python and Jinja2, from a cold disk */
#define CODE_MEMORY 10   /* of the script: it could not get enough, and has ended */
#define HEADER_MAX 16384
#define KEPT_MAX 1048576 /* bytes of the buffer that stay between questions */
#define END_MS 2000      /* the sandbox has, to end what runs in it */

#define CURE                                                                                       \
        "install it with `apt-get install python3-jinja2`, or name a Python that has it in "       \
        "`python` of the plugin's configuration"

/* Why a wait ended. */
enum outcome { OK, GONE, TOO_LATE, DEADLINE, CANCELLED, TOO_LONG, NO_MEMORY };

int32_t worker_fail(struct worker *w, struct prvng_call *call, int32_t error_class, int32_t code,
                    const char *format, ...)
{
        struct prvng_error error = {.struct_size = sizeof(error),
                                    .error_class = error_class,
                                    .code = code,
                                    .retry_after_ms = -1,
                                    .effect = PRVNG_EFFECT_NONE,
                                    .message = w->said};
        va_list ap;

        va_start(ap, format);
        vsnprintf(w->said, sizeof(w->said), format, ap);
        va_end(ap);
        w->host->error(call, &error);
        return error_class;
}

/* --- waiting --- */

struct wait {
        struct worker *w;
        struct prvng_call *call;
        int cancel_fd;
        int64_t limit; /* host's clock: when the evaluation has taken too long */
};

static struct wait wait_for(struct worker *w, struct prvng_call *call, unsigned int seconds)
{
        return (struct wait){w, call, w->host->cancel_fd(call),
                             w->host->monotonic_ms() + (int64_t)seconds * 1000};
}

/* Until the socket is ready for `events`, or something is against waiting on. */
static enum outcome wait_ready(const struct wait *x, short events)
{
        for (;;) {
                int64_t now = x->w->host->monotonic_ms();
                int64_t until = x->limit < x->call->deadline_ms ? x->limit : x->call->deadline_ms;
                struct pollfd fds[] = {{.fd = x->w->socket, .events = events},
                                       {.fd = x->cancel_fd, .events = POLLIN}};
                int n;

                if (x->w->host->is_cancelled(x->call))
                        return CANCELLED;
                if (now >= until)
                        return x->limit <= x->call->deadline_ms ? TOO_LATE : DEADLINE;
                n = poll(fds, 2, until - now > 100000 ? 100000 : (int)(until - now));
                if (n < 0 && errno != EINTR)
                        return GONE;
                if (n > 0 && fds[0].revents)
                        return OK;
        }
}

static enum outcome send_all(const struct wait *x, const char *data, size_t n)
{
        while (n > 0) {
                ssize_t sent = send(x->w->socket, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);

                if (sent >= 0) {
                        data += sent;
                        n -= (size_t)sent;
                } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
                        enum outcome o = wait_ready(x, POLLOUT);

                        if (o != OK)
                                return o;
                } else if (errno != EINTR) {
                        return GONE;
                }
        }
        return OK;
}

static bool grow(struct worker *w, size_t max)
{
        size_t cap = w->cap_in ? w->cap_in * 2 : 65536;
        char *in;

        if (w->n_in + 1 < w->cap_in)
                return true;
        if (w->n_in > max)
                return false;
        in = realloc(w->in, cap);
        if (!in)
                return false;
        w->in = in;
        w->cap_in = cap;
        return true;
}

/* Reads until a newline stands at or behind `from`; ends the line with a NUL. */
static enum outcome read_line(const struct wait *x, size_t from, size_t max, size_t *ret_n)
{
        struct worker *w = x->w;
        size_t looked = from;

        for (;;) {
                char *end =
                        w->n_in > looked ? memchr(w->in + looked, '\n', w->n_in - looked) : NULL;
                enum outcome o;
                ssize_t n;

                if (end) {
                        *end = 0;
                        *ret_n = (size_t)(end - w->in) - from;
                        return OK;
                }
                looked = w->n_in > looked ? w->n_in : looked;
                if (w->n_in > from + max)
                        return TOO_LONG;
                if (!grow(w, from + max))
                        return NO_MEMORY;
                o = wait_ready(x, POLLIN);
                if (o != OK)
                        return o;
                n = recv(w->socket, w->in + w->n_in, w->cap_in - w->n_in - 1, MSG_DONTWAIT);
                if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
                        return GONE;
                w->n_in += n > 0 ? (size_t)n : 0;
        }
}

/* --- its life --- */

/* Closing the socket makes the sandbox end what runs in it, and itself; it is asked to hurry only
 * if that does not happen. Returns its wait status. */
static int end(struct worker *w)
{
        struct pollfd fd = {.fd = w->pidfd, .events = POLLIN};
        int status = 0;

        if (w->pid <= 0)
                return 0;
        close(w->socket);
        if (poll(&fd, 1, END_MS) <= 0)
                kill(-w->pid, SIGKILL);
        while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR)
                ;
        close(w->pidfd);
        w->pid = 0;
        w->pidfd = w->socket = -1;
        w->n_in = 0;
        return status;
}

void worker_end(struct worker *w)
{
        end(w);
        if (w->errors >= 0)
                close(w->errors);
        w->errors = -1;
        free(w->in);
        w->in = NULL;
        w->n_in = w->cap_in = 0;
}

/* The end of what it wrote to stderr, as one line. */
static void last_words(const struct worker *w, char *ret_text, size_t size)
{
        off_t length = lseek(w->errors, 0, SEEK_END), from;
        ssize_t n;

        ret_text[0] = 0;
        from = length > (off_t)size - 1 ? length - (off_t)size + 1 : 0;
        n = length < 0 ? -1 : pread(w->errors, ret_text, size - 1, from);
        if (n <= 0)
                return;
        ret_text[n] = 0;
        while (n > 0 && ret_text[n - 1] == '\n')
                ret_text[--n] = 0;
        for (char *p = ret_text; *p; p++)
                if (*p == '\n')
                        *p = ' ';
}

static int32_t died(struct worker *w, struct prvng_call *call, bool starting)
{
        char said[512];
        int status = end(w),
            code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);

        last_words(w, said, sizeof(said));
        if (starting && code < 128)
                return worker_fail(w, call, PRVNG_UNSUPPORTED, 0,
                                   "Jinja2 cannot be run here: %s; %s",
                                   *said ? said : "it ended without a word", CURE);
        if (code > 128)
                return worker_fail(w, call, PRVNG_TRANSIENT, 0,
                                   "the process that evaluates Jinja2 was killed by signal %d%s%s; "
                                   "another one is started",
                                   code - 128, *said ? ": " : "", said);
        return worker_fail(w, call, PRVNG_TRANSIENT, 0,
                           "the process that evaluates Jinja2 ended with exit code %d%s%s; another "
                           "one is started",
                           code, *said ? ": " : "", said);
}

/* What to say when a wait ended badly. The answer that may still come must not be taken for the
 * next one's: the worker goes. */
static int32_t failed(struct worker *w, struct prvng_call *call, enum outcome o, bool starting)
{
        if (o == GONE)
                return died(w, call, starting);
        end(w);
        switch ((unsigned int)o) {
        case CANCELLED:
                return worker_fail(w, call, PRVNG_CANCELLED, 0, "cancelled");
        case DEADLINE:
                return worker_fail(w, call, PRVNG_TRANSIENT, 0,
                                   "not evaluated before the deadline");
        case TOO_LONG:
                return worker_fail(w, call, PRVNG_TRANSIENT, 0, "the answer is longer than %d MiB",
                                   RESULT_MAX >> 20);
        case TOO_LATE:
                return worker_fail(w, call, PRVNG_TRANSIENT, 0,
                                   starting ? "Jinja2 did not start within %u s"
                                            : "the evaluation took longer than %u s and was ended",
                                   starting ? START_SECONDS : w->seconds);
        default:
                return worker_fail(w, call, PRVNG_TRANSIENT, ENOMEM, "out of memory");
        }
}

/* --- starting it --- */

/* A helper program in the site's folder, else where packages put it. */
static bool find_helper(const struct worker *w, const char *name, char ret_path[PATH_MAX])
{
        const char *folders[] = {w->libexec, "/usr/libexec/prvng", "/usr/local/libexec/prvng"};
        char path[PATH_MAX];

        for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
                if (folders[i] &&
                    (size_t)snprintf(path, sizeof(path), "%s/%s", folders[i], name) <
                            sizeof(path) &&
                    access(path, R_OK) == 0 && realpath(path, ret_path))
                        return true;
        return false;
}

/* The system's Python has what the distribution's package installs; another one only if it is asked
 * for. */
static bool find_python(const struct worker *w, char ret_path[PATH_MAX])
{
        snprintf(ret_path, PATH_MAX, "%s", w->python ? w->python : "/usr/bin/python3");
        return ret_path[0] == '/' && access(ret_path, X_OK) == 0;
}

/* For /x/bin/python of a Python of its own, /x: it is not in /usr, which every program may read. */
static bool python_home(const char *python, char ret_home[PATH_MAX])
{
        snprintf(ret_home, PATH_MAX, "%s", python);
        for (int i = 0; i < 2; i++) {
                char *slash = strrchr(ret_home, '/');

                if (!slash || slash == ret_home)
                        return false;
                *slash = 0;
        }
        return strcmp(ret_home, "/usr") != 0 && strncmp(ret_home, "/usr/", 5) != 0;
}

static int spawn(struct worker *w, const char *const *argv, int theirs)
{
        static char path[] = "PATH=/usr/bin:/bin", lang[] = "LANG=C.UTF-8";
        char *environment[] = {path, lang, NULL};
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        sigset_t none, all;
        int r;

        sigemptyset(&none);
        sigfillset(&all);
        if (posix_spawn_file_actions_init(&actions) != 0)
                return ENOMEM;
        if (posix_spawnattr_init(&attributes) != 0) {
                posix_spawn_file_actions_destroy(&actions);
                return ENOMEM;
        }
        r = posix_spawn_file_actions_adddup2(&actions, theirs, 0);
        r = r ? r : posix_spawn_file_actions_adddup2(&actions, theirs, 1);
        r = r ? r : posix_spawn_file_actions_adddup2(&actions, w->errors, 2);
        r = r ? r : posix_spawn_file_actions_addclosefrom_np(&actions, 3);
        r = r ? r : posix_spawn_file_actions_addchdir_np(&actions, "/");
        r = r ? r
              : posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP |
                                                              POSIX_SPAWN_SETSIGMASK |
                                                              POSIX_SPAWN_SETSIGDEF);
        r = r ? r : posix_spawnattr_setsigmask(&attributes, &none);
        r = r ? r : posix_spawnattr_setsigdefault(&attributes, &all);
        r = r ? r
              : posix_spawn(&w->pid, argv[0], &actions, &attributes, (char *const *)(uintptr_t)argv,
                            environment);
        posix_spawnattr_destroy(&attributes);
        posix_spawn_file_actions_destroy(&actions);
        if (r)
                w->pid = 0;
        return r;
}

/* One socket is stdin and stdout: writing to it when nobody listens any more gives an error, where
 * a pipe would give the engine a signal. */
static int open_and_spawn(struct worker *w, const char *const *argv)
{
        int pair[2], r;

        if (w->errors < 0)
                w->errors = memfd_create("prvng-jinja2-stderr", MFD_CLOEXEC);
        if (w->errors < 0 || ftruncate(w->errors, 0) < 0 || lseek(w->errors, 0, SEEK_SET) < 0 ||
            socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                return errno;
        r = spawn(w, argv, pair[1]);
        close(pair[1]);
        w->socket = pair[0];
        if (r == 0) {
                w->pidfd = pidfd_open(w->pid, 0);
                if (w->pidfd < 0) {
                        r = errno;
                        kill(-w->pid, SIGKILL);
                        waitpid(w->pid, NULL, 0);
                        w->pid = 0;
                }
        }
        if (r)
                close(w->socket);
        return r;
}

static int32_t hello(struct worker *w, struct prvng_call *call)
{
        struct wait x = wait_for(w, call, START_SECONDS);
        const char *text;
        json_t *said;
        size_t n;
        enum outcome o = read_line(&x, 0, HEADER_MAX, &n);

        if (o != OK)
                return failed(w, call, o, true);
        said = json_loadb(w->in, n, 0, NULL);
        w->n_in = 0;
        text = json_string_value(json_object_get(said, "ready"));
        if (text) {
                snprintf(w->engine, sizeof(w->engine), "%s", text);
                json_decref(said);
                return PRVNG_DONE;
        }
        text = json_string_value(json_object_get(said, "missing"));
        worker_fail(w, call, PRVNG_UNSUPPORTED, 0, "%s has no Jinja2 (%s): %s", w->used,
                    text ? text : "it said nothing", CURE);
        json_decref(said);
        end(w);
        return PRVNG_UNSUPPORTED;
}

/* A sandbox that is weaker than it should be says so first. */
static void note_warning(struct worker *w)
{
        char said[sizeof(w->warning)];

        last_words(w, said, sizeof(said));
        if (strncmp(said, "prvng-sandbox: warning: ", 24) != 0 || strcmp(said, w->warning) == 0)
                return;
        snprintf(w->warning, sizeof(w->warning), "%s", said);
        w->host->log(w->host, PRVNG_LOG_WARN, "jinja2", w->warning + 15);
}

int32_t worker_start(struct worker *w, struct prvng_call *call)
{
        char sandbox[PATH_MAX], script[PATH_MAX], home[PATH_MAX], real[PATH_MAX], base[PATH_MAX];
        char memory[16], limit[16];
        const char *argv[24];
        size_t n = 0;
        int r;

        if (w->pid > 0)
                return PRVNG_DONE;
        if (!find_helper(w, "prvng-sandbox", sandbox) || !find_helper(w, "prvng-jinja2.py", script))
                return worker_fail(
                        w, call, PRVNG_UNSUPPORTED, ENOENT,
                        "prvng-sandbox and prvng-jinja2.py, which evaluate, were not both "
                        "found in %s; install the plugin again, or name their folder in "
                        "PRVNG_LIBEXEC_PATH",
                        w->libexec ? w->libexec : "/usr/libexec/prvng");
        if (!find_python(w, w->used))
                return worker_fail(w, call, PRVNG_UNSUPPORTED, ENOENT, "there is no %s: %s",
                                   w->used, CURE);
        snprintf(memory, sizeof(memory), "%u", w->memory);
        snprintf(limit, sizeof(limit), "%d", RESULT_MAX);
        argv[n++] = sandbox;
        argv[n++] = "--stdio";
        argv[n++] = "--memory";
        argv[n++] = memory;
        argv[n++] = "--read";
        argv[n++] = script;
        if (python_home(w->used, home)) {
                argv[n++] = "--read";
                argv[n++] = home;
        }
        if (realpath(w->used, real) && strcmp(real, w->used) != 0 && python_home(real, base)) {
                argv[n++] = "--read"; /* of a virtual environment: the Python it is made of */
                argv[n++] = base;
        }
        argv[n++] = "--";
        argv[n++] = w->used;
        argv[n++] = "-I";
        argv[n++] = script;
        argv[n++] = limit;
        argv[n] = NULL;
        r = open_and_spawn(w, argv);
        if (r)
                return worker_fail(w, call, PRVNG_TRANSIENT, r, "%s cannot be started: %s", sandbox,
                                   strerror(r));
        r = hello(w, call);
        if (r == PRVNG_DONE)
                note_warning(w);
        return r;
}

/* It may have been killed since the last call: that is found out before anything is asked of it. */
static void forget_dead(struct worker *w)
{
        struct pollfd fd = {.fd = w->socket, .events = POLLIN};

        /* Nothing was asked, so anything to be read is its end or out of order. */
        if (w->pid > 0 && poll(&fd, 1, 0) > 0)
                end(w);
}

/* --- asking --- */

static int32_t take(struct worker *w, struct prvng_call *call, size_t n_header, size_t n_result,
                    struct answer *ret)
{
        json_t *header = json_loadb(w->in, n_header, JSON_ALLOW_NUL, NULL);
        const char *message = json_string_value(json_object_get(header, "message"));
        json_int_t id = json_integer_value(json_object_get(header, "id"));

        *ret = (struct answer){.code = (int32_t)json_integer_value(json_object_get(header, "code")),
                               .result = w->in + n_header + 1,
                               .n_result = n_result};
        snprintf(ret->message, sizeof(ret->message), "%s", message ? message : "");
        json_decref(header);
        w->n_in = 0; /* the bytes stay until the next question */
        if ((uint64_t)id != w->number) {
                end(w);
                return worker_fail(
                        w, call, PRVNG_TRANSIENT, 0,
                        "the process that evaluates Jinja2 answered out of order and was ended");
        }
        if (ret->code != CODE_MEMORY)
                return PRVNG_DONE;
        end(w);
        return worker_fail(w, call, PRVNG_TRANSIENT, 0,
                           "the evaluation needed more than %u MiB of memory", w->memory);
}

int32_t worker_ask(struct worker *w, struct prvng_call *call, const char *question,
                   const void *body, size_t n_body, struct answer *ret_answer)
{
        char *line = malloc(n_body + 1);
        size_t n_header = 0, n_result = 0;
        enum outcome o;
        struct wait x;
        int32_t r;

        if (!line)
                return worker_fail(w, call, PRVNG_TRANSIENT, ENOMEM, "out of memory");
        for (size_t i = 0; i < n_body; i++) { /* a newline inside of a string is spelled \n */
                char c = ((const char *)body)[i];

                line[i] = c == '\n' || c == '\r' ? ' ' : c;
        }
        line[n_body] = '\n';
        if (w->cap_in > KEPT_MAX) {
                free(w->in);
                w->in = NULL;
                w->n_in = w->cap_in = 0;
        }
        forget_dead(w);
        r = worker_start(w, call);
        if (r != PRVNG_DONE) {
                free(line);
                return r;
        }
        w->number++;
        x = wait_for(w, call, w->seconds);
        o = send_all(&x, question, strlen(question));
        o = o == OK ? send_all(&x, "\n", 1) : o;
        o = o == OK ? send_all(&x, line, n_body + 1) : o;
        free(line);
        o = o == OK ? read_line(&x, 0, HEADER_MAX, &n_header) : o;
        o = o == OK ? read_line(&x, n_header + 1, RESULT_MAX, &n_result) : o;
        if (o != OK)
                return failed(w, call, o, false);
        return take(w, call, n_header, n_result, ret_answer);
}
