/* SPDX-License-Identifier: Apache-2.0 */
/* The fold of the site stream, and what both folds share. The fold of runs stands in run.c. */
#include "journal/state.h"

#include "base/json.h"
#include "journal/fold.h"

const char *run_status_name(enum run_status s)
{
        static const char *const names[] = {
                [RUN_PENDING] = "pending",
                [RUN_RUNNING] = "running",
                [RUN_PAUSED] = "paused",
                [RUN_ROLLING_BACK] = "rolling_back",
                [RUN_SUCCEEDED] = "succeeded",
                [RUN_FAILED] = "failed",
                [RUN_ROLLED_BACK] = "rolled_back",
                [RUN_ROLLBACK_INCOMPLETE] = "rollback_incomplete",
                [RUN_CANCELLED] = "cancelled",
        };

        return names[s];
}

const char *task_status_name(enum task_status s)
{
        static const char *const names[] = {
                [TASK_WAITING] = "waiting",     [TASK_READY] = "ready",
                [TASK_RUNNING] = "running",     [TASK_PENDING] = "pending",
                [TASK_RETRYING] = "retrying",   [TASK_IN_DOUBT] = "in_doubt",
                [TASK_PARKED] = "parked",       [TASK_SUCCEEDED] = "succeeded",
                [TASK_UNCHANGED] = "unchanged", [TASK_FAILED] = "failed",
                [TASK_SKIPPED] = "skipped",     [TASK_UNDOING] = "undoing",
                [TASK_UNDONE] = "undone",       [TASK_UNDO_FAILED] = "undo_failed",
        };

        return names[s];
}

bool run_status_from_span(struct span name, enum run_status *ret)
{
        for (unsigned s = 0; s < N_RUN_STATUSES; s++)
                if (span_eq(name, run_status_name(s))) {
                        *ret = s;
                        return true;
                }
        return false;
}

int set_string(char **target, struct span value)
{
        char *copy = strndup(value.n ? value.p : "", value.n);

        if (!copy)
                return error_origin(-ENOMEM);
        free(*target);
        *target = copy;
        return 0;
}

/* The inventory */

static void put_texts(struct resource *r)
{
        texts_put(r->workflow);
        texts_put(r->plugin);
        texts_put(r->spec);
        texts_put(r->outputs);
        texts_put(r->builds_on);
        texts_put(r->run);
        r->workflow = r->plugin = r->spec = r->outputs = r->builds_on = r->run = NULL;
}

int resource_set(struct inventory *inv, struct resource *r, const struct resource_change *c)
{
        struct texts *t = &inv->texts;
        struct resource fresh = {
                .workflow = texts_get(t, c->workflow.p, c->workflow.n),
                .plugin = texts_get(t, c->plugin.p, c->plugin.n),
                .spec = texts_get(t, c->spec.p, c->spec.n),
                .outputs = texts_get(t, c->outputs.p, c->outputs.n),
                .builds_on = texts_get(t, c->builds_on.p, c->builds_on.n),
                .run = texts_get(t, c->run.p, c->run.n),
        };

        if (!fresh.workflow || !fresh.plugin || !fresh.spec || !fresh.outputs || !fresh.builds_on ||
            !fresh.run) {
                put_texts(&fresh);
                return error_origin(-ENOMEM);
        }
        memmove(r->op_id, c->op_id.n ? c->op_id.p : "", MIN(c->op_id.n, sizeof(r->op_id) - 1));
        r->op_id[MIN(c->op_id.n, sizeof(r->op_id) - 1)] = 0;
        put_texts(r); /* now: the new ones may have been taken from the old ones */
        r->workflow = fresh.workflow;
        r->plugin = fresh.plugin;
        r->spec = fresh.spec;
        r->outputs = fresh.outputs;
        r->builds_on = fresh.builds_on;
        r->run = fresh.run;
        r->changed_ms = c->changed_ms;
        return 0;
}

struct resource *inventory_entry(struct inventory *inv, struct span key)
{
        struct resource *r = steal(&inv->next);
        struct strmap_entry *e;

