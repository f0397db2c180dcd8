/* SPDX-License-Identifier: Apache-2.0 */
/* prvng batch graph: of a file its plan, of a run its tasks with their states. */
#include "submit.h"

#define EDGES_MAX 20000u

enum output { OUTPUT_DOT, OUTPUT_SVG, OUTPUT_MERMAID };

static const char *const names[] = {"dot", "svg", "mermaid"};

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

        for (uint32_t k = run->first_next[at]; k < run->first_next[at + 1]; k++) {
                uint32_t to = run_next(run, k);

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

/*
 * The picture is laid out by the plan's own drawer (core/plan/svg.c), so that file and run look the
 * same: the run is given to it as a plan whose resources tell their state.
 */
static int turn_dependencies(const struct run *run, struct plan *p)
{
        uint32_t *at = calloc(run->n_tasks + (size_t)1, sizeof(*at)), *deps, sum = 0;

        p->n_deps = run->n_deps;
        p->deps = deps = malloc(MAX(run->n_deps, 1u) * sizeof(*deps));
        if (!at || !deps) {
                free(at);
                return error_origin(-ENOMEM);
        }
        for (uint32_t k = 0; k < run->n_deps; k++)
                p->tasks[run_next(run, k)].n_deps++;
        for (uint32_t i = 0; i < run->n_tasks; i++) {
                at[i] = p->tasks[i].first_dep = sum;
                sum += p->tasks[i].n_deps;
        }
        for (uint32_t i = 0; i < run->n_tasks; i++)
                for (uint32_t k = run->first_next[i]; k < run->first_next[i + 1]; k++)
                        deps[at[run_next(run, k)]++] = i;
        free(at);
        return 0;
}

static void free_as_plan(struct plan *p)
{
        for (uint32_t i = 0; p->tasks && i < p->n_tasks; i++)
                free((char *)(uintptr_t)p->tasks[i].resource);
        free(p->tasks);
        free(p->operations);
        free(p->deps);
}

static int make_as_plan(const struct run *run, struct plan *p)
{
        *p = (struct plan){.name = run->name, .type = run->type,
                                .n_tasks = run->n_tasks, .n_operations = run->n_operations};
        p->tasks = calloc(run->n_tasks + (size_t)1, sizeof(*p->tasks));
        p->operations = calloc(run->n_operations + (size_t)1, sizeof(*p->operations));
        if (!p->tasks || !p->operations)
                return error_origin(-ENOMEM);
        for (uint32_t i = 0; i < run->n_operations; i++)
                p->operations[i] = (struct plan_operation){
                        .id = operation_id(run, &run->operations[i]),
                        .type = run->operations[i].verb,
                        .target = run->operations[i].target,
                        .implied = run->operations[i].implied};
        for (uint32_t i = 0; i < run->n_tasks; i++) {
                const struct task *t = &run->tasks[i];
                char *resource = NULL;

                if (asprintf(&resource, "%s %s", task_key(run, t), task_status_name(t->status)) < 0)
                        return error_origin(-ENOMEM);
                p->tasks[i] = (struct plan_task){.id = task_id(run, t), .resource = resource,
                                                      .operation = t->operation, .verb = t->verb,
                                                      .implied = t->implied};
        }
        return turn_dependencies(run, p);
}

static int draw_svg(const struct cli *cli, const struct run *run, struct buf *out)
{
        struct plan p = {0};
        int r = run->planned ? make_as_plan(run, &p) : 0;

        r = r ?: plan_graph(&p, "svg", out);
        free_as_plan(&p);
        if (r == 0)
                return 0;
        complain(cli, "no picture could be made: %s", strerror(-r));
        return EXIT_UNUSABLE;
}

static int draw_file(struct cli *cli, enum output output, struct buf *out)
{
        _cleanup_(cleanup_look) struct look look = {0};
        _cleanup_(cleanup_source) struct source source = {0};
        int r;

        r = look_open(&look, cli, "loader provider taskserv template");
        r = r ?: source_load(&source, cli, cli->args[0], &look.context);
        r = r ?: source_plan(&source, &look);
        if (r)
                return r;
        plan_graph(source.plan, names[output], out);
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
        if (output == OUTPUT_SVG)
                return draw_svg(cli, run, out);
        draw_run(run, output, out);
        return 0;
}

int batch_graph(struct cli *cli)
{
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
        fwrite(buf_str(&out), 1, out.n, stdout);
        return 0;
}
