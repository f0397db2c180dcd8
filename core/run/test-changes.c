/* SPDX-License-Identifier: Apache-2.0 */
/* What a changed definition changes in a run: a fold made from records against plans made by hand. */
#include "run/changes.h"

#include <criterion/criterion.h>

#define DOC(spec) "{\"kind\":\"server\",\"name\":\"x\",\"spec\":" spec "}"
#define RECORD(...) tell(run, (struct record){__VA_ARGS__})

static void tell(struct run *run, struct record r)
{
        r.seq = run->seq + 1;
        r.at = 1000;
        cr_assert_eq(run_apply(run, NULL, &r), 0, "record %u", (unsigned)r.seq);
}

/* Operations a and b; b waits for the join of a. Ten tasks in a, of which n are done; one in b. */
static struct run *story(uint32_t n)
{
        static const char *const ids[] = {"a", "b"};
        struct run *run = run_new();

        RECORD(.type = RECORD_RUN, .name = span_of("w"), .kind = span_of("batch"), .who = span_of("{}"),
               .max_attempts = 3, .backoff = span_of("linear"), .logging = span_of("{}"),
               .options = span_of("{}"), .notices = span_of("[]"));
        RECORD(.type = RECORD_LANE, .plugin = span_of("provider/x"), .batch_size = 4);
        for (unsigned i = 0; i < 2; i++)
                RECORD(.type = RECORD_OPERATION, .id = span_of(ids[i]), .verb = span_of("create"),
                       .target = span_of("server"), .on_failure = span_of("fail"), .timeout = 9);
        for (unsigned i = 0; i < 10; i++) {
                char id[8], key[16];

                snprintf(id, sizeof(id), "a/%u", i);
                snprintf(key, sizeof(key), "server.%u", i);
                RECORD(.type = RECORD_TASK, .id = span_of(id), .verb = span_of("create"),
                       .key = span_of(key), .doc = span_of(DOC("{\"cpu\":1}")));
        }
        RECORD(.type = RECORD_TASK, .id = span_of("a/"), .verb = span_of("join"),
               .deps = span_of("[0,1,2,3,4,5,6,7,8,9]"));
        RECORD(.type = RECORD_TASK, .id = span_of("b/x"), .verb = span_of("create"), .operation = 1,
               .key = span_of("server.x"), .deps = span_of("[10]"), .doc = span_of(DOC("{}")));
        RECORD(.type = RECORD_PLANNED, .n_tasks = 12, .n_deps = 11);
        for (uint32_t i = 0; i < n; i++) {
                RECORD(.type = RECORD_INTENT, .task = i, .request = span_of("{}"));
                RECORD(.type = RECORD_DONE, .task = i, .outputs = span_of("{}"));
        }
        RECORD(.type = RECORD_PAUSE, .who = span_of("{}"));
        return run;
}

struct drawn {
        struct plan plan;
        struct plan_lane lane;
        struct plan_operation operations[2];
        struct plan_task tasks[16];
        uint32_t deps[16];
        char texts[16][2][16];
        struct submission submission;
};

/* The same plan, if `doc` is the same. */
static void draw(struct drawn *d, const char *doc)
{
        *d = (struct drawn){
                .lane = {.plugin = "provider/x", .batch_size = 4},
                .operations = {{.id = "a", .timeout_s = 9}, {.id = "b", .timeout_s = 9}},
                .submission = {.kind = "batch", .max_attempts = 3, .backoff = "linear"},
        };
        for (uint32_t i = 0; i < 10; i++) {
                snprintf(d->texts[i][0], sizeof(d->texts[i][0]), "a/%u", i);
                snprintf(d->texts[i][1], sizeof(d->texts[i][1]), "server.%u", i);
                d->deps[i] = i;
                d->tasks[i] = (struct plan_task){.id = d->texts[i][0], .resource = d->texts[i][1],
                                                 .doc = doc};
                d->tasks[i].spec = streq(doc, DOC("{\"cpu\":1}")) ? "{\"cpu\":1}" : "{\"cpu\":2}";
        }
        d->tasks[10] = (struct plan_task){.id = "a/", .resource = "", .doc = "", .verb = PLAN_JOIN,
                                          .n_deps = 10};
        d->deps[10] = 10;
        d->tasks[11] = (struct plan_task){.id = "b/x", .resource = "server.x", .doc = DOC("{}"),
                                          .spec = "{}", .operation = 1, .first_dep = 10, .n_deps = 1};
        d->plan = (struct plan){.name = "w", .lanes = &d->lane, .operations = d->operations,
                                .tasks = d->tasks, .deps = d->deps, .n_lanes = 1, .n_operations = 2,
                                .n_tasks = 12, .n_deps = 11};
}

