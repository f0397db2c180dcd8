/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/backup.h"

#include "base/json.h"
#include "journal/seal.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>

static int refuse(char **ret_message, int r, const char *format, ...) _printf_(3, 4);

static int refuse(char **ret_message, int r, const char *format, ...)
{
        va_list ap;

        free(*ret_message);
        va_start(ap, format);
        if (vasprintf(ret_message, format, ap) < 0)
                *ret_message = NULL;
        va_end(ap);
        return r;
}

void backup_head_deinit(struct backup_head *h)
{
        free(h->anchor);
        *h = BACKUP_HEAD_NULL;
}

/* Out of the stores */

static int load(struct journal *j, const char *name, uint32_t segment, struct buf *data)
{
        struct prvng_sink sink = SINK(data, UINT64_MAX);
        struct store_call c;

        buf_clear(data);
        store_call_begin(j, &c);
        return store_call_end(j, &c, name,
                              j->plugin->store.read(j->plugin->instance, &c.call.pub, name, segment, 0,
                                                    &sink));
}

static int copy_stream(const struct audit_request *request, const struct audit_stream *s, struct buf *data,
                       copy_f f, void *userdata, char **ret_message)
{
        struct journal *j = NULL;
        int r = request->journal(request->userdata, s->store, &j, ret_message);

        for (uint32_t i = 1; r == 0 && i <= s->cut.segment; i++) {
                struct copied c = {.store = s->store, .stream = s->name, .segment = i};

                r = load(j, s->name, i, data);
                if (r > 0 && j->message)
                        return refuse(ret_message, r, "%s", j->message);
                if (r)
                        return r;
                c.data = buf_str(data);
                c.n = i == s->cut.segment ? MIN((size_t)s->cut.end, data->n) : data->n;
                r = f(userdata, &c);
        }
        return r;
}

int audit_copy(const struct audit_request *request, const struct audit *a, copy_f f, void *userdata,
               char **ret_message)
{
        _cleanup_(cleanup_buf) struct buf data = BUF_NULL;
        int r = 0;

        assert(!audit_first_bad(a));
        for (uint32_t i = 0; r == 0 && i < a->n; i++)
                if (!a->streams[i].compacted)
                        r = copy_stream(request, &a->streams[i], &data, f, userdata, ret_message);
        return r;
}

/* Into a file */

struct writer {
        int fd;
        EVP_MD_CTX *ctx;
        uint64_t n_segments;
};

static int put(struct writer *w, const void *data, size_t n)
{
        const char *p = data;

        if (w->ctx && !EVP_DigestUpdate(w->ctx, data, n))
                return error_origin(-EIO);
        while (n > 0) {
                ssize_t wrote = write(w->fd, p, n);

                if (wrote < 0 && errno == EINTR)
                        continue;
                if (wrote < 0)
                        return -errno;
                p += wrote;
                n -= (size_t)wrote;
        }
        return 0;
}

static int put_segment(void *userdata, const struct copied *c)
{
        struct writer *w = userdata;
        _cleanup_(cleanup_buf) struct buf line = BUF_NULL;
        int r;

        BUF_LIT(&line, "{\"store\":");
        buf_json(&line, c->store);
        BUF_LIT(&line, ",\"stream\":");
        buf_json(&line, c->stream);
        buf_printf(&line, ",\"segment\":%u,\"bytes\":%zu}\n", c->segment, c->n);
        r = buf_error(&line);
        r = r ? r : put(w, line.data, line.n);
        w->n_segments++;
        return r ? r : put(w, c->data, c->n);
}

