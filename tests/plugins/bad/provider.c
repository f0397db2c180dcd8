/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A provider that is sound, and with -DBAD=N has the one flaw number N: what prvng-plugin-check is tested
 * with. Its cloud is a folder ("folder" in the configuration) with one file for each resource, named by the
 * op id that made it; a resource is ready a little after it was asked for.
 */
#include <prvng/prvng.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <locale.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
        GOOD, SYMBOL, CONSTRUCTOR, NOTE_VERSION, IMPORTS, SLOW_ENTRY, ENTRY_ALLOCATES, ENTRY_OPENS,
        REFUSES_SILENTLY, READS_BEHIND_HOST, TRUSTS_INTERFACES, UNKNOWN_FLAGS, CRASHES_EMPTY, CRASHES_INVALID,
        RECURSES, LEAKS_WHEN_FAILING, LEAKS, DESTROYS_NULL, PREFIX_ID, ANY_ID, SHARES_STATE, GARBAGE_SELF_TEST,
        LEAVES_FD, LEAVES_THREAD, SETS_ENVIRONMENT, CHANGES_FOLDER, CHANGES_UMASK, CHANGES_LOCALE,
        TAKES_SIGNAL, CLOSES_FOREIGN_FD, USES_NETWORK, WRITES_ELSEWHERE, FORKS, EXITS, HANGS, ODD_DESCRIBE,
        RANDOM_REQUESTS, PREPARES_WITH_IO, IGNORES_SINK, CRASHES_ON_TASK, NO_ERROR_RECORD, UNKNOWN_CLASS,
        TAKES_ANY_TOKEN, CRASHES_ON_TOKEN, TOKEN_HAS_PID, TOKEN_HAS_CONTROL, MAKES_TWICE, NEVER_FINDS,
        DELETE_LEAVES, IGNORES_CANCEL, LOGS_SECRET, TOKEN_HAS_SECRET, POLLS_ONCE, FORGETS_PENDING, BOUND_TO_THREAD,
        RACES, LISTS_EVERYTHING, NO_DRIFT, WORK_LEAVES_FD, CANCEL_LIES, REJECTS_PREVIOUS, SMALL_TABLE, WRONG_THREADS,
        CRASHES_ON_REQUEST, SECRET_IN_STATE,
};

#define READY_MS 60

#if BAD == 3
#define NOTED "0.9"
#else
#define NOTED "1.0"
#endif
PRVNG_PLUGIN_NOTE("provider", "org.prvng.test." BAD_NAME, BAD_NAME, NOTED, "[]", "none");

static const struct prvng_host *host;
static const struct prvng_host_rate *rate;
static int forgotten_instances;
static void *volatile lost; /* or the compiler sees that nobody uses it */

struct cloud {
        char *folder;
        char *secret;
        int pending;    /* FORGETS_PENDING */
        char last[64];  /* RACES */
        pid_t owner;     /* BOUND_TO_THREAD: thread ids come again, these do not so soon */
};

#define IS(flaw) (BAD == (flaw))

/* --- files --- */

static int32_t fail(struct prvng_call *call, int32_t class, uint32_t effect, const char *message)
{
        struct prvng_error e = {.struct_size = sizeof(e), .error_class = class, .retry_after_ms = -1,
                                .effect = effect, .message = message};

        if (!IS(NO_ERROR_RECORD))
                host->error(call, &e);
        return IS(UNKNOWN_CLASS) ? -77 : class;
}

static void path_of(const struct cloud *c, const char *op_id, char ret[512])
{
        static int n;

        if (IS(MAKES_TWICE))
                snprintf(ret, 512, "%s/%s.%d.%d", c->folder, op_id, getpid(), n++);
        else
                snprintf(ret, 512, "%s/%s", c->folder, op_id);
}

static const char *text(const json_t *o, const char *key)
{
        const char *s = json_string_value(json_object_get(o, key));

        return s ? s : "";
}

/* The first resource for which all that is given is so. */
static json_t *find(const struct cloud *c, const char *op_id, const json_t *q, char ret_path[512])
{
        DIR *d = opendir(c->folder);
        json_t *found = NULL;

        for (const struct dirent *e; d && !found && (e = readdir(d));) {
                json_t *o;

                if (e->d_name[0] == '.')
                        continue;
                snprintf(ret_path, 512, "%s/%s", c->folder, e->d_name);
                o = json_load_file(ret_path, 0, NULL);
                if (o && (!op_id || strcmp(text(o, "op_id"), op_id) == 0) &&
                    (!q || (strcmp(text(o, "name"), text(q, "name")) == 0 &&
                            strcmp(text(o, "workflow"), text(q, "workflow")) == 0)))
                        found = o;
                else
                        json_decref(o);
        }
        if (d)
                closedir(d);
        return found;
}

