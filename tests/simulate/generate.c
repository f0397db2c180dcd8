/* SPDX-License-Identifier: Apache-2.0 */
/* Random sites and workflows. What is submitted is a definition, so that the plans are the real ones. */
#include "simulate/cloud.h"
#include "simulate/plugins.h"
#include "simulate/witness.h"

#define MAX_OPERATIONS 10

struct shape {
        unsigned n_providers, n_taskservs;
        bool shares; /* networks and the like, which belong to the first workflow that needs them */
        bool stores; /* some runs choose the other one */
};

static struct shape shape; /* of the site of the seed that runs */

static int64_t draw(int64_t least, int64_t most)
{
        return random_between(&sim->random, least, most);
}

static bool chance(unsigned permille)
{
        return random_chance(&sim->random, permille);
}

static void draw_service(struct service *s)
{
        uint64_t api = random_below(&sim->random, 100);

        *s = (struct service){0};
        s->api = api < 40 ? API_KEYED : api < 80 ? API_TAGGED : api < 90 ? API_BLIND : API_MUTE;
        if (s->api == API_TAGGED || chance(300))
                s->settle_ms = draw(1, chance(500) ? 2000 : 30000);
        s->latency_ms = chance(700) ? draw(2, 60) : draw(60, 3000);
        s->restores = chance(300);
        s->replaces = chance(300);
        s->pending = chance(500) ? 0 : (unsigned)draw(1, 900);
        s->rate_limit = chance(700) ? 100 : (uint32_t)draw(1, 20);
        s->batch_size = chance(300) ? (uint32_t)draw(1, 3) : (uint32_t)draw(3, 50);
}

static void add_providers(void)
{
        for (unsigned i = 0; i < shape.n_providers; i++) {
                struct service s;
                char dependencies[256];

                draw_service(&s);
                snprintf(s.lane, sizeof(s.lane), "provider/p%u", i);
                snprintf(dependencies, sizeof(dependencies),
                         "{\"requires_network\":%s,\"network_before_servers\":true,"
                         "\"shared_resources\":[%s],\"api_rate_limit\":%u,\"batch_size\":%u}",
                         shape.shares && chance(500) ? "true" : "false",
                         shape.shares && chance(300) ? "\"security_group\"" : "",
                         s.rate_limit, s.batch_size);
                cloud_add_service(&s, "provider", dependencies);
        }
}

static void add_taskservs(void)
{
        sim->config.taskserv_batch = (uint32_t)draw(1, 16);
        for (unsigned i = 0; i < shape.n_taskservs; i++) {
                struct service s;
                char dependencies[128];

                draw_service(&s);
                s.batch_size = sim->config.taskserv_batch;
                snprintf(s.lane, sizeof(s.lane), "taskserv/t%u", i);
                if (i && chance(400))
                        snprintf(dependencies, sizeof(dependencies), "{\"requires\":[\"t%u\"]}", i - 1);
                else
                        snprintf(dependencies, sizeof(dependencies), "{\"requires\":[]}");
                cloud_add_service(&s, "taskserv", dependencies);
        }
}

void generate_site(void)
{
        static char store[] = "sim", provider[] = "p0", state[] = "/sim";

        shape.n_providers = (unsigned)draw(1, 4);
        shape.n_taskservs = (unsigned)draw(0, 4);
        shape.shares = chance(300);
        shape.stores = chance(400);
        sim->config = (struct config){.state = state, .store = store, .provider = provider};
        sim->config.workers = chance(300) ? (uint32_t)draw(1, 8) : 64;
        sim->config.server = json_pack("{s:i, s:i, s:i}", "disk", 10, "memory", 1024, "cpu", 1);
        sim->plugins.list = calloc(SERVICES_MAX + 4, sizeof(struct plugin));
        plugin_add("loader", "json", NULL, NULL);
        plugin_add("store", "sim", NULL, NULL);
        plugin_add("store", "sim2", NULL, NULL);
        plugin_add("template", "sim", NULL, NULL);
        add_providers();
        add_taskservs();
}

uint32_t generate_runs(void)
{
        return chance(500) ? 1 : (uint32_t)draw(1, 6);
}

/* Workflows */

