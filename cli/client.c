/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include "base/clock.h"
#include "host/host.h"

#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define START_MS 60000   /* for an engine to replay its journal */
#define PATIENCE_MS 5000 /* for an engine that another command is starting */
#define ATTEMPTS 3

extern char **environ;

int client_init(struct client *c, const struct cli *cli, const struct config *config)
{
        const char *slash = strrchr(config->socket, '/');

        *c = (struct client){.cli = cli, .config = config, .may_start = true, .folder = -1};
        if (!slash || strlen(slash) > sizeof(c->path) - 32) {
                complain(cli, "the socket's path %s cannot be used", config->socket);
                return EXIT_UNUSABLE;
        }
        /* Only here, because most commands need none of it. */
        c->curl = http_library_init() == 0 ? curl_easy_init() : NULL;
        if (!c->curl) {
                complain(cli, "out of memory");
                return EXIT_UNUSABLE;
        }
        return 0;
}

void client_deinit(struct client *c)
{
        if (c->folder >= 0)
                close(c->folder);
        c->folder = -1;
        if (c->curl)
                curl_easy_cleanup(c->curl);
        c->curl = NULL;
}

/* The folder may come to be only when the first engine starts. */
static bool find_socket(struct client *c)
{
        const char *slash = strrchr(c->config->socket, '/');
        char folder[4096];

        if (c->folder >= 0)
                return true;
        snprintf(folder, sizeof(folder), "%.*s", (int)(slash - c->config->socket),
                 c->config->socket);
        c->folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
        snprintf(c->path, sizeof(c->path), "/proc/self/fd/%d%s", c->folder, slash);
        return c->folder >= 0;
}

void put_escaped(struct buf *b, const char *text)
{
        for (const char *p = text; *p; p++)
                if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f || strchr("%?#&+\"<>\\^`{|}", *p))
                        buf_printf(b, "%%%02X", (unsigned char)*p);
                else
                        buf_putc(b, *p);
}

static void set_up(struct client *c, CURL *curl, const char *path)
{
        char url[4096];

        snprintf(url, sizeof(url), "http://prvng%s", path);
        curl_easy_setopt(curl, CURLOPT_URL, url);
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, c->path);
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(curl, CURLOPT_PROXY, "");
        curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
        curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, c->error);
}

static size_t collect(char *data, size_t size, size_t n, void *userdata)
{
        buf_append(userdata, data, size * n);
        return buf_error(userdata) ? 0 : size * n;
}

static CURLcode perform(struct client *c, const char *path, const void *body, size_t n_body,
                        long *ret_status, struct buf *answer)
{
        struct curl_slist *headers = NULL;
        CURLcode code;

        if (!find_socket(c))
                return CURLE_COULDNT_CONNECT;
        curl_easy_reset(c->curl);
        set_up(c, c->curl, path);
        curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, collect);
        curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, answer);
        if (body) {
                headers = curl_slist_append(NULL, "Expect:");
                headers = curl_slist_append(headers, "Content-Type: application/json");
                curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, headers);
                curl_easy_setopt(c->curl, CURLOPT_POST, 1L);
                curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, body);
                curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)n_body);
        }
        code = curl_easy_perform(c->curl);
        if (code == CURLE_OK)
                curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, ret_status);
        curl_slist_free_all(headers);
        return code;
}

CURL *client_stream(struct client *c, const char *path)
{
        CURL *curl = find_socket(c) ? curl_easy_init() : NULL;

        if (curl)
                set_up(c, curl, path);
        return curl;
}

/* Starting an engine */

/* prvngd stands beside this program, in the build folder's daemon/, or where helpers are installed. */
static int find_daemon(struct client *c, char *ret_path, size_t n_path)
{
        char self[4096];
        ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
        char *folder;
        static const char *const beside[] = {"", "/../daemon", "/../libexec/prvng"};

        self[n > 0 ? n : 0] = 0;
        folder = dirname(self);
        for (size_t i = 0; i < N_ELEMENTS(beside); i++) {
                snprintf(ret_path, n_path, "%s%s/prvngd", folder, beside[i]);
                if (access(ret_path, X_OK) == 0)
                        return 0;
        }
        snprintf(ret_path, n_path, "%s/prvngd", c->config->libexec ? c->config->libexec : "");
        if (access(ret_path, X_OK) == 0)
                return 0;
        complain(c->cli, "the program prvngd was found neither beside %s nor in %s", self,
                 c->config->libexec ? c->config->libexec : "libexec");
        return EXIT_UNUSABLE;
}

