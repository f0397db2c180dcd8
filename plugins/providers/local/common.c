/* SPDX-License-Identifier: Apache-2.0 */
#include "common.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>

char *local_format(const char *format, ...)
{
        va_list ap;
        char *s = NULL;

        va_start(ap, format);
        if (vasprintf(&s, format, ap) < 0)
                s = NULL;
        va_end(ap);
        return s;
}

const char *local_string(const json_t *object, const char *key, const char *otherwise)
{
        const json_t *v = json_object_get(object, key);

        return json_is_string(v) ? json_string_value(v) : otherwise;
}

int64_t local_integer(const json_t *object, const char *key, int64_t otherwise)
{
        const json_t *v = json_object_get(object, key);

        return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

int local_read_json(const char *path, json_t **ret)
{
        _cleanup_(cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        json_t *j = json_loadfd(fd, JSON_REJECT_DUPLICATES, NULL);
        if (!json_is_object(j)) {
                json_decref(j);
                return -EBADMSG;
        }
        *ret = j;
        return 0;
}

static int write_all(int fd, const char *text, size_t n)
{
        while (n > 0) {
                ssize_t w = write(fd, text, n);
                if (w < 0 && errno == EINTR)
                        continue;
                if (w < 0)
                        return -errno;
                text += w;
                n -= (size_t)w;
        }
        return 0;
}

/* A rename is durable once its folder is. */
static int sync_parent(const char *path)
{
        _cleanup_(cleanup_free) char *folder = strdup(path);
        char *slash = folder ? strrchr(folder, '/') : NULL;

        if (!slash)
                return -EINVAL;
        *slash = '\0';
        _cleanup_(cleanup_close) int fd =
                open(*folder ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) < 0)
                return -errno;
        return 0;
}

int local_write_text(const char *path, const char *text, mode_t mode, bool sync)
{
        _cleanup_(cleanup_free) char *temporary = local_format("%s.XXXXXX", path);

        if (!temporary)
                return -ENOMEM;
        _cleanup_(cleanup_close) int fd = mkostemp(temporary, O_CLOEXEC);
        if (fd < 0)
                return -errno;
        int r = write_all(fd, text, strlen(text));
        if (r == 0 && (fchmod(fd, mode) < 0 || (sync && fsync(fd) < 0)))
                r = -errno;
        if (r == 0 && rename(temporary, path) < 0)
                r = -errno;
        if (r < 0) {
                unlink(temporary);
                return r;
        }
        return sync ? sync_parent(path) : 0;
}

int local_write_json(const char *path, const json_t *object, bool sync)
{
        _cleanup_(cleanup_free) char *text = json_dumps(object, JSON_INDENT(2) | JSON_SORT_KEYS);

        return text ? local_write_text(path, text, 0600, sync) : -ENOMEM;
}

int local_read_text(const char *path, char **ret)
{
        _cleanup_(cleanup_fclose) FILE *f = fopen(path, "re");
        char *text = NULL;
        size_t n = 0;

        if (!f)
                return -errno;
        errno = 0;
        if (getdelim(&text, &n, '\0', f) < 0 && !feof(f)) {
                free(text);
                return errno ? -errno : -EIO;
        }
        if (!text)
                text = strdup("");
        if (!text)
                return -ENOMEM;
        *ret = text;
        return 0;
}

int local_write_proc(const char *path, const char *text)
{
        _cleanup_(cleanup_close) int fd = open(path, O_WRONLY | O_CLOEXEC);

        if (fd < 0 || write(fd, text, strlen(text)) < 0)
                return -errno;
        return 0;
}

int local_make_folders(const char *path, mode_t mode)
{
        _cleanup_(cleanup_free) char *p = strdup(path);

        if (!p)
                return -ENOMEM;
        for (char *s = p + 1; *s; s++)
                if (*s == '/') {
                        *s = '\0';
                        if (mkdir(p, mode) < 0 && errno != EEXIST)
                                return -errno;
                        *s = '/';
                }
        return mkdir(p, mode) < 0 && errno != EEXIST ? -errno : 0;
}

static int remove_in(int parent, const char *name, dev_t device)
{
        int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        struct stat st;
        DIR *d;
        int r = 0;

        if (fd < 0) {
                if (errno != ENOTDIR && errno != ELOOP)
                        return errno == ENOENT ? 0 : -errno;
                return unlinkat(parent, name, 0) < 0 && errno != ENOENT ? -errno : 0;
        }
        if (fstat(fd, &st) < 0 || !(d = fdopendir(fd))) {
                r = -errno;
                close(fd);
                return r;
        }
        if (st.st_dev != device)
                r = -EXDEV;
        for (struct dirent *e; r == 0 && (e = readdir(d));)
                if (!streq(e->d_name, ".") && !streq(e->d_name, ".."))
                        r = remove_in(dirfd(d), e->d_name, device);
        closedir(d);
        if (r == 0 && unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
                r = -errno;
        return r;
}

int local_remove_tree(const char *path)
{
        struct stat st;

        if (lstat(path, &st) < 0)
                return errno == ENOENT ? 0 : -errno;
        return remove_in(AT_FDCWD, path, st.st_dev);
}

bool local_valid_name(const char *name)
{
        size_t n = strlen(name);

        if (n == 0 || n > LOCAL_NAME_MAX || name[0] == '-' || name[n - 1] == '-')
                return false;
        return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

int local_lock_folder(const char *folder, int *ret_fd)
{
        int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        while (flock(fd, LOCK_EX) < 0)
                if (errno != EINTR) {
                        int r = -errno;
                        close(fd);
                        return r;
                }
        *ret_fd = fd;
        return 0;
}

int local_lock_monitor(const char *server, int *ret_fd)
{
        _cleanup_(cleanup_free) char *path = local_format("%s/monitor.lock", server);
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

        if (!path)
                return -ENOMEM;
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
                int r = errno == EACCES ? -EAGAIN : -errno;
                close(fd);
                return r;
        }
        *ret_fd = fd;
        return 0;
}

bool local_monitor_alive(const char *server)
{
        _cleanup_(cleanup_free) char *path = local_format("%s/monitor.lock", server);
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        _cleanup_(cleanup_close) int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;

        /* Asks for the lock without taking it, so that looking never disturbs a monitor that
         * starts. */
        return fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

static int64_t process_start(pid_t pid)
{
        char path[64];
        _cleanup_(cleanup_free) char *text = NULL;
        unsigned long long start;

        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        if (local_read_text(path, &text) < 0)
                return -1;
        /* The name in parentheses may hold anything: count from its end. */
        const char *p = strrchr(text, ')');
        if (!p || sscanf(p + 1,
                         " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d"
                         " %*d %*d %llu",
                         &start) != 1)
                return -1;
        return (int64_t)start;
}

static char *boot_id(void)
{
        char *text = NULL;

        if (local_read_text("/proc/sys/kernel/random/boot_id", &text) < 0)
                return NULL;
        text[strcspn(text, "\n")] = '\0';
        return text;
}

json_t *local_process(pid_t pid)
{
        _cleanup_(cleanup_free) char *boot = boot_id();

        return json_pack("{s:i, s:I, s:s}", "pid", (int)pid, "start",
                         (json_int_t)process_start(pid), "boot", boot ? boot : "");
}

int local_process_open(const json_t *process, pid_t *ret_pid)
{
        _cleanup_(cleanup_free) char *boot = boot_id();
        pid_t pid = (pid_t)local_integer(process, "pid", 0);

        if (pid <= 0 || !boot || !streq(boot, local_string(process, "boot", "")))
                return -ESRCH;
        int fd = (int)syscall(SYS_pidfd_open, pid, 0);
        if (fd < 0)
                return errno == EINVAL ? -ESRCH : -errno;
        /* Looked at after the pidfd was opened: what it names now cannot change any more. */
        if (process_start(pid) != local_integer(process, "start", -2)) {
                close(fd);
                return -ESRCH;
        }
        if (ret_pid)
                *ret_pid = pid;
        return fd;
}

bool local_process_alive(const json_t *process)
{
        _cleanup_(cleanup_close) int fd = local_process_open(process, NULL);
        char path[64];
        _cleanup_(cleanup_free) char *text = NULL;

        if (fd < 0)
                return false;
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)local_integer(process, "pid", 0));
        if (local_read_text(path, &text) < 0)
                return false;
        const char *p = strrchr(text, ')');
        return p && p[1] && p[2] != 'Z' && p[2] != 'X';
}

int site_init(struct site *s, const char *folder, uint32_t subnet)
{
        unsigned char digest[EVP_MAX_MD_SIZE];
        unsigned int n = 0;
        char hash[9];

        /* The real path, so that one folder is one site however it is named. */
        char *real = realpath(folder, NULL);
        if (!real)
                return -errno;
        if (EVP_Digest(real, strlen(real), digest, &n, EVP_sha256(), NULL) != 1) {
                free(real);
                return -ENOMEM;
        }
        snprintf(hash, sizeof(hash), "%02x%02x%02x", digest[0], digest[1], digest[2]);
        memset(s, 0, sizeof(*s));
        s->folder = real;
        s->subnet = subnet;
        memcpy(s->hash, hash, sizeof(hash));
        snprintf(s->bridge, sizeof(s->bridge), "prvng-%.6s", hash);
        snprintf(s->table, sizeof(s->table), "prvng_%.6s", hash);
        snprintf(s->cgroup, sizeof(s->cgroup), "prvng-%.6s", hash);
        return 0;
}

void site_done(struct site *s)
{
        free(s->folder);
        s->folder = NULL;
}

int local_parse_subnet(const char *text, uint32_t *ret)
{
        char address[16];
        struct in_addr a;
        size_t n = strcspn(text, "/");

        if (n >= sizeof(address) || !streq(text + n, "/24"))
                return -EINVAL;
        memcpy(address, text, n);
        address[n] = '\0';
        if (inet_pton(AF_INET, address, &a) != 1 || (ntohl(a.s_addr) & 0xff) != 0)
                return -EINVAL;
        *ret = ntohl(a.s_addr);
        return 0;
}

int site_read(struct site *s, const char *folder)
{
        _cleanup_(cleanup_free) char *path = local_format("%s/site.json", folder);
        _cleanup_(cleanup_json) json_t *j = NULL;
        uint32_t subnet;
        int r;

        if (!path)
                return -ENOMEM;
        r = local_read_json(path, &j);
        if (r < 0)
                return r;
        if (local_integer(j, "format", 0) != LOCAL_FORMAT ||
            local_parse_subnet(local_string(j, "subnet", ""), &subnet) < 0)
                return -EBADMSG;
        return site_init(s, folder, subnet);
}

int site_write(const struct site *s, int ip_forward_was, const char *registry)
{
        _cleanup_(cleanup_free) char *path = local_format("%s/site.json", s->folder);
        char subnet[24];

        site_address(s, 0, subnet);
        strcat(subnet, "/24");
        _cleanup_(cleanup_json) json_t *j =
                json_pack("{s:i, s:s, s:s, s:s, s:i, s:s}", "format", LOCAL_FORMAT, "subnet",
                          subnet, "bridge", s->bridge, "hash", s->hash, "ip_forward_was",
                          ip_forward_was, "registry", registry);
        return path && j ? local_write_json(path, j, true) : -ENOMEM;
}

void site_forget(const struct site *s)
{
        _cleanup_(cleanup_free) char *path = local_format("%s/site.json", s->folder);
        _cleanup_(cleanup_free) char *hosts = local_format("%s/hosts", s->folder);
        _cleanup_(cleanup_free) char *servers = local_format("%s/servers", s->folder);
        _cleanup_(cleanup_json) json_t *j = NULL;

        if (!path || !hosts || !servers)
                return;
        if (local_read_json(path, &j) == 0 && *local_string(j, "registry", ""))
                unlink(local_string(j, "registry", ""));
        unlink(hosts);
        rmdir(servers);
        unlink(path);
}

char *site_server(const struct site *s, const char *name)
{
        return local_format("%s/servers/%s", s->folder, name);
}

void site_address(const struct site *s, unsigned index, char ret[static 16])
{
        uint32_t a = s->subnet + index;

        snprintf(ret, 16, "%u.%u.%u.%u", a >> 24, (a >> 16) & 0xff, (a >> 8) & 0xff, a & 0xff);
}

static int by_name(const void *a, const void *b)
{
        const char *const *x = a, *const *y = b;

        return strcmp(*x, *y);
}

int site_servers(const struct site *s, json_t **ret)
{
        _cleanup_(cleanup_free) char *folder = local_format("%s/servers", s->folder);
        char *names[LOCAL_LAST_HOST * 2];
        size_t n = 0;
        json_t *list = json_array();

        if (!folder || !list) {
                json_decref(list);
                return -ENOMEM;
        }
        DIR *d = opendir(folder);
        for (struct dirent *e; d && n < N_ELEMENTS(names) && (e = readdir(d));)
                if (local_valid_name(e->d_name) && (names[n] = strdup(e->d_name)))
                        n++;
        if (d)
                closedir(d);
        qsort(names, n, sizeof(names[0]), by_name);
        for (size_t i = 0; i < n; i++) {
                json_array_append_new(list, json_string(names[i]));
                free(names[i]);
        }
        *ret = list;
        return 0;
}

static bool json_array_has(const json_t *array, const char *text)
{
        size_t i;
        json_t *v;

        json_array_foreach(array, i, v) if (streq(json_string_value(v), text)) return true;
        return false;
}

int site_write_hosts(const struct site *s, const char *without)
{
        _cleanup_(cleanup_free) char *path = local_format("%s/hosts", s->folder);
        _cleanup_(cleanup_json) json_t *names = NULL;
        _cleanup_(cleanup_free) char *text = NULL;
        char address[16], machine[65] = "";
        size_t n_text = 0, i;
        json_t *name;
        int r = site_servers(s, &names);

        if (r < 0 || !path)
                return r < 0 ? r : -ENOMEM;
        FILE *f = open_memstream(&text, &n_text);
        if (!f)
                return -ENOMEM;
        gethostname(machine, sizeof(machine) - 1);
        site_address(s, 1, address);
        fprintf(f, "%s\tprvng-host", address);
        if (local_valid_name(machine) && !streq(machine, "localhost") &&
            !json_array_has(names, machine))
                fprintf(f, " %s", machine);
        fputc('\n', f);
        json_array_foreach(names, i, name)
        {
                _cleanup_(cleanup_json) json_t *server = NULL;
                _cleanup_(cleanup_free) char *file = local_format(
                        "%s/servers/%s/server.json", s->folder, json_string_value(name));

                if (!file || local_read_json(file, &server) < 0 ||
                    (without && streq(without, json_string_value(name))))
                        continue;
                site_address(s, (unsigned)local_integer(server, "index", 0), address);
                fprintf(f, "%s\t%s\n", address, json_string_value(name));
        }
        if (fclose(f) != 0)
                return -ENOMEM;
        return local_write_text(path, text, 0644, false);
}
