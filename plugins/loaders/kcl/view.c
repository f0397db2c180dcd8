/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KCL refuses `import workflows` where a file workflows.k or a folder workflows lies in the user's own
 * package, and follows symbolic links to find out. Such a package is copied, its KCL files only, into a
 * folder of ours that has no `workflows`.
 */
#include "kcl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENTRIES_MAX 20000 /* looked at, below the root */
#define DEPTH_MAX 8
#define FILE_MAX (16 << 20)

struct walk {
        const char *entry; /* absolute */
        size_t n;
};

static int copy_file(const char *from, const char *to)
{
        int in = open(from, O_RDONLY | O_CLOEXEC | O_NONBLOCK), out, r = 0;
        struct stat st;

        if (in < 0)
                return errno == EACCES ? 0 : -errno;
        if (fstat(in, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
                close(in);
                return 0;
        }
        out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (out < 0)
                r = -errno;
        for (off_t left = st.st_size; r == 0 && left > 0;) {
                ssize_t n = sendfile(out, in, NULL, (size_t)left);

                if (n < 0 && errno != EINTR)
                        r = -errno;
                if (n == 0)
                        break;
                left -= n > 0 ? n : 0;
        }
        close(in);
        if (out >= 0)
                close(out);
        return r;
}

static bool ends_with(const char *s, const char *end)
{
        size_t n = strlen(s), m = strlen(end);

        return n > m && strcmp(s + n - m, end) == 0;
}

static int copy_folder(struct walk *w, const char *from, const char *to, int depth)
{
        DIR *folder = opendir(from);
        struct dirent *e;
        int r = 0;

        if (!folder)
                return depth && errno == EACCES ? 0 : -errno;
        if (mkdir(to, 0700) < 0 && errno != EEXIST)
                r = -errno;
        while (r == 0 && (e = readdir(folder))) {
                char source[PATH_MAX], target[PATH_MAX];
                struct stat st;

                if (e->d_name[0] == '.')
                        continue;
                if (++w->n > ENTRIES_MAX) {
                        r = -E2BIG;
                        break;
                }
                if ((size_t)snprintf(source, sizeof(source), "%s/%s", from, e->d_name) >= sizeof(source) ||
                    (size_t)snprintf(target, sizeof(target), "%s/%s", to, e->d_name) >= sizeof(target) ||
                    stat(source, &st) < 0)
                        continue;
                if (strcmp(source, w->entry) == 0)
                        snprintf(strrchr(target, '/'), sizeof("/prvng-entry.k"), "/prvng-entry.k");
                else if (depth == 0 && (strcmp(e->d_name, "workflows") == 0 ||
                                        strcmp(e->d_name, "workflows.k") == 0))
                        continue;
                if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX)
                        r = copy_folder(w, source, target, depth + 1);
                else if (S_ISREG(st.st_mode) &&
                         (ends_with(e->d_name, ".k") || strcmp(e->d_name, "kcl.mod") == 0))
                        r = copy_file(source, target);
        }
        closedir(folder);
        return r;
}

int kcl_make_view(const char *root, const char *entry, const char *view)
{
        struct walk w = { .entry = entry };

        return copy_folder(&w, root, view, 0);
}

bool kcl_hides_schemas(const char *root)
{
        char path[PATH_MAX];

        snprintf(path, sizeof(path), "%s/workflows.k", root);
        if (access(path, F_OK) == 0)
                return true;
        snprintf(path, sizeof(path), "%s/workflows", root);
        return access(path, F_OK) == 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        remove(path);
        return 0;
}

void kcl_remove(const char *folder)
{
        nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void kcl_root(const char *path, char *ret_root, size_t size)
{
        char folder[PATH_MAX], mod[PATH_MAX + 16];
        char *slash;

        snprintf(folder, sizeof(folder), "%s", path);
        slash = strrchr(folder, '/');
        if (slash)
                slash[slash == folder] = 0;
        snprintf(ret_root, size, "%s", folder);
        while (folder[1]) {
                snprintf(mod, sizeof(mod), "%s/kcl.mod", folder);
                if (access(mod, F_OK) == 0) {
                        snprintf(ret_root, size, "%s", folder);
                        return;
                }
                slash = strrchr(folder, '/');
                if (!slash)
                        return;
                slash[slash == folder] = 0;
        }
}
