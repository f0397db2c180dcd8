/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The documents of tasks. Those of one plan differ in little more than the name of their resource, which
 * its key holds too. So a byte that JSON cannot contain stands for the name in quotes, and a task keeps
 * only what differs then from a document that is kept whole: how many bytes it has in common with it at
 * the start and at the end, and what stands between. Which one: of the last few the most like it.
 *
 * Behind a task's id, key, uses and waits in run->text: two 16-bit numbers, then what stands between.
 */
#include "journal/fold.h"

#define LOOK_BACK 4    /* documents kept whole that a new one is compared with */
#define NAME      '\1' /* stands for the name in quotes */
#define SPEC      ",\"spec\":" /* its last member */

/* "taskserv.containerd@web-0": containerd */
static struct span name_of(struct span key)
{
        const char *dot = key.n ? memchr(key.p, '.', key.n) : NULL, *at;

        if (!dot)
                return span_n(NULL, 0);
        key.n -= (size_t)(dot + 1 - key.p);
        key.p = dot + 1;
        at = memchr(key.p, '@', key.n);
        return at ? span_n(key.p, (size_t)(at - key.p)) : key;
}

static void shorten(struct span doc, struct span name, struct buf *b)
{
        const char *p = doc.p, *end = p + doc.n, *from = p;

        while (name.n && (p = memmem(p, (size_t)(end - p), name.p, name.n))) {
                if (p > from && p[-1] == '"' && p + name.n < end && p[name.n] == '"') {
                        buf_append(b, from, (size_t)(p - 1 - from));
                        buf_putc(b, NAME);
                        from = p + name.n + 1;
                }
                p += name.n;
        }
        buf_append(b, from, (size_t)(end - from));
}

static void lengthen(const char *p, size_t n, struct span name, struct buf *b)
{
        const char *end = p + n, *mark;

        for (; n && (mark = memchr(p, NAME, (size_t)(end - p))); p = mark + 1) {
                buf_append(b, p, (size_t)(mark - p));
                buf_putc(b, '"');
                buf_append(b, name.p, name.n);
                buf_putc(b, '"');
        }
        buf_append(b, p, (size_t)(end - p));
}

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

/* Is it that document but for the name, as nearly all are? */
static bool same_but_name(const struct run *run, uint32_t i, struct span doc, struct span name)
{
        const struct whole_doc *w = &run->wholes[i];
        const char *p = run->text + w->text, *end = p + w->n, *mark;
        const char *d = doc.p, *doc_end = d + doc.n;

        for (;; p = mark + 1) {
                size_t n;

                mark = memchr(p, NAME, (size_t)(end - p));
                n = (size_t)((mark ?: end) - p);
                if ((size_t)(doc_end - d) < n || memcmp(d, p, n) != 0)
                        return false;
                d += n;
                if (!mark)
                        return d == doc_end;
                if ((size_t)(doc_end - d) < name.n + 2 || *d != '"' ||
                    memcmp(d + 1, name.p, name.n) != 0 || d[name.n + 1] != '"')
                        return false;
                d += name.n + 2;
        }
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
        const char *spec = memmem(doc.p, doc.n, SPEC, sizeof(SPEC) - 1);
        struct whole_doc w = {.n = (uint32_t)doc.n};
        int q;

        w.spec = spec ? (uint32_t)(spec - doc.p + (ptrdiff_t)sizeof(SPEC) - 1) : w.n;
        q = run_add_text(run, doc, &w.text);
        q = q ?: GROW(run->wholes, run->n_wholes, run->cap_wholes);
        if (q == 0)
                run->wholes[run->n_wholes++] = w;
        return q ? error_fold(q) : 0;
}

int doc_split(struct run *run, struct span key, struct span doc, struct doc_part *ret_part)
{
        struct span name = name_of(key);
        struct doc_part best = {0};
        int q;

        for (uint32_t i = run->n_wholes; name.n && i-- > 0 && i + LOOK_BACK >= run->n_wholes;)
                if (run->wholes[i].n <= UINT16_MAX && same_but_name(run, i, doc, name)) {
                        *ret_part = (struct doc_part){.whole = i, .start = (uint16_t)run->wholes[i].n};
                        return 0;
                }
        buf_clear(run->doc);
        shorten(doc, name, run->doc);
        if (buf_error(run->doc))
                return error_origin(-ENOMEM);
        doc = span_n(run->doc->data, run->doc->n);
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
        best.rest = span_n(doc.p + best.start, doc.n - likeness(&best));
        *ret_part = best;
        return 0;
}

int doc_add(struct run *run, const struct doc_part *part)
{
        uint16_t lengths[2] = {part->start, part->end};
        int q;

        q = run_add_bytes(run, lengths, sizeof(lengths));
        return q ?: run_add_text(run, part->rest, NULL);
}

/* What is left of a task's document: its lengths, then what stands between. */
static const char *rest_of(const struct run *run, const struct task *t, uint16_t lengths[2])
{
        const char *p = task_uses(run, t);

        p += strlen(p) + 1;
        if (t->has_waits)
                p += strlen(p) + 1;
        memcpy(lengths, p, 2 * sizeof(*lengths));
        return p + 2 * sizeof(*lengths);
}

void task_doc_append(const struct run *run, const struct task *t, struct buf *b)
{
        const struct whole_doc *w = &run->wholes[t->whole];
        uint16_t lengths[2];
        const char *rest;
        struct span name;

        if (t->n_doc == 0)
                return;
        name = name_of(span_n(task_key(run, t), t->n_key));
        rest = rest_of(run, t, lengths);
        if (!*rest && lengths[0] + (uint32_t)lengths[1] == w->n) {
                lengthen(run->text + w->text, w->n, name, b);
                return;
        }
        lengthen(run->text + w->text, lengths[0], name, b);
        lengthen(rest, strlen(rest), name, b);
        lengthen(run->text + w->text + w->n - lengths[1], lengths[1], name, b);
}

const char *task_doc(const struct run *run, const struct task *t)
{
        buf_clear(run->doc);
        task_doc_append(run, t, run->doc);
        return buf_str(run->doc);
}

struct span task_spec(const struct run *run, const struct task *t)
{
        const struct whole_doc *w = &run->wholes[t->whole];
        const char *doc, *spec, *rest;
        uint16_t lengths[2];
        bool same;

        if (t->n_doc == 0)
                return span_of("{}");
        rest = rest_of(run, t, lengths);
        same = !*rest && lengths[0] + (uint32_t)lengths[1] == w->n;
        if (w->spec < w->n && (same || lengths[1] >= w->n - w->spec)) { /* nearly always */
                buf_clear(run->doc);
                lengthen(run->text + w->text + w->spec, w->n - 1 - w->spec,
                         name_of(span_n(task_key(run, t), t->n_key)), run->doc);
                return span_n(buf_str(run->doc), run->doc->n);
        }
        doc = task_doc(run, t);
        spec = strstr(doc, SPEC);
        if (!spec)
                return span_of("{}");
        spec += sizeof(SPEC) - 1;
        return span_n(spec, (size_t)(doc + run->doc->n - 1 - spec));
}
