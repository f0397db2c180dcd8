/* SPDX-License-Identifier: Apache-2.0 */
/* spawn and remote against this machine, without any privilege, in throw-away folders. */
#include "base/clock.h"
#include "host/child.h"
#include "host/services.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

static struct {
        char folder[64];
        struct config config;
        struct host *host;
        struct buf log; /* what went to the task's log */
        struct op_call call;
        struct op_reply reply; /* of the last call */
        int cancel_fd;
} t;

static void test_output(void *userdata, const char *run, const char *task, const void *data,
                        size_t n)
{
        buf_append(&t.log, data, n);
}

static void setup(void)
{
        static struct host_hooks hooks = {.output = test_output};

        t.config.libexec = getenv("PRVNG_TEST_LIBEXEC");
        cr_assert(t.config.libexec, "PRVNG_TEST_LIBEXEC must name the folder of prvng-job");
        snprintf(t.folder, sizeof(t.folder), "/tmp/prvng-jobs-test-XXXXXX");
        cr_assert(mkdtemp(t.folder));
        t.config.state = t.folder;
        t.cancel_fd = -1;
        t.reply = OP_REPLY_NULL;
        t.call.cancel_fd = -1;
        cr_assert_eq(host_new(&t.config, &hooks, &t.host), 0);
}

static void reply_clear(void)
{
        free(t.reply.message);
        free(t.reply.field);
        t.reply = OP_REPLY_NULL;
        if (t.call.cancel_fd >= 0)
                close(t.call.cancel_fd);
        t.call.cancel_fd = -1;
}

static void teardown(void)
{
        const char *const argv[] = {"rm", "-rf", t.folder, NULL};
        _cleanup_(cleanup_child_result) struct child_result result = CHILD_RESULT_NULL;

        reply_clear();
        host_free(t.host);
        child_run(&(struct child_spec){.argv = argv, .deadline_ms = INT64_MAX, .cancel_fd = -1},
                  &result);
        child_result_deinit(&result);
        buf_deinit(&t.log);
}

/* A process id that a script printed. */
static bool parse_u64(const char *text, uint64_t *ret)
{
        char *end;

        *ret = strtoull(text, &end, 10);
        return end > text && *end == '\n' && *ret > 1;
}

TestSuite(jobs, .init = setup, .fini = teardown, .timeout = 60);

/* A call as the border makes it. */
static struct prvng_call *call_new(const char *job)
{
        reply_clear();
        t.call = (struct op_call){.pub = {.struct_size = sizeof(struct prvng_call),
                                          .op_id = job,
                                          .attempt = 1,
                                          .deadline_ms = clock_boot_ms() + 30000,
                                          .trace_parent = "",
                                          .run = "R",
                                          .task = "a/b"},
                                  .host = t.host,
                                  .plugin_name = "test",
                                  .run = "R",
                                  .task = "a/b",
                                  .cancel_fd = -1,
                                  .reply = &t.reply};
        return &t.call.pub;
}

static const char *message(void)
{
        return t.reply.message ? t.reply.message : "";
}

/* ---- children ---- */

static int run_child(const char *const *argv, int64_t deadline_ms, size_t max,
                     struct child_result *result)
{
        return child_run(&(struct child_spec){.argv = argv,
                                              .input = "in\n",
                                              .n_input = 3,
                                              .max_output = max,
                                              .deadline_ms = deadline_ms,
                                              .cancel_fd = t.cancel_fd},
                         result);
}

#define SH(text) ((const char *const[]){"sh", "-c", text, NULL})

Test(jobs, child_gets_input_and_gives_output)
{
        _cleanup_(cleanup_child_result) struct child_result r = CHILD_RESULT_NULL;

        cr_assert_eq(run_child(SH("cat; echo err >&2; exit 7"), INT64_MAX, 100, &r), 0);
        cr_assert_str_eq(buf_str(&r.output), "in\n");
        cr_assert_str_eq(buf_str(&r.errors), "err\n");
        cr_assert_eq(r.status, 7);
        cr_assert_eq(r.signal, 0);
}

