/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/trust.h"

#include "base/buf.h"

#include <limits.h>
#include <openssl/evp.h>
#include <pwd.h>
#include <sys/stat.h>

enum { LINKS_MAX = 40 };

/* 0 with a sentence about one component, or with NULL if it may be trusted. */
static int distrust(const char *path, const struct stat *st, bool last, char **ret_reason)
{
        struct passwd *pw;
        char *reason = NULL;
        int n = 0;

        if (st->st_uid != 0 && st->st_uid != geteuid()) {
                pw = getpwuid(st->st_uid); /* [main] */
                n = asprintf(
                        &reason,
                        "%s belongs to user %s (%u), who is neither root nor you, and "
                        "could replace the plugin: sudo chown root %s, if its content is trusted",
                        path, pw ? pw->pw_name : "unknown", (unsigned int)st->st_uid, path);
        } else if (S_ISLNK(st->st_mode)) {
                n = 0; /* nobody writes to a link */
        } else if (last && !S_ISREG(st->st_mode)) {
                n = asprintf(&reason, "%s is not a file", path);
        } else if (!last && !S_ISDIR(st->st_mode)) {
                n = asprintf(&reason, "%s is not a folder", path);
        } else if (st->st_mode & (S_IWGRP | S_IWOTH) && (last || !(st->st_mode & S_ISVTX))) {
                n = asprintf(&reason, "%s is writable by %s, who could replace the plugin: chmod "
                             "go-w %s", path, st->st_mode & S_IWOTH ? "everybody" : "its group",
                             path);
        }
        if (n < 0)
                return error_origin(-ENOMEM);
        *ret_reason = reason;
        return 0;
}

/* Takes the first component off *rest into name; false at the end. */
static bool next_component(const char **rest, char name[NAME_MAX + 1])
{
        size_t n;

        *rest += strspn(*rest, "/");
        n = strcspn(*rest, "/");
        if (n == 0 || n > NAME_MAX)
                return false;
        memcpy(name, *rest, n);
        name[n] = 0;
        *rest += n;
        return true;
}

/* One symbolic link on the way: what is left to walk becomes its target and the old rest. */
static int follow(struct buf *done, size_t parent, char **todo, const char **rest)
{
        char target[PATH_MAX];
        ssize_t n = readlink(buf_str(done), target, sizeof(target) - 1);
        char *joined;

        if (n < 0)
                return error_origin(-errno);
        target[n] = 0;
        if (asprintf(&joined, "%s/%s", target, *rest) < 0)
                return error_origin(-ENOMEM);
        done->n = target[0] == '/' ? 0 : parent;
        done->data[done->n] = 0;
        free(*todo);
        *todo = joined;
        *rest = joined;
        return 0;
}

static int walk(struct buf *done, char **todo, char **ret_reason)
{
        const char *rest = *todo;
        unsigned int n_links = 0;
        char name[NAME_MAX + 1];
        struct stat st;
        int r;

        if (stat("/", &st) < 0)
                return error_origin(-errno);
        r = distrust("/", &st, false, ret_reason);
        if (r < 0 || *ret_reason)
                return error_fold(r);
        while (next_component(&rest, name)) {
                size_t parent = done->n;
                bool last = rest[strspn(rest, "/")] == 0;

                if (streq(name, "."))
                        continue;
                if (streq(name, "..")) { /* no links in `done`: its parent is the one before */
                        while (done->n && done->data[done->n - 1] != '/')
                                done->n--;
                        done->n -= done->n ? 1 : 0;
                        if (done->data)
                                done->data[done->n] = 0;
                        continue;
                }
                buf_putc(done, '/');
                buf_puts(done, name);
                r = buf_error(done);
                if (r < 0)
                        return error_fold(r);
                if (lstat(buf_str(done), &st) < 0)
                        return asprintf(ret_reason, "%s: %s", buf_str(done), strerror(errno)) < 0
                                       ? error_origin(-ENOMEM) : 0;
                r = distrust(buf_str(done), &st, last, ret_reason);
                if (r < 0 || *ret_reason)
                        return error_fold(r);
                if (!S_ISLNK(st.st_mode))
                        continue;
                if (++n_links > LINKS_MAX)
                        return asprintf(ret_reason, "%s: too many symbolic links",
                                        buf_str(done)) < 0 ? error_origin(-ENOMEM) : 0;
                r = follow(done, parent, todo, &rest);
                if (r < 0)
                        return error_fold(r);
        }
        return 0;
}

int trust_check(const char *path, char **ret_path, char **ret_reason)
{
        _cleanup_(cleanup_buf) struct buf done = BUF_NULL;
        _cleanup_(cleanup_free) char *todo = strdup(path);
        char *reason = NULL, *real;
        int r;

        assert(path[0] == '/');
        if (!todo)
                return error_origin(-ENOMEM);
        r = walk(&done, &todo, &reason);
        if (r < 0)
                return error_fold(r);
        real = reason ? NULL : buf_steal(&done);
        if (!real && !reason)
                return error_origin(-ENOMEM);
        *ret_path = real;
        *ret_reason = reason;
        return 0;
}

DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free)

int trust_digest(int fd, char ret_hex[TRUST_DIGEST])
{
        _cleanup_(cleanup_EVP_MD_CTX_free) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        _cleanup_(cleanup_buf) struct buf hex = BUF_NULL;
        unsigned char digest[32], block[32768];
        off_t at = 0;
        ssize_t n;
        int r;

        if (!ctx || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1)
                return error_origin(-ENOMEM);
        while ((n = pread(fd, block, sizeof(block), at)) != 0) {
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_origin(-errno);
                if (EVP_DigestUpdate(ctx, block, (size_t)n) != 1)
                        return error_origin(-ENOMEM);
                at += n;
        }
        if (EVP_DigestFinal_ex(ctx, digest, NULL) != 1)
                return error_origin(-ENOMEM);
        buf_hex(&hex, digest, sizeof(digest));
        r = buf_error(&hex);
        if (r < 0)
                return error_fold(r);
        memcpy(ret_hex, hex.data, TRUST_DIGEST);
        return 0;
}
