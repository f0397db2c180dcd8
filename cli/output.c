/* SPDX-License-Identifier: Apache-2.0 */
#include "output.h"

#include <time.h>

void paint(struct buf *b, bool color, enum paint p, const char *text)
{
        static const char *const codes[] = {
                [PLAIN] = "",  [BOLD] = "1",   [DIM] = "2",      [RED] = "31", [GREEN] = "32",
                [YELLOW] = "33", [BLUE] = "34", [MAGENTA] = "35", [CYAN] = "36",
        };

        if (color && p != PLAIN)
                buf_printf(b, "\033[%sm", codes[p]);
        buf_puts(b, text);
        if (color && p != PLAIN)
                BUF_LIT(b, "\033[0m");
}

size_t text_width(const char *text)
{
        size_t n = 0;

        for (const char *p = text; *p; p++) {
                if (*p == '\033') {
                        while (*p && *p != 'm')
                                p++;
                        if (!*p)
                                break;
                        continue;
                }
                n += ((unsigned char)*p & 0xc0) != 0x80;
        }
        return n;
}

void put_cut(struct buf *b, const char *text, size_t width, size_t fill, bool utf8)
{
        size_t have = text_width(text), n = 0;
        const char *p = text;

        if (have <= width) {
                buf_puts(b, text);
                n = have;
        } else if (width > 0) {
                for (; *p && n + 1 < width; n++)
                        do
                                buf_putc(b, *p++);
                        while (((unsigned char)*p & 0xc0) == 0x80);
                buf_puts(b, utf8 ? "…" : "~");
                n++;
        }
        for (; n < fill; n++)
                buf_putc(b, ' ');
}

void put_duration(struct buf *b, int64_t seconds)
{
        if (seconds < 60)
                buf_printf(b, "%llds", (long long)MAX(seconds, (int64_t)0));
        else if (seconds < 3600)
                buf_printf(b, "%lldm %02llds", (long long)(seconds / 60), (long long)(seconds % 60));
        else
                buf_printf(b, "%lldh %02lldm", (long long)(seconds / 3600),
                           (long long)(seconds / 60 % 60));
}

int64_t parse_time(const char *rfc3339)
{
        struct tm tm = {0};
        const char *rest = rfc3339 ? strptime(rfc3339, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
        int64_t ms = 0;

        if (!rest)
                return 0;
        if (*rest == '.')
                ms = (int64_t)(strtod(rest, NULL) * 1000);
        return (int64_t)timegm(&tm) * 1000 + ms;
}

void put_time(struct buf *b, const char *rfc3339)
{
        int64_t ms = parse_time(rfc3339);
        time_t s = (time_t)(ms / 1000);
        char text[32];
        struct tm tm;

        if (!ms) {
                BUF_LIT(b, "-");
                return;
        }
        localtime_r(&s, &tm);
        strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
        buf_puts(b, text);
}

void complain(const struct cli *cli, const char *format, ...)
{
        struct buf text = BUF_NULL, line = BUF_NULL;
        va_list ap;
        char *s = NULL;

        va_start(ap, format);
        if (vasprintf(&s, format, ap) < 0)
                s = NULL;
        va_end(ap);
        paint(&line, cli->color_err, RED, "prvng:");
        fflush(stdout);
        fprintf(stderr, "%s %s\n", buf_str(&line), s ? s : format);
        free(s);
        buf_deinit(&text);
        buf_deinit(&line);
}

void print_document(const struct cli *cli, const json_t *json)
{
        if (cli->format == FORMAT_YAML) {
                yaml_print(json, stdout, false);
        } else {
                json_dumpf(json, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
                putchar('\n');
        }
}

void table_init(struct table *t, const struct cli *cli, size_t n_columns, const char *const *heads)
{
        assert(n_columns <= TABLE_COLUMNS_MAX);
        *t = (struct table){.cli = cli, .n_columns = n_columns};
        for (size_t i = 0; i < n_columns; i++)
                table_cell(t, DIM, "%s", heads[i]);
}

void table_cell(struct table *t, enum paint p, const char *format, ...)
{
        char *text = NULL;
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&text, format, ap) < 0)
                text = NULL;
        va_end(ap);
        if (t->n_cells == t->cap_cells) {
                size_t cap = t->cap_cells ? 2 * t->cap_cells : 64;
                struct cell *cells = realloc(t->cells, cap * sizeof(*cells));

                if (!cells) {
                        free(text);
                        return;
                }
                t->cells = cells;
                t->cap_cells = cap;
        }
        t->cells[t->n_cells++] = (struct cell){text, p};
}

void table_print(struct table *t)
{
        size_t widths[TABLE_COLUMNS_MAX] = {0};
        struct buf line = BUF_NULL;

        for (size_t i = 0; i < t->n_cells; i++) {
                size_t w = t->cells[i].text ? text_width(t->cells[i].text) : 0;

                widths[i % t->n_columns] = MAX(widths[i % t->n_columns], w);
        }
        for (size_t i = 0; i < t->n_cells; i++) {
                const struct cell *c = &t->cells[i];
                const char *text = c->text ? c->text : "";
                bool last = i % t->n_columns == t->n_columns - 1;

                paint(&line, t->cli->color, c->paint, text);
                for (size_t w = text_width(text); !last && w < widths[i % t->n_columns] + 2; w++)
                        buf_putc(&line, ' ');
                if (last) {
                        while (line.n && line.data[line.n - 1] == ' ')
                                line.data[--line.n] = 0;
                        puts(buf_str(&line));
                        buf_clear(&line);
                }
                free(c->text);
        }
        free(t->cells);
        buf_deinit(&line);
}

enum paint status_paint(const char *status)
{
        static const struct {
                const char *status;
                enum paint paint;
        } paints[] = {
                {"succeeded", GREEN}, {"unchanged", GREEN}, {"ready", GREEN},   {"running", CYAN},
                {"pending", CYAN},    {"failed", RED},      {"refused", RED},   {"retrying", YELLOW},
                {"in_doubt", YELLOW}, {"parked", MAGENTA},  {"paused", YELLOW}, {"rolled_back", YELLOW},
                {"rolling_back", YELLOW}, {"undoing", YELLOW}, {"undone", YELLOW},
                {"rollback_incomplete", RED}, {"cancelled", YELLOW}, {"skipped", DIM},
                {"waiting", DIM},     {"disabled", DIM},    {"undo_failed", RED},
        };

        for (size_t i = 0; i < N_ELEMENTS(paints); i++)
                if (streq(status, paints[i].status))
                        return paints[i].paint;
        return PLAIN;
}