Test(jobs, child_has_nothing_of_ours)
{
        _cleanup_(cleanup_child_result) struct child_result r = CHILD_RESULT_NULL;
        int fd = open("/dev/null", O_RDONLY); /* not CLOEXEC, as a careless library would */

        setenv("SECRET", "hidden", 1);
        cr_assert_eq(
                run_child(SH("ls /proc/self/fd | wc -l; env | cut -d= -f1 | sort | tr '\n' ' ';"
                             "pwd"),
                          INT64_MAX, 1000, &r),
                0);
        close(fd);
        /* 0, 1, 2 and the folder that ls reads */
        cr_assert_str_eq(buf_str(&r.output), "4\nHOME LANG PATH PWD /\n");
}

/* What is wanted of one still comes; what is not fills no pipe. */
Test(jobs, child_output_that_nobody_wants)
{
        _cleanup_(cleanup_child_result) struct child_result r = CHILD_RESULT_NULL;
        struct child_spec spec = {
                .argv = SH("head -c 200000 /dev/zero; to=$(readlink /proc/$$/fd/1); echo $to >&2; exit 3"),
                .max_output = 100,
                .no_output = true,
                .deadline_ms = INT64_MAX,
                .cancel_fd = t.cancel_fd,
        };

        cr_assert_eq(child_run(&spec, &r), 0);
        cr_assert_eq(r.status, 3);
        cr_assert_eq(r.output.n, 0);
        cr_assert_str_eq(buf_str(&r.errors), "/dev/null\n");
        child_result_deinit(&r);
        r = CHILD_RESULT_NULL;
        spec.argv = SH("cat; readlink /proc/self/fd/2");
        spec.no_output = false;
        spec.no_errors = true;
        cr_assert_eq(child_run(&spec, &r), 0);
        cr_assert_str_eq(buf_str(&r.output), "/dev/null\n");
        cr_assert_eq(r.errors.n, 0);
}

Test(jobs, child_output_is_limited_but_read)
{
        _cleanup_(cleanup_child_result) struct child_result r = CHILD_RESULT_NULL;

        cr_assert_eq(run_child(SH("head -c 3000000 /dev/zero; echo end >&2"), INT64_MAX, 1000, &r),
                     0);
        cr_assert_eq(r.output.n, 1000);
        cr_assert(r.cut);
        cr_assert_str_eq(buf_str(&r.errors), "end\n");
}

Test(jobs, child_that_is_late_is_killed_with_its_group)
{
        _cleanup_(cleanup_child_result) struct child_result r = CHILD_RESULT_NULL;
        uint64_t pid = 0;
        int64_t start = clock_boot_ms();

        cr_assert_eq(run_child(SH("trap '' TERM; sleep 1000 & echo $!; wait; wait"), start + 300,
                               100, &r),
                     CHILD_E_TIMEOUT);
        cr_assert_lt(clock_boot_ms() - start, 5000);
        cr_assert(parse_u64(buf_str(&r.output), &pid));
        for (int i = 0; i < 500 && kill((pid_t)pid, 0) == 0; i++)
                poll(NULL, 0, 10);
        cr_assert_eq(kill((pid_t)pid, 0), -1, "process %d lives on", (int)pid);
}

Test(jobs, child_is_cancelled)
{
        _cleanup_(cleanup_child_result) struct child_result r = CHILD_RESULT_NULL;

        t.cancel_fd = eventfd(1, EFD_CLOEXEC);
        cr_assert_eq(run_child(SH("sleep 1000"), INT64_MAX, 100, &r), CHILD_E_CANCELLED);
        close(t.cancel_fd);
}

Test(jobs, child_leaves_nothing_in_its_group)
{
        _cleanup_(cleanup_child_result) struct child_result r = CHILD_RESULT_NULL;
        uint64_t pid = 0;

        /* holds stdout open too: the call must not wait for it */
        cr_assert_eq(run_child(SH("sleep 1000 & echo $!"), INT64_MAX, 100, &r), 0);
        cr_assert(parse_u64(buf_str(&r.output), &pid));
        for (int i = 0; i < 500 && kill((pid_t)pid, 0) == 0; i++)
                poll(NULL, 0, 10);
        cr_assert_eq(kill((pid_t)pid, 0), -1);
}

Test(jobs, child_that_is_not_there)
{
        _cleanup_(cleanup_child_result) struct child_result r = CHILD_RESULT_NULL;

        cr_assert_eq(run_child((const char *const[]){"no-such-program", NULL}, INT64_MAX, 9, &r),
                     CHILD_E_NOT_STARTED);
        cr_assert_eq(r.status, ENOENT);
}

