/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a plugin: its entry, its descriptor, and hosts older and newer than the one it was built for. */
#include "inside.h"

#include <time.h>

static void test_now(struct check *c)
{
        struct world *w = world_new(c, NULL);
        struct subject s;

        subject_open(c, w, &s);
        if (!subject_enter(&s))
                check_stop(c, "refuses to run here: %s", buf_str(&w->log));
        world_end(w);
}

static void test_open_time(struct check *c)
{
        int64_t allowed_ms = *CHECK_SANITIZER ? 2000 : 100;
        struct world *w = world_new(c, NULL);
        struct timespec a, b;
        struct subject s;
        int64_t ms;

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
        subject_open(c, w, &s);
        subject_enter(&s);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
        ms = (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000;
        if (ms > allowed_ms)
                check_fail(c, "opening it and asking who it is takes %lld ms of processor time, %lld are allowed",
                           (long long)ms, (long long)allowed_ms);
        world_end(w);
}

static void test_entry_is_pure(struct check *c)
{
        const struct prvng_plugin *first;
        struct world *w = world_new(c, NULL);
        struct trace *before;
        struct subject s;
        size_t memory;

        subject_open(c, w, &s);
        before = trace_take(c);
        w->is_pure = true;
        w->pure_what = "prvng_plugin_v1()";
        memory = trace_memory();
        if (!subject_enter(&s))
                check_stop(c, "refuses to run here: %s", buf_str(&w->log));
        if (trace_memory() != memory)
                check_fail(c, "prvng_plugin_v1() allocates memory");
        first = s.plugin;
        subject_enter(&s);
        if (s.plugin != first)
                check_fail(c, "prvng_plugin_v1() gives another descriptor the second time");
        trace_compare(c, before, "prvng_plugin_v1()");
        world_end(w);
}

/* --- the descriptor --- */

static void text_is(struct check *c, const char *member, const char *value)
{
        const char *noted = json_get_string(c->note, member, "");

        if (!value)
                check_fail(c, "the descriptor has no %s", member);
        else if (!streq(value, noted))
                check_fail(c, "the note says %s \"%s\", the descriptor \"%s\"", member, noted, value);
}

static void check_dependencies(struct check *c, const char *text)
{
        char why[JSON_PARSE_ERROR] = "it is none";
        bool wanted = streq(c->kind, "provider") || streq(c->kind, "taskserv");
        json_t *o = NULL;

        if (!text) {
                if (wanted)
                        check_remark(c, "the descriptor has no dependencies: the plan knows nothing of its limits");
                return;
        }
        if (json_parse(text, strlen(text), &o, why) < 0 || !json_is_object(o))
                check_fail(c, "the dependencies are not one JSON object: %s", why);
        json_decref(o);
}

static void test_descriptor(struct check *c)
{
        struct world *w = world_new(c, NULL);
        const struct prvng_plugin *d;
        struct subject s;

        subject_open(c, w, &s);
        if (!subject_enter(&s))
                check_stop(c, "refuses to run here: %s", buf_str(&w->log));
        d = s.plugin;
        if (d->struct_size < PRVNG_PLUGIN_BASELINE)
                check_stop(c, "the descriptor is %u bytes long, at least %zu are needed: is struct_size set?",
                           d->struct_size, (size_t)PRVNG_PLUGIN_BASELINE);
        if (d->reserved)
                check_fail(c, "the descriptor has a reserved member that is not 0");
        text_is(c, "id", d->id);
        text_is(c, "name", d->name);
        text_is(c, "kind", d->kind);
        text_is(c, "version", d->version);
        if (!d->description || !d->description[0] || strchr(d->description, '\n'))
                check_fail(c, "the descriptor needs a description of one line");
        if (!d->licence || !d->licence[0])
                check_fail(c, "the descriptor needs a licence, as an SPDX expression");
        if (d->threads > PRVNG_THREADS_PARALLEL)
                check_fail(c, "the descriptor declares the thread model %u, which there is not", d->threads);
        if (d->flags & ~PRVNG_PLUGIN_BEGIN_NOT_IDEMPOTENT)
                check_fail(c, "the descriptor sets flags that there are not: 0x%x", d->flags);
        if (d->settle_ms < 0)
                check_fail(c, "the descriptor has a settle_ms below 0");
        if (!d->create || !d->destroy || !d->get_interface)
                check_fail(c, "the descriptor has no %s",
                           !d->create ? "create" : !d->destroy ? "destroy" : "get_interface");
        if (d->abi_minor < d->min_host_minor)
                check_fail(c, "it was built with minor %u and needs %u", d->abi_minor, d->min_host_minor);
        check_dependencies(c, d->dependencies);
        world_end(w);
}

/* --- other hosts --- */

/* Enters, creates and destroys: it works, or it says why not. */
static void live_with(struct check *c, struct world *w)
{
        struct subject s;

        subject_open(c, w, &s);
        if (!subject_enter(&s)) {
                check_remark(c, "refuses: %s", buf_str(&w->log));
        } else if (subject_create(&s, check_config(c))) {
                subject_destroy(&s);
        }
        world_end(w);
}

/* The first host there was, exactly: what came since is not there, and memory ends with it. */
static void test_oldest_host(struct check *c)
{
        live_with(c, world_new(c, &(struct world_options){PRVNG_HOST_BASELINE, 0}));
}

static void test_shorter_host(struct check *c)
{
        if (sizeof(struct prvng_host) == PRVNG_HOST_BASELINE)
                check_skip(c, "the host table of this version is still the first one: nothing is shorter than it "
                              "and valid");
        live_with(c, world_new(c, &(struct world_options){sizeof(struct prvng_host) - 1, PRVNG_ABI_MINOR - 1u}));
}

static void test_newer_host(struct check *c)
{
        live_with(c, world_new(c, &(struct world_options){sizeof(struct prvng_host) + 200, PRVNG_ABI_MINOR + 7}));
}

static void test_bare_host(struct check *c)
{
        struct world *w = world_new(c, NULL);

        w->no_interfaces = true;
        live_with(c, w);
}

const struct test load_tests[] = {
        {"load/now", NULL, "opens with all symbols resolved, and its entry is its own", test_now, 30, 0},
        {"load/time", NULL, "opens within 100 ms of processor time", test_open_time, 30, 0},
        {"load/entry-is-pure", NULL, "the entry does nothing but answer", test_entry_is_pure, 30, 0},
        {"load/descriptor", NULL, "the descriptor is whole and says what the note says", test_descriptor, 30, 0},
        {"load/oldest-host", NULL, "bears the host of 1.0, and reads nothing behind it", test_oldest_host, 30, 0},
        {"load/shorter-host", NULL, "bears a host one byte shorter than the present one", test_shorter_host, 30,
         0},
        {"load/newer-host", NULL, "bears a host that has grown", test_newer_host, 30, 0},
        {"load/bare-host", NULL, "bears a host without any optional interface", test_bare_host, 30, 0},
        {0},
};
