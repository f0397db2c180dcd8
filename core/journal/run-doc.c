/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The documents of tasks. Those of one plan differ in little more than a name, so that a task keeps
 * only what differs from a document that is kept whole: how many bytes it has in common with it at the
 * start and at the end, and what stands between. Which one: of the last few the most like it.
 *
 * Behind a task's id, key, uses and waits in run->text: two 16-bit numbers, then what stands between.
 */
#include "journal/fold.h"

#define LOOK_BACK 4 /* documents kept whole that a new one is compared with */

static uint32_t common_start(const char *a, const char *b, uint32_t most)
{
        uint32_t n = 0;

        while (n + 8 <= most && memcmp(a + n, b + n, 8) == 0)
                n += 8;
        while (n < most && a[n] == b[n])
                n++;
        return n;
}

static uint32_t common_end(const char *a, const char *b, uint32_t most)
{
        uint32_t n = 0;

        while (n + 8 <= most && memcmp(a - n - 8, b - n - 8, 8) == 0)
                n += 8;
        while (n < most && a[-1 - (int64_t)n] == b[-1 - (int64_t)n])
                n++;
        return n;
}

static struct doc_part compare(const struct run *run, uint32_t i, struct span doc)
{
        const struct whole_doc *w = &run->wholes[i];
        const char *text = run->text + w->text;
        uint32_t most = MIN(MIN(w->n, (uint32_t)doc.n), (uint32_t)UINT16_MAX), start;

        start = common_start(text, doc.p, most);
        return (struct doc_part){
                .whole = i,
                .start = (uint16_t)start,
                .end = (uint16_t)common_end(text + w->n, doc.p + doc.n, most - start)};
}

static uint32_t likeness(const struct doc_part *p)
{
        return (uint32_t)p->start + p->end;
}

static int add_whole(struct run *run, struct span doc)
{
        struct whole_doc w = {.n = (uint32_t)doc.n};
        const char *spec;
        int q;

        q = run_add_text(run, doc, &w.text);
        q = q ?: GROW(run->wholes, run->n_wholes, run->cap_wholes);
        if (q)
                return error_fold(q);
        spec = strstr(run->text + w.text, ",\"spec\":");
        w.spec = spec ? (uint32_t)(spec - (run->text + w.text)) : w.n;
        run->wholes[run->n_wholes++] = w;
        return 0;
}

int doc_split(struct run *run, struct span doc, struct doc_part *ret_part)
{
        struct doc_part best = {0};
        int q;

        if (doc.n > UINT32_MAX / 2)
                return error_origin(-E2BIG);
        for (uint32_t i = run->n_wholes; doc.n && i-- > 0 && i + LOOK_BACK >= run->n_wholes;) {
                struct doc_part p = compare(run, i, doc);

                if (likeness(&p) > likeness(&best))
                        best = p;
                if (likeness(&best) >= doc.n - doc.n / 4)
                        break;
        }
        if (likeness(&best) < doc.n / 2) {
                q = add_whole(run, doc);
                if (q)
                        return error_fold(q);
                best = compare(run, run->n_wholes - 1, doc);
        }
        *ret_part = best;
        return 0;
}

int doc_add(struct run *run, const struct doc_part *part, struct span doc)
{
        uint16_t lengths[2] = {part->start, part->end};
        int q;

        q = run_add_bytes(run, lengths, sizeof(lengths));
        return q ?: run_add_text(run, span_n(doc.p + part->start, doc.n - part->start - part->end), NULL);
}

static const char *lengths_of(const struct run *run, const struct task *t)
{
        const char *p = task_uses(run, t);

        p += strlen(p) + 1;
        return t->has_waits ? p + strlen(p) + 1 : p;
}

struct span task_spec(const struct run *run, const struct task *t)
{
        const struct whole_doc *w = &run->wholes[t->whole];
        const char *doc, *spec;
        uint16_t lengths[2];

        if (t->n_doc == 0)
                return span_of("{}");
        memcpy(lengths, lengths_of(run, t), sizeof(lengths));
        if (w->n - lengths[1] <= w->spec) { /* as nearly always: it is all in the common end */
                doc = run->text + w->text;
                return span_n(doc + w->spec + 8, w->n - 1 - (w->spec + 8));
        }
        doc = task_doc(run, t);
        spec = strstr(doc, ",\"spec\":");
        return spec ? span_n(spec + 8, (size_t)(doc + t->n_doc - 1 - (spec + 8))) : span_of("{}");
}

void task_doc_append(const struct run *run, const struct task *t, struct buf *b)
{
        const char *p = lengths_of(run, t), *whole;
        uint16_t lengths[2];

        if (t->n_doc == 0)
                return;
        memcpy(lengths, p, sizeof(lengths));
        whole = run->text + run->wholes[t->whole].text;
        buf_append(b, whole, lengths[0]);
        buf_append(b, p + sizeof(lengths), t->n_doc - lengths[0] - lengths[1]);
        buf_append(b, whole + run->wholes[t->whole].n - lengths[1], lengths[1]);
}

const char *task_doc(const struct run *run, const struct task *t)
{
        buf_clear(run->doc);
        task_doc_append(run, t, run->doc);
        return buf_str(run->doc);
}
