/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan as a picture: operations are boxes with their tasks, in columns by how many operations
 * must come before; a curve from each operation to those that wait for it.
 */
#include "plan/make.h"

#define MARGIN 24
#define LINE 22         /* height of a task */
#define HEAD 46         /* height of a box without tasks */
#define GAP_X 90
#define GAP_Y 24
#define CHARACTER 7.3   /* width of one, about */
#define MAX_ROWS 14u    /* tasks shown of one operation */
#define MAX_BOXES 400u

struct box {
        uint32_t column;
        uint32_t n_tasks, first;
        int x, y, w, h;
};

struct picture {
        const struct plan *plan;
        struct box *boxes;
        uint32_t *next; /* tasks of an operation */
        uint32_t n_boxes, n_columns;
        uint32_t (*pairs)[2];
        uint32_t n_pairs;
        int w, h;
};

static void escaped(struct buf *b, const char *text, size_t limit)
{
        size_t n = strlen(text), cut = n;

        if (n > limit) {
                cut = limit - 1;
                while (cut && ((uint8_t)text[cut] & 0xc0) == 0x80)
                        cut--;
        }
        for (size_t i = 0; i < cut; i++) {
                if (text[i] == '<')
                        BUF_LIT(b, "&lt;");
                else if (text[i] == '>')
                        BUF_LIT(b, "&gt;");
                else if (text[i] == '&')
                        BUF_LIT(b, "&amp;");
                else if (text[i] == '"')
                        BUF_LIT(b, "&quot;");
                else if ((uint8_t)text[i] >= 0x20)
                        buf_putc(b, text[i]);
        }
        if (cut < n)
                BUF_LIT(b, "\xe2\x80\xa6");
}

static size_t characters(const char *text)
{
        return MIN(strlen(text), (size_t)44);
}

/* Operations stand in topological order except where single tasks cross: as many rounds as columns. */
static int columns(struct picture *s)
{
        const struct plan *p = s->plan;
        int r = plan_operation_edges(p, &s->pairs, &s->n_pairs);
        bool moved = !r;
        uint32_t n = 0;

        for (uint32_t i = 0; i < s->n_pairs; i++)
                if (s->pairs[i][0] < s->n_boxes && s->pairs[i][1] < s->n_boxes)
                        memmove(s->pairs[n++], s->pairs[i], sizeof(s->pairs[i]));
        s->n_pairs = n;
        for (uint32_t round = 0; moved && round < s->n_boxes; round++) {
                moved = false;
                for (uint32_t i = 0; i < s->n_pairs; i++) {
                        uint32_t from = s->pairs[i][0], to = s->pairs[i][1];

                        if (s->boxes[to].column > s->boxes[from].column ||
                            s->boxes[from].column + 1 >= s->n_boxes)
                                continue;
                        s->boxes[to].column = s->boxes[from].column + 1;
                        moved = true;
                }
        }
        for (uint32_t i = 0; i < s->n_boxes; i++)
                s->n_columns = MAX(s->n_columns, s->boxes[i].column + 1);
        return error_fold(r);
}

static int picture_init(struct picture *s, const struct plan *p)
{
        uint32_t i = p->n_tasks;

        s->plan = p;
        s->n_boxes = MIN(p->n_operations, MAX_BOXES);
        s->boxes = calloc((size_t)s->n_boxes + 1, sizeof(*s->boxes));
        s->next = malloc(((size_t)p->n_tasks + 1) * sizeof(*s->next));
        if (!s->boxes || !s->next)
                return error_origin(-ENOMEM);
        for (uint32_t o = 0; o < s->n_boxes; o++)
                s->boxes[o].first = NONE;
        while (i-- > 0) {
                struct box *box;

                if (p->tasks[i].verb == PLAN_JOIN || p->tasks[i].operation >= s->n_boxes)
                        continue;
                box = &s->boxes[p->tasks[i].operation];
                s->next[i] = box->first;
                box->first = i;
                box->n_tasks++;
        }
        return error_fold(columns(s));
}

static void box_size(const struct picture *s, struct box *box, uint32_t o)
{
        uint32_t n = 0, rows = MIN(box->n_tasks, MAX_ROWS);
        size_t width = characters(s->plan->operations[o].id) + 4;

        for (uint32_t t = box->first; t != NONE && n < MAX_ROWS; t = s->next[t], n++)
                width = MAX(width, characters(s->plan->tasks[t].resource) + 4);
        box->w = (int)((double)MAX(width, (size_t)16) * CHARACTER) + 16;
        box->h = HEAD + LINE * (int)(rows + (box->n_tasks > rows)) + (rows ? 8 : 0);
}

static void layout(struct picture *s)
{
        int x = MARGIN;

        s->h = 0;
        for (uint32_t c = 0; c < s->n_columns; c++) {
                int y = MARGIN + 40, w = 0;

                for (uint32_t o = 0; o < s->n_boxes; o++) {
                        struct box *box = &s->boxes[o];

                        if (box->column != c)
                                continue;
                        box_size(s, box, o);
                        box->x = x;
                        box->y = y;
                        y += box->h + GAP_Y;
                        w = MAX(w, box->w);
                }
                x += w + GAP_X;
                s->h = MAX(s->h, y);
        }
        s->w = MAX(x - GAP_X + MARGIN, 320);
        s->h += MARGIN;
}

