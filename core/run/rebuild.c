/* SPDX-License-Identifier: Apache-2.0 */
#include "run/rebuild.h"

#include "journal/seal.h"
#include "run/journals.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <time.h>

struct rebuild {
        const struct context *context;
        struct plugins *plugins; /* instances of their own: the site's are open on the old stores */
        struct journal *journals[8];
        size_t n_journals;
        char *from, *home;
        char *stores, *building; /* paths */
        bool swapped;
        char *message;
};

static int refuse(char **ret_message, int r, const char *format, ...) _printf_(3, 4);

static int refuse(char **ret_message, int r, const char *format, ...)
{
        char *message = NULL;
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&message, format, ap) < 0)
                message = NULL;
        va_end(ap);
        free(*ret_message);
        *ret_message = message;
        return r;
}

/* Folders */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        return remove(path);
}

int rebuild_remove(const char *path)
{
        if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0 && errno != ENOENT)
                return -errno;
        return 0;
}

static int sync_folder(const char *path)
{
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;

        if (fd < 0)
                return -errno;
        if (fsync(fd) < 0)
                r = -errno;
        close(fd);
        return r;
}

/* The new journals */

static int open_journal(struct rebuild *rb, const char *store, struct journal **ret)
{
        struct plugin *plugin = plugins_find(rb->plugins, "store", store);
        _cleanup_(cleanup_free) char *folder = NULL;
        int r;

        if (!plugin || plugin->state != PLUGIN_READY || !plugin->store.struct_size ||
            rb->n_journals == N_ELEMENTS(rb->journals))
                return refuse(&rb->message, JOURNAL_E_FAILED, "the store \"%s\" is needed and cannot be "
                              "used: %s; see: prvng plugin list", store,
                              plugin && plugin->reason ? plugin->reason : "there is no such plugin");
        if (asprintf(&folder, "%s/%s", rb->building, store) < 0) {
                folder = NULL;
                return error_origin(-ENOMEM);
        }
        r = site_make_folder(folder);
        if (r < 0)
                return refuse(&rb->message, r, "cannot make the folder %s: %s", folder, strerror(-r));
        r = journal_open(plugin, folder, false, ret, &rb->message);
        if (r == 0)
                rb->journals[rb->n_journals++] = *ret;
        return r;
}

static int get_journal(struct rebuild *rb, const char *store, struct journal **ret)
{
        for (size_t i = 0; i < rb->n_journals; i++)
                if (streq(rb->journals[i]->plugin->name, store)) {
                        *ret = rb->journals[i];
                        return 0;
                }
        return open_journal(rb, store, ret);
}

static void close_journals(struct rebuild *rb)
{
        while (rb->n_journals > 0)
                journal_close(rb->journals[--rb->n_journals]);
}

int rebuild_new(const struct context *c, const char *from, const char *home, struct rebuild **ret_rebuild,
                char **ret_message)
{
        struct rebuild *rb = calloc(1, sizeof(*rb));
        int r;

        if (!rb)
                return error_origin(-ENOMEM);
        rb->context = c;
        rb->from = strdup(from);
        rb->home = strdup(home);
        if (!rb->from || !rb->home || asprintf(&rb->stores, "%s/stores", c->config->state) < 0 ||
            asprintf(&rb->building, "%s/stores.building", c->config->state) < 0) {
                rb->swapped = true; /* nothing was made */
                rebuild_free(rb);
                return error_origin(-ENOMEM);
        }
        r = rebuild_remove(rb->building); /* of one that died */
        r = r ? r : site_make_folder(rb->building);
        if (r)
                refuse(ret_message, r, "cannot make the folder %s anew: %s", rb->building, strerror(-r));
        r = r ? r : plugins_load(c->config, c->host, "store", 0, &rb->plugins);
        if (r) {
                rebuild_free(rb);
                return r;
        }
        *ret_rebuild = rb;
        return 0;
}

struct rebuild *rebuild_free(struct rebuild *rb)
{
        if (!rb)
                return NULL;
        close_journals(rb);
        plugins_free(rb->plugins);
        if (!rb->swapped)
                rebuild_remove(rb->building);
        free(rb->from);
        free(rb->home);
        free(rb->stores);
        free(rb->building);
        free(rb->message);
        free(rb);
        return NULL;
}

const char *rebuild_message(const struct rebuild *rb)
{
        return rb->message;
}

