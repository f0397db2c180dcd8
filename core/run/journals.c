/* SPDX-License-Identifier: Apache-2.0 */
#include "run/journals.h"

#include "journal/seal.h"
#include "run/site.h"

#include <sys/stat.h>

static _printf_(3, 4) int refuse(char **ret_message, int condition, const char *format, ...)
{
        char *message;
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&message, format, ap) < 0)
                message = NULL;
        va_end(ap);
        free(*ret_message);
        *ret_message = message;
        return condition;
}

char *journals_folder(const struct config *config, const char *store)
{
        char *path;

        return asprintf(&path, "%s/stores/%s", config->state, store) < 0 ? NULL : path;
}

static bool is_ready(const struct plugin *store)
{
        return store && store->state == PLUGIN_READY && store->store.struct_size;
}

static int open_journal(const struct context *c, const char *name, bool read_only,
                        struct journal **ret_journal, char **ret_message)
{
        _cleanup_(cleanup_free) char *folder = journals_folder(c->config, name);
        struct plugin *store = plugins_find(c->plugins, "store", name);
        int r;

        if (!folder)
                return error_origin(-ENOMEM);
        if (!is_ready(store))
                return refuse(ret_message, JOURNAL_E_FAILED, "the store \"%s\" cannot be used: %s", name,
                              !store                 ? "there is no such plugin; see: prvng plugin list"
                              : store->reason        ? store->reason
                              : store->state == PLUGIN_DISABLED
                                      ? "the site's configuration disables it"
                              : store->store.struct_size ? "it is not ready"
                                                         : "it has no prvng.store/1");
        r = read_only ? 0 : site_make_folder(folder);
        if (r < 0)
                return refuse(ret_message, r, "cannot make the folder %s: %s", folder, strerror(-r));
        return journal_open(store, folder, read_only, ret_journal, ret_message);
}

static int add(struct journals *js, struct journal *j)
{
        struct journal **list = reallocarray(js->list, js->n + 1, sizeof(struct journal *));

        if (!list)
                return error_origin(-ENOMEM);
        js->list = list;
        js->list[js->n++] = j;
        j->in_full = js->in_full;
        return 0;
}

struct journals *journals_close(struct journals *js)
{
        if (!js)
                return NULL;
        for (uint32_t i = js->n; i-- > 0;)
                journal_close(js->list[i]);
        free(js->list);
        free(js);
        return NULL;
}

int journals_open(const struct context *c, bool read_only, struct journals **ret_journals,
                  char **ret_message)
{
        struct journals *js = calloc(1, sizeof(*js));
        int r;

        if (!js)
                return error_origin(-ENOMEM);
        *js = (struct journals){.context = c, .read_only = read_only};
        r = journals_get(js, c->config->store, &js->home, ret_message);
        if (r) {
                journals_close(js);
                return r;
        }
        *ret_journals = js;
        return 0;
}

void journals_read_in_full(struct journals *js)
{
        js->in_full = true;
        for (uint32_t i = 0; i < js->n; i++)
                js->list[i]->in_full = true;
}

struct journal *journals_find(const struct journals *js, const char *store)
{
        for (uint32_t i = 0; i < js->n; i++)
                if (streq(js->list[i]->plugin->name, store))
                        return js->list[i];
        return NULL;
}

int journals_get(struct journals *js, const char *store, struct journal **ret_journal,
                 char **ret_message)
{
        struct journal *j = journals_find(js, store);
        int r;

        if (!j) {
                r = open_journal(js->context, store, js->read_only, &j, ret_message);
                if (r)
                        return r;
                r = add(js, j);
                if (r) {
                        journal_close(j);
                        return r;
                }
        }
        *ret_journal = j;
        return 0;
}

static bool has_stream(struct journal *j, const char *name)
{
        uint32_t last;

        return journal_last_segment(j, name, &last) == 0 && last > 0;
}

int journals_of_run(struct journals *js, const struct run *run, struct journal **ret_journal,
                    char **ret_message)
{
        _cleanup_(cleanup_free) char *why = NULL;
        struct journal *j = js->home;
        int r = 0;

        if (run->compacted)
                return refuse(ret_message, JOURNAL_E_FAILED,
                              "run %s of %s was compacted: what it did is no longer in the journal, only "
                              "that it was, and what it made", run->id_text, run->name);
        if (run->store && *run->store && !streq(run->store, js->home->plugin->name)) {
                r = journals_get(js, run->store, &j, &why);
                if ((r || !has_stream(j, run->stream)) && has_stream(js->home, run->stream)) {
                        j = js->home;
                        r = 0;
                }
        }
        if (r)
                return refuse(ret_message, r, "run %s of %s is kept in another store than the site: %s",
                              run->id_text, run->name, why ? why : strerror(r < 0 ? -r : EIO));
        *ret_journal = j;
        return 0;
}

int journals_others(const struct context *c, int (*f)(void *userdata, const char *store),
                    void *userdata)
{
        int r = 0;

        for (size_t i = 0; i < c->plugins->n && r == 0; i++) {
                const struct plugin *p = &c->plugins->list[i];
                _cleanup_(cleanup_free) char *folder = NULL;

                if (!streq(p->kind, "store") || !is_ready(p) || streq(p->name, c->config->store))
                        continue;
                folder = journals_folder(c->config, p->name);
                if (!folder)
                        return error_origin(-ENOMEM);
                if (access(folder, F_OK) == 0)
                        r = f(userdata, p->name);
        }
        return r;
}