        if (r && strncmp(r->key, key.p, key.n) == 0 && !r->key[key.n])
                return r;
        e = strmap_add(&inv->by_key, key.p, key.n);
        if (!e)
                return NULL;
        if (e->value.pointer)
                return e->value.pointer;
        r = calloc(1, sizeof(*r) + key.n + 1);
        if (!r) {
                strmap_remove(&inv->by_key, key.p, key.n);
                return NULL;
        }
        memcpy(r->key, key.p, key.n);
        e->key = r->key;
        e->value.pointer = r;
        return r;
}

/* Counts in the resources that `r` builds on, that one more or one less stands on them. Also in one that
 * is not there: if it comes, and goes, the count must not depend on the order of things. */
static int count_on(struct inventory *inv, const struct resource *r, int delta)
{
        const char *p = r->workflow ? r->builds_on : "";

        while (*p) {
                size_t n = strcspn(p, " ");
                struct strmap_entry *e;
                struct resource *on;

                if (delta > 0) {
                        on = inventory_entry(inv, span_n(p, n));
                        if (!on)
                                return error_origin(-ENOMEM);
                        on->n_on++;
                } else {
                        e = strmap_find(&inv->by_key, p, n);
                        on = e ? e->value.pointer : NULL;
                        if (on && on->n_on > 0)
                                on->n_on--;
                }
                p += n + (p[n] == ' ');
        }
        return 0;
}

int inventory_put(struct inventory *inv, struct resource *r, const struct resource_change *c)
{
        int q;

        count_on(inv, r, -1);
        q = resource_set(inv, r, c);
        return q ?: count_on(inv, r, 1);
}

/* A resource that neither exists nor is claimed, and that nothing stands on, has no entry. */
void inventory_tidy(struct inventory *inv, struct resource *r)
{
        if (r->workflow || r->claim || r->n_on || r->n_sharers)
                return;
        strmap_remove(&inv->by_key, r->key, strlen(r->key));
        if (inv->next == r)
                inv->next = NULL;
        free(r);
}

/* What stands on a server is gone with it: its taskservs. By their keys, because what stands on one of
 * them may be another of them. A server is not gone with its network: it stands there, unreachable. */
static int gone_with(struct inventory *inv, const struct resource *r)
{
        _cleanup_(cleanup_buf) struct buf keys = BUF_NULL;
        int q = 0;

        strmap_foreach (e, &inv->by_key) {
                const struct resource *on = e->value.pointer;

                if (on != r && resource_stands_on(on, r->key))
                        buf_append(&keys, on->key, strlen(on->key) + 1);
        }
        if (buf_error(&keys))
                return error_origin(-ENOMEM);
        for (const char *key = keys.data; q == 0 && key && key < keys.data + keys.n;
             key += strlen(key) + 1)
                q = inventory_gone(inv, span_of(key));
        return q;
}

int inventory_gone(struct inventory *inv, struct span key)
{
        struct strmap_entry *e = strmap_find(&inv->by_key, key.p, key.n);
        struct resource *r = e ? e->value.pointer : NULL;

        if (!r || !r->workflow)
                return 0;
        count_on(inv, r, -1);
        put_texts(r); /* from here on it is not there: a circle ends */
        if (r->n_on > 0 && startswith(r->key, "server.") && gone_with(inv, r))
                return error_origin(-ENOMEM);
        inventory_tidy(inv, r);
        return 0;
}

/* The claims of a run are a list in the order of its plan. */
int claim(struct site *s, struct run *run, struct span key, struct resource ***last)
{
        struct resource *r = inventory_entry(&s->inventory, key);

        if (!r)
                return error_origin(-ENOMEM);
        if (r->claim) /* once is enough; what another run in flight claims can only be shared */
                return r->claim == run->id_text ? 0 : error_origin(-EBADMSG);
        r->claim = run->id_text;
        r->claim_workflow = run->name;
        r->next_claim = NULL;
        **last = r;
        *last = &r->next_claim;
        return 0;
}

static void release_claims(struct site *s, struct run *run)
{
        struct resource *next;

        release_shares(s, run);
        for (struct resource *r = steal(&run->claims); r; r = next) {
                next = steal(&r->next_claim);
                r->claim = r->claim_workflow = NULL;
                if (r->n_sharers)
                        hand_over(s, r);
                inventory_tidy(&s->inventory, r);
        }
        run->next_claim = NULL;
}

/* The site stream */

