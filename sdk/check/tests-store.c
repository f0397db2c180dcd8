/* SPDX-License-Identifier: Apache-2.0 */
/* Stores: the promises S1 to S4 of prvng/kind/store.h, and what they rest on. */
#include "drive.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* One opened store and how its last call ended. */
struct held {
        struct subject s;
        struct act a;
        uint64_t epoch;
        char place[128];
};

static void call_begin(struct held *h, const char *what)
{
        act_deinit(&h->a);
        act_init(&h->a, &h->s, NULL, 1, 60000);
        h->a.what = what;
        h->a.call.reply = &h->a.reply;
        h->a.result = SINK(&h->a.reply.result, UINT64_C(1) << 30);
        check_step(h->s.check, "%s of the store", what);
}

static int32_t call_end(struct held *h, int32_t answer)
{
        if (!class_is_known(answer) || answer > 0)
                check_fail(h->s.check, "%s answered %s", h->a.what, class_name(answer));
        else if (answer < 0 && (!h->a.call.said || h->a.call.said_class != answer))
                check_fail(h->s.check, "%s answered %s without an error record of that class", h->a.what,
                           class_name(answer));
        return answer;
}

#define CALL(h, what, expression) (call_begin(h, what), call_end(h, (h)->s.store.expression))

static int32_t open_at(struct held *h, const char *place, uint32_t flags)
{
        return CALL(h, "open", open(h->s.instance, &h->a.call.pub, place, flags, &h->epoch));
}

static int32_t append(struct held *h, const char *stream, uint32_t segment, const void *data, size_t n)
{
        return CALL(h, "append", append(h->s.instance, &h->a.call.pub, stream, segment, data, n, h->epoch));
}

static int32_t recover_to(struct held *h, const char *stream, uint32_t segment, uint64_t n)
{
        return CALL(h, "recover", recover(h->s.instance, &h->a.call.pub, stream, segment, n, h->epoch));
}

static int32_t read_from(struct held *h, const char *stream, uint32_t segment, uint64_t offset)
{
        return CALL(h, "read", read(h->s.instance, &h->a.call.pub, stream, segment, offset, &h->a.result));
}

static int32_t put(struct held *h, const char *stream, const void *data, size_t n)
{
        return CALL(h, "snapshot_put", snapshot_put(h->s.instance, &h->a.call.pub, stream, data, n, h->epoch));
}

static int32_t get(struct held *h, const char *stream)
{
        return CALL(h, "snapshot_get", snapshot_get(h->s.instance, &h->a.call.pub, stream, &h->a.result));
}

static int32_t remove_stream(struct held *h, const char *stream)
{
        return CALL(h, "remove", remove(h->s.instance, &h->a.call.pub, stream, h->epoch));
}

static void start(struct check *c, struct held *h)
{
        *h = (struct held){.a = {.reply = OP_REPLY_NULL, .call = {.cancel_fd = -1}}};
        subject_start(c, &h->s);
        snprintf(h->place, sizeof(h->place), "%s/store", c->folder);
        if (mkdir(h->place, 0700) < 0 && errno != EEXIST)
                check_stop(c, "%s: %s", h->place, strerror(errno));
}

static void start_open(struct check *c, struct held *h)
{
        start(c, h);
        if (open_at(h, h->place, 0) != PRVNG_DONE)
                check_stop(c, "open failed: %s", h->a.reply.message ?: "");
}

static void stop(struct held *h)
{
        check_step(h->s.check, "close of the store");
        h->s.store.close(h->s.instance);
        act_deinit(&h->a);
        subject_stop(&h->s);
}

static void want(struct held *h, int32_t answer, int32_t wanted, const char *what)
{
        if (answer != wanted)
                check_fail(h->s.check, "%s is answered %s (%s), it should be %s", what, class_name(answer),
                           h->a.reply.message ?: "", class_name(wanted));
}

/* Known bytes: what stands at `offset` of a stream that nobody wrote otherwise. */
static void bytes(struct buf *b, size_t offset, size_t n)
{
        for (size_t i = offset; i < offset + n; i++)
                buf_putc(b, (char)(1 + i * 2654435761u / 65536 % 255));
}

static void holds(struct held *h, const char *stream, uint32_t segment, const struct buf *wanted)
{
        const struct buf *got = &h->a.reply.result;

        want(h, read_from(h, stream, segment, 0), PRVNG_DONE, "read of what was appended");
        if (got->n != wanted->n || (got->n && memcmp(got->data, wanted->data, got->n) != 0))
                check_fail(h->s.check, "segment %u of %s holds %zu bytes, %zu were appended%s", segment, stream, got->n,
                           wanted->n, got->n == wanted->n ? ", and others" : "");
}

