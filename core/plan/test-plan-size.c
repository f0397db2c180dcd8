/* SPDX-License-Identifier: Apache-2.0 */
/* What a plan costs grows with its tasks and edges, and with nothing else. */
#include "base/buf.h"
#include "plan/test-plan-stage.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define MIB_AT_MOST 256 /* of 20,000 operations, half a table of whose pairs would be 800 */

static struct stage *cloud_stage(void)
{
        struct stage *s = stage_new();

        stage_plugin(s, "provider", "cloud", "{}");
        stage_plugin(s, "taskserv", "os", "{}");
        return s;
}

/* Address space, since memory that was only asked for counts too. A sanitizer takes all of its own at the start. */
static long most_memory_ever(void)
{
        FILE *f = fopen("/proc/self/status", "re");
        char line[128];
        long kib = -1;

        cr_assert_not_null(f);
        while (kib < 0 && fgets(line, sizeof(line), f))
                (void)sscanf(line, "VmPeak: %ld kB", &kib);
        fclose(f);
        cr_assert_gt(kib, 0);
        return kib / 1024;
}

Test(plan_size, edges_and_joins_stay_linear)
{
        enum { N = 300 };
        _cleanup_(cleanup_stage) struct stage *s = cloud_stage();
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;
        uint32_t n_joins = 0;
        struct plan *p;

        BUF_LIT(&b, "{'name':'big','type':'parallel','operations':[");
        for (int o = 0; o < 3; o++) {
                buf_printf(&b, "%s{'id':'o%d','type':'create','target':'server','items':[",
                           o ? "," : "", o);
                for (int i = 0; i < N; i++)
                        buf_printf(&b, "%s's%d-%d'", i ? "," : "", o, i);
                buf_printf(&b, "]%s}", o == 2 ? ",'depends_on':['o0','o1']" : "");
        }
        BUF_LIT(&b, "]}");
        p = stage_plan(s, b.data);
        /* Two ends, one start: N x 2 in, 2 + 2 between (ends to start), N out. */
        for (uint32_t i = 0; i < p->n_tasks; i++)
                n_joins += p->tasks[i].verb == PLAN_JOIN;
        cr_assert_eq(n_joins, 3);
        cr_assert_eq(p->n_deps, 2 * N + 2 + N);
}

Test(plan_size, single_tasks_need_no_joins)
{
        enum { N = 2000 };
        _cleanup_(cleanup_stage) struct stage *s = cloud_stage();
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;
        uint32_t seed = 7, expected = 0;
        struct plan *p;

        BUF_LIT(&b, "{'name':'dag','operations':[");
        for (uint32_t i = 0; i < N; i++) {
                buf_printf(&b, "%s{'id':'o%u','type':'create','target':'server','items':['n%u']",
                           i ? "," : "", i, i);
                for (uint32_t j = 0, last = UINT32_MAX; i > 10 && j < 3; j++) {
                        uint32_t dep = (seed = seed * 1664525 + 1013904223) % (i / 3) + j * (i / 3);

                        buf_printf(&b, "%s'o%u'", j ? "," : ",'depends_on':[", dep);
                        expected += dep != last;
                        last = dep;
                }
                buf_puts(&b, i > 10 ? "]}" : "}");
        }
        BUF_LIT(&b, "]}");
        p = stage_plan(s, b.data);
        cr_assert_eq(p->n_tasks, N);
        cr_assert_eq(p->n_deps, expected);
        for (uint32_t i = 0; i < p->n_tasks; i++)
                for (uint32_t j = 0; j < p->tasks[i].n_deps; j++)
                        cr_assert_lt(p->deps[p->tasks[i].first_dep + j], i);
}

Test(plan_size, a_ladder_of_taskserv_operations_shares_its_servers)
{
        enum { N = 1500 };
        _cleanup_(cleanup_stage) struct stage *s = cloud_stage();
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;
        struct plan *p;

        BUF_LIT(&b, "{'name':'ladder','operations':[{'id':'c',"
                     "'type':'create','target':'server','items':['a']}");
        for (int i = 0; i < N; i++) {
                char name[20];

                snprintf(name, sizeof(name), i ? "t%d" : "c", i - 1);
                buf_printf(&b, ",{'id':'t%d','type':'update','target':'taskserv','items':['os'],"
                           "'depends_on':['%s']}", i, name);
        }
        BUF_LIT(&b, "]}");
        stage_resource(s, "server.a", "ladder", "provider/local", "{}");
        stage_resource(s, "taskserv.os@a", "ladder", "taskserv/os", "{}");
        p = stage_plan(s, b.data);
        cr_assert_eq(p->n_tasks, N + 1);
        cr_assert_leq(p->n_deps, 2 * N);
}

Test(plan_size, memory_grows_with_the_operations_not_with_their_pairs)
{
        enum { N = 20000 };
        _cleanup_(cleanup_stage) struct stage *s = cloud_stage();
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;
        long before;

        BUF_LIT(&b, "{'name':'big','operations':[{'id':'o0','type':'create','target':'server','items':['s0']}");
        for (int i = 1; i < N; i++)
                buf_printf(&b, ",{'id':'o%d','type':'create','target':'server','items':['s%d'],"
                               "'depends_on':['o%d']}", i, i, i / 2);
        BUF_LIT(&b, "]}");
        before = most_memory_ever();
        cr_assert_eq(stage_plan(s, b.data)->n_tasks, N);
        cr_assert_lt(most_memory_ever() - before, MIB_AT_MOST);
}