/* ---- jobs, local and remote behind one set of functions ---- */

static const char *server(void)
{
        static char text[512];

        snprintf(text, sizeof(text),
                 "{\"name\":\"web-0\",\"reach\":{\"method\":\"exec\",\"argv\":[\"/usr/bin/env\","
                 "\"-i\",\"PATH=/usr/sbin:/usr/bin:/sbin:/bin\"],\"jobs\":\"%s/remote\"}}",
                 t.folder);
        return text;
}

static int32_t start(bool remote, const char *job, const char *script)
{
        struct prvng_call *call = call_new(job);

        if (remote)
                return host_remote.job_start(call, server(), strlen(server()), job, script,
                                             strlen(script));
        return host_spawn.job_start(
                call, job,
                &(struct prvng_spawn){
                        .struct_size = sizeof(struct prvng_spawn),
                        .argv = (const char *const[]){"/bin/sh", "-e", "-c", script, NULL}});
}

static struct prvng_job_status status(bool remote, const char *job, uint64_t offset,
                                      struct prvng_sink *sink)
{
        struct prvng_job_status s = {.struct_size = sizeof(s), .state = 99};
        struct prvng_call *call = call_new(job);
        int32_t r;

        if (remote)
                r = host_remote.job_status(call, server(), strlen(server()), job, offset, sink, &s);
        else
                r = host_spawn.job_status(call, job, offset, sink, &s);
        cr_assert_eq(r, PRVNG_DONE, "%s", message());
        return s;
}

static int32_t end(bool remote, const char *job)
{
        struct prvng_call *call = call_new(job);

        return remote ? host_remote.job_end(call, server(), strlen(server()), job)
                      : host_spawn.job_end(call, job);
}

static int32_t forget(bool remote, const char *job)
{
        struct prvng_call *call = call_new(job);

        return remote ? host_remote.job_forget(call, server(), strlen(server()), job)
                      : host_spawn.job_forget(call, job);
}

static struct prvng_job_status wait_end(bool remote, const char *job)
{
        struct prvng_job_status s = status(remote, job, 0, NULL);

        for (int i = 0; i < 2000 && s.state == PRVNG_JOB_RUNNING; i++) {
                poll(NULL, 0, 10);
                s = status(remote, job, 0, NULL);
        }
        return s;
}

static pid_t keeper_pid(bool remote, const char *job)
{
        char path[256];
        int pid = -1;
        FILE *f;

        snprintf(path, sizeof(path), "%s/%s/%s/started", t.folder, remote ? "remote" : "jobs", job);
        f = fopen(path, "re");
        cr_assert(f && fscanf(f, "%d", &pid) == 1 && pid > 1);
        fclose(f);
        return pid;
}

/* One that has ended lives no more, however long its parent takes to hear of it. */
static bool lives(pid_t pid)
{
        char path[64], state = 'X';
        FILE *f;

        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        f = fopen(path, "re");
        if (!f)
                return false;
        if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
                state = 'X';
        fclose(f);
        return state != 'Z' && state != 'X';
}

static void wait_gone(pid_t pid)
{
        for (int i = 0; i < 1000 && lives(pid); i++)
                poll(NULL, 0, 10);
        cr_assert_not(lives(pid), "process %d lives on", (int)pid);
}