void site_deinit(struct site *s)
{
        strmap_foreach (e, &s->inventory.by_key) {
                struct resource *r = e->value.pointer;

                put_texts(r);
                free(r);
        }
        strmap_deinit(&s->inventory.by_key);
        texts_deinit(&s->inventory.texts);
        for (uint32_t i = 0; i < s->n_runs; i++)
                run_free(s->runs[i]);
        free(s->runs);
        strmap_deinit(&s->run_by_id);
        free(s->host);
        free(s->signer);
        *s = SITE_NULL;
}

struct run *site_run(const struct site *s, const char *id_or_name)
{
        struct run *run = strmap_get(&s->run_by_id, id_or_name);

        for (uint32_t i = s->n_runs; !run && i-- > 0;)
                if (streq(s->runs[i]->name, id_or_name))
                        run = s->runs[i];
        return run;
}

static struct run *run_of(const struct site *s, const struct uid *id)
{
        char text[UID_TEXT];

        uid_text(id, text);
        return strmap_get(&s->run_by_id, text);
}

int add_run(struct site *s, struct run *run)
{
        struct strmap_entry *e;

        if (s->n_runs == s->cap_runs) {
                uint32_t cap = s->cap_runs ? s->cap_runs * 2 : 16;
                struct run **runs = realloc(s->runs, cap * sizeof(*runs));

                if (!runs)
                        return error_origin(-ENOMEM);
                s->runs = runs;
                s->cap_runs = cap;
        }
        e = strmap_add(&s->run_by_id, run->id_text, UID_TEXT - 1);
        if (!e)
                return error_origin(-ENOMEM);
        e->value.pointer = run;
        s->runs[s->n_runs++] = run;
        return 0;
}

/* Keys with characters that JSON escapes: rare, hence by the library. */
static int claim_parsed(struct site *s, struct run *run, struct span list, struct resource ***last)
{
        _cleanup_(cleanup_json_decref) json_t *claims = NULL;
        json_t *key;
        size_t i;
        int q;

        q = json_parse(list.p, list.n, &claims, NULL);
        if (q)
                return error_fold(q);
        json_array_foreach (claims, i, key) {
                q = claim(s, run, span_of(json_is_string(key) ? json_string_value(key) : ""), last);
                if (q)
                        return error_fold(q);
        }
        return 0;
}

static size_t count_commas(struct span text)
{
        size_t n = 0;

        for (size_t i = 0; i < text.n; i++)
                n += text.p[i] == ',';
        return n;
}

static int apply_claims(struct site *s, struct run *run, const struct record *r)
{
        const char *p = r->claims.p, *end = p + r->claims.n, *from;
        struct resource **last = &run->claims;
        int q = 0;

        while (*last)
                last = &(*last)->next_claim;
        strmap_reserve(&s->inventory.by_key, s->inventory.by_key.n + count_commas(r->claims));
        if (r->claims.n && memchr(p, '\\', r->claims.n))
                return claim_parsed(s, run, r->claims, &last);
        while (q == 0 && p < end && (p = memchr(p, '"', (size_t)(end - p)))) {
                from = ++p;
                p = memchr(p, '"', (size_t)(end - p));
                if (!p)
                        return error_origin(-EBADMSG);
                q = claim(s, run, span_n(from, (size_t)(p++ - from)), &last);
        }
        return q ? error_fold(q) : 0;
}

static int apply_accepted(struct site *s, const struct record *r)
{
        struct run *run;

        if (run_of(s, &r->run))
                return error_origin(-EBADMSG);
        run = run_new();
        if (!run)
                return error_origin(-ENOMEM);
        run->id = r->run;
        uid_text(&r->run, run->id_text);
        run->accepted_ms = r->at;
        if (set_string(&run->name, r->name) || set_string(&run->kind, r->kind) ||
            set_string(&run->store, r->store) || set_string(&run->stream, r->stream) ||
            set_string(&run->who, r->who) || add_run(s, run)) {
                run_free(run);
                return error_origin(-ENOMEM);
        }
        return apply_claims(s, run, r) ?: apply_shares(s, run, r->shares);
}

/* More claims of a run in flight, or of one that is in flight again. */
static int apply_again(struct site *s, const struct record *r)
{
        struct run *run = run_of(s, &r->run);

        if (!run || run_status_ended(run->status) != (r->type == RECORD_REOPENED))
                return error_origin(-EBADMSG);
        if (r->type == RECORD_REOPENED) {
                if (!run->loaded) { /* else its own stream says what it is */
                        run->status = RUN_PENDING;
                        run->ended_ms = 0;
                }
                for (uint32_t i = 0; i < run->n_tasks; i++)
                        run->tasks[i].restored = 0;
                run->closed = false;
                run->settled_seq = run->told_seq = r->upto;
        }
        return apply_claims(s, run, r) ?: apply_shares(s, run, r->shares);
}