static bool write_json(const char *path, const json_t *o)
{
        char temporary[600], *s = json_dumps(o, JSON_COMPACT);
        int fd;
        bool ok;

        snprintf(temporary, sizeof(temporary), "%.*s/.%lx", (int)(strrchr(path, '/') - path), path,
                 (unsigned long)pthread_self());
        fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        ok = s && fd >= 0 && write(fd, s, strlen(s)) == (ssize_t)strlen(s);
        if (fd >= 0)
                close(fd);
        free(s);
        return ok && rename(temporary, path) == 0;
}

static int32_t put(struct prvng_sink *sink, json_t *o)
{
        char *s = o ? json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
        int32_t r = s ? host->sink_write(sink, s, strlen(s)) : -ENOMEM;

        free(s);
        json_decref(o);
        return r == 0 || IS(IGNORES_SINK) ? PRVNG_DONE : PRVNG_INTERNAL;
}

static int32_t put_result(struct prvng_sink *sink, const json_t *o)
{
        return put(sink, json_pack("{s:O, s:O, s:s}", "name", json_object_get(o, "name"), "id",
                                   json_object_get(o, "op_id"), "state", "running"));
}

/* A request to the API, as far as the host sees it. */
static void ask(struct prvng_call *call)
{
        if (rate)
                rate->acquire(call, "main", 1000);
}

/* --- operations --- */

static int32_t prepare(void *instance, struct prvng_call *call, const char *verb, const void *task, uint64_t n,
                       struct prvng_sink *request)
{
        static const char *const copied[] = {"kind", "name", "workflow", "site", "spec", "identity"};
        static int counter;
        json_t *o = json_loadb(task, n, JSON_REJECT_DUPLICATES, NULL), *q;

        if (IS(CRASHES_ON_TASK) && !o)
                abort();
        if (IS(PREPARES_WITH_IO))
                ask(call);
        if (!json_is_object(o) || !*text(o, "name") || !json_is_object(json_object_get(o, "spec"))) {
                json_decref(o);
                return fail(call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, "a task has a name and a spec");
        }
        if (strcmp(verb, "create") && strcmp(verb, "update") && strcmp(verb, "delete") && strcmp(verb, "check")) {
                json_decref(o);
                return fail(call, PRVNG_UNSUPPORTED, PRVNG_EFFECT_NONE, "there is no such verb");
        }
        q = json_pack("{s:i}", "format", 1);
        for (size_t i = 0; i < sizeof(copied) / sizeof(copied[0]); i++)
                if (json_object_get(o, copied[i]))
                        json_object_set(q, copied[i], json_object_get(o, copied[i]));
        if (IS(RANDOM_REQUESTS))
                json_object_set_new(q, "number", json_integer(counter++));
        json_decref(o);
        return put(request, q);
}

static int32_t write_token(struct cloud *c, struct prvng_call *call, struct prvng_sink *token)
{
        char s[256];
        int n = snprintf(s, sizeof(s), IS(REJECTS_PREVIOUS) ? "2 %s" : "1 %s", call->op_id);

        if (IS(TOKEN_HAS_PID))
                n = snprintf(s, sizeof(s), "1 %s %d", call->op_id, getpid());
        if (IS(TOKEN_HAS_CONTROL))
                n = snprintf(s, sizeof(s), "1 %s\n", call->op_id);
        if (IS(TOKEN_HAS_SECRET))
                n = snprintf(s, sizeof(s), "1 %s %s", call->op_id, c->secret);
        host->ask_again(call, READY_MS / 3);
        return host->sink_write(token, s, (uint64_t)n) == 0 ? PRVNG_PENDING : PRVNG_INTERNAL;
}

static int32_t check(struct cloud *c, const json_t *q, struct prvng_sink *result)
{
        char path[512];
        json_t *o = find(c, NULL, q, path), *answer;

        if (IS(NO_DRIFT) || (o && json_equal(json_object_get(o, "spec"), json_object_get(q, "spec")))) {
                json_decref(o);
                return put(result, json_object()) == PRVNG_DONE ? PRVNG_UNCHANGED : PRVNG_INTERNAL;
        }
        answer = json_pack("{s:[{s:s}]}", "drift", "path", o ? "spec" : "");
        json_decref(o);
        return put(result, answer);
}

