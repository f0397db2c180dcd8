/* SPDX-License-Identifier: Apache-2.0 */
/* The plugin under test, from dlopen to its tables. */
#include "inside.h"

#include <dlfcn.h>
#include <link.h>

static const char *const classes[] = {"DONE",     "TRANSIENT", "RATE_LIMITED", "PERMANENT", "AUTH",  "CONFLICT",
                                      "NOT_FOUND", "CANCELLED", "UNSUPPORTED",  "QUOTA",     "INTERNAL",
                                      "TOKEN_REJECTED"};

bool class_is_known(int32_t answer)
{
        return answer <= PRVNG_UNCHANGED && answer >= PRVNG_TOKEN_REJECTED;
}

const char *class_name(int32_t answer)
{
        static _Thread_local char text[32];

        if (answer == PRVNG_PENDING)
                return "PENDING";
        if (answer == PRVNG_UNCHANGED)
                return "UNCHANGED";
        if (answer <= 0 && answer >= PRVNG_TOKEN_REJECTED)
                return classes[-answer];
        snprintf(text, sizeof(text), "the unknown class %d", answer);
        return text;
}

/* As the core hands it over: with "libexec" and the site's "sources", unless it names its own. */
const char *check_config(struct check *c)
{
        static struct buf text;
        const char *given = c->options->config                              ? c->options->config
                            : c->scenario && c->scenario->config.n ? buf_str(&c->scenario->config)
                                                                            : "{}";
        json_t *o = json_loads(given, 0, NULL);

        if (!json_is_object(o))
                check_stop(c, "the configuration is no JSON object: %s", given);
        if (!json_object_get(o, "libexec"))
                json_object_set_new(o, "libexec", json_string(c->options->libexec ?: CHECK_LIBEXEC));
        if (!json_object_get(o, "sources"))
                json_object_set_new(o, "sources", json_object());
        buf_clear(&text);
        json_append(&text, o);
        json_decref(o);
        return buf_str(&text);
}

void subject_open(struct check *c, struct world *w, struct subject *ret)
{
        struct link_map *opened = NULL, *owner = NULL;
        Dl_info info;
        void *symbol;

        *ret = (struct subject){.check = c, .world = w};
        __atomic_store_n(&c->shared->may_spawn, streq(c->kind, "template"), __ATOMIC_RELEASE);
        __atomic_store_n(&c->shared->tested, getpid(), __ATOMIC_RELEASE);
        check_step(c, "dlopen with RTLD_NOW");
        ret->handle = dlopen(c->options->plugin, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        if (!ret->handle)
                check_stop(c, "dlopen: %s", dlerror());
        symbol = dlsym(ret->handle, "prvng_plugin_v1");
        if (!symbol)
                check_stop(c, "does not export prvng_plugin_v1");
        if (dlinfo(ret->handle, RTLD_DI_LINKMAP, &opened) < 0 ||
            dladdr1(symbol, &info, (void **)&owner, RTLD_DL_LINKMAP) == 0 || opened != owner)
                check_stop(c, "has no prvng_plugin_v1 of its own: the one that is found is that of %s",
                           owner ? owner->l_name : "another object");
        memcpy(&ret->entry, &symbol, sizeof(ret->entry));
}

bool subject_enter(struct subject *s)
{
        struct check *c = s->check;
        size_t logged = s->world->n_logged;
        int32_t answer;

        check_step(c, "prvng_plugin_v1()");
        answer = s->entry(s->world->table, &s->plugin);
        if (answer == PRVNG_DONE && s->plugin)
                return true;
        if (answer == PRVNG_DONE)
                check_stop(c, "prvng_plugin_v1() answered DONE and wrote no descriptor");
        if (answer > 0 || !class_is_known(answer))
                check_fail(c, "prvng_plugin_v1() answered %s", class_name(answer));
        if (s->world->n_logged == logged)
                check_fail(c, "prvng_plugin_v1() refused with %s and did not say why (host->log with "
                              "PRVNG_LOG_ERROR)",
                           class_name(answer));
        return false;
}

/* Copies a table by the rule of sized structs. */
static bool copy_table(struct check *c, const char *id, const void *table, void *target, size_t size,
                       size_t baseline)
{
        uint32_t head[2];

        if (!table)
                return false;
        memcpy(head, table, sizeof(head));
        if (head[0] < baseline || head[1] != 0) {
                check_fail(c, "the table %s has struct_size %u (at least %zu) and reserved %u (0)", id, head[0],
                           baseline, head[1]);
                return false;
        }
        memcpy(target, table, MIN((size_t)head[0], size));
        return true;
}

#define FETCH(s, id, member, baseline)                                                             \
        copy_table((s)->check, id, (s)->plugin->get_interface((s)->instance, id), &(s)->member,    \
                   sizeof((s)->member), baseline)

bool subject_create(struct subject *s, const char *config)
{
        struct check *c = s->check;
        size_t logged = s->world->n_logged;
        int32_t answer;

        check_step(c, "create() with the configuration %.200s", config);
        answer = s->plugin->create(s->world->table, config, strlen(config), &s->instance);
        if (answer != PRVNG_DONE) {
                s->instance = NULL;
                if (answer > 0 || !class_is_known(answer))
                        check_fail(c, "create() answered %s", class_name(answer));
                if (s->world->n_logged == logged)
                        check_fail(c, "create() refused with %s and did not say why (host->log with "
                                      "PRVNG_LOG_ERROR)",
                                   class_name(answer));
                return false;
        }
        check_step(c, "get_interface()");
        FETCH(s, PRVNG_OP, op, PRVNG_OP_BASELINE);
        FETCH(s, PRVNG_STORE, store, PRVNG_STORE_BASELINE);
        FETCH(s, PRVNG_LOADER, loader, PRVNG_LOADER_BASELINE);
        FETCH(s, PRVNG_TEMPLATE, template_, PRVNG_TEMPLATE_BASELINE);
        FETCH(s, PRVNG_SECRET, secret, PRVNG_SECRET_BASELINE);
        return true;
}

void subject_destroy(struct subject *s)
{
        check_step(s->check, "destroy()");
        s->plugin->destroy(s->instance);
        s->instance = NULL;
}

void subject_start(struct check *c, struct subject *ret)
{
        struct world *w = world_new(c, NULL);

        subject_open(c, w, ret);
        if (!subject_enter(ret))
                check_stop(c, "the plugin refuses to run: %s", buf_str(&w->log));
        if (subject_create(ret, check_config(c)))
                return;
        if (c->options->scenario || c->options->config)
                check_stop(c, "create() refused the configuration: %s", buf_str(&w->log));
        check_skip(c, "the plugin does not start without configuration (--scenario or --config): %s",
                   buf_str(&w->log));
}

void subject_start_live(struct check *c, struct subject *ret)
{
        if (c->scenario)
                scenario_start(c);
        subject_start(c, ret);
}

void subject_stop(struct subject *s)
{
        subject_destroy(s);
        world_end(s->world);
}
