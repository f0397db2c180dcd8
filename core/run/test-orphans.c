/* SPDX-License-Identifier: Apache-2.0 */
/* Whose is it? What providers list, against what the journal knows. */
#include "base/json.h"
#include "run/orphans.h"

#include <criterion/criterion.h>

static struct site site;

static void apply(struct record r)
{
        r.seq = site.seq + 1;
        cr_assert_eq(site_apply(&site, &r), 0);
}

static void made(const char *key, const char *op_id)
{
        struct record r = {.type = RECORD_RESOURCE, .key = span_of(key), .workflow = span_of("shop"),
                           .plugin = span_of("provider/p"), .spec = span_of("{}"), .outputs = span_of("{}")};

        cr_assert(uid_parse(op_id, 26, &r.op_id));
        apply(r);
}

#define A "0000000000000000000000000A"
#define B "0000000000000000000000000B"
#define C "0000000000000000000000000C"

/* "orphans" and "unclear", each as the op ids that are in it, separated by spaces. */
static void expect(const char *listed, const char *orphans, const char *unclear)
{
        _cleanup_(cleanup_json_decref) json_t *json = NULL, *found = NULL;
        const char *const want[] = {orphans, unclear}, *const names[] = {"orphans", "unclear"};

        cr_assert_eq(json_parse(listed, strlen(listed), &json, NULL), 0, "%s", listed);
        cr_assert_eq(orphans_find(&site, json, &found), 0);
        for (unsigned i = 0; i < 2; i++) {
                _cleanup_(cleanup_buf) struct buf is = BUF_NULL;
                json_t *one;
                size_t k;

                json_array_foreach (json_object_get(found, names[i]), k, one)
                        buf_printf(&is, "%s%s", k ? " " : "", json_get_string(one, "op_id", "?"));
                cr_assert_str_eq(buf_str(&is), want[i], "%s of %s", names[i], listed);
        }
        site_deinit(&site);
}

#define LISTED(...) "{\"listed\":[" __VA_ARGS__ "]}"
#define THING(name, op_id, workflow)                                                               \
        "{\"plugin\":\"provider/p\",\"kind\":\"server\",\"name\":\"" name "\",\"op_id\":\"" op_id    \
        "\",\"workflow\":\"" workflow "\",\"identity\":{}}"

Test(orphans, what_the_inventory_made_is_none)
{
        made("server.web", A);
        expect(LISTED(THING("web", A, "shop")), "", "");
}

Test(orphans, what_nothing_knows_is_one)
{
        made("server.web", A);
        expect(LISTED(THING("web", A, "shop") "," THING("other", B, "shop")), B, "");
}

/* The provider keeps the id of the create, the inventory that of the update. */
Test(orphans, what_was_updated_is_none)
{
        made("server.web", B);
        expect(LISTED(THING("web", A, "shop")), "", "");
}

Test(orphans, what_is_there_twice_is_one_where_the_other_is_known)
{
        made("server.web", B);
        expect(LISTED(THING("web", A, "shop") "," THING("web", B, "shop")), A, "");
}

Test(orphans, what_is_there_twice_is_unclear_where_neither_is_known)
{
        made("server.web", C);
        expect(LISTED(THING("web", A, "shop") "," THING("web", B, "shop")), "", A " " B);
}

Test(orphans, the_name_of_another_workflow_is_no_proof)
{
        made("server.web", B);
        expect(LISTED(THING("web", A, "elsewhere")), A, "");
}

/* What carries no name of a workflow was adopted under one of ours. */
Test(orphans, what_was_adopted_is_none)
{
        apply((struct record){.type = RECORD_RESOURCE, .key = span_of("server.web"),
                              .workflow = span_of(ORPHANS_NOBODY), .plugin = span_of("provider/p"),
                              .spec = span_of("{}"), .outputs = span_of("{}"), .who = span_of("{}")});
        expect(LISTED(THING("web", A, "")), "", "");
}

Test(orphans, what_a_run_claims_is_none)
{
        struct record r = {.type = RECORD_ACCEPTED, .name = span_of("shop"), .kind = span_of("batch"),
                           .store = span_of("file"), .stream = span_of("run-x"), .who = span_of("{}"),
                           .claims = span_of("[\"server.web\"]")};

        apply(r);
        expect(LISTED(THING("web", A, "shop") "," THING("gone", B, "shop")), B, "");
}

/* Also where nothing claims it any more: what an attempt in flight may have made has an owner. */
Test(orphans, what_an_attempt_in_flight_made_is_none)
{
        static const struct record plan[] = {
                {.type = RECORD_RUN, .name = {"shop", 4}, .max_attempts = 1},
                {.type = RECORD_LANE, .plugin = {"provider/p", 10}},
                {.type = RECORD_OPERATION, .id = {"op", 2}, .verb = {"create", 6},
                 .target = {"server", 6}, .on_failure = {"fail", 4}},
                {.type = RECORD_TASK, .id = {"op/x", 4}, .verb = {"create", 6},
                 .key = {"server.x", 8}, .doc = {"{\"kind\":\"server\",\"spec\":{}}", 27}},
                {.type = RECORD_PLANNED, .n_tasks = 1},
        };
        struct record accepted = {.type = RECORD_ACCEPTED, .name = span_of("shop"),
                                  .kind = span_of("batch"), .store = span_of("file"),
                                  .stream = span_of("run-x"), .who = span_of("{}"),
                                  .claims = span_of("[]")};
        struct record intent = {.type = RECORD_INTENT, .request = span_of("{}")};
        uint64_t seq = 0;

        apply(accepted);
        for (size_t i = 0; i < N_ELEMENTS(plan); i++) {
                struct record r = plan[i];

                r.seq = ++seq;
                cr_assert_eq(run_apply(site.runs[0], &site, &r), 0, "%zu", i);
        }
        cr_assert(uid_parse(A, 26, &intent.op_id));
        intent.seq = ++seq;
        cr_assert_eq(run_apply(site.runs[0], &site, &intent), 0);
        expect(LISTED(THING("named-by-the-cloud", A, "shop") "," THING("x", B, "shop")), B, "");
}
