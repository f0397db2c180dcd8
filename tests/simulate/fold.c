/* SPDX-License-Identifier: Apache-2.0 */
/* What is durable, folded anew, must be what the engine has in memory whenever it has nothing to do. */
#include "simulate/sim.h"

#include "journal/snapshot.h"

static int dump(struct buf *b, const struct site *s)
{
        int r = dump_site(s, b);

        for (uint32_t i = 0; i < s->n_runs && r == 0; i++)
                if (!s->runs[i]->closed)
                        r = dump_run(s->runs[i], b);
        return r;
}

/* As an engine that starts would read it: by the snapshots that are there, or all of it. */
static int fold(struct journal *j, struct site *site, bool in_full)
{
        int r;

        j->in_full = in_full;
        r = site_replay(j, site);
        for (uint32_t i = 0; i < site->n_runs && r == 0; i++)
                if (!site->runs[i]->closed)
                        r = run_replay(j, site, site->runs[i]);
        return r;
}

static void show_difference(const char *when, bool in_full, const struct buf *memory, const struct buf *disk)
{
        const char *p = buf_str(memory), *q = buf_str(disk);
        size_t line = 0;

        for (size_t i = 0; p[i] && p[i] == q[i]; i++)
                if (p[i] == '\n')
                        line = i + 1;
        violated("fold", "%s: in memory: %.*s; in the journal%s: %.*s", when, (int)strcspn(p + line, "\n"),
                 p + line, in_full ? "" : ", by its snapshots", (int)strcspn(q + line, "\n"), q + line);
}

static void compare(const char *when, bool in_full)
{
        _cleanup_(cleanup_buf) struct buf memory = BUF_NULL, disk = BUF_NULL;
        struct plugin *store = plugins_find(&sim->plugins, "store", "sim");
        struct site site = SITE_NULL;
        struct journal *j = NULL;
        char *message = NULL;
        int r;

        r = journal_open(store, "/sim", true, &j, &message) ?: fold(j, &site, in_full);
        if (r)
                violated("fold", "%s: the journal cannot be read back%s: %s", when,
                         in_full ? "" : " by its snapshots",
                         message ?: j && j->message ? j->message : "a record does not follow");
        else if (dump(&memory, &sim->process->site) == 0 && dump(&disk, &site) == 0 &&
                 (memory.n != disk.n || memcmp(memory.data, disk.data, disk.n) != 0))
                show_difference(when, in_full, &memory, &disk);
        journal_close(j);
        site_deinit(&site);
        free(message);
}

void fold_compare(const char *when)
{
        sim->looking = true;
        compare(when, true);
        compare(when, false);
        sim->looking = false;
}
