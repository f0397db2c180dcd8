/* SPDX-License-Identifier: Apache-2.0 */
/* What the operations of all kinds share: tokens, ends, and what a fault means to them. */
#include "aws.h"

#include <stdarg.h>

static int32_t write_token(struct op *o)
{
        _cleanup_(cleanup_free) char *json = json_dumps(o->token, JSON_COMPACT | JSON_SORT_KEYS);
        _cleanup_(cleanup_free) char *text = json ? aws_format("%d %s", AWS_FORMAT, json) : NULL;

        if (text && strlen(text) <= PRVNG_TOKEN_MAX &&
            o->a->host->sink_write(o->token_sink, text, strlen(text)) == 0)
                return PRVNG_DONE;
        return op_fail(o, PRVNG_INTERNAL, PRVNG_EFFECT_UNKNOWN, "the token could not be handed over");
}

int32_t op_pending(struct op *o, const char *step, int64_t ask_ms)
{
        if (!o->token)
                o->token = json_object();
        if (!op_step(o, step)) {
                json_object_set_new(o->token, "step", json_string(step));
                json_object_set_new(o->token, "since", json_integer(aws_now_ms()));
        }
        if (write_token(o) < 0)
                return PRVNG_INTERNAL;
        o->a->host->ask_again(o->call, ask_ms);
        return o->observing ? PRVNG_OBSERVED_IN_PROGRESS : PRVNG_PENDING;
}

bool op_step(const struct op *o, const char *step)
{
        return streq(aws_string(o->token, "step", ""), step);
}

bool op_settled(const struct op *o)
{
        int64_t since = aws_integer(o->token, "since", 0), now = aws_now_ms();

        /* A clock that was set back must not hold an operation for ever. */
        return now >= since + o->a->settle_ms || now + 60000 < since;
}

int32_t op_done(struct op *o, int32_t answer, json_t *result)
{
        int32_t r = aws_reply(o->a, o->call, o->result_sink, result);

        json_decref(result);
        once_forget(o);
        return r < 0 ? r : answer;
}

int32_t op_fault(struct op *o, const struct fault *f, uint32_t effect, const char *what)
{
        if (f->error_class == PRVNG_TRANSIENT || f->error_class == PRVNG_RATE_LIMITED)
                effect = PRVNG_EFFECT_UNKNOWN;
        return aws_report(o->a, o->call, f, effect, "%s %s: %s", o->kind, o->name, what);
}

int32_t op_fail(struct op *o, int32_t error_class, uint32_t effect, const char *format, ...)
{
        char message[1500];
        va_list ap;

        va_start(ap, format);
        vsnprintf(message, sizeof(message), format, ap);
        va_end(ap);
        return aws_fail(o->a, o->call, error_class, effect, NULL, "aws: %s %s: %s", o->kind, o->name, message);
}

const char *op_identity(const struct op *o, const char *key)
{
        return aws_string(json_object_get(o->request, "identity"), key, "");
}
