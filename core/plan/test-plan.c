/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "plan/test-plan-site.h"

#include <criterion/criterion.h>

#define HAS(text, part) cr_assert_not_null(strstr((text), (part)), "no \"%s\" in: %s", part, text)
#define LACKS(text, part) cr_assert_null(strstr((text), (part)), "\"%s\" is in: %s", part, text)

#define SERVERS(id, items) "{'id':'" id "','type':'create','target':'server','items':[" items "]}"
#define TASKSERVS(id, items, more)                                                                 \
        "{'id':'" id "','type':'create','target':'taskserv','items':[" items "]" more "}"
#define WORKFLOW(operations, more) "{'name':'shop','operations':[" operations "]" more "}"

static struct site *base_site(void)
{
        struct site *s = site_new();

        site_plugin(s, "provider", "cloud",
                    "{'requires_network':true,'network_before_servers':true,"
                    "'shared_resources':['private_network','security_group'],"
                    "'api_rate_limit':10,'batch_size':2}");
        site_plugin(s, "taskserv", "os", "{}");
        site_plugin(s, "taskserv", "resolv", "{'requires':['os']}");
        site_plugin(s, "taskserv", "containerd", "{'requires':['os']}");
        site_plugin(s, "taskserv", "docker", "{'conflicts_with':['containerd']}");
        site_plugin(s, "taskserv", "kubernetes",
                    "{'requires':['containerd','resolv'],'conflicts_with':['docker'],"
                    "'minimum_resources':{'cpu':2,'memory':4096,'disk':20}}");
        return s;
}

Test(plan, the_example_of_the_project)
{
        _cleanup_(cleanup_site) struct site *s = base_site();
        struct plan *p = site_plan(s, WORKFLOW(
                SERVERS("create-servers", "'a','b'") ","
                TASKSERVS("install-base", "'containerd','os','resolv'",
                          ",'depends_on':['create-servers']"), ""));

        cr_assert_str_eq(site_order(s),
                         "create-servers/a create-servers/b install-base/os@a "
                         "install-base/containerd@a install-base/os@b install-base/containerd@b "
                         "install-base/resolv@a install-base/resolv@b");
        cr_assert(task_after(p, "install-base/containerd@b", "install-base/os@b"));
        cr_assert_not(task_after(p, "install-base/containerd@b", "install-base/os@a"));
        cr_assert(task_after(p, "install-base/os@a", "create-servers/b"));
        cr_assert_str_eq(task_by_id(p, "install-base/os@a")->doc,
                         "{\"kind\":\"taskserv\",\"name\":\"os\",\"workflow\":\"shop\","
                         "\"site\":\"SITE\",\"server\":\"a\",\"spec\":{}}");
        cr_assert_str_eq(task_by_id(p, "create-servers/a")->doc,
                         "{\"kind\":\"server\",\"name\":\"a\",\"workflow\":\"shop\","
                         "\"site\":\"SITE\",\"spec\":{\"name\":\"a\",\"cpu\":1,\"memory\":1024,"
                         "\"disk\":10}}");
        cr_assert_str_eq(p->uses[task_by_id(p, "install-base/os@b")->first_use], "server.b");
        cr_assert_eq(p->n_lanes, 4);
}
