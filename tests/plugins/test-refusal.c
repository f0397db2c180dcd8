/* SPDX-License-Identifier: Apache-2.0 */
/* One bad plugin for each way to be refused, and what a person then reads. */
#include "loaded.h"

#include <criterion/criterion.h>
#include <sys/stat.h>

/* Loads one plugin that must be refused, with all of these words in its reason. */
static void expect(const struct test_plugin *p, const char *const *words)
{
        struct loaded l;
        struct plugin *q;

        loaded_new(&l, p, 1, NULL);
        cr_assert_eq(l.plugins->n, 1);
        q = &l.plugins->list[0];
        cr_assert_eq(q->state, PLUGIN_REFUSED, "%s was not refused", p->name);
        cr_assert_not_null(q->reason);
        for (; *words; words++)
                cr_assert_not_null(strstr(q->reason, *words), "\"%s\" does not say \"%s\"", q->reason,
                                   *words);
        cr_assert_null(strchr(q->reason, '\n'));
        cr_assert_null(q->instance);
        cr_assert_eq(q->descriptor.struct_size, 0);
        loaded_end(&l);
}

/* Inside of the engine, and in a process of its own: with the same words. */
#define REFUSED(name_, ...)                                                                        \
        do {                                                                                       \
                expect(&(struct test_plugin){.name = (name_)},                                     \
                       (const char *const[]){__VA_ARGS__, NULL});                                  \
                expect(&(struct test_plugin){.name = (name_), .more = "isolation = \"process\";"}, \
                       (const char *const[]){__VA_ARGS__, NULL});                                  \
        } while (0)

Test(refused, without_a_sound_note)
{
        REFUSED("bad-no-note", "is no prvng plugin", "ELF note");
        REFUSED("bad-kind-note", "note says kind \"taskserv\"", "descriptor \"provider\"");
        REFUSED("bad-version-note", "note says version \"0.9\"", "descriptor \"1.0\"");
        REFUSED("bad-unknown-kind", "kind \"teapot\"", "no use for");
        REFUSED("bad-needs-interface", "needs the host interface prvng.host.teleport/1");
}

Test(refused, without_an_entry_of_its_own)
{
        REFUSED("bad-no-entry", "does not export prvng_plugin_v1");
        /* In its sandbox it would not find the library, which no system folder holds. */
        expect(&(struct test_plugin){"bad-entry-elsewhere"},
               (const char *const[]){"prvng_plugin_v1 of its own", "libprvng-test-dependency", NULL});
        REFUSED("bad-refuses", "refuses to run here", "the moon is not full");
        REFUSED("bad-no-descriptor", "returned no descriptor");
}

Test(refused, for_its_descriptor)
{
        REFUSED("bad-small-descriptor", "descriptor", "is 16 bytes long");
        REFUSED("bad-reserved-set", "reserved field that is not 0");
        REFUSED("bad-new-host", "needs a core with plugin interface 1.1, this one has 1.0");
        REFUSED("bad-no-create", "has no create");
        REFUSED("bad-odd-threads", "thread model 9");
        REFUSED("bad-dependencies", "dependencies", "not one JSON object");
}

Test(refused, for_its_instance)
{
        REFUSED("bad-create-fails", "could not start", "no account: set config.account");
        REFUSED("bad-null-table", "offers no interface prvng.provider/1");
        REFUSED("bad-small-table", "prvng.provider/1", "at least");
        REFUSED("bad-no-begin", "has no begin");
        REFUSED("bad-garbage-describe", "describe()", "not one JSON object");
}

Test(refused, for_its_place_or_configuration)
{
        expect(&(struct test_plugin){"noop", "/nonexistent/noop.so"},
               (const char *const[]){"there is no file /nonexistent/noop.so", "enabled = false", NULL});
        expect(&(struct test_plugin){"noop", "/dev/null"},
               (const char *const[]){"/dev/null is not a file", NULL});
        expect(&(struct test_plugin){"noop", "/etc/passwd"},
               (const char *const[]){"is no ELF file", NULL});
        expect(&(struct test_plugin){"crashstore", NULL, NULL, "isolation = \"process\";"},
               (const char *const[]){"is a store", "remove isolation", NULL});
        expect(&(struct test_plugin){"noop", NULL, NULL,
                                     "sha256 = \"00000000000000000000000000000000000000000000000000000"
                                     "00000000000\";"},
               (const char *const[]){"is not the file that", "pins", NULL});
}

