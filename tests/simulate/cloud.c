/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the services do with requests. The difference between their APIs is what happens to a request
 * that comes a second time: where our key is kept, nothing; elsewhere it acts again, and if it creates,
 * a second object stands beside the first.
 */
#include "simulate/plugins.h"
#include "simulate/witness.h"

struct object {
        char *key;
        char op_id[UID_TEXT]; /* its tag: who made it */
        char touched[UID_TEXT]; /* who last tried to change it */
        uint64_t spec;
        bool partial, alive;
        const struct service *service;
        char workflow[24];    /* its mark */
        bool foreign;         /* no engine of ours made it */
        bool marked;          /* ... and it looks as if one had */
        bool alone;           /* nothing else has its name */
        bool asked;           /* it was there when the sweep under way was asked for */
};

struct cloud {
        struct service services[SERVICES_MAX];
        uint32_t n_services;
        struct object *objects; /* number = index + 1 */
        uint32_t n_objects, cap_objects;
        struct strmap ops;      /* struct cloud_op * by id */
        struct cloud_op *first_op, **last_op;
};

struct cloud *cloud_new(void)
{
        struct cloud *c = calloc(1, sizeof(*c));

        c->last_op = &c->first_op;
        return c;
}

struct cloud *cloud_free(struct cloud *c)
{
        if (!c)
                return NULL;
        for (struct cloud_op *op = c->first_op, *next; op; op = next) {
                next = op->next;
                free(op->key);
                free(op);
        }
        for (uint32_t i = 0; i < c->n_objects; i++)
                free(c->objects[i].key);
        free(c->objects);
        strmap_deinit(&c->ops);
        free(c);
        return NULL;
}

void cloud_add_service(const struct service *s, const char *kind, const char *dependencies)
{
        struct cloud *c = sim->cloud;
        struct service *added = &c->services[c->n_services++];

        *added = *s;
        plugin_add(kind, strchr(s->lane, '/') + 1, dependencies, added);
}

const struct service *cloud_service_of(const struct plugin *plugin)
{
        for (uint32_t i = 0; i < sim->cloud->n_services; i++)
                if (sim->cloud->services[i].plugin == plugin)
                        return &sim->cloud->services[i];
        return NULL;
}

struct cloud_op *cloud_find(const char *op_id)
{
        return strmap_get(&sim->cloud->ops, op_id);
}

static uint64_t number_in(const char *request, const char *name)
{
        const char *p = strstr(request, name);

        return p ? strtoull(p + strlen(name), NULL, 10) : 0;
}

/* The request as prepare (plugins.c) wrote it. */
struct cloud_op *cloud_op(const char *op_id, const struct service *s, const char *verb,
                          const char *request, const char *key)
{
        static const char *const verbs[] = {"create", "update", "delete", "check"};
        struct cloud_op *op = cloud_find(op_id);
        const char *p;

        if (op)
                return op;
        op = calloc(1, sizeof(*op));
        snprintf(op->id, sizeof(op->id), "%s", op_id);
        op->service = s;
        while (!streq(verbs[op->verb], verb))
                op->verb++;
        op->key = strdup(key);
        op->spec = number_in(request, "\"spec\":");
        op->identity = number_in(request, "\"id\":");
        p = strstr(request, "\"workflow\":\"");
        if (p)
                snprintf(op->workflow, sizeof(op->workflow), "%.*s", (int)strcspn(p + 12, "\""), p + 12);
        p = strstr(request, "\"op_id\":\"");
        if (p)
                snprintf(op->identity_op, sizeof(op->identity_op), "%.26s", p + 9);
        op->may_begin = true;
        *sim->cloud->last_op = op;
        sim->cloud->last_op = &op->next;
        strmap_add(&sim->cloud->ops, op->id, UID_TEXT - 1)->value.pointer = op;
        return op;
}

static struct object *object_at(uint64_t id)
{
        return id && id <= sim->cloud->n_objects && sim->cloud->objects[id - 1].alive
                       ? &sim->cloud->objects[id - 1]
                       : NULL;
}

bool cloud_object(uint64_t id, uint64_t *ret_spec, bool *ret_whole)
{
        const struct object *o = object_at(id);

        if (!o)
                return false;
        *ret_spec = o->spec;
        *ret_whole = !o->partial;
        return true;
}

