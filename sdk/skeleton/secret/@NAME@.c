/*
 * The secret backend @NAME@. Its secrets are lines KEY=VALUE of files in a folder ("folder" in the
 * configuration), which nobody but the engine's user may read: secret://@NAME@/FILE#KEY. Replace open_file()
 * and find() by what yours is to do. What holds a value is wiped before a function returns; nothing of it is
 * kept, logged or put into an error.
 */
#include <prvng/prvng.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

PRVNG_PLUGIN_NOTE("secret", "org.example.prvng.@NAME@", "@NAME@", "0.1.0", "[]", "none");

static const struct prvng_host *host; /* given by the entry, valid for ever */

struct instance {
        char *folder;
};

/* --- small things --- */

/* `field`: "path", "key" or "reference", or NULL; no value stands in `message`. */
static int32_t fail(struct prvng_call *call, int32_t error_class, const char *field, const char *message)
{
        host->error(call, &(struct prvng_error){.struct_size = sizeof(struct prvng_error),
                                                .error_class = error_class, .retry_after_ms = -1,
                                                .message = message, .field = field});
        return error_class;
}

/* FILE is a path below the folder, and cannot lead out of it. */
static int is_below(const char *path)
{
        if (*path == '/' || *path == 0)
                return 0;
        for (const char *p = path; p; p = strchr(p, '/')) {
                p += *p == '/';
                if (strncmp(p, "..", 2) == 0 && (p[2] == '/' || p[2] == 0))
                        return 0;
        }
        return 1;
}

/* --- a file --- */

/* Takes the reference apart and opens the file. *ret_key points into `reference`. DONE, or why not. */
static int32_t open_file(const struct instance *i, struct prvng_call *call, const char *reference, int *ret_fd,
                         const char **ret_key, struct stat *ret_st)
{
        const char *hash = strchr(reference, '#');
        char path[8192];
        int fd;

        snprintf(path, sizeof(path), "%.*s", hash ? (int)(hash - reference) : 0, reference);
        if (!hash || !hash[1] || !is_below(path))
                return fail(call, PRVNG_PERMANENT, "reference", "a reference reads FILE#KEY, FILE below the folder of the "
                                                                "configuration");
        snprintf(path, sizeof(path), "%s/%.*s", i->folder, (int)(hash - reference), reference);
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0 && (errno == EACCES || errno == EPERM))
                return fail(call, PRVNG_AUTH, "path", "the file may not be read by this user");
        if (fd < 0 && errno == ELOOP)
                return fail(call, PRVNG_PERMANENT, "path", "the file is a symbolic link: name the file itself");
        if (fd < 0)
                return fail(call, errno == EMFILE || errno == ENFILE ? PRVNG_TRANSIENT : PRVNG_NOT_FOUND, "path",
                            strerror(errno));
        if (fstat(fd, ret_st) < 0 || !S_ISREG(ret_st->st_mode)) {
                close(fd);
                return fail(call, PRVNG_NOT_FOUND, "path", "it is no file");
        }
        if (ret_st->st_mode & 077 || (ret_st->st_uid != 0 && ret_st->st_uid != geteuid())) {
                close(fd);
                return fail(call, PRVNG_PERMANENT, "path", "others can use the file: chmod 600, and chown it to the "
                                                           "engine's user");
        }
        *ret_key = hash + 1;
        *ret_fd = fd;
        return PRVNG_DONE;
}

/* The line KEY=VALUE: where the value stands in `text`, and its length. NULL: there is none. */
static const char *find(const char *text, size_t n_text, const char *key, size_t *ret_n)
{
        const char *end = text + n_text;
        size_t n = strlen(key);

        while (text < end) {
                const char *line_end = memchr(text, '\n', (size_t)(end - text));

                if (!line_end)
                        line_end = end;
                if ((size_t)(line_end - text) > n && memcmp(text, key, n) == 0 && text[n] == '=') {
                        *ret_n = (size_t)(line_end - text) - n - 1;
                        return text + n + 1;
                }
                text = line_end + 1;
        }
        return NULL;
}