static void hang(struct prvng_call *call)
{
        for (int i = 0; i < 60 && (IS(HANGS) || IS(IGNORES_CANCEL)); i++)
                usleep(100000);
}

static int32_t create_resource(struct cloud *c, struct prvng_call *call, json_t *q, struct prvng_sink *token,
                               struct prvng_sink *result)
{
        char path[512];
        json_t *o = find(c, NULL, q, path);
        int32_t r;

        if (o && strcmp(text(o, "op_id"), call->op_id) != 0 && !IS(MAKES_TWICE)) {
                r = put_result(result, o) == PRVNG_DONE ? PRVNG_UNCHANGED : PRVNG_INTERNAL;
                json_decref(o);
                return r;
        }
        json_decref(o);
        if (IS(RACES)) { /* no lock, although it declares PARALLEL */
                snprintf(c->last, sizeof(c->last), "%s", call->op_id);
                usleep(3000);
                path_of(c, c->last, path);
        } else {
                path_of(c, call->op_id, path);
        }
        if (IS(NEVER_FINDS) && call->attempt > 1)
                strcat(path, ".again");
        hang(call);
        json_object_set_new(q, "op_id", json_string(IS(RACES) ? c->last : call->op_id));
        json_object_set_new(q, "ready_ms", json_integer(host->monotonic_ms() + READY_MS));
        ask(call);
        if (access(path, F_OK) != 0 && !write_json(path, q))
                return fail(call, PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN, "the folder cannot be written");
        ask(call);
        if (IS(CANCEL_LIES) && host->is_cancelled(call))
                return fail(call, PRVNG_CANCELLED, PRVNG_EFFECT_NONE, "nothing was made, honestly");
        c->pending++;
        return write_token(c, call, token);
}

static int32_t change(struct cloud *c, struct prvng_call *call, const char *verb, json_t *q,
                      struct prvng_sink *result)
{
        bool delete = strcmp(verb, "delete") == 0;
        char path[512];
        json_t *o = find(c, NULL, q, path);
        int32_t r = PRVNG_DONE;

        if (!o)
                return delete ? (put(result, json_object()), PRVNG_UNCHANGED)
                              : fail(call, PRVNG_NOT_FOUND, PRVNG_EFFECT_NONE, "it is gone");
        ask(call);
        if (delete && !IS(DELETE_LEAVES))
                unlink(path);
        if (delete) {
                r = put(result, json_object());
        } else {
                json_object_set(o, "spec", json_object_get(q, "spec"));
                r = write_json(path, o) ? put_result(result, o) : PRVNG_INTERNAL;
        }
        json_decref(o);
        return r;
}

/* What a begin may do to its process, if it is bad. */
static void misbehave(struct cloud *c)
{
        if (IS(WORK_LEAVES_FD))
                (void)!dup(1);
        if (IS(LOGS_SECRET))
                host->log(host, PRVNG_LOG_DEBUG, "auth", c->secret);
        if (IS(SECRET_IN_STATE)) {
                const struct prvng_host_workdir *w = host->get_interface(host, PRVNG_HOST_WORKDIR);
                char path[600];
                FILE *f;

                snprintf(path, sizeof(path), "%s/credentials", w->state(host, BAD_NAME));
                f = fopen(path, "we");
                fputs(c->secret, f);
                fclose(f);
        }
}

static int32_t begin(void *instance, struct prvng_call *call, const char *verb, const void *request, uint64_t n,
                     struct prvng_sink *token, struct prvng_sink *result)
{
        json_t *q = json_loadb(request, n, 0, NULL);
        struct cloud *c = instance;
        int32_t r;

        misbehave(c);
        if (host->is_cancelled(call) && !IS(CANCEL_LIES))
                r = fail(call, PRVNG_CANCELLED, PRVNG_EFFECT_NONE, "cancelled before anything was done");
        else if (strcmp(verb, "check") == 0)
                r = check(c, q, result);
        else if (strcmp(verb, "create") == 0)
                r = create_resource(c, call, q, token, result);
        else
                r = change(c, call, verb, q, result);
        if (IS(BOUND_TO_THREAD))
                c->owner = gettid();
        json_decref(q);
        return r;
}

