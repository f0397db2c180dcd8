/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server has of its own from its first start on: name, names of the others, name servers,
 * keys.
 */
#include "helper.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define HOSTS_BEGIN "# prvng: servers of this site (kept up to date; other lines are left alone)\n"
#define HOSTS_END "# prvng: end\n"

#define SLIRP_NAME_SERVER "10.0.2.3" /* slirp4netns answers here with what the machine knows */

/* The machine's name servers as the server can use them: a resolver on the machine's own loopback
 * is out of its reach, so what that one asks is taken instead. */
static char *name_servers(void)
{
        static const char *const files[] = {"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"};
        char *text = NULL;
        size_t n = 0, found = 0;
        FILE *out = open_memstream(&text, &n);

        for (size_t i = 0; out && i < N_ELEMENTS(files) && found == 0; i++) {
                _cleanup_(cleanup_fclose) FILE *f = fopen(files[i], "re");
                char line[512], address[128];

                while (f && fgets(line, sizeof(line), f)) {
                        if (sscanf(line, " nameserver %127s", address) == 1) {
                                if (strncmp(address, "127.", 4) == 0 || streq(address, "::1"))
                                        continue;
                                fprintf(out, "nameserver %s\n", address);
                                found++;
                        } else if (strncmp(line, "search ", 7) == 0 ||
                                   strncmp(line, "domain ", 7) == 0) {
                                fputs(line, out);
                        }
                }
        }
        if (out && found == 0 && helper_rootless)
                fputs("nameserver " SLIRP_NAME_SERVER "\n", out);
        if (!out || fclose(out) != 0)
                return NULL;
        return text;
}

/* Opens below `root` as if it were the root: nothing inside can lead out of it. */
static int open_in(int root, const char *path, uint64_t flags)
{
        struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
        int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));

        return fd < 0 ? -errno : fd;
}

static char *read_in(int folder, const char *name)
{
        int fd = open_in(folder, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
        _cleanup_(cleanup_fclose) FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;
        char *text = NULL;
        size_t n = 0;

        if (!f || getdelim(&text, &n, '\0', f) < 0) {
                free(text);
                return strdup("");
        }
        return text;
}

static int write_in(int folder, const char *name, const char *text)
{
        _cleanup_(cleanup_free) char *temporary = local_format(".%s.prvng", name);

        if (!temporary)
                return -ENOMEM;
        unlinkat(folder, temporary, 0);
        int fd = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (fd < 0)
                return -errno;
        ssize_t n = write(fd, text, strlen(text));
        fchmod(fd, 0644);
        close(fd);
        if (n != (ssize_t)strlen(text) || renameat(folder, temporary, folder, name) < 0) {
                unlinkat(folder, temporary, 0);
                return n < 0 ? -errno : -EIO;
        }
        return 0;
}

/* `old` with our block taken out and the new one put at its end. */
static char *with_block(char *old, const char *names)
{
        char *begin = strstr(old, HOSTS_BEGIN), *end = begin ? strstr(begin, HOSTS_END) : NULL;

        if (begin && end)
                memmove(begin, end + strlen(HOSTS_END), strlen(end + strlen(HOSTS_END)) + 1);
        if (!*old)
                return local_format("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n%s%s%s",
                                    HOSTS_BEGIN, names, HOSTS_END);
        return local_format("%s%s%s%s", old, HOSTS_BEGIN, names, HOSTS_END);
}

int hosts_update(const char *root, const char *site_folder)
{
        _cleanup_(cleanup_free) char *path = local_format("%s/hosts", site_folder);
        _cleanup_(cleanup_free) char *names = NULL;
        _cleanup_(cleanup_close) int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);

        if (!path || fd < 0)
                return -errno;
        int r = local_read_text(path, &names);
        if (r < 0)
                return r;
        _cleanup_(cleanup_close) int etc = open_in(fd, "etc", O_RDONLY | O_DIRECTORY);
        if (etc < 0)
                return etc;
        _cleanup_(cleanup_free) char *old = read_in(etc, "hosts");
        _cleanup_(cleanup_free) char *before = old ? strdup(old) : NULL;
        _cleanup_(cleanup_free) char *now = old ? with_block(old, names) : NULL;
        if (!now || !before)
                return -ENOMEM;
        return streq(before, now) ? 0 : write_in(etc, "hosts", now);
}

static int seed_keys(const char *server, const json_t *keys)
{
        _cleanup_(cleanup_free) char *folder = local_format("%s/upper/root/.ssh", server);
        _cleanup_(cleanup_free) char *file =
                local_format("%s/upper/root/.ssh/authorized_keys", server);
        _cleanup_(cleanup_free) char *text = strdup("");
        size_t i;
        json_t *key;
        int r = 0;

        if (!folder || !file)
                return -ENOMEM;
        if (json_array_size(keys) == 0)
                return 0;
        json_array_foreach(keys, i, key)
        {
                char *more = local_format("%s%s\n", text, json_string_value(key));

                free(text);
                text = more;
                if (!text)
                        return -ENOMEM;
        }
        r = local_make_folders(folder, 0700);
        return r < 0 ? r : local_write_text(file, text, 0600, false);
}

/* An id of its own. With an empty one systemd would take its start for the first of all and go
 * through every unit. */
static int seed_machine_id(const char *server)
{
        _cleanup_(cleanup_free) char *file = local_format("%s/upper/etc/machine-id", server);
        _cleanup_(cleanup_free) char *uuid = NULL;
        char id[34] = "";
        size_t n = 0;

        if (!file || local_read_text("/proc/sys/kernel/random/uuid", &uuid) < 0)
                return -EIO;
        for (const char *p = uuid; *p && n < 32; p++)
                if (*p != '-' && *p != '\n')
                        id[n++] = *p;
        id[n] = '\n';
        return local_write_text(file, id, 0444, false);
}

int boot_seed(const struct boot *b, const json_t *server, char **ret_error)
{
        static const char *const folders[] = {"upper/etc", "work", "root", "data"};
        _cleanup_(cleanup_free) char *servers = name_servers();
        _cleanup_(cleanup_free) char *upper = local_format("%s/upper", b->server);
        _cleanup_(cleanup_free) char *hostname = local_format("%s/upper/etc/hostname", b->server);
        _cleanup_(cleanup_free) char *resolv = local_format("%s/upper/etc/resolv.conf", b->server);
        _cleanup_(cleanup_free) char *name = local_format("%s\n", b->name);
        int r = 0;

        if (!servers || !upper || !hostname || !resolv || !name)
                return -ENOMEM;
        for (size_t i = 0; r == 0 && i < N_ELEMENTS(folders); i++) {
                _cleanup_(cleanup_free) char *path = local_format("%s/%s", b->server, folders[i]);
                r = path ? local_make_folders(path, 0755) : -ENOMEM;
        }
        /* Written once: from then on they are the server's, and what is installed there may change
         * them. */
        if (r == 0 && access(hostname, F_OK) < 0) {
                r = local_write_text(resolv, servers, 0644, false);
                if (r == 0)
                        r = seed_machine_id(b->server);
                if (r == 0)
                        r = seed_keys(b->server,
                                      json_object_get(json_object_get(server, "spec"), "ssh_keys"));
                if (r == 0)
                        r = local_write_text(hostname, name, 0644, false);
        }
        if (r == 0)
                r = hosts_update(upper, b->site->folder);
        if (r < 0)
                *ret_error = local_format("preparing %s: %s", upper, strerror(-r));
        return r;
}
