/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the inventory says to each task: whose the resource is, who claims it, whether it is there and
 * how it differs. design.md §5, "Day 2". Tasks are looked at in the order they will run, so that what
 * an earlier task of the plan makes or removes counts.
 */
#include "plan/make.h"

#include "base/json.h"

struct key key_parse(const char *resource)
{
        const char *dot = strchrnul(resource, '.'), *at;
        struct key k = {.kind = resource, .n_kind = (uint32_t)(dot - resource)};

        k.name = *dot ? dot + 1 : dot;
        at = strchrnul(k.name, '@');
        k.n_name = (uint32_t)(at - k.name);
        k.place = *at ? at + 1 : at;
        return k;
}

static uint8_t verb_bits(const json_t *list)
{
        const json_t *v;
        uint8_t bits = 0;
        size_t i;

        json_array_foreach (list, i, v)
                for (uint8_t verb = PLAN_CREATE; verb < PLAN_JOIN; verb++)
                        if (json_is_string(v) &&
                            streq(json_string_value(v), plan_verb_name(verb)))
                                bits |= (uint8_t)(1u << verb);
        return bits;
}

/* What the plugin declares of a kind of resource. Without a declaration everything may be tried, and
 * undone, except delete. */
static struct ability ability_read(const json_t *describe, const struct key *k)
{
        struct ability a = {.verbs = 0xff, .undo = (uint8_t)~(1u << PLAN_DELETE)};
        const json_t *v;
        size_t i;

        json_array_foreach (json_object_get(describe, "resources"), i, v) {
                const char *kind = json_string_value(json_object_get(v, "kind"));

                if (!kind || strlen(kind) != k->n_kind || strncmp(kind, k->kind, k->n_kind) != 0)
                        continue;
                a.declared = true;
                if (json_object_get(v, "verbs"))
                        a.verbs = verb_bits(json_object_get(v, "verbs"));
                a.undo = verb_bits(json_object_get(v, "undo"));
        }
        return a;
}

int rules_ability(struct maker *m, const struct task *t, bool *ret_can, bool *ret_irreversible)
{
        struct lane *l = &m->lanes[t->lane];
        struct key k = key_parse(t->resource);
        struct ability a;
        uint32_t i;

        for (i = 0; i < l->n_abilities; i++)
                if (strncmp(l->abilities[i].kind, k.kind, k.n_kind + 1) == 0)
                        break; /* the dot behind the kind is compared too */
        if (i < l->n_abilities) {
                a = l->abilities[i];
        } else {
                a = ability_read(l->plugin ? l->plugin->describe : NULL, &k);
                a.kind = t->resource;
                if (l->n_abilities < N_ELEMENTS(l->abilities))
                        l->abilities[l->n_abilities++] = a;
        }
        *ret_can = a.verbs & 1u << t->verb;
        *ret_irreversible = t->verb != PLAN_CHECK && !(a.undo & 1u << t->verb);
        return 0;
}

static uint32_t task_node(const struct maker *m, const struct task *t)
{
        return t->op == m->n_ops ? DOC_NONE : m->ops[t->op].def->node;
}

/* Is another run in flight at it? False: a problem was told. */
static bool unclaimed(struct maker *m, const struct task *t, const struct resource *r)
{
        if (!r || !r->claim || streq(r->claim, m->request->run ?: ""))
                return true;
        if (maker_room(m, RULE_CLAIM))
                maker_problem(m, task_node(m, t), "items", t->item,
                              "%s is claimed by run %s of workflow \"%s\", which has not "
                              "ended: wait for it, or end it with `prvng batch cancel %s`",
                              r->key, r->claim, r->claim_workflow ? r->claim_workflow : "?",
                              r->claim);
        return false;
}

/* "address: there "10.0.0.0/24", here null; ...": what differs, at most three of it. */
static int name_differences(struct buf *b, const char *difference)
{
        _cleanup_(cleanup_json_decref) json_t *list = NULL;
        json_t *v;
        size_t i;
        int r = json_parse(difference, strlen(difference), &list, NULL);

        if (r)
                return error_fold(r);
        json_array_foreach (list, i, v) {
                if (i == 3) {
                        BUF_LIT(b, "; ...");
                        break;
                }
                buf_printf(b, "%s%s: there ", i ? "; " : "", json_get_string(v, "path", "?"));
                json_append(b, json_object_get(v, "from"));
                BUF_LIT(b, ", here ");
                json_append(b, json_object_get(v, "to"));
        }
        return buf_error(b);
}

/*
 * A run in flight is about to make it, or did: this one uses it then. It has to be the same to both, since
 * whichever of them comes first makes it. What that run changes or deletes cannot be shared.
 */
