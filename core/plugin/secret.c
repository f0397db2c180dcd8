/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/secret.h"

#include "base/clock.h"
#include "plugin/border.h"

enum { RESOLVE_MS = 30000 };

/* What is wrong with the part of the backend; NULL: nothing. */
static const char *wrong_rest(const char *rest)
{
        size_t n = strlen(rest);

        if (n == 0 || *rest == '#')
                return "it names nothing behind the backend";
        if (n > PRVNG_SECRET_REFERENCE_MAX)
                return "it is longer than 1024 bytes";
        for (const char *p = rest; *p; p++)
                if ((uint8_t)*p < 0x20 || *p == 0x7f)
                        return "it holds a control character";
        return NULL;
}

bool secret_reference_split(const char *reference, char ret_backend[SECRET_BACKEND_MAX],
                            const char **ret_rest, struct buf *why)
{
        const char *name = startswith(reference, "secret://");
        size_t n = name ? strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") : 0;
        const char *wrong;

        if (n == 0 || n >= SECRET_BACKEND_MAX || name[n] != '/') {
                /* Not repeated: somebody may have written the secret itself here. */
                buf_printf(why, "a reference to a secret reads secret://BACKEND/PATH#KEY");
                return false;
        }
        wrong = wrong_rest(name + n + 1);
        if (wrong) {
                buf_printf(why, "a reference to a secret of %.*s reads secret://%.*s/PATH#KEY: %s", (int)n,
                           name, (int)n, name, wrong);
                return false;
        }
        memcpy(ret_backend, name, n);
        ret_backend[n] = 0;
        *ret_rest = name + n + 1;
        return true;
}

struct plugin *plugins_find_secret(const struct plugins *all, const char *reference,
                                   const char **ret_rest, struct buf *why)
{
        char backend[SECRET_BACKEND_MAX];
        struct plugin *p;

        if (!secret_reference_split(reference, backend, ret_rest, why))
                return NULL;
        p = plugins_find(all, "secret", backend);
        if (p && p->secret.struct_size > 0)
                return p;
        if (!p)
                buf_printf(why, "%s: there is no secret backend \"%s\" here; prvng plugin list shows those "
                                "that there are", reference, backend);
        else
                buf_printf(why, "%s: the secret backend \"%s\" cannot be used: %s", reference, backend,
                           p->state == PLUGIN_DISABLED ? "it is disabled by the site's configuration"
                           : p->reason                 ? p->reason
                                                       : "it was not loaded");
        return NULL;
}

static int32_t ask(struct plugin *p, struct op_call *outer, const char *reference, const char *rest,
                   struct locked *ret_value, struct buf *why)
{
        int64_t until = MIN(outer->pub.deadline_ms, clock_boot_ms() + RESOLVE_MS);
        struct op_reply reply = OP_REPLY_NULL;
        struct op_call call;
        int32_t answer;

        op_call_init(&call, p, "", 1, until, outer->pub.epoch, outer->run, outer->task);
        call.pub.trace_parent = outer->pub.trace_parent ? outer->pub.trace_parent : "";
        call.within = outer;
        secret_resolve(&call, rest, ret_value, &reply);
        answer = reply.answer;
        if (answer != PRVNG_DONE)
                buf_printf(why, "%s: %s", reference,
                           reply.message ? reply.message : op_class_name(answer));
        op_reply_deinit(&reply);
        op_call_deinit(&call);
        return answer;
}

int32_t plugins_resolve(void *userdata, struct op_call *outer, const char *reference,
                        struct locked *ret_value, struct buf *why)
{
        const struct plugins *all = userdata;
        const char *rest;
        struct plugin *p = plugins_find_secret(all, reference, &rest, why);

        if (!p)
                return PRVNG_PERMANENT;
        for (const struct op_call *c = outer; c; c = c->within) {
                if (c->plugin != p)
                        continue;
                buf_printf(why, "%s: the secret backend \"%s\" would need a secret of its own to answer "
                                "that; its credentials must stand elsewhere", reference, p->name);
                return PRVNG_PERMANENT;
        }
        return ask(p, outer, reference, rest, ret_value, why);
}