/* The object that a request names, or made before. */
uint64_t cloud_object_of(const struct cloud_op *op)
{
        const struct cloud_op *by = *op->identity_op ? cloud_find(op->identity_op) : NULL;

        if (object_at(op->object))
                return op->object;
        if (object_at(op->identity))
                return op->identity;
        return by && object_at(by->object) ? by->object : 0;
}

static uint64_t object_new(const struct cloud_op *op, bool partial)
{
        struct cloud *c = sim->cloud;
        struct object *o;

        if (c->n_objects == c->cap_objects) {
                c->cap_objects = c->cap_objects ? c->cap_objects * 2 : 64;
                c->objects = realloc(c->objects, c->cap_objects * sizeof(*c->objects));
        }
        o = &c->objects[c->n_objects++];
        *o = (struct object){.key = strdup(op->key), .spec = op->spec, .partial = partial,
                             .alive = true, .service = op->service, .marked = true};
        memcpy(o->workflow, op->workflow, sizeof(o->workflow));
        memcpy(o->op_id, op->id, sizeof(o->op_id));
        memcpy(o->touched, op->id, sizeof(o->touched));
        return c->n_objects;
}

/* What is on a server goes with it. */
static void object_gone(struct object *o)
{
        const char *name = startswith(o->key, "server.");

        o->alive = false;
        for (uint32_t i = 0; name && i < sim->cloud->n_objects; i++) {
                struct object *other = &sim->cloud->objects[i];
                const char *at = strchr(other->key, '@');

                if (at && streq(at + 1, name) && startswith(other->key, "taskserv."))
                        other->alive = false;
        }
}

static bool keeps_key(const struct cloud_op *op)
{
        return op->service->api == API_KEYED || op->service->api == API_MUTE;
}

static void count_effect(struct cloud_op *op)
{
        op->n_effects++;
        HISTORY("effect", op->object, op->n_effects, "%s of %s, op %s, object %llu",
                ((const char *const[]){"create", "update", "delete", "check"})[op->verb], op->key, op->id,
                (unsigned long long)op->object);
        if (op->n_effects > 1 && keeps_key(op))
                violated("effect-twice", "op %s on %s took effect %u times", op->id, op->key,
                         op->n_effects);
}

/* A taskserv needs its server. */
static bool has_ground(const struct cloud_op *op)
{
        const char *at = startswith(op->key, "taskserv.") ? strchr(op->key, '@') : NULL;

        for (uint32_t i = 0; at && i < sim->cloud->n_objects; i++) {
                const struct object *o = &sim->cloud->objects[i];
                const char *name = o->alive ? startswith(o->key, "server.") : NULL;

                if (name && streq(name, at + 1))
                        return true;
        }
        return !at;
}

/* What others made is only touched once it was taken into the inventory. */
static void check_foreign(const struct object *o, const struct cloud_op *op)
{
        if (o->foreign && !witness_owns(o->key, (uint64_t)(o - sim->cloud->objects) + 1))
                violated("foreign-touched", "op %s on %s works on object %u, which nobody here made or adopted",
                         op->id, op->key, (unsigned)(o - sim->cloud->objects) + 1);
}

/* Returns false if there is nothing to work on. */
static bool act(struct cloud_op *op, bool partial, bool *ret_unchanged)
{
        bool again = op->state == OP_DONE; /* and not kept by key: a second time */
        bool going_on = op->state == OP_PARTIAL || (op->state == OP_FAILED && op->n_effects);
        struct object *o = object_at(again && op->verb == OP_CREATE ? 0 : cloud_object_of(op));

        *ret_unchanged = false;
        if ((op->verb == OP_UPDATE && !o) || (op->verb != OP_DELETE && !has_ground(op)))
                return false;
        if (op->verb == OP_DELETE ? !o : o && !o->partial && o->spec == op->spec) {
                *ret_unchanged = !going_on;
                op->state = going_on ? OP_DONE : op->state;
                return true;
        }
        if (!o) {
                op->object = object_new(op, partial);
        } else {
                op->object = (uint64_t)(o - sim->cloud->objects) + 1;
                check_foreign(o, op);
                memcpy(o->touched, op->id, sizeof(o->touched));
                op->before = going_on ? op->before : o->spec;
                o->partial = partial;
                o->spec = op->spec;
                if (op->verb == OP_DELETE && !partial)
                        object_gone(o);
                else if (op->verb == OP_CREATE && !partial)
                        memcpy(o->op_id, op->id, sizeof(o->op_id));
        }
        if (!going_on)
                count_effect(op);
        op->state = partial ? OP_PARTIAL : OP_DONE;
        return true;
}