/* --- what is there --- */

static void test_appends(struct check *c)
{
        _cleanup_(cleanup_buf) struct buf all = BUF_NULL;
        struct held h;

        start_open(c, &h);
        for (size_t i = 0, n = 1; i < 24; i++, n = n * 2 % 70001 + 1) {
                size_t from = all.n;

                bytes(&all, from, n);
                want(&h, append(&h, "site", 1, all.data + from, n), PRVNG_DONE, "append");
        }
        holds(&h, "site", 1, &all);
        want(&h, read_from(&h, "site", 1, 100), PRVNG_DONE, "read from the middle");
        if (h.a.reply.result.n != all.n - 100 || memcmp(h.a.reply.result.data, all.data + 100, all.n - 100) != 0)
                check_fail(c, "read from byte 100 gives other bytes than were appended there");
        want(&h, read_from(&h, "site", 2, 0), PRVNG_NOT_FOUND, "read of a segment that there is not");
        want(&h, read_from(&h, "sit", 1, 0), PRVNG_NOT_FOUND, "read of a stream that there is not");
        want(&h, append(&h, "site", 2, "second", 6), PRVNG_DONE, "append to the next segment");
        want(&h, append(&h, "run-1", 1, "other", 5), PRVNG_DONE, "append to another stream");
        h.s.store.close(h.s.instance);
        want(&h, open_at(&h, h.place, 0), PRVNG_DONE, "open again");
        holds(&h, "site", 1, &all);
        stop(&h);
}

static void test_streams(struct check *c)
{
        const json_t *e, *list;
        struct held h;
        json_t *o = NULL;
        size_t i;

        start_open(c, &h);
        append(&h, "site", 1, "abc", 3);
        append(&h, "site", 2, "defg", 4);
        append(&h, "run-1", 1, "x", 1);
        append(&h, "run-2", 1, "x", 1);
        want(&h, remove_stream(&h, "run-2"), PRVNG_DONE, "remove");
        h.s.store.close(h.s.instance); /* a writer may keep room ahead */
        want(&h, open_at(&h, h.place, PRVNG_STORE_READ_ONLY), PRVNG_DONE, "open to read only");
        want(&h, CALL(&h, "streams", streams(h.s.instance, &h.a.call.pub, &h.a.result)), PRVNG_DONE, "streams");
        json_parse(h.a.reply.result.data, h.a.reply.result.n, &o, NULL);
        list = json_object_get(o, "streams");
        if (json_array_size(list) != 2)
                check_fail(c, "streams() lists %zu streams, there are 2", json_array_size(list));
        json_array_foreach (list, i, e)
                if (streq(json_get_string(e, "name", ""), "site") &&
                    (json_get_int(e, "first", 0) != 1 || json_get_int(e, "last", 0) != 2 ||
                     json_get_int(e, "bytes", 0) != 7))
                        check_fail(c, "streams() says first, last, bytes of a stream that has 1, 2, 7 otherwise");
        json_decref(o);
        stop(&h);
}

static void test_names(struct check *c)
{
        static const char *const bad[] = {"",     ".",    "..",     "../x", "a/b", "/etc/x", "Site", "-x",
                                          "a b",  "a\nb", "a\"b",   "_x",   ".x",
                                          "0123456789012345678901234567890123456789012345678901234567890123x"};
        static const char *const good[] = {"a", "0", "run-01JD0000000000000000000001", "z-_.Z9", "a..b",
                                           "0123456789012345678901234567890123456789012345678901234567890123"};
        struct held h;

        start_open(c, &h);
        for (size_t i = 0; i < N_ELEMENTS(bad); i++)
                if (append(&h, bad[i], 1, "x", 1) == PRVNG_DONE || put(&h, bad[i], "x", 1) == PRVNG_DONE)
                        check_fail(c, "takes the stream name \"%s\", which is none", bad[i]);
        for (size_t i = 0; i < N_ELEMENTS(good); i++)
                if (append(&h, good[i], 1, "x", 1) != PRVNG_DONE)
                        check_fail(c, "refuses the stream name \"%s\"", good[i]);
        stop(&h);
}

