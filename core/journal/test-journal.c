/* SPDX-License-Identifier: Apache-2.0 */
/* The journal over the real store `file`: what survives, what is cut, what is refused. */
#include "host/host.h"
#include "journal/journal.h"
#include "journal/state.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/resource.h>
#include <sys/stat.h>

static char folder[] = "/tmp/prvng-journal-XXXXXX";
static char file_name[] = "file", no_config[] = "{}";
static struct config config;
static struct config_plugin file_store;
static struct host *host;
static struct plugins *plugins;
static struct plugin *store;

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        return remove(path);
}

static void setup(void)
{
        char *path = getenv("PRVNG_TEST_STORE");

        cr_assert(path, "PRVNG_TEST_STORE names the store's file");
        cr_assert(mkdtemp(folder));
        file_store = (struct config_plugin){
                .name = file_name, .file = path, .enabled = true, .config = no_config,
                .from = file_name};
        config = (struct config){.state = folder, .cache = folder, .plugin_path = (char *[]){NULL},
                                 .plugins = &file_store, .n_plugins = 1};
        cr_assert_eq(host_new(&config, NULL, &host), 0);
        cr_assert_eq(plugins_load(&config, host, NULL, 0, &plugins), 0);
        store = plugins_find(plugins, "store", "file");
        cr_assert(store && store->state == PLUGIN_READY, "%s", store ? store->reason : "none");
}