static void fail(struct cloud_op *op, int32_t class, uint32_t effect)
{
        op->state = OP_FAILED;
        op->failed_class = class;
        op->failed_effect = effect;
}

void cloud_advance(struct cloud_op *op)
{
        bool unchanged;

        if (op->state != OP_RUNNING || sim->now < op->ends_at)
                return;
        op->state = op->n_effects ? OP_PARTIAL : OP_ABSENT;
        if (op->ends_well) {
                if (!act(op, false, &unchanged))
                        fail(op, PRVNG_NOT_FOUND, PRVNG_EFFECT_NONE);
                else
                        op->state = OP_DONE;
        } else if (op->failed_effect == PRVNG_EFFECT_PARTIAL && act(op, true, &unchanged) &&
                   !unchanged) {
                fail(op, op->failed_class, PRVNG_EFFECT_PARTIAL);
        } else {
                fail(op, op->failed_class,
                     op->n_effects ? PRVNG_EFFECT_PARTIAL : PRVNG_EFFECT_NONE);
        }
}

static void start_job(struct cloud_op *op)
{
        op->state = OP_RUNNING;
        op->ends_at = sim->now + random_between(&sim->random, 50, 20000);
        op->ends_well = !fault(FAULT_FAILS);
        op->failed_class = random_chance(&sim->random, 600) ? PRVNG_TRANSIENT : PRVNG_PERMANENT;
        op->failed_effect = random_chance(&sim->random, 500) ? PRVNG_EFFECT_NONE
                                                             : PRVNG_EFFECT_PARTIAL;
}

/* An effect may stay invisible until the settling time since the call ended is over. */
static void hide(struct call *c)
{
        struct cloud_op *op = c->op;
        int64_t left = c->dropped ? op->left_at : MIN(c->returns_at, sim->now);

        op->visible_at = sim->now;
        if (op->service->settle_ms && op->verb == OP_CREATE && left + op->service->settle_ms > sim->now)
                op->visible_at = random_between(&sim->random, sim->now,
                                                left + op->service->settle_ms - 1);
}

void cloud_arrive(struct call *c)
{
        struct cloud_op *op = c->op;

        cloud_advance(op);
        HISTORY("arrives", c->number, c->way, "#%llu op %s, %s", (unsigned long long)c->number, op->id,
                ((const char *const[]){"nothing", "all", "a part", "a job"})[c->way]);
        if (c->way == WAY_NONE || op->verb == OP_CHECK)
                return;
        if (keeps_key(op) && (op->state == OP_DONE || op->state == OP_RUNNING))
                return;
        if (op->state == OP_ABSENT)
                hide(c);
        if (c->way == WAY_JOB && op->state != OP_DONE && op->state != OP_RUNNING)
                start_job(op);
        else if (!act(op, c->way == WAY_PARTIAL, &c->unchanged))
                c->not_found = true;
        else if (c->twice && !c->unchanged) /* the one that was long thought lost has come as well */
                act(op, false, &c->unchanged);
}

int32_t cloud_observe(struct cloud_op *op)
{
        static const int32_t answers[] = {
                [OP_ABSENT] = PRVNG_OBSERVED_NOT_STARTED, [OP_RUNNING] = PRVNG_OBSERVED_IN_PROGRESS,
                [OP_DONE] = PRVNG_OBSERVED_DONE,          [OP_PARTIAL] = PRVNG_OBSERVED_PARTIAL,
                [OP_FAILED] = PRVNG_OBSERVED_FAILED,
        };

        cloud_advance(op);
        return sim->now < op->visible_at ? PRVNG_OBSERVED_NOT_STARTED : answers[op->state];
}

void cloud_clean(struct cloud_op *op)
{
        struct object *o = object_at(op->object);

        if (op->verb == OP_CREATE && o)
                object_gone(o);
        else if (o)
                o->partial = false, o->spec = op->before;
        op->state = OP_ABSENT;
        op->n_effects = 0;
}