static void test_snapshots(struct check *c)
{
        _cleanup_(cleanup_buf) struct buf large = BUF_NULL;
        struct held h;

        start_open(c, &h);
        want(&h, append(&h, "site", 1, "x", 1), PRVNG_DONE, "append");
        want(&h, get(&h, "site"), PRVNG_NOT_FOUND, "snapshot_get where there is none");
        bytes(&large, 0, 3 << 20);
        want(&h, put(&h, "site", large.data, large.n), PRVNG_DONE, "snapshot_put");
        want(&h, put(&h, "site", "second", 6), PRVNG_DONE, "snapshot_put in the place of another");
        h.s.store.close(h.s.instance);
        want(&h, open_at(&h, h.place, 0), PRVNG_DONE, "open again");
        want(&h, get(&h, "site"), PRVNG_DONE, "snapshot_get");
        if (!streq(buf_str(&h.a.reply.result), "second"))
                check_fail(c, "snapshot_get gives something else than was put last");
        want(&h, remove_stream(&h, "site"), PRVNG_DONE, "remove");
        want(&h, get(&h, "site"), PRVNG_NOT_FOUND, "snapshot_get after remove");
        stop(&h);
}

/* --- S3: one writer --- */

static void test_epochs(struct check *c)
{
        uint64_t last = 0;
        struct held h;

        start(c, &h);
        for (int i = 0; i < 4; i++) {
                want(&h, open_at(&h, h.place, 0), PRVNG_DONE, "open");
                if (h.epoch <= last)
                        check_fail(c, "S3: opening for writing gives the epoch %llu after %llu",
                                   (unsigned long long)h.epoch, (unsigned long long)last);
                last = h.epoch;
                for (int d = -1; d <= 1; d += 2) {
                        h.epoch = last + (uint64_t)(int64_t)d;
                        want(&h, append(&h, "site", 1, "x", 1), PRVNG_CONFLICT, "S3: append with another epoch");
                        want(&h, recover_to(&h, "site", 1, 0), PRVNG_CONFLICT, "S3: recover with another epoch");
                        want(&h, put(&h, "site", "x", 1), PRVNG_CONFLICT, "S3: snapshot_put with another epoch");
                        want(&h, remove_stream(&h, "site"), PRVNG_CONFLICT, "S3: remove with another epoch");
                }
                h.epoch = last;
                want(&h, append(&h, "site", 1, "x", 1), PRVNG_DONE, "append with the store's own epoch");
                h.s.store.close(h.s.instance);
                want(&h, open_at(&h, h.place, PRVNG_STORE_READ_ONLY), PRVNG_DONE, "open to read only");
                if (h.epoch != last)
                        check_fail(c, "S3: a reader gets the epoch %llu, the last writer had %llu",
                                   (unsigned long long)h.epoch, (unsigned long long)last);
                h.s.store.close(h.s.instance);
        }
        act_deinit(&h.a);
        subject_stop(&h.s);
}

static void is_refused(struct check *c, void *userdata)
{
        char pid[32];
        struct held h;

        start(c, &h);
        want(&h, open_at(&h, h.place, 0), PRVNG_CONFLICT, "S3: open beside a writer");
        snprintf(pid, sizeof(pid), "%d", *(int *)userdata);
        if (h.a.reply.message && !strstr(h.a.reply.message, pid))
                check_fail(c, "who holds the store is not said: \"%s\" lacks its pid %s", h.a.reply.message, pid);
        want(&h, open_at(&h, h.place, PRVNG_STORE_READ_ONLY), PRVNG_DONE, "open to read only beside a writer");
        want(&h, append(&h, "site", 1, "x", 1), PRVNG_CONFLICT, "append by who opened to read only");
        want(&h, remove_stream(&h, "site"), PRVNG_CONFLICT, "remove by who opened to read only");
        want(&h, put(&h, "site", "x", 1), PRVNG_CONFLICT, "snapshot_put by who opened to read only");
        h.s.store.close(h.s.instance);
}

