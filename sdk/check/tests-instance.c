/* SPDX-License-Identifier: Apache-2.0 */
/* Instances: configuration of every kind, several of them, what they leave behind. */
#include "inside.h"

enum { WARM_UP = 20, ROUNDS = 100, LEAK_BYTES = 32, RANDOM_CONFIGS = 300 };

static void open_only(struct check *c, struct subject *s)
{
        struct world *w = world_new(c, NULL);

        subject_open(c, w, s);
        if (!subject_enter(s))
                check_stop(c, "refuses to run here: %s", buf_str(&w->log));
}

/* create() with these bytes, and destroy() if it took them. Says itself what is wrong. */
static bool try_config(struct subject *s, const char *config, size_t n)
{
        struct check *c = s->check;
        char *copy = malloc(n + 1); /* exactly as long: who reads behind it is found by ASan */
        size_t logged = s->world->n_logged;
        void *instance = NULL;
        int32_t answer;

        memcpy(copy, config, n);
        copy[n] = 0;
        answer = s->plugin->create(s->world->table, copy, n, &instance);
        if (answer == PRVNG_DONE)
                s->plugin->destroy(instance);
        else if (answer > 0 || !class_is_known(answer))
                check_fail(c, "create() answered %s to %.100s", class_name(answer), copy);
        else if (s->world->n_logged == logged)
                check_fail(c, "create() refused %.100s with %s and did not say why", copy, class_name(answer));
        free(copy);
        return answer == PRVNG_DONE;
}

/* Creating and destroying again and again must not cost memory. */
static void leaves_nothing(struct subject *s, const char *config, const char *what)
{
        struct trace *before = NULL;
        size_t memory = 0, after;

        for (int i = 0; i < WARM_UP + ROUNDS; i++) {
                if (i == WARM_UP) {
                        before = trace_take(s->check);
                        memory = trace_memory();
                }
                try_config(s, config, strlen(config));
                buf_clear(&s->world->log);
        }
        after = trace_memory();
        trace_compare(s->check, before, what);
        if (after > memory + ROUNDS * LEAK_BYTES)
                check_fail(s->check, "%s leaks about %zu bytes each time", what, (after - memory) / ROUNDS);
}

static void test_no_config(struct check *c)
{
        struct subject s;

        open_only(c, &s);
        check_step(c, "create() with {}");
        if (!try_config(&s, "{}", 2))
                check_remark(c, "needs configuration: %s", buf_str(&s.world->log));
        world_end(s.world);
}

static void test_invalid_config(struct check *c)
{
        static const struct {
                const char *text;
                size_t n;
        } bad[] = {{"", 0},          {"{", 1},           {"[]", 2},          {"null", 4},  {"{}x", 3},
                   {"\xff\xfe", 2}, {"{\"a\":}", 6},   {"\"x\"", 3},      {"{\0}", 3},   {"0", 1},
                   {"{\"\":{}}", 8}, {"[[[[[[[[", 8},   {"{\"config\":1}", 12}};
        unsigned int taken = 0;
        struct subject s;

        open_only(c, &s);
        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                check_step(c, "create() with %zu bytes: %s", bad[i].n, bad[i].text);
                taken += try_config(&s, bad[i].text, bad[i].n);
                buf_clear(&s.world->log);
        }
        if (taken == N_ELEMENTS(bad))
                check_remark(c, "does not look at its configuration: a mistake in it is never told");
        world_end(s.world);
}

/* What nobody would write; and what nobody wants on the stack. */
static void test_huge_config(struct check *c)
{
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        struct subject s;

        open_only(c, &s);
        buf_puts(&text, "{\"filler\":\"");
        for (size_t i = 0; i < 1 << 20; i++)
                buf_putc(&text, (char)('a' + i % 26));
        buf_puts(&text, "\"}");
        check_step(c, "create() with 1 MiB in one string");
        try_config(&s, text.data, text.n);
        buf_clear(&text);
        for (size_t i = 0; i < 1 << 20; i++)
                buf_putc(&text, '[');
        check_step(c, "create() with 1 MiB of [");
        try_config(&s, text.data, text.n);
        world_end(s.world);
}