static int put_all(struct writer *w, const struct audit_request *request, const struct audit *a, int64_t at,
                   char **ret_message)
{
        _cleanup_(cleanup_buf) struct buf line = BUF_NULL, anchor = BUF_NULL;
        uint8_t digest[32];
        int r;

        audit_anchor(a, &anchor);
        buf_printf(&line, "{\"prvng_backup\":1,\"site\":\"%s\",\"home\":", a->site);
        buf_json(&line, request->home);
        buf_printf(&line, ",\"at\":%lld,\"version\":\"%s\",\"anchor\":\"%s\"}\n", (long long)at,
                   PRVNG_VERSION, buf_str(&anchor));
        r = buf_error(&line);
        r = r ? r : put(w, line.data, line.n);
        r = r ? r : audit_copy(request, a, put_segment, w, ret_message);
        if (r == 0 && !EVP_DigestFinal_ex(w->ctx, digest, NULL))
                r = error_origin(-EIO);
        if (r)
                return r;
        EVP_MD_CTX_free(steal(&w->ctx));
        buf_clear(&line);
        buf_printf(&line, "{\"segments\":%llu,\"sha256\":\"", (unsigned long long)w->n_segments);
        buf_hex(&line, digest, 32);
        BUF_LIT(&line, "\"}\n");
        r = buf_error(&line);
        r = r ? r : put(w, line.data, line.n);
        return r ? r : fsync(w->fd) < 0 ? -errno : 0;
}

