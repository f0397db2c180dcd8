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

int context_check_critical(const struct context *c, char **ret_message)
{
        const struct plugins *plugins = c->plugins;

        for (size_t i = 0; i < plugins->n; i++) {
                const struct plugin *plugin = &plugins->list[i];

                if (!plugin->config->critical || plugin->state != PLUGIN_REFUSED)
                        continue;
                if (asprintf(ret_message, "the plugin %s is critical (%s) and was refused: %s",
                             plugin->name, plugin->config->from, plugin->reason) < 0)
                        *ret_message = NULL;
                return error_origin(-ENOEXEC);
        }
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

/* The run's own stream; `inventory` may be NULL. */
static int load(struct journals *js, struct site *inventory, struct run *run, char **ret_message)
{
        struct journal *j;
        int r;

        r = journals_of_run(js, run, &j, ret_message);
        if (r)
                return r;
        r = run_replay(j, inventory, run);
        if (r > 0 && r != JOURNAL_E_SHORTCUT)
                *ret_message = strdup(j->message ?: "");
        else if (r == 0)
                run->loaded = true;
        return r;
}

int site_load_run(struct journals *journals, struct site *site, struct run *run, char **ret_message)
{
        enum run_status status = run->status;
        int64_t ended = run->ended_ms;
        uint32_t n_drift = run->n_drift;
        int r;

        if (run->loaded)
                return 0;
        run_unload(run);
        r = load(journals, NULL, run, ret_message);
        if (r == JOURNAL_E_SHORTCUT) {
                journals_read_in_full(journals);
                run_unload(run);
                r = load(journals, NULL, run, ret_message);
        }
        run->status = status;
        run->ended_ms = ended;
        if (run_status_ended(status)) /* the tasks counted theirs once more */
                run->n_drift = n_drift;
        return r;
}

static int replay(struct journals *journals, struct site *site, char **ret_message)
{
        int r = site_replay(journals->home, site);

        for (uint32_t i = 0; i < site->n_runs && r == 0; i++)
                if (!run_status_ended(site->runs[i]->status))
                        r = load(journals, site, site->runs[i], ret_message);
        return r;
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

int site_read(const struct context *c, struct journals **ret_journals, struct site **ret_site,
              char **ret_message)
{
        _cleanup_(cleanup_free) char *folder = journals_folder(c->config, c->config->store);
        struct journals *journals = NULL;
        struct site *site = calloc(1, sizeof(*site));
        int r = 0;

        if (!folder || !site) {
                free(site);
                return error_origin(-ENOMEM);
        }
        if (access(folder, F_OK) == 0) { /* else there never was an engine: an empty site */
                r = journals_open(c, true, &journals, ret_message);
                r = r ?: replay(journals, site, ret_message);
                if (r == JOURNAL_E_SHORTCUT) {
                        journals_read_in_full(journals);
                        site_deinit(site);
                        r = replay(journals, site, ret_message);
                }
                if (r > 0 && !*ret_message && journals && journals->home->message)
                        *ret_message = strdup(journals->home->message);
        }
        if (r) {
                site_close(journals, site);
                return r;
        }
        *ret_journals = journals;
        *ret_site = site;
        return 0;
}

void site_close(struct journals *journals, struct site *site)
{
        journals_close(journals);
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

int site_events(struct journals *journals, const struct run *run, uint64_t from, struct buf *lines,
                char **ret_message)
{
        struct lines l = {.from = from, .lines = lines};
        struct journal *j;
        int r;

        if (!journals)
                return 0;
        r = journals_of_run(journals, run, &j, ret_message);
        if (r)
                return r;
        r = journal_read(j, run->stream, collect_line, &l);
        if (r > 0)
                *ret_message = strdup(j->message ?: "");
        return r;
}