static void test_random_config(struct check *c)
{
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        const char *from = check_config(c);
        struct subject s;

        open_only(c, &s);
        for (unsigned int i = 0; i < RANDOM_CONFIGS; i++) {
                check_mutate(c, from, strlen(from), &text);
                check_step(c, "create() with a random configuration, number %u with --seed %llu: %.200s", i,
                           (unsigned long long)c->options->seed, buf_str(&text));
                try_config(&s, buf_str(&text), text.n);
                buf_clear(&s.world->log);
        }
        world_end(s.world);
}

static void test_leaves_nothing(struct check *c)
{
        struct subject s;

        open_only(c, &s);
        check_step(c, "create() and destroy() again and again");
        leaves_nothing(&s, check_config(c), "create() and destroy()");
        check_step(c, "create() with a wrong configuration again and again");
        leaves_nothing(&s, "{\"there is no such key\": [1, 2", "a create() that fails");
        check_step(c, "create() with an unknown key again and again");
        leaves_nothing(&s, "{\"there is no such key\": [1, 2]}", "a create() that fails");
        world_end(s.world);
}

static void test_destroy_null(struct check *c)
{
        struct subject s;

        open_only(c, &s);
        check_step(c, "destroy(NULL)");
        s.plugin->destroy(NULL);
        world_end(s.world);
}

/* --- interfaces --- */

static const char *const known_ids[] = {PRVNG_OP,       PRVNG_PROVIDER, PRVNG_TASKSERV,           PRVNG_STORE,
                                        PRVNG_LOADER,   PRVNG_TEMPLATE, PRVNG_PROVIDER_INVENTORY, PRVNG_PROVIDER_PRECHECK,
                                        PRVNG_SECRET};

static void answers_null(struct subject *s, const char *id)
{
        check_step(s->check, "get_interface(\"%s\")", id);
        if (s->plugin->get_interface(s->instance, id))
                check_fail(s->check, "get_interface(\"%s\") answers with a table: ids are compared whole", id);
}

static void test_unknown_interfaces(struct check *c)
{
        struct subject s;

        subject_start(c, &s);
        answers_null(&s, "");
        answers_null(&s, "org.example.nobody-has-this/1");
        answers_null(&s, "prvng.");
        for (size_t i = 0; i < N_ELEMENTS(known_ids); i++) {
                char id[128];

                snprintf(id, sizeof(id), "%sx", known_ids[i]);
                answers_null(&s, id);
                snprintf(id, sizeof(id), "%s ", known_ids[i]);
                answers_null(&s, id);
                snprintf(id, sizeof(id), " %s", known_ids[i]);
                answers_null(&s, id);
                snprintf(id, sizeof(id), "%s", known_ids[i]);
                id[strlen(id) - 1] = 0;
                answers_null(&s, id);
                strcat(id, "999");
                answers_null(&s, id);
        }
        subject_stop(&s);
}

static void test_interfaces(struct check *c)
{
        static const struct {
                const char *kind, *id;
                bool is_op;
        } needed[] = {{"provider", PRVNG_OP, true},     {"provider", PRVNG_PROVIDER, true},
                      {"taskserv", PRVNG_OP, true},     {"taskserv", PRVNG_TASKSERV, true},
                      {"secret", PRVNG_SECRET, false},      {"store", PRVNG_STORE, false},
                      {"loader", PRVNG_LOADER, false},  {"template", PRVNG_TEMPLATE, false}};
        struct subject s;

        subject_start(c, &s); /* looks at sizes and reserved members */
        for (size_t i = 0; i < N_ELEMENTS(needed); i++) {
                const void *t = s.plugin->get_interface(s.instance, needed[i].id);

                if (!streq(needed[i].kind, c->kind))
                        continue;
                if (!t)
                        check_fail(c, "a %s has the interface %s", c->kind, needed[i].id);
                else if (t != s.plugin->get_interface(s.instance, needed[i].id))
                        check_fail(c, "get_interface(\"%s\") answers otherwise the second time", needed[i].id);
        }
        if (s.op.struct_size && (!s.op.prepare || !s.op.begin))
                check_fail(c, PRVNG_OP " needs prepare and begin");
        if (s.op.struct_size && !s.op.observe)
                check_remark(c, "has no observe(): whatever is in doubt after a crash waits for the operator");
        if (s.loader.struct_size && (!s.loader.extensions || !s.loader.load))
                check_fail(c, PRVNG_LOADER " needs extensions and load");
        if (s.secret.struct_size && (!s.secret.resolve || !s.secret.check))
                check_fail(c, PRVNG_SECRET " needs resolve and check");
        if (s.template_.struct_size && !s.template_.evaluate)
                check_fail(c, PRVNG_TEMPLATE " needs evaluate");
        subject_stop(&s);
}

