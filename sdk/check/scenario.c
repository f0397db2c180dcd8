/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scenarios: how one plugin is tried out, as a JSON file beside its tests (prvng-plugin-check(1)). Here:
 * reading it, the fake that it starts, and counting what is there.
 *
 * In its strings stand for others: @DIR@ the test's private folder, @SCENARIO@ the folder of the file,
 * @LIBEXEC@, @SEED@, @NAME@ for each --word NAME=VALUE, and for each NAME=VALUE in the line "ready NAME=VALUE ..." that the fake
 * prints once it can be asked.
 */
#include "inside.h"

#include "host/child.h"

#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

enum { READY_MS = 20000, COUNT_MS = 30000 };

static const char *const members[] = {
        "about", "config", "environment", "secrets", "start", "count", "reset", "sandbox", "cache", "tasks",
        "limits", "tokens_before", "samples", "broken", "expressions", "wrong", "endless", "schemas",
        "references", "unknown",
};

static json_t *words; /* name -> value, of this process */

const json_t *scenario_get(const struct check *c, const char *member)
{
        return c->scenario ? json_object_get(c->scenario->json, member) : NULL;
}

int64_t scenario_limit(const struct check *c, const char *name, int64_t fallback)
{
        return json_get_int(scenario_get(c, "limits"), name, fallback);
}

static void set_word(const char *name, const char *value)
{
        json_object_set_new(words, name, json_string(value));
}

/* "ready port=8080 token=x": sets the words. */
static void take_words(char *line)
{
        for (char *w = strtok(line, " \n"); w; w = strtok(NULL, " \n")) {
                char *equals = strchr(w, '=');

                if (!equals)
                        continue;
                *equals = 0;
                set_word(w, equals + 1);
        }
}

static json_t *expand_text(const char *text)
{
        _cleanup_(cleanup_buf) struct buf out = BUF_NULL;

        while (*text) {
                const char *value = NULL;
                char name[64];
                int used = 0;

                if (sscanf(text, "@%63[A-Za-z0-9_]@%n", name, &used) == 1 && used > 0)
                        value = json_get_string(words, name, NULL);
                if (value)
                        buf_puts(&out, value);
                else
                        buf_putc(&out, *text);
                text += value ? used : 1;
        }
        return json_string(buf_str(&out));
}

json_t *scenario_expand(struct check *c, const json_t *value)
{
        json_t *copy, *e;
        const char *key;
        size_t i;

        if (json_is_string(value))
                return expand_text(json_string_value(value));
        if (json_is_array(value)) {
                copy = json_array();
                json_array_foreach ((json_t *)(uintptr_t)value, i, e)
                        json_array_append_new(copy, scenario_expand(c, e));
                return copy;
        }
        if (!json_is_object(value))
                return value ? json_deep_copy(value) : NULL;
        copy = json_object();
        json_object_foreach ((json_t *)(uintptr_t)value, key, e)
                json_object_set_new(copy, key, scenario_expand(c, e));
        return copy;
}

struct scenario *scenario_load(struct check *c, const char *path)
{
        struct scenario *s = calloc(1, sizeof(*s));
        char *copy = strdup(path), seed[32];
        const char *key;
        json_error_t error;
        json_t *v;

        if (!s || !copy)
                check_stop(c, "no memory");
        s->folder = strdup(dirname(copy));
        free(copy);
        s->json = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
        if (!json_is_object(s->json))
                check_stop(c, "%s:%d:%d: %s", path, error.line, error.column,
                           s->json ? "a scenario is one JSON object" : error.text);
        json_object_foreach (s->json, key, v) {
                bool known = false;

                for (size_t i = 0; i < N_ELEMENTS(members); i++)
                        known = known || streq(members[i], key);
                if (!known)
                        check_stop(c, "%s: there is no member \"%s\" in a scenario", path, key);
        }
        words = json_object();
        snprintf(seed, sizeof(seed), "%llu", (unsigned long long)c->options->seed % 1000000);
        set_word("DIR", c->folder);
        set_word("SCENARIO", s->folder);
        set_word("SEED", seed);
        json_object_foreach (c->options->words, key, v)
                set_word(key, json_string_value(v));
        set_word("LIBEXEC", c->options->libexec ? c->options->libexec : CHECK_LIBEXEC);
        c->scenario = s;
        s->secrets = scenario_expand(c, scenario_get(c, "secrets"));
        v = scenario_expand(c, scenario_get(c, "config"));
        if (v)
                json_append(&s->config, v);
        json_decref(v);
        return s;
}

/* --- the fake --- */

static const char **argv_of(struct check *c, const char *member, json_t **ret_expanded)
{
        json_t *list = scenario_expand(c, scenario_get(c, member));
        const char **argv = calloc(json_array_size(list) + 1, sizeof(*argv));

        if (!argv || (list && (!json_is_array(list) || json_array_size(list) == 0)))
                check_stop(c, "\"%s\" of the scenario is a list: a program and its arguments", member);
        for (size_t i = 0; i < json_array_size(list); i++)
                argv[i] = json_string_value(json_array_get(list, i)) ?: "";
        *ret_expanded = list;
        return argv;
}