static void life_of_a_job(bool remote)
{
        _cleanup_(cleanup_buf) struct buf script = BUF_NULL;
        _cleanup_(cleanup_buf) struct buf out = BUF_NULL;
        struct prvng_sink sink = SINK(&out, UINT64_MAX);
        struct prvng_job_status s;

        s = status(remote, "J1", 0, NULL);
        cr_assert_eq(s.state, PRVNG_JOB_UNKNOWN);
        buf_printf(&script, "echo once >> %s/count; echo out; echo err >&2; exit 3", t.folder);
        cr_assert_eq(start(remote, "J1", script.data), PRVNG_DONE, "%s", message());
        cr_assert_eq(start(remote, "J1", script.data), PRVNG_DONE, "started twice is one job");
        s = wait_end(remote, "J1");
        cr_assert_eq(s.state, PRVNG_JOB_EXITED);
        cr_assert_eq(s.exit_code, 3);
        cr_assert_eq(start(remote, "J1", script.data), PRVNG_DONE, "an ended job stays ended");
        s = status(remote, "J1", 4, &sink);
        cr_assert_str_eq(buf_str(&out), "err\n");
        cr_assert_eq(s.output_offset, 8);
        cr_assert_str_eq(buf_str(&t.log), "out\nerr\n", "however often it was read: %s",
                         buf_str(&t.log));
        buf_clear(&script);
        buf_printf(&script, "%s/count", t.folder);
        {
                struct stat st;

                cr_assert_eq(stat(script.data, &st), 0);
                cr_assert_eq(st.st_size, 5, "the script ran once");
        }
        cr_assert_eq(end(remote, "J1"), PRVNG_DONE);
        cr_assert_eq(forget(remote, "J1"), PRVNG_DONE);
        cr_assert_eq(status(remote, "J1", 0, NULL).state, PRVNG_JOB_UNKNOWN);
        cr_assert_eq(forget(remote, "J1"), PRVNG_DONE);
}

Test(jobs, local_life)
{
        life_of_a_job(false);
}

Test(jobs, remote_life)
{
        life_of_a_job(true);
}

/* Ends a job whose script made a process that left the script's session and ignores SIGTERM. */
static void end_of_a_job(bool remote)
{
        _cleanup_(cleanup_buf) struct buf out = BUF_NULL;
        struct prvng_sink sink = SINK(&out, UINT64_MAX);
        uint64_t pid = 0;

        cr_assert_eq(
                start(remote, "J2",
                      "setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' & wait"),
                PRVNG_DONE);
        for (int i = 0; i < 500 && out.n == 0; i++) {
                cr_assert_eq(status(remote, "J2", 0, &sink).state, PRVNG_JOB_RUNNING);
                poll(NULL, 0, 10);
        }
        cr_assert(parse_u64(buf_str(&out), &pid));
        cr_assert_eq(forget(remote, "J2"), PRVNG_CONFLICT, "it runs");
        cr_assert_eq(end(remote, "J2"), PRVNG_DONE, "%s", message());
        wait_gone((pid_t)pid);
        cr_assert_eq(status(remote, "J2", 0, NULL).state, PRVNG_JOB_KILLED);
        cr_assert_eq(end(remote, "J2"), PRVNG_DONE);
        cr_assert_eq(forget(remote, "J2"), PRVNG_DONE);
}

Test(jobs, local_end)
{
        end_of_a_job(false);
}

Test(jobs, remote_end)
{
        end_of_a_job(true);
}

/* A restart of the machine looks like this: the keeper is gone and has left no status. */
static void keeper_dies(bool remote)
{
        _cleanup_(cleanup_buf) struct buf out = BUF_NULL;
        struct prvng_sink sink = SINK(&out, UINT64_MAX);
        uint64_t pid = 0;

        cr_assert_eq(start(remote, "J3", "setsid sleep 1000 & echo $!; wait"), PRVNG_DONE);
        for (int i = 0; i < 500 && out.n == 0; i++) {
                status(remote, "J3", 0, &sink);
                poll(NULL, 0, 10);
        }
        cr_assert(parse_u64(buf_str(&out), &pid));
        kill(keeper_pid(remote, "J3"), SIGKILL);
        wait_gone(keeper_pid(remote, "J3"));
        cr_assert_eq(status(remote, "J3", 0, NULL).state, PRVNG_JOB_KILLED);
        /* Root's own runs may have made one that others cannot use. */
        if (remote || access("/sys/fs/cgroup/systemd/prvng-jobs", W_OK) == 0 ||
            access("/sys/fs/cgroup/prvng-jobs", W_OK) == 0)
                wait_gone((pid_t)pid); /* nothing runs on beside a second start */
        else
                kill((pid_t)pid, SIGKILL);
        cr_assert_eq(start(remote, "J3", "echo second"), PRVNG_DONE);
        cr_assert_eq(status(remote, "J3", 0, NULL).state, PRVNG_JOB_KILLED, "never a second start");
        cr_assert_eq(forget(remote, "J3"), PRVNG_DONE);
        cr_assert_eq(start(remote, "J3", "echo second"), PRVNG_DONE);
        cr_assert_eq(wait_end(remote, "J3").state, PRVNG_JOB_EXITED);
        cr_assert(strstr(buf_str(&t.log), "second"), "the log goes on after a new start");
        forget(remote, "J3");
}

