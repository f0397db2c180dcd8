/* SPDX-License-Identifier: Apache-2.0 */
/* prvng audit verify */
#include "journal/audit.h"
#include "opened.h"
#include "output.h"

/* The lines of a file of anchors; '#' begins a comment. */
static int read_anchor_file(const struct cli *cli, const char *path, struct anchor *anchor)
{
        _cleanup_(cleanup_fclose) FILE *f = fopen(path, "re");
        _cleanup_(cleanup_free) char *line = NULL;
        unsigned number = 0, n_anchors = 0;
        size_t cap = 0;

        if (!f) {
                complain(cli, "--anchor %s: neither an anchor nor a file: %s", path, strerror(errno));
                return EXIT_USAGE;
        }
        while (getline(&line, &cap, f) >= 0) {
                number++;
                line[strcspn(line, "#\n")] = 0;
                if (!line[strspn(line, " \t\r")])
                        continue;
                if (anchor_add(anchor, line) < 0) {
                        complain(cli, "%s:%u: not an anchor of one site, as prvng audit verify prints it, "
                                 "nor a digest of 64 hex digits", path, number);
                        return EXIT_USAGE;
                }
                n_anchors++;
        }
        if (n_anchors)
                return 0;
        complain(cli, "%s: holds no anchor; prvng audit verify prints one", path);
        return EXIT_USAGE;
}

static int read_anchor(const struct cli *cli, struct anchor *anchor)
{
        const char *text = option_value(cli, "anchor");

        if (!text || anchor_add(anchor, text) == 0)
                return 0;
        if (startswith(text, ANCHOR_WORD)) {
                complain(cli, "--anchor: the anchor is not whole: a word is missing or changed");
                return EXIT_USAGE;
        }
        anchor_deinit(anchor);
        return read_anchor_file(cli, text, anchor);
}

static json_t *describe_fault(const struct audit_stream *s)
{
        const struct journal_check *c = &s->check;

        return json_pack("{s:s, s:s, s:i, s:I, s:I, s:I, s:s, s:s}", "stream", s->name, "store", s->store,
                         "segment", (int)c->segment, "byte", (json_int_t)c->byte, "line",
                         (json_int_t)c->line, "seq", (json_int_t)c->seq, "fault",
                         journal_fault_name(c->fault), "message", c->what ? c->what : "");
}

static const char *state_of(const struct audit_stream *s)
{
        return s->compacted && !s->check.fault ? "compacted" : journal_fault_name(s->check.fault);
}

static json_t *describe_stream(const struct audit_stream *s)
{
        char head[65];

        hex_text(s->check.head.digest, 32, head);
        head[64] = 0;
        return json_pack("{s:s, s:s, s:s?, s:s?, s:I, s:I, s:s, s:s, s:b}", "stream", s->name, "store",
                         s->store, "run", *s->run ? s->run : NULL, "workflow", s->workflow, "records",
                         (json_int_t)s->check.head.seq, "seals", (json_int_t)s->check.head.number, "head",
                         head, "state", state_of(s), "in_flight", s->in_flight);
}

static void print_audit(const struct cli *cli, const struct audit *a, const struct anchor *anchor,
                        const char *line)
{
        const struct audit_stream *bad = audit_first_bad(a);
        json_t *streams = json_array();
        json_t *doc = json_pack("{s:s, s:b, s:o, s:s?, s:o, s:o}", "site", a->site, "intact", !bad,
                                "anchored", anchor->n ? json_boolean(!bad) : json_null(), "anchor",
                                bad ? NULL : line, "first_bad", bad ? describe_fault(bad) : json_null(),
                                "streams", streams);

        for (uint32_t i = 0; i < a->n; i++)
                json_array_append_new(streams, describe_stream(&a->streams[i]));
        print_document(cli, doc);
        json_decref(doc);
}

static void print_table(const struct cli *cli, const struct audit *a)
{
        static const char *const heads[] = {"STREAM", "WORKFLOW", "RECORDS", "SEALS", "STATE"};
        struct table t;

        table_init(&t, cli, N_ELEMENTS(heads), heads);
        for (uint32_t i = 0; i < a->n; i++) {
                const struct audit_stream *s = &a->streams[i];

                table_cell(&t, PLAIN, "%s", s->name);
                table_cell(&t, PLAIN, "%s", s->workflow ? s->workflow : "");
                table_cell(&t, PLAIN, "%llu", (unsigned long long)s->check.head.seq);
                table_cell(&t, PLAIN, "%llu", (unsigned long long)s->check.head.number);
                table_cell(&t, s->check.fault ? RED : GREEN, "%s%s", state_of(s),
                           s->check.fault ? "" : s->in_flight ? ", in flight" : "");
        }
        table_print(&t);
}

static void print_verdict(const struct cli *cli, const struct audit *a, const struct anchor *anchor,
                          const char *line)
{
        uint64_t n = 0;

        for (uint32_t i = 0; i < a->n; i++)
                n += a->streams[i].check.head.seq;
        if (audit_first_bad(a))
                return;
        printf("%u stream%s, %llu records: intact%s\n", a->n, a->n == 1 ? "" : "s", (unsigned long long)n,
               anchor->n ? ", and holds the anchor" : "");
        if (!option_given(cli, "anchor"))
                puts("To prove later that nothing was cut off, keep this line where the engine cannot write:");
        puts(line);
}

static int complain_bad(const struct cli *cli, const struct audit *a)
{
        bool first = true;

        for (uint32_t i = 0; i < a->n; i++) {
                _cleanup_(cleanup_buf) struct buf text = BUF_NULL;

                if (!a->streams[i].check.fault)
                        continue;
                audit_describe(&a->streams[i], &text);
                complain(cli, "%s%s", first ? "the journal is not what it was: " : "", buf_str(&text));
                first = false;
        }
        if (!first)
                complain(cli, "nothing was touched. Keep a copy of the store, then restore a backup: prvng "
                         "store import");
        return first ? 0 : EXIT_UNUSABLE;
}

int audit_verify(struct cli *cli)
{
        _cleanup_(cleanup_opened) struct opened o = {0};
        _cleanup_(cleanup_anchor) struct anchor anchor = ANCHOR_NULL;
        _cleanup_(cleanup_audit) struct audit a = AUDIT_NULL;
        _cleanup_(cleanup_buf) struct buf line = BUF_NULL;
        _cleanup_(cleanup_free) char *message = NULL;
        struct audit_request request = {.journal = opened_journal, .userdata = &o,
                                        .run = cli->args[0], .anchor = &anchor};
        int r;

        r = read_anchor(cli, &anchor);
        r = r ? r : opened_open(&o, cli);
        if (r)
                return r;
        request.home = o.home->plugin->name;
        r = audit_make(&request, &a, &message);
        if (r == AUDIT_E_NO_RUN) {
                complain(cli, "there is no run or workflow named %s; prvng batch list shows all",
                         cli->args[0]);
                return EXIT_RUN_FAILED;
        }
        if (r) {
                complain(cli, "the journal cannot be read: %s",
                         message ? message : strerror(r < 0 ? -r : EIO));
                return EXIT_UNUSABLE;
        }
        audit_anchor(&a, &line);
        if (cli->format != FORMAT_TABLE) {
                print_audit(cli, &a, &anchor, buf_str(&line));
        } else {
                print_table(cli, &a);
                print_verdict(cli, &a, &anchor, buf_str(&line));
        }
        fflush(stdout);
        return complain_bad(cli, &a);
}