/* The resource of that op id: finished, or pending. */
static int32_t progress(struct cloud *c, struct prvng_call *call, int32_t done, int32_t pending, int32_t none,
                        struct prvng_sink *token, struct prvng_sink *result)
{
        char path[512];
        json_t *o = find(c, call->op_id, NULL, path);
        int32_t r = none;

        if (o && host->monotonic_ms() >= json_integer_value(json_object_get(o, "ready_ms")))
                r = put_result(result, o) == PRVNG_DONE ? done : PRVNG_INTERNAL;
        else if (o)
                r = write_token(c, call, token) == PRVNG_PENDING ? pending : PRVNG_INTERNAL;
        json_decref(o);
        return r;
}

static bool is_token(const void *token, uint64_t n)
{
        char s[PRVNG_TOKEN_MAX + 1];

        if (IS(CRASHES_ON_TOKEN) && n < 2)
                abort();
        if (IS(TAKES_ANY_TOKEN))
                return true;
        if (n >= sizeof(s))
                return false;
        memcpy(s, token, n);
        s[n] = 0;
        return strncmp(s, IS(REJECTS_PREVIOUS) ? "2 " : "1 ", 2) == 0 && n >= 28;
}

static int32_t poll_it(void *instance, struct prvng_call *call, const char *verb, const void *request, uint64_t n,
                       const void *token, uint64_t n_token, struct prvng_sink *new_token,
                       struct prvng_sink *result)
{
        struct cloud *c = instance;
        static int polled;
        int32_t r;

        if (!is_token(token, n_token) || (IS(POLLS_ONCE) && polled++ > 0))
                return fail(call, PRVNG_TOKEN_REJECTED, PRVNG_EFFECT_UNKNOWN, "no token of this plugin");
        if (IS(BOUND_TO_THREAD) && c->owner != gettid())
                abort();
        if (IS(FORGETS_PENDING) && c->pending == 0)
                return fail(call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, "this instance began no such thing");
        r = progress(c, call, PRVNG_DONE, PRVNG_PENDING, PRVNG_NOT_FOUND, new_token, result);
        return r == PRVNG_NOT_FOUND ? fail(call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, "it went meanwhile") : r;
}

static int32_t cancel(void *instance, struct prvng_call *call, const char *verb, const void *request, uint64_t n,
                      const void *token, uint64_t n_token, struct prvng_sink *result)
{
        struct cloud *c = instance;
        char path[512];
        json_t *o;

        if (!is_token(token, n_token))
                return fail(call, PRVNG_TOKEN_REJECTED, PRVNG_EFFECT_UNKNOWN, "no token of this plugin");
        o = find(c, call->op_id, NULL, path);
        if (o)
                unlink(path);
        json_decref(o);
        return fail(call, PRVNG_CANCELLED, PRVNG_EFFECT_NONE, "cancelled, and removed");
}

static int32_t observe(void *instance, struct prvng_call *call, const char *verb, const void *request, uint64_t n,
                       const void *token, uint64_t n_token, struct prvng_sink *new_token,
                       struct prvng_sink *result)
{
        json_t *q = json_loadb(request, n, 0, NULL), *o;
        struct cloud *c = instance;
        char path[512];
        bool same;

        if (IS(CRASHES_ON_REQUEST) && !q)
                abort();
        if (!json_is_object(q)) {
                json_decref(q);
                return fail(call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, "not a request of this plugin");
        }
        if (IS(NEVER_FINDS) || strcmp(verb, "create") == 0) {
                json_decref(q);
                return IS(NEVER_FINDS) ? PRVNG_OBSERVED_NOT_STARTED
                                       : progress(c, call, PRVNG_OBSERVED_DONE, PRVNG_OBSERVED_IN_PROGRESS,
                                                  PRVNG_OBSERVED_NOT_STARTED, new_token, result);
        }
        o = find(c, NULL, q, path);
        same = strcmp(verb, "delete") == 0 ? !o
                                           : o && json_equal(json_object_get(o, "spec"), json_object_get(q, "spec"));
        json_decref(o);
        json_decref(q);
        if (same)
                put(result, json_object());
        return same ? PRVNG_OBSERVED_DONE : PRVNG_OBSERVED_NOT_STARTED;
}

static int32_t read_it(void *instance, struct prvng_call *call, const void *task, uint64_t n,
                       struct prvng_sink *result)
{
        json_t *q = json_loadb(task, n, 0, NULL), *o;
        char path[512];
        int32_t r;