static void test_one_writer(struct check *c)
{
        int *pid = (int *)(void *)ledger_new(c)->task; /* shared */
        int pipes[2];
        char byte;
        struct held h;
        pid_t other;

        if (pipe2(pipes, O_CLOEXEC) < 0)
                check_stop(c, "no pipe");
        *pid = -1;
        __atomic_add_fetch(&c->shared->may_fork, 1, __ATOMIC_SEQ_CST);
        other = fork();
        if (other == 0) { /* the writer, until it is killed */
                start_open(c, &h);
                append(&h, "site", 1, "mine", 4);
                *pid = getpid();
                if (write(pipes[1], "x", 1) == 1)
                        pause();
                _exit(1);
        }
        close(pipes[1]);
        if (read(pipes[0], &byte, 1) != 1)
                check_stop(c, "the writer did not come up: %s", c->shared->step);
        in_child(c, -1, is_refused, pid);
        kill(other, SIGKILL);
        waitpid(other, NULL, 0);
        __atomic_store_n(&c->shared->may_fork, 0, __ATOMIC_SEQ_CST);
        start_open(c, &h); /* a dead writer holds nothing */
        want(&h, read_from(&h, "site", 1, 0), PRVNG_DONE, "read of what a writer that died had appended");
        if (!streq(buf_str(&h.a.reply.result), "mine"))
                check_fail(c, "S2: what was appended by a writer that died is not there");
        stop(&h);
}

/* --- S1, S2, S4 --- */

static void test_recover(struct check *c)
{
        static const size_t cuts[] = {99999, 65536, 40000, 4097, 4096, 4095, 17, 1, 0};
        _cleanup_(cleanup_buf) struct buf all = BUF_NULL;
        struct held h;

        bytes(&all, 0, 100000);
        start_open(c, &h);
        want(&h, append(&h, "site", 1, all.data, all.n), PRVNG_DONE, "append");
        for (size_t i = 0; i < N_ELEMENTS(cuts); i++) {
                h.s.store.close(h.s.instance);
                want(&h, open_at(&h, h.place, 0), PRVNG_DONE, "open again");
                want(&h, recover_to(&h, "site", 1, cuts[i]), PRVNG_DONE, "recover");
                all.n = cuts[i];
                holds(&h, "site", 1, &all);
                want(&h, append(&h, "site", 1, "new", 3), PRVNG_DONE, "append after recover");
                buf_append(&all, "new", 3);
                holds(&h, "site", 1, &all);
        }
        stop(&h);
}

struct writing {
        uint32_t acknowledged; /* batches */
        uint32_t segment_bytes;
};

#define BATCH(i) (1 + (size_t)(i) * 7919 % 9000)

static void write_on(struct check *c, void *userdata)
{
        struct writing *w = userdata;
        size_t offset = 0;
        struct held h;

        start_open(c, &h);
        want(&h, read_from(&h, "site", 1, 0), PRVNG_DONE, "read");
        for (uint32_t i = 0; i < w->acknowledged; i++)
                offset += BATCH(i);
        want(&h, recover_to(&h, "site", 1, offset), PRVNG_DONE, "recover");
        for (;;) {
                struct buf b = BUF_NULL;

                bytes(&b, offset, BATCH(w->acknowledged));
                if (append(&h, "site", 1, b.data, b.n) != PRVNG_DONE)
                        check_stop(c, "append failed: %s", h.a.reply.message ?: "");
                offset += b.n;
                __atomic_add_fetch(&w->acknowledged, 1, __ATOMIC_SEQ_CST);
                buf_deinit(&b);
        }
}

/* Killed soon, but not before it wrote anything, which a busy machine may need longer for. */
static void killed_at_work(struct check *c, struct writing *w)
{
        uint32_t before = w->acknowledged;

        for (int64_t us = 5000 + (int64_t)check_below(c, 60000); us < 1000000; us *= 2) {
                in_child(c, us, write_on, w);
                if (w->acknowledged > before)
                        return;
        }
}

/* A writer is killed again and again; what it was told is durable must be there each time. */
static void test_killed(struct check *c)
{
        struct writing *w = (struct writing *)(void *)ledger_new(c)->task;
        struct held h;

        start_open(c, &h);
        want(&h, append(&h, "site", 1, NULL, 0), PRVNG_DONE, "append of nothing");
        bytes(&h.a.reply.token, 0, BATCH(0));
        want(&h, CALL(&h, "streams", streams(h.s.instance, &h.a.call.pub, &h.a.result)), PRVNG_DONE, "streams");
        h.s.store.close(h.s.instance);
        for (int round = 0; round < 12; round++) {
                _cleanup_(cleanup_buf) struct buf sure = BUF_NULL, maybe = BUF_NULL;
                const struct buf *got = &h.a.reply.result;

                killed_at_work(c, w);
                for (uint32_t i = 0; i < w->acknowledged; i++)
                        bytes(&sure, sure.n, BATCH(i));
                bytes(&maybe, sure.n, BATCH(w->acknowledged));
                want(&h, open_at(&h, h.place, PRVNG_STORE_READ_ONLY), PRVNG_DONE, "open after a crash");
                want(&h, read_from(&h, "site", 1, 0), PRVNG_DONE, "read after a crash");
                if (got->n < sure.n || memcmp(got->data, sure.data, sure.n) != 0)
                        check_fail(c, "S2: after a crash %zu bytes are there, or others; %zu were durable", got->n,
                                   sure.n);
                for (size_t i = sure.n; i < got->n; i++)
                        if (i - sure.n >= maybe.n ? got->data[i] != 0
                                                  : got->data[i] && got->data[i] != maybe.data[i - sure.n]) {
                                check_fail(c, "S2: after a crash byte %zu is none that was appended", i);
                                break;
                        }
                h.s.store.close(h.s.instance);
                if (c->failed)
                        break;
        }
        act_deinit(&h.a);
        subject_stop(&h.s);
}