static int share(struct maker *m, struct task *t, const struct resource *r, bool *ret_mine)
{
        _cleanup_(cleanup_buf) struct buf spec = BUF_NULL, difference = BUF_NULL, names = BUF_NULL;
        int q;

        *ret_mine = false;
        if (!site_makes(m->request->runs, r, &spec, NULL)) {
                *ret_mine = unclaimed(m, t, r);
                return 0;
        }
        q = buf_error(&spec);
        q = q ? q : spec_difference(&difference, buf_str(&spec), t->spec);
        q = q || !difference.n ? q : name_differences(&names, buf_str(&difference));
        if (q)
                return error_fold(q);
        if (!difference.n) {
                *ret_mine = t->shared = true;
                return error_fold(maker_notice(m, "%s is shared with run %s of workflow \"%s\", which has not "
                                               "ended: it is made there, and used here as soon as it is there",
                                               t->resource, r->claim, r->claim_workflow ?: "?"));
        }
        if (maker_room(m, RULE_CLAIM))
                maker_problem(m, task_node(m, t), "items", t->item,
                              "%s is needed by workflow \"%s\", but run %s of workflow \"%s\", which has not "
                              "ended, makes another one of that name (%s): say the same in both, choose "
                              "another name, wait for that run, or end it with `prvng batch cancel %s`",
                              t->resource, m->plan->name, r->claim, r->claim_workflow ?: "?",
                              buf_str(&names), r->claim);
        return 0;
}

static bool may_be_shared(const struct maker *m, const struct task *t, const struct resource *r)
{
        return t->kind == KIND_SHARED && t->verb == PLAN_CREATE && m->request->runs && r && r->claim &&
               !streq(r->claim, m->request->run ?: "") &&
               (!r->workflow || streq(r->workflow, m->plan->name));
}

/* Others use it as it is: a problem otherwise. */
static void look_for_sharers(struct maker *m, const struct task *t, const struct resource *r)
{
        const char *run, *workflow;

        if (!r || !r->n_sharers || t->verb == PLAN_CREATE || t->verb == PLAN_CHECK || !m->request->runs ||
            !site_shared(m->request->runs, r, &run, &workflow) || !maker_room(m, RULE_CLAIM))
                return;
        maker_problem(m, task_node(m, t), "items", t->item,
                      "%s cannot be changed or deleted: run %s of workflow \"%s\", which has not ended, "
                      "shares it: wait for it, or end it with `prvng batch cancel %s`", t->resource, run,
                      workflow, run);
}

/* Whose is it, or who is at it? False: a problem was told. */
static bool mine(struct maker *m, const struct task *t, const struct resource *r)
{
        uint32_t node = task_node(m, t);

        if (!r)
                return true;
        if (!unclaimed(m, t, r))
                return false;
        if (!r->workflow || streq(r->workflow, m->plan->name))
                return true;
        if (maker_room(m, RULE_OWNER))
                maker_problem(m, node, "items", t->item,
                              "%s belongs to workflow \"%s\"; workflow \"%s\" may not %s it: use "
                              "another name, or remove it there first", t->resource, r->workflow,
                              m->plan->name, plan_verb_name(t->verb));
        return false;
}

/* A taskserv changes its server: that has to be ours too, and nobody else's at the moment. */
static bool server_mine(struct maker *m, const struct task *t)
{
        const struct server *s = &m->servers[t->server];

        if (!s->existing || streq(s->existing->workflow, m->plan->name))
                return unclaimed(m, t, s->existing);
        if (maker_room(m, RULE_OWNER))
                maker_problem(m, task_node(m, t), "items", t->item,
                              "server.%s belongs to workflow \"%s\"; workflow \"%s\" may not %s %s "
                              "on it", s->name, s->existing->workflow, m->plan->name,
                              plan_verb_name(t->verb), t->resource);
        return false;
}

/* By server, what a run in flight is at of the taskservs there: asked for where servers are deleted. */
static int find_claims(struct maker *m)
{
        m->claims_found = true;
        if (!m->inventory)
                return 0;
        strmap_foreach (e, &m->inventory->by_key) {
                struct resource *r = e->value.pointer;
                const char *at = e->key && r->claim ? strchr(r->key, '@') : NULL;
                struct strmap_entry *place;

                if (!at || !startswith(r->key, "taskserv."))
                        continue;
                place = strmap_add(&m->claims_at, at + 1, strlen(at + 1));
                if (!place)
                        return error_origin(-ENOMEM);
                place->value.pointer = r;
        }
        return 0;
}

/* Nobody may be at work on a server that goes. */
static int server_free(struct maker *m, const struct task *t, bool *ret_free)
{
        int r = m->claims_found ? 0 : find_claims(m);

        *ret_free = r == 0 && unclaimed(m, t, strmap_get(&m->claims_at, m->servers[t->server].name));
        return error_fold(r);
}

static bool stays(struct maker *m, const struct task *t)
{
        const struct server *s = &m->servers[t->server];

        if (!s->existing || !s->def || !s->def->provider || t->verb == PLAN_DELETE ||
            streq(s->existing->plugin, m->lanes[t->lane].plan.plugin))
                return true;
        if (maker_room(m, RULE_MOVED))
                maker_problem(m, s->def->node, "provider", NONE,
                              "server \"%s\" stands at %s; the definition says \"%s\", but a server "
                              "does not move: delete it first, or give the new one another name",
                              s->name, s->existing->plugin, s->def->provider);
        return false;
}