        o = find(instance, NULL, q, path);
        r = o ? put_result(result, o) : fail(call, PRVNG_NOT_FOUND, PRVNG_EFFECT_NONE, "there is none");
        json_decref(o);
        json_decref(q);
        return r;
}

static int32_t list(void *instance, struct prvng_call *call, const void *filter, uint64_t n,
                    struct prvng_sink *result)
{
        json_t *f = json_loadb(filter, n, 0, NULL), *all = json_array();
        struct cloud *c = instance;
        DIR *d = opendir(c->folder);

        for (const struct dirent *e; d && (e = readdir(d));) {
                char path[512];
                json_t *o;

                if (e->d_name[0] == '.')
                        continue;
                snprintf(path, sizeof(path), "%s/%s", c->folder, e->d_name);
                o = json_load_file(path, 0, NULL);
                if (o && (IS(LISTS_EVERYTHING) ||
                          ((!*text(f, "op_id") || strcmp(text(f, "op_id"), text(o, "op_id")) == 0) &&
                           (!*text(f, "workflow") || strcmp(text(f, "workflow"), text(o, "workflow")) == 0))))
                        json_array_append_new(all, json_pack("{s:O, s:O, s:O, s:O, s:{s:O}}", "kind",
                                                             json_object_get(o, "kind"), "name",
                                                             json_object_get(o, "name"), "op_id",
                                                             json_object_get(o, "op_id"), "workflow",
                                                             json_object_get(o, "workflow"), "identity", "id",
                                                             json_object_get(o, "op_id")));
                json_decref(o);
        }
        if (d)
                closedir(d);
        json_decref(f);
        return put(result, json_pack("{s:o}", "resources", all));
}

static int32_t describe(void *instance, struct prvng_sink *result)
{
        static const char what[] = "{\"resources\":[{\"kind\":\"server\",\"verbs\":[\"create\",\"update\","
                                   "\"delete\",\"check\"],\"undo\":[\"create\",\"update\"],\"spec\":{},"
                                   "\"update\":{\"cpu\":\"live\"}}]}";
        static const char odd[] = "{\"resources\":[{\"kind\":\"server\",\"verbs\":[\"explode\"]}]}";
        const char *s = IS(ODD_DESCRIBE) ? odd : what;

        return host->sink_write(result, s, strlen(s)) == 0 || IS(IGNORES_SINK) ? PRVNG_DONE : PRVNG_INTERNAL;
}

static const struct prvng_op op = {
        .struct_size = BAD == SMALL_TABLE ? 24 : sizeof(op), .prepare = prepare, .begin = begin, .poll = poll_it,
        .cancel = cancel, .observe = observe, .read = read_it, .list = list, .describe = describe};

/* --- instances --- */

static int depth_of(const char *s)
{
        volatile char room[256];

        room[0] = *s;
        return room[0] == '[' ? 1 + depth_of(s + 1) + room[0] : 0;
}

static void *sleep_on(void *userdata)
{
        pause();
        return userdata;
}