/* `value` NULL: only looks. */
static int32_t look_up(const struct instance *i, struct prvng_call *call, const char *reference,
                       struct prvng_sink *value, struct stat *ret_st)
{
        char text[2 * PRVNG_SECRET_MAX];
        size_t n = 0, n_value = 0;
        const char *key, *found;
        ssize_t k = 1;
        int32_t r;
        int fd;

        r = open_file(i, call, reference, &fd, &key, ret_st);
        if (r != PRVNG_DONE)
                return r;
        while (n < sizeof(text) && (k = read(fd, text + n, sizeof(text) - n)) > 0)
                n += (size_t)k;
        close(fd);
        found = find(text, n, key, &n_value);
        if (k != 0)
                r = fail(call, PRVNG_PERMANENT, "path", k < 0 ? "the file cannot be read" : "the file is too large");
        else if (!found || n_value == 0)
                r = fail(call, PRVNG_NOT_FOUND, "key", "the file has no such key, or nothing behind it");
        else if (value && host->sink_write(value, found, n_value) < 0)
                r = fail(call, PRVNG_INTERNAL, NULL, "the value is too long");
        explicit_bzero(text, sizeof(text));
        return r;
}

/* --- prvng.secret/1 --- */

static int32_t resolve(void *instance, struct prvng_call *call, const char *reference, struct prvng_sink *value)
{
        struct stat st;

        return look_up(instance, call, reference, value, &st);
}

static int32_t check(void *instance, struct prvng_call *call, const char *reference, struct prvng_sink *result)
{
        char out[128], changed[32];
        struct stat st;
        struct tm tm;
        int32_t r = look_up(instance, call, reference, NULL, &st);

        if (r != PRVNG_DONE)
                return r;
        strftime(changed, sizeof(changed), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&st.st_mtime, &tm));
        snprintf(out, sizeof(out), "{\"changed\":\"%s\",\"encrypted\":false}", changed);
        return host->sink_write(result, out, strlen(out)) == 0
                       ? PRVNG_DONE
                       : fail(call, PRVNG_INTERNAL, NULL, "the result did not fit");
}

static const struct prvng_secret table = {.struct_size = sizeof(table), .resolve = resolve, .check = check};

/* --- the plugin --- */

static int32_t refuse(const char *why)
{
        host->log(host, PRVNG_LOG_ERROR, "config", why);
        return PRVNG_PERMANENT;
}

static int32_t create(const struct prvng_host *h, const void *config, uint64_t n, void **ret_instance)
{
        json_t *o = json_loadb(config, n, JSON_REJECT_DUPLICATES, NULL);
        const char *folder = json_string_value(json_object_get(o, "folder"));
        struct instance *i = NULL;
        int32_t r = PRVNG_DONE;

        if (!json_is_object(o))
                r = refuse("@NAME@: the configuration is no JSON object");
        else if (!folder || folder[0] != '/' || strlen(folder) > 4096)
                r = refuse("@NAME@: folder = \"/etc/prvng/secrets\", or another absolute path, is needed in the "
                           "configuration");
        else if (!(i = calloc(1, sizeof(*i))) || !(i->folder = strdup(folder)))
                r = refuse("@NAME@: no memory");
        json_decref(o);
        if (r != PRVNG_DONE)
                return free(i), r;
        *ret_instance = i;
        return PRVNG_DONE;
}

static void destroy(void *instance)
{
        struct instance *i = instance;

        if (!i)
                return;
        free(i->folder);
        free(i);
}

static const void *get_interface(void *instance, const char *id)
{
        return strcmp(id, PRVNG_SECRET) == 0 ? &table : NULL;
}

static const struct prvng_plugin plugin = {
        .struct_size = sizeof(plugin), .abi_minor = PRVNG_ABI_MINOR, .id = "org.example.prvng.@NAME@",
        .name = "@NAME@", .kind = "secret", .version = "0.1.0", .description = "Secrets in files of KEY=VALUE",
        .licence = "Apache-2.0", .threads = PRVNG_THREADS_PARALLEL, .create = create, .destroy = destroy,
        .get_interface = get_interface};

int32_t prvng_plugin_v1(const struct prvng_host *h, const struct prvng_plugin **ret_plugin)
{
        host = h;
        *ret_plugin = &plugin;
        return PRVNG_DONE;
}