struct workflow {
        unsigned number;       /* its name; its resources are named after it */
        uint32_t n_servers;    /* that there are names for */
        unsigned n_operations;
        struct {
                uint32_t first, n; /* servers */
                bool taskserv;
                unsigned which;    /* of the taskservs */
        } operations[MAX_OPERATIONS];
        struct buf replace; /* names of servers that may be made anew */
};

static bool there(const struct workflow *w, uint32_t server)
{
        char key[64];

        snprintf(key, sizeof(key), "server.w%u-%u", w->number, server);
        return witness_owns(key, 0);
}

static void add_list(struct buf *b, const struct workflow *w, uint32_t first, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++)
                buf_printf(b, "%s\"w%u-%u\"", i ? "," : "", w->number, first + i);
}

static void add_depends(struct buf *b, unsigned op)
{
        bool any = false;

        BUF_LIT(b, ",\"depends_on\":[");
        for (unsigned i = 0; i < op; i++)
                if (chance(op == 1 ? 600 : 300)) {
                        buf_printf(b, "%s\"o%u\"", any ? "," : "", i);
                        any = true;
                }
        buf_putc(b, ']');
}

static void add_policies(struct buf *b)
{
        static const char *const failures[] = {"fail", "continue", "continue", "rollback"};

        buf_printf(b, ",\"timeout\":%d,\"on_failure\":\"%s\",\"parallel\":%s",
                   (int)(chance(300) ? draw(1, 10) : draw(10, 300)),
                   failures[random_below(&sim->random, N_ELEMENTS(failures))],
                   chance(100) ? "false" : "true");
}

/* What can be done to these servers, as far as one can see now. */
static const char *draw_type(const struct workflow *w, uint32_t first, uint32_t n)
{
        static const char *const later[] = {"create", "create", "update", "delete", "check"};
        bool all = true;

        for (uint32_t i = 0; i < n && all; i++)
                all = there(w, first + i);
        return all ? later[random_below(&sim->random, N_ELEMENTS(later))]
                   : chance(30) ? "check" : "create";
}

static void allow_replacing(struct workflow *w, uint32_t first, uint32_t n)
{
        for (uint32_t i = first; i < first + n; i++)
                if (there(w, i) && chance(700))
                        buf_printf(&w->replace, "%s\"w%u-%u\"", w->replace.n ? "," : "", w->number, i);
}

static void add_operation(struct buf *b, struct workflow *w, unsigned op, uint32_t tasks)
{
        bool taskserv = op > 0 && shape.n_taskservs && chance(400);
        uint32_t first, n = tasks;
        const char *type;

        buf_printf(b, "%s{\"id\":\"o%u\"", op ? "," : "", op);
        if (taskserv) {
                unsigned from = (unsigned)random_below(&sim->random, op);

                n = MIN(w->operations[from].n, tasks);
                first = w->operations[from].first;
                buf_printf(b, ",\"type\":\"create\",\"target\":\"taskserv\",\"items\":[\"t%u\"],"
                              "\"servers\":[", (unsigned)random_below(&sim->random, shape.n_taskservs));
                add_list(b, w, first, n);
                buf_printf(b, "],\"depends_on\":[\"o%u\"]", from);
        } else {
                first = w->n_servers;
                w->n_servers += n;
                type = draw_type(w, first, n);
                if (streq(type, "create") || streq(type, "update"))
                        allow_replacing(w, first, n);
                buf_printf(b, ",\"type\":\"%s\",\"target\":\"server\",\"items\":[", type);
                add_list(b, w, first, n);
                buf_putc(b, ']');
                add_depends(b, op);
        }
        w->operations[op].first = first;
        w->operations[op].n = n;
        w->operations[op].taskserv = taskserv;
        add_policies(b);
        buf_putc(b, '}');
}

static void add_servers(struct buf *b, const struct workflow *w)
{
        uint32_t n = w->n_servers + (chance(300) ? (uint32_t)draw(1, 5) : 0); /* some that no operation names */
        bool any = false;

        BUF_LIT(b, ",\"servers\":[");
        for (uint32_t i = 0; i < n; i++) {
                if (!chance(700))
                        continue;
                buf_printf(b, "%s{\"name\":\"w%u-%u\",\"cpu\":%d", any ? "," : "", w->number, i,
                           (int)draw(1, 3));
                if (i % 3 != 2) /* the same in every run: a server does not move */
                        buf_printf(b, ",\"provider\":\"p%u\"", (w->number + i) % shape.n_providers);
                buf_putc(b, '}');
                any = true;
        }
        buf_putc(b, ']');
}