static int spawn_daemon(struct client *c, const char *program, int ready, pid_t *ret_pid)
{
        char number[16], name[] = "prvngd", on_demand[] = "--on-demand", fd[] = "--ready-fd",
             config[] = "--config";
        char *file = c->cli->config ? strdup(c->cli->config) : NULL;
        char *const argv[] = {name, on_demand, fd, number, file ? config : NULL, file, NULL};
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        sigset_t all, none;
        int r;

        snprintf(number, sizeof(number), "%d", ready);
        sigfillset(&all);
        sigemptyset(&none);
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
        posix_spawnattr_init(&attributes);
        posix_spawnattr_setsigdefault(&attributes, &all);
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF |
                                                      POSIX_SPAWN_SETSIGMASK);
        r = posix_spawn(ret_pid, program, &actions, &attributes, argv, environ);
        posix_spawn_file_actions_destroy(&actions);
        posix_spawnattr_destroy(&attributes);
        free(file);
        return -r;
}

/* What prvngd says on its ready descriptor; "" if it ended without a word. */
static void wait_ready(int fd, char *ret_text, size_t n_text)
{
        int64_t deadline = clock_boot_ms() + START_MS;
        size_t n = 0;

        ret_text[0] = 0;
        while (n < n_text - 1 && !memchr(ret_text, '\n', n)) {
                struct pollfd p = {.fd = fd, .events = POLLIN};
                int64_t left = deadline - clock_boot_ms();
                ssize_t got;

                if (left <= 0)
                        break;
                if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
                        break;
                got = p.revents ? read(fd, ret_text + n, n_text - 1 - n) : 0;
                if (p.revents && got <= 0)
                        break;
                n += (size_t)got;
        }
        ret_text[n] = 0;
        if (n > 0 && ret_text[n - 1] == '\n')
                ret_text[n - 1] = 0;
}

static int start_engine(struct client *c, char *ret_text, size_t n_text)
{
        char program[4096];
        int fds[2], status, r;
        pid_t pid;

        r = find_daemon(c, program, sizeof(program));
        if (r)
                return r;
        if (pipe2(fds, O_CLOEXEC) < 0 || fcntl(fds[1], F_SETFD, 0) < 0) {
                complain(c->cli, "cannot make a pipe: %s", strerror(errno));
                return EXIT_UNUSABLE;
        }
        r = spawn_daemon(c, program, fds[1], &pid);
        close(fds[1]);
        if (r < 0) {
                complain(c->cli, "cannot start %s: %s", program, strerror(-r));
                close(fds[0]);
                return EXIT_UNUSABLE;
        }
        wait_ready(fds[0], ret_text, n_text);
        close(fds[0]);
        if (!streq(ret_text, "ok"))
                waitpid(pid, &status, 0);
        return 0;
}

static bool answers(struct client *c, CURLcode *ret_code)
{
        struct buf answer = BUF_NULL;
        long status;

        *ret_code = perform(c, "/healthz", NULL, 0, &status, &answer);
        buf_deinit(&answer);
        return *ret_code == CURLE_OK;
}

bool client_answers(struct client *c)
{
        CURLcode code;

        return answers(c, &code);
}

static bool answers_soon(struct client *c, int64_t patience_ms)
{
        int64_t deadline = clock_boot_ms() + patience_ms;
        CURLcode code;

        do {
                if (answers(c, &code))
                        return true;
                poll(NULL, 0, 50);
        } while (clock_boot_ms() < deadline);
        return false;
}

int client_ensure(struct client *c)
{
        int64_t patience = 50;
        char text[2048] = "";
        CURLcode code;
        int r;

        if (answers(c, &code))
                return 0;
        if (!c->may_start) {
                complain(c->cli, "the engine does not answer: %s", curl_easy_strerror(code));
                return EXIT_UNUSABLE;
        }
        for (int i = 0; i < ATTEMPTS;) {
                r = start_engine(c, text, sizeof(text));
                if (r)
                        return r;
                if (streq(text, "ok") && answers_soon(c, PATIENCE_MS))
                        return 0;
                /* In use: another command was quicker, and its engine holds the store; or one that was
                 * killed does, and has not gone entirely. */
                if (strstr(text, "in use by another engine")) {
                        if (answers_soon(c, patience))
                                return 0;
                        patience *= 4;
                        if (patience <= PATIENCE_MS)
                                continue;
                }
                if (*text && !streq(text, "ok")) /* else it was killed: that need not happen again */
                        break;
                i++;
        }
        complain(c->cli, "no engine: %s", *text ? text : "prvngd ended without saying why");
        return EXIT_UNUSABLE;
}

int client_request(struct client *c, const char *path, const void *body, size_t n_body,
                   long *ret_status, struct buf *answer)
{
        CURLcode code = CURLE_OK;

        for (int i = 0; i < ATTEMPTS; i++) {
                int r = client_ensure(c);

                if (r)
                        return r;
                buf_clear(answer);
                code = perform(c, path, body, n_body, ret_status, answer);
                if (code == CURLE_OK)
                        return 0;
        }
        complain(c->cli, "the engine does not answer: %s",
                 c->error[0] ? c->error : curl_easy_strerror(code));
        return EXIT_UNUSABLE;
}

const char *client_message(const json_t *answer)
{
        return json_get_string(json_object_get(answer, "error"), "message",
                               "the engine refused without a reason");
}