void cloud_engine_gone(void)
{
        for (struct cloud_op *op = sim->cloud->first_op; op; op = op->next) {
                op->observed = false;
                op->not_before = 0;
        }
}

void cloud_list(const char *op_id, struct buf *resources)
{
        bool any = false;

        for (uint32_t i = 0; i < sim->cloud->n_objects; i++)
                if (sim->cloud->objects[i].alive && streq(sim->cloud->objects[i].op_id, op_id)) {
                        buf_printf(resources, "%s{\"identity\":{\"id\":%u}}", any ? "," : "", i + 1);
                        any = true;
                }
}

/* What others make */

static const char *kind_of(const struct object *o)
{
        return startswith(o->key, "server.") ? "server" : startswith(o->key, "network.") ? "network"
                                                                                          : "security_group";
}

void cloud_list_ours(const struct service *s, struct buf *resources)
{
        bool any = false;

        for (uint32_t i = 0; i < sim->cloud->n_objects; i++) {
                const struct object *o = &sim->cloud->objects[i];
                const char *name = strchr(o->key, '.') + 1;

                if (!o->alive || o->service != s || !o->marked)
                        continue;
                buf_printf(resources, "%s{\"kind\":\"%s\",\"name\":\"%.*s\",\"op_id\":\"%s\","
                                      "\"workflow\":\"%s\",\"identity\":{\"id\":%u}}",
                           any ? "," : "", kind_of(o), (int)strcspn(name, "@"), name, o->op_id, o->workflow,
                           i + 1);
                any = true;
        }
}

static const struct service *provider(unsigned number)
{
        uint32_t n = 0;

        while (n < sim->cloud->n_services && startswith(sim->cloud->services[n].lane, "provider/"))
                n++;
        return &sim->cloud->services[number % n];
}

/* It carries the marks of this site (it was made by an engine whose journal is lost, say), or none. */
void cloud_appears(void)
{
        unsigned workflow = (unsigned)random_below(&sim->random, 3), n = (unsigned)random_below(&sim->random, 30);
        struct cloud_op maker = {.verb = OP_CREATE, .spec = random_next(&sim->random) | 1};
        bool alone = random_chance(&sim->random, 600);
        struct object *o;
        uint64_t number;
        struct uid id;
        char key[64];

        if (sim->quiet)
                return;
        for (size_t k = 0; k < sizeof(id.bytes); k++)
                id.bytes[k] = (uint8_t)random_next(&sim->random);
        id.bytes[0] = 0xff;
        uid_text(&id, maker.id);
        snprintf(key, sizeof(key), alone ? "server.x%u" : "server.w%u-%u", alone ? sim->cloud->n_objects
                                                                                 : workflow, n);
        maker.key = key;
        maker.service = provider(!alone && n % 3 == 2 ? 0 : workflow + n);
        if (!alone || random_chance(&sim->random, 700))
                snprintf(maker.workflow, sizeof(maker.workflow), "w%u", workflow);
        number = object_new(&maker, false);
        o = &sim->cloud->objects[number - 1];
        o->foreign = true;
        o->alone = alone;
        o->marked = random_chance(&sim->random, 700);
        HISTORY("appears", sim->cloud->n_objects, o->marked, "%s as object %u at %s, %s of workflow \"%s\"", key,
                sim->cloud->n_objects, maker.service->lane, o->marked ? "with the marks" : "without marks",
                maker.workflow);
        event_add(random_between(&sim->random, 1, 60000), EVENT_APPEAR, 0);
}

void cloud_sweep_begins(void)
{
        for (uint32_t i = 0; i < sim->cloud->n_objects; i++)
                sim->cloud->objects[i].asked = sim->cloud->objects[i].alive;
}

static bool is_silent(const struct service *s, const char *silent)
{
        char name[64];

        snprintf(name, sizeof(name), "\"plugin\":\"%s\"", strchr(s->lane, '/') + 1);
        return strstr(silent, name) != NULL;
}