Test(changes, none_where_all_is_the_same)
{
        struct run *run = story(1);
        struct changes c = CHANGES_NULL;
        struct buf json = BUF_NULL;
        struct drawn d;

        draw(&d, DOC("{\"cpu\":1}"));
        cr_assert_eq(changes_make(run, &d.plan, &d.submission, &c), 0);
        changes_json(&c, &json);
        cr_assert_eq(c.n_refused, 0);
        cr_assert(startswith(buf_str(&json), "\"added\":[],\"removed\":[],\"changed\":[],\"kept\":["
                                             "{\"task\":\"a/0\",\"status\":\"succeeded\"},"),
                  "%s", buf_str(&json));
        cr_assert(strstr(buf_str(&json), "],\"run\":[]"), "%s", buf_str(&json));
        buf_deinit(&json);
        changes_deinit(&c);
        run_free(run);
}

Test(changes, tell_what_holds_for_operations_and_the_run)
{
        struct run *run = story(1);
        struct changes c = CHANGES_NULL;
        struct drawn d;

        draw(&d, DOC("{\"cpu\":1}"));
        d.operations[1].timeout_s = 10;
        d.operations[1].on_failure = ON_FAILURE_CONTINUE;
        d.tasks[11].n_deps = 0;
        d.tasks[11].waits = "[{\"on\":\"server.0\",\"until\":\"true\"}]";
        d.lane.batch_size = 7;
        d.submission.kind = "sequential";
        cr_assert_eq(changes_make(run, &d.plan, &d.submission, &c), 0);
        cr_assert_str_eq(buf_str(&c.changed),
                         "{\"task\":\"b/x\",\"difference\":["
                         "{\"path\":\"wait_condition\",\"from\":null,"
                         "\"to\":[{\"on\":\"server.0\",\"until\":\"true\"}]},"
                         "{\"path\":\"operation.timeout\",\"from\":9,\"to\":10},"
                         "{\"path\":\"operation.on_failure\",\"from\":\"fail\",\"to\":\"continue\"},"
                         "{\"path\":\"operation.depends_on\",\"from\":[\"a\"],\"to\":[]}]}");
        cr_assert(strstr(buf_str(&c.run), "\"from\":\"batch\",\"to\":\"sequential\""), "%s",
                  buf_str(&c.run));
        cr_assert(strstr(buf_str(&c.run), "batch_size\",\"from\":4,\"to\":7"), "%s", buf_str(&c.run));
        cr_assert_eq(c.run.data[0], '{');
        cr_assert_eq(c.run.data[c.run.n - 1], '}');
        changes_deinit(&c);
        run_free(run);
}

/* All that has started is refused in one sentence; what has not is merely changed. */
Test(changes, of_what_has_started_are_refused_by_name)
{
        struct run *run = story(8);
        struct changes c = CHANGES_NULL;
        struct drawn d;

        draw(&d, DOC("{\"cpu\":2}"));
        cr_assert_eq(changes_make(run, &d.plan, &d.submission, &c), 0);
        cr_assert_eq(c.n_refused, 8);
        cr_assert_str_eq(buf_str(&c.refused),
                         "a/0 has started (it is succeeded), and the new definition changes it: cpu 1 -> 2; "
                         "so it is with a/1, a/2, a/3, a/4 and others");
        cr_assert(startswith(buf_str(&c.changed),
                             "{\"task\":\"a/8\",\"difference\":[{\"path\":\"cpu\",\"from\":1,\"to\":2}]},"),
                  "%s", buf_str(&c.changed));
        changes_deinit(&c);
        d.plan.n_tasks = 0;
        cr_assert_eq(changes_make(run, &d.plan, &d.submission, &c), 0);
        cr_assert(startswith(buf_str(&c.refused), "a/0 has started (it is succeeded), and the new definition "
                                                  "no longer has it; so it is with"),
                  "%s", buf_str(&c.refused));
        cr_assert_str_eq(buf_str(&c.removed), "\"a/8\",\"a/9\",\"b/x\"");
        changes_deinit(&c);
        run_free(run);
}
