/* SPDX-License-Identifier: Apache-2.0 */
#include "look.h"

#include "base/problem.h"
#include "client.h"

int look_open(struct look *l, const struct cli *cli, const char *kinds)
{
        _cleanup_(cleanup_free) char *message = NULL;
        char all[128];
        int r;

        *l = (struct look){.cli = cli};
        snprintf(all, sizeof(all), "store %s", kinds);
        r = context_open(cli->config, all, &l->context);
        if (r)
                return r;
        r = site_read(&l->context, &l->journals, &l->site, &message);
        if (r == 0)
                return 0;
        complain(cli, "the journal of this site cannot be read: %s", message ? message : strerror(r < 0 ? -r : EIO));
        look_close(l);
        return EXIT_UNUSABLE;
}

void look_close(struct look *l)
{
        if (l->site)
                site_close(l->journals, l->site);
        l->journals = NULL;
        l->site = NULL;
        if (l->context.config)
                context_close(&l->context);
        l->context = (struct context){0};
}

int look_query(struct look *l, const char *path, struct buf *ret)
{
        _cleanup_(cleanup_free) char *message = NULL;
        int status = query(&l->context, l->journals, l->site, path, ret, &message);

        if (status < 0)
                complain(l->cli, "%s", message ? message : strerror(-status));
        return status;
}

int look_document(struct look *l, const char *path, json_t **ret)
{
        _cleanup_(cleanup_buf) struct buf body = BUF_NULL;
        _cleanup_(cleanup_json_decref) json_t *json = NULL;
        int status = look_query(l, path, &body);

        if (status < 0)
                return EXIT_UNUSABLE;
        if (json_parse(body.data, body.n, &json, NULL) < 0) {
                complain(l->cli, "the answer to %s is no JSON", path);
                return EXIT_UNUSABLE;
        }
        if (status != 200) {
                complain(l->cli, "%s", client_message(json));
                return EXIT_RUN_FAILED;
        }
        *ret = steal(&json);
        return 0;
}

static void suggest_run(const struct look *l, const char *name)
{
        size_t n = 0;
        const char **names = calloc(2 * (size_t)l->site->n_runs + 1, sizeof(*names));
        const char *hint;

        for (uint32_t i = 0; names && i < l->site->n_runs; i++) {
                names[n++] = l->site->runs[i]->name;
                names[n++] = l->site->runs[i]->id_text;
        }
        hint = names ? did_you_mean(name, names, n) : NULL;
        complain(l->cli, "there is no run or workflow named %s%s%s; prvng batch list shows all", name,
                 hint ? ", did you mean " : "", hint ? hint : "");
        free(names);
}

struct run *look_run(struct look *l, const char *id_or_name, bool whole)
{
        _cleanup_(cleanup_free) char *message = NULL;
        struct run *run;
        int r;

        if (!id_or_name && l->site->n_runs == 0) {
                complain(l->cli, "nothing has run here yet");
                return NULL;
        }
        run = id_or_name ? site_run(l->site, id_or_name) : l->site->runs[l->site->n_runs - 1];
        if (!run) {
                suggest_run(l, id_or_name);
                return NULL;
        }
        if (!whole || run->loaded)
                return run;
        r = site_load_run(l->journals, l->site, run, &message);
        if (r != 0) {
                complain(l->cli, "the journal of run %s cannot be read: %s", run->id_text,
                         message ? message : strerror(r < 0 ? -r : EIO));
                return NULL;
        }
        return run;
}