/* Exactly what is there, carries our marks and belongs to nobody. */
void cloud_sweep_ends(const char *orphans, const char *silent)
{
        for (uint32_t i = 0; i < sim->cloud->n_objects; i++) {
                const struct object *o = &sim->cloud->objects[i];
                bool owned = witness_owns(o->key, i + 1), found;
                char identity[64];

                snprintf(identity, sizeof(identity), "\"identity\":{\"id\":%u}", i + 1);
                found = strstr(orphans, identity) != NULL;
                if (found && (owned || witness_fate(o->op_id) == FATE_OPEN || !o->marked))
                        violated("orphan-wrong", "object %u, %s, is called an orphan, and %s", i + 1, o->key,
                                 owned ? "the inventory has it" : "it is no such thing");
                if (!found && o->foreign && o->alone && o->marked && o->asked && o->alive && !owned &&
                    !is_silent(o->service, silent))
                        violated("orphan-missed", "object %u, %s, is an orphan, and was not found", i + 1,
                                 o->key);
        }
}

bool cloud_foreign(struct buf *adoption)
{
        for (uint32_t i = sim->cloud->n_objects; i-- > 0;) {
                const struct object *o = &sim->cloud->objects[i];

                if (!o->foreign || o->marked || !o->alive || witness_owns(o->key, 0))
                        continue;
                buf_printf(adoption, "{\"key\":\"%s\",\"plugin\":\"%s\",\"workflow\":\"%s\",\"spec\":"
                                     "{\"name\":\"%s\",\"cpu\":%u},\"outputs\":{\"id\":%u}}",
                           o->key, o->service->lane, *o->workflow ? o->workflow : "adopted", o->key + 7,
                           1 + i % 3, i + 1);
                return true;
        }
        return false;
}

void cloud_result(const struct cloud_op *op, struct buf *result)
{
        uint64_t id = cloud_object_of(op);

        if (op->verb == OP_DELETE || !id)
                BUF_LIT(result, "{}");
        else
                buf_printf(result, "{\"id\":%llu,\"spec\":%llu}", (unsigned long long)id,
                           (unsigned long long)sim->cloud->objects[id - 1].spec);
}

/* The end */

static void check_op(struct cloud_op *op)
{
        enum fate fate = witness_fate(op->id);
        uint32_t n = 0;

        cloud_advance(op);
        if (op->verb == OP_CHECK)
                return;
        if (fate == FATE_DONE && op->state != OP_DONE &&
            !(op->verb == OP_DELETE && !cloud_object_of(op))) /* it was gone before: all the same */
                violated("done-without-effect", "the journal says that op %s on %s is done; it is not",
                         op->id, op->key);
        if (fate == FATE_NOTHING && op->n_effects && (op->state == OP_DONE || op->state == OP_PARTIAL))
                violated("effect-unknown", "op %s on %s took effect; the journal knows of none", op->id,
                         op->key);
        for (uint32_t i = 0; op->n_effects > 1 && i < sim->cloud->n_objects; i++)
                n += sim->cloud->objects[i].alive && streq(sim->cloud->objects[i].op_id, op->id);
        if (n > 1)
                violated("duplicate-left", "op %s made %s %u times, and nobody removed the surplus",
                         op->id, op->key, n);
}

static void check_object(uint32_t i)
{
        const struct object *o = &sim->cloud->objects[i];
        enum fate touched = witness_fate(o->touched);

        if (o->foreign && !o->alive && witness_owns(o->key, i + 1))
                violated("foreign-gone", "%s, object %u, was adopted, and is gone", o->key, i + 1);
        if (!o->alive || (o->foreign && streq(o->touched, o->op_id)))
                return;
        if (touched == FATE_UNKNOWN || touched == FATE_OPEN)
                violated("effect-unknown", "%s was made or changed by op %s, which %s", o->key,
                         o->touched,
                         touched == FATE_OPEN ? "has not ended" : "no journal knows");
        if (touched == FATE_DONE && o->partial)
                violated("done-without-effect", "%s is half done; the journal says that it is done",
                         o->key);
        if (witness_rolled_back(o->op_id))
                violated("rollback-left", "%s is there as object %u (op %s), although the run that made it "
                         "is rolled back", o->key, i + 1, o->op_id);
        if (touched == FATE_DONE && !witness_owns(o->key, i + 1))
                violated("effect-unknown", "%s exists as object %u; the inventory does not know it",
                         o->key, i + 1);
}

void cloud_check(void)
{
        for (struct cloud_op *op = sim->cloud->first_op; op && !*sim->failure; op = op->next)
                check_op(op);
        for (uint32_t i = 0; i < sim->cloud->n_objects && !*sim->failure; i++)
                check_object(i);
}