static void wait_until_ready(struct check *c, int fd, const char *program)
{
        int64_t end = check_now_ms() + READY_MS * MAX(c->options->slow, 1u);
        char line[4096];
        size_t n = 0;

        for (;;) {
                struct pollfd p = {fd, POLLIN, 0};
                ssize_t k;

                if (poll(&p, 1, (int)MAX(end - check_now_ms(), INT64_C(0))) <= 0)
                        check_stop(c, "%s did not print \"ready\" in time", program);
                k = read(fd, line + n, 1);
                if (k <= 0)
                        check_stop(c, "%s ended before it printed \"ready\"", program);
                if (line[n] == '\n' || n + 2 == sizeof(line)) {
                        line[n] = 0;
                        if (startswith(line, "ready")) {
                                take_words(line);
                                return;
                        }
                        n = 0;
                } else {
                        n++;
                }
        }
}

static void start_fake(struct check *c)
{
        _cleanup_(cleanup_json_decref) json_t *expanded = NULL;
        _cleanup_(cleanup_free) const char **argv = argv_of(c, "start", &expanded);
        posix_spawn_file_actions_t actions;
        int in[2], out[2], r;

        if (!argv[0])
                return;
        if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
                check_stop(c, "no pipe: %s", strerror(errno));
        check_step(c, "the fake of the scenario starts");
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, in[0], 0);
        posix_spawn_file_actions_adddup2(&actions, out[1], 1);
        r = posix_spawnp(&c->scenario->fake, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
        posix_spawn_file_actions_destroy(&actions);
        close(in[0]); /* the other end stays: a fake may end when it closes */
        close(out[1]);
        if (r)
                check_stop(c, "%s cannot be started: %s", argv[0], strerror(r));
        wait_until_ready(c, out[0], argv[0]);
}

void scenario_start(struct check *c)
{
        const char *key;
        json_t *v, *environment, *config;

        if (!c->scenario)
                check_skip(c, "needs --scenario");
        start_fake(c);
        environment = scenario_expand(c, scenario_get(c, "environment"));
        json_object_foreach (environment, key, v)
                setenv(key, json_string_value(v) ?: "", 1);
        json_decref(environment);
        json_decref(c->scenario->secrets);
        c->scenario->secrets = scenario_expand(c, scenario_get(c, "secrets"));
        buf_clear(&c->scenario->config);
        config = scenario_expand(c, scenario_get(c, "config"));
        if (config)
                json_append(&c->scenario->config, config);
        json_decref(config);
}

static int run_member(struct check *c, const char *member, struct child_result *ret)
{
        _cleanup_(cleanup_json_decref) json_t *expanded = NULL;
        _cleanup_(cleanup_free) const char **argv = argv_of(c, member, &expanded);
        struct child_spec spec = {.argv = argv, .folder = c->folder, .max_output = 65536, .cancel_fd = -1,
                                  .deadline_ms = check_now_ms() + COUNT_MS * MAX(c->options->slow, 1u)};
        int r;

        if (!argv[0])
                return -ENOENT;
        __atomic_add_fetch(&c->shared->may_fork, 1, __ATOMIC_SEQ_CST);
        r = child_run(&spec, ret);
        __atomic_sub_fetch(&c->shared->may_fork, 1, __ATOMIC_SEQ_CST);
        return r;
}

void scenario_stop(struct check *c)
{
        _cleanup_(cleanup_child_result) struct child_result result = CHILD_RESULT_NULL;

        if (!c->scenario || c->scenario->fake < 0)
                return;
        if (scenario_get(c, "reset"))
                run_member(c, "reset", &result);
        if (c->scenario->fake > 0) {
                __atomic_add_fetch(&c->shared->may_fork, 1, __ATOMIC_SEQ_CST);
                kill(c->scenario->fake, SIGKILL); /* its world is in the private folder */
                waitpid(c->scenario->fake, NULL, 0);
                __atomic_sub_fetch(&c->shared->may_fork, 1, __ATOMIC_SEQ_CST);
        }
        c->scenario->fake = -1;
}

int64_t scenario_count(struct check *c)
{
        _cleanup_(cleanup_child_result) struct child_result result = CHILD_RESULT_NULL;
        char *end;
        long long n;
        int r;

        check_step(c, "\"count\" of the scenario runs");
        r = run_member(c, "count", &result);
        if (r == -ENOENT)
                check_stop(c, "the scenario has no \"count\": a command that prints how many resources there are");
        n = strtoll(buf_str(&result.output), &end, 10);
        if (r != 0 || result.status != 0 || end == buf_str(&result.output))
                check_stop(c, "\"count\" of the scenario failed (%s, code %d): %s%s",
                           r == CHILD_E_TIMEOUT ? "too late" : r ? "not started" : "no number", result.status,
                           buf_str(&result.output), buf_str(&result.errors));
        return n;
}
