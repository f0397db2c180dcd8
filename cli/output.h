/* SPDX-License-Identifier: Apache-2.0 */
/* Text for people: colours, columns, times; and documents for programs. */
#ifndef PRVNG_CLI_OUTPUT_H
#define PRVNG_CLI_OUTPUT_H

#include "cli.h"

enum paint { PLAIN, BOLD, DIM, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN };

/* Appends text, painted if `color`. */
void paint(struct buf *b, bool color, enum paint p, const char *text);

/* Columns that text takes on a terminal: code points, without escape sequences. */
size_t text_width(const char *text);

/* Appends text cut to `width` columns (with an ellipsis) and filled up to `fill`. */
void put_cut(struct buf *b, const char *text, size_t width, size_t fill, bool utf8);

/* "4s", "1m 05s", "2h 03m". */
void put_duration(struct buf *b, int64_t seconds);

/* "2026-11-22 10:40:00" of an RFC 3339 text in the user's time zone; "-" for NULL. */
void put_time(struct buf *b, const char *rfc3339);
int64_t parse_time(const char *rfc3339); /* wall clock, milliseconds; 0 if it is none */

/* A table: all cells are kept until it is printed, then each column is as wide as its widest cell. */
#define TABLE_COLUMNS_MAX 8

struct table {
        const struct cli *cli;
        size_t n_columns;
        struct cell {
                char *text;
                enum paint paint;
        } *cells;
        size_t n_cells, cap_cells;
};

void table_init(struct table *t, const struct cli *cli, size_t n_columns, const char *const *heads);
void table_cell(struct table *t, enum paint p, const char *format, ...) _printf_(3, 4);
void table_print(struct table *t); /* to stdout; frees */

/* The colour of a state of a run or task. */
enum paint status_paint(const char *status);

/* YAML of a JSON value, one document. -EIO if stdout does not take it. */
int yaml_print(const json_t *json, FILE *f, bool explicit_start);

#endif
