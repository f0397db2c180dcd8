/* SPDX-License-Identifier: Apache-2.0 */
/* The site in a snapshot: who it is, its runs, its inventory with the claims. */
#include "journal/snapshot-parts.h"

/* Writing */

static void pack_site_run(struct buf *b, const struct run *run)
{
        pack_uid(b, &run->id);
        pack_string(b, run->name);
        pack_string(b, run->kind);
        pack_string(b, run->store);
        pack_string(b, run->stream);
        pack_string(b, run->who);
        pack_i64(b, run->accepted_ms);
        /* What its own stream says is not the site's. But the inventory has what it did up to now. */
        pack_u64(b, run->closed ? run->status : RUN_PENDING);
        pack_i64(b, run->closed ? run->ended_ms : 0);
        pack_u64(b, run->closed ? run->n_drift : 0);
        pack_u64(b, run->closed || !run->loaded ? run->settled_seq
                                                : MAX(run->settled_seq, run->seq));
        pack_u64(b, run->told_seq);
        pack_u64(b, run->compacted);
}

enum { SAME_WORKFLOW = 1, SAME_PLUGIN = 2, SAME_RUN = 4, EXISTS = 8, END = 16 };

static unsigned same_as(const struct resource *r, const struct resource *before)
{
        unsigned flags = r->workflow ? EXISTS : 0;

        if (before && r->workflow && before->workflow)
                flags |= (streq(r->workflow, before->workflow) ? SAME_WORKFLOW : 0) |
                         (streq(r->plugin, before->plugin) ? SAME_PLUGIN : 0) |
                         (streq(r->run, before->run) ? SAME_RUN : 0);
        return flags;
}

/* In their order: it is that of the plan; and what it shares. */
static void pack_claims(struct buf *b, const struct run *run)
{
        for (const struct resource *r = run->claims; r; r = r->next_claim)
                pack_string(b, r->key);
        pack_string(b, NULL);
        for (uint32_t i = 0; i < run->n_shares; i++)
                pack_string(b, run->shares[i]->key);
        pack_string(b, NULL);
}

static void pack_resource(struct buf *b, const struct resource *r, const struct resource *before)
{
        unsigned flags = same_as(r, before);

        pack_u64(b, flags);
        pack_string(b, r->key);
        pack_u64(b, r->n_on);
        if (!(flags & EXISTS))
                return;
        if (!(flags & SAME_WORKFLOW))
                pack_string(b, r->workflow);
        if (!(flags & SAME_PLUGIN))
                pack_string(b, r->plugin);
        if (!(flags & SAME_RUN))
                pack_string(b, r->run);
        pack_string(b, r->spec);
        pack_string(b, r->outputs);
        pack_string(b, r->builds_on);
        pack_string(b, r->op_id);
        pack_i64(b, r->changed_ms);
}

static void pack_site_head(struct buf *b, const struct site *site)
{
        pack_uid(b, &site->id);
        pack_u64(b, site->epoch);
        pack_u64(b, site->pid);
        pack_string(b, site->host);
        pack_string(b, site->signer);
        pack_u64(b, site->restored);
        pack_u64(b, site->n_runs);
}

/* Places in the map, used or not, count as resources. */
static bool pack_inventory(struct buf *b, const struct site *site, struct packing *p, uint32_t n)
{
        const struct strmap *map = &site->inventory.by_key;

        for (; p->at < map->cap && n > 0; p->at++, n--) {
                const struct resource *r = map->entries[p->at].key ? map->entries[p->at].value.pointer : NULL;

                if (!r || (!r->workflow && !r->n_on))
                        continue; /* nothing, or claimed, which follows */
                pack_resource(b, r, p->before);
                p->before = r;
        }
        return p->at == map->cap;
}

enum { SITE_HEAD, SITE_RUNS, SITE_INVENTORY, SITE_CLAIMS, SITE_DONE };