Test(jobs, local_keeper_dies)
{
        keeper_dies(false);
}

Test(jobs, remote_keeper_dies)
{
        keeper_dies(true);
}

/* A start that was interrupted before the script could run is taken over. */
static void claim_without_start(bool remote)
{
        char path[256];

        snprintf(path, sizeof(path), "%s/%s", t.folder, remote ? "remote" : "jobs");
        mkdir(path, 0700);
        strcat(path, "/J4");
        cr_assert_eq(mkdir(path, 0700), 0);
        strcat(path, "/lock");
        close(open(path, O_CREAT | O_WRONLY, 0600));
        cr_assert_eq(status(remote, "J4", 0, NULL).state, PRVNG_JOB_UNKNOWN);
        cr_assert_eq(start(remote, "J4", "exit 0"), PRVNG_DONE);
        cr_assert_eq(wait_end(remote, "J4").state, PRVNG_JOB_EXITED);
        forget(remote, "J4");
}

Test(jobs, local_claim_without_start)
{
        claim_without_start(false);
}

Test(jobs, remote_claim_without_start)
{
        claim_without_start(true);
}

static void output_in_chunks(bool remote)
{
        _cleanup_(cleanup_buf) struct buf out = BUF_NULL;
        struct prvng_sink sink = SINK(&out, UINT64_MAX);
        struct prvng_job_status s;
        uint64_t offset = 0;

        cr_assert_eq(start(remote, "J5", "head -c 600000 /dev/zero | tr '\\0' x"), PRVNG_DONE);
        wait_end(remote, "J5");
        do {
                offset = out.n;
                s = status(remote, "J5", offset, &sink);
                cr_assert_leq(s.output_offset - offset, 262144);
                cr_assert_eq(s.output_offset, out.n);
        } while (s.output_offset > offset);
        cr_assert_eq(out.n, 600000);
        cr_assert_eq(t.log.n, 600000);
        forget(remote, "J5");
}

Test(jobs, local_output_in_chunks)
{
        output_in_chunks(false);
}

Test(jobs, remote_output_in_chunks)
{
        output_in_chunks(true);
}

Test(jobs, bad_names_are_refused)
{
        static const char *const bad[] = {"", "../x", "a/b", ".x", "-x", "a b", "x\n"};

        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                cr_assert_eq(start(false, bad[i], "exit 0"), PRVNG_INTERNAL);
                cr_assert_eq(start(true, bad[i], "exit 0"), PRVNG_INTERNAL);
        }
}

Test(jobs, script_that_is_killed)
{
        cr_assert_eq(start(true, "J6", "kill -9 $$"), PRVNG_DONE);
        cr_assert_eq(wait_end(true, "J6").state, PRVNG_JOB_KILLED);
        cr_assert_eq(status(true, "J6", 0, NULL).exit_code, 9);
        cr_assert_eq(start(false, "J6", "kill -9 $$"), PRVNG_DONE);
        cr_assert_eq(wait_end(false, "J6").exit_code, 9);
        forget(true, "J6");
        forget(false, "J6");
}

/* ---- what only remote has ---- */

static int32_t remote_sh(const char *reach, const char *script, struct prvng_sink *out,
                         int32_t *ret_code)
{
        struct prvng_call *call = call_new("X");
        const char *const argv[] = {"/bin/sh", "-c", script, NULL};

        return host_remote.run(call, reach, strlen(reach), argv, "in", 2, out, NULL, ret_code);
}

Test(jobs, remote_run)
{
        _cleanup_(cleanup_buf) struct buf out = BUF_NULL;
        struct prvng_sink sink = SINK(&out, UINT64_MAX);
        int32_t code = -1;

        cr_assert_eq(remote_sh(server(), "cat; exit 5", &sink, &code), PRVNG_DONE);
        cr_assert_str_eq(buf_str(&out), "in");
        cr_assert_eq(code, 5);
        cr_assert_eq(remote_sh(server(), "exit 255", NULL, &code), PRVNG_DONE);
        cr_assert_eq(code, 255, "a command may say 255 itself");
}

