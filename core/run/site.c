/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a site for looking: configuration, plugins, and the folded journal. */
#include "run/site.h"

#include "definition/document.h"
#include "host/host.h"
#include "journal/snapshot.h"

#include <sys/stat.h>

int context_open(const char *config_path, const char *kinds, struct context *ret_context)
{
        _cleanup_(cleanup_problems) struct problems problems = PROBLEMS_NULL;
        struct context c = {0};
        int r;

        r = config_load(config_path, &problems, &c.config);
        if (r == 0 && problems.n > 0) {
                fprintf(stderr, "prvng: the site's configuration is not valid:\n");
                problems_print(&problems, stderr);
                return 3;
        }
        r = r ?: host_new(c.config, NULL, &c.host);
        r = r ?: host_provide(c.host, PRVNG_HOST_DOCUMENT, document_interface());
        if (r == 0 && kinds)
                r = plugins_load(c.config, c.host, *kinds ? kinds : NULL,
                                 *kinds ? 0 : PLUGINS_NOTES_ONLY, &c.plugins);
        else if (r == 0)
                r = plugins_load(c.config, c.host, NULL, 0, &c.plugins);
        if (r) {
                fprintf(stderr, "prvng: the site cannot be opened: %s\n", strerror(-r));
                context_close(&c);
                return 7;
        }
        *ret_context = c;
        return 0;
}

void context_close(struct context *c)
{
        plugins_free(c->plugins);
        host_free(c->host);
        config_free(c->config);
        *c = (struct context){0};
}

/* Folding */

int site_load_run(struct journal *journal, struct site *site, struct run *run, char **ret_message)
{
        enum run_status status = run->status;
        int64_t ended = run->ended_ms;
        uint32_t n_drift = run->n_drift;
        int r;

        if (run->loaded)
                return 0;
        run_unload(run);
        r = run_replay(journal, NULL, run);
        if (r == JOURNAL_E_SHORTCUT) {
                journal->in_full = true;
                run_unload(run);
                r = run_replay(journal, NULL, run);
        }
        if (r > 0)
                *ret_message = strdup(journal->message ?: "");
        else if (r == 0)
                run->loaded = true;
        run->status = status;
        run->ended_ms = ended;
        if (run_status_ended(status)) /* the tasks counted theirs once more */
                run->n_drift = n_drift;
        return r;
}

static int replay(struct journal *journal, struct site *site)
{
        int r = site_replay(journal, site);

        for (uint32_t i = 0; i < site->n_runs && r == 0; i++)
                if (!run_status_ended(site->runs[i]->status)) {
                        r = run_replay(journal, site, site->runs[i]);
                        site->runs[i]->loaded = r == 0;
                }
        return r;
}

char *site_store_folder(const struct config *config)
{
        char *path;

        if (asprintf(&path, "%s/stores/%s", config->state, config->store) < 0)
                return NULL;
        return path;
}

static int find_store(const struct context *c, struct plugin **ret_store, char **ret_message)
{
        struct plugin *store = plugins_find(c->plugins, "store", c->config->store);

        if (store && store->state == PLUGIN_READY && store->store.struct_size) {
                *ret_store = store;
                return 0;
        }
        if (asprintf(ret_message, "the site's store \"%s\" cannot be used: %s", c->config->store,
                     !store                 ? "there is no such plugin; see: prvng plugin list"
                     : store->reason        ? store->reason
                     : store->store.struct_size ? "it is not ready"
                                            : "it has no prvng.store/1") < 0)
                *ret_message = NULL;
        return JOURNAL_E_FAILED;
}

int site_make_folder(const char *path)
{
        char *copy = strdup(path);
        int r = copy ? 0 : -ENOMEM;

        for (char *p = copy; r == 0 && p && (p = strchr(p + 1, '/'));) {
                *p = 0;
                if (mkdir(copy, 0700) < 0 && errno != EEXIST)
                        r = -errno;
                *p = '/';
        }
        if (r == 0 && mkdir(path, 0700) < 0 && errno != EEXIST)
                r = -errno;
        free(copy);
        return r;
}

int site_open_store(const struct context *c, bool read_only, struct journal **ret_journal,
                    char **ret_message)
{
        _cleanup_(cleanup_free) char *folder = site_store_folder(c->config);
        struct plugin *store;
        int r;

        if (!folder)
                return error_origin(-ENOMEM);
        r = find_store(c, &store, ret_message);
        return r ?: journal_open(store, folder, read_only, ret_journal, ret_message);
}

int site_read(const struct context *c, struct journal **ret_journal, struct site **ret_site,
              char **ret_message)
{
        _cleanup_(cleanup_free) char *folder = site_store_folder(c->config);
        struct journal *journal = NULL;
        struct site *site = calloc(1, sizeof(*site));
        int r = 0;

        if (!folder || !site) {
                free(site);
                return error_origin(-ENOMEM);
        }
        if (access(folder, F_OK) == 0) { /* else there never was an engine: an empty site */
                r = site_open_store(c, true, &journal, ret_message);
                r = r ?: replay(journal, site);
                if (r == JOURNAL_E_SHORTCUT && journal) {
                        journal->in_full = true;
                        site_deinit(site);
                        r = replay(journal, site);
                }
                if (r > 0 && !*ret_message && journal && journal->message)
                        *ret_message = strdup(journal->message);
        }
        if (r) {
                site_close(journal, site);
                return r;
        }
        *ret_journal = journal;
        *ret_site = site;
        return 0;
}

void site_close(struct journal *journal, struct site *site)
{
        journal_close(journal);
        if (site) {
                site_deinit(site);
                free(site);
        }
}

struct lines {
        uint64_t from;
        struct buf *lines;
};

static int collect_line(void *userdata, const struct record *r, const char *line, size_t n_line)
{
        struct lines *l = userdata;

        if (r->seq <= l->from)
                return 0;
        buf_append(l->lines, line, n_line);
        buf_putc(l->lines, '\n');
        return buf_error(l->lines);
}

int site_events(struct journal *journal, const struct run *run, uint64_t from, struct buf *lines)
{
        struct lines l = {.from = from, .lines = lines};

        return journal ? journal_read(journal, run->stream, collect_line, &l) : 0;
}