bool pack_site(struct buf *b, const struct site *site, struct packing *p, uint32_t n)
{
        switch (p->phase) {
        case SITE_HEAD:
                pack_site_head(b, site);
                p->phase = SITE_RUNS;
                __attribute__((fallthrough));
        case SITE_RUNS:
                for (; p->at < site->n_runs && n > 0; n--)
                        pack_site_run(b, site->runs[p->at++]);
                if (p->at < site->n_runs)
                        return false;
                pack_u64(b, site->inventory.by_key.n); /* a hint */
                *p = (struct packing){.phase = SITE_INVENTORY};
                return false;
        case SITE_INVENTORY:
                if (pack_inventory(b, site, p, n)) {
                        pack_u64(b, END);
                        *p = (struct packing){.phase = SITE_CLAIMS};
                }
                return false;
        case SITE_CLAIMS: /* one run at a time: most have none */
                for (bool any = false; p->at < site->n_runs && n > 0 && !any; n--) {
                        any = site->runs[p->at]->claims || site->runs[p->at]->n_shares;
                        pack_claims(b, site->runs[p->at++]);
                }
                p->phase = p->at < site->n_runs ? SITE_CLAIMS : SITE_DONE;
                return p->phase == SITE_DONE;
        default:
                return true;
        }
}

/* Reading */

static int unpack_site_run(struct unpack *u, struct site *site)
{
        struct run *run = run_new();

        if (!run)
                return error_origin(-ENOMEM);
        unpack_bytes(u, &run->id, sizeof(run->id));
        uid_text(&run->id, run->id_text);
        run->name = unpack_string(u);
        run->kind = unpack_string(u);
        run->store = unpack_string(u);
        run->stream = unpack_string(u);
        run->who = unpack_string(u);
        run->accepted_ms = unpack_i64(u);
        run->status = unpack_max(u, N_RUN_STATUSES - 1);
        run->ended_ms = unpack_i64(u);
        run->n_drift = unpack_u32(u);
        run->settled_seq = unpack_u64(u);
        run->told_seq = unpack_u64(u);
        run->compacted = unpack_max(u, 1);
        run->closed = run_status_ended(run->status);
        if (u->bad || !run->name || !run->stream || strmap_get(&site->run_by_id, run->id_text) ||
            add_run(site, run)) {
                run_free(run);
                return error_origin(-EBADMSG);
        }
        return 0;
}

static int unpack_claims(struct unpack *u, struct site *site, struct run *run)
{
        struct resource **last = &run->claims;
        struct span key;
        int q = 0;

        while (q == 0 && (key = unpack_span(u)).p)
                q = claim(site, run, key, &last);
        while (q == 0 && (key = unpack_span(u)).p) {
                struct resource *r = inventory_entry(&site->inventory, key);

                q = r ? share_add(run, r) : error_origin(-ENOMEM);
        }
        return q;
}

struct before {
        struct span workflow, plugin, run;
};

static int unpack_resource(struct unpack *u, struct site *site, unsigned flags,
                           struct before *before)
{
        struct resource *r = inventory_entry(&site->inventory, unpack_span(u));
        struct resource_change c;

        if (!r)
                return error_origin(-ENOMEM);
        r->n_on = unpack_u32(u);
        if (!(flags & EXISTS))
                return 0;
        if (!(flags & SAME_WORKFLOW))
                before->workflow = unpack_span(u);
        if (!(flags & SAME_PLUGIN))
                before->plugin = unpack_span(u);
        if (!(flags & SAME_RUN))
                before->run = unpack_span(u);
        c = (struct resource_change){.workflow = before->workflow, .plugin = before->plugin,
                                     .run = before->run};
        c.spec = unpack_span(u);
        c.outputs = unpack_span(u);
        c.builds_on = unpack_span(u);
        c.op_id = unpack_span(u);
        c.changed_ms = unpack_i64(u);
        return u->bad ? error_origin(-EBADMSG) : resource_set(&site->inventory, r, &c);
}

int unpack_site(struct unpack *u, struct site *site)
{
        struct before before = {0};
        unsigned flags;
        uint64_t n;
        int q = 0;

        unpack_bytes(u, &site->id, sizeof(site->id));
        uid_text(&site->id, site->id_text);
        site->epoch = unpack_u64(u);
        site->pid = unpack_u32(u);
        site->host = unpack_string(u);
        site->signer = unpack_string(u);
        site->restored = unpack_max(u, 1);
        for (n = unpack_u64(u); n > 0 && q == 0; n--)
                q = unpack_site_run(u, site);
        n = q ? 0 : unpack_u64(u);
        if (n > (uint64_t)(u->end - u->p))
                return error_origin(-EBADMSG);
        q = q ?: strmap_reserve(&site->inventory.by_key, n);
        while (q == 0 && !u->bad && (flags = unpack_max(u, END)) != END)
                q = unpack_resource(u, site, flags, &before);
        for (uint32_t i = 0; i < site->n_runs && q == 0; i++)
                q = unpack_claims(u, site, site->runs[i]);
        return q ?: u->bad || u->p != u->end ? error_origin(-EBADMSG) : 0;
}