/* Only from later to earlier servers, so that there are no circles. */
static void add_dependencies(struct buf *b, const struct workflow *w)
{
        static const char *const types[] = {"hard", "soft", "optional"};
        uint32_t n = w->n_servers > 1 && chance(300)
                             ? (uint32_t)draw(1, MIN((int64_t)w->n_servers, (int64_t)20))
                             : 0;

        BUF_LIT(b, ",\"dependencies\":[");
        for (uint32_t i = 0; i < n; i++) {
                uint32_t source = (uint32_t)draw(1, w->n_servers - 1);

                bool waits = chance(200);

                buf_printf(b, "%s{\"source\":\"server.w%u-%u\",\"target\":\"server.w%u-%u\","
                              "\"type\":\"%s\"%s}",
                           i ? "," : "", w->number, source, w->number,
                           (uint32_t)random_below(&sim->random, source),
                           types[random_below(&sim->random, waits ? 2 : 3)],
                           waits ? ",\"wait_condition\":\"outputs.id\"" : "");
        }
        buf_putc(b, ']');
}

static void add_definition(struct buf *b, struct workflow *w, uint32_t size)
{
        static const char *const types[] = {"batch", "parallel", "parallel", "sequential"};
        unsigned n = (unsigned)draw(1, MIN(MAX_OPERATIONS, MAX((int64_t)size / 2, (int64_t)1)));

        w->n_operations = n;
        buf_printf(b, "\"name\":\"w%u\",\"type\":\"%s\",\"provider_agnostic\":false,\"operations\":[",
                   w->number, types[random_below(&sim->random, N_ELEMENTS(types))]);
        for (unsigned i = 0; i < n; i++)
                add_operation(b, w, i, MAX(size / n, 1u));
        buf_putc(b, ']');
        add_servers(b, w);
        add_dependencies(b, w);
        buf_printf(b, ",\"rollback_strategy\":{\"enabled\":%s,\"on_partial_failure\":%s,"
                      "\"checkpoint_interval\":%d,\"preserve_successful\":%s}",
                   chance(850) ? "true" : "false", chance(800) ? "true" : "false", (int)draw(1, 4),
                   chance(200) ? "true" : "false");
        buf_printf(b, ",\"retry_policy\":{\"max_attempts\":%d,\"backoff\":\"%s\",\"initial_delay\":%d,"
                      "\"max_delay\":%d}",
                   (int)draw(1, 5), chance(500) ? "linear" : "exponential", (int)draw(0, 5),
                   (int)draw(5, 20));
}

/* Where its journal is kept, and how long. */
static void add_keeping(struct buf *b)
{
        if (shape.stores && chance(600))
                buf_printf(b, ",\"monitoring\":{\"state_store\":\"%s\"}", chance(800) ? "sim2" : "sim");
        if (chance(500))
                buf_printf(b, ",\"logging\":{\"retention_days\":%d}", (int)draw(0, 3));
}

const char *generate_workflow(struct buf *body, const char *id, uint32_t size)
{
        unsigned number = shape.shares ? 0 : (unsigned)random_below(&sim->random, 3);
        uint64_t way = random_below(&sim->random, 100);
        struct workflow w = {.number = number};
        char key[64];

        snprintf(key, sizeof(key), "server.w%u-0", number);
        if (way < 20 && witness_owns(key, 0)) {
                buf_printf(body, "{\"id\":\"%s\",\"name\":\"w%u\"}", id, number);
                return way < 12 ? "destroy" : "check";
        }
        buf_printf(body, "{\"id\":\"%s\",\"definition\":{", id);
        add_definition(body, &w, size);
        add_keeping(body);
        BUF_LIT(body, "}");
        if (w.replace.n)
                buf_printf(body, ",\"replace\":[%s]", buf_str(&w.replace));
        buf_deinit(&w.replace);
        if (chance(350))
                BUF_LIT(body, ",\"prune\":true");
        BUF_LIT(body, "}");
        return "batch";
}
