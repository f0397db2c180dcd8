/* SPDX-License-Identifier: Apache-2.0 */
/* Results as text, JSON and JUnit. */
#include "check.h"

enum { SHOWN = 5 }; /* of each kind of line, for people */

static const char *const words[] = {[PASSED] = "pass", [FAILED] = "FAIL", [SKIPPED] = "skip"};

/* Lines behind the first are set in. */
static void put_lines(FILE *f, const char *prefix, const char *text)
{
        fputs(prefix, f);
        for (; *text; text++) {
                fputc(*text, f);
                if (*text == '\n' && text[1]) /* under its first line */
                        fputs("                    ", f);
        }
        if (text[-1] != '\n')
                fputc('\n', f);
}

static void put_all(FILE *f, const char *prefix, const json_t *texts)
{
        const json_t *e;
        size_t i;

        json_array_foreach (texts, i, e) {
                if (i == SHOWN) {
                        fprintf(f, "%s... and %zu more\n", prefix, json_array_size(texts) - i);
                        return;
                }
                put_lines(f, prefix, json_string_value(e));
        }
}

void report_text_one(FILE *f, const struct result *r, bool color)
{
        static const char *const paints[] = {[PASSED] = "\033[32m", [FAILED] = "\033[1;31m",
                                             [SKIPPED] = "\033[33m"};

        fprintf(f, "%s%s%s  %-28s %s\n", color ? paints[r->outcome] : "", words[r->outcome],
                color ? "\033[0m" : "", r->test->name, r->test->title);
        if (r->outcome == SKIPPED && r->reason)
                put_lines(f, "      skipped:      ", r->reason);
        put_all(f, "      wrong:        ", r->failures);
        put_all(f, "      tried:        ", r->violations);
        put_all(f, "      remark:       ", r->remarks);
        if (r->outcome == FAILED && r->output.n)
                put_lines(f, "      it printed:   ", buf_str(&r->output));
}

void report_text_end(FILE *f, const struct report *r)
{
        fprintf(f, "%zu passed, %zu failed, %zu skipped; seed %llu\n", r->passed, r->failed, r->skipped,
                (unsigned long long)r->options->seed);
}

int report_json(FILE *f, const struct report *r)
{
        _cleanup_(cleanup_json_decref) json_t *all = NULL;
        json_t *list = json_array();

        for (size_t i = 0; i < r->n; i++) {
                const struct result *e = &r->results[i];
                json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:O, s:O, s:O, s:s?}", "name", e->test->name,
                                      "title", e->test->title, "outcome",
                                      e->outcome == FAILED ? "fail" : words[e->outcome], "ms",
                                      (json_int_t)e->ms, "failures", e->failures, "violations",
                                      e->violations, "remarks", e->remarks, "reason", e->reason);

                if (o && e->output.n)
                        json_object_set_new(o, "output", json_stringn(e->output.data, e->output.n));
                json_array_append_new(list, o);
        }
        all = json_pack("{s:s, s:o?, s:s, s:I, s:s, s:I, s:I, s:I, s:o}", "plugin", r->options->plugin,
                        "note", r->note ? json_incref((json_t *)(uintptr_t)r->note) : NULL, "checker",
                        PRVNG_VERSION, "seed", (json_int_t)r->options->seed, "sanitizer", CHECK_SANITIZER,
                        "passed", (json_int_t)r->passed, "failed", (json_int_t)r->failed, "skipped",
                        (json_int_t)r->skipped, "tests", list);
        if (!all || json_dumpf(all, f, JSON_INDENT(2)) < 0)
                return error_origin(-ENOMEM);
        fputc('\n', f);
        return 0;
}

/* XML 1.0 knows no control characters, not even escaped. */
static void put_xml(FILE *f, const char *text)
{
        for (; *text; text++)
                switch (*text) {
                case '&': fputs("&amp;", f); break;
                case '<': fputs("&lt;", f); break;
                case '>': fputs("&gt;", f); break;
                case '"': fputs("&quot;", f); break;
                default:
                        fputc((unsigned char)*text < 0x20 && *text != '\n' && *text != '\t' ? '?' : *text, f);
                }
}

static void put_xml_all(FILE *f, const char *head, const json_t *texts)
{
        const json_t *e;
        size_t i;

        json_array_foreach (texts, i, e) {
                fputs(head, f);
                put_xml(f, json_string_value(e));
                fputc('\n', f);
        }
}

static void put_case(FILE *f, const char *plugin, const struct result *r)
{
        const char *slash = strchr(r->test->name, '/');
        const char *first = json_string_value(json_array_get(r->failures, 0));

        fprintf(f, "  <testcase classname=\"%s.%.*s\" name=\"%s\" time=\"%.3f\">\n", plugin,
                (int)(slash - r->test->name), r->test->name, slash + 1, (double)r->ms / 1000);
        if (r->outcome == SKIPPED) {
                fputs("    <skipped message=\"", f);
                put_xml(f, r->reason ? r->reason : "");
                fputs("\"/>\n", f);
        }
        if (r->outcome == FAILED) {
                fputs("    <failure message=\"", f);
                put_xml(f, first ? first : "failed");
                fputs("\">", f);
                put_xml_all(f, "", r->failures);
                put_xml_all(f, "tried: ", r->violations);
                fputs("</failure>\n", f);
        }
        if (json_array_size(r->remarks) > 0 || (r->outcome == FAILED && r->output.n)) {
                fputs("    <system-out>", f);
                put_xml_all(f, "", r->remarks);
                put_xml(f, r->outcome == FAILED ? buf_str(&r->output) : "");
                fputs("</system-out>\n", f);
        }
        fputs("  </testcase>\n", f);
}

void report_junit(FILE *f, const struct report *r)
{
        const char *plugin = strrchr(r->options->plugin, '/') + 1;
        int64_t ms = 0;

        for (size_t i = 0; i < r->n; i++)
                ms += r->results[i].ms;
        fprintf(f, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                   "<testsuite name=\"prvng-plugin-check %s\" tests=\"%zu\" failures=\"%zu\" skipped=\"%zu\" "
                   "time=\"%.3f\">\n  <properties>\n    <property name=\"seed\" value=\"%llu\"/>\n"
                   "  </properties>\n",
                plugin, r->n, r->failed, r->skipped, (double)ms / 1000,
                (unsigned long long)r->options->seed);
        for (size_t i = 0; i < r->n; i++)
                put_case(f, plugin, &r->results[i]);
        fputs("</testsuite>\n", f);
}