/* What create() may do to its process, if it is bad. */
static void spoil(void)
{
        static const struct sockaddr_in somewhere = {.sin_family = AF_INET, .sin_port = 20480,
                                                     .sin_addr = {0x08080808}};
        pthread_t thread;
        int fd;

        if (IS(LEAVES_FD))
                (void)!open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (IS(LEAVES_THREAD))
                pthread_create(&thread, NULL, sleep_on, NULL);
        if (IS(CHANGES_UMASK))
                umask(0);
        if (IS(CHANGES_FOLDER))
                (void)!chdir("/");
        if (IS(SETS_ENVIRONMENT))
                setenv("PLUGIN_WAS_HERE", "1", 1);
        if (IS(CHANGES_LOCALE))
                setlocale(LC_ALL, "C.UTF-8");
        if (IS(TAKES_SIGNAL))
                signal(SIGUSR1, SIG_IGN);
        if (IS(CLOSES_FOREIGN_FD))
                close(0);
        if (IS(EXITS))
                exit(0);
        if (IS(FORKS) && fork() == 0)
                _exit(0);
        if (IS(IMPORTS))
                (void)!system("true");
        if (IS(USES_NETWORK)) {
                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
                connect(fd, (const struct sockaddr *)&somewhere, sizeof(somewhere));
                close(fd);
        }
        if (IS(WRITES_ELSEWHERE)) {
                fd = open("/tmp/prvng-bad-plugin-was-here", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
                if (fd >= 0)
                        close(fd);
        }
}

static int32_t refuse(const struct prvng_host *h, const char *why)
{
        if (IS(LEAKS_WHEN_FAILING))
                lost = malloc(256);
        if (!IS(REFUSES_SILENTLY))
                h->log(h, PRVNG_LOG_ERROR, "config", why);
        return PRVNG_PERMANENT;
}

static int32_t create(const struct prvng_host *h, const void *config, uint64_t n, void **ret_instance)
{
        json_t *o = json_loadb(config, n, 0, NULL);
        struct cloud *c;

        rate = h->get_interface(h, PRVNG_HOST_RATE);
        if (IS(TRUSTS_INTERFACES) && rate->struct_size == 0)
                return PRVNG_INTERNAL;
        if ((IS(CRASHES_EMPTY) && json_object_size(o) == 0 && o) || (IS(CRASHES_INVALID) && !o))
                abort();
        if (IS(RECURSES) && depth_of(config) < 0)
                return PRVNG_INTERNAL;
        if (!*text(o, "folder")) {
                json_decref(o);
                return refuse(h, "the configuration names no folder");
        }
        c = calloc(1, sizeof(*c));
        c->folder = strdup(text(o, "folder"));
        c->secret = strdup(getenv("TEST_SECRET") ? getenv("TEST_SECRET") : "");
        json_decref(o);
        mkdir(c->folder, 0700);
        spoil();
        if (IS(LEAKS))
                lost = malloc(256);
        *ret_instance = c;
        return PRVNG_DONE;
}

static void destroy(void *instance)
{
        struct cloud *c = instance;

        if (!c && !IS(DESTROYS_NULL))
                return;
        forgotten_instances++;
        free(c->folder);
        free(c->secret);
        free(c);
}

static const void *get_interface(void *instance, const char *id)
{
        if (IS(SHARES_STATE) && forgotten_instances > 0)
                return NULL;
        if (IS(ANY_ID) || (IS(PREFIX_ID) && strncmp(id, PRVNG_OP, strlen(PRVNG_OP)) == 0))
                return &op;
        return strcmp(id, PRVNG_OP) == 0 || strcmp(id, PRVNG_PROVIDER) == 0 ? &op : NULL;
}

static int32_t self_test(void *instance, struct prvng_call *call, struct prvng_sink *report)
{
        const char *s = IS(GARBAGE_SELF_TEST) ? "{\"checks\": [" : "{\"checks\": []}";

        return host->sink_write(report, s, strlen(s)) == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
}

static const struct prvng_plugin plugin = {
        .struct_size = sizeof(plugin),
        .abi_minor = PRVNG_ABI_MINOR,
        .id = "org.prvng.test." BAD_NAME,
        .name = BAD_NAME,
        .kind = "provider",
        .version = "1.0",
        .description = "sound, or nearly",
        .licence = "Apache-2.0",
        .threads = BAD == WRONG_THREADS ? 9 : PRVNG_THREADS_PARALLEL,
        .flags = BAD == UNKNOWN_FLAGS ? 0x8000u : 0,
        .dependencies = "{}",
        .create = create,
        .destroy = destroy,
        .get_interface = get_interface,
        .self_test = self_test,
};

#if BAD == 1
PRVNG_EXPORT int bad_extra_symbol(void);
int bad_extra_symbol(void)
{
        return 1;
}
#endif
#if BAD == 2
__attribute__((constructor)) static void at_start(void)
{
        forgotten_instances = 0;
}
#endif

int32_t prvng_plugin_v1(const struct prvng_host *h, const struct prvng_plugin **ret_plugin)
{
        static struct {
                struct prvng_host host;
                char more[64];
        } copy;

        host = h;
        if (IS(READS_BEHIND_HOST)) /* as if it had grown already */
                memcpy(&copy, h, sizeof(copy));
        if (IS(SLOW_ENTRY))
                for (volatile unsigned int i = 0; i < 1500000000u; i++)
                        ;
        if (IS(ENTRY_ALLOCATES))
                lost = malloc(64);
        if (IS(ENTRY_OPENS))
                (void)!open("/dev/null", O_RDONLY | O_CLOEXEC);
        *ret_plugin = &plugin;
        return PRVNG_DONE;
}