Test(refused, under_a_wrong_name)
{
        _cleanup_(cleanup_free) char *file = NULL;

        cr_assert(asprintf(&file, "%s/noop.so", getenv("PRVNG_TEST_PLUGINS")) > 0);
        expect(&(struct test_plugin){"loop", file},
               (const char *const[]){"is the plugin \"noop\", not \"loop\"", "0-loop.conf:1", NULL});
}

Test(refused, when_two_claim_one_name)
{
        struct loaded l;

        loaded_new(&l, (struct test_plugin[]){{"noop"}, {"noop"}, {"strict"}}, 3, NULL);
        cr_assert_eq(l.plugins->n, 3);
        cr_assert_eq(l.plugins->list[0].state, PLUGIN_REFUSED);
        cr_assert_eq(l.plugins->list[1].state, PLUGIN_REFUSED);
        cr_assert_not_null(strstr(l.plugins->list[0].reason, "two drop-ins enable a plugin named"));
        cr_assert_eq(l.plugins->list[2].state, PLUGIN_READY);
        loaded_end(&l);
}

/* Whoever lists plugins is told of a wrong pin too. */
Test(listed, with_a_pin)
{
        struct plugins *notes;
        struct loaded l;

        loaded_new(&l, (struct test_plugin[]){{"noop", NULL, NULL, "sha256 = \"00000000000000000000000000000000"
                                              "00000000000000000000000000000000\";"}}, 1, NULL);
        cr_assert_eq(plugins_load(l.config, l.host, NULL, PLUGINS_NOTES_ONLY, &notes), 0);
        cr_assert_eq(notes->list[0].state, PLUGIN_REFUSED);
        cr_assert_not_null(strstr(notes->list[0].reason, "is not the file that"));
        plugins_free(notes);
        loaded_end(&l);
}

Test(listed, without_running_any_code)
{
        struct loaded l;
        struct plugins *notes;
        struct plugin *p;

        /* its create() would fail */
        loaded_new(&l, (struct test_plugin[]){{"bad-create-fails"}, {"noop", NULL, NULL,
                                              "enabled = false;"}}, 2, NULL);
        cr_assert_eq(plugins_load(l.config, l.host, NULL, PLUGINS_NOTES_ONLY, &notes), 0);
        p = plugins_find(notes, "provider", "bad-create-fails");
        cr_assert(p && p->state == PLUGIN_READY && !p->instance);
        cr_assert_str_eq(p->version, "1.0");
        cr_assert_null(p->sha256, "a whole file was read for its note");
        plugin_digest(p);
        cr_assert_eq(strlen(p->sha256), 64);
        plugins_free(notes);
        cr_assert_eq(plugins_load(l.config, l.host, "store loader", 0, &notes), 0);
        cr_assert_eq(plugins_find(notes, "provider", "bad-create-fails")->state, PLUGIN_READY);
        p = plugins_find(notes, "provider", "noop");
        cr_assert_eq(p->state, PLUGIN_DISABLED);
        cr_assert_str_eq(p->id, "org.prvng.test.noop");
        plugins_free(notes);
        loaded_end(&l);
}

Test(accepted, strict_iso_c)
{
        struct loaded l;

        loaded_new(&l, (struct test_plugin[]){{"strict"}}, 1, NULL);
        cr_assert_eq(l.plugins->list[0].state, PLUGIN_READY, "%s", l.plugins->list[0].reason);
        loaded_end(&l);
}

Test(accepted, c_plus_plus)
{
        _cleanup_(cleanup_free) char *file = NULL;
        struct loaded l;

        cr_assert(asprintf(&file, "%s/cplusplus.so", getenv("PRVNG_TEST_PLUGINS")) > 0);
        if (access(file, F_OK) < 0)
                cr_skip("built without a C++ compiler");
        loaded_new(&l, (struct test_plugin[]){{"cplusplus"}}, 1, NULL);
        cr_assert_eq(l.plugins->list[0].state, PLUGIN_READY, "%s", l.plugins->list[0].reason);
        cr_assert_not_null(l.plugins->list[0].isolated, "as its note asks for");
        loaded_end(&l);
}