static void fill_up(struct check *c, void *userdata)
{
        static char block[256 << 10];
        struct held h;
        int32_t answer = PRVNG_DONE;
        unsigned int n = 0;

        signal(SIGXFSZ, SIG_IGN);
        start_open(c, &h);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){8 << 20, 8 << 20});
        memset(block, 'x', sizeof(block));
        while (answer == PRVNG_DONE && n++ < 4096)
                answer = append(&h, "site", 1, block, sizeof(block));
        if (answer == PRVNG_DONE)
                check_fail(c, "S1: 1 GiB was appended to a store whose files may be 8 MiB large");
        else if (append(&h, "site", 1, "x", 1) == PRVNG_DONE)
                check_fail(c, "S1: after an append that failed another one succeeds without opening again");
        _exit(c->failed ? 3 : 0);
}

static void test_failed_append(struct check *c)
{
        in_child(c, -1, fill_up, NULL);
}

static void test_descriptors(struct check *c)
{
        struct trace *before;
        struct held h;

        start(c, &h);
        before = trace_take(c);
        for (int again = 0; again < 2; again++) {
                want(&h, open_at(&h, h.place, again ? PRVNG_STORE_READ_ONLY : 0), PRVNG_DONE, "open");
                if (!again)
                        append(&h, "site", 1, "x", 1);
                for (int fd = 5; fd < 256; fd++) {
                        int flags = fcntl(fd, F_GETFD);

                        if (flags >= 0 && !(flags & FD_CLOEXEC))
                                check_fail(c, "descriptor %d of the store is inherited by children", fd);
                }
                h.s.store.close(h.s.instance);
        }
        trace_compare(c, before, "open and close");
        act_deinit(&h.a);
        subject_stop(&h.s);
}

static void test_nowhere(struct check *c)
{
        struct held h;

        start(c, &h);
        if (open_at(&h, "/nowhere/at/all", 0) >= 0 || open_at(&h, "/nowhere/at/all", PRVNG_STORE_READ_ONLY) >= 0)
                check_fail(c, "opens a folder that is not there");
        want(&h, open_at(&h, h.place, PRVNG_STORE_READ_ONLY), PRVNG_DONE, "open of an empty folder to read only");
        h.s.store.close(h.s.instance);
        act_deinit(&h.a);
        subject_stop(&h.s);
}

const struct test store_tests[] = {
        {"store/appends", "store", "gives back what was appended", test_appends, 60, 0},
        {"store/streams", "store", "lists its streams with segments and size", test_streams, 60, 0},
        {"store/names", "store", "knows what a name of a stream is", test_names, 60, 0},
        {"store/snapshots", "store", "keeps one snapshot for a stream", test_snapshots, 60, 0},
        {"store/nowhere", "store", "says so where there is nothing to open", test_nowhere, 60, 0},
        {"store/epochs", "store", "S3: each writer gets a larger epoch, others are refused", test_epochs, 60, 0},
        {"store/one-writer", "store", "S3: has one writer at a time, and readers beside it", test_one_writer, 60,
         0},
        {"store/recover", "store", "S4: leaves exactly the first bytes", test_recover, 60, 0},
        {"store/killed", "store", "S2: holds what was durable when its writer is killed", test_killed, 120, 0},
        {"store/failed-append", "store", "S1: appends nothing after an append that failed", test_failed_append,
         120, 0},
        {"store/descriptors", "store", "keeps its files from children, and closes them", test_descriptors, 60, 0},
        {0},
};
