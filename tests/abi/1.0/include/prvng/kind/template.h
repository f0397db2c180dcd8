/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng.template/1: templates and expressions in a language of its own, e.g. Jinja2.
 *
 * Expressions are the `wait_condition`s of dependencies. They come from whoever writes a definition:
 * a plugin evaluates them where they can reach nothing (no file, no network, no other process) and
 * within limits of its own for time and memory, so that no expression can hold or harm the engine.
 *
 * No function has an effect: the effect of every error is PRVNG_EFFECT_NONE.
 */
#ifndef PRVNG_KIND_TEMPLATE_H
#define PRVNG_KIND_TEMPLATE_H

#include <prvng/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PRVNG_TEMPLATE "prvng.template/1"

/* What is wrong with a template or expression: `code` of the error record, with PERMANENT. */
#define PRVNG_TEMPLATE_SYNTAX    1 /* it is none */
#define PRVNG_TEMPLATE_UNDEFINED 2 /* it uses a name or member that is not there (now) */
#define PRVNG_TEMPLATE_FAILED    3 /* it cannot be computed: a number added to a text, a result that is
                                    * no JSON, something that the sandbox forbids */

struct prvng_template {
        uint32_t struct_size;
        uint32_t reserved;

        /*
         * [worker] Computes an expression ("outputs.state == 'running'", UTF-8, no NUL) over the
         * variables, a JSON object. Writes one JSON object:
         *
         *      {"value": VALUE, "seen": {"outputs.state": "starting"}}
         *
         * VALUE is any JSON; `seen` holds the present values of the variables that the expression
         * names, by the text that names them, as far as they are short: for operators who ask why it
         * is not true yet.
         *
         * PERMANENT with a code above and a message that ends in the place, "line 1, column 9", if
         * the expression is at fault; TRANSIENT if a limit was reached or what evaluates died;
         * UNSUPPORTED with the cure in the message if what evaluates is not installed; CANCELLED.
         * Honours the call's deadline and cancel_fd.
         */
        int32_t (*evaluate)(void *instance, struct prvng_call *call, const void *expression,
                            uint64_t n_expression, const void *variables, uint64_t n_variables,
                            struct prvng_sink *result);

        /*
         * [any] Optional. Looks at an expression without computing it: DONE, or what evaluate()
         * would answer for every value of the variables. `names` is a JSON array of the names of
         * all variables there will be, NULL if they are not known: another name is PERMANENT with
         * PRVNG_TEMPLATE_UNDEFINED.
         */
        int32_t (*check)(void *instance, struct prvng_call *call, const void *expression,
                         uint64_t n_expression, const void *names, uint64_t n_names);

        /*
         * [worker] Optional. Renders a template over the variables, writes the text. The core of this
         * version renders nothing yet, and the plugins that come with it answer UNSUPPORTED.
         */
        int32_t (*render)(void *instance, struct prvng_call *call, const void *source,
                          uint64_t n_source, const void *variables, uint64_t n_variables,
                          struct prvng_sink *text);
        /* members above: 1.0 */
};
#define PRVNG_TEMPLATE_BASELINE PRVNG_SIZE_UP_TO(struct prvng_template, render)

#ifdef __cplusplus
}
#endif

#endif