static int task_spec(struct maker *m, struct task *t, const struct resource *there)
{
        int r = 0;

        if (t->verb == PLAN_DELETE && there && there->spec) {
                t->spec = arena_strdup(m->text, there->spec);
                return t->spec ? 0 : error_origin(-ENOMEM);
        }
        if (t->kind == KIND_SERVER) {
                r = spec_server(m, t->server);
                t->spec = m->servers[t->server].spec;
        } else if (t->kind == KIND_TASKSERV) {
                r = spec_vars(m, t->op);
                t->spec = m->ops[t->op].spec;
        }
        return error_fold(r);
}

/* The difference to the spec that the resource was last made with, as it will be then. */
static int differ(struct maker *m, struct task *t, const char *from)
{
        int r;

        buf_clear(&m->buf);
        r = spec_difference(&m->buf, from, t->spec);
        if (r || !m->buf.n)
                return error_fold(r);
        t->difference = arena_copy(m->text, m->buf.data, m->buf.n);
        return t->difference ? 0 : error_origin(-ENOMEM);
}

static int decide(struct maker *m, struct task *t, bool present, const char *from)
{
        bool can;
        int r = 0;

        if (present && from && t->verb != PLAN_DELETE) {
                r = differ(m, t, from);
                if (!r && t->difference && t->verb != PLAN_CHECK)
                        r = replace_annotate(m, t);
                if (r)
                        return error_fold(r);
        }
        if (t->verb == PLAN_CREATE && t->difference)
                t->verb = PLAN_UPDATE;
        else if (t->verb == PLAN_UPDATE && !present && maker_room(m, RULE_ABSENT))
                maker_problem(m, task_node(m, t), "items", t->item,
                              "%s cannot be updated: it is not there yet; create it first, in an "
                              "operation with type = \"create\" (which also updates what differs)",
                              t->resource);
        r = rules_ability(m, t, &can, &t->irreversible);
        if (!r && can && t->verb == PLAN_UPDATE && t->impact == PLAN_REPLACE)
                return error_fold(replace_refuse(m, t, task_node(m, t)));
        if (!r && !can && m->lanes[t->lane].plugin->state == PLUGIN_READY &&
            maker_room(m, RULE_VERB))
                maker_problem(m, task_node(m, t), "items", t->item, "%s \"%s\" cannot %s %.*s%s",
                              m->lanes[t->lane].kind, m->lanes[t->lane].name,
                              plan_verb_name(t->verb), (int)strcspn(t->resource, "@"), t->resource,
                              t->difference ? ", but its spec changed: delete it first" : "");
        return error_fold(r);
}

static int apply(struct maker *m, struct task *t, const struct task *before)
{
        const struct resource *any = NULL, *there;
        bool ours = true, present;
        int r;

        if (m->inventory && m->inventory->by_key.n)
                any = inventory_get(m->inventory, t->resource);
        /* What stood on a server that is gone, or goes, is gone with it. */
        if (any && !any->claim && t->kind == KIND_TASKSERV &&
            (!m->servers[t->server].existing || m->servers[t->server].replaced))
                any = NULL;
        if (t->kind == KIND_TASKSERV && m->servers[t->server].replaced && t->verb == PLAN_UPDATE)
                t->verb = PLAN_CREATE;
        there = any && any->workflow ? any : NULL;
        r = may_be_shared(m, t, any) ? share(m, t, any, &ours) : 0;
        if (r)
                return error_fold(r);
        ours = ours && (t->shared || mine(m, t, any));
        if (ours && t->kind == KIND_TASKSERV)
                ours = server_mine(m, t);
        if (ours && t->kind == KIND_SERVER)
                ours = stays(m, t);
        if (ours && t->kind == KIND_SERVER && t->verb == PLAN_DELETE) {
                r = server_free(m, t, &ours);
                if (r)
                        return error_fold(r);
        }
        r = task_spec(m, t, there);
        if (r || !ours)
                return error_fold(r);
        present = before ? verb_makes(before->verb) : there != NULL;
        r = decide(m, t, present, before ? before->spec : there ? there->spec : NULL);
        if (!r)
                look_for_sharers(m, t, any);
        return error_fold(r);
}

int rules_apply(struct maker *m)
{
        _cleanup_(cleanup_free) uint32_t *latest = NULL; /* by the last added task of a resource */

        for (uint32_t i = 0; i < m->n_tasks; i++) {
                struct task *t = &m->tasks[m->sorted[i]];
                uint32_t last = NONE;
                int r;

                if (t->kind == KIND_JOIN)
                        continue;
                if (t->repeated) {
                        last = task_of(m, t->resource);
                        if (!latest)
                                latest = calloc(m->n_tasks, sizeof(*latest));
                        if (!latest)
                                return error_origin(-ENOMEM);
                }
                r = apply(m, t, last != NONE && latest[last] ? &m->tasks[latest[last] - 1] : NULL);
                if (r)
                        return error_fold(r);
                if (last != NONE && t->verb != PLAN_CHECK)
                        latest[last] = m->sorted[i] + 1;
        }
        return 0;
}