#define REACH(argv) "{\"name\":\"db\",\"reach\":{\"method\":\"exec\",\"argv\":[" argv "]}}"

Test(jobs, unreachable_server_is_transient)
{
        static const char reach[] =
                REACH("\"/bin/sh\",\"-c\",\"echo enter: db is unreachable >&2; exit 255\",\"x\"");
        struct prvng_call *call = call_new("J");
        struct prvng_job_status s = {.struct_size = sizeof(s)};
        int32_t code;

        cr_assert_eq(remote_sh(reach, "true", NULL, &code), PRVNG_TRANSIENT);
        cr_assert_eq(t.reply.effect, PRVNG_EFFECT_NONE);
        cr_assert(strstr(message(), "db is unreachable"), "%s", message());
        cr_assert_eq(host_remote.job_start(call, reach, strlen(reach), "J", "x", 1),
                     PRVNG_TRANSIENT);
        cr_assert_eq(t.reply.effect, PRVNG_EFFECT_UNKNOWN);
        cr_assert_eq(host_remote.job_status(call, reach, strlen(reach), "J", 0, NULL, &s),
                     PRVNG_TRANSIENT);
        cr_assert_eq(t.reply.effect, PRVNG_EFFECT_NONE);
}

Test(jobs, reach_that_cannot_be_used)
{
        int32_t code;

        cr_assert_eq(
                remote_sh("{\"name\":\"a\",\"reach\":{\"method\":\"ssh\"}}", "true", NULL, &code),
                PRVNG_UNSUPPORTED);
        cr_assert_eq(remote_sh("{\"reach\":{\"method\":\"smoke\"}}", "true", NULL, &code),
                     PRVNG_PERMANENT);
        cr_assert_eq(
                remote_sh("{\"reach\":{\"method\":\"exec\",\"argv\":[1]}}", "true", NULL, &code),
                PRVNG_PERMANENT);
        cr_assert_eq(remote_sh("{}", "true", NULL, &code), PRVNG_PERMANENT);
        cr_assert_eq(remote_sh("{", "true", NULL, &code), PRVNG_PERMANENT);
        cr_assert_eq(remote_sh(REACH("\"/no/such/enter\""), "true", NULL, &code), PRVNG_PERMANENT);
}

static int32_t put(const char *reach, const char *name, uint32_t mode, const char *text)
{
        struct prvng_call *call = call_new("X");
        char path[256];

        snprintf(path, sizeof(path), "%s/%s", t.folder, name);
        return host_remote.put_file(call, reach, strlen(reach), path, mode, text, strlen(text));
}

Test(jobs, put_file)
{
        char path[256], content[16] = "";
        struct stat st;
        FILE *f;

        cr_assert_eq(put(server(), "etc/a b/x.conf", 0640, "one\n"), PRVNG_DONE, "%s", message());
        cr_assert_eq(put(server(), "etc/a b/x.conf", 0640, "one\n"), PRVNG_UNCHANGED);
        cr_assert_eq(put(server(), "etc/a b/x.conf", 0600, "one\n"), PRVNG_DONE, "another mode");
        cr_assert_eq(put(server(), "etc/a b/x.conf", 0600, "two\n"), PRVNG_DONE);
        snprintf(path, sizeof(path), "%s/etc/a b/x.conf", t.folder);
        cr_assert_eq(stat(path, &st), 0);
        cr_assert_eq(st.st_mode & 07777, 0600);
        f = fopen(path, "re");
        cr_assert(f && fgets(content, sizeof(content), f));
        fclose(f);
        cr_assert_str_eq(content, "two\n");
}

Test(jobs, put_file_that_is_cut_on_the_way_changes_nothing)
{
        char cut[512], path[256];

        /* a reach that passes one byte of the content only */
        snprintf(cut, sizeof(cut), REACH("\"/bin/sh\",\"-c\",\"head -c 1 | \\\"$@\\\"\",\"x\""));
        cr_assert_eq(put(cut, "f", 0644, "content"), PRVNG_TRANSIENT);
        snprintf(path, sizeof(path), "%s/f", t.folder);
        cr_assert_eq(access(path, F_OK), -1);
}
