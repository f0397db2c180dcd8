/* SPDX-License-Identifier: Apache-2.0 */
/* prvng batch graph: of a file its plan, of a run its tasks with their states. */
#include "submit.h"

#include <sys/wait.h>

#define EDGES_MAX 20000u

enum output { OUTPUT_DOT, OUTPUT_SVG, OUTPUT_MERMAID };

struct drawing {
        const struct run *run;
        enum output output;
        struct buf *out;
        uint32_t n_edges;
};

static const char *fill(enum task_status s)
{
        switch (s) {
        case TASK_SUCCEEDED:
        case TASK_UNCHANGED:
                return "#c8e6c9";
        case TASK_FAILED:
        case TASK_UNDO_FAILED:
                return "#ffcdd2";
        case TASK_RUNNING:
        case TASK_PENDING:
        case TASK_UNDOING:
                return "#b3e5fc";
        case TASK_RETRYING:
        case TASK_IN_DOUBT:
        case TASK_PARKED:
        case TASK_UNDONE:
                return "#fff9c4";
        case TASK_SKIPPED:
                return "#eeeeee";
        case TASK_WAITING:
        case TASK_READY:
        case N_TASK_STATUSES:
                break;
        }
        return "#ffffff";
}

/* Quotes and backslashes would end the label; ids cannot hold control characters. */
static void put_label(struct buf *b, const char *text)
{
        for (; *text; text++)
                if (*text == '"')
                        buf_putc(b, '\'');
                else if (*text == '\\')
                        BUF_LIT(b, "\\\\");
                else
                        buf_putc(b, *text);
}

static const char *short_id(const struct run *run, const struct task *t)
{
        const char *rest = startswith(task_id(run, t),
                                      operation_id(run, &run->operations[t->operation]));

        return rest && *rest == '/' ? rest + 1 : task_id(run, t);
}

static void draw_task(struct drawing *d, uint32_t number)
{
        const struct task *t = &d->run->tasks[number];

        buf_printf(d->out, d->output == OUTPUT_MERMAID ? "    t%u[\"" : "    t%u [label=\"", number);
        put_label(d->out, short_id(d->run, t));
        buf_puts(d->out, d->output == OUTPUT_MERMAID ? "<br/>" : "\\n");
        buf_puts(d->out, task_status_name(t->status));
        if (d->output == OUTPUT_MERMAID)
                buf_printf(d->out, "\"]\n    style t%u fill:%s\n", number, fill(t->status));
        else
                buf_printf(d->out, "\" fillcolor=\"%s\"];\n", fill(t->status));
}

/* Joins are not shown: what waits for them waits for what they wait for. */
static void draw_edges(struct drawing *d, uint32_t from, uint32_t at)
{
        const struct run *run = d->run;

        for (uint32_t k = run->tasks[at].first_next; k < run->tasks[at + 1].first_next; k++) {
                uint32_t to = run->next[k];

                if (task_is_join(&run->tasks[to]))
                        draw_edges(d, from, to);
                else if (d->n_edges++ < EDGES_MAX)
                        buf_printf(d->out, d->output == OUTPUT_MERMAID ? "  t%u --> t%u\n"
                                                                       : "  t%u -> t%u;\n",
                                   from, to);
        }
}

static void draw_operation(struct drawing *d, uint32_t number)
{
        const struct run *run = d->run;
        const struct operation *o = &run->operations[number];

        buf_printf(d->out, d->output == OUTPUT_MERMAID ? "  subgraph o%u [\""
                                                       : "  subgraph cluster_%u {\n    label=\"",
                   number);
        put_label(d->out, operation_id(run, o));
        buf_puts(d->out, d->output == OUTPUT_MERMAID ? "\"]\n" : "\";\n");
        for (uint32_t i = 0; i < run->n_tasks; i++)
                if (run->tasks[i].operation == number && !task_is_join(&run->tasks[i]))
                        draw_task(d, i);
        buf_puts(d->out, d->output == OUTPUT_MERMAID ? "  end\n" : "  }\n");
}

static void draw_run(const struct run *run, enum output output, struct buf *out)
{
        struct drawing d = {.run = run, .output = output, .out = out};

        if (output == OUTPUT_MERMAID)
                BUF_LIT(out, "flowchart LR\n");
        else
                BUF_LIT(out, "digraph run {\n  rankdir=LR;\n  node [shape=box style=\"rounded,"
                             "filled\" fontname=\"sans-serif\"];\n  graph [style=rounded "
                             "color=gray fontname=\"sans-serif\"];\n");
        for (uint32_t i = 0; run->planned && i < run->n_operations; i++)
                if (run->operations[i].n_tasks)
                        draw_operation(&d, i);
        for (uint32_t i = 0; run->planned && i < run->n_tasks; i++)
                if (!task_is_join(&run->tasks[i]))
                        draw_edges(&d, i, i);
        if (output != OUTPUT_MERMAID)
                BUF_LIT(out, "}\n");
}

static int print_svg(const struct cli *cli, const struct buf *dot)
{
        FILE *f;
        int status;

        fflush(stdout);
        f = popen("dot -Tsvg", "we");
        if (!f) {
                complain(cli, "cannot start dot: %s", strerror(errno));
                return EXIT_UNUSABLE;
        }
        fwrite(buf_str(dot), 1, dot->n, f);
        status = pclose(f);
        if (status == 0)
                return 0;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
                complain(cli, "svg needs the program dot: apt install graphviz");
        else
                complain(cli, "dot failed");
        return EXIT_UNUSABLE;
}

static int draw_file(struct cli *cli, enum output output, struct buf *out)
{
        _cleanup_(cleanup_look) struct look look = {0};
        _cleanup_(cleanup_source) struct source source = {0};
        int r;

        r = look_open(&look, cli, "loader provider taskserv");
        r = r ?: source_load(&source, cli, &look.context);
        r = r ?: source_plan(&source, &look);
        if (r)
                return r;
        plan_graph(source.plan, output == OUTPUT_MERMAID ? "mermaid" : "dot", out);
        return 0;
}

static int draw_id(struct cli *cli, enum output output, struct buf *out)
{
        _cleanup_(cleanup_look) struct look look = {0};
        struct run *run;
        int r = look_open(&look, cli, "");

        if (r)
                return r;
        run = look_run(&look, cli->args[0], true);
        if (!run)
                return EXIT_RUN_FAILED;
        draw_run(run, output, out);
        return 0;
}

int batch_graph(struct cli *cli)
{
        static const char *const names[] = {"dot", "svg", "mermaid"};
        _cleanup_(cleanup_buf) struct buf out = BUF_NULL;
        const char *name = option_value(cli, "output") ?: "dot";
        int output = -1, r;

        for (int i = 0; i < (int)N_ELEMENTS(names); i++)
                if (streq(names[i], name))
                        output = i;
        if (output < 0) {
                complain(cli, "--output %s: accepted are dot, svg and mermaid", name);
                return EXIT_USAGE;
        }
        r = access(cli->args[0], F_OK) == 0 ? draw_file(cli, (enum output)output, &out)
                                            : draw_id(cli, (enum output)output, &out);
        if (r)
                return r;
        if (output == OUTPUT_SVG)
                return print_svg(cli, &out);
        fwrite(buf_str(&out), 1, out.n, stdout);
        return 0;
}