int rebuild_add(void *rebuild, const struct copied *c)
{
        struct rebuild *rb = rebuild;
        struct journal *j = NULL;
        struct store_call call;
        int r = get_journal(rb, streq(c->store, rb->from) ? rb->home : c->store, &j);

        if (r || c->n == 0)
                return r;
        store_call_begin(j, &call);
        r = store_call_end(j, &call, c->stream,
                           j->plugin->store.append(j->plugin->instance, &call.call.pub, c->stream,
                                                   c->segment, c->data, c->n, j->epoch));
        return r && j->message ? refuse(&rb->message, r, "%s", j->message) : r;
}

/* Finishing */

static int count_record(void *userdata, const struct record *r, const char *line, size_t n_line)
{
        return 0;
}

static int add_records(struct rebuild *rb, struct record *records, size_t n_records)
{
        struct stream *s = NULL;
        struct journal *j = NULL;
        int r;

        r = get_journal(rb, rb->home, &j);
        r = r ? r : stream_open(j, "site", count_record, NULL, &s);
        for (size_t i = 0; r == 0 && i < n_records; i++)
                stream_append(s, &records[i]);
        r = r ? r : stream_commit(s);
        stream_close(s);
        return r > 0 && j && j->message ? refuse(&rb->message, r, "%s", j->message) : r;
}

static int journal_of(void *userdata, const char *store, struct journal **ret_journal, char **ret_message)
{
        struct rebuild *rb = userdata;
        int r = get_journal(rb, store, ret_journal);

        return r > 0 && rb->message ? refuse(ret_message, r, "%s", rb->message) : r;
}

static int verify(struct rebuild *rb, const char *anchor_line, char **ret_message)
{
        _cleanup_(cleanup_audit) struct audit a = AUDIT_NULL;
        _cleanup_(cleanup_anchor) struct anchor anchor = ANCHOR_NULL;
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        struct audit_request request = {.journal = journal_of, .userdata = rb, .home = rb->home,
                                        .anchor = &anchor};
        int r = anchor_add(&anchor, anchor_line);

        if (r)
                return refuse(ret_message, r, "the copy has no anchor to be verified against");
        r = audit_make(&request, &a, ret_message);
        if (r || !audit_first_bad(&a))
                return r;
        audit_describe(audit_first_bad(&a), &text);
        return refuse(ret_message, JOURNAL_E_DAMAGED, "the copy is not what was copied: %s", buf_str(&text));
}

int rebuild_finish(struct rebuild *rb, struct record *records, size_t n_records, const char *anchor,
                   char **ret_message)
{
        int r = add_records(rb, records, n_records);

        if (r)
                return rb->message ? refuse(ret_message, r, "%s", rb->message) : r;
        r = verify(rb, anchor, ret_message);
        close_journals(rb); /* what the stores hold open is closed before it moves */
        r = r ? r : sync_folder(rb->building);
        return r ? r : sync_folder(rb->context->config->state);
}

/* STATE/stores.replaced-20261122T104000Z; with .2 and so on behind it, if there is one. */
static int free_name(const struct rebuild *rb, int64_t wall_ms, char **ret)
{
        time_t s = (time_t)(wall_ms / 1000);
        char when[32];
        struct tm tm;

        gmtime_r(&s, &tm);
        strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &tm);
        for (unsigned i = 1;; i++) {
                char tail[16] = "";

                if (i > 1)
                        snprintf(tail, sizeof(tail), ".%u", i);
                if (asprintf(ret, "%s.replaced-%s%s", rb->stores, when, tail) < 0)
                        return error_origin(-ENOMEM);
                if (access(*ret, F_OK) < 0)
                        return 0;
                free(*ret);
        }
}

int rebuild_swap(struct rebuild *rb, int64_t wall_ms, char **ret_aside, char **ret_message)
{
        _cleanup_(cleanup_free) char *aside = NULL;
        const char *state = rb->context->config->state;
        int r = free_name(rb, wall_ms, &aside);

        if (r)
                return r;
        /* First its later name, so that nothing is ever removed as a leftover that holds the old stores. */
        if (rename(rb->building, aside) < 0)
                return refuse(ret_message, -errno, "cannot rename %s: %s", rb->building, strerror(errno));
        rb->swapped = true;
        r = sync_folder(state);
        if (r == 0 && renameat2(AT_FDCWD, aside, AT_FDCWD, rb->stores, RENAME_EXCHANGE) < 0)
                r = -errno;
        if (r) {
                refuse(ret_message, r, "cannot exchange %s and %s: %s", rb->stores, aside, strerror(-r));
                rebuild_remove(aside);
                return r;
        }
        *ret_aside = steal(&aside);
        return sync_folder(state);
}