static void curve(const struct picture *s, struct buf *b, const struct box *from,
                  const struct box *to)
{
        int x1 = from->x + from->w, y1 = from->y + HEAD / 2, x2 = to->x - 7, y2 = to->y + HEAD / 2;
        int bend = MAX((x2 - x1) / 2, 30);

        buf_printf(b, "<path class=\"e\" d=\"M%d %dC%d %d %d %d %d %d\" "
                   "marker-end=\"url(#a)\"/>\n", x1, y1, x1 + bend, y1, x2 - bend, y2, x2, y2);
}

static void box_put(const struct picture *s, struct buf *b, uint32_t o)
{
        static const char *const types[] = {"create", "update", "delete", "check"};
        const struct plan_operation *op = &s->plan->operations[o];
        const struct box *box = &s->boxes[o];
        uint32_t n = 0, t;
        int y = box->y + HEAD;

        buf_printf(b, "<rect class=\"o%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" "
                   "rx=\"8\"/>\n<text class=\"h\" x=\"%d\" y=\"%d\">", op->implied ? " i" : "",
                   box->x, box->y, box->w, box->h, box->x + 12, box->y + 20);
        escaped(b, op->implied ? "implied" : op->id, 44);
        buf_printf(b, "</text>\n<text class=\"s\" x=\"%d\" y=\"%d\">%s, %u task%s</text>\n",
                   box->x + 12, box->y + 36, types[op->type], box->n_tasks,
                   box->n_tasks == 1 ? "" : "s");
        for (t = box->first; t != NONE && n < MAX_ROWS; t = s->next[t], n++, y += LINE) {
                const struct plan_task *task = &s->plan->tasks[t];

                buf_printf(b, "<rect class=\"t %s%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" "
                           "rx=\"4\"><title>", plan_verb_name(task->verb), task->implied ? " i" : "",
                           box->x + 8, y, box->w - 16, LINE - 4);
                escaped(b, task->id, 400);
                if (task->reason) {
                        BUF_LIT(b, ": ");
                        escaped(b, task->reason, 400);
                }
                buf_printf(b, "</title></rect>\n<text class=\"r\" x=\"%d\" y=\"%d\">", box->x + 14,
                           y + 13);
                escaped(b, task->resource, 44);
                BUF_LIT(b, "</text>\n");
        }
        if (t != NONE)
                buf_printf(b, "<text class=\"s\" x=\"%d\" y=\"%d\">\xe2\x80\xa6 %u more</text>\n",
                           box->x + 14, y + 13, box->n_tasks - n);
}

static void head(const struct picture *s, struct buf *b)
{
        uint32_t hidden = s->plan->n_operations - s->n_boxes;

        buf_printf(b, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
                   "viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\">\n", s->w,
                   s->h, s->w, s->h);
        BUF_LIT(b, "<style>.o{fill:#f6f8fa;stroke:#57606a}.i{stroke-dasharray:5 3}"
                   ".t{stroke:#8c959f}.create{fill:#dafbe1}.update{fill:#fff8c5}"
                   ".delete{fill:#ffebe9}.check{fill:#ddf4ff}.e{fill:none;stroke:#57606a;"
                   "stroke-width:1.4}.h{font-weight:bold;font-size:13px}.s{fill:#57606a}"
                   ".r{font-family:monospace}</style>\n"
                   "<defs><marker id=\"a\" viewBox=\"0 0 8 8\" refX=\"1\" refY=\"4\" "
                   "markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" "
                   "fill=\"#57606a\"/></marker></defs>\n"
                   "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n");
        buf_printf(b, "<text x=\"%d\" y=\"%d\" font-size=\"16\" font-weight=\"bold\">", MARGIN,
                   MARGIN + 8);
        escaped(b, s->plan->name, 60);
        buf_printf(b, "</text>\n<text class=\"s\" x=\"%d\" y=\"%d\">%s, %u operations", MARGIN,
                   MARGIN + 26, s->plan->type, s->plan->n_operations);
        if (hidden)
                buf_printf(b, ", the first %u shown", s->n_boxes);
        BUF_LIT(b, "</text>\n");
}

int plan_svg(const struct plan *p, struct buf *b)
{
        struct picture s = {0};
        int r = picture_init(&s, p);

        if (!r) {
                layout(&s);
                head(&s, b);
                for (uint32_t i = 0; i < s.n_pairs; i++)
                        curve(&s, b, &s.boxes[s.pairs[i][0]], &s.boxes[s.pairs[i][1]]);
                for (uint32_t o = 0; o < s.n_boxes; o++)
                        box_put(&s, b, o);
                BUF_LIT(b, "</svg>\n");
        }
        free(s.boxes);
        free(s.next);
        free(s.pairs);
        return error_fold(r ? r : buf_error(b));
}