static int sync_folder_of(const char *path)
{
        _cleanup_(cleanup_free) char *copy = strdup(path);
        char *slash = copy ? strrchr(copy, '/') : NULL;
        int fd, r;

        if (!copy)
                return error_origin(-ENOMEM);
        if (slash)
                slash[slash == copy] = 0;
        fd = open(slash ? copy : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = fsync(fd) < 0 ? -errno : 0;
        close(fd);
        return r;
}

int backup_write(const char *path, const struct audit_request *request, const struct audit *a, int64_t at,
                 char **ret_message)
{
        _cleanup_(cleanup_free) char *fresh = NULL;
        struct writer w = {.ctx = EVP_MD_CTX_new()};
        int r = 0;

        if (!w.ctx || !EVP_DigestInit_ex(w.ctx, EVP_sha256(), NULL) ||
            asprintf(&fresh, "%s.%ld.part", path, (long)getpid()) < 0) {
                EVP_MD_CTX_free(w.ctx);
                return error_origin(-ENOMEM);
        }
        w.fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (w.fd < 0)
                r = -errno;
        r = r ? r : put_all(&w, request, a, at, ret_message);
        EVP_MD_CTX_free(w.ctx);
        if (w.fd >= 0 && close(w.fd) < 0 && r == 0)
                r = -errno;
        if (r == 0 && renameat2(AT_FDCWD, fresh, AT_FDCWD, path, RENAME_NOREPLACE) < 0)
                r = -errno;
        if (r)
                unlink(fresh);
        return r ? r : sync_folder_of(path);
}

/* Out of a file */

struct backup_reader {
        FILE *file;
        const char *path;
        EVP_MD_CTX *ctx;   /* NULL in the second pass */
        char *line;
        size_t cap;
        uint64_t offset, n_segments;
        struct buf data;
        char **message;
};

static int broken(struct backup_reader *b, const char *what)
{
        return refuse(b->message, -EBADMSG, "%s, byte %llu: %s", b->path, (unsigned long long)b->offset,
                      what);
}

/* The next line as JSON; *ret_n its length with the newline. */
static int next_line(struct backup_reader *b, json_t **ret_json, size_t *ret_n)
{
        ssize_t n = getline(&b->line, &b->cap, b->file);

        if (n < 0)
                return ferror(b->file) ? -EIO : broken(b, "the file ends too early: it is not whole");
        if (b->line[n - 1] != '\n' || json_parse(b->line, (size_t)n - 1, ret_json, NULL) ||
            !json_is_object(*ret_json))
                return broken(b, "this is not a line of a backup");
        *ret_n = (size_t)n;
        return 0;
}

static int digest_more(struct backup_reader *b, const void *data, size_t n)
{
        b->offset += n;
        return !b->ctx || EVP_DigestUpdate(b->ctx, data, n) ? 0 : error_origin(-EIO);
}

static int read_segment(struct backup_reader *b, const json_t *line, copy_f f, void *userdata)
{
        int64_t n = json_get_int(line, "bytes", -1), segment = json_get_int(line, "segment", 0);
        struct copied c = {.store = json_get_string(line, "store", NULL),
                           .stream = json_get_string(line, "stream", NULL), .segment = (uint32_t)segment};
        char *p;
        int r;

        if (!c.store || !c.stream || strchr(c.store, '/') || segment < 1 || segment > UINT32_MAX || n < 0)
                return broken(b, "this is not the line of a segment");
        buf_clear(&b->data);
        while (b->data.n < (size_t)n) { /* a wrong number must not ask for all the memory there is */
                size_t part = MIN((size_t)n - b->data.n, (size_t)1 << 20);

                p = buf_reserve(&b->data, part);
                if (!p)
                        return error_origin(-ENOMEM);
                if (fread(p, 1, part, b->file) != part)
                        return broken(b, "the file ends too early: it is not whole");
                buf_advance(&b->data, part);
        }
        r = digest_more(b, buf_str(&b->data), b->data.n);
        b->n_segments++;
        c.data = buf_str(&b->data);
        c.n = b->data.n;
        return r ? r : f ? f(userdata, &c) : 0;
}

static int read_end(struct backup_reader *b, const json_t *line)
{
        const char *text = json_get_string(line, "sha256", "");
        uint8_t digest[32], is[32];

        if (!hex_read(text, strlen(text), digest, 32) ||
            (uint64_t)json_get_int(line, "segments", -1) != b->n_segments)
                return broken(b, "the last line does not fit what stands before it");
        if (b->ctx && !EVP_DigestFinal_ex(b->ctx, is, NULL))
                return error_origin(-EIO);
        if (b->ctx && memcmp(is, digest, 32) != 0)
                return broken(b, "the digest does not hold: the file was changed");
        if (fgetc(b->file) != EOF)
                return broken(b, "something stands behind the last line");
        return 0;
}

static int read_head(struct backup_reader *b, const json_t *line, struct backup_head *ret)
{
        if (json_get_int(line, "prvng_backup", 0) > 1)
                return broken(b, "this backup was made by a newer version; install that one to read it");
        if (json_get_int(line, "prvng_backup", 0) != 1)
                return broken(b, "this is no backup made by prvng store export");
        if (!ret)
                return 0;
        snprintf(ret->site, sizeof(ret->site), "%s", json_get_string(line, "site", ""));
        snprintf(ret->home, sizeof(ret->home), "%s", json_get_string(line, "home", ""));
        ret->at = json_get_int(line, "at", 0);
        ret->anchor = strdup(json_get_string(line, "anchor", ""));
        return ret->anchor ? 0 : error_origin(-ENOMEM);
}

static int read_through(struct backup_reader *b, struct backup_head *ret_head, copy_f f, void *userdata)
{
        bool first = true;

        rewind(b->file);
        b->offset = b->n_segments = 0;
        for (;;) {
                _cleanup_(cleanup_json_decref) json_t *line = NULL;
                size_t n = 0;
                int r = next_line(b, &line, &n);

                if (r)
                        return r;
                if (json_object_get(line, "sha256"))
                        return first ? broken(b, "this is no backup made by prvng store export")
                                     : read_end(b, line);
                r = first ? read_head(b, line, ret_head) : 0;
                r = r ? r : digest_more(b, b->line, n);
                if (r == 0 && !first)
                        r = read_segment(b, line, f, userdata);
                if (r)
                        return r;
                first = false;
        }
}

int backup_read(const char *path, struct backup_head *ret_head, copy_f f, void *userdata,
                char **ret_message)
{
        struct backup_reader b = {.file = fopen(path, "re"), .path = path, .message = ret_message};
        int r;

        if (!b.file)
                return refuse(ret_message, -errno, "%s: %s", path, strerror(errno));
        b.ctx = EVP_MD_CTX_new();
        r = b.ctx && EVP_DigestInit_ex(b.ctx, EVP_sha256(), NULL) ? 0 : error_origin(-ENOMEM);
        r = r ? r : read_through(&b, ret_head, NULL, NULL);
        EVP_MD_CTX_free(steal(&b.ctx));
        if (r == 0 && f)
                r = read_through(&b, NULL, f, userdata);
        buf_deinit(&b.data);
        free(b.line);
        fclose(b.file);
        return r;
}