static void test_two_instances(struct check *c)
{
        const void *table;
        void *first, *second = NULL;
        struct subject s;

        subject_start(c, &s);
        first = s.instance;
        check_step(c, "create() of a second instance");
        if (s.plugin->create(s.world->table, check_config(c), strlen(check_config(c)), &second) != PRVNG_DONE)
                check_stop(c, "create() of a second instance failed: %s", buf_str(&s.world->log));
        if (first == second && s.op.struct_size)
                check_remark(c, "both instances are the same object: right only if it has no state");
        check_step(c, "destroy() of the first instance, the second one in use");
        s.plugin->destroy(first);
        table = s.plugin->get_interface(second, s.op.struct_size         ? PRVNG_OP
                                                : s.store.struct_size    ? PRVNG_STORE
                                                : s.loader.struct_size   ? PRVNG_LOADER
                                                : s.secret.struct_size   ? PRVNG_SECRET
                                                                         : PRVNG_TEMPLATE);
        if (!table)
                check_fail(c, "the second instance has lost its interfaces with the first one");
        s.instance = second;
        if (s.op.describe) {
                struct buf text = BUF_NULL;
                struct prvng_sink sink = SINK(&text, 4 << 20);

                check_step(c, "describe() of the second instance after the end of the first");
                s.op.describe(second, &sink);
                buf_deinit(&text);
        }
        subject_stop(&s);
}

static void test_self_test(struct check *c)
{
        struct subject s;
        struct act a;
        const json_t *e;
        json_t *o = NULL;
        int32_t answer;
        size_t i;

        subject_start(c, &s);
        if (!s.plugin->self_test)
                check_skip(c, "has no self_test");
        act_init(&a, &s, NULL, 1, 20000);
        a.what = "self_test";
        a.result = SINK(&a.reply.result, 1 << 20);
        a.call.reply = &a.reply;
        check_step(c, "self_test()");
        answer = s.plugin->self_test(s.instance, &a.call.pub, &a.result);
        a.answer = answer;
        act_judge(&a, answer);
        if (answer == PRVNG_DONE && a.reply.result.n)
                json_parse(a.reply.result.data, a.reply.result.n, &o, NULL);
        if (answer == PRVNG_DONE && !json_is_array(json_object_get(o, "checks")))
                check_fail(c, "the report of self_test() has no array \"checks\"");
        json_array_foreach (json_object_get(o, "checks"), i, e)
                if (!json_is_string(json_object_get(e, "name")) || !json_is_boolean(json_object_get(e, "ok")) ||
                    !json_is_string(json_object_get(e, "message")))
                        check_fail(c, "check %zu of self_test() lacks name, ok or message", i);
        json_decref(o);
        act_deinit(&a);
        subject_stop(&s);
}

const struct test instance_tests[] = {
        {"instance/no-config", NULL, "starts without configuration, or says what it needs", test_no_config, 30, 0},
        {"instance/invalid-config", NULL, "survives what is no configuration", test_invalid_config, 60, 0},
        {"instance/huge-config", NULL, "survives 1 MiB of configuration", test_huge_config, 60, 0},
        {"instance/random-config", NULL, "survives random configuration", test_random_config, 120,
         TEST_MAY_TRY},
        {"instance/leaves-nothing", NULL, "gives back what it took, also when it fails", test_leaves_nothing, 120,
         0},
        {"instance/destroy-null", NULL, "destroy(NULL) does nothing", test_destroy_null, 30, 0},
        {"instance/interfaces", NULL, "has the interfaces of its kind, well formed", test_interfaces, 30, 0},
        {"instance/unknown-interfaces", NULL, "answers NULL to ids it does not know", test_unknown_interfaces, 30,
         0},
        {"instance/two", NULL, "bears two instances at once", test_two_instances, 30, 0},
        {"instance/self-test", NULL, "reports on itself as JSON", test_self_test, 60, 0},
        {0},
};
