/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loaders. The samples are those of the scenario: {"samples": [{"file": "a.yaml", "json": {...}}],
 * "broken": [{"file": "b.yaml", "line": 3}]}, or "text" in the place of a file. Without a scenario a
 * loader is tried with JSON if it reads files called .json, .yaml or .yml.
 */
#include "inside.h"

#include <fcntl.h>
#include <pthread.h>

enum { RANDOM_SOURCES = 200, CUTS = 60 };

struct sample {
        struct buf text;
        char *path;    /* of the file; NULL: only a text */
        json_t *json;  /* what it means, or NULL */
        int64_t line;  /* of the first problem, 0: not said */
};

static void sample_deinit(struct sample *s)
{
        buf_deinit(&s->text);
        free(s->path);
        json_decref(s->json);
}

static void read_file(struct check *c, const char *path, struct buf *ret)
{
        _cleanup_(cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
        char chunk[4096];
        ssize_t n;

        if (fd < 0)
                check_stop(c, "%s: %s", path, strerror(errno));
        while ((n = read(fd, chunk, sizeof(chunk))) > 0)
                buf_append(ret, chunk, (size_t)n);
}

/* Sample i of a member, or the built-in one; false: there is none. */
static bool sample_get(struct subject *s, const char *member, size_t i, struct sample *ret)
{
        static const char text[] = "{\"a\": [1, -2.5, true, false, null, \"x \\u00e4 \\n\"],\n"
                                   " \"b\": {\"c\": {}, \"d\": []}}\n";
        const json_t *e = json_array_get(scenario_get(s->check, member), i);
        struct buf path = BUF_NULL;

        *ret = (struct sample){.line = json_get_int(e, "line", 0)};
        if (e && json_get_string(e, "file", NULL)) {
                buf_printf(&path, "%s/%s", s->check->scenario->folder, json_get_string(e, "file", ""));
                ret->path = buf_steal(&path);
                read_file(s->check, ret->path, &ret->text);
        } else if (e) {
                buf_puts(&ret->text, json_get_string(e, "text", ""));
        } else if (i == 0 && streq(member, "samples") && s->loader.extensions &&
                   (strstr(s->loader.extensions, "json") || strstr(s->loader.extensions, "yaml"))) {
                buf_puts(&ret->text, text);
                ret->json = json_loads(text, 0, NULL);
                return true;
        } else {
                return false;
        }
        if (json_object_get(e, "json"))
                ret->json = scenario_expand(s->check, json_object_get(e, "json"));
        return true;
}

static uint32_t lines_of(const struct buf *b)
{
        uint32_t n = 1;

        for (size_t i = 0; i < b->n; i++)
                n += b->data[i] == '\n';
        return n;
}

static void arguments_of(struct check *c, struct buf *ret)
{
        json_t *schemas = scenario_expand(c, scenario_get(c, "schemas"));

        buf_puts(ret, "{\"D\":{},\"schemas\":");
        buf_json(ret, json_string_value(schemas) ?: "/nonexistent");
        buf_puts(ret, "}");
        json_decref(schemas);
}

/* One load(). The builder is the caller's to look at, and to end. */
static int32_t load(struct subject *s, const char *path, const struct buf *text, uint64_t give_up_at,
                    struct builder *ret)
{
        struct prvng_loader_source source = {.struct_size = sizeof(source), .path = path};
        struct buf arguments = BUF_NULL;
        struct check *c = s->check;
        struct act a;
        int32_t answer;

        arguments_of(c, &arguments);
        source.arguments = buf_str(&arguments);
        *ret = (struct builder){.check = c, .path = path, .give_up_at = give_up_at};
        if (text) {
                source.data = text->n ? text->data : "";
                source.n_data = text->n;
                ret->n_lines = lines_of(text);
        }
        buf_clear(&s->world->log);
        act_init(&a, s, NULL, 1, 60000);
        a.what = "load";
        a.call.reply = &a.reply;
        answer = s->loader.load(s->instance, &a.call.pub, &source, builder_of(ret));
        if (!class_is_known(answer) || answer > 0)
                check_fail(c, "load() answered %s", class_name(answer));
        else if (answer < 0 && ret->n_problems == 0 && !a.call.said && !ret->gave_up)
                check_fail(c, "load() answered %s with neither a problem nor an error record", class_name(answer));
        else if (answer == PRVNG_DONE && ret->gave_up)
                check_fail(c, "load() answered DONE although the builder gave up at event %llu",
                           (unsigned long long)give_up_at);
        else if (answer == PRVNG_DONE && (ret->depth > 0 || !ret->is_done))
                check_fail(c, "load() answered DONE and the document is not whole");
        else if (answer == PRVNG_DONE && ret->n_problems > 0)
                check_fail(c, "load() answered DONE and told a problem: %s", buf_str(&ret->problem));
        if (a.reply.message)
                buf_puts(&s->world->log, a.reply.message);
        buf_deinit(&arguments);
        act_deinit(&a);
        return answer;
}

static void test_samples(struct check *c)
{
        struct sample sample;
        struct builder b;
        struct subject s;
        size_t n = 0;

        subject_start_live(c, &s);
        for (; sample_get(&s, "samples", n, &sample); n++) {
                json_t *got;
                int32_t answer;

                check_step(c, "load() of sample %zu", n + 1);
                answer = load(&s, sample.path ?: "sample", sample.path ? NULL : &sample.text, 0, &b);
                if (answer == PRVNG_UNSUPPORTED)
                        check_skip(c, "the loader cannot work here: %s", buf_str(&s.world->log));
                if (answer != PRVNG_DONE)
                        check_fail(c, "sample %zu is answered %s: %s", n + 1, class_name(answer), buf_str(&b.problem));
                got = json_loads(buf_str(&b.json), JSON_DECODE_ANY, NULL);
                if (answer == PRVNG_DONE && sample.json && !json_equal(got, sample.json))
                        check_fail(c, "sample %zu is read as %s", n + 1, buf_str(&b.json));
                json_decref(got);
                builder_deinit(&b);
                sample_deinit(&sample);
        }
        if (n == 0)
                check_skip(c, "the scenario has no \"samples\"");
        subject_stop(&s);
}

static void test_broken(struct check *c)
{
        struct sample sample;
        struct builder b;
        struct subject s;
        size_t n = 0;

        subject_start_live(c, &s);
        for (; sample_get(&s, "broken", n, &sample); n++) {
                int32_t answer;

                check_step(c, "load() of broken sample %zu", n + 1);
                answer = load(&s, sample.path ?: "sample", sample.path ? NULL : &sample.text, 0, &b);
                if (answer == PRVNG_UNSUPPORTED)
                        check_skip(c, "the loader cannot work here");
                if (answer != PRVNG_PERMANENT || b.n_problems == 0)
                        check_fail(c, "broken sample %zu is answered %s with %u problems: PERMANENT, and told to the "
                                      "builder", n + 1, class_name(answer), b.n_problems);
                else if (sample.line && b.problem_line != (uint32_t)sample.line)
                        check_fail(c, "the problem of broken sample %zu is told in line %u, it is in %lld: %s", n + 1,
                                   b.problem_line, (long long)sample.line, buf_str(&b.problem));
                builder_deinit(&b);
                sample_deinit(&sample);
        }
        if (n == 0)
                check_skip(c, "the scenario has no \"broken\"");
        subject_stop(&s);
}

static void test_random(struct check *c)
{
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
        int64_t rounds = scenario_limit(c, "random_sources", RANDOM_SOURCES);
        struct sample sample;
        struct builder b;
        struct subject s;

        subject_start_live(c, &s);
        if (!sample_get(&s, "samples", 0, &sample))
                check_skip(c, "the scenario has no \"samples\"");
        for (int64_t i = 0; i < rounds; i++) {
                check_mutate(c, sample.text.data, sample.text.n, &text);
                check_step(c, "load() of a random source, number %lld with --seed %llu: %.200s", (long long)i,
                           (unsigned long long)c->options->seed, buf_str(&text));
                load(&s, "random", &text, 0, &b);
                builder_deinit(&b);
        }
        sample_deinit(&sample);
        subject_stop(&s);
}

/* The builder gives up at every event in turn. */
static void test_gives_up(struct check *c)
{
        uint64_t most = (uint64_t)scenario_limit(c, "cuts", CUTS);
        struct sample sample;
        struct builder b;
        struct subject s;

        subject_start_live(c, &s);
        if (!sample_get(&s, "samples", 0, &sample))
                check_skip(c, "the scenario has no \"samples\"");
        for (uint64_t i = 1; i <= most; i++) {
                int32_t answer;
                bool gave_up;

                check_step(c, "load() into a builder that gives up at event %llu", (unsigned long long)i);
                answer = load(&s, sample.path ?: "sample", sample.path ? NULL : &sample.text, i, &b);
                gave_up = b.gave_up != 0;
                if (gave_up && answer != b.gave_up)
                        check_fail(c, "load() answered %s; the builder gave up with %s", class_name(answer),
                                   class_name(b.gave_up));
                if (b.went_on)
                        check_fail(c, "load() goes on after the builder gave up at event %llu", (unsigned long long)i);
                builder_deinit(&b);
                if (!gave_up)
                        break;
        }
        sample_deinit(&sample);
        subject_stop(&s);
}

static void test_missing(struct check *c)
{
        struct builder b;
        struct subject s;

        subject_start_live(c, &s);
        if (!s.loader.extensions || !s.loader.extensions[0] || strchr(s.loader.extensions, '.'))
                check_fail(c, "extensions are words without dots, it has \"%s\"", s.loader.extensions ?: "");
        check_step(c, "load() of a file that is not there");
        if (load(&s, "/nonexistent/file", NULL, 0, &b) >= 0)
                check_fail(c, "load() of a file that is not there does not fail");
        builder_deinit(&b);
        subject_stop(&s);
}

/* --- many at once --- */

enum { READERS = 4, ROUNDS = 25 };

struct reader {
        struct subject *s;
        const struct sample *sample;
        const char *arguments;
        int64_t rounds;
        int32_t answer; /* of the last */
        char *json;     /* as what it was read; freed by the test */
};

static void *read_often(void *userdata)
{
        struct reader *r = userdata;
        struct prvng_loader_source source = {.struct_size = sizeof(source), .path = r->sample->path ?: "sample",
                                             .arguments = r->arguments};

        if (!r->sample->path) {
                source.data = r->sample->text.data;
                source.n_data = r->sample->text.n;
        }
        for (int64_t i = 0; i < r->rounds && r->answer == PRVNG_DONE; i++) {
                struct builder b = {.check = r->s->check, .path = source.path};
                struct act a;

                act_init(&a, r->s, NULL, 1, 60000);
                a.what = "load";
                a.call.reply = &a.reply;
                r->answer = r->s->loader.load(r->s->instance, &a.call.pub, &source, builder_of(&b));
                act_deinit(&a);
                free(r->json);
                r->json = strdup(buf_str(&b.json));
                builder_deinit(&b);
        }
        return NULL;
}

static void test_parallel(struct check *c)
{
        _cleanup_(cleanup_buf) struct buf arguments = BUF_NULL;
        int64_t rounds = MIN(scenario_limit(c, "random_sources", ROUNDS * 4) / 4, (int64_t)ROUNDS);
        struct reader readers[READERS];
        pthread_t threads[READERS];
        struct sample sample;
        struct subject s;

        subject_start_live(c, &s);
        if (s.plugin->threads != PRVNG_THREADS_PARALLEL)
                check_skip(c, "does not declare PARALLEL: one call is made at a time");
        if (!sample_get(&s, "samples", 0, &sample))
                check_skip(c, "the scenario has no \"samples\"");
        arguments_of(c, &arguments);
        check_step(c, "load() of one sample by %d threads", READERS);
        for (size_t i = 0; i < READERS; i++) {
                readers[i] = (struct reader){&s, &sample, buf_str(&arguments), rounds, PRVNG_DONE, NULL};
                if (pthread_create(&threads[i], NULL, read_often, &readers[i]) != 0)
                        check_stop(c, "no thread");
        }
        for (size_t i = 0; i < READERS; i++)
                pthread_join(threads[i], NULL);
        for (size_t i = 0; i < READERS; i++) {
                json_t *got = json_loads(readers[i].json ?: "", JSON_DECODE_ANY, NULL);

                if (readers[i].answer == PRVNG_UNSUPPORTED)
                        check_skip(c, "the loader cannot work here: %s", buf_str(&s.world->log));
                if (readers[i].answer != PRVNG_DONE)
                        check_fail(c, "a sample is answered %s while %d others are read", class_name(readers[i].answer),
                                   READERS - 1);
                else if (sample.json && !json_equal(got, sample.json))
                        check_fail(c, "a sample is read as %s while %d others are read", readers[i].json ?: "nothing",
                                   READERS - 1);
                json_decref(got);
                free(readers[i].json);
        }
        sample_deinit(&sample);
        subject_stop(&s);
}

const struct test loader_tests[] = {
        {"loader/missing-file", "loader", "says so where there is no file", test_missing, 60, 0},
        {"loader/samples", "loader", "reads its samples as what they mean", test_samples, 120, 0},
        {"loader/broken", "loader", "tells what is wrong with a source, and where", test_broken, 120, 0},
        {"loader/random", "loader", "survives random sources", test_random, 300, 0},
        {"loader/builder-gives-up", "loader", "stops where the builder gives up", test_gives_up, 300, 0},
        {"loader/parallel", "loader", "bears as many calls at once as it declares", test_parallel, 120, 0},
        {0},
};
