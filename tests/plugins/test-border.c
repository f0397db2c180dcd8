/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/border.h"

#include "loaded.h"

#include <criterion/criterion.h>
#include <limits.h>

Test(noop, is_ready_and_answers)
{
        struct loaded l;
        struct op_reply reply = OP_REPLY_NULL;
        struct op_call call;
        struct plugin *p;

        loaded_new(&l, (struct site_plugin[]){{"noop"}}, 1, NULL);
        p = plugins_find(l.plugins, "provider", "noop");
        cr_assert_not_null(p);
        cr_assert_eq(p->state, PLUGIN_READY, "%s", p->reason);
        cr_assert_str_eq(p->id, "org.prvng.test.noop");
        cr_assert_eq(json_integer_value(json_object_get(p->dependencies, "batch_size")), 1000);
        op_call_init(&call, p, "0", 1, INT64_MAX, 1, "run", "task");
        op_begin(&call, "create", "{}", 2, &reply);
        cr_assert_eq(reply.answer, PRVNG_DONE);
        cr_assert_eq(reply.effect, PRVNG_EFFECT_COMPLETE);
        cr_assert_str_eq(buf_str(&reply.result), "{}");
        op_call_deinit(&call);
        op_reply_deinit(&reply);
        loaded_end(&l);
}
