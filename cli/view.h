/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a run looks to people: the tree of a live view, the lines where there is no terminal, the table
 * at the end. Pure: a folded run and the time in, text out.
 */
#ifndef PRVNG_CLI_VIEW_H
#define PRVNG_CLI_VIEW_H

#include "output.h"
#include "journal/state.h"

/* What tasks say of themselves while they run; not journaled. By task id. */
struct progress {
        char *task;
        uint32_t permille;
        char *message;
};

struct progresses {
        struct strmap by_task; /* struct progress * */
};

int progresses_put(struct progresses *p, const char *task, uint32_t permille, const char *message);
void progresses_remove(struct progresses *p, const char *task);
void progresses_deinit(struct progresses *p);

struct view {
        bool color, utf8;
        size_t width;  /* columns */
        size_t height; /* lines it may take; 0: as many as it likes */
        int64_t now_ms; /* wall clock */
        const struct progresses *progresses; /* may be NULL */
};

/* The tree with its bar. Appends lines, each ending with a newline; never more than view->height. */
void view_tree(const struct view *v, const struct run *run, struct buf *out);

/* Operations and tasks with what became of them and how long it took. */
void view_table(const struct view *v, const struct run *run, struct buf *out);

/* "✓", "✗" ... of a task at its end. */
const char *view_mark(const struct view *v, enum task_status s);

/* One sentence on the whole: "✓ shop succeeded in 42s: 15 tasks, 3 unchanged". */
void view_summary(const struct view *v, const struct run *run, struct buf *out);

/* What failed, waits for the operator or differs, where the logs are and what to do next. */
void view_troubles(const struct view *v, const struct run *run, struct buf *out);

/* The line for a record that was just applied to the run; nothing for those that people do not need. */
void view_line(const struct view *v, const struct run *run, const struct record *r,
               struct buf *out);

/* Seconds until the run will probably have ended; -1: nobody can say yet. */
int64_t view_forecast(const struct run *run, int64_t now_ms);

#endif
