/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Somebody changes a journal behind the engine's back: what the audit sees, and what it cannot see
 * without an anchor. Over every store: tampering goes through the store's own functions.
 */
#include "host/host.h"
#include "journal/audit.h"
#include "journal/signer.h"
#include "plugin/border.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <sys/stat.h>

static char folder[64]; /* in memory, if possible: a thousand journals are written here, to be read */
static char no_config[] = "{}";
static struct config config;
static struct config_plugin stores[2];
static struct host *host;
static struct plugins *plugins;
static struct journal *j; /* of the store under test */
static struct uid site_id, run_a, run_b;
static char stream_a[4 + UID_TEXT], stream_b[4 + UID_TEXT];

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        return remove(path);
}

/* Every test runs over each store that was built. */
static void setup(void)
{
        static char names[][8] = {"file", "rkvs"};
        static const char *const variables[] = {"PRVNG_TEST_STORE", "PRVNG_TEST_RKVS"};

        snprintf(folder, sizeof(folder), "%s/prvng-audit-XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        cr_assert(mkdtemp(folder));
        config = (struct config){.state = folder, .cache = folder, .plugin_path = (char *[]){NULL},
                                 .plugins = stores};
        for (size_t i = 0; i < N_ELEMENTS(stores); i++)
                if (getenv(variables[i]))
                        stores[config.n_plugins++] = (struct config_plugin){
                                .name = names[i], .file = getenv(variables[i]), .enabled = true,
                                .config = no_config, .from = names[i]};
        cr_assert(config.n_plugins, "PRVNG_TEST_STORE names the store's file");
        cr_assert_eq(host_new(&config, NULL, &host), 0);
        cr_assert_eq(plugins_load(&config, host, NULL, 0, &plugins), 0);
}

static void teardown(void)
{
        plugins_free(plugins);
        host_free(host);
        nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(audit, .init = setup, .fini = teardown);

static void open_store(size_t i)
{
        _cleanup_(cleanup_free) char *message = NULL;
        char location[96];

        snprintf(location, sizeof(location), "%s/%s", folder, stores[i].name);
        cr_assert_eq(mkdir(location, 0700), 0);
        cr_assert_eq(journal_open(plugins_find(plugins, "store", stores[i].name), location, false, &j,
                                  &message), 0, "%s", message);
}

#define foreach_store(i) for (size_t i = 0; i < config.n_plugins; journal_close(j), i++)

/* Making a site: the runs a, which ended, and b, which has not */

static struct stream *opened(const char *name)
{
        struct stream *s = NULL;

        cr_assert_eq(stream_open(j, name, NULL, NULL, &s), 0, "%s", j->message);
        return s;
}

static void add(struct stream *s, struct record r)
{
        r.at = 1732000000000 + (int64_t)s->seq;
        stream_append(s, &r);
}

static void commit(struct stream *s)
{
        cr_assert_eq(stream_commit(s), 0, "%s", j->message);
}

/* Ten records in six batches, the last of which ends the run if it shall. `message` is in them. */
static void make_run(const char *name, const char *message, bool ends, char ret_head[65])
{
        struct stream *s = opened(name);

        for (unsigned batch = 0; batch < 5; batch++) {
                for (unsigned i = 0; i <= batch % 2; i++)
                        add(s, (struct record){.type = RECORD_DOUBT, .task = batch,
                                               .message = span_of(message)});
                if (batch == 3) /* a second segment */
                        s->n_segment = JOURNAL_SEGMENT_MAX;
                commit(s);
        }
        if (ends)
                add(s, (struct record){.type = RECORD_END, .status = span_of("succeeded")});
        commit(s);
        hex_text(s->digest, 32, ret_head);
        ret_head[64] = 0;
        stream_close(s);
}

static void accept(struct stream *s, const struct uid *id, const char *stream)
{
        add(s, (struct record){.type = RECORD_ACCEPTED, .run = *id, .name = span_of("shop"),
                               .kind = span_of("batch"), .store = span_of(j->plugin->name),
                               .stream = span_of(stream), .who = span_of("{}"),
                               .claims = span_of("[]")});
        commit(s);
}

static void make_site(const char *version)
{
        char head_a[65], head_b[65], text[UID_TEXT];
        struct stream *s = opened("site");

        uid_ulid(1732000000000, &site_id);
        uid_ulid(1732000000001, &run_a);
        uid_ulid(1732000000002, &run_b);
        uid_text(&run_a, text);
        snprintf(stream_a, sizeof(stream_a), "run-%s", text);
        uid_text(&run_b, text);
        snprintf(stream_b, sizeof(stream_b), "run-%s", text);
        make_run(stream_a, "nobody knows", true, head_a);
        make_run(stream_b, "nobody knows", false, head_b);
        add(s, (struct record){.type = RECORD_SITE, .site = site_id, .format = 2});
        add(s, (struct record){.type = RECORD_ENGINE, .epoch = 1, .pid = 1, .host = span_of("h"),
                               .version = span_of(version)});
        commit(s);
        accept(s, &run_a, stream_a);
        accept(s, &run_b, stream_b);
        add(s, (struct record){.type = RECORD_ENDED, .run = run_a, .status = span_of("succeeded"),
                               .head = span_of(head_a)});
        commit(s);
        stream_close(s);
}

/* Tampering */

struct bytes {
        char *p;
        size_t n;
};

static struct bytes load(const char *stream, uint32_t segment)
{
        struct buf data = BUF_NULL;
        struct prvng_sink sink = SINK(&data, UINT64_MAX);
        struct op_reply reply = OP_REPLY_NULL;
        struct op_call c;

        op_call_init(&c, j->plugin, "", 1, INT64_MAX, j->epoch, "", "");
        c.reply = &reply;
        cr_assert_eq(j->plugin->store.read(j->plugin->instance, &c.pub, stream, segment, 0, &sink),
                     PRVNG_DONE);
        op_call_deinit(&c);
        return (struct bytes){data.data, data.n};
}

static void store(const char *stream, const struct bytes *segments, uint32_t n)
{
        struct op_reply reply = OP_REPLY_NULL;
        struct op_call c;

        cr_assert_eq(journal_remove(j, stream), 0, "%s", j->message);
        op_call_init(&c, j->plugin, "", 1, INT64_MAX, j->epoch, "", "");
        c.reply = &reply;
        for (uint32_t i = 0; i < n; i++)
                cr_assert_eq(j->plugin->store.append(j->plugin->instance, &c.pub, stream, i + 1,
                                                     segments[i].p, segments[i].n, j->epoch),
                             PRVNG_DONE, "%s", reply.message);
        op_call_deinit(&c);
        j->listed = false; /* its list of streams knows nothing of that */
}

static int journal_of(void *userdata, const char *name, struct journal **ret, char **ret_message)
{
        cr_assert_str_eq(name, j->plugin->name);
        *ret = j;
        return 0;
}

/* The first fault, with its place. */
static struct journal_check verdict(struct anchor *anchor, const char *stream)
{
        _cleanup_(cleanup_audit) struct audit a = AUDIT_NULL;
        _cleanup_(cleanup_free) char *message = NULL;
        struct audit_request request = {.journal = journal_of, .home = j->plugin->name,
                                        .anchor = anchor};
        const struct audit_stream *bad;
        struct journal_check check = JOURNAL_CHECK_NULL;

        cr_assert_eq(audit_make(&request, &a, &message), 0, "%s", message);
        bad = audit_first_bad(&a);
        if (bad) {
                check = bad->check;
                cr_assert_str_eq(bad->name, stream, "%s", bad->check.what);
                cr_assert(check.what);
                check.what = NULL;
        }
        return check;
}

static struct anchor anchor_now(void)
{
        _cleanup_(cleanup_audit) struct audit a = AUDIT_NULL;
        _cleanup_(cleanup_buf) struct buf line = BUF_NULL;
        _cleanup_(cleanup_free) char *message = NULL;
        struct audit_request request = {.journal = journal_of, .home = j->plugin->name};
        struct anchor anchor = ANCHOR_NULL;

        cr_assert_eq(audit_make(&request, &a, &message), 0, "%s", message);
        cr_assert_null(audit_first_bad(&a));
        audit_anchor(&a, &line);
        cr_assert_eq(anchor_add(&anchor, buf_str(&line)), 0, "%s", buf_str(&line));
        cr_assert_eq(anchor.n, 2, "the site and the run in flight: %s", buf_str(&line));
        return anchor;
}

/* The same anchor for another audit. */
static struct anchor *again(struct anchor *a)
{
        for (uint32_t i = 0; i < a->n; i++)
                a->heads[i].found = false;
        return a;
}

Test(audit, an_untouched_journal_is_intact_and_holds_its_anchor)
{
        foreach_store (i) {
                struct anchor anchor;

                open_store(i);
                make_site("1");
                anchor = anchor_now();
                cr_assert_eq(verdict(again(&anchor), "").fault, FAULT_NONE);
                make_run(stream_b, "goes on", false, (char[65]){0});
                cr_assert_eq(verdict(again(&anchor), "").fault, FAULT_NONE);
                anchor_deinit(&anchor);
        }
}

/* An engine took up the run again and died before it said so in the run's stream; the next one said once more
 * that the run has ended. */
Test(audit, an_end_that_is_told_twice_is_one)
{
        foreach_store (i) {
                char head[65] = "";
                struct stream *s;

                open_store(i);
                make_site("1");
                s = opened(stream_a);
                hex_text(s->digest, 32, head);
                stream_close(s);
                s = opened("site");
                add(s, (struct record){.type = RECORD_REOPENED, .run = run_a, .upto = 10,
                                       .who = span_of("{}"), .claims = span_of("[]")});
                commit(s);
                add(s, (struct record){.type = RECORD_ENDED, .run = run_a, .status = span_of("succeeded"),
                                       .head = span_of(head)});
                commit(s);
                stream_close(s);
                cr_assert_eq(verdict(NULL, "").fault, FAULT_NONE);
        }
}

/* Whatever byte of whatever stream is changed, it is found, not behind where it stands. */
Test(audit, any_byte)
{
        foreach_store (i) {
                open_store(i);
                make_site("1");
                for (unsigned k = 0; k < 3; k++) {
                        const char *name = k == 0 ? "site" : k == 1 ? stream_a : stream_b;
                        uint32_t n = k == 0 ? 1 : 2, which = k == 2 ? 0 : n - 1;
                        struct bytes all[2] = {load(name, 1), k ? load(name, 2) : (struct bytes){0}};

                        for (size_t at = 0; at < all[which].n; at++) {
                                struct journal_check check;

                                all[which].p[at] ^= 1;
                                store(name, all, n);
                                check = verdict(NULL, name);
                                all[which].p[at] ^= 1;
                                cr_assert_neq(check.fault, FAULT_NONE, "%s byte %zu: %.60s", name, at,
                                              all[which].p + at);
                                cr_assert(check.segment < which + 1 || check.byte <= at,
                                          "%s byte %zu: found at %u:%llu", name, at, check.segment,
                                          (unsigned long long)check.byte);
                        }
                        store(name, all, n);
                        free(all[0].p);
                        free(all[1].p);
                }
                cr_assert_eq(verdict(NULL, "").fault, FAULT_NONE, "put back");
        }
}

/* The start of each line, and the end behind the last. */
static size_t lines_of(const struct bytes *b, size_t ret[64])
{
        size_t n = 0;

        ret[n++] = 0;
        for (size_t at = 0; at < b->n; at++)
                if (b->p[at] == '\n')
                        ret[n++] = at + 1;
        return n - 1;
}

static bool is_record(const struct bytes *b, size_t line)
{
        return startswith(b->p + line, "{\"seq\":") != NULL;
}

Test(audit, a_removed_record_is_named)
{
        foreach_store (i) {
                size_t line[64], n;
                struct bytes b;

                open_store(i);
                make_site("1");
                b = load("site", 1);
                n = lines_of(&b, line);
                for (size_t l = 0, seq = 0; l < n; l++) {
                        struct bytes cut = {malloc(b.n), b.n - (line[l + 1] - line[l])};
                        struct journal_check check;

                        if (!is_record(&b, line[l])) {
                                free(cut.p);
                                continue;
                        }
                        memcpy(cut.p, b.p, line[l]);
                        memcpy(cut.p + line[l], b.p + line[l + 1], b.n - line[l + 1]);
                        store("site", &cut, 1);
                        check = verdict(NULL, "site");
                        cr_assert_eq(check.fault, FAULT_REMOVED, "line %zu: %u", l + 1, check.fault);
                        cr_assert_eq(check.seq, ++seq);
                        cr_assert_eq(check.line, l + 1);
                        free(cut.p);
                }
                free(b.p);
        }
}

Test(audit, swapped_records_are_named)
{
        foreach_store (i) {
                size_t line[64], n, tried = 0;
                struct bytes all[2];
                char *copy;

                open_store(i);
                make_site("1");
                all[0] = load(stream_a, 1);
                all[1] = load(stream_a, 2);
                n = lines_of(&all[0], line);
                copy = malloc(all[0].n);
                memcpy(copy, all[0].p, all[0].n);
                for (size_t l = 0; l + 1 < n; l++) { /* each with the next one, batches between or not */
                        size_t m = l + 1, a = line[l + 1] - line[l], b, middle;
                        struct journal_check check;

                        while (m < n && !is_record(&all[0], line[m]))
                                m++;
                        if (!is_record(&all[0], line[l]) || m == n)
                                continue;
                        b = line[m + 1] - line[m];
                        middle = line[m] - line[l + 1];
                        memcpy(all[0].p + line[l], copy + line[m], b);
                        memcpy(all[0].p + line[l] + b, copy + line[l + 1], middle);
                        memcpy(all[0].p + line[l] + b + middle, copy + line[l], a);
                        store(stream_a, all, 2);
                        check = verdict(NULL, stream_a);
                        cr_assert_eq(check.fault, FAULT_REORDERED, "line %zu", l + 1);
                        cr_assert_eq(check.line, l + 1);
                        memcpy(all[0].p, copy, all[0].n);
                        tried++;
                }
                cr_assert_geq(tried, 3);
                free(copy);
                free(all[0].p);
                free(all[1].p);
        }
}

/* What is cut off at a seal, nobody can see in a stream alone: the anchor knows it, and of runs that
 * ended the site's stream. */
Test(audit, a_cut_tail_is_found_by_who_knows_the_head)
{
        foreach_store (i) {
                const char *const names[] = {"site", stream_a, stream_b};
                struct anchor anchor;

                open_store(i);
                make_site("1");
                anchor = anchor_now();
                for (unsigned k = 0; k < 3; k++) {
                        struct bytes b = load(names[k], 1);
                        struct bytes second = k ? load(names[k], 2) : (struct bytes){0};
                        size_t line[64], n = lines_of(&b, line), whole = b.n, cuts = 0;

                        for (size_t l = 1; l < n; l++) {
                                struct journal_check check;

                                if (is_record(&b, line[l])) /* behind a seal only */
                                        continue;
                                b.n = line[l + 1] == whole && !k ? line[l] : line[l + 1];
                                if (b.n < whole && b.p[b.n - 2] != '}')
                                        continue;
                                store(names[k], &b, 1);
                                check = verdict(NULL, names[k]);
                                cr_assert_eq(check.fault, k == 1 ? FAULT_TRUNCATED : FAULT_NONE,
                                             "%s cut at %zu: %s", names[k], b.n,
                                             journal_fault_name(check.fault));
                                check = verdict(again(&anchor), names[k]);
                                cr_assert_eq(check.fault, FAULT_TRUNCATED, "%s cut at %zu", names[k], b.n);
                                cuts++;
                        }
                        cr_assert_geq(cuts, 3);
                        b.n = whole;
                        store(names[k], (struct bytes[]){b, second}, k ? 2 : 1);
                        free(b.p);
                        free(second.p);
                }
                anchor_deinit(&anchor);
        }
}

/* What a crash, or a write under way, leaves at the end of a stream is no damage. */
Test(audit, a_torn_tail_is_none)
{
        foreach_store (i) {
                struct bytes all[2];
                size_t whole, line[64], n;

                open_store(i);
                make_site("1");
                all[0] = load(stream_b, 1);
                all[1] = load(stream_b, 2);
                whole = all[1].n;
                n = lines_of(&all[1], line);
                cr_assert_geq(n, 4);
                for (all[1].n = 0; all[1].n < whole; all[1].n++) {
                        struct journal_check check;

                        store(stream_b, all, all[1].n ? 2 : 1);
                        check = verdict(NULL, stream_b);
                        cr_assert_eq(check.fault, FAULT_NONE, "cut at %zu", all[1].n);
                }
                all[1].n = whole;
                memset(all[1].p + line[n - 2] + 3, 0, 20); /* a page of the last batch is missing */
                store(stream_b, all, 2);
                cr_assert_eq(verdict(NULL, stream_b).fault, FAULT_NONE);
                free(all[0].p);
                free(all[1].p);
        }
}

/* Somebody who knows the format writes a history anew, with good seals. */
Test(audit, what_is_sealed_anew_is_found)
{
        foreach_store (i) {
                struct anchor anchor;
                struct bytes forged[2], was[2];
                struct journal_check check;

                open_store(i);
                make_site("1");
                anchor = anchor_now();
                was[0] = load(stream_a, 1);
                was[1] = load(stream_a, 2);

                /* the whole stream of a run that ended */
                cr_assert_eq(journal_remove(j, stream_a), 0);
                make_run(stream_a, "I know well", true, (char[65]){0});
                check = verdict(NULL, stream_a);
                cr_assert_eq(check.fault, FAULT_CHANGED);

                /* one segment in front of the true ones */
                forged[0] = load(stream_a, 1);
                forged[1] = load(stream_a, 2);
                store(stream_a, (struct bytes[]){forged[0], was[1]}, 2);
                check = verdict(NULL, stream_a);
                cr_assert_eq(check.fault, FAULT_CHANGED);
                cr_assert_eq(check.segment, 1, "the forged one, not the one behind it");

                /* the last segment */
                store(stream_a, (struct bytes[]){was[0], forged[1]}, 2);
                check = verdict(NULL, stream_a);
                cr_assert_neq(check.fault, FAULT_NONE);

                /* a run in flight, which only the anchor covers */
                store(stream_a, was, 2);
                cr_assert_eq(journal_remove(j, stream_b), 0);
                make_run(stream_b, "I know well", false, (char[65]){0});
                cr_assert_eq(verdict(NULL, "").fault, FAULT_NONE);
                check = verdict(again(&anchor), stream_b);
                cr_assert_eq(check.fault, FAULT_CHANGED);
                for (unsigned k = 0; k < 2; k++) {
                        free(was[k].p);
                        free(forged[k].p);
                }
                anchor_deinit(&anchor);
        }
}

Test(audit, a_site_that_was_replaced_is_found_by_the_anchor)
{
        foreach_store (i) {
                struct anchor anchor;
                struct stream *s;

                open_store(i);
                make_site("1");
                anchor = anchor_now();
                cr_assert_eq(journal_remove(j, "site"), 0);
                s = opened("site");
                add(s, (struct record){.type = RECORD_SITE, .site = site_id, .format = 2});
                commit(s);
                stream_close(s);
                cr_assert_eq(verdict(NULL, "").fault, FAULT_NONE);
                cr_assert_eq(verdict(again(&anchor), "site").fault, FAULT_TRUNCATED);
                anchor_deinit(&anchor);
        }
}

Test(audit, a_missing_stream_is_named)
{
        foreach_store (i) {
                open_store(i);
                make_site("1");
                cr_assert_eq(journal_remove(j, stream_b), 0);
                cr_assert_eq(verdict(NULL, stream_b).fault, FAULT_REMOVED);
        }
}

/* A record stands for a stream that is gone: only with a signature of this site's key. */
Test(audit, what_was_compacted_is_signed)
{
        foreach_store (i) {
                char path[96], public[SIGNER_PUBLIC], signature[SIGNER_SIGNATURE], head[65];
                _cleanup_(cleanup_signer) struct signer *signer = NULL, *other = NULL;
                _cleanup_(cleanup_buf) struct buf text = BUF_NULL;
                struct record r = {.type = RECORD_COMPACTED, .upto = 8, .count = 6, .who = span_of("{}")};
                struct anchor anchor;
                struct stream *s;
                struct stat st;
                char site[UID_TEXT];

                open_store(i);
                make_site("1");
                anchor = anchor_now();
                snprintf(path, sizeof(path), "%s/key-%zu", folder, i);
                cr_assert_eq(signer_open(path, &signer), 0);
                cr_assert_eq(stat(path, &st), 0);
                cr_assert_eq(st.st_mode & 0777, 0600);
                signer_public(signer, public);
                uid_text(&site_id, site);
                make_run("scratch", "x", true, head);
                r.run = run_a;
                r.head = span_of(head);
                signer_compacted(site, &r, &text);
                cr_assert_eq(signer_sign(signer, text.data, text.n, signature), 0);
                r.signature = span_of(signature);
                cr_assert_eq(journal_remove(j, stream_a), 0);

                s = opened("site");
                add(s, (struct record){.type = RECORD_SIGNER, .public = span_of(public)});
                add(s, r);
                commit(s);
                stream_close(s);
                cr_assert_eq(verdict(again(&anchor), "").fault, FAULT_NONE);

                /* the same key, read again, and another one */
                cr_assert_eq(signer_open(path, &other), 0);
                signer_public(other, public);
                cr_assert(signer_verify(span_of(public), text.data, text.n, r.signature));
                cr_assert(!signer_verify(span_of(public), text.data, text.n - 2, r.signature));
                cr_assert_eq(journal_remove(j, stream_b), 0);
                r.run = run_b; /* with the signature of the other run */
                s = opened("site");
                add(s, (struct record){.type = RECORD_ENDED, .run = run_b, .status = span_of("failed"),
                                       .head = span_of(head)});
                add(s, r);
                commit(s);
                stream_close(s);
                cr_assert_eq(verdict(NULL, stream_b).fault, FAULT_CHANGED);
                cr_assert_eq(chmod(path, 0644), 0);
                signer_close(steal(&other));
                cr_assert_eq(signer_open(path, &other), -EPERM);
                anchor_deinit(&anchor);
        }
}

Test(anchor, what_is_none_is_refused)
{
        static const char *const bad[] = {
                "", "prvng-anchor/1", "prvng-anchor/1 0123456789ABCDEFGHJKMNPQRS", "abc",
                "prvng-anchor/1 0123456789ABCDEFGHJKMNPQRS site:1:zz",
                "prvng-anchor/1 0123456789ABCDEFGHJKMNPQRS "
                "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
                "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
                "prvng-anchor/1 0123456789ABCDEFGHJKMNPQRS "
                "site:0:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        };

        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                struct anchor a = ANCHOR_NULL;

                cr_assert_eq(anchor_add(&a, bad[i]), -EINVAL, "%s", bad[i]);
                anchor_deinit(&a);
        }
}
