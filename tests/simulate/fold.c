/* SPDX-License-Identifier: Apache-2.0 */
/* What is durable, folded anew, must be what the engine has in memory whenever it has nothing to do. */
#include "simulate/sim.h"

#include "journal/audit.h"
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
static int fold(struct journals *js, struct site *site, bool in_full, char **ret_message)
{
        struct journal *j = js->home;
        int r;

        if (in_full)
                journals_read_in_full(js);
        r = site_replay(j, site);
        for (uint32_t i = 0; i < site->n_runs && r == 0; i++) {
                if (site->runs[i]->closed)
                        continue;
                r = journals_of_run(js, site->runs[i], &j, ret_message);
                r = r ?: run_replay(j, site, site->runs[i]);
        }
        if (r && !*ret_message && j->message)
                *ret_message = strdup(j->message);
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
        struct site site = SITE_NULL;
        struct journals *js = NULL;
        char *message = NULL;
        int r;

        r = journals_open(&sim->context, true, &js, &message) ?: fold(js, &site, in_full, &message);
        if (r == JOURNAL_E_SHORTCUT && !in_full && sim->rotten)
                ; /* it would begin anew, without snapshots: see above */
        else if (r)
                violated("fold", "%s: the journal cannot be read back%s: %s", when,
                         in_full ? "" : " by its snapshots", message ?: "a record does not follow");
        else if (dump(&memory, &sim->process->site) == 0 && dump(&disk, &site) == 0 &&
                 (memory.n != disk.n || memcmp(memory.data, disk.data, disk.n) != 0))
                show_difference(when, in_full, &memory, &disk);
        journals_close(js);
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

/* The whole chain */

static int journal_of(void *userdata, const char *store, struct journal **ret_journal, char **ret_message)
{
        return journals_get(userdata, store, ret_journal, ret_message);
}

static void check_heads(const char *when, const struct anchor *anchor)
{
        for (uint32_t i = 0; i < anchor->n; i++)
                if (!anchor->heads[i].found)
                        violated("audit", "%s: seal %llu of stream %s, which an anchor names, is gone", when,
                                 (unsigned long long)anchor->heads[i].seal, anchor->heads[i].stream);
}

static void verify(const char *when, struct journals *js)
{
        _cleanup_(cleanup_anchor) struct anchor anchor = ANCHOR_NULL;
        _cleanup_(cleanup_audit) struct audit a = AUDIT_NULL;
        _cleanup_(cleanup_buf) struct buf line = BUF_NULL;
        struct audit_request request = {.journal = journal_of, .userdata = js, .home = "sim",
                                        .anchor = &anchor};
        _cleanup_(cleanup_free) char *message = NULL;
        int r = 0;

        for (unsigned i = 0; i < sim->n_anchors && r == 0; i++)
                r = anchor_add(&anchor, sim->anchors[i]);
        r = r ?: audit_make(&request, &a, &message);
        if (r || audit_first_bad(&a)) {
                if (audit_first_bad(&a))
                        audit_describe(audit_first_bad(&a), &line);
                violated("audit", "%s: %s", when, line.n ? buf_str(&line) : message ?: "it cannot be made");
                return;
        }
        check_heads(when, &anchor);
        if (sim->n_anchors == N_ELEMENTS(sim->anchors))
                return;
        audit_anchor(&a, &line);
        sim->anchors[sim->n_anchors++] = strdup(buf_str(&line));
}

void fold_audit(const char *when)
{
        struct journals *js = NULL;
        char *message = NULL;

        if (*sim->failure)
                return;
        sim->looking = true;
        if (journals_open(&sim->context, true, &js, &message))
                violated("audit", "%s: %s", when, message ?: "the journal cannot be opened");
        else
                verify(when, js);
        journals_close(js);
        free(message);
        sim->looking = false;
}