/* Several runs may want it to be there; only one may do anything else with it. */
static bool may_share(const struct site *s, const struct run *run, const struct task *t,
                      const struct resource *r)
{
        if (resource_is_rest(r) && streq(r->run, run->id_text)) /* it has to go first */
                return false;
        return t->verb == VERB_CREATE && key_is_shared(r->key) && site_maker(s, r, NULL);
}

bool site_may_reopen(const struct site *s, const struct run *run, const struct resource **ret_claimed)
{
        for (uint32_t i = 0; i < run->n_tasks; i++) {
                const struct task *t = &run->tasks[i];
                const struct resource *r = inventory_get(&s->inventory, task_key(run, t));

                if (r && r->claim && !streq(r->claim, run->id_text) && !may_share(s, run, t, r)) {
                        *ret_claimed = r;
                        return false;
                }
        }
        return true;
}

static int apply_ended(struct site *s, const struct record *r)
{
        struct run *run = run_of(s, &r->run);
        enum run_status status;

        if (!run || !run_status_from_span(r->status, &status) || !run_status_ended(status))
                return error_origin(-EBADMSG);
        run->status = status;
        run->closed = true;
        run->ended_ms = r->at;
        run->n_drift = r->count;
        release_claims(s, run);
        return 0;
}

static int apply_compacted(struct site *s, const struct record *r)
{
        struct run *run = run_of(s, &r->run);

        if (!run || !run_status_ended(run->status))
                return error_origin(-EBADMSG);
        run->compacted = true;
        return 0;
}

static int apply_migrated(struct site *s, const struct record *r)
{
        for (uint32_t i = 0; i < s->n_runs; i++)
                if (span_eq(r->from, s->runs[i]->store) && set_string(&s->runs[i]->store, r->to))
                        return error_origin(-ENOMEM);
        return 0;
}

int site_apply(struct site *s, const struct record *r)
{
        static const struct uid none;
        char op_id[UID_TEXT] = "", run[UID_TEXT];
        struct resource *resource;
        int q = 0;

        switch ((unsigned)r->type) {
        case RECORD_SITE:
                s->id = r->site;
                uid_text(&s->id, s->id_text);
                break;
        case RECORD_ENGINE:
                s->epoch = r->epoch;
                s->pid = r->pid;
                s->restored = false;
                q = set_string(&s->host, r->host);
                break;
        case RECORD_ACCEPTED:
                q = apply_accepted(s, r);
                break;
        case RECORD_RESOURCE:
                if (memcmp(&r->op_id, &none, sizeof(none)) != 0) /* else found or adopted */
                        uid_text(&r->op_id, op_id);
                uid_text(&r->run, run);
                resource = inventory_entry(&s->inventory, r->key);
                if (!resource)
                        return error_origin(-ENOMEM);
                q = inventory_put(&s->inventory, resource,
                                  &(struct resource_change){.workflow = r->workflow,
                                                            .plugin = r->plugin,
                                                            .spec = r->spec,
                                                            .outputs = r->outputs,
                                                            .builds_on = r->builds_on,
                                                            .op_id = span_of(op_id),
                                                            .run = span_of(run),
                                                            .changed_ms = r->changed});
                break;
        case RECORD_GONE:
                q = inventory_gone(&s->inventory, r->key);
                break;
        case RECORD_ENDED:
                q = apply_ended(s, r);
                break;
        case RECORD_REOPENED:
        case RECORD_CLAIM:
                q = apply_again(s, r);
                break;
        case RECORD_SIGNER:
                q = set_string(&s->signer, r->public);
                break;
        case RECORD_COMPACTED:
                q = apply_compacted(s, r);
                break;
        case RECORD_RESTORED:
                s->restored = true;
                break;
        case RECORD_MIGRATED:
                q = apply_migrated(s, r);
                break;
        default:
                return error_origin(-EBADMSG);
        }
        if (q)
                return error_fold(q);
        s->seq = r->seq;
        return 0;
}