static void teardown(void)
{
        plugins_free(plugins);
        host_free(host);
        nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(journal, .init = setup, .fini = teardown);

/* Numbers the records it is given, and looks whether each is its own. */
static int number(void *userdata, const struct record *r, const char *line, size_t n_line)
{
        uint64_t *n = userdata;

        cr_assert_eq(r->seq, ++*n);
        cr_assert_eq(r->task, (uint32_t)*n);
        return 0;
}

static struct journal *opened(bool read_only)
{
        _cleanup_(cleanup_free) char *message = NULL;
        struct journal *j = NULL;

        cr_assert_eq(journal_open(store, folder, read_only, &j, &message), 0, "%s", message);
        return j;
}

static int count(void *userdata, const struct record *r, const char *line, size_t n_line)
{
        uint64_t *n = userdata;

        (*n)++;
        cr_assert_eq(r->seq, *n);
        cr_assert_eq(r->type, RECORD_GONE);
        return 0;
}

/* Opens the stream s, tells how many records it holds, and appends batches of one to three. */
static uint64_t write_batches(unsigned n_batches)
{
        struct journal *j = opened(false);
        struct stream *s = NULL;
        uint64_t n = 0;

        cr_assert_eq(stream_open(j, "s", count, &n, &s), 0, "%s", j->message);
        for (unsigned b = 0; b < n_batches; b++) {
                for (unsigned i = 0; i <= b % 3; i++) {
                        struct record r = {.type = RECORD_GONE, .at = 1732000000000,
                                           .key = span_of("server.a\"b\nc")};

                        stream_append(s, &r);
                }
                cr_assert_eq(stream_commit(s), 0, "%s", j->message);
        }
        stream_close(s);
        journal_close(j);
        return n;
}

static int reopen(uint64_t *ret_n)
{
        struct journal *j = opened(false);
        struct stream *s = NULL;
        int r;

        *ret_n = 0;
        r = stream_open(j, "s", count, ret_n, &s);
        stream_close(s);
        journal_close(j);
        return r;
}

static char *slurp(size_t *ret_n)
{
        char path[256], *data;
        struct stat st;
        int fd;

        snprintf(path, sizeof(path), "%s/streams/s/00000001.jsonl", folder);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        cr_assert(fd >= 0 && fstat(fd, &st) == 0);
        data = malloc((size_t)st.st_size + 1);
        cr_assert_eq(read(fd, data, (size_t)st.st_size), st.st_size);
        close(fd);
        *ret_n = (size_t)st.st_size;
        return data;
}

static void spit(const char *data, size_t n)
{
        char path[256];
        int fd;

        snprintf(path, sizeof(path), "%s/streams/s/00000001.jsonl", folder);
        fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
        cr_assert(fd >= 0);
        cr_assert_eq(write(fd, data, n), (ssize_t)n);
        close(fd);
}

Test(journal, gives_back_what_was_committed)
{
        uint64_t n;

        cr_assert_eq(write_batches(5), 0);
        cr_assert_eq(write_batches(4), 9); /* 1 + 2 + 3 + 1 + 2 */
        cr_assert_eq(reopen(&n), 0);
        cr_assert_eq(n, 16);
}

/* Promise 2: whatever a crash leaves of the last batch, the batches before it are all there and
 * nothing of the last one is. */
Test(journal, cuts_a_torn_tail_anywhere)
{
        _cleanup_(cleanup_free) char *before = NULL, *after = NULL;
        size_t n_before, n_after;
        uint64_t n;

        write_batches(3);
        before = slurp(&n_before);
        write_batches(2);
        after = slurp(&n_after);
        while (n_after > 0 && after[n_after - 1] == 0)
                n_after--;
        /* The second opening wrote batches of one and two records; tear the second of them. */
        for (size_t cut = n_before; cut < n_after; cut++) {
                spit(after, cut);
                cr_assert_eq(reopen(&n), 0);
                cr_assert(n == 6 || n == 7, "cut at %zu: %lu", cut, (unsigned long)n);
        }
        /* A hole of zeros in the last batch with its end in place: written out of order. */
        memset(after + n_after - 60, 0, 20);
        spit(after, n_after);
        cr_assert_eq(reopen(&n), 0);
        cr_assert_eq(n, 7);
}

/* Promise 2: a changed byte with a valid seal behind it is damage, with its place, never a tail. */
Test(journal, refuses_damage_in_the_middle)
{
        _cleanup_(cleanup_free) char *data = NULL;
        struct journal *j;
        size_t n, last;

        write_batches(4);
        data = slurp(&n);
        while (n > 0 && data[n - 1] == 0)
                n--;
        for (last = n - 2; data[last - 1] != '\n';)
                last--; /* the last seal's line ... */
        for (unsigned lines = 0; lines < 2; lines++)
                for (last--; data[last - 1] != '\n';)
                        last--; /* ... and the records of the batch before it */
        for (size_t i = 0; i < last - 200; i += 7) {
                uint64_t records = 0;
                int r;

                data[i] ^= 1;
                spit(data, n);
                j = opened(true);
                r = journal_read(j, "s", count, &records);
                cr_assert_eq(r, JOURNAL_E_DAMAGED, "byte %zu: %d", i, r);
                cr_assert(strstr(j->message, "stream s, segment 1, byte "), "%s", j->message);
                journal_close(j);
                data[i] ^= 1;
        }
}

Test(journal, writes_a_large_plan_in_several_segments)
{
        struct journal *j = opened(false);
        struct stream *s;
        uint64_t n = 0;

        cr_assert_eq(stream_open(j, "plan", NULL, NULL, &s), 0);
        while (s->pending.n < 3u * JOURNAL_SEGMENT_MAX)
                stream_append(s, &(struct record){.type = RECORD_BEGIN, .task = (uint32_t)s->seq + 1,
                                                  .attempt = 1});
        cr_assert_eq(stream_commit(s), 0);
        cr_assert_eq(s->n_pending, 0);
        stream_append(s, &(struct record){.type = RECORD_BEGIN, .task = (uint32_t)s->seq + 1});
        cr_assert_eq(stream_commit(s), 0);
        cr_assert_geq(s->segment, 3);
        cr_assert_eq(journal_read(j, "plan", number, &n), 0, "%s", j->message);
        cr_assert_eq(n, s->seq);
        stream_close(s);
        journal_close(j);
}

/* Damage in one of them is found, and names its segment. */
Test(journal, finds_damage_in_a_large_plan)
{
        _cleanup_(cleanup_free) char *path = NULL;
        struct journal *j = opened(false);
        struct stream *s;
        uint64_t n = 0;
        int fd;

        cr_assert_eq(stream_open(j, "plan", NULL, NULL, &s), 0);
        while (s->pending.n < 2u * JOURNAL_SEGMENT_MAX)
                stream_append(s, &(struct record){.type = RECORD_BEGIN, .task = (uint32_t)s->seq + 1,
                                                  .attempt = 1});
        cr_assert_eq(stream_commit(s), 0);
        stream_close(s);
        cr_assert_gt(asprintf(&path, "%s/streams/plan/00000001.jsonl", folder), 0);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        cr_assert_geq(fd, 0);
        cr_assert_eq(pwrite(fd, "7", 1, 9 << 20), 1); /* in the third batch */
        close(fd);
        cr_assert_eq(journal_read(j, "plan", number, &n), JOURNAL_E_DAMAGED);
        cr_assert(strstr(j->message, "segment 1,"), "%s", j->message);
        cr_assert_gt(n, 0, "what stands before it was given");
        cr_assert_lt(n, 9u << 20);
        journal_close(j);
}

Test(journal, one_writer_only)
{
        _cleanup_(cleanup_free) char *message = NULL;
        struct plugins *other_plugins = NULL;
        struct plugin *other;
        struct journal *j, *second = NULL;
        char pid[32];

        j = opened(false);
        cr_assert_eq(plugins_load(&config, host, NULL, 0, &other_plugins), 0);
        other = plugins_find(other_plugins, "store", "file");
        cr_assert_eq(journal_open(other, folder, false, &second, &message), JOURNAL_E_BUSY);
        snprintf(pid, sizeof(pid), "pid %ld on host ", (long)getpid());
        cr_assert(strstr(message, pid), "%s", message);
        journal_close(j);
        j = opened(false);
        cr_assert_eq(j->epoch, 2);
        journal_close(j);
        plugins_free(other_plugins);
}

/* What the writer writes, the reader reads: every member of every type. */
Test(record, round_trip_of_all_types)
{
        for (unsigned type = 0; type < N_RECORD_TYPES; type++) {
                _cleanup_(cleanup_buf) struct buf a = BUF_NULL, b = BUF_NULL;
                struct record_scratch scratch = RECORD_SCRATCH_NULL;
                struct record r = {.type = type, .seq = 7, .at = 1732000000123};
                struct record back;
                size_t column = 0;

                /* Fill every span that a table could use with text that needs escapes where strings
                 * are allowed; JSON members get valid JSON. */
                for (struct span *s = &r.id; s <= &r.signature; s++)
                        *s = span_of("a \"b\" \\ \n \t \x01 ü");
                for (struct span *s = &r.who; s <= &r.notices; s++)
                        *s = span_of("{\"x\":[1,{\"y\":\"}],\\\"\"}],\"z\":null}");
                r.task = r.attempt = r.operation = r.lane = r.count = 3;
                r.n_tasks = r.n_deps = r.format = r.pid = r.implied = 1;
                r.answer = -2;
                r.effect = 1;
                r.after = -5;
                r.changed = r.at;
                r.epoch = UINT64_MAX;
                uid_random(&r.op_id);
                uid_random(&r.run);
                uid_random(&r.site);
                record_write(&a, &r);
                cr_assert_eq(record_read(a.data, a.n - 1, &scratch, &back, &column), 0,
                             "%s at %zu", a.data, column);
                record_write(&b, &back);
                cr_assert_str_eq(a.data, b.data);
                cr_assert_lt(record_read(a.data, a.n - 2, &scratch, &back, &column), 0);
                record_scratch_deinit(&scratch);
        }
}

static void apply(struct run *run, struct site *site, struct record r)
{
        static uint64_t seq;

        r.seq = ++seq;
        r.at = 1732000000000;
        cr_assert_eq(run_apply(run, site, &r), 0, "%s", record_type_name(r.type));
}

static struct run *diamond(struct site *site)
{
        struct run *run = run_new();
        static const char *const deps[] = {"", "[0]", "[0]", "[1,2]"};

        apply(run, site, (struct record){.type = RECORD_RUN, .name = span_of("w"),
                                         .max_attempts = 3});
        apply(run, site, (struct record){.type = RECORD_LANE, .plugin = span_of("provider/x")});
        apply(run, site,
              (struct record){.type = RECORD_OPERATION, .id = span_of("op"),
                              .verb = span_of("create"), .target = span_of("server"),
                              .on_failure = span_of("continue"), .timeout = 5});
        for (unsigned i = 0; i < 4; i++) {
                char id[8] = {'o', 'p', '/', (char)('a' + i), 0}, key[16];

                snprintf(key, sizeof(key), "server.%c", 'a' + (int)i);
                apply(run, site,
                      (struct record){.type = RECORD_TASK, .id = span_of(id), .key = span_of(key),
                                      .verb = span_of("create"), .deps = span_of(deps[i]),
                                      .doc = span_of("{\"kind\":\"server\",\"spec\":{\"cpu\":1}}")});
        }
        apply(run, site, (struct record){.type = RECORD_PLANNED, .n_tasks = 4, .n_deps = 4});
        return run;
}

static void finish(struct run *run, struct site *site, uint32_t task, bool good)
{
        apply(run, site, (struct record){.type = RECORD_INTENT, .task = task,
                                         .request = span_of("{}")});
        apply(run, site,
              (struct record){.type = good ? RECORD_DONE : RECORD_FAILED, .task = task,
                              .answer = good ? 0 : -3, .outputs = span_of("{\"o\":1}"),
                              .message = span_of("broken")});
}

/* What a task waits for comes back from its line, whatever the expression holds. */
Test(fold, keeps_what_a_task_waits_for)
{
        static const char waits[] = "[{\"on\":\"server.a\",\"until\":\"outputs.x == '\\\"}]' \"}]";
        static const char *const uses[] = {"[\"server.a\"]", ""};
        _cleanup_(cleanup_buf) struct buf line = BUF_NULL;
        struct record_scratch scratch = RECORD_SCRATCH_NULL;
        struct site site = SITE_NULL;
        struct run *run = diamond(&site);
        struct record r;

        cr_assert_null(task_waits(run, &run->tasks[3]));
        run_unload(run);
        apply(run, &site, (struct record){.type = RECORD_LANE, .plugin = span_of("provider/x")});
        apply(run, &site,
              (struct record){.type = RECORD_OPERATION, .id = span_of("op"),
                              .verb = span_of("create"), .target = span_of("server"),
                              .on_failure = span_of("fail"), .timeout = 5});
        for (unsigned i = 0; i < 2; i++) {
                buf_clear(&line);
                record_write(&line, &(struct record){
                        .type = RECORD_TASK, .id = span_of("op/b"), .key = span_of("server.b"),
                        .verb = span_of("create"), .uses = span_of(uses[i]),
                        .waits = span_of(waits), .doc = span_of("{\"spec\":{}}")});
                cr_assert_eq(record_read(line.data, line.n - 1, &scratch, &r, NULL), 0, "%s",
                             line.data);
                apply(run, &site, r);
                cr_assert_str_eq(task_waits(run, &run->tasks[i]), waits);
                cr_assert_str_eq(task_id(run, &run->tasks[i]), "op/b");
        }
        record_scratch_deinit(&scratch);
        run_free(run);
        site_deinit(&site);
}

Test(fold, readiness_follows_the_edges)
{
        struct site site = SITE_NULL;
        struct run *run = diamond(&site);

        cr_assert_eq(run->n_by_status[TASK_READY], 1);
        finish(run, &site, 0, true);
        cr_assert_eq(run->n_by_status[TASK_READY], 2);
        finish(run, &site, 2, true);
        cr_assert_eq(run->tasks[3].status, TASK_WAITING);
        finish(run, &site, 1, true);
        cr_assert_eq(run->tasks[3].status, TASK_READY);
        finish(run, &site, 3, true);
        cr_assert_eq(run->unsettled, 0);
        cr_assert_str_eq(inventory_get(&site.inventory, "server.d")->spec, "{\"cpu\":1}");
        cr_assert_str_eq(inventory_get(&site.inventory, "server.d")->outputs, "{\"o\":1}");
        run_free(run);
        site_deinit(&site);
}

Test(fold, what_depends_on_a_failure_is_skipped)
{
        struct site site = SITE_NULL;
        struct run *run = diamond(&site);

        finish(run, &site, 0, true);
        finish(run, &site, 1, false);
        cr_assert_eq(run->tasks[3].status, TASK_WAITING, "task 2 has not ended");
        finish(run, &site, 2, true);
        cr_assert_eq(run->tasks[3].status, TASK_SKIPPED);
        cr_assert_eq(run->unsettled, 0);
        cr_assert_str_eq(run_note(run, 1)->message, "broken");
        cr_assert_null(inventory_get(&site.inventory, "server.b"));
        run_free(run);
        site_deinit(&site);
}

/* A resource of the site stream, as a run that ended leaves it. */
static void made(struct site *site, const char *key, const char *builds_on)
{
        struct record r = {.type = RECORD_RESOURCE, .key = span_of(key), .workflow = span_of("w"),
                           .plugin = span_of("provider/x"), .spec = span_of("{}"),
                           .outputs = span_of("{}"), .builds_on = span_of(builds_on)};

        cr_assert_eq(site_apply(site, &r), 0);
}

/* The site stream alone must tell what the run's stream told: destroy has no task for a taskserv. */
Test(fold, what_stands_on_a_server_is_gone_with_it)
{
        struct site site = SITE_NULL;
        struct record gone = {.type = RECORD_GONE, .key = span_of("server.a")};

        made(&site, "server.a", "");
        made(&site, "server.ab", "");
        made(&site, "taskserv.x@a", "server.a");
        made(&site, "taskserv.y@a", "taskserv.x@a server.a");
        made(&site, "taskserv.x@ab", "server.ab");
        cr_assert_eq(site_apply(&site, &gone), 0);
        cr_assert_null(inventory_get(&site.inventory, "server.a"));
        cr_assert_null(inventory_get(&site.inventory, "taskserv.x@a"));
        cr_assert_null(inventory_get(&site.inventory, "taskserv.y@a"));
        cr_assert(inventory_get(&site.inventory, "taskserv.x@ab"));
        cr_assert_eq(inventory_get(&site.inventory, "server.ab")->n_on, 1);
        site_deinit(&site);
}

/* Found by the simulator: a workflow that was destroyed took the servers of others along. */
Test(fold, a_server_is_not_gone_with_its_network)
{
        struct site site = SITE_NULL;
        struct record gone = {.type = RECORD_GONE, .key = span_of("network.private@p")};

        made(&site, "network.private@p", "");
        made(&site, "server.a", "network.private@p");
        cr_assert_eq(site_apply(&site, &gone), 0);
        cr_assert_null(inventory_get(&site.inventory, "network.private@p"));
        cr_assert(inventory_get(&site.inventory, "server.a"));
        site_deinit(&site);
}

/* Promise 5: only what an op id caused is ever undone. */
Test(fold, what_was_found_has_no_op_id)
{
        struct site site = SITE_NULL;

        made(&site, "server.a", "");
        cr_assert_str_eq(inventory_get(&site.inventory, "server.a")->op_id, "");
        site_deinit(&site);
}

/* A stream that cannot be looked at is not an empty one, to be begun anew. */
Test(journal, does_not_take_a_stream_for_empty_without_looking)
{
        struct rlimit before, none;
        struct stream *s = NULL;
        struct journal *j;
        uint64_t n = 0;
        int r;

        write_batches(1);
        j = opened(false);
        cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
        for (rlim_t room = 0; room < 3; room++) { /* descriptors left: each step of looking fails once */
                int lowest = dup(0);

                close(lowest);
                none = (struct rlimit){.rlim_cur = (rlim_t)lowest + room, .rlim_max = before.rlim_max};
                cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
                r = stream_open(j, "s", count, &n, &s);
                cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
                cr_assert_neq(r, 0, "with room for %u", (unsigned)room);
        }
        journal_close(j);
        cr_assert_eq(reopen(&n), 0);
        cr_assert_eq(n, 1);
}

static ino_t segment_inode(const char *stream)
{
        char path[256];
        struct stat st;

        snprintf(path, sizeof(path), "%s/streams/%s/00000001.jsonl", folder, stream);
        cr_assert_eq(stat(path, &st), 0);
        return st.st_ino;
}

/* The store keeps so many segments open, no more; what it closed it must not copy to go on with. */
Test(journal, appends_to_more_streams_than_it_keeps_open)
{
        enum { N = 40 };
        struct journal *j = opened(false);
        struct stream *s[N];
        ino_t before[N];
        char name[16];

        for (unsigned i = 0; i < N; i++) {
                snprintf(name, sizeof(name), "s%u", i);
                cr_assert_eq(stream_open(j, name, NULL, NULL, &s[i]), 0);
        }
        for (unsigned round = 0; round < 3; round++)
                for (unsigned i = 0; i < N; i++) {
                        struct record r = {.type = RECORD_GONE, .key = span_of("server.a")};

                        stream_append(s[i], &r);
                        cr_assert_eq(stream_commit(s[i]), 0, "%s", j->message);
                        if (!round)
                                before[i] = segment_inode(s[i]->name);
                        cr_assert_eq(before[i], segment_inode(s[i]->name), "copied");
                }
        for (unsigned i = 0; i < N; i++) {
                uint64_t n = 0;

                cr_assert_eq(journal_read(j, s[i]->name, count, &n), 0, "%s", j->message);
                cr_assert_eq(n, 3);
                stream_close(s[i]);
        }
        journal_close(j);
}

/* What a site went through that no run did: moved to another store, restored, a run compacted. */
Test(fold, what_happened_to_the_site)
{
        struct record records[] = {
                {.type = RECORD_SITE, .format = 2},
                {.type = RECORD_ACCEPTED, .name = span_of("w"), .kind = span_of("batch"),
                 .store = span_of("file"), .stream = span_of("run-x"), .who = span_of("{}"),
                 .claims = span_of("[\"server.a\"]")},
                {.type = RECORD_MIGRATED, .from = span_of("rkvs"), .to = span_of("postgres")},
                {.type = RECORD_MIGRATED, .from = span_of("file"), .to = span_of("rkvs")},
                {.type = RECORD_RESTORED, .file = span_of("b"), .who = span_of("{}")},
        };
        struct record compacted = {.type = RECORD_COMPACTED, .upto = 9};
        struct record ended = {.type = RECORD_ENDED, .status = span_of("failed")};
        struct record engine = {.type = RECORD_ENGINE, .epoch = 3};
        struct site site = SITE_NULL;

        for (size_t i = 0; i < N_ELEMENTS(records); i++)
                cr_assert_eq(site_apply(&site, &records[i]), 0, "%zu", i);
        cr_assert_str_eq(site.runs[0]->store, "rkvs");
        cr_assert(site.restored);
        cr_assert_eq(site_apply(&site, &engine), 0);
        cr_assert(!site.restored, "an engine took over, and has paused what was in flight");
        cr_assert_lt(site_apply(&site, &compacted), 0, "the run has not ended");
        cr_assert_eq(site_apply(&site, &ended), 0);
        cr_assert_eq(site_apply(&site, &compacted), 0);
        cr_assert(site.runs[0]->compacted);
        site_deinit(&site);
}

static void accept(struct site *site, uint8_t id, const char *name, const char *claims, const char *shares)
{
        struct record r = {.type = RECORD_ACCEPTED, .run = {.bytes = {id}}, .name = span_of(name),
                           .kind = span_of("batch"), .store = span_of("file"), .stream = span_of(name),
                           .who = span_of("{}"), .claims = span_of(claims), .shares = span_of(shares)};

        cr_assert_eq(site_apply(site, &r), 0);
}

static void end(struct site *site, uint8_t id)
{
        struct record r = {.type = RECORD_ENDED, .run = {.bytes = {id}}, .status = span_of("failed")};

        cr_assert_eq(site_apply(site, &r), 0);
}

/* Who shares a claim gets it when the one before ends, in the order of acceptance; nothing is left of it
 * in the end. */
Test(fold, shared_claims_are_handed_over)
{
        struct site site = SITE_NULL;
        const struct resource *r;
        struct record twice = {.type = RECORD_CLAIM, .run = {.bytes = {3}}, .claims = span_of("[]"),
                               .shares = span_of("[\"network.n@x\"]")};
        struct record stolen = {.type = RECORD_CLAIM, .run = {.bytes = {3}},
                                .claims = span_of("[\"network.n@x\"]")};

        accept(&site, 1, "one", "[\"network.n@x\",\"server.a\"]", "");
        accept(&site, 2, "two", "[\"server.b\"]", "[\"network.n@x\"]");
        accept(&site, 3, "three", "[\"server.c\"]", "[\"network.n@x\"]");
        cr_assert_eq(site_apply(&site, &twice), 0, "once is enough");
        cr_assert_lt(site_apply(&site, &stolen), 0, "it is another run's");
        r = inventory_get(&site.inventory, "network.n@x");
        cr_assert_str_eq(r->claim_workflow, "one");
        cr_assert_eq(r->n_sharers, 2);
        cr_assert_str_eq(site_sharer(&site, r)->name, "two");
        end(&site, 1);
        cr_assert_str_eq(r->claim_workflow, "two");
        cr_assert_eq(r->n_sharers, 1);
        cr_assert_null(inventory_get(&site.inventory, "server.a"));
        accept(&site, 4, "four", "[]", "[\"network.n@x\",\"network.free@x\"]");
        cr_assert_str_eq(inventory_get(&site.inventory, "network.free@x")->claim_workflow, "four",
                         "nobody else claims it");
        end(&site, 3); /* it never got it */
        end(&site, 2);
        cr_assert_str_eq(r->claim_workflow, "four");
        cr_assert_eq(r->n_sharers, 0);
        end(&site, 4);
        cr_assert_eq(site.inventory.by_key.n, 0, "something is left");
        site_deinit(&site);
}
