/* SPDX-License-Identifier: Apache-2.0 */
#include "replan-text.h"

#include "output.h"

#define LINES_MAX 200u /* tasks of a kind */
#define KINDS_MAX 16u  /* of states */

static size_t count(const json_t *answer, const char *member)
{
        return json_array_size(json_object_get(answer, member));
}

bool replan_is_empty(const json_t *answer)
{
        return !count(answer, "added") && !count(answer, "removed") && !count(answer, "changed") &&
               !count(answer, "run");
}

static void put_more(size_t n, struct buf *out)
{
        if (n > LINES_MAX)
                buf_printf(out, "    ... and %zu more (--format json shows all)\n", n - LINES_MAX);
}

static void put_ids(const json_t *list, const char *sign, enum paint p, bool color, struct buf *out)
{
        const json_t *id;
        size_t i;

        json_array_foreach (list, i, id) {
                if (i == LINES_MAX)
                        break;
                BUF_LIT(out, "  ");
                paint(out, color, p, sign);
                buf_printf(out, " %s\n", json_string_value(id));
        }
        put_more(json_array_size(list), out);
}

static void put_value(const json_t *value, struct buf *out)
{
        _cleanup_(cleanup_buf) struct buf text = BUF_NULL;

        if (json_append(&text, value))
                buf_clear(&text);
        put_cut(out, text.n ? buf_str(&text) : "-", 60, 0, true);
}

static void put_leaves(const json_t *list, struct buf *out)
{
        const json_t *leaf;
        size_t i;

        json_array_foreach (list, i, leaf) {
                buf_printf(out, "      %s: ", json_get_string(leaf, "path", "?"));
                put_value(json_object_get(leaf, "from"), out);
                BUF_LIT(out, " -> ");
                put_value(json_object_get(leaf, "to"), out);
                buf_putc(out, '\n');
        }
}

static void put_changed(const json_t *list, bool color, struct buf *out)
{
        const json_t *task;
        size_t i;

        json_array_foreach (list, i, task) {
                if (i == LINES_MAX)
                        break;
                BUF_LIT(out, "  ");
                paint(out, color, YELLOW, "~");
                buf_printf(out, " %s\n", json_get_string(task, "task", "?"));
                put_leaves(json_object_get(task, "difference"), out);
        }
        put_more(json_array_size(list), out);
}

/* "  = 5 as they were: 3 succeeded, 2 waiting" */
static void put_kept(const json_t *list, bool color, struct buf *out)
{
        struct {
                const char *status;
                size_t n;
        } kinds[KINDS_MAX] = {{0}};
        const json_t *task;
        size_t i, k, n_kinds = 0;

        if (!json_array_size(list))
                return;
        json_array_foreach (list, i, task) {
                const char *status = json_get_string(task, "status", "?");

                for (k = 0; k < n_kinds && strcmp(kinds[k].status, status) != 0; k++)
                        ;
                if (k == KINDS_MAX)
                        continue;
                n_kinds = MAX(n_kinds, k + 1);
                kinds[k].status = status;
                kinds[k].n++;
        }
        BUF_LIT(out, "  ");
        paint(out, color, DIM, "=");
        buf_printf(out, " %zu as they were:", json_array_size(list));
        for (k = 0; k < n_kinds; k++)
                buf_printf(out, "%s %zu %s", k ? "," : "", kinds[k].n, kinds[k].status);
        buf_putc(out, '\n');
}

void replan_text(const json_t *answer, bool color, struct buf *out)
{
        buf_printf(out, "%s %s: ", json_get_string(answer, "name", ""), json_get_string(answer, "id", ""));
        if (replan_is_empty(answer))
                BUF_LIT(out, "the definition changes nothing in its plan\n");
        else
                buf_printf(out, "%zu added, %zu removed, %zu changed\n", count(answer, "added"),
                           count(answer, "removed"), count(answer, "changed"));
        put_ids(json_object_get(answer, "added"), "+", GREEN, color, out);
        put_ids(json_object_get(answer, "removed"), "-", RED, color, out);
        put_changed(json_object_get(answer, "changed"), color, out);
        if (count(answer, "run")) {
                BUF_LIT(out, "  ");
                paint(out, color, YELLOW, "~");
                BUF_LIT(out, " the run\n");
                put_leaves(json_object_get(answer, "run"), out);
        }
        put_kept(json_object_get(answer, "kept"), color, out);
}
